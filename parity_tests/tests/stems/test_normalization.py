"""Normalization beside its rows: constants, underflow, sums of NumPy, statistics that are none."""

from __future__ import annotations

from fractions import Fraction
from statistics import pvariance

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity_tests import assert_close, measure
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import WIDE
from scratch import normalization as ours
from torch_ref import normalization as theirs


def by_the_definition(X):
    """Return mean and variance in extended precision, by two passes."""
    wide = X.astype(np.longdouble)
    mean = wide.sum(axis=1, keepdims=True) / X.shape[1]
    return mean, np.square(wide - mean).sum(axis=1, keepdims=True) / X.shape[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("m", [1, 3, 10, 77, 1001])
def test_a_constant_feature_is_only_centred(m, dtype):
    """Variance 0 to the last bit, whatever the sum rounds to: no division by zero or by 1e-17."""
    values = np.array([0.1, 1 / 3, 1e6 + 0.1, -7.7e-9, 0.0, 1e30, 3e-30], dtype)[:, None]
    X = np.repeat(values, m, axis=1)
    mine = ours.fit(X)
    assert np.array_equal(mine.mean, values)
    assert not mine.variance.any()
    assert not ours.normalize(X, mine).any()
    assert np.array_equal(ours.denormalize(ours.normalize(X, mine), mine), X)
    centred = ours.normalize(X + dtype(1), mine)
    assert_close(centred, X + dtype(1) - values, "another value in a dev set")
    if dtype != np.longdouble:
        other = theirs.fit(rows(X))
        assert np.array_equal(other.mean.numpy(), values[:, 0])
        assert not other.variance.numpy().any()
        assert np.array_equal(columns(theirs.normalize(rows(X + dtype(1)), other)), centred)


@pytest.mark.parametrize(("dtype", "spread"), [(np.float32, 100.0), (np.float64, 1e-3)])
def test_a_large_mean_cancels_nothing(dtype, spread, rng):
    """A spread of 1e-9 of the mean in float64 keeps all its digits; E[x^2] - mean^2 has none."""
    if not WIDE:
        pytest.skip("longdouble is no wider than float64 here")
    X = (1e6 + spread * rng.standard_normal((4, 300))).astype(dtype)
    for found, expected in zip(ours.fit(X), by_the_definition(X), strict=True):
        assert_close(found, expected.astype(dtype), "large", gauge=np.abs(expected))


def test_the_layout_changes_nothing(rng):
    """A hundred thousand float32 examples side by side in memory are not summed one by one."""
    m = 100_000
    X = np.stack([np.full(m, 0.1), 0.1 + 0.01 * rng.standard_normal(m)]).astype(np.float32)
    turned = np.asfortranarray(X)
    mean, variance = by_the_definition(X)
    assert measure(turned.mean(axis=1, keepdims=True), mean).error > 1e3
    mine, other = ours.fit(turned), theirs.fit(rows(X))
    for field, expected in (("mean", mean), ("variance", variance)):
        found, reference = getattr(mine, field), getattr(other, field).numpy()[:, None]
        assert_close(found, expected.astype(np.float32), field)
        assert_close(found, reference, f"{field} of both sides", gauge=np.float32([[0.1]]))
        assert np.array_equal(found, getattr(ours.fit(X), field))
    assert np.array_equal(mine.mean[0], X[0, :1])
    assert mine.variance[0] == other.variance[0] == 0


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-25), (np.float64, 1e-170)])
def test_deviations_whose_squares_underflow_are_none(dtype, size, rng):
    """Both sides then only centre the feature, as they do a constant one; other units mend it."""
    X = (size * rng.standard_normal((2, 30))).astype(dtype)
    mine, other = ours.fit(X), theirs.fit(rows(X))
    assert not mine.variance.any()
    assert not other.variance.numpy().any()
    centred = ours.normalize(X, mine)
    assert_close(centred, X - mine.mean, "centred", gauge=np.abs(X).max())
    assert_close(centred, columns(theirs.normalize(rows(X), other)), "theirs", gauge=dtype(size))
    scaled = X * dtype(2.0**80)
    again = ours.fit(ours.normalize(scaled, ours.fit(scaled))).variance
    assert_close(again, np.ones((2, 1), dtype), "units")


@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=60),
    st.sampled_from([0.1, 1.0, -1e6, 3e-5]),
)
@example([-2] + 46 * [-1], 0.1)  # the rounded mean is further from the mean than most entries
def test_features_a_few_ulp_wide(steps, value):
    """One entry off by one ULP is no constant: the variance is the one of the whole steps."""
    X = (value + np.spacing(value) * np.array(steps, float))[None]
    variance = np.spacing(value) ** 2 * np.reshape(float(pvariance(map(Fraction, steps))), (1, 1))
    mine = ours.fit(X).variance
    if len(set(steps)) == 1:
        assert mine == 0
    else:
        assert_close(mine, variance, "variance")
        assert np.isfinite(ours.normalize(X, ours.fit(X))).all()


SPOILT = {
    "negative": (("variance",), lambda one: one - 10, ValueError),
    "slightly negative": (("variance",), lambda one: 0 * one - 1e-300, ValueError),
    "NaN": (("mean", "variance"), lambda one: one * np.nan, ValueError),
    "infinite": (("mean", "variance"), lambda one: one + np.inf, ValueError),
    "of another width": (("mean", "variance"), lambda one: one[:2], ValueError),
    "of one feature": (("mean", "variance"), lambda one: one[:1], ValueError),
    "narrow": (
        ("mean", "variance"),
        lambda one: one.astype("f4") if isinstance(one, np.ndarray) else one.float(),
        TypeError,
    ),
}


@pytest.mark.parametrize("bad", SPOILT)
def test_statistics_that_are_none_are_refused(bad):
    """A variance below zero, a number that overflowed, another dtype or width."""
    X = np.array([[0.5, -1.0, 2.0, 0.1], [1.0, 0.2, -0.3, 0.4], [3.0, 3.0, 3.0, 3.0]])
    fields, spoil, error = SPOILT[bad]
    for side, inputs in ((ours, X), (theirs, rows(X))):
        fitted = side.fit(inputs)
        for field in fields:
            spoilt = fitted._replace(**{field: spoil(getattr(fitted, field))})
            for function in (side.normalize, side.denormalize):
                with pytest.raises(error, match="expected"):
                    function(inputs, spoilt)
