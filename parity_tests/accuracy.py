"""Cases at which one side is further from the truth than the other, each with both distances.

The truth is a longdouble run of ours. `appraise` measures both sides of a row against it, here and
now: the better one must be inside its budget and the worse one worse by a factor.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from parity_tests.compare.budgets import FORWARD, WIDEST
from parity_tests.compare.measurement import measure
from parity_tests.compare.witnesses import cast
from parity_tests.findings import entry, find
from parity_tests.rows import Case
from parity_tests.twins import twin
from scratch.parameters import Parameters

#: least factor, and least eps, by which the worse side must be worse.
FACTOR, LEAST = 4.0, 2.0


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A case of a row, one quantity of which a side knows to fewer digits than the other.

    `draw(rng)` returns the case, `typed` takes the place of the row's function of torch. `worse` is
    the side that errs by at least `factor` times as much, in eps of the dtype, over max|truth|.
    """

    name: str
    row: str
    quantity: str = "output"
    formula: str
    torch: str
    why: str
    draw: Callable[[np.random.Generator], Case]
    typed: Callable[..., Any] | None = None
    worse: Literal["torch", "scratch"] = "torch"
    factor: float = FACTOR


def appraise(one: Accuracy) -> tuple[str, str]:
    """Return the errors by side, or why there are none, and a failure, "" where the row is true."""
    row, rng = twin(one.row), np.random.default_rng(zlib.crc32(one.name.encode()))
    case = row.complete(one.draw(rng))
    theirs = row.torch_run(one.typed, case) if one.typed else row.run("torch_ref", case)
    sides = {"scratch": row.run("scratch", case)[one.quantity], "torch": theirs[one.quantity]}
    dtype = np.asarray(sides["scratch"]).dtype
    eps = float(np.finfo(dtype).eps)
    if not np.finfo(WIDEST).eps < eps:
        return f"longdouble is no wider than {dtype}", ""
    truth = row.run("scratch", cast(case, WIDEST))[one.quantity]
    errors = {side: measure(value, truth, eps=eps).error for side, value in sides.items()}
    (other,) = errors.keys() - {one.worse}
    better, worse, failure = errors[other], errors[one.worse], ""
    if not better <= FORWARD.eps:
        failure = f"{other} errs by {better:.3g} eps, allowed {FORWARD.eps:g} ({FORWARD.name})"
    elif not worse >= max(LEAST, one.factor * max(better, 0.5)):
        failure = f"{one.worse} errs by {worse:.3g} eps only, {other} by {better:.3g}"
    numbers = ", ".join(f"{side} {error:.3g}" for side, error in errors.items())
    return f"{numbers} eps of {dtype}", failure


def report(words: Sequence[str]) -> tuple[str, bool]:
    """Return the lines of the rows with one of the words in their names, and whether all are true.

    Raises ValueError for a word that is in none.
    """
    chosen = find(words, {row.name: row.name for row in ACCURACIES}, "parts of names")
    found = {row: appraise(row) for row in ACCURACIES if row.name in chosen}
    lines = ["distance from a longdouble run, in eps of the dtype; measured just now", ""]
    for row, (errors, failure) in found.items():
        lines.append(f"{row.name.upper()} ({row.worse} is the worse one)")
        texts = {"formula": row.formula, "torch": row.torch, "error": errors, "": row.why}
        for label, text in {**texts, "FAILS": failure}.items():
            lines += entry(label, text)
        lines.append("")
    failures = sum(bool(failure) for _, failure in found.values())
    verdict = f"{failures} FAIL" if failures else "all true"
    return "\n".join([*lines, f"{len(found)} rows: {verdict}"]), not failures


def given(dtype: str = "f8", **entries: float) -> Callable[[np.random.Generator], Case]:
    """Return a draw that is no draw: arrays of one entry each."""
    return lambda rng: {name: np.full((1, 1), one, dtype) for name, one in entries.items()}


def tiny(rng: np.random.Generator, scale: float) -> Parameters:
    return Parameters({"g": scale * rng.standard_normal((4, 25))})


def cost_of_sigmoid(Z: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy(torch.sigmoid(Z), Y)


def with_slope_by_func(Z: torch.Tensor, Y: torch.Tensor) -> Any:
    """Return a function of Z whose gradient is the one that func gives of the cost."""
    slope = torch.func.grad(functional.binary_cross_entropy_with_logits)(Z.detach(), Y)
    return (slope * Z).sum()


def draw_bias(rng: np.random.Generator) -> Case:
    """Draw an upstream gradient in Fortran order for a layer of one input."""
    dZ = np.asfortranarray(rng.uniform(0.5, 1.5, (3, 100_000)), "f4")
    return {"A_prev": np.ones_like(dZ[:1]), "W": dZ[:, :1], "b": dZ[:, :1], "upstream": dZ}


# fmt: off
#: every case that is known, torch's first.
ACCURACIES: Sequence[Accuracy] = (
    Accuracy(
        name="bce-of-a-small-probability", row="binary-cross-entropy-from-A", factor=1e14,
        formula="J = -log A at A = 1e-60 for a label 1", torch="BCELoss()(A, Y)",
        why="BCELoss clamps the log at -100; here -log A is 138", draw=given(A=1e-60, Y=1.0),
    ),
    Accuracy(
        name="bce-of-a-saturated-sigmoid", row="binary-cross-entropy", factor=1e9,
        formula="J = log(1 + e^Z) - Y Z at Z = 30 for a label 0", torch="BCELoss()(sigmoid(Z), Y)",
        why="1 - A has three digits left where A is 1 - 1e-13; BCEWithLogitsLoss is exact",
        draw=given(Z=30.0, Y=0.0), typed=cost_of_sigmoid,
    ),
    Accuracy(
        name="bce-of-a-saturated-sigmoid-in-float32", row="binary-cross-entropy", factor=1e6,
        formula="J = log(1 + e^Z) - Y Z at Z = 17 for a label 0", torch="BCELoss()(sigmoid(Z), Y)",
        why="in float32 A is 1 from Z = 16.6 on, and the clamped log of 0 makes 100 of 17",
        draw=given("f4", Z=17.0, Y=0.0), typed=cost_of_sigmoid,
    ),
    Accuracy(
        name="gradient-of-bce-of-a-saturated-sigmoid", row="binary-cross-entropy", factor=1e14,
        quantity="gradient of Z", formula="dZ = (A - Y) / m at Z = -30 for a label 1",
        torch="BCELoss()(sigmoid(Z), Y).backward()",
        why="its backward divides by A (1 - A), by 1e-12 at least, and then by the sigmoid's slope "
            "of 1e-13: the example that is most wrong hardly learns",
        draw=given(Z=-30.0, Y=1.0), typed=cost_of_sigmoid,
    ),
    Accuracy(
        name="gradient-of-logits-by-func", row="binary-cross-entropy", factor=1e6,
        quantity="gradient of Z", formula="dZ = (A - Y) / m at Z = -20 for a label 0",
        torch="torch.func.grad(binary_cross_entropy_with_logits)",
        why="it takes the formula apart and has 1 - sigmoid(20), which cancels; autograd.grad has "
            "A - Y",
        draw=given(Z=-20.0, Y=0.0), typed=with_slope_by_func,
    ),
    Accuracy(
        name="clipping-tiny-gradients", row="clip-by-global-norm", quantity="g", factor=1e12,
        formula="g limit / norm where the norm, about 1e-6, is above the limit 1e-7",
        torch="clip_grad_norm_(parameters, limit)",
        why="it divides by norm + 1e-6; ours does so only when asked to",
        draw=lambda rng: {"gradients": tiny(rng, 1e-7), "limit": 1e-7, "epsilon": 0.0},
        typed=lambda epsilon, **case: twin("clip-by-global-norm").run("torch_ref", case),
    ),
    Accuracy(
        name="norm-of-tiny-gradients", row="global_norm", quantity="norm", factor=1e14,
        formula="sqrt(sum g^2) of a hundred entries of about 1e-200",
        torch="torch.nn.utils.get_total_norm", draw=lambda rng: {"gradients": tiny(rng, 1e-200)},
        why="its squares underflow, and the norm is 0; ours scales them by a power of two",
    ),
    Accuracy(
        name="adams-s-in-float32", row="adam", quantity="s",
        formula="s = beta2 s + (1 - beta2) g^2 after 1,000 steps",
        torch="torch.optim.Adam(...).state[p]['exp_avg_sq']",
        why="float32(0.999) is 1.3e-8 too large, and a thousand products keep the excess; ours "
            "adds (1 - beta2) (g^2 - s), which forgets it",
        draw=lambda rng: {
            "start": np.zeros(60, "f4"),
            "gradients": rng.standard_normal((1000, 60)).astype("f4"), "learning_rate": 0.01},
    ),
    Accuracy(
        name="variance-far-from-zero", row="fit", quantity="variance",
        formula="1/m sum (X - mean)^2 of features 1e6 +- 1e-3", torch="X.var(dim=0, correction=0)",
        why="its running mean rounds at the size of X with each example; ours sums deviations",
        draw=lambda rng: {"X": 1e6 + 1e-3 * rng.standard_normal((3, 300))},
    ),
    Accuracy(
        name="softmax-of-many-classes-in-float32", row="softmax", worse="scratch",
        formula="A = e^Z / sum e^Z over 30,000 classes", torch="softmax(Z, dim=1)",
        why="ours sums down a column, one class after the other, as NumPy does along the first "
            "axis; torch's rows are summed in pieces",
        draw=lambda rng: {"Z": rng.uniform(0, 0.1, (30_000, 2)).astype("f4")},
    ),
    Accuracy(
        name="bias-gradient-of-fortran-order-in-float32", row="linear", quantity="gradient of b",
        formula="db = sum of dZ over 100,000 examples, dZ in Fortran order", worse="scratch",
        torch="Linear's backward", draw=draw_bias,
        why="NumPy sums pairwise along an axis that is contiguous alone",
    ),
)
# fmt: on
