"""The linear layer."""

from __future__ import annotations

import numpy as np
import torch

from parity_tests.compare.bridge import BY_NAME, columns
from parity_tests.compare.budgets import FLOAT32_FLOOR
from parity_tests.compare.gauges import linear_gauges
from parity_tests.drawing import SMOOTH, draw, examples, kinds, widths
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, crossed, evaluate
from scratch.linear import linear_backward, linear_forward
from torch_ref.linear import linear


def draw_layer(rng: np.random.Generator, n: int = 4, n_prev: int = 3, m: int = 6,
    kind: str = "normal", weights: str = "normal") -> Case:  # fmt: skip
    """Draw a layer (n, n_prev) and its input (n_prev, m)."""
    A_prev = draw(kind, (n_prev, m), rng)
    W, b = draw(weights, (n, n_prev), rng), draw(weights, (n, 1), rng)
    A_prev[0, 0] = W[0, 0] = 1.0  # something to see
    return {"A_prev": A_prev, "W": W, "b": b}


#: bits of a significand that products keep, by the precision torch is set to.
BITS = {"highest": 24, "high": 11, "medium": 8}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def narrow(seed: int) -> Case:
    layer = draw_layer(np.random.default_rng(seed), n=64, n_prev=32, m=64)
    return {name: one.astype(np.float32) for name, one in layer.items()}


def product_of_torch(seed: int, text: str = "") -> Values:
    """Return torch's Z, computed by the CUDA device where there is one, and the bits it keeps.

    A text sets the precision for a while.
    """
    pinned = torch.get_float32_matmul_precision()
    try:
        evaluate(text or "None")
        Z = linear(*crossed(narrow(seed), BY_NAME, DEVICE).values())
        bits = BITS[torch.get_float32_matmul_precision()]
    finally:
        torch.set_float32_matmul_precision(pinned)
    return {"Z": columns(Z), "bits of the significand": np.float32(bits)}


def without_tf32() -> str:
    """Return why TF32 cannot be measured, or nothing where it can."""
    able = DEVICE == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    return "" if able else "no CUDA device of capability 8.0 is here"


# fmt: off
LINEAR = PairTwin(
    name="linear",
    formula="Z = W A_prev + b",
    source='Course 1, week 4, "Forward and backward propagation"; torch.nn.functional.linear',
    proves=("linear_forward", "linear_backward"),
    ours=Pair(linear_forward, linear_backward), theirs=linear, draw=draw_layer,
    cases={"n": widths, "n_prev": widths, "m": examples, "kind": kinds, "weights": kinds},
    smooth=lambda kind="normal", weights="normal", **_: {kind, weights} <= {*SMOOTH},
    edges={"one example": {"m": 1}, "one unit": {"n": 1, "n_prev": 1},
        "a square W": {"n": 3, "n_prev": 3, "m": 3}, "all magnitudes": {"kind": "all magnitudes"},
        "exact ties": {"kind": "grid", "weights": "grid"}},
    gauges=linear_gauges, weight=6)

FLOAT32_PRODUCTS = FunctionTwin(
    name="float32-products", topic="precision",
    formula="Z = W A + b in float32, each product and sum rounded once to 24 bits",
    torch='torch.set_float32_matmul_precision("highest"); the default',
    typed=lambda text, seed: product_of_torch(seed, text),
    source="torch.set_float32_matmul_precision; NVIDIA, TF32 in the A100",
    proves=("linear_forward",),
    ours=lambda seed: {"Z": linear_forward(**narrow(seed))[0],
        "bits of the significand": np.float32(BITS["highest"])},
    theirs=product_of_torch, bridge=None, wide=False,
    draw=lambda rng: {"seed": int(rng.integers(2**31))}, budget=FLOAT32_FLOOR, weight=0.2,
    mistakes=(Mistake(name="TF32", margin=1e-4, missing=without_tf32,
        why='"high" rounds the factors to 11 bits on CUDA: three digits are left',
        values=lambda seed: {"Z": product_of_torch(
            seed, 'torch.set_float32_matmul_precision("high")')["Z"]}),))
# fmt: on

TWINS = (LINEAR, FLOAT32_PRODUCTS)
