"""Logistic regression beside its rows: b as a Python number, and the promise of descent."""

import numpy as np
import pytest

from scratch import logistic_regression as ours


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_b_begins_as_the_number_0(dtype, rng):
    """The course starts from b = 0, a Python number, whole or not; nothing is promoted."""
    w, X = np.zeros((3, 1), dtype), rng.standard_normal((3, 5)).astype(dtype)
    Y, rates = np.ones((1, 5), dtype), {"learning_rate": np.float64(0.1), "steps": 3}
    found = []
    for b in (0, 0.0, dtype(0)):
        costs = ours.propagate(w, b, X, Y), ours.propagate_with_loops(w, b, X, Y)
        found.append([one for J, gradients in costs for one in (J, *gradients.values())])
        found[-1] += [*ours.gradient_descent(w, b, X, Y, **rates), ours.predict(w, b, X)]
        assert {one.dtype for one in found[-1]} == {np.dtype(dtype)}
    few = 64 * np.finfo(dtype).eps  # sums are rounded by where in memory their terms lie
    for one, *others in zip(*found, strict=True):
        np.testing.assert_allclose(others, [one, one], rtol=few, atol=few)


def test_separable_data_are_learned(rng):
    """Where a line with a margin separates the labels, descent finds one; the cost falls to 0."""
    X = rng.standard_normal((2, 100))
    X = X[:, np.abs(X[0] + 2 * X[1] - 0.5) > 0.3]
    Y = (X[:1] + 2 * X[1:] > 0.5).astype(float)
    w, b, costs = ours.gradient_descent(np.zeros((2, 1)), 0.0, X, Y, learning_rate=5.0, steps=2000)
    assert np.array_equal(ours.predict(w, b, X), Y)
    assert abs(costs[0] - np.log(2)) < 1e-15
    assert (np.diff(costs) < 0).all()
    assert costs[-1] < 0.05
