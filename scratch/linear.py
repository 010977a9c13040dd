"""The linear layer Z = W A_prev + b."""

from __future__ import annotations

from typing import NamedTuple

from scratch._validation import Array, Instance, validated

__all__ = ["LinearCache", "linear_backward", "linear_forward"]


class LinearCache(NamedTuple):
    """Cache of `linear_forward`, for `linear_backward`."""

    A_prev: Array  # (n_prev, m)
    W: Array  # (n, n_prev)


@validated(A_prev="n_prev m", W="n n_prev", b="n 1")
def linear_forward(A_prev: Array, W: Array, b: Array) -> tuple[Array, LinearCache]:
    """Return Z = W A_prev + b, shape (n, m), and the cache for `linear_backward`.

    Source: Course 1, week 4, "Forward propagation in a deep network".
    """
    return W @ A_prev + b, LinearCache(A_prev, W)


@validated(cache=Instance(LinearCache, A_prev="n_prev m", W="n n_prev"), dZ="n m")
def linear_backward(dZ: Array, cache: LinearCache) -> dict[str, Array]:
    """Pull dZ, shape (n, m), back to A_prev, W and b; the 1/m is already in the cost's gradient.

    Source: Course 1, week 4, "Forward and backward propagation".
    """
    A_prev, W = cache
    return {
        "A_prev": W.T @ dZ,  # (n_prev, n) @ (n, m)
        "W": dZ @ A_prev.T,  # (n, m) @ (m, n_prev)
        "b": dZ.sum(axis=1, keepdims=True),  # (n, 1)
    }
