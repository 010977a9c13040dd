"""Batch norm: in training, its running averages, and at prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from parity_tests.compare.bridge import columns, rows, to_numpy, unload_running
from parity_tests.compare.gauges import batch_norm_gauges
from parity_tests.drawing import KINDS, Array, betas, draw, examples, powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation, evaluate
from parity_tests.twins._relations import mapped, same_under
from scratch import batch_norm as ours
from torch_ref import batch_norm as theirs
from torch_ref.network import Network

TAUGHT = 'Course 2, week 3, "Normalizing activations in a network"; torch.nn.functional.batch_norm'
AT_TEST_TIME = 'Course 2, week 3, "Batch norm at test time"; torch.nn.BatchNorm1d'

#: sizes of cases, none of all magnitudes: beside a Z of 1e12 epsilon is lost to rounding.
SIZES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(1, 5),
    "m": examples,
    "kind": st.sampled_from([kind for kind in KINDS if kind != "all magnitudes"]),
}
scales = st.sampled_from([1.0, 0.01, 100.0])


def draw_batch(rng: np.random.Generator, n: int = 4, m: int = 9, kind: str = "normal",
    scale: float = 2.0, epsilon: float = 1e-5) -> Case:  # fmt: skip
    """Draw a mini-batch off zero, gamma other than 1 and beta other than 0."""
    return {
        "Z": draw(kind, (n, m), rng, scale) + rng.integers(-3, 4, (n, 1)),
        "gamma": rng.choice([-1, 1], (n, 1)) * rng.uniform(0.5, 2, (n, 1)),
        "beta": rng.standard_normal((n, 1)),
        "epsilon": epsilon,
    }


def draw_averages(rng: np.random.Generator, n: int = 3) -> Case:
    return {"mean": rng.standard_normal((n, 1)), "variance": rng.uniform(0.1, 2, (n, 1))}


def moments(Z: Array) -> dict[str, Array]:
    return {"mean": Z.mean(axis=1, keepdims=True), "variance": Z.var(axis=1, keepdims=True)}


def has_its_moments(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the moments of each unit's output, and beta and gamma^2 v / (v + epsilon)."""
    output, variance = run("batch_norm", **case)["output"], moments(case["Z"])["variance"]
    shrunk = case["gamma"] ** 2 * variance / (variance + case["epsilon"])
    return moments(output), {"mean": case["beta"], "variance": shrunk}


def draw_update(rng: np.random.Generator, n: int = 3, m: int = 7, kind: str = "normal",
    scale: float = 2.0, decay: float = 0.9, unbiased: bool = False) -> Case:  # fmt: skip
    """Draw a mini-batch and the averages before it; the unbiased variance needs two examples."""
    Z = draw(kind, (n, m + (unbiased and m == 1)), rng, scale)
    return {**draw_averages(rng, n), "Z": Z, "decay": decay, "unbiased": unbiased}


def updated(Z: Array, **case: Any) -> tuple[Array, Array]:
    one = np.ones((len(Z), 1), Z.dtype)
    return ours.update_running_averages(**case, cache=ours.batch_norm_forward(Z, one, 0 * one)[1])


def update_gauges(mean: Array, variance: Array, Z: Array, decay: float, unbiased: bool) -> Values:
    """Return the gauges: torch adds (1 - decay) (batch - average), and 1 - decay rounds."""
    size, biased = np.abs(Z).max(axis=1, keepdims=True), Z.var(axis=1, keepdims=True)
    correction = Z.shape[1] / (Z.shape[1] - 1) if unbiased else 1.0
    spread = (1 - decay) * correction * (biased + size * np.sqrt(biased))
    total = variance + correction * biased + spread
    return {"running mean": np.abs(mean) + size, "running variance": total}


def draw_batches(rng: np.random.Generator, decay: float = 0.9) -> Case:
    """Draw mini-batches of three units, some of them short, and one to predict on."""
    batches = [2 * rng.standard_normal((3, m)) + 1 for m in (16, 5, 9, 2, 30, 3)]
    return {"batches": batches, "Z": 2 * rng.standard_normal((3, 4)) + 1, "decay": decay}


def tracked(batches: Sequence[Array], Z: Array, decay: float) -> Values:
    """Return our running averages after the batches, with 1/m and m/(m-1), and a prediction."""
    one, values = np.ones((3, 1), Z.dtype), {}
    for name, unbiased in (("unbiased variance", True), ("variance", False)):
        choices = ours.BatchNorm(decay=decay, unbiased=unbiased)
        kept = {"decay": choices.decay, "unbiased": choices.unbiased}
        mean, values[name] = 0 * one, one
        for batch in batches:
            mean, values[name] = updated(mean=mean, variance=values[name], Z=batch, **kept)
    prediction = ours.batch_norm_predict(Z, one, 0 * one, mean, values["variance"])
    return {**values, "mean": mean, "prediction": prediction}


def tracked_gauges(batches: Sequence[Array], Z: Array, decay: float) -> Values:
    """Return the gauges: a mean sums up entries of both signs, and the prediction takes it away.

    With beta near 0 torch subtracts nearly all of a larger old variance, and keeps its error.
    """
    size = max(np.abs(one).max() for one in batches)
    spread = max(one.var(axis=1, keepdims=True).max() for one in batches)
    variance = tracked(batches, Z, decay)["variance"]
    left = (np.abs(Z) + size) / np.sqrt(variance) * np.maximum(1, spread / variance)
    return {"mean": size, "prediction": left}


def tracked_by(layer: nn.BatchNorm1d, batches: Sequence[Array], Z: Array) -> Values:
    """Return the running averages of a layer of torch's and its prediction."""
    for batch in batches:
        layer(rows(batch))
    averages: Any = {"mean": layer.running_mean, "variance": layer.running_var}
    found = {name: to_numpy(name, one) for name, one in averages.items()}
    return {**found, "prediction": columns(layer.eval()(rows(Z)))}


def tracked_by_torch(decay: float, **case: Any) -> Values:
    unbiased, values = (
        tracked_by(theirs.BatchNorm(3, decay=decay, unbiased=one), **case) for one in (True, False)
    )
    return {**values, "unbiased variance": unbiased["variance"]}


def tracked_as_typed(text: str, decay: float, **case: Any) -> Values:
    values = tracked_by(evaluate(text, n=3, beta=decay).double(), **case)
    return {"mean": values["mean"], "unbiased variance": values["variance"]}


def draw_prediction(rng: np.random.Generator, n: int = 3, m: int = 7, **settings: Any) -> Case:
    return {**draw_batch(rng, n, m, **settings), **draw_averages(rng, n)}


def prediction_gauges(
    Z: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
) -> Values:
    """Return the gauge of the answers, in which Z - mean and beta may cancel."""
    factor = np.abs(gamma) / np.sqrt(variance + epsilon)
    return {"answers": factor * (np.abs(Z) + np.abs(mean)) + np.abs(beta)}


# fmt: off
BATCH_NORM: PairTwin = PairTwin(
    name="batch_norm",
    formula="Z_norm = (Z - mean) / sqrt(sigma^2 + epsilon);  Z~ = gamma Z_norm + beta",
    torch="torch.nn.functional.batch_norm(Z, None, None, gamma, beta, training=True)",
    typed=lambda text, Z, gamma, beta, **_: {"output": columns(evaluate(text, Z=rows(Z),
        gamma=torch.from_numpy(gamma.ravel()), beta=torch.from_numpy(beta.ravel())))},
    source=TAUGHT,
    proves=("batch_norm_forward", "batch_norm_backward"),
    ours=Pair(ours.batch_norm_forward, ours.batch_norm_backward), theirs=theirs.batch_norm,
    constants=("epsilon",),
    draw=draw_batch, cases={**SIZES, "scale": scales, "epsilon": powers(-12, -1)},
    # central differences see nothing where m <= 2: Z_norm is constant but for epsilon
    smooth=lambda kind="normal", m=9, **_: kind == "normal" and m > 2,
    edges={
        "one example, whose Z_norm is 0": {"m": 1},
        "two examples, whose gradient of Z is epsilon's": {"m": 2, "epsilon": 1e-2},
        "two examples under a large epsilon": {"m": 2, "epsilon": 10.0},
        "constant features": {"kind": "constant"},
        "features far off zero": {"scale": 1e-3, "epsilon": 1e-12}},
    gauges=batch_norm_gauges, weight=4,
    relations=(
        Relation(name="aZ + c under a^2 epsilon is Z",
            holds=same_under("batch_norm",
                lambda Z, epsilon, **_: {"Z": 4 * Z + 8, "epsilon": 16 * epsilon},
                mapped("gradient of Z", lambda dZ: 4 * dZ)),
            broken_by="epsilon beside the deviation",
            gauges=lambda **case: BATCH_NORM.sizes(case, {})),
        Relation(name="the output has mean beta and deviation gamma, but for epsilon",
            holds=has_its_moments, broken_by="(Z - mean) / (sigma^2 + epsilon)",
            gauges=lambda **case: {"mean": np.abs(case["beta"]) + 2 * np.abs(case["gamma"])})),
    mistakes=(
        Mistake(name="(Z - mean) / (sigma^2 + epsilon)", margin=0.1,
            seen="tensorflow/tensorflow issue 48039; mbadry1/DeepLearning.ai-Summary issue 183",
            why="without the root Z_norm has the variance 1 / sigma^2"),
        Mistake(name="epsilon beside the deviation", margin=1e-7,
            why="sigma + epsilon for sqrt(sigma^2 + epsilon): visible where sigma^2 is small"),
        Mistake(name="the mean is taken for a constant", margin=0.1,
            seen="mlpack/mlpack pull request 1327", why="the way through the mean is missing"),
        Mistake(name="the variance is taken for a constant", margin=0.1,
            seen="abhiskk/ladder issue 2: the variance is detached",
            why="the way through the variance is missing")))

UPDATE = FunctionTwin(
    name="update_running_averages",
    formula="average = beta average + (1 - beta) batch's, of mean and variance",
    source=AT_TEST_TIME,
    proves=("update_running_averages",), ours=updated, theirs=theirs.update_running_averages,
    names=("running mean", "running variance"),
    draw=draw_update, cases={**SIZES, "scale": scales, "decay": betas, "unbiased": st.booleans()},
    edges={
        "one example": {"m": 1}, "nothing kept": {"decay": 0.0},
        "the unbiased variance of two examples": {"m": 2, "unbiased": True}},
    gauges=update_gauges, weight=2)

RUNNING = FunctionTwin(
    name="batch-norm-running-averages",
    formula="average = beta average + (1 - beta) batch's, of mean and variance with 1/m",
    torch="torch.nn.BatchNorm1d(n, momentum=1 - beta); its running variance carries m / (m - 1); "
    "torch_ref.batch_norm.BatchNorm(n, decay=beta) has 1/m",
    typed=tracked_as_typed,
    source=AT_TEST_TIME,
    proves=("BatchNorm",), ours=tracked, theirs=tracked_by_torch, bridge=None,
    draw=draw_batches, cases={"decay": betas},
    edges={"the last batch alone": {"decay": 0.0}, "half": {"decay": 0.5}}, gauges=tracked_gauges,
    mistakes=(
        Mistake(name="momentum=beta", margin=0.1,
            why="torch's momentum weighs the new batch, the course's beta the past"),
        Mistake(name="torch's variance for 1/m", margin=0.05,
            why="torch normalizes with 1/m but remembers m / (m - 1) of it"),
        Mistake(name="1/m for torch's variance", margin=0.05,
            why="the biased variance is smaller than torch's running_var",
            values=lambda **case: {"unbiased variance": tracked(**case)["variance"]}),
        Mistake(name="eval() forgotten", margin=0.1,
            why="a module in training mode normalizes by the batch it predicts on",
            values=lambda Z, **_: {"prediction": columns(nn.BatchNorm1d(3).double()(rows(Z)))})))

START = FunctionTwin(
    name="running_averages",
    formula="mean 0 and variance 1 for each hidden layer, none for the output",
    source="torch.nn.BatchNorm1d, which begins with the same",
    proves=("running_averages",), ours=ours.running_averages, exact=True,
    theirs=lambda layer_sizes, dtype: unload_running(Network(
        layer_sizes=layer_sizes, batch_norm=theirs.BatchNorm, dtype=getattr(torch, dtype))),
    draw=lambda rng, layer_sizes=(3, 5, 4, 2), dtype="float64": {
        "layer_sizes": tuple(layer_sizes), "dtype": dtype},
    cases={"layer_sizes": st.lists(st.integers(1, 6), min_size=3, max_size=5),
        "dtype": st.sampled_from(["float32", "float64"])},
    weight=0.2)

PREDICTION = FunctionTwin(
    name="batch_norm_predict",
    formula="Z~ = gamma (Z - mean) / sqrt(variance + epsilon) + beta, under running averages",
    source=AT_TEST_TIME,
    proves=("batch_norm_predict",), ours=ours.batch_norm_predict, theirs=theirs.batch_norm_predict,
    names=("answers",), draw=draw_prediction, cases={**SIZES, "epsilon": powers(-12, 0)},
    edges={"one example": {"m": 1}, "a large epsilon": {"epsilon": 0.5}},
    gauges=prediction_gauges, float32=True)
# fmt: on

TWINS = (BATCH_NORM, UPDATE, RUNNING, START, PREDICTION)
