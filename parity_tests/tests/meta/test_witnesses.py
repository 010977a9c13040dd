"""The third witness: how sharply it sees, where it looks, and machines without a wider dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import STEP, assert_close, assert_same_trajectory, assert_twins
from parity_tests.compare.budgets import (
    FINITE_DIFFERENCE,
    FLOAT64_DIFFERENCE,
    WIDE,
    WIDEST,
    difference_of,
)
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.witnesses import Difference, widened
from parity_tests.tests.meta.lies import (
    GD,
    SGD,
    Lying,
    adam,
    backward,
    draw,
    draw32,
    drifting,
    forward,
    never_learning,
)

PAIR = forward, backward, torch.tanh


pytestmark = pytest.mark.usefixtures("unrecorded")


@pytest.mark.parametrize("dtype", {WIDEST, np.float64})
def test_differences_see_as_many_digits_as_they_say(dtype, rng):
    x, upstream = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    difference = Difference(forward, {"x": x}, upstream, "x", dtype)
    exact = upstream[1, 2] * (1 - np.tanh(x.astype(WIDEST)[1, 2]) ** 2)
    best, bar = difference.refined((1, 2))
    budget = FINITE_DIFFERENCE if dtype is np.longdouble and WIDE else FLOAT64_DIFFERENCE
    assert difference_of(dtype)[1] == budget
    for found in (difference((1, 2)), best):
        assert abs(found - exact) < budget.relative / 10 * np.abs(upstream).max()
    assert abs(best - exact) < bar


@pytest.mark.parametrize(
    ("asked", "held"), [({}, 12), ({"witnessed": 5}, 5), ({"witnessed": 99}, 20)]
)
def test_as_many_entries_are_witnessed_as_were_asked_for(asked, held, monkeypatch, rng):
    """Distinct ones, other ones in each call."""
    places, quotient = [], Difference.__call__
    monkeypatch.setattr(
        Difference, "__call__", lambda self, place: places.append(place) or quotient(self, place)
    )
    for _ in range(20):
        begun = len(places)
        assert_twins(*PAIR, {"x": rng.standard_normal((5, 4))}, rng, **asked)
        assert len(places) - begun == len({*places[begun:]}) == held
    assert {*places} == {*np.ndindex(5, 4)}


def recorded(tell, rng):
    begun = len(LEDGER.entries)
    tell(rng)
    return LEDGER.entries[begun:]


def test_every_comparison_shows_both_distances(rng):
    """Of outputs, gradients and paths, each from the wider run or from torch in float64."""
    for inputs in (draw, draw32):
        every = recorded(lambda rng, inputs=inputs: assert_twins(*PAIR, inputs(rng), rng), rng)
        found = [one for one in every if one.kind != "other"]
        seen = [(one.quantity, one.kind) for one in found]
        assert seen == [("output", "forward"), ("gradient of x", "gradient")]
        if inputs is draw32:
            assert all(one.budget == 2 * one.theirs_error + 4 for one in found)
            assert all(one.error == one.ours_error for one in found)
        else:
            sides = ["ours", "theirs", *["ours in longdouble"] * WIDE]
            differences = [one.quantity for one in every if one.kind == "other"]
            assert differences == [f"gradient of x, {side}" for side in sides]
        if WIDE or inputs is draw32:
            assert all(0 < one.ours_error < 4 and 0 < one.theirs_error < 4 for one in found)
    path = recorded(adam(), rng)
    assert {one.quantity.split()[0] for one in path} == {"theta", "v", "s"}
    assert all((one.budget, one.kind) == (STEP.eps, "step") for one in path)
    assert all(0 < one.ours_error < 64 and 0 < one.theirs_error < 64 for one in path) or not WIDE


def test_a_machine_without_a_wider_dtype_is_served(monkeypatch, rng):
    """Runs in longdouble are left out, and everything else goes on."""
    monkeypatch.setattr("parity_tests.compare.witnesses.WIDE", False)
    monkeypatch.setattr("parity_tests.compare.optimizers.WIDE", False)
    assert all(one.ours_error is None for one in recorded(adam(), rng))
    assert widened(np.tanh, np.ones(3)) is None
    assert_close(np.ones(3), np.ones(3), "ones", wider=widened(np.tanh, np.ones(3)))
    with pytest.raises(AssertionError, match=r"^step 11: "):
        drifting(11)(rng)
    with pytest.raises(AssertionError, match=r"^step 1: theta differs"):
        never_learning("f8")(rng)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_third_of_the_gradients_is_tiny_and_a_sixth_zero(groups, rng):
    """In each group and at every step, always at the same entries."""
    drawn = []
    keeping = Lying(GD, lambda p, g, s: drawn.append(g.theta.copy()), dtype="f8")
    keeping.__deepcopy__ = lambda memory: keeping
    choices = {"steps": 40, "groups": groups, "widest": np.float64}
    assert_same_trajectory(keeping, SGD, {"W1": np.ones((6, 9))}, rng, **choices)
    sizes = np.abs(drawn).reshape(40, groups, -1)
    largest, entries = sizes.max(axis=0), sizes.shape[2]
    assert ((sizes > 0).all(axis=0) == (largest > 0)).all()
    for low, high, share in ((0, 1e-300, 6), (1e-9, 1e-7, 3), (0.1, 10, 2)):
        inside = (low <= largest) & (largest < high)
        assert inside.sum(axis=1).tolist() == [entries // share] * groups
