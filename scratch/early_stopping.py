"""Early stopping: end the training when the dev cost no longer improves, keep the best epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratch._validation import Expected, Instance, Number, Optional, Whole, check, describe
from scratch.parameters import Parameters

__all__ = ["EarlyStopping", "EarlyStoppingState"]


@dataclass
class EarlyStoppingState:
    """The best so far, and the number of epochs without a better one."""

    parameters: Parameters  # copies of the best; before the first update, those given to `init`
    running: Parameters | None
    best_cost: float = math.inf
    best_epoch: int = 0  # from 1; 0 as long as every cost was NaN
    epoch: int = 0  # updates so far
    epochs_without_improvement: int = 0


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stop after `patience` epochs in a row without cost < best cost - min_improvement.

    Such a cost is the new best; the first one is whatever it is, and NaN never. `running` holds
    what else belongs to an epoch, such as running averages. Raises TypeError or ValueError unless
    patience is a whole number from 1 and min_improvement is in [0, inf).

    Source: Course 2, week 1, "Other regularization methods", early stopping.
    """

    patience: int
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        table: dict[str, Expected] = {
            "patience": Whole(1),
            "min_improvement": Number("[0, inf)"),
        }
        check(table, {name: getattr(self, name) for name in table})

    def init(self, parameters: Parameters, running: Parameters | None = None) -> EarlyStoppingState:
        """Return the state before the first epoch, with copies that `update` overwrites."""
        _check(parameters, running)
        return EarlyStoppingState(parameters.copy(), None if running is None else running.copy())

    def update(
        self,
        state: EarlyStoppingState,
        cost: float | np.floating[Any],
        parameters: Parameters,
        running: Parameters | None = None,
    ) -> bool:
        """Overwrite `state` after an epoch with this dev cost; return whether to stop."""
        _meet(state, parameters, running)
        if isinstance(cost, bool) or not isinstance(cost, int | float | np.integer | np.floating):
            raise TypeError(f"expected cost to be a real number, got {describe(cost)}")
        cost = float(cost)
        state.epoch += 1
        first = state.best_epoch == 0 and not math.isnan(cost)
        if first or cost < state.best_cost - self.min_improvement:  # false for NaN
            state.best_cost, state.best_epoch = cost, state.epoch
            state.epochs_without_improvement = 0
            _overwrite(state.parameters, parameters)
            _overwrite(state.running, running)
        else:
            state.epochs_without_improvement += 1
        return state.epochs_without_improvement >= self.patience

    def restore(
        self, state: EarlyStoppingState, parameters: Parameters, running: Parameters | None = None
    ) -> None:
        """Overwrite `parameters` and `running` with the best; with those of `init` if none was."""
        _meet(state, parameters, running)
        _overwrite(parameters, state.parameters)
        _overwrite(running, state.running)


def _overwrite(target: Parameters | None, source: Parameters | None) -> None:
    if target is not None and source is not None:
        target.theta[:] = source.theta


def _check(parameters: Any, running: Any) -> None:
    """Raise TypeError unless these are parameters, and parameters or nothing."""
    kind = Instance(Parameters)
    table: dict[str, Expected] = {"parameters": kind, "running": Optional(kind)}
    check(table, {"parameters": parameters, "running": running})


def _meet(state: Any, parameters: Any, running: Any) -> None:
    """Raise unless state and parameters belong together; constant time."""
    check({"state": Instance(EarlyStoppingState)}, {"state": state})
    _check(parameters, running)
    for name, kept, given in (
        ("parameters", state.parameters, parameters),
        ("running", state.running, running),
    ):
        if (kept is None) != (given is None):
            raise ValueError(f"expected {name} as given to init, {kept}, got {given}")
        if kept is None:
            continue
        if given.layout != kept.layout:
            raise ValueError(f"expected {name} like {kept}, got {given}")
        if given.theta.dtype != kept.theta.dtype:
            raise TypeError(f"expected {name} of dtype {kept.theta.dtype}, got {given.theta.dtype}")
