"""The course's planar data classification with one hidden layer: `scratch.course.planar`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, unload
from parity_tests.compare.budgets import FORWARD, GRADIENT, TRAINING
from parity_tests.compare.course import (
    Arrays,
    draw_data,
    draw_layers,
    layers_of,
    notebook_layers,
    numpy_seed,
    pass_gauges,
    reference,
    signal_gauges,
    torch_pass,
    training_gauges,
)
from parity_tests.compare.gauges import product
from parity_tests.compare.measurement import Array
from parity_tests.drawing import draw, examples, seeds, widths
from parity_tests.rows import Case, Change, FunctionTwin, Mistake, Values
from parity_tests.twins.course_deep import draw_step, update
from scratch.course import planar as ours
from torch_ref.linear import linear
from torch_ref.optimizers import gradient_descent

Call = tuple[str, Case]

typed_into = partial(Change, "scratch.course.planar")

TAUGHT = 'Course 1, week 3, "Planar data classification with one hidden layer"'

#: sizes of input, hidden and output layer.
three_sizes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))


def draw_network(
    rng: np.random.Generator, sizes: tuple[int, ...] = (3, 5, 1), m: int = 8, kind: str = "normal"
) -> Case:
    """Draw inputs, labels and both layers."""
    return draw_data(sizes, m, rng, kind)


def passed(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return our cache, cost and gradients, whose keys must come in the assignment's order."""
    A2, cache = ours.forward_propagation(X, parameters)
    grads = ours.backward_propagation(parameters, cache, X, Y)
    assert [*cache, *grads] == ["Z1", "A1", "Z2", "A2", "dW1", "db1", "dW2", "db2"]
    assert A2 is cache["A2"]
    J = ours.compute_cost(A2, Y)
    assert type(J) is float
    return {**cache, "J": X.dtype.type(J), **grads}


def passed_by_torch(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return the same of torch's tanh network."""
    found = torch_pass(parameters, "tanh", X, Y)
    return {name: one for name, one in found.items() if name[:2] not in ("dZ", "dA")}


def passed_gauges(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return the running-error gauges of a pass."""
    found = torch_pass(parameters, "tanh", X, Y)
    gauges = {
        **pass_gauges(parameters, "tanh", X, Y),
        **signal_gauges(parameters, X, found),
    }
    return {name: one for name, one in gauges.items() if name[:2] not in ("dX", "dZ", "dA")}


def network_calls(X: Array, Y: Array, **parameters: Array) -> Iterator[Call]:
    """Yield the calls of a pass."""
    A2, cache = ours.forward_propagation(X, parameters)
    given = {"parameters": parameters, "cache": cache, "X": X, "Y": Y}
    yield "scratch.course.planar.forward_propagation", {"X": X, "parameters": parameters}
    yield "scratch.course.planar.compute_cost", {"A2": A2, "Y": Y}
    yield "scratch.course.planar.backward_propagation", given


NETWORK = FunctionTwin(
    name="planar.network",
    formula="A2 = sigmoid(W2 tanh(W1 X + b1) + b2); J = -1/m sum (Y log A2 + (1 - Y) log(1 - A2))",
    source=f"{TAUGHT}; torch.nn.functional.binary_cross_entropy_with_logits",
    proves=("forward_propagation", "compute_cost", "backward_propagation"),
    ours=passed,
    theirs=passed_by_torch,
    bridge=None,
    budget=GRADIENT,
    budgets={"J": FORWARD},
    draw=draw_network,
    cases={"sizes": three_sizes, "m": examples, "kind": st.sampled_from(["normal", "grid"])},
    edges={"two outputs share one m": {"sizes": (3, 4, 2)}, "one example": {"m": 1}},
    gauges=passed_gauges,
    calls=network_calls,
    mistakes=(
        Mistake(
            name="planar-gradients-without-1/m",
            seen="eriklindernoren/ML-From-Scratch pull request 126",
            change=typed_into("divisor=X.shape[1])", "divisor=1)"),
        ),
    ),
)


def draw_cache(rng: np.random.Generator, sizes: tuple[int, ...] = (3, 4, 1), m: int = 7) -> Case:
    """Draw a cache that no network has left, beside integers and nothing for what is not read."""
    n_x, n_h, n_y = sizes
    cache = {
        "Z1": np.zeros((n_h, m), int),
        "A1": np.tanh(rng.standard_normal((n_h, m))),
        "Z2": None,
        "A2": 1 / (1 + np.exp(rng.standard_normal((n_y, m)))),
    }
    data = {"X": rng.standard_normal((n_x, m)), "Y": rng.integers(0, 2, (n_y, m))}
    return {"parameters": draw_layers(sizes, rng), "cache": cache, **data}


def pulled_by_torch(parameters: Arrays, cache: Arrays, X: Array, Y: Array) -> Values:
    """Return the gradients from the cache's A1 and A2 by torch's own derivatives."""
    A1, A2 = rows(cache["A1"]), rows(cache["A2"])
    first, hidden = torch.zeros_like(A1).requires_grad_(), A1.clone().requires_grad_()
    W1, W2 = (torch.from_numpy(parameters[name]).requires_grad_() for name in ("W1", "W2"))
    dZ2 = (A2 - rows(Y.astype(X.dtype))) / X.shape[1]
    b2 = torch.zeros(len(parameters["W2"]), dtype=A1.dtype).requires_grad_()
    dA1, dW2, db2 = torch.autograd.grad(linear(hidden, W2, b2), (hidden, W2, b2), dZ2)
    dZ1 = torch.ops.aten.tanh_backward(dA1, A1)
    b1 = torch.zeros(first.shape[1], dtype=A1.dtype).requires_grad_()
    dW1, db1 = torch.autograd.grad(linear(rows(X), W1, b1), (W1, b1), dZ1)
    return {"dW1": dW1, "db1": db1[:, None], "dW2": dW2, "db2": db2[:, None]}


def pulled_gauges(parameters: Arrays, cache: Arrays, X: Array, Y: Array) -> Values:
    """Return the sizes of the terms of each gradient."""
    dZ2 = (cache["A2"] + Y) / X.shape[1]
    dZ1 = product("nk,nm->km", parameters["W2"], dZ2)
    return {
        "dW1": product("nm,km->nk", dZ1, X),
        "db1": dZ1.sum(axis=1, keepdims=True),
        "dW2": product("nm,km->nk", dZ2, cache["A1"]),
        "db2": dZ2.sum(axis=1, keepdims=True),
    }


BELIEVED = FunctionTwin(
    name="planar.backward_propagation",
    formula="dZ2 = A2 - Y, dZ1 = W2^T dZ2 (1 - A1^2), of the cache's A1 and A2",
    source=f"{TAUGHT}; torch.autograd.grad",
    proves=("backward_propagation",),
    ours=ours.backward_propagation,
    theirs=pulled_by_torch,
    bridge=None,
    budget=GRADIENT,
    draw=draw_cache,
    cases={"sizes": three_sizes, "m": examples},
    gauges=pulled_gauges,
    weight=0.2,
)


def draw_predictions(rng: np.random.Generator, steepness: float = 4.0, **choices: Any) -> Case:
    """Draw a network whose predictions are of both kinds, or all one half where it is flat."""
    case = draw_network(rng, **choices)
    ordered = np.sort(passed(**case)["Z2"], axis=1)
    middle = (ordered[:, :1] + ordered[:, -1:]) / 2 + 0.01  # off the middle of equal logits
    case["b2"] = steepness * (case["b2"] - middle)
    return {"X": case["X"], **layers_of({**case, "W2": steepness * case["W2"]})}


def predicted_by_torch(X: Array, **parameters: Array) -> Values:
    """Return the predictions of torch's network."""
    return {"predictions": columns(reference(parameters, "tanh")(rows(X)) > 0.5)}


PREDICT = FunctionTwin(
    name="planar.predict",
    formula="A2 > 0.5",
    source=f"{TAUGHT}; torch.gt",
    proves=("predict",),
    ours=lambda X, **parameters: {"predictions": ours.predict(parameters, X)},
    theirs=predicted_by_torch,
    bridge=None,
    exact=True,
    draw=draw_predictions,
    cases={"sizes": three_sizes, "m": examples},
    edges={"an output of one half": {"steepness": 0.0}},
    weight=0.2,
    calls=lambda X, **parameters: iter(
        [("scratch.course.planar.predict", {"parameters": parameters, "X": X})]
    ),
)

SIGMOID = FunctionTwin(
    name="planar.sigmoid",
    formula="1 / (1 + e^-x)",
    source=f"{TAUGHT}; torch.sigmoid",
    proves=("sigmoid",),
    ours=ours.sigmoid,
    theirs=lambda x: torch.sigmoid(x),
    names=("sigmoid",),
    draw=lambda rng, shape=(3, 4), kind="normal": {"x": draw(kind, shape, rng, 3.0)},
    cases={"shape": st.tuples(widths, examples), "kind": st.sampled_from(["normal", "saturated"])},
    edges={
        "a number": {"shape": ()},
        "one axis": {"shape": (5,)},
        "three axes": {"shape": (2, 3, 4)},
        "far out": {"kind": "saturated"},
    },
    float32=True,
    weight=0.4,
)

SIZES = FunctionTwin(
    name="planar.layer_sizes",
    formula="n_x, 4, n_y",
    source=f"{TAUGHT}; torch.Tensor.shape",
    proves=("layer_sizes",),
    ours=lambda X, Y: {"sizes": np.array(ours.layer_sizes(X, Y), X.dtype)},
    theirs=lambda X, Y: {"sizes": np.array([rows(X).shape[1], 4, rows(Y).shape[1]], X.dtype)},
    bridge=None,
    draw=lambda rng, n_x=5, n_y=2, m=3: {
        "X": rng.standard_normal((n_x, m)),
        "Y": rng.standard_normal((n_y, m)),
    },
    cases={"n_x": widths, "n_y": widths, "m": examples},
    weight=0.2,
    calls=lambda **data: iter([("scratch.course.planar.layer_sizes", data)]),
)


def drawn(sizes: tuple[int, ...], seed: int) -> Values:
    """Return our draws after NumPy's global seed, and the number that comes next."""
    with numpy_seed(seed):
        return {**ours.initialize_parameters(*sizes), "next": np.random.rand()}  # noqa: NPY002


def drawn_by_numpy(sizes: tuple[int, ...], seed: int) -> Values:
    """Return 0.01 randn, W1 before W2, and the number that comes next."""
    with numpy_seed(seed):
        W1 = np.random.randn(sizes[1], sizes[0]) * 0.01  # noqa: NPY002
        W2 = np.random.randn(sizes[2], sizes[1]) * 0.01  # noqa: NPY002
        biases = {"b1": np.zeros((sizes[1], 1)), "b2": np.zeros((sizes[2], 1))}
        return {"W1": W1, "W2": W2, **biases, "next": np.random.rand()}  # noqa: NPY002


INITIALIZE = FunctionTwin(
    name="planar.initialize_parameters",
    formula="W = 0.01 randn, W1 before W2, b = 0, of NumPy's global generator",
    source=f"{TAUGHT}; numpy.random.seed, numpy.random.randn",
    proves=("initialize_parameters",),
    ours=drawn,
    theirs=drawn_by_numpy,
    bridge=None,
    exact=True,
    draw=lambda rng, sizes=(2, 4, 1), seed_of_numpy=2: {"sizes": sizes, "seed": seed_of_numpy},
    cases={"sizes": three_sizes, "seed_of_numpy": seeds},
    weight=0.2,
    calls=lambda sizes, seed: iter(
        [
            (
                "scratch.course.planar.initialize_parameters",
                dict(zip(("n_x", "n_h", "n_y"), sizes, strict=True)),
            )
        ]
    ),
    draws_from_numpy=frozenset({"scratch.course.planar.initialize_parameters"}),
)


def draw_training(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (2, 4, 1),
    m: int = 30,
    iterations: int = 100,
) -> Case:
    """Draw data; it stands in a tuple, as trainings are in float64 whatever it is."""
    data = draw_data(sizes, m, rng)
    return {"data": (data["X"], data["Y"]), "n_h": sizes[1], "iterations": iterations}


def trained(data: tuple[Array, Array], n_h: int, iterations: int) -> Arrays:
    """Return the parameters after our descent."""
    return ours.nn_model(*data, n_h, iterations)


def trained_by_torch(data: tuple[Array, Array], n_h: int, iterations: int) -> Values:
    """Return the parameters after SGD at 1.2 on the mean cost, from the same draws."""
    sizes = len(data[0]), n_h, len(data[1])
    start = notebook_layers(sizes, 3, lambda randn, n_prev: randn * 0.01)
    module, (X, Y) = reference(start, "tanh"), (rows(data[0]), rows(data[1].astype(float)))
    optimizer = gradient_descent(module.parameters(), learning_rate=1.2)
    for _ in range(iterations):
        optimizer.zero_grad()
        logits = module.logits(X)
        loss = functional.binary_cross_entropy_with_logits(logits, Y, reduction="sum")
        (loss / len(X)).backward()
        optimizer.step()
    return dict(unload(module))


def training_calls(data: tuple[Array, Array], n_h: int, iterations: int) -> Iterator[Call]:
    """Yield a short training."""
    choices = {"n_h": n_h, "num_iterations": 2, "print_cost": False}
    yield "scratch.course.planar.nn_model", {"X": data[0], "Y": data[1], **choices}


TRAINING_ROW = FunctionTwin(
    name="planar.nn_model",
    formula="W = 0.01 randn of seed 3, then theta = theta - 1.2 dtheta",
    source=f"{TAUGHT}; torch.optim.SGD",
    proves=("nn_model",),
    ours=trained,
    theirs=trained_by_torch,
    bridge=None,
    wide=False,
    budget=TRAINING,
    gauges=lambda **case: training_gauges(trained(**case), 1.2),
    draw=draw_training,
    cases={"sizes": three_sizes, "m": st.integers(2, 30), "iterations": st.integers(0, 60)},
    weight=0.1,
    calls=training_calls,
    mistakes=(
        Mistake(
            name="planar-tanh-derivative-from-Z",
            seen="lazyprogrammer/facial-expression-recognition issue 2: 1 - z^2 of the input",
            change=typed_into(
                'activations.TanhCache(cache["A1"])',
                'activations.TanhCache(cache.get("Z1", cache["A1"]))',
            ),
        ),
        Mistake(
            name="global-generator-seeded",
            seen="Qiskit/qiskit issue 2850; glm-tools/pyglmnet issue 160",
            change=Change(
                "scratch.course._layers",
                "    return np.random.RandomState(seed)\n",
                "    np.random.seed(seed)\n    return np.random\n",
            ),
        ),
    ),
)

TWINS = (
    SIGMOID,
    SIZES,
    INITIALIZE,
    NETWORK,
    BELIEVED,
    PREDICT,
    update(
        ours.update_parameters,
        "planar",
        draw=partial(draw_step, sizes=(3, 5, 1)),
        cases={"sizes": three_sizes, "learning_rate": st.sampled_from([1.2, 0.3, -0.1, 2])},
    ),
    TRAINING_ROW,
)
