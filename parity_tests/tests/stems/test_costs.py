"""Costs beside their rows: where the taught forms and torch's part, and a threshold's dtype."""

import numpy as np
import pytest

from parity_tests import assert_close
from parity_tests.compare.bridge import rows
from scratch import costs as ours
from torch_ref import costs as theirs


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_taught_form_diverges_where_the_logits_do_not():
    """At A = 0 for a label 1 torch clamps the log at -100."""
    Z, Y = np.array([[-800.0, 2.0]]), np.array([[1.0, 1.0]])
    tail = np.log1p(np.exp(-2.0))
    A = np.array([[0.0, np.exp(-tail)]])
    assert ours.binary_cross_entropy_forward(A, Y, "sum")[0] == np.inf
    clamped = theirs.binary_cross_entropy(rows(A), rows(Y), "sum")
    exact, _ = ours.binary_cross_entropy_with_logits_forward(Z, Y, "sum")
    assert_close(exact, np.float64(800 + tail), "exact cost")
    assert_close(clamped.numpy()[()], np.float64(100 + tail), "torch's clamped cost")


def test_a_threshold_of_numpy_is_the_number_of_python():
    """A float64 must not promote the comparison: 0.3 of a float32 is above it, not at it."""
    A = np.full((1, 1), 0.3, np.float32)
    for threshold in (0.3, np.float64(0.3)):
        assert ours.predict_by_threshold(A, threshold) == 0
        assert theirs.predict_by_threshold(rows(A), threshold) == 0
