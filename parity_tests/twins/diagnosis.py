"""Bias and variance: the gaps between errors, and learning curves over the training set's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows
from parity_tests.drawing import Array, draw, kinds, widths
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import FunctionTwin, Relation
from scratch import diagnosis as ours
from torch_ref import diagnosis as theirs

#: train, dev and Bayes error of the lecture's cat classifiers, and what is wrong with each.
CATS = {
    "high variance": (0.01, 0.11, 0.0), "high bias": (0.15, 0.16, 0.0),
    "high bias and high variance": (0.15, 0.30, 0.0), "neither": (0.005, 0.01, 0.0),
}  # fmt: skip

#: fractions, whole percents and exact ties with a tolerance among them.
errors = st.sampled_from([0.0, 0.005, 0.02, 0.125, 0.14, 0.25, 1.0]) | st.floats(0, 1)
errors |= st.integers(0, 100).map(lambda percent: percent / 100)


GIVEN = {"train_error": 0.15, "dev_error": 0.16, "optimal_error": 0.14, "tolerance": 0.02}


def calls_the_cats_by_name(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the gaps of the lecture's cats and by the formula; hold their names to the lecture."""
    found, formula = [], []
    for name, (train, dev, optimal) in CATS.items():
        for human in (optimal, train):  # where train is as good as it gets, there is no bias
            values = run("diagnose", **dict(zip(GIVEN, (train, dev, human, 0.02), strict=True)))
            high = {one for one in ("high bias", "high variance") if one in name}
            high -= {"high bias"} if human == train else set()
            assert values["name"] == (" and ".join(sorted(high)) or "neither")
            for one, remedy in (("high variance", "more data"), ("high bias", "bigger network")):
                assert values[one.replace(" ", "_")] == (one in high)
                assert (remedy in values["remedies"]) == (one in high)
            assert len({*values["remedies"]}) == len(values["remedies"])
            found.append([values["avoidable_bias"], values["variance"]])
            formula.append([train - human, dev - train])
    return {"gaps": np.array(found)}, {"gaps": np.array(formula)}


def calls_ties_low(run: Any, **case: Any) -> None:
    """Hold gaps that are the tolerance, but for round-off, to being low, and larger ones to high.

    0.05 - 0.03 is more than 0.02 in floats, 0.03 - 0.01 less.
    """
    beyond = float(np.nextafter(1e-12, 1))
    ties = [(p / 100, (p + 2) / 100, 1e-9, 0.02) for p in range(98)]
    for low, high, more, tolerance in (*ties, (0.0, 1e-12, beyond - 1e-12, 0.0)):
        for gap, name in (("variance", "dev_error"), ("bias", "train_error")):
            rest = {"dev_error": 0.0, "train_error": low, "optimal_error": low}
            given = {**rest, name: high, "tolerance": tolerance}
            assert not run("diagnose", **given)[f"high_{gap}"]
            assert run("diagnose", **{**given, name: high + more})[f"high_{gap}"]


def weigh(X: Array, Y: Array) -> tuple[float, float]:
    """Return numbers that tell which examples came, with which labels, in which order; spoil both.

    A part is a copy: whatever a fit does to it, the data stay.
    """
    place = np.arange(1, X.shape[1] + 1)
    found = float((X * place).sum()), float((X.sum(axis=0) * Y.sum(axis=0) * place).sum())
    X[:], Y[:] = 0, 0
    return found


def by_rows(fit: Any, X: Array, Y: Array, **rest: Any) -> dict[str, Any]:
    def fit_rows(X_part: Any, Y_part: Any) -> Any:
        found = fit(columns(X_part), columns(Y_part))
        X_part[:], Y_part[:] = 0, 0
        return found

    return {"fit": fit_rows, "X": rows(X), "Y": rows(Y), **rest}


def trains_on_the_first(run: Any, fit: Any, **case: Any) -> tuple[Values, Values]:
    """Return the parts that the fit is given, and the first examples of the order."""
    parts: dict[str, Array] = {}

    def keep(X_part: Array, Y_part: Array) -> tuple[float, float]:
        parts[f"first {X_part.shape[1]}"] = np.concatenate([X_part, Y_part])
        return X_part.shape[1], 0.25

    values, sizes = run("learning_curves", fit=keep, **case), case["sizes"]
    assert values["train"].tolist() == values["sizes"].tolist() == sizes
    assert values["dev"].tolist() == [0.25] * len(sizes)
    ordered = np.concatenate([case["X"], case["Y"]])[:, case["order"]]
    return parts, {f"first {size}": ordered[:, :size] for size in sizes}


# fmt: off
TWINS = (
    FunctionTwin(
        name="diagnose", ours=ours.diagnose, theirs=theirs.diagnose, bridge=None, exact=True,
        formula="avoidable bias = train - optimal error, variance = dev - train error",
        source='Course 2, week 1, "Bias / variance", "Basic recipe for machine learning"; '
            "torch.diff",
        proves=("diagnose",), draw=lambda rng, **given: {**GIVEN, **given},
        cases=dict.fromkeys(GIVEN, errors),
        edges={
            "a tie of decimals": {"train_error": 0.03, "dev_error": 0.05, "optimal_error": 0.01},
            "no tolerance": {"tolerance": 0.0}},
        relations=(
            Relation(name="the lecture's cats", holds=calls_the_cats_by_name,
                broken_by="bias-without-the-optimal-error"),
            Relation(name="a tie is low", holds=calls_ties_low, broken_by="torch-tie-is-high")),
        mistakes=(
            Mistake(name="bias-without-the-optimal-error", margin=0.1,
                seen="martinapugliese/tales-science-data issue 65: bias is the error on the "
                    "training set",
                why="the Bayes error is no fault of the network",
                values=lambda train_error, **others: {"avoidable_bias": train_error}),
            Mistake(name="variance from the optimal error", margin=0.1,
                why="dev - optimal holds the bias as well",
                values=lambda dev_error, optimal_error, **others: {
                    "variance": dev_error - optimal_error}))),
    FunctionTwin(
        name="learning_curves", ours=ours.learning_curves, exact=True, float32=True, bridge=None,
        theirs=lambda **case: theirs.learning_curves(**by_rows(**case)),
        formula="train and dev cost of a fit on the first n examples of an order, for each n",
        source='Course 2, week 1, "Bias / variance"; torch.Tensor.index_select',
        proves=("learning_curves",),
        draw=lambda rng, n=3, m=7, sizes=(1, 2, 7), kind="normal", whole="int64": {
            "fit": weigh, "X": draw(kind, (n, m), rng), "Y": rng.standard_normal((2, m)),
            "sizes": sorted({min(one, m) for one in sizes}),
            "order": rng.permutation(m).astype(whole)},
        cases={"n": widths, "m": st.integers(1, 40), "kind": kinds,
               "sizes": st.sets(st.integers(1, 40), min_size=1, max_size=4),
               "whole": st.sampled_from(["int64", "uint8", "uint16", "int32", "uint64"])},
        edges={"one example": {"m": 1}},
        relations=[Relation(name="each part is the first of the order", holds=trains_on_the_first,
            broken_by="labels-of-the-curve-in-another-order")]))
# fmt: on
