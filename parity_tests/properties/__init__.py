"""Properties: for every concept a case, which is data, and a check that both sides agree on it.

What is arithmetic of arrays is held against a longdouble run of ours too; draws, cuts and rates,
which are equal to the bit or Python's own floats, against torch alone.
A case is a frozen dataclass whose repr is Python; `parity_tests.strategies` draws them, and a
failure is printed as a test that imports the two from here.
"""

from parity_tests.properties.data import (
    LogisticRegressionCase,
    MiniBatchCase,
    NormalizationCase,
    SplitCase,
    check_logistic_regression,
    check_mini_batches,
    check_normalization,
    check_split,
)
from parity_tests.properties.layers import (
    ActivationCase,
    BatchNormCase,
    CostCase,
    DropoutCase,
    LinearCase,
    check_activation,
    check_batch_norm,
    check_cost,
    check_dropout,
    check_linear,
)
from parity_tests.properties.layouts import LayoutCase, check_layout
from parity_tests.properties.networks import (
    NetworkCase,
    TrainingCase,
    check_network,
    check_training,
)
from parity_tests.properties.optimizers import (
    AverageCase,
    ClippingCase,
    OptimizerCase,
    ScheduleCase,
    check_average,
    check_clipping,
    check_optimizer,
    check_schedule,
)

__all__ = [
    "ActivationCase",
    "AverageCase",
    "BatchNormCase",
    "ClippingCase",
    "CostCase",
    "DropoutCase",
    "LayoutCase",
    "LinearCase",
    "LogisticRegressionCase",
    "MiniBatchCase",
    "NetworkCase",
    "NormalizationCase",
    "OptimizerCase",
    "ScheduleCase",
    "SplitCase",
    "TrainingCase",
    "check_activation",
    "check_average",
    "check_batch_norm",
    "check_clipping",
    "check_cost",
    "check_dropout",
    "check_layout",
    "check_linear",
    "check_logistic_regression",
    "check_mini_batches",
    "check_network",
    "check_normalization",
    "check_optimizer",
    "check_schedule",
    "check_split",
    "check_training",
]
