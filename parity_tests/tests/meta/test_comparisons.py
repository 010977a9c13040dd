"""Comparisons: lies are caught, wrong arguments refused, right code passes, and all is recorded."""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from doctest import testmod as doctest_module
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

import parity_tests
from parity_tests import Budget, assert_parity, measure
from parity_tests.compare import budgets
from parity_tests.compare.budgets import BUDGETS, WIDE, WIDEST
from parity_tests.compare.gauges import linear_gauges
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import hold_both
from parity_tests.compare.side_effects import draws_from, unmodified
from parity_tests.compare.witnesses import Difference, widened
from parity_tests.tests.meta import lies
from parity_tests.tests.meta.lies import EPS

pytestmark = pytest.mark.usefixtures("unrecorded")

LIES = [*lies.LIES, *(lies.WIDE_LIES if WIDE else ())]


@pytest.mark.parametrize("name", lies.HONEST)
def test_right_code_passes(name, rng):
    lies.HONEST[name](rng)


@pytest.mark.parametrize(("says", "tell"), LIES, ids=[says for says, _ in LIES])
def test_a_lie_is_caught(says, tell, rng):
    with pytest.raises((AssertionError, TypeError, ValueError), match=says):
        tell(rng)


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
    assert budgets.FORWARD.in_eps(1e-7) == budgets.FORWARD.in_eps(1e-16) == 16
    assert Budget(name="relative", relative=1e-10).in_eps(1e-16) == pytest.approx(1e6)


@pytest.mark.parametrize("bound", [np.inf, np.nan, -1.0])
@pytest.mark.parametrize("field", ["eps", "relative"])
def test_a_bound_that_binds_nothing_is_refused(bound, field):
    with pytest.raises(ValueError, match=f"expected {field} of 'lie' to be from 0, got {bound}"):
        Budget(name="lie", **{field: bound})


def test_no_bound_is_made_elsewhere():
    """Budgets come from budgets.py alone, but for the lies of these tests."""
    meta, house = Path(__file__).parent, Path(budgets.__file__).parents[1]
    files = [one for one in house.rglob("*.py") if meta not in one.parents]
    made = {one.name for one in files if re.search(r"\bBudget\(", one.read_text())}
    assert made == {"budgets.py"}


@pytest.mark.parametrize("draws", [100, 60_000])
def test_statistics_of_draws_fail_as_rarely_as_they_say(draws):
    bound = budgets.of_draws(draws, 1e-4).relative * np.sqrt(draws)
    assert bound == pytest.approx(scipy.stats.norm.isf(0.5e-4), rel=1e-9)
    assert budgets.of_draws(draws) == budgets.of_draws(draws, budgets.ALARM)


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
    inside, outside = (
        lies.close(lies.ONE, lies.ONE, budget=Budget(name="edge", relative=one * most), gauge=gauge)
        for one in (0.999, 1.001)
    )
    inside(None)
    with pytest.raises(AssertionError, match=r"drowns in its tolerance .*: the case proves"):
        outside(None)


def recorded(tell, rng):
    begun = len(LEDGER.entries)
    with suppress(AssertionError):
        tell(rng)
    return LEDGER.entries[begun:]


# fmt: off
OUTPUT, DROWNED = ("output", "forward"), (lies.ZERO + 1e-15, lies.ZERO, lies.ONE)
PAIR = [OUTPUT, ("gradient of Z", "gradient")]
#: a comparison, the quantities that are recorded and their kinds, and how many of them failed.
RECORDED = {
    "a pair": (lies.told(), PAIR, 0),
    "a pair in float32": (lies.told(inputs=lies.draw32), PAIR, 0),
    "a rule": (lies.adam(), [(f"{one} over 50 steps", "step") for one in ("theta", *"vs")], 0),
    "a failure": (lies.close(2 * lies.ONE, lies.ONE), [("values", "forward")], 1),
    "a failure in float32": (lies.off_in_float32(300, 100), [OUTPUT], 1),
    "none of what drowns": (lies.beside(*DROWNED), [("proof", "forward")], 0),
}
# fmt: on


@pytest.mark.parametrize("name", RECORDED)
def test_every_comparison_is_recorded_with_both_distances(name, rng):
    """Each from the wider run, or from torch in float64; differences are of another kind."""
    tell, quantities, failed = RECORDED[name]
    found = [one for one in recorded(tell, rng) if one.kind != "other"]
    assert [(one.quantity, one.kind) for one in found] == quantities
    assert sum(one.share > 1 for one in found) == failed
    for one in found:
        if one.dtype == "float32":
            assert (one.budget, one.error) == (2 * one.theirs_error + 4, one.ours_error)
        elif name in ("a pair", "a rule") and WIDE:
            assert one.budget == {"forward": 16, "gradient": 64, "step": 64}[one.kind]
            assert 0 < one.ours_error < 64
            assert 0 < one.theirs_error < 64


@pytest.mark.parametrize("dtype", [np.longdouble, np.float64])
def test_differences_see_as_many_digits_as_they_say(dtype, rng):
    x, upstream = rng.standard_normal((2, 3, 4))
    difference = Difference(lies.forward, {"Z": x}, upstream, "Z", dtype)
    exact = upstream[1, 2] * (1 - np.tanh(x.astype(WIDEST)[1, 2]) ** 2)
    best, bar = difference.refined((1, 2))
    wide = dtype is np.longdouble and WIDE
    budget = budgets.FINITE_DIFFERENCE if wide else budgets.FLOAT64_DIFFERENCE
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
        lies.told(inputs=lies.shaped(Z=(5, 4)), **asked)(rng)
        assert len(places) - begun == len({*places[begun:]}) == held
    assert {*places} == {*np.ndindex(5, 4)}


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
    choices = {"steps": 40, "groups": groups, "widest": np.float64}
    lies.walk(keeping, draw=lambda rng: {"W1": np.ones((6, 9))}, **choices)(rng)
    sizes = np.abs(drawn).reshape(40, groups, -1)
    kinds, sixth = np.digitize(sizes.max(axis=0), [1e-9, 1e-7, 0.1]), sizes.shape[2] // 6
    assert ((sizes > 0) == (kinds > 0)).all()
    for one in kinds:
        assert np.bincount(one).tolist() == [sixth, 2 * sixth, 0, 3 * sixth]


def test_a_seed_is_one_draw(rng):
    """The same upstream gradient for a seed; the global generators stay where they are."""
    drawn, x = [], lies.draw(rng)

    def keeping(d, a):
        drawn.extend([d] if d.dtype == np.float64 else [])
        return lies.backward(d, a)

    with draws_from():
        for seed in (0, 0, 1, np.random.default_rng(1)):
            assert_parity(lies.forward, torch.tanh, x, backward=keeping, rng=seed)
    first, same, other, last = (one.tolist() for one in drawn)
    assert first == same != other == last


NARROW = {
    "it turns longdouble into float64": lambda A: A.astype(float),
    "it rounds to float64 inside": lambda A: A.astype(float).astype(A.dtype),
}


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider here")
@pytest.mark.parametrize("reason", NARROW)
def test_a_missing_witness_is_said(reason, rng):
    """Where it passes, and on the failure; differences in float64 find who is wrong."""
    forward, backward = lies.pair(NARROW[reason])
    steep, Z = lies.pair(slope=lies.times(1.001))[1], lies.draw(rng)
    found = assert_parity(forward, torch.tanh, Z, backward=backward)
    assert found.witness == f"witness: differences in float64, as {reason}"
    with pytest.raises(AssertionError, match="contradicts ours") as caught:
        assert_parity(forward, torch.tanh, Z, backward=steep)
    if "turns" in reason:
        assert caught.value.__notes__ == [found.witness]
        with pytest.raises(AssertionError, match="output differs") as caught:
            assert_parity(lambda Z: 1.1 * forward(Z)[0], torch.tanh, Z)
        assert caught.value.__notes__ == [f"no third witness: {reason}"]


def test_a_module_stays_as_it_was():
    module, inputs = nn.BatchNorm1d(3), lies.shaped(**lies.NORM)(np.random.default_rng(0))
    with unmodified({"module": module}):
        assert [*assert_parity(lies.batch_norm, module, inputs).errors] == ["output"]


def test_the_package_offers_its_names():
    """Without torch until one of them is used."""
    assert set(parity_tests.__all__) == set(dir(parity_tests))
    assert all(getattr(parity_tests, name) is not None for name in parity_tests.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'assert_parities'"):
        _ = parity_tests.assert_parities


#: modules whose examples are run.
DOCUMENTED = (
    *("parity_tests.user_code", "parity_tests.compare.functions", "parity_tests.compare.locate"),
    *("parity_tests.compare.measurement", "parity_tests.compare.optimizers"),
    "parity_tests.compare.quantities",
    *("scratch.training", "scratch.network", "scratch.optimizers"),
    *("torch_ref.training", "torch_ref.network", "torch_ref.optimizers"),
)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_examples_of_the_documentation_run(module):
    found = doctest_module(importlib.import_module(module))
    assert (found.failed, found.attempted > 1) == (0, True)
