"""Lies are caught and explained, right code passes; how sharply the third witness sees."""

from __future__ import annotations

import numpy as np
import pytest

from parity_tests import STEP
from parity_tests.compare.budgets import FINITE_DIFFERENCE, FLOAT64_DIFFERENCE, WIDE, WIDEST
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.witnesses import Difference, widened
from parity_tests.tests.meta import lies

pytestmark = pytest.mark.usefixtures("unrecorded")

LIES = lies.LIES | (lies.WIDE_LIES if WIDE else {})


@pytest.mark.parametrize("name", lies.HONEST)
def test_right_code_passes(name, rng):
    lies.HONEST[name](rng)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_caught(name, rng):
    tell, says = LIES[name]
    with pytest.raises(AssertionError, match=says):
        tell(rng)


@pytest.mark.parametrize("dtype", [np.longdouble, np.float64])
def test_differences_see_as_many_digits_as_they_say(dtype, rng):
    x, upstream = rng.standard_normal((2, 3, 4))
    difference = Difference(lies.forward, {"x": x}, {}, upstream, "x", dtype)
    exact = upstream[1, 2] * (1 - np.tanh(x.astype(WIDEST)[1, 2]) ** 2)
    best, bar = difference.refined((1, 2))
    budget = FINITE_DIFFERENCE if dtype is np.longdouble and WIDE else FLOAT64_DIFFERENCE
    assert difference.budget == budget
    for found in (difference((1, 2)), best):
        assert abs(found - exact) < budget.relative / 10 * np.abs(upstream).max()
    assert abs(best - exact) < bar


@pytest.mark.parametrize(("asked", "held"), [({}, 12), ({"witnessed": 99}, 20)])
def test_as_many_entries_are_witnessed_as_were_asked_for(asked, held, monkeypatch, rng):
    """Distinct ones, other ones in each call."""
    places, quotient = [], Difference.__call__
    noted = lambda self, place: places.append(place) or quotient(self, place)  # noqa: E731
    monkeypatch.setattr(Difference, "__call__", noted)
    for _ in range(20):
        begun = len(places)
        lies.told(inputs=lies.shaped(x=(5, 4)), **asked)(rng)
        assert len(places) - begun == len({*places[begun:]}) == held
    assert {*places} == {*np.ndindex(5, 4)}


def recorded(tell, rng):
    begun = len(LEDGER.entries)
    tell(rng)
    return LEDGER.entries[begun:]


def test_every_comparison_shows_both_distances(rng):
    """Outputs, gradients and paths, each from the wider run or from torch in float64."""
    wide, narrow = (recorded(lies.told(inputs=one), rng) for one in (lies.draw, lies.draw32))
    expected = [("output", "forward"), ("gradient of x", "gradient")]
    assert [(one.quantity, one.kind) for one in narrow] == expected
    sides = ["ours", "theirs", *["ours in longdouble"] * WIDE]
    expected += [(f"gradient of x, {side}", "other") for side in sides]
    assert [(one.quantity, one.kind) for one in wide] == expected
    for one in narrow:
        assert (one.budget, one.error) == (2 * one.theirs_error + 4, one.ours_error)
    path = recorded(lies.adam(), rng)
    assert {one.quantity.split()[0] for one in path} == {"theta", "v", "s"}
    assert {(one.budget, one.kind) for one in path} == {(STEP.eps, "step")}
    for one in [*narrow, *(wide[:2] + path) * WIDE]:
        assert 0 < one.ours_error < 64
        assert 0 < one.theirs_error < 64


def test_a_machine_without_a_wider_dtype_is_served(monkeypatch, rng):
    """Runs in longdouble are left out, and everything else goes on."""
    monkeypatch.setattr("parity_tests.compare.witnesses.WIDE", False)
    monkeypatch.setattr("parity_tests.compare.optimizers.WIDE", False)
    assert widened(np.tanh, np.ones(3)) is None
    assert {one.ours_error for one in recorded(lies.adam(), rng)} == {None}
    with pytest.raises(AssertionError, match=r"^step 11: "):
        lies.drifting(11)(rng)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_third_of_the_gradients_is_tiny_and_a_sixth_zero(groups, rng):
    """In each group and at every step, always at the same entries."""
    drawn = []
    keeping = lies.Lying(lies.GD, lambda p, g, s: drawn.append(g.theta.copy()))
    draw = lambda rng: {"W1": np.ones((6, 9))}  # noqa: E731
    lies.walk(keeping, draw=draw, steps=40, groups=groups, widest=np.float64)(rng)
    sizes = np.abs(drawn).reshape(40, groups, -1)
    largest, entries = sizes.max(axis=0), sizes.shape[2]
    assert ((sizes > 0).all(axis=0) == (largest > 0)).all()
    for low, high, share in ((0, 1e-300, 6), (1e-9, 1e-7, 3), (0.1, 10, 2)):
        inside = (low <= largest) & (largest < high)
        assert inside.sum(axis=1).tolist() == [entries // share] * groups
