"""The ruler in eps, and what every comparison does with it: refuse the vacuous, record, report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parity_tests.compare.budgets import Budget
from parity_tests.compare.ledger import LEDGER

Array = NDArray[Any]

#: a value proves something when it is so many times larger than the tolerance it is held to.
MARGIN = 100

#: the same where the reference is its own gauge: a tolerance of a few percent, as statistics need,
#: still tells a factor of 2 or a forgotten 1/m.
OWN_MARGIN = 10

#: eps units that no rounding explains: two formulas are apart.
FORMULAS = 1e6


class Measurement(NamedTuple):
    """Distance of two arrays, the place where it is largest, and the numbers there."""

    error: float  # max |ours - theirs| / (eps gauge)
    place: tuple[int, ...]
    ours: Any
    theirs: Any
    ulp: float  # of ours' dtype, at that index
    unit: Any  # eps gauge at that index


def gauge_of(theirs: Any, gauge: Any = None) -> Any:
    """Return a gauge in longdouble: the largest entry of the reference where none is given."""
    wide = np.asarray(theirs if gauge is None else gauge).astype(np.longdouble, copy=False)
    return np.abs(wide).max() if gauge is None else wide


def measure(ours: Any, theirs: Any, gauge: Any = None, eps: float | None = None) -> Measurement:
    """Return the distance of two arrays: max|ours - theirs| / (eps * gauge), and where.

    Args:
        ours: the array to judge.
        theirs: the reference, of the same shape.
        gauge: max|theirs| where none is given; where terms cancel, an array that bounds their sums.
        eps: unit of the error, by default that of the dtype of ours.

    Returns:
        The error, its place, both values there. NaN or infinity anywhere is an infinite error.

    Example:
        >>> import numpy as np
        >>> from parity_tests import measure
        >>> found = measure(np.array([1.0, 2.0 + 2.0**-50]), np.array([1.0, 2.0]))
        >>> print(found.error, found.place)
        2.0 (1,)
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    eps = float(np.finfo(ours.dtype).eps) if eps is None else eps
    scale = eps * gauge_of(theirs, gauge)
    errors = errors_of(ours, theirs, scale)
    index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
    with np.errstate(all="ignore"):
        distance = np.abs(ours[index] - np.asarray(theirs[index], np.longdouble))
        ulp = float(distance / np.spacing(np.abs(theirs[index]).astype(ours.dtype)))
    unit = np.broadcast_to(scale, errors.shape)[index]
    return Measurement(float(errors[index]), index, ours[index], theirs[index], ulp, unit)


def errors_of(ours: Any, theirs: Any, scale: Any) -> Array:
    """Return |ours - theirs| / scale in longdouble, infinite where anything is not finite."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        distance = np.abs(np.asarray(ours, np.longdouble) - np.asarray(theirs, np.longdouble))
        errors = np.divide(distance, scale, out=np.zeros_like(distance), where=distance != 0)
    return np.where(np.isfinite(scale) & ~np.isnan(errors), errors, np.inf)


class ProvesNothingError(AssertionError):
    """A case that lets any answer pass; another draw may prove something."""


def kind_of(array: Any) -> str:
    """Return the kind of an array, as messages have it."""
    return f"{array.dtype} of shape {array.shape}"


def refuse_unlike(ours: Any, theirs: Any, quantity: str) -> None:
    """Raise AssertionError unless two arrays have one shape and one dtype."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise AssertionError(f"{quantity}: ours is {kind_of(ours)}, theirs {kind_of(theirs)}")


def refuse_infinite(reference: Any, quantity: str) -> None:
    """Raise AssertionError for a reference that is not finite: NaN is nothing, infinity all."""
    if not np.isfinite(reference).all():
        raise AssertionError(f"{quantity}: the reference is not finite, it proves nothing")


def refuse_vacuity(reference: Array, gauge: Any, fraction: float, quantity: str) -> None:
    """Raise ProvesNothingError where a reference drowns in its tolerance, `fraction` of a gauge."""
    largest = np.abs(reference).max()
    tolerance = fraction * np.max(gauge_of(reference, gauge))
    margin = OWN_MARGIN if gauge is None else MARGIN
    if not margin * tolerance < largest:
        raise ProvesNothingError(
            f"{quantity}: the reference, at most {largest:.3g}, drowns in its tolerance "
            f"{tolerance:.3g}: the case proves nothing"
        )


class Truth(NamedTuple):
    """Distance of each side from a wider run of ours."""

    ours: Measurement
    theirs: Measurement


def hold_both(ours: Any, theirs: Any, wider: Any, gauge: Any = None) -> Truth:
    """Measure both sides against a wider run, over one gauge and in the eps of `ours`."""
    eps = float(np.finfo(np.asarray(ours).dtype).eps)
    gauge = gauge_of(theirs, gauge)
    return Truth(*(measure(side, wider, gauge, eps) for side in (ours, theirs)))


def record(
    quantity: str, dtype: Any, found: Measurement, allowed: float, budget: Budget,
    truth: Truth | None = None, kind: str = "",
) -> None:  # fmt: skip
    """Write one comparison, and the distances of both sides from the wider truth, to the ledger."""
    far = [None, None] if truth is None else [one.error for one in truth]
    measured = found.error, allowed, budget.name, found.place, *far
    LEDGER.record(quantity, dtype, *measured, kind or budget.kind)


def record_equal(quantity: str, dtype: Any) -> None:
    """Write a comparison to the bit, in which no entry differed, to the ledger."""
    LEDGER.record(quantity, dtype, 0.0, 0.0, "equal to the bit", ())


def apart(
    quantity: str, found: Measurement, allowed: float, cause: str, other: str = "theirs"
) -> str:
    """Say where the sides part and by how much."""
    return (
        f"{quantity} differs at {found.place}: ours {found.ours}, {other} {found.theirs}, "
        f"{found.error:.4g} eps units ({found.ulp:.4g} ULP), allowed {allowed:.4g} ({cause})"
    )


def verdict(
    third: Any, blur: Any, found: Measurement, allowed: float, name: str, ours: str = ""
) -> str:
    """Say what a third witness gives where the sides part, and which of them it contradicts.

    It is itself uncertain by `blur`. One that runs `ours`, a formula or a rule, knows what that
    loses to rounding, but not whether it is the right one.
    """
    mine, other = abs(third - found.ours), abs(third - found.theirs)
    nearest, farthest = min(mine, other), max(mine, other)
    if farthest <= 2 * blur:
        judged = "cannot tell which is wrong"
    elif nearest > allowed * found.unit + blur and 10 * nearest > farthest:
        judged = "contradicts both"
    elif mine < other:
        judged = f"contradicts theirs{ours and f', unless our {ours} itself is another'}"
        if ours and found.error > FORMULAS:
            judged = f"is our own {ours}, so this is no rounding: our {ours} or theirs is wrong"
    else:
        judged = "contradicts ours"
    return f"{name} gives {third}: the third witness {judged}"


def assert_true(
    quantity: str, found: Mapping[str, Measurement], allowed: float, cause: str, name: str
) -> None:
    """Raise AssertionError where a third witness is further than allowed from a side.

    Beside ours and theirs that may be our backward in longdouble, guilty where it is wrong alone.
    """
    wrong = [side for side, one in found.items() if not one.error <= allowed]
    if not wrong:
        return
    sides = [side for side in ("ours", "theirs") if side in wrong]
    worst = max((found[side] for side in sides or wrong), key=lambda one: one.error)
    held = "both sides have" if sides[1:] else f"{(sides or wrong)[0]} has"
    guilty = f"the third witness contradicts {'both' if sides[1:] else ''.join(sides)}"
    if not sides:
        guilty = "our backward in longdouble is not the derivative of our forward"
    raise AssertionError(
        f"{quantity}: {name} gives {worst.theirs} at {worst.place}, where {held} {worst.ours}, "
        f"{worst.error:.4g} eps units, allowed {allowed:.4g} ({cause}): {guilty}"
    )
