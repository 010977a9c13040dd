"""Runs of one changed module: what a change breaks is seen, what it does not break is not."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from scratch import linear

SCRIPTS = Path(__file__).parents[3] / "scripts"

pytestmark = pytest.mark.skipif(
    not SCRIPTS.is_dir(), reason="the scripts are not beside the package"
)

TEST = """
import os, time
import numpy as np
from scratch.linear import linear_forward

def test_b_is_added():
    one = np.ones((1, 1))
    assert linear_forward(one, one, one)[0] == 2
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return what runs a test of the linear layer where its source has a text for another."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    forking = importlib.import_module("mutants.forking")
    path = tmp_path / "test_b.py"
    path.write_text(TEST)

    def changed(old, new, module="scratch.linear", limit=20.0):
        source = forking.source_of(module)
        assert old in source
        return forking.run_changed(module, source.replace(old, new), [str(path)], limit=limit)

    return changed


def test_a_change_of_no_consequence_is_not_caught(run):
    """A run that called everything caught would lie."""
    verdict = run("Z = W A_prev + b.", "Z = W A_prev + b!")
    assert verdict.failed == ()
    assert verdict.reason == ""
    assert not verdict.caught


def test_a_bug_is_caught_by_name_and_leaves_nothing_behind(run):
    """The failing test is named; this process, the file and its compiled cache stay as they are."""
    before = linear.linear_forward, Path(linear.__file__).read_bytes()
    cached = Path(importlib.util.cache_from_source(linear.__file__))
    compiled = cached.read_bytes() if cached.exists() else None
    verdict = run("+ b, Lin", "- b, Lin")
    assert [one.rpartition("::")[2] for one in verdict.failed] == ["test_b_is_added"]
    assert verdict.caught
    assert verdict.message == "assert array([[0.]]) == 2"
    assert sys.modules["scratch.linear"].linear_forward is before[0]
    assert Path(linear.__file__).read_bytes() == before[1]
    assert (cached.read_bytes() if cached.exists() else None) == compiled
    one = np.ones((1, 1))
    assert linear.linear_forward(one, one, one)[0] == 2


def test_code_that_cannot_be_imported_is_not_caught(run):
    """A typing error is no mistake that a test has seen."""
    verdict = run("+ b, Lin", "+ c c, Lin")
    assert not verdict.caught
    assert verdict.reason.startswith("not collected: ")
    assert "SyntaxError" in verdict.message


def test_a_module_that_no_test_imports_is_told(run):
    """What was never loaded was never tried."""
    verdict = run("Splits into", "Cuts into", module="scratch.splits")
    assert not verdict.caught
    assert verdict.reason == "never imported"


@pytest.mark.parametrize(
    ("change", "limit", "reason", "caught"),
    [
        ("os.kill(os.getpid(), 11)", 20.0, "signal SIGSEGV", True),
        ("time.sleep(60)", 0.2, "timeout after 0.2 s", False),
    ],
    ids=["a crash", "an endless loop"],
)
def test_a_run_that_does_not_end_is_told_with_its_reason(change, limit, reason, caught, run):
    """The child dies alone, and its death says enough; a busy machine may take its time."""
    verdict = run("    return W @", f"    import os, time; {change}\n    return W @", limit=limit)
    assert verdict.failed == ()
    assert verdict.reason == reason
    assert verdict.caught == caught


@pytest.fixture
def planting(monkeypatch, tmp_path):
    """Return the script that plants the catalogue, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("planted_bugs")


ELSEWHERE = ("parity_tests/tests/stems/test_splits.py::test_sizes",)
AT_HOME = (*ELSEWHERE, "parity_tests/tests/stems/test_linear.py::test_linear[float64]")


@pytest.mark.parametrize(
    ("planted", "failed", "reason", "status"),
    [
        (True, AT_HOME, "", 0),
        (True, ELSEWHERE, "", 1),
        (True, (), "", 1),
        (True, (), "not collected: parity_tests/tests/stems/test_linear.py", 1),
        (True, (), "never imported", 1),
        (True, (), "signal SIGSEGV", 0),
        (True, (), "timeout after 120 s", 1),
        (False, (), "", 0),
        (False, AT_HOME, "", 1),
        (False, (), "timeout after 120 s", 1),
    ],
)
def test_the_exit_status_tells_whether_all_is_as_expected(
    planted, failed, reason, status, planting, monkeypatch, capsys
):
    """A bug must be caught at its own concept; where nothing is planted nothing may fail."""
    bug = next(one for one in planting.PLANTED_BUGS if one.concept == "linear")
    verdict = planting.Verdict(failed, 1.0, reason, "")
    trial = planting.Trial(bug if planted else None, "linear", verdict)
    monkeypatch.setattr(planting, "walk", lambda *_: _[-1].append(trial))
    assert planting.main(["linear", "--json", "out.json"]) == status
    assert f"{int(planted and not status)} of {int(planted)} planted" in capsys.readouterr().out
    (entry,) = json.loads(Path("out.json").read_text())
    assert entry["as_expected"] == (status == 0)
    assert entry["bug"] == (bug.name if planted else None)


def test_what_was_found_before_an_interrupt_is_kept(planting, monkeypatch, capsys):
    """Ctrl-C leaves with its own status and the table so far."""
    bug = planting.PLANTED_BUGS[0]

    def interrupted(bugs, jobs, everywhere, trials):
        verdict = planting.Verdict(
            (f"parity_tests/tests/stems/test_{bug.concept}.py::test_it",), 1.0, "", ""
        )
        trials.append(planting.Trial(bug, bug.concept, verdict))
        raise KeyboardInterrupt

    monkeypatch.setattr(planting, "walk", interrupted)
    assert planting.main([]) == 130
    printed = capsys.readouterr()
    assert "1 of 1 planted bugs caught" in printed.out
    assert f"interrupted after 1 of {len(planting.PLANTED_BUGS)}" in printed.err


def test_unknown_names_are_refused(planting, capsys):
    """The message lists the concepts there are."""
    with pytest.raises(SystemExit) as left:
        planting.main(["linear", "nonsense"])
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert "expected part of a bug's name, or one of activations, " in printed
    assert "got 'nonsense'" in printed
