"""Networks of any depth: layers of linear and activation, the cost on the logits, penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from scratch._checks import OUTPUT_COSTS, check_labels, check_masks, check_running, match
from scratch._shapes import KeepProbs, LayerSizes, network_shapes
from scratch._validation import (
    Array,
    Expected,
    Floats,
    Instance,
    Number,
    OneOf,
    Optional,
    Whole,
    check,
    unchecked,
    validated,
)
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import (
    BatchNorm,
    BatchNormCache,
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_predict,
)
from scratch.clipping import vector_norm
from scratch.costs import COSTS, predict_by_argmax, predict_by_threshold
from scratch.dropout import DropoutCache, dropout_backward, dropout_forward
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
    "LayerNorms",
    "Network",
    "NetworkCache",
    "cost_and_gradients",
    "layer_norms",
    "network_backward",
    "network_forward",
    "outputs",
    "predict",
]

PREDICT = {"sigmoid": unchecked(predict_by_threshold), "softmax": unchecked(predict_by_argmax)}
#: the backward, behind its validation, of every activation that has one.
BACKWARD = {
    name: unchecked(one.backward) for name, one in ACTIVATIONS.items() if one.backward is not None
}
_CHOICES: dict[str, Expected] = {
    "layer_sizes": LayerSizes(),
    "hidden": OneOf(BACKWARD),
    "output": OneOf(BACKWARD),
    "keep_probs": KeepProbs(),
    "batch_norm": Optional(Instance(BatchNorm)),
}
_linear_forward = unchecked(linear_forward)
_linear_backward = unchecked(linear_backward)


Masks: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Network:
    """The choices of a network: sizes (n_0, ..., n_L), hidden and output activation by name.

    Args:
        layer_sizes: units of the input, of each hidden layer and of the output.
        hidden: activation of the hidden layers.
        output: activation of the last layer, which chooses the cost.
        keep_probs: share of its units that training keeps, for each hidden layer, or none at all;
            input and output are never dropped.
        batch_norm: its choices: the hidden layers are then normalized before their activation, and
            have gamma and beta in the place of b.

    Raises:
        TypeError: sizes are no whole numbers, or names no strings.
        ValueError: fewer than two sizes or one below 1, keep_probs outside (0, 1], unknown names.

    Example:
        >>> from scratch.network import Network
        >>> Network(layer_sizes=(2, 3, 1), hidden="tanh").shapes
        {'W1': (3, 2), 'b1': (3, 1), 'W2': (1, 3), 'b2': (1, 1)}

    Source: Course 1, week 4, "Deep L-layer neural network".
    """

    layer_sizes: tuple[int, ...]
    hidden: str = "relu"
    output: str = "sigmoid"
    keep_probs: tuple[float, ...] = ()
    batch_norm: BatchNorm | None = None

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        check(_CHOICES, vars(self))
        object.__setattr__(self, "layer_sizes", tuple(int(n) for n in self.layer_sizes))
        object.__setattr__(self, "keep_probs", tuple(float(one) for one in self.keep_probs))

    @property
    def depth(self) -> int:
        """The number of layers L with weights."""
        return len(self.layer_sizes) - 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters."""
        return network_shapes(self.layer_sizes, self.batch_norm is not None)

    @property
    def dropped(self) -> tuple[int, ...]:
        """The layers that drop units in training."""
        return tuple(l for l, keep_prob in enumerate(self.keep_probs, start=1) if keep_prob < 1)

    def activation(self, l: int) -> str:
        """Return the name of the activation of layer l, 1 to L.

        Raises TypeError for what is no whole number, ValueError for a layer that there is not.
        """
        check({"l": Whole(1)}, {"l": l})
        if l > self.depth:
            raise ValueError(f"expected l in 1..{self.depth}, got {l}")
        return self.output if l == self.depth else self.hidden


class NetworkCache(NamedTuple):
    """Cache of `network_forward`, for `network_backward`: those of the layers, first to last.

    Those of batch norm and dropout are of the hidden layers, None where a layer has none.
    """

    linear: tuple[LinearCache, ...]
    batch_norm: tuple[BatchNormCache | None, ...]
    activation: tuple[Any, ...]
    dropout: tuple[DropoutCache | None, ...]
    network: Network


class LayerNorms(NamedTuple):
    """The Frobenius norm of each layer's output and of the gradient of each parameter."""

    activations: dict[str, float]  # {"A1": ..., "AL": ...}
    gradients: dict[str, float]  # {"W1": ..., "b1": ..., ...}


def network_logits(
    X: Array, parameters: Parameters, network: Network, masks: Masks | None = None
) -> tuple[Array, NetworkCache]:
    """Return Z of the last layer, (n_L, m), in a pass of training, and the caches below it."""
    forward, choices = unchecked(ACTIVATIONS[network.hidden].forward), network.batch_norm
    A, linear, activation = X, [], []
    normalized: list[BatchNormCache | None] = []
    dropout: list[DropoutCache | None] = []
    for l in range(1, network.depth):
        W = parameters[f"W{l}"]
        # a mean that is taken away takes b with it: a normalized layer has none
        b = parameters[f"b{l}"] if choices is None else np.zeros((len(W), 1), W.dtype)
        Z, linear_cache = _linear_forward(A, W, b)
        linear.append(linear_cache)
        if choices is None:
            normalized.append(None)
        else:
            scale = parameters[f"gamma{l}"], parameters[f"beta{l}"]
            Z, norm_cache = unchecked(batch_norm_forward)(Z, *scale, choices.epsilon)
            normalized.append(norm_cache)
        A, activation_cache = forward(Z)
        activation.append(activation_cache)
        if masks is None or f"D{l}" not in masks:
            dropout.append(None)
        else:
            A, dropout_cache = unchecked(dropout_forward)(A, masks[f"D{l}"])
            dropout.append(dropout_cache)
    L = network.depth
    Z, linear_cache = _linear_forward(A, parameters[f"W{L}"], parameters[f"b{L}"])
    caches = (*linear, linear_cache), tuple(normalized), tuple(activation), tuple(dropout)
    return Z, NetworkCache(*caches, network)


def predicted_logits(
    X: Array, parameters: Parameters, network: Network, running: Parameters | None
) -> Array:
    """Return Z of the last layer, (n_L, m), at prediction: nothing dropped, running averages."""
    A, choices = X, network.batch_norm
    for l in range(1, network.depth):
        if choices is None or running is None:
            Z, _ = _linear_forward(A, parameters[f"W{l}"], parameters[f"b{l}"])
        else:
            scale = parameters[f"gamma{l}"], parameters[f"beta{l}"]
            averages = running[f"mean{l}"], running[f"variance{l}"]
            Z = unchecked(batch_norm_predict)(
                parameters[f"W{l}"] @ A, *scale, *averages, choices.epsilon
            )
        A, _ = unchecked(ACTIVATIONS[network.hidden].forward)(Z)
    L = network.depth
    return _linear_forward(A, parameters[f"W{L}"], parameters[f"b{L}"])[0]


def _from_logits(dZ: Array, cache: NetworkCache) -> dict[str, Array]:
    """Pull dZ of the last layer, (n_L, m), back to X and every parameter."""
    pulled = _linear_backward(dZ, cache.linear[-1])
    L = cache.network.depth
    gradients = {f"W{L}": pulled["W"], f"b{L}": pulled["b"]}
    for l in range(L - 1, 0, -1):
        dA = pulled["A_prev"]
        dropout_cache, norm_cache = cache.dropout[l - 1], cache.batch_norm[l - 1]
        if dropout_cache is not None:
            dA = unchecked(dropout_backward)(dA, dropout_cache)["A"]
        dZ = BACKWARD[cache.network.hidden](dA, cache.activation[l - 1])["Z"]
        if norm_cache is None:
            pulled = _linear_backward(dZ, cache.linear[l - 1])
            own = {f"W{l}": pulled["W"], f"b{l}": pulled["b"]}
        else:
            scaled = unchecked(batch_norm_backward)(dZ, norm_cache)
            pulled = _linear_backward(scaled["Z"], cache.linear[l - 1])
            own = {f"W{l}": pulled["W"], f"gamma{l}": scaled["gamma"], f"beta{l}": scaled["beta"]}
        gradients = own | gradients
    return {"X": pulled["A_prev"], **gradients}


@validated(X="n_x m", parameters=Instance(Parameters), network=Instance(Network))
def network_forward(
    X: Array, parameters: Parameters, network: Network, masks: Masks | None = None
) -> tuple[Array, NetworkCache]:
    """Return A_L, shape (n_L, m), of A_l = g(W_l A_(l-1) + b_l) with A_0 = X, and the cache.

    A pass of training: `masks` {"D1": (n_1, m), ...} drop units, none without them; batch norm
    takes the mean and variance of X. `outputs` is the pass of prediction.

    Source: Course 1, week 4, "Forward propagation in a deep network".
    """
    match(network, parameters, X)
    if masks is not None:
        check_masks(network, masks, X.shape[1], X.dtype)
    Z, cache = network_logits(X, parameters, network, masks)
    A, output_cache = unchecked(ACTIVATIONS[network.output].forward)(Z)
    return A, cache._replace(activation=(*cache.activation, output_cache))


@validated(cache=Instance(NetworkCache), dA="n_L m")
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


@validated(X="n_x m", parameters=Instance(Parameters), network=Instance(Network))
def outputs(
    X: Array, parameters: Parameters, network: Network, running: Parameters | None = None
) -> Array:
    """Return A_L, (n_L, m), at prediction: nothing dropped, running averages in batch norm.

    Raises ValueError where a network with batch norm comes without `running`.

    Source: Course 2, week 1, "Dropout regularization", making predictions at test time.
    """
    match(network, parameters, X)
    check_running(network, running, X.dtype)
    Z = predicted_logits(X, parameters, network, running)
    return unchecked(ACTIVATIONS[network.output].forward)(Z)[0]


_COST: dict[str, Expected] = {
    "X": Floats("n_x m"),
    "Y": Floats("n_y m", "labels"),
    "parameters": Instance(Parameters),
    "network": Instance(Network),
    "l1": Number("[0, inf)"),
    "l2": Number("[0, inf)"),
    "m": Optional(Whole(1)),
}


@validated(**_COST)
def cost_and_gradients(
    parameters: Parameters,
    X: Array,
    Y: Array,
    network: Network,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
    masks: Masks | None = None,
) -> tuple[np.floating[Any], Parameters]:
    """Return J = mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W|, a scalar, and its gradients.

    The cost is the one of `OUTPUT_COSTS`, from the logits. `m`, by default the columns of X, is the
    number of examples that share the penalty: the size of the training set when X is a mini-batch.
    A pass of training: `masks` drop units, batch norm takes the mean and variance of X.

    Source: Course 2, week 1, "Regularizing your neural network".
    """
    match(network, parameters, X)
    check_labels(network, Y)
    if masks is not None:
        check_masks(network, masks, X.shape[1], X.dtype)
    m = X.shape[1] if m is None else m
    Z, cache = network_logits(X, parameters, network, masks)
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


@validated(**_COST)
def layer_norms(
    parameters: Parameters,
    X: Array,
    Y: Array,
    network: Network,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
    masks: Masks | None = None,
) -> LayerNorms:
    """Return the norms of activations and gradients, sqrt(sum of squares), in a pass of training.

    They vanish or explode with depth where the initial weights are too small or too large.

    Source: Course 2, week 1, "Vanishing / exploding gradients".
    """
    _, gradients = cost_and_gradients(parameters, X, Y, network, l1=l1, l2=l2, m=m, masks=masks)
    A, cache = unchecked(network_forward)(X, parameters, network, masks)
    layers = [*(one.A_prev for one in cache.linear[1:]), A]
    return LayerNorms(
        {f"A{l}": float(vector_norm(A.ravel())) for l, A in enumerate(layers, start=1)},
        {name: float(vector_norm(one.ravel())) for name, one in gradients.items()},
    )


@validated(X="n_x m", parameters=Instance(Parameters), network=Instance(Network))
def predict(
    X: Array, parameters: Parameters, network: Network, running: Parameters | None = None
) -> Array:
    """Return predictions in the form of Y, (n_L, m): A > 0.5 for sigmoid, argmax for softmax.

    Raises ValueError for an output that makes no prediction, and where a network with batch norm
    comes without `running`, its running averages.

    Source: Course 1, week 4, "Deep neural network for image classification: application".
    """
    if network.output not in PREDICT:
        raise ValueError(
            f"expected an output that predicts, one of {', '.join(PREDICT)}, got {network.output!r}"
        )
    return PREDICT[network.output](outputs(X, parameters, network, running))
