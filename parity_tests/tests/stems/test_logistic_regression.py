"""Logistic regression: the pair, the cost, loops beside matrices, descent and predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from parity_tests import GRADIENT, STEP, assert_close, assert_switches, assert_twins
from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch
from parity_tests.compare.functions import draw_until
from parity_tests.compare.witnesses import widened
from scratch import logistic_regression as ours
from scratch import network
from scratch.parameters import Parameters
from torch_ref import logistic_regression as theirs
from torch_ref.costs import binary_cross_entropy_with_logits

#: features and examples: many of both, one of either, one of both.
SIZES = [(5, 12), (1, 9), (7, 1), (1, 1)]


def draw(rng, n_x=5, m=12, dtype=np.float64):
    """Draw w, b, X and Y, labels of both kinds where there is room, and not all guessed right."""

    def candidate():
        w, X = rng.standard_normal((n_x, 1)), rng.standard_normal((n_x, m))
        Y = rng.permutation(np.resize([0.0, 1.0], m))[None, :]
        return w, rng.standard_normal(()), X, Y

    def proves(w, b, X, Y):  # a single certain example costs and pulls as good as nothing
        return np.logaddexp(0, (1 - 2 * Y) * ((w * X).sum(axis=0) + b)).mean() > 0.02

    return (*(np.asarray(one, dtype)[()] for one in draw_until(proves, candidate)),)


def across(w, b, X, Y):
    """Carry all four over: w becomes the (1, n_x) of torch's Linear."""
    return rows(w), to_torch("b", b), rows(X), rows(Y)


def running(w, b, X):
    """Return A and the gauges of Z and A, each (1, m): what the logits sum up, and its effect."""
    A, _ = ours.logistic_regression_forward(X, w, b)
    E_Z = np.einsum("kn,km->nm", np.abs(w), np.abs(X)) + np.abs(b)
    return A, E_Z, A * (1 - A) * E_Z + A


def pulled(dZ, X):
    """Return the gauges of w and b for a dZ, (1, m), that errs by this much."""
    return {"w": np.einsum("km,nm->kn", np.abs(X), dZ), "b": dZ.sum()}


def examples():
    """Yield (package.stem.function, valid arguments) of both sides."""
    w, b, X, Y = draw(np.random.default_rng(0), n_x=3, m=4)
    for package, values in (("scratch", (w, b, X, Y)), ("torch_ref", across(w, b, X, Y))):
        data = dict(zip("wbXY", values, strict=True))
        inputs = {name: data[name] for name in "Xwb"}
        descent = {"learning_rate": 0.1, "steps": 2}
        yield f"{package}.{{}}.propagate", data
        yield f"{package}.{{}}.propagate_with_loops", data
        yield f"{package}.{{}}.gradient_descent", {**data, **descent}
        yield f"{package}.{{}}.predict", inputs
        name = "logistic_regression" + "_forward" * (package == "scratch")
        yield f"{package}.{{}}.{name}", inputs
    cache = ours.logistic_regression_forward(X, w, b)[1]
    yield "scratch.{}.logistic_regression_backward", {"dA": Y, "cache": cache}


EXAMPLES = {path.format("logistic_regression"): arguments for path, arguments in examples()}


@pytest.mark.parity("logistic_regression_forward", "logistic_regression_backward")
@pytest.mark.seeds(10)
@pytest.mark.parametrize(("n_x", "m"), SIZES, ids=str)
def test_the_pair(n_x, m, dtype, device, rng):
    """Probabilities and the gradients of X, w and b agree, by all three witnesses."""
    w, b, X, _ = draw(rng, n_x, m, dtype)

    def gauges(arguments, upstream):
        A, _, E_A = running(w, b, X)
        dZ = np.abs(upstream) * (A * (1 - A) + E_A)  # 1 - 2 A is at most 1
        return {"output": E_A, "X": np.einsum("kn,nm->km", np.abs(w), dZ), **pulled(dZ, X)}

    assert_twins(
        ours.logistic_regression_forward,
        ours.logistic_regression_backward,
        theirs.logistic_regression,
        {"X": X, "w": w, "b": np.asarray(b)},
        rng,
        gauges=gauges,
        witnessed=4,
        device=device,
    )


def propagated(arguments, upstream):
    """Return the gauges of J and its gradients."""
    w, b, X, Y = (arguments[name] for name in "wbXY")
    A, E_Z, E_A = running(w, b, X)
    dZ = np.abs(upstream) * (E_A + np.abs(A - Y)) / X.shape[1]
    return {"output": (E_Z + 1).mean(), **pulled(dZ, X)}


@pytest.mark.seeds(10)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.parity(name))
        for name in ("propagate", "propagate_with_loops")
    ],
)
@pytest.mark.parametrize(("n_x", "m"), SIZES, ids=str)
def test_cost_and_gradients(n_x, m, name, dtype, device, rng):
    """J, dw and db agree with autograd and differences, in matrices and in loops."""
    w, b, X, Y = draw(rng, n_x, m, dtype)
    assert_twins(
        getattr(ours, name),
        lambda dJ, gradients: {key: dJ * one for key, one in gradients.items()},
        lambda w, b, X, Y: binary_cross_entropy_with_logits(functional.linear(X, w, b), Y),
        {"w": w, "b": np.asarray(b)},
        rng,
        constants={"X": X, "Y": Y},
        gauges=propagated,
        witnessed=3,
        device=device,
    )


@pytest.mark.seeds(10)
@pytest.mark.parity("propagate", "propagate_with_loops")
@pytest.mark.parametrize(("n_x", "m"), SIZES, ids=str)
def test_loops_and_matrices_agree(n_x, m, rng):
    """Both forms of both sides, through the doors that users call."""
    w, b, X, Y = draw(rng, n_x, m)
    J, gradients = ours.propagate(w, b, X, Y)
    gauge = propagated({"w": w, "b": b, "X": X, "Y": Y}, 1.0)
    truth, slopes = widened(ours.propagate, w, b, X, Y) or (None, {})
    found = (
        ours.propagate_with_loops(w, b, X, Y),
        ours.propagate(w, float(b), X, Y),
        from_torch(*theirs.propagate(*across(w, b, X, Y))),
        from_torch(*theirs.propagate_with_loops(*across(w, b, X, Y))),
    )
    for cost, others in found:
        assert_close(cost, J, "J", gauge=gauge["output"], wider=truth)
        for name, one in others.items():
            options = {"gauge": gauge[name], "wider": slopes.get(name)}
            assert_close(one, gradients[name], name, budget=GRADIENT, **options)


def from_torch(J, gradients):
    """Carry a cost and its gradients back."""
    return J.numpy()[()], {name: to_numpy(name, one)[()] for name, one in gradients.items()}


@pytest.mark.parametrize("name", ["propagate", "propagate_with_loops"])
def test_certain_logits_cost_what_they_should(name):
    """Logits of +-1e4 neither overflow nor lose the cost: 1e4 where wrong, 0 where right."""
    w, X = np.array([[1e4]]), np.array([[1.0, -1.0]])
    for Y, expected in (([[1.0, 0.0]], 0.0), ([[0.0, 1.0]], 1e4), ([[0.0, 0.0]], 5e3)):
        J, gradients = getattr(ours, name)(w, 0.0, X, np.array(Y))
        assert expected == J
        assert gradients["w"] == np.array([[(expected > 0) * expected / 1e4]])
    J, _ = getattr(ours, name)(w / 250, 0.0, X, np.array([[1.0, 0.0]]))
    assert abs(J - np.exp(-40)) < 1e-14 * J  # what 1 + e^-40 would lose


@pytest.mark.parametrize("name", ["propagate", "propagate_with_loops"])
def test_small_probabilities_keep_their_digits(name):
    """The gradient of an example that is surely right is A itself, e^-40, on both sides."""
    w, b, X, Y = np.array([[-4.0]]), np.float64(0.0), np.array([[10.0]]), np.array([[0.0]])
    _, mine = getattr(ours, name)(w, b, X, Y)
    _, other = from_torch(*getattr(theirs, name)(*across(w, b, X, Y)))
    truth = widened(getattr(ours, name), w, b, X, Y)
    assert abs(mine["b"] / np.exp(-40) - 1) < 1e-15
    for key, gradient in mine.items():
        wider = None if truth is None else truth[1][key]
        assert_close(gradient, other[key], key, budget=GRADIENT, wider=wider)


@pytest.mark.parity("gradient_descent")
@pytest.mark.seeds(5)
@pytest.mark.parametrize(("n_x", "m"), SIZES, ids=str)
def test_descent(n_x, m, rng):
    """Three hundred steps: w, b and the cost of each step, and nothing modified on the way."""
    w, b, X, Y = draw(rng, n_x, m)
    kept = [np.copy(one) for one in (w, b, X, Y)]
    tensors = across(w, b, X, Y)
    choices = {"learning_rate": 0.1, "steps": 300}
    mine = ours.gradient_descent(w, b, X, Y, **choices)
    other = theirs.gradient_descent(*tensors, **choices)
    truth = widened(ours.gradient_descent, w, b, X, Y, **choices) or (None,) * 3
    # each gradient depends on w and b alike, and b may come to lie near 0
    size = max(np.abs(one).max() for one in (w, b, *mine[:2]))
    # a cost may be small where torch adds up large logits, at either end of the way
    ends = ({"w": w, "b": b, "X": X, "Y": Y}, {"w": mine[0], "b": mine[1], "X": X, "Y": Y})
    summed = max(propagated(one, 1.0)["output"] for one in ends)
    gauges = {"w": size, "b": size, "costs": summed}
    for (name, gauge), one, reference, wider in zip(
        gauges.items(), mine, other, truth, strict=True
    ):
        assert_close(
            one, to_numpy(name, reference)[()], name, budget=STEP, gauge=gauge, wider=wider
        )
    assert mine[2][0] == ours.propagate(w, b, X, Y)[0]
    assert (np.diff(mine[2]) < 0).all()
    assert all(map(np.array_equal, kept, (w, b, X, Y)))
    assert all(map(torch.equal, tensors, across(*kept)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_b_begins_as_the_number_0(dtype, rng):
    """The course starts from b = 0, a Python number, whole or not."""
    w, X = np.zeros((3, 1), dtype), rng.standard_normal((3, 5)).astype(dtype)
    Y = np.ones((1, 5), dtype)
    first, second = (ours.propagate(w, b, X, Y) for b in (0, 0.0))
    assert first[0] == second[0]
    assert first[1]["w"].dtype == dtype
    assert np.array_equal(first[1]["w"], second[1]["w"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(dtype, rng):
    """Every output has the dtype of the inputs, with a Python float for b and the rate."""
    w, _, X, Y = draw(rng, dtype=dtype)
    costs = [ours.propagate(w, 0.1, X, Y), ours.propagate_with_loops(w, 0.1, X, Y)]
    values = [one for J, gradients in costs for one in (J, *gradients.values())]
    values += ours.gradient_descent(w, 0.1, X, Y, learning_rate=np.float64(0.1), steps=3)
    values += [ours.predict(w, 0.1, X), ours.logistic_regression_forward(X, w, 0.1)[0]]
    assert [one.dtype for one in values] == [dtype] * len(values)


@pytest.mark.parity("predict")
@pytest.mark.seeds(10)
def test_predictions(rng):
    """Both sides predict alike; a probability of one half is label 0."""
    w, _, X, Y = draw(rng, m=40)
    X[:, 0], b = 0.0, np.float64(0.0)
    mine = ours.predict(w, b, X)
    other = columns(theirs.predict(*across(w, b, X, Y)[:3]))
    assert_close(mine, other, "predictions")
    assert np.array_equal(mine, other)
    assert mine[0, 0] == 0
    assert_switches(mine, "prediction")


def test_separable_data_are_learned(rng):
    """Where a line with a margin separates the labels, descent finds one; the cost falls to 0."""
    X = rng.standard_normal((2, 100))
    X = X[:, np.abs(X[0] + 2 * X[1] - 0.5) > 0.3]
    Y = (X[:1] + 2 * X[1:] > 0.5).astype(float)
    w, b, costs = ours.gradient_descent(np.zeros((2, 1)), 0.0, X, Y, learning_rate=5.0, steps=2000)
    assert np.array_equal(ours.predict(w, b, X), Y)
    assert abs(costs[0] - np.log(2)) < 1e-15
    assert costs[-1] < 0.05


def test_it_is_the_network_of_one_unit(rng):
    """The smallest network, (n_x, 1) with a sigmoid, has the same cost and gradients."""
    w, b, X, Y = draw(rng)
    unit = network.Network(layer_sizes=(5, 1))
    parameters = Parameters({"W1": rows(w).numpy(), "b1": np.reshape(b, (1, 1))})
    cost, expected = network.cost_and_gradients(parameters, X, Y, unit)
    J, gradients = ours.propagate(w, b, X, Y)
    gauges = propagated({"w": w, "b": b, "X": X, "Y": Y}, 1.0)
    assert_close(J, cost, "J", gauge=gauges["output"])
    W1, b1 = columns(torch.from_numpy(expected["W1"])), expected["b1"][0, 0]
    assert_close(gradients["w"], W1, "w", budget=GRADIENT, gauge=gauges["w"])
    assert_close(gradients["b"], b1, "b", budget=GRADIENT, gauge=gauges["b"])
