"""Conventions, the rows that say what to type in torch: how far it and every mistake are off."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare.ledger import environment
from parity_tests.compare.measurement import MARGIN, measure
from parity_tests.compare.quantities import assert_close
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

    mistake: Mistake
    deviation: Deviation | None
    skipped: str = ""
    failure: str = ""


class Finding(NamedTuple):
    """The measurements of one row; a failure is "" where all is well."""

    row: Twin
    right: Deviation
    budget: str
    allowed: float  # in eps
    failure: str
    wrong: Sequence[Refuted]

    @property
    def failures(self) -> list[str]:
        return [*filter(None, (self.failure, *(one.failure for one in self.wrong)))]


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
            allowed = budget.in_eps(eps(value))
            found.append((deviation(quantity, other, value), budget.name, allowed))
    right = max(found, key=lambda one: one[0].eps)
    wrong = [refute(row, one) for one in row.mistakes if one.margin]
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
        return Refuted(mistake, None, reason)
    case = row.case(**(row.edges[mistake.at] if mistake.at else {}))
    course, values = row.run("scratch", case), row.wrong_run(mistake, case)
    right, wrong = ({name: np.shape(v) for name, v in one.items()} for one in (course, values))
    if not wrong or not wrong.items() <= right.items():
        raise ValueError(f"expected some of {right}, got {wrong}")
    each = [deviation(quantity, value, course[quantity]) for quantity, value in values.items()]
    worst = max(each, key=lambda one: one.relative)
    quantity, margin, failure = worst.quantity, mistake.margin, ""
    least = MARGIN * row.budget_of(quantity).in_eps(eps(course[quantity])) * eps(course[quantity])
    if not margin >= least:
        failure = f"its margin {margin:.2g} is not {MARGIN} times the budget, at least {least:.2g}"
    elif np.isinf(worst.relative) and not np.isinf(margin):
        failure = f"{quantity} is {worst.value} where {worst.course} is right: no number at all"
    elif not worst.relative >= margin:
        failure = f"{quantity} is off by {worst.relative:.3g} only, expected at least {margin:g}"
    return Refuted(mistake, worst, failure=failure)


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
    rows = {row.name: row for row in conventions()}
    told = {name: [name, row.topic, *(m.name for m in row.mistakes)] for name, row in rows.items()}
    texts = {name: " ".join(one).lower() for name, one in told.items()}
    chosen = find(words, texts, "names or topics of conventions")
    findings = [examine(row) for name, row in rows.items() if name in chosen]
    failures = sum(len(finding.failures) for finding in findings)
    measured = sum(one.deviation is not None for finding in findings for one in finding.wrong)
    verdict = f"{failures} FAIL" if failures else "all right ones inside, all wrong ones out"
    about = environment()
    summary = (
        f"{len(findings)} conventions, {measured} wrong translations: {verdict}\n"
        f"NumPy {about['numpy']}, torch {about['torch']}, float32 matrix products at "
        f'"{about["float32_matmul_precision"]}" precision, device {about["cuda"] or "cpu"}'
    )
    paragraphs = ["\n".join(lines_of(finding, bool(words))) for finding in findings]
    return "\n\n".join([RULER, *paragraphs, summary]), not failures


def lines_of(finding: Finding, detailed: bool) -> list[str]:
    """Return formula, text to type and each mistake; in detail its numbers and reason too."""
    row, right = finding.row, finding.right
    error = f"{right.eps:.2g} of {finding.allowed:.2g} eps allowed ({finding.budget})"
    lines = [f"{row.name.upper()} ({row.topic})", *entry("course", row.formula)]
    lines += entry("torch", row.torch)
    lines += entry("right", f"{error}, worst in {right.quantity}", finding.failure)
    for mistake, found, skipped, failure in finding.wrong:
        size = in_words(found.relative) if found else f"skipped, {skipped}"
        lines += entry("WRONG", f"{mistake.name}: {size}", failure)
        if detailed and found:
            at = f"{found.quantity}{list(found.place) or ''}"
            lines += entry("", f"{at} is {found.value:.10g}, right is {found.course:.10g}")
        lines += entry("", mistake.why) if detailed else []
    return lines + (entry("source", row.source) if detailed else [])


def entry(label: str, text: str, failure: str = "") -> list[str]:
    """Return a text beside its label, wrapped; nothing of an empty one."""
    text = f"{label:<8}{f'FAILS: {text}; {failure}' if failure else text}" if text else ""
    lines = textwrap.wrap(text, 106, subsequent_indent=" " * 8, break_on_hyphens=False)
    return [f"  {line}" for line in lines]


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
