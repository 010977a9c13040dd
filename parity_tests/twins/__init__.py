"""Rows: one file a stem, all that the proof knows of its concepts."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from parity_tests.rows import Twin

__all__ = ["all_twins", "stems", "twin"]


def stems() -> list[str]:
    """Return the stems that have a file of rows; the course's vocabulary stands on the others."""
    names = (path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return sorted(names, key=lambda name: (name.startswith("course_"), name))


@cache
def all_twins() -> dict[str, Twin]:
    """Return every row by its name; raise ValueError where two share one."""
    found: dict[str, Twin] = {}
    for stem in stems():
        for row in importlib.import_module(f"{__name__}.{stem}").TWINS:
            if row.name in found:
                raise ValueError(f"expected a name of its own, got {row.name} in {stem} again")
            found[row.name] = replace(row, stem=stem, topic=row.topic or stem.replace("_", " "))
    return found


def twin(name: str) -> Twin:
    """Return a row by its name; raise ValueError for a name that none has."""
    rows = all_twins()
    if name not in rows:
        raise ValueError(f"expected one of {', '.join(rows)}, got {name!r}")
    return rows[name]
