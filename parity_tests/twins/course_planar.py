"""The course's planar data classification with one hidden layer: `scratch.course.planar`."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import BY_NAME, rows
from parity_tests.drawing import Array, draw, examples, seeds, widths
from parity_tests.mistakes import Values
from parity_tests.twins import _course as course
from scratch.course import planar as ours

TAUGHT = 'Course 1, week 3, "Planar data classification with one hidden layer"'

#: sizes of input, hidden and output layer.
three_sizes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))


def passed(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return our cache, cost and gradients, whose keys must come in the assignment's order."""
    A2, cache = ours.forward_propagation(X, parameters)
    grads = ours.backward_propagation(parameters, cache, X, Y)
    assert [*cache, *grads] == ["Z1", "A1", "Z2", "A2", "dW1", "db1", "dW2", "db2"]
    assert A2 is cache["A2"]
    J = ours.compute_cost(A2, Y)
    assert type(J) is float
    return {**cache, **grads, "J": X.dtype.type(J)}


def drawn(seed: int, **sizes: int) -> Values:
    """Return our draws after NumPy's global seed, and the number that comes next."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    found = {**ours.initialize_parameters(**sizes), "next": np.random.rand()}  # noqa: NPY002
    np.random.set_state(before)  # noqa: NPY002
    return found


def drawn_by_numpy(n_x: int, n_h: int, n_y: int, seed: int) -> Values:
    old = np.random.RandomState(seed)
    W1, W2 = 0.01 * old.randn(n_h, n_x), 0.01 * old.randn(n_y, n_h)
    biases = {"b1": np.zeros((n_h, 1)), "b2": np.zeros((n_y, 1))}
    return {"W1": W1, "W2": W2, **biases, "next": old.rand()}


# fmt: off
TWINS = (
    course.row(ours, "sigmoid", ours.sigmoid, lambda x: torch.sigmoid(x), names=("sigmoid",),
        bridge=BY_NAME, formula="1 / (1 + e^-x)", source=f"{TAUGHT}; torch.sigmoid",
        float32=True, weight=0.4,
        draw=lambda rng, shape=(3, 4), kind="normal": {"x": draw(kind, shape, rng, 3.0)},
        cases={"shape": st.tuples(widths, examples),
               "kind": st.sampled_from(["normal", "saturated"])},
        edges={"a number": {"shape": ()}, "one axis": {"shape": (5,)},
               "three axes": {"shape": (2, 3, 4)}, "far out": {"kind": "saturated"}}),
    course.row(ours, "layer_sizes",
        lambda X, Y: {"sizes": np.array(ours.layer_sizes(X, Y), X.dtype)},
        lambda X, Y: {"sizes": np.array([rows(X).shape[1], 4, rows(Y).shape[1]], X.dtype)},
        formula="n_x, 4, n_y", source=f"{TAUGHT}; torch.Tensor.shape",
        draw=lambda rng, n_x=5, n_y=2, m=3: {
            "X": rng.standard_normal((n_x, m)), "Y": rng.standard_normal((n_y, m))},
        cases={"n_x": widths, "n_y": widths, "m": examples}),
    course.row(ours, "initialize_parameters", drawn, drawn_by_numpy, exact=True,
        formula="W = 0.01 randn, W1 before W2, b = 0, of NumPy's global generator",
        source=f"{TAUGHT}; numpy.random.seed, numpy.random.randn",
        draw=lambda rng, sizes=(2, 4, 1), of=2: dict(
            zip(("n_x", "n_h", "n_y", "seed"), (*sizes, of), strict=True)),
        cases={"sizes": three_sizes, "of": seeds}),
    course.passing(ours, "network", passed,
        lambda depth: ("Z1", "A1", "Z2", "A2", "dW1", "db1", "dW2", "db2", "J"), "tanh",
        formula="A2 = sigmoid(W2 tanh(W1 X + b1) + b2); J = -1/m sum (Y log A2 + ...)",
        source=f"{TAUGHT}; torch.nn.functional.binary_cross_entropy_with_logits",
        proves=("forward_propagation", "compute_cost", "backward_propagation"),
        draw=partial(course.draw_data, sizes=(3, 5, 1), m=8),
        cases={"sizes": three_sizes, "m": examples, "kind": st.sampled_from(["normal", "grid"])},
        edges={"two outputs share one m": {"sizes": (3, 4, 2)}, "one example": {"m": 1}}),
    course.predicting(ours, lambda X, Y, parameters: ours.predict(parameters, X), "tanh", False,
        source=f"{TAUGHT}; torch.gt", cases={"sizes": three_sizes, "m": examples}),
    course.descent(ours, "update_parameters", edges=course.DESCENT_EDGES,
        draw=partial(course.draw_walk, sizes=(3, 5, 1), learning_rate=1.2),
        cases={"sizes": three_sizes, "loose": st.just(0)}),
    course.training(ours, "nn_model",
        lambda data, sizes, epochs: ours.nn_model(data[0], data[1], sizes[1], epochs),
        lambda randn, n_prev: randn * 0.01,
        lambda: ("gradient_descent", {"learning_rate": 1.2}), "tanh",
        formula="W = 0.01 randn of seed 3, then theta = theta - 1.2 dtheta",
        source=f"{TAUGHT}; torch.optim.SGD",
        draw=partial(course.draw_training, sizes=(2, 4, 1), epochs=30),
        cases={"sizes": three_sizes, "m": st.integers(2, 30), "epochs": st.integers(0, 20)},
        edges={"a long way": {"epochs": 100}}))
# fmt: on
