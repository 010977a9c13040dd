"""Batch norm beside its rows: choices, the graph, and one example that torch refuses."""

import numpy as np
import pytest
import torch

from parity_tests import assert_close
from parity_tests.tests.stems.common import refused
from scratch import batch_norm as ours
from torch_ref import batch_norm as theirs


@pytest.mark.parametrize("unbiased", [False, True])
def test_choices_have_the_same_defaults(unbiased):
    choices, layer = ours.BatchNorm(unbiased=unbiased), theirs.BatchNorm(3, unbiased=unbiased)
    assert_close(np.float64(1 - choices.decay), np.float64(layer.momentum), "momentum")
    assert (choices.epsilon, ours.BatchNorm().unbiased) == (layer.eps, theirs.BatchNorm(3).unbiased)


def test_one_example_has_no_unbiased_variance():
    """The factor m / (m - 1) is infinite; torch's own layer refuses a single example altogether."""
    one = np.ones((3, 1))
    cache = ours.batch_norm_forward(one, one, one)[1]
    refused("two or more", ours.update_running_averages, 0 * one, one, cache, unbiased=True)
    for layer in (theirs.BatchNorm(3, unbiased=True), torch.nn.BatchNorm1d(3).double()):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            layer(torch.ones(1, 3, dtype=torch.float64))


def test_running_averages_are_outside_of_the_graph():
    """Averages that remembered where they came from would keep every mini-batch in memory."""
    layer = theirs.BatchNorm(3)
    layer(torch.ones(4, 3, dtype=torch.float64, requires_grad=True))
    assert {one.requires_grad for one in layer.buffers()} == {False}
