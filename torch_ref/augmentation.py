"""Augmentation, as PyTorch spells it: `flip`, `pad`, `affine_grid` and `grid_sample`.

Images are (m, channels, height, width), as torch's convolutions take them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from torch_ref._validation import (
    Dtype,
    Expected,
    Floats,
    Instance,
    Number,
    Whole,
    describe,
    validated,
)

__all__ = [
    "draw_angles",
    "draw_flips",
    "draw_offsets",
    "draw_shifts",
    "horizontal_flip",
    "pad_and_crop",
    "rotate",
    "shift",
]

Tensor = torch.Tensor


class _WholeNumbers:
    """Whole numbers, one row for each of m images, as a tensor or a NumPy array."""

    def __init__(self, *row: int, low: int | None = None, high: int | None = None) -> None:
        self.row, self.low, self.high = row, low, high

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError), shapes and numbers (ValueError)."""
        try:
            numbers = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"expected {name} to be whole numbers, got {value!r}") from error
        if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
            raise TypeError(f"expected {name} to be whole numbers, got {describe(numbers)}")
        shape = (seen.lengths["m"][0], *self.row)
        if numbers.shape != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {tuple(numbers.shape)}")
        numbers = numbers.long()  # torch has no minimum of unsigned numbers
        if self.low is not None and numbers.min() < self.low:
            raise ValueError(f"expected {name} of at least {self.low}, got {numbers.min()}")
        if self.high is not None and numbers.max() > self.high:
            raise ValueError(f"expected {name} of at most {self.high}, got {numbers.max()}")


_IMAGES = Floats("m channels height width")
_DRAW: dict[str, Expected] = {"m": Whole(1), "generator": Instance(torch.Generator)}


@validated(probability=Number("[0, 1]"), **_DRAW)
def draw_flips(m: int, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Draw 1 with that probability or 0 for each image, (m,). Source: torch.bernoulli."""
    chances = torch.full((m,), probability, dtype=torch.float64, device=generator.device)
    return torch.bernoulli(chances, generator=generator).long()


@validated(images=_IMAGES, flips=_WholeNumbers(low=0, high=1))
def horizontal_flip(images: Tensor, flips: Any) -> Tensor:
    """Return images mirrored left to right where flips (m,) is 1. Source: torch.flip."""
    chosen = torch.as_tensor(flips, device=images.device)[:, None, None, None] == 1
    return torch.where(chosen, images.flip(3), images)


@validated(padding=Whole(0), **_DRAW)
def draw_offsets(m: int, padding: int, generator: torch.Generator) -> Tensor:
    """Draw where each crop begins, in 0..2 padding, (m, 2). Source: torch.randint."""
    size = 2 * padding + 1
    return torch.randint(size, (m, 2), generator=generator, device=generator.device)


@validated(images=_IMAGES, offsets=_WholeNumbers(2, low=0), padding=Whole(0))
def pad_and_crop(images: Tensor, offsets: Any, padding: int) -> Tensor:
    """Return images framed by zeros, cropped to their size at (row, column) offsets (m, 2).

    Raises ValueError for offsets beyond 2 padding.

    Source: torch.nn.functional.pad, torch.Tensor.narrow.
    """
    starts = torch.as_tensor(offsets).tolist()
    largest = max(max(start) for start in starts)
    if largest > 2 * padding:
        raise ValueError(f"expected offsets of at most {2 * padding}, got {largest}")
    height, width = images.shape[2:]
    framed = functional.pad(images, [padding] * 4)
    return torch.stack(
        [
            image.narrow(1, row, height).narrow(2, column, width)
            for image, (row, column) in zip(framed, starts, strict=True)
        ]
    )


@validated(largest=Whole(0), **_DRAW)
def draw_shifts(m: int, largest: int, generator: torch.Generator) -> Tensor:
    """Draw moves down and to the right, in -largest..largest, (m, 2). Source: torch.randint."""
    ends = -largest, largest + 1
    return torch.randint(*ends, (m, 2), generator=generator, device=generator.device)


@validated(images=_IMAGES, shifts=_WholeNumbers(2))
def shift(images: Tensor, shifts: Any) -> Tensor:
    """Return images moved down and to the right by whole pixels (m, 2), zeros moving in.

    Source: torch.nn.functional.pad, whose negative widths cut.
    """
    height, width = images.shape[2:]
    moved = []
    for image, (down, right) in zip(images, torch.as_tensor(shifts).tolist(), strict=True):
        down = max(-height, min(height, down))
        right = max(-width, min(width, right))
        moved.append(functional.pad(image, [right, -right, down, -down]))
    return torch.stack(moved)


@validated(largest=Number("[0, inf)"), dtype=Dtype(), **_DRAW)
def draw_angles(
    m: int, largest: float, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Draw angles uniform in [-largest, largest], (m,). Source: torch.Tensor.uniform_."""
    angles = torch.empty(m, dtype=torch.float64, device=generator.device)
    return angles.uniform_(-largest, largest, generator=generator).to(dtype)


@validated(images=_IMAGES, angles="m")
def rotate(images: Tensor, angles: Tensor) -> Tensor:
    """Return images turned counter-clockwise about their centre by angles (m,), in radians.

    torch measures x and y in half widths and half heights of the image, edge to edge with
    `align_corners=False`, so the sines carry the ratio of the two.

    Source: torch.nn.functional.affine_grid, torch.nn.functional.grid_sample.
    """
    height, width = images.shape[2:]
    sin, cos, none = angles.sin(), angles.cos(), torch.zeros_like(angles)
    x = torch.stack([cos, -sin * height / width, none], dim=1)
    y = torch.stack([sin * width / height, cos, none], dim=1)
    theta = torch.stack([x, y], dim=1)  # (m, 2, 3): from an output pixel to where it came from
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
