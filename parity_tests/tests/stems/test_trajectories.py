"""Thousands of steps: both sides inside a growth bound that knows nothing of torch."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings

from parity_tests.compare import runs
from parity_tests.compare.budgets import WIDE
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.runs import EPS, assert_inside, run_both, sepals
from scratch.optimizers import OPTIMIZERS

#: steps of a walk: a thousand, and ten thousand in the profile `deep`.
STEPS = max(1000, 20 * settings().max_examples)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_long_walk(name):
    """The way is long, the bound at its end small beside it, and the sides really round apart."""
    both = run_both(sepals(name, steps=STEPS))
    assert_inside(both)
    assert len(both.apart) == STEPS + 1
    moved = np.abs(both.ours.theta[-1] - both.ours.theta[0]).max()
    assert 0 < both.apart[-1] < both.bound.theta[-1] < 1e-8 * moved
    looked = [*range(10, STEPS + 1, 10)]
    assert both.ours.state.get("t", np.array(looked)).tolist() == looked


#: choices that are not quite those of the other side.
WRONG = [
    *((name, {"learning_rate": (1 + 1e-12) * rate}) for name, rate in runs.RATES.items()),
    ("momentum", {"beta": 0.9 + 1e-10}),
    ("rmsprop", {"epsilon": 1.1e-8}),
    ("adam", {"epsilon_inside_root": True}),
    ("adam", {"beta2": 0.9990001}),
]

#: ends of messages that blame a side, where longdouble has more digits than both.
THEIRS = "our training (itself is another|or theirs is wrong)" if WIDE else ""
OURS = "contradicts ours" if WIDE else ""


def breach(both):
    with LEDGER.unrecorded(), pytest.raises(AssertionError) as error:
        assert_inside(both)
    return str(error.value)


@pytest.mark.parametrize(("name", "changed"), WRONG, ids=str)
def test_a_small_difference_leaves_the_bound(name, changed):
    """It is named at one of the first steps, and the longdouble run of ours contradicts torch's."""
    training = sepals(name, steps=20)
    optimizer = name, {**training.optimizer[1], **changed}
    said = breach(run_both(training, replace(training, optimizer=optimizer)))
    assert re.match(rf"step [1-3]: [Wb][12]\[\d, \d\] differs: ours .*{THEIRS}$", said)


def test_a_late_difference_is_named_where_it_comes_up():
    """One entry moved by 1e-10 after step 200: that step and that entry, and whose it is."""
    training = sepals("rmsprop", steps=300)
    both = run_both(training)

    def nudge(parameters):
        parameters["W2"][1, 3] += 1e-10

    theirs = both._replace(theirs=runs.record_theirs(training, edit=(200, nudge)))
    ours = both._replace(ours=runs.record(training, edit=(200, nudge)))
    for wrong, guilty in ((theirs, THEIRS), (ours, OURS)):
        assert re.match(rf"step 200: W2\[1, 3\] .*{guilty}$", breach(wrong))
    assert_inside(both)


def test_state_and_numbers_are_held_too():
    """Another state beside equal parameters, or none, is named; so is the step of the first NaN."""
    both = run_both(sepals("adam", steps=50))
    for key, wrong in (("v", 1 + 1e-9), ("s", np.nan), ("t", 2)):
        state = {**both.theirs.state, key: wrong * both.theirs.state[key]}
        for said in (rf"{key} (of|over)", "state: ours has"):
            assert re.match(said, breach(both._replace(theirs=both.theirs._replace(state=state))))
            state.pop(key, None)
    broken = both.theirs.theta.copy()
    broken[17, 4] = np.nan
    assert breach(both._replace(theirs=both.theirs._replace(theta=broken))).startswith("step 17: ")


def test_a_chaotic_training_proves_nothing():
    """At a hundred times the rate our own runs part; torch happens to stay inside."""
    both = run_both(sepals("rmsprop", steps=400, learning_rate=0.3))
    assert (both.apart <= both.bound.theta).all()
    assert "proves nothing" in breach(both)


def recorded(thetas, **state):
    column = lambda values: np.array(values, float)[:, None]  # noqa: E731
    return runs.Recorded(column(thetas), {name: column(one) for name, one in state.items()})


def test_the_bound_is_its_formula():
    """Local errors add up where nothing grows; what shrinks again is not taken off."""
    still = np.full(5, 2.0)
    for ours, nearby, bound in (
        (still, still + 0.5, [0, 2, 4, 6, 8]),
        (still, 2 + 0.5 * 2.0 ** np.arange(5), [0, 2, 6, 14, 30]),
        (still, [2.5, 2.5, 3.0, 2.1, 2.0], [0, 2, 6, 8, 10]),
        ([1.0, 2.0, 2.0], [1.5, 2.5, 2.5], [0, 2 + 64, 4 + 64]),
    ):
        found = runs.Growth.of(recorded(ours), recorded(nearby)).theta
        assert found.tolist() == [EPS * one for one in bound]
    ours, nearby = recorded([2.0] * 21, v=[1.0, 3.0]), recorded([2.5] * 21, v=[1.25, 3.0])
    expected = 0.25 * np.array([10, 20]) * 2 * EPS / 0.5 + 64 * EPS * np.array([1.0, 3.0])
    state = runs.Growth.of(ours, nearby).state["v"]
    assert np.allclose(state, expected, rtol=1e-12, atol=0)


def test_at_a_kink_the_sides_part_and_the_rectifier_is_named():
    """Z is 0 here and round-off above 0 there, and its unit learns there."""
    training = sepals("rmsprop", hidden="relu", steps=60)
    met = runs.kink(training, 5)
    parting = runs.located(training, met)
    assert (parting.quantity, parting.step, parting.layer) == ("rectifier of Z1", met.step, 1)
    assert (parting.unit, parting.place) == (met.unit, (met.unit, met.example))
    assert parting.ours == 0 < parting.theirs < 1e-14
    assert parting.error > 1e10
    before = replace(training, steps=met.step - 1)
    assert runs.located(before, met) is runs.located(training) is None
    ours = runs.record(training, edit=met.ours)
    theirs = runs.record_theirs(training, edit=met.theirs)
    apart = np.abs(ours.theta - theirs.theta).max(axis=1)
    assert apart[: met.step].max() < 1e-13 < 1e-9 < apart[met.step :].min()
