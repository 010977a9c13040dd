"""Mistakes that a script can hide: each is planted, and the tests of the scripts must fail."""

from __future__ import annotations

from parity_tests.rows import Change, Mistake

SCRIPT_MISTAKES: tuple[Mistake, ...] = (
    Mistake(
        name="runs-of-different-length-agree",
        seen="a comparison that zips two histories and stops at the shorter one",
        change=Change(
            "scripts.runs.verdict",
            "if len(mine.history.costs) != len(other.history.costs):",
            "if False:",
        ),
    ),
)
