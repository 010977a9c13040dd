"""Logistic regression A = sigma(w^T X + b): a network of one unit, vectorized and with loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scratch._validation import (
    Array,
    Expected,
    Floats,
    Instance,
    Number,
    Whole,
    unchecked,
    validated,
)
from scratch.activations import SigmoidCache, sigmoid_backward, sigmoid_forward
from scratch.costs import (
    binary_cross_entropy_with_logits_backward,
    binary_cross_entropy_with_logits_forward,
    predict_by_threshold,
)

__all__ = [
    "LogisticRegressionCache",
    "gradient_descent",
    "logistic_regression_backward",
    "logistic_regression_forward",
    "predict",
    "propagate",
    "propagate_with_loops",
]

Scalar = Any  # a float or a NumPy scalar in; a NumPy scalar of the dtype of w out

_cost = unchecked(binary_cross_entropy_with_logits_forward)
_cost_backward = unchecked(binary_cross_entropy_with_logits_backward)

_DATA: dict[str, Expected] = {
    "X": Floats("n_x m"),
    "Y": Floats("1 m", "labels"),
    "w": Floats("n_x 1"),
    "b": Floats(""),
}


class LogisticRegressionCache(NamedTuple):
    """Cache of `logistic_regression_forward`, for `logistic_regression_backward`."""

    X: Array  # (n_x, m)
    w: Array  # (n_x, 1)
    A: Array  # (1, m)


@validated(X="n_x m", w="n_x 1", b="")
def logistic_regression_forward(
    X: Array, w: Array, b: Scalar
) -> tuple[Array, LogisticRegressionCache]:
    """Return A = sigma(w^T X + b), shape (1, m), the probability of label 1, and the cache.

    w is a column (n_x, 1), b a scalar.

    Source: Course 1, week 2, "Logistic regression".
    """
    A, _ = unchecked(sigmoid_forward)(w.T @ X + b)
    return A, LogisticRegressionCache(X, w, A)


@validated(cache=Instance(LogisticRegressionCache, X="n_x m", w="n_x 1", A="1 m"), dA="1 m")
def logistic_regression_backward(dA: Array, cache: LogisticRegressionCache) -> dict[str, Array]:
    """Pull dA, shape (1, m), back to X, w and b; the 1/m is already in the cost's gradient.

    Source: Course 1, week 2, "Logistic regression gradient descent".
    """
    X, w, A = cache
    dZ = unchecked(sigmoid_backward)(dA, SigmoidCache(A))["Z"]
    return {"X": w @ dZ, **_pull(dZ, X)}


def _pull(dZ: Array, X: Array) -> dict[str, Any]:
    """Return the gradients of w and b from dZ, (1, m)."""
    return {"w": X @ dZ.T, "b": dZ.sum()}  # (n_x, m) @ (m, 1), ()


@validated(**_DATA)
def propagate(w: Array, b: Scalar, X: Array, Y: Array) -> tuple[np.floating[Any], dict[str, Any]]:
    """Return J = -1/m sum (Y log A + (1 - Y) log(1 - A)), a scalar, and {"w", "b"}, its gradients.

    dw = 1/m X (A - Y)^T, shape (n_x, 1), db = 1/m sum (A - Y); J comes from the logits.

    Source: Course 1, week 2, "Vectorizing logistic regression's gradient output".
    """
    J, cache = _cost(w.T @ X + b, Y)
    return J, _pull(_cost_backward(1.0, cache)["Z"], X)


@validated(**_DATA)
def propagate_with_loops(
    w: Array, b: Scalar, X: Array, Y: Array
) -> tuple[np.floating[Any], dict[str, Any]]:
    """Return the result of `propagate`, by a loop over examples and one over features inside it.

    Source: Course 1, week 2, "Gradient descent on m examples".
    """
    n_x, m = X.shape
    J = db = w.dtype.type(0)
    dw = np.zeros_like(w)
    for i in range(m):
        z = b
        for j in range(n_x):
            z = z + w[j, 0] * X[j, i]
        y = Y[0, i]
        e = np.exp(-abs(z))  # never overflows
        a = (1 if z >= 0 else e) / (1 + e)
        J += max(z, 0) - y * z + np.log1p(e)  # -(y log a + (1 - y) log(1 - a))
        dz = a - y
        for j in range(n_x):
            dw[j, 0] += X[j, i] * dz
        db += dz
    return J / m, {"w": dw / m, "b": db / m}


@validated(**_DATA, learning_rate=Number("(0, inf)"), steps=Whole(1))
def gradient_descent(
    w: Array, b: Scalar, X: Array, Y: Array, *, learning_rate: float, steps: int
) -> tuple[Array, np.floating[Any], Array]:
    """Return w, b after so many steps w = w - alpha dw, b = b - alpha db, and the costs (steps,).

    Each cost is that before its step.

    Source: Course 1, week 2, "Gradient descent".
    """
    w, b, alpha = w.copy(), w.dtype.type(b), float(learning_rate)
    costs = np.zeros(steps, w.dtype)
    for step in range(steps):
        costs[step], gradients = unchecked(propagate)(w, b, X, Y)
        w -= alpha * gradients["w"]
        b -= alpha * gradients["b"]
    return w, b, costs


@validated(w="n_x 1", b="", X="n_x m")
def predict(w: Array, b: Scalar, X: Array) -> Array:
    """Return 1 where A > 0.5, else 0, shape (1, m).

    Source: Course 1, week 2, "Logistic regression with a neural network mindset".
    """
    return unchecked(predict_by_threshold)(unchecked(logistic_regression_forward)(X, w, b)[0])
