"""The course's networks on both sides: draws, torch's pass under the assignments' names, gauges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from parity_tests.compare.bridge import columns, load, rows, to_numpy
from parity_tests.compare.gauges import network_gauges, product
from parity_tests.compare.measurement import Array
from scratch.network import Network as OurNetwork
from torch_ref.network import Network
from torch_ref.parameters import parameters as parameters_of

Arrays = dict[str, Array]


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Let NumPy's global generator draw from a seed, as a notebook does, and put it back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def notebook_layers(layer_sizes: tuple[int, ...], seed: int, factor: Any) -> Arrays:
    """Return {"W1", "b1", ...} as a notebook draws: `factor(randn, n_prev)`, W1 first, b zero."""
    found = {}
    with numpy_seed(seed):
        for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
            found[f"W{l}"] = factor(np.random.randn(n, n_prev), n_prev)  # noqa: NPY002
            found[f"b{l}"] = np.zeros((n, 1))
    return found


def draw_layers(
    layer_sizes: tuple[int, ...], rng: np.random.Generator, kind: str = "normal"
) -> Arrays:
    """Draw {"W1", "b1", ...}, hidden biases positive so that ReLUs are alive.

    Of the kind "grid" in quarters, which sum up exactly and tie at 0.
    """
    found = {}
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        found[f"W{l}"] = rng.standard_normal((n, n_prev)) / np.sqrt(n_prev)
        bias = rng.standard_normal((n, 1))
        found[f"b{l}"] = np.abs(bias) if l < len(layer_sizes) - 1 else bias
    return {name: np.round(4 * one) / 4 if kind == "grid" else one for name, one in found.items()}


def draw_data(
    layer_sizes: tuple[int, ...], m: int, rng: np.random.Generator, kind: str = "normal"
) -> Arrays:
    """Draw inputs and integer labels, both kinds among them, and the layers of a network."""
    X = rng.standard_normal((layer_sizes[0], m))
    n_y = layer_sizes[-1]
    Y = rng.permutation(np.resize([0, 1], n_y * m)).reshape(n_y, m)
    X = np.round(2 * X) / 2 if kind == "grid" else X
    return {"X": X, "Y": Y, **draw_layers(layer_sizes, rng, kind)}


def training_gauges(found: Mapping[str, Array], learning_rate: float) -> Arrays:
    """Return the size of each parameter after a training, where gradients may have cancelled."""
    return {name: np.abs(one).max() + learning_rate / 1000 for name, one in found.items()}


def layers_of(case: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"W1", "b1", ...} of a case, or what stands there behind a prefix."""
    names = [name for name in case if name.removeprefix(prefix)[1:].isdigit()]
    return {name: case[name] for name in names if name.startswith((f"{prefix}W", f"{prefix}b"))}


def reference(parameters: Mapping[str, Array], hidden: str) -> Network:
    """Return torch's network with these parameters and a sigmoid output."""
    weights = [array for name, array in parameters.items() if name.startswith("W")]
    sizes = (weights[0].shape[1], *(len(W) for W in weights))
    dtype = torch.from_numpy(weights[0]).dtype
    module = Network(layer_sizes=sizes, hidden=hidden, output="sigmoid", dtype=dtype)
    return load(module, parameters)


def torch_pass(
    parameters: Mapping[str, Array], hidden: str, X: Array, Y: Array, lambd: float = 0.0
) -> Arrays:
    """Return {"Z1", "A1", ..., "J", "dW1", "db1", ...} of torch, and "dZ1", "dA1", ...

    J and its gradients are of the mean cost with the L2 penalty, dZ and dA of the sum of the costs.
    """
    module, m = reference(parameters, hidden), X.shape[1]
    signals, labels = [rows(X)], rows(Y.astype(X.dtype))
    for layer in (*module.logits, module.activation):
        signals.append(layer(signals[-1]))
    names = [f"{letter}{l}" for l in range(1, len(parameters) // 2 + 1) for letter in "ZA"]
    found = {name: columns(one) for name, one in zip(names, signals[1:], strict=True)}
    named = parameters_of(module)
    squares = sum(one.square().sum() for name, one in named.items() if name.startswith("W"))
    penalty = lambd / (2 * m) * squares
    total = functional.binary_cross_entropy_with_logits(signals[-2], labels, reduction="sum")
    found["J"] = (total / m + penalty).detach().numpy()
    pulled = torch.autograd.grad(total / m + penalty, list(named.values()), retain_graph=True)
    for name, one in zip(named, pulled, strict=True):
        found[f"d{name}"] = to_numpy(name, one)
    inner = torch.autograd.grad(total, signals[1:-1])
    return found | {f"d{name}": columns(one) for name, one in zip(names[:-1], inner, strict=True)}


def pass_gauges(
    parameters: Mapping[str, Array],
    hidden: str,
    X: Array,
    Y: Array,
    lambd: float = 0.0,
    A: Array | None = None,
    masks: Mapping[str, Array] | None = None,
) -> Arrays:
    """Return running-error gauges of "J", "dX", "dW1", ... of the mean cost, whose sums may cancel.

    `A` is the output under masks {"D1": ...}. The taught J is the log of a probability, and little
    is left of 1 - A where A is near 1.
    """
    module = reference(parameters, hidden)
    A = columns(module(rows(X))) if A is None else A
    dA = ((1 - Y) / (1 - A) - Y / A) / X.shape[1]
    network = OurNetwork(layer_sizes=module.layer_sizes, hidden=hidden, output="sigmoid")
    bounds = network_gauges(network, {"X": X, **parameters}, dA, masks)
    J = np.abs(np.log(np.where(Y == 1, A, 1 - A))).sum() / X.shape[1]
    J = J + (np.abs(dA) * bounds["output"]).sum()
    for name in parameters:
        if name.startswith("W"):
            J = J + lambd / 2 / X.shape[1] * np.square(parameters[name]).sum()
            bounds[name] = bounds[name] + lambd / X.shape[1] * np.abs(parameters[name])
    return {"J": J, **{f"d{name}": bounds[name] for name in ("X", *parameters)}}


def signal_gauges(parameters: Mapping[str, Array], X: Array, passed: Mapping[str, Array]) -> Arrays:
    """Return gauges of Z, A, dZ and dA of a pass: the sizes of the terms of their sums."""
    depth, found, below = len(parameters) // 2, {}, np.abs(X)
    for l in range(1, depth + 1):
        Z = product("nk,km->nm", parameters[f"W{l}"], below) + np.abs(parameters[f"b{l}"])
        below = np.abs(passed[f"A{l}"]) + (Z if l < depth else Z / 4)
        found |= {f"Z{l}": Z, f"A{l}": below}
    pulled = np.abs(passed[f"dZ{depth}"]) + below
    for l in range(depth, 1, -1):
        found[f"dZ{l}"] = pulled
        pulled = found[f"dA{l - 1}"] = product("nk,nm->km", parameters[f"W{l}"], pulled)
    return found | {"dZ1": pulled}
