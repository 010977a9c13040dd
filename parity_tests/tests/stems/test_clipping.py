"""Clipping: by value and by global norm, entry for entry what torch leaves in `.grad`."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parity_tests import assert_close, assert_switches, measure
from parity_tests.compare.bridge import to_numpy, to_torch
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.witnesses import widened
from scratch import clipping as ours
from scratch.parameters import Parameters
from torch_ref import clipping as theirs
from torch_ref.network import Network

SHAPES = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1)}
SIZE = sum(n * k for n, k in SHAPES.values())


def draw(rng, dtype=np.float64, scale=1.0):
    """Draw gradients whose tensors differ in size by tens, an exact zero among them."""
    sizes = dict(zip(SHAPES, (1.0, 10.0, 0.1, 3.0), strict=True))
    arrays = {
        name: (scale * sizes[name] * rng.standard_normal(shape)).astype(dtype)
        for name, shape in SHAPES.items()
    }
    arrays["W1"][0, 0] = 0.0
    return Parameters(arrays)


def carry(gradients):
    """Return torch parameters with these gradients, by name."""
    tensors = {}
    for name, view in gradients.items():
        tensors[name] = torch.zeros_like(to_torch(name, view), requires_grad=True)
        tensors[name].grad = to_torch(name, view)
    return tensors


def left(tensors):
    """Return the gradients that torch has left."""
    return Parameters({name: to_numpy(name, tensor.grad) for name, tensor in tensors.items()})


def exact_norm(gradients):
    """Return the norm in extended precision, the third witness."""
    return np.sqrt(np.square(gradients.theta.astype(np.longdouble)).sum())


def assert_untouched(gradients, before):
    """Raise unless the gradients handed in are as they were."""
    assert np.array_equal(gradients.theta, before.theta)


@pytest.mark.parity("clip_by_value")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("limit", [1e-3, 0.1, 1.0, 1e3])
def test_clip_by_value(limit, dtype, rng):
    """Each entry is the same float on both sides."""
    gradients = draw(rng, dtype)
    before, tensors = gradients.copy(), carry(gradients)
    clipped = ours.clip_by_value(gradients, limit)
    theirs.clip_by_value(tensors.values(), limit)
    assert clipped.layout == gradients.layout
    truth = None if dtype is np.float32 else widened(ours.clip_by_value, gradients, limit)
    reference = left(tensors).theta
    assert_close(clipped.theta, reference, "clipped by value", wider=truth and truth.theta)
    assert np.array_equal(clipped.theta, left(tensors).theta)
    assert_untouched(gradients, before)
    inside = np.abs(before.theta) <= dtype(limit)
    assert np.array_equal(clipped.theta[inside], before.theta[inside])
    assert (np.abs(clipped.theta[~inside]) == dtype(limit)).all()
    if limit == 0.1:
        assert_switches(inside, "an entry inside the limit")


@pytest.mark.parity("clip_by_global_norm", "global_norm")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("ratio", [1e-3, 0.5, 0.999999, 1.000001, 2.0])
def test_clip_by_global_norm(ratio, dtype, rng):
    """Limits below and above the norm: the norm, one factor, and every entry agree."""
    gradients = draw(rng, dtype)
    before, tensors = gradients.copy(), carry(gradients)
    limit = ratio * float(exact_norm(gradients))
    norm = ours.global_norm(gradients)
    truth = widened(ours.global_norm, gradients)
    assert_close(norm, theirs.global_norm(tensors.values()).numpy()[()], "norm", wider=truth)
    assert_close(norm, exact_norm(gradients).astype(dtype), "norm")
    clipped = ours.clip_by_global_norm(gradients, limit)
    reported = theirs.clip_by_global_norm(tensors.values(), limit)
    assert_close(norm, reported.numpy()[()], "norm before clipping", wider=truth)
    truth = widened(ours.clip_by_global_norm, gradients, limit) or {}
    for name, view in left(tensors).items():
        assert_close(clipped[name], view, name, wider=truth.get(name))
    assert_untouched(gradients, before)
    if ratio > 1 and dtype is np.float64:
        assert_untouched(clipped, before)
    else:
        # a shorter vector in the same direction: the factor is one for all tensors
        factor = min(1, limit / (exact_norm(before) + 1e-6))
        assert_close(clipped.theta, (factor * before.theta).astype(dtype), "one factor")


def test_epsilon_is_a_dialect(rng):
    """The textbook's clipped norm is the limit; torch's is norm / (norm + 1e-6) of it."""
    gradients = draw(rng, scale=1e-5)
    norm = exact_norm(gradients)
    limit = float(norm) / 2
    textbook = ours.clip_by_global_norm(gradients, limit, epsilon=0.0)
    assert_close(ours.global_norm(textbook), np.float64(limit), "norm clipped by the textbook")
    tensors = carry(gradients)
    theirs.clip_by_global_norm(tensors.values(), limit)
    factor = norm / (norm + 1e-6)
    assert_close(
        (factor * textbook.theta).astype(np.float64), left(tensors).theta, "torch's, by the factor"
    )
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="torch's differs at"):
        assert_close(textbook.theta, left(tensors).theta, "torch's")
    assert measure(textbook.theta, left(tensors).theta).error > 1e10


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_at_the_limit(epsilon):
    """A norm equal to the limit stays, but for epsilon's factor; one float above is clipped."""
    gradients = Parameters({"W1": np.array([[3.0, 0.0]]), "b1": np.array([[-4.0]])})
    assert ours.global_norm(gradients) == 5.0
    expected = gradients.theta * (5 / (5 + epsilon))
    assert_close(ours.clip_by_global_norm(gradients, 5.0, epsilon).theta, expected, "at the limit")
    assert (ours.clip_by_global_norm(gradients, 5.0, 0.0).theta == gradients.theta).all()
    assert (ours.clip_by_global_norm(gradients, np.nextafter(5, 0), 0.0).theta != gradients.theta)[
        [0, 2]
    ].all()
    assert np.array_equal(ours.clip_by_value(gradients, 4.0).theta, gradients.theta)
    assert np.array_equal(ours.clip_by_value(gradients, 3.5).theta, [3.0, 0.0, -3.5])


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_zeros_stay(epsilon):
    """Nothing is divided by a norm of zero."""
    zeros = Parameters.empty(SHAPES)
    tensors = carry(zeros)
    theirs.clip_by_global_norm(tensors.values(), 1.0)
    clipped = ours.clip_by_global_norm(zeros, 1.0, epsilon)
    assert_close(clipped.theta, left(tensors).theta, "zeros", expect_zero=True)
    assert ours.global_norm(zeros) == theirs.global_norm(tensors.values()) == 0


def test_zeros_stay_where_float32_rounds_the_limit_to_zero():
    """A norm of 0 is not above a limit of 0: there is no 0 / 0."""
    zeros = Parameters.empty(SHAPES, np.float32)
    assert not ours.clip_by_global_norm(zeros, 1e-50, epsilon=0.0).theta.any()
    zeros.theta[:] = 1
    assert not ours.clip_by_global_norm(zeros, 1e-50, epsilon=0.0).theta.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("share", [-0.9, -0.6, -0.4, 0.0, 0.4, 0.6, 0.9])
def test_squares_out_of_range(dtype, share, rng):
    """Entries near either end of the floats have a norm, and are clipped to the limit."""
    power = int(share * np.finfo(dtype).maxexp)
    plain = draw(rng, dtype)
    gradients = plain.copy()
    gradients.theta[:] = np.ldexp(plain.theta, power)  # exact, and so is the norm's factor
    reference = np.sqrt(np.square(plain.theta).sum())
    norm = ours.global_norm(gradients)
    assert_close(norm, np.ldexp(reference, power), "norm")
    limit = 1.0 if share >= 0 else float(norm) / 2
    if limit:  # a limit is a Python float, longdouble norms may be too small for one
        clipped = ours.clip_by_global_norm(gradients, limit, epsilon=0.0)
        assert_close(clipped.theta, dtype(limit) * (plain.theta / reference), "clipped")


def test_torch_loses_norms_whose_squares_overflow():
    """Its norm of 5e300 is infinite and its clipped gradients zero; ours point where they did."""
    gradients = Parameters({"W1": np.array([[3e300, 4e300]])})
    tensors = carry(gradients)
    theirs.clip_by_global_norm(tensors.values(), 1.0)
    assert theirs.global_norm(carry(gradients).values()) == np.inf
    assert not left(tensors).theta.any()
    assert_close(ours.global_norm(gradients), np.float64(5e300), "norm")
    clipped = ours.clip_by_global_norm(gradients, 1.0)
    assert_close(clipped.theta, np.array([0.6, 0.8]), "clipped")


def test_what_no_float_holds():
    """A norm beyond every float is infinite, silently; what is not finite stays so."""
    gradients = Parameters({"W1": np.full((2, 2), 1.7e308)})
    assert ours.global_norm(gradients) == np.inf
    assert not ours.clip_by_global_norm(gradients, 1.0).theta.any()
    for poison, norm in ((np.inf, np.inf), (np.nan, np.nan)):
        gradients["W1"][0, 0] = poison
        tensors = torch.from_numpy(gradients.theta.copy())
        assert np.array_equal(ours.global_norm(gradients), norm, equal_nan=True)
        assert np.array_equal(torch.linalg.vector_norm(tensors).numpy(), norm, equal_nan=True)
    assert np.isnan(ours.clip_by_global_norm(gradients, 1.0).theta).all()
    narrow = Parameters({"W1": np.array([[3e38, -2.0]], np.float32)})
    assert np.array_equal(ours.clip_by_value(narrow, 1e300).theta, narrow.theta)
    assert np.array_equal(ours.clip_by_global_norm(narrow, 1e300).theta, narrow.theta)


@pytest.mark.parametrize("value", [1.1, -1.1, 1.1e30, -1.1e30])
def test_long_vectors_keep_their_digits(value):
    """A million equal float32 squares, which a plain sum rounds one way each time."""
    theta = np.full(1_000_000, value, np.float32)
    assert_close(
        ours.global_norm(Parameters({"W1": theta[None, :]})), 1000 * np.abs(theta[0]), "norm"
    )


def test_many_tiny_squares_are_not_lost():
    """One square just inside the floats, and 1e5 below them that together are 4e-12 of it."""
    theta = np.full((1, 100_001), -1e-162)
    theta[0, -1] = -1.5e-154  # last, so that the sum of the others is not rounded away
    exact = 1.5e-154 * np.sqrt(1 + 1e5 * (1e-162 / 1.5e-154) ** 2)
    assert_close(ours.global_norm(Parameters({"W1": theta})), np.float64(exact), "norm")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_ordinary_norms_are_the_plain_root(dtype, rng):
    """Until squares leave the floats a norm is the root of their sum, to the last bit.

    The squares sum to 1, or to the number before it, times a power of 4: the ends of the range are
    met exactly. Scaled by the largest entry first, these vectors lose their last bit.
    """
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
        assert info.tiny / info.eps <= np.ldexp(total, 2 * least)
        assert np.ldexp(total, 2 * most) <= info.max
        for power in (least, least // 2, -1, 0, 1, most // 2, most):
            gradients = Parameters({"W1": np.ldexp(theta, power)[None, :]})
            assert ours.global_norm(gradients) == np.ldexp(np.sqrt(total), power)


def test_per_tensor_norms_are_wrong(rng):
    """Clipping each tensor by its own norm changes the direction of the whole."""
    gradients = draw(rng)
    limit = float(exact_norm(gradients)) / 4
    mine = ours.clip_by_global_norm(gradients, limit)
    tensors = carry(gradients)
    for tensor in tensors.values():
        theirs.clip_by_global_norm(tensor, limit)
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="clipped differs at"):
        assert_close(mine.theta, left(tensors).theta, "clipped")
    assert np.abs(mine.theta - left(tensors).theta).max() > 0.1 * np.abs(mine.theta).max()
    assert ours.global_norm(left(tensors)) > limit


def cosine(one, other):
    """Return the cosine of the angle between two gradients."""
    return one.theta @ other.theta / (ours.global_norm(one) * ours.global_norm(other))


@pytest.mark.seeds(20)
def test_direction(rng):
    """The norm's clipping keeps it, the value's turns it; both make gradients shorter."""
    gradients = draw(rng)
    by_norm, by_value = ours.clip_by_global_norm(gradients, 0.5), ours.clip_by_value(gradients, 0.5)
    assert_close(cosine(by_norm, gradients), np.float64(1), "cosine")
    assert cosine(by_value, gradients) < 0.99
    assert max(ours.global_norm(by_norm), np.abs(by_value.theta).max()) <= 0.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.floats(1e-3, 1e3))
def test_properties(values, limit):
    """Bounds hold, clipping twice is clipping once, and a sign flips through."""
    gradients = Parameters({"W1": np.array([values])})
    flipped = Parameters({"W1": -gradients["W1"]})
    for clip in (ours.clip_by_value, partial(ours.clip_by_global_norm, epsilon=0.0)):
        once = clip(gradients, limit)
        assert np.allclose(clip(once, limit).theta, once.theta, rtol=1e-15, atol=0)
        assert np.array_equal(clip(flipped, limit).theta, -once.theta)
        assert np.abs(once.theta).max() <= limit * (1 + 1e-15)


def test_in_place_on_a_vector(rng):
    """The training loop's halves write to theta itself, which the views share."""
    gradients = draw(rng)
    by_value, by_norm = gradients.copy(), gradients.copy()
    ours.overwrite_by_value(by_value.theta, 0.3)
    ours.overwrite_by_norm(by_norm.theta, 0.3, 1e-6)
    for name in SHAPES:
        assert np.array_equal(by_value[name], ours.clip_by_value(gradients, 0.3)[name])
        assert np.array_equal(by_norm[name], ours.clip_by_global_norm(gradients, 0.3)[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(dtype, rng):
    """Limits of any float kind leave the gradients their dtype."""
    gradients = draw(rng, dtype)
    for limit in (0.1, np.float64(0.1), np.float32(0.1), 1):
        assert ours.clip_by_value(gradients, limit).theta.dtype == dtype
        assert ours.clip_by_global_norm(gradients, limit, np.float64(1e-6)).theta.dtype == dtype
    assert ours.global_norm(gradients).dtype == dtype


def test_torch_takes_modules_tensors_and_iterators(rng):
    """A module, its parameters, one tensor; those without a gradient are passed over."""
    module = Network(layer_sizes=(3, 2))
    with pytest.raises(ValueError, match="expected parameters with gradients"):
        theirs.global_norm(module)
    weight, _ = module.parameters()
    for form in (module, module.parameters(), weight, iter([weight])):
        weight.grad = torch.full_like(weight, 2.0)
        assert abs(theirs.clip_by_global_norm(form, 1.0).item() - 24**0.5) < 1e-14
        assert abs(theirs.global_norm(weight).item() - 1) < 1e-6
    weight.grad = torch.full_like(weight, 2.0)
    total = torch.nn.utils.get_total_norm([weight.grad])
    assert theirs.global_norm(module).item() == total.item()
    for bad in ([1.0], [None], ["W"]):
        with pytest.raises(TypeError, match="expected parameters to be tensors"):
            theirs.clip_by_value(bad, 1.0)


def spoil_tensors(expected, value):
    """Yield (how, bad value, error) for a module or tensors."""
    yield "None", None, TypeError
    yield "a number", 3, TypeError
    yield "a string", "parameters", TypeError
    yield "the class of a module", Network, TypeError
    yield "numbers", [1.0], TypeError
    yield "no tensor", [], ValueError
    yield "tensors without gradients", [torch.ones(2)], ValueError


SPOILS = {"_Tensors": spoil_tensors}
GRADIENTS = Parameters({"W1": np.array([[3.0, -4.0]])})
EXAMPLES = {
    "scratch.clipping.clip_by_value": {"gradients": GRADIENTS, "limit": 0.5},
    "scratch.clipping.global_norm": {"gradients": GRADIENTS},
    "scratch.clipping.clip_by_global_norm": {
        "gradients": GRADIENTS, "limit": 0.5, "epsilon": 1e-6,
    },
    "torch_ref.clipping.clip_by_value": {
        "parameters": list(carry(GRADIENTS).values()), "limit": 0.5,
    },
    "torch_ref.clipping.global_norm": {"parameters": list(carry(GRADIENTS).values())},
    "torch_ref.clipping.clip_by_global_norm": {
        "parameters": list(carry(GRADIENTS).values()), "limit": 0.5,
    },
}  # fmt: skip
