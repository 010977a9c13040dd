"""Optimizers: the four rules in each of their dialects, and the way down a surface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.budgets import STEP
from parity_tests.compare.measurement import Array
from parity_tests.compare.optimizer_gauges import (
    adam_gauges,
    gradient_descent_gauges,
    momentum_gauges,
    rmsprop_gauges,
)
from parity_tests.compare.optimizers import draw_gradients
from parity_tests.drawing import betas, draw, powers
from parity_tests.rows import (
    Case,
    Change,
    FunctionTwin,
    Mistake,
    OptimizerTwin,
    Relation,
    Settings,
    Values,
    typed_mistake,
)
from scratch import optimizers as ours
from scratch.optimizers import Adam, GradientDescent, Momentum, RMSprop
from torch_ref import optimizers as theirs

typed = partial(typed_mistake, "scratch.optimizers")
typed_in_torch = partial(typed_mistake, "torch_ref.optimizers")

SGD, RMSPROP, ADAM = torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam
Tensors = list[torch.Tensor]

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
    "a large rate": {"learning_rate": 10.0, "steps": 200},
    "longer than a block": {"size": 40_000, "steps": 2},
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


# --- gradient descent and momentum ----------------------------------------------------------------

GRADIENT_DESCENT = OptimizerTwin(
    name="gradient_descent",
    formula="W = W - alpha g",
    source='Course 1, week 2, "Gradient descent"; torch.optim.SGD',
    proves=("GradientDescent",),
    ours=GradientDescent,
    theirs=theirs.gradient_descent,
    state=theirs.gradient_descent_state,
    draw=draw_walk,
    cases=CASES,
    edges=EDGES,
    gauges=gradient_descent_gauges,
    weight=0.5,
    relations=relations("gradient_descent", adapts=False),
    mistakes=(
        Mistake(
            name="index-of-the-block-not-moved-on",
            seen="NanoComp/meep pull request 122: each chunk is written to the same piece",
            change=Change(
                "scratch._blocks",
                "vector[start : start + BLOCK]",
                "vector[: min(BLOCK, size - start)]",
            ),
        ),
    ),
)

TAUGHT = 'Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD'

TYPED_MOMENTUM = (
    typed("momentum-not-dampened-on-the-first-step",
          "pytorch/pytorch pull request 152833; ml-explore/mlx pull request 473",
          "move(v, g, self.beta, work)  # v = beta v",
          "move(v, g, self.beta if v.any() else 0.0, work)  # v = beta v"),
    typed("momentum-forgotten-at-each-step", "kozistr/pytorch_optimizer pull request 516",
          "        _meet(parameters, gradients, state, MomentumState)\n",
          "        _meet(parameters, gradients, state, MomentumState)\n"
          "        state.v[:] = 0\n"),
    typed_in_torch("torch-momentum-at-the-whole-rate",
          "the factor 1 - beta does not reach the learning rate", "lr=learning_rate * factor",
          "lr=learning_rate"),
    typed_in_torch("torch-velocity-is-the-buffer",
          "the buffer is 1 / (1 - beta) times the course's v",
          '"momentum_buffer", "velocity_factor")', '"momentum_buffer")'),
)  # fmt: skip

MOMENTUM = OptimizerTwin(
    name="momentum",
    formula="v = beta v + (1 - beta) g;  W = W - alpha v",
    torch="torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta)",
    source=TAUGHT,
    proves=("Momentum",),
    ours=Momentum,
    theirs=theirs.momentum,
    state=theirs.momentum_state,
    draw=draw_momentum,
    cases={**CASES, "beta": betas, "averaging": st.just(True)},
    edges={
        **EDGES,
        "as it is without being told": {"beta": None, "averaging": None},
        "a short memory": {"beta": 0.25},
        "nothing is remembered": {"beta": 0.0, "kind": "all magnitudes"},
        "the largest floats of either sign": {"beta": 0.5, "kind": "largest"},
    },
    gauges=momentum_gauges,
    weight=0.5,
    relations=(
        *relations("momentum", adapts=False),
        Relation(
            name="with beta 0 it is gradient descent",
            holds=same_walk(
                "momentum", "gradient_descent", into={"beta": 0.0}, left=("beta", "averaging")
            ),
            broken_by=taking(beta=0.9),
            budget=STEP,
        ),
    ),
    mistakes=(
        Mistake(
            name="dampening=beta",
            why="torch seeds its buffer with the first gradient undamped: ten times the course's v",
            wrong=lambda tensors, learning_rate, beta, **_: SGD(
                tensors, lr=learning_rate, momentum=beta, dampening=beta
            ),
            margin=1,
        ),
        Mistake(
            name="lr=alpha",
            why="torch's buffer lacks the factor 1 - beta: steps of 1 / (1 - beta) times the size",
            wrong=lambda tensors, learning_rate, beta, **_: SGD(
                tensors, lr=learning_rate, momentum=beta
            ),
            margin=5,
        ),
        Mistake(
            name="nesterov=True",
            why="Nesterov looks ahead: it steps along (1 - beta) g + beta v, the course along v",
            wrong=lambda tensors, learning_rate, beta, **_: SGD(
                tensors, lr=learning_rate * (1 - beta), momentum=beta, nesterov=True
            ),
            margin=0.01,
        ),
        *TYPED_MOMENTUM,
    ),
)

TYPED_MOMENTUM_WITHOUT_AVERAGING = (
    typed("momentum-dampened-by-default", "intel/analytics-zoo issue 1038; torch/optim issue 163",
          "v += g  # v = beta v + g", "v += (1 - self.beta) * g"),
    typed("momentum-on-the-gradient-for-the-velocity", "ooples/AiDotNet issue 2008: v never decays",
          "                v *= self.beta\n                v += g  # v = beta v + g",
          "                v += self.beta * g"),
)  # fmt: skip

MOMENTUM_WITHOUT_AVERAGING = OptimizerTwin(
    name="momentum-without-averaging",
    formula="v = beta v + g;  W = W - alpha v",
    torch="torch.optim.SGD(parameters, lr=alpha, momentum=beta)",
    source=TAUGHT,
    proves=("Momentum",),
    ours=Momentum,
    theirs=theirs.momentum,
    state=theirs.momentum_state,
    draw=partial(draw_momentum, averaging=False),
    cases={**CASES, "beta": betas},
    edges={**EDGES, "nothing is remembered": {"beta": 0.0}},
    gauges=momentum_gauges,
    weight=0.5,
    relations=(
        Relation(
            name="with beta 0 it is gradient descent without (1 - beta) too",
            holds=same_walk(
                "momentum-without-averaging",
                "gradient_descent",
                into={"beta": 0.0},
                left=("beta", "averaging"),
            ),
            broken_by=taking(beta=0.9),
            budget=STEP,
        ),
        Relation(
            name="it is momentum at a smaller rate",
            holds=same_walk(
                "momentum",
                "momentum-without-averaging",
                into={"averaging": True, "learning_rate": 1.0},
            ),
            broken_by="lr=alpha * (1 - beta)",
            budget=STEP,
        ),
    ),
    mistakes=(
        Mistake(
            name="lr=alpha * (1 - beta)",
            why="the factor belongs to the form that averages: a tenth of the step",
            wrong=lambda tensors, learning_rate, beta, **_: SGD(
                tensors, lr=learning_rate * (1 - beta), momentum=beta
            ),
            margin=0.5,
        ),
        *TYPED_MOMENTUM_WITHOUT_AVERAGING,
    ),
)

# --- RMSprop --------------------------------------------------------------------------------------


def rmsprop_of(**fixed: Any) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's RMSprop of the course's choices, some of them fixed."""
    return lambda tensors, learning_rate, beta, epsilon, **_: RMSPROP(
        tensors, **{"lr": learning_rate, "alpha": beta, "eps": epsilon, **fixed}
    )


TYPED_RMSPROP = (
    typed("epsilon-inside-the-root", "pytorch/pytorch issue 23796; keras-team/keras issue 435",
          "_root(s, 1.0, self.epsilon, self.epsilon_inside_root, work)",
          "_root(s, 1.0, self.epsilon, True, work)"),
    typed("optimizer-promotes-float32", "google/flax issue 924",
          "value if isinstance(value, bool) else float(value))", "value)"),
    typed_in_torch("torch-alpha-of-the-present", "torch's alpha weighs the past",
          "alpha=beta, eps=epsilon", "alpha=1 - beta, eps=epsilon"),
)  # fmt: skip

RMSPROP_TWIN = OptimizerTwin(
    name="rmsprop",
    formula="s = beta s + (1 - beta) g^2;  W = W - alpha g / (sqrt(s) + epsilon)",
    torch="torch.optim.RMSprop(parameters, lr=alpha, alpha=beta, eps=epsilon)",
    source='Course 2, week 2, "RMSprop"; torch.optim.RMSprop',
    proves=("RMSprop",),
    ours=RMSprop,
    theirs=theirs.rmsprop,
    state=theirs.rmsprop_state,
    draw=draw_rmsprop,
    cases={**CASES, "beta": betas, "epsilon": EPSILONS},
    edges={
        **EDGES,
        "as it is without being told": {
            "beta": None,
            "epsilon": None,
            "epsilon_inside_root": None,
        },
        "a short memory": {"beta": 0.25},
        "nothing is remembered": {"beta": 0.0, "epsilon": 1e-12, "kind": "all magnitudes"},
    },
    gauges=rmsprop_gauges,
    weight=0.5,
    relations=relations("rmsprop", adapts=True),
    mistakes=(
        Mistake(
            name="torch's default alpha",
            why="torch's alpha is the course's beta, and 0.99 unless said otherwise",
            wrong=rmsprop_of(alpha=0.99),
            margin=0.1,
        ),
        Mistake(
            name="alpha=1 - beta",
            why="torch's alpha weighs the past, as beta does",
            wrong=lambda tensors, beta, **rest: rmsprop_of()(tensors, beta=1 - beta, **rest),
            margin=0.1,
        ),
        Mistake(
            name="centered=True",
            why="the centred form divides by the deviation of g, sqrt(s - mean^2)",
            wrong=rmsprop_of(centered=True),
            margin=0.01,
        ),
        Mistake(
            name="epsilon inside the root",
            why="visible where |g| is below sqrt(epsilon) = 1e-4; half the gradients are 1e-8",
            wrong=lambda tensors, **choices: theirs.rmsprop(
                tensors, **{**choices, "epsilon_inside_root": True}
            ),
            margin=0.1,
        ),
        *TYPED_RMSPROP,
    ),
)

TYPED_RMSPROP_INSIDE = (
    typed_in_torch("torch-rmsprop-has-its-epsilon-outside", "the form that torch has already",
          's.add(group["eps"]).rsqrt()', 's.sqrt().add(group["eps"]).reciprocal()'),
    typed_in_torch("torch-rmsprop-averages-gradients", "s is the average of squares",
          's.lerp_(g.square(), 1 - group["alpha"])', 's.lerp_(g.abs(), 1 - group["alpha"])'),
)  # fmt: skip

RMSPROP_INSIDE = OptimizerTwin(
    name="rmsprop-epsilon-inside",
    formula="W = W - alpha g / sqrt(s + epsilon)",
    torch="torch_ref.optimizers.rmsprop(parameters, learning_rate=alpha, beta=beta, "
    "epsilon=epsilon, epsilon_inside_root=True); torch itself has none",
    source='Course 2, week 2, "RMSprop", in the form of many notes',
    proves=("RMSprop",),
    ours=RMSprop,
    theirs=theirs.rmsprop,
    state=theirs.rmsprop_state,
    draw=partial(draw_rmsprop, epsilon_inside_root=True),
    cases={**CASES, "beta": betas, "epsilon": EPSILONS},
    edges={**EDGES, "a short memory": {"beta": 0.25}},
    gauges=rmsprop_gauges,
    weight=0.5,
    mistakes=(
        Mistake(
            name="epsilon outside the root",
            why="torch's only form; visible at |g| ~ 1e-8, which half the gradients are",
            wrong=rmsprop_of(),
            margin=0.1,
        ),
        *TYPED_RMSPROP_INSIDE,
    ),
)

# --- Adam -----------------------------------------------------------------------------------------


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


ADAM_TAUGHT = 'Course 2, week 2, "Adam optimization algorithm"'
ADAM_CASES = {
    **CASES,
    "beta1": betas,
    "beta2": betas,
    "epsilon": EPSILONS,
    "steps_taken": st.just(0) | st.integers(0, 2**40),
}
ROW: Mapping[str, Any] = {
    "proves": ("Adam",),
    "ours": Adam,
    "theirs": theirs.adam,
    "state": theirs.adam_state,
    "gauges": adam_gauges,
    "weight": 0.5,
}

TYPED_ADAM = (
    typed("adam-without-the-power-t", "eriklindernoren/ML-From-Scratch issue 35",
          "1 - self.beta1**t if", "1 - self.beta1 if"),
    typed("adam-squares-for-the-power-t",
          "ufal/npfl114 pull request 79: (1 - beta^2) for (1 - beta_2^t)", "1 - self.beta2**t if",
          "1 - self.beta2**2 if"),
    typed("adam-without-correction", "oxiglade/mlx-rs issue 301; BVLC/caffe issue 4224",
          "        correction_v = 1 - self.beta1**t if self.bias_correction else 1.0\n"
          "        correction_s = 1 - self.beta2**t if self.bias_correction else 1.0\n",
          "        correction_v = correction_s = 1.0\n"),
    typed("adam-multiplies-by-the-correction", "karpathy/convnetjs pull requests 70 and 107",
          "np.divide(s, correction, out=work)", "np.multiply(s, correction, out=work)"),
    typed("adam-corrects-v-in-place", "frgfm/holocron issue 1: the correction accumulates",
          "            np.divide(v, work, out=work)\n"
          "            work *= self.learning_rate / correction_v\n",
          "            v /= correction_v\n"
          "            np.divide(v, work, out=work)\n"
          "            work *= self.learning_rate\n"),
    typed("adam-epsilon-hat", "tensorflow/tensorflow issues 9047 and 35102",
          "    if not inside:\n        work += epsilon\n",
          "    if not inside:\n        work += epsilon / correction**0.5\n"),
    typed("epsilon-added-to-the-parameter",
          "d2l-ai/d2l-en pull request 2691: Adam and Yogi of the TensorFlow tabs",
          "            theta -= work  # theta = theta - alpha v_hat",
          "            work -= self.epsilon\n"
          "            theta -= work  # theta = theta - alpha v_hat"),
    typed("adam-squares-the-second-moment", "torch/optim pull request 48: pow(v, 2) for sqrt(v)",
          "    np.sqrt(work, out=work)\n", "    np.square(work, out=work)\n"),
    typed("adam-counts-a-step-for-each-tensor",
          "flashlight/flashlight issue 143; clab/dynet issue 77; DiffSharp/DiffSharp "
          "issue 292", "            move(v, g, self.beta1, work)",
          "            state.t[()] += 1\n            move(v, g, self.beta1, work)"),
    typed("adam-with-beta2-of-0.99", "karpathy/convnetjs pull request 70", "beta2: float = 0.999",
          "beta2: float = 0.99"),
    typed("adam-counts-in-16-bits", "the count wraps after 32,767 steps",
          "t=np.zeros((), np.int64)", "t=np.zeros((), np.int16)"),
    typed("adam-counts-in-32-bits", "the count wraps after 2,147,483,647 steps",
          "t=np.zeros((), np.int64)", "t=np.zeros((), np.int32)"),
    typed("adam-counts-in-float32", "2**24 + 1 is no float32: the count stands still",
          "t = int(state.t)", "t = state.t[()] = int(np.float32(state.t))"),
    typed_in_torch("torch-betas-swapped", "the betas go by their place", '"betas": (beta1, beta2)',
          '"betas": (beta2, beta1)'),
    typed_in_torch("torch-moments-swapped", "exp_avg is v, exp_avg_sq is s",
          '"v": _vector(optimizer, "exp_avg"), "s": _vector(optimizer, "exp_avg_sq")',
          '"v": _vector(optimizer, "exp_avg_sq"), "s": _vector(optimizer, "exp_avg")'),
)  # fmt: skip

ADAM_TWIN = OptimizerTwin(
    name="adam",
    formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon), v_hat = v / (1 - beta1^t), "
    "s_hat = s / (1 - beta2^t)",
    torch="torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
    source=f"{ADAM_TAUGHT}; torch.optim.Adam",
    **ROW,
    draw=draw_adam,
    cases=ADAM_CASES,
    edges={
        **EDGES,
        **LATE,
        "as it is without being told": dict.fromkeys(
            ("learning_rate", "beta1", "beta2", "epsilon", "epsilon_inside_root", "bias_correction")
        ),
        "other betas": {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-6},
        "a short memory": {"beta1": 0.25, "beta2": 0.25},
    },
    relations=(
        *relations("adam", adapts=True),
        Relation(
            name="with beta1 0 it is RMSprop whose average is corrected",
            holds=corrected_rmsprop,
            broken_by=taking(bias_correction=False),
            budget=STEP,
        ),
        Relation(
            name="the first step is the learning rate, however large the gradient",
            holds=first_step,
            broken_by="v for v_hat",
        ),
    ),
    mistakes=(
        Mistake(
            name="epsilon-hat form (Keras, TensorFlow, scikit-learn)",
            why="alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t), v / (sqrt(s) + epsilon): "
            "epsilon meets the uncorrected s; visible at |g| ~ 1e-8, as half the gradients are",
            values=partial(adam_by_hand, hat=True),
            margin=0.1,
        ),
        Mistake(
            name="eps=1e-7 (Keras)",
            why="Keras' default is ten times torch's; visible at |g| ~ 1e-7 and below",
            wrong=adam_of(eps=1e-7),
            margin=0.1,
        ),
        Mistake(
            name="epsilon inside the root",
            why="sqrt(s_hat + epsilon) floors the root at 1e-4, not at 1e-8",
            wrong=their_adam(epsilon_inside_root=True),
            margin=0.1,
        ),
        Mistake(
            name="without bias correction",
            why="early steps are (1 - beta1) / sqrt(1 - beta2) = 3.2 times as long",
            wrong=their_adam(bias_correction=False),
            margin=2,
        ),
        Mistake(
            name="t begins at 2",
            why="t is raised twice before the first update, and v_hat, s_hat begin too small",
            values=partial(adam_by_hand, ahead=1),
            margin=0.01,
        ),
        Mistake(
            name="amsgrad=True",
            why="AMSGrad divides by the largest s so far: visible once s falls",
            wrong=adam_of(amsgrad=True),
            margin=1e-6,
        ),
        Mistake(
            name="lr left out",
            why="torch's default is 0.001; the course's functions begin with 0.01, here it is 0.1",
            wrong=lambda tensors, epsilon, **_: ADAM(tensors, eps=epsilon),
            margin=0.5,
        ),
        Mistake(
            name="v for v_hat",
            why="the first step is a tenth, and many are too short",
            values=partial(adam_by_hand, v_corrected=False),
            margin=0.1,
        ),
        *TYPED_ADAM,
    ),
)

TYPED_ADAM_INSIDE = (
    typed_in_torch("torch-corrects-a-step-late", "t counts the step that is taken",
          "beta2 ** t.item()) if", "beta2 ** (t.item() + 1)) if"),
)  # fmt: skip

ADAM_INSIDE = OptimizerTwin(
    name="adam-epsilon-inside",
    formula="W = W - alpha v_hat / sqrt(s_hat + epsilon)",
    torch="torch_ref.optimizers.adam(parameters, learning_rate=alpha, "
    "epsilon_inside_root=True); torch itself has none",
    source=f"{ADAM_TAUGHT}, in the form of many notes",
    **ROW,
    draw=partial(draw_adam, epsilon_inside_root=True),
    cases={**ADAM_CASES, "bias_correction": st.booleans()},
    edges={
        **EDGES,
        **LATE,
        "without correction, a short memory": {
            "bias_correction": False,
            "beta1": 0.25,
            "beta2": 0.25,
        },
    },
    relations=(
        Relation(
            name="with beta1 0 and without correction it is such an RMSprop",
            holds=rmsprop_without_memory("adam-epsilon-inside", "rmsprop-epsilon-inside"),
            broken_by=taking(epsilon_inside_root=False),
            budget=STEP,
        ),
    ),
    mistakes=(
        Mistake(
            name="epsilon outside the root",
            why="torch's only form; visible at |g| ~ 1e-8, which half the gradients are",
            wrong=adam_of(),
            margin=0.1,
        ),
        *TYPED_ADAM_INSIDE,
    ),
)

TYPED_ADAM_UNCORRECTED = (
    typed_in_torch("torch-corrects-without-being-asked", "s is corrected where v is not",
          's_hat = s / (1 - beta2 ** t.item()) if group["correct"] else s',
          "s_hat = s / (1 - beta2 ** t.item())"),
)  # fmt: skip

ADAM_UNCORRECTED = OptimizerTwin(
    name="adam-without-correction",
    formula="W = W - alpha v / (sqrt(s) + epsilon)",
    torch="torch_ref.optimizers.adam(parameters, learning_rate=alpha, bias_correction=False); "
    "torch itself has none",
    source=f"{ADAM_TAUGHT}, without its correction",
    **ROW,
    draw=partial(draw_adam, bias_correction=False),
    cases=ADAM_CASES,
    edges={**EDGES, **LATE},
    relations=(
        Relation(
            name="with beta1 0 it is RMSprop",
            holds=rmsprop_without_memory("adam-without-correction", "rmsprop"),
            broken_by=taking(bias_correction=True),
            budget=STEP,
        ),
    ),
    mistakes=(
        Mistake(
            name="torch.optim.Adam",
            why="torch always corrects: its early steps are shorter",
            wrong=adam_of(),
            margin=0.1,
        ),
        *TYPED_ADAM_UNCORRECTED,
    ),
)

# --- down a surface -------------------------------------------------------------------------------

#: costs of theta, written with what NumPy and torch share, and their gradients by hand.
SURFACES: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any], list[float]]] = {
    "(w - 5)^2": (
        lambda theta: ((theta - 5) ** 2).sum(),
        lambda theta: 2 * (theta - 5),
        [0.0],
    ),
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

TYPED_MINIMIZE = (
    typed("path-of-the-same-array", "every point of the path is theta as it is at the end",
          "path[step] = parameters.theta", "path[:] = parameters.theta"),
    typed_in_torch("torch-path-without-its-start", "the path begins where the first step ends",
          "optimizer([theta]), [start.detach().clone()]", "optimizer([theta]), []"),
)  # fmt: skip

MINIMIZE = FunctionTwin(
    name="minimize",
    formula="theta = theta - alpha dJ/dtheta, or any rule's step, down a cost of theta",
    source='Course 2, week 3, "TensorFlow", where (w - 5)^2 is minimized; torch.autograd.grad',
    proves=("minimize",),
    ours=partial(descended, ours.minimize),
    theirs=partial(descended_by_torch, theirs.minimize),
    draw=lambda rng, dialect=None, **settings: draw_descent(rng, **settings, **(dialect or {})),
    cases={
        "surface": st.sampled_from([*SURFACES]),
        "dialect": DIALECTS,
        "steps": st.integers(10, 100),
    },
    edges={
        **{surface: {"surface": surface, "steps": 200} for surface in SURFACES},
        "the way to the bottom": {"learning_rate": 0.05},
        "a single step": {"steps": 1, "learning_rate": 0.1},
    },
    budget=STEP,
    weight=0.5,
    calls=descent_calls,
    relations=(
        Relation(
            name="(w - 5)^2 leads to 5",
            holds=reaches_the_bottom,
            broken_by=lambda honest, **case: {"(w - 5)^2": 0.9 * honest(**case)["(w - 5)^2"]},
            at={"learning_rate": 0.05, "steps": 300},
        ),
        Relation(
            name="at the rate 1/8 a step down (w - 5)^2 leaves three quarters",
            holds=leaves_a_quarter_less,
            broken_by=lambda honest, **case: honest(**{**case, "rule": "momentum"}),
            at={"rule": "gradient_descent", "learning_rate": 0.125, "steps": 20},
        ),
    ),
    mistakes=(*TYPED_MINIMIZE,),
)

TWINS = (
    GRADIENT_DESCENT,
    MOMENTUM,
    MOMENTUM_WITHOUT_AVERAGING,
    RMSPROP_TWIN,
    RMSPROP_INSIDE,
    ADAM_TWIN,
    ADAM_INSIDE,
    ADAM_UNCORRECTED,
    MINIMIZE,
)
