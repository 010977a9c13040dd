"""Gradient checking beside its rows: steps, precisions, and where there is no difference."""

from __future__ import annotations

import numpy as np
import pytest

from parity_tests.twins import twin
from parity_tests.twins.course_gradient_checking import gradients_of, lost
from scratch.course import gradient_checking as ours


def test_vectors_of_layers_that_do_not_fit_together(rng):
    """Each layer is laid out on its own; without `like` they are those of 4, 5, 3 and 1 units."""
    shapes = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 3), "b2": (3, 1)}
    loose = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    theta, keys = ours.dictionary_to_vector(loose)
    assert keys == ["W1"] * 6 + ["b1"] * 2 + ["W2"] * 9 + ["b2"] * 3
    back = ours.vector_to_dictionary(theta, loose)
    assert all(np.array_equal(back[name], one) for name, one in loose.items())
    shapes = {"W1": (5, 4), "b1": (5, 1), "W2": (3, 5), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    found = ours.vector_to_dictionary(np.ones((47, 1)))
    assert {name: one.shape for name, one in found.items()} == shapes
    for wrong, like, size in ((theta[:-1], loose, 20), (theta, None, 47)):
        with pytest.raises(ValueError, match=f"N = {size}, got"):
            ours.vector_to_dictionary(wrong, like)


def test_the_step_is_an_argument():
    """A larger epsilon sees more digits; one far too large sees the curvature, one lost is NaN."""
    X, Y, parameters = twin("gradient_checking.gradient_check").case(sizes=(3, 1))["network"]
    gradients = gradients_of(X, Y, parameters)
    small, middle, large, *nothing = (
        ours.gradient_check(parameters, gradients, X, Y, epsilon)
        for epsilon in (1e-7, 1e-5, 0.5, 0, np.nan, np.inf, 1e-30)
    )
    assert middle < small < lost(X, Y, parameters) < 1e-3 < large
    assert np.isnan(nothing).all()
    assert ours.gradient_check_n is ours.gradient_check
    assert ours.gradient_check(parameters, gradients, X, Y) == small
    infinite = {**gradients, "db1": np.full_like(gradients["db1"], np.inf)}
    with np.errstate(invalid="ignore"):
        assert np.isnan(ours.gradient_check(parameters, infinite, X, Y))


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_gradients_of_another_precision(dtype):
    """The step 1e-7 is one ULP of float32: what is given in it is checked in float64."""
    X, Y, parameters = twin("gradient_checking.gradient_check").case(dtype)["network"]
    _, cache = ours.forward_propagation_n(X, Y, parameters)
    gradients = ours.backward_propagation_n(X, Y, cache)
    assert gradients["dW1"].dtype == dtype
    assert ours.gradient_check(parameters, gradients, X, Y) < 3e-7
    gradients["dW2"] = dtype(1.01) * gradients["dW2"]
    assert 1e-4 < ours.gradient_check(parameters, gradients, X, Y) < 1e-2


@pytest.mark.parametrize(
    "given", [(2, np.inf), (np.nan, 4), (2, 1e30), (2, 4, 0), (2, 4, np.nan), (np.inf, 4)], ids=str
)
def test_one_dimension_gives_nan_where_there_is_no_difference(given):
    found = ours.gradient_check_1d(*given)
    assert type(found) is float
    assert np.isnan(found)
    assert ours.gradient_check_1d(2, 4, -1e-7) == ours.gradient_check_1d(2, 4, 1e-7) < 3e-10


@pytest.mark.parametrize("wrong", [1.0, 2.002, -2.0])
def test_one_dimension_shows_a_wrong_derivative(wrong, monkeypatch):
    """|2 - wrong| / (2 + |wrong|) of a derivative that is not x."""

    def lying(x, theta):
        return wrong

    lying.__wrapped__ = lying
    monkeypatch.setattr(ours, "backward_propagation_1d", lying)
    expected = abs(2 - wrong) / (2 + abs(wrong))
    assert ours.gradient_check_1d(2, 4) == pytest.approx(expected, rel=1e-6)
