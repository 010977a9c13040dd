"""Early stopping: when a curve of costs ends the training, and which epoch comes back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import load, twin, unload
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin
from scratch import early_stopping as ours
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import early_stopping as theirs

NETWORK = Network(layer_sizes=(3, 2, 1))
NAN, INF = math.nan, math.inf

#: costs by epoch, patience, least improvement, the epoch that stops (0: it runs on), the best one.
CURVES: dict[str, tuple[tuple[float, ...], int, float, int, int]] = {
    "improving": ((5, 4, 3, 2, 1), 2, 0.0, 0, 5),
    "rising": ((1, 2, 3, 4, 5), 3, 0.0, 4, 1),
    "a plateau": ((3, 2, 2, 2, 2, 2), 3, 0.0, 5, 2),
    "a bump shorter than the patience": ((3, 2, 4, 4, 1, 2, 2, 2), 3, 0.0, 8, 5),
    "a bump as long as the patience": ((3, 2, 4, 4, 1, 0), 2, 0.0, 4, 2),
    "patience 1": ((3, 2, 2, 1), 1, 0.0, 3, 2),
    "patience 1, the first epoch never stops": ((3,), 1, 0.0, 0, 1),
    "an exact tie": ((2.0, 1.5, 1.5), 2, 0.5, 3, 1),
    "just more than a tie": ((2.0, 1.499, 1.25), 2, 0.5, 0, 2),
    "crumbs add up to an improvement": ((2.0, 1.75, 1.5, 1.25, 1.0), 3, 0.5, 0, 4),
    "a slide in crumbs is none": ((2.0, 1.99, 1.98, 1.97), 3, 0.5, 4, 1),
    "NaN in between": ((3, NAN, NAN, 2, NAN, 1), 3, 0.0, 0, 6),
    "NaN runs out the patience": ((3, 2, NAN, NAN, 1), 2, 0.0, 4, 2),
    "NaN first": ((NAN, 5, 6, 4), 2, 0.0, 0, 4),
    "nothing but NaN": ((NAN, NAN, NAN), 3, 0.0, 3, 0),
    "infinity first": ((INF, INF, 2, NAN), 2, 0.0, 0, 3),
    "nothing but infinity": ((INF, INF, INF), 2, 0.0, 3, 1),
    "minus infinity": ((1, -INF, -INF, -INF), 2, 0.0, 4, 2),
    "negative costs": ((-1, -2, -1.5, -2.5), 2, 0.0, 0, 4),
    "patience beyond 8 bits": ((1.0, *[2.0] * 299, 1.5), 300, 0.0, 301, 1),
}


def draw_curve(rng: np.random.Generator, costs: Sequence[float] = (3, 2, 4, 4, 1, 0),
    patience: int = 2, min_improvement: float = 0.0) -> Case:  # fmt: skip
    """Draw parameters and a running mean for each epoch of a curve, for before and for after it."""
    count = len(costs) + 2
    theta = rng.standard_normal((count, *Parameters.empty(NETWORK.shapes).theta.shape))
    mean = rng.standard_normal((count, 2, 1))
    choices = {"patience": patience, "min_improvement": min_improvement}
    return {"theta": theta, "mean": mean, "costs": tuple(costs), **choices}


def follow(stopping: Any, held: tuple[Any, ...], put: Any, read: Any, costs: Any) -> Values:
    """Return a side's state where a curve stops or ends, and the numbers restored there.

    `put(epoch)` overwrites the numbers of the objects `held`, `read()` copies them.
    """
    put(0)
    state, stopped = stopping.init(*held), 0
    for epoch, cost in enumerate(costs, start=1):
        put(epoch)
        if stopping.update(state, cost, *held):
            stopped = epoch
            break
    stopping.restore(state, *held)
    first = read()["restored theta"]
    put(-1)  # the best numbers are copies: they come back again
    stopping.restore(state, *held)
    names = "best_cost", "best_epoch", "epoch", "epochs_without_improvement"
    found = {name.replace("_", " "): getattr(state, name) for name in names}
    return {**read(), "restored at first": first, "stopped": stopped, **found}


def followed(theta: Any, mean: Any, costs: Any, **choices: Any) -> Values:
    parameters = Parameters.empty(NETWORK.shapes, theta.dtype)
    running = Parameters({"mean1": mean[0]})

    def put(epoch: int) -> None:
        parameters.theta[:], running["mean1"] = theta[epoch], mean[epoch]

    def read() -> Values:
        theta, mean = parameters.theta.copy(), running["mean1"].copy()
        return {"restored theta": theta, "restored running mean": mean}

    return follow(ours.EarlyStopping(**choices), (parameters, running), put, read, costs)


def followed_by_torch(theta: Any, mean: Any, costs: Any, **choices: Any) -> Values:
    """Return the same of torch's, for a module with a buffer."""
    values = Parameters.empty(NETWORK.shapes, theta.dtype)
    module: Any = twin(NETWORK, values)
    module.register_buffer("mean1", torch.from_numpy(mean[0].copy()))

    def put(epoch: int) -> None:
        values.theta[:] = theta[epoch]
        load(module, values)
        module.mean1.copy_(torch.from_numpy(mean[epoch]))

    def read() -> Values:
        mean = module.mean1.numpy().copy()
        return {"restored theta": unload(module).theta, "restored running mean": mean}

    return follow(theirs.EarlyStopping(**choices), (module,), put, read, costs)


# fmt: off
TWINS = (
    FunctionTwin(
        name="early_stopping",
        formula="stop after `patience` epochs without cost < best cost - min_improvement",
        source='Course 2, week 1, "Other regularization methods"; torch.nn.Module.state_dict',
        proves=("EarlyStopping",), weight=2,
        ours=followed, theirs=followed_by_torch, bridge=None, exact=True, draw=draw_curve,
        cases={
            # a coarse grid, on which exact ties abound
            "costs": st.lists(st.sampled_from([0, 0.25, 0.5, 0.75, 1, 2, -1, NAN, INF]),
                min_size=1, max_size=12),
            "patience": st.integers(1, 4), "min_improvement": st.sampled_from([0.0, 0.25, 0.5])},
        edges={
            name: {"costs": costs, "patience": patience, "min_improvement": least}
            for name, (costs, patience, least, _, _) in CURVES.items()}),)
# fmt: on
