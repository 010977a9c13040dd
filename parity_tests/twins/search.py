"""Search for hyper-parameters: scales, points, coarse to fine, one model babysat, many trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import scipy.stats
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import AS_IT_IS, rows, to_torch
from parity_tests.compare.budgets import GRADIENT, TRAINING
from parity_tests.compare.measurement import Array
from parity_tests.drawing import Replayed
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation
from parity_tests.twins import _search_runs as runs
from parity_tests.twins._search_runs import RANGES, Ranges, make, space
from scratch import search as ours
from torch_ref import search as theirs

SCALES = 'Course 2, week 3, "Using an appropriate scale to pick hyperparameters"'
TUNING = 'Course 2, week 3, "Tuning process"; '
PANDAS = 'Course 2, week 3, "Hyperparameters tuning in practice: pandas vs. caviar"; '

#: SciPy's distribution of each scale's values, or of 1 - its values.
WITNESSES: Mapping[str, Any] = {
    "uniform": scipy.stats.uniform(-3, 8),
    "log_uniform": scipy.stats.loguniform(1e-5, 1),
    "one_minus_log_uniform": scipy.stats.loguniform(0.001, 0.1),
    "integers": scipy.stats.randint(-2, 5),
}

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
    return {**values, "points": runs.table(side.sample_points(scales, draws), u.dtype)}


def sizes_of_values(u: Array, ranges: Ranges) -> Values:
    """Return the size of each value, as a log scale spans decades, and the terms of 1 - 10^r."""
    values = sampled(ours, u.astype(np.float64), ranges)
    sizes = {name: np.maximum(np.abs(values[name]), 1e-300) for name in ranges}
    betas = values["one_minus_log_uniform"]
    sizes["one_minus_log_uniform"] = np.maximum(betas, 1 - betas)
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


def draw_trials(rng: np.random.Generator, n: int = 12, keep: int = 3, none: int = 1) -> Case:
    """Draw points, costs of which some are NaN and some are equal, and how many to keep."""
    points = ours.sample_points(space(ours), np.minimum(rng.random((4, n)), 0.999))
    costs = rng.integers(-5, 5, n) + 0.5 * rng.integers(0, 2, n)
    costs[: min(none, n - 1)] = math.nan
    return {"points": points, "costs": rng.permuted(costs).tolist(), "keep": min(keep, n)}


def searched(side: ModuleType, points: Any, costs: Any, keep: int) -> Values:
    """Return the zoomed ends of one side's scales, its best trial, and a grid of so many values."""
    scales = space(side)
    narrowed = side.zoom(scales, runs.trials_of(side, points, costs), keep)
    assert [*narrowed] == [*scales]
    assert all(type(narrowed[name]) is type(scale) for name, scale in scales.items())
    numbered = [{"n": n} for n in range(1, len(costs) + 1)]
    found = side.best(runs.trials_of(side, numbered, costs))
    two = {name: scales[name] for name in ("uniform", "integers")}
    return {
        "ends": np.array([[one.low, one.high] for one in narrowed.values()], float),
        "winner": np.array([found.point["n"], found.cost], float),
        "grid": runs.table(side.grid_points(two, keep)),
    }


def search_gauges(points: Any, costs: Any, keep: int) -> Values:
    """Return the gauges: halfway may be near 0, and a power of a rounded place loses its size."""
    gauge = np.abs(searched(ours, points, costs, keep)["ends"])
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
        mistakes=[Mistake(name="the last whole number is never drawn", margin=0.1,
            why="high - low counts one too few",
            values=lambda u, ranges: {"integers": -2 + np.floor(u * 6)})]),

    FunctionTwin(
        name="draw_points", formula="points at independent uniform draws, one for each scale",
        source=SCALES + "; torch.rand", proves=("draw_points",), names=("points",),
        ours=lambda seed, n: runs.table(ours.draw_points(space(ours), n, Replayed(seed))),
        theirs=lambda seed, n: runs.table(
            theirs.draw_points(space(theirs), n, torch.Generator().manual_seed(seed))),
        bridge=None, wide=False, weight=0.1,
        draw=lambda rng, n=20: {"seed": int(rng.integers(2**31)), "n": n},
        cases={"n": st.integers(1, 30)},
        gauges=lambda seed, n: {"points": np.abs(runs.table(
            ours.draw_points(space(ours), n, Replayed(seed))))}),

    both("beta-on-a-log-scale", log_betas, topic="data",
        formula="beta = 1 - 10^r, r uniform: 0.9..0.99 as likely as 0.99..0.999",
        torch="1 - 10 ** -Uniform(1, 3).sample(), of torch.distributions",
        source=SCALES, proves=("OneMinusLogUniform",), names=("1 - beta",),
        bridge=AS_IT_IS, budget=GRADIENT, weight=0.2,
        draw=lambda rng, n=20: {"u": rng.random(n)}, cases={"n": st.integers(1, 100)},
        mistakes=(
            Mistake(name="beta uniform", margin=0.1, why="nine of ten draws lie below 0.99",
                values=lambda u: {"1 - beta": 0.1 - 0.099 * u}),
            Mistake(name="beta itself on a log scale", margin=0.1,
                why="from 0.9 to 0.999 beta is as good as uniform on it",
                values=lambda u: {"1 - beta": 1 - 0.9 * (0.999 / 0.9) ** u}),
        )),

    both("coarse-to-fine", searched,
        formula="a grid; the trial of lowest cost; the box of the best, opened halfway to the next",
        source=TUNING + "torch.meshgrid, torch.distributions.transforms.Transform.inv",
        proves=("grid_points", "zoom", "best"),
        draw=draw_trials, gauges=search_gauges,
        cases={"n": st.integers(1, 15), "keep": st.integers(1, 15), "none": st.integers(0, 14)},
        edges={"one trial": {"n": 1}, "all": {"keep": 12}, "one number": {"n": 5, "none": 4}},
        relations=[Relation(
            name="the box holds the best, and leaves the next", holds=holds_the_best,
            broken_by=lambda honest, **case: {
                **honest(**case), "ends": np.array([*RANGES.values()], float)})]),

    both("panda", runs.babysat,
        formula="a round is kept if its dev cost is below all before, else rolled back",
        source=PANDAS + "torch.nn.Module.load_state_dict", proves=("panda",),
        exact=True, weight=0.5,
        draw=lambda rng, costs=(3.0, 2.0, 4.0, 1.0): {"costs": tuple(costs)},
        cases={"costs": st.lists(
            st.sampled_from([1.0, 2.0, 2.5, 3.0, -1.0, math.nan, math.inf]), min_size=1)},
        edges={
            "equal costs": {"costs": (3.0, 3.0, 3.5, 3.2)},
            "NaN": {"costs": (math.nan, 2.0, math.nan)},
            "nothing kept": {"costs": (math.nan, math.inf)},
        },
        relations=[Relation(name="a round is kept if it beats all before",
            holds=runs.keeps_what_beats_all_before,
            broken_by=lambda honest, costs: {
                **honest(costs=costs), "kept": np.diff([math.inf, *costs]) < 0},
            at={"costs": (3.0, 1.0, 2.0, 1.5, 1.0, 0.5, math.nan)})]),

    both("search-of-networks", runs.trained,
        formula="networks trained at drawn points, and one babysat: dev costs, theta, the best",
        source=PANDAS + "torch.multiprocessing", proves=("caviar", "panda", "best"),
        budget=TRAINING, weight=0.05,
        draw=lambda rng, units=5: {"u": rng.random((3, 6)).tolist(), "units": units},
        cases={"units": st.integers(3, 9)}),
)
# fmt: on
