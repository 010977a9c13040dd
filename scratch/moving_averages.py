"""Exponentially weighted averages, with bias correction, and a year of temperatures to average."""

from __future__ import annotations

import numpy as np

from scratch._validation import Array, Floats, Instance, Number, Whole, unchecked, validated

__all__ = [
    "draw_temperatures",
    "effective_window",
    "moving_average",
    "temperatures",
    "weights_of_average",
]

_BETA = Number("[0, 1)")

#: a mild climate in degrees Celsius: the year's mean, the swing of its seasons, a day's deviation.
MEAN, SWING, DEVIATION = 11.0, 8.0, 3.0
DAYS = 365


@validated(x=Floats("N"), beta=_BETA, bias_correction=Instance(bool))
def moving_average(x: Array, beta: float, bias_correction: bool = False) -> Array:
    """Return v_t = beta v_(t-1) + (1 - beta) x_t from v_0 = 0, (N,), or v_t / (1 - beta^t).

    The correction divides what is returned, it is not fed back into the recursion.

    Source: Course 2, week 2, "Exponentially weighted averages", "Bias correction".
    """
    wide = np.result_type(x.dtype, np.float64).type(beta)  # 1 - beta would lose digits in float32
    kept, fresh = x.dtype.type(wide), x.dtype.type(1 - wide)
    v = np.empty_like(x)
    last = x.dtype.type(0)
    for t, x_t in enumerate(x):
        if beta > 0.5:  # in float32 too the weights of the past and of x sum to 1
            last += fresh * (x_t - last)
        else:  # beta v + (1 - beta) x as it is: a large v takes no digits from a small x
            last = kept * last + fresh * x_t
        v[t] = last
    if bias_correction:
        with np.errstate(divide="ignore"):  # beta = 0
            exponents = np.arange(1, len(x) + 1) * np.log(wide)
        v /= -np.expm1(exponents).astype(x.dtype)  # 1 - beta^t, without cancellation near beta = 1
    return v


@validated(beta=_BETA)
def effective_window(beta: float) -> float:
    """Return 1 / (1 - beta), the days averaged over: by then a weight has fallen to about 1/e.

    Source: Course 2, week 2, "Understanding exponentially weighted averages".
    """
    return 1 / (1 - float(beta))


@validated(beta=_BETA, n=Whole(1))
def weights_of_average(beta: float, n: int) -> Array:
    """Return the weights (1 - beta) beta^k, (n,), that v_t gives to x_t, x_(t-1), ..., x_(t-n+1).

    Source: Course 2, week 2, "Understanding exponentially weighted averages".
    """
    weights: Array = (1 - float(beta)) * float(beta) ** np.arange(n)
    return weights


@validated(noise=Floats("days"))
def temperatures(noise: Array) -> Array:
    """Return daily temperatures in degrees Celsius, (days,), from standard normal noise (days,).

    The seasons are 11 - 8 cos(2 pi day / 365), coldest at New Year; each day deviates by 3 noise.

    Source: Course 2, week 2, "Exponentially weighted averages", a year in London.
    """
    day = np.arange(1, len(noise) + 1).astype(noise.dtype)
    seasons: Array = MEAN - SWING * np.cos(2 * np.pi / DAYS * day)
    return seasons + DEVIATION * noise


@validated(rng=Instance(np.random.Generator), days=Whole(1))
def draw_temperatures(rng: np.random.Generator, days: int = DAYS) -> Array:
    """Draw daily temperatures in degrees Celsius, (days,), the first of them of 1 January.

    Source: Course 2, week 2, "Exponentially weighted averages", a year in London.
    """
    return unchecked(temperatures)(rng.standard_normal(days))
