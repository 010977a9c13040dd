"""Lies: wrong code and misuse of every comparison, each with a pattern of what must be said of it.

`HONEST` is right code of shapes that no row has. Whatever is told is told to a generator.
"""

from __future__ import annotations

from collections import UserDict
from functools import partial
from types import SimpleNamespace

import numpy as np
import scipy.special
import torch
from torch import nn

import parity_tests
from parity_tests.compare import functions
from parity_tests.compare.bridge import BY_NAME
from parity_tests.compare.budgets import WIDEST, Budget
from parity_tests.compare.quantities import Quantity, agree, assert_equal
from parity_tests.compare.witnesses import cast
from parity_tests.user_code import assert_parity
from scratch.linear import linear_backward, linear_forward
from scratch.optimizers import Adam, AdamState, GradientDescent, RMSprop
from torch_ref import optimizers as theirs
from torch_ref.linear import linear

LONG, EPS, EPS32, OFF = np.longdouble, 2.0**-52, 2.0**-23, 1 + 1e-12
NARROW, NOTHING = {"widest": np.float64}, "proves nothing"


def shaped(dtype=np.float64, **shapes):
    return lambda rng: {n: rng.standard_normal(one).astype(dtype) for n, one in shapes.items()}


draw, draw32 = shaped(Z=(3, 4)), shaped("f4", Z=(3, 4))


def pair(output=np.copy, slope=np.copy):
    """Return tanh and its backward, right but for a change of the output or the gradient."""
    return (
        lambda Z: (output(np.tanh(Z)), np.tanh(Z)),
        lambda dA, A: {"Z": slope(dA * (1 - A**2))},
    )


forward, backward = pair()


def bent(output=1.0, slope=1.0, dtype=None):
    """Return torch's tanh, its values and slope times a factor, in one dtype if one is given."""

    def reference(x):
        right = torch.tanh(x)
        value, honest = right.detach(), dtype not in (None, x.dtype)
        return right if honest else output * value + slope * (right - value)

    return reference


def times(factor, dtype=None):
    """Return a change that multiplies values, of one dtype alone if one is given."""
    return lambda a: a * factor if dtype in (None, a.dtype) else a


def with_nan(values):
    return np.where(np.arange(values.size).reshape(values.shape) == 1, np.nan, values)


def twins(f, b, reference=torch.tanh, inputs=draw, **choices):
    return lambda rng: parity_tests.assert_twins(f, b, reference, inputs(rng), rng, **choices)


def told(output=np.copy, slope=np.copy, **choices):
    return twins(*pair(output, slope), **choices)


def parity(ours=np.tanh, backward=None, theirs=torch.tanh, inputs=draw, **choices):
    return lambda rng: assert_parity(ours, theirs, inputs(rng), backward=backward, **choices)


#: comparisons of pairs.
ENTRIES = twins, parity, partial(twins, **NARROW), partial(twins, inputs=draw32)


def off_in_float32(ours, torchs):
    """Compare outputs that are so many eps off on either side."""
    reference = bent(1 + torchs * EPS32, dtype=torch.float32)
    return told(times(1 + ours * EPS32), reference=reference, inputs=draw32)


def close(ours, reference, **choices):
    return lambda rng: parity_tests.assert_close(ours, reference, "values", **choices)


def beside(*wrong, **choices):
    return lambda rng: agree({"proof": Quantity(ONE, ONE), "wrong": Quantity(*wrong, **choices)})


class Lying:
    """A rule that spoils what an honest one has done, from one step on, in one dtype if given."""

    def __init__(self, honest, spoil, since=1, dtype=None):
        self.honest, self.spoil, self.init = honest, spoil, honest.init
        self.since, self.dtype, self.t = since, dtype, 0

    def update(self, parameters, gradients, state):
        self.t += 1
        self.honest.update(parameters, gradients, state)
        if self.dtype in (None, parameters.theta.dtype) and self.since <= self.t:
            self.spoil(parameters, gradients, state)


class Narrow(AdamState):
    """Adam's state, shown in float64 alone."""

    def _asdict(self):
        return cast(super()._asdict(), np.float64)


RATE = {"learning_rate": 0.01}
ADAM, GD = Adam(**RATE), GradientDescent(**RATE)
FLOAT64_ALONE = SimpleNamespace(init=lambda p: Narrow(*ADAM.init(p)), update=ADAM.update)
NAMELESS = SimpleNamespace(init=list, update=print)
SGD, NETWORK = partial(torch.optim.SGD, lr=0.01), {"W1": (4, 3), "b1": (4, 1), "W2": (1, 4)}
draw_network, draw_network32 = shaped(**NETWORK), shaped("f4", **NETWORK)


def walk(rule, make=SGD, draw=draw_network, steps=50, **choices):
    named = {"steps": steps, **choices}
    return lambda rng: parity_tests.assert_same_trajectory(rule, make, draw(rng), rng, **named)


def adam(rule=ADAM, draw=draw_network, state=theirs.adam_state, **choices):
    return walk(rule, partial(theirs.adam, **RATE), draw, state=state, **choices)


def drifting(since, dtype=None):
    """Compare an Adam whose v is multiplied in each step from one on, perhaps in one dtype."""
    return adam(Lying(ADAM, lambda p, g, s: np.multiply(s.v, OFF, out=s.v), since, dtype))


def steps_in_float32(ours, torchs):
    """Compare parameters that are so many eps more off after each step, on either side."""

    def make(tensors):
        optimizer, off = SGD(tensors), torchs * EPS32 * (tensors[0].dtype == torch.float32)
        bend = partial(torch._foreach_mul_, [one.data for one in tensors], 1 + off)
        optimizer.register_step_post_hook(lambda *_: bend())
        return optimizer

    shift = lambda p, g, s: np.multiply(p.theta, 1 + ours * EPS32, out=p.theta)  # noqa: E731
    return walk(Lying(GD, shift), make, draw_network32)


def never_learning(dtype):
    """Tell a rule whose b1 stays where it is, beside weights of 1e16, in which nothing is seen."""
    start = {"W1": np.full((4, 3), 1e16, dtype), "b1": np.ones((4, 1), dtype)}
    return walk(Lying(GD, lambda p, g, s: p["b1"].fill(1)), draw=lambda rng: start)


def batch_norm(x, weight, bias):
    return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + bias


# fmt: off
ONE, ZERO, THIRD = np.ones(2), np.zeros(2), np.array([1.0, 2.0], WIDEST) / 3
NEAR, FAR = THIRD.astype(float), THIRD.astype(float) * (1 + 40 * EPS)
MASKED = np.ma.masked_array([1.0, 2.0], [True, False])
PRELU, SWAPPED = {"theirs": nn.PReLU()}, ONE.astype(np.dtype(float).newbyteorder())
PERCENT = Budget(name="percent", relative=0.0099)
HERE, STEEP = times(OFF, "f8"), {"slope": times(1.01)}
HALF = Lying(ADAM, lambda p, g, s: np.copyto(s.v, s.v.astype("f2")))
SPOILT = Lying(GD, lambda p, g, s: g.theta.fill(1))
TINY = {"rule": GradientDescent(learning_rate=1e-30), "make": partial(SGD, lr=1e-30)}
NORM = {"x": (8, 3), "weight": 3, "bias": 3}
LAYER = linear_forward, linear_backward, linear, shaped(A_prev=(3, 5), W=(4, 3), b=(4, 1))
ROOTS = lambda x: np.sqrt(x) * (1 + 40 * EPS), None, torch.sqrt, lambda _: {"x": ONE * 2}
RELU = (
    lambda x: (np.maximum(x, 0), x), lambda d, x: {"x": d * (x > 0)}, torch.relu,
    lambda _: {"x": np.array([0.0, -0.0, 1.0, -1.0])})
CONSTANTS = {
    "sizes": [np.zeros(2)], "choices": {"shift": np.array([0.5, -0.0]), "names": ["a"]},
    "missing": np.array([np.nan]), "source": np.random.default_rng(0)}
SHIFTED = {"theirs": lambda x, **_: torch.tanh(x + 0.5), "constants": CONSTANTS}
PRODUCT = (
    lambda X, W1: (X @ W1.T, (W1, X)), lambda d, cache: {"X": d @ cache[0], "W1": d.T @ cache[1]},
    nn.Sequential(nn.Linear(3, 4, bias=False)), shaped(X=(5, 3), W1=(4, 3)))

ALIKE, MODIFIED = "ours is .* of shape .*, theirs", ": the input was modified"
UPSTREAM, GRADIENT = f"^the upstream gradient{MODIFIED}", "gradient of Z differs"
NO_WITNESS = "the longdouble run .*is float64 .*: it is no witness"
WORSE = ".*twice torch's, float32 floor.* ours$"
#: messages after "expected", and what is asked wrongly.
REFUSED = {
    "ours to be a function, got NoneType": parity(None),
    "gauges to be a function, got dict": parity(gauges={}),
    "inputs to be Mapping, got list": parity(inputs=lambda _: [ONE]),
    "a floating NumPy array, got MaskedArray": parity(inputs=lambda _: {"Z": MASKED}),
    "got int64: what has no gradient": parity(inputs=lambda _: {"Z": np.arange(3)}),
    "byte order of this machine, got": parity(inputs=lambda _: {"Z": SWAPPED}),
    "y of dtype float64 like Z, got": parity(inputs=lambda _: {"Z": ONE, "y": ONE.astype("f4")}),
    "Z to be finite, got NaN": parity(inputs=lambda _: {"Z": ONE * np.nan}),
    "constants to be Mapping, got list": parity(constants=[1]),
    r"\['Z'\] in inputs or in constants, got both": parity(constants={"Z": 1}),
    "budget to be a Budget or a num.* got str": parity(budget="16"),
    "a number of eps above 0, got int 0": parity(gradient_budget=0),
    "a number of eps above 0, got float inf": parity(budget=np.inf),
    "witnessed to be at least 1, got 0": parity(witnessed=0),
    "a number of eps above 0, got bool": parity(budget=True),
    "rng to be a generator or a seed, got str": parity(rng="0"),
    "rng to be a generator or a seed, got bool": parity(rng=True),
    "k in the byte order of this machine, got": parity(constants={"k": SWAPPED}),
    "that is here .*, got str 'tpu9'": parity(device="tpu9"),
    "and holds numbers, got str 'meta'$": parity(device="meta"),
    "layout to be one of 'as it is', 'columns' or": parity(layout="rows"),
    "names only beside a module": parity(names={"Z": "weight"}),
    r"from \['Z'\] to \['weight'\], got 'Z': 'bias'": parity(**PRELU, names={"Z": "bias"}),
    r"Z of shape \(1,\), as weight .*, got \(3, 4\)": parity(**PRELU, names={"Z": "weight"}),
    "ours to return one array: .*, got tuple": parity(lambda Z: (Z, Z)),
    r"ours to return \(output, .*ndarray": parity(np.tanh, lambda dA, _: {"Z": dA}),
    "backward to return a .*, got ndarray": parity(forward, lambda dA, _: dA),
    "theirs to return one tensor, got tuple": parity(theirs=lambda x: (x, x)),
    "1 inputs and constants for tanh, got": parity(constants={"k": ONE}),
    "ours to have init and update, got NoneType": walk(None),
    "theirs to be a function, got str": walk(GD, "SGD"),
    "an optimizer with a step, got int": walk(GD, len),
    "an optimizer with a step, got .*SGD": walk(GD, lambda _: torch.optim.SGD),
    "groups to be a whole number, got float 1.5": walk(GD, groups=1.5),
}
#: each is told to every comparison of pairs.
PAIRS = [
    ("output differs", pair(times(1.00001))),
    (f"output: {ALIKE}", pair(np.transpose)),
    (f"output: {ALIKE}", pair(lambda a: a.astype("f2"))),
    ("output: ours is list", pair(lambda a: a.tolist())),
    ("output differs", pair(with_nan)),
    (f"^Z{MODIFIED}", (lambda Z: (np.sin(Z, out=Z)[1:], 0), backward)),
    (f"^Z{MODIFIED}", (lambda Z: (np.tanh(Z), Z), lambda dA, Z: {"Z": np.sin(Z, out=Z)})),
    (UPSTREAM, (forward, lambda dA, A: {"Z": np.sin(A, out=dA)})),
    (GRADIENT, pair(slope=times(1.001))),
    (r"gradients for \[\], expected", (forward, lambda dA, A: {})),
    (r"\['Z', 'y'\], expected", (forward, lambda dA, A: {"Z": A, "y": A})),
    (f"gradient of Z: {ALIKE}", pair(slope=np.ravel)),
    (GRADIENT, pair(slope=with_nan)),
    (GRADIENT, (forward, lambda dA, A: {"Z": 1 - A**2})),
]
LIES = [
    *((f"^expected .*{says}", tell) for says, tell in REFUSED.items()),
    *((says, tell(*wrong)) for says, wrong in PAIRS for tell in ENTRIES),
    # who is guilty
    (r"Z differs at \(\d, \d\).*contradicts ours", told(**STEEP)),
    (f"{GRADIENT}.*contradicts theirs", told(reference=bent(slope=1.01))),
    ("contradicts both$", told(**STEEP, reference=bent(slope=1.01))),
    ("witness cannot tell which is wrong$", told(slope=times(1 + 1e-13), **NARROW)),
    (f"^output differs {WORSE}", off_in_float32(300, 100)),
    (r"\['y'\], expected some of", told(gauges=lambda *_: {"y": 1})),
    (NOTHING, told(inputs=draw32, gauges=lambda *_: {"output": np.nan})),
    (NOTHING, told(reference=lambda x: x + 1e8 - 1e8, inputs=draw32)),
    (rf"depend on \['y'\]: the case {NOTHING}",
     twins(lambda Z, y: forward(Z), backward, lambda Z, y: torch.tanh(Z), shaped(Z=2, y=2))),
    # arrays
    (r"17 eps units \(17 ULP\), allowed 16 ", close(ONE * (1 + 17 * EPS), ONE)),
    (NOTHING, close(ZERO, ZERO)),
    (NOTHING, close(ZERO + 1e-16, ZERO + 1e-16, gauge=1.0)),
    ("is not finite", close(ONE * np.inf, ONE * np.inf)),
    ("not zero as expected", close(ONE * 5, ONE * 5, expect_zero=True)),
    ("values differs", close(ZERO + EPS, ZERO, expect_zero=True, gauge=1.0)),
    ("no floats", close(np.ones(2, int), ONE)),
    ("no floats", close(np.ones(0), np.ones(0))),
    ("no floats", close(MASKED, ONE)),
    (f"values: {ALIKE}", close(np.float64(1), ONE)),
    (r"is .*\(2, 1\), o", close(ONE, ONE, wider=np.ones((2, 1), LONG))),
    ("run is float32 ", close(ONE, ONE, wider=np.ones(2, "f4"))),
    ("Z is True everywhere", lambda rng: parity_tests.assert_switches(ZERO == 0, "Z")),
    ("no draw in a", lambda rng: functions.draw_until(functions.switches, lambda: (ZERO,))),
    ("wrong differs", beside(ZERO + 1e-12, ZERO, ONE)),
    ("wrong: the reference is not finite", beside(ONE, ONE * np.nan)),
    ("gauge of wrong: .* not finite", beside(ONE, ONE, ONE * np.inf)),
    ("wrong differs", beside(ONE * 1.00995, ONE, budget=PERCENT)),
    ("a drown in their tolerances", lambda rng: agree({"a": Quantity(ZERO, ZERO)})),
    ("a differs: ours", lambda rng: assert_equal(ONE * (1 + EPS), ONE, "a")),
    # rules
    ("t is ", adam(Lying(ADAM, lambda p, g, s: s.t.fill(0)))),
    ("our state has no v", adam(RMSprop(**RATE))),
    ("^step 1: the gradients were modified", walk(SPOILT)),
    (rf"^step \d+: {WORSE}", adam(HALF, draw_network32)),
    ("^step 1: theta differs", steps_in_float32(300, 100)),
    (NOTHING, steps_in_float32(0, 2**22)),
    ("^step 1: theta differs", never_learning("f8")),
    ("^step 1: theta differs", never_learning("f4")),
    ("no parameter moved", walk(**TINY)),
    ("leave no room .* proves nothing", walk(GD, draw=lambda rng: {"W1": ONE})),
    (r"\['s', 't', 'v'\] is held", adam(state=lambda _: {})),
    ("no NamedTuple", adam(NAMELESS)),
    # code of other people
    (r"allowed 20 \(your budget\)", parity(*ROOTS, budget=20)),
    (ALIKE, parity(lambda Z: np.tanh(Z.astype(float)), inputs=draw32)),
    (NOTHING, parity(budget=1e16)),
    ("central difference", parity(*RELU)),
    (f"^sizes{MODIFIED}", parity(lambda Z, sizes, **_: sizes.append(1) or Z, **SHIFTED)),
]
#: told only where longdouble is wider than float64.
WIDE_LIES = [
    ("contradicts theirs, unless our formula itself", told(reference=bent(OFF))),
    ("no rounding: our formula or theirs is wrong$", told(times(1.5))),
    ("both sides have .*contradicts both", told(HERE, reference=bent(OFF))),
    ("differs.*contradicts both", told(times(2 - OFF, "f8"), reference=bent(OFF))),
    ("run gives .*: the third.*contradicts ours", told(HERE)),
    ("our backward in longdouble", told(slope=times(1.01, LONG))),
    ("the longdouble run of our backward", told(slope=times(OFF, LONG))),
    (NO_WITNESS, told(lambda a: a.astype(float))),
    (NO_WITNESS, told(slope=lambda g: g.astype(float))),
    ("something inside is rounded", told(lambda a: a.astype(float).astype(a.dtype))),
    (r"takes no longdouble .*widest=np\.float64", told(scipy.special.erf)),
    ("both sides have .* contradicts both", close(FAR, FAR, wider=THIRD)),
    ("contradicts theirs", close(NEAR * (1 + 12 * EPS), NEAR * (1 + 24 * EPS), wider=THIRD)),
    ("contradicts both", beside(ZERO, ZERO, ONE, wider=np.array([0, 4e-15], LONG))),
    ("^step 31: v differs .* theirs, unless our rule", drifting(31)),
    (r"^step 31: v differs at \(\d+,\): .* ours", drifting(31, "f8")),
    ("^step 31: v: our rule in longdouble ", drifting(31, LONG)),
    ("it is no witness", adam(FLOAT64_ALONE)),
]
HONEST = {
    **{f"tanh, {i}": tell(forward, backward) for i, tell in enumerate(ENTRIES)},
    "one and a half times torch's error": off_in_float32(150, 100),
    "the same in steps": steps_in_float32(150, 100),
    "sixteen eps": close(ONE * (1 + 16 * EPS), ONE),
    "a wider run": close(NEAR, NEAR, wider=lambda: THIRD),
    "tensors of any rank": adam(draw=shaped(kernel=(2, 3, 3), offset=12), groups=3),
    "v in float64": adam(FLOAT64_ALONE, **NARROW),
    "batch norm": parity(batch_norm, None, nn.BatchNorm1d(3), shaped("f4", **NORM)),
    "names": parity(*PRODUCT, names={"W1": "0.weight"}),
    "columns": parity(*LAYER, layout="columns"),
    "a layout of one's own": parity(*LAYER, layout=tuple(BY_NAME[:2])),
    "a read-only view": parity(inputs=lambda _: {"x": np.broadcast_to(NEAR, (3, 2))}),
    "a mapping of one's own": parity(inputs=lambda rng: UserDict(draw(rng))),
    "a ufunc": parity(np.arctan2, None, torch.arctan2, constants={"other": np.array(2.0)}),
    "constants of any kind": parity(lambda Z, **_: np.tanh(Z + 0.5), **SHIFTED),
    "a kink without differences": parity(*RELU, differences=False),
    "40 eps, 100 allowed": parity(*ROOTS, budget=np.int64(100)),
}
# fmt: on
