"""Ten thousand steps end to end: both sides inside a growth bound that knows nothing of torch."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from parity_tests.compare.budgets import WIDE
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.runs import (
    CHOICES,
    EPS,
    STATE_EVERY,
    STEPS,
    Growth,
    Recorded,
    assert_inside,
    kink,
    located,
    record,
    record_theirs,
    run_both,
    sepals,
)
from scratch.mini_batches import mini_batches
from scratch.optimizers import OPTIMIZERS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_thousand_steps(name):
    """Parameters after every step, the state after every tenth, inside the bound all the way.

    The whole way is long, the bound at its end small beside it, and the sides really round apart.
    """
    both = run_both(sepals(name))
    assert_inside(both)
    assert len(both.apart) == 1 + STEPS == 10_001
    moved = np.abs(both.ours.theta[-1] - both.ours.theta[0]).max()
    assert 0 < both.apart[-1] < both.bound.theta[-1] < 1e-8 * moved
    counts = both.ours.state.get("t", np.arange(STATE_EVERY, STEPS + 1, STATE_EVERY))
    assert counts.tolist() == list(range(STATE_EVERY, STEPS + 1, STATE_EVERY))


def test_the_steps_are_taken_on_these_mini_batches():
    """The mini-batch of a step is the one that the training loops take; the last is short."""
    training = sepals("adam", steps=40)
    walked = [
        batch
        for order in training.orders
        for batch in mini_batches(training.X, training.Y, order, training.batch_size)
    ]
    for step, (X, Y) in enumerate(walked, start=1):
        assert np.array_equal(training.X[:, training.batch(step)], X)
        assert np.array_equal(training.Y[:, training.batch(step)], Y)
    assert {len(training.batch(step)) for step in range(1, 40)} == {8, 6}


@pytest.mark.parametrize("side", [record, record_theirs])
def test_a_training_that_ends_early_is_refused(side):
    with pytest.raises(ValueError, match="expected orders for 20 steps, got 19"):
        side(replace(sepals("adam", steps=19), steps=20))


#: choices that are not quite those of the other side.
WRONG = {
    **{f"a learning rate off by 1e-12, {name}": (name, {}) for name in CHOICES},
    "beta off by 1e-10, momentum": ("momentum", {"beta": 0.9 + 1e-10}),
    "beta off by 1e-10, rmsprop": ("rmsprop", {"beta": 0.9 + 1e-10}),
    "epsilon 1.1e-8, rmsprop": ("rmsprop", {"epsilon": 1.1e-8}),
    "epsilon 1.1e-8, adam": ("adam", {"epsilon": 1.1e-8}),
    "epsilon inside the root, adam": ("adam", {"epsilon_inside_root": True}),
    "beta1 off by 1e-12, adam": ("adam", {"beta1": 0.9 + 1e-12}),
    "beta2 0.9990001, adam": ("adam", {"beta2": 0.9990001}),
}

#: how a message ends that blames a side, where longdouble has more digits than both.
THEIRS = "our training (itself is another|is not theirs)" if WIDE else ""
OURS = "contradicts ours" if WIDE else ""


def breach(both):
    """Return what is said of two runs that part."""
    with LEDGER.unrecorded(), pytest.raises(AssertionError) as error:
        assert_inside(both)
    return str(error.value)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_small_difference_leaves_the_bound(wrong):
    """It is named at one of the first steps, and the longdouble run of ours contradicts torch's."""
    name, changed = WRONG[wrong]
    training = sepals(name, steps=100)
    rate = training.choices["learning_rate"] * (1 if changed else 1 + 1e-12)
    other = {**training.choices, "learning_rate": rate, **changed}
    said = breach(run_both(training, replace(training, choices=other)))
    assert re.match(rf"step [1-3]: [Wb][12]\[\d, \d\] differs: ours .*{THEIRS}$", said)


def test_another_order_of_examples_leaves_the_bound():
    training, other = (sepals("adam", steps=100, seed=seed) for seed in (0, 1))
    assert breach(run_both(training, replace(training, orders=other.orders))).startswith("step 1: ")


def test_a_late_difference_is_named_where_it_comes_up():
    """One entry moved by 1e-10 after step 200: that step and that entry, and whose it is."""
    training = sepals("rmsprop", steps=300)
    both = run_both(training)

    def nudge(parameters):
        parameters["W2"][1, 3] += 1e-10

    theirs = both._replace(theirs=record_theirs(training, edits={200: nudge}))
    ours = both._replace(ours=record(training, edits={200: nudge}))
    for wrong, guilty in ((theirs, THEIRS), (ours, OURS)):
        assert re.match(rf"step 200: W2\[1, 3\] .*{guilty}$", breach(wrong))
    assert_inside(both)


@pytest.mark.parametrize(
    ("name", "key", "spoil"),
    [
        ("momentum", "v", lambda v: v * (1 + 1e-9)),
        ("rmsprop", "s", lambda s: s * (1 + 1e-9)),
        ("adam", "v", lambda v: v * (1 + 1e-9)),
        ("adam", "s", lambda s: s * np.nan),
        ("adam", "t", lambda t: t + 1),
    ],
)
def test_the_state_is_held_too(name, key, spoil):
    """Equal parameters and another state, or none: named."""
    both = run_both(sepals(name, steps=50))
    state = {**both.theirs.state, key: spoil(both.theirs.state[key])}
    for said in (rf"{key} (of|over)", "state: ours has"):
        assert re.match(said, breach(both._replace(theirs=both.theirs._replace(state=state))))
        state.pop(key, None)


def test_parameters_that_are_no_numbers_leave_the_bound():
    both = run_both(sepals("momentum", steps=30))
    broken = both.theirs.theta.copy()
    broken[17, 4] = np.nan
    assert breach(both._replace(theirs=both.theirs._replace(theta=broken))).startswith("step 17: ")


def test_a_chaotic_training_proves_nothing():
    """RMSprop at a hundred times the rate: our own runs part, the bound drowns the parameters.

    That is refused, though torch happens to stay inside.
    """
    both = run_both(sepals("rmsprop", steps=400, learning_rate=0.3))
    assert (both.apart <= both.bound.theta).all()
    assert both.bound.theta[100] < 1e-8 < 1e-3 < both.bound.theta[400]
    assert "proves nothing" in breach(both)


def recorded(thetas, **state):
    """Return a record of one parameter."""
    columns = {name: np.array(value, float)[:, None] for name, value in state.items()}
    return Recorded(np.array(thetas, float)[:, None], columns)


def test_the_bound_is_its_formula():
    """Local errors add up where nothing grows, and are multiplied where the distance is.

    What shrinks again is not taken off, and a step's own update is worth 64 eps of itself.
    """
    still = np.full(5, 2.0)
    for ours, nearby, bound in (
        (still, still + 0.5, [0, 2, 4, 6, 8]),
        (still, 2 + 0.5 * 2.0 ** np.arange(5), [0, 2, 6, 14, 30]),
        (still, [2.5, 2.5, 3.0, 2.1, 2.0], [0, 2, 6, 8, 10]),
        ([1.0, 2.0, 2.0], [1.5, 2.5, 2.5], [0, 2 + 64, 4 + 64]),
    ):
        found = Growth.of(recorded(ours), recorded(nearby)).theta
        assert found.tolist() == [EPS * one for one in bound]


def test_the_bound_of_the_state_is_in_proportion():
    """As many runs' distances as for the parameters, and 64 eps of the state's own size."""
    ours, nearby = recorded([2.0] * 21, v=[1.0, 3.0]), recorded([2.5] * 21, v=[1.25, 3.0])
    runs = np.array([10, 20]) * 2 * EPS / 0.5
    expected = 0.25 * runs + 64 * EPS * np.array([1.0, 3.0])
    assert np.allclose(Growth.of(ours, nearby).state["v"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["gradient_descent", "rmsprop"])
def test_at_a_kink_the_sides_part_and_the_rectifier_is_named(name):
    """From equal parameters: Z is 0 here and round-off above 0 there, and its unit learns there.

    On the steps before, the sides agree; what parts is the gradient, by far more than round-off.
    """
    training = sepals(name, hidden="relu", steps=60)
    met = kink(training, 40)
    parting = located(training, met)
    assert (parting.quantity, parting.step, parting.layer) == ("rectifier of Z1", met.step, 1)
    assert (parting.unit, parting.place) == (met.unit, (met.unit, met.example))
    assert parting.ours == 0 < parting.theirs < 1e-14
    assert parting.error > 1e10
    assert located(replace(training, steps=met.step - 1), met) is located(training) is None
    ours, theirs = record(training, edits=met.ours), record_theirs(training, edits=met.theirs)
    apart = np.abs(ours.theta - theirs.theta).max(axis=1)
    assert apart[: met.step].max() < 1e-13 < 1e-7 < apart[met.step :].min()


def test_a_kink_is_met_where_both_blas_round_alike(monkeypatch):
    """Then torch's bias is given some round-off more, and the same is located."""
    training = sepals("rmsprop", hidden="relu", steps=60)
    monkeypatch.setattr("parity_tests.compare.runs.columns", lambda tensor: np.zeros((5, 8)))
    met = kink(training, 5)
    monkeypatch.undo()
    parting = located(training, met)
    assert (parting.step, parting.unit) == (met.step, met.unit)
    assert parting.quantity == "rectifier of Z1"
    assert 0 < parting.theirs < 1e-14
