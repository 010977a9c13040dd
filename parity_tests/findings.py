"""Conventions, the rows that say what to type in torch: how far it and every mistake are off."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare.functions import assert_close
from parity_tests.compare.ledger import environment
from parity_tests.compare.measurement import MARGIN, measure
from parity_tests.mistakes import Mistake
from parity_tests.rows import Twin
from parity_tests.twins import all_twins

RULER = (
    "right: max|ours - torch's| / max|torch's| in eps; wrong: max|wrong - course's| /\n"
    "max|course's|; measured just now"
)


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


def conventions() -> list[Twin]:
    """Return every row that says what to type in torch."""
    return [row for row in all_twins().values() if row.torch]


def find(words: Iterable[str], texts: Mapping[str, str], kind: str) -> set[str]:
    """Return the names of the texts that have one of the words, of all where there are no words.

    Raises ValueError for a word that is in none; the message lists what is known.
    """
    found = {
        word: {name for name, text in texts.items() if word.strip() and word.lower() in text}
        for word in words
    }
    if unknown := [word or "''" for word, names in found.items() if not names]:
        names = ", ".join(texts)
        raise ValueError(f"expected {kind}, got {', '.join(unknown)}\nnames: {names}")
    return set().union(*found.values()) if found else {*texts}


def report(words: Sequence[str]) -> tuple[str, bool]:
    """Return the rows with one of the words, as text, and whether none fails.

    A word is part of a name, topic or mistake, and asks for details; without any all rows are told.
    Raises ValueError for a word that is in none.
    """
    rows = conventions()
    texts = {
        row.name: " ".join([row.name, row.topic, *(one.name for one in row.mistakes)]).lower()
        for row in rows
    }
    chosen = find(words, texts, "names or topics of conventions")
    findings = [examine(row) for row in rows if row.name in chosen]
    paragraphs = [_paragraph(finding, bool(words)) for finding in findings]
    text = "\n\n".join([RULER, *paragraphs, _summary(findings)])
    return text, not any(finding.failures for finding in findings)


def _summary(findings: Sequence[Finding]) -> str:
    """Return the counts, the versions and every failure and skip, each on its line."""
    wrong = {(found.row.name, name): one for found in findings for name, one in found.wrong.items()}
    skips = {name: one.skipped for name, one in wrong.items() if one.skipped}
    failures = [failure for finding in findings for failure in finding.failures]
    verdict = f"{len(failures)} FAIL" if failures else "all right ones inside, all wrong ones out"
    about, measured = environment(), len(wrong) - len(skips)
    lines = [
        f"{len(findings)} conventions, {measured} wrong translations: {verdict}",
        f"NumPy {about['numpy']}, torch {about['torch']}, float32 matrix products at "
        f'"{about["float32_matmul_precision"]}" precision, device {about["cuda"] or "cpu"}',
        *(f"skipped: {row}, {name}: {reason}" for (row, name), reason in skips.items()),
        *(f"FAILS: {failure}" for failure in failures),
    ]
    return "\n".join(lines)


def _paragraph(finding: Finding, detailed: bool) -> str:
    """Return formula, what to type and each mistake; in detail its numbers and reason too."""
    row, right = finding.row, finding.right
    why = {one.name: one.why for one in row.mistakes}
    error = f"{right.eps:.2g} of {finding.allowed_eps:.2g} eps allowed ({finding.budget})"
    lines = [f"{row.name.upper()} ({row.topic})", *entry("course", row.formula)]
    lines += entry("torch", row.torch)
    lines += entry("right", f"{error}, worst in {right.quantity}", finding.failure)
    for name, one in finding.wrong.items():
        found = one.deviation
        size = in_words(found.relative) if found else f"skipped, {one.skipped}"
        lines += entry("WRONG", f"{name}: {size}", one.failure)
        if detailed and found:
            at = f"{found.quantity}{list(found.place) or ''}"
            lines += entry("", f"{at} is {found.value:.10g}, right is {found.course:.10g}")
        lines += entry("", why[name]) if detailed else []
    return "\n".join([*lines, *(entry("source", row.source) if detailed else [])])


def entry(label: str, text: str, failure: str = "") -> list[str]:
    """Return a text beside its label, wrapped; nothing of an empty one."""
    text = f"FAILS: {text}; {failure}" if failure else text
    lines = textwrap.wrap(
        f"{label:<8}{text}", 106, subsequent_indent=" " * 8, break_on_hyphens=False
    )
    return [f"  {line}" for line in lines] if text else []


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
