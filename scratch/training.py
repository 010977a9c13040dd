"""The training loop: mini-batches in a shared order, one optimizer, a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields, is_dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from scratch._checks import check_labels, check_masks, check_running, match
from scratch._step import TrainingStep
from scratch._validation import (
    Array,
    Expected,
    Floats,
    Function,
    Indices,
    Instance,
    Number,
    OneOf,
    Optional,
    Order,
    Whole,
    check,
    describe,
    unchecked,
    validated,
)
from scratch.clipping import EPSILON as CLIPPING_EPSILON
from scratch.clipping import overwrite_by_norm, overwrite_by_value
from scratch.costs import COSTS, accuracy
from scratch.early_stopping import EarlyStopping
from scratch.mini_batches import partition
from scratch.network import OUTPUT_COSTS, PREDICT, Masks, Network, predicted_logits
from scratch.optimizers import Optimizer, Rule
from scratch.parameters import Parameters
from scratch.schedules import Schedule

__all__ = ["Callback", "History", "Step", "evaluate", "train", "training_steps"]


class Step(NamedTuple):
    """Results of one step; parameters and (clipped) gradients are live, copy to keep."""

    epoch: int  # from 1
    number: int  # from 1, over all epochs
    cost: float  # of the mini-batch, penalties included, before the update
    parameters: Parameters
    gradients: Parameters
    ends_epoch: bool


@dataclass
class History:
    """Record of a training so far: costs of steps, and one entry an epoch of the rest."""

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


class _Pair:
    """A tuple (X, Y)."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what is no pair."""
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError(f"expected {name} to be a tuple (X, Y), got {describe(value)}")


class _Stream:
    """An iterable, of orders or of masks."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse what cannot be iterated over; what it yields is met one by one."""
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise TypeError(f"expected {name} to be an iterable of {name}, got {describe(value)}")


_TRAINING: dict[str, Expected] = {
    "network": Instance(Network),
    "parameters": Instance(Parameters),
    "X": Floats("n_x m"),
    "Y": Floats("n_y m"),
    "optimizer": Rule(),
    "epochs": Whole(1),
    "batch_size": Whole(1),
    "l1": Number("[0, inf)"),
    "l2": Number("[0, inf)"),
    "orders": _Stream(),
    "masks": Optional(_Stream()),
    "dev": Optional(_Pair()),
    "history": Optional(Instance(History)),
    "schedule": Optional(Function()),
    "schedule_per": OneOf(("epoch", "iteration")),
    "clip_value": Optional(Number("(0, inf)")),
    "clip_norm": Optional(Number("(0, inf)")),
    "early_stopping": Optional(Instance(EarlyStopping)),
}


@validated(
    parameters=Instance(Parameters), X=Floats("n_x m"), Y=Floats("n_y m"), network=Instance(Network)
)
def evaluate(
    parameters: Parameters,
    X: Array,
    Y: Array,
    network: Network,
    running: Parameters | None = None,
) -> tuple[np.floating[Any], float]:
    """Return the mean cost without penalties and the accuracy, both scalars, on (X, Y).

    Nothing is dropped; batch norm takes `running`, its running averages.

    Source: Course 2, week 1, "Train / dev / test sets".
    """
    match(network, parameters, X)
    check_labels(network, Y)
    check_running(network, running, X.dtype)
    return _evaluate(parameters, X, Y, network, running)


def _evaluate(
    parameters: Parameters, X: Array, Y: Array, network: Network, running: Parameters | None
) -> tuple[np.floating[Any], float]:
    Z = predicted_logits(X, parameters, network, running)
    J, cost_cache = unchecked(COSTS[OUTPUT_COSTS[network.output]].forward)(Z, Y)
    return J, unchecked(accuracy)(PREDICT[network.output](cost_cache.A), Y)


@validated(**_TRAINING)
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
    masks: Iterable[Masks] | None = None,
    running: Parameters | None = None,
    schedule: Schedule | None = None,
    schedule_per: str = "epoch",
    clip_value: float | None = None,
    clip_norm: float | None = None,
    early_stopping: EarlyStopping | None = None,
) -> Iterator[Step]:
    """Return an iterator that takes one step at a time, the loop behind `train`, same arguments.

    The parameters and running averages are overwritten, and `history` grows, as the iterator is
    walked; the best of them are restored when it ends.

    Source: Course 2, week 2, "Understanding mini-batch gradient descent".
    """
    for name, inputs, labels in [("X", X, Y), *([("dev", *dev)] if dev is not None else [])]:
        check({name: Floats("n_x m"), "Y": Floats("n_y m")}, {name: inputs, "Y": labels})
        match(network, parameters, inputs)
        check_labels(network, labels)
    check_running(network, running, X.dtype)
    m = X.shape[1]
    for what, stream, wanted, unit in (
        ("orders", orders, epochs, "epochs"),
        ("masks", masks, epochs * -(-m // batch_size), "steps"),
    ):
        if isinstance(stream, Sized) and len(stream) < wanted:
            raise ValueError(f"expected {what} for {wanted} {unit}, got {len(stream)}")
    if network.dropped and masks is None:
        raise ValueError(f"expected masks for keep_probs of {network.keep_probs}, got None")
    if schedule is not None and not _has_rate(optimizer):
        raise TypeError(
            "expected an optimizer that is a dataclass with a learning_rate, for the schedule to "
            f"replace, got {describe(optimizer)}"
        )
    if early_stopping is not None and dev is None:
        raise ValueError("expected dev data for early stopping, got None")
    unbiased = (
        running is not None and network.batch_norm is not None and network.batch_norm.unbiased
    )
    if unbiased and (batch_size == 1 or m % batch_size == 1):
        raise ValueError(
            "expected mini-batches of two or more examples for the unbiased variance, got one of 1 "
            f"from m = {m} and batch_size = {batch_size}"
        )
    history = History() if history is None else history
    best: Any = early_stopping.init(parameters, running) if early_stopping else None
    by_example = np.ascontiguousarray(X.T)  # a mini-batch is then gathered in whole runs of memory
    step = TrainingStep(network, parameters, l1, l2, m, running)
    state = optimizer.init(parameters)
    order_stream, mask_stream = iter(orders), iter(() if masks is None else masks)

    def walk() -> Iterator[Step]:
        rule, number = optimizer, 0
        for epoch in range(1, epochs + 1):
            order = _next_order(order_stream, m, epoch, epochs)
            batches = unchecked(partition)(order, batch_size)
            total, seconds = 0.0, 0.0
            for batch in batches:
                number += 1
                drop = None if masks is None else _next_masks(mask_stream, network, len(batch), X)
                start = perf_counter()
                if schedule is not None and (schedule_per == "iteration" or batch is batches[0]):
                    rate = schedule(number if schedule_per == "iteration" else epoch)
                    rule = replace(rule, learning_rate=rate)  # type: ignore[type-var]
                X_batch, Y_batch = by_example[batch].T, np.take(Y, batch, axis=1)
                cost = float(step.cost_and_gradients(X_batch, Y_batch, drop))
                if clip_value is not None:
                    overwrite_by_value(step.gradients.theta, clip_value)
                if clip_norm is not None:
                    overwrite_by_norm(step.gradients.theta, clip_norm, CLIPPING_EPSILON)
                rule.update(parameters, step.gradients, state)
                seconds += perf_counter() - start
                total += cost * len(batch)  # a short last batch weighs less
                history.step_costs.append(cost)
                ends_epoch = batch is batches[-1]
                if ends_epoch:
                    accuracy_now = _evaluate(parameters, X, Y, network, running)[1]
                    dev_now = _evaluate(parameters, *dev, network, running) if dev else None
                    history.end_epoch(total / m, accuracy_now, seconds, dev_now)
                yield Step(epoch, number, cost, parameters, step.gradients, ends_epoch)
            if early_stopping and early_stopping.update(
                best, history.dev_costs[-1], parameters, running
            ):
                break
        if early_stopping:
            early_stopping.restore(best, parameters, running)

    return walk()


def _has_rate(optimizer: Any) -> bool:
    """Tell whether an optimizer is made of choices, a learning rate among them."""
    return is_dataclass(optimizer) and any(one.name == "learning_rate" for one in fields(optimizer))


def _next_masks(stream: Iterator[Masks], network: Network, size: int, X: Array) -> Masks:
    """Return the next masks of the stream, or raise when it ran dry or they do not fit."""
    masks = next(stream, None)
    if masks is None:
        raise ValueError("expected masks for every step, got fewer")
    check_masks(network, masks, size, X.dtype, values=False)
    return masks


def _next_order(stream: Iterator[Indices], m: int, epoch: int, epochs: int) -> Indices:
    """Return the next order of the stream, or raise ValueError when it ran dry or does not fit."""
    order = next(stream, None)
    if order is None:
        raise ValueError(f"expected orders for {epochs} epochs, got {epoch - 1}")
    if not isinstance(order, np.ndarray):
        raise TypeError(f"expected orders of whole numbers, got {describe(order)}")
    if len(order) != m:
        raise ValueError(f"expected orders of {m} examples, got one of {len(order)}")
    check({"order": Order()}, {"order": order})
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
    masks: Iterable[Masks] | None = None,
    running: Parameters | None = None,
    schedule: Schedule | None = None,
    schedule_per: str = "epoch",
    clip_value: float | None = None,
    clip_norm: float | None = None,
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Overwrite `parameters` by mini-batch descent on J over (X, Y), return the history.

    Each step descends the mini-batch's mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W| with the m
    of the whole training set.

    Args:
        network: layers and activations.
        parameters: from `initialize`; overwritten.
        X: inputs, (n_x, m).
        Y: labels, (n_y, m).
        optimizer: the rule of a step.
        epochs: passes over the training set.
        batch_size: examples of a mini-batch; the last one of an epoch may be smaller.
        orders: a permutation (m,) for each epoch, from `draw_orders`.
        l1: strength of the L1 penalty.
        l2: strength of the L2 penalty, lambda.
        dev: (X, Y) held out, to be evaluated after each epoch.
        history: to write to, so that an interruption loses nothing; a new one by default.
        masks: {"D1": ...} for each step, from `mask_stream`, where the network drops units.
        running: running averages from `running_averages`, where it has batch norm; overwritten.
        schedule: the learning rate by number, from 1 in each call, for the optimizer's own.
        schedule_per: "epoch" or "iteration".
        clip_value: largest entry that a gradient keeps.
        clip_norm: largest norm that all gradients together keep, after that.
        early_stopping: watches the dev cost and restores the best parameters at the end.
        callbacks: called with (step, history) after each step.

    Returns:
        The history: a cost for each step, costs, accuracies and seconds for each epoch.

    Raises:
        TypeError: an argument is of another kind than said above.
        ValueError: shapes, labels, orders, masks or running averages do not fit the network.

    Example:
        >>> import numpy as np
        >>> from scratch import initializers, mini_batches, network, optimizers, training
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((2, 100))
        >>> net = network.Network(layer_sizes=(2, 4, 1))
        >>> parameters = initializers.initialize(net.layer_sizes, "he", rng)
        >>> history = training.train(
        ...     net, parameters, X, (X[:1] > 0).astype(float), optimizer=optimizers.Adam(),
        ...     epochs=3, batch_size=20, orders=mini_batches.draw_orders(100, 3, rng),
        ... )
        >>> len(history.step_costs), len(history.costs)
        (15, 3)

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
        masks=masks,
        running=running,
        schedule=schedule,
        schedule_per=schedule_per,
        clip_value=clip_value,
        clip_norm=clip_norm,
        early_stopping=early_stopping,
    ):
        for callback in callbacks:
            callback(step, history)
    return history
