"""Measurements of a row's example: how far the right translation and every mistake are off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare.functions import assert_close
from parity_tests.compare.measurement import MARGIN, measure
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Twin


class Deviation(NamedTuple):
    """Distance of a quantity from the course's, the place of the largest, the two numbers there."""

    quantity: str
    eps: float  # max |value - course| / (eps max |course|)
    relative: float  # the same without eps
    place: tuple[int, ...]
    value: float
    course: float


class Refuted(NamedTuple):
    """A mistake's deviation, or why there is none; no failure where it is off by its margin."""

    deviation: Deviation | None
    skipped: str
    failure: str


class Finding(NamedTuple):
    """The measurements of one row; a failure is "" where all is well."""

    row: Twin
    right: Deviation
    allowed: float  # in eps
    failure: str
    wrong: Mapping[str, Refuted]

    @property
    def failures(self) -> list[str]:
        found = [f"{self.row.name}: {self.failure}"] if self.failure else []
        return found + [
            f"{self.row.name}, {wrong}: {one.failure}"
            for wrong, one in self.wrong.items()
            if one.failure
        ]


def examine(row: Twin) -> Finding:
    """Measure the right translation and every wrong one of a row, here and now."""
    case = row.case()
    course, theirs = row.run("scratch", case), row.run("torch_ref", case)
    typed = row.as_typed(case) if row.torch else {}
    if not typed.keys() <= course.keys():
        raise ValueError(f"expected typed quantities of {sorted(course)}, got {sorted(typed)}")
    pairs = [(name, value, theirs[name]) for name, value in course.items()]
    pairs += [(f"{name} as typed", course[name], one) for name, one in typed.items()]
    deviations, failures, narrowest, widest = [], [], 0.0, 0.0
    for name, value, other in pairs:
        if np.asarray(value).dtype.kind != "f":
            continue
        budget = row.budget_of(name.removesuffix(" as typed"))
        eps = float(np.finfo(np.asarray(value).dtype).eps)
        try:
            assert_close(value, other, name, budget=budget, expect_zero=not np.any(other))
        except AssertionError as error:
            failures.append(str(error))
        deviations.append(deviation(name, other, value))
        narrowest, widest = max(narrowest, eps), max(widest, budget.in_eps(eps))
    wrong = {one.name: refute(row, one) for one in row.mistakes if one.margin}
    right = max(deviations, key=lambda one: one.eps)
    return Finding(row, right, widest, "; ".join(failures), wrong)


def deviation(quantity: str, value: Any, course: Any) -> Deviation:
    """Measure a value against the course's; shapes that differ are infinitely far apart."""
    value, course = np.asarray(value), np.asarray(course)
    if value.shape != course.shape:
        return Deviation(quantity, np.inf, np.inf, (), np.nan, np.nan)
    eps = float(np.finfo(course.dtype if course.dtype.kind == "f" else float).eps)
    found = measure(value.astype(float), course.astype(float), eps=eps)
    numbers = float(found.ours), float(found.theirs)
    return Deviation(quantity, found.error, found.error * eps, found.place, *numbers)


def refute(row: Twin, mistake: Mistake) -> Refuted:
    """Measure a mistake where it shows: it must be off by its margin, a hundred budgets or more."""
    reason = mistake.missing()
    if reason:
        return Refuted(None, reason, "")
    case = row.case(**(row.edges[mistake.at] if mistake.at else {}))
    course: Values = row.run("scratch", case)
    values = row.wrong_run(mistake, case)
    if not values or not values.keys() <= course.keys():
        raise ValueError(f"expected quantities of {sorted(course)}, got {sorted(values)}")
    for quantity, value in values.items():
        shape, right = np.shape(value), np.shape(course[quantity])
        if shape != right:
            shapes = f"{shape}, the course's {right}"
            raise ValueError(f"expected {quantity} of one shape, got the wrong one's {shapes}")
    each = [deviation(quantity, value, course[quantity]) for quantity, value in values.items()]
    worst = max(each, key=lambda one: one.relative)
    return Refuted(worst, "", _unrefuted(row, worst, mistake.margin, course))


def _unrefuted(row: Twin, worst: Deviation, margin: float, course: Values) -> str:
    """Say why a deviation refutes nothing, or return ""."""
    dtype = np.asarray(course[worst.quantity]).dtype
    eps = float(np.finfo(dtype if dtype.kind == "f" else float).eps)
    least = MARGIN * row.budget_of(worst.quantity).in_eps(eps) * eps
    if not margin >= least:
        return f"its margin {margin:.2g} is not {MARGIN} times the budget, at least {least:.2g}"
    if np.isinf(worst.relative) and not np.isinf(margin):
        return f"{worst.quantity} is {worst.value} where {worst.course} is right: no number at all"
    if not worst.relative >= margin:
        return f"{worst.quantity} is off by {worst.relative:.3g} only, expected at least {margin:g}"
    return ""


def in_words(relative: float) -> str:
    if np.isinf(relative):
        return "no number at all"
    if relative >= 2:
        return f"off by {relative:.2g} times the right value"
    if relative >= 0.0095:
        return f"off by {100 * relative:.0f}%"
    if relative == 0:
        return "equal"
    return f"off from digit {int(np.ceil(-np.log10(relative)))} on ({relative:.1e})"
