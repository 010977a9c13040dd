"""Parameters beside their rows: refusals, and names that can only be written to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scratch.parameters import Parameters
from torch_ref import parameters as theirs
from torch_ref.network import Network

ONES = np.ones((1, 2))
VECTOR = torch.zeros(38, dtype=torch.float64)


# fmt: off
REFUSED = (
    (Parameters, [ONES], "arrays to be a mapping"),
    (Parameters, {}, "arrays to hold at least one name"),
    (Parameters, {"W1": [1.0]}, "W1 to be a floating NumPy array"),
    (Parameters, {"W1": ONES.astype(int)}, "W1 to be a floating NumPy array"),
    (Parameters, {"W1": ONES.astype("f2")}, "W1 to be a floating NumPy array"),
    (Parameters, {"W1": ONES, "b1": ONES[:, :0]}, "b1 to be finite and not empty"),
    (Parameters, {"W1": ONES, "b1": np.inf * ONES}, "b1 to be finite and not empty"),
    (Parameters, {"W1": ONES, "b1": ONES.astype("f4")}, "one dtype for all parameters"),
    (Parameters.empty, {}, "shapes to hold at least one name"),
    (lambda one: Parameters.empty({"W1": (1, 2)}, one), "int64", "dtype to be a floating dtype"),
    (lambda one: Parameters.empty({"W1": (1, 2)}, one), "float16", "dtype to be a floating dtype"),
    (theirs.parameters, torch.nn.ReLU(), "module to have a linear layer"),
    (lambda one: theirs.from_vector(one, Network(layer_sizes=(3, 5, 3))), VECTOR[:37], "N = 38"),
    (lambda one: theirs.from_vector(one, Network(layer_sizes=(3, 5, 2))), VECTOR, "N = 32"),
    (lambda one: theirs.from_vector(one, Network(layer_sizes=(3, 5, 3))), VECTOR.float(), "dtype"),
)
# fmt: on


@pytest.mark.parametrize(("make", "argument", "message"), REFUSED)
def test_what_makes_no_parameters_is_refused(make, argument, message):
    with pytest.raises((TypeError, ValueError), match=f"expected .*{message}"):
        make(argument)


def test_names_can_be_written_to_and_neither_added_nor_broadcast_over():
    parameters = Parameters({"W1": np.ones((4, 5)), "b1": np.ones((4, 1))})
    for value in (0.0, np.zeros((1, 5)), np.zeros((5, 4))):
        with pytest.raises(ValueError, match=r"expected W1 of shape \(4, 5\)"):
            parameters["W1"] = value
    with pytest.raises(KeyError):
        parameters["W9"] = np.zeros((1, 1))
    assert (list(parameters), len(parameters)) == (["W1", "b1"], 2)
    assert parameters.layout == (("W1", (4, 5)), ("b1", (4, 1)))
    assert "W1" in repr(parameters)
    made = Parameters.empty({"W1": (1, 2)}, "f4")
    assert (made.theta.dtype, made.zeros_like().theta.dtype) == (np.float32, np.float32)
    assert Parameters.empty({"W1": (1, 2)}).theta.dtype == float
