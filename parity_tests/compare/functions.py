"""Comparisons of arrays, and of functions and their gradients, that refuse to prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from parity_tests.compare import measurement
from parity_tests.compare.bridge import BY_NAME, Bridge
from parity_tests.compare.budgets import FLOAT32_FLOOR, FORWARD, GRADIENT, WIDEST, Budget
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import Array, Truth, hold_both, measure
from parity_tests.compare.side_effects import unmodified
from parity_tests.compare.witnesses import (
    Difference,
    assert_unrounded,
    assert_witnessed,
    cast,
    wide_run,
)

Backward = Callable[[Any, Any], Mapping[str, Array]]
Gauges = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

#: the draw of a test.
Case = TypeVar("Case", bound=tuple[Any, ...])

#: value and uncertainty of a third witness at an index, its name, and the part of ours it runs.
Third = tuple[Callable[[tuple[int, ...]], tuple[Any, Any]], str, str]


class Witness(NamedTuple):
    """A wider run of ours: its name in messages, and the part of ours that it runs."""

    name: str
    of: str


#: our own function or pair.
RUN = Witness("the longdouble run", "formula")


def assert_close(
    ours: Any,
    theirs: Any,
    quantity: str,
    *,
    budget: Budget = FORWARD,
    gauge: Any = None,
    expect_zero: bool = False,
    wider: Any = None,
) -> float:
    """Hold an array to a reference, within a budget, and write the comparison to the ledger.

    Args:
        ours: an array or scalar of NumPy's, of floats.
        theirs: the reference, of the same shape and dtype.
        quantity: its name, in the message and in the ledger.
        budget: how far apart they may be, over the gauge.
        gauge: the largest entry of theirs where none is given; where terms cancel, an array that
            bounds their sums.
        expect_zero: whether the reference is zero, and ours must be exactly that.
        wider: the same quantity from a longdouble run of ours, or a function that gives it: both
            sides are held to the budget against it too.

    Returns:
        The error in eps.

    Raises:
        AssertionError: other shapes or dtypes, a reference that is not finite, an error beyond the
            budget; the message has the worst place, both values there and the guilty side.
        ProvesNothingError: an AssertionError, for a reference that drowns in its tolerance.

    Example:
        >>> import numpy as np
        >>> from parity_tests import assert_close
        >>> right = np.array([1.0, 2.0])
        >>> assert_close(right * (1 + 2.0**-50), right, "A")
        4.0
        >>> assert_close(right * 1.5, right, "A")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: A differs at (1,): ours 3.0, theirs 2.0, ...
    """
    return hold(quantity, ours, theirs, budget, gauge, wider, expect_zero=expect_zero)


def hold(
    quantity: str,
    ours: Any,
    theirs: Any,
    budget: Budget,
    gauge: Any,
    wider: Any,
    *,
    expect_zero: bool = False,
    quiet: bool = False,
    witness: Witness = RUN,
) -> float:
    """Do what `assert_close` says; a quiet comparison may drown and is not written down."""
    theirs = _strict(ours, theirs, quantity)
    wider = _check(wider() if callable(wider) else wider, ours, quantity, witness)
    third = None if wider is None else (lambda place: (wider[place], 0.0), *witness)
    how = {"expect_zero": expect_zero, "quiet": quiet}
    error, truth = _compare(quantity, ours, theirs, budget, gauge, wider, third, **how)
    if truth is not None:
        allowed = 0.0 if expect_zero else budget.in_eps(float(np.finfo(ours.dtype).eps))
        measurement.assert_true(quantity, truth, allowed, budget.name, witness.name)
    return error


def _strict(ours: Any, theirs: Any, quantity: str) -> Array:
    """Return the reference as an array; refuse other shapes, dtypes and kinds than ours."""
    floats = isinstance(ours, np.ndarray | np.floating) and ours.dtype.kind == "f" and ours.size
    if not floats or isinstance(ours, np.ma.MaskedArray | np.matrix):
        raise AssertionError(f"{quantity}: ours is {type(ours).__name__} {ours!r}, no floats")
    reference = np.asarray(theirs)
    measurement.refuse_unlike(ours, reference, quantity)
    measurement.refuse_infinite(reference, quantity)
    return reference


def _check(wider: Any, ours: Any, quantity: str, witness: Witness) -> Any:
    """Return a wider run as an array, None where longdouble is no wider on this machine."""
    if wider is None:
        return None
    wider = np.asarray(wider)
    if wider.shape == ours.shape and wider.dtype.kind == "f":
        if np.finfo(wider.dtype).eps < np.finfo(ours.dtype).eps:
            return wider
        if wider.dtype == np.longdouble:
            return None
    kept, held = (f"{one.dtype} of shape {one.shape}" for one in (wider, ours))
    raise AssertionError(f"{quantity}: {witness.name} is {kept}, ours {held}: it is no witness")


def _compare(
    quantity: str,
    ours: Any,
    theirs: Any,
    budget: Budget,
    gauge: Any,
    wider: Any,
    third: Third | None = None,
    *,
    expect_zero: bool = False,
    quiet: bool = False,
) -> tuple[float, Truth | None]:
    """Record a comparison, raise AssertionError where the sides part; return both errors.

    The message says which side a third witness contradicts.
    """
    eps = float(np.finfo(ours.dtype).eps)
    allowed = budget.in_eps(eps)
    found = measure(ours, theirs, gauge)
    if expect_zero:
        allowed = 0.0
        if theirs.any():
            raise AssertionError(f"{quantity}: the reference is not zero as expected: {theirs!r}")
    elif not quiet:
        measurement.refuse_vacuity(theirs, gauge, allowed * eps, quantity)
    truth = None if wider is None else hold_both(ours, theirs, wider, gauge)
    if not quiet:
        measurement.record(quantity, ours.dtype, found, allowed, budget, truth)
    if found.error <= allowed:
        return found.error, truth
    message = measurement.apart(quantity, found, allowed, budget.name)
    if third is not None:
        read, *named = third
        judged = measurement.verdict(*read(found.place), found, allowed, *named)
        message = f"{message}; {judged}"
    raise AssertionError(message)


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


def quantities(output: Any, gradients: Mapping[str, Any]) -> dict[str, Any]:
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
            named = f"a mapping of input names to gradients, got {type(found).__name__}"
            raise TypeError(f"expected backward to return {named}")
        gradients = dict(found)
        if gradients.keys() != inputs.keys():
            raise AssertionError(
                f"gradients for {sorted(gradients)}, expected one for each of {sorted(inputs)}"
            )
    ours = quantities(output, gradients)
    given = dict(gauges(arguments, upstream)) if gauges else {}
    if not given.keys() <= {"output", *inputs}:
        known = ", ".join(["output", *inputs])
        raise AssertionError(f"gauges for {sorted(given)}, expected some of {known}")
    gauge = quantities(given.pop("output", None), given)
    if expected["output"].dtype == np.float32:
        exact = cast((inputs, constants, upstream), np.float64)
        oracle = pull_back(theirs, *exact, **there)
        for name, reference in expected.items():
            kind = "forward" if name == "output" else "gradient"
            sides = ours[name], reference, oracle[name]
            assert_no_worse(*sides, name, gauge.get(name), float32_floor, kind)
        return
    for name, reference in expected.items():
        _strict(ours[name], reference, name)
    run: Mapping[str, Array] = {}
    if widest is not np.float64:
        run = wide_run(forward, backward, arguments, upstream, ours)
    size, wider = gauge["output"], run.get("output")
    hold("output", output, expected["output"], forward_budget, size, wider)
    for argument, gradient in gradients.items():
        name = f"gradient of {argument}"
        reference, size, wider = expected[name], gauge.get(name), run.get(name)
        difference = Difference(forward, arguments, upstream, argument, widest)
        # a backward in longdouble is no evidence against torch's: that is for the differences
        third = (difference.refined, "a central difference", "") if differences else None
        _, truth = _compare(name, gradient, reference, gradient_budget, size, wider, third)
        if differences:
            every = {"ours": gradient, "theirs": reference, "ours in longdouble": wider}
            assert_witnessed(every, difference, rng, size, witnessed)
        if truth is not None:
            allowed = gradient_budget.in_eps(float(np.finfo(output.dtype).eps))
            said = allowed, gradient_budget.name, f"{RUN.name} of our backward"
            measurement.assert_true(name, truth, *said)
    if run and gradients and differences:
        assert_unrounded(forward, arguments, upstream, run, gauge.get("output"))


def pull_back(
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Any],
    upstream: Array,
    device: str,
    bridge: Bridge,
    *,
    pulled: bool = True,
) -> dict[str, Array]:
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
    return quantities(reached, gradients)


def assert_no_worse(
    ours: Any, theirs: Any, oracle: Any, quantity: str, gauge: Any, floor: Budget, kind: str = ""
) -> None:
    """Raise AssertionError unless ours errs at most twice what torch does, plus a floor."""
    ours = np.asarray(ours)
    measurement.refuse_unlike(ours, theirs, quantity)
    measurement.refuse_infinite(oracle, quantity)
    truth = hold_both(ours, theirs, oracle, gauge)
    found, allowed = truth.ours, 2 * truth.theirs.error + floor.eps
    inside = found.error <= allowed
    if inside:
        eps = float(np.finfo(ours.dtype).eps)
        measurement.refuse_vacuity(oracle, gauge, allowed * eps, quantity)
    measurement.record(quantity, ours.dtype, found, allowed, floor, truth, kind)
    if not inside:
        cause = f"twice torch's, {floor.name}", "torch's in float64"
        raise AssertionError(
            f"{measurement.apart(quantity, found, allowed, *cause)}; torch in float32 is "
            f"{truth.theirs.error:.4g} eps units from it at most, {theirs[found.place]} here: "
            "its float64 contradicts ours"
        )
