"""Initialization beside its rows: the scales are torch's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from scratch.course import initialization


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("random", lambda W: torch.nn.init.normal_(W, std=10.0)),
        ("he", lambda W: torch.nn.init.kaiming_normal_(W, nonlinearity="relu")),
    ],
)
def test_scales_are_torchs(name, draw):
    """The weights and torch's own draws come from one distribution."""
    torch.manual_seed(0)
    found = getattr(initialization, f"initialize_parameters_{name}")((60, 50, 40, 1))
    for W in (found["W1"], found["W2"]):
        theirs = draw(torch.empty(W.shape)).numpy()
        assert scipy.stats.ks_2samp(W.ravel(), theirs.ravel()).pvalue > 1e-3
        assert scipy.stats.ks_2samp(W.ravel(), 1.5 * theirs.ravel()).pvalue < 1e-6
        assert np.isfinite(W).all()
