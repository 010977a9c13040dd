"""Activation functions A = g(Z), elementwise or down a column, each beside its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from scratch._validation import Array, Instance, validated

__all__ = [
    "ACTIVATIONS",
    "LEAKY_SLOPE",
    "Activation",
    "IdentityCache",
    "LeakyReluCache",
    "ReluCache",
    "SigmoidCache",
    "SoftmaxCache",
    "TanhCache",
    "hardmax_forward",
    "identity_backward",
    "identity_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_forward",
    "tanh_backward",
    "tanh_forward",
]

#: slope of the leaky ReLU for Z <= 0, the course's and torch's 0.01.
LEAKY_SLOPE = 0.01


class IdentityCache(NamedTuple):
    """Cache of `identity_forward`, for `identity_backward`."""

    Z: Array  # (n, m)


class SigmoidCache(NamedTuple):
    """Cache of `sigmoid_forward`, for `sigmoid_backward`."""

    A: Array  # (n, m)


class TanhCache(NamedTuple):
    """Cache of `tanh_forward`, for `tanh_backward`."""

    A: Array  # (n, m)


class ReluCache(NamedTuple):
    """Cache of `relu_forward`, for `relu_backward`."""

    Z: Array  # (n, m)


class LeakyReluCache(NamedTuple):
    """Cache of `leaky_relu_forward`, for `leaky_relu_backward`."""

    Z: Array  # (n, m)


class SoftmaxCache(NamedTuple):
    """Cache of `softmax_forward`, for `softmax_backward`."""

    A: Array  # (C, m)


class Activation(NamedTuple):
    """A forward function and its backward; None where nothing can be pulled back."""

    forward: Callable[[Array], tuple[Array, Any]]
    backward: Callable[[Array, Any], dict[str, Array]] | None


@validated(Z="n m")
def identity_forward(Z: Array) -> tuple[Array, IdentityCache]:
    """Return A = Z, shape (n, m), and the cache for `identity_backward`.

    Source: Course 1, week 3, "Why do you need non-linear activation functions?".
    """
    return Z.copy(), IdentityCache(Z)


@validated(cache=Instance(IdentityCache, Z="n m"), dA="n m")
def identity_backward(dA: Array, cache: IdentityCache) -> dict[str, Array]:
    """Pull dA, shape (n, m), back: dZ = dA.

    Source: Course 1, week 3, "Derivatives of activation functions".
    """
    return {"Z": dA.copy()}


@validated(Z="n m")
def sigmoid_forward(Z: Array) -> tuple[Array, SigmoidCache]:
    """Return A = 1 / (1 + e^-Z), shape (n, m), without overflow for any finite Z.

    Source: Course 1, week 2, "Logistic regression".
    """
    e = np.exp(-np.abs(Z))  # never overflows
    A = np.where(Z >= 0, 1, e) / (1 + e)
    return A, SigmoidCache(A)


@validated(cache=Instance(SigmoidCache, A="n m"), dA="n m")
def sigmoid_backward(dA: Array, cache: SigmoidCache) -> dict[str, Array]:
    """Pull dA, shape (n, m), back: dZ = dA * A (1 - A).

    Source: Course 1, week 3, "Derivatives of activation functions".
    """
    (A,) = cache
    return {"Z": dA * A * (1 - A)}


@validated(Z="n m")
def tanh_forward(Z: Array) -> tuple[Array, TanhCache]:
    """Return A = (e^Z - e^-Z) / (e^Z + e^-Z), shape (n, m), and the cache.

    Source: Course 1, week 3, "Activation functions".
    """
    A = np.tanh(Z)
    return A, TanhCache(A)


@validated(cache=Instance(TanhCache, A="n m"), dA="n m")
def tanh_backward(dA: Array, cache: TanhCache) -> dict[str, Array]:
    """Pull dA, shape (n, m), back: dZ = dA * (1 - A^2).

    Source: Course 1, week 3, "Derivatives of activation functions".
    """
    (A,) = cache
    return {"Z": dA * (1 - A**2)}


@validated(Z="n m")
def relu_forward(Z: Array) -> tuple[Array, ReluCache]:
    """Return A = max(0, Z), shape (n, m), and the cache.

    Source: Course 1, week 3, "Activation functions".
    """
    return np.maximum(Z, 0), ReluCache(Z)


@validated(cache=Instance(ReluCache, Z="n m"), dA="n m")
def relu_backward(dA: Array, cache: ReluCache) -> dict[str, Array]:
    """Pull dA, shape (n, m), back: dZ = dA where Z > 0, else 0, at Z = 0 too as in torch.

    Source: Course 1, week 3, "Derivatives of activation functions".
    """
    (Z,) = cache
    return {"Z": dA * (Z > 0)}


@validated(Z="n m")
def leaky_relu_forward(Z: Array) -> tuple[Array, LeakyReluCache]:
    """Return A = Z where Z > 0, else 0.01 Z, shape (n, m), and the cache.

    Source: Course 1, week 3, "Activation functions".
    """
    return np.where(Z > 0, Z, LEAKY_SLOPE * Z), LeakyReluCache(Z)


@validated(cache=Instance(LeakyReluCache, Z="n m"), dA="n m")
def leaky_relu_backward(dA: Array, cache: LeakyReluCache) -> dict[str, Array]:
    """Pull dA, shape (n, m), back: dZ = dA where Z > 0, else 0.01 dA, at Z = 0 too as in torch.

    Source: Course 1, week 3, "Derivatives of activation functions".
    """
    (Z,) = cache
    return {"Z": np.where(Z > 0, dA, LEAKY_SLOPE * dA)}


@validated(Z="C m")
def softmax_forward(Z: Array) -> tuple[Array, SoftmaxCache]:
    """Return A = e^Z / sum over the C classes of e^Z, shape (C, m), and the cache.

    Source: Course 2, week 3, "Softmax regression".
    """
    E = np.exp(Z - Z.max(axis=0))  # a shift of a column changes nothing but the overflow
    A = E / E.sum(axis=0)
    return A, SoftmaxCache(A)


@validated(cache=Instance(SoftmaxCache, A="C m"), dA="C m")
def softmax_backward(dA: Array, cache: SoftmaxCache) -> dict[str, Array]:
    """Pull dA, shape (C, m), back: dZ = A * (dA - sum over classes of A dA).

    Source: Bishop, Pattern Recognition and Machine Learning, equation 4.106.
    """
    (A,) = cache
    return {"Z": A * (dA - (A * dA).sum(axis=0))}


@validated(Z="C m")
def hardmax_forward(Z: Array) -> tuple[Array, None]:
    """Return the one-hot A, shape (C, m), 1 at the first largest Z of a column; no gradient.

    Source: Course 2, week 3, "Training a softmax classifier".
    """
    A = np.zeros_like(Z)
    np.put_along_axis(A, Z.argmax(axis=0, keepdims=True), 1, axis=0)
    return A, None


#: every activation by name; the same keys as `torch_ref.activations.ACTIVATIONS`.
ACTIVATIONS: Mapping[str, Activation] = {
    "identity": Activation(identity_forward, identity_backward),
    "sigmoid": Activation(sigmoid_forward, sigmoid_backward),
    "tanh": Activation(tanh_forward, tanh_backward),
    "relu": Activation(relu_forward, relu_backward),
    "leaky_relu": Activation(leaky_relu_forward, leaky_relu_backward),
    "softmax": Activation(softmax_forward, softmax_backward),
    "hardmax": Activation(hardmax_forward, None),
}
