"""Every generic check, asked of every row it fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, reject, settings

from parity_tests import checks
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.drawing import LAYOUTS
from parity_tests.rows import OptimizerTwin, PairTwin, Twin
from parity_tests.twins import all_twins

ROWS = list(all_twins().values())
PAIRS = [row for row in ROWS if isinstance(row, PairTwin)]
WALKS = [row for row in ROWS if isinstance(row, OptimizerTwin)]

#: a failure of a row whose cases are dear is told as it was drawn: to shrink it would take minutes.
UNSHRUNK = tuple(one for one in Phase if one not in (Phase.shrink, Phase.explain))

#: examples in float32 for each one in float64.
FLOAT32_SHARE = 0.2


def label(row: Twin) -> str:
    """Return the name of a row in the ids of tests: its stem, and its own where that differs."""
    return row.name if row.name == row.stem else f"{row.stem}:{row.name}"


def of(rows: list[Any]) -> Any:
    """Return the decorator that asks a test of rows."""
    return pytest.mark.parametrize("row", rows, ids=label)


def each(rows: list[Any], attribute: str, keep: Callable[[Any], bool] = lambda one: True) -> Any:
    """Return the decorator that asks a test of every mistake, edge or relation of rows."""
    cases = [
        pytest.param(row, one, id=f"{label(row)}-{getattr(one, 'name', one)}")
        for row in rows
        for one in getattr(row, attribute)
        if keep(one)
    ]
    return pytest.mark.parametrize(("row", "one"), cases)


def ask(check: Callable[..., None], *arguments: Any, **given: Any) -> None:
    """Ask a check; its failure is its message alone, without the frames of the engine."""
    try:
        check(*arguments, **given)
    except ProvesNothingError:
        raise
    except AssertionError as error:
        message = str(error)
    else:
        return
    pytest.fail(message, pytrace=False)


def draw_and_ask(check: Callable[..., None], row: Twin, share: float = 1.0) -> None:
    """Ask a check of the cases that hypothesis draws for a row; those that prove nothing go."""
    begun, profile = len(LEDGER.entries), settings()
    number = max(1, round(share * row.weight * profile.max_examples))

    @settings(max_examples=number, phases=profile.phases if row.weight >= 1 else UNSHRUNK)
    @given(row.settings())
    def run(drawn: dict[str, Any]) -> None:
        try:
            check(row, **drawn)
        except ProvesNothingError:
            reject()
        finally:
            LEDGER.condense(begun)

    run.__qualname__ = run.hypothesis.inner_test.__qualname__ = f"{check.__name__}_{row.name}"
    ask(run)


# fmt: off
#: checks that rows are asked once, at their examples.
ONCE = {
    checks.gauges_bound_something: ROWS, checks.proves_its_names: ROWS,
    checks.leaves_no_trace: ROWS, checks.refuses: ROWS,
    checks.backward_is_linear: PAIRS, checks.swallows_nothing: PAIRS,
    checks.is_right_as_typed: [row for row in ROWS if row.torch],
}
# fmt: on
once = [(check, row) for check, rows in ONCE.items() for row in rows]
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@of(ROWS)
def test_agrees(row):
    draw_and_ask(checks.agrees, row)


@of([row for row in ROWS if row.float32])
def test_agrees_in_float32(row):
    draw_and_ask(checks.agrees_in_float32, row, FLOAT32_SHARE)


@each(ROWS, "edges")
def test_edge(row, one):
    ask(checks.agrees, row, **row.edges[one])


@of(PAIRS)
@each_dtype
def test_three_witnesses(row, dtype, device):
    if dtype == np.float64:
        ask(checks.three_witnesses_agree, row, device)
    elif row.float32:
        ask(checks.agrees_in_float32, row, device)


@pytest.mark.parametrize(
    ("check", "row"), once, ids=[f"{check.__name__}-{label(row)}" for check, row in once]
)
def test_row(check, row):
    ask(check, row)


@of(WALKS)
@each_dtype
def test_walks_alike(row, dtype, device):
    ask(checks.walks_alike, row, dtype, device)


@of(ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_keeps_the_dtype(row, dtype):
    ask(checks.keeps_the_dtype, row, dtype)


@of([row for row in ROWS if not isinstance(row, OptimizerTwin)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_takes_any_layout(row, layout):
    ask(checks.takes_any_layout, row, layout)


@each(ROWS, "relations")
@pytest.mark.parametrize("side", checks.SIDES)
def test_relation(row, one, side):
    for seed in range(3):
        ask(checks.holds, row, one, side, seed=seed)


@each(ROWS, "relations")
def test_relation_is_broken(row, one):
    ask(checks.is_broken, row, one)


@each(ROWS, "mistakes", lambda one: one.margin)
def test_mistake_is_off(row, one):
    if one.missing():
        pytest.skip(one.missing())
    ask(checks.is_off, row, one)


@each(ROWS, "mistakes", lambda one: one.change and not one.beside)
def test_mistake_is_seen(row, one):
    ask(checks.is_seen, row, one)
