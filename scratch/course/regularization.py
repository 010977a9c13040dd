"""Regularization of a network of three layers, ReLU, ReLU, sigmoid: L2, and inverted dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scratch import dropout, regularization
from scratch._validation import Array, unchecked
from scratch.course._kinds import Arrays, FlatCache, Layers, Real, validated
from scratch.course._layers import (
    cross_entropy,
    flatten,
    network_backward,
    network_forward,
    pack,
    seeded,
    unflatten,
)

__all__ = [
    "backward_propagation",
    "backward_propagation_with_dropout",
    "backward_propagation_with_regularization",
    "compute_cost_with_regularization",
    "forward_propagation",
    "forward_propagation_with_dropout",
]

_LAYERS = Layers(depth=3)


@validated(parameters=_LAYERS, X="n_0 m")
def forward_propagation(X: Array, parameters: Arrays) -> tuple[Array, tuple[Array, ...]]:
    """Return A3, (n_3, m), and the cache (Z1, A1, W1, b1, Z2, A2, W2, b2, Z3, A3, W3, b3).

    Source: Course 2, week 1, "Regularization".
    """
    A3, layers = network_forward(X, parameters)
    return A3, flatten(layers)


@validated(parameters=_LAYERS, A3="n_3 m", Y="n_3 m", lambd=Real())
def compute_cost_with_regularization(A3: Array, Y: Array, parameters: Arrays, lambd: float) -> Any:
    """Return the mean cross-entropy + lambda / (2 m) sum of squared weights, a NumPy scalar.

    Source: Course 2, week 1, "Regularization".
    """
    penalty = unchecked(regularization.l2_penalty)(pack(parameters), lambd, A3.shape[1])
    return cross_entropy(A3, Y) + penalty


@validated(cache=FlatCache(depth=3), X="n_0 m", Y="n_3 m")
def backward_propagation(X: Array, Y: Array, cache: Sequence[Array]) -> Arrays:
    """Return dZ3, dW3, db3, dA2, dZ2, ... of the mean cost; 1/m stands in dW and db alone.

    Source: Course 2, week 1, "Regularization".
    """
    return network_backward(X, Y, unflatten(cache))


@validated(cache=FlatCache(depth=3), X="n_0 m", Y="n_3 m", lambd=Real())
def backward_propagation_with_regularization(
    X: Array, Y: Array, cache: Sequence[Array], lambd: float
) -> Arrays:
    """Return the gradients of `backward_propagation` with lambda / m W added to each dW.

    Source: Course 2, week 1, "Regularization", weight decay.
    """
    layers = unflatten(cache)
    gradients = network_backward(X, Y, layers)
    parameters = pack(
        {
            f"{letter}{l}": getattr(layer, letter)
            for l, layer in enumerate(layers, 1)
            for letter in "Wb"
        }
    )
    penalty = unchecked(regularization.l2_penalty_gradient)(parameters, lambd, X.shape[1])
    return gradients | {f"d{name}": gradients[f"d{name}"] + penalty[name] for name in penalty}


@validated(parameters=_LAYERS, X="n_0 m", keep_prob=Real())
def forward_propagation_with_dropout(
    X: Array, parameters: Arrays, keep_prob: float = 0.5
) -> tuple[Array, tuple[Array, ...]]:
    """Return A3, (n_3, m), and the cache (Z1, D1, A1, W1, b1, Z2, D2, ..., Z3, A3, W3, b3).

    With seed 1, D1 and then D2 keep a hidden unit where rand < keep_prob: booleans, and
    A = A * D / keep_prob.

    Source: Course 2, week 1, "Dropout regularization", inverted dropout.
    """
    draws = seeded(1)
    A3, layers = network_forward(
        X,
        parameters,
        lambda shape: unchecked(dropout.draw_mask)(shape, keep_prob, draws, X.dtype),
    )
    return A3, flatten(layers)


@validated(cache=FlatCache(depth=3, dropout=True), X="n_0 m", Y="n_3 m", keep_prob=Real())
def backward_propagation_with_dropout(
    X: Array, Y: Array, cache: Sequence[Array], keep_prob: float
) -> Arrays:
    """Return dZ3, dW3, db3, dA2, dZ2, ... of the mean cost, dA = dA * D / keep_prob in between.

    Source: Course 2, week 1, "Dropout regularization", inverted dropout.
    """
    return network_backward(X, Y, unflatten(cache, dropout=True), float(keep_prob))
