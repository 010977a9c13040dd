"""Arrays of every awkward kind, from a seed: ties, constant features, duplicates, huge and tiny."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
Draw = Callable[[Shape, np.random.Generator], Array]


def _normal(shape: Shape, rng: np.random.Generator) -> Array:
    return np.asarray(rng.standard_normal(shape))


def _zeros(shape: Shape, rng: np.random.Generator) -> Array:
    """Return normal entries, half of them exactly 0.0 or -0.0."""
    return np.asarray(rng.standard_normal(shape) * rng.choice([1.0, 1.0, 0.0, -0.0], shape))


def _grid(shape: Shape, rng: np.random.Generator) -> Array:
    """Return small halves, whose sums and products are exact and often tie at 0."""
    return rng.integers(-3, 4, shape) / 2


def _constant(shape: Shape, rng: np.random.Generator) -> Array:
    """Return features that are the same in every example, of sizes from 1e-3 to 1e3."""
    size = 10.0 ** rng.uniform(-3, 3, (shape[0], 1))
    return np.repeat(size * rng.standard_normal((shape[0], 1)), shape[1], axis=1)


def _duplicated_examples(shape: Shape, rng: np.random.Generator) -> Array:
    few = rng.standard_normal((shape[0], (shape[1] + 1) // 2))
    return np.take(few, rng.integers(0, few.shape[1], shape[1]), axis=1)


def _duplicated_rows(shape: Shape, rng: np.random.Generator) -> Array:
    few = rng.standard_normal(((shape[0] + 1) // 2, *shape[1:]))
    return np.take(few, rng.integers(0, len(few), shape[0]), axis=0)


def _all_magnitudes(shape: Shape, rng: np.random.Generator) -> Array:
    """Return entries from 1e-12 to 1e12, a sixth of them 0."""
    size = 10.0 ** rng.uniform(-12, 12, shape) * rng.choice([0.0, 1, 1, 1, 1, 1], shape)
    return np.asarray(rng.choice([-1.0, 1.0], shape) * size)


def _saturated(shape: Shape, rng: np.random.Generator) -> Array:
    """Return logits at which a sigmoid is 0 or 1 to the last digit, or nearly, or not at all."""
    return rng.choice([1e4, -1e4, 710.0, -745.0, 40.0, -40.0, 0.0, -0.0, 1.0, -1.0], shape)


KINDS: Mapping[str, Draw] = {
    "normal": _normal,
    "zeros": _zeros,
    "grid": _grid,
    "constant": _constant,
    "duplicated examples": _duplicated_examples,
    "duplicated rows": _duplicated_rows,
    "all magnitudes": _all_magnitudes,
    "saturated": _saturated,
}

#: kinds without a tie at 0, and small enough for differences of their functions.
SMOOTH = ("normal", "duplicated examples", "duplicated rows")


def draw(kind: str, shape: Shape, rng: np.random.Generator, scale: float = 1.0) -> Array:
    """Draw an array (n, m) of a kind, times a scale."""
    return np.asarray(scale * KINDS[kind](shape, rng))
