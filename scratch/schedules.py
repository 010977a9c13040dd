"""Learning rate schedules: frozen choices, called with a count t from 1 on to give the rate.

Whether t counts epochs or iterations is the caller's choice; a schedule holds no time of its own.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, ClassVar, Protocol

from scratch._validation import Expected, Number, Whole, check, describe

__all__ = [
    "SCHEDULES",
    "Constant",
    "Exponential",
    "IntervalInverseTime",
    "InverseSquareRoot",
    "InverseTime",
    "Manual",
    "NaturalExponential",
    "PiecewiseConstant",
    "Schedule",
]

_RATE = Number("(0, inf)")


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


def _plain(value: Any) -> Any:
    """Return numbers as Python's own: a NumPy scalar would promote what it meets, or round it."""
    if isinstance(value, tuple):
        return tuple(_plain(one) for one in value)
    return int(value) if isinstance(value, Integral) else float(value)


class Schedule(Protocol):
    """Protocol of a schedule for a training loop: any function of the count will do."""

    def __call__(self, t: int) -> float:
        """Return the learning rate at count t, from 1 on."""


class _Choices:
    """Refuse bad choices when the schedule is made, and bad counts when it is called."""

    _expected: ClassVar[Mapping[str, Expected]] = {
        "learning_rate": _RATE,
        "decay": Number("[0, inf)"),
        "interval": Whole(1),
        "rate": Number("(0, 1]"),
        "k": _RATE,
    }
    _count: ClassVar[Expected] = Whole(0)

    def __post_init__(self) -> None:
        choices = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        check({name: self._expected[name] for name in choices}, choices)
        for name, value in choices.items():
            object.__setattr__(self, name, _plain(value))

    def __call__(self, t: int) -> float:
        """Return the learning rate at count t, which is 1 in the first epoch or iteration.

        A rate that would underflow to 0, which no optimizer takes, stays at the smallest float.
        """
        check({"t": self._count}, {"t": t})
        return float(self._at(int(t))) or sys.float_info.min

    def _at(self, t: int) -> float:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Constant(_Choices):
    """The same learning rate at every count: alpha = alpha_0.

    Raises ValueError unless learning_rate > 0.

    Source: Course 1, week 2, "Gradient descent".
    """

    learning_rate: float

    def _at(self, t: int) -> float:
        return self.learning_rate


@dataclass(frozen=True, kw_only=True)
class InverseTime(_Choices):
    """Inverse time decay: alpha = alpha_0 / (1 + decay t).

    Raises ValueError unless learning_rate > 0 and decay >= 0.

    Source: Course 2, week 2, "Learning rate decay".
    """

    learning_rate: float
    decay: float

    def _at(self, t: int) -> float:
        return self.learning_rate / (1 + self.decay * t)


@dataclass(frozen=True, kw_only=True)
class IntervalInverseTime(_Choices):
    """Inverse time decay at fixed intervals: alpha = alpha_0 / (1 + decay floor(t / interval)).

    Raises ValueError unless learning_rate > 0, decay >= 0 and interval >= 1.

    Source: Course 2, week 2, programming assignment "Optimization methods".
    """

    learning_rate: float
    decay: float
    interval: int

    def _at(self, t: int) -> float:
        return self.learning_rate / (1 + self.decay * (t // self.interval))


@dataclass(frozen=True, kw_only=True)
class Exponential(_Choices):
    """Exponential decay: alpha = alpha_0 rate^t, with a rate such as 0.95.

    Raises ValueError unless learning_rate > 0 and rate in (0, 1].

    Source: Course 2, week 2, "Learning rate decay".
    """

    learning_rate: float
    rate: float

    def _at(self, t: int) -> float:
        return self.learning_rate * self.rate**t


@dataclass(frozen=True, kw_only=True)
class NaturalExponential(_Choices):
    """Exponential decay in powers of e: alpha = alpha_0 e^(-decay t).

    Raises ValueError unless learning_rate > 0 and decay >= 0.

    Source: Course 2, week 2, "Learning rate decay".
    """

    learning_rate: float
    decay: float

    def _at(self, t: int) -> float:
        return self.learning_rate * math.exp(-self.decay * t)


@dataclass(frozen=True, kw_only=True)
class InverseSquareRoot(_Choices):
    """Inverse square root decay: alpha = alpha_0 k / sqrt(t), from t = 1 on.

    Raises ValueError unless learning_rate > 0 and k > 0.

    Source: Course 2, week 2, "Learning rate decay".
    """

    learning_rate: float
    k: float

    _count: ClassVar[Expected] = Whole(1)

    def _at(self, t: int) -> float:
        return self.learning_rate * self.k / math.sqrt(t)


@dataclass(frozen=True, kw_only=True)
class PiecewiseConstant(_Choices):
    """A discrete staircase: alpha_0 first, then each rate of the pairs (t, rate) from its t on.

    Raises TypeError unless rates is a tuple of pairs, ValueError unless their counts rise from 1 on
    and all rates are positive.

    Source: Course 2, week 2, "Learning rate decay".
    """

    learning_rate: float
    rates: tuple[tuple[int, float], ...]

    _expected: ClassVar[Mapping[str, Expected]] = {**_Choices._expected, "rates": _Pieces()}

    def _at(self, t: int) -> float:
        begun = [rate for start, rate in self.rates if t >= start]
        return begun[-1] if begun else self.learning_rate


@dataclass(frozen=True, kw_only=True)
class Manual(_Choices):
    """Manual decay: one rate for each count, alpha = rates[t - 1].

    Raises TypeError unless rates is a tuple, ValueError unless all are positive, and when called
    for a count below 1 or without a rate.

    Source: Course 2, week 2, "Learning rate decay".
    """

    rates: tuple[float, ...]

    _expected: ClassVar[Mapping[str, Expected]] = {"rates": _Rates()}
    _count: ClassVar[Expected] = Whole(1)

    def _at(self, t: int) -> float:
        if t > len(self.rates):
            raise ValueError(f"expected t to be at most {len(self.rates)}, got {t}")
        return self.rates[t - 1]


#: every schedule by name; the same keys as `torch_ref.schedules.SCHEDULES`.
SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "inverse_time": InverseTime,
    "interval_inverse_time": IntervalInverseTime,
    "exponential": Exponential,
    "natural_exponential": NaturalExponential,
    "inverse_square_root": InverseSquareRoot,
    "piecewise_constant": PiecewiseConstant,
    "manual": Manual,
}
