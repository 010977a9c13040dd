"""The course's vocabulary as a notebook meets it: signatures, many layers, precisions, values."""

from __future__ import annotations

import importlib
import inspect
from types import MappingProxyType

import numpy as np
import pytest

from parity_tests import GRADIENT, assert_close
from parity_tests.checks import calls_of
from parity_tests.compare.course import draw_data, layers_of, pass_gauges, torch_pass
from parity_tests.twins import all_twins
from scratch._validation import Whole
from scratch.course import deep, gradient_checking, optimization, planar, regularization

#: names, order and defaults of the notebooks; the seed alone is the house's, and keyword-only.
SIGNATURES = """
planar.backward_propagation(parameters, cache, X, Y)
planar.compute_cost(A2, Y)
planar.forward_propagation(X, parameters)
planar.initialize_parameters(n_x, n_h, n_y)
planar.layer_sizes(X, Y)
planar.nn_model(X, Y, n_h, num_iterations=10000, print_cost=False)
planar.predict(parameters, X)
planar.sigmoid(x)
planar.update_parameters(parameters, grads, learning_rate=1.2)
deep.L_layer_model(X, Y, layers_dims, learning_rate=0.0075, num_iterations=3000, print_cost=False,
  isPlot=True, *, seed=3)
deep.L_model_backward(AL, Y, caches)
deep.L_model_forward(X, parameters)
deep.compute_cost(AL, Y)
deep.initialize_parameters_deep(layers_dims)
deep.linear_activation_backward(dA, cache, activation='relu')
deep.linear_activation_forward(A_prev, W, b, activation)
deep.linear_backward(dZ, cache)
deep.linear_forward(A, W, b)
deep.predict(X, y, parameters)
deep.relu(Z)
deep.relu_backward(dA, cache)
deep.sigmoid(Z)
deep.sigmoid_backward(dA, cache)
deep.update_parameters(parameters, grads, learning_rate)
initialization.initialize_parameters_he(layer_dims)
initialization.initialize_parameters_random(layers_dims)
initialization.initialize_parameters_zeros(layers_dims)
regularization.backward_propagation(X, Y, cache)
regularization.backward_propagation_with_dropout(X, Y, cache, keep_prob)
regularization.backward_propagation_with_regularization(X, Y, cache, lambd)
regularization.compute_cost_with_regularization(A3, Y, parameters, lambd)
regularization.forward_propagation(X, parameters)
regularization.forward_propagation_with_dropout(X, parameters, keep_prob=0.5)
gradient_checking.backward_propagation_1d(x, theta)
gradient_checking.backward_propagation_n(X, Y, cache)
gradient_checking.dictionary_to_vector(parameters)
gradient_checking.forward_propagation_1d(x, theta)
gradient_checking.forward_propagation_n(X, Y, parameters)
gradient_checking.gradient_check(parameters, gradients, X, Y, epsilon=1e-07)
gradient_checking.gradient_check_1d(x, theta, epsilon=1e-07)
gradient_checking.gradient_check_n(parameters, gradients, X, Y, epsilon=1e-07)
gradient_checking.gradients_to_vector(gradients)
gradient_checking.vector_to_dictionary(theta, like=None)
optimization.initialize_adam(parameters)
optimization.initialize_velocity(parameters)
optimization.model(X, Y, layers_dims, optimizer, learning_rate=0.0007, mini_batch_size=64, beta=0.9,
  beta1=0.9, beta2=0.999, epsilon=1e-08, num_epochs=10000, print_cost=True)
optimization.random_mini_batches(X, Y, mini_batch_size=64, seed=0)
optimization.update_parameters_with_adam(parameters, grads, v, s, t, learning_rate=0.01, beta1=0.9,
  beta2=0.999, epsilon=1e-08)
optimization.update_parameters_with_decay(parameters, grads, learning_rate, decay_rate, iteration)
optimization.update_parameters_with_gd(parameters, grads, learning_rate)
optimization.update_parameters_with_momentum(parameters, grads, v, beta, learning_rate)
""".replace("\n  ", " ").split("\n")[1:-1]
#: the smallest of each whole number: counts of units and examples from 1, of steps from 0.
LEAST = {"num_iterations": 0, "num_epochs": 0, "iteration": 0}

#: one call of every public function, as its row makes it.
CALLS = {
    path: (function, arguments)
    for row in all_twins().values()
    if row.stem.startswith("course_")
    for path, (function, arguments) in calls_of(row).items()
}


def test_signatures_are_the_notebooks():
    """Every name of every module, letter by letter, and no other; each argument is validated."""
    found = []
    for stem in dict.fromkeys(line.partition(".")[0] for line in SIGNATURES):
        module = importlib.import_module(f"scratch.course.{stem}")
        for name in module.__all__:
            function = getattr(module, name)
            signature = inspect.signature(function)
            plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
            found.append(f"{stem}.{name}{inspect.Signature(plain)}")
            assert f"scratch.course.{stem}.{function.__name__}" in CALLS
            assert set(function.__validation__) == set(signature.parameters)
            for argument, kind in function.__validation__.items():
                if isinstance(kind, Whole):
                    assert kind.at_least == LEAST.get(argument, 1), (name, argument)
    assert sorted(found) == sorted(SIGNATURES)


def test_eleven_layers(rng):
    """Names of two digits: every module's dictionaries, vectors, updates and gradients."""
    case = draw_data(rng, (3, *[2] * 10, 1), 7)
    X, Y, parameters = case["X"], case["Y"], layers_of(case)
    parameters |= {f"W{l}": np.abs(parameters[f"W{l}"]) / 2 for l in range(1, 11)}  # all alive
    expected, gauges = torch_pass(X, Y, parameters), pass_gauges(X, Y, parameters)
    AL, caches = deep.L_model_forward(X, parameters)
    grads = deep.L_model_backward(AL, Y, caches)
    cost, cache = gradient_checking.forward_propagation_n(X, Y, parameters)
    for found in (grads, gradient_checking.backward_propagation_n(X, Y, cache)):
        for name in (f"d{one}" for one in parameters):
            assert_close(found[name], expected[name], name, budget=GRADIENT, gauge=gauges[name])
    assert_close(cost, expected["J"], "J", gauge=gauges["J"])
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
    v, s = optimization.initialize_adam(parameters)
    assert list(v) == list(s) == [f"d{name}" for name in parameters]
    del grads["db10"], parameters["b11"]
    with pytest.raises(ValueError, match="expected gradients with the keys"):
        gradient_checking.gradients_to_vector(grads)
    with pytest.raises(ValueError, match=r"with the keys W1, .*, W11, b11, got W1"):
        deep.L_model_forward(X, parameters)


def test_two_precisions_meet_in_the_wider(rng):
    """float32 data with float64 parameters, or longdouble among them; trainings are in float64."""
    case = draw_data(rng, (4, 5, 3, 2), 7)
    X, Y, parameters = case["X"].astype("f4"), case["Y"], layers_of(case)
    AL, _ = deep.L_model_forward(X, parameters)
    assert AL.dtype == np.float64
    assert np.array_equal(AL, deep.L_model_forward(X.astype("f8"), parameters)[0])
    AL, caches = deep.L_model_forward(X, parameters | {"b1": parameters["b1"].astype("g")})
    grads = deep.L_model_backward(AL.astype("f4"), Y, caches)
    assert {AL.dtype, *(one.dtype for one in grads.values())} == {np.dtype(np.longdouble)}
    for train in (
        lambda X: deep.L_layer_model(X, Y[:1], [4, 3, 1], 0.1, 5, isPlot=False),
        lambda X: planar.nn_model(X, Y[:1], 4, 5),
        lambda X: optimization.model(X, Y[:1], [4, 1], "adam", num_epochs=3, print_cost=False),
    ):
        narrow, wide = train(X), train(X.astype("f8"))
        for name, one in narrow.items():
            assert one.dtype == np.float64
            assert np.array_equal(one, wide[name])


def test_values_are_let_through():
    """Numbers that are no probabilities, infinities and NaN pass, as the exercises have them."""
    A, Y = np.array([[0.3, 0.6]]), np.array([[-1.0, 2.0]])
    terms = np.concatenate([Y * np.log(A), (1 - Y) * np.log(1 - A)])
    J = np.float64(planar.compute_cost(A, Y))
    assert_close(J, -terms.sum() / 2, "J", gauge=np.abs(terms).sum())
    perfect, labels = np.array([[1.0, 0.0]]), np.array([[1, 0]])
    one = {"W1": np.ones((1, 1)), "b1": np.ones((1, 1))}
    three = {f"{name[0]}{l}": one[name] for l in (1, 2, 3) for name in one}
    with np.errstate(all="ignore"):
        assert np.isnan(deep.compute_cost(np.array([[-0.5, 1.5]]), Y))
        for compute_cost in (planar.compute_cost, deep.compute_cost):  # without a sign
            assert f"{compute_cost(perfect, labels):f}" == "0.000000"
        A3, cache = regularization.forward_propagation_with_dropout(A, three, 0)
    assert not cache[1].any()  # rand < 0 holds nowhere, and 0 / 0 is NaN
    assert np.isnan(A3).all()
    grads = {"dW1": np.full((1, 1), np.inf), "db1": np.ones((1, 1))}
    assert np.isneginf(deep.update_parameters(one, grads, 0.1)["W1"]).all()
    (v, s), grads = optimization.initialize_adam(one), {"dW1": one["W1"], "db1": one["b1"]}
    with pytest.raises(ZeroDivisionError):  # an average that never begins
        optimization.update_parameters_with_adam(one, grads, v, s, 1, beta1=1)


def arrays(value):
    """Yield the arrays in a nest."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict | tuple | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from arrays(one)


def narrowed(value):
    """Return floats of a nest in float32."""
    if isinstance(value, np.ndarray):
        return value.astype("f4") if value.dtype.kind == "f" else value
    if isinstance(value, dict):
        return {name: narrowed(one) for name, one in value.items()}
    return type(value)(map(narrowed, value)) if isinstance(value, tuple | list) else value


def scalars(value):
    """Return numbers of Python as NumPy's."""
    if isinstance(value, list | tuple) and all(type(one) is int for one in value):
        return [np.int64(one) for one in value]
    if type(value) in (int, float):
        return np.int64(value) if type(value) is int else np.float64(value)
    return MappingProxyType(value) if isinstance(value, dict) else value


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float16, np.float32])
def test_any_real_labels_will_do(kind):
    """Labels of any real kind give the same numbers, in the floating dtype of the rest."""
    for path, (function, arguments) in CALLS.items():
        labels = {"Y", "y"} & arguments.keys()
        if labels and not path.endswith(
            ("mini_batches", "model", "layer_sizes", "L_model_backward")
        ):
            (name,) = labels
            found = function(**{**arguments, name: arguments[name].astype(kind)})
            expected = function(**arguments)
            for one, other in zip(arrays([found]), arrays([expected]), strict=True):
                assert one.dtype == other.dtype
                assert np.array_equal(one, other)


def test_numpys_scalars_are_numbers():
    """Rates, sizes, seeds and steps out of arrays do as well as Python's; float32 stays float32."""
    for path, (function, arguments) in CALLS.items():
        if "planar.initialize" in path or path.endswith("layer_sizes"):
            continue
        narrow = {name: narrowed(one) for name, one in arguments.items()}
        numpy = {name: scalars(one) for name, one in narrow.items()}
        for one, other in zip(
            arrays([function(**narrow)]), arrays([function(**numpy)]), strict=True
        ):
            assert one.dtype == other.dtype, path
            if "update" in path:  # bit by bit
                assert np.array_equal(one, other), path
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_the_cache_is_believed(rng):
    """A backward pass takes A from the cache, where it disagrees with Z and the parameters."""
    case = draw_data(rng, (3, 4, 1), 7)
    X, Y, parameters = case["X"], case["Y"], layers_of(case)
    A1, A2 = np.tanh(rng.standard_normal((4, 7))), 1 / (1 + np.exp(rng.standard_normal((1, 7))))
    given = {"Z1": np.zeros((4, 7), int), "A1": A1, "Z2": None, "A2": A2}
    grads = planar.backward_propagation(parameters, MappingProxyType(given), X, Y)
    dZ2 = A2 - Y
    dZ1 = np.einsum("ij,im->jm", parameters["W2"], dZ2) * (1 - A1**2)
    expected = {"dW2": np.einsum("im,jm->ij", dZ2, A1) / 7, "db2": dZ2.mean(axis=1, keepdims=True)}
    expected |= {"dW1": np.einsum("im,jm->ij", dZ1, X) / 7, "db1": dZ1.mean(axis=1, keepdims=True)}
    for name, gradient in expected.items():
        assert_close(grads[name], gradient, name, budget=GRADIENT, gauge=np.float64(1.0))
    case = draw_data(rng, (3, 4, 3, 1), 7)
    _, cache = regularization.forward_propagation(case["X"], layers_of(case))
    Z1, A1, W1, b1, Z2, A2, *rest = cache
    opened = (Z1, np.abs(A1) + 1, W1, b1, -np.abs(Z2), np.abs(A2) + 1, *rest)
    grads = regularization.backward_propagation(case["X"], case["Y"], opened)
    assert np.array_equal(grads["dZ2"], grads["dA2"])  # Z2 < 0, but A2 > 0 is looked at
    assert np.array_equal(grads["dZ1"], grads["dA1"])


def test_the_backward_uses_the_output_it_is_given(rng):
    """From any AL, no sigmoid of the cached Z, and any Y: dAL = -Y / AL + (1 - Y) / (1 - AL)."""
    AL, Y = rng.standard_normal((1, 4)), np.array([[1, 0, -1, 2]])
    A_prev, W, Z = (rng.standard_normal(shape) for shape in ((3, 4), (1, 3), (1, 4)))
    grads = deep.L_model_backward(AL, Y, [((A_prev, W, np.zeros((1, 1))), Z)])
    A = 1 / (1 + np.exp(-Z))
    dZ = (-Y / AL + (1 - Y) / (1 - AL)) * A * (1 - A)
    gauge = np.abs(dZ).sum()
    assert_close(grads["db1"], dZ.mean(axis=1, keepdims=True), "db1", budget=GRADIENT, gauge=gauge)
