"""Gradient clipping: entry by entry, or all gradients together by their norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch._blocks import blocks
from scratch._validation import Array, Instance, Number, validated
from scratch.parameters import Parameters

__all__ = ["clip_by_global_norm", "clip_by_value", "global_norm"]

#: number that torch adds to the norm before it divides.
EPSILON = 1e-6

_GRADIENTS, _LIMIT = Instance(Parameters), Number("(0, inf)")


@validated(gradients=_GRADIENTS, limit=_LIMIT)
def clip_by_value(gradients: Parameters, limit: float) -> Parameters:
    """Return the gradients with every entry cut to [-limit, limit]; their direction may change.

    Source: Course 5, week 1, "Vanishing gradients with RNNs", gradient clipping; Mikolov 2012.
    """
    clipped = gradients.copy()
    overwrite_by_value(clipped.theta, limit)
    return clipped


@validated(gradients=_GRADIENTS)
def global_norm(gradients: Parameters) -> np.floating[Any]:
    """Return the square root of the sum of squares over all gradients together, a scalar.

    Entries whose squares leave the range of floats are scaled first.

    Source: Course 5, week 1, "Vanishing gradients with RNNs"; Pascanu et al. 2013.
    """
    norm: np.floating[Any] = vector_norm(gradients.theta)
    return norm


@validated(gradients=_GRADIENTS, limit=_LIMIT, epsilon=Number("[0, inf)"))
def clip_by_global_norm(
    gradients: Parameters, limit: float, epsilon: float = EPSILON
) -> Parameters:
    """Return g min(1, limit / (norm + epsilon)), one factor for all gradients g.

    epsilon = 0 is the textbook's form, after which a clipped norm is the limit; torch adds 1e-6. A
    norm beyond every float clips to zeros.

    Source: Course 5, week 1, "Vanishing gradients with RNNs"; Pascanu et al. 2013.
    """
    clipped = gradients.copy()
    overwrite_by_norm(clipped.theta, limit, epsilon)
    return clipped


def overwrite_by_value(theta: Array, limit: float) -> None:
    """Overwrite a vector (N,) as `clip_by_value` does; no checks, for the training loop."""
    bound = _representable(limit, theta)
    np.clip(theta, -bound, bound, out=theta)


def overwrite_by_norm(theta: Array, limit: float, epsilon: float) -> None:
    """Overwrite a vector (N,) as `clip_by_global_norm` does; no checks, for the training loop."""
    bound, size = _representable(limit, theta), vector_norm(theta) + epsilon
    if not size <= bound:  # NaN spreads, as in torch: a lost run should look lost
        theta *= bound / size


def _representable(limit: float, theta: Array) -> Any:
    """Return the limit in the vector's dtype, the largest float for a limit beyond it."""
    return theta.dtype.type(min(float(limit), float(np.finfo(theta.dtype).max)))


def vector_norm(theta: Array) -> Any:
    """Return the norm of a vector (N,): infinity only where it is larger than every float."""
    square = _square(theta)
    # above this, what the squares of tiny entries lose to underflow is below round-off
    info = np.finfo(theta.dtype)
    if info.tiny / info.eps <= square <= info.max:
        return np.sqrt(square)
    largest = np.abs(theta).max()
    if largest == 0 or not np.isfinite(largest):
        return largest
    with np.errstate(over="ignore"):
        return largest * np.sqrt(_square(theta / largest))


def _square(theta: Array) -> Any:
    """Return the sum of squares, block by block: long sums of float32 lose digits."""
    with np.errstate(over="ignore"):
        return sum((piece @ piece for piece, _ in blocks(theta)), theta.dtype.type(0))
