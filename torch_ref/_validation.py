"""Validation of every public function: what it takes, and the refusal of anything else.

The same refusals in the same words as on the other side, for tensors: the sides never meet.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import torch

#: half precisions are refused: their smallest numbers are larger than Adam's epsilon.
DTYPES = (torch.float32, torch.float64)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Seen:
    """Lengths and the dtype met so far in one call, each with the argument that set it."""

    lengths: dict[str, tuple[int, str]] = field(default_factory=dict)
    dtype: tuple[torch.dtype, str] | None = None
    layer_sizes: tuple[int, ...] = ()


class Expected(Protocol):
    """Anything that can refuse an argument."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Raise TypeError or ValueError unless `value` is what `name` should be."""


def describe(value: object) -> str:
    """Return a value as error messages have it: tensors by dtype and shape, the rest by repr."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of dtype {value.dtype} and shape {tuple(value.shape)}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _labels(tensor: torch.Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())


#: conditions on the entries of a tensor, beyond being finite.
VALUES: Mapping[str, tuple[str, Callable[[torch.Tensor], bool]]] = {
    "any": ("anything", lambda tensor: True),
    "finite": ("finite", lambda tensor: True),
    "labels": ("labels in {0, 1}", _labels),
    "one-hot": (
        "one-hot rows",
        lambda tensor: _labels(tensor) and bool((tensor.sum(dim=1) == 1).all()),
    ),
    "probabilities": (
        "probabilities in [0, 1]",
        lambda tensor: bool(((tensor >= 0) & (tensor <= 1)).all()),
    ),
    "sizes": ("numbers from 0 up", lambda tensor: bool((tensor >= 0).all())),
    "mask": (
        "0 and one number of at least 1",
        lambda tensor: (
            bool(tensor.max() >= 1 and ((tensor == 0) | (tensor == tensor.max())).all())
            or not bool(tensor.any())
        ),
    ),
}


@dataclass(frozen=True)
class Floats:
    """A floating tensor of a named shape, finite, and of one dtype with its neighbours."""

    shape: str
    values: str = "finite"

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), shapes and values (ValueError)."""
        if not isinstance(value, torch.Tensor) or value.dtype not in DTYPES:
            raise TypeError(f"expected {name} to be a floating tensor, got {describe(value)}")
        symbols, shape = self.shape.split(), tuple(value.shape)
        wanted = f"({', '.join(symbols)}{',' if len(symbols) == 1 else ''})"
        if len(shape) != len(symbols):
            raise ValueError(f"expected {name} of shape {wanted}, got {shape}")
        for symbol, length in zip(symbols, shape, strict=True):
            known, owner = seen.lengths.setdefault(symbol, (length, name))
            if length != known:
                raise ValueError(
                    f"expected {name} of shape {wanted} with {symbol} = {known} from {owner}, "
                    f"got {shape}"
                )
        if 0 in shape:
            raise ValueError(
                f"expected {name} of shape {wanted} with at least one entry, got {shape}"
            )
        dtype, owner = seen.dtype = seen.dtype or (value.dtype, name)
        if value.dtype != dtype:
            raise TypeError(f"expected {name} of dtype {dtype} like {owner}, got {value.dtype}")
        if self.values == "any":
            return
        if not torch.isfinite(value).all():
            raise ValueError(f"expected {name} to be finite, got NaN or infinity")
        words, holds = VALUES[self.values]
        if not holds(value):
            raise ValueError(f"expected {name} to hold {words}, got {value}")


@dataclass(frozen=True)
class Number:
    """A real number inside an interval written as in mathematics, such as "[0, 1)"."""

    interval: str

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no real number (TypeError) or lies outside (ValueError)."""
        if isinstance(value, bool | Fraction) or not isinstance(value, Real):
            raise TypeError(f"expected {name} to be a real number, got {describe(value)}")
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        above = number > low or (number == low and self.interval.startswith("["))
        below = number < high or (number == high and self.interval.endswith("]"))
        if not (above and below and math.isfinite(number)):
            raise ValueError(f"expected {name} in {self.interval}, got {value}")


@dataclass(frozen=True)
class Whole:
    """A whole number, at least so large."""

    at_least: int

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no whole number (TypeError) or too small (ValueError)."""
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"expected {name} to be a whole number, got {describe(value)}")
        if value < self.at_least:
            raise ValueError(f"expected {name} to be at least {self.at_least}, got {value}")


@dataclass(frozen=True)
class OneOf:
    """One of the known names; the refusal lists them."""

    names: Collection[str]

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no string (TypeError) or an unknown one (ValueError)."""
        if not isinstance(value, str):
            raise TypeError(f"expected {name} to be a string, got {describe(value)}")
        if value not in self.names:
            raise ValueError(f"expected {name} to be one of {', '.join(self.names)}, got {value!r}")


@dataclass(frozen=True)
class Order:
    """A permutation of the first m whole numbers, as a tensor or anything torch reads as one."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and what is no permutation (ValueError)."""
        try:
            order = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"expected {name} to be whole numbers, got {value!r}") from error
        if order.is_floating_point() or order.dtype == torch.bool:
            raise TypeError(f"expected {name} to be whole numbers, got {describe(order)}")
        if order.ndim != 1 or not len(order):
            raise ValueError(f"expected {name} of shape (m,), got {tuple(order.shape)}")
        length, owner = seen.lengths.setdefault("m", (len(order), name))
        if len(order) != length:
            raise ValueError(
                f"expected {name} of shape (m,) with m = {length} from {owner}, got {len(order)}"
            )
        order = order.long()  # torch sorts no unsigned ones but the shortest
        if not torch.equal(order.sort().values, torch.arange(len(order)).to(order)):
            raise ValueError(f"expected {name} to be a permutation of 0..{len(order) - 1}")


class Shape:
    """The shape of a matrix, two whole numbers from 1 up."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no pair of whole numbers (TypeError), or one below 1 (ValueError)."""
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError(f"expected {name} to be a tuple of two lengths, got {value!r}")
        for axis, length in enumerate(value):
            Whole(1).check(f"{name}[{axis}]", length, seen)


class Dtype:
    """A floating dtype of torch."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what names no floating dtype with TypeError."""
        if value not in DTYPES:
            raise TypeError(f"expected {name} to be a floating dtype, got {value!r}")


class LayerSizes:
    """Two or more whole numbers from 1 up."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and sizes (ValueError)."""
        if not isinstance(value, tuple | list) or not all(
            isinstance(n, Integral) and not isinstance(n, bool) for n in value
        ):
            raise TypeError(
                f"expected layer_sizes to be a tuple of whole numbers, got {describe(value)}"
            )
        if len(value) < 2 or min(value) < 1:
            raise ValueError(
                f"expected layer_sizes to hold two or more sizes of at least 1, got {value}"
            )
        seen.layer_sizes = tuple(value)


class KeepProbs:
    """One number in (0, 1] for each hidden layer of the layer sizes before it, or none."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), numbers and counts (ValueError)."""
        if not isinstance(value, tuple | list):
            raise TypeError(f"expected keep_probs to be a tuple of numbers, got {describe(value)}")
        hidden = len(seen.layer_sizes) - 2
        if len(value) not in (0, hidden):
            raise ValueError(
                f"expected keep_probs for each of {hidden} hidden layers, or none, got {value}"
            )
        for l, keep_prob in enumerate(value, start=1):
            Number("(0, 1]").check(f"keep_prob of layer {l}", keep_prob, seen)


class Instance:
    """An object of one class, or of a few."""

    def __init__(self, *classes: type) -> None:
        """Take the classes that may pass."""
        self.classes = classes

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse objects of other classes with TypeError."""
        if not isinstance(value, self.classes):
            names = [one.__name__ for one in self.classes]
            got = describe(value)
            if type(value).__name__ in names:  # the other side's, or a class not this package's
                names = [f"{one.__module__}.{one.__name__}" for one in self.classes]
                got = f"{type(value).__module__}.{type(value).__name__}"
            raise TypeError(f"expected {name} to be {' or '.join(names)}, got {got}")


class Function:
    """Anything that can be called."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what cannot be called with TypeError."""
        if not callable(value):
            raise TypeError(f"expected {name} to be a function, got {describe(value)}")


@dataclass(frozen=True)
class Optional:
    """None, or what is expected otherwise."""

    expected: Expected

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Let None pass and ask for the rest."""
        if value is not None:
            self.expected.check(name, value, seen)


def check(expected: Mapping[str, Expected], arguments: Mapping[str, Any]) -> None:
    """Hold each argument against what is expected of it, in the order of `expected`."""
    seen = Seen()
    for name, one in expected.items():
        one.check(name, arguments[name], seen)


def validated(**expected: Expected | str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that refuses bad arguments; a string stands for `Floats(string)`."""
    table = {name: Floats(one) if isinstance(one, str) else one for name, one in expected.items()}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            check(table, bound.arguments)
            return function(*args, **kwargs)

        checked.__validation__ = table  # type: ignore[attr-defined]
        return checked

    return decorate


def unchecked(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function behind the validation, for callers that made the arguments themselves."""
    return cast(Callable[P, R], function.__wrapped__)  # type: ignore[attr-defined]
