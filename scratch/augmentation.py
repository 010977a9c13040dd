"""Augmentation of image batches: flips, crops, shifts and rotations, each drawn first as data.

Columns are examples here too: images are (height, width, channels, m), their last axis is m, and
each of the m images has a draw of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch._validation import (
    Array,
    Dtype,
    Expected,
    Floats,
    Indices,
    Instance,
    Number,
    Whole,
    describe,
    match_shape,
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

Rng = np.random.Generator


class _WholeNumbers:
    """An array of whole numbers of a named shape, each at least `low` and at most `high`."""

    def __init__(self, axes: str, low: int | None = None, high: int | None = None) -> None:
        self.axes, self.low, self.high = axes, low, high

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError), shapes and numbers (ValueError)."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
            raise TypeError(f"expected {name} to be an integer NumPy array, got {describe(value)}")
        match_shape(name, value.shape, self.axes, seen)
        if self.low is not None and value.min() < self.low:
            raise ValueError(f"expected {name} of at least {self.low}, got {value.min()}")
        if self.high is not None and value.max() > self.high:
            raise ValueError(f"expected {name} of at most {self.high}, got {value.max()}")


_IMAGES = Floats("height width channels m")
_DRAW: dict[str, Expected] = {"m": Whole(1), "rng": Instance(Rng)}


@validated(probability=Number("[0, 1]"), **_DRAW)
def draw_flips(m: int, rng: Rng, probability: float = 0.5) -> Indices:
    """Draw for each of m images whether to flip it: 1 with that probability or 0, shape (m,).

    Source: Course 4, week 2, "Data augmentation"; Course 2, week 1, "Other regularization methods".
    """
    return (rng.random(m) < probability).astype(int)


@validated(images=_IMAGES, flips=_WholeNumbers("m", 0, 1))
def horizontal_flip(images: Array, flips: Indices) -> Array:
    """Return images, (height, width, channels, m), mirrored left to right where flips (m,) is 1.

    Source: Course 2, week 1, "Other regularization methods", data augmentation.
    """
    return np.where(flips == 1, images[:, ::-1], images)


@validated(padding=Whole(0), **_DRAW)
def draw_offsets(m: int, padding: int, rng: Rng) -> Indices:
    """Draw where each crop begins, rows and columns in 0..2 padding, shape (2, m).

    Source: Course 4, week 2, "Data augmentation", random cropping.
    """
    return rng.integers(0, 2 * padding + 1, (2, m))


@validated(images=_IMAGES, offsets=_WholeNumbers("2 m", 0), padding=Whole(0))
def pad_and_crop(images: Array, offsets: Indices, padding: int) -> Array:
    """Return images, (height, width, channels, m), framed by zeros and cropped to their size.

    The frame is `padding` wide; the crop begins at row offsets[0] and column offsets[1] of the
    framed image, (2, m), so that offsets equal to `padding` change nothing. Raises ValueError for
    offsets beyond 2 padding, where the crop would leave the frame.

    Source: Course 4, week 2, "Data augmentation", random cropping; He et al. (2016), "Deep residual
    learning for image recognition", section 4.2.
    """
    if offsets.max() > 2 * padding:
        raise ValueError(f"expected offsets of at most {2 * padding}, got {offsets.max()}")
    return _moved(images, padding - offsets.astype(int))


@validated(largest=Whole(0), **_DRAW)
def draw_shifts(m: int, largest: int, rng: Rng) -> Indices:
    """Draw how far each image moves down and to the right, in -largest..largest, shape (2, m).

    Source: Course 2, week 1, "Other regularization methods", data augmentation.
    """
    return rng.integers(-largest, largest + 1, (2, m))


@validated(images=_IMAGES, shifts=_WholeNumbers("2 m"))
def shift(images: Array, shifts: Indices) -> Array:
    """Return images, (height, width, channels, m), moved by whole pixels, zeros moving in.

    An image moves down by shifts[0] and to the right by shifts[1], (2, m).

    Source: Course 2, week 1, "Other regularization methods", data augmentation.
    """
    return _moved(images, shifts)


@validated(largest=Number("[0, inf)"), dtype=Dtype(), **_DRAW)
def draw_angles(m: int, largest: float, rng: Rng, dtype: Any = np.float64) -> Array:
    """Draw an angle in radians for each of m images, uniform in [-largest, largest], shape (m,).

    The images' dtype is the one to ask for; the same generator draws the same angles in each.

    Source: Course 2, week 1, "Other regularization methods", data augmentation.
    """
    return rng.uniform(-largest, largest, m).astype(dtype)


@validated(images=_IMAGES, angles="m")
def rotate(images: Array, angles: Array) -> Array:
    """Return images, (height, width, channels, m), turned about their centre, zeros around them.

    Positive angles (m,), in radians, turn counter-clockwise. Pixels are squares with their values
    at the centres, and the image's centre is ((height - 1) / 2, (width - 1) / 2): each pixel reads
    the point it came from, between four centres bilinearly (torch's `align_corners=False`).

    Source: Course 2, week 1, "Other regularization methods", data augmentation by rotation.
    """
    height, width, _, _ = images.shape
    sin, cos = np.sin(angles), np.cos(angles)
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    y = np.arange(height).astype(images.dtype)[:, None, None] - middle_row
    x = np.arange(width).astype(images.dtype)[:, None] - middle_column
    row = middle_row + cos * y + sin * x  # (height, width, m)
    column = middle_column - sin * y + cos * x
    top, left = np.floor(row), np.floor(column)
    down, across = (row - top)[:, :, None], (column - left)[:, :, None]
    framed = _frame(images)
    upper, lower = (
        (1 - across) * _read(framed, line, left) + across * _read(framed, line, left + 1)
        for line in (top, top + 1)
    )
    turned: Array = (1 - down) * upper + down * lower
    return turned


def _moved(images: Array, shifts: Indices) -> Array:
    """Return pixel (row - shifts[0], column - shifts[1]) of each image."""
    height, width, _, _ = images.shape
    rows = np.arange(height)[:, None, None] - shifts[0]  # (height, 1, m)
    columns = np.arange(width)[:, None] - shifts[1]  # (width, m)
    return _read(_frame(images), rows, columns)


def _frame(images: Array) -> Array:
    """Return images with a frame of zeros, one pixel wide."""
    return np.pad(images, [(1, 1), (1, 1), (0, 0), (0, 0)])


def _read(framed: Array, row: Any, column: Any) -> Array:
    """Return pixels (row, column), (height, width, m), of each image; outside, the frame's zeros.

    Whole numbers of any dtype, counted without the frame.
    """
    last_row, last_column = framed.shape[0] - 2, framed.shape[1] - 2
    rows = np.clip(row, -1, last_row).astype(np.intp) + 1
    columns = np.clip(column, -1, last_column).astype(np.intp) + 1
    pixels = framed[rows, columns, :, np.arange(framed.shape[3])]  # (height, width, m, channels)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 2))
