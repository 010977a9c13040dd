"""Checks before a network runs: parameters, data, masks and running averages fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scratch._validation import Array, Floats, check, describe
from scratch.batch_norm import running_averages
from scratch.parameters import Parameters

if TYPE_CHECKING:
    from scratch.network import Network

#: the cost that each output activation is trained with, computed from its logits.
OUTPUT_COSTS: Mapping[str, str] = {
    "sigmoid": "binary_cross_entropy_with_logits",
    "softmax": "cross_entropy_with_logits",
}


def match(network: Network, parameters: Parameters, X: Array) -> None:
    """Raise unless parameters and X have the network's shapes and one dtype."""
    if parameters.shapes != network.shapes:
        hint = ", as `initialize` makes with batch_norm=True" if network.batch_norm else ""
        raise ValueError(
            f"expected parameters of shapes {network.shapes}{hint}, got {parameters.shapes}"
        )
    if X.shape[0] != network.layer_sizes[0]:
        raise ValueError(
            f"expected X of shape (n_x, m) with n_x = {network.layer_sizes[0]}, got {X.shape}"
        )
    if X.dtype != parameters.theta.dtype:
        raise TypeError(f"expected X of dtype {parameters.theta.dtype}, got {X.dtype}")


def check_labels(network: Network, Y: Array) -> None:
    """Raise ValueError unless the network's output has a cost and Y is a label for it."""
    if network.output not in OUTPUT_COSTS:
        raise ValueError(
            f"expected an output with a cost, one of {', '.join(OUTPUT_COSTS)}, "
            f"got {network.output!r}"
        )
    if Y.shape[0] != network.layer_sizes[-1]:
        raise ValueError(
            f"expected Y of shape (n_y, m) with n_y = {network.layer_sizes[-1]}, got {Y.shape}"
        )
    values = "one-hot" if network.output == "softmax" else "labels"
    check({"Y": Floats("n_y m", values)}, {"Y": Y})


def check_masks(network: Network, masks: Any, m: int, dtype: Any, *, values: bool = True) -> None:
    """Raise TypeError or ValueError unless there is a mask for each layer that drops, no other.

    Their values, 0 or 1 / keep_prob, are left to the draws where a training asks at every step.
    """
    if not isinstance(masks, Mapping):
        raise TypeError(f"expected masks to be a mapping of names, got {describe(masks)}")
    layers = {f"D{l}": l for l in network.dropped}
    if masks.keys() != layers.keys():
        raise ValueError(f"expected masks {list(layers)}, got {list(masks)}")
    for name, l in layers.items():
        mask, shape = masks[name], (network.layer_sizes[l], m)
        if not isinstance(mask, np.ndarray) or mask.dtype != dtype:
            raise TypeError(f"expected mask {name} of dtype {dtype}, got {describe(mask)}")
        if mask.shape != shape:
            raise ValueError(f"expected mask {name} of shape {shape}, got {mask.shape}")
        keep_prob = network.keep_probs[l - 1]
        # each dtype, and torch's own draw, rounds 1 / keep_prob a little differently
        if values and not ((mask == 0) | (np.abs(mask * keep_prob - 1) < 1e-6)).all():
            raise ValueError(f"expected mask {name} to hold 0 or 1 / {keep_prob}, got {mask}")


def check_running(network: Network, running: Parameters | None, dtype: Any) -> None:
    """Raise TypeError or ValueError unless running averages are there where they are needed."""
    if network.batch_norm is None or network.depth == 1:  # a network without hidden layers has none
        if running is not None:
            raise ValueError("expected running averages for normalized hidden layers alone")
        return
    like = running_averages(network.layer_sizes, dtype)
    if running is None:
        raise ValueError(
            f"expected running averages of shapes {like.shapes} for a network with batch norm, "
            "got None"
        )
    if not isinstance(running, Parameters):
        raise TypeError(f"expected running to be Parameters, got {describe(running)}")
    if running.layout != like.layout or running.theta.dtype != like.theta.dtype:
        raise ValueError(f"expected running averages like {like}, got {running}")
    for name, average in running.items():
        if not np.isfinite(average).all() or (name.startswith("variance") and (average < 0).any()):
            raise ValueError(f"expected finite running averages, variances from 0 up, got {name}")
