"""Augmentation of image batches: flips, crops, shifts and rotations under shared draws."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from hypothesis import strategies as st

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


def there(name: str, array: Any, device: str = "cpu") -> torch.Tensor:
    images = np.ndim(array) == 4
    return images_to_torch(array, device) if images else BY_NAME.to_torch(name, array, device)


IMAGES = Bridge(there, lambda name, tensor: images_to_numpy(tensor), kinds="fiu")


def draw_moved(
    rng: np.random.Generator, shape: Any = (5, 8, 3, 4), whole: str = "int64", **largest: int
) -> Case:
    """Draw images, and flips, the offsets of crops with "padding", or shifts up to the "largest".

    All pixels differ from each other and from zero; unsigned shifts lead down and to the right.
    """
    m = shape[-1]
    images = rng.permuted(np.arange(1.0, np.prod(shape) + 1)).reshape(shape)
    if not largest:
        flips = rng.permutation(np.resize([1, 0], m))
        return {"images": images, "flips": flips.astype(whole)}
    ((name, most),) = largest.items()
    if name == "padding":
        moves = {**largest, "offsets": rng.integers(0, 2 * most + 1, (2, m)).astype(whole)}
    else:
        low = 0 if whole.startswith("u") else -most
        moves = {"shifts": rng.integers(low, most + 1, (2, m)).astype(whole)}
    return {"images": images, **moves}


def draw_rotated(
    rng: np.random.Generator, shape: Any = (4, 6, 1, 2), low: float = 0.1, high: float = 0.3
) -> Case:
    angles = rng.uniform(low, high, shape[-1]) * rng.choice([-1, 1], shape[-1])
    return {"images": rng.standard_normal(shape), "angles": angles}


def sampling(images: Array, **others: Any) -> Any:
    """Return the gauge of a bilinear sample: coordinates of (h + w) / 2 times slopes of 2 max."""
    return (images.shape[0] + images.shape[1]) * np.abs(images).max()


def gauge_of(quantity: str) -> Any:
    return lambda **case: {quantity: sampling(**case)}


def turned_by_scipy(images: Array, angles: Array) -> Array:
    """Return images turned by SciPy, in degrees and one by one."""
    given: Any = {"axes": (1, 0), "reshape": False, "order": 1, "mode": "grid-constant"}
    pairs = zip(np.moveaxis(images, -1, 0), np.degrees(angles.astype(float)), strict=True)
    turned = [scipy.ndimage.rotate(image, angle, **given) for image, angle in pairs]
    return np.stack(turned, axis=-1)


def turns_as_scipys(run: Any, **case: Any) -> tuple[Values, Values]:
    found = run("rotation", **case)["rotated"]
    return {"rotated by SciPy": found}, {"rotated by SciPy": turned_by_scipy(**case)}


def turns_by_quarters(run: Any, images: Array, angles: Array) -> tuple[Values, Values]:
    """Return square images turned by one, two, three and five quarters, and as `rot90` has them."""
    turns = [np.full_like(angles, quarters * np.pi / 2) for quarters in (1, 2, 3, 5)]
    found = [run("rotation", images=images, angles=one)["rotated"] for one in turns]
    expected = [np.rot90(images, quarters) for quarters in (1, 2, 3, 5)]
    return {"quarter turns": np.array(found)}, {"quarter turns": np.array(expected)}


def drawn(side: Any, source: str, seeded: Any, room: int, seed: int) -> Values:
    """Return all that is drawn of offsets and shifts, and the draws that leave no choice."""
    given = {source: seeded(seed)}

    def draw(name: str, choice: float) -> Array:
        chosen = {"flips": "probability", "offsets": "padding"}.get(name, "largest")
        many = getattr(side, f"draw_{name}")(500, **given, **{chosen: choice})  # each comes up
        return np.asarray(many, float).ravel()

    kinds = ("offsets", "shifts", "angles")
    return {
        "what can be drawn": np.concatenate([np.unique(draw(name, room)) for name in kinds[:2]]),
        "no room": np.concatenate([draw(name, 0) for name in kinds]),
        "certain": np.concatenate([draw("flips", 0.0), draw("flips", 1.0)]),
        "flips": np.unique(draw("flips", 0.5)),
    }


def row(name: str, function: str = "", output: str = "", **rest: Any) -> FunctionTwin:
    function = function or name
    sides = {"ours": getattr(ours, function), "theirs": getattr(theirs, function)}
    rest |= {"proves": (function,), "names": (output or name,), "bridge": IMAGES, "float32": True}
    return FunctionTwin(name=name, **sides, **rest)


# fmt: off
TWINS = (
    row("horizontal_flip", formula="images mirrored left to right where flips is 1",
        source=SOURCE + "torch.flip", exact=True, draw=draw_moved,
        cases={"shape": shapes, "whole": whole},
        mistakes=[Mistake(name="all images by one draw", margin=0.1,
            why="tensor.flip(3) mirrors the whole batch",
            values=lambda images, flips: {"horizontal_flip": images[:, ::-1]})]),
    row("pad_and_crop", exact=True, draw=partial(draw_moved, padding=2),
        formula="images framed by zeros, cropped to their size at (row, column) offsets",
        source='Course 4, week 2, "Data augmentation"; torch.nn.functional.pad',
        cases={"shape": shapes, "padding": st.integers(0, 5), "whole": whole},
        edges={"no frame": {"padding": 0}, "a frame wider than the image": {"padding": 12},
               "unsigned offsets": {"padding": 3, "whole": "uint8"}}),
    row("shift", exact=True, draw=partial(draw_moved, largest=2),
        formula="images moved down and to the right by whole pixels, zeros moving in",
        source=SOURCE + "torch.nn.functional.pad, whose negative widths cut",
        cases={"shape": shapes, "largest": st.integers(0, 12), "whole": whole},
        edges={"no move": {"largest": 0}, "out of the image": {"largest": 100},
               "unsigned moves": {"whole": "uint8"}}),
    row("rotation", "rotate", "rotated", topic="data",
        formula="each pixel reads the point it came from, turned about the centre, bilinearly",
        torch="affine_grid([[cos, -sin h / w, 0], [sin w / h, cos, 0]], align_corners=False), "
            "then grid_sample",
        source=SOURCE + "torch.nn.functional.affine_grid", draw=draw_rotated,
        cases={"shape": shapes, "low": st.floats(0, 0.2),
               "high": st.sampled_from([0.2, 1.0, 3.2, 10.0])},
        edges={"no angle": {"low": 0.0, "high": 0.0}}, gauges=gauge_of("rotated"),
        relations=(
            Relation(name="SciPy's rotation", gauges=gauge_of("rotated by SciPy"),
                holds=turns_as_scipys, broken_by="align_corners=True",
                at={"shape": (5, 8, 3, 4), "high": 3.2}),
            Relation(name="quarter turns", gauges=gauge_of("quarter turns"),
                holds=turns_by_quarters, broken_by="the other way round",
                at={"shape": (5, 5, 2, 3)})),
        mistakes=(
            Mistake(name="[[cos, -sin], [sin, cos]]", margin=0.1,
                why="the grid runs from -1 to 1 along either side, so sines carry their ratio"),
            Mistake(name="align_corners=True", margin=0.01,
                why="it lays -1 and 1 on the centres of the outer pixels, not on their edges"),
            Mistake(name="degrees", margin=0.1,
                why="scipy.ndimage.rotate and torchvision take degrees, sines take radians",
                wrong=lambda images, angles: theirs.rotate(images, angles.rad2deg())),
            Mistake(name="the other way round", margin=0.1,
                why="the matrix leads from the turned image to the first one"))),
    FunctionTwin(
        name="augmentation-draws", bridge=None, exact=True, weight=0.5,
        ours=partial(drawn, ours, "rng", np.random.default_rng),
        theirs=partial(drawn, theirs, "generator", torch.Generator().manual_seed),
        formula="1 with a probability, whole numbers and angles up to the largest, one per image",
        source=SOURCE + "torch.bernoulli, torch.randint, torch.Tensor.uniform_",
        proves=("draw_flips", "draw_offsets", "draw_shifts", "draw_angles"),
        draw=lambda rng, room=2: {"room": room, "seed": int(rng.integers(2**31))},
        cases={"room": st.integers(0, 6)}))
# fmt: on
