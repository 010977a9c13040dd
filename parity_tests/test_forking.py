"""Runs of one changed module: what a change breaks is seen, what it does not break is not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from scratch import linear

SCRIPTS = Path(__file__).parent.parent / "scripts"

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
    forking = importlib.import_module("forking")
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
    assert "assert array([[0.]]) == 2" in verdict.output
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


def test_a_module_that_no_test_imports_is_told(run):
    """What was never loaded was never tried."""
    verdict = run("Splits into", "Cuts into", module="scratch.splits")
    assert not verdict.caught
    assert verdict.reason == "never imported"


@pytest.mark.parametrize(
    ("change", "limit", "reason"),
    [
        ("os.kill(os.getpid(), 11)", 20.0, "signal SIGSEGV"),
        ("time.sleep(60)", 0.5, "timeout after 0.5 s"),
    ],
    ids=["a crash", "an endless loop"],
)
def test_a_run_that_does_not_end_is_caught_with_its_reason(change, limit, reason, run):
    """The child dies alone, and its death says enough."""
    verdict = run("    return W @", f"    import os, time; {change}\n    return W @", limit=limit)
    assert verdict.failed == ()
    assert verdict.reason == reason
    assert verdict.caught
