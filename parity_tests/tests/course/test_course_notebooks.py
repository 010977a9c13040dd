"""Prints of the assignments: the numbers of their test cases, the lines of their trainings."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest

from parity_tests.tests.course.printed import GIVEN, PRINTED
from scratch.course import (
    deep,
    gradient_checking,
    initialization,
    optimization,
    planar,
    regularization,
)
from scratch.optimizers import Adam
from scratch.parameters import Parameters

LAYER = {"W": (1, 3), "b": (1, 1)}
DEEP = {"W1": (3, 4), "b1": (3, 1), "W2": (1, 3), "b2": (1, 1)}
DEEPER = {"W1": (4, 5), "b1": (4, 1), "W2": (3, 4), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
THREE = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 2), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
CHECKED = {"W1": (5, 4), "b1": (5, 1), "W2": (3, 5), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
#: of the assignment on optimization: layers that do not fit together.
LOOSE = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 3), "b2": (3, 1)}
LABELS = np.array([[1, 1, 0, 1, 0]])


def randn(seed, **shapes):
    """Return arrays drawn one after the other from NumPy's seed, as the test cases are."""
    np.random.seed(seed)
    return {name: np.random.randn(*shape) for name, shape in shapes.items()}


def given(stem, *names):
    return {name: GIVEN[f"{stem} {name}"] for name in names}


def exercise():
    data = randn(1, X=(2, 3), Y=(1, 3))
    return data["X"], data["Y"] > 0


def planar_initialize():
    np.random.seed(2)
    return planar.initialize_parameters(2, 4, 1)


def planar_means():
    drawn = randn(1, X=(2, 3), b1=(4, 1))
    parameters = given("planar", "W1", "W2") | {"b1": drawn["b1"], "b2": np.array([[-1.3]])}
    _, cache = planar.forward_propagation(drawn["X"], parameters)
    return [cache[name].mean() for name in ("Z1", "A1", "Z2", "A2")]


def planar_backward():
    parameters = given("planar", "W1", "W2") | {"b1": np.zeros((4, 1)), "b2": np.zeros((1, 1))}
    return planar.backward_propagation(parameters, given("planar", "A1", "A2"), *exercise())


def planar_training():
    """Train from seed 2, as older notebooks draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planar, "seeded", lambda seed: np.random.RandomState(seed - 1))
        return planar.nn_model(*exercise(), 4)


def forward(seed, X, shapes):
    drawn = randn(seed, X=X, **shapes)
    return deep.L_model_forward(drawn.pop("X"), drawn)[0]


def activated(activation):
    return deep.linear_activation_forward(
        **randn(2, A_prev=(3, 2), **LAYER), activation=activation
    )[0]


def by_name(gradients):
    return dict(zip(("dA", "dW", "db"), gradients, strict=True))


def linear_backward():
    drawn = randn(1, dZ=(1, 2), A=(3, 2), **LAYER)
    return by_name(deep.linear_backward(drawn.pop("dZ"), tuple(drawn.values())))


def activation_backward(activation):
    drawn = randn(2, dA=(1, 2), A=(3, 2), **LAYER, Z=(1, 2))
    dA, Z = drawn.pop("dA"), drawn.pop("Z")
    return by_name(deep.linear_activation_backward(dA, (tuple(drawn.values()), Z), activation))


def model_backward():
    first = {"A1": (4, 2), "W1": (3, 4), "b1": (3, 1), "Z1": (3, 2)}
    second = {"A2": (3, 2), "W2": (1, 3), "b2": (1, 1), "Z2": (1, 2)}
    drawn = list(randn(3, AL=(1, 2), **first, **second).values())
    caches = [(tuple(drawn[1:4]), drawn[4]), (tuple(drawn[5:8]), drawn[8])]
    return deep.L_model_backward(drawn[0], np.array([[1, 0]]), caches)


def deep_update():
    grads = {f"d{name}": one for name, one in randn(3, **DEEP).items()}
    return deep.update_parameters(randn(2, **DEEP), grads, 0.1)


def cost_of(*labels):
    cost = deep.compute_cost(np.array([[0.8, 0.9, 0.4]]), np.array([labels]))
    assert cost.shape == ()
    return cost


def decayed():
    names = ["Z1", "A1", "W1", "b1", "Z2", "A2", "W2", "b2", "Z3", "A3", "W3", "b3"]
    hidden = {f"cache A{l}": np.maximum(GIVEN[f"cache Z{l}"], 0) for l in (1, 2)}
    cache = tuple({**GIVEN, **hidden}[f"cache {name}"] for name in names)
    X = randn(1, X=(3, 5))["X"]
    return regularization.backward_propagation_with_regularization(X, LABELS, cache, lambd=0.7)


def dropped():
    names = ["Z1", "D1", "A1", "W1", "b1", "Z2", "D2", "A2", "W2", "b2", "Z3", "A3", "W3", "b3"]
    cache = [GIVEN.get(f"dropped {name}", GIVEN.get(f"cache {name}")) for name in names]
    cache[1], cache[6] = cache[1] > 0, cache[6] > 0  # masks are booleans
    X = randn(1, X=(3, 5))["X"]
    return regularization.backward_propagation_with_dropout(X, LABELS, tuple(cache), keep_prob=0.8)


def dropped_output():
    drawn = randn(1, X=(3, 5), **THREE)
    X = drawn.pop("X")
    return regularization.forward_propagation_with_dropout(X, drawn, keep_prob=0.7)[0]


def check(dW2=1, db1=1):
    """Check the assignment's gradients, two of them times a number, under its labels (m,)."""
    drawn = randn(1, X=(4, 3), **CHECKED)
    X, Y = drawn.pop("X"), np.array([1, 1, 0])
    _, cache = gradient_checking.forward_propagation_n(X, Y, drawn)
    gradients = gradient_checking.backward_propagation_n(X, Y, cache)
    gradients |= {"dW2": dW2 * gradients["dW2"], "db1": db1 * gradients["db1"]}
    return gradient_checking.gradient_check_n(drawn, gradients, X, Y)


def loose():
    drawn = randn(1, **LOOSE, **{f"d{name}": shape for name, shape in LOOSE.items()})
    return {name: drawn[name] for name in LOOSE}, {f"d{name}": drawn[f"d{name}"] for name in LOOSE}


def momentum():
    parameters, grads = loose()
    v = optimization.initialize_velocity(parameters)
    updated, v = optimization.update_parameters_with_momentum(
        parameters, grads, v, beta=0.9, learning_rate=0.01
    )
    return updated | {f"v {name}": one for name, one in v.items()}


def adam():
    parameters, grads = loose()
    v, s = optimization.initialize_adam(parameters)
    updated, v, s = optimization.update_parameters_with_adam(parameters, grads, v, s, t=2)
    return updated | {f"v {name}": one for name, one in v.items()} | {"s dW1": s["dW1"]}


def first_batch():
    drawn = randn(1, X=(12288, 148), Y=(1, 148))
    found = optimization.random_mini_batches(drawn["X"], drawn["Y"] < 0.5, 64)
    assert [(X.shape, Y.shape) for X, Y in found] == [((12288, m), (1, m)) for m in (64, 64, 20)]
    return found[0][0][0][:3]


def trained_planar():
    names = ["W1", "b1", "W2", "b2"]
    return given("trained", *names), given("trained", *(f"d{name}" for name in names))


#: calls by the name under which their results stand in `printed.py`.
CALLS = {
    "planar": planar_initialize,
    "planar sigmoid of 3": lambda: planar.sigmoid(3),
    "planar sigmoid": lambda: planar.sigmoid(np.array([0, 2])),
    "planar forward": planar_means,
    "planar cost": lambda: planar.compute_cost(GIVEN["planar A2"], randn(1, Y=(1, 3))["Y"] > 0),
    "planar backward": planar_backward,
    "planar update": lambda: planar.update_parameters(*trained_planar()),
    "planar prediction": lambda: planar.predict(trained_planar()[0], exercise()[0]).mean(),
    "planar training": planar_training,
    "linear": lambda: deep.linear_forward(**randn(1, A=(3, 2), **LAYER))[0],
    "linear and sigmoid": lambda: activated("sigmoid"),
    "linear and relu": lambda: activated("relu"),
    "two layers": lambda: forward(1, (4, 2), DEEP),
    "three layers": lambda: forward(6, (5, 4), DEEPER),
    "cost of ones": lambda: cost_of(1, 1, 1),
    "cost": lambda: cost_of(1, 1, 0),
    "linear backward": linear_backward,
    "sigmoid backward": lambda: activation_backward("sigmoid"),
    "relu backward": lambda: activation_backward("relu"),
    "model backward": model_backward,
    "deep update": deep_update,
    # the step-by-step notebook scales the same draws by 0.01
    "deep initialization": lambda: (
        deep.initialize_parameters_deep([5, 4, 3])["W1"][0] * np.sqrt(5) * 0.01
    ),
    "zeros": lambda: initialization.initialize_parameters_zeros([3, 2, 1]),
    "large": lambda: initialization.initialize_parameters_random([3, 2, 1]),
    "he": lambda: initialization.initialize_parameters_he([2, 4, 1]),
    "cost with L2": lambda: regularization.compute_cost_with_regularization(
        GIVEN["cache A3"], LABELS, randn(1, **THREE), lambd=0.1
    ),
    "L2": decayed,
    "dropout": dropped_output,
    "dropout backward": dropped,
    # the cost comes from an output that is nearly 1: its round-off leaves 1.19e-7
    "check of right gradients": check,
    "check of the assignment's errors": lambda: check(dW2=2, db1=4),
    "mini-batches": first_batch,
    "gd": lambda: optimization.update_parameters_with_gd(*loose(), 0.01),
    "momentum": momentum,
    "adam": adam,
}

#: digits after the point, where they are not eight.
DIGITS = {
    "planar forward": 11,
    "planar cost": 9,
    "planar prediction": 12,
    "cost": 15,
    "cost of ones": 15,
    "cost with L2": 11,
    "check of right gradients": 9,
}


@pytest.mark.parametrize("name", CALLS)
def test_printed(name):
    found = CALLS[name]()
    found = found if type(found) is dict else {"": found}
    printed = {key: {**GIVEN, **PRINTED}.get(f"{name} {key}".strip()) for key in found}
    assert any(one is not None for one in printed.values())
    for key, one in printed.items():
        if one is not None:
            bound = 0.51 * 10.0 ** -DIGITS.get(name, 8)
            np.testing.assert_allclose(np.atleast_2d(found[key]), one, rtol=0, atol=bound)


def test_older_notebooks_print_adam_with_epsilon_inside_the_root():
    """The one weight in which they differ: -1.09245036 inside, -1.09244991 outside."""
    parameters, grads = loose()
    inside, gradients = Parameters(parameters), Parameters(parameters)
    for name in gradients:
        gradients[name] = grads[f"d{name}"]
    optimizer = Adam(learning_rate=0.01, epsilon_inside_root=True)
    state = optimizer.init(inside)
    state.t[()] = 1
    optimizer.update(inside, gradients, state)
    np.testing.assert_allclose(inside["W2"][2, 1], -1.09245036, rtol=0, atol=0.51e-8)


# --- trainings: lines and curves ------------------------------------------------------------------


def flower():
    """Return the assignment's 400 points in petals, (2, 400), and their labels of type uint8."""
    np.random.seed(1)
    X, Y = np.zeros((2, 400)), np.zeros((1, 400), dtype="uint8")
    for j in range(2):
        t = np.linspace(j * 3.12, (j + 1) * 3.12, 200) + np.random.randn(200) * 0.2
        r = 4 * np.sin(4 * t) + np.random.randn(200) * 0.2
        X[:, 200 * j : 200 * (j + 1)] = r * np.sin(t), r * np.cos(t)
        Y[:, 200 * j : 200 * (j + 1)] = j
    return X, Y


def test_nn_model_prints_what_the_notebook_prints(capsys):
    """On its own data; silence unless asked."""
    X, Y = flower()
    planar.nn_model(X, Y, n_h=4, num_iterations=2001, print_cost=True)
    assert capsys.readouterr().out == (
        "Cost after iteration 0: 0.693162\n"
        "Cost after iteration 1000: 0.258625\n"
        "Cost after iteration 2000: 0.239334\n"
    )
    found = planar.nn_model(X, Y, 4, 20)
    assert capsys.readouterr().out == ""
    assert list(found) == ["W1", "b1", "W2", "b2"]


def test_the_accuracy_is_printed_to_the_notebooks_last_digit(capsys):
    """All of its 209 pictures right sum up to a little less than one."""
    parameters = {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))}
    assert deep.predict(np.ones((1, 209)), np.ones((1, 209), int), parameters).all()
    assert capsys.readouterr().out == "Accuracy: 0.9999999999999998\n"


@pytest.mark.parametrize(
    ("name", "epochs", "printed"),
    [
        ("gd", 101, "Cost after epoch 0: 0.690736\n"),
        ("momentum", 101, "Cost after epoch 0: 0.690741\n"),
        ("adam", 1001, "Cost after epoch 0: 0.690552\nCost after epoch 1000: 0.185567\n"),
    ],
)
def test_model_prints_what_the_notebook_prints(name, epochs, printed, monkeypatch, capsys):
    """The assignment's first lines on its own moons; a cost recorded every 100 epochs."""
    datasets, drawn = pytest.importorskip("sklearn.datasets"), []
    monkeypatch.setattr(optimization, "plot_costs", lambda *arguments: drawn.append(arguments))
    np.random.seed(3)
    moons, Y = datasets.make_moons(n_samples=300, noise=0.2)
    X = np.stack([moons[:, 0], moons[:, 1]])
    optimization.model(X, Y[None], [2, 5, 2, 1], optimizer=name, num_epochs=epochs)
    assert capsys.readouterr().out == printed
    ((costs, label, rate),) = drawn
    assert len(costs) == -(-epochs // 100)
    assert {type(cost) for cost in costs} == {float}
    assert f"{costs[0]:f}" in printed
    assert (label, rate) == ("epochs (per 100)", 0.0007)


DATA = np.random.default_rng(0).standard_normal((2, 8)), np.array([[0, 1] * 4])


def test_L_layer_model_prints_and_records_every_hundred(capsys, monkeypatch):  # noqa: N802
    """The notebook's lines, silence unless asked; the recorded costs are what is drawn."""
    drawn = []
    monkeypatch.setattr(deep, "plot_costs", lambda *arguments: drawn.append(arguments))
    deep.L_layer_model(*DATA, [2, 3, 1], num_iterations=201, print_cost=True)
    ((costs, label, rate),) = drawn
    lines = [f"Cost after iteration {100 * i}: {cost:f}" for i, cost in enumerate(costs)]
    assert len(lines) == 3
    assert capsys.readouterr().out.splitlines() == lines
    assert (label, rate) == ("iterations (per hundreds)", 0.0075)
    assert {type(cost) for cost in costs} == {float}
    assert costs == sorted(costs, reverse=True)
    deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=1, isPlot=False)
    assert capsys.readouterr().out == ""
    assert len(drawn) == 1


def drawn_training():
    deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=101)
    return importlib.import_module("matplotlib.pyplot").gca()


def test_the_costs_are_drawn(monkeypatch):
    """Each time on a figure of their own, without a display or a word."""
    pytest.importorskip("matplotlib").use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.close("all")
    drawn_training()  # the real show of a headless backend
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda **given: shown.append(given))
    axes = drawn_training()
    assert shown == [{"block": False}]
    assert [len(line.get_ydata()) for line in axes.lines] == [2]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("cost", "iterations (per hundreds)")
    assert axes.get_title() == "Learning rate = 0.0075"
    assert [len(pyplot.figure(one).gca().lines) for one in pyplot.get_fignums()] == [1, 1]
    empty = pyplot.figure()
    assert drawn_training() in empty.axes  # a figure that was made for it is taken
    pyplot.close("all")


@pytest.mark.parametrize("fault", ["no library", "no display"])
def test_a_plot_that_fails_costs_nothing(fault, monkeypatch):
    """Without matplotlib, or where its backend cannot start, the parameters still come back."""
    broken = types.ModuleType("matplotlib.pyplot")

    def plot(*arguments):
        raise RuntimeError("cannot connect to display")

    broken.gca = broken.plot = plot
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None if fault == "no library" else broken)
    assert set(deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=1)) == {"W1", "b1", "W2", "b2"}
