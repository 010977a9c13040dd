"""Rows: one file a stem, all that the proof knows of its concepts."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from parity_tests.mistakes import Mistake, planted_in
from parity_tests.rows import Twin

__all__ = ["all_twins", "stems", "twin"]

HERE = Path(__file__).parent


def stems() -> list[str]:
    """Return the stems that have a file of rows; the course's vocabulary stands on the others."""
    names = (path.stem for path in HERE.glob("[a-z]*.py"))
    return sorted(names, key=lambda name: (name.startswith("course_"), name))


@cache
def all_twins() -> dict[str, Twin]:
    """Return every row by its name; raise ValueError where two share one."""
    found: dict[str, Twin] = {}
    for stem in stems():
        typed = planted_in(HERE / "mistakes" / f"{stem}.diff")
        for row in importlib.import_module(f"{__name__}.{stem}").TWINS:
            if row.name in found:
                raise ValueError(f"expected a name of its own, got {row.name} in {stem} again")
            topic = row.topic or stem.replace("_", " ")
            mistakes = merged(row.mistakes, typed.pop(row.name, ()))
            found[row.name] = replace(row, stem=stem, topic=topic, mistakes=mistakes)
        if typed:
            raise ValueError(f"expected rows of {stem}, got mistakes of {', '.join(typed)}")
    return found


def merged(measured: Sequence[Mistake], typed: Sequence[Mistake]) -> tuple[Mistake, ...]:
    """Return the mistakes of a row: one that is measured and typed has both, under one name."""
    by_name = {one.name: one for one in measured}
    for one in typed:
        known = by_name.get(one.name)
        by_name[one.name] = replace(known, change=one.change) if known else one
    return tuple(by_name.values())


def twin(name: str) -> Twin:
    """Return a row by its name; raise ValueError for a name that none has."""
    rows = all_twins()
    if name not in rows:
        raise ValueError(f"expected one of {', '.join(rows)}, got {name!r}")
    return rows[name]
