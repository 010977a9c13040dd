"""Dropout beside its rows: the statistics of masks, their generators, and torch's module."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests.compare.budgets import ALARM
from scratch import dropout as ours
from torch_ref import dropout as theirs


def is_usual(count, draws, probability):
    return scipy.stats.binomtest(int(count), draws, probability).pvalue > ALARM


@pytest.mark.parametrize("keep_prob", [0.125, 0.8])
def test_masks_are_what_they_say(keep_prob, rng):
    """A unit is kept with keep_prob, none is a favourite, neighbours fall out independently."""
    shape, draws = (6, 5), 1500
    generator = torch.Generator().manual_seed(3)
    mine = np.array([ours.draw_mask(shape, keep_prob, rng) for _ in range(draws)])
    other = np.array([theirs.draw_mask(shape, keep_prob, generator).numpy() for _ in range(draws)])
    for masks in (mine, other):
        kept = masks > 0
        assert set(np.unique(masks)) == {0, np.float64(1) / keep_prob}
        assert is_usual(kept.sum(), kept.size, keep_prob)
        assert all(is_usual(count, draws, keep_prob) for count in kept.sum(axis=0).flat)
        pairs = kept[:, 0] & kept[:, 1], kept[:, :, 0] & kept[:, :, 1]
        assert all(is_usual(both.sum(), both.size, keep_prob**2) for both in pairs)


def test_one_seed_keeps_the_same_units():
    """In float32 and longdouble those of float64, but for draws equal to keep_prob."""
    uniform = np.random.default_rng(2).random((50, 40))
    keep_prob = float(uniform[0, 0])
    for dtype in (np.float32, np.float64, np.longdouble):
        mask = ours.draw_mask((50, 40), keep_prob, np.random.default_rng(2), dtype)
        assert np.array_equal(mask > 0, uniform < keep_prob)
    first, same, other = (
        theirs.draw_mask((20, 10), 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (3, 5)])
def test_a_mask_handed_in_has_the_shape_of_the_input(shape):
    """A mask that would broadcast drops the same units of every example: it is refused."""
    layer = theirs.Dropout(0.5)
    layer.mask = torch.ones(shape)
    with pytest.raises(ValueError, match=re.escape(f"shape (3, 4), got {shape}")):
        layer(torch.ones(3, 4))


def test_nothing_is_drawn_where_nothing_is_dropped():
    for keep_probs in ((1.0, 1.0, 1.0), ()):
        assert ours.draw_masks((5, 4, 4, 4, 3), keep_probs, 4, np.random.default_rng(0)) == {}


@pytest.mark.parametrize("side", [ours, theirs])
def test_one_example_has_a_mask(side):
    rng = np.random.default_rng(0) if side is ours else torch.Generator().manual_seed(0)
    source = {"rng": rng} if side is ours else {"generator": rng}
    masks = next(side.mask_stream((3, 2, 1), (0.5,), 1, batch_size=1, epochs=1, **source))
    assert [mask.size if side is ours else mask.numel() for mask in masks.values()] == [2]


def test_a_draw_equal_to_keep_prob_is_dropped():
    uniform = np.random.default_rng(7).random((3, 4))
    mask = ours.draw_mask((3, 4), float(uniform[0, 0]), np.random.default_rng(7))
    assert np.array_equal(mask > 0, uniform < uniform[0, 0])
