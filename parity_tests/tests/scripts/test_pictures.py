"""Pictures: both sides are in each, under the right label, and they show what their titles say."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch


@pytest.fixture
def drawn(script, monkeypatch):
    """Draw a picture; return its figure and (panel, label, ours, theirs) of all its curves.

    Curves are told apart by the colours of their label; panels without a legend share the first.
    """
    catalogue, legends = script("pictures.catalogue"), []
    honest = catalogue.legend

    def record(axes, labels, hues, **choices):
        legends.append((axes, [*labels], [*hues]))
        honest(axes, labels, hues, **choices)

    def draw(name, shown):
        figure, curves = catalogue.PICTURES[name].draw(shown), []
        own = {id(axes): rest for axes, *rest in legends}
        first = legends[0][1:] if legends else ([], [])
        for number, axes in enumerate(figure.axes):
            lines = {}
            for line in axes.lines:
                lines.setdefault(line.get_color(), []).append(np.array(line.get_data()))
            for label, hue in zip(*own.get(id(axes), first), strict=True):
                pairs = zip(lines.get(hue.light, []), lines.get(hue.dark, []), strict=True)
                curves += [(number, label, *pair) for pair in pairs]
        return figure, curves

    monkeypatch.setattr(catalogue, "legend", record)
    monkeypatch.setattr(script("pictures.demonstration_pictures"), "legend", record)
    yield draw
    script("pictures.style").plt.close("all")


NORMS = {"0.01": "small_normal", "Xavier": "xavier", "He": "he", "random": "large_normal"}

#: the number of curves, and the quantity behind a label by the number of its panel.
LABELLED = {
    "saddle": (
        8,
        lambda panel, label: (
            f"{('saddle', 'valley')[panel]}, {label.split(',')[0].lower().replace(' ', '_')}"
        ),
    ),
    "schedules": (8, lambda panel, label: label.replace(" ", "_")),
    "moving-averages": (
        4,
        lambda panel, label: (
            f"beta = 0.98, {'corrected' if '/' in label else 'as it is'}"
            if panel
            else f"beta = {label.split(' = ')[1].split(':')[0]}, corrected"
        ),
    ),
    "layer-norms": (
        12,
        lambda panel, label: f"{('activations', 'db', 'dW')[panel]}, {NORMS[label.split()[0]]}",
    ),
    "learning-curves": (
        4,
        lambda panel, label: f"{('high bias', 'high variance')[panel]}, {label}",
    ),
    "gradient-check": (2, lambda panel, label: f"relative error, {label}"),
}


@pytest.mark.parametrize("name", LABELLED)
def test_a_demonstration_is_drawn_by_its_labels(name, script, drawn):
    own, (count, quantity) = script("runs.demonstrations").DEMONSTRATIONS[name], LABELLED[name]
    shown = {
        one.name: one._replace(theirs=0.9 * one.theirs + 0.01)
        for one in own.quantities(1 if own.epochs else None)
    }
    factor, seen = 100 if name == "learning-curves" else 1, set()
    for panel, label, *curves in drawn(name, shown)[1]:
        one = shown[quantity(panel, label)]
        for curve, expected in zip(curves, (one.ours, one.theirs), strict=True):
            values = curve if expected.ndim == 2 else curve[1]
            wanted = factor * (np.column_stack([*expected]) if expected.ndim == 2 else expected)
            size = values.shape[-1]
            assert size in (wanted.shape[-1], wanted.shape[-1] - 1, 90)
            assert np.array_equal(values, wanted[..., :size]), (one.name, label)
        seen.add(one.name)
    assert len(seen) == count


#: the labels of the trainings in their order, and the columns; boundaries come before the panels.
TRAINED = {
    "initializations": ("zeros random_x10 Xavier He", ["costs"]),
    "regularization": ("no_regularization L2 dropout", ["dev_costs"]),
    "optimizers": ("gradient_descent momentum RMSprop Adam", ["costs"]),
    "decay": (r"$\alpha$_=_0.8 $\alpha$_=_0.8_/_(1_+_0.1_epoch)", ["costs"]),
    "batch-norm": ("without with_batch_norm", ["step_costs", "dev_accuracies"]),
}


@pytest.mark.parametrize("name", TRAINED)
def test_trainings_are_drawn_by_their_labels(name, script, drawn):
    agreement, experiments = script("runs.agreement"), script("runs.experiments").EXPERIMENTS
    picture = script("pictures.catalogue").PICTURES[name]
    runs = {
        one: agreement.train_both(replace(experiments[one], epochs=3))
        for one in picture.experiments
    }
    for number, one in enumerate(runs.values()):
        one.mine.history.accuracies[-1] = 0.5 + number / 10
        one.mine.history.dev_accuracies[-1] = 0.55 + number / 10
        for column in ("step_costs", "costs", "dev_costs", "dev_accuracies"):
            values = getattr(one.other.history, column)
            values[:] = [0.9 * value for value in values]
    labels, columns = [one.replace("_", " ") for one in TRAINED[name][0].split()], TRAINED[name][1]
    figure, curves = drawn(name, runs)
    above = len(figure.axes) - len(columns)
    assert above in (0, len(labels))
    for number, (axes, one) in enumerate(zip(figure.axes[:above], runs.values(), strict=False)):
        reached = f"train {50 + 10 * number}.0%, dev {55 + 10 * number}.0%"
        assert axes.get_title() == f"{labels[number]}\n{reached}"
        outputs = one.outputs()[0].reshape(agreement.GRID, -1)
        assert np.array_equal(axes.images[0].get_array(), outputs)
    curves = [one for one in curves if one[0] >= above]
    for panel, label, ours, theirs in curves:
        one, column = [*runs.values()][labels.index(label)], columns[panel - above]
        assert np.array_equal(ours[1], getattr(one.mine.history, column)), label
        assert np.array_equal(theirs[1], getattr(one.other.history, column)), label
    assert len(curves) == len(labels) * len(columns)


def test_the_search_is_drawn(script, drawn):
    own = script("runs.demonstrations").DEMONSTRATIONS["search"]
    shown = {one.name: one._replace(theirs=1.01 * one.theirs) for one in own.quantities(1)}
    linear, log, grid, random, _ = drawn("search", shown)[0].axes
    for axes, scale in ((linear, "Uniform"), (log, "LogUniform")):
        one = shown[f"learning rates, {scale}"]
        counts = np.histogram(one.ours, np.logspace(-4, 0, 5))[0]
        assert [bar.get_height() for bar in axes.patches] == list(counts)
        assert np.array_equal(axes.lines[0].get_xdata(), one.theirs)
    points = [np.asarray(one.get_offsets()) for one in (*grid.collections, *random.collections)]
    names = ["grid", *["coarse points"] * 2, *["fine points"] * 2]
    discs = [shown["grid"].ours, shown["grid"].theirs]
    for name in ("coarse points", "fine points"):
        discs += [shown[name].ours, *[shown[name].theirs] * 2]
    points = [one for one in points if len(one)]
    assert all(map(np.array_equal, points, discs)), names
    assert len(points) == len(discs)


def test_the_trajectories_are_drawn(script, drawn):
    own = script("runs.demonstrations").DEMONSTRATIONS["trajectories"]
    shown = {one.name: one for one in own.quantities(2)}
    panels = {axes.get_title(): axes for axes in drawn("trajectories", shown)[0].axes}
    for name, (label, hue) in script("pictures.style").OPTIMIZER_LOOKS.items():
        (apart, bound), one = panels[label].lines, shown[name]
        assert apart.get_color() == bound.get_color() == hue.dark
        assert np.array_equal(apart.get_ydata(), np.abs(one.ours - one.theirs).max(axis=1))
        assert np.allclose(bound.get_ydata(), 2.0**-52 * one.gauge[:, 0], rtol=1e-12, atol=0)
    panel = panels["RMSprop with ReLUs that meet a kink"]
    before, _, after, mark = panel.lines
    step, unit, example = (int(one) for one in shown["step, unit and example"].theirs)
    assert before.get_xdata()[-1] < mark.get_xdata()[0] == step == after.get_xdata()[0]
    assert before.get_ydata().max() < 1e-14 < 1e-6 < after.get_ydata().min()
    assert f"step {step},\nunit {unit} of layer 1,\nexample {example} " in panel.texts[0].get_text()


def test_figures_writes_every_picture(script, tmp_path, capsys, is_picture):
    names = [*script("pictures.catalogue").PICTURES]
    demonstrations = script("runs.demonstrations").DEMONSTRATIONS
    assert {*names} == {*TRAINED, *demonstrations}
    names = [*TRAINED, "saddle"]  # the others are drawn by compare.py too
    threads = torch.get_num_threads()
    flags = ["--only", *names, "--epochs", "2", "--workers", "1", "--out", "new"]
    assert script("figures").main(flags) == 0
    assert torch.get_num_threads() == threads
    printed = capsys.readouterr().out
    assert printed.count("inside the budget") == len(names)
    assert "wrote 6 of 6 pictures in new" in printed
    assert sorted(path.stem for path in (tmp_path / "new").iterdir()) == sorted(names)
    assert all(is_picture(path) for path in (tmp_path / "new").iterdir())


def test_a_picture_is_judged_by_all_its_experiments(script, monkeypatch, tmp_path, capsys):
    figures, agreement, captions = script("figures"), script("runs.agreement"), []
    honest = figures.results

    def spoilt(name, most_epochs):
        for result, found in honest(name, most_epochs):
            yield result, agreement.Agreement(99.0, "b1", 1.0) if name == parted else found

    monkeypatch.setattr(figures, "results", spoilt)
    monkeypatch.setattr(
        figures, "save", lambda figure, _: captions.append((figure.get_suptitle(), figure))
    )
    for parted in ("digits-plain", "digits-batch-norm"):
        flags = ["--only", "batch-norm", "--epochs", "1", "--workers", "1"]
        assert figures.main(flags) == 1
        assert f"OUTSIDE the budget, 99 eps units in b1 of {parted}, allowed" in (
            capsys.readouterr().out
        )
        title, figure = captions[-1]
        assert title.endswith("(at most 1 epoch)")
        assert f"99 eps units in b1 of {parted} (budget 1)" in figure.get_supxlabel()
    shortened = figures.PICTURES["batch-norm"].shortened
    assert [shortened(most) for most in (None, 19, 20, 21)] == [None, 19, None, None]
    cases = ((None, 3), (5, 3), (2, 3), (5, None))
    assert [figures.at_most(*case) for case in cases] == [3, 3, 2, None]


def test_interrupted_figures_keep_the_finished_ones(script, monkeypatch, tmp_path, capsys):
    figures, line = script("figures"), script("runs.command_line")
    honest, saved = line.Figure.savefig, []

    def interrupted(self, path, **choices):
        honest(self, path, **choices)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(line.Figure, "savefig", interrupted)
    flags = ["--only", "schedules", "moving-averages", "layer-norms", "--workers", "1"]
    assert figures.main(flags) == 130
    assert "interrupted after 1 of 3 pictures" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["schedules.png"]


def test_workers_are_ended_by_an_interruption(script, monkeypatch, tmp_path):
    figures, ended = script("figures"), []
    worker = SimpleNamespace(terminate=lambda: ended.append(1))
    monkeypatch.setattr(figures, "make", lambda name, *_: name)
    monkeypatch.setattr(figures, "ProcessPoolExecutor", lambda n, *_: ThreadPoolExecutor(n))
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [worker] * 2)
    for name in figures.ONE_THREAD:
        monkeypatch.setenv(name, "1")  # undone after the test, as main sets it for good
    work = figures.made(["saddle", "schedules"], tmp_path, None, workers=2)
    assert next(work) in ("saddle", "schedules")
    with pytest.raises(KeyboardInterrupt):
        work.throw(KeyboardInterrupt)
    assert len(ended) == 2


def test_trainings_show_what_their_titles_say(script):
    experiments = script("runs.experiments").EXPERIMENTS
    start, side = script("runs.start"), script("runs.scratch_side")

    def history(name, **changes):
        drawn = start.draw(replace(experiments[name], **changes), "float64")
        return side.set_up(drawn).walk().history

    zeros, large = (history(f"circles-{name}", epochs=300) for name in ("zeros", "large"))
    xavier, he = (history(f"circles-{name}", epochs=2000) for name in ("xavier", "he"))
    assert zeros.accuracies[-1] < 0.55
    assert large.costs[0] > 1000 > 2 > max(xavier.costs[0], he.costs[0])
    assert min(one.dev_accuracies[-1] for one in (xavier, he)) > 0.9
    plain, *regularized = (history(name) for name in ("noisy", "noisy-l2", "noisy-dropout"))
    for one in regularized:
        gaps = [run.accuracies[-1] - run.dev_accuracies[-1] for run in (one, plain)]
        assert gaps[0] < 0.6 * gaps[1]
    names = ("adam", "rmsprop", "momentum", "gradient-descent")
    costs = [history(f"moons-{name}").costs[-1] for name in names]
    assert costs[0] < 0.8 * costs[1] < 0.8 * min(costs[2:])
    constant, decay = (history(f"moons-{name}").costs[-20:] for name in ("constant", "decay"))
    assert np.ptp(constant) > 2 * np.ptp(decay)
    without, normed = (history(f"digits-{name}", epochs=3) for name in ("plain", "batch-norm"))
    assert normed.dev_accuracies[0] > 1.5 * without.dev_accuracies[0]


def test_demonstrations_show_what_their_titles_say(script):
    demonstrations = script("runs.demonstrations")

    def shown(name):
        work = demonstrations.DEMONSTRATIONS[name].quantities()
        return {one.name: one.ours for one in work}

    paths = shown("saddle")
    left = {name: int(np.argmax(path[:, 1] > 0.9)) or 1000 for name, path in paths.items()}
    assert max(left["saddle, adam"], left["saddle, rmsprop"]) < left["saddle, gradient_descent"]
    turns = {n: (np.diff(np.sign(np.diff(path[:, 1]))) != 0).sum() for n, path in paths.items()}
    assert turns["valley, gradient_descent"] > 5 * turns["valley, momentum"]
    averages = shown("moving-averages")
    raw, corrected = (averages[f"beta = 0.98, {how}"] for how in ("as it is", "corrected"))
    assert raw[0] < 0.05 * corrected[0]
    assert abs(raw[-1] / corrected[-1] - 1) < 1e-3
    norms = {name: one[-2] / one[0] for name, one in shown("layer-norms").items()}
    for kind, activations, back in (
        *(("small_normal", (0, 1e-8), (1e8, np.inf)), ("xavier", (0, 0.1), (10, np.inf))),
        *(("he", (0.5, 2), (0.5, 2)), ("large_normal", (1e8, np.inf), (0, 1e-8))),
    ):
        assert activations[0] < norms[f"activations, {kind}"] < activations[1]
        assert back[0] < norms[f"db, {kind}"] < back[1]
    errors = shown("gradient-check")
    one, two = (errors[f"relative error, {how}"] for how in ("one-sided", "two-sided"))
    assert two.min() < 1e-9 < 1e-8 < one.min()
    searcher = demonstrations.Searcher(demonstrations.search, demonstrations.scratch_side, 20)
    assert len({*searcher.grid[:, 0]}) == 5
    rng = np.random.default_rng(0)
    (points, coarse), (_, fine) = (searcher.round(rng.random((2, 25))) for _ in range(2))
    assert len({*points[:, 0]}) == 25
    assert np.median(fine) < 0.8 * np.median(coarse)


def test_learning_curves_show_what_their_title_says(script):
    demonstrations, found = script("runs.demonstrations"), {}
    for name, learner in demonstrations.LEARNERS.items():
        data = learner.load()
        for m in (80, 1078):
            train = tuple(one[:, :m] for one in data.train)
            learned, side = demonstrations.equal_steps(learner, m), demonstrations.scratch_side
            history = demonstrations.history(learned, data._replace(train=train), side)
            errors = 1 - history.accuracies[-1], 1 - history.dev_accuracies[-1]
            found[name, m] = demonstrations.diagnosis.diagnose(*errors, tolerance=0.05).name
    assert found["high bias", 80] == found["high variance", 80] == "high variance"
    assert (found["high bias", 1078], found["high variance", 1078]) == ("high bias", "neither")
