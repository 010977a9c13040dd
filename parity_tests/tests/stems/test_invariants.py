"""What must hold whatever the numbers, asked of both sides; and for each, a bug that breaks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parity_tests import FORWARD, GRADIENT, STEP, TRAINING, assert_close
from parity_tests.compare.functions import draw_gradients
from parity_tests.compare.gauges import network_gauges
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.sides import SIDES
from parity_tests.tests.stems.test_network import draw_labels, draw_network, draw_switching
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import BatchNorm
from scratch.costs import COSTS
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders, partition
from scratch.parameters import Parameters

EPS = np.finfo(np.float64).eps
DIFFERENTIABLE = [name for name, one in ACTIVATIONS.items() if one.backward is not None]
OPTIMIZERS = {
    "gradient_descent": {"learning_rate": 0.1},
    "momentum": {"learning_rate": 0.1},
    "rmsprop": {"learning_rate": 0.01},
    "adam": {"learning_rate": 0.01},
}

#: by its sentence: the check, a function of (side, rng), and a bug, which makes a side of a side.
INVARIANTS = {}


def invariant(sentence, bug):
    """Enter a check under its sentence, with the bug that it must see."""

    def enter(check):
        if sentence in INVARIANTS:
            raise ValueError(f"expected a sentence of its own, got {sentence!r} again")
        INVARIANTS[sentence] = check, bug
        return check

    return enter


def wrong(name, change):
    """Return a bug: one function of a side, changed; `change` takes it, then its arguments."""

    def bug(side):
        honest = getattr(side, name)

        def changed(*arguments, **choices):
            return change(honest, *arguments, **choices)

        return replace(side, **{name: changed})

    return bug


def spoilt(name, key, change):
    """Return a bug: one of the results of a function, changed."""

    def spoil(honest, *arguments, **choices):
        results = honest(*arguments, **choices)
        return {**results, key: change(results[key])}

    return wrong(name, spoil)


def assert_same(first, second, budget=GRADIENT, gauges=None):
    """Hold every quantity of two results against each other."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        gauge = None if gauges is None else gauges[name]
        assert_close(value, second[name], name, budget=budget, gauge=gauge)


def assert_nothing(values, gauge, budget=GRADIENT):
    """Raise AssertionError unless values are round-off of what was summed, and that is not zero."""
    assert (gauge > 0).all()
    assert (np.abs(values) <= budget.eps * EPS * gauge).all()


def turning(m, rng):
    """Draw a permutation that leaves nothing in its place."""
    circle = rng.permutation(m)
    order = np.empty(m, int)
    order[circle] = np.roll(circle, 1)
    return order


# --- optimizers -----------------------------------------------------------------------------------


def draw_walk(rng, size=12, steps=40):
    """Draw where a walk starts and the gradients it meets, tiny and zero ones among them."""
    scales = np.resize([1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0], size)
    return rng.standard_normal(size), draw_gradients((steps, size), rng, scales)


def meets(name, key, instead):
    """Return a bug: an optimizer that takes a choice for another."""

    def change(honest, optimizer, choices, *rest):
        if optimizer == name and key in choices:
            choices = {**choices, key: instead(choices[key])}
        return honest(optimizer, choices, *rest)

    return wrong("walk", change)


RELATED = {
    "momentum with beta 0 is gradient descent": (
        ("momentum", {"learning_rate": 0.1, "beta": 0.0}),
        ("gradient_descent", {"learning_rate": 0.1}),
        meets("momentum", "beta", lambda beta: beta or 0.9),
    ),
    "momentum with beta 0 is gradient descent without (1-beta) too": (
        ("momentum", {"learning_rate": 0.1, "beta": 0.0, "averaging": False}),
        ("gradient_descent", {"learning_rate": 0.1}),
        meets("momentum", "beta", lambda beta: beta or 0.9),
    ),
    "momentum without (1-beta) is momentum at a smaller rate": (
        ("momentum", {"learning_rate": 0.01, "averaging": False}),
        ("momentum", {"learning_rate": 0.1}),
        meets("momentum", "averaging", lambda averaging: True),
    ),
    "adam with beta1 0 and without correction is rmsprop": (
        ("adam", {"learning_rate": 0.1, "beta1": 0.0, "beta2": 0.9, "bias_correction": False}),
        ("rmsprop", {"learning_rate": 0.1, "beta": 0.9}),
        meets("adam", "bias_correction", lambda correction: True),
    ),
    "adam with beta1 0 and epsilon inside the root is such an rmsprop": (
        (
            "adam",
            {"learning_rate": 0.1, "beta1": 0.0, "beta2": 0.9, "bias_correction": False}
            | {"epsilon_inside_root": True},
        ),
        ("rmsprop", {"learning_rate": 0.1, "beta": 0.9, "epsilon_inside_root": True}),
        meets("adam", "epsilon_inside_root", lambda inside: False),
    ),
}


def related(first, second):
    """Return the check that two optimizers walk the same path."""

    def check(side, rng):
        drawn = draw_walk(rng)
        paths = (side.walk(*one, *drawn) for one in (first, second))
        assert_close(*paths, "path", budget=STEP)

    return check


for _sentence, (_first, _second, _bug) in RELATED.items():
    invariant(_sentence, _bug)(related(_first, _second))


@invariant(
    "adam with beta1 0 is rmsprop whose average is corrected",
    meets("adam", "bias_correction", lambda correction: False),
)
def _(side, rng):
    start, gradients = draw_walk(rng)
    choices = {"learning_rate": 0.1, "beta1": 0.0, "beta2": 0.9, "bias_correction": True}
    theta, s, path = start.copy(), 0.0, [start]
    for t, g in enumerate(gradients, start=1):
        s = 0.9 * s + 0.1 * g**2
        theta = theta - 0.1 * g / (np.sqrt(s / (1 - 0.9**t)) + 1e-8)
        path.append(theta)
    assert_close(side.walk("adam", choices, start, gradients), np.array(path), "path", budget=STEP)


@invariant(
    "adaptive rules ask only how large a gradient is beside epsilon",
    meets("adam", "epsilon", lambda epsilon: 1e-8),
)
def _(side, rng):
    start, gradients = draw_walk(rng)
    for name in ("rmsprop", "adam"):
        first, second = (
            side.walk(name, {"learning_rate": 0.1, "epsilon": c * 1e-8}, start, c * gradients)
            for c in (1.0, 1024.0)  # a power of two scales without rounding
        )
        assert np.array_equal(first, second), name


@invariant(
    "twice the gradient is twice the rate, where nothing adapts",
    meets("momentum", "learning_rate", lambda rate: min(rate, 0.15)),
)
def _(side, rng):
    start, gradients = draw_walk(rng)
    for name in ("gradient_descent", "momentum"):
        first = side.walk(name, {"learning_rate": 0.1}, start, 2 * gradients)
        second = side.walk(name, {"learning_rate": 0.2}, start, gradients)
        assert_close(first, second, name, budget=STEP)


def _by_the_norm(honest, name, choices, start, gradients):
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    return honest(name, choices, start, gradients / np.maximum(1, norms))


@invariant("an optimizer works entry by entry", wrong("walk", _by_the_norm))
def _(side, rng):
    start, gradients = draw_walk(rng)
    order = turning(start.size, rng)
    for name, choices in OPTIMIZERS.items():
        path = side.walk(name, choices, start, gradients)
        permuted = side.walk(name, choices, start[order], gradients[:, order])
        assert_close(permuted, path[:, order], f"{name}, permuted", budget=STEP)
        halves = [
            side.walk(name, choices, start[half], gradients[:, half])
            for half in (slice(0, 5), slice(5, None))
        ]
        assert_close(np.hstack(halves), path, f"{name}, split", budget=STEP)


@invariant(
    "a gradient of zeros moves nothing from the start",
    wrong("walk", lambda honest, *a: honest(*a) + 1e-8 * (np.arange(len(a[3]) + 1) > 0)[:, None]),
)
def _(side, rng):
    start, gradients = draw_walk(rng)
    for name, choices in OPTIMIZERS.items():
        path = side.walk(name, choices, start, 0 * gradients)
        assert (path == start).all(), name


# --- activations ----------------------------------------------------------------------------------


def draw_pair(rng, n=3, m=8):
    """Draw Z and an upstream gradient."""
    return 2 * rng.standard_normal((n, m)), rng.standard_normal((n, m))


def _diagonal_only(honest, name, Z, dA):
    results = honest(name, Z, dA)
    A = results["output"]
    return {**results, "Z": dA * A * (1 - A)} if name == "softmax" else results


@invariant(
    "softmax of two classes is the sigmoid of the difference", wrong("activation", _diagonal_only)
)
def _(side, rng):
    Z, dA = draw_pair(rng, 2)
    both = side.activation("softmax", Z, dA)
    one = side.activation("sigmoid", Z[:1] - Z[1:], dA[:1] - dA[1:])
    assert_close(both["output"][:1], one["output"], "A of the first class")
    assert_close(both["output"][1:], 1 - one["output"], "A of the second class", gauge=1.0)
    assert_close(both["Z"][:1], one["Z"], "dZ of the first class", budget=GRADIENT)
    assert_close(both["Z"][1:], -one["Z"], "dZ of the second class", budget=GRADIENT)


def _epsilon_in_the_denominator(honest, name, Z, dA):
    results = honest(name, Z, dA)
    E = np.exp(Z)
    return {**results, "output": E / (E.sum(axis=0) + 1e-8)}


@invariant(
    "softmax ignores what is added to all its logits",
    wrong("activation", _epsilon_in_the_denominator),
)
def _(side, rng):
    Z = rng.integers(-8, 8, (4, 9)).astype(float)
    dA = rng.standard_normal((4, 9))
    assert_same(side.activation("softmax", Z, dA), side.activation("softmax", Z + 32, dA), FORWARD)


@invariant("softmax passes no gradient on to all logits alike", wrong("activation", _diagonal_only))
def _(side, rng):
    Z, dA = draw_pair(rng, 4)
    results = side.activation("softmax", Z, dA)
    A, size = results["output"], np.abs(dA)
    # dZ = A (dA - sum of A dA) is itself a difference
    assert_nothing(results["Z"].sum(axis=0), (A * (size + (A * size).sum(axis=0))).sum(axis=0))


@invariant(
    "sigmoid(-Z) is 1 - sigmoid(Z) and has its slope",
    spoilt("activation", "output", lambda A: A + 1e-12),
)
def _(side, rng):
    Z, dA = draw_pair(rng)
    first, second = (side.activation("sigmoid", one, dA) for one in (Z, -Z))
    assert_close(second["output"], 1 - first["output"], "A", gauge=1.0)
    assert_close(second["Z"], first["Z"], "dZ", budget=GRADIENT)


def _of_half(honest, name, Z, dA):
    return honest(name, Z / 2 if name == "tanh" else Z, dA)


@invariant("tanh(Z) is 2 sigmoid(2 Z) - 1", wrong("activation", _of_half))
def _(side, rng):
    Z, dA = draw_pair(rng)
    first, second = side.activation("tanh", Z, dA), side.activation("sigmoid", 2 * Z, dA)
    assert_close(first["output"], 2 * second["output"] - 1, "A", gauge=1.0)
    assert_close(first["Z"], 4 * second["Z"], "dZ", budget=GRADIENT)


@invariant("tanh is odd", spoilt("activation", "output", lambda A: np.maximum(A, -0.999)))
def _(side, rng):
    Z, dA = draw_pair(rng)
    Z[0, 0] = 5.0
    first, second = side.activation("tanh", Z, dA), side.activation("tanh", -Z, dA)
    assert_same({**second, "output": -second["output"]}, first, FORWARD)


@invariant(
    "rectifiers are positively homogeneous",
    spoilt("activation", "output", lambda A: np.minimum(A, 6)),
)
def _(side, rng):
    Z, dA = draw_pair(rng)
    for name in ("relu", "leaky_relu", "identity"):
        first, second = side.activation(name, Z, dA), side.activation(name, 16 * Z, dA)
        assert np.array_equal(second["output"], 16 * first["output"]), name
        assert np.array_equal(second["Z"], first["Z"]), name


# --- every backward is linear in the upstream gradient --------------------------------------------


def assert_linear(pull, first, second):
    """Hold a backward at 4 u - v / 2 against 4 times that at u, minus half of that at v."""
    at_u, at_v, at_both = (pull(one) for one in (first, second, 4 * first - second / 2))
    for name, value in at_both.items():
        if name == "output":
            continue
        parts = 4 * at_u[name], at_v[name] / 2
        gauge = max(np.abs(one).max() for one in parts)
        assert_close(value, parts[0] - parts[1], name, budget=GRADIENT, gauge=gauge)


def _upstream_forgotten(honest, *arguments):
    *rest, upstream = arguments
    return honest(*rest, np.ones_like(upstream))


@invariant("dZ is linear in dA", wrong("activation", _upstream_forgotten))
def _(side, rng):
    Z, first = draw_pair(rng)
    second = rng.standard_normal(first.shape)
    for name in DIFFERENTIABLE:
        assert_linear(lambda dA, name=name: side.activation(name, Z, dA), first, second)


@invariant(
    "the gradient of a cost is linear in dJ",
    wrong("cost", lambda honest, name, logits, Y, dJ: honest(name, logits, Y, 1.0)),
)
def _(side, rng):
    Z, Y = draw_pair(rng)[0], np.eye(3)[:, rng.integers(0, 3, 8)]
    A = np.exp(Z) / np.exp(Z).sum(axis=0)
    for name in COSTS:
        values = Z if name.endswith("logits") else A
        assert_linear(
            lambda dJ, name=name, values=values: side.cost(name, values, Y, float(dJ)),
            np.float64(1.25),
            np.float64(-0.75),
        )


@invariant("the gradients of a layer are linear in dZ", wrong("linear", _upstream_forgotten))
def _(side, rng):
    A_prev, W, b = (rng.standard_normal(shape) for shape in ((4, 8), (3, 4), (3, 1)))
    draws = (rng.standard_normal((3, 8)) for _ in range(2))
    assert_linear(lambda dZ: side.linear(A_prev, W, b, dZ), *draws)


@invariant("the gradients of batch norm are linear", wrong("batch_norm", _upstream_forgotten))
def _(side, rng):
    inputs = draw_norm(rng)
    draws = (rng.standard_normal((4, 9)) for _ in range(2))
    assert_linear(lambda upstream: side.batch_norm(*inputs, 1e-5, upstream), *draws)


@invariant("the gradients of a network are linear in dA", wrong("network", _upstream_forgotten))
def _(side, rng):
    network, parameters = draw_network((4, 6, 3), "tanh", "softmax", rng)
    X = rng.standard_normal((4, 8))
    draws = (rng.standard_normal((3, 8)) for _ in range(2))
    assert_linear(lambda dA: side.network(network, parameters, X, dA), *draws)


# --- costs ----------------------------------------------------------------------------------------

LOGITS = "binary_cross_entropy_with_logits", "cross_entropy_with_logits"


def _mean_over_classes(honest, name, logits, Y, dJ=1.0):
    results = honest(name, logits, Y, dJ)
    share = len(Y) if name == LOGITS[1] else 1  # torch's default for one-hot labels
    return {key: value / share for key, value in results.items()}


@invariant("the cost of two classes is that of the difference", wrong("cost", _mean_over_classes))
def _(side, rng):
    Z, Y = draw_pair(rng, 2)[0], np.eye(2)[:, rng.permutation(np.resize([0, 1], 8))]
    both = side.cost(LOGITS[1], Z, Y)
    one = side.cost(LOGITS[0], Z[:1] - Z[1:], Y[:1])
    assert_close(both["output"], one["output"], "J")
    assert_close(both["Z"][:1], one["Z"], "dZ", budget=GRADIENT)


@invariant(
    "turning logits and labels round costs the same",
    spoilt("cost", "Z", lambda dZ: dZ + 1e-10),
)
def _(side, rng):
    Z, Y = draw_pair(rng)[0], rng.integers(0, 2, (3, 8)).astype(float)
    first, second = side.cost(LOGITS[0], Z, Y), side.cost(LOGITS[0], -Z, 1 - Y)
    assert_close(second["output"], first["output"], "J")
    # A - Y, and 1 - A is rounded where A is small
    assert_close(-second["Z"], first["Z"], "dZ", budget=GRADIENT)


def _without_the_shift(honest, name, logits, Y, dJ=1.0):
    results = honest(name, logits, Y, dJ)
    J = -(Y * np.log(np.exp(logits) / (1 + np.exp(logits).sum(axis=0)))).sum() / Y.shape[1]
    return {**results, "output": np.asarray(J)}


@invariant(
    "cross-entropy ignores what is added to all logits of an example",
    wrong("cost", _without_the_shift),
)
def _(side, rng):
    Z, Y = rng.integers(-4, 4, (3, 8)).astype(float), np.eye(3)[:, rng.integers(0, 3, 8)]
    shift = rng.integers(-64, 64, (1, 8))
    first, second = side.cost(LOGITS[1], Z, Y), side.cost(LOGITS[1], Z + shift, Y)
    assert_close(second["output"], first["output"], "J", gauge=1 + 64.0)
    assert_close(second["Z"], first["Z"], "dZ", budget=GRADIENT)


@invariant(
    "the gradients of cross-entropy sum to 0 over the classes",
    wrong("cost", lambda honest, name, Z, Y: {"Z": honest(name, Z, Y)["Z"] + 0.1 * Y}),
)
def _(side, rng):
    Z, Y = draw_pair(rng)[0], np.eye(3)[:, rng.integers(0, 3, 8)]
    dZ = side.cost(LOGITS[1], Z, Y)["Z"]
    assert_nothing(dZ.sum(axis=0), np.full(8, 2 / 8))  # probabilities and labels, 1 each, over m


# --- batch norm -----------------------------------------------------------------------------------


def draw_norm(rng, n=4, m=9):
    """Draw Z whose units have scales and means of their own, gamma and beta."""
    Z = rng.uniform(0.5, 3, (n, 1)) * rng.standard_normal((n, m)) + rng.standard_normal((n, 1))
    return Z, rng.uniform(0.5, 2, (n, 1)), rng.standard_normal((n, 1))


def _epsilon_outside(honest, Z, gamma, beta, epsilon, upstream):
    results = honest(Z, gamma, beta, epsilon, upstream)
    centred = Z - Z.mean(axis=1, keepdims=True)
    return {**results, "output": gamma * centred / (Z.std(axis=1, keepdims=True) + epsilon) + beta}


@invariant(
    "batch norm of aZ + c under a^2 epsilon is that of Z", wrong("batch_norm", _epsilon_outside)
)
def _(side, rng):
    Z, gamma, beta = draw_norm(rng)
    upstream = rng.standard_normal(Z.shape)
    a, c = 4.0, rng.integers(-8, 8, (4, 1))
    first = side.batch_norm(Z, gamma, beta, 1e-3, upstream)
    second = side.batch_norm(a * Z + c, gamma, beta, a**2 * 1e-3, upstream)
    assert_same({**second, "Z": a * second["Z"]}, first)


@invariant(
    "the spread of a normalized unit is gamma, but for epsilon",
    wrong("batch_norm", lambda honest, Z, gamma, beta, _, u: honest(Z, gamma, beta, 1e-30, u)),
)
def _(side, rng):
    Z, gamma, beta = draw_norm(rng)
    for epsilon in (1e-30, 1e-3, 1.0):
        output = side.batch_norm(Z, gamma, beta, epsilon, np.ones_like(Z))["output"]
        variance = Z.var(axis=1)
        expected = gamma[:, 0] * np.sqrt(variance / (variance + epsilon))
        assert_close(output.std(axis=1), expected, "standard deviation", budget=GRADIENT)
        assert_close(output.mean(axis=1), beta[:, 0], "mean", gauge=np.abs(output).max())


def _no_way_through(which):
    """Return a bug: batch norm's backward that takes the mean or the variance for a constant."""

    def change(honest, Z, gamma, beta, epsilon, upstream):
        results = honest(Z, gamma, beta, epsilon, upstream)
        inv_std = 1 / np.sqrt(Z.var(axis=1, keepdims=True) + epsilon)
        Z_norm, g = (Z - Z.mean(axis=1, keepdims=True)) * inv_std, gamma * upstream
        kept = {
            "mean": Z_norm * (g * Z_norm).mean(axis=1, keepdims=True),
            "variance": g.mean(axis=1, keepdims=True),
        }[which]
        return {**results, "Z": inv_std * (g - kept)}

    return wrong("batch_norm", change)


@invariant("batch norm passes no gradient on to all examples alike", _no_way_through("mean"))
def _(side, rng):
    Z, gamma, beta = draw_norm(rng)
    dZ = side.batch_norm(Z, gamma, beta, 1e-5, rng.standard_normal(Z.shape))["Z"]
    assert_nothing(dZ.sum(axis=1), np.abs(dZ).sum(axis=1))


@invariant("batch norm passes no gradient on to the scale of a unit", _no_way_through("variance"))
def _(side, rng):
    Z, gamma, beta = draw_norm(rng)
    dZ = side.batch_norm(Z, gamma, beta, 1e-30, rng.standard_normal(Z.shape))["Z"]
    assert_nothing((Z * dZ).sum(axis=1), np.abs(Z * dZ).sum(axis=1))


def draw_normalized(rng, epsilon):
    """Draw a network of which the hidden layer is normalized, X and Y."""
    choices = {"batch_norm": BatchNorm(epsilon=epsilon)}
    network, parameters = draw_network((4, 6, 3), "tanh", "softmax", rng, **choices)
    return network, parameters, rng.standard_normal((4, 9)), draw_labels(network, 9, rng)


def _one_epsilon(honest, network, *rest, **choices):
    if network.batch_norm is not None:
        network = replace(network, batch_norm=BatchNorm(epsilon=1e-3))
    return honest(network, *rest, **choices)


@invariant(
    "a weight before batch norm has no scale but epsilon's, its gradient the inverse one",
    wrong("learn", _one_epsilon),
)
def _(side, rng):
    network, parameters, X, Y = draw_normalized(rng, 1e-3)
    scaled = parameters.copy()
    scaled["W1"] *= 4
    wide = replace(network, batch_norm=BatchNorm(epsilon=16e-3))
    first, second = side.learn(network, parameters, X, Y), side.learn(wide, scaled, X, Y)
    assert_same({**second, "W1": 4 * second["W1"]}, first)


@invariant(
    "the gradient of a weight before batch norm is orthogonal to it",
    spoilt("learn", "W1", lambda dW: dW + 1e-9),
)
def _(side, rng):
    network, parameters, X, Y = draw_normalized(rng, 1e-30)
    W, dW = parameters["W1"], side.learn(network, parameters, X, Y)["W1"]
    assert_nothing((W * dW).sum(axis=1), np.linalg.norm(W, axis=1) * np.linalg.norm(dW, axis=1))


# --- networks -------------------------------------------------------------------------------------


def draw_learning(rng, m=10, hidden="tanh", output="softmax"):
    """Draw a network, X and Y."""
    network, parameters = draw_network((4, 6, 5, 3), hidden, output, rng)
    return network, parameters, rng.standard_normal((4, m)), draw_labels(network, m, rng)


def _baseline(honest, network, parameters, X, *rest, **choices):
    return honest(network, parameters, X - 1e-6 * X[:, :1], *rest, **choices)


@invariant("permuting examples permutes the outputs and dX", wrong("network", _baseline))
def _(side, rng):
    network, parameters, X, _ = draw_learning(rng)
    dA, order = rng.standard_normal((3, 10)), turning(10, rng)
    first = side.network(network, parameters, X, dA)
    second = side.network(network, parameters, X[:, order], dA[:, order])
    bounds = network_gauges(network, {"X": X, **parameters}, dA)
    for name in ("output", "X"):
        first[name], bounds[name] = first[name][:, order], bounds[name][:, order]
    assert_same(second, first, gauges=bounds)


@invariant("permuting examples leaves cost and gradients", wrong("learn", _baseline))
def _(side, rng):
    network, parameters, X, Y = draw_learning(rng)
    order = turning(10, rng)
    first = side.learn(network, parameters, X, Y, l2=0.3)
    assert_same(side.learn(network, parameters, X[:, order], Y[:, order], l2=0.3), first)


def _last_unit_dead(gradient):
    return gradient * (np.arange(len(gradient)) < len(gradient) - 1)[:, None]


@invariant(
    "permuting the units of a layer leaves the cost and permutes the gradients",
    spoilt("learn", "W1", _last_unit_dead),
)
def _(side, rng):
    network, parameters, X, Y = draw_learning(rng)
    order = turning(6, rng)
    turned = parameters.copy()
    for name in ("W1", "b1"):
        turned[name] = parameters[name][order]
    turned["W2"] = parameters["W2"][:, order]
    first, second = (side.learn(network, one, X, Y) for one in (parameters, turned))
    for name in ("W1", "b1"):
        first[name] = first[name][order]
    first["W2"] = first["W2"][:, order]
    assert_same(second, first)


def _of_a_whole_batch(honest, network, parameters, X, *rest, **choices):
    results = honest(network, parameters, X, *rest, **choices)
    return {name: value * X.shape[1] / 4 for name, value in results.items()}


@invariant(
    "merged mini-batches, a short one among them, are the batch",
    wrong("learn", _of_a_whole_batch),
)
def _(side, rng):
    network, parameters, X, Y = draw_learning(rng)
    penalties = {"l1": 0.1, "l2": 0.3, "m": 10}
    merged = {}
    for batch in partition(rng.permutation(10), 4):
        part = side.learn(network, parameters, X[:, batch], Y[:, batch], **penalties)
        for name, value in part.items():
            merged[name] = merged.get(name, 0.0) + value * len(batch) / 10
    assert_same(merged, side.learn(network, parameters, X, Y, **penalties))


@invariant("every example twice costs as much as once", wrong("learn", _of_a_whole_batch))
def _(side, rng):
    network, parameters, X, Y = draw_learning(rng)
    twice = side.learn(network, parameters, np.tile(X, 2), np.tile(Y, 2), l1=0.2, l2=0.6)
    # penalties are shared by as many examples as there are
    assert_same(twice, side.learn(network, parameters, X, Y, l1=0.1, l2=0.3))


@invariant(
    "a network is its layers one after the other, and back",
    spoilt("network", "b2", lambda gradient: gradient / 10),
)
def _(side, rng):
    for hidden in DIFFERENTIABLE:
        network, parameters, X = draw_switching((4, 6, 5, 3), "softmax", hidden, rng)
        dA, A, Z = rng.standard_normal((3, 12)), [X], []
        activations = [network.activation(l) for l in (1, 2, 3)]
        for l, activation in enumerate(activations, start=1):
            W, b = parameters[f"W{l}"], parameters[f"b{l}"]
            Z.append(side.linear(A[-1], W, b, np.zeros((len(W), 12)))["output"])
            A.append(side.activation(activation, Z[-1], np.zeros_like(Z[-1]))["output"])
        chained, upstream = {"output": A[-1]}, dA
        for l in (3, 2, 1):
            dZ = side.activation(activations[l - 1], Z[l - 1], upstream)["Z"]
            pulled = side.linear(A[l - 1], parameters[f"W{l}"], parameters[f"b{l}"], dZ)
            chained |= {f"W{l}": pulled["W"], f"b{l}": pulled["b"]}
            upstream = pulled["A_prev"]
        chained["X"] = upstream
        gauges = network_gauges(network, {"X": X, **parameters}, dA)
        assert_same(side.network(network, parameters, X, dA), chained, gauges=gauges)


@invariant(
    "between rectifiers a scale can be handed on",
    spoilt("network", "W1", lambda gradient: gradient + 1e-12),
)
def _(side, rng):
    network, parameters, X = draw_switching((4, 6, 3), "softmax", "relu", rng)
    dA, moved = rng.standard_normal((3, 12)), parameters.copy()
    for name, factor in (("W1", 8), ("b1", 8), ("W2", 1 / 8)):
        moved[name] *= factor
    first = side.network(network, parameters, X, dA)
    second = side.network(network, moved, X, dA)
    assert np.array_equal(second["output"], first["output"])
    for name, factor in (("W1", 8), ("b1", 8), ("W2", 1 / 8), ("b2", 1), ("X", 1)):
        assert np.array_equal(factor * second[name], first[name]), name


def _scaled_twice(honest, network, parameters, X, Y, **choices):
    results = honest(network, parameters, X, Y, **choices)
    return {**results, "W2": results["W2"] * 1.25} if network.keep_probs else results


@invariant("keep_prob 1 is no dropout", wrong("learn", _scaled_twice))
def _(side, rng):
    network, parameters, X, Y = draw_learning(rng)
    first = side.learn(network, parameters, X, Y)
    second = side.learn(replace(network, keep_probs=(1.0, 1.0)), parameters, X, Y)
    assert all(np.array_equal(second[name], value) for name, value in first.items())


@invariant(
    "a mask that drops nothing scales the weights of the next layer",
    wrong("learn", _scaled_twice),
)
def _(side, rng):
    network, parameters, X, Y = draw_learning(rng)
    masks = {"D1": np.full((6, 10), 2.0), "D2": np.full((5, 10), 1.25)}
    smaller = parameters.copy()
    for name, mask in (("W2", 2.0), ("W3", 1.25)):
        smaller[name] /= mask
    dropping = replace(network, keep_probs=(0.5, 0.8))
    second = side.learn(dropping, smaller, X, Y, masks=masks)
    for name, mask in (("W2", 2.0), ("W3", 1.25)):
        second[name] = second[name] / mask
    assert_same(second, side.learn(network, parameters, X, Y))


# --- training -------------------------------------------------------------------------------------


def draw_training(rng, hidden="tanh", output="sigmoid", m=22, epochs=4, batch_size=8):
    """Draw a small training: its network, parameters, X, Y and the rest."""
    network, parameters = draw_network((3, 4, 1), hidden, output, rng)
    X = rng.standard_normal((3, m))
    Y = (X[:1] * X[1:2] > 0).astype(float)
    orders = draw_orders(m, epochs, rng)
    return (network, parameters, X, Y), {
        "epochs": epochs,
        "batch_size": batch_size,
        "orders": orders,
    }


def _unseeded(honest, *arguments, **run):
    reached = honest(*arguments, **run)
    reached.theta[:] += 1e-15 * np.random.default_rng().random()
    return reached


@invariant("the same draws train the same parameters, to the last bit", wrong("train", _unseeded))
def _(side, rng):
    data, run = draw_training(rng)
    for name, choices in OPTIMIZERS.items():
        first, second = (side.train(*data, name, choices, **run) for _ in range(2))
        assert np.array_equal(first.theta, second.theta), name


def _cooling(honest, network, parameters, X, Y, name, choices, **run):
    for epoch in range(1, run["epochs"] + 1):
        one = {**run, "epochs": 1, "orders": run["orders"][epoch - 1 : epoch]}
        rates = {**choices, "learning_rate": choices["learning_rate"] / epoch}
        parameters = honest(network, parameters, X, Y, name, rates, **one)
    return parameters


@invariant("gradient descent can be cut in two", wrong("train", _cooling))
def _(side, rng):
    (network, parameters, X, Y), run = draw_training(rng)
    rule = "gradient_descent", {"learning_rate": 0.3}
    whole = side.train(network, parameters, X, Y, *rule, **run)
    for piece in (run["orders"][:1], run["orders"][1:]):
        part = {**run, "epochs": len(piece), "orders": piece}
        parameters = side.train(network, parameters, X, Y, *rule, **part)
    assert np.array_equal(parameters.theta, whole.theta)


def _in_eights(honest, *arguments, **run):
    return honest(*arguments, **{**run, "batch_size": 8})


@invariant("in one batch the order of examples is nothing", wrong("train", _in_eights))
def _(side, rng):
    (network, parameters, X, Y), run = draw_training(rng)
    run["batch_size"] = X.shape[1]
    others = {**run, "orders": draw_orders(X.shape[1], run["epochs"], rng)}
    for name, choices in OPTIMIZERS.items():
        first, second = (
            side.train(network, parameters, X, Y, name, choices, **one) for one in (run, others)
        )
        assert_close(first.theta, second.theta, name, budget=TRAINING)


def _jittered(honest, network, parameters, *rest, **run):
    moved = parameters.copy()
    moved["W1"] += 1e-6 * np.arange(moved["W1"].size).reshape(moved["W1"].shape)
    return honest(network, moved, *rest, **run)


@invariant("units that start alike stay alike for ever", wrong("train", _jittered))
def _(side, rng):
    (network, _, X, Y), run = draw_training(rng)
    for name, choices in OPTIMIZERS.items():
        for initializer, alike in (("constant", True), ("xavier", False)):
            parameters = initialize(network.layer_sizes, initializer, rng)
            reached = side.train(network, parameters, X, Y, name, choices, **run)
            assert np.abs(reached.theta - parameters.theta).max() > 1e-3
            for W in (reached["W1"], reached["b1"], reached["W2"].reshape(-1, 1)):
                assert (np.ptp(W, axis=0).max() <= STEP.eps * EPS) == alike, name


@invariant(
    "a network of zeros learns its last bias alone",
    wrong("train", _jittered),
)
def _(side, rng):
    (network, _, X, Y), run = draw_training(rng)
    zeros = Parameters.empty(network.shapes)
    for name, choices in OPTIMIZERS.items():
        reached = side.train(network, zeros, X, Y, name, choices, **run)
        learnt = [key for key, value in reached.items() if value.any()]
        assert learnt == ["b2"], name


L2, RATES = 2.0, {"gradient_descent": {"learning_rate": 0.3}, "adam": {"learning_rate": 0.01}}


def shrunk(side, network, parameters, X, Y, name, choices, **run):
    """Return parameters after steps on the cost alone, each shrinking the weights by alpha l2 / m.

    The gradients of the cost are those along the way, so a step is a walk of one.
    """
    theta, gradients, m = parameters.copy(), [], X.shape[1]
    for order in run["orders"]:
        for batch in partition(order, run["batch_size"]):
            pulled = side.learn(network, theta, X[:, batch], Y[:, batch])
            gradients.append(np.concatenate([pulled[key].ravel() for key in theta]))
            path = side.walk(name, choices, parameters.theta, np.array(gradients))
            moved = Parameters.empty(theta.shapes)
            moved.theta[:] = path[-1] - path[-2]
            for key, view in theta.items():
                if key.startswith("W"):
                    view *= 1 - choices["learning_rate"] * L2 / m
                view += moved[key]
    return theta


def _half_as_much(honest, *arguments, **run):
    return honest(*arguments, **{**run, "l2": run.get("l2", 0.0) / 2})


@invariant("for gradient descent L2 on the cost is shrinking", wrong("train", _half_as_much))
def _(side, rng):
    data, run = draw_training(rng)
    rule = "gradient_descent", RATES["gradient_descent"]
    mine = shrunk(side, *data, *rule, **run)
    assert_close(side.train(*data, *rule, **run, l2=L2).theta, mine.theta, "theta", budget=STEP)
    assert np.abs(side.train(*data, *rule, **run).theta - mine.theta).max() > 1e-2


def _decoupled(side):
    def train(*arguments, l2, **run):
        return shrunk(side, *arguments, **run)

    return replace(side, train=train)


@invariant("for adam L2 on the cost is no shrinking", _decoupled)
def _(side, rng):
    data, run = draw_training(rng)
    mine = shrunk(side, *data, "adam", RATES["adam"], **run)
    theta = side.train(*data, "adam", RATES["adam"], **run, l2=L2).theta
    assert np.abs(theta - mine.theta).max() > 1e-3


# --- the checks, and the bugs they see ------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sentence", INVARIANTS)
def test_invariant(sentence, side, rng):
    """It holds on both sides."""
    INVARIANTS[sentence][0](SIDES[side], rng)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sentence", INVARIANTS)
def test_a_bug_breaks_the_invariant(sentence, side, rng):
    """A mistake of this kind, made on either side, is seen."""
    check, bug = INVARIANTS[sentence]
    with LEDGER.unrecorded(), pytest.raises(AssertionError):
        check(bug(SIDES[side]), rng)
