"""Measurements of a row's example: how far the right translation and every mistake are off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare.functions import assert_close
from parity_tests.compare.measurement import MARGIN, measure
from parity_tests.mistakes import Mistake
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
    skipped: str = ""
    failure: str = ""


class Finding(NamedTuple):
    """The measurements of one row; a failure is "" where all is well."""

    row: Twin
    right: Deviation
    budget: str
    allowed_eps: float
    failure: str
    wrong: Mapping[str, Refuted]

    @property
    def failures(self) -> list[str]:
        said = {f"{self.row.name}, {wrong}": one.failure for wrong, one in self.wrong.items()}
        said = {self.row.name: self.failure, **said}
        return [f"{name}: {failure}" for name, failure in said.items() if failure]


def examine(row: Twin) -> Finding:
    """Measure the right translation and every wrong one of a row, here and now."""
    case = row.case()
    course, theirs = row.run("scratch", case), row.run("torch_ref", case)
    typed = row.as_typed(case) if row.torch else {}
    if not typed.keys() <= course.keys():
        raise ValueError(f"expected typed quantities of {sorted(course)}, got {sorted(typed)}")
    others = [(name, name, theirs[name]) for name in course]
    others += [(name, f"{name} as typed", one) for name, one in typed.items()]
    found, failures = [], []
    for name, quantity, other in others:
        value, budget = course[name], row.budget_of(name)
        if np.asarray(value).dtype.kind == "f":
            try:
                assert_close(value, other, quantity, budget=budget, expect_zero=not np.any(other))
            except AssertionError as error:
                failures.append(str(error))
            found.append(
                (deviation(quantity, other, value), budget.name, budget.in_eps(eps(value)))
            )
    right = max(found, key=lambda one: one[0].eps)
    wrong = {one.name: refute(row, one) for one in row.mistakes if one.values or one.wrong}
    return Finding(row, *right, "; ".join(failures), wrong)


def eps(value: Any) -> float:
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype if dtype.kind == "f" else float).eps)


def deviation(quantity: str, value: Any, course: Any) -> Deviation:
    """Measure a value against the course's; shapes that differ are infinitely far apart."""
    if np.shape(value) != np.shape(course):
        return Deviation(quantity, np.inf, np.inf, (), np.nan, np.nan)
    unit = eps(course)
    found = measure(np.asarray(value, float), np.asarray(course, float), eps=unit)
    numbers = float(found.ours), float(found.theirs)
    return Deviation(quantity, found.error, found.error * unit, found.place, *numbers)


def refute(row: Twin, mistake: Mistake) -> Refuted:
    """Measure a mistake where it shows: it must be off by its margin, a hundred budgets or more."""
    if reason := mistake.missing():
        return Refuted(None, reason)
    case = row.case(**(row.edges[mistake.at] if mistake.at else {}))
    course, values = row.run("scratch", case), row.wrong_run(mistake, case)
    right, wrong = ({name: np.shape(v) for name, v in one.items()} for one in (course, values))
    if not wrong or not wrong.items() <= right.items():
        raise ValueError(f"expected some of {right}, got {wrong}")
    each = [deviation(quantity, value, course[quantity]) for quantity, value in values.items()]
    worst = max(each, key=lambda one: one.relative)
    margin, unit, failure = mistake.margin, eps(course[worst.quantity]), ""
    least = MARGIN * row.budget_of(worst.quantity).in_eps(unit) * unit
    if not margin >= least:
        failure = f"its margin {margin:.2g} is not {MARGIN} times the budget, at least {least:.2g}"
    elif np.isinf(worst.relative) and not np.isinf(margin):
        numbers = f"{worst.value} where {worst.course} is right"
        failure = f"{worst.quantity} is {numbers}: no number at all"
    elif not worst.relative >= margin:
        off = f"{worst.quantity} is off by {worst.relative:.3g} only"
        failure = f"{off}, expected at least {margin:g}"
    return Refuted(worst, failure=failure)
