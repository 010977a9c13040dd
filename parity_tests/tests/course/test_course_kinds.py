"""Kinds of arguments of the course's vocabulary: the least usual of what passes, and the rest."""

from __future__ import annotations

import numpy as np
import pytest

from scratch._validation import Seen
from scratch.course import _kinds
from scratch.course._layers import Layer, flatten, unflatten

LARGEST = 2**32 - 1
MATRIX, COLUMN, ROW = np.ones((2, 3)), np.ones((2, 1)), np.ones(3)
SINGLE = {"W1": MATRIX, "b1": COLUMN}
DOUBLE = {**SINGLE, "W2": np.ones((4, 2)), "b2": np.ones((4, 1))}
LOOSE = {**SINGLE, "W2": MATRIX, "b2": COLUMN}  # a second layer that the first does not feed
GRADIENTS = {f"d{name}": one for name, one in SINGLE.items()}
CACHE = ((np.ones((3, 5)), MATRIX, COLUMN), np.ones((2, 5)))
NEXT = ((np.ones((2, 5)), np.ones((1, 2)), np.ones((1, 1))), np.ones((1, 5)))
LAST = ((np.ones((1, 5)), np.ones((3, 1)), np.ones((3, 1))), np.ones((3, 5)))
FLAT = (np.ones((2, 5)), np.ones((2, 5)), MATRIX, COLUMN)
FLAT_NEXT = (np.ones((1, 5)), np.ones((1, 5)), np.ones((1, 2)), np.ones((1, 1)))
DROPPED = (FLAT[0], np.ones((2, 5)), *FLAT[1:])

#: a kind, what passes, and what is refused with ValueError beyond what every argument is spoilt by.
KINDS = {
    "numbers": (
        _kinds.Numbers("n m"),
        [MATRIX, MATRIX.astype(bool), MATRIX.astype("u1"), np.ones((1, 1), "f2")],
        [ROW],
    ),
    "labels": (_kinds.Labels("1 m"), [ROW, ROW[None], np.ones(1, int)], [MATRIX, np.ones(())]),
    "any shape": (_kinds.AnyShape(), [1, 2.5, np.float32(1), ROW, MATRIX, np.ones(())], []),
    "real": (_kinds.Real(), [1, -2.5, np.float32(1), np.int64(3), np.inf], []),
    "seed": (_kinds.Seed(), [0, 1, LARGEST, np.int64(3)], [-1, LARGEST + 1]),
    "sizes": (_kinds.Sizes(), [[1, 1], (3, np.int64(2))], [[3], [3, 0]]),
    "layers": (_kinds.Layers(), [SINGLE, DOUBLE], [LOOSE, {**SINGLE, "c": 1, "d": 2}]),
    "two layers": (_kinds.Layers(depth=2), [DOUBLE], [SINGLE]),
    "loose layers": (_kinds.Layers(chained=False), [LOOSE], []),
    "gradients": (
        _kinds.Gradients(),
        [GRADIENTS, {**GRADIENTS, "dA1": 1, "dZ1": None, "xdW2": 3}],
        [{**GRADIENTS, "dW3": MATRIX}, {**GRADIENTS, "db1": np.ones((1, 1))}],
    ),
    "entries": (
        _kinds.Entries({"W1": "n m", "b1": "n 1"}),
        [SINGLE, {**SINGLE, "c": None}],
        [{"W1": MATRIX, "b1": MATRIX}],
    ),
    "cache": (_kinds.LayerCache(), [CACHE, list(CACHE)], [(CACHE[0], MATRIX)]),
    "caches": (
        _kinds.LayerCaches(),
        [[CACHE], (CACHE, NEXT)],
        [[], [CACHE, CACHE], [CACHE, NEXT, CACHE]],
    ),
    "flat": (
        _kinds.FlatCache(),
        [FLAT, (*FLAT, *FLAT_NEXT)],
        [(), FLAT[:3], (*FLAT, *FLAT_NEXT[:2]), (*FLAT, *FLAT)],
    ),
    "flat of two": (_kinds.FlatCache(depth=2), [(*FLAT, *FLAT_NEXT)], [FLAT]),
    "flat with masks": (
        _kinds.FlatCache(dropout=True),
        [FLAT, (*DROPPED, *FLAT_NEXT)],
        [(*FLAT, *FLAT_NEXT)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_and_refuses(kind):
    expected, passing, refused = KINDS[kind]
    for value in passing:
        expected.check("x", value, Seen())
    for value in refused:
        with pytest.raises(ValueError, match=r"^expected x?.*, got "):
            expected.check("x", value, Seen())


@pytest.mark.parametrize(
    ("kind", "value", "name", "length"),
    [
        ("sizes", [4, 3, 2], "n_0", (4, "x")),
        ("sizes", [4, 3, 2], "n_L", (2, "x")),
        ("layers", DOUBLE, "n_L", (4, "x['W2']")),
        ("layers", DOUBLE, "depth", (2, "x")),
        ("layers", DOUBLE, "n_prev_2", (2, "x['W2']")),
        ("caches", [CACHE, NEXT], "n_L", (1, "Z in x[1]")),
        ("caches", [CACHE, NEXT, LAST], "n_L", (3, "Z in x[2]")),
        ("flat", FLAT, "n_L", (2, "b1 in x")),
        ("flat", (*FLAT, *FLAT_NEXT), "n_L", (1, "b2 in x")),
        ("any shape", MATRIX, "rank", (2, "x")),
    ],
)
def test_the_lengths_that_are_left_behind(kind, value, name, length):
    """The next argument is held against them, and told where they are from."""
    seen = Seen()
    KINDS[kind][0].check("x", value, seen)
    assert seen.lengths[name] == length


def test_gradients_have_the_shapes_of_the_parameters():
    """As many layers, each of its own shape, chained or not."""
    for layers, kind in ((DOUBLE, "layers"), (LOOSE, "loose layers")):
        seen, gradients = Seen(), {f"d{name}": one for name, one in layers.items()}
        KINDS[kind][0].check("parameters", layers, seen)
        KINDS["gradients"][0].check("grads", gradients, seen)
        with pytest.raises(ValueError, match="expected grads with the keys dW1, db1, dW2, db2"):
            KINDS["gradients"][0].check("grads", GRADIENTS, seen)
        for l in (1, 2):
            wrong = {**gradients, f"dW{l}": np.ones((len(layers[f"W{l}"]), 7))}
            told = rf"n_prev_{l} = \d from parameters\['W{l}'\], got"
            with pytest.raises(ValueError, match=told):
                KINDS["gradients"][0].check("grads", wrong, seen)


def test_a_layer_is_named_by_its_place():
    with pytest.raises(TypeError, match=r"caches\[1\]"):
        KINDS["caches"][0].check("caches", [CACHE, (NEXT[0], "Z")], Seen())


def test_what_is_no_float_of_the_core_becomes_float64():
    """Integers, booleans and float16 on their own; flat labels arrive as a row."""

    @_kinds.validated(A="n m", Y=_kinds.Labels("n m"))
    def given(A, Y):
        return A.dtype, Y.shape

    for kind in (int, bool, np.float16):
        assert given(np.ones((1, 3), kind), np.ones(3, int)) == (np.float64, (1, 3))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("dropped", [False, True])
def test_a_cache_is_taken_apart_as_it_was_put_together(dropped, depth):
    """Of any depth; with dropout all layers but the last have a mask."""
    masks = [(dropped and f"D{l}") or None for l in range(1, depth)] + [None]
    layers = [Layer(f"Z{l}", D, f"A{l}", f"W{l}", f"b{l}") for l, D in enumerate(masks, start=1)]
    cache = flatten(layers)
    assert len(cache) == 4 * depth + (depth - 1) * dropped
    assert unflatten(cache, dropped) == layers
