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


def _wide(values: Any) -> Array:
    return np.asarray(values, np.longdouble)


def average_bounds(values: Array, targets: Array, beta: float, averaging: bool = True) -> Array:
    """Return the bounds of averages beta v + (1 - beta) x, step by step, from 0 on.

    torch's lerp weighs the past by 1 - (1 - beta), rounded. Without averaging x itself is added.
    """
    info, weight = np.finfo(values.dtype), 2 * (1 - beta) if averaging else 1.0
    slack = averaging * abs((1 - float(values.dtype.type(1 - beta))) - beta) / float(info.eps)
    bound, before, found = _wide(0), _wide(0 * values[0]), []
    for value, target in zip(_wide(values), _wide(targets), strict=True):
        bound = beta * (bound + np.abs(before)) + weight * np.abs(target)
        bound = bound + slack * np.abs(target - before)
        found.append(bound)
        before = value
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


def rule_gauges(
    path: Mapping[str, Array], start: Array, gradients: Array, learning_rate: float = 0.001,
    beta: float = 0.9, averaging: bool = True, beta1: float = 0.9, beta2: float = 0.999,
    epsilon: float = 1e-8, epsilon_inside_root: bool = False, bias_correction: bool = True,
    steps_taken: int = 0,
) -> dict[str, Array]:  # fmt: skip
    """Return the gauges of a path of the rule whose state it shows: v, s, both or neither."""
    g, found = _wide(gradients), dict[str, Array]()
    is_adam = {"v", "s"} <= path.keys()
    t = steps_taken + np.arange(1, len(g) + 1)[:, None]
    beta_v, beta_s = (beta1, beta2) if is_adam else (beta, beta)
    of_v, of_s = (1 - one**t if is_adam and bias_correction else 1.0 for one in (beta_v, beta_s))
    moves, E_moves = g, 0 * g
    if "v" in path:
        v, E_v = _wide(path["v"]), average_bounds(path["v"], g, beta_v, averaging)
        found["v"], moves, E_moves = E_v + np.abs(v), v / of_v, E_v / of_v
    if "s" in path:
        s, eps = _wide(path["s"]), float(np.finfo(path["s"].dtype).eps)
        found["s"] = average_bounds(path["s"], g**2, beta_s) + s
        root = s / of_s, found["s"] / of_s, epsilon, epsilon_inside_root, eps
        moves, E_moves = _quotient(moves, E_moves, *root)
    return {**found, "theta": _theta(start, learning_rate, moves, E_moves)}
