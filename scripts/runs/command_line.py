"""Parts that the scripts share: flags, checked numbers, files written whole or not at all."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from runs.experiments import EXPERIMENTS, LEARNING_RATES, Experiment
from runs.start import Progress, Side, draw
from scratch.optimizers import OPTIMIZERS

plt.switch_backend("Agg")  # no display is needed


class Status(IntEnum):
    """Exit statuses; argparse has the one of bad arguments, shells have the last two."""

    AGREED = 0
    PARTED = 1
    DIVERGED = 1  # a cost is not finite
    BAD_ARGUMENTS = 2
    INTERRUPTED = 130  # Ctrl-C
    UNREAD = 141  # the reader of a pipe has gone


#: names of numbers in messages, and the largest number that any flag takes.
KINDS: Mapping[type, str] = {int: "a whole number", float: "a number"}
LARGEST = 1e300

#: dots per inch of pictures.
DPI = 120

OWN = "by default the experiment's own"


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a script and leave with its status, without a traceback where a person ends it.

    That is Ctrl-C before there is anything to keep, and `| head` that reads no further.
    """
    try:
        try:
            status = main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = Status.INTERRUPTED
    except BrokenPipeError:
        # the rest to be written has no reader, and Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = Status.UNREAD
    sys.exit(status)


def number(kind: type, low: float, *, above: bool = False) -> Callable[[str], Any]:
    """Return an argparse type that reads a number from `low` up, or strictly above it."""

    def read(text: str) -> Any:
        wanted = f"{KINDS[kind]} {'above' if above else 'of at least'} {low:g}"
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}") from error
        if not abs(value) <= LARGEST or value < low or (above and value == low):
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text}")
        return value

    return read


count = number(int, 1)

#: flags that replace an experiment's own numbers: the type of each, and the words of --help.
NUMBERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "epochs": (count, OWN),
    "batch_size": (count, OWN),
    "learning_rate": (number(float, 0, above=True), OWN),
    "l2": (number(float, 0), f"lambda of the penalty; {OWN}"),
    "seed": (number(int, 0), f"of weights and batches; {OWN}"),
}


def file(*endings: str, beside: str = "") -> Callable[[str], Path]:
    """Return an argparse type that reads the path of a file to be written, and makes its folder.

    Better refused now than after the work; `beside` is the ending of another file of its name.
    """

    def read(text: str) -> Path:
        path = Path(text)
        if endings and path.suffix not in endings:
            wanted = " or ".join(endings)
            raise argparse.ArgumentTypeError(f"expected a file that ends in {wanted}, got {text!r}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            said = f"cannot write to {path.parent}: {error.strerror}"
            raise argparse.ArgumentTypeError(said) from error
        for one in (path, path.with_suffix(beside) if beside else path):
            if one.is_dir():
                raise argparse.ArgumentTypeError(f"cannot write {one}: it is a folder")
        return path

    return read


def folder(text: str) -> Path:
    return file()(f"{text}/any file").parent


def described(title: str, table: Mapping[str, Any]) -> str:
    width = max(map(len, table)) + 2
    return "\n".join([f"{title}:", *(f"  {n:<{width}}{table[n].description}" for n in table)])


class Parser(argparse.ArgumentParser):
    """Flags of a script, whose docstring is shown as it is typed."""

    def __init__(self, description: str | None, epilog: str | None = None) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, epilog=epilog, formatter_class=raw)

    def add_experiments(self, more: Mapping[str, Any] | None = None) -> None:
        """Add the flags that every training script understands; `more` are further experiments."""
        known = {**EXPERIMENTS, **(more or {})}
        self.epilog = described("experiments", known)
        self.add_argument("--experiment", choices=known, default="digits", metavar="NAME")
        self.add_argument("--optimizer", choices=OPTIMIZERS, help=OWN)
        for name, (kind, about) in NUMBERS.items():
            self.add_argument(f"--{name.replace('_', '-')}", type=kind, help=about)
        self.add_argument("--dtype", choices=["float32", "float64"], default="float64")


def chosen(arguments: argparse.Namespace) -> Experiment:
    experiment = EXPERIMENTS[arguments.experiment]
    given = {name: getattr(arguments, name) for name in ("optimizer", *NUMBERS)}
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("optimizer", experiment.optimizer) != experiment.optimizer:
        given.setdefault("learning_rate", LEARNING_RATES[given["optimizer"]])
    return replace(experiment, **given)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    unfinished = path.with_name(f"{path.name}.partial")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, report: Any) -> None:
    """Write a report whole or not at all; what is not finite becomes null, as JSON has no NaN."""
    with whole(path) as unfinished:
        finite = json.loads(json.dumps(report), parse_constant=lambda _: None)
        unfinished.write_text(json.dumps(finite, indent=1, allow_nan=False) + "\n")


def save(figure: Figure, path: Path) -> None:
    with whole(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DPI)
    plt.close(figure)


def epochs_of(history: Any) -> dict[str, list[float]]:
    """Return the columns with an entry an epoch, of the epochs that all of them have reached.

    Ctrl-C may fall between two entries of one epoch.
    """
    columns = {name: column for name, column in vars(history).items() if name != "step_costs"}
    done = min(map(len, columns.values()))
    return {name: column[:done] for name, column in columns.items()}


def write_history(path: Path, about: Mapping[str, Any], history: Any) -> None:
    columns = epochs_of(history)
    if path.suffix == ".json":
        write_json(path, {**about, "history": {**columns, "step_costs": history.step_costs}})
    else:
        with whole(path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *columns])
            rows = zip(*columns.values(), strict=True)
            writer.writerows([epoch, *row] for epoch, row in enumerate(rows, start=1))


def plot_history(path: Path, title: str, history: Any) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    steps = np.arange(1, len(history.step_costs) + 1)
    columns = epochs_of(history)
    left.plot(steps, history.step_costs, color="0.8", linewidth=0.8, label="mini-batch")
    epochs = np.arange(1, len(columns["costs"]) + 1)
    ends = epochs * (len(steps) / max(len(epochs), 1))
    left.plot(ends, columns["costs"], color="C0", label="epoch, mean over examples")
    right.plot(epochs, columns["accuracies"], color="C0", label="train")
    right.plot(epochs, columns["dev_accuracies"], color="C1", label="dev")
    left.set(xlabel="step", ylabel="cost J", yscale="log")
    right.set(xlabel="epoch", ylabel="accuracy")
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.suptitle(title)
    save(figure, path)


def train(
    description: str | None,
    name: str,
    set_up: Callable[..., Side],
    argv: list[str] | None,
    device: Callable[[str], str] | None = None,
) -> int:
    """Train one side as its flags say; write its history and a picture of it."""
    parser, written = Parser(description), file(".json", ".csv", beside=".png")
    parser.add_experiments()
    about = f"history as .json or .csv, picture beside it; default out/{name}-EXPERIMENT.json"
    parser.add_argument("--out", type=written, help=about)
    if device:
        parser.add_argument("--device", type=device, choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args(argv)
    path = arguments.out or written(f"out/{name}-{arguments.experiment}.json")
    experiment, picture = chosen(arguments), path.with_suffix(".png")
    start = draw(experiment, arguments.dtype)
    side = set_up(start, arguments.device) if device else set_up(start)
    with Progress(total=start.steps, unit="step") as bar:
        side.walk(bar)
    report = {"side": name, "experiment": arguments.experiment, "dtype": arguments.dtype}
    report |= {key: value for key, value in vars(experiment).items() if key != "load"}
    report["test_accuracy"] = side.test_accuracy()
    write_history(path, report, side.history)
    plot_history(picture, f"{arguments.experiment}, {name}", side.history)
    columns = epochs_of(side.history)
    done = len(columns["costs"])
    if done < experiment.epochs:
        how = (
            f"interrupted in epoch {done + 1}" if bar.interrupted else f"stopped early after {done}"
        )
        print(f"{how} of {experiment.epochs} epochs")
    if done:
        last = {key: column[-1] for key, column in columns.items()}
        print(f"cost {last['costs']:.6f} after {done} epochs, {sum(columns['seconds']):.2f} s")
        print(f"accuracy: train {last['accuracies']:.4f}, dev {last['dev_accuracies']:.4f}")
    print(f"test accuracy {report['test_accuracy']:.4f}")
    print(f"wrote {path} and {picture}")
    finite = np.isfinite(side.history.step_costs)
    if not finite.all():
        print(f"the cost is not finite from step {finite.argmin() + 1} on", file=sys.stderr)
        return Status.DIVERGED
    return Status.INTERRUPTED if bar.interrupted and done < experiment.epochs else Status.AGREED
