"""Initial weights: each initializer draws one W of shape (n, n_prev); biases begin at zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scratch._shapes import network_shapes
from scratch._validation import Array, Dtype, Instance, Number, OneOf, Shape, validated
from scratch.parameters import Parameters

__all__ = [
    "INITIALIZERS",
    "constant",
    "glorot",
    "he",
    "initialize",
    "large_normal",
    "small_normal",
    "small_uniform",
    "xavier",
    "zeros",
]

Pair = tuple[int, int]
Rng = np.random.Generator
_RNG = Instance(Rng)
_SCALE = Number("(0, inf)")
_SHAPE = Shape()


@validated(shape=_SHAPE, rng=_RNG)
def zeros(shape: Pair, rng: Rng) -> Array:
    """Return W = 0, shape (n, n_prev): every unit of a layer then learns the same.

    Source: Course 1, week 3, "Random initialization".
    """
    return np.zeros(shape)


@validated(shape=_SHAPE, rng=_RNG, value=Number("(-inf, inf)"))
def constant(shape: Pair, rng: Rng, value: float = 1.0) -> Array:
    """Return W = value, shape (n, n_prev), as symmetric as zeros.

    Source: Course 1, week 3, "Random initialization".
    """
    return np.full(shape, value, dtype=float)


@validated(shape=_SHAPE, rng=_RNG, scale=_SCALE)
def small_normal(shape: Pair, rng: Rng, scale: float = 0.01) -> Array:
    """Draw W ~ scale N(0, 1), shape (n, n_prev).

    Source: Course 1, week 3, "Random initialization".
    """
    return scale * rng.standard_normal(shape)


@validated(shape=_SHAPE, rng=_RNG, scale=_SCALE)
def small_uniform(shape: Pair, rng: Rng, scale: float = 0.01) -> Array:
    """Draw W ~ scale U[-1, 1), shape (n, n_prev).

    Source: Course 1, week 3, "Random initialization".
    """
    return rng.uniform(-scale, scale, shape)


@validated(shape=_SHAPE, rng=_RNG, scale=_SCALE)
def large_normal(shape: Pair, rng: Rng, scale: float = 10.0) -> Array:
    """Draw W ~ scale N(0, 1), shape (n, n_prev), with a scale that saturates the units.

    Source: Course 2, week 1, "Initialization", the x10 random initialization.
    """
    return scale * rng.standard_normal(shape)


@validated(shape=_SHAPE, rng=_RNG)
def xavier(shape: Pair, rng: Rng) -> Array:
    """Draw W ~ sqrt(1 / n_prev) N(0, 1), shape (n, n_prev), "Xavier" as taught, for tanh.

    Source: Course 2, week 1, "Weight initialization for deep networks".
    """
    return math.sqrt(1 / shape[1]) * rng.standard_normal(shape)


@validated(shape=_SHAPE, rng=_RNG)
def glorot(shape: Pair, rng: Rng) -> Array:
    """Draw W ~ sqrt(2 / (n_prev + n)) N(0, 1), shape (n, n_prev), Glorot's own.

    Source: Glorot and Bengio 2010, equation 12.
    """
    return math.sqrt(2 / (shape[1] + shape[0])) * rng.standard_normal(shape)


@validated(shape=_SHAPE, rng=_RNG)
def he(shape: Pair, rng: Rng) -> Array:
    """Draw W ~ sqrt(2 / n_prev) N(0, 1), shape (n, n_prev), for ReLU.

    Source: Course 2, week 1, "Weight initialization for deep networks".
    """
    return math.sqrt(2 / shape[1]) * rng.standard_normal(shape)


#: every initializer by name; the same keys as `torch_ref.initializers.INITIALIZERS`.
INITIALIZERS: Mapping[str, Callable[[Pair, Rng], Array]] = {
    "zeros": zeros,
    "constant": constant,
    "small_normal": small_normal,
    "small_uniform": small_uniform,
    "large_normal": large_normal,
    "xavier": xavier,
    "glorot": glorot,
    "he": he,
}


@validated(initializer=OneOf(INITIALIZERS), rng=_RNG, dtype=Dtype(), batch_norm=Instance(bool))
def initialize(
    layer_sizes: tuple[int, ...],
    initializer: str,
    rng: Rng,
    dtype: Any = np.float64,
    batch_norm: bool = False,
) -> Parameters:
    """Return parameters for layer sizes (n_0, ..., n_L): each W drawn, W1 first, each b zero.

    With `batch_norm` hidden layers have gamma = 1 and beta = 0, each (n, 1), in the place of b.
    Draws are made in float64 and rounded to `dtype`, so that every dtype starts from the same ones.
    Raises ValueError for unknown names and fewer than two layer sizes.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    parameters = Parameters.empty(network_shapes(layer_sizes, batch_norm), dtype)
    for name, view in parameters.items():
        if name.startswith("W"):
            view[...] = INITIALIZERS[initializer]((view.shape[0], view.shape[1]), rng)
        elif name.startswith("gamma"):
            view[...] = 1
    return parameters
