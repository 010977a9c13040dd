"""Early stopping: the same epoch ends the training, and the same best parameters come back."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parity_tests import assert_close
from parity_tests.compare.bridge import load, twin, unload
from scratch.early_stopping import EarlyStopping, EarlyStoppingState
from scratch.initializers import initialize
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import early_stopping as theirs

NETWORK = Network(layer_sizes=(3, 2, 1))
NAN, INF = math.nan, math.inf

#: costs by epoch, choices, the epoch that stops (None: it runs on) and the best epoch.
CURVES = {
    "improving": ([5, 4, 3, 2, 1], {"patience": 2}, None, 5),
    "rising": ([1, 2, 3, 4, 5], {"patience": 3}, 4, 1),
    "plateau": ([3, 2, 2, 2, 2, 2], {"patience": 3}, 5, 2),
    "a bump shorter than the patience": ([3, 2, 4, 4, 1, 2, 2, 2], {"patience": 3}, 8, 5),
    "a bump as long as the patience": ([3, 2, 4, 4, 1, 0], {"patience": 2}, 4, 2),
    "patience 1": ([3, 2, 2, 1], {"patience": 1}, 3, 2),
    "patience 1, the first epoch never stops": ([3], {"patience": 1}, None, 1),
    "an exact tie": ([2.0, 1.5, 1.5], {"patience": 2, "min_improvement": 0.5}, 3, 1),
    "just more than a tie": ([2.0, 1.499, 1.25], {"patience": 2, "min_improvement": 0.5}, None, 2),
    "crumbs add up to an improvement": (
        [2.0, 1.75, 1.5, 1.25, 1.0],
        {"patience": 3, "min_improvement": 0.5},
        None,
        4,
    ),
    "a slide in crumbs is none": (
        [2.0, 1.99, 1.98, 1.97],
        {"patience": 3, "min_improvement": 0.5},
        4,
        1,
    ),
    "NaN in between": ([3, NAN, NAN, 2, NAN, 1], {"patience": 3}, None, 6),
    "NaN runs out the patience": ([3, 2, NAN, NAN, 1], {"patience": 2}, 4, 2),
    "NaN first": ([NAN, 5, 6, 4], {"patience": 2}, None, 4),
    "nothing but NaN": ([NAN, NAN, NAN], {"patience": 3}, 3, 0),
    "infinity first": ([INF, INF, 2, NAN], {"patience": 2}, None, 3),
    "nothing but infinity": ([INF, INF, INF], {"patience": 2}, 3, 1),
    "minus infinity": ([1, -INF, -INF, -INF], {"patience": 2}, 4, 2),
    "negative costs": ([-1, -2, -1.5, -2.5], {"patience": 2}, None, 4),
}


class Run:
    """Both sides walk one curve; the parameters of epoch t are those drawn for t, 0 before it."""

    def __init__(self, costs, choices, rng):
        """Stop where ours stops; torch must say the same at each epoch."""
        self.drawn = [initialize((3, 2, 1), "he", rng) for _ in range(len(costs) + 1)]
        self.running = [Parameters({"mean1": rng.standard_normal((2, 1))}) for _ in self.drawn]
        self.mine, self.averages = self.drawn[0].copy(), self.running[0].copy()
        self.module = twin(NETWORK, self.mine)
        self.module.register_buffer("mean1", torch.from_numpy(self.averages["mean1"].copy()))
        stopping, other = EarlyStopping(**choices), theirs.EarlyStopping(**choices)
        self.state = stopping.init(self.mine, self.averages)
        self.their_state = other.init(self.module)
        self.stopped = None
        for epoch, cost in enumerate(costs, start=1):
            self.mine.theta[:] = self.drawn[epoch].theta
            self.averages.theta[:] = self.running[epoch].theta
            load(self.module, self.mine)
            self.module.mean1.copy_(torch.from_numpy(self.averages["mean1"]))
            stop = stopping.update(self.state, cost, self.mine, self.averages)
            assert other.update(self.their_state, cost, self.module) is stop
            if stop:
                self.stopped = epoch
                break
        stopping.restore(self.state, self.mine, self.averages)
        other.restore(self.their_state, self.module)


@pytest.mark.parity("EarlyStopping")
@pytest.mark.parametrize("name", CURVES)
def test_both_sides_stop_and_restore_alike(name, rng):
    """Epoch of the stop, best epoch and restored numbers are the table's, bit by bit."""
    costs, choices, stopped, best = CURVES[name]
    run = Run(costs, choices, rng)
    assert run.stopped == stopped
    fields = ("best_epoch", "epoch", "epochs_without_improvement", "best_cost")
    for field in fields:
        assert getattr(run.state, field) == getattr(run.their_state, field), field
    assert run.state.best_epoch == best
    assert run.state.best_cost == (costs[best - 1] if best else INF)
    reference, buffer = unload(run.module).theta, run.module.mean1.numpy()
    assert_close(run.mine.theta, reference, "restored theta")
    assert_close(run.averages["mean1"], buffer, "restored running mean")
    for restored, drawn in ((reference, run.drawn), (run.mine.theta, run.drawn)):
        assert np.array_equal(restored, drawn[best].theta)
    for restored in (buffer, run.averages["mean1"]):
        assert np.array_equal(restored, run.running[best]["mean1"])


def brute_force(costs, patience, min_improvement):
    """Return the epoch that stops, or None, and the best epoch: the definition, without a state."""
    best = 0
    for epoch, cost in enumerate(costs, start=1):
        if not np.isnan(cost) and (not best or cost < costs[best - 1] - min_improvement):
            best = epoch
        if epoch - best >= patience:
            return epoch, best
    return None, best


@given(
    st.lists(st.sampled_from([0, 0.25, 0.5, 0.75, 1, 2, -1, NAN, INF]), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.25, 0.5]),
)
def test_any_curve_follows_the_definition(costs, patience, min_improvement):
    """Costs on a coarse grid, so that exact ties abound, against the definition."""
    choices = {"patience": patience, "min_improvement": min_improvement}
    run = Run(costs, choices, np.random.default_rng(0))
    expected = brute_force(costs, patience, min_improvement)
    assert (run.stopped, run.state.best_epoch) == expected
    assert (run.state.best_epoch, run.state.best_cost) == (
        run.their_state.best_epoch,
        run.their_state.best_cost,
    )
    assert np.array_equal(run.mine.theta, run.drawn[expected[1]].theta)
    assert np.array_equal(unload(run.module).theta, run.drawn[expected[1]].theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_best_is_a_copy(dtype, rng):
    """Later updates spoil neither what is kept nor what was restored, and allocate nothing."""
    mine = initialize((3, 2, 1), "he", rng, dtype=np.float32)
    mine = Parameters({name: view.astype(dtype) for name, view in mine.items()})
    best = mine.copy()
    stopping = EarlyStopping(patience=5)
    state = stopping.init(mine)
    kept = state.parameters.theta
    stopping.update(state, dtype(1.0), mine)
    mine.theta[:] = 0
    stopping.update(state, dtype(2.0), mine)
    assert state.parameters.theta is kept
    assert np.array_equal(kept, best.theta)
    stopping.restore(state, mine)
    assert mine.theta.dtype == dtype
    mine.theta[:] = 0
    stopping.restore(state, mine)
    assert np.array_equal(mine.theta, best.theta)
    assert not np.shares_memory(mine.theta, kept)


def test_a_cost_may_be_a_tensor_or_narrow(rng):
    """A cost that is a tensor, as a loss is, or a float32 counts like its number."""
    module = twin(NETWORK, initialize((3, 2, 1), "he", rng))
    other, mine = theirs.EarlyStopping(patience=1), EarlyStopping(patience=1)
    state, ours = other.init(module), mine.init(unload(module))
    for cost, stop in ((0.3, False), (0.1, False), (0.1, True)):
        assert other.update(state, torch.tensor(cost), module) is stop
        assert mine.update(ours, np.float32(cost), unload(module)) is stop
    assert state.best_cost == ours.best_cost == float(np.float32(0.1))


BAD_CHOICES = {
    "no patience": ({"patience": 0}, ValueError),
    "half a patience": ({"patience": 1.5}, TypeError),
    "a boolean": ({"patience": True}, TypeError),
    "a negative improvement": ({"patience": 1, "min_improvement": -0.1}, ValueError),
    "NaN": ({"patience": 1, "min_improvement": NAN}, ValueError),
    "infinity": ({"patience": 1, "min_improvement": INF}, ValueError),
    "a string": ({"patience": 1, "min_improvement": "0"}, TypeError),
}


@pytest.mark.parametrize("bad", BAD_CHOICES)
@pytest.mark.parametrize("make", [EarlyStopping, theirs.EarlyStopping], ids=["scratch", "torch"])
def test_bad_choices_are_refused(make, bad):
    """Whole epochs of patience from one up, no negative improvement."""
    choices, error = BAD_CHOICES[bad]
    with pytest.raises(error, match=f"expected {list(choices)[-1]}"):
        make(**choices)


def test_what_does_not_belong_together_is_refused(rng):
    """Another network, another dtype, a forgotten running average or cost of the wrong kind."""
    mine, other = initialize((3, 2, 1), "he", rng), initialize((3, 3, 1), "he", rng)
    narrow = initialize((3, 2, 1), "he", rng, dtype=np.float32)
    stopping = EarlyStopping(patience=1)
    state = stopping.init(mine)
    for arguments, error in (
        ((state, 1.0, other), ValueError),
        ((state, 1.0, narrow), TypeError),
        ((state, 1.0, dict(mine)), TypeError),
        ((state, 1.0, mine, mine), ValueError),
        ((state, "1.0", mine), TypeError),
        ((state, None, mine), TypeError),
        ((state, True, mine), TypeError),
        ((state, mine["W1"], mine), TypeError),
        ((None, 1.0, mine), TypeError),
        ((stopping.init(mine, mine), 1.0, mine), ValueError),
    ):
        with pytest.raises(error, match="expected"):
            stopping.update(*arguments)
    with pytest.raises(ValueError, match="expected parameters like"):
        stopping.restore(state, other)
    with pytest.raises(TypeError, match="expected parameters"):
        stopping.init(dict(mine))
    assert state == EarlyStoppingState(state.parameters, None)


def test_modules_that_do_not_belong_together_are_refused(rng):
    """The same refusals for modules, before anything is loaded."""
    values = initialize((3, 2, 1), "he", rng)
    module, wider = twin(NETWORK, values), torch.nn.Linear(3, 2)
    stopping = theirs.EarlyStopping(patience=1)
    state = stopping.init(module)
    for arguments, error in (
        ((state, 1.0, wider), ValueError),
        ((state, 1.0, values), TypeError),
        ((state, "1.0", module), TypeError),
        ((state, torch.ones(1), module), TypeError),
        ((None, 1.0, module), TypeError),
    ):
        with pytest.raises(error, match="expected"):
            stopping.update(*arguments)
    with pytest.raises(ValueError, match="expected module"):
        stopping.restore(state, wider)
    with pytest.raises(TypeError, match="expected module"):
        stopping.init(values)
    assert state.epoch == 0


@pytest.mark.parametrize("side", ["scratch", "torch_ref"])
def test_whoever_goes_on_after_the_stop_is_told_again(side, rng):
    """Past the patience the answer stays, until a better cost; NumPy's numbers count alike."""
    values = initialize((3, 2, 1), "he", rng)
    make, other = (
        (EarlyStopping, values)
        if side == "scratch"
        else (theirs.EarlyStopping, twin(NETWORK, values))
    )
    stopping = make(patience=np.int64(300))
    state = stopping.init(other)
    answers = [stopping.update(state, cost, other) for cost in [1, *[np.int64(2)] * 302, 0.5]]
    assert answers == [False] * 300 + [True] * 3 + [False]


def test_parameters_of_another_layout_or_precision_are_refused(rng):
    """Fewer units or more, wider or narrower: the message names both sides of it."""
    layouts = [Parameters({"W1": rng.standard_normal((n, 2))}) for n in (1, 2, 3)]
    dtypes = [Parameters({"W1": np.ones((2, 2), dtype)}) for dtype in ("f4", "f8", "g")]
    stopping = EarlyStopping(patience=1)
    refusals = (
        (layouts, ValueError, "expected parameters like {}, got {}", lambda one: one),
        (dtypes, TypeError, "expected parameters of dtype {}, got {}", lambda one: one.theta.dtype),
    )
    for group, error, message, named in refusals:
        for kept, other in product(group, group):
            state = stopping.init(kept)
            if other is kept:
                stopping.restore(state, other)
                continue
            with pytest.raises(error) as refusal:
                stopping.restore(state, other)
            assert str(refusal.value) == message.format(named(kept), named(other))
    named = Parameters.empty(dtypes[1].shapes, np.dtype("f8", metadata={"unit": "degree"}))
    assert named.theta.dtype is not dtypes[1].theta.dtype
    stopping.restore(stopping.init(dtypes[1]), named)  # with metadata, it is the same dtype
    assert np.array_equal(named.theta, dtypes[1].theta)
