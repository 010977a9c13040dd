"""The proof that `scratch` and `torch_ref` agree, and the harness that carries it.

`assert_close` compares two arrays, `assert_twins` a forward and backward pair with a differentiable
torch function, `assert_same_trajectory` two optimizers step by step. Errors are counted in eps.
`locate` names the first step, layer, unit and quantity at which two trainings part.
"""

from parity_tests.budgets import (
    FINITE_DIFFERENCE,
    FORWARD,
    GRADIENT,
    STEP,
    TRAINING,
    Budget,
)
from parity_tests.harness import (
    assert_close,
    assert_same_trajectory,
    assert_switches,
    assert_twins,
    measure,
)
from parity_tests.locator import Parting, Run, ScratchRun, TorchRun, locate

__all__ = [
    "FINITE_DIFFERENCE",
    "FORWARD",
    "GRADIENT",
    "STEP",
    "TRAINING",
    "Budget",
    "Parting",
    "Run",
    "ScratchRun",
    "TorchRun",
    "assert_close",
    "assert_same_trajectory",
    "assert_switches",
    "assert_twins",
    "locate",
    "measure",
]
