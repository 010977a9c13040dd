"""Networks, as PyTorch spells them: `Linear` layers and activations, the loss on the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from torch_ref._checks import OUTPUT_COSTS, check_data, check_masks
from torch_ref._validation import (
    Expected,
    Floats,
    Function,
    Instance,
    KeepProbs,
    LayerSizes,
    Number,
    OneOf,
    Optional,
    Whole,
    check,
    unchecked,
    validated,
)
from torch_ref.activations import ACTIVATIONS
from torch_ref.costs import COSTS, predict_by_argmax, predict_by_threshold
from torch_ref.dropout import Dropout
from torch_ref.parameters import parameters
from torch_ref.regularization import l1_penalty, l2_penalty

__all__ = [
    "OUTPUT_COSTS",
    "LayerNorms",
    "Network",
    "cost_and_gradients",
    "layer_norms",
    "outputs",
    "predict",
]

Tensor = torch.Tensor
Masks = Mapping[str, Tensor]

PREDICT: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": unchecked(predict_by_threshold),
    "softmax": unchecked(predict_by_argmax),
}
_CHOICES: dict[str, Expected] = {
    "layer_sizes": LayerSizes(),
    "keep_probs": KeepProbs(),
    "batch_norm": Optional(Function()),
}
_DIFFERENTIABLE = [name for name in ACTIVATIONS if name != "hardmax"]


class Network(nn.Module):
    """The layers of sizes (n_0, ..., n_L): `logits` up to the last linear one, then `activation`.

    All weights and biases are zero until `initialize` draws them from a generator: the global one,
    which torch's layers would use, is left alone.

    Args:
        layer_sizes: units of the input, of each hidden layer and of the output.
        hidden: activation of the hidden layers.
        output: activation of the last layer, which chooses the cost.
        keep_probs: for each hidden layer, or none at all; `Dropout` stands behind an activation
            wherever it is below 1.
        batch_norm: makes a layer of (n, dtype, device), such as `BatchNorm` or a partial of it;
            it stands between a hidden linear layer, then without bias, and its activation.
        dtype: of the parameters.
        device: of the parameters.

    Raises:
        TypeError: sizes are no whole numbers, names no strings, or batch_norm is a layer.
        ValueError: fewer than two sizes or one below 1, keep_probs outside (0, 1], unknown names.

    Example:
        >>> from torch_ref.network import Network
        >>> [tuple(one.shape) for one in Network(layer_sizes=(2, 3, 1)).parameters()]
        [(3, 2), (3,), (1, 3), (1,)]

    Source: torch.nn.Sequential.
    """

    def __init__(
        self,
        *,
        layer_sizes: tuple[int, ...],
        hidden: str = "relu",
        output: str = "sigmoid",
        keep_probs: tuple[float, ...] = (),
        batch_norm: Callable[..., nn.Module] | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build the layers on `device`."""
        super().__init__()
        names = {"hidden": hidden, "output": output}
        choices = {"layer_sizes": layer_sizes, "keep_probs": keep_probs, "batch_norm": batch_norm}
        check({name: OneOf(_DIFFERENTIABLE) for name in names}, names)
        check(_CHOICES, choices)
        if isinstance(batch_norm, nn.Module):
            raise TypeError(f"expected batch_norm to make layers, got a layer, {batch_norm}")
        self.layer_sizes = tuple(int(n) for n in layer_sizes)
        self.hidden, self.output = hidden, output
        self.keep_probs = tuple(float(one) for one in keep_probs)
        self.batch_norm = batch_norm
        place: dict[str, Any] = {"dtype": dtype, "device": device}
        depth = len(self.layer_sizes) - 1
        layers: list[nn.Module] = []
        for l, (n_prev, n) in enumerate(pairwise(self.layer_sizes), start=1):
            normalized = batch_norm is not None and l < depth
            linear = nn.Linear(n_prev, n, bias=not normalized, dtype=dtype, device="meta")
            layers.append(linear.to_empty(device=device))
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)
            if l == depth:
                break
            if batch_norm is not None:
                layers.append(batch_norm(n, **place))
            layers.append(ACTIVATIONS[hidden]())
            if self.keep_probs and self.keep_probs[l - 1] < 1:
                layers.append(Dropout(self.keep_probs[l - 1]))
        self.logits = nn.Sequential(*layers)
        self.activation = ACTIVATIONS[output]()

    @property
    def dropouts(self) -> dict[str, Dropout]:
        """The dropout layers by the names of their masks, {"D1": ...}."""
        names = [f"D{l}" for l, one in enumerate(self.keep_probs, start=1) if one < 1]
        layers = [layer for layer in self.logits if isinstance(layer, Dropout)]
        return dict(zip(names, layers, strict=True))

    def forward(self, X: Tensor) -> Tensor:
        """Return A_L, shape (m, n_L); train on `logits(X)` instead, where nothing saturates."""
        return self.activation(self.logits(X))  # type: ignore[no-any-return]


@contextmanager
def mode(module: Network, *, training: bool) -> Iterator[None]:
    """Put the module in one mode for a while, then each part of it back in its own."""
    before = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        yield
    finally:
        for part, trained in before.items():
            part.training = trained


@contextmanager
def dropping(module: Network, masks: Masks | None, size: int) -> Iterator[None]:
    """Hand masks to the dropout layers for a while; without any, nothing is dropped."""
    layers = module.dropouts
    if masks is not None:
        check_masks(module, masks, size)
    try:
        for name, layer in layers.items():
            layer.mask = None if masks is None else masks[name]
            layer.training = masks is not None
        yield
    finally:
        for layer in layers.values():
            layer.mask = None


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


_COST: dict[str, Expected] = {
    "module": Instance(Network),
    "X": Floats("m n_x"),
    "Y": Floats("m n_y"),
    "l1": Number("[0, inf)"),
    "l2": Number("[0, inf)"),
    "m": Optional(Whole(1)),
}


@validated(**_COST)
def cost_and_gradients(
    module: Network,
    X: Tensor,
    Y: Tensor,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
    masks: Masks | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """Return J = mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W|, and its gradients by name.

    A pass of training whatever the module's mode: `masks` {"D1": (m, n_1), ...} drop units, none
    without them; batch norm takes the mean and variance of X and leaves its running averages alone.

    Source: torch.autograd.grad.
    """
    check_data(module, X, Y)
    named = unchecked(parameters)(module)
    buffers = {name: one.clone() for name, one in module.named_buffers()}
    try:
        with mode(module, training=True), dropping(module, masks, len(X)):
            J, _ = objective(module, X, Y, l1=l1, l2=l2, m=len(X) if m is None else m)
        gradients = torch.autograd.grad(J, list(named.values()))
    finally:  # after the backward, which wants them as the forward has left them
        for name, one in module.named_buffers():
            one.copy_(buffers[name])
    return J.detach(), dict(zip(named, gradients, strict=True))


class LayerNorms(NamedTuple):
    """The Frobenius norm of each layer's output and of the gradient of each parameter."""

    activations: dict[str, float]  # {"A1": ..., "AL": ...}
    gradients: dict[str, float]  # {"W1": ..., "b1": ..., ...}


def _norm(tensor: Tensor) -> float:
    # in float64: the squares of vanishing or exploding float32 leave its range
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


@validated(**_COST)
def layer_norms(
    module: Network,
    X: Tensor,
    Y: Tensor,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    m: int | None = None,
    masks: Masks | None = None,
) -> LayerNorms:
    """Return the norms of activations and gradients in a pass of training, same arguments.

    An activation's is that of the layer's last module, dropout where there is one.

    Source: torch.nn.Module.register_forward_hook, torch.linalg.vector_norm.
    """
    outputs: dict[int, Tensor] = {}
    l = 0
    hooks = []
    for layer in (*module.logits, module.activation):
        l += isinstance(layer, nn.Linear)

        def keep(_: nn.Module, __: Any, output: Tensor, l: int = l) -> None:
            outputs[l] = output.detach()  # the last module of a layer has the last word

        hooks.append(layer.register_forward_hook(keep))
    try:
        _, gradients = cost_and_gradients(module, X, Y, l1=l1, l2=l2, m=m, masks=masks)
        module.activation(outputs[l])  # the cost is made from logits: the output is made here
    finally:
        for hook in hooks:
            hook.remove()
    return LayerNorms(
        {f"A{l}": _norm(A) for l, A in outputs.items()},
        {name: _norm(one) for name, one in gradients.items()},
    )


@validated(X="m n_x", module=Instance(Network))
@torch.no_grad()
def outputs(X: Tensor, module: Network) -> Tensor:
    """Return A_L, (m, n_L), at prediction: nothing dropped, running averages in batch norm.

    Source: torch.nn.Module.eval.
    """
    check_data(module, X)
    with mode(module, training=False):
        return module(X)  # type: ignore[no-any-return]


@validated(X="m n_x", module=Instance(Network))
@torch.no_grad()
def predict(X: Tensor, module: Network) -> Tensor:
    """Return predictions in the form of Y, (m, n_L): A > 0.5 for sigmoid, argmax for softmax.

    Raises ValueError for an output that makes no prediction.

    Source: torch.gt, torch.argmax.
    """
    check_data(module, X)
    if module.output not in PREDICT:
        raise ValueError(
            f"expected an output that predicts, one of {', '.join(PREDICT)}, got {module.output!r}"
        )
    return PREDICT[module.output](outputs(X, module))
