"""Initial weights: each initializer draws one W of shape (n, n_prev); biases begin at zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scratch._door import DTYPES, Array, Instance, Number, OneOf, Whole, admit, door
from scratch._shapes import network_shapes
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

Shape = tuple[int, int]
Rng = np.random.Generator
_SIZES = {"n": Whole(1), "n_prev": Whole(1)}
_RNG = Instance(Rng)
_SCALE = Number("(0, inf)")


class _ShapeDoor:
    """A weight's shape (n, n_prev)."""

    def admit(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what is no pair of whole numbers from 1 up."""
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError(f"expected {name} to be a tuple (n, n_prev), got {value!r}")
        admit(_SIZES, dict(zip(_SIZES, value, strict=True)))


_SHAPE = _ShapeDoor()


@door(shape=_SHAPE, rng=_RNG)
def zeros(shape: Shape, rng: Rng) -> Array:
    """Return W = 0, shape (n, n_prev): every unit of a layer then learns the same.

    Source: Course 1, week 3, "Random initialization".
    """
    return np.zeros(shape)


@door(shape=_SHAPE, rng=_RNG, value=Number("(-inf, inf)"))
def constant(shape: Shape, rng: Rng, value: float = 1.0) -> Array:
    """Return W = value, shape (n, n_prev), as symmetric as zeros.

    Source: Course 1, week 3, "Random initialization".
    """
    return np.full(shape, value, dtype=float)


@door(shape=_SHAPE, rng=_RNG, scale=_SCALE)
def small_normal(shape: Shape, rng: Rng, scale: float = 0.01) -> Array:
    """Draw W ~ scale N(0, 1), shape (n, n_prev).

    Source: Course 1, week 3, "Random initialization".
    """
    return scale * rng.standard_normal(shape)


@door(shape=_SHAPE, rng=_RNG, scale=_SCALE)
def small_uniform(shape: Shape, rng: Rng, scale: float = 0.01) -> Array:
    """Draw W ~ scale U[-1, 1), shape (n, n_prev).

    Source: Course 1, week 3, "Random initialization".
    """
    return rng.uniform(-scale, scale, shape)


@door(shape=_SHAPE, rng=_RNG, scale=_SCALE)
def large_normal(shape: Shape, rng: Rng, scale: float = 10.0) -> Array:
    """Draw W ~ scale N(0, 1), shape (n, n_prev), with a scale that saturates the units.

    Source: Course 2, week 1, "Initialization", the x10 random initialization.
    """
    return scale * rng.standard_normal(shape)


@door(shape=_SHAPE, rng=_RNG)
def xavier(shape: Shape, rng: Rng) -> Array:
    """Draw W ~ sqrt(1 / n_prev) N(0, 1), shape (n, n_prev), "Xavier" as taught, for tanh.

    Source: Course 2, week 1, "Weight initialization for deep networks".
    """
    return math.sqrt(1 / shape[1]) * rng.standard_normal(shape)


@door(shape=_SHAPE, rng=_RNG)
def glorot(shape: Shape, rng: Rng) -> Array:
    """Draw W ~ sqrt(2 / (n_prev + n)) N(0, 1), shape (n, n_prev), Glorot's own.

    Source: Glorot and Bengio 2010, equation 12.
    """
    return math.sqrt(2 / (shape[1] + shape[0])) * rng.standard_normal(shape)


@door(shape=_SHAPE, rng=_RNG)
def he(shape: Shape, rng: Rng) -> Array:
    """Draw W ~ sqrt(2 / n_prev) N(0, 1), shape (n, n_prev), for ReLU.

    Source: Course 2, week 1, "Weight initialization for deep networks".
    """
    return math.sqrt(2 / shape[1]) * rng.standard_normal(shape)


#: every initializer by name; the same keys as `torch_ref.initializers.INITIALIZERS`.
INITIALIZERS: Mapping[str, Callable[[Shape, Rng], Array]] = {
    "zeros": zeros,
    "constant": constant,
    "small_normal": small_normal,
    "small_uniform": small_uniform,
    "large_normal": large_normal,
    "xavier": xavier,
    "glorot": glorot,
    "he": he,
}


class _DtypeDoor:
    """A floating dtype."""

    def admit(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what names no floating dtype."""
        try:
            known = value is not None and np.dtype(value).type in DTYPES
        except TypeError as error:
            raise TypeError(f"expected {name} to be a floating dtype, got {value!r}") from error
        if not known:
            raise TypeError(f"expected {name} to be a floating dtype, got {value!r}")


@door(initializer=OneOf(INITIALIZERS), rng=_RNG, dtype=_DtypeDoor())
def initialize(
    layer_sizes: tuple[int, ...], initializer: str, rng: Rng, dtype: Any = np.float64
) -> Parameters:
    """Return parameters for layer sizes (n_0, ..., n_L): each W drawn, W1 first, each b zero.

    Draws are made in float64 and rounded to `dtype`, so that every dtype starts from the same ones.
    Raises ValueError for unknown names and fewer than two layer sizes.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    parameters = Parameters.empty(network_shapes(layer_sizes), dtype)
    for name, view in parameters.items():
        if name.startswith("W"):
            view[...] = INITIALIZERS[initializer]((view.shape[0], view.shape[1]), rng)
    return parameters
