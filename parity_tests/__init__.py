"""The proof that `scratch` and `torch_ref` agree, and the harness that carries it.

`assert_close` compares two arrays, `assert_twins` a forward and backward pair with a differentiable
torch function, `assert_same_trajectory` two optimizers step by step. Errors are counted in eps.
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

__all__ = [
    "FINITE_DIFFERENCE",
    "FORWARD",
    "GRADIENT",
    "STEP",
    "TRAINING",
    "Budget",
    "assert_close",
    "assert_same_trajectory",
    "assert_switches",
    "assert_twins",
    "measure",
]
