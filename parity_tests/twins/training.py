"""Training: whole runs from the same draws, the cost of an epoch, and the evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare.bridge import load_running, rows, twin
from parity_tests.compare.budgets import GRADIENT, TRAINING
from parity_tests.compare.functions import draw_until
from parity_tests.compare.measurement import Array
from parity_tests.compare.training import Run
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._training_relations import RELATIONS
from scratch import training as ours
from scratch.batch_norm import BatchNorm, running_averages
from scratch.dropout import mask_stream
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders, partition
from scratch.network import Network, cost_and_gradients
from scratch.parameters import Parameters
from torch_ref import training as theirs

SIZES = {"softmax": (4, 8, 3), "sigmoid": (4, 8, 2)}

#: the optimizers' choices: others than the defaults, for a schedule to leave alone.
CHOICES: Mapping[str, Mapping[str, float]] = {
    "gradient_descent": {"learning_rate": 0.5},
    "momentum": {"learning_rate": 0.5, "beta": 0.8},
    "rmsprop": {"learning_rate": 0.01, "beta": 0.8, "epsilon": 1e-6},
    "adam": {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
}

NORM = BatchNorm(decay=0.8, unbiased=True)

#: what a run may have beside its network, data and optimizer; "network" is the network's.
FEATURES: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "dropout": {"network": {"keep_probs": (0.7,)}},
    "batch norm": {"network": {"batch_norm": BatchNorm()}},
    "unbiased batch norm": {"network": {"batch_norm": NORM}},
    "both": {"network": {"keep_probs": (0.7,), "batch_norm": NORM}},
    "schedule per epoch": {"schedule": ("inverse_time", {"decay": 0.5})},
    "schedule per iteration": {
        "schedule": ("exponential", {"rate": 0.97}),
        "schedule_per": "iteration",
    },
    "piecewise schedule": {"schedule": ("piecewise_constant", {"rates": ((2, 0.05), (4, 0.01))})},
    "manual schedule": {"schedule": ("manual", {"rates": (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)})},
    "clipping by value": {"clip_value": 0.02},
    "clipping by norm": {"clip_norm": 0.1},
    "early stopping": {"early_stopping": {"patience": 2, "min_improvement": 0.05}},
    "the best restored at the end": {"early_stopping": {"patience": 100}},
    "everything": {
        "network": {"keep_probs": (0.7,), "batch_norm": NORM},
        "schedule": ("inverse_square_root", {"k": 1.0}),
        "schedule_per": "iteration",
        "clip_value": 0.2,
        "clip_norm": 0.5,
        "early_stopping": {"patience": 3},
    },
}


def draw_data(rng: np.random.Generator, output: str, m: int) -> tuple[Array, Array]:
    """Draw inputs that lines separate, and their labels."""
    X = rng.standard_normal((4, m))
    scores = rng.standard_normal((SIZES[output][-1], 4)) @ X
    if output == "softmax":
        return X, np.eye(3)[:, scores.argmax(axis=0)]
    return X, (scores > 0).astype(float)


def related(train: tuple[Array, Array], dev: tuple[Array, Array]) -> bool:
    """Tell whether a guess from train data is sometimes right on dev: 0 everywhere says nothing.

    Dev data have labels of another kind, so that training soon does harm there.
    """
    guess = np.inner(train[1], train[0]) @ dev[0]
    return bool((guess.argmax(axis=0) == dev[1].argmax(axis=0)).mean() > 0.25)


def draw_run(
    rng: np.random.Generator,
    optimizer: str = "adam",
    output: str = "softmax",
    hidden: str = "tanh",
    feature: str = "plain",
    batch_size: int = 16,
    epochs: int = 6,
    l1: float = 0.1,
    l2: float = 0.3,
    initializer: str = "xavier",
    layer_sizes: tuple[int, ...] = (),
    device: str = "cpu",
) -> Case:
    """Draw a training on 50 examples, with dev data, in all that it takes."""
    extras = dict(FEATURES[feature])
    sizes = layer_sizes or SIZES[output]
    network = Network(layer_sizes=sizes, hidden=hidden, output=output, **extras.pop("network", {}))
    norm = network.batch_norm is not None
    data, dev = draw_until(
        related, lambda: (draw_data(rng, output, 50), draw_data(rng, output, 20))
    )
    stream = {"batch_size": batch_size, "epochs": epochs}
    masks = None
    if network.dropped:
        masks = list(mask_stream(sizes, network.keep_probs, 50, rng=rng, **stream))
    return {
        "network": network,
        "parameters": initialize(sizes, initializer, rng, batch_norm=norm),
        "X": data[0],
        "Y": data[1],
        "dev": dev,
        "optimizer": (optimizer, CHOICES[optimizer]),
        "orders": draw_orders(50, epochs, rng),
        "masks": masks,
        "l1": l1,
        "l2": l2,
        "device": device,
        **stream,
        **extras,
    }


def trained(side: str, **case: Any) -> Values:
    """Return what one side's training comes to."""
    return Run(**case).quantities(side)


# --- whole runs -----------------------------------------------------------------------------------


def training_calls(**case: Any) -> Iterator[Any]:
    """Yield two epochs of both loops, step by step and as a whole, and both evaluations.

    Torch's schedule stays away: a copy of it would have lost its hold on the optimizer.
    """
    run = {**case, "epochs": 2, "orders": case["orders"][:2], "early_stopping": {"patience": 2}}
    run |= {"clip_value": 1.0, "clip_norm": 1.0}
    schedules: dict[str, Any] = {"scratch": ("constant", {}), "torch_ref": None}
    for side, module in (("scratch", ours), ("torch_ref", theirs)):
        for name in ("train", "training_steps"):
            arguments = Run(**{**run, "schedule": schedules[side]}).arguments(side)
            arguments |= {"history": module.History(), "masks": None, "schedule_per": "epoch"}
            yield f"{side}.training.{name}", {"schedule": None, **arguments}
        taken = ("network", "module", "parameters", "X", "Y", "running")
        given = {name: one for name, one in arguments.items() if name in taken}
        yield f"{side}.training.evaluate", given


OVERWRITES = {
    f"{side}.training.{name}": frozenset(overwritten)
    for side, overwritten in (
        ("scratch", {"parameters", "history"}),
        ("torch_ref", {"module", "optimizer", "history"}),
    )
    for name in ("train", "training_steps")
}


TRAIN = FunctionTwin(
    name="train",
    formula="theta descends the mean cost of each mini-batch + l2 / (2 m) sum W^2 + l1 / m sum |W|",
    source='Course 2, week 2, "Understanding mini-batch gradient descent"; torch.optim',
    proves=("train", "training_steps"),
    ours=partial(trained, "scratch"),
    theirs=partial(trained, "torch_ref"),
    bridge=None,
    budget=TRAINING,
    draw=draw_run,
    cases={
        "optimizer": st.sampled_from(list(CHOICES)),
        "output": st.sampled_from(list(SIZES)),
        "hidden": st.sampled_from(["tanh", "relu", "leaky_relu", "sigmoid"]),
        "feature": st.sampled_from(list(FEATURES)),
        "batch_size": st.sampled_from([16, 48, 50, 64]),
        "epochs": st.integers(1, 6),
    },
    edges={
        **{
            name: {"feature": name, "optimizer": optimizer}
            for name, optimizer in zip(FEATURES, cycle(CHOICES), strict=False)
        },
        "batches of three": {"batch_size": 3, "epochs": 2, "output": "sigmoid"},
        "batch norm, the last batch of one": {"feature": "batch norm", "batch_size": 7},
        "batch norm of two examples": {
            "feature": "unbiased batch norm",
            "batch_size": 2,
            "epochs": 1,
        },
        "nothing to normalize": {
            "feature": "unbiased batch norm",
            "layer_sizes": (4, 3),
            "batch_size": 7,
        },
        "one example at a time": {"batch_size": 1, "epochs": 1},
        "a single batch": {"batch_size": 64, "optimizer": "momentum"},
        "stopped long before the last epoch": {
            "feature": "early stopping",
            "optimizer": "rmsprop",
            "epochs": 60,
        },
        "the last epoch is not the best": {
            "feature": "the best restored at the end",
            "optimizer": "rmsprop",
            "epochs": 20,
        },
    },
    weight=0.2,
    relations=RELATIONS,
    calls=training_calls,
    overwrites=OVERWRITES,
)


# --- the cost of an epoch -------------------------------------------------------------------------

EPOCH = Network(layer_sizes=(3, 4, 1), hidden="tanh", output="sigmoid")


def draw_epoch(rng: np.random.Generator, m: int = 10, batch_size: int = 4, l2: float = 0.0) -> Case:
    """Draw an epoch of gradient descent in which the last batch is short."""
    return {
        "network": EPOCH,
        "parameters": initialize(EPOCH.layer_sizes, "xavier", rng),
        "X": rng.standard_normal((3, m)),
        "Y": rng.integers(0, 2, (1, m)).astype(float),
        "orders": draw_orders(m, 1, rng),
        "optimizer": ("gradient_descent", {"learning_rate": 0.5}),
        "epochs": 1,
        "batch_size": batch_size,
        "l2": l2,
    }


def epoch_cost(side: str, **case: Any) -> Values:
    """Return the cost that a side's history gives for the epoch."""
    return {"epoch cost": trained(side, **case)["costs"]}


def epoch_as_typed(text: str, **case: Any) -> Values:
    """Return the value of a text, given the costs and examples of torch's batches."""
    batches = partition(case["orders"][0], case["batch_size"])
    names = {"costs": trained("torch_ref", **case)["step_costs"], "m": case["X"].shape[1]}
    return {"epoch cost": np.array([evaluate(text, batches=batches, **names)])}


def at_rest(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the cost of an epoch that moves nothing, and that of all examples at once."""
    resting = {**case, "optimizer": ("gradient_descent", {"learning_rate": 1e-300})}
    J, _ = cost_and_gradients(case["parameters"], case["X"], case["Y"], EPOCH, l2=case["l2"])
    return run("cost-of-an-epoch", **resting), {"epoch cost": np.array([J])}


def mean_of_means(**case: Any) -> Values:
    """Return the mean of the batches' costs."""
    return {"epoch cost": trained("scratch", **case)["step_costs"].mean(keepdims=True)}


COST_OF_AN_EPOCH = FunctionTwin(
    name="cost-of-an-epoch",
    topic="costs",
    formula="the sum over all examples, over m",
    torch="sum(cost * len(batch) for cost, batch in zip(costs, batches)) / m; "
    "over the epoch's batches",
    typed=epoch_as_typed,
    source='Course 2, week 2, "Mini-batch gradient descent"; torch.utils.data.BatchSampler',
    proves=("train",),
    ours=partial(epoch_cost, "scratch"),
    theirs=partial(epoch_cost, "torch_ref"),
    bridge=None,
    budget=GRADIENT,
    draw=draw_epoch,
    cases={"m": st.integers(1, 20), "batch_size": st.integers(1, 25)},
    edges={
        "one example in the last batch": {"m": 9},
        "a last batch far shorter": {"m": 50, "batch_size": 48, "l2": 0.3},
        "no short batch": {"m": 8},
    },
    weight=0.3,
    relations=(
        Relation(
            name="at rest an epoch costs as much as all its examples at once",
            holds=at_rest,
            broken_by="mean of batch means",
        ),
    ),
    mistakes=(
        Mistake(
            name="mean of batch means",
            why="a short last batch, here 2 examples beside 4 and 4, weighs as much as others",
            values=mean_of_means,
            margin=0.01,
        ),
    ),
)


# --- the evaluation -------------------------------------------------------------------------------


def draw_evaluation(
    rng: np.random.Generator, output: str = "softmax", m: int = 20, norm: bool = False
) -> Case:
    """Draw a network that was never trained, running averages of its own, and labelled data."""
    averaged = NORM if norm else None
    network = Network(layer_sizes=SIZES[output], hidden="tanh", output=output, batch_norm=averaged)
    X, Y = draw_data(rng, output, m)
    running = running_averages(network.layer_sizes) if norm else None
    if running is not None:
        running.theta[:] = rng.uniform(0.5, 2, running.theta.size)
    parameters = initialize(network.layer_sizes, "xavier", rng, batch_norm=norm)
    return {"network": network, "parameters": parameters, "X": X, "Y": Y, "running": running}


def evaluated(X: Array, **case: Any) -> Values:
    """Return our cost and accuracy."""
    cost, accuracy = ours.evaluate(X=X, **case)
    return {"cost": cost, "accuracy": X.dtype.type(accuracy)}


def evaluated_by_torch(
    network: Network, parameters: Parameters, X: Array, Y: Array, running: Parameters | None
) -> Values:
    """Return torch's."""
    module = twin(network, parameters)
    if running is not None:
        load_running(module, running)
    cost, accuracy = theirs.evaluate(module, rows(X), rows(Y))
    return {"cost": cost.numpy()[()], "accuracy": X.dtype.type(accuracy)}


EVALUATE = FunctionTwin(
    name="evaluate",
    formula="the mean cost without penalties, and the share of right predictions",
    source='Course 2, week 1, "Train / dev / test sets"; torch.no_grad, torch.nn.Module.eval',
    proves=("evaluate",),
    ours=evaluated,
    theirs=evaluated_by_torch,
    bridge=None,
    draw=draw_evaluation,
    cases={"output": st.sampled_from(list(SIZES)), "m": st.integers(1, 40), "norm": st.booleans()},
    edges={
        "one example": {"m": 1},
        "batch norm": {"norm": True},
        "two labels": {"output": "sigmoid"},
    },
    weight=0.5,
)

TWINS = (TRAIN, COST_OF_AN_EPOCH, EVALUATE)
