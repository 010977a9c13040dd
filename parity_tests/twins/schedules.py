"""Learning rate schedules: the rate of every count, beside a scheduler of torch's."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, MultiStepLR

from parity_tests.drawing import powers
from parity_tests.mistakes import Mistake
from parity_tests.rows import Relation
from parity_tests.twins._rates import (
    ALPHAS,
    COUNTED_FROM_0,
    COUNTS,
    DECAYS,
    LATE,
    as_typed,
    as_typed_from,
    by_torch,
    falls,
    grown,
    same_rates,
    schedule,
    step,
)
from scratch import schedules as ours
from torch_ref import schedules as theirs


def stepped_early(optimizer: torch.optim.Optimizer, decay: float) -> LRScheduler:
    """Return inverse time decay, stepped before its first rate was used."""
    scheduler = theirs.inverse_time(optimizer, decay=decay)
    step(scheduler)
    return scheduler


CONSTANT = schedule(
    "constant-rate",
    "alpha = alpha_0",
    "ConstantLR",
    ours.Constant,
    theirs.constant,
    cases={},
    choices={},
    edges=LATE,
)

INVERSE_TIME = schedule(
    "inverse-time-decay",
    "alpha = alpha_0 / (1 + decay epoch)",
    "LambdaLR",
    ours.InverseTime,
    theirs.inverse_time,
    cases={"decay": DECAYS},
    choices={"decay": 0.3},
    edges={**LATE, "no decay": {"decay": 0.0}, "slow": {"decay": 1e-3}},
    torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * (epoch + 1)))",
    typed=as_typed,
    relations=(falls("inverse-time-decay"),),
    mistakes=(
        Mistake(
            name="lambda epoch: 1 / (1 + decay * epoch)",
            why=COUNTED_FROM_0,
            values=by_torch(lambda one, decay: LambdaLR(one, lambda t: 1 / (1 + decay * t))),
            margin=0.05,
        ),
        Mistake(
            name="stepping once too early",
            why="scheduler.step() before the first epoch: each rate is the next one's",
            values=by_torch(stepped_early),
            margin=0.05,
        ),
        Mistake(
            name="MultiplicativeLR",
            why="it decays what has decayed already",
            values=by_torch(
                lambda one, decay: lr_scheduler.MultiplicativeLR(
                    one, lambda t: 1 / (1 + decay * (t + 1))
                )
            ),
            margin=0.05,
        ),
    ),
)

INTERVAL = schedule(
    "interval-decay",
    "alpha = alpha_0 / (1 + decay floor(epoch / interval))",
    "LambdaLR",
    ours.IntervalInverseTime,
    theirs.interval_inverse_time,
    cases={"decay": DECAYS, "interval": COUNTS},
    choices={"decay": 0.5, "interval": 5},
    edges={
        **LATE,
        "at each count": {"interval": 1},
        "beyond the end": {"interval": 1000},
        "an interval beyond 32 bits": {"interval": 2**31, "first": 2**33 - 2, "counts": 5},
    },
    torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * ((epoch + 1) // interval)))",
    typed=as_typed,
    relations=(
        falls("interval-decay"),
        Relation(
            name="an interval of one is inverse time decay",
            holds=same_rates(
                "interval-decay",
                "inverse-time-decay",
                "an interval of one",
                into={"decay": 0.3, "interval": 1},
                as_={"decay": 0.3},
            ),
            broken_by=lambda honest, **case: honest(**{**case, "interval": 2}),
        ),
    ),
    mistakes=(
        Mistake(
            name="without the floor",
            why="the rate falls at every epoch, not once an interval",
            values=by_torch(
                lambda one, decay, interval: theirs.inverse_time(one, decay=decay / interval)
            ),
            margin=0.05,
        ),
        Mistake(
            name="StepLR",
            why="it multiplies by one factor each interval, and changes one epoch later",
            values=by_torch(
                lambda one, decay, interval: lr_scheduler.StepLR(
                    one, interval, gamma=1 / (1 + decay)
                )
            ),
            margin=0.05,
        ),
    ),
)

EXPONENTIAL = schedule(
    "exponential-decay",
    "alpha = alpha_0 rate^epoch, with a rate such as 0.95",
    "ExponentialLR",
    ours.Exponential,
    theirs.exponential,
    cases={"rate": st.just(1.0) | powers(-3, 0)},
    choices={"rate": 0.95},
    edges={
        "no decay": {"rate": 1.0},
        "counts beyond 16 bits": {**LATE["counts beyond 16 bits"], "rate": 1 - 1e-5},
        "counts beyond 32 bits": {**LATE["counts beyond 32 bits"], "rate": 1 - 1e-10},
    },
    gauges=grown,
    torch="ExponentialLR(optimizer, gamma=rate); the optimizer's own lr is alpha_0 * rate",
    typed=as_typed_from(lambda rate, **_: rate),
    relations=(falls("exponential-decay"),),
    mistakes=(
        Mistake(
            name="ExponentialLR from alpha_0",
            why=COUNTED_FROM_0,
            values=by_torch(lambda one, rate: ExponentialLR(one, rate)),
            margin=0.01,
        ),
    ),
)

NATURAL = schedule(
    "natural-exponential-decay",
    "alpha = alpha_0 e^(-lambda t)",
    "ExponentialLR",
    ours.NaturalExponential,
    theirs.natural_exponential,
    # up to where e^-lambda is about to underflow
    cases={"decay": st.just(0.0) | powers(-6, 2.8)},
    choices={"decay": 0.4},
    edges={
        "steep": {"decay": 2.0},
        "counts beyond 16 bits": {**LATE["counts beyond 16 bits"], "decay": 1e-5},
        "counts beyond 32 bits": {**LATE["counts beyond 32 bits"], "decay": 1e-10},
    },
    gauges=grown,
    torch="ExponentialLR(optimizer, gamma=math.exp(-decay)); decay is lambda, the optimizer's "
    "own lr alpha_0 * e^-lambda",
    typed=as_typed_from(lambda decay, **_: math.exp(-decay)),
    relations=(
        falls("natural-exponential-decay"),
        Relation(
            name="powers of e are powers of e^-lambda",
            holds=same_rates(
                "natural-exponential-decay",
                "exponential-decay",
                "powers of e and of e^-0.1",
                into={"decay": 0.1},
                as_={"rate": math.exp(-0.1)},
            ),
            broken_by=lambda honest, **case: honest(**{**case, "decay": 0.11}),
        ),
    ),
    mistakes=(
        Mistake(
            name="gamma=1 - lambda",
            why="1 - lambda is e^-lambda only to first order",
            values=by_torch(lambda one, decay: theirs.exponential(one, rate=1 - decay)),
            margin=0.1,
        ),
        Mistake(
            name="gamma=lambda",
            why="gamma is the factor of a step, lambda its negative logarithm",
            values=by_torch(lambda one, decay: theirs.exponential(one, rate=decay)),
            margin=0.1,
        ),
    ),
)

ROOT = schedule(
    "inverse-square-root-decay",
    "alpha = alpha_0 k / sqrt(epoch), or k / sqrt(t) by mini-batches",
    "LambdaLR",
    ours.InverseSquareRoot,
    theirs.inverse_square_root,
    cases={"k": powers(-3, 3)},
    choices={"k": 1.5},
    edges=LATE,
    torch="LambdaLR(optimizer, lambda epoch: k / math.sqrt(epoch + 1))",
    typed=as_typed,
    relations=(falls("inverse-square-root-decay"),),
    mistakes=(
        Mistake(
            name="k / sqrt(epoch + 2)",
            why="one count too many: torch's epoch is 0 when the course's is 1",
            values=by_torch(lambda one, k: LambdaLR(one, lambda t: k * (t + 2) ** -0.5)),
            margin=0.05,
        ),
    ),
)

STAIRCASE = schedule(
    "piecewise-constant",
    "alpha_0 first, another rate from epoch 6, another from epoch 11",
    "LambdaLR",
    ours.PiecewiseConstant,
    theirs.piecewise_constant,
    cases={
        "rates": st.dictionaries(COUNTS, ALPHAS, min_size=1, max_size=4).map(
            lambda steps: tuple(sorted(steps.items()))
        )
    },
    choices={"rates": ((6, 0.05), (11, 0.025))},
    edges={
        **LATE,
        "from the first count": {"rates": ((1, 0.7), (2, 0.2))},
        "up and down": {"rates": ((10, 0.01), (11, 0.3), (15, 2e-4))},
        "a step beyond 32 bits": {
            **LATE["counts beyond 32 bits"],
            "rates": ((2, 0.05), (2**31, 0.01), (2**31 + 1, 0.002)),
        },
    },
    torch="MultiStepLR(optimizer, milestones=[5, 10], gamma=0.5); where rates halve, "
    "LambdaLR for any others",
    typed=lambda text, rates, **case: as_typed(text, **case),
    relations=(
        Relation(
            name="it can be written down by hand",
            holds=same_rates(
                "piecewise-constant",
                "manual",
                "a staircase by hand",
                into={"rates": ((3, 0.2),)},
                as_={"rates": (0.1, 0.1, *[0.2] * 18)},
            ),
            broken_by=lambda honest, **case: honest(**{**case, "rates": ((4, 0.2),)}),
        ),
    ),
    mistakes=(
        Mistake(
            name="milestones=[6, 11]",
            why="milestones count from 0: the staircase comes one epoch late",
            values=by_torch(lambda one, rates: MultiStepLR(one, [6, 11], gamma=0.5)),
            margin=0.1,
        ),
        Mistake(
            name="gamma=0.05",
            why="gamma is a factor, not a rate",
            values=by_torch(lambda one, rates: MultiStepLR(one, [5, 10], gamma=0.05)),
            margin=0.1,
        ),
    ),
)

MANUAL = schedule(
    "manual",
    "alpha = rates[t - 1]",
    "LambdaLR",
    ours.Manual,
    theirs.manual,
    cases={"rates": st.lists(ALPHAS, min_size=20, max_size=20).map(tuple)},
    choices={"rates": tuple(0.1 + 0.05 * math.cos(t) for t in range(200))},
    edges={"to the last rate": {"counts": 200, "rule": "momentum"}},
    mistakes=(
        Mistake(
            name="from the second rate on",
            why="rates[t] counts from 0",
            values=by_torch(lambda one, rates: theirs.manual(one, rates=(*rates[1:], 1.0))),
            margin=0.01,
        ),
    ),
)

TWINS = (CONSTANT, INVERSE_TIME, INTERVAL, EXPONENTIAL, NATURAL, ROOT, STAIRCASE, MANUAL)
