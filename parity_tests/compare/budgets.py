"""Budgets: bounds on how far the sides may part, in eps of the dtype, named after their causes.

Every bound of the suite stands in `BUDGETS`, with its reason; tests make none of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A bound on max|ours - theirs| / gauge, in eps or, where eps is not the cause, as it is.

    Raises ValueError unless both numbers are finite and not negative: anything is inside infinity.
    """

    name: str
    eps: float = 0.0
    relative: float = 0.0
    reason: str = ""
    kind: str = "other"  # what it bounds: "forward", "gradient", "step" or something other

    def __post_init__(self) -> None:
        """Refuse a bound that nothing, or everything, is inside of."""
        for name, bound in (("eps", self.eps), ("relative", self.relative)):
            if not 0 <= bound < math.inf:
                raise ValueError(f"expected {name} of {self.name!r} to be from 0, got {bound}")

    def in_eps(self, eps: float) -> float:
        """Return the bound in units of `eps`."""
        return self.eps + self.relative / eps


# fmt: off
FORWARD = Budget(name="forward round-off", eps=16, kind="forward", reason=(
    "a few dependent float operations on one value, and one matrix product under its own gauge"))
GRADIENT = Budget(name="gradient round-off", eps=64, kind="gradient", reason=(
    "the backward of the same operations, each product of factors that were rounded before"))
STEP = Budget(name="optimizer round-off", eps=64, kind="step", reason=(
    "a step rounds a handful of times, and what a thousand steps leave behind adds up"))
FLOAT32_FLOOR = Budget(name="float32 floor", eps=4, reason=(
    "float32 is held against float64: ours may err twice what torch does, plus this"))
FLOAT32_NETWORK = Budget(name="float32 floor of networks", eps=16, reason=(
    "the same through layers, in which torch may happen to round to the exact value"))
FLOAT32_STEP = Budget(name="float32 floor of optimizers", eps=4, kind="step", reason=(
    "the same after every step, for torch's error up to that step"))
HIDDEN_ROUNDING = Budget(name="hidden rounding", eps=16, reason=(
    "a longdouble run errs by a few of its own eps; one number kept in float64 costs hundreds"))
FINITE_DIFFERENCE = Budget(name="finite difference", relative=1e-10, reason=(
    "longdouble differences at the step 1e-6 lose half of their digits to cancellation"))
FLOAT64_DIFFERENCE = Budget(name="float64 finite difference", relative=1e-7, reason=(
    "where longdouble is no wider: at the best step, 1e-3, float64 leaves seven digits beside the "
    "truncation of steep functions"))
COURSE_DIFFERENCE = Budget(name="the course's finite difference", relative=1e-6, reason=(
    "two-sided float64 differences of second order at the step 1e-7, as the course has them"))
TRAINING = Budget(name="training round-off", eps=1e-10 / np.finfo(np.float64).eps, reason=(
    "each step of a whole training rounds anew, and the network amplifies what came before: 1e-10 "
    "in float64, a twentieth in float32, where the float64 runs must agree as well"))
TRAJECTORY = Budget(name="trajectory", eps=1, reason=(
    "the growth bound of a training, measured on our own run an ulp away, is the gauge: the whole "
    "of it is one unit"))
SAMPLING = Budget(name="sampling", relative=1.0, reason=(
    "two statistics of N draws each differ by some 1 / sqrt(N); `of_draws` says how often a right "
    "draw may be called wrong"))
# fmt: on

#: whether longdouble is wider than float64 here, and so can bear witness.
WIDE = bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)

#: the dtype of the third witness.
WIDEST: Any = np.longdouble if WIDE else np.float64

#: steps and weights, over 12, of central differences of fourth order: two steps each way, so that
#: steep functions such as the log of a small probability are seen as sharply as flat ones.
DIFFERENCE_STENCIL = {-2: 1, -1: -8, 1: 8, 2: -1}

#: share of right draws that a test of statistics may call wrong, for new seeds to be tried freely.
ALARM = 1e-9


def difference_of(dtype: Any) -> tuple[float, Budget]:
    """Return the step of central differences in a dtype that suits most, and what they see."""
    wider = np.finfo(dtype).eps < np.finfo(np.float64).eps
    return (1e-6, FINITE_DIFFERENCE) if wider else (1e-3, FLOAT64_DIFFERENCE)


def of_draws(draws: int, alarm: float = ALARM) -> Budget:
    """Return the bound for a statistic of so many draws, if right draws may fail so often."""
    return replace(SAMPLING, relative=NormalDist().inv_cdf(1 - alarm / 2) / draws**0.5)


#: every bound of the suite.
BUDGETS = tuple(one for one in tuple(globals().values()) if isinstance(one, Budget))
