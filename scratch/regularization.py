"""L1 and L2 penalties on the weights, never on the biases, and their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scratch._validation import Array, Expected, Instance, Number, OneOf, Whole, validated
from scratch.parameters import Parameters

__all__ = [
    "DENOMINATORS",
    "l1_penalty",
    "l1_penalty_gradient",
    "l2_penalty",
    "l2_penalty_gradient",
    "weights",
]

#: number of m under a penalty, by name.
DENOMINATORS: Mapping[str, int] = {"m": 1, "2m": 2}

_CHOICES: dict[str, Expected] = {
    "parameters": Instance(Parameters),
    "strength": Number("[0, inf)"),
    "m": Whole(1),
    "denominator": OneOf(DENOMINATORS),
}


@validated(parameters=_CHOICES["parameters"])
def weights(parameters: Parameters) -> dict[str, Array]:
    """Return the views W1, W2, ..., each (n, n_prev), without the biases.

    Source: Course 2, week 1, "Regularization".
    """
    return {name: view for name, view in parameters.items() if name.startswith("W")}


@validated(**_CHOICES)
def l2_penalty(
    parameters: Parameters, strength: float, m: int, denominator: str = "2m"
) -> np.floating[Any]:
    """Return strength / (2 m) * sum of squared weights, a scalar, or over m if so named.

    Source: Course 2, week 1, "Regularization".
    """
    total = sum(np.square(W).sum() for W in weights(parameters).values())
    return parameters.theta.dtype.type(strength / (DENOMINATORS[denominator] * m) * total)


@validated(**_CHOICES)
def l2_penalty_gradient(
    parameters: Parameters, strength: float, m: int, denominator: str = "2m"
) -> Parameters:
    """Return the gradient of `l2_penalty`: strength / m * W, twice that over m, zero for b.

    Source: Course 2, week 1, "Regularization", weight decay.
    """
    gradients = parameters.zeros_like()
    for name, W in weights(parameters).items():
        gradients[name] = 2 * strength / (DENOMINATORS[denominator] * m) * W
    return gradients


@validated(**_CHOICES)
def l1_penalty(
    parameters: Parameters, strength: float, m: int, denominator: str = "m"
) -> np.floating[Any]:
    """Return strength / m * sum of absolute weights, a scalar, or over 2m if so named.

    Source: Course 2, week 1, "Regularization".
    """
    total = sum(np.abs(W).sum() for W in weights(parameters).values())
    return parameters.theta.dtype.type(strength / (DENOMINATORS[denominator] * m) * total)


@validated(**_CHOICES)
def l1_penalty_gradient(
    parameters: Parameters, strength: float, m: int, denominator: str = "m"
) -> Parameters:
    """Return the gradient of `l1_penalty`: strength / m * sign(W), 0 at W = 0, zero for b.

    Source: Course 2, week 1, "Regularization".
    """
    gradients = parameters.zeros_like()
    for name, W in weights(parameters).items():
        gradients[name] = strength / (DENOMINATORS[denominator] * m) * np.sign(W)
    return gradients
