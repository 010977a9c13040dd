"""Two optimizers on the same injected gradients, compared after every step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from parity_tests.compare import validation
from parity_tests.compare.bridge import AS_IT_IS
from parity_tests.compare.budgets import FLOAT32_STEP, STEP, WIDE, Budget
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import MARGIN, Array, ProvesNothingError, errors_of
from parity_tests.compare.quantities import Quantity, Witness, assert_no_worse, hold
from parity_tests.compare.witnesses import cast
from scratch._validation import describe, validated
from scratch.optimizers import Optimizer
from scratch.parameters import Parameters

#: the wider path.
RULE: Witness = ("our rule in longdouble", "rule")

#: makes a torch optimizer of tensors; reads its state by our names.
Maker = Callable[[list[torch.Tensor]], torch.optim.Optimizer]
Reader = Callable[[torch.optim.Optimizer], Mapping[str, torch.Tensor]]

#: a quantity by name, one row a step.
Paths = Mapping[str, Array]


def draw_gradients(shape: Any, rng: np.random.Generator, scales: Array) -> Array:
    """Draw a gradient whose entries are about 1, about 1e-8 where epsilon shows, or exactly 0."""
    return np.asarray(rng.standard_normal(shape) * scales)


def walk(
    rule: Optimizer, parameters: Mapping[str, Array], gradients: Array, *, steps_taken: int = 0
) -> Paths:
    """Return theta and every named array of the state of one of our rules after each step.

    `gradients` (steps, N) are injected; a state with a count t begins at `steps_taken`.
    """
    rule = copy.deepcopy(rule)  # it may hold time, as one that follows a schedule does
    moved = Parameters(parameters)
    handed, state = moved.zeros_like(), rule.init(moved)
    if steps_taken:
        state.t[...] = steps_taken
    path: dict[str, list[Array]] = {}
    for step, gradient in enumerate(gradients, start=1):
        handed.theta[:] = gradient
        rule.update(moved, handed, state)
        if not np.array_equal(gradient, handed.theta):
            raise AssertionError(f"step {step}: the gradients were modified in place")
        arrays = state._asdict() if hasattr(state, "_asdict") else {}
        for name, array in {"theta": moved.theta, **arrays}.items():
            path.setdefault(name, []).append(np.copy(array))
    return {name: np.array(values) for name, values in path.items()}


def torch_walk(
    make: Maker, parameters: Mapping[str, Array], gradients: Array, state: Reader | None = None, *,
    steps_taken: int = 0, device: str = "cpu",
) -> Paths:  # fmt: skip
    """Return theta and the state, by our names, of an optimizer of torch's after each step."""
    tensors = [
        AS_IT_IS.to_torch(name, array, device).requires_grad_()
        for name, array in parameters.items()
    ]
    optimizer = make(tensors)
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "step", None)):
        got = describe(optimizer)
        raise TypeError(f"expected theirs to make an optimizer with a step, got {got}")
    if steps_taken:  # all on gradients of zero
        for tensor in tensors:
            tensor.grad = torch.zeros_like(tensor)
        optimizer.step()
        for entry in optimizer.state.values():  # a count in float32 stands still from 2**24 on
            entry["step"] = torch.full_like(entry["step"], steps_taken, dtype=torch.float64)
    sizes = [tensor.numel() for tensor in tensors]
    handed = AS_IT_IS.to_torch("gradients", gradients, device)
    path: dict[str, list[Array]] = {}
    for gradient in handed.to(tensors[0].dtype):
        for tensor, piece in zip(tensors, gradient.split(sizes), strict=True):
            tensor.grad = piece.clone().view_as(tensor)
        optimizer.step()
        theta = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        for name, value in {"theta": theta, **(state(optimizer) if state else {})}.items():
            path.setdefault(name, []).append(value.detach().cpu().numpy().copy())
    return {name: np.array(values) for name, values in path.items()}


@validated(**validation.TRAJECTORY)
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
    """Hold a rule to a torch optimizer after every step on the same injected gradients.

    A third of the gradients' entries is about 1e-8, where epsilon shows, and a sixth exactly 0. In
    float64 both sides are held to our rule in longdouble as well, in float32 to torch in float64:
    after each step ours may err twice as much as torch has so far, plus `float32_floor`.

    Args:
        ours: has `init(parameters) -> state`, a NamedTuple of arrays or None, and
            `update(parameters, gradients, state)`, which overwrites parameters and state:
            `Parameters`, with all entries in one vector `theta`.
        theirs: makes a torch optimizer of a list of tensors.
        parameters: arrays by name, all float32 or all float64.
        rng: draws the gradients; a generator or a seed.
        state: reads torch's state by our names; without it parameters alone are compared, and a
            state without effect on these gradients is not seen.
        steps: how many are taken.
        groups: cuts theta into as many equal runs, independent draws side by side.
        budget: how far both sides may be apart, a `Budget` or a number of eps of the largest entry
            of each tensor so far.
        float32_floor: eps that ours may err in float32 beside twice what torch does.
        device: where torch computes.
        widest: `np.float64` leaves out longdouble, for a rule that does not know it.

    Raises:
        AssertionError: another parameter or state; the message has the step, the place, both values
            and the guilty side.
        ProvesNothingError: an AssertionError, for a case that any rule passes.
        TypeError: arguments that cannot be compared.
        ValueError: the same, for the right type.

    Example:
        >>> import numpy as np, torch
        >>> from parity_tests import assert_same_trajectory
        >>> class Momentum:
        ...     def init(self, parameters):
        ...         return np.zeros_like(parameters.theta)
        ...     def update(self, parameters, gradients, v):
        ...         v[:] = 0.9 * v + gradients.theta
        ...         parameters.theta[:] -= 0.01 * v
        >>> def made(tensors):
        ...     return torch.optim.SGD(tensors, lr=0.01, momentum=0.9)
        >>> parameters = {"weight": np.ones((4, 3)), "bias": np.ones(4)}
        >>> assert_same_trajectory(Momentum(), made, parameters, 0)
    """
    rng = np.random.default_rng(rng)
    budget = validation.as_budget("budget", budget, "step")
    float32_floor = validation.as_budget("float32_floor", float32_floor, "step")
    start = Parameters({name: np.copy(array) for name, array in parameters.items()})
    dtype, size = start.theta.dtype, start.theta.size
    LEDGER.device = device
    memory = copy.deepcopy(ours).init(start.copy())
    if state and not hasattr(memory, "_fields") and memory is not None:
        raise AssertionError(f"our state {memory!r} is no NamedTuple: nothing can be compared")
    if any(view.size % groups for view in start.values()) or size // groups < 6:
        raise AssertionError(
            f"{size} entries in {groups} groups leave no room for tiny gradients: it proves nothing"
        )
    kinds = np.resize([1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0], size // groups)
    scales = rng.permuted(np.tile(kinds, (groups, 1)), axis=1).ravel()
    drawn = draw_gradients((steps, size), rng, scales).astype(dtype)
    mine, other = walk(ours, start, drawn), torch_walk(theirs, start, drawn, state, device=device)
    wider: dict[str, Any] = {}  # torch in float64, or our rule in longdouble
    narrow = dtype == np.float32
    if narrow:
        double = cast(start, np.float64), drawn.astype(np.float64)
        wider = dict(torch_walk(theirs, *double, state, device=device))
    elif WIDE and widest is not np.float64:
        wider = dict(walk(ours, cast(start, np.longdouble), drawn))
    if missing := [name for name in other if name not in mine]:
        raise AssertionError(f"our state has no {', '.join(missing)}: {memory}")
    if state and (unheld := mine.keys() - other.keys()):
        raise AssertionError(f"state {sorted(unheld)} is held against nothing")
    thetas = (wider if narrow else other)["theta"]
    if np.abs(thetas[-1] - thetas[0]).max() <= MARGIN * budget.eps * np.finfo(dtype).eps:
        raise ProvesNothingError("no parameter moved: the case proves nothing")
    # each tensor has its own gauge, and so has each of the groups that a tensor is cut into
    runs = [view.size // groups for view in start.values() for _ in range(groups)]
    breaches = []
    for name, path in other.items():
        if mine[name].dtype.kind in "iu":  # a count, which torch has in float32
            if not np.array_equal(mine[name], path):
                raise AssertionError(f"{name} is {mine[name].tolist()}, not {path.tolist()}")
            continue
        gauge = _gauge(wider[name] if narrow else path, runs)
        allowed = float32_floor if narrow else budget
        held = Quantity(mine[name], path, gauge, allowed, wider.get(name))
        breaches.append((_exceed if narrow else _part)(name, held))
    if found := [breach for breach in breaches if breach is not None]:
        step, message = min(found)
        raise AssertionError(f"step {step}: {message}")


def _gauge(reference: Array, runs: list[int]) -> Array:
    """Return the largest entry of each run so far, whose round-off a value keeps."""
    starts = np.cumsum([0, *runs[:-1]])
    largest = np.maximum.reduceat(np.abs(reference), starts, axis=1)
    return np.repeat(np.maximum.accumulate(largest, axis=0), runs, axis=1)


def _part(name: str, path: Quantity) -> tuple[int, str] | None:
    """Record a quantity over all steps; return the first step at which a budget is exceeded."""
    try:
        hold(f"{name} over {len(path.ours)} steps", path, witness=RULE)
    except AssertionError:
        for step in range(len(path.ours)):
            try:
                hold(name, _at(path, step), witness=RULE, quiet=True)
            except AssertionError as error:
                return step + 1, str(error)
        raise
    return None


def _at(path: Quantity, steps: Any) -> Quantity:
    """Return a quantity at one step or at some."""
    arrays = ("ours", "theirs", "gauge", "wider")
    found = {one: getattr(path, one) for one in arrays if getattr(path, one) is not None}
    cut: dict[str, Any] = {name: one[steps] for name, one in found.items()}
    return path._replace(**cut)


def _exceed(name: str, path: Quantity) -> tuple[int, str] | None:
    """Record a float32 quantity; return the first step at which ours errs too much."""
    ours, theirs, gauge, floor, exact = path
    scale = float(np.finfo(np.float32).eps) * gauge
    mine, other = (errors_of(side, exact, scale).max(axis=1) for side in (ours, theirs))
    exceeded = ~(mine <= 2 * np.maximum.accumulate(other) + floor.eps)
    last = int(exceeded.argmax()) + 1 if exceeded.any() else len(ours)
    quantity = name if exceeded.any() else f"{name} over {last} steps"
    ours, theirs, gauge, floor, exact = _at(path, slice(last))
    try:
        assert_no_worse(ours, theirs, exact, quantity, gauge, floor)
    except ProvesNothingError:
        raise
    except AssertionError as error:
        return last, str(error)
    return None
