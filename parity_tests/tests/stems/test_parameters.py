"""Parameters: views that share theta, and vectors in torch's order."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parity_tests import assert_close
from parity_tests.compare.bridge import load, to_numpy, to_torch, unload
from scratch.initializers import initialize
from scratch.parameters import Parameters, from_vector, to_vector
from torch_ref import parameters as theirs
from torch_ref.network import Network

SIZES = (5, 4, 3, 2)


@pytest.mark.parity("Parameters", "to_vector", "from_vector")
@pytest.mark.seeds(50)
def test_theta_is_torchs_vector(rng):
    """W1, b1, W2, ... stand in theta as in `parameters_to_vector`, bit by bit, and come back."""
    parameters = initialize(SIZES, "he", rng)
    parameters.theta[:] = rng.standard_normal(parameters.theta.size)
    module = load(Network(layer_sizes=SIZES, output="softmax"), parameters)
    assert_close(to_vector(parameters), theirs.to_vector(module).numpy(), "theta")
    assert np.array_equal(to_vector(parameters), theirs.to_vector(module).numpy())

    vector = rng.standard_normal(parameters.theta.size)
    restored = from_vector(vector, parameters)
    theirs.from_vector(torch.from_numpy(vector), module)
    for name, tensor in theirs.parameters(module).items():
        assert_close(restored[name], to_numpy(name, tensor), name)
        assert np.array_equal(restored[name], unload(module)[name])


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_vectors_go_back_and_forth(layer_sizes, seed):
    """from_vector(to_vector(p)) is p, for any depth and widths, in memory of its own."""
    parameters = initialize(tuple(layer_sizes), "he", np.random.default_rng(seed))
    restored = from_vector(to_vector(parameters), parameters)
    assert restored.shapes == parameters.shapes
    assert all(np.array_equal(restored[name], parameters[name]) for name in parameters)
    vector = to_vector(parameters)
    assert not np.shares_memory(vector, parameters.theta)
    assert not np.shares_memory(from_vector(vector, parameters).theta, vector)


def test_views_share_theta(rng):
    """Writing to a view writes to theta, and the other way round."""
    parameters = initialize(SIZES, "he", rng)
    parameters["b1"] = np.full((4, 1), 7.0)
    assert parameters.theta[20:24].tolist() == [7.0] * 4
    parameters.theta[:] = 3.0
    assert (parameters["W3"] == 3.0).all()
    assert all(np.shares_memory(view, parameters.theta) for view in parameters.values())


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, copy.copy, Parameters.copy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copies_share_a_theta_of_their_own(clone, rng):
    """Copies and pickles keep views and theta one, apart from the original."""
    parameters = initialize(SIZES, "he", rng)
    other = clone(parameters)
    assert other.shapes == parameters.shapes
    assert np.array_equal(other.theta, parameters.theta)
    other["W2"][...] = 5.0
    assert (other.theta == 5.0).any()
    assert not (parameters.theta == 5.0).any()


@pytest.mark.parametrize("order", ["C", "F"])
def test_construction_lays_arrays_side_by_side(order, rng):
    """Each name has its array, whatever its memory; theta holds them row by row."""
    arrays = {"W1": rng.standard_normal((2, 3)), "b1": rng.standard_normal((2, 1))}
    parameters = Parameters({name: np.asarray(one, order=order) for name, one in arrays.items()})
    for name, one in arrays.items():
        assert np.array_equal(parameters[name], one)
    assert np.array_equal(parameters.theta, np.concatenate([one.flat for one in arrays.values()]))


def test_construction_copies(rng):
    """The arrays handed in are not the ones kept."""
    W = rng.standard_normal((2, 3))
    parameters = Parameters({"W1": W, "b1": np.zeros((2, 1))})
    parameters["W1"] = np.zeros((2, 3))
    assert W.any()
    assert list(parameters) == ["W1", "b1"]
    assert len(parameters) == 2
    assert "W1" in repr(parameters)


def test_zeros_like(rng):
    """The same names, shapes and dtype, all zero."""
    parameters = initialize(SIZES, "he", rng, np.float32)
    zeros = parameters.zeros_like()
    assert zeros.shapes == parameters.shapes
    assert zeros.theta.dtype == np.float32
    assert not zeros.theta.any()


def test_a_wrong_shape_is_not_broadcast(rng):
    """Assigning a scalar or a row to a matrix raises instead of spreading."""
    parameters = initialize(SIZES, "he", rng)
    for value in (0.0, np.zeros((1, 5)), np.zeros((5, 4))):
        with pytest.raises(ValueError, match=r"expected W1 of shape \(4, 5\)"):
            parameters["W1"] = value
    with pytest.raises(KeyError):
        parameters["W9"] = np.zeros((1, 1))


ONES = np.ones((1, 2))
REFUSED = [
    ([ONES], TypeError, "arrays to be a mapping of names, got list [array([[1., 1.]])]"),
    ({}, ValueError, "arrays to hold at least one name, got none"),
    ({"W1": [1.0]}, TypeError, "W1 to be a floating NumPy array, got list [1.0]"),
    ({"W1": ONES.astype(int)}, TypeError,
     "W1 to be a floating NumPy array, got an array of dtype int64 and shape (1, 2)"),
    ({"W1": ONES, "b1": ONES[:, :0]}, ValueError, "b1 to be finite and not empty, got []"),
    ({"W1": ONES, "b1": np.inf * ONES}, ValueError,
     "b1 to be finite and not empty, got [[inf inf]]"),
    ({"W1": ONES, "b1": ONES.astype("f4")}, TypeError,
     "one dtype for all parameters, got {'W1': dtype('float64'), 'b1': dtype('float32')}"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "error", "message"), REFUSED, ids=str)
def test_what_is_no_set_of_parameters_is_refused(arrays, error, message):
    """Names of floating arrays, finite, none empty and all of one dtype; else the whole refusal."""
    with pytest.raises(error) as refusal:
        Parameters(arrays)
    assert str(refusal.value) == f"expected {message}"


def test_empty_parameters_have_names_and_a_floating_dtype():
    """float64 where none is named; whole numbers are refused, and so are no shapes."""
    with pytest.raises(ValueError, match="expected shapes to hold at least one name, got none"):
        Parameters.empty({})
    assert Parameters.empty({"W1": (1, 2)}).theta.dtype == float
    with pytest.raises(TypeError, match="expected dtype to be a floating dtype, got 'int64'"):
        Parameters.empty({"W1": (1, 2)}, "int64")


def test_to_torch_and_back_is_the_identity(rng):
    """The bridge loses nothing, for weights, biases and activations."""
    for name, shape in {"W1": (3, 2), "b1": (3, 1), "A1": (3, 7), "theta": (9,)}.items():
        array = rng.standard_normal(shape)
        assert np.array_equal(to_numpy(name, to_torch(name, array)), array)
