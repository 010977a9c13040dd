"""Budgets and the ruler: bounds with a name and a reason, errors in eps over the reference."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import parity_tests
from parity_tests import FORWARD, GRADIENT, STEP, Budget, assert_close, measure
from parity_tests.compare import budgets
from parity_tests.compare.budgets import ALARM, BUDGETS, of_draws
from parity_tests.compare.gauges import linear_gauges
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import hold_both
from parity_tests.compare.quantities import Quantity, agree, assert_no_worse

HOUSE, META = Path(parity_tests.__file__).parent, Path(__file__).parent
EPS = 2.0**-52

#: the largest bounds that are promised, in eps or as they are.
PROMISED = {
    **{"FORWARD": 16, "GRADIENT": 64, "STEP": 64, "HIDDEN_ROUNDING": 16},
    **{"FLOAT32_FLOOR": 4, "FLOAT32_STEP": 4, "FLOAT32_NETWORK": 16},
    **{"FINITE_DIFFERENCE": 1e-10, "FLOAT64_DIFFERENCE": 1e-7},
}


def test_bounds_are_as_small_as_promised_and_have_reasons():
    for name, bound in PROMISED.items():
        budget = getattr(budgets, name)
        assert (budget.eps or budget.relative) <= bound, name
    assert len({one.name for one in BUDGETS}) == len(BUDGETS) >= 10
    for one in BUDGETS:
        assert len(one.reason.split()) >= 5, one.name
        assert (one.eps > 0) != (one.relative > 0), one.name
    assert [one.kind for one in (FORWARD, GRADIENT, STEP)] == ["forward", "gradient", "step"]


@pytest.mark.parametrize("bound", [np.inf, np.nan, -1.0])
@pytest.mark.parametrize("field", ["eps", "relative"])
def test_a_bound_that_binds_nothing_is_refused(bound, field):
    with pytest.raises(ValueError, match=f"expected {field} of 'lie' to be from 0, got {bound}"):
        Budget(name="lie", **{field: bound})


def test_a_budget_in_eps_is_the_same_in_every_dtype():
    assert FORWARD.in_eps(1e-7) == FORWARD.in_eps(1e-16) == 16
    assert Budget(name="relative", relative=1e-10).in_eps(1e-16) == pytest.approx(1e6)


def test_no_bound_is_made_elsewhere():
    """But for those that are lies."""
    files = [one for one in HOUSE.rglob("*.py") if META not in one.parents]
    made = {one.name for one in files if re.search(r"\bBudget\(", one.read_text())}
    assert made == {"budgets.py"}


@pytest.mark.parametrize("draws", [100, 60_000])
def test_statistics_of_draws_fail_as_rarely_as_they_say(draws):
    bound = of_draws(draws, 1e-4).relative * np.sqrt(draws)
    assert bound == pytest.approx(scipy.stats.norm.isf(0.5e-4), rel=1e-9)
    assert of_draws(draws) == of_draws(draws, ALARM)


def test_a_matrix_product_is_gauged_by_its_terms():
    W, A_prev, b = np.array([[3.0, -4.0]]), np.array([[2.0], [1.5]]), np.array([[-0.5]])
    found = linear_gauges({"A_prev": A_prev, "W": W, "b": b}, np.array([[-2.0]]))
    expected = {"output": [[12.5]], "A_prev": [[6.0], [8.0]], "W": [[4.0, 3.0]], "b": [[2.0]]}
    assert {name: gauge.tolist() for name, gauge in found.items()} == expected


# fmt: off
#: ours, theirs, gauge, and the error in eps of float64.
RULER = {
    "over the largest of theirs": ([8.0, 0.5 + 16 * EPS], [8.0, 0.5], None, 2.0),
    "over theirs, not ours": ([3.0], [1.0], None, 2 / EPS),
    "over a gauge": ([8.0, 0.5 + 16 * EPS], [8.0, 0.5], [1.0, 4.0], 4.0),
    "of either sign": ([-1.0 - 4 * EPS], [-1.0], None, 4.0),
    "none": ([1.0, 0.0], [1.0, 0.0], [1.0, 0.0], 0.0),
    "of nothing": ([1.0, 1e-300], [1.0, 0.0], [1.0, 0.0], np.inf),
    "of NaN": ([np.nan, 1.0], [1.0, 1.0], None, np.inf),
    "from NaN": ([1.0, 1.0], [np.nan, 1.0], None, np.inf),
    "from infinity": ([np.inf, 1.0], [np.inf, 1.0], None, np.inf),
    "over a gauge of NaN": ([1.0, 1.0], [1.0, 1.0], [1.0, np.nan], np.inf),
}
# fmt: on


@pytest.mark.parametrize("name", RULER)
def test_the_ruler(name):
    ours, theirs, gauge, error = RULER[name]
    assert measure(np.array(ours), np.array(theirs), gauge).error == error


def test_the_ruler_names_the_place_and_its_ulps():
    found = measure(np.array([[8.0, 0.5 + 16 * EPS]]), np.array([[8.0, 0.5]]))
    assert (found.place, found.ulp) == ((0, 1), 32)
    single = measure(np.float32([1 + 2.0**-23]), np.float32([1.0]))
    assert (single.error, single.ulp) == (1.0, 1.0)
    truth = hold_both(np.array([3.0]), np.array([2.0]), np.array([1.0], np.longdouble))
    assert (truth.ours.error, truth.theirs.error) == (1 / EPS, 0.5 / EPS)  # over theirs


@pytest.mark.parametrize(("gauge", "most"), [(None, 1 / 10), (1.0, 1 / 100), (50.0, 1 / 5000)])
def test_the_edge_of_what_proves_something(gauge, most):
    """A reference ten times its tolerance, or a hundred times that of a gauge, and no smaller."""
    reference = np.array([1.0, -0.01])
    with LEDGER.unrecorded():
        inside, outside = (Budget(name="edge", relative=one * most) for one in (0.999, 1.001))
        assert_close(reference, reference, "values", budget=inside, gauge=gauge)
        with pytest.raises(AssertionError, match=r"drowns in its tolerance .*: the case proves"):
            assert_close(reference, reference, "values", budget=outside, gauge=gauge)


def test_comparisons_are_recorded_unless_they_drown():
    """Those that fail too."""
    one, tiny = np.ones(2), np.full(2, 1e-15)
    with LEDGER.unrecorded():
        begun = len(LEDGER.entries)
        agree({"proof": Quantity(one, one), "drowned": Quantity(tiny, 0 * one, one)})
        with pytest.raises(AssertionError):
            assert_close(2 * one, one, "wrong")
        single = one.astype("f4")
        with pytest.raises(AssertionError):
            assert_no_worse(2 * single, single, one, "narrow", None, budgets.FLOAT32_FLOOR, "step")
        found = [(one.quantity, one.share > 1, one.kind) for one in LEDGER.entries[begun:]]
    assert found[0] == ("proof", False, "forward")
    assert found[1:] == [("wrong", True, "forward"), ("narrow", True, "step")]
