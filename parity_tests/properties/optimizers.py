"""Cases of optimizers, schedules, clipping and moving averages: given number by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parity_tests.compare.bridge import to_torch
from parity_tests.compare.budgets import STEP
from parity_tests.compare.witnesses import widened
from parity_tests.properties.agreement import Quantity, agree, assert_equal
from scratch import clipping, moving_averages
from scratch.optimizers import OPTIMIZERS
from scratch.parameters import Parameters
from scratch.schedules import SCHEDULES
from torch_ref import clipping as their_clipping
from torch_ref import moving_averages as their_moving_averages
from torch_ref import optimizers as theirs
from torch_ref import schedules as their_schedules

Array = NDArray[Any]
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class OptimizerCase:
    """A rule with its choices, parameters to start from, and a gradient for each step."""

    rule: str
    choices: dict[str, Any]
    start: tuple[float, ...]
    gradients: tuple[tuple[float, ...], ...]


def check_optimizer(case: OptimizerCase) -> None:
    """Hold parameters and every array of the state against torch's, step by step, each entry."""
    start = np.array(case.start)
    ours = _walk(case, start)
    wide = widened(_walk, case, start) or {}
    tensor = to_torch("W1", start[None]).requires_grad_()
    other = theirs.OPTIMIZERS[case.rule]([tensor], **case.choices)
    read = getattr(theirs, f"{case.rule}_state")
    bounds = _Bounds(case)
    seen: dict[str, tuple[list[Array], list[Array]]] = {}
    for t, gradient in enumerate(case.gradients, start=1):
        tensor.grad = to_torch("W1", np.array([gradient]))
        other.step()
        reached = {name: one.detach().numpy().copy() for name, one in read(other).items()}
        if "t" in reached:
            assert_equal(ours["t"][t - 1], reached.pop("t").astype(np.int64), f"t after step {t}")
        bounds.step(t, np.array(gradient), {name: ours[name][t - 1] for name in reached})
        reached["theta"] = tensor.detach().numpy().ravel().copy()
        for name, value in reached.items():
            others, gauge = seen.setdefault(name, ([], []))
            others.append(value)
            gauge.append(bounds.of(name, ours[name][t - 1]))
    if not np.any(case.gradients):  # nothing moves, to the bit
        assert_equal(ours["theta"][-1], start, "theta without a gradient")
        return
    agree(
        {
            f"{name} after each step": Quantity(
                ours[name], np.array(others), gauge, STEP, wide.get(name)
            )
            for name, (others, gauge) in seen.items()
        }
    )


def _walk(case: OptimizerCase, start: Array) -> dict[str, Array]:
    """Return parameters and state of our rule after each step, in the dtype of the start."""
    optimizer = OPTIMIZERS[case.rule](**case.choices)
    parameters = Parameters({"W1": start[None]})
    state: Any = optimizer.init(parameters)
    path: dict[str, list[Any]] = {}
    for gradient in case.gradients:
        g = np.array(gradient, start.dtype)
        handed = Parameters({"W1": g[None]})
        optimizer.update(parameters, handed, state)
        assert_equal(handed.theta, g, "gradients after the update")
        now = {"theta": parameters.theta, **(state._asdict() if state is not None else {})}
        for name, value in now.items():
            path.setdefault(name, []).append(np.copy(value))
    return {name: np.array(values) for name, values in path.items()}


class _Bounds:
    """Running-error gauges of an optimizer, entry by entry: what each step may be off by."""

    def __init__(self, case: OptimizerCase) -> None:
        """Begin exact."""
        self.rule, self.choices = case.rule, case.choices
        self.theta = np.array(case.start)
        zeros = np.zeros_like(self.theta)
        self.E = {"theta": zeros, "v": zeros, "s": zeros}
        self.before: dict[str, Array] = {"v": zeros, "s": zeros}

    def of(self, name: str, value: Array) -> Array:
        """Return the gauge of a quantity: what has piled up, and the value itself."""
        return self.E[name] + np.abs(value)

    def _average(self, name: str, target: Array, beta: float) -> None:
        """Move the bound of an average; torch's lerp makes its weight of the past of 1 - beta."""
        before, slack = self.before[name], abs((1 - (1 - beta)) - beta) / EPS
        E = beta * (self.E[name] + np.abs(before)) + 2 * (1 - beta) * np.abs(target)
        self.E[name] = E + slack * np.abs(target - before)

    def _root(self, s: Array, correction: float) -> tuple[Array, Array]:
        """Return the divisor of a rule and its gauge."""
        epsilon, s = self.choices["epsilon"], s / correction
        E_s = self.E["s"] / correction + s
        if self.choices["epsilon_inside_root"]:
            root = np.sqrt(s + epsilon)
            return root, (E_s + s + epsilon) / (2 * root) + root
        root = np.sqrt(s)
        # near 0 the root of what s may be off by is less than its first order
        far = np.divide(E_s, 2 * root, out=np.full_like(s, np.inf), where=root > 0)
        return root + epsilon, np.minimum(far, np.sqrt(E_s / EPS)) + 2 * root + epsilon

    def step(self, t: int, g: Array, state: Mapping[str, Array]) -> None:
        """Take the bounds through one step, after which the state is as given."""
        choices, size = self.choices, np.abs(g)
        rate, u, E_u = choices["learning_rate"], g, np.zeros_like(g)
        if self.rule == "momentum" and choices["averaging"]:
            self._average("v", g, choices["beta"])
            u, E_u = state["v"], self.E["v"]
        elif self.rule == "momentum":
            self.E["v"] = choices["beta"] * (self.E["v"] + np.abs(self.before["v"])) + size
            u, E_u = state["v"], self.E["v"]
        elif self.rule == "rmsprop":
            self._average("s", g**2, choices["beta"])
            u, E_u = self._divide(g, np.zeros_like(g), state["s"], 1.0)
        elif self.rule == "adam":
            self._average("v", g, choices["beta1"])
            self._average("s", g**2, choices["beta2"])
            corrected = choices["bias_correction"]
            of_v, of_s = (
                1 - choices[beta] ** t if corrected else 1.0 for beta in ("beta1", "beta2")
            )
            u, E_u = self._divide(state["v"] / of_v, self.E["v"] / of_v, state["s"], of_s)
        self.theta = self.theta - rate * u
        self.E["theta"] = self.E["theta"] + rate * (E_u + np.abs(u)) + np.abs(self.theta)
        self.before = {name: value.copy() for name, value in state.items()}

    def _divide(self, v: Array, E_v: Array, s: Array, correction: float) -> tuple[Array, Array]:
        root, E_root = self._root(s, correction)
        u = v / root
        return u, (E_v + np.abs(u) * E_root) / root + np.abs(u)


@dataclass(frozen=True, kw_only=True)
class ScheduleCase:
    """A schedule with its choices on an optimizer of some learning rate, for so many counts."""

    name: str
    choices: dict[str, Any]
    learning_rate: float
    counts: int
    rule: str


def check_schedule(case: ScheduleCase) -> None:
    """Hold the rate of every count against torch's scheduler, each on its own scale."""
    own = {} if case.name == "manual" else {"learning_rate": case.learning_rate}
    schedule = SCHEDULES[case.name](**own, **case.choices)
    tensor = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = theirs.OPTIMIZERS[case.rule]([tensor], learning_rate=case.learning_rate)
    scheduler = their_schedules.SCHEDULES[case.name](optimizer, **case.choices)
    (group,) = optimizer.param_groups
    expected = []
    for t in range(1, case.counts + 1):
        expected.append(group["lr"] / group.get("velocity_factor", 1.0))
        if t < case.counts:
            optimizer.step()
            scheduler.step()
    counts = np.arange(1, case.counts + 1)
    rates, other = np.array([schedule(int(t)) for t in counts]), np.array(expected)
    # ExponentialLR multiplies step by step, and each product rounds; so does decay t in e^(decay t)
    grown = 1 + counts * (1 + case.choices.get("decay", 0.0)) * ("exponential" in case.name)
    agree({"rates": Quantity(rates, other, other * grown)})


@dataclass(frozen=True, kw_only=True)
class ClippingCase:
    """Gradients of several tensors and a limit."""

    gradients: tuple[tuple[float, ...], ...]
    limit: float


def check_clipping(case: ClippingCase) -> None:
    """Hold both ways of clipping, and the norm, against what torch leaves in `.grad`."""
    gradients = Parameters(
        {f"W{l}": np.array([values]) for l, values in enumerate(case.gradients, start=1)}
    )
    before = gradients.theta.copy()
    clipped = {
        "value": clipping.clip_by_value(gradients, case.limit),
        "norm": clipping.clip_by_global_norm(gradients, case.limit),
    }
    assert_equal(gradients.theta, before, "gradients after clipping")
    norm = clipping.global_norm(gradients)
    if not before.any():
        assert_equal(norm, np.float64(0), "norm of zeros")
        assert_equal(clipped["norm"].theta, before, "zeros clipped")
        return
    tensors = {name: _carry(gradients) for name in clipped}
    their_clipping.clip_by_value(tensors["value"], case.limit)
    reported = their_clipping.clip_by_global_norm(tensors["norm"], case.limit)
    left = {
        name: np.concatenate([one.grad.numpy().ravel() for one in each])
        for name, each in tensors.items()
    }
    assert_equal(clipped["value"].theta, left["value"], "clipped by value")
    # one factor for all: each entry keeps its own digits
    wide = widened(clipping.clip_by_global_norm, gradients, case.limit)
    by_norm = Quantity(
        clipped["norm"].theta,
        left["norm"],
        np.abs(left["norm"]),
        wider=None if wide is None else wide.theta,
    )
    wide_norm = widened(clipping.global_norm, gradients)
    whole = Quantity(norm, reported.numpy()[()], wider=wide_norm)
    agree({"norm": whole, "clipped by norm": by_norm})


def _carry(gradients: Parameters) -> list[Any]:
    """Return torch parameters with these gradients."""
    tensors = []
    for name, view in gradients.items():
        tensors.append(torch.zeros(view.shape, dtype=torch.float64, requires_grad=True))
        tensors[-1].grad = to_torch(name, view)
    return tensors


@dataclass(frozen=True, kw_only=True)
class AverageCase:
    """A series and the beta of its moving average."""

    x: tuple[float, ...]
    beta: float
    bias_correction: bool


def check_average(case: AverageCase) -> None:
    """Hold each average against torch's, within what was summed up to it."""
    x, beta = np.array(case.x), case.beta
    v = moving_averages.moving_average(x, beta, case.bias_correction)
    assert_equal(x, np.array(case.x), "the series afterwards")
    if not x.any():
        assert_equal(v, np.zeros_like(x), "average of zeros")
        return
    other = their_moving_averages.moving_average(to_torch("x", x), beta, case.bias_correction)
    plain = moving_averages.moving_average(x, beta)
    gauge, E, before = np.empty_like(x), 0.0, 0.0
    slack = abs((1 - (1 - beta)) - beta) / EPS
    for t, (x_t, v_t) in enumerate(zip(x, plain, strict=True)):
        E = beta * (E + abs(before)) + 2 * (1 - beta) * abs(x_t) + slack * abs(x_t - before)
        gauge[t], before = E + abs(v_t), v_t
    if case.bias_correction:
        gauge /= -np.expm1(np.arange(1, len(x) + 1) * np.log(beta)) if beta else 1.0
    wide = widened(moving_averages.moving_average, x, beta, case.bias_correction)
    agree({"average": Quantity(v, other.numpy(), gauge, wider=wide)})
