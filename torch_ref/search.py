"""Search for hyper-parameters, as PyTorch spells it: `icdf` of distributions, `state_dict`s.

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
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from torch.multiprocessing import get_context

from torch_ref._scales import (
    SCALES,
    Draws,
    Integers,
    LogUniform,
    OneMinusLogUniform,
    Scale,
    Space,
    Uniform,
)
from torch_ref._validation import (
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

Tensor = torch.Tensor
Point: TypeAlias = Mapping[str, Any]


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
    """Where `panda` stands after a round; the module is live, the cost infinite at first."""

    module: nn.Module
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


@validated(U=Draws("n k"), space=Space())
def sample_points(space: Mapping[str, Scale], U: Tensor) -> list[dict[str, float | int]]:
    """Return n points, the values of k scales at the uniform draws U, shape (n, k).

    Raises ValueError unless U has one column for each scale of the space, in its order.

    Source: torch.distributions.Distribution.icdf.
    """
    if U.shape[1] != len(space):
        raise ValueError(
            f"expected U of shape (n, k) with k = {len(space)} scales, got {tuple(U.shape)}"
        )
    columns = zip(space.values(), U.unbind(dim=1), strict=True)
    values = [scale.sample(u).tolist() for scale, u in columns]
    return [dict(zip(space, point, strict=True)) for point in zip(*values, strict=True)]


@validated(space=Space(), n=Whole(1), generator=Instance(torch.Generator))
def draw_points(
    space: Mapping[str, Scale], n: int, generator: torch.Generator
) -> list[dict[str, float | int]]:
    """Draw n points at random. Source: torch.rand."""
    U = torch.rand(n, len(space), generator=generator, dtype=torch.float64, device=generator.device)
    return unchecked(sample_points)(space, U)


@validated(space=Space(), n_per_axis=Whole(1))
def grid_points(space: Mapping[str, Scale], n_per_axis: int) -> list[dict[str, float | int]]:
    """Return the full grid of each scale's values at (i + 1/2) / n_per_axis, the last name fastest.

    An axis of whole numbers has no more values than the scale.

    Source: torch.meshgrid.
    """
    u = (torch.arange(n_per_axis, dtype=torch.float64) + 0.5) / n_per_axis
    axes = [torch.unique(scale.sample(u)) for scale in space.values()]
    # the indices are meshed, as values would have to be of one dtype
    places = torch.meshgrid(*(torch.arange(len(axis)) for axis in axes), indexing="ij")
    columns = [axis[place.flatten()].tolist() for axis, place in zip(axes, places, strict=True)]
    return [dict(zip(space, point, strict=True)) for point in zip(*columns, strict=True)]


@validated(space=Space(), trials=_Several(_Trial()), keep=Whole(1))
def zoom(space: Mapping[str, Scale], trials: Sequence[Trial], keep: int) -> dict[str, Scale]:
    """Return the space around the `keep` trials of lowest cost: coarse to fine.

    Each scale narrows to the box of the best values, opened halfway, on the scale's own axis, to
    the next values that were tried, so that it never closes; where none was tried beyond the box,
    the old end stays. Costs of NaN are never among the best.

    Raises ValueError where a trial lies outside the space, fewer than `keep` were made, or all
    costs are NaN.

    Source: torch.distributions.transforms.Transform.inv.
    """
    if keep > len(trials):
        raise ValueError(f"expected keep to be at most {len(trials)} trials, got {keep}")
    for point, _ in trials:
        if not space.keys() <= point.keys():
            raise ValueError(f"expected points with {', '.join(space)}, got {point}")
        check({name: Number(f"[{one.low}, {one.high}]") for name, one in space.items()}, point)
    costs = torch.tensor([trial.cost for trial in trials], dtype=torch.float64)
    chosen = costs.argsort(stable=True)[: min(keep, _numbers(costs))]  # NaN is sorted to the end
    narrowed: dict[str, Scale] = {}
    for name, scale in space.items():
        tried = torch.tensor([trial.point[name] for trial in trials], dtype=torch.float64)
        narrowed[name] = scale._around(tried[chosen], tried)
    return narrowed


@validated(trials=_Several(_Trial()))
def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial of lowest cost, the first of equals; costs of NaN are passed over.

    Raises ValueError where all costs are NaN.

    Source: torch.argmin.
    """
    costs = torch.tensor([trial.cost for trial in trials], dtype=torch.float64)
    _numbers(costs)
    return trials[int(costs.argsort(stable=True)[0])]


def _numbers(costs: Tensor) -> int:
    """Return the number of costs that are numbers, or raise ValueError where none is."""
    numbers = int(costs.isnan().logical_not().sum())
    if not numbers:
        raise ValueError("expected a trial with a cost that is a number, got NaN for all")
    return numbers


def _cost(cost: Any, name: str = "the cost") -> float:
    """Return an objective's result as a float, or raise TypeError."""
    if isinstance(cost, Tensor) and cost.ndim == 0:
        cost = cost.item()
    if isinstance(cost, bool) or not isinstance(cost, Real):
        raise TypeError(f"expected {name} to be a real number, got {describe(cost)}")
    return float(cost)


@validated(
    train_for=Function(),
    module=Instance(nn.Module),
    point=_Point(),
    changes=_Several(_Point()),
    optimizer=Optional(Instance(torch.optim.Optimizer)),
    on_result=Optional(Function()),
)
def panda(
    train_for: Callable[[Any, dict[str, Any]], float],
    module: nn.Module,
    point: Point,
    changes: Sequence[Point],
    *,
    optimizer: torch.optim.Optimizer | None = None,
    on_result: Callable[[PandaResult], None] | None = None,
) -> PandaResult:
    """Babysit one model: train on with one change after the other, keep those that lower the cost.

    Each round calls `train_for(module, point)`, which trains the module in place with the point
    reached so far and a change's values put in, and returns the dev cost. Where it is no lower
    than ever before, or the round is interrupted, the module's and the optimizer's `state_dict` of
    before are loaded again. {} changes nothing: train on. The first round beats any cost but NaN.
    `on_result` is called with the result so far after each round.

    Raises ValueError where a change names what the point does not have, TypeError where `train_for`
    does not return a real number.

    Source: torch.nn.Module.load_state_dict.
    """
    for change in changes:
        if not change.keys() <= point.keys():
            raise ValueError(f"expected changes of {', '.join(point)}, got {dict(change)}")
    holders: list[Any] = [module] if optimizer is None else [module, optimizer]
    result = PandaResult(module, dict(point), math.inf, ())
    for change in changes:
        candidate = {**result.point, **change}
        snapshots = [copy.deepcopy(one.state_dict()) for one in holders]
        kept = False
        try:
            cost = _cost(train_for(module, dict(candidate)))
            kept = cost < result.cost
        finally:
            if not kept:
                for one, snapshot in zip(holders, snapshots, strict=True):
                    one.load_state_dict(snapshot)
        rounds = (*result.rounds, Round(dict(candidate), cost, kept))
        if kept:
            result = PandaResult(module, candidate, cost, rounds)
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
    objective: Callable[[dict[str, Any]], Any],
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

    Source: torch.multiprocessing.
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
