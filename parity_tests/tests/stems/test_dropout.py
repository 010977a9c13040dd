"""Dropout beside its rows: the statistics of masks, their generators, and torch's module."""

import re

import numpy as np
import pytest
import torch
from scipy.stats import bernoulli

from parity_tests.tests.stems.common import assert_drawn_from, refused
from scratch import dropout as ours
from torch_ref import dropout as theirs


@pytest.mark.parametrize("keep_prob", [0.125, 0.8])
def test_masks_are_what_they_say(keep_prob, rng):
    """A unit is kept with keep_prob, none is a favourite, neighbours fall out independently."""
    for side, source in ((ours, rng), (theirs, torch.Generator().manual_seed(3))):
        masks = [np.asarray(side.draw_mask((6, 5), keep_prob, source)) for _ in range(1500)]
        kept = (np.array(masks) == 1 / keep_prob) + 0.0
        units = [kept[:, n, m] for n, m in np.ndindex(6, 5)]  # each from mask to mask
        for draws in (kept.ravel(), *(kept[..., m].ravel() for m in range(5)), *units):
            assert_drawn_from(bernoulli(keep_prob), draws)


def test_one_seed_keeps_the_same_units_in_every_dtype_and_a_mask_fits():
    """A draw equal to keep_prob is dropped; a mask that would broadcast is refused."""
    uniform = np.random.default_rng(2).random((50, 40))
    for dtype in (np.float32, np.float64, np.longdouble):
        mask = ours.draw_mask((50, 40), float(uniform[0, 0]), np.random.default_rng(2), dtype)
        assert np.array_equal(mask > 0, uniform < uniform[0, 0])
    layer = theirs.Dropout(0.5)
    for shape in ((1, 4), (3, 1), (3, 5)):
        layer.mask = torch.ones(shape)
        refused(re.escape(f"shape (3, 4), got {shape}"), layer, torch.ones(3, 4))
