"""Rows that the modules of the course share: passes, draws, walks, trainings, predictions."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch
from parity_tests.compare.budgets import FORWARD, GRADIENT, STEP, TRAINING
from parity_tests.compare.gauges import network_gauges, product
from parity_tests.compare.optimizers import torch_walk
from parity_tests.compare.training import Run
from parity_tests.compare.witnesses import cast
from parity_tests.drawing import Array, examples
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref.linear import linear

Arrays = dict[str, Array]

STEP_BY_STEP = 'Course 1, week 4, "Building your deep neural network: step by step"'
APPLICATION = 'Course 1, week 4, "Deep neural network for image classification: application"'

#: layers of a network, of up to three and with up to three outputs.
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(
    lambda sizes: (*sizes[:-1], min(3, sizes[-1]))
)
#: names of two digits, whose order is not that of the alphabet.
ELEVEN_LAYERS = {"eleven layers": {"sizes": (3, *[4] * 10, 1)}}
exactness = st.sampled_from(["normal", "normal", "grid"])


# --- draws, passes and gauges ---------------------------------------------------------------------


def notebook_layers(layer_sizes: Sequence[int], seed: int, factor: Any) -> Arrays:
    """Return {"W1", "b1", ...} as a notebook draws: `factor(randn, n_prev)`, W1 first, b zero."""
    found, randn = {}, np.random.RandomState(seed).randn
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        found[f"W{l}"] = np.asarray(factor(randn(n, n_prev), n_prev))
        found[f"b{l}"] = np.zeros((n, 1))
    return found


def notebook_masks(keep_prob: float, X: Array, parameters: Mapping[str, Array]) -> list[Array]:
    """Return D1 / keep_prob, D2 / keep_prob, ... of a notebook: rand < keep_prob of seed 1."""
    rand = np.random.RandomState(1).rand
    heights = [len(parameters[f"W{l}"]) for l in range(1, len(parameters) // 2)]
    return [((rand(n, X.shape[1]) < keep_prob) / keep_prob).astype(X.dtype) for n in heights]


def draw_layers(layer_sizes: Sequence[int], rng: np.random.Generator, kind: str = "normal",
    loose: int = 0) -> Arrays:  # fmt: skip
    """Draw {"W1", "b1", ...}, hidden biases positive so that ReLUs are alive.

    Of the kind "grid" in quarters, which sum up exactly and tie at 0. Of a `loose` network W2 is so
    much wider than layer 1, as in an assignment that updates each layer on its own.
    """
    found = {}
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        width = n_prev + loose * (l == 2)
        found[f"W{l}"] = rng.standard_normal((n, width)) / np.sqrt(n_prev)
        bias = rng.standard_normal((n, 1))
        found[f"b{l}"] = np.abs(bias) if l < len(layer_sizes) - 1 else bias
    return {name: np.round(4 * one) / 4 if kind == "grid" else one for name, one in found.items()}


def draw_data(rng: np.random.Generator, sizes: Sequence[int] = (5, 6, 5, 1), m: int = 9,
    kind: str = "normal", **choices: Any) -> dict[str, Any]:  # fmt: skip
    """Draw inputs, integer labels, both kinds among them, the layers of a network, and choices."""
    X, n_y = rng.standard_normal((sizes[0], m)), sizes[-1]
    Y = rng.permutation(np.resize([0, 1], n_y * m)).reshape(n_y, m)
    X = np.round(2 * X) / 2 if kind == "grid" else X
    return {"X": X, "Y": Y, **draw_layers(sizes, rng, kind), **choices}


def layers_of(case: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in case.items() if name[0] in "Wb" and name[1:].isdigit()}


def torch_cost(X: torch.Tensor, *layers: torch.Tensor, Y: torch.Tensor, lambd: float = 0.0,
    hidden: str = "relu", masks: Sequence[torch.Tensor] = (),
    inside: dict[str, torch.Tensor] | None = None) -> torch.Tensor:  # fmt: skip
    """Return the mean cost of a network with a sigmoid on top, and its L2 penalty.

    Z, A before its mask, and the sum of the costs go `inside`.
    """
    inside, A = {} if inside is None else inside, X
    for l, (W, b) in enumerate(zip(layers[::2], layers[1::2], strict=True), start=1):
        Z = inside[f"Z{l}"] = linear(A, W, b)
        A = inside[f"A{l}"] = getattr(torch, hidden if 2 * l < len(layers) else "sigmoid")(Z)
        A = A * masks[l - 1] if l <= len(masks) else A
    labels = Y.to(Z.dtype)
    inside["total"] = functional.binary_cross_entropy_with_logits(Z, labels, reduction="sum")
    return (inside["total"] + lambd / 2 * sum(W.square().sum() for W in layers[::2])) / len(X)


def torch_pass(X: Array, Y: Array, parameters: Mapping[str, Array], hidden: str = "relu",
    lambd: float = 0.0, masks: Sequence[Array] = ()) -> Arrays:  # fmt: skip
    """Return {"W1", "b1", "Z1", "A1", ..., "J", "dW1", "db1", "dZ1", "dA1", ...} of torch.

    J and its gradients are of the mean cost with the L2 penalty, dZ and dA of the sum of the costs;
    dA comes back through a mask, of 0 and 1 / keep_prob.
    """
    tensors = {name: to_torch(name, one).requires_grad_() for name, one in parameters.items()}
    inside = {"A0": rows(X).requires_grad_()}
    given: Any = {"lambd": lambd, "hidden": hidden, "masks": [rows(one) for one in masks]}
    labels = rows(np.atleast_2d(Y))
    J = torch_cost(inside["A0"], *tensors.values(), Y=labels, **given, inside=inside)
    total, A = inside.pop("total"), inside.popitem()
    found = {**parameters, **{name: columns(one) for name, one in [*inside.items(), A]}}
    found |= {f"A{l}": found[f"A{l}"] * mask for l, mask in enumerate(masks, start=1)}
    found["J"] = J.detach().numpy()
    pulled = torch.autograd.grad(J, list(tensors.values()), retain_graph=True)
    found |= {f"d{n}": to_numpy(n, one) for n, one in zip(tensors, pulled, strict=True)}
    pulled = torch.autograd.grad(total, list(inside.values()))
    return found | {f"d{n}": columns(one) for n, one in zip(inside, pulled, strict=True)}


def pass_gauges(X: Array, Y: Array, parameters: Mapping[str, Array], hidden: str = "relu",
    lambd: float = 0.0, masks: Sequence[Array] = ()) -> Arrays:  # fmt: skip
    """Return running-error gauges of "J", "dX", "dW1", ..., whose sums may cancel, and of the rest.

    The taught J is the log of a probability, and little is left of 1 - A where A is near 1. Those
    of Z, A, dZ and dA are the sizes of the terms of their sums.
    """
    depth, Y = len(parameters) // 2, np.atleast_2d(Y)
    X, parameters, masks = cast((X, dict(parameters), [*masks]), np.float64)
    found, m = torch_pass(X, Y, parameters, hidden, lambd, masks), X.shape[1]
    A = found[f"A{depth}"]
    # the probability of each label; A may have rounded to 1
    right = np.maximum(np.where(Y == 1, A, 1 - A), np.finfo(float).eps / 2)
    dA = np.where(Y == 1, -1, 1) / (m * right)
    sizes = (len(X), *(len(parameters[f"W{l}"]) for l in range(1, depth + 1)))
    network = Network(layer_sizes=sizes, hidden=hidden)
    shared = {f"D{l}": mask for l, mask in enumerate(masks, start=1)}
    bounds = network_gauges(network, {"X": X, **parameters}, dA, shared)
    J = np.abs(np.log(right)).sum() / m + (np.abs(dA) * bounds["output"]).sum()
    scales = [max(mask.max(), 1.0) for mask in masks] + [1.0] * (depth - len(masks))
    below = np.abs(X)
    for l, scale in enumerate(scales, start=1):
        W = parameters[f"W{l}"]
        J = J + lambd / 2 / m * np.square(W).sum()
        bounds[f"W{l}"] = bounds[f"W{l}"] + lambd / m * np.abs(W)
        found[f"Z{l}"] = product("nk,km->nm", W, below) + np.abs(parameters[f"b{l}"])
        steepest = scale if l < depth else 1 / 4
        below = found[f"A{l}"] = np.abs(found[f"A{l}"]) + found[f"Z{l}"] * steepest
    pulled = np.abs(found[f"dZ{depth}"]) + below
    for l in range(depth, 0, -1):
        found[f"dZ{l}"] = pulled
        pulled = product("nk,nm->km", parameters[f"W{l}"], pulled) * scales[l - 2]
        found[f"dA{l - 1}"] = pulled
    signals = {name: one for name, one in found.items() if name not in parameters}
    return {**signals, "J": J, **{f"d{name}": bounds[name] for name in ("X", *parameters)}}


# --- rows -----------------------------------------------------------------------------------------


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
        X, layers, keep_prob = case["X"], layers_of(case), case.get("keep_prob")
        masks = notebook_masks(keep_prob, X, layers) if keep_prob else []
        found = dict(look(X, case["Y"], layers, hidden, case.get("lambd", 0.0), masks))
        if look is torch_pass:
            found |= {f"D{l}": one > 0 for l, one in enumerate(masks, 1)}
        depth = len(layers) // 2
        if f"dA{depth}" in keys(depth):
            found |= {f"dA{l}": found[f"dA{l - 1}"] for l in range(depth, 0, -1)}
        return {name: found[name] for name in keys(depth) if name in found}

    # fmt: off
    return row(module, name, run, lambda **case: found_by(torch_pass, case), **({
        "budget": GRADIENT, "budgets": {"J": FORWARD}, "weight": 0.4,
        "draw": draw_data,
        "cases": {"sizes": layer_sizes, "m": examples, "kind": exactness},
        "gauges": lambda **case: found_by(pass_gauges, case)} | rest))
    # fmt: on


def drawn(function: Callable[..., Arrays], factor: Callable[..., Any], formula: str) -> Any:
    """Return the row of an initialization: what NumPy's seed 3 draws, to the last bit."""
    (argument,) = inspect.signature(function).parameters
    # fmt: off
    return row(inspect.getmodule(function), function.__name__, function,
        lambda **case: notebook_layers(case[argument], 3, factor),
        formula=formula, source=f"{APPLICATION}; numpy.random.seed, numpy.random.randn",
        exact=True, draw=lambda rng, sizes=(5, 4, 3): {argument: sizes},
        cases={"sizes": layer_sizes | layer_sizes.map(list)},
        edges={"as wide as a picture": {"sizes": [60, 50, 40, 1]}})
    # fmt: on


def draw_walk(rng: np.random.Generator, sizes: Sequence[int] = (3, 5, 4, 1), steps: int = 30,
    loose: int = 0, **choices: float) -> Case:  # fmt: skip
    """Draw parameters and gradients of about 1, of about 1e-8 where epsilon shows, and 0."""
    start = draw_layers(sizes, rng, loose=loose)

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
    data = draw_data(rng, sizes, m)
    return {"data": (data["X"], data["Y"]), "sizes": sizes, **choices}


def training(
    module: Any, name: str, run: Any, factor: Any, rule: Any, hidden: str = "relu", **rest: Any
) -> FunctionTwin:
    """Return the row of a training from a seed; `rule(**choices)` is an optimizer with choices."""

    def by_torch(data: Any, sizes: Sequence[int], epochs: int, seed: int = 3, size: int = 0,
        **choices: Any) -> Values:  # fmt: skip
        start, (X, Y) = notebook_layers(sizes, seed, factor), data
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
        found = torch_pass(X, Y, parameters, hidden)
        p = torch.gt(torch.from_numpy(found[f"A{len(parameters) // 2}"]), 0.5).numpy()
        line = f"Accuracy: {np.sum((p == Y) / X.shape[1])}\n"
        return {"prediction": p.astype(X.dtype), "printed": line if prints else ""}

    def drawn(rng: np.random.Generator, steepness: float = 4.0, **choices: Any) -> Case:
        """Draw a network whose logits are of both signs, or 0 where it is flat."""
        case = draw_data(rng, **{"sizes": (5, 6, 1), **choices})
        layers = layers_of(case)
        l = len(layers) // 2
        logits = torch_pass(case["X"], case["Y"], layers, hidden)[f"Z{l}"]
        b = case[f"b{l}"] - np.median(logits, axis=1, keepdims=True) + 0.01  # none of them is 0
        return {**case, f"W{l}": steepness * case[f"W{l}"], f"b{l}": steepness * b}

    rest |= {"edges": {"an output of one half": {"steepness": 0.0}}, "formula": "1 where A > 0.5"}
    return row(module, "predict", predicted, by_torch, exact=True, draw=drawn, **rest)
