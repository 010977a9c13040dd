"""Optimization methods: the course's names against torch's optimizers, the assignment's cases."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from parity_tests import STEP, TRAINING, assert_close, measure
from parity_tests.compare.bridge import columns, rows, unload
from parity_tests.compare.budgets import WIDE
from parity_tests.compare.witnesses import cast
from parity_tests.tests.course.references import (
    assert_printed,
    draw_layers,
    global_state_untouched,
    reference,
)
from scratch.course import optimization as ours
from scratch.optimizers import Adam
from scratch.parameters import Parameters
from torch_ref import optimizers as theirs
from torch_ref.mini_batches import mini_batches

SIZES = (3, 5, 4, 1)
SHAPES = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 3), "b2": (3, 1)}


@pytest.mark.parity("random_mini_batches")
@pytest.mark.parametrize(("m", "size"), [(148, 64), (128, 64), (10, 3), (5, 64), (3, 1)])
@pytest.mark.parametrize("seed", [0, 11])
def test_random_mini_batches(m, size, seed, rng):
    """NumPy's permutation of the seed, cut as torch's sampler cuts it; dtypes stay, state too."""
    X, Y = rng.standard_normal((4, m)), rng.random((1, m)) < 0.5
    with global_state_untouched():
        found = ours.random_mini_batches(X, Y, size, seed)
    assert type(found) is list
    assert {type(pair) for pair in found} == {tuple}
    np.random.seed(seed)
    order = np.random.permutation(m)
    expected = list(mini_batches(rows(X), rows(Y.astype(float)), order, size))
    assert len(found) == len(expected) == -(-m // size)
    for (X_batch, Y_batch), (inputs, labels) in zip(found, expected, strict=True):
        assert Y_batch.dtype == bool
        assert_close(X_batch, columns(inputs), "X")
        assert np.array_equal(X_batch, columns(inputs))
        assert np.array_equal(Y_batch, columns(labels))
        assert not np.shares_memory(X_batch, X)


def test_the_defaults_of_random_mini_batches(rng):
    """64 columns and seed 0, by the assignment's names."""
    X, Y = rng.standard_normal((2, 100)), rng.standard_normal((1, 100))
    expected = ours.random_mini_batches(X, Y, mini_batch_size=64, seed=0)
    for pair, other in zip(ours.random_mini_batches(X, Y), expected, strict=True):
        assert np.array_equal(pair[0], other[0])


#: one update from (parameters, grads, memory, t) by our dictionaries, the memory at the start,
#: torch's optimizer, and what of torch's state the memory is.
RULES = {
    "gd": (
        lambda parameters, grads, memory, t: (
            ours.update_parameters_with_gd(parameters, grads, 0.1),
        ),
        lambda parameters: (),
        lambda tensors: theirs.gradient_descent(tensors, learning_rate=0.1),
        theirs.gradient_descent_state,
    ),
    "momentum": (
        lambda parameters, grads, memory, t: ours.update_parameters_with_momentum(
            parameters, grads, *memory, 0.8, 0.1
        ),
        lambda parameters: (ours.initialize_velocity(parameters),),
        lambda tensors: theirs.momentum(tensors, learning_rate=0.1, beta=0.8),
        theirs.momentum_state,
    ),
    "adam": (
        lambda parameters, grads, memory, t: ours.update_parameters_with_adam(
            parameters, grads, *memory, t
        ),
        ours.initialize_adam,
        lambda tensors: theirs.adam(tensors, learning_rate=0.01),
        theirs.adam_state,
    ),
    "adam with its rates": (
        lambda parameters, grads, memory, t: ours.update_parameters_with_adam(
            parameters, grads, *memory, t, 0.1, 0.7, 0.95, 1e-4
        ),
        ours.initialize_adam,
        lambda tensors: theirs.adam(
            tensors, learning_rate=0.1, beta1=0.7, beta2=0.95, epsilon=1e-4
        ),
        theirs.adam_state,
    ),
}
MARKS = {
    "gd": ("update_parameters_with_gd",),
    "momentum": ("update_parameters_with_momentum", "initialize_velocity"),
    "adam": ("update_parameters_with_adam", "initialize_adam"),
}


def draw_gradients(parameters, rng):
    """Draw gradients of about 1, of about 1e-8 where epsilon shows, and 0."""
    scales = (1.0, 1e-8, 0.0)
    return {
        f"d{name}": rng.standard_normal(one.shape) * rng.choice(scales, one.shape)
        for name, one in parameters.items()
    }


@pytest.mark.seeds(5)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.parity(*MARKS.get(name, ()))) for name in RULES],
)
def test_update(name, rng):
    """Parameters and averages agree with torch after each of 50 steps on the same gradients."""
    step, start, make, read = RULES[name]
    parameters = draw_layers(SIZES, rng)
    tensors = [torch.tensor(one, requires_grad=True) for one in parameters.values()]
    optimizer, memory = make(tensors), start(parameters)
    for average in memory:
        assert list(average) == [f"d{key}" for key in parameters]
        assert all(not one.any() for one in average.values())
    for one, other in zip(*memory, strict=True) if len(memory) == 2 else ():
        assert not np.shares_memory(memory[0][one], memory[1][other])
    largest: dict[str, float] = {}
    wide, wide_memory = parameters, memory
    if WIDE:
        wide = cast(parameters, np.longdouble)
        wide_memory = start(wide)
    for t in range(1, 51):
        grads = draw_gradients(parameters, rng)
        for tensor, gradient in zip(tensors, grads.values(), strict=True):
            tensor.grad = torch.from_numpy(gradient)
        optimizer.step()
        parameters, *memory = step(parameters, grads, memory, t)
        state = read(optimizer)
        reached = {"theta": (parameters, torch.cat([one.detach().flatten() for one in tensors]))}
        for key, average in zip("vs" if len(memory) > 1 else "v", memory, strict=False):
            reached[key] = (average, state[key])
        if WIDE:
            wide, *wide_memory = step(wide, cast(grads, np.longdouble), wide_memory, t)
        for (key, (mine, other)), truth in zip(reached.items(), (wide, *wide_memory), strict=False):
            vector = np.concatenate([array.ravel() for array in mine.values()])
            # a value keeps the round-off of the steps in which it was larger
            largest[key] = max(largest.get(key, 0.0), np.abs(other.numpy()).max())
            wider = np.concatenate([one.ravel() for one in truth.values()]) if WIDE else None
            options = {"gauge": largest[key], "wider": wider}
            assert_close(vector, other.numpy(), key, budget=STEP, **options)


@pytest.mark.parity("update_parameters_with_decay")
def test_decay_is_torchs_schedule(rng):
    """The rate alpha / (1 + decay_rate * iteration), from iteration 0 on, as `LambdaLR` has it."""
    parameters = draw_layers(SIZES, rng)
    tensors = {name: torch.tensor(one, requires_grad=True) for name, one in parameters.items()}
    optimizer = torch.optim.SGD(tensors.values(), lr=0.3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda count: 1 / (1 + 0.5 * count))
    largest = dict.fromkeys(parameters, 0.0)
    for iteration in range(20):
        grads = {f"d{name}": rng.standard_normal(one.shape) for name, one in parameters.items()}
        for name, one in parameters.items():  # a value keeps the round-off of what it was made of
            terms = np.abs(one).max(), 0.3 * np.abs(grads[f"d{name}"]).max()
            largest[name] = max(largest[name], *terms)
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(grads[f"d{name}"])
        optimizer.step()
        schedule.step()
        parameters = ours.update_parameters_with_decay(parameters, grads, 0.3, 0.5, iteration)
        for name, array in parameters.items():
            reference, gauge = tensors[name].detach().numpy(), largest[name]
            assert_close(array, reference, name, budget=STEP, gauge=gauge)


OPTIMIZERS = {
    "gd": ({}, lambda tensors: theirs.gradient_descent(tensors, learning_rate=0.0007)),
    "momentum": ({}, lambda tensors: theirs.momentum(tensors, learning_rate=0.0007)),
    "adam": ({}, lambda tensors: theirs.adam(tensors, learning_rate=0.0007)),
    "momentum with its rates": (
        {"learning_rate": 0.1, "beta": 0.7},
        lambda tensors: theirs.momentum(tensors, learning_rate=0.1, beta=0.7),
    ),
    "adam with its rates": (
        {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
        lambda tensors: theirs.adam(
            tensors, learning_rate=0.01, beta1=0.8, beta2=0.95, epsilon=1e-3
        ),
    ),
}


@pytest.fixture
def no_plot(monkeypatch):
    """Return what would have been drawn."""
    drawn = []
    monkeypatch.setattr(ours, "plot_costs", lambda *arguments: drawn.append(arguments))
    return drawn


@pytest.mark.parity("model")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_model_is_torchs_training(name, no_plot, capsys, rng):
    """From the weights of seed 3, with the batches of seeds 11, 12, ..., 60 epochs end alike."""
    X = rng.standard_normal((3, 50))
    Y = (X[:1] * X[1:2] > 0).astype(int)
    given, make = OPTIMIZERS[name]
    with global_state_untouched():
        found = ours.model(
            X,
            Y,
            SIZES,
            name.split()[0],
            mini_batch_size=16,
            num_epochs=60,
            print_cost=False,
            **given,
        )
    np.random.seed(3)
    drawn = {}
    for l in range(1, 4):
        drawn[f"W{l}"] = np.random.randn(SIZES[l], SIZES[l - 1]) * np.sqrt(2 / SIZES[l - 1])
        drawn[f"b{l}"] = np.zeros((SIZES[l], 1))
    module = reference(drawn, "relu")
    optimizer, loss = make(module.parameters()), torch.nn.BCEWithLogitsLoss()
    for epoch in range(60):
        np.random.seed(11 + epoch)
        order = np.random.permutation(50)
        for inputs, labels in mini_batches(rows(X), rows(Y.astype(float)), order, 16):
            optimizer.zero_grad()
            loss(module.logits(inputs), labels).backward()
            optimizer.step()
    assert measure(found["W1"], drawn["W1"]).error > 1e12
    for key, array in unload(module).items():
        assert_close(found[key], array, key, budget=TRAINING)
    assert capsys.readouterr().out == ""


def moons():
    """Return the assignment's moons, (2, 300), and their labels (1, 300), from seed 3."""
    datasets = pytest.importorskip("sklearn.datasets")
    np.random.seed(3)
    X, Y = datasets.make_moons(n_samples=300, noise=0.2)
    return columns(torch.from_numpy(X)), Y.reshape(1, -1)


@pytest.mark.parametrize(
    ("name", "epochs", "printed"),
    [
        ("gd", 101, "Cost after epoch 0: 0.690736\n"),
        ("momentum", 101, "Cost after epoch 0: 0.690741\n"),
        ("adam", 1001, "Cost after epoch 0: 0.690552\nCost after epoch 1000: 0.185567\n"),
    ],
)
def test_model_prints_what_the_notebook_prints(name, epochs, printed, no_plot, capsys):
    """The assignment's first lines on its own moons; a cost recorded every 100 epochs."""
    X, Y = moons()
    ours.model(X, Y, [X.shape[0], 5, 2, 1], optimizer=name, num_epochs=epochs)
    assert capsys.readouterr().out == printed
    ((costs, label, rate),) = no_plot
    assert len(costs) == -(-epochs // 100)
    assert f"{costs[0]:f}" in printed
    assert (label, rate) == ("epochs (per 100)", 0.0007)


def test_model_draws_without_a_display(rng):
    """The real plot, on matplotlib's current figure, under a headless backend."""
    pytest.importorskip("matplotlib").use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.close("all")
    X = rng.standard_normal((2, 8))
    ours.model(X, X[:1] > 0, [2, 3, 1], "gd", num_epochs=101, print_cost=False)
    assert len(pyplot.gca().lines[0].get_ydata()) == 2
    pyplot.close("all")


def exercise():
    """Return the assignment's parameters and gradients, whose layers do not fit together."""
    np.random.seed(1)
    parameters = {name: np.random.randn(*shape) for name, shape in SHAPES.items()}
    return parameters, {f"d{name}": np.random.randn(*shape) for name, shape in SHAPES.items()}


def test_the_notebooks_mini_batches():
    """The shapes and the three numbers that the assignment prints."""
    np.random.seed(1)
    X, Y = np.random.randn(12288, 148), np.random.randn(1, 148) < 0.5
    found = ours.random_mini_batches(X, Y, 64)
    assert [X.shape for X, _ in found] == [(12288, 64), (12288, 64), (12288, 20)]
    assert [Y.shape for _, Y in found] == [(1, 64), (1, 64), (1, 20)]
    assert_printed(found[0][0][0][:3], [0.90085595, -0.7612069, 0.2344157])


PRINTED = {
    "gd": {
        "W1": [[1.63535156, -0.62320365, -0.53718766], [-1.07799357, 0.85639907, -2.29470142]],
        "b1": [[1.74604067], [-0.75184921]],
        "W2": [
            [0.32171798, -0.25467393, 1.46902454],
            [-2.05617317, -0.31554548, -0.3756023],
            [1.1404819, -1.09976462, -0.1612551],
        ],
        "b2": [[-0.88020257], [0.02561572], [0.57539477]],
    },
    "momentum": {
        "W1": [[1.62544598, -0.61290114, -0.52907334], [-1.07347112, 0.86450677, -2.30085497]],
        "b1": [[1.74493465], [-0.76027113]],
        "W2": [
            [0.31930698, -0.24990073, 1.4627996],
            [-2.05974396, -0.32173003, -0.38320915],
            [1.13444069, -1.0998786, -0.1713109],
        ],
        "b2": [[-0.87809283], [0.04055394], [0.58207317]],
    },
    "adam": {
        "W1": [[1.63178673, -0.61919778, -0.53561312], [-1.08040999, 0.85796626, -2.29409733]],
        "b1": [[1.75225313], [-0.75376553]],
        "W2": [
            [0.32648046, -0.25681174, 1.46954931],
            [-2.05269934, -0.31497584, -0.37661299],
            [1.14121081, -1.09244991, -0.16498684],
        ],
        "b2": [[-0.88529979], [0.03477238], [0.57537385]],
    },
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_notebooks_updates(name):
    """The parameters and averages that the assignment prints, Adam's from t = 2."""
    parameters, grads = exercise()
    v, s = ours.initialize_adam(parameters)
    if name == "gd":
        updated = ours.update_parameters_with_gd(parameters, grads, 0.01)
    elif name == "momentum":
        updated, v = ours.update_parameters_with_momentum(
            parameters, grads, v, beta=0.9, learning_rate=0.01
        )
    else:
        updated, v, s = ours.update_parameters_with_adam(parameters, grads, v, s, t=2)
        printed = [[0.00121136, 0.00131039, 0.00081287], [0.0002525, 0.00081154, 0.00046748]]
        assert_printed(s["dW1"], printed)
    if name != "gd":
        printed = [[-0.11006192, 0.11447237, 0.09015907], [0.05024943, 0.09008559, -0.06837279]]
        assert_printed(v["dW1"], printed)
        assert_printed(v["db1"], [[-0.01228902], [-0.09357694]])
    for key, values in PRINTED[name].items():
        assert_printed(updated[key], values)


def test_older_notebooks_print_adam_with_epsilon_inside_the_root():
    """The one weight in which they differ: -1.09245036 inside, -1.09244991 outside."""
    parameters, grads = exercise()
    inside, gradients = Parameters(parameters), Parameters(parameters)
    for name in gradients:
        gradients[name] = grads[f"d{name}"]
    optimizer = Adam(learning_rate=0.01, epsilon_inside_root=True)
    state = optimizer.init(inside)
    state.t[()] = 1
    optimizer.update(inside, gradients, state)
    assert_printed(inside["W2"][2, 1], -1.09245036)
    v, s = ours.initialize_adam(parameters)
    updated, _, _ = ours.update_parameters_with_adam(parameters, grads, v, s, 2)
    assert abs(updated["W2"][2, 1] - inside["W2"][2, 1]) > 4e-7


def test_any_beta_will_do():
    """Beyond 1 the velocity is the formula's too, beta v + (1 - beta) g."""
    parameters, grads = exercise()
    v = {name: np.ones_like(one) for name, one in grads.items()}
    _, v = ours.update_parameters_with_momentum(parameters, grads, v, 1.5, 0.1)
    for name, one in grads.items():
        assert_close(v[name], 1.5 - 0.5 * one, name, gauge=1.5 + 0.5 * np.abs(one))


@pytest.mark.parametrize("learning_rate", [0, -0.1, 1])
def test_any_rate_will_do(learning_rate):
    """Values are not checked at this door: a rate of zero stands still, a negative one climbs."""
    parameters, grads = exercise()
    for updated in (
        ours.update_parameters_with_gd(parameters, grads, learning_rate),
        ours.update_parameters_with_decay(parameters, grads, learning_rate, -0.5, 0),
        ours.update_parameters_with_momentum(
            parameters, grads, ours.initialize_velocity(parameters), 0, learning_rate
        )[0],
    ):
        expected = parameters["W1"] - learning_rate * grads["dW1"]
        np.testing.assert_allclose(updated["W1"], expected, rtol=1e-15)
