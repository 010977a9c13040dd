"""Run the same experiment by hand in NumPy and in PyTorch, from the same draws, and compare.

    python scripts/compare.py
    python scripts/compare.py --experiment moons --epochs 200
    python scripts/compare.py --experiment saddle
    python scripts/compare.py --experiment optimizers

Both sides of a training start from the same weights, walk the same mini-batches and drop the same
units. Other experiments, such as saddle, train no network or many: they are held against each other
quantity by quantity. A picture of several trainings, such as optimizers, stands for them all, one
after the other, each with files of its own. Exit status 0: the sides stayed inside the budget; 1:
they parted, and the first step, layer, unit and quantity are named; 2: bad arguments; 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from tqdm import tqdm

from pictures.catalogue import PICTURES, TRAININGS
from pictures.style import BLUE
from runs.agreement import (
    Agreement,
    Compared,
    difference,
    first_parting,
    judge,
    judge_runs,
    quantities,
    set_up,
    worst,
)
from runs.command_line import (
    AGREED,
    INTERRUPTED,
    PARTED,
    add_flags,
    chosen,
    leave,
    make_room,
    number,
    output,
    save,
    write_json,
)
from runs.demonstrations import DEMONSTRATIONS
from runs.start import Bar, Side, Start, draw

#: where a difference of exactly zero is drawn on the log axis.
EQUAL = 0.1

#: rows of the table that a training prints at most, unless told otherwise.
ROWS = 40

#: flags that say something of one training, and nothing of a demonstration.
OF_TRAININGS = ("batch_size", "optimizer", "learning_rate", "l2", "seed", "every")

#: pictures of several trainings, which are run one after the other.
SEVERAL = {
    name: one._replace(description=f"all of {', '.join(one.experiments)}")
    for name, one in TRAININGS.items()
}

HEADER = (
    f"{'epoch':>6}  {'cost scratch':>15}  {'cost torch':>15}  {'diff [eps]':>10}  "
    f"{'dev acc. scratch':>16}  {'dev acc. torch':>14}"
)


def row(epoch: int, mine: Any, other: Any, eps: float) -> str:
    J, reference = mine.costs[epoch - 1], other.costs[epoch - 1]
    return (
        f"{epoch:>6}  {J:>15.9f}  {reference:>15.9f}  {difference(J, reference, eps):>10.3g}  "
        f"{mine.dev_accuracies[epoch - 1]:>16.4f}  {other.dev_accuracies[epoch - 1]:>14.4f}"
    )


def plot(path: Path, title: str, sides: tuple[Side, Side], eps: float) -> None:
    mine, other = (side.history for side in sides)
    errors = [difference(*pair, eps) for pair in zip(mine.step_costs, other.step_costs)]  # noqa: B905
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for history, label, color, width, style in (
        (mine, "scratch (NumPy)", BLUE.light, 4, "-"),
        (other, "torch", BLUE.dark, 1.5, "--"),
    ):
        epochs = range(1, len(history.costs) + 1)
        left.plot(epochs, history.costs, style, color=color, linewidth=width, label=label)
    left.set(xlabel="epoch", ylabel="cost J", yscale="log", title="cost of both sides")
    left.legend(frameon=False)
    steps = range(1, len(errors) + 1)
    right.plot(steps, np.maximum(errors, EQUAL), ".", color=BLUE.dark, markersize=3)
    right.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    right.set(xlabel="step", yscale="log", title="difference of the mini-batch costs in eps units")
    top = np.ceil(np.log10(max([1, *(one for one in errors if np.isfinite(one))])))
    ticks = 10.0 ** np.arange(0, top + 1, max(1, top // 6))
    labels = ["equal", *(f"{tick:g} eps" for tick in ticks)]
    right.set_yticks([EQUAL, *ticks], labels, minor=False)
    right.minorticks_off()
    figure.suptitle(title)
    save(figure, path)


def against_float64(start: Start, narrow: tuple[Side, Side]) -> tuple[Agreement, Start]:
    wide = draw(start.experiment, "float64")
    sides = set_up(wide)
    for side, label in zip(sides, ("scratch, float64", "torch, float64"), strict=True):
        with Bar(wide.steps, label) as bar:
            side.walk(bar)
    errors = []
    for side in narrow:
        widened = (one._replace(ours=one.ours.astype(float)) for one in quantities(side, sides[1]))
        errors.append(judge(widened, "float32").error)
    print(f"against torch in float64: scratch {errors[0]:.3g}, torch {errors[1]:.3g} eps units")
    return judge_runs(*sides, "float64"), wide


def write(arguments: argparse.Namespace, sides: tuple[Side, Side], **more: Any) -> None:
    report = {"experiment": arguments.experiment, "dtype": arguments.dtype, **more}
    names = ("scratch", "torch")
    report["histories"] = {n: vars(one.history) for n, one in zip(names, sides, strict=True)}
    write_json(arguments.out.with_suffix(".json"), report)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser, {**DEMONSTRATIONS, **SEVERAL})
    output(parser, ".png", "the picture, numbers beside it as .json", Path("compare.png"))
    parser.add_argument(
        "--every", type=number(int, 1), help=f"print each so many epochs; default {ROWS} rows"
    )
    arguments = parser.parse_args(argv)
    if arguments.experiment in DEMONSTRATIONS:
        refuse(parser, arguments)
    make_room(parser, arguments.out, arguments.out.with_suffix(".json"))
    torch.set_float32_matmul_precision("highest")
    if arguments.experiment in SEVERAL:
        return train_several(arguments)
    return (demonstrate if arguments.experiment in DEMONSTRATIONS else train)(arguments)


def train_several(arguments: argparse.Namespace) -> int:
    status = AGREED
    for name in SEVERAL[arguments.experiment].experiments:
        out = arguments.out.with_stem(f"{arguments.out.stem}-{name}")
        changed = {**vars(arguments), "experiment": name, "out": out}
        status = max(status, train(argparse.Namespace(**changed)))
        if status == INTERRUPTED:
            break
    return status


def refuse(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    given = [name for name in OF_TRAININGS if getattr(arguments, name) is not None]
    if DEMONSTRATIONS[arguments.experiment].epochs is None and arguments.epochs is not None:
        given.append("epochs")
    if arguments.dtype != "float64":
        given.append("dtype")
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        parser.error(f"expected no {flags} with --experiment {arguments.experiment}")


def demonstrate(arguments: argparse.Namespace) -> int:
    name, report = arguments.experiment, arguments.out.with_suffix(".json")
    shown: dict[str, Compared] = {}
    found: dict[str, Agreement] = {}
    print(f"{name}: {DEMONSTRATIONS[name].description}")
    print(f"{'quantity':<40}  {'diff [eps]':>10}  {'budget [eps]':>12}")
    interrupted = False
    work = DEMONSTRATIONS[name].quantities(arguments.epochs)
    try:
        for one in tqdm(work, unit="quantity", disable=None, leave=False):
            agreement = judge([one])
            shown[one.name], found[one.name] = one, agreement
            tqdm.write(f"{one.name:<40}  {agreement.error:>10.3g}  {agreement.allowed:>12.3g}")
    except KeyboardInterrupt:
        interrupted = True
    numbers = {
        key: {
            "error_in_eps": found[key].error,
            "allowed_in_eps": found[key].allowed,
            "scratch": one.ours.tolist(),
            "torch": one.theirs.tolist(),
        }
        for key, one in shown.items()
    }
    agreed = all(one.inside for one in found.values())
    about: dict[str, Any] = {"experiment": name, "dtype": arguments.dtype, "quantities": numbers}
    about["agreed"] = None if interrupted else agreed  # of what was not reached nothing is known
    write_json(report, {**about, "interrupted": interrupted})
    if interrupted:
        print(f"interrupted after {len(shown)} quantities")
        print(f"wrote {report} with what was reached")
        return INTERRUPTED
    last, picture = worst(found.values()), PICTURES[name]
    save(picture.finished(shown, last, arguments.epochs), arguments.out)
    print(f"wrote {arguments.out} and {report}")
    print(last.line())
    for key, agreement in found.items():
        if not agreement.inside:
            one = shown[key].measured(float(np.finfo(np.float64).eps))
            print(
                f"the sides part in {key}{list(one.place)}: scratch {one.ours!r}, "
                f"torch {one.theirs!r}, {one.error:.3g} eps units apart"
            )
    return AGREED if agreed else PARTED


def train(arguments: argparse.Namespace) -> int:
    experiment, dtype = chosen(arguments), arguments.dtype
    start = draw(experiment, dtype)
    sides = set_up(start)
    sizes = "-".join(map(str, experiment.layer_sizes))
    title = f"{arguments.experiment}: {sizes}, {experiment.optimizer}, {dtype}"
    print(f"{title}, {experiment.epochs} epochs, seed {experiment.seed}")
    try:
        return run(arguments, start, sides, title)
    except KeyboardInterrupt:
        plot(arguments.out, f"{title} (interrupted)", sides, float(np.finfo(dtype).eps))
        write(arguments, sides, interrupted=True)
        mine, other = (len(side.history.step_costs) for side in sides)
        print(f"interrupted after {mine} steps of scratch and {other} of torch")
        print(f"wrote {arguments.out} and {arguments.out.with_suffix('.json')} with these")
        return INTERRUPTED


def run(arguments: argparse.Namespace, start: Start, sides: tuple[Side, Side], title: str) -> int:
    (mine, other), experiment, dtype = sides, start.experiment, arguments.dtype
    every, eps = arguments.every or -(-experiment.epochs // ROWS), float(np.finfo(dtype).eps)

    def print_row(epoch: int) -> None:
        reached = len(mine.history.costs)  # fewer epochs than planned where it stopped early
        if epoch <= reached and (epoch % every == 0 or epoch in (1, reached)):
            tqdm.write(row(epoch, mine.history, other.history, eps))

    with Bar(start.steps, "scratch") as bar:
        mine.walk(bar)
    tqdm.write(HEADER)
    with Bar(start.steps, "torch") as bar:
        other.walk(bar, print_row)
    found = {dtype: (judge_runs(*sides, dtype), start)}
    if dtype == "float32":
        found["float64"] = against_float64(start, sides)
    ours, theirs = mine.values(), other.values()
    largest = max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)
    seconds = [sum(side.history.seconds) for side in sides]
    accuracies = [side.test_accuracy() for side in sides]
    agreed = all(agreement.inside for agreement, _ in found.values())
    write(
        arguments,
        sides,
        epochs=len(mine.history.costs),
        steps=len(mine.history.step_costs),
        cost=[side.history.costs[-1] for side in sides],
        train_accuracy=[side.history.accuracies[-1] for side in sides],
        test_accuracy=accuracies,
        seconds=seconds,
        largest_parameter_difference=largest,
        error_in_eps=found[dtype][0].error,
        allowed_in_eps=found[dtype][0].allowed,
        agreed=agreed,
    )
    plot(arguments.out, title, sides, eps)
    if len(mine.history.costs) < experiment.epochs:
        print(f"stopped early after {len(mine.history.costs)} of {experiment.epochs} epochs")
    print(f"largest parameter difference {largest:.3g}")
    print(f"test accuracy scratch {accuracies[0]:.4f}, torch {accuracies[1]:.4f}")
    ratio = seconds[0] / seconds[1]
    print(f"seconds scratch {seconds[0]:.2f}, torch {seconds[1]:.2f}, ratio {ratio:.2f}")
    print(f"wrote {arguments.out} and {arguments.out.with_suffix('.json')}")
    for name, (agreement, begun) in found.items():
        print(f"{name}: {agreement.line()}")
        if not agreement.inside:
            print(first_parting(begun))
    return AGREED if agreed else PARTED


if __name__ == "__main__":
    leave(main)
