"""Rows that the modules of the course share: passes, draws, walks, trainings, predictions."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.budgets import FORWARD, GRADIENT, STEP, TRAINING
from parity_tests.compare.measurement import Array
from parity_tests.compare.optimizers import torch_walk
from parity_tests.compare.training import Run
from parity_tests.drawing import examples
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin
from parity_tests.twins import _course_networks as networks
from parity_tests.twins._course_networks import Arrays
from scratch.network import Network
from scratch.parameters import Parameters

STEP_BY_STEP = 'Course 1, week 4, "Building your deep neural network: step by step"'
APPLICATION = 'Course 1, week 4, "Deep neural network for image classification: application"'

#: layers of a network, of up to three and with up to three outputs.
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(
    lambda sizes: (*sizes[:-1], min(3, sizes[-1]))
)
#: names of two digits, whose order is not that of the alphabet.
ELEVEN_LAYERS = {"eleven layers": {"sizes": (3, *[4] * 10, 1)}}
exactness = st.sampled_from(["normal", "normal", "grid"])


def row(module: Any, name: str, ours: Any, theirs: Any, **rest: Any) -> FunctionTwin:
    given = {"proves": (name,), "bridge": None, "weight": 0.2, **rest}
    stem = module.__name__.rpartition(".")[2]
    return FunctionTwin(name=f"{stem}.{name}", ours=ours, theirs=theirs, **given)


def passing(
    module: Any, name: str, run: Any, keys: Any, hidden: str = "relu", **rest: Any
) -> FunctionTwin:
    """Return the row of a pass there and back, of whose quantities `keys(depth)` are compared.

    Where they name dA_L, "dA" + str(l) is the gradient of A_(l-1).
    """

    def found_by(look: Callable[..., Values], case: Case) -> Values:
        X, layers, keep_prob = case["X"], networks.layers_of(case), case.get("keep_prob")
        masks = networks.notebook_masks(keep_prob, X, layers) if keep_prob else []
        found = dict(look(X, case["Y"], layers, hidden, case.get("lambd", 0.0), masks))
        if look is networks.torch_pass:
            found |= {f"D{l}": one > 0 for l, one in enumerate(masks, 1)}
        depth = len(layers) // 2
        if f"dA{depth}" in keys(depth):
            found |= {f"dA{l}": found[f"dA{l - 1}"] for l in range(depth, 0, -1)}
        return {name: found[name] for name in keys(depth) if name in found}

    # fmt: off
    return row(module, name, run, lambda **case: found_by(networks.torch_pass, case), **({
        "budget": GRADIENT, "budgets": {"J": FORWARD}, "weight": 0.4,
        "draw": networks.draw_data,
        "cases": {"sizes": layer_sizes, "m": examples, "kind": exactness},
        "gauges": lambda **case: found_by(networks.pass_gauges, case)} | rest))
    # fmt: on


def drawn(function: Callable[..., Arrays], factor: Callable[..., Any], formula: str) -> Any:
    """Return the row of an initialization: what NumPy's seed 3 draws, to the last bit."""
    (argument,) = inspect.signature(function).parameters
    # fmt: off
    return row(inspect.getmodule(function), function.__name__, function,
        lambda **case: networks.notebook_layers(case[argument], 3, factor),
        formula=formula, source=f"{APPLICATION}; numpy.random.seed, numpy.random.randn",
        exact=True, draw=lambda rng, sizes=(5, 4, 3): {argument: sizes},
        cases={"sizes": layer_sizes | layer_sizes.map(list)},
        edges={"as wide as a picture": {"sizes": [60, 50, 40, 1]}})
    # fmt: on


def draw_walk(rng: np.random.Generator, sizes: Sequence[int] = (3, 5, 4, 1), steps: int = 30,
    loose: int = 0, **choices: float) -> Case:  # fmt: skip
    """Draw parameters and gradients of about 1, of about 1e-8 where epsilon shows, and 0."""
    start = networks.draw_layers(sizes, rng, loose=loose)

    def drawn(shape: Any) -> Any:
        return rng.standard_normal(shape) * rng.choice([1.0, 1e-8, 0.0], shape)

    gradients = [{f"d{n}": drawn(one.shape) for n, one in start.items()} for _ in range(steps)]
    return {"start": start, "gradients": gradients, **choices}


def flat(arrays: Mapping[str, Array]) -> Array:
    return np.concatenate([one.ravel() for one in arrays.values()])


def walk(module: Any, name: str, step: Callable[..., Any], make: Any, read: Any = lambda _: {},
    begin: Any = lambda _: (), cases: Any = None, **rest: Any) -> FunctionTwin:  # fmt: skip
    """Return the row of an update: theta and the averages "v" and "s" after each of many steps.

    `step(parameters, grads, memory, t, **choices)` gives parameters and memory of ours, which
    `begin(parameters)` gives at first; `make` and `read` are torch's optimizer and its state.
    """

    def walked(start: Arrays, gradients: Sequence[Arrays], **choices: float) -> Values:
        parameters, memory, path = start, begin(start), []
        for average in memory:
            assert list(average) == [f"d{name}" for name in start]
            assert not any(one.any() for one in average.values())
        for t, grads in enumerate(gradients, start=1):  # beside more than is asked for
            parameters, *memory = step(parameters, {"dA1": None, **grads}, memory, t, **choices)
            path.append([flat(one) for one in (parameters, *memory)])
        return dict(zip(("theta", "v", "s"), map(np.array, zip(*path, strict=True)), strict=False))

    def by_torch(start: Arrays, gradients: Sequence[Arrays], **choices: float) -> Values:
        injected = np.array([flat(one) for one in gradients])
        path = torch_walk(partial(make, **choices), start, injected, read)
        return {name: one for name, one in path.items() if name != "t"}

    def gauges(**case: Any) -> Values:
        """Return the largest entry so far, whose round-off later values keep, and of all steps."""
        found = {
            name: np.maximum.accumulate(np.abs(one).max(axis=1, keepdims=True))
            for name, one in walked(**case).items()
        }
        largest = max(np.abs(flat(one)).max() for one in case["gradients"])
        return found | {"theta": found["theta"] + abs(case["learning_rate"] * largest)}

    # fmt: off
    return row(module, name, walked, by_torch, **({
        "budget": STEP, "gauges": gauges, "draw": partial(draw_walk, learning_rate=0.1),
        "cases": {"sizes": layer_sizes, "steps": st.integers(1, 20), "loose": st.integers(0, 2),
                  **(cases or {})},
        "edges": {"layers that do not fit together": {"loose": 2}, **ELEVEN_LAYERS}} | rest))
    # fmt: on


def descent(module: Any, name: str, **rest: Any) -> FunctionTwin:
    def step(parameters: Arrays, grads: Arrays, *_: Any, learning_rate: float) -> tuple[Arrays]:
        return (getattr(module, name)(parameters, grads, learning_rate),)

    def uphill_below_0(tensors: Any, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(tensors, lr=abs(learning_rate), maximize=learning_rate < 0)

    source, formula = f"{STEP_BY_STEP}; torch.optim.SGD", "theta = theta - alpha dtheta"
    return walk(module, name, step, uphill_below_0, source=source, formula=formula, **rest)


#: rates of any sign, which the course lets pass; negative ones climb.
DESCENT_EDGES = {"no step at all": {"learning_rate": 0}, "uphill": {"learning_rate": -0.1}}

#: a gradient is a mean of errors up to 1 of either sign: where they cancel, the round-off of their
#: size is left in a parameter, as a share of the budget of trainings.
CANCELLED = GRADIENT.eps / TRAINING.eps


def draw_training(rng: np.random.Generator, sizes: Sequence[int] = (4, 5, 3, 1), m: int = 30,
    **choices: Any) -> Case:  # fmt: skip
    """Draw data; it stands in a tuple, as trainings are in float64 whatever it is."""
    data = networks.draw_data(rng, sizes, m)
    return {"data": (data["X"], data["Y"]), "sizes": sizes, **choices}


def training(
    module: Any, name: str, run: Any, factor: Any, rule: Any, hidden: str = "relu", **rest: Any
) -> FunctionTwin:
    """Return the row of a training from a seed; `rule(**choices)` is an optimizer with choices."""

    def by_torch(data: Any, sizes: Sequence[int], epochs: int, seed: int = 3, size: int = 0,
        **choices: Any) -> Values:  # fmt: skip
        start, (X, Y) = networks.notebook_layers(sizes, seed, factor), data
        if not epochs:
            return start
        m, orders = X.shape[1], [np.arange(X.shape[1])] * epochs
        if size:  # mini-batches, shuffled by the seeds 11, 12, ...
            orders = [np.random.RandomState(11 + i).permutation(m) for i in range(epochs)]
        # fmt: off
        trained = Run(network=Network(layer_sizes=tuple(sizes), hidden=hidden), X=X,
            Y=Y.astype(float), parameters=Parameters(start), optimizer=rule(**choices),
            epochs=epochs, batch_size=size or m, orders=orders).quantities("torch_ref")
        # fmt: on
        return {name: trained[name] for name in start}

    def gauges(**case: Any) -> Values:
        """Return the size of each parameter after it, and the round-off of steps that cancelled."""
        return {name: np.abs(one).max() + CANCELLED for name, one in run(**case).items()}

    given: Any = {"wide": False, "budget": TRAINING, "weight": 0.1, "gauges": gauges}
    return row(module, name, run, by_torch, **given, **rest)


def predicting(module: Any, predict: Any, hidden: str, prints: bool, **rest: Any) -> FunctionTwin:
    """Return the row of predictions: booleans, or numbers where a line is printed of them."""

    def predicted(X: Array, Y: Array, **parameters: Array) -> Values:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            found = predict(X, Y, parameters)
        assert found.dtype == (X.dtype if prints else bool)
        return {"prediction": found.astype(X.dtype), "printed": printed.getvalue()}

    def by_torch(X: Array, Y: Array, **parameters: Array) -> Values:
        found = networks.torch_pass(X, Y, parameters, hidden)
        p = torch.gt(torch.from_numpy(found[f"A{len(parameters) // 2}"]), 0.5).numpy()
        line = f"Accuracy: {np.sum((p == Y) / X.shape[1])}\n"
        return {"prediction": p.astype(X.dtype), "printed": line if prints else ""}

    def drawn(rng: np.random.Generator, steepness: float = 4.0, **choices: Any) -> Case:
        """Draw a network whose logits are of both signs, or 0 where it is flat."""
        case = networks.draw_data(rng, **{"sizes": (5, 6, 1), **choices})
        layers = networks.layers_of(case)
        l = len(layers) // 2
        logits = networks.torch_pass(case["X"], case["Y"], layers, hidden)[f"Z{l}"]
        b = case[f"b{l}"] - np.median(logits, axis=1, keepdims=True) + 0.01  # none of them is 0
        return {**case, f"W{l}": steepness * case[f"W{l}"], f"b{l}": steepness * b}

    rest |= {"edges": {"an output of one half": {"steepness": 0.0}}, "formula": "1 where A > 0.5"}
    return row(module, "predict", predicted, by_torch, exact=True, draw=drawn, **rest)
