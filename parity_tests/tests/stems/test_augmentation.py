"""Augmentation beside its rows: the draws' distributions and generators, directions, refusals."""

import numpy as np
import pytest
import torch
from scipy.stats import bernoulli, randint, uniform

from parity_tests import assert_close
from parity_tests.compare.bridge import columns, images_to_torch, rows
from parity_tests.compare.budgets import of_draws
from parity_tests.tests.stems.common import assert_drawn_from, refused, sides, source
from parity_tests.twins.augmentation import sampling, turned_by_scipy
from scratch import augmentation as ours
from torch_ref import augmentation as theirs

SIDES, DRAWS = sides("augmentation"), 30_000

#: draws with a choice, and the distribution of each number.
DISTRIBUTIONS = {
    "flips": ({"probability": 0.3}, bernoulli(0.3)),
    "offsets": ({"padding": 2}, randint(0, 5)),
    "shifts": ({"largest": 1}, randint(-1, 2)),
    "angles": ({"largest": 0.3}, uniform(-0.3, 0.6)),
}


def drawn(side, name, m=DRAWS, **options):
    given = {**DISTRIBUTIONS[name][0], "m": m, **source(side, 2)}
    found = getattr(side, f"draw_{name}")(**given, **options)
    return columns(found) if side is theirs and found.ndim == 2 else np.asarray(found)


@SIDES
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_are_uniform(side, name):
    found = np.atleast_2d(drawn(side, name))
    for numbers in (*found, found.ravel("F")):
        assert_drawn_from(DISTRIBUTIONS[name][1], numbers)


def test_angles_are_as_large_on_either_side_and_in_float32():
    """In float32 they are the same draws rounded."""
    sizes = (np.abs(drawn(side, "angles")).mean() for side in (ours, theirs))
    assert_close(*sizes, "mean size", budget=of_draws(DRAWS))
    for side, dtype in ((ours, np.float32), (theirs, torch.float32)):
        narrow, wide = drawn(side, "angles", m=99, dtype=dtype), drawn(side, "angles", m=99)
        assert narrow.dtype == np.float32
        assert np.array_equal(narrow, wide.astype(np.float32))


def test_draws_end_where_they_should():
    """Draws below the probability are flips, not one that equals it; torch's are anywhere."""
    draw = np.random.default_rng(2).random()
    for probability, flip in ((draw, 0), (np.nextafter(draw, 1), 1)):
        assert ours.draw_flips(1, np.random.default_rng(2), probability) == flip
    elsewhere = type("Elsewhere", (torch.Generator,), {"device": torch.device("meta")})()
    for name, (choice, _) in DISTRIBUTIONS.items():
        assert getattr(theirs, f"draw_{name}")(3, **choice, generator=elsewhere).is_meta


@SIDES
@pytest.mark.parametrize("padding", [0, 3])
def test_a_crop_beyond_the_frame_is_refused(side, padding):
    images, end = np.ones((4, 5, 2, 3)), np.full((2, 3), 2 * padding)
    if side is theirs:
        images, end = images_to_torch(images), rows(end)
    for inside in (end, 0 * end):
        side.pad_and_crop(images, inside, padding)
    refused(f"offsets of at most {2 * padding}, got", side.pad_and_crop, images, end + 1, padding)


def test_directions():
    """Down and right are positive, a crop from the frame's corner moves down and right as well."""
    image = np.arange(1.0, 7).reshape(2, 3, 1, 1)
    down, right = np.array([[1], [0]]), np.array([[0], [1]])
    assert ours.shift(image, down)[..., 0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert ours.shift(image, right)[..., 0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]
    assert ours.pad_and_crop(image, 0 * down, 1)[..., 0, 0].tolist() == [[0, 0, 0], [0, 1, 2]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_rotations_of_any_precision(dtype, rng):
    """An angle of 0 is the identity to the last bit, in a copy; SciPy turns alike."""
    images = rng.standard_normal((5, 8, 3, 4)).astype(dtype)
    still = ours.rotate(images, np.zeros(4, dtype))
    assert still.dtype == dtype
    assert np.array_equal(still, images)
    assert not np.shares_memory(still, images)
    if dtype != np.longdouble:
        angles = rng.uniform(-3, 3, 4).astype(dtype)
        mine, other = ours.rotate(images, angles), turned_by_scipy(images, angles)
        assert_close(mine, other, "rotated by SciPy", gauge=sampling(images))
