"""Rows about accuracy: each is true, and one that is not says so."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from parity_tests import __main__ as command
from parity_tests import accuracy
from parity_tests.accuracy import ACCURACIES, Accuracy, appraise
from parity_tests.compare.budgets import WIDE
from parity_tests.rows import FunctionTwin
from parity_tests.twins import all_twins


def off(eps):
    return lambda x: x / 3 * (1 + eps * 2.0**-52)


TEXT = {"formula": "x / 3", "draw": lambda rng: {"x": rng.standard_normal(9)}}
CHOICES = {"bridge": None, "source": ""}
THIRDS = FunctionTwin(name="thirds", **TEXT, **CHOICES, ours=lambda x: x / 3, theirs=off(100))
HONEST = Accuracy(name="thirds", row="thirds", **TEXT, torch="x / 3 + x", why="", factor=100)
BAD = {"ours": lambda x: x / 3 * (1 + 10 * np.finfo(x.dtype).eps), "theirs": off(10)}
# fmt: off
#: changes of the row of accuracy, of both sides, and the failure.
LIES = {
    "torch is not worse": ({}, {"theirs": off(0)}, "torch errs by .* eps only"),
    "torch is worse by less": ({"factor": 1e4}, {}, "torch errs by .* only"),
    "the other side is worse": ({"worse": "scratch"}, {}, r"torch errs by \S+ eps, allowed 16"),
    "ours is no number": ({}, {"ours": lambda x: x * np.nan}, "scratch errs by inf"),
    "both are as bad": ({"factor": 4}, BAD, r"torch errs by \S+ eps only, scratch by \d+"),
}
# fmt: on


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
@pytest.mark.parametrize("lie", LIES)
def test_a_row_that_is_not_true_says_so(lie, monkeypatch, capsys):
    choices, sides, message = LIES[lie]
    monkeypatch.setitem(all_twins(), "thirds", THIRDS)
    assert appraise(HONEST)[1] == ""
    monkeypatch.setitem(all_twins(), "thirds", replace(THIRDS, **sides))
    monkeypatch.setattr(accuracy, "ACCURACIES", [replace(HONEST, **choices)])
    assert command.main(["accuracy"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(f"FAILS {message}.* 1 rows: 1 FAIL$", printed)


def test_the_command_prints_both_numbers_of_every_row(capsys):
    """Or of those that are asked for; an unknown name is answered with the list."""
    assert command.main(["accuracy"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 108
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
    for row in ACCURACIES:
        errors, failure = appraise(row)
        assert failure == ""
        assert errors.startswith("longdouble is no") == ("float32" not in row.name)
