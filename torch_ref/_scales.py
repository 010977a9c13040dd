"""Scales, as PyTorch spells them: `icdf` of a transformed uniform distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch.distributions import TransformedDistribution
from torch.distributions import Uniform as UniformDistribution
from torch.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    Transform,
    identity_transform,
)

from torch_ref._validation import Expected, Floats, Number, Seen, Whole, check, describe, validated

Tensor = torch.Tensor


class Draws(Floats):
    """Uniform draws in [0, 1)."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other tensors as `Floats` does, and numbers outside with ValueError."""
        super().check(name, value, seen)
        if not ((value >= 0) & (value < 1)).all():
            raise ValueError(f"expected {name} to hold draws in [0, 1), got {value}")


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
class Scale:
    """A range of one hyper-parameter; a subclass says which transform of an axis makes its values.

    Raises ValueError unless low <= high, both in the scale's domain; low = high holds one value.

    Source: torch.distributions.TransformedDistribution.
    """

    low: float
    high: float
    domain: ClassVar[Expected] = Number("(-inf, inf)")
    transform: ClassVar[Transform]

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        check({"low": self.domain, "high": self.domain}, {"low": self.low, "high": self.high})
        if self.low > self.high:
            raise ValueError(f"expected low <= high, got low = {self.low} and high = {self.high}")
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @validated(u=Draws("n"))
    def sample(self, u: Tensor) -> Tensor:
        """Return the values, shape (n,), of which the fractions u, (n,), of all draws are below.

        Raises ValueError where an end, rounded to the draws' dtype, leaves the scale's domain.
        """
        ends = u.new_tensor([self.low, self.high])
        names = [f"{name} as {u.dtype}" for name in ("low", "high")]
        check(dict.fromkeys(names, self.domain), dict(zip(names, ends.tolist(), strict=True)))
        ends = self.transform.inv(ends)
        # unvalidated, as one value is a range too
        axis = UniformDistribution(ends[0], ends[1], validate_args=False)
        values: Tensor = TransformedDistribution(axis, [self.transform]).icdf(u)  # type: ignore[no-untyped-call]
        return values.clamp(self.low, self.high)

    def _around(self, chosen: Tensor, tried: Tensor) -> Self:
        """Return the scale from halfway below `chosen` to halfway above, next to what was tried."""
        low, high = self.low, self.high
        below, above = tried[tried < chosen.min()], tried[tried > chosen.max()]
        if len(below):
            low = self._halfway(below.max(), chosen.min())
        if len(above):
            high = self._halfway(chosen.max(), above.min())
        return self._between(low, high)

    def _halfway(self, one: Tensor, other: Tensor) -> float:
        ends = torch.stack([one, other])
        middle: Tensor = self.transform(self.transform.inv(ends).mean())
        return middle.clamp(*ends).item()

    def _between(self, low: float, high: float) -> Self:
        return replace(self, low=low, high=high)


class Uniform(Scale):
    """Every value equally likely. Source: torch.distributions.Uniform."""

    transform: ClassVar[Transform] = identity_transform


class LogUniform(Scale):
    """Every decade equally likely. Source: torch.distributions.transforms.ExpTransform."""

    domain: ClassVar[Expected] = Number("(0, inf)")
    transform: ClassVar[Transform] = ExpTransform()


class OneMinusLogUniform(Scale):
    """1 - e^(-x), x uniform: 1 - beta on a log scale. Source: torch.distributions.transforms."""

    domain: ClassVar[Expected] = Number("[0, 1)")
    transform: ClassVar[Transform] = ComposeTransform(
        [AffineTransform(0, -1), ExpTransform(), AffineTransform(1, -1)]
    )


class Integers(Uniform):
    """Whole numbers, both ends included, all equally likely. Source: torch.Tensor.floor."""

    low: int
    high: int
    domain: ClassVar[Expected] = _Exact()

    def __post_init__(self) -> None:
        """Refuse bad choices."""
        super().__post_init__()
        for name in ("low", "high"):
            object.__setattr__(self, name, int(getattr(self, name)))

    @validated(u=Draws("n"))
    def sample(self, u: Tensor) -> Tensor:
        """Return the whole numbers, shape (n,), at the fractions u, (n,), of the range."""
        count = u.new_tensor(self.high - self.low + 1)
        axis = UniformDistribution(torch.zeros_like(count), count)
        steps: Tensor = axis.icdf(u).long()  # type: ignore[no-untyped-call]
        return self.low + steps  # u below 1 times the count rounds to less than the count

    def _between(self, low: float, high: float) -> Self:
        return replace(self, low=math.ceil(low), high=math.floor(high))


#: every scale by name; the same keys as `scratch.search.SCALES`.
SCALES: Mapping[str, type[Scale]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "one_minus_log_uniform": OneMinusLogUniform,
    "integers": Integers,
}
