"""Walks of optimizers: where they start, the gradients they meet, and the relations among rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.budgets import STEP
from parity_tests.compare.measurement import Array
from parity_tests.compare.optimizers import draw_gradients
from parity_tests.drawing import draw, powers
from parity_tests.mistakes import Values
from parity_tests.rows import Case, Relation, Settings
from scratch import optimizers as ours
from torch_ref import optimizers as theirs

SGD, RMSPROP, ADAM = torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam

#: sizes of gradients: where epsilon shows, and exactly 0.
SIZES = (1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0)

#: the largest float64: from one to its negative is further than any float.
LARGEST = float(np.finfo(np.float64).max)

#: counts before a walk that leaves 16 bits, with and without a sign, 32 bits, and float32.
LATE: Mapping[str, Settings] = {
    "a count beyond 16 bits": {"steps_taken": 32_760},
    "a count beyond 16 bits without a sign": {"steps_taken": 65_530},
    "a count beyond float32": {"steps_taken": 2**24 - 3, "beta2": 1 - 1e-7},
    "a count beyond 32 bits": {"steps_taken": 2**31 - 3, "beta2": 1 - 1e-9},
}


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
    said = {"learning_rate": learning_rate, **choices}
    return {
        "start": _drawn(start, (size,), rng),
        "gradients": gradients,
        **{name: one for name, one in said.items() if one is not None},
    }


def _drawn(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.zeros(shape) if kind == "nothing" else draw(kind, shape, rng)


draw_momentum = partial(draw_walk, beta=0.9, averaging=True)
draw_rmsprop = partial(draw_walk, beta=0.9, epsilon=1e-8, epsilon_inside_root=False)
draw_adam = partial(
    draw_walk,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_inside_root=False,
    bias_correction=True,
    steps_taken=0,
)

CASES: Mapping[str, st.SearchStrategy[Any]] = {
    "size": st.integers(1, 3),
    "steps": st.integers(1, 5),
    "kind": st.sampled_from(["normal", "all magnitudes", "zeros", "grid", "three sizes"]),
    "start": st.sampled_from(["normal", "nothing", "all magnitudes"]),
    "learning_rate": powers(-6, 1),
}
EPSILONS = powers(-12, -1)
EDGES: Mapping[str, Settings] = {
    "no gradient": {"kind": "nothing", "start": "normal"},
    "a single step": {"steps": 1},
    "a large rate": {"learning_rate": 10.0, "steps": 50},
    "longer than a block": {"size": 2**15 + 9, "steps": 2},
}


# --- relations ------------------------------------------------------------------------------------


def same_walk(
    name: str, other: str, *, into: Case, left: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Return a relation: a rule with `into` walks as another one does without what is `left`."""

    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        first = run(name, **{**case, **into})
        kept = {key: one for key, one in case.items() if key not in left}
        return {"theta": first["theta"]}, {"theta": run(other, **kept)["theta"]}

    return holds


def entry_by_entry(name: str, run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the walk of reversed entries, and the reversed walk; and that of half of them."""
    start, gradients, path = case["start"], case["gradients"], run(name, **case)["theta"]
    turned = {**case, "start": start[::-1].copy(), "gradients": gradients[:, ::-1].copy()}
    half = {**case, "start": start[:5], "gradients": gradients[:, :5]}
    return (
        {"turned": run(name, **turned)["theta"], "alone": run(name, **half)["theta"]},
        {"turned": path[:, ::-1], "alone": path[:, :5]},
    )


def with_its_norm(honest: Any, **case: Any) -> Values:
    """Return a walk along gradients that are shortened to a norm of 1."""
    norms = np.linalg.norm(case["gradients"], axis=1, keepdims=True)
    wrong: Values = honest(**{**case, "gradients": case["gradients"] / np.maximum(1, norms)})
    return wrong


def twice_the_rate(name: str, run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the walks along twice the gradients, and at twice the rate."""
    first = run(name, **{**case, "gradients": 2 * case["gradients"]})
    second = run(name, **{**case, "learning_rate": 2 * case["learning_rate"]})
    return {"theta": first["theta"]}, {"theta": second["theta"]}


def beside_epsilon(name: str, run: Any, **case: Any) -> None:
    """Raise unless gradients and epsilon times a power of two change no bit of the walk."""
    larger = {"gradients": 1024 * case["gradients"], "epsilon": 1024 * case["epsilon"]}
    if not np.array_equal(run(name, **case)["theta"], run(name, **{**case, **larger})["theta"]):
        raise AssertionError("gradients and epsilon times 1024 give another walk")


def wide_rate(name: str, run: Any, **case: Any) -> None:
    """Raise unless a float64 scalar of NumPy's as rate changes no bit of a float32 walk."""
    case |= {key: case[key].astype(np.float32) for key in ("start", "gradients")}
    rate = {"learning_rate": np.float64(case["learning_rate"])}
    if not np.array_equal(run(name, **case)["theta"], run(name, **{**case, **rate})["theta"]):
        raise AssertionError("a rate of NumPy's own promotes float32")


def promoted(honest: Any, **case: Any) -> Values:
    """Return a walk in float64, rounded, where the rate is a scalar of NumPy's."""
    if not isinstance(case["learning_rate"], np.float64):
        plain: Values = honest(**case)
        return plain
    wide = {key: case[key].astype(np.float64) for key in ("start", "gradients")}
    return {"theta": honest(**{**case, **wide})["theta"].astype(np.float32)}


def taking(**instead: Any) -> Callable[..., Values]:
    """Return what breaks a relation: a rule that takes a choice for another."""

    def wrong(honest: Any, **case: Any) -> Values:
        found: Values = honest(**{**case, **instead})
        return found

    return wrong


def relations(name: str, adapts: bool) -> tuple[Relation, ...]:
    """Return what holds for every rule, and what for those that adapt to gradients or do not."""
    own = (
        Relation(
            name="only the size of a gradient beside epsilon matters",
            holds=partial(beside_epsilon, name),
            broken_by=taking(epsilon=1e-8),
        )
        if adapts
        else Relation(
            name="twice the gradient is twice the rate",
            holds=partial(twice_the_rate, name),
            broken_by=taking(learning_rate=0.15),
            budget=STEP,
        )
    )
    return (
        Relation(
            name="every entry walks alone",
            holds=partial(entry_by_entry, name),
            broken_by=with_its_norm,
            budget=STEP,
        ),
        Relation(
            name="a rate in float64 promotes nothing",
            holds=partial(wide_rate, name),
            broken_by=promoted,
        ),
        own,
    )


# --- wrong rules ----------------------------------------------------------------------------------


def sgd_of(choices: Callable[..., Mapping[str, Any]]) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's SGD of what `choices` makes of the course's alpha and beta."""
    return lambda tensors, learning_rate, beta, **_: SGD(tensors, **choices(learning_rate, beta))


def rmsprop_of(**fixed: Any) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's RMSprop of the course's choices, some of them fixed."""
    return lambda tensors, learning_rate, beta, epsilon, **_: RMSPROP(
        tensors, **{"lr": learning_rate, "alpha": beta, "eps": epsilon, **fixed}
    )


def adam_of(**fixed: Any) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's Adam of the course's choices, some of them fixed."""
    return lambda tensors, learning_rate, beta1, beta2, epsilon, **_: ADAM(
        tensors, **{"lr": learning_rate, "betas": (beta1, beta2), "eps": epsilon, **fixed}
    )


def their_adam(**fixed: Any) -> Callable[..., torch.optim.Optimizer]:
    """Return Adam of `torch_ref` in another dialect."""
    return lambda tensors, **choices: theirs.adam(tensors, **{**choices, **fixed})


def adam_by_hand(
    start: Array,
    gradients: Array,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    *,
    ahead: int = 0,
    hat: bool = False,
    v_corrected: bool = True,
    **_: Any,
) -> Values:
    """Return the path of Adam, its count ahead, with an epsilon hat, or along v for v_hat.

    epsilon hat is alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t), v / (sqrt(s) + epsilon).
    """
    theta, v, s, path = start.copy(), 0 * start, 0 * start, []
    for t, g in enumerate(gradients, start=1 + ahead):
        v, s = beta1 * v + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        of_v, of_s = 1 - beta1**t if v_corrected else 1.0, 1 - beta2**t
        root = np.sqrt(s / of_s) + (epsilon / np.sqrt(of_s) if hat else epsilon)
        theta = theta - learning_rate * v / of_v / root
        path.append(theta)
    return {"theta": np.array(path)}


def corrected_rmsprop(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return Adam with beta1 0, and RMSprop whose average is corrected, by hand."""
    case |= {"beta1": 0.0, "beta2": 0.9}
    theta, s, path = case["start"], 0.0, []
    for t, g in enumerate(case["gradients"], start=1):
        s = 0.9 * s + 0.1 * g**2
        theta = theta - case["learning_rate"] * g / (np.sqrt(s / (1 - 0.9**t)) + case["epsilon"])
        path.append(theta)
    return {"theta": run("adam", **case)["theta"]}, {"theta": np.array(path)}


def first_step(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the first step from 0 without an epsilon, and alpha against each sign of g."""
    step = run("adam", **{**case, "epsilon": 1e-300})["theta"][0]
    sign = np.sign(case["gradients"][0])
    return {"first step": step}, {"first step": -case["learning_rate"] * sign}


def rmsprop_without_memory(name: str, other: str) -> Callable[..., Any]:
    """Return a relation: with beta1 0 and without correction Adam is RMSprop."""

    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        walk = {key: case[key] for key in ("start", "gradients", "learning_rate", "epsilon")}
        shared = {"epsilon_inside_root": case["epsilon_inside_root"]}
        own = {"beta1": 0.0, "beta2": 0.9, "bias_correction": False}
        first, second = run(name, **walk, **shared, **own), run(other, **walk, **shared, beta=0.9)
        return {"theta": first["theta"]}, {"theta": second["theta"]}

    return holds


# --- down a surface ------------------------------------------------------------------------------

#: costs of theta, written with what NumPy and torch share, and their gradients by hand.
SURFACES: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any], list[float]]] = {
    "(w - 5)^2": (lambda theta: ((theta - 5) ** 2).sum(), lambda theta: 2 * (theta - 5), [0.0]),
    "a saddle, x^2 - y^2": (
        lambda theta: theta[0] ** 2 - theta[1] ** 2,
        lambda theta: np.array([2, -2]) * theta,
        [1.0, 1e-3],
    ),
    "Rosenbrock's banana": (
        lambda theta: (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2,
        lambda theta: np.array(
            [
                -2 * (1 - theta[0]) - 400 * theta[0] * (theta[1] - theta[0] ** 2),
                200 * (theta[1] - theta[0] ** 2),
            ]
        ),
        [-0.5, 0.6],
    ),
    "a narrow bowl": (
        lambda theta: (theta[0] ** 2 + 50 * theta[1] ** 2) / 2,
        lambda theta: np.array([theta[0], 50 * theta[1]]),
        [10.0, 1.0],
    ),
}


def draw_descent(
    rng: np.random.Generator,
    surface: str = "(w - 5)^2",
    rule: str = "adam",
    steps: int = 90,
    learning_rate: float = 1e-3,
    **choices: Any,
) -> Case:
    """Draw nothing: where a surface's descent starts, and the rule that takes it."""
    return {
        "surface": surface,
        "start": np.array(SURFACES[surface][2]),
        "rule": rule,
        "steps": steps,
        "choices": {"learning_rate": learning_rate, **choices},
    }


def descended(
    minimize: Callable[..., Array], surface: str, start: Array, rule: str, steps: int, choices: Any
) -> Values:
    """Return our path down a surface."""
    optimizer = ours.OPTIMIZERS[rule](**choices)
    return {surface: minimize(SURFACES[surface][1], start, optimizer=optimizer, steps=steps)}


def descended_by_torch(
    minimize: Callable[..., torch.Tensor],
    surface: str,
    start: torch.Tensor,
    rule: str,
    steps: int,
    choices: Any,
) -> Values:
    """Return torch's path down a surface."""
    make = partial(theirs.OPTIMIZERS[rule], **choices)
    path = minimize(SURFACES[surface][0], start, optimizer=make, steps=steps)
    return {surface: path.numpy()}


def descent_calls(surface: str, start: Array, rule: str, steps: int, choices: Any) -> Iterator[Any]:
    """Yield the two functions that the row calls with what it makes of a case."""
    cost, gradient, _ = SURFACES[surface]
    yield (
        "scratch.optimizers.minimize",
        {
            "gradient": gradient,
            "start": start,
            "optimizer": ours.OPTIMIZERS[rule](**choices),
            "steps": 3,
        },
    )
    yield (
        "torch_ref.optimizers.minimize",
        {
            "cost": cost,
            "start": torch.from_numpy(start),
            "optimizer": partial(theirs.OPTIMIZERS[rule], **choices),
            "steps": 3,
        },
    )


def reaches_the_bottom(run: Any, **case: Any) -> None:
    """Raise unless the path to the bottom of (w - 5)^2 ends near 5.

    At the bottom, where gradients are round-off, rules that divide by their size part: only the way
    there can be compared.
    """
    (path,) = run("minimize", **case).values()
    if not (abs(path[-1, 0] - 5) < 0.05 and abs(path[1, 0] - 5) < 5):
        raise AssertionError(f"the path ends at {path[-1, 0]} for 5")


def leaves_a_quarter_less(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return a descent on (w - 5)^2 at the rate 1/8, and 5 less what is left of the distance."""
    path = run("minimize", **case)["(w - 5)^2"]
    return {"path": path}, {"path": 5 - 5 * 0.75 ** np.arange(len(path))[:, None]}


DIALECTS = st.sampled_from(
    [
        {"rule": "gradient_descent"},
        {"rule": "momentum"},
        {"rule": "momentum", "averaging": False},
        {"rule": "rmsprop"},
        {"rule": "rmsprop", "epsilon_inside_root": True},
        {"rule": "adam"},
        {"rule": "adam", "epsilon_inside_root": True, "bias_correction": False},
    ]
)
