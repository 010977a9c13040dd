"""Properties of single layers: any sizes from one up, ties, saturation, constants, duplicates."""

from __future__ import annotations

from hypothesis import example, given

from parity_tests import properties, strategies
from parity_tests.plugin.profiles import weighted
from parity_tests.properties.pasting import hold


@weighted(10)
@example(
    properties.ActivationCase(name="tanh", n=2, m=9, kind="duplicated examples", scale=10.0, seed=2)
)
@given(strategies.activation_cases())
def test_activations_agree(case):
    """Output and gradient of any activation, at ties and saturated too."""
    hold(properties.check_activation, case)


@weighted(12)
@given(strategies.linear_cases)
def test_linear_layers_agree(case):
    """Z and its gradients, each within what was summed."""
    hold(properties.check_linear, case)


@weighted(8)
@given(strategies.batch_norm_cases())
def test_batch_norm_agrees(case):
    """Output, gradients, running averages, answers: constant features and one example too."""
    hold(properties.check_batch_norm, case)


@weighted(16)
@given(strategies.dropout_cases())
def test_dropout_agrees(case):
    """Whatever is dropped, both sides drop it, to the bit."""
    hold(properties.check_dropout, case)


@weighted(8)
@example(
    properties.CostCase(
        name="cross_entropy_with_logits",
        n=5,
        m=8,
        kind="saturated",
        certain=False,
        reduction="sum",
        seed=583,
    )
)
@given(strategies.cost_cases())
def test_costs_agree(case):
    """Cost and gradient of any number of outputs, logits to 1e4."""
    hold(properties.check_cost, case)
