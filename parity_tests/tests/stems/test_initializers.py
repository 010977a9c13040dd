"""Initializers beside their rows: the distributions that both sides draw from."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm, uniform

from parity_tests import assert_close
from parity_tests.compare.budgets import of_draws
from parity_tests.tests.stems.common import assert_drawn_from
from scratch import initializers as ours
from torch_ref import initializers as theirs

SHAPE = (300, 200)  # n, n_prev: unequal, so that fan_in and fan_out differ

DISTRIBUTIONS = {
    "small_normal": norm(scale=0.01),
    "small_uniform": uniform(-0.01, 0.02),
    "large_normal": norm(scale=10),
    "xavier": norm(scale=np.sqrt(1 / 200)),
    "glorot": norm(scale=np.sqrt(2 / 500)),
    "he": norm(scale=np.sqrt(2 / 200)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution(name, rng):
    tensor = torch.empty(SHAPE, dtype=torch.float64)
    theirs.INITIALIZERS[name](tensor, torch.Generator().manual_seed(1))
    drawn = ours.INITIALIZERS[name](SHAPE, rng), tensor.numpy()
    for W in drawn:
        assert_drawn_from(DISTRIBUTIONS[name], W.ravel())
    spread = (np.float64(W.std()) for W in drawn)
    assert_close(*spread, "standard deviation", budget=of_draws(tensor.numel()))
    draw = partial(ours.initialize, (6, 5, 4), name)
    made, wide = (draw(np.random.default_rng(0), d).theta for d in (np.float64, np.longdouble))
    assert np.array_equal(made, wide)
