"""A deep network step by step: ReLU in the hidden layers, sigmoid in the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratch import activations, costs, linear, optimizers
from scratch._validation import Array, Instance, OneOf, Whole, unchecked
from scratch.course._kinds import (
    AnyShape,
    Arrays,
    Fields,
    Gradients,
    LayerCache,
    LayerCaches,
    Layers,
    Real,
    Seed,
    Sizes,
    validated,
)
from scratch.course._layers import (
    Descent,
    Draws,
    choose,
    cross_entropy,
    descend,
    draw_layers,
    linear_gradients,
)
from scratch.course._plot import plot_costs

__all__ = [
    "L_layer_model",
    "L_model_backward",
    "L_model_forward",
    "compute_cost",
    "initialize_parameters_deep",
    "linear_activation_backward",
    "linear_activation_forward",
    "linear_backward",
    "linear_forward",
    "predict",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "update_parameters",
]

LinearCache = tuple[Array, Array, Array]  # A_prev (n_prev, m), W (n, n_prev), b (n, 1)
LinearActivationCache = tuple[LinearCache, Array]  # ..., Z (n, m)


@validated(Z=AnyShape())
def sigmoid(Z: Array) -> tuple[Array, Array]:
    """Return (A, cache): A = 1 / (1 + e^-Z), any shape, and Z itself.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    return unchecked(activations.sigmoid_forward)(Z)[0], Z


@validated(Z=AnyShape())
def relu(Z: Array) -> tuple[Array, Array]:
    """Return (A, cache): A = max(0, Z), any shape, and Z itself.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    return unchecked(activations.relu_forward)(Z)[0], Z


@validated(dA=AnyShape(), cache=AnyShape())
def sigmoid_backward(dA: Array, cache: Array) -> Array:
    """Return dZ = dA * A (1 - A) with A = sigmoid(Z); the cache is Z, shaped like dA.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    _, core_cache = unchecked(activations.sigmoid_forward)(cache)
    return unchecked(activations.sigmoid_backward)(dA, core_cache)["Z"]


@validated(dA=AnyShape(), cache=AnyShape())
def relu_backward(dA: Array, cache: Array) -> Array:
    """Return dZ = dA where Z > 0, else 0; the cache is Z, shaped like dA.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    return unchecked(activations.relu_backward)(dA, activations.ReluCache(cache))["Z"]


#: forward and backward of the activations that a layer can have, by name.
_ACTIVATIONS = {"sigmoid": (sigmoid, sigmoid_backward), "relu": (relu, relu_backward)}
_NAME = OneOf(_ACTIVATIONS)


def _by_root_of_inputs(shape: tuple[int, int], draws: Draws) -> Array:
    """Draw W = randn / sqrt(n_prev), as the assignment divides.

    The core's `xavier` multiplies by sqrt(1 / n_prev): the same but for the last bit.
    """
    return np.asarray(draws.standard_normal(shape) / np.sqrt(shape[1]))


@validated(layers_dims=Sizes())
def initialize_parameters_deep(layers_dims: Sequence[int]) -> Arrays:
    """Draw {"W1", "b1", ...} with seed 3: W = randn / sqrt(n_prev), (n, n_prev), and b zero.

    Source: Course 1, week 4, "Deep neural network for image classification: application".
    """
    return draw_layers(layers_dims, _by_root_of_inputs, 3)


@validated(A="n_prev m", W="n n_prev", b="n 1")
def linear_forward(A: Array, W: Array, b: Array) -> tuple[Array, LinearCache]:
    """Return (Z, cache): Z = W A + b, (n, m), and the cache (A, W, b).

    Source: Course 1, week 4, "Forward propagation in a deep network".
    """
    return unchecked(linear.linear_forward)(A, W, b)[0], (A, W, b)


@validated(A_prev="n_prev m", W="n n_prev", b="n 1", activation=_NAME)
def linear_activation_forward(
    A_prev: Array, W: Array, b: Array, activation: str
) -> tuple[Array, LinearActivationCache]:
    """Return (A, cache): A = g(W A_prev + b), (n, m), and ((A_prev, W, b), Z).

    g is "sigmoid" or "relu".

    Source: Course 1, week 4, "Forward propagation in a deep network".
    """
    Z, linear_cache = unchecked(linear_forward)(A_prev, W, b)
    A, activation_cache = unchecked(_ACTIVATIONS[activation][0])(Z)
    return A, (linear_cache, activation_cache)


@validated(parameters=Layers(), X="n_0 m")
def L_model_forward(X: Array, parameters: Arrays) -> tuple[Array, list[LinearActivationCache]]:
    """Return (AL, caches): the output (n_L, m) and one cache ((A_prev, W, b), Z) a layer.

    Source: Course 1, week 4, "Forward propagation in a deep network".
    """
    A, caches, L = X, [], len(parameters) // 2
    for l in range(1, L + 1):
        activation = "relu" if l < L else "sigmoid"
        layer = parameters[f"W{l}"], parameters[f"b{l}"]
        A, cache = unchecked(linear_activation_forward)(A, *layer, activation)
        caches.append(cache)
    return A, caches


@validated(AL="n_y m", Y="n_y m")
def compute_cost(AL: Array, Y: Array) -> Any:
    """Return -1/m sum (Y log AL + (1 - Y) log(1 - AL)), a NumPy scalar.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    return cross_entropy(AL, Y)


@validated(cache=Fields({"A_prev": "n_prev m", "W": "n n_prev", "b": "n 1"}), dZ="n m")
def linear_backward(dZ: Array, cache: LinearCache) -> tuple[Array, Array, Array]:
    """Return (dA_prev, dW, db), with 1/m in dW and db, as taught: dZ is of the sum of the costs.

    Source: Course 1, week 4, "Forward and backward propagation".
    """
    A_prev, W, _ = cache
    return linear_gradients(dZ, A_prev, W)


@validated(cache=LayerCache(), dA="n m", activation=_NAME)
def linear_activation_backward(
    dA: Array, cache: LinearActivationCache, activation: str = "relu"
) -> tuple[Array, Array, Array]:
    """Return (dA_prev, dW, db) of a layer, from dA (n, m) and its cache ((A_prev, W, b), Z).

    Source: Course 1, week 4, "Forward and backward propagation".
    """
    linear_cache, activation_cache = cache
    dZ = unchecked(_ACTIVATIONS[activation][1])(dA, activation_cache)
    return unchecked(linear_backward)(dZ, linear_cache)


@validated(caches=LayerCaches(), AL="n_L m", Y="n_L m")
def L_model_backward(AL: Array, Y: Array, caches: Sequence[LinearActivationCache]) -> Arrays:
    """Return grads with dA, dW and db of every layer, last layer first.

    "dA" + str(l) is what layer l passes back, the gradient of its input A_(l-1); some versions of
    the assignment call the same array "dA" + str(l - 1). All starts from the AL that is given, as
    dAL = -Y / AL + (1 - Y) / (1 - AL), not from a fused AL - Y.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    # of the sum of the costs: the 1/m stands in `linear_backward`
    cost = costs.BinaryCrossEntropyCache(AL, Y, divisor=1)
    dA = unchecked(costs.binary_cross_entropy_backward)(1.0, cost)["A"]
    grads: Arrays = {}
    for l in range(len(caches), 0, -1):
        activation = "relu" if l < len(caches) else "sigmoid"
        dA, dW, db = unchecked(linear_activation_backward)(dA, caches[l - 1], activation)
        grads |= {f"dA{l}": dA, f"dW{l}": dW, f"db{l}": db}
    return grads


@validated(parameters=Layers(chained=False), grads=Gradients(), learning_rate=Real())
def update_parameters(parameters: Arrays, grads: Arrays, learning_rate: float) -> Arrays:
    """Return new parameters theta - alpha dtheta.

    Source: Course 1, week 4, "Building your deep neural network: step by step".
    """
    return descend(parameters, grads, learning_rate)


@validated(parameters=Layers(), X="n_0 m", y="n_L m")
def predict(X: Array, y: Array, parameters: Arrays) -> Array:
    """Return 1 where AL > 0.5, else 0, (n_L, m), and print the accuracy on the labels y.

    Source: Course 1, week 4, "Deep neural network for image classification: application".
    """
    AL, _ = unchecked(L_model_forward)(X, parameters)
    p = unchecked(costs.predict_by_threshold)(AL)
    # as the notebook sums, and to its last digit: all of 209 right is 0.9999999999999998
    print(f"Accuracy: {np.sum((p == y) / X.shape[1])}")
    return p


@validated(
    layers_dims=Sizes(),
    X="n_0 m",
    Y="n_L m",
    learning_rate=Real(),
    num_iterations=Whole(0),
    print_cost=Instance(bool),
    isPlot=Instance(bool),
    seed=Seed(),
)
def L_layer_model(
    X: Array,
    Y: Array,
    layers_dims: Sequence[int],
    learning_rate: float = 0.0075,
    num_iterations: int = 3000,
    print_cost: bool = False,
    isPlot: bool = True,
    *,
    seed: int = 3,
) -> Arrays:
    """Return the parameters after gradient descent from weights of `initialize_parameters_deep`.

    `seed=1` draws the weights of the official assignment. The cost is recorded every 100
    iterations, printed with `print_cost`, and drawn with `isPlot` where matplotlib is installed.

    Source: Course 1, week 4, "Deep neural network for image classification: application".
    """
    X, Y = X.astype(np.float64), Y.astype(np.float64)  # as the weights are drawn
    parameters = draw_layers(layers_dims, _by_root_of_inputs, seed)
    descent = Descent(parameters, choose(optimizers.GradientDescent, learning_rate=learning_rate))
    recorded: list[float] = []
    for i in range(num_iterations):
        AL, caches = unchecked(L_model_forward)(X, descent.parameters)
        if i % 100 == 0:
            recorded.append(float(cross_entropy(AL, Y)))
            if print_cost:
                print(f"Cost after iteration {i}: {recorded[-1]:f}")
        descent.step(unchecked(L_model_backward)(AL, Y, caches))
    if isPlot:
        plot_costs(recorded, "iterations (per hundreds)", learning_rate)
    return descent.parameters
