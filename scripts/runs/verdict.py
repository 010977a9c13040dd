"""Both sides of an experiment held against each other, in eps units and inside budgets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare.budgets import TRAINING, Budget
from parity_tests.compare.functions import Measurement, measure
from runs import scratch_side, torch_side
from runs.datasets import Array
from runs.draws import Bar, Draws, Side, draw
from runs.experiments import Experiment

#: points along each axis of the plane on which both networks are asked for their outputs.
GRID = 160


class Quantity(NamedTuple):
    """What both sides have computed, by name, and how far apart they may be."""

    name: str
    ours: Array
    theirs: Array
    budget: Budget = TRAINING
    gauge: Any = None  # by default the largest entry of theirs

    def measured(self, eps: float) -> Measurement:
        """Return how far the sides are apart, and where most.

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
class Verdict:
    """Whether the sides stayed together, and the numbers that say so."""

    error: float  # in eps units, where the budget is used up most
    name: str  # of that quantity
    allowed: float  # in eps units

    @property
    def agreed(self) -> bool:
        """Tell whether the error is inside the budget; NaN is not."""
        return self.error <= self.allowed

    def line(self) -> str:
        """Return in one line: inside or outside, by how much, where."""
        return (
            f"{'inside' if self.agreed else 'OUTSIDE'} the budget, {self.error:.3g} eps units in "
            f"{self.name}, allowed {self.allowed:.3g}"
        )


def judge(quantities: Iterable[Quantity], dtype: str = "float64") -> Verdict:
    """Return the verdict on the quantity that comes nearest to the end of its budget."""
    eps = float(np.finfo(dtype).eps)
    verdicts = [
        Verdict(one.measured(eps).error, one.name, one.budget.in_eps(eps)) for one in quantities
    ]
    return max(verdicts, key=lambda one: one.error / one.allowed)


def apart(found: Measurement) -> str:
    """Say what stands on both sides where they are furthest apart."""
    return f"scratch {found.ours!r}, torch {found.theirs!r}, {found.error:.3g} eps units apart"


def difference(value: float, reference: float, eps: float) -> float:
    """Return the difference of two costs in eps units."""
    return measure(np.float64(value), np.float64(reference), eps=eps).error


def quantities(mine: Side, other: Side) -> Iterator[Quantity]:
    """Yield each parameter, each running average and each column of costs of two equal runs.

    The gauge of a tensor is its largest entry, that of a column of costs its largest cost. Columns
    are compared as far as both runs went.
    """
    reached, reference = mine.values(), other.values()
    for name in reached:
        yield Quantity(name, reached[name], reference[name])
    for name in ("step_costs", "costs", "dev_costs"):
        costs, references = (getattr(side.history, name) for side in (mine, other))
        both = min(len(costs), len(references))
        yield Quantity(name, np.array(costs[:both]), np.array(references[:both]))


def plane(X: Array) -> tuple[Array, Array, Array]:
    """Return a grid around inputs (2, m): both its axes, and all its points, (2, GRID^2)."""
    margin = 0.12 * np.ptp(X, axis=1)
    ends = zip(X.min(axis=1) - margin, X.max(axis=1) + margin, strict=True)
    across, up = (np.linspace(low, high, GRID) for low, high in ends)
    return across, up, np.stack(np.meshgrid(across, up)).reshape(2, -1)


@dataclass(frozen=True)
class Runs:
    """A training of both sides, walked to its end, and their verdict."""

    draws: Draws
    mine: Side
    other: Side
    verdict: Verdict

    def outputs(self) -> tuple[Array, Array]:
        """Return what both networks make of the plane of their two inputs."""
        points = plane(self.draws.data.train[0])[2]
        return self.mine.outputs(points), self.other.outputs(points)


def train_both(experiment: Experiment) -> Runs:
    """Train both sides in float64, silently, and judge them."""
    draws = draw(experiment, "float64")
    mine, other = (side.set_up(draws).walk() for side in (scratch_side, torch_side))
    return Runs(draws, mine, other, judge_runs(mine, other, "float64"))


def judge_runs(mine: Side, other: Side, dtype: str) -> Verdict:
    """Hold two runs of one dtype against each other, accuracies too in float64."""
    if len(mine.history.costs) != len(other.history.costs):
        return Verdict(float("inf"), "number of epochs", TRAINING.eps)
    verdict = judge(quantities(mine, other), dtype)
    if dtype == "float64" and verdict.agreed:
        for name in ("accuracies", "dev_accuracies"):
            if getattr(mine.history, name) != getattr(other.history, name):
                return Verdict(float("inf"), name, TRAINING.eps)
        if mine.test_accuracy() != other.test_accuracy():
            return Verdict(float("inf"), "test accuracy", TRAINING.eps)
    return verdict


def locate(draws: Draws, eps: float) -> str:
    """Walk both sides at once; name the first step and quantity outside the budget."""
    mine, other = scratch_side.set_up(draws), torch_side.set_up(draws)
    with Bar(draws.steps, "looking for the step") as bar:
        for step, other_step in zip(mine.steps, other.steps, strict=False):
            bar(step, mine.history)
            reached, reference = mine.values(), other.values()
            found = {name: measure(reached[name], reference[name], eps=eps) for name in reached}
            found["cost"] = measure(np.float64(step.cost), np.float64(other_step.cost), eps=eps)
            name, worst = max(found.items(), key=lambda item: item[1].error)
            if not worst.error <= TRAINING.eps:
                return (
                    f"the runs part at step {step.number}, epoch {step.epoch}, in "
                    f"{name}{list(worst.place) or ''}: {apart(worst)}"
                )
    return (
        "no step leaves the budget: the runs part in what is evaluated after an epoch, "
        "or in where they stop"
    )
