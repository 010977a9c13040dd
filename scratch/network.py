"""Networks of any depth: layers of linear and activation, the cost on the logits, penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scratch._door import (
    Array,
    Floats,
    Instance,
    Number,
    OneOf,
    Optional,
    Whole,
    admit,
    door,
    unchecked,
)
from scratch._shapes import check_layer_sizes, network_shapes
from scratch.activations import ACTIVATIONS
from scratch.costs import COSTS, predict_by_argmax, predict_by_threshold
from scratch.linear import LinearCache, linear_backward, linear_forward
from scratch.parameters import Parameters
from scratch.regularization import (
    l1_penalty,
    l1_penalty_gradient,
    l2_penalty,
    l2_penalty_gradient,
)

__all__ = [
    "OUTPUT_COSTS",
    "Network",
    "NetworkCache",
    "cost_and_gradients",
    "network_backward",
    "network_forward",
    "predict",
]

#: the cost that each output activation is trained with, computed from its logits.
OUTPUT_COSTS: Mapping[str, str] = {
    "sigmoid": "binary_cross_entropy_with_logits",
    "softmax": "cross_entropy_with_logits",
}
PREDICT = {"sigmoid": unchecked(predict_by_threshold), "softmax": unchecked(predict_by_argmax)}
#: the backward, behind its door, of every activation that has one.
BACKWARD = {
    name: unchecked(one.backward) for name, one in ACTIVATIONS.items() if one.backward is not None
}
_linear_forward = unchecked(linear_forward)
_linear_backward = unchecked(linear_backward)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The choices of a network: sizes (n_0, ..., n_L), hidden and output activation by name.

    Raises TypeError or ValueError for sizes below 1, fewer than two of them, or unknown names.

    Source: Course 1, week 4, "Deep L-layer neural network".
    """

    layer_sizes: tuple[int, ...]
    hidden: str = "relu"
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        check_layer_sizes(self.layer_sizes)
        object.__setattr__(self, "layer_sizes", tuple(int(n) for n in self.layer_sizes))
        names = {"hidden": OneOf(BACKWARD), "output": OneOf(BACKWARD)}
        admit(names, {"hidden": self.hidden, "output": self.output})

    @property
    def depth(self) -> int:
        """The number of layers L with weights."""
        return len(self.layer_sizes) - 1

    def activation(self, l: int) -> str:
        """Return the name of the activation of layer l, 1 to L."""
        return self.output if l == self.depth else self.hidden


class NetworkCache(NamedTuple):
    """What `network_backward` needs: the caches of the layers, first to last."""

    linear: tuple[LinearCache, ...]
    activation: tuple[Any, ...]
    network: Network


def match(network: Network, parameters: Parameters, X: Array) -> None:
    """Raise unless parameters and X have the network's shapes and one dtype."""
    shapes = network_shapes(network.layer_sizes)
    if parameters.shapes != shapes:
        raise ValueError(f"expected parameters of shapes {shapes}, got {parameters.shapes}")
    if X.shape[0] != network.layer_sizes[0]:
        raise ValueError(
            f"expected X of shape (n_x, m) with n_x = {network.layer_sizes[0]}, got {X.shape}"
        )
    if X.dtype != parameters.theta.dtype:
        raise TypeError(f"expected X of dtype {parameters.theta.dtype}, got {X.dtype}")


def check_labels(network: Network, Y: Array) -> None:
    """Raise ValueError unless the network's output has a cost and Y is a label for it."""
    if network.output not in OUTPUT_COSTS:
        raise ValueError(
            f"expected an output with a cost, one of {', '.join(OUTPUT_COSTS)}, "
            f"got {network.output!r}"
        )
    if Y.shape[0] != network.layer_sizes[-1]:
        raise ValueError(
            f"expected Y of shape (n_y, m) with n_y = {network.layer_sizes[-1]}, got {Y.shape}"
        )
    values = "one-hot" if network.output == "softmax" else "labels"
    admit({"Y": Floats("n_y m", values)}, {"Y": Y})


def network_logits(
    X: Array, parameters: Parameters, network: Network
) -> tuple[Array, NetworkCache]:
    """Return Z of the last layer, (n_L, m), and the caches of all that lies below it."""
    A, linear, activation = X, [], []
    for l in range(1, network.depth + 1):
        Z, cache = _linear_forward(A, parameters[f"W{l}"], parameters[f"b{l}"])
        linear.append(cache)
        if l < network.depth:
            A, activation_cache = unchecked(ACTIVATIONS[network.hidden].forward)(Z)
            activation.append(activation_cache)
    return Z, NetworkCache(tuple(linear), tuple(activation), network)


def _from_logits(dZ: Array, cache: NetworkCache) -> dict[str, Array]:
    """Pull dZ of the last layer, (n_L, m), back to X and every W and b."""
    gradients: dict[str, Array] = {}
    for l in range(cache.network.depth, 0, -1):
        pulled = _linear_backward(dZ, cache.linear[l - 1])
        gradients = {f"W{l}": pulled["W"], f"b{l}": pulled["b"], **gradients}
        if l > 1:
            backward = BACKWARD[cache.network.hidden]
            dZ = backward(pulled["A_prev"], cache.activation[l - 2])["Z"]
    return {"X": pulled["A_prev"], **gradients}


@door(X="n_x m", parameters=Instance(Parameters), network=Instance(Network))
def network_forward(
    X: Array, parameters: Parameters, network: Network
) -> tuple[Array, NetworkCache]:
    """Return A_L, shape (n_L, m), of A_l = g(W_l A_(l-1) + b_l) with A_0 = X, and the cache.

    Source: Course 1, week 4, "Forward propagation in a deep network".
    """
    match(network, parameters, X)
    Z, cache = network_logits(X, parameters, network)
    A, output_cache = unchecked(ACTIVATIONS[network.output].forward)(Z)
    return A, cache._replace(activation=(*cache.activation, output_cache))


@door(cache=Instance(NetworkCache), dA="n_L m")
def network_backward(dA: Array, cache: NetworkCache) -> dict[str, Array]:
    """Pull dA of the output, (n_L, m), back to {"X", "W1", "b1", ...}, each like its input.

    Source: Course 1, week 4, "Forward and backward propagation".
    """
    expected = (cache.network.layer_sizes[-1], cache.linear[-1].A_prev.shape[1])
    if dA.shape != expected:
        raise ValueError(f"expected dA of shape {expected}, got {dA.shape}")
    if dA.dtype != cache.linear[-1].W.dtype:
        raise TypeError(f"expected dA of dtype {cache.linear[-1].W.dtype}, got {dA.dtype}")
    dZ = BACKWARD[cache.network.output](dA, cache.activation[-1])["Z"]
    return _from_logits(dZ, cache)


@door(
    X=Floats("n_x m"),
    Y=Floats("n_y m", "labels"),
    parameters=Instance(Parameters),
    network=Instance(Network),
    l1=Number("[0, inf)"),
    l2=Number("[0, inf)"),
    m=Optional(Whole(1)),
)
def cost_and_gradients(
    parameters: Parameters,
    X: Array,
    Y: Array,
    network: Network,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
) -> tuple[np.floating[Any], Parameters]:
    """Return J = mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W|, a scalar, and its gradients.

    The cost is the one of `OUTPUT_COSTS`, from the logits. `m`, by default the columns of X, is the
    number of examples that share the penalty: the size of the training set when X is a mini-batch.

    Source: Course 2, week 1, "Regularizing your neural network".
    """
    match(network, parameters, X)
    check_labels(network, Y)
    m = X.shape[1] if m is None else m
    Z, cache = network_logits(X, parameters, network)
    cost = COSTS[OUTPUT_COSTS[network.output]]
    J, cost_cache = unchecked(cost.forward)(Z, Y)
    pulled = _from_logits(unchecked(cost.backward)(1.0, cost_cache)["Z"], cache)
    gradients = parameters.zeros_like()
    for name in gradients:
        gradients[name] = pulled[name]
    if l2:
        J = J + unchecked(l2_penalty)(parameters, l2, m)
        gradients.theta[:] += unchecked(l2_penalty_gradient)(parameters, l2, m).theta
    if l1:
        J = J + unchecked(l1_penalty)(parameters, l1, m)
        gradients.theta[:] += unchecked(l1_penalty_gradient)(parameters, l1, m).theta
    return J, gradients


@door(X="n_x m", parameters=Instance(Parameters), network=Instance(Network))
def predict(X: Array, parameters: Parameters, network: Network) -> Array:
    """Return predictions in the form of Y, (n_L, m): A > 0.5 for sigmoid, argmax for softmax.

    Raises ValueError for an output that makes no prediction.

    Source: Course 1, week 4, "Deep neural network for image classification: application".
    """
    if network.output not in PREDICT:
        raise ValueError(
            f"expected an output that predicts, one of {', '.join(PREDICT)}, got {network.output!r}"
        )
    A, _ = unchecked(network_forward)(X, parameters, network)
    return PREDICT[network.output](A)
