"""Gradient checking beside its rows: steps, precisions, and where there is no difference."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest

from parity_tests.twins import twin
from parity_tests.twins.course_gradient_checking import gradients_of, lost
from scratch._shapes import network_shapes
from scratch.course import gradient_checking as ours


def test_a_vector_has_the_assignments_shapes_where_no_others_are_given():
    """The shapes are of 4, 5, 3 and 1 units; a length that does not fit is refused."""
    found = ours.vector_to_dictionary(np.ones((47, 1)))
    assert {name: one.shape for name, one in found.items()} == network_shapes((4, 5, 3, 1))
    small = ours.vector_to_dictionary(np.ones((47, 1)), found) | {"W3": np.ones((1, 2))}
    for wrong, like, size in ((47, small, 46), (46, None, 47)):
        with pytest.raises(ValueError, match=f"N = {size}, got"):
            ours.vector_to_dictionary(np.ones((wrong, 1)), like)


def test_the_step_is_an_argument():
    """A larger epsilon sees more digits; one far too large sees the curvature, one lost is NaN."""
    X, Y, parameters = twin("gradient_checking.gradient_check").case(sizes=(3, 1))["network"]
    gradients = gradients_of(X, Y, parameters)
    small, middle, large, *nothing = (
        ours.gradient_check(parameters, gradients, X, Y, epsilon)
        for epsilon in (1e-7, 1e-5, 0.5, 0, np.nan, np.inf, 1e-30)
    )
    assert middle < small < lost(X, Y, parameters) < 1e-3 < large
    assert ours.gradient_check_n is ours.gradient_check
    gradients["db1"] = np.full_like(gradients["db1"], np.inf)
    with np.errstate(invalid="ignore"):
        nothing.append(ours.gradient_check(parameters, gradients, X, Y))
    assert np.isnan(nothing).all()


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


def test_one_dimension_gives_nan_where_there_is_no_difference():
    given = (2, np.inf), (np.nan, 4), (2, 1e30), (2, 4, 0), (2, 4, np.nan), (np.inf, 4)
    found = [ours.gradient_check_1d(*one) for one in given]
    assert {type(one) for one in found} == {float}
    assert np.isnan(found).all()
    assert ours.gradient_check_1d(2, 4, -1e-7) == ours.gradient_check_1d(2, 4, 1e-7) < 3e-10


@pytest.mark.parametrize("wrong", [1.0, 2.002, -2.0])
def test_one_dimension_shows_a_wrong_derivative(wrong, monkeypatch):
    """|2 - wrong| / (2 + |wrong|) of a derivative that is not x."""
    lying = Mock(__wrapped__=lambda x, theta: wrong, return_value=wrong)
    monkeypatch.setattr(ours, "backward_propagation_1d", lying)
    expected = abs(2 - wrong) / (2 + abs(wrong))
    assert ours.gradient_check_1d(2, 4) == pytest.approx(expected, rel=1e-6)
