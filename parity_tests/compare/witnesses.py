"""The third witness: wider runs of our own code, and central differences of its forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parity_tests.compare.budgets import DIFFERENCE_STENCIL, HIDDEN_ROUNDING, WIDE, difference_of
from parity_tests.compare.measurement import Array, assert_true, gauge_of, measure, record
from scratch.parameters import Parameters

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Mapping[str, Array]]

#: a step far below what float64 sees and far above what longdouble does.
PROBE = float(np.finfo(np.longdouble).eps) ** (2 / 3)

#: number of probes: a single number that is rounded may happen to stay where it was.
PROBES = 3


def cast(value: Any, dtype: Any) -> Any:
    """Return floating arrays in another dtype, also inside of containers; the rest as it is."""
    if isinstance(value, Parameters):
        wider = Parameters.empty(value.shapes, dtype)
        wider.theta[:] = value.theta
        return wider
    if isinstance(value, np.ndarray | np.floating):
        return value.astype(dtype) if value.dtype.kind == "f" else value
    if isinstance(value, Mapping):
        return {name: cast(one, dtype) for name, one in value.items()}
    if isinstance(value, tuple):
        parts = [cast(one, dtype) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [cast(one, dtype) for one in value]
    return value


def widened(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return our function's result of arguments in longdouble; None where that is no wider."""
    if not WIDE:
        return None
    return function(*cast(arguments, np.longdouble), **cast(named, np.longdouble))


def wide_run(
    forward: Forward, backward: Backward | None, arguments: Mapping[str, Any], upstream: Array
) -> dict[str, Array]:
    """Return the quantities of a longdouble run of ours; AssertionError if it takes none.

    A witness that stays away unnoticed would be none.
    """
    try:
        output, cache = forward(**cast(arguments, np.longdouble))
        gradients = backward(upstream.astype(np.longdouble)[()], cache) if backward else {}
    except TypeError as error:
        raise AssertionError(
            f"the pair takes no longdouble ({error}): `widest=np.float64` does without"
        ) from error
    run = {"output": output, **{f"gradient of {name}": one for name, one in gradients.items()}}
    return {name: np.asarray(one) for name, one in run.items()}


def assert_unrounded(
    forward: Forward, arguments: Mapping[str, Any], upstream: Array, run: Mapping[str, Array],
    gauge: Any,
) -> None:  # fmt: skip
    """Raise AssertionError where a longdouble run passes through float64 on its way.

    Inputs are moved by less than float64 can hold. The output must move as its gradient says: what
    is rounded inside moves by nothing or by a whole eps of float64.
    """
    output = run["output"]
    size = np.abs(output).max() if gauge is None else np.asarray(gauge)
    unit = np.linalg.norm((upstream * np.broadcast_to(size, output.shape)).ravel())
    unit *= np.finfo(np.longdouble).eps
    directions, start = np.random.default_rng(0), cast(arguments, np.longdouble)
    names = [name for name in arguments if f"gradient of {name}" in run]
    for _ in range(PROBES):
        moves = {n: PROBE * directions.uniform(-1, 1, np.shape(start[n])) * start[n] for n in names}
        moved = {**start, **{name: start[name] + move for name, move in moves.items()}}
        expected = sum((run[f"gradient of {n}"] * (moved[n] - start[n])).sum() for n in names)
        response = (upstream * (forward(**moved)[0] - output)).sum()
        error = abs(response - expected) / unit
        if not error <= HIDDEN_ROUNDING.eps:
            raise AssertionError(
                f"output: the longdouble run moves by {response:.6g} where its inputs move it by "
                f"{expected:.6g}, {error:.4g} eps units of longdouble, allowed "
                f"{HIDDEN_ROUNDING.eps:.4g} ({HIDDEN_ROUNDING.name}): something inside is rounded "
                "to float64, and the run is no witness"
            )


class Difference:
    """Central differences of our own forward, in longdouble or, at the best step, in float64."""

    def __init__(
        self, forward: Forward, arguments: Mapping[str, Any], upstream: Array, name: str, dtype: Any
    ) -> None:
        self._forward, self._arguments = forward, cast(dict(arguments), dtype)
        self._upstream = upstream.astype(dtype)
        self.name, self.dtype = name, dtype
        self.step, self.budget = difference_of(dtype)

    def __call__(self, index: tuple[int, ...]) -> Any:
        """Return the difference quotient of sum(upstream * output) at one entry of the input."""
        return self.quotient(index)[0]

    def quotient(self, index: tuple[int, ...], shrunk: float = 1.0) -> tuple[Any, Any]:
        """Return the quotient with the usual step, larger at large entries, times `shrunk`.

        Beside it stands its round-off.
        """
        start = np.asarray(self._arguments[self.name])
        step = self.dtype(self.step * shrunk) * np.maximum(1, np.abs(start[index]))
        total, largest = self.dtype(0), self.dtype(0)
        for steps, weight in DIFFERENCE_STENCIL.items():
            moved = start.copy()
            moved[index] += steps * step
            try:
                output = self._forward(**{**self._arguments, self.name: moved})[0]
            except ValueError:  # a large step may leave the domain, refused by validation
                return self.dtype(np.nan), self.dtype(np.nan)
            products = self._upstream * output
            total += weight * products.sum()
            largest = np.maximum(largest, np.abs(products).sum())
        return total / (12 * step), np.finfo(self.dtype).eps * largest / step

    def refined(self, index: tuple[int, ...]) -> tuple[Any, Any]:
        """Return the quotient whose step suits this entry best, and its error bar.

        Steep functions want smaller steps, large values larger ones; the bar is what the quotient
        moves when its step is halved, and halved again, and the round-off of its sums.
        """
        tries = []
        for shrunk in (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3):
            with np.errstate(all="ignore"):  # or without one
                three = [self.quotient(index, shrunk / halved) for halved in (1, 2, 4)]
            values = [value for value, _ in three]
            if np.isfinite(values).all():
                tries.append((4 * (max(values) - min(values)) + three[-1][1], shrunk, values[1]))
        if not tries:
            raise AssertionError(f"no difference of {self.name} at {index} is finite")
        bar, _, best = min(tries)
        return best, bar


def assert_witnessed(
    sides: Mapping[str, Any], difference: Difference, rng: np.random.Generator, gauge: Any,
    most: int,
) -> None:  # fmt: skip
    """Hold gradients, by side, against differences at a few entries drawn at random."""
    ours, quantity = sides["ours"], f"gradient of {difference.name}"
    size = min(most, ours.size)
    flat = rng.choice(ours.size, size, replace=False)
    places = [tuple(int(i) for i in np.unravel_index(one, ours.shape)) for one in flat]
    values = {
        side: np.array([one[place] for place in places])
        for side, one in sides.items()
        if one is not None
    }
    with np.errstate(all="ignore"):  # what is not finite is refined
        third = np.array([difference(place) for place in places])
    eps = float(np.finfo(ours.dtype).eps)
    unit = eps * np.max(gauge_of(sides["theirs"], gauge))
    allowed = difference.budget.in_eps(eps)
    for i, place in enumerate(places):
        if not all(abs(one[i] - third[i]) <= allowed * unit for one in values.values()):
            third[i], bar = difference.refined(place)
            allowed = max(allowed, difference.budget.in_eps(eps) + float(bar / unit))
    measured = {}
    for side, one in values.items():
        found = measure(one, third, unit / eps, eps)
        measured[side] = found._replace(place=places[found.place[0]])
        record(f"{quantity}, {side}", ours.dtype, found, allowed, difference.budget)
    assert_true(quantity, measured, allowed, difference.budget.name, "a central difference")
