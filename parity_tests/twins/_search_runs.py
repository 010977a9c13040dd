"""Runs of the search's rows: spaces of one side, networks trained by panda and by caviar."""

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
from parity_tests.rows import Values
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

#: ranges of each scale.
RANGES: Mapping[str, tuple[float, float]] = {
    "uniform": (-3.0, 5.0),
    "log_uniform": (1e-5, 1.0),
    "one_minus_log_uniform": (0.9, 0.999),
    "integers": (-2, 4),
}

Ends = tuple[float, float]


def make(side: ModuleType, name: str, ends: Ends | None = None) -> Any:
    """Return a scale of one side."""
    low, high = ends or RANGES[name]
    return side.SCALES[name](low=low, high=high)


def space(side: ModuleType, ranges: Mapping[str, Ends] = RANGES) -> dict[str, Any]:
    """Return a space of one scale of each kind."""
    return {name: make(side, name, ends) for name, ends in ranges.items()}


def table(points: Sequence[Mapping[str, Any]], dtype: Any = float) -> Array:
    """Return points as an array, a row each."""
    return np.array([list(point.values()) for point in points], dtype)


def trials_of(side: ModuleType, points: Sequence[Any], costs: Sequence[float]) -> list[Any]:
    """Return trials of one side."""
    return [side.Trial(point, cost) for point, cost in zip(points, costs, strict=True)]


class Counter(torch.nn.Module):
    """A model that counts its rounds."""

    def __init__(self) -> None:
        """Start at zero."""
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
    assert values["kept"].tolist() == kept
    assert values["trained"] == sum(kept)
    assert values["best cost"] == lowest
    assert values["rate"] == max((n for n, one in enumerate(kept) if one), default=-1)
    assert values["rounds seen"].tolist() == [*range(1, len(costs) + 1)]


def kept_if_below_the_last(honest: Any, costs: Sequence[float]) -> Values:
    """Return rounds that are kept where they beat the round before."""
    before = [math.inf, *costs[:-1]]
    kept = [one < last for one, last in zip(costs, before, strict=True)]
    return {**honest(costs=costs), "kept": np.array(kept)}


#: epochs of one training of a search.
EPOCHS = 4


@cache
def problem() -> tuple[Any, Any, list[Any]]:
    """Return train and dev data, X (2, m) and Y (1, m), and the orders of the epochs: one seed."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((2, 90))
    Y = (X[:1] * X[1:] > 0).astype(float)
    return (X[:, :50], Y[:, :50]), (X[:, 50:], Y[:, 50:]), draw_orders(50, EPOCHS, rng)


def start(units: int) -> tuple[Network, Parameters]:
    """Return a network of so many hidden units and its initial parameters: one seed."""
    network = Network(layer_sizes=(2, units, 1), hidden="tanh")
    return network, initialize(network.layer_sizes, "xavier", np.random.default_rng(3))


def train_ours(network: Network, parameters: Parameters, point: Mapping[str, Any]) -> float:
    """Overwrite the parameters by a few epochs of Adam and return the dev cost."""
    data, dev, orders = problem()
    optimizer = Adam(learning_rate=point["learning_rate"], beta1=point["beta1"])
    run: Any = {"epochs": EPOCHS, "batch_size": 16, "orders": orders}
    history = train(network, parameters, *data, optimizer=optimizer, dev=dev, **run)
    return history.dev_costs[-1]


def train_theirs(module: Any, point: Mapping[str, Any]) -> float:
    """Train the module in place by the same epochs of Adam and return the dev cost."""
    (X, Y), dev, orders = problem()
    optimizer = adam(
        module.parameters(), learning_rate=point["learning_rate"], beta1=point["beta1"]
    )
    run: Any = {"epochs": EPOCHS, "batch_size": 16, "orders": orders}
    dev = tuple(map(rows, dev))
    history = their_training.train(module, rows(X), rows(Y), optimizer=optimizer, dev=dev, **run)
    return history.dev_costs[-1]


MODELS: Mapping[str, tuple[str, Ends]] = {
    "learning_rate": ("log_uniform", (1e-4, 1.0)),
    "beta1": ("one_minus_log_uniform", (0.5, 0.99)),
    "units": ("integers", (2, 9)),
}


def our_cost(point: Mapping[str, Any]) -> float:
    """Return the dev cost of a network of the point's units, from the start, with scratch."""
    return train_ours(*start(point["units"]), point)


def their_cost(point: Mapping[str, Any]) -> float:
    """Return the same with torch."""
    return train_theirs(twin(*start(point["units"])), point)


def best_of_many(side: ModuleType, u: Any) -> Values:
    """Return the dev costs of the networks at the points of one side, and the units of the best."""
    models = {name: make(side, *scale) for name, scale in MODELS.items()}
    U, seen = np.array(u), list[Any]()
    points = side.sample_points(models, U if side is ours else rows(U))
    objective = our_cost if side is ours else their_cost
    trials = side.caviar(objective, points, on_result=seen.append)
    assert [trial.point for trial in trials] == points
    assert seen == trials
    costs = np.array([trial.cost for trial in trials])
    return {"dev costs": costs, "best units": np.float64(side.best(trials).point["units"])}


#: what changes from round to round; the rate of 5 is taken back, and so is the last.
CHANGES: Sequence[Mapping[str, float]] = [
    {},
    {"learning_rate": 0.03},
    {"learning_rate": 5.0},
    {"beta1": 0.5},
    {"beta1": 0.95, "learning_rate": 0.01},
    {"learning_rate": 2.0},
]


def trained_by_panda(side: ModuleType, units: int) -> Values:
    """Return the dev costs of one side's rounds, which were kept, and the parameters at the end."""
    network, parameters = start(units)
    point, before = {"learning_rate": 0.01, "beta1": 0.9}, parameters.theta.copy()

    def train_for(parameters: Parameters, point: Any) -> tuple[Parameters, float]:
        return parameters, train_ours(network, parameters, point)

    if side is ours:
        result: Any = ours.panda(train_for, parameters, point, CHANGES)
        reached = result.state
        assert np.array_equal(parameters.theta, before)
    else:
        result = theirs.panda(train_theirs, twin(network, parameters), point, CHANGES)
        reached = unload(result.module)
    assert point == {"learning_rate": 0.01, "beta1": 0.9}
    kept = [one.kept for one in result.rounds]
    assert_switches(kept, "kept")
    return {
        "dev costs": np.array([one.cost for one in result.rounds]),
        "theta": reached.theta,
        "kept": np.array(kept, float),
    }
