"""Experiments that are no training of one network: both sides' numbers, quantity by quantity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from parity_tests.compare import runs as long_runs
from parity_tests.compare.bridge import columns, rows, to_torch, twin
from parity_tests.compare.budgets import FORWARD, GRADIENT, STEP, TRAJECTORY, Budget
from runs import scratch_side, torch_side
from runs.agreement import Compared
from runs.datasets import Array, Data, Pair
from runs.experiments import LEARNERS, SEARCHED, Experiment
from runs.start import draw
from scratch import diagnosis, gradient_checking, moving_averages, network, search
from scratch.initializers import initialize
from scratch.mini_batches import draw_order
from scratch.optimizers import OPTIMIZERS, minimize
from scratch.schedules import SCHEDULES
from torch_ref import diagnosis as their_diagnosis
from torch_ref import gradient_checking as their_gradient_checking
from torch_ref import moving_averages as their_moving_averages
from torch_ref import network as their_network
from torch_ref import optimizers as their_optimizers
from torch_ref import search as their_search
from torch_ref.schedules import SCHEDULES as THEIR_SCHEDULES

SEED = 0


class Demonstration(NamedTuple):
    """A subject and how both sides compute it; `epochs` where networks are trained for it."""

    description: str
    run: Callable[..., Iterator[Compared]]
    epochs: int | None = None

    def quantities(self, epochs: int | None = None) -> Iterator[Compared]:
        """Yield each quantity as soon as both sides have it, after so many epochs of training."""
        return self.run() if self.epochs is None else self.run(epochs or self.epochs)


DEMONSTRATIONS: dict[str, Demonstration] = {}


def demonstration(name: str, description: str, epochs: int | None = None) -> Callable[[Any], Any]:
    def listed(run: Callable[..., Iterator[Compared]]) -> Callable[..., Iterator[Compared]]:
        DEMONSTRATIONS[name] = Demonstration(description, run, epochs)
        return run

    return listed


#: the saddle J = (x^2 - y^2) / 2 + y^4 / 4 and the valley J = (x^2 + 20 y^2) / 2: gradient by
#: hand, cost for autograd, where the paths start, their steps, and the rate of each optimizer.
SURFACES: Mapping[str, Mapping[str, Any]] = {
    "saddle": {
        "gradient": lambda w: np.array([w[0], w[1] ** 3 - w[1]]),
        "cost": lambda w: (w[0] ** 2 - w[1] ** 2) / 2 + w[1] ** 4 / 4,
        "start": (-1.6, 0.002),
        "steps": 80,
        "rates": {"gradient_descent": 0.1, "momentum": 0.1, "rmsprop": 0.03, "adam": 0.06},
    },
    "valley": {
        "gradient": lambda w: np.array([1.0, 20.0]) * w,
        "cost": lambda w: (w[0] ** 2 + 20 * w[1] ** 2) / 2,
        "start": (-4.0, 1.0),
        "steps": 60,
        "rates": {"gradient_descent": 0.095, "momentum": 0.095, "rmsprop": 0.08, "adam": 0.2},
    },
}


@demonstration("saddle", "four optimizers on a saddle and in a narrow valley")
def saddle() -> Iterator[Compared]:
    for surface, about in SURFACES.items():
        start, steps = np.array(about["start"]), about["steps"]
        for name, rate in about["rates"].items():
            rule = OPTIMIZERS[name](learning_rate=rate)
            path = minimize(about["gradient"], start, optimizer=rule, steps=steps)
            theirs = partial(their_optimizers.OPTIMIZERS[name], learning_rate=rate)
            reference = their_optimizers.minimize(
                about["cost"], torch.from_numpy(start), optimizer=theirs, steps=steps
            )
            yield Compared(f"{surface}, {name}", path, reference.numpy(), STEP)


RATE = 0.2
EPOCHS_SCHEDULED = 40
SCHEDULE_CHOICES: Mapping[str, Mapping[str, Any]] = {
    "constant": {},
    "inverse_time": {"decay": 0.1},
    "exponential": {"rate": 0.95},
    "natural_exponential": {"decay": 0.1},
    "inverse_square_root": {"k": 1.0},
    "interval_inverse_time": {"decay": 0.5, "interval": 8},
    "piecewise_constant": {"rates": ((11, 0.1), (21, 0.05), (31, 0.025))},
    "manual": {"rates": (0.2,) * 14 + (0.15,) * 12 + (0.03,) * 14},
}


@demonstration("schedules", "the learning rate under each of eight schedules")
def schedules() -> Iterator[Compared]:
    for name, choices in SCHEDULE_CHOICES.items():
        alpha = {} if name == "manual" else {"learning_rate": RATE}
        schedule = SCHEDULES[name](**alpha, **choices)
        rates = [schedule(t) for t in range(1, EPOCHS_SCHEDULED + 1)]
        optimizer = their_optimizers.gradient_descent([torch.zeros(1)], learning_rate=RATE)
        scheduler = THEIR_SCHEDULES[name](optimizer, **choices)
        references = []
        for t in range(EPOCHS_SCHEDULED):
            if t:
                optimizer.step()  # torch wants it before the scheduler's
                scheduler.step()
            references.append(optimizer.param_groups[0]["lr"])
        yield Compared(name, np.array(rates), np.array(references), FORWARD)


BETAS = (0.5, 0.9, 0.98)


@demonstration("moving-averages", "a year of temperatures averaged, with and without correction")
def averages() -> Iterator[Compared]:
    noise = np.random.default_rng(SEED).standard_normal(moving_averages.DAYS)
    x = moving_averages.temperatures(noise)
    their_x = their_moving_averages.temperatures(to_torch("noise", noise))
    yield Compared("temperatures", x, their_x.numpy(), FORWARD)
    for beta, correction in product(BETAS, (False, True)):
        v = moving_averages.moving_average(x, beta, correction)
        reference = their_moving_averages.moving_average(their_x, beta, correction)
        label = f"beta = {beta}, {'corrected' if correction else 'as it is'}"
        yield Compared(label, v, reference.numpy(), FORWARD)


DEEP = network.Network(layer_sizes=(64, *[64] * 11, 10), hidden="relu", output="softmax")
SCALES = ("small_normal", "xavier", "he", "large_normal")


@demonstration("layer-norms", "how activations and gradients vanish or explode with depth")
def layer_norms() -> Iterator[Compared]:
    """Yield the norms of each layer's activations, its db and its dW, for each initialization.

    db sums dZ over the examples and shows how gradients vanish on their way back; dW = dZ A^T / m
    is about as large in every layer, as A shrinks where dZ grows.
    """
    rng = np.random.default_rng(SEED)
    X, Y = rng.standard_normal((64, 100)), np.eye(10)[:, rng.integers(0, 10, 100)]
    for name in SCALES:
        parameters = initialize(DEEP.layer_sizes, name, np.random.default_rng(SEED))
        mine = network.layer_norms(parameters, X, Y, DEEP)
        other = their_network.layer_norms(twin(DEEP, parameters), rows(X), rows(Y))
        for what, letter in (("activations", "A"), ("db", "b"), ("dW", "W")):
            norms = [{**one.activations, **one.gradients} for one in (mine, other)]
            keys = [key for key in norms[0] if key[0] == letter]
            ours, theirs = (np.array([one[key] for key in keys]) for one in norms)
            # each layer by its own size: they span many decades
            yield Compared(f"{what}, {name}", ours, theirs, GRADIENT, gauge=theirs)


STEPS = 10.0 ** -np.arange(1, 13, 0.5)
CHECKED = network.Network(layer_sizes=(2, 5, 1), hidden="tanh")


@demonstration("gradient-check", "the error of difference quotients over their step")
def gradient_check() -> Iterator[Compared]:
    """Yield difference quotients and their relative errors over the step, two- and one-sided.

    Two nearly equal costs are subtracted and divided by the step, so J / step is the gauge.
    """
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((2, 50))
    Y = (X[:1] * X[1:] > 0).astype(float)
    parameters = initialize(CHECKED.layer_sizes, "xavier", rng)
    module, their_X, their_Y = twin(CHECKED, parameters), rows(X), rows(Y)
    J, gradients = network.cost_and_gradients(parameters, X, Y, CHECKED)
    norm, largest = np.linalg.norm(gradients.theta), np.abs(gradients.theta).max()
    for two_sided in (True, False):
        ours, theirs = [], []
        for step in STEPS:
            choices: dict[str, Any] = {"epsilon": float(step), "two_sided": two_sided}
            ours.append(gradient_checking.check_network(parameters, X, Y, CHECKED, **choices))
            theirs.append(
                their_gradient_checking.check_network(module, their_X, their_Y, **choices)
            )
        quotients = np.array([one.approximation.theta for one in ours])
        flat = [torch.cat([g.flatten() for g in one.approximation.values()]) for one in theirs]
        sides, gauge = "two-sided" if two_sided else "one-sided", float(J) / STEPS
        name, wide = f"difference quotients, {sides}", (gauge + largest)[:, None]
        yield Compared(name, quotients, torch.stack(flat).numpy(), GRADIENT, gauge=wide)
        errors, references = (np.array([one.difference for one in side]) for side in (ours, theirs))
        name = f"relative error, {sides}"
        yield Compared(name, errors, references, GRADIENT, gauge=gauge / norm + 1)


#: the steps after which trajectories are shown, as many as were taken.
SHOWN_STEPS = np.unique(np.geomspace(1, long_runs.STEPS, 240).round().astype(int))
EPOCHS = -(-long_runs.STEPS // long_runs.STEPS_AN_EPOCH)

#: the ReLU network walks so many steps, and meets a kink after a quarter of them.
STEPS_TO_THE_KINK = 2_000

#: beyond a kink nothing is claimed but that both sides still compute parameters of that size.
PARTED = Budget(name="after a kink", relative=1)


@demonstration(
    "trajectories", "how far both sides part in ten thousand steps, and at a kink", EPOCHS
)
def trajectories(epochs: int) -> Iterator[Compared]:
    """Yield the parameters along ten thousand steps of each optimizer, inside the growth bound.

    Then those of RMSprop with ReLUs before and after both sides meet a kink, and where that is.
    """
    steps = min(long_runs.STEPS, epochs * long_runs.STEPS_AN_EPOCH)
    shown = SHOWN_STEPS[steps >= SHOWN_STEPS]
    for name in OPTIMIZERS:
        both = long_runs.run_both(long_runs.sepals(name, steps=steps))
        yield _along(name, both.ours, both.theirs, both.bound, shown)
    steps = min(STEPS_TO_THE_KINK, steps)
    training = long_runs.sepals("rmsprop", hidden="relu", steps=steps)
    met = long_runs.kink(training, steps // 4)
    until = replace(training, steps=met.step - 1)
    bound = long_runs.Growth.of(long_runs.record(until), long_runs.nudged(until))
    ours = long_runs.record(training, edit=met.ours)
    theirs = long_runs.record_theirs(training, edit=met.theirs)
    before = SHOWN_STEPS[met.step - 1 > SHOWN_STEPS]
    after = SHOWN_STEPS[(met.step <= SHOWN_STEPS) & (steps >= SHOWN_STEPS)]
    yield _along("ReLU, before the kink", ours, theirs, bound, before)
    yield Compared("ReLU, after the kink", ours.theta[after], theirs.theta[after], PARTED)
    parting = long_runs.located(training, met)
    place = (0, 0, 0) if parting is None else (parting.step, parting.unit, parting.place[1])
    planted = (met.step, met.unit, met.example)
    yield Compared("step, unit and example", np.array(planted, float), np.array(place, float))


def _along(name: str, ours: Any, theirs: Any, bound: Any, shown: Any) -> Compared:
    gauge = bound.theta[shown][:, None] / long_runs.EPS
    return Compared(name, ours.theta[shown], theirs.theta[shown], TRAJECTORY, gauge)


#: numbers of training examples; points along each axis of the grid; the trials that zoom keeps;
#: draws on each scale.
SIZES = (20, 40, 80, 160, 320, 640, 1078)
PER_AXIS, KEPT, DRAWN = 5, 3, 60


def history(experiment: Experiment, data: Data, side: Any) -> Any:
    start = draw(replace(experiment, load=lambda: data), "float64")
    return side.set_up(start).walk().history


def equal_steps(experiment: Experiment, m: int) -> Experiment:
    """Return the training of m examples with as many steps as that of the largest number.

    With equal epochs few examples would mean few steps, and their errors would be undertraining.
    """
    most, batches = (-(-one // experiment.batch_size) for one in (SIZES[-1], m))
    return replace(experiment, epochs=max(1, round(experiment.epochs * most / batches)))


def _curves(experiment: Experiment, data: Data) -> Iterator[tuple[str, Array, Array]]:
    order = draw_order(data.train[0].shape[1], np.random.default_rng(SEED))
    costs: dict[Any, list[float]] = {scratch_side: [], torch_side: []}

    def fit(side: Any, train: Pair) -> tuple[float, float]:
        trained = equal_steps(experiment, train[0].shape[1])
        reached = history(trained, data._replace(train=train), side)
        costs[side].append(reached.dev_costs[-1])
        return 1 - reached.accuracies[-1], 1 - reached.dev_accuracies[-1]

    X, Y = data.train
    mine = diagnosis.learning_curves(lambda X, Y: fit(scratch_side, (X, Y)), X, Y, SIZES, order)
    other = their_diagnosis.learning_curves(
        lambda X, Y: fit(torch_side, (columns(X), columns(Y))), rows(X), rows(Y), SIZES, order
    )
    yield "train error", mine.train, other.train.numpy()
    yield "dev error", mine.dev, other.dev.numpy()
    yield "dev cost", np.array(costs[scratch_side]), np.array(costs[torch_side])


@demonstration("learning-curves", "train and dev error over the size of the training set", 40)
def learning_curves(epochs: int) -> Iterator[Compared]:
    """Yield train and dev errors over the size of the training set, and the dev costs.

    Every size takes as many steps as `epochs` of the largest one.
    """
    for name, learner in LEARNERS.items():
        for what, ours, theirs in _curves(replace(learner, epochs=epochs), learner.load()):
            yield Compared(f"{name}, {what}", ours, theirs)


class Searcher:
    """One side of a search: its points, what they cost, and the space it zooms into."""

    def __init__(self, side: Any, run: Any, epochs: int) -> None:
        self.side, self._run = side, run
        self._base, self._data = replace(SEARCHED, epochs=epochs), SEARCHED.load()
        self.space = {
            "learning_rate": side.LogUniform(low=1e-4, high=1.0),
            "l2": side.LogUniform(low=1e-3, high=1.0),
        }

    def _objective(self, point: Mapping[str, Any]) -> float:
        cost: float = history(replace(self._base, **point), self._data, self._run).dev_costs[-1]
        return cost

    @property
    def grid(self) -> Array:
        return _table(self.side.grid_points(self.space, PER_AXIS))

    @property
    def box(self) -> Array:
        return np.array([[scale.low, scale.high] for scale in self.space.values()])

    def round(self, U: Any) -> tuple[Array, Array]:
        trials = self.side.caviar(self._objective, self.side.sample_points(self.space, U))
        self.space = self.side.zoom(self.space, trials, KEPT)
        return _table([one.point for one in trials]), np.array([one.cost for one in trials])


def _table(points: list[dict[str, Any]]) -> Array:
    return np.array([list(point.values()) for point in points])


@demonstration("search", "search points on linear and log scales, coarse to fine", 20)
def search_points(epochs: int) -> Iterator[Compared]:
    """Yield draws on two scales, a grid, random points with their dev costs, and finer ones.

    What spans decades is measured value by value, each by its own size.
    """
    rng = np.random.default_rng(SEED)
    u = rng.random(DRAWN)
    for scale in ("Uniform", "LogUniform"):
        ours, theirs = (getattr(side, scale)(low=1e-4, high=1.0) for side in (search, their_search))
        reference = theirs.sample(torch.from_numpy(u)).numpy()
        name = f"learning rates, {scale}"
        yield Compared(name, ours.sample(u), reference, FORWARD, gauge=reference)
    mine = Searcher(search, scratch_side, epochs)
    other = Searcher(their_search, torch_side, epochs)
    yield Compared("grid", mine.grid, other.grid, FORWARD, gauge=other.grid)
    for name in ("coarse", "fine"):
        U = rng.random((2, PER_AXIS**2))
        points, costs = mine.round(U)
        reference, references = other.round(rows(U))
        yield Compared(f"{name} points", points, reference, FORWARD, gauge=reference)
        yield Compared(f"{name} dev costs", costs, references)
        box = f"box around the best {KEPT}, {name}"
        yield Compared(box, mine.box, other.box, FORWARD, gauge=other.box)
