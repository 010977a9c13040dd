"""Inverted dropout: a mask is drawn, then applied on the way forward and on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from scratch._shapes import KeepProbs, LayerSizes
from scratch._validation import (
    Array,
    Dtype,
    Floats,
    Instance,
    Number,
    Shape,
    Whole,
    unchecked,
    validated,
)

__all__ = [
    "DropoutCache",
    "draw_mask",
    "draw_masks",
    "dropout_backward",
    "dropout_forward",
    "mask_stream",
]

_RNG = Instance(np.random.Generator)


class DropoutCache(NamedTuple):
    """Cache of `dropout_forward`, for `dropout_backward`."""

    mask: Array  # (n, m)


@validated(shape=Shape(), keep_prob=Number("(0, 1]"), rng=_RNG, dtype=Dtype())
def draw_mask(
    shape: tuple[int, int], keep_prob: float, rng: np.random.Generator, dtype: Any = np.float64
) -> Array:
    """Draw the mask D, shape (n, m): 1 / keep_prob with probability keep_prob, else 0.

    Every dtype keeps the same units for the same generator.

    Source: Course 2, week 1, "Dropout regularization", inverted dropout.
    """
    mask: Array = (rng.random(shape) < keep_prob).astype(dtype)
    mask /= keep_prob  # in place: a float64 scalar keep_prob must not promote it
    return mask


@validated(A="n m", mask=Floats("n m", "mask"))
def dropout_forward(A: Array, mask: Array) -> tuple[Array, DropoutCache]:
    """Return A * D, shape (n, m), whose expectation over masks is A, and the cache.

    Source: Course 2, week 1, "Dropout regularization".
    """
    return A * mask, DropoutCache(mask)


@validated(cache=Instance(DropoutCache, mask="n m"), dA="n m")
def dropout_backward(dA: Array, cache: DropoutCache) -> dict[str, Array]:
    """Pull the gradient of the output, (n, m), back: dA * D, by the mask of the forward pass.

    Source: Course 2, week 1, "Dropout regularization"; Srivastava et al. 2014.
    """
    return {"A": dA * cache.mask}


@validated(layer_sizes=LayerSizes(), keep_probs=KeepProbs(), m=Whole(1), rng=_RNG, dtype=Dtype())
def draw_masks(
    layer_sizes: tuple[int, ...],
    keep_probs: tuple[float, ...],
    m: int,
    rng: np.random.Generator,
    dtype: Any = np.float64,
) -> dict[str, Array]:
    """Draw {"D1": (n_1, m), ...}, one mask for each hidden layer whose keep_prob is below 1.

    `keep_probs` has one entry a hidden layer; input and output are never dropped.

    Source: Course 2, week 1, "Understanding dropout".
    """
    return {
        f"D{l}": unchecked(draw_mask)((layer_sizes[l], m), keep_prob, rng, dtype)
        for l, keep_prob in enumerate(keep_probs, start=1)
        if keep_prob < 1
    }


@validated(
    layer_sizes=LayerSizes(),
    keep_probs=KeepProbs(),
    m=Whole(1),
    batch_size=Whole(1),
    epochs=Whole(1),
    rng=_RNG,
    dtype=Dtype(),
)
def mask_stream(
    layer_sizes: tuple[int, ...],
    keep_probs: tuple[float, ...],
    m: int,
    *,
    batch_size: int,
    epochs: int,
    rng: np.random.Generator,
    dtype: Any = np.float64,
) -> Iterator[dict[str, Array]]:
    """Yield the masks of each step of a training on m examples, drawn when they are asked for.

    Two streams from generators of one seed are the same: one for each side.

    Source: Course 2, week 1, "Dropout regularization", a new mask for each pass.
    """
    for _ in range(epochs):
        for start in range(0, m, batch_size):
            size = min(batch_size, m - start)
            yield unchecked(draw_masks)(layer_sizes, keep_probs, size, rng, dtype)
