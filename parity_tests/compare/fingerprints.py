"""Fingerprints: whether a value is still what it was, to the bit and however deep inside."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from scratch.parameters import Parameters


def _refuse(value: Any) -> Any:
    raise TypeError(f"expected a value that can be looked into, got {type(value).__name__}")


def fingerprint(value: Any, *, opaque: Callable[[Any], Any] = _refuse) -> Any:
    """Return something comparable that changes whenever a value does: NaN is NaN, -0.0 is not 0.0.

    What cannot be looked into is `opaque`'s; without it that raises TypeError.
    """
    look = partial(fingerprint, opaque=opaque)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, torch.Tensor):
        gradient = value.grad if value.is_leaf else None
        return look(value.detach().cpu().numpy()), look(gradient)
    if isinstance(value, np.random.Generator):
        return pickle.dumps(value.bit_generator.state)
    if isinstance(value, torch.Generator):
        return look(value.get_state())
    if isinstance(value, torch.nn.Module):
        return look(dict(value.state_dict(keep_vars=True))), [
            (name, part.training, len(part._forward_hooks), look(_tensors(part)))
            for name, part in value.named_modules()
        ]
    if isinstance(value, torch.optim.Optimizer):
        state = value.state_dict()
        return look(state["state"]), look(state["param_groups"])
    if isinstance(value, torch.optim.lr_scheduler.LRScheduler):
        return look(value.get_last_lr())
    if isinstance(value, Parameters | Mapping):
        return [(str(name), look(one)) for name, one in value.items()]
    if isinstance(value, tuple | list):
        return type(value).__name__, [look(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return [(one.name, look(getattr(value, one.name))) for one in fields]
    if value is None or isinstance(value, bool | int | float | str | np.generic | np.dtype):
        return repr(value)
    if isinstance(value, type | torch.dtype | torch.device) or callable(value):
        return getattr(value, "__qualname__", str(value))
    return opaque(value)


def _tensors(part: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return what hangs on a module beside its parameters and buffers, such as a mask."""
    return {name: one for name, one in vars(part).items() if isinstance(one, torch.Tensor)}


def timeless(found: Any) -> Any:
    """Return a fingerprint without the seconds that a training took."""
    if isinstance(found, tuple | list):
        if len(found) == 2 and found[0] == "seconds":
            return "seconds"
        return type(found)(timeless(one) for one in found)
    return found


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
