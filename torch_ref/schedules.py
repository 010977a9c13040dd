"""Learning rate schedules, as PyTorch spells them: schedulers of the optimizer they are given.

The optimizer's own learning rate is alpha_0. torch counts from 0 and the course from 1: the rate in
force after construction is that of t = 1, and each `.step()`, after an epoch or an iteration,
moves on to the next t. A scheduler made later starts again from the same alpha_0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, LambdaLR, LRScheduler

from torch_ref._validation import Instance, Number, Whole, describe, validated

__all__ = [
    "SCHEDULES",
    "Schedule",
    "constant",
    "exponential",
    "interval_inverse_time",
    "inverse_square_root",
    "inverse_time",
    "manual",
    "natural_exponential",
    "piecewise_constant",
]

Schedule = LRScheduler

_OPTIMIZER, _DECAY, _RATE = Instance(Optimizer), Number("[0, inf)"), Number("(0, inf)")


class _Rates:
    """A tuple of learning rates."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError), no rate at all or one that is not positive."""
        if not isinstance(value, tuple):
            raise TypeError(f"expected {name} to be a tuple of rates, got {describe(value)}")
        if not value:
            raise ValueError(f"expected {name} to hold at least one rate, got none")
        for place, rate in enumerate(value):
            _RATE.check(f"{name}[{place}]", rate, seen)


class _Pieces:
    """A tuple of pairs (t, rate): rising counts, and the rate from each on."""

    def check(self, name: str, value: Any, seen: Any) -> None:
        """Refuse other kinds (TypeError), counts that do not rise and rates that are no rates."""
        if not isinstance(value, tuple) or not all(
            isinstance(pair, tuple) and len(pair) == 2 for pair in value
        ):
            raise TypeError(
                f"expected {name} to be a tuple of pairs (t, rate), got {describe(value)}"
            )
        if not value:
            raise ValueError(f"expected {name} to hold at least one pair, got none")
        least = 1
        for place, (start, rate) in enumerate(value):
            Whole(least).check(f"{name}[{place}][0]", start, seen)
            _RATE.check(f"{name}[{place}][1]", rate, seen)
            least = start + 1


def _relative(optimizer: Optimizer, factor: Callable[[int], float]) -> Schedule:
    """Return the scheduler that multiplies each group's first lr by factor(t)."""
    return LambdaLR(optimizer, lambda epoch: factor(epoch + 1))


def _absolute(optimizer: Optimizer, rate: Callable[[int, Any], Any]) -> Schedule:
    """Return the scheduler that gives each group the course's rate(t, alpha_0).

    The lr of `momentum` is that rate times a factor, which the group names and which stays.
    """

    def factor(group: dict[str, Any]) -> Callable[[int], Any]:
        alpha_0 = group.get("initial_lr", group["lr"]) / group.get("velocity_factor", 1.0)
        return lambda epoch: rate(epoch + 1, alpha_0) / alpha_0

    return LambdaLR(optimizer, [factor(group) for group in optimizer.param_groups])


def _geometric(optimizer: Optimizer, rate: float) -> Schedule:
    """Return ExponentialLR, moved on to t = 1: alone it leaves alpha_0 in force at first."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate
    return ExponentialLR(optimizer, gamma=rate)


@validated(optimizer=_OPTIMIZER)
def constant(optimizer: Optimizer) -> Schedule:
    """Return the scheduler of alpha = alpha_0. Source: torch.optim.lr_scheduler.ConstantLR."""
    for group in optimizer.param_groups:
        group["lr"] = group.get("initial_lr", group["lr"])
    return ConstantLR(optimizer, factor=1.0)


@validated(optimizer=_OPTIMIZER, decay=_DECAY)
def inverse_time(optimizer: Optimizer, *, decay: float) -> Schedule:
    """Return the scheduler of alpha = alpha_0 / (1 + decay t).

    Source: torch.optim.lr_scheduler.LambdaLR.
    """
    return _relative(optimizer, lambda t: 1 / (1 + decay * t))


@validated(optimizer=_OPTIMIZER, decay=_DECAY, interval=Whole(1))
def interval_inverse_time(optimizer: Optimizer, *, decay: float, interval: int) -> Schedule:
    """Return the scheduler of alpha = alpha_0 / (1 + decay floor(t / interval)).

    Source: torch.optim.lr_scheduler.LambdaLR.
    """
    return _relative(optimizer, lambda t: 1 / (1 + decay * (t // interval)))


@validated(optimizer=_OPTIMIZER, rate=Number("(0, 1]"))
def exponential(optimizer: Optimizer, *, rate: float) -> Schedule:
    """Return the scheduler of alpha = alpha_0 rate^t.

    Source: torch.optim.lr_scheduler.ExponentialLR.
    """
    return _geometric(optimizer, rate)


@validated(optimizer=_OPTIMIZER, decay=_DECAY)
def natural_exponential(optimizer: Optimizer, *, decay: float) -> Schedule:
    """Return the scheduler of alpha = alpha_0 e^(-decay t).

    Source: torch.optim.lr_scheduler.ExponentialLR.
    """
    return _geometric(optimizer, math.exp(-decay))


@validated(optimizer=_OPTIMIZER, k=_RATE)
def inverse_square_root(optimizer: Optimizer, *, k: float) -> Schedule:
    """Return the scheduler of alpha = alpha_0 k / sqrt(t).

    Source: torch.optim.lr_scheduler.LambdaLR.
    """
    return _relative(optimizer, lambda t: k / math.sqrt(t))


@validated(optimizer=_OPTIMIZER, rates=_Pieces())
def piecewise_constant(optimizer: Optimizer, *, rates: tuple[tuple[int, float], ...]) -> Schedule:
    """Return the scheduler of alpha_0, then each rate of the pairs (t, rate) from its t on.

    MultiStepLR multiplies by one gamma at every milestone, these rates are free.

    Source: torch.optim.lr_scheduler.LambdaLR.
    """

    def rate(t: int, alpha_0: Any) -> Any:
        return next((one for start, one in reversed(rates) if t >= start), alpha_0)

    return _absolute(optimizer, rate)


@validated(optimizer=_OPTIMIZER, rates=_Rates())
def manual(optimizer: Optimizer, *, rates: tuple[float, ...]) -> Schedule:
    """Return the scheduler of alpha = rates[t - 1]; a step beyond the last raises ValueError.

    Source: torch.optim.lr_scheduler.LambdaLR.
    """

    def rate(t: int, alpha_0: Any) -> float:
        if t > len(rates):
            raise ValueError(f"expected t to be at most {len(rates)}, got {t}")
        return rates[t - 1]

    return _absolute(optimizer, rate)


#: every schedule by name; the same keys as `scratch.schedules.SCHEDULES`.
SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": constant,
    "inverse_time": inverse_time,
    "interval_inverse_time": interval_inverse_time,
    "exponential": exponential,
    "natural_exponential": natural_exponential,
    "inverse_square_root": inverse_square_root,
    "piecewise_constant": piecewise_constant,
    "manual": manual,
}
