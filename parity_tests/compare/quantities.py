"""Quantities of one case compared together: they may prove nothing one by one, not all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.functions import RUN, assert_close
from parity_tests.compare.measurement import (
    MARGIN,
    ProvesNothingError,
    assert_true,
    hold_both,
    measure,
    record_equal,
)

Array = NDArray[Any]

#: a first-order bound e holds while what it neglects, at most 2 e of itself for a sigmoid or tanh,
#: does not matter.
FIRST_ORDER = 1e-6


class Quantity(NamedTuple):
    """Two arrays to compare, what they are gauged by (their size without), and their budget.

    `wider` is a longdouble run of ours, to which both are held: None where longdouble is no wider,
    and for what is no arithmetic of arrays.
    """

    ours: Any
    theirs: Any
    gauge: Any = None
    budget: Budget = FORWARD
    wider: Any = None


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
    for name, (ours, theirs, gauge, budget, wider) in quantities.items():
        theirs = np.asarray(theirs)
        if not np.isfinite(theirs).all():
            raise AssertionError(f"{name}: the reference is not finite: {theirs!r}")
        eps = float(np.finfo(theirs.dtype).eps)
        scale = np.abs(theirs).max() if gauge is None else np.asarray(gauge)
        scale = np.broadcast_to(floored(scale, theirs.dtype), theirs.shape)
        if not np.isfinite(scale).all():
            raise AssertionError(f"{name}: the gauge is not finite: {scale!r}")
        allowed = budget.in_eps(eps)
        if np.abs(theirs).max() > MARGIN * (allowed * eps * scale.max()):
            assert_close(ours, theirs, name, budget=budget, gauge=scale, wider=wider)
            proven = True
        else:
            _assert_within(np.asarray(ours), theirs, name, scale, allowed)
            if not np.any(ours) and not theirs.any():
                record_equal(name, theirs.dtype)
            if wider is not None:
                truth = hold_both(ours, theirs, wider, scale)
                assert_true(name, truth, allowed, budget.name, RUN)
    if not proven:
        raise ProvesNothingError(f"{', '.join(quantities)} drown in their tolerances")


def _assert_within(ours: Array, theirs: Array, name: str, scale: Array, allowed: float) -> None:
    """Raise AssertionError unless a drowned quantity is as small as its tolerance says."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise AssertionError(
            f"{name}: ours is {ours.dtype} {ours.shape}, theirs {theirs.dtype} {theirs.shape}"
        )
    found = measure(ours, theirs, scale)
    if not found.error <= allowed:
        raise AssertionError(
            f"{name} differs at {found.place}: ours {found.ours!r}, theirs {found.theirs!r}, "
            f"{found.error:.4g} eps units, allowed {allowed:.4g}"
        )


def assert_equal(ours: Any, theirs: Any, name: str) -> None:
    """Raise AssertionError unless two arrays are the same numbers, in shape and dtype too."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise AssertionError(
            f"{name}: ours is {ours.dtype} {ours.shape}, theirs {theirs.dtype} {theirs.shape}"
        )
    if not np.array_equal(ours, theirs):
        raise AssertionError(f"{name} differs: ours {ours!r}, theirs {theirs!r}")
