"""Lies: wrong code and misuse of every comparison, each with a pattern of what must be said of it.

`HONEST` is right code of many shapes, which must pass. Whatever is told is told to a generator.
"""

from __future__ import annotations

import functools
from collections import UserDict
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.special
import torch
from torch import nn

from parity_tests import (
    Budget,
    assert_close,
    assert_parity,
    assert_same_trajectory,
    assert_switches,
    assert_twins,
)
from parity_tests.compare.budgets import WIDEST
from parity_tests.compare.functions import draw_until, switches
from parity_tests.compare.gauges import linear_gauges
from parity_tests.compare.quantities import Quantity, agree, assert_equal
from scratch.linear import linear_backward, linear_forward
from scratch.optimizers import Adam, GradientDescent, RMSprop
from torch_ref import optimizers as theirs
from torch_ref.linear import linear

LONG, EPS, EPS32, OFF = np.longdouble, 2.0**-52, np.float32(2.0**-23), 1 + 1e-12
NARROW = {"widest": np.float64}


def draw(rng, dtype=np.float64):
    return {"x": rng.standard_normal((3, 4)).astype(dtype)}


# --- pairs that claim to be tanh and its derivative -----------------------------------------------


def forward(x):
    return np.tanh(x), np.tanh(x)


def backward(d, a):
    return {"x": d * (1 - a**2)}


def output(change):
    return lambda x: (change(np.tanh(x)), np.tanh(x))


def slope(change):
    return lambda d, a: {"x": change(d * (1 - a**2))}


def with_nan(values):
    values = np.copy(values)
    values.flat[values.size // 2] = np.nan
    return values


def in_half(values):
    return values.astype("f2").astype(values.dtype)


def doubling(answer):
    """Return a forward that doubles its input and then answers."""
    return lambda x: (np.multiply(x, 2, out=x), answer(x))[1:] * 2


def doubling_later(x):
    return np.tanh(x), (np.tanh(x), np.multiply(x, 2, out=x))[0]


def doubling_backward(d, x):
    return {"x": d * (1 - np.tanh(x) ** 2) + 0 * np.multiply(x, 2, out=x)}


ALIKE, MODIFIED = "ours is .* of shape .*, theirs", "^x: the input was modified in place"
UPSTREAM, GRADIENT = "^the upstream gradient: the input was modified", "gradient of x differs"

#: forward, backward, pattern; each is told to every entry.
PAIRS = {
    "output scaled": (output(lambda a: 1.00001 * a), backward, "output differs"),
    "output shifted": (output(lambda a: a + 1e-5), backward, "output differs"),
    "output transposed": (output(lambda a: a.T), backward, f"output: {ALIKE}"),
    "output a column short": (output(lambda a: a[:, 1:]), backward, f"output: {ALIKE}"),
    "output broadcast": (output(lambda a: a[:1]), backward, f"output: {ALIKE}"),
    "output float16": (output(lambda a: a.astype("f2")), backward, f"output: {ALIKE}"),
    "output computed in half": (lambda x: (np.tanh(in_half(x)),) * 2, backward, "output differs"),
    "output a list": (output(lambda a: a.tolist()), backward, "output: ours is list"),
    "output whole": (output(lambda a: a.astype(int)), backward, "output: ours is"),
    "output NaN at one entry": (output(with_nan), backward, "output differs"),
    "input modified afterwards": (doubling_later, backward, MODIFIED),
    "input modified, output of it": (doubling(np.tanh), backward, MODIFIED),
    "input modified, output short": (doubling(lambda x: x[:, 1:]), backward, MODIFIED),
    "gradient modifies x": (lambda x: (np.tanh(x), x), doubling_backward, MODIFIED),
    "gradient modifies d": (forward, lambda d, a: {"x": np.multiply(d, 1 - a**2, out=d)}, UPSTREAM),
    "gradient scaled": (forward, slope(lambda g: 1.001 * g), GRADIENT),
    "gradient negated": (forward, slope(lambda g: -g), GRADIENT),
    "gradient zero": (forward, slope(lambda g: 0 * g), GRADIENT),
    "gradient missing": (forward, lambda d, a: {}, r"gradients for \[\], expected"),
    "gradient extra": (forward, lambda d, a: {"x": d * (1 - a**2), "y": d}, r"\['x', 'y'\], exp"),
    "gradient misnamed": (forward, lambda d, a: {"X": d * (1 - a**2)}, r"\['X'\], expected"),
    "gradient a vector": (forward, slope(np.ravel), f"gradient of x: {ALIKE}"),
    "gradient a sum": (forward, slope(np.sum), f"gradient of x: {ALIKE}"),
    "gradient averaged": (forward, slope(lambda g: g.mean(axis=1)[:, None] + 0 * g), GRADIENT),
    "gradient float16": (forward, slope(lambda g: g.astype("f2")), f"gradient of x: {ALIKE}"),
    "gradient computed in half": (forward, slope(in_half), GRADIENT),
    "gradient NaN at one entry": (forward, slope(with_nan), GRADIENT),
    "gradient of a sigmoid": (forward, lambda d, a: {"x": d * a * (1 - a)}, GRADIENT),
    "gradient without upstream": (forward, lambda d, a: {"x": 1 - a**2}, GRADIENT),
    "gradient, columns swapped": (forward, slope(lambda g: g[:, ::-1]), GRADIENT),
}


def told(f, b, rng, dtype="f8", **choices):
    assert_twins(f, b, torch.tanh, draw(rng, dtype), rng, **choices)


def told_by_user(f, b, rng, dtype="f8"):
    ours = f if b else lambda x: f(x)[0]
    assert_parity(ours, torch.tanh, draw(rng, dtype), backward=b, rng=rng)


#: the comparisons that a pair is told to, by (forward, backward, generator).
ENTRIES = {
    "assert_twins": told,
    "assert_twins in float32": partial(told, dtype="f4"),
    "assert_twins without longdouble": partial(told, **NARROW),
    "assert_parity": told_by_user,
    "assert_parity in float32": partial(told_by_user, dtype="f4"),
    "assert_parity of the output": lambda f, b, rng: told_by_user(f, None, rng),
    "assert_parity of the output in float32": lambda f, b, rng: told_by_user(f, None, rng, "f4"),
}


# --- who is guilty --------------------------------------------------------------------------------


def off(function, factor):
    """Return a function of torch whose gradient alone is off by a factor."""

    def wrong(x):
        right = function(x)
        return right.detach() + factor * (right - right.detach())

    return wrong


def bent(dtype, factor):
    """Return a change that multiplies values of one dtype, and leaves any other as it is."""
    return lambda a: a * a.dtype.type(factor) if a.dtype == dtype else a


def twins(f, b, reference=torch.tanh, inputs=draw, **choices):
    return lambda rng: assert_twins(f, b, reference, inputs(rng), rng, **choices)


def outputs(change, reference=torch.tanh):
    return twins(output(change), backward, reference)


def slopes(change, reference=torch.tanh, **choices):
    return twins(forward, slope(change), reference, **choices)


def centring(mean):
    """Tell tanh(x - mean(x)) of features far from 0."""

    def centred(d, a):
        g = d * (1 - a**2)
        return {"x": g - g.mean(axis=1, keepdims=True)}

    return twins(
        lambda x: (np.tanh(x - mean(x.mean(axis=1, keepdims=True))),) * 2,
        centred,
        lambda x: torch.tanh(x - x.mean(dim=0)),
        lambda rng: {"x": rng.standard_normal((20, 4)) + 3},
    )


def same(a):
    return a


def through_float64(a):
    return a.astype(float).astype(a.dtype)


def torch_off(x):
    return torch.tanh(x) * OFF


NO_WITNESS = "the longdouble run gives float64 .*: it is no witness"
NOT_OURS = "contradicts both, our backward is not the derivative of our forward"
ANOTHER = "contradicts theirs, unless our formula itself is another"
ROUNDED, TORCHS = "something inside is rounded to float64", off(torch.tanh, 1.01)
GUILTY = {
    "our gradient": (slopes(lambda g: 1.01 * g), r"x differs at \(\d, \d\).*contradicts ours"),
    "torch's gradient": (slopes(same, TORCHS), f"{GRADIENT}.*contradicts theirs"),
    "torch's gradient, narrow": (slopes(same, TORCHS, **NARROW), f"{GRADIENT}.*contradicts theirs"),
    "both gradients": (slopes(lambda g: 1.01 * g, TORCHS), NOT_OURS),
    "both gradients, narrow": (slopes(lambda g: 1.01 * g, TORCHS, **NARROW), NOT_OURS),
    "nobody": (slopes(lambda g: (1 + 1e-13) * g, **NARROW), "witness cannot tell which is wrong$"),
}

#: told only where longdouble is wider than float64.
WIDE_LIES = {
    "torch's output": (outputs(same, torch_off), f"output differs.*{ANOTHER}$"),
    "another formula": (
        outputs(lambda a: 1.5 * a),
        "agrees with ours, no rounding is guilty: our formula is not theirs$",
    ),
    "both outputs": (outputs(bent("f8", OFF), torch_off), "both sides have .*contradicts both"),
    "both outputs, apart": (outputs(bent("f8", 1 - 2e-12), torch_off), "differs.*contradicts both"),
    "our output in float64": (outputs(bent("f8", OFF)), "run gives .*: the third.*ts ours"),
    "our output in longdouble": (outputs(bent(LONG, OFF)), "contradicts both"),
    "our gradient in longdouble": (slopes(bent(LONG, 1.01)), "our backward in longdouble is not"),
    "our gradient there, by little": (slopes(bent(LONG, OFF)), "the longdouble run of our backwar"),
    "a float64 output": (outputs(lambda a: a.astype(float)), NO_WITNESS),
    "a float64 gradient": (slopes(lambda g: g.astype(float)), NO_WITNESS),
    "an output rounded": (outputs(through_float64), ROUNDED),
    "means rounded": (centring(through_float64), f"{ROUNDED}|finite difference"),
}


# --- layers, costs, scales, long sums -------------------------------------------------------------


def shaped(**shapes):
    return lambda rng: {name: rng.standard_normal(shape) for name, shape in shapes.items()}


draw_layer = shaped(A_prev=(3, 5), W=(4, 3), b=(4, 1))


def layer(change):
    """Tell a wrong backward of the linear layer, under running-error gauges."""

    def wrong(dZ, cache):
        honest = linear_backward(dZ, cache)
        return {**honest, **change(honest)}

    return twins(linear_forward, wrong, linear, draw_layer, gauges=linear_gauges)


def cost(pull):
    """Tell a backward of a mean over four examples."""
    mean_square = lambda x: (x**2).sum() / 4  # noqa: E731
    return twins(
        lambda x: (mean_square(x), 2 * x), lambda d, cache: {"x": pull(d, cache)}, mean_square
    )


#: forward, slope, torch's function and the size of its input.
SCALES = {
    "squares of millions": (lambda x: (x**2, x), lambda x: 2 * x, torch.square, 1e6),
    "logarithms near zero": (lambda x: (np.log(x), x), lambda x: 1 / x, torch.log, 1e-4),
    "roots": (lambda x: (np.sqrt(x), x), lambda x: 1 / (2 * np.sqrt(x)), torch.sqrt, 1e-3),
}


def scaled(name, ours=1.0, torchs=1.0, **choices):
    """Tell a pair at its scale, with its gradient and torch's off by factors."""
    f, derivative, reference, size = SCALES[name]
    pull = lambda d, x: {"x": d * derivative(x) * ours}  # noqa: E731
    reference = off(reference, torchs) if torchs != 1 else reference
    return twins(
        f, pull, reference, lambda rng: {"x": size * rng.uniform(0.5, 2, (3, 4))}, **choices
    )


def in_turn(terms):
    """Return the sum of a vector, each term added to all before it."""
    return np.add.accumulate(terms)[-1]


def torch_in_turn(x, terms):
    return functools.reduce(torch.add, (x * one for one in terms))


def times(total, pulled, reference=lambda x, terms: x * terms.sum()):
    """Tell x times a long float32 sum, as `total` and, backwards, `pulled` add it."""
    return twins(
        lambda x, terms: (x * total(terms), pulled(terms)),
        lambda d, factor: {"x": d * factor},
        reference,
        lambda rng: {"x": np.array([[1, 2, 4], [8, 16, 32]], np.float32)},  # scale exactly
        constants={"terms": np.full(2000, 0.1, np.float32)},
    )


def zeros(reference=torch.tanh, **choices):
    pair = lambda x: (0 * x, x), lambda d, x: {"x": d}
    return twins(*pair, reference, partial(draw, dtype="f4"), **choices)


def erf(factor=1.0, **choices):
    """Tell SciPy's erf, which knows no longdouble."""
    f, derivative = scipy.special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    pair = lambda x: (factor * f(x), x), lambda d, x: {"x": d * derivative(x)}
    return twins(*pair, torch.erf, differences=False, **choices)


def constant(x):
    return 0 * x + 1


WITHOUT_EFFECT = twins(
    lambda x, y: forward(x),
    lambda d, a: {**backward(d, a), "y": 0 * d},
    lambda x, y: torch.tanh(x),
    lambda rng: {**draw(rng), "y": np.ones((3, 4))},
)
FLOOR = r"^output differs .*twice torch's, float32 floor.*: its float64 contradicts ours$"
FUNCTIONS = {
    "W reversed": (layer(lambda g: {"W": g["W"][::-1]}), "gradient of W differs"),
    "b averaged": (layer(lambda g: {"b": g["b"] / 5}), "gradient of b differs"),
    "b summed over units": (layer(lambda g: {"b": g["b"].sum() + 0 * g["b"]}), "b differs"),
    "b as a vector": (layer(lambda g: {"b": g["b"].ravel()}), f"gradient of b: {ALIKE}"),
    "1/m forgotten": (cost(lambda d, cache: d * cache), GRADIENT),
    "1/m twice": (cost(lambda d, cache: d * cache / 16), GRADIENT),
    "the upstream scalar forgotten": (cost(lambda d, cache: cache / 4), GRADIENT),
    **{f"{one}, a millionth off": (scaled(one, 1 + 1e-6), "gradient of x") for one in SCALES},
    **{f"{n}, both off": (scaled(n, 1 + 1e-5, 1 + 1e-5, **NARROW), "not the d") for n in SCALES},
    "a long sum in turn": (times(in_turn, np.sum), FLOOR),
    "a long sum in turn, backwards": (times(np.sum, in_turn), f"^{GRADIENT} .*twice torch's"),
    "erf scaled": (erf(1.1, **NARROW), "output differs"),
    "a gauge of nothing": (slopes(same, gauges=lambda *_: {"y": 1}), r"\['y'\], expected some of"),
    "a gauge of a trillion": (zeros(gauges=lambda *_: {"output": 1e12}), "proves nothing"),
    "a gauge of infinity": (zeros(gauges=lambda *_: {"output": np.inf}), "proves nothing"),
    "a gauge of NaN": (zeros(gauges=lambda *_: {"output": np.nan}), "proves nothing"),
    "a constant": (
        twins(lambda x: (0 * x + 1, x), lambda d, x: {"x": 0 * d}, constant),
        "proves nothing",
    ),
    "an input without effect": (WITHOUT_EFFECT, r"depend on \['y'\]: the case proves nothing"),
    "round-off for a reference": (zeros(lambda x: (x + 1e8) - 1e8), "proves nothing"),
}
WIDE_LIES["erf"] = (erf(), r"takes no longdouble .*widest=np\.float64")


# --- arrays ---------------------------------------------------------------------------------------

ONE, ZERO, THIRD = np.ones(2), np.zeros(2), np.array([1.0, 2.0], WIDEST) / 3
NEAR = THIRD.astype(float)
TENTH, HUNDREDTH = Budget(name="tenth", relative=0.0999), Budget(name="100th", relative=0.0099)


def close(ours, reference, **choices):
    return lambda rng: assert_close(ours, reference, "values", **choices)


def beside(*wrong, **choices):
    """Tell `agree` a quantity beside one that proves something."""
    return lambda rng: agree({"proof": Quantity(ONE, ONE), "wrong": Quantity(*wrong, **choices)})


ARRAYS = {
    "17 eps": (close(ONE * (1 + 17 * EPS), ONE), r"17 eps units \(17 ULP\), allowed 16 "),
    "zeros": (close(ZERO, ZERO), "proves nothing"),
    "a gauge beyond the value": (close(ZERO + 1e-16, ZERO + 1e-16, gauge=1.0), "proves nothing"),
    "a loose budget": (close(ONE, ONE, budget=Budget(name="loose", relative=10)), "proves nothing"),
    "a tenth of ours": (close(ONE * 1.105, ONE, budget=TENTH), "values differs"),
    "a reference with NaN": (close(with_nan(ONE), with_nan(ONE)), "is not finite"),
    "an infinite reference": (close(ONE * np.inf, ONE * np.inf), "is not finite"),
    "NaN": (close(with_nan(ONE), ONE), "values differs"),
    "five for zero": (close(ONE * 5, ONE * 5, expect_zero=True), "not zero as expected"),
    "tiny for zero": (close(ZERO + 5e-324, ZERO, expect_zero=True), "values differs"),
    "eps for zero": (close(ZERO + EPS, ZERO, expect_zero=True, gauge=1.0), "values differs"),
    "whole numbers": (close(np.ones(2, int), ONE), "no floats"),
    "nothing": (close(np.ones(0), np.ones(0)), "no floats"),
    "a mask": (close(np.ma.masked_array(ONE, [True, False]), ONE), "no floats"),
    "a list": (close([1.0, 1.0], ONE), "no floats"),
    "another shape": (close(ONE, np.ones((2, 1))), f"values: {ALIKE}"),
    "a scalar for an array": (close(np.float64(1), ONE), f"values: {ALIKE}"),
    "another dtype": (close(ONE.astype("f4"), ONE), f"values: {ALIKE}"),
    "wider, of another shape": (close(ONE, ONE, wider=np.ones((2, 1), LONG)), "run is of shape"),
    "wider, but narrower": (close(ONE, ONE, wider=np.ones(2, "f4")), "float32, ours float64"),
    "always": (lambda rng: assert_switches(ZERO == 0, "Z"), "Z is True everywhere: it proves"),
    "never": (lambda rng: assert_switches(ZERO > 0, "Z"), "Z is False everywhere: it proves"),
    "useless draws": (lambda rng: draw_until(switches, lambda: (ZERO,)), "no draw in a thousand"),
    "not zero": (beside(ZERO + 1e-15, ZERO), "wrong differs"),
    "beyond its tolerance": (beside(ZERO + 1e-12, ZERO, ONE), "wrong differs"),
    "drowned NaN": (beside(ZERO * np.nan, ZERO, ONE), "wrong differs"),
    "drowned, another shape": (beside(ZERO[:1], ZERO, ONE), f"wrong: {ALIKE}"),
    "drowned, another dtype": (beside(ZERO.astype("f4"), ZERO, ONE), f"wrong: {ALIKE}"),
    "one of many off": (beside(ONE * (1 + 17 * EPS), ONE), "wrong differs"),
    "one of many NaN": (beside(ONE, ONE * np.nan), "wrong: the reference is not finite"),
    "one gauge infinite": (beside(ONE, ONE, ONE * np.inf), "gauge of wrong: .* not finite"),
    "the size of ours": (beside(ONE * 1.00995, ONE, budget=HUNDREDTH), "wrong differs"),
    "all drowned": (lambda rng: agree({"a": Quantity(ZERO, ZERO)}), "a drown in their tolerances"),
    "an ulp for equal": (lambda rng: assert_equal(ONE * (1 + EPS), ONE, "a"), "a differs: ours"),
    "NaN for equal": (lambda rng: assert_equal(ONE * np.nan, ONE * np.nan, "a"), "a differs"),
}


def thirds(ours, torchs):
    """Tell thirds off by so many eps beside a wider run."""
    return close(NEAR * (1 + ours * EPS), NEAR * (1 + torchs * EPS), wider=THIRD)


DROWNED = beside(ZERO, ZERO, ONE, wider=np.array([0, 4e-15], LONG))
WIDE_LIES["both 40 eps off"] = (thirds(40, 40), "both sides have .* contradicts both")
WIDE_LIES["theirs 24 eps off"] = (thirds(12, 24), "theirs has .* contradicts theirs")
WIDE_LIES["drowned, off in longdouble"] = (DROWNED, "contradicts both")


# --- rules that claim to be Adam ------------------------------------------------------------------


class Lying:
    """A rule that bends its arguments around an honest one's steps, from one step to another."""

    def __init__(self, honest, after=None, *, before=None, since=1, until=np.inf, dtype=None):
        self.honest, self.after, self.before = honest, after, before
        self.since, self.until, self.dtype, self.t = since, until, dtype, 0
        self.init = honest.init

    def update(self, parameters, gradients, state):
        self.t += 1
        lies = self.dtype is None or parameters.theta.dtype == self.dtype
        lies = lies and self.since <= self.t <= self.until
        given = gradients.copy()
        if lies and self.before:
            self.before(parameters, given, state)
        self.honest.update(parameters, given, state)
        if lies and self.after:
            self.after(parameters, gradients, state)


class EpsilonHat(Adam):
    """Adam with epsilon beside the root of the uncorrected s."""

    def update(self, parameters, gradients, state):
        g = gradients.theta
        state.t[()] += 1
        t = int(state.t)
        state.v[:] += 0.1 * (g - state.v)
        state.s[:] += 0.001 * (g**2 - state.s)
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        parameters.theta[:] -= rate * state.v / (np.sqrt(state.s) + 1e-8)


class Velocity(NamedTuple):
    v: np.ndarray


class Hiding(NamedTuple):
    v: np.ndarray
    hidden: np.ndarray


class Plain:
    """Momentum as somebody else writes it, with any state whose first array is v."""

    def __init__(self, start=lambda theta: Velocity(0 * theta)):
        self.start = start

    def init(self, parameters):
        return self.start(parameters.theta)

    def update(self, parameters, gradients, state):
        state[0][:] = 0.9 * state[0] + gradients.theta
        parameters.theta[:] -= 0.01 * state[0]


def multiplied(name, factor):
    """Return the lie that multiplies theta or an array of the state."""

    def bend(p, g, s):
        array = p.theta if name == "theta" else getattr(s, name)
        array *= array.dtype.type(factor)

    return bend


def bending(make, key, factor, since=1, dtype=None):
    """Return a maker of torch optimizers whose theta or state is bent after each step since one."""

    def made(tensors):
        optimizer, t = make(tensors), [0]

        @torch.no_grad()
        def bend(*_):
            t[0] += 1
            if t[0] >= since and dtype in (None, tensors[0].dtype):
                for one in tensors if key == "theta" else optimizer.state.values():
                    (one if key == "theta" else one[key]).mul_(factor)

        optimizer.register_step_post_hook(bend)
        return optimizer

    return made


def draw_parameters(rng, dtype=np.float64):
    drawn = shaped(W1=(4, 3), b1=(4, 1), W2=(1, 4), b2=(1, 1))(rng)
    return {name: one.astype(dtype) for name, one in drawn.items()}


def velocity(optimizer):
    return {"v": torch.cat([one["momentum_buffer"].flatten() for one in optimizer.state.values()])}


ADAM, GD = Adam(learning_rate=0.01), GradientDescent(learning_rate=0.01)
SGD, MOMENTUM = partial(torch.optim.SGD, lr=0.01), partial(torch.optim.SGD, lr=0.01, momentum=0.9)
TORCH_ADAM = partial(theirs.adam, learning_rate=0.01)


def walk(rule, make=SGD, draw=draw_parameters, **choices):
    return lambda rng: assert_same_trajectory(rule, make, draw(rng), rng, steps=50, **choices)


momentum = partial(walk, make=MOMENTUM, state=velocity)


def adam(rule=ADAM, dtype=np.float64, make=TORCH_ADAM):
    return walk(rule, make, partial(draw_parameters, dtype=dtype), state=theirs.adam_state)


def lying(after=None, dtype=np.float64, when=None, **choices):
    return adam(Lying(ADAM, after, dtype=when, **choices), dtype)


def in_float32(ours, torchs, since):
    """Tell so many eps of error in our first step, and of torch's from one step on."""
    bend = multiplied("theta", 1 + ours * EPS32)
    make = bending(SGD, "theta", float(1 + torchs * EPS32), since, torch.float32)
    return walk(Lying(GD, bend, until=1), make, partial(draw_parameters, dtype="f4"))


def never_learning(rule, tell):
    """Tell a rule whose b1 stays where it is, beside weights of 1e16."""
    lie = Lying(rule, before=lambda p, g, s: g["b1"].fill(0))
    return tell(lie, draw=lambda rng: {"W1": np.full((4, 3), 1e16), "b1": np.ones((4, 1))})


def shift(p, g, s):
    p.theta[:] += 1e-8


def forget_largest(p, g, s):
    g.theta[abs(g.theta).argmax()] = 0


STILL = walk(GradientDescent(learning_rate=1e-30), partial(SGD, lr=1e-30))
DRIFT, HALVED = multiplied("v", OFF), r"^step \d+: .*twice torch's, float32 floor of opt.*ts ours$"
RULES = {
    "adam without **t": (lying(before=lambda p, g, s: s.t.fill(0)), "t is "),
    "adam in the eps-hat form": (adam(EpsilonHat()), "^step 1: theta differs"),
    "adam, eps-hat in float32": (adam(EpsilonHat(), "f4"), "^step 1: theta differs"),
    "adam, epsilon inside": (adam(Adam(learning_rate=0.01, epsilon_inside_root=True)), "^step 1: "),
    "adam uncorrected": (adam(Adam(learning_rate=0.01, bias_correction=False)), "^step 1: "),
    "adam's betas swapped": (adam(Adam(learning_rate=0.01, beta1=0.999, beta2=0.9)), "^step 1: "),
    "adam's epsilon": (adam(Adam(learning_rate=0.01, epsilon=1e-7)), "^step 1: theta differs"),
    "theta shifted": (lying(shift), "^step 1: theta differs"),
    "v forgotten": (lying(before=lambda p, g, s: s.v.fill(0)), "^step 2: "),
    "v off by little": (lying(DRIFT), r"^step \d: v differs"),
    "the step forgotten": (lying(before=lambda p, g, s: g.theta.fill(0)), "^step 1: "),
    "one entry forgotten": (lying(before=forget_largest), "^step 1: "),
    "rmsprop for adam": (adam(RMSprop(learning_rate=0.01)), "our state has no v"),
    "dampening": (walk(Plain(), partial(MOMENTUM, dampening=0.9)), "^step 2: "),
    "gradients modified": (
        walk(Lying(GD, lambda p, g, s: g.theta.fill(1))),
        "^step 1: the gradients were modified in place$",
    ),
    "v in half precision": (lying(lambda p, g, s: np.copyto(s.v, in_half(s.v)), "f4"), HALVED),
    "30 eps off in float32": (lying(multiplied("theta", 1 + 30 * EPS32), "f4"), "^step"),
    "thrice the error of torch's": (in_float32(300, 100, 1), "^step 1: theta differs"),
    "an error before torch's": (in_float32(150, 100, 2), "^step 1: theta differs"),
    "a reference without digits": (in_float32(0, 2**22, 1), "proves nothing"),
    "b1 never learns": (never_learning(GD, walk), "^step 1: theta differs"),
    "b1's v neither": (never_learning(Plain(), momentum), "^step 1: "),
    "nothing moves": (STILL, "no parameter moved: the case proves nothing"),
    "five entries": (walk(GD, draw=lambda rng: {"W1": ONE}), "leave no room .* proves nothing"),
    "groups that do not fit": (walk(GD, groups=7), "leave no room .* proves nothing"),
    "a state held to nothing": (
        momentum(Plain(lambda t: Hiding(0 * t, t))),
        r"\['hidden'\] is held",
    ),
    "a state without names": (momentum(Plain(lambda theta: [0 * theta])), "no NamedTuple"),
    "a state that ours lacks": (momentum(Plain(), state=lambda o: {"u": velocity(o)["v"]}), "no u"),
}
TORCHS_DRIFT = adam(make=bending(TORCH_ADAM, "exp_avg", OFF, 21))
drifting = partial(lying, DRIFT, since=31)
WIDE_LIES |= {
    "a drift of our rule": (drifting(), "^step 31: v differs .* contradicts theirs, unless our ru"),
    "a drift of ours": (
        drifting(when="f8"),
        r"^step 31: v differs at \(\d+,\): .* contradicts ours",
    ),
    "a drift in longdouble": (drifting(when=LONG), "^step 31: v: our rule in longdouble .* both"),
    "a drift of torch's": (TORCHS_DRIFT, "^step 21: v differs .* contradicts theirs"),
    "v in float64": (momentum(Plain(lambda t: Velocity(np.zeros(t.size)))), "it is no witness"),
}


# --- code of other people -------------------------------------------------------------------------


def draw_rows(rng, dtype=np.float64):
    drawn = shaped(x=(5, 3), weight=(4, 3), bias=(4,))(rng)
    return {name: one.astype(dtype) for name, one in drawn.items()}


def rows_forward(x, weight, bias):
    return x @ weight.T + bias, (x, weight)


def rows_backward(d, cache):
    x, weight = cache
    return {"x": d @ weight, "weight": d.T @ x, "bias": d.sum(axis=0)}


def batch_norm(x, weight, bias):
    return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + bias


def pool(images):
    return images[:, :4, :4].reshape(2, 2, 2, 2, 2, 3).mean(axis=(2, 4))


def parity(ours=np.tanh, theirs=torch.tanh, inputs=draw, **choices):
    return lambda rng: assert_parity(ours, theirs, inputs(rng), **choices)


def kinked(**choices):
    pair = lambda x: (np.maximum(x, 0), x), lambda d, x: {"x": d * (x > 0)}
    ties = np.array([0.0, -0.0, 1.0, -1.0])
    return parity(pair[0], torch.relu, lambda rng: {"x": ties}, backward=pair[1], **choices)


def with_constants(spoil=lambda _: None):
    """Tell a function of constants of many kinds, which it may spoil."""

    def ours(x, **constants):
        spoil(constants)
        return np.tanh(x + constants["choices"]["shift"][0])

    def tell(rng):
        constants = {
            "sizes": [np.zeros(2), np.zeros(3)],
            "missing": np.array([1.0, np.nan]),
            "choices": {"shift": np.array([0.5, -0.0]), "names": ["a"]},
            "source": np.random.default_rng(0),
        }
        assert_parity(ours, lambda x, **_: torch.tanh(x + 0.5), draw(rng), constants=constants)

    return tell


def roots(**choices):
    """Tell roots that are forty eps off."""
    forty = lambda x: np.sqrt(x) * (1 + 40 * EPS)  # noqa: E731
    return parity(forty, torch.sqrt, lambda rng: {"x": rng.uniform(1, 2, 3)}, **choices)


def weights_of_its_own(x):
    return rows_forward(x, np.ones((4, 3)), 0)[0]


CHANNELS_LAST = (
    lambda name, array, device: torch.movedim(torch.tensor(array), -1, 1),
    lambda name, tensor: np.ascontiguousarray(torch.movedim(tensor.detach(), 1, -1)),
)
DRAW32, NET = partial(draw, dtype="f4"), nn.Sequential(nn.Linear(3, 4, bias=False))
SPOILT = {
    "choices": lambda one: one["choices"]["shift"].__setitem__(1, 0.0),
    "sizes": lambda one: one["sizes"].append(ONE),
    "missing": lambda one: one["missing"].__setitem__(1, 2.0),
}
USERS = {
    "40 eps": (roots(), "allowed 16 "),
    "40 eps, 20 allowed": (roots(budget=20), r"allowed 20 \(your budget\)"),
    "other weights": (parity(weights_of_its_own, nn.Linear(3, 4), shaped(x=(5, 3))), "output diff"),
    "wide for narrow": (parity(lambda x: np.tanh(x.astype(float)), inputs=DRAW32), ALIKE),
    "a budget without end": (parity(budget=1e16), "proves nothing"),
    "a gauge without end": (parity(gauges=lambda *_: {"output": 1e16}), "proves nothing"),
    "zeros of zeros": (parity(inputs=lambda rng: {"x": ZERO}), "proves nothing"),
    "a kink": (kinked(), "central difference"),
    **{
        f"{n} spoilt": (with_constants(one), f"^{n}: the input was mod")
        for n, one in SPOILT.items()
    },
}

LIES = {**GUILTY, **FUNCTIONS, **ARRAYS, **RULES, **USERS}

layers = partial(parity, rows_forward, nn.Linear(3, 4), backward=rows_backward)
wide_array = lambda rng: {"x": np.broadcast_to(draw(rng)["x"], (2, 3, 4))}  # noqa: E731
HONEST = {
    **{f"tanh by {name}": partial(entry, forward, backward) for name, entry in ENTRIES.items()},
    "a layer under gauges": layer(lambda g: g),
    "a cost": cost(lambda d, cache: d * cache / 4),
    **{name: scaled(name) for name in SCALES},
    **{f"{name} without longdouble": scaled(name, **NARROW) for name in SCALES},
    "a long sum better than torch's": times(np.sum, np.sum, torch_in_turn),
    "a long sum as bad as torch's": times(in_turn, in_turn, torch_in_turn),
    "erf": erf(**NARROW),
    "means": centring(same),
    "a scalar": twins(
        lambda w: (w**2, w),
        lambda d, w: {"w": 2 * d * w},
        torch.square,
        lambda rng: {"w": np.float64(3.0)},
    ),
    "sixteen eps": close(ONE * (1 + 16 * EPS), ONE),
    "zero for zero": close(ZERO, ZERO, expect_zero=True),
    "a wider run": close(NEAR, NEAR, wider=lambda: THIRD),
    "float64 beside float32": close(NEAR.astype("f4"), NEAR.astype("f4"), wider=NEAR),
    "zeros beside a proof": beside(ZERO, ZERO),
    "drowned beside a proof": beside(ZERO + 1e-15, ZERO, ONE),
    "a condition that switches": lambda rng: assert_switches([True, False], "Z > 0"),
    "adam": adam(),
    "adam, wrapped": lying(),
    "adam in float32": adam(ADAM, "f4"),
    "adam, bent at the end": lying(multiplied("v", 2.0), since=51),
    "one and a half times the error of torch's": in_float32(150, 100, 1),
    "a rule without a named state": walk(Plain(lambda theta: [0 * theta]), MOMENTUM),
    "tensors of any rank": momentum(Plain(), draw=shaped(kernel=(2, 3, 3), offset=12), groups=3),
    "v in float64": momentum(Plain(lambda theta: Velocity(np.zeros(theta.size))), **NARROW),
    "a module": layers(draw_rows),
    "a module in float32": layers(partial(draw_rows, dtype="f4")),
    "names": parity(
        lambda X, W1: X @ W1.T, NET, shaped(X=(5, 3), W1=(4, 3)), names={"W1": "0.weight"}
    ),
    "batch norm": parity(batch_norm, nn.BatchNorm1d(3), shaped(x=(8, 3), weight=3, bias=3)),
    "columns": parity(
        linear_forward, linear, draw_layer, backward=linear_backward, layout="columns"
    ),
    "channels last": parity(
        pool, nn.AvgPool2d(2), shaped(images=(2, 5, 5, 3)), layout=CHANNELS_LAST
    ),
    **{f"shape {one}": parity(inputs=shaped(x=one)) for one in ((), (1,), (2, 1, 3, 1, 2))},
    "a read-only view": parity(inputs=wide_array),
    "a mapping of one's own": parity(np.negative, torch.negative, lambda rng: UserDict(draw(rng))),
    "a ufunc of a constant": parity(np.arctan2, torch.arctan2, constants={"other": np.array(2.0)}),
    "constants of any kind": with_constants(),
    "a kink without differences": kinked(differences=False),
    "40 eps, 100 allowed": roots(budget=np.int64(100)),
}
