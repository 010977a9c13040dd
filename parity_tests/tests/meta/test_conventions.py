"""Conventions: toy rows that lie, and the command that prints the real ones."""

from __future__ import annotations

import json
import math
import re
import runpy
from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import __main__ as command
from parity_tests import conventions
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.reproducibility import pinned
from parity_tests.findings import examine, in_words
from parity_tests.mistakes import Mistake
from parity_tests.rows import FunctionTwin
from parity_tests.twins import all_twins

ROWS = {row.name: row for row in conventions.conventions()}

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


def test_every_dialect_and_erratum_has_its_row():
    assert ROWS.keys() >= set(EXPECTED.split())
    for row in ROWS.values():
        assert row.formula
        assert row.source
        assert any(one.margin for one in row.mistakes), row.name


def lie(x, factor=1.0):
    """Return a quantity, and another that is never wrong."""
    return {"y": factor * x, "z": x + 1}


WRONG = Mistake(name="a tenth more", values=lambda x: lie(x, 1.1), margin=0.05, why="x + x / 10")
unrecorded = pytest.mark.usefixtures("unrecorded")
TEXT = {"topic": "arithmetic", "formula": "y = x", "torch": "x.clone()", "source": "Peano"}
HONEST = FunctionTwin(
    name="doubling",
    **TEXT,
    draw=lambda rng: {"x": rng.standard_normal((2, 3))},
    **{"ours": lie, "theirs": lie, "bridge": None, "mistakes": (WRONG,)},
)


def refuted_by(**choices):
    return replace(HONEST, mistakes=(replace(WRONG, **{"name": "it", **choices}),))


def theirs(wrong):
    return replace(HONEST, theirs=wrong)


# fmt: off
LIES = {
    "translation wrong": (theirs(lambda x: lie(x, 1 + 1e-14)), "doubling: y differs at "),
    "translation not finite": (theirs(lambda x: lie(x, np.nan)), "y: the reference is not finite"),
    "translation of another shape": (theirs(lambda x: lie(x[:1])), "y: ours is .* of shape"),
    "mistake agrees": (refuted_by(values=lie), "doubling, it: y is off by 0 only"),
    "mistake misses its margin": (refuted_by(margin=0.2), "doubling, it: y is off by 0.1 only"),
    "margin within a hundred budgets": (
        refuted_by(margin=99 * 16 * np.finfo(float).eps),
        "doubling, it: its margin 3.5e-13 is not 100 times the budget"),
    "budget as wide as the mistake": (
        replace(HONEST, budget=Budget(name="loose", relative=0.01)),
        "doubling, a tenth more: its margin 0.05 is not 100 times the budget"),
    "mistake breaks instead": (
        refuted_by(values=lambda x: lie(x, np.nan)),
        "doubling, it: y is nan where .* is right: no number at all"),
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
    assert finding.wrong["a tenth more"].deviation.relative == pytest.approx(0.1)
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
    assert [in_words(one) for one in (math.inf, 0.0)] == ["no number at all", "equal"]
    assert in_words(8.96) == "off by 9 times the right value"
    assert in_words(0.221) == "off by 22%"
    assert in_words(1.4e-5) == "off from digit 5 on (1.4e-05)"


def run(capsys, *arguments):
    status = command.main(["conventions", *arguments])
    return status, capsys.readouterr().out


def test_every_row_is_in_every_form(capsys, monkeypatch, tmp_path):
    """As a table, as Markdown, as JSON without NaN; no two mistakes of a row are the same."""
    found = [examine(row) for row in ROWS.values()]
    monkeypatch.setattr(command, "examine", lambda row: found[[*ROWS].index(row.name)])
    path = tmp_path / "made" / "here" / "conventions.json"
    status, printed = run(capsys, "--json", str(path))
    assert status == 0
    assert max(map(len, printed.splitlines())) <= 120
    assert all(re.search(rf"^{name.upper()}\b", printed, re.MULTILINE) for name in ROWS)
    assert "all right ones inside, all wrong ones out" in printed
    lines = run(capsys, "--markdown")[1].splitlines()
    assert len(lines) == len(ROWS) + 2
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines)
    report = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert report["environment"]["torch"] == torch.__version__
    assert [one.name for one in path.parent.iterdir()] == ["conventions.json"]
    for row in report["conventions"]:
        margins = {one.name: one.margin for one in all_twins()[row["name"]].mistakes}
        for name, one in row["wrong"].items():
            assert one["margin"] == (None if math.isinf(margins[name]) else margins[name])
        measured = [str(one["deviation"]) for one in row["wrong"].values() if one["deviation"]]
        assert len({*measured}) == len(measured), row["name"]


def test_one_question_is_answered_in_detail(capsys):
    status, printed = run(capsys, "Adam")
    assert status == 0
    assert max(map(len, printed.splitlines())) <= 110
    words = " ".join(printed.split())
    assert "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)" in words
    assert "of 64 eps allowed (optimizer round-off)" in words
    assert "WRONG epsilon-hat form (Keras, TensorFlow, scikit-learn): off by " in words
    assert "DROPOUT" not in printed


def test_rows_are_found_by_name_topic_or_mistake(capsys):
    found = {row.name for row in conventions.find(["CLIPPING", "dampening"], [*ROWS.values()])}
    assert found >= {"clip-by-value", "clip-by-global-norm", "momentum"}
    for word in ("", " ", "adamm"):
        with pytest.raises(SystemExit, match="2"):
            command.main(["conventions", "adam", word])
        message = capsys.readouterr().err
        assert "expected names or topics of conventions" in message
        assert all(name in message for name in ROWS)


@unrecorded
def test_a_failing_row_fails_the_command(capsys, monkeypatch):
    row = replace(LIES["mistake agrees"][0], theirs=LIES["translation wrong"][0].theirs)
    monkeypatch.setattr(conventions, "conventions", lambda: [ROWS["clip-by-value"], row])
    for arguments in ([], ["doubling"]):
        status, printed = run(capsys, *arguments)
        assert status == 1
        assert "FAILS: doubling: y differs at" in printed
        assert "FAILS: doubling, it: y is off by 0 only" in printed


def test_a_bad_path_is_refused_before_the_work(capsys, monkeypatch, tmp_path):
    """And an interruption of it leaves no traceback."""
    monkeypatch.setattr(command, "examine", None)
    with pytest.raises(SystemExit, match="2"):
        command.main(["conventions", "clip", "--json", str(tmp_path)])
    assert "expected --json to name a file that can be written" in capsys.readouterr().err

    def interrupted(row):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "examine", interrupted)
    assert run(capsys, "adam") == (130, "")


def test_the_command_runs_from_any_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["parity_tests", "conventions", "clip-by-value"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(command.__file__, run_name="__main__")
    assert "CLIP-BY-VALUE (clipping)" in capsys.readouterr().out
