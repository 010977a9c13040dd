"""The course's deep network step by step: `scratch.course.deep`."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, unload
from parity_tests.compare.budgets import GRADIENT, TRAINING
from parity_tests.compare.course import (
    Arrays,
    draw_data,
    draw_layers,
    layers_of,
    notebook_layers,
    pass_gauges,
    reference,
    training_gauges,
)
from parity_tests.compare.gauges import linear_gauges, network_gauges, product
from parity_tests.compare.measurement import Array
from parity_tests.drawing import SMOOTH, draw, examples, kinds, widths
from parity_tests.rows import Case, Change, FunctionTwin, Mistake, Pair, PairTwin, Values
from scratch.course import deep as ours
from scratch.network import Network as OurNetwork
from torch_ref.linear import linear
from torch_ref.network import predict
from torch_ref.optimizers import gradient_descent

Call = tuple[str, Case]

typed_into = partial(Change, "scratch.course.deep")

STEP_BY_STEP = 'Course 1, week 4, "Building your deep neural network: step by step"'
APPLICATION = 'Course 1, week 4, "Deep neural network for image classification: application"'

#: layers of a network, of up to three and with up to three outputs.
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(
    lambda sizes: (*sizes[:-1], min(3, sizes[-1]))
)
exactness = st.sampled_from(["normal", "normal", "grid"])
rates = st.sampled_from([0.1, 1.0, 0.0, -0.1, 2])


# --- activations and one layer --------------------------------------------------------------------


def activation(name: str) -> PairTwin:
    """Return the row of an activation, whose cache is Z."""
    forward, backward = getattr(ours, name), getattr(ours, f"{name}_backward")

    def calls(Z: Array, upstream: Array) -> Iterator[Call]:
        yield f"scratch.course.deep.{name}", {"Z": Z}
        yield f"scratch.course.deep.{name}_backward", {"dA": upstream, "cache": Z}

    return PairTwin(
        name=f"deep.{name}",
        formula={"sigmoid": "A = 1 / (1 + e^-Z)", "relu": "A = max(0, Z)"}[name],
        source=f"{STEP_BY_STEP}; torch.{name}",
        proves=(name, f"{name}_backward"),
        ours=Pair(lambda Z: forward(Z), lambda dA, cache: {"Z": backward(dA, cache)}),
        theirs=lambda Z: getattr(torch, name)(Z),
        draw=lambda rng, shape=(4, 6), kind="normal": {"Z": draw(kind, shape, rng, 2.0)},
        cases={"shape": st.tuples(widths, examples), "kind": kinds},
        edges={
            "a number": {"shape": ()},
            "one axis": {"shape": (7,)},
            "three axes": {"shape": (2, 3, 4)},
            "zeros of either sign": {"kind": "zeros"},
        },
        calls=calls,
    )


def draw_layer(
    rng: np.random.Generator, n: int = 4, n_prev: int = 3, m: int = 6, kind: str = "normal"
) -> Case:
    """Draw a layer (n, n_prev) and its input (n_prev, m)."""
    shapes = {"A_prev": (n_prev, m), "W": (n, n_prev), "b": (n, 1)}
    return {name: draw(kind, shape, rng) for name, shape in shapes.items()}


def linear_forward(A_prev: Array, W: Array, b: Array) -> tuple[Array, Any]:
    """Return the linear output, and a cache that must be the very arguments."""
    Z, cache = ours.linear_forward(A_prev, W, b)
    assert all(one is other for one, other in zip(cache, (A_prev, W, b), strict=True))
    return Z, cache


def by_name(pulled: tuple[Array, Array, Array]) -> dict[str, Array]:
    """Return the gradients of a layer by input, dW and db times m, which they were divided by."""
    dA_prev, dW, db = pulled
    m = dA_prev.shape[1]
    return {"A_prev": dA_prev, "W": dW * m, "b": db * m}


def linear_calls(A_prev: Array, W: Array, b: Array, upstream: Array) -> Iterator[Call]:
    """Yield the calls of the linear part of a layer."""
    yield "scratch.course.deep.linear_forward", {"A": A_prev, "W": W, "b": b}
    yield "scratch.course.deep.linear_backward", {"dZ": upstream, "cache": (A_prev, W, b)}


LINEAR = PairTwin(
    name="deep.linear",
    formula="Z = W A + b; dW = dZ A^T / m, db = sum dZ / m, dA_prev = W^T dZ",
    source=f"{STEP_BY_STEP}; torch.nn.functional.linear",
    proves=("linear_forward", "linear_backward"),
    ours=Pair(linear_forward, lambda dZ, cache: by_name(ours.linear_backward(dZ, cache))),
    theirs=linear,
    draw=draw_layer,
    cases={"n": widths, "n_prev": widths, "m": examples, "kind": kinds},
    edges={"one example": {"m": 1}, "a square W": {"n": 3, "n_prev": 3, "m": 3}},
    # by m and back: two roundings more
    gauges=lambda arguments, upstream: {
        name: 2 * gauge for name, gauge in linear_gauges(arguments, upstream).items()
    },
    calls=linear_calls,
    mistakes=(
        Mistake(
            name="dW-doubled",
            seen="bighuang624/Andrew-Ng-Deep-Learning-notes issue 10: the assignment's own error",
            change=Change("scratch.course._layers", 'pulled["W"] / m', '2 * pulled["W"] / m'),
        ),
    ),
)


def layer_forward(A_prev: Array, W: Array, b: Array, activation: str) -> tuple[Array, Any]:
    """Return a layer's output; its cache must be ((A_prev, W, b), Z)."""
    A, cache = ours.linear_activation_forward(A_prev, W, b, activation)
    inputs, Z = cache
    assert all(one is other for one, other in zip(inputs, (A_prev, W, b), strict=True))
    assert np.array_equal(Z, ours.linear_forward(A_prev, W, b)[0])
    return A, (cache, activation)


def layer_backward(dA: Array, cache: Any) -> dict[str, Array]:
    """Return the gradients of a layer, whose activation is ReLU by default."""
    cache, activation = cache
    given = {} if activation == "relu" else {"activation": activation}
    return by_name(ours.linear_activation_backward(dA, cache, **given))


def layer_gauges(arguments: Mapping[str, Any], upstream: Array) -> Values:
    """Return the gauges of a network of one layer."""
    W, A_prev, b = (arguments[name] for name in ("W", "A_prev", "b"))
    network = OurNetwork(layer_sizes=(W.shape[1], len(W)), output=arguments["activation"])
    bounds = network_gauges(network, {"X": A_prev, "W1": W, "b1": b}, upstream)
    return {"output": bounds["output"], "A_prev": bounds["X"], "W": bounds["W1"], "b": bounds["b1"]}


def layer_calls(
    A_prev: Array, W: Array, b: Array, activation: str, upstream: Array
) -> Iterator[Call]:
    """Yield the calls of a layer."""
    layer = {"A_prev": A_prev, "W": W, "b": b, "activation": activation}
    yield "scratch.course.deep.linear_activation_forward", layer
    cache = ours.linear_activation_forward(**layer)[1]
    pulled = {"dA": upstream, "cache": cache, "activation": activation}
    yield "scratch.course.deep.linear_activation_backward", pulled


def draw_activated(rng: np.random.Generator, activation: str = "sigmoid", **choices: Any) -> Case:
    """Draw a layer with its activation."""
    return {**draw_layer(rng, **choices), "activation": activation}


LAYER = PairTwin(
    name="deep.linear_activation",
    formula="A = g(W A_prev + b)",
    source=f"{STEP_BY_STEP}; torch.nn.functional.linear",
    proves=("linear_activation_forward", "linear_activation_backward"),
    ours=Pair(layer_forward, layer_backward),
    theirs=lambda A_prev, W, b, activation: getattr(torch, activation)(linear(A_prev, W, b)),
    constants=("activation",),
    draw=draw_activated,
    cases={
        "n": widths,
        "n_prev": widths,
        "m": examples,
        "kind": st.sampled_from(["normal", "zeros", "grid"]),
        "activation": st.sampled_from(["sigmoid", "relu"]),
    },
    smooth=lambda kind="normal", **_: kind in SMOOTH,
    edges={"relu": {"activation": "relu"}, "exact ties": {"activation": "relu", "kind": "grid"}},
    gauges=layer_gauges,
    float32=False,
    calls=layer_calls,
)


# --- the network ----------------------------------------------------------------------------------


def draw_network(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (5, 6, 5, 1),
    m: int = 9,
    kind: str = "normal",
) -> Case:
    """Draw inputs, labels and layers."""
    return draw_data(sizes, m, rng, kind)


def taught_cost(X: Array, Y: Array, **parameters: Array) -> tuple[Any, Any]:
    """Return the cost of our network, and what its backward takes."""
    AL, caches = ours.L_model_forward(X, parameters)
    return ours.compute_cost(AL, Y), (AL, Y, caches)


def pulled_back(dJ: Any, cache: Any) -> dict[str, Array]:
    """Return the gradients by input, "dA1" that of X; last layer first they must come."""
    grads, m = ours.L_model_backward(*cache), cache[0].shape[1]
    names = [f"{letter}{l}" for l in range(len(cache[2]), 0, -1) for letter in ("dA", "dW", "db")]
    assert list(grads) == names
    pulled = {name[1:]: dJ * one for name, one in grads.items() if name[1] in "Wb"}
    return {"X": dJ * grads["dA1"] / m, **pulled}


def torch_cost(X: torch.Tensor, *layers: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Return the cost of hidden layers of ReLU and a sigmoid on top."""
    A = X
    for W, b in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        A = torch.relu(linear(A, W, b))
    Z = linear(A, *layers[-2:])
    loss = functional.binary_cross_entropy_with_logits(Z, Y.to(Z.dtype), reduction="sum")
    return loss / len(X)


def cost_gauges(arguments: Mapping[str, Any], upstream: Array) -> Values:
    """Return the gauges of the taught cost and its gradients."""
    bounds = pass_gauges(layers_of(arguments), "relu", arguments["X"], arguments["Y"])
    output = bounds.pop("J")
    return {"output": output, **{n[1:]: np.abs(upstream) * one for n, one in bounds.items()}}


def network_calls(X: Array, Y: Array, upstream: Array, **parameters: Array) -> Iterator[Call]:
    """Yield the calls of a pass there and back."""
    AL, caches = ours.L_model_forward(X, parameters)
    yield "scratch.course.deep.L_model_forward", {"X": X, "parameters": parameters}
    yield "scratch.course.deep.compute_cost", {"AL": AL, "Y": Y}
    yield "scratch.course.deep.L_model_backward", {"AL": AL, "Y": Y, "caches": caches}


NETWORK = PairTwin(
    name="deep.network",
    formula="J = -1/m sum (Y log AL + (1 - Y) log(1 - AL)), ReLU in hidden layers, sigmoid on top",
    source=f"{STEP_BY_STEP}; torch.nn.functional.binary_cross_entropy_with_logits",
    proves=("L_model_forward", "compute_cost", "L_model_backward"),
    ours=Pair(taught_cost, pulled_back),
    theirs=torch_cost,
    constants=("Y",),
    draw=draw_network,
    cases={"sizes": layer_sizes, "m": examples, "kind": exactness},
    edges={
        "one layer": {"sizes": (3, 1)},
        "two outputs share one m": {"sizes": (4, 3, 2)},
        "exact ties": {"kind": "grid"},
    },
    gauges=cost_gauges,
    float32=False,
    weight=0.5,
    calls=network_calls,
    mistakes=(
        Mistake(
            name="sigmoid-in-every-layer-on-the-way-back",
            seen="Kulbear/deep-learning-coursera pull request 42",
            change=typed_into('"relu" if l < len(caches) else "sigmoid"', '"sigmoid"'),
        ),
    ),
)


def draw_caches(
    rng: np.random.Generator, sizes: tuple[int, ...] = (4, 5, 3, 1), m: int = 6
) -> Case:
    """Draw caches whose arrays have nothing to do with each other, any AL and labels of any kind.

    So are those of the assignment's exercises.
    """
    caches = [
        ((rng.standard_normal((n_prev, m)), W, np.zeros((n, 1))), rng.standard_normal((n, m)))
        for n_prev, n in pairwise(sizes)
        for W in [rng.standard_normal((n, n_prev))]
    ]
    shape = (sizes[-1], m)
    AL = rng.choice([-0.5, 0.2, 0.7, 1.5], shape) + 0.1 * rng.random(shape)
    return {"AL": AL, "Y": rng.integers(-1, 3, shape), "caches": caches}


def pulled_by_torch(AL: Array, Y: Array, caches: Sequence[Any]) -> Values:
    """Return the gradients of each layer by autograd, from dAL = -Y / AL + (1 - Y) / (1 - AL)."""
    A, labels = rows(AL), rows(Y.astype(AL.dtype))
    dA, grads = -labels / A + (1 - labels) / (1 - A), {}
    for l in range(len(caches), 0, -1):
        (A_prev, W, b), Z = caches[l - 1]
        signal = rows(Z).requires_grad_()
        activated = torch.sigmoid(signal) if l == len(caches) else torch.relu(signal)
        (dZ,) = torch.autograd.grad(activated, signal, dA)
        inputs = [rows(A_prev), torch.from_numpy(W), torch.from_numpy(b[:, 0])]
        inputs = [one.requires_grad_() for one in inputs]
        dA, dW, db = torch.autograd.grad(linear(*inputs), inputs, dZ)
        grads[f"dA{l}"], grads[f"dW{l}"] = columns(dA), dW.numpy() / Z.shape[1]
        grads[f"db{l}"] = db.numpy()[:, None] / Z.shape[1]
    return grads


def pulled_gauges(AL: Array, Y: Array, caches: Sequence[Any]) -> Values:
    """Return the sizes of the terms of each gradient."""
    pulled, found, m = np.abs(Y / AL) + np.abs((1 - Y) / (1 - AL)), {}, AL.shape[1]
    for l in range(len(caches), 0, -1):
        (A_prev, W, _), _ = caches[l - 1]
        found[f"dW{l}"] = product("nm,km->nk", pulled, A_prev) / m
        found[f"db{l}"] = pulled.mean(axis=1, keepdims=True)
        pulled = found[f"dA{l}"] = product("nk,nm->km", W, pulled)
    return found


GIVEN = FunctionTwin(
    name="deep.L_model_backward",
    formula="dAL = -Y / AL + (1 - Y) / (1 - AL), then layer by layer; dA1 is the gradient of X",
    source=f"{STEP_BY_STEP}; torch.autograd.grad",
    proves=("L_model_backward",),
    ours=ours.L_model_backward,
    theirs=pulled_by_torch,
    bridge=None,
    budget=GRADIENT,
    draw=draw_caches,
    cases={"sizes": layer_sizes, "m": examples},
    edges={"one layer": {"sizes": (3, 1)}},
    gauges=pulled_gauges,
    weight=0.5,
)


def predicted(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return our predictions, and the accuracy that is printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        p = ours.predict(X, Y, parameters)
    return {"prediction": p, "printed": printed.getvalue()}


def predicted_by_torch(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return torch's predictions, and the line that a notebook prints of them."""
    p = columns(predict(rows(X), reference(parameters, "relu")))
    return {"prediction": p, "printed": f"Accuracy: {np.sum((p == Y) / X.shape[1])}\n"}


def draw_predictions(rng: np.random.Generator, steepness: float = 4.0, **choices: Any) -> Case:
    """Draw a network whose predictions are of both kinds, or all one half where it is flat."""
    case = draw_network(rng, **choices)
    depth = len(layers_of(case)) // 2
    logits = ours.L_model_forward(case["X"], layers_of(case))[1][-1][1]
    ordered = np.sort(logits, axis=1)
    middle = (ordered[:, :1] + ordered[:, -1:]) / 2 + 0.01  # off the middle of equal logits
    case[f"b{depth}"] = steepness * (case[f"b{depth}"] - middle)
    return {**case, f"W{depth}": steepness * case[f"W{depth}"]}


PREDICT = FunctionTwin(
    name="deep.predict",
    formula="1 where AL > 0.5",
    source=f"{APPLICATION}; torch.gt",
    proves=("predict",),
    ours=predicted,
    theirs=predicted_by_torch,
    bridge=None,
    exact=True,
    draw=draw_predictions,
    cases={"sizes": layer_sizes, "m": examples},
    edges={"an output of one half": {"steepness": 0.0}},
    weight=0.2,
    calls=lambda X, Y, **parameters: iter(
        [("scratch.course.deep.predict", {"X": X, "y": Y, "parameters": parameters})]
    ),
)


# --- descent --------------------------------------------------------------------------------------


def draw_step(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (5, 6, 5, 1),
    loose: int = 0,
    learning_rate: float = 0.1,
) -> Case:
    """Draw parameters, gradients with more than is asked for, and a rate of either sign.

    Of a `loose` network W2 is wider than layer 1: each layer is updated on its own.
    """
    parameters = draw_layers(sizes, rng)
    if loose and "W2" in parameters:
        parameters["W2"] = rng.standard_normal((sizes[2], sizes[1] + loose))
    grads = {f"d{name}": rng.standard_normal(one.shape) for name, one in parameters.items()}
    grads["dA1"] = np.ones((5, 2))
    return {"parameters": parameters, "grads": grads, "learning_rate": learning_rate}


def stepped(parameters: Arrays, grads: Arrays, learning_rate: float) -> Values:
    """Return the parameters after a step of torch's SGD, uphill for a rate below 0."""
    tensors = {name: torch.tensor(one, requires_grad=True) for name, one in parameters.items()}
    for name, tensor in tensors.items():
        tensor.grad = torch.from_numpy(grads[f"d{name}"])
    up = learning_rate < 0
    torch.optim.SGD(tensors.values(), lr=abs(learning_rate), maximize=up).step()
    return {name: tensor.detach() for name, tensor in tensors.items()}


def step_gauges(parameters: Arrays, grads: Arrays, learning_rate: float) -> Values:
    """Return the sizes of both terms of a step."""
    return {
        name: np.abs(one) + abs(learning_rate) * np.abs(grads[f"d{name}"])
        for name, one in parameters.items()
    }


def update(function: Callable[..., Arrays], stem: str, **choices: Any) -> FunctionTwin:
    """Return the row of a step of gradient descent, as three of the assignments have it."""
    return FunctionTwin(
        name=f"{stem}.{function.__name__}",
        formula="theta = theta - alpha dtheta",
        source=f"{STEP_BY_STEP}; torch.optim.SGD",
        proves=(function.__name__,),
        ours=function,
        theirs=stepped,
        bridge=None,
        gauges=step_gauges,
        weight=0.4,
        edges={"no step at all": {"learning_rate": 0}, "uphill": {"learning_rate": -0.1}},
        **{
            "draw": draw_step,
            "cases": {"sizes": layer_sizes, "loose": st.integers(0, 2), "learning_rate": rates},
            **choices,
        },
    )


def by_root_of_inputs(randn: Array, n_prev: int) -> Array:
    """Return weights as the assignment divides."""
    return np.asarray(randn / np.sqrt(n_prev))


def drawn(
    function: Callable[..., Arrays], stem: str, factor: Callable[..., Array], **choices: Any
) -> FunctionTwin:
    """Return the row of an initialization: what NumPy's seed 3 draws, to the last bit."""
    (argument,) = inspect.signature(function).parameters
    return FunctionTwin(
        name=f"{stem}.{function.__name__}",
        source=f"{APPLICATION}; numpy.random.seed, numpy.random.randn",
        proves=(function.__name__,),
        ours=function,
        theirs=lambda **case: notebook_layers(case[argument], 3, factor),
        exact=True,
        draw=lambda rng, sizes=(5, 4, 3): {argument: sizes},
        cases={"sizes": layer_sizes | layer_sizes.map(list)},
        edges={"as large as a picture": {"sizes": [60, 50, 40, 1]}},
        weight=0.2,
        **choices,
    )


def draw_training(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (5, 6, 5, 1),
    m: int = 20,
    learning_rate: float = 0.1,
    iterations: int = 60,
    seed: int = 3,
) -> Case:
    """Draw data to be separated; it stands in a tuple, as trainings are in float64 whatever it is.

    3 is the seed of the notes, 1 that of the official assignment.
    """
    data = draw_data(sizes, m, rng)
    choices = {"learning_rate": learning_rate, "iterations": iterations, "seed": seed}
    return {"data": (data["X"], data["Y"]), "sizes": sizes, **choices}


def trained(
    data: tuple[Array, Array], sizes: Any, learning_rate: float, iterations: int, seed: int
) -> Values:
    """Return the parameters after our descent."""
    given = {} if seed == 3 else {"seed": seed}
    return ours.L_layer_model(*data, sizes, learning_rate, iterations, isPlot=False, **given)


def trained_by_torch(
    data: tuple[Array, Array], sizes: Any, learning_rate: float, iterations: int, seed: int
) -> Values:
    """Return the parameters after SGD on the mean cost, from the same draws."""
    module = reference(notebook_layers(sizes, seed, by_root_of_inputs), "relu")
    X, Y = rows(data[0]), rows(data[1].astype(float))
    optimizer = gradient_descent(module.parameters(), learning_rate=learning_rate)
    for _ in range(iterations):
        optimizer.zero_grad()
        (functional.binary_cross_entropy(module(X), Y, reduction="sum") / len(X)).backward()
        optimizer.step()
    return dict(unload(module))


def training_calls(
    data: tuple[Array, Array], sizes: Any, seed: int, learning_rate: float, iterations: int
) -> Iterator[Call]:
    """Yield a short training."""
    yield (
        "scratch.course.deep.L_layer_model",
        {
            "X": data[0],
            "Y": data[1],
            "layers_dims": list(sizes),
            "learning_rate": learning_rate,
            "num_iterations": 2,
            "print_cost": False,
            "isPlot": False,
            "seed": 1,
        },
    )


TRAINING_ROW = FunctionTwin(
    name="deep.L_layer_model",
    formula="W = randn / sqrt(n_prev) of seed 3, then theta = theta - alpha dtheta",
    source=f"{APPLICATION}; torch.optim.SGD",
    proves=("L_layer_model",),
    ours=trained,
    theirs=trained_by_torch,
    bridge=None,
    wide=False,
    budget=TRAINING,
    gauges=lambda **case: training_gauges(trained(**case), case["learning_rate"]),
    draw=draw_training,
    cases={
        "sizes": layer_sizes,
        "m": st.integers(2, 20),
        "iterations": st.integers(0, 40),
        "seed": st.sampled_from([3, 1, 0, 2**32 - 1]),
    },
    edges={"the official seed": {"seed": 1}, "no iteration": {"iterations": 0}},
    weight=0.1,
    calls=training_calls,
)

TWINS = (
    activation("sigmoid"),
    activation("relu"),
    LINEAR,
    LAYER,
    NETWORK,
    GIVEN,
    PREDICT,
    update(ours.update_parameters, "deep"),
    drawn(
        ours.initialize_parameters_deep,
        "deep",
        by_root_of_inputs,
        formula="W = randn / sqrt(n_prev) of seed 3, b = 0",
    ),
    TRAINING_ROW,
)
