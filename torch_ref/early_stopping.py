"""Early stopping, as PyTorch spells it: a deep copy of the `state_dict`, loaded back at the end."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import nn

from torch_ref._validation import Expected, Instance, Number, Whole, check, describe

__all__ = ["EarlyStopping", "EarlyStoppingState"]


@dataclass
class EarlyStoppingState:
    """The best so far, and the number of epochs without a better one."""

    state_dict: dict[str, Any]  # a copy of the best, buffers such as running averages too
    best_cost: float = math.inf
    best_epoch: int = 0  # from 1; 0 as long as every cost was NaN
    epoch: int = 0  # updates so far
    epochs_without_improvement: int = 0


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stop after `patience` epochs in a row without cost < best cost - min_improvement.

    Source: torch.nn.Module.state_dict, torch.nn.Module.load_state_dict.
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

    def init(self, module: nn.Module) -> EarlyStoppingState:
        """Return the state before the first epoch."""
        check({"module": Instance(nn.Module)}, {"module": module})
        return EarlyStoppingState(copy.deepcopy(module.state_dict()))

    def update(
        self, state: EarlyStoppingState, cost: float | torch.Tensor, module: nn.Module
    ) -> bool:
        """Overwrite `state` after an epoch with this dev cost; return whether to stop.

        A tensor without axes, as a loss is, will do for the cost.
        """
        _meet(state, module)
        if isinstance(cost, torch.Tensor) and cost.ndim == 0 and cost.is_floating_point():
            cost = cost.item()
        if isinstance(cost, bool) or not isinstance(cost, Real):
            raise TypeError(f"expected cost to be a real number, got {describe(cost)}")
        state.epoch += 1
        improved = cost < state.best_cost - self.min_improvement
        if improved or (state.best_epoch == 0 and not math.isnan(cost)):
            state.state_dict = copy.deepcopy(module.state_dict())
            state.best_cost, state.best_epoch = float(cost), state.epoch
        # epochs since the best one, or since the start
        state.epochs_without_improvement = state.epoch - state.best_epoch
        return state.epochs_without_improvement >= self.patience

    def restore(self, state: EarlyStoppingState, module: nn.Module) -> None:
        """Load the best parameters and buffers; those of `init` if no epoch was best."""
        _meet(state, module)
        module.load_state_dict(state.state_dict)


def _meet(state: Any, module: Any) -> None:
    """Raise unless the state was made for a module like this one."""
    check(
        {"state": Instance(EarlyStoppingState), "module": Instance(nn.Module)},
        {"state": state, "module": module},
    )
    kept, given = (
        {name: (tuple(one.shape), one.dtype) for name, one in named.items()}
        for named in (state.state_dict, module.state_dict())
    )
    if kept != given:
        raise ValueError(f"expected module with a state_dict of {kept}, got {given}")
