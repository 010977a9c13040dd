"""Early stopping beside its row: the table of curves, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given

from parity_tests.compare.bridge import twin, unload
from parity_tests.rows import SIDES
from parity_tests.twins.early_stopping import CURVES, NETWORK, TWINS
from scratch.early_stopping import EarlyStopping
from scratch.initializers import initialize
from scratch.parameters import Parameters
from torch_ref.early_stopping import EarlyStopping as TheirEarlyStopping

(ROW,) = TWINS


def definition(costs, patience, min_improvement):
    """Return the epoch that stops, or 0, and the best epoch."""
    best = 0
    for epoch, cost in enumerate(costs, start=1):
        if not math.isnan(cost) and (not best or cost < costs[best - 1] - min_improvement):
            best = epoch
        if epoch - best >= patience:
            return epoch, best
    return 0, best


@pytest.mark.parametrize("name", CURVES)
def test_the_table_says_who_stops_where(name):
    """So says the definition too, which keeps no state."""
    costs, patience, least, stopped, best = CURVES[name]
    assert definition(costs, patience, least) == (stopped, best)
    follows(ROW.case(costs=costs, patience=patience, min_improvement=least), stopped, best)


@given(ROW.settings())
def test_any_curve_follows_the_definition(drawn):
    case = ROW.case(**drawn)
    choices = (case[name] for name in ("costs", "patience", "min_improvement"))
    follows(case, *definition(*choices))


def follows(case, stopped, best):
    """Assert where both sides stop on a case, and what they restore."""
    for side in SIDES:
        found = ROW.run(side, case)
        assert (found["stopped"], found["best epoch"]) == (stopped, best)
        assert found["best cost"] == (case["costs"][best - 1] if best else math.inf)
        for restored in ("restored theta", "restored at first"):
            assert np.array_equal(found[restored], case["theta"][best])
        assert np.array_equal(found["restored running mean"], case["mean"][best])


def pair(rng):
    values = initialize((3, 2, 1), "he", rng)
    return values, twin(NETWORK, values)


def test_a_cost_may_be_a_tensor_or_narrow(rng):
    values, module = pair(rng)
    mine, other = EarlyStopping(patience=1), TheirEarlyStopping(patience=1)
    state, theirs = mine.init(values), other.init(module)
    for cost, stop in ((0.3, False), (0.1, False), (0.1, True)):
        assert other.update(theirs, torch.tensor(cost), module) is stop
        assert mine.update(state, np.float32(cost), values) is stop
    assert theirs.best_cost == state.best_cost == float(np.float32(0.1))


def test_whoever_goes_on_after_the_stop_is_told_again(rng):
    for make, held in zip((EarlyStopping, TheirEarlyStopping), pair(rng), strict=True):
        stopping = make(patience=np.int64(3))
        state = stopping.init(held)
        answers = [stopping.update(state, cost, held) for cost in (1, *[np.int64(2)] * 5, 0.5)]
        assert answers == [False] * 3 + [True] * 3 + [False]


def test_what_does_not_belong_together_is_refused(rng):
    """Another network or precision, a forgotten running average, a cost of the wrong kind."""
    (mine, module), other = pair(rng), initialize((3, 3, 1), "he", rng)
    narrow = Parameters({name: one.astype("f4") for name, one in mine.items()})
    stopping, stopping_theirs = EarlyStopping(patience=1), TheirEarlyStopping(patience=1)
    state, theirs = stopping.init(mine), stopping_theirs.init(module)
    for side, *arguments in (
        (stopping, state, 1.0, other),
        (stopping, state, 1.0, narrow),
        (stopping, stopping.init(narrow), 1.0, mine),
        (stopping, state, 1.0, dict(mine)),
        (stopping, state, 1.0, mine, mine),
        (stopping, stopping.init(mine, mine), 1.0, mine),
        (stopping, None, 1.0, mine),
        *((stopping, state, bad, mine) for bad in ("1.0", None, True, mine["W1"])),
        (stopping_theirs, theirs, 1.0, torch.nn.Linear(3, 2)),
        (stopping_theirs, theirs, 1.0, mine),
        (stopping_theirs, None, 1.0, module),
        *((stopping_theirs, theirs, bad, module) for bad in ("1.0", None, True, torch.ones(1))),
    ):
        with pytest.raises((TypeError, ValueError), match="expected"):
            side.update(*arguments)
    for side, kept, wrong in ((stopping, state, other), (stopping_theirs, theirs, narrow)):
        with pytest.raises((TypeError, ValueError), match="expected"):
            side.restore(kept, wrong)
        with pytest.raises(TypeError, match="expected"):
            side.init(dict(mine))
    assert state.epoch == theirs.epoch == 0
    assert np.array_equal(unload(module).theta, mine.theta)
