"""The training loop, as PyTorch spells it: zero_grad, backward, step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import torch

from torch_ref._door import (
    Expected,
    Floats,
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
from torch_ref.costs import COSTS, accuracy
from torch_ref.mini_batches import partition
from torch_ref.network import OUTPUT_COSTS, PREDICT, Network, check, objective

__all__ = ["Callback", "History", "Step", "evaluate", "train", "training_steps"]

Tensor = torch.Tensor


class Step(NamedTuple):
    """What one step has done; module and gradients are the live ones, clone to keep."""

    epoch: int  # from 1
    number: int  # from 1, over all epochs
    cost: float  # of the mini-batch, penalties included, before the update
    module: Network
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
    "module": Instance(Network),
    "X": Floats("m n_x"),
    "Y": Floats("m n_y"),
    "optimizer": Instance(torch.optim.Optimizer),
    "epochs": Whole(1),
    "batch_size": Whole(1),
    "l1": Number("[0, inf)"),
    "l2": Number("[0, inf)"),
    "orders": _Orders(),
    "dev": Optional(_Pair()),
    "history": Optional(Instance(History)),
}


@door(module=Instance(Network), X="m n_x", Y="m n_y")
def evaluate(module: Network, X: Tensor, Y: Tensor) -> tuple[Tensor, float]:
    """Return the mean cost without penalties and the accuracy, both scalars, on (X, Y).

    Source: torch.no_grad.
    """
    check(module, X, Y)
    return _evaluate(module, X, Y)


@torch.no_grad()
def _evaluate(module: Network, X: Tensor, Y: Tensor) -> tuple[Tensor, float]:
    Z = module.logits(X)
    J = unchecked(COSTS[OUTPUT_COSTS[module.output]])(Z, Y)
    return J, unchecked(accuracy)(PREDICT[module.output](module.activation(Z)), Y)


@door(**_TRAINING)
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
) -> Iterator[Step]:
    """Return an iterator that takes one step at a time, the loop behind `train`, same arguments.

    Source: torch.optim, "Taking an optimization step".
    """
    for inputs, labels in [(X, Y), *([dev] if dev is not None else [])]:
        check(module, inputs, labels)
    history = History() if history is None else history
    if isinstance(orders, Sized) and len(orders) < epochs:
        raise ValueError(f"expected orders for {epochs} epochs, got {len(orders)}")
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    if not any(id(parameter) in held for parameter in module.parameters()):
        raise ValueError("expected an optimizer of the module's parameters, got one of others")
    m, number, stream = len(X), 0, iter(orders)
    for epoch in range(1, epochs + 1):
        batches = unchecked(partition)(_next_order(stream, m, epoch, epochs), batch_size)
        total, seconds = 0.0, 0.0
        for batch in batches:
            start = perf_counter()
            rows = batch.to(X.device)
            optimizer.zero_grad()
            J, _ = objective(module, X[rows], Y[rows], l1=l1, l2=l2, m=m)
            J.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cost = J.item()  # waits for the device
            seconds += perf_counter() - start
            total += cost * len(batch)  # a short last batch weighs less
            number += 1
            history.step_costs.append(cost)
            ends_epoch = batch is batches[-1]
            if ends_epoch:
                accuracy_now = _evaluate(module, X, Y)[1]
                dev_now = _evaluate(module, *dev) if dev else None
                history.end_epoch(total / m, accuracy_now, seconds, dev_now)
            yield Step(epoch, number, cost, module, ends_epoch)


def _next_order(stream: Iterator[Any], m: int, epoch: int, epochs: int) -> Any:
    """Return the next order of the stream, or raise ValueError when it ran dry or does not fit."""
    order = next(stream, None)
    if order is None:
        raise ValueError(f"expected orders for {epochs} epochs, got {epoch - 1}")
    if not isinstance(order, Sized):
        raise TypeError(f"expected orders of whole numbers, got {describe(order)}")
    if len(order) != m:
        raise ValueError(f"expected orders of {m} examples, got one of {len(order)}")
    admit({"order": Order()}, {"order": order})
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
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train `module` in place by mini-batch descent on J over (X, Y), return the history.

    X is (m, n_x), Y is (m, n_y), `orders` has one permutation (m,) an epoch, tensors or NumPy
    arrays. Each step descends the mini-batch's mean cost + l2 / (2 m) sum W^2 + l1 / m sum |W| with
    the m of the whole training set. Each callback is called with (step, history) after each step.
    Pass a `history` of your own to keep what was reached when the loop is interrupted.

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
    ):
        for callback in callbacks:
            callback(step, history)
    return history
