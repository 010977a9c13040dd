"""The search script: two rounds of trainings, the best found, nothing lost when it is ended."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"

pytestmark = pytest.mark.skipif(
    not SCRIPTS.is_dir(), reason="the scripts are not beside the package"
)

FLAGS = ["--experiment", "moons", "--epochs", "4", "--trials", "5", "--workers", "1"]


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import the script, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("search_rates")


def test_the_fine_round_searches_around_the_best(script, capsys):
    """Both rounds are written; the second lies inside the box that the first has left."""
    assert script.main(FLAGS) == 0
    printed = capsys.readouterr().out
    trials = json.loads(Path("out/search.json").read_text())["trials"]
    assert len(trials) == 10
    rates = np.array([one["learning_rate"] for one in trials])
    coarse, fine = rates[:5], rates[5:]
    assert np.ptp(np.log(fine)) < np.ptp(np.log(coarse))
    assert ((fine >= 1e-4) & (fine <= 1)).all()
    lowest = min(one["dev_cost"] for one in trials)
    best_line = next(row for row in printed.splitlines() if row.startswith("best"))
    assert float(best_line.split()[-1]) == pytest.approx(lowest, abs=1e-6)
    assert printed.count("coarse") == printed.count("fine") == 3
    point = {name: trials[0][name] for name in ("learning_rate", "l2")}
    moons = importlib.import_module("runs.experiments").EXPERIMENTS["moons"]
    draws = script.draw(script.replace(moons, epochs=4, **point), "float64")
    history = script.scratch_side.set_up(draws).walk().history
    assert trials[0]["dev_cost"] == history.dev_costs[-1] != history.costs[-1]


def test_diverged_trainings_are_passed_over(script, monkeypatch, capsys):
    """NaN is never among the best; where nothing else is, status 1 says so, all trials written."""
    monkeypatch.setattr(script, "dev_cost", lambda point, **_: float("nan"))
    assert script.main(FLAGS) == 1
    assert "every training diverged" in capsys.readouterr().err
    assert [
        one["dev_cost"] for one in json.loads(Path("out/search.json").read_text())["trials"]
    ] == [None] * 5
    costs = iter([float("nan"), 3.0, float("nan"), 1.0, 2.0] * 2)
    monkeypatch.setattr(script, "dev_cost", lambda point, **_: next(costs))
    assert script.main(FLAGS) == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    shown = [float(row[-1]) for row in rows if row[0] in ("coarse", "fine", "best")]
    assert shown == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]


def test_an_interrupted_search_keeps_its_trials(script, monkeypatch, capsys):
    """Ctrl-C in the seventh training: status 130, six trials written, the best of them named."""
    honest, calls = script.scratch_side.set_up, []

    def interrupt(draws):
        calls.append(draws)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return honest(draws)

    monkeypatch.setattr(script.scratch_side, "set_up", interrupt)
    assert script.main(FLAGS) == 130
    assert "interrupted after 6 trials" in capsys.readouterr().out
    assert len(json.loads(Path("out/search.json").read_text())["trials"]) == 6


def test_a_failing_training_keeps_the_others(script, monkeypatch):
    """The failure names its point; the trials before it are written."""
    honest, calls = script.scratch_side.set_up, []

    def fail(draws):
        calls.append(draws)
        if len(calls) == 3:
            raise OSError("no room")
        return honest(draws)

    monkeypatch.setattr(script.scratch_side, "set_up", fail)
    with pytest.raises(RuntimeError, match=r"the objective failed at .*learning_rate.*no room"):
        script.main(FLAGS)
    assert len(json.loads(Path("out/search.json").read_text())["trials"]) == 2


BAD_FLAGS = [
    ["--l2", "1"],
    ["--learning-rate", "1"],
    ["--trials", "0"],
    ["--workers", "0"],
    ["--out", "x.csv"],
]


@pytest.mark.parametrize("flags", BAD_FLAGS, ids=" ".join)
def test_bad_flags_leave_with_status_2(flags, script, capsys):
    """What is searched for cannot be given, and numbers are checked."""
    with pytest.raises(SystemExit) as left:
        script.main(flags)
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err
