"""Diagnosis: the lecture's cats, a grid of errors, learning curves trained on both sides."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from parity_tests import TRAINING, assert_close, measure
from parity_tests.compare.bridge import columns, rows, twin
from parity_tests.compare.functions import draw_until
from scratch import diagnosis as ours
from scratch.initializers import initialize
from scratch.mini_batches import draw_order, draw_orders
from scratch.network import Network
from scratch.optimizers import Adam
from scratch.training import evaluate, train
from torch_ref import diagnosis as theirs
from torch_ref import training as their_training
from torch_ref.optimizers import adam

#: train, dev and Bayes error of the lecture's cat classifiers.
CATS = {
    (0.01, 0.11, 0.0): "high variance",
    (0.15, 0.16, 0.0): "high bias",
    (0.15, 0.30, 0.0): "high bias and high variance",
    (0.005, 0.01, 0.0): "neither",
    (0.15, 0.16, 0.15): "neither",
}
RECIPE = {"high bias": "bigger network", "high variance": "more data"}

DATA = np.array([[0.5, -1.0, 2.0, 0.1], [1.0, 0.2, -0.3, 0.4]])
LABELS = np.array([[0.0, 1.0, 1.0, 0.0]])
ORDER = np.array([2, 0, 3, 1])
ERRORS = {"train_error": 0.1, "dev_error": 0.2, "optimal_error": 0.05, "tolerance": 0.02}


def fit_nothing(X, Y):
    """Return a train and a dev cost without training."""
    return 0.5, 0.7


CURVES = {"fit": fit_nothing, "sizes": [1, 4], "order": ORDER}
EXAMPLES = {
    "scratch.diagnosis.diagnose": ERRORS,
    "torch_ref.diagnosis.diagnose": ERRORS,
    "scratch.diagnosis.learning_curves": {"X": DATA, "Y": LABELS, **CURVES},
    "torch_ref.diagnosis.learning_curves": {"X": rows(DATA), "Y": rows(LABELS), **CURVES},
}


def spoil_sizes(expected, value):
    """Yield (how, bad value, error) for sizes of the training set."""
    yield "None", None, TypeError
    yield "a number", 4, TypeError
    yield "a string", "4", TypeError
    yield "floats", [1.0, 2.0], TypeError
    yield "none", [], ValueError
    yield "zero", [0, 1], ValueError
    yield "falling", [2, 1], ValueError
    yield "repeated", [2, 2], ValueError
    yield "beyond m", [1, 5], ValueError
    yield "an array of one number", np.array(3), TypeError
    yield "a matrix", np.array([[1, 2]]), TypeError
    yield "an array of floats", np.array([1.0, 2.0]), TypeError
    yield "an empty array", np.array([], int), ValueError
    yield "a tensor of one number", torch.tensor(3), TypeError
    yield "a set", {1, 2}, TypeError


SPOILS = {"_Sizes": spoil_sizes}


@pytest.mark.parity("diagnose")
@pytest.mark.parametrize("errors", CATS, ids=lambda errors: "-".join(map(str, errors)))
def test_the_lectures_cats(errors):
    """Bias is measured from the Bayes error, variance from the train error, as in the lecture."""
    train_error, dev_error, optimal_error = errors
    mine, other = ours.diagnose(*errors), theirs.diagnose(*errors)
    assert mine == tuple(other)
    assert mine.name == CATS[errors]
    assert (mine.high_bias, mine.high_variance) == ("bias" in mine.name, "variance" in mine.name)
    for name, remedy in RECIPE.items():
        assert (remedy in mine.remedies) == (name in mine.name)
    gaps = np.array(mine[:2])
    assert_close(gaps, np.array(other[:2]), "gaps")
    assert_close(gaps, np.array([train_error - optimal_error, dev_error - train_error]), "formula")


@pytest.mark.parity("diagnose")
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.125, 1.0])
def test_a_grid_of_errors(tolerance):
    """The sides agree on all of a grid, exact ties with the tolerance among them: a tie is low."""
    grid = [0.0, 0.005, 0.02, 0.125, 0.14, 0.16, 0.25, 0.375, 1.0]
    gaps, references, ties = [], [], 0
    for train_error in grid:
        for dev_error in grid:
            for optimal_error in grid:
                errors = train_error, dev_error, optimal_error
                mine = ours.diagnose(*errors, tolerance=tolerance)
                other = theirs.diagnose(*errors, tolerance=tolerance)
                assert mine == tuple(other)
                assert mine.high_bias == (train_error - optimal_error > tolerance)
                assert mine.high_variance == (dev_error - train_error > tolerance)
                ties += tolerance in mine[:2]
                gaps.append(mine[:2])
                references.append(other[:2])
    assert_close(np.array(gaps), np.array(references), "gaps")
    assert ties > 10


def test_tempting_gaps_differ():
    """Variance from the Bayes error, or dev and train swapped, calls the lecture's cats wrong."""
    from_bayes = {
        errors: ours.diagnose(errors[2], errors[1], errors[2]).high_variance for errors in CATS
    }
    swapped = {errors: ours.diagnose(errors[1], errors[0], errors[2]).name for errors in CATS}
    assert [from_bayes[errors] != ("variance" in CATS[errors]) for errors in CATS].count(True) == 1
    assert [swapped[errors] != CATS[errors] for errors in CATS].count(True) == 2


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_the_basic_recipe(side):
    """Bias first, then variance; remedies are named once; without a problem there is none."""
    bias, variance = side.REMEDIES["high bias"], side.REMEDIES["high variance"]
    both = side.REMEDIES["high bias and high variance"]
    assert set(both) == {*bias, *variance}
    assert len(set(both)) == len(both)
    assert both.index("bigger network") < both.index("more data")
    assert "train longer" in bias
    assert "regularization" in variance
    assert side.REMEDIES["neither"] == ()
    assert ours.REMEDIES == theirs.REMEDIES


def draw_problem(rng):
    """Draw a network's initial parameters, noisy train and dev data, and an epoch's orders."""
    network = Network(layer_sizes=(2, 8, 1), hidden="tanh")
    parameters = initialize(network.layer_sizes, "xavier", rng)

    def draw(m):
        X = rng.standard_normal((2, m))
        Y = (X[:1] * X[1:] + 0.8 * rng.standard_normal((1, m)) > 0).astype(float)
        return X, Y

    sizes = [5, 20, 60]
    orders = {size: draw_orders(size, 15, rng) for size in sizes}
    return network, parameters, draw(60), draw(80), orders, draw_order(60, rng)


def gaps_of(curves):
    """Return how much higher the dev cost is than the train cost, at each size."""
    return curves.dev - curves.train


@pytest.fixture
def problem(rng):
    """Return a problem whose fits have enough variance for more data to be a remedy."""

    def varies(network, parameters, data, dev, orders, order):
        fit, _ = fits(network, parameters, dev, orders)
        gaps = gaps_of(ours.learning_curves(fit, *data, list(orders), order))
        return gaps[0] > 2 * gaps[-1] > 0

    return draw_until(varies, lambda: draw_problem(rng))


def fits(network, parameters, dev, orders):
    """Return the same training from the same initial parameters, to costs, as both sides do it."""
    run = {"epochs": 15, "batch_size": 20}

    def ours_fit(X, Y):
        reached = parameters.copy()
        given = orders[X.shape[1]]
        train(network, reached, X, Y, optimizer=Adam(learning_rate=0.1), orders=given, **run)
        return evaluate(reached, X, Y, network)[0], evaluate(reached, *dev, network)[0]

    def their_fit(X, Y):
        module = twin(network, parameters)
        optimizer = adam(module.parameters(), learning_rate=0.1)
        their_training.train(module, X, Y, optimizer=optimizer, orders=orders[len(X)], **run)
        tests = (X, Y), tuple(rows(one) for one in dev)
        return tuple(their_training.evaluate(module, *data)[0] for data in tests)

    return ours_fit, their_fit


@pytest.mark.parity("learning_curves")
def test_the_curves_are_the_same(problem):
    """Trained on growing parts of one order, train and dev costs agree and close the gap."""
    network, parameters, (X, Y), dev, orders, order = problem
    ours_fit, their_fit = fits(network, parameters, dev, orders)
    sizes, start = list(orders), parameters.theta.copy()
    mine = ours.learning_curves(ours_fit, X, Y, sizes, order)
    other = theirs.learning_curves(their_fit, rows(X), rows(Y), sizes, order)
    assert mine.sizes.tolist() == other.sizes.tolist() == sizes
    assert_close(mine.train, other.train.numpy(), "train cost", budget=TRAINING)
    assert_close(mine.dev, other.dev.numpy(), "dev cost", budget=TRAINING)
    gaps = gaps_of(mine)
    assert gaps[0] > 2 * gaps[-1] > 0  # more data is a remedy of variance
    assert np.array_equal(parameters.theta, start)
    # the first examples of the data are not those of the order
    unordered = ours.learning_curves(ours_fit, X, Y, sizes, np.arange(60))
    assert measure(unordered.train, other.train.numpy()).error > 1e6 * TRAINING.eps


@pytest.mark.parity("learning_curves")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_each_part_is_the_first_of_the_order(dtype, rng):
    """Each fit gets copies of the first n columns of X and Y, no fewer, in the order, and dtype."""
    X, Y = (rng.standard_normal((n, 7)).astype(dtype) for n in (3, 2))
    kept, order, parts, their_parts = X.copy(), draw_order(7, rng), [], []

    def fit(X_part, Y_part):
        parts.append((X_part.copy(), Y_part.copy()))
        X_part[...], Y_part[...] = 0, 0
        return X_part.shape[1], 0.25

    def their_fit(X_part, Y_part):
        their_parts.append((X_part.clone(), Y_part.clone()))
        X_part.zero_()
        return torch.tensor(len(X_part)), 0.25

    tensors = rows(X), rows(Y)
    mine = ours.learning_curves(fit, X, Y, (1, 2, 7), order)
    other = theirs.learning_curves(their_fit, *tensors, (1, 2, 7), order)
    for size, pair, their_pair in zip((1, 2, 7), parts, their_parts, strict=True):
        for array, tensor, whole in zip(pair, their_pair, (X, Y), strict=True):
            assert_close(array, columns(tensor), f"first {size}")
            assert np.array_equal(array, whole[:, order[:size]])
    assert mine.train.tolist() == other.train.tolist() == [1.0, 2.0, 7.0]
    assert mine.dev.tolist() == other.dev.tolist() == [0.25] * 3
    assert mine.dev.dtype == other.dev.numpy().dtype == dtype
    assert mine.train.dtype == other.train.numpy().dtype == dtype
    assert np.array_equal(X, kept)
    assert np.array_equal(columns(tensors[0]), kept)


@pytest.mark.parametrize("bad", [0.5, (0.5,), (0.5, None), [0.5, 0.5], (0.5, 0.5, 0.5)], ids=str)
def test_a_fit_returns_two_numbers(bad):
    """Anything else is named, on both sides."""
    for side, data in ((ours, (DATA, LABELS)), (theirs, (rows(DATA), rows(LABELS)))):
        with pytest.raises(TypeError, match="expected fit to return two real numbers"):
            side.learning_curves(lambda X, Y: bad, *data, [2], ORDER)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4"])
def test_an_order_of_any_whole_numbers(dtype):
    """Small and unsigned integers name the same examples on both sides."""

    def fit(X, Y):
        return float(X[0, 0]), float(X.sum())

    expected = ours.learning_curves(fit, DATA, LABELS, [1, 3], ORDER)
    order, tensors = ORDER.astype(dtype), (rows(DATA), rows(LABELS))
    curves = [
        ours.learning_curves(fit, DATA, LABELS, [1, 3], order),
        theirs.learning_curves(fit, *tensors, [1, 3], order),
        theirs.learning_curves(fit, *tensors, [1, 3], torch.from_numpy(order)),
    ]
    for one in curves:
        assert one.train.tolist() == expected.train.tolist()
        assert one.dev.tolist() == pytest.approx(expected.dev.tolist())


@pytest.mark.parametrize(
    "sizes",
    [[2, 4], (2, 4), range(2, 5, 2), np.array([2, 4]), np.array([2, 4], "u1"), [np.int32(2), 4]],
    ids=repr,
)
def test_sizes_are_a_list_a_tuple_or_an_array(sizes):
    """Both sides take them all, and return sizes of their own."""
    mine = ours.learning_curves(fit_nothing, DATA, LABELS, sizes, ORDER)
    tensors = rows(DATA), rows(LABELS)
    other = theirs.learning_curves(fit_nothing, *tensors, sizes, ORDER)
    assert mine.sizes.tolist() == other.sizes.tolist() == [2, 4]
    assert mine.sizes.dtype == other.sizes.numpy().dtype == np.int64
    given = torch.tensor([2, 4])
    theirs.learning_curves(fit_nothing, *tensors, given, ORDER).sizes.zero_()
    assert given.tolist() == [2, 4]
    if isinstance(sizes, np.ndarray):
        mine.sizes[:], other.sizes[:] = 0, 0
        assert sizes.tolist() == [2, 4]


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_decimal_ties_are_low(side):
    """0.05 - 0.03 is more than 0.02 in floats, 0.03 - 0.01 less: the tolerance means both."""
    assert 0.05 - 0.03 > 0.02 >= 0.03 - 0.01
    for percent in range(98):
        tie = side.diagnose(percent / 100, (percent + 2) / 100)
        assert not tie.high_variance
        assert side.diagnose(percent / 100, (percent + 2) / 100 + 1e-9).high_variance
        assert not side.diagnose((percent + 2) / 100, 0.0, percent / 100).high_bias
        assert side.diagnose((percent + 2) / 100 + 1e-9, 0.0, percent / 100).high_bias


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_the_default_tolerance_and_plain_results(side):
    """Two percent; NumPy's numbers in, numbers and booleans of Python out."""
    assert side.diagnose(0.0, 0.0201).name == "high variance"
    assert side.diagnose(0.0, 0.0199).name == "neither"
    assert side.diagnose(0.0201, 0.0).name == "high bias"
    given = map(np.float64, (0.1, 0.2, 0.05))
    found = side.diagnose(*given, tolerance=np.float64(0.01))
    assert [type(one) for one in found] == [float, float, bool, bool, str, tuple]
    assert json.loads(json.dumps(found._asdict()))["high_bias"] is True


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_the_round_off_itself_is_a_tie(side):
    """A gap of exactly 1e-12 above the tolerance is low, the next number is high."""
    for gap, high in ((1e-12, False), (np.nextafter(1e-12, 1), True)):
        assert side.diagnose(gap, 0.0, tolerance=0.0).high_bias is high
        assert side.diagnose(0.0, gap, tolerance=0.0).high_variance is high


REFUSALS = {
    "beyond m": ([1, 2, 9], ValueError, "sizes of at most m = 4 examples, got 9"),
    "a string": ("4", TypeError, "sizes to be a list of whole numbers, got str '4'"),
    "an array of one number": (
        np.array(3),
        TypeError,
        "sizes to be a list of whole numbers, got an array of dtype int64 and shape ()",
    ),
    "a matrix": (
        np.array([[1, 2]]),
        TypeError,
        "sizes to be a list of whole numbers, got an array of dtype int64 and shape (1, 2)",
    ),
    "none": ([], ValueError, "sizes to hold at least one size, got none"),
    "zero": ([0, 1], ValueError, "sizes[0] to be at least 1, got 0"),
    "a float": ([1, 2.0], TypeError, "sizes[1] to be a whole number, got float 2.0"),
    "falling": ((2, 1), ValueError, "sizes to increase, got [2, 1]"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_whole_refusal_of_sizes(case):
    """What sizes of the training set may be, and what came."""
    sizes, error, message = REFUSALS[case]
    with pytest.raises(error) as refusal:
        ours.learning_curves(fit_nothing, DATA, LABELS, sizes, ORDER)
    assert str(refusal.value) == f"expected {message}"
