"""Generic checks are lied to: a row that is wrong in one way fails the one check."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from parity_tests import checks
from parity_tests.checks import agrees, agrees_in_float32, walks_alike
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import FORWARD
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.compare.side_effects import assert_pure
from parity_tests.mistakes import Mistake, change
from parity_tests.optimizer_rows import OptimizerTwin
from parity_tests.rows import FunctionTwin, Pair, PairTwin, Relation
from parity_tests.tests.meta.lies import ADAM, INSIDE, Lying
from parity_tests.tests.meta.lies import backward as slope
from parity_tests.tests.meta.lies import forward as tanh
from parity_tests.twins import all_twins, twin
from scratch.linear import linear_backward, linear_forward
from torch_ref import optimizers as theirs

pytestmark = pytest.mark.usefixtures("unrecorded")


def draw(rng, m=4, scale=1.0):
    return {"x": scale * rng.standard_normal((3, m))}


def draw_walk(rng, learning_rate=0.01):
    gradients = rng.standard_normal((9, 6)) * 10.0 ** rng.uniform(-9, 0, 6)
    return {"start": rng.standard_normal(6), "gradients": gradients, "learning_rate": learning_rate}


def doubled(run, **case):
    """Hold tanh(2 x) to its formula of tanh(x)."""
    one, two = (run("tanh", x=factor * case["x"])["output"] for factor in (1, 2))
    return {"A": two}, {"A": 2 * one / (1 + one**2)}


DOUBLED = Relation(name="tanh 2x", holds=doubled, broken_by="a sigmoid")
SIGMOID = Mistake(name="a sigmoid", values=lambda x: {"output": 1 / (1 + np.exp(-x))}, margin=0.1)
SAME = change("scratch.linear", "- W @ A_prev + b", "+ b + W @ A_prev")
NOTHING = Mistake(name="no", change=SAME)
TEXT = {"formula": "A = tanh Z", "source": ""}
TYPED = {"torch": "torch.tanh", "typed": lambda text, x: {"output": columns(eval(text)(rows(x)))}}
TANH = {"draw": draw, "theirs": torch.tanh, "mistakes": (SIGMOID,)}
PLAIN = FunctionTwin(name="tanh", **TEXT, **TYPED, **TANH, ours=lambda x: tanh(x)[0])
PAIR = PairTwin(name="pair", **TEXT, **TANH, ours=Pair(tanh, slope))
KINKED = replace(PAIR, smooth=lambda **_: False)
MAKERS = {"ours": lambda learning_rate: ADAM, "theirs": theirs.adam, "state": theirs.adam_state}
WALK = OptimizerTwin(name="walk", **TEXT, **MAKERS, draw=draw_walk)
LAYER, EXACT = twin("linear"), {"exact": True, "theirs": lambda x: x.tanh()}
MODIFIED, WRONG_GRADIENT = "x: the input was modified in place", "gradient of x differs"


def modifying(x):
    x += 1


def lax(A_prev, W, b):
    return W @ A_prev + b


lax.__validation__ = linear_forward.__validation__


def calling(row, check, function, given):
    with mock.patch.object(checks, "calls_of", return_value={"f": (function, given)}):
        check(row)


def spoilt(x):
    return np.tanh(x), np.multiply(x, 2, out=x)


def ours(function, **fields):
    return replace(PLAIN, ours=function, **fields)


def pair(backward=lambda d, a: {"x": d}, forward=tanh, row=PAIR):
    return replace(row, ours=Pair(forward, backward))


def bent(bend, **choices):
    rule = Lying(ADAM, bend, **choices)
    return replace(WALK, ours=lambda **_: copy.deepcopy(rule))


def related(check, row=PLAIN, **changes):
    return partial(check, row, replace(DOUBLED, **changes))


INSIDE_THE_ROOT = replace(WALK, ours=lambda **_: INSIDE)
WIDER = ours(lambda x: np.tanh(x.astype(float)))
BY_MEMORY = ours(lambda x: np.tanh(x.ravel("K")).reshape(x.shape))
HALF = ours(lambda x: np.tanh(x).astype("f2").astype(x.dtype))
RIGHT = replace(SIGMOID, values=lambda x: {"output": np.tanh(x)})

# fmt: off
#: a check of a wrong row, and a pattern.
LIES = {
    "gradient": (partial(agrees, pair()), WRONG_GRADIENT),
    "gradient on a kink": (partial(agrees, pair(row=KINKED)), WRONG_GRADIENT),
    "names": (partial(agrees, pair(lambda d, a: {}, row=KINKED)), "ours gives"),
    "input on a kink": (partial(agrees, pair(forward=spoilt, row=KINKED)), MODIFIED),
    "input in float32": (partial(agrees_in_float32, ours(lambda x: spoilt(x)[1])), MODIFIED),
    "an ulp": (partial(agrees, ours(lambda x: np.tanh(x) * (1 + 2.0**-52), **EXACT)), "t differs"),
    "another name": (partial(agrees, ours(lambda x: {"y": np.tanh(x)})), "ours gives"),
    "a rule": (partial(agrees, INSIDE_THE_ROOT), "theta after each step differs"),
    "v": (partial(agrees, bent(lambda p, g, s: s.v.fill(0), since=9)), "v after each step"),
    "its gradients": (partial(agrees, bent(lambda p, g, s: g.theta.fill(0))), "s were modified"),
    "half precision": (partial(agrees_in_float32, HALF), "twice torch's"),
    "witnesses": (partial(checks.three_witnesses_agree, pair()), "contradicts ours"),
    "a walk": (partial(walks_alike, INSIDE_THE_ROOT), "step 1: theta differs"),
    "a claim": (partial(checks.proves_its_names, replace(PLAIN, proves=("relu",))), "never called"),
    "no claim": (partial(checks.proves_its_names, PLAIN), "claims nothing"),
    "a promotion": (
        partial(checks.keeps_the_dtype, WIDER, np.float32), "is float64 where the case"),
    "an argument": (
        partial(calling, PLAIN, checks.leaves_no_trace, modifying, {"x": np.ones(3)}),
        r"modified \['x'\]"),
    "no validation": (
        partial(calling, PLAIN, checks.refuses, lax, LAYER.arguments(LAYER.case())),
        "f.*gives .*, expected .*Error"),
    "memory": (partial(checks.takes_any_layout, BY_MEMORY, "in columns"), "output differs"),
    "a gauge": (
        partial(checks.gauges_bound_something, replace(PLAIN, gauges=lambda x: {"output": 1e3})),
        "the gauge of output is"),
    "not linear": (
        partial(checks.backward_is_linear, pair(lambda d, a: {"x": np.abs(d)})), "x differs"),
    "no relation": (related(checks.holds, ours(lambda x: x)), "A differs"),
    "half a relation": (
        related(checks.holds, holds=lambda run, x: ({"A": x}, {"B": x})), r"\['A'\] against"),
    "an unbroken relation": (
        related(checks.is_broken, broken_by=lambda honest, **case: honest(**case)),
        "holds for the scratch run that should break it"),
    "a wrong text": (
        partial(checks.is_right_as_typed, replace(PLAIN, torch="torch.sigmoid")), "as typed dif"),
    "wrong beside it": (
        partial(checks.is_right_as_typed, ours(lambda x: 1.1 * np.tanh(x))), "output differs"),
    "no mistake": (partial(checks.is_off, PLAIN, RIGHT), "only, expected at l"),
    "no effect": (partial(checks.is_seen, LAYER, NOTHING), "no check of the row notices 'no'"),
}
LOOSE = {"budget": replace(FORWARD, eps=2.0**60)}
ZEROS = replace(PLAIN, draw=partial(draw, scale=0.0))
VACUOUS = {
    "a function": partial(agrees, replace(PLAIN, **LOOSE)),
    "a pair": partial(agrees, replace(KINKED, **LOOSE, gradient_budget=LOOSE["budget"])),
    "a rule": partial(agrees, replace(WALK, **LOOSE)),
    "zeros": partial(agrees, ZEROS),
    "zeros in float32": partial(agrees_in_float32, ZEROS),
}
# fmt: on


@pytest.mark.parametrize("name", LIES)
def test_a_wrong_row_fails(name, monkeypatch):
    check, says = LIES[name]
    monkeypatch.setitem(all_twins(), "tanh", check.args[0])  # relations ask for rows by name
    with pytest.raises(AssertionError, match=says):
        check()


@pytest.mark.parametrize("name", VACUOUS)
def test_a_case_that_proves_nothing_says_so(name):
    with pytest.raises(ProvesNothingError):
        VACUOUS[name]()


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


def _draws_last(m):
    yield m
    yield np.random.default_rng().random(m)


def counting(x, seen=[0]):  # noqa: B006
    seen[0] += 1
    return seen[0]


def module():
    return {"module": torch.nn.Linear(2, 2)}


# fmt: off
#: function, arguments, pattern.
SIDE_EFFECTS = {
    "an array deep inside": (
        lambda cache: cache[1]["A"].fill(1e-300), {"cache": ("name", {"A": np.ones(1)})}, "modif"),
    "the sign of a zero": (lambda Z: np.negative(Z, out=Z).sum(), {"Z": np.zeros(2)}, "modified"),
    "a module": (lambda module: module.bias.data.mul_(1.1), module(), "modified"),
    "its mode": (lambda module: module.eval() and None, module(), "modified"),
    "numpy": (lambda m: 0 * np.random.rand(m), {"m": 2}, "numpy.random was drawn"),  # noqa: NPY002
    "torch": (lambda m: 0 * torch.rand(m), {"m": 2}, "torch was drawn"),
    "python": (lambda m: 0 * random.random(), {"m": 2}, "random was drawn"),
    "a generator nobody handed in": (_draws_last, {"m": 2}, "another result"),
    "a memory of the last call": (counting, {"x": np.ones(2)}, "another result"),
}
# fmt: on


@pytest.mark.parametrize("effect", SIDE_EFFECTS)
def test_a_side_effect_is_seen(effect):
    function, example, message = SIDE_EFFECTS[effect]
    with pytest.raises(AssertionError, match=message):
        assert_pure(function, example)


def test_a_value_that_cannot_be_looked_into_is_refused():
    with pytest.raises(TypeError, match="expected a value that can be looked into, got object"):
        assert_pure(lambda Z: 1, {"Z": object()})


def test_every_mistake_has_a_name_of_its_own_and_fits_its_module():
    root = Path(checks.__file__).parents[1]
    for row in all_twins().values():
        assert len({one.name for one in row.mistakes}) == len(row.mistakes), row.name
        for one in row.mistakes:
            assert one.values or one.wrong or one.change, one.name
            if one.change:
                path = root / one.change.module.replace(".", "/")
                one.change.apply(path.with_suffix(".py").read_text())
