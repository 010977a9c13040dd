"""Walks of optimizers: where they start, the gradients they meet, and the relations among rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.budgets import STEP
from parity_tests.compare.measurement import Array
from parity_tests.compare.optimizers import draw_gradients
from parity_tests.drawing import betas, draw, powers
from parity_tests.mistakes import Values
from parity_tests.rows import Case, Relation, Settings, evaluate
from parity_tests.twins._relations import same_under, taking
from scratch import optimizers as ours
from torch_ref import optimizers as theirs

#: sizes of gradients: where epsilon shows, and exactly 0.
SIZES = (1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0)
#: the largest float64: from one to its negative is further than any float.
LARGEST = float(np.finfo(np.float64).max)

# fmt: off
CASES: Mapping[str, st.SearchStrategy[Any]] = {
    "size": st.integers(1, 3), "steps": st.integers(1, 5),
    "kind": st.sampled_from(["normal", "all magnitudes", "zeros", "grid", "three sizes"]),
    "start": st.sampled_from(["normal", "nothing", "all magnitudes"]),
    "learning_rate": powers(-6, 1),
}
#: strategies of the choices that only some rules have.
CHOSEN: Mapping[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("beta", "beta1", "beta2"), betas), "epsilon": powers(-12, -1),
    "steps_taken": st.just(0) | st.integers(0, 2**40),
}
EDGES: Mapping[str, Settings] = {
    "no gradient": {"kind": "nothing", "start": "normal"}, "a single step": {"steps": 1},
    "a large rate": {"learning_rate": 10.0, "steps": 50},
    "longer than a block": {"size": 2**15 + 9, "steps": 2},
}
#: counts before a walk that leaves 16 bits, with and without a sign, 32 bits, and float32.
LATE: Mapping[str, Settings] = {
    "a count beyond 16 bits": {"steps_taken": 32_760},
    "a count beyond 16 bits without a sign": {"steps_taken": 65_530},
    "a count beyond float32": {"steps_taken": 2**24 - 3, "beta2": 1 - 1e-7},
    "a count beyond 32 bits": {"steps_taken": 2**31 - 3, "beta2": 1 - 1e-9},
}
# fmt: on


def draw_walk(
    rng: np.random.Generator,
    size: int = 12,
    steps: int = 20,
    kind: str = "three sizes",
    start: str = "nothing",
    learning_rate: float | None = 0.1,
    **choices: Any,
) -> Case:
    """Draw where a walk starts and the gradients it meets; choices that are None stay unsaid."""
    if kind == "three sizes":
        gradients = draw_gradients((steps, size), rng, np.resize(SIZES, size))
    elif kind == "largest":
        # in turns: torch adds up what is not divided by 1 / (1 - beta)
        turns = (-1.0) ** np.arange(steps)[:, None]
        gradients = LARGEST * rng.choice([-1.0, 1.0], size) * turns
    else:
        gradients = _drawn(kind, (steps, size), rng)
    walk = {"start": _drawn(start, (size,), rng), "gradients": gradients}
    said = {"learning_rate": learning_rate, **choices}
    return {**walk, **{name: one for name, one in said.items() if one is not None}}


def _drawn(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.zeros(shape) if kind == "nothing" else draw(kind, shape, rng)


# --- relations ------------------------------------------------------------------------------------


def same_walk(
    name: str, other: str, into: Case, left: tuple[str, ...] = (), **instead: Any
) -> Callable[..., Any]:
    """Return a relation: a rule with `into` walks as another, without what is `left`."""

    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        kept = {key: one for key, one in case.items() if key not in left}
        first, second = run(name, **{**case, **into}), run(other, **kept, **instead)
        return {"theta": first["theta"]}, {"theta": second["theta"]}

    return holds


def entry_by_entry(name: str, run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the walk of reversed entries, and the reversed walk; and that of half of them."""
    start, gradients, path = case["start"], case["gradients"], run(name, **case)["theta"]
    turned = {**case, "start": start[::-1].copy(), "gradients": gradients[:, ::-1].copy()}
    half = {**case, "start": start[:5], "gradients": gradients[:, :5]}
    walked = {"turned": run(name, **turned)["theta"], "alone": run(name, **half)["theta"]}
    return walked, {"turned": path[:, ::-1], "alone": path[:, :5]}


def with_its_norm(gradients: Array, **_: Any) -> Case:
    return {"gradients": gradients / np.maximum(1, np.linalg.norm(gradients, axis=1)[:, None])}


def wide_rate(name: str, run: Any, **case: Any) -> Any:
    """Hold a float32 walk to one whose rate is a float64 scalar of NumPy's, to the bit."""
    case |= {key: case[key].astype(np.float32) for key in ("start", "gradients")}
    rate = {"learning_rate": np.float64(case["learning_rate"])}
    return same_under(name, lambda **_: rate, keys=("theta",), exact=True)(run, **case)


def promoted(honest: Any, **case: Any) -> Values:
    """Return a walk in float64, rounded, where the rate is a scalar of NumPy's."""
    if not isinstance(case["learning_rate"], np.float64):
        return dict(honest(**case))
    wide = {key: case[key].astype(np.float64) for key in ("start", "gradients")}
    return {"theta": honest(**{**case, **wide})["theta"].astype(np.float32)}


def relations(name: str, adapts: bool) -> tuple[Relation, ...]:
    """Return what holds for every rule, and what for those that adapt to gradients or do not."""
    # fmt: off
    own = Relation(
        name="only the size of a gradient beside epsilon matters",
        holds=same_under(name, lambda gradients, epsilon, **_: {
            "gradients": 1024 * gradients, "epsilon": 1024 * epsilon}, keys=("theta",), exact=True),
        broken_by=taking(epsilon=1e-8),
    ) if adapts else Relation(
        name="twice the gradient is twice the rate",
        holds=same_under(name, lambda gradients, learning_rate, **_: {
            "gradients": 2 * gradients, "learning_rate": learning_rate / 2}, keys=("theta",)),
        broken_by=taking(learning_rate=0.15), budget=STEP,
    )
    return (
        own,
        Relation(name="every entry walks alone",
            holds=partial(entry_by_entry, name), broken_by=taking(with_its_norm), budget=STEP),
        Relation(name="a rate in float64 promotes nothing",
            holds=partial(wide_rate, name), broken_by=promoted),
    )
    # fmt: on


# --- wrong rules ----------------------------------------------------------------------------------


def typed(text: str) -> Callable[..., torch.optim.Optimizer]:
    """Return the optimizer that somebody types in torch, given `parameters` and our choices."""
    return lambda tensors, learning_rate, **choices: evaluate(
        text, parameters=tensors, alpha=learning_rate, **choices
    )


def adam_by_hand(
    ahead: int = 0, hat: bool = False, v_corrected: bool = True, **case: Any
) -> Values:
    """Return the path of Adam, its count ahead, with an epsilon hat, or along v for v_hat."""
    beta1, beta2, alpha, epsilon = (
        case[name] for name in ("beta1", "beta2", "learning_rate", "epsilon")
    )
    theta, v, s, path = case["start"].copy(), 0.0, 0.0, []
    for t, g in enumerate(case["gradients"], start=1 + ahead):
        v, s = beta1 * v + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        of_v, of_s = 1 - beta1**t if v_corrected else 1.0, 1 - beta2**t
        root = np.sqrt(s / of_s) + (epsilon / np.sqrt(of_s) if hat else epsilon)
        theta = theta - alpha * v / of_v / root
        path.append(theta)
    return {"theta": np.array(path)}


def first_step(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the first step from 0 without an epsilon, and alpha against each sign of g."""
    alpha, sign = case["learning_rate"], np.sign(case["gradients"][0])
    return {"first step": run("adam", **case)["theta"][0]}, {"first step": -alpha * sign}


# --- down a surface -------------------------------------------------------------------------------

# fmt: off
#: costs of theta, written with what NumPy and torch share, their gradients by hand, and a start.
SURFACES: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any], list[float]]] = {
    "(w - 5)^2": (lambda w: ((w - 5) ** 2).sum(), lambda w: 2 * (w - 5), [0.0]),
    "a saddle, x^2 - y^2": (
        lambda w: w[0] ** 2 - w[1] ** 2, lambda w: np.array([2, -2]) * w, [1.0, 1e-3]),
    "Rosenbrock's banana": (
        lambda w: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2,
        lambda w: np.array([-2 * (1 - w[0]) - 400 * w[0] * (w[1] - w[0] ** 2),
                            200 * (w[1] - w[0] ** 2)]),
        [-0.5, 0.6]),
    "a narrow bowl": (
        lambda w: (w[0] ** 2 + 50 * w[1] ** 2) / 2, lambda w: np.array([w[0], 50 * w[1]]),
        [10.0, 1.0]),
}
DIALECTS = st.sampled_from([
    {"rule": "gradient_descent"}, {"rule": "momentum"}, {"rule": "momentum", "averaging": False},
    {"rule": "rmsprop"}, {"rule": "rmsprop", "epsilon_inside_root": True}, {"rule": "adam"},
    {"rule": "adam", "epsilon_inside_root": True, "bias_correction": False},
])
# fmt: on


def draw_descent(
    rng: np.random.Generator,
    surface: str = "(w - 5)^2",
    dialect: Case | None = None,
    rule: str = "adam",
    steps: int = 90,
    learning_rate: float = 1e-3,
) -> Case:
    """Draw nothing: where a surface's descent starts, and the rule that takes it."""
    choices = {"rule": rule, "learning_rate": learning_rate, **(dialect or {})}
    start = np.array(SURFACES[surface][2])
    named = {"rule": choices.pop("rule"), "choices": choices}
    return {"surface": surface, "start": start, "steps": steps, **named}


def descent(side: str, surface: str, start: Array, rule: str, choices: Any, **steps: int) -> Case:
    cost, gradient, _ = SURFACES[surface]
    if side == "scratch":
        made = ours.OPTIMIZERS[rule](**choices)
        return {"gradient": gradient, "start": start, "optimizer": made, **steps}
    torch_start, make = torch.from_numpy(start.copy()), partial(theirs.OPTIMIZERS[rule], **choices)
    return {"cost": cost, "start": torch_start, "optimizer": make, **steps}


def descended(side: Any, surface: str, **case: Any) -> Values:
    name = side.__name__.partition(".")[0]
    return {surface: side.minimize(**descent(name, surface, **case))}


def reaches_the_bottom(run: Any, **case: Any) -> None:
    """Raise unless a path ends near 5; there gradients are round-off, whose quotients part."""
    (path,) = run("minimize", **case).values()
    if not (abs(path[-1, 0] - 5) < 0.05 and abs(path[1, 0] - 5) < 5):
        raise AssertionError(f"the path ends at {path[-1, 0]} for 5")


def leaves_a_quarter_less(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return a descent on (w - 5)^2 at the rate 1/8, and 5 less what is left of the distance."""
    path = run("minimize", **case)["(w - 5)^2"]
    return {"path": path}, {"path": 5 - 5 * 0.75 ** np.arange(len(path))[:, None]}
