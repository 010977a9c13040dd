"""Input normalization: mean and variance of each feature of the training set, applied to all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scratch._validation import Array, Expected, Floats, Instance, validated

__all__ = ["Statistics", "denormalize", "fit", "normalize"]


class Statistics(NamedTuple):
    """Mean and variance of each feature, as `fit` found them."""

    mean: Array  # (n_x, 1)
    variance: Array  # (n_x, 1), with 1/m; 0 exactly for a constant feature, or by underflow


_APPLY: dict[str, Expected] = {
    "statistics": Instance(Statistics, mean="n_x 1", variance="n_x 1"),
    "X": Floats("n_x m"),
}


@validated(X="n_x m")
def fit(X: Array) -> Statistics:
    """Return mean = 1/m sum x and variance = 1/m sum (x - mean)^2 of each row of X, (n_x, m).

    X is the training set alone. The variance is a second pass, which takes off what the mean is
    wrong by; a row of equal entries has that entry for mean and variance 0 exactly. So has a row
    whose squared deviations underflow, 1e-23 in float32, 1e-162 in float64: no variance can be told
    there, and the feature wants other units.

    Source: Course 2, week 1, "Normalizing inputs"; Chan, Golub and LeVeque (1983), "Algorithms for
    computing the sample variance".
    """
    X = np.ascontiguousarray(X)  # NumPy sums in pairs along whole runs of memory only
    first = X[:, :1]
    constant = (first == X).all(axis=1, keepdims=True)  # their mean may round to another number
    mean = np.where(constant, first, X.mean(axis=1, keepdims=True))
    deviations = X - mean
    remainder = deviations.mean(axis=1, keepdims=True)
    variance = np.square(deviations - remainder).mean(axis=1, keepdims=True)
    return Statistics(mean, variance)


@validated(**_APPLY)
def normalize(X: Array, statistics: Statistics) -> Array:
    """Return (X - mean) / sqrt(variance), shape (n_x, m); a constant feature is only centred.

    Train, dev and test sets take the same statistics, those of the training set. Raises ValueError
    for statistics that are no finite mean and variance.

    Source: Course 2, week 1, "Normalizing inputs".
    """
    return (X - statistics.mean) / _scale(statistics)


@validated(**_APPLY)
def denormalize(X: Array, statistics: Statistics) -> Array:
    """Return X sqrt(variance) + mean, shape (n_x, m): what `normalize` was given.

    Source: Course 2, week 1, "Normalizing inputs".
    """
    return X * _scale(statistics) + statistics.mean


def _scale(statistics: Statistics) -> Array:
    """Return sigma, (n_x, 1), and 1 where the variance is 0."""
    mean, variance = statistics
    if variance.dtype != mean.dtype:
        raise TypeError(f"expected statistics.variance of dtype {mean.dtype}, got {variance.dtype}")
    if not (np.isfinite(mean) & np.isfinite(variance) & (variance >= 0)).all():
        raise ValueError(f"expected statistics of finite means and variances, got {statistics}")
    return np.sqrt(np.where(variance > 0, variance, variance.dtype.type(1)))
