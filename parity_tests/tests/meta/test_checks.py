"""Generic checks: an honest row passes them all, and each sees the rows that it is there for."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from parity_tests import checks
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.rows import Change, FunctionTwin, Mistake, Pair, PairTwin, Relation
from parity_tests.twins import all_twins
from scratch.optimizers import Momentum


def tanh(Z):
    """Return tanh Z and its cache."""
    A = np.tanh(Z)
    return A, A


def tanh_backward(dA, A):
    """Pull dA back."""
    return {"Z": dA * (1 - A**2)}


def odd(run, **case):
    """Return the output for -Z with its sign turned, and that for Z."""
    other = run("tanh", **{**case, "Z": -case["Z"]})
    return {"output": -other["output"]}, {"output": run("tanh", **case)["output"]}


SHIFTED = Mistake(
    name="shifted", values=lambda Z, upstream: {"output": np.tanh(Z + 1e-3)}, margin=1e-5
)
HONEST = PairTwin(
    name="tanh",
    stem="toys",
    formula="A = tanh Z",
    source="Peano",
    torch="torch.tanh",
    ours=Pair(tanh, tanh_backward),
    theirs=torch.tanh,
    draw=lambda rng, n=3, m=5: {"Z": rng.standard_normal((n, m))},
    cases={"n": st.integers(1, 4), "m": st.integers(1, 5)},
    edges={"one number": {"n": 1, "m": 1}},
    mistakes=(SHIFTED,),
    relations=(Relation(name="odd", holds=odd, broken_by="shifted"),),
)


def pair(forward=tanh, backward=tanh_backward, **rest):
    """Return the honest row with another pair."""
    return replace(HONEST, ours=Pair(forward, backward), **rest)


def overwriting(Z):
    np.tanh(Z, out=Z)
    return Z, Z


def remembering(Z, seen=[]):  # noqa: B006
    seen.append(2.0**-52)
    return np.tanh(Z) * (1 + sum(seen)), np.tanh(Z)


def drawing(Z):
    np.random.rand()  # noqa: NPY002
    random.random()
    return tanh(Z)


def neighbours(Z):
    """Read the memory beside a view."""
    base = Z if Z.base is None else Z.base
    return np.tanh(Z) + 0 * base.ravel()[: Z.size].reshape(Z.shape), np.tanh(Z)


#: by name: the check, the row, its arguments, and a part of the message.
LIES = {
    "gradient scaled": (
        checks.agrees,
        pair(backward=lambda d, A: {"Z": (1 + 1e-13) * d * (1 - A**2)}),
        "gradient of Z",
    ),
    "a forward of another function": (
        checks.three_witnesses_agree,
        pair(lambda Z: (np.tanh(Z) * (1 + 1e-13), np.tanh(Z))),
        "output differs at",
    ),
    "a backward that forgets its upstream": (
        checks.backward_is_linear,
        pair(backward=lambda d, A: {"Z": 1 - A**2}),
        "gradient of Z differs",
    ),
    "a gauge without an end": (
        checks.gauges_bound_something,
        replace(HONEST, gauges=lambda arguments, upstream: {"output": 1e9}),
        "the gauge of output is",
    ),
    "an input overwritten": (
        checks.agrees,
        pair(overwriting, lambda d, A: {"Z": d * (1 - A**2)}),
        "modified",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_seen(lie):
    check, row, message = LIES[lie]
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=message) as seen:
        check(row)
    assert re.search(r"formula: A = tanh Z\nagain: python -c", str(seen.value))


def test_an_honest_row_passes():
    with LEDGER.unrecorded():
        for check in (
            checks.agrees,
            checks.agrees_in_float32,
            checks.three_witnesses_agree,
            checks.backward_is_linear,
            checks.gauges_bound_something,
            checks.is_right_as_typed,
        ):
            check(HONEST)
        for dtype in (np.float32, np.longdouble):
            checks.keeps_the_dtype(HONEST, dtype)
        for layout in checks.LAYOUTS:
            checks.takes_any_layout(HONEST, layout)
        for side in checks.SIDES:
            checks.holds(HONEST, HONEST.relations[0], side)
        checks.is_broken(HONEST, HONEST.relations[0])
        checks.is_off(HONEST, SHIFTED)


def test_a_promoted_dtype_is_seen():
    row = pair(lambda Z: (np.tanh(Z).astype("f8"), np.tanh(Z)))
    with pytest.raises(AssertionError, match="output is float64 where the case is float32"):
        checks.keeps_the_dtype(row, np.float32)


def test_float32_without_its_digits_is_seen():
    row = pair(lambda Z: (np.tanh(Z) * Z.dtype.type(1 + 1e-5), np.tanh(Z)))
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="its float64 contradicts ours"):
        checks.agrees_in_float32(row)


def test_memory_beside_a_view_is_seen():
    with LEDGER.unrecorded(), pytest.raises(AssertionError):
        checks.takes_any_layout(pair(neighbours), "every other entry")


def test_a_relation_that_fails_or_cannot_be_broken_is_seen():
    shifted = pair(lambda Z: (np.tanh(Z + 1e-9), np.tanh(Z)))
    with LEDGER.unrecorded():
        with pytest.raises(AssertionError, match="output differs"):
            checks.holds(shifted, HONEST.relations[0])
        toothless = Relation(name="odd", holds=odd, broken_by=lambda honest, **case: honest(**case))
        with pytest.raises(AssertionError, match="holds for the scratch run that should break it"):
            checks.is_broken(HONEST, toothless)


def test_a_claim_without_a_call_is_seen():
    with LEDGER.unrecorded():
        with pytest.raises(AssertionError, match=r"claims parity of .* but never called it"):
            checks.proves_its_names(replace(HONEST, proves=("relu_forward",)))
        with pytest.raises(AssertionError, match="claims nothing"):
            checks.proves_its_names(HONEST)


def test_a_mistake_that_nothing_notices_is_seen():
    """A change of words alone is no mistake."""
    row = all_twins()["linear"]
    harmless = Change("scratch.linear", "dZ.sum(axis=1, keepdims=True)", "dZ.sum(1, keepdims=True)")
    with pytest.raises(AssertionError, match="no check of the row notices"):
        checks.is_seen(row, Mistake(name="none", change=harmless))
    absent = Change("scratch.linear", "no such text", "")
    with pytest.raises(ValueError, match="once, got 0 times"):
        checks.is_seen(row, Mistake(name="absent", change=absent))


def test_what_proves_nothing_is_no_failure():
    nothing = replace(
        HONEST, draw=lambda rng: {"Z": np.zeros((2, 2)), "upstream": np.zeros((2, 2))}
    )
    with LEDGER.unrecorded(), pytest.raises(ProvesNothingError):
        checks.agrees(nothing)


class Forgetful(Momentum):
    """Momentum that starts anew each time."""

    def update(self, parameters, gradients, state):
        state.v[:] = 0
        super().update(parameters, gradients, state)


def test_a_walk_that_parts_is_seen():
    row = all_twins()["momentum"]
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="step 2"):
        checks.walks_alike(replace(row, ours=Forgetful))


def _modifies_deep_inside(cache):
    cache[1]["A"][0, 0] += 1e-300
    return 1.0


def _modifies_a_module(module):
    with torch.no_grad():
        module.bias[0] += 1e-7


def _draws_last(m):
    yield m
    yield np.random.default_rng().random(m)


def _module():
    return torch.nn.Linear(2, 2)


SIDE_EFFECTS = {
    "an array deep inside": (
        _modifies_deep_inside,
        {"cache": ("name", {"A": np.zeros((2, 2))})},
        "modified",
    ),
    "the sign of a zero": (lambda Z: np.negative(Z, out=Z).sum(), {"Z": np.zeros(2)}, "modified"),
    "a parameter of a module": (_modifies_a_module, {"module": _module()}, "modified"),
    "a gradient left behind": (
        lambda module: module.weight.sum().backward(),
        {"module": _module()},
        "modified",
    ),
    "a module's mode": (lambda module: module.eval() and None, {"module": _module()}, "modified"),
    "an entry of a list": (lambda orders: orders.pop(), {"orders": [1, 2]}, "modified"),
    "numpy's generator": (
        lambda m: 0 * np.random.rand(m),  # noqa: NPY002
        {"m": 2},
        "numpy.random was drawn",
    ),
    "torch's generator": (lambda m: 0 * torch.rand(m), {"m": 2}, "torch was drawn"),
    "python's generator": (lambda m: 0 * random.random(), {"m": 2}, "random was drawn"),
    "a generator nobody handed in": (_draws_last, {"m": 2}, "another result"),
    "a memory of the last call": (remembering, {"Z": np.ones(2)}, "another result"),
    "all three, inside of a forward": (drawing, {"Z": np.ones(2)}, "was drawn from"),
}


@pytest.mark.parametrize("effect", SIDE_EFFECTS)
def test_a_side_effect_is_seen(effect):
    function, example, message = SIDE_EFFECTS[effect]
    with pytest.raises(AssertionError, match=message):
        checks.assert_pure(function, example)


def test_what_should_be_overwritten_and_is_not_is_seen():
    with pytest.raises(AssertionError, match="modified"):
        checks.assert_pure(lambda Z: Z.sum(), {"Z": np.ones(2)}, frozenset({"Z"}))


def test_a_value_that_cannot_be_looked_into_is_refused():
    with pytest.raises(TypeError, match="expected a value that can be looked into, got object"):
        checks.assert_pure(lambda Z: 1, {"Z": object()})


def test_a_function_without_validation_is_seen():
    """A door that lets a bad value in fails the row."""
    row = FunctionTwin(
        name="open door",
        stem="toys",
        formula="",
        source="",
        draw=lambda rng: {},
        ours=lambda: 1.0,
        theirs=lambda: 1.0,
        calls=lambda: iter([("parity_tests.tests.meta.open_door.halve", {"x": np.ones(2)})]),
    )
    with pytest.raises(AssertionError, match="gives None, expected TypeError"):
        checks.refuses(row)


def test_every_mistake_has_a_name_of_its_own_and_fits_its_module():
    """One name is one mistake of a concept, whatever reads it."""
    for row in all_twins().values():
        names = [one.name for one in row.mistakes]
        assert len(set(names)) == len(names), row.name
        for one in row.mistakes:
            assert one.values or one.wrong or one.change, one.name
            if one.change:
                one.change.load()
