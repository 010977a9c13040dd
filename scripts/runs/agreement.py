"""Both sides of an experiment held against each other, in eps units and inside budgets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

from parity_tests import locate
from parity_tests.compare.budgets import TRAINING, Budget
from parity_tests.compare.locate import Run, ScratchRun, TorchRun
from parity_tests.compare.measurement import Measurement, measure
from runs import scratch_side, torch_side
from runs.datasets import Array
from runs.experiments import Experiment
from runs.start import Side, Start, draw

#: points along each axis of the plane on which both networks are asked for their outputs.
GRID = 160


class Compared(NamedTuple):
    """One quantity of both sides, by name, and how far apart they may be."""

    name: str
    ours: Array
    theirs: Array
    budget: Budget = TRAINING
    gauge: Any = None  # by default the largest entry of theirs

    def measured(self, eps: float) -> Measurement:
        """Return the distance of the sides, and where it is largest.

        Raises ValueError where shapes or dtypes differ: no broadcasting hides what is missing.
        """
        mine, other = (np.asarray(one) for one in (self.ours, self.theirs))
        if (mine.shape, mine.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"expected both sides of {self.name} alike, got {mine.dtype} of shape {mine.shape} "
                f"and {other.dtype} of shape {other.shape}"
            )
        return measure(self.ours, self.theirs, self.gauge, eps)


@dataclass(frozen=True)
class Agreement:
    """Whether the sides stayed together, and the numbers that say so."""

    error: float  # in eps units, where the budget is used up most
    name: str  # of that quantity
    allowed: float = TRAINING.eps  # in eps units

    @property
    def inside(self) -> bool:
        return self.error <= self.allowed

    def line(self) -> str:
        return (
            f"{'inside' if self.inside else 'OUTSIDE'} the budget, {self.error:.3g} eps units in "
            f"{self.name}, allowed {self.allowed:.3g}"
        )


def worst(agreements: Iterable[Agreement]) -> Agreement:
    """Return the one that comes nearest to the end of its budget, or is furthest beyond it."""
    return max(agreements, key=lambda one: one.error / one.allowed)


def judge(quantities: Iterable[Compared], dtype: str = "float64") -> Agreement:
    """Return the agreement in the quantity that uses up most of its budget."""
    eps = float(np.finfo(dtype).eps)
    return worst(
        Agreement(one.measured(eps).error, one.name, one.budget.in_eps(eps)) for one in quantities
    )


def difference(value: float, reference: float, eps: float) -> float:
    return measure(np.float64(value), np.float64(reference), eps=eps).error


def quantities(mine: Side, other: Side) -> Iterator[Compared]:
    """Yield each parameter, each running average and each column of costs of two equal runs.

    The gauge of a tensor is its largest entry, that of a column of costs its largest cost. Columns
    are compared as far as both runs went.
    """
    reached, reference = mine.values(), other.values()
    for name in reached:
        yield Compared(name, reached[name], reference[name])
    for name in ("step_costs", "costs", "dev_costs"):
        costs, references = (getattr(side.history, name) for side in (mine, other))
        both = min(len(costs), len(references))
        yield Compared(name, np.array(costs[:both]), np.array(references[:both]))


def judge_runs(mine: Side, other: Side, dtype: str) -> Agreement:
    """Hold two runs of one dtype against each other, accuracies too in float64."""
    if len(mine.history.step_costs) != len(other.history.step_costs):
        return Agreement(float("inf"), "number of steps")
    found = judge(quantities(mine, other), dtype)
    if dtype == "float64" and found.inside:
        for name in ("accuracies", "dev_accuracies"):
            if getattr(mine.history, name) != getattr(other.history, name):
                return Agreement(float("inf"), name)
        if mine.test_accuracy() != other.test_accuracy():
            return Agreement(float("inf"), "test accuracy")
    return found


def widened(narrow: Side, reference: Side) -> float:
    """Return the error of a float32 run against one in float64, in eps units of float32."""
    found = quantities(narrow, reference)
    return judge((one._replace(ours=one.ours.astype(float)) for one in found), "float32").error


def plane(X: Array) -> tuple[Array, Array, Array]:
    """Return a grid around inputs (2, m): both its axes, and all its points, (2, GRID^2)."""
    margin = 0.12 * np.ptp(X, axis=1)
    ends = zip(X.min(axis=1) - margin, X.max(axis=1) + margin, strict=True)
    across, up = (np.linspace(low, high, GRID) for low, high in ends)
    return across, up, np.stack(np.meshgrid(across, up)).reshape(2, -1)


@dataclass(frozen=True)
class Runs:
    """A training of both sides, walked to its end, and their agreement."""

    start: Start
    mine: Side
    other: Side
    agreement: Agreement

    def outputs(self) -> tuple[Array, Array]:
        points = plane(self.start.data.train[0])[2]
        return self.mine.outputs(points), self.other.outputs(points)


def set_up(start: Start) -> tuple[Side, Side]:
    return scratch_side.set_up(start), torch_side.set_up(start)


def train_both(experiment: Experiment) -> Runs:
    start = draw(experiment, "float64")
    mine, other = (side.walk() for side in set_up(start))
    return Runs(start, mine, other, judge_runs(mine, other, "float64"))


class _Walked:
    """A side as `locate` walks it: a pass at the weights as they are, then a step of its loop."""

    def __init__(self, side: Side, look: Run, last: int) -> None:
        self._side, self._look, self._cost = side, look, f"cost after layer {last}"
        self.rectified = getattr(look, "rectified", ())

    def step(self, X: Array, Y: Array, masks: Mapping[str, Array] | None = None) -> Any:
        shown, step = self._look.step(X, Y, masks), next(self._side.steps)
        values = {name: np.copy(value) for name, value in self._side.values().items()}
        before = {name: one for name, one in shown.items() if name not in values}
        return {**before, self._cost: np.array([[float(step.cost)]]), **values}


def first_parting(start: Start) -> str:
    """Walk both sides in lockstep; name the first step, layer, unit and quantity that part."""
    mine, other = set_up(start)
    experiment, last = start.experiment, start.network.depth
    penalties: dict[str, Any] = {"l1": experiment.l1, "l2": experiment.l2, "m": start.m}
    still = torch.optim.SGD(other.model.parameters(), lr=0.0)
    nothing: Any = SimpleNamespace(init=lambda parameters: None, update=lambda *_: None)
    ours = ScratchRun(start.network, mine.model, nothing, **penalties)
    theirs = TorchRun(other.model, still, **penalties)
    try:
        parting = locate(_Walked(mine, ours, last), _Walked(other, theirs, last), start.batches())
    except StopIteration:  # one side, or both, stopped early
        parting = None
    if parting:
        return f"the runs part at {parting}"
    return (
        "no step leaves the budget: the runs part in what is evaluated after an epoch, "
        "or in where they stop"
    )
