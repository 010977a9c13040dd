"""Lies: wrong code and misuse of every comparison, each with a pattern of what must be said of it.

`HONEST` is right code of many shapes, which must pass. Whatever is told is told to a generator.
"""

from __future__ import annotations

from collections import UserDict, namedtuple
from functools import partial

import numpy as np
import scipy.special
import torch
from torch import nn

from parity_tests import Budget, assert_close, assert_parity, assert_switches, assert_twins
from parity_tests.compare.bridge import BY_NAME
from parity_tests.compare.budgets import WIDEST
from parity_tests.compare.functions import draw_until, switches
from parity_tests.compare.optimizers import assert_same_trajectory
from parity_tests.compare.quantities import Quantity, agree, assert_equal
from scratch.linear import linear_backward, linear_forward
from scratch.optimizers import Adam, GradientDescent, RMSprop
from torch_ref import optimizers as theirs
from torch_ref.linear import linear

LONG, EPS, EPS32, OFF = np.longdouble, 2.0**-52, 2.0**-23, 1 + 1e-12
NARROW, NOTHING = {"widest": np.float64}, "proves nothing"


def shaped(dtype=np.float64, **shapes):
    return lambda rng: {n: rng.standard_normal(one).astype(dtype) for n, one in shapes.items()}


draw, draw32 = shaped(x=(3, 4)), shaped("f4", x=(3, 4))


# --- pairs that claim to be tanh and its derivative
def forward(x):
    return np.tanh(x), np.tanh(x)


def backward(d, a):
    return {"x": d * (1 - a**2)}


def output(change):
    return lambda x: (change(np.tanh(x)), np.tanh(x))


def slope(change):
    return lambda d, a: {"x": change(d * (1 - a**2))}


def times(factor, dtype=None):
    """Return a change that multiplies values, of one dtype alone where it is given."""
    return lambda a: a * a.dtype.type(factor) if dtype in (None, a.dtype) else a


def with_nan(values):
    return np.where(np.arange(values.size).reshape(values.shape) == 1, np.nan, values)


ALIKE, MODIFIED = "ours is .* of shape .*, theirs", "^x: the input was modified in place"
UPSTREAM, GRADIENT = "^the upstream gradient: the input was modified", "gradient of x differs"

# fmt: off
#: forward, backward, pattern; each is told to every comparison of pairs.
PAIRS = {
    "output scaled": (output(times(1.00001)), backward, "output differs"),
    "output transposed": (output(lambda a: a.T), backward, f"output: {ALIKE}"),
    "output float16": (output(lambda a: a.astype("f2")), backward, f"output: {ALIKE}"),
    "output a list": (output(lambda a: a.tolist()), backward, "output: ours is list"),
    "output NaN at one entry": (output(with_nan), backward, "output differs"),
    "input modified, output short": (lambda x: (np.sin(x, out=x)[1:], 0), backward, MODIFIED),
    "gradient modifies x": (
        lambda x: (np.tanh(x), x), lambda d, x: {"x": np.sin(x, out=x)}, MODIFIED),
    "gradient modifies d": (forward, lambda d, a: {"x": np.multiply(d, 1 - a**2, out=d)}, UPSTREAM),
    "gradient scaled": (forward, slope(times(1.001)), GRADIENT),
    "gradient missing": (forward, lambda d, a: {}, r"gradients for \[\], expected"),
    "gradient extra": (forward, lambda d, a: {"x": d * (1 - a**2), "y": d}, r"\['x', 'y'\], exp"),
    "gradient a vector": (forward, slope(np.ravel), f"gradient of x: {ALIKE}"),
    "gradient NaN at one entry": (forward, slope(with_nan), GRADIENT),
    "gradient without upstream": (forward, lambda d, a: {"x": 1 - a**2}, GRADIENT),
}
# fmt: on


def twins(f, b, reference=torch.tanh, inputs=draw, **choices):
    return lambda rng: assert_twins(f, b, reference, inputs(rng), rng, **choices)


def parity(ours=np.tanh, theirs=torch.tanh, inputs=draw, **choices):
    return lambda rng: assert_parity(ours, theirs, inputs(rng), **choices)


#: the comparisons that a pair is told to, by forward and backward.
ENTRIES = {
    "twins": twins,
    "twins in float32": partial(twins, inputs=draw32),
    "twins without longdouble": partial(twins, **NARROW),
    "parity": lambda f, b: parity(f, backward=b),
    "parity in float32": lambda f, b: parity(f, inputs=draw32, backward=b),
    "parity of the output": lambda f, b: parity(lambda x: f(x)[0]),
    "parity of the output in float32": lambda f, b: parity(lambda x: f(x)[0], inputs=draw32),
}


# --- who is guilty
def outputs(change=np.copy, factor=1.0, dtype=torch.float64, **choices):
    """Tell an output that is changed, and torch's of one dtype times a factor."""
    reference = lambda x: torch.tanh(x) * (factor if x.dtype == dtype else 1)  # noqa: E731
    return twins(output(change), backward, reference, **choices)


def slopes(change=np.copy, factor=1.0, **choices):
    def bent(x):
        right = torch.tanh(x)
        return right.detach() + factor * (right - right.detach())

    return twins(forward, slope(change), bent, **choices)


def outputs_in_float32(ours, torchs):
    return outputs(times(1 + ours * EPS32), 1 + torchs * EPS32, torch.float32, inputs=draw32)


# fmt: off
FUNCTIONS = {
    "our gradient": (slopes(times(1.01)), r"x differs at \(\d, \d\).*contradicts ours"),
    "torch's gradient": (slopes(factor=1.01), f"{GRADIENT}.*contradicts theirs"),
    "both gradients": (slopes(times(1.01), 1.01), "contradicts both$"),
    "nobody": (slopes(times(1 + 1e-13), **NARROW), "witness cannot tell which is wrong$"),
    "thrice the error of torch's output": (
        outputs_in_float32(300, 100),
        "^output differs .*twice torch's, float32 floor.*contradicts ours$"),
    "a gauge of nothing": (slopes(gauges=lambda *_: {"y": 1}), r"\['y'\], expected some of"),
    "a gauge of NaN": (outputs(inputs=draw32, gauges=lambda *_: {"output": np.nan}), NOTHING),
    "round-off for a reference": (
        twins(forward, backward, lambda x: x + 1e8 - 1e8, draw32), NOTHING),
    "an input without effect": (
        twins(lambda x, y: forward(x), backward, lambda x, y: torch.tanh(x), shaped(x=2, y=2)),
        rf"depend on \['y'\]: the case {NOTHING}"),
}
NO_WITNESS = "the longdouble run .*is float64 .*: it is no witness"
ANOTHER = "contradicts theirs, unless our formula itself is another"
ROUNDED = outputs(lambda a: a.astype(float).astype(a.dtype))

#: told only where longdouble is wider than float64.
WIDE_LIES = {
    "torch's output": (outputs(factor=OFF), f"output differs.*{ANOTHER}$"),
    "another formula": (outputs(times(1.5)), "agrees with ours, no rounding .* is not theirs$"),
    "both outputs": (outputs(times(OFF, "f8"), OFF), "both sides have .*contradicts both"),
    "both outputs, apart": (outputs(times(1 - 2e-12, "f8"), OFF), "differs.*contradicts both"),
    "our output in float64": (outputs(times(OFF, "f8")), "run gives .*: the third.*ts ours"),
    "our gradient in longdouble": (slopes(times(1.01, LONG)), "our backward in longdouble is not"),
    "our gradient there, by little": (slopes(times(OFF, LONG)), "the longdouble run of our backwa"),
    "a float64 output": (outputs(lambda a: a.astype(float)), NO_WITNESS),
    "a float64 gradient": (slopes(lambda g: g.astype(float)), NO_WITNESS),
    "an output rounded": (ROUNDED, "something inside is rounded to float64"),
    "no longdouble": (outputs(scipy.special.erf), r"takes no longdouble .*widest=np\.float64"),
}


# --- arrays
ONE, ZERO, THIRD = np.ones(2), np.zeros(2), np.array([1.0, 2.0], WIDEST) / 3
NEAR, FAR = THIRD.astype(float), THIRD.astype(float) * (1 + 40 * EPS)
MASKED = np.ma.masked_array([1.0, 2.0], [True, False])
PERCENT = Budget(name="percent", relative=0.0099)


def close(ours, reference, **choices):
    return lambda rng: assert_close(ours, reference, "values", **choices)


def beside(*wrong, **choices):
    return lambda rng: agree({"proof": Quantity(ONE, ONE), "wrong": Quantity(*wrong, **choices)})


ARRAYS = {
    "17 eps": (close(ONE * (1 + 17 * EPS), ONE), r"17 eps units \(17 ULP\), allowed 16 "),
    "zeros": (close(ZERO, ZERO), NOTHING),
    "a gauge beyond the value": (close(ZERO + 1e-16, ZERO + 1e-16, gauge=1.0), NOTHING),
    "an infinite reference": (close(ONE * np.inf, ONE * np.inf), "is not finite"),
    "NaN": (close(with_nan(ONE), ONE), "values differs"),
    "five for zero": (close(ONE * 5, ONE * 5, expect_zero=True), "not zero as expected"),
    "eps for zero": (close(ZERO + EPS, ZERO, expect_zero=True, gauge=1.0), "values differs"),
    "whole numbers": (close(np.ones(2, int), ONE), "no floats"),
    "nothing": (close(np.ones(0), np.ones(0)), "no floats"),
    "a mask": (close(MASKED, ONE), "no floats"),
    "a scalar for an array": (close(np.float64(1), ONE), f"values: {ALIKE}"),
    "another dtype": (close(ONE.astype("f4"), ONE), f"values: {ALIKE}"),
    "wider, of another shape": (close(ONE, ONE, wider=np.ones((2, 1), LONG)), r"is .*\(2, 1\), o"),
    "wider, but narrower": (close(ONE, ONE, wider=np.ones(2, "f4")), "run is float32 "),
    "always": (lambda rng: assert_switches(ZERO == 0, "Z"), "Z is True everywhere: it proves"),
    "useless draws": (lambda rng: draw_until(switches, lambda: (ZERO,)), "no draw in a thousand"),
    "beyond its tolerance": (beside(ZERO + 1e-12, ZERO, ONE), "wrong differs"),
    "drowned NaN": (beside(ZERO * np.nan, ZERO, ONE), "wrong differs"),
    "one of many NaN": (beside(ONE, ONE * np.nan), "wrong: the reference is not finite"),
    "one gauge infinite": (beside(ONE, ONE, ONE * np.inf), "gauge of wrong: .* not finite"),
    "the size of ours": (beside(ONE * 1.00995, ONE, budget=PERCENT), "wrong differs"),
    "all drowned": (lambda rng: agree({"a": Quantity(ZERO, ZERO)}), "a drown in their tolerances"),
    "an ulp for equal": (lambda rng: assert_equal(ONE * (1 + EPS), ONE, "a"), "a differs: ours"),
}
WIDE_LIES |= {
    "both 40 eps off": (close(FAR, FAR, wider=THIRD), "both sides have .* contradicts both"),
    "theirs 24 eps off": (
        close(NEAR * (1 + 12 * EPS), NEAR * (1 + 24 * EPS), wider=THIRD),
        "theirs has .* contradicts theirs"),
    "drowned, off in longdouble": (
        beside(ZERO, ZERO, ONE, wider=np.array([0, 4e-15], LONG)), "contradicts both"),
}
# fmt: on


# --- rules that claim to be Adam
class Lying:
    """A rule that bends its arguments around an honest one's steps, from one step on."""

    def __init__(self, honest, after=None, *, before=None, since=1, dtype=None):
        self.honest, self.after, self.before = honest, after, before
        self.since, self.dtype, self.t, self.init = since, dtype, 0, honest.init

    def update(self, parameters, gradients, state):
        self.t += 1
        lies = self.dtype in (None, parameters.theta.dtype) and self.since <= self.t
        given = gradients.copy()
        if lies and self.before:
            self.before(parameters, given, state)
        self.honest.update(parameters, given, state)
        if lies and self.after:
            self.after(parameters, gradients, state)


Velocity, Hiding = namedtuple("Velocity", "v"), namedtuple("Hiding", "v hidden")


class Plain:
    """Momentum as somebody else writes it, with any state whose first array is v."""

    def __init__(self, start=lambda theta: Velocity(0 * theta)):
        self.start = start

    def init(self, parameters):
        return self.start(parameters.theta)

    def update(self, parameters, gradients, state):
        state[0][:] = 0.9 * state[0] + gradients.theta
        parameters.theta[:] -= 0.01 * state[0]


def velocity(optimizer):
    return {"v": torch.cat([one["momentum_buffer"].flatten() for one in optimizer.state.values()])}


ADAM, GD = Adam(learning_rate=0.01), GradientDescent(learning_rate=0.01)
INSIDE = Adam(learning_rate=0.01, epsilon_inside_root=True)
SGD, MOMENTUM = partial(torch.optim.SGD, lr=0.01), partial(torch.optim.SGD, lr=0.01, momentum=0.9)
NETWORK = {"W1": (4, 3), "b1": (4, 1), "W2": (1, 4), "b2": (1, 1)}
draw_network, compare = shaped(**NETWORK), partial(assert_same_trajectory, steps=50)


def walk(rule, make=SGD, draw=draw_network, **choices):
    return lambda rng: compare(rule, make, draw(rng), rng, **choices)


momentum = partial(walk, make=MOMENTUM, state=velocity)


def adam(rule=ADAM, dtype=np.float64):
    make = partial(theirs.adam, learning_rate=0.01)
    return walk(rule, make, shaped(dtype, **NETWORK), state=theirs.adam_state)


def drifting(since, dtype=None):
    """Tell a v that is multiplied in each step from one on, in one dtype where it is given."""
    bend = lambda p, g, s: np.multiply(s.v, OFF, out=s.v)  # noqa: E731
    return adam(Lying(ADAM, bend, since=since, dtype=dtype))


def steps_in_float32(ours, torchs):
    def make(tensors):
        optimizer, narrow = SGD(tensors), tensors[0].dtype == torch.float32
        bend = partial(torch._foreach_mul_, [one.data for one in tensors], 1 + torchs * EPS32)
        optimizer.register_step_post_hook(lambda *_: bend() if narrow else None)
        return optimizer

    def shift(p, g, s):
        p.theta[:] *= np.float32(1 + ours * EPS32)

    return walk(Lying(GD, shift), make, shaped("f4", **NETWORK))


def never_learning(dtype):
    """Tell a rule whose b1 stays where it is, beside weights of 1e16, in which nothing is seen."""
    start = {"W1": np.full((4, 3), 1e16, dtype), "b1": np.ones((4, 1), dtype)}
    return walk(Lying(GD, before=lambda p, g, s: g["b1"].fill(0)), draw=lambda rng: start)


HALVED = r"^step \d+: .*twice torch's, float32 floor of opt.*ts ours$"
# fmt: off
RULES = {
    "adam without **t": (adam(Lying(ADAM, before=lambda p, g, s: s.t.fill(0))), "t is "),
    "epsilon inside of the root": (adam(INSIDE), "^step 1: theta differs"),
    "v off by little": (drifting(1), r"^step \d: v differs"),
    "rmsprop for adam": (adam(RMSprop(learning_rate=0.01)), "our state has no v"),
    "gradients modified": (
        walk(Lying(GD, lambda p, g, s: g.theta.fill(1))), "^step 1: the gradients were modified"),
    "v in half precision": (
        adam(Lying(ADAM, lambda p, g, s: np.copyto(s.v, s.v.astype("f2"))), "f4"), HALVED),
    "thrice the error of torch's": (steps_in_float32(300, 100), "^step 1: theta differs"),
    "a reference without digits": (steps_in_float32(0, 2**22), NOTHING),
    "b1 never learns": (never_learning("f8"), "^step 1: theta differs"),
    "b1 never learns in float32": (never_learning("f4"), "^step 1: theta differs"),
    "nothing moves": (
        walk(GradientDescent(learning_rate=1e-30), partial(SGD, lr=1e-30)), "no parameter moved"),
    "five entries": (walk(GD, draw=lambda rng: {"W1": ONE}), "leave no room .* proves nothing"),
    "a state held to nothing": (momentum(Plain(lambda t: Hiding(0 * t, t))), r"'hidden'\] is held"),
    "a state without names": (momentum(Plain(lambda theta: [0 * theta])), "no NamedTuple"),
}
WIDE_LIES |= {
    "a drift of our rule": (drifting(31), "^step 31: v differs .* theirs, unless our rule"),
    "a drift of ours": (drifting(31, "f8"), r"^step 31: v differs at \(\d+,\): .* ours"),
    "a drift in longdouble": (drifting(31, LONG), "^step 31: v: our rule in longdouble "),
    "v in float64": (momentum(Plain(lambda t: Velocity(np.zeros(t.size)))), "it is no witness"),
}
# fmt: on


# --- code of other people
def batch_norm(x, weight, bias):
    return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + bias


def kinked(**choices):
    ties = np.array([0.0, -0.0, 1.0, -1.0])
    pair = {"ours": lambda x: (np.maximum(x, 0), x), "backward": lambda d, x: {"x": d * (x > 0)}}
    return parity(theirs=torch.relu, inputs=lambda rng: {"x": ties}, **pair, **choices)


def with_constants(spoil=len):
    def ours(x, **constants):
        spoil(constants)
        return np.tanh(x + constants["choices"]["shift"][0])

    constants = {
        "sizes": [np.zeros(2), np.zeros(3)],
        "missing": np.array([1.0, np.nan]),
        "choices": {"shift": np.array([0.5, -0.0]), "names": ["a"]},
        "source": np.random.default_rng(0),
    }
    return parity(ours, lambda x, **_: torch.tanh(x + 0.5), constants=constants)


roots = partial(parity, lambda x: np.sqrt(x) * (1 + 40 * EPS), torch.sqrt, lambda _: {"x": ONE * 2})
NORM = {"x": (8, 3), "weight": 3, "bias": 3}
LAYER = {"inputs": shaped(A_prev=(3, 5), W=(4, 3), b=(4, 1)), "backward": linear_backward}
NET = nn.Sequential(nn.Linear(3, 4, bias=False))
# fmt: off
USERS = {
    "40 eps, 20 allowed": (roots(budget=20), r"allowed 20 \(your budget\)"),
    "wide for narrow": (parity(lambda x: np.tanh(x.astype(float)), inputs=draw32), ALIKE),
    "a budget without end": (parity(budget=1e16), NOTHING),
    "a gauge without end": (parity(gauges=lambda *_: {"output": 1e16}), NOTHING),
    "a kink": (kinked(), "central difference"),
    "a constant spoilt": (with_constants(lambda one: one["sizes"].append(1)), "^sizes: the input"),
}
LIES = {**FUNCTIONS, **ARRAYS, **RULES, **USERS}

HONEST = {
    **{f"tanh by {name}": entry(forward, backward) for name, entry in ENTRIES.items()},
    "one and a half times the error of torch's output": outputs_in_float32(150, 100),
    "sixteen eps": close(ONE * (1 + 16 * EPS), ONE),
    "zero for zero": close(ZERO, ZERO, expect_zero=True),
    "a wider run": close(NEAR, NEAR, wider=lambda: THIRD),
    "zeros beside a proof": beside(ZERO, ZERO),
    "drowned beside a proof": beside(ZERO + 1e-15, ZERO, ONE),
    "one and a half times the error of torch's": steps_in_float32(150, 100),
    "tensors of any rank": momentum(Plain(), draw=shaped(kernel=(2, 3, 3), offset=12), groups=3),
    "v in float64": momentum(Plain(lambda theta: Velocity(np.zeros(theta.size))), **NARROW),
    "batch norm": parity(batch_norm, nn.BatchNorm1d(3), shaped(**NORM)),
    "batch norm in float32": parity(batch_norm, nn.BatchNorm1d(3), shaped("f4", **NORM)),
    "names": parity(
        lambda X, W1: (X @ W1.T, (W1, X)), NET, shaped(X=(5, 3), W1=(4, 3)),
        backward=lambda d, cache: {"X": d @ cache[0], "W1": d.T @ cache[1]},
        names={"W1": "0.weight"}),
    "columns": parity(linear_forward, linear, **LAYER, layout="columns"),
    "a layout of one's own": parity(linear_forward, linear, **LAYER, layout=tuple(BY_NAME[:2])),
    "a read-only view": parity(inputs=lambda _: {"x": np.broadcast_to(NEAR, (3, 2))}),
    "a mapping of one's own": parity(inputs=lambda rng: UserDict(draw(rng))),
    "a ufunc of a constant": parity(np.arctan2, torch.arctan2, constants={"other": np.array(2.0)}),
    "constants of any kind": with_constants(),
    "a kink without differences": kinked(differences=False),
    "40 eps, 100 allowed": roots(budget=np.int64(100)),
}
# fmt: on
