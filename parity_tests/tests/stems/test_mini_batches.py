"""Mini-batches beside their rows: fair draws, and batches that are copies."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.compare.budgets import ALARM
from scratch import mini_batches as ours
from torch_ref import mini_batches as theirs


@pytest.mark.parity("draw_orders")
def test_every_example_is_first_equally_often(rng):
    m, epochs = 8, 2000
    mine = np.array(ours.draw_orders(m, epochs, rng))
    other = torch.stack(theirs.draw_orders(m, epochs, torch.Generator().manual_seed(1))).numpy()
    for position in range(m):
        for orders in (mine, other):
            counts = np.bincount(orders[:, position], minlength=m)
            assert scipy.stats.chisquare(counts).pvalue > ALARM
    # the draws differ, what they are draws of does not
    assert_close(np.sort(mine, axis=1) + 0.0, np.sort(other, axis=1) + 0.0, "sorted orders")


def test_batches_are_copies_and_wrapped_indices_are_refused():
    """An order of more examples than its dtype can count is none."""
    wrapped = np.arange(70_000).astype(np.int16)
    for side, X in ((ours, np.ones((2, 5))), (theirs, torch.ones(5, 2))):
        for batch, _ in side.mini_batches(X, X, np.arange(5), 5):
            batch[:] = 0
        assert (X == 1).all()
        with pytest.raises(ValueError, match="expected order to be a permutation"):
            side.partition(wrapped, 64)
