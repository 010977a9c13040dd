"""Gradient checking of J = theta x and of networks with ReLU, and sigmoid in the last layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scratch import gradient_checking
from scratch._shapes import network_shapes
from scratch._validation import Array, Optional, unchecked
from scratch.course._kinds import (
    Arrays,
    FlatCache,
    Gradients,
    Labels,
    Layers,
    Real,
    in_dtype,
    validated,
)
from scratch.course._layers import (
    cross_entropy,
    flatten,
    network_backward,
    network_forward,
    pack,
    unflatten,
    unpack,
)
from scratch.parameters import Parameters, from_vector, to_vector

__all__ = [
    "backward_propagation_1d",
    "backward_propagation_n",
    "dictionary_to_vector",
    "forward_propagation_1d",
    "forward_propagation_n",
    "gradient_check",
    "gradient_check_1d",
    "gradient_check_n",
    "gradients_to_vector",
    "vector_to_dictionary",
]

#: the assignment's network, whose shapes its `vector_to_dictionary` has built in.
_SHAPES = network_shapes((4, 5, 3, 1))

_LAYERS = Layers(chained=False)

_numerical_gradient = unchecked(gradient_checking.numerical_gradient)
_relative_error = unchecked(gradient_checking.relative_error)


def _difference(
    cost: Callable[[Parameters], Any], at: Parameters, gradient: Array, epsilon: float
) -> float:
    """Return the relative error of a gradient, NaN where the core refuses to take differences."""
    try:
        # a step of -epsilon is the same two-sided difference
        approximation = _numerical_gradient(cost, at, epsilon=abs(epsilon))
    except ValueError:  # a cost that is not finite, or a step that moves nothing
        return math.nan
    return _relative_error(approximation.theta, gradient)


@validated(x=Real(), theta=Real())
def forward_propagation_1d(x: float, theta: float) -> float:
    """Return J = theta x.

    Source: Course 2, week 1, "Gradient checking".
    """
    return theta * x


@validated(x=Real(), theta=Real())
def backward_propagation_1d(x: float, theta: float) -> float:
    """Return dtheta = x, the derivative of J = theta x.

    Source: Course 2, week 1, "Gradient checking".
    """
    return x


@validated(x=Real(), theta=Real(), epsilon=Real())
def gradient_check_1d(x: float, theta: float, epsilon: float = 1e-7) -> float:
    """Return |approximation - dtheta| / (|approximation| + |dtheta|) by a two-sided difference.

    It divides by the step that theta + epsilon really took, and so comes out smaller than the 3e-10
    that dividing by 2 epsilon leaves. NaN where a cost is not finite or epsilon is lost in theta.

    Source: Course 2, week 1, "Gradient checking".
    """
    at = Parameters.empty({"theta": (1,)})
    at["theta"] = [theta]
    dtheta = np.array([unchecked(backward_propagation_1d)(x, theta)], float)
    return _difference(
        lambda moved: unchecked(forward_propagation_1d)(x, moved["theta"][0]), at, dtheta, epsilon
    )


@validated(parameters=_LAYERS)
def dictionary_to_vector(parameters: Arrays) -> tuple[Array, list[str]]:
    """Return (theta, keys): W1 row by row, then b1, W2, ... as a column (N, 1), and N names.

    Source: Course 2, week 1, "Gradient checking".
    """
    packed = pack(parameters)
    keys = [name for name, view in packed.items() for _ in range(view.size)]
    return unchecked(to_vector)(packed)[:, None], keys


@validated(like=Optional(_LAYERS), theta="N 1")
def vector_to_dictionary(theta: Array, like: Mapping[str, Array] | None = None) -> Arrays:
    """Return {"W1", "b1", ...} shaped like the dictionary `like`, with the entries of theta (N, 1).

    Without `like` the shapes are those of the assignment's network of 4, 5, 3 and 1 units. Raises
    ValueError where the lengths differ.

    Source: Course 2, week 1, "Gradient checking".
    """
    shapes: Any = _SHAPES if like is None else pack(like).shapes
    empty = Parameters.empty(shapes, theta.dtype)
    if len(theta) != empty.theta.size:
        raise ValueError(
            f"expected theta of shape (N, 1) with N = {empty.theta.size}, got {theta.shape}"
        )
    return unpack(unchecked(from_vector)(theta[:, 0], empty))


@validated(gradients=Gradients())
def gradients_to_vector(gradients: Arrays) -> Array:
    """Return dW1 row by row, then db1, dW2, ... as a column (N, 1), without dA and dZ.

    Source: Course 2, week 1, "Gradient checking".
    """
    return unchecked(to_vector)(pack(gradients, "d"))[:, None]


@validated(parameters=Layers(), X="n_0 m", Y=Labels("n_L m"))
def forward_propagation_n(X: Array, Y: Array, parameters: Arrays) -> tuple[Any, tuple[Array, ...]]:
    """Return the mean cross-entropy, a NumPy scalar, and the cache (Z1, A1, W1, b1, Z2, ...).

    Source: Course 2, week 1, "Gradient checking", N-dimensional.
    """
    A, layers = network_forward(X, parameters)
    return cross_entropy(A, Y), flatten(layers)


@validated(cache=FlatCache(), X="n_0 m", Y=Labels("n_L m"))
def backward_propagation_n(X: Array, Y: Array, cache: Sequence[Array]) -> Arrays:
    """Return dZL, dWL, dbL, dA(L-1), ... of the mean cost; 1/m stands in dW and db alone.

    Source: Course 2, week 1, "Gradient checking", N-dimensional.
    """
    return network_backward(X, Y, unflatten(cache))


@validated(parameters=Layers(), gradients=Gradients(), X="n_0 m", Y=Labels("n_L m"), epsilon=Real())
def gradient_check(
    parameters: Arrays, gradients: Arrays, X: Array, Y: Array, epsilon: float = 1e-7
) -> float:
    """Return ||approximation - gradient|| / (||approximation|| + ||gradient||) over all parameters.

    The approximation is the two-sided difference of the cost of `forward_propagation_n`, which is
    computed from the output, as taught: where that saturates, its round-off dominates, and where it
    is infinite, as large initial weights make it, the result is NaN; so it is where epsilon is lost
    in a parameter. Differences of float32 are taken in float64, as epsilon is about its ULP.

    Source: Course 2, week 1, "Gradient checking", N-dimensional.
    """
    given = {"X": X, "Y": Y, "parameters": parameters, "gradients": gradients}
    wide = in_dtype(given, np.result_type(X.dtype, np.float64))

    def cost(moved: Parameters) -> Any:
        return unchecked(forward_propagation_n)(wide["X"], wide["Y"], dict(moved))[0]

    gradient = pack(wide["gradients"], "d").theta
    return _difference(cost, pack(wide["parameters"]), gradient, epsilon)


#: the name of the assignment's notebook.
gradient_check_n = gradient_check
