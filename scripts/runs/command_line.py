"""Parts that the scripts share: flags, checked numbers, files written whole or not at all."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from runs.experiments import EXPERIMENTS, LEARNING_RATES, Experiment
from runs.start import Bar, Side, Start
from scratch.optimizers import OPTIMIZERS

plt.switch_backend("Agg")  # no display is needed

#: exit statuses: all is well; the sides part, or a cost is not finite; bad arguments, as argparse
#: has it; Ctrl-C and a reader that has gone, as shells have them.
AGREED, PARTED, DIVERGED, BAD_ARGUMENTS, INTERRUPTED, UNREAD = 0, 1, 1, 2, 130, 141

#: names of numbers in messages, and the largest number that any flag takes.
KINDS: Mapping[type, str] = {int: "a whole number", float: "a number"}
LARGEST = 1e300


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
        status = INTERRUPTED
    except BrokenPipeError:
        # the rest to be written has no reader, and Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = UNREAD
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


def described(title: str, table: Mapping[str, Any]) -> str:
    width = max(map(len, table)) + 2
    return "\n".join([f"{title}:", *(f"  {n:<{width}}{table[n].description}" for n in table)])


def parser_of(description: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, epilog=epilog, formatter_class=raw)


def add_flags(parser: argparse.ArgumentParser, more: Mapping[str, Any] | None = None) -> None:
    """Add the flags that every training script understands; `more` are further experiments."""
    parser.epilog = described("experiments", {**EXPERIMENTS, **(more or {})})
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    own = "by default the experiment's own"
    names = [*EXPERIMENTS, *(more or {})]
    parser.add_argument("--experiment", choices=names, default="digits", metavar="NAME")
    parser.add_argument("--epochs", type=number(int, 1), help=own)
    parser.add_argument("--batch-size", type=number(int, 1), help=own)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help=own)
    parser.add_argument("--learning-rate", type=number(float, 0, above=True), help=own)
    parser.add_argument("--l2", type=number(float, 0), help=f"lambda of the penalty; {own}")
    parser.add_argument("--seed", type=number(int, 0), help=f"of weights and batches; {own}")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")


def chosen(arguments: argparse.Namespace) -> Experiment:
    experiment = EXPERIMENTS[arguments.experiment]
    names = ("epochs", "batch_size", "optimizer", "learning_rate", "l2", "seed")
    given = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("optimizer", experiment.optimizer) != experiment.optimizer:
        given.setdefault("learning_rate", LEARNING_RATES[given["optimizer"]])
    return replace(experiment, **given)


def output(
    parser: argparse.ArgumentParser,
    endings: str,
    about: str,
    default: Path | None = None,
    flag: str = "--out",
) -> None:
    """Add the flag of a file to be written, which has one of the endings, such as ".json .csv"."""

    def read(text: str) -> Path:
        if Path(text).suffix not in endings.split():
            wanted = " or ".join(endings.split())
            raise argparse.ArgumentTypeError(f"expected a file that ends in {wanted}, got {text!r}")
        return Path(text)

    about = about if default is None else f"{about}; default {default}"
    parser.add_argument(flag, type=read, default=default, help=about)


def make_room(parser: argparse.ArgumentParser, *paths: Path) -> None:
    """Make the folder of files to be written, or leave with status 2: better now than after."""
    for path in paths:
        if path.is_dir():
            parser.error(f"cannot write {path}: it is a folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            parser.error(f"cannot write to {path.parent}: {error.strerror}")


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
        unfinished.write_text(json.dumps(_finite(report), indent=1, allow_nan=False) + "\n")


def save(figure: Figure, path: Path) -> None:
    with whole(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
    plt.close(figure)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def read_flags(
    description: str, side: str, argv: list[str] | None, devices: Sequence[str] = ()
) -> tuple[argparse.Namespace, Experiment, Path]:
    """Return the flags of a training script, the experiment they choose and where to write."""
    parser = argparse.ArgumentParser(description=description)
    add_flags(parser)
    about = f"history as .json or .csv, picture beside it; default out/{side}-EXPERIMENT.json"
    output(parser, ".json .csv", about)
    if devices:
        parser.add_argument("--device", choices=devices, default=devices[0])
    arguments = parser.parse_args(argv)
    path = arguments.out or Path("out") / f"{side}-{arguments.experiment}.json"
    make_room(parser, path, path.with_suffix(".png"))
    return arguments, chosen(arguments), path


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
    if columns["costs"]:
        epochs = np.arange(1, len(columns["costs"]) + 1)
        ends = epochs * (len(steps) / len(epochs))
        left.plot(ends, columns["costs"], color="C0", label="epoch, mean over examples")
        right.plot(epochs, columns["accuracies"], color="C0", label="train")
        right.plot(epochs, columns["dev_accuracies"], color="C1", label="dev")
        right.legend(frameon=False)
    left.set(xlabel="step", ylabel="cost J", yscale="log")
    right.set(xlabel="epoch", ylabel="accuracy")
    left.legend(frameon=False)
    figure.suptitle(title)
    save(figure, path)


def train(name: str, side: Side, start: Start, arguments: argparse.Namespace, path: Path) -> int:
    interrupted, experiment, history = False, start.experiment, side.history
    with Bar(start.steps) as bar:
        try:
            side.walk(bar)
        except KeyboardInterrupt:
            interrupted = True
    about = {"side": name, "experiment": arguments.experiment, "dtype": arguments.dtype}
    about["test_accuracy"] = test_accuracy = side.test_accuracy()
    about |= {field: value for field, value in vars(experiment).items() if field != "load"}
    write_history(path, about, history)
    picture = path.with_suffix(".png")
    plot_history(picture, f"{arguments.experiment}, {name}", history)
    columns = epochs_of(history)
    done = len(columns["costs"])
    if done < experiment.epochs:
        how = f"interrupted in epoch {done + 1}" if interrupted else f"stopped early after {done}"
        print(f"{how} of {experiment.epochs}{'' if interrupted else ' epochs'}")
    if done:
        last = {field: column[-1] for field, column in columns.items()}
        print(f"cost {last['costs']:.6f} after {done} epochs, {sum(columns['seconds']):.2f} s")
        print(f"accuracy: train {last['accuracies']:.4f}, dev {last['dev_accuracies']:.4f}")
    print(f"test accuracy {test_accuracy:.4f}")
    print(f"wrote {path} and {picture}")
    finite = np.isfinite(history.step_costs)
    if not finite.all():
        print(f"the cost is not finite from step {finite.argmin() + 1} on", file=sys.stderr)
        return DIVERGED
    return INTERRUPTED if interrupted and done < experiment.epochs else AGREED
