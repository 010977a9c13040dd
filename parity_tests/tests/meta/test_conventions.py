"""Conventions and accuracies: toy rows that lie, and the command that prints the real ones."""

from __future__ import annotations

import math
import re
import runpy
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from parity_tests import __main__ as command
from parity_tests import accuracy, findings
from parity_tests.accuracy import ACCURACIES, Accuracy, appraise
from parity_tests.compare.budgets import FORWARD, WIDE, Budget
from parity_tests.compare.reproducibility import pinned
from parity_tests.findings import examine
from parity_tests.mistakes import Mistake
from parity_tests.rows import FunctionTwin
from parity_tests.twins import all_twins

ROWS = {row.name: row for row in findings.conventions()}

#: dialects of the courses and errata of their notes, by the row or the mistake that holds them.
EXPECTED = """
    momentum momentum-without-averaging rmsprop rmsprop-epsilon-inside adam adam-epsilon-inside
    adam-without-correction adam-moves-along-v-hat l2 l2-gradient l1 dropout dropout-keeps-below
    batch-norm-running-averages xavier he input-normalization normalization-over-sigma
    inverse-time-decay interval-decay exponential-decay natural-exponential-decay
    inverse-square-root-decay piecewise-constant cost-of-an-epoch clip-by-value clip-by-global-norm
    binary-cross-entropy float32-products relu-at-0 leaky-relu-at-0 absolute-value-at-0
    moving-average averaging-window
"""

unrecorded = pytest.mark.usefixtures("unrecorded")


def test_every_dialect_and_erratum_has_its_row():
    assert ROWS.keys() >= set(EXPECTED.split())
    for row in ROWS.values():
        refuted = [one for one in row.mistakes if one.margin]
        assert row.formula and row.source and refuted, row.name  # noqa: PT018


def lie(x, factor=1.0):
    """Return a quantity, and another that is never wrong."""
    return {"y": factor * x, "z": x + 1}


WRONG = Mistake(name="a tenth more", values=lambda x: lie(x, 1.1), margin=0.05, why="x + x / 10")
TEXT = {"topic": "arithmetic", "formula": "y = x", "torch": "x.clone()", "source": "Peano"}
SIDES = {"ours": lie, "theirs": lie, "bridge": None, "mistakes": (WRONG,)}
DRAW = {"draw": lambda rng: {"x": rng.standard_normal((2, 3))}}
HONEST = FunctionTwin(name="doubling", **TEXT, **SIDES, **DRAW)


def refuted_by(**choices):
    return replace(HONEST, mistakes=(replace(WRONG, **{"name": "it", **choices}),))


def theirs(wrong):
    return replace(HONEST, theirs=wrong)


# fmt: off
LIES = {
    "translation wrong": (theirs(lambda x: lie(x, 1 + 1e-14)), "y differs at "),
    "translation not finite": (theirs(lambda x: lie(x, np.nan)), "y: the reference is not finite"),
    "translation of another shape": (theirs(lambda x: lie(x[:1])), "y: ours is .* of shape"),
    "mistake agrees": (refuted_by(values=lie), "y is off by 0 only"),
    "mistake misses its margin": (refuted_by(margin=0.2), "y is off by 0.1 only"),
    "margin within a hundred budgets": (
        refuted_by(margin=99 * 16 * np.finfo(float).eps), "its margin 3.5e-13 is not 100 times"),
    "budget as wide as the mistake": (
        replace(HONEST, budget=Budget(name="loose", relative=0.01)), "in 0.05 is not 100 times"),
    "mistake breaks instead": (
        refuted_by(values=lambda x: lie(x, np.nan)), "y is nan where .* is right: no num"),
    "mistake does not break": (refuted_by(margin=math.inf), "expected at least inf"),
}
# fmt: on


@unrecorded
@pytest.mark.parametrize("name", LIES)
def test_lies_are_caught(name):
    row, message = LIES[name]
    failures = examine(row).failures
    assert any(re.search(message, failure) for failure in failures), failures


@unrecorded
def test_an_honest_row_passes():
    finding = examine(theirs(lambda x: lie(x, 1 + 1e-15)))
    assert (finding.right.quantity, finding.failures, finding.allowed) == ("y", [], FORWARD.eps)
    assert finding.right.eps > 1
    assert finding.wrong[0].deviation.relative == pytest.approx(0.1)
    assert not examine(refuted_by(values=lambda x: lie(x, np.inf), margin=math.inf)).failures


@unrecorded
@pytest.mark.parametrize("values", [lambda x: {}, lambda x: {"w": x}, lambda x: {"y": x[0]}])
def test_rows_that_compare_nothing_are_refused(values):
    for row in (refuted_by(values=values), replace(HONEST, typed=lambda text, x: {"w": x})):
        with pytest.raises(ValueError, match=r"^expected "):
            examine(row)


@unrecorded
def test_another_precision_is_noticed():
    """Where torch may round products to fewer bits, the row of float32 products fails."""
    with pinned():
        torch.set_float32_matmul_precision("high")
        assert examine(ROWS["float32-products"]).failures


def test_deviations_in_words():
    found = [findings.in_words(one) for one in (np.inf, 0.0, 8.96, 0.221, 1.4e-5)]
    assert found[:3] == ["no number at all", "equal", "off by 9 times the right value"]
    assert found[3:] == ["off by 22%", "off from digit 5 on (1.4e-05)"]


@pytest.fixture
def run(capsys):
    """Return a function that runs a command: its exit status, and all that it prints."""

    def run(*arguments):
        status = command.main(arguments)
        return status, capsys.readouterr().out

    return run


@pytest.mark.parametrize("told", ["conventions", "accuracy"])
def test_every_row_is_printed(told, run):
    status, printed = run(told)
    assert status == 0
    assert max(map(len, printed.splitlines())) <= 108
    names = ROWS if told == "conventions" else [row.name for row in ACCURACIES]
    assert all(f"\n{name.upper()} (" in printed for name in names)
    right = {"conventions": "all right ones inside, all wrong ones out", "accuracy": "all true"}
    assert right[told] in printed
    assert printed.count("eps of float") == len(ACCURACIES) * (told == "accuracy") or not WIDE


def test_no_two_mistakes_of_a_row_are_the_same():
    for row in ROWS.values():
        wrong = [found.deviation for found in examine(row).wrong if found.deviation]
        assert len({*map(str, wrong)}) == len(wrong), row.name


def test_questions_are_answered_in_detail(run):
    """They are found by name, topic or mistake."""
    status, printed = run("conventions", "Adam", "CLIPPING", "dampening")
    found = {*re.findall(r"^([A-Z0-9-]+) \(", printed, re.MULTILINE)}
    assert found >= {"ADAM", "CLIP-BY-VALUE", "CLIP-BY-GLOBAL-NORM", "MOMENTUM"}
    words = " ".join(printed.split())
    assert status == 0
    assert "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)" in words
    assert "of 64 eps allowed (optimizer round-off)" in words
    wrong = r"WRONG epsilon-hat form \(Keras, TensorFlow, scikit-learn\): off by \d+%"
    assert re.search(rf"{wrong} theta\[\d+, \d\] is [\d.]+, right is [\d.]+ alpha_t = alpha", words)
    assert "DROPOUT" not in printed


@unrecorded
def test_a_failing_row_fails_the_command(run, monkeypatch):
    row = replace(LIES["mistake agrees"][0], theirs=LIES["translation wrong"][0].theirs)
    monkeypatch.setattr(findings, "conventions", lambda: [ROWS["clip-by-value"], row])
    status, printed = run("conventions")
    assert status == 1
    said = "(?s)right   FAILS: .*; y differs at .*WRONG   FAILS: it: .* by 0 only"
    assert re.search(said, printed)
    assert "2 FAIL" in printed


def test_bad_arguments_are_refused_before_the_work(run, capsys, monkeypatch):
    """And an interruption of it leaves no traceback."""
    monkeypatch.setattr(findings, "examine", Mock(side_effect=KeyboardInterrupt))
    assert run("conventions", "adam") == (130, "")
    known = {"conventions": ROWS, "accuracy": [row.name for row in ACCURACIES]}
    for told, names in known.items():
        for wrong in ("", " ", "adamm"):
            with pytest.raises(SystemExit, match="2"):
                run(told, "adam", wrong)
            message = capsys.readouterr().err
            assert all(one in message for one in (f"got {wrong or repr(wrong)}", *names))


def test_the_command_runs_from_any_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["parity_tests", "conventions", "clip-by-value"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(command.__file__, run_name="__main__")
    assert "CLIP-BY-VALUE (clipping)" in capsys.readouterr().out


def off(eps):
    return lambda x: x / 3 * (1 + eps * 2.0**-52)


THIRD = {"formula": "x / 3", "draw": lambda rng: {"x": rng.standard_normal(9)}}
BY_HAND = {"ours": lambda x: x / 3, "theirs": off(100), "bridge": None, "source": ""}
THIRDS = FunctionTwin(name="thirds", **THIRD, **BY_HAND)
TRUE = Accuracy(name="thirds", row="thirds", **THIRD, torch="x / 3 + x", why="", factor=100)
BAD = {"ours": lambda x: x / 3 * (1 + 10 * np.finfo(x.dtype).eps), "theirs": off(10)}
# fmt: off
#: changes of the row of accuracy, of both sides, and the failure.
UNTRUE = {
    "torch is not worse": ({}, {"theirs": off(0)}, "torch errs by .* eps only"),
    "torch is worse by less": ({"factor": 1e4}, {}, "torch errs by .* only"),
    "the other side is worse": ({"worse": "scratch"}, {}, r"torch errs by \S+ eps, allowed 16"),
    "ours is no number": ({}, {"ours": lambda x: x * np.nan}, "scratch errs by inf"),
    "both are as bad": ({"factor": 4}, BAD, r"torch errs by \S+ eps only, scratch by \d+"),
}
# fmt: on


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
@pytest.mark.parametrize("lie", UNTRUE)
def test_an_accuracy_that_is_not_true_says_so(lie, monkeypatch, run):
    choices, sides, message = UNTRUE[lie]
    monkeypatch.setitem(all_twins(), "thirds", THIRDS)
    assert appraise(TRUE)[1] == ""
    monkeypatch.setitem(all_twins(), "thirds", replace(THIRDS, **sides))
    monkeypatch.setattr(accuracy, "ACCURACIES", [replace(TRUE, **choices)])
    status, printed = run("accuracy", "Thirds")
    assert status == 1
    assert re.search(f"FAILS {message}.* 1 rows: 1 FAIL$", " ".join(printed.split()))


def test_a_machine_without_a_wider_dtype_says_so(monkeypatch):
    """Rows about float64 are skipped with the reason; those about float32 are measured."""
    monkeypatch.setattr(accuracy, "WIDEST", np.float64)
    for row in ACCURACIES:
        errors, failure = appraise(row)
        assert failure == ""
        assert row.factor >= 4
        assert errors.startswith("longdouble is no") == ("float32" not in row.name)
