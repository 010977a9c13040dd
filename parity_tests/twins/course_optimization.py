"""The course's optimization methods: `scratch.course.optimization`."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows
from parity_tests.drawing import Array, betas, seeds
from parity_tests.mistakes import Values
from parity_tests.twins import _course as course
from parity_tests.twins._course import Arrays
from scratch.course import optimization as ours
from torch_ref import optimizers as theirs
from torch_ref.mini_batches import mini_batches

TAUGHT = 'Course 2, week 2, "Optimization methods"'


def cut(X: Array, Y: Array, size: int, seed: int) -> Values:
    """Return our mini-batches side by side."""
    found = ours.random_mini_batches(X, Y, size, seed)
    assert type(found) is list
    assert {type(pair) for pair in found} == {tuple}
    assert not any(np.shares_memory(X, one) for one, _ in found)
    inputs, labels = (np.hstack(each) for each in zip(*found, strict=True))
    return {"sizes": [one.shape[1] for one, _ in found], "X": inputs, "Y": labels}


def cut_by_torch(X: Array, Y: Array, size: int, seed: int) -> Values:
    order = np.random.RandomState(seed).permutation(X.shape[1])
    found = list(mini_batches(rows(X), rows(Y.astype(X.dtype)), order, size))
    inputs, labels = (torch.cat(each) for each in zip(*found, strict=True))
    sizes = [len(one) for one, _ in found]
    return {"sizes": sizes, "X": columns(inputs), "Y": columns(labels).astype(Y.dtype)}


def decaying(tensors: Any, learning_rate: float, decay_rate: float) -> torch.optim.Optimizer:
    """Return torch's SGD whose rate decays after each step, as `LambdaLR` has it."""
    optimizer = torch.optim.SGD(tensors, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + decay_rate * t))
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    return optimizer


#: the defaults of the assignment's Adam.
ADAM: Any = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

RULES = ("gd", "momentum", "adam")


def rule(optimizer: str, **choices: float) -> Any:
    """Return the optimizer of a name of the assignment, whose rate is 0.0007 by default."""
    name = "gradient_descent" if optimizer == "gd" else optimizer
    return name, {"learning_rate": 0.0007, **choices}


def trained(
    data: Any, sizes: Any, epochs: int, size: int, optimizer: str, **choices: Any
) -> Arrays:
    given = {"mini_batch_size": size, "num_epochs": epochs, "print_cost": False, **choices}
    with mock.patch.object(ours, "plot_costs"):
        return ours.model(data[0], data[1], sizes, optimizer, **given)


# fmt: off
TWINS = (
    course.row(ours, "random_mini_batches", cut, cut_by_torch, exact=True, weight=0.4,
        formula="columns in the order of NumPy's seed, at most mini_batch_size together",
        source='Course 2, week 2, "Mini-batch gradient descent"; torch.utils.data.BatchSampler',
        draw=lambda rng, m=148, size=64, of=0: {  # boolean labels keep their dtype
            "X": rng.standard_normal((4, m)), "Y": rng.random((1, m)) < 0.5,
            "size": size, "seed": of},
        cases={"m": st.integers(1, 20), "size": st.integers(1, 9), "of": seeds},
        edges={"no rest": {"m": 128}, "one short batch": {"m": 5},
               "one example each": {"m": 3, "size": 1}, "the largest seed": {"of": 2**32 - 1}}),
    course.descent(ours, "update_parameters_with_gd"),
    course.walk(ours, "momentum",
        lambda parameters, grads, memory, t, **rates: ours.update_parameters_with_momentum(
            parameters, grads, *memory, **rates),
        theirs.momentum, theirs.momentum_state,
        lambda parameters: (ours.initialize_velocity(parameters),),
        formula="v = beta v + (1 - beta) dtheta, theta = theta - alpha v",
        source='Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD',
        proves=("update_parameters_with_momentum", "initialize_velocity"),
        draw=partial(course.draw_walk, beta=0.8, learning_rate=0.1), cases={"beta": betas}),
    course.walk(ours, "adam",
        lambda parameters, grads, memory, t, **rates: ours.update_parameters_with_adam(
            parameters, grads, memory[0], memory[1], t, **rates),
        theirs.adam, theirs.adam_state, ours.initialize_adam,
        formula="theta = theta - alpha v / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon)",
        source='Course 2, week 2, "Adam optimization algorithm"; torch.optim.Adam',
        proves=("update_parameters_with_adam", "initialize_adam"),
        draw=partial(course.draw_walk, **ADAM), cases={"beta1": st.sampled_from([0.9, 0.5, 0.0])},
        edges={"layers that do not fit together": {"loose": 2}, **course.ELEVEN_LAYERS,
               "its own rates": {
                   "learning_rate": 0.1, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-4}}),
    course.walk(ours, "decay",
        lambda parameters, grads, memory, t, **rates: (
            ours.update_parameters_with_decay(parameters, grads, **rates, iteration=t - 1),),
        decaying,
        formula="theta = theta - alpha / (1 + decay_rate iteration) dtheta",
        source='Course 2, week 2, "Learning rate decay"; torch.optim.lr_scheduler.LambdaLR',
        proves=("update_parameters_with_decay",),
        draw=partial(course.draw_walk, learning_rate=0.3, decay_rate=0.5),
        cases={"decay_rate": st.sampled_from([0.0, 0.5, 1.0, 0.01])}),
    course.training(ours, "model", trained, lambda randn, n_prev: randn * np.sqrt(2 / n_prev), rule,
        formula="He's weights of seed 3, batches of seeds 11, 12, ..., by gd, momentum or adam",
        source=f"{TAUGHT}; torch.optim",
        draw=partial(course.draw_training, sizes=(3, 5, 4, 1), m=50, size=16, epochs=3,
                     optimizer="adam"),
        cases={"sizes": course.layer_sizes, "m": st.integers(2, 30), "size": st.integers(2, 16),
               "epochs": st.integers(0, 10), "optimizer": st.sampled_from(RULES)},
        edges={
            "gradient descent": {"optimizer": "gd"}, "momentum": {"optimizer": "momentum"},
            "a long way": {"epochs": 30},
            "momentum with its rates": {"optimizer": "momentum", "learning_rate": 0.1, "beta": 0.7},
            "adam with its rates": {**ADAM, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
        }))
# fmt: on
