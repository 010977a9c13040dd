"""The course's gradient checking: `scratch.course.gradient_checking`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn.utils import parameters_to_vector

from parity_tests.compare.bridge import BY_NAME
from parity_tests.compare.budgets import COURSE_DIFFERENCE
from parity_tests.compare.functions import draw_until
from parity_tests.drawing import Array, examples
from parity_tests.mistakes import Values
from parity_tests.rows import Case
from parity_tests.twins import _course as course
from parity_tests.twins._course import Arrays
from scratch.course import gradient_checking as ours
from torch_ref.gradient_checking import relative_error

TAUGHT = 'Course 2, week 1, "Gradient checking"'

SIZES = {"one layer": (4, 1), "two layers": (5, 6, 1), "four layers": (3, 8, 7, 6, 1)}
DEPTHS: Any = {name: {"sizes": sizes} for name, sizes in SIZES.items()}


def line(x: Any, theta: Any) -> Values:
    """Return J, its derivative, and what the check makes of it: a difference of a line is right."""
    checked = ours.gradient_check_1d(x, theta, 1e-3)
    assert type(checked) is float
    J, dtheta = ours.forward_propagation_1d(x, theta), ours.backward_propagation_1d(x, theta)
    return {"J": J, "dtheta": dtheta, "passes": checked < 1e-11}


def line_by_torch(x: torch.Tensor, theta: torch.Tensor) -> Values:
    theta = theta.requires_grad_()
    (dtheta,) = torch.autograd.grad(theta * x, theta)
    return {"J": theta * x, "dtheta": dtheta, "passes": True}


def vector(arrays: Arrays) -> torch.Tensor:
    return parameters_to_vector(map(torch.from_numpy, arrays.values()))


def there_and_back(**parameters: Array) -> Values:
    """Return vectors of a dictionary in any order, and of gradients that stand among others."""
    theta, keys = ours.dictionary_to_vector(dict(reversed(parameters.items())))
    wanted = {f"d{name}": one for name, one in parameters.items()}
    gradients: Any = {"dZ1": np.ones((2, 2)), **wanted, "dA1": None}
    back = ours.vector_to_dictionary(theta, parameters)
    assert not any(np.shares_memory(one, theta) for one in back.values())
    column = ours.gradients_to_vector(gradients)
    return {"theta": theta, "keys": keys, "gradients": column, **back}


def there_and_back_by_torch(**parameters: Array) -> Values:
    theta = vector(parameters).numpy()[:, None]
    keys = [name for name, array in parameters.items() for _ in range(array.size)]
    return {"theta": theta, "keys": keys, "gradients": theta, **parameters}


def draw_labelled(rng: np.random.Generator, flat: bool = False, **choices: Any) -> Case:
    """Draw a network and its labels, in one row or flat as the assignment has them."""
    case = course.draw_data(rng, **{"sizes": (4, 7, 6, 1), **choices})
    return {**case, "Y": case["Y"][0] if flat and len(case["Y"]) == 1 else case["Y"]}


def passed(X: Array, Y: Array, **parameters: Array) -> Values:
    """Return our cost and gradients, whose keys must come in the assignment's order."""
    J, cache = ours.forward_propagation_n(X, Y, parameters)
    gradients, depth = ours.backward_propagation_n(X, Y, cache), len(parameters) // 2
    assert (type(cache), len(cache)) == (tuple, 4 * depth)
    assert ["J", *gradients] == keys(depth)
    return {"J": J, **gradients}


def keys(depth: int) -> list[str]:
    names = [f"{name}{l}" for l in range(depth, 0, -1) for name in ("dA", "dZ", "dW", "db")]
    return ["J", *names[1:]]


def gradients_of(X: Array, Y: Array, parameters: Arrays) -> Arrays:
    found = course.torch_pass(X, Y, parameters)
    return {f"d{name}": found[f"d{name}"] for name in parameters}


def lost(X: Array, Y: Array, parameters: Arrays) -> Any:
    """Return the share of a gradient that differences of the cost at 1e-7 lose to round-off."""
    norm = np.sqrt(sum(np.square(one).sum() for one in gradients_of(X, Y, parameters).values()))
    return np.finfo(float).eps * course.pass_gauges(X, Y, parameters)["J"] / 1e-7 / norm


def differentiable(X: Array, Y: Array, parameters: Arrays) -> bool:
    """Tell whether differences keep seven digits: no rectified Z is within a step of 0."""
    rectified = ours.forward_propagation_n(X, Y, parameters)[1][:-4:4]
    return all((np.abs(Z) > 1e-5).all() for Z in rectified) and lost(X, Y, parameters) < 5e-8


def draw_differentiable(rng: np.random.Generator, **choices: Any) -> Case:
    """Draw a network that is differentiable, in a tuple: it is one to float64."""

    def drawn() -> Any:
        case = draw_labelled(rng, **choices)
        return case["X"], case["Y"], course.layers_of(case)

    return {"network": draw_until(differentiable, drawn)}


def spoilt(gradients: Arrays) -> dict[str, Arrays]:
    """Return gradients of which one is wrong, by its name."""
    return {name: gradients | {name: 1.5 * one + 1} for name, one in gradients.items()}


def checked(network: tuple[Array, Array, Arrays]) -> Values:
    """Return the check's answers to torch's gradients, one of them wrong, and if all are right."""
    X, Y, parameters = network
    gradients, check = gradients_of(*network), ours.gradient_check
    right = check(parameters, gradients, X, Y, -1e-7)  # the step may lead either way
    assert type(right) is float
    wrong = {n: np.float64(check(parameters, g, X, Y)) for n, g in spoilt(gradients).items()}
    return {**wrong, "passes": right < 1e-7}


def checked_by_torch(network: tuple[Array, Array, Arrays]) -> Values:
    gradients = gradients_of(*network)
    errors = {n: relative_error(vector(gradients), vector(g)) for n, g in spoilt(gradients).items()}
    return {**{name: np.float64(error) for name, error in errors.items()}, "passes": True}


# fmt: off
TWINS = (
    course.row(ours, "1d", line, line_by_torch, bridge=BY_NAME, formula="J = theta x, dtheta = x",
        source=f"{TAUGHT}; torch.autograd.grad",
        proves=("forward_propagation_1d", "backward_propagation_1d", "gradient_check_1d"),
        draw=lambda rng, size=1.0: dict(
            zip(("x", "theta"), size * (0.1 + np.abs(rng.standard_normal(2))), strict=True)),
        cases={"size": st.sampled_from([1.0, -1.0, 0.5])}),
    course.row(ours, "vectors", there_and_back, there_and_back_by_torch, exact=True,
        formula="theta = W1 row by row, then b1, W2, ..., a column",
        source=f"{TAUGHT}; torch.nn.utils.parameters_to_vector",
        proves=("dictionary_to_vector", "vector_to_dictionary", "gradients_to_vector"),
        draw=lambda rng, sizes=(4, 7, 6, 1), loose=0: course.draw_layers(sizes, rng, loose=loose),
        cases={"sizes": course.layer_sizes},
        edges={**DEPTHS, **course.ELEVEN_LAYERS, "layers that do not fit together": {"loose": 2}}),
    course.passing(ours, "network", passed, keys,
        formula="J = -1/m sum (Y log A + (1 - Y) log(1 - A)), and its gradients, of any depth",
        source=f"{TAUGHT}, N-dimensional; torch.autograd.grad",
        proves=("forward_propagation_n", "backward_propagation_n"), draw=draw_labelled,
        cases={"sizes": course.layer_sizes, "m": examples, "flat": st.booleans()},
        edges={**DEPTHS, **course.ELEVEN_LAYERS, "flat labels": {"flat": True}}),
    course.row(ours, "gradient_check", checked, checked_by_torch, wide=False,
        formula="|approximation - gradient| / (|approximation| + |gradient|)",
        source=f"{TAUGHT}, N-dimensional; torch.Tensor.norm",
        budget=COURSE_DIFFERENCE, draw=draw_differentiable, edges=DEPTHS, weight=0.1,
        cases={"m": st.integers(4, 9),
               "sizes": course.layer_sizes.filter(lambda sizes: len(sizes) > 2)}))
# fmt: on
