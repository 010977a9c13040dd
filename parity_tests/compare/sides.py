"""Both sides behind one interface, in the layout of `scratch`, to be asked for the same things."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parity_tests.compare.bridge import (
    columns,
    masks_to_torch,
    rows,
    to_numpy,
    to_torch,
    twin,
    unload,
)
from scratch import activations, batch_norm, costs, linear, network, optimizers, training
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import activations as their_activations
from torch_ref import batch_norm as their_batch_norm
from torch_ref import costs as their_costs
from torch_ref import linear as their_linear
from torch_ref import network as their_network
from torch_ref import optimizers as their_optimizers
from torch_ref import training as their_training
from torch_ref.parameters import parameters as their_parameters

Array = NDArray[Any]
Named = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Side:
    """What the invariants ask for; every function takes and returns arrays of `scratch`'s layout.

    `activation(name, Z, dA)` returns {"output", "Z"}: A and dZ. `cost(name, logits, Y, dJ)` returns
    {"output", "Z"}, `linear(A_prev, W, b, dZ)` and `batch_norm(Z, gamma, beta, epsilon, upstream)`
    {"output"} and the gradient of each input by name.
    `network(network, parameters, X, dA)` returns {"output"} and the gradients of X and every
    parameter, `learn(network, parameters, X, Y, **choices)` {"cost"} and the gradients.
    `walk(name, choices, start, gradients)` returns the path (steps + 1, N) of theta on injected
    gradients (steps, N), `train(network, parameters, X, Y, optimizer, choices, **run)` the
    parameters that a training ends with.
    """

    activation: Callable[..., dict[str, Array]]
    cost: Callable[..., dict[str, Array]]
    linear: Callable[..., dict[str, Array]]
    batch_norm: Callable[..., dict[str, Array]]
    network: Callable[..., dict[str, Array]]
    learn: Callable[..., dict[str, Array]]
    walk: Callable[..., Array]
    train: Callable[..., Parameters]


def _activation(name: str, Z: Array, dA: Array) -> dict[str, Array]:
    forward, backward = activations.ACTIVATIONS[name]
    assert backward is not None
    A, cache = forward(Z)
    return {"output": A, **backward(dA, cache)}


def _cost(name: str, logits: Array, Y: Array, dJ: float = 1.0) -> dict[str, Array]:
    forward, backward = costs.COSTS[name]
    J, cache = forward(logits, Y)
    return {"output": np.asarray(J), **backward(dJ, cache)}


def _linear(A_prev: Array, W: Array, b: Array, dZ: Array) -> dict[str, Array]:
    Z, cache = linear.linear_forward(A_prev, W, b)
    return {"output": Z, **linear.linear_backward(dZ, cache)}


def _batch_norm(
    Z: Array, gamma: Array, beta: Array, epsilon: float, upstream: Array
) -> dict[str, Array]:
    output, cache = batch_norm.batch_norm_forward(Z, gamma, beta, epsilon)
    return {"output": output, **batch_norm.batch_norm_backward(upstream, cache)}


def _network(choices: Network, parameters: Parameters, X: Array, dA: Array) -> dict[str, Array]:
    A, cache = network.network_forward(X, parameters, choices)
    return {"output": A, **network.network_backward(dA, cache)}


def _learn(
    choices: Network, parameters: Parameters, X: Array, Y: Array, **rest: Any
) -> dict[str, Array]:
    J, gradients = network.cost_and_gradients(parameters, X, Y, choices, **rest)
    return {"cost": np.asarray(J), **gradients}


def _walk(name: str, choices: Mapping[str, Any], start: Array, gradients: Array) -> Array:
    rule: optimizers.Optimizer = optimizers.OPTIMIZERS[name](**choices)
    parameters = Parameters({"theta": start})
    state, pulled, path = rule.init(parameters), parameters.zeros_like(), [start.copy()]
    for gradient in gradients:
        pulled.theta[:] = gradient
        rule.update(parameters, pulled, state)
        path.append(parameters.theta.copy())
    return np.array(path)


def _train(
    choices: Network,
    parameters: Parameters,
    X: Array,
    Y: Array,
    optimizer: str,
    rates: Mapping[str, Any],
    **run: Any,
) -> Parameters:
    reached, rule = parameters.copy(), optimizers.OPTIMIZERS[optimizer](**rates)
    training.train(choices, reached, X, Y, optimizer=rule, **run)
    return reached


SCRATCH = Side(
    activation=_activation,
    cost=_cost,
    linear=_linear,
    batch_norm=_batch_norm,
    network=_network,
    learn=_learn,
    walk=_walk,
    train=_train,
)


def _pulled(
    function: Callable[..., torch.Tensor], inputs: Named, upstream: Any, *rest: Any
) -> dict[str, Array]:
    """Return the output and, by autograd, the gradient of each input."""
    tensors = {name: to_torch(name, value).requires_grad_() for name, value in inputs.items()}
    output = function(*tensors.values(), *rest)
    back = to_torch("output", np.asarray(upstream)).to(output.dtype)
    pulled = torch.autograd.grad(output, list(tensors.values()), back)
    gradients = {name: to_numpy(name, one) for name, one in zip(tensors, pulled, strict=True)}
    return {"output": to_numpy("output", output), **gradients}


def _their_activation(name: str, Z: Array, dA: Array) -> dict[str, Array]:
    return _pulled(their_activations.ACTIVATIONS[name](), {"Z": Z}, dA)


def _their_cost(name: str, logits: Array, Y: Array, dJ: float = 1.0) -> dict[str, Array]:
    return _pulled(their_costs.COSTS[name], {"Z": logits}, dJ, rows(Y))


def _their_linear(A_prev: Array, W: Array, b: Array, dZ: Array) -> dict[str, Array]:
    return _pulled(their_linear.linear, {"A_prev": A_prev, "W": W, "b": b}, dZ)


def _their_batch_norm(
    Z: Array, gamma: Array, beta: Array, epsilon: float, upstream: Array
) -> dict[str, Array]:
    inputs = {"Z": Z, "gamma": gamma, "beta": beta}
    return _pulled(their_batch_norm.batch_norm, inputs, upstream, epsilon)


def _their_network(
    choices: Network, parameters: Parameters, X: Array, dA: Array
) -> dict[str, Array]:
    module, tensor = twin(choices, parameters), rows(X).requires_grad_()
    named = {"X": tensor, **their_parameters(module)}
    with their_network.mode(module, training=True):
        output = module(tensor)
    pulled = torch.autograd.grad(output, list(named.values()), rows(dA))
    gradients = {name: to_numpy(name, one) for name, one in zip(named, pulled, strict=True)}
    return {"output": columns(output), **gradients}


def _their_learn(
    choices: Network, parameters: Parameters, X: Array, Y: Array, **rest: Any
) -> dict[str, Array]:
    if "masks" in rest:
        rest["masks"] = masks_to_torch(rest["masks"])
    module = twin(choices, parameters)
    J, gradients = their_network.cost_and_gradients(module, rows(X), rows(Y), **rest)
    return {"cost": J.numpy(), **{name: to_numpy(name, one) for name, one in gradients.items()}}


def _their_walk(name: str, choices: Mapping[str, Any], start: Array, gradients: Array) -> Array:
    theta = torch.from_numpy(start.copy()).requires_grad_()
    rule, path = their_optimizers.OPTIMIZERS[name]([theta], **choices), [start.copy()]
    for gradient in gradients:
        theta.grad = torch.from_numpy(gradient.copy())
        rule.step()
        path.append(theta.detach().numpy().copy())
    return np.array(path)


def _their_train(
    choices: Network,
    parameters: Parameters,
    X: Array,
    Y: Array,
    optimizer: str,
    rates: Mapping[str, Any],
    **run: Any,
) -> Parameters:
    module = twin(choices, parameters)
    rule = their_optimizers.OPTIMIZERS[optimizer](module.parameters(), **rates)
    run.pop("running", None)  # the module has its own
    if run.get("masks") is not None:
        run["masks"] = [masks_to_torch(masks) for masks in run["masks"]]
    their_training.train(module, rows(X), rows(Y), optimizer=rule, **run)
    return unload(module)


TORCH = Side(
    activation=_their_activation,
    cost=_their_cost,
    linear=_their_linear,
    batch_norm=_their_batch_norm,
    network=_their_network,
    learn=_their_learn,
    walk=_their_walk,
    train=_their_train,
)

SIDES: Mapping[str, Side] = {"scratch": SCRATCH, "torch_ref": TORCH}
