"""Scales: a range of one hyper-parameter and the axis on which its draws are uniform."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from scratch._validation import (
    Array,
    Expected,
    Floats,
    Indices,
    Number,
    Seen,
    Whole,
    check,
    describe,
    validated,
)


class Draws(Floats):
    """Uniform draws in [0, 1)."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other arrays as `Floats` does, and numbers outside with ValueError."""
        super().check(name, value, seen)
        if not (value.min() >= 0 and value.max() < 1):
            raise ValueError(f"expected {name} to hold draws in [0, 1), got {value!r}")


class _Exact:
    """A whole number among those that floats hold, up to 2^53 either way."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and numbers beyond (ValueError)."""
        Whole(-(2**53)).check(name, value, seen)
        if value > 2**53:
            raise ValueError(f"expected {name} to be at most 2^53, got {value}")


class Space:
    """A mapping of names to scales."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and no scale at all (ValueError)."""
        if not isinstance(value, Mapping) or not all(
            isinstance(key, str) and isinstance(one, Scale) for key, one in value.items()
        ):
            raise TypeError(f"expected {name} to map names to scales, got {describe(value)}")
        if not value:
            raise ValueError(f"expected {name} to hold at least one scale, got none")


@dataclass(frozen=True, kw_only=True)
class Scale(ABC):
    """A range of one hyper-parameter, and the axis on which its draws are uniform.

    A scale of one's own brings `to_axis`, increasing, and its inverse `from_axis`. Raises
    ValueError unless low <= high, both in the scale's domain; low = high holds one value fixed.

    Source: Course 2, week 3, "Using an appropriate scale to pick hyperparameters".
    """

    low: float
    high: float
    domain: ClassVar[Expected] = Number("(-inf, inf)")

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        check({"low": self.domain, "high": self.domain}, {"low": self.low, "high": self.high})
        if self.low > self.high:
            raise ValueError(f"expected low <= high, got low = {self.low} and high = {self.high}")
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @abstractmethod
    def to_axis(self, values: Array) -> Array:
        """Return where the values stand on the axis, same shape."""

    @abstractmethod
    def from_axis(self, places: Array) -> Array:
        """Return the values at these places on the axis, same shape."""

    @validated(u=Draws("n"))
    def sample(self, u: Array) -> Array | Indices:
        """Return the values, shape (n,), at the fractions u, (n,), of the way from low to high.

        Raises ValueError where an end, rounded to the draws' dtype, leaves the scale's domain.
        """
        with np.errstate(over="ignore"):  # an end beyond the dtype's largest number is refused
            ends = np.array([self.low, self.high], u.dtype)
        names = [f"{name} as {u.dtype}" for name in ("low", "high")]
        check(dict.fromkeys(names, self.domain), dict(zip(names, ends, strict=True)))
        start, stop = self.to_axis(ends)
        return np.clip(self.from_axis(start + u * (stop - start)), self.low, self.high)

    def _around(self, chosen: Array, tried: Array) -> Self:
        """Return the scale from halfway below `chosen` to halfway above, next to what was tried."""
        places = self.to_axis(tried)
        first, last = self.to_axis(np.array([chosen.min(), chosen.max()]))
        below, above = places[places < first], places[places > last]
        low, high = self.low, self.high
        if below.size:
            halfway = self.from_axis((below.max() + first) / 2)
            low = float(np.clip(halfway, low, chosen.min()))
        if above.size:
            halfway = self.from_axis((last + above.min()) / 2)
            high = float(np.clip(halfway, chosen.max(), high))
        return self._between(low, high)

    def _between(self, low: float, high: float) -> Self:
        return replace(self, low=low, high=high)


class Uniform(Scale):
    """low + u (high - low): every value equally likely.

    Source: Course 2, week 3, "Using an appropriate scale to pick hyperparameters".
    """

    def to_axis(self, values: Array) -> Array:
        """Return the values: the axis is their own."""
        return values

    def from_axis(self, places: Array) -> Array:
        """Return the places."""
        return places


class LogUniform(Scale):
    """10^(a + u (b - a)), a = log10(low), b = log10(high): every decade equally likely.

    Source: Course 2, week 3, "Using an appropriate scale to pick hyperparameters".
    """

    domain: ClassVar[Expected] = Number("(0, inf)")

    def to_axis(self, values: Array) -> Array:
        """Return log10(values)."""
        return np.log10(values)

    def from_axis(self, places: Array) -> Array:
        """Return 10^places."""
        return np.power(10, places)


class OneMinusLogUniform(Scale):
    """beta with 1 - beta on a log scale: 0.9..0.99 as likely as 0.99..0.999.

    Source: Course 2, week 3, "Using an appropriate scale to pick hyperparameters".
    """

    domain: ClassVar[Expected] = Number("[0, 1)")

    def to_axis(self, values: Array) -> Array:
        """Return -log10(1 - values), 1 for 0.9, 3 for 0.999."""
        return -np.log10(1 - values)

    def from_axis(self, places: Array) -> Array:
        """Return 1 - 10^-places."""
        return 1 - np.power(10, -places)


class Integers(Uniform):
    """low + floor(u (high - low + 1)): whole numbers, both ends included, all equally likely.

    Source: Course 2, week 3, "Using an appropriate scale to pick hyperparameters".
    """

    low: int
    high: int
    domain: ClassVar[Expected] = _Exact()

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        super().__post_init__()
        for name in ("low", "high"):
            object.__setattr__(self, name, int(getattr(self, name)))

    @validated(u=Draws("n"))
    def sample(self, u: Array) -> Indices:
        """Return the whole numbers, shape (n,), at the fractions u, (n,), of the range."""
        # even the largest u below 1 times the count rounds to less than the count
        return self.low + np.floor(u * (self.high - self.low + 1)).astype(np.int64)

    def _between(self, low: float, high: float) -> Self:
        return replace(self, low=math.ceil(low), high=math.floor(high))


#: every scale by name.
SCALES: Mapping[str, type[Scale]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "one_minus_log_uniform": OneMinusLogUniform,
    "integers": Integers,
}
