"""Search: scales against scipy's distributions, points, zooming, one model and many."""

from __future__ import annotations

import importlib
import inspect
import math
import shutil
import signal
import sys
import threading
import types
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import TRAINING, assert_close, assert_switches, measure
from parity_tests.compare.bridge import rows, twin, unload
from parity_tests.compare.budgets import ALARM, FLOAT32_FLOOR, of_draws
from parity_tests.compare.measurement import MARGIN
from parity_tests.tests.stems.objectives import (
    our_cost,
    start,
    their_cost,
    train_ours,
    train_theirs,
)
from scratch import search as ours
from scratch._door import unchecked
from torch_ref import search as theirs

SIDES = pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])

#: ranges of each scale, with the distribution its values, or 1 - its values, have in scipy.
RANGES = {
    "uniform": (-3.0, 5.0),
    "log_uniform": (1e-5, 1.0),
    "one_minus_log_uniform": (0.9, 0.999),
    "integers": (-2, 4),
}
WITNESSES = {
    "uniform": (lambda values: values, scipy.stats.uniform(-3, 8)),
    "log_uniform": (lambda values: values, scipy.stats.loguniform(1e-5, 1)),
    "one_minus_log_uniform": (lambda values: 1 - values, scipy.stats.loguniform(0.001, 0.1)),
    "integers": (lambda values: values, scipy.stats.randint(-2, 5)),
}


def make(side, name, ends=None):
    """Return a scale of one side."""
    low, high = RANGES[name] if ends is None else ends
    return side.SCALES[name](low=low, high=high)


def space(side):
    """Return a space of one scale of each kind."""
    return {name: make(side, name) for name in RANGES}


def table(points, names=RANGES):
    """Return points as an array, a row each."""
    return np.array([[point[name] for name in names] for point in points], float)


def trials(side, points, costs):
    """Return trials of one side."""
    return [side.Trial(point, cost) for point, cost in zip(points, costs, strict=True)]


def bowl(point):
    """Return a cost that is lowest at a learning rate of 0.01, whatever beta is."""
    return (math.log10(point["learning_rate"]) + 2) ** 2


POINT = {"learning_rate": 0.1, "beta": 0.9}
RATES = {"learning_rate": (1e-5, 1.0), "beta": (0.9, 0.999)}


def rates(side):
    """Return the lecture's space: a learning rate and a beta, both on logarithms."""
    return {
        "learning_rate": side.LogUniform(low=1e-5, high=1.0),
        "beta": side.OneMinusLogUniform(low=0.9, high=0.999),
    }


def examples():
    """Yield one valid call of each function of both sides."""
    draws = {"rng": np.random.default_rng(0)}, {"generator": torch.Generator().manual_seed(0)}
    U = np.array([[0.1, 0.6, 0.9], [0.2, 0.4, 0.0]])
    model = {"state": [1.0]}, {"module": torch.nn.Linear(1, 1), "optimizer": None}
    model[1]["optimizer"] = torch.optim.SGD(model[1]["module"].parameters())
    returns = (lambda state, point: (state, 0.5)), (lambda module, point: 0.5)
    quiet = {"on_result": lambda result: None}
    for i, side in enumerate((ours, theirs)):
        given, tried = {"space": rates(side)}, trials(side, [POINT, POINT], [0.5, 0.7])
        train_for = {"train_for": returns[i], **model[i]}
        many = {"points": [POINT], "workers": 1, "trials": []}
        calls = {
            "sample_points": {**given, "U": rows(U) if i else U},
            "draw_points": {**given, "n": 3, **draws[i]},
            "grid_points": {**given, "n_per_axis": 3},
            "zoom": {**given, "trials": tried, "keep": 1},
            "best": {"trials": tried},
            "panda": {**train_for, "point": POINT, "changes": [{"beta": 0.8}], **quiet},
            "caviar": {"objective": bowl, **many, **quiet},
        }
        for name, arguments in calls.items():
            yield f"{side.__name__}.{name}", arguments


EXAMPLES = dict(examples())


def spoil_draws(expected, value):
    """Yield (how, bad value, error) for uniform draws."""
    yield "a list", value.tolist(), TypeError
    yield "one axis less", value[0], ValueError
    yield "NaN inside", value * math.nan, ValueError
    yield "one", value + (1 - value), ValueError
    yield "negative", value - 1, ValueError
    yield "draws for another space", value[:1, :1], ValueError


def spoil_space(expected, value):
    """Yield (how, bad value, error) for a space."""
    yield "None", None, TypeError
    yield "a list", list(value.values()), TypeError
    yield "ranges", RATES, TypeError
    yield "numbers for names", dict(enumerate(value.values())), TypeError
    yield "nothing", {}, ValueError


def spoil_point(expected, value):
    """Yield (how, bad value, error) for a point."""
    yield "None", None, TypeError
    yield "pairs", list(value.items()), TypeError
    yield "numbers for names", {0: 1.0}, TypeError


def spoil_several(expected, value):
    """Yield (how, bad value, error) for points and trials."""
    yield "None", None, TypeError
    yield "a string", "points", TypeError
    yield "one alone", value[0], TypeError
    yield "a generator", (one for one in value), TypeError
    yield "numbers", [1.0], TypeError
    yield "nothing", [], ValueError


SPOILS = {
    "Draws": spoil_draws,
    "Space": spoil_space,
    "_Point": spoil_point,
    "_Several": spoil_several,
}


@pytest.mark.seeds(20)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("uniform", marks=pytest.mark.parity("Scale", "Uniform")),
        pytest.param("log_uniform", marks=pytest.mark.parity("LogUniform")),
        pytest.param("one_minus_log_uniform", marks=pytest.mark.parity("OneMinusLogUniform")),
        pytest.param("integers", marks=pytest.mark.parity("Integers")),
    ],
)
def test_shared_draws_give_the_same_values(name, dtype, rng):
    """Value by value against torch's and, in float64, scipy's quantiles, inside the range."""
    largest = np.nextafter(dtype(1), dtype(0))
    u = np.sort([0, largest, *rng.random(200)]).astype(dtype)
    u[u == 1] = largest
    kept = u.copy()
    values = make(ours, name).sample(u)
    reference = make(theirs, name).sample(torch.from_numpy(u)).numpy()
    assert values.dtype == reference.dtype == (np.int64 if name == "integers" else dtype)
    # each value by its own size, as a log scale spans decades
    exact = make(theirs, name).sample(torch.from_numpy(u).double()).double().numpy()
    gauge = np.maximum(np.abs(exact), 1e-300)
    if dtype is np.float32:
        spread = measure(reference, exact, gauge, np.finfo(dtype).eps).error
        allowed = FLOAT32_FLOOR.beside(spread)
        assert_close(values.astype(dtype), exact.astype(dtype), name, gauge=gauge, budget=allowed)
    else:
        assert_close(values.astype(dtype), exact, name, gauge=gauge)
        witness = WITNESSES[name][1]
        third = 1 - witness.ppf(1 - u) if name.startswith("one") else witness.ppf(u)
        third = np.clip(third, *RANGES[name])  # scipy's quantile of whole numbers at 0 is one less
        assert_close(values.astype(dtype), third, "scipy", gauge=gauge)
    low, high = (dtype(end) for end in RANGES[name])
    assert (values >= low).all()
    assert (values <= high).all()
    assert (np.diff(values) >= 0).all()
    assert_close(values[[0, -1]].astype(dtype), np.array([low, high]), "ends")
    assert np.array_equal(u, kept)


@SIDES
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("count", [1, 2, 3, 49, 2**24 - 1, 2**24 + 3, 2**40 + 1, 2**53])
def test_the_largest_draw_is_the_largest_whole_number(side, count, dtype):
    """No draw below 1 rounds to the number after the last, however long the range."""
    u = np.nextafter(np.ones(1, dtype), 0)
    (value,) = side.Integers(low=1, high=count).sample(u if side is ours else torch.from_numpy(u))
    assert value <= count
    assert value >= count * (1 - 2 * np.finfo(dtype).eps)
    if count < 2**20:
        assert value == count


def test_extended_precision_stays():
    """Longdouble in, longdouble out, and closer to the formula than float64 is."""
    u = np.linspace(0, 0.9, 9, dtype=np.longdouble)
    values = ours.LogUniform(low=1e-5, high=1.0).sample(u)
    assert values.dtype == np.longdouble
    assert_close(values, np.longdouble(1e-5) ** (1 - u), "longdouble")


def test_a_learning_rate_on_a_linear_scale_hardly_tries_small_ones(rng):
    """The lecture's reason: of 1e-4..1, a linear scale spends 90 % of the draws on 0.1..1."""
    u = rng.random(10_000)
    linear = ours.Uniform(low=1e-4, high=1.0).sample(u)
    decades = ours.LogUniform(low=1e-4, high=1.0).sample(u)
    assert 0.85 < (linear > 0.1).mean() < 0.95
    assert 0.2 < (decades > 0.1).mean() < 0.3
    assert abs(decades - np.power(10, -4 + 4 * u)).max() < 1e-15  # r = -4 rand, alpha = 10^r


@pytest.mark.parity("draw_points", "sample_points")
def test_draws_have_the_distribution_they_name(rng):
    """Both sides' draws pass against scipy's, axis by axis, and the axes are independent."""
    n = 3000
    seed = int(rng.integers(2**31))
    mine = table(ours.draw_points(space(ours), n, np.random.default_rng(seed)))
    other = table(theirs.draw_points(space(theirs), n, torch.Generator().manual_seed(seed)))
    for points in (mine, other):
        for values, name in zip(rows(points).numpy(), RANGES, strict=True):
            turn, witness = WITNESSES[name]
            if name == "integers":
                counts = np.bincount(values.astype(int) + 2, minlength=7)
                assert scipy.stats.chisquare(counts).pvalue > ALARM
            else:
                assert scipy.stats.kstest(turn(values), witness.cdf).pvalue > ALARM
        correlations = scipy.stats.spearmanr(points).statistic - np.eye(4)
        assert np.abs(correlations).max() < of_draws(n).relative
    # the same draws on the other side are the same points
    U = np.random.default_rng(seed).random((4, n))
    shared = table(theirs.sample_points(space(theirs), rows(U)))
    assert_close(mine, shared, "points", gauge=np.maximum(np.abs(shared), 1e-300))
    assert np.array_equal(mine, table(ours.sample_points(space(ours), U)))
    assert not np.array_equal(mine, other)


@SIDES
def test_points_are_plain_numbers(side):
    """Whole numbers come as int, the others as float, under their names in order."""
    U = np.array([[0.5], [0.5], [0.5], [0.999]])
    (point,) = side.sample_points(space(side), U if side is ours else rows(U))
    assert list(point) == list(RANGES)
    assert [type(value) for value in point.values()] == [float, float, float, int]
    assert point["integers"] == 4


@pytest.mark.parity("grid_points", "draw_points")
def test_random_points_try_more_values_than_a_grid(rng):
    """25 points: a grid tries 5 learning rates, random points 25; the sides' grids agree."""
    grid, other = (side.grid_points(rates(side), 5) for side in (ours, theirs))
    assert_close(table(grid, RATES), table(other, RATES), "grid")
    drawn = ours.draw_points(rates(ours), 25, rng)
    their_drawn = theirs.draw_points(rates(theirs), 25, torch.Generator().manual_seed(0))
    for name in RATES:
        distinct = [len({point[name] for point in one}) for one in (grid, other)]
        assert distinct == [5, 5]
        assert [len({point[name] for point in one}) for one in (drawn, their_drawn)] == [25, 25]
    assert len(grid) == 25
    logs = np.log10(table(grid, RATES)[:, 0])
    assert_close(logs, np.repeat([-4.5, -3.5, -2.5, -1.5, -0.5], 5), "decades")


@pytest.mark.parity("grid_points")
@pytest.mark.parametrize("n_per_axis", [1, 2, 3, 7, 49])
def test_a_grid_covers_each_scale(n_per_axis):
    """Equally spaced quantiles, the last name fastest, on all kinds of scales; no point twice."""
    names = ["uniform", "integers"]
    grid, other = (
        side.grid_points({name: make(side, name) for name in names}, n_per_axis)
        for side in (ours, theirs)
    )
    assert_close(table(grid, names), table(other, names), "grid")
    first = -3 + 8 * (np.arange(n_per_axis) + 0.5) / n_per_axis
    last = {1: [1], 2: [-1, 3], 3: [-1, 1, 3]}.get(n_per_axis, range(-2, 5))
    expected = np.array([[one, other] for one in first for other in last], float)
    assert_close(table(grid, names), expected, "formula")


@SIDES
@pytest.mark.parametrize("count", [1, 2, 3, 10, 49, 98])
def test_a_grid_as_fine_as_the_whole_numbers_has_each_once(side, count):
    """No quantile falls on the edge between two numbers, where round-off would choose."""
    scale = side.Integers(low=1, high=count)
    assert [point["n"] for point in side.grid_points({"n": scale}, count)] == [*range(1, count + 1)]


def ends(narrowed):
    """Return the low and high of a space's scales, a row each."""
    return np.array([[scale.low, scale.high] for scale in narrowed.values()], float)


@pytest.mark.parity("zoom")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("keep", [1, 3, 12])
def test_zoom_narrows_alike(keep, rng):
    """The sides narrow to the same box; it holds the best, leaves the next, is never wider."""
    points = ours.draw_points(space(ours), 12, rng)
    costs = rng.standard_normal(12)
    costs[rng.integers(12)] = math.nan
    mine, other = (
        side.zoom(space(side), trials(side, points, costs), keep) for side in (ours, theirs)
    )
    assert list(mine) == list(other) == list(RANGES)
    gauge = dict(zip(RANGES, np.abs(ends(other)), strict=True))
    gauge["uniform"][:] = max(map(abs, RANGES["uniform"]))  # halfway may be near 0
    gauge["log_uniform"] *= 1 + np.abs(np.log(gauge["log_uniform"]))  # a power of a rounded place
    assert_close(ends(mine), ends(other), "ends", gauge=np.array(list(gauge.values())))
    best = [points[i] for i in np.argsort(costs)[: min(keep, 11)]]
    for name, scale in mine.items():
        assert type(scale) is ours.SCALES[name]
        assert type(scale.low) is type(make(ours, name).low)
        inside = [point[name] for point in best]
        outside = [one[name] for one in points if not min(inside) <= one[name] <= max(inside)]
        low, high = RANGES[name]
        assert low <= scale.low <= min(inside) <= max(inside) <= scale.high <= high
        assert not any(scale.low <= value <= scale.high for value in outside)


@SIDES
def test_zoom_goes_halfway_on_the_scales_own_axis(side):
    """Around the best of a 5 x 5 grid the box is its cell: a decade, a fifth of the nines."""
    grid = side.grid_points(rates(side), 5)
    costs = [abs(math.log10(point["learning_rate"]) + 2.5) for point in grid]
    costs = [cost + abs(point["beta"] - 0.99) for cost, point in zip(costs, grid, strict=True)]
    cell = side.zoom(rates(side), trials(side, grid, costs), 1)
    nines = 1 - np.power(10, [-1.8, -2.2])
    expected = np.array([[1e-3, 1e-2], nines])
    assert_close(ends(cell), expected, "cell", gauge=expected)
    whole = side.Integers(low=0, high=9)
    tried = [side.Trial({"n": n}, abs(n - 4)) for n in (0, 2, 4, 7)]
    # 3 is as far from 2 as from 4 and stays, 5.5 lies halfway to 7
    assert ends(side.zoom({"n": whole}, tried, 1)).tolist() == [[3, 5]]
    assert ends(side.zoom({"n": whole}, tried, 2)).tolist() == [[1, 5]]
    assert side.zoom({"n": whole}, tried[:1], 1) == {"n": whole}


@SIDES
def test_coarse_to_fine_closes_in_and_never_closes(side):
    """Zooming on grids finds the optimum, and goes on, down to one float, without an empty box."""
    narrowed = rates(side)
    for level in range(40):
        grid = side.grid_points(narrowed, 3)
        narrowed = side.zoom(narrowed, trials(side, grid, map(bowl, grid)), 1)
        if level == 9:
            assert ends(narrowed)[0] == pytest.approx([0.01, 0.01], rel=1e-3)
    low, high = ends(narrowed)[0]
    assert low <= high == pytest.approx(0.01, rel=1e-15)


@SIDES
def test_what_zoom_refuses(side):
    """Trials outside the space, without its names, too few, or with costs of NaN alone."""
    inside, given = [side.Trial(POINT, 0.5)], rates(side)
    with pytest.raises(ValueError, match="expected keep to be at most 1 trials, got 2"):
        side.zoom(given, inside, 2)
    with pytest.raises(ValueError, match=r"expected learning_rate in \[1e-05, 1.0\], got 2.0"):
        side.zoom(given, [side.Trial({**POINT, "learning_rate": 2.0}, 0.5)], 1)
    with pytest.raises(ValueError, match="expected points with learning_rate, beta"):
        side.zoom(given, [side.Trial({"beta": 0.9}, 0.5)], 1)
    for call in (side.best, lambda tried: side.zoom(given, tried, 1)):
        with pytest.raises(ValueError, match="got NaN for all"):
            call([side.Trial(POINT, math.nan)])


@pytest.mark.parity("best")
@pytest.mark.parametrize(
    ("costs", "winner"),
    [([3, 1, 2], 1), ([math.nan, 2, math.nan, 1], 3), ([1, 0, 0], 1), ([math.inf, math.nan], 0)],
    ids=str,
)
def test_best_is_the_lowest_cost_that_is_a_number(costs, winner):
    """NaN is passed over, not last and not first; of equals the first."""
    points = [{"n": float(n)} for n in range(len(costs))]
    mine, other = (side.best(trials(side, points, costs)) for side in (ours, theirs))
    assert mine == tuple(other) == (points[winner], costs[winner])
    assert_close(np.array([mine.point["n"] + 1]), np.array([other.point["n"] + 1]), "winner")


MODELS = {"learning_rate": (1e-4, 1.0), "beta1": (0.5, 0.99), "units": (2, 9)}


@pytest.mark.parity("caviar", "best")
def test_caviar_trains_the_same_models(rng):
    """The same points give the same dev costs, ranking and winner, in the points' order."""
    U = rng.random((3, 6))
    scales = ("log_uniform", "one_minus_log_uniform", "integers")
    results = []
    for side, objective in ((ours, our_cost), (theirs, their_cost)):
        models = {
            name: make(side, scale, MODELS[name])
            for name, scale in zip(MODELS, scales, strict=True)
        }
        points = side.sample_points(models, U if side is ours else rows(U))
        seen = []
        tried = side.caviar(objective, points, on_result=seen.append)
        assert [trial.point for trial in tried] == points
        assert seen == tried
        results.append(tried)
    mine, other = (np.array([trial.cost for trial in tried]) for tried in results)
    assert_close(mine, other, "dev costs", budget=TRAINING)
    assert np.array_equal(mine.argsort(), other.argsort())
    assert ours.best(results[0]).point["units"] == theirs.best(results[1]).point["units"]
    # the ranking says something: no two costs are as near as the sides may part
    tolerance = TRAINING.eps * np.finfo(np.float64).eps * mine.max()
    assert np.diff(np.sort(mine)).min() > MARGIN * tolerance


CHANGES = [
    {},
    {"learning_rate": 0.03},
    {"learning_rate": 5.0},
    {"beta1": 0.5},
    {"beta1": 0.95, "learning_rate": 0.01},
    {"learning_rate": 2.0},
]


@pytest.mark.parity("panda")
def test_panda_babysits_the_same_model():
    """Kept and rolled back in the same rounds, at the same costs, to the same parameters."""
    network, parameters = start(5)
    untouched = parameters.copy()
    point = {"learning_rate": 0.01, "beta1": 0.9}

    def train_for(parameters, point):
        return parameters, train_ours(network, parameters, point)

    module = twin(network, parameters)
    mine = ours.panda(train_for, parameters, point, CHANGES)
    other = theirs.panda(train_theirs, module, point, CHANGES)
    costs, their_costs = (np.array([one.cost for one in side.rounds]) for side in (mine, other))
    assert_close(costs, their_costs, "dev costs", budget=TRAINING)
    assert_close(mine.state.theta, unload(module).theta, "theta", budget=TRAINING)
    kept = [one.kept for one in mine.rounds]
    assert kept == [one.kept for one in other.rounds]
    assert_switches(kept, "kept")
    assert not kept[-1]  # what stands at the end is not what was trained last
    assert mine.cost == min(costs)
    assert mine.point == other.point
    assert [one.point for one in mine.rounds] == [one.point for one in other.rounds]
    assert mine.rounds[3].point == {"learning_rate": 0.03, "beta1": 0.5}  # 5.0 was taken back
    assert np.array_equal(parameters.theta, untouched.theta)
    assert point == {"learning_rate": 0.01, "beta1": 0.9}
    # trained on without the rounds that were rolled back, the model is the same
    straight = untouched.copy()
    for one in mine.rounds:
        if one.kept:
            assert train_ours(network, straight, one.point) == one.cost
    assert np.array_equal(straight.theta, mine.state.theta)


class Counter(torch.nn.Module):
    """A model that counts what it was trained."""

    def __init__(self):
        """Start at zero."""
        super().__init__()
        self.register_buffer("trained", torch.zeros((), dtype=torch.int64))


def babysit(side, costs, **choices):
    """Run a panda whose rounds have these costs, return the result and how far the model went."""
    coming = iter(costs)

    def ours_for(state, point):
        state["trained"] += 1
        return state, next(coming)

    def theirs_for(module, point):
        module.trained += 1
        return next(coming)

    changes = [{"rate": float(n)} for n in range(len(costs))]
    if side is ours:
        result = ours.panda(ours_for, {"trained": 0}, {"rate": -1.0}, changes, **choices)
        return result, result.state["trained"]
    module = Counter()
    result = theirs.panda(theirs_for, module, {"rate": -1.0}, changes, **choices)
    return result, int(module.trained)


@SIDES
@pytest.mark.parametrize(
    ("costs", "kept"),
    [
        ([3.0, 2.0, 4.0, 1.0], [True, True, False, True]),
        ([3.0, 3.0, 3.5, 3.2], [True, False, False, False]),
        ([math.nan, 2.0, math.nan], [False, True, False]),
        ([math.nan, math.inf], [False, False]),
    ],
    ids=str,
)
def test_a_round_is_kept_if_it_beats_all_before(side, costs, kept):
    """An equal cost, a cost only below the last round's, NaN and infinity are rolled back."""
    seen = []
    result, trained = babysit(side, costs, on_result=seen.append)
    assert [one.kept for one in result.rounds] == kept
    assert trained == sum(kept)
    last = max((n for n, one in enumerate(kept) if one), default=-1)
    assert result.point == {"rate": float(last)}
    assert result.cost == (costs[last] if any(kept) else math.inf)
    assert [len(one.rounds) for one in seen] == list(range(1, len(costs) + 1))
    assert seen[-1] == result


def test_a_panda_that_keeps_nothing_returns_a_copy():
    """The caller's state is neither trained nor handed out, nor what lies in it."""
    state = [np.zeros(2)]
    result = ours.panda(lambda state, point: ([state[0] + 1], math.nan), state, {}, [{}, {}])
    assert not np.shares_memory(result.state[0], state[0])
    assert_close(result.state[0], state[0], "state", expect_zero=True)


@SIDES
def test_a_change_of_an_unknown_name_is_refused(side):
    """A misspelt hyper-parameter is not quietly added."""
    model = {"n": 0} if side is ours else Counter()
    with pytest.raises(ValueError, match=r"expected changes of rate, got \{'rat': 1.0\}"):
        side.panda(lambda model, point: 0.0, model, {"rate": 0.1}, [{"rat": 1.0}])


def test_torchs_optimizer_is_rolled_back_and_so_is_a_broken_round():
    """Rates and moments return with the weights, also where the round ends in an error."""
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    ends_in = iter([1.0, 2.0, KeyboardInterrupt])
    reached = []

    def train_for(module, point):
        optimizer.param_groups[0]["lr"] = point["rate"]
        module(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        reached.append(module.weight.detach().clone())
        end = next(ends_in)
        if end is KeyboardInterrupt:
            raise end
        return torch.tensor(end)

    changes = [{"rate": rate} for rate in (0.2, 0.3, 0.4)]
    with pytest.raises(KeyboardInterrupt):
        theirs.panda(train_for, module, {"rate": 0.1}, changes, optimizer=optimizer)
    assert len(reached) == 3
    assert torch.equal(module.weight, reached[0])
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert optimizer.state[module.weight]["step"] == 1


@SIDES
def test_trials_are_points_with_costs(side):
    """A cost that is no number, a point that is no mapping: named, by `best` and by `zoom`."""
    for point, cost in ((POINT, "x"), (POINT, None), (POINT, True), (POINT, 1j), ([], 0.5)):
        field = "cost" if point else "point"
        tried = [side.Trial(POINT, 0.5), side.Trial(point, cost)]
        for call in (side.best, lambda tried: side.zoom(rates(side), tried, 1)):
            with pytest.raises(TypeError, match=rf"expected trials\[1\]\.{field} to"):
                call(tried)


@pytest.mark.parametrize("bad", [0.5, None, (0.5,), (1, 2, 3), [{}, 0.5]], ids=str)
def test_a_round_returns_a_state_and_a_cost(bad):
    """What cannot be taken apart is named."""
    with pytest.raises(TypeError, match=r"expected train_for to return \(state, cost\), got"):
        ours.panda(lambda state, point: bad, {}, {}, [{}])


def test_a_state_trained_in_place_is_rolled_back_to_the_bottom():
    """Arrays inside of the state are copied with it: none of them moves."""

    def train_for(state, point):
        state["W"] += point["step"]
        return state, abs(3.0 - state["W"][0])

    state = {"W": np.zeros(2)}
    changes = [{"step": step} for step in (1.0, 5.0, 1.5)]
    result = ours.panda(train_for, state, {"step": 0.0}, changes)
    assert [one.kept for one in result.rounds] == [True, False, True]
    assert result.state["W"].tolist() == [2.5, 2.5]
    assert state["W"].tolist() == [0, 0]


@SIDES
def test_a_result_and_its_rounds_share_no_point(side):
    """Writing to one leaves the other as it was."""
    result, _ = babysit(side, [1.0])
    result.point["rate"] = 7.0
    assert result.rounds[0].point == {"rate": 0.0}


@SIDES
def test_caviar_keeps_what_was_finished(side):
    """An interruption and a failure end the search; trials handed in have all before."""
    points = [{"n": float(n)} for n in range(5)]

    def objective(error, point):
        if point["n"] == 3:
            raise error
        point["n"] = -1.0  # its own copy
        return 0.5

    for error, expected in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError("x"), RuntimeError)):
        finished = []
        with pytest.raises(expected) as caught:
            side.caviar(partial(objective, error), points, trials=finished)
        assert finished == [({"n": float(n)}, 0.5) for n in range(3)]
    assert points == [{"n": float(n)} for n in range(5)]
    assert str(caught.value) == "the objective failed at {'n': 3.0}: OSError('x')"
    assert caught.value.__cause__ is error


@SIDES
@pytest.mark.parametrize("bad", [None, "0.5", True, 1j, [0.5]], ids=str)
def test_a_cost_is_a_number(side, bad):
    """Whatever else an objective or a round returns is named."""
    with pytest.raises(RuntimeError, match=r"at \{'beta': 0.9\}: .*expected the cost to be a real"):
        side.caviar(lambda point: bad, [{"beta": 0.9}])
    with pytest.raises(TypeError, match="expected the cost to be a real number"):
        babysit(side, [bad])


def test_a_tensor_is_a_cost_if_it_is_a_scalar():
    """Shape (), as losses have; a tensor of one entry is none."""
    (trial,) = theirs.caviar(lambda point: torch.tensor(0.5), [{}])
    assert type(trial.cost) is float
    with pytest.raises(RuntimeError, match="expected the cost to be a real number"):
        theirs.caviar(lambda point: torch.tensor([0.5]), [{}])


@SIDES
def test_processes_want_what_they_can_be_given(side):
    """What no other process could find is refused before any is started, points too."""
    with pytest.raises(TypeError, match="expected objective to be a function of a module"):
        side.caviar(lambda point: 0.0, [POINT], workers=2)
    with pytest.raises(TypeError, match=r"expected points\[1\] to hold values that can be pickled"):
        side.caviar(bowl, [POINT, {"hidden": lambda Z: Z}], workers=2)
    assert len(side.caviar(lambda point: point["hidden"](0.5), [{"hidden": abs}])) == 1


@SIDES
@pytest.mark.parametrize("path", [None, "<stdin>"])
def test_processes_do_not_find_what_a_session_defines(side, path, monkeypatch):
    """A function of a notebook's cell, or a class, also inside a partial, is refused at once."""
    session = types.ModuleType("__main__")
    exec("def cost(point): return 0.5\nclass Choice: pass", session.__dict__)
    if path:
        session.__file__ = path
    monkeypatch.setitem(sys.modules, "__main__", session)
    monkeypatch.setattr(side, "ProcessPoolExecutor", None)
    for objective in (session.cost, partial(session.cost), partial(pow, session.cost)):
        with pytest.raises(TypeError, match=r"expected objective .* of an interactive session"):
            side.caviar(objective, [POINT], workers=2)
    with pytest.raises(TypeError, match=r"expected points\[0\] .* of an interactive session"):
        side.caviar(bowl, [{"choice": session.Choice()}], workers=2)
    assert side.caviar(session.cost, [POINT])[0].cost == 0.5


@pytest.fixture
def errand(tmp_path, monkeypatch):
    """Return an objective that worker processes import in no time."""
    shutil.copy(Path(__file__).with_name("errands.py"), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("errands").errand
    del sys.modules["errands"]


def test_processes_find_what_a_script_defines(tmp_path, monkeypatch):
    """A function of the file that was started is one of a module."""
    script = tmp_path / "script.py"
    script.write_text("def cost(point): return -point['n']")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    exec(script.read_text(), main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert ours.caviar(main.cost, [{"n": 1}, {"n": 2}], workers=2) == [
        ({"n": 1}, -1),
        ({"n": 2}, -2),
    ]


@SIDES
def test_no_more_processes_than_points(side, monkeypatch):
    """A worker without work would only be started."""
    sizes = []

    def refuse(size, *given):
        sizes.append(size)
        raise NotImplementedError

    monkeypatch.setattr(side, "ProcessPoolExecutor", refuse)
    for workers, points in ((64, 2), (2, 64)):
        with pytest.raises(NotImplementedError):
            side.caviar(bowl, [POINT] * points, workers=workers)
    assert sizes == [2, 2]


STARTED, GATES = defaultdict(threading.Event), defaultdict(threading.Event)


def gated(point):
    """Return the point's cost, or fail, once its gate is open."""
    STARTED[point["n"]].set()
    assert GATES[point["n"]].wait(60)
    if point["fails"]:
        raise FloatingPointError("diverged")
    return point["n"] / 8


class Threads(ThreadPoolExecutor):
    """A pool that shares what the tests see; what runs ends once no more can begin."""

    last = 5  # is to have begun before the pool is shut

    def __init__(self, size, context, begin):
        """Take what a pool of processes takes."""
        assert (size, context.get_start_method()) == (2, "spawn")
        assert begin.__name__ == "_die_of_interrupts"
        super().__init__(size)

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Open all gates before waiting."""
        assert STARTED[self.last].wait(60)
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        for n in range(6):
            GATES[n].set()
        super().shutdown(wait=wait)


@SIDES
@pytest.mark.parametrize("ends_in", [None, KeyboardInterrupt, RuntimeError])
def test_a_pool_keeps_what_ended(side, ends_in, monkeypatch):
    """Two at a time: told as they end, kept in order; cut short, those that wait never begin."""
    kept = {None: range(6), KeyboardInterrupt: range(4), RuntimeError: (0, 1, 3, 4)}[ends_in]
    monkeypatch.setattr(side, "ProcessPoolExecutor", Threads)
    monkeypatch.setattr(Threads, "last", max(kept))
    for events in (STARTED, GATES):
        events.clear()
    points = [{"n": n, "fails": ends_in is RuntimeError and n == 2} for n in range(6)]
    GATES[1].set()
    seen, finished = [], []

    def watch(trial):
        seen.append(trial)
        GATES[0].set()  # the first ends second
        if len(seen) == 2:
            assert STARTED[3].wait(60)
            if ends_in is KeyboardInterrupt:
                raise ends_in
            for n in range(2, 3 if ends_in else 6):
                GATES[n].set()

    def search():
        return side.caviar(gated, points, workers=2, on_result=watch, trials=finished)

    if ends_in is None:
        assert search() is finished
        assert sorted(one.cost for one in seen) == [n / 8 for n in range(6)]
    else:
        with pytest.raises(ends_in) as caught:
            search()
        assert len(seen) == 2
        if ends_in is RuntimeError:
            assert f"failed at {points[2]}: FloatingPointError" in str(caught.value)
    assert [one.point["n"] for one in seen[:2]] == [1, 0]
    assert finished == [(points[n], n / 8) for n in kept]
    assert sorted(STARTED) == list(range(max(kept) + 1))


@SIDES
def test_workers_are_not_held_up_by_ctrl_c(side):
    """An interrupt ends a worker as it ends any process that says nothing of it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        side._die_of_interrupts()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


@SIDES
def test_one_worker_is_this_process(side):
    """Also where the number is NumPy's: nothing is pickled."""
    for workers in (1, np.int64(1), np.uint8(1)):
        assert side.caviar(lambda point: 0.5, [POINT], workers=workers) == [(POINT, 0.5)]


def test_both_sides_have_the_same_pool():
    """What one side's processes prove in the next test holds for the other's as well."""
    for name in ("_try", "_try_in_processes", "_die_of_interrupts", "_check_picklable"):
        mine, other = (inspect.getsource(getattr(side, name)) for side in (ours, theirs))
        assert mine == other
    mine, other = (inspect.getsource(unchecked(side.caviar)) for side in (ours, theirs))
    assert mine.split('"""')[2] == other.split('"""')[2]


@pytest.mark.parametrize(
    ("side", "ends_in"),
    [(ours, KeyboardInterrupt), (theirs, RuntimeError)],
    ids=["scratch-interrupted", "torch_ref-failing"],
)
def test_processes_give_what_one_gives(side, ends_in, errand, tmp_path):
    """To the last bit, in order though the first ends last; cut short, the rest never begins."""
    now, two_seen, three_seen, cut = (tmp_path / name for name in ("now", "two", "three", "cut"))
    now.touch()
    work = [
        {"waits_for": str(event), "then_sleeps": 0, "rate": rate}
        for event, rate in ((two_seen, 0.5), (now, 0.8), (now, 0.9))
    ]
    last = {"waits_for": str(three_seen), "then_sleeps": 0, "fails_after": str(cut)}
    rest = {"waits_for": str(cut), "then_sleeps": 0.05, "rate": 0.1}
    points = [*work, last if ends_in is RuntimeError else rest, *[rest] * 60]
    seen, finished = [], []

    def watch(trial):
        seen.append(trial)
        if len(seen) == 2:
            two_seen.touch()
        if len(seen) == 3:
            three_seen.touch()
            if ends_in is KeyboardInterrupt:
                cut.touch()
                raise ends_in

    with pytest.raises(ends_in) as caught:
        side.caviar(errand, points, workers=2, on_result=watch, trials=finished)
    assert finished[:3] == side.caviar(errand, work)
    assert seen[2] == finished[0]
    assert len(seen) < len(finished) < 30  # what ran at the end is kept too
    if ends_in is RuntimeError:
        assert f"failed at {last}: FloatingPointError" in str(caught.value)


BAD_ENDS = ["0.1", None, True, math.nan, 10**400]
OUTSIDE = {
    "uniform": [{"high": math.inf}],
    "log_uniform": [{"low": 0.0}, {"low": -1.0}],
    "one_minus_log_uniform": [{"high": 1.0}, {"low": -0.1}],
    "integers": [{"low": -(2**53) - 1}, {"high": 2**53 + 1}],
}


@SIDES
@pytest.mark.parametrize("name", RANGES)
def test_bad_ranges_are_refused(side, name):
    """Ends that are no numbers, outside the scale's domain or swapped never make a scale."""
    low, high = RANGES[name]
    with pytest.raises(ValueError, match="expected low <= high"):
        side.SCALES[name](low=high, high=low)
    for bad in BAD_ENDS:
        with pytest.raises((TypeError, ValueError), match="expected high"):
            side.SCALES[name](low=low, high=bad)
    for change in OUTSIDE[name]:
        with pytest.raises(ValueError, match="expected"):
            side.SCALES[name](**{"low": low, "high": high, **change})
    with pytest.raises(TypeError, match="expected high to be a whole number"):
        side.Integers(low=0, high=2.0)


@SIDES
@pytest.mark.parametrize("name", RANGES)
def test_a_scale_of_one_value_holds_it_fixed(side, name):
    """Low may be high: that hyper-parameter is not searched."""
    fixed = make(side, name, (RANGES[name][0],) * 2)
    u = np.array([0.0, 0.3, 0.999])
    values = np.asarray(fixed.sample(u if side is ours else torch.from_numpy(u)))
    assert values.tolist() == [RANGES[name][0]] * 3


@SIDES
@pytest.mark.parametrize("name", RANGES)
def test_draws_are_in_the_unit_interval(side, name):
    """One is no draw, nor are negative numbers, NaN, lists or matrices."""
    scale = make(side, name)
    turn = (lambda u: u) if side is ours else torch.from_numpy
    for bad in ([1.0], [1.5], [-0.1], [0.5, math.nan], [[0.5]], []):
        with pytest.raises(ValueError, match="expected u"):
            scale.sample(turn(np.array(bad, float)))
    for bad in ([0.5], 0.5, None):
        with pytest.raises(TypeError, match="expected u to be a floating"):
            scale.sample(bad)


@SIDES
@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("log_uniform", {"low": 1e-46}),
        ("log_uniform", {"high": 1e39}),
        ("one_minus_log_uniform", {"high": 1 - 1e-9}),
        ("uniform", {"high": 1e39}),
        ("uniform", {"low": -1e39}),
    ],
    ids=str,
)
def test_ends_are_inside_the_domain_in_the_draws_dtype_too(side, name, end):
    """What float64 holds apart from 0, 1 or infinity, float32 may not: refused, not NaN or 1.0."""
    low, high = RANGES[name]
    scale = side.SCALES[name](**{"low": low, "high": high, **end})
    u = np.array([0.0, 0.3, 0.9])
    turn = (lambda u: u) if side is ours else torch.from_numpy
    values = np.asarray(scale.sample(turn(u)))
    assert np.isfinite(values).all()
    assert (values < max(1, 2 * scale.high)).all()
    (field,) = end
    with pytest.raises(ValueError, match=rf"expected {field} as (torch\.)?float32 in"):
        scale.sample(turn(u.astype(np.float32)))


@SIDES
@pytest.mark.parametrize(
    ("name", "start", "step"),
    [
        ("log_uniform", 1e-300, 1e-13),
        ("log_uniform", 0.5, 0),
        ("one_minus_log_uniform", 1e-15, 0.2),
    ],
    ids=str,
)
def test_halfway_between_near_values_stays_between_them(side, name, start, step, rng):
    """The axis is coarser than the values there: round-off may lead halfway past either end."""
    for first, second, third in 1 + rng.random((60, 3)):
        low = start * first
        middle = max(low * (1 + step * second), math.nextafter(low, math.inf))
        high = max(middle * (1 + step * third), math.nextafter(middle, math.inf))
        points = [{"x": value} for value in (low, middle, high)]
        tried = trials(side, points, [1.0, 0.0, 1.0])
        narrowed = side.zoom({"x": make(side, name, (low, high))}, tried, 1)["x"]
        assert low <= narrowed.low <= middle <= narrowed.high <= high


def test_a_scale_brings_both_ways():
    """Without its inverse, or with it alone, an axis makes no scale."""
    ways = {name: vars(ours.Uniform)[name] for name in ("to_axis", "from_axis")}
    for some in ({}, {"to_axis": ways["to_axis"]}, {"from_axis": ways["from_axis"]}):
        with pytest.raises(TypeError, match="abstract"):
            type("Own", (ours.Scale,), some)(low=0.0, high=1.0)
    u = np.array([0.0, 0.5])
    assert type("Own", (ours.Scale,), ways)(low=0.0, high=1.0).sample(u).tolist() == [0, 0.5]


@SIDES
def test_trials_may_know_more_than_the_space(side):
    """What was held fixed stands in a point too; zooming leaves it out."""
    tried = [side.Trial({**POINT, "units": 3}, 0.5)]
    assert side.zoom(rates(side), tried, 1) == rates(side)


def test_draws_for_another_space_are_refused():
    """A row too few and a row too many; the message says how many scales there are."""
    many = {f"{n}": ours.Uniform(low=n, high=n) for n in range(300)}
    (point,) = ours.sample_points(many, np.full((300, 1), 0.5))
    assert point == {f"{n}": float(n) for n in range(300)}
    for k in (1, 3):
        with pytest.raises(ValueError, match="expected U") as refusal:
            ours.sample_points(rates(ours), np.full((k, 3), 0.5))
        assert str(refusal.value).endswith(f"(k, n) with k = 2 scales, got ({k}, 3)")


@SIDES
def test_whole_numbers_reach_as_far_as_floats_hold_them(side):
    """To 2^53 either way, and not one farther."""
    assert side.Integers(low=-(2**53), high=2**53).low == -(2**53)
    for end, message in (("low", f"at least {-(2**53)}"), ("high", r"at most 2\^53")):
        ends = {"low": -(2**53), "high": 2**53}
        ends[end] += 1 if end == "high" else -1
        with pytest.raises(ValueError, match=f"expected {end} to be {message}, got {ends[end]}"):
            side.Integers(**ends)


@SIDES
def test_the_edges_of_bad_ranges(side):
    """Swapped by the smallest step is swapped; a beta of zero is in the domain."""
    for name in ("uniform", "log_uniform", "one_minus_log_uniform"):
        with pytest.raises(ValueError, match="expected low <= high"):
            make(side, name, (math.nextafter(0.5, 1.0), 0.5))
    with pytest.raises(ValueError, match="expected low <= high"):
        side.Integers(low=2**53, high=2**53 - 1)
    betas = side.OneMinusLogUniform(low=0.0, high=0.9)
    u = np.array([0.0, 0.5])
    values = np.asarray(betas.sample(u if side is ours else torch.from_numpy(u)))
    assert_close(values, np.array([0, 1 - 0.1**0.5]), "betas")


@pytest.mark.parametrize("side", [ours, theirs])
def test_the_ends_of_a_scale_are_plain_floats(side):
    """Whatever numbers came, a report or a file gets Python's own."""
    scale = side.Uniform(low=1, high=np.float32(2.5))
    assert [type(end) for end in (scale.low, scale.high)] == [float, float]
    assert (scale.low, scale.high) == (1.0, 2.5)
