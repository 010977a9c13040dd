"""Running-error gauges: what each result may be off by when every operation rounds once.

A first-order bound in units of eps, carried through the same operations as the values: a sum adds
the bounds of its terms and its terms' sizes, a product multiplies each bound by the other factor.
Where a result is small because large terms cancel, the gauge stays as large as the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratch.activations import ACTIVATIONS
from scratch.network import Network

Array = NDArray[Any]

#: the largest |g''(Z)| of each elementwise activation: how far a wrong Z moves the derivative.
CURVATURE = {"identity": 0.0, "sigmoid": 0.1, "tanh": 0.77, "relu": 0.0, "leaky_relu": 0.0}


def product(letters: str, left: Array, right: Array) -> Array:
    """Return what the sums of a matrix product add up, its factors indexed as in "nk,km->nm"."""
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
        return A, A * (E_Z + (A * E_Z).sum(axis=0)) + A, cache
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
    return dZ, np.abs(slope) * E_dA + np.abs(dA) * moved + np.abs(dZ)


def network_gauges(network: Network, arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return the gauges of a network's output and of the gradient of X, every W and every b."""
    A, E_A = arguments["X"], np.zeros_like(arguments["X"])
    layers = []
    for l in range(1, network.depth + 1):
        W, b = arguments[f"W{l}"], arguments[f"b{l}"]
        Z, E_Z = W @ A + b, product("nk,km->nm", W, E_A + np.abs(A)) + np.abs(b)
        below = A, E_A
        A, E_A, cache = _forward(network.activation(l), Z, E_Z)
        layers.append((W, *below, A, E_A, E_Z, cache))
    gauges = {"output": E_A}
    E_dA = np.zeros_like(dA)
    for l in range(network.depth, 0, -1):
        W, A_prev, E_prev, A, E_A, E_Z, cache = layers[l - 1]
        dZ, E_dZ = _backward(network.activation(l), dA, E_dA, A, E_A, E_Z, cache)
        E_dZ = E_dZ + np.abs(dZ)
        gauges[f"W{l}"] = product("nm,km->nk", E_dZ, A_prev) + product("nm,km->nk", dZ, E_prev)
        gauges[f"b{l}"] = E_dZ.sum(axis=1, keepdims=True)
        dA, E_dA = np.einsum("nk,nm->km", W, dZ), product("nk,nm->km", W, E_dZ)
    gauges["X"] = E_dA
    return gauges
