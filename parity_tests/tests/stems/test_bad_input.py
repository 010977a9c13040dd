"""Bad input: every public function of both sides refuses it at its door, and leaves it alone.

One valid call of each function stands in EXAMPLES; what its door expects decides how each argument
is spoilt, one way after the other.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from parity_tests.compare.bridge import rows
from parity_tests.compare.fingerprints import fingerprint, fingerprints
from parity_tests.tests.house.test_architecture import STEMS, computes, proof, public
from scratch import (
    activations,
    costs,
    early_stopping,
    initializers,
    network,
    optimizers,
    schedules,
    training,
)
from scratch._door import unchecked
from scratch.linear import LinearCache
from scratch.parameters import Parameters
from torch_ref import early_stopping as their_early_stopping
from torch_ref import network as their_network
from torch_ref import optimizers as their_optimizers
from torch_ref import training as their_training

Z = np.array([[0.5, -1.0, 2.0, 0.1], [1.0, 0.2, -0.3, 0.4], [-0.6, 0.7, 0.8, -0.9]])
A = unchecked(activations.softmax_forward)(Z)[0]
Y = np.eye(3)[:, [0, 1, 2, 0]]
RNG = np.random.default_rng(0)
NETWORK = network.Network(layer_sizes=(3, 5, 3), output="softmax")
PARAMETERS = initializers.initialize((3, 5, 3), "he", RNG)
ORDER = np.array([2, 0, 3, 1])
SHARED = {"strength": 0.1, "m": 4, "denominator": "m"}
RUN = {"epochs": 2, "batch_size": 2, "orders": [ORDER, ORDER], "l1": 0.1, "l2": 0.1}
RUN |= {"masks": None, "schedule_per": "iteration", "clip_value": 0.5, "clip_norm": 0.9}


def module():
    """Return torch's network of the examples."""
    return their_network.Network(layer_sizes=(3, 5, 3), output="softmax")


def scratch_examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (stem.function, valid arguments) of every public function of scratch."""
    for name, one in activations.ACTIVATIONS.items():
        yield f"activations.{name}_forward", {"Z": Z}
        if one.backward is not None:
            cache = one.forward(Z)[1]
            yield f"activations.{name}_backward", {"dA": Z, "cache": cache}
    for name, cost in costs.COSTS.items():
        letter, values = ("Z", Z) if name.endswith("logits") else ("A", A)
        yield f"costs.{name}_forward", {letter: values, "Y": Y, "reduction": "sum"}
        yield f"costs.{name}_backward", {"dJ": np.float64(1.5), "cache": cost.forward(values, Y)[1]}
    yield "costs.predict_by_threshold", {"A": A, "threshold": 0.4}
    yield "costs.predict_by_argmax", {"A": A}
    yield "costs.accuracy", {"prediction": Y, "Y": Y}
    yield "linear.linear_forward", {"A_prev": Z, "W": np.ones((2, 3)), "b": np.ones((2, 1))}
    yield "linear.linear_backward", {"dZ": Z[:2], "cache": LinearCache(Z, np.ones((2, 3)))}
    yield "parameters.to_vector", {"parameters": PARAMETERS}
    yield "parameters.from_vector", {"vector": PARAMETERS.theta.copy(), "like": PARAMETERS}
    for name in initializers.INITIALIZERS:
        extra = {"constant": {"value": 0.5}}.get(name, {})
        extra |= {"scale": 0.1} if name.startswith(("small", "large")) else {}
        yield f"initializers.{name}", {"shape": (2, 3), "rng": RNG, **extra}
    yield (
        "initializers.initialize",
        {"layer_sizes": (3, 2), "initializer": "he", "rng": RNG, "dtype": np.float32}
        | {"batch_norm": True},
    )
    yield "regularization.weights", {"parameters": PARAMETERS}
    for name in ("l1_penalty", "l2_penalty", "l1_penalty_gradient", "l2_penalty_gradient"):
        yield f"regularization.{name}", {"parameters": PARAMETERS, **SHARED}
    shaped = {"parameters": PARAMETERS, "network": NETWORK}
    yield "network.network_forward", {"X": Z, **shaped}
    yield (
        "network.network_backward",
        {"dA": Z, "cache": network.network_forward(Z, PARAMETERS, NETWORK)[1]},
    )
    yield "network.cost_and_gradients", {"X": Z, "Y": Y, **shaped, "l1": 0.1, "l2": 0.1, "m": 9}
    yield "network.layer_norms", {"X": Z, "Y": Y, **shaped, "l1": 0.1, "l2": 0.1, "m": 9}
    yield "network.outputs", {"X": Z, **shaped}
    yield "network.predict", {"X": Z, **shaped}
    yield "mini_batches.draw_order", {"m": 4, "rng": RNG}
    yield "mini_batches.draw_orders", {"m": 4, "epochs": 2, "rng": RNG}
    yield "mini_batches.partition", {"order": ORDER, "batch_size": 2}
    yield "mini_batches.mini_batches", {"X": Z, "Y": Y, "order": ORDER, "batch_size": 2}
    yield "training.evaluate", {"X": Z, "Y": Y, **shaped}
    for name in ("training_steps", "train"):
        extra = {"optimizer": optimizers.Adam(), "dev": (Z, Y), "history": training.History()}
        extra |= {"schedule": schedules.Constant(learning_rate=0.1)}
        extra |= {"early_stopping": early_stopping.EarlyStopping(patience=2)}
        yield f"training.{name}", {"X": Z, "Y": Y, **shaped, **RUN, **extra}


def torch_examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (stem.function, valid arguments) of every public function of torch_ref."""
    generator = torch.Generator().manual_seed(0)
    for name in costs.COSTS:
        letter, values = ("Z", Z) if name.endswith("logits") else ("A", A)
        yield f"costs.{name}", {letter: rows(values), "Y": rows(Y), "reduction": "sum"}
    yield "costs.predict_by_threshold", {"A": rows(A), "threshold": 0.4}
    yield "costs.predict_by_argmax", {"A": rows(A)}
    yield "costs.accuracy", {"prediction": rows(Y), "Y": rows(Y)}
    ones = {"W": torch.ones(2, 3, dtype=torch.float64), "b": torch.ones(2, dtype=torch.float64)}
    yield "linear.linear", {"A_prev": rows(Z), **ones}
    yield "parameters.parameters", {"module": module()}
    yield "parameters.to_vector", {"module": module()}
    yield (
        "parameters.from_vector",
        {"vector": torch.zeros(38, dtype=torch.float64), "module": module()},
    )
    for name in initializers.INITIALIZERS:
        extra = {"constant": {"value": 0.5}}.get(name, {})
        extra |= {"scale": 0.1} if name.startswith(("small", "large")) else {}
        yield f"initializers.{name}", {"W": torch.empty(2, 3), "generator": generator, **extra}
    yield (
        "initializers.initialize",
        {"module": module(), "initializer": "he", "generator": generator},
    )
    yield "regularization.weights", {"module": module()}
    for name in ("l1_penalty", "l2_penalty", "l1_penalty_gradient", "l2_penalty_gradient"):
        yield f"regularization.{name}", {"module": module(), **SHARED}
    yield "regularization.weight_decay_groups", {"module": module(), "strength": 0.1, "m": 4}
    data = {"module": module(), "X": rows(Z), "Y": rows(Y)}
    yield "network.cost_and_gradients", {**data, "l1": 0.1, "l2": 0.1, "m": 9}
    yield "network.layer_norms", {**data, "l1": 0.1, "l2": 0.1, "m": 9}
    yield "network.outputs", {"X": rows(Z), "module": module()}
    yield "network.predict", {"X": rows(Z), "module": module()}
    yield "mini_batches.draw_order", {"m": 4, "generator": generator}
    yield "mini_batches.draw_orders", {"m": 4, "epochs": 2, "generator": generator}
    yield "mini_batches.partition", {"order": ORDER, "batch_size": 2}
    batches = {"X": rows(Z), "Y": rows(Y), "order": ORDER, "batch_size": 2}
    yield "mini_batches.mini_batches", batches
    yield "training.evaluate", data
    for name in ("training_steps", "train"):
        optimizer = torch.optim.Adam(data["module"].parameters())
        extra = {"dev": (rows(Z), rows(Y)), "history": their_training.History()}
        extra |= {"schedule": None}  # a copied one would have lost its hold on the optimizer
        extra |= {"early_stopping": their_early_stopping.EarlyStopping(patience=2)}
        yield f"training.{name}", {**data, **RUN, "optimizer": optimizer, **extra}
    for name in their_optimizers.OPTIMIZERS:
        make = getattr(their_optimizers, name)
        tensor = torch.ones(3, requires_grad=True)
        optimizer = make([tensor], learning_rate=0.1)
        tensor.grad = torch.ones(3)
        optimizer.step()
        yield f"optimizers.{name}_state", {"optimizer": optimizer}
        choices = inspect.signature(make).parameters
        defaults = {
            key: one.default for key, one in choices.items() if one.default is not one.empty
        }
        yield f"optimizers.{name}", {"parameters": [tensor], "learning_rate": 0.1, **defaults}


EXAMPLES = {f"scratch.{name}": arguments for name, arguments in scratch_examples()}
EXAMPLES |= {f"torch_ref.{name}": arguments for name, arguments in torch_examples()}

#: how to spoil what one stem alone expects: functions of (expected, value), by a kind's name.
SPOILS: dict[str, Callable[[Any, Any], Iterator[tuple[str, Any, type]]]] = {}

# the test of a stem may bring the examples and the spoils of that stem
for _stem in STEMS:
    _module = proof(_stem)
    EXAMPLES |= getattr(_module, "EXAMPLES", {})
    SPOILS |= getattr(_module, "SPOILS", {})


def find(path: str) -> Callable[..., Any]:
    """Return the function that "package.stem.function" names."""
    module_name, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module_name), name)


def expectations(path: str) -> dict[str, Any]:
    """Return what the door of a function expects of each argument."""
    function = find(path)
    if path.endswith("training.train"):  # its door is that of the loop it walks
        function = find(f"{path}ing_steps")
    if ".optimizers." in path and not hasattr(function, "__door__"):
        return {
            name: their_optimizers._RATES[name] for name in EXAMPLES[path] if name != "parameters"
        }
    return function.__door__


def tokens(expected: Any) -> list[str]:
    """Return the lengths that an expectation names, of an array or of a cache's fields."""
    shapes = [getattr(expected, "shape", ""), *getattr(expected, "shapes", {}).values()]
    return " ".join(one for one in shapes if isinstance(one, str)).split()


def spoil_floats(expected: Any, value: Any, others: list[str]) -> Iterator[tuple[str, Any, type]]:
    """Yield (how, bad value, error) for a floating array or tensor."""
    torch_side = isinstance(value, torch.Tensor)
    values = value.detach() if torch_side else np.asarray(value)
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
            longer = (torch.cat if torch_side else np.concatenate)([values, values], axis)
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


def spoil(expected: Any, value: Any, others: list[str]) -> Iterator[tuple[str, Any, type]]:
    """Yield (how, bad value, error) for whatever an argument is expected to be."""
    kind = type(expected).__name__
    if kind == "Optional":
        bad = spoil(expected.expected, value, others)
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
        for bad in ("int64", bool, object, "no dtype", None):
            yield str(bad), bad, TypeError
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
        yield "a mapping", {"D1": Z}, TypeError
        if value is None:
            return
        yield "numbers", [1, 2], TypeError
        yield "too few", [ORDER], ValueError
        yield "too short", [ORDER[:2] % 2, ORDER], ValueError
        yield "no permutation", [0 * ORDER, ORDER], ValueError
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
    elif kind in SPOILS:
        yield from SPOILS[kind](expected, value)
    else:
        raise AssertionError(f"no way to spoil {kind}")


def cases() -> Iterator[Any]:
    """Yield every argument that a door looks at as (function, argument, ways to spoil it)."""
    for path, arguments in EXAMPLES.items():
        table = expectations(path)
        for name, expected in table.items():
            others = [
                symbol
                for other, one in table.items()
                if other != name
                for symbol in tokens(one)
                if not symbol.isdigit()
            ]
            ways = list(spoil(expected, arguments[name], others))
            yield pytest.param(path, name, ways, id=f"{path}({name})")


def walk(result: Any) -> int:
    """Return how many things a generator yields; it checks its arguments before the first."""
    return len(list(result)) if inspect.isgenerator(result) else 1


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_example_is_valid(path):
    """The call that the spoilt ones are made of passes."""
    assert walk(find(path)(**copy.deepcopy(EXAMPLES[path])))


@pytest.mark.parametrize(("path", "name", "ways"), list(cases()))
def test_bad_input_is_refused(path, name, ways):
    """The right error says what was expected of which argument; nothing was modified."""
    assert len(ways) >= 2
    for how, bad, error in ways:
        arguments = {**EXAMPLES[path], name: bad}
        before = fingerprints(arguments)
        refusal = refused(path, arguments)
        assert type(refusal) is error, f"{how}: {refusal!r}"
        assert "expected" in str(refusal), how
        if type(expectations(path)[name]).__name__ == "OneOf" and error is ValueError:
            assert "one of" in str(refusal)
        assert fingerprints(arguments) == before, f"{how}: an argument was modified"


def refused(path: str, arguments: dict[str, Any]) -> Exception | None:
    """Return what a call raises, or None."""
    try:
        walk(find(path)(**arguments))
    except Exception as error:  # whatever it is, it is looked at
        return error
    return None


@pytest.mark.parametrize("stem", STEMS)
def test_every_public_function_has_an_example(stem):
    """Nobody adds a function without a door."""
    for package in ("scratch", "torch_ref"):
        for name, value in public(package, stem).items():
            if computes(name, value) and inspect.isfunction(value):
                assert f"{package}.{stem}.{name}" in EXAMPLES


CHOICES = [
    pytest.param(make, name, bad, error, id=f"{make.__name__}({name}: {how})")
    for make in optimizers.OPTIMIZERS.values()
    for name in inspect.signature(make).parameters
    for how, bad, error in spoil(optimizers._RATES[name], 0.1, [])
]


@pytest.mark.parametrize(("make", "name", "bad", "error"), CHOICES)
def test_bad_choices_of_an_optimizer_are_refused(make, name, bad, error):
    """A rate outside its interval never makes an optimizer."""
    with pytest.raises(error, match=f"expected {name}"):
        make(**{"learning_rate": 0.1, name: bad})


OTHER = Parameters({"W1": np.ones((2, 2))})
STATE = optimizers.Momentum(learning_rate=0.1).init(PARAMETERS)
SWAPPED = Parameters({name: PARAMETERS[name] for name in ("W2", "b2", "W1", "b1")})
UPDATES = {
    "a dictionary for parameters": ({}, PARAMETERS, STATE, TypeError),
    "a dictionary for gradients": (PARAMETERS, {}, STATE, TypeError),
    "a state of another rule": (
        PARAMETERS,
        PARAMETERS,
        optimizers.AdamState(STATE.v, STATE.v, np.zeros((), int)),
        TypeError,
    ),
    "no state": (PARAMETERS, PARAMETERS, None, TypeError),
    "gradients of another network": (PARAMETERS, OTHER, STATE, ValueError),
    "gradients in another order": (PARAMETERS, SWAPPED, STATE, ValueError),
    "a state of another network": (OTHER, OTHER, STATE, ValueError),
    "gradients of another precision": (
        PARAMETERS,
        Parameters({name: view.astype("f4") for name, view in PARAMETERS.items()}),
        STATE,
        TypeError,
    ),
}


@pytest.mark.parametrize("update", UPDATES)
def test_what_does_not_belong_together_is_not_updated(update):
    """Parameters, gradients and state of one network, one dtype and one rule, or an error."""
    *arguments, error = UPDATES[update]
    before = fingerprint(arguments)
    with pytest.raises(error, match="expected"):
        optimizers.Momentum(learning_rate=0.1).update(*arguments)
    assert fingerprint(arguments) == before


@pytest.mark.parametrize("make", optimizers.OPTIMIZERS.values())
def test_only_parameters_have_a_state(make):
    """A plain dictionary is refused where the state begins."""
    with pytest.raises(TypeError, match="expected parameters to be Parameters"):
        make(learning_rate=0.1).init({"W1": np.ones((2, 2))})


BAD_PARAMETERS = {
    "no mapping": ([np.ones(2)], TypeError),
    "empty": ({}, ValueError),
    "a list": ({"W1": [[1.0]]}, TypeError),
    "whole numbers": ({"W1": np.ones((2, 2), int)}, TypeError),
    "objects": ({"W1": np.ones((2, 2), object)}, TypeError),
    "two precisions": ({"W1": np.ones((2, 2)), "b1": np.ones((2, 1), "f4")}, TypeError),
    "NaN": ({"W1": np.full((2, 2), np.nan)}, ValueError),
    "an empty array": ({"W1": np.ones((0, 2))}, ValueError),
}


@pytest.mark.parametrize("bad", BAD_PARAMETERS)
def test_bad_parameters_are_refused(bad):
    """Parameters are floating, finite, of one precision."""
    arrays, error = BAD_PARAMETERS[bad]
    with pytest.raises(error, match="expected"):
        Parameters(arrays)


BAD_NETWORKS = {
    "one size": ({"layer_sizes": (3,)}, ValueError),
    "a size of zero": ({"layer_sizes": (3, 0, 1)}, ValueError),
    "a float": ({"layer_sizes": (3, 2.0)}, TypeError),
    "a boolean": ({"layer_sizes": (3, True)}, TypeError),
    "a number": ({"layer_sizes": 3}, TypeError),
    "an unknown activation": ({"layer_sizes": (3, 1), "hidden": "swish"}, ValueError),
    "an activation without gradient": ({"layer_sizes": (3, 1), "output": "hardmax"}, ValueError),
    "no name": ({"layer_sizes": (3, 1), "hidden": None}, TypeError),
}


@pytest.mark.parametrize("bad", BAD_NETWORKS)
@pytest.mark.parametrize("make", [network.Network, their_network.Network])
def test_bad_networks_are_refused(make, bad):
    """Sizes from one up, names from the table."""
    choices, error = BAD_NETWORKS[bad]
    with pytest.raises(error, match="expected"):
        make(**choices)


@pytest.mark.parametrize("sizes", [(3,), (3, 0), 3])
def test_initialize_refuses_bad_sizes(sizes):
    """The same sizes are refused where parameters are drawn."""
    with pytest.raises((TypeError, ValueError), match="expected layer_sizes"):
        initializers.initialize(sizes, "he", RNG)


MISFITS = {
    "X of another width": ({"X": Z[:2]}, ValueError),
    "Y of another width": ({"Y": Y[:2]}, ValueError),
    "Y not one-hot": ({"Y": np.ones((3, 4))}, ValueError),
    "parameters of another network": ({"parameters": OTHER}, ValueError),
    "X of another precision": ({"X": Z.astype("f4"), "Y": Y.astype("f4")}, TypeError),
    "an output without a cost": (
        {"network": network.Network(layer_sizes=(3, 5, 3), output="tanh")},
        ValueError,
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("name", ["network.cost_and_gradients", "training.evaluate"])
def test_data_must_fit_the_network(name, misfit):
    """Shapes, labels and dtypes are held against the network's."""
    change, error = MISFITS[misfit]
    with pytest.raises(error, match="expected"):
        find(f"scratch.{name}")(**{**EXAMPLES[f"scratch.{name}"], **change})


@pytest.mark.parametrize("misfit", ["X of another width", "Y of another width", "Y not one-hot"])
@pytest.mark.parametrize("name", ["network.cost_and_gradients", "training.evaluate"])
def test_tensors_must_fit_the_module(name, misfit):
    """The same refusals on the other side."""
    ((key, value),) = MISFITS[misfit][0].items()
    with pytest.raises(ValueError, match="expected"):
        find(f"torch_ref.{name}")(**{**EXAMPLES[f"torch_ref.{name}"], key: rows(value)})


def test_training_refuses_what_does_not_fit():
    """Data, dev data and orders are held against the network before the first step."""
    path = "scratch.training.train"
    for change in (
        {"X": Z[:2]},
        {"Y": np.ones((3, 4))},
        {"dev": (Z[:2], Y)},
        {"dev": (Z, Y[:, :3])},
        {"orders": [np.arange(3)]},
        {"orders": [np.array([0, 0, 1, 2])]},
        {"orders": []},
        {"orders": [ORDER]},
    ):
        before = fingerprint(PARAMETERS)
        with pytest.raises(ValueError, match="expected"):
            find(path)(**{**EXAMPLES[path], **change})
        assert fingerprint(PARAMETERS) == before
    with pytest.raises(TypeError, match="expected optimizer"):
        find(path)(**{**EXAMPLES[path], "optimizer": optimizers.Adam})


@pytest.mark.parametrize("bad", [None, 5, [5]], ids=str)
@pytest.mark.parametrize("package", ["scratch", "torch_ref"])
def test_callbacks_are_functions(package, bad):
    """What cannot be called is refused before the first step."""
    path = f"{package}.training.train"
    before = fingerprint(PARAMETERS)
    with pytest.raises(TypeError):
        find(path)(**{**EXAMPLES[path], "callbacks": bad})
    assert fingerprint(PARAMETERS) == before


def test_tensors_of_the_module_are_asked_for():
    """Another precision, an optimizer of other tensors, a vector of another precision."""
    path, loop = "torch_ref.training.evaluate", "torch_ref.training.train"
    narrow = {"X": rows(Z.astype("f4")), "Y": rows(Y.astype("f4"))}
    with pytest.raises(TypeError, match=r"expected X of dtype torch\.float64"):
        find(path)(**{**EXAMPLES[path], **narrow})
    stranger = torch.optim.SGD([torch.ones(3, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="expected an optimizer of the module's parameters"):
        find(loop)(**{**EXAMPLES[loop], "optimizer": stranger})
    with pytest.raises(TypeError, match=r"expected vector of dtype torch\.float64"):
        find("torch_ref.parameters.from_vector")(torch.zeros(38), module())
    with pytest.raises(ValueError, match="expected module to have a linear layer"):
        find("torch_ref.regularization.l2_penalty")(torch.nn.ReLU(), 0.1, 4)
    for name in ("momentum", "rmsprop", "adam"):
        rule = getattr(their_optimizers, name)([torch.ones(3)], learning_rate=0.1)
        with pytest.raises(ValueError, match="take a step first"):
            getattr(their_optimizers, f"{name}_state")(rule)


def test_a_gradient_of_another_precision_is_refused():
    """float64 upstream gradients do not promote a float32 network."""
    narrow = Parameters({name: view.astype("f4") for name, view in PARAMETERS.items()})
    _, cache = network.network_forward(Z.astype("f4"), narrow, NETWORK)
    with pytest.raises(TypeError, match="expected dA of dtype float32"):
        network.network_backward(Z, cache)
    _, cost_cache = costs.absolute_error_forward(Z.astype("f4"), Y.astype("f4"))
    with pytest.raises(TypeError, match="expected dJ of dtype float32"):
        costs.absolute_error_backward(np.float64(1), cost_cache)
    assert costs.absolute_error_backward(1.0, cost_cache)["A"].dtype == np.float32


@pytest.mark.parametrize("dtype", ["int64", "float16", "complex128"])
def test_parameters_are_floating(dtype):
    """Neither integers nor half precision hold parameters."""
    with pytest.raises(TypeError, match="expected dtype"):
        Parameters.empty({"W1": (2, 2)}, dtype)


def test_an_output_without_prediction_is_named():
    """Tanh has no threshold: predict says which outputs have."""
    choices = {"layer_sizes": (3, 5, 3), "output": "tanh"}
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        network.predict(Z, PARAMETERS, network.Network(**choices))
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        their_network.predict(rows(Z), their_network.Network(**choices))
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        their_network.cost_and_gradients(their_network.Network(**choices), rows(Z), rows(Y))


def test_messages_say_what_came():
    """The refusals read as the house wants them."""
    with pytest.raises(ValueError, match=r"expected Z of shape \(n, m\), got \(4,\)"):
        activations.relu_forward(Z[0])
    with pytest.raises(
        ValueError, match=r"expected b of shape \(n, 1\) with n = 2 from W, got \(3, 1\)"
    ):
        find("scratch.linear.linear_forward")(Z, np.ones((2, 3)), np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"expected beta in \[0, 1\), got 1.0"):
        optimizers.Momentum(learning_rate=0.1, beta=1.0)
    with pytest.raises(ValueError, match="expected reduction to be one of mean, sum, got 'max'"):
        costs.absolute_error_forward(Z, Y, "max")
    with pytest.raises(TypeError, match="expected Z to be a floating NumPy array, got list"):
        activations.relu_forward([[1.0]])
