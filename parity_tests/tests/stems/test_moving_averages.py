"""Moving averages: the recursion against torch.lerp, a filter of SciPy's and the sum of weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import get_ema_avg_fn

from parity_tests import assert_close, measure
from parity_tests.compare.bridge import to_numpy, to_torch
from parity_tests.compare.functions import draw_until
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.witnesses import widened
from scratch import moving_averages as ours
from torch_ref import moving_averages as theirs

BETAS = [0.0, 0.1, 0.5, 0.9, 0.98, 0.999, 1 - 1e-6]


def filtered(x, beta, bias_correction=False):
    """Return the third witness: SciPy's linear filter, in extended precision."""
    beta, x = np.longdouble(beta), x.astype(np.longdouble)
    v = scipy.signal.lfilter([1 - beta], [1, -beta], x)
    if bias_correction:  # 1 - beta^t as a sum of weights, in which nothing cancels
        v /= np.cumsum((1 - beta) * beta ** np.arange(len(x)))
    return v


@pytest.mark.parity("moving_average")
@pytest.mark.seeds(10)
@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("beta", BETAS)
def test_moving_average(beta, bias_correction, rng):
    """A year agrees with torch and with the filter; the input is left alone."""
    x = ours.draw_temperatures(rng)
    before = x.copy()
    v = ours.moving_average(x, beta, bias_correction)
    other = theirs.moving_average(to_torch("x", x), beta, bias_correction)
    truth = widened(ours.moving_average, x, beta, bias_correction)
    assert_close(v, to_numpy("v", other), "average", wider=truth)
    assert_close(v, filtered(x, beta, bias_correction).astype(float), "average, by a filter")
    assert np.array_equal(x, before)


@pytest.mark.parametrize("beta", BETAS)
def test_defaults_agree(beta, rng):
    """Neither side corrects unless asked to."""
    x = rng.standard_normal(50)
    assert_close(
        ours.moving_average(x, beta),
        theirs.moving_average(to_torch("x", x), beta).numpy(),
        "v",
        wider=widened(ours.moving_average, x, beta),
    )


@pytest.mark.parity("weights_of_average", "moving_average")
@pytest.mark.parametrize("beta", BETAS)
def test_the_average_is_a_sum_of_weights(beta, rng):
    """v_t = sum of (1 - beta) beta^k x_(t-k), which is also what autograd finds."""
    x = rng.standard_normal(300)
    weights = ours.weights_of_average(beta, len(x))
    assert_close(weights, theirs.weights_of_average(beta, len(x)).numpy(), "weights")
    summed = np.convolve(x, weights)[: len(x)]
    gauge = np.convolve(np.abs(x), weights)[: len(x)].max()
    assert_close(ours.moving_average(x, beta), summed, "average, unrolled", gauge=gauge)
    tensor = to_torch("x", x).requires_grad_()
    theirs.moving_average(tensor, beta)[-1].backward()
    assert_close(weights[::-1], tensor.grad.numpy(), "gradient of the last average")
    # together they are the 1 - beta^t that bias correction divides by
    constant = ours.moving_average(np.ones(len(x)), beta)
    assert_close(np.cumsum(weights), constant, "sum of the weights")


@pytest.mark.parity("effective_window")
@pytest.mark.parametrize("beta", BETAS)
def test_effective_window(beta):
    """1 / (1 - beta) days: 10 for 0.9, 50 for 0.98; by then a weight has fallen to 1/e."""
    window = ours.effective_window(beta)
    assert type(window) is float
    assert_close(np.float64(window), np.float64(theirs.effective_window(beta)), "window")
    expected = {0.0: 1, 0.5: 2, 0.9: 10, 0.98: 50, 0.999: 1000, 1 - 1e-6: 1e6}.get(beta)
    assert expected is None or abs(window / expected - 1) < 1e-9
    if beta >= 0.9:
        weights = ours.weights_of_average(beta, round(window) + 1)
        fallen = weights[-1] / weights[0]  # (1/e) e^(-(1 - beta) / 2) and higher orders
        assert 0.3 * (1 - beta) / np.e < 1 / np.e - fallen < 0.6 * (1 - beta) / np.e


@pytest.mark.parametrize("bias_correction", [False, True])
def test_beta_zero_is_the_identity(bias_correction, rng):
    """Nothing is remembered."""
    x = rng.standard_normal(100)
    assert_close(ours.moving_average(x, 0.0, bias_correction), x, "average")


@pytest.mark.seeds(5)
@pytest.mark.parametrize("beta", BETAS)
def test_the_start(beta, rng):
    """Without correction v_1 = (1 - beta) x_1; with it v_1 = x_1, and v_2 weighs two days."""
    x = ours.draw_temperatures(rng)
    assert_close(ours.moving_average(x, beta)[0], (1 - beta) * x[0], "first average, biased")
    corrected = ours.moving_average(x, beta, True)
    assert_close(corrected[0], x[0], "first average")
    size = (beta * abs(x[0]) + abs(x[1])) / (1 + beta)
    second = (beta * x[0] + x[1]) / (1 + beta)
    assert_close(corrected[1], second, "second average", gauge=size)
    if beta == 0.98:
        plain = ours.moving_average(x, beta)
        assert plain[:30].max() < x[:30].mean() < plain[180]  # starts far too low, catches up
        assert np.abs(plain[-1] / corrected[-1] - 1) < 0.98**365 * 1.01


@pytest.mark.parametrize("beta", BETAS)
def test_a_constant_is_kept(beta):
    """The corrected average of equal days is that day; the plain one lacks beta^t of it."""
    x = np.full(365, 3.7)
    assert_close(ours.moving_average(x, beta, True), x, "corrected")
    lacking = -np.expm1(np.arange(1, 366) * np.log(np.longdouble(max(beta, 1e-300))))
    assert_close(ours.moving_average(x, beta), (3.7 * lacking).astype(float), "plain")


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=40),
    st.floats(0, 0.999),
    st.floats(-50, 50),
)
def test_averages_stay_between(values, beta, shift):
    """A corrected average lies within what it averages, and moves along with it."""
    x = np.array(values)
    v = ours.moving_average(x, beta, True)
    slack = 1e-12
    assert (v <= np.maximum.accumulate(x) + slack).all()
    assert (v >= np.minimum.accumulate(x) - slack).all()
    assert np.allclose(ours.moving_average(x + shift, beta, True), v + shift, rtol=0, atol=slack)


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_dtypes(dtype, beta, bias_correction, rng):
    """Extended precision is kept; float32 errs at most twice what torch does, plus a floor."""
    days = 365 if beta < 0.99 else 100  # a long memory adds up the round-off of all of them
    x = ours.draw_temperatures(rng)[:days].astype(dtype)
    v = ours.moving_average(x, np.float64(beta), bias_correction)
    exact = filtered(x, beta, bias_correction)
    assert v.dtype == dtype
    if dtype is np.longdouble:
        assert_close(v, exact, "average")
    else:
        eps = float(np.finfo(dtype).eps)
        other = theirs.moving_average(to_torch("x", x), beta, bias_correction).numpy()
        bar = 2 * measure(other, exact, eps=eps).error + 4
        assert measure(v, exact, eps=eps).error <= bar < 32


def fed_back(x, beta):
    """Return averages whose correction goes into the recursion."""
    v = np.zeros(len(x) + 1)
    for t, x_t in enumerate(x, start=1):
        v[t] = (beta * v[t - 1] + (1 - beta) * x_t) / (1 - beta**t)
    return v[1:]


def from_the_first_day(x, beta):
    """Return torch's own averages of models, which start from what they meet first."""
    average, v = get_ema_avg_fn(beta), [torch.tensor(x[0])]
    for x_t in x[1:]:
        v.append(average(v[-1], torch.tensor(x_t), len(v)))
    return torch.stack(v).numpy()


WRONG = {
    "corrected by t - 1": lambda x, beta: (
        theirs.moving_average(to_torch("x", x), beta).numpy()
        / (1 - beta ** np.maximum(np.arange(len(x)), 0.5))
    ),
    "corrected by t + 1": lambda x, beta: (
        theirs.moving_average(to_torch("x", x), beta).numpy()
        / (1 - beta ** np.arange(2, len(x) + 2))
    ),
    "correction fed back": fed_back,
    "not corrected": lambda x, beta: theirs.moving_average(to_torch("x", x), beta).numpy(),
    "beta and 1 - beta swapped": lambda x, beta: theirs.moving_average(
        to_torch("x", x), 1 - beta, True
    ).numpy(),
    "started at the first day": from_the_first_day,
    "without (1 - beta)": lambda x, beta: scipy.signal.lfilter([1], [1, -beta], x),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_tempting_translations_fail(wrong, rng):
    """Each is off by more than a hundredth of the largest average."""
    # what corrects by another day is off by a share of the first day's temperature
    (x,) = draw_until(lambda x: abs(x[0]) > 1, lambda: (ours.draw_temperatures(rng),))
    mine, other = ours.moving_average(x, 0.9, True), WRONG[wrong](x, 0.9)
    assert np.abs(mine - other).max() > 1e-2 * np.abs(mine).max()
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="average differs at"):
        assert_close(mine, other, "average")


@pytest.mark.parity("temperatures")
@pytest.mark.seeds(5)
@pytest.mark.parametrize("days", [1, 30, 365, 1000])
def test_temperatures(days, dtype, rng):
    """The same noise gives the same year, cold at New Year and warm in July."""
    noise = rng.standard_normal(days).astype(dtype)
    before = noise.copy()
    year = ours.temperatures(noise)
    assert_close(year, theirs.temperatures(to_torch("noise", noise)).numpy(), "temperatures")
    assert np.array_equal(noise, before)
    still = ours.temperatures(np.zeros(365))
    assert 180 <= still.argmax() <= 184
    assert still.argmin() in (363, 364)
    assert_close(still.mean(), np.float64(11), "mean of the year")
    assert_close(np.array([still.max(), still.min()]).round(3), np.array([19.0, 3.0]), "range")


@pytest.mark.parity("draw_temperatures")
def test_draws(rng):
    """Deviations are normal with 3 degrees on both sides; the draw is that of the noise."""
    mine = ours.draw_temperatures(np.random.default_rng(3), 20_000)
    noise = np.random.default_rng(3).standard_normal(20_000)
    assert_close(mine, theirs.temperatures(to_torch("noise", noise)).numpy(), "drawn")
    other = theirs.draw_temperatures(torch.Generator().manual_seed(3), 20_000).numpy()
    for drawn in (mine, other):
        deviations = (drawn - ours.temperatures(np.zeros(20_000))) / 3
        assert scipy.stats.kstest(deviations, "norm").pvalue > 1e-3
    assert other.dtype == np.float64
    generators = rng, torch.Generator().manual_seed(1)
    lengths = [len(side.draw_temperatures(one)) for side, one in zip((ours, theirs), generators,
                                                                    strict=True)]  # fmt: skip
    assert lengths == [365, 365]
    assert not np.array_equal(ours.draw_temperatures(rng), ours.draw_temperatures(rng))


YEAR = np.linspace(-1, 1, 5)
EXAMPLES = {
    f"{package}.moving_averages.{name}": arguments
    for package, series, source in (
        ("scratch", YEAR, {"rng": np.random.default_rng(0)}),
        ("torch_ref", torch.from_numpy(YEAR), {"generator": torch.Generator().manual_seed(0)}),
    )
    for name, arguments in {
        "moving_average": {"x": series, "beta": 0.9, "bias_correction": True},
        "effective_window": {"beta": 0.9},
        "weights_of_average": {"beta": 0.9, "n": 5},
        "temperatures": {"noise": series},
        "draw_temperatures": {**source, "days": 5},
    }.items()
}


def test_an_average_of_equal_weights_stays_finite():
    """Half of large values of either sign: their difference would be infinite."""
    largest = np.finfo(float).max
    v = ours.moving_average(np.array([largest, -largest]), 0.5)
    assert v.tolist() == [largest / 2, largest / 4 - largest / 2]
