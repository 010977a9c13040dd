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
from parity_tests.compare.budgets import WIDE
from parity_tests.compare.fingerprints import unmodified
from parity_tests.compare.side_effects import globals_untouched
from parity_tests.tests.meta import lies

pytestmark = pytest.mark.usefixtures("unrecorded")

#: modules whose examples are run.
DOCUMENTED = (
    *("parity_tests.user_code", "parity_tests.compare.functions", "parity_tests.compare.locate"),
    *("parity_tests.compare.measurement", "parity_tests.compare.optimizers"),
    *("scratch.training", "scratch.network", "scratch.optimizers"),
    *("torch_ref.training", "torch_ref.network", "torch_ref.optimizers"),
)
X = np.arange(1.0, 5.0)
INPUTS, SWAPPED = {"Z": X}, X.astype(np.dtype(float).newbyteorder())


def asked(ours=np.tanh, theirs=torch.tanh, inputs=INPUTS, **choices):
    return lambda: assert_parity(ours, theirs, inputs, **choices)


def named(**names):
    return asked(theirs=nn.PReLU(), names=names)


def walked(ours=lies.GD, theirs=lies.SGD, **choices):
    return lambda: assert_same_trajectory(ours, theirs, {"W1": np.ones((2, 3))}, 0, **choices)


# fmt: off
#: messages, after "expected", and the comparisons that are asked wrongly.
WRONG = {
    "ours to be a function, got NoneType": asked(None),
    "gauges to be a function, got dict": asked(gauges={}),
    "a mapping of names to arrays, got list": asked(inputs=[X]),
    "a NumPy array, got MaskedArray": asked(inputs={"Z": lies.MASKED}),
    "got int64: what has no gradient goes into constants": asked(inputs={"Z": np.arange(3)}),
    "Z in the byte order of this machine, got": asked(inputs={"Z": SWAPPED}),
    "one dtype for all inputs, got": asked(inputs={**INPUTS, "y": np.ones(2, "f4")}),
    "Z to be finite and not empty, got": asked(inputs={"Z": X * np.nan}),
    "constants to be a mapping of names, got list": asked(constants=[1]),
    r"\['Z'\] in inputs or in constants, got both": asked(constants={"Z": 1}),
    "budget to be a Budget or a number of eps, got str": asked(budget="16"),
    "a number of eps above 0, got 0": asked(gradient_budget=0),
    "a number of eps above 0, got inf": asked(budget=np.inf),
    "witnessed to be a whole number from 1, got 0": asked(witnessed=0),
    "rng to be a generator or a seed, got str": asked(rng="0"),
    "a device that is here, got 'tpu9'": asked(device="tpu9"),
    "a device that holds numbers, got 'meta'$": asked(device="meta"),
    "layout to be one of 'as it is', 'columns' or": asked(layout="rows"),
    "names only beside a module": asked(names={"Z": "weight"}),
    r"from \['Z'\] to \['weight'\], got 'Z': 'bias'": named(Z="bias"),
    r"Z of shape \(1,\), as weight .*, got \(4,\)": named(Z="weight"),
    "ours to return one array, got a tuple": asked(lambda Z: (Z, Z)),
    r"ours to return \(output, .*ndarray": asked(backward=lambda d, _: {"Z": d}),
    "backward to return a .*, got ndarray": asked(lies.forward, backward=lambda d, _: d),
    "theirs to return one tensor, got tuple": asked(theirs=lambda x: (x, x)),
    "1 inputs and constants for tanh, got": asked(constants={"k": X}),
    "ours to have init and update, got NoneType": walked(None),
    "theirs to be a function, got str": walked(theirs="SGD"),
    "an optimizer with a step, got int": walked(theirs=len),
    "with a step, got the class SGD": walked(theirs=lambda _: torch.optim.SGD),
    "groups to be a whole number from 1, got 1.5": walked(groups=1.5),
}
# fmt: on


@pytest.mark.parametrize("says", WRONG)
def test_wrong_arguments_are_refused(says):
    with pytest.raises((TypeError, ValueError), match=f"expected .*{says}"):
        WRONG[says]()


def test_a_seed_is_one_draw(rng):
    """The same upstream gradient for a seed; the global generators stay where they are."""
    drawn, x = [], lies.draw(rng)

    def keeping(d, a):
        drawn.extend([d] if d.dtype == np.float64 else [])
        return lies.backward(d, a)

    with globals_untouched():
        for seed in (0, 0, 1, np.random.default_rng(1)):
            assert_parity(lies.forward, torch.tanh, x, backward=keeping, rng=seed)
    first, same, other, last = (one.tolist() for one in drawn)
    assert first == same != other == last


NARROW = {
    "it turns longdouble into float64": lambda A: A.astype(float),
    "it rounds to float64 inside": lambda A: A.astype(float).astype(A.dtype),
}


@pytest.mark.skipif(not WIDE, reason="longdouble is no wider here")
@pytest.mark.parametrize("reason", NARROW)
def test_a_missing_witness_is_said(reason, rng):
    """Where it passes, and on the failure; differences in float64 find who is wrong."""
    forward, backward = lies.pair(NARROW[reason])
    steep, Z = lies.pair(slope=lies.times(1.001))[1], lies.draw(rng)
    found = assert_parity(forward, torch.tanh, Z, backward=backward)
    assert found.witness == f"witness: differences in float64, as {reason}"
    with pytest.raises(AssertionError, match="contradicts ours") as caught:
        assert_parity(forward, torch.tanh, Z, backward=steep)
    if "turns" in reason:
        assert caught.value.__notes__ == [found.witness]
        with pytest.raises(AssertionError, match="output differs") as caught:
            assert_parity(lambda Z: 1.1 * forward(Z)[0], torch.tanh, Z)
        assert caught.value.__notes__ == [f"no third witness: {reason}"]


def test_a_module_stays_as_it_was():
    module, inputs = nn.BatchNorm1d(3), lies.shaped(**lies.NORM)(np.random.default_rng(0))
    with unmodified({"module": module}):
        assert [*assert_parity(lies.batch_norm, module, inputs).errors] == ["output"]


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
