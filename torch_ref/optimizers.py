"""Optimizers, as PyTorch spells them, and what the course calls their hyper-parameters and state.

Only the two rules that torch does not have, epsilon inside the root and Adam without bias
correction, are written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from torch_ref._validation import (
    Expected,
    Floats,
    Function,
    Instance,
    Number,
    Whole,
    check,
    describe,
    validated,
)

__all__ = [
    "OPTIMIZERS",
    "Optimizer",
    "adam",
    "adam_state",
    "gradient_descent",
    "gradient_descent_state",
    "minimize",
    "momentum",
    "momentum_state",
    "rmsprop",
    "rmsprop_state",
]

Tensor = torch.Tensor
Optimizer = torch.optim.Optimizer
Tensors = Iterable[Any]  # tensors, or dictionaries of groups as every torch optimizer takes them

_RATES: Mapping[str, Expected] = {
    "learning_rate": Number("(0, inf)"),
    "beta": Number("[0, 1)"),
    "beta1": Number("[0, 1)"),
    "beta2": Number("[0, 1)"),
    "epsilon": Number("(0, inf)"),
    "averaging": Instance(bool),
    "bias_correction": Instance(bool),
    "epsilon_inside_root": Instance(bool),
}


def _check(**choices: Any) -> None:
    check({name: _RATES[name] for name in choices}, choices)


def gradient_descent(parameters: Tensors, *, learning_rate: float) -> Optimizer:
    """Return plain SGD: theta = theta - alpha g.

    Args:
        parameters: tensors, or groups of them, as torch's optimizers take them.
        learning_rate: alpha.

    Raises:
        ValueError: learning_rate is not above 0.

    Example:
        >>> import torch
        >>> from torch_ref.optimizers import gradient_descent
        >>> theta = torch.tensor([3.0], requires_grad=True)
        >>> rule = gradient_descent([theta], learning_rate=0.1)
        >>> theta.grad = torch.tensor([2.0])
        >>> rule.step()
        >>> print(round(theta.item(), 3))
        2.8

    Source: torch.optim.SGD.
    """
    _check(learning_rate=learning_rate)
    return torch.optim.SGD(parameters, lr=learning_rate)


def momentum(
    parameters: Tensors, *, learning_rate: float, beta: float = 0.9, averaging: bool = True
) -> Optimizer:
    """Return SGD whose velocity is the course's, up to the factor 1 - beta.

    The course averages, v = beta v + (1 - beta) g; torch accumulates, buf = beta buf + g, and seeds
    buf with the first gradient undamped. So v = (1 - beta) buf, and the factor moves into the
    learning rate; `dampening=beta` would disagree from the first step on. Without averaging the
    course's v is torch's buf.

    Args:
        parameters: tensors, or groups of them, as torch's optimizers take them.
        learning_rate: alpha.
        beta: share of the past that v keeps.
        averaging: False leaves the factor 1 - beta out.

    Raises:
        ValueError: learning_rate is not above 0, or beta not in [0, 1).

    Example:
        >>> import torch
        >>> from torch_ref.optimizers import momentum
        >>> theta = torch.tensor([3.0], requires_grad=True)
        >>> rule = momentum([theta], learning_rate=0.1)
        >>> theta.grad = torch.tensor([2.0])
        >>> rule.step()
        >>> print(round(theta.item(), 3))
        2.98

    Source: torch.optim.SGD.
    """
    _check(learning_rate=learning_rate, beta=beta, averaging=averaging)
    factor = 1 - beta if averaging else 1.0
    optimizer = torch.optim.SGD(parameters, lr=learning_rate * factor, momentum=beta)
    for group in optimizer.param_groups:
        group["velocity_factor"] = factor  # for `momentum_state`; SGD passes over it
    if beta == 0:
        optimizer.register_step_pre_hook(_keep_velocity)
    return optimizer


def _keep_velocity(optimizer: Optimizer, *_: Any) -> None:
    """Keep for `momentum_state` what SGD steps by: it has no buffer for a beta of 0."""
    for group in optimizer.param_groups:
        for theta in group["params"]:
            if theta.grad is not None:
                g = theta.grad.add(theta.detach(), alpha=group["weight_decay"])
                optimizer.state[theta]["momentum_buffer"] = g


def rmsprop(
    parameters: Tensors,
    *,
    learning_rate: float,
    beta: float = 0.9,
    epsilon: float = 1e-8,
    epsilon_inside_root: bool = False,
) -> Optimizer:
    """Return RMSprop with the course's beta, which torch calls alpha and sets to 0.99 by default.

    Args:
        parameters: tensors, or groups of them, as torch's optimizers take them.
        learning_rate: the course's alpha.
        beta: share of the past that s keeps.
        epsilon: keeps the divisor from 0; torch adds it outside the root.
        epsilon_inside_root: make `RMSpropInsideRoot` instead.

    Raises:
        ValueError: learning_rate or epsilon is not above 0, or beta not in [0, 1).

    Example:
        >>> import torch
        >>> from torch_ref.optimizers import rmsprop
        >>> theta = torch.tensor([3.0], requires_grad=True)
        >>> rule = rmsprop([theta], learning_rate=0.1)
        >>> theta.grad = torch.tensor([2.0])
        >>> rule.step()
        >>> print(round(theta.item(), 3))
        2.684

    Source: torch.optim.RMSprop.
    """
    _check(
        learning_rate=learning_rate,
        beta=beta,
        epsilon=epsilon,
        epsilon_inside_root=epsilon_inside_root,
    )
    rule = RMSpropInsideRoot if epsilon_inside_root else torch.optim.RMSprop
    return rule(parameters, lr=learning_rate, alpha=beta, eps=epsilon)


def adam(
    parameters: Tensors,
    *,
    learning_rate: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_inside_root: bool = False,
    bias_correction: bool = True,
) -> Optimizer:
    """Return Adam; epsilon stands outside the root of the corrected s, as in torch and the course.

    Args:
        parameters: tensors, or groups of them, as torch's optimizers take them.
        learning_rate: alpha.
        beta1: share of the past that v keeps.
        beta2: share of the past that s keeps.
        epsilon: keeps the divisor from 0.
        epsilon_inside_root: make an `AdamDialect` that divides by sqrt(s_hat + epsilon).
        bias_correction: False makes an `AdamDialect` that takes v and s as they are.

    Raises:
        ValueError: learning_rate or epsilon is not above 0, or a beta not in [0, 1).

    Example:
        >>> import torch
        >>> from torch_ref.optimizers import adam
        >>> theta = torch.tensor([3.0], requires_grad=True)
        >>> rule = adam([theta], learning_rate=0.1)
        >>> theta.grad = torch.tensor([2.0])
        >>> rule.step()
        >>> print(round(theta.item(), 3))
        2.9

    Source: torch.optim.Adam.
    """
    _check(
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_inside_root=epsilon_inside_root,
        bias_correction=bias_correction,
    )
    rates: dict[str, Any] = {"lr": learning_rate, "betas": (beta1, beta2), "eps": epsilon}
    if epsilon_inside_root or not bias_correction:
        return AdamDialect(parameters, **rates, inside=epsilon_inside_root, correct=bias_correction)
    return torch.optim.Adam(parameters, **rates)


class _Rule(Optimizer):
    """The walk over the parameters that have a gradient, shared by the rules torch lacks."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Overwrite every parameter that has a gradient with its value after one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    g = parameter.grad
                    if group["weight_decay"]:
                        g = g.add(parameter, alpha=group["weight_decay"])
                    self._step(parameter, g, self.state[parameter], group)
        return loss

    def _step(self, theta: Tensor, g: Tensor, state: dict[str, Any], group: Any) -> None:
        raise NotImplementedError


class RMSpropInsideRoot(_Rule):
    """RMSprop with theta = theta - alpha g / sqrt(s + eps), which torch does not offer."""

    def __init__(
        self, params: Tensors, *, lr: float, alpha: float, eps: float, weight_decay: float = 0.0
    ):
        """Take torch's names for its own RMSprop."""
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _step(self, theta: Tensor, g: Tensor, state: dict[str, Any], group: Any) -> None:
        s = state.setdefault("square_avg", torch.zeros_like(theta))
        s.lerp_(g.square(), 1 - group["alpha"])
        theta.sub_(g * s.add(group["eps"]).rsqrt(), alpha=group["lr"])


class AdamDialect(_Rule):
    """Adam with epsilon inside the root, or without bias correction, which torch does not offer."""

    def __init__(
        self,
        params: Tensors,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        inside: bool,
        correct: bool,
        weight_decay: float = 0.0,
    ):
        """Take torch's names for its own Adam, and the two choices."""
        choices = {"inside": inside, "correct": correct, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps} | choices)

    def _step(self, theta: Tensor, g: Tensor, state: dict[str, Any], group: Any) -> None:
        beta1, beta2 = group["betas"]
        v = state.setdefault("exp_avg", torch.zeros_like(theta))
        s = state.setdefault("exp_avg_sq", torch.zeros_like(theta))
        t = state.setdefault("step", torch.zeros(()))
        t += 1
        v.lerp_(g, 1 - beta1)
        s.lerp_(g.square(), 1 - beta2)
        v_hat = v / (1 - beta1 ** t.item()) if group["correct"] else v
        s_hat = s / (1 - beta2 ** t.item()) if group["correct"] else s
        eps = group["eps"]
        root = s_hat.add(eps).sqrt() if group["inside"] else s_hat.sqrt().add(eps)
        theta.addcdiv_(v_hat, root, value=-group["lr"])


def _vector(optimizer: Optimizer, key: str, factor: str = "") -> Tensor:
    """Return one entry of the state of every parameter as one vector, times a group's factor."""
    pieces = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            entry = optimizer.state.get(parameter, {}).get(key)
            if entry is None:
                raise ValueError(
                    f"expected an optimizer with {key} for each parameter: take a step first"
                )
            pieces.append(entry.flatten() * group.get(factor, 1.0))
    return torch.cat(pieces)


@validated(optimizer=Instance(Optimizer))
def gradient_descent_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the course's names for the state of `gradient_descent`: none. Source: SGD."""
    return {}


@validated(optimizer=Instance(Optimizer))
def momentum_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return {"v": (N,)} of `momentum` after a step, v = (1 - beta) buf. Source: SGD."""
    return {"v": _vector(optimizer, "momentum_buffer", "velocity_factor")}


@validated(optimizer=Instance(Optimizer))
def rmsprop_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return {"s": (N,)} of `rmsprop` after a step. Source: torch.optim.RMSprop."""
    return {"s": _vector(optimizer, "square_avg")}


@validated(optimizer=Instance(Optimizer))
def adam_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return {"v": (N,), "s": (N,), "t": ()} of `adam` after a step. Source: torch.optim.Adam."""
    moments = {"v": _vector(optimizer, "exp_avg"), "s": _vector(optimizer, "exp_avg_sq")}
    return {**moments, "t": optimizer.state[optimizer.param_groups[0]["params"][0]]["step"]}


@validated(cost=Function(), start=Floats("N"), optimizer=Function(), steps=Whole(1))
def minimize(
    cost: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    optimizer: Callable[[list[Tensor]], Optimizer],
    steps: int,
) -> Tensor:
    """Return the path (steps + 1, N) of theta from `start`, (N,), down a scalar cost(theta).

    `optimizer` makes one for a list of tensors. Raises TypeError or ValueError for a cost that is
    no scalar tensor. Source: torch.autograd.grad, torch.optim.
    """
    theta = start.detach().clone().requires_grad_()
    rule, path = optimizer([theta]), [start.detach().clone()]
    for _ in range(steps):
        J = cost(theta)
        if not isinstance(J, Tensor):
            raise TypeError(f"expected cost to return a tensor, got {describe(J)}")
        if J.shape:
            raise ValueError(f"expected cost to return a scalar, got shape {tuple(J.shape)}")
        (theta.grad,) = torch.autograd.grad(J, theta)
        rule.step()
        path.append(theta.detach().clone())
    return torch.stack(path)


#: every optimizer by name; the same keys as `scratch.optimizers.OPTIMIZERS`.
OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "gradient_descent": gradient_descent,
    "momentum": momentum,
    "rmsprop": rmsprop,
    "adam": adam,
}
