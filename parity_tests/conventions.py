"""Conventions: the rows that say what to type in torch, measured and printed.

As one table, in detail, as Markdown and as plain data.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from parity_tests.compare.ledger import environment
from parity_tests.findings import Deviation, Finding, Refuted, in_words
from parity_tests.rows import Twin
from parity_tests.twins import all_twins


def conventions() -> list[Twin]:
    """Return every row that says what to type in torch."""
    return [row for row in all_twins().values() if row.torch]


#: columns of the table: what is written on top, and characters across.
COLUMNS = {"course": 27, "torch": 35, "right / budget": 14, "tempting and wrong": 35}
RULER = (
    "right: max|ours - torch's| / max|torch's| in eps; wrong: max|wrong - course's| / "
    "max|course's|; measured just now"
)


def matching(words: Iterable[str], texts: Mapping[str, str], kind: str, more: str = "") -> set[str]:
    """Return the names of the texts that have one of the words, of all where there are no words.

    Raises ValueError for a word that is in none; the message lists what is known.
    """
    wanted = [word.lower() for word in words]
    found = {
        word: {name for name, text in texts.items() if word.strip() and word in text}
        for word in wanted
    }
    if unknown := [word or "''" for word, names in found.items() if not names]:
        known = f"{more}names: {', '.join(texts)}"
        raise ValueError(f"expected {kind}, got {', '.join(unknown)}\n{known}")
    return set().union(*found.values()) if wanted else {*texts}


def find(words: Iterable[str], rows: Sequence[Twin]) -> list[Twin]:
    """Return the rows with one of the words in their name, topic or a mistake, or all."""
    texts = {
        one.name: " ".join((one.name, one.topic, *(m.name for m in one.mistakes))).lower()
        for one in rows
    }
    topics = ", ".join(dict.fromkeys(one.topic for one in rows))
    chosen = matching(words, texts, "names or topics of conventions", f"topics: {topics}\n")
    return [one for one in rows if one.name in chosen]


def summary(findings: Sequence[Finding]) -> str:
    """Return the counts, the versions and every failure and skip, each on its line."""
    wrong = [one for finding in findings for one in finding.wrong.values()]
    measured = sum(one.deviation is not None for one in wrong)
    failures = [failure for finding in findings for failure in finding.failures]
    skips = [
        f"skipped: {finding.row.name}, {name}: {one.skipped}"
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
    rule = "-+-".join("-" * width for width in COLUMNS.values())
    lines = [RULER, "", _line(COLUMNS), rule]
    for finding in findings:
        row = finding.row
        wrong = [_wrong(name, one) for name, one in finding.wrong.items()]
        cells = [[row.name.upper(), row.formula], [row.torch], [_right(finding)], wrong]
        wrapped = [
            [line for text in cell for line in _wrap(text, width, "", "  " * (cell is wrong))]
            for cell, width in zip(cells, COLUMNS.values(), strict=True)
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
    row, right = finding.row, finding.right
    why = {one.name: one.why for one in row.mistakes}
    lines = [f"{row.name.upper()} ({row.topic})", *entry("course", row.formula)]
    lines += entry("torch", row.torch)
    budget = row.budget_of(right.quantity.removesuffix(" as typed")).name
    agreed = f"{_right(finding)} allowed ({budget}), worst in {right.quantity}"
    lines += entry("right", "; ".join(filter(None, (agreed, finding.failure))))
    for name, one in finding.wrong.items():
        lines += entry("WRONG", _wrong(name, one))
        if one.deviation is not None:
            quantity, _, _, place, value, course = one.deviation
            at = f"{list(place)}" if place else ""
            lines += entry("", f"{quantity}{at} is {value:.10g}, right is {course:.10g}")
        lines += entry("", "; ".join(filter(None, (why[name], one.failure))))
    return "\n".join([*lines, *entry("source", row.source)])


def entry(label: str, text: str) -> list[str]:
    """Return a text beside its label, wrapped."""
    return _wrap(text, 108, f"  {label:<8}", " " * 10)


def as_markdown(findings: Sequence[Finding]) -> str:
    def code(text: str) -> str:
        bars = text.replace("|", "\\|")  # those of the table are bare
        return f"`{bars}`"

    lines = ["| course | torch | right | tempting and wrong |", "| --- | --- | ---: | --- |"]
    for finding in findings:
        row = finding.row
        wrong = "<br>".join(_wrong(code(name), one) for name, one in finding.wrong.items())
        cells = [f"**{row.name}** {code(row.formula)}", code(row.torch), _right(finding), wrong]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings and what they were measured with as plain data; null for no number."""
    return {"environment": environment(), "conventions": [_plain(one) for one in findings]}


def _plain(finding: Finding) -> dict[str, Any]:
    row, by_name = finding.row, {one.name: one for one in finding.row.mistakes}
    return {
        **{name: getattr(row, name) for name in ("name", "topic", "torch", "source")},
        "course": row.formula,
        "budget": row.budget_of(finding.right.quantity.removesuffix(" as typed")).name,
        "allowed_eps": finding.allowed,
        "right": _numbers(finding.right),
        "failure": finding.failure,
        "wrong": {
            name: {
                "why": by_name[name].why,
                "margin": _finite(by_name[name].margin),
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
