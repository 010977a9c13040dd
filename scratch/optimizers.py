"""Optimizers: frozen choices with `init(parameters) -> state` and `update`, which overwrites both.

`update` works on theta as one vector, in blocks, with one work buffer; the comment beside a group
of calls is the formula they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np

from scratch._blocks import blocks, move
from scratch._validation import (
    Array,
    Expected,
    Floats,
    Function,
    Instance,
    Number,
    Whole,
    check,
    describe,
    validated,
)
from scratch.parameters import Parameters

__all__ = [
    "OPTIMIZERS",
    "Adam",
    "AdamState",
    "GradientDescent",
    "GradientDescentState",
    "Momentum",
    "MomentumState",
    "Optimizer",
    "RMSprop",
    "RMSpropState",
    "minimize",
]

_RATES: Mapping[str, Expected] = {
    "learning_rate": Number("(0, inf)"),
    "beta": Number("[0, 1)"),
    "beta1": Number("[0, 1)"),
    "beta2": Number("[0, 1)"),
    "epsilon": Number("(0, inf)"),
    "averaging": Instance(bool),
    "bias_correction": Instance(bool),
    "epsilon_inside_root": Instance(bool),
}


class Optimizer(Protocol):
    """Protocol of an optimizer for a training loop: anything with these two methods will do.

    Under a schedule it is a dataclass with a learning_rate, replaced as the rate moves: all else
    that changes belongs into the state.
    """

    def init(self, parameters: Parameters) -> Any:
        """Return the state before the first step."""

    def update(self, parameters: Parameters, gradients: Parameters, state: Any) -> None:
        """Overwrite `parameters` and `state` with their values after one step."""


class Rule:
    """Anything with `init` and `update`."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what lacks one of the two methods, or is a class not yet called."""
        if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "update")):
            raise TypeError(f"expected {name} with methods init and update, got {describe(value)}")


class _Choices:
    """Refuse bad choices when the optimizer is made, and bad arguments at each update in O(1)."""

    def __post_init__(self) -> None:
        choices = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        check({name: _RATES[name] for name in choices}, choices)
        for name, value in choices.items():  # a float64 scalar would promote float32 parameters
            object.__setattr__(self, name, value if isinstance(value, bool) else float(value))


def _meet(parameters: Parameters, gradients: Parameters, state: Any, kind: Any) -> None:
    """Raise unless the three belong together; constant time, as it stands in the training loop."""
    if not (isinstance(parameters, Parameters) and isinstance(gradients, Parameters)):
        wrong = gradients if isinstance(parameters, Parameters) else parameters
        raise TypeError(
            f"expected parameters and gradients to be Parameters, got {describe(wrong)}"
        )
    if not isinstance(state, kind):
        raise TypeError(f"expected state to be {kind.__name__}, got {describe(state)}")
    theta, g = parameters.theta, gradients.theta
    if parameters.layout != gradients.layout:
        raise ValueError(f"expected gradients like {parameters}, got {gradients}")
    if theta.dtype != g.dtype:
        raise TypeError(f"expected gradients of dtype {theta.dtype}, got {g.dtype}")
    for name, array in zip(kind._fields, state, strict=True):
        if name != "t" and (array.shape != theta.shape or array.dtype != theta.dtype):
            raise ValueError(
                f"expected state.{name} of shape {theta.shape} and dtype {theta.dtype}, "
                f"got {array.shape} and {array.dtype}"
            )


def _zeros(parameters: Parameters) -> Array:
    if not isinstance(parameters, Parameters):
        raise TypeError(f"expected parameters to be Parameters, got {describe(parameters)}")
    return np.zeros_like(parameters.theta)


class GradientDescentState(NamedTuple):
    """Gradient descent remembers nothing."""


@dataclass(frozen=True, kw_only=True)
class GradientDescent(_Choices):
    """Gradient descent: theta = theta - alpha g.

    Args:
        learning_rate: alpha.

    Raises:
        ValueError: learning_rate is not above 0.

    Example:
        >>> import numpy as np
        >>> from scratch.optimizers import GradientDescent
        >>> from scratch.parameters import Parameters
        >>> rule = GradientDescent(learning_rate=0.1)
        >>> parameters = Parameters({"W1": np.array([[3.0]])})
        >>> state = rule.init(parameters)
        >>> rule.update(parameters, Parameters({"W1": np.array([[2.0]])}), state)
        >>> print(parameters["W1"].round(3))
        [[2.8]]

    Source: Course 1, week 2, "Gradient descent".
    """

    learning_rate: float

    def init(self, parameters: Parameters) -> GradientDescentState:
        """Return the empty state."""
        _zeros(parameters)
        return GradientDescentState()

    def update(
        self, parameters: Parameters, gradients: Parameters, state: GradientDescentState
    ) -> None:
        """Overwrite `parameters` with their values after one step."""
        _meet(parameters, gradients, state, GradientDescentState)
        for theta, g, work in blocks(parameters.theta, gradients.theta):
            np.multiply(g, self.learning_rate, out=work)
            theta -= work  # theta = theta - alpha g


class MomentumState(NamedTuple):
    """The moving average of the gradients."""

    v: Array  # like theta


@dataclass(frozen=True, kw_only=True)
class Momentum(_Choices):
    """Gradient descent with momentum: v = beta v + (1 - beta) g, theta = theta - alpha v.

    Args:
        learning_rate: alpha.
        beta: share of the past that v keeps.
        averaging: False leaves the factor out: v = beta v + g.

    Raises:
        ValueError: learning_rate is not above 0, or beta not in [0, 1).

    Example:
        >>> import numpy as np
        >>> from scratch.optimizers import Momentum
        >>> from scratch.parameters import Parameters
        >>> rule = Momentum(learning_rate=0.1)
        >>> parameters = Parameters({"W1": np.array([[3.0]])})
        >>> state = rule.init(parameters)
        >>> rule.update(parameters, Parameters({"W1": np.array([[2.0]])}), state)
        >>> print(parameters["W1"].round(3))
        [[2.98]]

    Source: Course 2, week 2, "Gradient descent with momentum".
    """

    learning_rate: float
    beta: float = 0.9
    averaging: bool = True

    def init(self, parameters: Parameters) -> MomentumState:
        """Return v = 0."""
        return MomentumState(v=_zeros(parameters))

    def update(self, parameters: Parameters, gradients: Parameters, state: MomentumState) -> None:
        """Overwrite `parameters` and `state` with their values after one step."""
        _meet(parameters, gradients, state, MomentumState)
        for theta, g, v, work in blocks(parameters.theta, gradients.theta, state.v):
            if self.averaging:
                move(v, g, self.beta, work)  # v = beta v + (1 - beta) g
            else:
                v *= self.beta
                v += g  # v = beta v + g
            np.multiply(v, self.learning_rate, out=work)
            theta -= work  # theta = theta - alpha v


class RMSpropState(NamedTuple):
    """The moving average of the squared gradients."""

    s: Array  # like theta


@dataclass(frozen=True, kw_only=True)
class RMSprop(_Choices):
    """RMSprop: s = beta s + (1 - beta) g^2, theta = theta - alpha g / (sqrt(s) + epsilon).

    Args:
        learning_rate: alpha.
        beta: share of the past that s keeps.
        epsilon: keeps the divisor from 0.
        epsilon_inside_root: divide by sqrt(s + epsilon) instead.

    Raises:
        ValueError: learning_rate or epsilon is not above 0, or beta not in [0, 1).

    Example:
        >>> import numpy as np
        >>> from scratch.optimizers import RMSprop
        >>> from scratch.parameters import Parameters
        >>> rule = RMSprop(learning_rate=0.1)
        >>> parameters = Parameters({"W1": np.array([[3.0]])})
        >>> state = rule.init(parameters)
        >>> rule.update(parameters, Parameters({"W1": np.array([[2.0]])}), state)
        >>> print(parameters["W1"].round(3))
        [[2.684]]

    Source: Course 2, week 2, "RMSprop".
    """

    learning_rate: float
    beta: float = 0.9
    epsilon: float = 1e-8
    epsilon_inside_root: bool = False

    def init(self, parameters: Parameters) -> RMSpropState:
        """Return s = 0."""
        return RMSpropState(s=_zeros(parameters))

    def update(self, parameters: Parameters, gradients: Parameters, state: RMSpropState) -> None:
        """Overwrite `parameters` and `state` with their values after one step."""
        _meet(parameters, gradients, state, RMSpropState)
        for theta, g, s, work in blocks(parameters.theta, gradients.theta, state.s):
            np.square(g, out=work)
            move(s, work, self.beta, work)  # s = beta s + (1 - beta) g^2
            _root(s, 1.0, self.epsilon, self.epsilon_inside_root, work)
            np.divide(g, work, out=work)
            work *= self.learning_rate
            theta -= work  # theta = theta - alpha g / (sqrt(s) + epsilon)


class AdamState(NamedTuple):
    """The two moving averages and the number of steps taken."""

    v: Array  # like theta
    s: Array  # like theta
    t: np.ndarray[Any, np.dtype[np.int64]]  # ()


@dataclass(frozen=True, kw_only=True)
class Adam(_Choices):
    """Adam: theta = theta - alpha v_hat / (sqrt(s_hat) + epsilon), v_hat and s_hat corrected.

    v = beta1 v + (1 - beta1) g, s = beta2 s + (1 - beta2) g^2, v_hat = v / (1 - beta1^t),
    s_hat = s / (1 - beta2^t).

    Args:
        learning_rate: alpha.
        beta1: share of the past that v keeps.
        beta2: share of the past that s keeps.
        epsilon: keeps the divisor from 0.
        epsilon_inside_root: divide by sqrt(s_hat + epsilon) instead.
        bias_correction: False takes v and s as they are.

    Raises:
        ValueError: learning_rate or epsilon is not above 0, or a beta not in [0, 1).

    Example:
        >>> import numpy as np
        >>> from scratch.optimizers import Adam
        >>> from scratch.parameters import Parameters
        >>> rule = Adam(learning_rate=0.1)
        >>> parameters = Parameters({"W1": np.array([[3.0]])})
        >>> state = rule.init(parameters)
        >>> rule.update(parameters, Parameters({"W1": np.array([[2.0]])}), state)
        >>> print(parameters["W1"].round(3))
        [[2.9]]

    Source: Course 2, week 2, "Adam optimization algorithm"; Kingma and Ba 2015.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_inside_root: bool = False
    bias_correction: bool = True

    def init(self, parameters: Parameters) -> AdamState:
        """Return v = 0, s = 0, t = 0."""
        return AdamState(v=_zeros(parameters), s=_zeros(parameters), t=np.zeros((), np.int64))

    def update(self, parameters: Parameters, gradients: Parameters, state: AdamState) -> None:
        """Overwrite `parameters` and `state` with their values after one step."""
        _meet(parameters, gradients, state, AdamState)
        state.t[()] += 1
        t = int(state.t)
        correction_v = 1 - self.beta1**t if self.bias_correction else 1.0
        correction_s = 1 - self.beta2**t if self.bias_correction else 1.0
        for theta, g, v, s, work in blocks(parameters.theta, gradients.theta, state.v, state.s):
            move(v, g, self.beta1, work)  # v = beta1 v + (1 - beta1) g
            np.square(g, out=work)
            move(s, work, self.beta2, work)  # s = beta2 s + (1 - beta2) g^2
            _root(s, correction_s, self.epsilon, self.epsilon_inside_root, work)
            np.divide(v, work, out=work)
            work *= self.learning_rate / correction_v
            theta -= work  # theta = theta - alpha v_hat / (sqrt(s_hat) + epsilon)


def _root(s: Array, correction: float, epsilon: float, inside: bool, work: Array) -> None:
    """Write sqrt(s / correction) + epsilon, or sqrt(s / correction + epsilon), to work."""
    np.divide(s, correction, out=work)
    if inside:
        work += epsilon
    np.sqrt(work, out=work)
    if not inside:
        work += epsilon


@validated(gradient=Function(), start=Floats("N"), optimizer=Rule(), steps=Whole(1))
def minimize(
    gradient: Callable[[Array], Array], start: Array, *, optimizer: Optimizer, steps: int
) -> Array:
    """Return the path (steps + 1, N) of theta from `start`, (N,), down any cost of theta.

    `gradient(theta)` is dJ/dtheta, (N,); so (w - 5)^2 is `lambda w: 2 * (w - 5)`. A path that
    diverges is returned as it is. Raises TypeError or ValueError for a gradient of another kind,
    dtype or shape.

    Source: Course 2, week 3, "TensorFlow", where (w - 5)^2 is minimized.
    """
    parameters = Parameters({"theta": start})
    gradients, state = parameters.zeros_like(), optimizer.init(parameters)
    path = np.empty((steps + 1, start.size), start.dtype)
    path[0] = start
    for step in range(1, steps + 1):
        slope = gradient(parameters.theta.copy())
        if not isinstance(slope, np.ndarray) or slope.dtype != start.dtype:
            raise TypeError(
                f"expected gradient to return an array of {start.dtype}, got {describe(slope)}"
            )
        if slope.shape != start.shape:
            raise ValueError(f"expected gradient to return shape {start.shape}, got {slope.shape}")
        gradients.theta[:] = slope
        optimizer.update(parameters, gradients, state)
        path[step] = parameters.theta
    return path


#: every optimizer by name; the same keys as `torch_ref.optimizers.OPTIMIZERS`.
OPTIMIZERS: Mapping[str, type[GradientDescent | Momentum | RMSprop | Adam]] = {
    "gradient_descent": GradientDescent,
    "momentum": Momentum,
    "rmsprop": RMSprop,
    "adam": Adam,
}
