"""Input normalization, as PyTorch spells it: `var_mean` with correction=0."""

from __future__ import annotations

from typing import NamedTuple

import torch

from torch_ref._validation import Expected, Floats, Instance, validated

__all__ = ["Statistics", "denormalize", "fit", "normalize"]

Tensor = torch.Tensor


class Statistics(NamedTuple):
    """Mean and variance of each feature, as `fit` found them."""

    mean: Tensor  # (n_x,)
    variance: Tensor  # (n_x,), with 1/m; 0 exactly for a constant feature, or by underflow


_APPLY: dict[str, Expected] = {"statistics": Instance(Statistics), "X": Floats("m n_x")}


@validated(X="m n_x")
def fit(X: Tensor) -> Statistics:
    """Return mean and variance, each (n_x,), of the columns of the training set X, (m, n_x).

    The course divides by m; torch's default, correction=1, divides by m - 1. It updates its means
    one example after the other, and so leaves a constant feature exactly what it is. Deviations
    whose squares underflow, 1e-23 in float32, count as none.

    Source: torch.var_mean.
    """
    variance, mean = torch.var_mean(X, dim=0, correction=0)
    return Statistics(mean, variance)


@validated(**_APPLY)
def normalize(X: Tensor, statistics: Statistics) -> Tensor:
    """Return (X - mean) / sqrt(variance), (m, n_x); a constant feature is only centred.

    Source: torch.Tensor.sqrt.
    """
    sigma = _scale(X, statistics)
    return (X - statistics.mean) / sigma


@validated(**_APPLY)
def denormalize(X: Tensor, statistics: Statistics) -> Tensor:
    """Return X sqrt(variance) + mean, (m, n_x), the inverse. Source: torch.addcmul."""
    return torch.addcmul(statistics.mean, X, _scale(X, statistics))


def _scale(X: Tensor, statistics: Statistics) -> Tensor:
    """Return sigma, (n_x,), and 1 where the variance is 0; raise unless the statistics fit X."""
    for name, tensor in statistics._asdict().items():
        if tensor.shape != X.shape[1:]:
            raise ValueError(
                f"expected statistics.{name} of shape (n_x,) with n_x = {X.shape[1]} from X, "
                f"got {tuple(tensor.shape)}"
            )
        if tensor.dtype != X.dtype:
            raise TypeError(
                f"expected X of dtype {tensor.dtype} like statistics.{name}, got {X.dtype}"
            )
    mean, variance = statistics
    if not (mean.isfinite().all() and variance.isfinite().all() and (variance >= 0).all()):
        raise ValueError(f"expected statistics of finite means and variances, got {statistics}")
    return variance.where(variance > 0, 1.0).sqrt()
