"""The proof that `scratch` and `torch_ref` agree, and the harness that carries it.

`assert_close` compares two arrays, `assert_twins` a forward and backward pair with a differentiable
torch function, `assert_same_trajectory` two optimizers step by step. Errors are counted in eps.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use: pytest loads `options` alone, without torch."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "harness" if name.startswith(("assert_", "measure")) else "budgets"
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)

    def __dir__() -> list[str]:
        """Return the public names, imported or not."""
        return __all__
