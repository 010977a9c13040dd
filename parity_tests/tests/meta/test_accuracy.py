"""Rows about accuracy: each is true, and one that is not says so."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from parity_tests import __main__ as command
from parity_tests import accuracy
from parity_tests.accuracy import ACCURACIES, Accuracy, appraise, as_lines
from parity_tests.compare.budgets import WIDE, Budget

HONEST = Accuracy(
    name="thirds",
    quantity="x / 3",
    torch="x / 3, and then some",
    why="a hundred eps are added",
    draw=lambda rng: {"x": rng.standard_normal(9)},
    ours=lambda x: x / 3,
    theirs=lambda x: x / 3 * (1 + 100 * 2.0**-52),
    truth=lambda x: x / 3,
    factor=100,
)
LOOSE = Budget(name="loose", eps=1000)
# fmt: off
LIES = {
    "torch is not worse": ({"theirs": HONEST.ours}, "torch errs by .* eps only"),
    "torch is worse by less": ({"factor": 1e4}, "torch errs by .* only"),
    "the other side is worse": ({"worse": "scratch"}, r"torch errs by \S+ eps, allowed 16"),
    "ours is no number": ({"ours": lambda x: x * np.nan}, "scratch errs by inf"),
    "both are as bad": (
        {"ours": HONEST.theirs, "budget": LOOSE}, r"torch errs by \S+ eps only, scratch by \d+"),
}
# fmt: on


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
@pytest.mark.parametrize("lie", LIES)
def test_a_row_that_is_not_true_says_so(lie, monkeypatch, capsys):
    assert appraise(HONEST).failure == ""
    changes, message = LIES[lie]
    row = replace(HONEST, **changes)
    assert re.match(message, appraise(row).failure)
    monkeypatch.setattr(accuracy, "ACCURACIES", [row])
    assert command.main(["accuracy"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert f"FAILS {appraise(row).failure}" in printed
    assert printed.endswith("1 rows: 1 FAIL")


def test_the_command_prints_both_numbers_of_every_row(capsys):
    """Or of those that are asked for; an unknown name is answered with the list."""
    assert command.main(["accuracy"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 120
    assert all(f"{row.name.upper()} (" in printed and row.factor >= 4 for row in ACCURACIES)
    assert printed.count("eps of float") == len(ACCURACIES) or not WIDE
    assert command.main(["accuracy", "Adam"]) == 0
    assert capsys.readouterr().out.endswith("1 rows: all true\n")
    with pytest.raises(SystemExit, match="2"):
        command.main(["accuracy", "adam", "adamm"])
    message = capsys.readouterr().err
    assert all(name in message for name in (*(row.name for row in ACCURACIES), "got adamm"))


def test_a_machine_without_a_wider_dtype_says_so(monkeypatch):
    """Rows about float64 are skipped with the reason; those about float32 are measured."""
    monkeypatch.setattr(accuracy, "WIDEST", np.float64)
    for found in map(appraise, ACCURACIES):
        narrow = "" if "float32" in found.row.name else "longdouble is no wider than float64"
        assert (found.skipped, found.failure) == (narrow, "")
        assert narrow in " ".join(as_lines([found]))
