"""Train the same network by hand in NumPy and in PyTorch, from the same draws, and compare.

    python scripts/compare.py
    python scripts/compare.py --experiment moons --epochs 200

Both sides start from the same weights and walk the same mini-batches. Exit status 0: the runs
stayed inside the budget; 1: they parted, and the first step and tensor are named; 2: bad arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from tqdm import tqdm

import scratch.training as ours
import torch_ref.training as theirs
from command_line import (
    AGREED,
    INTERRUPTED,
    PARTED,
    Bar,
    Draws,
    add_flags,
    chosen,
    draw,
    make_room,
    number,
    output_path,
    write_json,
)
from parity_tests.bridge import rows, twin, unload
from parity_tests.budgets import TRAINING
from parity_tests.harness import measure
from scratch.optimizers import OPTIMIZERS
from scratch.parameters import Parameters
from torch_ref.optimizers import OPTIMIZERS as THEIR_OPTIMIZERS

#: where a difference of exactly zero is drawn on the log axis.
EQUAL = 0.1

#: rows of the table that a run prints at most, unless told otherwise.
ROWS = 40


@dataclass
class Side:
    """One side's run: its history, its parameters and what it makes of the test set."""

    history: Any
    parameters: Callable[[], Parameters]
    steps: Iterator[Any]
    evaluate: Callable[[], float]


def scratch_side(draws: Draws) -> Side:
    """Set the run up by hand."""
    experiment, parameters, history = draws.experiment, draws.parameters.copy(), ours.History()
    steps = ours.training_steps(
        draws.network,
        parameters,
        *draws.data.train,
        optimizer=OPTIMIZERS[experiment.optimizer](learning_rate=experiment.learning_rate),
        dev=draws.data.dev,
        history=history,
        **draws.run(),
    )

    def evaluate() -> float:
        return ours.evaluate(parameters, *draws.data.test, draws.network)[1]

    return Side(history, lambda: parameters, steps, evaluate)


def torch_side(draws: Draws) -> Side:
    """Set the run up in torch, on the CPU."""
    experiment, history = draws.experiment, theirs.History()
    module = twin(draws.network, draws.parameters)
    X, Y, X_dev, Y_dev, X_test, Y_test = (rows(one) for pair in draws.data for one in pair)
    steps = theirs.training_steps(
        module,
        X,
        Y,
        optimizer=THEIR_OPTIMIZERS[experiment.optimizer](
            module.parameters(), learning_rate=experiment.learning_rate
        ),
        dev=(X_dev, Y_dev),
        history=history,
        **draws.run(),
    )

    def evaluate() -> float:
        return theirs.evaluate(module, X_test, Y_test)[1]

    return Side(history, lambda: unload(module), steps, evaluate)


def walk(side: Side, bar: Bar, after_epoch: Callable[[int], None]) -> None:
    """Take every step of a side."""
    for step in side.steps:
        bar(step, side.history)
        if step.ends_epoch:
            after_epoch(step.epoch)


HEADER = (
    f"{'epoch':>6}  {'cost scratch':>15}  {'cost torch':>15}  {'diff [eps]':>10}  "
    f"{'dev acc. scratch':>16}  {'dev acc. torch':>14}"
)


def row(epoch: int, mine: Any, other: Any, eps: float) -> str:
    """Return the line of one epoch: costs, their difference in eps units, dev accuracies."""
    J, reference = mine.costs[epoch - 1], other.costs[epoch - 1]
    return (
        f"{epoch:>6}  {J:>15.9f}  {reference:>15.9f}  {difference(J, reference, eps):>10.3g}  "
        f"{mine.dev_accuracies[epoch - 1]:>16.4f}  {other.dev_accuracies[epoch - 1]:>14.4f}"
    )


def difference(value: float, reference: float, eps: float) -> float:
    """Return the difference of two costs in eps units."""
    return measure(np.float64(value), np.float64(reference), eps=eps).error


def differences(mine: Side, other: Side, eps: float) -> Iterator[tuple[float, str]]:
    """Yield how far two runs are apart in each tensor and each column of the history, in eps.

    The gauge of a tensor is its largest entry, that of a column of costs its largest cost.
    """
    reached, reference = mine.parameters(), other.parameters()
    for name in reached:
        yield measure(reached[name], reference[name], eps=eps).error, name
    for name in ("step_costs", "costs", "dev_costs"):
        costs, references = (np.array(getattr(side.history, name)) for side in (mine, other))
        yield measure(costs, references, eps=eps).error, name


@dataclass
class Verdict:
    """Whether the sides stayed together, and the numbers that say so."""

    error: float  # in eps units
    name: str  # of the worst tensor or column

    @property
    def agreed(self) -> bool:
        """Tell whether the error is inside the budget; NaN is not."""
        return self.error <= TRAINING.eps


def judge(mine: Side, other: Side, dtype: str) -> Verdict:
    """Hold two runs of one dtype against each other, accuracies too in float64."""
    verdict = Verdict(*max(differences(mine, other, float(np.finfo(dtype).eps))))
    if dtype == "float64" and verdict.agreed:
        for name in ("accuracies", "dev_accuracies"):
            if getattr(mine.history, name) != getattr(other.history, name):
                return Verdict(float("inf"), name)
        if mine.evaluate() != other.evaluate():
            return Verdict(float("inf"), "test accuracy")
    return verdict


def locate(draws: Draws, eps: float) -> str:
    """Walk both sides at once; name the first step and quantity outside the budget."""
    mine, other = scratch_side(draws), torch_side(draws)
    with Bar(draws.steps, "looking for the step") as bar:
        for step, other_step in zip(mine.steps, other.steps, strict=True):
            bar(step, mine.history)
            reached, reference = mine.parameters(), other.parameters()
            found = {name: measure(reached[name], reference[name], eps=eps) for name in reached}
            found["cost"] = measure(np.float64(step.cost), np.float64(other_step.cost), eps=eps)
            name, worst = max(found.items(), key=lambda item: item[1].error)
            if not worst.error <= TRAINING.eps:
                return (
                    f"the runs part at step {step.number}, epoch {step.epoch}, in "
                    f"{name}{list(worst.place) or ''}: scratch {worst.ours!r}, "
                    f"torch {worst.theirs!r}, {worst.error:.3g} eps units apart"
                )
    return "no step leaves the budget: the runs part in what is evaluated after an epoch"


def plot(path: Path, title: str, mine: Any, other: Any, eps: float) -> None:
    """Draw both cost curves, and their difference step by step on a log axis."""
    pairs = list(zip(mine.step_costs, other.step_costs, strict=False))
    errors = [difference(*pair, eps) for pair in pairs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for history, style, label in ((mine, "-", "scratch (NumPy)"), (other, "--", "torch")):
        epochs = range(1, len(history.costs) + 1)
        width = 4 if style == "-" else 1.5
        color = "#9ecae1" if style == "-" else "#08306b"
        left.plot(epochs, history.costs, style, color=color, linewidth=width, label=label)
    left.set(xlabel="epoch", ylabel="cost J", yscale="log", title="cost of both sides")
    left.legend(frameon=False)
    steps = range(1, len(pairs) + 1)
    right.plot(steps, np.maximum(errors, EQUAL), ".", color="#08306b", markersize=3)
    right.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    right.set(xlabel="step", yscale="log", title="difference of the mini-batch costs in eps units")
    top = np.ceil(np.log10(max([1, *(one for one in errors if np.isfinite(one))])))
    ticks = 10.0 ** np.arange(0, top + 1, max(1, top // 6))
    labels = ["equal", *(f"{tick:g} eps" for tick in ticks)]
    right.set_yticks([EQUAL, *ticks], labels, minor=False)
    right.minorticks_off()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def print_verdict(verdict: Verdict, dtype: str) -> None:
    """Print one line: inside or outside, by how much, where."""
    print(
        f"{dtype}: {'inside' if verdict.agreed else 'OUTSIDE'} the budget, {verdict.error:.3g} eps "
        f"units in {verdict.name}, allowed {TRAINING.eps:.3g}"
    )


def against_float64(draws: Draws, mine: Side, other: Side) -> tuple[Verdict, Draws]:
    """Run both sides in float64 as well; print how far each float32 run is from torch's there."""
    wide = draw(draws.experiment, "float64")
    sides = scratch_side(wide), torch_side(wide)
    for side, label in zip(sides, ("scratch, float64", "torch, float64"), strict=True):
        with Bar(wide.steps, label) as bar:
            walk(side, bar, lambda epoch: None)
    eps = float(np.finfo(np.float32).eps)
    errors = [max(differences(side, sides[1], eps))[0] for side in (mine, other)]
    print(f"against torch in float64: scratch {errors[0]:.3g}, torch {errors[1]:.3g} eps units")
    return judge(*sides, "float64"), wide


def numbers(arguments: argparse.Namespace, mine: Side, other: Side, **more: Any) -> dict[str, Any]:
    """Return what a run has shown so far, both histories whole."""
    sides = {"scratch": mine, "torch": other}
    return {
        "experiment": arguments.experiment,
        "dtype": arguments.dtype,
        **more,
        "histories": {name: vars(side.history) for name, side in sides.items()},
    }


def main(argv: list[str] | None = None) -> int:
    """Run both sides, print the table and the verdict, write the picture and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser)
    parser.add_argument(
        "--out",
        type=partial(output_path, suffixes=(".png",)),
        default=Path("compare.png"),
        help="the picture, numbers beside it as .json; default compare.png",
    )
    parser.add_argument(
        "--every", type=number(int, 1), help=f"print each so many epochs; default {ROWS} rows"
    )
    arguments = parser.parse_args(argv)
    report = arguments.out.with_suffix(".json")
    make_room(parser, arguments.out, report)
    experiment, dtype = chosen(arguments), arguments.dtype
    eps = float(np.finfo(dtype).eps)
    torch.set_float32_matmul_precision("highest")

    draws = draw(experiment, dtype)
    mine, other = scratch_side(draws), torch_side(draws)
    sizes = "-".join(map(str, experiment.layer_sizes))
    title = f"{arguments.experiment}: {sizes}, {experiment.optimizer}, {dtype}"
    print(f"{title}, {experiment.epochs} epochs, seed {experiment.seed}")
    try:
        return run(arguments, draws, mine, other, title)
    except KeyboardInterrupt:
        plot(arguments.out, f"{title} (interrupted)", mine.history, other.history, eps)
        write_json(report, numbers(arguments, mine, other, interrupted=True))
        steps = len(mine.history.step_costs), len(other.history.step_costs)
        print(f"interrupted after {steps[0]} steps of scratch and {steps[1]} of torch")
        print(f"wrote {arguments.out} and {report} with what was reached")
        return INTERRUPTED


def run(arguments: argparse.Namespace, draws: Draws, mine: Side, other: Side, title: str) -> int:
    """Walk both sides, judge them, write what they have shown; return the exit status."""
    experiment, dtype = draws.experiment, arguments.dtype
    every = arguments.every or -(-experiment.epochs // ROWS)
    eps = float(np.finfo(dtype).eps)

    def print_row(epoch: int) -> None:
        if epoch % every == 0 or epoch in (1, experiment.epochs):
            tqdm.write(row(epoch, mine.history, other.history, eps))

    with Bar(draws.steps, "scratch") as bar:
        walk(mine, bar, lambda epoch: None)
    tqdm.write(HEADER)
    with Bar(draws.steps, "torch") as bar:
        walk(other, bar, print_row)
    verdicts = {dtype: (judge(mine, other, dtype), draws)}
    if dtype == "float32":
        verdicts["float64"] = against_float64(draws, mine, other)
    largest = float(np.abs(mine.parameters().theta - other.parameters().theta).max())
    seconds = [sum(side.history.seconds) for side in (mine, other)]
    accuracies = [side.evaluate() for side in (mine, other)]
    agreed = all(verdict.agreed for verdict, _ in verdicts.values())
    summary = {
        "epochs": experiment.epochs,
        "steps": draws.steps,
        "cost": [side.history.costs[-1] for side in (mine, other)],
        "train_accuracy": [side.history.accuracies[-1] for side in (mine, other)],
        "test_accuracy": accuracies,
        "seconds": seconds,
        "largest_parameter_difference": largest,
        "error_in_eps": verdicts[dtype][0].error,
        "allowed_in_eps": TRAINING.eps,
        "agreed": agreed,
    }
    report = arguments.out.with_suffix(".json")
    write_json(report, numbers(arguments, mine, other, **summary))
    plot(arguments.out, title, mine.history, other.history, eps)
    print(f"largest parameter difference {largest:.3g}")
    print(f"test accuracy scratch {accuracies[0]:.4f}, torch {accuracies[1]:.4f}")
    ratio = seconds[0] / seconds[1]
    print(f"seconds scratch {seconds[0]:.2f}, torch {seconds[1]:.2f}, ratio {ratio:.2f}")
    print(f"wrote {arguments.out} and {report}")
    for name, (verdict, started) in verdicts.items():
        print_verdict(verdict, name)
        if not verdict.agreed:
            print(locate(started, float(np.finfo(name).eps)))
    return AGREED if agreed else PARTED


if __name__ == "__main__":
    sys.exit(main())
