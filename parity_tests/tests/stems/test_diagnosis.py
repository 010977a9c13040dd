"""Diagnosis beside its rows: fits and sizes, plain results, the recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from parity_tests.compare.bridge import rows
from scratch import diagnosis as ours
from torch_ref import diagnosis as theirs

SIDES = pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
DATA, LABELS = np.array([[0.5, -1.0, 2.0, 0.1]]), np.array([[0.0, 1.0, 1.0, 0.0]])


def curves(side, found, sizes):
    data = (DATA, LABELS) if side is ours else (rows(DATA), rows(LABELS))
    return side.learning_curves(lambda X, Y: found, *data, sizes, np.array([2, 0, 3, 1]))


@SIDES
def test_a_fit_returns_two_numbers_for_each_size(side):
    """Sizes come in any sequence, and are returned as an array of their own."""
    for bad in (0.5, (0.5,), (0.5, None), [0.5, 0.5], (0.5, 0.5, 0.5)):
        with pytest.raises(TypeError, match="expected fit to return two real numbers"):
            curves(side, bad, [2])
    given = np.array([2, 4])
    others = [torch.tensor([2, 4])] if side is theirs else []
    for sizes in (given, [np.int32(2), 4], range(2, 5, 2), given.astype("u1"), *others):
        found = np.asarray(curves(side, (0.5, 0.7), sizes).sizes)
        assert found.tolist() == [2, 4]
        assert found.dtype == np.int64
        found[:] = 0
    assert given.tolist() == [2, 4]
    if side is theirs:
        found = curves(side, (torch.tensor(0.5), torch.tensor(2)), [2])
        assert (found.train.tolist(), found.dev.tolist()) == ([0.5], [2.0])


@SIDES
def test_the_default_tolerance_and_plain_results(side):
    """Two percent, no Bayes error; NumPy's numbers in, numbers and booleans of Python out."""
    assert side.diagnose(0.0, 0.0201).name == "high variance"
    assert side.diagnose(0.0, 0.0199).name == "neither"
    assert side.diagnose(0.0201, 0.0).name == "high bias"
    found = side.diagnose(*map(np.float64, (0.1, 0.2, 0.05)), tolerance=np.float64(0.01))
    assert [type(one) for one in found] == [float, float, bool, bool, str, tuple]
    assert json.loads(json.dumps(found._asdict()))["high_bias"] is True


def test_the_basic_recipe():
    """Bias first, then variance; remedies are named once; without a problem there is none."""
    assert ours.REMEDIES == theirs.REMEDIES
    bias, variance = ("bigger network", "train longer"), ("more data", "regularization")
    assert ours.REMEDIES["high bias and high variance"][:4] == bias + variance
    assert ours.REMEDIES["high bias"][:2] == bias
    assert ours.REMEDIES["high variance"][:2] == variance
    assert ours.REMEDIES["neither"] == ()
