"""Costs: from logits and from probabilities, under both reductions, and where they part."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from parity_tests import assert_close, assert_switches, assert_twins, measure
from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.functions import draw_until, switches
from scratch import costs
from torch_ref import costs as theirs


def draw_case(name, rng, dtype=np.float64, m=9):
    """Draw the inputs of a cost: logits or probabilities, and labels that take both values."""
    classes = 4 if name.startswith("cross") else 2
    logits = rng.standard_normal((classes, m))
    if classes == 4:
        Y = np.eye(classes)[:, rng.permutation(np.resize(np.arange(classes), m))]
        A = scipy.special.softmax(logits, axis=0)
    else:
        Y = np.asarray(rng.permutation(np.resize([0.0, 1.0], (classes, m)).ravel()))
        Y, A = Y.reshape(classes, m), scipy.special.expit(logits)
    assert_switches(Y == 1, "label 1")
    letter, values = ("Z", logits) if name.endswith("logits") else ("A", A)
    return {letter: values.astype(dtype)}, Y.astype(dtype)


def claims(name):
    """Return a case that proves both halves of a cost."""
    return pytest.param(name, marks=pytest.mark.parity(f"{name}_forward", f"{name}_backward"))


@pytest.mark.seeds(50)
@pytest.mark.parametrize("reduction", costs.REDUCTIONS)
@pytest.mark.parametrize("name", [claims(name) for name in costs.COSTS])
def test_pair(name, reduction, dtype, device, rng):
    """Cost and gradient agree, also for several outputs and an odd number of examples."""
    inputs, Y = draw_case(name, rng, dtype)
    constants = {"Y": Y, "reduction": reduction}
    forward, backward = costs.COSTS[name]
    assert_twins(
        forward, backward, theirs.COSTS[name], inputs, rng, constants=constants, device=device
    )


@pytest.mark.parametrize("name", costs.COSTS)
def test_mean_is_the_sum_over_m(name, rng):
    """J_mean = J_sum / m, whatever the number of outputs."""
    (values,), Y = draw_case(name, rng)[0].values(), draw_case(name, rng)[1]
    total, _ = costs.COSTS[name].forward(values, Y, "sum")
    assert_close(costs.COSTS[name].forward(values, Y)[0] * Y.shape[1], total, "mean times m")


@pytest.mark.parametrize("name", costs.COSTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(name, dtype, rng):
    """No cost promotes, forward or backward."""
    inputs, Y = draw_case(name, rng, dtype)
    J, cache = costs.COSTS[name].forward(*inputs.values(), Y)
    assert J.dtype == dtype
    (gradient,) = costs.COSTS[name].backward(1.0, cache).values()
    assert gradient.dtype == dtype


@pytest.mark.parametrize("name", [name for name in costs.COSTS if name.endswith("logits")])
def test_logits_to_ten_thousand_are_exact(name, device, rng):
    """A wrong label costs the logit itself, a right one nothing; torch says the same."""
    Z = np.array([[1e4, -1e4, 1e4, -1e4, 40.0]])
    Y = np.array([[0.0, 1.0, 1.0, 0.0, 0.0]])
    if name.startswith("cross"):
        Z, Y = np.concatenate([Z, 0 * Z]), np.concatenate([Y, 1 - Y])
    forward, backward = costs.COSTS[name]
    inputs, constants = {"Z": Z}, {"Y": Y, "reduction": "sum"}
    pair = (forward, backward, theirs.COSTS[name])
    # a difference quotient of a sum of 2e4 has no eleven digits
    assert_twins(*pair, inputs, rng, constants=constants, differences=False, device=device)
    assert forward(Z, Y, "sum")[0] == 20040.0


def test_a_rare_error_is_not_lost_in_round_off():
    """log(1 + e^-40) is e^-40, not 0: a right and certain label still has its tiny cost."""
    J, _ = costs.binary_cross_entropy_with_logits_forward(np.array([[40.0]]), np.array([[1.0]]))
    assert_close(J, np.float64(np.exp(-40.0)), "tiny cost")


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_taught_form_diverges_where_the_logits_do_not():
    """At A = 0 for a label 1 the taught cost is infinite; torch clamps the log at -100."""
    Z, Y = np.array([[-800.0, 2.0]]), np.array([[1.0, 1.0]])
    A = scipy.special.expit(Z)
    assert A[0, 0] == 0
    assert costs.binary_cross_entropy_forward(A, Y, "sum")[0] == np.inf
    clamped = theirs.binary_cross_entropy(rows(A), rows(Y), "sum")
    exact, _ = costs.binary_cross_entropy_with_logits_forward(Z, Y, "sum")
    tail = np.log1p(np.exp(-2.0))
    assert_close(exact, np.float64(800 + tail), "exact cost")
    assert_close(clamped.numpy()[()], np.float64(100 + tail), "torch's clamped cost")


@pytest.mark.parametrize("name", ["binary_cross_entropy", "cross_entropy"])
def test_a_certain_and_right_probability_costs_nothing(name):
    """0 log 0 counts as its limit 0, not as NaN, and its gradient is finite."""
    A = np.array([[1.0, 0.0], [0.0, 1.0]])
    J, cache = costs.COSTS[name].forward(A, A)
    assert J == 0
    assert np.isfinite(costs.COSTS[name].backward(1.0, cache)["A"]).all()
    tensor = rows(A).requires_grad_()
    (gradient,) = torch.autograd.grad(theirs.COSTS[name](tensor, rows(A)), tensor)
    assert torch.isfinite(gradient).all()


def test_absolute_error_is_flat_at_zero(device, rng):
    """The derivative of |a - y| at a = y is 0 on both sides."""
    A = np.array([[1.0, 0.3, -0.0]])
    forward, backward = costs.COSTS["absolute_error"]
    constants = {"Y": np.array([[1.0, 0.9, 0.0]])}
    pair = (forward, backward, theirs.absolute_error)
    assert_twins(*pair, {"A": A}, rng, constants=constants, differences=False, device=device)


def test_cross_entropy_of_two_classes_is_binary(rng):
    """Softmax cross-entropy of [z, 0] is binary cross-entropy of z."""
    Z, Y = rng.standard_normal((1, 20)), rng.integers(0, 2, (1, 20)).astype(float)
    two, _ = costs.cross_entropy_with_logits_forward(
        np.concatenate([Z, 0 * Z]), np.concatenate([Y, 1 - Y])
    )
    one, _ = costs.binary_cross_entropy_with_logits_forward(Z, Y)
    assert_close(two, one, "two classes")


def test_torch_mean_divides_by_entries_and_ours_by_examples(rng):
    """With n outputs torch's own "mean" is smaller by exactly n."""
    inputs, Y = draw_case("binary_cross_entropy_with_logits", rng)
    J, _ = costs.binary_cross_entropy_with_logits_forward(inputs["Z"], Y)
    by_entries = torch.nn.functional.binary_cross_entropy_with_logits(rows(inputs["Z"]), rows(Y))
    assert_close(J / len(Y), by_entries.numpy()[()], "mean over entries")


@pytest.mark.parity("predict_by_threshold")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_threshold(threshold, rng):
    """1 above the threshold, 0 at it and below."""
    A = np.append(rng.random((1, 20)), [[threshold, 0.0, 1.0]], axis=1)
    ours = costs.predict_by_threshold(A, threshold)
    assert_close(ours, columns(theirs.predict_by_threshold(rows(A), threshold)), "prediction")
    assert ours[0, -3:].tolist() == [0.0, 0.0, 1.0]
    narrow = A.astype("f4")
    kinds = (costs.predict_by_threshold(narrow, kind(threshold)) for kind in (float, np.float64))
    assert np.array_equal(*kinds)


@pytest.mark.parity("predict_by_argmax", "accuracy")
@pytest.mark.seeds(50)
def test_argmax_and_accuracy(rng):
    """Predictions and the fraction of right columns agree; some are right and some wrong."""
    A, Y = draw_until(
        lambda A, Y: switches(A.argmax(axis=0) == Y.argmax(axis=0)),
        lambda: (
            scipy.special.softmax(rng.standard_normal((3, 25)), axis=0),
            np.eye(3)[:, rng.integers(0, 3, 25)],
        ),
    )
    ours = costs.predict_by_argmax(A)
    assert_close(ours, columns(theirs.predict_by_argmax(rows(A))), "prediction")
    right = (ours == Y).all(axis=0)
    assert_switches(right, "right")
    reference = theirs.accuracy(rows(ours), rows(Y))
    assert_close(np.float64(costs.accuracy(ours, Y)), np.float64(reference), "accuracy")
    assert costs.accuracy(ours, Y) == right.sum() / 25


def test_accuracy_of_several_labels_wants_every_one(rng):
    """A column with one of its labels wrong is wrong, whether it should have been 0 or 1."""
    prediction = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    Y = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    assert costs.accuracy(prediction, Y) == 0.5 == theirs.accuracy(rows(prediction), rows(Y))


def test_saturated_bce_of_torch_is_the_worse_one(rng):
    """From probabilities both sides lose what the logits keep: 1 - A rounds."""
    Z, Y = np.array([[30.0]]), np.array([[0.0]])
    A = scipy.special.expit(Z)
    taught, _ = costs.binary_cross_entropy_forward(A, Y)
    clamped = theirs.binary_cross_entropy(to_torch("A", A), to_torch("Y", Y)).numpy()[()]
    exact, _ = costs.binary_cross_entropy_with_logits_forward(Z, Y)
    assert min(measure(taught, exact).error, measure(clamped, exact).error) > 1e6
