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
from parity_tests.compare.budgets import FORWARD
from scratch.training import History

ROOT = Path(__file__).parents[3]
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
    "trajectories": ["--epochs", "2"],
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
    experiments, judging = script("runs.experiments").EXPERIMENTS, script("runs.verdict")
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
    everything = script("runs.experiments").EXPERIMENTS["digits-regularized"]
    draws = script("runs.draws").draw(everything, "float64")
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
    quantity, one = script("runs.verdict").Quantity, np.arange(3.0)
    for theirs in (one[:1], one[None], np.float64(1), one.astype(np.float32)):
        with pytest.raises(ValueError, match="expected both sides of paths alike"):
            quantity("paths", one, theirs).measured(2**-52)


def test_a_verdict_accepts_no_nan(script):
    """An error that is no number is outside of the budget, on either side."""
    judging = script("runs.verdict")
    assert not judging.Verdict(float("nan"), "cost", 16.0).agreed
    numbers, broken = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    for pair in ((numbers, broken), (broken, numbers), (broken, broken)):
        assert not judging.judge([judging.Quantity("cost", *pair)]).agreed


def test_each_quantity_is_judged_by_its_own_budget(script):
    """The verdict is on what has used up most of its budget, not on the largest error."""
    judging = script("runs.verdict")
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
    judging = script("runs.verdict")
    runs = judging.train_both(
        replace(script("runs.experiments").EXPERIMENTS["breast-cancer"], epochs=2)
    )
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
        demonstration = script("runs.demonstrations").DEMONSTRATIONS[name]
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
    pictures = script("pictures.catalogue").PICTURES
    assert {*PICTURES_OF_TRAININGS, *DEMONSTRATIONS} == pictures.keys()


def test_every_demonstration_has_a_picture(script):
    """compare.py finds the picture of a demonstration under its name."""
    pictures, demonstrations = (
        script("pictures.catalogue").PICTURES,
        script("runs.demonstrations").DEMONSTRATIONS,
    )
    assert demonstrations.keys() == DEMONSTRATIONS.keys()
    assert all(pictures[name].experiments == (name,) for name in demonstrations)
    known = demonstrations.keys() | script("runs.experiments").EXPERIMENTS.keys()
    assert all(known >= set(picture.experiments) for picture in pictures.values())


def test_a_planted_difference_parts_the_demonstration(script, monkeypatch, tmp_path, capsys):
    """A beta of 0.9000001 on one side: status 1, the quantity named, by both scripts."""
    averages = script("runs.demonstrations").moving_averages
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
        "runs.torch_side",
        "unload_running",
        lambda honest: lambda module: {**honest(module), "mean1": honest(module)["mean1"] + 1e-9},
        "mean1[",
    ),
    "masks": (
        "runs.torch_side",
        "masks_to_torch",
        lambda honest: (
            lambda masks, device: {
                name: mask.flip(0) for name, mask in honest(masks, device).items()
            }
        ),
        "",
    ),
    "schedule": (
        "runs.scratch_side",
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
    side, style = script("runs.torch_side"), script("pictures.style")
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
    style = script("pictures.style")
    figure, axes = style.canvas([["curve"]], (4, 3))
    style.overlay(axes["curve"], [1, 2, 3], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], style.BLUE)
    mine, other = axes["curve"].lines
    assert list(mine.get_ydata()) == [4.0, 5.0, 6.0]
    assert list(other.get_ydata()) == [7.0, 8.0, 9.0]
    assert mine.get_linewidth() > 3 * other.get_linewidth()
    assert mine.get_color() == style.BLUE.light
    style.plt.close(figure)


def recorded_legends(module, monkeypatch):
    """Return the list that gets axes, labels and hues of each legend of a module's pictures."""
    seen, honest = [], module.legend

    def record(axes, labels, hues, **choices):
        seen.append((axes, [*labels], [*hues]))
        honest(axes, labels, hues, **choices)

    monkeypatch.setattr(module, "legend", record)
    return seen


def drawn(figure, legends):
    """Yield axes' number, label, and the curves of both sides in the colours of that label.

    Panels without a legend of their own share the one there is.
    """
    own = {id(axes): (labels, hues) for axes, labels, hues in legends}
    for number, axes in enumerate(figure.axes):
        lines = {}
        for line in axes.lines:
            lines.setdefault(line.get_color(), []).append(np.array(line.get_data()))
        labels, hues = own.get(id(axes), legends[0][1:])
        for label, hue in zip(labels, hues, strict=True):
            for ours, theirs in zip(lines.get(hue.light, []), lines.get(hue.dark, []), strict=True):
                yield number, label, ours, theirs


def same(curve, expected):
    """Tell whether a curve shows these values, or all but the last, or the first ninety."""
    shown = len(curve)
    return shown in (len(expected), len(expected) - 1, 90) and np.array_equal(
        curve, expected[:shown]
    )


#: the quantity that is behind a label, by the number of the panel.
LABELLED = {
    "saddle": lambda panel, label: (
        f"{('saddle', 'valley')[panel]}, {label.split(',')[0].lower().replace(' ', '_')}"
    ),
    "schedules": lambda panel, label: label.replace(" ", "_"),
    "moving-averages": lambda panel, label: (
        f"beta = {label.split(' = ')[1].split(':')[0]}, corrected"
        if panel == 0
        else f"beta = 0.98, {'corrected' if '/' in label else 'as it is'}"
    ),
    "layer-norms": lambda panel, label: (
        f"{('activations', 'db', 'dW')[panel]}, "
        + {"0.01": "small_normal", "Xavier": "xavier", "He": "he", "random": "large_normal"}[
            label.split()[0]
        ]
    ),
    "learning-curves": lambda panel, label: f"{('high bias', 'high variance')[panel]}, {label}",
    "gradient-check": lambda panel, label: f"relative error, {label}",
}


CURVES_SHOWN = {
    "saddle": 8,
    "schedules": 8,
    "moving-averages": 4,
    "layer-norms": 12,
    "learning-curves": 4,
    "gradient-check": 2,
}


@pytest.mark.parametrize("name", LABELLED)
def test_demonstration_pictures_draw_both_sides_by_their_labels(name, script, monkeypatch):
    """Each labelled pair of curves is scratch's and torch's of that quantity, none is missing."""
    own, pictures = (
        script("runs.demonstrations").DEMONSTRATIONS[name],
        script("pictures.demonstration_pictures"),
    )
    shown = {
        one.name: one._replace(theirs=0.9 * one.theirs + 0.01)
        for one in own.quantities(1 if own.epochs else None)
    }
    legends = recorded_legends(pictures, monkeypatch)
    figure = getattr(pictures, name.replace("-", "_"))(shown)
    factor = 100 if name == "learning-curves" else 1
    seen = set()
    for panel, label, ours, theirs in drawn(figure, legends):
        quantity = LABELLED[name](panel, label)
        for curve, expected in ((ours, shown[quantity].ours), (theirs, shown[quantity].theirs)):
            if expected.ndim == 2:
                assert np.array_equal(curve, np.column_stack(list(expected))), (quantity, label)
            else:
                assert same(curve[1], factor * expected), (quantity, label)
        seen.add(quantity)
    assert len(seen) == CURVES_SHOWN[name]
    script("pictures.style").plt.close(figure)


def test_the_search_picture_draws_both_sides(script):
    """Bars and discs are scratch's, ticks and crosses torch's."""
    own, pictures = (
        script("runs.demonstrations").DEMONSTRATIONS["search"],
        script("pictures.catalogue").PICTURES,
    )
    shown = {one.name: one._replace(theirs=1.01 * one.theirs) for one in own.quantities(1)}
    figure = pictures["search"].draw(shown)
    linear, log, grid, random, _ = figure.axes
    for axes, scale in ((linear, "Uniform"), (log, "LogUniform")):
        one = shown[f"learning rates, {scale}"]
        counts = np.histogram(one.ours, np.logspace(-4, 0, 5))[0]
        assert [bar.get_height() for bar in axes.patches] == list(counts)
        assert np.array_equal(axes.lines[0].get_xdata(), one.theirs)
    assert "87%" in linear.get_title()
    discs, crosses = (np.asarray(one.get_offsets()) for one in grid.collections)
    assert np.array_equal(discs, shown["grid"].ours)
    assert np.array_equal(crosses, shown["grid"].theirs)
    offsets = [np.asarray(one.get_offsets()) for one in random.collections]
    offsets = [one for one in offsets if len(one)]
    for name, (discs, *crosses) in (("coarse", offsets[:3]), ("fine", offsets[3:])):
        assert np.array_equal(discs, shown[f"{name} points"].ours)
        assert len(crosses) == 2
        assert all(np.array_equal(one, shown[f"{name} points"].theirs) for one in crosses)
    labels = [text.get_text() for text in random.get_legend().get_texts()]
    assert labels[::2] == ["coarse: 25 points", "fine: 25 points"]
    script("pictures.style").plt.close(figure)


def test_the_picture_of_trajectories_draws_distances_and_bounds(script):
    """Each panel has that optimizer's, the located step is marked where the sides part."""
    own, pictures = script("runs.demonstrations"), script("pictures.catalogue").PICTURES
    shown = {one.name: one for one in own.DEMONSTRATIONS["trajectories"].quantities(2)}
    figure = pictures["trajectories"].draw(shown)
    panels = {axes.get_title(): axes for axes in figure.axes}
    looks = script("pictures.style").OPTIMIZER_LOOKS
    for name, (label, hue) in looks.items():
        apart, bound = panels[label].lines
        quantity = shown[name]
        assert {line.get_color() for line in (apart, bound)} == {hue.dark}
        distance = np.abs(quantity.ours - quantity.theirs).max(axis=1)
        assert np.array_equal(apart.get_ydata(), distance)
        assert np.allclose(bound.get_ydata(), 2.0**-52 * quantity.gauge[:, 0], rtol=1e-12, atol=0)
        assert (distance <= bound.get_ydata()).all()
        assert apart.get_xdata()[-1] <= 38
        assert bound.get_linestyle() != apart.get_linestyle() == "-"
    panel = panels["RMSprop with ReLUs that meet a kink"]
    before, bound, after, mark = panel.lines
    step, unit, example = shown["step, unit and example"].theirs
    assert mark.get_xdata()[0] == step == after.get_xdata()[0]
    assert before.get_xdata()[-1] < step
    assert len(before.get_ydata()) == len(bound.get_ydata())
    assert before.get_ydata().max() < 1e-14 < 1e-6 < after.get_ydata().min()
    (text,) = (one.get_text() for one in panel.texts)
    assert f"step {int(step)},\nunit {int(unit)} of layer 1,\nexample {int(example)} " in text
    figure.canvas.draw()  # and nothing of the text is cut off
    frame, around = panel.get_window_extent(), panel.texts[0].get_window_extent()
    assert frame.y0 < around.y0
    assert around.y1 < frame.y1
    script("pictures.style").plt.close(figure)


def test_another_place_of_the_kink_parts_the_demonstration(script, monkeypatch):
    """Located at another step than planted: the quantity is outside of its budget."""
    demonstrations, judging = script("runs.demonstrations"), script("runs.verdict")
    honest = demonstrations.located
    for change, agreed in (({}, True), ({"step": 99}, False), ({"place": (9, 9)}, False)):
        monkeypatch.setattr(
            demonstrations,
            "located",
            lambda *run, change=change: replace(honest(*run), **change),
        )
        shown = list(demonstrations.trajectories(2))
        place = next(one for one in shown if one.name == "step, unit and example")
        assert judging.judge([place]).agreed == agreed
    monkeypatch.setattr(demonstrations, "located", lambda *run: None)
    assert not judging.judge(demonstrations.trajectories(2)).agreed


#: the training and the column that are behind a label; boundaries come before the other panels.
TRAINED = {
    "initializations": (
        {
            "zeros": "circles-zeros",
            "random x10": "circles-large",
            "Xavier": "circles-xavier",
            "He": "circles-he",
        },
        ["costs"],
    ),
    "regularization": (
        {"no regularization": "noisy", "L2": "noisy-l2", "dropout": "noisy-dropout"},
        ["dev_costs"],
    ),
    "optimizers": (
        {
            "gradient descent": "moons-gradient-descent",
            "momentum": "moons-momentum",
            "RMSprop": "moons-rmsprop",
            "Adam": "moons-adam",
        },
        ["costs"],
    ),
    "decay": (
        {
            "$\\alpha$ = 0.8": "moons-constant",
            "$\\alpha$ = 0.8 / (1 + 0.1 epoch)": "moons-decay",
        },
        ["costs"],
    ),
    "batch-norm": (
        {"without": "digits-plain", "with batch norm": "digits-batch-norm"},
        ["step_costs", "dev_accuracies"],
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_pictures_draw_both_sides_by_their_labels(name, script, monkeypatch):
    """Each panel and each labelled pair of curves is that training's, of both sides."""
    judging, pictures = script("runs.verdict"), script("pictures.catalogue").PICTURES
    experiments, named = script("runs.experiments").EXPERIMENTS, TRAINED[name][0]
    runs = {
        one: judging.train_both(replace(experiments[one], epochs=3))
        for one in pictures[name].experiments
    }
    for number, one in enumerate(runs.values()):
        one.mine.history.accuracies[-1] = 0.5 + number / 10
        one.mine.history.dev_accuracies[-1] = 0.55 + number / 10
        for column in ("step_costs", "costs", "dev_costs", "dev_accuracies"):
            values = getattr(one.other.history, column)
            values[:] = [0.9 * value for value in values]
    legends = recorded_legends(script("pictures.training_pictures"), monkeypatch)
    figure = pictures[name].draw(runs)
    columns = TRAINED[name][1]
    panels = len(figure.axes) - len(columns)
    assert panels in (0, len(named))
    for axes, (label, one) in zip(figure.axes[:panels], named.items(), strict=panels > 0):
        number = [*runs].index(one)
        assert (
            axes.get_title() == f"{label}\ntrain {50 + 10 * number}.0%, dev {55 + 10 * number}.0%"
        )
        outputs = runs[one].outputs()[0].reshape(judging.GRID, -1)
        assert np.array_equal(axes.images[0].get_array(), outputs)
    seen = set()
    for panel, label, ours, theirs in drawn(figure, legends):
        if panel >= panels:
            column, one = columns[panel - panels], runs[named[label]]
            assert np.array_equal(ours[1], getattr(one.mine.history, column)), label
            assert np.array_equal(theirs[1], getattr(one.other.history, column)), label
            seen.add((panel, label))
    assert len(seen) == len(named) * len(columns)
    script("pictures.style").plt.close(figure)


def test_the_worst_of_several_trainings_is_the_pictures_verdict(script, monkeypatch, tmp_path):
    """Also where it is the first one; a picture of fewer epochs says so above."""
    figures, judging = script("figures"), script("runs.verdict")
    honest, titles = figures.results, []

    def spoilt(names, most_epochs):
        for number, (name, result, verdict) in enumerate(honest(names, most_epochs)):
            yield name, result, judging.Verdict(99.0, "b1", 1.0) if number == 0 else verdict

    monkeypatch.setattr(figures, "results", spoilt)
    monkeypatch.setattr(
        figures, "save", lambda figure, path: titles.append(figure.get_suptitle()) or path
    )
    made = figures.make("batch-norm", tmp_path, 1)
    assert (made.verdict.name, made.verdict.agreed) == ("b1 of digits-plain", False)
    assert titles[0].endswith("(at most 1 epoch)")
    picture = figures.PICTURES["batch-norm"]
    assert [picture.shortened(most) for most in (None, 19, 20, 21)] == [None, 19, None, None]
    assert figures.PICTURES["saddle"].shortened(3) is None


def test_epochs_are_limited_where_networks_are_trained(script):
    """The smaller number, and none where nothing is trained."""
    at_most = script("figures").at_most
    cases = ((None, 3), (5, 3), (2, 3), (5, None), (None, None))
    assert [at_most(*case) for case in cases] == [3, 3, 2, None, None]


def test_draws_hand_on_every_choice(script):
    """Both training loops get what the experiment says; masks come from its seed."""
    draws, experiments = script("runs.draws"), script("runs.experiments").EXPERIMENTS
    everything = replace(experiments["digits-regularized"], clip_value=0.5, seed=4)
    drawn = draws.draw(everything, "float64")
    for name in ("l1", "l2", "clip_value", "clip_norm", "epochs", "batch_size", "schedule_per"):
        assert drawn.run()[name] == getattr(everything, name)
    other = draws.draw(replace(everything, seed=5), "float64")
    first, second = (next(one.masks())["D1"] for one in (drawn, other))
    assert not np.array_equal(first, second)


def test_the_searchers_are_on_two_sides(script, monkeypatch):
    """One searches and trains by hand, the other in torch, equally often."""
    repeated = script("runs.repeated_trainings")
    searchers, sides = [], []
    init, honest = repeated.Searcher.__init__, repeated.history

    def created(self, side, run, epochs):
        searchers.append((side, run))
        init(self, side, run, epochs)

    def history(experiment, data, side):
        sides.append(side)
        return honest(experiment, data, side)

    monkeypatch.setattr(repeated.Searcher, "__init__", created)
    monkeypatch.setattr(repeated, "history", history)
    list(repeated.search_points(1))
    ours, theirs = repeated.scratch_side, repeated.torch_side
    assert searchers == [(repeated.search, ours), (repeated.their_search, theirs)]
    assert sides.count(ours) == sides.count(theirs) == 50


def test_the_training_pictures_show_what_their_titles_say(script):
    """Zeros learn nothing, x10 starts high, He converges; gaps narrow; Adam, batch norm win."""
    experiments = script("runs.experiments").EXPERIMENTS
    draws, side = script("runs.draws"), script("runs.scratch_side")

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
    title = script("pictures.catalogue").PICTURES["optimizers"].description
    assert f"in {experiments['moons-adam'].epochs} epochs" in title

    ends = [history(name).costs[-20:] for name in ("moons-constant", "moons-decay")]
    assert np.ptp(ends[0]) > 2 * np.ptp(ends[1])
    assert np.mean(ends[0]) > 1.1 * np.mean(ends[1])

    without, normed = history("digits-plain"), history("digits-batch-norm")
    assert normed.dev_accuracies[0] > 1.5 * without.dev_accuracies[0]
    assert normed.dev_accuracies[-1] > without.dev_accuracies[-1]


def test_the_demonstrations_show_what_their_titles_say(script):
    """Paths leave the saddle or not, corrected averages start high, norms vanish and explode."""
    demonstrations = script("runs.demonstrations").DEMONSTRATIONS

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
    repeated, rng = script("runs.repeated_trainings"), np.random.default_rng(0)
    searcher = repeated.Searcher(repeated.search, repeated.scratch_side, 20)
    assert len(set(searcher.grid[:, 0])) == 5
    (points, coarse), (_, fine) = (searcher.round(rng.random((2, 25))) for _ in range(2))
    assert len(set(points[:, 0])) == 25
    assert np.median(fine) < 0.8 * np.median(coarse)
    assert fine.min() < coarse.min()


def test_the_learning_curves_show_what_their_title_says(script):
    """With all the data the small network is biased; the large one's variance has gone."""
    repeated = script("runs.repeated_trainings")
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
    repeated = script("runs.repeated_trainings")
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
    command_line = script("runs.command_line")
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
    demonstrations = script("runs.demonstrations")
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
