"""Arrays of every awkward kind and memory layout, and strategies that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from parity_tests.compare.bridge import columns

Array = NDArray[Any]
Shape = tuple[int, ...]


class Replayed(np.random.Generator):
    """A generator of NumPy's that draws the numbers of torch's, seed by seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._torch = torch.Generator().manual_seed(seed)

    def standard_normal(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return torch.empty(size, dtype=torch.float64).normal_(generator=self._torch).numpy()

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        drawn = torch.empty(size, dtype=torch.float64).uniform_(generator=self._torch).numpy()
        return low + (high - low) * drawn

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return columns(torch.rand(*reversed(size), generator=self._torch, dtype=torch.float64))


def _constant(shape: Shape, rng: np.random.Generator) -> Array:
    """Draw features that are the same in every example, of sizes from 1e-3 to 1e3."""
    size = 10.0 ** rng.uniform(-3, 3, (shape[0], 1))
    return np.repeat(size * rng.standard_normal((shape[0], 1)), shape[1], axis=1)


def _duplicated(shape: Shape, rng: np.random.Generator, axis: int) -> Array:
    """Draw half as many rows, or examples, each taken as often as it comes."""
    few = rng.standard_normal([(n + 1) // 2 if i == axis else n for i, n in enumerate(shape)])
    return np.take(few, rng.integers(0, few.shape[axis], shape[axis]), axis=axis)


def _all_magnitudes(shape: Shape, rng: np.random.Generator) -> Any:
    """Draw entries from 1e-12 to 1e12, a sixth of them 0."""
    size = 10.0 ** rng.uniform(-12, 12, shape) * rng.choice([0.0, 1, 1, 1, 1, 1], shape)
    return rng.choice([-1.0, 1.0], shape) * size


#: logits at which a sigmoid is 0 or 1 to the last digit, or nearly, or not at all.
SATURATED = [1e4, -1e4, 710.0, -745.0, 40.0, -40.0, 0.0, -0.0, 1.0, -1.0]

KINDS: Mapping[str, Callable[[Shape, np.random.Generator], Any]] = {
    "normal": lambda shape, rng: rng.standard_normal(shape),
    # half of them exactly 0.0 or -0.0
    "zeros": lambda shape, rng: rng.standard_normal(shape) * rng.choice([1, 1, 0.0, -0.0], shape),
    # small halves, whose sums and products are exact and often tie at 0
    "grid": lambda shape, rng: rng.integers(-3, 4, shape) / 2,
    "constant": _constant,
    "duplicated examples": partial(_duplicated, axis=1),
    "duplicated rows": partial(_duplicated, axis=0),
    "all magnitudes": _all_magnitudes,
    "saturated": lambda shape, rng: rng.choice(SATURATED, shape),
}

#: kinds without a tie at 0, and small enough for differences of their functions.
SMOOTH = ("normal", "duplicated examples", "duplicated rows")


def smooth(kind: str = "normal", given: Any = (), **_: Any) -> bool:
    """Tell whether draws of these settings stay away from kinks; values that are given may not."""
    return kind in SMOOTH and not given


def draw(kind: str, shape: Shape, rng: np.random.Generator, scale: float = 1.0) -> Array:
    """Draw an array (n, m) of a kind, times a scale."""
    return np.asarray(scale * KINDS[kind](shape, rng))


def _every_other(array: Array) -> Array:
    """Return a view of every other entry along each axis, the rest of its memory full of NaN."""
    wide = np.full([2 * length for length in array.shape], np.nan)
    view: Array = wide[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def _unaligned(array: Array) -> Array:
    """Return an array that begins one byte too late."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view: Array = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "in rows": np.copy,
    "in columns": lambda array: np.array(array, order="F"),
    "every other entry": _every_other,
    "backwards": lambda array: np.flip(np.flip(array).copy()),
    "unaligned": _unaligned,
}

seeds = st.integers(0, 2**32 - 1)
widths = examples = st.integers(1, 9)
kinds = st.sampled_from(list(KINDS))
#: kinds whose squares keep their digits.
moderate_kinds = st.sampled_from([*SMOOTH, "zeros", "grid", "constant"])
#: two or more: a single class is certain, and has no gradient.
classes = st.integers(2, 9)
#: between 0 and 1e-3 lies the weight that torch's lerp, given 1 - beta, rounds beta to.
betas = st.just(0.0) | st.floats(1e-3, 0.9999) | st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.9999])


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Return numbers between two powers of ten, each magnitude as often as any other."""
    return st.floats(low, high).map(lambda power: 10.0**power)
