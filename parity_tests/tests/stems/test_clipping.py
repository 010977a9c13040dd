"""Clipping beside its rows: norms that no plain sum of squares has, epsilon, torch_ref."""

import numpy as np
import pytest
import torch

from parity_tests import assert_close
from parity_tests.tests.stems.common import refused
from parity_tests.twins.clipping import SHAPES, carried, draw_gradients, left_by
from scratch import clipping as ours
from scratch.parameters import Parameters
from torch_ref import clipping as theirs
from torch_ref.network import Network

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])


def row_of(values, dtype=np.float64):
    return Parameters({"W1": np.array([values], dtype)})


@DTYPES
@pytest.mark.parametrize("share", [-0.9, -0.6, 0.0, 0.6, 0.9])
def test_squares_out_of_range(dtype, share, rng):
    """Entries near either end of the floats have a norm, where torch's is infinite or 0."""
    power = int(share * np.finfo(dtype).maxexp)
    plain = draw_gradients(rng)["gradients"].theta.astype(dtype)
    gradients = row_of(np.ldexp(plain, power), dtype)  # exact, and so is the norm's factor
    reference = np.sqrt(np.square(plain).sum())
    norm = ours.global_norm(gradients)
    assert_close(norm, np.ldexp(reference, power), "norm")
    limit = 1.0 if share >= 0 else float(norm) / 2
    if limit:  # a limit is a Python float, longdouble norms may be too small for one
        clipped = ours.clip_by_global_norm(gradients, limit, epsilon=0.0)
        assert_close(clipped.theta, dtype(limit) * (plain / reference), "clipped")


def test_numbers_that_no_float_holds():
    """A norm beyond every float is infinite, silently; what is not finite stays so."""
    gradients = row_of([1.7e308] * 4)
    assert ours.global_norm(gradients) == np.inf
    assert not ours.clip_by_global_norm(gradients, 1.0).theta.any()
    for poison in (np.inf, np.nan):
        gradients["W1"][0, 0] = poison
        assert np.array_equal(ours.global_norm(gradients), poison, equal_nan=True)
    assert np.isnan(ours.clip_by_global_norm(gradients, 1.0).theta).all()
    narrow = row_of([3e38, -2.0], np.float32)
    for clip in (ours.clip_by_value, ours.clip_by_global_norm):
        assert np.array_equal(clip(narrow, 1e300).theta, narrow.theta)


def test_long_vectors_keep_their_digits():
    """A plain sum rounds a million equal squares one way each time."""
    for value in np.float32([1.1, -1.1e30]):
        norm = ours.global_norm(row_of(np.full(1_000_000, value), np.float32))
        assert_close(norm, 1000 * np.abs(value), "norm")
    tiny = [*[-1e-162] * 100_000, -1.5e-154]  # last, so that the sum of the others is not lost
    exact = 1.5e-154 * np.sqrt(1 + 1e5 * (1e-162 / 1.5e-154) ** 2)
    assert_close(ours.global_norm(row_of(tiny)), np.float64(exact), "norm")


@DTYPES
def test_ordinary_norms_are_the_plain_root(dtype, rng):
    """Scaled by the largest entry first, these vectors would lose their last bit."""
    info, one = np.finfo(dtype), dtype(1)

    def scaled_first(theta):
        largest = np.abs(theta).max()
        return largest * np.sqrt((theta / largest) @ (theta / largest))

    for total in (one, np.nextafter(one, dtype(0))):
        theta = np.zeros(5, dtype)
        while theta @ theta != total or scaled_first(theta) == np.sqrt(total):
            theta = rng.standard_normal(5).astype(dtype)
            theta /= np.sqrt(theta @ theta)
        least = -(-(info.minexp + info.nmant) // 2) + (total < 1)
        most = info.maxexp // 2 - (total == 1)
        for power in (least, -1, 0, 1, most):
            gradients = row_of(np.ldexp(theta, power), dtype)
            assert ours.global_norm(gradients) == np.ldexp(np.sqrt(total), power)


def test_torch_takes_modules_tensors_and_iterators():
    """A module, its parameters, one tensor; those without a gradient are passed over."""
    module = Network(layer_sizes=(3, 2))
    refused("parameters with gradients", theirs.global_norm, module)
    weight, _ = module.parameters()
    for form in (module, module.parameters(), weight, iter([weight])):
        weight.grad = torch.full_like(weight, 2.0)
        assert abs(theirs.clip_by_global_norm(form, 1.0).item() - 24**0.5) < 1e-14
        assert abs(theirs.global_norm(weight).item() - 1) < 1e-6
    refused("parameters to be tensors", theirs.clip_by_value, [None], 1.0)


def test_epsilon_is_a_dialect(rng):
    """The textbook's clipped norm is the limit, at which it stays; torch's is norm + 1e-6 over."""
    gradients = row_of([3.0, 0.0, -4.0])
    assert (ours.clip_by_global_norm(gradients, 5.0, 0.0).theta == gradients.theta).all()
    below = ours.clip_by_global_norm(gradients, np.nextafter(5, 0), 0.0)
    assert (below.theta != gradients.theta)[[0, 2]].all()
    clipped = ours.clip_by_global_norm(gradients, 5.0, 1e-6)
    assert_close(clipped.theta, gradients.theta * (5 / (5 + 1e-6)), "at the limit")
    gradients = draw_gradients(rng)["gradients"]
    gradients.theta[:] *= 1e-5
    norm = np.linalg.norm(gradients.theta)
    textbook = ours.clip_by_global_norm(gradients, norm / 2, epsilon=0.0)
    assert_close(ours.global_norm(textbook), norm / 2, "norm clipped by the textbook")
    torchs = Parameters(left_by(theirs.clip_by_global_norm, gradients, norm / 2))
    assert_close(norm / (norm + 1e-6) * textbook.theta, torchs.theta, "torch's, by the factor")


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1.0), (np.float32, 1e-50)])
def test_zeros_stay(dtype, limit):
    """Nothing is divided by a norm of 0, even where float32 rounds the limit to 0."""
    zeros = Parameters.empty(SHAPES, dtype)
    for epsilon in (0.0, 1e-6):
        clipped = ours.clip_by_global_norm(zeros, limit, epsilon)
        for name, view in left_by(theirs.clip_by_global_norm, zeros, limit).items():
            assert_close(clipped[name], view, name, expect_zero=True)
    assert ours.global_norm(zeros) == theirs.global_norm(carried(zeros)) == 0
