"""The start that both sides of a training share, and a side's run, taken step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from runs.datasets import Array, Data
from runs.experiments import Experiment
from scratch.batch_norm import BatchNorm
from scratch.dropout import mask_stream
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders, partition
from scratch.network import Network
from scratch.parameters import Parameters


@dataclass(frozen=True)
class Start:
    """Examples, initial weights and the orders of all epochs, from which both sides start."""

    experiment: Experiment
    data: Data
    network: Network
    parameters: Parameters
    orders: Sequence[Any]

    @property
    def m(self) -> int:
        return int(self.data.train[0].shape[1])

    @property
    def steps(self) -> int:
        return self.experiment.epochs * -(-self.m // self.experiment.batch_size)

    def masks(self) -> Iterator[dict[str, Array]] | None:
        """Return the masks of every step, the same in each call; None where nothing is dropped."""
        if not self.network.dropped:
            return None
        return mask_stream(
            self.network.layer_sizes,
            self.network.keep_probs,
            self.m,
            batch_size=self.experiment.batch_size,
            epochs=self.experiment.epochs,
            rng=np.random.default_rng([self.experiment.seed, 1]),  # apart from weights and orders
            dtype=self.parameters.theta.dtype,
        )

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the mini-batch of every step: (X, Y), or (X, Y, masks) where units are dropped."""
        masks, (X, Y) = self.masks(), self.data.train
        for order in self.orders:
            for batch in partition(order, self.experiment.batch_size):
                yield X[:, batch], Y[:, batch], *([next(masks)] if masks else [])

    def choices(self) -> dict[str, Any]:
        names = ("epochs", "batch_size", "l1", "l2", "schedule_per", "clip_value", "clip_norm")
        return {"orders": self.orders, **{name: getattr(self.experiment, name) for name in names}}


def draw(experiment: Experiment, dtype: str) -> Start:
    """Draw weights and orders from the experiment's seed; every dtype starts from the same ones."""
    data = experiment.load().astype(dtype)
    network = Network(
        layer_sizes=experiment.layer_sizes,
        hidden=experiment.hidden,
        output=experiment.output,
        keep_probs=experiment.keep_probs,
        batch_norm=BatchNorm() if experiment.batch_norm else None,
    )
    rng = np.random.default_rng(experiment.seed)
    parameters = initialize(
        network.layer_sizes, experiment.initializer, rng, dtype, batch_norm=experiment.batch_norm
    )
    orders = draw_orders(data.train[0].shape[1], experiment.epochs, rng)
    return Start(experiment, data, network, parameters, orders)


@dataclass
class Side:
    """One side's run, taken step by step."""

    model: Any  # its parameters or its module, live
    history: Any
    steps: Iterator[Any]
    values: Callable[[], Mapping[str, Array]]  # parameters and running averages, live or copied
    test_accuracy: Callable[[], float]
    outputs: Callable[[Array], Array]  # A_L, (n_L, m), at prediction for X, (n_x, m)

    def walk(
        self, bar: Progress | None = None, after_epoch: Callable[[int], None] = lambda epoch: None
    ) -> Side:
        for step in self.steps:
            if bar is not None:
                bar.show(step, self.history)
            if step.ends_epoch:
                after_epoch(step.epoch)
        return self


class Progress(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A progress bar, silent where nobody watches; Ctrl-C ends the work inside it, no more."""

    interrupted = False

    def __init__(self, *work: Any, **choices: Any) -> None:
        super().__init__(*work, disable=None, leave=False, **choices)

    def __exit__(self, kind: Any, *rest: Any) -> bool:
        super().__exit__(kind, *rest)
        self.interrupted = kind is KeyboardInterrupt
        return self.interrupted

    def show(self, step: Any, history: Any) -> None:
        self.update()
        if step.ends_epoch:
            self.set_postfix(epoch=step.epoch, cost=f"{history.costs[-1]:.4g}")
