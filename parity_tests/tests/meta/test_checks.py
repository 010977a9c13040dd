"""Generic checks are lied to: a row that is wrong in one way fails the one check."""

from __future__ import annotations

import ast
import importlib
import inspect
import random
import re
from dataclasses import replace
from itertools import count
from unittest import mock

import numpy as np
import pytest
import torch

from parity_tests import checks
from parity_tests.checks import agrees, agrees_in_float32
from parity_tests.compare.budgets import FORWARD
from parity_tests.compare.side_effects import assert_pure
from parity_tests.mistakes import Mistake, change
from parity_tests.rows import Pair
from parity_tests.tests.meta import lies
from parity_tests.twins import all_twins, twin
from scratch.linear import linear_backward, linear_forward
from scratch.optimizers import Adam

pytestmark = pytest.mark.usefixtures("unrecorded")

ROW, RELU, LAYER = twin("tanh"), twin("relu-at-0"), twin("linear")


def tanh(output=np.copy, slope=np.copy, **fields):
    return replace(ROW, ours=Pair(*lies.pair(output, slope)), **fields)


def adam(spoil=lambda *_: None, since=1, **wrong):
    """Return Adam's row, spoilt from one of its twenty steps on."""
    return replace(twin("adam"), ours=lambda **c: lies.Lying(Adam(**{**c, **wrong}), spoil, since))


def calling(check, function, given):
    with mock.patch.object(checks, "calls_of", return_value={"it": (function, given)}):
        check(ROW)


def lax(A_prev, W, b):
    return W @ A_prev + b


lax.__validation__ = linear_forward.__validation__


# fmt: off
KINK, LOOSE = {"smooth": lambda **_: False}, replace(FORWARD, eps=2.0**60)
DEEP, STEEP = {"cache": ("name", {"A": np.ones(1)})}, {"slope": lies.times(2)}
MODIFYING = replace(ROW, ours=Pair(lambda Z: (np.tanh(Z, out=Z), Z), lies.backward), **KINK)
GRADIENTLESS = replace(ROW, ours=Pair(lies.forward, lambda dA, A: {}), **KINK)
CALLS, DRAWS_LAST = count(), lambda m: (np.random.default_rng().random(m) for _ in "once")
PUT = lambda a: np.put(a, 0, 2), {"a": np.ones(3)}
AN_ULP_MORE = Pair(
    lambda Z: (np.maximum(Z, 0) * (1 + lies.EPS), Z), lambda dA, Z: {"Z": dA * (Z > 0)})
RELATION = ROW.relations[0]
UNBROKEN = replace(RELATION, broken_by=lambda honest, **case: honest(**case))
HALVES = replace(RELATION, holds=lambda run, Z, upstream: ({"A": Z}, {"B": Z}))
RIGHT = Mistake(name="it", values=lambda Z, upstream: {"output": np.tanh(Z)}, margin=0.1)
SAME = Mistake(name="it", change=change("scratch.linear", "- W @ A_prev + b", "+ b + W @ A_prev"))
ZEROS, VACUOUS = {"draw": lambda rng: {"Z": np.zeros((3, 4))}}, "^output, gradient of Z drown"
#: pattern, check and its arguments: a wrong row, or a function and what it is called with.
LIES = [
    ("gradient of Z differs", agrees, tanh(**STEEP, **KINK)),
    ("ours gives", agrees, GRADIENTLESS),
    ("Z: the input was modified in place", agrees, MODIFYING),
    ("Z: the input was modified in place", agrees_in_float32, MODIFYING),
    ("output differs", agrees, replace(RELU, exact=True, ours=AN_ULP_MORE)),
    ("v after each step", agrees, adam(lambda p, g, s: s.v.fill(0), 20)),
    ("gradients were modified", agrees, adam(lambda p, g, s: g.theta.fill(0))),
    ("twice torch's", agrees_in_float32, tanh(lambda A: A.astype("f2").astype(A.dtype))),
    (VACUOUS, agrees, replace(ROW, budget=LOOSE, gradient_budget=LOOSE, **KINK)),
    (VACUOUS, agrees_in_float32, replace(RELU, **ZEROS)),
    ("contradicts ours", checks.three_witnesses_agree, tanh(**STEEP)),
    ("step 1: theta differs", checks.walks_alike, adam(epsilon_inside_root=True)),
    ("never called", checks.proves_its_names, replace(ROW, proves=("relu",))),
    ("claims nothing", checks.proves_its_names, replace(ROW, proves=())),
    ("is float64 where", checks.keeps_the_dtype, tanh(lambda A: A.astype(float)), np.float32),
    (r"modified \['a'\]", calling, checks.leaves_no_trace, *PUT),
    ("is not validated", calling, checks.refuses, *PUT),
    ("gives .*, expected .*Error", calling, checks.refuses, lax, LAYER.arguments(LAYER.case())),
    ("output differs", checks.takes_any_layout,
        tanh(lambda A: A.ravel("K").reshape(A.shape)), "in columns"),
    ("the gauge of output is", checks.gauges_bound_something,
        replace(ROW, gauges=lambda *_: {"output": 1e3})),
    ("Z by scratch, of 2 u - 3 v .* differs", checks.backward_is_linear, tanh(slope=np.abs)),
    (r"\['A'\] against \['B'\]", checks.holds, ROW, HALVES),
    ("holds for the scratch run that", checks.is_broken, ROW, UNBROKEN),
    ("as typed differs", checks.is_right_as_typed, replace(ROW, torch="torch.sigmoid")),
    ("only, expected", checks.is_off, ROW, RIGHT),
    ("no check of the row notices 'it'", checks.is_seen, LAYER, SAME),
    ("modified", assert_pure, lambda cache: cache[1]["A"].fill(2), DEEP),
    ("modified", assert_pure, lambda Z: np.negative(Z, out=Z).sum(), {"Z": np.zeros(2)}),
    ("modified", assert_pure, lambda m: m.bias.data.mul_(1.1), {"m": torch.nn.Linear(2, 2)}),
    ("modified", assert_pure, lambda m: m.eval() and 1, {"m": torch.nn.Linear(2, 2)}),
    ("numpy.random was drawn", assert_pure, lambda m: 0 * np.random.rand(m), {"m": 2}),  # noqa: NPY002
    ("torch was drawn", assert_pure, lambda m: 0 * torch.rand(m), {"m": 2}),
    ("random was drawn", assert_pure, lambda m: 0 * random.random(), {"m": 2}),
    ("another result", assert_pure, DRAWS_LAST, {"m": 2}),
    ("another result", assert_pure, lambda m: next(CALLS), {"m": 2}),
    ("can be looked into, got object", assert_pure, lambda Z: 1, {"Z": object()}),
]
# fmt: on


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: f"{lie[1].__name__}-{lie[0]}")
def test_a_lie_is_seen(lie):
    says, check, *arguments = lie
    with pytest.raises((AssertionError, TypeError), match=says):
        check(*arguments)


def test_a_failure_can_be_typed_again(monkeypatch):
    """Concept, quantity, both numbers, the formula; the last line fails in the same words."""
    wrong = Pair(lambda A_prev, W, b: linear_forward(A_prev, 2 * W, b), linear_backward)
    monkeypatch.setitem(all_twins(), "linear", replace(LAYER, ours=wrong))
    with pytest.raises(AssertionError) as failure:
        agrees("linear", m=2, kind="grid", seed=3)
    text = str(failure.value)
    assert re.match(r"linear: output differs at \(\d, \d\): ours \S+, theirs \S+, ", text)
    assert "\nformula: Z = W A_prev + b\n" in text
    (line,) = re.findall(r'^again: python -c "(.*)"$', text, re.MULTILINE)
    with pytest.raises(AssertionError) as again:
        exec(line, {})
    assert str(again.value) == text


def test_every_kind_of_failure_can_be_typed_again(monkeypatch):
    """Relations and mistakes by name, dtypes as NumPy's; the side that is wrong is named."""
    adam = twin("adam")
    wrong = replace(
        adam, ours=lambda learning_rate=0.01, **rest: Adam(learning_rate=2 * learning_rate, **rest)
    )
    monkeypatch.setitem(all_twins(), "adam", wrong)
    by_hand = next(one for one in adam.relations if "beta1 0" in one.name)
    slow = next(one for one in adam.mistakes if one.name == "without bias correction")
    for check, *arguments, says in (
        (agrees, "contradicts scratch: that side is wrong"),
        (checks.walks_alike, np.float64, "step 1: theta differs"),
        (checks.holds, by_hand, "scratch", "scratch breaks 'with beta1 0"),
        (checks.is_off, slow, "theta is off by"),
    ):
        with pytest.raises(AssertionError, match=says) as failure:
            check("adam", *arguments)
        (line,) = re.findall(r"^again: python -c (.*)$", str(failure.value), re.MULTILINE)
        with pytest.raises(AssertionError) as again:
            exec(ast.literal_eval(line), {})
        assert str(again.value) == str(failure.value)


def test_every_mistake_has_a_name_of_its_own_and_fits_its_module():
    for row in all_twins().values():
        assert len({one.name for one in row.mistakes}) == len(row.mistakes), row.name
        for one in row.mistakes:
            assert one.values or one.wrong or one.change, one.name
            if one.change:
                one.change.apply(inspect.getsource(importlib.import_module(one.change.module)))
