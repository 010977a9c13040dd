"""Costs of one point: small trainings of a few epochs, the same on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from parity_tests.compare.bridge import rows, twin
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders
from scratch.network import Network
from scratch.optimizers import Adam
from scratch.parameters import Parameters
from scratch.training import train
from torch_ref import network as their_network
from torch_ref import training as their_training
from torch_ref.optimizers import adam

Data = tuple[Any, Any]

#: how often all examples are seen in one call of `train_ours` or `train_theirs`.
EPOCHS = 4


@cache
def problem() -> tuple[Data, Data, list[Any]]:
    """Return train and dev data, X (2, m) and Y (1, m), and the orders of the epochs: one seed."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((2, 90))
    Y = (X[:1] * X[1:] > 0).astype(float)
    return (X[:, :50], Y[:, :50]), (X[:, 50:], Y[:, 50:]), draw_orders(50, EPOCHS, rng)


def start(units: int) -> tuple[Network, Parameters]:
    """Return a network of so many hidden units and its initial parameters: one seed."""
    network = Network(layer_sizes=(2, units, 1), hidden="tanh")
    return network, initialize(network.layer_sizes, "xavier", np.random.default_rng(3))


def choices(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a point is the optimizer's."""
    return {"learning_rate": point["learning_rate"], "beta1": point["beta1"]}


def train_ours(network: Network, parameters: Parameters, point: Mapping[str, Any]) -> float:
    """Overwrite the parameters by a few epochs of Adam and return the dev cost."""
    (X, Y), dev, orders = problem()
    history = train(
        network,
        parameters,
        X,
        Y,
        optimizer=Adam(**choices(point)),
        dev=dev,
        epochs=EPOCHS,
        batch_size=16,
        orders=orders,
    )
    return history.dev_costs[-1]


def train_theirs(module: their_network.Network, point: Mapping[str, Any]) -> float:
    """Train the module in place by the same epochs of Adam and return the dev cost."""
    (X, Y), dev, orders = problem()
    history = their_training.train(
        module,
        rows(X),
        rows(Y),
        optimizer=adam(module.parameters(), **choices(point)),
        dev=(rows(dev[0]), rows(dev[1])),
        epochs=EPOCHS,
        batch_size=16,
        orders=orders,
    )
    return history.dev_costs[-1]


def our_cost(point: Mapping[str, Any]) -> float:
    """Return the dev cost after a few epochs from the start, with scratch."""
    return train_ours(*start(point["units"]), point)


def their_cost(point: Mapping[str, Any]) -> float:
    """Return the dev cost after a few epochs from the start, with torch."""
    return train_theirs(twin(*start(point["units"])), point)
