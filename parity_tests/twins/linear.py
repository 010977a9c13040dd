"""The linear layer."""

from __future__ import annotations

from functools import partial

import numpy as np

from parity_tests.compare.gauges import linear_gauges
from parity_tests.drawing import SMOOTH, draw, examples, kinds, widths
from parity_tests.rows import Case, Change, Mistake, Pair, PairTwin
from scratch.linear import linear_backward, linear_forward
from torch_ref.linear import linear

typed_into = partial(Change, "scratch.linear")


def draw_layer(
    rng: np.random.Generator,
    n: int = 4,
    n_prev: int = 3,
    m: int = 6,
    kind: str = "normal",
    weights: str = "normal",
) -> Case:
    """Draw a layer (n, n_prev) and its input (n_prev, m)."""
    A_prev = draw(kind, (n_prev, m), rng)
    W, b = draw(weights, (n, n_prev), rng), draw(weights, (n, 1), rng)
    A_prev[0, 0] = W[0, 0] = 1.0  # something to see
    return {"A_prev": A_prev, "W": W, "b": b}


TWINS = (
    PairTwin(
        name="linear",
        formula="Z = W A_prev + b",
        source='Course 1, week 4, "Forward and backward propagation"; torch.nn.functional.linear',
        proves=("linear_forward", "linear_backward"),
        ours=Pair(linear_forward, linear_backward),
        theirs=linear,
        draw=draw_layer,
        cases={"n": widths, "n_prev": widths, "m": examples, "kind": kinds, "weights": kinds},
        smooth=lambda kind="normal", weights="normal", **_: {kind, weights} <= {*SMOOTH},
        edges={
            "one example": {"m": 1},
            "one unit": {"n": 1, "n_prev": 1},
            "a square W": {"n": 3, "n_prev": 3, "m": 3},
            "exact ties": {"kind": "grid", "weights": "grid"},
            "all magnitudes": {"kind": "all magnitudes"},
        },
        gauges=linear_gauges,
        weight=6,
        mistakes=(
            Mistake(
                name="db-without-keepdims",
                seen="Kulbear/deep-learning-coursera issue 8: the shape of db is not as expected",
                change=typed_into("dZ.sum(axis=1, keepdims=True)", "dZ.sum(axis=1)"),
            ),
        ),
    ),
)
