"""The classic pictures of the two courses, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from pictures import demonstration_pictures as drawings
from pictures import style
from pictures.style import Look, boundary, canvas, curves, legend
from runs.agreement import Agreement, Compared, Runs
from runs.demonstrations import DEMONSTRATIONS
from runs.experiments import EXPERIMENTS


class Picture(NamedTuple):
    """A picture: its title, its experiments, how it is drawn, and how it tells the sides apart."""

    description: str
    experiments: tuple[str, ...]
    draw: Callable[[Any], Figure]
    sides: str = style.CURVES

    def shortened(self, most_epochs: int | None) -> int | None:
        known: Mapping[str, Any] = {**EXPERIMENTS, **DEMONSTRATIONS}
        own = [known[name].epochs or 0 for name in self.experiments]
        return most_epochs if most_epochs is not None and most_epochs < max(own) else None

    def finished(self, shown: Any, agreement: Agreement, most_epochs: int | None) -> Figure:
        """Return the figure under its title, and above how far the sides are apart.

        A picture of fewer epochs than its title is about says so.
        """
        figure, title, epochs = self.draw(shown), self.description, self.shortened(most_epochs)
        if epochs is not None:
            title = f"{title} (at most {epochs} epoch{'s' if epochs > 1 else ''})"
        figure.suptitle(title, fontsize=13)
        figure.supxlabel(
            f"{self.sides}. Largest difference: {agreement.error:.3g} eps units in "
            f"{agreement.name} (budget {agreement.allowed:.3g})",
            fontsize=8.5,
            color="0.35",
        )
        return figure


def trainings(
    runs: Mapping[str, Runs],
    *,
    looks: Mapping[str, Look],
    panels: Mapping[str, Mapping[str, Any]],
    size: tuple[float, float] = (11, 4.4),
    heights: tuple[float, float] | None = None,
    **corner: Any,
) -> Figure:
    """Draw columns of the histories of trainings, a panel each, in the look of each training.

    With `heights` the decision boundaries of all trainings are above.
    """
    names, columns = [*looks], [*panels]
    layout = [names, columns * len(names)] if heights else [columns]
    figure, axes = canvas(layout, size, height_ratios=heights)
    for name in names if heights else ():
        history, train = runs[name].mine.history, runs[name].start.data.train
        reached = f"train {history.accuracies[-1]:.1%}, dev {history.dev_accuracies[-1]:.1%}"
        boundary(axes[name], train, *runs[name].outputs(), f"{looks[name][0]}\n{reached}")
    for column, choices in panels.items():
        both = {
            n: [getattr(s.history, column) for s in (runs[n].mine, runs[n].other)] for n in names
        }
        shown = [Compared(f"{column} of {name}", *pair) for name, pair in both.items()]
        curves(axes[column], looks.values(), shown, width=0.8 if column == "step_costs" else 1.2)
        axes[column].set(**{"xlabel": "epoch", **choices})
        axes[column].xaxis.get_major_locator().set_params(integer=True)
    legend(axes[columns[0]], looks.values(), **corner)
    return figure


def _of_trainings(title: str, looks: Mapping[str, Look], **choices: Any) -> Picture:
    return Picture(title, tuple(looks), partial(trainings, looks=looks, **choices))


# fmt: off
#: pictures of trainings by name: the title, the look of each experiment, a panel for each column.
TRAININGS: Mapping[str, Picture] = {
    "initializations": _of_trainings(
        "Zeros learn nothing, x10 starts at a huge cost, Xavier and He converge",
        {"circles-zeros": style.INITIALIZER_LOOKS["zeros"],
         "circles-large": style.INITIALIZER_LOOKS["large_normal"],
         "circles-xavier": style.INITIALIZER_LOOKS["xavier"],
         "circles-he": style.INITIALIZER_LOOKS["he"]},
        panels={"costs": {"ylabel": "cost J", "yscale": "log"}},
        size=(11, 6.2), heights=(1.15, 1), ncols=4, loc="upper right",
    ),
    "regularization": _of_trainings(
        "L2 and dropout narrow the gap between train and dev accuracy",
        {"noisy": ("no regularization", style.GREY), "noisy-l2": ("L2", style.BLUE),
         "noisy-dropout": ("dropout", style.ORANGE)},
        panels={"dev_costs": {"ylabel": "dev cost, without penalty", "ylim": (0, None)}},
        size=(11, 7), heights=(1.35, 1), loc="upper left",
    ),
    "optimizers": _of_trainings(
        "On the moons Adam gets furthest in 100 epochs, at one learning rate for all",
        {f"moons-{name.replace('_', '-')}": look for name, look in style.OPTIMIZER_LOOKS.items()},
        panels={"costs": {"ylabel": "cost J", "ylim": (0, None)}},
        size=(11, 6.2), heights=(1.15, 1), ncols=2, loc="lower left",
    ),
    "decay": _of_trainings(
        "At a constant rate descent wanders around the minimum; with decay it settles",
        {"moons-constant": ("$\\alpha$ = 0.8", style.GREY),
         "moons-decay": ("$\\alpha$ = 0.8 / (1 + 0.1 epoch)", style.GREEN)},
        panels={"costs": {"ylabel": "cost J"}}, loc="upper right",
    ),
    "batch-norm": _of_trainings(
        "Batch norm: four hidden layers learn faster and more steadily",
        {"digits-plain": ("without", style.GREY),
         "digits-batch-norm": ("with batch norm", style.BLUE)},
        panels={
            "step_costs": {"xlabel": "step", "ylabel": "cost of the mini-batch", "yscale": "log"},
            "dev_accuracies": {"ylabel": "dev accuracy", "ylim": (0, 1.02)},
        },
        loc="lower left",
    ),
}

#: titles of demonstrations' pictures, each drawn by the function of its name.
TITLES: Mapping[str, str] = {
    "saddle": "RMSprop and Adam leave the saddle first; momentum smooths the zigzag",
    "schedules": "Eight learning rate schedules",
    "moving-averages": "Exponentially weighted averages of a year of temperatures",
    "layer-norms": "Activations and gradients vanish with small weights and explode with large "
                   "ones; with He's they keep their size",
    "learning-curves": "More data closes the gap of high variance; high bias stays",
    "search": "Search on a log scale, at random, from coarse to fine",
    "gradient-check":
        "Two-sided differences are the sharper check; too small a step drowns in round-off",
    "trajectories":
        "Ten thousand steps end to end part by round-off; at a kink of ReLU they part for good",
}

#: captions of demonstrations' pictures that are not of curves alone.
CAPTIONS: Mapping[str, str] = {
    "search": style.POINTS, "trajectories": style.BOUNDED,
    "gradient-check":
        f"{style.CURVES}.\nA difference of costs is divided by the step, so J / step is the gauge",
}
# fmt: on

#: all pictures by name; one of a demonstration has the demonstration's name.
PICTURES: Mapping[str, Picture] = {
    **TRAININGS,
    **{
        name: Picture(
            title,
            (name,),
            getattr(drawings, name.replace("-", "_")),
            CAPTIONS.get(name, style.CURVES),
        )
        for name, title in TITLES.items()
    },
}
