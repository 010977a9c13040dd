"""Search for hyper-parameters: scales to draw them on, coarse to fine, one model or many.

A point is a mapping of names to values; a space is a mapping of the same names to scales.
"""

from __future__ import annotations

import copy
import math
import pickle
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from scratch._scales import (
    SCALES,
    Draws,
    Integers,
    LogUniform,
    OneMinusLogUniform,
    Scale,
    Space,
    Uniform,
)
from scratch._validation import (
    Array,
    Expected,
    Function,
    Instance,
    Number,
    Optional,
    Seen,
    Whole,
    check,
    describe,
    unchecked,
    validated,
)

__all__ = [
    "SCALES",
    "Integers",
    "LogUniform",
    "OneMinusLogUniform",
    "PandaResult",
    "Round",
    "Scale",
    "Trial",
    "Uniform",
    "best",
    "caviar",
    "draw_points",
    "grid_points",
    "panda",
    "sample_points",
    "zoom",
]

Point: TypeAlias = Mapping[str, Any]
State = TypeVar("State")


class Trial(NamedTuple):
    """One point and the cost that a model reached with it; NaN where training diverged."""

    point: dict[str, Any]
    cost: float


class Round(NamedTuple):
    """One round of `panda`: the point that was tried, its cost, and whether it was kept."""

    point: dict[str, Any]
    cost: float
    kept: bool


class PandaResult(NamedTuple):
    """Where `panda` stands after a round; the cost is infinite until a round is kept."""

    state: Any
    point: dict[str, Any]
    cost: float
    rounds: tuple[Round, ...]


class _Point:
    """A mapping of names to values."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds with TypeError."""
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError(f"expected {name} to map names to values, got {describe(value)}")


class _Trial:
    """A trial of a mapping and a real number, NaN and infinity too."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds with TypeError."""
        Instance(Trial).check(name, value, seen)
        _Point().check(f"{name}.point", value.point, seen)
        _cost(value.cost, f"{name}.cost")


class _Several:
    """A sequence, not empty, of what is expected of each."""

    def __init__(self, each: Expected) -> None:
        """Take what each must be."""
        self.each = each

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and an empty sequence (ValueError)."""
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"expected {name} to be a list, got {describe(value)}")
        if not value:
            raise ValueError(f"expected {name} to hold at least one entry, got none")
        for index, one in enumerate(value):
            self.each.check(f"{name}[{index}]", one, seen)


@validated(U=Draws("k n"), space=Space())
def sample_points(space: Mapping[str, Scale], U: Array) -> list[dict[str, float | int]]:
    """Return n points, the values of k scales at the uniform draws U, shape (k, n).

    Raises ValueError unless U has one row for each scale of the space, in its order.

    Source: Course 2, week 3, "Tuning process".
    """
    if len(U) != len(space):
        raise ValueError(f"expected U of shape (k, n) with k = {len(space)} scales, got {U.shape}")
    values = [scale.sample(u).tolist() for scale, u in zip(space.values(), U, strict=True)]
    return [dict(zip(space, point, strict=True)) for point in zip(*values, strict=True)]


@validated(space=Space(), n=Whole(1), rng=Instance(np.random.Generator))
def draw_points(
    space: Mapping[str, Scale], n: int, rng: np.random.Generator
) -> list[dict[str, float | int]]:
    """Draw n points at random: n distinct values of every hyper-parameter, important or not.

    Source: Course 2, week 3, "Tuning process", "try random values: don't use a grid".
    """
    return unchecked(sample_points)(space, rng.random((len(space), n)))


@validated(space=Space(), n_per_axis=Whole(1))
def grid_points(space: Mapping[str, Scale], n_per_axis: int) -> list[dict[str, float | int]]:
    """Return the full grid of each scale's values at (i + 1/2) / n_per_axis, the last name fastest.

    An axis of whole numbers has no more values than the scale.

    Source: Course 2, week 3, "Tuning process".
    """
    u = (np.arange(n_per_axis) + 0.5) / n_per_axis
    axes = [dict.fromkeys(scale.sample(u).tolist()) for scale in space.values()]
    return [dict(zip(space, point, strict=True)) for point in product(*axes)]


@validated(space=Space(), trials=_Several(_Trial()), keep=Whole(1))
def zoom(space: Mapping[str, Scale], trials: Sequence[Trial], keep: int) -> dict[str, Scale]:
    """Return the space around the `keep` trials of lowest cost: coarse to fine.

    Each scale narrows to the box of the best values, opened halfway, on the scale's own axis, to
    the next values that were tried, so that it never closes; where none was tried beyond the box,
    the old end stays. Costs of NaN are never among the best.

    Raises ValueError where a trial lies outside the space, fewer than `keep` were made, or all
    costs are NaN.

    Source: Course 2, week 3, "Tuning process", "coarse to fine".
    """
    if keep > len(trials):
        raise ValueError(f"expected keep to be at most {len(trials)} trials, got {keep}")
    for point, _ in trials:
        if not space.keys() <= point.keys():
            raise ValueError(f"expected points with {', '.join(space)}, got {point}")
        check({name: Number(f"[{one.low}, {one.high}]") for name, one in space.items()}, point)
    chosen = _ranked(trials)[:keep]
    return {
        name: scale._around(
            *(np.array([trial.point[name] for trial in some], float) for some in (chosen, trials))
        )
        for name, scale in space.items()
    }


@validated(trials=_Several(_Trial()))
def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial of lowest cost, the first of equals; costs of NaN are passed over.

    Raises ValueError where all costs are NaN.

    Source: Course 2, week 3, "Hyperparameters tuning in practice: pandas vs. caviar".
    """
    return _ranked(trials)[0]


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    ranked = sorted((one for one in trials if not math.isnan(one.cost)), key=lambda one: one.cost)
    if not ranked:
        raise ValueError("expected a trial with a cost that is a number, got NaN for all")
    return ranked


def _cost(cost: Any, name: str = "the cost") -> float:
    """Return an objective's result as a float, or raise TypeError."""
    if isinstance(cost, bool) or not isinstance(cost, Real):
        raise TypeError(f"expected {name} to be a real number, got {describe(cost)}")
    return float(cost)


@validated(
    train_for=Function(),
    point=_Point(),
    changes=_Several(_Point()),
    on_result=Optional(Function()),
)
def panda(
    train_for: Callable[[State, dict[str, Any]], tuple[State, float]],
    state: State,
    point: Point,
    changes: Sequence[Point],
    *,
    on_result: Callable[[PandaResult], None] | None = None,
) -> PandaResult:
    """Babysit one model: train on with one change after the other, keep those that lower the cost.

    Each round calls `train_for(state, point) -> (state, dev cost)` with a deep copy of the state
    reached so far, which it may overwrite, and the point reached so far with a change's values put
    in. Where the dev cost is lower than ever before, state and point move on; otherwise they
    stay, and the round is rolled back. {} changes nothing: train on. The first round beats any
    cost but NaN. `on_result` is called with the result so far after each round.

    Raises ValueError where a change names what the point does not have, TypeError where `train_for`
    does not return a pair of a state and a real number.

    Source: Course 2, week 3, "Hyperparameters tuning in practice: pandas vs. caviar".
    """
    for change in changes:
        if not change.keys() <= point.keys():
            raise ValueError(f"expected changes of {', '.join(point)}, got {dict(change)}")
    result = PandaResult(copy.deepcopy(state), dict(point), math.inf, ())
    for change in changes:
        candidate = {**result.point, **change}
        pair = train_for(copy.deepcopy(result.state), dict(candidate))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"expected train_for to return (state, cost), got {describe(pair)}")
        reached, cost = pair[0], _cost(pair[1])
        kept = cost < result.cost
        rounds = (*result.rounds, Round(dict(candidate), cost, kept))
        if kept:
            result = PandaResult(reached, candidate, cost, rounds)
        else:
            result = result._replace(rounds=rounds)
        if on_result is not None:
            on_result(result)
    return result


@validated(
    objective=Function(),
    points=_Several(_Point()),
    workers=Whole(1),
    on_result=Optional(Function()),
    trials=Optional(Instance(list)),
)
def caviar(
    objective: Callable[[dict[str, Any]], float],
    points: Sequence[Point],
    *,
    workers: int = 1,
    on_result: Callable[[Trial], None] | None = None,
    trials: list[Trial] | None = None,
) -> list[Trial]:
    """Train many models side by side: return objective(point), a cost, for all, in their order.

    More than one of `workers` are processes started afresh: the objective must then be a function
    of a module, not of a notebook's cell, and the call of a script stand under `if __name__ ==
    "__main__"`. `on_result` is called with each trial as it ends. Pass a list of `trials` of your
    own to keep what was finished when the search is interrupted: they are added to it, in order,
    whatever happens.

    Raises RuntimeError naming the point at which the objective failed, and TypeError for what
    cannot be given to processes.

    Source: Course 2, week 3, "Hyperparameters tuning in practice: pandas vs. caviar".
    """
    if workers > 1:
        _check_picklable("objective to be a function of a module that processes find", objective)
        for index, point in enumerate(points):
            _check_picklable(f"points[{index}] to hold values that can be pickled", dict(point))
    trials = [] if trials is None else trials
    finished: dict[int, Trial] = {}

    def finish(index: int, trial: Trial) -> None:
        finished[index] = trial
        if on_result is not None:
            on_result(trial)

    try:
        if workers == 1:
            for index, point in enumerate(points):
                finish(index, _try(objective, point))
        else:
            _try_in_processes(objective, points, workers, finish, finished)
    finally:
        trials.extend(finished[index] for index in sorted(finished))
    return trials


def _try(objective: Callable[[dict[str, Any]], Any], point: Point) -> Trial:
    try:
        return Trial(dict(point), _cost(objective(dict(point))))
    except Exception as error:
        raise RuntimeError(f"the objective failed at {dict(point)}: {error!r}") from error


def _try_in_processes(
    objective: Callable[[dict[str, Any]], Any],
    points: Sequence[Point],
    workers: int,
    finish: Callable[[int, Trial], None],
    finished: dict[int, Trial],
) -> None:
    """Call `finish` on each trial as it ends; cut short, add to `finished` what still ended."""
    spawn, size = get_context("spawn"), min(workers, len(points))
    with ProcessPoolExecutor(size, spawn, _die_of_interrupts) as pool:
        futures = {
            pool.submit(_try, objective, dict(point)): index for index, point in enumerate(points)
        }
        try:
            for future in as_completed(futures):
                finish(futures[future], future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what runs may end, what waits never begins
            for future, index in futures.items():
                if not future.cancelled() and future.exception() is None:
                    finished[index] = future.result()
            raise


def _die_of_interrupts() -> None:
    """Let Ctrl-C end a worker at once and silently: the parent reports it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _check_picklable(expected: str, value: Any) -> None:
    """Raise TypeError unless a process started afresh could be given the value."""
    try:
        pickled = pickle.dumps(value)
    except Exception as error:  # pickle raises whatever the object does
        raise TypeError(f"expected {expected}, got {describe(value)}") from error
    script = getattr(sys.modules["__main__"], "__file__", None)
    if b"__main__" in pickled and not (script and Path(script).is_file()):
        raise TypeError(f"expected {expected}, got {describe(value)} of an interactive session")
