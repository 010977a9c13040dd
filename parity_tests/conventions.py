"""Conventions: the rows that say what to type in torch, measured, printed, and as plain data."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity_tests.compare.files import make_room, write_whole
from parity_tests.compare.ledger import environment
from parity_tests.findings import Finding, examine
from parity_tests.rows import Twin
from parity_tests.twins import all_twins

RULER = (
    "right: max|ours - torch's| / max|torch's| in eps; wrong: max|wrong - course's| /\n"
    "max|course's|; measured just now"
)


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


def report(words: Sequence[str], path: Path | None) -> tuple[str, bool]:
    """Return the rows with one of the words, as text, and whether none fails; write them as JSON.

    A word is part of a name, topic or mistake, and asks for details; without any all rows are told.
    Raises ValueError for a word that is in none, OSError for a path that cannot be written.
    """
    rows = conventions()
    texts = {
        row.name: " ".join([row.name, row.topic, *(one.name for one in row.mistakes)]).lower()
        for row in rows
    }
    chosen = find(words, texts, "names or topics of conventions")
    if path:
        make_room(path)
    findings = [examine(row) for row in rows if row.name in chosen]
    if path:
        write_whole(path, json.dumps(as_data(findings), indent=1, allow_nan=False) + "\n")
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


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings and what they were measured with as plain data; null for no number."""
    rows = []
    for finding in findings:
        row = finding.row
        about = {one.name: {"why": one.why, "margin": one.margin} for one in row.mistakes}
        wrong = {name: {**about[name], **one._asdict()} for name, one in finding.wrong.items()}
        texts = {name: getattr(row, name) for name in ("name", "topic", "torch", "source")}
        numbers = {**finding._asdict(), "row": row.name, "course": row.formula, "wrong": wrong}
        rows.append(_plain({**texts, **numbers}))
    return {"environment": environment(), "conventions": rows}


def _plain(value: Any) -> Any:
    value = value._asdict() if hasattr(value, "_asdict") else value
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
