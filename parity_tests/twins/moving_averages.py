"""Exponentially weighted averages, their weights and window, and a year of temperatures."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.optim.swa_utils import get_ema_avg_fn

from parity_tests.compare.bridge import to_torch
from parity_tests.compare.gauges import average_bounds
from parity_tests.compare.measurement import Array
from parity_tests.drawing import Replayed, betas, draw
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._relations import same_under, taking
from scratch import moving_averages as ours
from torch_ref import moving_averages as theirs

TAUGHT = 'Course 2, week 2, "Exponentially weighted averages"'
UNDERSTOOD = 'Course 2, week 2, "Understanding exponentially weighted averages"'


def draw_series(
    rng: np.random.Generator,
    n: int = 60,
    kind: str = "temperatures",
    beta: float = 0.9,
    bias_correction: bool | None = True,
) -> Case:
    """Draw daily temperatures, or a series of a kind; a correction of None stays unsaid."""
    x = ours.draw_temperatures(rng, n) if kind == "temperatures" else draw(kind, (1, n), rng)[0]
    said = {} if bias_correction is None else {"bias_correction": bias_correction}
    return {"x": x, "beta": beta, **said}


def summed(x: Array, beta: float, weight: float, dtype: Any = float) -> Array:
    """Return v = beta v + weight x from v = 0, one by one."""
    v, past = np.empty(len(x), dtype), dtype(0)
    for t, x_t in enumerate(x):
        v[t] = past = beta * past + weight * x_t
    return v


def average_gauges(x: Array, beta: float, bias_correction: bool = False) -> Values:
    """Return the gauge: what was summed up to each average."""
    v = summed(x, beta, 1 - beta, np.longdouble)
    gauge = average_bounds(v.astype(x.dtype), x, beta) + np.abs(v)
    t = np.arange(1, len(x) + 1)
    return {"average": gauge / (1 - np.longdouble(beta) ** t) if bias_correction else gauge}


def as_typed(text: str, x: Array, beta: float, bias_correction: bool) -> Values:
    v, corrected = torch.tensor(0.0, dtype=torch.float64), []
    for t, one in enumerate(to_torch("x", x), start=1):
        corrected.append(evaluate(text, v=v, x=one, beta=beta, t=t))
        v = corrected[-1] * (1 - beta**t)
    return {"average": torch.stack(corrected).numpy()}


def from_the_first_day(x: Array, beta: float, **_: Any) -> Values:
    """Return the averages of torch.optim.swa_utils, which start from what they meet first."""
    average: Any = get_ema_avg_fn(beta)  # type: ignore[no-untyped-call]
    v = [torch.tensor(x[0])]
    for x_t in x[1:]:
        v.append(average(v[-1], torch.tensor(x_t), torch.tensor(len(v))))
    return {"average": torch.stack(v).numpy()}


def corrected_ahead(x: Array, beta: float, ahead: float, **_: Any) -> Values:
    """Return averages corrected by t + ahead, the first by half a day where it is none."""
    t = np.maximum(np.arange(1, len(x) + 1) + ahead, 0.5)
    return {"average": summed(x, beta, 1 - beta) / (1 - beta**t)}


def fed_back(x: Array, beta: float, **_: Any) -> Values:
    v = np.zeros(len(x) + 1)
    for t, x_t in enumerate(x, start=1):
        v[t] = (beta * v[t - 1] + (1 - beta) * x_t) / (1 - beta**t)
    return {"average": v[1:]}


def begins_with_what_it_sees(run: Any, x: Array, beta: float, **_: Any) -> tuple[Values, Values]:
    names = "first average, biased", "first average", "second average"
    of = partial(run, "moving-average", x=x, beta=beta)
    plain, corrected = (of(bias_correction=one)["average"] for one in (False, True))
    found = zip(names, (plain[0], corrected[0], corrected[1]), strict=True)
    by_hand = (1 - beta) * x[0], x[0], (beta * x[0] + x[1]) / (1 + beta)
    return dict(found), dict(zip(names, by_hand, strict=True))


def is_a_sum_of_weights(run: Any, x: Array, beta: float, **_: Any) -> tuple[Values, Values]:
    weights = run("weights_of_average", beta=beta, n=len(x))["weights"]
    plain = partial(run, "moving-average", beta=beta, bias_correction=False)
    found = {"average, unrolled": plain(x=x)["average"], "plain": plain(x=0 * x + 1)["average"]}
    unrolled = np.convolve(x, weights)[: len(x)]
    return found, {"average, unrolled": unrolled, "plain": np.cumsum(weights)}


def weights(beta: float, n: int) -> Values:
    """Return our weights, which are also the gradient of the last average, backwards."""
    found = ours.weights_of_average(beta, n)
    return {"weights": found, "gradient of the last average": found[::-1]}


def weights_by_torch(beta: float, n: int) -> Values:
    x = torch.ones(n, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(theirs.moving_average(x, beta)[-1], x)
    return {"weights": theirs.weights_of_average(beta, n), "gradient of the last average": gradient}


def window(side: Any) -> Any:
    return lambda beta: {"window": np.float64(side.effective_window(beta))}


# fmt: off
AVERAGE = FunctionTwin(
    name="moving-average",
    formula="v = beta v + (1 - beta) x from v = 0, then v / (1 - beta^t)",
    torch="torch.lerp(v, x, 1 - beta) / (1 - beta**t); v begins at 0 and stays uncorrected",
    typed=as_typed,
    source='Course 2, week 2, "Bias correction in exponentially weighted averages"; torch.lerp',
    proves=("moving_average",),
    ours=ours.moving_average, theirs=theirs.moving_average, names=("average",), float32=True,
    draw=draw_series,
    cases={
        "n": st.integers(1, 8),
        "kind": st.sampled_from(["all magnitudes", "normal", "zeros", "grid", "temperatures"]),
        "beta": betas, "bias_correction": st.booleans()},
    edges={
        "as it is without being told": {"bias_correction": None},
        "nothing is remembered": {"beta": 0.0, "kind": "all magnitudes"},
        "a year": {"n": 365, "beta": 0.98}, "a long memory": {"n": 365, "beta": 1 - 1e-6},
        "a long memory, plain": {"n": 365, "beta": 1 - 1e-6, "bias_correction": False},
        "a short memory": {"n": 365, "beta": 0.1},
        "more values than 16 bits count": {"n": 2**15 + 2, "beta": 1 - 1e-5}},
    gauges=average_gauges,
    relations=(
        Relation(name="a constant is kept",
            holds=lambda run, x, **choices: (
                run("moving-average", x=0 * x + 3.7, **choices), {"average": 0 * x + 3.7}),
            broken_by="without correction"),
        Relation(name="it begins with what it sees", holds=begins_with_what_it_sees,
            broken_by="correction fed back",
            gauges=lambda x, beta, **_: {
                "second average": (beta * abs(x[0]) + abs(x[1])) / (1 + beta)}),
        Relation(name="it is a sum of weights", holds=is_a_sum_of_weights,
            broken_by=taking(beta=0.5)),
        Relation(name="it moves along with what it averages",
            holds=same_under("moving-average", lambda x, **_: {"x": x + 8.0},
                lambda warmer: {"average": warmer["average"] - 8.0}),
            broken_by="without correction",
            gauges=lambda x, **_: {"average": np.abs(x).max() + 8.0})),
    mistakes=(
        Mistake(name="torch.optim.swa_utils", margin=0.1, values=from_the_first_day,
            why="get_ema_avg_fn starts at the first value, and needs no correction"),
        Mistake(name="without correction", margin=0.1,
            why="v begins at 0 and climbs for 1 / (1 - beta) days",
            wrong=lambda x, beta, bias_correction: theirs.moving_average(x, beta)),
        Mistake(name="beta for 1 - beta", margin=0.1, why="lerp's weight is that of the new value",
            wrong=lambda x, beta, bias_correction: theirs.moving_average(
                x, 1 - beta, bias_correction=bias_correction)),
        Mistake(name="corrected by t + 1", margin=0.1, why="t counts the values seen, from 1",
            values=partial(corrected_ahead, ahead=1)),
        Mistake(name="corrected by t - 1", margin=0.1, why="t counts the values seen, from 1",
            values=partial(corrected_ahead, ahead=-1)),
        Mistake(name="correction fed back", margin=0.01, values=fed_back,
            why="the correction divides what is returned, not what goes on"),
        Mistake(name="without 1 - beta", margin=1.0,
            why="a sum of days, 1 / (1 - beta) times their average",
            values=lambda x, beta, **_: {"average": summed(x, beta, 1.0)})),
)

WEIGHTS = FunctionTwin(
    name="weights_of_average",
    formula="(1 - beta) beta^k, the weight of the value k days ago",
    source=UNDERSTOOD,
    proves=("weights_of_average",),
    ours=weights, theirs=weights_by_torch, bridge=None, wide=False,  # the weights are float64
    draw=lambda rng, beta=0.9, n=30: {"beta": beta, "n": n},
    cases={"beta": betas, "n": st.integers(1, 60)},
    edges={"the present alone": {"beta": 0.0}, "a long memory": {"beta": 1 - 1e-6, "n": 300}},
    weight=0.5,
)

WINDOW = FunctionTwin(
    name="averaging-window",
    formula="v averages over about 1 / (1 - beta) days",
    torch="1 / (1 - beta); beta is one of torch.optim.Adam's betas, or 1 - lerp's weight",
    typed=lambda text, beta: {"window": np.float64(evaluate(text, beta=beta))},
    source=UNDERSTOOD,
    proves=("effective_window",),
    ours=window(ours), theirs=window(theirs), bridge=None, wide=False,  # a Python float
    draw=lambda rng, beta=0.9: {"beta": beta}, cases={"beta": betas},
    edges={"the present alone": {"beta": 0.0}}, weight=0.2,
    mistakes=(
        Mistake(name="1 - beta", margin=0.5, values=lambda beta: {"window": np.float64(1 - beta)},
            why="the reciprocal is missing: 0.9 averages over 10 days, not over a tenth"),
        Mistake(name="pandas' span", margin=0.5,
            values=lambda beta: {"window": np.float64(2 / (1 - beta) - 1)},
            why="a span s of pandas.ewm is beta = 1 - 2 / (s + 1), nearly twice the window")),
)

TEMPERATURES = FunctionTwin(
    name="temperatures",
    formula="11 - 8 cos(2 pi day / 365) + 3 noise, in degrees Celsius",
    source=f"{TAUGHT}, a year in London; torch.cos",
    proves=("temperatures",),
    ours=ours.temperatures, theirs=theirs.temperatures, names=("temperatures",), float32=True,
    draw=lambda rng, days=365: {"noise": rng.standard_normal(days)},
    cases={"days": st.integers(1, 1000)}, edges={"one day": {"days": 1}},
    gauges=lambda noise: {"temperatures": 19.0 + 3 * np.abs(noise)}, weight=0.5,
)

DRAWN = FunctionTwin(
    name="draw_temperatures",
    formula="temperatures of standard normal noise",
    source=f"{TAUGHT}, a year in London; torch.randn",
    proves=("draw_temperatures",),
    ours=lambda seed, days: ours.draw_temperatures(Replayed(seed), days),
    theirs=lambda seed, days: theirs.draw_temperatures(
        torch.Generator().manual_seed(seed), days),
    names=("drawn",), wide=False,  # a draw is float64
    draw=lambda rng, days=365: {"seed": int(rng.integers(2**31)), "days": days},
    cases={"days": st.integers(2, 1000)}, weight=0.2,
)
# fmt: on

TWINS = (AVERAGE, WEIGHTS, WINDOW, TEMPERATURES, DRAWN)
