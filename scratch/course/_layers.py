"""Parts that the modules share: dictionaries as `Parameters`, ReLU networks, updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from scratch import activations, costs, dropout, linear, optimizers
from scratch._validation import Array, unchecked
from scratch.course._kinds import Arrays, layer_names
from scratch.parameters import Parameters

#: NumPy's generators of old: `np.random` itself is the global one, seeded by `np.random.seed`. Both
#: have the methods that the core asks of a `Generator`, and draw the numbers of `np.random.randn`.
Draws = Any

Choices = TypeVar("Choices")

_linear_forward = unchecked(linear.linear_forward)
_linear_backward = unchecked(linear.linear_backward)
_relu_backward = unchecked(activations.relu_backward)
_cost_forward = unchecked(costs.binary_cross_entropy_forward)
_cost_backward = unchecked(costs.binary_cross_entropy_with_logits_backward)


def seeded(seed: int) -> Draws:
    """Return a generator of the numbers after `np.random.seed(seed)`, apart from the global one."""
    return np.random.RandomState(seed)


def draw_layers(
    layers_dims: Sequence[int], draw: Callable[[tuple[int, int], Draws], Array], seed: int
) -> Arrays:
    """Return {"W1", "b1", ...}: each W drawn, W1 first, each b zero."""
    draws, parameters = seeded(seed), {}
    for l in range(1, len(layers_dims)):
        parameters[f"W{l}"] = draw((layers_dims[l], layers_dims[l - 1]), draws)
        parameters[f"b{l}"] = np.zeros((layers_dims[l], 1))
    return parameters


def pack(arrays: Mapping[str, Array], prefix: str = "") -> Parameters:
    """Copy {"W1", "b1", ...}, in the dictionary behind the prefix, into `Parameters`."""
    depth = sum(name.startswith(f"{prefix}W") for name in arrays)
    named = {name: arrays[prefix + name] for name in layer_names(depth)}
    packed = Parameters.empty(
        {name: array.shape for name, array in named.items()}, named["W1"].dtype
    )
    for name, array in named.items():
        packed[name] = array  # finite or not: values are not checked here
    return packed


def unpack(packed: Parameters, prefix: str = "") -> Arrays:
    """Return the dictionary of what `pack` has packed."""
    return {prefix + name: view for name, view in packed.items()}


def choose(kind: type[Choices], **choices: float) -> Choices:
    """Make an optimizer or schedule without its refusal of values, such as a rate of zero."""
    made = object.__new__(kind)
    for name, value in choices.items():
        object.__setattr__(made, name, float(value))  # a float64 scalar would promote float32
    return made


def descend(parameters: Arrays, grads: Arrays, learning_rate: float) -> Arrays:
    """Return the parameters after a step of gradient descent."""
    descent = Descent(parameters, choose(optimizers.GradientDescent, learning_rate=learning_rate))
    descent.step(grads)
    return descent.parameters


class Descent:
    """A training's parameters, overwritten step by step by an optimizer of the core."""

    def __init__(self, parameters: Arrays, optimizer: optimizers.Optimizer) -> None:
        """Copy the parameters; the optimizer may come from `choose`."""
        self._parameters = pack(parameters)
        self._gradients = self._parameters.zeros_like()
        self._optimizer, self._state = optimizer, optimizer.init(self._parameters)
        self.parameters = unpack(self._parameters)  # views: a step is seen through them

    def step(self, grads: Arrays) -> None:
        """Take one step with {"dW1", "db1", ...}."""
        for name in self._gradients:
            self._gradients[name] = grads[f"d{name}"]
        self._optimizer.update(self._parameters, self._gradients, self._state)


def cross_entropy(A: Array, Y: Array) -> Any:
    """Return the cost from the output, as taught, a NumPy scalar."""
    return _cost_forward(A, Y)[0] + 0.0  # of a perfect output 0, not the -0 that prints a minus


def linear_gradients(dZ: Array, A_prev: Array, W: Array) -> tuple[Array, Array, Array]:
    """Return (dA_prev, dW, db), with 1/m in dW and db alone: dZ is of the sum of the costs."""
    pulled, m = _linear_backward(dZ, linear.LinearCache(A_prev, W)), dZ.shape[1]
    return pulled["A_prev"], pulled["W"] / m, pulled["b"] / m


class Layer(NamedTuple):
    """One layer of a network on its way forward, in the order of the assignments' caches."""

    Z: Array  # (n, m)
    D: Any  # (n, m), None or booleans, where the layer has dropout
    A: Array  # (n, m)
    W: Array  # (n, n_prev)
    b: Array  # (n, 1)


def flatten(layers: Sequence[Layer]) -> tuple[Array, ...]:
    """Return the assignments' cache (Z1, A1, W1, b1, Z2, ...), with D1, D2 where they are."""
    return tuple(field for layer in layers for field in layer if field is not None)


def unflatten(cache: Sequence[Array], dropout: bool = False) -> list[Layer]:
    """Return the layers of an assignment's cache, all hidden ones with D if `dropout`."""
    hidden = len(cache) // 5 if dropout else len(cache) // 4 - 1
    width = 5 if dropout else 4
    groups = [cache[start : start + width] for start in range(0, hidden * width, width)]
    layers = [Layer(one[0], one[1] if dropout else None, *one[-3:]) for one in groups]
    Z, *rest = cache[hidden * width :]
    return [*layers, Layer(Z, None, *rest)]


def network_forward(
    X: Array, parameters: Arrays, draw_mask: Callable[[tuple[int, int]], Array] | None = None
) -> tuple[Array, list[Layer]]:
    """Return the output of hidden layers of ReLU and a last one of sigmoid, and its layers."""
    A, layers, depth = X, [], len(parameters) // 2
    for l in range(1, depth + 1):
        W, b, D = parameters[f"W{l}"], parameters[f"b{l}"], None
        Z, _ = _linear_forward(A, W, b)
        A, _ = unchecked(activations.ACTIVATIONS["relu" if l < depth else "sigmoid"].forward)(Z)
        if draw_mask and l < depth:
            mask = draw_mask((A.shape[0], A.shape[1]))
            A, D = unchecked(dropout.dropout_forward)(A, mask)[0], mask > 0
        layers.append(Layer(Z, D, A, W, b))
    return A, layers


def network_backward(X: Array, Y: Array, layers: Sequence[Layer], keep_prob: float = 1.0) -> Arrays:
    """Return {"dZL", "dWL", "dbL", "dAL-1", ...} of the mean cost, last layer first.

    As the assignments have it, 1/m stands in dW and db: dA and dZ are those of the sum of costs.
    """
    output = costs.BinaryCrossEntropyWithLogitsCache(layers[-1].A, Y, divisor=1)
    dZ = _cost_backward(1.0, output)["Z"]
    gradients: Arrays = {}
    for l in range(len(layers), 0, -1):
        below = layers[l - 2] if l > 1 else None
        dA, dW, db = linear_gradients(dZ, below.A if below else X, layers[l - 1].W)
        gradients |= {f"dZ{l}": dZ, f"dW{l}": dW, f"db{l}": db}
        if below:
            if below.D is not None:
                mask = dropout.DropoutCache(below.D / keep_prob)
                dA = unchecked(dropout.dropout_backward)(dA, mask)["A"]
            # A > 0 where Z > 0, and the assignments look at A: their caches may hold any numbers
            dZ = _relu_backward(dA, activations.ReluCache(below.A))["Z"]
            gradients |= {f"dA{l - 1}": dA}
    return gradients
