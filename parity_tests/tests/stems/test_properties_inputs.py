"""Properties of data on its way in: normalized, cut, split, and lying in memory in any way."""

from __future__ import annotations

from hypothesis import given

from parity_tests import properties, strategies
from parity_tests.plugin.profiles import weighted
from parity_tests.properties.pasting import hold


@weighted(12)
@given(strategies.normalization_cases)
def test_normalization_agrees(case):
    """Statistics, both sets and the way back: constant features, one example, far offsets."""
    hold(properties.check_normalization, case)


@weighted(26)
@given(strategies.mini_batches_cases)
def test_mini_batches_agree(case):
    """Every example once, the last batch short, the same numbers on both sides."""
    hold(properties.check_mini_batches, case)


@weighted(6)
@given(strategies.split_cases)
def test_splits_agree(case):
    """Sizes, parts, stratified parts and folds; what leaves a part empty is refused."""
    hold(properties.check_split, case)


@weighted(20)
@given(strategies.layout_cases)
def test_layouts_change_nothing(case):
    """Columns, strides, reversed, unaligned, read-only: the same numbers, nothing written."""
    hold(properties.check_layout, case)
