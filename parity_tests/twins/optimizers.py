"""Optimizers: the four rules in each of their dialects, and the way down a surface."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import strategies as st

from parity_tests.compare.budgets import STEP
from parity_tests.compare.optimizer_gauges import (
    adam_gauges,
    gradient_descent_gauges,
    momentum_gauges,
    rmsprop_gauges,
)
from parity_tests.drawing import betas
from parity_tests.mistakes import Mistake
from parity_tests.rows import FunctionTwin, OptimizerTwin, Relation
from parity_tests.twins._walks import (
    CASES,
    DIALECTS,
    EDGES,
    EPSILONS,
    LATE,
    SURFACES,
    adam_by_hand,
    adam_of,
    corrected_rmsprop,
    descended,
    descended_by_torch,
    descent_calls,
    draw_adam,
    draw_descent,
    draw_momentum,
    draw_rmsprop,
    draw_walk,
    first_step,
    leaves_a_quarter_less,
    reaches_the_bottom,
    relations,
    rmsprop_of,
    rmsprop_without_memory,
    same_walk,
    sgd_of,
    taking,
    their_adam,
)
from scratch import optimizers as ours
from scratch.optimizers import Adam, GradientDescent, Momentum, RMSprop
from torch_ref import optimizers as theirs


def rule(name: str, make: Any, gauges: Any) -> dict[str, Any]:
    """Return what the rows of a rule share."""
    return {
        "proves": (make.__name__,),
        "ours": make,
        "theirs": theirs.OPTIMIZERS[name],
        "state": getattr(theirs, f"{name}_state"),
        "gauges": gauges,
        "weight": 0.5,
    }


# --- gradient descent and momentum ----------------------------------------------------------------

GRADIENT_DESCENT = OptimizerTwin(
    name="gradient_descent",
    formula="W = W - alpha g",
    source='Course 1, week 2, "Gradient descent"; torch.optim.SGD',
    **rule("gradient_descent", GradientDescent, gradient_descent_gauges),
    draw=draw_walk,
    cases=CASES,
    edges=EDGES,
    relations=relations("gradient_descent", adapts=False),
)

TAUGHT = 'Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD'

MOMENTUM = OptimizerTwin(
    name="momentum",
    formula="v = beta v + (1 - beta) g;  W = W - alpha v",
    torch="torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta)",
    source=TAUGHT,
    **rule("momentum", Momentum, momentum_gauges),
    draw=draw_momentum,
    cases={**CASES, "beta": betas, "averaging": st.just(True)},
    edges={
        **EDGES,
        "as it is without being told": {"beta": None, "averaging": None},
        "a short memory": {"beta": 0.25},
        "nothing is remembered": {"beta": 0.0, "kind": "all magnitudes"},
        "the largest floats of either sign": {"beta": 0.5, "kind": "largest"},
    },
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
            wrong=sgd_of(lambda alpha, beta: {"lr": alpha, "momentum": beta, "dampening": beta}),
            margin=1,
        ),
        Mistake(
            name="lr=alpha",
            why="torch's buffer lacks the factor 1 - beta: steps of 1 / (1 - beta) times the size",
            wrong=sgd_of(lambda alpha, beta: {"lr": alpha, "momentum": beta}),
            margin=5,
        ),
        Mistake(
            name="nesterov=True",
            why="Nesterov looks ahead: it steps along (1 - beta) g + beta v, the course along v",
            wrong=sgd_of(
                lambda alpha, beta: {"lr": alpha * (1 - beta), "momentum": beta, "nesterov": True}
            ),
            margin=0.01,
        ),
    ),
)

MOMENTUM_WITHOUT_AVERAGING = OptimizerTwin(
    name="momentum-without-averaging",
    formula="v = beta v + g;  W = W - alpha v",
    torch="torch.optim.SGD(parameters, lr=alpha, momentum=beta)",
    source=TAUGHT,
    **rule("momentum", Momentum, momentum_gauges),
    draw=partial(draw_momentum, averaging=False),
    cases={**CASES, "beta": betas},
    edges={**EDGES, "nothing is remembered": {"beta": 0.0}},
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
            wrong=sgd_of(lambda alpha, beta: {"lr": alpha * (1 - beta), "momentum": beta}),
            margin=0.5,
        ),
    ),
)

# --- RMSprop --------------------------------------------------------------------------------------


RMSPROP_TWIN = OptimizerTwin(
    name="rmsprop",
    formula="s = beta s + (1 - beta) g^2;  W = W - alpha g / (sqrt(s) + epsilon)",
    torch="torch.optim.RMSprop(parameters, lr=alpha, alpha=beta, eps=epsilon)",
    source='Course 2, week 2, "RMSprop"; torch.optim.RMSprop',
    **rule("rmsprop", RMSprop, rmsprop_gauges),
    draw=draw_rmsprop,
    cases={**CASES, "beta": betas, "epsilon": EPSILONS},
    edges={
        **EDGES,
        "as it is without being told": {"beta": None, "epsilon": None, "epsilon_inside_root": None},
        "a short memory": {"beta": 0.25},
        "nothing is remembered": {"beta": 0.0, "epsilon": 1e-12, "kind": "all magnitudes"},
    },
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
    ),
)

RMSPROP_INSIDE = OptimizerTwin(
    name="rmsprop-epsilon-inside",
    formula="W = W - alpha g / sqrt(s + epsilon)",
    torch="torch_ref.optimizers.rmsprop(parameters, learning_rate=alpha, beta=beta, "
    "epsilon=epsilon, epsilon_inside_root=True); torch itself has none",
    source='Course 2, week 2, "RMSprop", in the form of many notes',
    **rule("rmsprop", RMSprop, rmsprop_gauges),
    draw=partial(draw_rmsprop, epsilon_inside_root=True),
    cases={**CASES, "beta": betas, "epsilon": EPSILONS},
    edges={**EDGES, "a short memory": {"beta": 0.25}},
    mistakes=(
        Mistake(
            name="epsilon outside the root",
            why="torch's only form; visible at |g| ~ 1e-8, which half the gradients are",
            wrong=rmsprop_of(),
            margin=0.1,
        ),
    ),
)

# --- Adam -----------------------------------------------------------------------------------------


ADAM_TAUGHT = 'Course 2, week 2, "Adam optimization algorithm"'
ADAM_CASES = {
    **CASES,
    "beta1": betas,
    "beta2": betas,
    "epsilon": EPSILONS,
    "steps_taken": st.just(0) | st.integers(0, 2**40),
}
ADAM_TWIN = OptimizerTwin(
    name="adam",
    formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon), v_hat = v / (1 - beta1^t), "
    "s_hat = s / (1 - beta2^t)",
    torch="torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
    source=f"{ADAM_TAUGHT}; torch.optim.Adam",
    **rule("adam", Adam, adam_gauges),
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
            broken_by=lambda honest, **case: adam_by_hand(**case, v_corrected=False),
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
            wrong=adam_of(lr=0.001),
            margin=0.5,
        ),
    ),
)

MOVES_ALONG = replace(
    ADAM_TWIN,
    name="adam-moves-along-v-hat",
    topic="errata",
    formula="W = W - alpha v_hat / (sqrt(s_hat) + epsilon)",
    edges={},
    relations=(),
    mistakes=(
        Mistake(
            name="v for v_hat",
            why="the first step is a tenth, and many are too short",
            values=partial(adam_by_hand, v_corrected=False),
            margin=0.1,
        ),
    ),
    weight=0.1,
)

ADAM_INSIDE = OptimizerTwin(
    name="adam-epsilon-inside",
    formula="W = W - alpha v_hat / sqrt(s_hat + epsilon)",
    torch="torch_ref.optimizers.adam(parameters, learning_rate=alpha, "
    "epsilon_inside_root=True); torch itself has none",
    source=f"{ADAM_TAUGHT}, in the form of many notes",
    **rule("adam", Adam, adam_gauges),
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
    ),
)

ADAM_UNCORRECTED = OptimizerTwin(
    name="adam-without-correction",
    formula="W = W - alpha v / (sqrt(s) + epsilon)",
    torch="torch_ref.optimizers.adam(parameters, learning_rate=alpha, bias_correction=False); "
    "torch itself has none",
    source=f"{ADAM_TAUGHT}, without its correction",
    **rule("adam", Adam, adam_gauges),
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
    ),
)

# --- down a surface -------------------------------------------------------------------------------

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
)

TWINS = (
    GRADIENT_DESCENT,
    MOMENTUM,
    MOMENTUM_WITHOUT_AVERAGING,
    RMSPROP_TWIN,
    RMSPROP_INSIDE,
    ADAM_TWIN,
    MOVES_ALONG,
    ADAM_INSIDE,
    ADAM_UNCORRECTED,
    MINIMIZE,
)
