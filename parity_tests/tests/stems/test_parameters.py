"""Parameters beside their rows: what is refused, and names that can only be written to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scratch.parameters import Parameters
from torch_ref import parameters as theirs
from torch_ref.network import Network

ONES = np.ones((1, 2))


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ([ONES], TypeError, "arrays to be a mapping"),
        ({}, ValueError, "arrays to hold at least one name"),
        ({"W1": [1.0]}, TypeError, "W1 to be a floating NumPy array"),
        ({"W1": ONES.astype(int)}, TypeError, "W1 to be a floating NumPy array"),
        ({"W1": ONES.astype(object)}, TypeError, "W1 to be a floating NumPy array"),
        ({"W1": ONES.astype("f2")}, TypeError, "W1 to be a floating NumPy array"),
        ({"W1": ONES, "b1": ONES[:, :0]}, ValueError, "b1 to be finite and not empty"),
        ({"W1": ONES, "b1": np.inf * ONES}, ValueError, "b1 to be finite and not empty"),
        ({"W1": ONES, "b1": ONES.astype("f4")}, TypeError, "one dtype for all parameters"),
    ],
)
def test_arrays_that_are_no_parameters_are_refused(arrays, error, message):
    with pytest.raises(error, match=f"expected {message}"):
        Parameters(arrays)


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


def test_empty_parameters_have_names_and_a_floating_dtype():
    made = Parameters.empty({"W1": (1, 2)}, "f4")
    assert (made.theta.dtype, made.zeros_like().theta.dtype) == (np.float32, np.float32)
    assert Parameters.empty({"W1": (1, 2)}).theta.dtype == float
    with pytest.raises(ValueError, match="expected shapes to hold at least one name"):
        Parameters.empty({})
    for dtype in ("int64", "float16", "complex128"):
        with pytest.raises(TypeError, match="expected dtype to be a floating dtype"):
            Parameters.empty({"W1": (1, 2)}, dtype)


def test_a_vector_that_does_not_fit_the_module_is_refused():
    module = Network(layer_sizes=(3, 5, 3))
    for length in (37, 39):
        with pytest.raises(ValueError, match=r"expected vector of shape \(N,\) with N = 38"):
            theirs.from_vector(torch.zeros(length, dtype=torch.float64), module)
    with pytest.raises(TypeError, match=r"expected vector of dtype torch\.float64"):
        theirs.from_vector(torch.zeros(38), module)
    with pytest.raises(ValueError, match="expected module to have a linear layer"):
        theirs.parameters(torch.nn.ReLU())
