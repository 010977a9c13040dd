"""Walk long vectors in blocks that stay in cache: memory traffic bounds an optimizer step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scratch._validation import Array

#: entries in a block; five float32 blocks of this size fit a 1 MiB second-level cache.
BLOCK = 32768


def blocks(*vectors: Array) -> Iterator[tuple[Array, ...]]:
    """Yield matching slices of vectors of one length, and last a work buffer of that length."""
    size = len(vectors[0])
    work = np.empty(min(size, BLOCK), vectors[0].dtype)
    if size <= BLOCK:  # one block needs no slicing: small networks are bound by calls
        yield *vectors, work
        return
    for start in range(0, size, BLOCK):
        pieces = [vector[start : start + BLOCK] for vector in vectors]
        yield *pieces, work[: len(pieces[0])]


def move(average: Array, target: Array, beta: float, work: Array) -> None:
    """Overwrite average with beta * average + (1 - beta) * target; target may be work."""
    if beta > 0.5:  # in float32 too the weights of the past and the target sum to 1
        np.subtract(target, average, out=work)
        work *= 1 - beta
        average += work
    else:  # from a large average to a small target nothing of the target is lost
        np.multiply(target, 1 - beta, out=work)
        average *= beta
        average += work
