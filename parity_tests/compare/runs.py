"""Whole trainings on both sides, recorded after every step, and how far they may part by then.

Two runs of one training that round differently part as a perturbation grows along the trajectory.
How it grows is measured on a run of our own whose initial weights are an ulp away, so the bound
knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_iris

from parity_tests.compare.bridge import columns, load, unload
from parity_tests.compare.budgets import STEP, TRAJECTORY, WIDE
from parity_tests.compare.locate import Parting, ScratchRun, TorchRun, locate
from parity_tests.compare.measurement import Array, measure, verdict
from parity_tests.compare.quantities import assert_close
from parity_tests.compare.training import TRAINING, Run
from parity_tests.compare.witnesses import cast
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders, partition
from scratch.network import Network, network_forward
from scratch.normalization import fit, normalize
from scratch.parameters import Parameters, from_vector
from torch_ref import optimizers as their_optimizers

#: the number of a step, and a change of the parameters after it.
Edit = tuple[int, Callable[[Parameters], None]]

EPS = float(np.finfo(np.float64).eps)

#: rates at which sepals are learnt in some hundred steps.
RATES = {"gradient_descent": 0.3, "momentum": 0.3, "rmsprop": 0.003, "adam": 0.01}
STEPS = 10_000

#: batches of 8 of the 150 flowers, the last one of 6.
BATCH_SIZE, STEPS_AN_EPOCH = 8, 19

#: the optimizer's state is compared each time so many steps were taken, the parameters every time.
STATE_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Training(Run):
    """A run of so many steps, the last of its epochs perhaps not to its end."""

    steps: int

    def batch(self, step: int) -> Array:
        """Return the examples that a step, counted from 1, is taken on."""
        epoch, number = divmod(step - 1, -(-self.X.shape[1] // self.batch_size))
        return np.asarray(partition(self.orders[epoch], self.batch_size)[number])


def sepals(
    optimizer: str, *, steps: int = STEPS, seed: int = 0, hidden: str = "tanh", **choices: Any
) -> Training:
    """Return the training of a small network on the iris flowers' sepals, length and width.

    Two of the three species overlap in them, so the gradients never drown in their round-off.
    """
    flowers = load_iris()
    X = columns(torch.from_numpy(flowers.data[:, :2]))
    rng = np.random.default_rng(seed)
    network = Network(layer_sizes=(2, 5, 3), hidden=hidden, output="softmax")
    epochs = -(-steps // STEPS_AN_EPOCH)
    return Training(
        network=network,
        parameters=initialize(network.layer_sizes, "xavier", rng),
        X=normalize(X, fit(X)),
        Y=np.eye(3)[:, flowers.target],
        orders=list(draw_orders(X.shape[1], epochs, rng)),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        steps=steps,
        optimizer=(optimizer, {"learning_rate": RATES[optimizer], **choices}),
    )


class Recorded(NamedTuple):
    """One side's training: the parameters before and after every step, the state now and then."""

    theta: Array  # (steps + 1, N)
    state: dict[str, Array]  # {"v": (steps // STATE_EVERY, N), ...}


def _look(training: Training, given: dict[str, Any]) -> tuple[Callable[[], Any], ...]:
    """Return looks at the parameters of a side and at the state that its training loop holds."""
    if "module" in given:
        state = getattr(their_optimizers, f"{training.optimizer[0]}_state")
        return partial(unload, given["module"]), partial(state, given["optimizer"])
    rule, states = given["optimizer"], list[Any]()

    def init(parameters: Parameters) -> Any:
        states.append(rule.init(parameters))
        return states[0]

    given["optimizer"] = SimpleNamespace(init=init, update=rule.update)
    return lambda: given["parameters"], lambda: states[0]._asdict()


def record(training: Training, *, edit: Edit | None = None, side: str = "scratch") -> Recorded:
    """Train one side, by hand unless told otherwise, and return the record."""
    given = training.arguments(side)
    parameters, state = _look(training, given)
    thetas, states = [parameters().theta.copy()], dict[str, list[Array]]()
    steps = islice(TRAINING[side].training_steps(**given), training.steps)
    for number, _ in enumerate(steps, start=1):
        values = parameters()
        if edit is not None and number == edit[0]:
            edit[1](values)
            if "module" in given:
                load(given["module"], values)
        thetas.append(values.theta.copy())
        if number % STATE_EVERY == 0:
            for name, value in state().items():
                states.setdefault(name, []).append(np.asarray(value).copy())
    return Recorded(np.array(thetas), {name: np.array(values) for name, values in states.items()})


record_theirs = partial(record, side="torch_ref")


def nudged(training: Training) -> Recorded:
    """Train by hand from weights of which each is one ulp more or less, at random."""
    start = training.parameters.copy()
    ends = np.random.default_rng(1).choice([-np.inf, np.inf], start.theta.size)
    start.theta[:] = np.nextafter(start.theta, ends)
    return record(replace(training, parameters=start))


class Growth(NamedTuple):
    """Bound of the distance of two runs after each step, from runs of our own alone.

    A step rounds each parameter, on either side by half an ulp, and takes an update that the budget
    of optimizer steps lets be off by 64 eps of itself:

        local(s) = eps (max |theta| + 64 max |theta(s) - theta(s-1)|)

    From then on it grows as the distance of two runs that began an ulp apart has grown; where that
    shrinks, nothing is taken off: with G(t) = max over s <= t of that distance

        bound(t) = sum over s <= t of local(s) G(t) / G(s)

    which is the discrete Gronwall inequality, at most (1 + t) eps C G(t) / G(0). The state may be
    as far apart in proportion to its own G, and by STEP of its own round-off.
    """

    theta: Array  # (steps + 1,)
    state: dict[str, Array]  # (steps // STATE_EVERY,) of each array that is no count

    @classmethod
    def of(cls, ours: Recorded, nearby: Recorded) -> Growth:
        distance = _furthest(nearby.theta - ours.theta)
        size = np.abs(ours.theta).max(axis=1)
        moved = np.abs(np.diff(ours.theta, axis=0)).max(axis=1)
        local = EPS * (np.maximum(size[1:], size[:-1]) + STEP.eps * moved)
        # so many runs an ulp apart would be as far apart as all the steps' errors together
        runs = np.concatenate([[0.0], np.cumsum(local / distance[1:])])
        state = {
            name: runs[STATE_EVERY::STATE_EVERY] * _furthest(nearby.state[name] - value)
            + STEP.eps * EPS * _furthest(value)
            for name, value in ours.state.items()
            if value.dtype.kind == "f"
        }
        return cls(runs * distance, state)


def _furthest(differences: Array) -> Array:
    return np.asarray(np.maximum.accumulate(np.abs(differences).max(axis=1)))


class Trajectories(NamedTuple):
    """Both sides of a training, and how far apart they may be."""

    training: Training
    ours: Recorded
    theirs: Recorded
    bound: Growth

    @property
    def apart(self) -> Array:
        """The largest difference of a parameter after each step, (steps + 1,)."""
        return np.asarray(np.abs(self.ours.theta - self.theirs.theta).max(axis=1))


def run_both(training: Training, theirs: Training | None = None) -> Trajectories:
    """Train both sides, torch on `theirs` where that is another training, and bound the growth."""
    ours = record(training)
    bound = Growth.of(ours, nudged(training))
    return Trajectories(training, ours, record_theirs(theirs or training), bound)


def assert_inside(both: Trajectories) -> None:
    """Raise AssertionError unless the sides stay inside the growth bound after every step.

    The first breach is named by step and entry, and a longdouble run says which side is wrong. A
    bound that a hundredth of the parameters drowns in proves nothing and is refused.
    """
    training, ours, theirs, bound = both
    outside = np.flatnonzero(~(both.apart <= bound.theta))
    if outside.size:
        raise AssertionError(_breach(both, int(outside[0])))
    if ours.state.keys() != theirs.state.keys():
        raise AssertionError(f"state: ours has {[*ours.state]}, theirs {[*theirs.state]}")
    name = training.optimizer[0]
    held = {"parameters": (ours.theta, theirs.theta, bound.theta)}
    for key, value in ours.state.items():
        if key in bound.state:
            held[key] = value, theirs.state[key], bound.state[key]
        elif not np.array_equal(value, theirs.state[key]):
            raise AssertionError(f"{key} of {name} is not the number of steps on both sides")
    for key, (mine, other, apart) in held.items():
        quantity, gauge = f"{key} over {training.steps:,} steps of {name}", apart[:, None] / EPS
        assert_close(mine, other, quantity, budget=TRAJECTORY, gauge=gauge)


def _breach(both: Trajectories, step: int) -> str:
    """Return the first step and entry outside the bound, the numbers there, and whose they are."""
    training, allowed = both.training, both.bound.theta[step]
    ours, theirs = both.ours.theta[step], both.theirs.theta[step]
    entry = int(np.abs(ours - theirs).argmax())
    numbers = from_vector(np.arange(float(ours.size)), training.parameters)
    name = next(name for name, one in numbers.items() if entry in one)
    message = (
        f"step {step}: {name}{np.argwhere(numbers[name] == entry)[0].tolist()} differs: ours "
        f"{ours[entry]!r}, theirs {theirs[entry]!r}, {both.apart[step]:.3g} apart, the growth "
        f"bound allows {allowed:.3g}"
    )
    if not WIDE:
        return message
    arrays = {one: getattr(training, one) for one in ("parameters", "X", "Y")}
    wide = record(replace(training, steps=step, **cast(arrays, np.longdouble))).theta[-1][entry]
    found = measure(ours[entry], theirs[entry], allowed / EPS)
    return f"{message}; {verdict(wide, 0.0, found, 1.0, 'the longdouble run', 'training')}"


class Kink(NamedTuple):
    """A unit of the first layer that a step finds on the kink of its rectifier."""

    step: int
    unit: int
    example: int  # of the step's mini-batch
    ours: Edit
    theirs: Edit


def kink(training: Training, step: int) -> Kink:
    """Return edits after which both sides meet a kink at a step.

    They give ours the bias of a unit by which its Z = W x + b is 0, where a rectifier is off, and
    torch a bias that is more by some round-off.
    """
    theta = record(replace(training, steps=step - 1)).theta[-1]
    parameters = from_vector(theta, training.parameters)
    X, Y = (one[:, training.batch(step)] for one in (training.X, training.Y))
    # where most depends on it: |dA| of the layer, but for 1/m
    A, _ = network_forward(X, parameters, training.network)
    pulled = np.abs(np.einsum("nu,nm->um", parameters["W2"], A - Y))
    unit, example = (int(one) for one in np.unravel_index(pulled.argmax(), pulled.shape))
    W, x = parameters["W1"], X[:, example]
    bias = -(W @ X)[unit, example]
    above = bias + 4 * EPS * (np.abs(W[unit]) @ np.abs(x))

    def edit(bias: float) -> Edit:
        changed = parameters.copy()
        changed["b1"][unit] = bias
        return step - 1, lambda parameters: np.copyto(parameters.theta, changed.theta)

    return Kink(step, unit, example, edit(bias), edit(above))


def located(training: Training, met: Kink | None = None) -> Parting | None:
    """Walk both sides of a training in lockstep, perhaps through a kink; return where they part."""
    mine, other = (training.arguments(side) for side in TRAINING)
    module, (name, _) = other["module"], training.optimizer
    ours = ScratchRun(*(mine[one] for one in ("network", "parameters", "optimizer")))
    theirs = TorchRun(module, other["optimizer"], state=getattr(their_optimizers, f"{name}_state"))

    def batches() -> Iterator[tuple[Array, Array]]:
        for step in range(1, training.steps + 1):
            if met is not None and step == met.step:
                met.ours[1](ours.parameters)
                values = unload(module)
                met.theirs[1](values)
                load(module, values)
            chosen = training.batch(step)
            yield training.X[:, chosen], training.Y[:, chosen]

    return locate(ours, theirs, batches())
