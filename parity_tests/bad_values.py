"""Bad values: how to spoil a valid argument in every way that its validation excludes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from parity_tests import bad_course_values as course

Spoilt = Iterator[tuple[str, Any, type]]

#: ways to spoil an argument of a kind that one stem alone expects, by the kind's name.
OWN_KINDS: dict[str, Callable[[Any, Any], Iterator[tuple[str, Any, type]]]] = {}

_ORDER = np.array([2, 0, 3, 1])


def lengths_of(expected: Any, value: Any) -> list[str]:
    """Return the lengths that an argument binds, of an array or of a cache's fields."""
    if type(expected).__module__ == course.KINDS:
        return course.lengths(expected, value)
    shapes = [getattr(expected, "shape", ""), *getattr(expected, "shapes", {}).values()]
    return " ".join(one for one in shapes if isinstance(one, str)).split()


def spoil_floats(expected: Any, value: Any, others: list[str]) -> Iterator[tuple[str, Any, type]]:
    """Yield (how, bad value, error) for a floating array or tensor."""
    torch_side = isinstance(value, torch.Tensor)
    values: Any = value.detach() if torch_side else np.asarray(value)
    cast = (lambda kind: values.to(getattr(torch, kind))) if torch_side else values.astype
    yield "None", None, TypeError
    yield "a string", "data", TypeError
    yield "a list", values.tolist() if values.ndim else [1.0], TypeError
    yield "whole numbers", torch.ones(2, 2).long() if torch_side else cast("int64"), TypeError
    yield "booleans", cast("bool"), TypeError
    if not torch_side:
        yield "objects", cast("object"), TypeError
        yield "complex", cast("complex128"), TypeError
        yield "a masked array", np.ma.masked_array(values), TypeError
        if values.ndim == 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PendingDeprecationWarning)
                yield "a matrix", np.asmatrix(values), TypeError
    yield "half precision", cast("float16"), TypeError
    yield "one axis more", values[..., None], ValueError
    if expected.values != "any":
        for poison in (np.nan, np.inf, -np.inf):
            spoilt = copy.deepcopy(values)
            spoilt[(0,) * values.ndim] = poison
            array = isinstance(value, np.ndarray | torch.Tensor)
            yield f"{poison} inside", spoilt if array else type(value)(poison), ValueError
    symbols = expected.shape.split()
    for axis, symbol in enumerate(symbols):
        yield f"no {symbol}", values[(slice(None),) * axis + (slice(0, 0),)], ValueError
        if symbol.isdigit() or symbol in others:
            join: Any = torch.cat if torch_side else np.concatenate
            longer = join([values, values], axis)
            yield f"twice the {symbol}", longer, ValueError
            if values.shape[axis] > 1:
                yield (
                    f"one {symbol} less",
                    values[(slice(None),) * axis + (slice(1, None),)],
                    ValueError,
                )
    if len(symbols) > 1:
        yield "one axis less", values[0], ValueError
    if others and symbols:
        other = "float32" if "64" in str(values.dtype) else "float64"
        yield "another precision", cast(other), TypeError
    for bad in {
        "labels": (0.5, 2.0),
        "one-hot": (0.5, 2.0),
        "probabilities": (-0.1, 1.1),
        "mask": (-0.1, 0.5),
    }.get(expected.values, ()):
        spoilt = copy.deepcopy(values)
        spoilt[(0,) * values.ndim] = bad
        yield f"{bad} inside", spoilt, ValueError
    if expected.values == "one-hot":
        yield "no class", 0 * values, ValueError


def spoil_number(expected: Any) -> Iterator[tuple[str, Any, type]]:
    """Yield (how, bad value, error) for a number in an interval."""
    low, high = (float(end) for end in expected.interval[1:-1].split(","))
    yield "a string", "0.1", TypeError
    yield "a boolean", True, TypeError
    yield "None", None, TypeError
    yield "complex", 1j, TypeError
    yield "a complex scalar", np.complex128(1), TypeError
    yield "NaN", float("nan"), ValueError
    yield "infinity", float("inf"), ValueError
    if not np.isfinite(high):
        yield "beyond every float", 10**400, ValueError
    if np.isfinite(low):
        yield "below", low - 0.5, ValueError
    if np.isfinite(high):
        yield "above", high + 0.5, ValueError
    if expected.interval[0] == "(" and np.isfinite(low):
        yield "the lower end", low, ValueError
    if expected.interval[-1] == ")" and np.isfinite(high):
        yield "the upper end", high, ValueError


def spoil_ratios(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for ratios of parts."""
    yield "a number", 0.5, TypeError
    yield "None", None, TypeError
    yield "a string", "0.5", TypeError
    yield "strings", ("0.5", "0.5"), TypeError
    yield "whole numbers", (1, 0), TypeError
    yield "an array", np.array(value), TypeError
    for how, bad in {
        "percent": (50.0, 50.0),
        "one part": (1 - 1e-10,),
        "nothing": (),
        "too little": (0.5, 0.4999),
        "too much": (0.6, 0.6),
        "twice all": (0.75, 0.75, 0.5),
        "a part of nothing": (0.5, 0.5, 0.0),
        "a negative part": (0.7, 0.7, -0.4),
        "all in one part": (1.0, 1e-10),
        "a part beyond all": (1 + 1e-10, 1e-11),
        "NaN": (0.5, float("nan")),
    }.items():
        yield how, bad, ValueError


def spoil_members(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for indices, of which the first and the last column are one."""
    yield "floats", value.astype(float), TypeError
    yield "a mask", value == 0, TypeError
    yield "a string", "01", TypeError
    yield "None", None, TypeError
    yield "beyond m", value + 1, ValueError
    yield "from the end", value - 1, ValueError
    yield "two axes", value[None], ValueError
    yield "empty", value[:0], ValueError


def spoil_whole_numbers(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for flips, offsets and shifts of images."""
    yield "floats", value + 0.5, TypeError
    yield "booleans", value == 1, TypeError
    yield "a string", "101", TypeError
    yield "None", None, TypeError
    yield "one axis more", value[None], ValueError
    yield "a column less", value[..., :-1], ValueError
    yield "an example less", value[:-1], ValueError
    if expected.low is not None:
        yield "below", value - value.min() - 1, ValueError
    if expected.high is not None:
        yield "above", value - value.max() + expected.high + 1, ValueError


def spoil_sizes(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for sizes of a training set."""
    yield "None", None, TypeError
    yield "a number", 4, TypeError
    yield "a string", "4", TypeError
    yield "floats", [1.0, 2.0], TypeError
    yield "an array of one number", np.array(3), TypeError
    yield "a matrix", np.array([[1, 2]]), TypeError
    yield "an array of floats", np.array([1.0, 2.0]), TypeError
    yield "a tensor of one number", torch.tensor(3), TypeError
    yield "a set", {1, 2}, TypeError
    yield "none", [], ValueError
    yield "an empty array", np.array([], int), ValueError
    yield "zero", [0, 1], ValueError
    yield "falling", [2, 1], ValueError
    yield "repeated", [2, 2], ValueError
    yield "beyond m", [1, 10**6], ValueError


def spoil_draws(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for uniform draws (k, n) of a space."""
    yield "a list", value.tolist(), TypeError
    yield "one axis less", value[0], ValueError
    yield "NaN inside", value * np.nan, ValueError
    yield "one", value + (1 - value), ValueError
    yield "negative", value - 1, ValueError
    yield "draws for another space", value[:1, :1], ValueError


def spoil_space(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for a space of scales."""
    yield "None", None, TypeError
    yield "a list", list(value.values()), TypeError
    yield "ranges", dict.fromkeys(value, (0.1, 0.9)), TypeError
    yield "numbers for names", dict(enumerate(value.values())), TypeError
    yield "nothing", {}, ValueError


def spoil_point(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for a point of a space."""
    yield "None", None, TypeError
    yield "pairs", list(value.items()), TypeError
    yield "numbers for names", {0: 1.0}, TypeError


def spoil_several(expected: Any, value: Any) -> Spoilt:
    """Yield (how, bad value, error) for points and trials."""
    yield "None", None, TypeError
    yield "a string", "points", TypeError
    yield "one alone", value[0], TypeError
    yield "a generator", (one for one in value), TypeError
    yield "numbers", [1.0], TypeError
    yield "nothing", [], ValueError


#: ways to spoil arguments of splits, augmentation, diagnosis and search.
DATA_KINDS: dict[str, Callable[[Any, Any], Spoilt]] = {
    "_Ratios": spoil_ratios,
    "_Members": spoil_members,
    "_WholeNumbers": spoil_whole_numbers,
    "_Sizes": spoil_sizes,
    "Draws": spoil_draws,
    "Space": spoil_space,
    "_Point": spoil_point,
    "_Several": spoil_several,
}


def bad_values(expected: Any, value: Any, others: list[str]) -> Iterator[tuple[str, Any, type]]:
    """Yield (how, bad value, error) for whatever an argument is expected to be."""
    kind = type(expected).__name__
    if type(expected).__module__ == course.KINDS:
        yield from course.spoil(expected, value, others)
    elif kind == "Optional":
        bad = bad_values(expected.expected, value, others)
        yield from ((how, one, error) for how, one, error in bad if one is not None)
    elif kind == "Floats":
        yield from spoil_floats(expected, value, others)
    elif kind == "Number":
        yield from spoil_number(expected)
    elif kind == "Whole":
        yield "a float", 2.0, TypeError
        yield "a boolean", True, TypeError
        yield "a string", "2", TypeError
        yield "too small", expected.at_least - 1, ValueError
    elif kind == "OneOf":
        yield "unknown", "no such name", ValueError
        yield "a number", 3, TypeError
        yield "None", None, TypeError
    elif kind == "Order":
        yield "floats", np.array([0.0, 1.0]), TypeError
        yield "a string", "0123", TypeError
        yield "repeated", np.array([0, 0, 1, 2]), ValueError
        yield "beyond m", np.array([1, 2, 3, 4]), ValueError
        yield "two axes", np.array([[0, 1, 2, 3]]), ValueError
        yield "empty", np.array([], int), ValueError
        if "m" in others:
            yield "too short", np.array([1, 0]), ValueError
    elif kind == "Shape":
        yield "no tuple", 3, TypeError
        yield "three", (1, 2, 3), TypeError
        yield "floats", (1.0, 2.0), TypeError
        yield "zero", (0, 2), ValueError
    elif kind == "Dtype":
        for name in ("int64", bool, object, "no dtype", None):
            yield str(name), name, TypeError
    elif kind == "LayerSizes":
        yield "a number", 3, TypeError
        yield "floats", (3.0, 2.0, 2.0, 1.0), TypeError
        yield "a boolean", (True, *value[1:]), TypeError
        yield "one", value[:1], ValueError
        yield "a zero", (0, *value[1:]), ValueError
    elif kind == "KeepProbs":
        yield "a number", 0.5, TypeError
        yield "strings", ("0.5",) * len(value), TypeError
        yield "one too many", (*value, 0.5), ValueError
        yield "one too few", value[1:], ValueError
        yield "zeros", (0.0,) * len(value), ValueError
        yield "above 1", (1.5,) * len(value), ValueError
    elif kind == "_Stream":
        yield "a number", 3, TypeError
        yield "None", None, TypeError
        yield "a string", "0123", TypeError
        yield "a mapping", {"D1": np.ones((3, 4))}, TypeError
        if value is None:
            return
        yield "numbers", [1, 2], TypeError
        yield "too few", [_ORDER], ValueError
        yield "too short", [_ORDER[:2] % 2, _ORDER], ValueError
        yield "no permutation", [0 * _ORDER, _ORDER], ValueError
    elif kind == "_Pair":
        yield "one", (value[0],), TypeError
        yield "none", (), TypeError
        yield "a list", list(value), TypeError
        yield "swapped precision", (value[0][:2], value[1]), ValueError
    elif kind in ("Instance", "Rule"):
        yield "another object", object(), TypeError
        yield "None", None, TypeError
        yield "its class", type(value), TypeError
    elif kind == "Function":
        yield "None", None, TypeError
        yield "a number", 3, TypeError
        yield "a string", "cost", TypeError
    elif kind == "_Rates":
        yield "None", None, TypeError
        yield "a list", list(value), TypeError
        yield "a number", 0.1, TypeError
        yield "none", (), ValueError
        yield "zero", (0.1, 0.0), ValueError
        yield "NaN", (float("nan"),), ValueError
        yield "a string", (0.1, "0.1"), TypeError
        yield "a boolean", (True,), TypeError
    elif kind == "_Pieces":
        yield "None", None, TypeError
        yield "a mapping", dict(value), TypeError
        yield "rates alone", (0.1, 0.2), TypeError
        yield "three", ((1, 0.1, 0.2),), TypeError
        yield "a count alone", ((1,),), TypeError
        yield "none", (), ValueError
        yield "a float as count", ((1.0, 0.1),), TypeError
        yield "from 0", ((0, 0.1),), ValueError
        yield "twice the same", ((3, 0.1), (3, 0.2)), ValueError
        yield "falling", ((3, 0.1), (2, 0.2)), ValueError
        yield "a rate of zero", ((1, 0.0),), ValueError
        yield "a string", ((1, "0.1"),), TypeError
    elif kind == "_Tensors":
        yield "None", None, TypeError
        yield "a number", 3, TypeError
        yield "a string", "parameters", TypeError
        yield "the class of a module", torch.nn.Linear, TypeError
        yield "numbers", [1.0], TypeError
        yield "no tensor", [], ValueError
        yield "tensors without gradients", [torch.ones(2)], ValueError
    elif kind in DATA_KINDS:
        yield from DATA_KINDS[kind](expected, value)
    elif kind in OWN_KINDS:
        yield from OWN_KINDS[kind](expected, value)
    else:
        raise AssertionError(f"no way to spoil {kind}")
