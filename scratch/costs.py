"""Costs J, their gradients, and predictions; the 1/m of the whole network stands here, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from scratch._validation import Array, Floats, Instance, Number, OneOf, unchecked, validated
from scratch.activations import hardmax_forward, sigmoid_forward, softmax_forward

__all__ = [
    "COSTS",
    "REDUCTIONS",
    "AbsoluteErrorCache",
    "BinaryCrossEntropyCache",
    "BinaryCrossEntropyWithLogitsCache",
    "Cost",
    "CrossEntropyCache",
    "CrossEntropyWithLogitsCache",
    "absolute_error_backward",
    "absolute_error_forward",
    "accuracy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_forward",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "cross_entropy_with_logits_backward",
    "cross_entropy_with_logits_forward",
    "predict_by_argmax",
    "predict_by_threshold",
]

#: divisors of the sum over all entries, given the number of examples m.
REDUCTIONS: Mapping[str, Callable[[int], int]] = {"mean": lambda m: m, "sum": lambda m: 1}
_REDUCTION = OneOf(REDUCTIONS)

_sigmoid = unchecked(sigmoid_forward)
_softmax = unchecked(softmax_forward)
_hardmax = unchecked(hardmax_forward)


class AbsoluteErrorCache(NamedTuple):
    """Cache of `absolute_error_forward`, for `absolute_error_backward`."""

    A: Array  # (n, m)
    Y: Array  # (n, m)
    divisor: int


class BinaryCrossEntropyCache(NamedTuple):
    """Cache of `binary_cross_entropy_forward`, for `binary_cross_entropy_backward`."""

    A: Array  # (n, m)
    Y: Array  # (n, m)
    divisor: int


class BinaryCrossEntropyWithLogitsCache(NamedTuple):
    """Cache of `binary_cross_entropy_with_logits_forward`, for its backward."""

    A: Array  # (n, m)
    Y: Array  # (n, m)
    divisor: int


class CrossEntropyCache(NamedTuple):
    """Cache of `cross_entropy_forward`, for `cross_entropy_backward`."""

    A: Array  # (C, m)
    Y: Array  # (C, m)
    divisor: int


class CrossEntropyWithLogitsCache(NamedTuple):
    """Cache of `cross_entropy_with_logits_forward`, for `cross_entropy_with_logits_backward`."""

    A: Array  # (C, m)
    Y: Array  # (C, m)
    divisor: int


class Cost(NamedTuple):
    """A cost function and its backward."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], dict[str, Array]]


def _label_times_log(Y: Array, A: Array) -> Array:
    """Return Y log A with 0 log 0 = 0, its limit; a wrong label at A = 0 costs infinity."""
    log_A = np.zeros_like(A)
    np.log(A, out=log_A, where=Y != 0)
    return Y * log_A


def _rest_times_log(Y: Array, A: Array) -> Array:
    """Return (1 - Y) log(1 - A) with 0 log 0 = 0, to the last digit: a small A is lost in 1 - A."""
    log_rest = np.zeros_like(A)
    np.log1p(-A, out=log_rest, where=Y != 1)
    return (1 - Y) * log_rest


def _label_over(Y: Array, A: Array) -> Array:
    """Return Y / A with 0 / 0 = 0, the gradient of `_label_times_log`."""
    return np.divide(Y, A, out=np.zeros_like(A), where=Y != 0)


@validated(A="n m", Y="n m", reduction=_REDUCTION)
def absolute_error_forward(
    A: Array, Y: Array, reduction: str = "mean"
) -> tuple[Any, AbsoluteErrorCache]:
    """Return J = sum |Y - A|, over m for the reduction "mean", a scalar, and the cache.

    Source: Course 1, week 2, "Python basics with NumPy", the L1 loss.
    """
    divisor = REDUCTIONS[reduction](A.shape[1])
    return np.abs(Y - A).sum() / divisor, AbsoluteErrorCache(A, Y, divisor)


@validated(cache=Instance(AbsoluteErrorCache, A="n m", Y="n m"), dJ="")
def absolute_error_backward(dJ: Any, cache: AbsoluteErrorCache) -> dict[str, Array]:
    """Pull the scalar dJ back: dA = dJ sign(A - Y), over m for "mean", 0 at A = Y.

    Source: Course 1, week 2, "Python basics with NumPy", the L1 loss.
    """
    A, Y, divisor = cache
    return {"A": dJ / divisor * np.sign(A - Y)}


@validated(A=Floats("n m", "probabilities"), Y=Floats("n m", "labels"), reduction=_REDUCTION)
def binary_cross_entropy_forward(
    A: Array, Y: Array, reduction: str = "mean"
) -> tuple[Any, BinaryCrossEntropyCache]:
    """Return J = -sum (Y log A + (1 - Y) log(1 - A)), over m for "mean", and the cache.

    As taught, from probabilities: infinite, with NumPy's warning, where a saturated A is wrong.

    Source: Course 1, week 2, "Logistic regression cost function".
    """
    divisor = REDUCTIONS[reduction](A.shape[1])
    J = -(_label_times_log(Y, A) + _rest_times_log(Y, A)).sum() / divisor
    return J, BinaryCrossEntropyCache(A, Y, divisor)


@validated(cache=Instance(BinaryCrossEntropyCache, A="n m", Y="n m"), dJ="")
def binary_cross_entropy_backward(dJ: Any, cache: BinaryCrossEntropyCache) -> dict[str, Array]:
    """Pull the scalar dJ back: dA = dJ (-Y / A + (1 - Y) / (1 - A)), over m for "mean".

    Source: Course 1, week 3, "Backpropagation intuition".
    """
    A, Y, divisor = cache
    return {"A": dJ / divisor * (_label_over(1 - Y, 1 - A) - _label_over(Y, A))}


@validated(Z="n m", Y=Floats("n m", "labels"), reduction=_REDUCTION)
def binary_cross_entropy_with_logits_forward(
    Z: Array, Y: Array, reduction: str = "mean"
) -> tuple[Any, BinaryCrossEntropyWithLogitsCache]:
    """Return J = sum (log(1 + e^Z) - Y Z), over m for "mean", and the cache.

    Finite and exact for logits to +-1e4.

    Source: Course 1, week 2, "Logistic regression cost function", with A = sigmoid(Z) put in.
    """
    divisor = REDUCTIONS[reduction](Z.shape[1])
    # log(1 + e^Z) = max(0, Z) + log(1 + e^-|Z|) never overflows; Y Z cancels max(0, Z) exactly
    J = (np.maximum(Z, 0) - Y * Z + np.log1p(np.exp(-np.abs(Z)))).sum() / divisor
    return J, BinaryCrossEntropyWithLogitsCache(_sigmoid(Z)[0], Y, divisor)


@validated(cache=Instance(BinaryCrossEntropyWithLogitsCache, A="n m", Y="n m"), dJ="")
def binary_cross_entropy_with_logits_backward(
    dJ: Any, cache: BinaryCrossEntropyWithLogitsCache
) -> dict[str, Array]:
    """Pull the scalar dJ back: dZ = dJ (A - Y), over m for "mean", shape (n, m).

    Source: Course 1, week 3, "Gradient descent for neural networks".
    """
    A, Y, divisor = cache
    return {"Z": dJ / divisor * (A - Y)}


@validated(A=Floats("C m", "probabilities"), Y=Floats("C m", "one-hot"), reduction=_REDUCTION)
def cross_entropy_forward(
    A: Array, Y: Array, reduction: str = "mean"
) -> tuple[Any, CrossEntropyCache]:
    """Return J = -sum Y log A over the C classes, over m for "mean", and the cache.

    As taught, from probabilities: infinite, with NumPy's warning, where a saturated A is wrong.

    Source: Course 2, week 3, "Training a softmax classifier".
    """
    divisor = REDUCTIONS[reduction](A.shape[1])
    return -_label_times_log(Y, A).sum() / divisor, CrossEntropyCache(A, Y, divisor)


@validated(cache=Instance(CrossEntropyCache, A="C m", Y="C m"), dJ="")
def cross_entropy_backward(dJ: Any, cache: CrossEntropyCache) -> dict[str, Array]:
    """Pull the scalar dJ back: dA = -dJ Y / A, over m for "mean", shape (C, m).

    Source: Course 2, week 3, "Training a softmax classifier".
    """
    A, Y, divisor = cache
    return {"A": -dJ / divisor * _label_over(Y, A)}


@validated(Z="C m", Y=Floats("C m", "one-hot"), reduction=_REDUCTION)
def cross_entropy_with_logits_forward(
    Z: Array, Y: Array, reduction: str = "mean"
) -> tuple[Any, CrossEntropyWithLogitsCache]:
    """Return J = sum (log sum e^Z - Y Z), over m for "mean", and the cache.

    Finite and exact for logits to +-1e4.

    Source: Course 2, week 3, "Training a softmax classifier", with A = softmax(Z) put in.
    """
    divisor = REDUCTIONS[reduction](Z.shape[1])
    shifted = Z - Z.max(axis=0)
    log_sum = np.log(np.exp(shifted).sum(axis=0))
    J = (log_sum - (Y * shifted).sum(axis=0)).sum() / divisor
    return J, CrossEntropyWithLogitsCache(_softmax(Z)[0], Y, divisor)


@validated(cache=Instance(CrossEntropyWithLogitsCache, A="C m", Y="C m"), dJ="")
def cross_entropy_with_logits_backward(
    dJ: Any, cache: CrossEntropyWithLogitsCache
) -> dict[str, Array]:
    """Pull the scalar dJ back: dZ = dJ (A - Y), over m for "mean", shape (C, m).

    Source: Course 2, week 3, "Training a softmax classifier".
    """
    A, Y, divisor = cache
    return {"Z": dJ / divisor * (A - Y)}


@validated(A=Floats("n m", "probabilities"), threshold=Number("[0, 1]"))
def predict_by_threshold(A: Array, threshold: float = 0.5) -> Array:
    """Return 1 where A > threshold, else 0, shape (n, m), in the form of Y.

    Source: Course 1, week 2, "Logistic regression".
    """
    return np.greater(A, float(threshold)).astype(A.dtype)


@validated(A="C m")
def predict_by_argmax(A: Array) -> Array:
    """Return one-hot columns (C, m), 1 at the first largest A, in the form of Y.

    Source: Course 2, week 3, "Softmax regression".
    """
    return _hardmax(A)[0]


@validated(prediction=Floats("n m", "labels"), Y=Floats("n m", "labels"))
def accuracy(prediction: Array, Y: Array) -> float:
    """Return the fraction of the m columns in which every one of the n labels is right.

    Source: Course 1, week 3, "Planar data classification with one hidden layer".
    """
    return float((prediction == Y).all(axis=0).mean())


#: every cost by name; the same keys as `torch_ref.costs.COSTS`.
COSTS: Mapping[str, Cost] = {
    "absolute_error": Cost(absolute_error_forward, absolute_error_backward),
    "binary_cross_entropy": Cost(binary_cross_entropy_forward, binary_cross_entropy_backward),
    "binary_cross_entropy_with_logits": Cost(
        binary_cross_entropy_with_logits_forward, binary_cross_entropy_with_logits_backward
    ),
    "cross_entropy": Cost(cross_entropy_forward, cross_entropy_backward),
    "cross_entropy_with_logits": Cost(
        cross_entropy_with_logits_forward, cross_entropy_with_logits_backward
    ),
}
