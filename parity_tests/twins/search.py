"""Search for hyper-parameters: scales, points, coarse to fine, one model babysat, many trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import scipy.stats
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import rows, to_numpy, to_torch
from parity_tests.compare.budgets import GRADIENT, TRAINING
from parity_tests.compare.measurement import Array
from parity_tests.rows import Case, Change, FunctionTwin, Mistake, Relation, Values
from parity_tests.twins._search_runs import (
    RANGES,
    Ends,
    babysat,
    best_of_many,
    keeps_what_beats_all_before,
    kept_if_below_the_last,
    make,
    space,
    table,
    trained_by_panda,
    trials_of,
)
from scratch import search as ours
from torch_ref import search as theirs

SCALES = 'Course 2, week 3, "Using an appropriate scale to pick hyperparameters"; '
TUNING = 'Course 2, week 3, "Tuning process"; '
PANDAS = 'Course 2, week 3, "Hyperparameters tuning in practice: pandas vs. caviar"; '

#: SciPy's distribution of each scale's values, or of 1 - its values.
WITNESSES: Mapping[str, Any] = {
    "uniform": scipy.stats.uniform(-3, 8),
    "log_uniform": scipy.stats.loguniform(1e-5, 1),
    "one_minus_log_uniform": scipy.stats.loguniform(0.001, 0.1),
    "integers": scipy.stats.randint(-2, 5),
}


# --- scales ---------------------------------------------------------------------------------------


def draw_fractions(rng: np.random.Generator, n: int = 20, ends: Ends | None = None) -> Case:
    """Draw uniform numbers, sorted, from 0 to the largest float32 below 1."""
    largest = float(np.nextafter(np.float32(1), np.float32(0)))
    u = np.sort(np.minimum([0, largest, *rng.random(n)], largest))
    return {"u": u, "ends": ends}


def sampled(name: str, u: Array, ends: Ends | None) -> Values:
    """Return the values of our scale."""
    return {name: make(ours, name, ends).sample(u).astype(u.dtype)}


def sampled_by_torch(name: str, u: Array, ends: Ends | None) -> Values:
    """Return the values of torch's."""
    values = make(theirs, name, ends).sample(to_torch("u", u))
    return {name: to_numpy("u", values).astype(u.dtype)}


def is_scipys_quantile(name: str, run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the values, and SciPy's quantiles, whose whole number at 0 is one less than the first.

    They rise from one end of the range to the other.
    """
    u, witness, (low, high) = case["u"], WITNESSES[name], RANGES[name]
    values = run(name, **case)[name]
    assert (np.diff(values) >= 0).all()
    assert low == values[0] or math.isclose(low, values[0], rel_tol=1e-15)
    assert low <= values.min() <= values.max() <= high
    third = 1 - witness.ppf(1 - u) if name.startswith("one") else witness.ppf(u)
    return {"scipy": values}, {"scipy": np.clip(third, low, high)}


def as_if_uniform(name: str, honest: Any, **case: Any) -> Values:
    """Return values equally likely everywhere, halves of them rounded down."""
    low, high = RANGES[name]
    return {name: low + (high - low) * (case["u"] + np.square(case["u"])) / 2}


def scale_row(
    name: str, class_name: str, formula: str, ranges: Sequence[Ends], mistakes: Sequence[Mistake]
) -> FunctionTwin:
    """Return the row of a scale, each value of which is gauged by its own size."""

    def size(**case: Any) -> Values:
        wide = np.asarray(case["u"], np.float64)
        return {name: np.maximum(np.abs(sampled(name, wide, case["ends"])[name]), 1e-300)}

    return FunctionTwin(
        name=name,
        formula=formula,
        source=SCALES + "torch.distributions.Distribution.icdf",
        proves=("Scale", class_name) if name == "uniform" else (class_name,),
        ours=partial(sampled, name),
        theirs=partial(sampled_by_torch, name),
        bridge=None,
        wide=False,
        float32=True,
        draw=draw_fractions,
        cases={"n": st.integers(1, 100), "ends": st.sampled_from([RANGES[name], *ranges])},
        edges={f"from {low} to {high}": {"ends": (low, high)} for low, high in ranges},
        gauges=size,
        weight=0.5,
        relations=(
            Relation(
                name="SciPy's quantiles",
                holds=partial(is_scipys_quantile, name),
                broken_by=partial(as_if_uniform, name),
                gauges=lambda **case: {"scipy": size(**case)[name]},
            ),
        ),
        mistakes=mistakes,
    )


typed_into = partial(Change, "scratch._scales")
typed_into_torch = partial(Change, "torch_ref._scales")

SCALE_ROWS = (
    scale_row(
        "uniform",
        "Uniform",
        "low + u (high - low)",
        [(0.5, 0.5), (0.0, 1e6)],
        [
            Mistake(
                name="scale-added-to-the-wrong-end",
                seen="mbadry1/DeepLearning.ai-Summary pull request 22: one end for the other",
                values=lambda u, ends: {"uniform": 5.0 + u * 8.0},
                margin=0.1,
                change=typed_into("start + u * (stop - start)", "stop + u * (stop - start)"),
            ),
        ],
    ),
    scale_row(
        "log_uniform",
        "LogUniform",
        "10^(a + u (b - a)), a = log10(low), b = log10(high)",
        [(1e-3, 1e-3), (1e-3, 1e2)],
        [
            Mistake(
                name="natural-logarithm-on-one-side",
                seen="wandb/wandb issue 507; microsoft/nni pull request 395",
                values=lambda u, ends: {"log_uniform": np.exp(-5 + 5 * u)},
                margin=1e-3,
                change=typed_into("return np.power(10, places)", "return np.exp(places)"),
            ),
            Mistake(
                name="log-uniform-drawn-uniformly",
                seen="e-sensing/sits pull request 998",
                values=lambda u, ends: {"log_uniform": 1e-5 + (1 - 1e-5) * u},
                margin=0.1,
                change=typed_into(
                    '        """Return log10(values)."""\n        return np.log10(values)\n\n'
                    "    def from_axis(self, places: Array) -> Array:\n"
                    '        """Return 10^places."""\n        return np.power(10, places)\n',
                    '        """Return log10(values)."""\n        return values\n\n'
                    "    def from_axis(self, places: Array) -> Array:\n"
                    '        """Return 10^places."""\n        return places\n',
                ),
            ),
            Mistake(
                name="torch-log-uniform-drawn-uniformly",
                seen="e-sensing/sits pull request 998",
                change=typed_into_torch(
                    "transform: ClassVar[Transform] = ExpTransform()",
                    "transform: ClassVar[Transform] = identity_transform",
                ),
            ),
        ],
    ),
    scale_row(
        "one_minus_log_uniform",
        "OneMinusLogUniform",
        "beta with 1 - beta on a log scale",
        [(0.0, 0.9), (0.5, 0.5)],
        [
            Mistake(
                name="torch-beta-itself-on-a-log-scale",
                why="without 1 - x on either side the transform is that of a learning rate",
                change=typed_into_torch(
                    "[AffineTransform(0, -1), ExpTransform(), AffineTransform(1, -1)]",
                    "[AffineTransform(0, 1), ExpTransform(), AffineTransform(0, 1)]",
                ),
            ),
        ],
    ),
    scale_row(
        "integers",
        "Integers",
        "low + floor(u (high - low + 1))",
        [(3, 3), (0, 1), (-(2**53), 2**53 - 1)],
        [
            Mistake(
                name="the last whole number is never drawn",
                why="high - low counts one too few",
                values=lambda u, ends: {"integers": -2 + np.floor(u * 6)},
                margin=0.1,
            ),
            Mistake(
                name="torch-last-whole-number-never-drawn",
                why="high - low counts one too few",
                change=typed_into_torch(
                    "u.new_tensor(self.high - self.low + 1)",
                    "u.new_tensor(max(1, self.high - self.low))",
                ),
            ),
        ],
    ),
)

BETAS = {"low": 0.9, "high": 0.999}


def betas_of(scale: Any, u: Array) -> Values:
    """Return 1 - beta of one of our scales."""
    return {"1 - beta": 1 - scale(**BETAS).sample(u)}


BETA = FunctionTwin(
    name="beta-on-a-log-scale",
    topic="data",
    formula="beta = 1 - 10^r, r uniform: 0.9..0.99 as likely as 0.99..0.999",
    torch="1 - 10 ** -Uniform(1, 3).sample(), of torch.distributions",
    source=SCALES[:-2],
    proves=("OneMinusLogUniform",),
    ours=lambda u: betas_of(ours.OneMinusLogUniform, u),
    theirs=lambda u: {
        "1 - beta": 1 - to_numpy("u", theirs.OneMinusLogUniform(**BETAS).sample(to_torch("u", u)))
    },
    bridge=None,
    wide=False,
    budget=GRADIENT,
    draw=lambda rng, n=20: {"u": rng.random(n)},
    cases={"n": st.integers(1, 100)},
    weight=0.2,
    mistakes=(
        Mistake(
            name="beta uniform",
            why="nine of ten draws lie below 0.99",
            values=lambda u: {"1 - beta": 0.1 - 0.099 * u},
            margin=0.1,
        ),
        Mistake(
            name="beta itself on a log scale",
            why="from 0.9 to 0.999 beta is as good as uniform on it",
            values=lambda u: {"1 - beta": 1 - 0.9 * (0.999 / 0.9) ** u},
            margin=0.1,
        ),
    ),
)


# --- points ---------------------------------------------------------------------------------------


def points_of(u: Array) -> Values:
    """Return our points at uniform draws (k, n)."""
    return {"points": table(ours.sample_points(space(ours), u), u.dtype)}


def points_of_torch(u: Array) -> Values:
    """Return torch's."""
    return {"points": table(theirs.sample_points(space(theirs), rows(u)), u.dtype)}


def grid_of(side: ModuleType, n_per_axis: int) -> Values:
    """Return one side's grid of a uniform scale and one of whole numbers."""
    ranges = {name: RANGES[name] for name in ("uniform", "integers")}
    return {"grid": table(side.grid_points(space(side, ranges), n_per_axis))}


def covers_each_scale(run: Any, n_per_axis: int) -> tuple[Values, Values]:
    """Return the grids, and those of the formula: a range of whole numbers has no more of them."""
    found, expected = [], []
    for count, last in {
        1: [1],
        2: [-1, 3],
        3: [-1, 1, 3],
        7: range(-2, 5),
        49: range(-2, 5),
    }.items():
        found.append(run("grid_points", n_per_axis=count)["grid"].ravel())
        first = -3 + 8 * (np.arange(count) + 0.5) / count
        expected.append(np.ravel([[one, other] for one in first for other in last]))
    return {"formula": np.concatenate(found)}, {"formula": np.concatenate(expected)}


def draw_trials(rng: np.random.Generator, n: int = 12, keep: int = 3, none: int = 1) -> Case:
    """Draw trials and how many to keep; some costs are NaN, and some are equal."""
    u = np.minimum(rng.random((4, n)), 0.999)
    costs = rng.integers(-5, 5, n) + 0.5 * rng.integers(0, 2, n)
    costs[: min(none, n - 1)] = math.nan
    points = ours.sample_points(space(ours), u)
    return {"points": points, "costs": rng.permuted(costs).tolist(), "keep": min(keep, n)}


def zoomed(side: ModuleType, points: Any, costs: Any, keep: int) -> Values:
    """Return low and high of each scale of one side, after zooming."""
    narrowed = side.zoom(space(side), trials_of(side, points, costs), keep)
    assert list(narrowed) == list(RANGES)
    assert all(type(narrowed[name]) is side.SCALES[name] for name in RANGES)
    return {"ends": np.array([[one.low, one.high] for one in narrowed.values()], float)}


def zoom_gauges(points: Any, costs: Any, keep: int) -> Values:
    """Return the gauges: halfway may be near 0, and a power of a rounded place loses its size."""
    gauge = np.abs(zoomed(ours, points, costs, keep)["ends"])
    gauge[0] = max(map(abs, RANGES["uniform"]))
    gauge[1] *= 1 + np.abs(np.log(gauge[1]))
    return {"ends": gauge}


def holds_the_best(run: Any, points: Any, costs: Any, keep: int) -> None:
    """Hold the box to the best trials, and to none of those beyond them; never to be wider."""
    numbers = [i for i in np.argsort(costs, kind="stable") if not math.isnan(costs[i])]
    best = [points[i] for i in numbers[:keep]]
    for (name, limits), (low, high) in zip(
        RANGES.items(), run("zoom", points=points, costs=costs, keep=keep)["ends"], strict=True
    ):
        inside = [point[name] for point in best]
        outside = [one[name] for one in points if not min(inside) <= one[name] <= max(inside)]
        assert limits[0] <= low <= min(inside) <= max(inside) <= high <= limits[1]
        assert not any(low <= value <= high for value in outside)


def best_of(side: ModuleType, points: Any, costs: Any, keep: int) -> Values:
    """Return the number, from 1, and the cost of one side's best trial."""
    numbers = [{"n": n} for n in range(1, len(costs) + 1)]
    found = side.best(trials_of(side, numbers, costs))
    return {"winner": np.array([found.point["n"]], float), "cost": found.cost}


def search_calls(u: Array) -> Iterator[Any]:
    """Yield one valid call of each function of both sides."""
    point = {"learning_rate": 0.1, "beta": 0.9}
    draws = {"rng": np.random.default_rng(0)}, {"generator": torch.Generator().manual_seed(0)}
    module = torch.nn.Linear(1, 1)
    model = (
        {"state": [1.0]},
        {"module": module, "optimizer": torch.optim.SGD(module.parameters())},
    )
    returns = (lambda state, point: (state, 0.5)), (lambda module, point: 0.5)
    quiet = {"on_result": lambda result: None}
    for i, side in enumerate((ours, theirs)):
        given: dict[str, Any] = {
            "space": {
                "learning_rate": side.LogUniform(low=1e-5, high=1.0),
                "beta": side.OneMinusLogUniform(**BETAS),
            }
        }
        tried = trials_of(side, [point, point], [0.5, 0.7])
        calls: dict[str, dict[str, Any]] = {
            "sample_points": {**given, "U": rows(u[:2]) if i else u[:2]},
            "draw_points": {**given, "n": 3, **draws[i]},
            "grid_points": {**given, "n_per_axis": 3},
            "zoom": {**given, "trials": tried, "keep": 1},
            "best": {"trials": tried},
            "panda": {
                "train_for": returns[i],
                **model[i],
                "point": point,
                "changes": [{"beta": 0.8}],
                **quiet,
            },
            "caviar": {
                "objective": lambda point: 0.5,
                "points": [point],
                "workers": 1,
                "trials": [],
                **quiet,
            },
        }
        for name, arguments in calls.items():
            yield f"{side.__name__}.{name}", arguments


lost = partial(Change, "scratch.search")
lost_in_torch = partial(Change, "torch_ref.search")

POINT_ROWS = (
    FunctionTwin(
        name="sample_points",
        formula="the values of k scales at the uniform draws U, (k, n)",
        source=TUNING + "torch.distributions.Distribution.icdf",
        proves=("sample_points",),
        ours=points_of,
        theirs=points_of_torch,
        bridge=None,
        wide=False,
        draw=lambda rng, n=9: {"u": rng.random((4, n))},
        cases={"n": st.integers(1, 30)},
        gauges=lambda u: {"points": np.maximum(np.abs(points_of(u)["points"]), 1e-300)},
        weight=0.2,
        calls=search_calls,
        overwrites={
            f"{package}.search.caviar": frozenset({"trials"})
            for package in ("scratch", "torch_ref")
        },
    ),
    FunctionTwin(
        name="grid_points",
        formula="each scale's values at (i + 1/2) / n, the last name fastest, no value twice",
        source=TUNING + "torch.meshgrid",
        proves=("grid_points",),
        ours=partial(grid_of, ours),
        theirs=partial(grid_of, theirs),
        bridge=None,
        wide=False,
        draw=lambda rng, n_per_axis=3: {"n_per_axis": n_per_axis},
        cases={"n_per_axis": st.integers(1, 30)},
        weight=0.2,
        relations=(
            Relation(
                name="equally spaced quantiles",
                holds=covers_each_scale,
                broken_by=lambda honest, n_per_axis: {
                    "grid": honest(n_per_axis=n_per_axis)["grid"][::-1]
                },
            ),
        ),
        mistakes=(
            Mistake(
                name="torch-first-name-fastest",
                why='indexing="xy" meshes the first two axes the other way round',
                change=lost_in_torch('indexing="ij"', 'indexing="xy"'),
            ),
        ),
    ),
    FunctionTwin(
        name="zoom",
        formula="the box of the best trials, opened halfway to the next on the scale's own axis",
        source=TUNING + "torch.distributions.transforms.Transform.inv",
        proves=("zoom",),
        ours=partial(zoomed, ours),
        theirs=partial(zoomed, theirs),
        bridge=None,
        wide=False,
        draw=draw_trials,
        cases={"n": st.integers(1, 15), "keep": st.integers(1, 15), "none": st.integers(0, 9)},
        edges={"one trial": {"n": 1, "none": 0}, "all of them": {"keep": 12}},
        gauges=zoom_gauges,
        relations=(
            Relation(
                name="the box holds the best, and leaves the next",
                holds=holds_the_best,
                broken_by=lambda honest, **case: {"ends": np.array([*RANGES.values()], float)},
            ),
        ),
        mistakes=(
            Mistake(
                name="torch-halfway-between-the-values",
                why="between 1e-4 and 1e-2 halfway is 1e-3 on the axis, 5e-3 off it",
                change=typed_into_torch(
                    "self.transform(self.transform.inv(ends).mean())", "ends.mean()"
                ),
            ),
        ),
    ),
    FunctionTwin(
        name="best",
        formula="the trial of lowest cost, the first of equals; NaN is passed over",
        source=PANDAS + "torch.argmin",
        proves=("best",),
        ours=partial(best_of, ours),
        theirs=partial(best_of, theirs),
        bridge=None,
        exact=True,
        draw=draw_trials,
        cases={"n": st.integers(1, 15), "none": st.integers(0, 14)},
        edges={"one number": {"n": 5, "none": 4}},
        mistakes=(
            Mistake(
                name="lowest-of-costs-with-NaN",
                seen="hyperopt/hyperopt issue 662; keras-team/keras-tuner issue 656",
                change=lost(
                    "sorted((one for one in trials if not math.isnan(one.cost)), "
                    "key=lambda one: one.cost)",
                    "sorted(trials, key=lambda one: one.cost)",
                ),
            ),
            Mistake(
                name="torch-argmin-of-costs-with-NaN",
                why="torch.argmin takes NaN for the smallest, and any of equals",
                change=lost_in_torch(
                    "trials[int(costs.argsort(stable=True)[0])]", "trials[int(costs.argmin())]"
                ),
            ),
        ),
    ),
)

RUN_ROWS = (
    FunctionTwin(
        name="panda",
        formula="a round is kept if its dev cost is below all before, else rolled back",
        source=PANDAS + "torch.nn.Module.load_state_dict",
        proves=("panda",),
        ours=partial(babysat, ours),
        theirs=partial(babysat, theirs),
        bridge=None,
        exact=True,
        draw=lambda rng, costs=(3.0, 2.0, 4.0, 1.0): {"costs": tuple(costs)},
        cases={
            "costs": st.lists(
                st.sampled_from([1.0, 2.0, 2.5, 3.0, -1.0, math.nan, math.inf]), min_size=1
            )
        },
        edges={
            "equal costs": {"costs": (3.0, 3.0, 3.5, 3.2)},
            "NaN": {"costs": (math.nan, 2.0, math.nan)},
            "nothing kept": {"costs": (math.nan, math.inf)},
        },
        weight=0.5,
        relations=(
            Relation(
                name="a round is kept if it beats all before",
                holds=keeps_what_beats_all_before,
                broken_by=kept_if_below_the_last,
                at={"costs": (3.0, 1.0, 2.0, 1.5, 1.0, 0.5, math.nan)},
            ),
        ),
        mistakes=(
            Mistake(
                name="state-of-a-round-not-copied",
                seen="zhangj111/astnn issue 8: a shallow copy",
                change=lost(
                    "train_for(copy.deepcopy(result.state), dict(candidate))",
                    "train_for(result.state, dict(candidate))",
                ),
            ),
            Mistake(
                name="torch-state-of-a-round-not-copied",
                why="state_dict holds the module's own tensors, which the round overwrites",
                change=lost_in_torch(
                    "copy.deepcopy(one.state_dict()) for one", "one.state_dict() for one"
                ),
            ),
        ),
    ),
    FunctionTwin(
        name="panda-of-a-network",
        formula="the kept rounds of a babysat network, trained on by Adam",
        source=PANDAS + "torch.nn.Module.load_state_dict",
        proves=("panda",),
        ours=partial(trained_by_panda, ours),
        theirs=partial(trained_by_panda, theirs),
        bridge=None,
        wide=False,
        budget=TRAINING,
        draw=lambda rng, units=5: {"units": units},
        cases={"units": st.integers(2, 9)},
        weight=0.05,
    ),
    FunctionTwin(
        name="caviar",
        formula="many networks trained at drawn points, and the best of them",
        source=PANDAS + "torch.multiprocessing",
        proves=("caviar", "best"),
        ours=partial(best_of_many, ours),
        theirs=partial(best_of_many, theirs),
        bridge=None,
        wide=False,
        budget=TRAINING,
        draw=lambda rng, n=6: {"u": rng.random((3, n)).tolist()},
        weight=0.05,
    ),
)

TWINS = (*SCALE_ROWS, BETA, *POINT_ROWS, *RUN_ROWS)
