"""Validation of arguments: the same expectations on both sides, and refusals that say what came."""

from __future__ import annotations

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
import scratch.network
import scratch.schedules
import torch_ref
import torch_ref.dropout
from parity_tests.bad_values import bad_values
from parity_tests.house import STEMS, key, public
from scratch import _shapes, _validation

#: parts of an expectation that both sides must share, by its kind; layouts differ.
SHARED = {"Number": "interval", "Whole": "at_least", "OneOf": "names", "Floats": "values"}

#: labels that torch_ref looks at once it knows the module's output.
LATER = {"cost_and_gradients", "layer_norms", "check_network"}


def shared(expected):
    """Return the kind of an expectation and the part of it that both sides share, or None."""
    kind = type(expected).__name__
    if kind == "Optional":
        return kind, shared(expected.expected)
    part = getattr(expected, SHARED[kind]) if kind in SHARED else None
    return kind, part if isinstance(part, str | int) or part is None else list(part)


def pairs():
    """Yield the functions of both sides that are each other's twins."""
    for stem in STEMS:
        theirs = {key(name): one for name, one in public("torch_ref", stem).items()}
        for name, one in public("scratch", stem).items():
            other = theirs.get(key(name))
            functions = inspect.isfunction(one) and inspect.isfunction(other)
            if functions and not name.endswith("_backward"):
                yield pytest.param(one, other, id=f"{stem}.{name}")


@pytest.mark.parametrize(("ours", "theirs"), list(pairs()))
def test_twins_expect_the_same(ours, theirs):
    """Intervals, least numbers, names and defaults are one and the same on both sides."""
    mine, other = (getattr(one, "__validation__", {}) for one in (ours, theirs))
    later = {"Y"} if ours.__name__ in LATER else set()
    # a schedule or optimizer is one of ours on one side, and torch's own object on the other
    for name in mine.keys() & other.keys() - later - {"schedule", "optimizer"}:
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
    """Yield every dataclass of both sides."""
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
NORM = {"decay": 0.9, "epsilon": 1e-5, "unbiased": False}
STOPPING = {"patience": _validation.Whole(1), "min_improvement": _validation.Number("[0, inf)")}
# fmt: off
SCHEDULES = {
    "constant": RATE, "inverse_time": {**RATE, "decay": 1.0}, "exponential": {**RATE, "rate": 0.9},
    "interval_inverse_time": {**RATE, "decay": 0.3, "interval": 7},
    "natural_exponential": {**RATE, "decay": 0.02}, "inverse_square_root": {**RATE, "k": 0.3},
    "piecewise_constant": {**RATE, "rates": ((3, 0.1), (5, 0.4))}, "manual": {"rates": (0.3, 0.1)},
}
# fmt: on


def choices_of(make):
    """Return an example of the choices of an optimizer: its defaults and a learning rate."""
    found = inspect.signature(make).parameters
    return {name: one.default for name, one in found.items() if name != "parameters"} | RATE


def rules():
    """Yield what makes a rule of either side, the table that validates it, and an example."""
    for side in ("scratch", "torch_ref"):
        ours = side == "scratch"
        stem = {
            name: importlib.import_module(f"{side}.{name}")
            for name in ("optimizers", "batch_norm", "network", "early_stopping")
        }
        for name, make in stem["optimizers"].OPTIMIZERS.items():
            rule, table = (
                make if ours else partial(make, [torch.ones(1)]),
                stem["optimizers"]._RATES,
            )
            yield pytest.param(rule, table, choices_of(make), id=f"{side}.{name}")
        norm, net = stem["batch_norm"].BatchNorm, stem["network"]
        table = scratch.network._CHOICES | net._CHOICES
        stopping = {"patience": 2, "min_improvement": 0.1}
        for make, expected, example in (
            (norm if ours else partial(norm, 3), stem["batch_norm"]._CHOICES, NORM),
            (net.Network, table, {**NETWORK, "batch_norm": None}),
            (stem["early_stopping"].EarlyStopping, STOPPING, stopping),
        ):
            name = getattr(make, "func", make).__name__
            yield pytest.param(make, expected, example, id=f"{side}.{name}")
    for name, make in scratch.schedules.SCHEDULES.items():
        yield pytest.param(make, make._expected, SCHEDULES[name], id=f"scratch.{name}")
    yield pytest.param(
        torch_ref.dropout.Dropout, {"keep_prob": PROB}, {"keep_prob": 0.5}, id="Dropout"
    )


@pytest.mark.parametrize(("make", "table", "example"), list(rules()))
def test_a_rule_refuses_bad_choices(make, table, example):
    """Each field is spoilt in every way that its validation excludes; the example is taken."""
    make(**example)
    for name, value in example.items():
        for how, bad, error in bad_values(table[name], value, []):
            with pytest.raises(error, match=f"expected {name.removesuffix('s')}"):
                pytest.fail(f"{name}: {how} gives {make(**{**example, name: bad})}")


ARRAY, ORDER, LONG = np.ones((2, 3)), np.array([2, 0, 1]), "x" * 100
WHOLE, FLOATS = _validation.Whole(2), _validation.Floats
# fmt: off
KINDS = {
    "Number": _validation.Number("[0, 1)"), "open": _validation.Number("(0, 1]"),
    "endless": _validation.Number("(-inf, inf)"), "Whole": WHOLE,
    "OneOf": _validation.OneOf(("he", "xavier")), "Order": _validation.Order(),
    "Shape": _validation.Shape(), "Dtype": _validation.Dtype(),
    "Instance": _validation.Instance(dict, list), "Function": _validation.Function(),
    "Optional": _validation.Optional(WHOLE), "matrix": FLOATS("n m"), "three": FLOATS("3 m"),
    "vector": FLOATS("n"), "scalar": FLOATS(""), "LayerSizes": _shapes.LayerSizes(),
}
# fmt: on
T, V = TypeError, ValueError
#: refusals beyond those that each argument of a row meets: ends of intervals, and messages.
REFUSALS = [
    ("Number", -1e-300, V, r"in \[0, 1\), got -1e-300"), ("open", 1 + 1e-15, V, "got 1.0"),
    ("endless", 10**400, V, "got 1000"), ("Number", "1", T, "a real number, got str '1'"),
    ("Whole", LONG, T, r"got str 'x{56}\.\.\.$"), ("Whole", ARRAY, T, "float64 and shape"),
    ("Whole", np.ma.masked_array(ARRAY), T, "MaskedArray"),
    ("OneOf", "xavie", V, "one of he, xavier, got 'xavie'"),
    ("Order", np.array([0, 2]), V, r"permutation of 0\.\.1"),
    ("Order", np.array([[0]]), V, r"got \(1, 1\)"), ("Shape", (1, 0), V, r"x\[1\] to be at least"),
    ("Dtype", None, T, "floating dtype, got None"), ("Instance", 3, T, "dict or list, got int 3"),
    ("Optional", 1, V, "at least 2"), ("matrix", 1.0, T, "got float 1.0"),
    ("matrix", ARRAY[0], V, r"\(n, m\), got \(3,\)"), ("three", ARRAY, V, r"\(3, m\), got"),
    ("vector", ARRAY, V, r"\(n,\), got"), ("scalar", ARRAY, V, r"\(\), got"),
    ("matrix", ARRAY[:, :0], V, "at least one entry"), ("LayerSizes", (3,), V, "two or more sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "error", "message"), REFUSALS, ids=str)
def test_a_refusal_says_what_was_expected_and_what_came(kind, value, error, message):
    with pytest.raises(error, match=f"^expected (?s:.*){message}"):
        KINDS[kind].check("x", value, _validation.Seen())


TAKEN = [
    ("Number", 0), ("Number", -0.0), ("Number", np.float32(0.5)), ("Number", np.int64(0)),
    ("open", 1), ("open", 5e-324), ("endless", -1e308), ("Whole", 2), ("Whole", np.uint8(2)),
    ("OneOf", "he"), ("Order", ORDER), ("Order", ORDER.astype("u1")), ("Shape", (1, 1)),
    ("Dtype", "float32"), ("Dtype", np.longdouble), ("Instance", []), ("Function", len),
    ("Optional", None), ("Optional", 2), ("matrix", ARRAY), ("scalar", 1), ("scalar", 1.5),
    ("scalar", np.float32(1)), ("vector", ARRAY[0]), ("LayerSizes", [np.int64(3), 2]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), TAKEN, ids=str)
def test_the_smallest_and_least_usual_is_taken(kind, value):
    KINDS[kind].check("x", value, _validation.Seen())


def test_neighbours_share_lengths_and_a_dtype():
    table = {"A": _validation.Floats("n m"), "B": _validation.Floats("n k")}
    _validation.check(table, {"A": np.ones((300, 1)), "B": np.ones((300, 2))})
    for error, other, message in (
        (V, ARRAY[:1], r"B of shape \(n, k\) with n = 2 from A, got \(1, 3\)"),
        (T, ARRAY.astype("f4"), "B of dtype float64 like A, got float32"),
    ):
        with pytest.raises(error, match=message):
            _validation.check(table, {"A": ARRAY, "B": other})
    # a plain number takes its neighbour's dtype
    _validation.Floats("").check("scale", 1.5, _validation.Seen(dtype=(np.dtype("f4"), "A")))


@pytest.mark.parametrize(
    ("values", "right", "wrong"),
    [
        ("finite", [[-3.0, 7]], []),
        ("labels", [[0.0, 1], [0, 0], [1, 1]], [[-1.0, 1], [0.5, 0], [2, 1]]),
        ("one-hot", [[0.0, 1], [1, 0]], [[1.0, 1, -1], [2, -1, 0], [0.5, 0.5], [0, 0], [1, 1]]),
        ("probabilities", [[0.0, 1], [0.5, 0]], [[-1e-300, 0], [1 + 1e-15, 0]]),
        ("sizes", [[0.0, 7]], [[-1e-300, 3]]),
        ("mask", [[0.0, 1.25], [1, 1], [0, 0]], [[0.0, 0.5], [1, 2], [-1, 1], [-1, 0], [-2, -2]]),
    ],
)
def test_each_kind_of_entries_takes_its_own(values, right, wrong):
    kind = _validation.Floats("n m", values)
    for column in right:
        kind.check("x", np.array(column, float)[:, None], _validation.Seen())
    for column in wrong:
        with pytest.raises(ValueError, match="expected x to hold "):
            kind.check("x", np.array(column, float)[:, None], _validation.Seen())


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (0.5, T, "a tuple of numbers, got float 0.5"),
        ((0.5,), V, "each of 2 hidden layers, or none"),
        ((0.5, 0), V, r"keep_prob of layer 2 in \(0, 1\], got 0"),
    ],
)
def test_keep_probs_belong_to_hidden_layers(wrong, error, message):
    kind, seen = _shapes.KeepProbs(), _validation.Seen(layer_sizes=(4, 3, 2, 1))
    for right in ((), (1, 0.5), [0.1, 1.0]):
        kind.check("keep_probs", right, seen)
    with pytest.raises(error, match=message):
        kind.check("keep_probs", wrong, seen)
