"""Comparisons of functions and their gradients, that refuse to prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from parity_tests.compare import measurement, quantities, witnesses
from parity_tests.compare.bridge import BY_NAME, Bridge
from parity_tests.compare.budgets import FLOAT32_FLOOR, FORWARD, GRADIENT, WIDEST, Budget
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import Array
from parity_tests.compare.quantities import RUN, Quantity, hold
from parity_tests.compare.side_effects import unmodified
from parity_tests.compare.witnesses import Difference, cast

Backward = Callable[[Any, Any], Mapping[str, Array]]
Gauges = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

#: the draw of a test.
Case = TypeVar("Case", bound=tuple[Any, ...])


def switches(condition: Any) -> bool:
    """Tell whether a condition holds somewhere and fails somewhere."""
    condition = np.asarray(condition)
    return bool(condition.any() and not condition.all())


def assert_switches(condition: Any, quantity: str) -> None:
    """Raise ProvesNothingError unless a condition holds somewhere and fails somewhere."""
    if not switches(condition):
        first = np.asarray(condition).flat[0]
        raise measurement.ProvesNothingError(f"{quantity} is {first} everywhere: it proves nothing")


def draw_until(proves: Callable[..., bool], draw: Callable[[], Case]) -> Case:
    """Return the first draw, a tuple, that proves something; raise AssertionError without one."""
    for _ in range(1000):
        drawn = draw()
        if proves(*drawn):
            return drawn
    raise AssertionError("no draw in a thousand proves anything")


def named(output: Any, gradients: Mapping[str, Any]) -> dict[str, Any]:
    """Name an output and the gradients of inputs as the quantities of a pair."""
    return {"output": output, **{f"gradient of {name}": one for name, one in gradients.items()}}


def assert_twins(
    forward: Callable[..., tuple[Any, Any]],
    backward: Backward | None,
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    rng: np.random.Generator,
    *,
    constants: Mapping[str, Any] | None = None,
    forward_budget: Budget = FORWARD,
    gradient_budget: Budget = GRADIENT,
    gauges: Gauges | None = None,
    differences: bool = True,
    witnessed: int = 12,
    float32_floor: Budget = FLOAT32_FLOOR,
    device: str = "cpu",
    widest: Any = WIDEST,
    bridge: Bridge = BY_NAME,
) -> None:
    """Hold a forward and its backward to a differentiable torch function, by three witnesses.

    The second witness is autograd, the third the pair itself in longdouble, to which both sides are
    held and which must nowhere round to float64, and differences of our forward. In float32 both
    sides are held against torch in float64 instead.

    Args:
        forward: `forward(**inputs, **constants)` returns (output, cache).
        backward: `backward(upstream, cache)` returns the gradient of each input by name; None holds
            the output alone.
        theirs: takes the inputs in order and the constants by name, carried over `bridge`.
        inputs: arrays of one dtype, laid out as in `scratch`.
        rng: draws the upstream gradient, and the entries that differences bear witness of.
        constants: arguments without a gradient.
        forward_budget: how far the outputs may be apart.
        gradient_budget: how far the gradients may be apart.
        gauges: `gauges(arguments, upstream)` gives running-error gauges of "output" and of inputs.
        differences: whether differences bear witness; not on inputs that sit on a kink.
        witnessed: entries of each input that they are taken at.
        float32_floor: eps that ours may err in float32 beside twice what torch does.
        device: where torch computes.
        widest: `np.float64` leaves out longdouble, for a pair that does not know it.
        bridge: how arrays cross between the layouts.

    Raises:
        AssertionError: an argument that was modified, other shapes, dtypes or names, a witness that
            contradicts; the message has the quantity, the place, the values and the guilty side.
        ProvesNothingError: an AssertionError, for a case that any answer passes.

    Example:
        >>> import numpy as np, torch
        >>> from parity_tests import assert_twins
        >>> def forward(Z):
        ...     A = np.tanh(Z)
        ...     return A, A
        >>> def backward(dA, A):
        ...     return {"Z": dA * (1 - A**2)}
        >>> rng = np.random.default_rng(0)
        >>> assert_twins(forward, backward, torch.tanh, {"Z": rng.standard_normal((3, 5))}, rng)
    """
    constants = dict(constants or {})
    LEDGER.device = device
    arguments = {**inputs, **constants}
    with unmodified(arguments):
        output, cache = forward(**arguments)
    if not isinstance(output, np.ndarray | np.floating):
        raise AssertionError(f"output: ours is {type(output).__name__}, no floating array")
    upstream = np.asarray(rng.standard_normal(output.shape)).astype(output.dtype)
    there: Any = {"device": device, "bridge": bridge, "pulled": backward is not None}
    expected = pull_back(theirs, inputs, constants, upstream, **there)
    handed, gradients = upstream.copy(), dict[str, Any]()
    if backward is not None:
        with unmodified({**arguments, "the upstream gradient": handed}):
            found = backward(handed[()], cache)
        if not isinstance(found, Mapping):
            text = f"a mapping of input names to gradients, got {type(found).__name__}"
            raise TypeError(f"expected backward to return {text}")
        gradients = dict(found)
        if gradients.keys() != inputs.keys():
            raise AssertionError(
                f"gradients for {sorted(gradients)}, expected one for each of {sorted(inputs)}"
            )
    ours = named(output, gradients)
    given = dict(gauges(arguments, upstream)) if gauges else {}
    if not given.keys() <= {"output", *inputs}:
        known = ", ".join(["output", *inputs])
        raise AssertionError(f"gauges for {sorted(given)}, expected some of {known}")
    gauge = named(given.pop("output", None), given)
    if expected["output"].dtype == np.float32:
        exact = cast((inputs, constants, upstream), np.float64)
        oracle = pull_back(theirs, *exact, **there)
        for name, reference in expected.items():
            kind = "forward" if name == "output" else "gradient"
            sides = ours[name], reference, oracle[name]
            quantities.assert_no_worse(*sides, name, gauge.get(name), float32_floor, kind)
        return
    run: Mapping[str, Array] = {}
    if widest is not np.float64:
        run = witnesses.wide_run(forward, backward, arguments, upstream)
    for name, reference in expected.items():
        of, size, wider = name.removeprefix("gradient of "), gauge.get(name), run.get(name)
        if name == "output":
            hold(name, Quantity(output, reference, size, forward_budget, wider))
            continue
        # a backward in longdouble is no evidence against torch's: that is for the differences
        witness: dict[str, Any] = {"witness": (f"{RUN[0]} of our backward", "")}
        if differences:
            difference = Difference(forward, arguments, upstream, of, widest)
            every = {"ours": ours[name], "theirs": reference, "ours in longdouble": wider}
            then = partial(witnesses.assert_witnessed, every, difference, rng, size, witnessed)
            witness |= {"refined": difference.refined, "then": then}
        hold(name, Quantity(ours[name], reference, size, gradient_budget, wider), **witness)
    if run and gradients and differences:
        witnesses.assert_unrounded(forward, arguments, upstream, run, gauge.get("output"))


def pull_back(
    theirs: Callable[..., torch.Tensor], inputs: Mapping[str, Array], constants: Mapping[str, Any],
    upstream: Array, device: str, bridge: Bridge, *, pulled: bool = True,
) -> dict[str, Array]:  # fmt: skip
    """Return torch's output and, where they are pulled, its gradients, as arrays in our layout."""
    tensors = {
        name: bridge.to_torch(name, array, device).requires_grad_(pulled)
        for name, array in inputs.items()
    }
    fixed = {
        name: bridge.to_torch(name, value, device) if isinstance(value, np.ndarray) else value
        for name, value in constants.items()
    }
    output = theirs(*tensors.values(), **fixed)
    if not isinstance(output, torch.Tensor):
        got = f"{type(output).__name__}: compare several outputs one by one"
        raise TypeError(f"expected theirs to return one tensor, got {got}")
    reached = bridge.to_numpy("output", output.detach())
    measurement.refuse_unlike(upstream, reached, "output")
    if not pulled:
        return {"output": reached}
    handed = bridge.to_torch("upstream", upstream, device)
    found = torch.autograd.grad(output, list(tensors.values()), handed, allow_unused=True)
    unused = [name for name, one in zip(tensors, found, strict=True) if one is None]
    if unused:
        raise AssertionError(f"the reference does not depend on {unused}: the case proves nothing")
    gradients = {n: bridge.to_numpy(n, one) for n, one in zip(tensors, found, strict=True)}
    return named(reached, gradients)
