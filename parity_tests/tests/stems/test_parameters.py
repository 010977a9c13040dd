"""Parameters beside their rows: refusals, and names that can only be written to."""

from functools import partial

import numpy as np
import pytest
import torch

from parity_tests.tests.stems.common import refused
from scratch.parameters import Parameters
from torch_ref import parameters as theirs
from torch_ref.network import Network

ONES = np.ones((1, 2))
VECTOR = torch.zeros(38, dtype=torch.float64)
EMPTY, NETWORK = partial(Parameters.empty, {"W1": (1, 2)}), Network(layer_sizes=(3, 5, 3))


# fmt: off
REFUSED = (
    (Parameters, [ONES], "arrays to be a mapping"), (Parameters, {}, "to hold at least one name"),
    *((Parameters, {"W1": one}, "W1 to be a floating NumPy array")
      for one in ([1.0], ONES.astype(int), ONES.astype("f2"))),
    (Parameters, {"W1": ONES, "b1": ONES[:, :0]}, "b1 to be finite and not empty"),
    (Parameters, {"W1": ONES, "b1": np.inf * ONES}, "b1 to be finite and not empty"),
    (Parameters, {"W1": ONES, "b1": ONES.astype("f4")}, "one dtype for all parameters"),
    (Parameters.empty, {}, "shapes to hold at least one name"),
    (EMPTY, "int64", "dtype to be a floating dtype"), (EMPTY, "float16", "dtype to be a floating"),
    (theirs.parameters, torch.nn.ReLU(), "module to have a linear layer"),
    (partial(theirs.from_vector, VECTOR[:37]), NETWORK, "N = 38"),
    (partial(theirs.from_vector, VECTOR), Network(layer_sizes=(3, 5, 2)), "N = 32"),
    (partial(theirs.from_vector, VECTOR.float()), NETWORK, "dtype"),
)
# fmt: on


def test_what_makes_no_parameters_is_refused():
    for make, argument, words in REFUSED:
        refused(words, make, argument)


def test_names_can_be_written_to_and_neither_added_nor_broadcast_over():
    parameters = Parameters({"W1": np.ones((4, 5)), "b1": np.ones((4, 1))})
    for value in (0.0, np.zeros((1, 5)), np.zeros((5, 4))):
        refused(r"W1 of shape \(4, 5\)", parameters.__setitem__, "W1", value)
    with pytest.raises(KeyError):
        parameters["W9"] = np.zeros((1, 1))
    assert (list(parameters), len(parameters)) == (["W1", "b1"], 2)
    assert parameters.layout == (("W1", (4, 5)), ("b1", (4, 1)))
    assert "W1" in repr(parameters)
    made = Parameters.empty({"W1": (1, 2)}, "f4")
    assert (made.theta.dtype, made.zeros_like().theta.dtype) == (np.float32, np.float32)
    assert Parameters.empty({"W1": (1, 2)}).theta.dtype == float
