"""Running-error gauges: what each result may be off by when every operation rounds once.

A first-order bound in units of eps, carried through the same operations as the values: a sum adds
the bounds of its terms and its terms' sizes, a product multiplies each bound by the other factor.
Where both factors may be round-off alone, as after batch norm of constant features or on flat
slopes, the product of their bounds is added.
Where a result is small because large terms cancel, the gauge stays as large as the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare.measurement import Array
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import BatchNormCache, batch_norm_forward
from scratch.network import Network

#: the largest |g''(Z)| of each elementwise activation: how far a wrong Z moves the derivative.
CURVATURE = {"identity": 0.0, "sigmoid": 0.1, "tanh": 0.77, "relu": 0.0, "leaky_relu": 0.0}


class Rounded(NamedTuple):
    """Values, and the gauge E of each."""

    values: Array
    E: Array

    def times(self, factor: Array, further: Any = 0.0) -> Rounded:
        """Return a product with a factor that is exact, or adds a further error."""
        product = factor * self.values
        return Rounded(product, np.abs(factor) * self.E + further + np.abs(product))


def exact(values: Array) -> Rounded:
    return Rounded(values, np.zeros_like(values))


def product(letters: str, left: Array, right: Array) -> Array:
    return np.asarray(np.einsum(letters, np.abs(left), np.abs(right)))


def mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=1, keepdims=True))


def linear_gauges(arguments: Mapping[str, Any], dZ: Array) -> dict[str, Array]:
    """Return the gauges of Z = W A_prev + b and of the three gradients, for exact inputs."""
    A_prev, W, b = (arguments[name] for name in ("A_prev", "W", "b"))
    return {
        "output": product("nk,km->nm", W, A_prev) + np.abs(b),
        "A_prev": product("nk,nm->km", W, dZ),
        "W": product("nm,km->nk", dZ, A_prev),
        "b": np.abs(dZ).sum(axis=1, keepdims=True),
    }


def _slope(name: str, like: Array, cache: Any) -> Array:
    backward = ACTIVATIONS[name].backward
    return np.asarray(backward(np.ones_like(like), cache)["Z"] if backward else 0 * like)


def _forward(name: str, Z: Rounded) -> tuple[Rounded, Any]:
    """Return A and the cache of an activation."""
    A, cache = ACTIVATIONS[name].forward(Z.values)
    if name == "softmax":
        E_shifted = Z.E + Z.values.max(axis=0) - Z.values  # the largest is taken out, and rounds
        return Rounded(A, A * (E_shifted + (A * E_shifted).sum(axis=0)) + A), cache
    return Rounded(A, np.abs(_slope(name, A, cache)) * Z.E + np.abs(A)), cache


def _backward(name: str, dA: Rounded, A: Rounded, E_Z: Array, cache: Any) -> Rounded:
    """Return dZ of an activation."""
    size = np.abs(dA.values)
    if name == "softmax":
        pulled = np.abs((A.values * dA.values).sum(axis=0))
        total = (A.values * (size + dA.E) + A.E * size).sum(axis=0)
        E_dZ = A.values * (dA.E + size + total) + A.E * (size + pulled)
        return Rounded(A.values * (dA.values - (A.values * dA.values).sum(axis=0)), E_dZ)
    moved = CURVATURE[name] * (E_Z + 1)  # 1: the slope itself is a rounded difference from 1
    # where a slope is flat to the last bit, and so was one above it, only the second order is left
    second = np.finfo(size.dtype).eps * dA.E * moved
    return dA.times(_slope(name, size, cache), size * moved + second)


def softmax_gauges(arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return the gauges of softmax and of the gradient of Z, for exact inputs."""
    Z = exact(arguments["Z"])
    A, cache = _forward("softmax", Z)
    return {"output": A.E, "Z": _backward("softmax", exact(dA), A, Z.E, cache).E}


def moment_gauges(Z: Array, E_Z: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Return the gauges of the mean of Z, of Z without it and of its variance."""
    centred = Z - cache.mean
    E_mean = mean(E_Z + np.abs(Z))
    E_centred = E_Z + E_mean + np.abs(centred)
    moved = 2 * np.abs(centred) + np.finfo(Z.dtype).eps * E_centred
    return E_mean, E_centred, mean(moved * E_centred) + cache.variance


class _Normalized(NamedTuple):
    """Values that the backward gauge of a batch norm layer is made of."""

    cache: BatchNormCache
    E_norm: Array  # of Z_norm
    E_inv_std: Array


def _normalize(
    Z: Rounded, gamma: Array, beta: Array, epsilon: float
) -> tuple[Rounded, _Normalized]:
    """Return the output of batch norm and what the backward needs."""
    output, cache = batch_norm_forward(Z.values, gamma, beta, epsilon)
    _, E_centred, E_variance = moment_gauges(*Z, cache)
    inv_std, size = cache.inv_std, np.abs(cache.Z_norm)
    E_inv_std = inv_std**3 / 2 * E_variance + inv_std
    E_norm = E_centred * inv_std + np.abs(Z.values - cache.mean) * E_inv_std + size
    E_output = np.abs(gamma) * (E_norm + size) + np.abs(beta) + np.abs(output)
    return Rounded(output, E_output), _Normalized(cache, E_norm, E_inv_std)


def _denormalize(d: Rounded, normalized: _Normalized) -> tuple[Rounded, dict[str, Array]]:
    """Return dZ and the gauges of gamma and beta, given the gradient of the output."""
    (Z_norm, inv_std, gamma, _, _), E_norm, E_inv_std = normalized
    eps, size, (g, E_g) = np.finfo(Z_norm.dtype).eps, np.abs(Z_norm), d.times(gamma)
    through, E_through = mean(g * Z_norm), mean(E_g * size + np.abs(g) * (E_norm + size))
    terms = g, mean(g), Z_norm * through
    E_inner = E_g + mean(E_g + np.abs(g)) + E_norm * np.abs(through) + size * E_through
    E_inner += eps * E_norm * E_through + sum(np.abs(one) for one in terms)
    inner = Rounded(terms[0] - terms[1] - terms[2], E_inner)
    of_gamma = d.E * (size + eps * E_norm) + np.abs(d.values) * (E_norm + size)
    own = {"gamma": of_gamma, "beta": d.E + np.abs(d.values)}
    own = {name: one.sum(axis=1, keepdims=True) for name, one in own.items()}
    return inner.times(inv_std, E_inv_std * np.abs(inner.values)), own


def batch_norm_gauges(arguments: Mapping[str, Any], dZ_tilde: Array) -> dict[str, Array]:
    """Return the gauges of batch norm's output and of its three gradients, for exact inputs."""
    Z, gamma, beta = (arguments[name] for name in ("Z", "gamma", "beta"))
    output, normalized = _normalize(exact(Z), gamma, beta, arguments.get("epsilon", 1e-5))
    dZ, own = _denormalize(exact(dZ_tilde), normalized)
    return {"output": output.E, "Z": dZ.E, **own}


class _Layer(NamedTuple):
    """Values that the gauges of a layer's gradients are made of."""

    W: Array
    A_prev: Rounded
    E_linear: Array  # of the linear output before batch norm
    E_Z: Array  # of what the activation is given
    A: Rounded
    cache: Any  # of the activation
    normalized: _Normalized | None


def _upwards(
    network: Network, arguments: Mapping[str, Any], masks: Mapping[str, Array],
    running: Mapping[str, Array] | None = None,
) -> list[_Layer]:  # fmt: skip
    """Return the layers of a pass, of prediction where there are `running` averages."""
    below, layers = exact(arguments["X"]), []
    for l in range(1, network.depth + 1):
        W, b = arguments[f"W{l}"], arguments.get(f"b{l}", 0.0)
        E_linear = product("nk,km->nm", W, below.E + np.abs(below.values)) + np.abs(b)
        Z, normalized = Rounded(W @ below.values + b, E_linear), None
        if network.batch_norm and l < network.depth:
            gamma, beta = arguments[f"gamma{l}"], arguments[f"beta{l}"]
            epsilon = network.batch_norm.epsilon
            if running is None:
                Z, normalized = _normalize(Z, gamma, beta, epsilon)
            else:
                average, variance = running[f"mean{l}"], running[f"variance{l}"]
                factor = gamma / np.sqrt(variance + epsilon)
                size = E_linear + np.abs(Z.values) + np.abs(average)
                shifted = factor * (Z.values - average) + beta
                Z = Rounded(shifted, np.abs(factor) * size + np.abs(beta))
        A, cache = _forward(network.activation(l), Z)
        layers.append(_Layer(W, below, E_linear, Z.E, A, cache, normalized))
        below = A.times(masks[f"D{l}"]) if f"D{l}" in masks else A
    return layers


def _downwards(
    network: Network, layers: list[_Layer], dZ: Rounded, masks: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the gauges of the gradients of X and every parameter, given dZ of the last layer."""
    gauges: dict[str, Array] = {}
    for l in range(network.depth, 0, -1):
        W, A_prev, *_, normalized = layers[l - 1]
        if normalized is None:
            gauges[f"b{l}"] = dZ.E.sum(axis=1, keepdims=True)
        else:
            dZ, own = _denormalize(dZ, normalized)
            gauges |= {f"{name}{l}": gauge for name, gauge in own.items()}
        second = np.finfo(W.dtype).eps * A_prev.E  # where A_prev and dZ are both 0
        gauges[f"W{l}"] = product("nm,km->nk", dZ.E, np.abs(A_prev.values) + second)
        gauges[f"W{l}"] += product("nm,km->nk", dZ.values, A_prev.E)
        dA = Rounded(np.einsum("nk,nm->km", W, dZ.values), product("nk,nm->km", W, dZ.E))
        if f"D{l - 1}" in masks:
            dA = dA.times(masks[f"D{l - 1}"])
        if l > 1:
            dZ = _pulled(network.hidden, dA, layers[l - 2])
    return gauges | {"X": dA.E}


def _pulled(activation: str, dA: Rounded, layer: _Layer) -> Rounded:
    """Return dZ of a layer, whose terms are summed next."""
    dZ, E_dZ = _backward(activation, dA, layer.A, layer.E_Z, layer.cache)
    return Rounded(dZ, E_dZ + np.abs(dZ))


def layer_gauges(
    network: Network, arguments: Mapping[str, Any], masks: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Return the gauges of what each activation is given, "Z1", ..., and of W A + b, "linear1"."""
    layers = [*enumerate(_upwards(network, arguments, masks or {}), start=1)]
    inputs = {f"Z{l}": layer.E_Z for l, layer in layers}
    return inputs | {f"linear{l}": layer.E_linear for l, layer in layers}


def network_gauges(
    network: Network, arguments: Mapping[str, Any], dA: Array,
    masks: Mapping[str, Array] | None = None,
) -> dict[str, Array]:  # fmt: skip
    """Return the gauges of a network's output and of the gradient of X and every parameter."""
    layers = _upwards(network, arguments, masks or {})
    dZ = _pulled(network.output, exact(dA), layers[-1])
    return {"output": layers[-1].A.E, **_downwards(network, layers, dZ, masks or {})}


def cost_gauges(
    network: Network, arguments: Mapping[str, Any], Y: Array,
    masks: Mapping[str, Array] | None = None, *, l1: float = 0.0, l2: float = 0.0,
    m: int | None = None,
) -> dict[str, Array]:  # fmt: skip
    """Return the gauges of J, as "output", and of its gradients, for a cost from the logits."""
    masks, columns = masks or {}, Y.shape[1]
    layers = _upwards(network, arguments, masks)
    top = layers[-1]
    dZ = (top.A.values - Y) / columns
    dZ = Rounded(dZ, top.A.E / columns + 2 * np.abs(dZ))
    gauges = _downwards(network, layers, dZ, masks)
    logits = top.W @ top.A_prev.values + arguments[f"b{network.depth}"]
    # the log of a sum, its largest logit taken out and put back
    terms = np.abs(top.A.values - Y) * top.E_Z + 2 * np.abs(logits) + 1
    J = terms.sum() / columns
    for name, W in arguments.items():
        if name.startswith("W"):
            gauges[name] = gauges[name] + (l2 * np.abs(W) + l1) / (m or columns)
            J = J + (l2 / 2 * np.square(W).sum() + l1 * np.abs(W).sum()) / (m or columns)
    return {"output": J, **gauges}


def prediction_gauge(
    network: Network, arguments: Mapping[str, Any], running: Mapping[str, Array] | None
) -> Array:
    """Return the gauge of a network's output at prediction."""
    return _upwards(network, arguments, {}, running)[-1].A.E


def average_bounds(values: Array, targets: Array, beta: float, averaging: bool = True) -> Array:
    """Return the bounds of averages beta v + (1 - beta) x along (steps, N), from 0 on.

    torch's lerp weighs the past by 1 - (1 - beta), rounded. Without averaging x itself is added.
    """
    slack = (1 - float(values.dtype.type(1 - beta))) - beta if averaging else 0.0
    eps, weight = float(np.finfo(values.dtype).eps), 2 * (1 - beta) if averaging else 1.0
    values, targets = (one.astype(np.longdouble) for one in (values, targets))
    before = np.concatenate([0 * values[:1], values[:-1]])
    terms = beta * np.abs(before) + weight * np.abs(targets)
    terms += abs(slack) / eps * np.abs(targets - before)
    return np.array([*accumulate(terms, lambda bound, term: beta * bound + term)])


def _quotient(v: Rounded, s: Rounded, epsilon: float, inside: bool, eps: float) -> Rounded:
    """Return v / (sqrt(s) + epsilon), or v / sqrt(s + epsilon)."""
    if inside:
        root = np.sqrt(s.values + epsilon)
        E_root = (s.E + s.values + epsilon) / (2 * root) + root
    else:
        root = np.sqrt(s.values)
        # near 0 the root of what s may be off by is less than its first order
        far = np.divide(s.E, 2 * root, out=np.full_like(root, np.inf), where=root > 0)
        E_root = np.minimum(far, np.sqrt(s.E / eps)) + 2 * root + epsilon
        root = root + epsilon
    moves = v.values / root
    return Rounded(moves, (v.E + np.abs(moves) * E_root) / root + np.abs(moves))


def rule_gauges(
    path: Mapping[str, Array], start: Array, gradients: Array, learning_rate: float = 0.001,
    beta: float = 0.9, averaging: bool = True, beta1: float = 0.9, beta2: float = 0.999,
    epsilon: float = 1e-8, epsilon_inside_root: bool = False, bias_correction: bool = True,
    steps_taken: int = 0,
) -> dict[str, Array]:  # fmt: skip
    """Return the gauges of a path of the rule whose state it shows: v, s, both or neither.

    All is computed in longdouble: squares and sums of the largest floats have a bound too.
    """
    found, moves = dict[str, Array](), exact(gradients.astype(np.longdouble))
    g, is_adam = moves.values, {"v", "s"} <= path.keys()
    t = steps_taken + np.arange(1, len(g) + 1)[:, None]
    beta_v, beta_s = (beta1, beta2) if is_adam else (beta, beta)
    of_v, of_s = (1 - one**t if is_adam and bias_correction else 1.0 for one in (beta_v, beta_s))
    if "v" in path:
        v, E_v = path["v"].astype(np.longdouble), average_bounds(path["v"], g, beta_v, averaging)
        found["v"], moves = E_v + np.abs(v), Rounded(v / of_v, E_v / of_v)
    if "s" in path:
        s, eps = path["s"].astype(np.longdouble), float(np.finfo(path["s"].dtype).eps)
        found["s"] = average_bounds(path["s"], g**2, beta_s) + s
        root = Rounded(s / of_s, found["s"] / of_s)
        moves = _quotient(moves, root, epsilon, epsilon_inside_root, eps)
    theta = np.abs(start - learning_rate * np.cumsum(moves.values, axis=0))
    rounded = learning_rate * (moves.E + np.abs(moves.values)) + theta
    return {**found, "theta": np.cumsum(rounded, axis=0) + theta}
