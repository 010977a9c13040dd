"""Activations: every pair against torch's module, ties at zero, saturation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from parity_tests import assert_close, assert_switches, assert_twins
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import FORWARD, WIDEST
from parity_tests.compare.gauges import softmax_gauges
from scratch.activations import ACTIVATIONS, LEAKY_SLOPE
from torch_ref.activations import ACTIVATIONS as THEIRS

#: of activations whose gradient's terms may cancel in every column: saturated probabilities.
GAUGES = {"softmax": lambda arguments, dA: {"Z": softmax_gauges(arguments, dA)["Z"]}}

DIFFERENTIABLE = [name for name, one in ACTIVATIONS.items() if one.backward is not None]


def claims(name):
    """Return a case that proves both halves of an activation."""
    return pytest.param(name, marks=pytest.mark.parity(f"{name}_forward", f"{name}_backward"))


@pytest.mark.seeds(50)
@pytest.mark.parametrize("name", [claims(name) for name in DIFFERENTIABLE])
def test_pair(name, dtype, device, rng):
    """Output and gradient agree on both branches."""
    Z = 3 * rng.standard_normal((5, 7))
    assert_switches(Z > 0, "Z > 0")
    forward, backward = ACTIVATIONS[name]
    inputs, options = {"Z": Z.astype(dtype)}, {"gauges": GAUGES.get(name), "device": device}
    assert_twins(forward, backward, THEIRS[name](), inputs, rng, **options)


@pytest.mark.parity("hardmax_forward")
@pytest.mark.seeds(50)
def test_hardmax(rng):
    """One-hot at the first largest entry, ties included."""
    Z = rng.integers(0, 3, (4, 30)).astype(float)
    assert_switches((Z.max(axis=0) == Z).sum(axis=0) > 1, "tied")
    A, cache = ACTIVATIONS["hardmax"].forward(Z)
    assert cache is None
    assert ACTIVATIONS["hardmax"].backward is None
    assert_close(A, columns(THEIRS["hardmax"]()(rows(Z))), "hardmax")


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_derivative_at_zero_is_the_left_one(name, device, rng):
    """At 0.0 and -0.0 both sides take the slope of the negative branch: 0, or 0.01."""
    Z = np.array([[0.0, -0.0, 1.0, -1.0]])
    forward, backward = ACTIVATIONS[name]
    assert_twins(forward, backward, THEIRS[name](), {"Z": Z}, rng, differences=False, device=device)
    slope = {"relu": 0.0, "leaky_relu": LEAKY_SLOPE}[name]
    dZ = backward(np.ones_like(Z), forward(Z)[1])["Z"]
    assert dZ.tolist() == [[slope, slope, 1.0, slope]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_saturated_logits_stay_finite_and_exact(dtype):
    """Logits to +-1e4 give what SciPy gives, without a warning."""
    Z = np.array([[-1e4, -700, -40, -1, 0, 1, 40, 700, 1e4]], dtype)
    sigmoid = ACTIVATIONS["sigmoid"].forward(Z)[0]
    assert_close(sigmoid, scipy.special.expit(Z), "sigmoid")
    assert (sigmoid[0, 1:3] > 0).all() or dtype == np.float32
    pair = np.concatenate([Z, np.zeros_like(Z)])
    softmax = ACTIVATIONS["softmax"].forward(pair)[0]
    assert_close(softmax, scipy.special.softmax(pair, axis=0), "softmax")
    assert_close(softmax.sum(axis=0), np.ones(Z.shape[1], dtype), "sum over classes")


def test_the_sigmoid_keeps_its_digits_where_it_is_tiny():
    """Down to Z = -700 each A is right by itself, on both sides, beside a run in longdouble.

    The ruler of a whole tensor is its largest entry: it takes any e^-500 for any other.
    """
    Z = np.linspace(-700, 40, 149)[None]
    exact = 1 / (1 + np.exp(-Z.astype(WIDEST)))
    for side, A in (
        ("ours", ACTIVATIONS["sigmoid"].forward(Z)[0]),
        ("ours in longdouble", ACTIVATIONS["sigmoid"].forward(Z.astype(WIDEST))[0]),
        ("torch's", columns(THEIRS["sigmoid"]()(rows(Z)))),
    ):
        errors = np.abs(A / exact - 1) / np.finfo(np.float64).eps
        worst = errors.argmax()
        assert errors.flat[worst] <= FORWARD.eps, f"{side} at Z = {Z.flat[worst]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_tanh_is_exact_far_from_zero_and_close_to_it(dtype):
    """At +-1e4 it is +-1 and flat, without a warning; at 1e-20 it is Z, without cancellation."""
    Z = np.array([[-1e4, -700, 700, 1e4, 1e-20]], dtype)
    A, cache = ACTIVATIONS["tanh"].forward(Z)
    assert A.tolist() == [[-1, -1, 1, 1, Z[0, 4]]]
    assert ACTIVATIONS["tanh"].backward(np.ones_like(Z), cache)["Z"].tolist() == [[0, 0, 0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dtype_is_kept(name, dtype, rng):
    """No activation promotes, forward or backward."""
    Z = rng.standard_normal((3, 4)).astype(dtype)
    A, cache = ACTIVATIONS[name].forward(Z)
    assert A.dtype == dtype
    if name in DIFFERENTIABLE:
        assert ACTIVATIONS[name].backward(A, cache)["Z"].dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_outputs_are_memory_of_their_own(name, rng):
    """Writing to A or dZ spoils neither the input nor the upstream gradient."""
    Z, dA = rng.standard_normal((2, 3, 4))
    A, cache = ACTIVATIONS[name].forward(Z)
    assert not np.shares_memory(A, Z)
    if name in DIFFERENTIABLE:
        assert not np.shares_memory(ACTIVATIONS[name].backward(dA, cache)["Z"], dA)


def test_a_large_leaky_slope_would_be_seen():
    """The slope is torch's own default."""
    assert torch.nn.LeakyReLU().negative_slope == LEAKY_SLOPE
