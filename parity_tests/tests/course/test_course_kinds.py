"""The doors of the course's vocabulary: what each kind lets in, and the whole of its refusals."""

from __future__ import annotations

import numpy as np
import pytest

from scratch._door import Seen
from scratch.course import _kinds

LARGEST = 2**32 - 1
MATRIX = np.ones((2, 3))
COLUMN = np.ones((2, 1))
ROW = np.ones(3)
SINGLE = {"W1": MATRIX, "b1": COLUMN}
DOUBLE = {**SINGLE, "W2": np.ones((4, 2)), "b2": np.ones((4, 1))}
TWIN = {**SINGLE, "W2": MATRIX, "b2": COLUMN}  # a second layer that the first does not feed
GRADIENTS = {f"d{name}": one for name, one in SINGLE.items()}
CACHE = ((np.ones((3, 5)), MATRIX, COLUMN), np.ones((2, 5)))
NEXT = ((np.ones((2, 5)), np.ones((1, 2)), np.ones((1, 1))), np.ones((1, 5)))
LAST = ((np.ones((1, 5)), np.ones((3, 1)), np.ones((3, 1))), np.ones((3, 5)))
FLAT = (np.ones((2, 5)), np.ones((2, 5)), MATRIX, COLUMN)
FLAT_NEXT = (np.ones((1, 5)), np.ones((1, 5)), np.ones((1, 2)), np.ones((1, 1)))
DROPPED = (FLAT[0], np.ones((2, 5)), *FLAT[1:])

KINDS = {
    "numbers": _kinds.Numbers("n m"),
    "labels": _kinds.Labels("1 m"),
    "any shape": _kinds.AnyShape(),
    "real": _kinds.Real(),
    "seed": _kinds.Seed(),
    "sizes": _kinds.Sizes(),
    "layers": _kinds.Layers(),
    "two layers": _kinds.Layers(depth=2),
    "loose layers": _kinds.Layers(chained=False),
    "gradients": _kinds.Gradients(),
    "fields": _kinds.Fields({"A": "n m", "b": "n 1"}),
    "entries": _kinds.Entries({"W1": "n m", "b1": "n 1"}),
    "cache": _kinds.LayerCache(),
    "caches": _kinds.LayerCaches(),
    "flat": _kinds.FlatCache(),
    "flat of two": _kinds.FlatCache(depth=2),
    "flat with masks": _kinds.FlatCache(dropout=True),
}

ARRAY = "an array of dtype"
REAL = "to be a NumPy array of real numbers, got"
REFUSALS = [
    ("numbers", [1.0], TypeError, f"x {REAL} list [1.0]"),
    ("numbers", MATRIX.astype(complex), TypeError, f"x {REAL} {ARRAY} complex128 and shape (2, 3)"),
    ("numbers", np.array([["1"]]), TypeError, f"x {REAL} {ARRAY} <U1 and shape (1, 1)"),
    ("numbers", ROW, ValueError, "x of shape (n, m), got (3,)"),
    ("labels", MATRIX, ValueError, "x of shape (1, m), got (2, 3)"),
    ("labels", np.ones(()), ValueError, "x of shape (1, m), got ()"),
    ("labels", 1.0, TypeError, f"x {REAL} float 1.0"),
    ("any shape", "1", TypeError, f"x {REAL} str '1'"),
    ("any shape", True, TypeError, f"x {REAL} bool True"),
    ("real", "1", TypeError, "x to be a real number, got str '1'"),
    ("real", True, TypeError, "x to be a real number, got bool True"),
    ("real", 1j, TypeError, "x to be a real number, got complex 1j"),
    ("seed", 1.0, TypeError, "x to be a whole number, got float 1.0"),
    ("seed", True, TypeError, "x to be a whole number, got bool True"),
    ("seed", -1, ValueError, f"x in 0..{LARGEST}, got -1"),
    ("seed", LARGEST + 1, ValueError, f"x in 0..{LARGEST}, got {LARGEST + 1}"),
    ("sizes", 3, TypeError, "x to be a list of whole numbers, got int 3"),
    ("sizes", [3, 1.0], TypeError, "x to be a list of whole numbers, got list [3, 1.0]"),
    ("sizes", [3, True], TypeError, "x to be a list of whole numbers, got list [3, True]"),
    ("sizes", [3], ValueError, "x to hold two or more sizes of at least 1, got [3]"),
    ("sizes", [3, 0], ValueError, "x to hold two or more sizes of at least 1, got [3, 0]"),
    ("layers", [MATRIX], TypeError,
     "x to be a dictionary, got list [array([[1., 1., 1.],\n       [1., 1., 1.]])]"),
    ("layers", {}, ValueError, "x with the keys W1, b1, got none"),
    ("layers", {"W1": MATRIX}, ValueError, "x with the keys W1, b1, got W1"),
    ("layers", {**SINGLE, "W2": MATRIX}, ValueError,
     "x with the keys W1, b1, W2, b2, got W1, b1, W2"),
    ("layers", {**SINGLE, "c": 1, "d": 2}, ValueError,
     "x with the keys W1, b1, W2, b2, got W1, b1, c, d"),
    ("two layers", SINGLE, ValueError, "x with the keys W1, b1, W2, b2, got W1, b1"),
    ("layers", {**SINGLE, "b1": np.ones((3, 1))}, ValueError,
     "x['b1'] of shape (n_1, 1) with n_1 = 2 from x['W1'], got (3, 1)"),
    ("layers", TWIN, ValueError,
     "x['W2'] of shape (n_2, n_1) with n_1 = 2 from x['W1'], got (2, 3)"),
    ("gradients", [1], TypeError, "x to be a dictionary, got list [1]"),
    ("gradients", {}, ValueError, "x with the keys dW1, db1, got none"),
    ("gradients", {"dW1": MATRIX}, ValueError, "x with the keys dW1, db1, got dW1"),
    ("gradients", {**GRADIENTS, "dW3": MATRIX}, ValueError,
     "x with the keys dW1, db1, dW2, db2, dW3, db3, got dW1, db1, dW3"),
    ("gradients", {**GRADIENTS, "db1": np.ones((1, 1))}, ValueError,
     "x['db1'] of shape (n_1, 1) with n_1 = 2 from x['dW1'], got (1, 1)"),
    ("fields", {}, TypeError, "x to be a tuple (A, b), got dict {}"),
    ("fields", (), ValueError, "x to be a tuple (A, b), got 0 entries"),
    ("fields", (MATRIX,), ValueError, "x to be a tuple (A, b), got 1 entries"),
    ("fields", (MATRIX, COLUMN, COLUMN), ValueError, "x to be a tuple (A, b), got 3 entries"),
    ("fields", (MATRIX, ROW), ValueError, "b in x of shape (n, 1), got (3,)"),
    ("entries", (), TypeError, "x to be a dictionary, got tuple ()"),
    ("entries", {"W1": MATRIX}, ValueError, "x with the keys W1, b1, got W1"),
    ("entries", {"W1": MATRIX, "b1": MATRIX}, ValueError, "x['b1'] of shape (n, 1), got (2, 3)"),
    ("cache", MATRIX, TypeError,
     f"x to be a tuple (linear_cache, activation_cache), got {ARRAY} float64 and shape (2, 3)"),
    ("cache", CACHE[:1], ValueError,
     "x to be a tuple (linear_cache, activation_cache), got 1 entries"),
    ("cache", (CACHE[0][:2], CACHE[1]), ValueError,
     "the linear cache in x to be a tuple (A_prev, W, b), got 2 entries"),
    ("cache", (CACHE[0], MATRIX), ValueError,
     "Z in x of shape (n, m) with m = 5 from A_prev in the linear cache in x, got (2, 3)"),
    ("caches", CACHE[1], TypeError,
     f"x to be a tuple of the layers' caches, got {ARRAY} float64 and shape (2, 5)"),
    ("caches", [], ValueError, "x to be a tuple of the layers' caches, got 0 entries"),
    ("caches", [CACHE, CACHE], ValueError,
     "A_prev in the linear cache in x[1] of shape (n_1, m) with n_1 = 2 from W in the linear cache "
     "in x[0], got (3, 5)"),
    ("caches", [CACHE, NEXT, CACHE], ValueError,
     "A_prev in the linear cache in x[2] of shape (n_2, m) with n_2 = 1 from W in the linear cache "
     "in x[1], got (3, 5)"),
    ("flat", MATRIX, TypeError,
     f"x to be a tuple (Z1, A1, W1, b1, ...), got {ARRAY} float64 and shape (2, 3)"),
    ("flat", (), ValueError, "x to be a tuple (Z1, A1, W1, b1, ...), got 0 entries"),
    ("flat", FLAT[:3], ValueError, "x to be a tuple (Z1, A1, W1, b1), got 3 entries"),
    ("flat", (*FLAT, *FLAT_NEXT[:2]), ValueError,
     "x to be a tuple (Z1, A1, W1, b1), got 6 entries"),
    ("flat of two", FLAT, ValueError,
     "x to be a tuple (Z1, A1, W1, b1, Z2, A2, W2, b2), got 4 entries"),
    ("flat with masks", (*FLAT, *FLAT_NEXT), ValueError,
     "x to be a tuple (Z1, D1, A1, W1, b1, Z2, A2, W2, b2), got 8 entries"),
    ("flat", (*FLAT, *FLAT), ValueError,
     "W2 in x of shape (n_2, n_1) with n_1 = 2 from Z1 in x, got (2, 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "error", "message"), REFUSALS, ids=str)
def test_the_whole_refusal(kind, value, error, message):
    """A refusal says what was expected and what came, to the last character."""
    with pytest.raises(error) as refusal:
        KINDS[kind].admit("x", value, Seen())
    assert str(refusal.value) == f"expected {message}"


PASSING = {
    "numbers": [MATRIX, MATRIX.astype(bool), MATRIX.astype("u1"), np.ones((1, 1), "f2")],
    "labels": [ROW, ROW[None], np.ones(1, int)],
    "any shape": [1, 2.5, np.float32(1), ROW, MATRIX, np.ones(())],
    "real": [1, -2.5, np.float32(1), np.int64(3), np.inf],
    "seed": [0, 1, LARGEST, np.int64(3)],
    "sizes": [[1, 1], (3, np.int64(2))],
    "layers": [SINGLE, DOUBLE],
    "loose layers": [TWIN],
    "gradients": [GRADIENTS, {**GRADIENTS, "dA1": 1, "dZ1": None, "xdW2": 3}],
    "entries": [SINGLE, {**SINGLE, "c": None}],
    "cache": [CACHE, list(CACHE)],
    "caches": [[CACHE], (CACHE, NEXT)],
    "flat": [FLAT, (*FLAT, *FLAT_NEXT)],
    "flat with masks": [FLAT, (*DROPPED, *FLAT_NEXT)],
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes(kind):
    """The smallest and the least usual of what is right is let in."""
    for value in PASSING[kind]:
        KINDS[kind].admit("x", value, Seen())


def lengths(kind, value):
    """Return the lengths that a kind leaves behind."""
    seen = Seen()
    KINDS[kind].admit("x", value, seen)
    return seen.lengths


def test_the_lengths_that_are_left_behind():
    """What comes next at the door is held against them, and told where they are from."""
    assert lengths("sizes", [4, 3, 2]) == {"n_0": (4, "x"), "n_L": (2, "x")}
    assert lengths("layers", SINGLE)["n_prev_1"] == (3, "x['W1']")
    found = lengths("layers", DOUBLE)
    assert found["n_L"] == (4, "x['W2']")
    assert found["depth"] == (2, "x")
    assert found["n_prev_1"] == (3, "x['W1']")
    assert found["n_prev_2"] == (2, "x['W2']")
    assert lengths("caches", [CACHE, NEXT])["n_L"] == (1, "Z in x[1]")
    assert lengths("caches", [CACHE, NEXT, LAST])["n_L"] == (3, "Z in x[2]")
    assert lengths("flat", FLAT)["n_L"] == (2, "b1 in x")
    assert lengths("flat", (*FLAT, *FLAT_NEXT))["n_L"] == (1, "b2 in x")
    assert lengths("any shape", MATRIX)["rank"] == (2, "x")


def test_gradients_have_the_shapes_of_the_parameters():
    """As many layers, each of its own shape, chained or not."""
    for layers, kind in ((DOUBLE, "layers"), (TWIN, "loose layers")):
        seen = Seen()
        KINDS[kind].admit("parameters", layers, seen)
        gradients = {f"d{name}": one for name, one in layers.items()}
        KINDS["gradients"].admit("grads", gradients, seen)
        with pytest.raises(ValueError, match=r"expected grads with the keys dW1, db1, dW2, db2"):
            KINDS["gradients"].admit("grads", GRADIENTS, seen)
        wrong = {**gradients, "dW2": np.ones((len(layers["W2"]), 7))}
        with pytest.raises(ValueError, match=r"n_prev_2 = \d from parameters\['W2'\], got"):
            KINDS["gradients"].admit("grads", wrong, seen)


def test_a_number_stands_beside_arrays_of_no_axis():
    """At one door all have the shape of the first."""
    seen = Seen()
    KINDS["any shape"].admit("x", MATRIX, seen)
    KINDS["any shape"].admit("y", MATRIX, seen)
    for wrong in (ROW, 1.0, np.ones((2, 2)), np.ones((2, 4))):
        with pytest.raises(ValueError, match=r"expected y of shape \(n_0, n_1\)"):
            KINDS["any shape"].admit("y", wrong, seen)
