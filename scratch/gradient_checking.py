"""Gradient checking: differences of the cost beside the gradient that backpropagation gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scratch._validation import (
    Array,
    Expected,
    Floats,
    Function,
    Instance,
    Number,
    Optional,
    describe,
    unchecked,
    validated,
)
from scratch.activations import LeakyReluCache, ReluCache
from scratch.network import Network, cost_and_gradients, network_logits
from scratch.parameters import Parameters
from scratch.regularization import weights

__all__ = [
    "GradientCheck",
    "KinkWarning",
    "check_network",
    "gradient_check",
    "numerical_gradient",
    "relative_error",
]

Cost = Callable[[Parameters], Any]

_STEP: dict[str, Expected] = {
    "epsilon": Optional(Number("(0, inf)")),
    "two_sided": Instance(bool),
}


class KinkWarning(UserWarning):
    """A step led across a kink: the difference quotient there is no derivative."""


class GradientCheck(NamedTuple):
    """Distance of gradients from differences: together, by tensor and by parameter."""

    difference: float  # relative error of all parameters as one vector
    by_tensor: dict[str, float]  # the same of each tensor on its own
    errors: Parameters  # |approximation - gradient| over the two norms of its tensor
    approximation: Parameters

    @property
    def culprit(self) -> tuple[str, tuple[int, ...]]:
        """The tensor with the largest error, and the index of its worst parameter."""
        name = max(self.by_tensor, key=lambda one: self.by_tensor[one])
        errors = self.errors[name]
        return name, tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))


def _default_step(dtype: np.dtype[Any], two_sided: bool) -> float:
    return float(np.finfo(dtype).eps ** (1 / 3 if two_sided else 1 / 2))


def _value(cost: Cost, parameters: Parameters) -> Any:
    """Return the cost, or raise unless it is one finite number."""
    J = cost(parameters)
    if isinstance(J, bool) or np.asarray(J).dtype.kind not in "fiu":
        raise TypeError(f"expected cost to return a real number, got {describe(J)}")
    if np.shape(J) != ():
        raise ValueError(f"expected cost to return a scalar, got {describe(J)}")
    if not np.isfinite(J):
        raise ValueError(f"expected cost to return a finite number, got {J}")
    return J


@validated(cost=Function(), parameters=Instance(Parameters), **_STEP)
def numerical_gradient(
    cost: Cost, parameters: Parameters, *, epsilon: float | None = None, two_sided: bool = True
) -> Parameters:
    """Return (J(theta + epsilon) - J(theta - epsilon)) / (2 epsilon), one parameter at a time.

    One-sided it is (J(theta + epsilon) - J(theta)) / epsilon. Truncation grows like epsilon^2, or
    epsilon one-sided, round-off like eps / epsilon. They meet at the default step eps^(1/3), or
    eps^(1/2): in float64 6e-6, and the error about 1e-10; the 1e-7 often taught leaves 1e-8.
    `cost(parameters)` is called with a copy that moves between the calls. Raises ValueError for a
    cost that is no finite scalar, gives two values at one point, or for a step lost in theta.

    Source: Course 2, week 1, "Numerical approximation of gradients".
    """
    moved = parameters.copy()
    if epsilon is None:
        epsilon = _default_step(moved.theta.dtype, two_sided)
    epsilon = float(epsilon)  # a float64 scalar would not be rounded to a float32 step
    J = _value(cost, moved)
    if _value(cost, moved) != J:
        raise ValueError("expected cost to be a function of its parameters, got two values at one")
    approximation = parameters.zeros_like()
    for i, here in enumerate(parameters.theta):
        high = here + epsilon
        low = here - epsilon if two_sided else here
        if high - low <= 0 or not np.isfinite(high - low):
            raise ValueError(f"expected epsilon to move a parameter of {here}, got {epsilon}")
        moved.theta[i] = high
        J_high = _value(cost, moved)
        if two_sided:
            moved.theta[i] = low
            J = _value(cost, moved)
        moved.theta[i] = here
        # theta + epsilon was rounded: divide by the step that was really taken
        approximation.theta[i] = (J_high - J) / (high - low)
    return approximation


@validated(approximation="N", gradient="N")
def relative_error(approximation: Array, gradient: Array) -> float:
    """Return ||approximation - gradient|| / (||approximation|| + ||gradient||) of vectors (N,).

    It lies in [0, 1], and is 0 where both are zero; no norm over- or underflows.

    Source: Course 2, week 1, "Gradient checking".
    """
    return float(np.linalg.norm(_errors(approximation, gradient)))


def _errors(approximation: Array, gradient: Array) -> Array:
    """Return |approximation - gradient| over the sum of their norms, entry by entry."""
    # in units of the largest entry no square over- or underflows
    largest = max(np.abs(approximation).max(), np.abs(gradient).max()) or 1
    approximation, gradient = approximation / largest, gradient / largest
    norms = np.linalg.norm(approximation) + np.linalg.norm(gradient)
    return np.asarray(np.abs(approximation - gradient) / (norms or 1))


@validated(
    cost=Function(),
    parameters=Instance(Parameters, theta="N"),
    gradients=Instance(Parameters, theta="N"),
    **_STEP,
)
def gradient_check(
    cost: Cost,
    parameters: Parameters,
    gradients: Parameters,
    *,
    epsilon: float | None = None,
    two_sided: bool = True,
) -> GradientCheck:
    """Return the distance of `gradients` from `numerical_gradient`, a relative error as a whole.

    A small tensor hides in the whole: biases wrong by 1 % may leave it below 1e-4, so the error is
    given by tensor too, and by parameter, where the squares of a tensor sum up to its own squared.
    Right gradients show about 1e-9, wrong ones 1e-3 and more. Raises ValueError for gradients of
    other names or shapes, and what `numerical_gradient` raises.

    Source: Course 2, week 1, "Gradient checking implementation notes".
    """
    if gradients.layout != parameters.layout:
        raise ValueError(f"expected gradients like {parameters}, got {gradients}")
    if gradients.theta.dtype != parameters.theta.dtype:
        raise TypeError(f"expected gradients of dtype {parameters.theta.dtype}, got {gradients}")
    if not np.isfinite(gradients.theta).all():
        raise ValueError("expected gradients to be finite, got NaN or infinity")
    approximation = unchecked(numerical_gradient)(
        cost, parameters, epsilon=epsilon, two_sided=two_sided
    )
    errors = parameters.zeros_like()
    by_tensor = {}
    for name, gradient in gradients.items():
        errors[name] = _errors(approximation[name], gradient)
        by_tensor[name] = float(np.linalg.norm(errors[name]))
    difference = unchecked(relative_error)(approximation.theta, gradients.theta)
    return GradientCheck(difference, by_tensor, errors, approximation)


def _sides(X: Array, parameters: Parameters, network: Network, l1: float) -> Array:
    """Return the sign of every rectified Z, and under L1 of every weight, as one vector."""
    _, cache = network_logits(X, parameters, network)
    bent = [one.Z for one in cache.activation if isinstance(one, ReluCache | LeakyReluCache)]
    bent += unchecked(weights)(parameters).values() if l1 else []
    return np.concatenate([np.sign(one).ravel() for one in bent]) if bent else np.zeros(0)


@validated(
    X=Floats("n_x m"),
    Y=Floats("n_y m", "labels"),
    parameters=Instance(Parameters),
    network=Instance(Network),
    l1=Number("[0, inf)"),
    l2=Number("[0, inf)"),
    **_STEP,
)
def check_network(
    parameters: Parameters,
    X: Array,
    Y: Array,
    network: Network,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    epsilon: float | None = None,
    two_sided: bool = True,
) -> GradientCheck:
    """Return `gradient_check` of `cost_and_gradients` on (X, Y), penalties included.

    Warns with `KinkWarning` when a step leads some rectified Z, or a weight under L1, across 0: the
    difference there is no derivative, and large where the gradient is right. Raises ValueError for
    a network that drops units: with its masks the cost changes from call to call.

    Source: Course 2, week 1, "Gradient checking implementation notes".
    """
    if network.dropped:
        raise ValueError(
            f"expected a network with every keep_prob 1, got keep_probs {network.keep_probs}"
        )
    _, gradients = cost_and_gradients(parameters, X, Y, network, l1=l1, l2=l2)
    if epsilon is None:
        epsilon = _default_step(parameters.theta.dtype, two_sided)
    at_rest = _sides(X, parameters, network, l1)
    crossed = parameters.zeros_like()

    def cost(moved: Parameters) -> np.floating[Any]:
        if not np.array_equal(_sides(X, moved, network, l1), at_rest):
            crossed.theta[moved.theta != parameters.theta] = 1
        return unchecked(cost_and_gradients)(moved, X, Y, network, l1=l1, l2=l2)[0]

    check = unchecked(gradient_check)(
        cost, parameters, gradients, epsilon=epsilon, two_sided=two_sided
    )
    places = [f"{name}{place.tolist()}" for name in crossed for place in np.argwhere(crossed[name])]
    if places:
        warnings.warn(
            f"a step of {epsilon:.1e} in {len(places)} of {crossed.theta.size} parameters, "
            f"{', '.join(places[:3])} first, leads a rectified Z or a weight under L1 across 0: "
            "the differences there are no derivatives",
            KinkWarning,
            stacklevel=3,
        )
    return check
