"""The course's vocabulary as a notebook meets it: signatures, precisions, kinds and values."""

from __future__ import annotations

import importlib
import inspect
from types import MappingProxyType

import numpy as np
import pytest

from parity_tests import GRADIENT, assert_close
from parity_tests.calls import calls_of
from parity_tests.compare.side_effects import fingerprint
from parity_tests.compare.witnesses import cast
from parity_tests.twins import all_twins
from parity_tests.twins._course import draw_data, layers_of
from scratch._validation import Whole
from scratch.course import deep, optimization, planar, regularization

#: names, order and defaults of the notebooks; the seed alone is the house's, and keyword-only.
SIGNATURES = """
planar: backward_propagation(parameters, cache, X, Y); compute_cost(A2, Y); forward_propagation(X,
  parameters); initialize_parameters(n_x, n_h, n_y); layer_sizes(X, Y); nn_model(X, Y, n_h,
  num_iterations=10000, print_cost=False); predict(parameters, X); sigmoid(x);
  update_parameters(parameters, grads, learning_rate=1.2)
deep: L_layer_model(X, Y, layers_dims, learning_rate=0.0075, num_iterations=3000, print_cost=False,
  isPlot=True, *, seed=3); L_model_backward(AL, Y, caches); L_model_forward(X, parameters);
  compute_cost(AL, Y); initialize_parameters_deep(layers_dims); linear_activation_backward(dA,
  cache, activation='relu'); linear_activation_forward(A_prev, W, b, activation);
  linear_backward(dZ, cache); linear_forward(A, W, b); predict(X, y, parameters); relu(Z);
  relu_backward(dA, cache); sigmoid(Z); sigmoid_backward(dA, cache); update_parameters(parameters,
  grads, learning_rate)
initialization: initialize_parameters_he(layer_dims); initialize_parameters_random(layers_dims);
  initialize_parameters_zeros(layers_dims)
regularization: backward_propagation(X, Y, cache); backward_propagation_with_dropout(X, Y, cache,
  keep_prob); backward_propagation_with_regularization(X, Y, cache, lambd);
  compute_cost_with_regularization(A3, Y, parameters, lambd); forward_propagation(X, parameters);
  forward_propagation_with_dropout(X, parameters, keep_prob=0.5)
gradient_checking: backward_propagation_1d(x, theta); backward_propagation_n(X, Y, cache);
  dictionary_to_vector(parameters); forward_propagation_1d(x, theta); forward_propagation_n(X, Y,
  parameters); gradient_check(parameters, gradients, X, Y, epsilon=1e-07); gradient_check_1d(x,
  theta, epsilon=1e-07); gradient_check_n(parameters, gradients, X, Y, epsilon=1e-07);
  gradients_to_vector(gradients); vector_to_dictionary(theta, like=None)
optimization: initialize_adam(parameters); initialize_velocity(parameters); model(X, Y, layers_dims,
  optimizer, learning_rate=0.0007, mini_batch_size=64, beta=0.9, beta1=0.9, beta2=0.999,
  epsilon=1e-08, num_epochs=10000, print_cost=True); random_mini_batches(X, Y, mini_batch_size=64,
  seed=0); update_parameters_with_adam(parameters, grads, v, s, t, learning_rate=0.01, beta1=0.9,
  beta2=0.999, epsilon=1e-08); update_parameters_with_decay(parameters, grads, learning_rate,
  decay_rate, iteration); update_parameters_with_gd(parameters, grads, learning_rate);
  update_parameters_with_momentum(parameters, grads, v, beta, learning_rate)
"""

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
    for line in SIGNATURES.replace("\n  ", " ").strip().split("\n"):
        stem, _, expected = line.partition(": ")
        module, found = importlib.import_module(f"scratch.course.{stem}"), []
        for name in module.__all__:
            function = getattr(module, name)
            signature = inspect.signature(function)
            plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
            found.append(f"{name}{inspect.Signature(plain)}")
            assert f"scratch.course.{stem}.{function.__name__}" in CALLS
            assert set(function.__validation__) == set(signature.parameters)
            for argument, kind in function.__validation__.items():
                if isinstance(kind, Whole):
                    assert kind.at_least == LEAST.get(argument, 1), (name, argument)
        assert sorted(found) == expected.split("; ")


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
        assert train(X)["W1"].dtype == np.float64
        assert fingerprint(train(X)) == fingerprint(train(X.astype("f8")))


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


def scalars(value):
    """Return numbers of Python as NumPy's."""
    if isinstance(value, list | tuple) and all(type(one) is int for one in value):
        return [np.int64(one) for one in value]
    if type(value) in (int, float):
        return np.int64(value) if type(value) is int else np.float64(value)
    return MappingProxyType(value) if isinstance(value, dict) else value


@pytest.mark.parametrize("kind", [None, bool, np.uint8, np.float16, np.float32])
def test_kinds_of_numbers_make_no_difference(kind):
    """Rates, sizes, seeds and steps out of arrays, and labels of any real kind, beside float32."""
    for path, (function, arguments) in CALLS.items():
        if "planar.initialize" in path or ("batches" in path and kind):  # draws, keeps the dtype
            continue
        given = cast(arguments, np.float32)
        given |= {name: given[name].round() for name in {"Y", "y"} & given.keys()}
        other = {name: scalars(one) for name, one in given.items()}
        if kind:
            other = given | {name: given[name].astype(kind) for name in {"Y", "y"} & given.keys()}
        found, expected = function(**other), function(**given)
        if path.endswith("backward_propagation_with_regularization"):  # lambda / m is not narrowed
            for name, one in expected.items():
                assert found[name].dtype == one.dtype
                np.testing.assert_allclose(found[name], one, rtol=1e-5, atol=1e-7)
        else:
            assert fingerprint(found) == fingerprint(expected), path


def test_the_cache_is_believed(rng):
    """A backward pass takes A from the cache, where it disagrees with Z and the parameters."""
    case = draw_data(rng, (3, 4, 1), 7)
    X, Y, parameters = case["X"], case["Y"], layers_of(case)
    A1, A2 = np.tanh(rng.standard_normal((4, 7))), 1 / (1 + np.exp(rng.standard_normal((1, 7))))
    given = {"Z1": np.zeros((4, 7), int), "A1": A1, "Z2": None, "A2": A2}
    grads = planar.backward_propagation(parameters, MappingProxyType(given), X, Y)
    dA1, *second = deep.linear_backward(A2 - Y, (A1, parameters["W2"], parameters["b2"]))
    _, *first = deep.linear_backward(dA1 * (1 - A1**2), (X, parameters["W1"], parameters["b1"]))
    for name, one in zip(("dW1", "db1", "dW2", "db2"), (*first, *second), strict=True):
        assert_close(grads[name], one, name, budget=GRADIENT, gauge=np.float64(1.0))
    case = draw_data(rng, (3, 4, 3, 1), 7)
    _, cache = regularization.forward_propagation(case["X"], layers_of(case))
    Z1, A1, W1, b1, Z2, A2, *rest = cache
    opened = (Z1, np.abs(A1) + 1, W1, b1, -np.abs(Z2), np.abs(A2) + 1, *rest)
    grads = regularization.backward_propagation(case["X"], case["Y"], opened)
    for l in (1, 2):  # Z2 < 0, but A2 > 0 is looked at
        assert np.array_equal(grads[f"dZ{l}"], grads[f"dA{l}"])


def test_the_backward_uses_the_output_it_is_given(rng):
    """From any AL, no sigmoid of the cached Z, and any Y: dAL = -Y / AL + (1 - Y) / (1 - AL)."""
    AL, Y = rng.standard_normal((1, 4)), np.array([[1, 0, -1, 2]])
    A_prev, W, b, Z = (rng.standard_normal(shape) for shape in ((3, 4), (1, 3), (1, 1), (1, 4)))
    cache = (A_prev, W, b), Z
    dAL = -Y / AL + (1 - Y) / (1 - AL)
    expected = deep.linear_activation_backward(dAL, cache, "sigmoid")
    for name, one in deep.L_model_backward(AL, Y, [cache]).items():
        gauge = np.abs(expected[0]).sum()
        assert_close(one, expected[("dA1", "dW1", "db1").index(name)], name, gauge=gauge)
