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
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from runs import scratch_side
from runs.command_line import (
    AGREED,
    DIVERGED,
    INTERRUPTED,
    add_flags,
    chosen,
    leave,
    make_room,
    number,
    output,
    write_json,
)
from runs.experiments import Experiment
from runs.start import draw
from scratch.search import LogUniform, Scale, Trial, best, caviar, draw_points, zoom

#: the trials of the first round whose box the second one searches.
KEPT = 3


def dev_cost(point: dict[str, Any], experiment: Experiment, dtype: str) -> float:
    start = draw(replace(experiment, **point), dtype)
    with threadpool_limits(1), np.errstate(all="ignore"):  # a large rate may diverge, to NaN
        return float(scratch_side.set_up(start).walk().history.dev_costs[-1])


def line(trial: Trial) -> str:
    point = trial.point
    return f"{point['learning_rate']:>14.3g}{point['l2']:>12.3g}{trial.cost:>14.6f}"


def attempt(
    arguments: argparse.Namespace, name: str, points: list[dict[str, Any]], trials: list[Trial]
) -> list[Trial]:
    objective = partial(dev_cost, experiment=chosen(arguments), dtype=arguments.dtype)
    done: list[Trial] = []
    with tqdm(total=len(points), desc=name, unit="trial", disable=None, leave=False) as bar:
        try:
            shown: dict[str, Any] = {"on_result": lambda trial: bar.update(), "trials": done}
            caviar(objective, points, workers=arguments.workers, **shown)
        finally:
            trials += done
    for trial in sorted(filter(finite, done), key=lambda one: one.cost)[:KEPT]:
        print(f"{name:<8}{line(trial)}")
    return done


def finite(trial: Trial) -> bool:
    return bool(np.isfinite(trial.cost))


def search(arguments: argparse.Namespace, trials: list[Trial]) -> int:
    space: dict[str, Scale] = {
        "learning_rate": LogUniform(low=1e-4, high=1.0),
        "l2": LogUniform(low=1e-3, high=10.0),
    }
    rng = np.random.default_rng(arguments.seed or 0)
    try:
        coarse = attempt(arguments, "coarse", draw_points(space, arguments.trials, rng), trials)
        if not any(map(finite, coarse)):
            print("every training diverged: there is no best to search around", file=sys.stderr)
            return DIVERGED
        space = zoom(space, coarse, min(KEPT, len(coarse)))
        attempt(arguments, "fine", draw_points(space, arguments.trials, rng), trials)
    except KeyboardInterrupt:
        return INTERRUPTED
    return AGREED


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser)
    parser.add_argument("--trials", type=number(int, 1), default=16, help="a round; default 16")
    parser.add_argument("--workers", type=number(int, 1), default=os.cpu_count() or 1)
    output(parser, ".json", "every trial", Path("out") / "search.json")
    arguments = parser.parse_args(argv)
    if arguments.learning_rate is not None or arguments.l2 is not None:
        parser.error("expected neither --learning-rate nor --l2: they are searched for")
    make_room(parser, arguments.out)
    trials: list[Trial] = []
    print(f"{'':<8}{'learning rate':>14}{'lambda':>12}{'dev cost':>14}")
    try:
        status = search(arguments, trials)
    finally:  # a training that fails ends the search, not what was found before it
        found = [{**one.point, "dev_cost": one.cost} for one in trials]
        write_json(arguments.out, {"trials": found})
    if any(map(finite, trials)):
        print(f"{'best':<8}{line(best(trials))}")
    how = "interrupted after" if status == INTERRUPTED else "wrote"
    print(f"{how} {len(trials)} trials to {arguments.out}")
    return status


if __name__ == "__main__":
    leave(main)
