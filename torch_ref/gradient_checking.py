"""Gradient checking, as PyTorch spells it: `torch.autograd.gradcheck`, and how far it is from fine.

`gradcheck` gives a verdict alone, so the differences are taken once more, on one flat vector.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from torch_ref._checks import check_data
from torch_ref._validation import (
    Expected,
    Function,
    Instance,
    Number,
    Optional,
    describe,
    unchecked,
    validated,
)
from torch_ref.network import Network, cost_and_gradients, objective
from torch_ref.parameters import parameters as parameters_of
from torch_ref.regularization import weights

__all__ = [
    "GradientCheck",
    "KinkWarning",
    "check_network",
    "gradient_check",
    "numerical_gradient",
    "relative_error",
]

Tensor = torch.Tensor
Tensors = dict[str, Tensor]
Cost = Callable[[Tensors], Tensor]

_STEP: dict[str, Expected] = {
    "epsilon": Optional(Number("(0, inf)")),
    "two_sided": Instance(bool),
}

#: tolerances of gradcheck for an entry: absolute, and relative to the difference.
ABSOLUTE, RELATIVE = 1e-8, 1e-4


class KinkWarning(UserWarning):
    """A step led across a kink: the difference quotient there is no derivative."""


class GradientCheck(NamedTuple):
    """Distance of gradients from differences: together, by tensor, by parameter, in a word."""

    difference: float
    by_tensor: dict[str, float]
    errors: Tensors
    approximation: Tensors
    agrees: bool  # the verdict of torch.autograd.gradcheck

    @property
    def culprit(self) -> tuple[str, tuple[int, ...]]:
        """The tensor with the largest error, and the index of its worst parameter."""
        name = max(self.by_tensor, key=lambda one: self.by_tensor[one])
        place = torch.unravel_index(self.errors[name].argmax(), self.errors[name].shape)
        return name, tuple(int(i) for i in place)


def _check(named: Mapping[str, Any], what: str) -> None:
    """Raise unless these are float64 tensors, the precision that gradcheck asks for."""
    if not named:
        raise ValueError(f"expected {what} to hold at least one name, got none")
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float64:
            raise TypeError(f"expected {what} to be float64 tensors, got {describe(tensor)}")
        if not (tensor.numel() and tensor.isfinite().all()):
            raise ValueError(f"expected {name} to be finite and not empty, got {tensor}")


def _flat(named: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in named.values()])


def _named(theta: Tensor, like: Mapping[str, Tensor]) -> Tensors:
    pieces = torch.split(theta, [tensor.numel() for tensor in like.values()])
    return {
        name: piece.view_as(tensor)
        for (name, tensor), piece in zip(like.items(), pieces, strict=True)
    }


def _of_vector(cost: Cost, like: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the cost as a function of theta that refuses what is no finite scalar."""

    def of_vector(theta: Tensor) -> Tensor:
        J = cost(_named(theta, like))
        if not isinstance(J, Tensor):
            raise TypeError(f"expected cost to return a tensor, got {describe(J)}")
        if J.shape or not J.isfinite():
            raise ValueError(f"expected cost to return a finite scalar, got {J}")
        return J

    return of_vector


def _default_step(two_sided: bool) -> float:
    return float(torch.finfo(torch.float64).eps ** (1 / 3 if two_sided else 1 / 2))


@validated(cost=Function(), parameters=Instance(dict), **_STEP)
@torch.no_grad()
def numerical_gradient(
    cost: Cost, parameters: Tensors, *, epsilon: float | None = None, two_sided: bool = True
) -> Tensors:
    """Return the two-sided difference quotients of cost(parameters) by name, or one-sided ones.

    Parameters are float64 tensors by name. Source: torch.split.
    """
    _check(parameters, "parameters")
    theta, of_vector = _flat(parameters), _of_vector(cost, parameters)
    epsilon = _default_step(two_sided) if epsilon is None else float(epsilon)
    J = of_vector(theta)
    if of_vector(theta.clone()) != J:
        raise ValueError("expected cost to be a function of its parameters, got two values at one")
    moved, approximation = theta.clone(), torch.empty_like(theta)
    for i, here in enumerate(theta):
        high, low = here + epsilon, here - epsilon if two_sided else here
        moved[i] = high
        J_high = of_vector(moved)
        moved[i] = low
        J_low = of_vector(moved) if two_sided else J
        moved[i] = here
        approximation[i] = (J_high - J_low) / (high - low)
    if not approximation.isfinite().all():
        raise ValueError(f"expected epsilon to move every parameter, got {epsilon}")
    return _named(approximation, parameters)


@validated(approximation="N", gradient="N")
def relative_error(approximation: Tensor, gradient: Tensor) -> float:
    """Return ||approximation - gradient|| / (||approximation|| + ||gradient||), 0 for two zeros.

    Source: torch.linalg.vector_norm.
    """
    largest = torch.maximum(approximation.abs().max(), gradient.abs().max())
    if not largest:
        return 0.0
    norm = torch.linalg.vector_norm  # of what the largest entry is 1: no square leaves the range
    norms = norm(approximation / largest) + norm(gradient / largest)
    return float(norm(approximation / largest - gradient / largest) / norms)


class _Claimed(torch.autograd.Function):
    """A cost whose backward hands out the gradient that is to be judged."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, of_vector: Any, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return of_vector(theta)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dJ: Tensor) -> tuple[Tensor, None, None]:
        return dJ * ctx.gradient, None, None


@validated(cost=Function(), parameters=Instance(dict), gradients=Instance(dict), **_STEP)
def gradient_check(
    cost: Cost,
    parameters: Tensors,
    gradients: Tensors,
    *,
    epsilon: float | None = None,
    two_sided: bool = True,
) -> GradientCheck:
    """Return the distance of `gradients` from `numerical_gradient`, and gradcheck's verdict.

    gradcheck judges a backward, so the gradients are given to it as the backward of the cost. Its
    own differences are two-sided always.

    Source: torch.autograd.gradcheck.
    """
    _check(gradients, "gradients")
    approximation = unchecked(numerical_gradient)(
        cost, parameters, epsilon=epsilon, two_sided=two_sided
    )
    shapes = {name: tensor.shape for name, tensor in parameters.items()}
    if {name: tensor.shape for name, tensor in gradients.items()} != shapes:
        raise ValueError(f"expected gradients of shapes {shapes}, got {gradients}")
    norm = torch.linalg.vector_norm
    errors, by_tensor = {}, {}
    for name, quotients in approximation.items():
        gap, norms = (quotients - gradients[name]).abs(), norm(quotients) + norm(gradients[name])
        errors[name] = gap / norms if norms else gap
        by_tensor[name] = float(norm(errors[name]))
    ordered = _flat({name: gradients[name] for name in parameters})
    of_vector = _of_vector(cost, parameters)
    agrees: bool = torch.autograd.gradcheck(
        lambda theta: _Claimed.apply(theta, of_vector, ordered),  # type: ignore[no-untyped-call]
        _flat(parameters).requires_grad_(),
        eps=epsilon if two_sided and epsilon else _default_step(True),
        raise_exception=False,
        atol=ABSOLUTE,
        rtol=RELATIVE,
    )
    difference = relative_error(_flat(approximation), ordered)
    return GradientCheck(difference, by_tensor, errors, approximation, agrees)


@validated(
    module=Instance(Network),
    X="m n_x",
    Y="m n_y",
    l1=Number("[0, inf)"),
    l2=Number("[0, inf)"),
    **_STEP,
)
def check_network(
    module: Network,
    X: Tensor,
    Y: Tensor,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    epsilon: float | None = None,
    two_sided: bool = True,
) -> GradientCheck:
    """Return `gradient_check` of autograd's gradients of a float64 network, penalties included.

    Warns with `KinkWarning` when a step leads the input of some rectifier, or a weight under L1,
    across 0. Raises ValueError for a module that drops units.

    Source: torch.autograd.gradcheck, torch.nn.Module.register_forward_pre_hook.
    """
    check_data(module, X, Y)
    if module.dropouts:
        raise ValueError(
            f"expected a module with every keep_prob 1, got keep_probs {module.keep_probs}"
        )
    _, gradients = unchecked(cost_and_gradients)(module, X, Y, l1=l1, l2=l2)
    moved = copy.deepcopy(module).train()  # batch norm takes the mean and variance of X
    named = {name: one.detach() for name, one in unchecked(parameters_of)(module).items()}
    rest: list[Tensor] = []
    sides: list[Tensor] = rest
    bent = [layer for layer in moved.modules() if isinstance(layer, nn.ReLU | nn.LeakyReLU)]
    for layer in bent:
        layer.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].sign()))
    crossed = 0

    def cost(values: Tensors) -> Tensor:
        nonlocal crossed, sides
        sides = []
        with torch.no_grad():
            for name, parameter in unchecked(parameters_of)(moved).items():
                parameter.copy_(values[name])
            J, _ = objective(moved, X, Y, l1=l1, l2=l2, m=len(X))
            if l1:
                sides += [W.sign() for W in unchecked(weights)(moved).values()]
        if not rest:
            rest.extend(sides)
        crossed += not all(map(torch.equal, sides, rest))
        return J

    cost(named)
    found = unchecked(gradient_check)(cost, named, gradients, epsilon=epsilon, two_sided=two_sided)
    if crossed:
        warnings.warn(
            f"{crossed} steps led the input of a rectifier or a weight under L1 across 0: "
            "the differences there are no derivatives",
            KinkWarning,
            stacklevel=3,
        )
    return found
