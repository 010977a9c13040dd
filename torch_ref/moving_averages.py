"""Exponentially weighted averages, as PyTorch spells them: `torch.lerp`, so autograd follows."""

from __future__ import annotations

import math

import torch

from torch_ref._validation import Floats, Instance, Number, Whole, unchecked, validated

__all__ = [
    "draw_temperatures",
    "effective_window",
    "moving_average",
    "temperatures",
    "weights_of_average",
]

Tensor = torch.Tensor

_BETA = Number("[0, 1)")

#: a mild climate in degrees Celsius: the year's mean, the swing of its seasons, a day's deviation.
MEAN, SWING, DEVIATION = 11.0, 8.0, 3.0
DAYS = 365


@validated(x=Floats("N"), beta=_BETA, bias_correction=Instance(bool))
def moving_average(x: Tensor, beta: float, bias_correction: bool = False) -> Tensor:
    """Return v_t = v_(t-1) + (1 - beta) (x_t - v_(t-1)) from v_0 = 0, (N,), or v_t / (1 - beta^t).

    Differentiable. torch.optim.swa_utils starts its average at x_1 instead, without correction.

    Source: torch.lerp, as in torch.optim.Adam.
    """
    last, averages = x.new_zeros(()), []
    for x_t in x:
        last = torch.lerp(last, x_t, 1 - beta)
        averages.append(last)
    v = torch.stack(averages)
    if not bias_correction:
        return v
    t = torch.arange(1, len(x) + 1, dtype=torch.float64, device=x.device)
    exponents = t * torch.tensor(beta, dtype=t.dtype, device=x.device).log()
    return v / -torch.expm1(exponents).to(x.dtype)  # 1 - beta^t, without cancellation near beta = 1


@validated(beta=_BETA)
def effective_window(beta: float) -> float:
    """Return 1 / (1 - beta), the days averaged over. Source: torch.optim.Adam, betas."""
    return 1 / (1 - beta)


@validated(beta=_BETA, n=Whole(1))
def weights_of_average(beta: float, n: int) -> Tensor:
    """Return the weights (1 - beta) beta^k of v_t, (n,), latest first. Source: torch.pow."""
    return (1 - beta) * torch.pow(beta, torch.arange(n, dtype=torch.float64))


@validated(noise=Floats("days"))
def temperatures(noise: Tensor) -> Tensor:
    """Return daily temperatures in degrees Celsius, (days,), from noise (days,).

    Source: torch.cos.
    """
    day = torch.arange(1, len(noise) + 1, dtype=noise.dtype, device=noise.device)
    return MEAN - SWING * torch.cos(2 * math.pi / DAYS * day) + DEVIATION * noise


@validated(generator=Instance(torch.Generator), days=Whole(1))
def draw_temperatures(generator: torch.Generator, days: int = DAYS) -> Tensor:
    """Draw daily temperatures in degrees Celsius, (days,). Source: torch.randn."""
    noise = torch.randn(days, generator=generator, dtype=torch.float64, device=generator.device)
    return unchecked(temperatures)(noise)
