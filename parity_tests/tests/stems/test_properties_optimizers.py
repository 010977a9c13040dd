"""Properties of optimizers and what stands around them: each step, each entry, each rate."""

from __future__ import annotations

from hypothesis import example, given

from parity_tests import properties, strategies
from parity_tests.plugin.profiles import weighted
from parity_tests.properties.pasting import hold


def after_a_large_one(rule, **choices):
    """Return a case whose second gradient is tiny beside the first, and by then forgotten."""
    gradients = ((1e12,), (1e-12,))
    return properties.OptimizerCase(
        rule=rule,
        choices={"learning_rate": 0.1, **choices},
        start=(0.0,),
        gradients=gradients,
    )


@weighted(12)
@example(after_a_large_one("momentum", beta=0.0, averaging=True))
@example(after_a_large_one("rmsprop", beta=0.0, epsilon=1e-12, epsilon_inside_root=False))
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
@example(properties.AverageCase(x=(1e12, 1e-12), beta=0.0, bias_correction=False))
@given(strategies.average_cases)
def test_moving_averages_agree(case):
    """Each average, corrected or not, of entries of all magnitudes."""
    hold(properties.check_average, case)
