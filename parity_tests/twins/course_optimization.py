"""The course's optimization methods: `scratch.course.optimization`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, unload
from parity_tests.compare.budgets import STEP, TRAINING
from parity_tests.compare.course import (
    Arrays,
    draw_data,
    draw_layers,
    notebook_layers,
    numpy_seed,
    reference,
    training_gauges,
)
from parity_tests.compare.measurement import Array
from parity_tests.drawing import betas, seeds
from parity_tests.rows import Case, Change, FunctionTwin, Mistake, Values
from parity_tests.twins.course_deep import layer_sizes, update
from scratch.course import optimization as ours
from torch_ref import optimizers as theirs
from torch_ref.mini_batches import mini_batches

Call = tuple[str, Case]

typed_into = partial(Change, "scratch.course.optimization")

TAUGHT = 'Course 2, week 2, "Optimization methods"'
STEM = "scratch.course.optimization"


# --- mini-batches ---------------------------------------------------------------------------------


def draw_examples(rng: np.random.Generator, m: int = 148, size: int = 64, seed_of: int = 0) -> Case:
    """Draw inputs and boolean labels, which keep their dtype."""
    X, Y = rng.standard_normal((4, m)), rng.random((1, m)) < 0.5
    return {"X": X, "Y": Y, "size": size, "seed": seed_of}


def cut(X: Array, Y: Array, size: int, seed: int) -> Values:
    """Return our mini-batches side by side; 64 columns and seed 0 are the defaults."""
    given: dict[str, int] = {} if size == 64 else {"mini_batch_size": size}
    found = ours.random_mini_batches(X, Y, **given, **({"seed": seed} if seed else {}))
    assert type(found) is list
    assert {type(pair) for pair in found} == {tuple}
    assert not any(np.shares_memory(X, one) for one, _ in found)
    sizes = [one.shape[1] for one, _ in found]
    return {"sizes": sizes} | {
        name: np.hstack(each) for name, each in zip("XY", zip(*found, strict=True), strict=True)
    }


def cut_by_torch(X: Array, Y: Array, size: int, seed: int) -> Values:
    """Return the mini-batches of torch's sampler in the order of NumPy's seed."""
    with numpy_seed(seed):
        order = np.random.permutation(X.shape[1])  # noqa: NPY002
    found = list(mini_batches(rows(X), rows(Y.astype(X.dtype)), order, size))
    inputs, labels = (torch.cat(each) for each in zip(*found, strict=True))
    sizes = [len(one) for one, _ in found]
    return {"sizes": sizes, "X": columns(inputs), "Y": columns(labels).astype(Y.dtype)}


def cut_calls(X: Array, Y: Array, **_: int) -> Iterator[Call]:
    """Yield the call of mini-batches."""
    yield f"{STEM}.random_mini_batches", {"X": X, "Y": Y, "mini_batch_size": 4, "seed": 0}


MINI_BATCHES = FunctionTwin(
    name="optimization.random_mini_batches",
    formula="columns in the order of NumPy's seed, at most mini_batch_size together",
    source='Course 2, week 2, "Mini-batch gradient descent"; torch.utils.data.BatchSampler',
    proves=("random_mini_batches",),
    ours=cut,
    theirs=cut_by_torch,
    bridge=None,
    exact=True,
    draw=draw_examples,
    cases={"m": st.integers(1, 20), "size": st.integers(1, 9), "seed_of": seeds},
    edges={
        "no rest": {"m": 128},
        "one short batch": {"m": 5},
        "one example each": {"m": 3, "size": 1},
        "the largest seed": {"seed_of": 2**32 - 1},
    },
    weight=0.4,
    calls=cut_calls,
)


# --- updates along a walk -------------------------------------------------------------------------


def draw_walk(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (3, 5, 4, 1),
    steps: int = 30,
    loose: int = 0,
    **choices: float,
) -> Case:
    """Draw parameters and gradients of about 1, of about 1e-8 where epsilon shows, and 0.

    Of a `loose` network W2 is wider than layer 1: each layer is updated on its own.
    """
    start = draw_layers(sizes, rng)
    if loose and "W2" in start:
        start["W2"] = rng.standard_normal((sizes[2], sizes[1] + loose))
    gradients = [
        {
            f"d{name}": rng.standard_normal(one.shape) * rng.choice([1.0, 1e-8, 0.0], one.shape)
            for name, one in start.items()
        }
        for _ in range(steps)
    ]
    return {"start": start, "gradients": gradients, **choices}


def flat(arrays: Mapping[str, Array]) -> Array:
    """Return the arrays of a dictionary as one vector."""
    return np.concatenate([one.ravel() for one in arrays.values()])


def walked(
    step: Callable[..., Any],
    begin: Callable[[Arrays], tuple[Arrays, ...]],
    names: str,
    start: Arrays,
    gradients: Sequence[Arrays],
    **choices: float,
) -> Values:
    """Return theta and the averages after each step, by our dictionaries."""
    parameters, memory = start, begin(start)
    for average in memory:
        assert list(average) == [f"d{name}" for name in start]
        assert not any(one.any() for one in average.values())
    path: dict[str, list[Array]] = {}
    for t, grads in enumerate(gradients, start=1):
        parameters, *after = step(parameters, grads, memory, t, **choices)
        memory = tuple(after)
        for name, one in zip(("theta", *names), (parameters, *memory), strict=True):
            path.setdefault(name, []).append(flat(one))
    return {name: np.array(vectors) for name, vectors in path.items()}


def walked_by_torch(
    make: Callable[..., torch.optim.Optimizer],
    read: Callable[[torch.optim.Optimizer], Mapping[str, torch.Tensor]],
    start: Arrays,
    gradients: Sequence[Arrays],
    **choices: float,
) -> Values:
    """Return theta and the state after each step of torch's optimizer."""
    tensors = [torch.tensor(one, requires_grad=True) for one in start.values()]
    optimizer, path = make(tensors, **choices), {}
    for grads in gradients:
        for tensor, gradient in zip(tensors, grads.values(), strict=True):
            tensor.grad = torch.from_numpy(gradient)
        optimizer.step()
        theta = torch.cat([one.detach().flatten() for one in tensors])
        for name, one in {"theta": theta, **read(optimizer)}.items():
            path.setdefault(name, []).append(one.numpy().copy())
    path.pop("t", None)
    return {name: np.array(vectors) for name, vectors in path.items()}


def largest_so_far(path: Values) -> Values:
    """Return the largest entry up to each step, whose round-off later values keep."""
    return {
        name: np.maximum.accumulate(np.abs(one).max(axis=1, keepdims=True))
        for name, one in path.items()
    }


def walk(
    rule: str,
    step: Callable[..., Any],
    begin: Callable[[Arrays], tuple[Arrays, ...]],
    names: str,
    make: Callable[..., torch.optim.Optimizer],
    read: Callable[..., Mapping[str, torch.Tensor]],
    call: Callable[..., Case],
    **choices: Any,
) -> FunctionTwin:
    """Return the row of an update."""
    path = partial(walked, step, begin, names)

    def calls(start: Arrays, gradients: Sequence[Arrays], **rates: float) -> Iterator[Call]:
        for name in choices["proves"][1:]:
            yield f"{STEM}.{name}", {"parameters": start}
        given = call(gradients[0], **rates)
        update = {"parameters": start, "grads": gradients[0]}
        yield f"{STEM}.update_parameters_with_{rule}", {**update, **given}

    return FunctionTwin(
        name=f"optimization.{rule}",
        ours=path,
        theirs=partial(walked_by_torch, make, read),
        bridge=None,
        budget=STEP,
        gauges=lambda **case: largest_so_far(path(**case)),
        weight=0.2,
        calls=calls,
        **choices,
    )


CASES = {"sizes": layer_sizes, "steps": st.integers(1, 20), "loose": st.integers(0, 2)}
LOOSE = {"layers that do not fit together": {"loose": 2}}

GRADIENT_DESCENT = walk(
    "gd",
    lambda parameters, grads, memory, t, learning_rate: (
        ours.update_parameters_with_gd(parameters, grads, learning_rate),
    ),
    lambda parameters: (),
    "",
    theirs.gradient_descent,
    theirs.gradient_descent_state,
    lambda grads, learning_rate: {"learning_rate": learning_rate},
    formula="theta = theta - alpha dtheta",
    source=f"{TAUGHT}; torch.optim.SGD",
    proves=("update_parameters_with_gd",),
    draw=partial(draw_walk, learning_rate=0.1),
    cases=CASES,
    edges=LOOSE,
)

MOMENTUM = walk(
    "momentum",
    lambda parameters, grads, memory, t, beta, learning_rate: ours.update_parameters_with_momentum(
        parameters, grads, *memory, beta, learning_rate
    ),
    lambda parameters: (ours.initialize_velocity(parameters),),
    "v",
    theirs.momentum,
    theirs.momentum_state,
    lambda grads, **rates: {"v": grads, **rates},
    formula="v = beta v + (1 - beta) dtheta, theta = theta - alpha v",
    source='Course 2, week 2, "Gradient descent with momentum"; torch.optim.SGD',
    proves=("update_parameters_with_momentum", "initialize_velocity"),
    draw=partial(draw_walk, beta=0.8, learning_rate=0.1),
    cases={**CASES, "beta": betas},
    edges=LOOSE,
)


def adam_step(parameters: Arrays, grads: Arrays, memory: Any, t: int, **rates: float) -> Any:
    """Return a step of our Adam, whose rates are left out where they are the defaults."""
    given = {} if rates["beta1"] == 0.9 else rates
    return ours.update_parameters_with_adam(parameters, grads, *memory, t, **given)


#: the defaults of the assignment.
ADAM = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

ADAM_ROW = walk(
    "adam",
    adam_step,
    ours.initialize_adam,
    "vs",
    theirs.adam,
    theirs.adam_state,
    lambda grads, **rates: {"v": grads, "s": {n: g * g for n, g in grads.items()}, "t": 2, **rates},
    formula="theta = theta - alpha v / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon)",
    source='Course 2, week 2, "Adam optimization algorithm"; torch.optim.Adam',
    proves=("update_parameters_with_adam", "initialize_adam"),
    draw=partial(draw_walk, **ADAM),
    cases=CASES,
    edges={
        **LOOSE,
        "its own rates": {"learning_rate": 0.1, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-4},
    },
    mistakes=(
        Mistake(
            name="adam-of-the-course-a-step-ahead",
            seen="clab/dynet issue 77: t runs ahead of the steps",
            change=typed_into("np.array(t - 1)", "np.array(t)"),
        ),
    ),
)


def decayed(start: Arrays, gradients: Sequence[Arrays], rate: float, decay: float) -> Values:
    """Return the parameters after each step at a decaying rate, from iteration 0 on."""
    parameters, path = start, []
    for iteration, grads in enumerate(gradients):
        parameters = ours.update_parameters_with_decay(parameters, grads, rate, decay, iteration)
        path.append(parameters)
    return {name: np.array([one[name] for one in path]) for name in start}


def decayed_by_torch(
    start: Arrays, gradients: Sequence[Arrays], rate: float, decay: float
) -> Values:
    """Return the same of `LambdaLR`."""
    tensors = {name: torch.tensor(one, requires_grad=True) for name, one in start.items()}
    optimizer = torch.optim.SGD(tensors.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda count: 1 / (1 + decay * count))
    path: dict[str, list[Array]] = {name: [] for name in start}
    for grads in gradients:
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(grads[f"d{name}"])
        optimizer.step()
        schedule.step()
        for name, tensor in tensors.items():
            path[name].append(tensor.detach().numpy().copy())
    return {name: np.array(each) for name, each in path.items()}


def decayed_gauges(start: Arrays, gradients: Any, rate: float, decay: float) -> Values:
    """Return the largest entry and step: a value keeps the round-off of what it was made of."""
    path = decayed(start, gradients, rate, decay)
    return {
        name: np.abs(path[name]).max()
        + rate * max(np.abs(one[f"d{name}"]).max() for one in gradients)
        for name in start
    }


def decay_calls(start: Arrays, gradients: Sequence[Arrays], rate: float, decay: float) -> Any:
    """Yield the call of an update at a decaying rate."""
    given = {"learning_rate": rate, "decay_rate": decay, "iteration": 3}
    update = {"parameters": start, "grads": gradients[0], **given}
    yield f"{STEM}.update_parameters_with_decay", update


DECAY = FunctionTwin(
    name="optimization.decay",
    formula="theta = theta - alpha / (1 + decay_rate iteration) dtheta",
    source='Course 2, week 2, "Learning rate decay"; torch.optim.lr_scheduler.LambdaLR',
    proves=("update_parameters_with_decay",),
    ours=decayed,
    theirs=decayed_by_torch,
    bridge=None,
    budget=STEP,
    draw=partial(draw_walk, steps=20, rate=0.3, decay=0.5),
    cases={**CASES, "decay": st.sampled_from([0.0, 0.5, 1.0, 0.01])},
    gauges=decayed_gauges,
    weight=0.2,
    calls=decay_calls,
    mistakes=(
        Mistake(
            name="decay-of-the-course-a-step-ahead",
            seen="Abe404/segmentation_of_roots_in_soil_with_unet pull request 4",
            change=typed_into("schedule(iteration)", "schedule(iteration + 1)"),
        ),
    ),
)


# --- trainings ------------------------------------------------------------------------------------

#: torch's optimizers by the assignment's names, and the choices of each.
RULES: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], tuple[str, ...]]] = {
    "gd": (theirs.gradient_descent, ()),
    "momentum": (theirs.momentum, ("beta",)),
    "adam": (theirs.adam, ("beta1", "beta2", "epsilon")),
}


def draw_training(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (3, 5, 4, 1),
    m: int = 50,
    size: int = 16,
    epochs: int = 30,
    optimizer: str = "adam",
    **choices: float,
) -> Case:
    """Draw data; it stands in a tuple, as trainings are in float64 whatever it is."""
    data = draw_data(sizes, m, rng)
    given = {"sizes": sizes, "optimizer": optimizer, "size": size, "epochs": epochs}
    return {"data": (data["X"], data["Y"]), **given, "choices": choices}


def trained(
    data: tuple[Array, Array], sizes: Any, optimizer: str, size: int, epochs: int, choices: Any
) -> Arrays:
    """Return the parameters after our training, without its plot."""
    given = {"mini_batch_size": size, "num_epochs": epochs, "print_cost": False, **choices}
    with mock.patch.object(ours, "plot_costs"):
        return ours.model(*data, sizes, optimizer, **given)


def trained_by_torch(
    data: tuple[Array, Array], sizes: Any, optimizer: str, size: int, epochs: int, choices: Any
) -> Values:
    """Return the parameters after torch's training, from the weights of seed 3.

    Mini-batches are those of the seeds 11, 12, ...
    """
    start = notebook_layers(sizes, 3, lambda randn, n_prev: randn * np.sqrt(2 / n_prev))
    module, (X, Y) = reference(start, "relu"), (rows(data[0]), rows(data[1].astype(float)))
    make, names = RULES[optimizer]
    rates = {name: choices[name] for name in names if name in choices}
    rule = make(module.parameters(), learning_rate=choices.get("learning_rate", 0.0007), **rates)
    for epoch in range(epochs):
        with numpy_seed(11 + epoch):
            order = np.random.permutation(len(X))  # noqa: NPY002
        for inputs, labels in mini_batches(X, Y, order, size):
            rule.zero_grad()
            logits = module.logits(inputs)
            loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            (loss / len(inputs)).backward()
            rule.step()
    return dict(unload(module))


def training_calls(data: tuple[Array, Array], sizes: Any, **_: Any) -> Iterator[Call]:
    """Yield a training of one epoch."""
    rates = {"learning_rate": 0.01, "beta": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    choices = {"optimizer": "adam", "mini_batch_size": 4, "num_epochs": 1, "print_cost": False}
    given = {"X": data[0], "Y": data[1], "layers_dims": list(sizes)}
    yield f"{STEM}.model", {**given, **choices, **rates}


TRAINING_ROW = FunctionTwin(
    name="optimization.model",
    formula="He's weights of seed 3, mini-batches of the seeds 11, 12, ..., then gd, momentum, adam",
    source=f"{TAUGHT}; torch.optim",
    proves=("model",),
    ours=trained,
    theirs=trained_by_torch,
    bridge=None,
    wide=False,
    budget=TRAINING,
    gauges=lambda **case: training_gauges(
        trained(**case), case["choices"].get("learning_rate", 0.0007)
    ),
    draw=draw_training,
    cases={
        "sizes": layer_sizes,
        "m": st.integers(2, 30),
        "size": st.integers(2, 16),
        "epochs": st.integers(0, 10),
        "optimizer": st.sampled_from(list(RULES)),
    },
    edges={
        "gradient descent": {"optimizer": "gd"},
        "momentum": {"optimizer": "momentum"},
        "momentum with its rates": {"optimizer": "momentum", "learning_rate": 0.1, "beta": 0.7},
        "adam with its rates": {
            "learning_rate": 0.01,
            "beta1": 0.8,
            "beta2": 0.95,
            "epsilon": 1e-3,
        },
    },
    weight=0.1,
    calls=training_calls,
)

TWINS = (
    MINI_BATCHES,
    update(ours.update_parameters_with_gd, "optimization"),
    GRADIENT_DESCENT,
    MOMENTUM,
    ADAM_ROW,
    DECAY,
    TRAINING_ROW,
)
