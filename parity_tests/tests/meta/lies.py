"""Lies: wrong code and misuse of every comparison, each with a pattern of what must be said of it.

`HONEST` is right code of many shapes, which must pass. A lie is told to a generator.
"""

from __future__ import annotations

import functools
from collections import UserDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

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

Tell = Callable[[np.random.Generator], Any]
Lie = tuple[Tell, str]
LONG, EPS, EPS32 = np.longdouble, 2.0**-52, np.float32(2.0**-23)


def draw(rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, Any]:
    return {"x": rng.standard_normal((3, 4)).astype(dtype)}


# --- pairs that claim to be tanh and its derivative -----------------------------------------------


def forward(x: Any) -> Any:
    return np.tanh(x), np.tanh(x)


def backward(d: Any, a: Any) -> Any:
    return {"x": d * (1 - a**2)}


def output(change: Callable[[Any], Any]) -> Any:
    return lambda x: (change(np.tanh(x)), np.tanh(x))


def slope(change: Callable[[Any], Any]) -> Any:
    return lambda d, a: {"x": change(d * (1 - a**2))}


def with_nan(values: Any) -> Any:
    values = np.copy(values)
    values.flat[values.size // 2] = np.nan
    return values


def in_half(values: Any) -> Any:
    return values.astype("f2").astype(values.dtype)


def doubling(answer: Callable[[Any], Any]) -> Any:
    """Return a forward that doubles its input and then answers."""
    return lambda x: (np.multiply(x, 2, out=x), answer(x))[1:] * 2


def spoilt_later(x: Any) -> Any:
    return np.tanh(x), (np.tanh(x), np.multiply(x, 2, out=x))[0]


def spoiling_backward(d: Any, x: Any) -> Any:
    return {"x": d * (1 - np.tanh(x) ** 2) + 0 * np.multiply(x, 2, out=x)}


ALIKE, MODIFIED = "ours is .* of shape .*, theirs", "^x: the input was modified in place"
UPSTREAM = "^the upstream gradient: the input was modified"

#: forward, backward, pattern; each is told to every door.
PAIRS: Mapping[str, tuple[Any, Any, str]] = {
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
    "input modified afterwards": (spoilt_later, backward, MODIFIED),
    "input modified, output of it": (doubling(np.tanh), backward, MODIFIED),
    "input modified, output short": (doubling(lambda x: x[:, 1:]), backward, MODIFIED),
    "gradient modifies x": (lambda x: (np.tanh(x), x), spoiling_backward, MODIFIED),
    "gradient modifies d": (forward, lambda d, a: {"x": np.multiply(d, 1 - a**2, out=d)}, UPSTREAM),
    "gradient scaled": (forward, slope(lambda g: 1.001 * g), "gradient of x differs"),
    "gradient negated": (forward, slope(lambda g: -g), "gradient of x differs"),
    "gradient zero": (forward, slope(lambda g: 0 * g), "gradient of x differs"),
    "gradient missing": (forward, lambda d, a: {}, r"gradients for \[\], expected"),
    "gradient extra": (forward, lambda d, a: {"x": d * (1 - a**2), "y": d}, r"\['x', 'y'\], exp"),
    "gradient misnamed": (forward, lambda d, a: {"X": d * (1 - a**2)}, r"\['X'\], expected"),
    "gradient a vector": (forward, slope(np.ravel), f"gradient of x: {ALIKE}"),
    "gradient a sum": (forward, slope(np.sum), f"gradient of x: {ALIKE}"),
    "gradient averaged": (forward, slope(lambda g: g.mean(axis=1)[:, None] + 0 * g), "x differs"),
    "gradient float16": (forward, slope(lambda g: g.astype("f2")), f"gradient of x: {ALIKE}"),
    "gradient computed in half": (forward, slope(in_half), "gradient of x differs"),
    "gradient NaN at one entry": (forward, slope(with_nan), "gradient of x differs"),
    "gradient of a sigmoid": (forward, lambda d, a: {"x": d * a * (1 - a)}, "of x differs"),
    "gradient without upstream": (forward, lambda d, a: {"x": 1 - a**2}, "of x differs"),
    "gradient, columns swapped": (forward, slope(lambda g: g[:, ::-1]), "of x differs"),
}


def told(f: Any, b: Any, rng: Any, dtype: str = "f8", **choices: Any) -> None:
    assert_twins(f, b, torch.tanh, draw(rng, dtype), rng, **choices)


def told_by_user(f: Any, b: Any, rng: Any, dtype: str = "f8") -> None:
    ours = f if b else lambda x: f(x)[0]
    assert_parity(ours, torch.tanh, draw(rng, dtype), backward=b, rng=rng)


#: the comparisons that a pair is told to, by (forward, backward, generator).
DOORS: Mapping[str, Callable[..., None]] = {
    "assert_twins": told,
    "assert_twins in float32": partial(told, dtype="f4"),
    "assert_twins without longdouble": partial(told, widest=np.float64),
    "assert_parity": told_by_user,
    "assert_parity in float32": partial(told_by_user, dtype="f4"),
    "assert_parity of the output": lambda f, b, rng: told_by_user(f, None, rng),
    "assert_parity of the output in float32": lambda f, b, rng: told_by_user(f, None, rng, "f4"),
}


# --- who is guilty --------------------------------------------------------------------------------


def bent(values: Any, dtype: Any, factor: float) -> Any:
    """Return values times a factor in one dtype, in any other as they are."""
    return values * values.dtype.type(factor) if values.dtype == dtype else values


def off(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """Return a function of torch whose gradient alone is off by a factor."""

    def wrong(x: Any) -> Any:
        right = function(x)
        return right.detach() + factor * (right - right.detach())

    return wrong


def twins(f: Any, b: Any, reference: Any = torch.tanh, inputs: Any = draw, **choices: Any) -> Tell:
    return lambda rng: assert_twins(f, b, reference, inputs(rng), rng, **choices)


def centring(mean: Callable[[Any], Any]) -> Tell:
    """Tell tanh(x - mean(x)) of features far from 0."""

    def centred(d: Any, a: Any) -> Any:
        g = d * (1 - a**2)
        return {"x": g - g.mean(axis=1, keepdims=True)}

    return twins(
        lambda x: (np.tanh(x - mean(x.mean(axis=1, keepdims=True))),) * 2,
        centred,
        lambda x: torch.tanh(x - x.mean(dim=0)),
        lambda rng: {"x": rng.standard_normal((20, 4)) + 3},
    )


ROUNDED = "something inside is rounded to float64"
NO_WITNESS = "the longdouble run gives float64 .*: it is no witness"
NOT_OURS = "contradicts both, our backward is not the derivative of our forward"
NARROW = {"widest": np.float64}
SLOPE, THEIRS, OFF = slope(lambda g: 1.01 * g), "of x differs.*contradicts theirs", 1 + 1e-12
torch_off = lambda x: torch.tanh(x) * OFF  # noqa: E731
GUILTY: Mapping[str, Lie] = {
    "our gradient": (twins(forward, SLOPE), r"x differs at \(\d, \d\).*contradicts ours"),
    "torch's gradient": (twins(forward, backward, off(torch.tanh, 1.01)), THEIRS),
    "torch's gradient, narrow": (twins(forward, backward, off(torch.tanh, 1.01), **NARROW), THEIRS),
    "both gradients": (twins(forward, SLOPE, off(torch.tanh, 1.01)), NOT_OURS),
    "both gradients, narrow": (twins(forward, SLOPE, off(torch.tanh, 1.01), **NARROW), NOT_OURS),
    "nobody, by a blurred witness": (
        twins(forward, slope(lambda g: (1 + 1e-13) * g), **NARROW),
        "gradient of x differs.*the third witness cannot tell which is wrong$",
    ),
}

#: told only where longdouble is wider than float64.
WIDE_LIES: dict[str, Lie] = {
    "torch's output": (
        twins(forward, backward, torch_off),
        "output differs.*contradicts theirs, unless our formula itself is another$",
    ),
    "another formula of ours": (
        twins(output(lambda a: 1.5 * a), slope(lambda g: 1.5 * g)),
        "unless our formula itself is another, as so large an error suggests$",
    ),
    "both outputs": (
        twins(output(lambda a: bent(a, "f8", OFF)), backward, torch_off),
        "both sides have .*contradicts both",
    ),
    "both outputs, apart": (
        twins(output(lambda a: bent(a, "f8", 1 - 2e-12)), backward, torch_off),
        "output differs.*contradicts both",
    ),
    "our float64 output": (
        twins(output(lambda a: bent(a, "f8", OFF)), backward),
        "the longdouble run gives .*: the third witness contradicts ours",
    ),
    "our longdouble output": (twins(output(lambda a: bent(a, LONG, OFF)), backward), "both"),
    "our longdouble gradient": (
        twins(forward, slope(lambda g: bent(g, LONG, 1.01))),
        "our backward in longdouble is not the derivative of our forward",
    ),
    "our longdouble gradient, by less than differences see": (
        twins(forward, slope(lambda g: bent(g, LONG, OFF))),
        "gradient of x: the longdouble run of our backward gives",
    ),
    "a float64 output": (twins(output(lambda a: a.astype(float)), backward), NO_WITNESS),
    "a float64 gradient": (twins(forward, slope(lambda g: g.astype(float))), NO_WITNESS),
    "an output rounded": (
        twins(output(lambda a: a.astype(float).astype(a.dtype)), backward),
        ROUNDED,
    ),
    "means rounded": (
        centring(lambda mean: mean.astype(float).astype(mean.dtype)),
        f"{ROUNDED}|finite difference",
    ),
}


# --- layers, costs, scales, long sums -------------------------------------------------------------


def draw_layer(rng: np.random.Generator) -> dict[str, Any]:
    shapes = {"A_prev": (3, 5), "W": (4, 3), "b": (4, 1)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def layer(change: Callable[[Any], Any]) -> Tell:
    """Tell a wrong backward of the linear layer, under running-error gauges."""

    def wrong(dZ: Any, cache: Any) -> Any:
        honest = linear_backward(dZ, cache)
        return {**honest, **change(honest)}

    return twins(linear_forward, wrong, linear, draw_layer, gauges=linear_gauges)


def cost(pull: Callable[[Any, Any], Any]) -> Tell:
    """Tell a backward of a mean over four examples."""
    return twins(
        lambda x: ((x**2).sum() / 4, 2 * x),
        lambda d, cache: {"x": pull(d, cache)},
        lambda x: (x**2).sum() / 4,
    )


#: forward, backward, torch's function and the size of its input.
SCALES: Mapping[str, tuple[Any, Any, Any, float]] = {
    "squares of millions": (lambda x: (x**2, x), lambda d, x: 2 * d * x, torch.square, 1e6),
    "logarithms near zero": (lambda x: (np.log(x), x), lambda d, x: d / x, torch.log, 1e-4),
    "roots": (lambda x: (np.sqrt(x), x), lambda d, x: d / (2 * np.sqrt(x)), torch.sqrt, 1e-3),
}


def scaled(name: str, ours: float = 1.0, torchs: float = 1.0, **choices: Any) -> Tell:
    """Tell a pair at its scale, with its gradient and torch's off by factors."""
    f, b, reference, size = SCALES[name]
    return twins(
        f,
        lambda d, x: {"x": b(d, x) * ours},
        off(reference, torchs) if torchs != 1 else reference,
        lambda rng: {"x": size * rng.uniform(0.5, 2, (3, 4))},
        **choices,
    )


def in_turn(terms: Any) -> Any:
    """Return the sum of a vector, each term added to all before it."""
    return np.add.accumulate(terms)[-1]


def torch_in_turn(x: Any, terms: Any) -> Any:
    return functools.reduce(torch.add, (x * one for one in terms))


def times(total: Any, pulled: Any, reference: Any = lambda x, terms: x * terms.sum()) -> Tell:
    """Tell x times a long float32 sum, as `total` and, backwards, `pulled` add it."""
    return twins(
        lambda x, terms: (x * total(terms), pulled(terms)),
        lambda d, factor: {"x": d * factor},
        reference,
        lambda rng: {"x": np.array([[1, 2, 4], [8, 16, 32]], np.float32)},  # scale exactly
        constants={"terms": np.full(2000, 0.1, np.float32)},
    )


def zeros(reference: Any = torch.tanh, **choices: Any) -> Tell:
    """Tell zeros, in float32."""
    pair = lambda x: (0 * x, x), lambda d, x: {"x": d}
    return twins(*pair, reference, partial(draw, dtype="f4"), **choices)


def erf(factor: float = 1.0, **choices: Any) -> Tell:
    """Tell SciPy's erf, which knows no longdouble."""
    return twins(
        lambda x: (factor * scipy.special.erf(x), x),
        lambda d, x: {"x": d * 2 / np.sqrt(np.pi) * np.exp(-(x**2))},
        torch.erf,
        differences=False,
        **choices,
    )


FUNCTIONS: Mapping[str, Lie] = {
    "W reversed": (layer(lambda g: {"W": g["W"][::-1]}), "gradient of W differs"),
    "b averaged": (layer(lambda g: {"b": g["b"] / 5}), "gradient of b differs"),
    "b summed over units": (layer(lambda g: {"b": g["b"].sum() + 0 * g["b"]}), "b differs"),
    "b as a vector": (layer(lambda g: {"b": g["b"].ravel()}), f"gradient of b: {ALIKE}"),
    "1/m forgotten": (cost(lambda d, cache: d * cache), "gradient of x differs"),
    "1/m twice": (cost(lambda d, cache: d * cache / 16), "gradient of x differs"),
    "the upstream scalar forgotten": (cost(lambda d, cache: cache / 4), "of x differs"),
    **{f"{one}, a millionth off": (scaled(one, 1 + 1e-6), "gradient of x") for one in SCALES},
    **{
        f"{one} off on both sides": (scaled(one, 1 + 1e-5, 1 + 1e-5, **NARROW), "not the deriv")
        for one in SCALES
    },
    "a long sum in turn": (
        times(in_turn, np.sum),
        r"^output differs .*twice torch's, float32 floor.*: its float64 contradicts ours$",
    ),
    "a long sum in turn, backwards": (times(np.sum, in_turn), "^gradient of x differs .*twice tor"),
    "erf scaled": (erf(1.1, **NARROW), "output differs"),
    "a gauge of nothing": (
        twins(forward, backward, gauges=lambda *_: {"outptu": 1.0}),
        r"\['outptu'\], expected some of output, x",
    ),
    **{
        f"a gauge of {size}": (zeros(gauges=lambda *_, size=size: {"output": size}), "proves n|is")
        for size in (1e12, np.inf, np.nan)
    },
    "a constant function": (
        twins(lambda x: (0 * x + 1, x), lambda d, x: {"x": 0 * d}, lambda x: 0 * x + 1),
        "proves nothing",
    ),
    "an input without effect": (
        twins(
            lambda x, y: forward(x),
            lambda d, a: {**backward(d, a), "y": 0 * d},
            lambda x, y: torch.tanh(x),
            lambda rng: {**draw(rng), "y": np.ones((3, 4))},
        ),
        r"does not depend on \['y'\]: the case proves nothing",
    ),
    "round-off for a reference": (zeros(lambda x: (x + 1e8) - 1e8), "proves nothing"),
}
WIDE_LIES["erf"] = (erf(), r"takes no longdouble .*widest=np\.float64")


# --- arrays ---------------------------------------------------------------------------------------

ONE, ZERO, THIRD = np.ones(2), np.zeros(2), np.array([1.0, 2.0], WIDEST) / 3
NEAR = THIRD.astype(float)
TENTH, HUNDREDTH = Budget(name="tenth", relative=0.0999), Budget(name="100th", relative=0.0099)


def close(ours: Any, reference: Any, **choices: Any) -> Tell:
    return lambda rng: assert_close(ours, reference, "values", **choices)


def beside(*wrong: Any, **choices: Any) -> Tell:
    """Tell `agree` a quantity beside one that proves something."""
    return lambda rng: agree({"proof": Quantity(ONE, ONE), "wrong": Quantity(*wrong, **choices)})


ARRAYS: Mapping[str, Lie] = {
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
    "the size of ours": (beside(ONE * 1.01, ONE, budget=HUNDREDTH), "wrong differs"),
    "all drowned": (lambda rng: agree({"a": Quantity(ZERO, ZERO)}), "a drown in their tolerances"),
    "an ulp for equal": (lambda rng: assert_equal(ONE * (1 + EPS), ONE, "a"), "a differs: ours"),
    "NaN for equal": (lambda rng: assert_equal(ONE * np.nan, ONE * np.nan, "a"), "a differs"),
}
WIDE_LIES |= {
    "both 40 eps off": (
        close(NEAR * (1 + 40 * EPS), NEAR * (1 + 40 * EPS), wider=THIRD),
        "both sides have .* contradicts both",
    ),
    "theirs 24 eps off": (
        close(NEAR * (1 + 12 * EPS), NEAR * (1 + 24 * EPS), wider=THIRD),
        "theirs has .* contradicts theirs",
    ),
    "drowned, off in longdouble": (
        beside(ZERO, ZERO, ONE, wider=np.array([0, 4e-15], LONG)),
        "contradicts both",
    ),
}


# --- rules that claim to be Adam ------------------------------------------------------------------


class Lying:
    """A rule that bends its arguments around an honest one's steps, from one step to another."""

    def __init__(
        self,
        honest: Any,
        after: Callable[..., Any] = lambda *_: None,
        *,
        before: Callable[..., Any] = lambda *_: None,
        since: int = 1,
        until: float = np.inf,
        dtype: Any = None,
    ) -> None:
        self.honest, self.after, self.before = honest, after, before
        self.since, self.until, self.dtype, self.t = since, until, dtype, 0
        self.init = honest.init

    def update(self, parameters: Any, gradients: Any, state: Any) -> None:
        self.t += 1
        lies = self.dtype is None or parameters.theta.dtype == self.dtype
        lies = lies and self.since <= self.t <= self.until
        given = gradients.copy()
        if lies:
            self.before(parameters, given, state)
        self.honest.update(parameters, given, state)
        if lies:
            self.after(parameters, gradients, state)


class EpsilonHat(Adam):
    """Adam with epsilon beside the root of the uncorrected s."""

    def update(self, parameters: Any, gradients: Any, state: Any) -> None:
        g, theta = gradients.theta, parameters.theta
        state.t[()] += 1
        t = int(state.t)
        state.v[:] += 0.1 * (g - state.v)
        state.s[:] += 0.001 * (g**2 - state.s)
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theta -= rate * state.v / (np.sqrt(state.s) + 1e-8)


class Velocity(NamedTuple):
    v: Any


class Hiding(NamedTuple):
    v: Any
    hidden: Any


class Plain:
    """Momentum as somebody else writes it, with any state whose first array is v."""

    def __init__(self, start: Callable[[Any], Any] = lambda theta: Velocity(0 * theta)) -> None:
        self.start = start

    def init(self, parameters: Any) -> Any:
        return self.start(parameters.theta)

    def update(self, parameters: Any, gradients: Any, state: Any) -> None:
        v = state[0]
        v[:] = 0.9 * v + gradients.theta
        parameters.theta[:] -= 0.01 * v


def multiplied(name: str, factor: float) -> Callable[..., None]:
    """Return the lie that multiplies theta or an array of the state."""

    def bend(p: Any, g: Any, s: Any) -> None:
        array = p.theta if name == "theta" else getattr(s, name)
        array *= array.dtype.type(factor)

    return bend


def bending(make: Any, key: str, factor: float, since: int = 1, dtype: Any = None) -> Any:
    """Return a maker of torch optimizers whose theta or state is bent after each step since one."""

    def made(tensors: Any) -> Any:
        optimizer, t = make(tensors), [0]

        @torch.no_grad()
        def bend(*_: Any) -> None:
            t[0] += 1
            if t[0] >= since and dtype in (None, tensors[0].dtype):
                for one in tensors if key == "theta" else optimizer.state.values():
                    (one if key == "theta" else one[key]).mul_(factor)

        optimizer.register_step_post_hook(bend)
        return optimizer

    return made


def draw_parameters(rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, Any]:
    shapes = {"W1": (4, 3), "b1": (4, 1), "W2": (1, 4), "b2": (1, 1)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def velocity(optimizer: Any) -> dict[str, Any]:
    return {"v": torch.cat([one["momentum_buffer"].flatten() for one in optimizer.state.values()])}


ADAM, GD = Adam(learning_rate=0.01), GradientDescent(learning_rate=0.01)
SGD, MOMENTUM = partial(torch.optim.SGD, lr=0.01), partial(torch.optim.SGD, lr=0.01, momentum=0.9)
TORCH_ADAM, VELOCITY = partial(theirs.adam, learning_rate=0.01), {"state": velocity}


def walk(rule: Any, make: Any = SGD, draw: Any = draw_parameters, **choices: Any) -> Tell:
    return lambda rng: assert_same_trajectory(rule, make, draw(rng), rng, steps=50, **choices)


def adam(rule: Any, dtype: Any = np.float64, make: Any = TORCH_ADAM) -> Tell:
    return walk(rule, make, partial(draw_parameters, dtype=dtype), state=theirs.adam_state)


def in_float32(ours: int, torchs: int, since: int) -> Tell:
    """Tell so many eps of error in our first step, and of torch's from one step on."""
    bend = multiplied("theta", 1 + ours * EPS32)
    make = bending(SGD, "theta", float(1 + torchs * EPS32), since, torch.float32)
    return walk(Lying(GD, bend, until=1), make, partial(draw_parameters, dtype="f4"))


def never_learning(rule: Any, make: Any, **choices: Any) -> Tell:
    """Tell a rule whose b1 stays where it is, beside weights of 1e16."""
    lie = Lying(rule, before=lambda p, g, s: g["b1"].fill(0))
    drawn = {"W1": np.full((4, 3), 1e16), "b1": np.ones((4, 1))}
    return walk(lie, make, lambda rng: drawn, **choices)


def longer(p: Any, g: Any, s: Any) -> None:
    p.theta[:] += 1e-8


def largest_forgotten(p: Any, g: Any, s: Any) -> None:
    g.theta[abs(g.theta).argmax()] = 0


DRIFT = multiplied("v", OFF)
RULES: Mapping[str, Lie] = {
    "adam without **t": (adam(Lying(ADAM, before=lambda p, g, s: s.t.fill(0))), "t is "),
    "adam in the eps-hat form": (adam(EpsilonHat()), "^step 1: theta differs"),
    "adam, eps-hat in float32": (adam(EpsilonHat(), "f4"), "^step 1: theta differs"),
    "adam, epsilon inside": (adam(Adam(learning_rate=0.01, epsilon_inside_root=True)), "^step 1: "),
    "adam uncorrected": (adam(Adam(learning_rate=0.01, bias_correction=False)), "^step 1: "),
    "adam's betas swapped": (adam(Adam(learning_rate=0.01, beta1=0.999, beta2=0.9)), "^step 1: "),
    "adam's epsilon": (adam(Adam(learning_rate=0.01, epsilon=1e-7)), "^step 1: theta differs"),
    "theta shifted": (adam(Lying(ADAM, longer)), "^step 1: theta differs"),
    "v forgotten": (adam(Lying(ADAM, before=lambda p, g, s: s.v.fill(0))), "^step 2: "),
    "v off by little": (adam(Lying(ADAM, DRIFT)), r"^step \d: v differs"),
    "the step forgotten": (adam(Lying(ADAM, before=lambda p, g, s: g.theta.fill(0))), "^step 1: "),
    "one entry left": (adam(Lying(ADAM, before=largest_forgotten)), "^step 1: "),
    "rmsprop for adam": (adam(RMSprop(learning_rate=0.01)), "our state has no v"),
    "dampening": (walk(Plain(), partial(MOMENTUM, dampening=0.9), **VELOCITY), "^step 2: "),
    "gradients modified": (
        walk(Lying(GD, lambda p, g, s: g.theta.__imul__(2))),
        "^step 1: the gradients were modified in place$",
    ),
    "v in half precision": (
        adam(Lying(ADAM, lambda p, g, s: np.copyto(s.v, in_half(s.v))), "f4"),
        r"^step \d+: .*twice torch's, float32 floor of optimizers.*its float64 contradicts ours$",
    ),
    "30 eps off in float32": (adam(Lying(ADAM, multiplied("theta", 1 + 30 * EPS32)), "f4"), "^st"),
    "thrice the error of torch's": (in_float32(300, 100, 1), "^step 1: theta differs"),
    "an error before torch's": (in_float32(150, 100, 2), "^step 1: theta differs"),
    "a reference without digits": (in_float32(0, 2**22, 1), "proves nothing"),
    "b1 never learns": (never_learning(GD, SGD), "^step 1: theta differs"),
    "b1's v too": (never_learning(Plain(), MOMENTUM, **VELOCITY), "^step 1: "),
    "nothing moves": (
        walk(GradientDescent(learning_rate=1e-30), partial(SGD, lr=1e-30)),
        "no parameter moved: the case proves nothing",
    ),
    "no room for tiny gradients": (
        walk(GD, draw=lambda rng: {"W1": np.ones((1, 5))}),
        "leave no room .* proves nothing",
    ),
    "groups that do not fit": (walk(GD, groups=7), "leave no room .* proves nothing"),
    "a state held to nothing": (
        walk(Plain(lambda theta: Hiding(0 * theta, 0 * theta)), MOMENTUM, **VELOCITY),
        r"state \['hidden'\] is held against nothing",
    ),
    "a state without names": (walk(Plain(lambda theta: [0 * theta]), **VELOCITY), "no NamedTuple"),
    "a state that ours lacks": (
        walk(Plain(), MOMENTUM, state=lambda one: {"u": velocity(one)["v"]}),
        "our state has no u",
    ),
}
WIDE_LIES |= {
    "a drift of ours": (
        adam(Lying(ADAM, DRIFT, since=31, dtype="f8")),
        r"^step 31: v differs at \(\d+,\): .* contradicts ours",
    ),
    "a drift of our rule": (
        adam(Lying(ADAM, DRIFT, since=31)),
        "^step 31: v differs .* contradicts theirs, unless our rule itself is another",
    ),
    "a drift in longdouble": (
        adam(Lying(ADAM, DRIFT, since=11, dtype=LONG)),
        "^step 11: v: our rule in longdouble .* both",
    ),
    "a drift of torch's": (
        adam(ADAM, make=bending(TORCH_ADAM, "exp_avg", OFF, 21)),
        "^step 21: v differs .* contradicts theirs",
    ),
    "longdouble kept in float64": (
        walk(Plain(lambda theta: Velocity(np.zeros(theta.size))), MOMENTUM, **VELOCITY),
        "keeps it in float64: it is no witness",
    ),
}


# --- code of other people -------------------------------------------------------------------------


def draw_rows(rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, Any]:
    shapes = {"x": (5, 3), "weight": (4, 3), "bias": (4,)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def rows_forward(x: Any, weight: Any, bias: Any) -> Any:
    return x @ weight.T + bias, (x, weight)


def rows_backward(d: Any, cache: Any) -> Any:
    x, weight = cache
    return {"x": d @ weight, "weight": d.T @ x, "bias": d.sum(axis=0)}


def batch_norm(x: Any, weight: Any, bias: Any) -> Any:
    return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + bias


def parity(
    ours: Any = np.tanh, theirs: Any = torch.tanh, inputs: Any = draw, **choices: Any
) -> Tell:
    return lambda rng: assert_parity(ours, theirs, inputs(rng), **choices)


def shaped(**shapes: Any) -> Callable[[np.random.Generator], dict[str, Any]]:
    return lambda rng: {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def kinked(**choices: Any) -> Tell:
    return parity(
        lambda x: (np.maximum(x, 0), x),
        torch.relu,
        lambda rng: {"x": np.array([0.0, -0.0, 1.0, -1.0])},
        backward=lambda d, x: {"x": d * (x > 0)},
        **choices,
    )


def with_constants(spoil: Callable[[Any], Any] = lambda _: None) -> Tell:
    """Tell a function of constants of many kinds, which it may spoil."""

    def ours(x: Any, **constants: Any) -> Any:
        spoil(constants)
        return np.tanh(x + constants["choices"]["shift"][0])

    def tell(rng: np.random.Generator) -> None:
        constants = {
            "sizes": [np.zeros(2), np.zeros(3)],
            "missing": np.array([1.0, np.nan]),
            "choices": {"shift": np.array([0.5, -0.0]), "names": ["a"]},
            "source": np.random.default_rng(0),
        }
        reference = lambda x, **_: torch.tanh(x + 0.5)  # noqa: E731
        assert_parity(ours, reference, draw(rng), constants=constants)

    return tell


roots = partial(
    parity,
    lambda x: np.sqrt(x) * (1 + 40 * EPS),
    torch.sqrt,
    lambda rng: {"x": rng.uniform(1, 2, 3)},
)
CHANNELS_LAST = (
    lambda name, array, device: torch.movedim(torch.tensor(array), -1, 1),
    lambda name, tensor: np.ascontiguousarray(torch.movedim(tensor.detach(), 1, -1)),
)
USERS: Mapping[str, Lie] = {
    "40 eps": (roots(), "allowed 16 "),
    "40 eps, 20 allowed": (roots(budget=20), r"allowed 20 \(your budget\)"),
    "weights of its own": (
        parity(lambda x: rows_forward(x, np.ones((4, 3)), 0)[0], nn.Linear(3, 4), shaped(x=(5, 3))),
        "output differs",
    ),
    "float64 for float32": (
        parity(lambda x: np.tanh(x.astype(float)), inputs=partial(draw, dtype="f4")),
        f"output: {ALIKE}",
    ),
    "a budget without end": (parity(budget=1e16), "proves nothing"),
    "a gauge without end": (parity(gauges=lambda *_: {"output": 1e16}), "proves nothing"),
    "zeros of zeros": (parity(inputs=lambda rng: {"x": np.zeros(2)}), "proves nothing"),
    "a kink": (kinked(), "central difference"),
    **{
        f"{name} spoilt": (with_constants(spoil), f"^{name}: the input was modified in place")
        for name, spoil in {
            "choices": lambda one: one["choices"]["shift"].__setitem__(1, 0.0),
            "sizes": lambda one: one["sizes"].append(ONE),
            "missing": lambda one: one["missing"].__setitem__(1, 2.0),
        }.items()
    },
}

LIES: Mapping[str, Lie] = {**GUILTY, **FUNCTIONS, **ARRAYS, **RULES, **USERS}


HONEST: Mapping[str, Tell] = {
    **{f"tanh by {name}": partial(door, forward, backward) for name, door in DOORS.items()},
    "a layer under gauges": layer(lambda g: g),
    "a cost": cost(lambda d, cache: d * cache / 4),
    **{name: scaled(name) for name in SCALES},
    **{f"{name} without longdouble": scaled(name, **NARROW) for name in SCALES},
    "a long sum better than torch's": times(np.sum, np.sum, torch_in_turn),
    "a long sum as bad as torch's": times(in_turn, in_turn, torch_in_turn),
    "erf": erf(**NARROW),
    "means": centring(lambda mean: mean),
    "a scalar": twins(
        lambda w: (np.square(w - 5), w),
        lambda d, w: {"w": 2 * d * (w - 5)},
        lambda w: (w - 5) ** 2,
        lambda rng: {"w": np.float64(3.0)},
    ),
    "sixteen eps": close(ONE * (1 + 16 * EPS), ONE),
    "zero for zero": close(ZERO, ZERO, expect_zero=True),
    "a wider run": close(NEAR, NEAR, wider=lambda: THIRD),
    "float64 beside float32": close(NEAR.astype("f4"), NEAR.astype("f4"), wider=NEAR),
    "zeros beside a proof": beside(ZERO, ZERO),
    "drowned beside a proof": beside(ZERO + 1e-15, ZERO, ONE),
    "a condition that switches": lambda rng: assert_switches([True, False], "Z > 0"),
    "adam": adam(ADAM),
    "adam, wrapped": adam(Lying(ADAM)),
    "adam in float32": adam(ADAM, "f4"),
    "adam, bent at the end": adam(Lying(ADAM, multiplied("v", 2.0), since=51)),
    "one and a half times the error of torch's": in_float32(150, 100, 1),
    "a rule without a named state": walk(Plain(lambda theta: [0 * theta]), MOMENTUM),
    "tensors of any rank, in groups": walk(
        Plain(), MOMENTUM, shaped(kernel=(2, 3, 3), offset=12), groups=3, **VELOCITY
    ),
    "a rule in float64 alone": walk(
        Plain(lambda theta: Velocity(np.zeros(theta.size))), MOMENTUM, **VELOCITY, **NARROW
    ),
    "a module": parity(rows_forward, nn.Linear(3, 4), draw_rows, backward=rows_backward),
    "a module in float32": parity(
        rows_forward, nn.Linear(3, 4), partial(draw_rows, dtype="f4"), backward=rows_backward
    ),
    "names that lead into a module": parity(
        lambda X, W1: X @ W1.T,
        nn.Sequential(nn.Linear(3, 4, bias=False)),
        shaped(X=(5, 3), W1=(4, 3)),
        names={"W1": "0.weight"},
    ),
    "batch norm": parity(batch_norm, nn.BatchNorm1d(3), shaped(x=(8, 3), weight=3, bias=3)),
    "columns": parity(
        linear_forward, linear, draw_layer, backward=linear_backward, layout="columns"
    ),
    "channels last": parity(
        lambda images: images[:, :4, :4].reshape(2, 2, 2, 2, 2, 3).mean(axis=(2, 4)),
        nn.AvgPool2d(2),
        shaped(images=(2, 5, 5, 3)),
        layout=CHANNELS_LAST,
    ),
    **{f"shape {one}": parity(inputs=shaped(x=one)) for one in ((), (1,), (2, 1, 3, 1, 2))},
    "a read-only view": parity(
        inputs=lambda rng: {"x": np.broadcast_to(draw(rng)["x"], (2, 3, 4))}
    ),
    "a mapping of one's own": parity(
        np.multiply, torch.multiply, lambda rng: UserDict(w=np.float64(3), **draw(rng))
    ),
    "a ufunc of a constant": parity(
        np.arctan2, lambda x, y: torch.arctan2(x, y), constants={"y": np.array(2.0)}
    ),
    "constants of any kind": with_constants(),
    "a kink without differences": kinked(differences=False),
    "40 eps, 100 allowed": roots(budget=np.int64(100)),
}
