"""The cost and gradients of a training step, written into gradients that already exist.

The same numbers as `scratch.network.cost_and_gradients`, which stays the definition, without its
checks, its copies of the weight gradients and the gradient of X that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scratch._validation import Array, unchecked
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import (
    BatchNormCache,
    batch_norm_backward,
    batch_norm_forward,
    update_running_averages,
)
from scratch.costs import COSTS
from scratch.network import BACKWARD, OUTPUT_COSTS, Network
from scratch.parameters import Parameters

_norm_forward = unchecked(batch_norm_forward)
_norm_backward = unchecked(batch_norm_backward)
_update = unchecked(update_running_averages)


class _Layer:
    """The arrays of one layer, views into the parameters and the gradients."""

    def __init__(
        self, l: int, parameters: Parameters, gradients: Parameters, running: Parameters | None
    ) -> None:
        self.W, self.dW = parameters[f"W{l}"], gradients[f"W{l}"]
        self.normalized = f"gamma{l}" in parameters
        for letter in ("gamma", "beta") if self.normalized else ("b",):
            setattr(self, letter, parameters[f"{letter}{l}"])
            setattr(self, f"d{letter}", gradients[f"{letter}{l}"])
        self.running = None
        if self.normalized and running is not None:
            self.running = running[f"mean{l}"], running[f"variance{l}"]
        self.mask = f"D{l}"

    b: Array  # (n, 1), or gamma and beta in its place
    db: Array
    gamma: Array
    dgamma: Array
    beta: Array
    dbeta: Array


class TrainingStep:
    """One network's cost and gradients, again and again on mini-batches of any size.

    With batch norm each call moves the running averages, which it overwrites.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        l1: float,
        l2: float,
        m: int,
        running: Parameters | None = None,
    ):
        """Look up once what every step needs; m examples share the penalties."""
        cost = COSTS[OUTPUT_COSTS[network.output]]
        self._hidden_forward = unchecked(ACTIVATIONS[network.hidden].forward)
        self._hidden_backward = BACKWARD[network.hidden]
        self._cost_forward = unchecked(cost.forward)
        self._cost_backward = unchecked(cost.backward)
        self._l1, self._l2 = l1 / m, l2 / m
        self._batch_norm = network.batch_norm
        self.gradients = parameters.zeros_like()
        self._layers = [
            _Layer(l, parameters, self.gradients, running) for l in range(1, network.depth + 1)
        ]

    def cost_and_gradients(
        self, X: Array, Y: Array, masks: Mapping[str, Array] | None = None
    ) -> Any:
        """Return the cost of a mini-batch, (n_x, size) and (n_y, size); overwrite `gradients`."""
        layers, masks = self._layers, masks or {}
        inputs, activation_caches, norm_caches = [X], [], []
        for layer in layers[:-1]:
            Z: Array = layer.W @ inputs[-1]
            if layer.normalized:
                Z, norm_cache = self._normalize(Z, layer)
                norm_caches.append(norm_cache)
            else:
                Z += layer.b
            A, cache = self._hidden_forward(Z)
            activation_caches.append(cache)
            inputs.append(A * masks[layer.mask] if layer.mask in masks else A)
        last = layers[-1]
        Z = last.W @ inputs[-1]
        Z += last.b
        J, cost_cache = self._cost_forward(Z, Y)
        dZ = self._cost_backward(1.0, cost_cache)["Z"]
        for l in range(len(layers) - 1, -1, -1):
            layer = layers[l]
            if layer.normalized:
                pulled = _norm_backward(dZ, norm_caches[l])
                layer.dgamma[...], layer.dbeta[...] = pulled["gamma"], pulled["beta"]
                dZ = pulled["Z"]
            else:
                np.add.reduce(dZ, axis=1, keepdims=True, out=layer.db)
            np.matmul(dZ, inputs[l].T, out=layer.dW)
            if l:
                dA = np.matmul(layer.W.T, dZ)
                below = layers[l - 1].mask
                if below in masks:
                    dA *= masks[below]
                dZ = self._hidden_backward(dA, activation_caches[l - 1])["Z"]
        return J + self._penalize() if self._l1 or self._l2 else J

    def _normalize(self, Z: Array, layer: _Layer) -> tuple[Array, BatchNormCache]:
        """Return the normalized Z and its cache; move the layer's running averages."""
        choices: Any = self._batch_norm
        Z, cache = _norm_forward(Z, layer.gamma, layer.beta, choices.epsilon)
        if layer.running is not None:
            mean, variance = layer.running
            mean[...], variance[...] = _update(
                mean, variance, cache, choices.decay, choices.unbiased
            )
        return Z, cache

    def _penalize(self) -> Any:
        """Return the L1 and L2 penalties and add their gradients."""
        penalty: Any = 0.0
        for layer in self._layers:
            W, dW = layer.W, layer.dW
            if self._l2:
                penalty += self._l2 / 2 * np.square(W).sum()
                dW += self._l2 * W
            if self._l1:
                penalty += self._l1 * np.abs(W).sum()
                dW += self._l1 * np.sign(W)
        return penalty
