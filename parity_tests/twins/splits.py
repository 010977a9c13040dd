"""Splits into train, dev and test sets: by ratio, stratified and k-fold; the columns they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.measurement import Array
from parity_tests.drawing import draw, kinds, widths
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation
from scratch import splits as ours
from torch_ref import splits as theirs

SOURCE = 'Course 2, week 1, "Train / dev / test sets"; '

Shares = tuple[int, ...]
Ratios = tuple[float, ...]

#: shares of the parts, of which the ratios are fractions.
shares = st.lists(st.integers(1, 60), min_size=2, max_size=5).map(tuple)

#: dtypes of an order: small and unsigned integers name the same examples.
whole = st.sampled_from(["int64", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"])

# fmt: off
#: m, ratios and the sizes they ask for.
SIZES: Mapping[str, tuple[Any, Ratios, tuple[int, ...]]] = {
    "60-20-20": (100, (0.6, 0.2, 0.2), (60, 20, 20)),
    "98-1-1 of a million": (1_000_000, (0.98, 0.01, 0.01), (980_000, 10_000, 10_000)),
    "0.29 times 100 is not 28": (100, (0.29, 0.71), (29, 71)),
    "the largest rest": (7, (0.6, 0.2, 0.2), (4, 2, 1)),
    "the larger of two rests, last": (10, (0.31, 0.32, 0.37), (3, 3, 4)),
    "equal rests, the first": (5, (0.5, 0.5), (3, 2)),
    "equal rests of thirds": (10, (1 / 3, 1 / 3, 1 / 3), (4, 3, 3)),
    "equal rests of unequal parts": (3, (1 / 6, 1 / 2, 1 / 3), (1, 1, 1)),
    "equal rests of decimals": (4, (0.1, 0.35, 0.55), (1, 1, 2)),
    "equal rests of decimals, the first": (8, (0.05, 0.4, 0.55), (1, 3, 4)),
    "a part left with nothing": (10, (0.98, 0.01, 0.01), (10, 0, 0)),
    "one example": (1, (0.4, 0.6), (0, 1)),
    "hundred-thousandths": (100_000, (0.50001, 0.49999), (50_001, 49_999)),
    "sevenths": (7 * 10**6, (1 / 7, 2 / 7, 4 / 7), (10**6, 2 * 10**6, 4 * 10**6)),
    "NumPy's int8": (np.int8(100), (0.6, 0.2, 0.2), (60, 20, 20)),
    "beyond 31 bits": (2**31 + 5, (0.5, 0.25, 0.25), (2**30 + 3, 2**29 + 1, 2**29 + 1)),
    "beyond 32 bits": (10**10 + 1, (0.98, 0.01, 0.01), (98 * 10**8 + 1, 10**8, 10**8)),
    "equal rests of parts of very different size": (
        10_801_793_990,
        (10 / 117, 51 / 117, 55 / 117, 1 / 117),
        (923_230_256, 4_708_474_303, 5_077_766_406, 92_323_025),
    ),
    "NumPy's float32": (10, tuple(np.array([0.6, 0.2, 0.2], "f4")), (6, 2, 2)),
    "NumPy's float16": (8, tuple(np.array([0.5, 0.25, 0.25], "f2")), (4, 2, 2)),
}


def ratios_of(shares: Shares) -> Ratios:
    return tuple(share / sum(shares) for share in shares)


def draw_split(rng: np.random.Generator, m: int = 23, shares: Shares = (3, 1, 1),
    whole: str = "int64") -> Case:
    """Draw an order of m examples, or of as many as leave no part empty."""
    ratios = ratios_of(shares)
    while m * min(ratios) < 1 and 0 in ours.sizes(m, ratios):
        m += 1
    return {"order": rng.permutation(m).astype(whole if m <= 128 else "int64"), "ratios": ratios}


def draw_stratified(rng: np.random.Generator, m: int = 60, shares: Shares = (3, 1, 1),
    kind: str = "one-hot", classes: int = 3, whole: str = "int64") -> Case:
    """Draw labels of unequal classes, sorted by class: one row, one-hot or several per example."""
    case = draw_split(rng, m, shares, whole)
    chances = 2.0 ** -np.arange(classes)
    numbers = np.sort(rng.choice(classes, len(case["order"]), p=chances / chances.sum()))
    rows = {"binary": [numbers > 0], "several": [numbers > 1, numbers % 2 == 1]}
    return {"Y": np.array(rows.get(kind, np.eye(classes)[:, numbers]), float), **case}
# fmt: on


def has_the_sizes_of_the_table(run: Any, **case: Any) -> tuple[Values, Values]:
    found = [
        one for m, ratios, _ in SIZES.values() for one in run("sizes", m=m, ratios=ratios).values()
    ]
    expected = np.concatenate([counts for _, _, counts in SIZES.values()])
    return {"parts": np.array(found, float)}, {"parts": expected.astype(float)}


def has_each_class_in_proportion(run: Any, Y: Array, order: Array, ratios: Ratios) -> None:
    """Hold every part to its size, its order, and every class's share to within one example."""
    parts = [*run("stratified_split", Y=Y, order=order, ratios=ratios).values()]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(order)))
    assert tuple(map(len, parts)) == ours.sizes(len(order), ratios)
    place, label = np.argsort(order), np.unique(Y, axis=1, return_inverse=True)[1].ravel()
    for part, ratio in zip(parts, ratios, strict=True):
        assert (np.diff(place[part]) > 0).all(), "the order is lost inside of a part"
        shares = np.bincount(label[part], minlength=label.max() + 1)
        assert np.abs(shares - ratio * np.bincount(label)).max() <= 1 + 1e-9, shares


def by_random_split(m: int, ratios: Ratios) -> Values:
    parts: Any = torch.utils.data.random_split(range(int(m)), ratios)  # type: ignore[arg-type]
    return {f"size {i}": len(one) for i, one in enumerate(parts, start=1)}


def second_cut_plain(Y: Array, order: Array, ratios: Ratios) -> Values:
    """Return a stratified training set, and the rest cut without a look at the classes."""
    first, *others = ours.stratified_split(Y, order, ratios)
    rest = np.sort(order[~np.isin(order, first)])
    cut = np.split(rest, np.cumsum([len(one) for one in others])[:-1])
    return {f"part {i}": one for i, one in enumerate([first, *cut], start=1)}


def row(name: str, output: str, **rest: Any) -> FunctionTwin:
    sides = {"ours": getattr(ours, name), "theirs": getattr(theirs, name)}
    return FunctionTwin(name=name, proves=(name,), names=(output,), exact=True, **sides, **rest)


# fmt: off
TWINS = (
    row("sizes", "size", source=SOURCE + "the largest remainder method; torch.argsort",
        formula="floor(ratio m), and 1 more for the largest rests, so that they sum to m",
        draw=lambda rng, m=7, shares=(3, 1, 1), ratios=(): {
            "m": m, "ratios": ratios or ratios_of(shares)},
        weight=2,
        cases={"m": st.integers(1, 5000) | st.integers(1, 10**12), "shares": shares},
        edges={
            name: {"m": m, "ratios": ratios} for name, (m, ratios, _) in SIZES.items()
            if not isinstance(ratios[0], np.floating)  # which a case has in its own precision
        },
        relations=[Relation(
            name="the largest rests get what the floors leave, the earlier of equals first",
            holds=has_the_sizes_of_the_table,
            broken_by=lambda honest, m, ratios: {
                f"size {i}": int(m * ratio) for i, ratio in enumerate(ratios, start=1)})],
        mistakes=[Mistake(name="random_split given ratios", margin=0.1, values=by_random_split,
            why="torch hands what the floors leave to the first parts in turn")]),

    row("split", "part", formula="an order (m,) cut into pieces of the sizes",
        source=SOURCE + "torch.tensor_split", draw=draw_split,
        cases={"m": st.integers(2, 128), "shares": shares, "whole": whole},
        edges={"one example each": {"m": 2, "shares": (1, 1)},
               "more than int8 counts": {"m": 300}}),

    row("stratified_split", "part",
        formula="each class cut by the ratios; what rounding leaves goes where the parts lack most",
        source=SOURCE + "dev and test of one distribution; torch.unique, torch.repeat_interleave",
        draw=draw_stratified, weight=2,
        cases={"m": st.integers(2, 128), "shares": shares, "classes": st.integers(2, 8),
               "kind": st.sampled_from(["binary", "one-hot", "several"]), "whole": whole},
        edges={
            "the second cut: half of a tenth": {"m": 120, "shares": (18, 1, 1)},
            "four parts": {"m": 100, "shares": (7, 1, 1, 1)},
            "many small classes": {"m": 70, "classes": 10},
            "one class": {"m": 20, "classes": 1}},
        relations=[Relation(name="every part has every class's share to within one example",
            holds=has_each_class_in_proportion,
            broken_by="class-shares-lost-in-the-second-cut", at={"m": 120})],
        mistakes=[Mistake(name="class-shares-lost-in-the-second-cut", margin=0.1,
            seen="train_test_split called twice, the second time without stratify",
            why="train has every class, dev and test have what is left in the order given",
            values=second_cut_plain)]),

    row("k_fold", "fold", draw=lambda rng, m=11, k=3, whole="int64": {
            "order": rng.permutation(m).astype(whole), "k": min(k, m)},
        formula="an order (m,) in k pieces, each held out once and trained on otherwise",
        source=SOURCE + "k-fold cross-validation; torch.tensor_split",
        cases={"m": st.integers(2, 100), "k": st.integers(2, 12), "whole": whole},
        edges={"leaving one out": {"m": 5, "k": 5}, "folds of 2, 1 and 1": {"m": 4, "k": 3}}),

    row("take", "columns", formula="the columns of X that the indices name", float32=True,
        source=SOURCE + "torch.Tensor.index_select",
        draw=lambda rng, n=3, m=8, size=4, kind="normal", whole="int64": {
            "X": draw(kind, (n, m), rng),  # some columns are taken twice
            "indices": np.array([m - 1, 0, m - 1, *rng.integers(0, m, size)], whole)},
        cases={"n": widths, "m": st.integers(1, 60), "size": st.integers(0, 9), "kind": kinds,
               "whole": whole},
        edges={"one column": {"m": 1, "size": 0}}),
)
# fmt: on
