"""Draw the courses' classic pictures, each from both sides with the curves overlaid.

    python scripts/figures.py
    python scripts/figures.py --only saddle optimizers --out out/figures

Exit status 0: the sides agreed in every picture; 1: they part somewhere, and it is named; 2: bad
arguments; 130: Ctrl-C, the pictures finished before are kept.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits

from pictures.catalogue import PICTURES
from runs.agreement import Agreement, Compared, judge, train_both, worst
from runs.command_line import Parser, Status, count, described, folder, leave, save
from runs.demonstrations import DEMONSTRATIONS
from runs.experiments import EXPERIMENTS
from runs.start import Progress

#: processes that draw, unless told otherwise: one a core, each with one thread, and not too many.
MOST_WORKERS = 4

#: variables that NumPy and torch read at import: more threads than cores spin for nothing.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Made(NamedTuple):
    name: str
    agreement: Agreement
    seconds: float


def at_most(most: int | None, epochs: Any) -> Any:
    return epochs if epochs is None or most is None else min(epochs, most)


def results(name: str, most_epochs: int | None) -> Iterator[tuple[Any, Agreement]]:
    if name in DEMONSTRATIONS:
        own = DEMONSTRATIONS[name]
        found = {one.name: one for one in own.quantities(at_most(most_epochs, own.epochs))}
        yield found, judge(found.values())
        return
    experiment = EXPERIMENTS[name]
    runs = train_both(replace(experiment, epochs=at_most(most_epochs, experiment.epochs)))
    yield runs, runs.agreement
    if runs.start.network.layer_sizes[0] == 2:
        yield runs, judge([Compared("outputs on the plane", *runs.outputs())])


def make(name: str, folder: Path, most_epochs: int | None = None) -> Made:
    begun, picture = time.perf_counter(), PICTURES[name]
    shown: dict[str, Any] = {}
    agreements = []
    for experiment in picture.experiments:
        for result, agreement in results(experiment, most_epochs):
            shown[experiment] = result
            if len(picture.experiments) > 1:
                agreement = replace(agreement, name=f"{agreement.name} of {experiment}")
            agreements.append(agreement)
    found = worst(agreements)
    drawn = shown[name] if name in DEMONSTRATIONS else shown
    save(picture.finished(drawn, found, most_epochs), folder / f"{name}.png")
    return Made(name, found, time.perf_counter() - begun)


def _begin() -> None:
    """Set up a worker: one thread, and Ctrl-C left to the parent, which ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def made(names: list[str], folder: Path, most_epochs: int | None, workers: int) -> Iterator[Made]:
    if workers == 1:
        with threadpool_limits(1):  # of torch and BLAS: the work is many small steps
            for name in names:
                yield make(name, folder, most_epochs)
        return
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _begin) as pool:
        work = [pool.submit(make, name, folder, most_epochs) for name in names]
        try:
            for future in as_completed(work):
                yield future.result()
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()
            pool.shutdown(cancel_futures=True)  # waits until they are gone
            raise


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__, described("pictures", PICTURES))
    most = min(os.cpu_count() or 1, MOST_WORKERS)
    parser.add_argument("--out", type=folder, default="figures", help="default figures/")
    parser.add_argument("--only", nargs="+", choices=PICTURES, metavar="NAME", help="default all")
    parser.add_argument("--epochs", type=count, help="at most so many in each training")
    parser.add_argument("--workers", type=count, default=most, help=f"default {most}")
    arguments = parser.parse_args(argv)
    names, out, start = [*dict.fromkeys(arguments.only or PICTURES)], arguments.out, time.time()
    work = made(names, out, arguments.epochs, min(arguments.workers, len(names)))
    finished: list[Made] = []
    with Progress(total=len(names), unit="picture") as bar:
        for one in work:
            finished.append(one)
            bar.write(f"{one.name:<18}{one.seconds:>6.1f} s  {one.agreement.line()}")
            bar.update()
    if bar.interrupted:
        for name in names:  # a worker may have been ended while it wrote
            (out / f"{name}.png.partial").unlink(missing_ok=True)
    how = "interrupted after" if bar.interrupted else "wrote"
    seconds = time.time() - start
    print(f"{how} {len(finished)} of {len(names)} pictures in {out}, {seconds:.1f} s")
    parted = [one.name for one in finished if not one.agreement.inside]
    if bar.interrupted:
        return Status.INTERRUPTED
    if parted:
        print(f"the sides part in {', '.join(parted)}", file=sys.stderr)
    return Status.PARTED if parted else Status.AGREED


if __name__ == "__main__":
    leave(main)
