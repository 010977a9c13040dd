"""Lies that one tensor could tell beside another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import assert_same_trajectory
from parity_tests.compare.ledger import LEDGER
from scratch.optimizers import GradientDescent


class Deaf(GradientDescent):
    """Gradient descent that never hears of one tensor, without a state that could give it away."""

    def update(self, parameters, gradients, state):
        heard = gradients.copy()
        heard["b1"][:] = 0
        super().update(parameters, heard, state)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_tensor_hides_no_other(dtype, rng):
    """Each is held to its own size: beside weights of 1e16 a bias that never learns is seen."""
    parameters = {
        name: (size * rng.standard_normal((4, 3))).astype(dtype)
        for name, size in {"W1": 1e16, "b1": 1.0}.items()
    }

    def hold(rule):
        with LEDGER.unrecorded():
            assert_same_trajectory(rule, lambda one: torch.optim.SGD(one, lr=0.1), parameters, rng)

    hold(GradientDescent(learning_rate=0.1))
    with pytest.raises(AssertionError, match=r"step \d+: theta differs"):
        hold(Deaf(learning_rate=0.1))
