"""Optimizers: the four rules in each of their dialects, and the way down a surface."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st

from parity_tests.compare.budgets import STEP
from parity_tests.compare.gauges import rule_gauges
from parity_tests.mistakes import Mistake
from parity_tests.optimizer_rows import OptimizerTwin
from parity_tests.rows import FunctionTwin, Relation, Settings
from parity_tests.twins import _walks as walks
from parity_tests.twins._relations import spoilt, taking
from parity_tests.twins._walks import EDGES, LATE, adam_by_hand, same_walk, typed
from scratch import optimizers as ours
from torch_ref import optimizers as theirs

#: where each rule is taught.
DESCENT = 'Course 1, week 2, "Gradient descent"; torch.optim.SGD'
MOMENTUM = 'Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD'
RMSPROP = 'Course 2, week 2, "RMSprop"'
ADAM = 'Course 2, week 2, "Adam optimization algorithm"'

TYPED_RMSPROP = "torch.optim.RMSprop(parameters, lr=alpha, alpha=beta, eps=epsilon)"
RMSPROP_INSIDE = (
    "torch_ref.optimizers.rmsprop(parameters, learning_rate=alpha, beta=beta, epsilon=epsilon, "
    "epsilon_inside_root=True)"
)
ADAM_OF_OURS = "torch_ref.optimizers.adam(parameters, learning_rate=alpha, "
ADAM_INSIDE, ADAM_UNCORRECTED = (
    f"{ADAM_OF_OURS}{one}" for one in ("epsilon_inside_root=True)", "bias_correction=False)")
)
TYPED_ADAM = "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)"
VISIBLE = "torch's only form; visible at |g| ~ 1e-8, which half the gradients are"

#: an average of few gradients.
SHORT = {"a short memory": {"beta": 0.25}}
UNCORRECTED = {"beta1": 0.0, "beta2": 0.9, "bias_correction": False}

# fmt: off
#: a rule, and the choices of its example.
RULES: dict[str, tuple[Any, Settings]] = {
    "gradient_descent": (ours.GradientDescent, {}),
    "momentum": (ours.Momentum, {"beta": 0.9, "averaging": True}),
    "rmsprop": (ours.RMSprop, {"beta": 0.9, "epsilon": 1e-8, "epsilon_inside_root": False}),
    "adam": (ours.Adam, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "bias_correction": True,
                         "epsilon_inside_root": False, "steps_taken": 0}),
}
OF_ADAM = tuple(RULES["adam"][1].keys() - RULES["rmsprop"][1].keys())
# fmt: on


def row(
    rule: str,
    name: str,
    *,
    dialect: Settings | None = None,
    cases: Settings | None = None,
    edges: Settings = EDGES,
    weight: float = 0.5,
    **rest: Any,
) -> OptimizerTwin:
    """Return the row of a rule in a dialect; a case is drawn from its choices too."""
    make, choices = RULES[rule]
    drawn = {one: walks.CHOSEN[one] for one in choices if one in walks.CHOSEN}
    # fmt: off
    return OptimizerTwin(
        name=name, proves=(make.__name__,), gauges=rule_gauges, edges=edges, weight=weight,
        ours=make, theirs=theirs.OPTIMIZERS[rule], state=getattr(theirs, f"{rule}_state"),
        draw=partial(walks.draw_walk, **{**choices, **(dialect or {})}),
        cases={**walks.CASES, **drawn, **(cases or {})}, **rest,
    )
    # fmt: on


# fmt: off
TWINS = (
    row("gradient_descent", "gradient_descent", formula="W = W - alpha g", source=DESCENT,
        relations=walks.relations("gradient_descent", adapts=False)),

    row("momentum", "momentum", formula="v = beta v + (1 - beta) g;  W = W - alpha v",
        torch="torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta)", source=MOMENTUM,
        edges={
            **EDGES, **SHORT, "as it is without being told": dict.fromkeys(RULES["momentum"][1]),
            "nothing is remembered": {"beta": 0.0, "kind": "all magnitudes"},
            "the largest floats of either sign": {"beta": 0.5, "kind": "largest"}},
        relations=(
            *walks.relations("momentum", adapts=False),
            Relation(name="with beta 0 it is gradient descent", broken_by=taking(beta=0.9),
                holds=same_walk("momentum", "gradient_descent", {"beta": 0.0},
                                left=("beta", "averaging")), budget=STEP)),
        mistakes=(
            Mistake(name="dampening=beta", margin=1, why="torch seeds its buffer with the first "
                "gradient undamped: ten times the course's v",
                wrong=typed(
                    "torch.optim.SGD(parameters, lr=alpha, momentum=beta, dampening=beta)")),
            Mistake(name="lr=alpha", margin=5, why="torch's buffer lacks the factor 1 - beta: "
                "steps of 1 / (1 - beta) times the size",
                wrong=typed("torch.optim.SGD(parameters, lr=alpha, momentum=beta)")),
            Mistake(name="nesterov=True", margin=0.01, why="Nesterov looks ahead: it steps along "
                "(1 - beta) g + beta v, the course along v",
                wrong=typed("torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta, "
                    "nesterov=True)")))),

    row("momentum", "momentum-without-averaging", dialect={"averaging": False},
        formula="v = beta v + g;  W = W - alpha v",
        torch="torch.optim.SGD(parameters, lr=alpha, momentum=beta)", source=MOMENTUM,
        edges={**EDGES, "nothing is remembered": {"beta": 0.0}},
        relations=(
            Relation(name="with beta 0 it is gradient descent without (1 - beta) too",
                holds=same_walk("momentum-without-averaging", "gradient_descent", {"beta": 0.0},
                                left=("beta", "averaging")),
                broken_by=taking(beta=0.9), budget=STEP),
            Relation(name="it is momentum at a smaller rate",
                holds=same_walk("momentum", "momentum-without-averaging",
                                {"averaging": True, "learning_rate": 1.0}),
                broken_by="lr=alpha * (1 - beta)", budget=STEP)),
        mistakes=(
            Mistake(name="lr=alpha * (1 - beta)", margin=0.5,
                why="the factor belongs to the form that averages: a tenth of the step",
                wrong=typed("torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta)")),
        )),

    row("rmsprop", "rmsprop", source=f"{RMSPROP}; torch.optim.RMSprop",
        formula="s = beta s + (1 - beta) g^2;  W = W - alpha g / (sqrt(s) + epsilon)",
        torch=TYPED_RMSPROP,
        edges={
            **EDGES, **SHORT, "as it is without being told": dict.fromkeys(RULES["rmsprop"][1]),
            "nothing is remembered": {"beta": 0.0, "epsilon": 1e-12, "kind": "all magnitudes"}},
        relations=walks.relations("rmsprop", adapts=True),
        mistakes=(
            Mistake(name="torch's default alpha", margin=0.1,
                why="torch's alpha is the course's beta, and 0.99 unless said otherwise",
                wrong=typed("torch.optim.RMSprop(parameters, lr=alpha, eps=epsilon)")),
            Mistake(name="alpha=1 - beta", margin=0.1,
                why="torch's alpha weighs the past, as beta does",
                wrong=typed(
                    "torch.optim.RMSprop(parameters, lr=alpha, alpha=1 - beta, eps=epsilon)")),
            Mistake(name="centered=True", margin=0.01,
                why="the centred form divides by the deviation of g, sqrt(s - mean^2)",
                wrong=typed(TYPED_RMSPROP.replace(")", ", centered=True)"))),
            Mistake(name="epsilon inside the root", margin=0.1,
                why="visible where |g| is below sqrt(epsilon) = 1e-4; half the gradients are 1e-8",
                wrong=typed(RMSPROP_INSIDE)))),

    row("rmsprop", "rmsprop-epsilon-inside", dialect={"epsilon_inside_root": True},
        formula="W = W - alpha g / sqrt(s + epsilon)",
        torch=f"{RMSPROP_INSIDE}; torch itself has none",
        source=f"{RMSPROP}, in the form of many notes", edges={**EDGES, **SHORT},
        mistakes=(
            Mistake(name="epsilon outside the root", margin=0.1, wrong=typed(TYPED_RMSPROP),
                why=VISIBLE),
        )),

    row("adam", "adam", source=f"{ADAM}; torch.optim.Adam", torch=TYPED_ADAM,
        formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon), v_hat = v / (1 - beta1^t), "
            "s_hat = s / (1 - beta2^t)",
        edges={
            **EDGES, **LATE,
            "as it is without being told": dict.fromkeys(["learning_rate", *RULES["adam"][1]]),
            "other betas": {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-6},
            "a short memory": {"beta1": 0.25, "beta2": 0.25}},
        relations=(
            *walks.relations("adam", adapts=True),
            Relation(name="with beta1 0 it is RMSprop whose average is corrected",
                holds=lambda run, **case: (
                    {"theta": run("adam", **case)["theta"]}, adam_by_hand(**case)),
                at={"beta1": 0.0, "beta2": 0.9}, broken_by=taking(bias_correction=False),
                budget=STEP),
            Relation(name="the first step is the learning rate, however large the gradient",
                holds=walks.first_step, at={"epsilon": 1e-300},
                broken_by=lambda honest, **case: adam_by_hand(**case, v_corrected=False))),
        mistakes=(
            Mistake(name="epsilon-hat form (Keras, TensorFlow, scikit-learn)", margin=0.1,
                why="alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t), v / (sqrt(s) + epsilon): "
                "epsilon meets the uncorrected s; visible at |g| ~ 1e-8, as half the gradients are",
                values=partial(adam_by_hand, hat=True)),
            Mistake(name="eps=1e-7 (Keras)", margin=0.1,
                wrong=typed(TYPED_ADAM.replace("epsilon", "1e-7")),
                why="Keras' default is ten times torch's; visible at |g| ~ 1e-7 and below"),
            Mistake(name="epsilon inside the root", margin=0.1,
                why="sqrt(s_hat + epsilon) floors the root at 1e-4, not at 1e-8",
                wrong=typed(ADAM_INSIDE)),
            Mistake(name="without bias correction", margin=2,
                why="early steps are (1 - beta1) / sqrt(1 - beta2) = 3.2 times as long",
                wrong=typed(ADAM_UNCORRECTED)),
            Mistake(name="t begins at 2", margin=0.01, values=partial(adam_by_hand, ahead=1),
                why="t is raised twice before the first update, and v_hat, s_hat begin too small"),
            Mistake(name="amsgrad=True", margin=1e-6,
                wrong=typed(TYPED_ADAM.replace("eps=", "amsgrad=True, eps=")),
                why="AMSGrad divides by the largest s so far: visible once s falls"),
            Mistake(name="lr left out", margin=0.5, why="torch's default is 0.001; the course's "
                "functions begin with 0.01, here it is 0.1",
                wrong=typed(TYPED_ADAM.replace("lr=alpha, ", ""))))),

    row("adam", "adam-moves-along-v-hat", topic="errata", torch=TYPED_ADAM,
        formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon)",
        source=f"{ADAM}; torch.optim.Adam", edges={}, weight=0.1,
        mistakes=(
            Mistake(name="v for v_hat", margin=0.1, values=partial(adam_by_hand, v_corrected=False),
                why="the first step is a tenth, and many are too short"),
        )),

    row("adam", "adam-epsilon-inside", dialect={"epsilon_inside_root": True},
        formula="W = W - alpha v_hat / sqrt(s_hat + epsilon)",
        torch=f"{ADAM_INSIDE}; torch itself has none",
        source=f"{ADAM}, in the form of many notes", cases={"bias_correction": st.booleans()},
        edges={**EDGES, **LATE, "without correction, a short memory": {
            "bias_correction": False, "beta1": 0.25, "beta2": 0.25}},
        relations=(
            Relation(name="with beta1 0 and without correction it is such an RMSprop",
                holds=same_walk("adam-epsilon-inside", "rmsprop-epsilon-inside", UNCORRECTED,
                                left=OF_ADAM, beta=0.9),
                broken_by=taking(epsilon_inside_root=False), budget=STEP),
        ),
        mistakes=(
            Mistake(name="epsilon outside the root", margin=0.1, wrong=typed(TYPED_ADAM),
                why=VISIBLE),
        )),

    row("adam", "adam-without-correction", dialect={"bias_correction": False},
        formula="W = W - alpha v / (sqrt(s) + epsilon)",
        torch=f"{ADAM_UNCORRECTED}; torch itself has none",
        source=f"{ADAM}, without its correction", edges={**EDGES, **LATE},
        relations=(
            Relation(name="with beta1 0 it is RMSprop", broken_by=taking(bias_correction=True),
                holds=same_walk("adam-without-correction", "rmsprop", UNCORRECTED,
                                left=OF_ADAM, beta=0.9), budget=STEP),
        ),
        mistakes=(
            Mistake(name="torch.optim.Adam", margin=0.1, wrong=typed(TYPED_ADAM),
                why="torch always corrects: its early steps are shorter"),
        )),

    FunctionTwin(
        name="minimize",
        formula="theta = theta - alpha dJ/dtheta, or any rule's step, down a cost of theta",
        source='Course 2, week 3, "TensorFlow", where (w - 5)^2 is minimized; torch.autograd.grad',
        proves=("minimize",), bridge=None, budget=STEP, weight=0.5,
        ours=partial(walks.descended, ours), theirs=partial(walks.descended, theirs),
        draw=walks.draw_descent,
        cases={"surface": st.sampled_from([*walks.SURFACES]), "dialect": walks.DIALECTS,
               "steps": st.integers(10, 100)},
        edges={
            **{surface: {"surface": surface, "steps": 200} for surface in walks.SURFACES},
            "the way to the bottom": {"learning_rate": 0.05},
            "a single step": {"steps": 1, "learning_rate": 0.1}},
        relations=(
            Relation(name="(w - 5)^2 leads to 5", holds=walks.reaches_the_bottom,
                broken_by=spoilt("(w - 5)^2", lambda path: 0.9 * path),
                at={"learning_rate": 0.05, "steps": 300}),
            Relation(name="at the rate 1/8 a step down (w - 5)^2 leaves three quarters",
                holds=walks.leaves_a_quarter_less, broken_by=taking(rule="momentum"),
                at={"rule": "gradient_descent", "learning_rate": 0.125, "steps": 20}))),
)
# fmt: on
