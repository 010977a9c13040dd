"""Generic checks and findings are lied to: a row that is wrong in one way fails the one check."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from parity_tests import checks
from parity_tests.compare.budgets import FORWARD
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.findings import in_words
from parity_tests.rows import Change, FunctionTwin, Mistake, OptimizerTwin, Pair, PairTwin, Relation
from parity_tests.tests.meta.lies import ADAM, MODIFIED, EpsilonHat, Lying, in_half
from parity_tests.tests.meta.lies import backward as slope
from parity_tests.tests.meta.lies import forward as tanh
from parity_tests.twins import all_twins, twin
from scratch.linear import linear_backward, linear_forward
from torch_ref import optimizers as theirs

HERE = "parity_tests.tests.meta.test_checks."


@pytest.fixture(autouse=True)
def _forget():
    with LEDGER.unrecorded():
        yield


def draw(rng, m=4, scale=1.0):
    return {"x": scale * rng.standard_normal((3, m))}


def doubled(run, **case):
    """Hold tanh(2 x) to its formula of tanh(x)."""
    one, two = (run("tanh", x=factor * case["x"])["output"] for factor in (1, 2))
    return {"A": two}, {"A": 2 * one / (1 + one**2)}


DOUBLED = Relation(name="tanh 2x", holds=doubled, broken_by="a sigmoid")
SIGMOID = Mistake(name="a sigmoid", values=lambda x: {"output": 1 / (1 + np.exp(-x))}, margin=0.1)
PLAIN = FunctionTwin(
    name="tanh",
    formula="A = tanh Z",
    source="",
    torch="torch.tanh",
    typed=lambda text, x: {"output": eval(text)(torch.from_numpy(x)).numpy()},
    ours=lambda x: tanh(x)[0],
    theirs=torch.tanh,
    draw=draw,
    float32=True,
    relations=(DOUBLED,),
    mistakes=(SIGMOID,),
)
PAIR = PairTwin(
    name="pair", formula="", source="", ours=Pair(tanh, slope), theirs=torch.tanh, draw=draw
)
KINKED = replace(PAIR, smooth=lambda **_: False)
LAYER = twin("linear")


def draw_walk(rng, learning_rate=0.01):
    scales = 10.0 ** rng.uniform(-9, 0, 6)
    return {
        "start": rng.standard_normal(6),
        "gradients": scales * rng.standard_normal((9, 6)),
        "learning_rate": learning_rate,
    }


WALK = OptimizerTwin(
    name="walk",
    formula="",
    source="",
    ours=lambda learning_rate: ADAM,
    theirs=theirs.adam,
    state=theirs.adam_state,
    draw=draw_walk,
)


def modifying(x):
    x += 1


def drawing(x):
    return torch.rand(1).numpy()


COUNT = iter(range(100))


def counting(x):
    return next(COUNT)


def lax(A_prev, W, b):
    return W @ A_prev + b


lax.__door__ = linear_forward.__door__


def calling(name):
    """Return a row that calls a function of this file."""
    given = LAYER.case() if name == "lax" else {"x": np.ones(3)}
    given = {one: value for one, value in given.items() if one != "upstream"}
    return replace(PLAIN, calls=lambda **_: [(HERE + name, given)])


def spoilt(x):
    return np.tanh(x), np.multiply(x, 2, out=x)


def pair(forward=tanh, backward=slope, row=PAIR, **fields):
    return replace(row, ours=Pair(forward, backward), **fields)


def function(ours, **fields):
    return replace(PLAIN, ours=ours, **fields)


WRONG, HALF = slope(1.0, 0.5)["x"], lambda x: in_half(np.tanh(x))
NOTHING = Change("scratch.linear", "W @ A_prev + b", "b + W @ A_prev")

#: check, wrong row, further arguments, pattern.
LIES = {
    "output": (checks.agrees, pair(lambda x: (1.1 * np.tanh(x), np.tanh(x))), (), "output differs"),
    "gradient": (checks.agrees, pair(backward=lambda d, a: {"x": d}), (), "gradient of x differs"),
    "gradient on a kink": (
        checks.agrees,
        pair(backward=lambda d, a: {"x": d}, row=KINKED),
        (),
        "gradient of x differs",
    ),
    "names": (checks.agrees, pair(backward=lambda d, a: {}, row=KINKED), (), "ours gives"),
    "input of a pair": (checks.agrees, pair(spoilt, lambda d, x: {"x": d}), (), MODIFIED[1:]),
    "input on a kink": (
        checks.agrees,
        pair(spoilt, lambda d, x: {"x": d}, row=KINKED),
        (),
        MODIFIED[1:],
    ),
    "input of a function": (checks.agrees, function(lambda x: spoilt(x)[0]), (), MODIFIED[1:]),
    "input, output wrong": (checks.agrees, function(lambda x: spoilt(x)[1]), (), MODIFIED[1:]),
    "input in float32": (
        checks.agrees_in_float32,
        function(lambda x: spoilt(x)[0]),
        (),
        MODIFIED[1:],
    ),
    "a function": (checks.agrees, function(lambda x: 1.1 * np.tanh(x)), (), "output differs"),
    "one ulp of an exact one": (
        checks.agrees,
        function(lambda x: np.tanh(x) * (1 + 2.0**-52), exact=True, theirs=lambda x: x.tanh()),
        (),
        "output differs",
    ),
    "another name": (checks.agrees, function(lambda x: {"y": np.tanh(x)}), (), "ours gives"),
    "a rule": (checks.agrees, replace(WALK, ours=lambda **_: EpsilonHat()), (), "theta after each"),
    "a state": (
        checks.agrees,
        replace(WALK, ours=lambda **_: Lying(ADAM, lambda p, g, s: s.v.fill(0), since=9)),
        (),
        "v after each step differs",
    ),
    "a count": (
        checks.agrees,
        replace(WALK, ours=lambda **_: Lying(ADAM, lambda p, g, s: s.t.__iadd__(1))),
        (),
        "after each step differs",
    ),
    "gradients of a rule": (
        checks.agrees,
        replace(WALK, ours=lambda **_: Lying(ADAM, lambda p, g, s: g.theta.fill(0))),
        (),
        "gradients after the update differs",
    ),
    "float16 for float32": (checks.agrees_in_float32, function(HALF), (), "twice torch's"),
    "three witnesses": (
        checks.three_witnesses_agree,
        pair(backward=lambda d, a: {"x": d}),
        (),
        "contradicts ours",
    ),
    "a walk": (
        checks.walks_alike,
        replace(WALK, ours=lambda **_: EpsilonHat()),
        (),
        "step 1: theta differs",
    ),
    "a claim": (checks.proves_its_names, replace(PLAIN, proves=("relu",)), (), "never called it"),
    "no claim": (checks.proves_its_names, PLAIN, (), "claims nothing"),
    "a promotion": (
        checks.keeps_the_dtype,
        function(lambda x: np.tanh(x.astype(float))),
        (np.float32,),
        "output is float64 where the case is float32",
    ),
    "an argument": (checks.leaves_no_trace, calling("modifying"), (), r"modified \['x'\]"),
    "a generator": (checks.leaves_no_trace, calling("drawing"), (), "generator of torch was drawn"),
    "a memory": (checks.leaves_no_trace, calling("counting"), (), "gave another result"),
    "no validation": (checks.refuses, calling("lax"), (), "lax.*gives .*, expected .*Error"),
    "the order in memory": (
        checks.takes_any_layout,
        function(lambda x: np.tanh(x.ravel("K"))),
        ("in columns",),
        "output differs",
    ),
    "a huge gauge": (
        checks.gauges_bound_something,
        replace(PLAIN, gauges=lambda x: {"output": 1e3}),
        (),
        "the gauge of output is",
    ),
    "not linear": (
        checks.backward_is_linear,
        pair(backward=lambda d, a: {"x": np.abs(d)}),
        (),
        "x differs",
    ),
    "no relation": (checks.holds, function(lambda x: x), (DOUBLED,), "A differs"),
    "half a relation": (
        checks.holds,
        PLAIN,
        (replace(DOUBLED, holds=lambda run, x: ({"A": x}, {"B": x})),),
        r"\['A'\] against \['B'\]",
    ),
    "an unbroken relation": (
        checks.is_broken,
        PLAIN,
        (replace(DOUBLED, broken_by=lambda honest, **case: honest(**case)),),
        "holds for the scratch run that should break it",
    ),
    "a wrong text": (
        checks.is_right_as_typed,
        replace(PLAIN, torch="torch.sigmoid"),
        (),
        "output as typed differs",
    ),
    "wrong beside the text": (
        checks.is_right_as_typed,
        function(lambda x: 1.1 * np.tanh(x)),
        (),
        "output differs",
    ),
    "a mistake that is right": (
        checks.is_off,
        PLAIN,
        (replace(SIGMOID, values=lambda x: {"output": np.tanh(x)}),),
        "is off by .* only, expected at least 0.1",
    ),
    "a margin too small": (
        checks.is_off,
        PLAIN,
        (replace(SIGMOID, margin=1e-14),),
        "its margin 1e-14 is not 100 times the budget",
    ),
    "a margin of no number": (
        checks.is_off,
        PLAIN,
        (replace(SIGMOID, values=lambda x: {"output": x / 0 * 0}),),
        "no number at all",
    ),
    "a mistake without effect": (
        checks.is_seen,
        LAYER,
        (Mistake(name="nothing", change=NOTHING),),
        "no check of the row notices 'nothing'",
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("name", LIES)
def test_a_wrong_row_fails(name, monkeypatch):
    check, row, arguments, says = LIES[name]
    monkeypatch.setitem(all_twins(), "tanh", row)
    with pytest.raises(AssertionError, match=says):
        check(row, *arguments)


HONEST = {
    **{f"agrees: {row.name}": (checks.agrees, row, ()) for row in (PLAIN, PAIR, KINKED, WALK)},
    "float32": (checks.agrees_in_float32, PLAIN, ()),
    "three witnesses": (checks.three_witnesses_agree, PAIR, ()),
    "a walk": (checks.walks_alike, WALK, ()),
    "a walk in float32": (checks.walks_alike, WALK, (np.float32,)),
    "dtype": (checks.keeps_the_dtype, PLAIN, (np.longdouble,)),
    "claims": (checks.proves_its_names, LAYER, ()),
    "layout": (checks.takes_any_layout, PLAIN, ("in columns",)),
    "linear": (checks.backward_is_linear, PAIR, ()),
    "relation": (checks.holds, PLAIN, (DOUBLED,)),
    "broken": (checks.is_broken, PLAIN, (DOUBLED,)),
    "typed": (checks.is_right_as_typed, PLAIN, ()),
    "off": (checks.is_off, PLAIN, (SIGMOID,)),
    "gauge": (checks.gauges_bound_something, replace(PLAIN, gauges=lambda x: {"output": 2.0}), ()),
}


@pytest.mark.parametrize("name", HONEST)
def test_a_right_row_passes(name, monkeypatch):
    check, row, arguments = HONEST[name]
    monkeypatch.setitem(all_twins(), "tanh", row)
    check(row, *arguments)


@pytest.mark.parametrize("row", [replace(PLAIN, draw=partial(draw, scale=0.0)), KINKED, WALK])
def test_a_case_that_proves_nothing_is_no_failure(row):
    loose = replace(FORWARD, eps=2.0**60)
    row = replace(row, budget=loose, **({"gradient_budget": loose} if row is KINKED else {}))
    with pytest.raises(ProvesNothingError):
        checks.agrees(row)


def test_a_failure_can_be_typed_again(monkeypatch):
    """Concept, quantity, both numbers, the formula; the last line fails in the same words."""
    wrong = Pair(lambda A_prev, W, b: linear_forward(A_prev, 2 * W, b), linear_backward)
    monkeypatch.setitem(all_twins(), "linear", replace(LAYER, ours=wrong))
    with pytest.raises(AssertionError) as failure:
        checks.agrees("linear", m=2, kind="grid", seed=3)
    text = str(failure.value)
    assert re.match(r"linear: output differs at \(\d, \d\): ours \S+, theirs \S+, ", text)
    assert "\nformula: Z = W A_prev + b\n" in text
    (line,) = re.findall(r'^again: python -c "(.*)"$', text, re.MULTILINE)
    with pytest.raises(AssertionError) as again:
        exec(line, {})
    assert str(again.value) == text


@pytest.mark.parametrize(
    ("relative", "words"),
    [
        (np.inf, "no number at all"),
        (3.0, "off by 3 times the right value"),
        (0.5, "off by 50%"),
        (0.0, "equal"),
        (2e-5, "off from digit 5 on (2.0e-05)"),
    ],
)
def test_a_deviation_in_words(relative, words):
    assert in_words(relative) == words
