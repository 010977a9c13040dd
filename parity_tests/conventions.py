"""Conventions: what the course writes, how torch spells it, and what only looks the same.

A `Convention` draws its data, computes the course's values and torch's from the same draws, and
holds them to a budget; each `Refutation` computes a tempting translation, which must be off by a
margin. `examine` measures one convention; `registry.REGISTRY` holds them all.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

import torch_ref.optimizers
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.functions import MARGIN, assert_close, measure

__all__ = [
    "Convention",
    "Deviation",
    "Finding",
    "Refutation",
    "Refuted",
    "Values",
    "evaluate",
    "examine",
    "in_words",
]

#: named quantities, each a floating array or scalar.
Values = Mapping[str, Any]


def nothing() -> str:
    """Return what this machine lacks."""
    return ""


def evaluate(text: str, **names: Any) -> Any:
    """Return what the expression before the first semicolon of a row's text makes of the names."""
    known = {"torch": torch, "torch_ref": torch_ref, "math": math}
    return eval(text.partition("; ")[0], {**known, **names})  # the registry's own texts only


@dataclass(frozen=True, kw_only=True)
class Refutation:
    """A tempting translation: what it computes from the same draws, and how far off that is.

    `values` takes the convention's draws by name and returns some of its quantities. `margin` is
    the least max|wrong - course| / max|course| of the worst of them, infinity for what is no number
    at all; `why` says where the difference comes from. `missing` may name what a machine lacks.
    """

    values: Callable[..., Values]
    margin: float
    why: str
    missing: Callable[[], str] = nothing


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One row of the registry: the course's formula and torch's spelling of it.

    `draw(rng)` returns the data by name, from which `ours` and `theirs` compute the same quantities
    within `budget`, and each of `wrong`, by name, something else. `typed(text, **draws)` returns
    some of the quantities from `torch` itself, evaluated.
    """

    name: str
    topic: str
    course: str  # the formula
    torch: str  # what to type, then perhaps "; " and a remark
    source: str
    draw: Callable[[np.random.Generator], Mapping[str, Any]]
    ours: Callable[..., Values]
    theirs: Callable[..., Values]
    budget: Budget = FORWARD
    wrong: Mapping[str, Refutation] = field(default_factory=dict)
    typed: Callable[..., Values] | None = None

    def draws(self) -> Mapping[str, Any]:
        """Return the data, from a generator seeded by the name."""
        return self.draw(np.random.default_rng(zlib.crc32(self.name.encode())))


class Deviation(NamedTuple):
    """How far a quantity is from the course's, where most, and what stands there."""

    quantity: str
    eps: float  # max |value - course| / (eps max |course|)
    relative: float  # the same without eps
    place: tuple[int, ...]
    value: float
    course: float


class Refuted(NamedTuple):
    """What became of a refutation: its deviation, or why there is none; "" where all is well."""

    deviation: Deviation | None
    skipped: str
    failure: str


class Finding(NamedTuple):
    """What `examine` measured; a failure is "" where all is well."""

    convention: Convention
    right: Deviation
    allowed: float  # in eps
    failure: str
    wrong: Mapping[str, Refuted]

    @property
    def failures(self) -> list[str]:
        """Return every failure as a sentence that names the convention."""
        name = self.convention.name
        found = [f"{name}: {self.failure}"] if self.failure else []
        return found + [
            f"{name}, {wrong}: {one.failure}" for wrong, one in self.wrong.items() if one.failure
        ]


def examine(convention: Convention) -> Finding:
    """Measure the right translation and every wrong one of a convention, here and now."""
    draws = convention.draws()
    course, theirs = convention.ours(**draws), convention.theirs(**draws)
    if course.keys() != theirs.keys() or not course:
        raise ValueError(
            f"expected the same quantities on both sides, got {sorted(course)}, {sorted(theirs)}"
        )
    typed = convention.typed(convention.torch, **draws) if convention.typed else {}
    if not typed.keys() <= course.keys() or (convention.typed and not typed):
        raise ValueError(f"expected typed quantities of {sorted(course)}, got {sorted(typed)}")
    pairs = [(quantity, value, theirs[quantity]) for quantity, value in course.items()]
    pairs += [(f"{quantity} as typed", course[quantity], one) for quantity, one in typed.items()]
    deviations, failures, narrowest = [], [], 0.0
    for quantity, value, other in pairs:
        try:
            assert_close(value, other, quantity, budget=convention.budget)
        except AssertionError as error:
            failures.append(str(error))
        deviations.append(_deviation(quantity, other, value))
        narrowest = max(narrowest, float(np.finfo(np.asarray(value).dtype).eps))
    allowed = convention.budget.in_eps(narrowest)
    wrong = {
        name: _refute(one, draws, course, MARGIN * allowed * narrowest)
        for name, one in convention.wrong.items()
    }
    right = max(deviations, key=lambda one: one.eps)
    return Finding(convention, right, allowed, "; ".join(failures), wrong)


def _deviation(quantity: str, value: Any, course: Any) -> Deviation:
    """Measure a value against the course's; shapes that differ are infinitely far apart."""
    value, course = np.asarray(value), np.asarray(course)
    if value.shape != course.shape:
        return Deviation(quantity, np.inf, np.inf, (), np.nan, np.nan)
    eps = float(np.finfo(course.dtype).eps)
    found = measure(value, course, eps=eps)
    return Deviation(
        quantity,
        found.error,
        found.error * eps,
        found.place,
        float(found.ours),
        float(found.theirs),
    )


def _refute(
    refutation: Refutation, draws: Mapping[str, Any], course: Values, least: float
) -> Refuted:
    """Measure a wrong translation; `least` is the smallest margin that proves something."""
    reason = refutation.missing()
    if reason:
        return Refuted(None, reason, "")
    values = refutation.values(**draws)
    if not values or not values.keys() <= course.keys():
        raise ValueError(f"expected quantities of {sorted(course)}, got {sorted(values)}")
    for quantity, value in values.items():
        if np.shape(value) != np.shape(course[quantity]):
            shapes = f"{np.shape(value)}, the course's {np.shape(course[quantity])}"
            raise ValueError(f"expected {quantity} of one shape, got the wrong one's {shapes}")
    each = [_deviation(quantity, value, course[quantity]) for quantity, value in values.items()]
    worst = max(each, key=lambda one: one.relative)
    return Refuted(worst, "", _unrefuted(worst, refutation.margin, least))


def _unrefuted(worst: Deviation, margin: float, least: float) -> str:
    """Say why a deviation refutes nothing, or return ""."""
    if not margin >= least:
        return f"its margin {margin:.2g} is not {MARGIN} times the budget, at least {least:.2g}"
    if np.isinf(worst.relative) and not np.isinf(margin):
        return f"{worst.quantity} is {worst.value} where {worst.course} is right: no number at all"
    if not worst.relative >= margin:
        return f"{worst.quantity} is off by {worst.relative:.3g} only, expected at least {margin:g}"
    return ""


def in_words(relative: float) -> str:
    """Return a relative deviation as people say it."""
    if np.isinf(relative):
        return "no number at all"
    if relative >= 2:
        return f"off by {relative:.2g} times the right value"
    if relative >= 0.0095:
        return f"off by {100 * relative:.0f}%"
    if relative == 0:
        return "equal"
    return f"off from digit {int(np.ceil(-np.log10(relative)))} on ({relative:.1e})"
