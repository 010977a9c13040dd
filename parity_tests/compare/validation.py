"""Validation of the arguments that people hand to `assert_parity` and `assert_same_trajectory`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from numbers import Real
from typing import Any

import numpy as np
import torch

from parity_tests.compare.bridge import AS_IT_IS, BY_NAME, Bridge
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.measurement import Array
from scratch import _validation as kinds
from scratch._validation import Expected, Instance, Seen

#: names of ways across; a pair of converters does as well.
LAYOUTS: Mapping[str, Bridge] = {"as it is": AS_IT_IS, "columns": BY_NAME}

#: dtypes that torch can differentiate as their bytes lie.
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def _require(fine: Any, expected: str, got: Any, error: type[Exception] = TypeError) -> None:
    if not fine:
        raise error(f"expected {expected}, got {got}")


class Inputs:
    """Arrays by name that can be differentiated, finite and of one dtype."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        Instance(Mapping).check(name, value, seen)
        _require(value, f"{name} to hold at least one array", "none", ValueError)
        for key, array in value.items():
            Instance(str).check(f"a name of {name}", key, seen)
            Instance(np.ndarray, np.floating).check(key, array, seen)
            expected = f"{key} to be float32 or float64 in the byte order of this machine"
            got = f"{array.dtype}: what has no gradient goes into constants"
            _require(array.dtype in DTYPES, expected, got)
            axes = range(len(seen.lengths), len(seen.lengths) + array.ndim)
            kinds.Floats(" ".join(f"n{axis}" for axis in axes)).check(key, array, seen)


class Constants:
    """Values by name, whose arrays torch can read as their bytes lie."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        Instance(Mapping).check(name, value, seen)
        for key, one in value.items():
            native = not isinstance(one, np.ndarray) or one.dtype.isnative
            _require(native, f"{key} in the byte order of this machine", getattr(one, "dtype", one))


@dataclass(frozen=True)
class Fitting:
    """An argument of one of some types, none a bool, of which a condition holds."""

    expected: str
    holds: Callable[[Any], Any]
    types: tuple[type, ...]

    def check(self, name: str, value: Any, seen: Seen) -> None:
        kind = isinstance(value, self.types) and not isinstance(value, bool)
        error = ValueError if kind else TypeError
        fine = kind and self.holds(value)
        _require(fine, f"{name} {self.expected}", kinds.describe(value), error)


class Rule:
    """An object with the methods of an optimizer of `scratch`."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        methods = (getattr(value, one, None) for one in ("init", "update"))
        fine = all(map(callable, methods))
        _require(fine, f"{name} to have init and update", kinds.describe(value))


def _holds_numbers(device: Any) -> bool:
    try:
        return not torch.empty(0, device=device).is_meta
    except (RuntimeError, TypeError, AssertionError):  # torch built without CUDA asserts it
        return False


def _is_layout(layout: Any) -> bool:
    functions = LAYOUTS.get(layout) if isinstance(layout, str) else layout
    return isinstance(functions, tuple) and all(map(callable, functions[:2])) and len(functions) > 1


def _is_budget(bound: Any) -> bool:
    return isinstance(bound, Budget) or (isinstance(bound, Real) and 0 < float(bound) < np.inf)


# fmt: off
_BUDGET = Fitting("to be a Budget or a number of eps above 0", _is_budget, (Budget, Real))
_LAYOUT = f"to be one of {', '.join(map(repr, LAYOUTS))} or the two functions of a Bridge"
_FUNCTION, _HERE = kinds.Function(), "to be a device that is here and holds numbers"
_SEEDED = Fitting("to be a generator or a seed", lambda rng: True, (np.random.Generator, int))
_SHARED: Mapping[str, Expected] = {
    "theirs": _FUNCTION, "rng": _SEEDED, "device": Fitting(_HERE, _holds_numbers, (str,)),
    "budget": _BUDGET, "float32_floor": _BUDGET,
}

#: expectations of the arguments of `assert_same_trajectory` and of `assert_parity`.
TRAJECTORY: Mapping[str, Expected] = {
    **_SHARED, "ours": Rule(), "parameters": Inputs(),
    "steps": kinds.Whole(1), "groups": kinds.Whole(1),
}
PARITY: Mapping[str, Expected] = {
    **_SHARED, "ours": _FUNCTION, "inputs": Inputs(), "constants": kinds.Optional(Constants()),
    "names": kinds.Optional(Instance(Mapping)), "witnessed": kinds.Whole(1),
    **dict.fromkeys(("backward", "gauges"), kinds.Optional(_FUNCTION)),
    "gradient_budget": _BUDGET, "layout": Fitting(_LAYOUT, _is_layout, (object,)),
}
# fmt: on


def as_budget(name: str, bound: Any, kind: str) -> Budget:
    if isinstance(bound, Budget):
        return replace(bound, kind=kind)
    return replace(FORWARD, name=f"your {name}", eps=float(bound), reason="yours", kind=kind)


def as_bridge(layout: Any) -> Bridge:
    return LAYOUTS[layout] if isinstance(layout, str) else Bridge(*layout)


def as_function(
    theirs: Callable[..., torch.Tensor], inputs: Mapping[str, Array],
    names: Mapping[str, str] | None, bridge: Bridge, device: str,
) -> Callable[..., torch.Tensor]:  # fmt: skip
    """Return a function of the inputs, some of which a module has as its parameters."""
    if not isinstance(theirs, torch.nn.Module):
        expected = "names only beside a module, whose parameters they are"
        _require(names is None, expected, names, ValueError)
        return theirs
    module, parameters = theirs, dict(theirs.named_parameters())
    loaded = {name: name for name in inputs if name in parameters} if names is None else dict(names)
    for name, own in loaded.items():
        known = name in inputs and own in parameters
        expected = f"names to lead from {list(inputs)} to {list(parameters)}"
        _require(known, expected, f"{name!r}: {own!r}", ValueError)
        shape, here = parameters[own].shape, bridge.to_torch(name, inputs[name], "cpu").shape
        expected = f"{name} of shape {tuple(shape)}, as {own} of the module is"
        _require(shape == here, expected, tuple(here), ValueError)

    def call(*tensors: torch.Tensor, **constants: Any) -> Any:
        dtype = tensors[0].dtype
        state = {
            name: one.detach().clone().to(device, dtype if one.is_floating_point() else one.dtype)
            for name, one in chain(module.named_parameters(), module.named_buffers())
        }
        given = dict(zip(inputs, tensors, strict=True))
        state |= {own: given.pop(name) for name, own in loaded.items()}
        return torch.func.functional_call(module, state, tuple(given.values()), constants)

    return call


def with_cache(ours: Callable[..., Any], *, expected: bool) -> Callable[..., tuple[Any, Any]]:
    """Return a forward that returns (output, cache) whether it has a cache or not."""
    wanted = "(output, cache), as there is a backward"
    if not expected:
        wanted = "one array: a cache belongs to a backward, several outputs are compared one by one"

    def forward(**arguments: Any) -> tuple[Any, Any]:
        if isinstance(ours, np.ufunc):  # of NumPy's or SciPy's, without names
            takes = f"{ours.nin} inputs and constants for {ours.__name__}"
            _require(len(arguments) == ours.nin, takes, ", ".join(arguments))  # more are written to
        found = ours(*arguments.values()) if isinstance(ours, np.ufunc) else ours(**arguments)
        fine = isinstance(found, tuple) == expected and (not expected or len(found) == 2)
        _require(fine, f"ours to return {wanted}", type(found).__name__)
        return tuple(found) if expected else (found, None)

    return forward
