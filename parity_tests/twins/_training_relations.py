"""Invariants of a training, and the mistakes that break them."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity_tests.compare.budgets import STEP, TRAINING
from parity_tests.compare.quantities import assert_equal
from parity_tests.mistakes import Values
from parity_tests.rows import Relation
from scratch.initializers import initialize
from scratch.mini_batches import partition
from scratch.network import cost_and_gradients
from scratch.optimizers import OPTIMIZERS
from scratch.parameters import Parameters


def in_two_runs(run: Any, **case: Any) -> None:
    """Hold two runs of some epochs each to one run of them all, to the last bit."""
    parameters = case["parameters"]
    for orders in (case["orders"][:2], case["orders"][2:]):
        part = {**case, "parameters": parameters, "orders": orders, "epochs": len(orders)}
        values = run("train", **part)
        parameters = Parameters({name: values[name] for name in parameters})
    for name, one in weights(run("train", **case)).items():
        assert_equal(values[name], one, name)


def weights(values: Values) -> Values:
    """Return the parameters among the quantities of a training."""
    return {name: one for name, one in values.items() if name[:-1] in ("W", "b", "gamma", "beta")}


def cooled(honest: Any, **case: Any) -> Values:
    """Return a training whose rate depends on how many epochs it has."""
    name, choices = case["optimizer"]
    rate = choices["learning_rate"] / case["epochs"]
    return dict(honest(**{**case, "optimizer": (name, {**choices, "learning_rate": rate})}))


def in_another_order(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return what batch gradient descent comes to in one order of the examples and in another."""
    backwards = [order[::-1].copy() for order in case["orders"]]
    first, second = (run("train", **{**case, "orders": one}) for one in (case["orders"], backwards))
    return weights(first), weights(second)


def in_eights(honest: Any, **case: Any) -> Values:
    """Return a training that takes batches of eight, whatever it is asked for."""
    return dict(honest(**{**case, "batch_size": 8}))


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


def jittered(honest: Any, **case: Any) -> Values:
    """Return a training whose first weights are moved, each a little otherwise."""
    moved = case["parameters"].copy()
    moved["W1"] += 1e-6 * np.arange(moved["W1"].size).reshape(moved["W1"].shape)
    return dict(honest(**{**case, "parameters": moved}))


def zeros_learn_a_bias(run: Any, **case: Any) -> None:
    """Hold a network of zeros to learning its last bias alone."""
    values = weights(run("train", **{**case, "parameters": case["parameters"].zeros_like()}))
    learnt = [name for name, one in values.items() if one.any()]
    assert learnt == ["b2"], learnt


def shrunk(**case: Any) -> Values:
    """Return parameters after steps on the cost alone, each of which shrinks W by alpha l2 / m."""
    theta, m = case["parameters"].copy(), case["X"].shape[1]
    name, choices = case["optimizer"]
    rule = OPTIMIZERS[name](**choices)
    state: Any = rule.init(theta)
    for order in case["orders"]:
        for batch in partition(order, case["batch_size"]):
            X, Y = case["X"][:, batch], case["Y"][:, batch]
            _, gradients = cost_and_gradients(theta, X, Y, case["network"])
            for key, view in theta.items():
                if key.startswith("W"):
                    view *= 1 - choices["learning_rate"] * case["l2"] / m
            rule.update(theta, gradients, state)
    return dict(theta)


def is_shrinking(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return what L2 on the cost comes to, and weights that shrink beside each step."""
    return weights(run("train", **case)), shrunk(**case)


def is_no_shrinking(run: Any, **case: Any) -> None:
    """Hold L2 on the cost to coming to something else than weights that shrink."""
    apart = np.abs(run("train", **case)["W1"] - shrunk(**case)["W1"]).max()
    assert apart > 1e-3, f"only {apart:.3g} from decoupled weight decay"


def half_as_much(honest: Any, **case: Any) -> Values:
    """Return a training under half of the L2 penalty."""
    return dict(honest(**{**case, "l2": case["l2"] / 2}))


DESCENT = {"optimizer": "gradient_descent", "l1": 0.0}

RELATIONS = (
    Relation(
        name="gradient descent can be cut in two", holds=in_two_runs, broken_by=cooled, at=DESCENT
    ),
    *(
        Relation(
            name=f"in one batch the order of examples is nothing to {optimizer}",
            holds=in_another_order,
            broken_by=in_eights,
            at={"optimizer": optimizer, "batch_size": 50, "epochs": 3},
            budget=TRAINING,
        )
        for optimizer in OPTIMIZERS
    ),
    *(
        Relation(
            name=f"units that start alike stay alike under {optimizer}",
            holds=units_stay_alike,
            broken_by=jittered,
            at={"optimizer": optimizer, "initializer": "constant", "l1": 0.0, "epochs": 3},
        )
        for optimizer in OPTIMIZERS
    ),
    Relation(
        name="a network of zeros learns its last bias alone",
        holds=zeros_learn_a_bias,
        broken_by=jittered,
    ),
    Relation(
        name="for gradient descent L2 on the cost is shrinking",
        holds=is_shrinking,
        broken_by=half_as_much,
        at={**DESCENT, "l2": 2.0, "epochs": 3},
        budget=STEP,
    ),
    Relation(
        name="for Adam L2 on the cost is no shrinking",
        holds=is_no_shrinking,
        broken_by=lambda honest, **case: {**honest(**case), **shrunk(**case)},
        at={"l1": 0.0, "l2": 2.0},
    ),
)
