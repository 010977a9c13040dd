"""The table of budgets: each bound has a name and a reason, and no test makes one of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import parity_tests
from parity_tests.compare import budgets
from parity_tests.compare.budgets import (
    ALARM,
    BUDGETS,
    FINITE_DIFFERENCE,
    FLOAT32_FLOOR,
    FLOAT32_NETWORK,
    FLOAT32_STEP,
    FLOAT64_DIFFERENCE,
    FORWARD,
    GRADIENT,
    HIDDEN_ROUNDING,
    STEP,
    Budget,
    of_draws,
)
from parity_tests.compare.gauges import linear_gauges

HOUSE = Path(parity_tests.__file__).parent

#: the tests of the harness hold it to bounds that are lies.
LIARS = {"test_functions", "test_conventions", "test_budgets", "test_accuracy"}


def made(source: str) -> list[int]:
    """Return the lines on which a source makes a Budget."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) or getattr(node.func, "attr", None)) == "Budget"
    ]


def test_the_bounds_are_those_that_are_promised():
    """Sixteen eps forward, sixty-four for gradients and steps, and float32 within twice torch's."""
    assert FORWARD.eps <= 16
    assert GRADIENT.eps <= 64
    assert STEP.eps <= 64
    assert HIDDEN_ROUNDING.eps <= 16
    assert FINITE_DIFFERENCE.relative <= 1e-10
    assert FLOAT64_DIFFERENCE.relative <= 1e-7
    for floor, most in ((FLOAT32_FLOOR, 4), (FLOAT32_STEP, 4), (FLOAT32_NETWORK, 16)):
        assert floor.eps <= most
        assert floor.beside(3.0).eps == 6 + floor.eps
        assert floor.beside(3.0).name == floor.name


def test_a_matrix_product_is_gauged_by_its_terms():
    """|W| |A| + |b| and no more: a gauge too large would swallow what it should show."""
    W, A_prev, b = np.array([[3.0, -4.0]]), np.array([[2.0], [1.5]]), np.array([[-0.5]])
    found = linear_gauges({"A_prev": A_prev, "W": W, "b": b}, np.array([[-2.0]]))
    assert {name: gauge.tolist() for name, gauge in found.items()} == {
        "output": [[12.5]],
        "A_prev": [[6.0], [8.0]],
        "W": [[4.0, 3.0]],
        "b": [[2.0]],
    }


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.name)
def test_a_budget_has_a_reason(budget):
    """One sentence says where the bound comes from; it counts eps or stands as it is, not both."""
    assert len(budget.reason.split()) >= 5
    assert (budget.eps > 0) != (budget.relative > 0)


def test_the_table_holds_every_budget_once():
    """What the module names is in the table, under a name of its own."""
    named = [one for one in vars(budgets).values() if isinstance(one, Budget)]
    assert {id(one) for one in named} == {id(one) for one in BUDGETS}
    names = [one.name for one in BUDGETS]
    assert len(names) == len(set(names)) >= 10


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(HOUSE.rglob("*.py")) if path.stem not in {*LIARS, "budgets"}],
    ids=lambda path: str(path.relative_to(HOUSE).with_suffix("")),
)
def test_no_bound_is_made_elsewhere(path):
    """Tests and registries take their budgets from the table."""
    assert made(path.read_text()) == []


@pytest.mark.parametrize("source", ["Budget(eps=3)", "x = [parity_tests.Budget(name='a', eps=3)]"])
def test_a_bound_made_elsewhere_would_be_seen(source):
    """The scan finds a Budget however it is called."""
    assert made(source) == [1]


@pytest.mark.parametrize("draws", [100, 60_000])
def test_statistics_of_draws_fail_as_rarely_as_they_say(draws):
    """The bound is the normal quantile over the root of the number of draws."""
    bound = of_draws(draws, 1e-4).relative * np.sqrt(draws)
    assert bound == pytest.approx(scipy.stats.norm.isf(0.5e-4), rel=1e-9)
    assert of_draws(draws) == of_draws(draws, ALARM)
