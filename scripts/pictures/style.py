"""Look of the pictures: both sides overlaid, one hue for each thing that is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from runs.agreement import GRID, Compared, plane
from runs.datasets import Array, Pair


class Hue(NamedTuple):
    """A light colour for scratch, drawn thick, and a dark one for torch, drawn thin above it."""

    light: str
    dark: str


#: label in a legend, and hue.
Look = tuple[str, Hue]


# fmt: off
GREY, BLUE, ORANGE, GREEN, PURPLE, RED, TEAL, BROWN = HUES = (
    Hue("#cccccc", "#252525"), Hue("#9ecae1", "#084594"), Hue("#fdbe85", "#a63603"),
    Hue("#a1d99b", "#005a32"), Hue("#bcbddc", "#4a1486"), Hue("#fcae91", "#99000d"),
    Hue("#99d8d0", "#00504a"), Hue("#d8c3a5", "#5b3a1a"),
)

#: an optimizer and an initialization has the same name and hue in every picture.
OPTIMIZER_LOOKS: Mapping[str, Look] = {
    "gradient_descent": ("gradient descent", GREY),
    "momentum": ("momentum", BLUE),
    "rmsprop": ("RMSprop", ORANGE),
    "adam": ("Adam", GREEN),
}
INITIALIZER_LOOKS: Mapping[str, Look] = {
    "zeros": ("zeros", GREY),
    "small_normal": ("0.01 · N(0, 1)", PURPLE),
    "large_normal": ("random x10", RED),
    "xavier": ("Xavier", BLUE),
    "he": ("He", GREEN),
}

#: captions that name the two sides, where curves or where points are shown.
CURVES = "Thick and light: scratch (NumPy); thin, dark and dashed: torch"
POINTS = "Bars and discs: scratch (NumPy); ticks and crosses: torch"
BOUNDED = "From the same weights and mini-batches. 1 unit is the bound, measured on scratch alone"

STYLE: Any = {
    "font.size": 10, "axes.titlesize": 10.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "0.45", "axes.labelcolor": "0.2", "xtick.color": "0.3", "ytick.color": "0.3",
}
# fmt: on


def canvas(layout: Any, size: tuple[float, float], **choices: Any) -> tuple[Figure, Any]:
    with plt.rc_context(STYLE):
        return plt.subplot_mosaic(layout, figsize=size, layout="constrained", **choices)


def overlay(
    axes: Any, ours: Any, theirs: Any, hue: Hue, x: Any = None, width: float = 1.2, **choices: Any
) -> None:
    """Draw values of both sides over x, by default 1, 2 ..., or points (n, 2) along a path."""
    thick, thin = (3.75 * width, "-"), (width, (0, (4, 2)))
    for values, color, (thickness, dashes) in ((ours, hue.light, thick), (theirs, hue.dark, thin)):
        over = np.arange(1, len(values) + 1) if x is None else x[: len(values)]
        points = np.transpose(values) if np.ndim(values) == 2 else (over, values)
        axes.plot(*points, color=color, linewidth=thickness, linestyle=dashes, **choices)


def curves(axes: Any, looks: Iterable[Look], shown: Sequence[Compared], **choices: Any) -> None:
    """Overlay quantities, each in its look; its name stays with its lines."""
    for (_, hue), one in zip(looks, shown, strict=True):
        overlay(axes, one.ours, one.theirs, hue, gid=one.name, **choices)


def legend(axes: Any, looks: Iterable[Look], **choices: Any) -> None:
    handles = {
        label: (Line2D([], [], color=hue.light, lw=4.5), Line2D([], [], color=hue.dark, ls="--"))
        for label, hue in looks
    }
    axes.legend([*handles.values()], [*handles], frameon=False, fontsize=9, **choices)


def boundary(axes: Any, data: Pair, ours: Array, theirs: Array, title: str) -> None:
    X, Y = data
    across, up, _ = plane(X)
    mine, other = (one.reshape(GRID, GRID) for one in (ours, theirs))
    seen = {"cmap": "RdBu_r", "vmin": -0.25, "vmax": 1.25, "alpha": 0.55}
    box = (across[0], across[-1], up[0], up[-1])
    axes.imshow(mine, extent=box, origin="lower", aspect="auto", interpolation="bilinear", **seen)
    for values, color, width, style in ((mine, "#ffd54a", 4.5, "-"), (other, "0.1", 1.2, "--")):
        if values.min() < 0.5 < values.max():
            line = {"colors": color, "linewidths": width, "linestyles": style}
            axes.contour(across, up, values, levels=[0.5], **line)
    for label, color in ((0, BLUE.dark), (1, RED.dark)):
        there = Y[0] == label
        axes.scatter(*X[:, there], s=9, color=color, edgecolor="white", linewidth=0.4)
    axes.set(xticks=[], yticks=[], xlabel="$x_1$", title=title)
    axes.set_ylabel("$x_2$", rotation=0, labelpad=9)
