"""Gradient checking: difference quotients, their distance from gradients, and wrong gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import to_torch
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.measurement import Array
from parity_tests.compare.quantities import assert_equal
from parity_tests.drawing import powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation
from parity_tests.twins import _checked_networks as networks
from parity_tests.twins._checked_networks import NORMS, WRONG, arrays
from scratch import gradient_checking as ours
from scratch.parameters import Parameters
from torch_ref import gradient_checking as theirs

#: a quotient divides the round-off of J by a step of 1e-5 or less: beside gradients that is much.
DIFFERENCES = 1e9


def draw_parabola(rng: np.random.Generator, n: int = 2, power: int = 10,
    two_sided: bool = True) -> Case:  # fmt: skip
    """Draw parameters and coefficients that are small fractions of two: nothing rounds."""
    shapes = {"W1": (n, 3), "b1": (n, 1)}
    theta = {name: rng.integers(-8, 8, one) / 4 + 0.125 for name, one in shapes.items()}
    c = {f"c of {name}": 2.0 ** rng.integers(-2, 3, one) for name, one in shapes.items()}
    return {**theta, **c, "epsilon": 2.0**-power, "two_sided": two_sided}


def parabola(c: Any, named: Any) -> Any:
    """Return sum c theta^2 + (sum theta)^2, in which every parameter meets all others."""
    total = sum(one.sum() for one in named.values())
    return sum((c[f"c of {name}"] * one**2).sum() for name, one in named.items()) + total**2


def slopes(epsilon: float, two_sided: bool, **case: Array) -> Values:
    named, cost = Parameters({name: case[name] for name in ("W1", "b1")}), partial(parabola, case)
    return dict(ours.numerical_gradient(cost, named, epsilon=epsilon, two_sided=two_sided))


def slopes_by_torch(epsilon: float, two_sided: bool, **case: Array) -> Values:
    carried = {name: to_torch(name.split()[-1], one) for name, one in case.items()}
    named, cost = {name: carried[name] for name in ("W1", "b1")}, partial(parabola, carried)
    return arrays(theirs.numerical_gradient(cost, named, epsilon=epsilon, two_sided=two_sided))


def is_the_derivative(run: Any, **case: Any) -> None:
    """Hold quotients to 2 c theta + 2 sum theta, and to (c + 1) epsilon more from one side."""
    for two_sided in (True, False):
        values = run("numerical_gradient", **{**case, "two_sided": two_sided})
        total = case["W1"].sum() + case["b1"].sum()
        for name in ("W1", "b1"):
            c, more = case[f"c of {name}"], 0 if two_sided else case["epsilon"]
            assert_equal(values[name], 2 * c * case[name] + 2 * total + (c + 1) * more, name)


def draw_pair(rng: np.random.Generator, n: int = 30, power: float = 0.0) -> Case:
    drawn = (10.0**power * rng.standard_normal(n) for _ in range(2))
    return dict(zip(("approximation", "gradient"), drawn, strict=True))


def error_of(relative_error: Any, approximation: Any, gradient: Any) -> Any:
    return np.asarray(approximation).dtype.type(relative_error(approximation, gradient))


def is_scipys(run: Any, approximation: Array, gradient: Array) -> tuple[Values, Values]:
    a, g, apart = map(scipy.linalg.norm, (approximation, gradient, approximation - gradient))
    found = run("relative_error", approximation=approximation, gradient=gradient)
    return {"SciPy's": found["relative error"]}, {"SciPy's": np.float64(apart / (a + g))}


def knows_its_ends(run: Any, approximation: Array, gradient: Array) -> tuple[Values, Values]:
    """Return the errors of equals, opposites, one that is zero, two zeros and the double."""
    a = approximation
    pairs = (a, a), (a, -a), (a, 0 * a), (0 * a, a), (0 * a, -0 * a), (a, 2 * a)
    found = [run("relative_error", approximation=x, gradient=y)["relative error"] for x, y in pairs]
    return {"at its ends": np.array(found)}, {"at its ends": np.array([0, 1, 1, 1, 0, 1 / 3])}


# fmt: off
SLOPES = FunctionTwin(
    name="numerical_gradient",
    formula="(J(theta + epsilon) - J(theta - epsilon)) / (2 epsilon), one parameter at a time",
    source='Course 2, week 1, "Numerical approximation of gradients"; torch.autograd.gradcheck',
    proves=("numerical_gradient",), ours=slopes, theirs=slopes_by_torch, bridge=None, exact=True,
    draw=draw_parabola,
    cases={"n": st.integers(1, 4), "power": st.integers(4, 14), "two_sided": st.booleans()},
    edges={"from one side": {"two_sided": False}}, weight=0.5,
    relations=(Relation(name="quotients of a parabola are exact", holds=is_the_derivative,
        broken_by="difference-over-2-times-epsilon"),),
)

ERROR = FunctionTwin(
    name="relative_error",
    formula="||approximation - gradient|| / (||approximation|| + ||gradient||), 0 for two zeros",
    source='Course 2, week 1, "Gradient checking"; torch.linalg.vector_norm',
    proves=("relative_error",),
    ours=partial(error_of, ours.relative_error), theirs=partial(error_of, lambda *pair: (
        theirs.relative_error(*map(torch.from_numpy, pair)))),
    names=("relative error",), bridge=None, float32=True, wide=False,  # a Python number
    draw=draw_pair, cases={"n": st.integers(1, 60), "power": st.floats(-30, 30)},
    edges={
        "beyond the squares of float64": {"power": 200}, "the largest numbers": {"power": 307},
        "below the squares of float64": {"power": -200}, "the smallest numbers": {"power": -320}},
    relations=(
        Relation(name="SciPy's norms", holds=is_scipys, broken_by="error-over-the-gradient-alone"),
        Relation(name="its ends", holds=knows_its_ends, broken_by="error-over-the-gradient-alone")),
    mistakes=(
        Mistake(name="error-over-the-gradient-alone", margin=0.1,
            seen="ericchansen/q2mm pull request 248: divided by what may be 0"),
        Mistake(name="error-over-a-sum-halved-in-one-term", margin=0.1,
            seen="stan-dev/stan issue 297: (a - b) / ((abs(a) + abs(b) / 2)"),
        Mistake(name="error-not-relative", margin=1.0, seen="scipy/scipy issue 7766")),
)

#: quotients of differences: longdouble would take another step.
QUOTIENTS: dict[str, Any] = {
    "bridge": None, "budget": GRADIENT, "wide": False, "loosest": DIFFERENCES, "weight": 0.1}

CHECK = FunctionTwin(
    name="check_network",
    formula="the gradients of a network beside the quotients of its cost, penalties included",
    source='Course 2, week 1, "Gradient checking implementation notes"; torch.autograd.gradcheck',
    proves=("check_network",), ours=networks.checked, theirs=networks.checked_by_torch,
    draw=networks.draw_check, gauges=networks.check_gauges, **QUOTIENTS,
    cases={
        "hidden": st.sampled_from(["tanh", "relu", "leaky_relu"]),
        "output": st.sampled_from(["sigmoid", "softmax"]), "norm": st.sampled_from(list(NORMS)),
        "l1": st.sampled_from([0.0, 0.3]), "l2": st.sampled_from([0.0, 0.7]),
        "epsilon": st.none() | powers(-6, -5), "two_sided": st.booleans()},
    edges={
        "plain": {"l1": 0.0, "l2": 0.0}, "relu": {"hidden": "relu"},
        "leaky relu": {"hidden": "leaky_relu", "output": "sigmoid"},
        "from one side": {"two_sided": False},
        "from one side, at a step": {"two_sided": False, "epsilon": 1e-6},
        "batch norm": {"norm": "biased", "layers": 2},
        "batch norm of relu": {"norm": "unbiased", "hidden": "relu", "layers": 2}},
)

JUDGE = FunctionTwin(
    name="gradient_check",
    formula="the relative error of all gradients, of each tensor and of each parameter",
    source='Course 2, week 1, "Gradient checking"; torch.autograd.gradcheck',
    proves=("gradient_check",), ours=networks.judged_by_us, theirs=networks.judged_by_torch,
    draw=networks.draw_wrong, gauges=networks.judgement_gauges, **QUOTIENTS,
    cases={"wrong": st.sampled_from([*WRONG])}, edges={wrong: {"wrong": wrong} for wrong in WRONG},
    relations=(
        *(Relation(name=f"the tensors at fault are named: {wrong}", at={"wrong": wrong},
            holds=networks.names_the_fault, broken_by=networks.unseen) for wrong in WRONG),
        Relation(name="errors add up", holds=networks.adds_up, broken_by=networks.unseen)),
)
# fmt: on

TWINS = (SLOPES, ERROR, CHECK, JUDGE)
