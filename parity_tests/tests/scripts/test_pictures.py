"""Pictures: both sides are in each, under the right label, and they show what their titles say."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest


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


#: panels and labels, of which the first words tell the curves apart, and what is to be seen.
OPTIMIZERS = ("gradient descent", "momentum", "RMSprop", "Adam")
NORMS = {"0.01": "small_normal", "Xavier": "xavier", "He": "he", "random": "large_normal"}
PANELS = {
    "saddle": {
        (panel, label): f"{surface}, {label.lower().replace(' ', '_')}"
        for panel, surface in enumerate(("saddle", "valley"))
        for label in OPTIMIZERS
    },
    "moving-averages": {
        **{(0, f"$\\beta$ = {beta}:"): f"beta = {beta}, corrected" for beta in (0.5, 0.9, 0.98)},
        (1, "$v_t$"): "beta = 0.98, as it is",
        (1, "$v_t /"): "beta = 0.98, corrected",
    },
    "layer-norms": {
        (panel, label): f"{what}, {name}"
        for panel, what in enumerate(("activations", "db", "dW"))
        for label, name in NORMS.items()
    },
    "learning-curves": {
        (panel, label): f"{name}, {label}"
        for panel, name in enumerate(("high bias", "high variance"))
        for label in ("train error", "dev error")
    },
    "gradient-check": {(0, one): f"relative error, {one}" for one in ("one-sided", "two-sided")},
}


@pytest.mark.parametrize("name", PANELS)
def test_a_demonstration_is_drawn_by_its_labels(name, drawn, quantities):
    shown = {n: one._replace(theirs=0.9 * one.theirs + 0.01) for n, one in quantities(name).items()}
    factor, curves = 100 if name == "learning-curves" else 1, drawn(name, shown)[1]
    assert len(curves) == len(PANELS[name])
    for (panel, label), quantity in PANELS[name].items():
        (mine,) = [one for one in curves if one[0] == panel and one[1].startswith(label)]
        one = shown[quantity]
        for curve, expected in zip(mine[2:], (one.ours, one.theirs), strict=True):
            wanted = np.column_stack([*expected]) if expected.ndim == 2 else factor * expected
            values = curve if expected.ndim == 2 else curve[1]
            assert values.shape[-1] in (wanted.shape[-1], wanted.shape[-1] - 1, 90)
            assert np.array_equal(values, wanted[..., : values.shape[-1]]), (quantity, label)


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
    names = script("pictures.catalogue").PICTURES[name].experiments
    runs = {one: agreement.train_both(replace(experiments[one], epochs=2)) for one in names}
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
    assert len(curves) == len(labels) * len(columns)
    for panel, label, ours, theirs in curves:
        one, column = [*runs.values()][labels.index(label)], columns[panel - above]
        assert np.array_equal(ours[1], getattr(one.mine.history, column)), label
        assert np.array_equal(theirs[1], getattr(one.other.history, column)), label


def test_the_search_is_drawn(drawn, quantities):
    shown = {n: one._replace(theirs=1.01 * one.theirs) for n, one in quantities("search").items()}
    linear, log, grid, random, _ = drawn("search", shown)[0].axes
    for axes, scale in ((linear, "Uniform"), (log, "LogUniform")):
        one = shown[f"learning rates, {scale}"]
        counts = np.histogram(one.ours, np.logspace(-4, 0, 5))[0]
        assert [bar.get_height() for bar in axes.patches] == list(counts)
        assert np.array_equal(axes.lines[0].get_xdata(), one.theirs)
    points = [np.asarray(one.get_offsets()) for one in (*grid.collections, *random.collections)]
    discs = [shown["grid"].ours, shown["grid"].theirs]
    for name in ("coarse points", "fine points"):
        discs += [shown[name].ours, *[shown[name].theirs] * 2]
    assert all(map(np.array_equal, filter(len, points), discs))


def test_the_trajectories_are_drawn(script, drawn, quantities):
    shown = quantities("trajectories")
    panels = {axes.get_title(): axes for axes in drawn("trajectories", shown)[0].axes}
    for name, (label, _) in script("pictures.style").OPTIMIZER_LOOKS.items():
        (apart, bound), one = panels[label].lines, shown[name]
        assert np.array_equal(apart.get_ydata(), np.abs(one.ours - one.theirs).max(axis=1))
        assert np.allclose(bound.get_ydata(), 2.0**-52 * one.gauge[:, 0], rtol=1e-12, atol=0)
    panel = panels["RMSprop with ReLUs that meet a kink"]
    before, _, after, mark = panel.lines
    step, unit, example = (int(one) for one in shown["step, unit and example"].theirs)
    assert before.get_xdata()[-1] < mark.get_xdata()[0] == step == after.get_xdata()[0]
    assert before.get_ydata().max() < 1e-14 < 1e-6 < after.get_ydata().min()
    assert f"step {step},\nunit {unit} of layer 1,\nexample {example} " in panel.texts[0].get_text()


def test_figures_writes_pictures(script, tmp_path, capsys, is_picture):
    demonstrations = script("runs.demonstrations").DEMONSTRATIONS
    assert {*script("pictures.catalogue").PICTURES} == {*TRAINED, *demonstrations}
    names = ["decay", "schedules"]
    flags = ["--only", *names, "--epochs", "2", "--workers", "1", "--out", "new"]
    assert script("figures").main(flags) == 0
    printed = capsys.readouterr().out
    assert printed.count("inside the budget") == 2
    assert "wrote 2 of 2 pictures in new" in printed
    assert sorted(path.stem for path in (tmp_path / "new").iterdir()) == sorted(names)
    assert all(is_picture(path) for path in (tmp_path / "new").iterdir())


@pytest.mark.parametrize("parted", ["moons-constant", "moons-decay"])
def test_a_picture_is_judged_by_all_its_experiments(parted, script, monkeypatch, capsys):
    figures, agreement, saved = script("figures"), script("runs.agreement"), []
    honest = figures.results

    def spoilt(name, most_epochs):
        for result, found in honest(name, most_epochs):
            yield result, agreement.Agreement(99.0, "b1", 1.0) if name == parted else found

    monkeypatch.setattr(figures, "results", spoilt)
    monkeypatch.setattr(figures, "save", lambda figure, _: saved.append(figure))
    assert figures.main(["--only", "decay", "--epochs", "1", "--workers", "1"]) == 1
    printed = capsys.readouterr().out
    assert f"OUTSIDE the budget, 99 eps units in b1 of {parted}, allowed" in printed
    assert saved[0].get_suptitle().endswith("(at most 1 epoch)")
    assert f"99 eps units in b1 of {parted} (budget 1)" in saved[0].get_supxlabel()
    shortened = figures.PICTURES["batch-norm"].shortened
    assert [shortened(most) for most in (None, 19, 20, 21)] == [None, 19, None, None]


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


def test_trainings_show_what_their_titles_say(script):
    experiments = script("runs.experiments").EXPERIMENTS
    start, side = script("runs.start"), script("runs.scratch_side")

    def history(name, **changes):
        drawn = start.draw(replace(experiments[name], **changes), "float64")
        return side.set_up(drawn).walk().history

    zeros, large = (history(f"circles-{name}", epochs=100) for name in ("zeros", "large"))
    xavier, he = (history(f"circles-{name}", epochs=1500) for name in ("xavier", "he"))
    assert zeros.accuracies[-1] < 0.55
    assert large.costs[0] > 1000 > 2 > max(xavier.costs[0], he.costs[0])
    assert min(one.dev_accuracies[-1] for one in (xavier, he)) > 0.85
    plain, *regularized = (history(name) for name in ("noisy", "noisy-l2", "noisy-dropout"))
    gap = plain.accuracies[-1] - plain.dev_accuracies[-1]
    assert all(one.accuracies[-1] - one.dev_accuracies[-1] < 0.6 * gap for one in regularized)
    names = ("adam", "rmsprop", "momentum", "gradient-descent")
    costs = [history(f"moons-{name}").costs[-1] for name in names]
    assert costs[0] < 0.8 * costs[1] < 0.8 * min(costs[2:])
    constant, decay = (history(f"moons-{name}").costs[-20:] for name in ("constant", "decay"))
    assert np.ptp(constant) > 2 * np.ptp(decay)
    without, normed = (history(f"digits-{name}", epochs=1) for name in ("plain", "batch-norm"))
    assert normed.dev_accuracies[0] > 1.5 * without.dev_accuracies[0]


def test_demonstrations_show_what_their_titles_say(quantities):
    def shown(name):
        return {key: one.ours for key, one in quantities(name).items()}

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
    search = shown("search")
    assert [len({*search[name][:, 0]}) for name in ("grid", "coarse points")] == [5, 25]
    assert np.median(search["fine dev costs"]) < np.median(search["coarse dev costs"])


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
