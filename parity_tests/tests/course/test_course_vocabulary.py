"""The course's vocabulary as a notebook meets it: signatures, kinds of arguments, many outputs."""

from __future__ import annotations

import importlib
import inspect
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch.nn import functional

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import columns, rows
from parity_tests.tests.course.references import draw_layers, gradient_gauges, reference
from scratch._door import Seen, unchecked
from scratch.course import (
    deep,
    gradient_checking,
    initialization,
    optimization,
    planar,
    regularization,
)
from scratch.course._kinds import FlatCache
from scratch.course._layers import flatten, network_forward

#: names, order and defaults of the notebooks; the seed alone is the house's, and keyword-only.
SIGNATURES = {
    "planar": {
        "backward_propagation": "(parameters, cache, X, Y)",
        "compute_cost": "(A2, Y)",
        "forward_propagation": "(X, parameters)",
        "initialize_parameters": "(n_x, n_h, n_y)",
        "layer_sizes": "(X, Y)",
        "nn_model": "(X, Y, n_h, num_iterations=10000, print_cost=False)",
        "predict": "(parameters, X)",
        "sigmoid": "(x)",
        "update_parameters": "(parameters, grads, learning_rate=1.2)",
    },
    "deep": {
        "L_layer_model": "(X, Y, layers_dims, learning_rate=0.0075, num_iterations=3000, "
        "print_cost=False, isPlot=True, *, seed=3)",
        "L_model_backward": "(AL, Y, caches)",
        "L_model_forward": "(X, parameters)",
        "compute_cost": "(AL, Y)",
        "initialize_parameters_deep": "(layers_dims)",
        "linear_activation_backward": "(dA, cache, activation='relu')",
        "linear_activation_forward": "(A_prev, W, b, activation)",
        "linear_backward": "(dZ, cache)",
        "linear_forward": "(A, W, b)",
        "predict": "(X, y, parameters)",
        "relu": "(Z)",
        "relu_backward": "(dA, cache)",
        "sigmoid": "(Z)",
        "sigmoid_backward": "(dA, cache)",
        "update_parameters": "(parameters, grads, learning_rate)",
    },
    "initialization": {
        "initialize_parameters_he": "(layer_dims)",
        "initialize_parameters_random": "(layers_dims)",
        "initialize_parameters_zeros": "(layers_dims)",
    },
    "regularization": {
        "backward_propagation": "(X, Y, cache)",
        "backward_propagation_with_dropout": "(X, Y, cache, keep_prob)",
        "backward_propagation_with_regularization": "(X, Y, cache, lambd)",
        "compute_cost_with_regularization": "(A3, Y, parameters, lambd)",
        "forward_propagation": "(X, parameters)",
        "forward_propagation_with_dropout": "(X, parameters, keep_prob=0.5)",
    },
    "gradient_checking": {
        "backward_propagation_1d": "(x, theta)",
        "backward_propagation_n": "(X, Y, cache)",
        "dictionary_to_vector": "(parameters)",
        "forward_propagation_1d": "(x, theta)",
        "forward_propagation_n": "(X, Y, parameters)",
        "gradient_check": "(parameters, gradients, X, Y, epsilon=1e-07)",
        "gradient_check_1d": "(x, theta, epsilon=1e-07)",
        "gradient_check_n": "(parameters, gradients, X, Y, epsilon=1e-07)",
        "gradients_to_vector": "(gradients)",
        "vector_to_dictionary": "(theta, like=None)",
    },
    "optimization": {
        "initialize_adam": "(parameters)",
        "initialize_velocity": "(parameters)",
        "model": "(X, Y, layers_dims, optimizer, learning_rate=0.0007, mini_batch_size=64, "
        "beta=0.9, beta1=0.9, beta2=0.999, epsilon=1e-08, num_epochs=10000, print_cost=True)",
        "random_mini_batches": "(X, Y, mini_batch_size=64, seed=0)",
        "update_parameters_with_adam": "(parameters, grads, v, s, t, learning_rate=0.01, "
        "beta1=0.9, beta2=0.999, epsilon=1e-08)",
        "update_parameters_with_decay": "(parameters, grads, learning_rate, decay_rate, iteration)",
        "update_parameters_with_gd": "(parameters, grads, learning_rate)",
        "update_parameters_with_momentum": "(parameters, grads, v, beta, learning_rate)",
    },
}

SIZES = (4, 5, 3, 2)
TEN = (3, *[2] * 10, 1)


@pytest.mark.parametrize("stem", SIGNATURES)
def test_signatures_are_the_notebooks(stem):
    """Every name of every module, letter by letter, and no other; behind the door the same."""
    module = importlib.import_module(f"scratch.course.{stem}")
    assert set(module.__all__) == set(SIGNATURES[stem])
    for name, expected in SIGNATURES[stem].items():
        signature = inspect.signature(getattr(module, name))
        plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
        assert str(inspect.Signature(plain)) == expected, name


def draw(sizes, rng, m=7, dtype=np.float64):
    """Draw inputs, integer labels and parameters of a network of any outputs."""
    X = rng.standard_normal((sizes[0], m)).astype(dtype)
    return X, rng.integers(0, 2, (sizes[-1], m)), draw_layers(sizes, rng, dtype)


def torch_cost_and_gradients(parameters, hidden, X, Y, l2=0.0):
    """Return torch's cost, sum over examples and outputs by m, and its gradients by name."""
    module, m = reference(parameters, hidden), X.shape[1]
    output = module(rows(X))
    cost = functional.binary_cross_entropy(output, rows(Y.astype(float)), reduction="sum") / m
    cost = cost + l2 / (2 * m) * sum(one.weight.square().sum() for one in linears(module))
    tensors = [tensor for one in linears(module) for tensor in (one.weight, one.bias)]
    gradients = torch.autograd.grad(cost, tensors)
    arrays = [one.numpy() if one.ndim == 2 else one.numpy()[:, None] for one in gradients]
    return cost.item(), dict(zip((f"d{name}" for name in parameters), arrays, strict=True))


def linears(module):
    """Return the linear layers of a network, first to last."""
    return [one for one in module.modules() if isinstance(one, torch.nn.Linear)]


def assert_gradients(found, expected, parameters, hidden, X, Y, l2=0.0):
    """Hold dW and db of each layer against torch's."""
    gauges = gradient_gauges(parameters, hidden, X, Y, l2=l2)
    for name, gradient in expected.items():
        assert_close(found[name], gradient, name, budget=GRADIENT, gauge=gauges[name])


@pytest.mark.seeds(5)
def test_two_outputs_share_one_m(rng):
    """1/m counts examples, not entries of Y: cost and gradients of all modules, against torch."""
    X, Y, parameters = draw(SIZES, rng)
    cost, expected = torch_cost_and_gradients(parameters, "relu", X, Y)
    check = (expected, parameters, "relu", X, Y)
    A3, cache = regularization.forward_propagation(X, parameters)
    size = gradient_gauges(parameters, "relu", X, Y)["J"]
    assert_close(deep.compute_cost(A3, Y), np.float64(cost), "J", gauge=size)
    assert_gradients(regularization.backward_propagation(X, Y, cache), *check)
    assert_gradients(gradient_checking.backward_propagation_n(X, Y, cache), *check)
    AL, caches = deep.L_model_forward(X, parameters)
    assert_gradients(deep.L_model_backward(AL, Y, caches), *check)
    J, _ = gradient_checking.forward_propagation_n(X, Y, parameters)
    assert_close(J, np.float64(cost), "J", gauge=size)
    J = regularization.compute_cost_with_regularization(A3, Y, parameters, 0.7)
    cost, expected = torch_cost_and_gradients(parameters, "relu", X, Y, l2=0.7)
    assert_close(J, np.float64(cost), "J with L2", gauge=size + J)
    found = regularization.backward_propagation_with_regularization(X, Y, cache, 0.7)
    assert_gradients(found, expected, parameters, "relu", X, Y, l2=0.7)
    _, dropped = regularization.forward_propagation_with_dropout(X, parameters, keep_prob=1)
    found = regularization.backward_propagation_with_dropout(X, Y, dropped, keep_prob=1)
    assert_gradients(found, *check)


@pytest.mark.seeds(5)
def test_two_outputs_of_the_planar_network(rng):
    """The same of tanh and sigmoid, and of the predictions."""
    X, Y, parameters = draw((3, 4, 2), rng)
    cost, expected = torch_cost_and_gradients(parameters, "tanh", X, Y)
    A2, cache = planar.forward_propagation(X, parameters)
    size = gradient_gauges(parameters, "tanh", X, Y)["J"]
    assert_close(np.float64(planar.compute_cost(A2, Y)), np.float64(cost), "J", gauge=size)
    found = planar.backward_propagation(parameters, cache, X, Y)
    assert_gradients(found, expected, parameters, "tanh", X, Y)
    output = columns(reference(parameters, "tanh")(rows(X)))
    assert np.array_equal(planar.predict(parameters, X), output > 0.5)


def test_eleven_layers(rng):
    """Names of two digits: every module's dictionaries, vectors, updates and gradients."""
    X, Y, parameters = draw(TEN, rng)
    parameters |= {f"W{l}": np.abs(parameters[f"W{l}"]) / 2 for l in range(1, 11)}  # all alive
    assert list(parameters)[-1] == "b11"
    _, expected = torch_cost_and_gradients(parameters, "relu", X, Y)
    AL, caches = deep.L_model_forward(X, parameters)
    grads = deep.L_model_backward(AL, Y, caches)
    cost, cache = gradient_checking.forward_propagation_n(X, Y, parameters)
    for found in (grads, gradient_checking.backward_propagation_n(X, Y, cache)):
        assert_gradients(found, expected, parameters, "relu", X, Y)
    assert_close(cost, deep.compute_cost(AL, Y), "J")
    updated = deep.update_parameters(parameters, grads, 0.1)
    assert list(updated) == list(parameters)
    assert_close(updated["W11"], parameters["W11"] - 0.1 * grads["dW11"], "W11")
    theta, keys = gradient_checking.dictionary_to_vector(parameters)
    assert keys[-1] == "b11"
    back = gradient_checking.vector_to_dictionary(theta, parameters)
    assert all(np.array_equal(back[name], one) for name, one in parameters.items())
    column = gradient_checking.gradients_to_vector(grads)
    ordered = [grads[f"d{name}"].ravel() for name in parameters]
    assert np.array_equal(column[:, 0], np.concatenate(ordered))
    assert gradient_checking.gradient_check(parameters, grads, X, Y) < 1e-6
    v, s = optimization.initialize_adam(parameters)
    assert list(v) == list(s) == [f"d{name}" for name in parameters]
    with pytest.raises(ValueError, match="expected gradients with the keys"):
        gradient_checking.gradients_to_vector(
            {name: one for name, one in grads.items() if name != "db10"}
        )
    shallow = {name: one for name, one in parameters.items() if name[1:] in ("1", "2")}
    given = {f"d{name}": one for name, one in shallow.items()} | {"dW11": grads["dW11"]}
    with pytest.raises(ValueError, match="expected grads with the keys dW1, db1, dW2, db2, got"):
        deep.update_parameters(shallow, given, 0.1)
    drawn = initialization.initialize_parameters_he(list(TEN))
    assert {name: one.shape for name, one in drawn.items()} == {
        name: one.shape for name, one in parameters.items()
    }


def test_three_hundred_layers():
    """Hidden layers that pass a positive X on are not there: the numbers are those of one layer."""
    depth, X, Y = 300, np.array([[0.5, 1.0, 2.0]]), np.array([[0, 1, 1]])
    parameters = {}
    for l in range(1, depth + 1):
        parameters |= {f"W{l}": np.ones((1, 1)), f"b{l}": np.zeros((1, 1))}
    single = {name: parameters[name] for name in ("W1", "b1")}
    AL, caches = deep.L_model_forward(X, parameters)
    expected, first = deep.L_model_forward(X, single)
    assert np.array_equal(AL, expected)
    slopes = deep.L_model_backward(expected, Y, first)
    grads = deep.L_model_backward(AL, Y, caches)
    cost, cache = gradient_checking.forward_propagation_n(X, Y, parameters)
    assert cost == deep.compute_cost(expected, Y)
    other = gradient_checking.backward_propagation_n(X, Y, cache)
    for l in range(1, depth + 1):
        assert np.array_equal(grads[f"dW{l}"], slopes["dW1"])
        assert np.array_equal(grads[f"db{l}"], slopes["db1"])
    every = np.hstack([other[f"dW{l}"] for l in range(1, depth + 1)])
    assert_close(every, np.repeat(slopes["dW1"], depth, axis=1), "dW")
    theta, _ = gradient_checking.dictionary_to_vector(parameters)
    back = gradient_checking.vector_to_dictionary(theta, parameters)
    assert all(np.array_equal(back[name], one) for name, one in parameters.items())
    A, layers = network_forward(X, parameters, np.ones)  # masks that keep every unit
    assert np.array_equal(A, expected)
    assert [layer.D is None for layer in layers] == [False] * (depth - 1) + [True]
    FlatCache(depth, dropout=True).admit("cache", flatten(layers), Seen())


def test_what_is_missing_is_named(rng):
    """Without b3 there are three layers, and the message says which names are expected."""
    X, _, parameters = draw(SIZES, rng)
    del parameters["b3"]
    with pytest.raises(ValueError, match="with the keys W1, b1, W2, b2, W3, b3, got W1, b1, W2"):
        deep.L_model_forward(X, parameters)


def test_the_cache_is_believed(rng):
    """A backward pass takes A and Z from the cache, where they disagree with the parameters."""
    X, Y, parameters = draw((3, 4, 1), rng)
    A1, A2 = np.tanh(rng.standard_normal((4, 7))), 1 / (1 + np.exp(rng.standard_normal((1, 7))))
    given = {"Z1": np.zeros((4, 7), int), "A1": A1, "Z2": None, "A2": A2}
    grads = planar.backward_propagation(parameters, given, X, Y)
    dZ2 = A2 - Y
    dZ1 = np.einsum("ij,im->jm", parameters["W2"], dZ2) * (1 - A1**2)
    expected = {"dW2": np.einsum("im,jm->ij", dZ2, A1) / 7, "db2": dZ2.mean(axis=1, keepdims=True)}
    expected |= {"dW1": np.einsum("im,jm->ij", dZ1, X) / 7, "db1": dZ1.mean(axis=1, keepdims=True)}
    assert grads["dW1"].dtype == np.float64
    for name, gradient in expected.items():
        assert_close(grads[name], gradient, name, budget=GRADIENT, gauge=np.float64(1.0))

    X, Y, parameters = draw((3, 4, 3, 1), rng)
    _, cache = regularization.forward_propagation(X, parameters)
    Z1, A1, W1, b1, Z2, A2, *rest = cache
    open_gates = (Z1, np.abs(A1) + 1, W1, b1, -np.abs(Z2), np.abs(A2) + 1, *rest)
    grads = regularization.backward_propagation(X, Y, open_gates)
    assert np.array_equal(grads["dZ2"], grads["dA2"])  # Z2 < 0, but A2 > 0 is what is looked at
    assert np.array_equal(grads["dZ1"], grads["dA1"])
    dW3 = np.einsum("im,jm->ij", grads["dZ3"], open_gates[5]) / X.shape[1]
    assert_close(grads["dW3"], dW3, "dW3", gauge=np.float64(4.0))


def float32(arrays):
    """Return a dictionary's arrays in float32."""
    return {name: one.astype(np.float32) for name, one in arrays.items()}


def test_rates_of_numpy_do_not_widen(rng):
    """A float64 scalar where a number is asked for gives float32 updates, bit by bit."""
    parameters = float32(draw_layers(SIZES, rng))
    grads, v = (
        {
            f"d{name}": rng.standard_normal(one.shape).astype("f4")
            for name, one in parameters.items()
        }
        for _ in "gv"
    )
    s = {name: np.square(one) for name, one in grads.items()}
    updates = {
        planar.update_parameters: (parameters, grads),
        deep.update_parameters: (parameters, grads),
        optimization.update_parameters_with_gd: (parameters, grads),
        optimization.update_parameters_with_momentum: (parameters, grads, v, 0.9),
        optimization.update_parameters_with_adam: (parameters, grads, v, s, 3),
    }
    for update, given in updates.items():
        if update is planar.update_parameters:
            given = tuple({k: w for k, w in one.items() if "3" not in k} for one in given)
        expected = update(*given, 0.1)
        numpy = (np.float64(one) if type(one) is float else one for one in given)
        found = update(*numpy, np.float64(0.1))
        pairs = zip(expected, found, strict=True) if type(found) is tuple else [(expected, found)]
        for one, other in pairs:
            for name, array in one.items():
                assert other[name].dtype == array.dtype == np.float32
                assert np.array_equal(other[name], array), (update.__name__, name)


def test_numpys_integers_are_whole_numbers(rng):
    """Sizes, seeds, counts and steps out of arrays do as well as Python's."""
    X, Y, _ = draw((2, 1), rng)
    whole = np.int64
    np.random.seed(4)
    drawn = planar.initialize_parameters(whole(2), np.uint8(4), whole(1))
    np.random.seed(4)
    expected = planar.initialize_parameters(2, 4, 1)
    assert all(np.array_equal(drawn[name], one) for name, one in expected.items())
    sizes = [whole(n) for n in (2, 3, 1)]
    for initialize in (
        deep.initialize_parameters_deep,
        initialization.initialize_parameters_he,
        initialization.initialize_parameters_random,
        initialization.initialize_parameters_zeros,
    ):
        for name, one in initialize(tuple(sizes)).items():
            assert np.array_equal(one, initialize([2, 3, 1])[name])
    trained = deep.L_layer_model(
        X, Y, sizes, np.float32(0.5), whole(2), isPlot=False, seed=whole(1)
    )
    other = deep.L_layer_model(X, Y, [2, 3, 1], 0.5, 2, isPlot=False, seed=1)
    assert all(np.array_equal(trained[name], one) for name, one in other.items())
    for one, two in zip(
        optimization.random_mini_batches(X, Y, whole(3), np.uint32(5)),
        optimization.random_mini_batches(X, Y, 3, 5),
        strict=True,
    ):
        assert np.array_equal(one[0], two[0])
    assert planar.sigmoid(np.int64(0)) == 0.5
    assert gradient_checking.forward_propagation_1d(np.int64(2), np.float32(4)) == 8


def test_the_largest_seed(rng):
    """2^32 - 1 is one of NumPy's, and draws what NumPy draws."""
    X, Y, _ = draw((2, 1), rng)
    largest = 2**32 - 1
    ((found, _),) = optimization.random_mini_batches(X, Y, seed=largest)
    np.random.seed(largest)
    assert np.array_equal(found, X[:, np.random.permutation(7)])
    assert deep.L_layer_model(X, Y, [2, 1], num_iterations=0, isPlot=False, seed=largest)


def test_two_precisions_meet_in_the_wider(rng):
    """float32 data with float64 parameters, or the other way round, or longdouble among them."""
    X, Y, parameters = draw(SIZES, rng)
    expected, _ = deep.L_model_forward(X.astype("f4").astype("f8"), parameters)
    AL, _ = deep.L_model_forward(X.astype("f4"), parameters)
    assert AL.dtype == np.float64
    assert np.array_equal(AL, expected)
    AL, _ = deep.L_model_forward(X, float32(parameters))
    assert AL.dtype == np.float64
    mixed = parameters | {"b1": parameters["b1"].astype(np.longdouble)}
    AL, caches = deep.L_model_forward(X, mixed)
    assert AL.dtype == np.longdouble
    grads = deep.L_model_backward(AL.astype("f4"), Y, caches)
    assert {one.dtype for one in grads.values()} == {np.dtype(np.longdouble)}


def test_training_on_float32_data_is_training_in_float64(rng):
    """The weights are drawn in float64, and all of a training stays there."""
    X, Y, _ = draw((3, 1), rng, dtype=np.float32)
    wide = X.astype(np.float64)
    for train in (
        lambda X: deep.L_layer_model(X, Y, [3, 4, 1], 0.1, 5, isPlot=False),
        lambda X: planar.nn_model(X, Y, 4, 5),
        lambda X: optimization.model(X, Y, [3, 4, 1], "adam", num_epochs=3, print_cost=False),
    ):
        for (name, one), other in zip(train(X).items(), train(wide).values(), strict=True):
            assert one.dtype == np.float64
            assert np.array_equal(one, other), name


def test_any_mapping_will_do(rng):
    """A read-only view of a dictionary is read as the dictionary."""
    X, Y, parameters = draw((4, 5, 1), rng)
    view = MappingProxyType(parameters)
    A2, cache = planar.forward_propagation(X, view)
    grads = planar.backward_propagation(view, MappingProxyType(cache), X, Y)
    expected = planar.backward_propagation(parameters, cache, X, Y)
    assert all(np.array_equal(grads[name], one) for name, one in expected.items())
    updated = deep.update_parameters(view, MappingProxyType(grads), 0.1)
    assert type(updated) is dict
    assert np.array_equal(deep.L_model_forward(X, view)[0], deep.L_model_forward(X, parameters)[0])
    assert np.array_equal(
        gradient_checking.dictionary_to_vector(view)[0],
        gradient_checking.dictionary_to_vector(parameters)[0],
    )
    assert A2.shape == (1, 7)


def test_caches_are_what_the_notebooks_take_apart(rng):
    """Tuples and lists by their very types."""
    X, Y, parameters = draw(SIZES, rng)
    _, cache = deep.linear_activation_forward(X, parameters["W1"], parameters["b1"], "relu")
    assert (type(cache), type(cache[0]), len(cache), len(cache[0])) == (tuple, tuple, 2, 3)
    assert type(deep.L_model_forward(X, parameters)[1]) is list
    assert type(regularization.forward_propagation(X, parameters)[1]) is tuple
    assert type(gradient_checking.forward_propagation_n(X, Y, parameters)[1]) is tuple


@pytest.mark.parametrize("module", [deep, optimization])
def test_recorded_costs_are_floats(module, monkeypatch, rng):
    """What is drawn, and what a notebook might keep, are numbers of Python."""
    X, Y, _ = draw((2, 1), rng)
    drawn = []
    monkeypatch.setattr(module, "plot_costs", lambda costs, *labels: drawn.extend(costs))
    if module is deep:
        deep.L_layer_model(X, Y, [2, 1], num_iterations=101)
    else:
        optimization.model(X, Y, [2, 1], "gd", num_epochs=101, print_cost=False)
    assert [type(cost) for cost in drawn] == [float, float]


def test_the_cost_of_a_perfect_output_has_no_sign():
    """0, which prints as 0.000000, in every module."""
    Y = np.array([[1, 0, 1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        costs = [planar.compute_cost(Y.astype(float), Y), deep.compute_cost(Y.astype("f4"), Y)]
    assert [f"{cost:f}" for cost in costs] == ["0.000000"] * 2
    assert costs[1].dtype == np.float32


def test_an_average_that_never_begins_is_no_step(rng):
    """beta1 = 1 leaves Adam nothing to correct, as its docstring says."""
    _, _, parameters = draw((2, 1), rng)
    grads = {f"d{name}": np.ones_like(one) for name, one in parameters.items()}
    v, s = optimization.initialize_adam(parameters)
    with pytest.raises(ZeroDivisionError):
        optimization.update_parameters_with_adam(parameters, grads, v, s, 1, beta1=1)
    assert "ZeroDivisionError" in unchecked(optimization.update_parameters_with_adam).__doc__
