"""Trainings of the assignments: the lines that they print, the curves that they draw."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest

from scratch.course import deep, optimization, planar

DATA = np.random.default_rng(0).standard_normal((2, 8)), np.array([[0, 1] * 4])


@pytest.fixture
def curves(monkeypatch):
    """Return the list of the curves that trainings would draw."""
    drawn = []
    for module in (deep, optimization):
        monkeypatch.setattr(module, "plot_costs", lambda *arguments: drawn.append(arguments))
    return drawn


def test_nn_model_prints_what_the_notebook_prints(capsys):
    """On the notebook's flower of 400 points with labels of type uint8; silence unless asked."""
    np.random.seed(1)
    petals = []
    for j in range(2):
        t = np.linspace(j * 3.12, (j + 1) * 3.12, 200) + np.random.randn(200) * 0.2
        r = 4 * np.sin(4 * t) + np.random.randn(200) * 0.2
        petals.append(r * np.stack([np.sin(t), np.cos(t)]))
    X, Y = np.hstack(petals), np.repeat([[0, 1]], 200, axis=1).astype("uint8")
    planar.nn_model(X, Y, n_h=4, num_iterations=2001, print_cost=True)
    costs = {0: 0.693162, 1000: 0.258625, 2000: 0.239334}
    lines = [f"Cost after iteration {i}: {cost}" for i, cost in costs.items()]
    assert capsys.readouterr().out.splitlines() == lines
    assert list(planar.nn_model(X, Y, 4, 20)) == ["W1", "b1", "W2", "b2"]
    assert capsys.readouterr().out == ""


def test_the_accuracy_is_printed_to_the_notebooks_last_digit(capsys):
    """The notebook adds up 1 / 209 for each picture, which gives a little less than one."""
    parameters = {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))}
    assert deep.predict(np.ones((1, 209)), np.ones((1, 209), int), parameters).all()
    assert capsys.readouterr().out == "Accuracy: 0.9999999999999998\n"


@pytest.mark.parametrize(
    ("name", "epochs", "printed"),
    [
        ("gd", 101, "Cost after epoch 0: 0.690736\n"),
        ("momentum", 101, "Cost after epoch 0: 0.690741\n"),
        ("adam", 1001, "Cost after epoch 0: 0.690552\nCost after epoch 1000: 0.185567\n"),
    ],
)
def test_model_prints_what_the_notebook_prints(name, epochs, printed, curves, capsys):
    """The assignment's first lines on its own moons; a cost recorded every 100 epochs."""
    datasets = pytest.importorskip("sklearn.datasets")
    np.random.seed(3)
    moons, Y = datasets.make_moons(n_samples=300, noise=0.2)
    X = np.stack([moons[:, 0], moons[:, 1]])
    optimization.model(X, Y[None], [2, 5, 2, 1], optimizer=name, num_epochs=epochs)
    assert capsys.readouterr().out == printed
    ((costs, *rest),) = curves
    assert len(costs) == -(-epochs // 100)
    assert f"{costs[0]:f}" in printed
    assert {type(cost) for cost in costs} == {float}
    assert rest == ["epochs (per 100)", 0.0007]


def test_L_layer_model_prints_and_records_every_hundred(capsys, curves):  # noqa: N802
    """The notebook's lines, silence unless asked; the recorded costs are what is drawn."""
    deep.L_layer_model(*DATA, [2, 3, 1], num_iterations=201, print_cost=True)
    ((costs, *rest),) = curves
    lines = [f"Cost after iteration {100 * i}: {cost:f}" for i, cost in enumerate(costs)]
    assert len(lines) == 3
    assert capsys.readouterr().out.splitlines() == lines
    assert {type(cost) for cost in costs} == {float}
    assert costs == sorted(costs, reverse=True)
    assert rest == ["iterations (per hundreds)", 0.0075]
    deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=1, isPlot=False)
    assert capsys.readouterr().out == ""
    assert len(curves) == 1


def test_the_costs_are_drawn(monkeypatch):
    """Each time on a figure of their own, without a display or a word."""
    pytest.importorskip("matplotlib").use("agg")
    pyplot, shown = importlib.import_module("matplotlib.pyplot"), []

    def axes_of_a_training():
        deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=101)
        return pyplot.gca()

    pyplot.close("all")
    axes_of_a_training()  # the real show of a headless backend
    monkeypatch.setattr(pyplot, "show", lambda **given: shown.append(given))
    axes = axes_of_a_training()
    assert shown == [{"block": False}]
    assert [len(line.get_ydata()) for line in axes.lines] == [2]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("cost", "iterations (per hundreds)")
    assert axes.get_title() == "Learning rate = 0.0075"
    assert [len(pyplot.figure(one).gca().lines) for one in pyplot.get_fignums()] == [1, 1]
    empty = pyplot.figure()
    assert axes_of_a_training() in empty.axes  # a figure that was made for it is taken
    pyplot.close("all")


@pytest.mark.parametrize("fault", ["no library", "no display"])
def test_a_plot_that_fails_costs_nothing(fault, monkeypatch):
    """Without matplotlib, or where its backend cannot start, the parameters still come back."""
    broken = types.ModuleType("matplotlib.pyplot")

    def plot(*arguments):
        raise RuntimeError("cannot connect to display")

    broken.gca = broken.plot = plot
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None if fault == "no library" else broken)
    assert set(deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=1)) == {"W1", "b1", "W2", "b2"}
