"""Input normalization: mean and variance of the training set, applied to all, and the way back."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.stats
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.measurement import Array
from parity_tests.drawing import draw, examples, moderate_kinds
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._relations import mistyped, spoilt
from scratch import normalization as ours
from torch_ref import normalization as theirs

SOURCE = 'Course 2, week 1, "Normalizing inputs"; '


def draw_sets(rng: np.random.Generator, n_x: int = 3, m: int = 9, m_dev: int = 7,
    kind: str = "normal", offset: float = 3.0, spread: float = 9.0,
    value: float = 0.0) -> Case:  # fmt: skip
    """Draw a training set of a kind, or of one value, and a dev set with its means and spreads."""
    mean, sigma = offset * rng.standard_normal((n_x, 1)), rng.uniform(2, spread, (n_x, 1))
    X = mean + sigma * draw(kind, (n_x, m), rng)
    dev = mean + sigma * rng.standard_normal((n_x, m_dev))
    return {"X": np.full_like(X, value) if value else X, "dev": dev}


def both_sets(side: Any, X: Any, dev: Any) -> Values:
    """Return the statistics of one side, both sets normalized by them, and those taken back."""
    statistics = side.fit(X)
    values = dict(statistics._asdict())
    for name, inputs in (("train", X), ("dev", dev)):
        normalized = side.normalize(inputs, statistics)
        values[f"normalized {name}"] = normalized
        values[f"{name} again"] = side.denormalize(normalized, statistics)
    return values


def set_gauges(X: Array, dev: Array) -> Values:
    """Return the gauges: Z = (X - mean) / sigma loses what cancels in X - mean and in sigma."""
    mean, variance = X.mean(axis=1, keepdims=True), X.var(axis=1, keepdims=True)
    size, eps = np.abs(X).max(axis=1, keepdims=True), np.finfo(X.dtype).eps
    E_variance = size * np.sqrt(variance) + variance + np.square(size) * eps
    varied = np.ptp(X, axis=1, keepdims=True) > 0  # a constant feature is its mean, to the bit
    divisor = np.where(varied, variance, 1)
    gauges = {"mean": size * varied, "variance": E_variance}
    for name, inputs in (("train", X), ("dev", dev)):
        size = np.abs(np.concatenate([inputs, X], axis=1)).max(axis=1, keepdims=True)
        of_sigma = np.abs(inputs - mean) * E_variance / divisor
        gauges[f"normalized {name}"] = (size + of_sigma) / np.sqrt(divisor)
        gauges[f"{name} again"] = size
    return gauges


def agrees_with_scipy(run: Any, X: Array, dev: Array) -> tuple[Values, Values]:
    """Return z-scores, in very small units too, their variance, and the set's times m."""
    values, small = (run("input-normalization", X=unit * X, dev=dev) for unit in (1, 2.0**-300))
    again = run("input-normalization", X=values["normalized train"], dev=dev)
    m, expected = X.shape[1], scipy.stats.zscore(X, axis=1, ddof=0)
    return {
        "z-scores": values["normalized train"],
        "scaled": small["normalized train"],
        "variance afterwards": again["variance"],
        "corrected variance": m * values["variance"],
    }, {
        **dict.fromkeys(["z-scores", "scaled"], expected),
        "variance afterwards": np.ones((len(X), 1)),
        "corrected variance": (m - 1) * X.var(axis=1, ddof=1, keepdims=True),
    }


def comes_back(run: Any, X: Array, dev: Array) -> tuple[Values, Values]:
    values = run("input-normalization", X=X, dev=dev)
    found = {f"original {name}": values[f"{name} again"] for name in ("train", "dev")}
    return found, {"original train": X, "original dev": dev}


def as_typed(text: str, name: str = "normalized train", **case: Any) -> Values:
    return {name: columns(evaluate(text, X=rows(case["X"])))}


def normalized(side: Any, X: Any, dev: Any) -> Any:
    return side.normalize(X, side.fit(X))


# fmt: off
TWINS = (
    FunctionTwin(
        name="input-normalization", topic="data",
        formula="X = (X - mean) / sigma, mean = 1/m sum X, sigma^2 = 1/m sum (X - mean)^2",
        torch="(X - X.mean(0)) / X.var(0, correction=0).sqrt()", typed=as_typed,
        source=SOURCE + "torch.var_mean", proves=("fit", "normalize", "denormalize"),
        ours=partial(both_sets, ours), theirs=partial(both_sets, theirs),
        draw=draw_sets, gauges=set_gauges, float32=True, weight=2,
        cases={"n_x": st.integers(1, 4), "m": examples | st.just(400), "m_dev": examples,
            "kind": moderate_kinds, "offset": st.sampled_from([3.0, 0.0, -300.0, 1e6]),
            "spread": st.sampled_from([9.0, 2.0, 40.0])},
        edges={
            "one example, which has no variance": {"m": 1}, "two examples": {"m": 2},
            "a mean of a million": {"offset": 1e6},
            "constant features, of another value in the dev set": {"kind": "constant"},
            "a constant whose sum is rounded": {"m": 77, "value": 0.1}},
        relations=(
            Relation(name="SciPy's z-scores, of variance 1, whatever the unit",
                holds=agrees_with_scipy, broken_by="correction=1, torch's default",
                gauges=lambda **case: dict.fromkeys(
                    ["z-scores", "scaled"], set_gauges(**case)["normalized train"])),
            Relation(name="denormalize takes back", holds=comes_back,
                broken_by=spoilt("dev again", lambda dev: dev - dev.mean()))),
        mistakes=mistyped(as_typed,
            ("correction=1, torch's default", 0.05,
             "torch divides by m - 1 unless told otherwise; NumPy's default is the course's",
             "(X - X.mean(0)) / X.var(0).sqrt()"))),

    FunctionTwin(
        name="normalization-over-sigma", topic="errata", formula="X = (X - mean) / sigma",
        torch="(X - X.mean(0)) / X.std(0, correction=0)",
        typed=partial(as_typed, name="normalized"), names=("normalized",),
        source=SOURCE + "torch.Tensor.sqrt", proves=("normalize",),
        ours=partial(normalized, ours), theirs=partial(normalized, theirs),
        draw=draw_sets, weight=0.1,
        mistakes=mistyped(partial(as_typed, name="normalized"),
            ("X / sigma^2", 0.3, "the variance becomes 1 / sigma^2, not 1",
             "(X - X.mean(0)) / X.var(0, correction=0)"))),
)
# fmt: on
