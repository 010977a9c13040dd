"""Figures and the experiments behind them: the sides agree, the pictures show what they say."""

from __future__ import annotations

import importlib
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from parity_tests import TRAINING, assert_close
from parity_tests.budgets import FORWARD
from scratch.training import History

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"

pytestmark = pytest.mark.skipif(
    not SCRIPTS.is_dir(), reason="the scripts are not beside the package"
)

#: demonstrations, and the flags that make them short.
DEMONSTRATIONS = {
    "saddle": [],
    "schedules": [],
    "moving-averages": [],
    "layer-norms": [],
    "learning-curves": ["--epochs", "1"],
    "search": ["--epochs", "2"],
    "gradient-check": [],
}
PICTURES_OF_TRAININGS = ["initializations", "regularization", "optimizers", "decay", "batch-norm"]


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import a script by its name, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


def is_picture(path):
    """Tell whether a PNG of some size is there."""
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20000


def test_every_training_agrees(script):
    """Two epochs of each experiment: parameters, running averages and costs, tensor by tensor."""
    experiments, judging = script("experiments").EXPERIMENTS, script("judging")
    for name, experiment in experiments.items():
        runs = judging.train_both(replace(experiment, epochs=2))
        assert runs.verdict.agreed, (name, runs.verdict)
        seen = {one.name: one for one in judging.quantities(runs.mine, runs.other)}
        assert {"step_costs", "costs", "dev_costs"} < seen.keys()
        assert ("mean1" in seen) == ("variance2" in seen) == experiment.batch_norm
        for one in seen.values():
            if one.theirs.any():
                assert_close(one.ours, one.theirs, f"{name}, {one.name}", budget=TRAINING)
            else:
                assert not one.ours.any()


def test_every_feature_is_in_an_experiment(script):
    """Dropout, batch norm, a schedule, clipping, early stopping, L1 and L2 are all on in one."""
    everything = script("experiments").EXPERIMENTS["digits-regularized"]
    draws = script("draws").draw(everything, "float64")
    assert draws.network.dropped == (1, 2)
    assert draws.network.batch_norm
    for name in ("l1", "l2", "schedule", "clip_norm", "patience"):
        assert getattr(everything, name), name
    # two streams of one seed, apart from the draws of weights and orders
    first, second = (next(draws.masks()) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in ("D1", "D2"))
    bits = np.random.default_rng(everything.seed).random(first["D1"].shape) < 0.9
    assert not np.array_equal(bits, first["D1"] > 0)


@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_training_scripts_take_every_feature(side, script, tmp_path, capsys):
    """The experiment with everything on stops early, and says so; its choices are in the report."""
    flags = ["--experiment", "digits-regularized", "--out", "run.json"]
    assert script(f"train_{side}").main(flags) == 0
    printed = capsys.readouterr().out
    assert "stopped early after 34 of 40 epochs" in printed
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["keep_probs"] == [0.9, 0.8]
    assert report["schedule_choices"] == {"rate": 0.95}
    assert len(report["history"]["costs"]) == 34
    # the best epoch was restored
    assert report["test_accuracy"] > 0.98


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_compare_holds_every_quantity(name, script, tmp_path, capsys):
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


def test_compare_runs_all_trainings_of_a_picture(script, monkeypatch, tmp_path):
    """The name of a picture: each of its trainings has its files, the worst status is returned."""
    compare = script("compare")
    flags = ["--experiment", "batch-norm", "--epochs", "1", "--out", "both.png"]
    assert compare.main(flags) == 0
    for name in ("digits-plain", "digits-batch-norm"):
        assert is_picture(tmp_path / f"both-{name}.png")
        report = json.loads((tmp_path / f"both-{name}.json").read_text())
        assert (report["experiment"], report["agreed"]) == (name, True)
    for statuses, worst, calls in (([1, 0], 1, 2), ([0, 1], 1, 2), ([130, 0], 130, 1)):
        left = list(statuses)
        monkeypatch.setattr(compare, "train", lambda arguments, left=left: left.pop(0))
        assert compare.main(flags) == worst
        assert len(statuses) - len(left) == calls


def test_quantities_of_other_shapes_or_dtypes_are_refused(script):
    """Broadcasting and casting hide nothing."""
    quantity, one = script("judging").Quantity, np.arange(3.0)
    for theirs in (one[:1], one[None], np.float64(1), one.astype(np.float32)):
        with pytest.raises(ValueError, match="expected both sides of paths alike"):
            quantity("paths", one, theirs).measured(2**-52)


def test_a_verdict_accepts_no_nan(script):
    """An error that is no number is outside of the budget, on either side."""
    judging = script("judging")
    assert not judging.Verdict(float("nan"), "cost", 16.0).agreed
    numbers, broken = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    for pair in ((numbers, broken), (broken, numbers), (broken, broken)):
        assert not judging.judge([judging.Quantity("cost", *pair)]).agreed


def test_each_quantity_is_judged_by_its_own_budget(script):
    """The verdict is on what has used up most of its budget, not on the largest error."""
    judging = script("judging")
    one, eps = np.array([1.0]), 2.0**-52
    long = judging.Quantity("trained", one, one + 1000 * eps, TRAINING)
    short = judging.Quantity("formula", one, one + 20 * eps, FORWARD)
    for order in ([long, short], [short, long]):
        verdict = judging.judge(order)
        assert (verdict.name, verdict.allowed, verdict.agreed) == ("formula", 16.0, False)
    assert judging.judge([long]).agreed


@pytest.mark.parametrize("what", ["accuracies", "dev_accuracies", "test accuracy"])
def test_accuracies_are_judged_in_float64(what, script):
    """Equal parameters and costs, one accuracy that differs: the runs part."""
    judging = script("judging")
    runs = judging.train_both(replace(script("experiments").EXPERIMENTS["breast-cancer"], epochs=2))
    assert runs.verdict.agreed
    other = runs.other
    if what == "test accuracy":
        other = replace(other, test_accuracy=lambda: 0.25)
    else:
        getattr(other.history, what)[0] += 0.25
    verdict = judging.judge_runs(runs.mine, other, "float64")
    assert (verdict.name, verdict.agreed) == (what, False)
    assert judging.judge_runs(runs.mine, other, "float32").agreed


def test_the_sides_are_two(script):
    """What torch shows in a demonstration is not what scratch has shown: no array is handed on."""
    for name in ("saddle", "layer-norms"):
        demonstration = script("demonstrations").DEMONSTRATIONS[name]
        shown = list(demonstration.quantities())
        assert not any(np.shares_memory(one.ours, one.theirs) for one in shown)
        assert any(not np.array_equal(one.ours, one.theirs) for one in shown)


def test_figures_of_trainings(script, tmp_path, capsys):
    """Each picture is made, named and inside the budget; nothing unfinished is left."""
    flags = ["--only", *PICTURES_OF_TRAININGS, "--epochs", "2", "--workers", "1", "--out", "new"]
    threads = torch.get_num_threads()
    assert script("figures").main(flags) == 0
    assert torch.get_num_threads() == threads
    printed = capsys.readouterr().out
    for name in PICTURES_OF_TRAININGS:
        assert is_picture(tmp_path / "new" / f"{name}.png")
        assert name in printed
    assert printed.count("inside the budget") == len(PICTURES_OF_TRAININGS)
    assert "wrote 5 of 5 pictures in new" in printed
    assert len(list((tmp_path / "new").iterdir())) == len(PICTURES_OF_TRAININGS)
    pictures = script("pictures").PICTURES
    assert {*PICTURES_OF_TRAININGS, *DEMONSTRATIONS} == pictures.keys()


def test_every_demonstration_has_a_picture(script):
    """compare.py finds the picture of a demonstration under its name."""
    pictures, demonstrations = script("pictures").PICTURES, script("demonstrations").DEMONSTRATIONS
    assert demonstrations.keys() == DEMONSTRATIONS.keys()
    assert all(pictures[name].experiments == (name,) for name in demonstrations)
    known = demonstrations.keys() | script("experiments").EXPERIMENTS.keys()
    assert all(known >= set(picture.experiments) for picture in pictures.values())


def test_a_planted_difference_parts_the_demonstration(script, monkeypatch, tmp_path, capsys):
    """A beta of 0.9000001 on one side: status 1, the quantity named, by both scripts."""
    averages = script("demonstrations").moving_averages
    honest = averages.moving_average
    monkeypatch.setattr(
        averages, "moving_average", lambda x, beta, *rest: honest(x, beta + 1e-7, *rest)
    )
    assert script("compare").main(["--experiment", "moving-averages"]) == 1
    printed = capsys.readouterr().out
    assert "OUTSIDE the budget" in printed
    assert "the sides part in beta = 0.98, as it is[" in printed
    assert not json.loads((tmp_path / "compare.json").read_text())["agreed"]
    flags = ["--only", "moving-averages", "--workers", "1"]
    assert script("figures").main(flags) == 1
    captured = capsys.readouterr()
    assert captured.err == "the sides part in moving-averages\n"
    assert "OUTSIDE the budget" in captured.out
    assert is_picture(tmp_path / "figures" / "moving-averages.png")


PLANTED = {
    "running averages": (
        "torch_side",
        "unload_running",
        lambda honest: lambda module: {**honest(module), "mean1": honest(module)["mean1"] + 1e-9},
        "mean1[",
    ),
    "masks": (
        "torch_side",
        "masks_to_torch",
        lambda honest: (
            lambda masks, device: {
                name: mask.flip(0) for name, mask in honest(masks, device).items()
            }
        ),
        "",
    ),
    "schedule": (
        "scratch_side",
        "SCHEDULES",
        lambda honest: {
            "exponential": lambda rate, **rest: honest["exponential"](rate=0.9, **rest)
        },
        "",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_parts_the_training(planted, script, monkeypatch, capsys):
    """Other running averages, other masks, another schedule: found at the first step."""
    module, name, spoil, place = PLANTED[planted]
    side = script(module)
    monkeypatch.setattr(side, name, spoil(getattr(side, name)))
    assert script("compare").main(["--experiment", "digits-regularized", "--epochs", "1"]) == 1
    assert f"the runs part at step 1, epoch 1, in {place}" in capsys.readouterr().out


def test_a_picture_is_judged_by_all_its_experiments(script, monkeypatch, tmp_path, capsys):
    """Only the second training of the picture parts: status 1, and the caption says which."""
    side, style = script("torch_side"), script("style")
    monkeypatch.setattr(side, "unload_running", PLANTED["running averages"][2](side.unload_running))
    captions = []
    honest = style.Figure.supxlabel
    monkeypatch.setattr(
        style.Figure,
        "supxlabel",
        lambda self, text, **choices: captions.append(text) or honest(self, text, **choices),
    )
    flags = ["--only", "batch-norm", "--epochs", "1", "--workers", "1"]
    assert script("figures").main(flags) == 1
    assert "eps units in mean1 of digits-batch-norm, allowed" in capsys.readouterr().out
    assert "eps units in mean1 of digits-batch-norm (budget 4.5e+05)" in captions[0]


def test_both_sides_are_in_the_picture(script):
    """Scratch thick and light below, torch thin, dark and dashed above it."""
    style = script("style")
    figure, axes = style.canvas([["curve"]], (4, 3))
    style.overlay(axes["curve"], [1, 2, 3], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], style.BLUE)
    mine, other = axes["curve"].lines
    assert list(mine.get_ydata()) == [4.0, 5.0, 6.0]
    assert list(other.get_ydata()) == [7.0, 8.0, 9.0]
    assert mine.get_linewidth() > 3 * other.get_linewidth()
    assert mine.get_color() == style.BLUE.light
    style.plt.close(figure)


def test_the_training_pictures_show_what_their_titles_say(script):
    """Zeros learn nothing, x10 starts high, He converges; gaps narrow; Adam, batch norm win."""
    experiments = script("experiments").EXPERIMENTS
    draws, side = script("draws"), script("scratch_side")

    def history(name, **changes):
        drawn = draws.draw(replace(experiments[name], **changes), "float64")
        return side.set_up(drawn).walk().history

    zeros, large = (history(f"circles-{name}", epochs=300) for name in ("zeros", "large"))
    xavier, he = history("circles-xavier"), history("circles-he")
    assert zeros.accuracies[-1] < 0.55
    assert large.costs[0] > 1000 > 2 > max(xavier.costs[0], he.costs[0])
    assert max(xavier.costs[-1], he.costs[-1]) < 0.1
    assert min(one.dev_accuracies[-1] for one in (xavier, he)) > 0.95

    plain, *regularized = (history(name) for name in ("noisy", "noisy-l2", "noisy-dropout"))
    gap = plain.accuracies[-1] - plain.dev_accuracies[-1]
    for one in regularized:
        assert one.accuracies[-1] - one.dev_accuracies[-1] < 0.6 * gap
        assert one.dev_accuracies[-1] > plain.dev_accuracies[-1]

    names = ("gradient-descent", "momentum", "rmsprop", "adam")
    costs = {name: history(f"moons-{name}").costs[-1] for name in names}
    assert (
        costs["adam"]
        < 0.8 * costs["rmsprop"]
        < 0.8 * min(costs["momentum"], costs["gradient-descent"])
    )
    title = script("pictures").PICTURES["optimizers"].description
    assert f"in {experiments['moons-adam'].epochs} epochs" in title

    ends = [history(name).costs[-20:] for name in ("moons-constant", "moons-decay")]
    assert np.ptp(ends[0]) > 2 * np.ptp(ends[1])
    assert np.mean(ends[0]) > 1.1 * np.mean(ends[1])

    without, normed = history("digits-plain"), history("digits-batch-norm")
    assert normed.dev_accuracies[0] > 1.5 * without.dev_accuracies[0]
    assert normed.dev_accuracies[-1] > without.dev_accuracies[-1]


def test_the_demonstrations_show_what_their_titles_say(script):
    """Paths leave the saddle or not, corrected averages start high, norms vanish and explode."""
    demonstrations = script("demonstrations").DEMONSTRATIONS

    def shown(name):
        return {one.name: one.ours for one in demonstrations[name].quantities()}

    paths = shown("saddle")
    left = {
        name: int(np.argmax(path[:, 1] > 0.9)) or 1000
        for name, path in paths.items()
        if name.startswith("saddle")
    }
    assert max(left["saddle, adam"], left["saddle, rmsprop"]) < left["saddle, gradient_descent"]
    turns = {
        name: (np.diff(np.sign(np.diff(path[:, 1]))) != 0).sum() for name, path in paths.items()
    }
    assert turns["valley, gradient_descent"] > 5 * turns["valley, momentum"]

    averages = shown("moving-averages")
    raw, corrected = (averages[f"beta = 0.98, {how}"] for how in ("as it is", "corrected"))
    assert raw[0] < 0.05 * corrected[0]
    assert abs(raw[-1] / corrected[-1] - 1) < 1e-3

    norms = {name: one[-2] / one[0] for name, one in shown("layer-norms").items()}
    assert norms["activations, small_normal"] < 1e-8
    assert norms["activations, xavier"] < 0.1
    assert 0.5 < norms["activations, he"] < 2
    assert norms["activations, large_normal"] > 1e8
    # backwards, and as dW = dZ A^T hides it
    assert norms["db, small_normal"] > 1e8
    assert norms["db, xavier"] > 10
    assert 0.5 < norms["db, he"] < 2
    assert norms["db, large_normal"] < 1e-8
    for name in ("small_normal", "xavier", "large_normal"):
        assert 0.1 < norms[f"dW, {name}"] < 10

    errors = shown("gradient-check")
    one, two = (errors[f"relative error, {how}"] for how in ("one-sided", "two-sided"))
    assert two.min() < 1e-9 < 1e-8 < one.min()


def test_the_search_shows_what_its_title_says(script):
    """Fine points beat coarse ones; a grid tries few values, a linear scale hardly small ones."""
    repeated, rng = script("repeated_trainings"), np.random.default_rng(0)
    searcher = repeated.Searcher(repeated.search, repeated.scratch_side, 20)
    assert len(set(searcher.grid[:, 0])) == 5
    (points, coarse), (_, fine) = (searcher.round(rng.random((2, 25))) for _ in range(2))
    assert len(set(points[:, 0])) == 25
    assert np.median(fine) < 0.8 * np.median(coarse)
    assert fine.min() < coarse.min()


def test_the_learning_curves_show_what_their_title_says(script):
    """With all the data the small network is biased; the large one's variance has gone."""
    repeated = script("repeated_trainings")
    diagnose, side = repeated.diagnosis.diagnose, repeated.scratch_side
    found, train_errors = {}, {}
    for name, learner in repeated.LEARNERS.items():
        data = learner.load()
        for m in (80, 320, 1078):
            X, Y = (one[:, :m] for one in data.train)
            learned = repeated.equal_steps(learner, m)
            history = repeated.history(learned, data._replace(train=(X, Y)), side)
            errors = 1 - history.accuracies[-1], 1 - history.dev_accuracies[-1]
            found[name, m] = diagnose(*errors, tolerance=0.05)
            train_errors[name, m] = errors[0]
    assert found["high bias", 1078].name == "high bias"
    assert found["high bias", 80].name == "high variance"
    assert [train_errors["high bias", m] < 0.1 for m in (80, 320, 1078)] == [True, True, False]
    assert train_errors["high bias", 80] < train_errors["high bias", 320]
    assert found["high variance", 80].name == "high variance"
    assert found["high variance", 1078].name == "neither"


def test_every_size_of_the_learning_curves_takes_as_many_steps(script, monkeypatch):
    """Few examples are trained for more epochs: an error of theirs is not undertraining."""
    repeated = script("repeated_trainings")
    walked = []

    def history(experiment, data, side):
        m = data.train[0].shape[1]
        walked.append((side, m, experiment.epochs * -(-m // experiment.batch_size)))
        return History([1.0], [1.0], [0.5], [1.0], [0.5], [0.0])

    monkeypatch.setattr(repeated, "history", history)
    list(repeated.learning_curves(40))
    for side in (repeated.scratch_side, repeated.torch_side):
        sizes = [m for at, m, _ in walked if at is side]
        assert sizes == [*repeated.SIZES] * 2
    steps = np.array([one for *_, one in walked]).reshape(2, -1)
    assert np.ptp(steps, axis=1).max() <= 20
    assert steps.min() > 650


BAD_FLAGS = {
    "figures": [
        ["--only"],
        ["--only", "cats"],
        ["--workers", "0"],
        ["--workers", "some"],
        ["--epochs", "0"],
        ["--out", "a-file"],
        ["--out", "/proc/nowhere"],
        ["--no-such-flag"],
    ],
    "compare": [
        ["--experiment", "saddle", "--epochs", "3"],
        ["--experiment", "search", "--batch-size", "3"],
        ["--experiment", "search", "--learning-rate", "0.1"],
        ["--experiment", "saddle", "--optimizer", "adam"],
        ["--experiment", "saddle", "--seed", "0"],
        ["--experiment", "saddle", "--dtype", "float32"],
        ["--experiment", "cats"],
    ],
    "train_scratch": [["--experiment", "saddle"]],
    "train_torch": [["--experiment", "saddle"]],
}


@pytest.mark.parametrize(
    ("name", "flags"),
    [(name, flags) for name, several in BAD_FLAGS.items() for flags in several],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_flags_leave_with_status_2(name, flags, script, capsys):
    """Argparse's status, before anything runs."""
    Path("a-file").touch()
    with pytest.raises(SystemExit) as left:
        script(name).main(flags)
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_interrupted_figures_keep_the_finished_ones(script, monkeypatch, tmp_path, capsys):
    """Ctrl-C in the second picture, while it is written: the first is there, no half of another."""
    figures = script("figures")
    command_line = script("command_line")
    honest = command_line.Figure.savefig
    saved = []

    def interrupted(self, path, **choices):
        honest(self, path, **choices)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command_line.Figure, "savefig", interrupted)
    flags = ["--only", "schedules", "moving-averages", "layer-norms", "--workers", "1"]
    assert figures.main(flags) == 130
    assert "interrupted after 1 of 3 pictures" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["schedules.png"]
    assert is_picture(tmp_path / "figures" / "schedules.png")


def test_an_interrupted_demonstration_keeps_its_quantities(script, monkeypatch, tmp_path, capsys):
    """Ctrl-C between two quantities: status 130, those before it are written."""
    demonstrations = script("demonstrations")
    honest = demonstrations.their_minimize
    calls = []

    def interrupted(*arguments, **choices):
        calls.append(choices)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(*arguments, **choices)

    monkeypatch.setattr(demonstrations, "their_minimize", interrupted)
    assert script("compare").main(["--experiment", "saddle"]) == 130
    assert "interrupted after 3 quantities" in capsys.readouterr().out
    report = json.loads((tmp_path / "compare.json").read_text())
    assert report["interrupted"]
    assert report["agreed"] is None
    assert len(report["quantities"]) == 3
    assert not (tmp_path / "compare.png").exists()


def test_workers_are_ended_by_an_interruption(script, monkeypatch, tmp_path):
    """Two processes, Ctrl-C after the first picture: it is kept, no process is left."""
    figures = script("figures")
    for name in figures.ONE_THREAD:
        monkeypatch.setenv(name, "1")  # undone after the test, as main sets it for good
    work = figures.made(["initializations", "schedules"], tmp_path, None, workers=2)
    assert next(work).name == "schedules"
    assert len(multiprocessing.active_children()) == 2
    with pytest.raises(KeyboardInterrupt):
        work.throw(KeyboardInterrupt)
    assert multiprocessing.active_children() == []
    assert [path.name for path in tmp_path.iterdir()] == ["schedules.png"]
