"""Normalization beside its rows: constants, underflow, sums of NumPy, statistics that are none."""

from fractions import Fraction
from statistics import pvariance

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity_tests import assert_close
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import WIDE
from parity_tests.tests.stems.common import refused
from scratch import normalization as ours
from torch_ref import normalization as theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("m", [1, 3, 77])
def test_a_constant_feature_is_only_centred(m, dtype):
    """Variance 0 to the last bit, whatever the sum rounds to: no division by zero or by 1e-17."""
    values = np.array([0.1, 1 / 3, 1e6 + 0.1, -7.7e-9, 0.0, 1e30, 3e-30], dtype)[:, None]
    X = np.repeat(values, m, axis=1)
    mine = ours.fit(X)
    assert not ours.normalize(X, mine).any()
    assert np.array_equal(ours.denormalize(ours.normalize(X, mine), mine), X)
    centred = ours.normalize(X + dtype(1), mine)
    assert_close(centred, X + dtype(1) - values, "another value in a dev set")
    if dtype != np.longdouble:
        other = theirs.normalize(rows(X + dtype(1)), theirs.fit(rows(X)))
        assert np.array_equal(columns(other), centred)


def test_the_layout_changes_nothing(rng):
    """A hundred thousand float32 examples side by side in memory are not summed one by one."""
    m = 100_000
    X = np.stack([np.full(m, 0.1), 0.1 + 0.01 * rng.standard_normal(m)]).astype(np.float32)
    wide, mine, other = ours.fit(X.astype("f8")), ours.fit(np.asfortranarray(X)), ours.fit(X)
    for name, found in mine._asdict().items():
        assert_close(found[1:], getattr(wide, name)[1:].astype("f4"), name)
        assert np.array_equal(found, getattr(other, name))
    assert mine.variance[0] == 0


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-25), (np.float64, 1e-170)])
def test_deviations_whose_squares_underflow_are_none(dtype, size, rng):
    """Both sides then only centre the feature, as they do a constant one."""
    X = (size * rng.standard_normal((2, 30))).astype(dtype)
    mine, other = ours.fit(X), theirs.fit(rows(X))
    assert not mine.variance.any()
    assert not other.variance.numpy().any()
    centred = ours.normalize(X, mine)
    assert_close(centred, X - mine.mean, "centred", gauge=np.abs(X).max())
    assert_close(centred, columns(theirs.normalize(rows(X), other)), "theirs", gauge=dtype(size))


@given(st.lists(st.integers(-3, 3), min_size=2), st.sampled_from([0.1, 1.0, -1e6, 3e-5]))
@example([-2] + 46 * [-1], 0.1)  # the rounded mean is further from the mean than most entries
def test_features_a_few_ulp_wide(steps, value):
    """One entry off by one ULP is no constant: the variance is the one of the whole steps."""
    X = (value + np.spacing(value) * np.array(steps, float))[None]
    variance = np.spacing(value) ** 2 * np.reshape(float(pvariance(map(Fraction, steps))), (1, 1))
    mine = ours.fit(X)
    assert_close(mine.variance, variance, "variance", expect_zero=len(set(steps)) == 1)
    assert np.isfinite(ours.normalize(X, mine)).all()


# fmt: off
#: ways to spoil the variance, or either of the statistics.
SPOILT = (
    ("variance", lambda one: -one), ("variance", lambda one: 0 * one - 1e-300),
    ("either", lambda one: one * np.nan), ("either", lambda one: one + np.inf),
    ("width", lambda one: one[:2]), ("width", lambda one: one[:1]),
    ("either", lambda one: one.astype("f4") if isinstance(one, np.ndarray) else one.float()),
)
# fmt: on


@pytest.mark.parametrize(("where", "spoil"), SPOILT)
def test_statistics_that_are_none_are_refused(where, spoil):
    """One of more digits than the data have is none either."""
    X = np.array([[0.5, -1.0, 2.0, 0.1], [1.0, 0.2, -0.3, 0.4], [3.0, 3.0, 3.0, 3.0]])
    for side, inputs, narrow in ((ours, X, X.astype("f4")), (theirs, rows(X), rows(X).float())):
        fitted = side.fit(inputs)
        words = "with n_x = 3 from X" if where == "width" and side is theirs else ""
        for function in (side.normalize, side.denormalize):
            refused("", function, narrow, side.fit(narrow)._replace(variance=fitted.variance))
            for field in ("variance",) if where == "variance" else fitted._fields:
                spoilt = fitted._replace(**{field: spoil(getattr(fitted, field))})
                refused(words, function, inputs, spoilt)


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
@pytest.mark.parametrize(("dtype", "spread"), [(np.float32, 100.0), (np.float64, 1e-3)])
def test_a_large_mean_cancels_nothing(dtype, spread, rng):
    """A spread of 1e-9 of the mean in float64 keeps all its digits; E[x^2] - mean^2 has none."""
    X = (1e6 + spread * rng.standard_normal((4, 300))).astype(dtype)
    wide, along = X.astype(np.longdouble), {"axis": 1, "keepdims": True}
    for found, expected in zip(ours.fit(X), (wide.mean(**along), wide.var(**along)), strict=True):
        assert_close(found, expected.astype(dtype), "large", gauge=np.abs(expected))
