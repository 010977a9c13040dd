"""Pictures of demonstrations: their quantities, both sides overlaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pictures import style
from pictures.style import Hue, canvas, legend, overlay
from runs import demonstrations
from runs.agreement import Compared
from runs.datasets import Array
from runs.experiments import LEARNERS
from scratch.diagnosis import diagnose

Quantities = Mapping[str, Compared]

#: the learning curves are diagnosed at this of their sizes and at the last one, with gaps of 5 %.
DIAGNOSED, TOLERANCE = 2, 0.05


def saddle(quantities: Quantities) -> Figure:
    figure, axes = canvas([["saddle", "valley"]], (11, 4.8))
    views = {
        "saddle": ("a saddle, $J = (x^2 - y^2)/2 + y^4/4$", (-1.9, 0.6), (-0.5, 1.4), -16),
        "valley": ("a narrow valley, $J = (x^2 + 20 y^2)/2$", (-4.4, 1.2), (-1.3, 1.3), 9),
    }
    for surface, (title, across, up, above) in views.items():
        panel, about = axes[surface], demonstrations.SURFACES[surface]
        x, y = np.meshgrid(np.linspace(*across, 200), np.linspace(*up, 200))
        J = about["cost"]([x, y])
        panel.contour(x, y, J, levels=24, colors="0.85", linewidths=0.8)
        for name, (_, hue) in style.OPTIMIZER_LOOKS.items():
            quantity = quantities[f"{surface}, {name}"]
            panel.plot(*quantity.ours.T, color=hue.light, linewidth=4.5, solid_capstyle="round")
            panel.plot(
                *quantity.theirs.T, color=hue.dark, linewidth=1, linestyle="--", marker=".", ms=3
            )
        panel.plot(*about["start"], "o", color="0.1", ms=6)
        panel.annotate("start", about["start"], xytext=(0, above), textcoords="offset points")
        panel.set(xlim=across, ylim=up, xlabel="x", ylabel="y", title=title)
        rates = about["rates"].items()
        labels = [f"{style.OPTIMIZER_LOOKS[name][0]}, α = {rate:g}" for name, rate in rates]
        hues = [style.OPTIMIZER_LOOKS[name][1] for name, _ in rates]
        legend(panel, labels, hues, loc=f"{'lower' if above < 0 else 'upper'} right")
    return figure


def schedules(quantities: Quantities) -> Figure:
    figure, axes = canvas([["smooth", "stairs"]], (11, 4.4), sharey=True)
    epochs = np.arange(1, demonstrations.EPOCHS_SCHEDULED + 1)
    looks = dict(zip(quantities, style.HUES, strict=True))
    stairs = ("interval_inverse_time", "piecewise_constant", "manual")
    smooth = [name for name in quantities if name not in stairs]
    for panel, names, how in (
        (axes["smooth"], smooth, "default"),
        (axes["stairs"], stairs, "steps-mid"),
    ):
        for name in names:
            _, ours, theirs, *_ = quantities[name]
            overlay(panel, epochs, ours, theirs, looks[name], drawstyle=how)
        labels = [name.replace("_", " ") for name in names]
        legend(panel, labels, [looks[name] for name in names], loc="upper right", ncols=2)
        panel.set(xlabel="epoch", ylim=(0, 0.3))
    axes["smooth"].set(
        ylabel="learning rate $\\alpha$", title="held constant, or lowered each epoch"
    )
    axes["stairs"].set_title("lowered now and then")
    return figure


def moving_averages(quantities: Quantities) -> Figure:
    figure, axes = canvas([["year", "start"]], (11, 4.6), width_ratios=[1.5, 1])
    x = quantities["temperatures"].ours
    days = np.arange(1, len(x) + 1)
    hues = (style.PURPLE, style.RED, style.GREEN)
    for panel, shown in ((axes["year"], 365), (axes["start"], 90)):
        panel.plot(days[:shown], x[:shown], ".", color="0.72", ms=3.5)
        panel.set(xlabel="day", ylabel="temperature [°C]")
    for beta, hue in zip(demonstrations.BETAS, hues, strict=True):
        _, ours, theirs, *_ = quantities[f"beta = {beta}, corrected"]
        overlay(axes["year"], days, ours, theirs, hue)
    windows = [f"$\\beta$ = {beta}: {1 / (1 - beta):.0f} days" for beta in demonstrations.BETAS]
    legend(axes["year"], windows, hues, loc="lower center")
    for kind, hue in (("as it is", style.BROWN), ("corrected", style.GREEN)):
        _, ours, theirs, *_ = quantities[f"beta = 0.98, {kind}"]
        overlay(axes["start"], days[:90], ours[:90], theirs[:90], hue)
    labels = ("$v_t$", "$v_t / (1 - \\beta^t)$")
    legend(axes["start"], labels, (style.BROWN, style.GREEN), loc="upper left")
    axes["year"].set_title("a longer window is smoother and later")
    axes["start"].set_title("$\\beta$ = 0.98: bias correction lifts the start")
    return figure


def layer_norms(quantities: Quantities) -> Figure:
    figure, axes = canvas([["activations", "db", "dW"]], (13, 4.6))
    for what, panel in axes.items():
        for name in demonstrations.SCALES:
            _, ours, theirs, *_ = quantities[f"{what}, {name}"]
            hue = style.INITIALIZER_LOOKS[name][1]
            shown = slice(len(ours) - (what == "activations"))  # softmax gives the last its size
            overlay(panel, np.arange(1, len(ours) + 1)[shown], ours[shown], theirs[shown], hue)
        panel.set(xlabel="layer $l$", yscale="log")
    axes["activations"].set(ylabel="norm of $A^{[l]}$", title="activations: layer by layer")
    axes["db"].set(ylabel="norm of $db^{[l]}$", title="db, sums of dZ: layer by layer backwards")
    axes["dW"].set(ylabel="norm of $dW^{[l]}$", title="$dW = dZ\\, A^T / m$: in all layers alike")
    labels, hues = zip(
        *(style.INITIALIZER_LOOKS[name] for name in demonstrations.SCALES), strict=True
    )
    legend(axes["activations"], labels, hues, loc="upper left")
    return figure


def learning_curves(quantities: Quantities) -> Figure:
    names, hues = [*LEARNERS], (style.BLUE, style.ORANGE)
    sizes = demonstrations.SIZES
    figure, axes = canvas([names], (11, 4.6), sharey=True)
    for name, panel in axes.items():
        curves = [quantities[f"{name}, {what} error"] for what in ("train", "dev")]
        for (_, ours, theirs, *_), hue in zip(curves, hues, strict=True):
            overlay(panel, sizes, 100 * ours, 100 * theirs, hue)
        lines = [f"{LEARNERS[name].description}"]
        for at in (DIAGNOSED, -1):
            found = diagnose(*(float(one.ours[at]) for one in curves), tolerance=TOLERANCE)
            remedies = f": {', '.join(found.remedies[:2])}" if found.remedies else ""
            lines.append(f"m = {sizes[at]:,}: {found.name}{remedies}")
        panel.set_title("\n".join(lines), fontsize=9.5)
        panel.set(xlabel="training examples m, each for as many steps", xscale="log")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
    axes[names[0]].set_ylabel("error [%]")
    legend(axes[names[-1]], ("train error", "dev error"), hues, loc="upper right")
    return figure


def search(quantities: Quantities) -> Figure:
    figure, axes = canvas([["linear", "log"], ["grid", "random"]], (11, 8), height_ratios=[1, 2.6])
    edges = np.logspace(-4, 0, 5)
    for panel, scale, label in (
        (axes["linear"], "Uniform", "linear scale"),
        (axes["log"], "LogUniform", "log scale"),
    ):
        _, ours, theirs, *_ = quantities[f"learning rates, {scale}"]
        title = f"{label}: {np.mean(ours >= edges[-2]):.0%} of the draws in the last decade"
        panel.hist(ours, edges, color=style.BLUE.light, edgecolor="white")
        panel.plot(theirs, np.full(len(theirs), -3.0), "|", color=style.BLUE.dark, ms=9)
        panel.set(xscale="log", xlabel="learning rate", ylabel="draws", title=title)
    shades = [quantities[f"{one} dev costs"].ours for one in ("coarse", "fine")]
    low, high = min(map(np.min, shades)), np.quantile(np.concatenate(shades), 0.9)
    grid, theirs = quantities["grid"].ours, quantities["grid"].theirs
    axes["grid"].scatter(*grid.T, s=110, color=style.GREY.light)
    axes["grid"].scatter(*theirs.T, s=14, color=style.GREY.dark, marker="x")
    axes["grid"].set_title(
        f"a grid of {len(grid)} points tries {len(np.unique(grid[:, 0]))} learning rates"
    )
    kept, tried, handles = demonstrations.KEPT, len(quantities["coarse points"].ours), []
    for one, hue, size in (("coarse", style.GREY, 110), ("fine", style.GREEN, 50)):
        points, costs = quantities[f"{one} points"], quantities[f"{one} dev costs"].ours
        shown = axes["random"].scatter(
            *points.ours.T, s=size, c=costs, cmap="viridis_r", vmin=low, vmax=high, zorder=2
        )
        handles.append(
            axes["random"].scatter(
                [], [], s=size, color=style.TEAL.dark, label=f"{one}: {tried} points"
            )
        )
        for color, width in (("white", 2.4), ("0.1", 0.8)):  # to be seen on every shade
            axes["random"].scatter(
                *points.theirs.T, s=14, color=color, marker="x", lw=width, zorder=3
            )
        (left, right), (bottom, top) = quantities[f"box around the best {kept}, {one}"].ours
        box = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
        label = f"box of the best {kept}, {one}"
        handles += axes["random"].plot(*box, color=hue.dark, linewidth=1.2, label=label)
    axes["random"].legend(handles=handles, frameon=False, fontsize=8.5, ncols=2, loc="lower left")
    axes["random"].set_title(
        f"{tried} random points try {tried} learning rates, {tried} more in the box of the best"
    )
    figure.colorbar(shown, ax=axes["random"], label="dev cost of the moons", extend="max")
    for name in ("grid", "random"):
        axes[name].set(xscale="log", yscale="log", xlim=(7e-5, 1.4), ylim=(2e-4, 1.4))
        axes[name].set(xlabel="learning rate", ylabel="$\\lambda$ of the L2 penalty")
    return figure


def gradient_check(quantities: Quantities) -> Figure:
    figure, axes = canvas([["error"]], (11, 4.6))
    panel = axes["error"]
    hues = (style.ORANGE, style.TEAL)
    for form, hue in zip(("one-sided", "two-sided"), hues, strict=True):
        _, ours, theirs, *_ = quantities[f"relative error, {form}"]
        overlay(panel, demonstrations.STEPS, ours, theirs, hue)
    default = np.finfo(float).eps ** (1 / 3)
    for step, label in ((1e-7, "taught:\n$10^{-7}$"), (default, "default:\n$\\mathrm{eps}^{1/3}$")):
        panel.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
        panel.annotate(label, (step, 2e-3), xytext=(5, 0), textcoords="offset points")
    panel.set(xscale="log", yscale="log", xlabel="step $\\varepsilon$")
    panel.set_ylabel("relative error against backpropagation")
    legend(panel, ("one-sided", "two-sided"), hues, loc="lower left")
    return figure


def trajectories(quantities: Quantities) -> Figure:
    names = [*style.OPTIMIZER_LOOKS]
    figure, axes = canvas(
        [[names[0], names[1], "kink"], [names[2], names[3], "kink"]],
        (13, 6.4),
        sharey=True,
        width_ratios=[1, 1, 1.25],
    )
    for name in names:
        label, hue = style.OPTIMIZER_LOOKS[name]
        panel = axes[name]
        _bounded(panel, quantities[name], hue)
        panel.set(xscale="log", yscale="log", title=label)
    before, after = (quantities[f"ReLU, {when} the kink"] for when in ("before", "after"))
    step, unit, example = (int(one) for one in quantities["step, unit and example"].theirs)
    panel = axes["kink"]
    hue = style.OPTIMIZER_LOOKS["rmsprop"][1]
    _bounded(panel, before, hue)
    shown = demonstrations.SHOWN_STEPS
    steps = shown[shown >= step][: len(after.ours)]
    panel.plot(steps, _apart(after), color=hue.dark, linewidth=1.2)
    panel.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
    panel.annotate(
        f"located: step {step:,},\nunit {unit} of layer 1,\nexample {example} of the batch:\n"
        "Z = 0 on one side,\nround-off above 0 on the other",
        (step, 1e-6),
        xytext=(-8, 0),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    panel.set(xscale="log", yscale="log", title="RMSprop with ReLUs that meet a kink")
    for name in (names[2], names[3], "kink"):
        axes[name].set_xlabel("step")
    for name in (names[0], names[2]):
        axes[name].set_ylabel("largest difference of a parameter")
    panel.set_ylim(1e-18, 10)
    panel.tick_params(labelleft=True)  # of another height than its neighbours
    return figure


def _apart(quantity: Compared) -> Array:
    return np.asarray(np.abs(quantity.ours - quantity.theirs).max(axis=1))


def _bounded(panel: Any, quantity: Compared, hue: Hue) -> None:
    steps = demonstrations.SHOWN_STEPS[: len(quantity.ours)]
    panel.plot(steps, _apart(quantity), color=hue.dark, linewidth=1.2, label="the sides are apart")
    panel.plot(
        steps,
        np.finfo(float).eps * quantity.gauge[:, 0],
        color=hue.dark,
        linewidth=1.2,
        linestyle=(0, (4, 2)),
        label="the growth bound",
    )
    panel.legend(frameon=False, fontsize=9, loc="upper left")
