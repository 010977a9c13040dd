"""Activations beside their rows: SciPy as another witness, and the table of torch's modules."""

import numpy as np
import pytest
import scipy.special

from parity_tests import assert_close
from scratch.activations import ACTIVATIONS
from torch_ref import activations as theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_saturated_logits_are_as_scipy_has_them(dtype):
    Z = np.array([[-1e4, -700, -40, -1, 0, 1, 40, 700, 1e4]], dtype)
    assert_close(ACTIVATIONS["sigmoid"].forward(Z)[0], scipy.special.expit(Z), "sigmoid")
    pair = np.concatenate([Z, np.zeros_like(Z)])
    softmax = ACTIVATIONS["softmax"].forward(pair)[0]
    assert_close(softmax, scipy.special.softmax(pair, axis=0), "softmax")
    assert_close(softmax.sum(axis=0), np.ones(Z.shape[1], dtype), "sum over classes")


def test_the_tables_hold_what_their_names_say():
    for name, make in theirs.ACTIVATIONS.items():
        assert repr(make()) == repr(getattr(theirs, name.replace("hardmax", "Hardmax"))())
    assert ACTIVATIONS["hardmax"].backward is None
