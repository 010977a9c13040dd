"""compare.py: both sides agree in every experiment, and a difference is found and named."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parity_tests import TRAINING, assert_close
from parity_tests.compare.budgets import FORWARD
from scratch.training import History


def test_a_quantity_is_judged_by_its_own_budget(script):
    """The worst is what uses up most of its budget; NaN, other shapes and dtypes never pass."""
    agreement = script("runs.agreement")
    one, eps = np.array([1.0, 2.0]), 2.0**-52
    long = agreement.Compared("trained", one, one + 2000 * eps, TRAINING)
    short = agreement.Compared("formula", one, one + 40 * eps, FORWARD)
    for order in ([long, short], [short, long]):
        found = agreement.judge(order)
        assert (found.name, found.allowed, found.inside) == ("formula", 16.0, False)
    assert agreement.judge([long]).inside
    broken = np.array([1.0, np.nan])
    for pair in ((one, broken), (broken, one), (broken, broken)):
        assert not agreement.judge([agreement.Compared("cost", *pair)]).inside
    assert not agreement.Agreement(float("nan"), "cost").inside
    for theirs in (one[:1], one[None], np.float64(1), one.astype(np.float32)):
        with pytest.raises(ValueError, match="expected both sides of paths alike"):
            agreement.Compared("paths", one, theirs).measured(eps)


def test_every_training_agrees(script, trained):
    """Two epochs of each experiment: parameters, running averages and costs, tensor by tensor."""
    for name, experiment in script("runs.experiments").EXPERIMENTS.items():
        runs = trained(name)
        assert runs.agreement.inside, (name, runs.agreement)
        seen = {one.name: one for one in script("runs.agreement").quantities(runs.mine, runs.other)}
        assert {"W1", "step_costs", "costs", "dev_costs"} < seen.keys()
        assert ("mean1" in seen) == ("variance2" in seen) == experiment.batch_norm
        for one in seen.values():
            assert not np.shares_memory(one.ours, one.theirs)
            if one.theirs.any():
                assert_close(one.ours, one.theirs, f"{name}, {one.name}", budget=TRAINING)
            else:
                assert not one.ours.any()


def test_accuracies_are_judged_in_float64(script, trained):
    runs, judge = trained("breast-cancer"), script("runs.agreement").judge_runs
    for name in ("accuracies", "dev_accuracies", "test accuracy"):
        other = replace(runs.other, history=deepcopy(runs.other.history))
        if name == "test accuracy":
            other = replace(other, test_accuracy=lambda: 0.25)
        else:
            getattr(other.history, name)[0] += 0.25
        found = judge(runs.mine, other, "float64")
        assert (found.name, found.inside) == (name, False)
        assert judge(runs.mine, other, "float32").inside


def test_the_main_job(run, is_picture):
    printed = run("compare", "--epochs 5 --every 2")
    assert "float64: inside the budget" in printed
    rows = [line.split() for line in printed.splitlines() if line[:6].strip().isdigit()]
    assert [(int(one[0]), len(one)) for one in rows] == [(1, 6), (2, 6), (4, 6), (5, 6)]
    assert is_picture(Path("compare.png"))
    summary = json.loads(Path("compare.json").read_text())
    assert summary["agreed"]
    assert summary["largest_parameter_difference"] < 1e-10
    assert summary["test_accuracy"][0] == summary["test_accuracy"][1] >= 0.9
    for side in ("scratch", "torch"):
        for name in ("costs", "accuracies", "dev_costs", "dev_accuracies", "seconds"):
            assert len(summary["histories"][side][name]) == summary["epochs"] == 5


@pytest.mark.parametrize("patience", [1, 2])
def test_runs_that_stop_early_agree_or_part(patience, script, run, monkeypatch):
    line, side = script("runs.command_line"), script("runs.scratch_side")
    wandering = replace(line.EXPERIMENTS["moons-constant"], patience=1)
    monkeypatch.setattr(line, "EXPERIMENTS", {"moons-constant": wandering})
    honest = side.EarlyStopping
    monkeypatch.setattr(side, "EarlyStopping", lambda **_: honest(patience=patience))
    printed = run("compare", "--experiment moons-constant", patience - 1)
    assert "stopped early after" in printed
    parts = "OUTSIDE the budget, inf eps units in number of steps" in printed
    assert parts == ("or in where they stop" in printed) == (patience == 2)


def nudged(honest):
    def moved(network, parameters, device):
        parameters = parameters.copy()
        parameters["W2"][3, 4] += 1e-9
        return honest(network, parameters, device)

    return moved


@pytest.mark.parametrize("parted", [False, True])
def test_float32_is_held_against_float64(parted, script, run, monkeypatch):
    """A weight moved by less than an ulp of float32 still parts the runs in float64."""
    if parted:
        side = script("runs.torch_side")
        monkeypatch.setattr(side, "twin", nudged(side.twin))
    printed = run("compare", "--dtype float32 --epochs 1", parted)
    errors = re.search(r"in float64: scratch (\S+), torch (\S+) eps units", printed)
    assert 0 < float(errors[1]) < 100 > float(errors[2]) > 0
    assert "float32: inside the budget" in printed
    assert f"float64: {'OUTSIDE' if parted else 'inside'} the budget" in printed


def told(change):
    """Return a change of a function, or of each in a table: it is told something else."""
    return lambda honest: (
        {key: told(change)(one) for key, one in honest.items()}
        if isinstance(honest, Mapping)
        else lambda *given, **choices: honest(*given, **{**choices, **change(choices)})
    )


def raised(honest):
    return lambda module: {**honest(module), "mean1": honest(module)["mean1"] + 1e-9}


# fmt: off
#: a module, what is changed there, how, and where the runs then part at which step.
PLANTED = {
    "another beta2": ("scratch_side", "OPTIMIZERS", told(lambda _: {"beta2": 0.99}), 2, r"W1\["),
    "another schedule": ("scratch_side", "SCHEDULES", told(lambda _: {"rate": 0.9}), 1, r"\w+\["),
    "a moved weight": ("torch_side", "twin", nudged, 1, r"Z_tilde2\[3|Z2\[3|W2\[3, 4\]"),
    "other running averages": ("torch_side", "unload_running", raised, 1, r"mean1\["),
    "another penalty": (
        "scratch_side", "training_steps", told(lambda given: {"l2": 2 * given["l2"]}), 1,
        "cost after layer 3"),
}
# fmt: on


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_named(planted, script, run, monkeypatch):
    module, name, change, step, where = PLANTED[planted]
    side = script(f"runs.{module}")
    monkeypatch.setattr(side, name, change(getattr(side, name)))
    flags = "--experiment digits-regularized --epochs 1 --batch-size 90"
    printed = run("compare", flags, 1)
    assert "float64: OUTSIDE the budget" in printed
    assert re.search(rf"the runs part at step {step}, layer \d, unit \d+: (the )?{where}", printed)


def test_a_picture_of_several_trainings_runs_them_all(script, run, monkeypatch):
    """Each has its files, the worst status is returned, Ctrl-C ends them all."""
    flags = "--experiment decay --epochs 1 --out both.png"
    run("compare", flags)
    for name in ("moons-constant", "moons-decay"):
        assert Path(f"both-{name}.png").is_file()
        report = json.loads(Path(f"both-{name}.json").read_text())
        assert (report["experiment"], report["agreed"]) == (name, True)
    for statuses, status, left in (([1, 0], 1, 0), ([0, 1], 1, 0), ([130, 0], 130, 1)):
        given = lambda _, statuses=statuses: statuses.pop(0)  # noqa: E731
        monkeypatch.setattr(script("compare"), "train", given)
        run("compare", flags, status)
        assert len(statuses) == left


def test_a_demonstration_parts(script, run, monkeypatch):
    """A beta of 0.9000001 on one side: status 1, the quantity named, by both scripts."""
    averages = script("runs.demonstrations").moving_averages
    honest = averages.moving_average
    other = lambda x, beta, *rest: honest(x, beta + 1e-7, *rest)  # noqa: E731
    monkeypatch.setattr(averages, "moving_average", other)
    printed = run("compare", "--experiment moving-averages", 1)
    assert "the sides part in beta = 0.98, as it is[" in printed
    assert not json.loads(Path("compare.json").read_text())["agreed"]
    drawn = run("figures", "--only moving-averages --workers 1", 1)
    assert "the sides part in moving-averages\n" in drawn


def test_learning_curves_and_searches_train_on_two_sides(script, monkeypatch):
    """Each side as often; few examples for more epochs: their error is not undertraining."""
    demonstrations, walked = script("runs.demonstrations"), []

    def history(experiment, data, side):
        m = data.train[0].shape[1]
        walked.append((side, m, experiment.epochs * -(-m // experiment.batch_size)))
        return History([1.0], [1.0], [0.5], [1.0], [0.5], [0.0])

    monkeypatch.setattr(demonstrations, "history", history)
    list(demonstrations.search_points(1))
    sides = [side for side, *_ in walked]
    for side in (demonstrations.scratch_side, demonstrations.torch_side):
        assert sides.count(side) == 50
    walked.clear()
    list(demonstrations.learning_curves(40))
    for side in (demonstrations.scratch_side, demonstrations.torch_side):
        assert [m for at, m, _ in walked if at is side] == [*demonstrations.SIZES] * 2
    steps = np.array([one for *_, one in walked]).reshape(2, -1)
    assert np.ptp(steps, axis=1).max() <= 20
    assert steps.min() > 650
