"""Where one side is the less accurate one: each row is true, and a row that is not says so."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from parity_tests import __main__ as command
from parity_tests import accuracy
from parity_tests.accuracy import ACCURACIES, FACTOR, LEAST, Accuracy, appraise, as_lines
from parity_tests.compare.budgets import WIDE, Budget

ROWS = {row.name: row for row in ACCURACIES}

EPS = float(np.finfo(float).eps)

HONEST = Accuracy(
    name="thirds",
    quantity="x / 3",
    torch="x / 3, and then some",
    why="a hundred eps are added",
    draw=lambda rng: {"x": rng.standard_normal(9)},
    ours=lambda x: x / 3,
    theirs=lambda x: x / 3 * (1 + 100 * EPS),
    truth=lambda x: x / 3,
    factor=100,
)


@pytest.mark.parametrize("name", ROWS)
def test_one_side_is_the_worse_one(name):
    """By its factor and more than two eps, while the other is inside its budget."""
    row = ROWS[name]
    found = appraise(row)
    if found.skipped:
        pytest.skip(found.skipped)
    assert found.failure == ""
    assert found.ratio >= row.factor >= FACTOR
    worse, better = found.theirs, found.ours
    if row.worse == "scratch":
        worse, better = better, worse
    assert worse > LEAST
    assert better <= row.budget.eps <= 16


def test_the_cases_that_everybody_meets_are_listed():
    """Saturated BCELoss, torch's 1e-6 and its float32 Adam; where scratch is worse, that too."""
    assert {row.worse for row in ACCURACIES} == {"torch", "scratch"}
    assert len(ROWS) == len(ACCURACIES)
    for word in ("bce-of", "gradient-of-bce", "clipping", "adam", "norm-of-tiny", "float32"):
        assert any(word in name for name in ROWS)


LIES = {
    "torch is not worse": (replace(HONEST, theirs=HONEST.ours), "torch errs by .* eps only"),
    "torch is worse by less than it says": (replace(HONEST, factor=1e4), "torch errs by .* only"),
    "ours is outside its budget": (
        replace(HONEST, ours=lambda x: x / 3 * (1 + 20 * EPS)),
        r"scratch errs by \S+ eps, allowed 16",
    ),
    "the other side is the worse one": (
        replace(HONEST, worse="scratch"),
        r"torch errs by \S+ eps, allowed 16",
    ),
    "ours is no number": (replace(HONEST, ours=lambda x: x * np.nan), "scratch errs by inf"),
    "both are as bad": (
        replace(HONEST, ours=HONEST.theirs, budget=Budget(name="loose", eps=1000)),
        r"torch errs by \S+ eps only, scratch by \d+",
    ),
}


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
@pytest.mark.parametrize("lie", LIES)
def test_a_row_that_is_not_true_says_so(lie, monkeypatch, capsys):
    """In its failure, in what is printed, and in the exit status."""
    assert appraise(HONEST).failure == ""
    row, message = LIES[lie]
    failure = appraise(row).failure
    assert re.match(message, failure)
    monkeypatch.setattr(accuracy, "ACCURACIES", [row])
    assert command.main(["accuracy"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert f"FAILS {failure}" in printed
    assert printed.endswith("1 rows: 1 FAIL")


def test_the_command_prints_both_numbers(capsys):
    """Every row with both distances, in ASCII, at most 120 characters across."""
    assert command.main(["accuracy"]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 120
    for name in ROWS:
        assert f"{name.upper()} (" in printed
    if WIDE:
        assert printed.count("eps of float") == len(ROWS)
    assert command.main(["accuracy", "Adam"]) == 0
    assert capsys.readouterr().out.endswith("1 rows: all true\n")


def test_unknown_names_are_refused(capsys):
    """Status 2, and a list of what is known."""
    with pytest.raises(SystemExit) as refused:
        command.main(["accuracy", "adam", "adamm"])
    assert refused.value.code == 2
    message = capsys.readouterr().err
    assert "got adamm" in message
    assert all(name in message for name in ROWS)


def test_an_interruption_is_no_traceback(capsys, monkeypatch):
    """Control-C in the middle of measuring: status 130, nothing printed."""

    def interrupted(row):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "appraise", interrupted)
    assert command.main(["accuracy"]) == 130
    assert capsys.readouterr().out == ""


def test_a_machine_without_a_wider_dtype_says_so(monkeypatch):
    """Rows about float64 are skipped with the reason; those about float32 are measured."""
    monkeypatch.setattr(accuracy, "WIDEST", np.float64)
    skipped = {row.name: appraise(row).skipped for row in ACCURACIES}
    for name, reason in skipped.items():
        assert reason == ("" if "float32" in name else "longdouble is no wider than float64")
    assert not any(appraise(row).failure for row in ACCURACIES)
    assert any("no wider" in line for line in as_lines([appraise(ACCURACIES[0])]))
