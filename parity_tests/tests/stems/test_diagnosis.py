"""Diagnosis beside its rows: fits and sizes, plain results, the recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from parity_tests import TRAINING, assert_close
from parity_tests.compare.bridge import rows, twin
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

SIDES = pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
DATA, LABELS = np.array([[0.5, -1.0, 2.0, 0.1]]), np.array([[0.0, 1.0, 1.0, 0.0]])


def curves(side, found, sizes):
    data = (DATA, LABELS) if side is ours else (rows(DATA), rows(LABELS))
    return side.learning_curves(lambda X, Y: found, *data, sizes, np.array([2, 0, 3, 1]))


@SIDES
def test_a_fit_returns_two_numbers_for_each_size(side):
    """Sizes come in any sequence, and are returned as an array of their own."""
    for bad in (0.5, (0.5,), (0.5, None), [0.5, 0.5], (0.5, 0.5, 0.5)):
        with pytest.raises(TypeError, match="expected fit to return two real numbers"):
            curves(side, bad, [2])
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
    assert side.diagnose(0.0, 0.0201).name == "high variance"
    assert side.diagnose(0.0, 0.0199).name == "neither"
    assert side.diagnose(0.0201, 0.0).name == "high bias"
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


SIZES = [5, 20, 60]


RUN = {"epochs": 15, "batch_size": 20}


def draw_problem(rng):
    """Draw a network's initial parameters, noisy train and dev data, and an epoch's orders."""
    network = Network(layer_sizes=(2, 8, 1), hidden="tanh")
    parameters = initialize(network.layer_sizes, "xavier", rng)

    def draw(m):
        X = rng.standard_normal((2, m))
        return X, (X[:1] * X[1:] + 0.8 * rng.standard_normal((1, m)) > 0).astype(float)

    orders = {size: draw_orders(size, RUN["epochs"], rng) for size in SIZES}
    return network, parameters, draw(60), draw(80), orders, draw_order(60, rng)


def our_curves(network, parameters, data, dev, orders, order):
    """Return our curves of the same training from the same initial parameters."""

    def fit(X, Y):
        reached = parameters.copy()
        given = {"optimizer": Adam(learning_rate=0.1), "orders": orders[X.shape[1]]}
        train(network, reached, X, Y, **given, **RUN)
        return evaluate(reached, X, Y, network)[0], evaluate(reached, *dev, network)[0]

    return ours.learning_curves(fit, *data, SIZES, order)


def test_curves_of_trainings_agree(rng):
    """Trained on growing parts of one order, train and dev costs agree and close the gap."""
    problem = draw_until(
        lambda *drawn: (gaps := np.subtract(*our_curves(*drawn)[:0:-1]))[0] > 2 * gaps[-1] > 0,
        lambda: draw_problem(rng),
    )
    network, parameters, data, dev, orders, order = problem

    def fit(X, Y):
        module = twin(network, parameters)
        optimizer = adam(module.parameters(), learning_rate=0.1)
        their_training.train(module, X, Y, optimizer=optimizer, orders=orders[len(X)], **RUN)
        tests = (X, Y), tuple(map(rows, dev))
        return tuple(their_training.evaluate(module, *one)[0] for one in tests)

    mine = our_curves(*problem)
    other = theirs.learning_curves(fit, *map(rows, data), SIZES, order)
    assert_close(mine.train, other.train.numpy(), "train cost", budget=TRAINING)
    assert_close(mine.dev, other.dev.numpy(), "dev cost", budget=TRAINING)
