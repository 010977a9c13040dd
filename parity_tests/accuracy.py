"""Where one side is further from the truth than the other, each case with both distances.

An `Accuracy` computes one quantity by `scratch` and by torch from the same draws, and by the
course's formula in longdouble. `appraise` measures both sides against that, here and now: the
better one must be inside its budget and the worse one worse by a factor, or the row is not true.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.budgets import FORWARD, WIDEST, Budget
from parity_tests.compare.measurement import Array, measure
from parity_tests.compare.optimizers import torch_walk, walk
from parity_tests.compare.witnesses import cast
from parity_tests.conventions import entry, matching
from scratch import clipping, costs, normalization
from scratch.activations import softmax_forward
from scratch.linear import linear_backward, linear_forward
from scratch.optimizers import Adam
from scratch.parameters import Parameters
from torch_ref import optimizers as their_optimizers

#: least factor, and least eps, by which the worse side of a row must be worse.
FACTOR, LEAST = 4.0, 2.0

Draw = Callable[[np.random.Generator], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One row: a quantity that one of the sides knows to fewer digits than the other.

    `draw(rng)` returns the data by name; `ours`, `theirs` and `truth` compute the quantity from
    it, the last, ours where none is given, from the data in longdouble. `worse` is the side that
    errs by at least `factor` times as much; the other is inside `budget`. Errors are counted in eps
    of the dtype, over max|truth|.
    """

    name: str
    quantity: str  # the course's formula
    torch: str  # what was typed
    why: str
    draw: Draw
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    truth: Callable[..., Any] | None = None
    worse: Literal["torch", "scratch"] = "torch"
    factor: float = FACTOR
    budget: Budget = FORWARD


class Appraisal(NamedTuple):
    """Measurements of a row; a failure is "" where the row is true."""

    row: Accuracy
    dtype: str
    ours: float  # in eps, from the truth
    theirs: float
    failure: str
    skipped: str

    @property
    def ratio(self) -> float:
        """Error of the worse side over that of the better one, half an eps at least."""
        pair = (self.theirs, self.ours) if self.row.worse == "torch" else (self.ours, self.theirs)
        return pair[0] / max(pair[1], 0.5)


def appraise(row: Accuracy) -> Appraisal:
    draws = row.draw(np.random.default_rng(zlib.crc32(row.name.encode())))
    ours, theirs = np.asarray(row.ours(**draws)), np.asarray(row.theirs(**draws))
    dtype, eps = str(ours.dtype), float(np.finfo(ours.dtype).eps)
    if not np.finfo(WIDEST).eps < eps:
        return Appraisal(row, dtype, np.nan, np.nan, "", f"longdouble is no wider than {dtype}")
    truth = np.asarray((row.truth or row.ours)(**cast(draws, WIDEST)))
    mine, other = (measure(side, truth, eps=eps).error for side in (ours, theirs))
    found = Appraisal(row, dtype, mine, other, "", "")
    return found._replace(failure=_untrue(found))


def _untrue(found: Appraisal) -> str:
    row = found.row
    better, worse = found.ours, found.theirs
    other = "scratch"
    if row.worse == "scratch":
        better, worse, other = worse, better, "torch"
    allowed = row.budget.in_eps(float(np.finfo(found.dtype).eps))
    if not better <= allowed:
        return f"{other} errs by {better:.3g} eps, allowed {allowed:.3g} ({row.budget.name})"
    if not (worse > LEAST and found.ratio >= row.factor):
        return f"{row.worse} errs by {worse:.3g} eps only, {other} by {better:.3g}"
    return ""


def find(words: Sequence[str]) -> list[Accuracy]:
    chosen = matching(words, {row.name: row.name for row in ACCURACIES}, "parts of names")
    return [row for row in ACCURACIES if row.name in chosen]


def as_lines(found: Sequence[Appraisal]) -> list[str]:
    """Return the findings as lines, two numbers each: how far ours and how far torch's is off."""
    lines = ["distance from a longdouble run, in eps of the dtype; measured just now", ""]
    for one in found:
        row = one.row
        numbers = f"scratch {one.ours:.3g}, torch {one.theirs:.3g} eps of {one.dtype}"
        lines.append(f"{row.name.upper()} ({row.worse} is the worse one)")
        lines += entry("formula", row.quantity)
        lines += entry("torch", row.torch)
        lines += entry("error", one.skipped or numbers)
        lines += entry("", row.why)
        lines += entry("FAILS", one.failure) if one.failure else []
        lines.append("")
    failures = sum(bool(one.failure) for one in found)
    return [*lines, f"{len(found)} rows: {f'{failures} FAIL' if failures else 'all true'}"]


def _of(dtype: Any, **values: Any) -> Draw:
    """Return a draw that is no draw: these arrays in a dtype."""
    return lambda rng: {name: np.array(one, dtype) for name, one in values.items()}


def _cost_of_logits(Z: Array, Y: Array) -> Any:
    return costs.binary_cross_entropy_with_logits_forward(Z, Y)[0]


def _slope_of_logits(Z: Array, Y: Array) -> Any:
    _, cache = costs.binary_cross_entropy_with_logits_forward(Z, Y)
    return costs.binary_cross_entropy_with_logits_backward(1.0, cache)["Z"]


def _bce_of_sigmoid(Z: Array, Y: Array) -> Any:
    return functional.binary_cross_entropy(torch.sigmoid(rows(Z)), rows(Y)).numpy()


def _slope_of_bce(Z: Array, Y: Array) -> Any:
    logits = rows(Z).requires_grad_()
    J = functional.binary_cross_entropy(torch.sigmoid(logits), rows(Y))
    return columns(torch.autograd.grad(J, logits)[0])


def _slope_by_func(Z: Array, Y: Array) -> Any:
    def cost(logits: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(logits, rows(Y))

    return columns(torch.func.grad(cost)(rows(Z)))


def _tiny(scale: float) -> Draw:
    return lambda rng: {"g": scale * rng.standard_normal((4, 25))}


def _norm(g: Array) -> Any:
    return np.sqrt(np.square(g).sum())


def _clipped_by_torch(g: Array) -> Any:
    tensor = torch.zeros_like(to_torch("W", g)).requires_grad_()
    tensor.grad = to_torch("W", g)
    torch.nn.utils.clip_grad_norm_([tensor], 1e-7)
    return tensor.grad.numpy()


def _adam_ours(g: Array) -> Any:
    return walk(Adam(), {"W": np.zeros_like(g[:1])}, g)["s"][-1]


def _adam_theirs(g: Array) -> Any:
    start, read = {"W": np.zeros_like(g[:1])}, their_optimizers.adam_state
    return torch_walk(their_optimizers.adam, start, g, read)["s"][-1]


def _bias_gradient(dZ: Array) -> Array:
    n, m = dZ.shape
    _, cache = linear_forward(np.ones((1, m), dZ.dtype), np.ones((n, 1), dZ.dtype), dZ[:, :1])
    return linear_backward(dZ, cache)["b"][:, 0]


# fmt: off
#: every case that is known, torch's first.
ACCURACIES: Sequence[Accuracy] = (
    Accuracy(
        name="bce-of-a-small-probability", quantity="J = -log A at A = 1e-60 for a label 1",
        torch="BCELoss()(A, Y)", why="BCELoss clamps the log at -100; here -log A is 138",
        draw=_of(np.float64, A=[[1e-60]], Y=[[1.0]]), factor=1e14,
        ours=lambda A, Y: costs.binary_cross_entropy_forward(A, Y)[0],
        theirs=lambda A, Y: functional.binary_cross_entropy(rows(A), rows(Y)).numpy(),
    ),
    Accuracy(
        name="bce-of-a-saturated-sigmoid",
        quantity="J = log(1 + e^Z) - Y Z at Z = 30 for a label 0", torch="BCELoss()(sigmoid(Z), Y)",
        why="1 - A has three digits left where A is 1 - 1e-13; BCEWithLogitsLoss is exact",
        draw=_of(np.float64, Z=[[30.0]], Y=[[0.0]]), factor=1e9,
        ours=_cost_of_logits, theirs=_bce_of_sigmoid,
    ),
    Accuracy(
        name="bce-of-a-saturated-sigmoid-in-float32",
        quantity="J = log(1 + e^Z) - Y Z at Z = 17 for a label 0", torch="BCELoss()(sigmoid(Z), Y)",
        why="in float32 A is 1 from Z = 16.6 on, and the clamped log of 0 makes 100 of 17",
        draw=_of(np.float32, Z=[[17.0]], Y=[[0.0]]), factor=1e6,
        ours=_cost_of_logits, theirs=_bce_of_sigmoid,
    ),
    Accuracy(
        name="gradient-of-bce-of-a-saturated-sigmoid",
        quantity="dZ = (A - Y) / m at Z = -30 for a label 1",
        torch="BCELoss()(sigmoid(Z), Y).backward()",
        why="its backward divides by A (1 - A), by 1e-12 at least, and then by the sigmoid's slope "
            "of 1e-13: the example that is most wrong hardly learns",
        draw=_of(np.float64, Z=[[-30.0]], Y=[[1.0]]), factor=1e14,
        ours=_slope_of_logits, theirs=_slope_of_bce,
    ),
    Accuracy(
        name="gradient-of-logits-by-func", quantity="dZ = (A - Y) / m at Z = -20 for a label 0",
        torch="torch.func.grad(binary_cross_entropy_with_logits)",
        why="it takes the formula apart and has 1 - sigmoid(20), which cancels; autograd.grad has "
            "A - Y",
        draw=_of(np.float64, Z=[[-20.0]], Y=[[0.0]]), factor=1e6,
        ours=_slope_of_logits, theirs=_slope_by_func,
    ),
    Accuracy(
        name="clipping-tiny-gradients",
        quantity="g limit / norm where the norm, about 1e-6, is above the limit 1e-7",
        torch="clip_grad_norm_(parameters, limit)",
        why="it divides by norm + 1e-6; ours does so only when asked to",
        draw=_tiny(1e-7), factor=1e12,
        ours=lambda g: clipping.clip_by_global_norm(Parameters({"W": g}), 1e-7, epsilon=0.0)["W"],
        theirs=_clipped_by_torch, truth=lambda g: 1e-7 / _norm(g) * g,
    ),
    Accuracy(
        name="norm-of-tiny-gradients",
        quantity="sqrt(sum g^2) of a hundred entries of about 1e-200",
        torch="torch.nn.utils.get_total_norm",
        why="its squares underflow, and the norm is 0; ours scales them by a power of two",
        draw=_tiny(1e-200), factor=1e14,
        ours=lambda g: clipping.global_norm(Parameters({"W": g})),
        theirs=lambda g: torch.linalg.vector_norm(to_torch("W", g)).numpy(), truth=_norm,
    ),
    Accuracy(
        name="adams-s-in-float32", quantity="s = beta2 s + (1 - beta2) g^2 after 1,000 steps",
        torch="torch.optim.Adam(...).state[p]['exp_avg_sq']",
        why="float32(0.999) is 1.3e-8 too large, and a thousand products keep the excess; ours "
            "adds (1 - beta2) (g^2 - s), which forgets it",
        draw=lambda rng: {"g": rng.standard_normal((1000, 60)).astype(np.float32)},
        ours=_adam_ours, theirs=_adam_theirs,
    ),
    Accuracy(
        name="variance-far-from-zero", quantity="1/m sum (X - mean)^2 of features 1e6 +- 1e-3",
        torch="X.var(dim=0, correction=0)",
        why="its running mean rounds at the size of X with each example; ours sums deviations",
        draw=lambda rng: {"X": 1e6 + 1e-3 * rng.standard_normal((3, 300))},
        ours=lambda X: normalization.fit(X).variance[:, 0],
        theirs=lambda X: rows(X).var(dim=0, correction=0).numpy(),
        truth=lambda X: np.square(X - X.mean(axis=1, keepdims=True)).mean(axis=1),
    ),
    Accuracy(
        name="softmax-of-many-classes-in-float32", worse="scratch",
        quantity="A = e^Z / sum e^Z over 30,000 classes", torch="softmax(Z, dim=1)",
        why="ours sums down a column, one class after the other, as NumPy does along the first "
            "axis; torch's rows are summed in pieces",
        draw=lambda rng: {"Z": rng.uniform(0, 0.1, (30_000, 2)).astype(np.float32)},
        ours=lambda Z: softmax_forward(Z)[0],
        theirs=lambda Z: columns(torch.softmax(rows(Z), dim=1)),
    ),
    Accuracy(
        name="bias-gradient-of-fortran-order-in-float32", worse="scratch",
        quantity="db = sum of dZ over 100,000 examples, dZ in Fortran order",
        torch="Linear's backward",
        why="NumPy sums pairwise along an axis that is contiguous alone",
        draw=lambda rng: {"dZ": np.asfortranarray(rng.uniform(0.5, 1.5, (3, 100_000)), "f4")},
        ours=_bias_gradient, theirs=lambda dZ: rows(dZ).sum(dim=0).numpy(),
    ),
)
# fmt: on
