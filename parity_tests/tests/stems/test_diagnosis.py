"""Diagnosis beside its rows: fits and sizes, plain results, the recipe."""

import json

import numpy as np
import torch

from parity_tests import TRAINING, assert_close
from parity_tests.compare.bridge import rows
from parity_tests.compare.training import TRAINING as LOOPS
from parity_tests.compare.training import Run, evaluate_dev
from parity_tests.rows import SIDES as NAMES
from parity_tests.tests.stems.common import refused, sides
from parity_tests.twins.training import TRAIN
from scratch import diagnosis as ours
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
    refused("at most m = 4 examples, got 5", curves, side, (0.5, 0.7), [1, 2, 5])
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
    """The tolerance is 2 %, the Bayes error 0; results are numbers of Python."""
    assert side.diagnose(0.0, 0.0201).name == "high variance"
    assert side.diagnose(0.0, 0.0199).name == "neither"
    assert side.diagnose(0.0201, 0.0).name == "high bias"
    found = side.diagnose(*map(np.float64, (0.1, 0.2, 0.05)), tolerance=np.float64(0.01))
    assert [type(one) for one in found] == [float, float, bool, bool, str, tuple]
    assert json.loads(json.dumps(found._asdict()))["high_bias"] is True


def test_curves_of_trainings_agree():
    """Trained on growing parts of one order, train and dev costs agree and close the gap."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2, 140))
    Y = (X[:1] * X[1:] + 0.8 * rng.standard_normal((1, 140)) > 0).astype(float)
    data = {"X": X[:, :60], "Y": Y[:, :60], "dev": (X[:, 60:], Y[:, 60:]), "m": 60}
    choices = {"layer_sizes": (2, 8, 1), "output": "sigmoid", "epochs": 15, "l1": 0.0, "l2": 0.0}
    run, found = Run(**TRAIN.case(optimizer="adam", **choices, **data)), []
    for name, side in zip(NAMES, (ours, theirs), strict=True):
        arguments = run.arguments(name)

        def fit(X, Y, name=name):
            size = max(X.shape)
            orders = [order[order < size] for order in run.orders]
            given = {**run.arguments(name), "X": X, "Y": Y, "orders": orders}
            LOOPS[name].train(**given)
            tests = ({**given, "dev": one} for one in ((X, Y), given["dev"]))
            return tuple(float(evaluate_dev(name, one)[0]) for one in tests)

        data = arguments["X"], arguments["Y"]
        found.append(side.learning_curves(fit, *data, [5, 20, 60], np.arange(60)))
    mine, other = found
    gaps = mine.dev - mine.train
    assert gaps[0] > 2 * gaps[-1] > 0
    assert_close(mine.train, other.train.numpy(), "train cost", budget=TRAINING)
    assert_close(mine.dev, other.dev.numpy(), "dev cost", budget=TRAINING)
