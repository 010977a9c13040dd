"""Augmentation: flips, crops, shifts and rotations of image batches under shared draws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from torch.nn import functional

from parity_tests import assert_close, measure
from parity_tests.compare.bridge import columns, images_to_numpy, images_to_torch, rows
from parity_tests.compare.budgets import ALARM, of_draws
from parity_tests.compare.witnesses import widened
from scratch import augmentation as ours
from torch_ref import augmentation as theirs

_M = 3
_BATCH = np.random.default_rng(0).standard_normal((4, 5, 2, _M))
_FLIPS, _ANGLES = np.array([1, 0, 1]), np.array([0.1, -0.3, 0.2])
_PAIRS = np.array([[0, 2, 1], [1, 0, 2]])


def _examples():
    generator = torch.Generator().manual_seed(0)
    for package, images, pairs, angles, source in (
        ("scratch", _BATCH, _PAIRS, _ANGLES, {"rng": np.random.default_rng(0)}),
        (
            "torch_ref",
            images_to_torch(_BATCH),
            rows(_PAIRS),
            torch.from_numpy(_ANGLES),
            {"generator": generator},
        ),
    ):
        for name, arguments in {
            "draw_flips": {"m": _M, "probability": 0.3, **source},
            "draw_offsets": {"m": _M, "padding": 2, **source},
            "draw_shifts": {"m": _M, "largest": 2, **source},
            "draw_angles": {"m": _M, "largest": 0.5, "dtype": angles.dtype, **source},
            "horizontal_flip": {"images": images, "flips": _FLIPS},
            "pad_and_crop": {"images": images, "offsets": pairs, "padding": 1},
            "shift": {"images": images, "shifts": pairs},
            "rotate": {"images": images, "angles": angles},
        }.items():
            yield f"{package}.augmentation.{name}", arguments


def _spoil_whole_numbers(expected, value):
    yield "floats", value + 0.5, TypeError
    yield "booleans", value == 1, TypeError
    yield "a string", "101", TypeError
    yield "None", None, TypeError
    yield "one axis more", value[None], ValueError
    yield "a column less", value[..., :-1], ValueError
    yield "an example less", value[:-1], ValueError
    if expected.low is not None:
        yield "below", value - 2, ValueError
    if expected.high is not None:
        yield "above", value + 1, ValueError


EXAMPLES = dict(_examples())
SPOILS = {"_WholeNumbers": _spoil_whole_numbers}

#: height, width, channels, m: square and not, one pixel, one example.
SHAPES = [(6, 6, 1, 4), (5, 8, 3, 4), (7, 4, 3, 1), (1, 5, 2, 3), (1, 1, 1, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def draw_images(shape, rng, dtype=np.float64):
    """Draw images whose pixels are all different from each other and from zero."""
    return rng.permuted(np.arange(1, np.prod(shape) + 1)).reshape(shape).astype(dtype)


def assert_same_images(name, images, *arguments):
    """Hold both sides against each other to the last bit; the inputs stay, the output is new."""
    kept = images.copy()
    mine = getattr(ours, name)(images, *arguments)
    carried = [rows(one) if np.ndim(one) == 2 else one for one in arguments]
    reference = images_to_numpy(getattr(theirs, name)(images_to_torch(images), *carried))
    assert mine.shape == images.shape
    assert_close(mine, reference, name, expect_zero=not reference.any())
    assert np.array_equal(mine, reference)
    assert np.array_equal(images, kept)
    assert not np.shares_memory(mine, images)
    return mine


@pytest.mark.parity("horizontal_flip")
@pytest.mark.seeds(3)
@shapes
def test_flips(shape, dtype, rng):
    """Both sides mirror the chosen images left to right; twice is the identity."""
    images, flips = draw_images(shape, rng, dtype), ours.draw_flips(shape[-1], rng)
    mine = assert_same_images("horizontal_flip", images, flips)
    for number, flipped in enumerate(flips):
        expected = np.fliplr(images[..., number]) if flipped else images[..., number]
        assert np.array_equal(mine[..., number], expected)
    assert np.array_equal(ours.horizontal_flip(mine, flips), images)


@pytest.mark.parity("pad_and_crop")
@pytest.mark.seeds(3)
@pytest.mark.parametrize("padding", [0, 1, 4])
@shapes
def test_crops(shape, padding, dtype, rng):
    """Both sides cut the framed images alike; offsets equal to the padding change nothing."""
    images, offsets = draw_images(shape, rng, dtype), ours.draw_offsets(shape[-1], padding, rng)
    mine = assert_same_images("pad_and_crop", images, offsets, padding)
    height, width = shape[:2]
    frame = [(padding, padding), (padding, padding), (0, 0), (0, 0)]
    framed = np.pad(images, frame)
    for number, (row, column) in enumerate(zip(*offsets, strict=True)):
        expected = framed[row : row + height, column : column + width, :, number]
        assert np.array_equal(mine[..., number], expected)
    centred = np.full((2, shape[-1]), padding)
    assert np.array_equal(ours.pad_and_crop(images, centred, padding), images)
    assert np.array_equal(ours.shift(images, padding - offsets), mine)


@pytest.mark.parity("shift")
@pytest.mark.seeds(3)
@pytest.mark.parametrize("largest", [0, 2, 9])
@shapes
def test_shifts(shape, largest, dtype, rng):
    """Both sides and SciPy move by whole pixels alike, out of the image too."""
    images, shifts = draw_images(shape, rng, dtype), ours.draw_shifts(shape[-1], largest, rng)
    mine = assert_same_images("shift", images, shifts)
    for number, (down, right) in enumerate(zip(*shifts, strict=True)):
        moved = scipy.ndimage.shift(images[..., number], (down, right, 0), order=0)
        assert np.array_equal(mine[..., number], moved)
    if not largest:
        assert np.array_equal(mine, images)


def test_directions():
    """Down and right are positive, a crop from the frame's corner moves down and right as well."""
    image = np.arange(1.0, 7).reshape(2, 3, 1, 1)
    down, right = np.array([[1], [0]]), np.array([[0], [1]])
    assert ours.shift(image, down)[..., 0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert ours.shift(image, right)[..., 0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]
    assert ours.shift(image, -right)[..., 0, 0].tolist() == [[2, 3, 0], [5, 6, 0]]
    corner = ours.pad_and_crop(image, 0 * down, 1)
    assert corner[..., 0, 0].tolist() == [[0, 0, 0], [0, 1, 2]]
    assert ours.horizontal_flip(image, np.array([1]))[..., 0, 0].tolist() == [[3, 2, 1], [6, 5, 4]]
    unsigned = ours.shift(image, down.astype(np.uint8))
    assert np.array_equal(unsigned, ours.shift(image, down))
    crop = ours.pad_and_crop(image, 2 * down.astype(np.uint8), 1)
    assert np.array_equal(crop, ours.pad_and_crop(image, 2 * down, 1))
    assert crop[..., 0, 0].tolist() == [[0, 4, 5], [0, 0, 0]]


def sampling(images):
    """Return the gauge of a bilinear sample: coordinates of (h + w) / 2 times slopes of 2 max."""
    height, width = images.shape[:2]
    return (height + width) * np.abs(images).max()


def turned_by_torch(images, angles):
    """Return the other side's rotation in our layout."""
    return images_to_numpy(theirs.rotate(images_to_torch(images), torch.from_numpy(angles)))


@pytest.mark.parity("rotate")
@pytest.mark.seeds(6)
@pytest.mark.parametrize("largest", [0.2, 3.2])
@shapes
def test_rotations(shape, largest, dtype, rng):
    """Both sides and SciPy turn about the same centre, the same way, between the same pixels."""
    images = rng.standard_normal(shape).astype(dtype)
    angles = ours.draw_angles(shape[-1], largest, rng).astype(dtype)
    kept, gauge = images.copy(), sampling(images)
    mine = ours.rotate(images, angles)
    truth = None if dtype is np.float32 else widened(ours.rotate, images, angles)
    assert_close(mine, turned_by_torch(images, angles), "rotated", gauge=gauge, wider=truth)
    turned = [
        scipy.ndimage.rotate(
            images[..., number],
            np.degrees(angles[number].astype(np.float64)),
            axes=(1, 0),
            reshape=False,
            order=1,
            mode="grid-constant",
        )
        for number in range(shape[-1])
    ]
    assert_close(mine, np.stack(turned, axis=-1), "rotated by SciPy", gauge=gauge)
    assert np.array_equal(images, kept)


@shapes
def test_no_angle_is_the_identity(shape, rng):
    """An angle of 0 leaves each image as it is, to the last bit, in any dtype."""
    for dtype in (np.float32, np.float64, np.longdouble):
        images = rng.standard_normal(shape).astype(dtype)
        mine = ours.rotate(images, np.zeros(shape[-1], dtype))
        assert mine.dtype == dtype
        assert np.array_equal(mine, images)
        assert not np.shares_memory(mine, images)


@pytest.mark.parametrize("side", [1, 2, 5, 6])
@pytest.mark.parametrize("quarters", [1, 2, 3, 5])
def test_quarter_turns(side, quarters, rng):
    """Multiples of pi / 2 turn a square image as `np.rot90`, half turns any image."""
    for width in (side, 3) if quarters == 2 else (side,):
        images = rng.standard_normal((side, width, 3, 2))
        angles = np.full(2, quarters * np.pi / 2)
        gauge = sampling(images)
        for mine in (ours.rotate(images, angles), turned_by_torch(images, angles)):
            assert_close(mine, np.rot90(images, quarters), "quarter turns", gauge=gauge)


def wrong_rotation(images, angles, *, ratio=True, align_corners=False):
    """Return a tempting translation to torch: the ratio of the sides forgotten, or its corners."""
    height, width = images.shape[:2]
    stretch = height / width if ratio else 1.0
    sin, cos, none = np.sin(angles), np.cos(angles), np.zeros_like(angles)
    theta = np.array([[cos, -sin * stretch, none], [sin / stretch, cos, none]])
    theta = torch.from_numpy(np.moveaxis(theta, -1, 0).copy())
    tensor = images_to_torch(images)
    grid = functional.affine_grid(theta, list(tensor.shape), align_corners=align_corners)
    return images_to_numpy(functional.grid_sample(tensor, grid, align_corners=align_corners))


def test_tempting_rotations_are_wrong(rng):
    """The other way round, without the ratio of the sides, in torch's other convention."""
    images, angles = rng.standard_normal((5, 8, 3, 4)), np.array([0.2, -0.1, 0.3, 0.15])
    mine, gauge = ours.rotate(images, angles), sampling(images)
    assert_close(mine, wrong_rotation(images, angles), "rightly", gauge=gauge)
    for wrong in (
        wrong_rotation(images, -angles),
        wrong_rotation(images, angles, ratio=False),
        wrong_rotation(images, angles, align_corners=True),
        wrong_rotation(images, angles[[1, 0, 2, 3]]),
        wrong_rotation(images, np.degrees(angles)),
    ):
        assert measure(mine, wrong, gauge).error > 1e12


def test_tempting_flips_are_wrong(rng):
    """Upside down, or all images by one draw."""
    images, flips = draw_images((5, 8, 3, 4), rng), np.array([1, 0, 0, 1])
    mine = ours.horizontal_flip(images, flips)
    tensor = images_to_torch(images)
    for wrong in (tensor.flip(2), tensor.flip(3), tensor.flip(0), tensor):
        assert measure(mine, images_to_numpy(wrong)).error > 1e12


DRAWS = 30_000
SAMPLED = of_draws(DRAWS)


def draw_both(name, rng, choice, m=DRAWS):
    """Return our draw of that choice and torch's, in our layout."""
    key = {"draw_flips": "probability", "draw_offsets": "padding"}.get(name, "largest")
    generator = torch.Generator().manual_seed(5)
    mine = getattr(ours, name)(m=m, rng=rng, **{key: choice})
    other = getattr(theirs, name)(m=m, generator=generator, **{key: choice})
    other = columns(other) if other.ndim == 2 else other.numpy()
    assert mine.shape == other.shape
    assert mine.dtype == other.dtype
    return mine, other


def assert_unrelated(draws):
    """Each image has a draw of its own: neighbours are not correlated."""
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < SAMPLED.relative


def test_flips_are_even_by_default():
    """Without a probability, it is one half: the same draws from the same source."""
    default = ours.draw_flips(99, np.random.default_rng(1))
    assert np.array_equal(default, ours.draw_flips(99, np.random.default_rng(1), 0.5))
    other = theirs.draw_flips(99, torch.Generator().manual_seed(1))
    assert torch.equal(other, theirs.draw_flips(99, torch.Generator().manual_seed(1), 0.5))


@pytest.mark.parametrize("name", ["draw_flips", "draw_offsets", "draw_shifts", "draw_angles"])
def test_draws_come_from_the_generator(name):
    """One seed gives one draw, and the next draw of the same generator is another."""
    size = {} if name == "draw_flips" else {"padding" if "off" in name else "largest": 3}
    for side, seeded in (
        (ours, lambda: {"rng": np.random.default_rng(2)}),
        (theirs, lambda: {"generator": torch.Generator().manual_seed(2)}),
    ):
        draw, source = getattr(side, name), seeded()
        first, second = (draw(99, **size, **source).tolist() for _ in range(2))
        assert first == draw(99, **size, **seeded()).tolist()
        assert first != second


@pytest.mark.parity("draw_flips")
@pytest.mark.parametrize("probability", [0.3, 0.5])
def test_flips_are_drawn_with_their_probability(probability, rng):
    """A fraction of the images, on both sides; all or none at the ends."""
    for flips in draw_both("draw_flips", rng, probability):
        assert set(flips) == {0, 1}
        test = scipy.stats.binomtest(int(flips.sum()), DRAWS, probability)
        assert test.pvalue > ALARM
        assert_unrelated(flips)
    for end in (0.0, 1.0):
        mine, other = draw_both("draw_flips", rng, end, m=1000)
        assert_close(mine + 0.0, other + 0.0, "certain", expect_zero=not end)


@pytest.mark.parametrize("room", [1, 2])
@pytest.mark.parametrize(
    ("name", "sign"),
    [
        pytest.param(name, sign, marks=pytest.mark.parity(name))
        for name, sign in (("draw_offsets", 0), ("draw_shifts", -1))
    ],
)
def test_moves_are_drawn_equally_often(name, sign, room, rng):
    """Each of 9 or 25 pairs of row and column comes up equally often, the ends too."""
    mine, other = draw_both(name, rng, room)
    side = 2 * room + 1
    for pairs in (mine, other):
        found, counts = np.unique(pairs, axis=1, return_counts=True)
        assert np.array_equal(found, sign * room + np.array(np.divmod(np.arange(side**2), side)))
        assert scipy.stats.chisquare(counts).pvalue > ALARM
        for line in pairs:
            assert_unrelated(line)
    ends = [np.sort(np.unique(pairs)) + 1.0 for pairs in (mine, other)]
    assert_close(*ends, "what can be drawn")
    still, their_still = draw_both(name, rng, 0)
    assert_close(still + 0.0, their_still + 0.0, "no room", expect_zero=True)


@pytest.mark.parity("draw_angles")
def test_angles_are_uniform(rng):
    """To both sides and up to the largest angle; 0 turns nothing."""
    mine, other = draw_both("draw_angles", rng, 0.3)
    for angles in (mine, other):
        assert scipy.stats.kstest(angles, scipy.stats.uniform(-0.3, 0.6).cdf).pvalue > ALARM
        assert_unrelated(angles)
    assert_close(np.abs(mine).mean(), np.abs(other).mean(), "mean size", budget=SAMPLED)
    still, their_still = draw_both("draw_angles", rng, 0)
    assert_close(still + 0.0, their_still + 0.0, "no room", expect_zero=True)


class Certain(np.random.Generator):
    """A generator whose every draw is one half."""

    def random(self, size=None):
        """Return halves."""
        return np.full(size, 0.5)


def test_a_draw_of_the_probability_itself_is_no_flip():
    """Draws are in [0, 1), so those below the probability are that many; 0 is below none."""
    certain = Certain(np.random.PCG64(0))
    assert ours.draw_flips(3, certain, 0.5).tolist() == [0, 0, 0]
    assert ours.draw_flips(3, certain, np.nextafter(0.5, 1)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 5])
def test_a_crop_beyond_the_frame_is_refused(padding):
    """Offsets end at twice the padding, on both sides."""
    end = np.full((2, _M), 2 * padding)
    for module, images, turn in ((ours, _BATCH, np.copy), (theirs, images_to_torch(_BATCH), rows)):
        module.pad_and_crop(images, turn(end), padding)
        with pytest.raises(ValueError, match="expected offsets") as refusal:
            module.pad_and_crop(images, turn(end + 1), padding)
        message = f"expected offsets of at most {2 * padding}, got {2 * padding + 1}"
        assert str(refusal.value) == message


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_what_the_doors_take(side):
    """The bounds of each kind by name, as the spoilt examples follow the door's own table."""
    images, turn = (_BATCH, np.copy) if side is ours else (images_to_torch(_BATCH), rows)
    for flips in ([0, 2, 0], [0, -1, 1]):
        with pytest.raises(ValueError, match="expected flips"):
            side.horizontal_flip(images, np.array(flips))
    with pytest.raises(ValueError, match="expected offsets of at least 0, got -1"):
        side.pad_and_crop(images, turn(_PAIRS - 1), 2)
    side.shift(images, turn(_PAIRS - 3))
    source = np.random.default_rng(0) if side is ours else torch.Generator()
    for bad in (-0.1, 1.1):
        with pytest.raises(ValueError, match="expected probability"):
            side.draw_flips(3, source, bad)
    for draw in (side.draw_offsets, side.draw_shifts, side.draw_angles):
        with pytest.raises(ValueError, match="expected"):
            draw(3, -1, source)
        with pytest.raises(ValueError, match="expected m"):
            draw(0, 1, source)
    with pytest.raises(ValueError, match="expected padding"):
        side.pad_and_crop(images, turn(0 * _PAIRS), -1)


def test_torchs_draws_are_where_the_generator_is():
    """A generator of another device draws there; `meta` stands for any."""

    class Elsewhere(torch.Generator):
        device = property(lambda self: torch.device("meta"))

    for name in ("draw_flips", "draw_offsets", "draw_shifts", "draw_angles"):
        choice = () if name == "draw_flips" else (2,)
        assert getattr(theirs, name)(3, *choice, Elsewhere()).device.type == "meta"


def test_float32_images_are_turned_by_angles_drawn_for_them(rng):
    """Angles of the images' dtype, the same as in float64 but for the rounding."""
    images = _BATCH.astype(np.float32)
    angles = ours.draw_angles(_M, 0.5, np.random.default_rng(3), images.dtype)
    wide = ours.draw_angles(_M, 0.5, np.random.default_rng(3))
    assert wide.dtype == np.float64
    assert np.array_equal(angles, wide.astype(np.float32))
    assert ours.rotate(images, angles).dtype == np.float32
    generator = torch.Generator().manual_seed(3)
    other = theirs.draw_angles(_M, 0.5, generator, torch.float32)
    assert theirs.rotate(images_to_torch(images), other).dtype == torch.float32
    wide = theirs.draw_angles(_M, 0.5, generator.manual_seed(3))
    assert wide.dtype == torch.float64
    assert torch.equal(other, wide.float())


def test_torchs_probability_is_not_rounded(monkeypatch):
    """The chance of a flip is held in float64, whatever torch's default dtype."""
    chances = []
    bernoulli = torch.bernoulli
    monkeypatch.setattr(torch, "bernoulli", lambda p, generator: chances.append(p) or bernoulli(p))
    theirs.draw_flips(2, torch.Generator(), 0.3)
    assert chances[0].tolist() == [0.3, 0.3]
