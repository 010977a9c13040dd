"""Pictures: both sides are in each, under the right label, and they show what their titles say."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

# fmt: off
#: words of a quantity's name where its label in the legend has others.
WORDS = {
    "0.01 · N(0, 1)": "small normal", "random x10": "large", "with batch norm": "batch norm",
    "without": "plain", "no regularization": "noisy", "$v_t$": "as it is",
    r"$v_t / (1 - \beta^t)$": "corrected", r"$\alpha$ = 0.8": "constant",
    r"$\alpha$ = 0.8 / (1 + 0.1 epoch)": "decay",
}
# fmt: on


def count_curves(figure, quantities, hues):
    """Count the curves, each of a quantity on both sides, under a label that has its words."""
    labels, lines = {}, {}
    for axes in figure.axes:
        if legend := axes.get_legend():  # panels without one share the last
            pairs = zip(legend.legend_handles, legend.texts, strict=True)
            labels[axes] = {line.get_color(): text.get_text() for line, text in pairs}
        for line in filter(lambda one: one.get_gid(), axes.lines):
            lines.setdefault((axes, line.get_gid()), []).append(line)
    for (axes, name), (thick, thin) in lines.items():
        assert (thick.get_color(), thin.get_color()) in hues
        label = labels.get(axes, [*labels.values()][-1])[thick.get_color()]
        words = WORDS.get(label, label.split(",")[0].split(":")[0].replace("$\\beta$", "beta"))
        told, name_told = (one.replace("-", " ").replace("_", " ") for one in (words, name))
        assert told.lower() in name_told, (label, name)
        for line, values in zip((thick, thin), quantities[name], strict=True):
            shown = line.get_xydata() if np.ndim(values) == 2 else line.get_ydata()
            assert len(shown) in (len(values), len(values) - 1, 90)
            assert np.array_equal(shown, values[: len(shown)]), name
    return len(lines)


def assert_search_is_drawn(figure, shown):
    linear, log, grid, random, _ = figure.axes
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


def assert_trajectories_are_drawn(figure, shown):
    panels = {axes.get_title().replace(" ", "_").lower(): axes for axes in figure.axes}
    for name in ("gradient_descent", "momentum", "rmsprop", "adam"):
        (apart, bound), one = panels[name].lines, shown[name]
        assert np.array_equal(apart.get_ydata(), np.abs(one.ours - one.theirs).max(axis=1))
        assert np.allclose(bound.get_ydata(), 2.0**-52 * one.gauge[:, 0], rtol=1e-12, atol=0)
    panel = panels["rmsprop_with_relus_that_meet_a_kink"]
    before, _, after, mark = panel.lines
    step, unit, example = (int(one) for one in shown["step, unit and example"].theirs)
    assert before.get_xdata()[-1] < mark.get_xdata()[0] == step == after.get_xdata()[0]
    assert before.get_ydata().max() < 1e-14 < 1e-6 < after.get_ydata().min()
    assert f"step {step},\nunit {unit} of layer 1,\nexample {example} " in panel.texts[0].get_text()


#: demonstrations: how many curves are drawn, or how else it is checked.
DRAWN = {"saddle": 8, "schedules": 8, "moving-averages": 5, "layer-norms": 12}
DRAWN |= {"learning-curves": 4, "gradient-check": 2}
DRAWN |= {"search": assert_search_is_drawn, "trajectories": assert_trajectories_are_drawn}


@pytest.mark.parametrize("name", DRAWN)
def test_a_demonstration_agrees_and_is_drawn(name, script, run, quantities, monkeypatch):
    """Each quantity is in the report and in the picture, both sides apart by a few eps."""
    demonstrations, honest = script("runs.demonstrations").DEMONSTRATIONS, quantities(name)
    assert not any(np.shares_memory(one.ours, one.theirs) for one in honest.values())
    if name in ("saddle", "layer-norms"):
        assert any(not np.array_equal(one.ours, one.theirs) for one in honest.values())
    shown, saved = honest, []
    if name != "trajectories":
        more = 1 + 2.0**-50
        shown = {key: one._replace(theirs=more * one.theirs) for key, one in honest.items()}
    known = demonstrations[name]._replace(run=lambda *_: iter(shown.values()))
    monkeypatch.setitem(demonstrations, name, known)
    monkeypatch.setattr(script("compare"), "save", lambda figure, path: saved.append(figure))
    printed = run("compare", f"--experiment {name}")
    assert "inside the budget" in printed
    saved[0].draw_without_rendering()
    if isinstance(DRAWN[name], int):
        values = {key: one[1:3] for key, one in shown.items()}
        assert count_curves(saved[0], values, script("pictures.style").HUES) == DRAWN[name]
    else:
        DRAWN[name](saved[0], shown)
    script("pictures.style").plt.close(saved[0])
    report = json.loads(Path("compare.json").read_text())
    assert (report["agreed"], report["interrupted"]) == (True, False)
    assert len(report["quantities"]) >= 4
    for quantity, found in report["quantities"].items():
        assert quantity in printed
        assert found["error_in_eps"] <= found["allowed_in_eps"]
        assert np.shape(found["scratch"]) == np.shape(found["torch"]) != ()


def test_trainings_are_drawn_by_their_labels(script, trained):
    style = script("pictures.style")
    for picture in script("pictures.catalogue").TRAININGS.values():
        columns, above = picture.draw.keywords["panels"], "heights" in picture.draw.keywords
        runs, values = {}, {}
        for number, one in enumerate(picture.experiments):
            honest = trained(one)
            mine, other = (deepcopy(side.history) for side in (honest.mine, honest.other))
            mine.accuracies[-1], mine.dev_accuracies[-1] = 0.5 + number / 10, 0.55 + number / 10
            for column in columns:
                setattr(other, column, [0.9 * value for value in getattr(other, column)])
                values[f"{column} of {one}"] = getattr(mine, column), getattr(other, column)
            sides = replace(honest.mine, history=mine), replace(honest.other, history=other)
            runs[one] = replace(honest, mine=sides[0], other=sides[1])
        figure = picture.draw(runs)
        style.plt.close(figure)
        assert count_curves(figure, values, style.HUES) == len(values)
        assert len(figure.axes) == len(columns) + above * len(runs)
        for number, (one, axes) in enumerate(zip(runs.values(), figure.axes * above, strict=False)):
            reached = f"train {50 + 10 * number}.0%, dev {55 + 10 * number}.0%"
            assert axes.get_title().endswith(f"\n{reached}")
            seen = axes.images[0].get_array()
            assert np.array_equal(seen, one.outputs()[0].reshape(seen.shape))


def test_figures_writes_pictures(script, run, is_picture):
    demonstrations, catalogue = script("runs.demonstrations"), script("pictures.catalogue")
    assert {*catalogue.PICTURES} == {*catalogue.TRAININGS, *demonstrations.DEMONSTRATIONS}
    printed = run("figures", "--only decay schedules --epochs 2 --workers 1 --out new")
    assert printed.count("inside the budget") == 2
    assert "wrote 2 of 2 pictures in new" in printed
    assert sorted(path.stem for path in Path("new").iterdir()) == ["decay", "schedules"]
    assert all(map(is_picture, Path("new").iterdir()))


def test_a_picture_is_judged_by_all_its_experiments(script, run, monkeypatch):
    figures, agreement, saved = script("figures"), script("runs.agreement"), []
    honest = figures.results
    monkeypatch.setattr(figures, "save", lambda figure, _: saved.append(figure))
    for parted in ("moons-constant", "moons-decay"):

        def spoilt(name, most_epochs, parted=parted):
            for result, found in honest(name, most_epochs):
                yield result, agreement.Agreement(99.0, "b1", 1.0) if name == parted else found

        monkeypatch.setattr(figures, "results", spoilt)
        printed = run("figures", "--only decay --epochs 1 --workers 1", 1)
        assert f"OUTSIDE the budget, 99 eps units in b1 of {parted}, allowed" in printed
        assert saved[-1].get_suptitle().endswith("(at most 1 epoch)")
        assert f"99 eps units in b1 of {parted} (budget 1)" in saved[-1].get_supxlabel()
    shortened = figures.PICTURES["batch-norm"].shortened
    assert [shortened(most) for most in (None, 19, 20, 21)] == [None, 19, None, None]


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
