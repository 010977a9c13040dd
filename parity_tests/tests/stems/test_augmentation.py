"""Augmentation beside its rows: the draws' distributions and generators, directions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests import assert_close
from parity_tests.compare.bridge import columns, images_to_torch, rows
from parity_tests.compare.budgets import ALARM, of_draws
from parity_tests.twins.augmentation import sampling, turned_by_scipy
from scratch import augmentation as ours
from torch_ref import augmentation as theirs

SIDES = pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
NAMES = ("draw_flips", "draw_offsets", "draw_shifts", "draw_angles")
DRAWS = 30_000
SAMPLED = of_draws(DRAWS)


def draw(side, name, choice, m=DRAWS, generator=None, **options):
    """Return draws of a side in our layout, from its generator or from one of seed 2."""
    if side is ours:
        generator = generator or np.random.default_rng(2)
        return getattr(ours, name)(m, *choice, rng=generator, **options)
    generator = generator or torch.Generator().manual_seed(2)
    drawn = getattr(theirs, name)(m, *choice, generator=generator, **options)
    return columns(drawn) if drawn.ndim == 2 else drawn.numpy()


def assert_unrelated(draws):
    """Hold neighbours to being uncorrelated: each image has a draw of its own."""
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < SAMPLED.relative


def test_draws_are_uniform():
    """Flips come with their probability, moves and angles equally often up to the largest."""
    sizes = []
    for side in (ours, theirs):
        flips = draw(side, "draw_flips", (), probability=0.3)
        assert scipy.stats.binomtest(int(flips.sum()), DRAWS, 0.3).pvalue > ALARM
        assert_unrelated(flips)
        for name, choice, expected in (
            ("draw_offsets", 2, np.mgrid[0:5, 0:5]),
            ("draw_shifts", 1, np.mgrid[-1:2, -1:2]),
        ):
            pairs = draw(side, name, (choice,))
            found, counts = np.unique(pairs, axis=1, return_counts=True)
            assert np.array_equal(found, expected.reshape(2, -1))
            assert scipy.stats.chisquare(counts).pvalue > ALARM
            for line in pairs:
                assert_unrelated(line)
        angles = draw(side, "draw_angles", (0.3,))
        assert scipy.stats.kstest(angles, scipy.stats.uniform(-0.3, 0.6).cdf).pvalue > ALARM
        assert_unrelated(angles)
        sizes.append(np.abs(angles).mean())
    assert_close(*sizes, "mean size", budget=SAMPLED)


@SIDES
@pytest.mark.parametrize("name", NAMES)
def test_draws_come_from_the_generator(side, name):
    """One seed gives one draw, and the next draw of the same generator is another."""
    choice = () if name == "draw_flips" else (3,)
    source = np.random.default_rng(2) if side is ours else torch.Generator().manual_seed(2)
    first, second = (draw(side, name, choice, 99, source) for _ in range(2))
    assert np.array_equal(first, draw(side, name, choice, 99))
    assert not np.array_equal(first, second)
    if name == "draw_angles":  # in float32 the same draws, rounded
        dtype = np.float32 if side is ours else torch.float32
        narrow = draw(side, name, choice, 99, dtype=dtype)
        assert narrow.dtype == np.float32
        assert np.array_equal(narrow, first.astype(np.float32))


class Certain(np.random.Generator):
    """A generator whose every draw is one half."""

    def random(self, size=None):
        return np.full(size, 0.5)


def test_a_draw_of_the_probability_itself_is_no_flip():
    """Draws are in [0, 1), so those below the probability are that many; one half by default."""
    certain = Certain(np.random.PCG64(0))
    assert ours.draw_flips(3, certain).tolist() == [0, 0, 0]
    assert ours.draw_flips(3, certain, np.nextafter(0.5, 1)).tolist() == [1, 1, 1]


@SIDES
@pytest.mark.parametrize("padding", [0, 3])
def test_a_crop_beyond_the_frame_is_refused(side, padding):
    images, turn = np.ones((4, 5, 2, 3)), np.copy if side is ours else rows
    images = images if side is ours else images_to_torch(images)
    end = np.full((2, 3), 2 * padding)
    side.pad_and_crop(images, turn(end), padding)
    with pytest.raises(ValueError, match=f"offsets of at most {2 * padding}, got"):
        side.pad_and_crop(images, turn(end + 1), padding)


def test_directions():
    """Down and right are positive, a crop from the frame's corner moves down and right as well."""
    image = np.arange(1.0, 7).reshape(2, 3, 1, 1)
    down, right = np.array([[1], [0]]), np.array([[0], [1]])
    assert ours.shift(image, down)[..., 0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert ours.shift(image, right)[..., 0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]
    assert ours.pad_and_crop(image, 0 * down, 1)[..., 0, 0].tolist() == [[0, 0, 0], [0, 1, 2]]


@pytest.mark.parametrize("name", NAMES)
def test_torchs_draws_are_where_the_generator_is(name):
    """The device `meta` stands for any."""
    elsewhere = type("Elsewhere", (torch.Generator,), {"device": torch.device("meta")})()
    choice = () if name == "draw_flips" else (2,)
    assert getattr(theirs, name)(3, *choice, elsewhere).device.type == "meta"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_rotations_of_any_precision(dtype, rng):
    """An angle of 0 is the identity, to the last bit and in a copy; SciPy turns alike."""
    images = rng.standard_normal((5, 8, 3, 4)).astype(dtype)
    still = ours.rotate(images, np.zeros(4, dtype))
    assert still.dtype == dtype
    assert np.array_equal(still, images)
    assert not np.shares_memory(still, images)
    if dtype != np.longdouble:
        angles = rng.uniform(-3, 3, 4).astype(dtype)
        mine, other = ours.rotate(images, angles), turned_by_scipy(images, angles)
        assert_close(mine, other, "rotated by SciPy", gauge=sampling(images))
