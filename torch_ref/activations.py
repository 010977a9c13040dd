"""Activations, as PyTorch spells them: modules over rows, pulled back by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import torch
from torch import nn

__all__ = [
    "ACTIVATIONS",
    "LEAKY_SLOPE",
    "Activation",
    "Hardmax",
    "identity",
    "leaky_relu",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

#: slope of `torch.nn.LeakyReLU` for Z <= 0; at Z = 0 torch's derivative is this slope too.
LEAKY_SLOPE = 0.01

Activation: TypeAlias = Callable[[], nn.Module]

identity = nn.Identity
sigmoid = nn.Sigmoid
tanh = nn.Tanh
relu = nn.ReLU
leaky_relu = partial(nn.LeakyReLU, negative_slope=LEAKY_SLOPE)
softmax = partial(nn.Softmax, dim=1)


class Hardmax(nn.Module):
    """One-hot rows (m, C), 1 at the first largest entry; nothing can be pulled back.

    Source: Course 2, week 3, "Training a softmax classifier".
    """

    def forward(self, Z: torch.Tensor) -> torch.Tensor:
        """Return the one-hot A, shape (m, C), in the dtype of Z."""
        return nn.functional.one_hot(Z.argmax(dim=1), Z.shape[1]).to(Z.dtype)


#: every activation by name; the same keys as `scratch.activations.ACTIVATIONS`.
ACTIVATIONS: Mapping[str, Activation] = {
    "identity": identity,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "softmax": softmax,
    "hardmax": Hardmax,
}
