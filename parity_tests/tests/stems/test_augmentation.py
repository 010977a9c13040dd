"""Augmentation beside its rows: the draws' distributions and generators, SciPy in float32, ends."""

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
DRAWS = 30_000
SAMPLED = of_draws(DRAWS)
NAMES = ("draw_flips", "draw_offsets", "draw_shifts", "draw_angles")


def seeded(side, seed):
    """Return a generator of a side, by the name of its argument."""
    if side is ours:
        return {"rng": np.random.default_rng(seed)}
    return {"generator": torch.Generator().manual_seed(seed)}


def draw_both(name, rng, choice):
    """Return our draws of a choice and torch's, in our layout."""
    key = {"draw_flips": "probability", "draw_offsets": "padding"}.get(name, "largest")
    seed = int(rng.integers(2**31))
    mine, other = (
        getattr(side, name)(m=DRAWS, **{key: choice}, **seeded(side, seed))
        for side in (ours, theirs)
    )
    other = columns(other) if other.ndim == 2 else other.numpy()
    assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
    return mine, other


def assert_unrelated(draws):
    """Hold neighbours to being uncorrelated: each image has a draw of its own."""
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < SAMPLED.relative


def test_draws_are_uniform(rng):
    """Flips come with their probability, moves and angles equally often up to the largest."""
    for flips in draw_both("draw_flips", rng, 0.3):
        assert scipy.stats.binomtest(int(flips.sum()), DRAWS, 0.3).pvalue > ALARM
        assert_unrelated(flips)
    for name, low in (("draw_offsets", 0), ("draw_shifts", -2)):
        for pairs in draw_both(name, rng, 2 + low // 2):
            found, counts = np.unique(pairs, axis=1, return_counts=True)
            side = 5 + low
            expected = low // 2 + np.array(np.divmod(np.arange(side**2), side))
            assert np.array_equal(found, expected)
            assert scipy.stats.chisquare(counts).pvalue > ALARM
            for line in pairs:
                assert_unrelated(line)
    mine, other = draw_both("draw_angles", rng, 0.3)
    for angles in (mine, other):
        assert scipy.stats.kstest(angles, scipy.stats.uniform(-0.3, 0.6).cdf).pvalue > ALARM
        assert_unrelated(angles)
    assert_close(np.abs(mine).mean(), np.abs(other).mean(), "mean size", budget=SAMPLED)


@SIDES
@pytest.mark.parametrize("name", NAMES)
def test_draws_come_from_the_generator(side, name):
    """One seed gives one draw, and the next draw of the same generator is another."""
    size = {} if name == "draw_flips" else {"padding" if "off" in name else "largest": 3}
    draw, source = getattr(side, name), seeded(side, 2)
    first, second = (draw(99, **size, **source).tolist() for _ in range(2))
    assert first == draw(99, **size, **seeded(side, 2)).tolist()
    assert first != second
    if name == "draw_angles":  # in float32 the same draws, rounded
        narrow = np.float32 if side is ours else torch.float32
        wide, angles = np.array(first), draw(99, 3, dtype=narrow, **seeded(side, 2))
        assert np.array_equal(np.asarray(angles), wide.astype(np.float32))
        assert np.asarray(angles).dtype == np.float32


class Certain(np.random.Generator):
    """A generator whose every draw is one half."""

    def random(self, size=None):
        return np.full(size, 0.5)


def test_a_draw_of_the_probability_itself_is_no_flip(monkeypatch):
    """Draws are in [0, 1), so those below the probability are that many; one half by default.

    torch holds the chance in float64, whatever its default dtype.
    """
    certain = Certain(np.random.PCG64(0))
    assert ours.draw_flips(3, certain).tolist() == [0, 0, 0]
    assert ours.draw_flips(3, certain, np.nextafter(0.5, 1)).tolist() == [1, 1, 1]
    chances, bernoulli = [], torch.bernoulli
    monkeypatch.setattr(torch, "bernoulli", lambda p, generator: chances.append(p) or bernoulli(p))
    theirs.draw_flips(2, torch.Generator(), 0.3)
    theirs.draw_flips(2, torch.Generator())
    assert [one.tolist() for one in chances] == [[0.3, 0.3], [0.5, 0.5]]


@SIDES
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_a_crop_beyond_the_frame_is_refused(side, padding):
    """Offsets end at twice the padding."""
    images, turn = np.ones((4, 5, 2, 3)), np.copy if side is ours else rows
    images = images if side is ours else images_to_torch(images)
    end = np.full((2, 3), 2 * padding)
    side.pad_and_crop(images, turn(end), padding)
    message = f"expected offsets of at most {2 * padding}, got {2 * padding + 1}"
    with pytest.raises(ValueError, match=message):
        side.pad_and_crop(images, turn(end + 1), padding)


def test_directions():
    """Down and right are positive, a crop from the frame's corner moves down and right as well."""
    image = np.arange(1.0, 7).reshape(2, 3, 1, 1)
    down, right = np.array([[1], [0]]), np.array([[0], [1]])
    assert ours.shift(image, down)[..., 0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert ours.shift(image, right)[..., 0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]
    assert ours.pad_and_crop(image, 0 * down, 1)[..., 0, 0].tolist() == [[0, 0, 0], [0, 1, 2]]
    flipped = ours.horizontal_flip(image, np.array([1]))
    assert flipped[..., 0, 0].tolist() == [[3, 2, 1], [6, 5, 4]]


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


def test_torchs_draws_are_where_the_generator_is():
    """A generator of another device draws there; `meta` stands for any."""

    class Elsewhere(torch.Generator):
        device = property(lambda self: torch.device("meta"))

    for name in NAMES:
        choice = () if name == "draw_flips" else (2,)
        assert getattr(theirs, name)(3, *choice, Elsewhere()).device.type == "meta"
