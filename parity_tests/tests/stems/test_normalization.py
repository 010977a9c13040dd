"""Normalization: statistics of the training set with 1/m, constant features, the way back."""

from __future__ import annotations

import re
from fractions import Fraction
from statistics import pvariance

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from parity_tests import FORWARD, assert_close, measure
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import WIDE
from parity_tests.compare.functions import draw_until
from parity_tests.compare.measurement import MARGIN
from scratch import normalization as ours
from torch_ref import normalization as theirs

_X = np.array([[0.5, -1.0, 2.0, 0.1], [1.0, 0.2, -0.3, 0.4], [3.0, 3.0, 3.0, 3.0]])
_APPLY = {
    "scratch": {"X": _X, "statistics": ours.fit(_X)},
    "torch_ref": {"X": rows(_X), "statistics": theirs.fit(rows(_X))},
}
EXAMPLES = {
    f"{package}.normalization.{name}": arguments if name != "fit" else {"X": arguments["X"]}
    for package, arguments in _APPLY.items()
    for name in ("fit", "normalize", "denormalize")
}


def draw_features(rng, m=40, dtype=np.float64):
    """Draw features of very different mean and spread."""
    mean, spread = np.array([[0.0], [5.0], [-300.0]]), np.array([[1.0], [0.3], [40.0]])
    return (mean + spread * rng.standard_normal((3, m))).astype(dtype)


def by_the_definition(X):
    """Return mean and variance in extended precision, by two passes."""
    wide = X.astype(np.longdouble)
    mean = wide.sum(axis=1, keepdims=True) / X.shape[1]
    return mean, np.square(wide - mean).sum(axis=1, keepdims=True) / X.shape[1]


def cancellation(X, statistics):
    """Return the gauge of Z = (X - mean) / sigma: the terms of the difference, in sigmas.

    sigma is made of such differences as well, and so multiplies Z by what errs as much.
    """
    sigma = np.sqrt(statistics.variance)
    largest = np.maximum(np.abs(X).max(axis=1, keepdims=True), np.abs(statistics.mean))
    return largest / sigma * (1 + np.abs(X - statistics.mean) / sigma)


def proves(inputs, X):
    """Tell whether features, normalized by X, are far larger than what they may lose."""
    mine, eps = ours.fit(X), np.finfo(X.dtype).eps
    gauge = cancellation(np.concatenate([inputs, X], axis=1), mine)[:, : inputs.shape[1]]
    return MARGIN * FORWARD.eps * eps * gauge.max() < np.abs(ours.normalize(inputs, mine)).max()


@pytest.mark.parity("fit", "normalize", "denormalize")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("m", [2, 40])
def test_both_sides_normalize_alike(m, dtype, rng):
    """Statistics, normalized features and the way back agree, each feature at its own gauge."""
    X, dev = draw_until(
        lambda *both: all(proves(inputs, both[0]) for inputs in both),
        lambda: (draw_features(rng, m, dtype), draw_features(rng, 7, dtype)),
    )
    kept, wide = X.copy(), np.float64 if dtype == np.float32 else np.longdouble
    mine, other = ours.fit(X), theirs.fit(rows(X))
    size = np.abs(X).max(axis=1, keepdims=True)
    truth = ours.fit(X.astype(wide))
    assert_close(mine.mean, other.mean.numpy()[:, None], "mean", gauge=size, wider=truth.mean)
    gauge = size * np.sqrt(mine.variance) + mine.variance
    reference = other.variance.numpy()[:, None]
    assert_close(mine.variance, reference, "variance", gauge=gauge, wider=truth.variance)
    for name, inputs in (("train", X), ("dev", dev)):
        gauge = cancellation(np.concatenate([inputs, X], axis=1), mine)[:, : inputs.shape[1]]
        size = np.abs(np.concatenate([inputs, X], axis=1)).max(axis=1, keepdims=True)
        normalized = ours.normalize(inputs, mine)
        reference = columns(theirs.normalize(rows(inputs), other))
        exact = ours.normalize(inputs.astype(wide), truth)
        assert_close(normalized, reference, f"normalized {name}", gauge=gauge, wider=exact)
        back = columns(theirs.denormalize(rows(reference), other))
        again = ours.denormalize(normalized, mine)
        exact = inputs.astype(wide)
        assert_close(again, back, f"{name} again", gauge=size, wider=exact)
        assert_close(ours.denormalize(normalized, mine), inputs, f"original {name}", gauge=size)
    assert np.array_equal(X, kept)


@pytest.mark.seeds(10)
def test_scipy_standardizes_alike(rng):
    """The third witness: z-scores without a correction."""
    X = draw_features(rng)
    mine = ours.fit(X)
    normalized = ours.normalize(X, mine)
    expected = scipy.stats.zscore(X, axis=1, ddof=0)
    assert_close(normalized, expected, "z-scores", gauge=cancellation(X, mine))
    assert_close(ours.fit(normalized).variance, np.ones((3, 1)), "variance afterwards")
    zero = ours.fit(normalized).mean
    gauge = cancellation(X, mine).mean(axis=1, keepdims=True)
    assert measure(zero, np.zeros((3, 1)), gauge).error <= FORWARD.eps


@pytest.mark.seeds(10)
@pytest.mark.parametrize("offset", [1e3, 1e6], ids=str)
def test_a_large_mean_cancels_nothing(offset, dtype, rng):
    """A spread of 1e-9 of the mean in float64 keeps all its digits; E[x^2] - mean^2 has none."""
    if dtype == np.float64 and not WIDE:
        pytest.skip("longdouble is no wider than float64 here")
    spread = offset * (1e-9 if dtype == np.float64 else 1e-4)
    X = (offset + spread * rng.standard_normal((4, 300))).astype(dtype)
    mean, variance = by_the_definition(X)
    mine = ours.fit(X)
    assert_close(mine.mean, mean.astype(dtype), "mean")
    assert_close(mine.variance, variance.astype(dtype), "variance", gauge=variance)
    textbook = np.square(X).mean(axis=1, keepdims=True) - np.square(X.mean(axis=1, keepdims=True))
    assert measure(textbook, variance).error > 1e6


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
    assert centred.dtype == mine.mean.dtype == mine.variance.dtype == dtype
    if dtype != np.longdouble:
        other = theirs.fit(rows(X))
        assert np.array_equal(other.mean.numpy(), values[:, 0])
        assert not other.variance.numpy().any()
        assert np.array_equal(columns(theirs.normalize(rows(X + dtype(1)), other)), centred)


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


@pytest.mark.parametrize("power", [-300, -60, 60, 300])
def test_units_change_nothing(power, rng):
    """A feature in other units, a power of two apart, is normalized to the same numbers."""
    X = draw_features(rng)
    scaled = X * 2.0**power
    assert_close(ours.normalize(scaled, ours.fit(scaled)), ours.normalize(X, ours.fit(X)), "scaled")
    other = columns(theirs.normalize(rows(scaled), theirs.fit(rows(scaled))))
    gauge = cancellation(X, ours.fit(X))
    assert_close(ours.normalize(X, ours.fit(X)), other, "theirs, scaled", gauge=gauge)


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
    assert (ours.fit(scaled).variance > 0).all()
    assert_close(
        ours.fit(ours.normalize(scaled, ours.fit(scaled))).variance, np.ones((2, 1), dtype), "units"
    )


def test_the_mean_of_a_constant_is_not_the_constant():
    """The case above proves something: a plain mean of such features is off."""
    assert any(np.full(m, 0.1).mean() != 0.1 for m in (3, 10, 77, 1001))
    assert any(np.full(m, 0.1).std() > 0 for m in (3, 10, 77, 1001))


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


def test_dev_is_normalized_by_train(rng):
    """A dev set of another mean and spread keeps them; its own statistics would hide them."""
    X, dev = draw_features(rng), 2 * draw_features(rng) + 1
    normalized = ours.normalize(dev, ours.fit(X))
    reference = columns(theirs.normalize(rows(dev), theirs.fit(rows(X))))
    assert_close(normalized, reference, "dev", gauge=cancellation(dev, ours.fit(X)))
    for leaking in (dev, np.concatenate([X, dev], axis=1)):
        assert measure(ours.normalize(dev, ours.fit(leaking)), normalized).error > 1e12


def test_torchs_default_carries_the_correction(rng):
    """Its variance is larger by exactly m / (m - 1)."""
    X = draw_features(rng, 10)
    variance = torch.var(rows(X), dim=0).numpy()[:, None]
    gauge = np.abs(X).max(axis=1, keepdims=True) * np.sqrt(variance) + variance
    assert_close(ours.fit(X).variance * 10 / 9, variance, "corrected variance", gauge=gauge)
    assert measure(ours.fit(X).variance, variance).error > 1e14


def test_dividing_by_the_variance_is_wrong(rng):
    """X / sigma^2, as some lecture notes have it, leaves features of variance 1 / sigma^2."""
    X = draw_features(rng)
    mine = ours.fit(X)
    wrong = (X - mine.mean) / mine.variance
    assert measure(wrong, ours.normalize(X, mine)).error > 1e14
    assert_close(ours.fit(wrong).variance, 1 / mine.variance, "variance", gauge=1 / mine.variance)


@pytest.mark.parametrize(
    "bad", ["negative", "slightly negative", "NaN", "infinite", "narrow", "another width"]
)
def test_statistics_that_are_none_are_refused(bad):
    """A variance below zero, what overflowed, another dtype or width."""
    spoil = {
        "negative": lambda one: one - 10,
        "slightly negative": lambda one: 0 * one - 1e-300,
        "NaN": lambda one: one * np.nan,
        "infinite": lambda one: one + np.inf,
        "narrow": lambda one: one.astype("f4") if isinstance(one, np.ndarray) else one.float(),
        "another width": lambda one: one[:2],
    }[bad]
    for package, module in (("scratch", ours), ("torch_ref", theirs)):
        X, statistics = _APPLY[package].values()
        for field in ("mean", "variance"):
            if "negative" in bad and field == "mean":
                continue
            spoilt = statistics._replace(**{field: spoil(getattr(statistics, field))})
            error = TypeError if bad == "narrow" else ValueError
            for function in (module.normalize, module.denormalize):
                with pytest.raises(error, match="expected"):
                    function(X, spoilt)


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("field", ["mean", "variance"])
def test_statistics_of_another_width_are_told_both_widths(field, n):
    """Of fewer features and of more: torch would stretch neither to three."""
    spoilt = theirs.fit(rows(_X))._replace(**{field: torch.ones(n, dtype=torch.float64)})
    message = f"expected statistics.{field} of shape (n_x,) with n_x = 3 from X, got ({n},)"
    for function in (theirs.normalize, theirs.denormalize):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            function(rows(_X), spoilt)


def test_variance_and_mean_are_of_one_dtype():
    """Either may be the wider one; a dtype that carries metadata is the same dtype."""
    X = _X.astype("f4")
    for features, mean, variance in ((X, "f4", "f8"), (_X, "f8", "f4")):
        fitted = ours.fit(features)
        spoilt = fitted._replace(variance=fitted.variance.astype(variance))
        for function in (ours.normalize, ours.denormalize):
            with pytest.raises(TypeError) as refusal:
                function(features, spoilt)
            expected, got = np.dtype(mean), np.dtype(variance)
            message = f"expected statistics.variance of dtype {expected}, got {got}"
            assert str(refusal.value) == message
    fitted = ours.fit(_X)
    named = fitted.variance.astype(np.dtype("f8", metadata={"unit": "degree"}))
    assert named.dtype is not fitted.mean.dtype
    same = ours.normalize(_X, fitted._replace(variance=named))
    assert np.array_equal(same, ours.normalize(_X, fitted))
