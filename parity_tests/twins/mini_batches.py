"""Mini-batches: the order of an epoch, drawn as data, and its cut into batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.measurement import Array
from parity_tests.compare.quantities import assert_equal
from parity_tests.drawing import draw, kinds
from parity_tests.mistakes import Values
from parity_tests.rows import FunctionTwin, Relation
from parity_tests.twins._relations import spoilt
from scratch import mini_batches as ours
from torch_ref import mini_batches as theirs

SOURCE = 'Course 2, week 2, "Mini-batch gradient descent"'


def cut(side: Any, X: Array, Y: Array, order: Array, batch_size: int) -> Values:
    given = (X, Y) if side is ours else (rows(X), rows(Y))
    found = side.mini_batches(*given, order, batch_size)
    Xs, Ys = zip(*(pair if side is ours else map(columns, pair) for pair in found), strict=True)
    pieces = [np.asarray(one, int) for one in side.partition(order, batch_size)]
    return {
        "X": np.concatenate(Xs, axis=1),
        "Y": np.concatenate(Ys, axis=1),
        "sizes": np.array([[one.shape[1], two.shape[1]] for one, two in zip(Xs, Ys, strict=True)]),
        "indices": np.concatenate(pieces),
        "lengths of the pieces": np.array([len(one) for one in pieces]),
    }


def takes_each_once(run: Any, **case: Any) -> None:
    """Hold the batches to the examples in their order, and all sizes but the last to be full."""
    values, order, size = run("mini_batches", **case), case["order"], case["batch_size"]
    sizes = [min(size, len(order) - start) for start in range(0, len(order), size)]
    taken = {"X": case["X"][:, order], "Y": case["Y"][:, order], "lengths of the pieces": sizes}
    for name, one in taken.items():
        assert_equal(values[name], one, name)


def summary(side: Any, seeded: Any, m: int, epochs: int, seed: int) -> Values:
    """Return the orders of two runs sorted, how many differ, and whether one by one is the same.

    The second run goes on with the generator of the first; a third begins with another seed.
    """
    source, again = seeded(seed), seeded(seed)
    drawn = [np.asarray(o) for run in (1, 2) for o in side.draw_orders(m, epochs, source)]
    single = [np.asarray(side.draw_order(m, again)) for _ in drawn]
    others = map(np.asarray, side.draw_orders(m, epochs, seeded(seed + 1)))
    return {
        "sorted orders": np.sort(drawn, axis=1) + 0.0,
        "distinct orders": len({tuple(one.tolist()) for one in (*drawn, *others)}),
        "one by one": bool(np.array_equal(single, drawn)),
    }


def no_order_twice(run: Any, m: int, epochs: int, seed: int) -> None:
    orders = np.tile(np.arange(m) + 0.0, (2 * epochs, 1))
    expected = {"sorted orders": orders, "distinct orders": 3 * epochs, "one by one": True}
    for name, one in run("draw_orders", m=m, epochs=epochs, seed=seed).items():
        assert_equal(one, expected[name], name)


# fmt: off
TWINS = (
    FunctionTwin(
        name="mini_batches", ours=partial(cut, ours), theirs=partial(cut, theirs),
        formula="columns order[k s : (k + 1) s] of X and Y; the last batch may be short",
        source=SOURCE + "; torch.utils.data.BatchSampler", proves=("partition", "mini_batches"),
        bridge=None, exact=True,
        draw=lambda rng, m=10, batch_size=4, kind="normal", indices="int64": {
            "X": draw(kind, (3, m), rng), "Y": draw("zeros", (1, m), rng),
            "order": rng.permutation(m).astype(indices), "batch_size": batch_size},
        cases={"m": st.integers(1, 60), "batch_size": st.integers(1, 70), "kind": kinds,
               "indices": st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "int64"])},
        edges={
            "the size divides m": {"batch_size": 5}, "a size beyond m": {"batch_size": 99},
            "one example at a time": {"batch_size": 1}, "one example": {"m": 1},
            "all that int16 can count": {"m": 2**15, "indices": "int16", "batch_size": 1000},
            "all that uint16 can count": {"m": 2**16, "indices": "uint16", "batch_size": 1000},
            "indices beyond 16 bits": {"m": 70_000, "batch_size": 60_000}},
        relations=[Relation(name="each example is taken once, in its order", holds=takes_each_once,
            broken_by=spoilt("X", lambda X: X[:, :-2]))]),

    FunctionTwin(
        name="draw_orders", bridge=None, exact=True, weight=0.5,
        ours=partial(summary, ours, np.random.default_rng),
        theirs=partial(summary, theirs, lambda seed: torch.Generator().manual_seed(seed)),
        formula="a permutation of 0..m-1 for each epoch, each as likely as any other",
        source=SOURCE + ", the shuffle; torch.randperm", proves=("draw_order", "draw_orders"),
        draw=lambda rng, m=30, epochs=3: {
            "m": m, "epochs": epochs, "seed": int(rng.integers(2**31))},
        # of 20 examples up, no two of a few orders are ever the same by chance
        cases={"m": st.integers(20, 200), "epochs": st.integers(1, 6)},
        edges={"one example": {"m": 1}, "beyond 16 bits": {"m": 70_000, "epochs": 1}},
        relations=[Relation(name="each epoch has an order of its own", holds=no_order_twice,
            broken_by=lambda honest, **case: {**honest(**case), "distinct orders": 1})]),
)
# fmt: on
