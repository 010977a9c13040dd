"""Properties of optimizers and what stands around them: each step, each entry, each rate."""

from __future__ import annotations

from hypothesis import given

from parity_tests import properties, strategies
from parity_tests.profiles import weighted
from parity_tests.properties.pasting import hold


@weighted(12)
@given(strategies.optimizer_cases())
def test_optimizers_agree(case):
    """Parameters and state after each step, gradients from 1e-12 to 1e12 and 0."""
    hold(properties.check_optimizer, case)


@weighted(20)
@given(strategies.schedule_cases())
def test_schedules_agree(case):
    """The rate of every count, over the range of every choice."""
    hold(properties.check_schedule, case)


@weighted(16)
@given(strategies.clipping_cases())
def test_clipping_agrees(case):
    """By value to the bit, by norm with one factor for all."""
    hold(properties.check_clipping, case)


@weighted(26)
@given(strategies.average_cases)
def test_moving_averages_agree(case):
    """Each average, corrected or not, of entries of all magnitudes."""
    hold(properties.check_average, case)
