"""The course's deep network step by step, `scratch.course.deep`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.gauges import network_gauges
from parity_tests.drawing import Array, draw, examples, kinds, widths
from parity_tests.mistakes import Values
from parity_tests.rows import Case, Pair, PairTwin
from parity_tests.twins import _course as course
from parity_tests.twins import linear as plain
from parity_tests.twins._course import APPLICATION, STEP_BY_STEP
from scratch.course import deep as ours
from scratch.network import Network
from torch_ref.linear import linear


def draw_logits(rng: np.random.Generator, shape: Any = (4, 6), kind: str = "normal") -> Case:
    """Draw Z of any shape, one of them above 0."""
    Z = draw(kind, shape, rng, 2.0)
    Z.flat[0] = 1.5
    return {"Z": Z}


def activation(name: str, formula: str) -> PairTwin:
    # fmt: off
    backward = getattr(ours, f"{name}_backward")
    return PairTwin(name=f"deep.{name}", theirs=getattr(torch, name), formula=formula,
        ours=Pair(getattr(ours, name), lambda dA, cache: {"Z": backward(dA, cache)}),
        source=f"{STEP_BY_STEP}; torch.{name}", proves=(name, f"{name}_backward"),
        draw=draw_logits, cases={"shape": st.tuples(widths, examples), "kind": kinds},
        edges={"a number": {"shape": ()}, "one axis": {"shape": (7,)},
               "three axes": {"shape": (2, 3, 4)}, "zeros of either sign": {"kind": "zeros"}})
    # fmt: on


def layer_forward(A_prev: Array, W: Array, b: Array, activation: str) -> tuple[Array, Any]:
    """Return a layer's output; its cache must be ((A_prev, W, b), Z), or (A_prev, W, b) alone."""
    cache: Any
    A, cache = Z, inputs = ours.linear_forward(A_prev, W, b)
    if activation:
        A, cache = ours.linear_activation_forward(A_prev, W, b, activation)
        inputs, kept = cache
        assert np.array_equal(kept, Z, equal_nan=True)
    assert all(one is other for one, other in zip(inputs, (A_prev, W, b), strict=True))
    return A, (cache, activation)


def layer_backward(dA: Array, cache: Any) -> dict[str, Array]:
    """Return the gradients of a layer by input, dW and db times m, which they were divided by.

    Those of a layer with an activation must be those of its linear part.
    """
    cache, activation = cache
    if activation:
        inputs, Z = cache
        pulled = ours.linear_activation_backward(dA, cache, activation)
        steps = ours.linear_backward(getattr(ours, f"{activation}_backward")(dA, Z), inputs)
        assert all(map(np.array_equal, pulled, steps))
    else:
        pulled = ours.linear_backward(dA, cache)
    dA_prev, dW, db = pulled
    return {"A_prev": dA_prev, "W": dW * dA.shape[1], "b": db * dA.shape[1]}


def layer_gauges(arguments: Mapping[str, Any], upstream: Array) -> Values:
    """Return the gauges of a network of one layer, of its linear part by m and back again."""
    names = {"output": "output", "A_prev": "X", "W": "W1", "b": "b1"}
    layer = {names[name]: one for name, one in arguments.items() if name in names}
    sizes, output = layer["W1"].shape[::-1], arguments["activation"] or "identity"
    bounds = network_gauges(Network(layer_sizes=sizes, output=output), layer, upstream)
    return {name: bounds[one] for name, one in names.items()}


def draw_layer(
    rng: np.random.Generator, activation: str = "sigmoid", kind: str = "normal", **sizes: int
) -> Case:
    layer = plain.draw_layer(rng, kind=kind, weights=kind, **sizes)
    layer["b"][0] = np.abs(layer["b"][0]) + layer["W"].shape[1]  # alive
    return {**layer, "activation": activation}


def torch_layer(*layer: torch.Tensor, activation: str) -> torch.Tensor:
    Z = linear(*layer)
    return getattr(torch, activation)(Z) if activation else Z


def taught_cost(X: Array, Y: Array, **parameters: Array) -> tuple[Any, Any]:
    AL, caches = ours.L_model_forward(X, parameters)
    assert type(caches) is list
    return ours.compute_cost(AL, Y), (AL, Y, caches)


def names(depth: int) -> list[str]:
    return [f"{letter}{l}" for l in range(depth, 0, -1) for letter in ("dA", "dW", "db")]


def pulled_back(dJ: Any, cache: Any) -> dict[str, Array]:
    """Return the gradients by input, "dA1" that of X; last layer first they must come."""
    grads, m = ours.L_model_backward(*cache), cache[0].shape[1]
    assert list(grads) == names(len(cache[2]))
    pulled = {name[1:]: dJ * one for name, one in grads.items() if name[1] in "Wb"}
    return {"X": dJ * grads["dA1"] / m, **pulled}


def cost_gauges(arguments: Mapping[str, Any], upstream: Array) -> Values:
    layers, lambd = course.layers_of(arguments), arguments.get("lambd", 0.0)
    bounds = course.pass_gauges(arguments["X"], arguments["Y"], layers, lambd=lambd)
    inputs = [*layers] if "lambd" in arguments else ["X", *layers]
    return {"output": bounds["J"], **{n: np.abs(upstream) * bounds[f"d{n}"] for n in inputs}}


def passed(**case: Array) -> Values:
    """Return the gradients of the sum of the costs; that of A_(l-1) is called "dA" + str(l)."""
    return ours.L_model_backward(*taught_cost(**case)[1])


def by_root_of_inputs(randn: Array, n_prev: int) -> Any:
    return randn / np.sqrt(n_prev)


def trained(data: Any, sizes: Any, epochs: int, seed: int, learning_rate: float) -> Values:
    X, Y = data
    return ours.L_layer_model(X, Y, sizes, learning_rate, epochs, isPlot=False, seed=seed)


# fmt: off
TWINS = (
    activation("sigmoid", "A = 1 / (1 + e^-Z)"),
    activation("relu", "A = max(0, Z)"),
    PairTwin(name="deep.layer", ours=Pair(layer_forward, layer_backward), theirs=torch_layer,
        formula="A = g(W A_prev + b), or without g; dW = dZ A_prev^T / m, db = sum dZ / m",
        source=f"{STEP_BY_STEP}; torch.nn.functional.linear",
        proves=("linear_forward", "linear_backward", "linear_activation_forward",
                "linear_activation_backward"),
        constants=("activation",), draw=draw_layer, gauges=layer_gauges,
        cases={"n": widths, "n_prev": widths, "m": examples,
               "kind": st.sampled_from(["normal", "zeros", "grid"]),
               "activation": st.sampled_from(["", "sigmoid", "relu"])},
        edges={
            "linear": {"activation": ""}, "one example": {"activation": "", "m": 1},
            "a square W": {"activation": "", "n": 3, "n_prev": 3, "m": 3},
            "relu": {"activation": "relu"}, "exact ties": {"activation": "relu", "kind": "grid"},
        }),
    PairTwin(name="deep.network", ours=Pair(taught_cost, pulled_back), theirs=course.torch_cost,
        formula="J = -1/m sum (Y log AL + (1 - Y) log(1 - AL)), ReLU in hidden layers, sigmoid on "
            "top",
        source=f"{STEP_BY_STEP}; torch.nn.functional.binary_cross_entropy_with_logits",
        proves=("L_model_forward", "compute_cost", "L_model_backward"),
        constants=("Y",), draw=course.draw_data, gauges=cost_gauges, float32=False, weight=0.4,
        cases={"sizes": course.layer_sizes, "m": examples, "kind": course.exactness},
        edges={"one layer": {"sizes": (3, 1)}, "two outputs share one m": {"sizes": (4, 3, 2)},
               "exact ties": {"kind": "grid"}}),
    course.passing(ours, "L_model_backward", passed, names,
        formula="dA1 is the gradient of X, dA2 that of A1, ..., of the sum of the costs",
        source=f"{STEP_BY_STEP}; torch.autograd.grad", edges=course.ELEVEN_LAYERS),
    course.predicting(ours, ours.predict, "relu", True, source=f"{APPLICATION}; torch.gt",
        cases={"sizes": course.layer_sizes, "m": examples}),
    course.descent(ours, "update_parameters", edges=course.DESCENT_EDGES),
    course.drawn(ours.initialize_parameters_deep, by_root_of_inputs,
        "W = randn / sqrt(n_prev) of seed 3, b = 0"),
    course.training(ours, "L_layer_model", trained, by_root_of_inputs,
        lambda **choices: ("gradient_descent", choices),
        formula="W = randn / sqrt(n_prev) of seed 3, then theta = theta - alpha dtheta",
        source=f"{APPLICATION}; torch.optim.SGD",
        draw=partial(course.draw_training, epochs=5, seed=3, learning_rate=0.1),
        cases={"sizes": course.layer_sizes, "m": st.integers(2, 20), "epochs": st.integers(0, 40),
               "seed": st.sampled_from([3, 1, 0, 2**32 - 1])},
        edges={"the official seed": {"seed": 1}, "no iteration": {"epochs": 0},
               "a long way": {"epochs": 60}}))
# fmt: on
