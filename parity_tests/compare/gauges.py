"""Running-error gauges: what each result may be off by when every operation rounds once.

A first-order bound in units of eps, carried through the same operations as the values: a sum adds
the bounds of its terms and its terms' sizes, a product multiplies each bound by the other factor.
Where both factors may be round-off alone, as after batch norm of constant features or on flat
slopes, the product of their bounds is added.
Where a result is small because large terms cancel, the gauge stays as large as the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratch.activations import ACTIVATIONS
from scratch.batch_norm import BatchNormCache, batch_norm_forward
from scratch.network import Network

Array = NDArray[Any]

#: the largest |g''(Z)| of each elementwise activation: how far a wrong Z moves the derivative.
CURVATURE = {"identity": 0.0, "sigmoid": 0.1, "tanh": 0.77, "relu": 0.0, "leaky_relu": 0.0}


def product(letters: str, left: Array, right: Array) -> Array:
    return np.asarray(np.einsum(letters, np.abs(left), np.abs(right)))


def linear_gauges(arguments: Mapping[str, Any], dZ: Array) -> dict[str, Array]:
    """Return the gauges of Z = W A_prev + b and of the three gradients, for exact inputs."""
    A_prev, W, b = (arguments[name] for name in ("A_prev", "W", "b"))
    return {
        "output": product("nk,km->nm", W, A_prev) + np.abs(b),
        "A_prev": product("nk,nm->km", W, dZ),
        "W": product("nm,km->nk", dZ, A_prev),
        "b": np.abs(dZ).sum(axis=1, keepdims=True),
    }


def _forward(name: str, Z: Array, E_Z: Array) -> tuple[Array, Array, Any]:
    """Return A, its gauge and the cache of an activation, given Z and the gauge of Z."""
    A, cache = ACTIVATIONS[name].forward(Z)
    if name == "softmax":
        E_shifted = E_Z + Z.max(axis=0) - Z  # the shift by the largest rounds, and e^x with it
        return A, A * (E_shifted + (A * E_shifted).sum(axis=0)) + A, cache
    backward = ACTIVATIONS[name].backward
    slope = backward(np.ones_like(Z), cache)["Z"] if backward else np.zeros_like(Z)
    return A, np.abs(slope) * E_Z + np.abs(A), cache


def _backward(
    name: str, dA: Array, E_dA: Array, A: Array, E_A: Array, E_Z: Array, cache: Any
) -> tuple[Array, Array]:
    """Return dZ and its gauge, given dA, A and their gauges."""
    backward = ACTIVATIONS[name].backward
    dZ = backward(dA, cache)["Z"] if backward else np.zeros_like(dA)
    if name == "softmax":
        size = np.abs(dA)
        total = (A * (size + E_dA) + E_A * size).sum(axis=0)
        return dZ, A * (E_dA + size + total) + E_A * (size + np.abs((A * dA).sum(axis=0)))
    slope = backward(np.ones_like(dA), cache)["Z"] if backward else np.zeros_like(dA)
    moved = CURVATURE[name] * (E_Z + 1)  # 1: the slope itself is a rounded difference from 1
    # where a slope is flat to the last bit, and so was one above it, only the second order is left
    second = np.finfo(dA.dtype).eps * E_dA * moved
    return dZ, np.abs(slope) * E_dA + np.abs(dA) * moved + second + np.abs(dZ)


def softmax_gauges(arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return the gauges of softmax and of the gradient of Z, for exact inputs."""
    Z = arguments["Z"]
    exact = np.zeros_like(Z)
    A, E_A, cache = _forward("softmax", Z, exact)
    _, E_dZ = _backward("softmax", dA, exact, A, E_A, exact, cache)
    return {"output": E_A, "Z": E_dZ}


class _Normalized(NamedTuple):
    """Values that the backward gauge of a batch norm layer is made of."""

    cache: BatchNormCache
    E_norm: Array  # of Z_norm
    E_inv_std: Array


def moment_gauges(Z: Array, E_Z: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Return the gauges of the mean of Z, of Z without it and of its variance."""
    centred = Z - cache.mean
    E_mean = (E_Z + np.abs(Z)).mean(axis=1, keepdims=True)
    E_centred = E_Z + E_mean + np.abs(centred)
    moved = 2 * np.abs(centred) + np.finfo(Z.dtype).eps * E_centred
    E_variance = (moved * E_centred).mean(axis=1, keepdims=True) + cache.variance
    return E_mean, E_centred, E_variance


def _normalize(
    Z: Array, E_Z: Array, gamma: Array, beta: Array, epsilon: float
) -> tuple[Array, Array, _Normalized]:
    """Return the output of batch norm, its gauge and what the backward needs."""
    output, cache = batch_norm_forward(Z, gamma, beta, epsilon)
    centred, inv_std = Z - cache.mean, cache.inv_std
    _, E_centred, E_variance = moment_gauges(Z, E_Z, cache)
    E_inv_std = inv_std**3 / 2 * E_variance + inv_std
    E_norm = E_centred * inv_std + np.abs(centred) * E_inv_std + np.abs(cache.Z_norm)
    E_output = np.abs(gamma) * (E_norm + np.abs(cache.Z_norm)) + np.abs(beta) + np.abs(output)
    return output, E_output, _Normalized(cache, E_norm, E_inv_std)


def _denormalize(
    d: Array, E_d: Array, normalized: _Normalized
) -> tuple[Array, Array, dict[str, Array]]:
    """Return dZ, its gauge and those of gamma and beta, given the gradient of the output."""
    (Z_norm, inv_std, gamma, _, _), E_norm, E_inv_std = normalized

    def mean(values: Array) -> Array:
        return np.asarray(values.mean(axis=1, keepdims=True))

    eps = np.finfo(d.dtype).eps
    g = gamma * d
    E_g = np.abs(gamma) * E_d + np.abs(g)
    size = np.abs(Z_norm)
    through = mean(g * Z_norm)
    E_mean = mean(E_g + np.abs(g))
    E_through = mean(E_g * size + np.abs(g) * (E_norm + size))
    inner = g - mean(g) - Z_norm * through
    E_inner = E_g + E_mean + E_norm * np.abs(through) + size * E_through
    E_inner += eps * E_norm * E_through
    E_inner += np.abs(g) + np.abs(mean(g)) + np.abs(Z_norm * through)
    dZ = inv_std * inner
    of_gamma = E_d * (size + eps * E_norm) + np.abs(d) * (E_norm + size)
    own = {"gamma": of_gamma, "beta": E_d + np.abs(d)}
    own = {name: one.sum(axis=1, keepdims=True) for name, one in own.items()}
    return dZ, inv_std * E_inner + E_inv_std * np.abs(inner) + np.abs(dZ), own


def batch_norm_gauges(arguments: Mapping[str, Any], dZ_tilde: Array) -> dict[str, Array]:
    """Return the gauges of batch norm's output and of its three gradients, for exact inputs."""
    Z, gamma, beta = (arguments[name] for name in ("Z", "gamma", "beta"))
    epsilon = arguments.get("epsilon", 1e-5)
    _, E_output, normalized = _normalize(Z, np.zeros_like(Z), gamma, beta, epsilon)
    _, E_Z, own = _denormalize(dZ_tilde, np.zeros_like(dZ_tilde), normalized)
    return {"output": E_output, "Z": E_Z, **own}


class _Layer(NamedTuple):
    """Values that the gauges of a layer's gradients are made of."""

    W: Array
    A_prev: Array
    E_prev: Array  # of A_prev
    A: Array
    E_A: Array
    E_Z: Array  # of what the activation is given
    E_linear: Array  # of the linear output before batch norm
    cache: Any  # of the activation
    normalized: _Normalized | None


def _upwards(
    network: Network,
    arguments: Mapping[str, Any],
    masks: Mapping[str, Array],
    running: Mapping[str, Array] | None = None,
) -> list[_Layer]:
    """Return the layers of a pass with the gauges of all that they hold.

    Batch norm scales and shifts by `running` averages at prediction, and normalizes in training.
    """
    A, E_A = arguments["X"], np.zeros_like(arguments["X"])
    layers = []
    for l in range(1, network.depth + 1):
        W, b, below = arguments[f"W{l}"], arguments.get(f"b{l}", 0.0), (A, E_A)
        Z, E_Z = W @ A + b, product("nk,km->nm", W, E_A + np.abs(A)) + np.abs(b)
        E_linear, normalized = E_Z, None
        if network.batch_norm and l < network.depth:
            gamma, beta = arguments[f"gamma{l}"], arguments[f"beta{l}"]
            epsilon = network.batch_norm.epsilon
            if running is None:
                Z, E_Z, normalized = _normalize(Z, E_Z, gamma, beta, epsilon)
            else:
                mean, variance = running[f"mean{l}"], running[f"variance{l}"]
                factor = gamma / np.sqrt(variance + epsilon)
                E_Z = np.abs(factor) * (E_Z + np.abs(Z) + np.abs(mean)) + np.abs(beta)
                Z = factor * (Z - mean) + beta
        A, E_A, cache = _forward(network.activation(l), Z, E_Z)
        layers.append(_Layer(W, *below, A, E_A, E_Z, E_linear, cache, normalized))
        mask = masks.get(f"D{l}")
        if mask is not None:
            A, E_A = A * mask, E_A * mask + np.abs(A * mask)
    return layers


def _downwards(
    network: Network,
    layers: list[_Layer],
    dZ: Array,
    E_dZ: Array,
    masks: Mapping[str, Array],
) -> dict[str, Array]:
    """Return the gauges of the gradients of X and every parameter, given dZ of the last layer."""
    gauges: dict[str, Array] = {}
    for l in range(network.depth, 0, -1):
        layer = layers[l - 1]
        if layer.normalized is None:
            gauges[f"b{l}"] = E_dZ.sum(axis=1, keepdims=True)
        else:
            dZ, E_dZ, own = _denormalize(dZ, E_dZ, layer.normalized)
            gauges |= {f"{name}{l}": gauge for name, gauge in own.items()}
        second = np.finfo(dZ.dtype).eps * layer.E_prev  # where A_prev and dZ are both 0
        own_sum = product("nm,km->nk", E_dZ, np.abs(layer.A_prev) + second)
        gauges[f"W{l}"] = own_sum + product("nm,km->nk", dZ, layer.E_prev)
        dA, E_dA = np.einsum("nk,nm->km", layer.W, dZ), product("nk,nm->km", layer.W, E_dZ)
        if l == 1:
            return gauges | {"X": E_dA}
        below, mask = layers[l - 2], masks.get(f"D{l - 1}")
        if mask is not None:
            dA, E_dA = dA * mask, E_dA * mask + np.abs(dA * mask)
        dZ, E_dZ = _backward(network.hidden, dA, E_dA, below.A, below.E_A, below.E_Z, below.cache)
        E_dZ = E_dZ + np.abs(dZ)
    raise AssertionError("a network has a layer")


def layer_gauges(
    network: Network, arguments: Mapping[str, Any], masks: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Return the gauges of what each activation is given, "Z1", ..., and of W A + b, "linear1"."""
    layers = [*enumerate(_upwards(network, arguments, masks or {}), start=1)]
    inputs = {f"Z{l}": layer.E_Z for l, layer in layers}
    return inputs | {f"linear{l}": layer.E_linear for l, layer in layers}


def network_gauges(
    network: Network,
    arguments: Mapping[str, Any],
    dA: Array,
    masks: Mapping[str, Array] | None = None,
    E_dA: Array | None = None,
) -> dict[str, Array]:
    """Return the gauges of a network's output and of the gradient of X and every parameter.

    `E_dA` is the gauge of dA.
    """
    masks = masks or {}
    layers = _upwards(network, arguments, masks)
    top = layers[-1]
    E_dA = np.zeros_like(dA) if E_dA is None else E_dA
    dZ, E_dZ = _backward(network.output, dA, E_dA, top.A, top.E_A, top.E_Z, top.cache)
    return {"output": top.E_A, **_downwards(network, layers, dZ, E_dZ + np.abs(dZ), masks)}


def cost_gauges(
    network: Network,
    arguments: Mapping[str, Any],
    Y: Array,
    masks: Mapping[str, Array] | None = None,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
) -> dict[str, Array]:
    """Return the gauges of J, as "output", and of its gradients, for a cost from the logits.

    dZ = (A - Y) / m of the last layer, and the penalties are shared by `m` examples.
    """
    masks, columns = masks or {}, Y.shape[1]
    layers = _upwards(network, arguments, masks)
    top = layers[-1]
    dZ = (top.A - Y) / columns
    gauges = _downwards(network, layers, dZ, top.E_A / columns + 2 * np.abs(dZ), masks)
    logits = top.W @ top.A_prev + arguments[f"b{network.depth}"]
    # the log of a sum, its largest logit taken out and put back
    terms = np.abs(top.A - Y) * top.E_Z + 2 * np.abs(logits) + 1
    J = terms.sum() / columns
    for name, W in arguments.items():
        if name.startswith("W"):
            shrink = (l2 * np.abs(W) + l1) / (m or columns)
            gauges[name] = gauges[name] + shrink
            J = J + (l2 / 2 * np.square(W).sum() + l1 * np.abs(W).sum()) / (m or columns)
    return {"output": J, **gauges}


def prediction_gauge(
    network: Network, arguments: Mapping[str, Any], running: Mapping[str, Array] | None
) -> Array:
    """Return the gauge of a network's output at prediction."""
    return _upwards(network, arguments, {}, running)[-1].E_A
