"""Gradient checking: differences on both sides, the step that suits them, and wrong gradients."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.differentiate
import scipy.linalg
import scipy.optimize
import torch

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import rows, to_numpy, to_torch, twin, unload_running
from parity_tests.compare.functions import draw_until
from scratch import gradient_checking as ours
from scratch.batch_norm import BatchNorm
from scratch.initializers import initialize
from scratch.network import Network, cost_and_gradients, network_forward
from scratch.parameters import Parameters, from_vector
from torch_ref import gradient_checking as theirs
from torch_ref.network import objective
from torch_ref.parameters import parameters as parameters_of

PENALTIES = {"l1": 0.3, "l2": 0.7}
RNG = np.random.default_rng(0)
ONE = torch.ones(1, 1, dtype=torch.float64)
PARAMETERS = initialize((3, 2), "he", RNG)
DATA = {"X": RNG.standard_normal((3, 4)), "Y": np.eye(2)[:, [0, 1, 0, 1]]}
NETWORK = Network(layer_sizes=(3, 2), output="softmax")
STEP = {"epsilon": 1e-5, "two_sided": True}


def examples():
    """Yield (package.stem.function, valid arguments) of both sides."""
    tensors = {name: to_torch(name, view) for name, view in PARAMETERS.items()}
    vectors = {"approximation": np.array([1.0, 2.0]), "gradient": np.array([1.0, 2.5])}
    shared = {"cost": lambda one: 0.0 * one["b1"].sum() + 2.0, **STEP}
    network = {"parameters": PARAMETERS, "network": NETWORK, **DATA}
    module = {"module": twin(NETWORK, PARAMETERS), **{k: rows(v) for k, v in DATA.items()}}
    yield "scratch.{}.relative_error", vectors
    yield "torch_ref.{}.relative_error", {k: torch.from_numpy(v) for k, v in vectors.items()}
    for package, values in (("scratch", PARAMETERS), ("torch_ref", tensors)):
        both = {**shared, "parameters": values}
        yield f"{package}.{{}}.numerical_gradient", both
        yield f"{package}.{{}}.gradient_check", {**both, "gradients": values}
    yield "scratch.{}.check_network", {**network, **PENALTIES, **STEP}
    yield "torch_ref.{}.check_network", {**module, **PENALTIES, **STEP}


EXAMPLES = {path.format("gradient_checking"): arguments for path, arguments in examples()}
DTYPES = [np.float32, np.float64, np.longdouble]


def far_from_kinks(parameters, X, Y, network):
    """Tell whether no rectified Z is so near 0 that a step may lead across."""
    _, cache = network_forward(X, parameters, network)
    return all((np.abs(one.Z) > 1e-3).all() for one in cache.activation if hasattr(one, "Z"))


def draw(rng, *choices, **named):
    """Draw a network with biases, weights away from 0, and data for it, far from every kink."""
    return draw_until(far_from_kinks, lambda: draw_any(rng, *choices, **named))


def draw_any(
    rng, hidden="tanh", output="softmax", m=20, dtype=np.float64, sizes=(4, 5, 3), **choices
):
    """Draw a network, its parameters and data, kinks or not."""
    network = Network(layer_sizes=sizes, hidden=hidden, output=output, **choices)
    parameters = initialize(sizes, "he", rng, dtype, batch_norm=network.batch_norm is not None)
    drawn = rng.uniform(0.1, 1, parameters.theta.size) * rng.choice([-1, 1], parameters.theta.size)
    parameters.theta[:] = drawn
    X = rng.standard_normal((sizes[0], m)).astype(dtype)
    labels = rng.integers(0, 3, m)
    Y = np.eye(3)[:, labels] if output == "softmax" else rng.integers(0, 2, (sizes[-1], m))
    return parameters, X, Y.astype(dtype), network


def their_cost(parameters, X, Y, network, **penalties):
    """Return torch's cost of the network as a function of named tensors, and those tensors."""
    module = twin(network, parameters)
    choices = {"l1": 0.0, "l2": 0.0, "m": X.shape[1], **penalties}

    def cost(named):
        with torch.no_grad():
            for name, parameter in parameters_of(module).items():
                parameter.copy_(named[name])
            return objective(module, rows(X), rows(Y), **choices)[0]

    return cost, {name: to_torch(name, view) for name, view in parameters.items()}


def our_cost(X, Y, network, **penalties):
    """Return our cost of the network as a function of parameters."""
    return lambda moved: cost_and_gradients(moved, X, Y, network, **penalties)[0]


@pytest.mark.parity("numerical_gradient")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("two_sided", [True, False])
def test_differences_of_a_parabola_are_exact(two_sided, rng):
    """On small fractions of two nothing rounds: 2 c theta, and c epsilon more from one side."""
    shapes = {"W1": (2, 3), "b1": (2, 1)}
    parameters = Parameters({n: rng.integers(-8, 8, s) / 4 + 0.125 for n, s in shapes.items()})
    kept, epsilon = parameters.theta.copy(), 2.0**-10
    c = {name: 2.0 ** rng.integers(-2, 3, shape) for name, shape in shapes.items()}
    factors = {name: to_torch(name, one) for name, one in c.items()}
    choices = {"epsilon": epsilon, "two_sided": two_sided}
    mine = ours.numerical_gradient(
        lambda one: sum((c[name] * one[name] ** 2).sum() for name in c), parameters, **choices
    )
    other = theirs.numerical_gradient(
        lambda one: sum((factors[name] * one[name] ** 2).sum() for name in c),
        {name: to_torch(name, view) for name, view in parameters.items()},
        **choices,
    )
    for name in c:
        exact = 2 * c[name] * parameters[name] + (0 if two_sided else c[name] * epsilon)
        assert_close(mine[name], to_numpy(name, other[name]), name)
        assert np.array_equal(mine[name], to_numpy(name, other[name]))
        assert np.array_equal(mine[name], exact)
    assert np.array_equal(parameters.theta, kept)


@pytest.mark.parity("check_network", "numerical_gradient")
@pytest.mark.parametrize("penalties", [{}, PENALTIES], ids=["plain", "penalized"])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("hidden", ["tanh", "relu", "leaky_relu"])
def test_both_sides_find_a_network_right(hidden, output, penalties, rng):
    """Quotients agree up to the round-off of J over the step; SciPy's agree with both."""
    parameters, X, Y, network = draw(rng, hidden, output)
    kept = parameters.theta.copy()
    mine = ours.check_network(parameters, X, Y, network, **penalties)
    other = theirs.check_network(twin(network, parameters), rows(X), rows(Y), **penalties)
    cost = our_cost(X, Y, network, **penalties)
    gauge = cost(parameters) / ours._default_step(X.dtype, True)
    for name, quotients in other.approximation.items():
        reference = to_numpy(name, quotients)
        assert_close(mine.approximation[name], reference, name, budget=GRADIENT, gauge=gauge)
    lost = GRADIENT.eps * np.finfo(X.dtype).eps * gauge
    for found in (mine, other):
        assert found.difference * np.linalg.norm(mine.approximation.theta) < lost
    assert other.agrees
    for name, error in mine.by_tensor.items():  # a tensor's own gradient may nearly vanish
        assert error * np.linalg.norm(mine.approximation[name]) < lost

    assert np.array_equal(parameters.theta, kept)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("hidden", ["tanh", "relu"])
def test_batch_norm_is_checked_in_training(hidden, unbiased, rng):
    """The mean and variance of X move with each step; running averages and modes stay."""
    norm = BatchNorm(unbiased=unbiased)
    parameters, X, Y, network = draw(rng, hidden, sizes=(4, 5, 6, 3), batch_norm=norm)
    mine = ours.check_network(parameters, X, Y, network, l2=0.5)
    module = twin(network, parameters).eval()
    averages = unload_running(module).theta
    other = theirs.check_network(module, rows(X), rows(Y), l2=0.5)
    assert set(mine.by_tensor) == set(other.by_tensor) == set(parameters)
    assert max(mine.difference, other.difference) < 1e-8
    assert max(mine.by_tensor.values()) < 1e-7
    assert other.agrees
    assert not module.training
    assert np.array_equal(unload_running(module).theta, averages)


def test_dropout_is_refused(rng):
    """A network that drops units has no cost of its own; one that keeps them all is checked."""
    for keep_probs in ((1.0, 1.0), (1.0, 0.8)):
        parameters, X, Y, network = draw(rng, sizes=(4, 5, 6, 3), keep_probs=keep_probs)
        sides = (
            (ours, (parameters, X, Y, network)),
            (theirs, (twin(network, parameters), rows(X), rows(Y))),
        )
        for side, arguments in sides:
            if min(keep_probs) == 1:
                assert side.check_network(*arguments).difference < 1e-9
                continue
            with pytest.raises(ValueError, match=r"every keep_prob 1, got keep_probs \(1.0, 0.8\)"):
                side.check_network(*arguments)


def test_scipy_differentiates_to_the_same_gradient(rng):
    """One-sided differences of all entries, those of eighth order of some, check_grad's norm."""
    parameters, X, Y, network = draw(rng)
    cost = our_cost(X, Y, network, **PENALTIES)
    _, gradients = cost_and_gradients(parameters, X, Y, network, **PENALTIES)

    def at(theta):
        return cost(from_vector(theta, parameters))

    one_sided = ours.numerical_gradient(cost, parameters, epsilon=1e-7, two_sided=False).theta
    third = scipy.optimize.approx_fprime(parameters.theta, at, 1e-7)
    assert_close(one_sided, third, "one-sided", budget=GRADIENT, gauge=cost(parameters) / 1e-7)
    found = ours.numerical_gradient(cost, parameters).theta
    for i, e in enumerate(np.eye(parameters.theta.size)):
        if i % 9 == 0:
            along = np.vectorize(lambda step, e=e: at(parameters.theta + step * e))
            third = scipy.differentiate.derivative(along, 0.0, initial_step=0.05)
            assert abs(found[i] - third.df) < 1e-9
    assert scipy.optimize.check_grad(at, lambda theta: gradients.theta, parameters.theta) < 1e-6
    gradients["b1"] *= 1.01
    assert scipy.optimize.check_grad(at, lambda theta: gradients.theta, parameters.theta) > 1e-5


@pytest.mark.parity("relative_error")
@pytest.mark.seeds(20)
def test_relative_error(dtype, rng):
    """The quotient of norms agrees, is symmetric and does not depend on the unit."""
    a, g = rng.standard_normal((2, 30)).astype(dtype)
    error = ours.relative_error(a, g)
    pair = torch.from_numpy(a), torch.from_numpy(g)
    assert_close(dtype(error), dtype(theirs.relative_error(*pair)), "relative error")
    assert_close(
        dtype(error),
        dtype(scipy.linalg.norm(a - g) / (scipy.linalg.norm(a) + scipy.linalg.norm(g))),
        "SciPy's",
    )
    assert error == ours.relative_error(g, a) == ours.relative_error(4 * a, 4 * g)


def test_relative_error_at_its_ends():
    """0 for equals and two zeros, 1 for opposites and one zero, at any size of the numbers."""
    a = np.array([3.0, -4.0])
    for size in (1e-320, 1e-200, 1.0, 1e200, 2e307):
        assert ours.relative_error(size * a, size * a) == 0
        assert ours.relative_error(size * a, -size * a) == pytest.approx(1, abs=1e-15)
        assert ours.relative_error(size * a, 0 * a) == 1
        assert ours.relative_error(size * a, 2 * (size * a)) == pytest.approx(1 / 3, abs=1e-15)
        pair = torch.from_numpy(size * a), torch.from_numpy(2 * (size * a))
        assert theirs.relative_error(*pair) == pytest.approx(1 / 3, abs=1e-15)
    for zero in (np.zeros(2), -np.zeros(2)):
        assert ours.relative_error(zero, zero) == 0
        assert theirs.relative_error(torch.from_numpy(zero), torch.from_numpy(zero)) == 0


def scaled(name, factor):
    """Return a mistake: one tensor times a factor."""
    return lambda gradients, parameters, m: gradients[name].__imul__(factor)


def one_entry(gradients, parameters, m):
    """Get one entry of W2 wrong by a tenth of the largest."""
    gradients["W2"][1, 2] += 0.1 * np.abs(gradients["W2"]).max()


def missing_m(gradients, parameters, m):
    """Forget the 1/m."""
    gradients.theta[:] *= m


def decayed_biases(gradients, parameters, m):
    """Penalize the biases as well."""
    for name in ("b1", "b2"):
        gradients[name] += PENALTIES["l2"] / m * parameters[name]


def zeros(gradients, parameters, m):
    """Let the backward return nothing."""
    gradients.theta[:] = 0


#: a mistake, the tensors it touches, and the relative error of all where it is known.
WRONG = {
    "a weight scaled by 1.01": (scaled("W1", 1.01), {"W1"}, None),
    "a bias scaled by 1.01": (scaled("b2", 1.01), {"b2"}, None),
    "a sign flipped": (scaled("b1", -1), {"b1"}, None),
    "one entry": (one_entry, {"W2"}, None),
    "1/m forgotten": (missing_m, {"W1", "b1", "W2", "b2"}, 19 / 21),
    "L2 on the biases": (decayed_biases, {"b1", "b2"}, None),
    "zeros": (zeros, {"W1", "b1", "W2", "b2"}, 1.0),
}


@pytest.mark.parity("gradient_check")
@pytest.mark.seeds(2)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_gradients_are_caught(wrong, rng):
    """Errors agree on both sides, gradcheck refuses, and the tensors at fault are named."""
    parameters, X, Y, network = draw(rng)
    mistake, touched, known = WRONG[wrong]
    _, gradients = cost_and_gradients(parameters, X, Y, network, l2=PENALTIES["l2"])
    mistake(gradients, parameters, X.shape[1])
    cost, tensors = their_cost(parameters, X, Y, network, l2=PENALTIES["l2"])
    claims = {name: to_torch(name, view) for name, view in gradients.items()}
    J = our_cost(X, Y, network, l2=PENALTIES["l2"])
    mine = ours.gradient_check(J, parameters, gradients)
    other = theirs.gradient_check(cost, tensors, claims)
    assert not other.agrees

    def lost(approximation, gradient):
        """Return what the costs round off, over the step and the norms."""
        norms = np.linalg.norm(approximation) + np.linalg.norm(gradient)
        return J(parameters) / ours._default_step(X.dtype, True) / norms

    assert_close(
        np.float64(mine.difference),
        np.float64(other.difference),
        "difference",
        budget=GRADIENT,
        gauge=lost(mine.approximation.theta, gradients.theta),
    )
    if known:
        assert mine.difference == pytest.approx(known, abs=1e-9)
    for name in parameters:
        reference = to_numpy(name, other.errors[name])
        if name in touched:
            gauge = lost(mine.approximation[name], gradients[name])
            assert_close(mine.errors[name], reference, name, budget=GRADIENT, gauge=gauge)
        assert (mine.by_tensor[name] > 1e-3) == (name in touched) == (other.by_tensor[name] > 1e-3)
    assert mine.culprit[0] in touched
    if wrong == "one entry":
        assert mine.culprit == other.culprit == ("W2", (1, 2))


def test_the_whole_hides_a_wrong_bias(rng):
    """Biases wrong by 1 % leave the relative error of all below 1e-4; by tensor it is 5e-3."""

    def unnormalized():  # dW is many times db
        parameters, X, Y, network = draw(rng, output="sigmoid", sizes=(20, 3, 1))
        parameters["W1"] /= 100
        X = 50 + 50 * X
        _, gradients = cost_and_gradients(parameters, X, Y, network)
        return parameters, X, Y, network, gradients

    def proves(*drawn):
        gradients = drawn[-1]
        biases = np.hypot(*(np.linalg.norm(gradients[name]) for name in ("b1", "b2")))
        return biases < 0.015 * np.linalg.norm(gradients.theta)

    parameters, X, Y, network, gradients = draw_until(proves, unnormalized)
    gradients["b1"] *= 1.01
    gradients["b2"] *= 1.01
    found = ours.gradient_check(our_cost(X, Y, network), parameters, gradients)
    assert found.difference < 1e-4
    assert found.by_tensor["W1"] < 1e-6
    assert found.by_tensor["b1"] == pytest.approx(0.01 / 2.01, rel=1e-3)
    assert found.by_tensor["b2"] == pytest.approx(0.01 / 2.01, rel=1e-3)
    assert found.culprit[0] in ("b1", "b2")


def test_errors_add_up(rng):
    """The squares of a tensor's errors sum to its own squared; a tensor of zeros has none."""
    parameters, X, Y, network = draw(rng)
    X[2] = 0
    gradients = cost_and_gradients(parameters, X, Y, network)[1]
    gradients.theta[:] *= rng.uniform(0.5, 1.5, gradients.theta.size)
    found = ours.gradient_check(our_cost(X, Y, network), parameters, gradients)
    for name, error in found.by_tensor.items():
        pair = found.approximation[name].ravel(), gradients[name].ravel()
        assert_close(np.float64(error), np.float64(ours.relative_error(*pair)), name)
        assert_close(np.sqrt(np.square(found.errors[name]).sum()), np.float64(error), name)
    assert not found.errors["W1"][:, 2].any()
    flat = ours.gradient_check(lambda one: 1.0, parameters, parameters.zeros_like())
    assert flat.difference == 0 == max(flat.by_tensor.values())


def errors_by_step(dtype, two_sided, steps):
    """Return the relative error of right gradients for each step, the median of three networks."""
    table = []
    for seed in range(3):
        parameters, X, Y, network = draw(np.random.default_rng(seed), dtype=dtype)
        gradients = cost_and_gradients(parameters, X, Y, network)[1]
        cost = our_cost(X, Y, network)
        choices = [{"epsilon": one, "two_sided": two_sided} for one in steps]
        checks = [ours.gradient_check(cost, parameters, gradients, **one) for one in choices]
        table.append([one.difference for one in checks])
    return np.median(table, axis=0)


def test_the_default_step_is_measured():
    """From 1e-2 to 1e-10 truncation falls and round-off rises; the defaults stand between.

    Two-sided, 1e-5 gives about 1e-10 and the 1e-7 of the lecture about 1e-8; one-sided nothing
    gives better than 1e-9.
    """
    powers = range(2, 11)
    steps = [10.0**-k for k in powers]
    two = dict(zip(powers, errors_by_step(np.float64, True, steps), strict=True))
    one = dict(zip(powers, errors_by_step(np.float64, False, steps), strict=True))
    assert 80 < two[2] / two[3] < 120  # truncation of second order
    assert 8 < one[2] / one[3] < 12  # of first order
    assert min(two, key=two.get) == 5
    assert 1e-11 < two[5] < 5e-10
    assert 1e-9 < two[7] < 5e-8
    assert two[5] < two[6] < two[7] < two[8] < two[9] < two[10]  # round-off
    assert min(one, key=one.get) in (7, 8)
    assert min(one.values()) > 50 * min(two.values())


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_default_step_suits_every_precision(dtype, two_sided):
    """No step ten times larger or smaller, or a hundred, does more than three times better."""
    default = ours._default_step(np.dtype(dtype), two_sided)
    steps = [None, *(default * 10.0**k for k in (-2, -1, 1, 2))]
    measured, *others = errors_by_step(dtype, two_sided, steps)
    assert measured < 3 * min(others)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_default_step_is_a_root_of_eps(dtype):
    """eps^(1/3), 6e-6 in float64, and eps^(1/2) from one side, whether or not it is asked for."""
    eps = float(np.finfo(dtype).eps)
    assert ours._default_step(np.dtype(dtype), True) ** 3 == pytest.approx(eps, rel=1e-6, abs=0)
    assert ours._default_step(np.dtype(dtype), False) ** 2 == pytest.approx(eps, rel=1e-6, abs=0)
    parameters = Parameters({"W1": np.full((1, 1), 1.5, dtype)})
    for two_sided in (True, False):
        visited = []

        def cost(one, visited=visited):
            visited.append(one.theta[0])
            return 1.0

        ours.numerical_gradient(cost, parameters, two_sided=two_sided)
        step = ours._default_step(np.dtype(dtype), two_sided)
        assert max(visited) == parameters.theta[0] + step
        assert min(visited) == parameters.theta[0] - (step if two_sided else 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_is_kept(dtype, rng):
    """float32 parameters have float32 differences, also where the cost is a Python number."""
    parameters, X, Y, network = draw(rng, dtype=dtype)
    check = ours.check_network(parameters, X, Y, network)
    assert check.approximation.theta.dtype == check.errors.theta.dtype == dtype
    found = ours.numerical_gradient(lambda one: float((one.theta**2).sum()), parameters)
    assert found.theta.dtype == dtype


def test_one_sided_checks_are_coarser(rng):
    """Both sides take the same one-sided quotients, a thousand times further from the gradient."""
    parameters, X, Y, network = draw(rng)
    gauge = our_cost(X, Y, network)(parameters) / 1e-6
    choices = {"epsilon": 1e-6, "two_sided": False}
    mine = ours.check_network(parameters, X, Y, network, **choices)
    other = theirs.check_network(twin(network, parameters), rows(X), rows(Y), **choices)
    for name, quotients in other.approximation.items():
        reference = to_numpy(name, quotients)
        assert_close(mine.approximation[name], reference, name, budget=GRADIENT, gauge=gauge)
    assert 1e-8 < mine.difference < 1e-5
    assert other.agrees


def test_the_step_is_the_one_taken():
    """Beside 1e6 a step of 6e-6 is rounded to one of 6.05e-6: the quotient knows, on both sides."""
    far = Parameters({"b1": np.array([[1e6]])})
    for two_sided in (True, False):
        slope = ours.numerical_gradient(lambda one: one.theta[0] - 1e6, far, two_sided=two_sided)
        assert slope.theta[0] == 1
        slope = theirs.numerical_gradient(
            lambda one: one["b1"].sum() - 1e6,
            {"b1": torch.tensor([1e6], dtype=torch.float64)},
            two_sided=two_sided,
        )
        assert slope["b1"].item() == 1


@pytest.mark.parametrize(
    ("here", "step"), [(1e308, 1e300), (-1e308, 1e300), (1.0, 1.0), (0.0, 1.0)]
)
def test_a_step_may_be_as_large_as_the_parameter(here, step):
    """Only the step itself has to be finite: not the product or the sum of the two points."""
    parameters = Parameters({"W1": np.full((1, 1), here)})
    for two_sided in (True, False):
        slope = ours.numerical_gradient(
            lambda one: one.theta[0] / step, parameters, epsilon=step, two_sided=two_sided
        )
        assert slope.theta[0] == pytest.approx(1 / step, rel=1e-14)


def test_a_float64_step_is_rounded_to_float32():
    """A step that is a NumPy scalar is taken as Python's own number would be."""
    narrow = Parameters({"b1": np.full((1, 1), 1.1, np.float32)})
    for epsilon in (1e-3, np.float64(1e-3)):
        slope = ours.numerical_gradient(lambda one: one.theta.sum(), narrow, epsilon=epsilon)
        assert slope.theta[0] == 1


def test_torch_judges_gradients_in_any_order(rng):
    """Gradients are matched by name: another order of the dictionary changes no verdict."""
    values = {"b": torch.tensor([1.0, 2.0]).double(), "a": torch.tensor([3.0]).double()}
    gradients = {"a": torch.tensor([6.0]).double(), "b": torch.tensor([2.0, 4.0]).double()}
    found = theirs.gradient_check(
        lambda one: one["a"].square().sum() + one["b"].square().sum(), values, gradients
    )
    assert found.agrees
    assert found.difference < 1e-9


@pytest.mark.parametrize("where", ["near", "at", "far"])
@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_a_kink_within_a_step_is_told(hidden, where, rng):
    """A rectified Z of 1e-6 warns on both sides, with smaller steps not, nor does one of 1e-3."""

    def place():
        parameters, X, Y, network = draw(rng, hidden, m=3)
        Z = parameters["W1"] @ X + parameters["b1"]
        parameters["b1"][1] += {"near": 1e-6, "at": 0.0, "far": 1e-3}[where] - Z[1, 2]
        if where == "at":  # no rounding: every input of the unit is 0
            X[:, 2], parameters["b1"][1] = 0.0, 0.0
        return parameters, X, Y, network

    def proves(parameters, X, Y, network):
        """Whatever weight of the unit moves leads across, its bias alone where all inputs are 0.

        Much hangs on the unit: switched on, it changes the gradient by more than a hundredth.
        """
        switched_on = parameters.copy()
        switched_on["b1"][1] += 1e-3
        _, alone = cost_and_gradients(switched_on, X[:, 2:], Y[:, 2:], network)
        _, every = cost_and_gradients(parameters, X, Y, network)
        changed = np.abs(alone["b1"][1]) / X.shape[1]
        heavy = changed > 1e-2 * np.linalg.norm(every.theta)
        return heavy and (where == "at" or np.abs(X[:, 2]).min() > 0.3)

    parameters, X, Y, network = draw_until(proves, place)
    sides = (
        (ours, (parameters, X, Y, network), r"W1\[1, 0\]|b1\[1, 0\] first"),
        (theirs, (twin(network, parameters), rows(X), rows(Y)), "steps led the input"),
    )
    for side, arguments, message in sides:
        if where == "far":
            assert side.check_network(*arguments).difference < 1e-8
            continue
        with pytest.warns(side.KinkWarning, match=message) as told:
            found = side.check_network(*arguments)
        assert told[0].filename == __file__  # the line that called is the one to look at
        assert found.difference > 1e-4
        assert found.culprit[0] in ("W1", "b1")
        if where == "near":  # a smaller step stays on its side
            assert side.check_network(*arguments, epsilon=1e-8).difference < 1e-6


def test_a_weight_near_0_is_told_under_l1_alone(rng):
    """|w| has a kink at 0, and only the weights do; biases at 0 and weights without L1 are fine."""
    parameters, X, Y, network = draw(rng)
    parameters["W2"][1, 3], parameters["b1"][0] = 1e-7, 0.0
    sides = (
        (ours, (parameters, X, Y, network), r"1 of 43 parameters, W2\[1, 3\] first"),
        (theirs, (twin(network, parameters), rows(X), rows(Y)), "2 steps led|4 steps led"),
    )
    for side, arguments, message in sides:
        assert side.check_network(*arguments, l2=0.5).difference < 1e-8
        with pytest.warns(side.KinkWarning, match=message):
            found = side.check_network(*arguments, l1=0.5)
        assert found.culprit == ("W2", (1, 3))


@pytest.mark.parametrize("sign", [1, -1])
def test_every_step_across_a_kink_is_counted(sign):
    """Steps of either direction count, one parameter once; the first three of them are named."""
    network = Network(layer_sizes=(4, 1, 1), hidden="relu", output="sigmoid")
    values = {"W1": np.zeros((1, 4)), "b1": np.full((1, 1), sign * 1e-6)}
    parameters = Parameters({**values, "W2": np.ones((1, 1)), "b2": np.ones((1, 1))})
    X, Y = np.array([[1.0], [-1.0], [2.0], [0.0]]), np.ones((1, 1))
    with pytest.warns(ours.KinkWarning) as told:
        ours.check_network(parameters, X, Y, network, epsilon=1e-5)
    assert str(told[0].message) == (
        "a step of 1.0e-05 in 4 of 7 parameters, W1[0, 0], W1[0, 1], W1[0, 2] first, leads a "
        "rectified Z or a weight under L1 across 0: the differences there are no derivatives"
    )
    for two_sided, count in ((True, 4), (False, 3 if sign < 0 else 1)):
        with pytest.warns(ours.KinkWarning, match=f" in {count} of 7 parameters"):
            ours.check_network(parameters, X, Y, network, epsilon=1e-5, two_sided=two_sided)


def test_a_cost_that_falls_or_rises_between_two_looks_is_refused():
    """Whichever of two values at one point is the larger; a constant has one value."""
    for values in ([1.0, 2.0], [2.0, 1.0]):
        looks = iter(values)
        with pytest.raises(ValueError, match="got two values at one"):
            ours.numerical_gradient(lambda one, looks=looks: next(looks), PARAMETERS)
    fresh = ours.numerical_gradient(lambda one: np.float64("2.0"), PARAMETERS)
    assert not fresh.theta.any()


def test_gradients_lie_as_the_parameters_do():
    """Other names or shapes are refused even where there are as many numbers, as other dtypes."""
    for layout in ({"W1": (3, 2), "b1": (2, 1)}, {"W1": (2, 2), "b1": (4, 1)}, {"A1": (8,)}):
        other = Parameters.empty(layout)
        with pytest.raises(ValueError, match="expected gradients like") as refusal:
            ours.gradient_check(lambda one: 1.0, PARAMETERS, other)
        assert str(refusal.value) == f"expected gradients like {PARAMETERS}, got {other}"
    narrow = Parameters({name: one.astype("f4") for name, one in PARAMETERS.items()})
    for parameters, other in ((PARAMETERS, narrow), (narrow, PARAMETERS)):
        with pytest.raises(TypeError, match="expected gradients of dtype") as refusal:
            ours.gradient_check(lambda one: 1.0, parameters, other)
        dtype = parameters.theta.dtype
        assert str(refusal.value) == f"expected gradients of dtype {dtype}, got {other}"
    read = pickle.loads(pickle.dumps(PARAMETERS.zeros_like()))
    assert read.theta.dtype is not PARAMETERS.theta.dtype  # and yet the same
    assert ours.gradient_check(lambda one: 1.0, PARAMETERS, read).difference == 0


def noise(one):
    """Return another number at each call, as a cost with dropout does."""
    return RNG.standard_normal()


REFUSED = {
    "two values at one point": ({"cost": noise}, ValueError, "got two values"),
    "a vector": ({"cost": lambda one: np.ones(1)}, ValueError, "to return a scalar"),
    "infinity": ({"cost": lambda one: np.inf}, ValueError, "a finite number, got inf"),
    "no number": ({"cost": lambda one: "J"}, TypeError, "to return a real number, got str"),
    "a truth": ({"cost": lambda one: True}, TypeError, "to return a real number, got bool"),
    "a step lost in theta": ({"epsilon": 1e-20}, ValueError, "expected epsilon to move"),
    "a step beyond all numbers": ({"epsilon": 1e308}, ValueError, "expected"),
    "gradients of another network": (
        {"gradients": Parameters({"W1": np.ones((2, 2))})},
        ValueError,
        "expected gradients",
    ),
    "gradients of another precision": (
        {"gradients": initialize((3, 2), "he", np.random.default_rng(0), np.float32)},
        TypeError,
        "expected gradients of dtype float64",
    ),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_what_cannot_be_checked_is_refused(refused):
    """Costs that are no function, steps that do not move, gradients of something else."""
    change, error, message = REFUSED[refused]
    path = "scratch.gradient_checking.gradient_check"
    with pytest.raises(error, match=message), np.errstate(over="ignore"):
        ours.gradient_check(**{**EXAMPLES[path], **change})


THEIRS_REFUSED = {
    "two values at one point": ({"cost": lambda one: torch.rand(())}, ValueError, "two values"),
    "a vector": ({"cost": lambda one: one["b1"]}, ValueError, "a finite scalar"),
    "no tensor": ({"cost": lambda one: 1.0}, TypeError, "to return a tensor"),
    "infinity": ({"cost": lambda one: torch.tensor(torch.inf)}, ValueError, "a finite scalar"),
    "a step lost in theta": ({"epsilon": 1e-20}, ValueError, "expected epsilon to move"),
    "gradients of another network": ({"gradients": {"W1": ONE}}, ValueError, "of shapes"),
    "gradients without names": ({"gradients": {}}, ValueError, "at least one name"),
    "NaN": ({"gradients": {"W1": np.nan * ONE}}, ValueError, "to be finite"),
    "float32": ({"parameters": {"W1": ONE.float()}}, TypeError, "float64 tensors"),
}


@pytest.mark.parametrize("refused", THEIRS_REFUSED)
def test_torch_refuses_the_same(refused):
    """The refusals of the other side."""
    change, error, message = THEIRS_REFUSED[refused]
    path = "torch_ref.gradient_checking.gradient_check"
    with pytest.raises(error, match=message):
        theirs.gradient_check(**{**EXAMPLES[path], **change})


def test_gradients_are_finite():
    """A NaN among the gradients is no large error, it is refused."""
    gradients = PARAMETERS.copy()
    gradients["b1"][0] = np.nan
    with pytest.raises(ValueError, match="expected gradients to be finite"):
        ours.gradient_check(lambda one: 1.0, PARAMETERS, gradients)
