"""The first step, layer, unit and quantity at which two runs part, walked in lockstep.

Each side takes a step and shows what it has computed on the way, in that order: Z and A of every
layer, the gradients from the last layer back, the optimizer's state, the parameters. Where a
rounded Z falls on either side of a rectifier's kink, values agree and the gradient does not: the
report then names the rectifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from parity_tests.compare.bridge import columns, masks_to_torch, rows, to_numpy, unload
from parity_tests.compare.budgets import TRAINING
from parity_tests.compare.measurement import Array, measure
from scratch.network import Network, cost_and_gradients, network_forward
from scratch.optimizers import Optimizer
from scratch.parameters import Parameters, from_vector
from torch_ref import network as theirs
from torch_ref.parameters import parameters as parameters_of

Masks = Mapping[str, Array]
#: results of a step, in its order: "Z1", "A1", "gradient of W1", "v of W1", "W1", ...
Computed = dict[str, Array]

#: activations with a kink at 0, in the names of both sides.
RECTIFIERS = ("relu", "leaky_relu")


class Run(Protocol):
    """A training that is walked step by step; anything with this one method will do."""

    def step(self, X: Array, Y: Array, masks: Masks | None = None) -> Computed:
        """Take a step on a mini-batch, (n_x, m) and (n_y, m); return what it computed, in order.

        Arrays are laid out as in `scratch`: a unit is a row. The name of a quantity ends with the
        number of its layer: "Z1", "A1", "gradient of W1", "v of W1", "W1".
        """


class ScratchRun:
    """A run of `scratch`: a network, its parameters, which are overwritten, and an optimizer."""

    def __init__(
        self, network: Network, parameters: Parameters, optimizer: Optimizer, **penalties: Any
    ) -> None:
        """Begin before the first step; `penalties` are l1, l2 and m of `cost_and_gradients`."""
        self.network, self.parameters, self.optimizer = network, parameters, optimizer
        self.penalties = penalties
        self.memory = optimizer.init(parameters)
        letter = "Z_tilde" if network.batch_norm else "Z"
        hidden = range(1, network.depth) if network.hidden in RECTIFIERS else ()
        #: the quantities whose sign a rectifier switches on.
        self.rectified = tuple(f"{letter}{l}" for l in hidden)

    def step(self, X: Array, Y: Array, masks: Masks | None = None) -> Computed:
        """Take a step on a mini-batch and return what it computed, in order."""
        network, parameters = self.network, self.parameters
        _, cache = network_forward(X, parameters, network, masks)
        computed: Computed = {}
        for l, linear in enumerate(cache.linear, start=1):
            if l > 1:
                computed[f"A{l - 1}"] = linear.A_prev
            computed[f"Z{l}"] = linear.W @ linear.A_prev + parameters.get(f"b{l}", 0.0)
            if l < network.depth and (normalized := cache.batch_norm[l - 1]) is not None:
                scaled = normalized.gamma * normalized.Z_norm
                computed[f"Z_tilde{l}"] = scaled + parameters[f"beta{l}"]
        _, gradients = cost_and_gradients(parameters, X, Y, network, masks=masks, **self.penalties)
        computed |= _backwards(gradients)
        self.optimizer.update(parameters, gradients, self.memory)
        state = self.memory._asdict() if hasattr(self.memory, "_asdict") else {}
        return computed | _after(state, parameters)


class TorchRun:
    """A run of a torch module whose `nn.Linear` layers are the network's, in order.

    A `torch_ref.network.Network` has its cost with it; any other module wants `cost(module, X, Y)`,
    rows being examples, a scalar. `state` names the optimizer's state, as `adam_state` does.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        cost: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        state: Callable[[torch.optim.Optimizer], Mapping[str, torch.Tensor]] | None = None,
        **penalties: Any,
    ) -> None:
        """Begin before the first step; `penalties` are l1, l2 and m of `cost_and_gradients`."""
        if cost is None and not isinstance(module, theirs.Network):
            raise TypeError(f"expected a cost for {type(module).__name__}, got none")
        self.module, self.optimizer = module, optimizer
        self.cost, self.state, self.penalties = cost, state, penalties

    def step(self, X: Array, Y: Array, masks: Masks | None = None) -> Computed:
        """Take a step on a mini-batch and return what it computed, in order."""
        named = parameters_of(self.module)
        device = str(next(iter(named.values())).device)
        computed: Computed = {}
        with ExitStack() as hooks:
            l = 0
            for part in self.module.modules():
                l += isinstance(part, nn.Linear)
                if isinstance(part, nn.Linear | nn.BatchNorm1d):
                    hooks.enter_context(part.register_forward_hook(partial(_show, computed, l)))
            pulled = self._pull(rows(X, device), rows(Y, device), masks, device)
        computed |= _backwards({name: to_numpy(name, one) for name, one in pulled.items()})
        for name, parameter in named.items():
            parameter.grad = pulled[name]
        self.optimizer.step()
        state = self.state(self.optimizer) if self.state else {}
        arrays = {name: one.detach().cpu().numpy() for name, one in state.items()}
        return computed | _after(arrays, unload(self.module))  # type: ignore[arg-type]

    def _pull(
        self, X: torch.Tensor, Y: torch.Tensor, masks: Masks | None, device: str
    ) -> dict[str, torch.Tensor]:
        module: Any = self.module
        if self.cost is None:
            dropped = None if masks is None else masks_to_torch(masks, device)
            return theirs.cost_and_gradients(module, X, Y, masks=dropped, **self.penalties)[1]
        if masks is not None:
            raise ValueError(f"expected no masks for {type(module).__name__}, got {[*masks]}")
        named = parameters_of(module)
        J = self.cost(module, X, Y)
        return dict(zip(named, torch.autograd.grad(J, list(named.values())), strict=True))


def _show(computed: Computed, l: int, part: nn.Module, inputs: Any, output: Any) -> None:
    """Keep copies of what goes into a part of layer l and comes out: either may be overwritten."""
    normalized = isinstance(part, nn.BatchNorm1d)
    if l > 1 and not normalized:
        computed[f"A{l - 1}"] = columns(inputs[0]).copy()
    computed[f"Z_tilde{l}" if normalized else f"Z{l}"] = columns(output).copy()


def layer_of(name: str) -> int:
    """Return the number that the name of a quantity ends with."""
    return int(re.findall(r"\d+$", name)[0])


def _backwards(gradients: Mapping[str, Array]) -> Computed:
    """Name the gradients in the order in which they are computed, the last layer first."""
    names = sorted(gradients, key=lambda name: -layer_of(name))
    return {f"gradient of {name}": gradients[name] for name in names}


def _after(state: Mapping[str, Any], parameters: Parameters) -> Computed:
    """Name the pieces of the vectors of an optimizer's state, then the parameters."""
    found: Computed = {}
    for letter, vector in state.items():
        if np.size(vector) == parameters.theta.size:
            pieces = from_vector(vector, parameters)
            found |= {f"{letter} of {name}": piece for name, piece in pieces.items()}
    return found | dict(parameters.copy())


@dataclass(frozen=True, kw_only=True)
class Parting:
    """The first place at which two runs part; `str` makes a sentence of it."""

    step: int  # from 1
    quantity: str  # "Z1", "gradient of W2", ..., or "rectifier of Z1"
    layer: int
    place: tuple[int, ...]  # (unit, example) of Z and A, (unit, input) of W, (unit, 0) of b
    ours: float
    theirs: float
    error: float  # in eps units, of what has left the bound
    allowed: float
    consequence: str = ""  # of a rectifier, what has left the bound

    @property
    def unit(self) -> int:
        """The unit of the layer, from 0."""
        return self.place[0]

    def __str__(self) -> str:
        """Return step, layer, unit and quantity, both numbers there, and their distance."""
        at = f"step {self.step}, layer {self.layer}, unit {self.unit}"
        values = f"ours {self.ours!r}, theirs {self.theirs!r}"
        bound = f"{self.error:.3g} eps units apart, allowed {self.allowed:.3g}"
        if self.consequence:
            return (
                f"{at}: the {self.quantity} switches differently on example {self.place[1]}: "
                f"{values}; so {self.consequence}, {bound}"
            )
        return f"{at}: {self.quantity}{[*self.place]} is apart: {values}, {bound}"


def locate(
    ours: Run,
    theirs: Run,
    batches: Iterable[tuple[Any, ...]],
    *,
    allowed: float | Callable[[int], float] = TRAINING.eps,
) -> Parting | None:
    """Walk two runs in lockstep and name the first place at which they part.

    Quantities that one run alone shows are left out, such as a state without names.

    Args:
        ours: a run, such as `ScratchRun`.
        theirs: the run that it is held to, such as `TorchRun`.
        batches: each is (X, Y), or (X, Y, masks) where units are dropped.
        allowed: how many eps of its largest entry so far a quantity may be apart, or a function
            that gives that for each step, counted from 1.

    Returns:
        The place, which prints as a sentence, or None where the runs stay together.

    Raises:
        ValueError: runs that show nothing by the same name, other shapes or gradients of other
            parameters, no batch at all, a bound that is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from parity_tests import locate
        >>> class Halving:
        ...     def __init__(self, rate):
        ...         self.W1, self.rate = np.ones((1, 1)), rate
        ...     def step(self, X, Y):
        ...         self.W1 = self.W1 * self.rate
        ...         return {"W1": self.W1}
        >>> parting = locate(Halving(0.5), Halving(0.25), [(None, None)] * 3)
        >>> print(parting.step, parting.quantity, parting.ours, parting.theirs)
        1 W1 0.5 0.25
    """
    largest: dict[str, float] = {}
    number = 0
    for number, batch in enumerate(batches, start=1):
        mine, other = both = ours.step(*batch), theirs.step(*batch)
        bound = allowed(number) if callable(allowed) else allowed
        if not 0 <= bound < np.inf:
            raise ValueError(f"expected a bound from 0 at step {number}, got {bound}")
        common = [name for name in mine if name in other]
        if not common:
            raise ValueError(f"expected quantities in common, got {[*mine]} and {[*other]}")
        _refuse_other_parameters(*both)
        for name in common:
            shapes = mine[name].shape, other[name].shape
            if shapes[0] != shapes[1]:
                raise ValueError(f"expected {name} of one shape, got {shapes}")
            largest[name] = max(largest.get(name, 0.0), float(np.abs(other[name]).max()))
            found = measure(mine[name], other[name], largest[name])
            if not found.error <= bound:
                parting = Parting(
                    step=number, error=found.error, allowed=bound, **_at(name, found.place, *both)
                )
                return _explained(parting, *both, getattr(ours, "rectified", ()))
    if not number:
        raise ValueError("expected at least one batch, got none")
    return None


def _refuse_other_parameters(mine: Computed, other: Computed) -> None:
    shown = [{name for name in side if name.startswith("gradient of ")} for side in (mine, other)]
    if all(shown) and shown[0] != shown[1]:
        alone = sorted(shown[0] ^ shown[1])
        raise ValueError(f"expected gradients of the same parameters, got {alone} on one side only")


def _at(name: str, place: tuple[int, ...], mine: Computed, other: Computed) -> dict[str, Any]:
    """Return the fields of a parting that say where it is and which values are there."""
    values = {"ours": float(mine[name][place]), "theirs": float(other[name][place])}
    return {"quantity": name, "layer": layer_of(name), "place": place, **values}


def _explained(parting: Parting, mine: Computed, other: Computed, rectified: Any) -> Parting:
    """Return the rectifier that makes a gradient part, where that layer's has switched."""
    name = next((one for one in rectified if layer_of(one) == parting.layer), None)
    if name is None or not parting.quantity.startswith("gradient"):
        return parting
    switched = np.argwhere((mine[name] > 0) != (other[name] > 0))
    # the unit whose gradient is furthest apart, if it is one of those that switched
    place = next((tuple(one.tolist()) for one in switched if one[0] == parting.unit), None)
    if place is None:
        return parting
    here = {**_at(name, place, mine, other), "quantity": f"rectifier of {name}"}
    at = f"{parting.quantity}{[*parting.place]}"
    said = f"{at} is {parting.ours!r} in ours and {parting.theirs!r} in theirs"
    return replace(parting, **here, consequence=said)
