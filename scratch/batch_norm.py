"""Batch norm: each unit's Z is normalized over the mini-batch, then scaled and shifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scratch._shapes import LayerSizes
from scratch._validation import Array, Dtype, Expected, Floats, Instance, Number, check, validated
from scratch.parameters import Parameters

__all__ = [
    "BatchNorm",
    "BatchNormCache",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_predict",
    "running_averages",
    "update_running_averages",
]

_DECAY = Number("[0, 1)")
_EPSILON = Number("(0, inf)")
_CHOICES: dict[str, Expected] = {"decay": _DECAY, "epsilon": _EPSILON, "unbiased": Instance(bool)}


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """The choices of batch norm: decay of the running averages, epsilon, 1/m or m/(m-1).

    A running average is decay * itself + (1 - decay) * the batch's value; `unbiased=True` averages
    the variance times m / (m - 1), as torch does. Raises ValueError unless decay in [0, 1) and
    epsilon > 0.

    Source: Course 2, week 3, "Batch norm at test time".
    """

    decay: float = 0.9
    epsilon: float = 1e-5
    unbiased: bool = False

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        check(_CHOICES, vars(self))


class BatchNormCache(NamedTuple):
    """Cache of `batch_norm_forward`, for `batch_norm_backward` and the running averages."""

    Z_norm: Array  # (n, m)
    inv_std: Array  # (n, 1)
    gamma: Array  # (n, 1)
    mean: Array  # (n, 1)
    variance: Array  # (n, 1), with 1/m


@validated(Z="n m", gamma="n 1", beta="n 1", epsilon=_EPSILON)
def batch_norm_forward(
    Z: Array, gamma: Array, beta: Array, epsilon: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """Return gamma Z_norm + beta, shape (n, m), Z_norm = (Z - mean) / sqrt(variance + epsilon).

    Mean and variance, with 1/m, are those of the m examples at hand.

    Source: Course 2, week 3, "Normalizing activations in a network".
    """
    mean = Z.mean(axis=1, keepdims=True)
    centred = Z - mean
    variance = np.square(centred).mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt(variance + float(epsilon))
    Z_norm = centred * inv_std
    return gamma * Z_norm + beta, BatchNormCache(Z_norm, inv_std, gamma, mean, variance)


@validated(cache=Instance(BatchNormCache, Z_norm="n m", inv_std="n 1", gamma="n 1"), dZ_tilde="n m")
def batch_norm_backward(dZ_tilde: Array, cache: BatchNormCache) -> dict[str, Array]:
    """Pull the gradient of the output, (n, m), back to Z, gamma and beta.

    dZ = (g - mean of g - Z_norm * mean of g Z_norm) / sqrt(variance + epsilon), g = gamma dZ_tilde:
    the two means over the m examples are the ways through mean and variance.

    Source: Ioffe and Szegedy 2015, section 3.
    """
    Z_norm, inv_std, gamma, _, _ = cache
    g = gamma * dZ_tilde
    through_mean = g.mean(axis=1, keepdims=True)
    through_variance = Z_norm * (g * Z_norm).mean(axis=1, keepdims=True)
    return {
        "Z": inv_std * (g - through_mean - through_variance),  # (n, m)
        "gamma": (dZ_tilde * Z_norm).sum(axis=1, keepdims=True),  # (n, 1)
        "beta": dZ_tilde.sum(axis=1, keepdims=True),  # (n, 1)
    }


@validated(
    Z="n m", gamma="n 1", beta="n 1", mean="n 1", variance=Floats("n 1", "sizes"), epsilon=_EPSILON
)
def batch_norm_predict(
    Z: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float = 1e-5
) -> Array:
    """Return gamma (Z - mean) / sqrt(variance + epsilon) + beta, shape (n, m), at prediction.

    Mean and variance, (n, 1), are running averages: no example sees another.

    Source: Course 2, week 3, "Batch norm at test time".
    """
    inv_std = 1 / np.sqrt(variance + float(epsilon))
    Z_tilde: Array = gamma * ((Z - mean) * inv_std) + beta
    return Z_tilde


@validated(layer_sizes=LayerSizes(), dtype=Dtype())
def running_averages(layer_sizes: tuple[int, ...], dtype: Any = np.float64) -> Parameters:
    """Return {"mean1": zeros (n_1, 1), "variance1": ones (n_1, 1), ...}, before the first step.

    Source: torch.nn.BatchNorm1d, which begins with the same.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for l, n in enumerate(layer_sizes[1:-1], start=1):
        shapes |= {f"mean{l}": (n, 1), f"variance{l}": (n, 1)}
    if not shapes:
        raise ValueError(f"expected layer_sizes with a hidden layer, got {layer_sizes}")
    averages = Parameters.empty(shapes, dtype)
    for name, view in averages.items():
        view[...] = name.startswith("variance")
    return averages


@validated(
    mean="n 1",
    variance=Floats("n 1", "sizes"),
    cache=Instance(BatchNormCache, mean="n 1", variance="n 1", Z_norm="n m"),
    decay=_DECAY,
    unbiased=Instance(bool),
)
def update_running_averages(
    mean: Array,
    variance: Array,
    cache: BatchNormCache,
    decay: float = 0.9,
    unbiased: bool = False,
) -> tuple[Array, Array]:
    """Return decay * average + (1 - decay) * the batch's, of mean and variance, each (n, 1).

    `unbiased=True` takes the batch's variance times m / (m - 1), and raises ValueError where m = 1.

    Source: Course 2, week 3, "Batch norm at test time"; Ioffe and Szegedy 2015, algorithm 2.
    """
    m = cache.Z_norm.shape[1]
    if unbiased and m == 1:
        raise ValueError("expected two or more examples for the unbiased variance, got m = 1")
    correction = m / (m - 1) if unbiased else 1.0
    kept, moved = float(decay), 1 - float(decay)
    return (
        kept * mean + moved * cache.mean,
        kept * variance + moved * (correction * cache.variance),
    )
