"""Networks: a pass of training and back, the cost with its penalties, norms, and prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import FLOAT32_NETWORK, FORWARD, GRADIENT
from parity_tests.compare.measurement import Array
from parity_tests.compare.quantities import assert_equal
from parity_tests.drawing import betas, examples
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation
from parity_tests.twins._networks import (
    CASES,
    DIFFERENTIABLE,
    EPS,
    as_module_case,
    draw_learning,
    draw_pass,
    draw_prediction,
    forward,
    learned,
    learning_gauges,
    norm_gauges,
    norms_of,
    pass_gauges,
    predicted,
    prediction_gauges,
    smooth,
    strengths,
    their_learned,
    their_module,
    their_output,
    their_predicted,
)
from scratch import network as ours
from scratch.batch_norm import BatchNorm
from scratch.mini_batches import partition
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import network as theirs

Honest = Callable[..., Values]

IN_DEPTH = 'Course 1, week 4, "Forward and backward propagation"; torch.nn.Sequential'

#: passes of training that differ in kind, each with what it needs.
PASSES: dict[str, dict[str, Any]] = {
    "one layer": {"layer_sizes": (3, 1), "output": "sigmoid"},
    "one unit a layer": {"layer_sizes": (1, 1, 1), "output": "sigmoid"},
    "one example": {"m": 1},
    "square weights": {"layer_sizes": (4, 4, 4), "m": 4},
    "six layers of one width": {
        "layer_sizes": (4, 6, 6, 6, 6, 6, 3),
        "output": "softmax",
        "keep_probs": (0.5, 0.6, 1.0, 0.7, 0.8),
        "epsilon": 1e-3,
    },
    "six plain layers": {
        "layer_sizes": (4, 6, 6, 6, 6, 6, 3),
        "output": "softmax",
        "keep_probs": (0.5, 0.6, 1.0, 0.7, 0.8),
    },
    "dropout": {"layer_sizes": (5, 8, 6, 3), "output": "softmax", "keep_probs": (0.8, 0.5)},
    "dropout of one layer": {"layer_sizes": (5, 8, 6, 3), "keep_probs": (1.0, 0.6)},
    "batch norm": {"layer_sizes": (5, 8, 6, 3), "output": "softmax", "epsilon": 1e-3},
    "dropout and batch norm": {
        "layer_sizes": (5, 8, 6, 3),
        "output": "softmax",
        "hidden": "leaky_relu",
        "keep_probs": (0.5, 0.8),
        "epsilon": 1e-3,
    },
    "exact ties": {"hidden": "relu", "kind": "grid", "weights": "grid"},
}


#: penalties shared by more examples than there are, and the passes that they are tried on.
PENALTIES = {"l1": 0.2, "l2": 0.4, "shared": 20}
WIDE = ("square weights", "six layers of one width", "dropout and batch norm")


def pass_calls(X: Array, network: Network, masks: Any, upstream: Array, **named: Any) -> Any:
    """Yield the call of our forward, whose parameters are one object."""
    arguments = {"parameters": Parameters(named), "network": network, "masks": masks}
    yield "scratch.network.network_forward", {"X": X, **arguments}


def case_gauges(**case: Any) -> Values:
    """Return the gauges of a case of the pair by quantity."""
    found = pass_gauges(case, case["upstream"])
    return {n if n == "output" else f"gradient of {n}": one for n, one in found.items()}


def turned(length: int) -> Array:
    """Return a permutation that leaves nothing in its place."""
    return np.roll(np.arange(length), 1)


def permutes_the_outputs(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results of examples in another order, and the results in that order."""
    order, sorted_ = turned(case["X"].shape[1]), run("network", **case)
    moved = {name: case[name][:, order] for name in ("X", "upstream")}
    expected = {
        name: one[:, order] if name in ("output", "gradient of X") else one
        for name, one in sorted_.items()
    }
    return run("network", **{**case, **moved}), expected


def is_its_layers(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results of a network, and of its layers one after the other and back."""
    whole, network, inputs, layers = run("network", **case), case["network"], case["X"], []
    for l in range(1, network.depth + 1):
        layers.append(
            {
                "X": inputs,
                "W1": case[f"W{l}"],
                "b1": case[f"b{l}"],
                "network": Network(
                    layer_sizes=network.layer_sizes[l - 1 : l + 1], output=network.activation(l)
                ),
                "masks": {},
            }
        )
        nothing = np.zeros((network.layer_sizes[l], inputs.shape[1]))
        inputs = run("network", **layers[-1], upstream=nothing)["output"]
    chained, upstream = {"output": inputs}, case["upstream"]
    for l, layer in reversed([*enumerate(layers, start=1)]):
        pulled = run("network", **layer, upstream=upstream)
        chained |= {f"gradient of {name}{l}": pulled[f"gradient of {name}1"] for name in "Wb"}
        upstream = pulled["gradient of X"]
    return whole, {**chained, "gradient of X": upstream}


HANDED_ON = {"W1": 8.0, "b1": 8.0, "W2": 1 / 8, "b2": 1.0, "X": 1.0}


def hands_a_scale_on(run: Any, **case: Any) -> None:
    """Raise AssertionError unless a layer times 8 is undone by the next, to the bit."""
    first = run("network", **case)
    moved = {name: factor * case[name] for name, factor in HANDED_ON.items()}
    second = run("network", **{**case, **moved})
    assert_equal(second["output"], first["output"], "output")
    for name, factor in HANDED_ON.items():
        quantity = f"gradient of {name}"
        assert_equal(factor * second[quantity], first[quantity], quantity)


def passes_nan_on(row: str, output: str, run: Any, **case: Any) -> None:
    """Raise AssertionError where a hidden unit that is NaN leaves some output a number."""
    for hidden in DIFFERENTIABLE:
        network = replace(case["network"], hidden=hidden)
        if "parameters" in case:
            parameters = case["parameters"].copy()
            parameters["W1"][0, 0] = np.nan
            poisoned: dict[str, Any] = {"parameters": parameters}
        else:
            poisoned = {"W1": case["W1"].copy()}
            poisoned["W1"][0, 0] = np.nan
        found = run(row, **{**case, **poisoned, "network": network})[output]
        if not np.isnan(found).all():
            raise AssertionError(f"a NaN before {hidden} ends as {found!r}")


def swallowed(output: str, honest: Honest, **case: Any) -> Values:
    """Return results in which a NaN is 0."""
    results = honest(**case)
    return {**results, output: np.nan_to_num(results[output])}


def spoilt(name: str, change: Callable[[Any], Any], honest: Honest, **case: Any) -> Values:
    """Return results of which one is changed."""
    results = honest(**case)
    return {**results, name: change(results[name])} if name in results else results


def shifted(honest: Honest, **case: Any) -> Values:
    """Return the results for X of which a millionth of the last example is taken away."""
    return honest(**{**case, "X": case["X"] - 1e-6 * case["X"][:, -1:]})


NETWORK = PairTwin(
    name="network",
    formula="A_l = g(W_l A_(l-1) + b_l), A_0 = X; batch norm before g, a mask behind it",
    source=IN_DEPTH,
    proves=("network_forward", "network_backward", "Network"),
    ours=Pair(forward, ours.network_backward),
    theirs=their_output,
    constants=("network", "masks"),
    draw=draw_pass,
    cases={**CASES, "output": st.sampled_from(DIFFERENTIABLE)},
    smooth=smooth,
    edges={
        **PASSES,
        "deep": {"layer_sizes": (8, 16, 16, 16, 4), "output": "softmax", "m": 12},
        "deep rectifiers": {"layer_sizes": (8, 16, 16, 16, 4), "hidden": "relu", "m": 12},
        "a rectified output": {"output": "relu", "hidden": "leaky_relu"},
        "softmax inside": {"output": "identity", "hidden": "softmax"},
    },
    gauges=pass_gauges,
    float32=False,
    calls=pass_calls,
    relations=(
        Relation(
            name="permuting examples permutes the outputs and dX",
            holds=permutes_the_outputs,
            broken_by=shifted,
            gauges=lambda **case: {
                name: one[:, turned(one.shape[1])] if name in ("output", "gradient of X") else one
                for name, one in case_gauges(**case).items()
            },
        ),
        Relation(
            name="a network is its layers one after the other, and back",
            holds=is_its_layers,
            broken_by=partial(spoilt, "gradient of b2", lambda gradient: gradient / 10),
            at={"layer_sizes": (4, 6, 5, 3), "output": "softmax"},
            gauges=case_gauges,
        ),
        Relation(
            name="between rectifiers a scale can be handed on",
            holds=hands_a_scale_on,
            broken_by=partial(spoilt, "gradient of W1", lambda gradient: gradient + 1e-12),
            at={"hidden": "relu", "output": "softmax"},
        ),
        Relation(
            name="a NaN inside is a NaN outside",
            holds=partial(passes_nan_on, "network", "output"),
            broken_by=partial(swallowed, "output"),
        ),
    ),
)


# --- the cost -------------------------------------------------------------------------------------


def learning_calls(**case: Any) -> Iterator[tuple[str, Case]]:
    """Yield calls of the functions that take a cost, on modules in any mode, dropping or not."""
    dropping = draw_learning(np.random.default_rng(0), **PASSES["dropout and batch norm"])
    for name in ("cost_and_gradients", "layer_norms"):
        yield f"scratch.network.{name}", {**case, "m": 9}
        yield f"torch_ref.network.{name}", as_module_case(**case)
        for one in (dropping, {**dropping, "masks": None}):
            mixed = as_module_case(**one)
            mixed["module"].eval().logits[-1].train()
            yield f"torch_ref.network.{name}", mixed


def permutes_nothing(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results of examples in another order, and in theirs."""
    order = turned(case["X"].shape[1])
    other = {**case, "X": case["X"][:, order], "Y": case["Y"][:, order]}
    return run("cost_and_gradients", **other), run("cost_and_gradients", **case)


def permutes_the_units(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results of a layer whose units are turned round, and the results turned."""
    first, moved = run("cost_and_gradients", **case), case["parameters"].copy()
    order = turned(case["network"].layer_sizes[1])
    for name in ("W1", "b1"):
        moved[name] = moved[name][order]
    moved["W2"] = moved["W2"][:, order]
    expected = {
        name: one[order] if name[:2] in ("W1", "b1") else one[:, order] if name[:2] == "W2" else one
        for name, one in first.items()
    }
    return run("cost_and_gradients", **{**case, "parameters": moved}), expected


def merges(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the mean of mini-batches of 4, 4 and 2, and the results of all 10."""
    merged: dict[str, Any] = {}
    for batch in partition(turned(10), 4):
        part = {**case, "X": case["X"][:, batch], "Y": case["Y"][:, batch]}
        for name, value in run("cost_and_gradients", **part).items():
            merged[name] = merged.get(name, 0.0) + value * len(batch) / 10
    return merged, run("cost_and_gradients", **case)


def counts_examples(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results of every example twice, and penalties too, and of each once."""
    twice = {name: np.tile(case[name], 2) for name in ("X", "Y")}
    choices = {"l1": 2 * case["l1"], "l2": 2 * case["l2"]}
    return run("cost_and_gradients", **{**case, **twice, **choices}), run(
        "cost_and_gradients", **case
    )


def as_a_whole_batch(honest: Honest, **case: Any) -> Values:
    """Return the results as if four examples were the batch."""
    return {name: one * case["X"].shape[1] / 4 for name, one in honest(**case).items()}


def keeps_everything(run: Any, **case: Any) -> None:
    """Raise AssertionError unless a network of keep_prob 1 is one without dropout, to the bit."""
    kept = replace(case["network"], keep_probs=(1.0,) * (case["network"].depth - 1))
    second = run("cost_and_gradients", **{**case, "network": kept})
    for name, one in run("cost_and_gradients", **case).items():
        assert_equal(second[name], one, name)


def scales_the_weights(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results under masks that drop nothing and weights as much smaller, and without."""
    factors, m = {1: 2.0, 2: 1.25}, case["X"].shape[1]
    sizes, smaller = case["network"].layer_sizes, case["parameters"].copy()
    for l, factor in factors.items():
        smaller[f"W{l + 1}"] /= factor
    dropping = {
        "network": replace(case["network"], keep_probs=tuple(1 / one for one in factors.values())),
        "masks": {f"D{l}": np.full((sizes[l], m), factor) for l, factor in factors.items()},
    }
    second = dict(run("cost_and_gradients", **{**case, **dropping, "parameters": smaller}))
    for l, factor in factors.items():
        for name in (f"W{l + 1}", f"W{l + 1} of a step"):
            second[name] = second[name] / factor
    return second, run("cost_and_gradients", **case)


def scaled_twice(honest: Honest, **case: Any) -> Values:
    """Return results in which dropout scales the gradient of W2 once more."""
    results = honest(**case)
    return {**results, "W2": results["W2"] * 1.25} if case["network"].keep_probs else results


def has_no_scale(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the results of 4 W1 under 16 epsilon, its gradient times 4, and of W1."""
    scaled, norm = case["parameters"].copy(), case["network"].batch_norm
    scaled["W1"] *= 4
    wide = replace(case["network"], batch_norm=replace(norm, epsilon=16 * norm.epsilon))
    second = run("cost_and_gradients", **{**case, "network": wide, "parameters": scaled})
    keys = "cost", "W1", "gamma1", "beta1", "W2", "b2"
    return {name: second[name] * (4 if name == "W1" else 1) for name in keys}, {
        name: run("cost_and_gradients", **case)[name] for name in keys
    }


def one_epsilon(honest: Honest, **case: Any) -> Values:
    """Return the results under an epsilon of 1e-3, whatever it is."""
    return honest(
        **{**case, "network": replace(case["network"], batch_norm=BatchNorm(epsilon=1e-3))}
    )


def is_orthogonal(run: Any, **case: Any) -> None:
    """Raise AssertionError unless the gradient of a weight is orthogonal to it, row by row."""
    W, dW = case["parameters"]["W1"], run("cost_and_gradients", **case)["W1"]
    size = np.linalg.norm(W, axis=1) * np.linalg.norm(dW, axis=1)
    if not (np.abs((W * dW).sum(axis=1)) <= GRADIENT.eps * EPS * size).all() or not size.all():
        raise AssertionError(f"W dW sums to {(W * dW).sum(axis=1)}, of sizes {size}")


LEARNING = FunctionTwin(
    name="cost_and_gradients",
    formula="J = mean cost + lambda / (2 m) sum W^2 + lambda_1 / m sum |W|",
    source='Course 2, week 1, "Regularizing your neural network"; torch.autograd.grad',
    proves=("cost_and_gradients",),
    ours=learned,
    theirs=their_learned,
    bridge=None,
    draw=draw_learning,
    cases={
        **CASES,
        "output": st.sampled_from([*ours.OUTPUT_COSTS]),
        "l1": strengths,
        "l2": strengths,
        "shared": st.just(0) | st.integers(1, 10_000),
        "decay": betas,
        "unbiased": st.booleans(),
    },
    edges={
        **PASSES,
        **{f"{name}, penalties": PASSES[name] | PENALTIES for name in ("one example", *WIDE)},
        "units not dropped": {
            "layer_sizes": (5, 8, 6, 3),
            "keep_probs": (0.8, 0.5),
            "handed": False,
        },
        "L1": {"l1": 0.2, "output": "sigmoid"},
        "L2": {"l2": 0.4, "output": "sigmoid"},
        "zeros under penalties": {"weights": "zeros", "l1": 0.3, "l2": 0.7},
        "batch norm as torch's": {"epsilon": 1e-5, "unbiased": True},
    },
    gauges=learning_gauges,
    budget=GRADIENT,
    budgets={
        "cost": FORWARD,
        "cost of a step": FORWARD,
        **{f"{name}{l}": FORWARD for name in ("mean", "variance") for l in range(1, 6)},
    },
    calls=learning_calls,
    relations=(
        Relation(
            name="permuting examples leaves cost and gradients",
            holds=permutes_nothing,
            broken_by=shifted,
            at={"layer_sizes": (4, 6, 5, 3), "l2": 0.3},
        ),
        Relation(
            name="permuting the units of a layer leaves the cost and permutes the gradients",
            holds=permutes_the_units,
            broken_by=partial(spoilt, "W1", lambda dW: dW * (np.arange(len(dW)) < 5)[:, None]),
            at={"layer_sizes": (4, 6, 5, 3)},
        ),
        Relation(
            name="merged mini-batches, a short one among them, are the batch",
            holds=merges,
            broken_by=as_a_whole_batch,
            at={"layer_sizes": (4, 6, 5, 3), "m": 10, "shared": 10, "l1": 0.1, "l2": 0.3},
        ),
        Relation(
            name="every example twice costs as much as once",
            holds=counts_examples,
            broken_by=as_a_whole_batch,
            at={"layer_sizes": (4, 6, 5, 3), "l1": 0.1, "l2": 0.3},
        ),
        Relation(
            name="keep_prob 1 is no dropout",
            holds=keeps_everything,
            broken_by=scaled_twice,
            at={"layer_sizes": (4, 6, 5, 3)},
        ),
        Relation(
            name="a mask that drops nothing scales the weights of the next layer",
            holds=scales_the_weights,
            broken_by=scaled_twice,
            at={"layer_sizes": (4, 6, 5, 3)},
        ),
        Relation(
            name="a weight before batch norm has no scale but epsilon's",
            holds=has_no_scale,
            broken_by=one_epsilon,
            at={"layer_sizes": (4, 6, 3), "epsilon": 1e-3},
        ),
        Relation(
            name="the gradient of a weight before batch norm is orthogonal to it",
            holds=is_orthogonal,
            broken_by=partial(spoilt, "W1", lambda dW: dW + 1e-9),
            at={"layer_sizes": (4, 6, 3), "epsilon": 1e-30},
        ),
    ),
)


IN_FLOAT32 = replace(
    LEARNING,
    name="cost and gradients in float32",
    # a unit that float32 puts on the other side of a kink would be no round-off
    cases={
        "m": examples,
        "output": st.sampled_from([*ours.OUTPUT_COSTS]),
        "l1": st.sampled_from([0.0, 0.2]),
        "l2": st.sampled_from([0.0, 0.4]),
    },
    edges={"one example": {"m": 1, "l1": 0.2}, "every penalty": {"l1": 0.2, "l2": 0.4}},
    float32=True,
    float32_floor=FLOAT32_NETWORK,
    weight=0.5,
    calls=None,
    relations=(),
)


# --- norms, and prediction ------------------------------------------------------------------------


NORMS = FunctionTwin(
    name="layer_norms",
    formula="sqrt(sum A_l^2) and sqrt(sum dW_l^2), layer by layer",
    source='Course 2, week 1, "Vanishing / exploding gradients"; torch.linalg.vector_norm',
    proves=("layer_norms",),
    ours=lambda **case: norms_of(ours.layer_norms(**case)),
    theirs=lambda **case: norms_of(theirs.layer_norms(**as_module_case(**case))),
    bridge=None,
    draw=draw_learning,
    cases={
        "hidden": st.sampled_from(DIFFERENTIABLE),
        "output": st.sampled_from([*ours.OUTPUT_COSTS]),
        "l1": st.sampled_from([0.0, 0.2]),
        "l2": st.sampled_from([0.0, 0.4]),
        "keep_probs": st.sampled_from([(), (0.8, 0.5), (1.0, 0.6)]),
        "epsilon": st.sampled_from([None, 1e-3]),
        "layer_sizes": st.just((5, 8, 6, 3)),
    },
    edges={name: PASSES[name] for name in ("dropout", "batch norm", "dropout and batch norm")},
    gauges=norm_gauges,
    budget=GRADIENT,
    wide=False,
    weight=0.4,
)


def prediction_calls(**case: Any) -> Iterator[tuple[str, Case]]:
    """Yield calls of both functions of either side, on modules in any mode."""
    del case["decided"]
    X = rows(case.pop("X"))
    for name in ("outputs", "predict"):
        yield f"scratch.network.{name}", {"X": columns(X), **case}
        yield f"torch_ref.network.{name}", {"X": X, "module": their_module(**case)}
        mixed = their_module(**case)
        mixed.eval().logits[-1].train()
        yield f"torch_ref.network.{name}", {"X": X, "module": mixed}


def answers_alone(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the outputs for the first example alone, and among others."""
    whole = run("prediction", **case)["outputs"]
    one = {"X": case["X"][:, :1], "decided": case["decided"][:, :1]}
    alone = run("prediction", **{**case, **one})["outputs"]
    return {"one example alone": alone}, {"one example alone": whole[:, :1]}


PREDICTION = FunctionTwin(
    name="prediction",
    formula="A_L with nothing dropped, batch norm by running averages; A > 0.5, or the largest",
    source='Course 2, week 1, "Dropout regularization", at test time; torch.nn.Module.eval',
    proves=("outputs", "predict"),
    ours=predicted,
    theirs=their_predicted,
    bridge=None,
    draw=draw_prediction,
    cases={**CASES, "output": st.sampled_from(DIFFERENTIABLE)},
    edges={
        **PASSES,
        "softmax": {"output": "softmax", "keep_probs": (0.5,)},
        "no prediction": {"output": "tanh", "epsilon": None},
    },
    gauges=prediction_gauges,
    calls=prediction_calls,
    relations=(
        Relation(
            name="an example alone is answered as among others",
            holds=answers_alone,
            broken_by=shifted,
            budget=FORWARD,
        ),
        Relation(
            name="a NaN inside is a NaN in the outputs",
            holds=partial(passes_nan_on, "prediction", "outputs"),
            broken_by=partial(swallowed, "outputs"),
        ),
    ),
)

TWINS = (NETWORK, LEARNING, IN_FLOAT32, NORMS, PREDICTION)
