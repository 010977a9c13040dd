"""Two optimizers on the same injected gradients, compared after every step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from parity_tests.compare.bridge import AS_IT_IS
from parity_tests.compare.budgets import FLOAT32_STEP, STEP, WIDE, Budget
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import (
    MARGIN,
    OWN_MARGIN,
    Array,
    ProvesNothingError,
    apart,
    hold_both,
    measure,
    record,
    untrue,
    verdict,
    worse,
)
from parity_tests.compare.validation import (
    admit_budget,
    admit_device,
    admit_inputs,
    admit_optimizer,
    admit_rng,
    admit_whole,
    refuse_functions,
)
from scratch.optimizers import Optimizer
from scratch.parameters import Parameters

#: what the wider path is called in messages.
RUN = "our rule in longdouble"

#: makes a torch optimizer of tensors; reads its state by our names.
Maker = Callable[[list[torch.Tensor]], torch.optim.Optimizer]
Reader = Callable[[torch.optim.Optimizer], Mapping[str, torch.Tensor]]

#: a quantity by name, step by step.
Path = dict[str, list[Array]]

#: the number of a step and what is wrong there.
Breach = tuple[int, str]


def draw_gradients(shape: Any, rng: np.random.Generator, scales: Array) -> Array:
    """Draw a gradient whose entries are about 1, about 1e-8 where epsilon shows, or exactly 0."""
    return np.asarray(rng.standard_normal(shape) * scales)


class _Ours:
    """A rule of ours on parameters of one dtype, and the path it takes."""

    def __init__(self, rule: Optimizer, parameters: Parameters, dtype: Any) -> None:
        self.rule = copy.deepcopy(rule)  # it may hold time, as one that follows a schedule does
        self.parameters = Parameters.empty(parameters.shapes, dtype)
        self.parameters.theta[:] = parameters.theta
        self.gradients = self.parameters.zeros_like()
        self.memory = self.rule.init(self.parameters)
        self.path: Path = {}

    def step(self, drawn: Array) -> None:
        """Take a step and write down theta and every array of the state."""
        self.gradients.theta[:] = drawn
        self.rule.update(self.parameters, self.gradients, self.memory)
        state = self.memory._asdict() if hasattr(self.memory, "_asdict") else {}
        for name, array in {"theta": self.parameters.theta, **state}.items():
            self.path.setdefault(name, []).append(np.copy(array))


class _Theirs:
    """A torch optimizer on tensors of one dtype, and the path it takes."""

    def __init__(
        self, make: Maker, state: Reader | None, parameters: Parameters, dtype: Any, device: str
    ) -> None:
        self.tensors = {
            name: AS_IT_IS.to_torch(name, array.astype(dtype), device).requires_grad_()
            for name, array in parameters.items()
        }
        self.optimizer = admit_optimizer(make(list(self.tensors.values())))
        self.state, self.dtype, self.device = state, dtype, device
        self.path: Path = {}

    def step(self, gradients: Parameters) -> None:
        """Take a step and write down theta and every tensor of the state."""
        for name, tensor in self.tensors.items():
            tensor.grad = AS_IT_IS.to_torch(name, gradients[name].astype(self.dtype), self.device)
        self.optimizer.step()
        theta = torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors.values()])
        state = self.state(self.optimizer) if self.state else {}
        for name, tensor in {"theta": theta, **state}.items():
            self.path.setdefault(name, []).append(tensor.detach().cpu().numpy().copy())


def assert_same_trajectory(
    ours: Optimizer,
    theirs: Maker,
    parameters: Mapping[str, Array],
    rng: np.random.Generator | int,
    *,
    state: Reader | None = None,
    steps: int = 200,
    groups: int = 1,
    budget: Budget | float = STEP,
    float32_floor: Budget | float = FLOAT32_STEP,
    device: str = "cpu",
    widest: Any = np.longdouble,
) -> None:
    """Raise AssertionError unless two optimizers agree after every step on the same gradients.

    `ours` has `init(parameters) -> state`, a NamedTuple of arrays or None, and `update(parameters,
    gradients, state)`, which overwrites parameters and state: `Parameters`, with all entries in one
    vector `theta`. `theirs` makes a torch optimizer for a list of tensors; `state` reads its state
    by our names, and without it parameters alone are compared: a state that goes wrong late, or
    without effect on these gradients, is not seen.
    Gradients are injected, a third of the entries about 1e-8 and a sixth exactly 0. Parameters and
    every named array of the state are compared after each step. `groups` cuts theta into as many
    equal runs, independent draws side by side, each held to a gauge of its own.

    The third witness is our rule in longdouble, to which both sides are held as well;
    `widest=np.float64` leaves it out, for a rule that knows no longdouble. In float32
    both are held against torch in float64 instead: after each step ours may err twice as much as
    torch has so far, plus `float32_floor`. Raises TypeError or ValueError for arguments that cannot
    be compared.
    """
    if not all(callable(getattr(ours, one, None)) for one in ("init", "update")):
        raise TypeError(f"expected ours to have init and update, got {type(ours).__name__}")
    refuse_functions(theirs=theirs)
    parameters, rng, device = admit_inputs(parameters), admit_rng(rng), admit_device(device)
    steps, groups = admit_whole("steps", steps), admit_whole("groups", groups)
    budget = admit_budget("budget", budget, "step")
    float32_floor = admit_budget("float32_floor", float32_floor, "step")
    start = Parameters({name: np.copy(array) for name, array in parameters.items()})
    dtype, size = start.theta.dtype, start.theta.size
    LEDGER.device = device
    mine = _Ours(ours, start, dtype)
    if state and not hasattr(mine.memory, "_fields") and mine.memory is not None:
        raise AssertionError(f"our state {mine.memory!r} is no NamedTuple: nothing can be compared")
    if any(view.size % groups for view in start.values()) or size // groups < 6:
        raise AssertionError(
            f"{size} entries in {groups} groups leave no room for tiny gradients: it proves nothing"
        )
    other = _Theirs(theirs, state, start, dtype, device)
    oracle = _Theirs(theirs, state, start, np.float64, device) if dtype == np.float32 else None
    wider = (
        _Ours(ours, start, np.longdouble)
        if WIDE and dtype == np.float64 and widest is not np.float64
        else None
    )
    kinds = np.resize([1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0], size // groups)
    scales = rng.permuted(np.tile(kinds, (groups, 1)), axis=1).ravel()
    for step in range(1, steps + 1):
        drawn = draw_gradients(size, rng, scales).astype(dtype)
        mine.step(drawn)
        if not np.array_equal(drawn, mine.gradients.theta):
            raise AssertionError(f"step {step}: the gradients were modified in place")
        other.step(mine.gradients)
        if oracle is not None:
            oracle.step(mine.gradients)
        if wider is not None:
            wider.step(drawn)
    for name in other.path:
        if name not in mine.path:
            raise AssertionError(f"our state has no {name}: {mine.memory}")
    unheld = mine.path.keys() - other.path.keys()
    if unheld and state:
        raise AssertionError(f"state {sorted(unheld)} is held against nothing")
    thetas = (oracle or other).path["theta"]
    if np.abs(thetas[-1] - thetas[0]).max() <= MARGIN * budget.eps * np.finfo(dtype).eps:
        raise ProvesNothingError("no parameter moved: the case proves nothing")
    sizes = [view.size for view in start.values()]
    # each tensor has its own gauge, and so has each of the groups that a tensor is cut into
    runs = [size // groups for size in sizes for _ in range(groups)]
    truth = {} if wider is None else wider.path
    if oracle is None:
        breaches = [
            _part(name, mine.path[name], other.path[name], truth.get(name), runs, budget)
            for name in other.path
        ]
    else:
        breaches = [
            _exceed(name, mine.path[name], other.path[name], oracle.path[name], runs, float32_floor)
            for name in other.path
        ]
    found = [breach for breach in breaches if breach is not None]
    if found:
        step, message = min(found)
        raise AssertionError(f"step {step}: {message}")


def _gauge(reference: Array, runs: list[int]) -> Array:
    """Return the largest entry of each run so far, whose round-off a value keeps."""
    starts = np.cumsum([0, *runs[:-1]])
    largest = np.maximum.reduceat(np.abs(reference), starts, axis=1)
    return np.repeat(np.maximum.accumulate(largest, axis=0), runs, axis=1)


def _stacked(name: str, ours: list[Array], theirs: list[Array]) -> tuple[Array, Array] | None:
    """Return both paths as arrays (steps, N), None for counts, which must be equal."""
    mine, other = np.array(ours), np.array(theirs)
    if mine.dtype.kind in "iu":  # torch counts steps in float32
        if mine.shape != other.shape or not np.array_equal(mine, other):
            raise AssertionError(f"{name} is {mine.tolist()}, not {other.tolist()}")
        return None
    if mine.shape != other.shape or not np.isfinite(other).all():
        raise AssertionError(f"{name}: shapes {mine.shape}, {other.shape}, or not finite")
    if mine.dtype != other.dtype:
        raise AssertionError(f"{name}: dtypes differ, ours {mine.dtype}, theirs {other.dtype}")
    return mine, other


def _part(
    name: str,
    ours: list[Array],
    theirs: list[Array],
    wider: list[Array] | None,
    runs: list[int],
    budget: Budget,
) -> Breach | None:
    """Record a quantity over all steps; return the first step at which a budget is exceeded."""
    stacked = _stacked(name, ours, theirs)
    if stacked is None:
        return None
    mine, other = stacked
    third, truth, gauge = None, None, _gauge(other, runs)
    if wider is not None:
        third = np.array(wider)
        if third.dtype != np.longdouble or third.shape != mine.shape:
            raise AssertionError(f"{name}: {RUN} keeps it in {third.dtype}: it is no witness")
        truth = hold_both(mine, other, third, gauge)
    allowed, found = budget.in_eps(float(np.finfo(mine.dtype).eps)), measure(mine, other, gauge)
    quantity = f"{name} over {len(mine)} steps"
    record(quantity, mine.dtype, found, allowed, budget.name, truth, budget.kind)
    if all(one.error <= allowed for one in (found, *(truth or ()))):
        return None
    for step, (one, two, size) in enumerate(zip(mine, other, gauge, strict=True)):
        found = measure(one, two, size)
        if not found.error <= allowed:
            message = apart(name, found, allowed, budget.name)
            if third is not None:
                message += (
                    f"; {verdict(third[step][found.place], 0.0, found, allowed, RUN, 'rule')}"
                )
            return step + 1, message
        if third is not None:
            message = untrue(
                name, hold_both(one, two, third[step], size), allowed, budget.name, RUN
            )
            if message:
                return step + 1, message
    raise AssertionError(f"{name}: the steps and the whole are measured differently")


def _exceed(
    name: str,
    ours: list[Array],
    theirs: list[Array],
    oracle: list[Array],
    runs: list[int],
    floor: Budget,
) -> Breach | None:
    """Record a float32 quantity; return the first step at which ours errs too much."""
    stacked = _stacked(name, ours, theirs)
    if stacked is None:
        return None
    exact, eps = np.array(oracle), float(np.finfo(np.float32).eps)
    gauge = _gauge(exact, runs)
    with np.errstate(invalid="ignore"):  # what never moved from zero
        mine, other = (
            np.where(side == exact, 0, np.abs(side - exact) / (eps * gauge)).max(axis=1)
            for side in stacked
        )
    allowed = 2 * np.maximum.accumulate(other) + floor.eps
    if not OWN_MARGIN * allowed.max() * eps < 1:
        raise ProvesNothingError(
            f"{name} drowns in a tolerance of {allowed.max():.4g} eps: the case proves nothing"
        )
    exceeded = ~(mine <= allowed)
    step = int(exceeded.argmax() if exceeded.any() else (mine / allowed).argmax())
    truth = hold_both(stacked[0][step], stacked[1][step], exact[step], gauge[step])
    quantity = f"{name} over {len(mine)} steps"
    tolerated = float(allowed[step])
    record(quantity, np.dtype(np.float32), truth.ours, tolerated, floor.name, truth, floor.kind)
    if not exceeded.any():
        return None
    return step + 1, worse(name, truth, stacked[1][step], tolerated, floor.name)
