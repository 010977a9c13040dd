"""Validation of the arguments that people hand to `assert_parity` and `assert_same_trajectory`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from parity_tests.compare.bridge import AS_IT_IS, BY_NAME, Bridge
from parity_tests.compare.budgets import FORWARD, Budget
from parity_tests.compare.measurement import Array

#: the backward of somebody else's function.
Backward = Callable[[Any, Any], Mapping[str, Array]]

#: names of ways across; a pair of converters does as well.
LAYOUTS: Mapping[str, Bridge] = {"as it is": AS_IT_IS, "columns": BY_NAME}


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _require(fine: Any, expected: str, got: Any, error: type[Exception] = TypeError) -> None:
    if not fine:
        raise error(f"expected {expected}, got {got}")


def refuse_functions(**functions: Any) -> None:
    """Raise TypeError for what cannot be called; backward and gauges may be None."""
    for name, one in functions.items():
        optional = one is None and name in ("backward", "gauges")
        _require(optional or callable(one), f"{name} to be a function", _kind(one))


def check_inputs(inputs: Any) -> dict[str, Array]:
    """Return the inputs as a dict; refuse what cannot be differentiated."""
    mapping = isinstance(inputs, Mapping)
    _require(mapping, "inputs to be a mapping of names to arrays", _kind(inputs))
    _require(inputs, "inputs to hold at least one array", "none", ValueError)
    for name, array in inputs.items():
        _require(isinstance(name, str), "the names of inputs to be strings", repr(name))
        plain = isinstance(array, np.ndarray | np.floating)
        special = isinstance(array, np.ma.MaskedArray | np.matrix)
        _require(plain and not special, f"{name} to be a NumPy array", _kind(array))
        known = array.dtype.type in (np.float32, np.float64)
        got = f"{array.dtype}: what has no gradient goes into constants"
        _require(known, f"{name} to be float32 or float64", got)
        _refuse_byte_order({name: array})
        finite = array.size and np.isfinite(array).all()
        _require(finite, f"{name} to be finite and not empty", repr(array), ValueError)
    dtypes = {name: str(array.dtype) for name, array in inputs.items()}
    _require(len({*dtypes.values()}) == 1, "one dtype for all inputs", dtypes)
    return dict(inputs)


def check_constants(constants: Any, inputs: Mapping[str, Array]) -> dict[str, Any]:
    constants = {} if constants is None else constants
    _require(isinstance(constants, Mapping), "constants to be a mapping of names", _kind(constants))
    both = sorted(constants.keys() & inputs.keys())
    _require(not both, f"{both} in inputs or in constants", "both", ValueError)
    _refuse_byte_order({n: one for n, one in constants.items() if isinstance(one, np.ndarray)})
    return dict(constants)


def _refuse_byte_order(arrays: Mapping[str, Array]) -> None:
    """Raise TypeError for an array whose bytes torch cannot read as they lie."""
    for name, one in arrays.items():
        _require(one.dtype.isnative, f"{name} in the byte order of this machine", one.dtype)


def check_budget(name: str, bound: Any, kind: str) -> Budget:
    if isinstance(bound, Budget):
        return replace(bound, kind=kind)
    number = isinstance(bound, Real) and not isinstance(bound, bool)
    _require(number, f"{name} to be a Budget or a number of eps", _kind(bound))
    _require(0 < bound < np.inf, f"{name} to be a number of eps above 0", bound, ValueError)
    return replace(FORWARD, name=f"your {name}", eps=float(bound), reason="yours", kind=kind)


def check_whole(name: str, value: Any) -> int:
    whole = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
    _require(whole, f"{name} to be a whole number from 1", repr(value), ValueError)
    return int(value)


def check_rng(rng: Any) -> np.random.Generator:
    fine = isinstance(rng, np.random.Generator | int) and not isinstance(rng, bool)
    _require(fine, "rng to be a generator or a seed", _kind(rng))
    return np.random.default_rng(rng)


def check_device(device: Any) -> str:
    """Return the device; refuse one that is not here, or holds no numbers."""
    _require(isinstance(device, str), "device to be a string", _kind(device))
    try:
        empty = torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts it
        raise ValueError(f"expected a device that is here, got {device!r}: {error}") from error
    _require(not empty.is_meta, "a device that holds numbers", repr(device), ValueError)
    return str(device)


def check_optimizer(made: Any) -> torch.optim.Optimizer:
    """Return the optimizer that a function of theirs made; refuse what takes no step."""
    steps = callable(getattr(made, "step", None)) and not isinstance(made, type)
    _require(steps, "theirs to make an optimizer with a step", _kind(made))
    return made  # type: ignore[no-any-return]


def check_layout(layout: Any) -> Bridge:
    if isinstance(layout, str) and layout in LAYOUTS:
        return LAYOUTS[layout]
    functions = layout[:2] if isinstance(layout, Bridge) else layout
    pair = isinstance(functions, tuple) and len(functions) == 2 and all(map(callable, functions))
    known = ", ".join(map(repr, LAYOUTS))
    expected = f"layout to be one of {known} or the two functions of a Bridge"
    _require(pair, expected, repr(layout), ValueError)
    return Bridge(*layout)


def as_function(
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    names: Mapping[str, str] | None,
    bridge: Bridge,
    device: str,
) -> Callable[..., torch.Tensor]:
    """Return a function of the inputs, some of which a module has as its parameters."""
    if not isinstance(theirs, torch.nn.Module):
        expected = "names only beside a module, whose parameters they are"
        _require(names is None, expected, names, ValueError)
        return theirs
    _require(names is None or isinstance(names, Mapping), "names to be a mapping", _kind(names))
    module, parameters = theirs, dict(theirs.named_parameters())
    loaded = {name: name for name in inputs if name in parameters} if names is None else dict(names)
    for name, own in loaded.items():
        known = name in inputs and own in parameters
        expected = f"names to lead from {list(inputs)} to {list(parameters)}"
        _require(known, expected, f"{name!r}: {own!r}", ValueError)
        shape, here = parameters[own].shape, bridge.to_torch(name, inputs[name], "cpu").shape
        expected = f"{name} of shape {tuple(shape)}, as {own} of the module is"
        _require(shape == here, expected, tuple(here), ValueError)

    def call(*tensors: torch.Tensor, **constants: Any) -> torch.Tensor:
        dtype = tensors[0].dtype
        state = {
            name: one.detach().clone().to(device, dtype if one.is_floating_point() else one.dtype)
            for name, one in chain(module.named_parameters(), module.named_buffers())
        }
        given = dict(zip(inputs, tensors, strict=True))
        state |= {own: given.pop(name) for name, own in loaded.items()}
        arguments = tuple(given.values()), constants
        return torch.func.functional_call(module, state, *arguments)  # type: ignore[no-any-return]

    return call


def one_tensor(theirs: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:

    def call(*tensors: torch.Tensor, **constants: Any) -> torch.Tensor:
        output = theirs(*tensors, **constants)
        got = f"{_kind(output)}: compare several outputs one by one"
        _require(isinstance(output, torch.Tensor), "theirs to return one tensor", got)
        return output

    return call


def with_cache(ours: Callable[..., Any], *, expected: bool) -> Callable[..., tuple[Any, Any]]:
    """Return a forward that returns (output, cache) whether it has a cache or not."""

    def forward(**arguments: Any) -> tuple[Any, Any]:
        if isinstance(ours, np.ufunc):  # of NumPy's or SciPy's, without names
            takes = f"{ours.nin} inputs and constants for {ours.__name__}"
            _require(len(arguments) == ours.nin, takes, ", ".join(arguments))  # more are written to
            found = ours(*arguments.values())
        else:
            found = ours(**arguments)
        pair = isinstance(found, tuple)
        if expected:
            text = "ours to return (output, cache), as there is a backward"
            _require(pair and len(found) == 2, text, _kind(found))
            return tuple(found)
        got = "a tuple: (output, cache) belongs to a backward, and several outputs are compared one"
        _require(not pair, "ours to return one array", f"{got} by one")
        return found, None

    return forward


def with_names(backward: Backward) -> Callable[[Any, Any], dict[str, Array]]:
    def pull(upstream: Any, cache: Any) -> dict[str, Array]:
        found = backward(upstream, cache)
        text = "backward to return a mapping of input names to gradients"
        _require(isinstance(found, Mapping), text, _kind(found))
        return dict(found)

    return pull
