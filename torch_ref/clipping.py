"""Gradient clipping, as PyTorch spells it: in place, on the `.grad` of a module's parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from torch_ref._validation import Number, describe, validated

__all__ = ["clip_by_global_norm", "clip_by_value", "global_norm"]

Tensor = torch.Tensor


class _Tensors:
    """A module, a tensor, or an iterable of tensors, which may be walked only once."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what cannot hold tensors; those of an iterable are met as it is walked."""
        if isinstance(value, str | type) or not isinstance(value, nn.Module | Iterable):
            raise TypeError(f"expected {name} to be a module or tensors, got {describe(value)}")


_PARAMETERS, _LIMIT = _Tensors(), Number("(0, inf)")


def _with_gradients(parameters: nn.Module | Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors that have a gradient, or raise where there is none."""
    if isinstance(parameters, nn.Module):
        parameters = parameters.parameters()
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for one in tensors:
        if not isinstance(one, Tensor):
            raise TypeError(f"expected parameters to be tensors, got {describe(one)}")
    held = [one for one in tensors if one.grad is not None]
    if not held:
        raise ValueError("expected parameters with gradients, got none: call backward first")
    return held


@validated(parameters=_PARAMETERS, limit=_LIMIT)
def clip_by_value(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> None:
    """Cut every entry of the gradients to [-limit, limit], in place.

    Source: torch.nn.utils.clip_grad_value_.
    """
    clip_grad_value_(_with_gradients(parameters), limit)


@validated(parameters=_PARAMETERS)
def global_norm(parameters: nn.Module | Tensor | Iterable[Tensor]) -> Tensor:
    """Return the norm of all gradients as one vector, a scalar, as torch.nn.utils.get_total_norm.

    Source: torch.linalg.vector_norm.
    """
    gradients = [one.grad for one in _with_gradients(parameters) if one.grad is not None]
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


@validated(parameters=_PARAMETERS, limit=_LIMIT)
def clip_by_global_norm(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> Tensor:
    """Multiply the gradients by min(1, limit / (norm + 1e-6)) in place, return the norm before.

    Source: torch.nn.utils.clip_grad_norm_.
    """
    return clip_grad_norm_(_with_gradients(parameters), limit)
