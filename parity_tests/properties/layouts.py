"""Cases of arrays as they lie in memory: no order, stride or flag changes a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.gauges import batch_norm_gauges, linear_gauges, network_gauges
from parity_tests.properties.agreement import Quantity, agree, assert_equal
from scratch import (
    activations,
    batch_norm,
    costs,
    dropout,
    linear,
    logistic_regression,
    mini_batches,
    moving_averages,
    network,
    normalization,
    splits,
)
from scratch.parameters import Parameters

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def _every_other(array: Array) -> Array:
    """Return a view of every other entry along each axis, the rest of its memory full of NaN."""
    wide = np.full([2 * length for length in array.shape], np.nan)
    view: Array = wide[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def _backwards(array: Array) -> Array:
    """Return a view with negative strides along each axis."""
    turned = (slice(None, None, -1),) * array.ndim
    view: Array = array[turned].copy()[turned]
    return view


def _unaligned(array: Array) -> Array:
    """Return an array that begins one byte too late."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view: Array = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "in rows": np.copy,
    "in columns": lambda array: np.array(array, order="F"),
    "every other entry": _every_other,
    "backwards": _backwards,
    "unaligned": _unaligned,
}


Draw = Callable[[int, int, np.random.Generator], dict[str, Array]]


class _Function(NamedTuple):
    """Arguments for n and m, the results by name, and their gauges: none where bits are kept."""

    draw: Draw
    call: Callable[..., Arrays]
    gauges: Callable[[Arrays], Arrays] | None = None


def _matrices(*names: str) -> Draw:
    """Return a draw of normal matrices (n, m)."""
    return lambda n, m, rng: {name: rng.standard_normal((n, m)) for name in names}


def _pair(forward: Any, backward: Any) -> Callable[..., Arrays]:
    """Return output and gradients of a pair, given dA beside its inputs."""

    def call(dA: Array, **arguments: Array) -> Arrays:
        output, cache = forward(**arguments)
        return {"output": output, **backward(dA, cache)}

    return call


def _activation(name: str) -> Callable[..., Arrays]:
    pair = activations.ACTIVATIONS[name]
    return _pair(pair.forward, pair.backward)


def _slope_gauges(arguments: Arrays) -> Arrays:
    return {"Z": np.abs(arguments["dA"])}  # a slope such as 1 - A^2 takes numbers of size 1 apart


def _draw_linear(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    shapes = {"A_prev": (n, m), "W": (n + 1, n), "b": (n + 1, 1), "dA": (n + 1, m)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def _draw_normalized(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    shapes = {"Z": (n, m), "gamma": (n, 1), "beta": (n, 1), "dA": (n, m)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def _draw_averages(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    drawn = _draw_normalized(n, m, rng)
    drawn["mean"], drawn["variance"] = drawn.pop("dA")[:, :1], rng.uniform(0.1, 2, (n, 1))
    return drawn


def _draw_masked(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    return {**_matrices("A", "dA")(n, m, rng), "mask": dropout.draw_mask((n, m), 0.5, rng)}


def _draw_labelled(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    Y = np.eye(n)[:, rng.integers(0, n, m)]
    return {"Z": rng.standard_normal((n, m)), "Y": Y}


def _cost(name: str) -> Callable[..., Arrays]:
    pair = costs.COSTS[name]

    def call(Z: Array, Y: Array) -> Arrays:
        J, cache = pair.forward(Z, Y)
        return {"J": J, **pair.backward(1.0, cache)}

    return call


def _draw_predicted(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    return {"A": expit(rng.standard_normal((n, m))), "Y": np.eye(n)[:, rng.integers(0, n, m)]}


def _predict(A: Array, Y: Array) -> Arrays:
    labels = costs.predict_by_argmax(A)
    return {
        "threshold": costs.predict_by_threshold(A),
        "argmax": labels,
        "accuracy": np.array(costs.accuracy(labels, Y)),
    }


def _normalize(X: Array) -> Arrays:
    statistics = normalization.fit(X)
    normalized = normalization.normalize(X, statistics)
    back = normalization.denormalize(normalized, statistics)
    return {**statistics._asdict(), "normalized": normalized, "back": back}


def _draw_ordered(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    return {**_matrices("X", "Y")(n, m, rng), "order": rng.permutation(m)}


def _batches(X: Array, Y: Array, order: Array) -> Arrays:
    batches = mini_batches.mini_batches(X, Y, order, 2)
    found = {f"{i}": np.concatenate(pair) for i, pair in enumerate(batches)}
    return {
        **found,
        "taken": splits.take(X, order),
        "partition": mini_batches.partition(order, 2)[0],
    }


def _draw_logistic(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    Y = rng.integers(0, 2, (1, m)).astype(float)
    return {"w": rng.standard_normal((n, 1)), "X": rng.standard_normal((n, m)), "Y": Y}


def _propagate(w: Array, X: Array, Y: Array) -> Arrays:
    J, gradients = logistic_regression.propagate(w, 0.5, X, Y)
    return {"J": J, **gradients}


def _logistic_gauges(arguments: Arrays) -> Arrays:
    w, X = np.abs(arguments["w"]), np.abs(arguments["X"])
    E_dZ = ((w * X).sum(axis=0, keepdims=True) + 2) / X.shape[1]  # a sigmoid is as steep as 1/4
    gauges = {"J": E_dZ.sum(), "w": (X * E_dZ).sum(axis=1, keepdims=True), "b": E_dZ.sum()}
    return {name: np.asarray(gauge) for name, gauge in gauges.items()}


def _draw_network(n: int, m: int, rng: np.random.Generator) -> dict[str, Array]:
    shapes = {"X": (n, m), "W1": (4, n), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1), "dA": (2, m)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def _network(X: Array) -> network.Network:
    return network.Network(layer_sizes=(len(X), 4, 2), hidden="tanh", output="sigmoid")


def _run_network(X: Array, dA: Array, **named: Array) -> Arrays:
    parameters = Parameters(named)
    A, cache = network.network_forward(X, parameters, _network(X))
    return {"output": A, "theta": parameters.theta, **network.network_backward(dA, cache)}


def _network_gauges(arguments: Arrays) -> Arrays:
    gauges = network_gauges(_network(arguments["X"]), arguments, arguments["dA"])
    return {**gauges, "theta": np.asarray(0.0)}


FUNCTIONS: Mapping[str, _Function] = {
    "identity": _Function(_matrices("Z", "dA"), _activation("identity")),
    "relu": _Function(_matrices("Z", "dA"), _activation("relu")),
    "leaky relu": _Function(_matrices("Z", "dA"), _activation("leaky_relu")),
    # e^x may be another loop where entries are not neighbours: to the last digits, not to the bit
    "sigmoid": _Function(_matrices("Z", "dA"), _activation("sigmoid"), _slope_gauges),
    "tanh": _Function(_matrices("Z", "dA"), _activation("tanh"), _slope_gauges),
    "softmax": _Function(_matrices("Z", "dA"), _activation("softmax"), lambda _: {}),
    "linear": _Function(
        _draw_linear,
        _pair(linear.linear_forward, linear.linear_backward),
        lambda arguments: linear_gauges(arguments, arguments["dA"]),
    ),
    "batch norm": _Function(
        _draw_normalized,
        _pair(batch_norm.batch_norm_forward, batch_norm.batch_norm_backward),
        lambda arguments: batch_norm_gauges(arguments, arguments["dA"]),
    ),
    "batch norm at prediction": _Function(
        _draw_averages, lambda **arguments: {"output": batch_norm.batch_norm_predict(**arguments)}
    ),
    "dropout": _Function(_draw_masked, _pair(dropout.dropout_forward, dropout.dropout_backward)),
    "binary cross-entropy": _Function(
        _draw_labelled, _cost("binary_cross_entropy_with_logits"), lambda _: {}
    ),
    "cross-entropy": _Function(_draw_labelled, _cost("cross_entropy_with_logits"), lambda _: {}),
    "predictions": _Function(_draw_predicted, _predict),
    "normalization": _Function(_matrices("X"), _normalize),
    "mini-batches": _Function(_draw_ordered, _batches),
    "moving average": _Function(
        lambda n, m, rng: {"x": rng.standard_normal(n * m)},
        lambda x: {"v": moving_averages.moving_average(x, 0.9, True)},
    ),
    "logistic regression": _Function(_draw_logistic, _propagate, _logistic_gauges),
    "network": _Function(_draw_network, _run_network, _network_gauges),
}


@dataclass(frozen=True, kw_only=True)
class LayoutCase:
    """A function whose arguments, for n units and m examples, lie in memory in some layout."""

    function: str
    layout: str
    writeable: bool
    n: int
    m: int
    seed: int


def check_layout(case: LayoutCase) -> None:
    """Hold the results against those of arrays in rows, and the arguments against what they were.

    Elementwise functions keep every bit; sums and products may be added up in another order.
    """
    function = FUNCTIONS[case.function]
    plain = function.draw(case.n, case.m, np.random.default_rng(case.seed))
    expected = function.call(**{name: array.copy() for name, array in plain.items()})
    laid = {
        name: LAYOUTS[case.layout](array) if array.dtype.kind == "f" else array.copy()
        for name, array in plain.items()
    }
    for array in laid.values():
        array.flags.writeable = case.writeable
    bases = {name: np.copy(_memory(array)) for name, array in laid.items()}
    results = function.call(**laid)
    for name, array in laid.items():
        assert_equal(array, plain[name], f"argument {name}")
        if not np.array_equal(_memory(array), bases[name], equal_nan=case.layout != "unaligned"):
            raise AssertionError(f"argument {name}: the memory around it was written to")
    if results.keys() != expected.keys():
        raise AssertionError(f"results {list(results)}, expected {list(expected)}")
    if function.gauges is None:
        for name, result in results.items():
            assert_equal(result, expected[name], name)
    else:
        gauges = function.gauges(plain)
        agree(
            {
                name: Quantity(result, expected[name], gauges.get(name), GRADIENT)
                for name, result in results.items()
            }
        )


def _memory(array: Array) -> Array:
    """Return the whole of the memory that an array is a view of."""
    return array if array.base is None else array.base
