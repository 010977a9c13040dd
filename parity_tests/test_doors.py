"""Doors: both sides expect the same of the same argument, and choices are frozen and named."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import scratch
import scratch.course
import torch_ref
from parity_tests.test_architecture import key
from parity_tests.test_bad_input import EXAMPLES, expectations, find, fingerprint

#: what is compared of an expectation, by its kind: numbers, names, values; layouts differ.
COMPARED = {
    "Number": lambda one: one.interval,
    "Whole": lambda one: one.at_least,
    "OneOf": lambda one: list(one.names),
    "Floats": lambda one: one.values,
    "Optional": lambda one: comparable(one.expected),
}

#: labels that torch_ref looks at once it knows the module's output.
LATER = {"network.cost_and_gradients", "network.layer_norms", "gradient_checking.check_network"}

#: a schedule is a function of ours, and torch's own object there.
OWN_KIND = {"schedule"}


def comparable(expected):
    """Return the kind of an expectation and what of it both sides must share, if anything."""
    kind = type(expected).__name__
    return (kind, COMPARED[kind](expected)) if kind in COMPARED else kind


def twin_doors():
    """Yield (path, path of its twin, argument) for what both sides expect by one name."""
    theirs = {}
    for path in EXAMPLES:
        package, stem, name = path.split(".")[:3]
        if package == "torch_ref":
            theirs[stem, key(name)] = path
    for path in EXAMPLES:
        package, stem, name = path.split(".")[:3]
        twin = theirs.get((stem, key(name)))
        if package != "scratch" or name.endswith("_backward") or twin is None:
            continue
        later = {"Y"} if path.removeprefix("scratch.") in LATER else set()
        shared = expectations(path).keys() & expectations(twin).keys()
        for argument in sorted(shared - later - OWN_KIND):
            yield pytest.param(path, twin, argument, id=f"{path.partition('.')[2]}({argument})")


@pytest.mark.parametrize(("ours", "theirs", "argument"), list(twin_doors()))
def test_twins_expect_the_same(ours, theirs, argument):
    """An interval, a least number or a set of names is one and the same on both sides."""
    mine, other = (
        comparable(expectations(ours)[argument]),
        comparable(expectations(theirs)[argument]),
    )
    if isinstance(mine, tuple) or isinstance(other, tuple):
        assert mine == other


def ends(expected):
    """Yield the numbers at the closed ends of what is expected."""
    kind = type(expected).__name__
    if kind == "Optional":
        yield from ends(expected.expected)
    elif kind == "Whole":
        yield expected.at_least
    elif kind == "Number":
        low, high = expected.interval[1:-1].split(",")
        if expected.interval[0] == "[":
            yield float(low)
        if expected.interval[-1] == "]":
            yield float(high)


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_ends_of_an_interval_are_let_in(path):
    """What a closed interval ends with passes the door, as a number of Python's and of NumPy's."""
    table = expectations(path)
    for name, expected in table.items():
        for end in ends(expected):
            for value in (end, np.float64(end) if isinstance(end, float) else np.int64(end)):
                seen = importlib.import_module(f"{path.partition('.')[0]}._door").Seen()
                expected.admit(name, value, seen)


def built(text):
    """Return an equal string that is another object."""
    other = "".join(list(text))
    assert other is not text or len(text) < 2
    return other


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_equal_name_is_as_good_as_the_same(path):
    """A name that was read from a file, say, is another object and means the same."""
    arguments = EXAMPLES[path]
    names = [name for name, value in arguments.items() if isinstance(value, str)]
    if not names:
        return
    generator = torch.Generator().manual_seed(0)
    pair = []
    for change in (lambda text: text, built):
        mine = copy.deepcopy(arguments)
        mine |= {name: change(arguments[name]) for name in names}
        if isinstance(mine.get("rng"), np.random.Generator):
            mine["rng"] = np.random.default_rng(0)
        if isinstance(mine.get("generator"), torch.Generator):
            mine["generator"] = generator.manual_seed(0)
        result = find(path)(**mine)
        pair.append(fingerprint(list(result) if hasattr(result, "__next__") else result))
    assert pair[0] == pair[1]


def choices():
    """Yield every dataclass of both sides."""
    for package in (scratch, scratch.course, torch_ref):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.ispkg:
                continue
            for one in vars(importlib.import_module(module.name)).values():
                if dataclasses.is_dataclass(one) and one.__module__ == module.name:
                    yield pytest.param(one, id=f"{module.name}.{one.__name__}")


#: what holds time rather than choices.
STATES = {"Seen", "EarlyStoppingState", "History"}

#: what reads better without names: Number("[0, 1)").
POSITIONAL = {"_door", "_kinds", "Draws"}


@pytest.mark.parametrize("one", list(choices()))
def test_choices_are_frozen_and_named(one):
    """A dataclass of choices can be shared safely, and its fields cannot be mixed up."""
    parameters = one.__dataclass_params__
    if one.__name__ in STATES:
        assert not parameters.frozen
        return
    assert parameters.frozen
    if one.__module__.rpartition(".")[2] not in POSITIONAL and one.__name__ not in POSITIONAL:
        assert all(field.kw_only for field in dataclasses.fields(one))
