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

from pictures.catalogue import PICTURES, TRAININGS
from pictures.style import BLUE, legend, overlay
from runs import agreement
from runs.agreement import Agreement, Compared, difference, judge, worst
from runs.command_line import Parser, Status, chosen, count, file, leave, save, write_json
from runs.demonstrations import DEMONSTRATIONS
from runs.start import Progress, draw

EPS = float(np.finfo(np.float64).eps)

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


def main(argv: list[str] | None = None) -> int:
    parser, picture = Parser(__doc__), file(".png", beside=".json")
    parser.add_experiments({**DEMONSTRATIONS, **SEVERAL})
    about = "the picture, numbers beside it as .json; default compare.png"
    parser.add_argument("--out", type=picture, default="compare.png", help=about)
    about = f"print each so many epochs; default {ROWS} rows"
    parser.add_argument("--every", type=count, help=about)
    arguments = parser.parse_args(argv)
    name = arguments.experiment
    torch.set_float32_matmul_precision("highest")
    if name in DEMONSTRATIONS:
        idle = [*OF_TRAININGS, *(["epochs"] if DEMONSTRATIONS[name].epochs is None else [])]
        given = [one for one in idle if getattr(arguments, one) is not None]
        if given := given + ["dtype"] * (arguments.dtype != "float64"):
            flags = ", ".join(f"--{one.replace('_', '-')}" for one in given)
            parser.error(f"expected no {flags} with --experiment {name}")
        return demonstrate(arguments)
    status, out = int(Status.AGREED), arguments.out
    for one in SEVERAL[name].experiments if name in SEVERAL else [name]:
        path = out.with_stem(f"{out.stem}-{one}") if name in SEVERAL else out
        changed = {**vars(arguments), "experiment": one, "out": path}
        status = max(status, train(argparse.Namespace(**changed)))
        if status == Status.INTERRUPTED:
            break
    return status


def demonstrate(arguments: argparse.Namespace) -> int:
    """Hold each quantity against its reference as soon as both sides have it."""
    name, own = arguments.experiment, DEMONSTRATIONS[arguments.experiment]
    shown: dict[str, Compared] = {}
    found: dict[str, Agreement] = {}
    print(f"{name}: {own.description}")
    print(f"{'quantity':<40}  {'diff [eps]':>10}  {'budget [eps]':>12}")
    with Progress(own.quantities(arguments.epochs), unit="quantity") as bar:
        for one in bar:
            shown[one.name], found[one.name] = one, (judged := judge([one]))
            bar.write(f"{one.name:<40}  {judged.error:>10.3g}  {judged.allowed:>12.3g}")
    numbers = {
        key: {
            "error_in_eps": found[key].error,
            "allowed_in_eps": found[key].allowed,
            "scratch": one.ours.tolist(),
            "torch": one.theirs.tolist(),
        }
        for key, one in shown.items()
    }
    agreed = None if bar.interrupted else all(one.inside for one in found.values())
    write(arguments, quantities=numbers, agreed=agreed, interrupted=bar.interrupted)
    report = arguments.out.with_suffix(".json")
    if bar.interrupted:  # of the quantities that were not reached nothing is known
        print(f"interrupted after {len(shown)} quantities")
        print(f"wrote {report} with what was reached")
        return Status.INTERRUPTED
    last = worst(found.values())
    save(PICTURES[name].finished(shown, last, arguments.epochs), arguments.out)
    print(f"wrote {arguments.out} and {report}")
    print(last.line())
    for key in (key for key, one in found.items() if not one.inside):
        one = shown[key].measured(EPS)
        print(
            f"the sides part in {key}{list(one.place)}: scratch {one.ours!r}, "
            f"torch {one.theirs!r}, {one.error:.3g} eps units apart"
        )
    return Status.AGREED if agreed else Status.PARTED


def train(arguments: argparse.Namespace) -> int:
    """Train both sides, in float64 too where another dtype is asked for, and judge them."""
    experiment, dtype, out = chosen(arguments), arguments.dtype, arguments.out
    starts = {name: draw(experiment, name) for name in dict.fromkeys([dtype, "float64"])}
    sides = {name: agreement.set_up(start) for name, start in starts.items()}
    mine, other = sides[dtype]
    every, eps = arguments.every or -(-experiment.epochs // ROWS), float(np.finfo(dtype).eps)
    sizes = "-".join(map(str, experiment.layer_sizes))
    title = f"{arguments.experiment}: {sizes}, {experiment.optimizer}, {dtype}"
    print(f"{title}, {experiment.epochs} epochs, seed {experiment.seed}")

    def print_row(epoch: int) -> None:
        reached = len(mine.history.costs)  # fewer epochs than planned where it stopped early
        if epoch <= reached and (epoch % every == 0 or epoch in (1, reached)):
            bar.write(row(epoch, mine.history, other.history, eps))

    with Progress(total=2 * len(sides) * starts[dtype].steps, unit="step") as bar:
        mine.walk(bar)
        bar.write(HEADER)
        other.walk(bar, print_row)
        for side in sides["float64"]:
            side.walk(bar)
    histories = {"scratch": vars(mine.history), "torch": vars(other.history)}
    if bar.interrupted:
        plot(out, f"{title} (interrupted)", mine.history, other.history, eps)
        write(arguments, interrupted=True, histories=histories)
        steps = [len(side.history.step_costs) for side in (mine, other)]
        print(f"interrupted after {steps[0]} steps of scratch and {steps[1]} of torch")
        print(f"wrote {out} and {out.with_suffix('.json')} with these")
        return Status.INTERRUPTED
    found = {name: agreement.judge_runs(*both, name) for name, both in sides.items()}
    if dtype == "float32":
        errors = [agreement.widened(side, sides["float64"][1]) for side in (mine, other)]
        print(f"against torch in float64: scratch {errors[0]:.3g}, torch {errors[1]:.3g} eps units")
    ours, theirs = mine.values(), other.values()
    report: dict[str, Any] = {
        "epochs": len(mine.history.costs),
        "steps": len(mine.history.step_costs),
        "cost": [side.history.costs[-1] for side in (mine, other)],
        "train_accuracy": [side.history.accuracies[-1] for side in (mine, other)],
        "test_accuracy": [side.test_accuracy() for side in (mine, other)],
        "seconds": [sum(side.history.seconds) for side in (mine, other)],
        "largest_parameter_difference": max(
            float(np.abs(ours[name] - theirs[name]).max()) for name in ours
        ),
        "error_in_eps": found[dtype].error,
        "allowed_in_eps": found[dtype].allowed,
        "agreed": all(one.inside for one in found.values()),
    }
    write(arguments, **report, histories=histories)
    plot(out, title, mine.history, other.history, eps)
    if report["epochs"] < experiment.epochs:
        print(f"stopped early after {report['epochs']} of {experiment.epochs} epochs")
    print(f"largest parameter difference {report['largest_parameter_difference']:.3g}")
    print("test accuracy scratch {:.4f}, torch {:.4f}".format(*report["test_accuracy"]))
    seconds, reference = report["seconds"]
    ratio = seconds / reference
    print(f"seconds scratch {seconds:.2f}, torch {reference:.2f}, ratio {ratio:.2f}")
    print(f"wrote {out} and {out.with_suffix('.json')}")
    for name, one in found.items():
        print(f"{name}: {one.line()}")
        if not one.inside:
            print(agreement.first_parting(starts[name]))
    return Status.AGREED if report["agreed"] else Status.PARTED


def write(arguments: argparse.Namespace, **report: Any) -> None:
    about = {"experiment": arguments.experiment, "dtype": arguments.dtype}
    write_json(arguments.out.with_suffix(".json"), {**about, **report})


def row(epoch: int, mine: Any, other: Any, eps: float) -> str:
    J, reference = mine.costs[epoch - 1], other.costs[epoch - 1]
    return (
        f"{epoch:>6}  {J:>15.9f}  {reference:>15.9f}  {difference(J, reference, eps):>10.3g}  "
        f"{mine.dev_accuracies[epoch - 1]:>16.4f}  {other.dev_accuracies[epoch - 1]:>14.4f}"
    )


def plot(path: Path, title: str, mine: Any, other: Any, eps: float) -> None:
    errors = [difference(*pair, eps) for pair in zip(mine.step_costs, other.step_costs)]  # noqa: B905
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    overlay(left, mine.costs, other.costs, BLUE)
    left.set(xlabel="epoch", ylabel="cost J", yscale="log", title="cost of both sides")
    legend(left, [("scratch, thick, and torch", BLUE)])
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


if __name__ == "__main__":
    leave(main)
