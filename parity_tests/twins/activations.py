"""Activations: each pair, hardmax, and the absolute value that L1 is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.gauges import softmax_gauges
from parity_tests.drawing import Array, classes, draw, examples, kinds, smooth, widths
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation
from parity_tests.twins._relations import mapped, same_under, spoilt, taking
from scratch import activations as ours
from scratch.parameters import Parameters
from scratch.regularization import l1_penalty_gradient
from torch_ref import activations as theirs

SLOPES = 'Course 1, week 3, "Derivatives of activation functions"'

KINKS = {"given": ((0.0, -0.0, 1.0, -1.0),)}
SATURATED = -1e4, -700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0, 1e4
LARGE = {"given": (SATURATED, (0.0,) * 9)}


def draw_logits(rng: np.random.Generator, n: int = 5, m: int = 7, kind: str = "normal",
    scale: float = 3.0, given: Sequence[Sequence[float]] = ()) -> Case:  # fmt: skip
    """Draw Z whose first example is neither tied nor flat; or take it as it is given."""
    if given:
        return {"Z": np.array(given)}
    Z = draw(kind, (n, m), rng, scale)
    Z[:, 0] = rng.uniform(0.25, 0.75, n)
    return {"Z": Z}


def gauges_of(name: str, arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return gauges, entry by entry: A keeps its digits, a slope takes numbers up to 1 apart."""
    if name == "softmax":
        return softmax_gauges(arguments, dA)
    A = np.abs(ours.ACTIVATIONS[name].forward(arguments["Z"])[0])
    return {"output": A, "Z": np.abs(dA) * (A if name == "sigmoid" else 1)}  # A (1 - A)


# fmt: off
CASES = {"n": widths, "m": examples, "kind": kinds}
EDGES = {
    "one unit, one example": {"n": 1, "m": 1}, "kinks": KINKS, "saturated": {"given": (SATURATED,)},
    "flat": {"given": ((1e4, -1e4),)}, "tiny": {"given": ((1e-20, -1e-20, 1e-300),)},
    "tiny probabilities": {"given": (tuple(np.linspace(-700, 40, 149)),)},
}
FLATTENED = {name: one for name, one in EDGES.items() if name != "flat"}  # no gradient at all


def homogeneous(row: str) -> Relation:
    """Return the relation of a rectifier, which output capped at 6 breaks."""
    return Relation(name="positively homogeneous",
        holds=same_under(row, lambda Z, **_: {"Z": 16 * Z}, mapped("output", lambda A: A / 16)),
        broken_by=spoilt("output", lambda A: np.minimum(A, 6)))


def up_to_one(upstream: Array, **_: Any) -> Values:
    """Return the gauges of outputs that are taken from 1."""
    return {"output": 1.0, "gradient of Z": np.abs(upstream)}


def as_a_sigmoid(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    A, dZ = run("sigmoid", Z=2 * Z, upstream=upstream).values()
    return run("tanh", Z=Z, upstream=upstream), {"output": 2 * A - 1, "gradient of Z": 4 * dZ}


def two_classes(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    A, dZ = run("sigmoid", Z=Z[:1] - Z[1:], upstream=upstream[:1] - upstream[1:]).values()
    both = {"output": np.concatenate([A, 1 - A]), "gradient of Z": np.concatenate([dZ, -dZ])}
    return run("softmax", Z=Z, upstream=upstream), both


def activation(name: str, row: str = "", **others: Any) -> PairTwin:
    pair: Any = ours.ACTIVATIONS[name]
    edges = FLATTENED if name in ("sigmoid", "tanh") else EDGES
    cases = {**CASES, "scale": st.sampled_from([1.0, 0.01, 10.0, 100.0])}
    return PairTwin(
        name=row or name, proves=(f"{name}_forward", f"{name}_backward"),
        ours=Pair(pair.forward, pair.backward), theirs=lambda Z: getattr(theirs, name)()(Z),
        smooth=smooth, gauges=partial(gauges_of, name),
        **{"draw": draw_logits, "cases": cases, "edges": edges, **others})


IDENTITY = activation(
    "identity",
    formula="A = Z",
    source='Course 1, week 3, "Why do you need non-linear activation functions?"; '
        "torch.nn.Identity",
    relations=(homogeneous("identity"),))

RELU = activation(
    "relu", "relu-at-0",
    formula="A = max(0, Z);  dA/dZ = 1 where Z > 0, else 0; at 0 the derivative is 0",
    torch="torch.nn.ReLU()",
    source=f"{SLOPES}; torch.nn.ReLU",
    relations=(homogeneous("relu-at-0"),),
    mistakes=(
        Mistake(name="Z.clamp(min=0)", margin=0.1, at="kinks",
            why="clamp passes the gradient on at its bounds", wrong=lambda Z: Z.clamp(min=0)),
        Mistake(name="torch.maximum(Z, 0)", margin=0.1, at="kinks",
            why="maximum shares the gradient of equal entries: 1/2 at 0",
            wrong=lambda Z: torch.maximum(Z, torch.zeros_like(Z)))))

LEAKY_RELU = activation(
    "leaky_relu", "leaky-relu-at-0",
    formula="A = Z where Z > 0, else 0.01 Z;  dA/dZ = 1 or 0.01; at 0 the derivative is 0.01",
    torch="torch.nn.LeakyReLU(0.01)",
    source=f"{SLOPES}; torch.nn.LeakyReLU",
    relations=(homogeneous("leaky-relu-at-0"),),
    mistakes=(
        Mistake(name="torch.maximum(Z, 0.01 * Z)", margin=0.1, at="kinks",
            why="maximum shares the gradient of equal entries: (1 + 0.01) / 2 at 0",
            wrong=lambda Z: torch.maximum(Z, 0.01 * Z)),
        Mistake(name="torch.where(Z >= 0, Z, 0.01 * Z)", margin=0.1, at="kinks",
            why=">= counts 0 among the positive: derivative 1",
            wrong=lambda Z: torch.where(Z >= 0, Z, 0.01 * Z))))

ABSOLUTE = PairTwin(
    name="absolute-value-at-0",
    formula="d|w|/dw = sign(w); at 0 the derivative is 0",
    torch="torch.abs; w.abs() is the same",
    source='Course 2, week 1, "Regularization", L1; torch.abs',
    proves=("l1_penalty_gradient",),
    # the gradient of the L1 penalty for lambda = m = 1 is that of sum |w|
    ours=Pair(lambda Z: (np.abs(Z), Z), lambda dA, Z: {
        "Z": dA * l1_penalty_gradient(Parameters({"W1": Z}), 1.0, 1)["W1"]}), theirs=torch.abs,
    draw=draw_logits, smooth=smooth, cases=CASES, edges={"kinks": KINKS}, weight=0.5,
    mistakes=(
        Mistake(name="torch.where(w >= 0, w, -w)", margin=0.1, at="kinks",
            why="derivative 1 at 0: L1 moves zeros", wrong=lambda w: torch.where(w >= 0, w, -w)),
        Mistake(name="(w ** 2).sqrt()", margin=math.inf, at="kinks",
            why="the root has no derivative at 0: NaN", wrong=lambda w: w.square().sqrt())))

SIGMOID = activation(
    "sigmoid",
    formula="A = 1 / (1 + e^-Z);  dA/dZ = A (1 - A)",
    source='Course 1, week 2, "Logistic regression"; torch.nn.Sigmoid',
    relations=(Relation(name="sigmoid(-Z) is 1 - sigmoid(Z) and has its slope",
        holds=same_under("sigmoid", lambda Z, **_: {"Z": -Z}, mapped("output", lambda A: 1 - A)),
        broken_by=spoilt("output", lambda A: A + 1e-12), at={"scale": 2.0}, gauges=up_to_one),))

TANH = activation(
    "tanh",
    formula="A = (e^Z - e^-Z) / (e^Z + e^-Z);  dA/dZ = 1 - A^2",
    source='Course 1, week 3, "Activation functions"; torch.nn.Tanh',
    relations=(Relation(name="tanh(Z) is 2 sigmoid(2 Z) - 1", holds=as_a_sigmoid,
        broken_by=taking(lambda Z, **_: {"Z": Z / 2}), gauges=up_to_one),))

SOFTMAX = activation(
    "softmax",
    formula="A = e^Z / sum over all C classes of e^Z, down a column",
    torch="torch.nn.Softmax(dim=1); rows are examples",
    source='Course 2, week 3, "Softmax regression"; torch.nn.Softmax',
    draw=partial(draw_logits, n=4), cases={**IDENTITY.cases, "n": classes},
    edges={
        "two classes, one example": {"n": 2, "m": 1}, "ties": {"kind": "grid"},
        "saturated": LARGE,
        "examples of very different size": {"given": ((1e4, -800.0, 0.0), (9999.0, -801.0, 1.0))}},
    relations=(
        Relation(name="softmax of two classes is the sigmoid of the difference",
            holds=two_classes, broken_by="softmax-backward-by-the-diagonal",
            at={"n": 2, "scale": 2.0}, gauges=lambda **_: {"output": 1.0}),
        Relation(name="softmax ignores what is added to all its logits",
            holds=same_under("softmax", lambda Z, **_: {"Z": Z + 1024}),
            broken_by="softmax-without-the-shift", at=LARGE)),
    mistakes=(
        Mistake(name="dim=0", margin=0.1,
            why="the course's axis 0 is torch's axis 1: this sums over the examples"),
        Mistake(name="the sum ends at l", margin=0.1,  # 2, the number of layers, for C
            why="columns no longer sum to 1",
            values=lambda Z, upstream: {"output": np.exp(Z) / np.exp(Z[:2]).sum(axis=0)})))

HARDMAX = FunctionTwin(
    name="hardmax",
    formula="1 at the first largest Z of a column, else 0",
    source='Course 2, week 3, "Training a softmax classifier"; torch.nn.functional.one_hot',
    proves=("hardmax_forward",),
    ours=lambda Z: ours.hardmax_forward(Z)[0], theirs=lambda Z: theirs.Hardmax()(Z),
    names=("hardmax",), exact=True,
    draw=partial(draw_logits, n=4, m=30, kind="grid", scale=1.0), cases=CASES,
    edges={"all tied": {"kind": "grid", "scale": 0.0}, "one class": {"n": 1}}, weight=0.5)
# fmt: on

TWINS = (IDENTITY, RELU, LEAKY_RELU, ABSOLUTE, SIGMOID, TANH, SOFTMAX, HARDMAX)
