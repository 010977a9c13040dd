"""Mini-batches beside their rows: fair draws, and batches that are copies."""

import numpy as np
import torch
from scipy.stats import randint

from parity_tests.tests.stems.common import assert_drawn_from, refused
from scratch import mini_batches as ours
from torch_ref import mini_batches as theirs


def test_every_example_is_first_equally_often(rng):
    m = 8
    for side, source in ((ours, rng), (theirs, torch.Generator().manual_seed(1))):
        orders = np.array([np.asarray(one) for one in side.draw_orders(m, 2000, source)])
        for position in range(m):
            assert_drawn_from(randint(0, m), orders[:, position])


def test_batches_are_copies_and_wrapped_indices_are_refused():
    """An order of more examples than its dtype can count is none."""
    wrapped = np.arange(70_000).astype(np.int16)
    for side, X in ((ours, np.ones((2, 5))), (theirs, torch.ones(5, 2))):
        for batch, _ in side.mini_batches(X, X, np.arange(5), 5):
            batch[:] = 0
        assert (X == 1).all()
        refused("order to be a permutation", side.partition, wrapped, 64)
