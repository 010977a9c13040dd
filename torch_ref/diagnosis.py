"""Bias and variance, as PyTorch spells them: `diff` of the errors, `index_select` of examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import torch

from torch_ref._validation import (
    Expected,
    Function,
    Number,
    Order,
    Seen,
    Whole,
    describe,
    validated,
)

__all__ = ["REMEDIES", "Diagnosis", "LearningCurves", "diagnose", "learning_curves"]

Tensor = torch.Tensor

#: remedies of the course by diagnosis; the same keys as `scratch.diagnosis.REMEDIES`.
REMEDIES: Mapping[str, tuple[str, ...]] = {
    "neither": (),
    "high bias": ("bigger network", "train longer", "neural network architecture search"),
    "high variance": ("more data", "regularization", "neural network architecture search"),
    "high bias and high variance": (
        "bigger network",
        "train longer",
        "more data",
        "regularization",
        "neural network architecture search",
    ),
}


class Diagnosis(NamedTuple):
    """The two gaps, which of them are high, the diagnosis by its name in `REMEDIES`, and those."""

    avoidable_bias: float
    variance: float
    high_bias: bool
    high_variance: bool
    name: str
    remedies: tuple[str, ...]


class LearningCurves(NamedTuple):
    """Costs on both sets for each number of training examples."""

    sizes: Tensor  # (k,)
    train: Tensor  # (k,), on the examples trained on
    dev: Tensor  # (k,)


class _Sizes:
    """Whole numbers of at least 1, increasing: a list, a tuple, a 1-D tensor or NumPy array."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), none, too small or unsorted ones (ValueError)."""
        if getattr(value, "ndim", 0) == 1:  # a tensor or a NumPy array
            value = value.tolist()
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"expected {name} to be a list of whole numbers, got {describe(value)}")
        if not value:
            raise ValueError(f"expected {name} to hold at least one size, got none")
        for index, size in enumerate(value):
            Whole(1).check(f"{name}[{index}]", size, seen)
        if any(one >= other for one, other in pairwise(value)):
            raise ValueError(f"expected {name} to increase, got {list(value)}")


#: by how much a gap may pass the tolerance and be a tie: the round-off of 0.03 - 0.01 is below.
_ROUND_OFF = 1e-12

_ERRORS: dict[str, Expected] = {
    "train_error": Number("[0, 1]"),
    "dev_error": Number("[0, 1]"),
    "optimal_error": Number("[0, 1]"),
    "tolerance": Number("[0, 1]"),
}


@validated(**_ERRORS)
def diagnose(
    train_error: float, dev_error: float, optimal_error: float = 0.0, *, tolerance: float = 0.02
) -> Diagnosis:
    """Return the gaps between the optimal, the train and the dev error, and what they say.

    A gap is high when it is larger than the tolerance, by more than 1e-12.

    Source: torch.diff.
    """
    errors = torch.tensor([optimal_error, train_error, dev_error], dtype=torch.float64)
    gaps = errors.diff()
    avoidable_bias, variance = gaps.tolist()
    high_bias, high_variance = (gaps > float(tolerance) + _ROUND_OFF).tolist()
    name = list(REMEDIES)[high_bias + 2 * high_variance]
    return Diagnosis(avoidable_bias, variance, high_bias, high_variance, name, REMEDIES[name])


@validated(fit=Function(), X="m n_x", Y="m n_y", sizes=_Sizes(), order=Order())
def learning_curves(
    fit: Callable[[Tensor, Tensor], tuple[Any, Any]],
    X: Tensor,
    Y: Tensor,
    sizes: Sequence[int],
    order: Any,
) -> LearningCurves:
    """Return the results of `fit` on the first n examples of an order (m,), for each n of `sizes`.

    X is (m, n_x), Y is (m, n_y). `fit(X_part, Y_part) -> (train, dev)` trains anew, from the same
    initial parameters each time, on copies of n rows, and returns a cost or an error on them and
    one on the dev set, numbers or scalar tensors.

    Raises ValueError for sizes beyond m, TypeError where fit does not return two real numbers.

    Source: torch.Tensor.index_select.
    """
    sizes = [int(size) for size in sizes]
    if sizes[-1] > len(X):
        raise ValueError(f"expected sizes of at most m = {len(X)} examples, got {sizes[-1]}")
    order = torch.as_tensor(order).long().to(X.device)
    reached = torch.empty(len(sizes), 2, dtype=X.dtype)
    for row, size in zip(reached, sizes, strict=True):
        pair = fit(X.index_select(0, order[:size]), Y.index_select(0, order[:size]))
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise TypeError(f"expected fit to return two real numbers, got {describe(pair)}")
        row[0], row[1] = pair
    return LearningCurves(torch.tensor(sizes), *reached.unbind(dim=1))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0)
