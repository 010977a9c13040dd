"""Learning rate schedules: the rate of every count, beside a scheduler of torch's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, MultiStepLR

from parity_tests.drawing import powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation, Settings, evaluate
from parity_tests.twins._relations import spoilt, taking
from scratch import schedules as ours
from torch_ref import optimizers as their_optimizers
from torch_ref import schedules as theirs

TAUGHT = 'Course 2, week 2, "Learning rate decay"; torch.optim.lr_scheduler.'
COUNTED_FROM_0 = "torch counts from 0, the course from 1: alpha_0 itself is in force first"

#: the schedulers that the texts name.
SCHEDULERS = {one.__name__: one for one in (LambdaLR, ExponentialLR, MultiStepLR)}

#: questions to a schedule: the rates of so many counts from the first on. Its optimizer is of
#: a rule, and may have followed another schedule before.
ASKED: Case = {
    **{"learning_rate": 0.1, "first": 1, "counts": 20},
    **{"rule": "gradient_descent", "followed": False},
}

ALPHAS, DECAYS, COUNTS = powers(-6, 1), st.just(0.0) | powers(-6, 3), st.integers(1, 20)
CASES: Mapping[str, st.SearchStrategy[Any]] = {
    "learning_rate": ALPHAS,
    "counts": COUNTS,
    "rule": st.sampled_from(["gradient_descent", "momentum"]),
    "followed": st.booleans(),
}
EDGES: Mapping[str, Settings] = {
    "two hundred counts": {"counts": 200},
    "after another schedule": {"followed": True, "rule": "momentum"},
}
LATE: Mapping[str, Settings] = {
    "counts beyond 16 bits": {"first": 2**15 - 2, "counts": 5},
    "counts beyond 32 bits": {"first": 2**31 - 2, "counts": 5},
    "counts beyond 64 bits": {"first": 2**64 - 2, "counts": 5},
}


def rates(
    make: Any, learning_rate: float, first: int, counts: int, rule: str, followed: bool, **own: Any
) -> Values:
    begun = {"learning_rate": learning_rate} if make is not ours.Manual else {}
    schedule = make(**begun, **own)
    return {"rates": np.array([schedule(t) for t in range(first, first + counts)])}


def descent(rule: str = "gradient_descent", learning_rate: float = 0.1) -> torch.optim.Optimizer:
    tensor = torch.ones(1, dtype=torch.float64, requires_grad=True)
    return their_optimizers.OPTIMIZERS[rule]([tensor], learning_rate=learning_rate)


def rates_of_torch(
    make: Any, learning_rate: float, first: int, counts: int, rule: str, followed: bool, **own: Any
) -> Values:
    """Return the rates in force at each step, the scheduler stepped after it."""
    optimizer = descent(rule, learning_rate)
    if followed:
        step(theirs.exponential(optimizer, rate=0.5))
    scheduler, reached = make(optimizer, **own), []
    (group,) = optimizer.param_groups
    for t in range(first, first + counts):
        if first > 1:
            leap(scheduler, t)
        elif t > 1:
            step(scheduler)
        reached.append(group["lr"] / group.get("velocity_factor", 1.0))
    return {"rates": np.array(reached)}


def step(scheduler: LRScheduler) -> None:
    scheduler.optimizer.step()
    scheduler.step()


def leap(scheduler: LRScheduler, t: int) -> None:
    """Go to a count at once; torch's are from 0, but for its rate^t, which is alpha_0 there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather see this form no more
        scheduler.step(t if isinstance(scheduler, ExponentialLR) else t - 1)


def stepped_early(optimizer: torch.optim.Optimizer, decay: float) -> LRScheduler:
    """Return inverse time decay, stepped before its first rate was used."""
    scheduler = theirs.inverse_time(optimizer, decay=decay)
    step(scheduler)
    return scheduler


def grown(learning_rate: float, first: int, counts: int, **own: Any) -> Values:
    """Return the gauge of an exponential: each product of t rounds, and so does decay t."""
    t = np.arange(first, first + counts)
    decay = own["decay"] if "decay" in own else -math.log(own["rate"])
    rate = np.maximum(learning_rate * np.exp(-decay * t.astype(float)), 1e-300)
    return {"rates": rate * (1 + t * (1 + decay))}


def as_typed(
    text: str, learning_rate: float, begin: Callable[..., float] = lambda **_: 1.0, **case: Any
) -> Values:
    """Return the rates that a text makes of an optimizer that begins at a multiple of alpha_0."""

    def make(optimizer: torch.optim.Optimizer, **own: Any) -> Any:
        return evaluate(text, optimizer=optimizer, **SCHEDULERS, **own)

    return rates_of_torch(make, learning_rate * begin(**case), **case)


def same_rates(name: str, other: str, quantity: str, into: Case, as_: Case) -> Any:
    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        asked = {key: case[key] for key in ASKED}
        first, second = run(name, **asked, **into), run(other, **asked, **as_)
        return {quantity: first["rates"]}, {quantity: second["rates"]}

    return holds


def never_rises(name: str, run: Any, **case: Any) -> None:
    found = run(name, **case)["rates"]
    if not ((found > 0).all() and (np.diff(found) <= 0).all()):
        raise AssertionError(f"the rates rise: {found}")


def schedule(
    name: str,
    formula: str,
    scheduler: str,
    make: Any,
    of_torch: Callable[..., LRScheduler],
    choices: Case,
    cases: Mapping[str, st.SearchStrategy[Any]],
    edges: Mapping[str, Settings],
    relations: tuple[Relation, ...] = (),
    wrong: tuple[tuple[str, float, str, Callable[..., Any]], ...] = (),
    decays: bool = True,
    gauges: Any = None,
    torch: str = "",
    typed: Any = as_typed,
) -> FunctionTwin:
    """Return the row of a schedule; `choices` are its example's, a mistake makes a scheduler."""
    falls = Relation(
        name="it never rises",
        holds=partial(never_rises, name),
        broken_by=spoilt("rates", lambda rates: rates[::-1]),
    )
    # fmt: off
    return FunctionTwin(
        name=name, formula=formula, source=TAUGHT + scheduler, proves=(make.__name__,),
        ours=partial(rates, make), theirs=partial(rates_of_torch, of_torch), bridge=None,
        torch=torch, typed=typed, weight=0.5, wide=False,  # a rate is a Python float
        draw=lambda rng, **settings: {**ASKED, **choices, **settings},
        cases={**CASES, **cases}, edges={**EDGES, **edges},
        gauges=gauges or partial(rates, make),  # each on its own scale
        relations=(falls, *relations) if decays else relations,
        mistakes=tuple(
            Mistake(name=name, margin=margin, why=why, values=partial(rates_of_torch, made))
            for name, margin, why, made in wrong),
    )
    # fmt: on


# fmt: off
TWINS = (
    schedule(
        "constant-rate", "alpha = alpha_0", "ConstantLR", ours.Constant, theirs.constant,
        {}, {}, LATE, decays=False),
    schedule(
        "inverse-time-decay", "alpha = alpha_0 / (1 + decay epoch)", "LambdaLR",
        ours.InverseTime, theirs.inverse_time, {"decay": 0.3}, {"decay": DECAYS},
        {**LATE, "no decay": {"decay": 0.0}, "slow": {"decay": 1e-3}},
        torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * (epoch + 1)))",
        wrong=(
            ("lambda epoch: 1 / (1 + decay * epoch)", 0.05, COUNTED_FROM_0,
             lambda one, decay: LambdaLR(one, lambda t: 1 / (1 + decay * t))),
            ("stepping once too early", 0.05,
             "scheduler.step() before the first epoch: each rate is the next one's",
             stepped_early),
            ("MultiplicativeLR", 0.05, "it decays what has decayed already",
             lambda one, decay: lr_scheduler.MultiplicativeLR(
                one, lambda t: 1 / (1 + decay * (t + 1)))),
        )),
    schedule(
        "interval-decay", "alpha = alpha_0 / (1 + decay floor(epoch / interval))", "LambdaLR",
        ours.IntervalInverseTime, theirs.interval_inverse_time,
        {"decay": 0.5, "interval": 5}, {"decay": DECAYS, "interval": COUNTS},
        {
            **LATE, "at each count": {"interval": 1}, "beyond the end": {"interval": 1000},
            "an interval beyond 32 bits": {"interval": 2**31, "first": 2**33 - 2, "counts": 5}},
        torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * ((epoch + 1) // interval)))",
        relations=(
            Relation(name="an interval of one is inverse time decay",
                holds=same_rates("interval-decay", "inverse-time-decay", "an interval of one",
                    {"decay": 0.3, "interval": 1}, {"decay": 0.3}),
                broken_by=taking(interval=2)),
        ),
        wrong=(
            ("without the floor", 0.05, "the rate falls at every epoch, not once an interval",
             lambda one, decay, interval: theirs.inverse_time(one, decay=decay / interval)),
            ("StepLR", 0.05,
             "it multiplies by one factor each interval, and changes one epoch later",
             lambda one, decay, interval: lr_scheduler.StepLR(
                one, interval, gamma=1 / (1 + decay))),
        )),
    schedule(
        "exponential-decay", "alpha = alpha_0 rate^epoch, with a rate such as 0.95",
        "ExponentialLR", ours.Exponential, theirs.exponential,
        {"rate": 0.95}, {"rate": st.just(1.0) | powers(-3, 0)},
        {
            "no decay": {"rate": 1.0},
            "counts beyond 16 bits": {**LATE["counts beyond 16 bits"], "rate": 1 - 1e-5},
            "counts beyond 32 bits": {**LATE["counts beyond 32 bits"], "rate": 1 - 1e-10}},
        gauges=grown,
        torch="ExponentialLR(optimizer, gamma=rate); the optimizer's own lr is alpha_0 * rate",
        typed=partial(as_typed, begin=lambda rate, **_: rate),
        wrong=(
            ("ExponentialLR from alpha_0", 0.01, COUNTED_FROM_0,
             lambda one, rate: ExponentialLR(one, rate)),
        )),
    schedule(
        "natural-exponential-decay", "alpha = alpha_0 e^(-lambda t)", "ExponentialLR",
        ours.NaturalExponential, theirs.natural_exponential, {"decay": 0.4},
        {"decay": st.just(0.0) | powers(-6, 2.8)},  # up to where e^-lambda is about to underflow
        {
            "steep": {"decay": 2.0},
            "counts beyond 16 bits": {**LATE["counts beyond 16 bits"], "decay": 1e-5},
            "counts beyond 32 bits": {**LATE["counts beyond 32 bits"], "decay": 1e-10}},
        gauges=grown,
        torch="ExponentialLR(optimizer, gamma=math.exp(-decay)); decay is lambda, the optimizer's "
            "own lr alpha_0 * e^-lambda",
        typed=partial(as_typed, begin=lambda decay, **_: math.exp(-decay)),
        relations=(
            Relation(name="powers of e are powers of e^-lambda",
                holds=same_rates("natural-exponential-decay", "exponential-decay",
                    "powers of e and of e^-0.1", {"decay": 0.1}, {"rate": math.exp(-0.1)}),
                broken_by=taking(decay=0.11)),
        ),
        wrong=(
            ("gamma=1 - lambda", 0.1, "1 - lambda is e^-lambda only to first order",
             lambda one, decay: theirs.exponential(one, rate=1 - decay)),
            ("gamma=lambda", 0.1,
             "gamma is the factor of a step, lambda its negative logarithm",
             lambda one, decay: theirs.exponential(one, rate=decay)))),
    schedule(
        "inverse-square-root-decay",
        "alpha = alpha_0 k / sqrt(epoch), or k / sqrt(t) by mini-batches", "LambdaLR",
        ours.InverseSquareRoot, theirs.inverse_square_root, {"k": 1.5}, {"k": powers(-3, 3)}, LATE,
        torch="LambdaLR(optimizer, lambda epoch: k / math.sqrt(epoch + 1))",
        wrong=(
            ("k / sqrt(epoch + 2)", 0.05,
             "one count too many: torch's epoch is 0 when the course's is 1",
             lambda one, k: LambdaLR(one, lambda t: k * (t + 2) ** -0.5)),
        )),
    schedule(
        "piecewise-constant", "alpha_0 first, another rate from epoch 6, another from epoch 11",
        "LambdaLR", ours.PiecewiseConstant, theirs.piecewise_constant,
        {"rates": ((6, 0.05), (11, 0.025))},
        {"rates": st.dictionaries(COUNTS, ALPHAS, min_size=1, max_size=4).map(
            lambda steps: tuple(sorted(steps.items())))},
        {
            **LATE, "from the first count": {"rates": ((1, 0.7), (2, 0.2))},
            "up and down": {"rates": ((10, 0.01), (11, 0.3), (15, 2e-4))},
            "a step beyond 32 bits": {
                **LATE["counts beyond 32 bits"],
                "rates": ((2, 0.05), (2**31, 0.01), (2**31 + 1, 0.002))}},
        decays=False,
        torch="MultiStepLR(optimizer, milestones=[5, 10], gamma=0.5); where rates halve, "
            "LambdaLR for any others",
        relations=(
            Relation(name="it can be written down by hand",
                holds=same_rates("piecewise-constant", "manual", "a staircase by hand",
                    {"rates": ((3, 0.2),)}, {"rates": (0.1, 0.1, *[0.2] * 18)}),
                broken_by=taking(rates=((4, 0.2),))),
        ),
        wrong=(
            ("milestones=[6, 11]", 0.1,
             "milestones count from 0: the staircase comes one epoch late",
             lambda one, rates: MultiStepLR(one, [6, 11], gamma=0.5)),
            ("gamma=0.05", 0.1, "gamma is a factor, not a rate",
             lambda one, rates: MultiStepLR(one, [5, 10], gamma=0.05)))),
    schedule(
        "manual", "alpha = rates[t - 1]", "LambdaLR", ours.Manual, theirs.manual,
        {"rates": tuple(0.1 + 0.05 * math.cos(t) for t in range(200))},
        {"rates": st.lists(ALPHAS, min_size=20, max_size=20).map(tuple)},
        {"to the last rate": {"counts": 200, "rule": "momentum"}}, decays=False,
        wrong=(
            ("from the second rate on", 0.01, "rates[t] counts from 0",
             lambda one, rates: theirs.manual(one, rates=(*rates[1:], 1.0))),
        )),
)
# fmt: on
