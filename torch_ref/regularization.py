"""L1 and L2 on the weights, as PyTorch spells them: a penalty in the cost, or `weight_decay`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from torch_ref._validation import Expected, Instance, Number, OneOf, Whole, unchecked, validated
from torch_ref.parameters import parameters

__all__ = [
    "DENOMINATORS",
    "l1_penalty",
    "l1_penalty_gradient",
    "l2_penalty",
    "l2_penalty_gradient",
    "weight_decay_groups",
    "weights",
]

#: number of m under a penalty, by name.
DENOMINATORS: Mapping[str, int] = {"m": 1, "2m": 2}

_MODULE = Instance(nn.Module)
_PENALTY: dict[str, Expected] = {"module": _MODULE, "strength": Number("[0, inf)"), "m": Whole(1)}
_CHOICES = _PENALTY | {"denominator": OneOf(DENOMINATORS)}


@validated(module=_MODULE)
def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights W1, W2, ..., without the biases. Source: torch.nn.Linear.weight."""
    return {name: W for name, W in unchecked(parameters)(module).items() if name.startswith("W")}


@validated(**_CHOICES)
def l2_penalty(module: nn.Module, strength: float, m: int, denominator: str = "2m") -> torch.Tensor:
    """Return strength / (2 m) * sum of squared weights, a scalar. Source: torch.Tensor.square."""
    total = torch.stack([W.square().sum() for W in unchecked(weights)(module).values()]).sum()
    return strength / (DENOMINATORS[denominator] * m) * total


@validated(**_CHOICES)
def l2_penalty_gradient(
    module: nn.Module, strength: float, m: int, denominator: str = "2m"
) -> dict[str, torch.Tensor]:
    """Return the gradient of `l2_penalty` by name, zero for b. Source: torch.autograd.grad."""
    return _gradient(l2_penalty(module, strength, m, denominator), module)


@validated(**_CHOICES)
def l1_penalty(module: nn.Module, strength: float, m: int, denominator: str = "m") -> torch.Tensor:
    """Return strength / m * sum of absolute weights, a scalar. Source: torch.Tensor.abs."""
    total = torch.stack([W.abs().sum() for W in unchecked(weights)(module).values()]).sum()
    return strength / (DENOMINATORS[denominator] * m) * total


@validated(**_CHOICES)
def l1_penalty_gradient(
    module: nn.Module, strength: float, m: int, denominator: str = "m"
) -> dict[str, torch.Tensor]:
    """Return the gradient of `l1_penalty` by name, zero for b. Source: torch.autograd.grad."""
    return _gradient(l1_penalty(module, strength, m, denominator), module)


def _gradient(penalty: torch.Tensor, module: nn.Module) -> dict[str, torch.Tensor]:
    named = unchecked(parameters)(module)
    gradients = torch.autograd.grad(penalty, list(named.values()), materialize_grads=True)
    return dict(zip(named, gradients, strict=True))


@validated(**_PENALTY)
def weight_decay_groups(module: nn.Module, strength: float, m: int) -> list[dict[str, Any]]:
    """Return optimizer groups in which weights decay by strength / m and nothing else does.

    The course's J + strength / (2 m) sum W^2 adds strength / m W to the gradient, which is torch's
    `weight_decay`; set on the whole module it would shrink the biases too, and AdamW shrinks W
    outside of the gradient, which is another method.

    Source: torch.optim, "Per-parameter options".
    """
    named = unchecked(parameters)(module)
    return [
        {
            "params": [W for name, W in named.items() if name.startswith("W")],
            "weight_decay": strength / m,
        },
        {
            "params": [other for name, other in named.items() if not name.startswith("W")],
            "weight_decay": 0.0,
        },
    ]
