"""Splits beside their rows: torch's own split, refusals, copies, ratios as fractions."""

from fractions import Fraction

import numpy as np
import torch

from parity_tests import assert_close
from parity_tests.compare.bridge import rows
from parity_tests.tests.stems.common import refused, sides
from scratch import splits as ours
from torch_ref.mini_batches import draw_order

SIDES = sides("splits")


def test_torchs_own_split_cuts_alike():
    """The third witness: random_split by its own draw and our sizes."""
    ratios = (0.6, 0.2, 0.2)
    seeded = torch.Generator().manual_seed
    parts = ours.split(draw_order(53, seeded(3)).numpy(), ratios)
    subsets = torch.utils.data.random_split(range(53), ours.sizes(53, ratios), seeded(3))
    for part, subset in zip(parts, subsets, strict=True):
        assert_close(part + 1.0, np.array(subset.indices) + 1.0, "indices")


@SIDES
def test_parts_are_copies_and_none_is_empty(side):
    turned = np.copy if side is ours else rows
    order, X = np.arange(6), turned(np.ones((2, 6)))
    given = order.copy() if side is ours else torch.from_numpy(order.copy())
    folds = [one for pair in side.k_fold(given, 2) for one in pair]
    for part in (*side.split(given, (0.5, 0.5)), *folds, side.take(X, order)):
        part[:] = -1
    assert np.array_equal(np.asarray(given), order)
    assert (X == 1).all()
    two, ratios, empty = np.arange(2), (0.4, 0.3, 0.3), "every part, got .1, 1, 0. of m = 2$"
    refused(empty, side.split, two, ratios)
    refused(empty, side.stratified_split, turned(np.ones((1, 2))), two, ratios)
    refused("k to be at most m = 2, got 3", side.k_fold, two, 3)
    refused("that sum to 1, got", side.sizes, 8, (np.float16(0.5), np.float16(0.501)))
    assert {type(one) for one in side.sizes(np.int16(20_000), (0.6, 0.4))} == {int}


def test_a_ratio_stands_for_a_fraction_of_a_billion():
    """Within 2.5e-10 of 1/2 a ratio is a half; 10^10 examples show that ratios are normalized."""
    for distance, expected in ((1.5e-10, (1, 0)), (2.4e-10, (1, 0)), (2.6e-10, (0, 1))):
        assert ours.sizes(1, (0.5 - distance, 0.5 + distance)) == expected
    for sign in (1, -1):
        second = Fraction(1, 2) + Fraction(sign, 2 * (10**9 - 1))
        first = round(10**10 * Fraction(1, 2) / (Fraction(1, 2) + second))
        assert ours.sizes(10**10, (0.5, 0.5 + sign * 5e-10)) == (first, 10**10 - first)
