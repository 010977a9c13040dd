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
from scratch.parameters import Parameters
from scratch.training import train
from torch_ref import search as theirs
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
    """Return a space of one scale of each kind."""
    return {name: make(side, name, ends) for name, ends in ranges.items()}


def table(points: Sequence[Mapping[str, Any]], dtype: Any = float) -> Array:
    return np.array([list(point.values()) for point in points], dtype)


def trials_of(side: ModuleType, points: Sequence[Any], costs: Sequence[float]) -> list[Any]:
    return [side.Trial(point, cost) for point, cost in zip(points, costs, strict=True)]


# --- rounds of panda ------------------------------------------------------------------------------


class Counter(torch.nn.Module):
    """A model that counts its rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("trained", torch.zeros((), dtype=torch.int64))


def babysit(side: ModuleType, costs: Sequence[float], **choices: Any) -> tuple[Any, int]:
    """Run a panda whose rounds have these costs; return its result, and the model's rounds."""
    coming = iter(costs)

    def ours_for(state: dict[str, Any], point: Any) -> tuple[Any, float]:
        state["trained"] += 1
        return state, next(coming)

    def theirs_for(module: Any, point: Any) -> float:
        module.trained += 1
        return next(coming)

    changes = [{"rate": float(n)} for n in range(len(costs))]
    if side is ours:
        result = ours.panda(ours_for, {"trained": 0}, {"rate": -1.0}, changes, **choices)
        return result, result.state["trained"]
    module = Counter()
    found = theirs.panda(theirs_for, module, {"rate": -1.0}, changes, **choices)
    return found, int(module.get_buffer("trained"))


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
    values = run("panda", costs=costs)
    lowest, kept = math.inf, []
    for cost in costs:
        kept.append(cost < lowest)
        lowest = min(lowest, cost) if kept[-1] else lowest
    expected = {
        "kept": kept,
        "trained": sum(kept),
        "rate": max((n for n, one in enumerate(kept) if one), default=-1),
        "best cost": lowest,
        "rounds seen": [*range(1, len(costs) + 1)],
    }
    assert {name: np.asarray(one).tolist() for name, one in values.items()} == expected


# --- trained networks -----------------------------------------------------------------------------

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
def problem() -> tuple[Any, Any, dict[str, Any]]:
    """Return train and dev data, X (2, m) and Y (1, m), and the choices of a training: one seed."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((2, 90))
    Y = (X[:1] * X[1:] > 0).astype(float)
    run = {"epochs": EPOCHS, "batch_size": 16, "orders": draw_orders(50, EPOCHS, rng)}
    return (X[:, :50], Y[:, :50]), (X[:, 50:], Y[:, 50:]), run


def start(units: int) -> tuple[Network, Parameters]:
    """Return a network of so many hidden units and its initial parameters: one seed."""
    network = Network(layer_sizes=(2, units, 1), hidden="tanh")
    return network, initialize(network.layer_sizes, "xavier", np.random.default_rng(3))


def train_ours(network: Network, parameters: Parameters, point: Mapping[str, Any]) -> float:
    data, dev, run = problem()
    optimizer = Adam(**{name: point[name] for name in RATES})
    return train(network, parameters, *data, optimizer=optimizer, dev=dev, **run).dev_costs[-1]


def train_theirs(module: Any, point: Mapping[str, Any]) -> float:
    data, dev, run = problem()
    optimizer = adam(module.parameters(), **{name: point[name] for name in RATES})
    given: Any = {"optimizer": optimizer, "dev": tuple(map(rows, dev)), **run}
    return their_training.train(module, *map(rows, data), **given).dev_costs[-1]


def our_cost(point: Mapping[str, Any]) -> float:
    return train_ours(*start(point["units"]), point)


def their_cost(point: Mapping[str, Any]) -> float:
    return train_theirs(twin(*start(point["units"])), point)


def trained(side: ModuleType, u: Any, units: int) -> Values:
    """Return the dev costs of one side's caviar and panda, the parameters at the end, the best."""
    models = {name: make(side, *scale) for name, scale in MODELS.items()}
    seen: list[Any] = []
    points = side.sample_points(models, np.array(u) if side is ours else rows(np.array(u)))
    trials = side.caviar(our_cost if side is ours else their_cost, points, on_result=seen.append)
    assert [trial.point for trial in trials] == points
    assert seen == trials
    network, parameters = start(units)
    point, before = dict(zip(RATES, (0.01, 0.9), strict=True)), parameters.theta.copy()
    if side is ours:

        def train_for(state: Parameters, point: Any) -> tuple[Parameters, float]:
            return state, train_ours(network, state, point)

        result: Any = ours.panda(train_for, parameters, point, CHANGES)
        theta = result.state.theta
    else:
        result = theirs.panda(train_theirs, twin(network, parameters), point, CHANGES)
        theta = unload(result.module).theta
    assert np.array_equal(parameters.theta, before)
    assert [*point.values()] == [0.01, 0.9]
    assert_switches([one.kept for one in result.rounds], "kept")
    return {
        "dev costs": np.array([one.cost for one in (*trials, *result.rounds)]),
        "theta": theta,
        "best units": np.float64(side.best(trials).point["units"]),
    }
