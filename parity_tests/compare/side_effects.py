"""Side effects of a call: arguments modified, global generators drawn from, another result."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from parity_tests.compare.fingerprints import fingerprint, timeless

#: arguments that are drawn from, wherever they come.
GENERATORS = frozenset({"rng", "generator"})


def walked(result: Any) -> Any:
    """Return the fingerprint of a result; of all that it yields, if it is a generator."""
    if inspect.isgenerator(result) or hasattr(result, "__next__"):
        return [fingerprint(one) for one in result]
    return fingerprint(result)


@contextmanager
def globals_untouched() -> Iterator[None]:
    """Raise AssertionError if Python's, NumPy's or torch's global generator is drawn from."""
    looks: dict[str, Callable[[], Any]] = {
        "random": random.getstate,
        "numpy.random": lambda: pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": lambda: torch.get_rng_state().numpy().tobytes(),
    }
    # a call that seeds must not find what the same call has left behind
    random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    before = {name: look() for name, look in looks.items()}
    yield
    moved = [name for name, look in looks.items() if look() != before[name]]
    if moved:
        raise AssertionError(f"the global generator of {', '.join(moved)} was drawn from")


@contextmanager
def numpy_drawn_from() -> Iterator[None]:
    """Raise AssertionError unless NumPy's global generator, seeded here, is drawn from."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        with globals_untouched():
            yield
    except AssertionError as error:
        if "numpy.random was drawn" not in str(error):
            raise
    else:
        raise AssertionError("the global generator of numpy.random was not drawn from")
    finally:
        np.random.set_state(before)  # noqa: NPY002


def assert_pure(
    function: Callable[..., Any],
    example: Mapping[str, Any],
    overwritten: frozenset[str] = frozenset(),
    draws: bool = False,
) -> None:
    """Raise AssertionError unless a call changes only what it should, and again does the same.

    With `draws` it must draw from NumPy's global generator, which stands at one seed each time.
    """
    results = []
    for _ in range(2):
        arguments = copy.deepcopy(dict(example))
        before = {name: fingerprint(value) for name, value in arguments.items()}
        with numpy_drawn_from() if draws else globals_untouched():
            results.append(walked(function(**arguments)))
        changed = {name for name, value in arguments.items() if fingerprint(value) != before[name]}
        if not changed - GENERATORS <= overwritten:
            raise AssertionError(
                f"modified {sorted(changed - GENERATORS)}, expected {sorted(overwritten)}"
            )
    if timeless(results[0]) != timeless(results[1]):
        raise AssertionError("the same call gave another result")
