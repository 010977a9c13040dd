"""Rates of schedules on both sides: asked for, typed, related, and the row of one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, MultiStepLR

from parity_tests.drawing import powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation, Settings, evaluate
from scratch import schedules as ours
from torch_ref import optimizers as their_optimizers
from torch_ref import schedules as theirs

#: the schedulers that the texts name.
SCHEDULERS = {one.__name__: one for one in (LambdaLR, ExponentialLR, MultiStepLR)}


def draw_counts(
    rng: np.random.Generator,
    learning_rate: float = 0.1,
    first: int = 1,
    counts: int = 20,
    rule: str = "gradient_descent",
    followed: bool = False,
    **choices: Any,
) -> Case:
    """Draw nothing: a schedule is asked for the rates of `counts` counts from the first on.

    Its optimizer is of a rule, and may have followed another schedule before.
    """
    asked = {"first": first, "counts": counts, "rule": rule, "followed": followed}
    return {"learning_rate": learning_rate, **asked, **choices}


def rates(
    make: Callable[..., ours.Schedule],
    learning_rate: float,
    first: int,
    counts: int,
    rule: str,
    followed: bool,
    **choices: Any,
) -> Values:
    """Return the rates of a schedule of ours."""
    begun = {"learning_rate": learning_rate} if make is not ours.Manual else {}
    schedule = make(**begun, **choices)
    return {"rates": np.array([schedule(t) for t in range(first, first + counts)])}


def descent(rule: str = "gradient_descent", learning_rate: float = 0.1) -> torch.optim.Optimizer:
    """Return an optimizer of torch's that holds one parameter."""
    tensor = torch.ones(1, dtype=torch.float64, requires_grad=True)
    return their_optimizers.OPTIMIZERS[rule]([tensor], learning_rate=learning_rate)


def rates_of_torch(
    make: Callable[..., LRScheduler],
    learning_rate: float,
    first: int,
    counts: int,
    rule: str,
    followed: bool,
    **choices: Any,
) -> Values:
    """Return the rates in force at each step, the scheduler stepped after it."""
    optimizer = descent(rule, learning_rate)
    if followed:
        step(theirs.exponential(optimizer, rate=0.5))
    scheduler, reached = make(optimizer, **choices), []
    (group,) = optimizer.param_groups
    for t in range(first, first + counts):
        if first > 1:
            leap(scheduler, t)
        elif t > 1:
            step(scheduler)
        reached.append(group["lr"] / group.get("velocity_factor", 1.0))
    return {"rates": np.array(reached)}


def step(scheduler: LRScheduler) -> None:
    """Take a step of the optimizer, and go to the next count."""
    scheduler.optimizer.step()
    scheduler.step()


def leap(scheduler: LRScheduler, t: int) -> None:
    """Go to a count at once, by a form that torch would rather see no more.

    It counts from 0, but for ExponentialLR, whose rate at 0 is alpha_0 itself there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step(t if isinstance(scheduler, ExponentialLR) else t - 1)


def grown(learning_rate: float, first: int, counts: int, **choices: Any) -> Values:
    """Return the gauge of an exponential: each product of t rounds, and so does decay t."""
    t = np.arange(first, first + counts)
    decay = choices["decay"] if "decay" in choices else -math.log(choices["rate"])
    rate = np.maximum(learning_rate * np.exp(-decay * t.astype(float)), 1e-300)
    return {"rates": rate * (1 + t * (1 + decay))}


def each_alone(make: Callable[..., ours.Schedule], **case: Any) -> Values:
    """Return the rates themselves: each on its own scale."""
    return rates(make, **case)


def by_torch(make: Callable[..., Any]) -> Callable[..., Values]:
    """Return what the scheduler gives that is made of an optimizer and choices in other ways."""
    return partial(rates_of_torch, make)


def as_typed(text: str, **case: Any) -> Values:
    """Return the rates of the scheduler that a text makes."""

    def make(optimizer: torch.optim.Optimizer, **choices: Any) -> Any:
        return evaluate(text, optimizer=optimizer, **SCHEDULERS, **choices)

    return rates_of_torch(make, **case)


def as_typed_from(first: Callable[..., float]) -> Callable[..., Values]:
    """Return the same where the optimizer's own rate is alpha_0 times the first factor."""

    def typed(text: str, learning_rate: float, **case: Any) -> Values:
        return as_typed(text, learning_rate=learning_rate * first(**case), **case)

    return typed


def same_rates(name: str, other: str, quantity: str, *, into: Case, as_: Case) -> Any:
    """Return a relation: two schedules of these choices have the same rates."""

    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        asked = {key: case[key] for key in ("learning_rate", "first", "counts", "rule", "followed")}
        first, second = run(name, **asked, **into), run(other, **asked, **as_)
        return {quantity: first["rates"]}, {quantity: second["rates"]}

    return holds


def never_rises(name: str, run: Any, **case: Any) -> None:
    """Raise unless rates are positive, and fall or stay."""
    found = run(name, **case)["rates"]
    if not ((found > 0).all() and (np.diff(found) <= 0).all()):
        raise AssertionError(f"the rates rise: {found}")


def falls(name: str) -> Relation:
    """Return the relation of every decay."""
    return Relation(
        name="it never rises",
        holds=partial(never_rises, name),
        broken_by=lambda honest, **case: {"rates": honest(**case)["rates"][::-1]},
    )


ALPHAS, DECAYS, COUNTS = powers(-6, 1), st.just(0.0) | powers(-6, 3), st.integers(1, 20)
SHARED: Mapping[str, st.SearchStrategy[Any]] = {
    "learning_rate": ALPHAS,
    "counts": COUNTS,
    "rule": st.sampled_from(["gradient_descent", "momentum"]),
    "followed": st.booleans(),
}
LATE: Mapping[str, Settings] = {
    "counts beyond 16 bits": {"first": 2**15 - 2, "counts": 5},
    "counts beyond 32 bits": {"first": 2**31 - 2, "counts": 5},
    "counts beyond 64 bits": {"first": 2**64 - 2, "counts": 5},
}
EDGES: Mapping[str, Settings] = {
    "two hundred counts": {"counts": 200},
    "after another schedule": {"followed": True, "rule": "momentum"},
}

TAUGHT = 'Course 2, week 2, "Learning rate decay"; torch.optim.lr_scheduler.'
COUNTED_FROM_0 = "torch counts from 0, the course from 1: alpha_0 itself is in force first"


def schedule(
    name: str,
    formula: str,
    scheduler: str,
    make: Any,
    of_torch: Callable[..., LRScheduler],
    cases: Mapping[str, st.SearchStrategy[Any]],
    choices: Case,
    edges: Mapping[str, Settings],
    relations: tuple[Relation, ...] = (),
    mistakes: tuple[Mistake, ...] = (),
    **rest: Any,
) -> FunctionTwin:
    """Return the row of a schedule; `choices` are those of its example."""
    return FunctionTwin(
        **{
            "name": name,
            "formula": formula,
            "source": TAUGHT + scheduler,
            "proves": (make.__name__,),
            "ours": partial(rates, make),
            "theirs": partial(rates_of_torch, of_torch),
            "bridge": None,
            "wide": False,  # a rate is a Python float
            "overwrites": {f"torch_ref.schedules.{of_torch.__name__}": frozenset({"optimizer"})},
            "draw": partial(draw_counts, **choices),
            "cases": {**SHARED, **cases},
            "edges": {**EDGES, **edges},
            "gauges": partial(each_alone, make),
            "weight": 0.5,
            "relations": relations,
            "mistakes": mistakes,
            "calls": lambda learning_rate, first, counts, rule, followed, **own: iter(
                [(f"torch_ref.schedules.{of_torch.__name__}", {"optimizer": descent(), **own})]
            ),
            **rest,
        }
    )
