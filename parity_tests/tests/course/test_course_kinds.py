"""Kinds of arguments of the course's vocabulary: the least usual of what passes, and the rest."""

from __future__ import annotations

import numpy as np
import pytest

from scratch._validation import Seen
from scratch.course import _kinds

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

# fmt: off
#: a kind, what passes, the lengths that the last of it binds and from where, and what is refused
#: with ValueError beyond what every argument is spoilt by.
KINDS = {
    "numbers": (_kinds.Numbers("n m"),
        [MATRIX.astype(bool), MATRIX.astype("u1"), np.ones((1, 1), "f2"), MATRIX],
        {"n": (2, "x"), "m": (3, "x")}, [ROW]),
    "labels": (_kinds.Labels("1 m"), [ROW[None], np.ones(1, int), ROW], {"m": (3, "x")},
        [MATRIX, np.ones(())]),
    "any shape": (_kinds.AnyShape(), [1, 2.5, np.float32(1), ROW, np.ones(()), MATRIX],
        {"rank": (2, "x")}, []),
    "real": (_kinds.Real(), [1, -2.5, np.float32(1), np.int64(3), np.inf], {}, []),
    "seed": (_kinds.Seed(), [0, 1, LARGEST, np.int64(3)], {}, [-1, LARGEST + 1]),
    "sizes": (_kinds.Sizes(), [[1, 1], (3, np.int64(2)), [4, 3, 2]],
        {"n_0": (4, "x"), "n_L": (2, "x")}, [[3], [3, 0]]),
    "layers": (_kinds.Layers(), [SINGLE, DOUBLE],
        {"n_L": (4, "x['W2']"), "depth": (2, "x"), "n_prev_2": (2, "x['W2']")},
        [LOOSE, {**SINGLE, "c": 1, "d": 2}]),
    "two layers": (_kinds.Layers(depth=2), [DOUBLE], {}, [SINGLE]),
    "loose layers": (_kinds.Layers(chained=False), [LOOSE], {"n_L": (2, "x['W2']")}, []),
    "gradients": (_kinds.Gradients(), [{**GRADIENTS, "dA1": 1, "dZ1": None, "xdW2": 3}, GRADIENTS],
        {}, [{**GRADIENTS, "dW3": MATRIX}, {**GRADIENTS, "db1": np.ones((1, 1))}]),
    "entries": (_kinds.Entries({"W1": "n m", "b1": "n 1"}), [SINGLE, {**SINGLE, "c": None}],
        {}, [{"W1": MATRIX, "b1": MATRIX}]),
    "cache": (_kinds.LayerCache(), [CACHE, list(CACHE)], {}, [(CACHE[0], MATRIX)]),
    "caches": (_kinds.LayerCaches(), [[CACHE], (CACHE, NEXT), [CACHE, NEXT, LAST]],
        {"n_L": (3, "Z in x[2]")}, [[], [CACHE, CACHE], [CACHE, NEXT, CACHE]]),
    "flat": (_kinds.FlatCache(), [FLAT, (*FLAT, *FLAT_NEXT)], {"n_L": (1, "b2 in x")},
        [(), FLAT[:3], (*FLAT, *FLAT_NEXT[:2]), (*FLAT, *FLAT)]),
    "flat of two": (_kinds.FlatCache(depth=2), [(*FLAT, *FLAT_NEXT)], {}, [FLAT]),
    "flat with masks": (_kinds.FlatCache(dropout=True), [(*DROPPED, *FLAT_NEXT), FLAT],
        {"n_L": (2, "b1 in x")}, [(*FLAT, *FLAT_NEXT)]),
}
# fmt: on


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_and_refuses(kind):
    """The next argument is held against the lengths that are left, and told where they are from."""
    expected, passing, bound, refused = KINDS[kind]
    for value in passing:
        seen = Seen()
        expected.check("x", value, seen)
    assert seen.lengths.items() >= bound.items()
    for value in refused:
        with pytest.raises(ValueError, match=r"^expected x?.*, got "):
            expected.check("x", value, Seen())


@pytest.mark.parametrize("layers", [DOUBLE, LOOSE])
def test_gradients_have_the_shapes_of_the_parameters(layers):
    """As many layers, each of its own shape, chained or not."""
    seen, gradients = Seen(), {f"d{name}": one for name, one in layers.items()}
    _kinds.Layers(chained=layers is DOUBLE).check("parameters", layers, seen)
    _kinds.Gradients().check("grads", gradients, seen)
    refused = {"with the keys dW1, db1, dW2, db2": GRADIENTS}
    for l in (1, 2):
        told = rf"n_prev_{l} = \d from parameters\['W{l}'\], got"
        refused[told] = gradients | {f"dW{l}": np.ones((len(layers[f"W{l}"]), 7))}
    for told, wrong in refused.items():
        with pytest.raises(ValueError, match=f"expected grads.*{told}"):
            _kinds.Gradients().check("grads", wrong, seen)


def test_a_layer_is_named_by_its_place_and_its_number():
    """Refusals name a layer behind the first, and the eleventh."""
    with pytest.raises(TypeError, match=r"caches\[2\]"):
        _kinds.LayerCaches().check("caches", [CACHE, NEXT, (LAST[0], "Z")], Seen())
    eleven = dict.fromkeys(_kinds.layer_names(11), np.ones((1, 1)))
    for kind, prefix in ((_kinds.Layers(), ""), (_kinds.Gradients(), "d")):
        named = {prefix + name: one for name, one in eleven.items()}
        kind.check("x", named, Seen())
        del named[f"{prefix}b10"]
        told = f"with the keys {prefix}W1, .*, {prefix}W11, {prefix}b11, got {prefix}W1"
        with pytest.raises(ValueError, match=told):
            kind.check("x", named, Seen())


@pytest.mark.parametrize("kind", [int, bool, np.float16])
def test_what_is_no_float_of_the_core_becomes_float64(kind):
    """Integers, booleans and float16 on their own; flat labels arrive as a row."""

    @_kinds.validated(A="n m", Y=_kinds.Labels("n m"))
    def given(A, Y):
        return A.dtype, Y.shape

    assert given(np.ones((1, 3), kind), np.ones(3, int)) == (np.float64, (1, 3))
