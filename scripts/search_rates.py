"""Search for the learning rate and lambda of an experiment: random points, coarse to fine.

    python scripts/search_rates.py --experiment moons --trials 16 --workers 2

Every point is a training by hand, side by side in processes; a second round searches the box
around the best of the first. Exit status 0; 1 where every training diverged; 2: bad arguments; 130:
Ctrl-C, with the finished trials written.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from runs import scratch_side
from runs.command_line import Parser, Status, chosen, count, file, leave, write_json
from runs.experiments import Experiment
from runs.start import Progress, draw
from scratch.search import LogUniform, Scale, Trial, best, caviar, draw_points, zoom

#: the trials of the first round whose box the second one searches.
KEPT = 3


def dev_cost(point: dict[str, Any], experiment: Experiment, dtype: str) -> float:
    start = draw(replace(experiment, **point), dtype)
    with threadpool_limits(1), np.errstate(all="ignore"):  # a large rate may diverge, to NaN
        return float(scratch_side.set_up(start).walk().history.dev_costs[-1])


def finite(trial: Trial) -> bool:
    return bool(np.isfinite(trial.cost))


def line(name: str, trial: Trial) -> str:
    point = trial.point
    return f"{name:<8}{point['learning_rate']:>14.3g}{point['l2']:>12.3g}{trial.cost:>14.6f}"


def search(arguments: argparse.Namespace, trials: list[Trial]) -> int:
    """Search two rounds; `trials` hold all that ended, however the search is left."""
    space: dict[str, Scale] = {
        "learning_rate": LogUniform(low=1e-4, high=1.0),
        "l2": LogUniform(low=1e-3, high=10.0),
    }
    rng = np.random.default_rng(arguments.seed or 0)
    objective = partial(dev_cost, experiment=chosen(arguments), dtype=arguments.dtype)
    for name in ("coarse", "fine"):
        if trials:
            space = zoom(space, trials, min(KEPT, len(trials)))
        points, done = draw_points(space, arguments.trials, rng), list[Trial]()
        with Progress(total=len(points), desc=name, unit="trial") as bar:
            shown: dict[str, Any] = {"on_result": lambda trial: bar.update(), "trials": done}
            try:
                caviar(objective, points, workers=arguments.workers, **shown)
            finally:
                trials += done
        if bar.interrupted:
            return Status.INTERRUPTED
        for trial in sorted(filter(finite, done), key=lambda one: one.cost)[:KEPT]:
            print(line(name, trial))
        if not any(map(finite, trials)):
            print("every training diverged: there is no best to search around", file=sys.stderr)
            return Status.DIVERGED
    return Status.AGREED


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__)
    parser.add_experiments()
    parser.add_argument("--trials", type=count, default=16, help="a round; default 16")
    parser.add_argument("--workers", type=count, default=os.cpu_count() or 1)
    about = "every trial; default out/search.json"
    parser.add_argument("--out", type=file(".json"), default="out/search.json", help=about)
    arguments = parser.parse_args(argv)
    if arguments.learning_rate is not None or arguments.l2 is not None:
        parser.error("expected neither --learning-rate nor --l2: they are searched for")
    trials: list[Trial] = []
    print(f"{'':<8}{'learning rate':>14}{'lambda':>12}{'dev cost':>14}")
    try:
        status = search(arguments, trials)
    finally:  # a training that fails ends the search, not what was found before it
        found = [{**one.point, "dev_cost": one.cost} for one in trials]
        write_json(arguments.out, {"trials": found})
    if any(map(finite, trials)):
        print(line("best", best(trials)))
    how = "interrupted after" if status == Status.INTERRUPTED else "wrote"
    print(f"{how} {len(trials)} trials to {arguments.out}")
    return status


if __name__ == "__main__":
    leave(main)
