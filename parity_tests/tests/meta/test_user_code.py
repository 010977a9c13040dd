"""Code of other people: wrong arguments are refused, witnesses named, documented examples run."""

from __future__ import annotations

import importlib
from doctest import testmod as doctest_module

import numpy as np
import pytest
import torch
from torch import nn

import parity_tests
from parity_tests import assert_parity, assert_same_trajectory
from parity_tests.tests.meta.lies import GD, NORM, SGD, backward, batch_norm, draw, forward, shaped

X = {"x": np.arange(1.0, 5.0)}
SWAPPED = X["x"].astype(np.dtype(float).newbyteorder())
MASKED = np.ma.masked_array([1.0, 2.0], [True, False])

#: modules whose examples are run.
DOCUMENTED = (
    *("parity_tests.user_code", "parity_tests.compare.functions", "parity_tests.compare.locate"),
    *("parity_tests.compare.measurement", "parity_tests.compare.optimizers"),
    "parity_tests.compare.quantities",
    *("scratch.training", "scratch.network", "scratch.optimizers"),
    *("torch_ref.training", "torch_ref.network", "torch_ref.optimizers"),
)


pytestmark = pytest.mark.usefixtures("unrecorded")


PRELU = {"theirs": nn.PReLU()}
# fmt: off
#: wrong arguments of `assert_parity`, and the message.
WRONG = {
    "a number for ours": ({"ours": 3}, "ours to be a function, got int"),
    "a mapping for gauges": ({"gauges": {}}, "gauges to be a function, got dict"),
    "a list": ({"inputs": [X["x"]]}, "inputs to be Mapping, got list"),
    "a mask": ({"inputs": {"x": MASKED}}, "a floating NumPy array, got MaskedArray"),
    "integers": ({"inputs": {"x": np.arange(3)}}, "got int64: what has no gradient goes into con"),
    "foreign bytes": ({"inputs": {"x": SWAPPED}}, "byte order of this machine, got"),
    "two dtypes": ({"inputs": {**X, "y": np.ones(2, "f4")}}, "y of dtype float64 like x, got"),
    "NaN": ({"inputs": {"x": np.array([1.0, np.nan])}}, "x to be finite, got NaN"),
    "a list of constants": ({"constants": [1]}, "constants to be Mapping, got list"),
    "a constant input": ({"constants": {"x": 1}}, r"\['x'\] in inputs or in constants, got both"),
    "a budget in words": ({"budget": "16"}, "budget to be a Budget or a num.* got str"),
    "a budget of 0": ({"gradient_budget": 0}, "a number of eps above 0, got int 0"),
    "an infinite budget": ({"budget": np.inf}, "a number of eps above 0, got float inf"),
    "no entries": ({"witnessed": 0}, "witnessed to be at least 1, got 0"),
    "a seed in words": ({"rng": "0"}, "rng to be Generator or int, got str"),
    "a device elsewhere": ({"device": "tpu9"}, "that is here .*, got str 'tpu9'"),
    "a device without numbers": ({"device": "meta"}, "and holds numbers, got str 'meta'$"),
    "an unknown layout": ({"layout": "rows"}, "layout to be one of 'as it is', 'columns' or the"),
    "names of a function": ({"names": {"x": "weight"}}, "names only beside a module"),
    "names that lead nowhere": (
        {**PRELU, "names": {"x": "bias"}}, r"from \['x'\] to \['weight'\], got 'x': 'bias'"),
    "another shape": (
        {**PRELU, "names": {"x": "weight"}}, r"x of shape \(1,\), as weight .*, got \(4,\)"),
    "a tuple": ({"ours": lambda x: (x, x)}, "ours to return one array: .*, got tuple"),
    "no cache": ({"backward": lambda d, _: {"x": d}}, r"ours to return \(output, .*ndarray"),
    "nameless gradients": (
        {"ours": forward, "backward": lambda d, _: d}, "backward to return a .*, got ndarray"),
    "several tensors": ({"theirs": lambda x: (x, x)}, "theirs to return one tensor, got tuple"),
    "a ufunc of one more": ({"constants": {"k": X["x"]}}, "1 inputs and constants for tanh, got"),
}

#: wrong arguments of `assert_same_trajectory`, and the message.
WRONG_WALKS = {
    "no rule": ({"ours": None}, "ours to have init and update, got NoneType"),
    "no maker": ({"theirs": "SGD"}, "theirs to be a function, got str"),
    "no optimizer": ({"theirs": lambda tensors: None}, "theirs to be Optimizer, got NoneType"),
    "a class": ({"theirs": lambda tensors: torch.optim.SGD}, "theirs to be Optimizer, got .*SGD"),
    "half a seed": ({"rng": 0.5}, "rng to be Generator or int, got float"),
    "half a group": ({"groups": 1.5}, "groups to be a whole number, got float 1.5"),
}
# fmt: on


@pytest.mark.parametrize("name", WRONG)
def test_a_comparison_is_refused(name):
    wrong, says = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=f"expected .*{says}"):
        assert_parity(**{"ours": np.tanh, "theirs": torch.tanh, "inputs": X, **wrong})


@pytest.mark.parametrize("name", WRONG_WALKS)
def test_a_trajectory_is_refused(name):
    wrong, says = WRONG_WALKS[name]
    right = {"ours": GD, "theirs": SGD, "parameters": {"W1": np.ones((2, 3))}, "rng": 0}
    with pytest.raises((TypeError, ValueError), match=f"expected .*{says}"):
        assert_same_trajectory(**(right | wrong))


def test_a_seed_is_one_draw(rng):
    """The same upstream gradient for a seed; the global generators stay where they are."""
    drawn, x = [], draw(rng)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002

    def keeping(d, a):
        drawn.extend([d] if d.dtype == np.float64 else [])
        return backward(d, a)

    for seed in (0, 0, 1, np.random.default_rng(1)):
        assert_parity(forward, torch.tanh, x, backward=keeping, rng=seed, differences=False)
    first, same, other, last = drawn
    assert np.array_equal(first, same)
    assert np.array_equal(other, last)
    assert not np.array_equal(first, other)
    assert np.array_equal(states[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(states[1], torch.get_rng_state())


def insisting(x):
    return np.tanh(np.asarray(x, np.float64))


def rounding(x):
    return np.tanh(x.astype(np.float64)).astype(x.dtype)


@pytest.mark.skipif(not parity_tests.compare.budgets.WIDE, reason="longdouble is no wider here")
@pytest.mark.parametrize(
    ("ours", "reason"),
    [(insisting, "it turns longdouble into float64"), (rounding, "it rounds to float64 inside")],
)
def test_a_missing_witness_is_said(ours, reason, rng):
    """Where it passes, and on the failure; differences in float64 find who is wrong."""
    pair, x = (lambda x: (ours(x), x)), draw(rng)
    slope = lambda d, x: {"x": d * (1 - np.tanh(x) ** 2)}  # noqa: E731
    found = assert_parity(pair, torch.tanh, x, backward=slope)
    assert found.witness == f"witness: differences in float64, as {reason}"
    with pytest.raises(AssertionError, match="contradicts ours") as caught:
        assert_parity(pair, torch.tanh, x, backward=lambda d, x: {"x": 1.001 * slope(d, x)["x"]})
    if ours is insisting:
        assert caught.value.__notes__ == [found.witness]
        with pytest.raises(AssertionError, match="output differs") as caught:
            assert_parity(lambda x: 1.1 * ours(x), torch.tanh, x)
        assert caught.value.__notes__ == [f"no third witness: {reason}"]


def test_a_module_stays_as_it_was():
    module = nn.BatchNorm1d(3)
    before = {name: one.clone() for name, one in module.state_dict().items()}
    inputs = shaped(**NORM)(np.random.default_rng(0))
    assert [*assert_parity(batch_norm, module, inputs).errors] == ["output"]
    for name, one in module.state_dict().items():
        assert torch.equal(one, before[name])
        assert one.dtype == before[name].dtype


def test_the_package_offers_its_names():
    """Without torch until one of them is used."""
    assert set(parity_tests.__all__) == set(dir(parity_tests))
    assert all(getattr(parity_tests, name) is not None for name in parity_tests.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'assert_parities'"):
        _ = parity_tests.assert_parities


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_examples_of_the_documentation_run(module):
    found = doctest_module(importlib.import_module(module))
    assert (found.failed, found.attempted > 1) == (0, True)
