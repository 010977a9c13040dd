"""compare.py: both sides agree in every experiment, and a difference is found and named."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from parity_tests import TRAINING, assert_close
from parity_tests.compare.budgets import FORWARD
from scratch.training import History

#: demonstrations, and the flags that make them short.
DEMONSTRATIONS = {
    "saddle": [],
    "schedules": [],
    "moving-averages": [],
    "layer-norms": [],
    "learning-curves": ["--epochs", "1"],
    "search": ["--epochs", "2"],
    "gradient-check": [],
    "trajectories": ["--epochs", "2"],
}


def test_the_main_job(script, tmp_path, capsys, is_picture):
    """Table, picture, numbers: the digits, inside of the budget."""
    assert script("compare").main(["--every", "10"]) == 0
    printed = capsys.readouterr().out
    assert "float64: inside the budget" in printed
    rows = [line.split() for line in printed.splitlines() if line[:6].strip().isdigit()]
    assert [int(one[0]) for one in rows] == [1, 10, 20, 30, 40]
    assert len(rows[0]) == 6
    assert is_picture(tmp_path / "compare.png")
    summary = json.loads((tmp_path / "compare.json").read_text())
    assert summary["agreed"]
    assert summary["largest_parameter_difference"] < 1e-10
    assert summary["test_accuracy"][0] == summary["test_accuracy"][1] >= 0.96
    for side in ("scratch", "torch"):
        for name in ("costs", "accuracies", "dev_costs", "dev_accuracies", "seconds"):
            assert len(summary["histories"][side][name]) == summary["epochs"] == 40


def test_every_training_agrees(script):
    """Two epochs of each experiment: parameters, running averages and costs, tensor by tensor."""
    experiments, agreement = script("runs.experiments").EXPERIMENTS, script("runs.agreement")
    for name, experiment in experiments.items():
        runs = agreement.train_both(replace(experiment, epochs=2))
        assert runs.agreement.inside, (name, runs.agreement)
        seen = {one.name: one for one in agreement.quantities(runs.mine, runs.other)}
        assert {"W1", "step_costs", "costs", "dev_costs"} < seen.keys()
        assert ("mean1" in seen) == ("variance2" in seen) == experiment.batch_norm
        for one in seen.values():
            assert not np.shares_memory(one.ours, one.theirs)
            if one.theirs.any():
                assert_close(one.ours, one.theirs, f"{name}, {one.name}", budget=TRAINING)
            else:
                assert not one.ours.any()


def stopping(script, monkeypatch, patience):
    """Give the experiment with everything on so little patience, `patience` on the side by hand."""
    line, side = script("runs.command_line"), script("runs.scratch_side")
    everything = replace(line.EXPERIMENTS["digits-regularized"], patience=1)
    monkeypatch.setattr(line, "EXPERIMENTS", {"digits-regularized": everything})
    honest = side.EarlyStopping
    monkeypatch.setattr(side, "EarlyStopping", lambda **_: honest(patience=patience))


@pytest.mark.parametrize("patience", [1, 2])
def test_runs_of_different_length_part(patience, script, monkeypatch, capsys):
    """Both sides stop early after the same step, or part."""
    stopping(script, monkeypatch, patience)
    status = script("compare").main(["--experiment", "digits-regularized", "--epochs", "20"])
    printed = capsys.readouterr().out
    assert "stopped early after" in printed
    assert status == patience - 1
    if status:
        assert "OUTSIDE the budget, inf eps units in number of steps" in printed
        assert "or in where they stop" in printed


def nudged(honest):
    """Return a function that sets up torch's module with one weight moved."""

    def moved(network, parameters, device):
        parameters = parameters.copy()
        parameters["W2"][3, 4] += 1e-9
        return honest(network, parameters, device)

    return moved


@pytest.mark.parametrize("parted", [False, True])
def test_float32_is_held_against_float64(parted, script, monkeypatch, capsys):
    """A weight moved by less than an ulp of float32 still parts the runs in float64."""
    if parted:
        side = script("runs.torch_side")
        monkeypatch.setattr(side, "twin", nudged(side.twin))
    assert script("compare").main(["--dtype", "float32", "--epochs", "1"]) == parted
    printed = capsys.readouterr().out
    errors = re.search(r"in float64: scratch (\S+), torch (\S+) eps units", printed)
    assert 0 < float(errors[1]) < 100 > float(errors[2]) > 0
    assert "float32: inside the budget" in printed
    assert f"float64: {'OUTSIDE' if parted else 'inside'} the budget" in printed


def wrong(honest, **change):
    """Return a function that is called with something else than it is told."""
    return lambda *given, **choices: honest(*given, **{**choices, **change})


#: a module, what is changed there, how, and where the runs then part at which step.
PLANTED = {
    "another beta2": ("scratch_side", "OPTIMIZERS", {"beta2": 0.99}, 2, r"W1\["),
    "epsilon a thousand times": ("scratch_side", "OPTIMIZERS", {"epsilon": 1e-5}, 1, r"\w+\["),
    "another schedule": ("scratch_side", "SCHEDULES", {"rate": 0.9}, 1, r"\w+\["),
    "another rate": ("torch_side", "OPTIMIZERS", {"learning_rate": 0.0101}, 1, r"\w+\["),
    "a moved weight": ("torch_side", "twin", nudged, 1, r"Z_tilde2\[3|Z2\[3|W2\[3, 4\]"),
    "other running averages": (
        "torch_side",
        "unload_running",
        lambda honest: lambda module: {**honest(module), "mean1": honest(module)["mean1"] + 1e-9},
        1,
        r"mean1\[",
    ),
    "other masks": (
        "torch_side",
        "masks_to_torch",
        lambda honest: (
            lambda masks, device: {n: one.flip(0) for n, one in honest(masks, device).items()}
        ),
        1,
        r"\w+",
    ),
    "another penalty": (
        "scratch_side",
        "training_steps",
        lambda honest: lambda *given, l2, **rest: honest(*given, l2=2 * l2, **rest),
        1,
        r"cost after layer 3",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_named(planted, script, monkeypatch, capsys):
    """Exit status 1, and the first step, layer, unit and quantity."""
    module, name, change, step, where = PLANTED[planted]
    side = script(f"runs.{module}")
    honest = getattr(side, name)
    if isinstance(change, dict):
        changed = {key: wrong(one, **change) for key, one in honest.items()}
    else:
        changed = change(honest)
    monkeypatch.setattr(side, name, changed)
    flags = ["--experiment", "digits-regularized", "--epochs", "2", "--batch-size", "90"]
    assert script("compare").main(flags) == 1
    printed = capsys.readouterr().out
    assert "float64: OUTSIDE the budget" in printed
    assert re.search(rf"the runs part at step {step}, layer \d, unit \d+: (the )?{where}", printed)


@pytest.mark.parametrize("name", ["accuracies", "dev_accuracies", "test accuracy"])
def test_accuracies_are_judged_in_float64(name, script):
    """Equal parameters and costs, one accuracy that differs: the runs part."""
    agreement = script("runs.agreement")
    tumours = script("runs.experiments").EXPERIMENTS["breast-cancer"]
    runs = agreement.train_both(replace(tumours, epochs=2))
    other = runs.other
    if name == "test accuracy":
        other = replace(other, test_accuracy=lambda: 0.25)
    else:
        getattr(other.history, name)[0] += 0.25
    found = agreement.judge_runs(runs.mine, other, "float64")
    assert (found.name, found.inside) == (name, False)
    assert agreement.judge_runs(runs.mine, other, "float32").inside


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


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_a_demonstration_agrees(name, script, tmp_path, capsys, is_picture):
    """A row, an error and both sides' numbers for each quantity, and the picture."""
    assert script("compare").main(["--experiment", name, *DEMONSTRATIONS[name]]) == 0
    printed = capsys.readouterr().out
    assert "inside the budget" in printed
    assert is_picture(tmp_path / "compare.png")
    report = json.loads((tmp_path / "compare.json").read_text())
    assert report["agreed"]
    assert not report["interrupted"]
    assert len(report["quantities"]) >= 4
    for quantity, found in report["quantities"].items():
        assert quantity in printed
        assert found["error_in_eps"] <= found["allowed_in_eps"]
        assert np.shape(found["scratch"]) == np.shape(found["torch"]) != ()


def test_a_demonstration_parts(script, monkeypatch, tmp_path, capsys):
    """A beta of 0.9000001 on one side: status 1, the quantity named, by both scripts."""
    averages = script("runs.demonstrations").moving_averages
    honest = averages.moving_average
    monkeypatch.setattr(
        averages, "moving_average", lambda x, beta, *rest: honest(x, beta + 1e-7, *rest)
    )
    assert script("compare").main(["--experiment", "moving-averages"]) == 1
    assert "the sides part in beta = 0.98, as it is[" in capsys.readouterr().out
    assert not json.loads((tmp_path / "compare.json").read_text())["agreed"]
    assert script("figures").main(["--only", "moving-averages", "--workers", "1"]) == 1
    assert capsys.readouterr().err == "the sides part in moving-averages\n"


def test_the_sides_of_a_demonstration_are_two(script):
    """Torch shows its own arrays, and not all of them are equal to ours."""
    for name in ("saddle", "layer-norms"):
        shown = list(script("runs.demonstrations").DEMONSTRATIONS[name].quantities())
        assert not any(np.shares_memory(one.ours, one.theirs) for one in shown)
        assert any(not np.array_equal(one.ours, one.theirs) for one in shown)


def test_the_searchers_are_on_two_sides(script, monkeypatch):
    """One searches and trains by hand, the other in torch, equally often."""
    demonstrations = script("runs.demonstrations")
    sides, honest = [], demonstrations.history

    def history(experiment, data, side):
        sides.append(side)
        return honest(experiment, data, side)

    monkeypatch.setattr(demonstrations, "history", history)
    list(demonstrations.search_points(1))
    ours, theirs = demonstrations.scratch_side, demonstrations.torch_side
    assert sides.count(ours) == sides.count(theirs) == 50


def test_every_size_of_the_learning_curves_takes_as_many_steps(script, monkeypatch):
    """Few examples are trained for more epochs: an error of theirs is not undertraining."""
    demonstrations, walked = script("runs.demonstrations"), []

    def history(experiment, data, side):
        m = data.train[0].shape[1]
        walked.append((side, m, experiment.epochs * -(-m // experiment.batch_size)))
        return History([1.0], [1.0], [0.5], [1.0], [0.5], [0.0])

    monkeypatch.setattr(demonstrations, "history", history)
    list(demonstrations.learning_curves(40))
    for side in (demonstrations.scratch_side, demonstrations.torch_side):
        assert [m for at, m, _ in walked if at is side] == [*demonstrations.SIZES] * 2
    steps = np.array([one for *_, one in walked]).reshape(2, -1)
    assert np.ptp(steps, axis=1).max() <= 20
    assert steps.min() > 650


def test_another_place_of_the_kink_parts(script, monkeypatch):
    """Located at another step than planted, or nowhere: outside of the budget."""
    demonstrations, agreement = script("runs.demonstrations"), script("runs.agreement")
    honest = demonstrations.located
    for change in ({"step": 99}, {"place": (9, 9)}, None):
        wrong = (lambda *run: None) if change is None else None
        monkeypatch.setattr(
            demonstrations,
            "located",
            wrong or (lambda *run, change=change: replace(honest(*run), **change)),
        )
        shown = {one.name: one for one in demonstrations.trajectories(2)}
        assert not agreement.judge([shown["step, unit and example"]]).inside


def test_a_picture_of_several_trainings_runs_them_all(script, monkeypatch, tmp_path):
    """Each has its files, the worst status is returned, Ctrl-C ends them all."""
    compare = script("compare")
    flags = ["--experiment", "batch-norm", "--epochs", "1", "--out", "both.png"]
    assert compare.main(flags) == 0
    for name in ("digits-plain", "digits-batch-norm"):
        assert (tmp_path / f"both-{name}.png").is_file()
        report = json.loads((tmp_path / f"both-{name}.json").read_text())
        assert (report["experiment"], report["agreed"]) == (name, True)
    for statuses, status, left in (([1, 0], 1, 0), ([0, 1], 1, 0), ([130, 0], 130, 1)):
        monkeypatch.setattr(compare, "train", lambda _, statuses=statuses: statuses.pop(0))
        assert compare.main(flags) == status
        assert len(statuses) == left


def test_an_interrupted_demonstration_keeps_its_quantities(script, monkeypatch, tmp_path, capsys):
    """Ctrl-C between two quantities: status 130, those before it are written."""
    demonstrations = script("runs.demonstrations")
    honest, calls = demonstrations.their_minimize, []

    def interrupted(*arguments, **choices):
        calls.append(choices)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(*arguments, **choices)

    monkeypatch.setattr(demonstrations, "their_minimize", interrupted)
    assert script("compare").main(["--experiment", "saddle"]) == 130
    assert "interrupted after 3 quantities" in capsys.readouterr().out
    report = json.loads((tmp_path / "compare.json").read_text())
    assert (report["interrupted"], report["agreed"]) == (True, None)
    assert len(report["quantities"]) == 3
    assert not (tmp_path / "compare.png").exists()
