"""Bias and variance: what the gaps between errors say, what helps, and learning curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from scratch._validation import (
    Array,
    Expected,
    Floats,
    Function,
    Indices,
    Number,
    Order,
    Seen,
    Whole,
    describe,
    validated,
)

__all__ = ["REMEDIES", "Diagnosis", "LearningCurves", "diagnose", "learning_curves"]

_BIAS = ("bigger network", "train longer")
_VARIANCE = ("more data", "regularization")
_EITHER = ("neural network architecture search",)

#: remedies of the course by diagnosis; against both, those of bias come first.
REMEDIES: Mapping[str, tuple[str, ...]] = {
    "high bias": _BIAS + _EITHER,
    "high variance": _VARIANCE + _EITHER,
    "high bias and high variance": _BIAS + _VARIANCE + _EITHER,
    "neither": (),
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

    sizes: Indices  # (k,)
    train: Array  # (k,), on the examples trained on
    dev: Array  # (k,)


class _Sizes:
    """Whole numbers of at least 1, increasing: a list, a tuple or a 1-D array."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), none, too small or unsorted ones (ValueError)."""
        if isinstance(value, np.ndarray) and value.ndim == 1:
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
    """Return the avoidable bias, train - optimal, the variance, dev - train, and what they say.

    Errors are fractions of the examples. The optimal error is the Bayes error, for which human
    error may stand. A gap is high when it is larger than the tolerance, by more than 1e-12: 0.03
    and 0.05 lie 0.02 apart, whatever their difference rounds to.

    Source: Course 2, week 1, "Bias / variance" and "Basic recipe for machine learning".
    """
    avoidable_bias = float(train_error) - float(optimal_error)
    variance = float(dev_error) - float(train_error)
    largest = float(tolerance) + _ROUND_OFF
    high_bias, high_variance = avoidable_bias > largest, variance > largest
    found = {"high bias": high_bias, "high variance": high_variance}
    name = " and ".join(one for one, high in found.items() if high) or "neither"
    return Diagnosis(avoidable_bias, variance, high_bias, high_variance, name, REMEDIES[name])


@validated(fit=Function(), X=Floats("n_x m"), Y=Floats("n_y m"), sizes=_Sizes(), order=Order("m"))
def learning_curves(
    fit: Callable[[Array, Array], tuple[float, float]],
    X: Array,
    Y: Array,
    sizes: Sequence[int],
    order: Indices,
) -> LearningCurves:
    """Return the results of `fit` on the first n examples of an order (m,), for each n of `sizes`.

    X is (n_x, m), Y is (n_y, m). `fit(X_part, Y_part) -> (train, dev)` trains anew, from the same
    initial parameters each time, on copies of n columns, and returns a cost or an error on them and
    one on the dev set. One order for all sizes means that each part holds the smaller ones.

    Raises ValueError for sizes beyond m, TypeError where fit does not return two real numbers.

    Source: Course 2, week 1, "Bias / variance", over the size of the training set.
    """
    sizes = [int(size) for size in sizes]
    if sizes[-1] > X.shape[1]:
        raise ValueError(f"expected sizes of at most m = {X.shape[1]} examples, got {sizes[-1]}")
    reached = []
    for size in sizes:
        part = order[:size]
        pair = fit(np.take(X, part, axis=1), np.take(Y, part, axis=1))
        if (
            not isinstance(pair, tuple)
            or len(pair) != 2
            or not all(isinstance(one, Real) for one in pair)
        ):
            raise TypeError(f"expected fit to return two real numbers, got {describe(pair)}")
        reached.append(pair)
    train, dev = zip(*reached, strict=True)
    return LearningCurves(np.array(sizes), np.array(train, X.dtype), np.array(dev, X.dtype))
