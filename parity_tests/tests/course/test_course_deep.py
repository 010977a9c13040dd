"""A deep network step by step: the course's names against torch and the assignment's own cases."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest
import torch
from torch.nn import functional

from parity_tests import GRADIENT, TRAINING, assert_close, assert_switches, assert_twins
from parity_tests.compare.bridge import columns, rows, unload
from parity_tests.compare.gauges import linear_gauges
from parity_tests.tests.course.references import (
    assert_printed,
    draw_labels,
    draw_layers,
    global_state_untouched,
    gradient_gauges,
    reference,
)
from scratch.course import deep as ours
from torch_ref.linear import linear
from torch_ref.network import predict
from torch_ref.optimizers import gradient_descent

SIZES = (5, 6, 5, 1)


@pytest.mark.seeds(20)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.parity(name, f"{name}_backward"))
        for name in ("sigmoid", "relu")
    ],
)
def test_activation(name, dtype, device, rng):
    """Forward and backward agree with torch and with differences, the cache is Z."""
    Z = (2 * rng.standard_normal((4, 6))).astype(dtype)
    Z[0, 0] = 1.5
    assert getattr(ours, name)(Z)[1] is Z

    def backward(dA, cache):
        return {"Z": getattr(ours, f"{name}_backward")(dA, cache)}

    assert_twins(getattr(ours, name), backward, getattr(torch, name), {"Z": Z}, rng, device=device)


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4)])
def test_activations_take_any_shape(shape, rng):
    """As their docstrings in the assignment say; integers become floats."""
    Z = np.asarray(rng.integers(-3, 4, shape))
    for name in ("sigmoid", "relu"):
        A, cache = getattr(ours, name)(Z)
        expected = getattr(torch, name)(torch.tensor(Z, dtype=torch.float64)).numpy()
        assert np.shape(A) == shape
        np.testing.assert_allclose(A, expected, rtol=1e-15)
        assert np.shape(getattr(ours, f"{name}_backward")(Z, cache)) == shape


def test_relu_is_flat_at_zero():
    """Nothing is passed back where Z is 0 or -0."""
    Z = np.array([[0.0, -0.0, 1e-300, -1e-300]])
    assert ours.relu_backward(np.full((1, 4), 7.0), Z).tolist() == [[0, 0, 7, 0]]


@pytest.mark.parity("linear_forward", "linear_backward")
@pytest.mark.seeds(20)
def test_linear(dtype, device, rng):
    """Z = W A + b; dW and db carry the 1/m, dA_prev does not."""
    n, n_prev, m = (int(size) for size in rng.integers(1, 6, 3))
    inputs = {"A_prev": (n_prev, m), "W": (n, n_prev), "b": (n, 1)}
    inputs = {name: rng.standard_normal(shape).astype(dtype) for name, shape in inputs.items()}

    def backward(dZ, cache):
        dA_prev, dW, db = ours.linear_backward(dZ, cache)
        return {"A_prev": dA_prev, "W": dW * m, "b": db * m}

    def forward(A_prev, W, b):
        Z, cache = ours.linear_forward(A_prev, W, b)
        assert all(one is other for one, other in zip(cache, (A_prev, W, b), strict=True))
        return Z, cache

    def gauges(arguments, upstream):
        return {name: 2 * gauge for name, gauge in linear_gauges(arguments, upstream).items()}

    assert_twins(forward, backward, linear, inputs, rng, gauges=gauges, device=device)


@pytest.mark.parity("linear_activation_forward", "linear_activation_backward")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_linear_activation(activation, device, rng):
    """A whole layer and its cache ((A_prev, W, b), Z)."""
    n, n_prev, m = 4, 3, 5
    inputs = {"A_prev": (n_prev, m), "W": (n, n_prev), "b": (n, 1)}
    inputs = {name: rng.standard_normal(shape) for name, shape in inputs.items()}

    def forward(A_prev, W, b):
        A, cache = ours.linear_activation_forward(A_prev, W, b, activation)
        (one, two, three), Z = cache
        assert (one is A_prev, two is W, three is b) == (True, True, True)
        assert np.array_equal(Z, ours.linear_forward(A_prev, W, b)[0])
        return A, cache

    def backward(dA, cache):
        dA_prev, dW, db = ours.linear_activation_backward(dA, cache, activation)
        return {"A_prev": dA_prev, "W": dW * m, "b": db * m}

    def theirs(A_prev, W, b):
        return getattr(torch, activation)(linear(A_prev, W, b))

    assert_twins(forward, backward, theirs, inputs, rng, forward_budget=GRADIENT, device=device)


def test_relu_is_the_default_of_the_backward(rng):
    """`linear_activation_backward(dA, cache)` is that of a hidden layer."""
    cache = ours.linear_activation_forward(
        *(rng.standard_normal((3, 3)) for _ in "AW"), np.ones((3, 1)), "relu"
    )[1]
    dA = rng.standard_normal((3, 3))
    for one, other in zip(
        ours.linear_activation_backward(dA, cache),
        ours.linear_activation_backward(dA, cache, "relu"),
        strict=True,
    ):
        assert np.array_equal(one, other)


@pytest.mark.parity("L_model_forward", "compute_cost", "L_model_backward")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("sizes", [SIZES, (3, 1), (4, 3, 2)])
def test_network(sizes, device, rng):
    """Cost and all gradients, "dA1" that of X among them, agree with autograd and differences."""
    m = 7
    inputs = {"X": rng.standard_normal((sizes[0], m)), **draw_layers(sizes, rng)}
    Y = rng.integers(0, 2, (sizes[-1], m))

    def forward(X, Y, **parameters):
        AL, caches = ours.L_model_forward(X, parameters)
        return ours.compute_cost(AL, Y), (AL, Y, caches)

    def backward(dJ, cache):
        grads = ours.L_model_backward(*cache)
        pulled = {"X": dJ * grads["dA1"] / m}
        pulled |= {name[1:]: dJ * one for name, one in grads.items() if name[1] in "Wb"}
        assert list(grads)[:3] == [f"{letter}{len(sizes) - 1}" for letter in ("dA", "dW", "db")]
        return pulled

    def theirs(X, *parameters, Y):
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = torch.relu(linear(A, W, b))
        A = torch.sigmoid(linear(A, *parameters[-2:]))
        return functional.binary_cross_entropy(A, Y.double(), reduction="sum") / m

    def gauges(arguments, upstream):
        parameters = {name: arguments[name] for name in inputs if name != "X"}
        bounds = gradient_gauges(parameters, "relu", arguments["X"], Y)
        output = bounds.pop("J")
        pulled = {name[1:]: np.abs(upstream) * bound for name, bound in bounds.items()}
        return {"output": output, **pulled}

    assert_twins(
        forward, backward, theirs, inputs, rng, constants={"Y": Y}, gauges=gauges, device=device
    )


@pytest.mark.seeds(5)
def test_each_layer_passes_back_the_gradient_of_its_input(rng):
    """The entry "dA" + str(l) is that of A_(l-1), the sum of the costs' gradient, for every l."""
    parameters, X, Y = draw_layers(SIZES, rng), rng.standard_normal((5, 6)), draw_labels(6, rng)
    AL, caches = ours.L_model_forward(X, parameters)
    grads = ours.L_model_backward(AL, Y, caches)
    module = reference(parameters, "relu")
    signals = [rows(X).requires_grad_()]
    for layer in (*module.logits, module.activation):
        signals.append(layer(signals[-1]))
    cost = functional.binary_cross_entropy(signals[-1], rows(Y.astype(float)), reduction="sum")
    inputs = [signals[0], *(signals[2 * l] for l in range(1, len(SIZES) - 1))]
    for l, expected in enumerate(torch.autograd.grad(cost, inputs), start=1):
        assert_close(grads[f"dA{l}"], columns(expected), f"dA{l}", budget=GRADIENT)


def test_the_backward_uses_the_output_it_is_given(rng):
    """From any AL, no sigmoid of the cached Z, and any Y: dAL = -Y / AL + (1 - Y) / (1 - AL)."""
    AL, Y = rng.standard_normal((1, 4)), np.array([[1, 0, -1, 2]])
    A_prev, W, Z = (rng.standard_normal(shape) for shape in ((3, 4), (1, 3), (1, 4)))
    grads = ours.L_model_backward(AL, Y, [((A_prev, W, np.zeros((1, 1))), Z)])
    logits = torch.tensor(Z, requires_grad=True)
    given, labels = torch.from_numpy(AL), torch.from_numpy(Y)
    dAL = -labels / given + (1 - labels) / (1 - given)
    (dZ,) = torch.autograd.grad(torch.sigmoid(logits), logits, dAL)
    assert_close(grads["db1"], dZ.mean(dim=1, keepdim=True).numpy(), "db1", budget=GRADIENT)


@pytest.mark.parity("update_parameters")
def test_update(rng):
    """One step of torch's SGD, of the entries named dW and db among all."""
    parameters = draw_layers(SIZES, rng)
    grads = {f"d{name}": rng.standard_normal(one.shape) for name, one in parameters.items()}
    tensors = {name: torch.tensor(one, requires_grad=True) for name, one in parameters.items()}
    for name, tensor in tensors.items():
        tensor.grad = torch.from_numpy(grads[f"d{name}"])
    gradient_descent(list(tensors.values()), learning_rate=0.1).step()
    updated = ours.update_parameters(parameters, grads | {"dA1": np.ones((5, 2))}, 0.1)
    assert list(updated) == list(parameters)
    for name, array in updated.items():
        gauge = np.abs(parameters[name]) + 0.1 * np.abs(grads[f"d{name}"])
        assert_close(array, tensors[name].detach().numpy(), name, gauge=gauge)
        assert not np.shares_memory(array, parameters[name])


def test_layers_that_do_not_fit_together_are_updated_one_by_one(rng):
    """An update looks at no layer's neighbours: W2 may be as wide as it likes."""
    shapes = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 4), "b2": (3, 1)}
    parameters = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    grads = {f"d{name}": np.full(shape, 0.5) for name, shape in shapes.items()}
    for name, updated in ours.update_parameters(parameters, grads, 2).items():
        assert np.array_equal(updated, parameters[name] - 1)


@pytest.mark.parity("predict")
def test_predict(capsys, rng):
    """Labels are torch's, and the accuracy on the given ones is printed."""
    parameters, X, Y = draw_layers(SIZES, rng), rng.standard_normal((5, 40)), draw_labels(40, rng)
    _, caches = ours.L_model_forward(X, parameters)
    parameters["b3"] -= np.median(caches[-1][1])
    p = ours.predict(X, Y, parameters)
    expected = columns(predict(rows(X), reference(parameters, "relu")))
    assert_switches(expected == 1, "prediction")
    assert_close(p, expected, "prediction")
    assert capsys.readouterr().out == f"Accuracy: {np.sum((expected == Y) / 40)}\n"


def test_the_accuracy_is_printed_to_the_notebooks_last_digit(capsys):
    """All of its 209 pictures right sum up to a little less than one."""
    parameters = {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))}
    assert ours.predict(np.ones((1, 209)), np.ones((1, 209), int), parameters).all()
    assert capsys.readouterr().out == "Accuracy: 0.9999999999999998\n"


@pytest.mark.parity("initialize_parameters_deep")
def test_initialize_parameters_deep():
    """NumPy's seed 3 and randn / sqrt(n_prev), bit by bit, the global generator left alone."""
    with global_state_untouched():
        parameters = ours.initialize_parameters_deep([5, 4, 3])
    np.random.seed(3)
    for l, (n_prev, n) in enumerate(((5, 4), (4, 3)), start=1):
        expected = np.random.randn(n, n_prev) / np.sqrt(n_prev)
        assert_close(parameters[f"W{l}"], expected, f"W{l}")
        assert np.array_equal(parameters[f"W{l}"], expected)
        assert np.array_equal(parameters[f"b{l}"], np.zeros((n, 1)))
    # the step-by-step notebook scales the same draws by 0.01
    printed = [0.01788628, 0.0043651, 0.00096497, -0.01863493, -0.00277388]
    assert_printed(parameters["W1"][0] * np.sqrt(5) * 0.01, printed)


@pytest.mark.parity("L_layer_model")
@pytest.mark.parametrize("given", [{}, {"seed": 1}], ids=["as in the notes", "official"])
def test_L_layer_model_is_torchs_descent(given, rng):  # noqa: N802
    """From the numbers of the seed, 300 steps of SGD end at the same parameters."""
    X, Y = rng.standard_normal((5, 30)), draw_labels(30, rng)
    with global_state_untouched():
        found = ours.L_layer_model(X, Y, SIZES, 0.1, 300, isPlot=False, **given)
    np.random.seed(given.get("seed", 3))
    drawn = {}
    for l in range(1, 4):
        drawn[f"W{l}"] = np.random.randn(SIZES[l], SIZES[l - 1]) / np.sqrt(SIZES[l - 1])
        drawn[f"b{l}"] = np.zeros((SIZES[l], 1))
    module = reference(drawn, "relu")
    optimizer = gradient_descent(module.parameters(), learning_rate=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        functional.binary_cross_entropy(module(rows(X)), rows(Y.astype(float))).backward()
        optimizer.step()
    assert np.abs(found["W1"] - drawn["W1"]).max() > 0.1
    for name, array in unload(module).items():
        assert_close(found[name], array, name, budget=TRAINING)


def test_L_layer_model_prints_and_records_every_hundred(capsys, monkeypatch, rng):  # noqa: N802
    """The notebook's lines, silence unless asked; the recorded costs are what is drawn."""
    drawn = []
    monkeypatch.setattr(ours, "plot_costs", lambda *arguments: drawn.append(arguments))
    X, Y = rng.standard_normal((5, 30)), draw_labels(30, rng)
    ours.L_layer_model(X, Y, list(SIZES), num_iterations=201, print_cost=True)
    ((costs, label, rate),) = drawn
    lines = [f"Cost after iteration {100 * i}: {cost:f}" for i, cost in enumerate(costs)]
    assert len(lines) == 3
    assert capsys.readouterr().out.splitlines() == lines
    assert (label, rate) == ("iterations (per hundreds)", 0.0075)
    assert costs == sorted(costs, reverse=True)
    ours.L_layer_model(X, Y, SIZES, num_iterations=1)
    assert capsys.readouterr().out == ""


def run(X, Y):
    """Train for a moment and draw."""
    return ours.L_layer_model(X, Y, (2, 3, 1), num_iterations=101, isPlot=True)


def test_the_costs_are_drawn(rng, monkeypatch):
    """Matplotlib's current figure shows the recorded costs, without a display or a word."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.close("all")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda **given: shown.append(given))
    run(rng.standard_normal((2, 8)), draw_labels(8, rng))
    (line,) = pyplot.gca().lines
    assert len(line.get_ydata()) == 2
    assert (pyplot.gca().get_ylabel(), pyplot.gca().get_title()) == (
        "cost",
        "Learning rate = 0.0075",
    )
    assert shown == [{"block": False}]
    run(rng.standard_normal((2, 8)), draw_labels(8, rng))
    first, second = pyplot.get_fignums()
    assert [len(pyplot.figure(number).gca().lines) for number in (first, second)] == [1, 1]
    empty = pyplot.figure()
    run(rng.standard_normal((2, 8)), draw_labels(8, rng))
    assert len(empty.gca().lines) == 1  # a figure that was made for it is taken
    monkeypatch.undo()
    run(rng.standard_normal((2, 8)), draw_labels(8, rng))  # the real show of a headless backend
    pyplot.close("all")


@pytest.mark.parametrize("fault", ["no library", "no display"])
def test_a_plot_that_fails_costs_nothing(fault, rng, monkeypatch):
    """Without matplotlib, or where its backend cannot start, the parameters still come back."""
    broken = types.ModuleType("matplotlib.pyplot")

    def plot(*arguments):
        raise RuntimeError("cannot connect to display")

    broken.gca = broken.plot = plot
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None if fault == "no library" else broken)
    assert set(run(rng.standard_normal((2, 8)), draw_labels(8, rng))) == {"W1", "b1", "W2", "b2"}


def randn(seed, **shapes):
    """Return arrays drawn one after the other from NumPy's seed, as the test cases are."""
    np.random.seed(seed)
    return {name: np.random.randn(*shape) for name, shape in shapes.items()}


def test_the_notebooks_forward():
    """What the assignment prints for its linear layer, its activations and its networks."""
    layer = randn(1, A=(3, 2), W=(1, 3), b=(1, 1))
    assert_printed(ours.linear_forward(**layer)[0], [[3.26295337, -1.23429987]])
    layer = randn(2, A_prev=(3, 2), W=(1, 3), b=(1, 1))
    A, _ = ours.linear_activation_forward(**layer, activation="sigmoid")
    assert_printed(A, [[0.96890023, 0.11013289]])
    A, _ = ours.linear_activation_forward(**layer, activation="relu")
    assert_printed(A, [[3.43896131, 0.0]])
    drawn = randn(1, X=(4, 2), W1=(3, 4), b1=(3, 1), W2=(1, 3), b2=(1, 1))
    AL, caches = ours.L_model_forward(drawn.pop("X"), drawn)
    assert_printed(AL, [[0.17007265, 0.2524272]])
    assert len(caches) == 2
    shapes = {"W1": (4, 5), "b1": (4, 1), "W2": (3, 4), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    drawn = randn(6, X=(5, 4), **shapes)
    AL, caches = ours.L_model_forward(drawn.pop("X"), drawn)
    assert_printed(AL, [[0.03921668, 0.70498921, 0.19734387, 0.04728177]])
    assert len(caches) == 3


def test_the_notebooks_cost():
    """The assignment's costs for integer labels; a NumPy scalar of shape ()."""
    AL = np.array([[0.8, 0.9, 0.4]])
    cost = ours.compute_cost(AL, np.array([[1, 1, 1]]))
    assert cost.shape == ()
    assert_printed(cost, 0.41493159961539694, 15)
    assert_printed(ours.compute_cost(AL, np.array([[1, 1, 0]])), 0.2797765635793422, 15)


def test_the_notebooks_backward():
    """The assignment's gradients, from an AL of arbitrary numbers; layer 1 passes back "dA1"."""
    drawn = randn(1, dZ=(1, 2), A=(3, 2), W=(1, 3), b=(1, 1))
    found = ours.linear_backward(drawn.pop("dZ"), tuple(drawn.values()))
    printed = [[0.51822968, -0.19517421], [-0.40506361, 0.15255393], [2.37496825, -0.89445391]]
    assert_printed(found[0], printed)
    assert_printed(found[1], [[-0.10076895, 1.40685096, 1.64992505]])
    assert_printed(found[2], [[0.50629448]])
    drawn = randn(2, dA=(1, 2), A=(3, 2), W=(1, 3), b=(1, 1), Z=(1, 2))
    dA, Z = drawn.pop("dA"), drawn.pop("Z")
    cache = tuple(drawn.values()), Z
    found = ours.linear_activation_backward(dA, cache, activation="sigmoid")
    printed = [[0.11017994, 0.01105339], [0.09466817, 0.00949723], [-0.05743092, -0.00576154]]
    assert_printed(found[0], printed)
    assert_printed(found[1], [[0.10266786, 0.09778551, -0.01968084]])
    assert_printed(found[2], [[-0.05729622]])
    found = ours.linear_activation_backward(dA, cache, activation="relu")
    assert_printed(found[0], [[0.44090989, 0.0], [0.37883606, 0.0], [-0.2298228, 0.0]])
    assert_printed(found[1], [[0.44513824, 0.37371418, -0.10478989]])
    assert_printed(found[2], [[-0.20837892]])
    first = {"A1": (4, 2), "W1": (3, 4), "b1": (3, 1), "Z1": (3, 2)}
    second = {"A2": (3, 2), "W2": (1, 3), "b2": (1, 1), "Z2": (1, 2)}
    drawn = randn(3, AL=(1, 2), **first, **second)
    A1, W1, b1, Z1 = (drawn[name] for name in first)
    A2, W2, b2, Z2 = (drawn[name] for name in second)
    caches = (((A1, W1, b1), Z1), ((A2, W2, b2), Z2))
    grads = ours.L_model_backward(drawn["AL"], np.array([[1, 0]]), caches)
    printed = {
        "dA2": [[0.12913162, -0.44014127], [-0.14175655, 0.48317296], [0.01663708, -0.05670698]],
        "dA1": [[0, 0.52257901], [0, -0.3269206], [0, -0.32070404], [0, -0.74079187]],
        "dW1": [
            [0.41010002, 0.07807203, 0.13798444, 0.10502167],
            [0, 0, 0, 0],
            [0.05283652, 0.01005865, 0.01777766, 0.0135308],
        ],
        "db1": [[-0.22007063], [0], [-0.02835349]],
    }
    for name, values in printed.items():
        assert_printed(grads[name], values)


def test_the_notebooks_update():
    """The assignment's updated parameters."""
    shapes = {"W1": (3, 4), "b1": (3, 1), "W2": (1, 3), "b2": (1, 1)}
    parameters = randn(2, **shapes)
    grads = {f"d{name}": array for name, array in randn(3, **shapes).items()}
    updated = ours.update_parameters(parameters, grads, 0.1)
    printed = [
        [-0.59562069, -0.09991781, -2.14584584, 1.82662008],
        [-1.76569676, -0.80627147, 0.51115557, -1.18258802],
        [-1.0535704, -0.86128581, 0.68284052, 2.20374577],
    ]
    assert_printed(updated["W1"], printed)
    assert_printed(updated["b1"], [[-0.04659241], [-1.28888275], [0.53405496]])
    assert_printed(updated["W2"], [[-0.55569196, 0.0354055, 1.32964895]])
    assert_printed(updated["b2"], [[-0.84610769]])
