"""Bad values for the course's vocabulary, which asks for kinds and shapes and lets values pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scratch._validation import Seen
from scratch.course import _kinds

#: module of the kinds that are spoilt here.
KINDS = _kinds.__name__

#: values of wrong types, and wrong values of the right one.
Bad = tuple[list[Any], list[Any]]

#: values that are neither numbers nor arrays.
NO_NUMBERS = (None, "text", [[1.0]], 1j, {"W1"}, object())


def lengths(expected: Any, value: Any) -> list[str]:
    """Return the lengths that a value binds for the other arguments."""
    seen = Seen()
    expected.check("value", value, seen)
    return list(seen.lengths)


def spoil(expected: Any, value: Any, others: list[str]) -> Bad:
    """Return every way to spoil an argument, given the lengths that the other arguments bind."""
    bound = set(others)
    match expected:
        case _kinds.Real():
            return [None, "1", [1], 1j, True, np.ones(1)], []
        case _kinds.Seed():
            return [None, "1", [1], 1j, True, np.ones(1), 1.5], [-1, 2**32]
        case _kinds.Sizes():
            longer = {"n_0": [value[0] + 1, *value[1:]], "n_L": [*value[:-1], value[-1] + 1]}
            wrong = [[], [4], [4, 0, 1], [4, -1, 1]]
            types = [None, 3, "45", [4, 5.0, 1], [4, True, 1], {4: 5}, np.array([4, 5, 1])]
            return types, wrong + [one for name, one in longer.items() if name in bound]
        case _kinds.AnyShape():
            symbols = [f"n_{axis}" for axis in range(np.ndim(value))]
            return _numbers(symbols, value, bound, any_rank="rank" not in bound)
        case _kinds.Labels():
            return _numbers(expected.shape.split(), value, bound, flat=True)
        case _kinds.Numbers():
            return _numbers(expected.shape.split(), value, bound)
        case _kinds.Layers() | _kinds.Gradients() | _kinds.Entries():
            return _dictionary(expected, dict(value), bound)
        case _:
            return _tuple(expected, value, bound)


def _numbers(
    symbols: list[str], value: Any, bound: set[str], flat: bool = False, any_rank: bool = False
) -> Bad:
    """Spoil an array: its kind, its rank, and its length along each axis that is bound."""
    array = np.asarray(value)
    types = [*NO_NUMBERS, *map(array.astype, (complex, object, str)), np.ma.masked_array(value)]
    types += [array.view(np.matrix)] if array.ndim == 2 else []
    wrong: list[Any] = []
    if not any_rank:
        wrong += [array[None], np.array(array.flat[0]), array[:0]]
        wrong += [] if flat else [array[0]]
    for axis, symbol in enumerate(symbols):
        if symbol.isdigit() or symbol in bound:
            wrong.append(np.repeat(array, 2, axis))
            wrong += [np.delete(array, 0, axis)] if array.shape[axis] > 1 else []
    return types, wrong


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


def _dictionary(expected: Any, value: dict[str, Any], bound: set[str]) -> Bad:
    """Spoil a dictionary: its kind, its keys, and each of its arrays."""
    shapes = _shapes(expected, value)
    first = next(iter(shapes))
    wrong = [{key: one for key, one in value.items() if key != name} for name in shapes]
    renamed = {key.lower() if key == first else key: one for key, one in value.items()}
    bad: Bad = [None, "text", list(value.values()), 1.0], [{}, *wrong, renamed]
    if not isinstance(expected, _kinds.Entries):
        bad[1].append(value | {f"{first[:-1]}9": value[first]})
    if isinstance(expected, _kinds.Layers):
        bad[1].append(value | {"c": value[first]})
    for name, symbols in shapes.items():
        rest = {one for other, shape in shapes.items() if other != name for one in shape}
        for all_bad, spoilt in zip(bad, _numbers(symbols, value[name], bound | rest), strict=True):
            all_bad.extend(value | {name: one} for one in spoilt)
    return bad


def _tuple(expected: Any, value: Any, bound: set[str]) -> Bad:
    """Spoil a cache: its kind, its length, and each array in it, all of whose lengths are bound."""
    bad: Bad = [None, "text", 1.0, {"Z": 1}], [()]
    if not isinstance(expected, _kinds.LayerCaches):  # a list of caches may have any length
        bad[1].extend([tuple(value)[:-1], (*value, value[-1])])
    for place, one in enumerate(value):
        if isinstance(one, np.ndarray):
            symbols = [f"n{axis}" for axis in range(one.ndim)]
            inside = _numbers(symbols, one, {*symbols, *bound})
        else:
            inside = _tuple(None, one, bound)
        for all_bad, spoilt in zip(bad, inside, strict=True):
            all_bad.extend((*value[:place], bad_one, *value[place + 1 :]) for bad_one in spoilt)
    return bad
