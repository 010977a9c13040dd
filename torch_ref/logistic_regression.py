"""Logistic regression, as PyTorch spells it: `linear`, the loss on the logits, SGD, autograd.

w is (1, n_x), the weight of `torch.nn.Linear(n_x, 1)`, and b is a scalar tensor.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from torch_ref._validation import Expected, Floats, Number, Whole, unchecked, validated
from torch_ref.costs import predict_by_threshold

__all__ = [
    "gradient_descent",
    "logistic_regression",
    "predict",
    "propagate",
    "propagate_with_loops",
]

Tensor = torch.Tensor

_DATA: dict[str, Expected] = {
    "X": Floats("m n_x"),
    "Y": Floats("m one", "labels"),
    "w": Floats("one n_x"),
    "b": Floats(""),
}


@validated(X="m n_x", w="one n_x", b="")
def logistic_regression(X: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return A = sigma(X w^T + b), shape (m, 1).

    Source: torch.nn.functional.linear, torch.sigmoid.
    """
    return functional.linear(X, w, b).sigmoid()


def _cost(w: Tensor, b: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(functional.linear(X, w, b), Y)


@validated(**_DATA)
def propagate(w: Tensor, b: Tensor, X: Tensor, Y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return J, a scalar, and its gradients {"w": (1, n_x), "b": ()}.

    Unlike torch.func.grad, which differentiates 1 - sigmoid(-z) and loses the digits of a small
    probability, autograd has sigmoid(z) - y.

    Source: torch.autograd.grad.
    """
    w, b = (one.detach().clone().requires_grad_() for one in (w, b))
    J = _cost(w, b, X, Y)
    gradients = torch.autograd.grad(J, (w, b))
    return J.detach(), dict(zip("wb", gradients, strict=True))


@validated(**_DATA)
def propagate_with_loops(
    w: Tensor, b: Tensor, X: Tensor, Y: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the result of `propagate`, the mean over a loop of one example at a time.

    Source: torch.autograd.grad.
    """
    examples = zip(torch.split(X, 1), torch.split(Y, 1), strict=True)
    each = [unchecked(propagate)(w, b, x, y) for x, y in examples]
    J = torch.stack([cost for cost, _ in each]).mean()
    return J, {name: torch.stack([one[name] for _, one in each]).mean(dim=0) for name in "wb"}


@validated(**_DATA, learning_rate=Number("(0, inf)"), steps=Whole(1))
def gradient_descent(
    w: Tensor, b: Tensor, X: Tensor, Y: Tensor, *, learning_rate: float, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return w, b after so many steps, and the costs (steps,), each before its step.

    Source: torch.optim.SGD.
    """
    w, b = (one.detach().clone().requires_grad_() for one in (w, b))
    optimizer = torch.optim.SGD([w, b], lr=learning_rate)
    costs = []
    for _ in range(steps):
        optimizer.zero_grad()
        J = _cost(w, b, X, Y)
        J.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        costs.append(J.detach())
    return w.detach(), b.detach(), torch.stack(costs)


@validated(w="one n_x", b="", X="m n_x")
def predict(w: Tensor, b: Tensor, X: Tensor) -> Tensor:
    """Return 1 where A > 0.5, else 0, shape (m, 1).

    Source: torch.gt.
    """
    return unchecked(predict_by_threshold)(unchecked(logistic_regression)(X, w, b))
