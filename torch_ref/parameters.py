"""Parameters, as PyTorch spells them: a module's own, by the course's names and as one vector."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from torch_ref._validation import Floats, Instance, validated

__all__ = ["from_vector", "parameters", "to_vector"]


@validated(module=Instance(nn.Module))
def parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return {"W1": (n_1, n_0), "b1": (n_1,), ...}, the weight and bias of each linear layer.

    A layer with batch norm has "gamma1" and "beta1", (n_1,), in the place of the bias.

    Source: torch.nn.Module.modules.
    """
    named: dict[str, torch.Tensor] = {}
    l = 0
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            l += 1
            named |= {f"W{l}": layer.weight, f"b{l}": layer.bias}
        elif isinstance(layer, nn.BatchNorm1d):
            named |= {f"gamma{l}": layer.weight, f"beta{l}": layer.bias}
    if not l:
        raise ValueError(f"expected module to have a linear layer, got {module}")
    return {name: parameter for name, parameter in named.items() if parameter is not None}


@validated(module=Instance(nn.Module))
def to_vector(module: nn.Module) -> torch.Tensor:
    """Return a copy of all parameters as one vector (N,): W1 row by row, then b1, W2, ...

    Source: torch.nn.utils.parameters_to_vector.
    """
    return parameters_to_vector(module.parameters()).detach().clone()


@validated(vector=Floats("N"), module=Instance(nn.Module))
def from_vector(vector: torch.Tensor, module: nn.Module) -> None:
    """Overwrite the parameters of `module` with the entries of `vector`, (N,).

    Raises ValueError where the lengths differ.

    Source: torch.nn.utils.vector_to_parameters.
    """
    size = sum(parameter.numel() for parameter in module.parameters())
    if len(vector) != size:
        raise ValueError(
            f"expected vector of shape (N,) with N = {size}, got {tuple(vector.shape)}"
        )
    dtype = next(module.parameters()).dtype
    if vector.dtype != dtype:
        raise TypeError(f"expected vector of dtype {dtype}, got {vector.dtype}")
    vector_to_parameters(vector.clone(), module.parameters())
