"""The course's networks on both sides: draws, torch's pass under the assignments' names, gauges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from parity_tests.compare.bridge import columns, load, rows, to_numpy, to_torch, unload
from parity_tests.compare.gauges import network_gauges, product
from parity_tests.compare.measurement import Array
from parity_tests.compare.witnesses import cast
from scratch.network import Network as OurNetwork
from torch_ref.linear import linear
from torch_ref.mini_batches import mini_batches
from torch_ref.network import Network

Arrays = dict[str, Array]


# --- NumPy's generator of old ---------------------------------------------------------------------


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Let NumPy's global generator draw from a seed, as a notebook does, and put it back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def notebook_layers(layer_sizes: Sequence[int], seed: int, factor: Any) -> Arrays:
    """Return {"W1", "b1", ...} as a notebook draws: `factor(randn, n_prev)`, W1 first, b zero."""
    found = {}
    with numpy_seed(seed):
        for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
            found[f"W{l}"] = np.asarray(factor(np.random.randn(n, n_prev), n_prev))  # noqa: NPY002
            found[f"b{l}"] = np.zeros((n, 1))
    return found


def notebook_masks(keep_prob: float, X: Array, parameters: Mapping[str, Array]) -> list[Array]:
    """Return D1, D2, ... of a notebook: rand < keep_prob of seed 1, hidden layers only."""
    with numpy_seed(1):
        return [
            np.random.rand(len(parameters[f"W{l}"]), X.shape[1]) < keep_prob  # noqa: NPY002
            for l in range(1, len(parameters) // 2)
        ]


# --- draws ----------------------------------------------------------------------------------------


def draw_layers(
    layer_sizes: Sequence[int], rng: np.random.Generator, kind: str = "normal", loose: int = 0
) -> Arrays:
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


def draw_data(
    rng: np.random.Generator,
    sizes: Sequence[int] = (5, 6, 5, 1),
    m: int = 9,
    kind: str = "normal",
    **choices: Any,
) -> dict[str, Any]:
    """Draw inputs, integer labels, both kinds among them, the layers of a network, and choices."""
    X, n_y = rng.standard_normal((sizes[0], m)), sizes[-1]
    Y = rng.permutation(np.resize([0, 1], n_y * m)).reshape(n_y, m)
    X = np.round(2 * X) / 2 if kind == "grid" else X
    return {"X": X, "Y": Y, **draw_layers(sizes, rng, kind), **choices}


def layers_of(case: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in case.items() if name[0] in "Wb" and name[1:].isdigit()}


# --- torch's side ---------------------------------------------------------------------------------


def _choices(parameters: Mapping[str, Array], hidden: str) -> dict[str, Any]:
    """Return the choices of a network with these parameters and a sigmoid output."""
    weights = [array for name, array in parameters.items() if name.startswith("W")]
    sizes = (weights[0].shape[1], *(len(W) for W in weights))
    return {"layer_sizes": sizes, "hidden": hidden, "output": "sigmoid"}


def reference(parameters: Mapping[str, Array], hidden: str = "relu") -> Network:
    """Return torch's network with these parameters and a sigmoid output."""
    return load(Network(**_choices(parameters, hidden)), parameters)


def torch_cost(
    X: torch.Tensor, *layers: torch.Tensor, Y: torch.Tensor, lambd: float = 0.0
) -> torch.Tensor:
    """Return the cost of hidden layers of ReLU and a sigmoid on top, with its L2 penalty."""
    A = X
    for W, b in zip(layers[::2], layers[1::2], strict=True):
        Z = linear(A, W, b)
        A = torch.relu(Z)
    penalty = sum(W.square().sum() for W in layers[::2])
    cost = functional.binary_cross_entropy_with_logits(Z, Y.to(Z.dtype), reduction="sum")
    return (cost + lambd / 2 * penalty) / len(X)


def torch_pass(
    X: Array,
    Y: Array,
    parameters: Mapping[str, Array],
    hidden: str = "relu",
    lambd: float = 0.0,
    masks: Sequence[Array] = (),
) -> Arrays:
    """Return {"W1", "b1", "Z1", "A1", ..., "J", "dW1", "db1", "dZ1", "dA1", ...} of torch.

    J and its gradients are of the mean cost with the L2 penalty, dZ and dA of the sum of the costs;
    dA comes back through a mask, of 0 and 1 / keep_prob.
    """
    tensors = {name: to_torch(name, one).requires_grad_() for name, one in parameters.items()}
    A, depth, found = rows(X).requires_grad_(), len(parameters) // 2, dict(parameters)
    inner = {"A0": A}
    for l in range(1, depth + 1):
        Z = inner[f"Z{l}"] = linear(A, tensors[f"W{l}"], tensors[f"b{l}"])
        A = getattr(torch, hidden if l < depth else "sigmoid")(Z)
        if l < depth:
            inner[f"A{l}"] = A
        if l <= len(masks):
            A = A * rows(masks[l - 1].astype(X.dtype))
        found |= {f"Z{l}": columns(Z), f"A{l}": columns(A)}
    labels = rows(np.atleast_2d(Y).astype(X.dtype))
    total = functional.binary_cross_entropy_with_logits(Z, labels, reduction="sum")
    squares = sum(tensors[f"W{l}"].square().sum() for l in range(1, depth + 1))
    J = (total + lambd / 2 * squares) / len(labels)
    found["J"] = J.detach().numpy()
    pulled = torch.autograd.grad(J, list(tensors.values()), retain_graph=True)
    found |= {f"d{n}": to_numpy(n, one) for n, one in zip(tensors, pulled, strict=True)}
    pulled = torch.autograd.grad(total, list(inner.values()))
    return found | {f"d{n}": columns(one) for n, one in zip(inner, pulled, strict=True)}


def pass_gauges(
    X: Array,
    Y: Array,
    parameters: Mapping[str, Array],
    hidden: str = "relu",
    lambd: float = 0.0,
    masks: Sequence[Array] = (),
) -> Arrays:
    """Return running-error gauges of "J", "dX", "dW1", ..., whose sums may cancel, and of the rest.

    The taught J is the log of a probability, and little is left of 1 - A where A is near 1. Those
    of Z, A, dZ and dA are the sizes of the terms of their sums.
    """
    depth, Y = len(parameters) // 2, np.atleast_2d(Y)
    X, parameters, masks = cast((X, dict(parameters), [*masks]), np.float64)
    found, m = torch_pass(X, Y, parameters, hidden, lambd, masks), X.shape[1]
    A = found[f"A{depth}"]
    dA = 1 / (m * np.where(Y == 1, -A, 1 - A))  # (1 - Y) / (1 - A) would be 0 / 0
    network = OurNetwork(**_choices(parameters, hidden))
    shared = {f"D{l}": mask for l, mask in enumerate(masks, start=1)}
    bounds = network_gauges(network, {"X": X, **parameters}, dA, shared)
    J = np.abs(np.log(np.where(Y == 1, A, 1 - A))).sum() / m + (np.abs(dA) * bounds["output"]).sum()
    below = np.abs(X)
    for l in range(1, depth + 1):
        W, scale = parameters[f"W{l}"], masks[l - 1].max() if l <= len(masks) else 1.0
        J = J + lambd / 2 / m * np.square(W).sum()
        bounds[f"W{l}"] = bounds[f"W{l}"] + lambd / m * np.abs(W)
        Z = product("nk,km->nm", W, below) + np.abs(parameters[f"b{l}"])
        below = np.abs(found[f"A{l}"]) + (Z * max(scale, 1) if l < depth else Z / 4)
        found |= {f"Z{l}": Z, f"A{l}": below}
    pulled = np.abs(found[f"dZ{depth}"]) + below
    for l in range(depth, 0, -1):
        found[f"dZ{l}"] = pulled
        scale = masks[l - 2].max() if 1 < l <= len(masks) + 1 else 1.0
        pulled = product("nk,nm->km", parameters[f"W{l}"], pulled) * max(scale, 1)
        found[f"dA{l - 1}"] = pulled
    signals = {name: one for name, one in found.items() if name not in parameters}
    return {**signals, "J": J, **{f"d{name}": bounds[name] for name in ("X", *parameters)}}


def torch_training(
    start: Arrays,
    data: tuple[Array, Array],
    make: Callable[..., torch.optim.Optimizer],
    epochs: int,
    hidden: str = "relu",
    size: int = 0,
) -> dict[str, Any]:
    """Return the parameters after a training on the mean cost by torch.

    With a size of mini-batches they are those of NumPy's permutations of the seeds 11, 12, ...
    """
    module, (X, Y) = reference(start, hidden), (rows(data[0]), rows(data[1].astype(float)))
    optimizer = make(module.parameters())
    for epoch in range(epochs):
        with numpy_seed(11 + epoch):
            order = np.random.permutation(len(X)) if size else np.arange(len(X))  # noqa: NPY002
        for inputs, labels in mini_batches(X, Y, order, size or len(X)):
            optimizer.zero_grad()
            logits = module.logits(inputs)
            loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            (loss / len(inputs)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return dict(unload(module))
