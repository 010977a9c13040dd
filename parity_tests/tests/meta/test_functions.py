"""The harness is tested with lies: each wrong implementation must be refused."""

from __future__ import annotations

import functools
import json
from typing import NamedTuple

import numpy as np
import pytest
import scipy.special
import torch

from parity_tests import (
    FORWARD,
    GRADIENT,
    STEP,
    Budget,
    assert_close,
    assert_parity,
    assert_same_trajectory,
    assert_switches,
    assert_twins,
    measure,
)
from parity_tests.compare.bridge import to_torch
from parity_tests.compare.budgets import FLOAT32_FLOOR, WIDE
from parity_tests.compare.functions import assert_no_worse, draw_until, switches
from parity_tests.compare.gauges import linear_gauges
from parity_tests.compare.ledger import LEDGER, Ledger
from parity_tests.compare.witnesses import Difference
from parity_tests.conftest import called_names
from parity_tests.tests.stems.test_optimizers import draw_parameters
from scratch.linear import linear_backward, linear_forward
from scratch.optimizers import Adam, AdamState, GradientDescent, Momentum, RMSprop
from torch_ref import optimizers as theirs
from torch_ref.linear import linear


@pytest.fixture(autouse=True)
def _forget_lies():
    """Keep comparisons that are meant to fail out of the report."""
    with LEDGER.unrecorded():
        yield


def honest_forward(x):
    """Return tanh(x) and the cache."""
    return np.tanh(x), np.tanh(x)


def honest_backward(d, a):
    """Pull d back through tanh."""
    return {"x": d * (1 - a**2)}


def modifying_forward(x):
    """Return tanh(x), but spoil x."""
    a = np.tanh(x)
    x *= 2
    return a, a


def modifying_backward(d, a):
    """Return the right gradient of a forward that reads what it later spoils."""
    return {"x": d * (1 - a**2)}


def poisoned(values):
    """Return a copy with one NaN in the middle."""
    values = np.copy(values)
    values.flat[values.size // 2] = np.nan
    return values


LIES = {
    "output scaled": (lambda x: (1.000001 * np.tanh(x), np.tanh(x)), honest_backward),
    "output off by a constant": (lambda x: (np.tanh(x) + 1e-12, np.tanh(x)), honest_backward),
    "output transposed": (
        lambda x: (np.tanh(x).T, np.tanh(x)),
        lambda d, a: honest_backward(d.T, a),
    ),
    "output a column short": (lambda x: (np.tanh(x)[:, 1:], np.tanh(x)), honest_backward),
    "output float32": (lambda x: (np.tanh(x).astype("f4"), np.tanh(x)), honest_backward),
    "output computed in float32": (
        lambda x: (np.tanh(x.astype("f4")).astype(x.dtype), np.tanh(x)),
        honest_backward,
    ),
    "output a list": (lambda x: (np.tanh(x).tolist(), np.tanh(x)), honest_backward),
    "output NaN at one entry": (lambda x: (poisoned(np.tanh(x)), np.tanh(x)), honest_backward),
    "upstream modified": (honest_forward, lambda d, a: {"x": np.multiply(d, 1 - a**2, out=d)}),
    "input modified": (modifying_forward, modifying_backward),
    "gradient scaled": (honest_forward, lambda d, a: {"x": 1.001 * d * (1 - a**2)}),
    "gradient sign-flipped": (honest_forward, lambda d, a: {"x": -d * (1 - a**2)}),
    "gradient zero": (honest_forward, lambda d, a: {"x": np.zeros_like(a)}),
    "gradient missing": (honest_forward, lambda d, a: {}),
    "gradient extra": (honest_forward, lambda d, a: {"x": d * (1 - a**2), "y": d}),
    "gradient misnamed": (honest_forward, lambda d, a: {"X": d * (1 - a**2)}),
    "gradient of wrong shape": (honest_forward, lambda d, a: {"x": (d * (1 - a**2)).ravel()}),
    "gradient a broadcast scalar": (honest_forward, lambda d, a: {"x": (d * (1 - a**2)).sum()}),
    "gradient broadcast along m": (
        honest_forward,
        lambda d, a: {"x": (d * (1 - a**2)).mean(axis=1, keepdims=True) + 0 * d},
    ),
    "gradient float32": (honest_forward, lambda d, a: {"x": (d * (1 - a**2)).astype("f4")}),
    "gradient computed in float32": (
        honest_forward,
        lambda d, a: {"x": (d.astype("f4") * (1 - a.astype("f4") ** 2)).astype(d.dtype)},
    ),
    "gradient NaN at one entry": (honest_forward, lambda d, a: {"x": poisoned(d * (1 - a**2))}),
    "gradient of the wrong function": (honest_forward, lambda d, a: {"x": d * a * (1 - a)}),
    "gradient ignores the upstream": (honest_forward, lambda d, a: {"x": 1 - a**2}),
    "1/m once too often": (honest_forward, lambda d, a: {"x": d * (1 - a**2) / a.shape[1]}),
    "two columns swapped": (honest_forward, lambda d, a: {"x": (d * (1 - a**2))[:, ::-1]}),
}


def draw(rng, dtype=np.float64):
    """Draw the input of the lies."""
    return {"x": rng.standard_normal((3, 4)).astype(dtype)}


def test_the_truth_passes(rng):
    """The pair that the lies are made of agrees with torch."""
    assert_twins(honest_forward, honest_backward, torch.tanh, draw(rng), rng)
    assert_twins(honest_forward, honest_backward, torch.tanh, draw(rng, np.float32), rng)


@pytest.mark.seeds(5)
@pytest.mark.parametrize("lie", LIES)
def test_lies_are_caught(lie, rng):
    """No wrong pair passes in float64."""
    with pytest.raises(AssertionError):
        assert_twins(*LIES[lie], torch.tanh, draw(rng), rng)


@pytest.mark.parametrize("lie", [lie for lie in LIES if "float32" not in lie])
def test_lies_are_caught_in_float32(lie, rng):
    """No wrong pair passes in float32, except an offset below its eps."""
    if lie == "output off by a constant":
        pytest.skip("1e-12 is below the eps of float32")
    with pytest.raises(AssertionError):
        assert_twins(*LIES[lie], torch.tanh, draw(rng, np.float32), rng)


COST_LIES = {
    "1/m forgotten": lambda d, cache: d * cache,
    "1/m twice": lambda d, cache: d * cache / cache.shape[1] ** 2,
    "upstream forgotten": lambda d, cache: cache / cache.shape[1],
}


@pytest.mark.parametrize("lie", COST_LIES)
def test_lies_about_a_cost_are_caught(lie, rng):
    """A mean without its 1/m in the gradient fails; the drawn upstream scalar counts."""
    forward = lambda A: ((A**2).sum() / A.shape[1], 2 * A)  # noqa: E731
    reference = lambda A: (A**2).sum() / A.shape[0]  # noqa: E731
    inputs = {"A": rng.standard_normal((3, 4))}
    right = lambda d, cache: {"A": d * cache / cache.shape[1]}  # noqa: E731
    assert_twins(forward, right, reference, inputs, rng)
    wrong = COST_LIES[lie]
    with pytest.raises(AssertionError, match="gradient of A differs"):
        assert_twins(forward, lambda d, cache: {"A": wrong(d, cache)}, reference, inputs, rng)


LINEAR_LIES = {
    "A_prev and W swapped": lambda g: {"A_prev": g["A_prev"], "W": g["W"][::-1], "b": g["b"]},
    "b summed over units": lambda g: {**g, "b": g["b"].sum() + 0 * g["b"]},
    "b averaged": lambda g: {**g, "b": g["b"] / 5},
    "b as a vector": lambda g: {**g, "b": g["b"].ravel()},
    "W without b": lambda g: {"A_prev": g["A_prev"], "W": g["W"]},
}


@pytest.mark.parametrize("lie", LINEAR_LIES)
def test_lies_about_a_layer_are_caught_under_gauges(lie, rng):
    """A running-error gauge does not open the door to wrong sums."""
    inputs = {
        "A_prev": rng.standard_normal((3, 5)),
        "W": rng.standard_normal((4, 3)),
        "b": rng.standard_normal((4, 1)),
    }
    backward = lambda dZ, cache: LINEAR_LIES[lie](linear_backward(dZ, cache))  # noqa: E731
    with pytest.raises(AssertionError):
        assert_twins(linear_forward, backward, linear, inputs, rng, gauges=linear_gauges)


class Lying:
    """An optimizer that bends the gradient, the step count or the state of an honest one."""

    def __init__(self, honest, before=lambda *_: None, after=lambda *_: None, start=None):
        """Take the honest rule and what is done to its arguments around each update."""
        self.honest, self.before, self.after, self.start = honest, before, after, start

    def init(self, parameters):
        """Return the honest state, or another."""
        return self.start(parameters) if self.start else self.honest.init(parameters)

    def update(self, parameters, gradients, state):
        """Update between the two lies."""
        bent = gradients.copy()
        self.before(parameters, bent, state)
        self.honest.update(parameters, bent, state)
        self.after(parameters, gradients, state)


class EpsilonHat:
    """Adam in the eps-hat form: epsilon is added to the root of the uncorrected s."""

    def init(self, parameters):
        """Return Adam's state."""
        return Adam().init(parameters)

    def update(self, parameters, gradients, state):
        """Take the step of Kingma and Ba's "efficient" form, with epsilon as it is."""
        g, theta = gradients.theta, parameters.theta
        state.t[()] += 1
        t = int(state.t)
        state.v[:] += 0.1 * (g - state.v)
        state.s[:] += 0.001 * (g**2 - state.s)
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theta -= rate * state.v / (np.sqrt(state.s) + 1e-8)


def set_time(state, t):
    """Write the step count."""
    state.t[()] = t


ADAM = Adam(learning_rate=0.01)
RULES = {
    "adam without **t": Lying(ADAM, before=lambda p, g, s: set_time(s, 0)),
    "adam's t one ahead": Lying(ADAM, start=lambda p: ADAM.init(p)._replace(t=np.ones((), "i8"))),
    "adam in the eps-hat form": EpsilonHat(),
    "adam with epsilon inside": Adam(learning_rate=0.01, epsilon_inside_root=True),
    "adam without correction": Adam(learning_rate=0.01, bias_correction=False),
    "adam's betas swapped": Adam(learning_rate=0.01, beta1=0.999, beta2=0.9),
    "adam with another epsilon": Adam(learning_rate=0.01, epsilon=1e-7),
    "the parameter scaled by epsilon": Lying(
        ADAM, after=lambda p, g, s: np.add(p.theta, 1e-8, out=p.theta)
    ),
    "the state not kept": Lying(ADAM, before=lambda p, g, s: s.v.fill(0)),
    "only the state wrong": Lying(ADAM, after=lambda p, g, s: s.v.__imul__(1 + 1e-12)),
    "the gradient modified": Lying(ADAM, after=lambda p, g, s: g.theta.__imul__(2)),
    "the step forgotten": Lying(ADAM, before=lambda p, g, s: g.theta.fill(0)),
    "one entry left behind": Lying(
        ADAM, before=lambda p, g, s: g.theta.__setitem__(abs(g.theta).argmax(), 0)
    ),
    "rmsprop for adam": RMSprop(learning_rate=0.01),
    "momentum for adam": Momentum(learning_rate=0.01),
}


def assert_is_adam(rule, rng, dtype=np.float64):
    """Hold a rule against torch's Adam."""
    assert_same_trajectory(
        rule,
        lambda parameters: theirs.adam(parameters, learning_rate=0.01),
        draw_parameters(rng, dtype),
        rng,
        state=theirs.adam_state,
        steps=50,
    )


def test_the_honest_rule_passes(rng):
    """The rule that the lies are made of agrees with torch, wrapped or not."""
    assert_is_adam(ADAM, rng)
    assert_is_adam(Lying(ADAM), rng)


@pytest.mark.seeds(5)
@pytest.mark.parametrize("lie", RULES)
def test_lies_about_an_optimizer_are_caught(lie, rng):
    """No wrong rule passes as Adam."""
    with pytest.raises(AssertionError):
        assert_is_adam(RULES[lie], rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_that_a_rule_spoils_are_refused(dtype, rng):
    """Torch would be handed other gradients than ours was: the message says which side did it."""
    spoiling = Lying(GradientDescent(learning_rate=0.01), after=lambda p, g, s: g.theta.__imul__(2))
    with pytest.raises(AssertionError, match=r"^step 1: the gradients were modified in place$"):
        assert_same_trajectory(
            spoiling, lambda p: torch.optim.SGD(p, lr=0.01), draw_parameters(rng, dtype), rng
        )


@pytest.mark.seeds(5)
def test_the_place_of_epsilon_shows_in_float32_at_tiny_gradients(rng):
    """Beside gradients of 1, epsilon is less than float32 holds; beside those of 1e-8 it is not."""
    assert_is_adam(ADAM, rng, np.float32)
    with pytest.raises(AssertionError, match="theta differs"):
        assert_is_adam(EpsilonHat(), rng, np.float32)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_third_of_the_gradients_is_tiny_and_a_sixth_zero(groups, rng):
    """In each group and at every step, always at the same entries."""
    drawn = []
    keeping = Lying(
        GradientDescent(learning_rate=0.01), after=lambda p, g, s: drawn.append(g.theta.copy())
    )
    assert_same_trajectory(
        keeping,
        lambda p: torch.optim.SGD(p, lr=0.01),
        {"W1": np.ones((6, 9))},
        rng,
        steps=40,
        groups=groups,
        widest=np.float64,
    )
    sizes = np.abs(drawn).reshape(40, groups, -1)
    assert len(np.unique(sizes[sizes > 0])) == (sizes > 0).sum()
    largest, entries = sizes.max(axis=0), sizes.shape[2]
    assert ((sizes > 0).all(axis=0) == (largest > 0)).all()
    assert (largest == 0).sum(axis=1).tolist() == [entries // 6] * groups
    tiny = (largest > 1e-9) & (largest < 1e-7)
    assert tiny.sum(axis=1).tolist() == [entries // 3] * groups
    assert ((largest > 0.1) & (largest < 10)).sum(axis=1).tolist() == [entries // 2] * groups


def test_dampening_is_caught(rng):
    """The tempting translation of momentum parts at the first step."""
    with pytest.raises(AssertionError, match="step 1: "):
        assert_same_trajectory(
            Momentum(learning_rate=0.1),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.9),
            draw_parameters(rng),
            rng,
            state=lambda optimizer: {
                "v": torch.cat(
                    [one["momentum_buffer"].flatten() for one in optimizer.state.values()]
                )
            },
        )


class Twin(NamedTuple):
    """A state whose second array nobody compares."""

    v: np.ndarray
    hidden: np.ndarray


def test_a_state_held_against_nothing_is_refused(rng):
    """An array of the state without a counterpart in torch fails the case."""
    honest = Momentum(learning_rate=0.1)

    class Rule:
        def init(self, parameters):
            v = honest.init(parameters).v
            return Twin(v, v.copy())

        def update(self, parameters, gradients, state):
            honest.update(parameters, gradients, honest.init(parameters)._replace(v=state.v))

    with pytest.raises(AssertionError, match=r"state \['hidden'\] is held against nothing"):
        assert_same_trajectory(
            Rule(),
            lambda p: theirs.momentum(p, learning_rate=0.1),
            draw_parameters(rng),
            rng,
            state=theirs.momentum_state,
        )


def test_draws_that_prove_nothing_are_drawn_again():
    """The first that proves something is taken, and none after it."""
    draws = iter([(0, 0), (1, 1), (0, 1), (1, 0)])
    assert draw_until(lambda *drawn: switches(drawn), lambda: next(draws)) == (0, 1)
    assert next(draws) == (1, 0)


def test_vacuous_cases_are_refused(rng):
    """What cannot fail is no proof: zeros, constants, tiny steps, gauges that swallow the value."""
    zero = np.zeros((2, 2))
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_close(zero, zero, "zeros")
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_close(zero + 1e-16, zero + 1e-16, "cancelled", gauge=zero + 1.0)
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_switches(zero > 0, "Z > 0")
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_switches(zero == 0, "Z == 0")
    with pytest.raises(AssertionError, match="no draw in a thousand proves anything"):
        draw_until(switches, lambda: (zero,))
    flat = lambda x: (0 * x + 1, x)  # noqa: E731
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_twins(flat, lambda d, x: {"x": 0 * d}, lambda x: 0 * x + 1, draw(rng), rng)
    detached = lambda x, y: torch.tanh(x)  # noqa: E731
    inputs = {**draw(rng), "y": zero + 1}
    forward = lambda x, y: honest_forward(x)  # noqa: E731
    backward = lambda d, a: {**honest_backward(d, a), "y": 0 * zero}  # noqa: E731
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_twins(forward, backward, detached, inputs, rng)
    for learning_rate, parameters, groups in (
        (1e-30, draw_parameters(rng), 1),
        (0.1, {"W1": np.ones((1, 5))}, 1),
        (0.1, draw_parameters(rng), 7),
    ):
        with pytest.raises(AssertionError, match="proves nothing"):
            assert_same_trajectory(
                Momentum(learning_rate=learning_rate),
                lambda p, rate=learning_rate: theirs.momentum(p, learning_rate=rate),
                parameters,
                rng,
                state=theirs.momentum_state,
                groups=groups,
            )


@pytest.mark.parametrize(
    ("gauge", "fraction"), [(None, 1 / 10), (1.0, 1 / 100), (50.0, 1 / 5000)], ids=str
)
def test_the_edge_of_what_proves_something(gauge, fraction):
    """A reference ten times its tolerance, or a hundred times that of a gauge, and no smaller."""
    reference = np.array([1.0, -0.01])
    inside = Budget(name="inside", relative=0.999 * fraction)
    assert_close(reference, reference, "values", budget=inside, gauge=gauge)
    outside = Budget(name="outside", relative=1.001 * fraction)
    with pytest.raises(
        AssertionError, match=r"drowns in its tolerance .*: the case proves nothing"
    ):
        assert_close(reference, reference, "values", budget=outside, gauge=gauge)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_edge_of_what_moves_a_parameter(dtype):
    """Parameters must move a hundred times as far as the budget of a step lets them part."""
    start, thetas = np.ones((3, 4), dtype), []
    keeping = Lying(
        GradientDescent(learning_rate=1e-4), after=lambda p, g, s: thetas.append(p.theta.copy())
    )

    def held(budget):
        choices = {"steps": 5, "widest": np.float64, "budget": budget}
        sgd = lambda p: torch.optim.SGD(p, lr=1e-4)  # noqa: E731
        assert_same_trajectory(keeping, sgd, {"W1": start}, 0, **choices)

    held(1)
    moved = float(np.abs(thetas[-1] - thetas[0]).max() / np.finfo(dtype).eps)
    held(0.999 * moved / 100)
    with pytest.raises(AssertionError, match="no parameter moved: the case proves nothing"):
        held(1.001 * moved / 100)


def test_a_reference_that_is_not_finite_is_refused():
    """NaN equals nothing, and infinity everything."""
    for value in (np.nan, np.inf):
        reference = np.array([1.0, value])
        with pytest.raises(AssertionError, match="not finite"):
            assert_close(reference, reference, "poisoned")


def test_a_tolerance_without_end_is_refused(rng):
    """In float32 too: a huge gauge, or a reference that is itself nothing but round-off."""
    inputs, zero = draw(rng, np.float32), lambda x: (0 * x, x)
    pull = lambda d, x: {"x": d}  # noqa: E731
    for gauge in (1e12, np.inf, np.nan):
        with pytest.raises(AssertionError):
            assert_twins(
                zero, pull, torch.tanh, inputs, rng, gauges=lambda *_, size=gauge: {"output": size}
            )
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_twins(zero, pull, lambda x: (x + 1e8) - 1e8, inputs, rng)
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_close(np.ones(2), np.ones(2), "anything", budget=Budget(name="loose", relative=10))


def one_by_one(terms):
    """Return the sum of a vector, each term added to all before it."""
    return np.add.accumulate(terms)[-1]


def times(total):
    """Return the pair of x times the sum of a constant vector, as `total` adds it."""
    return lambda x, terms: (x * total(terms), total(terms)), lambda d, factor: {"x": d * factor}


def times_one_by_one(x, terms):
    """Return torch's sum of x times each term, and so does autograd add up what it pulls back."""
    return functools.reduce(torch.add, (x * one for one in terms))


def test_float32_is_held_against_float64_and_not_against_torch(rng):
    """Of long sums the one nearer to float64 is right, whichever side it is on."""
    inputs = {"x": np.array([[1, 2, 4], [8, 16, 32]], np.float32)}  # scale without rounding
    constants = {"terms": np.full(2000, 0.1, np.float32)}
    exact = constants["terms"].astype(float).sum()
    near, far = (measure(one(constants["terms"]), exact).error for one in (np.sum, one_by_one))
    assert 10 * (2 * near + FLOAT32_FLOOR.eps) < far
    in_pairs, in_turn = times(np.sum), times(one_by_one)
    times_in_pairs = lambda x, terms: x * terms.sum()  # noqa: E731
    arguments = {"inputs": inputs, "rng": rng, "constants": constants}
    assert_twins(*in_pairs, times_one_by_one, **arguments)
    for forward, _ in (in_pairs, in_turn):  # what is as far off as torch is may pass
        answer = lambda forward=forward, **named: forward(**named)[0]  # noqa: E731
        assert_parity(answer, times_one_by_one, **arguments)
    for forward, backward, quantity in (
        (in_turn[0], in_pairs[1], "output"),
        (in_pairs[0], lambda d, _: in_turn[1](d, one_by_one(constants["terms"])), "gradient of x"),
    ):
        with pytest.raises(AssertionError, match=rf"^{quantity} differs .*twice torch's, float32"):
            assert_twins(forward, backward, times_in_pairs, **arguments)
    with pytest.raises(AssertionError, match=r"^output differs .*twice torch's, float32 floor"):
        assert_parity(lambda **named: in_turn[0](**named)[0], times_in_pairs, **arguments)


def test_what_is_no_float_is_refused():
    """Whole numbers, nothing at all, and values under a mask are not compared."""
    for ours in (np.ones(2, int), np.ones(0), np.ma.masked_array(np.ones(2), [True, False]), [1.0]):
        with pytest.raises(AssertionError, match="no floats"):
            assert_close(ours, np.ones(2), "values")


SCALES = {
    "squares of millions": (lambda x: (x**2, x), lambda d, x: {"x": 2 * d * x}, torch.square, 1e6),
    "logarithms near zero": (lambda x: (np.log(x), x), lambda d, x: {"x": d / x}, torch.log, 1e-4),
    "roots near zero": (
        lambda x: (np.sqrt(x), x),
        lambda d, x: {"x": d / (2 * np.sqrt(x))},
        torch.sqrt,
        1e-3,
    ),
    "a large constant": (
        lambda x: (np.tanh(x) + 1e5, np.tanh(x)),
        honest_backward,
        lambda x: torch.tanh(x) + 1e5,
        1.0,
    ),
}


@pytest.mark.parametrize("scale", SCALES)
def test_the_third_witness_blames_nobody_for_its_own_error(scale, rng):
    """Right code passes at other scales, and a gradient off by a millionth still fails."""
    forward, backward, reference, size = SCALES[scale]
    inputs = {"x": size * rng.uniform(0.5, 2, (3, 4))}
    assert_twins(forward, backward, reference, inputs, rng)
    wrong = lambda d, cache: {"x": backward(d, cache)["x"] * (1 + 1e-6)}  # noqa: E731
    with pytest.raises(AssertionError):
        assert_twins(forward, wrong, reference, inputs, rng)


def test_functions_that_know_no_longdouble_can_be_held(rng):
    """SciPy's erf has none: where that is said, the pair is compared all the same."""
    pair = (
        lambda x: (scipy.special.erf(x), x),
        lambda d, x: {"x": d * 2 / np.sqrt(np.pi) * np.exp(-(x**2))},
    )
    choices = {"differences": False, "widest": np.float64}
    assert_twins(*pair, torch.erf, draw(rng), rng, **choices)
    wrong = lambda x: (1.1 * scipy.special.erf(x), x)  # noqa: E731
    with pytest.raises(AssertionError, match="output differs"):
        assert_twins(wrong, pair[1], torch.erf, draw(rng), rng, **choices)
    if WIDE:  # a witness that stays away is missed
        with pytest.raises(AssertionError, match=r"takes no longdouble .*widest=np\.float64"):
            assert_twins(*pair, torch.erf, draw(rng), rng, differences=False)


def test_a_gauge_of_nothing_is_refused(rng):
    """A misspelt name would leave its quantity under another ruler than the one that was meant."""
    pair = honest_forward, honest_backward, torch.tanh
    for name in ("outptu", "X"):
        with pytest.raises(AssertionError, match=rf"\['{name}'\], expected some of output, x"):
            assert_twins(*pair, draw(rng), rng, gauges=lambda *_, name=name: {name: 1.0})


def test_scalars_are_inputs_too(rng):
    """A 0-d array is differentiated like any other."""
    for w in (np.array(3.0), np.float64(3.0)):
        assert_twins(
            lambda w: (np.square(w - 5), w), lambda d, w: {"w": 2 * d * (w - 5)},
            lambda w: (w - 5) ** 2, {"w": w}, rng,
        )  # fmt: skip


def test_only_biases_become_vectors(rng):
    """A name that merely begins with b or W is an activation; a bias must be a column."""
    for name in ("base", "batch", "Wide"):
        inputs = {name: rng.standard_normal((3, 4))}
        forward = lambda **named: honest_forward(next(iter(named.values())))  # noqa: E731
        backward = lambda d, a, name=name: {name: honest_backward(d, a)["x"]}  # noqa: E731
        assert_twins(forward, backward, torch.tanh, inputs, rng)
    with pytest.raises(ValueError, match=r"expected b1 of shape \(n, 1\), got \(3, 4\)"):
        to_torch("b1", rng.standard_normal((3, 4)))


def test_a_state_without_names_is_refused(rng):
    """A list or array as a state would be compared with nothing."""

    class Rule:
        def init(self, parameters):
            return [7.0]

        def update(self, parameters, gradients, state):
            parameters.theta[:] -= 0.1 * gradients.theta

    with pytest.raises(AssertionError, match="no NamedTuple"):
        assert_same_trajectory(
            Rule(),
            lambda p: torch.optim.SGD(p, lr=0.1),
            draw_parameters(rng),
            rng,
            state=lambda optimizer: {},
        )


def test_a_large_tensor_does_not_hide_a_small_one(rng):
    """Each tensor has its own gauge: a bias left behind beside huge weights is seen."""
    parameters = {"W1": 1e16 * rng.standard_normal((4, 3)), "b1": rng.standard_normal((4, 1))}
    lie = Lying(Momentum(learning_rate=0.1), before=lambda p, g, s: g["b1"].fill(0))
    with pytest.raises(AssertionError, match=r"step \d"):
        assert_same_trajectory(
            lie,
            lambda p: theirs.momentum(p, learning_rate=0.1),
            parameters,
            rng,
            state=lambda optimizer: theirs.momentum_state(optimizer),
        )


def test_expected_zeros_must_be_zero():
    """Where zero is expected, the smallest number is too much."""
    assert_close(np.zeros(3), np.zeros(3), "zero", expect_zero=True)
    with pytest.raises(AssertionError, match="not zero as expected"):
        assert_close(np.full(3, 5.0), np.full(3, 5.0), "five", expect_zero=True)
    with pytest.raises(AssertionError, match="differs"):
        assert_close(np.full(3, 5e-324), np.zeros(3), "not zero", expect_zero=True)


def test_the_ruler():
    """Errors are counted in eps of ours, over the largest entry of theirs or a gauge."""
    eps = np.finfo(float).eps
    reference = np.array([8.0, -2.0, 0.5])
    ours = reference + np.array([0.0, 0.0, 16 * eps])
    found = measure(ours, reference)
    assert found.error == 2.0
    assert found.place == (2,)
    assert found.ulp == 32
    assert measure(ours, reference, np.array([1.0, 1.0, 4.0])).error == 4.0
    assert measure(ours.astype("f4"), reference.astype("f4")).error == 0
    assert measure(np.array([np.nan, 1.0]), np.array([1.0, 1.0])).error == np.inf
    assert measure(np.array(np.inf), np.array(1.0)).error == np.inf
    for pair in ((1.0, np.nan), (np.nan, np.nan), (np.inf, np.inf), (1.0, np.inf)):
        assert measure(*map(np.array, pair)).error == np.inf
    assert measure(np.ones(2), np.ones(2), np.array([1.0, np.nan])).error == np.inf


def test_budgets_count_eps():
    """A budget in eps is the same in every dtype; a relative one is not."""
    assert FORWARD.in_eps(1e-7) == FORWARD.in_eps(1e-16) == 16
    assert GRADIENT.eps == STEP.eps == 64
    assert Budget(name="relative", relative=1e-10).in_eps(1e-16) == pytest.approx(1e6)


def test_the_edge_of_the_budget():
    """Sixteen eps pass, seventeen do not."""
    one = np.ones(3)
    assert_close(one * (1 + 16 * np.finfo(float).eps), one, "inside")
    with pytest.raises(AssertionError, match=r"17 eps units \(17 ULP\), allowed 16"):
        assert_close(one * (1 + 17 * np.finfo(float).eps), one, "outside")


class WrongTanh(torch.autograd.Function):
    """tanh in torch with a gradient one percent too large."""

    @staticmethod
    def forward(ctx, x):
        """Return tanh(x)."""
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, d):
        """Pull d back, wrongly."""
        (x,) = ctx.saved_tensors
        return 1.01 * (d * (1 - torch.tanh(x) ** 2))


def test_the_message_names_the_guilty_side(rng):
    """The third witness says whether ours or theirs is wrong, at the worst index."""
    with pytest.raises(
        AssertionError, match=r"gradient of x differs at \(\d, \d\).*contradicts ours"
    ):
        assert_twins(*LIES["gradient scaled"], torch.tanh, draw(rng), rng)
    with pytest.raises(AssertionError, match=r"output differs at \(\d, \d\)"):
        assert_twins(honest_forward, honest_backward, lambda x: torch.tanh(x) * 1.1, draw(rng), rng)
    with pytest.raises(AssertionError, match="contradicts theirs"):
        assert_twins(honest_forward, honest_backward, WrongTanh.apply, draw(rng), rng)


def test_in_float32_the_message_tells_all_three_values(rng):
    """Ours, torch's in float64 and torch's own, with the distance of both from the middle one."""
    one, eps = np.ones(3, np.float32), 2.0**-23
    ours, torchs = one.copy(), one.copy()
    ours[1], torchs[2] = 1 + 10 * eps, 1 + 2 * eps
    message = (
        r"^values differs at \(1,\): ours np\.float32\(1\.0000012\), torch's in float64 "
        r"np\.float64\(1\.0\), 10 eps units \(10 ULP\), allowed 8 \(twice torch's, float32 "
        r"floor\); torch in float32 is 2 eps units from it at most, np\.float32\(1\.0\) here: "
        r"its float64 contradicts ours$"
    )
    held = one.astype(float), "values", None, FLOAT32_FLOOR, "forward"
    with pytest.raises(AssertionError, match=message):
        assert_no_worse(ours, torchs, *held)
    assert_no_worse(torchs, ours, *held)
    lie = Lying(Momentum(learning_rate=0.1), after=lambda p, g, s: p.theta.__imul__(1.25))
    message = (
        r"^step 1: theta differs at \(\d+,\): ours np\.float32\(.*\), torch's in float64 "
        r"np\.float64\(.*\), .* eps units \(.* ULP\), allowed .* \(twice torch's, float32 "
        r"floor of optimizers\); torch in float32 is .* eps units from it at most, "
        r"np\.float32\(.*\) here: its float64 contradicts ours$"
    )
    with pytest.raises(AssertionError, match=message):
        assert_same_trajectory(
            lie,
            lambda p: theirs.momentum(p, learning_rate=0.1),
            draw_parameters(rng, np.float32),
            rng,
        )


def test_a_lie_told_by_both_sides_is_caught(rng):
    """Where ours and torch's agree on a wrong gradient, the third witness contradicts."""
    backward = lambda d, a: {"x": 1.01 * (d * (1 - a**2))}  # noqa: E731
    with pytest.raises(AssertionError, match="a central difference gives"):
        assert_twins(honest_forward, backward, WrongTanh.apply, draw(rng), rng)


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
def test_the_third_witness_sees_eleven_digits(rng):
    """Differences of tanh agree with its derivative to 1e-11 of the largest upstream gradient."""
    x, upstream = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    difference = Difference(honest_forward, {"x": x}, {}, upstream, "x")
    wide = x.astype(np.longdouble)
    exact = upstream[1, 2] * (1 - np.tanh(wide[1, 2]) ** 2)
    assert abs(difference((1, 2)) - exact) < 1e-11 * np.abs(upstream).max()


def test_the_ledger_writes_what_was_compared(tmp_path):
    """Every comparison is written with its error, budget and place."""
    ledger = Ledger()
    assert ledger.entries == []
    assert_close(np.array([1.0, 2.0]), np.array([1.0, 2.0]), "values")
    ledger.entries.append(LEDGER.entries[-1])
    ledger.write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["environment"]["torch"] == torch.__version__
    (entry,) = written["comparisons"]
    assert entry["concept"] == "functions"
    assert entry["quantity"] == "values"
    assert (entry["error"], entry["budget"], entry["index"]) == (0.0, 16, [0])
    assert "functions" in ledger.table()[1]


def test_called_names_are_functions_and_classes():
    """A method counts for its class, a nested function for the outer one."""
    codes = {Adam.update.__code__, linear_forward.__wrapped__.__code__}
    assert called_names(codes) == {"Adam", "linear_forward"}
    assert AdamState._fields == ("v", "s", "t")
