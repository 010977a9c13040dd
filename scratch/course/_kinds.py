"""Validation of the course's vocabulary: kinds and shapes are checked, values are not.

Whatever holds real numbers passes, integer and boolean labels too, and reaches the mathematics as
floats of one dtype: the floating dtype among the arguments, or float64 where there is none.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np

from scratch._validation import DTYPES, Array, Expected, Seen, check, describe, match_shape

P = ParamSpec("P")
R = TypeVar("R")

Arrays = dict[str, Array]

#: the largest seed of NumPy's legacy generator.
_LARGEST_SEED = 2**32 - 1


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_array(name: str, value: Any, shape: str, seen: Seen) -> None:
    """Raise TypeError unless these are real numbers, ValueError unless of that shape."""
    if (
        not isinstance(value, np.ndarray)
        or isinstance(value, np.matrix | np.ma.MaskedArray)
        or value.dtype.kind not in "biuf"
    ):
        raise TypeError(
            f"expected {name} to be a NumPy array of real numbers, got {describe(value)}"
        )
    match_shape(name, value.shape, shape, seen)


def _check_sequence(name: str, value: Any, what: str, length: int | None = None) -> None:
    """Raise TypeError unless this is a tuple or list, ValueError unless of that length."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"expected {name} to be a tuple {what}, got {describe(value)}")
    if not value or len(value) != (length or len(value)):
        raise ValueError(f"expected {name} to be a tuple {what}, got {len(value)} entries")


def _check_dictionary(name: str, value: Any, keys: list[str], others: str) -> None:
    """Raise TypeError unless this is a dictionary, ValueError for a key missing or one too many.

    It may hold more keys, but none that matches `others`.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"expected {name} to be a dictionary, got {describe(value)}")
    beyond = {key for key in value if re.fullmatch(others, str(key))} - set(keys)
    if beyond or not set(keys) <= set(value):
        raise ValueError(
            f"expected {name} with the keys {', '.join(keys)}, "
            f"got {', '.join(map(str, value)) or 'none'}"
        )


@dataclass(frozen=True)
class Numbers:
    """An array of real numbers of a named shape."""

    shape: str

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and shapes (ValueError)."""
        _check_array(name, value, self.shape, seen)


class AnyShape:
    """An array of real numbers of any shape, the same for all in one call, or a single number."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and shapes that differ (ValueError)."""
        array = np.asarray(value) if _number(value) else value
        rank = getattr(array, "ndim", 0)
        rank, _ = seen.lengths.setdefault("rank", (rank, name))
        _check_array(name, array, " ".join(f"n_{axis}" for axis in range(rank)), seen)


class AsTheyAre(Numbers):
    """An array of real numbers that keeps its dtype, as it is only moved around."""


class Labels(Numbers):
    """Labels of a named shape (n, m), or (m,) for one row, as the exercises have them."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and shapes (ValueError)."""
        super().check(name, value[None] if getattr(value, "ndim", 0) == 1 else value, seen)


class Real:
    """A real number."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no real number with TypeError."""
        if not _number(value):
            raise TypeError(f"expected {name} to be a real number, got {describe(value)}")


class Seed:
    """A seed of NumPy's legacy generator."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse what is no whole number (TypeError) or outside of 0..2^32 - 1 (ValueError)."""
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"expected {name} to be a whole number, got {describe(value)}")
        if not 0 <= value <= _LARGEST_SEED:
            raise ValueError(f"expected {name} in 0..{_LARGEST_SEED}, got {value}")


class Sizes:
    """Layer sizes [n_0, ..., n_L]."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), fewer than two sizes or sizes below 1 (ValueError)."""
        if not isinstance(value, tuple | list) or not all(
            isinstance(n, int | np.integer) and not isinstance(n, bool) for n in value
        ):
            raise TypeError(f"expected {name} to be a list of whole numbers, got {describe(value)}")
        if len(value) < 2 or min(value) < 1:
            raise ValueError(
                f"expected {name} to hold two or more sizes of at least 1, got {value}"
            )
        seen.lengths["n_0"], seen.lengths["n_L"] = (value[0], name), (value[-1], name)


def layer_names(depth: int, prefix: str = "") -> list[str]:
    """Return W1, b1, ..., WL, bL, each behind the prefix."""
    return [f"{prefix}{letter}{l}" for l in range(1, depth + 1) for letter in "Wb"]


def _layer_shapes(depth: int, chained: bool) -> Iterator[str]:
    for l in range(1, depth + 1):
        yield f"n_{l} n_{l - 1}" if chained else f"n_{l} n_prev_{l}"
        yield f"n_{l} 1"


@dataclass(frozen=True)
class Layers:
    """A dictionary {"W1", "b1", ..., "WL", "bL"}, each layer fed by the one before if `chained`."""

    depth: int | None = None
    chained: bool = True

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), keys and shapes (ValueError)."""
        # a layer without its b is one layer more, for the refusal to name what is missing
        depth = self.depth or max(1, (len(value) + 1) // 2 if isinstance(value, Mapping) else 1)
        names = layer_names(depth)
        _check_dictionary(name, value, names, others=".*")
        for key, shape in zip(names, _layer_shapes(depth, self.chained), strict=True):
            _check_array(f"{name}[{key!r}]", value[key], shape, seen)
        for l in range(1, depth + 1):  # the gradients' shapes, whether layers are chained or not
            seen.lengths[f"n_prev_{l}"] = value[f"W{l}"].shape[1], f"{name}['W{l}']"
        seen.lengths["depth"] = depth, name
        seen.lengths["n_L"] = len(value[f"W{depth}"]), f"{name}['W{depth}']"


def _gradient_depth(gradients: Any) -> int:
    keys = gradients if isinstance(gradients, Mapping) else ()
    matches = (re.fullmatch(r"d[Wb]([1-9]\d*)", str(key)) for key in keys)
    return max((int(match[1]) for match in matches if match), default=1)


class Gradients:
    """A dictionary with {"dW1", "db1", ...}, shaped like the parameters met before.

    It may hold more, such as dA1 and dZ1.
    """

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), missing keys and shapes that differ (ValueError)."""
        depth, _ = seen.lengths.get("depth", (_gradient_depth(value), name))
        names = layer_names(depth, "d")
        _check_dictionary(name, value, names, others=r"d[Wb]\d+")
        for key, shape in zip(names, _layer_shapes(depth, chained=False), strict=True):
            _check_array(f"{name}[{key!r}]", value[key], shape, seen)


class Fields:
    """A tuple of arrays with names and shapes, in that order."""

    def __init__(self, shapes: Mapping[str, str]) -> None:
        """Take the name and shape of each array."""
        self.shapes = shapes

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), lengths and shapes (ValueError)."""
        _check_sequence(name, value, f"({', '.join(self.shapes)})", len(self.shapes))
        for (key, shape), one in zip(self.shapes.items(), value, strict=True):
            _check_array(f"{key} in {name}", one, shape, seen)


class Entries(Fields):
    """A dictionary with arrays of these keys and shapes; it may hold more."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), missing keys and shapes that differ (ValueError)."""
        _check_dictionary(name, value, list(self.shapes), others="")
        for key, shape in self.shapes.items():
            _check_array(f"{name}[{key!r}]", value[key], shape, seen)


@dataclass(frozen=True)
class LayerCache:
    """A pair ((A_prev, W, b), Z) of a layer's linear and activation caches."""

    n: str = "n"
    n_prev: str = "n_prev"

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), lengths and shapes (ValueError)."""
        _check_sequence(name, value, "(linear_cache, activation_cache)", 2)
        n, n_prev = self.n, self.n_prev
        linear = Fields({"A_prev": f"{n_prev} m", "W": f"{n} {n_prev}", "b": f"{n} 1"})
        linear.check(f"the linear cache in {name}", value[0], seen)
        _check_array(f"Z in {name}", value[1], f"{n} m", seen)


class LayerCaches:
    """A list of layers' caches, each layer fed by the one before."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), lengths and shapes (ValueError)."""
        _check_sequence(name, value, "of the layers' caches")
        for l, cache in enumerate(value, start=1):
            LayerCache(f"n_{l}", f"n_{l - 1}").check(f"{name}[{l - 1}]", cache, seen)
        seen.lengths["n_L"] = len(value[-1][1]), f"Z in {name}[{len(value) - 1}]"


@dataclass(frozen=True)
class FlatCache:
    """A tuple (Z1, A1, W1, b1, Z2, ...), with D1, D2, ... behind the hidden Z if `dropout`."""

    depth: int | None = None
    dropout: bool = False

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), lengths and shapes (ValueError)."""
        _check_sequence(name, value, "(Z1, A1, W1, b1, ...)")
        depth = self.depth or max(1, len(value) // 4)
        shapes: dict[str, str] = {}
        for l in range(1, depth + 1):
            shapes[f"Z{l}"] = f"n_{l} m"
            if self.dropout and l < depth:
                shapes[f"D{l}"] = f"n_{l} m"
            shapes[f"A{l}"] = f"n_{l} m"
            shapes[f"W{l}"], shapes[f"b{l}"] = f"n_{l} n_{l - 1}", f"n_{l} 1"
        Fields(shapes).check(name, value, seen)
        seen.lengths["n_L"] = len(value[-1]), f"b{depth} in {name}"


def _leaves(value: Any) -> Iterator[Array]:
    """Yield every array in nested tuples and dictionaries."""
    if isinstance(value, np.ndarray):
        yield value
    else:
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)


def in_dtype(value: Any, dtype: Any) -> Any:
    """Return the same nest with every array in that dtype, the same array where it is already."""
    if isinstance(value, np.ndarray):
        return np.asarray(value, dtype)
    if isinstance(value, dict):
        return {key: in_dtype(one, dtype) for key, one in value.items()}
    return tuple(in_dtype(one, dtype) for one in value)


def _plain(kind: Expected, value: Any) -> Any:
    """Return arrays in tuples and dictionaries, without the entries of which nothing is known."""
    if isinstance(kind, AnyShape):
        return np.asarray(value)
    if isinstance(kind, Labels):
        return np.atleast_2d(value)
    if isinstance(kind, Entries):
        return {key: value[key] for key in kind.shapes}
    if isinstance(kind, Gradients):
        return {key: value[key] for key in layer_names(_gradient_depth(value), "d")}
    return dict(value) if isinstance(value, Mapping) else value


_HELD = (Numbers, Layers, Gradients, Fields, LayerCache, LayerCaches, FlatCache, AnyShape)


def validated(**expected: Expected | str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that refuses bad arguments and hands arrays on as floats of one dtype.

    A string stands for `Numbers(string)`. `scratch._validation.unchecked` gives the bare function.
    """
    table = {name: Numbers(one) if isinstance(one, str) else one for name, one in expected.items()}
    held = {
        name: one
        for name, one in table.items()
        if isinstance(one, _HELD) and not isinstance(one, AsTheyAre)
    }

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            check(table, bound.arguments)
            plain = {name: _plain(one, bound.arguments[name]) for name, one in held.items()}
            floating = {one.dtype for one in _leaves(plain) if one.dtype.type in DTYPES}
            dtype = np.result_type(*floating) if floating else np.dtype(np.float64)
            bound.arguments.update(in_dtype(plain, dtype))
            return function(*bound.args, **bound.kwargs)

        checked.__validation__ = table  # type: ignore[attr-defined]
        return checked

    return decorate
