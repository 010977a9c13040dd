"""Properties of networks: depths to five, widths and examples from one, everything switched on."""

from __future__ import annotations

from hypothesis import example, given

from parity_tests import properties, strategies
from parity_tests.plugin.profiles import weighted
from parity_tests.properties.pasting import hold


@weighted(7)
@example(  # two flat layers: float64 has nothing left of what longdouble still gives
    properties.NetworkCase(
        layer_sizes=(4, 3, 1, 2),
        m=1,
        hidden="tanh",
        output="identity",
        keep_probs=(),
        epsilon=None,
        kind="normal",
        weights="grid",
        scale=20.0,
        seed=413,
    )
)
@given(strategies.network_cases)
def test_networks_agree(case):
    """Output and the gradient of X and every parameter, under dropout, batch norm and ties."""
    hold(properties.check_network, case)


@weighted(4)
@example(  # two batch norm layers of constant rows: what is 0 here is a product of two round-offs
    properties.TrainingCase(
        layer_sizes=(5, 4, 1, 2),
        m=2,
        hidden="tanh",
        output="softmax",
        keep_probs=(),
        epsilon=0.1,
        kind="constant",
        weights="normal",
        scale=1.0,
        seed=0,
        l1=0.0,
        l2=0.0,
        shared=2,
        decay=0.0,
        unbiased=False,
    )
)
@given(strategies.training_cases())
def test_costs_and_gradients_of_networks_agree(case):
    """J with its penalties, every gradient, the training loop's step, and predictions."""
    hold(properties.check_training, case)


@weighted(8)
@given(strategies.logistic_regression_cases)
def test_logistic_regression_agrees(case):
    """Cost and gradients at once and by loops, saturated or not."""
    hold(properties.check_logistic_regression, case)
