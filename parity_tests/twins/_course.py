"""Rows that the modules of the course share: passes, draws, walks, trainings, predictions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import FORWARD, GRADIENT, STEP, TRAINING
from parity_tests.compare.course import (
    Arrays,
    calls_made,
    draw_data,
    draw_layers,
    layers_of,
    notebook_layers,
    notebook_masks,
    pass_gauges,
    reference,
    torch_pass,
    torch_training,
)
from parity_tests.compare.measurement import Array
from parity_tests.drawing import examples
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin
from torch_ref.network import predict

STEP_BY_STEP = 'Course 1, week 4, "Building your deep neural network: step by step"'
APPLICATION = 'Course 1, week 4, "Deep neural network for image classification: application"'

#: layers of a network, of up to three and with up to three outputs.
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(
    lambda sizes: (*sizes[:-1], min(3, sizes[-1]))
)
exactness = st.sampled_from(["normal", "normal", "grid"])


def passing(
    run: Callable[..., Values],
    keys: Any,
    hidden: str = "relu",
    passes_back: bool = False,
    **row: Any,
) -> FunctionTwin:
    """Return the row of a pass there and back, of whose quantities `keys(depth)` are compared.

    A case is X, Y and layers, and perhaps `lambd` or `keep_prob`. With `passes_back` the gradient
    of A_(l-1) is called "dA" + str(l).
    """

    def compared(found: Mapping[str, Any], depth: int) -> Values:
        if passes_back:
            found = {**found, **{f"dA{l}": found[f"dA{l - 1}"] for l in range(1, depth + 1)}}
        return {name: found[name] for name in keys(depth) if name in found}

    def arguments(
        X: Array, Y: Array, lambd: float = 0.0, keep_prob: Any = None, **layers: Any
    ) -> Any:
        drawn = notebook_masks(keep_prob, X, layers) if keep_prob else []
        masks = [(one / keep_prob).astype(X.dtype) for one in drawn]
        return X, Y, layers, hidden, lambd, masks

    def theirs(**case: Any) -> Values:
        given = arguments(**case)
        found = torch_pass(*given) | {f"D{l}": one > 0 for l, one in enumerate(given[-1], 1)}
        return compared(found, len(given[2]) // 2)

    def gauges(**case: Any) -> Values:
        given = arguments(**case)
        return compared(pass_gauges(*given), len(given[2]) // 2)

    return FunctionTwin(
        ours=run,
        theirs=theirs,
        bridge=None,
        gauges=gauges,
        **{
            "budget": GRADIENT,
            "budgets": {"J": FORWARD},
            "draw": draw_data,
            "cases": {"sizes": layer_sizes, "m": examples, "kind": exactness},
            "weight": 0.4,
            **row,
        },
    )


def drawn(function: Callable[..., Arrays], factor: Callable[..., Any], **row: Any) -> FunctionTwin:
    """Return the row of an initialization: what NumPy's seed 3 draws, to the last bit."""
    (argument,) = inspect.signature(function).parameters
    stem = function.__module__.rpartition(".")[2]
    return FunctionTwin(
        name=f"{stem}.{function.__name__}",
        source=f"{APPLICATION}; numpy.random.seed, numpy.random.randn",
        proves=(function.__name__,),
        ours=function,
        theirs=lambda **case: notebook_layers(case[argument], 3, factor),
        exact=True,
        draw=lambda rng, sizes=(5, 4, 3): {argument: sizes},
        cases={"sizes": layer_sizes | layer_sizes.map(list)},
        edges={"as wide as a picture": {"sizes": [60, 50, 40, 1]}},
        weight=0.2,
        **row,
    )


def draw_walk(
    rng: np.random.Generator,
    sizes: Sequence[int] = (3, 5, 4, 1),
    steps: int = 30,
    loose: int = 0,
    **choices: float,
) -> Case:
    """Draw parameters and gradients of about 1, of about 1e-8 where epsilon shows, and 0."""
    start = draw_layers(sizes, rng, loose=loose)
    scales = [1.0, 1e-8, 0.0]
    gradients = [
        {f"d{n}": rng.standard_normal(one.shape) * rng.choice(scales, one.shape)}
        for n, one in start.items()
        for _ in range(steps)
    ]
    merged = [{k: v for one in gradients[t::steps] for k, v in one.items()} for t in range(steps)]
    return {"start": start, "gradients": merged, **choices}


def flat(arrays: Mapping[str, Array]) -> Array:
    """Return the arrays of a dictionary as one vector."""
    return np.concatenate([one.ravel() for one in arrays.values()])


def walk(
    module: Any,
    step: Callable[..., Any],
    make: Callable[..., torch.optim.Optimizer],
    read: Callable[..., Mapping[str, torch.Tensor]] = lambda optimizer: {},
    begin: Callable[[Arrays], tuple[Arrays, ...]] = lambda parameters: (),
    **row: Any,
) -> FunctionTwin:
    """Return the row of an update: theta and the averages "v" and "s" after each of many steps.

    `step(parameters, grads, memory, t, **choices)` gives parameters and memory of ours.
    """

    def walked(start: Arrays, gradients: Sequence[Arrays], **choices: float) -> Values:
        parameters, memory = start, begin(start)
        for average in memory:
            assert list(average) == [f"d{name}" for name in start]
            assert not any(one.any() for one in average.values())
        path: dict[str, list[Array]] = {}
        for t, grads in enumerate(gradients, start=1):  # beside more than is asked for
            parameters, *memory = step(parameters, {"dA1": None, **grads}, memory, t, **choices)
            for name, one in zip(("theta", *"vs"), (parameters, *memory), strict=False):
                path.setdefault(name, []).append(flat(one))
        return {name: np.array(vectors) for name, vectors in path.items()}

    def by_torch(start: Arrays, gradients: Sequence[Arrays], **choices: float) -> Values:
        tensors = [torch.tensor(one, requires_grad=True) for one in start.values()]
        optimizer = make(tensors, **choices)
        path: dict[str, list[Array]] = {}
        for grads in gradients:
            for tensor, gradient in zip(tensors, grads.values(), strict=True):
                tensor.grad = torch.from_numpy(gradient)
            optimizer.step()
            theta = torch.cat([one.detach().flatten() for one in tensors])
            for name, one in {"theta": theta, **read(optimizer)}.items():
                path.setdefault(name, []).append(one.numpy().copy())
        return {name: np.array(vectors) for name, vectors in path.items() if name != "t"}

    def gauges(**case: Any) -> Values:
        """Return the largest entry so far, whose round-off later values keep, and of all steps."""
        stepped = case.get("learning_rate", 1.0) * max(
            np.abs(flat(g)).max() for g in case["gradients"]
        )
        return {
            name: np.maximum.accumulate(np.abs(one).max(axis=1, keepdims=True))
            + (abs(stepped) if name == "theta" else 0)
            for name, one in walked(**case).items()
        }

    return FunctionTwin(
        ours=walked,
        theirs=by_torch,
        bridge=None,
        budget=STEP,
        gauges=gauges,
        calls=calls_made(module, walked),
        **{
            "draw": partial(draw_walk, learning_rate=0.1),
            "cases": {
                "sizes": layer_sizes,
                "steps": st.integers(1, 20),
                "loose": st.integers(0, 2),
            },
            "edges": {"layers that do not fit together": {"loose": 2}},
            "weight": 0.2,
            **row,
        },
    )


def sgd(tensors: Any, learning_rate: float) -> torch.optim.Optimizer:
    """Return torch's SGD, uphill for a rate below 0, which the course does not refuse."""
    return torch.optim.SGD(tensors, lr=abs(learning_rate), maximize=learning_rate < 0)


def descent(module: Any, function: str, **row: Any) -> FunctionTwin:
    """Return the row of a step of gradient descent, as three of the assignments have it."""
    return walk(
        module,
        lambda parameters, grads, memory, t, learning_rate: (
            getattr(module, function)(parameters, grads, learning_rate),
        ),
        sgd,
        name=f"{module.__name__.rpartition('.')[2]}.{function}",
        formula="theta = theta - alpha dtheta",
        source=f"{STEP_BY_STEP}; torch.optim.SGD",
        proves=(function,),
        **row,
    )


#: rates of any sign, which pass; negative ones climb.
DESCENT_EDGES = {"no step at all": {"learning_rate": 0}, "uphill": {"learning_rate": -0.1}}


#: a gradient is a mean of errors up to 1 of either sign: where they cancel, the round-off of their
#: size is left in a parameter, as a share of the budget of trainings.
CANCELLED = GRADIENT.eps / TRAINING.eps


def draw_training(
    rng: np.random.Generator, sizes: Sequence[int] = (4, 5, 3, 1), m: int = 30, **choices: Any
) -> Case:
    """Draw data; it stands in a tuple, as trainings are in float64 whatever it is."""
    data = draw_data(rng, sizes, m)
    return {"data": (data["X"], data["Y"]), "sizes": sizes, **choices}


def training(
    module: Any,
    run: Callable[..., Arrays],
    factor: Callable[..., Any],
    make: Callable[..., Callable[..., torch.optim.Optimizer]],
    hidden: str = "relu",
    **row: Any,
) -> FunctionTwin:
    """Return the row of a training from a seed; `make(**choices)` is torch's rule."""

    def by_torch(
        data: Any, sizes: Sequence[int], epochs: int, seed: int = 3, size: int = 0, **choices: Any
    ) -> Values:
        start = notebook_layers(sizes, seed, factor)
        return torch_training(start, data, make(**choices), epochs, hidden, size)

    def gauges(**case: Any) -> Values:
        """Return the size of each parameter after it, and the round-off of steps that cancelled."""
        return {name: np.abs(one).max() + CANCELLED for name, one in run(**case).items()}

    return FunctionTwin(
        ours=run,
        theirs=by_torch,
        bridge=None,
        wide=False,
        budget=TRAINING,
        gauges=gauges,
        calls=calls_made(module, run),
        **{"weight": 0.1, **row},
    )


def flattened(case: Mapping[str, Any], steepness: float) -> Case:
    """Return a network whose logits are of both signs, or 0 where it is flat."""
    depth, parameters = len(layers_of(case)) // 2, layers_of(case)
    logits = np.sort(torch_pass(case["X"], case["Y"], parameters)[f"Z{depth}"], axis=1)
    middle = (logits[:, :1] + logits[:, -1:]) / 2 + 0.01  # off the middle of equal logits
    last = {f"W{depth}": parameters[f"W{depth}"], f"b{depth}": parameters[f"b{depth}"] - middle}
    return {**case, **{name: steepness * one for name, one in last.items()}}


def predicting(
    module: Any, run: Callable[..., Values], hidden: str, printed: bool, **row: Any
) -> FunctionTwin:
    """Return the row of predictions, and of the line that a notebook prints of them."""

    def by_torch(X: Array, Y: Array, **parameters: Array) -> Values:
        p = columns(predict(rows(X), reference(parameters, hidden)))
        line = f"Accuracy: {np.sum((p == Y) / X.shape[1])}\n"
        return {"prediction": p, "printed": line if printed else ""}

    def drawn(rng: np.random.Generator, steepness: float = 4.0, **choices: Any) -> Case:
        return flattened(draw_data(rng, **{"sizes": (5, 6, 1), **choices}), steepness)

    return FunctionTwin(
        formula="1 where A > 0.5",
        proves=("predict",),
        ours=run,
        theirs=by_torch,
        bridge=None,
        exact=True,
        draw=drawn,
        edges={"an output of one half": {"steepness": 0.0}},
        weight=0.2,
        calls=calls_made(module, run),
        **row,
    )
