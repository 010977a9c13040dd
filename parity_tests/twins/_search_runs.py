"""Runs of the search's rows: spaces of one side, rounds of panda, networks trained by both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch

from parity_tests import assert_switches
from parity_tests.compare.bridge import rows, twin, unload
from parity_tests.compare.measurement import Array
from parity_tests.mistakes import Values
from scratch import search as ours
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders
from scratch.network import Network
from scratch.optimizers import Adam
from scratch.training import train
from torch_ref import training as their_training
from torch_ref.optimizers import adam

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


class Counter(torch.nn.Module):
    """A model that counts its rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("trained", torch.zeros((), dtype=torch.int64))


def babysit(side: ModuleType, costs: Sequence[float], **choices: Any) -> tuple[Any, int]:
    """Run a panda whose rounds have these costs; return its result, and the model's rounds."""

    def train_for(model: Any, point: Any) -> Any:
        model.trained += 1
        cost = costs[int(point["rate"])]
        return (model, cost) if side is ours else cost

    changes = [{"rate": float(n)} for n in range(len(costs))]
    result = side.panda(train_for, Counter(), {"rate": -1.0}, changes, **choices)
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
    expected = {
        "kept": kept,
        "trained": kept.sum(),
        "rate": max(np.flatnonzero(kept), default=-1),
        "best cost": lowest[-1],
        "rounds seen": range(1, len(costs) + 1),
    }
    for name, value in run("panda", costs=costs).items():
        assert np.array_equal(value, expected[name]), name


EPOCHS, RATES = 4, ("learning_rate", "beta1")

MODELS: Mapping[str, tuple[str, Ends]] = {
    "learning_rate": ("log_uniform", (1e-4, 1.0)),
    "beta1": ("one_minus_log_uniform", (0.5, 0.99)),
    "units": ("integers", (2, 9)),
}

#: changes from round to round; the rate of 5 is taken back, and so is the last.
# fmt: off
CHANGES: Sequence[Mapping[str, float]] = [
    {}, {"learning_rate": 0.03}, {"learning_rate": 5.0}, {"beta1": 0.5},
    {"beta1": 0.95, "learning_rate": 0.01}, {"learning_rate": 2.0},
]
# fmt: on


@cache
def problem() -> Any:
    """Return train and dev data, X (2, m) and Y (1, m), and the choices of a training: one seed."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((2, 90))
    Y = (X[:1] * X[1:] > 0).astype(float)
    run = {"epochs": EPOCHS, "batch_size": 16, "orders": draw_orders(50, EPOCHS, rng)}
    return (X[:, :50], Y[:, :50]), (X[:, 50:], Y[:, 50:]), run


def started(side: ModuleType, units: int) -> Any:
    """Return one side's model of so many hidden units, as one seed initializes it."""
    network = Network(layer_sizes=(2, units, 1), hidden="tanh")
    parameters = initialize(network.layer_sizes, "xavier", np.random.default_rng(3))
    return (network, parameters) if side is ours else twin(network, parameters)


def dev_cost(side: ModuleType, model: Any, point: Mapping[str, Any]) -> float:
    """Train a model in place by a few epochs of Adam and return its dev cost."""
    (X, Y), dev, run = problem()
    rates = {name: point[name] for name in RATES}
    if side is ours:
        given: Any = {"optimizer": Adam(**rates), "dev": dev, **run}
        return train(model[0], model[1], X, Y, **given).dev_costs[-1]
    given = {"optimizer": adam(model.parameters(), **rates), "dev": tuple(map(rows, dev))}
    return their_training.train(model, rows(X), rows(Y), **given, **run).dev_costs[-1]


def trained(side: ModuleType, u: Any, units: int) -> Values:
    """Return the dev costs of one side's caviar and panda, the parameters at the end, the best."""
    models = {name: make(side, *scale) for name, scale in MODELS.items()}
    seen: list[Any] = []
    points = side.sample_points(models, np.array(u) if side is ours else rows(np.array(u)))

    def objective(point: Any) -> float:
        return dev_cost(side, started(side, point["units"]), point)

    trials = side.caviar(objective, points, on_result=seen.append)
    assert [trial.point for trial in trials] == points
    assert seen == trials
    model, point = started(side, units), dict(zip(RATES, (0.01, 0.9), strict=True))

    def train_for(model: Any, point: Any) -> Any:
        cost = dev_cost(side, model, point)
        return (model, cost) if side is ours else cost

    result = side.panda(train_for, model, point, CHANGES)
    theta = result.state[1].theta if side is ours else unload(result.module).theta
    if side is ours:  # trained copies of it
        assert np.array_equal(model[1].theta, started(ours, units)[1].theta)
    assert [*point.values()] == [0.01, 0.9]
    assert_switches([one.kept for one in result.rounds], "kept")
    return {
        "dev costs": np.array([one.cost for one in (*trials, *result.rounds)]),
        "theta": theta,
        "best units": np.float64(side.best(trials).point["units"]),
    }
