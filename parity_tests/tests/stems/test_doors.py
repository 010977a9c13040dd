"""Doors: what they let in and what they say; both sides expect the same; choices are frozen."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest
import torch

import scratch
import scratch.course
import torch_ref
from parity_tests.compare.fingerprints import fingerprint, timeless
from parity_tests.tests.house.test_architecture import key
from parity_tests.tests.stems.test_bad_input import EXAMPLES, expectations, find
from scratch import _door, _shapes
from scratch.parameters import Parameters

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


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.startswith("scratch")])
def test_twins_go_by_the_same_names(path):
    """What one side takes by its name alone the other does too, and leaves out for the same."""
    _, stem, name = path.split(".")
    for other in EXAMPLES:
        if other.startswith(f"torch_ref.{stem}.") and key(other.split(".")[2]) == key(name):
            kinds = [
                {one.name: (one.kind, said(one.default)) for one in parameters}
                for parameters in (
                    inspect.signature(find(each)).parameters.values() for each in (path, other)
                )
            ]
            for shared in kinds[0].keys() & kinds[1].keys():
                assert kinds[0][shared] == kinds[1][shared], shared


def said(default):
    """Return a default, or its kind where it is no plain value: dtypes have two names."""
    plain = isinstance(default, bool | int | float | str | tuple)
    return default if plain else default is inspect.Parameter.empty


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
        found = fingerprint(list(result) if hasattr(result, "__next__") else result)
        pair.append(timeless(found))
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


ARRAY = np.ones((2, 3))
ORDER = np.array([2, 0, 1])
LONG = "x" * 58  # with its quotes as long as a message shows
DOORS = {
    "Number": _door.Number("[0, 1)"),
    "open": _door.Number("(0, 1]"),
    "endless": _door.Number("(-inf, inf)"),
    "Whole": _door.Whole(2),
    "OneOf": _door.OneOf(("he", "xavier")),
    "Order": _door.Order(),
    "Shape": _door.Shape(),
    "Dtype": _door.Dtype(),
    "Instance": _door.Instance(dict, list),
    "Function": _door.Function(),
    "Optional": _door.Optional(_door.Whole(2)),
    "matrix": _door.Floats("n m"),
    "three": _door.Floats("3 m"),
    "vector": _door.Floats("n"),
    "scalar": _door.Floats(""),
    "LayerSizes": _shapes.LayerSizes(),
    "KeepProbs": _shapes.KeepProbs(),
}

#: what a door says of what: the whole message, as people read it.
REFUSALS = [
    ("Number", "1", TypeError, "x to be a real number, got str '1'"),
    ("Number", True, TypeError, "x to be a real number, got bool True"),
    ("Number", 1j, TypeError, "x to be a real number, got complex 1j"),
    ("Number", -1e-300, ValueError, "x in [0, 1), got -1e-300"),
    ("Number", 1, ValueError, "x in [0, 1), got 1"),
    ("Number", 2.5, ValueError, "x in [0, 1), got 2.5"),
    ("Number", np.nan, ValueError, "x in [0, 1), got nan"),
    ("open", 0.0, ValueError, "x in (0, 1], got 0.0"),
    ("open", -1, ValueError, "x in (0, 1], got -1"),
    ("open", 1 + 1e-15, ValueError, "x in (0, 1], got 1.000000000000001"),
    ("endless", np.inf, ValueError, "x in (-inf, inf), got inf"),
    ("endless", 10**400, ValueError, f"x in (-inf, inf), got {10**400}"),
    ("Whole", 1, ValueError, "x to be at least 2, got 1"),
    ("Whole", 2.0, TypeError, "x to be a whole number, got float 2.0"),
    ("Whole", True, TypeError, "x to be a whole number, got bool True"),
    ("Whole", LONG, TypeError, f"x to be a whole number, got str '{LONG}'"),
    ("Whole", LONG + "y", TypeError, f"x to be a whole number, got str '{LONG[:56]}..."),
    ("Whole", ARRAY, TypeError,
     "x to be a whole number, got an array of dtype float64 and shape (2, 3)"),
    ("Whole", np.ma.masked_array(ARRAY), TypeError,
     "x to be a whole number, got MaskedArray of dtype float64 and shape (2, 3)"),
    ("OneOf", "xavie", ValueError, "x to be one of he, xavier, got 'xavie'"),
    ("OneOf", 3, TypeError, "x to be a string, got int 3"),
    ("Order", [0, 1], TypeError, "x to be an integer NumPy array, got list [0, 1]"),
    ("Order", np.array([0.0, 1]), TypeError,
     "x to be an integer NumPy array, got an array of dtype float64 and shape (2,)"),
    ("Order", np.array([0, 2]), ValueError, "x to be a permutation of 0..1, got [0 2]"),
    ("Order", np.array([1, 2]), ValueError, "x to be a permutation of 0..1, got [1 2]"),
    ("Order", np.array([0, 3, 1]), ValueError, "x to be a permutation of 0..2, got [0 3 1]"),
    ("Order", np.array([[0]]), ValueError, "x of shape (m,), got (1, 1)"),
    ("Shape", (1, 2, 3), TypeError, "x to be a tuple of two lengths, got (1, 2, 3)"),
    ("Shape", (1,), TypeError, "x to be a tuple of two lengths, got (1,)"),
    ("Shape", [1, 2], TypeError, "x to be a tuple of two lengths, got [1, 2]"),
    ("Shape", (1, 0), ValueError, "x[1] to be at least 1, got 0"),
    ("Shape", (0, 1), ValueError, "x[0] to be at least 1, got 0"),
    ("Dtype", "int64", TypeError, "x to be a floating dtype, got 'int64'"),
    ("Dtype", None, TypeError, "x to be a floating dtype, got None"),
    ("Dtype", "no dtype", TypeError, "x to be a floating dtype, got 'no dtype'"),
    ("Instance", 3, TypeError, "x to be dict or list, got int 3"),
    ("Function", 3, TypeError, "x to be a function, got int 3"),
    ("Optional", 1, ValueError, "x to be at least 2, got 1"),
    ("matrix", [[1.0]], TypeError, "x to be a floating NumPy array, got list [[1.0]]"),
    ("matrix", 1.0, TypeError, "x to be a floating NumPy array, got float 1.0"),
    ("matrix", ARRAY.astype("f2"), TypeError,
     "x to be a floating NumPy array, got an array of dtype float16 and shape (2, 3)"),
    ("matrix", ARRAY[0], ValueError, "x of shape (n, m), got (3,)"),
    ("matrix", ARRAY[:, :0], ValueError, "x of shape (n, m) with at least one entry, got (2, 0)"),
    ("vector", ARRAY, ValueError, "x of shape (n,), got (2, 3)"),
    ("three", ARRAY, ValueError, "x of shape (3, m), got (2, 3)"),
    ("scalar", ARRAY, ValueError, "x of shape (), got (2, 3)"),
    ("matrix", ARRAY * np.inf, ValueError, "x to be finite, got NaN or infinity"),
    ("scalar", "1", TypeError, "x to be a floating NumPy array, got str '1'"),
    ("LayerSizes", 3, TypeError, "layer_sizes to be a tuple of whole numbers, got int 3"),
    ("LayerSizes", (3, True), TypeError,
     "layer_sizes to be a tuple of whole numbers, got tuple (3, True)"),
    ("LayerSizes", (3, 1.0), TypeError,
     "layer_sizes to be a tuple of whole numbers, got tuple (3, 1.0)"),
    ("LayerSizes", (3,), ValueError,
     "layer_sizes to hold two or more sizes of at least 1, got (3,)"),
    ("LayerSizes", (3, 0), ValueError,
     "layer_sizes to hold two or more sizes of at least 1, got (3, 0)"),
]  # fmt: skip


@pytest.mark.parametrize(("door", "value", "error", "message"), REFUSALS, ids=str)
def test_the_whole_refusal(door, value, error, message):
    """A refusal says what was expected and what came, to the last character."""
    with pytest.raises(error) as refusal:
        DOORS[door].admit("x", value, _door.Seen())
    assert str(refusal.value) == f"expected {message}"


PASSING = [
    ("Number", 0), ("Number", -0.0), ("Number", np.float32(0.5)), ("Number", np.int64(0)),
    ("open", 1), ("open", 5e-324), ("endless", -1e308), ("Whole", 2), ("Whole", np.uint8(2)),
    ("OneOf", "he"), ("Order", ORDER), ("Order", ORDER.astype("u1")), ("Order", np.array([0])),
    ("Shape", (1, 1)), ("Dtype", "float32"), ("Dtype", np.longdouble), ("Dtype", np.dtype("f8")),
    ("Instance", {}),
    ("Instance", []), ("Function", len), ("Optional", None), ("Optional", 2), ("matrix", ARRAY),
    ("scalar", 1), ("scalar", 1.5), ("scalar", np.float32(1)), ("vector", ARRAY[0]),
    ("LayerSizes", (1, 1)), ("LayerSizes", [np.int64(3), 2]), ("KeepProbs", ()),
]  # fmt: skip


@pytest.mark.parametrize(("door", "value"), PASSING, ids=str)
def test_what_passes(door, value):
    """The smallest and the least usual of what is right is let in."""
    DOORS[door].admit("x", value, _door.Seen())


def refusal_of(*arguments):
    """Return what a door for two arguments says, or ""."""
    table = {"A": _door.Floats("n m"), "B": _door.Floats("n k")}
    try:
        _door.admit(table, dict(zip(table, arguments, strict=True)))
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def test_neighbours_share_lengths_and_a_dtype():
    """What the first argument sets the second must have; the message says who set it."""
    assert refusal_of(ARRAY, ARRAY[:, :1]) == ""
    assert refusal_of(np.ones((300, 1)), np.ones((300, 2))) == ""  # no small whole number
    assert refusal_of(ARRAY, ARRAY[:1]) == (
        "expected B of shape (n, k) with n = 2 from A, got (1, 3)"
    )
    assert refusal_of(ARRAY, np.ones((3, 3))) == (
        "expected B of shape (n, k) with n = 2 from A, got (3, 3)"
    )
    assert refusal_of(ARRAY, ARRAY.astype("f4")) == (
        "expected B of dtype float64 like A, got float32"
    )
    assert refusal_of(ARRAY.astype("f4"), ARRAY) == (
        "expected B of dtype float32 like A, got float64"
    )
    read = pickle.loads(pickle.dumps(ARRAY))  # an equal dtype, but another object
    assert refusal_of(ARRAY, read) == refusal_of(read, ARRAY) == ""
    seen = _door.Seen(dtype=(np.dtype("f4"), "A"))
    _door.Floats("").admit("scale", 1.5, seen)  # a plain number takes its neighbour's dtype


def test_an_object_of_another_package_is_called_by_its_whole_name():
    """Where the names are the same the modules tell them apart."""
    like = type("Parameters", (), {"__module__": "elsewhere"})()
    message = "expected x to be scratch.parameters.Parameters, got elsewhere.Parameters"
    with pytest.raises(TypeError, match=message):
        _door.Instance(Parameters).admit("x", like, _door.Seen())


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
def test_what_entries_may_be(values, right, wrong):
    """Each kind of entries lets in its own and nothing beside it."""
    kind = _door.Floats("n m", values)
    for column in right:
        kind.admit("x", np.array(column, float)[:, None], _door.Seen())
    for column in wrong:
        with pytest.raises(ValueError, match="expected x to hold "):
            kind.admit("x", np.array(column, float)[:, None], _door.Seen())


def test_the_last_layer_is_not_normalized():
    """However deep: every other has gamma and beta for b."""
    shapes = _shapes.network_shapes((2,) * 301, batch_norm=True)
    letters = [letter for l in range(1, 300) for letter in (f"W{l}", f"gamma{l}", f"beta{l}")]
    assert list(shapes) == [*letters, "W300", "b300"]
    assert list(_shapes.network_shapes((4, 3, 2))) == ["W1", "b1", "W2", "b2"]


def test_keep_probs_belong_to_hidden_layers():
    """One for each, in (0, 1], or none; the message counts and names them."""
    seen = _door.Seen(layer_sizes=(4, 3, 2, 1))
    kind = _shapes.KeepProbs()
    for right in ((), (1, 0.5), [0.1, 1.0]):
        kind.admit("keep_probs", right, seen)
    for wrong, error, message in (
        (0.5, TypeError, "keep_probs to be a tuple of numbers, got float 0.5"),
        ((0.5,), ValueError, "keep_probs for each of 2 hidden layers, or none, got (0.5,)"),
        ((0.5, 0), ValueError, "keep_prob of layer 2 in (0, 1], got 0"),
        ((1.5, 1), ValueError, "keep_prob of layer 1 in (0, 1], got 1.5"),
    ):
        with pytest.raises(error) as refusal:
            kind.admit("keep_probs", wrong, seen)
        assert str(refusal.value) == f"expected {message}"
