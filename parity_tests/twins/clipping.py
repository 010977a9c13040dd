"""Clipping: by value and by the norm of all gradients together, and that norm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import AS_IT_IS
from parity_tests.drawing import draw, powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._relations import same_under, spoilt
from scratch import clipping as ours
from scratch.parameters import Parameters
from torch_ref import clipping as theirs

SHAPES = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1)}

#: sizes of the tensors of ordinary gradients.
SIZES = {"W1": 1.0, "b1": 10.0, "W2": 0.1, "b2": 3.0}


def draw_gradients(rng: np.random.Generator, kind: str = "normal", tensors: int = 4,
    limit: float = 0.5, ratio: float | None = None) -> Case:  # fmt: skip
    """Draw gradients of several tensors, and a limit or a ratio of it to their norm."""
    drawn = {name: SIZES[name] * draw(kind, SHAPES[name], rng) for name in [*SHAPES][:tensors]}
    drawn["W1"][0, 0] = 0.0
    gradients = Parameters(drawn)
    if ratio is not None:
        limit = ratio * float(np.linalg.norm(gradients.theta))
    return {"gradients": gradients, "limit": limit}


def carried(gradients: Parameters) -> list[torch.Tensor]:
    tensors = [AS_IT_IS.to_torch(name, view, "cpu") for name, view in gradients.items()]
    for one in tensors:
        one.requires_grad_().grad = one.detach().clone()
    return tensors


def left_by(clip: Callable[..., Any], gradients: Parameters, limit: float) -> Values:
    """Return the gradients that a function of torch leaves in as many tensors."""
    tensors: list[Any] = carried(gradients)
    clip(tensors, limit)
    grads = zip(gradients, (one.grad for one in tensors), strict=True)
    return {name: AS_IT_IS.to_numpy(name, one) for name, one in grads}


def as_typed(text: str, **case: Any) -> Values:
    return left_by(lambda parameters, limit: evaluate(text, parameters=parameters, limit=limit),
        **case)  # fmt: skip


def negated(named: Values) -> Values:
    return {name: -one for name, one in named.items()}


def shortens(run: Any, gradients: Parameters, limit: float) -> tuple[Values, Values]:
    """Hold the norm to becoming the limit; return the cosine of the gradient and the clipped."""
    clipped = Parameters(run("clip-by-global-norm", gradients=gradients, limit=limit)).theta
    norm = np.linalg.norm(clipped)
    if not 0.999 * limit < norm <= limit:
        raise AssertionError(f"a norm of {norm} under a limit of {limit}")
    cosine = clipped @ gradients.theta / (norm * np.linalg.norm(gradients.theta))
    return {"cosine": cosine}, {"cosine": np.float64(1)}


def by_norm_gauges(gradients: Parameters, limit: float) -> Values:
    """Return the gauges: one factor for all, so that each entry keeps its own digits."""
    factor = min(1.0, limit / (float(np.linalg.norm(gradients.theta)) + 1e-6))
    return {name: factor * np.abs(view) for name, view in gradients.items()}


CASES = {
    "kind": st.sampled_from(["normal", "all magnitudes", "zeros", "grid", "constant"]),
    "tensors": st.integers(1, 4), "limit": powers(-6, 6),
}  # fmt: skip


# fmt: off
def clipping(function: str, **row: Any) -> FunctionTwin:
    return FunctionTwin(
        **row, typed=as_typed, proves=(function,), float32=True, bridge=None,
        ours=getattr(ours, function), theirs=partial(left_by, getattr(theirs, function)),
        draw=draw_gradients, cases=CASES)


BY_VALUE = clipping(
    "clip_by_value",
    name="clip-by-value",
    formula="each entry of g cut to [-limit, limit]",
    torch="torch.nn.utils.clip_grad_value_(parameters, limit)",
    source="Course 5, week 1; Mikolov 2012; torch.nn.utils.clip_grad_value_",
    exact=True,
    edges={
        "a limit below most": {"limit": 1e-3}, "a limit beyond all": {"limit": 1e3},
        "a limit that float32 rounds": {"limit": 0.1},
        "a limit among the entries": {"kind": "grid", "limit": 1.0}},
    relations=(Relation(name="a sign goes through", holds=same_under(
        "clip-by-value", lambda gradients, **_: {"gradients": Parameters(negated(gradients))},
        negated), broken_by=spoilt("W1", lambda clipped: clipped + 0.01)),),
    mistakes=(Mistake(name="clip_grad_norm_", margin=0.1,
        why="it shortens all gradients together and keeps their direction"),))

BY_NORM = clipping(
    "clip_by_global_norm",
    name="clip-by-global-norm",
    formula="g = g min(1, limit / (norm + 1e-6)), the norm of all gradients together",
    torch="torch.nn.utils.clip_grad_norm_(parameters, limit)",
    source="Course 5, week 1; Pascanu et al. 2013; torch.nn.utils.clip_grad_norm_",
    edges={
        "far above": {"ratio": 1e-3}, "just above": {"ratio": 0.999999},
        "at the limit": {"ratio": 1.0}, "just below": {"ratio": 1.000001},
        "far below": {"ratio": 2.0}, "a single tensor": {"tensors": 1}},
    gauges=by_norm_gauges,
    relations=(Relation(name="the norm becomes the limit, the direction stays", holds=shortens,
        broken_by="each tensor by its own norm"),),
    mistakes=(
        Mistake(name="each tensor by its own norm", margin=0.1,
            why="one factor for each tensor turns the whole gradient, and leaves it too long"),
        Mistake(name="limit / norm, without torch's 1e-6", margin=1e-7, at="a single tensor",
            why="the textbook's factor is larger by exactly 1 + 1e-6 / norm",
            values=partial(ours.clip_by_global_norm, epsilon=0.0))))

NORM = FunctionTwin(
    name="global_norm",
    formula="the square root of the sum of squares over all gradients",
    source="Course 5, week 1; Pascanu et al. 2013; torch.linalg.vector_norm",
    proves=("global_norm",), bridge=None, float32=True,
    ours=lambda gradients: dict.fromkeys(
        ("norm", "norm before clipping"), ours.global_norm(gradients)),
    theirs=lambda gradients: {
        "norm": theirs.global_norm(carried(gradients)),
        "norm before clipping": theirs.clip_by_global_norm(carried(gradients), 0.5)},
    draw=lambda rng, **settings: {"gradients": draw_gradients(rng, **settings)["gradients"]},
    cases={name: CASES[name] for name in ("kind", "tensors")})
# fmt: on

TWINS = (BY_VALUE, BY_NORM, NORM)
