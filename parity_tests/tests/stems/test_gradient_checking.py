"""Gradient checking beside its rows: the step that suits it, kinks, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import rows, twin
from parity_tests.twins._checked_networks import draw_smooth, tensors
from scratch import gradient_checking as ours
from scratch.network import Network, cost_and_gradients
from scratch.parameters import Parameters, from_vector
from torch_ref import gradient_checking as theirs

PARAMETERS = Parameters({"W1": np.arange(1.0, 7.0).reshape(2, 3), "b1": np.ones((2, 1))})


def both_sides(parameters, X, Y, network):
    module = twin(network, parameters)
    return (ours, (parameters, X, Y, network)), (theirs, (module, rows(X), rows(Y)))


def test_dropout_is_refused(rng):
    """A network that drops units has no cost of its own; one that keeps them all is checked."""
    for keep_probs in ((1.0, 1.0), (1.0, 0.8)):
        drawn = draw_smooth(rng, sizes=(4, 5, 6, 3), keep_probs=keep_probs)
        for side, arguments in both_sides(*drawn):
            if min(keep_probs) == 1:
                assert side.check_network(*arguments).difference < 1e-9
                continue
            with pytest.raises(ValueError, match=r"every keep_prob 1, got keep_probs \(1.0, 0.8\)"):
                side.check_network(*arguments)


def test_torch_judges_gradients_in_any_order():
    values = tensors(PARAMETERS)
    gradients = {name: 2 * values[name] for name in ("b1", "W1")}
    found = theirs.gradient_check(
        lambda one: one["W1"].square().sum() + one["b1"].square().sum(), values, gradients
    )
    assert found.agrees
    assert found.difference < 1e-9


# --- the step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_default_step(dtype, two_sided):
    """It is eps^(1/3), or eps^(1/2) from one side."""
    default = float(np.finfo(dtype).eps) ** (1 / 3 if two_sided else 1 / 2)
    visited = []
    here = Parameters({"W1": np.full((1, 1), 1.5, dtype)})
    ours.numerical_gradient(
        lambda one: visited.append(one.theta[0]) or 1.0, here, two_sided=two_sided
    )
    assert max(visited) - 1.5 == pytest.approx(default, rel=1e-3)
    assert 1.5 - min(visited) == pytest.approx(default if two_sided else 0, rel=1e-3)


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_step_is_the_one_taken(two_sided):
    """Beside 1e6 a step of 6e-6 is rounded; it may be as large as the parameter, or narrower."""
    far = Parameters({"b1": np.array([[1e6]])})
    for side, values in ((ours, far), (theirs, tensors(far))):
        slope = side.numerical_gradient(
            lambda one: one["b1"].sum() - 1e6, values, two_sided=two_sided
        )
        assert slope["b1"].item() == 1
    for here, step in ((1e308, 1e300), (-1e308, 1e300), (1.0, 1.0), (0.0, 1.0)):
        slope = ours.numerical_gradient(
            lambda one, step=step: one.theta[0] / step,
            Parameters({"W1": np.full((1, 1), here)}),
            epsilon=step,
            two_sided=two_sided,
        )
        assert slope.theta[0] == pytest.approx(1 / step, rel=1e-14)
    narrow = Parameters({"b1": np.full((1, 1), 1.1, np.float32)})
    given = {"epsilon": np.float64(1e-3), "two_sided": two_sided}
    slope = ours.numerical_gradient(lambda one: one.theta.sum(), narrow, **given)
    assert slope.theta.tolist() == [1]
    assert slope.theta.dtype == np.float32


# --- kinks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["near", "at", "far"])
@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_a_kink_within_a_step_is_told(hidden, where):
    """A rectified Z of 1e-6 warns on both sides, with smaller steps not, nor does one of 1e-3."""
    parameters, X, Y, network = draw_smooth(np.random.default_rng(0), hidden, m=3)
    Z = parameters["W1"] @ X + parameters["b1"]
    parameters["b1"][1] += {"near": 1e-6, "at": 0.0, "far": 1e-3}[where] - Z[1, 2]
    if where == "at":  # no rounding: every input of the unit is 0
        X[:, 2], parameters["b1"][1] = 0.0, 0.0
    messages = r"W1\[1, 0\]|b1\[1, 0\] first", "steps led the input"
    sides = both_sides(parameters, X, Y, network)
    for (side, arguments), message in zip(sides, messages, strict=True):
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
    parameters, X, Y, network = draw_smooth(rng)
    parameters["W2"][1, 3], parameters["b1"][0] = 1e-7, 0.0
    messages = r"1 of 43 parameters, W2\[1, 3\] first", "2 steps led|4 steps led"
    sides = both_sides(parameters, X, Y, network)
    for (side, arguments), message in zip(sides, messages, strict=True):
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
    first = r" in 4 of 7 parameters, W1\[0, 0\], W1\[0, 1\], W1\[0, 2\] first"
    for two_sided, told in ((True, first), (False, f" in {3 if sign < 0 else 1} of 7 parameters")):
        with pytest.warns(ours.KinkWarning, match=told):
            ours.check_network(parameters, X, Y, network, epsilon=1e-5, two_sided=two_sided)


# --- refusals -------------------------------------------------------------------------------------


def falling(*values):
    """Return a cost that gives one value after the other, whatever the parameters."""
    looks = iter(values)
    return lambda one: next(looks)


ONE = torch.ones(1, 1, dtype=torch.float64)
NARROW = Parameters({name: one.astype("f4") for name, one in PARAMETERS.items()})
TURNED = Parameters({"W1": np.ones((3, 2)), "b1": np.ones((2, 1))})
POISONED = Parameters({"W1": PARAMETERS["W1"], "b1": PARAMETERS["b1"]})
POISONED["b1"][0] = np.nan

# fmt: off
#: a change of a right call, and the message, of ours and of torch's.
REFUSED = (
    (ours, {"cost": falling(1.0, 2.0)}, "got two values"),
    (ours, {"cost": falling(2.0, 1.0)}, "got two values"),
    (ours, {"cost": lambda one: np.ones(1)}, "to return a scalar"),
    (ours, {"cost": lambda one: np.inf}, "a finite number, got inf"),
    (ours, {"cost": lambda one: "J"}, "to return a real number, got str"),
    (ours, {"cost": lambda one: True}, "to return a real number, got bool"),
    (ours, {"epsilon": 1e-20}, "expected epsilon to move"),
    (ours, {"epsilon": 1e308}, "expected"),
    (ours, {"gradients": TURNED}, "expected gradients like"),
    (ours, {"gradients": NARROW}, "expected gradients of dtype float64"),
    (ours, {"gradients": POISONED}, "expected gradients to be finite"),
    (theirs, {"cost": falling(ONE[0, 0], 2 * ONE[0, 0])}, "two values"),
    (theirs, {"cost": lambda one: one["b1"]}, "a finite scalar"),
    (theirs, {"cost": lambda one: 1.0}, "to return a tensor"),
    (theirs, {"cost": lambda one: torch.tensor(torch.inf)}, "a finite scalar"),
    (theirs, {"epsilon": 1e-20}, "expected epsilon to move"),
    (theirs, {"gradients": {"W1": ONE}}, "of shapes"),
    (theirs, {"gradients": {}}, "at least one name"),
    (theirs, {"gradients": {"W1": np.nan * ONE}}, "to be finite"),
    (theirs, {"parameters": {"W1": ONE.float()}}, "float64 tensors"),
)
# fmt: on


def test_false_arguments_are_refused():
    """Costs that are no function, steps that do not move, gradients of something else."""
    for side, change, message in REFUSED:
        values = PARAMETERS if side is ours else tensors(PARAMETERS)
        given = {"cost": lambda one: 0.0 * one["b1"].sum() + 2.0, "epsilon": 1e-5}
        given |= {"parameters": values, "gradients": values}
        with (
            pytest.raises((TypeError, ValueError), match=message),
            np.errstate(over="ignore"),
        ):
            side.gradient_check(**{**given, **change})


PENALTIES = {"l1": 0.3, "l2": 0.7}


def our_cost(X, Y, network, **penalties):
    """Return our cost of a network as a function of parameters."""
    return lambda moved: cost_and_gradients(moved, X, Y, network, **penalties)[0]


@pytest.mark.parity("numerical_gradient")
def test_scipy_takes_the_same_quotients(rng):
    parameters, X, Y, network = draw_smooth(rng)
    cost = our_cost(X, Y, network, **PENALTIES)

    def at(theta):
        return cost(from_vector(theta, parameters))

    mine = ours.numerical_gradient(cost, parameters, epsilon=1e-7, two_sided=False).theta
    third = scipy.optimize.approx_fprime(parameters.theta, at, 1e-7)
    assert_close(mine, third, "one-sided", budget=GRADIENT, gauge=cost(parameters) / 1e-7)
    gradient = cost_and_gradients(parameters, X, Y, network, **PENALTIES)[1].theta
    assert scipy.optimize.check_grad(at, lambda theta: gradient, parameters.theta) < 1e-6


def test_the_whole_hides_a_wrong_bias():
    """Biases wrong by 1 % leave the relative error of all below 1e-4; by tensor it is 5e-3."""
    parameters, X, Y, network = draw_smooth(
        np.random.default_rng(0), output="sigmoid", sizes=(20, 3, 1)
    )
    parameters["W1"] /= 100
    X = 50 + 50 * X  # not normalized: dW is many times db
    gradients = cost_and_gradients(parameters, X, Y, network)[1]
    for name in ("b1", "b2"):
        gradients[name] *= 1.01
    found = ours.gradient_check(our_cost(X, Y, network), parameters, gradients)
    assert found.difference < 1e-4
    assert found.by_tensor["W1"] < 1e-6
    for name in ("b1", "b2"):
        assert found.by_tensor[name] == pytest.approx(0.01 / 2.01, rel=1e-3)
    assert found.culprit[0] in ("b1", "b2")


def errors_by_step(dtype, two_sided, steps):
    """Return the relative error of right gradients for each step, the median of three networks."""
    table = []
    for seed in range(3):
        drawn = draw_smooth(np.random.default_rng(seed), dtype=dtype, sizes=(3, 4, 3), m=10)
        gradients = cost_and_gradients(*drawn)[1]
        checks = (
            ours.gradient_check(
                our_cost(*drawn[1:]), drawn[0], gradients, epsilon=one, two_sided=two_sided
            )
            for one in steps
        )
        table.append([one.difference for one in checks])
    return np.median(table, axis=0)


def test_the_best_step_is_measured():
    """Two-sided, 1e-5 gives about 1e-10, and the 1e-7 often taught about 1e-8.

    Truncation is of second order, or of first: one-sided nothing gives better than 1e-9.
    """
    steps = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]
    two, one = (errors_by_step(np.float64, both, steps) for both in (True, False))
    assert 80 < two[0] / two[1] < 120
    assert 8 < one[0] / one[1] < 12
    assert two.argmin() == 3
    assert 1e-11 < two[3] < 5e-10 < 1e-9 < two[5] < 5e-8
    assert (np.diff(two[3:]) > 0).all()  # round-off
    assert one.min() > 50 * two.min()


@pytest.mark.parametrize("side", [ours, theirs])
def test_zeros_are_right_where_nothing_depends_on_the_parameters(side):
    values = PARAMETERS if side is ours else tensors(PARAMETERS)
    zeros = PARAMETERS.zeros_like() if side is ours else tensors(PARAMETERS.zeros_like())
    flat = side.gradient_check(lambda one: 0 * one["b1"].sum() + 1.0, values, zeros)
    assert flat.difference == 0 == max(flat.by_tensor.values())
