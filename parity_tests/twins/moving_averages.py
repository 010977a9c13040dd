"""Exponentially weighted averages, their weights and window, and a year of temperatures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import to_torch
from parity_tests.compare.gauges import average_bounds
from parity_tests.compare.measurement import Array
from parity_tests.drawing import Replayed, betas, draw
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Relation, evaluate
from parity_tests.twins._relations import mistyped
from scratch import moving_averages as ours
from torch_ref import moving_averages as theirs

TAUGHT = 'Course 2, week 2, "Exponentially weighted averages"'
UNDERSTOOD = 'Course 2, week 2, "Understanding exponentially weighted averages"'


def draw_series(rng: np.random.Generator, n: int = 60, kind: str = "temperatures",
    beta: float = 0.9, bias_correction: bool | None = True) -> Case:  # fmt: skip
    """Draw daily temperatures, or a series of a kind; a correction of None stays unsaid."""
    x = ours.draw_temperatures(rng, n) if kind == "temperatures" else draw(kind, (1, n), rng)[0]
    said = {} if bias_correction is None else {"bias_correction": bias_correction}
    return {"x": x, "beta": beta, **said}


def average_gauges(x: Array, beta: float, bias_correction: bool = False) -> Values:
    """Return the gauge: what was summed up to each average."""
    v = ours.moving_average(x.astype(np.longdouble), beta)
    gauge = average_bounds(v.astype(x.dtype), x, beta) + np.abs(v)
    t = np.arange(1, len(x) + 1)
    return {"average": gauge / (1 - np.longdouble(beta) ** t) if bias_correction else gauge}


def as_typed(text: str, x: Array, beta: float, **_: Any) -> Values:
    """Return the averages of a text; before its quotient stands v, which goes on."""
    v, averages = torch.tensor(0.0, dtype=torch.float64), []
    for t, one in enumerate(to_torch("x", x), start=1):
        known = {"v": v, "x": one, "beta": beta, "t": t}
        averages.append(evaluate(text, **known))
        v = evaluate(text.partition(" / (")[0], **known)
    return {"average": torch.stack(averages).numpy()}


def is_a_sum_of_weights(run: Any, x: Array, beta: float, **_: Any) -> tuple[Values, Values]:
    weights = run("weights_of_average", beta=beta, n=len(x))["weights"]
    plain, corrected, of_ones = (
        run("moving-average", x=one, beta=beta, bias_correction=choice)["average"]
        for one, choice in ((x, False), (x, True), (0 * x + 1, False))
    )
    unrolled, total = np.convolve(x, weights)[: len(x)], np.cumsum(weights)
    pairs = {
        "average, unrolled": (plain, unrolled),
        "plain": (of_ones, total),
        "first average, biased": (plain[0], unrolled[0]),
        "first average": (corrected[0], x[0]),
        "second average": (corrected[1], unrolled[1] / total[1]),
    }
    found, expected = ({name: pair[side] for name, pair in pairs.items()} for side in (0, 1))
    return found, expected


def weights(beta: float, n: int) -> Values:
    """Return our weights, which are also the gradient of the last average, backwards."""
    found = ours.weights_of_average(beta, n)
    return {"weights": found, "gradient of the last average": found[::-1]}


def weights_by_torch(beta: float, n: int) -> Values:
    x = torch.ones(n, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(theirs.moving_average(x, beta)[-1], x)
    return {"weights": theirs.weights_of_average(beta, n), "gradient of the last average": gradient}


def window_as_typed(text: str, beta: float) -> Values:
    return {"window": np.float64(evaluate(text, beta=beta))}


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
        Relation(name="it is a sum of weights", holds=is_a_sum_of_weights,
            broken_by="correction fed back")),
    mistakes=mistyped(as_typed,
        ("torch.optim.swa_utils", 0.1,
         "get_ema_avg_fn starts at the first value, and needs no correction",
         "torch.optim.swa_utils.get_ema_avg_fn(beta)(v, x, t) if t > 1 else x"),
        ("without correction", 0.1, "v begins at 0 and climbs for 1 / (1 - beta) days",
         "torch.lerp(v, x, 1 - beta)"),
        ("beta for 1 - beta", 0.1, "lerp's weight is that of the new value",
         "torch.lerp(v, x, beta) / (1 - beta**t)"),
        ("corrected by t + 1", 0.1, "t counts the values seen, from 1",
         "torch.lerp(v, x, 1 - beta) / (1 - beta ** (t + 1))"),
        ("corrected by t - 1", 0.1, "t counts the values seen, from 1",
         "torch.lerp(v, x, 1 - beta) / (1 - beta ** max(t - 1, 0.5))"),
        ("correction fed back", 0.01, "the correction divides what is returned, not what goes on",
         "torch.lerp(v, x, 1 - beta).div(1 - beta**t)"),
        ("without 1 - beta", 1.0, "a sum of days, 1 / (1 - beta) times their average",
         "beta * v + x")),
)

WEIGHTS = FunctionTwin(
    name="weights_of_average",
    formula="(1 - beta) beta^k, the weight of the value k days ago",
    source=UNDERSTOOD, proves=("weights_of_average",),
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
    typed=window_as_typed, source=UNDERSTOOD, proves=("effective_window",),
    ours=lambda beta: np.float64(ours.effective_window(beta)),
    theirs=lambda beta: np.float64(theirs.effective_window(beta)), names=("window",), wide=False,
    draw=lambda rng, beta=0.9: {"beta": beta}, cases={"beta": betas},
    edges={"the present alone": {"beta": 0.0}}, weight=0.2,
    mistakes=mistyped(window_as_typed,
        ("1 - beta", 0.5,
         "the reciprocal is missing: 0.9 averages over 10 days, not over a tenth", "1 - beta"),
        ("pandas' span", 0.5,
         "a span s of pandas.ewm is beta = 1 - 2 / (s + 1), nearly twice the window",
         "2 / (1 - beta) - 1")),
)

TEMPERATURES = FunctionTwin(
    name="temperatures",
    formula="11 - 8 cos(2 pi day / 365) + 3 noise, in degrees Celsius",
    source=f"{TAUGHT}, a year in London; torch.cos", proves=("temperatures",),
    ours=ours.temperatures, theirs=theirs.temperatures, names=("temperatures",), float32=True,
    draw=lambda rng, days=365: {"noise": rng.standard_normal(days)},
    cases={"days": st.integers(1, 1000)}, edges={"one day": {"days": 1}},
    gauges=lambda noise: {"temperatures": 19.0 + 3 * np.abs(noise)}, weight=0.5,
)

DRAWN = FunctionTwin(
    name="draw_temperatures",
    formula="temperatures of standard normal noise",
    source=f"{TAUGHT}, a year in London; torch.randn", proves=("draw_temperatures",),
    ours=lambda seed, days: ours.draw_temperatures(Replayed(seed), days),
    theirs=lambda seed, days: theirs.draw_temperatures(
        torch.Generator().manual_seed(seed), days),
    names=("drawn",), wide=False,  # a draw is float64
    draw=lambda rng, days=365: {"seed": int(rng.integers(2**31)), "days": days},
    cases={"days": st.integers(2, 1000)}, weight=0.2,
)
# fmt: on

TWINS = (AVERAGE, WEIGHTS, WINDOW, TEMPERATURES, DRAWN)
