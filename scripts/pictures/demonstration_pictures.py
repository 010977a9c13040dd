"""Pictures of demonstrations: their quantities, both sides overlaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pictures import style
from pictures.style import Hue, canvas, curves, legend
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
        panel.contour(x, y, about["cost"]([x, y]), levels=24, colors="0.85", linewidths=0.8)
        looks = []
        for name, rate in about["rates"].items():
            label, hue = style.OPTIMIZER_LOOKS[name]
            looks.append((f"{label}, α = {rate:g}", hue))
        paths = [quantities[f"{surface}, {name}"] for name in about["rates"]]
        curves(panel, looks, paths, marker=".", markersize=3)
        panel.plot(*about["start"], "o", color="0.1", ms=6)
        panel.annotate("start", about["start"], xytext=(0, above), textcoords="offset points")
        panel.set(xlim=across, ylim=up, xlabel="x", ylabel="y", title=title)
        legend(panel, looks, loc=f"{'lower' if above < 0 else 'upper'} right")
    return figure


def schedules(quantities: Quantities) -> Figure:
    figure, axes = canvas([["smooth", "stairs"]], (11, 4.4), sharey=True)
    stairs = ("interval_inverse_time", "piecewise_constant", "manual")
    looks = {n: (n.replace("_", " "), hue) for n, hue in zip(quantities, style.HUES, strict=True)}
    for kind, title, how in (
        ("smooth", "held constant, or lowered each epoch", "default"),
        ("stairs", "lowered now and then", "steps-mid"),
    ):
        names = [name for name in quantities if (name in stairs) == (kind == "stairs")]
        mine = [looks[name] for name in names]
        curves(axes[kind], mine, [quantities[name] for name in names], drawstyle=how)
        legend(axes[kind], mine, loc="upper right", ncols=2)
        axes[kind].set(xlabel="epoch", ylim=(0, 0.3), title=title)
    axes["smooth"].set_ylabel("learning rate $\\alpha$")
    return figure


def moving_averages(quantities: Quantities) -> Figure:
    figure, axes = canvas([["year", "start"]], (11, 4.6), width_ratios=[1.5, 1])
    betas, hues = demonstrations.BETAS, (style.PURPLE, style.RED, style.GREEN)
    windows = [f"$\\beta$ = {beta}: {1 / (1 - beta):.0f} days" for beta in betas]
    year = {
        f"beta = {beta}, corrected": look
        for beta, look in zip(betas, zip(windows, hues, strict=True), strict=True)
    }
    start = {
        "beta = 0.98, as it is": ("$v_t$", style.BROWN),
        "beta = 0.98, corrected": ("$v_t / (1 - \\beta^t)$", style.GREEN),
    }
    for name, looks, last, corner, title in (
        ("year", year, 365, "lower center", "a longer window is smoother and later"),
        ("start", start, 90, "upper left", "$\\beta$ = 0.98: bias correction lifts the start"),
    ):
        x = quantities["temperatures"].ours[:last]
        axes[name].plot(np.arange(1, last + 1), x, ".", color="0.72", ms=3.5)
        curves(axes[name], looks.values(), [_first(quantities[one], last) for one in looks])
        legend(axes[name], looks.values(), loc=corner)
        axes[name].set(xlabel="day", ylabel="temperature [°C]", title=title)
    return figure


def _first(quantity: Compared, count: int) -> Compared:
    return quantity._replace(ours=quantity.ours[:count], theirs=quantity.theirs[:count])


def layer_norms(quantities: Quantities) -> Figure:
    about = {
        "activations": ("norm of $A^{[l]}$", "activations: layer by layer"),
        "db": ("norm of $db^{[l]}$", "db, sums of dZ: layer by layer backwards"),
        "dW": ("norm of $dW^{[l]}$", "$dW = dZ\\, A^T / m$: in all layers alike"),
    }
    figure, axes = canvas([[*about]], (13, 4.6))
    looks = [style.INITIALIZER_LOOKS[name] for name in demonstrations.SCALES]
    for what, (label, title) in about.items():
        shown = [quantities[f"{what}, {name}"] for name in demonstrations.SCALES]
        if what == "activations":  # softmax gives the last its size
            shown = [_first(one, len(one.ours) - 1) for one in shown]
        curves(axes[what], looks, shown)
        axes[what].set(xlabel="layer $l$", yscale="log", ylabel=label, title=title)
    legend(axes["activations"], looks, loc="upper left")
    return figure


def learning_curves(quantities: Quantities) -> Figure:
    names, sizes = [*LEARNERS], demonstrations.SIZES
    looks = {"train error": style.BLUE, "dev error": style.ORANGE}
    figure, axes = canvas([names], (11, 4.6), sharey=True)
    for name, panel in axes.items():
        both = [quantities[f"{name}, {error}"] for error in looks]
        curves(panel, looks.items(), both, x=sizes)
        lines = [LEARNERS[name].description]
        for at in (DIAGNOSED, -1):
            found = diagnose(*(float(one.ours[at]) for one in both), tolerance=TOLERANCE)
            remedies = f": {', '.join(found.remedies[:2])}" if found.remedies else ""
            lines.append(f"m = {sizes[at]:,}: {found.name}{remedies}")
        panel.set_title("\n".join(lines), fontsize=9.5)
        panel.set(xlabel="training examples m, each for as many steps", xscale="log")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
    axes[names[0]].set_ylabel("error")
    axes[names[0]].yaxis.set_major_formatter(PercentFormatter(1))
    legend(panel, looks.items(), loc="upper right")
    return figure


def search(quantities: Quantities) -> Figure:
    figure, axes = canvas([["linear", "log"], ["grid", "random"]], (11, 8), height_ratios=[1, 2.6])
    edges = np.logspace(-4, 0, 5)
    for name, scale in (("linear", "Uniform"), ("log", "LogUniform")):
        panel, (_, ours, theirs, *_) = axes[name], quantities[f"learning rates, {scale}"]
        title = f"{name} scale: {np.mean(ours >= edges[-2]):.0%} of the draws in the last decade"
        panel.hist(ours, edges, color=style.BLUE.light, edgecolor="white")
        panel.plot(theirs, np.full(len(theirs), -3.0), "|", color=style.BLUE.dark, ms=9)
        panel.set(xscale="log", xlabel="learning rate", ylabel="draws", title=title)
    both = np.stack([quantities[f"{one} dev costs"].ours for one in ("coarse", "fine")])
    low, high = both.min(), np.quantile(both, 0.9)
    grid, random, tried = quantities["grid"], axes["random"], len(quantities["coarse points"].ours)
    axes["grid"].scatter(*grid.ours.T, s=110, color=style.GREY.light)
    axes["grid"].scatter(*grid.theirs.T, s=14, color=style.GREY.dark, marker="x")
    rates = len(np.unique(grid.ours[:, 0]))
    axes["grid"].set_title(f"a grid of {len(grid.ours)} points tries {rates} learning rates")
    handles = []
    for one, hue, size in (("coarse", style.GREY, 110), ("fine", style.GREEN, 50)):
        points, costs = quantities[f"{one} points"], quantities[f"{one} dev costs"].ours
        shades: dict[str, Any] = {"cmap": "viridis_r", "vmin": low, "vmax": high}
        shown = random.scatter(*points.ours.T, s=size, c=costs, zorder=2, **shades)
        label = f"{one}: {tried} points"
        handles.append(random.scatter([], [], s=size, color=style.TEAL.dark, label=label))
        for color, width in (("white", 2.4), ("0.1", 0.8)):  # to be seen on every shade
            random.scatter(*points.theirs.T, s=14, color=color, marker="x", lw=width, zorder=3)
        best = f"box around the best {demonstrations.KEPT}, {one}"
        (left, right), (bottom, top) = quantities[best].ours
        box = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
        handles += random.plot(*box, color=hue.dark, linewidth=1.2, label=best)
    random.legend(handles=handles, frameon=False, fontsize=8.5, ncols=2, loc="lower left")
    random.set_title(
        f"{tried} random points try {tried} learning rates, {tried} more in the box of the best"
    )
    figure.colorbar(shown, ax=random, label="dev cost of the moons", extend="max")
    for name in ("grid", "random"):
        axes[name].set(xscale="log", yscale="log", xlim=(7e-5, 1.4), ylim=(2e-4, 1.4))
        axes[name].set(xlabel="learning rate", ylabel="$\\lambda$ of the L2 penalty")
    return figure


def gradient_check(quantities: Quantities) -> Figure:
    figure, axes = canvas([["error"]], (11, 4.6))
    panel, looks = axes["error"], {"one-sided": style.ORANGE, "two-sided": style.TEAL}
    shown = [quantities[f"relative error, {form}"] for form in looks]
    curves(panel, looks.items(), shown, x=demonstrations.STEPS)
    default = np.finfo(float).eps ** (1 / 3)
    for step, label in ((1e-7, "taught:\n$10^{-7}$"), (default, "default:\n$\\mathrm{eps}^{1/3}$")):
        panel.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
        panel.annotate(label, (step, 2e-3), xytext=(5, 0), textcoords="offset points")
    panel.set(xscale="log", yscale="log", xlabel="step $\\varepsilon$")
    panel.set_ylabel("relative error against backpropagation")
    legend(panel, looks.items(), loc="lower left")
    return figure


def trajectories(quantities: Quantities) -> Figure:
    first, second, third, fourth = style.OPTIMIZER_LOOKS
    layout = [[first, second, "kink"], [third, fourth, "kink"]]
    figure, axes = canvas(layout, (13, 6.4), sharey=True, width_ratios=[1, 1, 1.25])
    for name, (label, hue) in style.OPTIMIZER_LOOKS.items():
        _bounded(axes[name], quantities[name], hue)
        axes[name].set_title(label)
    before, after = (quantities[f"ReLU, {when} the kink"] for when in ("before", "after"))
    step, unit, example = (int(one) for one in quantities["step, unit and example"].theirs)
    panel, hue, taken = (
        axes["kink"],
        style.OPTIMIZER_LOOKS["rmsprop"][1],
        demonstrations.SHOWN_STEPS,
    )
    _bounded(panel, before, hue)
    panel.plot(taken[taken >= step][: len(after.ours)], _apart(after), color=hue.dark, lw=1.2)
    panel.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
    said = (
        f"located: step {step:,},\nunit {unit} of layer 1,\nexample {example} of the batch:\n"
        "Z = 0 on one side,\nround-off above 0 on the other"
    )
    beside: dict[str, Any] = {"xytext": (-8, 0), "textcoords": "offset points", "ha": "right"}
    panel.annotate(said, (step, 1e-6), fontsize=9, **beside)
    panel.set_title("RMSprop with ReLUs that meet a kink")
    for name in (third, fourth, "kink"):
        axes[name].set_xlabel("step")
    for name in (first, third):
        axes[name].set_ylabel("largest difference of a parameter")
    panel.set_ylim(1e-18, 10)
    panel.tick_params(labelleft=True)  # of another height than its neighbours
    return figure


def _apart(quantity: Compared) -> Array:
    return np.asarray(np.abs(quantity.ours - quantity.theirs).max(axis=1))


def _bounded(panel: Any, quantity: Compared, hue: Hue) -> None:
    steps = demonstrations.SHOWN_STEPS[: len(quantity.ours)]
    bound = np.finfo(float).eps * quantity.gauge[:, 0]
    panel.plot(steps, _apart(quantity), color=hue.dark, lw=1.2, label="the sides are apart")
    panel.plot(steps, bound, color=hue.dark, lw=1.2, ls=(0, (4, 2)), label="the growth bound")
    panel.set(xscale="log", yscale="log")
    panel.legend(frameon=False, fontsize=9, loc="upper left")
