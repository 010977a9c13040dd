"""Validation of every public function: what it takes, and the refusal of anything else.

`@validated(A_prev="n_prev m", W="n n_prev", b="n 1")` reads the shapes off the signature: a name
such as `n_prev` is one length, the same wherever it stands. Mathematics stays undecorated inside;
code that calls a function many times on data it made itself takes `unchecked(function)`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

#: float16 is refused: its smallest numbers are larger than Adam's epsilon.
DTYPES = (np.float32, np.float64, np.longdouble)

Array: TypeAlias = NDArray[np.floating[Any]]
Indices: TypeAlias = NDArray[np.integer[Any]]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Seen:
    """Lengths and the dtype met so far in one call, each with the argument that set it."""

    lengths: dict[str, tuple[int, str]] = field(default_factory=dict)
    dtype: tuple[np.dtype[Any], str] | None = None
    layer_sizes: tuple[int, ...] = ()


class Expected(Protocol):
    """Anything that can refuse an argument."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Raise TypeError or ValueError unless `value` is what `name` should be."""


def describe(value: object) -> str:
    """Return a value as error messages have it: arrays by dtype and shape, the rest by repr."""
    if isinstance(value, np.ndarray):
        kind = "an array" if type(value) is np.ndarray else type(value).__name__
        return f"{kind} of dtype {value.dtype} and shape {value.shape}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def match_shape(name: str, shape: tuple[int, ...], expected: str, seen: Seen) -> None:
    """Bind the lengths named in `expected` to `shape`, or raise ValueError where they disagree."""
    symbols = expected.split()
    wanted = f"({', '.join(symbols)}{',' if len(symbols) == 1 else ''})"
    if len(shape) != len(symbols):
        raise ValueError(f"expected {name} of shape {wanted}, got {shape}")
    for symbol, length in zip(symbols, shape, strict=True):
        known, owner = (
            (int(symbol), "")
            if symbol.isdigit()
            else seen.lengths.setdefault(symbol, (length, name))
        )
        if length != known:
            reason = f" with {symbol} = {known} from {owner}" if owner else ""
            raise ValueError(f"expected {name} of shape {wanted}{reason}, got {shape}")
    if 0 in shape:
        raise ValueError(f"expected {name} of shape {wanted} with at least one entry, got {shape}")


def _one_hot(array: Array) -> bool:
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=0) == 1).all())


#: conditions on the entries of an array, beyond being finite.
VALUES: Mapping[str, tuple[str, Callable[[Array], bool]]] = {
    "finite": ("finite", lambda array: True),
    "labels": ("labels in {0, 1}", lambda array: bool(np.isin(array, (0, 1)).all())),
    "one-hot": ("one-hot columns", _one_hot),
    "probabilities": (
        "probabilities in [0, 1]",
        lambda array: bool(array.min() >= 0 and array.max() <= 1),
    ),
    "sizes": ("numbers from 0 up", lambda array: bool(array.min() >= 0)),
    "mask": (
        "0 and one number of at least 1",
        lambda array: (
            bool(array.max() >= 1 and np.isin(array, (0, array.max())).all()) or not array.any()
        ),
    ),
}


@dataclass(frozen=True)
class Floats:
    """A floating NumPy array of a named shape, finite, and of one dtype with its neighbours."""

    shape: str
    values: str = "finite"

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds and dtypes (TypeError), shapes and values (ValueError)."""
        if not self.shape and type(value) in (float, int):
            value = np.asarray(value, seen.dtype[0] if seen.dtype else np.float64)
        if (
            not isinstance(value, np.ndarray | np.floating)
            or isinstance(value, np.matrix | np.ma.MaskedArray)
            or value.dtype.type not in DTYPES
        ):
            raise TypeError(f"expected {name} to be a floating NumPy array, got {describe(value)}")
        match_shape(name, value.shape, self.shape, seen)
        if seen.dtype is None:
            seen.dtype = (value.dtype, name)
        elif value.dtype != seen.dtype[0]:
            raise TypeError(
                f"expected {name} of dtype {seen.dtype[0]} like {seen.dtype[1]}, got {value.dtype}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"expected {name} to be finite, got NaN or infinity")
        wanted, holds = VALUES[self.values]
        if not holds(cast(Array, value)):
            raise ValueError(f"expected {name} to hold {wanted}, got {value!r}")


@dataclass(frozen=True)
class Number:
    """A real number inside an interval written as in mathematics, such as "[0, 1)"."""

    interval: str

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no real number (TypeError) or lies outside (ValueError)."""
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"expected {name} to be a real number, got {describe(value)}")
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        above = number >= low if self.interval.startswith("[") else number > low
        below = number <= high if self.interval.endswith("]") else number < high
        if not (above and below):
            raise ValueError(f"expected {name} in {self.interval}, got {value}")


@dataclass(frozen=True)
class Whole:
    """A whole number, at least so large."""

    at_least: int

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no whole number (TypeError) or too small (ValueError)."""
        if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
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
    """A permutation of the first m whole numbers."""

    length: str = "m"

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and what is no permutation (ValueError)."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
            raise TypeError(f"expected {name} to be an integer NumPy array, got {describe(value)}")
        match_shape(name, value.shape, self.length, seen)
        if not np.array_equal(np.sort(value), np.arange(len(value))):
            raise ValueError(
                f"expected {name} to be a permutation of 0..{len(value) - 1}, got {value}"
            )


class Shape:
    """The shape of a matrix, two whole numbers from 1 up."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no pair of whole numbers (TypeError), or one below 1 (ValueError)."""
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError(f"expected {name} to be a tuple of two lengths, got {value!r}")
        for axis, length in enumerate(value):
            Whole(1).check(f"{name}[{axis}]", length, seen)


class Dtype:
    """A floating dtype."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what names no floating dtype with TypeError."""
        try:
            known = value is not None and np.dtype(value).type in DTYPES
        except TypeError as error:
            raise TypeError(f"expected {name} to be a floating dtype, got {value!r}") from error
        if not known:
            raise TypeError(f"expected {name} to be a floating dtype, got {value!r}")


class Instance:
    """An object of one class, or of a few; `shapes` names the shapes of its attributes."""

    def __init__(self, *classes: type, **shapes: str) -> None:
        """Take the classes that may pass and, for a cache, its fields' shapes."""
        self.classes = classes
        self.shapes = shapes

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse objects of other classes with TypeError."""
        if not isinstance(value, self.classes):
            names = [one.__name__ for one in self.classes]
            got = describe(value)
            if type(value).__name__ in names:  # the other side's, or a class not this package's
                names = [f"{one.__module__}.{one.__name__}" for one in self.classes]
                got = f"{type(value).__module__}.{type(value).__name__}"
            raise TypeError(f"expected {name} to be {' or '.join(names)}, got {got}")
        for attribute, shape in self.shapes.items():
            array = getattr(value, attribute)
            match_shape(f"{name}.{attribute}", array.shape, shape, seen)
            if seen.dtype is None:
                seen.dtype = (array.dtype, f"{name}.{attribute}")


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


def check(expected: Mapping[str, Expected], arguments: Mapping[str, Any]) -> Seen:
    """Hold each argument against what is expected of it, in the order of `expected`."""
    seen = Seen()
    for name, one in expected.items():
        one.check(name, arguments[name], seen)
    return seen


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
    """Return the mathematics without validation, for callers that made the arguments themselves."""
    return cast(Callable[P, R], function.__wrapped__)  # type: ignore[attr-defined]
