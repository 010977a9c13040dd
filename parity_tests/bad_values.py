"""Bad values: how to spoil a valid argument in every way that its validation excludes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from parity_tests import bad_course_values as course
from parity_tests.bad_course_values import Bad

_ORDER = np.array([2, 0, 3, 1])

#: entries that are no such values.
BEYOND = {
    "labels": (0.5, 2),
    "one-hot": (0.5, 2),
    "probabilities": (-0.1, 1.1),
    "mask": (-0.1, 0.5),
}


def bad_values(expected: Any, value: Any, others: list[str]) -> Iterator[tuple[str, Any, type]]:
    """Yield (description, bad value, error) for whatever an argument is expected to be."""
    for error, spoilt in zip((TypeError, ValueError), spoil(expected, value, others), strict=True):
        for bad in spoilt:
            said = re.sub(r"\s+", " ", repr(bad))
            yield f"{type(bad).__name__} {said:.60}", bad, error


def lengths_of(expected: Any, value: Any) -> list[str]:
    """Return the lengths that an argument binds, of an array or of a cache's fields."""
    if type(expected).__module__ == course.KINDS:
        return course.lengths(expected, value)
    shapes = [getattr(expected, "shape", ""), *getattr(expected, "shapes", {}).values()]
    return " ".join(one for one in shapes if isinstance(one, str)).split()


def spoil_floats(expected: Any, value: Any, others: list[str]) -> Bad:
    """Spoil a floating array or tensor."""
    tensor, shape = isinstance(value, torch.Tensor), expected.shape.split()
    values: Any = value.detach() if tensor else np.asarray(value)
    cast = (lambda kind: values.to(getattr(torch, kind))) if tensor else values.astype
    join: Any = torch.cat if tensor else np.concatenate
    types = [None, "data", values.tolist() if values.ndim else [1.0], cast("bool"), cast("float16")]
    types.append(torch.ones(2, 2).long() if tensor else cast("int64"))
    if not tensor:
        types += [cast("object"), cast("complex128"), np.ma.masked_array(values)]
        types += [values.view(np.matrix)] if values.ndim == 2 else []
    if others and shape:
        types.append(cast("float32" if "64" in str(values.dtype) else "float64"))
    wrong = [values[..., None], *([values[0]] if len(shape) > 1 else [])]
    for axis, length in enumerate(shape):
        before = (slice(None),) * axis
        wrong.append(values[(*before, slice(0, 0))])
        if length.isdigit() or length in others:
            wrong.append(join([values, values], axis))
            wrong += [values[(*before, slice(1, None))]] if values.shape[axis] > 1 else []
    infinite = (np.nan, np.inf, -np.inf) if expected.values != "any" else ()
    for entry in (*BEYOND.get(expected.values, ()), *infinite):
        spoilt = copy.deepcopy(values)
        spoilt[(0,) * values.ndim] = entry
        array = isinstance(value, np.ndarray | torch.Tensor)
        wrong.append(spoilt if array else type(value)(entry))
    return types, [*wrong, *([0 * values] if expected.values == "one-hot" else [])]


def spoil_number(interval: str) -> Bad:
    """Spoil a number in an interval."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    beyond: list[Any] = [high + 0.5] if np.isfinite(high) else [10**400]
    beyond += [low - 0.5] if np.isfinite(low) else []
    ends = [low] * (interval[0] == "(") + [high] * (interval[-1] == ")")
    types = ["0.1", True, None, 1j, np.complex128(1)]
    return types, [*beyond, *filter(np.isfinite, ends), np.nan, np.inf]


def spoil(expected: Any, value: Any, others: list[str]) -> Bad:
    """Return values of wrong types, and wrong values of the right one."""
    if type(expected).__module__ == course.KINDS:
        return course.spoil(expected, value, others)
    match type(expected).__name__:
        case "Optional":
            types, wrong = spoil(expected.expected, value, others)
            return [one for one in types if one is not None], wrong
        case "Floats":
            return spoil_floats(expected, value, others)
        case "Number":
            return spoil_number(expected.interval)
        case "Whole":
            return [2.0, True, "2"], [expected.at_least - 1]
        case "OneOf":
            return [3, None], ["no such name"]
        case "Order":
            wrong = [[0, 0, 1, 2], [1, 2, 3, 4], [[0, 1, 2, 3]], [], *([[1, 0]] * ("m" in others))]
            return [np.array([0.0, 1.0]), "0123"], [np.array(one, int) for one in wrong]
        case "Shape":
            return [3, (1, 2, 3), (1.0, 2.0)], [(0, 2)]
        case "Dtype":
            return ["int64", bool, object, "no dtype", None], []
        case "Instance" | "Rule":
            return [object(), None, type(value)], []
        case "Function":
            return [None, 3, "cost"], []
        case "LayerSizes":
            return [3, (3.0, 2.0, 2.0, 1.0), (True, *value[1:])], [value[:1], (0, *value[1:])]
        case "KeepProbs":
            none, above, text = ((one,) * len(value) for one in (0.0, 1.5, "0.5"))
            return [0.5, text], [(*value, 0.5), value[1:], none, above]
        case "_Stream":
            wrong = [[_ORDER], [_ORDER[:2] % 2, _ORDER], [0 * _ORDER, _ORDER]]
            types = [3, None, "0123", {"D1": np.ones((3, 4))}]
            return (types, []) if value is None else ([*types, [1] * len(value)], wrong)
        case "_Pair":
            return [(value[0],), (), list(value)], [(value[0][:2], value[1])]
        case "_Rates":
            return [None, [*value], 0.1, (0.1, "0.1"), (True,)], [(), (0.1, 0.0), (np.nan,)]
        case "_Pieces":
            types = [None, dict(value), (0.1, 0.2), ((1, 0.1, 0.2),), ((1,),), ((1.0, 0.1),)]
            twice, falling = ((3, 0.1), (3, 0.2)), ((3, 0.1), (2, 0.2))
            return [*types, ((1, "0.1"),)], [(), ((0, 0.1),), twice, falling, ((1, 0.0),)]
        case "_Tensors":
            return [None, 3, "parameters", torch.nn.Linear, [1.0]], [[], [torch.ones(2)]]
        case "_Ratios":
            parts = (50.0, 50.0), (0.5, 0.4999), (0.6, 0.6), (0.75, 0.75, 0.5), (0.5, 0.5, 0.0)
            wrong = [(), (1 - 1e-10,), *parts, (0.7, 0.7, -0.4), (0.5, np.nan)]
            types = [0.5, None, "0.5", ("0.5", "0.5"), (1, 0), np.array(value)]
            return types, [*wrong, (1.0, 1e-10), (1 + 1e-10, 1e-11)]
        case "_Members":  # indices, of which the first and the last column are one
            wrong = [value + 1, value - 1, value[None], value[:0]]
            return [value.astype(float), value == 0, "01", None], wrong
        case "_WholeNumbers":
            low, high = expected.low, expected.high
            wrong = [value[None], value[..., :-1], value[:-1]]
            wrong += [value - value.min() - 1] if low is not None else []
            wrong += [value - value.max() + high + 1] if high is not None else []
            return [value + 0.5, value == 1, "101", None], wrong
        case "_Sizes":
            arrays = [np.array(3), np.array([[1, 2]]), np.array([1.0, 2.0]), torch.tensor(3)]
            wrong = [[], np.array([], int), [0, 1], [2, 1], [2, 2], [1, 10**6]]
            return [None, 4, "4", [1.0, 2.0], {1, 2}, *arrays], wrong
        case "Draws":
            beyond = value * np.nan, value + (1 - value), value - 1
            return [value.tolist()], [value[0], *beyond, value[:1, :1]]
        case "Space":
            numbered = dict(enumerate(value.values()))
            return [None, [*value.values()], dict.fromkeys(value, (0.1, 0.9)), numbered], [{}]
        case "_Point":
            return [None, [*value.items()], {0: 1.0}], []
        case "_Several":
            return [None, "points", value[0], iter(value), [1.0]], [[]]
    raise AssertionError(f"no way to spoil {expected}")
