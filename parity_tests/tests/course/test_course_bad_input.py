"""The doors of the course's vocabulary: kinds and shapes are refused, values are let through.

One valid call of each function stands in EXAMPLES; what an argument is decides how it is spoilt.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from parity_tests.tests.course.references import draw_layers
from scratch._door import Whole, unchecked
from scratch.course import deep, planar, regularization
from scratch.course._kinds import Labels, door

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 6))
Y = np.array([[1, 0, 0, 1, 1, 0]])
PLANAR, SIZES = draw_layers((4, 3, 1), RNG), [4, 5, 3, 1]
LAYERS = draw_layers((4, 5, 3, 1), RNG)
SHALLOW, GRADS = (
    {f"d{name}": RNG.standard_normal(array.shape) for name, array in one.items()}
    for one in (PLANAR, LAYERS)
)
AL, CACHES = deep.L_model_forward(X, LAYERS)
CACHE = regularization.forward_propagation(X, LAYERS)[1]
DROPPED = regularization.forward_propagation_with_dropout(X, LAYERS)[1]
A2, PLANAR_CACHE = planar.forward_propagation(X, PLANAR)
DATA = {"X": X, "Y": Y}
LINEAR = {"W": LAYERS["W1"], "b": LAYERS["b1"]}
UPDATE = {"parameters": LAYERS, "grads": GRADS}
Z = CACHES[0][1]

#: one valid call of every public function, by module.
EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    "planar": {
        "sigmoid": {"x": X},
        "layer_sizes": DATA,
        "initialize_parameters": {"n_x": 2, "n_h": 4, "n_y": 1},
        "forward_propagation": {"X": X, "parameters": PLANAR},
        "compute_cost": {"A2": A2, "Y": Y},
        "backward_propagation": {"parameters": PLANAR, "cache": PLANAR_CACHE, **DATA},
        "update_parameters": {"parameters": PLANAR, "grads": SHALLOW, "learning_rate": 1.2},
        "nn_model": {**DATA, "n_h": 3, "num_iterations": 2, "print_cost": False},
        "predict": {"parameters": PLANAR, "X": X},
    },
    "deep": {
        "sigmoid": {"Z": X},
        "relu": {"Z": X},
        "sigmoid_backward": {"dA": Z, "cache": Z},
        "relu_backward": {"dA": Z, "cache": Z},
        "initialize_parameters_deep": {"layers_dims": SIZES},
        "linear_forward": {"A": X, **LINEAR},
        "linear_activation_forward": {"A_prev": X, **LINEAR, "activation": "relu"},
        "L_model_forward": {"X": X, "parameters": LAYERS},
        "compute_cost": {"AL": AL, "Y": Y},
        "linear_backward": {"dZ": Z, "cache": CACHES[0][0]},
        "linear_activation_backward": {"dA": Z, "cache": CACHES[0], "activation": "sigmoid"},
        "L_model_backward": {"AL": AL, "Y": Y, "caches": CACHES},
        "update_parameters": {**UPDATE, "learning_rate": 0.1},
        "predict": {"X": X, "y": Y, "parameters": LAYERS},
        "L_layer_model": {
            **DATA,
            "layers_dims": SIZES,
            "learning_rate": 0.1,
            "num_iterations": 2,
            "print_cost": False,
            "isPlot": False,
            "seed": 1,
        },
    },
    "initialization": {
        "initialize_parameters_zeros": {"layers_dims": SIZES},
        "initialize_parameters_random": {"layers_dims": SIZES},
        "initialize_parameters_he": {"layer_dims": SIZES},
    },
    "regularization": {
        "forward_propagation": {"X": X, "parameters": LAYERS},
        "compute_cost_with_regularization": {
            "A3": AL,
            "Y": Y,
            "parameters": LAYERS,
            "lambd": 0.1,
        },
        "backward_propagation": {**DATA, "cache": CACHE},
        "backward_propagation_with_regularization": {**DATA, "cache": CACHE, "lambd": 0.7},
        "forward_propagation_with_dropout": {"X": X, "parameters": LAYERS, "keep_prob": 0.8},
        "backward_propagation_with_dropout": {**DATA, "cache": DROPPED, "keep_prob": 0.5},
    },
    "gradient_checking": {
        "forward_propagation_1d": {"x": 2, "theta": 4},
        "backward_propagation_1d": {"x": 2, "theta": 4},
        "gradient_check_1d": {"x": 2, "theta": 4, "epsilon": 1e-7},
        "dictionary_to_vector": {"parameters": LAYERS},
        "vector_to_dictionary": {"theta": np.ones((47, 1)), "like": LAYERS},
        "gradients_to_vector": {"gradients": GRADS},
        "forward_propagation_n": {**DATA, "parameters": LAYERS},
        "backward_propagation_n": {**DATA, "cache": CACHE},
        "gradient_check": {"parameters": LAYERS, "gradients": GRADS, **DATA, "epsilon": 1e-7},
        "gradient_check_n": {"parameters": LAYERS, "gradients": GRADS, **DATA, "epsilon": 1e-7},
    },
    "optimization": {
        "random_mini_batches": {**DATA, "mini_batch_size": 4, "seed": 0},
        "update_parameters_with_gd": {**UPDATE, "learning_rate": 0.1},
        "initialize_velocity": {"parameters": LAYERS},
        "update_parameters_with_momentum": {
            **UPDATE,
            "v": GRADS,
            "beta": 0.9,
            "learning_rate": 0.1,
        },
        "initialize_adam": {"parameters": LAYERS},
        "update_parameters_with_adam": {
            **UPDATE,
            "v": GRADS,
            "s": {name: np.square(one) for name, one in GRADS.items()},
            "t": 2,
            "learning_rate": 0.01,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
        },
        "update_parameters_with_decay": {
            **UPDATE,
            "learning_rate": 0.1,
            "decay_rate": 0.5,
            "iteration": 3,
        },
        "model": {
            **DATA,
            "layers_dims": SIZES,
            "optimizer": "adam",
            "learning_rate": 0.01,
            "mini_batch_size": 4,
            "beta": 0.9,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            "num_epochs": 1,
            "print_cost": False,
        },
    },
}
CALLS = [(stem, name) for stem, functions in EXAMPLES.items() for name in functions]

#: axes along which an argument may grow: nothing else at that door is as long.
FREE = {
    ("planar", "layer_sizes", "X", 0),
    ("planar", "layer_sizes", "Y", 0),
    ("planar", "nn_model", "X", 0),
    ("planar", "nn_model", "Y", 0),
    ("optimization", "random_mini_batches", "X", 0),
    ("optimization", "random_mini_batches", "Y", 0),
    ("planar", "forward_propagation", "X", 1),
    ("planar", "predict", "X", 1),
    ("deep", "linear_forward", "A", 1),
    ("deep", "linear_activation_forward", "A_prev", 1),
    ("deep", "L_model_forward", "X", 1),
    ("regularization", "forward_propagation", "X", 1),
    ("regularization", "forward_propagation_with_dropout", "X", 1),
    *(("planar", "sigmoid", "x", axis) for axis in (0, 1)),
    *(("deep", name, "Z", axis) for name in ("sigmoid", "relu") for axis in (0, 1)),
}

#: arguments of any rank, as the assignments' docstrings say.
ANY_RANK = {"sigmoid", "relu"}

#: functions at whose door nothing else is as wide as W1.
FREE_WIDTH = {
    "dictionary_to_vector",
    "gradients_to_vector",
    "initialize_velocity",
    "initialize_adam",
    "compute_cost_with_regularization",
}

NO_ARRAYS = (None, "text", [[1.0]], 1j, {"W1"}, object())


def spoilt_array(value: np.ndarray, where: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (how, bad value, error type) for an array."""
    for bad in NO_ARRAYS:
        yield f"{type(bad).__name__}", bad, TypeError
    yield "complex", value.astype(complex), TypeError
    yield "objects", value.astype(object), TypeError
    yield "strings", value.astype(str), TypeError
    yield "masked", np.ma.masked_array(value), TypeError
    yield "matrix", value.view(np.matrix), TypeError
    if where[1] not in ANY_RANK:
        yield "rank 3", value[None], ValueError
        yield "rank 0", np.array(value[0, 0]), ValueError
        yield "empty", value[:0], ValueError
        if where[0] != "gradient_checking" or where[2] != "Y":
            yield "rank 1", value[0], ValueError
    for axis in (0, 1):
        if (*where, axis) not in FREE:
            yield f"longer along {axis}", np.repeat(value, 2, axis), ValueError


def spoilt_dictionary(value: dict, where: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (how, bad value, error type) for a dictionary, its keys and one of its arrays."""
    for bad in (None, "text", list(value.values()), 1.0):
        yield f"{type(bad).__name__}", bad, TypeError
    yield "nothing in it", {}, ValueError
    needed = [name for name in value if name not in ("Z1", "Z2")]
    for name in needed:
        yield f"no {name}", {key: one for key, one in value.items() if key != name}, ValueError
    renamed = {key if key != needed[0] else "w1": one for key, one in value.items()}
    yield "w1", renamed, ValueError
    if "W1" in value:
        yield "one more", value | {"W9": value["W1"]}, ValueError
    if "dW1" in value:
        yield "one layer more", value | {"dW9": value["dW1"]}, ValueError
    for name in needed:
        for bad in (None, "text", value[name].astype(complex)):
            yield f"{name} {type(bad).__name__}", value | {name: bad}, TypeError
        yield f"{name} of rank 1", value | {name: value[name][0]}, ValueError
    yield "short W", value | {needed[0]: value[needed[0]][:-1]}, ValueError
    if where[1] not in FREE_WIDTH:
        yield "narrow W", value | {needed[0]: value[needed[0]][:, :-1]}, ValueError
    yield "wide b", value | {needed[1]: np.repeat(value[needed[1]], 2, 1)}, ValueError


def spoilt_tuple(value: Any, where: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (how, bad value, error type) for a cache, and for what lies in it."""
    for bad in (None, "text", 1.0, {"Z": 1}):
        yield f"{type(bad).__name__}", bad, TypeError
    yield "empty", (), ValueError
    if where[2] != "caches":  # a list of caches may have any length
        yield "short", tuple(value)[:-1], ValueError
        yield "long", (*value, value[-1]), ValueError
    for place, one in enumerate(value):
        if isinstance(one, np.ndarray):
            inside = spoilt_array(one, (*where, "in a cache"))
        else:
            inside = spoilt_tuple(one, (*where[:2], "in a cache"))
        for how, bad, error in inside:
            yield f"{how} at {place}", (*value[:place], bad, *value[place + 1 :]), error


def spoilt(value: Any, where: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (how, bad value, error type) for any argument."""
    name = where[2]
    if isinstance(value, np.ndarray):
        yield from spoilt_array(value, where)
    elif isinstance(value, dict):
        for how, bad, error in spoilt_dictionary(value, where):
            if not (name == "like" and bad is None):
                yield how, bad, error
    elif name.endswith("_dims"):
        for bad in (None, 3, "45", [4, 5.0, 1], [4, True, 1], {4: 5}, np.array([4, 5, 1])):
            yield f"{bad!r}", bad, TypeError
        for bad in ([], [4], [4, 0, 1], [4, -1, 1]):
            yield f"{bad!r}", bad, ValueError
    elif isinstance(value, tuple | list):
        yield from spoilt_tuple(value, where)
    elif isinstance(value, bool):
        for bad in (None, "yes", 1.0):
            yield f"{bad!r}", bad, TypeError
    elif isinstance(value, str):
        for bad in (None, 1, ["relu"]):
            yield f"{bad!r}", bad, TypeError
        for bad in ("", "Relu", "tanh", "sgd"):
            yield f"{bad!r}", bad, ValueError
    else:
        for bad in (None, "1", [1], 1j, True, np.ones(1)):
            yield f"{bad!r}", bad, TypeError
        if isinstance(value, int) and name not in ("x", "theta"):
            yield "a fraction", 1.5, TypeError
            yield "negative", -1, ValueError
            if name not in ("seed", "iteration", "num_iterations", "num_epochs"):
                yield "zero", 0, ValueError
            if name == "seed":
                yield "too large", 2**32, ValueError


def same(one: Any, other: Any) -> bool:
    """Tell whether two nests of arrays are equal in kind, dtype and every bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return type(one) is type(other) and all(map(same, one, other))
    return bool(one == other)


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in a nest."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict | tuple | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from arrays(one)


def test_every_function_has_an_example():
    """No public function of the vocabulary is left out, and no argument of it."""
    for stem, functions in EXAMPLES.items():
        module = importlib.import_module(f"scratch.course.{stem}")
        assert set(functions) == set(module.__all__)
        for name, arguments in functions.items():
            function = unchecked(getattr(module, name))
            code = function.__code__
            count = code.co_argcount + code.co_kwonlyargcount
            assert set(code.co_varnames[:count]) == set(arguments), name


@pytest.mark.parametrize(("stem", "name"), CALLS, ids=lambda one: one)
def test_arguments_are_left_alone(stem, name):
    """A valid call changes nothing, and what it updates or returns shares no memory with it."""
    function = getattr(importlib.import_module(f"scratch.course.{stem}"), name)
    arguments = copy.deepcopy(EXAMPLES[stem][name])
    kept = copy.deepcopy(arguments)
    result = function(**arguments)
    assert same(arguments, kept)
    if name.startswith(("update", "gradients_to", "dictionary_to", "vector_to", "random")):
        for returned in arrays(result):
            assert not any(np.shares_memory(returned, given) for given in arrays(arguments))


@pytest.mark.parametrize(("stem", "name"), CALLS, ids=lambda one: one)
def test_bad_arguments_are_refused(stem, name):
    """Every argument spoilt in every way: the right error, what was expected and what came."""
    function = getattr(importlib.import_module(f"scratch.course.{stem}"), name)
    for argument, value in EXAMPLES[stem][name].items():
        for how, bad, error in spoilt(value, (stem, name, argument)):
            arguments = {**copy.deepcopy(EXAMPLES[stem][name]), argument: bad}
            kept = copy.deepcopy({key: one for key, one in arguments.items() if key != argument})
            try:
                function(**arguments)
            except (TypeError, ValueError) as refusal:
                refused = type(refusal), str(refusal)
            else:
                pytest.fail(f"{stem}.{name} takes {argument} with {how}")
            assert refused[0] is error, (argument, how, refused)
            assert refused[1].startswith("expected "), (argument, how, refused)
            assert ", got " in refused[1], (argument, how, refused)
            assert same({key: arguments[key] for key in kept}, kept), (argument, how)


#: the smallest of each whole number: counts of units and examples from 1, of steps from 0.
LEAST = {
    ("planar", "initialize_parameters"): {"n_x": 1, "n_h": 1, "n_y": 1},
    ("planar", "nn_model"): {"n_h": 1, "num_iterations": 0},
    ("deep", "L_layer_model"): {"num_iterations": 0},
    ("optimization", "random_mini_batches"): {"mini_batch_size": 1},
    ("optimization", "update_parameters_with_adam"): {"t": 1},
    ("optimization", "update_parameters_with_decay"): {"iteration": 0},
    ("optimization", "model"): {"mini_batch_size": 1, "num_epochs": 0},
}


@pytest.mark.parametrize(("stem", "name"), CALLS, ids=lambda one: one)
def test_the_smallest_whole_number_passes_and_no_smaller(stem, name, monkeypatch):
    """One of each count is enough, and where nothing is to be done none; below that is refused."""
    module = importlib.import_module(f"scratch.course.{stem}")
    function, least = getattr(module, name), LEAST.get((stem, name), {})
    counts = {argument for argument, one in function.__door__.items() if isinstance(one, Whole)}
    assert counts == set(least)
    monkeypatch.setattr(module, "plot_costs", lambda *arguments: None, raising=False)
    for argument, smallest in least.items():
        arguments = copy.deepcopy(EXAMPLES[stem][name])
        function(**{**arguments, argument: smallest})
        with pytest.raises(ValueError, match="at least") as refusal:
            function(**{**arguments, argument: smallest - 1})
        expected = f"expected {argument} to be at least {smallest}, got {smallest - 1}"
        assert str(refusal.value) == expected


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float16, np.float32])
@pytest.mark.parametrize(
    ("stem", "name"),
    [
        (stem, name)
        for stem, name in CALLS
        if {"Y", "y"} & set(EXAMPLES[stem][name]) and name != "random_mini_batches"
    ],
    ids=lambda one: one,
)
def test_any_real_labels_will_do(stem, name, kind):
    """Labels of any real kind give the same numbers, in the floating dtype of the rest."""
    labels = "y" if "y" in EXAMPLES[stem][name] else "Y"
    function = getattr(importlib.import_module(f"scratch.course.{stem}"), name)
    expected = function(**EXAMPLES[stem][name])
    found = function(**{**EXAMPLES[stem][name], labels: Y.astype(kind)})
    assert same(found, expected)


def test_values_are_let_through():
    """Numbers that are no probabilities, infinities and NaN pass, as the exercises have them."""
    AL = np.array([[-0.5, 1.5, 0.3]])
    Y = np.array([[2.0, -1.0, 0.5]])
    with np.errstate(all="ignore"):
        assert np.isnan(deep.compute_cost(AL, Y))
    assert np.isnan(deep.relu(np.array([[np.nan, 1.0]]))[0]).tolist() == [[True, False]]
    updated = planar.update_parameters(PLANAR, SHALLOW | {"dW1": np.full((3, 4), np.inf)})
    assert np.isneginf(updated["W1"]).all()


def test_what_is_no_float_of_the_core_becomes_float64():
    """Integers, booleans and float16, whose smallest numbers are too large, on their own."""
    for kind in (int, bool, np.float16):
        assert deep.relu(np.ones((1, 2), kind))[0].dtype == np.float64


def test_flat_labels_arrive_as_a_row():
    """Labels (m,) reach the mathematics as (1, m)."""

    @door(A="n m", Y=Labels("n m"))
    def shape(A, Y):
        return Y.shape

    assert shape(AL, Y[0]) == shape(AL, Y) == (1, 6)


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_the_floating_dtype_is_kept(dtype):
    """float32 and longdouble come back as they went in, integer labels beside them."""
    parameters = {name: array.astype(dtype) for name, array in LAYERS.items()}
    AL, caches = deep.L_model_forward(X.astype(dtype), parameters)
    grads = deep.L_model_backward(AL, Y, caches)
    updated = deep.update_parameters(parameters, grads, np.float64(0.1))
    half, inputs = np.float64(0.5), X.astype(dtype)
    dropped = regularization.forward_propagation_with_dropout(inputs, parameters, half)
    pulled = regularization.backward_propagation_with_dropout(inputs, Y, dropped[1], half)
    every = arrays([AL, caches, grads, updated, dropped, pulled])
    floating = [one for one in every if one.dtype != bool]
    assert {one.dtype for one in floating} == {np.dtype(dtype)}
    assert deep.compute_cost(AL, Y).dtype == dtype
