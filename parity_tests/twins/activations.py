"""Activations: each pair, hardmax, and the absolute value that L1 is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.gauges import softmax_gauges
from parity_tests.compare.measurement import Array
from parity_tests.compare.quantities import floored
from parity_tests.drawing import SMOOTH, classes, draw, examples, kinds, widths
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import (
    Case,
    FunctionTwin,
    Pair,
    PairTwin,
    Relation,
)
from scratch import activations as ours
from scratch.parameters import Parameters
from scratch.regularization import l1_penalty_gradient
from torch_ref import activations as theirs

SLOPES = 'Course 1, week 3, "Derivatives of activation functions"'


def draw_logits(
    rng: np.random.Generator,
    n: int = 5,
    m: int = 7,
    kind: str = "normal",
    scale: float = 3.0,
    values: Sequence[Sequence[float]] = (),
) -> Case:
    """Draw Z whose first example is neither tied nor flat; or take it as it is given."""
    if values:
        return {"Z": np.array(values)}
    Z = draw(kind, (n, m), rng, scale)
    Z[:, 0] = rng.uniform(0.25, 0.75, n)
    return {"Z": Z}


def smooth(kind: str = "normal", values: Sequence[Sequence[float]] = (), **_: Any) -> bool:
    """Tell whether Z stays away from kinks."""
    return kind in SMOOTH and not values


def slope_gauges(arguments: Mapping[str, Any], dA: Array, name: str) -> dict[str, Array]:
    """Return gauges, entry by entry: A keeps its digits, a slope takes numbers up to 1 apart."""
    A = np.abs(ours.ACTIVATIONS[name].forward(arguments["Z"])[0])
    slope = A if name == "sigmoid" else 1  # A (1 - A), and 1 - A rounds
    return {"output": floored(A, A.dtype), "Z": floored(np.abs(dA) * slope, A.dtype)}


def probability_gauges(arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return the gauges of softmax, which may underflow."""
    found = softmax_gauges(arguments, dA)
    return {name: floored(gauge, gauge.dtype) for name, gauge in found.items()}


def module_of(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function that torch's module of this name is."""
    return lambda Z: getattr(theirs, name)()(Z)


def activation(name: str, row: str = "", **others: Any) -> PairTwin:
    """Return the row of an elementwise activation."""
    pair = ours.ACTIVATIONS[name]
    assert pair.backward is not None
    edges = {
        "one unit, one example": {"n": 1, "m": 1},
        "kinks": {"values": ((0.0, -0.0, 1.0, -1.0),)},
        "saturated": {"values": ((-1e4, -700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0, 1e4),)},
        "flat": {"values": ((1e4, -1e4),)},
        "tiny": {"values": ((1e-20, -1e-20, 1e-300),)},
        "tiny probabilities": {"values": (tuple(np.linspace(-700, 40, 149)),)},
    }
    if name in ("sigmoid", "tanh"):
        del edges["flat"]  # no gradient at all
    return PairTwin(
        **{
            "name": row or name,
            "proves": (f"{name}_forward", f"{name}_backward"),
            "ours": Pair(pair.forward, pair.backward),
            "theirs": module_of(name),
            "draw": draw_logits,
            "smooth": smooth,
            "cases": {
                "n": widths,
                "m": examples,
                "kind": kinds,
                "scale": st.sampled_from([1.0, 0.01, 10.0, 100.0]),
            },
            "edges": edges,
            "gauges": partial(slope_gauges, name=name),
            **others,
        }
    )


def homogeneous(row: str, cap: float) -> Relation:
    """Return the relation of a rectifier, which output capped at `cap` breaks."""

    def holds(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
        first, second = (run(row, Z=one, upstream=upstream) for one in (Z, 16 * Z))
        return second, {**first, "output": 16 * first["output"]}

    def capped(honest: Any, **case: Any) -> Values:
        results = honest(**case)
        return {**results, "output": np.minimum(results["output"], cap)}

    return Relation(name="positively homogeneous", holds=holds, broken_by=capped)


# --- rectifiers -----------------------------------------------------------------------------------

IDENTITY = activation(
    "identity",
    formula="A = Z",
    source='Course 1, week 3, "Why do you need non-linear activation functions?"; '
    "torch.nn.Identity",
    relations=(homogeneous("identity", 6.0),),
)

# fmt: off
RELU_MISTAKES = (
    Mistake(name="Z.clamp(min=0)", why="clamp passes the gradient on at its bounds",
        wrong=lambda Z: Z.clamp(min=0), margin=0.1, at="kinks"),
    Mistake(name="torch.maximum(Z, 0)",
        why="maximum shares the gradient of equal entries: 1/2 at 0",
        wrong=lambda Z: torch.maximum(Z, torch.zeros_like(Z)), margin=0.1, at="kinks"),
    )
# fmt: on

RELU = activation(
    "relu",
    "relu-at-0",
    formula="A = max(0, Z);  dA/dZ = 1 where Z > 0, else 0; at 0 the derivative is 0",
    torch="torch.nn.ReLU()",
    source=f"{SLOPES}; torch.nn.ReLU",
    relations=(homogeneous("relu-at-0", 6.0),),
    mistakes=RELU_MISTAKES,
)

# fmt: off
LEAKY_RELU_MISTAKES = (
    Mistake(name="torch.maximum(Z, 0.01 * Z)",
        why="maximum shares the gradient of equal entries: (1 + 0.01) / 2 at 0",
        wrong=lambda Z: torch.maximum(Z, 0.01 * Z), margin=0.1, at="kinks"),
    Mistake(name="torch.where(Z >= 0, Z, 0.01 * Z)",
        why=">= counts 0 among the positive: derivative 1",
        wrong=lambda Z: torch.where(Z >= 0, Z, 0.01 * Z), margin=0.1, at="kinks"),
    )
# fmt: on

LEAKY_RELU = activation(
    "leaky_relu",
    "leaky-relu-at-0",
    formula="A = Z where Z > 0, else 0.01 Z;  dA/dZ = 1 or 0.01; at 0 the derivative is 0.01",
    torch="torch.nn.LeakyReLU(0.01)",
    source=f"{SLOPES}; torch.nn.LeakyReLU",
    relations=(homogeneous("leaky-relu-at-0", 6.0),),
    mistakes=LEAKY_RELU_MISTAKES,
)


def penalized(dA: Array, Z: Array) -> dict[str, Array]:
    """Return the gradient of sum |w|, that of the L1 penalty for lambda = m = 1, times upstream."""
    return {"Z": dA * l1_penalty_gradient(Parameters({"W1": Z}), 1.0, 1)["W1"]}


# fmt: off
ABSOLUTE_MISTAKES = (
    Mistake(name="torch.where(w >= 0, w, -w)", why="derivative 1 at 0: L1 moves zeros",
        wrong=lambda w: torch.where(w >= 0, w, -w), margin=0.1, at="kinks"),
    Mistake(name="(w ** 2).sqrt()", why="the root has no derivative at 0: NaN",
        wrong=lambda w: w.square().sqrt(), margin=math.inf, at="kinks"),
    )
# fmt: on

ABSOLUTE = PairTwin(
    name="absolute-value-at-0",
    formula="d|w|/dw = sign(w); at 0 the derivative is 0",
    torch="torch.abs; w.abs() is the same",
    source='Course 2, week 1, "Regularization", L1; torch.abs',
    proves=("l1_penalty_gradient",),
    ours=Pair(lambda Z: (np.abs(Z), Z), penalized),
    theirs=torch.abs,
    draw=draw_logits,
    smooth=smooth,
    cases={"n": widths, "m": examples, "kind": kinds},
    edges={"kinks": {"values": ((0.0, -0.0, 1.0, -1.0),)}},
    weight=0.5,
    mistakes=ABSOLUTE_MISTAKES,
)


# --- sigmoids -------------------------------------------------------------------------------------


def turned(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    """Return sigmoid(-Z) and its gradient, and 1 - sigmoid(Z) with that of Z."""
    first, second = (run("sigmoid", Z=one, upstream=upstream) for one in (Z, -Z))
    return second, {**first, "output": 1 - first["output"]}


def off_by_a_little(honest: Any, **case: Any) -> Values:
    """Return results whose output is off by 1e-12."""
    results = honest(**case)
    return {**results, "output": results["output"] + 1e-12}


SIGMOID = activation(
    "sigmoid",
    formula="A = 1 / (1 + e^-Z);  dA/dZ = A (1 - A)",
    source='Course 1, week 2, "Logistic regression"; torch.nn.Sigmoid',
    relations=(
        Relation(
            name="sigmoid(-Z) is 1 - sigmoid(Z) and has its slope",
            holds=turned,
            broken_by=off_by_a_little,
            at={"scale": 2.0},
            gauges=lambda **case: {"output": 1.0, "gradient of Z": np.abs(case["upstream"])},
        ),
    ),
)


def as_a_sigmoid(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    """Return tanh(Z), and 2 sigmoid(2 Z) - 1."""
    first = run("tanh", Z=Z, upstream=upstream)
    second = run("sigmoid", Z=2 * Z, upstream=upstream)
    return first, {"output": 2 * second["output"] - 1, "gradient of Z": 4 * second["gradient of Z"]}


def mirrored(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    """Return -tanh(-Z), and tanh(Z)."""
    first, second = (run("tanh", Z=one, upstream=upstream) for one in (Z, -Z))
    return {**second, "output": -second["output"]}, first


def cut(honest: Any, Z: Array, upstream: Array) -> Values:
    """Return results of tanh whose output ends at -0.999."""
    results = honest(Z=Z, upstream=upstream)
    return {**results, "output": np.maximum(results["output"], -0.999)}


TANH = activation(
    "tanh",
    formula="A = (e^Z - e^-Z) / (e^Z + e^-Z);  dA/dZ = 1 - A^2",
    source='Course 1, week 3, "Activation functions"; torch.nn.Tanh',
    relations=(
        Relation(
            name="tanh(Z) is 2 sigmoid(2 Z) - 1",
            holds=as_a_sigmoid,
            broken_by=lambda honest, Z, upstream: honest(Z=Z / 2, upstream=upstream),
            gauges=lambda **case: {"output": 1.0, "gradient of Z": np.abs(case["upstream"])},
        ),
        Relation(name="tanh is odd", holds=mirrored, broken_by=cut, at={"scale": 5.0}),
    ),
)


# --- over the classes -----------------------------------------------------------------------------


def two_classes(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    """Return softmax of two classes, and the sigmoid of their difference."""
    both = run("softmax", Z=Z, upstream=upstream)
    one = run("sigmoid", Z=Z[:1] - Z[1:], upstream=upstream[:1] - upstream[1:])
    A, dZ = one["output"], one["gradient of Z"]
    return both, {
        "output": np.concatenate([A, 1 - A]),
        "gradient of Z": np.concatenate([dZ, -dZ]),
    }


def shifted(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    """Return softmax of Z + 32, and that of Z, whose entries are halves."""
    moved, first = (run("softmax", Z=one, upstream=upstream) for one in (Z + 32, Z))
    return moved, first


def sends_nothing_to_all_alike(run: Any, Z: Array, upstream: Array) -> tuple[Values, Values]:
    """Return the gradient of Z less its mean over the classes, and as it is."""
    dZ = run("softmax", Z=Z, upstream=upstream)["gradient of Z"]
    return {"gradient of Z": dZ - dZ.mean(axis=0)}, {"gradient of Z": dZ}


def diagonal_only(honest: Any, Z: Array, upstream: Array) -> Values:
    """Return softmax whose gradient is that of a sigmoid."""
    results = honest(Z=Z, upstream=upstream)
    A = results["output"]
    return {**results, "gradient of Z": upstream * A * (1 - A)}


def with_epsilon(honest: Any, Z: Array, upstream: Array) -> Values:
    """Return softmax whose denominator is kept from 0."""
    E = np.exp(Z)
    return {**honest(Z=Z, upstream=upstream), "output": E / (E.sum(axis=0) + 1e-8)}


def summed(Z: Array, upstream: Array) -> Values:
    """Return the sizes that the gradients of all classes sum up."""
    A, size = ours.softmax_forward(Z)[0], np.abs(upstream)
    return {"gradient of Z": (A * (size + (A * size).sum(axis=0))).sum(axis=0)}


def summed_to_l(Z: Array, upstream: Array) -> Values:
    """Return softmax whose denominator ends at l = 2, the number of layers, not at C."""
    E = np.exp(Z)
    return {"output": E / E[:2].sum(axis=0)}


# fmt: off
SOFTMAX_MISTAKES = (
    Mistake(name="dim=0", why="the course's axis 0 is torch's axis 1: this sums over the examples",
        wrong=torch.nn.Softmax(dim=0), margin=0.1,
        ),
    Mistake(name="the sum ends at l", why="columns no longer sum to 1", values=summed_to_l,
        margin=0.1),
    )
# fmt: on

SOFTMAX = activation(
    "softmax",
    formula="A = e^Z / sum over all C classes of e^Z, down a column",
    torch="torch.nn.Softmax(dim=1); rows are examples",
    source='Course 2, week 3, "Softmax regression"; torch.nn.Softmax',
    draw=partial(draw_logits, n=4),
    cases={**IDENTITY.cases, "n": classes},
    edges={
        "two classes, one example": {"n": 2, "m": 1},
        "ties": {"kind": "grid"},
        "saturated": {
            "values": (
                (-1e4, -700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0, 1e4),
                (0.0,) * 9,
            )
        },
        "examples of very different size": {"values": ((1e4, -800.0, 0.0), (9999.0, -801.0, 1.0))},
    },
    gauges=probability_gauges,
    relations=(
        Relation(
            name="softmax of two classes is the sigmoid of the difference",
            holds=two_classes,
            broken_by=diagonal_only,
            at={"n": 2, "scale": 2.0},
            gauges=lambda **case: {"output": 1.0},
        ),
        Relation(
            name="softmax ignores what is added to all its logits",
            holds=shifted,
            broken_by=with_epsilon,
            at={"kind": "grid"},
        ),
        Relation(
            name="softmax passes no gradient on to all logits alike",
            holds=sends_nothing_to_all_alike,
            broken_by=diagonal_only,
            gauges=summed,
        ),
    ),
    mistakes=SOFTMAX_MISTAKES,
)


def one_hot(Z: Array) -> Array:
    """Return our hardmax, which has no cache."""
    A, cache = ours.hardmax_forward(Z)
    if cache is not None:
        raise AssertionError(f"expected no cache, got {cache!r}")
    return A


def hardmax_calls(Z: Array) -> Iterator[Any]:
    """Yield the call of our hardmax."""
    yield "scratch.activations.hardmax_forward", {"Z": Z}


HARDMAX = FunctionTwin(
    name="hardmax",
    formula="1 at the first largest Z of a column, else 0",
    source='Course 2, week 3, "Training a softmax classifier"; torch.nn.functional.one_hot',
    proves=("hardmax_forward",),
    ours=one_hot,
    theirs=lambda Z: theirs.Hardmax()(Z),
    names=("hardmax",),
    exact=True,
    draw=lambda rng, n=4, m=30, kind="grid", scale=1.0: draw_logits(rng, n, m, kind, scale),
    cases={"n": widths, "m": examples, "kind": kinds},
    edges={"all tied": {"kind": "grid", "scale": 0.0}, "one class": {"n": 1}},
    weight=0.5,
    calls=hardmax_calls,
)

TWINS = (IDENTITY, RELU, LEAKY_RELU, ABSOLUTE, SIGMOID, TANH, SOFTMAX, HARDMAX)
