"""Initializers beside their rows: the distributions that both sides draw from, in every dtype.

Each check has a false-alarm rate of ALARM.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.compare.budgets import ALARM, of_draws
from scratch import initializers as ours
from torch_ref import initializers as theirs

SHAPE = (300, 200)  # n, n_prev: unequal, so that fan_in and fan_out differ

#: two standard deviations, each known to 1 / sqrt(2 N), at the same false-alarm rate.
SAMPLED = of_draws(300 * 200)

DISTRIBUTIONS = {
    "small_normal": scipy.stats.norm(scale=0.01),
    "small_uniform": scipy.stats.uniform(-0.01, 0.02),
    "large_normal": scipy.stats.norm(scale=10),
    "xavier": scipy.stats.norm(scale=np.sqrt(1 / 200)),
    "glorot": scipy.stats.norm(scale=np.sqrt(2 / 500)),
    "he": scipy.stats.norm(scale=np.sqrt(2 / 200)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution(name, rng):
    """Mean, variance and the whole distribution are the formula's on both sides."""
    tensor = torch.empty(SHAPE, dtype=torch.float64)
    theirs.INITIALIZERS[name](tensor, torch.Generator().manual_seed(1))
    sides = ours.INITIALIZERS[name](SHAPE, rng), tensor.numpy()
    mean, variance, kurtosis = DISTRIBUTIONS[name].stats("mvk")
    for W in sides:
        scores = {
            "mean": (W.mean() - mean) / np.sqrt(variance / W.size),
            "variance": (W.var() / variance - 1) / np.sqrt((kurtosis + 2) / W.size),
        }
        assert max(map(abs, scores.values())) < scipy.stats.norm.isf(ALARM / 2), scores
        assert scipy.stats.kstest(W.ravel(), DISTRIBUTIONS[name].cdf).pvalue > ALARM
    spread = (np.float64(W.std()) for W in sides)
    assert_close(*spread, "standard deviation", budget=SAMPLED)


def test_every_dtype_starts_from_the_same_draws():
    wide = ours.initialize((6, 5, 4), "he", np.random.default_rng(0))
    for dtype in (np.float32, np.longdouble):
        other = ours.initialize((6, 5, 4), "he", np.random.default_rng(0), dtype)
        assert other.theta.dtype == dtype
        assert np.array_equal(other.theta, wide.theta.astype(dtype))
