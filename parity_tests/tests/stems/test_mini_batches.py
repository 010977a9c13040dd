"""Mini-batches: every example once, a short last batch, one order for both sides."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from parity_tests import assert_close
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import ALARM
from scratch import mini_batches as ours
from torch_ref import mini_batches as theirs


@pytest.mark.parity("partition", "mini_batches", "draw_order")
@pytest.mark.seeds(50)
@pytest.mark.parametrize(("m", "batch_size"), [(10, 3), (10, 5), (10, 10), (10, 99), (7, 1)])
def test_one_order_gives_the_same_batches(m, batch_size, rng):
    """Sizes, order and columns agree bit by bit, for one shared order."""
    X, Y = rng.standard_normal((4, m)), rng.standard_normal((2, m))
    order = ours.draw_order(m, rng)
    mine = list(ours.mini_batches(X, Y, order, batch_size))
    other = list(theirs.mini_batches(rows(X), rows(Y), order, batch_size))
    sizes = [batch.shape[1] for batch, _ in mine]
    assert sizes == [min(batch_size, m - start) for start in range(0, m, batch_size)]
    assert len(mine) == len(other)
    pieces = zip(
        ours.partition(order, batch_size), theirs.partition(order, batch_size), strict=True
    )
    assert all(np.array_equal(piece, other_piece.numpy()) for piece, other_piece in pieces)
    for pair, reference in zip(mine, other, strict=True):
        for name, array, tensor in zip("XY", pair, reference, strict=True):
            assert_close(array, columns(tensor), name)
            assert np.array_equal(array, columns(tensor))
    assert np.array_equal(np.concatenate([x for x, _ in mine], axis=1), X[:, order])


@given(st.integers(1, 200), st.integers(1, 250), st.integers(0, 2**32 - 1))
def test_each_example_exactly_once(m, batch_size, seed):
    """Whatever the sizes, the pieces are a partition and only the last one is short."""
    order = ours.draw_order(m, np.random.default_rng(seed))
    pieces = ours.partition(order, batch_size)
    assert sorted(np.concatenate(pieces)) == list(range(m))
    assert all(len(piece) == batch_size for piece in pieces[:-1])
    assert 1 <= len(pieces[-1]) <= batch_size


@pytest.mark.parity("draw_orders", "draw_order")
def test_orders_are_permutations_without_favourites(rng):
    """Each epoch has an order of its own; every example is first equally often, on both sides."""
    m, epochs = 8, 4000
    generator = torch.Generator().manual_seed(1)
    mine = np.array(ours.draw_orders(m, epochs, rng))
    other = torch.stack(theirs.draw_orders(m, epochs, generator)).numpy()
    single = theirs.draw_order(m, generator).numpy(), ours.draw_order(m, rng)
    for order in (*mine, *other, *single):
        assert sorted(order) == list(range(m))
    for orders in (mine, other):
        for position in range(m):
            counts = np.bincount(orders[:, position], minlength=m)
            assert scipy.stats.chisquare(counts).pvalue > ALARM
    # the draws differ, what they are draws of does not
    assert_close(np.sort(mine, axis=1) + 0.0, np.sort(other, axis=1) + 0.0, "sorted orders")


@pytest.mark.parametrize(
    ("side", "seeded"),
    [(ours, np.random.default_rng), (theirs, torch.Generator().manual_seed)],
    ids=["ours", "torch's"],
)
def test_draws_come_from_the_generator(side, seeded):
    """One seed gives one pair of runs; epochs differ, and so do runs and seeds."""
    m, epochs = 50, 3
    drawn, again, other = [], [], []
    for seed, runs in ((2, drawn), (2, again), (3, other)):
        source = seeded(seed)
        for _ in range(2):
            runs += [tuple(order.tolist()) for order in side.draw_orders(m, epochs, source)]
    assert drawn == again
    assert len({*drawn, *other}) == 2 * 2 * epochs
    source = seeded(2)
    assert [tuple(side.draw_order(m, source).tolist()) for _ in drawn] == drawn


def test_batches_are_copies(rng):
    """Writing to a batch leaves the data alone, on both sides."""
    X, Y = rng.standard_normal((2, 5)), rng.standard_normal((1, 5))
    kept, tensors = X.copy(), (rows(X), rows(Y))
    for batch, _ in ours.mini_batches(X, Y, np.arange(5), 5):
        batch[...] = 0
    for batch, _ in theirs.mini_batches(*tensors, np.arange(5), 5):
        batch.zero_()
    assert np.array_equal(X, kept)
    assert np.array_equal(columns(tensors[0]), kept)
