"""Early stopping beside its row: the table of curves, and refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given

from parity_tests.compare.bridge import twin, unload
from parity_tests.compare.witnesses import cast
from parity_tests.rows import SIDES
from parity_tests.tests.stems.common import refused
from parity_tests.twins.early_stopping import CURVES, NETWORK, TWINS
from scratch.early_stopping import EarlyStopping
from scratch.initializers import initialize
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


def test_the_table_says_who_stops_where():
    for *curve, stopped, best in CURVES.values():
        assert definition(*curve) == (stopped, best)


@given(ROW.settings())
def test_any_curve_follows_the_definition(drawn):
    case = ROW.case(**drawn)
    stopped, best = definition(case["costs"], case["patience"], case["min_improvement"])
    for side in SIDES:
        found = ROW.run(side, case)
        assert (found["stopped"], found["best epoch"]) == (stopped, best)
        assert found["best cost"] == (case["costs"][best - 1] if best else math.inf)
        for restored in ("restored theta", "restored at first"):
            assert np.array_equal(found[restored], case["theta"][best])
        assert np.array_equal(found["restored running mean"], case["mean"][best])


VALUES = initialize((3, 2, 1), "he", np.random.default_rng(0))


def begun(**choices):
    for make, held in ((EarlyStopping, VALUES), (TheirEarlyStopping, twin(NETWORK, VALUES))):
        rule = make(**choices)
        yield rule, held, rule.init(held)


@pytest.mark.parametrize("number", [float, np.float32, np.int64, torch.tensor])
def test_a_cost_is_any_number(number):
    """Of torch's side a tensor too; whoever goes on after the stop is told again."""
    for rule, held, state in begun(patience=np.int64(2)):
        if number is not torch.tensor or held is not VALUES:
            answers = [
                rule.update(state, number(cost), held) for cost in (3.0, 1.0, 1.0, 1.0, 1.0, 0.0)
            ]
            assert answers == [False] * 3 + [True] * 2 + [False]
            assert type(state.best_cost) is float


def test_what_does_not_belong_together_is_refused():
    """Another network or precision, a forgotten running average, a cost of the wrong kind."""
    (mine, held, state), (theirs, module, other_state) = begun(patience=1)
    other, narrow = initialize((3, 3, 1), "he", np.random.default_rng(0)), cast(held, np.float32)
    # fmt: off
    for rule, *arguments in (
        (mine, state, 1.0, other), (mine, state, 1.0, narrow), (mine, state, 1.0, dict(held)),
        (mine, mine.init(narrow), 1.0, held), (mine, state, 1.0, held, held),
        (mine, mine.init(held, held), 1.0, held), (mine, None, 1.0, held),
        *((mine, state, bad, held) for bad in ("1.0", None, True, held["W1"])),
        (theirs, other_state, 1.0, torch.nn.Linear(3, 2)), (theirs, other_state, 1.0, held),
        (theirs, None, 1.0, module),
        *((theirs, other_state, bad, module) for bad in ("1.0", None, True, torch.ones(1))),
    ):
        refused("", rule.update, *arguments)
    # fmt: on
    for rule, kept, wrong in ((mine, state, other), (theirs, other_state, narrow)):
        refused("", rule.restore, kept, wrong)
        refused("", rule.init, dict(held))
    assert state.epoch == other_state.epoch == 0
    assert np.array_equal(unload(module).theta, held.theta)
