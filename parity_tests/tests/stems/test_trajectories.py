"""Ten thousand steps end to end: both sides inside a growth bound that knows nothing of torch."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

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
    entry_name,
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
    training = sepals(name)
    assert training.steps == STEPS == 10_000
    both = run_both(training)
    assert_inside(both)
    moved = np.abs(both.ours.theta[-1] - both.ours.theta[0]).max()
    assert both.bound.theta[-1] < 1e-8 * moved
    assert 0 < both.apart[-1] < both.bound.theta[-1]
    names = {entry.quantity for entry in LEDGER.entries if entry.cause == "trajectory"}
    assert f"parameters over 10,000 steps of {name}" in names
    counts = both.ours.state.get("t", np.arange(STATE_EVERY, STEPS + 1, STATE_EVERY))
    assert counts.tolist() == list(range(STATE_EVERY, STEPS + 1, STATE_EVERY))


def test_every_optimizer_has_its_choices():
    """None is left out of the ten thousand steps."""
    assert CHOICES.keys() == OPTIMIZERS.keys()


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


def test_a_training_that_ends_early_is_refused():
    """Orders for fewer steps than are to be recorded."""
    training = sepals("adam", steps=19)
    for side in (record, record_theirs):
        assert len(side(training).theta) == 20
        with pytest.raises(ValueError, match="expected orders for 20 steps, got 19"):
            side(replace(training, steps=20))


def changed(name, factor=1.0, **choices):
    """Return a short training, and one that a choice sets apart from it by a factor or a value."""
    training = sepals(name, steps=100)
    rate = {"learning_rate": training.choices["learning_rate"] * factor}
    return training, replace(training, choices={**training.choices, **rate, **choices})


WRONG = {
    **{f"a learning rate off by 1e-12, {name}": changed(name, 1 + 1e-12) for name in CHOICES},
    "beta off by 1e-10, momentum": changed("momentum", beta=0.9 + 1e-10),
    "beta off by 1e-10, rmsprop": changed("rmsprop", beta=0.9 + 1e-10),
    "epsilon 1.1e-8, rmsprop": changed("rmsprop", epsilon=1.1e-8),
    "epsilon 1.1e-8, adam": changed("adam", epsilon=1.1e-8),
    "epsilon inside the root, adam": changed("adam", epsilon_inside_root=True),
    "beta1 off by 1e-12, adam": changed("adam", beta1=0.9 + 1e-12),
    "beta2 0.9990001, adam": changed("adam", beta2=0.9990001),
    "another order of examples": (
        sepals("adam", steps=100),
        replace(sepals("adam", steps=100), orders=sepals("adam", steps=100, seed=1).orders),
    ),
}


#: how a message ends that blames a side, where longdouble has more digits than both.
THEIRS = "our training (itself is another|is not theirs)" if WIDE else ""
OURS = "contradicts ours" if WIDE else ""


@pytest.mark.parametrize("wrong", WRONG)
def test_a_small_difference_leaves_the_bound(wrong):
    """It is named at one of the first steps, and the longdouble run of ours contradicts torch's."""
    training, other = WRONG[wrong]
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=THEIRS) as breach:
        assert_inside(run_both(training, other))
    assert re.match(r"step [1-3]: [Wb][12]\[\d, \d\] differs: ours ", str(breach.value))


def test_a_wrong_rule_of_ours_is_not_cleared_by_itself(monkeypatch):
    """The longdouble run makes the same mistake: the message says what it cannot know."""

    class Shrinking(OPTIMIZERS["adam"]):
        def update(self, parameters, gradients, state):
            super().update(parameters, gradients, state)
            parameters.theta[:] *= 1 - 1e-7

    monkeypatch.setitem(OPTIMIZERS, "adam", Shrinking)
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=rf"^step 1: .*{THEIRS}$"):
        assert_inside(run_both(sepals("adam", steps=20)))


def test_a_late_difference_is_named_where_it_comes_up():
    """One entry moved by 1e-10 after step 200: that step and that entry, and whose it is."""
    training = sepals("rmsprop", steps=300)
    both = run_both(training)

    def nudge(parameters):
        parameters["W2"][1, 3] += 1e-10

    theirs = both._replace(theirs=record_theirs(training, edits={200: nudge}))
    with LEDGER.unrecorded():
        with pytest.raises(AssertionError, match=rf"step 200: W2\[1, 3\] .*{THEIRS}$"):
            assert_inside(theirs)
        ours = both._replace(ours=record(training, edits={200: nudge}))
        with pytest.raises(AssertionError, match=rf"step 200: W2\[1, 3\] .*{OURS}$"):
            assert_inside(ours)
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
    """Equal parameters and another state: named."""
    both = run_both(sepals(name, steps=50))
    state = {**both.theirs.state, key: spoil(both.theirs.state[key])}
    spoilt = both._replace(theirs=both.theirs._replace(state=state))
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=f"^{key} (of|over)"):
        assert_inside(spoilt)
    del state[key]
    missing = both._replace(theirs=both.theirs._replace(state=state))
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=r"^state: ours has"):
        assert_inside(missing)


def test_parameters_that_are_no_numbers_leave_the_bound():
    """NaN on either side is outside."""
    both = run_both(sepals("momentum", steps=30))
    broken = both.theirs.theta.copy()
    broken[17, 4] = np.nan
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=r"^step 17: "):
        assert_inside(both._replace(theirs=both.theirs._replace(theta=broken)))


def test_a_chaotic_training_proves_nothing():
    """RMSprop at a hundred times the rate: our own runs part, the bound drowns the parameters.

    That is refused, though torch happens to stay inside.
    """
    both = run_both(sepals("rmsprop", steps=400, learning_rate=0.3))
    assert (both.apart <= both.bound.theta).all()
    assert both.bound.theta[100] < 1e-8 < 1e-3 < both.bound.theta[400]
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="proves nothing"):
        assert_inside(both)


def recorded(thetas, **state):
    """Return a record of one parameter."""
    columns = {name: np.array(value, float)[:, None] for name, value in state.items()}
    return Recorded(np.array(thetas, float)[:, None], columns)


def test_the_bound_is_its_formula():
    """Local errors add up where nothing grows, and are multiplied where the distance is."""
    still = recorded(np.full(5, 2.0))
    assert Growth.of(still, recorded(np.full(5, 2.5))).theta.tolist() == [
        2 * EPS * t for t in range(5)
    ]
    doubling = Growth.of(still, recorded(2 + 0.5 * 2.0 ** np.arange(5))).theta
    expected = [0.0]
    for _ in range(4):
        expected.append(2 * expected[-1] + 2 * EPS)
    assert doubling.tolist() == expected
    # what shrinks again is not taken off, and a step's own update is worth 64 eps of itself
    returned = recorded([2.5, 2.5, 3.0, 2.1, 2.0])
    assert Growth.of(still, returned).theta.tolist() == [EPS * x for x in (0, 2, 6, 8, 10)]
    moving = recorded([1.0, 2.0, 2.0])
    apart = recorded([1.5, 2.5, 2.5])
    assert Growth.of(moving, apart).theta.tolist() == [0.0, (2 + 64) * EPS, (4 + 64) * EPS]


def test_the_bound_of_the_state_is_in_proportion():
    """As many runs' distances as for the parameters, and 64 eps of the state's own size."""
    ours = recorded(np.full(21, 2.0), v=[1.0, 3.0])
    nearby = recorded(np.full(21, 2.5), v=[1.25, 3.0])
    bound = Growth.of(ours, nearby).state["v"]
    runs = np.array([10, 20]) * 2 * EPS / 0.5
    assert np.allclose(bound, 0.25 * runs + 64 * EPS * np.array([1.0, 3.0]), rtol=1e-12, atol=0)


def test_an_entry_has_its_name():
    """W1 row by row, then b1, W2, b2, and nothing beyond."""
    parameters = sepals("adam").parameters
    assert [entry_name(parameters, one) for one in (0, 1, 2, 9, 10, 15, 32)] == [
        "W1[0, 0]",
        "W1[0, 1]",
        "W1[1, 0]",
        "W1[4, 1]",
        "b1[0, 0]",
        "W2[0, 0]",
        "b2[2, 0]",
    ]
    with pytest.raises(IndexError, match="beyond"):
        entry_name(parameters, 33)


@pytest.mark.parametrize("name", ["gradient_descent", "rmsprop"])
def test_at_a_kink_the_sides_part_and_the_rectifier_is_named(name):
    """From equal parameters: Z is 0 here and round-off above 0 there, and its unit learns there.

    On the steps before, the sides agree; what parts is the gradient, by far more than round-off.
    """
    training = sepals(name, hidden="relu", steps=60)
    met = kink(training, 40)
    parting = located(training, met)
    assert parting.quantity == "rectifier of Z1"
    assert (parting.step, parting.layer, parting.unit) == (met.step, 1, met.unit)
    assert parting.place == (met.unit, met.example)
    assert parting.ours == 0 < parting.theirs < 1e-14
    assert parting.error > 1e10
    assert located(replace(training, steps=met.step - 1), met) is None
    assert located(training) is None
    assert "switches differently on example" in str(parting)
    # the sides had stayed together that far, and have not since
    ours, theirs = record(training, edits=met.ours), record_theirs(training, edits=met.theirs)
    apart = np.abs(ours.theta - theirs.theta).max(axis=1)
    assert apart[: met.step].max() < 1e-13
    assert apart[met.step :].min() > 1e-7


def test_a_kink_is_met_where_both_blas_round_alike(monkeypatch):
    """Then torch's bias is given some round-off more, and the same is located."""
    training = sepals("rmsprop", hidden="relu", steps=60)
    zero = np.zeros((5, 8))
    monkeypatch.setattr("parity_tests.compare.runs.columns", lambda tensor: zero)
    met = kink(training, 5)
    monkeypatch.undo()
    ours, theirs = (edits[met.step - 1] for edits in (met.ours, met.theirs))
    assert isinstance(ours, partial)
    assert 0 < np.abs(ours.args[0] - theirs.args[0]).max() < 1e-14
    parting = located(training, met)
    assert (parting.step, parting.unit) == (met.step, met.unit)
    assert parting.quantity == "rectifier of Z1"
