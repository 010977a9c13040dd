"""Conventions: toy rows that lie, and the command that prints the real ones."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from parity_tests import __main__ as command
from parity_tests import conventions
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.ledger import LEDGER
from parity_tests.findings import examine, in_words
from parity_tests.mistakes import Mistake
from parity_tests.rows import FunctionTwin
from parity_tests.twins import all_twins

ROWS = {row.name: row for row in conventions.conventions()}

#: dialects of the courses and errata of their notes, by the row or the mistake that holds them.
EXPECTED = {
    "momentum",
    "momentum-without-averaging",
    "rmsprop",
    "rmsprop-epsilon-inside",
    "adam",
    "adam-epsilon-inside",
    "adam-without-correction",
    "l2",
    "l1",
    "dropout",
    "batch-norm-running-averages",
    "xavier",
    "he",
    "input-normalization",
    "inverse-time-decay",
    "interval-decay",
    "exponential-decay",
    "natural-exponential-decay",
    "inverse-square-root-decay",
    "piecewise-constant",
    "cost-of-an-epoch",
    "clip-by-value",
    "clip-by-global-norm",
    "binary-cross-entropy",
    "float32-products",
    "relu-at-0",
    "leaky-relu-at-0",
    "absolute-value-at-0",
    "moving-average",
    "averaging-window",
    "normalization-over-sigma",
    "dropout-keeps-below",
    "l2-gradient",
    "adam-moves-along-v-hat",
}


def test_every_dialect_and_erratum_has_its_row():
    assert ROWS.keys() >= EXPECTED
    for row in ROWS.values():
        assert row.formula
        assert row.source
        assert any(one.values or one.wrong for one in row.mistakes), row.name


def lie(x, factor=1.0):
    """Return a quantity, and another that is never wrong."""
    return {"y": factor * x, "z": x + 1}


WRONG = Mistake(name="a tenth more", values=lambda x: lie(x, 1.1), margin=0.05, why="x + x / 10")
HONEST = FunctionTwin(
    name="doubling",
    topic="arithmetic",
    formula="y = x",
    torch="x.clone()",
    source="Peano",
    draw=lambda rng: {"x": rng.standard_normal((2, 3))},
    ours=lie,
    theirs=lie,
    bridge=None,
    mistakes=(WRONG,),
)


def refuted_by(**choices):
    """Return the honest row with another mistake."""
    return replace(HONEST, mistakes=(replace(WRONG, **{"name": "it", **choices}),))


def theirs(wrong):
    """Return the honest row with another function of torch."""
    return replace(HONEST, theirs=wrong)


LIES = {
    "translation wrong": (
        theirs(lambda x: lie(x, 1 + 1e-14)),
        r"doubling: y differs at \(\d, \d\)",
    ),
    "translation not finite": (theirs(lambda x: lie(x, np.nan)), "y: the reference is not finite"),
    "translation in float32": (
        theirs(lambda x: lie(x.astype("f4"))),
        "y: ours is float64 .*, theirs float32",
    ),
    "translation of another shape": (theirs(lambda x: lie(x[:1])), "y: ours is .* of shape"),
    "mistake agrees": (refuted_by(values=lie), "doubling, it: y is off by 0 only"),
    "mistake misses its margin": (refuted_by(margin=0.2), "doubling, it: y is off by 0.1 only"),
    "margin within a hundred budgets": (
        refuted_by(margin=99 * 16 * np.finfo(float).eps),
        "doubling, it: its margin 3.5e-13 is not 100 times the budget",
    ),
    "budget as wide as the mistake": (
        replace(HONEST, budget=Budget(name="loose", relative=0.01)),
        "doubling, a tenth more: its margin 0.05 is not 100 times the budget",
    ),
    "mistake breaks instead": (
        refuted_by(values=lambda x: lie(x, np.nan)),
        "doubling, it: y is nan where .* is right: no number at all",
    ),
    "mistake does not break": (refuted_by(margin=math.inf), "expected at least inf"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_caught(name):
    row, message = LIES[name]
    with LEDGER.unrecorded():
        failures = examine(row).failures
    assert any(re.search(message, failure) for failure in failures), failures


def test_an_honest_row_passes():
    with LEDGER.unrecorded():
        finding = examine(HONEST)
        assert finding.failures == []
        assert finding.wrong["a tenth more"].deviation.relative == pytest.approx(0.1)
        assert finding.allowed == FORWARD.eps
        nearly = examine(theirs(lambda x: lie(x, 1 + 1e-15)))
        assert (nearly.right.quantity, nearly.failures) == ("y", [])
        assert nearly.right.eps > 1
        broken = refuted_by(values=lambda x: lie(x, np.inf), margin=math.inf)
        assert examine(broken).failures == []


@pytest.mark.parametrize(
    "row",
    [
        refuted_by(values=lambda x: {}),
        refuted_by(values=lambda x: {"w": x}),
        refuted_by(values=lambda x: {"y": x[0]}),
        replace(HONEST, typed=lambda text, x: {"w": x}),
    ],
)
def test_rows_that_compare_nothing_are_refused(row):
    with LEDGER.unrecorded(), pytest.raises(ValueError, match=r"^expected "):
        examine(row)


def test_another_precision_is_noticed():
    """Where torch may round products to fewer bits, the row of float32 products fails."""
    torch.set_float32_matmul_precision("high")
    try:
        with LEDGER.unrecorded():
            assert examine(ROWS["float32-products"]).failures
    finally:
        torch.set_float32_matmul_precision("highest")


def test_deviations_in_words():
    said = {
        math.inf: "no number at all",
        8.96: "off by 9 times the right value",
        0.221: "off by 22%",
        1.4e-5: "off from digit 5 on (1.4e-05)",
        0.0: "equal",
    }
    assert {relative: in_words(relative) for relative in said} == said


def test_no_two_mistakes_of_a_row_are_the_same(findings):
    for finding in findings:
        measured = [one.deviation for one in finding.wrong.values() if one.deviation]
        assert len(set(measured)) == len(measured), finding.row.name


@pytest.fixture(scope="module")
def findings():
    """Return the measurements of every convention."""
    with LEDGER.unrecorded():
        return [examine(row) for row in ROWS.values()]


def run(capsys, *arguments):
    """Return the exit status and the printed text."""
    status = command.main(["conventions", *arguments])
    return status, capsys.readouterr().out


def test_the_table_has_every_row(capsys):
    status, printed = run(capsys)
    assert status == 0
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 120
    assert all(re.search(rf"^{name.upper()}\b", printed, re.MULTILINE) for name in ROWS)
    assert "all right ones inside, all wrong ones out" in printed


def test_one_question_is_answered_in_detail(capsys):
    status, printed = run(capsys, "Adam")
    assert status == 0
    assert max(map(len, printed.splitlines())) <= 110
    words = " ".join(printed.split())
    for expected in (
        "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
        "of 64 eps allowed (optimizer round-off)",
        "WRONG epsilon-hat form (Keras, TensorFlow, scikit-learn): off by ",
    ):
        assert expected in words
    assert "DROPOUT" not in printed


@pytest.mark.parametrize(
    ("words", "found"),
    [(["CLIPPING"], {"clip-by-value", "clip-by-global-norm"}), (["dampening"], {"momentum"})],
)
def test_rows_are_found_by_name_topic_or_mistake(words, found):
    assert found <= {row.name for row in conventions.find(words, list(ROWS.values()))}


@pytest.mark.parametrize("word", ["", " ", "adamm"])
def test_unknown_names_are_refused(capsys, word):
    with pytest.raises(SystemExit) as refused:
        command.main(["conventions", "adam", word])
    assert refused.value.code == 2
    message = capsys.readouterr().err
    assert "expected names or topics of conventions" in message
    assert all(name in message for name in ROWS)


def test_a_failing_row_fails_the_command(capsys, monkeypatch):
    for told, said in (
        ("translation wrong", "FAILS: doubling: y differs at"),
        ("mistake agrees", "FAILS: doubling, it: y is off by 0 only"),
    ):
        rows = [ROWS["clip-by-value"], LIES[told][0]]
        monkeypatch.setattr(conventions, "conventions", lambda rows=rows: rows)
        with LEDGER.unrecorded():
            for arguments in ([], ["doubling"]):
                status, printed = run(capsys, *arguments)
                assert status == 1
                assert said in printed


def test_an_interruption_is_no_traceback(capsys, monkeypatch):
    def interrupted(row):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "examine", interrupted)
    assert run(capsys, "adam") == (130, "")


def test_numbers_as_json(capsys, tmp_path):
    path = tmp_path / "made" / "here" / "conventions.json"
    status, _ = run(capsys, "absolute-value", "float32-products", "--json", str(path))

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    report = json.loads(path.read_text(), parse_constant=refuse)
    assert status == 0
    assert report["environment"]["torch"] == torch.__version__
    for row in report["conventions"]:
        for one in all_twins()[row["name"]].mistakes:
            if one.name in row["wrong"]:
                margin = None if math.isinf(one.margin) else one.margin
                assert row["wrong"][one.name]["margin"] == margin
    assert [one.name for one in path.parent.iterdir()] == ["conventions.json"]


def test_a_file_that_cannot_be_written_is_refused_before_the_work(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(command, "examine", None)
    for path in (tmp_path, tmp_path / "file" / "a.json"):
        with pytest.raises(SystemExit) as refused:
            command.main(["conventions", "clip", "--json", str(path)])
        assert refused.value.code == 2
        assert "expected --json to name a file that can be written" in capsys.readouterr().err


def test_the_markdown_table_is_one(capsys):
    _, printed = run(capsys, "--markdown")
    lines = printed.splitlines()
    assert len(lines) == len(ROWS) + 2
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines)


def test_the_command_runs_from_any_folder(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "parity_tests", "conventions", "clip-by-value"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CLIP-BY-VALUE (clipping)" in ended.stdout
