"""The proof that `scratch` and `torch_ref` agree, and the harness that carries it.

`assert_close` compares two arrays, `assert_twins` a forward and backward pair with a differentiable
torch function, `assert_same_trajectory` two optimizers step by step, and `assert_parity` code that
is not this project's; their docstrings have examples. Errors are counted in eps.
`locate` names the first step, layer, unit and quantity at which two trainings part.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity_tests.compare.budgets import (
        FINITE_DIFFERENCE,
        FORWARD,
        GRADIENT,
        STEP,
        TRAINING,
        Budget,
    )
    from parity_tests.compare.functions import assert_switches, assert_twins
    from parity_tests.compare.locate import Parting, Run, ScratchRun, TorchRun, locate
    from parity_tests.compare.measurement import measure
    from parity_tests.compare.optimizers import assert_same_trajectory
    from parity_tests.compare.quantities import assert_close
    from parity_tests.user_code import Parity, assert_parity

# fmt: off
__all__ = [
    "FINITE_DIFFERENCE", "FORWARD", "GRADIENT", "STEP", "TRAINING", "Budget", "Parity", "Parting",
    "Run", "ScratchRun", "TorchRun", "assert_close", "assert_parity", "assert_same_trajectory",
    "assert_switches", "assert_twins", "locate", "measure",
]
# fmt: on
#: where the public names are, in the order they are looked for.
_HOMES = (
    *("compare.budgets", "compare.measurement", "compare.quantities", "compare.functions"),
    *("compare.optimizers", "compare.locate", "user_code"),
)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use: pytest loads `options` alone, without torch."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        modules = (importlib.import_module(f"{__name__}.{home}") for home in _HOMES)
        return next(getattr(module, name) for module in modules if hasattr(module, name))

    def __dir__() -> list[str]:
        """Return the public names, imported or not."""
        return __all__
