"""What the tests of the course's vocabulary share: torch's networks, seeds, printed digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parity_tests.compare.bridge import columns, load, rows, to_numpy
from parity_tests.compare.gauges import network_gauges
from scratch.network import Network as OurNetwork
from torch_ref.network import Network, cost_and_gradients

Array = NDArray[Any]


def draw_layers(
    layer_sizes: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float64
) -> dict[str, Array]:
    """Draw {"W1", "b1", ...}, hidden biases positive so that ReLUs are alive."""
    parameters = {}
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        parameters[f"W{l}"] = (rng.standard_normal((n, n_prev)) / np.sqrt(n_prev)).astype(dtype)
        bias = rng.standard_normal((n, 1))
        hidden = l < len(layer_sizes) - 1
        parameters[f"b{l}"] = (np.abs(bias) if hidden else bias).astype(dtype)
    return parameters


def draw_labels(m: int, rng: np.random.Generator) -> Array:
    """Draw integer labels (1, m), both kinds among them."""
    return rng.permutation(np.resize([0, 1], m))[None]


def reference(parameters: Mapping[str, Array], hidden: str) -> Network:
    """Return torch's network with these parameters and a sigmoid output."""
    weights = [array for name, array in parameters.items() if name.startswith("W")]
    sizes = (weights[0].shape[1], *(len(W) for W in weights))
    dtype = torch.from_numpy(weights[0]).dtype
    module = Network(layer_sizes=sizes, hidden=hidden, output="sigmoid", dtype=dtype)
    return load(module, parameters)


def reference_gradients(module: Network, X: Array, Y: Array, **penalty: Any) -> dict[str, Array]:
    """Return torch's cost under "J" and its gradients under "dW1", "db1", ..."""
    J, gradients = cost_and_gradients(module, rows(X), rows(Y.astype(X.dtype)), **penalty)
    arrays = {f"d{name}": to_numpy(name, one) for name, one in gradients.items()}
    return {"J": np.asarray(J.numpy()), **arrays}


def gradient_gauges(
    parameters: Mapping[str, Array],
    hidden: str,
    X: Array,
    Y: Array,
    l2: float = 0.0,
    A: Array | None = None,
    masks: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
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
            bounds[name] = bounds[name] + l2 / X.shape[1] * np.abs(parameters[name])
    return {"J": J, **{f"d{name}": bounds[name] for name in ("X", *parameters)}}


@contextmanager
def global_state_untouched() -> Iterator[None]:
    """Raise AssertionError unless NumPy's global generator stands where it stood."""
    before = np.random.get_state(legacy=False)
    yield
    after = np.random.get_state(legacy=False)
    if repr(before) != repr(after) or not np.array_equal(
        before["state"]["key"], after["state"]["key"]
    ):
        raise AssertionError("the global generator has moved")


def assert_printed(ours: Any, published: Any, digits: int = 8) -> None:
    """Raise AssertionError unless ours rounds to what a notebook prints, digits after the point."""
    np.testing.assert_allclose(ours, published, rtol=0, atol=0.51 * 10.0**-digits)
