"""Initialization: the course's names, bit by bit what NumPy's seed 3 draws, and torch's scales."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.tests.course.references import assert_printed, global_state_untouched
from scratch.course import initialization as ours

SIZES = (60, 50, 40, 1)

#: how torch draws such weights, and the factor on randn that the assignment has.
SCALES = {
    "zeros": (torch.nn.init.zeros_, lambda n_prev: 0.0),
    "random": (lambda W: torch.nn.init.normal_(W, std=10.0), lambda n_prev: 10.0),
    "he": (
        lambda W: torch.nn.init.kaiming_normal_(W, nonlinearity="relu"),
        lambda n_prev: np.sqrt(2 / n_prev),
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.parity(f"initialize_parameters_{name}"))
        for name in SCALES
    ],
)
@pytest.mark.parametrize("sizes", [SIZES, list(SIZES), (2, 4, 1)])
def test_draws_are_those_of_seed_3(name, sizes):
    """Each W is a factor times randn, W1 first, each b zero; the global generator is left alone."""
    with global_state_untouched():
        parameters = getattr(ours, f"initialize_parameters_{name}")(sizes)
    np.random.seed(3)
    expected = {}
    for l in range(1, len(sizes)):
        factor = SCALES[name][1](sizes[l - 1])
        expected[f"W{l}"] = np.random.randn(sizes[l], sizes[l - 1]) * factor
        expected[f"b{l}"] = np.zeros((sizes[l], 1))
    assert list(parameters) == list(expected)
    for key, array in expected.items():
        assert_close(parameters[key], array, key, expect_zero=not array.any())
        assert np.array_equal(parameters[key], array)


@pytest.mark.parametrize("name", ["random", "he"])
def test_scales_are_torchs(name):
    """The weights and torch's own draws come from one distribution."""
    torch.manual_seed(0)
    parameters = getattr(ours, f"initialize_parameters_{name}")(SIZES)
    for l in (1, 2):
        W = parameters[f"W{l}"]
        theirs = SCALES[name][0](torch.empty(W.shape)).numpy()
        assert scipy.stats.ks_2samp(W.ravel(), theirs.ravel()).pvalue > 1e-3
        assert scipy.stats.ks_2samp(W.ravel(), 1.5 * theirs.ravel()).pvalue < 1e-6


def test_the_notebooks_weights():
    """What the assignment prints for [3, 2, 1] and [2, 4, 1]."""
    zeros = ours.initialize_parameters_zeros([3, 2, 1])
    assert all(not array.any() for array in zeros.values())
    large = ours.initialize_parameters_random([3, 2, 1])
    printed = [[17.88628473, 4.36509851, 0.96497468], [-18.63492703, -2.77388203, -3.54758979]]
    assert_printed(large["W1"], printed)
    assert_printed(large["W2"], [[-0.82741481, -6.27000677]])
    he = ours.initialize_parameters_he([2, 4, 1])
    printed = [
        [1.78862847, 0.43650985],
        [0.09649747, -1.8634927],
        [-0.2773882, -0.35475898],
        [-0.08274148, -0.62700068],
    ]
    assert_printed(he["W1"], printed)
    assert_printed(he["W2"], [[-0.03098412, -0.33744411, -0.92904268, 0.62552248]])
