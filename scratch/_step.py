"""The cost and gradients of a training step, written into gradients that already exist.

The same numbers as `scratch.network.cost_and_gradients`, which stays the definition, without its
checks, its copies of the weight gradients and the gradient of X that nobody asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch._door import Array, unchecked
from scratch.activations import ACTIVATIONS
from scratch.costs import COSTS
from scratch.network import BACKWARD, OUTPUT_COSTS, Network
from scratch.parameters import Parameters


class TrainingStep:
    """One network's cost and gradients, again and again on mini-batches of any size."""

    def __init__(self, network: Network, parameters: Parameters, l1: float, l2: float, m: int):
        """Look up once what every step needs; m examples share the penalties."""
        cost = COSTS[OUTPUT_COSTS[network.output]]
        self._hidden_forward = unchecked(ACTIVATIONS[network.hidden].forward)
        self._hidden_backward = BACKWARD[network.hidden]
        self._cost_forward = unchecked(cost.forward)
        self._cost_backward = unchecked(cost.backward)
        self._l1, self._l2 = l1 / m, l2 / m
        self.gradients = parameters.zeros_like()
        self._layers = [
            tuple(
                store[f"{letter}{l}"] for store in (parameters, self.gradients) for letter in "Wb"
            )
            for l in range(1, network.depth + 1)
        ]

    def cost_and_gradients(self, X: Array, Y: Array) -> Any:
        """Return the cost of a mini-batch, (n_x, size) and (n_y, size); overwrite `gradients`."""
        inputs, caches = [X], []
        for W, b, _, _ in self._layers[:-1]:
            Z = W @ inputs[-1]
            Z += b
            A, cache = self._hidden_forward(Z)
            inputs.append(A)
            caches.append(cache)
        W, b, _, _ = self._layers[-1]
        Z = W @ inputs[-1]
        Z += b
        J, cost_cache = self._cost_forward(Z, Y)
        dZ = self._cost_backward(1.0, cost_cache)["Z"]
        for l in range(len(self._layers) - 1, -1, -1):
            W, _, dW, db = self._layers[l]
            np.matmul(dZ, inputs[l].T, out=dW)
            np.add.reduce(dZ, axis=1, keepdims=True, out=db)
            if l:
                dZ = self._hidden_backward(np.matmul(W.T, dZ), caches[l - 1])["Z"]
        return J + self._penalize() if self._l1 or self._l2 else J

    def _penalize(self) -> Any:
        """Return the L1 and L2 penalties and add their gradients."""
        penalty: Any = 0.0
        for W, _, dW, _ in self._layers:
            if self._l2:
                penalty += self._l2 / 2 * np.square(W).sum()
                dW += self._l2 * W
            if self._l1:
                penalty += self._l1 * np.abs(W).sum()
                dW += self._l1 * np.sign(W)
        return penalty
