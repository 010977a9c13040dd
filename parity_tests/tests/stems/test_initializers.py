"""Initializers: both sides draw from the distribution that the formula names.

The generators differ, so numbers are compared as distributions, each check at a false-alarm rate of
ALARM.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.compare.bridge import load, rows, unload
from parity_tests.compare.budgets import ALARM, of_draws
from scratch import initializers as ours
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import GradientDescent
from torch_ref import initializers as theirs
from torch_ref.batch_norm import BatchNorm
from torch_ref.network import Network as TheirNetwork
from torch_ref.network import cost_and_gradients as their_cost_and_gradients

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


def draw_theirs(name, seed, shape=SHAPE):
    """Draw W by torch.nn.init."""
    W = torch.empty(shape, dtype=torch.float64)
    return theirs.INITIALIZERS[name](W, torch.Generator().manual_seed(seed)).numpy()


def z_scores(W, distribution):
    """Return how many standard errors mean and variance lie from those of the distribution."""
    mean, variance, kurtosis = distribution.stats("mvk")
    return {
        "mean": (W.mean() - mean) / np.sqrt(variance / W.size),
        "variance": (W.var() / variance - 1) / np.sqrt((kurtosis + 2) / W.size),
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.parity(name)) for name in DISTRIBUTIONS]
)
def test_distribution(name, rng):
    """Mean, variance and the whole distribution are the formula's on both sides."""
    W = {"ours": ours.INITIALIZERS[name](SHAPE, rng), "torch's": draw_theirs(name, 1)}
    limit = scipy.stats.norm.isf(ALARM / 2)
    for side, draw in W.items():
        assert draw.shape == SHAPE
        for quantity, score in z_scores(draw, DISTRIBUTIONS[name]).items():
            assert abs(score) < limit, f"{side} {quantity} is {score:.1f} standard errors off"
        fit = scipy.stats.kstest(draw.ravel(), DISTRIBUTIONS[name].cdf)
        assert fit.pvalue > ALARM, f"{side}: Kolmogorov-Smirnov p = {fit.pvalue:.2g}"
    both = scipy.stats.ks_2samp(W["ours"].ravel(), W["torch's"].ravel())
    assert both.pvalue > ALARM
    spread = np.float64(W["ours"].std()), np.float64(W["torch's"].std())
    assert_close(*spread, "standard deviation", budget=SAMPLED)


#: what the formula multiplies standard normal draws by, for n = 6 units with n_prev = 10 inputs.
FACTORS = {
    "small_normal": 0.01,
    "large_normal": 10.0,
    "xavier": np.sqrt(1 / 10),
    "glorot": np.sqrt(2 / 16),
    "he": np.sqrt(2 / 10),
}


@pytest.mark.parametrize("name", FACTORS)
def test_the_factor_is_exact(name):
    """W is the generator's own normal draws times the factor, which a sample sees only roughly."""
    draws = np.random.default_rng(3).standard_normal((6, 10))
    W = ours.INITIALIZERS[name]((6, 10), np.random.default_rng(3))
    assert_close(W, FACTORS[name] * draws, "W")


WRONG = {
    "he with fan_out": ("he", np.sqrt(2 / 300)),
    "Glorot's for the taught Xavier": ("xavier", np.sqrt(2 / 500)),
    "the taught Xavier for Glorot's": ("glorot", np.sqrt(1 / 200)),
    "scale 0.02": ("small_normal", 0.02),
    "half the variance": ("he", np.sqrt(1 / 200)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_scale_is_seen(wrong, rng):
    """The tests above have the power to tell every tempting scale from the right one."""
    name, scale = WRONG[wrong]
    W = scale * rng.standard_normal(SHAPE)
    assert abs(z_scores(W, DISTRIBUTIONS[name])["variance"]) > 10
    assert scipy.stats.kstest(W.ravel(), DISTRIBUTIONS[name].cdf).pvalue < ALARM**2


@pytest.mark.parity("zeros", "constant")
@pytest.mark.parametrize("name", ["zeros", "constant"])
def test_fixed_values(name, rng):
    """Zeros are zeros and ones are ones on both sides."""
    assert_close(ours.zeros((3, 2), rng), draw_theirs("zeros", 1, (3, 2)), "W", expect_zero=True)
    assert_close(ours.constant((3, 2), rng), draw_theirs("constant", 1, (3, 2)), "W")
    half = theirs.constant(torch.empty(3, 2, dtype=torch.float64), value=0.5).numpy()
    assert_close(ours.constant((3, 2), rng, value=0.5), half, "W")


@pytest.mark.parity("initialize")
@pytest.mark.parametrize("name", ours.INITIALIZERS)
def test_initialize(name, rng):
    """Every W is filled by its own layer's rule, every b is zero, on both sides."""
    sizes = (300, 200, 100)
    mine = ours.initialize(sizes, name, rng)
    module = TheirNetwork(layer_sizes=sizes)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 99.0)
    theirs.initialize(module, name, torch.Generator().manual_seed(3))
    other = unload(module)
    assert mine.shapes == other.shapes
    for key, view in mine.items():
        if key.startswith("b"):
            assert_close(view, other[key], key, expect_zero=True)
            continue
        spread, bound = (view.std(), other[key].std()), of_draws(view.size).relative
        assert spread[0] == pytest.approx(spread[1], rel=bound)
        assert abs(view.mean() - other[key].mean()) <= np.sqrt(2) * bound * spread[0]


@pytest.mark.parity("initialize")
def test_batch_norm_begins_as_the_identity(rng):
    """Every gamma is 1 and every beta 0, in the place of b in all layers but the last."""
    sizes = (30, 20, 10, 5)
    mine = ours.initialize(sizes, "he", rng, batch_norm=True)
    module = TheirNetwork(layer_sizes=sizes, batch_norm=BatchNorm)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 99.0)
    theirs.initialize(module, "he", torch.Generator().manual_seed(3))
    other = unload(module)
    assert list(mine) == ["W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3", "b3"]
    assert mine.layout == other.layout
    for key, view in mine.items():
        if key[0] != "W":
            assert_close(view, other[key], key, expect_zero=key[0] == "b")
            assert (view == key.startswith("gamma")).all()
    plain = ours.initialize(sizes, "he", np.random.default_rng(1))
    same = ours.initialize(sizes, "he", np.random.default_rng(1), batch_norm=True)
    assert np.array_equal(plain["W3"], same["W3"])


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_every_dtype_starts_from_the_same_draws(dtype):
    """float32 weights are the float64 ones, rounded."""
    sizes = (6, 5, 4)
    wide = ours.initialize(sizes, "he", np.random.default_rng(0))
    other = ours.initialize(sizes, "he", np.random.default_rng(0), dtype)
    assert other.theta.dtype == dtype
    assert np.array_equal(other.theta, wide.theta.astype(dtype))


def test_one_seed_gives_one_network():
    """The same generator state draws the same weights, and draws nothing from the global one."""
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global state is what is watched
    first, second = (
        ours.initialize((6, 5, 4), "he", np.random.default_rng(7)).theta for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def draw_two(side, name, seed):
    """Return the parameters of two networks, drawn one after the other from one generator."""
    sizes = (5, 5, 5, 5)
    if side is ours:
        rng = np.random.default_rng(seed)
        return [ours.initialize(sizes, name, rng) for _ in range(2)]
    generator, modules = torch.Generator().manual_seed(seed), []
    for _ in range(2):
        modules.append(TheirNetwork(layer_sizes=sizes))
        theirs.initialize(modules[-1], name, generator)
    return [unload(module) for module in modules]


@pytest.mark.parametrize("side", [ours, theirs], ids=["ours", "torch's"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_come_from_the_generator(name, side):
    """One seed gives one pair of networks; layers of one shape differ, so do networks and seeds."""
    drawn, again, other = (draw_two(side, name, seed) for seed in (2, 2, 3))
    for parameters, same in zip(drawn, again, strict=True):
        assert np.array_equal(parameters.theta, same.theta)
    weights = [parameters[f"W{l}"] for parameters in (*drawn, *other) for l in (1, 2, 3)]
    assert not any(np.array_equal(one, another) for one, another in combinations(weights, 2))


@pytest.mark.parametrize("name", ["zeros", "constant"])
def test_symmetry_is_never_broken(name, rng):
    """Units that start alike stay alike after ten steps, and so they do in torch; He's do not."""
    network = Network(layer_sizes=(3, 4, 1), hidden="tanh")
    X, Y = rng.standard_normal((3, 20)), rng.integers(0, 2, (1, 20)).astype(float)
    for initializer, alike in ((name, True), ("he", False)):
        parameters = ours.initialize(network.layer_sizes, initializer, rng)
        optimizer = GradientDescent(learning_rate=0.5)
        module = load(TheirNetwork(layer_sizes=(3, 4, 1), hidden="tanh"), parameters)
        descent = torch.optim.SGD(module.parameters(), lr=0.5)
        for _ in range(10):
            _, gradients = cost_and_gradients(parameters, X, Y, network)
            optimizer.update(parameters, gradients, optimizer.init(parameters))
            _, pulled = their_cost_and_gradients(module, rows(X), rows(Y))
            for parameter, gradient in zip(module.parameters(), pulled.values(), strict=True):
                parameter.grad = gradient
            descent.step()
        for W in (parameters["W1"], unload(module)["W1"]):
            assert (np.ptp(W, axis=0).max() < 1e-15) == alike
    assert parameters["b2"].any()
