"""Gradient checking beside its rows: the step that suits it, kinks, and refusals."""

from functools import partial

import numpy as np
import pytest
import scipy.optimize
import torch

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import rows, twin
from parity_tests.compare.witnesses import cast
from parity_tests.tests.stems.common import refused
from parity_tests.twins.gradient_checking import draw_smooth, tensors
from scratch import gradient_checking as ours
from scratch.network import Network, cost_and_gradients
from scratch.parameters import Parameters, from_vector
from torch_ref import gradient_checking as theirs

PARAMETERS = Parameters({"W1": np.arange(1.0, 7.0).reshape(2, 3), "b1": np.ones((2, 1))})
ONE_OR_TWO = pytest.mark.parametrize("two_sided", [True, False])


def checks(parameters, X, Y, network):
    module = twin(network, parameters)
    mine = partial(ours.check_network, parameters, X, Y, network)
    return mine, partial(theirs.check_network, module, rows(X), rows(Y))


def test_dropout_is_refused(rng):
    draw = partial(draw_smooth, rng, sizes=(4, 5, 6, 3))
    for check in checks(*draw(keep_probs=(1.0, 0.8))):
        refused(r"every keep_prob 1, got keep_probs \(1.0, 0.8\)", check)
    for check in checks(*draw(keep_probs=(1.0, 1.0))):
        assert check().difference < 1e-9


def slope_at(here, cost, dtype=np.float64, **choices):
    parameters = Parameters({"W1": np.full((1, 1), here, dtype)})
    return ours.numerical_gradient(lambda one: cost(one.theta[0]), parameters, **choices).theta


@ONE_OR_TWO
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_default_step(dtype, two_sided):
    """It is eps^(1/3), or eps^(1/2) from one side."""
    default, visited = float(np.finfo(dtype).eps) ** (1 / 3 if two_sided else 1 / 2), []
    slope_at(1.5, lambda theta: visited.append(theta) or 1.0, dtype, two_sided=two_sided)
    assert max(visited) - 1.5 == pytest.approx(default, rel=1e-3)
    assert 1.5 - min(visited) == pytest.approx(default if two_sided else 0, rel=1e-3)


@ONE_OR_TWO
def test_the_step_is_the_one_taken(two_sided):
    """Beside 1e6 a step of 6e-6 is rounded; it may be as large as the parameter, or narrower."""
    far = Parameters({"b1": np.array([[1e6]])})
    for side, values in ((ours, far), (theirs, tensors(far))):
        cost = lambda one: one["b1"].sum() - 1e6  # noqa: E731
        assert side.numerical_gradient(cost, values, two_sided=two_sided)["b1"].item() == 1
    for here, step in ((1e308, 1e300), (-1e308, 1e300), (1.0, 1.0), (0.0, 1.0)):
        slope = slope_at(here, lambda theta, h=step: theta / h, epsilon=step, two_sided=two_sided)
        assert slope == pytest.approx(1 / step, rel=1e-14)
    choices = {"epsilon": np.float64(1e-3), "two_sided": two_sided}
    slope = slope_at(1.1, lambda theta: theta, np.float32, **choices)
    assert (slope, slope.dtype) == (1, np.float32)


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
    drawn = parameters, X, Y, network
    for side, check, words in zip((ours, theirs), checks(*drawn), messages, strict=True):
        if where == "far":
            assert check().difference < 1e-8
            continue
        with pytest.warns(side.KinkWarning, match=words) as told:
            found = check()
        assert told[0].filename == __file__  # the line that called is the one to look at
        assert found.difference > 1e-4
        assert found.culprit[0] in ("W1", "b1")
        if where == "near":  # a smaller step stays on its side
            assert check(epsilon=1e-8).difference < 1e-6


def test_a_weight_near_0_is_told_under_l1_alone(rng):
    """|w| has a kink at 0, and only the weights do; biases at 0 and weights without L1 are fine."""
    drawn = draw_smooth(rng)
    drawn[0]["W2"][1, 3], drawn[0]["b1"][0] = 1e-7, 0.0
    messages = r"1 of 43 parameters, W2\[1, 3\] first", "2 steps led|4 steps led"
    for side, check, words in zip((ours, theirs), checks(*drawn), messages, strict=True):
        assert check(l2=0.5).difference < 1e-8
        with pytest.warns(side.KinkWarning, match=words):
            assert check(l1=0.5).culprit == ("W2", (1, 3))


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


ONE = torch.ones(1, 1, dtype=torch.float64)
TURNED, POISONED = Parameters({"W1": np.ones((3, 2)), "b1": np.ones((2, 1))}), PARAMETERS.copy()
POISONED["b1"][0] = np.nan

# fmt: off
#: a false argument of a check, and words of its refusal; a cost gives one value after the other.
REFUSED = (
    (ours, "cost", (1.0, 2.0), "two values"), (ours, "cost", (2.0, 1.0), "two values"),
    (ours, "cost", (np.ones(1),), "a scalar"), (ours, "cost", (np.inf,), "finite number, got inf"),
    (ours, "cost", ("J",), "real number, got str"), (ours, "cost", (True,), "number, got bool"),
    (ours, "epsilon", 1e-20, "epsilon to move"), (ours, "epsilon", 1e308, ""),
    (ours, "gradients", TURNED, "gradients like"), (ours, "gradients", POISONED, "to be finite"),
    (ours, "gradients", cast(PARAMETERS, np.float32), "gradients of dtype float64"),
    (ours, "gradients", cast(PARAMETERS, np.longdouble), "gradients of dtype float64"),
    (theirs, "cost", (ONE[0, 0], 2 * ONE[0, 0]), "two values"), (theirs, "cost", (1.0,), "tensor"),
    (theirs, "cost", (ONE,), "finite scalar"), (theirs, "cost", (torch.inf * ONE[0, 0],), "finite"),
    (theirs, "epsilon", 1e-20, "epsilon to move"), (theirs, "gradients", {}, "at least one name"),
    (theirs, "gradients", {"W1": ONE}, "of shapes"),
    (theirs, "gradients", {"W1": np.nan * ONE}, "to be finite"),
    (theirs, "parameters", {"W1": ONE.float()}, "float64 tensors"),
)
# fmt: on


@pytest.mark.parametrize(("side", "name", "false", "words"), REFUSED)
def test_false_arguments_are_refused(side, name, false, words):
    values = PARAMETERS if side is ours else tensors(PARAMETERS)
    given = {"cost": lambda one: 0.0 * one["b1"].sum() + 2.0, "epsilon": 1e-5}
    given |= {"parameters": values, "gradients": values, name: false}
    if name == "cost":
        looks = iter(false)
        given["cost"] = lambda one: next(looks)
    with np.errstate(over="ignore"):
        refused(words, side.gradient_check, **given)


@pytest.mark.parity("numerical_gradient")
def test_scipy_takes_the_same_quotients(rng):
    parameters, *rest = draw_smooth(rng)

    def cost(moved):
        return cost_and_gradients(moved, *rest, l1=0.3, l2=0.7)[0]

    mine = ours.numerical_gradient(cost, parameters, epsilon=1e-7, two_sided=False).theta
    third = scipy.optimize.approx_fprime(
        parameters.theta, lambda theta: cost(from_vector(theta, parameters)), 1e-7
    )
    assert_close(mine, third, "one-sided", budget=GRADIENT, gauge=cost(parameters) / 1e-7)


def test_the_best_step_is_measured():
    """Truncation is of second order, or of first from one side, where nothing beats 1e-9."""
    drawn = [draw_smooth(np.random.default_rng(seed), sizes=(3, 4, 3), m=10) for seed in range(3)]
    two, one = (
        np.median([
            [ours.check_network(*network, epsilon=10.0**power, two_sided=both).difference
             for power in range(-2, -10, -1)]
            for network in drawn
        ], axis=0)
        for both in (True, False)
    )  # fmt: skip
    assert 80 < two[0] / two[1] < 120
    assert 8 < one[0] / one[1] < 12
    assert two.argmin() == 3
    assert 1e-11 < two[3] < 5e-10 < 1e-9 < two[5] < 5e-8
    assert (np.diff(two[3:]) > 0).all()  # round-off
    assert one.min() > 50 * two.min()


def test_zeros_are_right_where_nothing_depends_on_the_parameters():
    """Torch's gradients may come in any order."""
    values = tensors(PARAMETERS)
    for side, given in ((ours, PARAMETERS), (theirs, values)):
        zeros = {name: 0 * one for name, one in given.items()}
        zeros = Parameters(zeros) if side is ours else zeros
        flat = side.gradient_check(lambda one: 0 * one["b1"].sum() + 1.0, given, zeros)
        assert flat.difference == 0 == max(flat.by_tensor.values())
    turned = {name: 2 * values[name] for name in ("b1", "W1")}
    squares = lambda one: sum((v**2).sum() for v in one.values())  # noqa: E731
    found = theirs.gradient_check(squares, values, turned)
    assert (found.agrees, found.difference < 1e-9) == (True, True)
