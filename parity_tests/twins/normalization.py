"""Input normalization: mean and variance of the training set, applied to all, and the way back."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.stats
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.measurement import Array
from parity_tests.drawing import draw, examples, moderate_kinds
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from scratch import normalization as ours
from torch_ref import normalization as theirs

SOURCE = 'Course 2, week 1, "Normalizing inputs"; '

CASES: dict[str, Any] = {
    "n_x": st.integers(1, 4),
    "m": examples,
    "kind": moderate_kinds,
    "offset": st.sampled_from([0.0, 1.0, -300.0, 1e6]),
}


def draw_training_set(rng: np.random.Generator, n_x: int = 3, m: int = 9, kind: str = "normal",
    offset: float = 1.0, value: float = 0.0) -> Case:  # fmt: skip
    """Draw features of a kind, moved by an offset; one value for all entries if it is given."""
    X = draw(kind, (n_x, m), rng) + offset
    return {"X": np.full_like(X, value) if value else X}


def statistics_gauges(X: Array) -> Values:
    """Return the gauges of mean and variance: what is summed, and what cancels in X - mean."""
    size, variance = np.abs(X).max(axis=1, keepdims=True), X.var(axis=1, keepdims=True)
    eps = np.finfo(X.dtype).eps
    return {"mean": size, "variance": size * np.sqrt(variance) + variance + np.square(size) * eps}


def draw_application(
    rng: np.random.Generator, n_x: int = 3, m_dev: int = 0, offset: float = 1.0, **settings: Any
) -> Case:
    """Draw the statistics of a training set of a kind, and a dev set, or take the training set."""
    train = draw_training_set(rng, n_x, offset=offset, **settings)["X"]
    dev = draw("normal", (n_x, m_dev), rng) + offset
    return {"X": dev if m_dev else train, "statistics": ours.fit(train)}


def application_gauges(X: Array, statistics: ours.Statistics) -> Values:
    """Return the gauge: sigma is 1 where the variance is 0."""
    sigma = np.sqrt(np.where(statistics.variance > 0, statistics.variance, 1))
    return {"normalized": np.abs(X - statistics.mean) / sigma}


def carried(statistics: ours.Statistics) -> theirs.Statistics:
    return theirs.Statistics(*(to_torch(*one) for one in statistics._asdict().items()))


def draw_sets(
    rng: np.random.Generator, m: int = 9, m_dev: int = 7, offset: float = 3.0, spread: float = 9.0
) -> Case:
    """Draw a training and a dev set of three features with means and spreads of their own."""
    mean, sigma = offset * rng.standard_normal((3, 1)), rng.uniform(2, spread, (3, 1))
    drawn = {"X": rng.standard_normal((3, m)), "dev": rng.standard_normal((3, m_dev))}
    return {name: mean + sigma * one for name, one in drawn.items()}


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
    mean, sigma = X.mean(axis=1, keepdims=True), X.std(axis=1, keepdims=True)
    gauges = {**statistics_gauges(X)}
    for name, inputs in (("train", X), ("dev", dev)):
        size = np.abs(np.concatenate([inputs, X], axis=1)).max(axis=1, keepdims=True)
        gauges[f"normalized {name}"] = size / sigma * (1 + np.abs(inputs - mean) / sigma)
        gauges[f"{name} again"] = size
    return gauges


def is_a_z_score(run: Any, X: Array, dev: Array) -> tuple[Values, Values]:
    """Return the normalized training set with its variance, and SciPy's z-scores with 1."""
    normalized = run("input-normalization", X=X, dev=dev)["normalized train"]
    found = {"z-scores": normalized, "variance afterwards": run("fit", X=normalized)["variance"]}
    expected = scipy.stats.zscore(X, axis=1, ddof=0)
    return found, {"z-scores": expected, "variance afterwards": np.ones((3, 1))}


def comes_back(run: Any, X: Array, dev: Array) -> tuple[Values, Values]:
    """Return both sets, normalized and taken back, and as they were."""
    values = run("input-normalization", X=X, dev=dev)
    found = {f"original {name}": values[f"{name} again"] for name in ("train", "dev")}
    return found, {"original train": X, "original dev": dev}


def knows_no_units(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the normalized training set in very small units, and in its own."""
    small = {name: 2.0**-300 * one for name, one in case.items()}
    values = (run("input-normalization", **one) for one in (small, case))
    first, second = ({"scaled": one["normalized train"]} for one in values)
    return first, second


def without_the_mean(honest: Any, X: Array, dev: Array) -> Values:
    """Return sets taken back without the mean."""
    mean, values = X.mean(axis=1, keepdims=True), honest(X=X, dev=dev)
    return {**values, "train again": X - mean, "dev again": dev - mean}


def over_another(variance_of: Any, X: Array, **_: Any) -> Values:
    """Return another variance, and the training set normalized by it."""
    variance = variance_of(X.var(axis=1, keepdims=True), X.shape[1])
    normalized = (X - X.mean(axis=1, keepdims=True)) / np.sqrt(variance)
    return {"variance": variance, "normalized train": normalized}


def centred_alone(run: Any, X: Array) -> None:
    """Hold constant features to a variance of 0 and their own value as mean, to the last bit."""
    values = run("fit", X=X)
    assert not np.any(values["variance"])
    assert np.array_equal(values["mean"], X[:, :1])


def by_plain_sums(honest: Any, X: Array, ddof: int = 0) -> Values:
    """Return mean and variance as NumPy has them: those of a constant feature are rounded."""
    variance = X.var(axis=1, ddof=ddof, keepdims=True)
    return {"mean": X.mean(axis=1, keepdims=True), "variance": variance}


def is_corrected(run: Any, X: Array) -> tuple[Values, Values]:
    """Return m times the variance, and m - 1 times torch's own."""
    variance, m = run("fit", X=X)["variance"], X.shape[1]
    corrected = (m - 1) * X.var(axis=1, ddof=1, keepdims=True)
    return {"corrected variance": m * variance}, {"corrected variance": corrected}


# fmt: off
TWINS = (
    FunctionTwin(
        name="input-normalization",
        topic="data",
        formula="X = (X - mean) / sigma, sigma^2 = 1/m sum (X - mean)^2",
        torch="(X - X.mean(0)) / X.var(0, correction=0).sqrt()",
        typed=lambda text, X, dev: {"normalized train": columns(evaluate(text, X=rows(X)))},
        source=SOURCE + "torch.var_mean",
        proves=("fit", "normalize", "denormalize"),
        ours=partial(both_sets, ours), theirs=partial(both_sets, theirs),
        draw=draw_sets,
        cases={"m": st.integers(2, 40), "m_dev": examples,
            "offset": st.sampled_from([3.0, 0.0, -300.0]),
            "spread": st.sampled_from([9.0, 2.0, 40.0])},
        edges={"two examples": {"m": 2}, "many examples": {"m": 400}},
        gauges=set_gauges, float32=True,
        relations=(
            Relation(name="SciPy's z-scores, of variance 1", holds=is_a_z_score,
                broken_by="correction=1, torch's default",
                gauges=lambda **case: {"z-scores": set_gauges(**case)["normalized train"]}),
            Relation(name="denormalize takes back", holds=comes_back, broken_by=without_the_mean),
            Relation(name="units change nothing", holds=knows_no_units,
                broken_by=lambda honest, **case: over_another(lambda v, m: v + 1e-8, **case),
                gauges=lambda **case: {"scaled": set_gauges(**case)["normalized train"]}),
        ),
        mistakes=(Mistake(name="correction=1, torch's default", margin=0.05,
            why="torch divides by m - 1 unless told otherwise; NumPy's default is the course's",
            values=partial(over_another, lambda variance, m: variance * m / (m - 1))),),
    ),
    FunctionTwin(
        name="fit",
        formula="mean = 1/m sum x, variance = 1/m sum (x - mean)^2",
        source=SOURCE + "torch.var_mean",
        proves=("fit",), ours=ours.fit, theirs=theirs.fit,
        draw=draw_training_set, cases=CASES,
        edges={
            "one example": {"m": 1}, "a mean of a million": {"offset": 1e6},
            "constant features": {"kind": "constant"},
            "a constant whose sum is rounded": {"m": 10, "value": 0.1},
        },
        gauges=statistics_gauges, float32=True, weight=2,
        relations=(
            Relation(name="a constant feature has its value for mean and no variance",
                holds=centred_alone, broken_by=by_plain_sums, at={"m": 77, "value": 0.1}),
            Relation(name="torch.var is larger by m / (m - 1)",
                holds=is_corrected, broken_by=partial(by_plain_sums, ddof=1)),
        ),
    ),
    FunctionTwin(
        name="normalization-over-sigma",
        topic="errata",
        formula="X = (X - mean) / sigma",
        torch="(X - X.mean(0)) / X.std(0, correction=0)",
        typed=lambda text, X, statistics: {"normalized": columns(evaluate(text, X=rows(X)))},
        source=SOURCE + "torch.Tensor.sqrt",
        proves=("normalize",), ours=ours.normalize,
        theirs=lambda X, statistics: theirs.normalize(X, carried(statistics)),
        names=("normalized",),
        draw=draw_application, cases={**CASES, "m_dev": examples},
        edges={
            "a dev set": {"m_dev": 7},
            "constant features, of another value in the dev set": {"kind": "constant", "m_dev": 7},
            "one example, which has no variance": {"m": 1, "m_dev": 3},
        },
        gauges=application_gauges, float32=True, weight=2,
        mistakes=(
            Mistake(name="X / sigma^2", margin=0.3, why="the variance becomes 1 / sigma^2, not 1",
                values=lambda X, statistics: {
                    "normalized": (X - statistics.mean) / statistics.variance}),
        ),
    ),
)
# fmt: on
