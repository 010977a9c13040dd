"""Mini-batches beside their rows: fair draws, and batches that are copies."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import ALARM
from scratch import mini_batches as ours
from torch_ref import mini_batches as theirs


@pytest.mark.parity("draw_orders")
def test_every_example_is_first_equally_often(rng):
    m, epochs = 8, 4000
    mine = np.array(ours.draw_orders(m, epochs, rng))
    other = torch.stack(theirs.draw_orders(m, epochs, torch.Generator().manual_seed(1))).numpy()
    for orders in (mine, other):
        for position in range(m):
            counts = np.bincount(orders[:, position], minlength=m)
            assert scipy.stats.chisquare(counts).pvalue > ALARM
    # the draws differ, what they are draws of does not
    assert_close(np.sort(mine, axis=1) + 0.0, np.sort(other, axis=1) + 0.0, "sorted orders")


def test_batches_are_copies(rng):
    X, Y = rng.standard_normal((2, 5)), rng.standard_normal((1, 5))
    kept, tensors = X.copy(), (rows(X), rows(Y))
    for batch, _ in ours.mini_batches(X, Y, np.arange(5), 5):
        batch[...] = 0
    for batch, _ in theirs.mini_batches(*tensors, np.arange(5), 5):
        batch.zero_()
    assert np.array_equal(X, kept)
    assert np.array_equal(columns(tensors[0]), kept)


def test_indices_that_have_wrapped_are_refused():
    """An order of more examples than its dtype can count is none."""
    wrapped = np.arange(70_000).astype(np.int16)
    for side in (ours, theirs):
        with pytest.raises(ValueError, match="expected order to be a permutation"):
            side.partition(wrapped, 64)
