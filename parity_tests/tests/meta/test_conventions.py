"""The convention registry: right translations inside their budget, wrong ones far outside."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from parity_tests import __main__ as command
from parity_tests import layer_dialects, registry
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.functions import MARGIN
from parity_tests.compare.ledger import LEDGER
from parity_tests.conventions import Convention, Refutation, examine, in_words
from parity_tests.cost_dialects import NETWORK
from scratch.network import cost_and_gradients

ROWS = {row.name: row for row in registry.REGISTRY}

#: what the courses' dialects and the errata of their notes come to, with the mistakes to be named.
EXPECTED = {
    "momentum": {"dampening=beta", "lr=alpha", "nesterov=True"},
    "momentum-without-averaging": {"lr=alpha * (1 - beta)"},
    "rmsprop": {"torch's default alpha", "epsilon inside the root"},
    "rmsprop-epsilon-inside": {"epsilon outside the root"},
    "adam": {"epsilon-hat form (Keras, TensorFlow, scikit-learn)", "without bias correction"},
    "adam-epsilon-inside": {"epsilon outside the root"},
    "adam-without-correction": {"torch.optim.Adam"},
    "l2": {"decay on the biases", "AdamW", "weight_decay=lambda"},
    "l1": {"lambda / (2 m)"},
    "dropout": {"p=keep_prob", "not divided by keep_prob"},
    "batch-norm-running-averages": {"momentum=beta", "torch's variance for 1/m"},
    "xavier": {"xavier_normal_"},
    "he": {'mode="fan_out"'},
    "input-normalization": {"correction=1, torch's default"},
    "inverse-time-decay": {"stepping once too early", "lambda epoch: 1 / (1 + decay * epoch)"},
    "interval-decay": {"without the floor"},
    "exponential-decay": {"ExponentialLR from alpha_0"},
    "natural-exponential-decay": {"gamma=1 - lambda"},
    "inverse-square-root-decay": {"k / sqrt(epoch + 2)"},
    "piecewise-constant": {"milestones=[6, 11]"},
    "cost-of-an-epoch": {"mean of batch means"},
    "clip-by-value": {"clip_grad_norm_"},
    "clip-by-global-norm": {"each tensor by its own norm", "limit / norm, without torch's 1e-6"},
    "binary-cross-entropy": {"BCELoss where A saturates", 'reduction="mean"'},
    "float32-products": {"TF32"},
    "relu-at-0": {"Z.clamp(min=0)"},
    "leaky-relu-at-0": {"torch.where(Z >= 0, Z, 0.01 * Z)"},
    "absolute-value-at-0": {"torch.where(w >= 0, w, -w)"},
    "moving-average": {"torch.optim.swa_utils", "without correction"},
    "averaging-window": {"1 - beta"},
    "normalization-over-sigma": {"X / sigma^2"},
    "batch-norm-under-the-root": {"(Z - mean) / (sigma^2 + epsilon)"},
    "softmax-backward": {"y - y_hat"},
    "softmax-denominator": {"the sum ends at l"},
    "dropout-keeps-below": {"0 where D is below keep_prob"},
    "dropout-mask-from-rand": {"D = randn"},
    "l2-gradient": {"dW = dZ A^T + lambda / m W"},
    "adam-moves-along-v-hat": {"v for v_hat"},
}
WRONG = [(row.name, wrong) for row in registry.REGISTRY for wrong in row.wrong]


@pytest.fixture(scope="module")
def findings():
    """Return what each convention measures."""
    with LEDGER.unrecorded():  # no test of a convention runs yet
        return {name: examine(row) for name, row in ROWS.items()}


@pytest.mark.parametrize("name", ROWS)
def test_the_right_translation_is_inside_its_budget(name):
    """Both sides of the library compute the course's values from the same draws."""
    finding = examine(ROWS[name])
    assert finding.failure == ""
    assert finding.right.eps <= finding.allowed


def present(row, wrong):
    """Return a refutation, or skip where this machine cannot measure it."""
    reason = ROWS[row].wrong[wrong].missing()
    if reason:
        pytest.skip(reason)
    return ROWS[row].wrong[wrong]


@pytest.mark.parametrize(("row", "wrong"), WRONG)
def test_the_wrong_translation_is_outside_by_its_margin(row, wrong, findings):
    """Each is measured to be off by its margin, which is a hundred budgets or more."""
    refutation, finding = present(row, wrong), findings[row]
    refuted = finding.wrong[wrong]
    assert refuted.failure == ""
    assert refuted.deviation.relative >= refutation.margin
    assert math.isinf(refutation.margin) or refuted.deviation.relative <= 20 * refutation.margin
    eps = np.finfo(np.float32 if row == "float32-products" else np.float64).eps
    assert refutation.margin >= MARGIN * finding.allowed * eps
    assert refutation.why


def momentum_by_hand(gradients, factor=0.1, beta=0.9, first=0.1, nesterov=False):
    """Return theta after v = beta v + factor g, the first g by `first`, in steps of 0.1 v."""
    theta, v = 0.0, 0.0
    for t, g in enumerate(gradients):
        v = beta * v + (factor if t else first) * g
        theta = theta - 0.1 * (factor * g + beta * v if nesterov else v)
    return {"theta": theta}


def rmsprop_by_hand(gradients, beta=0.9, inside=False, centered=False):
    """Return theta after steps of 0.1 along g / (sqrt(s) + 1e-8)."""
    theta, s, mean = 0.0, 0.0, 0.0
    for g in gradients:
        s, mean = beta * s + (1 - beta) * g**2, beta * mean + (1 - beta) * g
        spread = s - mean**2 if centered else s
        theta = theta - 0.1 * g / (np.sqrt(spread + 1e-8) if inside else np.sqrt(spread) + 1e-8)
    return {"theta": theta}


def adam_by_hand(gradients, alpha=0.1, ahead=0, form="", correct=(True, True), epsilon=1e-8):
    """Return theta after steps of Adam, its count ahead, one of its forms, or not corrected."""
    theta, v, s, largest = 0.0, 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1 + ahead):
        v, s = 0.9 * v + 0.1 * g, 0.999 * s + 0.001 * g**2
        largest = np.maximum(largest, s)
        v_hat = v / (1 - 0.9**t) if correct[0] else v
        s_hat = (largest if form == "amsgrad" else s) / (1 - 0.999**t if correct[1] else 1)
        root = np.sqrt(s_hat) + epsilon
        if form == "inside":
            root = np.sqrt(s_hat + epsilon)
        if form == "hat":  # epsilon meets the uncorrected root
            root = np.sqrt(s_hat) + epsilon / np.sqrt(1 - 0.999**t)
        theta = theta - alpha * v_hat / root
    return {"theta": theta}


COUNTS = np.arange(1, 21)


def rates(values):
    """Return 0.1 times these, the rates of a schedule."""
    return {"rates": 0.1 * np.asarray(values)}


def averages_by_hand(x, start=0.0, beta=0.9, ahead=None):
    """Return exponentially weighted averages, corrected by t + ahead unless that is None."""
    v, found = start, []
    for t, one in enumerate(x, start=1):
        v = beta * v + (1 - beta) * one
        found.append(v / (1 if ahead is None else 1 - beta ** (t + ahead)))
    return {"v": np.array(found)}


def batch_means_by_hand(parameters, X, Y, orders):
    """Return the mean of the costs of a tanh layer and a sigmoid in batches of 4, 4 and 2."""
    W1, b1, W2, b2 = (parameters[name].copy() for name in ("W1", "b1", "W2", "b2"))
    order, found = np.asarray(next(iter(orders))), []
    for chosen in (order[:4], order[4:8], order[8:]):
        x, y, m = X[:, chosen], Y[:, chosen], len(chosen)
        A1 = np.tanh(W1 @ x + b1)
        A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
        found.append(-np.sum(y * np.log(A2) + (1 - y) * np.log(1 - A2)) / m)
        dZ2 = (A2 - y) / m
        dZ1 = np.tensordot(W2, dZ2, axes=(0, 0)) * (1 - A1**2)
        for theta, slope in (
            (W1, np.inner(dZ1, x)),
            (b1, dZ1.sum(axis=1, keepdims=True)),
            (W2, np.inner(dZ2, A1)),
            (b2, dZ2.sum(axis=1, keepdims=True)),
        ):
            theta -= 0.5 * slope
    return {"cost": np.array([np.mean(found)])}


def running_by_hand(batches, beta=0.9, unbiased=True):
    """Return the running mean and variance, the latter with m / (m - 1) or not."""
    mean, variance = np.zeros((3, 1)), np.ones((3, 1))
    for batch in batches:
        m = batch.shape[1]
        each = batch.var(axis=1, keepdims=True) * (m / (m - 1) if unbiased else 1)
        mean = beta * mean + (1 - beta) * batch.mean(axis=1, keepdims=True)
        variance = beta * variance + (1 - beta) * each
    return {"mean": mean, "variance": variance}


def weights_of(parameters):
    """Return theta where it is an entry of W, 0 where it is one of b."""
    kept = [view.ravel() * name.startswith("W") for name, view in parameters.items()]
    return np.concatenate(kept)


def decayed_by_hand(decay, biases=False):
    """Return a descent of twenty steps along the unpenalized gradients and decay W."""

    def descended(parameters, X, Y):
        moved = parameters.copy()
        for _ in range(20):
            slope = cost_and_gradients(moved, X, Y, NETWORK)[1].theta
            shrunk = moved.theta if biases else weights_of(moved)
            moved.theta[:] -= 0.1 * (slope + decay * shrunk)
        return {"theta by gradient descent": moved.theta}

    return descended


def l1_by_hand(pull):
    """Return the gradients, (3, 7) inputs, with the pull of a penalty on the weights."""

    def pulled(parameters, X, Y):
        slope = cost_and_gradients(parameters, X, Y, NETWORK)[1].theta
        return {"gradients": slope + pull(weights_of(parameters))}

    return pulled


def l2_slip_by_hand(parameters, X, Y):
    """Return m dW - (m - 1) lambda / m W of the right gradients, and db as it is."""
    right = ROWS["l2-gradient"].ours(parameters=parameters, X=X, Y=Y)["gradients"]
    weights = np.concatenate(
        [np.full(view.size, name.startswith("W")) for name, view in parameters.items()]
    )
    m = X.shape[1]
    slipped = m * right - (m - 1) * 0.9 / m * parameters.theta
    return {"gradients": np.where(weights, slipped, right)}


def uniforms(A, seed):
    """Return the uniform draws that a mask is made of."""
    return np.random.default_rng(seed).random(A.shape)


def clipped_alone_by_hand(gradients, limit):
    """Return each tensor by its own norm."""
    views = [view * limit / (np.sqrt(np.sum(view**2)) + 1e-6) for _, view in gradients.items()]
    return {"gradients": np.concatenate([one.ravel() for one in views])}


def clipped_together_by_hand(gradients, limit, epsilon=1e-6):
    """Return all by their common norm."""
    theta = gradients.theta
    return {"gradients": theta * limit / (np.sqrt(np.sum(theta**2)) + epsilon)}


#: the wrong values by their own formula, in NumPy: each mistake is the one that it is called.
BY_HAND = {
    ("momentum", "dampening=beta"): lambda gradients: momentum_by_hand(gradients, first=1.0),
    ("momentum", "lr=alpha"): lambda gradients: momentum_by_hand(gradients, 1.0, first=1.0),
    ("momentum", "nesterov=True"): lambda gradients: momentum_by_hand(gradients, nesterov=True),
    ("momentum-without-averaging", "lr=alpha * (1 - beta)"): momentum_by_hand,
    ("rmsprop", "torch's default alpha"): lambda gradients: rmsprop_by_hand(gradients, 0.99),
    ("rmsprop", "alpha=1 - beta"): lambda gradients: rmsprop_by_hand(gradients, 0.1),
    ("rmsprop", "centered=True"): lambda gradients: rmsprop_by_hand(gradients, centered=True),
    ("rmsprop", "epsilon inside the root"): lambda gradients: rmsprop_by_hand(
        gradients, inside=True
    ),
    ("rmsprop-epsilon-inside", "epsilon outside the root"): rmsprop_by_hand,
    ("adam", "epsilon-hat form (Keras, TensorFlow, scikit-learn)"): lambda gradients: adam_by_hand(
        gradients, form="hat"
    ),
    ("adam", "eps=1e-7 (Keras)"): lambda gradients: adam_by_hand(gradients, epsilon=1e-7),
    ("adam", "epsilon inside the root"): lambda gradients: adam_by_hand(gradients, form="inside"),
    ("adam", "without bias correction"): lambda gradients: adam_by_hand(
        gradients, correct=(False, False)
    ),
    ("adam", "t begins at 2"): lambda gradients: adam_by_hand(gradients, ahead=1),
    ("adam", "amsgrad=True"): lambda gradients: adam_by_hand(gradients, form="amsgrad"),
    ("adam", "lr left out"): lambda gradients: adam_by_hand(gradients, alpha=0.001),
    ("adam-epsilon-inside", "epsilon outside the root"): adam_by_hand,
    ("adam-without-correction", "torch.optim.Adam"): adam_by_hand,
    ("adam-moves-along-v-hat", "v for v_hat"): lambda gradients: adam_by_hand(
        gradients, correct=(False, True)
    ),
    ("inverse-time-decay", "lambda epoch: 1 / (1 + decay * epoch)"): lambda decay: rates(
        1 / (1 + decay * (COUNTS - 1))
    ),
    ("inverse-time-decay", "stepping once too early"): lambda decay: rates(
        1 / (1 + decay * (COUNTS + 1))
    ),
    ("inverse-time-decay", "MultiplicativeLR"): lambda decay: rates(
        np.cumprod([1, *(1 / (1 + decay * COUNTS[1:]))])
    ),
    ("interval-decay", "without the floor"): lambda decay: rates(1 / (1 + 0.1 * COUNTS)),
    ("interval-decay", "StepLR"): lambda decay: rates(1.5 ** -((COUNTS - 1) // 5.0)),
    ("exponential-decay", "ExponentialLR from alpha_0"): lambda decay: rates(0.95 ** (COUNTS - 1)),
    ("natural-exponential-decay", "gamma=1 - lambda"): lambda decay: rates((1 - decay) ** COUNTS),
    ("natural-exponential-decay", "gamma=lambda"): lambda decay: rates(decay**COUNTS),
    ("inverse-square-root-decay", "k / sqrt(epoch + 2)"): lambda decay: rates(
        1.5 / np.sqrt(COUNTS + 1)
    ),
    ("piecewise-constant", "milestones=[6, 11]"): lambda decay: rates(
        0.5 ** ((COUNTS > 6) * 1 + (COUNTS > 11) * 1)
    ),
    ("piecewise-constant", "gamma=0.05"): lambda decay: rates(
        0.05 ** ((COUNTS > 5) * 1 + (COUNTS > 10) * 1)
    ),
    ("moving-average", "torch.optim.swa_utils"): lambda x: averages_by_hand(x, start=x[0]),
    ("moving-average", "without correction"): averages_by_hand,
    ("moving-average", "beta for 1 - beta"): lambda x: averages_by_hand(x, beta=0.1, ahead=0),
    ("moving-average", "corrected by t + 1"): lambda x: averages_by_hand(x, ahead=1),
    ("cost-of-an-epoch", "mean of batch means"): batch_means_by_hand,
    ("averaging-window", "1 - beta"): lambda beta: {"days": 1 - beta},
    ("averaging-window", "pandas' span"): lambda beta: {"days": 2 / (1 - beta) - 1},
    ("beta-on-a-log-scale", "beta uniform"): lambda u: {"1 - beta": 0.1 - 0.099 * u},
    ("beta-on-a-log-scale", "beta itself on a log scale"): lambda u: {
        "1 - beta": 1 - 0.9 * (0.999 / 0.9) ** u
    },
    ("l2", "decay on the biases"): decayed_by_hand(0.9 / 7, biases=True),
    ("l2", "weight_decay=lambda"): decayed_by_hand(0.9),
    ("l2", "weight_decay=lambda / (2 m)"): decayed_by_hand(0.9 / (2 * 7)),
    ("l1", "lambda / (2 m)"): l1_by_hand(lambda W: 0.9 / (2 * 7) * np.sign(W)),
    ("l1", "weight_decay"): l1_by_hand(lambda W: 0.9 / 7 * W),
    ("clip-by-value", "clip_grad_norm_"): clipped_together_by_hand,
    ("clip-by-global-norm", "each tensor by its own norm"): clipped_alone_by_hand,
    ("clip-by-global-norm", "limit / norm, without torch's 1e-6"): lambda gradients, limit: (
        clipped_together_by_hand(gradients, limit, 0.0)
    ),
    ("batch-norm-running-averages", "momentum=beta"): lambda batches, Z: running_by_hand(
        batches, 0.1
    ),
    ("batch-norm-running-averages", "torch's variance for 1/m"): lambda batches, Z: running_by_hand(
        batches
    ),
    ("batch-norm-running-averages", "1/m for torch's variance"): lambda batches, Z: {
        "unbiased variance": running_by_hand(batches, unbiased=False)["variance"]
    },
    ("dropout", "not divided by keep_prob"): lambda A, upstream, seed: {
        "output": A * (ROWS["dropout"].ours(A, upstream, seed)["output"] != 0)
    },
    ("xavier", "xavier_normal_"): lambda seed: {"scale": np.sqrt(2 / (25 + 40))},
    ("xavier", "kaiming_normal_ as it is"): lambda seed: {"scale": np.sqrt(2 / 25)},
    ("he", 'mode="fan_out"'): lambda seed: {"scale": np.sqrt(2 / 40)},
    ("input-normalization", "correction=1, torch's default"): lambda X: {
        "variance": X.var(axis=1, keepdims=True) * 9 / 8
    },
    ("normalization-over-sigma", "X / sigma^2"): lambda X: {
        "X": (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True) ** 2
    },
    ("batch-norm-under-the-root", "(Z - mean) / (sigma^2 + epsilon)"): lambda Z, gamma, beta: {
        "output": beta
        + gamma * (Z - Z.mean(axis=1, keepdims=True)) / (Z.std(axis=1, keepdims=True) ** 2 + 1e-5)
    },
    ("softmax-backward", "y - y_hat"): lambda Z, Y: {
        "gradient from Z": (Y - np.exp(Z) / np.exp(Z).sum(axis=0)) / Z.shape[1]
    },
    ("softmax-denominator", "the sum ends at l"): lambda Z, upstream: {
        "output": np.exp(Z) / (np.exp(Z[0]) + np.exp(Z[1]))
    },
    ("dropout-keeps-below", "0 where D is below keep_prob"): lambda A, keep_prob, seed: {
        "share kept": np.mean(uniforms(A, seed) >= 0.8)
    },
    ("dropout-mask-from-rand", "D = randn"): lambda A, keep_prob, seed: {
        "share kept": np.mean(np.random.default_rng(seed).standard_normal(A.shape) < 0.5)
    },
    ("l2-gradient", "dW = dZ A^T + lambda / m W"): l2_slip_by_hand,
}


@pytest.mark.parametrize(("row", "wrong"), BY_HAND)
def test_a_mistake_is_the_one_that_it_is_called(row, wrong):
    """Its values are those of the wrong formula, written down once more."""
    draws = ROWS[row].draws()
    values, expected = ROWS[row].wrong[wrong].values(**draws), BY_HAND[row, wrong](**draws)
    assert expected
    for quantity, value in expected.items():
        np.testing.assert_allclose(values[quantity], value, rtol=1e-9, atol=1e-13)


def equal_gradients(steps=1):
    """Return equal gradients, so large that an epsilon of 1e-8 is as good as none."""
    return {"gradients": np.full((steps, 3), 1e4)}


#: how many times the right value each mistake is, by its formula; None takes the row's draws.
RATIOS = [
    ("momentum", "lr=alpha", equal_gradients(20), "theta", 1 / (1 - 0.9)),
    ("momentum", "dampening=beta", equal_gradients(), "theta", 1 / (1 - 0.9)),
    ("momentum-without-averaging", "lr=alpha * (1 - beta)", equal_gradients(20), "theta", 1 - 0.9),
    (
        "rmsprop",
        "torch's default alpha",
        equal_gradients(),
        "theta",
        math.sqrt((1 - 0.9) / (1 - 0.99)),
    ),
    (
        "adam",
        "without bias correction",
        equal_gradients(),
        "theta",
        (1 - 0.9) / math.sqrt(1 - 0.999),
    ),
    (
        "adam-without-correction",
        "torch.optim.Adam",
        equal_gradients(),
        "theta",
        math.sqrt(0.001) / 0.1,
    ),
    ("adam-moves-along-v-hat", "v for v_hat", equal_gradients(), "theta", 1 - 0.9),
    ("adam", "lr left out", equal_gradients(20), "theta", 0.001 / 0.1),
    ("dropout", "not divided by keep_prob", None, "output", 0.8),
    ("xavier", "kaiming_normal_ as it is", None, "scale", math.sqrt(2)),
    ("input-normalization", "correction=1, torch's default", None, "variance", 9 / 8),
    ("softmax-backward", "y - y_hat", None, "gradient from Z", -1),
    ("binary-cross-entropy", 'reduction="mean"', None, "J from A", 1 / 3),
]


@pytest.mark.parametrize(("row", "wrong", "draws", "quantity", "ratio"), RATIOS)
def test_a_known_divergence_has_its_formula(row, wrong, draws, quantity, ratio):
    """Where a mistake is off by a factor, the factor is exact."""
    draws = draws or ROWS[row].draws()
    right, value = ROWS[row].ours(**draws), ROWS[row].wrong[wrong].values(**draws)
    np.testing.assert_allclose(value[quantity], ratio * right[quantity], rtol=1e-9)


def test_the_textbooks_clip_is_longer_by_the_epsilon_over_the_norm():
    """The ratio is 1 + 1e-6 / norm, to all digits."""
    row = ROWS["clip-by-global-norm"]
    draws = row.draws()
    norm = np.sqrt(np.sum(draws["gradients"].theta ** 2))
    wrong = row.wrong["limit / norm, without torch's 1e-6"].values(**draws)["gradients"]
    right = row.ours(**draws)["gradients"]
    np.testing.assert_allclose(wrong / right - 1, 1e-6 / norm, rtol=1e-8)


def test_units_that_p_for_keep_prob_leaves_are_five_times_as_large():
    """One in five is left of many, scaled by 1 / (1 - keep_prob)."""
    A = np.ones((100, 100))
    wrong = ROWS["dropout"].wrong["p=keep_prob"].values(A=A, upstream=A, seed=3)["output"]
    np.testing.assert_allclose(wrong[wrong != 0], 1 / (1 - 0.8), rtol=1e-12)
    assert np.mean(wrong != 0) == pytest.approx(0.2, abs=5 * math.sqrt(0.2 * 0.8 / A.size))


@pytest.mark.parametrize(("row", "wrong"), WRONG)
def test_the_wrong_translation_would_not_pass_as_the_right_one(row, wrong):
    """Put in the place of torch's values, what is refuted fails the comparison itself."""
    refutation, honest = present(row, wrong), ROWS[row]

    def theirs(**draws):
        return {**honest.theirs(**draws), **refutation.values(**draws)}

    with LEDGER.unrecorded():
        assert examine(replace(honest, theirs=theirs, wrong={})).failure


#: slips in what to type, of each kind of row: what stands there, and what somebody types instead.
SLIPS = [
    ("momentum", "alpha * (1 - beta)", "alpha"),
    ("momentum", "momentum=beta", "momentum=beta, dampening=beta"),
    ("momentum-without-averaging", "lr=alpha", "lr=alpha * (1 - beta)"),
    ("rmsprop", "alpha=beta, ", ""),
    ("rmsprop-epsilon-inside", "_inside_root=True", "_inside_root=False"),
    ("adam", "eps=epsilon", "eps=1e-7"),
    ("adam", "(beta1, beta2)", "(beta2, beta1)"),
    ("adam-epsilon-inside", ", epsilon_inside_root=True", ""),
    ("adam-without-correction", "=False", "=True"),
    ("inverse-time-decay", "(epoch + 1)", "epoch"),
    ("interval-decay", "(epoch + 1)", "epoch"),
    ("exponential-decay", "gamma=rate", "gamma=1 - rate"),
    ("natural-exponential-decay", "math.exp(-decay)", "1 - decay"),
    ("inverse-square-root-decay", "epoch + 1", "epoch + 2"),
    ("piecewise-constant", "[5, 10]", "[6, 11]"),
    ("moving-average", "1 - beta)", "beta)"),
    ("averaging-window", "1 / (1 - beta)", "1 - beta"),
    ("relu-at-0", "torch.nn.ReLU()", "lambda Z: Z.clamp(min=0)"),
    ("leaky-relu-at-0", "0.01", "0.1"),
    ("absolute-value-at-0", "w.abs()", "torch.where(w >= 0, w, -w)"),
    ("softmax", "dim=1", "dim=0"),
    ("binary-cross-entropy", '"sum"', '"mean"'),
    ("cross-entropy", "(Z, Y)", "(Z.softmax(1), Y)"),
    ("l2", "lambda_ / m", "lambda_ / (2 * m)"),
    ("l2", '{"params": biases}', '{"params": biases, "weight_decay": lambda_ / m}'),
    ("l1", "lambda_ / m", "lambda_ / (2 * m)"),
    ("clip-by-value", "value_", "norm_"),
    ("clip-by-global-norm", "limit)", "2 * limit)"),
    ("dropout", "1 - keep_prob", "keep_prob"),
    ("batch-norm-running-averages", "1 - beta", "beta"),
    ("xavier", ', nonlinearity="linear"', ""),
    ("he", ', nonlinearity="relu"', ', mode="fan_out"'),
    ("input-normalization", "0, correction=0", "0"),
    ("float32-products", '"highest"', '"high"'),
    ("normalization-over-sigma", ".std(", ".var("),
    ("batch-norm-under-the-root", "training=True", "training=True, eps=1e-3"),
    ("softmax-backward", " / m", ""),
    ("softmax-denominator", "dim=1", "dim=0"),
    ("dropout-keeps-below", "<", ">="),
    ("dropout-mask-from-rand", " / keep_prob", " * 1.0"),
    ("l2-gradient", "(2 * m)", "m"),
    ("adam-moves-along-v-hat", "eps=epsilon", "eps=1e-3"),
]


@pytest.mark.parametrize(("name", "right", "slip"), SLIPS)
def test_a_slip_in_what_to_type_is_measured(name, right, slip):
    """The text itself is evaluated: spelled otherwise, the row fails in the quantity as typed."""
    row = ROWS[name]
    assert row.torch.count(right)
    slipped = replace(row, torch=row.torch.replace(right, slip, 1), wrong={})
    with LEDGER.unrecorded():
        assert "as typed" in examine(slipped).failure


def test_what_is_typed_is_evaluated_wherever_it_is_an_expression():
    """All but three texts are, and each of those is slipped above."""
    words = {"cost-of-an-epoch", "rotation", "beta-on-a-log-scale"}
    assert {row.name for row in registry.REGISTRY if row.typed is None} == words
    assert {name for name, *_ in SLIPS} == ROWS.keys() - words


def test_every_dialect_and_erratum_has_its_row():
    """No row of the list is missing, nor any mistake that it names."""
    assert len(ROWS) == len(registry.REGISTRY)
    for name, wrong in EXPECTED.items():
        assert wrong <= ROWS[name].wrong.keys(), name
    assert all(row.wrong and row.course and row.torch and row.source for row in ROWS.values())


@pytest.mark.parametrize("name", ROWS)
def test_mistakes_of_a_row_are_not_the_same_mistake(name, findings):
    """No two of them are off by the same, as a copied refutation would be."""
    measured = [one.deviation for one in findings[name].wrong.values() if one.deviation]
    assert len(set(measured)) == len(measured)


def test_measuring_leaves_no_trace():
    """The same numbers again, whatever came before; global generators and settings as they were."""
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global state is what is watched
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)  # no state that a row leaves behind
        before = torch.get_rng_state()
        for name in ("adam", "dropout", "batch-norm-running-averages", "l2"):
            first, second = (repr(examine(ROWS[name])[1:]) for _ in range(2))
            assert first == second
        assert torch.equal(before, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == legacy  # noqa: NPY002
    narrow = ROWS["float32-products"]
    narrow.wrong["TF32"].values(**narrow.draws())
    assert torch.get_float32_matmul_precision() == "highest"


def test_another_precision_is_noticed():
    """Where torch may round products to fewer bits, the row of float32 products fails."""
    torch.set_float32_matmul_precision("high")
    try:
        with LEDGER.unrecorded():
            assert "bits of the significand differs" in examine(ROWS["float32-products"]).failure
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("found", "capability", "able"),
    [("cpu", None, False), ("cuda", (7, 5), False), ("cuda", (8, 0), True), ("cuda", (9, 0), True)],
)
def test_rounding_to_tf32_is_measured_where_there_is_any(found, capability, able, monkeypatch):
    """A CUDA device before Ampere rounds nothing, and is skipped as none is."""
    monkeypatch.setattr(layer_dialects, "DEVICE", found)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    reason = "" if able else "no CUDA device of capability 8.0 is here"
    assert ROWS["float32-products"].wrong["TF32"].missing() == reason


def lie(x, factor=1.0):
    """Return a quantity, and another that is never wrong."""
    return {"y": factor * x, "z": x + 1}


HONEST = Convention(
    name="doubling",
    topic="arithmetic",
    course="y = x",
    torch="x.clone()",
    source="Peano",
    draw=lambda rng: {"x": rng.standard_normal((2, 3))},
    ours=lie,
    theirs=lie,
    wrong={"a tenth more": Refutation(values=lambda x: lie(x, 1.1), margin=0.05, why="x + x / 10")},
)


def refuted_by(**choices):
    """Return the honest convention with another refutation."""
    choices = {"values": lambda x: lie(x, 1.1), "margin": 0.05, "why": "", **choices}
    return replace(HONEST, wrong={"it": Refutation(**choices)})


LIES = {
    "right translation wrong": (
        replace(HONEST, theirs=lambda x: lie(x, 1 + 1e-14)),
        r"doubling: y differs at \(\d, \d\)",
    ),
    "right translation not finite": (
        replace(HONEST, theirs=lambda x: lie(x, np.nan)),
        "doubling: y: the reference is not finite",
    ),
    "right translation in float32": (
        replace(HONEST, theirs=lambda x: lie(x.astype("f4"))),
        "doubling: y: dtypes differ",
    ),
    "right translation of another shape": (
        replace(HONEST, theirs=lambda x: lie(x[:1])),
        "doubling: y: shapes differ",
    ),
    "all zeros": (
        replace(HONEST, ours=lambda x: lie(x, 0.0), theirs=lambda x: lie(x, 0.0), wrong={}),
        "doubling: y: the reference, at most 0, drowns",
    ),
    "refutation agrees": (refuted_by(values=lie), "doubling, it: y is off by 0 only"),
    "refutation misses its margin": (refuted_by(margin=0.2), "doubling, it: y is off by 0.1 only"),
    "margin within a hundred budgets": (
        refuted_by(margin=99 * 16 * np.finfo(float).eps),
        "doubling, it: its margin 3.5e-13 is not 100 times the budget",
    ),
    "budget as wide as the mistake": (
        replace(HONEST, budget=Budget(name="loose", relative=0.01)),
        "doubling, a tenth more: its margin 0.05 is not 100 times the budget",
    ),
    "refutation breaks instead": (
        refuted_by(values=lambda x: lie(x, np.nan)),
        "doubling, it: y is nan where .* is right: no number at all",
    ),
    "refutation does not break": (refuted_by(margin=math.inf), "expected at least inf"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_caught(name):
    """A row that is wrong in any way says so, in one sentence."""
    row, message = LIES[name]
    with LEDGER.unrecorded():
        failures = examine(row).failures
    assert any(re.search(message, failure) for failure in failures), failures


def test_an_honest_row_passes():
    """The row that the lies are made of has no failure, its mistake is off by a tenth."""
    with LEDGER.unrecorded():
        finding = examine(HONEST)
        assert finding.failures == []
        assert finding.wrong["a tenth more"].deviation.relative == pytest.approx(0.1)
        assert finding.allowed == FORWARD.eps
        nearly = examine(replace(HONEST, theirs=lambda x: lie(x, 1 + 1e-15)))
        assert (nearly.right.quantity, nearly.failures) == ("y", [])
        assert nearly.right.eps > 1
        broken = refuted_by(values=lambda x: lie(x, np.inf), margin=math.inf)
        assert examine(broken).failures == []


def test_rows_that_compare_nothing_are_refused():
    """Quantities must have a counterpart, of the same shape."""
    for row in (
        replace(HONEST, theirs=lambda x: {"y": x}),
        replace(HONEST, ours=lambda x: {}, theirs=lambda x: {}),
        refuted_by(values=lambda x: {}),
        refuted_by(values=lambda x: {"w": x}),
        refuted_by(values=lambda x: {"y": x[0]}),
        replace(HONEST, typed=lambda text, x: {}),
        replace(HONEST, typed=lambda text, x: {"w": x}),
    ):
        with LEDGER.unrecorded(), pytest.raises(ValueError, match=r"^expected "):
            examine(row)


def test_deviations_in_words():
    """People read percents and digits."""
    said = {
        math.inf: "no number at all",
        8.96: "off by 9 times the right value",
        0.221: "off by 22%",
        1.4e-5: "off from digit 5 on (1.4e-05)",
        0.0: "equal",
    }
    assert {relative: in_words(relative) for relative in said} == said


def present_tf32():
    """Return whether products can be rounded to TF32 here."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def run(capsys, *arguments):
    """Return the exit status and what was printed."""
    status = command.main(["conventions", *arguments])
    return status, capsys.readouterr().out


def test_the_table_has_every_row(capsys):
    """Each name, formula and mistake stands in it; it is ASCII, at most 120 characters across."""
    status, printed = run(capsys)
    assert status == 0
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 120
    for name in ROWS:
        assert re.search(rf"^{name.upper()} ", printed, re.MULTILINE)
    assert f"{len(ROWS)} conventions, " in printed
    assert "all right ones inside, all wrong ones out" in printed
    assert 'float32 matrix products at "highest" precision' in printed
    assert present_tf32() or "no CUDA device of capability 8.0 is here" in printed
    assert "FAIL" not in printed


def test_one_question_is_answered_in_detail(capsys):
    """`conventions adam` names what to type, and each mistake with its size and reason."""
    status, printed = run(capsys, "Adam")
    assert status == 0
    words = " ".join(printed.split())
    for expected in (
        "W = W - alpha v_hat / (sqrt(s_hat) + epsilon)",
        "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
        "of 64 eps allowed (optimizer round-off)",
        "WRONG epsilon-hat form (Keras, TensorFlow, scikit-learn): off by ",
        "visible at |g| ~ 1e-8",
        "v for v_hat",
        "AdamW",
    ):
        assert expected in words
    assert "DROPOUT" not in printed
    assert max(map(len, printed.splitlines())) <= 110


@pytest.mark.parametrize("word", ["", " "])
def test_a_blank_name_is_refused(word):
    """It is in every text, and asks for nothing."""
    with pytest.raises(ValueError, match=r"^expected names or topics of conventions, got "):
        registry.find([word], registry.REGISTRY)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["rmsprop"], ["rmsprop", "rmsprop-epsilon-inside"]),
        (["CLIPPING"], ["clip-by-value", "clip-by-global-norm"]),
        (["dampening"], ["momentum"]),
        (["he", "xavier_normal_"], ["xavier", "he"]),
        ([], list(ROWS)),
    ],
)
def test_rows_are_found_by_name_topic_or_mistake(words, found):
    """Case does not matter, and the order is the registry's."""
    names = [row.name for row in registry.find(words, registry.REGISTRY)]
    assert set(found) <= set(names)
    assert sorted(names, key=list(ROWS).index) == names
    if words != ["he", "xavier_normal_"]:
        assert names == found


def test_unknown_names_are_refused(capsys):
    """Status 2, and a list of what is known."""
    with pytest.raises(SystemExit) as refused:
        command.main(["conventions", "adam", "adamm"])
    assert refused.value.code == 2
    message = capsys.readouterr().err
    assert "got adamm" in message
    assert all(name in message for name in ROWS)


def test_a_failing_row_fails_the_command(capsys, monkeypatch):
    """Status 1, and the failure named, in the table and in detail."""
    for lie_told, said in (
        ("right translation wrong", "FAILS: doubling: y differs at"),
        ("refutation agrees", "FAILS: doubling, it: y is off by 0 only"),
    ):
        broken = LIES[lie_told][0]
        monkeypatch.setattr(registry, "REGISTRY", [ROWS["clip-by-value"], broken])
        with LEDGER.unrecorded():
            for arguments in ([], ["doubling"]):
                status, printed = run(capsys, *arguments)
                assert status == 1
                assert said in printed
                assert "1 FAIL" in printed


def test_wrong_and_right_values_are_told_apart(findings):
    """In detail each mistake stands with both values, to as many digits as they differ in."""
    for finding in findings.values():
        (ruler, *_), printed = registry.RULER.split(";"), registry.as_details([finding])
        assert printed.startswith(ruler)
        words = " ".join(printed.split())
        for one in finding.wrong.values():
            if one.deviation is not None:
                wrong, right = f"{one.deviation.value:.10g}", f"{one.deviation.course:.10g}"
                assert wrong != right
                assert f" is {wrong}, right is {right} " in words


def test_help_says_what_it_is_for(capsys):
    """Of the command, its exit statuses too; of `conventions`, what is measured."""
    said = []
    for arguments in (["--help"], ["conventions", "--help"]):
        with pytest.raises(SystemExit) as asked:
            command.main(arguments)
        assert asked.value.code == 0
        said.append(" ".join(capsys.readouterr().out.split()))
    assert "why torch's numbers differ from the course's" in said[0]
    assert "Exit status: 0 when every right translation is inside its budget" in said[0]
    assert "Measure, here and now, torch's spelling of each formula of the course" in said[1]


def test_an_interruption_is_no_traceback(capsys, monkeypatch):
    """Control-C in the middle of measuring: status 130, nothing printed."""

    def interrupted(convention):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "examine", interrupted)
    assert run(capsys, "adam") == (130, "")


def test_numbers_as_json(capsys, tmp_path):
    """Every number of the table and the versions, in JSON that any reader takes."""
    path = tmp_path / "made" / "here" / "conventions.json"
    status, _ = run(capsys, "absolute-value", "float32-products", "--json", str(path))

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    report = json.loads(path.read_text(), parse_constant=refuse)
    assert status == 0
    assert report["environment"]["torch"] == torch.__version__
    rows = {row["name"]: row for row in report["conventions"]}
    assert list(rows) == ["absolute-value-at-0", "float32-products"]
    broken = rows["absolute-value-at-0"]["wrong"]["(w ** 2).sqrt()"]
    assert broken["deviation"]["relative"] is None
    assert broken["margin"] is None
    for name, row in rows.items():
        for wrong, one in row["wrong"].items():
            margin = ROWS[name].wrong[wrong].margin
            assert one["margin"] == (None if math.isinf(margin) else margin)
    assert [one.name for one in path.parent.iterdir()] == ["conventions.json"]
    assert rows["float32-products"]["right"]["eps"] <= rows["float32-products"]["allowed_eps"]


def test_a_file_that_cannot_be_written_is_refused_before_the_work(capsys, monkeypatch, tmp_path):
    """Status 2 without a measurement, for a folder and for what would stand under a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(command, "examine", None)
    for path in (tmp_path, tmp_path / "file" / "a.json"):
        with pytest.raises(SystemExit) as refused:
            command.main(["conventions", "clip", "--json", str(path)])
        assert refused.value.code == 2
        assert "expected --json to name a file that can be written" in capsys.readouterr().err


def test_an_old_report_outlives_an_interruption(capsys, monkeypatch, tmp_path):
    """The file is written whole or not at all, and nothing is left beside it."""
    path = tmp_path / "a.json"
    path.write_text("old")

    def half(self, text):
        with self.open("w") as stream:
            stream.write(text[:9])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "write_text", half)
        assert run(capsys, "clip-by-value", "--json", str(path)) == (130, "")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_markdown_table_is_one(capsys):
    """Every line has four cells, bars inside them escaped."""
    _, printed = run(capsys, "--markdown")
    lines = printed.splitlines()
    assert len(lines) == len(ROWS) + 2
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines)


def test_the_command_runs_from_any_folder(tmp_path):
    """`python -m parity_tests` needs no file of the checkout."""
    ended = subprocess.run(
        [sys.executable, "-m", "parity_tests", "conventions", "clip-by-value"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CLIP-BY-VALUE (clipping)" in ended.stdout
