"""Cases of whole networks: any shape, activations, dropout, batch norm, penalties, labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parity_tests.compare.bridge import (
    columns,
    load_running,
    masks_to_torch,
    rows,
    to_numpy,
    twin,
    unload_running,
)
from parity_tests.compare.budgets import FORWARD, GRADIENT
from parity_tests.compare.gauges import (
    cost_gauges,
    layer_gauges,
    moment_gauges,
    network_gauges,
    prediction_gauge,
)
from parity_tests.compare.witnesses import widened
from parity_tests.properties.agreement import (
    FIRST_ORDER,
    Quantity,
    VacuousError,
    agree,
    assert_equal,
)
from parity_tests.properties.draws import draw
from scratch._step import TrainingStep
from scratch.batch_norm import BatchNorm, running_averages
from scratch.dropout import draw_masks
from scratch.network import (
    Network,
    cost_and_gradients,
    network_backward,
    network_forward,
    outputs,
    predict,
)
from scratch.parameters import Parameters
from torch_ref import network as theirs
from torch_ref.parameters import parameters as their_parameters

Array = NDArray[Any]
Gauges = Mapping[str, Array]
EPS = float(np.finfo(np.float64).eps)

#: activations without curvature: what was rounded before is passed on in proportion.
STRAIGHT = ("identity", "relu", "leaky_relu")


@dataclass(frozen=True, kw_only=True)
class NetworkCase:
    """A network, m examples of a kind, parameters of a kind times a scale, masks from the seed."""

    layer_sizes: tuple[int, ...]
    m: int
    hidden: str
    output: str
    keep_probs: tuple[float, ...]
    epsilon: float | None  # of batch norm, None without
    kind: str
    weights: str
    scale: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class TrainingCase(NetworkCase):
    """The same with labels, penalties that `shared` examples share, and running averages."""

    l1: float
    l2: float
    shared: int
    decay: float
    unbiased: bool


class _Drawn:
    """What a case says: the network, its parameters, X, masks, and the gauges of a backward."""

    def __init__(self, case: NetworkCase) -> None:
        """Draw it all from the seed."""
        rng = self.rng = np.random.default_rng(case.seed)
        norm = None
        if case.epsilon is not None:
            choices = {
                name: getattr(case, name) for name in ("decay", "unbiased") if hasattr(case, name)
            }
            norm = BatchNorm(epsilon=case.epsilon, **choices)
        self.network = Network(
            layer_sizes=case.layer_sizes,
            hidden=case.hidden,
            output=case.output,
            keep_probs=case.keep_probs,
            batch_norm=norm,
        )
        self.parameters = Parameters.empty(self.network.shapes)
        for name, view in self.parameters.items():
            view[...] = draw(case.weights, view.shape, rng)
            if name.startswith("W"):
                view *= case.scale if case.weights == "grid" else case.scale / view.shape[1] ** 0.5
            elif name.startswith("beta"):  # of 0, a unit without spread would stand on the kink
                view[...] = rng.standard_normal(view.shape)
        self.X = draw(case.kind, (case.layer_sizes[0], case.m), rng)
        self.masks = draw_masks(case.layer_sizes, self.network.keep_probs, case.m, rng)
        # halves and their sums, cut at 0 and doubled by a mask, are exact in every order
        self.exact = {case.kind, case.weights} == {"grid"} and case.scale in (0.5, 1.0, 2.0)
        self.exact_below = case.hidden in ("relu", "identity") and not norm
        self.exact_below &= all(keep_prob in (0.25, 0.5, 1.0) for keep_prob in case.keep_probs)

    @property
    def arguments(self) -> dict[str, Array]:
        """Return X and the parameters by name."""
        return {"X": self.X, **self.parameters}

    def refuse_edges(self, inputs: tuple[Any, ...], gauges: Gauges) -> None:
        """Raise VacuousError where round-off decides on which side of a kink a unit stands.

        Exact ties stay. Batch norm over features that have no spread makes much of what was rounded
        before: where layer upon layer has done so, a bound of first order holds no longer.
        """
        curved = self.network.batch_norm is not None or self.network.hidden not in STRAIGHT
        for l, cache in enumerate(inputs, start=1):
            E_Z = gauges[f"Z{l}"]
            if curved and EPS * E_Z.max() > FIRST_ORDER:
                raise VacuousError(f"round-off has grown to {EPS * E_Z.max():.3g} in layer {l}")
            exact = self.exact and (l == 1 or self.exact_below)
            if exact or not self.network.activation(l).endswith("relu"):
                continue
            if ((np.abs(cache.Z) <= GRADIENT.eps * EPS * E_Z) & (E_Z > 0)).any():
                raise VacuousError(f"round-off decides which units of layer {l} are on")


def check_network(case: NetworkCase) -> None:
    """Hold the output and the gradient of X and of every parameter against torch."""
    one = _Drawn(case)
    upstream = one.rng.standard_normal((case.layer_sizes[-1], case.m))
    drawn = one.X, one.parameters, one.masks, upstream
    ours, inputs = _there_and_back(one.network, *drawn)
    gauges = network_gauges(one.network, one.arguments, upstream, one.masks)
    one.refuse_edges(inputs, layer_gauges(one.network, one.arguments, one.masks))
    wide: dict[str, Array] = (widened(_there_and_back, one.network, *drawn) or ({},))[0]

    module = twin(one.network, one.parameters)
    X = rows(one.X).requires_grad_()
    with theirs.dropping(module, masks_to_torch(one.masks), case.m):
        expected = module(X)
    named = dict(zip(one.arguments, (X, *their_parameters(module).values()), strict=True))
    pulled = torch.autograd.grad(expected, list(named.values()), rows(upstream))
    references = {"output": columns(expected)}
    for name, gradient in zip(named, pulled, strict=True):
        references[name] = to_numpy(name, gradient)
    if list(ours) != list(references):
        raise AssertionError(f"ours has {list(ours)}, expected {list(references)}")
    agree(
        {
            name if name == "output" else f"gradient of {name}": Quantity(
                ours[name],
                reference,
                gauges[name],
                FORWARD if name == "output" else GRADIENT,
                wide.get(name),
            )
            for name, reference in references.items()
        }
    )


def _there_and_back(
    network: Network, X: Array, parameters: Parameters, masks: Any, upstream: Array
) -> tuple[dict[str, Array], tuple[Any, ...]]:
    """Return output and gradients by name, and the caches of the activations."""
    A, cache = network_forward(X, parameters, network, masks)
    return {"output": A, **network_backward(upstream, cache)}, cache.activation


def _labels(case: NetworkCase, rng: np.random.Generator) -> Array:
    n = case.layer_sizes[-1]
    if case.output == "softmax":
        return np.eye(n)[:, rng.integers(0, n, case.m)]
    return rng.integers(0, 2, (n, case.m)).astype(float)


def check_training(case: TrainingCase) -> None:
    """Hold cost and gradients with penalties against torch, our own step, and both predictions."""
    one = _Drawn(case)
    Y = _labels(case, one.rng)
    penalties: dict[str, Any] = {"l1": case.l1, "l2": case.l2, "m": case.shared}
    gauges = cost_gauges(one.network, one.arguments, Y, one.masks, **penalties)
    inside = layer_gauges(one.network, one.arguments, one.masks)
    _, cache = network_forward(one.X, one.parameters, one.network, one.masks)
    one.refuse_edges(cache.activation[:-1], inside)
    running = None
    if one.network.batch_norm and one.network.depth > 1:
        running = running_averages(case.layer_sizes)
    data = one.X, Y, one.parameters, one.masks, running
    wide = widened(_costs, one.network, penalties, *data) or {}  # from a copy of the averages
    ours = _costs(one.network, penalties, *data)

    module = twin(one.network, one.parameters)
    torchs: dict[str, Any] = {**penalties, "masks": masks_to_torch(one.masks)}
    cost, pulled = theirs.cost_and_gradients(module, rows(one.X), rows(Y), **torchs)
    quantities = {}
    for name in ("cost", *(f"gradient of {name}" for name in pulled)):
        own = name.removeprefix("gradient of ")
        reference = cost.numpy()[()] if name == "cost" else to_numpy(own, pulled[own])
        held = gauges["output" if name == "cost" else own], FORWARD if name == "cost" else GRADIENT
        quantities[name] = Quantity(ours[name], reference, *held, wide.get(name))
        again = f"{name} of the step"
        quantities[again] = Quantity(ours[again], ours[name], *held, wide.get(again))
    if running is not None:
        load_running(module, running_averages(case.layer_sizes))
        with torch.no_grad(), theirs.dropping(module, torchs["masks"], case.m):
            module.logits(rows(one.X))
        moved, bounds = unload_running(module), _running_gauges(one, inside)
        for name, average in running.items():
            quantities[name] = Quantity(
                average.copy(), moved[name], bounds[name], wider=wide.get(name)
            )
        load_running(module, running)  # predictions are compared for the same averages
    if running is not None or not one.network.batch_norm:
        quantities["outputs"] = _predictions(one, running, module)
    agree(quantities)


def _costs(
    network: Network,
    penalties: Mapping[str, Any],
    X: Array,
    Y: Array,
    parameters: Parameters,
    masks: Any,
    running: Parameters | None,
) -> dict[str, Any]:
    """Return cost and gradients, those of a training step too, and where it moved the averages."""
    J, gradients = cost_and_gradients(parameters, X, Y, network, masks=masks, **penalties)
    l1, l2, shared = penalties["l1"], penalties["l2"], penalties["m"]
    step = TrainingStep(network, parameters, l1, l2, shared, running)
    found = {"cost": J, "cost of the step": step.cost_and_gradients(X, Y, masks)}
    for name, gradient in gradients.items():
        found[f"gradient of {name}"] = gradient
        found[f"gradient of {name} of the step"] = step.gradients[name]
    return {**found, **(running or {})}


def _running_gauges(one: _Drawn, gauges: Gauges) -> dict[str, Array]:
    """Return the gauges of the running averages after one mini-batch."""
    norm = one.network.batch_norm
    assert norm is not None
    _, cache = network_forward(one.X, one.parameters, one.network, one.masks)
    m, bounds = one.X.shape[1], {}
    correction = m / (m - 1) if norm.unbiased else 1.0
    for l, (linear, normalized) in enumerate(zip(cache.linear, cache.batch_norm, strict=False), 1):
        assert normalized is not None
        Z = linear.W @ linear.A_prev
        E_mean, _, E_variance = moment_gauges(Z, gauges[f"linear{l}"], normalized)
        # torch moves an average by a difference, in which both ends round
        bounds[f"mean{l}"] = E_mean + np.abs(normalized.mean)
        bounds[f"variance{l}"] = 1 + correction * (E_variance + normalized.variance)
    return bounds


def _predictions(one: _Drawn, running: Parameters | None, module: Any) -> Quantity:
    """Hold the labels at prediction wherever round-off does not decide them; return the outputs."""
    A = outputs(one.X, one.parameters, one.network, running)
    gauge = prediction_gauge(one.network, one.arguments, running)
    labels = predict(one.X, one.parameters, one.network, running)
    expected = columns(theirs.predict(rows(one.X), module))
    if one.network.output == "softmax":
        ordered = np.sort(A, axis=0)
        margin = ordered[-1:] - ordered[-2:-1] if len(A) > 1 else np.ones_like(A)
    else:
        margin = np.abs(A - 0.5)
    decided = margin > GRADIENT.eps * EPS * gauge.max(axis=0)
    assert_equal(np.where(decided, labels, 0), np.where(decided, expected, 0), "predictions")
    wide = widened(outputs, one.X, one.parameters, one.network, running)
    return Quantity(A, columns(theirs.outputs(rows(one.X), module)), gauge, wider=wide)
