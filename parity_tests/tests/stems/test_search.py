"""Search beside its rows: distributions, ranges, promises of zoom and panda, worker processes."""

import inspect
import math
import signal
import sys
import types
from concurrent.futures import Future
from functools import partial
from unittest import mock

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.compare.bridge import rows
from parity_tests.compare.budgets import of_draws
from parity_tests.tests.stems.common import assert_drawn_from, refused, sides, source
from parity_tests.twins.search import RANGES, WITNESSES, babysit, make, space, table, trials_of
from scratch import search as ours
from scratch._validation import unchecked
from torch_ref import search as theirs

SIDES = sides("search")
POINT = {"learning_rate": 0.1, "beta": 0.9}


def turned(side, u):
    u = np.asarray(u)
    return u if side is ours else rows(u) if u.ndim == 2 else torch.from_numpy(u)


def rates(side):
    """Return the lecture's space."""
    return {
        "learning_rate": side.LogUniform(low=1e-5, high=1.0),
        "beta": side.OneMinusLogUniform(low=0.9, high=0.999),
    }


def ends(narrowed):
    return np.array([[scale.low, scale.high] for scale in narrowed.values()], float)


@pytest.mark.parity("draw_points", "sample_points")
def test_draws_have_the_distribution_they_name():
    """The same draws on the other side are the same points."""
    mine, other = (table(s.draw_points(space(s), 3000, **source(s))) for s in (ours, theirs))
    for points in (mine, other):
        for i, (name, distribution) in enumerate(WITNESSES.items()):
            values = points[:, i]
            assert_drawn_from(distribution, 1 - values if name.startswith("one") else values)
        correlations = scipy.stats.spearmanr(points).statistic - np.eye(4)
        assert np.abs(correlations).max() < of_draws(3000).relative
    U = np.random.default_rng(0).random((4, 3000))
    shared = table(theirs.sample_points(space(theirs), rows(U)))
    assert_close(mine, shared, "points", gauge=np.maximum(np.abs(shared), 1e-300))


@SIDES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_of_a_scale(side, dtype):
    """No draw below 1 rounds to the number after the last, however long the range."""
    u = turned(side, np.array([0, np.nextafter(dtype(1), dtype(0))], dtype))
    for name, range_ in RANGES.items():
        values = np.asarray(make(side, name).sample(u))
        assert values.dtype == (np.int64 if name == "integers" else dtype)
        assert_close(values.astype(dtype), np.array(range_, dtype), "ends")
        assert (values <= dtype(range_[1])).all()
    for count in (1, 2, 49, 2**24 - 1, 2**24 + 3, 2**40 + 1, 2**53):
        _, value = side.Integers(low=1, high=count).sample(u)
        assert count * (1 - 2 * np.finfo(dtype).eps) <= value <= count
        assert value == count or count >= 2**20


# fmt: off
#: ends outside of a scale's domain, and ends that are outside of it in float32 alone.
OUTSIDE = {
    "uniform": ([{"high": math.inf}], [{"low": -1e39}]),
    "log_uniform": ([{"low": 0.0}, {"low": -1.0}], [{"low": 1e-46}, {"high": 1e39}]),
    "one_minus_log_uniform": ([{"high": 1.0}, {"low": -0.1}], [{"high": 1 - 1e-9}]),
    "integers": ([{"low": -(2**53) - 1}, {"high": 2**53 + 1}, {"high": 2.0}], []),
}
# fmt: on


@SIDES
@pytest.mark.parametrize("name", RANGES)
def test_bad_ranges_and_draws_are_refused(side, name):
    """A number that float64 tells from 0, 1 or infinity may be none in float32."""
    whole, (outside, narrow) = {"low": RANGES[name][0], "high": RANGES[name][1]}, OUTSIDE[name]
    for bad in [{"high": one} for one in ("0.1", None, True, math.nan, 10**400)] + outside:
        refused(f"{next(iter(bad))} ", side.SCALES[name], **{**whole, **bad})
    swapped = (2**53, 2**53 - 1) if name == "integers" else (math.nextafter(0.5, 1.0), 0.5)
    refused("low <= high", make, side, name, swapped)
    for draws in ([1.0], [-0.1], [0.5, math.nan], []):
        refused("u", make(side, name).sample, turned(side, np.array(draws, float)))
    refused("u to be a floating", make(side, name).sample, [0.5])
    for end in narrow:
        scale, u = side.SCALES[name](**{**whole, **end}), np.array([0.0, 0.3, 0.9])
        values = np.asarray(scale.sample(turned(side, u)))
        assert np.isfinite(values).all()
        assert (values < max(1, 2 * scale.high)).all()
        refused(r"(low|high) as (torch\.)?float32", scale.sample, turned(side, u.astype("f4")))
    # whatever numbers came, a report or a file gets Python's own
    scale = side.Uniform(low=1, high=np.float32(2.5))
    assert [type(end) for end in (scale.low, scale.high)] == [float, float]
    assert side.Integers(low=-(2**53), high=np.int64(2**53)).high == 2**53
    (point,) = side.sample_points(space(side), turned(side, np.full((4, 1), 0.999)))
    kinds = [(name, type(value)) for name, value in point.items()]
    assert kinds == [(name, int if name == "integers" else float) for name in RANGES]


def test_a_scale_brings_both_ways():
    ways = {name: vars(ours.Uniform)[name] for name in ("to_axis", "from_axis")}
    for some in ({}, {"to_axis": ways["to_axis"]}, {"from_axis": ways["from_axis"]}):
        with pytest.raises(TypeError, match="abstract"):
            type("Own", (ours.Scale,), some)(low=0.0, high=1.0)
    u = np.array([0.0, 0.5])
    assert type("Own", (ours.Scale,), ways)(low=0.0, high=1.0).sample(u).tolist() == [0, 0.5]


@SIDES
def test_random_points_try_more_values_than_a_grid(side):
    """25 points: a grid tries 5 learning rates, random points 25; a draw too few is refused."""
    grid = side.grid_points(rates(side), 5)
    drawn = side.draw_points(rates(side), 25, **source(side))
    for name in POINT:
        assert [len({one[name] for one in points}) for points in (grid, drawn)] == [5, 25]
    logs = np.log10(table(grid)[:, 0])
    assert_close(logs, np.repeat([-4.5, -3.5, -2.5, -1.5, -0.5], 5), "decades")
    for count in (1, 2, 3, 10, 49, 98):  # no quantile falls between two numbers
        whole = {"n": side.Integers(low=1, high=count)}
        assert [one["n"] for one in side.grid_points(whole, count)] == [*range(1, count + 1)]
    for k in (1, 3):
        draws = turned(side, np.full((k, 3), 0.5))
        refused("U .* with k = 2 scales", side.sample_points, rates(side), draws)


@SIDES
def test_zoom_goes_halfway_on_the_scales_own_axis(side):
    """Around the best of a 5 x 5 grid the box is its cell: a decade, a fifth of the nines."""
    grid = side.grid_points(rates(side), 5)
    costs = [abs(math.log10(one["learning_rate"]) + 2.5) + abs(one["beta"] - 0.99) for one in grid]
    cell = side.zoom(rates(side), trials_of(side, grid, costs), 1)
    expected = np.array([[1e-3, 1e-2], 1 - np.power(10, [-1.8, -2.2])])
    assert_close(ends(cell), expected, "cell", gauge=expected)
    whole = side.Integers(low=0, high=9)
    tried = [side.Trial({"n": n, "held fixed": 3}, abs(n - 4)) for n in (0, 2, 4, 7)]
    # 3 is as far from 2 as from 4 and stays, 5.5 lies halfway to 7
    assert ends(side.zoom({"n": whole}, tried, 1)).tolist() == [[3, 5]]
    assert ends(side.zoom({"n": whole}, tried, 2)).tolist() == [[1, 5]]
    assert side.zoom({"n": whole}, tried[:1], 1) == {"n": whole}


@SIDES
def test_halfway_between_near_values_stays_between_them(side, rng):
    """The axis is coarser than the values there: round-off may lead halfway past either end."""
    for name, start, step in (
        ("log_uniform", 1e-300, 1e-13),
        ("log_uniform", 0.5, 0),
        ("one_minus_log_uniform", 1e-15, 0.2),
    ):
        for first, *growths in 1 + rng.random((60, 3)):
            values = [start * first]
            for growth in growths:
                grown = values[-1] * (1 + step * growth)
                values.append(max(grown, math.nextafter(values[-1], math.inf)))
            low, middle, high = values
            tried = trials_of(side, [{"x": value} for value in values], [1.0, 0.0, 1.0])
            narrowed = side.zoom({"x": make(side, name, (low, high))}, tried, 1)["x"]
            assert low <= narrowed.low <= middle <= narrowed.high <= high


@SIDES
def test_zoom_and_best_refuse_trials_that_are_none(side):
    inside, zoom = side.Trial(POINT, 0.5), partial(side.zoom, rates(side))
    far = side.Trial({**POINT, "learning_rate": 2.0}, 0.5)
    refused("keep to be at most 1 trials, got 2", zoom, [inside], 2)
    refused(r"learning_rate in \[1e-05, 1.0\]", zoom, [far], 1)
    refused("points with learning_rate, beta", zoom, [side.Trial({"beta": 0.9}, 0.5)], 1)
    for call in (side.best, partial(zoom, keep=1)):
        refused("got NaN for all", call, [side.Trial(POINT, math.nan)])
        refused(r"trials\[1\]\.point to", call, [inside, side.Trial([], 0.5)])
        for cost in ("x", None, True, 1j):
            refused(r"trials\[1\]\.cost to", call, [inside, side.Trial(POINT, cost)])


def test_torchs_optimizer_is_rolled_back_and_so_is_a_broken_round():
    """Rates and moments return with the weights, also where the round ends in an error."""
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    costs, reached = iter([1.0, 2.0]), []

    def train_for(module, point):
        optimizer.param_groups[0]["lr"] = point["rate"]
        module(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        reached.append(module.weight.detach().clone())
        if len(reached) == 3:
            raise KeyboardInterrupt
        return torch.tensor(next(costs))

    changes = [{"rate": rate} for rate in (0.2, 0.3, 0.4)]
    with pytest.raises(KeyboardInterrupt):
        theirs.panda(train_for, module, {"rate": 0.1}, changes, optimizer=optimizer)
    assert torch.equal(module.weight, reached[0])
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert optimizer.state[module.weight]["step"] == 1


def test_a_state_trained_in_place_is_rolled_back_to_the_bottom():
    """Arrays inside of the state are copied with it; the caller's state is not handed out."""

    def train_for(state, point):
        state["W"] += point["step"]
        return state, abs(3.0 - state["W"][0])

    state, changes = {"W": np.zeros(2)}, [{"step": step} for step in (1.0, 5.0, 1.5)]
    assert ours.panda(train_for, state, {"step": 0.0}, changes).state["W"].tolist() == [2.5, 2.5]
    nothing = ours.panda(lambda state, point: (state, math.nan), state, {}, [{}, {}])
    assert not np.shares_memory(nothing.state["W"], state["W"])
    assert_close(nothing.state["W"], np.zeros(2), "state", expect_zero=True)


@SIDES
def test_panda_and_caviar_refuse_costs_that_are_none(side):
    """A misspelt name is not quietly added; results and their rounds share no point."""
    model = {"n": 0} if side is ours else torch.nn.Linear(1, 1)
    changes = [{"rat": 1.0}]
    words = r"changes of rate, got \{'rat': 1.0\}"
    refused(words, side.panda, lambda model, point: 0.0, model, {"rate": 0.1}, changes)
    for bad in (None, "0.5", True, 1j, torch.tensor([0.5])):
        refused("the cost to be a real number", babysit, side, [bad])
        with pytest.raises(RuntimeError, match=r"at \{'beta': 0.9\}: .*expected the cost to be a"):
            side.caviar(lambda point, bad=bad: bad, [{"beta": 0.9}])
    for bad in (0.5, (0.5,), (1, 2, 3), [{}, 0.5]):
        train_for = lambda state, point, bad=bad: bad  # noqa: E731
        refused(r"train_for to return \(state, cost\), got", ours.panda, train_for, {}, {}, [{}])
    result, _ = babysit(side, [1.0])
    result.point["rate"] = 7.0
    assert result.rounds[0].point == {"rate": 0.0}
    (trial,) = theirs.caviar(lambda point: torch.tensor(0.5), [{}])
    assert type(trial.cost) is float


@SIDES
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("x")], ids=repr)
def test_caviar_keeps_what_was_finished(side, error):
    """An interruption and a failure end the search; trials handed in have all before."""
    points, finished = [{"n": float(n)} for n in range(5)], []

    def objective(point):
        if point["n"] == 3:
            raise error
        point["n"] = -1.0  # its own copy
        return 0.5

    with pytest.raises((KeyboardInterrupt, RuntimeError)) as caught:
        side.caviar(objective, points, trials=finished)
    assert finished == [({"n": float(n)}, 0.5) for n in range(3)]
    assert points == [{"n": float(n)} for n in range(5)]
    assert error in (caught.value, caught.value.__cause__)
    if isinstance(error, OSError):
        assert str(caught.value) == "the objective failed at {'n': 3.0}: OSError('x')"


def started(path, text, monkeypatch):
    """Return the module of a program, run from a file if there is a path."""
    main = types.ModuleType("__main__")
    exec(text, main.__dict__)
    if path:
        main.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main


@SIDES
@pytest.mark.parametrize("path", [None, "<stdin>", __file__])
def test_processes_want_what_they_can_be_given(side, path, monkeypatch):
    """They find functions and classes of the file that was started, none of a session."""
    session = started(path, "def cost(point): return 0.5\nclass Choice: pass", monkeypatch)
    monkeypatch.setattr(side, "ProcessPoolExecutor", None)
    lost = "" if path == __file__ else "of an interactive session"
    alone, hidden = lambda point: 0.5, [POINT, {"hidden": lambda Z: Z}]
    processes = partial(side.caviar, workers=2)
    refused("objective to be a function of a module", processes, alone, [POINT])
    refused(r"points\[1\] to hold values", processes, math.fsum, hidden)
    for objective, point in (
        (session.cost, POINT),
        (partial(pow, session.cost), POINT),
        (math.fsum, {"choice": session.Choice()}),
    ):
        with pytest.raises(TypeError, match=lost or "NoneType"):
            processes(objective, [point])
    for workers in (1, np.uint8(1)):  # this process: nothing is pickled
        assert side.caviar(alone, [POINT], workers=workers) == [(POINT, 0.5)]


@SIDES
@pytest.mark.parametrize(("workers", "points"), [(64, 2), (2, 64)])
def test_no_more_processes_than_points(side, workers, points):
    """A worker without work would only be started; each is started afresh and dies of Ctrl-C."""
    with (
        mock.patch.object(side, "ProcessPoolExecutor", side_effect=NotImplementedError) as pool,
        pytest.raises(NotImplementedError),
    ):
        side.caviar(math.fsum, [POINT] * points, workers=workers)
    size, context, begin = pool.call_args.args
    assert (size, context.get_start_method()) == (2, "spawn")
    with mock.patch("signal.signal") as handle:
        begin()
    handle.assert_called_once_with(signal.SIGINT, signal.SIG_DFL)


class HalfDone(list):
    """A pool whose first two calls have ended, the third has failed, and the rest would run on."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def submit(self, function, *arguments):
        self.append(Future())
        if len(self) < 3:
            self[-1].set_result(function(*arguments))
        return self[-1]

    def shutdown(self, cancel_futures=False):
        self[2].set_exception(OSError("ended badly"))
        for future in self[3:]:
            future.cancel() if cancel_futures else future.set_result((None, 0.5))


@SIDES
def test_a_search_cut_short_keeps_what_has_ended(side):
    """Trials that ended are handed in, those that failed or never began are not."""
    finished, interrupted = [], mock.Mock(side_effect=KeyboardInterrupt)
    with (
        mock.patch.object(side, "ProcessPoolExecutor", return_value=HalfDone()),
        pytest.raises(KeyboardInterrupt),
    ):
        side.caviar(len, [POINT] * 5, workers=2, on_result=interrupted, trials=finished)
    assert finished == [(POINT, 2)] * 2


def test_both_sides_have_the_same_pool():
    """The processes of one side in the next test prove the other's as well."""
    for name in ("_try", "_try_in_processes", "_die_of_interrupts", "_check_picklable"):
        assert inspect.getsource(getattr(ours, name)) == inspect.getsource(getattr(theirs, name))
    mine, other = (inspect.getsource(unchecked(side.caviar)) for side in (ours, theirs))
    assert mine.split('"""')[2] == other.split('"""')[2]


#: a script of the standard library alone, for workers to be there at once.
SCRIPT = """
import math, time
from pathlib import Path

def cost(point):
    began = time.monotonic()
    while not Path(point["waits_for"]).exists() and time.monotonic() < began + 120:
        time.sleep(0.001)
    time.sleep(point["sleeps"])
    return math.sin(point["rate"])
"""


@pytest.mark.parametrize("ends_in", [KeyboardInterrupt, RuntimeError])
def test_processes_give_what_one_gives(ends_in, tmp_path, monkeypatch):
    """In order though the first ends last; cut short, the rest never begins."""
    script, event = tmp_path / "script.py", tmp_path / "event"
    script.write_text(SCRIPT)
    cost = started(script, SCRIPT, monkeypatch).cost
    work = [{"waits_for": str(script), "sleeps": 0, "rate": rate} for rate in (0.5, 0.8, 0.9)]
    work[0]["waits_for"] = str(event)
    rest = {**work[1], "sleeps": 0.05}
    fails = {**work[1], "rate": "x"}
    points = [*work, rest if ends_in is KeyboardInterrupt else fails, *[rest] * 60]
    seen, finished = [], []

    def watch(trial):
        seen.append(trial)
        if len(seen) == 2:
            event.touch()
        if len(seen) == 4 and ends_in is KeyboardInterrupt:
            raise ends_in

    with pytest.raises(ends_in) as caught:
        ours.caviar(cost, points, workers=2, on_result=watch, trials=finished)
    assert finished[:3] == ours.caviar(cost, work)
    assert seen[:2] == finished[1:3]
    assert len(seen) < len(finished) < 30  # trials that ran at the end are kept too
    if ends_in is RuntimeError:
        assert f"failed at {fails}: TypeError" in str(caught.value)
