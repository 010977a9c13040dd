"""Search for hyper-parameters: scales, points, coarse to fine, one model babysat, many trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import scipy.stats
import torch
from hypothesis import strategies as st

from parity_tests import assert_switches
from parity_tests.compare.bridge import AS_IT_IS, rows, to_torch, twin, unload
from parity_tests.compare.budgets import GRADIENT, TRAINING
from parity_tests.compare.measurement import Array
from parity_tests.compare.training import TRAINING as SIDES
from parity_tests.compare.training import Run
from parity_tests.drawing import Replayed
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._relations import mistyped
from scratch import search as ours
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders
from scratch.network import Network
from torch_ref import search as theirs

SCALES = 'Course 2, week 3, "Using an appropriate scale to pick hyperparameters"'
TUNING = 'Course 2, week 3, "Tuning process"; '
PANDAS = 'Course 2, week 3, "Hyperparameters tuning in practice: pandas vs. caviar"; '

Ends = tuple[float, float]
Ranges = Mapping[str, Ends]

#: ranges of each scale.
RANGES: Ranges = {
    "uniform": (-3.0, 5.0),
    "log_uniform": (1e-5, 1.0),
    "one_minus_log_uniform": (0.9, 0.999),
    "integers": (-2, 4),
}


def make(side: ModuleType, name: str, ends: Ends | None = None) -> Any:
    low, high = ends or RANGES[name]
    return side.SCALES[name](low=low, high=high)


def space(side: ModuleType, ranges: Ranges = RANGES) -> dict[str, Any]:
    return {name: make(side, name, ends) for name, ends in ranges.items()}


def table(points: Sequence[Mapping[str, Any]], dtype: Any = float) -> Array:
    return np.array([list(point.values()) for point in points], dtype)


def trials_of(side: ModuleType, points: Sequence[Any], costs: Sequence[float]) -> list[Any]:
    return [side.Trial(point, cost) for point, cost in zip(points, costs, strict=True)]


# --- scales, and trials of their points -----------------------------------------------------------

# fmt: off
#: SciPy's distribution of each scale's values, or of 1 - its values.
WITNESSES: Mapping[str, Any] = {
    "uniform": scipy.stats.uniform(-3, 8), "log_uniform": scipy.stats.loguniform(1e-5, 1),
    "one_minus_log_uniform": scipy.stats.loguniform(0.001, 0.1),
    "integers": scipy.stats.randint(-2, 5)}
# fmt: on

#: the largest float32 below 1.
BELOW_1 = float(np.nextafter(np.float32(1), np.float32(0)))

#: other ranges of the same scales.
OTHERS: Mapping[str, Ranges] = {
    name: dict(zip(RANGES, ends, strict=True))
    for name, ends in {
        "from 0": ((0.0, 1e6), (1e-3, 1e2), (0.0, 0.9), (0, 1)),
        "one value": ((0.5, 0.5), (1e-3, 1e-3), (0.5, 0.5), (3, 3)),
        "whole numbers beyond 32 bits": ((1.0, 2.0), (1e-5, 0.1), (0.99, 0.9999), (0, 2**53 - 1)),
    }.items()
}


def sampled(side: ModuleType, u: Array, ranges: Ranges) -> Values:
    scales, U = space(side, ranges), np.stack([u] * len(ranges))
    fractions, draws = (u, U) if side is ours else (to_torch("u", u), rows(U))
    values = {n: np.asarray(one.sample(fractions), u.dtype) for n, one in scales.items()}
    return {**values, "points": table(side.sample_points(scales, draws), u.dtype)}


def sizes_of_values(u: Array, ranges: Ranges) -> Values:
    """Return the gauges: the error of r, a log of the ends at most, times the size of 10^r."""
    values = sampled(ours, u.astype(np.float64), ranges)
    sizes = {name: np.maximum(np.abs(values[name]), 1e-300) for name in ranges}
    sizes["log_uniform"] *= 1 + np.abs(np.log(ranges["log_uniform"])).max()
    rest, ends = 1 - values["one_minus_log_uniform"], 1 - np.array(ranges["one_minus_log_uniform"])
    sizes["one_minus_log_uniform"] += rest * (1 + np.abs(np.log(ends)).max())
    return {**sizes, "points": np.stack([*sizes.values()], axis=1)}


def is_scipys_quantile(run: Any, u: Array, ranges: Ranges) -> tuple[Values, Values]:
    """Return the values, rising, and SciPy's quantiles, of which the whole one at 0 is too low."""
    values, expected = run("scales", u=u, ranges=ranges), {}
    for name, (low, high) in ranges.items():
        assert (np.diff(values[name]) >= 0).all()
        assert low <= values[name].min() <= values[name].max() <= high
        ppf = WITNESSES[name].ppf
        expected[name] = np.clip(1 - ppf(1 - u) if name.startswith("one") else ppf(u), low, high)
    found = np.concatenate([values[name] for name in ranges])
    return {"scipy": found}, {"scipy": np.concatenate([*expected.values()])}


def log_betas(side: ModuleType, u: Any) -> Any:
    return 1 - make(side, "one_minus_log_uniform").sample(u)


def betas_by(text: str, u: Any) -> Values:
    return {"1 - beta": evaluate(text, u=u)}


def draw_trials(rng: np.random.Generator, n: int = 12, keep: int = 3, none: int = 1) -> Case:
    """Draw points, costs of which some are NaN and some are equal, and how many to keep."""
    points = ours.sample_points(space(ours), np.minimum(rng.random((4, n)), 0.999))
    costs = rng.integers(-5, 5, n) + 0.5 * rng.integers(0, 2, n)
    costs[: min(none, n - 1)] = math.nan
    return {"points": points, "costs": rng.permuted(costs).tolist(), "keep": min(keep, n)}


def searched(side: ModuleType, points: Any, costs: Any, keep: int) -> Values:
    """Return the zoomed ends of one side's scales, its best trial, and a grid of so many values."""
    scales = space(side)
    narrowed = side.zoom(scales, trials_of(side, points, costs), keep)
    assert [*narrowed] == [*scales]
    assert all(type(narrowed[name]) is type(scale) for name, scale in scales.items())
    numbered = [{"n": n} for n in range(1, len(costs) + 1)]
    found = side.best(trials_of(side, numbered, costs))
    two = {name: scales[name] for name in ("uniform", "integers")}
    ends = np.array([[one.low, one.high] for one in narrowed.values()], float)
    winner = np.array([found.point["n"], found.cost], float)
    return {"ends": ends, "winner": winner, "grid": table(side.grid_points(two, keep))}


def search_gauges(**case: Any) -> Values:
    """Return the gauges: halfway may be near 0, and a power of a rounded place loses its size."""
    gauge = np.abs(searched(ours, **case)["ends"])
    gauge[0] = max(map(abs, RANGES["uniform"]))
    gauge[1] *= 1 + np.abs(np.log(gauge[1]))
    return {"ends": gauge}


def holds_the_best(run: Any, points: Any, costs: Any, keep: int) -> tuple[Values, Values]:
    """Hold the box to the best trials and to none beyond them; return the grid, by the formula."""
    values = run("coarse-to-fine", points=points, costs=costs, keep=keep)
    numbers = [i for i in np.argsort(costs, kind="stable") if not math.isnan(costs[i])]
    assert values["winner"].tolist() == [numbers[0] + 1, costs[numbers[0]]]
    for (name, limits), (low, high) in zip(RANGES.items(), values["ends"], strict=True):
        inside = [points[i][name] for i in numbers[:keep]]
        outside = [one[name] for one in points if not min(inside) <= one[name] <= max(inside)]
        assert limits[0] <= low <= min(inside) <= max(inside) <= high <= limits[1]
        assert not any(low <= value <= high for value in outside)
    fractions = (np.arange(keep) + 0.5) / keep
    whole = np.unique(-2 + np.floor(7 * fractions))
    grid = [[-3 + 8 * one, other] for one in fractions for other in whole]
    return {"formula": values["grid"]}, {"formula": np.array(grid)}


# --- one model babysat ----------------------------------------------------------------------------


def babysit(side: ModuleType, costs: Sequence[float], **choices: Any) -> tuple[Any, int]:
    """Run a panda whose rounds have these costs; return its result, and the model's rounds."""
    counter = torch.nn.Module()
    counter.register_buffer("trained", torch.zeros((), dtype=torch.int64))

    def train_for(model: Any, point: Any) -> Any:
        model.trained += 1
        cost = costs[int(point["rate"])]
        return (model, cost) if side is ours else cost

    changes = [{"rate": float(n)} for n in range(len(costs))]
    result = side.panda(train_for, counter, {"rate": -1.0}, changes, **choices)
    return result, int((result.state if side is ours else result.module).trained)


def babysat(side: ModuleType, costs: Sequence[float]) -> Values:
    """Return the rounds that one side keeps, and where it stands after them."""
    seen: list[Any] = []
    result, trained = babysit(side, costs, on_result=seen.append)
    return {
        "kept": np.array([one.kept for one in result.rounds]),
        "trained": trained,
        "rate": result.point["rate"],
        "best cost": result.cost,
        "rounds seen": np.array([len(one.rounds) for one in seen]),
    }


def keeps_what_beats_all_before(run: Any, costs: Sequence[float]) -> None:
    """Hold every round to being kept where its cost is below all before; NaN never is."""
    lowest = np.fmin.accumulate([math.inf, *costs])
    kept = np.array(costs) < lowest[:-1]
    rounds, last = range(1, len(costs) + 1), max(np.flatnonzero(kept), default=-1)
    expected = {"kept": kept, "trained": kept.sum(), "rate": last, "rounds seen": rounds}
    expected["best cost"] = lowest[-1]
    for name, value in run("panda", costs=costs).items():
        assert np.array_equal(value, expected[name]), name


# --- networks trained -----------------------------------------------------------------------------

# fmt: off
MODELS: Mapping[str, tuple[str, Ends]] = {
    "learning_rate": ("log_uniform", (1e-4, 1.0)),
    "beta1": ("one_minus_log_uniform", (0.5, 0.99)), "units": ("integers", (2, 9))}

#: changes from round to round; the rate of 5 is taken back, and so is the last.
CHANGES: Sequence[Mapping[str, float]] = [
    {}, {"learning_rate": 0.03}, {"learning_rate": 5.0}, {"beta1": 0.5},
    {"beta1": 0.95, "learning_rate": 0.01}, {"learning_rate": 2.0},
]
# fmt: on


@cache
def run_of(units: int) -> Run:
    """Return a training of so many hidden units; data, orders and weights are of one seed."""
    rng = np.random.default_rng(7)
    X, network = rng.standard_normal((2, 90)), Network(layer_sizes=(2, units, 1), hidden="tanh")
    Y = (X[:1] * X[1:] > 0).astype(float)
    parameters = initialize(network.layer_sizes, "xavier", np.random.default_rng(3))
    sets: Any = {"X": X[:, :50], "Y": Y[:, :50], "dev": (X[:, 50:], Y[:, 50:])}
    stream: Any = {"epochs": 4, "batch_size": 16, "orders": draw_orders(50, 4, rng)}
    return Run(network=network, parameters=parameters, optimizer=("adam", {}), **sets, **stream)


def started(side: ModuleType, units: int) -> Any:
    run = run_of(units)
    return run.parameters.copy() if side is ours else twin(run.network, run.parameters)


def dev_cost(side: ModuleType, units: int, model: Any, point: Mapping[str, Any]) -> float:
    """Train a model in place by a few epochs of Adam and return its dev cost."""
    name, model_of = ("scratch", "parameters") if side is ours else ("torch_ref", "module")
    rates = {name: one for name, one in point.items() if name != "units"}
    given = replace(run_of(units), optimizer=("adam", rates)).arguments(name, **{model_of: model})
    return float(SIDES[name].train(**given).dev_costs[-1])


def trained(side: ModuleType, u: Any, units: int) -> Values:
    """Return the dev costs of one side's caviar and panda, the parameters at the end, the best."""
    models = {name: make(side, *scale) for name, scale in MODELS.items()}
    seen: list[Any] = []
    points = side.sample_points(models, np.array(u) if side is ours else rows(np.array(u)))

    def objective(point: Any) -> float:
        return dev_cost(side, point["units"], started(side, point["units"]), point)

    trials = side.caviar(objective, points, on_result=seen.append)
    assert [trial.point for trial in trials] == points
    assert seen == trials
    model, point = started(side, units), {"learning_rate": 0.01, "beta1": 0.9}

    def train_for(model: Any, point: Any) -> Any:
        cost = dev_cost(side, units, model, point)
        return (model, cost) if side is ours else cost

    result = side.panda(train_for, model, point, CHANGES)
    if side is ours:  # trained copies of it
        assert np.array_equal(model.theta, run_of(units).parameters.theta)
    assert [*point.values()] == [0.01, 0.9]
    assert_switches([one.kept for one in result.rounds], "kept")
    return {
        "dev costs": np.array([one.cost for one in (*trials, *result.rounds)]),
        "theta": result.state.theta if side is ours else unload(result.module).theta,
        "best units": np.float64(side.best(trials).point["units"]),
    }


def both(name: str, run: Any, **rest: Any) -> FunctionTwin:
    rest = {"bridge": None, "wide": False, **rest}
    return FunctionTwin(name=name, ours=partial(run, ours), theirs=partial(run, theirs), **rest)


# fmt: off
TWINS = (
    both("scales", sampled,
        formula="low + u (high - low) on the scale's axis; low + floor(u (high - low + 1))",
        source=SCALES + "; torch.distributions.Distribution.icdf",
        proves=("Scale", "Uniform", "LogUniform", "OneMinusLogUniform", "Integers",
                "sample_points"),
        float32=True, weight=0.5,
        draw=lambda rng, n=20, ranges=RANGES: {
            "u": np.sort(np.minimum([0, BELOW_1, *rng.random(n)], BELOW_1)), "ranges": ranges},
        gauges=sizes_of_values,
        cases={"n": st.integers(1, 100), "ranges": st.sampled_from([RANGES, *OTHERS.values()])},
        edges={name: {"ranges": one} for name, one in OTHERS.items()},
        relations=[Relation(name="SciPy's quantiles", holds=is_scipys_quantile,
            broken_by="the last whole number is never drawn",
            gauges=lambda **case: {
                "scipy": np.concatenate([sizes_of_values(**case)[name] for name in RANGES])})],
        mistakes=mistyped(lambda text, u, **_: {"integers": evaluate(text, u=u)},
            ("the last whole number is never drawn", 0.1, "high - low counts one too few",
             "-2 + u * 6 // 1"))),

    FunctionTwin(
        name="draw_points", formula="points at independent uniform draws, one for each scale",
        source=SCALES + "; torch.rand", proves=("draw_points",), names=("points",),
        ours=lambda seed, n: table(ours.draw_points(space(ours), n, Replayed(seed))),
        theirs=lambda seed, n: table(
            theirs.draw_points(space(theirs), n, torch.Generator().manual_seed(seed))),
        bridge=None, wide=False, weight=0.1,
        draw=lambda rng, n=20: {"seed": int(rng.integers(2**31)), "n": n},
        cases={"n": st.integers(1, 30)},
        gauges=lambda seed, n: {"points": np.abs(table(
            ours.draw_points(space(ours), n, Replayed(seed))))}),

    both("beta-on-a-log-scale", log_betas, topic="data",
        formula="beta = 1 - 10^r, r uniform: 0.9..0.99 as likely as 0.99..0.999",
        torch="1 - 10 ** -Uniform(1, 3).sample(), of torch.distributions",
        source=SCALES, proves=("OneMinusLogUniform",), names=("1 - beta",),
        bridge=AS_IT_IS, budget=GRADIENT, weight=0.2,
        draw=lambda rng, n=20: {"u": rng.random(n)}, cases={"n": st.integers(1, 100)},
        mistakes=mistyped(betas_by,
            ("beta uniform", 0.1, "nine of ten draws lie below 0.99", "0.1 - 0.099 * u"),
            ("beta itself on a log scale", 0.1, "from 0.9 to 0.999 beta is all but uniform on it",
             "1 - 0.9 * (0.999 / 0.9) ** u"))),

    both("coarse-to-fine", searched,
        formula="a grid; the trial of lowest cost; the box of the best, opened halfway to the next",
        source=TUNING + "torch.meshgrid, torch.distributions.transforms.Transform.inv",
        proves=("grid_points", "zoom", "best"), draw=draw_trials, gauges=search_gauges,
        cases={"n": st.integers(1, 15), "keep": st.integers(1, 15), "none": st.integers(0, 14)},
        edges={"one trial": {"n": 1}, "all": {"keep": 12}, "one number": {"n": 5, "none": 4}},
        relations=[Relation(
            name="the box holds the best, and leaves the next", holds=holds_the_best,
            broken_by=lambda honest, **case: {
                **honest(**case), "ends": np.array([*RANGES.values()], float)})]),

    both("panda", babysat,
        formula="a round is kept if its dev cost is below all before, else rolled back",
        source=PANDAS + "torch.nn.Module.load_state_dict", proves=("panda",),
        exact=True, weight=0.5,
        draw=lambda rng, costs=(3.0, 2.0, 4.0, 1.0): {"costs": tuple(costs)},
        cases={"costs": st.lists(
            st.sampled_from([1.0, 2.0, 2.5, 3.0, -1.0, math.nan, math.inf]), min_size=1)},
        edges={
            "equal costs": {"costs": (3.0, 3.0, 3.5, 3.2)},
            "NaN": {"costs": (math.nan, 2.0, math.nan)},
            "nothing kept": {"costs": (math.nan, math.inf)}},
        relations=[Relation(name="a round is kept if it beats all before",
            holds=keeps_what_beats_all_before,
            broken_by=lambda honest, costs: {
                **honest(costs=costs), "kept": np.diff([math.inf, *costs]) < 0},
            at={"costs": (3.0, 1.0, 2.0, 1.5, 1.0, 0.5, math.nan)})]),

    both("search-of-networks", trained,
        formula="networks trained at drawn points, and one babysat: dev costs, theta, the best",
        source=PANDAS + "torch.multiprocessing", proves=("caviar", "panda", "best"),
        budget=TRAINING, weight=0.05,
        draw=lambda rng, units=5: {"u": rng.random((3, 6)).tolist(), "units": units},
        cases={"units": st.integers(3, 9)}),
)
# fmt: on
