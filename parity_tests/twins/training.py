"""Training: whole runs from the same draws, the cost of an epoch, and the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare.bridge import rows
from parity_tests.compare.budgets import GRADIENT, STEP, TRAINING
from parity_tests.compare.functions import draw_until
from parity_tests.compare.measurement import Array
from parity_tests.compare.quantities import assert_equal
from parity_tests.compare.training import Run
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._networks import averages_of, their_module
from parity_tests.twins._relations import mistyped, same_under, taking
from scratch import training as ours
from scratch.batch_norm import BatchNorm
from scratch.dropout import mask_stream
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders, partition
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import OPTIMIZERS
from scratch.parameters import Parameters
from torch_ref import training as theirs

SIZES = {"softmax": (4, 8, 3), "sigmoid": (4, 8, 2)}

NORM = BatchNorm(decay=0.8, unbiased=True)

# fmt: off
#: the optimizers' choices: others than the defaults, for a schedule to leave alone.
CHOICES: Mapping[str, Mapping[str, float]] = {
    "gradient_descent": {"learning_rate": 0.5}, "momentum": {"learning_rate": 0.5, "beta": 0.8},
    "rmsprop": {"learning_rate": 0.01, "beta": 0.8, "epsilon": 1e-6},
    "adam": {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
}

#: features of a run beside network, data and optimizer; "network" is the network's.
FEATURES: Mapping[str, Mapping[str, Any]] = {
    "plain": {}, "dropout": {"network": {"keep_probs": (0.7,)}},
    "batch norm": {"network": {"batch_norm": BatchNorm()}},
    "unbiased batch norm": {"network": {"batch_norm": NORM}},
    "both": {"network": {"keep_probs": (0.7,), "batch_norm": NORM}},
    "schedule per epoch": {"schedule": ("inverse_time", {"decay": 0.5})},
    "schedule per iteration": {
        "schedule": ("exponential", {"rate": 0.97}), "schedule_per": "iteration"},
    "piecewise schedule": {"schedule": ("piecewise_constant", {"rates": ((2, 0.05), (4, 0.01))})},
    "manual schedule": {"schedule": ("manual", {"rates": (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)})},
    "clipping by value": {"clip_value": 0.02}, "clipping by norm": {"clip_norm": 0.1},
    "early stopping": {"early_stopping": {"patience": 2, "min_improvement": 0.05}},
    "the best restored at the end": {"early_stopping": {"patience": 100}},
    "everything": {
        "network": {"keep_probs": (0.7,), "batch_norm": NORM},
        "schedule": ("inverse_square_root", {"k": 1.0}), "schedule_per": "iteration",
        "clip_value": 0.2, "clip_norm": 0.5, "early_stopping": {"patience": 3}},
}
# fmt: on


def draw_data(rng: np.random.Generator, output: str, m: int) -> tuple[Array, Array]:
    X = rng.standard_normal((4, m))
    scores = rng.standard_normal((SIZES[output][-1], 4)) @ X
    if output == "softmax":
        return X, np.eye(3)[:, scores.argmax(axis=0)]
    return X, (scores > 0).astype(float)


def related(train: tuple[Array, Array], dev: tuple[Array, Array]) -> bool:
    """Tell whether a guess from train data is sometimes right on dev: 0 everywhere says nothing."""
    guess = np.inner(train[1], train[0]) @ dev[0]
    return bool((guess.argmax(axis=0) == dev[1].argmax(axis=0)).mean() > 0.25)


def draw_run(rng: np.random.Generator, optimizer: str = "adam", output: str = "softmax",
    hidden: str = "tanh", feature: str = "plain", batch_size: int = 16, epochs: int = 6,
    initializer: str = "xavier", layer_sizes: tuple[int, ...] = (), m: int = 50,
    **instead: Any) -> Case:  # fmt: skip
    """Draw a training on m examples; on dev data, labelled otherwise, it soon does harm."""
    extras = dict(FEATURES[feature])
    sizes = layer_sizes or SIZES[output]
    network = Network(layer_sizes=sizes, hidden=hidden, output=output, **extras.pop("network", {}))
    (X, Y), dev = draw_until(related, lambda: tuple(draw_data(rng, output, n) for n in (m, 20)))
    stream = {"batch_size": batch_size, "epochs": epochs}
    masks = mask_stream(sizes, network.keep_probs, m, rng=rng, **stream)
    norm, kept = network.batch_norm is not None, list(masks) if network.dropped else None
    parameters = initialize(sizes, initializer, rng, batch_norm=norm)
    case = {"network": network, "parameters": parameters, "X": X, "Y": Y, "dev": dev}
    case |= {"optimizer": (optimizer, CHOICES[optimizer]), "masks": kept, "l1": 0.1, "l2": 0.3}
    return {**case, "orders": draw_orders(m, epochs, rng), **stream, **extras, **instead}


def trained(side: str, **case: Any) -> Values:
    return Run(**case).quantities(side)


# --- relations ------------------------------------------------------------------------------------


def weights(values: Values) -> Values:
    return {name: one for name, one in values.items() if name[:-1] in ("W", "b", "gamma", "beta")}


def in_two_runs(run: Any, **case: Any) -> None:
    reached = case["parameters"]
    for orders in (case["orders"][:2], case["orders"][2:]):
        part = {"parameters": reached, "orders": orders, "epochs": len(orders)}
        reached = Parameters(weights(run("train", **{**case, **part})))
    for name, one in weights(run("train", **case)).items():
        assert_equal(reached[name], one, name)


def cooled(optimizer: Any, epochs: int, **_: Any) -> Case:
    """Return a rate that depends on how many epochs a training has."""
    name, choices = optimizer
    return {"optimizer": (name, {**choices, "learning_rate": choices["learning_rate"] / epochs})}


def units_stay_alike(run: Any, **case: Any) -> None:
    """Hold the units of a layer that starts constant to one another, and no other layer's."""
    rng = np.random.default_rng(0)
    start, drawn = case["parameters"], initialize(case["network"].layer_sizes, "xavier", rng)
    for parameters, alike in ((start, True), (drawn, False)):
        values = run("train", **{**case, "parameters": parameters})
        assert np.abs(values["W1"] - parameters["W1"]).max() > 1e-3, "nothing is learnt"
        for name, axis in (("W1", 0), ("b1", 0), ("W2", 1)):
            spread = np.ptp(values[name], axis=axis).max()
            assert (spread <= STEP.eps * np.finfo(float).eps) == alike, name


def jittered(parameters: Parameters, **_: Any) -> Case:
    moved = parameters.copy()
    moved["W1"] += 1e-6 * np.arange(moved["W1"].size).reshape(moved["W1"].shape)
    return {"parameters": moved}


def zeros_learn_a_bias(run: Any, **case: Any) -> None:
    values = run("train", **{**case, "parameters": case["parameters"].zeros_like()})
    assert [name for name, one in weights(values).items() if one.any()] == ["b2"]


def shrunk(network: Network, parameters: Parameters, X: Array, Y: Array, **case: Any) -> Values:
    """Return parameters after steps on the cost alone, each of which shrinks W by alpha l2 / m."""
    theta, alpha = parameters.copy(), case["optimizer"][1]["learning_rate"]
    for order in case["orders"]:
        for batch in partition(order, case["batch_size"]):
            _, gradients = cost_and_gradients(theta, X[:, batch], Y[:, batch], network)
            for name, view in theta.items():
                pulled = case["l2"] / X.shape[1] * view * name.startswith("W")
                view -= alpha * (gradients[name] + pulled)
    return dict(theta)


# --- the cost of an epoch, and the evaluation -----------------------------------------------------


def epoch_cost(side: str, **case: Any) -> Values:
    return {"epoch cost": trained(side, **case)["costs"]}


def epoch_as_typed(text: str, **case: Any) -> Values:
    """Return the value of a text, given the costs and examples of torch's batches."""
    batches = partition(case["orders"][0], case["batch_size"])
    names = {"costs": trained("torch_ref", **case)["step_costs"], "m": case["X"].shape[1]}
    return {"epoch cost": np.array([evaluate(text, batches=batches, **names)])}


def at_rest(run: Any, **case: Any) -> tuple[Values, Values]:
    resting = {**case, "optimizer": ("gradient_descent", {"learning_rate": 1e-300})}
    J, _ = cost_and_gradients(**{name: case[name] for name in ("parameters", "X", "Y", "network")})
    return run("cost-of-an-epoch", **resting), {"epoch cost": np.array([J])}


def draw_evaluation(rng: np.random.Generator, output: str = "softmax", m: int = 20,
    norm: bool = False) -> Case:  # fmt: skip
    """Draw a network that was never trained, running averages of its own, and labelled data."""
    drawn = draw_run(rng, output=output, m=m, feature="unbiased batch norm" if norm else "plain")
    running = averages_of(drawn["network"], drawn["X"], rng)
    kept = {name: drawn[name] for name in ("network", "parameters", "X", "Y")}
    return {**kept, "running": running}


def evaluated(X: Array, **case: Any) -> Values:
    cost, accuracy = ours.evaluate(X=X, **case)
    return {"cost": cost, "accuracy": X.dtype.type(accuracy)}


def evaluated_by_torch(X: Array, Y: Array, **case: Any) -> Values:
    cost, accuracy = theirs.evaluate(their_module(**case), rows(X), rows(Y))
    return {"cost": cost, "accuracy": X.dtype.type(accuracy)}


# fmt: off
EPOCH = {"optimizer": "gradient_descent", "output": "sigmoid", "m": 10, "batch_size": 4,
         "epochs": 1, "l1": 0.0, "l2": 0.0}
DESCENT = {"optimizer": "gradient_descent", "l1": 0.0}

TRAIN = FunctionTwin(
    name="train",
    formula="theta descends the mean cost of each mini-batch + l2 / (2 m) sum W^2 + l1 / m sum |W|",
    source='Course 2, week 2, "Understanding mini-batch gradient descent"; torch.optim',
    proves=("train", "training_steps"),
    ours=partial(trained, "scratch"), theirs=partial(trained, "torch_ref"), bridge=None,
    budget=TRAINING, weight=0.2, draw=draw_run,
    cases={
        "optimizer": st.sampled_from(list(CHOICES)), "output": st.sampled_from(list(SIZES)),
        "hidden": st.sampled_from(["tanh", "relu", "leaky_relu", "sigmoid"]),
        "feature": st.sampled_from(list(FEATURES)), "batch_size": st.sampled_from([16, 48, 50, 64]),
        "epochs": st.integers(1, 6)},
    edges={
        **{name: {"feature": name, "optimizer": optimizer}
           for name, optimizer in zip(FEATURES, cycle(CHOICES), strict=False)},
        "batches of three": {"batch_size": 3, "epochs": 2, "output": "sigmoid"},
        "batch norm, the last batch of one": {"feature": "batch norm", "batch_size": 7},
        "batch norm of two examples": {
            "feature": "unbiased batch norm", "batch_size": 2, "epochs": 1},
        "nothing to normalize": {
            "feature": "unbiased batch norm", "layer_sizes": (4, 3), "batch_size": 7},
        "one example at a time": {"batch_size": 1, "epochs": 1},
        "a single batch": {"batch_size": 64, "optimizer": "momentum"},
        "stopped long before the last epoch": {
            "feature": "early stopping", "optimizer": "rmsprop", "epochs": 60},
        "the last epoch is not the best": {
            "feature": "the best restored at the end", "optimizer": "rmsprop", "epochs": 20}},
    relations=(
        Relation(name="gradient descent can be cut in two", holds=in_two_runs,
            broken_by=taking(cooled), at=DESCENT),
        *(Relation(name=f"in one batch the order of examples is nothing to {optimizer}",
            holds=same_under("train",
                lambda orders, **_: {"orders": [order[::-1].copy() for order in orders]},
                keys=("W1", "b1", "W2", "b2")),
            broken_by=taking(batch_size=8), budget=TRAINING,
            at={"optimizer": optimizer, "batch_size": 50, "epochs": 3})
            for optimizer in OPTIMIZERS),
        *(Relation(name=f"units that start alike stay alike under {optimizer}",
            holds=units_stay_alike, broken_by=taking(jittered),
            at={"optimizer": optimizer, "initializer": "constant", "l1": 0.0, "epochs": 3})
            for optimizer in OPTIMIZERS),
        Relation(name="a network of zeros learns its last bias alone", holds=zeros_learn_a_bias,
            broken_by=taking(jittered)),
        Relation(name="for gradient descent L2 on the cost is shrinking",
            holds=lambda run, **case: (weights(run("train", **case)), shrunk(**case)),
            broken_by=taking(lambda l2, **_: {"l2": l2 / 2}), budget=STEP,
            at={**DESCENT, "l2": 2.0, "epochs": 3})),
)

COST_OF_AN_EPOCH = FunctionTwin(
    name="cost-of-an-epoch", topic="costs", formula="the sum over all examples, over m",
    torch="sum(cost * len(batch) for cost, batch in zip(costs, batches)) / m; "
        "over the epoch's batches",
    typed=epoch_as_typed,
    source='Course 2, week 2, "Mini-batch gradient descent"; torch.utils.data.BatchSampler',
    proves=("train",),
    ours=partial(epoch_cost, "scratch"), theirs=partial(epoch_cost, "torch_ref"), bridge=None,
    budget=GRADIENT, weight=0.3,
    draw=lambda rng, **settings: draw_run(rng, **{**EPOCH, **settings}),
    cases={"m": st.integers(1, 20), "batch_size": st.integers(1, 25)},
    edges={
        "one example in the last batch": {"m": 9},
        "a last batch far shorter": {"m": 50, "batch_size": 48, "l2": 0.3},
        "no short batch": {"m": 8}},
    relations=(Relation(name="at rest an epoch costs as much as all its examples at once",
        holds=at_rest, broken_by="mean of batch means"),),
    mistakes=mistyped(epoch_as_typed, ("mean of batch means", 0.01,
        "a short last batch, here 2 examples beside 4 and 4, weighs as much as others",
        "sum(costs) / len(costs)")),
)

EVALUATE = FunctionTwin(
    name="evaluate",
    formula="the mean cost without penalties, and the share of right predictions",
    source='Course 2, week 1, "Train / dev / test sets"; torch.no_grad, torch.nn.Module.eval',
    proves=("evaluate",), ours=evaluated, theirs=evaluated_by_torch, bridge=None,
    draw=draw_evaluation, weight=0.5,
    cases={"output": st.sampled_from(list(SIZES)), "m": st.integers(1, 40), "norm": st.booleans()},
    edges={"one example": {"m": 1}, "batch norm": {"norm": True}, "two labels": {
        "output": "sigmoid"}},
)
# fmt: on

TWINS = (TRAIN, COST_OF_AN_EPOCH, EVALUATE)
