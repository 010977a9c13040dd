"""Optimizers: the four rules in each of their dialects, step by step, and down a surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.budgets import STEP
from parity_tests.compare.gauges import rule_gauges
from parity_tests.compare.measurement import Array
from parity_tests.compare.optimizers import draw_gradients
from parity_tests.drawing import betas, draw, powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, OptimizerTwin, Relation, Settings, evaluate
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


def draw_walk(rng: np.random.Generator, size: int = 12, steps: int = 20, kind: str = "three sizes",
    start: str = "nothing", learning_rate: float | None = 0.1, **choices: Any) -> Case:
    """Draw where a walk starts and the gradients it meets; choices that are None stay unsaid."""
    gradients = draw_array(kind, (steps, size), rng)
    walk = {"start": draw_array(start, (size,), rng), "gradients": gradients}
    said = {"learning_rate": learning_rate, **choices}
    return {**walk, **{name: one for name, one in said.items() if one is not None}}
# fmt: on


def draw_array(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if kind == "nothing":
        return np.zeros(shape)
    if kind == "three sizes":
        return draw_gradients(shape, rng, np.resize(SIZES, shape[-1]))
    if kind == "largest":  # in turns: torch adds up what is not divided by 1 / (1 - beta)
        return LARGEST * rng.choice([-1.0, 1.0], shape[1]) * (-1.0) ** np.arange(shape[0])[:, None]
    return draw(kind, shape, rng)


# --- relations ------------------------------------------------------------------------------------


def same_walk(title: str, name: str, other: str, into: Case, left: tuple[str, ...] = (),
    broken_by: Any = "", **instead: Any) -> Relation:  # fmt: skip
    """Return the relation: a rule with `into` walks as another, without what is `left`."""

    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        kept = {key: one for key, one in case.items() if key not in left}
        first, second = run(name, **{**case, **into}), run(other, **kept, **instead)
        return {"theta": first["theta"]}, {"theta": second["theta"]}

    return Relation(name=title, holds=holds, broken_by=broken_by, budget=STEP)


def cast_to(dtype: Any, case: Case) -> dict[str, Any]:
    return {**case, **{key: case[key].astype(dtype) for key in ("start", "gradients")}}


def wide_rate(name: str, run: Any, **case: Any) -> Any:
    """Hold a float32 walk to one whose rate is a float64 scalar of NumPy's, to the bit."""
    rate = {"learning_rate": np.float64(case["learning_rate"])}
    same = same_under(name, lambda **_: rate, keys=("theta",), exact=True)
    return same(run, **cast_to(np.float32, case))


def promoted(honest: Any, **case: Any) -> Values:
    """Return a walk in float64, rounded, where the rate is a scalar of NumPy's."""
    wide = isinstance(case["learning_rate"], np.float64)
    path = honest(**cast_to(np.float64, case) if wide else case)["theta"]
    return {"theta": path.astype(np.float32)}


# fmt: off
def relations(name: str, adapts: bool) -> tuple[Relation, ...]:
    """Return the relations of a rule, which adapts to the size of gradients or does not."""
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
    return own, Relation(name="a rate in float64 promotes nothing",
        holds=partial(wide_rate, name), broken_by=promoted)
# fmt: on


def typed(name: str, margin: float, why: str, text: str) -> Mistake:
    """Return the mistake of an optimizer's text, given `parameters` and our choices."""

    def make(tensors: Any, learning_rate: float, **choices: Any) -> Any:
        return evaluate(text, parameters=tensors, alpha=learning_rate, **choices)

    return Mistake(name=name, margin=margin, why=why, wrong=make)


def adam_by_hand(start: Array, gradients: Array, learning_rate: float, beta1: float, beta2: float,
    epsilon: float, ahead: int = 0, hat: bool = False, uncorrected: bool = False,
    **_: Any) -> Values:  # fmt: skip
    """Return the path of Adam, its count ahead, with an epsilon hat, or along v for v_hat."""
    theta, v, s, path = start, 0.0, 0.0, []
    for t, g in enumerate(gradients, start=1 + ahead):
        v, s = beta1 * v + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        of_v, of_s = 1.0 if uncorrected else 1 - beta1**t, 1 - beta2**t
        root = np.sqrt(s / of_s) + (epsilon / np.sqrt(of_s) if hat else epsilon)
        theta = theta - learning_rate * v / of_v / root
        path.append(theta)
    return {"theta": np.array(path)}


def first_step(run: Any, learning_rate: float, gradients: Array, **case: Any) -> Any:
    """Return the first step from 0 without an epsilon, and alpha against each sign of g."""
    path = run("adam", learning_rate=learning_rate, gradients=gradients, **case)["theta"]
    return {"first step": path[0]}, {"first step": -learning_rate * np.sign(gradients[0])}


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


def draw_descent(rng: np.random.Generator, surface: str = "(w - 5)^2", dialect: Case | None = None,
    rule: str = "adam", steps: int = 90, learning_rate: float = 1e-3) -> Case:
    """Return the case of a descent, of which nothing is random: surface, start, rule and steps."""
    choices = {"rule": rule, "learning_rate": learning_rate, **(dialect or {})}
    named = {"rule": choices.pop("rule"), "choices": choices}
    return {"surface": surface, "start": np.array(SURFACES[surface][2]), "steps": steps, **named}
# fmt: on


def descended(
    side: Any, surface: str, start: Array, rule: str, choices: Case, **steps: int
) -> Values:
    cost, gradient, _ = SURFACES[surface]
    make = partial(side.OPTIMIZERS[rule], **choices)
    if side is ours:
        return {surface: ours.minimize(gradient, start, optimizer=make(), **steps)}
    begun = torch.from_numpy(start.copy())
    return {surface: theirs.minimize(cost, begun, optimizer=make, **steps)}


def leaves_a_quarter_less(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return a descent on (w - 5)^2 at the rate 1/8, and 5 less what is left of the distance."""
    path = run("minimize", **case)["(w - 5)^2"]
    return {"path": path}, {"path": 5 - 5 * 0.75 ** np.arange(len(path))[:, None]}


# --- the rows -------------------------------------------------------------------------------------

# fmt: off
#: where each rule is taught.
DESCENT = 'Course 1, week 2, "Gradient descent"; torch.optim.SGD'
MOMENTUM = 'Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD'
RMSPROP, ADAM = 'Course 2, week 2, "RMSprop"', 'Course 2, week 2, "Adam optimization algorithm"'

TYPED_SGD = "torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta)"
TYPED_RMSPROP = "torch.optim.RMSprop(parameters, lr=alpha, alpha=beta, eps=epsilon)"
TYPED_ADAM = "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)"
OURS = "torch_ref.optimizers.{}(parameters, learning_rate=alpha, {})".format
RMSPROP_INSIDE = OURS("rmsprop", "beta=beta, epsilon=epsilon, epsilon_inside_root=True")
ADAM_INSIDE = OURS("adam", "epsilon_inside_root=True")
ADAM_UNCORRECTED = OURS("adam", "bias_correction=False")
OUTSIDE = ("epsilon outside the root", 0.1,
           "torch's only form; visible at |g| ~ 1e-8, which half the gradients are")

#: an average of few gradients, and Adam as RMSprop is.
SHORT = {"a short memory": {"beta": 0.25}}
UNCORRECTED = {"beta1": 0.0, "beta2": 0.9, "bias_correction": False}

#: a rule, and the choices of its example.
RULES: dict[str, tuple[Any, Settings]] = {
    "gradient_descent": (ours.GradientDescent, {}),
    "momentum": (ours.Momentum, {"beta": 0.9, "averaging": True}),
    "rmsprop": (ours.RMSprop, {"beta": 0.9, "epsilon": 1e-8, "epsilon_inside_root": False}),
    "adam": (ours.Adam, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "bias_correction": True,
                         "epsilon_inside_root": False, "steps_taken": 0}),
}
OF_ADAM = tuple(RULES["adam"][1].keys() - RULES["rmsprop"][1].keys())


def row(rule: str, name: str, *, dialect: Settings | None = None, cases: Settings | None = None,
    edges: Settings = EDGES, weight: float = 0.5, **rest: Any) -> OptimizerTwin:
    """Return the row of a rule in a dialect; a case is drawn from its choices too."""
    make, choices = RULES[rule]
    drawn = {one: CHOSEN[one] for one in choices if one in CHOSEN}
    return OptimizerTwin(
        name=name, proves=(make.__name__,), gauges=rule_gauges, edges=edges, weight=weight,
        ours=make, theirs=theirs.OPTIMIZERS[rule], state=getattr(theirs, f"{rule}_state"),
        draw=partial(draw_walk, **{**choices, **(dialect or {})}),
        cases={**CASES, **drawn, **(cases or {})}, **rest)


TWINS = (
    row("gradient_descent", "gradient_descent", formula="W = W - alpha g", source=DESCENT,
        relations=relations("gradient_descent", adapts=False)),

    row("momentum", "momentum", formula="v = beta v + (1 - beta) g;  W = W - alpha v",
        torch=TYPED_SGD, source=MOMENTUM,
        edges={
            **EDGES, **SHORT, "as it is without being told": dict.fromkeys(RULES["momentum"][1]),
            "nothing is remembered": {"beta": 0.0, "kind": "all magnitudes"},
            "the largest floats of either sign": {"beta": 0.5, "kind": "largest"}},
        relations=(
            *relations("momentum", adapts=False),
            same_walk("with beta 0 it is gradient descent", "momentum", "gradient_descent",
                      {"beta": 0.0}, ("beta", "averaging"), taking(beta=0.9))),
        mistakes=(
            typed("dampening=beta", 1, "torch seeds its buffer with the first gradient undamped: "
                  "ten times the course's v",
                  "torch.optim.SGD(parameters, lr=alpha, momentum=beta, dampening=beta)"),
            typed("lr=alpha", 5, "torch's buffer lacks the factor 1 - beta: steps of "
                  "1 / (1 - beta) times the size",
                  "torch.optim.SGD(parameters, lr=alpha, momentum=beta)"),
            typed("nesterov=True", 0.01, "Nesterov looks ahead: it steps along "
                  "(1 - beta) g + beta v, the course along v",
                  TYPED_SGD.replace("=beta)", "=beta, nesterov=True)")))),

    row("momentum", "momentum-without-averaging", dialect={"averaging": False},
        formula="v = beta v + g;  W = W - alpha v",
        torch="torch.optim.SGD(parameters, lr=alpha, momentum=beta)", source=MOMENTUM,
        edges={**EDGES, "nothing is remembered": {"beta": 0.0}},
        relations=(same_walk("it is momentum at a smaller rate",
            "momentum", "momentum-without-averaging", {"averaging": True, "learning_rate": 1.0},
            broken_by="lr=alpha * (1 - beta)"),),
        mistakes=(
            typed("lr=alpha * (1 - beta)", 0.5,
                  "the factor belongs to the form that averages: a tenth of the step", TYPED_SGD),
        )),

    row("rmsprop", "rmsprop", source=f"{RMSPROP}; torch.optim.RMSprop",
        formula="s = beta s + (1 - beta) g^2;  W = W - alpha g / (sqrt(s) + epsilon)",
        torch=TYPED_RMSPROP,
        edges={
            **EDGES, **SHORT, "as it is without being told": dict.fromkeys(RULES["rmsprop"][1]),
            "nothing is remembered": {"beta": 0.0, "epsilon": 1e-12, "kind": "all magnitudes"}},
        relations=relations("rmsprop", adapts=True),
        mistakes=(
            typed("torch's default alpha", 0.1,
                  "torch's alpha is the course's beta, and 0.99 unless said otherwise",
                  TYPED_RMSPROP.replace("alpha=beta, ", "")),
            typed("alpha=1 - beta", 0.1, "torch's alpha weighs the past, as beta does",
                  TYPED_RMSPROP.replace("alpha=beta", "alpha=1 - beta")),
            typed("centered=True", 0.01,
                  "the centred form divides by the deviation of g, sqrt(s - mean^2)",
                  TYPED_RMSPROP.replace(")", ", centered=True)")),
            typed("epsilon inside the root", 0.1, "visible where |g| is below "
                  "sqrt(epsilon) = 1e-4; half the gradients are 1e-8", RMSPROP_INSIDE))),

    row("rmsprop", "rmsprop-epsilon-inside", dialect={"epsilon_inside_root": True},
        formula="W = W - alpha g / sqrt(s + epsilon)",
        torch=f"{RMSPROP_INSIDE}; torch itself has none",
        source=f"{RMSPROP}, in the form of many notes", edges={**EDGES, **SHORT},
        mistakes=(typed(*OUTSIDE, TYPED_RMSPROP),)),

    row("adam", "adam", source=f"{ADAM}; torch.optim.Adam", torch=TYPED_ADAM,
        formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon), v_hat = v / (1 - beta1^t), "
            "s_hat = s / (1 - beta2^t)",
        edges={
            **EDGES, **LATE,
            "as it is without being told": dict.fromkeys(["learning_rate", *RULES["adam"][1]]),
            "other betas": {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-6},
            "a short memory": {"beta1": 0.25, "beta2": 0.25}},
        relations=(
            *relations("adam", adapts=True),
            Relation(name="with beta1 0 it is RMSprop whose average is corrected",
                holds=lambda run, **case: (
                    {"theta": run("adam", **case)["theta"]}, adam_by_hand(**case)),
                at={"beta1": 0.0, "beta2": 0.9}, broken_by=taking(bias_correction=False),
                budget=STEP),
            Relation(name="the first step is the learning rate, however large the gradient",
                holds=first_step, at={"epsilon": 1e-300},
                broken_by=lambda honest, **case: adam_by_hand(**case, uncorrected=True))),
        mistakes=(
            Mistake(name="epsilon-hat form (Keras, TensorFlow, scikit-learn)", margin=0.1,
                why="alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t), v / (sqrt(s) + epsilon): "
                "epsilon meets the uncorrected s; visible at |g| ~ 1e-8, as half the gradients are",
                values=partial(adam_by_hand, hat=True)),
            typed("eps=1e-7 (Keras)", 0.1,
                  "Keras' default is ten times torch's; visible at |g| ~ 1e-7 and below",
                  TYPED_ADAM.replace("epsilon", "1e-7")),
            typed("epsilon inside the root", 0.1,
                  "sqrt(s_hat + epsilon) floors the root at 1e-4, not at 1e-8", ADAM_INSIDE),
            typed("without bias correction", 2, "early steps are "
                  "(1 - beta1) / sqrt(1 - beta2) = 3.2 times as long", ADAM_UNCORRECTED),
            Mistake(name="t begins at 2", margin=0.01, values=partial(adam_by_hand, ahead=1),
                why="t is raised twice before the first update, and v_hat, s_hat begin too small"),
            typed("amsgrad=True", 1e-6,
                  "AMSGrad divides by the largest s so far: visible once s falls",
                  TYPED_ADAM.replace("eps=", "amsgrad=True, eps=")),
            typed("lr left out", 0.5, "torch's default is 0.001; the course's functions begin "
                  "with 0.01, here it is 0.1", TYPED_ADAM.replace("lr=alpha, ", "")))),

    row("adam", "adam-moves-along-v-hat", topic="errata", torch=TYPED_ADAM,
        formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon)",
        source=f"{ADAM}; torch.optim.Adam", edges={}, weight=0.1,
        mistakes=(Mistake(name="v for v_hat", margin=0.1,
            values=partial(adam_by_hand, uncorrected=True),
            why="the first step is a tenth, and many are too short"),)),

    row("adam", "adam-epsilon-inside", dialect={"epsilon_inside_root": True},
        formula="W = W - alpha v_hat / sqrt(s_hat + epsilon)",
        torch=f"{ADAM_INSIDE}; torch itself has none",
        source=f"{ADAM}, in the form of many notes", cases={"bias_correction": st.booleans()},
        edges={**EDGES, **LATE, "without correction, a short memory": {
            "bias_correction": False, "beta1": 0.25, "beta2": 0.25}},
        relations=(same_walk("with beta1 0 and without correction it is such an RMSprop",
            "adam-epsilon-inside", "rmsprop-epsilon-inside", UNCORRECTED, OF_ADAM,
            taking(epsilon_inside_root=False), beta=0.9),),
        mistakes=(typed(*OUTSIDE, TYPED_ADAM),)),

    row("adam", "adam-without-correction", dialect={"bias_correction": False},
        formula="W = W - alpha v / (sqrt(s) + epsilon)",
        torch=f"{ADAM_UNCORRECTED}; torch itself has none",
        source=f"{ADAM}, without its correction", edges={**EDGES, **LATE},
        relations=(same_walk("with beta1 0 it is RMSprop", "adam-without-correction", "rmsprop",
            UNCORRECTED, OF_ADAM, taking(bias_correction=True), beta=0.9),),
        mistakes=(typed("torch.optim.Adam", 0.1,
            "torch always corrects: its early steps are shorter", TYPED_ADAM),)),

    FunctionTwin(
        name="minimize",
        formula="theta = theta - alpha dJ/dtheta, or any rule's step, down a cost of theta",
        source='Course 2, week 3, "TensorFlow", where (w - 5)^2 is minimized; torch.autograd.grad',
        proves=("minimize",), bridge=None, budget=STEP, weight=0.5,
        ours=partial(descended, ours), theirs=partial(descended, theirs), draw=draw_descent,
        cases={"surface": st.sampled_from([*SURFACES]), "dialect": DIALECTS,
               "steps": st.integers(10, 100)},
        edges={
            **{surface: {"surface": surface, "steps": 200} for surface in SURFACES},
            "the way to the bottom": {"learning_rate": 0.05},
            "a single step": {"steps": 1, "learning_rate": 0.1}},
        relations=(Relation(
            name="at the rate 1/8 a step down (w - 5)^2 leaves three quarters of the way to 5",
            holds=leaves_a_quarter_less, broken_by=taking(rule="momentum"),
            at={"rule": "gradient_descent", "learning_rate": 0.125, "steps": 20}),)),
)
# fmt: on
