"""Costs, as PyTorch spells them: its losses summed over entries, then over the m rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch.nn import functional

from torch_ref._validation import Floats, Number, OneOf, validated
from torch_ref.activations import Hardmax

__all__ = [
    "COSTS",
    "REDUCTIONS",
    "Cost",
    "absolute_error",
    "accuracy",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "cross_entropy_with_logits",
    "predict_by_argmax",
    "predict_by_threshold",
]

Tensor = torch.Tensor
Cost: TypeAlias = Callable[..., Tensor]

#: divisors of the sum over all entries, given the number of examples m; torch's own "mean"
#: divides by the number of entries, which is m only for a single output.
REDUCTIONS: Mapping[str, Callable[[int], int]] = {"mean": lambda m: m, "sum": lambda m: 1}
_REDUCTION = OneOf(REDUCTIONS)


@validated(A="m n", Y="m n", reduction=_REDUCTION)
def absolute_error(A: Tensor, Y: Tensor, reduction: str = "mean") -> Tensor:
    """Return sum |Y - A|, over m for "mean", a scalar.

    Source: torch.nn.functional.l1_loss.
    """
    return functional.l1_loss(A, Y, reduction="sum") / REDUCTIONS[reduction](len(A))


@validated(A=Floats("m n", "probabilities"), Y=Floats("m n", "labels"), reduction=_REDUCTION)
def binary_cross_entropy(A: Tensor, Y: Tensor, reduction: str = "mean") -> Tensor:
    """Return -sum (Y log A + (1 - Y) log(1 - A)), over m for "mean", each log at least -100.

    Source: torch.nn.functional.binary_cross_entropy.
    """
    return functional.binary_cross_entropy(A, Y, reduction="sum") / REDUCTIONS[reduction](len(A))


@validated(Z="m n", Y=Floats("m n", "labels"), reduction=_REDUCTION)
def binary_cross_entropy_with_logits(Z: Tensor, Y: Tensor, reduction: str = "mean") -> Tensor:
    """Return sum (log(1 + e^Z) - Y Z), over m for "mean", a scalar.

    Source: torch.nn.functional.binary_cross_entropy_with_logits.
    """
    total = functional.binary_cross_entropy_with_logits(Z, Y, reduction="sum")
    return total / REDUCTIONS[reduction](len(Z))


@validated(A=Floats("m C", "probabilities"), Y=Floats("m C", "one-hot"), reduction=_REDUCTION)
def cross_entropy(A: Tensor, Y: Tensor, reduction: str = "mean") -> Tensor:
    """Return -sum log A at the labels, over m for "mean", a scalar.

    Source: torch.gather, torch.log.
    """
    at_label = A.gather(1, Y.argmax(dim=1, keepdim=True))  # log 0 elsewhere has no gradient
    return -at_label.log().sum() / REDUCTIONS[reduction](len(A))


@validated(Z="m C", Y=Floats("m C", "one-hot"), reduction=_REDUCTION)
def cross_entropy_with_logits(Z: Tensor, Y: Tensor, reduction: str = "mean") -> Tensor:
    """Return sum (log sum e^Z - Y Z), over m for "mean", a scalar.

    Source: torch.nn.functional.cross_entropy, with probabilities as targets.
    """
    return functional.cross_entropy(Z, Y, reduction="sum") / REDUCTIONS[reduction](len(Z))


@validated(A=Floats("m n", "probabilities"), threshold=Number("[0, 1]"))
def predict_by_threshold(A: Tensor, threshold: float = 0.5) -> Tensor:
    """Return 1 where A > threshold, else 0, shape (m, n).

    Source: torch.gt.
    """
    return A.gt(float(threshold)).to(A.dtype)


@validated(A="m C")
def predict_by_argmax(A: Tensor) -> Tensor:
    """Return one-hot rows (m, C), 1 at the first largest A.

    Source: torch.argmax.
    """
    return Hardmax()(A)  # type: ignore[no-any-return]


@validated(prediction=Floats("m n", "labels"), Y=Floats("m n", "labels"))
def accuracy(prediction: Tensor, Y: Tensor) -> float:
    """Return the fraction of the m rows in which every one of the n labels is right.

    Source: torch.eq.
    """
    return float((prediction == Y).all(dim=1).double().mean())


#: every cost by name; the same keys as `scratch.costs.COSTS`.
COSTS: Mapping[str, Cost] = {
    "absolute_error": absolute_error,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "cross_entropy": cross_entropy,
    "cross_entropy_with_logits": cross_entropy_with_logits,
}
