"""Logistic regression: the pair, its cost at once and by loops, descent and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit, log_expit
from torch.nn import functional

from parity_tests.compare.bridge import rows
from parity_tests.compare.budgets import GRADIENT, STEP
from parity_tests.compare.gauges import product
from parity_tests.drawing import Array, draw, examples, moderate_kinds, smooth
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation
from parity_tests.twins._relations import spoilt
from scratch import logistic_regression as ours
from scratch.network import Network, cost_and_gradients
from scratch.parameters import Parameters
from torch_ref import logistic_regression as theirs

VECTORIZED = 'Course 1, week 2, "Vectorizing logistic regression\'s gradient output"'


def draw_data(rng: np.random.Generator, n_x: int = 5, m: int = 12, kind: str = "normal",
    scale: float = 1.0, b: float = 0.5,
    given: Mapping[str, Any] | None = None) -> Case:  # fmt: skip
    """Draw w, some of it 0, X and labels of both kinds where there is room; or take them."""
    if given:
        return {name: np.array(one)[()] for name, one in given.items()}
    w = draw("zeros", (n_x, 1), rng, scale)
    w[0] = scale  # a single certain example costs and pulls as good as nothing
    X, Y = draw(kind, (n_x, m), rng), rng.permutation(np.resize([0.0, 1.0], m))[None]
    return {"w": w, "b": np.float64(b), "X": X, "Y": Y}


def draw_some(names: Sequence[str], rng: np.random.Generator, **settings: Any) -> Case:
    """Draw the data of `draw_data`, and return some of them in this order."""
    data = draw_data(rng, **settings)
    return {name: data[name] for name in names}


def smooth_up_to_1(scale: float = 1.0, **settings: Any) -> bool:
    return scale <= 1 and smooth(**settings)


CASES: dict[str, Any] = {
    "n_x": st.integers(1, 6), "m": examples, "kind": moderate_kinds,
    "scale": st.sampled_from([1.0, 0.01, 100.0]), "b": st.just(0.0) | st.floats(-5, 5),
}  # fmt: skip
SHAPES = {"one feature": {"n_x": 1}, "one example": {"m": 1}, "one of both": {"n_x": 1, "m": 1}}


#: logits of 1e4, of which none, one or all are right, and one of 40 that is surely right.
CERTAIN: Any = {
    name: {"given": {"w": [[w]], "b": 0.0, "X": [X], "Y": [Y]}}
    for name, w, X, Y in (
        ("certain and right", 1e4, [1.0, -1.0, 1e-4], [1.0, 0.0, 1.0]),
        ("certain and wrong", 1e4, [1.0, -1.0], [0.0, 1.0]),
        ("half right", 1e4, [1.0, -1.0], [0.0, 0.0]),
        ("a tiny cost", 4.0, [10.0], [1.0]), ("a tiny gradient", -4.0, [10.0], [0.0]))
}  # fmt: skip


def summed(case: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    """Return logits, (1, m), the sizes that they sum up, and A."""
    w, b, X = case["w"], case["b"], case["X"]
    Z = np.einsum("ko,km->om", w, X) + b
    return Z, product("ko,km->om", w, X) + np.abs(b), expit(Z)


def pulled(E_dZ: Array, X: Array) -> dict[str, Any]:
    """Return the gauges of w and b for a dZ, (1, m), that errs by this much."""
    return {"w": product("om,km->ko", E_dZ, X), "b": E_dZ.sum()}


def pair_gauges(case: Mapping[str, Any], dA: Array) -> dict[str, Any]:
    _, E_Z, A = summed(case)
    slope = A * (1 - A)
    E_dZ = np.abs(dA) * (np.abs(1 - 2 * A) * slope * E_Z + slope + A)
    X = product("ko,om->km", case["w"], E_dZ)
    return {"output": slope * E_Z + A, "X": X, **pulled(E_dZ, case["X"])}


def cost_gauges(case: Mapping[str, Any], dJ: Any = 1.0, J: str = "output") -> dict[str, Any]:
    """Return the gauges of J and its gradients; where Y = 0 torch takes numbers like Z apart."""
    (Z, E_Z, A), Y, m = summed(case), case["Y"], case["Y"].shape[1]
    E_J = expit((1 - 2 * Y) * Z) * E_Z
    E_J += np.maximum(-log_expit((2 * Y - 1) * Z), (1 - Y) * np.abs(Z))
    E_dZ = np.abs(dJ) * (A * (1 - A) * E_Z + A + np.abs(A - Y)) / m
    return {J: E_J.sum() / m, **pulled(E_dZ, case["X"])}


def own_gauges(**case: Any) -> Values:
    return cost_gauges(case, J="J")


def of_the_network(run: Any, w: Array, b: Any, X: Array, Y: Array, **_: Any) -> Any:
    """Return J and its gradients, and those of the network of one unit with a sigmoid."""
    parameters = Parameters({"W1": rows(w).numpy(), "b1": np.reshape(b, (1, 1))})
    J, gradients = cost_and_gradients(parameters, X, Y, Network(layer_sizes=(len(w), 1)))
    W1 = rows(gradients["W1"]).numpy()
    return run("propagate", w=w, b=b, X=X, Y=Y), {"J": J, "w": W1, "b": gradients["b1"][0, 0]}


def draw_descent(
    rng: np.random.Generator, learning_rate: float = 0.1, steps: int = 30, **settings: Any
) -> Case:
    return {**draw_data(rng, **settings), "learning_rate": learning_rate, "steps": steps}


def descent_gauges(**case: Any) -> Values:
    """Return the gauges: a gradient depends on w and b alike, and a cost may be small at an end."""
    w, b, _ = ours.gradient_descent(**case)
    size = max(np.abs(one).max() for one in (w, b, case["w"], case["b"]))
    costs = max(cost_gauges({**case, **end})["output"] for end in ({}, {"w": w, "b": b}))
    return {"w": size, "b": size, "costs": costs}


def flat(propagate: Any, **case: Any) -> Values:
    J, gradients = propagate(**case)
    return {"J": J, **gradients}


# fmt: off
FORWARD = PairTwin(
    name="logistic_regression",
    formula="A = sigmoid(w^T X + b)",
    source='Course 1, week 2, "Logistic regression"; torch.nn.functional.linear, torch.sigmoid',
    proves=("logistic_regression_forward", "logistic_regression_backward"),
    ours=Pair(ours.logistic_regression_forward, ours.logistic_regression_backward),
    theirs=theirs.logistic_regression,
    draw=partial(draw_some, ("X", "w", "b")), cases=CASES, edges=SHAPES, smooth=smooth_up_to_1,
    gauges=pair_gauges)


PROPAGATED: dict[str, Any] = {
    "formula": "J = -1/m sum (Y log A + (1 - Y) log(1 - A));  dw = 1/m X (A - Y)^T, "
        "db = 1/m sum (A - Y)",
    "draw": draw_data, "cases": CASES, "edges": {**SHAPES, **CERTAIN}, "weight": 0.5}

BY_AUTOGRAD = PairTwin(
    name="propagate-by-autograd",
    source=f"{VECTORIZED}; torch.autograd.grad",
    proves=("propagate",),
    ours=Pair(ours.propagate, lambda dJ, cache: {key: dJ * one for key, one in cache.items()}),
    theirs=lambda w, b, X, Y: functional.binary_cross_entropy_with_logits(
        functional.linear(X, w, b), Y),
    constants=("X", "Y"), smooth=smooth_up_to_1, gauges=cost_gauges, **PROPAGATED)


def propagated(name: str, **others: Any) -> FunctionTwin:
    return FunctionTwin(
        name=name, proves=(name,), gauges=own_gauges, budgets={"w": GRADIENT, "b": GRADIENT},
        source=f"{VECTORIZED}; torch.nn.functional.binary_cross_entropy_with_logits",
        ours=partial(flat, getattr(ours, name)), theirs=partial(flat, getattr(theirs, name)),
        **PROPAGATED, **others)


PROPAGATE = propagated("propagate", relations=[
    Relation(name="it is the network of one unit", holds=of_the_network,
        broken_by=spoilt("b", np.ones_like), gauges=own_gauges)])
LOOPS = propagated("propagate_with_loops")

DESCENT = FunctionTwin(
    name="logistic-regression-descends",
    formula="w = w - alpha dw, b = b - alpha db, each cost that before its step",
    source='Course 1, week 2, "Gradient descent"; torch.optim.SGD',
    proves=("gradient_descent",), ours=ours.gradient_descent, theirs=theirs.gradient_descent,
    names=("w", "b", "costs"), budget=STEP,
    draw=draw_descent, edges={**SHAPES, "a long way": {"steps": 300}},
    cases={"n_x": CASES["n_x"], "m": examples, "steps": st.integers(1, 10)},
    gauges=descent_gauges, weight=0.2)

PREDICT = FunctionTwin(
    name="logistic-regression-predicts",
    formula="1 where A > 0.5, else 0",
    source='Course 1, week 2, "Logistic regression with a neural network mindset"; torch.gt',
    proves=("predict",), ours=ours.predict, theirs=theirs.predict, names=("predictions",),
    exact=True, weight=0.3,
    draw=partial(draw_some, ("w", "b", "X")), cases={**CASES, "kind": st.just("normal")},
    edges={**SHAPES, "even odds": {"given": {"w": [[1.0]], "b": 0.0, "X": [[0.0, 1.0, -1.0]]}}})
# fmt: on

TWINS = (FORWARD, BY_AUTOGRAD, PROPAGATE, LOOPS, DESCENT, PREDICT)
