"""Batch norm, as PyTorch spells it: `nn.BatchNorm1d`, and a running variance with 1/m beside it."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from torch_ref._validation import Expected, Floats, Instance, Number, check, unchecked, validated

__all__ = [
    "BatchNorm",
    "batch_norm",
    "batch_norm_predict",
    "running_averages",
    "update_running_averages",
]

Tensor = torch.Tensor
_DECAY = Number("[0, 1)")
_EPSILON = Number("(0, inf)")
_CHOICES: dict[str, Expected] = {"decay": _DECAY, "epsilon": _EPSILON, "unbiased": Instance(bool)}


class BatchNorm(nn.BatchNorm1d):
    """Batch norm whose running averages weigh the past by decay; torch's momentum is 1 - decay.

    torch's running variance carries m / (m - 1) although it normalizes with 1 / m, and so refuses a
    single example; `unbiased=False` averages the variance that it normalizes with, as the course
    does.

    Source: torch.nn.BatchNorm1d.
    """

    def __init__(
        self,
        n: int,
        *,
        decay: float = 0.9,
        epsilon: float = 1e-5,
        unbiased: bool = False,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        """Begin with gamma = 1, beta = 0, running mean 0 and variance 1, each (n,)."""
        check(_CHOICES, {"decay": decay, "epsilon": epsilon, "unbiased": unbiased})
        super().__init__(n, eps=epsilon, momentum=1 - decay, dtype=dtype, device=device)
        self.unbiased = unbiased

    def forward(self, input: Tensor) -> Tensor:
        """Return gamma Z_norm + beta, shape (m, n), and in training move the running averages."""
        if self.unbiased or not self.training:
            return super().forward(input)
        variance, mean = torch.var_mean(input.detach(), dim=0, correction=0)
        moved = cast(float, self.momentum)
        cast(Tensor, self.running_mean).lerp_(mean, moved)
        cast(Tensor, self.running_var).lerp_(variance, moved)
        return unchecked(batch_norm)(input, self.weight, self.bias, self.eps)


@validated(Z="m n", gamma="n", beta="n", epsilon=_EPSILON)
def batch_norm(Z: Tensor, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return gamma Z_norm + beta, shape (m, n). Source: torch.nn.functional.batch_norm."""
    # the functional form refuses m = 1, where Z_norm is 0; what it calls does not
    return torch.batch_norm(Z, gamma, beta, None, None, True, 0.0, epsilon, True)


@validated(Z="m n", gamma="n", beta="n", mean="n", variance=Floats("n", "sizes"), epsilon=_EPSILON)
def batch_norm_predict(
    Z: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float = 1e-5,
) -> Tensor:
    """Return the output under running averages. Source: torch.nn.functional.batch_norm."""
    return functional.batch_norm(Z, mean, variance, gamma, beta, training=False, eps=epsilon)


@validated(module=Instance(nn.Module))
def running_averages(module: nn.Module) -> dict[str, Tensor]:
    """Return {"mean1": (n_1,), "variance1": (n_1,), ...}, the live ones of each batch norm layer.

    Source: torch.nn.BatchNorm1d.running_mean, running_var.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d)]
    return {
        f"{name}{l}": average
        for l, layer in enumerate(layers, start=1)
        for name, average in (("mean", layer.running_mean), ("variance", layer.running_var))
        if average is not None
    }


@validated(mean="n", variance=Floats("n", "sizes"), Z="m n", decay=_DECAY, unbiased=Instance(bool))
def update_running_averages(
    mean: Tensor, variance: Tensor, Z: Tensor, decay: float = 0.9, unbiased: bool = False
) -> tuple[Tensor, Tensor]:
    """Return both running averages after a mini-batch Z, (m, n). Source: torch.nn.BatchNorm1d."""
    layer = BatchNorm(Z.shape[1], decay=decay, unbiased=unbiased, dtype=Z.dtype, device=Z.device)
    layer.running_mean, layer.running_var = mean.clone(), variance.clone()
    with torch.no_grad():
        layer(Z)
    return layer.running_mean, layer.running_var
