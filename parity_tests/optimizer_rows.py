"""Rows of optimizers: a rule of `scratch` against one of torch, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from parity_tests.compare.budgets import FLOAT32_STEP, STEP, Budget
from parity_tests.compare.optimizers import Reader, torch_walk, walk
from parity_tests.compare.quantities import assert_equal
from parity_tests.mistakes import Values
from parity_tests.rows import Case, Twin, evaluate
from scratch.optimizers import Optimizer


@dataclass(frozen=True, kw_only=True)
class OptimizerTwin(Twin):
    """A rule of `scratch` against an optimizer of torch, step by step on injected gradients.

    A case is {"start": (N,), "gradients": (steps, N)}, perhaps {"steps_taken": count} before them,
    and the choices of the rule by name; the quantities are "theta" and the arrays of the state
    after each step, (steps, N), and the count "t" of a state that has one, (steps,).

    Args:
        ours: makes the rule of choices by name.
        theirs: makes the optimizer of a list of tensors and the same choices.
        state: reads the optimizer's state by our names.
        gauges: `gauges(path, **case)` gives those of our path by quantity.
    """

    ours: Callable[..., Optimizer]
    theirs: Callable[..., torch.optim.Optimizer]
    state: Reader
    budget: Budget = STEP
    float32: bool = True
    float32_floor: Budget = FLOAT32_STEP

    def choices(self, case: Case) -> dict[str, Any]:
        return {name: one for name, one in case.items() if name not in WALK}

    def run(self, side: str, case: Case, device: str = "cpu") -> Values:
        if side == "scratch":
            return walk(self.ours(**self.choices(case)), *_walked(case), steps_taken=_begun(case))
        path = dict(self.torch_run(self.theirs, case, device, self.state))
        return {**path, "t": path["t"].astype(np.int64)} if "t" in path else path

    def torch_run(
        self,
        function: Callable[..., torch.optim.Optimizer],
        case: Case,
        device: str = "cpu",
        state: Reader | None = None,
    ) -> Values:
        made, begun = partial(function, **self.choices(case)), _begun(case)
        return torch_walk(made, *_walked(case), state, steps_taken=begun, device=device)

    def compare(self, case: Case, *, smooth: bool = False, device: str = "cpu") -> None:
        if np.any(case["gradients"]):
            super().compare(case, device=device)
            return
        still = np.broadcast_to(case["start"], case["gradients"].shape)
        for path in (self.run_ours(case), self.run("torch_ref", case, device)):
            assert_equal(path["theta"], still, "theta without a gradient")

    def label(self, quantity: str) -> str:
        return f"{quantity} after each step"

    def sizes(self, case: Case, ours: Values) -> Values:
        return dict(self.gauges(ours, **case)) if self.gauges else {}

    def as_typed(self, case: Case) -> Values:
        def make(tensors: list[torch.Tensor], learning_rate: float, **choices: Any) -> Any:
            return evaluate(self.torch, parameters=tensors, alpha=learning_rate, **choices)

        return self.torch_run(make, case)


#: entries of a walk's case beside the choices of its rule.
WALK = ("start", "gradients", "steps_taken")


def _walked(case: Case) -> tuple[Mapping[str, Any], Any]:
    return {"W1": case["start"][None]}, case["gradients"]


def _begun(case: Case) -> int:
    return int(case.get("steps_taken", 0))
