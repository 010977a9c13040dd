"""Generic checks and findings are lied to: a row that is wrong in one way fails the one check."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from parity_tests.checks import (
    agrees,
    agrees_in_float32,
    assert_pure,
    backward_is_linear,
    gauges_bound_something,
    holds,
    is_broken,
    is_off,
    is_right_as_typed,
    is_seen,
    keeps_the_dtype,
    leaves_no_trace,
    proves_its_names,
    refuses,
    takes_any_layout,
    three_witnesses_agree,
    walks_alike,
)
from parity_tests.compare.budgets import FORWARD
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.findings import in_words
from parity_tests.mistakes import Mistake, change
from parity_tests.rows import FunctionTwin, OptimizerTwin, Pair, PairTwin, Relation
from parity_tests.tests.meta.lies import ADAM, EpsilonHat, Lying, in_half
from parity_tests.tests.meta.lies import backward as slope
from parity_tests.tests.meta.lies import forward as tanh
from parity_tests.twins import all_twins, twin
from scratch.linear import linear_backward, linear_forward
from torch_ref import optimizers as theirs


@pytest.fixture(autouse=True)
def _forget():
    with LEDGER.unrecorded():
        yield


def draw(rng, m=4, scale=1.0):
    return {"x": scale * rng.standard_normal((3, m))}


def draw_walk(rng, learning_rate=0.01):
    gradients = rng.standard_normal((9, 6)) * 10.0 ** rng.uniform(-9, 0, 6)
    return {"start": rng.standard_normal(6), "gradients": gradients, "learning_rate": learning_rate}


def doubled(run, **case):
    """Hold tanh(2 x) to its formula of tanh(x)."""
    one, two = (run("tanh", x=factor * case["x"])["output"] for factor in (1, 2))
    return {"A": two}, {"A": 2 * one / (1 + one**2)}


TEXT = {"formula": "A = tanh Z", "source": ""}
DOUBLED = Relation(name="tanh 2x", holds=doubled, broken_by="a sigmoid")
SIGMOID = Mistake(name="a sigmoid", values=lambda x: {"output": 1 / (1 + np.exp(-x))}, margin=0.1)
PLAIN = FunctionTwin(
    name="tanh",
    **TEXT,
    torch="torch.tanh",
    typed=lambda text, x: {"output": eval(text)(torch.from_numpy(x)).numpy()},
    ours=lambda x: tanh(x)[0],
    theirs=torch.tanh,
    draw=draw,
    relations=(DOUBLED,),
    mistakes=(SIGMOID,),
)
PAIR = PairTwin(name="pair", **TEXT, ours=Pair(tanh, slope), theirs=torch.tanh, draw=draw)
KINKED = replace(PAIR, smooth=lambda **_: False)
MAKERS = {"ours": lambda learning_rate: ADAM, "theirs": theirs.adam, "state": theirs.adam_state}
WALK = OptimizerTwin(name="walk", **TEXT, **MAKERS, draw=draw_walk)
LAYER = twin("linear")


def modifying(x):
    x += 1


def drawing(x):
    return torch.rand(1).numpy()


def counting(x, seen=[0]):  # noqa: B006
    seen[0] += 1
    return seen[0]


def lax(A_prev, W, b):
    return W @ A_prev + b


lax.__validation__ = linear_forward.__validation__


def calling(name):
    """Return a row that calls a function of this file."""
    given = LAYER.arguments(LAYER.case()) if name == "lax" else {"x": np.ones(3)}
    path = f"parity_tests.tests.meta.test_checks.{name}"
    return replace(PLAIN, calls=lambda **_: [(path, given)])


def spoilt(x):
    return np.tanh(x), np.multiply(x, 2, out=x)


def ours(function, **fields):
    return replace(PLAIN, ours=function, **fields)


def pair(backward=lambda d, a: {"x": d}, forward=tanh, row=PAIR):
    return replace(row, ours=Pair(forward, backward))


def rule(made):
    return replace(WALK, ours=lambda **_: copy.deepcopy(made))


def mistaken(**changes):
    return partial(is_off, mistake=replace(SIGMOID, **changes))


def related(check, **changes):
    return partial(check, relation=replace(DOUBLED, **changes))


def output_right(x, upstream):
    return {"output": np.tanh(x), "gradient of x": upstream}


MODIFIED, WRONG_GRADIENT = "x: the input was modified in place", "gradient of x differs"
EXACT = {"exact": True, "theirs": lambda x: x.tanh()}
SAME = change("scratch.linear", "- W @ A_prev + b", "+ b + W @ A_prev")
NOTHING = Mistake(name="no", change=SAME)

#: check, wrong row, pattern.
LIES = {
    "output": (agrees, pair(slope, lambda x: (1.1 * np.tanh(x),) * 2), "output differs"),
    "gradient": (agrees, pair(), WRONG_GRADIENT),
    "gradient on a kink": (agrees, pair(row=KINKED), WRONG_GRADIENT),
    "names": (agrees, pair(lambda d, a: {}, row=KINKED), "ours gives"),
    "input of a pair": (agrees, pair(forward=spoilt), MODIFIED),
    "input on a kink": (agrees, pair(forward=spoilt, row=KINKED), MODIFIED),
    "input of a function": (agrees, ours(lambda x: spoilt(x)[0]), MODIFIED),
    "input and output": (agrees, ours(lambda x: spoilt(x)[1]), MODIFIED),
    "input in float32": (agrees_in_float32, ours(lambda x: spoilt(x)[1]), MODIFIED),
    "a function": (agrees, ours(lambda x: 1.1 * np.tanh(x)), "output differs"),
    "an ulp": (agrees, ours(lambda x: np.tanh(x) * (1 + 2.0**-52), **EXACT), "output differs"),
    "another name": (agrees, ours(lambda x: {"y": np.tanh(x)}), "ours gives"),
    "a rule": (agrees, rule(EpsilonHat()), "theta after each step differs"),
    "v": (agrees, rule(Lying(ADAM, lambda p, g, s: s.v.fill(0), since=9)), "v after each step"),
    "a step more": (agrees, rule(Lying(ADAM, lambda p, g, s: s.t.__iadd__(1))), "after each step"),
    "its gradients": (
        agrees,
        rule(Lying(ADAM, lambda p, g, s: g.theta.fill(0))),
        "the gradients were modified",
    ),
    "float16": (agrees_in_float32, ours(lambda x: in_half(np.tanh(x))), "twice torch's"),
    "witnesses": (three_witnesses_agree, pair(), "contradicts ours"),
    "a walk": (walks_alike, rule(EpsilonHat()), "step 1: theta differs"),
    "a claim": (proves_its_names, replace(PLAIN, proves=("relu",)), "never called it"),
    "no claim": (proves_its_names, PLAIN, "claims nothing"),
    "a promotion": (
        partial(keeps_the_dtype, dtype=np.float32),
        ours(lambda x: np.tanh(x.astype(float))),
        "output is float64 where the case is float32",
    ),
    "an argument": (leaves_no_trace, calling("modifying"), r"modified \['x'\]"),
    "a generator": (leaves_no_trace, calling("drawing"), "generator of torch was drawn"),
    "a memory": (leaves_no_trace, calling("counting"), "gave another result"),
    "no validation": (refuses, calling("lax"), "lax.*gives .*, expected .*Error"),
    "the order in memory": (
        partial(takes_any_layout, layout="in columns"),
        ours(lambda x: np.tanh(x.ravel("K")).reshape(x.shape)),
        "output differs",
    ),
    "a gauge": (
        gauges_bound_something,
        replace(PLAIN, gauges=lambda x: {"output": 1e3}),
        "the gauge of output is",
    ),
    "not linear": (backward_is_linear, pair(lambda d, a: {"x": np.abs(d)}), "x differs"),
    "no relation": (related(holds), ours(lambda x: x), "A differs"),
    "half a relation": (
        related(holds, holds=lambda run, x: ({"A": x}, {"B": x})),
        PLAIN,
        r"\['A'\] against \['B'\]",
    ),
    "an unbroken relation": (
        related(is_broken, broken_by=lambda honest, **case: honest(**case)),
        PLAIN,
        "holds for the scratch run that should break it",
    ),
    "a wrong text": (is_right_as_typed, replace(PLAIN, torch="torch.sigmoid"), "as typed differs"),
    "wrong beside it": (is_right_as_typed, ours(lambda x: 1.1 * np.tanh(x)), "output differs"),
    "no mistake": (mistaken(values=lambda x: {"output": np.tanh(x)}), PLAIN, "only, expected at l"),
    "a small margin": (mistaken(margin=1e-14), PLAIN, "1e-14 is not 100 times the budget"),
    "no number": (mistaken(values=lambda x: {"output": x * np.nan}), PLAIN, "no number at all"),
    "no effect": (partial(is_seen, mistake=NOTHING), LAYER, "no check of the row notices 'no'"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_wrong_row_fails(name, monkeypatch):
    check, row, says = LIES[name]
    monkeypatch.setitem(all_twins(), "tanh", row)
    with pytest.raises(AssertionError, match=says):
        check(row)


HONEST = {
    **{f"agrees: {row.name}": (agrees, row) for row in (PLAIN, PAIR, KINKED, WALK)},
    "float32": (agrees_in_float32, PLAIN),
    "three witnesses": (three_witnesses_agree, PAIR),
    "a walk": (walks_alike, WALK),
    "a walk in float32": (partial(walks_alike, dtype=np.float32), WALK),
    "dtype": (partial(keeps_the_dtype, dtype=np.longdouble), PLAIN),
    "claims": (proves_its_names, LAYER),
    "layout": (partial(takes_any_layout, layout="in columns"), PLAIN),
    "linear": (backward_is_linear, PAIR),
    "relation": (related(holds), PLAIN),
    "broken": (related(is_broken), PLAIN),
    "typed": (is_right_as_typed, PLAIN),
    "off": (mistaken(), PLAIN),
    "off in one quantity": (mistaken(values=output_right), PAIR),
    "gauge": (gauges_bound_something, replace(PLAIN, gauges=lambda x: {"output": 2.0})),
}


@pytest.mark.parametrize("name", HONEST)
def test_a_right_row_passes(name, monkeypatch):
    check, row = HONEST[name]
    monkeypatch.setitem(all_twins(), "tanh", row)
    check(row)


LOOSE = replace(FORWARD, eps=2.0**60)
VACUOUS = {
    "a function": (agrees, replace(PLAIN, budget=LOOSE)),
    "a pair": (agrees, replace(KINKED, budget=LOOSE, gradient_budget=LOOSE)),
    "a rule": (agrees, replace(WALK, budget=LOOSE)),
    "zeros": (agrees, replace(PLAIN, draw=partial(draw, scale=0.0))),
    "zeros in float32": (agrees_in_float32, replace(PLAIN, draw=partial(draw, scale=0.0))),
}


@pytest.mark.parametrize("name", VACUOUS)
def test_a_case_that_proves_nothing_says_so(name):
    check, row = VACUOUS[name]
    with pytest.raises(ProvesNothingError):
        check(row)


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


def test_a_deviation_in_words():
    said = [in_words(one) for one in (np.inf, 3.0, 0.5, 0.0, 2e-5)]
    assert said[:2] == ["no number at all", "off by 3 times the right value"]
    assert said[2:] == ["off by 50%", "equal", "off from digit 5 on (2.0e-05)"]


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
    "a memory of the last call": (counting, {"x": np.ones(2)}, "another result"),
}


@pytest.mark.parametrize("effect", SIDE_EFFECTS)
def test_a_side_effect_is_seen(effect):
    function, example, message = SIDE_EFFECTS[effect]
    with pytest.raises(AssertionError, match=message):
        assert_pure(function, example)


def test_what_should_be_overwritten_and_is_not_is_seen():
    with pytest.raises(AssertionError, match="modified"):
        assert_pure(lambda Z: Z.sum(), {"Z": np.ones(2)}, frozenset({"Z"}))


def test_a_value_that_cannot_be_looked_into_is_refused():
    with pytest.raises(TypeError, match="expected a value that can be looked into, got object"):
        assert_pure(lambda Z: 1, {"Z": object()})


def test_every_mistake_has_a_name_of_its_own_and_fits_its_module():
    """One name is one mistake of a concept, whatever reads it."""
    for row in all_twins().values():
        names = [one.name for one in row.mistakes]
        assert len(set(names)) == len(names), row.name
        for one in row.mistakes:
            assert one.values or one.wrong or one.change, one.name
            if one.change:
                one.change.load()
