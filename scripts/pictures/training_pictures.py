"""Pictures of trainings: decision boundaries and curves, both sides overlaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pictures.style import (
    BLUE,
    GREEN,
    GREY,
    INITIALIZER_LOOKS,
    OPTIMIZER_LOOKS,
    ORANGE,
    Hue,
    boundary,
    canvas,
    legend,
    overlay,
)
from runs.verdict import Runs

Trainings = Mapping[str, Runs]


def _curves(axes: Any, runs: Runs, column: str, hue: Hue) -> None:
    """Draw one column of both histories over epochs."""
    ours, theirs = (getattr(side.history, column) for side in (runs.mine, runs.other))
    overlay(axes, np.arange(1, len(ours) + 1), ours, theirs, hue)


def _percent(runs: Runs) -> str:
    history = runs.mine.history
    return f"train {history.accuracies[-1]:.1%}, dev {history.dev_accuracies[-1]:.1%}"


def _boundaries(axes: Any, trainings: Trainings, names: Mapping[str, str]) -> None:
    """Draw the decision boundary of each training in the axes of its name."""
    for name, title in names.items():
        runs = trainings[name]
        label = f"{title}\n{_percent(runs)}"
        boundary(axes[name], runs.draws.data.train, *runs.outputs(), label)


def initializations(trainings: Trainings) -> Figure:
    """Two circles from four initializations: boundaries above, costs below."""
    names = [*trainings]
    figure, axes = canvas([names, ["cost"] * 4], (11, 6.2), height_ratios=[1.15, 1])
    looks = [INITIALIZER_LOOKS[one.draws.experiment.initializer] for one in trainings.values()]
    titles = {name: label for name, (label, _) in zip(names, looks, strict=True)}
    _boundaries(axes, trainings, titles)
    for runs, (_, hue) in zip(trainings.values(), looks, strict=True):
        _curves(axes["cost"], runs, "costs", hue)
    axes["cost"].set(xlabel="epoch", ylabel="cost J", yscale="log")
    labels, hues = zip(*looks, strict=True)
    legend(axes["cost"], labels, hues, ncols=4, loc="upper right")
    return figure


def regularization(trainings: Trainings) -> Figure:
    """A noisy set without regularization, with L2, with dropout: boundaries and dev costs."""
    names = [*trainings]
    labels = ("no regularization", "L2", "dropout")
    figure, axes = canvas([names, ["cost"] * 3], (11, 7), height_ratios=[1.35, 1])
    _boundaries(axes, trainings, dict(zip(names, labels, strict=True)))
    hues = (GREY, BLUE, ORANGE)
    for runs, hue in zip(trainings.values(), hues, strict=True):
        _curves(axes["cost"], runs, "dev_costs", hue)
    axes["cost"].set(xlabel="epoch", ylabel="dev cost, without penalty", ylim=(0, None))
    legend(axes["cost"], labels, hues, loc="upper left")
    return figure


def optimizers(trainings: Trainings) -> Figure:
    """The moons by four optimizers at one learning rate: boundaries above, costs below."""
    names = [*trainings]
    figure, axes = canvas([names, ["cost"] * 4], (11, 6.2), height_ratios=[1.15, 1])
    looks = [OPTIMIZER_LOOKS[one.draws.experiment.optimizer] for one in trainings.values()]
    titles = {name: label for name, (label, _) in zip(names, looks, strict=True)}
    _boundaries(axes, trainings, titles)
    for runs, (_, hue) in zip(trainings.values(), looks, strict=True):
        _curves(axes["cost"], runs, "costs", hue)
    axes["cost"].set(xlabel="epoch", ylabel="cost J", ylim=(0, None))
    labels, hues = zip(*looks, strict=True)
    legend(axes["cost"], labels, hues, loc="lower left", ncols=2)
    return figure


def decay(trainings: Trainings) -> Figure:
    """Mini-batch gradient descent with a constant and with a decaying learning rate."""
    figure, axes = canvas([["cost"]], (11, 4.4))
    hues = (GREY, GREEN)
    for runs, hue in zip(trainings.values(), hues, strict=True):
        _curves(axes["cost"], runs, "costs", hue)
    rates = [runs.draws.experiment.learning_rate for runs in trainings.values()]
    decays = [runs.draws.experiment.schedule_choices for runs in trainings.values()]
    axes["cost"].set(xlabel="epoch", ylabel="cost J")
    labels = (
        f"$\\alpha$ = {rates[0]:g}",
        f"$\\alpha$ = {rates[1]:g} / (1 + {decays[1]['decay']:g} epoch)",
    )
    legend(axes["cost"], labels, hues, loc="upper right")
    return figure


def batch_norm(trainings: Trainings) -> Figure:
    """Digits with and without batch norm: the cost of each step, the dev accuracy."""
    figure, axes = canvas([["cost", "accuracy"]], (11, 4.4))
    hues = (GREY, BLUE)
    for runs, hue in zip(trainings.values(), hues, strict=True):
        ours, theirs = (side.history.step_costs for side in (runs.mine, runs.other))
        overlay(axes["cost"], np.arange(1, len(ours) + 1), ours, theirs, hue, width=0.8)
        _curves(axes["accuracy"], runs, "dev_accuracies", hue)
    axes["cost"].set(xlabel="step", ylabel="cost of the mini-batch", yscale="log")
    axes["accuracy"].set(xlabel="epoch", ylabel="dev accuracy", ylim=(0, 1.02))
    axes["accuracy"].xaxis.get_major_locator().set_params(integer=True)
    legend(axes["cost"], ("without", "with batch norm"), hues, loc="lower left")
    return figure
