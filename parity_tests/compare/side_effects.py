"""Side effects of a call: arguments modified, global generators drawn from, another result.

A fingerprint tells whether a value is still what it was, to the bit and however deep inside.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from scratch.parameters import Parameters

#: arguments that are drawn from, wherever they come.
GENERATORS = frozenset({"rng", "generator"})


def _refuse(value: Any) -> Any:
    raise TypeError(f"expected a value that can be looked into, got {type(value).__name__}")


def fingerprint(value: Any, *, opaque: Callable[[Any], Any] = _refuse) -> Any:
    """Return something that changes whenever a value does, even from 0.0 to -0.0; NaN is NaN."""
    look = partial(fingerprint, opaque=opaque)
    match value:
        case np.ndarray():
            return value.dtype.str, value.shape, value.tobytes()
        case torch.Tensor():
            gradient = value.grad if value.is_leaf else None
            return look(value.detach().cpu().numpy()), look(gradient)
        case np.random.Generator():
            return pickle.dumps(value.bit_generator.state)
        case torch.Generator():
            return look(value.get_state())
        case torch.nn.Module():
            return look(dict(value.state_dict(keep_vars=True))), [
                (name, part.training, len(part._forward_hooks), look(_tensors(part)))
                for name, part in value.named_modules()
            ]
        case torch.optim.Optimizer():
            return look(value.state_dict())
        case torch.optim.lr_scheduler.LRScheduler():
            return look(value.get_last_lr())
        case Parameters() | Mapping():
            return [(str(name), look(one)) for name, one in value.items()]
        case tuple() | list():
            return type(value).__name__, [look(one) for one in value]
        case None | bool() | int() | float() | str() | np.generic() | np.dtype():
            return repr(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value)]
        return [(n, look(getattr(value, n))) for n in names if n != "seconds"]  # no result
    if isinstance(value, type | torch.dtype | torch.device) or callable(value):
        return getattr(value, "__qualname__", str(value))
    return opaque(value)


def _tensors(part: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a module beside its parameters and buffers, such as a mask."""
    return {name: one for name, one in vars(part).items() if isinstance(one, torch.Tensor)}


def fingerprints(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fingerprint of each argument, the identity of what cannot be looked into."""
    return {name: fingerprint(value, opaque=id) for name, value in arguments.items()}


@contextmanager
def unmodified(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Raise AssertionError where an argument is modified inside, before anything else is judged."""
    before = fingerprints(arguments)
    yield
    for name, now in fingerprints(arguments).items():
        if now != before[name]:
            raise AssertionError(f"{name}: the input was modified in place")


def walked(result: Any) -> Any:
    """Return the fingerprint of a result; of all that it yields, if it is a generator."""
    if hasattr(result, "__next__"):
        return [fingerprint(one) for one in result]
    return fingerprint(result)


def _globals() -> dict[str, Any]:
    return {
        "random": random.getstate(),
        "numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


@contextmanager
def draws_from(*expected: str) -> Iterator[None]:
    """Raise AssertionError unless these of the global generators are drawn from, and no others.

    They are Python's, NumPy's, seeded here, and torch's.
    """
    kept = np.random.get_state()  # noqa: NPY002
    # a call that seeds must not find what the same call has left behind
    random.random(), np.random.seed(0), np.random.rand(), torch.rand(1)  # noqa: NPY002
    before = _globals()
    try:
        yield
        moved = {name for name, state in _globals().items() if state != before[name]}
    finally:
        np.random.set_state(kept)  # noqa: NPY002
    for name in sorted(moved ^ {*expected}):
        drawn = "was drawn from" if name in moved else "was not drawn from"
        raise AssertionError(f"the global generator of {name} {drawn}")


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
        with draws_from(*["numpy.random"] * draws):
            results.append(walked(function(**arguments)))
        changed = {name for name, value in arguments.items() if fingerprint(value) != before[name]}
        if not changed - GENERATORS <= overwritten:
            raise AssertionError(
                f"modified {sorted(changed - GENERATORS)}, expected {sorted(overwritten)}"
            )
    if results[0] != results[1]:
        raise AssertionError("the same call gave another result")
