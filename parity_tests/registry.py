"""The registry of conventions, and how it is printed: as one table, in detail, for a README."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from parity_tests.compare.ledger import environment
from parity_tests.conventions import Convention, Deviation, Finding, Refuted, in_words
from parity_tests.cost_dialects import COST_DIALECTS
from parity_tests.errata import ERRATA
from parity_tests.layer_dialects import LAYER_DIALECTS
from parity_tests.optimizer_dialects import OPTIMIZER_DIALECTS
from parity_tests.schedule_dialects import SCHEDULE_DIALECTS

__all__ = ["REGISTRY", "as_data", "as_details", "as_markdown", "as_table", "find", "summary"]

#: every convention: the dialects, then the errata of lecture notes.
REGISTRY: Sequence[Convention] = (
    *OPTIMIZER_DIALECTS,
    *SCHEDULE_DIALECTS,
    *COST_DIALECTS,
    *LAYER_DIALECTS,
    *ERRATA,
)

#: columns of the table: what is written on top, and characters across.
COLUMNS = {"course": 27, "torch": 35, "right / budget": 14, "tempting and wrong": 35}
RULER = (
    "right: max|ours - torch's| / max|torch's| in eps; wrong: max|wrong - course's| / "
    "max|course's|; measured just now"
)


def find(words: Iterable[str], registry: Sequence[Convention]) -> list[Convention]:
    """Return the conventions with one of the words in their name, topic or a mistake, or all.

    Raises ValueError for a word that is in none; the message lists what is known.
    """
    wanted = [word.lower() for word in words]
    texts = {one.name: " ".join((one.name, one.topic, *one.wrong)).lower() for one in registry}
    unknown = [
        word or "''"
        for word in wanted
        if not word.strip() or not any(word in text for text in texts.values())
    ]
    if unknown:
        topics = ", ".join(dict.fromkeys(one.topic for one in registry))
        raise ValueError(
            f"expected names or topics of conventions, got {', '.join(unknown)}\n"
            f"topics: {topics}\nnames: {', '.join(texts)}"
        )
    if not wanted:
        return list(registry)
    return [one for one in registry if any(word in texts[one.name] for word in wanted)]


def summary(findings: Sequence[Finding]) -> str:
    """Return the counts, the versions and every failure and skip, each on its line."""
    wrong = [one for finding in findings for one in finding.wrong.values()]
    measured = sum(one.deviation is not None for one in wrong)
    failures = [failure for finding in findings for failure in finding.failures]
    skips = [
        f"skipped: {finding.convention.name}, {name}: {one.skipped}"
        for finding in findings
        for name, one in finding.wrong.items()
        if one.skipped
    ]
    about = environment()
    verdict = f"{len(failures)} FAIL" if failures else "all right ones inside, all wrong ones out"
    return "\n".join(
        [
            f"{len(findings)} conventions, {measured} wrong translations: {verdict}",
            f"NumPy {about['numpy']}, torch {about['torch']}, float32 matrix products at "
            f'"{about["float32_matmul_precision"]}" precision, device {about["cuda"] or "cpu"}',
            *skips,
            *(f"FAILS: {failure}" for failure in failures),
        ]
    )


def _right(finding: Finding) -> str:
    mark = "FAILS: " if finding.failure else ""
    return f"{mark}{finding.right.eps:.2g} of {finding.allowed:.2g} eps"


def _wrong(name: str, refuted: Refuted) -> str:
    mark = "FAILS: " if refuted.failure else ""
    if refuted.deviation is None:
        return f"{name}: skipped, {refuted.skipped}"
    return f"{mark}{name}: {in_words(refuted.deviation.relative)}"


def as_table(findings: Sequence[Finding]) -> str:
    """Return one table of 120 characters across."""
    rule = "-+-".join("-" * width for width in COLUMNS.values())
    lines = [RULER, "", _line(COLUMNS), rule]
    for finding in findings:
        row = finding.convention
        wrong = [_wrong(name, one) for name, one in finding.wrong.items()]
        cells = [[row.name.upper(), row.course], [row.torch], [_right(finding)], wrong]
        wrapped = [
            [line for text in cell for line in _wrap(text, width, "", "  " if last else "")]
            for cell, width, last in zip(
                cells, COLUMNS.values(), (False, False, False, True), strict=True
            )
        ]
        lines += [_line(line) for line in zip_longest(*wrapped, fillvalue="")]
        lines.append(rule)
    return "\n".join(lines)


def _wrap(text: str, width: int, first: str, later: str) -> list[str]:
    """Return the lines of a text; a long word may also be cut after an opening bracket."""
    cuts = re.sub(r"\S{25,}", lambda word: word[0].replace("(", "(\0 "), text)
    lines = textwrap.wrap(
        cuts, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
    )
    return [line.replace("\0 ", "").replace("\0", "") for line in lines]


def _line(cells: Iterable[str]) -> str:
    widths = COLUMNS.values()
    return " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def as_details(findings: Sequence[Finding]) -> str:
    """Return a paragraph for each: formula, what to type, and each mistake with its reason."""
    ruler = "\n".join(_wrap(RULER, 108, "", ""))
    return "\n\n".join([ruler, *(_paragraph(finding) for finding in findings)])


def _paragraph(finding: Finding) -> str:
    row, right = finding.convention, finding.right
    lines = [f"{row.name.upper()} ({row.topic})", *_entry("course", row.course)]
    lines += _entry("torch", row.torch)
    agreed = f"{_right(finding)} allowed ({row.budget.name}), worst in {right.quantity}"
    lines += _entry("right", "; ".join(filter(None, (agreed, finding.failure))))
    for name, one in finding.wrong.items():
        lines += _entry("WRONG", _wrong(name, one))
        if one.deviation is not None:
            place = f"{list(one.deviation.place)}" if one.deviation.place else ""
            where = (
                f"{one.deviation.quantity}{place} is {one.deviation.value:.10g}, "
                f"right is {one.deviation.course:.10g}"
            )
            lines += _entry("", where)
        lines += _entry("", "; ".join(filter(None, (row.wrong[name].why, one.failure))))
    return "\n".join([*lines, *_entry("source", row.source)])


def _entry(label: str, text: str) -> list[str]:
    """Return a text beside its label, wrapped."""
    return _wrap(text, 108, f"  {label:<8}", " " * 10)


def as_markdown(findings: Sequence[Finding]) -> str:
    """Return a Markdown table, for a README."""

    def code(text: str) -> str:
        bars = text.replace("|", "\\|")  # those of the table are bare
        return f"`{bars}`"

    lines = ["| course | torch | right | tempting and wrong |", "| --- | --- | ---: | --- |"]
    for finding in findings:
        row = finding.convention
        wrong = "<br>".join(_wrong(code(name), one) for name, one in finding.wrong.items())
        cells = [
            f"**{row.name}** {code(row.course)}",
            code(row.torch),
            _right(finding),
            wrong,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings and what they were measured with as plain data; null for no number."""
    return {"environment": environment(), "conventions": [_plain(one) for one in findings]}


def _plain(finding: Finding) -> dict[str, Any]:
    row = finding.convention
    return {
        "name": row.name,
        "topic": row.topic,
        "course": row.course,
        "torch": row.torch,
        "source": row.source,
        "budget": row.budget.name,
        "allowed_eps": finding.allowed,
        "right": _numbers(finding.right),
        "failure": finding.failure,
        "wrong": {
            name: {
                "why": row.wrong[name].why,
                "margin": _finite(row.wrong[name].margin),
                "deviation": None if one.deviation is None else _numbers(one.deviation),
                "skipped": one.skipped,
                "failure": one.failure,
            }
            for name, one in finding.wrong.items()
        },
    }


def _numbers(deviation: Deviation) -> dict[str, Any]:
    return {name: _finite(value) for name, value in deviation._asdict().items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
