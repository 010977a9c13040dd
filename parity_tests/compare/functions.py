"""Comparisons of arrays, and of functions and their gradients, that refuse to prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from parity_tests.compare import measurement
from parity_tests.compare.bridge import BY_NAME, Bridge
from parity_tests.compare.budgets import FLOAT32_FLOOR, FORWARD, GRADIENT, WIDEST, Budget
from parity_tests.compare.fingerprints import unmodified
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import Array, Measurement, Truth, hold_both, measure
from parity_tests.compare.optimizers import assert_same_trajectory
from parity_tests.compare.witnesses import (
    Difference,
    assert_unrounded,
    assert_witnessed,
    cast,
    wide_run,
)

# fmt: off
__all__ = [
    "Measurement", "assert_close", "assert_no_worse", "assert_same_trajectory", "assert_switches",
    "assert_twins", "draw_until", "measure", "switches",
]
# fmt: on

Gauges = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

#: name of a third witness, and its value at an index with the uncertainty of that.
Third = tuple[str, Callable[[tuple[int, ...]], tuple[Any, Any]]]

#: the draw of a test.
Case = TypeVar("Case", bound=tuple[Any, ...])

#: name of a wider run of ours in messages.
RUN = "the longdouble run"


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
    drowned: bool = False,
) -> float:
    """Do what `assert_close` says; one that is known to drown is held and not written down."""
    theirs = _strict(ours, theirs, quantity)
    wider = _check(wider() if callable(wider) else wider, ours, quantity)
    thirds: list[Third] = [] if wider is None else [(RUN, lambda place: (wider[place], 0.0))]
    error, truth = _compare(
        ours, theirs, quantity, budget, gauge, wider, thirds, expect_zero, drowned
    )
    if truth is not None:
        allowed = 0.0 if expect_zero else budget.in_eps(float(np.finfo(ours.dtype).eps))
        measurement.assert_true(quantity, truth, allowed, budget.name, RUN)
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


def _compare(
    ours: Any,
    theirs: Any,
    quantity: str,
    budget: Budget,
    gauge: Any,
    wider: Any,
    thirds: Sequence[Third],
    expect_zero: bool = False,
    drowned: bool = False,
) -> tuple[float, Truth | None]:
    """Record a comparison, raise AssertionError where the sides part; return both errors.

    The message says which side each of `thirds` contradicts.
    """
    eps = float(np.finfo(ours.dtype).eps)
    allowed = budget.in_eps(eps)
    found = measure(ours, theirs, gauge)
    if expect_zero:
        allowed = 0.0
        if theirs.any():
            raise AssertionError(f"{quantity}: the reference is not zero as expected: {theirs!r}")
    elif not drowned:
        measurement.refuse_vacuity(theirs, gauge, allowed * eps, quantity)
    truth = None if wider is None else hold_both(ours, theirs, wider, gauge)
    if not drowned:
        measurement.record(quantity, ours.dtype, found, allowed, budget.name, truth, budget.kind)
    if not found.error <= allowed:
        message = measurement.apart(quantity, found, allowed, budget.name)
        for name, third in thirds:
            own = "formula" if name == RUN else ""
            judged = measurement.verdict(*third(found.place), found, allowed, name, own)
            message += f"; {judged}"
        raise AssertionError(message)
    return found.error, truth


def _check(wider: Any, ours: Any, quantity: str) -> Any:
    """Return a wider run as an array, None where its dtype is no wider on this machine."""
    if wider is None:
        return None
    wider = np.asarray(wider)
    if wider.shape != ours.shape:
        shapes = f"the wider run is of shape {wider.shape}, ours {ours.shape}"
        raise AssertionError(f"{quantity}: {shapes}")
    if wider.dtype.kind == "f" and np.finfo(wider.dtype).eps < np.finfo(ours.dtype).eps:
        return wider
    if wider.dtype == np.longdouble:
        return None
    raise AssertionError(f"{quantity}: the wider run is {wider.dtype}, ours {ours.dtype}")


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


def assert_twins(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], dict[str, Array]] | None,
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
    expected, references = pull_back(theirs, inputs, constants, upstream, **there)
    handed, gradients = upstream.copy(), {}
    if backward is not None:
        with unmodified({**arguments, "the upstream gradient": handed}):
            gradients = backward(handed[()], cache)
        if gradients.keys() != inputs.keys():
            raise AssertionError(
                f"gradients for {sorted(gradients)}, expected one for each of {sorted(inputs)}"
            )
    gauge = dict(gauges(arguments, upstream)) if gauges else {}
    if not gauge.keys() <= {"output", *inputs}:
        known = ", ".join(["output", *inputs])
        raise AssertionError(f"gauges for {sorted(gauge)}, expected some of {known}")
    if expected.dtype == np.float32:
        exact = cast((inputs, constants, upstream), np.float64)
        oracle, oracles = pull_back(theirs, *exact, **there)
        held = output, expected, oracle, "output", gauge.get("output")
        assert_no_worse(*held, float32_floor, "forward")
        for name, reference in references.items():
            held = gradients[name], reference, oracles[name], f"gradient of {name}", gauge.get(name)
            assert_no_worse(*held, float32_floor, "gradient")
        return

    _strict(output, expected, "output")
    for name, reference in references.items():
        _strict(gradients[name], reference, f"gradient of {name}")
    run = None
    if widest is not np.float64:
        run = wide_run(forward, backward, arguments, upstream, tuple(references))

    assert_close(
        output,
        expected,
        "output",
        budget=forward_budget,
        gauge=gauge.get("output"),
        wider=None if run is None else run[0],
    )
    allowed = gradient_budget.in_eps(float(np.finfo(output.dtype).eps))
    for name, reference in references.items():
        quantity, size = f"gradient of {name}", gauge.get(name)
        mine = gradients[name]
        difference = Difference(forward, inputs, constants, upstream, name, widest)
        # a backward in longdouble is no evidence against torch's: that is for the differences
        thirds = [("a central difference", difference.refined)] if differences else []
        wider = None if run is None else run[1][name]
        _, truth = _compare(mine, reference, quantity, gradient_budget, size, wider, thirds)
        if differences:
            sides = {"ours": mine, "theirs": reference}
            if wider is not None:
                sides["ours in longdouble"] = wider
            assert_witnessed(sides, difference, rng, size, witnessed)
        if truth is not None:
            witness = f"{RUN} of our backward"
            measurement.assert_true(quantity, truth, allowed, gradient_budget.name, witness)
    if run is not None and references and differences:
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
) -> tuple[Array, dict[str, Array]]:
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
    reached = bridge.to_numpy("output", output.detach())
    measurement.refuse_unlike(upstream, reached, "output")
    if not pulled:
        return reached, {}
    handed = bridge.to_torch("upstream", upstream, device)
    found = torch.autograd.grad(output, list(tensors.values()), handed, allow_unused=True)
    gradients = dict(zip(tensors, found, strict=True))
    unused = [name for name, one in gradients.items() if one is None]
    if unused:
        raise AssertionError(f"the reference does not depend on {unused}: the case proves nothing")
    return reached, {name: bridge.to_numpy(name, one) for name, one in gradients.items()}


def assert_no_worse(
    ours: Any, theirs: Any, oracle: Any, quantity: str, gauge: Any, floor: Budget, kind: str
) -> None:
    """Raise AssertionError unless ours errs at most twice what torch does, plus a floor."""
    ours = np.asarray(ours)
    measurement.refuse_unlike(ours, theirs, quantity)
    measurement.refuse_infinite(oracle, quantity)
    eps = float(np.finfo(ours.dtype).eps)
    truth = hold_both(ours, theirs, oracle, gauge)
    allowed = 2 * truth.theirs.error + floor.eps
    inside = truth.ours.error <= allowed
    if inside:
        measurement.refuse_vacuity(oracle, gauge, allowed * eps, quantity)
    measurement.record(quantity, ours.dtype, truth.ours, allowed, floor.name, truth, kind)
    if not inside:
        raise AssertionError(measurement.worse(quantity, truth, theirs, allowed, floor.name))
