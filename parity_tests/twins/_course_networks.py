"""Networks of the course for rows: draws, torch's pass under the assignments' names, gauges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch
from parity_tests.compare.gauges import network_gauges, product
from parity_tests.compare.measurement import Array
from parity_tests.compare.witnesses import cast
from scratch.network import Network
from torch_ref.linear import linear

Arrays = dict[str, Array]


def notebook_layers(layer_sizes: Sequence[int], seed: int, factor: Any) -> Arrays:
    """Return {"W1", "b1", ...} as a notebook draws: `factor(randn, n_prev)`, W1 first, b zero."""
    found, randn = {}, np.random.RandomState(seed).randn
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        found[f"W{l}"] = np.asarray(factor(randn(n, n_prev), n_prev))
        found[f"b{l}"] = np.zeros((n, 1))
    return found


def notebook_masks(keep_prob: float, X: Array, parameters: Mapping[str, Array]) -> list[Array]:
    """Return D1 / keep_prob, D2 / keep_prob, ... of a notebook: rand < keep_prob of seed 1."""
    rand = np.random.RandomState(1).rand
    heights = [len(parameters[f"W{l}"]) for l in range(1, len(parameters) // 2)]
    return [((rand(n, X.shape[1]) < keep_prob) / keep_prob).astype(X.dtype) for n in heights]


def draw_layers(layer_sizes: Sequence[int], rng: np.random.Generator, kind: str = "normal",
    loose: int = 0) -> Arrays:  # fmt: skip
    """Draw {"W1", "b1", ...}, hidden biases positive so that ReLUs are alive.

    Of the kind "grid" in quarters, which sum up exactly and tie at 0. Of a `loose` network W2 is so
    much wider than layer 1, as in an assignment that updates each layer on its own.
    """
    found = {}
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        width = n_prev + loose * (l == 2)
        found[f"W{l}"] = rng.standard_normal((n, width)) / np.sqrt(n_prev)
        bias = rng.standard_normal((n, 1))
        found[f"b{l}"] = np.abs(bias) if l < len(layer_sizes) - 1 else bias
    return {name: np.round(4 * one) / 4 if kind == "grid" else one for name, one in found.items()}


def draw_data(rng: np.random.Generator, sizes: Sequence[int] = (5, 6, 5, 1), m: int = 9,
    kind: str = "normal", **choices: Any) -> dict[str, Any]:  # fmt: skip
    """Draw inputs, integer labels, both kinds among them, the layers of a network, and choices."""
    X, n_y = rng.standard_normal((sizes[0], m)), sizes[-1]
    Y = rng.permutation(np.resize([0, 1], n_y * m)).reshape(n_y, m)
    X = np.round(2 * X) / 2 if kind == "grid" else X
    return {"X": X, "Y": Y, **draw_layers(sizes, rng, kind), **choices}


def layers_of(case: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in case.items() if name[0] in "Wb" and name[1:].isdigit()}


def torch_cost(X: torch.Tensor, *layers: torch.Tensor, Y: torch.Tensor, lambd: float = 0.0,
    hidden: str = "relu", masks: Sequence[torch.Tensor] = (),
    inside: dict[str, torch.Tensor] | None = None) -> torch.Tensor:  # fmt: skip
    """Return the mean cost of a network with a sigmoid on top, and its L2 penalty.

    Z, A before its mask, and the sum of the costs go `inside`.
    """
    inside, A = {} if inside is None else inside, X
    for l, (W, b) in enumerate(zip(layers[::2], layers[1::2], strict=True), start=1):
        Z = inside[f"Z{l}"] = linear(A, W, b)
        A = inside[f"A{l}"] = getattr(torch, hidden if 2 * l < len(layers) else "sigmoid")(Z)
        A = A * masks[l - 1] if l <= len(masks) else A
    labels = Y.to(Z.dtype)
    inside["total"] = functional.binary_cross_entropy_with_logits(Z, labels, reduction="sum")
    return (inside["total"] + lambd / 2 * sum(W.square().sum() for W in layers[::2])) / len(X)


def torch_pass(X: Array, Y: Array, parameters: Mapping[str, Array], hidden: str = "relu",
    lambd: float = 0.0, masks: Sequence[Array] = ()) -> Arrays:  # fmt: skip
    """Return {"W1", "b1", "Z1", "A1", ..., "J", "dW1", "db1", "dZ1", "dA1", ...} of torch.

    J and its gradients are of the mean cost with the L2 penalty, dZ and dA of the sum of the costs;
    dA comes back through a mask, of 0 and 1 / keep_prob.
    """
    tensors = {name: to_torch(name, one).requires_grad_() for name, one in parameters.items()}
    inside = {"A0": rows(X).requires_grad_()}
    given: Any = {"lambd": lambd, "hidden": hidden, "masks": [rows(one) for one in masks]}
    labels = rows(np.atleast_2d(Y))
    J = torch_cost(inside["A0"], *tensors.values(), Y=labels, **given, inside=inside)
    total, A = inside.pop("total"), inside.popitem()
    found = {**parameters, **{name: columns(one) for name, one in [*inside.items(), A]}}
    found |= {f"A{l}": found[f"A{l}"] * mask for l, mask in enumerate(masks, start=1)}
    found["J"] = J.detach().numpy()
    pulled = torch.autograd.grad(J, list(tensors.values()), retain_graph=True)
    found |= {f"d{n}": to_numpy(n, one) for n, one in zip(tensors, pulled, strict=True)}
    pulled = torch.autograd.grad(total, list(inside.values()))
    return found | {f"d{n}": columns(one) for n, one in zip(inside, pulled, strict=True)}


def pass_gauges(X: Array, Y: Array, parameters: Mapping[str, Array], hidden: str = "relu",
    lambd: float = 0.0, masks: Sequence[Array] = ()) -> Arrays:  # fmt: skip
    """Return running-error gauges of "J", "dX", "dW1", ..., whose sums may cancel, and of the rest.

    The taught J is the log of a probability, and little is left of 1 - A where A is near 1. Those
    of Z, A, dZ and dA are the sizes of the terms of their sums.
    """
    depth, Y = len(parameters) // 2, np.atleast_2d(Y)
    X, parameters, masks = cast((X, dict(parameters), [*masks]), np.float64)
    found, m = torch_pass(X, Y, parameters, hidden, lambd, masks), X.shape[1]
    A = found[f"A{depth}"]
    dA = 1 / (m * np.where(Y == 1, -A, 1 - A))  # (1 - Y) / (1 - A) would be 0 / 0
    sizes = (len(X), *(len(parameters[f"W{l}"]) for l in range(1, depth + 1)))
    network = Network(layer_sizes=sizes, hidden=hidden)
    shared = {f"D{l}": mask for l, mask in enumerate(masks, start=1)}
    bounds = network_gauges(network, {"X": X, **parameters}, dA, shared)
    J = np.abs(np.log(np.where(Y == 1, A, 1 - A))).sum() / m + (np.abs(dA) * bounds["output"]).sum()
    scales = [max(mask.max(), 1.0) for mask in masks] + [1.0] * (depth - len(masks))
    below = np.abs(X)
    for l, scale in enumerate(scales, start=1):
        W = parameters[f"W{l}"]
        J = J + lambd / 2 / m * np.square(W).sum()
        bounds[f"W{l}"] = bounds[f"W{l}"] + lambd / m * np.abs(W)
        found[f"Z{l}"] = product("nk,km->nm", W, below) + np.abs(parameters[f"b{l}"])
        steepest = scale if l < depth else 1 / 4
        below = found[f"A{l}"] = np.abs(found[f"A{l}"]) + found[f"Z{l}"] * steepest
    pulled = np.abs(found[f"dZ{depth}"]) + below
    for l in range(depth, 0, -1):
        found[f"dZ{l}"] = pulled
        pulled = product("nk,nm->km", parameters[f"W{l}"], pulled) * scales[l - 2]
        found[f"dA{l - 1}"] = pulled
    signals = {name: one for name, one in found.items() if name not in parameters}
    return {**signals, "J": J, **{f"d{name}": bounds[name] for name in ("X", *parameters)}}
