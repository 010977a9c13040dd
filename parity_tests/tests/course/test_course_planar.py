"""Planar data classification: the course's names against torch and the assignment's own cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import GRADIENT, TRAINING, assert_close
from parity_tests.compare.bridge import columns, rows, unload
from parity_tests.compare.witnesses import widened
from parity_tests.tests.course.references import (
    assert_printed,
    draw_labels,
    draw_layers,
    global_state_untouched,
    gradient_gauges,
    reference,
    reference_gradients,
)
from scratch.course import planar as ours
from torch_ref.optimizers import gradient_descent

#: the weights that the assignment draws with seed 2, as it prints them.
W1 = np.array(
    [
        [-0.00416758, -0.00056267],
        [-0.02136196, 0.01640271],
        [-0.01793436, -0.00841747],
        [0.00502881, -0.01245288],
    ]
)
W2 = np.array([[-0.01057952, -0.00909008, 0.00551454, 0.02292208]])
A2 = np.array([[0.5002307, 0.49985831, 0.50023963]])


def exercise():
    """Return X and the boolean Y of the assignment's test cases."""
    np.random.seed(1)
    return np.random.randn(2, 3), np.random.randn(1, 3) > 0


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


@pytest.mark.parity("sigmoid")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4)])
def test_sigmoid(shape, dtype, rng):
    """Numbers and arrays of any shape agree with torch."""
    x = np.asarray(3 * rng.standard_normal(shape)).astype(dtype)
    assert_close(ours.sigmoid(x), torch.sigmoid(torch.from_numpy(x)).numpy()[()], "sigmoid")


def test_sigmoid_takes_plain_numbers_and_integers():
    """The exercise's sigmoid(3) and sigmoid([0, 2]); no overflow far out."""
    assert_printed(ours.sigmoid(3), 0.95257413)
    assert_printed(ours.sigmoid(np.array([0, 2])), [0.5, 0.88079708])
    assert ours.sigmoid(np.array([-1000, 1000])).tolist() == [0, 1]


@pytest.mark.parity("layer_sizes")
def test_layer_sizes(rng):
    """Input and output width are torch's features, four units lie in between."""
    X, Y = rng.standard_normal((5, 3)), rng.standard_normal((2, 3))
    sizes = ours.layer_sizes(X, Y)
    assert sizes == (5, 4, 2)
    features = rows(X).shape[1], 4, rows(Y).shape[1]
    assert_close(np.array(sizes, float), np.array(features, float), "sizes")


@pytest.mark.parity("initialize_parameters")
def test_initialize_parameters_draws_from_the_global_generator():
    """0.01 randn of NumPy's own seed, W1 before W2, bit by bit; biases zero."""
    np.random.seed(2)
    parameters = ours.initialize_parameters(2, 4, 1)
    after = np.random.rand()
    assert_printed(parameters["W1"], W1)
    assert_printed(parameters["W2"], W2)
    np.random.seed(2)
    for name, shape in (("W1", (4, 2)), ("W2", (1, 4))):
        expected = np.random.randn(*shape) * 0.01
        assert_close(parameters[name], expected, name)
        assert np.array_equal(parameters[name], expected)
    assert np.random.rand() == after
    assert list(parameters) == ["W1", "b1", "W2", "b2"]
    assert np.array_equal(parameters["b1"], np.zeros((4, 1)))
    assert np.array_equal(parameters["b2"], np.zeros((1, 1)))


def there_and_back(X, Y, parameters):
    """Return the cache and the gradients of a network."""
    _, cache = ours.forward_propagation(X, parameters)
    return cache, ours.backward_propagation(parameters, cache, X, Y)


@pytest.mark.parity("forward_propagation", "compute_cost", "backward_propagation", "predict")
@pytest.mark.seeds(50)
def test_network(rng):
    """Outputs, caches, cost, gradients and predictions are those of torch's tanh network."""
    X, Y = rng.standard_normal((3, 8)), draw_labels(8, rng)
    parameters = draw_layers((3, 5, 1), rng)
    module = reference(parameters, "tanh")
    output, cache = ours.forward_propagation(X, parameters)
    truth, slopes = widened(there_and_back, X, Y, parameters) or ({}, {})
    assert list(cache) == ["Z1", "A1", "Z2", "A2"]
    signal = rows(X)
    for layer, name in zip((*module.logits, module.activation), cache, strict=True):
        signal = layer(signal)
        wider = truth.get(name)
        assert_close(cache[name], columns(signal), name, budget=GRADIENT, wider=wider)
    assert_close(output, columns(signal), "A2", budget=GRADIENT, wider=truth.get("A2"))
    cost = ours.compute_cost(output, Y)
    assert type(cost) is float
    expected = reference_gradients(module, X, Y)
    gauges = gradient_gauges(parameters, "tanh", X, Y)
    assert_close(np.float64(cost), expected["J"], "J", gauge=gauges["J"])
    grads = ours.backward_propagation(parameters, cache, X, Y)
    assert list(grads) == ["dW1", "db1", "dW2", "db2"]
    for name, gradient in grads.items():
        options = {"gauge": gauges[name], "wider": slopes.get(name)}
        assert_close(gradient, expected[name], name, budget=GRADIENT, **options)
    predictions = ours.predict(parameters, X)
    assert predictions.dtype == bool
    assert np.array_equal(predictions, columns(signal > 0.5))


def test_the_cost_of_other_labels_is_the_formulas():
    """The assignments refuse no label: beside 0 and 1 every number counts as the formula says."""
    A, Y = np.array([[0.3, 0.6]]), np.array([[-1.0, 2.0]])
    terms = np.concatenate([Y * np.log(A), (1 - Y) * np.log(1 - A)])
    cost = np.float64(ours.compute_cost(A, Y))
    assert_close(cost, -terms.sum() / 2, "J", gauge=np.abs(terms).sum())


@pytest.mark.parity("update_parameters")
def test_update(rng):
    """One step at 1.2, or at the given rate, is torch's; the arguments stay as they were."""
    parameters = draw_layers((3, 5, 1), rng)
    grads = {f"d{name}": rng.standard_normal(one.shape) for name, one in parameters.items()}
    for rate in (1.2, 0.3):
        tensors = {name: torch.tensor(one, requires_grad=True) for name, one in parameters.items()}
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(grads[f"d{name}"])
        gradient_descent(list(tensors.values()), learning_rate=rate).step()
        given = () if rate == 1.2 else (rate,)
        for name, updated in ours.update_parameters(parameters, grads, *given).items():
            gauge = np.abs(parameters[name]) + rate * np.abs(grads[f"d{name}"])
            assert_close(updated, tensors[name].detach().numpy(), name, gauge=gauge)


@pytest.mark.parity("nn_model")
def test_nn_model_is_torchs_descent():
    """From the numbers of seed 3, 300 steps of SGD end at the same parameters."""
    X, Y = flower()
    with global_state_untouched():
        found = ours.nn_model(X, Y, 4, num_iterations=300)
    np.random.seed(3)
    module = reference(ours.initialize_parameters(2, 4, 1), "tanh")
    optimizer = gradient_descent(module.parameters(), learning_rate=1.2)
    loss = torch.nn.BCEWithLogitsLoss()
    for _ in range(300):
        optimizer.zero_grad()
        loss(module.logits(rows(X)), rows(Y.astype(float))).backward()
        optimizer.step()
    for name, array in unload(module).items():
        assert_close(found[name], array, name, budget=TRAINING)


def test_nn_model_prints_what_the_notebook_prints(capsys):
    """The assignment's run on its own data, and silence unless asked."""
    X, Y = flower()
    parameters = ours.nn_model(X, Y, n_h=4, num_iterations=2001, print_cost=True)
    assert capsys.readouterr().out == (
        "Cost after iteration 0: 0.693162\n"
        "Cost after iteration 1000: 0.258625\n"
        "Cost after iteration 2000: 0.239334\n"
    )
    assert list(parameters) == ["W1", "b1", "W2", "b2"]
    ours.nn_model(X, Y, 4, 1)
    assert capsys.readouterr().out == ""


def test_the_notebooks_forward_and_cost():
    """The means and the cost that the assignment prints."""
    X, _ = exercise()
    np.random.seed(1)
    np.random.randn(2, 3)
    b1 = np.random.randn(4, 1)
    parameters = {"W1": W1, "b1": b1, "W2": W2, "b2": np.array([[-1.3]])}
    _, cache = ours.forward_propagation(X, parameters)
    means = [cache[name].mean() for name in ("Z1", "A1", "Z2", "A2")]
    assert_printed(means, [0.262818640198, 0.091999045227, -1.30766601287, 0.212877681719], 11)
    np.random.seed(1)
    assert_printed(ours.compute_cost(A2, np.random.randn(1, 3) > 0), 0.693058761, 9)


def test_the_notebooks_backward():
    """The gradients that the assignment prints, from its cache and boolean labels."""
    X, Y = exercise()
    A1 = [
        [-0.00616578, 0.0020626, 0.00349619],
        [-0.05225116, 0.02725659, -0.02646251],
        [-0.02009721, 0.0036869, 0.02883756],
        [0.02152675, -0.01385234, 0.02599885],
    ]
    parameters = {"W1": W1, "b1": np.zeros((4, 1)), "W2": W2, "b2": np.zeros((1, 1))}
    grads = ours.backward_propagation(parameters, {"A1": np.array(A1), "A2": A2}, X, Y)
    printed = {
        "dW1": [
            [0.00301023, -0.00747267],
            [0.00257968, -0.00641288],
            [-0.00156892, 0.003893],
            [-0.00652037, 0.01618243],
        ],
        "db1": [[0.00176201], [0.00150995], [-0.00091736], [-0.00381422]],
        "dW2": [[0.00078841, 0.01765429, -0.00084166, -0.01022527]],
        "db2": [[-0.16655712]],
    }
    for name, values in printed.items():
        assert_printed(grads[name], values)


def test_the_notebooks_update_and_predictions():
    """The updated parameters and the mean prediction that the assignment prints."""
    parameters = {
        "W1": np.array(
            [
                [-0.00615039, 0.0169021],
                [-0.02311792, 0.03137121],
                [-0.0169217, -0.01752545],
                [0.00935436, -0.05018221],
            ]
        ),
        "W2": np.array([[-0.0104319, -0.04019007, 0.01607211, 0.04440255]]),
        "b1": np.array([[-8.97523455e-07], [8.15562092e-06], [6.04810633e-07], [-2.54560700e-06]]),
        "b2": np.array([[9.14954378e-05]]),
    }
    grads = {
        "dW1": np.array(
            [
                [0.00023322, -0.00205423],
                [0.00082222, -0.00700776],
                [-0.00031831, 0.0028636],
                [-0.00092857, 0.00809933],
            ]
        ),
        "dW2": np.array([[-1.75740039e-05, 3.70231337e-03, -1.25683095e-03, -2.55715317e-03]]),
        "db1": np.array([[1.05570087e-07], [-3.81814487e-06], [-1.90155145e-07], [5.46467802e-07]]),
        "db2": np.array([[-1.08923140e-05]]),
    }
    updated = ours.update_parameters(parameters, grads)
    printed = [
        [-0.00643025, 0.01936718],
        [-0.02410458, 0.03978052],
        [-0.01653973, -0.02096177],
        [0.01046864, -0.05990141],
    ]
    assert_printed(updated["W1"], printed)
    assert_printed(updated["W2"], [[-0.01041081, -0.04463285, 0.01758031, 0.04747113]])
    assert_printed(updated["b2"], [[0.00010457]])
    X, _ = exercise()
    assert_printed(ours.predict(parameters, X).mean(), 0.666666666667, 12)


def test_the_notebooks_training(monkeypatch):
    """The 10000 iterations from seed 2, as older notebooks draw, end where the assignment ends."""
    X, Y = exercise()
    monkeypatch.setattr(ours, "seeded", lambda seed: np.random.RandomState(seed - 1))
    parameters = ours.nn_model(X, Y, 4)
    printed = {
        "W1": [
            [-0.65848169, 1.21866811],
            [-0.76204273, 1.39377573],
            [0.5792005, -1.10397703],
            [0.76773391, -1.41477129],
        ],
        "b1": [[0.287592], [0.3511264], [-0.2431246], [-0.35772805]],
        "W2": [[-2.45566237, -3.27042274, 2.00784958, 3.36773273]],
        "b2": [[0.20459656]],
    }
    for name, values in printed.items():
        assert_printed(parameters[name], values)


def test_the_notebooks_loop_by_hand():
    """The loop that the assignment asks for, written with these functions, is `nn_model`."""
    X, Y = exercise()
    np.random.seed(3)
    parameters = ours.initialize_parameters(2, 4, 1)
    for _ in range(50):
        _, cache = ours.forward_propagation(X, parameters)
        grads = ours.backward_propagation(parameters, cache, X, Y)
        parameters = ours.update_parameters(parameters, grads)
    for name, found in ours.nn_model(X, Y, 4, 50).items():
        assert np.array_equal(found, parameters[name])
