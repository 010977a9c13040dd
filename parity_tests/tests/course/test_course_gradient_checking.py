"""Gradient checking: the course's names against torch's gradients, and the assignment's case."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import rows
from parity_tests.compare.budgets import COURSE_DIFFERENCE
from parity_tests.compare.functions import draw_until
from parity_tests.tests.course.references import (
    assert_printed,
    draw_labels,
    draw_layers,
    gradient_gauges,
    reference,
    reference_gradients,
)
from scratch.course import gradient_checking as ours
from scratch.course import regularization
from torch_ref.network import cost_and_gradients

DEPTHS = [(4, 1), (5, 6, 1), (4, 7, 6, 1), (3, 8, 7, 6, 1)]


def lost(X, Y, parameters):
    """Return the share of a gradient that differences of the cost at 1e-7 lose to round-off."""
    _, gradients = cost_and_gradients_of(parameters, X, Y)
    norm = np.linalg.norm([np.linalg.norm(gradients[f"d{name}"]) for name in parameters])
    return np.finfo(float).eps * gradient_gauges(parameters, "relu", X, Y)["J"] / 1e-7 / norm


def draw(sizes, rng):
    """Draw inputs, integer labels and parameters, of which differences keep seven digits.

    No rectified Z lies within a step of 0, and no output so near 0 or 1 that the cost loses them.
    """

    def proves(X, Y, parameters):
        rectified = ours.forward_propagation_n(X, Y, parameters)[1][:-4:4]
        clear = all((np.abs(Z) > 1e-5).all() for Z in rectified)
        return clear and lost(X, Y, parameters) < 5e-8

    return draw_until(
        proves,
        lambda: (rng.standard_normal((sizes[0], 8)), draw_labels(8, rng), draw_layers(sizes, rng)),
    )


@pytest.mark.parity("dictionary_to_vector", "vector_to_dictionary", "gradients_to_vector")
@pytest.mark.parametrize("sizes", DEPTHS)
def test_vectors(sizes, rng):
    """One column in torch's own order of parameters, a name for each entry, and back again."""
    _, _, parameters = draw(sizes, rng)
    expected = parameters_to_vector(reference(parameters, "relu").parameters()).detach().numpy()
    theta, keys = ours.dictionary_to_vector(dict(reversed(parameters.items())))
    assert_close(theta, expected[:, None], "theta")
    assert np.array_equal(theta, expected[:, None])
    assert keys == [name for name, array in parameters.items() for _ in range(array.size)]
    like = ours.vector_to_dictionary(theta, parameters)
    assert list(like) == list(parameters)
    for name, array in like.items():
        assert_close(array, parameters[name], name)
        assert not np.shares_memory(array, theta)
    gradients = {f"d{name}": array for name, array in parameters.items()}
    column = ours.gradients_to_vector({"dZ1": np.ones((2, 2)), **gradients, "dA1": None})
    assert_close(column, expected[:, None], "gradients")


def test_layers_that_do_not_fit_together_are_a_vector_too(rng):
    """Each layer is laid out on its own, as the assignment's updates are: there and back."""
    shapes = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 3), "b2": (3, 1)}
    loose = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    theta, keys = ours.dictionary_to_vector(loose)
    assert np.array_equal(theta[:, 0], np.concatenate([one.ravel() for one in loose.values()]))
    assert keys == ["W1"] * 6 + ["b1"] * 2 + ["W2"] * 9 + ["b2"] * 3
    back = ours.vector_to_dictionary(theta, loose)
    assert all(np.array_equal(back[name], one) for name, one in loose.items())
    for wrong in (theta[:-1], np.vstack([theta, theta])):
        with pytest.raises(ValueError, match="N = 20") as refusal:
            ours.vector_to_dictionary(wrong, loose)
        message = f"expected theta of shape (N, 1) with N = 20, got {wrong.shape}"
        assert str(refusal.value) == message


def test_without_like_the_vector_is_the_assignments_network(rng):
    """4, 5, 3 and 1 units: 47 entries, cut where the assignment cuts them."""
    theta = rng.standard_normal((47, 1))
    parameters = ours.vector_to_dictionary(theta)
    cuts = {
        "W1": theta[:20].reshape(5, 4),
        "b1": theta[20:25],
        "W2": theta[25:40].reshape(3, 5),
        "b2": theta[40:43],
        "W3": theta[43:46].reshape(1, 3),
        "b3": theta[46:47],
    }
    assert list(parameters) == list(cuts)
    assert all(np.array_equal(parameters[name], cut) for name, cut in cuts.items())
    with pytest.raises(ValueError, match=r"expected theta of shape .* N = 47, got"):
        ours.vector_to_dictionary(theta[:46])


@pytest.mark.parity("forward_propagation_n", "backward_propagation_n")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("sizes", DEPTHS)
def test_network(sizes, rng):
    """Cost and gradients of any depth are those of torch's network."""
    X, Y, parameters = draw(sizes, rng)
    cost, cache = ours.forward_propagation_n(X, Y, parameters)
    assert len(cache) == 4 * (len(sizes) - 1)
    gradients = ours.backward_propagation_n(X, Y, cache)
    expected = reference_gradients(reference(parameters, "relu"), X, Y)
    gauges = gradient_gauges(parameters, "relu", X, Y)
    assert_close(cost, expected["J"], "J", gauge=gauges["J"])
    for name in [f"d{name}" for name in parameters]:
        assert_close(gradients[name], expected[name], name, budget=GRADIENT, gauge=gauges[name])
    letters = [name[:2] for name in gradients]
    assert letters[:3] == ["dZ", "dW", "db"]
    assert letters.count("dA") == len(sizes) - 2


def test_three_layers_are_the_regularization_network(rng):
    """The same cache and gradients as the assignment on regularization has."""
    X, Y, parameters = draw((4, 5, 3, 1), rng)
    _, cache = ours.forward_propagation_n(X, Y, parameters)
    _, other = regularization.forward_propagation(X, parameters)
    assert all(np.array_equal(one, two) for one, two in zip(cache, other, strict=True))
    gradients = ours.backward_propagation_n(X, Y, cache)
    for name, gradient in regularization.backward_propagation(X, Y, other).items():
        assert np.array_equal(gradients[name], gradient)


@pytest.mark.parity("gradient_check")
@pytest.mark.seeds(5)
@pytest.mark.parametrize("sizes", DEPTHS)
def test_difference(sizes, rng):
    """Torch's gradients pass; wrong ones show the error that they have by torch's measure."""
    X, Y, parameters = draw(sizes, rng)
    gradients = reference_gradients(reference(parameters, "relu"), X, Y)
    gradients.pop("J")
    assert ours.gradient_check(parameters, gradients, X, Y) < 1e-7
    for name in gradients:
        wrong = gradients | {name: 1.5 * gradients[name] + 1}
        right, spoilt = (
            torch.cat([torch.tensor(one[key]).flatten() for key in gradients])
            for one in (gradients, wrong)
        )
        expected = (right - spoilt).norm() / (right.norm() + spoilt.norm())
        found = ours.gradient_check(parameters, wrong, X, Y)
        assert_close(np.float64(found), expected.numpy(), name, budget=COURSE_DIFFERENCE)


def test_the_step_is_an_argument(rng):
    """A larger epsilon sees more digits; one far too large sees the curvature."""
    X, Y, parameters = draw((3, 1), rng)
    _, gradients = cost_and_gradients_of(parameters, X, Y)
    small, middle, large = (
        ours.gradient_check(parameters, gradients, X, Y, epsilon) for epsilon in (1e-7, 1e-5, 0.5)
    )
    assert middle < small < lost(X, Y, parameters) < 1e-3 < large
    assert ours.gradient_check(parameters, gradients, X, Y, epsilon=1e-7) == small
    assert ours.gradient_check(parameters, gradients, X, Y) == small


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_gradients_of_another_precision(dtype, rng):
    """The step 1e-7 is one ULP of float32: what is given in it is checked in float64."""
    X, Y, parameters = draw((4, 7, 6, 1), rng)
    X, parameters = X.astype(dtype), {name: one.astype(dtype) for name, one in parameters.items()}
    _, gradients = cost_and_gradients_of(parameters, X, Y)
    assert gradients["dW1"].dtype == dtype
    assert ours.gradient_check(parameters, gradients, X, Y) < 3e-7
    gradients["dW2"] = dtype(1.01) * gradients["dW2"]
    assert 1e-4 < ours.gradient_check(parameters, gradients, X, Y) < 1e-2


def test_a_cost_that_is_not_finite_gives_nan(rng):
    """Weights far too large saturate the output to 0 and 1: NaN, as the notebook has it."""

    def enlarged(parameters):
        return {name: 1000 * one for name, one in parameters.items()}

    with np.errstate(divide="ignore", invalid="ignore"):
        X, Y, parameters = draw_until(
            lambda X, Y, drawn: not np.isfinite(cost_and_gradients_of(enlarged(drawn), X, Y)[0]),
            lambda: draw((4, 7, 6, 1), rng),
        )
        large = enlarged(parameters)
        found = ours.gradient_check(large, cost_and_gradients_of(large, X, Y)[1], X, Y)
    assert type(found) is float
    assert np.isnan(found)
    _, gradients = cost_and_gradients_of(parameters, X, Y)
    for epsilon in (0, np.nan, np.inf, 1e-30):
        assert np.isnan(ours.gradient_check(parameters, gradients, X, Y, epsilon))
    right = ours.gradient_check(parameters, gradients, X, Y)
    assert ours.gradient_check(parameters, gradients, X, Y, -1e-7) == right
    with np.errstate(invalid="ignore"):
        gradients["db1"] = np.full((7, 1), np.inf)
        assert np.isnan(ours.gradient_check(parameters, gradients, X, Y))


@pytest.mark.parametrize(
    "given", [(2, np.inf), (np.nan, 4), (2, 1e30), (2, 4, 0), (2, 4, np.nan), (np.inf, 4)], ids=str
)
def test_one_dimension_gives_nan_where_there_is_no_difference(given):
    """An infinite cost, and a step that is none or lost in theta, are no errors at this door."""
    found = ours.gradient_check_1d(*given)
    assert type(found) is float
    assert np.isnan(found)
    assert ours.gradient_check_1d(2, 4, -1e-7) == ours.gradient_check_1d(2, 4, 1e-7)


def cost_and_gradients_of(parameters, X, Y):
    """Return cost and gradients by the assignment's names."""
    cost, cache = ours.forward_propagation_n(X, Y, parameters)
    return cost, ours.backward_propagation_n(X, Y, cache)


def test_the_argument_order_is_the_notebooks():
    """`gradient_check_n` is the same function."""
    assert ours.gradient_check_n is ours.gradient_check


@pytest.mark.parity("forward_propagation_1d", "backward_propagation_1d", "gradient_check_1d")
def test_one_dimension(rng):
    """J = theta x and its derivative are autograd's; a difference of a line has no error."""
    x, theta = rng.standard_normal(2)
    tensor = torch.tensor(theta, requires_grad=True)
    J = tensor * x
    J.backward()
    assert_close(ours.forward_propagation_1d(x, theta), J.detach().numpy(), "J")
    assert_close(ours.backward_propagation_1d(x, theta), tensor.grad.numpy(), "dtheta")
    assert ours.forward_propagation_1d(2, 4) == 8
    assert ours.backward_propagation_1d(2, 4) == 2
    assert ours.gradient_check_1d(2, 4) < 3e-10
    assert ours.gradient_check_1d(x, theta, epsilon=1e-3) < 1e-11


@pytest.mark.parametrize("wrong", [1.0, 2.002, -2.0])
def test_one_dimension_shows_a_wrong_derivative(wrong, monkeypatch):
    """|2 - wrong| / (2 + |wrong|) of a derivative that is not x."""
    monkeypatch.setattr(ours, "backward_propagation_1d", lying(wrong))
    expected = abs(2 - wrong) / (2 + abs(wrong))
    assert ours.gradient_check_1d(2, 4) == pytest.approx(expected, rel=1e-6)


def lying(value):
    """Return a function with nothing behind its door but a constant."""

    def wrong(x, theta):
        return value

    wrong.__wrapped__ = wrong
    return wrong


def exercise():
    """Return the assignment's X, labels of shape (3,) and parameters, after NumPy's seed 1."""
    np.random.seed(1)
    shapes = {"W1": (5, 4), "b1": (5, 1), "W2": (3, 5), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    X = np.random.randn(4, 3)
    return X, np.array([1, 1, 0]), {name: np.random.randn(*one) for name, one in shapes.items()}


def test_the_notebooks_check():
    """The assignment's right gradient passes, its two planted errors show what it prints.

    The cost comes from an output that is nearly 1: its round-off leaves 1.19e-7.
    """
    X, Y, parameters = exercise()
    _, gradients = cost_and_gradients_of(parameters, X, Y)
    assert_printed(ours.gradient_check_n(parameters, gradients, X, Y), 1.19e-7, 9)
    gradients["dW2"], gradients["db1"] = 2 * gradients["dW2"], 4 * gradients["db1"]
    assert_printed(ours.gradient_check_n(parameters, gradients, X, Y), 0.28509316, 8)


def test_labels_in_a_row_or_flat():
    """The assignment's labels (m,) are one row (1, m)."""
    X, Y, parameters = exercise()
    cost, gradients = cost_and_gradients_of(parameters, X, Y)
    other, row_gradients = cost_and_gradients_of(parameters, X, Y[None])
    assert cost == other
    assert all(np.array_equal(gradients[name], row_gradients[name]) for name in gradients)
    J, _ = cost_and_gradients(*torch_data(parameters, X, Y))
    gauge = gradient_gauges(parameters, "relu", X, Y[None])["J"]
    assert_close(cost, J.numpy(), "J", gauge=gauge)


def torch_data(parameters, X, Y):
    """Return torch's network and data."""
    return reference(parameters, "relu"), rows(X), torch.tensor(Y[:, None], dtype=float)
