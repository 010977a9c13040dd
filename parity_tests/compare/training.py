"""One training on both sides, from the same weights, orders and masks: all that it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity_tests.compare.bridge import masks_to_torch, rows, twin, unload, unload_running
from parity_tests.compare.measurement import Array
from scratch import training as ours
from scratch.batch_norm import running_averages
from scratch.early_stopping import EarlyStopping
from scratch.network import Network
from scratch.optimizers import OPTIMIZERS
from scratch.parameters import Parameters
from scratch.schedules import SCHEDULES
from torch_ref import training as theirs
from torch_ref.early_stopping import EarlyStopping as TheirEarlyStopping
from torch_ref.optimizers import OPTIMIZERS as THEIR_OPTIMIZERS
from torch_ref.schedules import SCHEDULES as THEIR_SCHEDULES

#: a name of a table, and choices by name.
Named = tuple[str, Mapping[str, Any]]

TRAINING = {"scratch": ours, "torch_ref": theirs}
STOPPING: Mapping[str, Any] = {"scratch": EarlyStopping, "torch_ref": TheirEarlyStopping}

#: lists of a history that are numbers of the mathematics.
HISTORY = ("step_costs", "costs", "accuracies", "dev_costs", "dev_accuracies")

#: arguments that both sides take as they are.
SHARED = ("epochs", "batch_size", "l1", "l2", "schedule_per", "clip_value", "clip_norm", "orders")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training as data in the layout of `scratch`; each side makes its own objects of it.

    `optimizer` and `schedule` are names with their choices, `early_stopping` its choices; the
    schedule's first rate is the optimizer's.
    """

    network: Network
    parameters: Parameters
    X: Array  # (n_x, m)
    Y: Array  # (n_y, m)
    optimizer: Named
    epochs: int
    batch_size: int
    orders: Sequence[Array]
    l1: float = 0.0
    l2: float = 0.0
    dev: tuple[Array, Array] | None = None
    masks: Sequence[Mapping[str, Array]] | None = None
    schedule: Named | None = None
    schedule_per: str = "epoch"
    clip_value: float | None = None
    clip_norm: float | None = None
    early_stopping: Mapping[str, Any] | None = None
    device: str = "cpu"

    def arguments(self, side: str, **left: Any) -> dict[str, Any]:
        """Return the arguments of a side's `train` by name, those at their defaults left out.

        Parameters are copied. `left` is where another training ended, to go on from there:
        parameters and running averages, or a module.
        """
        made = self._ours() | left if side == "scratch" else self._theirs(**left)
        if self.early_stopping is not None:
            made["early_stopping"] = STOPPING[side](**self.early_stopping)
        given = {name: getattr(self, name) for name in SHARED} | made
        return {n: one for n, one in given.items() if n in made or one != getattr(Run, n, None)}

    def _ours(self) -> dict[str, Any]:
        name, choices = self.optimizer
        shared = ("network", "X", "Y", "dev", "masks")
        given = {one: getattr(self, one) for one in shared if getattr(self, one) is not None}
        if self.network.batch_norm is not None and self.network.depth > 1:
            given["running"] = running_averages(self.network.layer_sizes, self.X.dtype)
        if self.schedule is not None:
            kind, shape = self.schedule
            first = {} if kind == "manual" else {"learning_rate": choices["learning_rate"]}
            given["schedule"] = SCHEDULES[kind](**first, **shape)
        made = {"parameters": self.parameters.copy(), "optimizer": OPTIMIZERS[name](**choices)}
        return given | made

    def _theirs(self, module: Any = None) -> dict[str, Any]:
        name, choices = self.optimizer
        if module is None:
            module = twin(self.network, self.parameters, self.device)
        optimizer = THEIR_OPTIMIZERS[name](module.parameters(), **choices)
        X, Y, *dev = (rows(one, self.device) for one in (self.X, self.Y, *(self.dev or ())))
        made = {"module": module, "X": X, "Y": Y, "optimizer": optimizer}
        if self.schedule is not None:
            kind, shape = self.schedule
            made["schedule"] = THEIR_SCHEDULES[kind](optimizer, **shape)
        if self.masks is not None:
            made["masks"] = [masks_to_torch(one, self.device) for one in self.masks]
        return made | ({"dev": tuple(dev)} if dev else {})

    def quantities(self, side: str) -> dict[str, Array]:
        """Train one side and return costs, accuracies, parameters and running averages by name."""
        arguments, dtype = self.arguments(side), self.X.dtype
        history = TRAINING[side].train(**arguments)
        lists = {name: getattr(history, name) for name in HISTORY}
        values = {name: np.array(one, dtype) for name, one in lists.items() if one}
        if self.early_stopping is not None:
            values["best dev cost"] = dtype.type(evaluate_dev(side, arguments)[0])
        return {**values, **reached(side, arguments)}


def evaluate_dev(side: str, arguments: Mapping[str, Any]) -> tuple[Any, float]:
    """Return cost and accuracy of a side's network on its dev data."""
    X, Y = arguments["dev"]
    if side == "scratch":
        network, parameters = arguments["network"], arguments["parameters"]
        return ours.evaluate(parameters, X, Y, network, arguments.get("running"))
    cost, accuracy = theirs.evaluate(arguments["module"], X, Y)
    return cost.cpu().numpy()[()], accuracy


def reached(side: str, arguments: Mapping[str, Any]) -> dict[str, Array]:
    """Return copies of the parameters and running averages that a side has come to, by name."""
    if side == "scratch":
        named = {**arguments["parameters"], **arguments.get("running", {})}
        return {name: np.copy(one) for name, one in named.items()}
    module, found = arguments["module"], dict(unload(arguments["module"]))
    return {**found, **(unload_running(module) if "gamma1" in found else {})}
