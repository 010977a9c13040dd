"""Quantities of one case compared together: one of them may prove nothing, not all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from parity_tests.compare import measurement
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.functions import hold
from parity_tests.compare.measurement import gauge_of, refuse_infinite, refuse_unlike

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


def floored(gauge: Any, dtype: Any = np.float64) -> measurement.Array:
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
        refuse_infinite(theirs, name)
        scale = floored(gauge_of(theirs, gauge), theirs.dtype)
        refuse_infinite(scale, f"the gauge of {name}")
        tolerance = budget.in_eps(float(np.finfo(theirs.dtype).eps)) * np.finfo(theirs.dtype).eps
        drowned = not np.abs(theirs).max() > measurement.MARGIN * (tolerance * scale.max())
        ours = np.asarray(ours)[()] if drowned else ours
        hold(name, ours, theirs, budget, scale, wider, quiet=drowned)
        if not np.any(ours) and not theirs.any():
            measurement.record_equal(name, theirs.dtype)
        proven |= not drowned
    if not proven:
        raise measurement.ProvesNothingError(f"{', '.join(quantities)} drown in their tolerances")


def assert_equal(ours: Any, theirs: Any, name: str) -> None:
    """Raise AssertionError unless two arrays are the same numbers, in shape and dtype too."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    refuse_unlike(ours, theirs, name)
    if not np.array_equal(ours, theirs):
        raise AssertionError(f"{name} differs: ours {ours!r}, theirs {theirs!r}")
