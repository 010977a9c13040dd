"""Checks before a network runs: module, data and masks fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from torch_ref._validation import Floats, check, describe

if TYPE_CHECKING:
    from torch_ref.network import Network

Tensor = torch.Tensor

#: the cost that each output activation is trained with, computed from its logits.
OUTPUT_COSTS: Mapping[str, str] = {
    "sigmoid": "binary_cross_entropy_with_logits",
    "softmax": "cross_entropy_with_logits",
}


def check_data(module: Network, X: Tensor, Y: Tensor | None = None) -> None:
    """Raise ValueError unless X, and Y if given, fit the module and its output's cost."""
    table = {"X": Floats("m n_x")}
    if Y is not None:
        if module.output not in OUTPUT_COSTS:
            raise ValueError(
                f"expected an output with a cost, one of {', '.join(OUTPUT_COSTS)}, "
                f"got {module.output!r}"
            )
        table["Y"] = Floats("m n_y", "one-hot" if module.output == "softmax" else "labels")
    check(table, {"X": X, "Y": Y})
    dtype = next(module.parameters()).dtype
    ends = {"X": (X, module.layer_sizes[0]), "Y": (Y, module.layer_sizes[-1])}
    for name, (tensor, width) in ends.items():
        if tensor is not None and tensor.dtype != dtype:
            raise TypeError(f"expected {name} of dtype {dtype}, got {tensor.dtype}")
        if tensor is not None and tensor.shape[1] != width:
            raise ValueError(f"expected {name} of shape (m, {width}), got {tuple(tensor.shape)}")


def check_masks(module: Network, masks: Any, size: int, *, values: bool = True) -> None:
    """Raise TypeError or ValueError unless there is a tensor for each dropout layer, no other.

    Their values, 0 or 1 / keep_prob, are left to the draws where a training asks at every step.
    """
    if not isinstance(masks, Mapping):
        raise TypeError(f"expected masks to be a mapping of names, got {describe(masks)}")
    if masks.keys() != module.dropouts.keys():
        raise ValueError(f"expected masks {list(module.dropouts)}, got {list(masks)}")
    dtype = next(module.parameters()).dtype
    for name in module.dropouts:
        mask, l = masks[name], int(name[1:])
        shape, keep_prob = (size, module.layer_sizes[l]), module.keep_probs[l - 1]
        if not isinstance(mask, Tensor) or mask.dtype != dtype:
            raise TypeError(f"expected mask {name} of dtype {dtype}, got {describe(mask)}")
        if mask.shape != shape:
            raise ValueError(f"expected mask {name} of shape {shape}, got {tuple(mask.shape)}")
        # each dtype, and torch's own draw, rounds 1 / keep_prob a little differently
        if values and not bool(((mask == 0) | ((mask * keep_prob - 1).abs() < 1e-6)).all()):
            raise ValueError(f"expected mask {name} to hold 0 or 1 / {keep_prob}, got {mask}")
