"""Train the same network by hand in NumPy and in PyTorch, from the same draws, and compare.

    python scripts/compare.py
    python scripts/compare.py --experiment moons --epochs 200

Both sides start from the same weights and walk the same mini-batches. Exit status 0: the runs
stayed inside the budget; 1: they parted, and the first step and tensor are named; 2: bad arguments.
"""

from __future__ import annotations

import argparse
import json
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
    make_folder,
    number,
    output_path,
)
from parity_tests.bridge import rows, twin, unload
from parity_tests.budgets import FLOAT32_FLOOR, TRAINING
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
    evaluate = lambda: ours.evaluate(parameters, *draws.data.test, draws.network)[1]  # noqa: E731
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
    evaluate = lambda: theirs.evaluate(module, X_test, Y_test)[1]  # noqa: E731
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


def worst(reached: Parameters, reference: Parameters, eps: float) -> tuple[float, str]:
    """Return the largest difference of any tensor, in eps of its largest entry, and its name."""
    return max((measure(reached[name], reference[name], eps=eps).error, name) for name in reached)


@dataclass
class Verdict:
    """Whether the sides stayed together, and the two numbers that say so."""

    error: float  # in eps units
    allowed: float  # in eps units
    name: str  # of the worst tensor
    why: str

    @property
    def agreed(self) -> bool:
        """Tell whether the error is inside the budget; NaN is not."""
        return self.error <= self.allowed


def judge(draws: Draws, mine: Side, other: Side, dtype: str, oracle: Side | None) -> Verdict:
    """Hold the float64 runs against each other, float32 runs against a float64 one."""
    eps = float(np.finfo(dtype).eps)
    if oracle is None:
        error, name = worst(mine.parameters(), other.parameters(), eps)
        return Verdict(error, TRAINING.in_eps(eps), name, f"relative {TRAINING.relative:g}")
    error, name = worst(mine.parameters(), oracle.parameters(), eps)
    theirs_, _ = worst(other.parameters(), oracle.parameters(), eps)
    why = f"twice torch's error against a float64 run, {theirs_:.3g}, plus {FLOAT32_FLOOR.eps:g}"
    return Verdict(error, 2 * theirs_ + FLOAT32_FLOOR.eps, name, why)


def locate(draws: Draws, allowed: float, eps: float) -> str:
    """Walk both sides at once; name the first step and tensor outside the budget."""
    mine, other = scratch_side(draws), torch_side(draws)
    with Bar(draws.steps, "looking for the step") as bar:
        for step, _ in zip(mine.steps, other.steps, strict=True):
            bar(step, mine.history)
            error, name = worst(mine.parameters(), other.parameters(), eps)
            if not error <= allowed:
                found = measure(mine.parameters()[name], other.parameters()[name], eps=eps)
                return (
                    f"the runs part at step {step.number}, epoch {step.epoch}, in "
                    f"{name}{list(found.place)}: scratch {found.ours!r}, torch {found.theirs!r}, "
                    f"{found.error:.3g} eps units apart"
                )
    return "the two runs stay inside of the budget of each other at every step"


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
    make_folder(parser, arguments.out)
    experiment, dtype = chosen(arguments), arguments.dtype
    every = arguments.every or -(-experiment.epochs // ROWS)
    eps = float(np.finfo(dtype).eps)
    torch.set_float32_matmul_precision("highest")

    draws = draw(experiment, dtype)
    mine, other = scratch_side(draws), torch_side(draws)
    sizes = "-".join(map(str, experiment.layer_sizes))
    title = f"{arguments.experiment}: {sizes}, {experiment.optimizer}, {dtype}"
    print(f"{title}, {experiment.epochs} epochs, seed {experiment.seed}")
    oracle = None

    def print_row(epoch: int) -> None:
        if epoch % every == 0 or epoch in (1, experiment.epochs):
            tqdm.write(row(epoch, mine.history, other.history, eps))

    try:
        with Bar(draws.steps, "scratch") as bar:
            walk(mine, bar, lambda epoch: None)
        tqdm.write(HEADER)
        with Bar(draws.steps, "torch  ") as bar:
            walk(other, bar, print_row)
        if dtype == "float32":
            oracle = scratch_side(draw(experiment, "float64"))
            with Bar(draws.steps, "float64") as bar:
                walk(oracle, bar, lambda epoch: None)
    except KeyboardInterrupt:
        plot(arguments.out, f"{title} (interrupted)", mine.history, other.history, eps)
        steps = len(mine.history.step_costs), len(other.history.step_costs)
        print(f"interrupted after {steps[0]} steps of scratch and {steps[1]} of torch")
        print(f"wrote {arguments.out} with what was reached")
        return INTERRUPTED

    verdict = judge(draws, mine, other, dtype, oracle)
    largest = float(np.abs(mine.parameters().theta - other.parameters().theta).max())
    seconds = sum(mine.history.seconds), sum(other.history.seconds)
    summary = {
        "experiment": arguments.experiment,
        "dtype": dtype,
        "epochs": experiment.epochs,
        "steps": draws.steps,
        "cost": [side.history.costs[-1] for side in (mine, other)],
        "train_accuracy": [side.history.accuracies[-1] for side in (mine, other)],
        "test_accuracy": [mine.evaluate(), other.evaluate()],
        "seconds": list(seconds),
        "largest_parameter_difference": largest,
        "error_in_eps": verdict.error,
        "allowed_in_eps": verdict.allowed,
        "agreed": verdict.agreed,
    }
    numbers = arguments.out.with_suffix(".json")
    numbers.write_text(json.dumps(summary, indent=1) + "\n")
    plot(arguments.out, title, mine.history, other.history, eps)
    print(f"largest parameter difference {largest:.3g}")
    print(f"test accuracy scratch {summary['test_accuracy'][0]:.4f}", end=", ")
    print(f"torch {summary['test_accuracy'][1]:.4f}")
    print(f"seconds scratch {seconds[0]:.2f}, torch {seconds[1]:.2f}", end=", ")
    print(f"ratio {seconds[0] / seconds[1]:.2f}")
    print(f"wrote {arguments.out} and {numbers}")
    print(
        f"{'inside' if verdict.agreed else 'OUTSIDE'} the budget: {verdict.error:.3g} eps units in "
        f"{verdict.name}, allowed {verdict.allowed:.3g} ({verdict.why})"
    )
    if verdict.agreed:
        return AGREED
    print(locate(draws, verdict.allowed, eps))
    return PARTED


if __name__ == "__main__":
    sys.exit(main())
