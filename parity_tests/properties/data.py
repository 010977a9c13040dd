"""Cases of what happens to data: normalization, mini-batches, splits, logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch
from parity_tests.compare.budgets import FORWARD, GRADIENT
from parity_tests.compare.gauges import product
from parity_tests.compare.witnesses import widened
from parity_tests.properties.agreement import Quantity, agree, assert_equal
from parity_tests.properties.draws import draw
from scratch import logistic_regression, mini_batches, normalization, splits
from scratch.activations import sigmoid_forward
from torch_ref import logistic_regression as their_logistic_regression
from torch_ref import mini_batches as their_mini_batches
from torch_ref import normalization as their_normalization
from torch_ref import splits as their_splits

Array = NDArray[Any]
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class NormalizationCase:
    """A training set (n_x, m) of a kind, moved by an offset, and a dev set of another size."""

    n_x: int
    m: int
    m_dev: int
    kind: str
    offset: float
    seed: int


def check_normalization(case: NormalizationCase) -> None:
    """Hold statistics, both sets and the way back against torch, under what cancels in X - mean."""
    rng = np.random.default_rng(case.seed)
    X = draw(case.kind, (case.n_x, case.m), rng) + case.offset
    dev = draw("normal", (case.n_x, case.m_dev), rng) + case.offset
    mine, other = normalization.fit(X), their_normalization.fit(rows(X))
    wider: tuple[Any, Any] = widened(normalization.fit, X) or (None, None)
    size = np.abs(X).max(axis=1, keepdims=True)
    deviation = np.sqrt(mine.variance)
    mean, variance = (to_numpy(name, one) for name, one in other._asdict().items())
    quantities = {
        "mean": Quantity(mine.mean, mean, size, wider=wider[0]),
        "variance": Quantity(
            mine.variance,
            variance,
            size * deviation + mine.variance + np.square(size) * EPS,
            wider=wider[1],
        ),
    }
    constant = (X[:, :1] == X).all(axis=1)
    assert_equal(mine.variance[constant], np.zeros((constant.sum(), 1)), "constant variance")
    assert_equal(mine.mean[constant], X[constant, :1], "constant mean")
    # the same statistics on both sides: those of a feature without a spread are round-off
    shared = their_normalization.Statistics(*(to_torch(*one) for one in mine._asdict().items()))
    sigma = np.where(mine.variance > 0, deviation, 1.0)
    for name, inputs in (("train", X), ("dev", dev)):
        normalized = normalization.normalize(inputs, mine)
        reference = columns(their_normalization.normalize(rows(inputs), shared))
        centred = np.abs(inputs - mine.mean) / sigma
        wide = widened(normalization.normalize, inputs, mine)
        quantities[f"normalized {name}"] = Quantity(normalized, reference, centred, wider=wide)
        back = normalization.denormalize(normalized, mine)
        again = columns(their_normalization.denormalize(rows(normalized), shared))
        terms = np.abs(normalized) * sigma + np.abs(mine.mean)
        wide = widened(normalization.denormalize, normalized, mine)
        quantities[f"{name} again"] = Quantity(back, again, terms, wider=wide)
        quantities[f"original {name}"] = Quantity(back, inputs, terms + np.abs(inputs))
    agree(quantities)


@dataclass(frozen=True, kw_only=True)
class MiniBatchCase:
    """The order of an epoch of m examples, cut into batches, the last of them short."""

    m: int
    batch_size: int
    kind: str
    seed: int


def check_mini_batches(case: MiniBatchCase) -> None:
    """Hold the partition and every batch against torch's, number for number."""
    rng = np.random.default_rng(case.seed)
    X, Y = draw(case.kind, (3, case.m), rng), draw("zeros", (1, case.m), rng)
    order = mini_batches.draw_order(case.m, rng)
    assert_equal(np.sort(order), np.arange(case.m), "each example once")
    pieces = mini_batches.partition(order, case.batch_size)
    theirs = their_mini_batches.partition(order, case.batch_size)
    for piece, other in zip(pieces, theirs, strict=True):
        assert_equal(piece, other.numpy(), "piece")
    sizes = [len(piece) for piece in pieces]
    last = case.m - case.batch_size * (len(pieces) - 1)
    if sizes != [case.batch_size] * (len(pieces) - 1) + [last] or last > case.batch_size:
        raise AssertionError(f"sizes {sizes} of {case.m} examples in batches of {case.batch_size}")
    batches = mini_batches.mini_batches(X, Y, order, case.batch_size)
    tensors = their_mini_batches.mini_batches(rows(X), rows(Y), order, case.batch_size)
    for pair, others in zip(batches, tensors, strict=True):
        for name, batch, tensor in zip("XY", pair, others, strict=True):
            assert_equal(batch, columns(tensor), f"{name} of a batch")


@dataclass(frozen=True, kw_only=True)
class SplitCase:
    """m examples of some classes, split by shares and in k folds."""

    m: int
    shares: tuple[int, ...]
    k: int
    classes: int
    seed: int


def check_split(case: SplitCase) -> None:
    """Hold sizes, parts, stratified parts and folds against torch's; both refuse an empty part."""
    rng = np.random.default_rng(case.seed)
    order = mini_batches.draw_order(case.m, rng)
    ratios = tuple(share / sum(case.shares) for share in case.shares)
    sizes = splits.sizes(case.m, ratios)
    assert_equal(np.array(sizes), np.array(their_splits.sizes(case.m, ratios)), "sizes")
    if sum(sizes) != case.m:
        raise AssertionError(f"sizes {sizes} do not sum to {case.m}")
    if case.k <= case.m:
        folds = zip(splits.k_fold(order, case.k), their_splits.k_fold(order, case.k), strict=True)
        for pair, others in folds:
            for name, indices, held in zip(("train", "held out"), pair, others, strict=True):
                assert_equal(indices, held.numpy(), f"{name} of a fold")
            assert_equal(np.sort(np.concatenate(pair)), np.arange(case.m), "a fold")
    if 0 in sizes:
        for side in (splits, their_splits):
            _assert_refused(side, order, ratios)
        return
    Y = np.eye(case.classes)[:, rng.integers(0, case.classes, case.m)]
    parts = {
        "part": (splits.split(order, ratios), their_splits.split(order, ratios)),
        "stratified part": (
            splits.stratified_split(Y, order, ratios),
            their_splits.stratified_split(rows(Y), order, ratios),
        ),
    }
    for name, (mine, tensors) in parts.items():
        for part, other in zip(mine, tensors, strict=True):
            assert_equal(part, other.numpy(), name)
            taken = splits.take(Y, part)
            assert_equal(taken, columns(their_splits.take(rows(Y), part)), "what it takes")
        assert_equal(np.sort(np.concatenate(mine)), np.arange(case.m), "each example once")
        assert_equal(np.array([len(part) for part in mine]), np.array(sizes), f"size of a {name}")


def _assert_refused(side: Any, order: Array, ratios: tuple[float, ...]) -> None:
    """Raise AssertionError unless a split with an empty part is refused."""
    try:
        side.split(order, ratios)
    except ValueError as error:
        if "expected m large enough" not in str(error):
            raise AssertionError(f"{side.__name__} says {error}") from error
    else:
        raise AssertionError(f"{side.__name__} leaves a part empty")


@dataclass(frozen=True, kw_only=True)
class LogisticRegressionCase:
    """w of a kind times a scale, b, X of a kind and labels."""

    n_x: int
    m: int
    kind: str
    scale: float
    b: float
    seed: int


def check_logistic_regression(case: LogisticRegressionCase) -> None:
    """Hold cost and gradients, vectorized and by loops, and the labels against torch."""
    rng = np.random.default_rng(case.seed)
    w, X = draw("zeros", (case.n_x, 1), rng, case.scale), draw(case.kind, (case.n_x, case.m), rng)
    Y = rng.integers(0, 2, (1, case.m)).astype(float)
    arguments = (w, np.float64(case.b), X, Y)
    tensors = (rows(w), torch.tensor(case.b, dtype=torch.float64), rows(X), rows(Y))
    Z = (w * X).sum(axis=0, keepdims=True) + case.b
    E_Z = product("ko,km->om", w, X) + abs(case.b)
    A = sigmoid_forward(Z)[0]
    # torch.func differentiates (1 - Y) Z - log sigma(Z) term by term: a difference of numbers to 1
    E_dZ = A * (1 - A) * E_Z + A + np.abs(A - Y) + 1
    m = case.m
    gauges = {
        "w": product("om,km->ko", E_dZ, X) / m,
        "b": E_dZ.sum() / m,
        "J": (np.abs(A - Y) * E_Z + np.abs(Z) + 1).sum() / m,
    }
    J, reference = their_logistic_regression.propagate(*tensors)
    quantities: dict[str, Quantity] = {}
    expected = {
        "J": J.numpy()[()],
        "w": columns(reference["w"]),
        "b": reference["b"].numpy()[()],
    }
    for name, propagate in (
        ("at once", logistic_regression.propagate),
        ("by loops", logistic_regression.propagate_with_loops),
    ):
        (mine, slopes), wide = propagate(*arguments), widened(propagate, *arguments)
        found, truth = {"J": mine, **slopes}, {"J": wide[0], **wide[1]} if wide else {}
        for key, one in expected.items():
            budget = FORWARD if key == "J" else GRADIENT
            quantities[f"{key} {name}"] = Quantity(
                found[key], one, gauges[key], budget, truth.get(key)
            )
    forward = logistic_regression.logistic_regression_forward
    output, _ = forward(X, w, arguments[1])
    answer = widened(forward, X, w, arguments[1])
    theirs = their_logistic_regression.logistic_regression(tensors[2], tensors[0], tensors[1])
    quantities["A"] = Quantity(
        output, columns(theirs), A * (1 - A) * E_Z + A, wider=answer and answer[0]
    )
    agree(quantities)
