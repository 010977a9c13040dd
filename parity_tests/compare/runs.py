"""Whole trainings on both sides, recorded after every step, and how far they may part by then.

Two runs of one training that round differently part as a perturbation grows along the trajectory.
How it grows is measured on a run of our own whose initial weights are an ulp away, so the bound
knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_iris

from parity_tests.compare.bridge import columns, load, rows, to_torch, unload
from parity_tests.compare.budgets import STEP, TRAJECTORY, WIDE
from parity_tests.compare.functions import assert_close
from parity_tests.compare.locate import Parting, ScratchRun, TorchRun, locate
from parity_tests.compare.measurement import Array, measure, verdict
from parity_tests.compare.training import TRAINING, Run
from parity_tests.compare.witnesses import cast
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders, partition
from scratch.network import Network, network_forward
from scratch.normalization import fit, normalize
from scratch.parameters import Parameters, from_vector
from torch_ref import optimizers as their_optimizers
from torch_ref.linear import linear

#: changes of parameters between two steps, by the number of the step before.
Edits = Mapping[int, Callable[[Parameters], None]]

EPS = float(np.finfo(np.float64).eps)

#: the optimizers' choices: rates at which sepals are learnt in some hundred steps.
RATES = {"gradient_descent": 0.3, "momentum": 0.3, "rmsprop": 0.003, "adam": 0.01}
CHOICES = {name: {"learning_rate": rate} for name, rate in RATES.items()}
STEPS = 10_000

#: batches of 8 of the 150 flowers, the last one of 6.
BATCH_SIZE, STEPS_AN_EPOCH = 8, 19

#: the optimizer's state is compared each time so many steps were taken, the parameters every time.
STATE_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Training:
    """Weights, batches and choices that both sides train with."""

    network: Network
    parameters: Parameters
    X: Array  # (n_x, m)
    Y: Array  # (n_y, m)
    orders: Sequence[Array]  # a permutation (m,) an epoch
    batch_size: int
    steps: int
    optimizer: str
    choices: Mapping[str, Any]

    def arguments(self, side: str) -> dict[str, Any]:
        """Return what a side's training loop takes, by name."""
        shared = ("network", "parameters", "X", "Y", "batch_size", "orders")
        same = {name: getattr(self, name) for name in shared}
        run = Run(**same, optimizer=(self.optimizer, self.choices), epochs=len(self.orders))
        return run.arguments(side)

    def batch(self, step: int) -> Array:
        """Return the examples that a step, counted from 1, is taken on."""
        epoch, number = divmod(step - 1, -(-self.X.shape[1] // self.batch_size))
        return np.asarray(partition(self.orders[epoch], self.batch_size)[number])


def sepals(
    optimizer: str, *, steps: int = STEPS, seed: int = 0, hidden: str = "tanh", **choices: Any
) -> Training:
    """Return the training of a small network on the iris flowers' sepals, length and width.

    Two of the three species overlap in them, so the gradients never drown in their round-off. The
    last batch of an epoch is a short one.
    """
    flowers = load_iris()
    X = columns(torch.from_numpy(flowers.data[:, :2]))
    Y = np.eye(3)[:, flowers.target]
    rng = np.random.default_rng(seed)
    network = Network(layer_sizes=(2, 5, 3), hidden=hidden, output="softmax")
    epochs = -(-steps // STEPS_AN_EPOCH)
    return Training(
        network=network,
        parameters=initialize(network.layer_sizes, "xavier", rng),
        X=normalize(X, fit(X)),
        Y=Y,
        orders=list(draw_orders(X.shape[1], epochs, rng)),
        batch_size=BATCH_SIZE,
        steps=steps,
        optimizer=optimizer,
        choices={**CHOICES[optimizer], **choices},
    )


class Recorded(NamedTuple):
    """One side's training: the parameters before and after every step, the state now and then."""

    theta: Array  # (steps + 1, N)
    state: dict[str, Array]  # {"v": (steps // STATE_EVERY, N), ...}


class _Watched:
    """An optimizer that lets its state be seen while a training loop holds it."""

    def __init__(self, rule: Any) -> None:
        self.rule, self.update = rule, rule.update
        self.state: Any = None

    def init(self, parameters: Parameters) -> Any:
        self.state = self.rule.init(parameters)
        return self.state


#: theta, which the steps overwrite, a look at the state, and a way to edit the parameters.
Watch = tuple[Array, Callable[[], Mapping[str, Any]], Callable[[Callable[..., None]], None]]


def _watch_ours(training: Training, given: dict[str, Any]) -> Watch:
    parameters, watched = given["parameters"], _Watched(given["optimizer"])
    given["optimizer"] = watched
    return parameters.theta, lambda: watched.state._asdict(), lambda edit: edit(parameters)


def _watch_theirs(training: Training, given: dict[str, Any]) -> Watch:
    """Lay the module's parameters side by side in one vector, for a step to be one copy."""
    module, optimizer = given["module"], given["optimizer"]
    tensors = list(module.parameters())
    theta = torch.cat([one.detach().flatten() for one in tensors])
    pieces = torch.split(theta, [one.numel() for one in tensors])
    for one, piece in zip(tensors, pieces, strict=True):
        one.data = piece.view(one.shape)
    read = getattr(their_optimizers, f"{training.optimizer}_state")

    def state() -> dict[str, Array]:
        return {name: one.numpy() for name, one in read(optimizer).items()}

    return theta.numpy(), state, partial(_edit, module)


def record(training: Training, *, edits: Edits | None = None, side: str = "scratch") -> Recorded:
    """Train one side, by hand unless told otherwise, and return the record."""
    given = training.arguments(side)
    watch = _watch_ours if side == "scratch" else _watch_theirs
    theta, state, edited = watch(training, given)
    thetas = np.empty((training.steps + 1, theta.size), theta.dtype)
    thetas[0] = theta
    states: dict[str, list[Array]] = {}
    number, steps = 0, TRAINING[side].training_steps(**given)
    for number, _ in enumerate(islice(steps, training.steps), start=1):
        if edits is not None and number in edits:
            edited(edits[number])
        thetas[number] = theta
        if number % STATE_EVERY == 0:
            for name, value in state().items():
                states.setdefault(name, []).append(np.array(value))
    if number < training.steps:
        raise ValueError(f"expected orders for {training.steps} steps, got {number}")
    return Recorded(thetas, {name: np.array(values) for name, values in states.items()})


record_theirs = partial(record, side="torch_ref")


def _edit(module: Any, edit: Callable[[Parameters], None]) -> None:
    values = unload(module)
    edit(values)
    load(module, values)


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
        state = {}
        for name, value in ours.state.items():
            if value.dtype.kind == "f":
                apart = _furthest(nearby.state[name] - value)
                largest = np.maximum.accumulate(np.abs(value).max(axis=1))
                at = runs[STATE_EVERY::STATE_EVERY]
                state[name] = at * apart + STEP.eps * EPS * largest
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
    name = training.optimizer
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
    """Return what stands where at the first step outside the bound, and on whose account."""
    training = both.training
    ours, theirs = both.ours.theta[step], both.theirs.theta[step]
    entry = int(np.abs(ours - theirs).argmax())
    allowed = both.bound.theta[step]
    message = (
        f"step {step}: {_entry_name(training.parameters, entry)} differs: ours {ours[entry]!r}, "
        f"theirs {theirs[entry]!r}, {both.apart[step]:.3g} apart, the growth bound allows "
        f"{allowed:.3g}"
    )
    if not WIDE:
        return message
    wider = {
        name: cast(getattr(training, name), np.longdouble) for name in ("parameters", "X", "Y")
    }
    wide = record(replace(training, steps=step, **wider)).theta[-1][entry]
    found = measure(ours[entry], theirs[entry], allowed / EPS)
    return f"{message}; {verdict(wide, 0.0, found, 1.0, 'the longdouble run', 'training')}"


def _entry_name(parameters: Parameters, entry: int) -> str:
    """Return the name of an entry of theta, as "W1[2, 0]"."""
    numbers = from_vector(np.arange(float(parameters.theta.size)), parameters)
    places = ((name, place) for name, one in numbers.items() for place in np.argwhere(one == entry))
    name, place = next(places)
    return f"{name}{place.tolist()}"


class Kink(NamedTuple):
    """A unit of the first layer that a step finds on the kink of its rectifier."""

    step: int  # the first one that is taken there
    unit: int
    example: int  # of that step's mini-batch
    ours: Edits
    theirs: Edits


#: number of steps that are searched for sums which the sides round differently.
SEARCHED = 50


def kink(training: Training, step: int) -> Kink:
    """Return edits after which both sides meet a kink, at `step` or soon after.

    They give both sides the same parameters, with the bias of a unit such that its Z = W x + b is 0
    on ours, where a rectifier is off, while torch, which adds the same terms up in another order,
    has some round-off above 0. Where it never has, its bias is given that much more.
    """
    last = min(step + SEARCHED, training.steps)
    thetas = record(replace(training, steps=last)).theta
    for number in range(step, last + 1):
        parameters = from_vector(thetas[number - 1], training.parameters)
        X, Y = (one[:, training.batch(number)] for one in (training.X, training.Y))
        # where most depends on it first: |dA| of the layer, but for 1/m
        A, _ = network_forward(X, parameters, training.network)
        pulled = np.abs(np.einsum("nu,nm->um", parameters["W2"], A - Y))
        for flat in np.argsort(-pulled, axis=None):
            unit, example = (int(one) for one in np.unravel_index(flat, pulled.shape))
            ours = parameters.copy()  # with a bias by which Z of the unit is 0 on our side
            ours["b1"][unit] = -(parameters["W1"] @ X)[unit, example]
            layer = (to_torch(name, ours[f"{name}1"]) for name in ("W", "b"))
            if columns(linear(rows(X), *layer))[unit, example] > 0:
                edits = {number - 1: partial(_overwrite, ours.theta)}
                return Kink(number, unit, example, edits, edits)
    above = ours.copy()
    above["b1"][unit] += 4 * EPS * (np.abs(ours["W1"][unit]) @ np.abs(X[:, example]))
    edits, theirs = ({number - 1: partial(_overwrite, one.theta)} for one in (ours, above))
    return Kink(number, unit, example, edits, theirs)


def _overwrite(theta: Array, parameters: Parameters) -> None:
    parameters.theta[:] = theta


def located(training: Training, met: Kink | None = None) -> Parting | None:
    """Walk both sides of a training in lockstep, on the way through a kink; return where they part.

    A ReLU network is the example: `locate` itself takes any two runs.
    """
    mine, other = (training.arguments(side) for side in TRAINING)
    module, read = other["module"], getattr(their_optimizers, f"{training.optimizer}_state")
    ours = ScratchRun(*(mine[name] for name in ("network", "parameters", "optimizer")))

    def batches() -> Iterator[tuple[Array, Array]]:
        for step in range(1, training.steps + 1):
            if met is not None and step == met.step:
                met.ours[step - 1](ours.parameters)
                _edit(module, met.theirs[step - 1])
            chosen = training.batch(step)
            yield training.X[:, chosen], training.Y[:, chosen]

    return locate(ours, TorchRun(module, other["optimizer"], state=read), batches())
