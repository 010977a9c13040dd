"""Moving averages beside their rows: a filter of SciPy, the seasons, draws of either side."""

import numpy as np
import pytest
import scipy.signal
import torch
from scipy.stats import norm

from parity_tests import assert_close
from parity_tests.tests.stems.common import assert_drawn_from
from scratch import moving_averages as ours
from torch_ref import moving_averages as theirs


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.98, 1 - 1e-6])
def test_a_filter_gives_the_same(beta, bias_correction, rng):
    """SciPy's linear filter, in extended precision, over a year; 1 - beta^t is a sum of weights."""
    x, wide = ours.draw_temperatures(rng), np.longdouble(beta)
    v = scipy.signal.lfilter([1 - wide], [1, -wide], x.astype(np.longdouble))
    if bias_correction:
        v /= np.cumsum((1 - wide) * wide ** np.arange(len(x)))
    found = ours.moving_average(x, beta, bias_correction)
    assert_close(found, v.astype(np.float64), "average, by a filter")


def test_a_window_later_a_weight_has_fallen_to_1_over_e():
    for beta, days in ((0.9, 10), (0.98, 50), (0.999, 1000)):
        assert abs(ours.effective_window(beta) / days - 1) < 1e-9
        weights = ours.weights_of_average(beta, days + 1)
        fallen = 1 / np.e - weights[-1] / weights[0]  # (1/e) (1 - beta) / 2 and higher orders
        assert 0.3 * (1 - beta) / np.e < fallen < 0.6 * (1 - beta) / np.e
    # half of large values of either sign, whose difference would be infinite
    largest = np.finfo(float).max
    v = ours.moving_average(np.array([largest, -largest]), 0.5)
    assert v.tolist() == [largest / 2, largest / 4 - largest / 2]


def test_the_year_is_cold_at_new_year_and_warm_in_july(rng):
    """On both sides deviations are normal with three degrees, another year each time."""
    still = ours.temperatures(np.zeros(365))
    assert 180 <= still.argmax() <= 184
    assert still.argmin() in (363, 364)
    assert_close(still.mean(), np.float64(11), "mean of the year")
    assert_close(np.array([still.max(), still.min()]).round(3), np.array([19.0, 3.0]), "range")
    for side, source in ((ours, rng), (theirs, torch.Generator().manual_seed(3))):
        years = np.array([np.asarray(side.draw_temperatures(source)) for _ in range(200)])
        assert_drawn_from(norm(scale=3), (years - still).ravel())
