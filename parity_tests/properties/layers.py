"""Cases of single layers: activations, linear, batch norm, dropout, and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_expit, softmax

from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.functions import assert_close, assert_twins
from parity_tests.compare.gauges import batch_norm_gauges, linear_gauges, softmax_gauges
from parity_tests.compare.witnesses import widened
from parity_tests.properties.agreement import Quantity, agree, assert_equal, floored
from parity_tests.properties.draws import SMOOTH, draw
from scratch import batch_norm, dropout
from scratch.activations import ACTIVATIONS
from scratch.costs import COSTS
from scratch.linear import linear_backward, linear_forward
from torch_ref import batch_norm as their_batch_norm
from torch_ref import dropout as their_dropout
from torch_ref.activations import ACTIVATIONS as THEIR_ACTIVATIONS
from torch_ref.costs import COSTS as THEIR_COSTS
from torch_ref.linear import linear

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ActivationCase:
    """Z of shape (n, m) through an activation, with one column that is neither tied nor flat."""

    name: str
    n: int
    m: int
    kind: str
    scale: float
    seed: int


def check_activation(case: ActivationCase) -> None:
    """Hold output and gradient against torch; where Z is smooth, against differences too."""
    rng = np.random.default_rng(case.seed)
    Z = draw(case.kind, (case.n, case.m), rng, case.scale)
    Z[:, 0] = rng.uniform(0.25, 0.75, case.n)
    forward, backward = ACTIVATIONS[case.name]
    assert backward is not None
    assert_twins(
        forward,
        backward,
        THEIR_ACTIVATIONS[case.name](),
        {"Z": Z},
        rng,
        differences=case.kind in SMOOTH,
        witnessed=2,
        gauges=GAUGES.get(case.name),
    )


def _slope_gauges(arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return the gauge of a gradient whose slope, 1 - A^2 say, takes numbers of size 1 apart."""
    return {"Z": np.abs(dA)}


def _softmax_gauges(arguments: Mapping[str, Any], dA: Array) -> dict[str, Array]:
    """Return the gauges of softmax, which may underflow."""
    return {name: floored(gauge) for name, gauge in softmax_gauges(arguments, dA).items()}


GAUGES = {"sigmoid": _slope_gauges, "tanh": _slope_gauges, "softmax": _softmax_gauges}


@dataclass(frozen=True, kw_only=True)
class LinearCase:
    """A linear layer of shapes (n, n_prev) on (n_prev, m)."""

    n: int
    n_prev: int
    m: int
    kind: str
    weights: str
    seed: int


def check_linear(case: LinearCase) -> None:
    """Hold Z and its gradients against torch, under what was summed; differences where smooth."""
    rng = np.random.default_rng(case.seed)
    inputs = {
        "A_prev": draw(case.kind, (case.n_prev, case.m), rng),
        "W": draw(case.weights, (case.n, case.n_prev), rng),
        "b": draw(case.weights, (case.n, 1), rng),
    }
    inputs["A_prev"][0, 0] = inputs["W"][0, 0] = 1.0
    if case.kind in SMOOTH and case.weights in SMOOTH:
        assert_twins(
            linear_forward, linear_backward, linear, inputs, rng, gauges=linear_gauges, witnessed=1
        )
    else:
        _assert_pair(linear_forward, linear_backward, linear, inputs, linear_gauges, rng)


def _assert_pair(
    forward: Any,
    backward: Any,
    theirs: Any,
    inputs: Mapping[str, Array],
    gauges: Any,
    rng: np.random.Generator,
) -> None:
    """Hold a pair against torch, any of its quantities zero or drowned by what has cancelled."""
    upstream = np.asarray(rng.standard_normal(np.shape(forward(**inputs)[0])))
    ours = _run_pair(forward, backward, inputs, upstream)
    wide = widened(_run_pair, forward, backward, inputs, upstream) or {}
    bounds = gauges(inputs, upstream)
    tensors = {name: to_torch(name, one).requires_grad_() for name, one in inputs.items()}
    expected = theirs(*tensors.values())
    handed = to_torch("upstream", upstream)
    pulled = torch.autograd.grad(expected, list(tensors.values()), handed)
    reference = to_numpy("output", expected)[()]
    quantities = {
        "output": Quantity(ours["output"], reference, bounds["output"], wider=wide.get("output"))
    }
    for name, one in zip(tensors, pulled, strict=True):
        key = f"gradient of {name}"
        quantities[key] = Quantity(
            ours[key], to_numpy(name, one), bounds[name], GRADIENT, wide.get(key)
        )
    agree(quantities)


def _run_pair(
    forward: Any, backward: Any, inputs: Mapping[str, Array], upstream: Array
) -> dict[str, Any]:
    """Return the output of a pair and its gradients."""
    output, cache = forward(**inputs)
    gradients = backward(upstream[()], cache)
    return {"output": output, **{f"gradient of {name}": one for name, one in gradients.items()}}


@dataclass(frozen=True, kw_only=True)
class BatchNormCase:
    """Batch norm of Z, (n, m), its running averages after it, and an answer from them."""

    n: int
    m: int
    kind: str
    scale: float
    epsilon: float
    decay: float
    unbiased: bool
    seed: int


def check_batch_norm(case: BatchNormCase) -> None:
    """Hold output, gradients, running averages and answers against torch."""
    rng = np.random.default_rng(case.seed)
    Z = draw(case.kind, (case.n, case.m), rng, case.scale)
    inputs = {"Z": Z, "gamma": draw("zeros", (case.n, 1), rng), "beta": _column(case.n, rng)}
    _assert_pair(
        partial(batch_norm.batch_norm_forward, epsilon=case.epsilon),
        batch_norm.batch_norm_backward,
        partial(their_batch_norm.batch_norm, epsilon=case.epsilon),
        inputs,
        lambda arguments, d: batch_norm_gauges({**arguments, "epsilon": case.epsilon}, d),
        rng,
    )
    mean, variance = _column(case.n, rng), rng.uniform(0.1, 2, (case.n, 1))
    before = {"mean": mean, "variance": variance}
    choices: dict[str, Any] = {"decay": case.decay, "unbiased": case.unbiased}
    after, cache = _move_averages(inputs, before, case.epsilon, choices)
    wide = (widened(_move_averages, inputs, before, case.epsilon, choices) or ((None, None),))[0]
    moved = their_batch_norm.update_running_averages(
        to_torch("mean", mean), to_torch("variance", variance), rows(Z), **choices
    )
    size = np.abs(Z).max(axis=1, keepdims=True)
    correction = case.m / (case.m - 1) if case.unbiased else 1.0
    spread = (1 - case.decay) * correction * (cache.variance + size * np.sqrt(cache.variance))
    # torch differences the averages: what 1 - decay rounds to is counted with both of them
    gauge = {
        "mean": np.abs(before["mean"]) + size,
        "variance": before["variance"] + correction * cache.variance + spread,
    }
    averages = {
        f"running {name}": Quantity(one, to_numpy(name, other), gauge[name], wider=truth)
        for name, one, other, truth in zip(before, after, moved, wide, strict=True)
    }
    agree({**averages, "answers": _answers(inputs, before, case.epsilon)})


def _move_averages(
    inputs: Mapping[str, Array],
    running: Mapping[str, Array],
    epsilon: float,
    choices: Mapping[str, Any],
) -> tuple[Any, Any]:
    """Return the running averages after a mini-batch, and its cache."""
    _, cache = batch_norm.batch_norm_forward(**inputs, epsilon=epsilon)
    mean, variance = running["mean"], running["variance"]
    return batch_norm.update_running_averages(mean, variance, cache, **choices), cache


def _column(n: int, rng: np.random.Generator) -> Array:
    return rng.standard_normal((n, 1))


def _answers(inputs: Mapping[str, Array], running: Mapping[str, Array], epsilon: float) -> Quantity:
    """Return the output under running averages, and torch's."""
    arguments = {**inputs, **running}
    tensors = {name: to_torch(name, one) for name, one in arguments.items()}
    answers = batch_norm.batch_norm_predict(**arguments, epsilon=epsilon)
    wide = widened(batch_norm.batch_norm_predict, **arguments, epsilon=epsilon)
    other = their_batch_norm.batch_norm_predict(**tensors, epsilon=epsilon)
    gauge = np.abs(inputs["gamma"]) / np.sqrt(running["variance"] + epsilon)
    gauge = gauge * (np.abs(inputs["Z"]) + np.abs(running["mean"])) + np.abs(inputs["beta"])
    return Quantity(answers, columns(other), gauge, wider=wide)


@dataclass(frozen=True, kw_only=True)
class DropoutCase:
    """A mask given bit by bit, row after row, on A of shape (n, m)."""

    kept: tuple[tuple[bool, ...], ...]
    keep_prob: float
    kind: str
    seed: int


def check_dropout(case: DropoutCase) -> None:
    """Hold output and gradient against torch's, bit by bit; what is dropped gets neither."""
    rng = np.random.default_rng(case.seed)
    mask = np.array(case.kept) / case.keep_prob
    A, dA = draw(case.kind, mask.shape, rng), rng.standard_normal(mask.shape)
    output, cache = dropout.dropout_forward(A, mask)
    gradient = dropout.dropout_backward(dA, cache)["A"]
    layer = their_dropout.Dropout(case.keep_prob)
    layer.mask = rows(mask)
    input = rows(A).requires_grad_()
    expected = layer(input)
    (pulled,) = torch.autograd.grad(expected, input, rows(dA))
    assert_equal(output, columns(expected), "output")
    assert_equal(output, columns(their_dropout.dropout(rows(A), rows(mask))), "function")
    assert_equal(gradient, columns(pulled), "gradient of A")
    if gradient[mask == 0].any() or not np.array_equal(gradient != 0, (dA != 0) & (mask != 0)):
        raise AssertionError(f"gradient of A does not follow the mask: {gradient!r}, {mask!r}")


@dataclass(frozen=True, kw_only=True)
class CostCase:
    """A cost of n outputs and m examples: the first undecided, or every logit right and certain."""

    name: str
    n: int
    m: int
    kind: str
    certain: bool
    reduction: str
    seed: int


#: probabilities stay so far from 0 and 1: nearer, torch's gradient is clamped at 1e12.
CLAMPED = 1e-6


def check_cost(case: CostCase) -> None:
    """Hold a cost and its gradient against torch; where no logit is extreme, differences too."""
    rng = np.random.default_rng(case.seed)
    one_hot, logits = case.name.startswith("cross"), case.name.endswith("logits")
    Z = draw(case.kind, (case.n, case.m), rng)
    Z[:, 0] = rng.uniform(0.25, 0.75, case.n)
    if one_hot:
        Y = np.eye(case.n)[:, rng.integers(0, case.n, case.m)]
    else:
        Y = rng.integers(0, 2, (case.n, case.m)).astype(float)
    if case.certain and case.name == "binary_cross_entropy_with_logits":
        _assert_certain((2 * Y - 1) * np.maximum(np.abs(Z), 20), Y, case, rng)
        return
    letter, values = "Z", Z
    if not logits:
        letter, values = "A", softmax(Z, axis=0) if one_hot else expit(Z)
        values = np.clip(values, CLAMPED, 1 - CLAMPED)
    pair = COSTS[case.name]
    assert_twins(
        pair.forward,
        pair.backward,
        THEIR_COSTS[case.name],
        {letter: values},
        rng,
        constants={"Y": Y, "reduction": case.reduction},
        gauges=partial(_cost_gauges, case),
        differences=case.kind in SMOOTH,
        witnessed=2,
    )


def _assert_certain(Z: Array, Y: Array, case: CostCase, rng: np.random.Generator) -> None:
    """Hold a cost that is nearly nothing against SciPy's, and torch's within the round-off of Z.

    torch takes log sigma(Z) from (1 - Y) Z: where Y = 0 both are of the size of Z, and of a cost of
    e^-20 seven digits are left.
    """
    pair = COSTS[case.name]
    A, divisor = expit(Z), 1 if case.reduction == "sum" else case.m

    def gauges(arguments: Mapping[str, Any], dJ: Array) -> dict[str, Array]:
        return {
            "output": np.abs(Z).sum() / divisor,
            "Z": np.abs(dJ) * (A + np.abs(A - Y)) / divisor,
        }

    exact = -log_expit((2 * Y - 1) * Z).sum() / divisor
    assert_close(pair.forward(Z, Y, case.reduction)[0], exact, "cost of certain answers")
    _assert_pair(
        lambda Z: pair.forward(Z, Y.astype(Z.dtype), case.reduction),
        pair.backward,
        lambda Z: THEIR_COSTS[case.name](Z, rows(Y), case.reduction),
        {"Z": Z},
        gauges,
        rng,
    )


def _cost_gauges(case: CostCase, arguments: Mapping[str, Any], dJ: Array) -> dict[str, Array]:
    """Return the gauges of a cost, a sum of terms that cannot cancel, and of its gradient."""
    Y = arguments["Y"]
    divisor = 1 if case.reduction == "sum" else case.m
    if case.name == "cross_entropy_with_logits":
        # the logarithm of a sum near 1 keeps its absolute error, one for each example
        pulled = _softmax_gauges({"Z": arguments["Z"]}, np.ones_like(Y))["output"] + Y
        J = COSTS[case.name].forward(arguments["Z"], Y, case.reduction)[0]
        return {
            "output": np.asarray(J + case.m / divisor),
            "Z": floored(np.abs(dJ) / divisor * pulled),
        }
    J = COSTS[case.name].forward(*(arguments[one] for one in arguments if one != "reduction"),
                                 case.reduction)[0]  # fmt: skip
    if case.name == "binary_cross_entropy":  # 1 - A rounds, and its logarithm with it
        return {"output": np.asarray(J + (1 - Y).sum() / divisor)}
    if case.name == "binary_cross_entropy_with_logits":  # torch takes two numbers like Z apart
        return {"output": np.asarray(J + np.abs((1 - Y) * arguments["Z"]).sum() / divisor)}
    return {"output": np.asarray(J)}
