"""Splits into train, dev and test sets, by ratio, stratified or k-fold: the order is drawn as data.

The order comes from `mini_batches.draw_order`; what is returned are indices, for `take`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from scratch._validation import (
    Array,
    Floats,
    Indices,
    Order,
    Whole,
    describe,
    match_shape,
    unchecked,
    validated,
)

__all__ = ["k_fold", "sizes", "split", "stratified_split", "take"]

Ratios: TypeAlias = Sequence[float]


class _Ratios:
    """Two or more numbers in (0, 1) that sum to 1."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError) and other numbers (ValueError)."""
        if not isinstance(value, tuple | list) or not all(
            isinstance(one, float | np.floating) for one in value
        ):
            raise TypeError(f"expected {name} to be a tuple of floats, got {describe(value)}")
        in_range = len(value) >= 2 and all(0 < one < 1 for one in value)
        if not in_range or abs(float(sum(value)) - 1) > 1e-9:  # float16 has no 1e-9 to compare with
            raise ValueError(f"expected {name} in (0, 1) that sum to 1, got {value}")


class _Members:
    """Indices of columns that X has, one or more."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError) and indices outside 0..m-1 (ValueError)."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
            raise TypeError(f"expected {name} to be an integer NumPy array, got {describe(value)}")
        match_shape(name, value.shape, "size", seen)
        m, owner = seen.lengths["m"]
        if value.min() < 0 or value.max() >= m:
            raise ValueError(f"expected {name} in 0..{m - 1} as {owner} has {m}, got {value}")


@validated(m=Whole(1), ratios=_Ratios())
def sizes(m: int, ratios: Ratios) -> tuple[int, ...]:
    """Return the sizes of the parts of m examples: floor(ratio m), and 1 for the largest rests.

    They sum to m. Ratios are meant as fractions, 0.1 as one tenth; of equal rests the earlier part
    gets its example first. A part may be left with none.

    Source: Course 2, week 1, "Train / dev / test sets"; the largest remainder method.
    """
    quotas = _quotas(m, ratios)
    counts = [int(quota) for quota in quotas]
    by_rest = sorted(range(len(counts)), key=lambda part: counts[part] - quotas[part])
    for part in by_rest[: m - sum(counts)]:
        counts[part] += 1
    return tuple(counts)


@validated(order=Order("m"), ratios=_Ratios())
def split(order: Indices, ratios: Ratios) -> tuple[Indices, ...]:
    """Return the indices of each part, an order (m,) cut into pieces of `sizes`.

    Raises ValueError where m is so small that a part would be empty.

    Source: Course 2, week 1, "Train / dev / test sets".
    """
    ends = np.cumsum(_filled(len(order), ratios))
    return tuple(piece.copy() for piece in np.split(order, ends[:-1]))


@validated(Y=Floats("n_y m", "labels"), order=Order("m"), ratios=_Ratios())
def stratified_split(Y: Array, order: Indices, ratios: Ratios) -> tuple[Indices, ...]:
    """Return the indices of each part, each class of the labels Y, (n_y, m), cut by the ratios.

    A class is a column of Y: 0 or 1 in a single row, a one-hot column, a set of labels. The parts
    are as large as those of `split`, and have at most one example of a class more or less than
    ratio times the class; within a part, examples keep their order. Raises ValueError where m is
    so small that a part would be empty.

    Source: Course 2, week 1, "Train / dev / test sets", dev and test of one distribution.
    """
    wanted = np.array(_filled(len(order), ratios))
    _, classes, counts = np.unique(Y, axis=1, return_inverse=True, return_counts=True)
    table = np.array([[int(quota) for quota in _quotas(int(count), ratios)] for count in counts])
    in_order = classes.ravel()[order]
    part_of = np.empty(len(order), int)
    for number, (row, count) in enumerate(zip(table, counts, strict=True)):
        # the rest that rounding left of this class goes where the parts as a whole lack most
        lacking = wanted - table.sum(axis=0)
        row[np.argsort(-lacking, kind="stable")[: count - row.sum()]] += 1
        part_of[in_order == number] = np.repeat(np.arange(len(row)), row)
    return tuple(order[part_of == part] for part in range(len(wanted)))


@validated(order=Order("m"), k=Whole(2))
def k_fold(order: Indices, k: int) -> list[tuple[Indices, Indices]]:
    """Return (train, held out) indices k times, an order (m,) held out piece by piece.

    Each example is held out once; sizes differ by one at most, the larger ones first. Raises
    ValueError for k > m.

    Source: Course 2, week 1, "Train / dev / test sets", k-fold cross-validation.
    """
    if k > len(order):
        raise ValueError(f"expected k to be at most m = {len(order)}, got {k}")
    folds = np.array_split(order, k)
    return [
        (np.concatenate(folds[:number] + folds[number + 1 :]), fold.copy())
        for number, fold in enumerate(folds)
    ]


@validated(X=Floats("n m"), indices=_Members())
def take(X: Array, indices: Indices) -> Array:
    """Return a copy of the columns of X, (n, m), that `indices` (size,) name: (n, size).

    Source: Course 2, week 1, "Train / dev / test sets".
    """
    return np.take(X, indices, axis=1)


def _quotas(m: int, ratios: Ratios) -> list[Fraction]:
    """Return m ratio / (sum of ratios), without the round-off of 0.29 * 100 and of 1 / 6."""
    exact = [Fraction(float(ratio)).limit_denominator(10**9) for ratio in ratios]
    return [m * one / sum(exact) for one in exact]


def _filled(m: int, ratios: Ratios) -> tuple[int, ...]:
    """Return `sizes`, or raise ValueError where one is 0."""
    counts = unchecked(sizes)(m, ratios)
    if 0 in counts:
        raise ValueError(f"expected m large enough for every part, got {counts} of m = {m}")
    return counts
