"""Bad values for the course's vocabulary, which asks for kinds and shapes and lets values pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scratch._validation import Seen
from scratch.course import _kinds

#: module of the kinds that are spoilt here.
KINDS = _kinds.__name__

#: (how, bad value, error).
Spoilt = Iterator[tuple[str, Any, type]]

#: what is neither a number nor an array.
NO_NUMBERS = (None, "text", [[1.0]], 1j, {"W1"}, object())


def lengths(expected: Any, value: Any) -> list[str]:
    """Return the lengths that a value binds for the other arguments."""
    seen = Seen()
    expected.check("value", value, seen)
    return list(seen.lengths)


def spoil(expected: Any, value: Any, others: list[str]) -> Spoilt:
    """Yield every way to spoil an argument, given the lengths that the other arguments bind."""
    bound = set(others)
    match expected:
        case _kinds.Real() | _kinds.Seed():
            yield from ((repr(bad), bad, TypeError) for bad in (None, "1", [1], 1j, True))
            yield "an array", np.ones(1), TypeError
            if isinstance(expected, _kinds.Seed):
                yield "a fraction", 1.5, TypeError
                yield from ((str(bad), bad, ValueError) for bad in (-1, 2**32))
        case _kinds.Sizes():
            for bad in (None, 3, "45", [4, 5.0, 1], [4, True, 1], {4: 5}, np.array([4, 5, 1])):
                yield repr(bad), bad, TypeError
            for few in ([], [4], [4, 0, 1], [4, -1, 1]):
                yield repr(few), few, ValueError
            for length, place in (("n_0", 0), ("n_L", -1)):
                if length in bound:
                    longer = list(value)
                    longer[place] += 1
                    yield f"another {length}", longer, ValueError
        case _kinds.AnyShape():
            symbols = [f"n_{axis}" for axis in range(np.ndim(value))]
            yield from _numbers(symbols, value, bound, any_rank="rank" not in bound)
        case _kinds.Labels():
            yield from _numbers(expected.shape.split(), value, bound, flat=True)
        case _kinds.Numbers():
            yield from _numbers(expected.shape.split(), value, bound)
        case _kinds.Layers() | _kinds.Gradients() | _kinds.Entries():
            yield from _dictionary(expected, dict(value), bound)
        case _:
            yield from _tuple(expected, value, bound)


def _numbers(
    symbols: list[str],
    value: Any,
    bound: set[str],
    flat: bool = False,
    any_rank: bool = False,
) -> Spoilt:
    """Spoil an array: its kind, its rank, and its length along each axis that is bound."""
    yield from ((f"{type(bad).__name__}", bad, TypeError) for bad in NO_NUMBERS)
    for kind in (complex, object, str):
        yield kind.__name__, np.asarray(value).astype(kind), TypeError
    yield "masked", np.ma.masked_array(value), TypeError
    if np.ndim(value) == 2:
        yield "a matrix", np.asarray(value).view(np.matrix), TypeError
    if not any_rank:
        yield "one axis more", np.asarray(value)[None], ValueError
        yield "no axis", np.array(np.asarray(value).flat[0]), ValueError
        yield "nothing in it", value[:0], ValueError
        if not flat:
            yield "one axis less", value[0], ValueError
    for axis, symbol in enumerate(symbols):
        if symbol.isdigit() or symbol in bound:
            yield f"twice the {symbol}", np.repeat(value, 2, axis), ValueError
            if value.shape[axis] > 1:
                yield f"one {symbol} less", np.delete(value, 0, axis), ValueError


def _shapes(expected: Any, value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names and lengths of the arrays that a dictionary must hold."""
    if isinstance(expected, _kinds.Entries):
        return {name: shape.split() for name, shape in expected.shapes.items()}
    prefix = "d" if isinstance(expected, _kinds.Gradients) else ""
    chained = getattr(expected, "chained", False)
    shapes: dict[str, list[str]] = {}
    for l in range(1, sum(name.startswith(f"{prefix}W") for name in value) + 1):
        width = f"n_{l - 1}" if chained else f"n_prev_{l}"
        shapes |= {f"{prefix}W{l}": [f"n_{l}", width], f"{prefix}b{l}": [f"n_{l}", "1"]}
    return shapes


def _dictionary(expected: Any, value: dict[str, Any], bound: set[str]) -> Spoilt:
    """Spoil a dictionary: its kind, its keys, and each of its arrays."""
    shapes = _shapes(expected, value)
    first = next(iter(shapes))
    for bad in (None, "text", list(value.values()), 1.0):
        yield type(bad).__name__, bad, TypeError
    yield "nothing in it", {}, ValueError
    for name in shapes:
        yield f"no {name}", {key: one for key, one in value.items() if key != name}, ValueError
    renamed = {key.lower() if key == first else key: one for key, one in value.items()}
    yield f"{first} in small letters", renamed, ValueError
    if not isinstance(expected, _kinds.Entries):
        yield "one layer more", value | {f"{first[:-1]}9": value[first]}, ValueError
    if isinstance(expected, _kinds.Layers):
        yield "another key", value | {"c": value[first]}, ValueError
    for name, symbols in shapes.items():
        rest = {one for other, shape in shapes.items() if other != name for one in shape}
        for how, bad, error in _numbers(symbols, value[name], bound | rest):
            yield f"{name}: {how}", value | {name: bad}, error


def _tuple(expected: Any, value: Any, bound: set[str], nested: str = "") -> Spoilt:
    """Spoil a cache: its kind, its length, and each array in it, all of whose lengths are bound."""
    for bad in (None, "text", 1.0, {"Z": 1}):
        yield f"{nested}{type(bad).__name__}", bad, TypeError
    yield f"{nested}empty", (), ValueError
    if not isinstance(expected, _kinds.LayerCaches):  # a list of caches may have any length
        yield f"{nested}short", tuple(value)[:-1], ValueError
        yield f"{nested}long", (*value, value[-1]), ValueError
    for place, one in enumerate(value):
        where = f"{nested}{place}: "
        if isinstance(one, np.ndarray):
            symbols = [f"n{axis}" for axis in range(one.ndim)]
            inside = _numbers(symbols, one, {*symbols, *bound})
        else:
            inside = _tuple(None, one, bound, where)
        for how, bad, error in inside:
            yield f"{where}{how}", (*value[:place], bad, *value[place + 1 :]), error
