"""Comparisons that cannot be fooled: strict shapes and dtypes, a ruler in eps, no empty proofs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from parity_tests.bridge import to_numpy, to_torch
from parity_tests.budgets import (
    DIFFERENCE_STENCIL,
    DIFFERENCE_STEP,
    FINITE_DIFFERENCE,
    FLOAT32_FLOOR,
    FORWARD,
    GRADIENT,
    STEP,
    Budget,
)
from parity_tests.ledger import LEDGER, Entry
from scratch.optimizers import Optimizer
from scratch.parameters import Parameters

Array = NDArray[Any]
Gauges = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

#: a value proves something when it is so many times larger than the tolerance it is held to.
MARGIN = 100

#: the same where the reference is its own gauge: a tolerance of a few percent, as statistics need,
#: still tells a factor of 2 or a forgotten 1/m.
OWN_MARGIN = 10


class Measurement(NamedTuple):
    """How far two arrays are apart, where most, and what stands there."""

    error: float  # max |ours - theirs| / (eps gauge)
    place: tuple[int, ...]
    ours: Any
    theirs: Any
    ulp: float  # at that index


def measure(ours: Any, theirs: Any, gauge: Any = None, eps: float | None = None) -> Measurement:
    """Return max|ours - theirs| / (eps * gauge), by default with the eps of `ours`.

    The gauge is max|theirs| or, where there is cancellation, an array that bounds what was summed.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    eps = float(np.finfo(ours.dtype).eps) if eps is None else eps
    wide_ours, wide_theirs = ours.astype(np.longdouble), theirs.astype(np.longdouble)
    gauge = np.abs(wide_theirs).max() if gauge is None else np.asarray(gauge, np.longdouble)
    with np.errstate(invalid="ignore"):
        distance = np.abs(wide_ours - wide_theirs)
    scale = np.broadcast_to(eps * gauge, distance.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(distance == 0, 0, distance / scale)
    # NaN or infinity on either side, or in the gauge, is as far apart as can be
    errors = np.where(np.isfinite(distance) & np.isfinite(scale), errors, np.inf)
    index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
    with np.errstate(over="ignore"):  # next to 0, one unit in the last place is the smallest float
        ulp = distance[index] / np.spacing(np.abs(theirs[index]))
    return Measurement(float(errors[index]), index, ours[index], theirs[index], float(ulp))


def assert_close(
    ours: Any,
    theirs: Any,
    quantity: str,
    *,
    budget: Budget = FORWARD,
    gauge: Any = None,
    expect_zero: bool = False,
    witness: Callable[[tuple[int, ...]], Any] | None = None,
    witness_name: str = "a wider run of ours",
) -> float:
    """Raise AssertionError unless ours is theirs, within the budget; return the error in eps.

    Shapes and dtypes must be equal, the reference finite and large enough to prove something: a
    reference of zeros needs `expect_zero`, and then ours must be exactly zero. `witness` gives a
    third value at an index, to say which side is wrong.
    """
    if (
        not isinstance(ours, np.ndarray | np.floating)
        or isinstance(ours, np.ma.MaskedArray | np.matrix)
        or ours.dtype.kind != "f"
        or not ours.size
    ):
        raise AssertionError(f"{quantity}: ours is {type(ours).__name__} {ours!r}, no floats")
    theirs = np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise AssertionError(f"{quantity}: shapes differ, ours {ours.shape}, theirs {theirs.shape}")
    if ours.dtype != theirs.dtype:
        raise AssertionError(f"{quantity}: dtypes differ, ours {ours.dtype}, theirs {theirs.dtype}")
    if not np.isfinite(theirs).all():
        raise AssertionError(f"{quantity}: the reference is not finite, it proves nothing")
    eps = float(np.finfo(ours.dtype).eps)
    allowed = budget.in_eps(eps)
    found = measure(ours, theirs, gauge)
    if expect_zero:
        allowed = 0.0
        if theirs.any():
            raise AssertionError(f"{quantity}: the reference is not zero as expected: {theirs!r}")
    else:
        _refuse_vacuity(theirs, gauge, allowed * eps, quantity)
    _record(quantity, ours.dtype, found, allowed, budget.name)
    if not found.error <= allowed:
        raise AssertionError(_failure(quantity, found, allowed, budget.name, witness, witness_name))
    return found.error


def _refuse_vacuity(reference: Array, gauge: Any, fraction: float, quantity: str) -> None:
    """Raise AssertionError where the reference drowns in a tolerance of `fraction` of the gauge."""
    largest = np.abs(reference).max()
    tolerance = fraction * np.max(largest if gauge is None else np.asarray(gauge))
    margin = OWN_MARGIN if gauge is None else MARGIN
    if not margin * tolerance < largest:
        raise AssertionError(
            f"{quantity}: the reference, at most {largest:.3g}, drowns in its tolerance "
            f"{tolerance:.3g}: the case proves nothing"
        )


def _record(quantity: str, dtype: Any, found: Measurement, allowed: float, cause: str) -> None:
    LEDGER.entries.append(
        Entry(
            LEDGER.concept,
            LEDGER.case,
            quantity,
            str(dtype),
            LEDGER.device,
            found.error,
            allowed,
            cause,
            found.place,
        )
    )


def _failure(
    quantity: str,
    found: Measurement,
    allowed: float,
    cause: str,
    witness: Callable[[tuple[int, ...]], Any] | None,
    witness_name: str,
) -> str:
    message = (
        f"{quantity} differs at {found.place}: ours {found.ours!r}, theirs {found.theirs!r}, "
        f"{found.error:.4g} eps units ({found.ulp:.4g} ULP), allowed {allowed:.4g} ({cause})"
    )
    if witness is None:
        return message
    try:
        third = witness(found.place)
    except TypeError as error:  # not every function takes longdouble
        return f"{message}; {witness_name} cannot be had: {error}"
    ours, theirs = abs(third - found.ours), abs(third - found.theirs)
    wrong = "theirs" if ours < theirs else "ours"
    return f"{message}; {witness_name} gives {third!r}: the third witness contradicts {wrong}"


def assert_switches(condition: Any, quantity: str) -> None:
    """Raise AssertionError unless the condition holds somewhere and fails somewhere."""
    condition = np.asarray(condition)
    if condition.all() or not condition.any():
        raise AssertionError(f"{quantity} is {condition.flat[0]} everywhere: it proves nothing")


def assert_twins(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], dict[str, Array]],
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    rng: np.random.Generator,
    *,
    constants: Mapping[str, Any] | None = None,
    forward_budget: Budget = FORWARD,
    gradient_budget: Budget = GRADIENT,
    gauges: Gauges | None = None,
    differences: bool = True,
    witnessed: int = 12,
    float32_floor: Budget = FLOAT32_FLOOR,
    device: str = "cpu",
) -> None:
    """Raise AssertionError unless a pair agrees with a differentiable torch function.

    `forward(**inputs, **constants)` returns (output, cache); `backward(upstream, cache)` the
    gradient of each input by name, no more and no fewer. `theirs` takes the inputs in order and
    the constants by name, crossed over the bridge, and is pulled back by autograd from the same
    upstream gradient, which is drawn.
    `gauges(arguments, upstream)` may name running-error gauges for "output" and for inputs.
    The third witness differentiates our forward at `witnessed` entries of each input, drawn at
    random; `differences=False` leaves it out, for inputs that sit on a kink.

    In float32 both sides are held against torch in float64: ours may err twice as much as torch,
    plus `float32_floor`.
    """
    constants = dict(constants or {})
    LEDGER.device = device
    arguments = {**inputs, **constants}
    before = {name: np.copy(array) for name, array in arguments.items()}
    output, cache = forward(**arguments)
    if not isinstance(output, np.ndarray | np.floating):
        raise AssertionError(f"output: ours is {type(output).__name__}, no floating array")
    upstream = np.asarray(rng.standard_normal(output.shape)).astype(output.dtype)
    expected, references = _pull_back(theirs, inputs, constants, upstream, device)
    handed = upstream.copy()
    gradients = backward(handed[()], cache)
    if not np.array_equal(handed, upstream):
        raise AssertionError("upstream: the gradient handed in was modified in place")
    for name, array in arguments.items():
        if not np.array_equal(before[name], array):
            raise AssertionError(f"{name}: the input was modified in place")
    if gradients.keys() != inputs.keys():
        raise AssertionError(
            f"gradients for {sorted(gradients)}, expected one for each of {sorted(inputs)}"
        )
    gauge = dict(gauges(arguments, upstream)) if gauges else {}
    if expected.dtype == np.float32:
        wide = np.float64
        exact = _cast(inputs, wide), _cast(constants, wide), upstream.astype(wide)
        oracle, oracles = _pull_back(theirs, *exact, device)
        _assert_no_worse(output, expected, oracle, "output", gauge.get("output"), float32_floor)
        for name, reference in references.items():
            quantity = f"gradient of {name}"
            _assert_no_worse(
                gradients[name], reference, oracles[name], quantity, gauge.get(name), float32_floor
            )
        return

    def wide_output(place: tuple[int, ...]) -> Any:
        return np.asarray(forward(**_cast(arguments, np.longdouble))[0])[place]

    assert_close(
        output,
        expected,
        "output",
        budget=forward_budget,
        gauge=gauge.get("output"),
        witness=wide_output,
        witness_name="the longdouble run",
    )
    for name, reference in references.items():
        difference = _Difference(forward, inputs, constants, upstream, name)
        assert_close(
            gradients[name],
            reference,
            f"gradient of {name}",
            budget=gradient_budget,
            gauge=gauge.get(name),
            witness=difference if differences else None,
            witness_name="a central difference",
        )
        if differences:
            _assert_witnessed(
                gradients[name], reference, difference, rng, gauge.get(name), witnessed
            )


def _cast(arrays: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """Return the floating arrays in another dtype, the rest as it is."""
    return {
        name: array.astype(dtype) if getattr(getattr(array, "dtype", None), "kind", "") == "f"
        else array
        for name, array in arrays.items()
    }  # fmt: skip


def _pull_back(
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Any],
    upstream: Array,
    device: str,
) -> tuple[Array, dict[str, Array]]:
    """Return torch's output and gradients as arrays in our layout."""
    tensors = {
        name: to_torch(name, array, device).requires_grad_() for name, array in inputs.items()
    }
    fixed = {
        name: to_torch(name, value, device) if isinstance(value, np.ndarray) else value
        for name, value in constants.items()
    }
    output = theirs(*tensors.values(), **fixed)
    reached = to_numpy("output", output)
    if reached.shape != upstream.shape or reached.dtype != upstream.dtype:
        raise AssertionError(
            f"output: ours is {upstream.dtype} of shape {upstream.shape}, "
            f"theirs {reached.dtype} of shape {reached.shape}"
        )
    pulled = torch.autograd.grad(
        output,
        list(tensors.values()),
        to_torch("upstream", upstream, device),
        allow_unused=True,
    )
    unused = [name for name, one in zip(tensors, pulled, strict=True) if one is None]
    if unused:
        raise AssertionError(f"the reference does not depend on {unused}: the case proves nothing")
    gradients = {
        name: to_numpy(name, gradient) for name, gradient in zip(tensors, pulled, strict=True)
    }
    return reached, gradients


def _assert_no_worse(
    ours: Any, theirs: Any, oracle: Any, quantity: str, gauge: Any, floor: Budget
) -> None:
    """Raise AssertionError unless ours errs at most twice what torch does, plus a floor."""
    ours = np.asarray(ours)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise AssertionError(
            f"{quantity}: ours is {ours.dtype} {ours.shape}, theirs {theirs.dtype} {theirs.shape}"
        )
    if not np.isfinite(oracle).all():
        raise AssertionError(f"{quantity}: the reference is not finite, it proves nothing")
    eps = float(np.finfo(ours.dtype).eps)
    allowed = 2 * measure(theirs, oracle, gauge, eps).error + floor.eps
    _refuse_vacuity(oracle, gauge, allowed * eps, quantity)
    found = measure(ours, oracle, gauge, eps)
    _record(quantity, ours.dtype, found, allowed, floor.name)
    if not found.error <= allowed:
        raise AssertionError(_failure(quantity, found, allowed, "twice torch's", None, ""))


class _Difference:
    """The third witness: central differences of our own forward in extended precision."""

    def __init__(
        self,
        forward: Callable[..., tuple[Any, Any]],
        inputs: Mapping[str, Array],
        constants: Mapping[str, Any],
        upstream: Array,
        name: str,
    ) -> None:
        self._forward = forward
        self._arguments = _cast({**inputs, **constants}, np.longdouble)
        self._arguments[name] = np.asarray(self._arguments[name])
        self._upstream = upstream.astype(np.longdouble)
        self._name = name

    def __call__(self, index: tuple[int, ...]) -> Any:
        """Return the difference quotient of sum(upstream * output) at one entry of the input."""
        return self.quotient(index, 1.0)[0]

    def quotient(self, index: tuple[int, ...], shrunk: float) -> tuple[Any, Any]:
        """Return the quotient with the usual step times `shrunk`, and its round-off.

        Large entries take larger steps.
        """
        size = np.maximum(1, np.abs(self._arguments[self._name][index]))
        step = np.longdouble(DIFFERENCE_STEP * shrunk) * size
        total, largest = np.longdouble(0), np.longdouble(0)
        for steps, weight in DIFFERENCE_STENCIL.items():
            moved = self._arguments[self._name].copy()
            moved[index] += steps * step
            output = self._forward(**{**self._arguments, self._name: moved})[0]
            products = self._upstream * output
            total += weight * products.sum()
            largest = np.maximum(largest, np.abs(products).sum())
        return total / (12 * step), np.finfo(np.longdouble).eps * largest / step

    def refined(self, index: tuple[int, ...]) -> tuple[Any, Any]:
        """Return the quotient whose step suits this entry best, and its error bar.

        Steep functions want smaller steps, large values larger ones; the bar is what the quotient
        moves when its step is halved, and halved again, and the round-off of its sums.
        """
        tries = []
        for shrunk in (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3):
            with np.errstate(all="ignore"):  # a large step may leave the domain
                three = [self.quotient(index, shrunk / halved) for halved in (1, 2, 4)]
            values = [value for value, _ in three]
            if np.isfinite(values).all():
                bar = 4 * (max(values) - min(values)) + three[-1][1]
                tries.append((bar, shrunk, values[1]))
        if not tries:
            raise AssertionError(f"no difference of {self._name} at {index} is finite")
        bar, _, best = min(tries)
        return best, bar


def _assert_witnessed(
    ours: Array,
    theirs: Array,
    difference: _Difference,
    rng: np.random.Generator,
    gauge: Any,
    most: int,
) -> None:
    """Hold both gradients against differences at a few entries drawn at random."""
    size = min(most, ours.size)
    flat = rng.choice(ours.size, size, replace=False)
    places = [tuple(int(i) for i in np.unravel_index(one, ours.shape)) for one in flat]
    third = np.array([difference(place) for place in places])
    scale = np.abs(theirs).max() if gauge is None else np.asarray(gauge).max()
    eps = float(np.finfo(ours.dtype).eps)
    allowed = FINITE_DIFFERENCE.in_eps(eps)
    quantity = f"gradient of {difference._name}"
    refined: set[int] = set()
    bar = 0.0  # of the refined quotients, which both sides meet
    for side, gradient in (("ours", ours), ("theirs", theirs)):
        mine = np.array([gradient[place] for place in places])
        found = measure(mine, third, scale)
        while not found.error <= allowed + bar and found.place[0] not in refined:
            (worst,) = found.place
            third[worst], uncertainty = difference.refined(places[worst])
            refined.add(worst)
            bar = max(bar, float(uncertainty / (eps * scale)))
            found = measure(mine, third, scale)
        _record(f"{quantity}, {side}", ours.dtype, found, allowed + bar, FINITE_DIFFERENCE.name)
        if not found.error <= allowed + bar:
            raise AssertionError(
                f"{quantity}: a central difference gives {found.theirs!r} where {side} has "
                f"{found.ours!r}, {found.error:.4g} eps units, allowed {allowed:.4g}: "
                f"the third witness contradicts {side}"
            )


def draw_gradients(shape: Any, rng: np.random.Generator, scales: Array) -> Array:
    """Draw a gradient whose entries are about 1, about 1e-8 where epsilon shows, or exactly 0."""
    return np.asarray(rng.standard_normal(shape) * scales)


def assert_same_trajectory(
    ours: Optimizer,
    theirs: Callable[[list[torch.Tensor]], torch.optim.Optimizer],
    parameters: Mapping[str, Array],
    rng: np.random.Generator,
    *,
    state: Callable[[torch.optim.Optimizer], Mapping[str, torch.Tensor]],
    steps: int = 200,
    groups: int = 1,
    budget: Budget = STEP,
    device: str = "cpu",
) -> None:
    """Raise AssertionError unless two optimizers agree after every step on the same gradients.

    `theirs` makes a torch optimizer for a list of tensors; `state` reads its state by our names.
    Gradients are injected, a third of the entries about 1e-8 and a sixth exactly 0. Parameters and
    every named array of the state are compared after each step. `groups` cuts theta into as many
    equal runs, independent draws side by side, each held to a gauge of its own.
    """
    mine = Parameters({name: np.copy(array) for name, array in parameters.items()})
    tensors = {name: to_torch(name, array, device).requires_grad_() for name, array in mine.items()}
    LEDGER.device = device
    optimizer = theirs(list(tensors.values()))
    memory = ours.init(mine)
    if not hasattr(memory, "_fields") and memory is not None:
        raise AssertionError(f"our state {memory!r} is no NamedTuple: nothing can be compared")
    size = mine.theta.size
    if any(view.size % groups for view in mine.values()) or size // groups < 6:
        raise AssertionError(
            f"{size} entries in {groups} groups leave no room for tiny gradients: it proves nothing"
        )
    kinds = np.resize([1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0], size // groups)
    scales = rng.permuted(np.tile(kinds, (groups, 1)), axis=1).ravel()
    recorded: dict[str, tuple[list[Array], list[Array]]] = {}
    gradients = mine.zeros_like()
    for step in range(1, steps + 1):
        drawn = draw_gradients(size, rng, scales).astype(mine.theta.dtype)
        gradients.theta[:] = drawn
        for name, tensor in tensors.items():
            tensor.grad = to_torch(name, gradients[name], device)
        ours.update(mine, gradients, memory)
        optimizer.step()
        if not np.array_equal(drawn, gradients.theta):
            raise AssertionError(f"step {step}: the gradients were modified in place")
        reached = torch.cat([tensor.detach().reshape(-1) for tensor in tensors.values()])
        for name, reference in {"theta": reached, **state(optimizer)}.items():
            value = mine.theta if name == "theta" else getattr(memory, name, None)
            if value is None:
                raise AssertionError(f"our state has no {name}: {memory}")
            pair = recorded.setdefault(name, ([], []))
            pair[0].append(np.copy(value))
            # torch counts steps in float32; a count of ours is an integer
            counted = np.asarray(value).dtype.kind in "iu"
            found = reference.detach().cpu().numpy()
            pair[1].append(found.astype(np.int64) if counted else found)
    unheld = set(getattr(memory, "_fields", ())) - recorded.keys()
    if unheld:
        raise AssertionError(f"state {sorted(unheld)} is held against nothing")
    thetas = recorded["theta"][1]
    if np.abs(thetas[-1] - thetas[0]).max() <= MARGIN * budget.eps * np.finfo(drawn.dtype).eps:
        raise AssertionError("no parameter moved: the case proves nothing")
    _assert_recorded(recorded, [view.size for view in mine.values()], groups, budget)


def _assert_recorded(
    recorded: Mapping[str, tuple[list[Array], list[Array]]],
    sizes: list[int],
    groups: int,
    budget: Budget,
) -> None:
    """Hold every quantity to its budget at every step; name the earliest breach."""
    breaches = []
    for name, (values, references) in recorded.items():
        ours, theirs = np.array(values), np.array(references)
        if ours.shape != theirs.shape or not np.isfinite(theirs).all():
            raise AssertionError(f"{name}: shapes {ours.shape}, {theirs.shape}, or not finite")
        if ours.dtype.kind == "f" and ours.dtype != theirs.dtype:
            raise AssertionError(f"{name}: dtypes differ, ours {ours.dtype}, theirs {theirs.dtype}")
        if ours.dtype.kind != "f":
            if not np.array_equal(ours, theirs):
                raise AssertionError(f"{name} is {ours.tolist()}, not {theirs.tolist()}")
            continue
        # each tensor has its own gauge, and so has each of the groups that a tensor is cut into
        runs = [size // groups for size in sizes for _ in range(groups)]
        starts = np.cumsum([0, *runs[:-1]])
        largest = np.maximum.reduceat(np.abs(theirs), starts, axis=1)
        # a value keeps the round-off of the steps in which it was larger
        gauge = np.repeat(np.maximum.accumulate(largest, axis=0), runs, axis=1)
        allowed = budget.in_eps(float(np.finfo(ours.dtype).eps))
        found = measure(ours, theirs, gauge)
        _record(f"{name} over {len(ours)} steps", ours.dtype, found, allowed, budget.name)
        if not found.error <= allowed:
            each = [measure(*one) for one in zip(values, references, gauge, strict=True)]
            step, first = next((i, one) for i, one in enumerate(each) if not one.error <= allowed)
            breaches.append((step + 1, _failure(name, first, allowed, budget.name, None, "")))
    if breaches:
        step, message = min(breaches)
        raise AssertionError(f"step {step}: {message}")
