"""Time one training step by hand against one in torch eager, in one process, as a ratio.

    python scripts/benchmark.py
    python scripts/benchmark.py --seconds 20 --out out/benchmark.json

A step is forward, cost, backward and Adam on one mini-batch, in the same dtype and with the same
number of threads. The sides alternate in blocks of about half a second: step by step, the two
thread pools would spin against each other and slow both. What is reported is the median over pairs
of neighbouring blocks of the time per step, scratch / torch. The last row is the course's first
lesson in speed: logistic regression in explicit loops against the same in matrices, both by hand.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from parity_tests.compare.bridge import rows, twin
from runs.command_line import Parser, Status, count, file, leave, number, write_json
from runs.start import Progress
from scratch._step import TrainingStep
from scratch.initializers import initialize
from scratch.logistic_regression import propagate, propagate_with_loops
from scratch.network import Network
from scratch.optimizers import Adam


class Shape(NamedTuple):
    """A network, a batch size and a dtype, with the ratio to be reached."""

    layer_sizes: tuple[int, ...]
    m: int
    dtype: str
    goal: float

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.layer_sizes))}, m={self.m}, {self.dtype}"


SHAPES = [
    Shape((2, 4, 1), 400, "float64", 0.25),
    Shape((2, 5, 2, 1), 64, "float64", 0.25),
    Shape((12288, 20, 7, 5, 1), 209, "float32", 1.0),
    Shape((64, 128, 64, 10), 64, "float32", 0.4),
    Shape((784, 512, 256, 10), 128, "float32", 1.0),
    Shape((784, 2048, 2048, 10), 512, "float32", 1.0),
]

#: features and examples of the logistic regression that is timed in loops and in matrices.
LOGISTIC = (64, 1000)

IMPORT = """
import time; start = time.perf_counter()
import importlib, pkgutil, scratch
for module in pkgutil.iter_modules(scratch.__path__):
    importlib.import_module(f"scratch.{module.name}")
print(time.perf_counter() - start)
"""

#: seconds that one side works before the other takes its turn.
BLOCK = 0.5

#: seconds at the start of a block that are not counted: the other side's threads still spin.
SETTLE = 0.1


def make_steps(shape: Shape) -> tuple[Callable[[], Any], Callable[[], Any]]:
    rng = np.random.default_rng(0)
    n = shape.layer_sizes[-1]
    output = "sigmoid" if n == 1 else "softmax"
    network = Network(layer_sizes=shape.layer_sizes, hidden="relu", output=output)
    parameters = initialize(shape.layer_sizes, "he", rng, shape.dtype)
    module = twin(network, parameters)
    by_example = rng.standard_normal((shape.m, shape.layer_sizes[0])).astype(shape.dtype)
    X = by_example[np.arange(shape.m)].T  # gathered as the training loop does
    labels = rng.integers(0, max(n, 2), shape.m)
    Y = (labels[None, :] if n == 1 else np.eye(n)[:, labels]).astype(shape.dtype)

    step, rule = TrainingStep(network, parameters, 0.0, 0.0, shape.m), Adam()
    state = rule.init(parameters)

    def scratch_step() -> None:
        step.cost_and_gradients(X, Y)
        rule.update(parameters, step.gradients, state)

    tensors = rows(X), rows(Y)
    loss = nn.BCEWithLogitsLoss() if n == 1 else nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(module.parameters())

    def torch_step() -> None:
        optimizer.zero_grad()
        loss(module.logits(tensors[0]), tensors[1]).backward()
        optimizer.step()

    return scratch_step, torch_step


def logistic_steps() -> tuple[Callable[[], Any], Callable[[], Any]]:
    n_x, m = LOGISTIC
    rng = np.random.default_rng(0)
    w, X = 0.1 * rng.standard_normal((n_x, 1)), rng.standard_normal((n_x, m))
    Y = rng.integers(0, 2, (1, m)).astype(float)
    return partial(propagate_with_loops, w, 0.1, X, Y), partial(propagate, w, 0.1, X, Y)


def block(step: Callable[[], Any], seconds: float) -> float:
    """Return the mean time of a step over a block of so many seconds, after settling."""
    settled = time.perf_counter() + SETTLE
    while time.perf_counter() < settled:
        step()
    start, count = time.perf_counter(), 0
    while True:
        step()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / count


def measure(
    name: str, sides: tuple[Callable[[], Any], Callable[[], Any]], pairs: int, bar: Any
) -> dict[str, Any]:
    times: list[tuple[float, float]] = []
    for _ in range(pairs):
        times.append((block(sides[0], BLOCK), block(sides[1], BLOCK)))
        bar.update()
    ratios = sorted(mine / other for mine, other in times)
    return {
        "shape": name,
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
        "microseconds": [1e6 * statistics.median(side) for side in zip(*times, strict=True)],
    }


def line(result: dict[str, Any]) -> str:
    mine, other = result["microseconds"]
    return (
        f"{result['shape']:<34}{mine:>12.0f}{other:>12.0f}{result['ratio']:>9.2f}"
        f"   {result['lowest']:.2f}-{result['highest']:.2f}{result['goal']:>8.2f}"
    )


def main(argv: list[str] | None = None) -> int:
    parser, seconds = Parser(__doc__), number(float, 0.1)
    parser.add_argument("--seconds", type=seconds, default=12, help="for each shape; default 12")
    parser.add_argument("--threads", type=count, help="of both sides; default torch's own")
    parser.add_argument("--out", type=file(".json"), help="write the numbers here")
    arguments = parser.parse_args(argv)
    threads = arguments.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    pairs = max(1, round(arguments.seconds / (2 * (BLOCK + SETTLE))))
    results: list[dict[str, Any]] = []
    loops: dict[str, Any] | None = None
    print(f"importing all of scratch takes {import_seconds():.2f} s")
    print(f"one training step with Adam, {threads} threads, median of {pairs} pairs of blocks")
    print(f"{'shape':<34}{'scratch us':>12}{'torch us':>12}{'ratio':>9}   {'range':<9}{'goal':>8}")
    total = pairs * (len(SHAPES) + 1)
    with threadpool_limits(threads, "blas"), Progress(total=total, unit="pair") as bar:
        for shape in SHAPES:
            found = measure(str(shape), make_steps(shape), pairs, bar)
            results.append({**found, "goal": shape.goal})
            bar.write(line(results[-1]))
        loops = measure("logistic regression", logistic_steps(), pairs, bar)
        slow, fast = loops["microseconds"]
        bar.write(
            f"logistic regression, {LOGISTIC[0]} features, m={LOGISTIC[1]}: in loops "
            f"{slow:.0f} us, in matrices {fast:.0f} us, ratio {loops['ratio']:.0f}"
        )
    if bar.interrupted:
        print(f"interrupted after {len(results)} of {len(SHAPES)} shapes")
    if arguments.out:
        numbers = {"threads": threads, "pairs": pairs, "results": results, "loops": loops}
        write_json(arguments.out, numbers)
        print(f"wrote {arguments.out}")
    return Status.INTERRUPTED if bar.interrupted else Status.AGREED


def import_seconds() -> float:
    """Return the time of importing every stem in a fresh interpreter."""
    run = [sys.executable, "-c", IMPORT]
    return float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    leave(main)
