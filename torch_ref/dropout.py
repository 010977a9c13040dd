"""Dropout, as PyTorch spells it: `nn.Dropout` with p = 1 - keep_prob, its mask handed in or not."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from torch_ref._validation import (
    Dtype,
    Floats,
    Instance,
    KeepProbs,
    LayerSizes,
    Number,
    Shape,
    Whole,
    check,
    unchecked,
    validated,
)

__all__ = ["Dropout", "draw_mask", "draw_masks", "dropout", "mask_stream"]

Tensor = torch.Tensor
_GENERATOR = Instance(torch.Generator)


class Dropout(nn.Dropout):
    """Inverted dropout that keeps a unit with keep_prob; torch's own p is the chance to lose it.

    While `mask`, of the shape of its input, is set, it takes the place of torch's draw from the
    global generator. `eval()` switches both off.

    Source: torch.nn.Dropout.
    """

    mask: Tensor | None

    def __init__(self, keep_prob: float) -> None:
        """Take the probability to keep, in (0, 1]."""
        check({"keep_prob": Number("(0, 1]")}, {"keep_prob": keep_prob})
        super().__init__(p=1 - keep_prob)
        self.mask = None

    def forward(self, input: Tensor) -> Tensor:
        """Return A * D, shape (m, n)."""
        if self.training and self.mask is not None:
            if self.mask.shape != input.shape:
                shapes = tuple(input.shape), tuple(self.mask.shape)
                raise ValueError(f"expected a mask of shape {shapes[0]}, got {shapes[1]}")
            return input * self.mask
        return super().forward(input)


@validated(shape=Shape(), keep_prob=Number("(0, 1]"), generator=_GENERATOR, dtype=Dtype())
def draw_mask(
    shape: tuple[int, int],
    keep_prob: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Draw D, shape (m, n): 1 / keep_prob or 0. Source: torch.Tensor.bernoulli_."""
    mask = torch.empty(shape, dtype=dtype, device=generator.device)
    return mask.bernoulli_(keep_prob, generator=generator).div_(keep_prob)


@validated(A="m n", mask=Floats("m n", "mask"))
def dropout(A: Tensor, mask: Tensor) -> Tensor:
    """Return A * D, shape (m, n), as torch does with its own mask. Source: torch.nn.Dropout."""
    return A * mask


@validated(
    layer_sizes=LayerSizes(),
    keep_probs=KeepProbs(),
    m=Whole(1),
    generator=_GENERATOR,
    dtype=Dtype(),
)
def draw_masks(
    layer_sizes: tuple[int, ...],
    keep_probs: tuple[float, ...],
    m: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Draw {"D1": (m, n_1), ...} for the layers that drop. Source: torch.Tensor.bernoulli_."""
    return {
        f"D{l}": unchecked(draw_mask)((m, layer_sizes[l]), keep_prob, generator, dtype)
        for l, keep_prob in enumerate(keep_probs, start=1)
        if keep_prob < 1
    }


@validated(
    layer_sizes=LayerSizes(),
    keep_probs=KeepProbs(),
    m=Whole(1),
    batch_size=Whole(1),
    epochs=Whole(1),
    generator=_GENERATOR,
    dtype=Dtype(),
)
def mask_stream(
    layer_sizes: tuple[int, ...],
    keep_probs: tuple[float, ...],
    m: int,
    *,
    batch_size: int,
    epochs: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Iterator[dict[str, Tensor]]:
    """Yield the masks of each step of a training on m rows. Source: torch.Tensor.bernoulli_."""
    for _ in range(epochs):
        for start in range(0, m, batch_size):
            size = min(batch_size, m - start)
            yield unchecked(draw_masks)(layer_sizes, keep_probs, size, generator, dtype)
