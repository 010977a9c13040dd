"""The linear layer, as PyTorch spells it: rows times W transposed, plus b."""

from __future__ import annotations

import torch
from torch.nn import functional

from torch_ref._validation import validated

__all__ = ["linear"]


@validated(A_prev="m n_prev", W="n n_prev", b="n")
def linear(A_prev: torch.Tensor, W: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return Z = A_prev W^T + b, shape (m, n).

    Source: torch.nn.functional.linear.
    """
    return functional.linear(A_prev, W, b)
