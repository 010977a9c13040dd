"""Planar data classification with one hidden layer: tanh, then sigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch import activations, costs, initializers, linear, optimizers
from scratch._validation import Array, Instance, Whole, unchecked
from scratch.course._kinds import AnyShape, Arrays, Entries, Gradients, Layers, Real, validated
from scratch.course._layers import Descent, Draws, choose, cross_entropy, descend, seeded

__all__ = [
    "backward_propagation",
    "compute_cost",
    "forward_propagation",
    "initialize_parameters",
    "layer_sizes",
    "nn_model",
    "predict",
    "sigmoid",
    "update_parameters",
]

#: the learning rate of the assignment.
LEARNING_RATE = 1.2

_LAYERS = Layers(depth=2)


@validated(x=AnyShape())
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x) of a number or an array of any shape.

    Source: Course 1, week 3, "Planar data classification with one hidden layer".
    """
    return unchecked(activations.sigmoid_forward)(x)[0]


@validated(X="n_x m", Y="n_y m")
def layer_sizes(X: Array, Y: Array) -> tuple[int, int, int]:
    """Return (n_x, 4, n_y): the sizes of input, hidden and output layer.

    Source: Course 1, week 3, "Planar data classification with one hidden layer".
    """
    return X.shape[0], 4, Y.shape[0]


@validated(n_x=Whole(1), n_h=Whole(1), n_y=Whole(1))
def initialize_parameters(n_x: int, n_h: int, n_y: int) -> Arrays:
    """Draw {"W1", "b1", "W2", "b2"}: 0.01 randn, W1 (n_h, n_x) before W2 (n_y, n_h); b zero.

    Does not seed: draws from NumPy's global generator.

    Source: Course 1, week 3, "Random initialization".
    """
    return _draw(n_x, n_h, n_y, np.random)


def _draw(n_x: int, n_h: int, n_y: int, draws: Draws) -> Arrays:
    small_normal = unchecked(initializers.small_normal)
    return {
        "W1": small_normal((n_h, n_x), draws),
        "b1": np.zeros((n_h, 1)),
        "W2": small_normal((n_y, n_h), draws),
        "b2": np.zeros((n_y, 1)),
    }


@validated(parameters=_LAYERS, X="n_0 m")
def forward_propagation(X: Array, parameters: Arrays) -> tuple[Array, Arrays]:
    """Return A2 = sigmoid(W2 tanh(W1 X + b1) + b2), (n_y, m), and the cache Z1, A1, Z2, A2.

    Source: Course 1, week 3, "Computing a neural network's output".
    """
    Z1, _ = unchecked(linear.linear_forward)(X, parameters["W1"], parameters["b1"])
    A1, _ = unchecked(activations.tanh_forward)(Z1)
    Z2, _ = unchecked(linear.linear_forward)(A1, parameters["W2"], parameters["b2"])
    A2, _ = unchecked(activations.sigmoid_forward)(Z2)
    return A2, {"Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2}


@validated(A2="n_y m", Y="n_y m")
def compute_cost(A2: Array, Y: Array) -> float:
    """Return -1/m sum (Y log A2 + (1 - Y) log(1 - A2)) as a Python float.

    Source: Course 1, week 3, "Gradient descent for neural networks".
    """
    return float(cross_entropy(A2, Y))


@validated(parameters=_LAYERS, X="n_0 m", cache=Entries({"A1": "n_1 m", "A2": "n_2 m"}), Y="n_2 m")
def backward_propagation(parameters: Arrays, cache: Arrays, X: Array, Y: Array) -> Arrays:
    """Return {"dW1", "db1", "dW2", "db2"} of the mean cost, each shaped like its parameter.

    Source: Course 1, week 3, "Backpropagation intuition".
    """
    output = costs.BinaryCrossEntropyWithLogitsCache(cache["A2"], Y, divisor=X.shape[1])
    dZ2 = unchecked(costs.binary_cross_entropy_with_logits_backward)(1.0, output)["Z"]
    linear_backward = unchecked(linear.linear_backward)
    second = linear_backward(dZ2, linear.LinearCache(cache["A1"], parameters["W2"]))
    hidden = activations.TanhCache(cache["A1"])
    dZ1 = unchecked(activations.tanh_backward)(second["A_prev"], hidden)["Z"]
    first = linear_backward(dZ1, linear.LinearCache(X, parameters["W1"]))
    return {"dW1": first["W"], "db1": first["b"], "dW2": second["W"], "db2": second["b"]}


@validated(parameters=_LAYERS, grads=Gradients(), learning_rate=Real())
def update_parameters(
    parameters: Arrays, grads: Arrays, learning_rate: float = LEARNING_RATE
) -> Arrays:
    """Return new parameters theta - alpha dtheta.

    Source: Course 1, week 3, "Gradient descent for neural networks".
    """
    return descend(parameters, grads, learning_rate)


@validated(X="n_x m", Y="n_y m", n_h=Whole(1), num_iterations=Whole(0), print_cost=Instance(bool))
def nn_model(
    X: Array, Y: Array, n_h: int, num_iterations: int = 10000, print_cost: bool = False
) -> Arrays:
    """Return the parameters after gradient descent at rate 1.2, from weights drawn with seed 3.

    With `print_cost` prints the cost every 1000 iterations.

    Source: Course 1, week 3, "Planar data classification with one hidden layer".
    """
    X, Y = X.astype(np.float64), Y.astype(np.float64)  # as the weights are drawn
    parameters = _draw(X.shape[0], n_h, Y.shape[0], seeded(3))
    descent = Descent(parameters, choose(optimizers.GradientDescent, learning_rate=LEARNING_RATE))
    for i in range(num_iterations):
        A2, cache = unchecked(forward_propagation)(X, descent.parameters)
        if print_cost and i % 1000 == 0:
            print(f"Cost after iteration {i}: {unchecked(compute_cost)(A2, Y):f}")
        descent.step(unchecked(backward_propagation)(descent.parameters, cache, X, Y))
    return descent.parameters


@validated(parameters=_LAYERS, X="n_0 m")
def predict(parameters: Arrays, X: Array) -> Array:
    """Return A2 > 0.5, booleans of shape (n_y, m).

    Source: Course 1, week 3, "Planar data classification with one hidden layer".
    """
    A2, _ = unchecked(forward_propagation)(X, parameters)
    return unchecked(costs.predict_by_threshold)(A2).astype(bool)
