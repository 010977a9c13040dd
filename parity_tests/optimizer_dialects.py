"""Dialects of a training step: the optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from parity_tests.compare.bridge import to_numpy, to_torch
from parity_tests.compare.budgets import STEP
from parity_tests.compare.functions import Array
from parity_tests.conventions import Convention, Refutation, Values, evaluate
from scratch import optimizers
from scratch.parameters import Parameters
from torch_ref import optimizers as their_optimizers

Rng = np.random.Generator
Make = Callable[[list[torch.Tensor]], torch.optim.Optimizer]

#: the learning rate of every walk here, and the number of its steps.
ALPHA, STEPS = 0.1, 20

#: the course's beta, and epsilon, in all of these.
BETA, EPSILON = 0.9, 1e-8


def draw_gradients(rng: Rng, size: float = 1.0) -> dict[str, Array]:
    """Draw the gradients of twenty steps, (20, 12), half the entries about `size`, half about 1."""
    return {"gradients": rng.standard_normal((STEPS, 12)) * np.resize([1.0, size], 12)}


draw_tiny = partial(draw_gradients, size=1e-8)


def walked(optimizer: optimizers.Optimizer, gradients: Array) -> Values:
    """Return theta after steps of ours from 0 along these gradients, (steps, N)."""
    parameters = Parameters({"W1": np.zeros((1, gradients.shape[1]))})
    slope, state = parameters.zeros_like(), optimizer.init(parameters)
    for one in gradients:
        slope.theta[:] = one
        optimizer.update(parameters, slope, state)
    return {"theta": parameters.theta}


def walked_by_torch(make: Make, gradients: Array) -> Values:
    """Return theta after the same steps of an optimizer of torch's."""
    theta = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = make([theta])
    for one in gradients:
        theta.grad = to_torch("gradient", one)
        optimizer.step()
    return {"theta": to_numpy("theta", theta)}


def refuted_step(make: Make, margin: float, why: str) -> Refutation:
    """Return the refutation of a torch optimizer that takes other steps."""
    return Refutation(values=partial(walked_by_torch, make), margin=margin, why=why)


#: what the texts of optimizers call their choices.
CHOICES = {"alpha": ALPHA, "beta": BETA, "beta1": 0.9, "beta2": 0.999, "epsilon": EPSILON}


def walked_as_typed(text: str, gradients: Array) -> Values:
    """Return theta after the same steps of the optimizer that a text makes."""
    return walked_by_torch(lambda one: evaluate(text, parameters=one, **CHOICES), gradients)


def rule(name: str, **choices: Any) -> dict[str, Any]:
    """Return both sides of a convention about an optimizer, by the library's name for it."""
    choices = {"learning_rate": ALPHA, **choices}
    return {
        "topic": "optimizers",
        "draw": draw_tiny,
        "budget": STEP,
        "ours": partial(walked, optimizers.OPTIMIZERS[name](**choices)),
        "theirs": partial(walked_by_torch, partial(their_optimizers.OPTIMIZERS[name], **choices)),
        "typed": walked_as_typed,
    }


def epsilon_hat(gradients: Array) -> Values:
    """Return theta after steps of Adam as Keras, TensorFlow and scikit-learn write it."""
    beta1, beta2 = 0.9, 0.999
    theta, v, s = (np.zeros(gradients.shape[1]) for _ in range(3))
    for t, g in enumerate(gradients, start=1):
        v, s = beta1 * v + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        alpha_t = ALPHA * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        theta -= alpha_t * v / (np.sqrt(s) + EPSILON)
    return {"theta": theta}


def late_count(gradients: Array) -> Values:
    """Return theta after steps of torch's Adam whose count t begins at 2."""

    def ahead(tensors: list[torch.Tensor]) -> torch.optim.Optimizer:
        adam = torch.optim.Adam(tensors, lr=ALPHA)
        for one in tensors:
            zero = torch.zeros_like(one)
            adam.state[one] = {"step": torch.ones(()), "exp_avg": zero, "exp_avg_sq": zero.clone()}
        return adam

    return walked_by_torch(ahead, gradients)


SGD, RMSPROP, ADAM = torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam

OPTIMIZER_DIALECTS = (
    Convention(
        name="momentum",
        course="v = beta v + (1 - beta) g;  W = W - alpha v",
        torch="torch.optim.SGD(parameters, lr=alpha * (1 - beta), momentum=beta)",
        source='Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD',
        **rule("momentum"),
        wrong={
            "dampening=beta": refuted_step(
                partial(SGD, lr=ALPHA, momentum=BETA, dampening=BETA),
                1,
                "torch seeds its buffer with the first gradient undamped: ten times the course's v",
            ),
            "lr=alpha": refuted_step(
                partial(SGD, lr=ALPHA, momentum=BETA),
                5,
                "torch's buffer lacks the factor 1 - beta: steps of 1 / (1 - beta) times the size",
            ),
            "nesterov=True": refuted_step(
                partial(SGD, lr=ALPHA * (1 - BETA), momentum=BETA, nesterov=True),
                0.01,
                "Nesterov looks ahead: it steps along (1 - beta) g + beta v, the course along v",
            ),
        },
    ),
    Convention(
        name="momentum-without-averaging",
        course="v = beta v + g;  W = W - alpha v",
        torch="torch.optim.SGD(parameters, lr=alpha, momentum=beta)",
        source='Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD',
        **rule("momentum", averaging=False),
        wrong={
            "lr=alpha * (1 - beta)": refuted_step(
                partial(SGD, lr=ALPHA * (1 - BETA), momentum=BETA),
                0.5,
                "the factor belongs to the form that averages: a tenth of the step",
            ),
        },
    ),
    Convention(
        name="rmsprop",
        course="s = beta s + (1 - beta) g^2;  W = W - alpha g / (sqrt(s) + epsilon)",
        torch="torch.optim.RMSprop(parameters, lr=alpha, alpha=beta, eps=epsilon)",
        source='Course 2, week 2, "RMSprop"; torch.optim.RMSprop',
        **rule("rmsprop"),
        wrong={
            "torch's default alpha": refuted_step(
                partial(RMSPROP, lr=ALPHA, eps=EPSILON),
                0.1,
                "torch's alpha is the course's beta, and 0.99 unless said otherwise",
            ),
            "alpha=1 - beta": refuted_step(
                partial(RMSPROP, lr=ALPHA, alpha=1 - BETA, eps=EPSILON),
                0.1,
                "torch's alpha weighs the past, as beta does",
            ),
            "centered=True": refuted_step(
                partial(RMSPROP, lr=ALPHA, alpha=BETA, eps=EPSILON, centered=True),
                0.01,
                "the centred form divides by the deviation of g, sqrt(s - mean^2)",
            ),
            "epsilon inside the root": refuted_step(
                partial(their_optimizers.rmsprop, learning_rate=ALPHA, epsilon_inside_root=True),
                0.1,
                "visible where |g| is below sqrt(epsilon) = 1e-4; half the gradients are 1e-8",
            ),
        },
    ),
    Convention(
        name="rmsprop-epsilon-inside",
        course="W = W - alpha g / sqrt(s + epsilon)",
        torch="torch_ref.optimizers.rmsprop(parameters, learning_rate=alpha, beta=beta, "
        "epsilon=epsilon, epsilon_inside_root=True); torch itself has none",
        source='Course 2, week 2, "RMSprop", in the form of many notes',
        **rule("rmsprop", epsilon_inside_root=True),
        wrong={
            "epsilon outside the root": refuted_step(
                partial(RMSPROP, lr=ALPHA, alpha=BETA, eps=EPSILON),
                0.1,
                "torch's only form; visible at |g| ~ 1e-8, which half the gradients are",
            ),
        },
    ),
    Convention(
        name="adam",
        course="W = W - alpha v_hat / (sqrt(s_hat) + epsilon), v_hat = v / (1 - beta1^t), "
        "s_hat = s / (1 - beta2^t)",
        torch="torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
        source='Course 2, week 2, "Adam optimization algorithm"; torch.optim.Adam',
        **rule("adam"),
        wrong={
            "epsilon-hat form (Keras, TensorFlow, scikit-learn)": Refutation(
                values=epsilon_hat,
                margin=0.1,
                why="alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t), v / (sqrt(s) + epsilon): "
                "epsilon meets the uncorrected s; visible at |g| ~ 1e-8, as half the gradients are",
            ),
            "eps=1e-7 (Keras)": refuted_step(
                partial(ADAM, lr=ALPHA, eps=1e-7),
                0.1,
                "Keras' default is ten times torch's; visible at |g| ~ 1e-7 and below",
            ),
            "epsilon inside the root": refuted_step(
                partial(their_optimizers.adam, learning_rate=ALPHA, epsilon_inside_root=True),
                0.1,
                "sqrt(s_hat + epsilon) floors the root at 1e-4, not at 1e-8",
            ),
            "without bias correction": refuted_step(
                partial(their_optimizers.adam, learning_rate=ALPHA, bias_correction=False),
                2,
                "early steps are (1 - beta1) / sqrt(1 - beta2) = 3.2 times as long",
            ),
            "t begins at 2": Refutation(
                values=late_count,
                margin=0.01,
                why="t is raised twice before the first update, and v_hat, s_hat begin too small",
            ),
            "amsgrad=True": refuted_step(
                partial(ADAM, lr=ALPHA, eps=EPSILON, amsgrad=True),
                1e-6,
                "AMSGrad divides by the largest s so far: visible once s falls",
            ),
            "lr left out": refuted_step(
                partial(ADAM, eps=EPSILON),
                0.5,
                "torch's default is 0.001; the course's functions begin with 0.01, here it is 0.1",
            ),
        },
    ),
    Convention(
        name="adam-epsilon-inside",
        course="W = W - alpha v_hat / sqrt(s_hat + epsilon)",
        torch="torch_ref.optimizers.adam(parameters, learning_rate=alpha, "
        "epsilon_inside_root=True); torch itself has none",
        source='Course 2, week 2, "Adam optimization algorithm", in the form of many notes',
        **rule("adam", epsilon_inside_root=True),
        wrong={
            "epsilon outside the root": refuted_step(
                partial(ADAM, lr=ALPHA, eps=EPSILON),
                0.1,
                "torch's only form; visible at |g| ~ 1e-8, which half the gradients are",
            ),
        },
    ),
    Convention(
        name="adam-without-correction",
        course="W = W - alpha v / (sqrt(s) + epsilon)",
        torch="torch_ref.optimizers.adam(parameters, learning_rate=alpha, bias_correction=False); "
        "torch itself has none",
        source='Course 2, week 2, "Adam optimization algorithm", without its correction',
        **rule("adam", bias_correction=False),
        wrong={
            "torch.optim.Adam": refuted_step(
                partial(ADAM, lr=ALPHA, eps=EPSILON),
                0.1,
                "torch always corrects: its early steps are shorter",
            ),
        },
    ),
)
