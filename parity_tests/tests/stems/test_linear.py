"""Linear: Z = W A + b, under the running-error gauge |W||A| + |b|."""

from __future__ import annotations

import numpy as np
import pytest

from parity_tests import assert_twins
from parity_tests.compare.gauges import linear_gauges
from scratch.linear import linear_backward, linear_forward
from torch_ref.linear import linear


def assert_layer(inputs, rng, device):
    """Hold the layer against torch's, under the gauges of its sums."""
    pair = linear_forward, linear_backward
    choices = {"gauges": linear_gauges, "witnessed": 4, "device": device}
    assert_twins(*pair, linear, inputs, rng, **choices)


@pytest.mark.parity("linear_forward", "linear_backward")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 5), (7, 20, 1), (10, 64, 33)], ids=str)
def test_linear(shape, dtype, device, rng):
    """Output and gradients agree for n, n_prev and m from one up."""
    n, n_prev, m = shape
    inputs = {
        "A_prev": rng.standard_normal((n_prev, m)).astype(dtype),
        "W": rng.standard_normal((n, n_prev)).astype(dtype),
        "b": rng.standard_normal((n, 1)).astype(dtype),
    }
    assert_layer(inputs, rng, device)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_thousand_inputs_lose_nothing_but_the_gauge(dtype, device, rng):
    """A long sum cancels: elementwise the error is large, under the gauge it stays inside."""
    inputs = {
        "A_prev": rng.standard_normal((1000, 8)).astype(dtype),
        "W": rng.standard_normal((6, 1000)).astype(dtype),
        "b": rng.standard_normal((6, 1)).astype(dtype),
    }
    assert_layer(inputs, rng, device)
