"""The training loop: mini-batches in a shared order, one optimizer, a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from scratch._door import (
    Array,
    Expected,
    Floats,
    Indices,
    Instance,
    Number,
    Optional,
    Order,
    Whole,
    admit,
    describe,
    door,
    unchecked,
)
from scratch._step import TrainingStep
from scratch.costs import COSTS, accuracy
from scratch.mini_batches import partition
from scratch.network import OUTPUT_COSTS, PREDICT, Network, check_labels, match, network_logits
from scratch.optimizers import Optimizer
from scratch.parameters import Parameters

__all__ = ["Callback", "History", "Step", "evaluate", "train", "training_steps"]


class Step(NamedTuple):
    """What one step has done; the parameters and gradients are the live ones, copy to keep."""

    epoch: int  # from 1
    number: int  # from 1, over all epochs
    cost: float  # of the mini-batch, penalties included, before the update
    parameters: Parameters
    gradients: Parameters
    ends_epoch: bool


@dataclass
class History:
    """What a training run has shown so far: costs of steps, and one entry an epoch of the rest."""

    step_costs: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)  # mean over examples, penalties included
    accuracies: list[float] = field(default_factory=list)  # on the training set, after the epoch
    dev_costs: list[float] = field(default_factory=list)  # without penalties
    dev_accuracies: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # in the steps alone, without evaluation

    def end_epoch(
        self, cost: float, accuracy: float, seconds: float, dev: tuple[Any, float] | None
    ) -> None:
        """Add what an epoch has shown; `dev` is a pair of cost and accuracy, or None."""
        self.costs.append(cost)
        self.accuracies.append(accuracy)
        self.seconds.append(seconds)
        if dev:
            self.dev_costs.append(float(dev[0]))
            self.dev_accuracies.append(dev[1])


Callback: TypeAlias = Callable[[Step, History], None]


class _Optimizer:
    """Anything with `init` and `update`."""

    def admit(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what lacks one of the two methods, or is a class not yet called."""
        if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "update")):
            raise TypeError(f"expected {name} with methods init and update, got {value!r}")


class _Pair:
    """A tuple (X, Y)."""

    def admit(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what is no pair."""
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError(f"expected {name} to be a tuple (X, Y), got {describe(value)}")


class _Orders:
    """An iterable of orders."""

    def admit(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what cannot be iterated over; the orders themselves are met one by one."""
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError(f"expected {name} to be an iterable of orders, got {describe(value)}")


_TRAINING: dict[str, Expected] = {
    "network": Instance(Network),
    "parameters": Instance(Parameters),
    "X": Floats("n_x m"),
    "Y": Floats("n_y m"),
    "optimizer": _Optimizer(),
    "epochs": Whole(1),
    "batch_size": Whole(1),
    "l1": Number("[0, inf)"),
    "l2": Number("[0, inf)"),
    "orders": _Orders(),
    "dev": Optional(_Pair()),
    "history": Optional(Instance(History)),
}


@door(
    parameters=Instance(Parameters), X=Floats("n_x m"), Y=Floats("n_y m"), network=Instance(Network)
)
def evaluate(
    parameters: Parameters, X: Array, Y: Array, network: Network
) -> tuple[np.floating[Any], float]:
    """Return the mean cost without penalties and the accuracy, both scalars, on (X, Y).

    Source: Course 2, week 1, "Train / dev / test sets".
    """
    match(network, parameters, X)
    check_labels(network, Y)
    return _evaluate(parameters, X, Y, network)


def _evaluate(
    parameters: Parameters, X: Array, Y: Array, network: Network
) -> tuple[np.floating[Any], float]:
    Z, _ = network_logits(X, parameters, network)
    J, cost_cache = unchecked(COSTS[OUTPUT_COSTS[network.output]].forward)(Z, Y)
    return J, unchecked(accuracy)(PREDICT[network.output](cost_cache.A), Y)


@door(**_TRAINING)
def training_steps(
    network: Network,
    parameters: Parameters,
    X: Array,
    Y: Array,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    orders: Iterable[Indices],
    l1: float = 0.0,
    l2: float = 0.0,
    dev: tuple[Array, Array] | None = None,
    history: History | None = None,
) -> Iterator[Step]:
    """Return an iterator that takes one step at a time, the loop behind `train`, same arguments.

    The parameters are overwritten, and `history` grows, as the iterator is walked.

    Source: Course 2, week 2, "Understanding mini-batch gradient descent".
    """
    for name, inputs, labels in [("X", X, Y), *([("dev", *dev)] if dev is not None else [])]:
        admit({name: Floats("n_x m"), "Y": Floats("n_y m")}, {name: inputs, "Y": labels})
        match(network, parameters, inputs)
        check_labels(network, labels)
    history = History() if history is None else history
    if isinstance(orders, Sized) and len(orders) < epochs:
        raise ValueError(f"expected orders for {epochs} epochs, got {len(orders)}")
    m = X.shape[1]
    by_example = np.ascontiguousarray(X.T)  # a mini-batch is then gathered in whole runs of memory
    step = TrainingStep(network, parameters, l1, l2, m)
    state = optimizer.init(parameters)
    stream = iter(orders)
    number = 0
    for epoch in range(1, epochs + 1):
        batches = unchecked(partition)(_next_order(stream, m, epoch, epochs), batch_size)
        total, seconds = 0.0, 0.0
        for batch in batches:
            start = perf_counter()
            X_batch, Y_batch = by_example[batch].T, np.take(Y, batch, axis=1)
            cost = float(step.cost_and_gradients(X_batch, Y_batch))
            optimizer.update(parameters, step.gradients, state)
            seconds += perf_counter() - start
            total += cost * len(batch)  # a short last batch weighs less
            number += 1
            history.step_costs.append(cost)
            ends_epoch = batch is batches[-1]
            if ends_epoch:
                accuracy_now = _evaluate(parameters, X, Y, network)[1]
                dev_now = _evaluate(parameters, *dev, network) if dev else None
                history.end_epoch(total / m, accuracy_now, seconds, dev_now)
            yield Step(epoch, number, cost, parameters, step.gradients, ends_epoch)


def _next_order(stream: Iterator[Indices], m: int, epoch: int, epochs: int) -> Indices:
    """Return the next order of the stream, or raise ValueError when it ran dry or does not fit."""
    order = next(stream, None)
    if order is None:
        raise ValueError(f"expected orders for {epochs} epochs, got {epoch - 1}")
    if not isinstance(order, np.ndarray):
        raise TypeError(f"expected orders of whole numbers, got {describe(order)}")
    if len(order) != m:
        raise ValueError(f"expected orders of {m} examples, got one of {len(order)}")
    admit({"order": Order()}, {"order": order})
    return order


def train(
    network: Network,
    parameters: Parameters,
    X: Array,
    Y: Array,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    orders: Iterable[Indices],
    l1: float = 0.0,
    l2: float = 0.0,
    dev: tuple[Array, Array] | None = None,
    history: History | None = None,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Overwrite `parameters` by mini-batch descent on J over (X, Y), return the history.

    X is (n_x, m), Y is (n_y, m), `orders` has one permutation (m,) an epoch, from `draw_orders`.
    Each step descends the mini-batch's mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W| with the m
    of the whole training set. Each callback is called with (step, history) after each step. Pass a
    `history` of your own to keep what was reached when the loop is interrupted.

    Source: Course 2, week 2, "Understanding mini-batch gradient descent".
    """
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise TypeError(f"expected callbacks to be functions, got {describe(callbacks)}")
    history = History() if history is None else history
    for step in training_steps(
        network,
        parameters,
        X,
        Y,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        orders=orders,
        l1=l1,
        l2=l2,
        dev=dev,
        history=history,
    ):
        for callback in callbacks:
            callback(step, history)
    return history
