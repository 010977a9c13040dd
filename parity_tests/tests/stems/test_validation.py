"""Validation of arguments: the same expectations on both sides, and refusals that say what came."""

import dataclasses
import importlib
import inspect
import pkgutil
from functools import partial

import numpy as np
import pytest
import torch

import scratch
import scratch.course
import torch_ref
from parity_tests.bad_values import bad_values
from parity_tests.house import STEMS, key, public
from parity_tests.rows import SIDES
from parity_tests.tests.stems.common import SCHEDULES, refused
from scratch import _shapes, _validation
from scratch import schedules as our_schedules

#: parts of an expectation that both sides must share, by its kind; layouts differ.
SHARED = {"Number": "interval", "Whole": "at_least", "OneOf": "names", "Floats": "values"}

#: labels that torch_ref looks at once it knows the module's output; objects that differ.
LATER, DIFFERENT = {"cost_and_gradients", "layer_norms", "check_network"}, {"schedule", "optimizer"}


def shared(expected):
    """Return the kind of an expectation and the part of it that both sides share, or None."""
    kind = type(expected).__name__
    if kind == "Optional":
        return kind, shared(expected.expected)
    part = getattr(expected, SHARED[kind]) if kind in SHARED else None
    return kind, part if isinstance(part, str | int) or part is None else list(part)


def pairs():
    for stem in STEMS:
        theirs = {key(name): one for name, one in public("torch_ref", stem).items()}
        for name, one in public("scratch", stem).items():
            functions = inspect.isfunction(one) and inspect.isfunction(theirs.get(key(name)))
            choices = dataclasses.is_dataclass(one) and stem != "batch_norm"
            if choices or (functions and not name.endswith("_backward")):
                yield pytest.param(one, theirs[key(name)], id=f"{stem}.{name}")


@pytest.mark.parametrize(("ours", "theirs"), list(pairs()))
def test_twins_expect_the_same(ours, theirs):
    mine, other = (getattr(one, "__validation__", {}) for one in (ours, theirs))
    later = {"Y"} if ours.__name__ in LATER else set()
    for name in mine.keys() & other.keys() - later - DIFFERENT:
        assert shared(mine[name]) == shared(other[name]), name
    parameters, others = (inspect.signature(one).parameters for one in (ours, theirs))
    for name in parameters.keys() & others.keys():
        one, two = parameters[name], others[name]
        assert (one.kind, plain(one.default)) == (two.kind, plain(two.default)), name


def plain(default):
    """Return a plain default; of others, as dtypes have two names, whether there is one."""
    if isinstance(default, bool | int | float | str | tuple):
        return default
    return default is inspect.Parameter.empty


def choices():
    for package in (scratch, scratch.course, torch_ref):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for one in vars(importlib.import_module(module.name)).values():
                if dataclasses.is_dataclass(one) and one.__module__ == module.name:
                    yield pytest.param(one, id=f"{module.name}.{one.__name__}")


#: dataclasses that hold time rather than choices, and those that read better without names.
STATES, POSITIONAL = {"Seen", "EarlyStoppingState", "History"}, {"_validation", "_kinds", "_scales"}


@pytest.mark.parametrize("one", list(choices()))
def test_choices_are_frozen_and_named(one):
    """Choices can be shared safely, and their fields cannot be mixed up."""
    state, stem = one.__name__ in STATES, one.__module__.rpartition(".")[2]
    assert state or one.__dataclass_params__.frozen
    assert state or stem in POSITIONAL or all(one.kw_only for one in dataclasses.fields(one))


RATE, PROB, SIZES = {"learning_rate": 0.1}, _validation.Number("(0, 1]"), (3, 4, 4, 1)
NETWORK = {"layer_sizes": SIZES, "hidden": "relu", "output": "tanh", "keep_probs": (1, 0.5)}
NETWORK["batch_norm"] = None
NORM = {"decay": 0.9, "epsilon": 1e-5, "unbiased": False}
STOPPING = {"patience": _validation.Whole(1), "min_improvement": _validation.Number("[0, inf)")}


def choices_of(make):
    found = inspect.signature(make).parameters
    return {name: one.default for name, one in found.items() if name != "parameters"} | RATE


def rules():
    """Yield a rule of either side, the table that validates it, and an example."""
    stems = ("optimizers", "batch_norm", "network", "early_stopping")
    for side in SIDES:
        ours = side == "scratch"
        optimizers, norm, net, stopping = (importlib.import_module(f"{side}.{s}") for s in stems)
        for make in optimizers.OPTIMIZERS.values():
            rule = make if ours else partial(make, [torch.ones(1)])
            yield rule, optimizers._RATES, choices_of(make)
        layer = norm.BatchNorm if ours else partial(norm.BatchNorm, 3)
        yield layer, norm._CHOICES, NORM
        yield net.Network, scratch.network._CHOICES | net._CHOICES, NETWORK
        yield stopping.EarlyStopping, STOPPING, {"patience": 2, "min_improvement": 0.1}
    for name, make in our_schedules.SCHEDULES.items():
        yield make, make._expected, SCHEDULES[name]
    yield torch_ref.dropout.Dropout, {"keep_prob": PROB}, {"keep_prob": 0.5}


@pytest.mark.parametrize(("make", "table", "example"), list(rules()))
def test_a_rule_refuses_bad_choices(make, table, example):
    make(**example)
    for name, value in example.items():
        for bad, error in bad_values(table[name], value, []):
            with pytest.raises(error, match=f"expected {name.removesuffix('s')}"):
                pytest.fail(f"{name}: {bad} gives {make(**{**example, name: bad})}")


ARRAY, ORDER, LONG, FLOATS = np.ones((2, 3)), np.array([2, 0, 1]), "x" * 100, _validation.Floats
# fmt: off
#: an expectation, the least usual values that it takes, and others, by words of their refusals,
#: beyond those that each argument of a row meets.
KINDS = (
    (_validation.Number("[0, 1)"), (0, -0.0, np.float32(0.5), np.int64(0)),
        {r"in \[0, 1\), got -1e-300": -1e-300, "a real number, got str '1'": "1"}),
    (_validation.Number("(0, 1]"), (1, 5e-324), {"got 1.0": 1 + 1e-15}),
    (_validation.Number("(-inf, inf)"), (-1e308,), {"got 1000": 10**400}),
    (_validation.Whole(2), (2, np.uint8(2)), {
        r"got str 'x{56}\.\.\.$": LONG, "float64 and shape": ARRAY,
        "MaskedArray": np.ma.masked_array(ARRAY)}),
    (_validation.OneOf(("he", "xavier")), ("he",), {"one of he, xavier, got 'xavie'": "xavie"}),
    (_validation.Order(), (ORDER, ORDER.astype("u1")),
        {r"permutation of 0\.\.1": np.array([0, 2]), r"got \(1, 1\)": np.array([[0]])}),
    (_validation.Shape(), ((1, 1),), {r"x\[1\] to be at least": (1, 0)}),
    (_validation.Dtype(), ("float32", np.longdouble), {"floating dtype, got None": None}),
    (_validation.Instance(dict, list), ([],), {"dict or list, got int 3": 3}),
    (_validation.Function(), (len,), {"a function": 3}),
    (_validation.Optional(_validation.Whole(2)), (None, 2), {"at least 2": 1}),
    (FLOATS("n m"), (ARRAY,), {
        "got float 1.0": 1.0, r"\(n, m\), got \(3,\)": ARRAY[0], "one entry": ARRAY[:, :0]}),
    (FLOATS("3 m"), (np.ones((3, 1)),), {r"\(3, m\), got": ARRAY}),
    (FLOATS("n"), (ARRAY[0],), {r"\(n,\), got": ARRAY}),
    (FLOATS(""), (1, 1.5, np.float32(1)), {r"\(\), got": ARRAY}),
    (_shapes.LayerSizes(), ([np.int64(3), 2],), {"two or more sizes": (3,)}),
    (_shapes.KeepProbs(), ((), (1, 0.5), [0.1, 1.0]), {
        "a tuple of numbers, got float 0.5": 0.5, "each of 2 hidden layers, or none": (0.5,),
        r"keep_prob of layer 2 in \(0, 1\], got 0": (0.5, 0)}),
)
# fmt: on


def checked(kind, value):
    kind.check("x", value, _validation.Seen(layer_sizes=SIZES))


def test_a_refusal_says_what_was_expected_and_what_came():
    for kind, taken, others in KINDS:
        for value in taken:
            checked(kind, value)
        for words, value in others.items():
            refused(words, checked, kind, value)
    # columns that hold such entries, and others
    for values, right, wrong in (
        ("labels", [[0, 1], [0, 0], [1, 1]], [[-1, 1], [0.5, 0], [2, 1]]),
        ("one-hot", [[0, 1], [1, 0]], [[1, 1, -1], [2, -1, 0], [0.5, 0.5], [0, 0], [1, 1]]),
        ("probabilities", [[0, 1], [0.5, 0]], [[-1e-300, 0], [1 + 1e-15, 0]]),
        ("sizes", [[0, 7]], [[-1e-300, 3]]),
        ("mask", [[0, 1.25], [1, 1], [0, 0]], [[0, 0.5], [1, 2], [-1, 1], [-1, 0], [-2, -2]]),
    ):
        for column in right:
            checked(FLOATS("n m", values), np.array(column, float)[:, None])
        for column in wrong:
            array = np.array(column, float)[:, None]
            refused("x to hold ", checked, FLOATS("n m", values), array)


def test_neighbours_share_lengths_and_a_dtype():
    table = {"A": _validation.Floats("n m"), "B": _validation.Floats("n k")}
    _validation.check(table, {"A": np.ones((300, 1)), "B": np.ones((300, 2))})
    shorter, narrow = r"B of shape \(n, k\) with n = 2 from A, got \(1, 3\)", ARRAY.astype("f4")
    refused(shorter, _validation.check, table, {"A": ARRAY, "B": ARRAY[:1]})
    like = "B of dtype float64 like A, got float32"
    refused(like, _validation.check, table, {"A": ARRAY, "B": narrow})
    # a plain number takes its neighbour's dtype
    _validation.Floats("").check("scale", 1.5, _validation.Seen(dtype=(np.dtype("f4"), "A")))
