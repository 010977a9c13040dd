"""The search script: two rounds of trainings, the best found, nothing lost when it is ended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

FLAGS = "--experiment moons --epochs 4 --trials 5 --workers 1"


def trials():
    return json.loads(Path("out/search.json").read_text())["trials"]


def test_the_fine_round_searches_around_the_best(script, run):
    search, printed = script("search_rates"), run("search_rates", FLAGS)
    tried = trials()
    coarse, fine = np.array([one["learning_rate"] for one in tried]).reshape(2, 5)
    assert np.ptp(np.log(fine)) < np.ptp(np.log(coarse))
    assert ((fine >= 1e-4) & (fine <= 1)).all()
    best_line = next(row for row in printed.splitlines() if row.startswith("best"))
    lowest = min(one["dev_cost"] for one in tried)
    assert float(best_line.split()[-1]) == pytest.approx(lowest, abs=1e-6)
    assert printed.count("coarse") == printed.count("fine") == 3
    point = {name: tried[0][name] for name in ("learning_rate", "l2")}
    moons = script("runs.experiments").EXPERIMENTS["moons"]
    draws = search.draw(search.replace(moons, epochs=4, **point), "float64")
    history = search.scratch_side.set_up(draws).walk().history
    assert tried[0]["dev_cost"] == history.dev_costs[-1] != history.costs[-1]


def test_diverged_trainings_are_passed_over(script, run, monkeypatch):
    """NaN is never among the best; where nothing else is, status 1 says so, all trials written."""
    search = script("search_rates")
    monkeypatch.setattr(search, "dev_cost", lambda point, **_: float("nan"))
    assert "every training diverged" in run("search_rates", FLAGS, 1)
    assert [one["dev_cost"] for one in trials()] == [None] * 5
    costs = iter([float("nan"), 3.0, float("nan"), 1.0, 2.0] * 2)
    monkeypatch.setattr(search, "dev_cost", lambda point, **_: next(costs))
    rows = [row.split() for row in run("search_rates", FLAGS).splitlines()]
    shown = [float(row[-1]) for row in rows if row[0] in ("coarse", "fine", "best")]
    assert shown == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]


def test_a_training_that_fails_keeps_the_others(script, run, monkeypatch):
    search = script("search_rates")
    honest, calls = search.scratch_side.set_up, []

    def end(draws):
        calls.append(draws)
        if len(calls) > 2:
            raise OSError("no room")
        return honest(draws)

    monkeypatch.setattr(search.scratch_side, "set_up", end)
    with pytest.raises(RuntimeError, match=r"failed at .*learning_rate.*no room"):
        run("search_rates", FLAGS)
    assert len(trials()) == 2
