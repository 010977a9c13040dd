"""Networks: a pass of training and back, the cost with its penalties, norms, and prediction."""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare import gauges
from parity_tests.compare.budgets import FLOAT32_NETWORK, FORWARD, GRADIENT
from parity_tests.compare.measurement import Array
from parity_tests.drawing import betas, examples
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation
from parity_tests.twins import _networks as networks
from parity_tests.twins._networks import CASES, DIFFERENTIABLE
from parity_tests.twins._relations import same_under, spoilt, taking
from scratch import network as ours
from scratch.batch_norm import BatchNorm
from scratch.mini_batches import partition
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import network as theirs

# fmt: off
SIX, WIDE = {"layer_sizes": (4, 6, 6, 6, 6, 6, 3), "output": "softmax"}, (5, 8, 6, 3)

#: passes of training that differ in kind, each with what it needs.
PASSES: dict[str, dict[str, Any]] = {
    "one layer": {"layer_sizes": (3, 1), "output": "sigmoid"},
    "one unit a layer": {"layer_sizes": (1, 1, 1), "output": "sigmoid"}, "one example": {"m": 1},
    "square weights": {"layer_sizes": (4, 4, 4), "m": 4},
    "six layers of one width": {
        **SIX, "keep_probs": (0.5, 0.6, 1.0, 0.7, 0.8), "epsilon": 1e-3},
    "six plain layers": {**SIX, "keep_probs": (0.5, 0.6, 1.0, 0.7, 0.8)},
    "dropout": {"layer_sizes": WIDE, "output": "softmax", "keep_probs": (0.8, 0.5)},
    "dropout of one layer": {"layer_sizes": WIDE, "keep_probs": (1.0, 0.6)},
    "batch norm": {"layer_sizes": WIDE, "output": "softmax", "epsilon": 1e-3},
    "dropout and batch norm": {
        "layer_sizes": WIDE, "output": "softmax", "hidden": "leaky_relu", "keep_probs": (0.5, 0.8),
        "epsilon": 1e-3},
    "exact ties": {"hidden": "relu", "kind": "grid", "weights": "grid"},
}
#: passes that are tried with penalties too, shared by more examples than there are.
PENALIZED = ("one example", "square weights", "six layers of one width", "dropout and batch norm")
PENALTIES = {"l1": 0.2, "l2": 0.4, "shared": 20}
# fmt: on


def turned(values: Values, axes: Mapping[str, int], by: int = 1) -> dict[str, Any]:
    """Return values, some turned round along an axis: nothing stays in its place."""
    return {**values, **{name: np.roll(values[name], by, axis) for name, axis in axes.items()}}


def shifted(X: Array, **_: Any) -> Case:
    return {"X": X - 1e-6 * X[:, -1:]}


def passes_nan_on(run: Any, **case: Any) -> None:
    poisoned = copy.deepcopy(case)
    poisoned["W1"][0, 0] = np.nan
    for hidden in DIFFERENTIABLE:
        poisoned["network"] = replace(case["network"], hidden=hidden)
        found = run("network", **poisoned)["output"]
        if not np.isnan(found).all():
            raise AssertionError(f"a NaN before {hidden} ends as {found!r}")


# --- the cost -------------------------------------------------------------------------------------


#: the axis of the first layer's units.
UNITS = {"W1": 0, "b1": 0, "W2": 1}
UNITS_OF_RESULTS = UNITS | {f"{name} of a step": axis for name, axis in UNITS.items()}


def merges(run: Any, **case: Any) -> tuple[Values, Values]:
    merged: dict[str, Any] = {}
    for batch in partition(np.roll(np.arange(10), 1), 4):
        part = {**case, "X": case["X"][:, batch], "Y": case["Y"][:, batch]}
        for name, value in run("cost_and_gradients", **part).items():
            merged[name] = merged.get(name, 0.0) + value * len(batch) / 10
    return merged, run("cost_and_gradients", **case)


def as_a_whole_batch(honest: Any, **case: Any) -> Values:
    """Return the results as if four examples were the batch."""
    return {name: one * case["X"].shape[1] / 4 for name, one in honest(**case).items()}


def scaled_twice(honest: Any, **case: Any) -> Values:
    """Return results in which dropout scales the gradient of W2 once more."""
    results = honest(**case)
    return {**results, "W2": results["W2"] * 1.25} if case["network"].keep_probs else results


def four_times(network: Network, parameters: Parameters, **_: Any) -> Case:
    scaled, norm = parameters.copy(), network.batch_norm
    assert norm is not None
    scaled["W1"] *= 4
    wide = replace(network, batch_norm=replace(norm, epsilon=16 * norm.epsilon))
    return {"network": wide, "parameters": scaled}


# --- prediction -----------------------------------------------------------------------------------


def answers_alone(run: Any, **case: Any) -> tuple[Values, Values]:
    one = {"X": case["X"][:, :1], "decided": case["decided"][:, :1]}
    alone, whole = (run("prediction", **{**case, **each})["outputs"] for each in (one, {}))
    return {"one example alone": alone}, {"one example alone": whole[:, :1]}


# fmt: off
LAYERS = {"layer_sizes": (4, 6, 5, 3)}

NETWORK: PairTwin = PairTwin(
    name="network",
    formula="A_l = g(W_l A_(l-1) + b_l), A_0 = X; batch norm before g, a mask behind it",
    source='Course 1, week 4, "Forward and backward propagation"; torch.nn.Sequential',
    proves=("network_forward", "network_backward", "Network"),
    ours=Pair(networks.forward, ours.network_backward), theirs=networks.their_output,
    constants=("network", "masks"), draw=networks.draw_pass,
    cases={**CASES, "output": st.sampled_from(DIFFERENTIABLE)}, smooth=networks.smooth,
    edges={
        **PASSES, "deep": {"layer_sizes": (8, 16, 16, 16, 4), "output": "softmax", "m": 12},
        "deep rectifiers": {"layer_sizes": (8, 16, 16, 16, 4), "hidden": "relu", "m": 12},
        "a rectified output": {"output": "relu", "hidden": "leaky_relu"},
        "softmax inside": {"output": "identity", "hidden": "softmax"}},
    gauges=lambda case, upstream: gauges.network_gauges(
        case["network"], case, upstream, case["masks"]), float32=False,
    relations=(
        Relation(name="permuting examples permutes the outputs and dX",
            holds=same_under("network",
                lambda **case: turned(case, {"X": 1, "upstream": 1}),
                partial(turned, axes={"output": 1, "gradient of X": 1}, by=-1)),
            broken_by=taking(shifted), gauges=lambda **case: NETWORK.sizes(case, {})),
        Relation(name="a NaN inside is a NaN outside",
            holds=passes_nan_on, broken_by=spoilt("output", np.nan_to_num))),
)

# a unit that float32 puts on the other side of a kink would be no round-off
CURVED = st.sampled_from([one for one in DIFFERENTIABLE if not one.endswith("relu")])
IN_FLOAT32 = replace(
    NETWORK, name="network in float32", float32=True, float32_floor=FLOAT32_NETWORK, weight=0.5,
    cases={"m": examples, "output": CURVED, "hidden": CURVED}, edges={}, relations=())

LEARNING = FunctionTwin(
    name="cost_and_gradients",
    formula="J = mean cost + lambda / (2 m) sum W^2 + lambda_1 / m sum |W|",
    source='Course 2, week 1, "Regularizing your neural network"; torch.autograd.grad',
    proves=("cost_and_gradients",),
    ours=networks.learned, theirs=networks.their_learned, bridge=None, draw=networks.draw_learning,
    cases={
        **CASES, "output": st.sampled_from([*ours.OUTPUT_COSTS]),
        "l1": networks.strengths, "l2": networks.strengths,
        "shared": st.just(0) | st.integers(1, 10_000), "decay": betas, "unbiased": st.booleans()},
    edges={
        **PASSES, **{f"{name}, penalties": PASSES[name] | PENALTIES for name in PENALIZED},
        "units not dropped": {"layer_sizes": WIDE, "keep_probs": (0.8, 0.5), "handed": False},
        "L1": {"l1": 0.2, "output": "sigmoid"}, "L2": {"l2": 0.4, "output": "sigmoid"},
        "zeros under penalties": {"weights": "zeros", "l1": 0.3, "l2": 0.7},
        "batch norm as torch's": {"epsilon": 1e-5, "unbiased": True}},
    gauges=networks.learning_gauges, budget=GRADIENT,
    budgets=dict.fromkeys(
        ["cost", "cost of a step", *(f"{n}{l}" for n in ("mean", "variance") for l in range(1, 6))],
        FORWARD),
    relations=(
        Relation(
            name="permuting the units of a layer leaves the cost and permutes the gradients",
            holds=same_under("cost_and_gradients",
                lambda parameters, **_: {"parameters": Parameters(turned(parameters, UNITS))},
                partial(turned, axes=UNITS_OF_RESULTS, by=-1)),
            broken_by=spoilt("W1", lambda dW: dW * (np.arange(len(dW)) < 5)[:, None]), at=LAYERS),
        Relation(name="merged mini-batches in another order, the last one short, are the batch",
            holds=merges, broken_by=as_a_whole_batch,
            at={**LAYERS, "m": 10, "shared": 10, "l1": 0.1, "l2": 0.3}),
        Relation(name="keep_prob 1 is no dropout",
            holds=same_under("cost_and_gradients", lambda network, **_: {
                "network": replace(network, keep_probs=(1.0, 1.0))}, exact=True),
            broken_by=scaled_twice, at=LAYERS),
        Relation(name="a weight before batch norm has no scale but epsilon's",
            holds=same_under("cost_and_gradients", four_times,
                lambda results: {**results, "W1": 4 * results["W1"]},
                keys=("cost", "W1", "gamma1", "beta1", "W2", "b2")),
            broken_by=taking(lambda network, **_: {
                "network": replace(network, batch_norm=BatchNorm(epsilon=1e-3))}),
            at={"layer_sizes": (4, 6, 3), "epsilon": 1e-3})),
)

LEARNING_IN_FLOAT32 = replace(
    LEARNING,
    name="cost and gradients in float32",
    cases={
        "m": examples, "output": st.sampled_from([*ours.OUTPUT_COSTS]),
        "l1": st.sampled_from([0.0, 0.2]), "l2": st.sampled_from([0.0, 0.4])},
    edges={"one example": {"m": 1, "l1": 0.2}, "every penalty": {"l1": 0.2, "l2": 0.4}},
    float32=True, float32_floor=FLOAT32_NETWORK, weight=0.5, relations=(),
)

NORMS = FunctionTwin(
    name="layer_norms",
    formula="sqrt(sum A_l^2) and sqrt(sum dW_l^2), layer by layer",
    source='Course 2, week 1, "Vanishing / exploding gradients"; torch.linalg.vector_norm',
    proves=("layer_norms",), ours=lambda **case: dict(ChainMap(*ours.layer_norms(**case))),
    theirs=lambda **case: dict(ChainMap(*theirs.layer_norms(**networks.as_module_case(**case)))),
    bridge=None, wide=False, budget=GRADIENT, weight=0.4, draw=networks.draw_learning,
    cases={
        "hidden": st.sampled_from(DIFFERENTIABLE),
        **{name: LEARNING_IN_FLOAT32.cases[name] for name in ("output", "l1", "l2")},
        "keep_probs": st.sampled_from([(), (0.8, 0.5), (1.0, 0.6)]),
        "epsilon": st.sampled_from([None, 1e-3]), "layer_sizes": st.just(WIDE)},
    edges={name: PASSES[name] for name in ("dropout", "batch norm", "dropout and batch norm")},
    gauges=lambda **case: {  # an activation's norm is its own
        name: np.linalg.norm(one) for name, one in networks.learning_gauges(**case).items()
        if name in case["parameters"]},
)

PREDICTION = FunctionTwin(
    name="prediction",
    formula="A_L with nothing dropped, batch norm by running averages; A > 0.5, or the largest",
    source='Course 2, week 1, "Dropout regularization", at test time; torch.nn.Module.eval',
    proves=("outputs", "predict"),
    ours=networks.predicted, theirs=networks.their_predicted, bridge=None,
    draw=networks.draw_prediction, cases={**CASES, "output": st.sampled_from(DIFFERENTIABLE)},
    edges={
        **PASSES, "softmax": {"output": "softmax", "keep_probs": (0.5,)},
        "no prediction": {"output": "tanh", "epsilon": None}},
    gauges=networks.prediction_gauges,
    relations=(Relation(name="an example alone is answered as among others", holds=answers_alone,
        broken_by=taking(shifted), budget=FORWARD),),
)
# fmt: on

TWINS = (NETWORK, IN_FLOAT32, LEARNING, LEARNING_IN_FLOAT32, NORMS, PREDICTION)
