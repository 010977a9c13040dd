"""Mini-batches: the order of the examples is drawn as data, then cut into batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scratch._validation import Array, Floats, Indices, Instance, Order, Whole, unchecked, validated

__all__ = ["draw_order", "draw_orders", "mini_batches", "partition"]


@validated(m=Whole(1), rng=Instance(np.random.Generator))
def draw_order(m: int, rng: np.random.Generator) -> Indices:
    """Draw a permutation of 0..m-1, shape (m,): the order of one epoch.

    Source: Course 2, week 2, "Mini-batch gradient descent", the shuffle.
    """
    return rng.permutation(m)


@validated(m=Whole(1), epochs=Whole(1), rng=Instance(np.random.Generator))
def draw_orders(m: int, epochs: int, rng: np.random.Generator) -> list[Indices]:
    """Draw one order (m,) for each epoch: the index stream that both sides can share.

    Source: Course 2, week 2, "Mini-batch gradient descent".
    """
    return [unchecked(draw_order)(m, rng) for _ in range(epochs)]


@validated(order=Order("m"), batch_size=Whole(1))
def partition(order: Indices, batch_size: int) -> list[Indices]:
    """Cut an order (m,) into pieces of `batch_size`, the last one shorter where m asks for it.

    Size m is batch gradient descent, size 1 is stochastic gradient descent.

    Source: Course 2, week 2, "Mini-batch gradient descent", the partition.
    """
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@validated(X=Floats("n_x m"), Y=Floats("n_y m"), order=Order("m"), batch_size=Whole(1))
def mini_batches(
    X: Array, Y: Array, order: Indices, batch_size: int
) -> Iterator[tuple[Array, Array]]:
    """Yield (X, Y) of shapes (n_x, size) and (n_y, size), copies of the columns in that order.

    Source: Course 2, week 2, "Mini-batch gradient descent".
    """
    # one row per example while gathering: the copies are whole runs of memory, not strides
    by_example = np.ascontiguousarray(X.T)
    for indices in unchecked(partition)(order, batch_size):
        yield by_example[indices].T, np.take(Y, indices, axis=1)
