"""Dialects of what changes over the steps: learning rate schedules and moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import get_ema_avg_fn

from parity_tests.compare.bridge import to_numpy, to_torch
from parity_tests.compare.functions import Array
from parity_tests.conventions import Convention, Refutation, Values, evaluate
from scratch import moving_averages, schedules
from torch_ref import moving_averages as their_moving_averages
from torch_ref import schedules as their_schedules

Rng = np.random.Generator
SGD = torch.optim.SGD

#: the first learning rate of every schedule here, and the number of its counts.
ALPHA, STEPS = 0.1, 20

#: the schedulers that the texts name.
SCHEDULERS: Mapping[str, Any] = {
    one.__name__: one
    for one in (lr_scheduler.LambdaLR, lr_scheduler.ExponentialLR, lr_scheduler.MultiStepLR)
}

#: the decay of every moving average.
BETA = 0.9


def rates(schedule: schedules.Schedule) -> Array:
    """Return the rates of a schedule of ours at counts 1, 2, ..., (20,)."""
    return np.array([schedule(t) for t in range(1, STEPS + 1)])


def rates_of_torch(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> Array:
    """Return the rates in force at each of 20 steps, the scheduler stepped after each."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=ALPHA)
    scheduler, reached = make(optimizer), []
    for _ in range(STEPS):
        reached.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(reached)


def draw_decay(rng: Rng) -> dict[str, Any]:
    """Draw a decay."""
    return {"decay": float(rng.uniform(0.1, 0.5))}


def schedule(
    ours: Callable[..., schedules.Schedule],
    theirs: Callable[..., lr_scheduler.LRScheduler],
    wrong: Mapping[str, tuple[Callable[..., Any], float, str]],
    first: Callable[[float], float] = lambda decay: 1.0,
    **choices: Any,
) -> dict[str, Any]:
    """Return both sides of a convention about a schedule, and its refutations.

    Each of the wrong ones makes a scheduler of torch's for an optimizer and a decay. `choices` are
    named after the schedule's arguments, `decay` unless given is drawn. What is typed meets an
    optimizer whose rate was multiplied by `first(decay)`.
    """

    def chosen(decay: float) -> dict[str, Any]:
        return choices or {"decay": decay}

    def of_torch(make: Callable[..., Any]) -> Callable[..., Values]:
        return lambda decay: {"rates": rates_of_torch(lambda optimizer: make(optimizer, decay))}

    def course(decay: float) -> Values:
        return {"rates": rates(ours(learning_rate=ALPHA, **chosen(decay)))}

    def as_typed(text: str, decay: float) -> Values:
        def make(optimizer: torch.optim.Optimizer) -> Any:
            for group in optimizer.param_groups:
                group["lr"] *= first(decay)
            return evaluate(text, optimizer=optimizer, **SCHEDULERS, **chosen(decay))

        return {"rates": rates_of_torch(make)}

    return {
        "topic": "schedules",
        "source": 'Course 2, week 2, "Learning rate decay"; torch.optim.lr_scheduler',
        "draw": draw_decay,
        "ours": course,
        "theirs": lambda decay: {"rates": rates_of_torch(partial(theirs, **chosen(decay)))},
        "typed": as_typed,
        "wrong": {
            name: Refutation(values=of_torch(make), margin=margin, why=why)
            for name, (make, margin, why) in wrong.items()
        },
    }


def stepped_early(optimizer: torch.optim.Optimizer, decay: float) -> Any:
    """Return inverse time decay, stepped before its first rate was used."""
    scheduler = their_schedules.inverse_time(optimizer, decay=decay)
    optimizer.step()
    scheduler.step()
    return scheduler


COUNTED_FROM_0 = "torch counts from 0, the course from 1: alpha_0 itself is in force first"
PIECES = ((6, 0.05), (11, 0.025))


SCHEDULES = (
    Convention(
        name="inverse-time-decay",
        course="alpha = alpha_0 / (1 + decay epoch)",
        torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * (epoch + 1)))",
        **schedule(
            schedules.InverseTime,
            their_schedules.inverse_time,
            {
                "lambda epoch: 1 / (1 + decay * epoch)": (
                    lambda one, decay: lr_scheduler.LambdaLR(one, lambda t: 1 / (1 + decay * t)),
                    0.05,
                    COUNTED_FROM_0,
                ),
                "stepping once too early": (
                    stepped_early,
                    0.05,
                    "scheduler.step() before the first epoch: each rate is the next one's",
                ),
                "MultiplicativeLR": (
                    lambda one, decay: lr_scheduler.MultiplicativeLR(
                        one, lambda t: 1 / (1 + decay * (t + 1))
                    ),
                    0.05,
                    "it decays what has decayed already",
                ),
            },
        ),
    ),
    Convention(
        name="interval-decay",
        course="alpha = alpha_0 / (1 + decay floor(epoch / interval))",
        torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * ((epoch + 1) // interval)))",
        **schedule(
            schedules.IntervalInverseTime,
            their_schedules.interval_inverse_time,
            {
                "without the floor": (
                    lambda one, decay: their_schedules.inverse_time(one, decay=0.5 / 5),
                    0.05,
                    "the rate falls at every epoch, not once an interval",
                ),
                "StepLR": (
                    lambda one, decay: lr_scheduler.StepLR(one, 5, gamma=1 / 1.5),
                    0.05,
                    "it multiplies by one factor each interval, and changes one epoch later",
                ),
            },
            decay=0.5,
            interval=5,
        ),
    ),
    Convention(
        name="exponential-decay",
        course="alpha = alpha_0 rate^epoch, with a rate such as 0.95",
        torch="ExponentialLR(optimizer, gamma=rate); the optimizer's own lr is alpha_0 * rate",
        **schedule(
            schedules.Exponential,
            their_schedules.exponential,
            {
                "ExponentialLR from alpha_0": (
                    lambda one, decay: lr_scheduler.ExponentialLR(one, 0.95),
                    0.01,
                    COUNTED_FROM_0,
                ),
            },
            first=lambda decay: 0.95,
            rate=0.95,
        ),
    ),
    Convention(
        name="natural-exponential-decay",
        course="alpha = alpha_0 e^(-lambda t)",
        torch="ExponentialLR(optimizer, gamma=math.exp(-decay)); decay is lambda, the optimizer's "
        "own lr alpha_0 * e^-lambda",
        **schedule(
            schedules.NaturalExponential,
            their_schedules.natural_exponential,
            {
                "gamma=1 - lambda": (
                    lambda one, decay: their_schedules.exponential(one, rate=1 - decay),
                    0.1,
                    "1 - lambda is e^-lambda only to first order",
                ),
                "gamma=lambda": (
                    lambda one, decay: their_schedules.exponential(one, rate=decay),
                    0.1,
                    "gamma is the factor of a step, lambda its negative logarithm",
                ),
            },
            first=lambda decay: math.exp(-decay),
        ),
    ),
    Convention(
        name="inverse-square-root-decay",
        course="alpha = alpha_0 k / sqrt(epoch), or k / sqrt(t) by mini-batches",
        torch="LambdaLR(optimizer, lambda epoch: k / math.sqrt(epoch + 1))",
        **schedule(
            schedules.InverseSquareRoot,
            their_schedules.inverse_square_root,
            {
                "k / sqrt(epoch + 2)": (
                    lambda one, decay: lr_scheduler.LambdaLR(one, lambda t: 1.5 * (t + 2) ** -0.5),
                    0.05,
                    "one count too many: torch's epoch is 0 when the course's is 1",
                ),
            },
            k=1.5,
        ),
    ),
    Convention(
        name="piecewise-constant",
        course="alpha_0 first, another rate from epoch 6, another from epoch 11",
        torch="MultiStepLR(optimizer, milestones=[5, 10], gamma=0.5); where rates halve, "
        "LambdaLR for any others",
        **schedule(
            schedules.PiecewiseConstant,
            their_schedules.piecewise_constant,
            {
                "milestones=[6, 11]": (
                    lambda one, decay: lr_scheduler.MultiStepLR(one, [6, 11], gamma=0.5),
                    0.1,
                    "milestones count from 0: the staircase comes one epoch late",
                ),
                "gamma=0.05": (
                    lambda one, decay: lr_scheduler.MultiStepLR(one, [5, 10], gamma=0.05),
                    0.1,
                    "gamma is a factor, not a rate",
                ),
            },
            rates=PIECES,
        ),
    ),
)


def draw_year(rng: Rng) -> dict[str, Any]:
    """Draw daily temperatures, (60,)."""
    return {"x": moving_averages.draw_temperatures(rng, 60)}


def averaged(x: Array, **choices: Any) -> Array:
    """Return torch's corrected averages, unless chosen otherwise."""
    choices = {"beta": BETA, "bias_correction": True, **choices}
    return to_numpy("v", their_moving_averages.moving_average(to_torch("x", x), **choices))


def averaged_as_typed(text: str, x: Array) -> Values:
    """Return the averages of a text, one after the other."""
    v, corrected = torch.tensor(0.0, dtype=torch.float64), []
    for t, one in enumerate(to_torch("x", x), start=1):
        corrected.append(evaluate(text, v=v, x=one, beta=BETA, t=t))
        v = corrected[-1] * (1 - BETA**t)
    return {"v": to_numpy("v", torch.stack(corrected))}


def from_the_first_day(x: Array) -> Values:
    """Return the averages of torch.optim.swa_utils, which start from what they meet first."""
    average: Any = get_ema_avg_fn(BETA)  # type: ignore[no-untyped-call]
    v = [torch.tensor(x[0])]
    for x_t in x[1:]:
        v.append(average(v[-1], torch.tensor(x_t), torch.tensor(len(v))))
    return {"v": to_numpy("v", torch.stack(v))}


def refuted_average(values: Callable[[Array], Array], margin: float, why: str) -> Refutation:
    """Return the refutation of another average."""
    return Refutation(values=lambda x: {"v": values(x)}, margin=margin, why=why)


AVERAGES = (
    Convention(
        name="moving-average",
        topic="moving averages",
        course="v = beta v + (1 - beta) x from v = 0, then v / (1 - beta^t)",
        torch="torch.lerp(v, x, 1 - beta) / (1 - beta**t); v begins at 0 and stays uncorrected",
        typed=averaged_as_typed,
        source='Course 2, week 2, "Bias correction in exponentially weighted averages"; torch.lerp',
        draw=draw_year,
        ours=lambda x: {"v": moving_averages.moving_average(x, BETA, True)},
        theirs=lambda x: {"v": averaged(x)},
        wrong={
            "torch.optim.swa_utils": Refutation(
                values=from_the_first_day,
                margin=0.1,
                why="get_ema_avg_fn starts at the first value, and needs no correction",
            ),
            "without correction": refuted_average(
                partial(averaged, bias_correction=False),
                0.1,
                "v begins at 0 and climbs for 1 / (1 - beta) days",
            ),
            "beta for 1 - beta": refuted_average(
                partial(averaged, beta=1 - BETA),
                0.1,
                "lerp's weight is that of the new value",
            ),
            "corrected by t + 1": refuted_average(
                lambda x: (
                    averaged(x, bias_correction=False) / (1 - BETA ** np.arange(2, len(x) + 2))
                ),
                0.1,
                "t counts the values seen, from 1",
            ),
        },
    ),
    Convention(
        name="averaging-window",
        topic="moving averages",
        course="v averages over about 1 / (1 - beta) days",
        torch="1 / (1 - beta); beta is one of torch.optim.Adam's betas, or 1 - lerp's weight",
        source='Course 2, week 2, "Understanding exponentially weighted averages"',
        draw=lambda rng: {"beta": float(rng.uniform(0.8, 0.99))},
        ours=lambda beta: {"days": np.float64(moving_averages.effective_window(beta))},
        theirs=lambda beta: {"days": np.float64(their_moving_averages.effective_window(beta))},
        typed=lambda text, beta: {"days": np.float64(evaluate(text, beta=beta))},
        wrong={
            "1 - beta": Refutation(
                values=lambda beta: {"days": np.float64(1 - beta)},
                margin=0.5,
                why="the reciprocal is missing: 0.9 averages over 10 days, not over a tenth",
            ),
            "pandas' span": Refutation(
                values=lambda beta: {"days": np.float64(2 / (1 - beta) - 1)},
                margin=0.5,
                why="a span s of pandas.ewm is beta = 1 - 2 / (s + 1), nearly twice the window",
            ),
        },
    ),
)

SCHEDULE_DIALECTS = (*SCHEDULES, *AVERAGES)
