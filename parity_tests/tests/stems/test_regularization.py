"""Regularization beside its rows: which parameters decay."""

from __future__ import annotations

import pytest

from torch_ref.batch_norm import BatchNorm
from torch_ref.network import Network
from torch_ref.parameters import parameters
from torch_ref.regularization import weight_decay_groups


@pytest.mark.parametrize("norm", [None, BatchNorm])
def test_weights_alone_decay_and_every_parameter_learns_once(norm):
    module = Network(layer_sizes=(5, 4, 3), batch_norm=norm)
    names = {id(parameter): name for name, parameter in parameters(module).items()}
    decaying, rest = weight_decay_groups(module, 0.9, 3)
    assert [names[id(one)] for one in decaying["params"]] == ["W1", "W2"]
    assert [names[id(one)] for one in rest["params"]] == [n for n in names.values() if "W" not in n]
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.9 / 3, 0.0)
