"""Augmentation of image batches: flips, crops, shifts and rotations under shared draws."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import BY_NAME, Bridge, images_to_numpy, images_to_torch
from parity_tests.compare.measurement import Array
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation
from scratch import augmentation as ours
from torch_ref import augmentation as theirs

SOURCE = 'Course 2, week 1, "Other regularization methods"; '

sides = st.integers(1, 8)
shapes = st.tuples(sides, sides, st.integers(1, 3), st.integers(1, 4))
whole = st.sampled_from(["int64", "int8", "int16", "int32"])

#: square and not, one pixel, one row, one example.
SHAPES = {
    "a square": (6, 6, 1, 4),
    "one example": (7, 4, 3, 1),
    "one row": (1, 5, 2, 3),
    "one pixel": (1, 1, 1, 2),
}


def there(name: str, array: Any, device: str = "cpu") -> torch.Tensor:
    """Carry images and draws across."""
    images = np.ndim(array) == 4
    return images_to_torch(array, device) if images else BY_NAME.to_torch(name, array, device)


def back(name: str, tensor: torch.Tensor) -> Array:
    """Carry images back."""
    return images_to_numpy(tensor)


IMAGES = Bridge(there, back, kinds="fiu")


def draw_pixels(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw images whose pixels are all different from each other and from zero."""
    return rng.permuted(np.arange(1.0, np.prod(shape) + 1)).reshape(shape)


def draw_flipped(
    rng: np.random.Generator, shape: tuple[int, ...] = (5, 8, 3, 4), whole: str = "int64"
) -> Case:
    """Draw images and flips, the first 1 and the second 0."""
    flips = rng.integers(0, 2, shape[-1])
    flips[:2] = [1, 0][: shape[-1]]
    return {"images": draw_pixels(shape, rng), "flips": flips.astype(whole)}


def draw_cropped(
    rng: np.random.Generator,
    shape: tuple[int, ...] = (5, 8, 3, 4),
    padding: int = 2,
    whole: str = "int64",
) -> Case:
    """Draw images and offsets of their crops."""
    offsets = rng.integers(0, 2 * padding + 1, (2, shape[-1])).astype(whole)
    return {"images": draw_pixels(shape, rng), "offsets": offsets, "padding": padding}


def draw_shifted(
    rng: np.random.Generator,
    shape: tuple[int, ...] = (5, 8, 3, 4),
    largest: int = 2,
    whole: str = "int64",
) -> Case:
    """Draw images and shifts; unsigned ones lead down and to the right."""
    low = 0 if whole.startswith("u") else -largest
    shifts = rng.integers(low, largest + 1, (2, shape[-1])).astype(whole)
    return {"images": draw_pixels(shape, rng), "shifts": shifts}


def draw_rotated(
    rng: np.random.Generator,
    shape: tuple[int, ...] = (4, 6, 1, 2),
    low: float = 0.1,
    high: float = 0.3,
) -> Case:
    """Draw images and angles of either sign."""
    angles = rng.uniform(low, high, shape[-1]) * rng.choice([-1, 1], shape[-1])
    return {"images": rng.standard_normal(shape), "angles": angles}


def sampling(images: Array, **others: Any) -> Any:
    """Return the gauge of a bilinear sample: coordinates of (h + w) / 2 times slopes of 2 max."""
    return (images.shape[0] + images.shape[1]) * np.abs(images).max()


# --- relations ------------------------------------------------------------------------------------


def turned_by_scipy(images: Array, angles: Array) -> Array:
    """Return images turned by SciPy, in degrees and one by one."""
    one_by_one = [
        scipy.ndimage.rotate(
            images[..., i],
            np.degrees(float(angle)),
            axes=(1, 0),
            reshape=False,
            order=1,
            mode="grid-constant",
        )
        for i, angle in enumerate(angles)
    ]
    return np.stack(one_by_one, axis=-1)


def turns_as_scipy(run: Any, images: Array, angles: Array) -> tuple[Values, Values]:
    """Return the turned images, by our code and by SciPy's."""
    found = run("rotation", images=images, angles=angles)["rotated"]
    return {"rotated by SciPy": found}, {"rotated by SciPy": turned_by_scipy(images, angles)}


def turns_by_quarters(run: Any, images: Array, angles: Array) -> tuple[Values, Values]:
    """Return square images turned by one, three and five quarters, others by two, as `rot90`."""
    found, expected = [], []
    for quarters in (1, 2, 3, 5):
        part = images if quarters == 2 else images[: images.shape[1], : images.shape[0]]
        turned = run("rotation", images=part, angles=np.full_like(angles, quarters * np.pi / 2))
        found.append(turned["rotated"].ravel())
        expected.append(np.rot90(part, quarters).ravel())
    return {"quarter turns": np.concatenate(found)}, {"quarter turns": np.concatenate(expected)}


# --- mistakes -------------------------------------------------------------------------------------


def turned(images: Array, angles: Array, ratio: bool = True, align_corners: bool = False) -> Values:
    """Return images turned by `affine_grid` with the matrix as it stands in most answers."""
    height, width = images.shape[:2]
    stretch = height / width if ratio else 1.0
    sin, cos, none = np.sin(angles), np.cos(angles), np.zeros_like(angles)
    theta = np.array([[cos, -sin * stretch, none], [sin / stretch, cos, none]])
    matrices = torch.from_numpy(np.moveaxis(theta, -1, 0).copy())
    tensor = images_to_torch(images)
    grid = functional.affine_grid(matrices, list(tensor.shape), align_corners=align_corners)
    sampled = functional.grid_sample(tensor, grid, align_corners=align_corners)
    return {"rotated": images_to_numpy(sampled)}


# --- draws ----------------------------------------------------------------------------------------

#: draws of 3 numbers or pairs, so many that each of them comes up.
DRAWS = 500


def drawn(side: Any, source: str, generator: Any, room: int) -> Values:
    """Return all that is drawn of offsets and shifts, and the draws that leave no choice."""

    def draw(name: str, choice: float) -> Array:
        return np.asarray(getattr(side, name)(DRAWS, choice, **{source: generator}), float)

    def flips(probability: float) -> Array:
        return np.asarray(side.draw_flips(DRAWS, generator, probability), float)

    moves = [np.unique(draw(name, room)) for name in ("draw_offsets", "draw_shifts")]
    still = [draw(name, 0).ravel() for name in ("draw_offsets", "draw_shifts", "draw_angles")]
    return {
        "what can be drawn": np.concatenate(moves),
        "no room": np.concatenate(still),
        "certain": np.concatenate([flips(0.0), flips(1.0)]),
        "flips": np.unique(flips(0.5)),
    }


def drawn_by_torch(room: int, seed: int) -> Values:
    """Return the same of torch's draws."""
    return drawn(theirs, "generator", torch.Generator().manual_seed(seed), room)


def draw_calls(room: int, seed: int) -> Iterator[Any]:
    """Yield the calls of all draws, on both sides."""
    for package, source, generator, dtype in (
        ("scratch", "rng", np.random.default_rng(seed), np.float64),
        ("torch_ref", "generator", torch.Generator().manual_seed(seed), torch.float64),
    ):
        choices_of: dict[str, dict[str, Any]] = {
            "flips": {"probability": 0.3},
            "offsets": {"padding": 2},
            "shifts": {"largest": 2},
            "angles": {"largest": 0.5, "dtype": dtype},
        }
        for name, choices in choices_of.items():
            yield f"{package}.augmentation.draw_{name}", {"m": 3, source: generator, **choices}


TWINS = (
    FunctionTwin(
        name="horizontal_flip",
        formula="images mirrored left to right where flips is 1",
        source=SOURCE + "torch.flip",
        proves=("horizontal_flip",),
        ours=ours.horizontal_flip,
        theirs=theirs.horizontal_flip,
        names=("horizontal_flip",),
        bridge=IMAGES,
        exact=True,
        float32=True,
        draw=draw_flipped,
        cases={"shape": shapes, "whole": whole},
        edges={name: {"shape": shape} for name, shape in SHAPES.items()},
        mistakes=(
            Mistake(
                name="all images by one draw",
                why="tensor.flip(3) mirrors the whole batch",
                values=lambda images, flips: {"horizontal_flip": images[:, ::-1]},
                margin=0.1,
            ),
        ),
    ),
    FunctionTwin(
        name="pad_and_crop",
        formula="images framed by zeros, cropped to their size at (row, column) offsets",
        source='Course 4, week 2, "Data augmentation"; torch.nn.functional.pad',
        proves=("pad_and_crop",),
        ours=ours.pad_and_crop,
        theirs=theirs.pad_and_crop,
        names=("pad_and_crop",),
        bridge=IMAGES,
        exact=True,
        float32=True,
        draw=draw_cropped,
        cases={"shape": shapes, "padding": st.integers(0, 5), "whole": whole},
        edges={
            **{name: {"shape": shape} for name, shape in SHAPES.items()},
            "no frame": {"padding": 0},
            "a frame wider than the image": {"padding": 12},
            "unsigned offsets": {"padding": 3, "whole": "uint8"},
        },
    ),
    FunctionTwin(
        name="shift",
        formula="images moved down and to the right by whole pixels, zeros moving in",
        source=SOURCE + "torch.nn.functional.pad, whose negative widths cut",
        proves=("shift",),
        ours=ours.shift,
        theirs=theirs.shift,
        names=("shift",),
        bridge=IMAGES,
        exact=True,
        float32=True,
        draw=draw_shifted,
        cases={"shape": shapes, "largest": st.integers(0, 12), "whole": whole},
        edges={
            **{name: {"shape": shape} for name, shape in SHAPES.items()},
            "no move": {"largest": 0},
            "out of the image": {"largest": 100},
            "unsigned moves": {"whole": "uint8"},
        },
    ),
    FunctionTwin(
        name="rotation",
        topic="data",
        formula="each pixel reads the point it came from, turned about the centre, bilinearly",
        torch="affine_grid([[cos, -sin h / w, 0], [sin w / h, cos, 0]], align_corners=False), "
        "then grid_sample",
        source=SOURCE + "torch.nn.functional.affine_grid",
        proves=("rotate",),
        ours=ours.rotate,
        theirs=theirs.rotate,
        names=("rotated",),
        bridge=IMAGES,
        draw=draw_rotated,
        cases={
            "shape": shapes,
            "low": st.floats(0, 0.2),
            "high": st.sampled_from([0.2, 1.0, 3.2, 10.0]),
        },
        edges={
            **{name: {"shape": shape, "high": 3.2} for name, shape in SHAPES.items()},
            "no angle": {"low": 0.0, "high": 0.0},
        },
        gauges=lambda images, angles: {"rotated": sampling(images)},
        float32=True,
        relations=(
            Relation(
                name="SciPy's rotation",
                holds=turns_as_scipy,
                broken_by="align_corners=True",
                gauges=lambda images, angles: {"rotated by SciPy": sampling(images)},
                at={"shape": (5, 8, 3, 4), "high": 3.2},
            ),
            Relation(
                name="affine_grid, its matrix by hand",
                holds=lambda run, **case: (
                    {"rightly": run("rotation", **case)["rotated"]},
                    {"rightly": turned(**case)["rotated"]},
                ),
                broken_by="degrees",
                gauges=lambda images, angles: {"rightly": sampling(images)},
            ),
            Relation(
                name="quarter turns",
                holds=turns_by_quarters,
                broken_by="the other way round",
                gauges=lambda images, angles: {"quarter turns": sampling(images)},
                at={"shape": (5, 6, 2, 3)},
            ),
        ),
        mistakes=(
            Mistake(
                name="[[cos, -sin], [sin, cos]]",
                why="the grid runs from -1 to 1 along either side, so sines carry their ratio",
                values=partial(turned, ratio=False),
                margin=0.1,
            ),
            Mistake(
                name="align_corners=True",
                why="it lays -1 and 1 on the centres of the outer pixels, not on their edges",
                values=partial(turned, align_corners=True),
                margin=0.01,
            ),
            Mistake(
                name="degrees",
                why="scipy.ndimage.rotate and torchvision take degrees, sines take radians",
                values=lambda images, angles: turned(images, np.degrees(angles)),
                margin=0.1,
            ),
            Mistake(
                name="the other way round",
                why="the matrix leads from the turned image to the first one",
                values=lambda images, angles: turned(images, -angles),
                margin=0.1,
            ),
        ),
    ),
    FunctionTwin(
        name="augmentation-draws",
        formula="1 with a probability, whole numbers and angles up to the largest, one per image",
        source=SOURCE + "torch.bernoulli, torch.randint, torch.Tensor.uniform_",
        proves=("draw_flips", "draw_offsets", "draw_shifts", "draw_angles"),
        ours=lambda room, seed: drawn(ours, "rng", np.random.default_rng(seed), room),
        theirs=drawn_by_torch,
        bridge=None,
        exact=True,
        draw=lambda rng, room=2: {"room": room, "seed": int(rng.integers(2**31))},
        cases={"room": st.integers(0, 6)},
        weight=0.5,
        calls=draw_calls,
    ),
)
