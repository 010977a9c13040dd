"""The door of `assert_parity`: what it compares and what it refuses."""

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

#: what a stranger's backward is.
Backward = Callable[[Any, Any], Mapping[str, Array]]

#: how arrays may cross, besides by a pair of converters.
LAYOUTS: Mapping[str, Bridge] = {"as it is": AS_IT_IS, "columns": BY_NAME}


def refuse_functions(**functions: Any) -> None:
    """Raise TypeError for what cannot be called; backward and gauges may be None."""
    for name, function in functions.items():
        if not callable(function) and not (function is None and name in ("backward", "gauges")):
            raise TypeError(f"expected {name} to be a function, got {type(function).__name__}")


def admit_inputs(inputs: Any) -> dict[str, Array]:
    """Return the inputs as a dict; refuse what cannot be differentiated."""
    if not isinstance(inputs, Mapping):
        raise TypeError(
            f"expected inputs to be a mapping of names to arrays, got {type(inputs).__name__}"
        )
    if not inputs:
        raise ValueError("expected inputs to hold at least one array, got none")
    dtypes = {}
    for name, array in inputs.items():
        if not isinstance(name, str):
            raise TypeError(f"expected the names of inputs to be strings, got {name!r}")
        plain = isinstance(array, np.ndarray | np.floating)
        if not plain or isinstance(array, np.ma.MaskedArray | np.matrix):
            raise TypeError(f"expected {name} to be a NumPy array, got {type(array).__name__}")
        if array.dtype.type not in (np.float32, np.float64):
            raise TypeError(
                f"expected {name} to be float32 or float64, got {array.dtype}: what has no "
                "gradient goes into constants"
            )
        _refuse_byte_order(name, array)
        if not array.size or not np.isfinite(array).all():
            raise ValueError(f"expected {name} to be finite and not empty, got {array!r}")
        dtypes[name] = str(array.dtype)
    if len(set(dtypes.values())) > 1:
        raise TypeError(f"expected one dtype for all inputs, got {dtypes}")
    return dict(inputs)


def admit_constants(constants: Any, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """Return the constants as a dict, none by default."""
    if constants is None:
        return {}
    if not isinstance(constants, Mapping):
        raise TypeError(
            f"expected constants to be a mapping of names, got {type(constants).__name__}"
        )
    if both := constants.keys() & inputs.keys():
        raise ValueError(f"expected {sorted(both)} in inputs or in constants, got both")
    for name, value in constants.items():
        if isinstance(value, np.ndarray):
            _refuse_byte_order(name, value)
    return dict(constants)


def _refuse_byte_order(name: str, array: Any) -> None:
    """Raise TypeError for an array whose bytes torch cannot read as they lie."""
    if not array.dtype.isnative:
        raise TypeError(f"expected {name} in the byte order of this machine, got {array.dtype}")


def admit_budget(name: str, bound: Any, kind: str) -> Budget:
    """Return a budget that was given, or was given as a number of eps."""
    if isinstance(bound, Budget):
        return replace(bound, kind=kind)
    if isinstance(bound, bool) or not isinstance(bound, Real):
        raise TypeError(
            f"expected {name} to be a Budget or a number of eps, got {type(bound).__name__}"
        )
    if not 0 < float(bound) < np.inf:
        raise ValueError(f"expected {name} to be a number of eps above 0, got {bound}")
    return replace(FORWARD, name=f"your {name}", eps=float(bound), reason="yours", kind=kind)


def admit_whole(name: str, value: Any) -> int:
    """Return a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"expected {name} to be a whole number from 1, got {value!r}")
    return int(value)


def admit_rng(rng: Any) -> np.random.Generator:
    """Return the generator that was given, or one of the seed that was."""
    if isinstance(rng, bool) or not isinstance(rng, np.random.Generator | int):
        raise TypeError(f"expected rng to be a generator or a seed, got {type(rng).__name__}")
    return np.random.default_rng(rng)


def admit_device(device: Any) -> str:
    """Return the device; refuse one that is not here, or holds no numbers."""
    if not isinstance(device, str):
        raise TypeError(f"expected device to be a string, got {type(device).__name__}")
    try:
        empty = torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts it
        raise ValueError(f"expected a device that is here, got {device!r}: {error}") from error
    if empty.is_meta:
        raise ValueError(f"expected a device that holds numbers, got {device!r}")
    return device


def admit_optimizer(made: Any) -> torch.optim.Optimizer:
    """Return the optimizer that a function of theirs made; refuse what takes no step."""
    if isinstance(made, type) or not callable(getattr(made, "step", None)):
        got = f"the class {made.__name__}" if isinstance(made, type) else type(made).__name__
        raise TypeError(f"expected theirs to make an optimizer with a step, got {got}")
    optimizer: torch.optim.Optimizer = made
    return optimizer


def admit_layout(layout: Any) -> Bridge:
    """Return the bridge of a layout."""
    if isinstance(layout, str) and layout in LAYOUTS:
        return LAYOUTS[layout]
    functions = layout[:2] if isinstance(layout, Bridge) else layout
    if isinstance(functions, tuple) and len(functions) == 2 and all(map(callable, functions)):
        return Bridge(*layout)
    raise ValueError(
        f"expected layout to be one of {', '.join(map(repr, LAYOUTS))} or the two functions of a "
        f"Bridge, got {layout!r}"
    )


def as_function(
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    names: Mapping[str, str] | None,
    bridge: Bridge,
    device: str,
) -> Callable[..., torch.Tensor]:
    """Return a function of the inputs, some of which a module has as its parameters."""
    if not isinstance(theirs, torch.nn.Module):
        if names is not None:
            raise ValueError("expected names only beside a module, whose parameters they are")
        return theirs
    if names is not None and not isinstance(names, Mapping):
        raise TypeError(f"expected names to be a mapping of names, got {type(names).__name__}")
    module, parameters = theirs, dict(theirs.named_parameters())
    loaded = {name: name for name in inputs if name in parameters} if names is None else dict(names)
    for name, own in loaded.items():
        if name not in inputs or own not in parameters:
            raise ValueError(
                f"expected names to lead from {list(inputs)} to {list(parameters)}, "
                f"got {name!r}: {own!r}"
            )
        shape, here = parameters[own].shape, bridge.to_torch(name, inputs[name], "cpu").shape
        if shape != here:
            raise ValueError(
                f"expected {name} of shape {tuple(shape)}, as {own} of the module is, "
                f"got {tuple(here)}"
            )

    def call(*tensors: torch.Tensor, **constants: Any) -> torch.Tensor:
        dtype = tensors[0].dtype
        state = {
            name: one.detach().clone().to(device, dtype if one.is_floating_point() else one.dtype)
            for name, one in chain(module.named_parameters(), module.named_buffers())
        }
        given = dict(zip(inputs, tensors, strict=True))
        state |= {own: given.pop(name) for name, own in loaded.items()}
        output: torch.Tensor = torch.func.functional_call(
            module, state, tuple(given.values()), constants
        )
        return output

    return call


def one_tensor(theirs: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Refuse another answer than a tensor."""

    def call(*tensors: torch.Tensor, **constants: Any) -> torch.Tensor:
        output = theirs(*tensors, **constants)
        if not isinstance(output, torch.Tensor):
            raise TypeError(
                f"expected theirs to return one tensor, got {type(output).__name__}: compare "
                "several outputs one by one"
            )
        return output

    return call


def with_cache(ours: Callable[..., Any], *, expected: bool) -> Callable[..., tuple[Any, Any]]:
    """Return a forward that returns (output, cache) whether it has a cache or not."""

    def forward(**arguments: Any) -> tuple[Any, Any]:
        if isinstance(ours, np.ufunc):  # of NumPy's or SciPy's, without names
            if len(arguments) != ours.nin:  # one more would be written to
                raise TypeError(
                    f"expected {ours.nin} inputs and constants for {ours.__name__}, got "
                    f"{', '.join(arguments)}"
                )
            found = ours(*arguments.values())
        else:
            found = ours(**arguments)
        if not expected:
            if isinstance(found, tuple):
                raise TypeError(
                    f"expected ours to return one array, got a tuple of {len(found)}: (output, "
                    "cache) belongs to a backward, and several outputs are compared one by one"
                )
            return found, None
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(
                "expected ours to return (output, cache), as there is a backward, got "
                f"{type(found).__name__}"
            )
        return found

    return forward


def with_names(backward: Backward) -> Callable[[Any, Any], dict[str, Array]]:
    """Refuse gradients without names."""

    def pull(upstream: Any, cache: Any) -> dict[str, Array]:
        gradients = backward(upstream, cache)
        if not isinstance(gradients, Mapping):
            raise TypeError(
                "expected backward to return a mapping of input names to gradients, got "
                f"{type(gradients).__name__}"
            )
        return dict(gradients)

    return pull
