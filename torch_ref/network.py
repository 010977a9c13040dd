"""Networks, as PyTorch spells them: `Linear` layers and activations, the loss on the logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
from torch import nn

from torch_ref._door import (
    Floats,
    Instance,
    Number,
    OneOf,
    Optional,
    Whole,
    admit,
    describe,
    door,
    unchecked,
)
from torch_ref.activations import ACTIVATIONS
from torch_ref.costs import COSTS, predict_by_argmax, predict_by_threshold
from torch_ref.parameters import parameters
from torch_ref.regularization import l1_penalty, l2_penalty

__all__ = ["OUTPUT_COSTS", "Network", "cost_and_gradients", "predict"]

Tensor = torch.Tensor

#: the cost that each output activation is trained with, computed from its logits.
OUTPUT_COSTS: Mapping[str, str] = {
    "sigmoid": "binary_cross_entropy_with_logits",
    "softmax": "cross_entropy_with_logits",
}
PREDICT: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": unchecked(predict_by_threshold),
    "softmax": unchecked(predict_by_argmax),
}
_DIFFERENTIABLE = [name for name in ACTIVATIONS if name != "hardmax"]


class Network(nn.Module):
    """The layers of sizes (n_0, ..., n_L): `logits` up to the last linear one, then `activation`.

    All parameters are zero until `initialize` draws them from a generator: the global one, which
    torch's layers would use, is left alone. Raises TypeError or ValueError for sizes below 1, fewer
    than two of them, or unknown names.

    Source: torch.nn.Sequential.
    """

    def __init__(
        self,
        *,
        layer_sizes: tuple[int, ...],
        hidden: str = "relu",
        output: str = "sigmoid",
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build the layers on `device`."""
        super().__init__()
        if not isinstance(layer_sizes, tuple | list) or not all(
            isinstance(n, Integral) and not isinstance(n, bool) for n in layer_sizes
        ):
            raise TypeError(
                f"expected layer_sizes to be a tuple of whole numbers, got {describe(layer_sizes)}"
            )
        if len(layer_sizes) < 2 or min(layer_sizes) < 1:
            raise ValueError(
                f"expected layer_sizes to hold two or more sizes of at least 1, got {layer_sizes}"
            )
        known = OneOf(_DIFFERENTIABLE)
        admit({"hidden": known, "output": known}, {"hidden": hidden, "output": output})
        self.layer_sizes = tuple(int(n) for n in layer_sizes)
        self.hidden, self.output = hidden, output
        layers: list[nn.Module] = []
        for n_prev, n in pairwise(self.layer_sizes):
            linear = nn.Linear(n_prev, n, dtype=dtype, device="meta").to_empty(device=device)
            layers += [linear, ACTIVATIONS[hidden]()]
        self.logits = nn.Sequential(*layers[:-1])
        self.activation = ACTIVATIONS[output]()
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, X: Tensor) -> Tensor:
        """Return A_L, shape (m, n_L); train on `logits(X)` instead, where nothing saturates."""
        return self.activation(self.logits(X))  # type: ignore[no-any-return]


def check(module: Network, X: Tensor, Y: Tensor | None = None) -> None:
    """Raise ValueError unless X, and Y if given, fit the module and its output's cost."""
    table = {"X": Floats("m n_x")}
    if Y is not None:
        if module.output not in OUTPUT_COSTS:
            raise ValueError(
                f"expected an output with a cost, one of {', '.join(OUTPUT_COSTS)}, "
                f"got {module.output!r}"
            )
        table["Y"] = Floats("m n_y", "one-hot" if module.output == "softmax" else "labels")
    admit(table, {"X": X, "Y": Y})
    dtype = next(module.parameters()).dtype
    ends = {"X": (X, module.layer_sizes[0]), "Y": (Y, module.layer_sizes[-1])}
    for name, (tensor, width) in ends.items():
        if tensor is not None and tensor.dtype != dtype:
            raise TypeError(f"expected {name} of dtype {dtype}, got {tensor.dtype}")
        if tensor is not None and tensor.shape[1] != width:
            raise ValueError(f"expected {name} of shape (m, {width}), got {tuple(tensor.shape)}")


def objective(
    module: Network, X: Tensor, Y: Tensor, *, l1: float, l2: float, m: int
) -> tuple[Tensor, Tensor]:
    """Return J with its penalties and the logits; no checks, as it stands in the training loop."""
    Z = module.logits(X)
    J = unchecked(COSTS[OUTPUT_COSTS[module.output]])(Z, Y)
    if l2:
        J = J + unchecked(l2_penalty)(module, l2, m)
    if l1:
        J = J + unchecked(l1_penalty)(module, l1, m)
    return J, Z


@door(
    module=Instance(Network),
    X=Floats("m n_x"),
    Y=Floats("m n_y"),
    l1=Number("[0, inf)"),
    l2=Number("[0, inf)"),
    m=Optional(Whole(1)),
)
def cost_and_gradients(
    module: Network,
    X: Tensor,
    Y: Tensor,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """Return J = mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W|, and its gradients by name.

    Source: torch.autograd.grad.
    """
    check(module, X, Y)
    J, _ = objective(module, X, Y, l1=l1, l2=l2, m=len(X) if m is None else m)
    named = unchecked(parameters)(module)
    gradients = torch.autograd.grad(J, list(named.values()))
    return J.detach(), dict(zip(named, gradients, strict=True))


@door(X="m n_x", module=Instance(Network))
@torch.no_grad()
def predict(X: Tensor, module: Network) -> Tensor:
    """Return predictions in the form of Y, (m, n_L): A > 0.5 for sigmoid, argmax for softmax.

    Raises ValueError for an output that makes no prediction.

    Source: torch.gt, torch.argmax.
    """
    check(module, X)
    if module.output not in PREDICT:
        raise ValueError(
            f"expected an output that predicts, one of {', '.join(PREDICT)}, got {module.output!r}"
        )
    return PREDICT[module.output](module(X))
