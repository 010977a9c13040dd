"""Splits, as PyTorch spells them: `tensor_split` and `index_select` on a permutation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from numbers import Real
from typing import Any, TypeAlias

import torch

from torch_ref._validation import Floats, Order, Whole, describe, unchecked, validated

__all__ = ["k_fold", "sizes", "split", "stratified_split", "take"]

Tensor = torch.Tensor
Ratios: TypeAlias = Sequence[float]


class _Ratios:
    """Two or more numbers in (0, 1) that sum to 1."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError) and other numbers (ValueError)."""
        if not isinstance(value, tuple | list) or not all(
            isinstance(one, Real) and not isinstance(one, int) for one in value
        ):
            raise TypeError(f"expected {name} to be a tuple of floats, got {describe(value)}")
        in_range = len(value) >= 2 and all(0 < one < 1 for one in value)
        if not in_range or abs(float(sum(value)) - 1) > 1e-9:  # float16 has no 1e-9 to compare with
            raise ValueError(f"expected {name} in (0, 1) that sum to 1, got {value}")


class _Members:
    """Indices of rows that X has, one or more, as a tensor or a NumPy array."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError) and indices outside 0..m-1 (ValueError)."""
        try:
            indices = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"expected {name} to be whole numbers, got {value!r}") from error
        if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
            raise TypeError(f"expected {name} to be whole numbers, got {describe(indices)}")
        if indices.ndim != 1 or not len(indices):
            raise ValueError(f"expected {name} of shape (size,), got {tuple(indices.shape)}")
        m, owner = seen.lengths["m"]
        indices = indices.long()  # torch has no minimum of unsigned numbers
        if indices.min() < 0 or indices.max() >= m:
            raise ValueError(f"expected {name} in 0..{m - 1} as {owner} has {m}, got {value}")


@validated(m=Whole(1), ratios=_Ratios())
def sizes(m: int, ratios: Ratios) -> tuple[int, ...]:
    """Return the sizes of the parts of m examples, floors and then the largest rests.

    `random_split` given ratios hands what the floors leave to the first parts instead; given these
    sizes, it cuts as `split` does.

    Source: torch.argsort.
    """
    floors, rests = _quotas(m, ratios)
    by_rest = rests.argsort(descending=True, stable=True)
    floors[by_rest[: m - int(floors.sum())]] += 1
    return tuple(floors.tolist())


@validated(order=Order(), ratios=_Ratios())
def split(order: Any, ratios: Ratios) -> tuple[Tensor, ...]:
    """Return the indices of each part, an order (m,) cut into pieces of `sizes`.

    `order` may be a tensor or a NumPy array: both sides can share it. Raises ValueError where m is
    so small that a part would be empty.

    Source: torch.tensor_split; torch.utils.data.random_split, which draws the order too.
    """
    ends = list(accumulate(_filled(len(order), ratios)))
    return torch.as_tensor(order).clone().tensor_split(ends[:-1])


@validated(Y=Floats("m n_y", "labels"), order=Order(), ratios=_Ratios())
def stratified_split(Y: Tensor, order: Any, ratios: Ratios) -> tuple[Tensor, ...]:
    """Return the indices of each part, each class (row) of the labels Y, (m, n_y), cut by ratios.

    Raises ValueError where m is so small that a part would be empty.

    Source: torch.unique, torch.repeat_interleave.
    """
    order = torch.as_tensor(order)
    wanted = torch.tensor(_filled(len(order), ratios))
    _, classes, counts = torch.unique(Y.cpu(), dim=0, return_inverse=True, return_counts=True)
    table = torch.stack([_quotas(m, ratios)[0] for m in counts.tolist()])
    in_order = classes[order.cpu().long()]  # uint8 would be taken for a mask
    part_of = torch.empty_like(in_order)
    for number, count in enumerate(counts):
        lacking = wanted - table.sum(dim=0)
        leftover = count - table[number].sum()
        table[number, lacking.argsort(descending=True, stable=True)[:leftover]] += 1
        parts = torch.arange(len(wanted)).repeat_interleave(table[number])
        part_of[in_order == number] = parts
    return tuple(order[part_of == part] for part in range(len(wanted)))


@validated(order=Order(), k=Whole(2))
def k_fold(order: Any, k: int) -> list[tuple[Tensor, Tensor]]:
    """Return (train, held out) indices k times, an order (m,) held out piece by piece.

    Raises ValueError for k > m.

    Source: torch.tensor_split.
    """
    if k > len(order):
        raise ValueError(f"expected k to be at most m = {len(order)}, got {k}")
    folds = torch.as_tensor(order).clone().tensor_split(k)
    return [
        (torch.cat(folds[:number] + folds[number + 1 :]), fold) for number, fold in enumerate(folds)
    ]


@validated(X=Floats("m n"), indices=_Members())
def take(X: Tensor, indices: Any) -> Tensor:
    """Return a copy of the rows of X, (m, n), that `indices` (size,) name: (size, n).

    Source: torch.Tensor.index_select; torch.utils.data.Subset, one by one.
    """
    return X.index_select(0, torch.as_tensor(indices).long().to(X.device))


def _quotas(m: int, ratios: Ratios) -> tuple[Tensor, Tensor]:
    """Return the floors of m ratio, (parts,), and the ranks of their rests, equal ones alike.

    In whole numbers: the rests of 10^10 examples are below the round-off of float64.
    """
    shares = [Fraction(float(one)).limit_denominator(10**9) for one in ratios]
    common = math.lcm(*(one.denominator for one in shares))
    parts = [int(one * common) for one in shares]
    floors, rests = zip(*(divmod(int(m) * part, sum(parts)) for part in parts), strict=True)
    ranks = [sorted(rests).index(rest) for rest in rests]
    return torch.tensor(floors), torch.tensor(ranks)


def _filled(m: int, ratios: Ratios) -> list[int]:
    """Return `sizes`, or raise ValueError where one is 0."""
    counts = list(unchecked(sizes)(m, ratios))
    if 0 in counts:
        raise ValueError(f"expected m large enough for every part, got {counts} of m = {m}")
    return counts
