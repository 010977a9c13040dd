"""Comparisons of arrays, one by one or together, that refuse to prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare import measurement
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.measurement import Array, ProvesNothingError, gauge_of, hold_both, measure

#: a first-order bound e holds while what it neglects, at most 2 e of itself for a sigmoid or tanh,
#: does not matter.
FIRST_ORDER = 1e-6

#: name of a wider run in messages, and the part of ours that it knows, if it judges by that.
Witness = tuple[str, str]
RUN: Witness = ("the longdouble run", "formula")


class Quantity(NamedTuple):
    """Two arrays to compare, what they are gauged by (their size without), and their budget.

    `wider` is a longdouble run of ours, to which both are held, or a function that gives it: None
    where longdouble is no wider, and for what is no arithmetic of arrays.
    """

    ours: Any
    theirs: Any
    gauge: Any = None
    budget: Budget = FORWARD
    wider: Any = None


def assert_close(
    ours: Any,
    theirs: Any,
    quantity: str,
    *,
    budget: Budget = FORWARD,
    gauge: Any = None,
    expect_zero: bool = False,
    wider: Any = None,
) -> float:
    """Hold an array to a reference, within a budget, and write the comparison to the ledger.

    Args:
        ours: an array or scalar of NumPy's, of floats.
        theirs: the reference, of the same shape and dtype.
        quantity: its name, in the message and in the ledger.
        budget: how far apart they may be, over the gauge.
        gauge: the largest entry of theirs where none is given; where terms cancel, an array that
            bounds their sums.
        expect_zero: whether the reference is zero, and ours must be exactly that.
        wider: the same quantity from a longdouble run of ours, or a function that gives it: both
            sides are held to the budget against it too.

    Returns:
        The error in eps.

    Raises:
        AssertionError: other shapes or dtypes, a reference that is not finite, an error beyond the
            budget; the message has the worst place, both values there and the guilty side.
        ProvesNothingError: an AssertionError, for a reference that drowns in its tolerance.

    Example:
        >>> import numpy as np
        >>> from parity_tests import assert_close
        >>> right = np.array([1.0, 2.0])
        >>> assert_close(right * (1 + 2.0**-50), right, "A")
        4.0
        >>> assert_close(right * 1.5, right, "A")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: A differs at (1,): ours 3.0, theirs 2.0, ...
    """
    held = Quantity(ours, theirs, gauge, budget, wider)
    return hold(quantity, held, expect_zero=expect_zero)


def hold(
    name: str, quantity: Quantity, *, expect_zero: bool = False, quiet: bool = False,
    witness: Witness = RUN, refined: Callable[..., tuple[Any, Any]] | None = None,
    then: Callable[[], None] | None = None,
) -> float:  # fmt: skip
    """Do what `assert_close` says; a quiet comparison may drown and is not written down.

    Where the sides part the message says which of them a difference, `refined`, contradicts, or
    else the wider run. `then` is called before both sides are held to that run.
    """
    ours, theirs = quantity.ours, refuse_no_floats(name, quantity)
    gauge, budget, (run, of) = quantity.gauge, quantity.budget, witness
    wider = _wider(name, quantity, run)
    eps = float(np.finfo(ours.dtype).eps)
    allowed = 0.0 if expect_zero else budget.in_eps(eps)
    found = measure(ours, theirs, gauge)
    if expect_zero and theirs.any():
        raise AssertionError(f"{name}: the reference is not zero as expected: {theirs!r}")
    if not expect_zero and not quiet:
        measurement.refuse_vacuity(theirs, gauge, allowed * eps, name)
    truth = None if wider is None else hold_both(ours, theirs, wider, gauge)
    if not quiet:
        measurement.record(name, ours.dtype, found, allowed, budget, truth)
    if not found.error <= allowed:
        message = measurement.apart(name, found, allowed, budget.name)
        judged: tuple[Any, ...] = ()
        if refined is not None:
            judged = *refined(found.place), found, allowed, "a central difference"
        elif wider is not None and of:
            judged = wider[found.place], 0.0, found, allowed, *witness
        said = f"; {measurement.verdict(*judged)}" if judged else ""
        raise AssertionError(message + said)
    if then is not None:
        then()
    if truth is not None:
        measurement.assert_true(name, truth._asdict(), allowed, budget.name, run)
    return found.error


def refuse_no_floats(name: str, quantity: Quantity) -> Array:
    """Return the reference as an array; refuse other shapes, dtypes and kinds than ours."""
    ours, reference = quantity.ours, np.asarray(quantity.theirs)
    floats = isinstance(ours, np.ndarray | np.floating) and ours.dtype.kind == "f" and ours.size
    if not floats or isinstance(ours, np.ma.MaskedArray | np.matrix):
        raise AssertionError(f"{name}: ours is {type(ours).__name__} {ours!r}, no floats")
    measurement.refuse_unlike(ours, reference, name)
    measurement.refuse_infinite(reference, name)
    return reference


def _wider(name: str, quantity: Quantity, run: str) -> Any:
    """Return a wider run as an array, None where longdouble is no wider on this machine."""
    ours, wider = quantity.ours, quantity.wider
    wider = wider() if callable(wider) else wider
    if wider is None:
        return None
    wider = np.asarray(wider)
    if wider.shape == ours.shape and wider.dtype.kind == "f":
        if np.finfo(wider.dtype).eps < np.finfo(ours.dtype).eps:
            return wider
        if wider.dtype == np.longdouble:
            return None
    kept, held = map(measurement.kind_of, (wider, ours))
    raise AssertionError(f"{name}: {run} is {kept}, ours {held}: it is no witness")


def floored(gauge: Any, dtype: Any = np.float64) -> Array:
    """Return a gauge from the smallest normal float up: below it floats have fewer digits."""
    information = np.finfo(dtype)
    return np.asarray(gauge + information.tiny / information.eps)


def agree(quantities: Mapping[str, Quantity]) -> None:
    """Raise AssertionError unless every quantity agrees, ProvesNothingError if all are vacuous.

    A reference of zeros must be met exactly, or within the gauge where terms have cancelled. One
    that drowns in its tolerance is held to it all the same, as another quantity makes the proof.
    """
    proven = False
    for name, one in quantities.items():
        theirs = np.asarray(one.theirs)
        measurement.refuse_infinite(theirs, name)
        scale = floored(gauge_of(theirs, one.gauge), theirs.dtype)
        measurement.refuse_infinite(scale, f"the gauge of {name}")
        one = one._replace(theirs=theirs, gauge=scale)
        try:
            hold(name, one)
            proven = True
        except ProvesNothingError:
            hold(name, one, quiet=True)
            if not np.any(one.ours) and not theirs.any():
                measurement.record_equal(name, theirs.dtype)
    if not proven:
        raise ProvesNothingError(f"{', '.join(quantities)} drown in their tolerances")


def assert_equal(ours: Any, theirs: Any, name: str) -> None:
    """Raise AssertionError unless two arrays are the same numbers, in shape and dtype too."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    measurement.refuse_unlike(ours, theirs, name)
    if not np.array_equal(ours, theirs):
        raise AssertionError(f"{name} differs: ours {ours!r}, theirs {theirs!r}")


def assert_no_worse(
    ours: Any, theirs: Any, oracle: Any, quantity: str, gauge: Any, floor: Budget, kind: str = ""
) -> None:
    """Raise AssertionError unless ours errs at most twice what torch does, plus a floor."""
    ours = np.asarray(ours)
    measurement.refuse_unlike(ours, theirs, quantity)
    measurement.refuse_infinite(oracle, quantity)
    truth = hold_both(ours, theirs, oracle, gauge)
    found, allowed = truth.ours, 2 * truth.theirs.error + floor.eps
    inside = found.error <= allowed
    if inside:
        eps = float(np.finfo(ours.dtype).eps)
        measurement.refuse_vacuity(oracle, gauge, allowed * eps, quantity)
    measurement.record(quantity, ours.dtype, found, allowed, floor, truth, kind)
    if not inside:
        cause = f"twice torch's, {floor.name}", "torch's in float64"
        raise AssertionError(
            f"{measurement.apart(quantity, found, allowed, *cause)}; torch in float32 is "
            f"{truth.theirs.error:.4g} eps units from it at most, {theirs[found.place]} here: "
            "its float64 contradicts ours"
        )
