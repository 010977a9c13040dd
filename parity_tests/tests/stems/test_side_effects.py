"""Every public function, called as in its example: what it leaves alone, and that it repeats.

No argument is modified but those that a function is there to overwrite, no global generator is
drawn from, and the same call gives the same bits again.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from parity_tests.compare.fingerprints import fingerprint, timeless
from parity_tests.compare.ledger import LEDGER
from parity_tests.tests.stems.test_bad_input import EXAMPLES, find
from torch_ref.dropout import Dropout

#: what a function is there to overwrite, by its path; generators are drawn from wherever they come.
OVERWRITTEN = {
    "scratch.training.training_steps": {"parameters", "history"},
    "scratch.training.train": {"parameters", "history"},
    "scratch.search.caviar": {"trials"},
    "torch_ref.training.training_steps": {"module", "optimizer", "history"},
    "torch_ref.training.train": {"module", "optimizer", "history"},
    "torch_ref.search.caviar": {"trials"},
    "torch_ref.parameters.from_vector": {"module"},
    "torch_ref.initializers.initialize": {"module"},
    "torch_ref.clipping.clip_by_value": {"parameters"},
    "torch_ref.clipping.clip_by_global_norm": {"parameters"},
}
for _path in EXAMPLES:
    if _path.startswith("torch_ref.initializers") and not _path.endswith("initialize"):
        OVERWRITTEN[_path] = {"W"}
    elif _path.startswith("torch_ref.schedules"):
        OVERWRITTEN[_path] = {"optimizer"}  # whose learning rate it holds from then on
GENERATORS = {"rng", "generator"}

#: what an example must be for the function to have something to overwrite.
CHANGED = {"torch_ref.parameters.from_vector": {"vector": torch.ones(38, dtype=torch.float64)}}

CALLS = {
    **{path: {**arguments, **CHANGED.get(path, {})} for path, arguments in EXAMPLES.items()},
}


def walked(result):
    """Return the fingerprint of a result; a generator's of all that it yields, as it yields it."""
    if inspect.isgenerator(result) or hasattr(result, "__next__"):
        return [fingerprint(one) for one in result]
    return fingerprint(result)


@contextmanager
def globals_untouched():
    """Raise AssertionError if Python's, NumPy's or torch's global generator is drawn from."""
    looks = {
        "random": random.getstate,
        "numpy.random": lambda: pickle.dumps(np.random.get_state()),
        "torch": lambda: torch.get_rng_state().numpy().tobytes(),
    }
    before = {name: look() for name, look in looks.items()}
    yield
    moved = [name for name, look in looks.items() if look() != before[name]]
    if moved:
        raise AssertionError(f"the global generator of {', '.join(moved)} was drawn from")


def assert_pure(function, example, overwritten=frozenset()):
    """Raise AssertionError unless a call changes what it should alone, and again does the same."""
    results = []
    for _ in range(2):
        arguments = copy.deepcopy(example)
        before = {name: fingerprint(value) for name, value in arguments.items()}
        with globals_untouched():
            results.append(walked(function(**arguments)))
        changed = {name for name, value in arguments.items() if fingerprint(value) != before[name]}
        if changed - GENERATORS != overwritten:
            raise AssertionError(
                f"modified {sorted(changed - GENERATORS)}, expected {sorted(overwritten)}"
            )
    if timeless(results[0]) != timeless(results[1]):
        raise AssertionError("the same call gave another result")


@pytest.mark.parametrize("path", CALLS)
def test_a_call_leaves_no_trace_and_repeats(path):
    """What is overwritten is what is there to be overwritten; everything else is untouched."""
    assert_pure(find(path), CALLS[path], OVERWRITTEN.get(path, frozenset()))


def test_the_exceptions_are_functions_of_today():
    """No exception outlives its function."""
    assert OVERWRITTEN.keys() <= CALLS.keys()


def _modifies_deep_inside(cache):
    cache[1]["A"][0, 0] += 1e-300
    return 1.0


def _modifies_a_module(module):
    with torch.no_grad():
        module.bias[0] += 1e-7


def _leaves_a_gradient(module):
    module.weight.sum().backward()


def _changes_the_mode(module):
    module.eval()


def _remembers(Z, seen=[]):  # noqa: B006
    seen.append(1)
    return Z * len(seen)


def _draws_last(m):
    yield m
    yield np.random.default_rng().random(m)


LIES = {
    "an array deep inside": (
        _modifies_deep_inside,
        {"cache": ("name", {"A": np.zeros((2, 2))})},
        "modified",
    ),
    "the sign of a zero": (
        lambda Z: np.negative(Z, out=Z).sum(),
        {"Z": np.zeros(2)},
        "modified",
    ),
    "a parameter of a module": (
        _modifies_a_module,
        {"module": torch.nn.Linear(2, 2)},
        "modified",
    ),
    "a gradient left behind": (
        _leaves_a_gradient,
        {"module": torch.nn.Linear(2, 2)},
        "modified",
    ),
    "a module's mode": (_changes_the_mode, {"module": torch.nn.Linear(2, 2)}, "modified"),
    "an entry of a list": (lambda orders: orders.pop(), {"orders": [1, 2]}, "modified"),
    "numpy's generator": (lambda m: 0 * np.random.rand(m), {"m": 2}, "numpy.random was drawn"),
    "numpy's generator, seeded": (lambda m: np.random.seed(m), {"m": 2}, "numpy.random was drawn"),
    "torch's generator": (lambda m: 0 * torch.rand(m), {"m": 2}, "torch was drawn"),
    "python's generator": (lambda m: 0 * random.random(), {"m": 2}, "random was drawn"),
    "a generator nobody handed in": (
        lambda m: np.random.default_rng().random(m),
        {"m": 2},
        "another result",
    ),
    "the same, in the last thing it yields": (_draws_last, {"m": 2}, "another result"),
    "a memory of the last call": (_remembers, {"Z": np.ones(2)}, "another result"),
    "the last bit": (
        lambda Z, seen=[0.0]: (seen.append(2.0**-52), Z + seen[-1] * len(seen))[1],
        {"Z": np.ones(2)},
        "another result",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_side_effect_is_seen(lie):
    """Each kind, planted in a function of its own."""
    function, example, message = LIES[lie]
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=message):
        assert_pure(function, example)


def test_what_should_be_overwritten_and_is_not_is_seen():
    """The list of exceptions is exact: a training that trains nothing fails as well."""
    with pytest.raises(AssertionError, match="modified"):
        assert_pure(lambda Z: Z.sum(), {"Z": np.ones(2)}, {"Z"})


def test_what_cannot_be_looked_into_is_refused():
    """An argument or a result of another kind is no proof."""
    with pytest.raises(TypeError, match="expected a value that can be looked into, got object"):
        assert_pure(lambda Z: 1, {"Z": object()})


def test_dropout_without_a_mask_is_torchs_own():
    """The one layer that draws from the global generator says so; with a mask it draws nothing."""
    layer, A = Dropout(0.5), torch.ones(4, 3)
    with pytest.raises(AssertionError, match="generator of torch"), globals_untouched():
        layer(A)
    layer.mask = 2 * torch.ones(4, 3)
    with globals_untouched():
        layer(A)
        layer.eval()
        layer(A)
    assert "global generator" in str(inspect.getdoc(Dropout))


def test_importing_draws_nothing():
    """Reloading a module on either side leaves the global generators where they stand."""
    with globals_untouched():
        for name in ("scratch.initializers", "torch_ref.initializers"):
            importlib.reload(importlib.import_module(name))
