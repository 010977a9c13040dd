"""Mini-batches, as PyTorch spells them: `randperm` for the order, `BatchSampler` for the cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler

from torch_ref._validation import Floats, Instance, Order, Whole, unchecked, validated

__all__ = ["draw_order", "draw_orders", "mini_batches", "partition"]


@validated(m=Whole(1), generator=Instance(torch.Generator))
def draw_order(m: int, generator: torch.Generator) -> torch.Tensor:
    """Draw a permutation of 0..m-1, shape (m,). Source: torch.randperm."""
    return torch.randperm(m, generator=generator)


@validated(m=Whole(1), epochs=Whole(1), generator=Instance(torch.Generator))
def draw_orders(m: int, epochs: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Draw one order (m,) for each epoch. Source: torch.randperm."""
    return [unchecked(draw_order)(m, generator) for _ in range(epochs)]


@validated(order=Order(), batch_size=Whole(1))
def partition(order: Any, batch_size: int) -> list[torch.Tensor]:
    """Cut an order (m,) into pieces of `batch_size`, the last one shorter where m asks for it.

    `order` may be a tensor or a NumPy array: both sides can share it.

    Source: torch.utils.data.BatchSampler.
    """
    return [
        torch.tensor(batch)
        for batch in BatchSampler(torch.as_tensor(order).tolist(), batch_size, False)
    ]


@validated(X=Floats("m n_x"), Y=Floats("m n_y"), order=Order(), batch_size=Whole(1))
def mini_batches(
    X: torch.Tensor, Y: torch.Tensor, order: Any, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (X, Y) of shapes (size, n_x) and (size, n_y), copies of the rows in that order.

    Source: torch.Tensor.index_select.
    """
    for indices in unchecked(partition)(order, batch_size):
        batch = indices.to(X.device)
        yield X.index_select(0, batch), Y.index_select(0, batch)
