"""Rows of optimizers: a rule of `scratch` against one of torch, step by step."""

from __future__ import annotations

from collections.abc import Callable
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
    after each step, (steps, N), and the count "t" of a state that has one, (steps,). Gauges are
    those of our path, `gauges(path, **case)`.
    """

    ours: Callable[..., Optimizer]  # makes the rule of choices by name
    theirs: Callable[..., torch.optim.Optimizer]  # of a list of tensors and the same choices
    state: Reader  # reads the optimizer's state by our names
    budget: Budget = STEP
    float32: bool = True
    float32_floor: Budget = FLOAT32_STEP

    def choices(self, case: Case) -> dict[str, Any]:
        return {name: one for name, one in case.items() if name not in WALK}

    def scratch_run(self, case: Case) -> Values:
        return walk(self.ours(**self.choices(case)), **_walked(case))

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        made, state = partial(function, **self.choices(case)), None
        if function is self.theirs:  # another optimizer has another state
            state = self.state
        path = dict(torch_walk(made, state=state, device=device, **_walked(case)))
        return {**path, "t": path["t"].astype(np.int64)} if "t" in path else path

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


def _walked(case: Case) -> dict[str, Any]:
    taken = int(case.get("steps_taken", 0))
    start = {"W1": case["start"][None]}
    return {"parameters": start, "gradients": case["gradients"], "steps_taken": taken}
