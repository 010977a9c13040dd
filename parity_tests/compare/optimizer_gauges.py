"""Running-error gauges of optimizers and moving averages: the most that a path may be off by.

As in `gauges`, a first-order bound in eps, carried through the same operations as the values and
step by step along the path (steps, N) that a rule has taken. All is computed in longdouble: squares
and sums of the largest floats have a bound too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity_tests.compare.measurement import Array

Paths = Mapping[str, Array]


def _wide(values: Any) -> Array:
    return np.asarray(values, np.longdouble)


def _before(values: Array) -> Array:
    """Return the values before each step, 0 at first."""
    return np.concatenate([0 * values[:1], values[:-1]])


def average_bounds(values: Array, targets: Array, beta: float) -> Array:
    """Return the bounds of averages beta v + (1 - beta) x, step by step, from 0 on.

    torch's lerp weighs the past by 1 - (1 - beta), rounded.
    """
    info = np.finfo(values.dtype)
    slack = abs((1 - float(values.dtype.type(1 - beta))) - beta) / float(info.eps)
    return _bounds(values, targets, beta, 2 * (1 - beta), slack)


def _bounds(values: Array, targets: Array, beta: float, weight: float, slack: float) -> Array:
    """Return the bounds of beta v + weight x, where beta is off by some slack, step by step."""
    bound, found = _wide(0), []
    for before, target in zip(_before(_wide(values)), _wide(targets), strict=True):
        bound = beta * (bound + np.abs(before)) + weight * np.abs(target)
        bound = bound + slack * np.abs(target - before)
        found.append(bound)
    return np.array(found)


def _theta(start: Array, rate: float, moves: Array, bounds: Array) -> Array:
    """Return the gauge of theta, which moves by so many rates with these bounds."""
    theta = start - rate * np.cumsum(moves, axis=0)
    return np.cumsum(rate * (bounds + np.abs(moves)) + np.abs(theta), axis=0) + np.abs(theta)


def _quotient(
    v: Array, E_v: Array, s: Array, E_s: Array, epsilon: float, inside: bool, eps: float
) -> tuple[Array, Array]:
    """Return v / (sqrt(s) + epsilon), or v / sqrt(s + epsilon), and its bound."""
    if inside:
        root = np.sqrt(s + epsilon)
        E_root = (E_s + s + epsilon) / (2 * root) + root
    else:
        root = np.sqrt(s)
        # near 0 the root of what s may be off by is less than its first order
        far = np.divide(E_s, 2 * root, out=np.full_like(s, np.inf), where=root > 0)
        E_root = np.minimum(far, np.sqrt(E_s / eps)) + 2 * root + epsilon
        root = root + epsilon
    moves = v / root
    return moves, (E_v + np.abs(moves) * E_root) / root + np.abs(moves)


def gradient_descent_gauges(
    path: Paths, start: Array, gradients: Array, learning_rate: float
) -> dict[str, Array]:
    g = _wide(gradients)
    return {"theta": _theta(start, learning_rate, g, 0 * g)}


def momentum_gauges(
    path: Paths,
    start: Array,
    gradients: Array,
    learning_rate: float,
    beta: float = 0.9,
    averaging: bool = True,
) -> dict[str, Array]:
    v, past = _wide(path["v"]), (path["v"], gradients, beta)
    E_v = average_bounds(*past) if averaging else _bounds(*past, 1.0, 0.0)
    return {"v": E_v + np.abs(v), "theta": _theta(start, learning_rate, v, E_v)}


def rmsprop_gauges(
    path: Paths,
    start: Array,
    gradients: Array,
    learning_rate: float,
    beta: float = 0.9,
    epsilon: float = 1e-8,
    epsilon_inside_root: bool = False,
) -> dict[str, Array]:
    g, s, eps = _wide(gradients), _wide(path["s"]), float(np.finfo(path["s"].dtype).eps)
    E_s = average_bounds(path["s"], g**2, beta)
    moved = _quotient(g, 0 * g, s, E_s + s, epsilon, epsilon_inside_root, eps)
    return {"s": E_s + s, "theta": _theta(start, learning_rate, *moved)}


def adam_gauges(
    path: Paths,
    start: Array,
    gradients: Array,
    learning_rate: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_inside_root: bool = False,
    bias_correction: bool = True,
    steps_taken: int = 0,
) -> dict[str, Array]:
    g, eps = _wide(gradients), float(np.finfo(path["s"].dtype).eps)
    v, s = _wide(path["v"]), _wide(path["s"])
    E_v, E_s = average_bounds(path["v"], g, beta1), average_bounds(path["s"], g**2, beta2)
    t = steps_taken + np.arange(1, len(g) + 1)[:, None]
    of_v, of_s = (1 - beta**t if bias_correction else 1.0 for beta in (beta1, beta2))
    corrected = v / of_v, E_v / of_v, s / of_s, (E_s + s) / of_s
    theta = _theta(start, learning_rate, *_quotient(*corrected, epsilon, epsilon_inside_root, eps))
    return {"v": E_v + np.abs(v), "s": E_s + s, "theta": theta}
