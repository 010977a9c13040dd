"""The training loop, as PyTorch spells it: zero_grad, backward, step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from torch_ref._checks import check_data, check_masks
from torch_ref._validation import (
    Expected,
    Floats,
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
from torch_ref.clipping import clip_by_global_norm, clip_by_value
from torch_ref.costs import COSTS, accuracy
from torch_ref.early_stopping import EarlyStopping
from torch_ref.mini_batches import partition
from torch_ref.network import OUTPUT_COSTS, PREDICT, Masks, Network, mode, objective

__all__ = ["Callback", "History", "Step", "evaluate", "train", "training_steps"]

Tensor = torch.Tensor


class Step(NamedTuple):
    """Results of one step; module and gradients are the live ones, clone to keep."""

    epoch: int  # from 1
    number: int  # from 1, over all epochs
    cost: float  # of the mini-batch, penalties included, before the update
    module: Network
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
    "module": Instance(Network),
    "X": Floats("m n_x"),
    "Y": Floats("m n_y"),
    "optimizer": Instance(torch.optim.Optimizer),
    "epochs": Whole(1),
    "batch_size": Whole(1),
    "l1": Number("[0, inf)"),
    "l2": Number("[0, inf)"),
    "orders": _Stream(),
    "masks": Optional(_Stream()),
    "dev": Optional(_Pair()),
    "history": Optional(Instance(History)),
    "schedule": Optional(Instance(LRScheduler)),
    "schedule_per": OneOf(("epoch", "iteration")),
    "clip_value": Optional(Number("(0, inf)")),
    "clip_norm": Optional(Number("(0, inf)")),
    "early_stopping": Optional(Instance(EarlyStopping)),
}


@validated(module=Instance(Network), X="m n_x", Y="m n_y")
def evaluate(module: Network, X: Tensor, Y: Tensor) -> tuple[Tensor, float]:
    """Return the mean cost without penalties and the accuracy, both scalars, on (X, Y).

    Nothing is dropped; batch norm takes its running averages.

    Source: torch.no_grad, torch.nn.Module.eval.
    """
    check_data(module, X, Y)
    return _evaluate(module, X, Y)


@torch.no_grad()
def _evaluate(module: Network, X: Tensor, Y: Tensor) -> tuple[Tensor, float]:
    with mode(module, training=False):
        Z = module.logits(X)
    J = unchecked(COSTS[OUTPUT_COSTS[module.output]])(Z, Y)
    return J, unchecked(accuracy)(PREDICT[module.output](module.activation(Z)), Y)


@validated(**_TRAINING)
def training_steps(
    module: Network,
    X: Tensor,
    Y: Tensor,
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int,
    orders: Iterable[Any],
    l1: float = 0.0,
    l2: float = 0.0,
    dev: tuple[Tensor, Tensor] | None = None,
    history: History | None = None,
    masks: Iterable[Masks] | None = None,
    schedule: LRScheduler | None = None,
    schedule_per: str = "epoch",
    clip_value: float | None = None,
    clip_norm: float | None = None,
    early_stopping: EarlyStopping | None = None,
) -> Iterator[Step]:
    """Return an iterator that takes one step at a time, the loop behind `train`, same arguments.

    Source: torch.optim, "Taking an optimization step".
    """
    for inputs, labels in [(X, Y), *([dev] if dev is not None else [])]:
        check_data(module, inputs, labels)
    m = len(X)
    for what, stream, wanted, unit in (
        ("orders", orders, epochs, "epochs"),
        ("masks", masks, epochs * -(-m // batch_size), "steps"),
    ):
        if isinstance(stream, Sized) and len(stream) < wanted:
            raise ValueError(f"expected {what} for {wanted} {unit}, got {len(stream)}")
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    if not any(id(parameter) in held for parameter in module.parameters()):
        raise ValueError("expected an optimizer of the module's parameters, got one of others")
    if schedule is not None and schedule.optimizer is not optimizer:
        raise ValueError("expected a schedule of the optimizer, got one of another")
    if early_stopping is not None and dev is None:
        raise ValueError("expected dev data for early stopping, got None")
    unbiased = any(
        isinstance(layer, nn.BatchNorm1d) and getattr(layer, "unbiased", True)
        for layer in module.modules()
    )
    if unbiased and (batch_size == 1 or m % batch_size == 1):
        raise ValueError(
            "expected mini-batches of two or more examples for the unbiased variance, got one of 1 "
            f"from m = {m} and batch_size = {batch_size}"
        )
    history = History() if history is None else history
    best: Any = early_stopping.init(module) if early_stopping else None
    order_stream, mask_stream = iter(orders), None if masks is None else iter(masks)

    def take(rows: Tensor) -> float:
        optimizer.zero_grad()
        J, _ = objective(module, X[rows], Y[rows], l1=l1, l2=l2, m=m)
        J.backward()  # type: ignore[no-untyped-call]
        if clip_value is not None:
            clip_by_value(module.parameters(), clip_value)
        if clip_norm is not None:
            clip_by_global_norm(module.parameters(), clip_norm)
        optimizer.step()
        return J.item()  # waits for the device

    def walk() -> Iterator[Step]:
        number = 0
        for epoch in range(1, epochs + 1):
            order = _next_order(order_stream, m, epoch, epochs)
            batches = unchecked(partition)(order, batch_size)
            total, seconds = 0.0, 0.0
            module.train()  # whatever mode a callback has left behind
            for batch in batches:
                number += 1
                if mask_stream is not None:
                    _hand_out(module, mask_stream, len(batch))
                start = perf_counter()
                moves = schedule_per == "iteration" or batch is batches[0]
                # made, it stands at 1; one that an earlier run has moved goes on from there
                if schedule is not None and moves and (number > 1 or schedule.last_epoch > 0):
                    schedule.step()
                cost = take(batch.to(X.device))
                seconds += perf_counter() - start
                total += cost * len(batch)  # a short last batch weighs less
                history.step_costs.append(cost)
                ends_epoch = batch is batches[-1]
                if ends_epoch:
                    accuracy_now = _evaluate(module, X, Y)[1]
                    dev_now = _evaluate(module, *dev) if dev else None
                    history.end_epoch(total / m, accuracy_now, seconds, dev_now)
                yield Step(epoch, number, cost, module, ends_epoch)
            if early_stopping and early_stopping.update(best, history.dev_costs[-1], module):
                break
        if early_stopping:
            early_stopping.restore(best, module)

    def walk_in_mode() -> Iterator[Step]:
        try:
            with mode(module, training=True):
                yield from walk()
        finally:
            for layer in module.dropouts.values():
                layer.mask = None

    return walk_in_mode()


def _hand_out(module: Network, stream: Iterator[Masks], size: int) -> None:
    """Give the dropout layers their next masks, or raise where the stream has none that fit."""
    masks = next(stream, None)
    if masks is None:
        raise ValueError("expected masks for every step, got fewer")
    check_masks(module, masks, size, values=False)
    for name, layer in module.dropouts.items():
        layer.mask = masks[name]


def _next_order(stream: Iterator[Any], m: int, epoch: int, epochs: int) -> Any:
    """Return the next order of the stream, or raise ValueError when it ran dry or does not fit."""
    order = next(stream, None)
    if order is None:
        raise ValueError(f"expected orders for {epochs} epochs, got {epoch - 1}")
    if not isinstance(order, Sized):
        raise TypeError(f"expected orders of whole numbers, got {describe(order)}")
    if len(order) != m:
        raise ValueError(f"expected orders of {m} examples, got one of {len(order)}")
    check({"order": Order()}, {"order": order})
    return order


def train(
    module: Network,
    X: Tensor,
    Y: Tensor,
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int,
    orders: Iterable[Any],
    l1: float = 0.0,
    l2: float = 0.0,
    dev: tuple[Tensor, Tensor] | None = None,
    history: History | None = None,
    masks: Iterable[Masks] | None = None,
    schedule: LRScheduler | None = None,
    schedule_per: str = "epoch",
    clip_value: float | None = None,
    clip_norm: float | None = None,
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train `module` in place by mini-batch descent on J over (X, Y), return the history.

    Each step descends the mini-batch's mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W| with the m
    of the whole training set.

    Args:
        module: the network; trained in place.
        X: inputs, (m, n_x).
        Y: labels, (m, n_y).
        optimizer: of the module's parameters.
        epochs: passes over the training set.
        batch_size: examples of a mini-batch; the last one of an epoch may be smaller.
        orders: a permutation (m,) for each epoch, a tensor or a NumPy array.
        l1: strength of the L1 penalty.
        l2: strength of the L2 penalty, lambda.
        dev: (X, Y) held out, to be evaluated after each epoch.
        history: to write to, so that an interruption loses nothing; a new one by default.
        masks: {"D1": ...} for each step, for the draws from torch's global generator.
        schedule: made for the optimizer; moved on before each epoch or iteration but its first, and
            by a later call from where it stands.
        schedule_per: "epoch" or "iteration".
        clip_value: largest entry that a gradient keeps.
        clip_norm: largest norm that all gradients together keep, after that.
        early_stopping: watches the dev cost and restores the best parameters at the end.
        callbacks: called with (step, history) after each step.

    Returns:
        The history: a cost for each step, costs, accuracies and seconds for each epoch.

    Raises:
        TypeError: an argument is of another kind than said above.
        ValueError: shapes, labels, orders or masks do not fit the network, or the optimizer is of
            other parameters.

    Example:
        >>> import torch
        >>> from torch_ref import initializers, mini_batches, network, optimizers, training
        >>> rng = torch.Generator().manual_seed(0)
        >>> X = torch.randn(100, 2, generator=rng, dtype=torch.float64)
        >>> net = network.Network(layer_sizes=(2, 4, 1))
        >>> initializers.initialize(net, "he", rng)
        >>> history = training.train(
        ...     net, X, (X[:, :1] > 0).double(), optimizer=optimizers.adam(net.parameters()),
        ...     epochs=3, batch_size=20, orders=mini_batches.draw_orders(100, 3, rng),
        ... )
        >>> len(history.step_costs), len(history.costs)
        (15, 3)

    Source: torch.optim, "Taking an optimization step".
    """
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise TypeError(f"expected callbacks to be functions, got {describe(callbacks)}")
    history = History() if history is None else history
    for step in training_steps(
        module,
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
        schedule=schedule,
        schedule_per=schedule_per,
        clip_value=clip_value,
        clip_norm=clip_norm,
        early_stopping=early_stopping,
    ):
        for callback in callbacks:
            callback(step, history)
    return history
