"""Demonstrations that train many times: learning curves and the search for hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import FORWARD
from runs import scratch_side, torch_side
from runs.agreement import Compared
from runs.datasets import Array, Data, Pair
from runs.experiments import LEARNERS, SEARCHED, Experiment
from runs.start import draw
from scratch import diagnosis, search
from scratch.mini_batches import draw_order
from torch_ref import diagnosis as their_diagnosis
from torch_ref import search as their_search

SEED = 0

#: numbers of training examples; points along each axis of the grid; the trials that zoom keeps;
#: draws on each scale.
SIZES = (20, 40, 80, 160, 320, 640, 1078)
PER_AXIS, KEPT, DRAWN = 5, 3, 60


def history(experiment: Experiment, data: Data, side: Any) -> Any:
    """Train an experiment on other data, on one side."""
    start = draw(replace(experiment, load=lambda: data), "float64")
    return side.set_up(start).walk().history


def equal_steps(experiment: Experiment, m: int) -> Experiment:
    """Return the training of m examples with as many steps as that of the largest number.

    With equal epochs few examples would mean few steps, and their errors would be undertraining.
    """
    epochs = experiment.epochs * _batches(SIZES[-1], experiment) / _batches(m, experiment)
    return replace(experiment, epochs=max(1, round(epochs)))


def _batches(m: int, experiment: Experiment) -> int:
    return -(-m // experiment.batch_size)


def _curves(experiment: Experiment, data: Data) -> Iterator[tuple[str, Array, Array]]:
    """Yield train errors, dev errors and dev costs over the size, of both sides."""
    order = draw_order(data.train[0].shape[1], np.random.default_rng(SEED))
    costs: dict[Any, list[float]] = {scratch_side: [], torch_side: []}

    def fit(side: Any, train: Pair) -> tuple[float, float]:
        trained = equal_steps(experiment, train[0].shape[1])
        reached = history(trained, data._replace(train=train), side)
        costs[side].append(reached.dev_costs[-1])
        return 1 - reached.accuracies[-1], 1 - reached.dev_accuracies[-1]

    def our_fit(X: Array, Y: Array) -> tuple[float, float]:
        return fit(scratch_side, (X, Y))

    def their_fit(X: torch.Tensor, Y: torch.Tensor) -> tuple[float, float]:
        return fit(torch_side, (columns(X), columns(Y)))

    X, Y = data.train
    mine = diagnosis.learning_curves(our_fit, X, Y, SIZES, order)
    other = their_diagnosis.learning_curves(their_fit, rows(X), rows(Y), SIZES, order)
    yield "train error", mine.train, other.train.numpy()
    yield "dev error", mine.dev, other.dev.numpy()
    yield "dev cost", np.array(costs[scratch_side]), np.array(costs[torch_side])


def learning_curves(epochs: int) -> Iterator[Compared]:
    """Yield train and dev errors over the size of the training set, and the dev costs.

    Every size takes as many steps as `epochs` of the largest one.
    """
    for name, learner in LEARNERS.items():
        for what, ours, theirs in _curves(replace(learner, epochs=epochs), learner.load()):
            yield Compared(f"{name}, {what}", ours, theirs)


class Searcher:
    """One side of a search: its points, what they cost, and the space it zooms into."""

    def __init__(self, side: Any, run: Any, epochs: int) -> None:
        """Begin with a space in which one hyper-parameter matters more than the other."""
        self.side, self._run = side, run
        self._base, self._data = replace(SEARCHED, epochs=epochs), SEARCHED.load()
        self.space = {
            "learning_rate": side.LogUniform(low=1e-4, high=1.0),
            "l2": side.LogUniform(low=1e-3, high=1.0),
        }

    def _objective(self, point: Mapping[str, Any]) -> float:
        cost: float = history(replace(self._base, **point), self._data, self._run).dev_costs[-1]
        return cost

    @property
    def grid(self) -> Array:
        """The points of the grid, a row each."""
        return _table(self.side.grid_points(self.space, PER_AXIS))

    @property
    def box(self) -> Array:
        """The ends of the space, a row for each hyper-parameter."""
        return np.array([[scale.low, scale.high] for scale in self.space.values()])

    def round(self, U: Any) -> tuple[Array, Array]:
        """Try the points at the draws U, zoom around the best; return points and costs."""
        trials = self.side.caviar(self._objective, self.side.sample_points(self.space, U))
        self.space = self.side.zoom(self.space, trials, KEPT)
        return _table([one.point for one in trials]), np.array([one.cost for one in trials])


def _table(points: list[dict[str, Any]]) -> Array:
    return np.array([list(point.values()) for point in points])


def search_points(epochs: int) -> Iterator[Compared]:
    """Yield draws on two scales, a grid, random points with their dev costs, and finer ones.

    What spans decades is measured value by value, each by its own size.
    """
    rng = np.random.default_rng(SEED)
    u = rng.random(DRAWN)
    for scale in ("Uniform", "LogUniform"):
        ours, theirs = (getattr(side, scale)(low=1e-4, high=1.0) for side in (search, their_search))
        reference = theirs.sample(torch.from_numpy(u)).numpy()
        name = f"learning rates, {scale}"
        yield Compared(name, ours.sample(u), reference, FORWARD, gauge=reference)
    mine = Searcher(search, scratch_side, epochs)
    other = Searcher(their_search, torch_side, epochs)
    yield Compared("grid", mine.grid, other.grid, FORWARD, gauge=other.grid)
    for name in ("coarse", "fine"):
        U = rng.random((2, PER_AXIS**2))
        points, costs = mine.round(U)
        reference, references = other.round(rows(U))
        yield Compared(f"{name} points", points, reference, FORWARD, gauge=reference)
        yield Compared(f"{name} dev costs", costs, references)
        box = f"box around the best {KEPT}, {name}"
        yield Compared(box, mine.box, other.box, FORWARD, gauge=other.box)
