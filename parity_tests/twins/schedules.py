"""Learning rate schedules: the rate of every count, beside a scheduler of torch's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from parity_tests.drawing import powers
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Relation, Settings, evaluate
from parity_tests.twins._relations import mistyped, taking
from scratch import schedules as ours
from torch_ref import optimizers as their_optimizers
from torch_ref import schedules as theirs

COUNTED_FROM_0 = "torch counts from 0, the course from 1: alpha_0 itself is in force first"

# fmt: off
#: questions to a schedule: the rates of so many counts from the first on. Its optimizer is of
#: a rule, and may have followed another schedule before.
ASKED: Case = {
    "learning_rate": 0.1, "first": 1, "counts": 20, "rule": "gradient_descent", "followed": False}

ALPHAS, DECAYS, COUNTS = powers(-6, 1), st.just(0.0) | powers(-6, 3), st.integers(1, 20)
CASES: Settings = {
    "learning_rate": ALPHAS, "counts": COUNTS, "followed": st.booleans(),
    "rule": st.sampled_from(["gradient_descent", "momentum"])}
EDGES: Mapping[str, Settings] = {
    "two hundred counts": {"counts": 200},
    "after another schedule": {"followed": True, "rule": "momentum"}}
LATE: Mapping[str, Settings] = {
    f"counts beyond {bits} bits": {"first": 2**sign - 2, "counts": 5}
    for bits, sign in ((16, 15), (32, 31), (64, 64))}


def rates(make: Any, learning_rate: float, first: int, counts: int, rule: str, followed: bool,
    **own: Any) -> Values:
    begun = {"learning_rate": learning_rate} if make is not ours.Manual else {}
    schedule = make(**begun, **own)
    return {"rates": np.array([schedule(t) for t in range(first, first + counts)])}


def rates_of_torch(make: Any, learning_rate: float, first: int, counts: int, rule: str,
    followed: bool, **own: Any) -> Values:
    """Return the rates in force at each step, the scheduler stepped after it."""
    tensor = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = their_optimizers.OPTIMIZERS[rule]([tensor], learning_rate=learning_rate)
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


def step(scheduler: lr_scheduler.LRScheduler) -> Any:
    scheduler.optimizer.step()
    scheduler.step()
    return scheduler


def leap(scheduler: lr_scheduler.LRScheduler, t: int) -> None:
    """Go to a count at once; torch's are from 0, but for its rate^t, which is alpha_0 there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather see this form no more
        scheduler.step(t if isinstance(scheduler, lr_scheduler.ExponentialLR) else t - 1)


def grown(learning_rate: float, first: int, counts: int, **own: Any) -> Values:
    """Return the gauge of an exponential: each product of t rounds, and so does decay t."""
    t = np.arange(first, first + counts)
    decay = own["decay"] if "decay" in own else -math.log(own["rate"])
    rate = np.maximum(learning_rate * np.exp(-decay * t.astype(float)), 1e-300)
    return {"rates": rate * (1 + t * (1 + decay))}


def as_typed(text: str, learning_rate: float, begin: Any = lambda **_: 1.0, **case: Any) -> Values:
    """Return the rates that a text makes of an optimizer that begins at a multiple of alpha_0."""

    def make(optimizer: torch.optim.Optimizer, **own: Any) -> Any:
        return evaluate(text, optimizer=optimizer, step=step, **vars(lr_scheduler), **own)

    return rates_of_torch(make, learning_rate * begin(**case), **case)


def same_rates(title: str, quantity: str, name: str, into: Case, other: str, as_: Case,
    **broken: Any) -> Relation:
    """Return the relation of two rows that are asked with choices of their own."""

    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        asked = {key: case[key] for key in ASKED}
        first, second = run(name, **asked, **into), run(other, **asked, **as_)
        return {quantity: first["rates"]}, {quantity: second["rates"]}

    return Relation(name=title, holds=holds, broken_by=taking(**broken))


def schedule(name: str, formula: str, scheduler: str, make: Any, of_torch: Any, choices: Case,
    cases: Settings, edges: Mapping[str, Settings], relations: tuple[Relation, ...] = (),
    wrong: tuple[Any, ...] = (), **rest: Any) -> FunctionTwin:
    """Return the row of a schedule; `choices` are its example's, mistakes are typed."""
    return FunctionTwin(
        name=name, formula=formula, proves=(make.__name__,),
        source=f'Course 2, week 2, "Learning rate decay"; torch.optim.lr_scheduler.{scheduler}',
        ours=partial(rates, make), theirs=partial(rates_of_torch, of_torch), bridge=None,
        weight=0.5, wide=False,  # a rate is a Python float
        draw=lambda rng, **settings: {**ASKED, **choices, **settings},
        cases={**CASES, **cases}, edges={**EDGES, **edges},
        relations=relations, mistakes=mistyped(as_typed, *wrong),
        **{"gauges": partial(rates, make), "typed": as_typed, **rest})  # each on its own scale


TWINS = (
    schedule(
        "constant-rate", "alpha = alpha_0", "ConstantLR", ours.Constant, theirs.constant,
        {}, {}, LATE),
    schedule(
        "inverse-time-decay", "alpha = alpha_0 / (1 + decay epoch)", "LambdaLR",
        ours.InverseTime, theirs.inverse_time, {"decay": 0.3}, {"decay": DECAYS},
        {**LATE, "no decay": {"decay": 0.0}, "slow": {"decay": 1e-3}},
        torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * (epoch + 1)))",
        wrong=(
            ("lambda epoch: 1 / (1 + decay * epoch)", 0.05, COUNTED_FROM_0,
             "LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * epoch))"),
            ("stepping once too early", 0.05,
             "scheduler.step() before the first epoch: each rate is the next one's",
             "step(torch_ref.schedules.inverse_time(optimizer, decay=decay))"),
            ("MultiplicativeLR", 0.05, "it decays what has decayed already",
             "MultiplicativeLR(optimizer, lambda epoch: 1 / (1 + decay * (epoch + 1)))"))),
    schedule(
        "interval-decay", "alpha = alpha_0 / (1 + decay floor(epoch / interval))", "LambdaLR",
        ours.IntervalInverseTime, theirs.interval_inverse_time,
        {"decay": 0.5, "interval": 5}, {"decay": DECAYS, "interval": COUNTS},
        {
            **LATE, "at each count": {"interval": 1}, "beyond the end": {"interval": 1000},
            "an interval beyond 32 bits": {"interval": 2**31, "first": 2**33 - 2, "counts": 5}},
        torch="LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * ((epoch + 1) // interval)))",
        relations=(same_rates("an interval of one is inverse time decay", "an interval of one",
            "interval-decay", {"decay": 0.3, "interval": 1},
            "inverse-time-decay", {"decay": 0.3}, interval=2),),
        wrong=(
            ("without the floor", 0.05, "the rate falls at every epoch, not once an interval",
             "LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * (epoch + 1) / interval))"),
            ("StepLR", 0.05,
             "it multiplies by one factor each interval, and changes one epoch later",
             "StepLR(optimizer, interval, gamma=1 / (1 + decay))"))),
    schedule(
        "exponential-decay", "alpha = alpha_0 rate^epoch, with a rate such as 0.95",
        "ExponentialLR", ours.Exponential, theirs.exponential,
        {"rate": 0.95}, {"rate": st.just(1.0) | powers(-3, 0)},
        {
            "no decay": {"rate": 1.0},
            "counts beyond 16 bits": {**LATE["counts beyond 16 bits"], "rate": 1 - 1e-5},
            "counts beyond 32 bits": {**LATE["counts beyond 32 bits"], "rate": 1 - 1e-10}},
        torch="ExponentialLR(optimizer, gamma=rate); the optimizer's own lr is alpha_0 * rate",
        gauges=grown, typed=partial(as_typed, begin=lambda rate, **_: rate),
        wrong=(("ExponentialLR from alpha_0", 0.01, COUNTED_FROM_0,
                "ExponentialLR(optimizer, gamma=rate)"),)),
    schedule(
        "natural-exponential-decay", "alpha = alpha_0 e^(-lambda t)", "ExponentialLR",
        ours.NaturalExponential, theirs.natural_exponential, {"decay": 0.4},
        {"decay": st.just(0.0) | powers(-6, 2.8)},  # up to where e^-lambda is about to underflow
        {
            "steep": {"decay": 2.0},
            "counts beyond 16 bits": {**LATE["counts beyond 16 bits"], "decay": 1e-5},
            "counts beyond 32 bits": {**LATE["counts beyond 32 bits"], "decay": 1e-10}},
        torch="ExponentialLR(optimizer, gamma=math.exp(-decay)); decay is lambda, the optimizer's "
            "own lr alpha_0 * e^-lambda",
        gauges=grown, typed=partial(as_typed, begin=lambda decay, **_: math.exp(-decay)),
        relations=(same_rates("powers of e are powers of e^-lambda", "powers of e and of e^-0.1",
            "natural-exponential-decay", {"decay": 0.1},
            "exponential-decay", {"rate": math.exp(-0.1)}, decay=0.11),),
        wrong=(
            ("gamma=1 - lambda", 0.1, "1 - lambda is e^-lambda only to first order",
             "torch_ref.schedules.exponential(optimizer, rate=1 - decay)"),
            ("gamma=lambda", 0.1, "gamma is the factor of a step, lambda its negative logarithm",
             "torch_ref.schedules.exponential(optimizer, rate=decay)"))),
    schedule(
        "inverse-square-root-decay",
        "alpha = alpha_0 k / sqrt(epoch), or k / sqrt(t) by mini-batches", "LambdaLR",
        ours.InverseSquareRoot, theirs.inverse_square_root, {"k": 1.5}, {"k": powers(-3, 3)}, LATE,
        torch="LambdaLR(optimizer, lambda epoch: k / math.sqrt(epoch + 1))",
        wrong=(("k / sqrt(epoch + 2)", 0.05,
                "one count too many: torch's epoch is 0 when the course's is 1",
                "LambdaLR(optimizer, lambda epoch: k / math.sqrt(epoch + 2))"),)),
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
        torch="MultiStepLR(optimizer, milestones=[5, 10], gamma=0.5); where rates halve, "
            "LambdaLR for any others",
        relations=(same_rates("it can be written down by hand", "a staircase by hand",
            "piecewise-constant", {"rates": ((3, 0.2),)},
            "manual", {"rates": (0.1, 0.1, *[0.2] * 18)}, rates=((4, 0.2),)),),
        wrong=(
            ("milestones=[6, 11]", 0.1,
             "milestones count from 0: the staircase comes one epoch late",
             "MultiStepLR(optimizer, milestones=[6, 11], gamma=0.5)"),
            ("gamma=0.05", 0.1, "gamma is a factor, not a rate",
             "MultiStepLR(optimizer, milestones=[5, 10], gamma=0.05)"))),
    schedule(
        "manual", "alpha = rates[t - 1]", "LambdaLR", ours.Manual, theirs.manual,
        {"rates": tuple(0.1 + 0.05 * math.cos(t) for t in range(200))},
        {"rates": st.lists(ALPHAS, min_size=20, max_size=20).map(tuple)},
        {"to the last rate": {"counts": 200, "rule": "momentum"}},
        wrong=(("from the second rate on", 0.01, "rates[t] counts from 0",
                "torch_ref.schedules.manual(optimizer, rates=(*rates[1:], 1.0))"),)),
)
# fmt: on
