"""Diagnosis beside its rows: fits and sizes, plain results, the recipe."""

from __future__ import annotations

import json

import numpy as np
import torch

from parity_tests import TRAINING, assert_close
from parity_tests.compare.bridge import rows
from parity_tests.compare.functions import draw_until
from parity_tests.compare.training import TRAINING as LOOPS
from parity_tests.compare.training import Run, evaluate_dev
from parity_tests.tests.stems.common import refused, sides
from scratch import diagnosis as ours
from scratch.initializers import initialize
from scratch.mini_batches import draw_order, draw_orders
from scratch.network import Network
from torch_ref import diagnosis as theirs

SIDES = sides("diagnosis")
DATA, LABELS = np.array([[0.5, -1.0, 2.0, 0.1]]), np.array([[0.0, 1.0, 1.0, 0.0]])


def curves(side, found, sizes):
    data = (DATA, LABELS) if side is ours else (rows(DATA), rows(LABELS))
    return side.learning_curves(lambda X, Y: found, *data, sizes, np.array([2, 0, 3, 1]))


@SIDES
def test_a_fit_returns_two_numbers_for_each_size(side):
    """Sizes come in any sequence, and are returned as an array of their own."""
    for bad in (0.5, (0.5,), (0.5, None), [0.5, 0.5], (0.5, 0.5, 0.5)):
        refused("fit to return two real numbers", curves, side, bad, [2])
    given = np.array([2, 4])
    others = [torch.tensor([2, 4])] if side is theirs else []
    for sizes in (given, [np.int32(2), 4], range(2, 5, 2), given.astype("u1"), *others):
        found = np.asarray(curves(side, (0.5, 0.7), sizes).sizes)
        assert found.tolist() == [2, 4]
        assert found.dtype == np.int64
        found[:] = 0
    assert given.tolist() == [2, 4]
    if side is theirs:
        found = curves(side, (torch.tensor(0.5), torch.tensor(2)), [2])
        assert (found.train.tolist(), found.dev.tolist()) == ([0.5], [2.0])


@SIDES
def test_the_default_tolerance_and_plain_results(side):
    """Two percent, no Bayes error; NumPy's numbers in, numbers and booleans of Python out."""
    for errors, name in (
        ((0.0, 0.0201), "high variance"),
        ((0.0, 0.0199), "neither"),
        ((0.0201, 0.0), "high bias"),
    ):
        assert side.diagnose(*errors).name == name
    found = side.diagnose(*map(np.float64, (0.1, 0.2, 0.05)), tolerance=np.float64(0.01))
    assert [type(one) for one in found] == [float, float, bool, bool, str, tuple]
    assert json.loads(json.dumps(found._asdict()))["high_bias"] is True


def test_the_basic_recipe():
    """Bias first, then variance; remedies are named once; without a problem there is none."""
    assert ours.REMEDIES == theirs.REMEDIES
    bias, variance = ("bigger network", "train longer"), ("more data", "regularization")
    assert ours.REMEDIES["high bias and high variance"][:4] == bias + variance
    assert ours.REMEDIES["high bias"][:2] == bias
    assert ours.REMEDIES["high variance"][:2] == variance
    assert ours.REMEDIES["neither"] == ()


SIZES, EPOCHS = [5, 20, 60], 15


def draw_problem(rng):
    """Draw noisy train and dev data, an order, and a run of each size on its first examples."""
    network = Network(layer_sizes=(2, 8, 1), hidden="tanh")
    parameters = initialize(network.layer_sizes, "xavier", rng)

    def draw(m):
        X = rng.standard_normal((2, m))
        return X, (X[:1] * X[1:] + 0.8 * rng.standard_normal((1, m)) > 0).astype(float)

    data, dev, order = draw(60), draw(80), draw_order(60, rng)
    given = {"network": network, "parameters": parameters, "dev": dev, "batch_size": 20}
    given |= {"optimizer": ("adam", {"learning_rate": 0.1}), "epochs": EPOCHS}
    runs = {}
    for size in SIZES:
        X, Y = (one[:, order[:size]] for one in data)
        runs[size] = Run(X=X, Y=Y, orders=draw_orders(size, EPOCHS, rng), **given)
    return data, order, runs


def curves_of(side, data, order, runs):
    """Return the curves of one training on growing parts of the data."""
    name = "scratch" if side is ours else "torch_ref"

    def fit(X, Y):
        arguments = runs[len(X) if side is theirs else X.shape[1]].arguments(name)
        LOOPS[name].train(**{**arguments, "X": X, "Y": Y})
        tests = ({**arguments, "dev": one} for one in ((X, Y), arguments["dev"]))
        return tuple(float(evaluate_dev(name, one)[0]) for one in tests)

    given = data if side is ours else map(rows, data)
    return side.learning_curves(fit, *given, SIZES, order)


def test_curves_of_trainings_agree(rng):
    """Trained on growing parts of one order, train and dev costs agree and close the gap."""
    found = []

    def closes_the_gap(*problem):
        found[:] = [curves_of(ours, *problem)]
        gaps = found[0].dev - found[0].train
        return gaps[0] > 2 * gaps[-1] > 0

    problem = draw_until(closes_the_gap, lambda: draw_problem(rng))
    (mine,), other = found, curves_of(theirs, *problem)
    assert_close(mine.train, other.train.numpy(), "train cost", budget=TRAINING)
    assert_close(mine.dev, other.dev.numpy(), "dev cost", budget=TRAINING)
