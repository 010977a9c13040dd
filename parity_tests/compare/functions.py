"""Comparisons that cannot be fooled: strict shapes and dtypes, a ruler in eps, no empty proofs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from parity_tests.compare.bridge import BY_NAME, Bridge
from parity_tests.compare.budgets import (
    FLOAT32_FLOOR,
    FORWARD,
    GRADIENT,
    WIDEST,
    Budget,
)
from parity_tests.compare.fingerprints import assert_unmodified, fingerprints
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import (
    MARGIN,
    OWN_MARGIN,
    Array,
    Measurement,
    ProvesNothingError,
    Truth,
    apart,
    assert_true,
    hold_both,
    measure,
    record,
    refuse_vacuity,
    verdict,
    worse,
)
from parity_tests.compare.optimizers import assert_same_trajectory, draw_gradients
from parity_tests.compare.witnesses import (
    Difference,
    assert_unrounded,
    assert_witnessed,
    cast,
    wide_run,
)

__all__ = [
    "MARGIN",
    "OWN_MARGIN",
    "Array",
    "Measurement",
    "assert_close",
    "assert_no_worse",
    "assert_same_trajectory",
    "assert_switches",
    "assert_twins",
    "draw_gradients",
    "draw_until",
    "measure",
    "switches",
]

Gauges = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

#: what a third witness is called, and its value at an index with how uncertain that is.
Third = tuple[str, Callable[[tuple[int, ...]], tuple[Any, Any]]]

#: what a test draws for itself.
Case = TypeVar("Case", bound=tuple[Any, ...])

#: what a wider run of ours is called in messages.
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
    """Raise AssertionError unless ours is theirs, within the budget; return the error in eps.

    Shapes and dtypes must be equal, the reference finite and large enough to prove something: a
    reference of zeros needs `expect_zero`, and then ours must be exactly zero.

    `wider` is the same quantity from a wider run of ours, or a function that gives it: both sides
    are held to the budget against it too, and both distances go to the ledger; None where there is
    none.
    """
    theirs = _strict(ours, theirs, quantity)
    wider = _admit(wider() if callable(wider) else wider, ours, quantity)
    thirds: list[Third] = [] if wider is None else [(RUN, lambda place: (wider[place], 0.0))]
    error, truth = _compare(ours, theirs, quantity, budget, gauge, expect_zero, wider, thirds)
    if truth is not None:
        allowed = 0.0 if expect_zero else budget.in_eps(float(np.finfo(ours.dtype).eps))
        assert_true(quantity, truth, allowed, budget.name, RUN)
    return error


def _strict(ours: Any, theirs: Any, quantity: str) -> Array:
    """Return the reference as an array; refuse other shapes, dtypes and kinds than ours."""
    if (
        not isinstance(ours, np.ndarray | np.floating)
        or isinstance(ours, np.ma.MaskedArray | np.matrix)
        or ours.dtype.kind != "f"
        or not ours.size
    ):
        raise AssertionError(f"{quantity}: ours is {type(ours).__name__} {ours!r}, no floats")
    theirs = np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise AssertionError(f"{quantity}: shapes differ, ours {ours.shape}, theirs {theirs.shape}")
    if ours.dtype != theirs.dtype:
        raise AssertionError(f"{quantity}: dtypes differ, ours {ours.dtype}, theirs {theirs.dtype}")
    if not np.isfinite(theirs).all():
        raise AssertionError(f"{quantity}: the reference is not finite, it proves nothing")
    return np.asarray(theirs)


def _compare(
    ours: Any,
    theirs: Any,
    quantity: str,
    budget: Budget,
    gauge: Any,
    expect_zero: bool,
    wider: Any,
    thirds: Sequence[Third],
) -> tuple[float, Truth | None]:
    """Record a comparison, raise AssertionError where the sides part; return what was measured.

    The message says which side each of `thirds` contradicts.
    """
    eps = float(np.finfo(ours.dtype).eps)
    allowed = budget.in_eps(eps)
    found = measure(ours, theirs, gauge)
    if expect_zero:
        allowed = 0.0
        if theirs.any():
            raise AssertionError(f"{quantity}: the reference is not zero as expected: {theirs!r}")
    else:
        refuse_vacuity(theirs, gauge, allowed * eps, quantity)
    truth = None if wider is None else hold_both(ours, theirs, wider, gauge)
    record(quantity, ours.dtype, found, allowed, budget.name, truth, budget.kind)
    if not found.error <= allowed:
        message = apart(quantity, found, allowed, budget.name)
        for name, third in thirds:
            own = "formula" if name == RUN else ""
            message += f"; {verdict(*third(found.place), found, allowed, name, own)}"
        raise AssertionError(message)
    return found.error, truth


def _admit(wider: Any, ours: Any, quantity: str) -> Any:
    """Return a wider run as an array, None where its dtype is no wider on this machine."""
    if wider is None:
        return None
    wider = np.asarray(wider)
    if wider.shape != ours.shape:
        raise AssertionError(
            f"{quantity}: the wider run is of shape {wider.shape}, ours {ours.shape}"
        )
    if wider.dtype.kind == "f" and np.finfo(wider.dtype).eps < np.finfo(ours.dtype).eps:
        return wider
    if wider.dtype == np.longdouble:
        return None
    raise AssertionError(f"{quantity}: the wider run is {wider.dtype}, ours {ours.dtype}")


def switches(condition: Any) -> bool:
    """Tell whether the condition holds somewhere and fails somewhere."""
    condition = np.asarray(condition)
    return bool(condition.any() and not condition.all())


def assert_switches(condition: Any, quantity: str) -> None:
    """Raise AssertionError unless the condition holds somewhere and fails somewhere."""
    if not switches(condition):
        first = np.asarray(condition).flat[0]
        raise ProvesNothingError(f"{quantity} is {first} everywhere: it proves nothing")


def draw_until(proves: Callable[..., bool], draw: Callable[[], Case]) -> Case:
    """Return the first draw, a tuple, that proves something; raise AssertionError without one."""
    for _ in range(1000):
        drawn = draw()
        if proves(*drawn):
            return drawn
    raise AssertionError("no draw in a thousand proves anything")


def assert_twins(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], dict[str, Array]],
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
    """Raise AssertionError unless a pair agrees with a differentiable torch function.

    `forward(**inputs, **constants)` returns (output, cache); `backward(upstream, cache)` the
    gradient of each input by name, no more and no fewer. `theirs` takes the inputs in order and
    the constants by name, crossed over `bridge`, and is pulled back by autograd from the same
    upstream gradient, which is drawn.
    `gauges(arguments, upstream)` may name running-error gauges for "output" and for inputs.

    The third witness is the pair itself in longdouble, to which both sides are held, and which must
    nowhere round to float64; and differences of our forward, to which all three are held, at
    `witnessed` entries of each input, drawn at random. `differences=False` leaves these out, for
    inputs that sit on a kink. `widest=np.float64`, the default where longdouble is no wider, takes
    differences in float64 alone; a pair that knows no longdouble has to ask for that.

    In float32 both sides are held against torch in float64: ours may err twice as much as torch,
    plus `float32_floor`.
    """
    constants = dict(constants or {})
    LEDGER.device = device
    arguments = {**inputs, **constants}
    before = fingerprints(arguments)
    output, cache = forward(**arguments)
    if not isinstance(output, np.ndarray | np.floating):
        raise AssertionError(f"output: ours is {type(output).__name__}, no floating array")
    upstream = np.asarray(rng.standard_normal(output.shape)).astype(output.dtype)
    expected, references = pull_back(theirs, inputs, constants, upstream, device, bridge)
    handed = upstream.copy()
    gradients = backward(handed[()], cache)
    if not np.array_equal(handed, upstream):
        raise AssertionError("upstream: the gradient handed in was modified in place")
    assert_unmodified(arguments, before)
    if gradients.keys() != inputs.keys():
        raise AssertionError(
            f"gradients for {sorted(gradients)}, expected one for each of {sorted(inputs)}"
        )
    gauge = dict(gauges(arguments, upstream)) if gauges else {}
    if not gauge.keys() <= {"output", *inputs}:
        known = ", ".join(["output", *inputs])
        raise AssertionError(f"gauges for {sorted(gauge)}, expected some of {known}")
    if expected.dtype == np.float32:
        wide = np.float64
        exact = cast(inputs, wide), cast(constants, wide), upstream.astype(wide)
        oracle, oracles = pull_back(theirs, *exact, device, bridge)
        size = gauge.get("output")
        assert_no_worse(output, expected, oracle, "output", size, float32_floor, "forward")
        for name, reference in references.items():
            mine, size = gradients[name], gauge.get(name)
            held = mine, reference, oracles[name], f"gradient of {name}", size
            assert_no_worse(*held, float32_floor, "gradient")
        return

    _strict(output, expected, "output")
    for name, reference in references.items():
        _strict(gradients[name], reference, f"gradient of {name}")
    run = None
    if widest is not np.float64:
        run = wide_run(forward, backward, arguments, upstream, tuple(inputs))

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
        _, truth = _compare(mine, reference, quantity, gradient_budget, size, False, wider, thirds)
        if differences:
            sides = {"ours": mine, "theirs": reference}
            if wider is not None:
                sides["ours in longdouble"] = wider
            assert_witnessed(sides, difference, rng, size, witnessed)
        if truth is not None:
            assert_true(quantity, truth, allowed, gradient_budget.name, f"{RUN} of our backward")
    if run is not None and differences:
        assert_unrounded(forward, arguments, upstream, run, gauge.get("output"))


def pull_back(
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Any],
    upstream: Array,
    device: str,
    bridge: Bridge,
) -> tuple[Array, dict[str, Array]]:
    """Return torch's output and gradients as arrays in our layout."""
    tensors = {
        name: bridge.to_torch(name, array, device).requires_grad_()
        for name, array in inputs.items()
    }
    fixed = {
        name: bridge.to_torch(name, value, device) if isinstance(value, np.ndarray) else value
        for name, value in constants.items()
    }
    output = theirs(*tensors.values(), **fixed)
    reached = bridge.to_numpy("output", output)
    if reached.shape != upstream.shape or reached.dtype != upstream.dtype:
        raise AssertionError(
            f"output: ours is {upstream.dtype} of shape {upstream.shape}, "
            f"theirs {reached.dtype} of shape {reached.shape}"
        )
    pulled = torch.autograd.grad(
        output,
        list(tensors.values()),
        bridge.to_torch("upstream", upstream, device),
        allow_unused=True,
    )
    unused = [name for name, one in zip(tensors, pulled, strict=True) if one is None]
    if unused:
        raise AssertionError(f"the reference does not depend on {unused}: the case proves nothing")
    gradients = {
        name: bridge.to_numpy(name, gradient)
        for name, gradient in zip(tensors, pulled, strict=True)
    }
    return reached, gradients


def assert_no_worse(
    ours: Any, theirs: Any, oracle: Any, quantity: str, gauge: Any, floor: Budget, kind: str
) -> None:
    """Raise AssertionError unless ours errs at most twice what torch does, plus a floor."""
    ours = np.asarray(ours)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise AssertionError(
            f"{quantity}: ours is {ours.dtype} {ours.shape}, theirs {theirs.dtype} {theirs.shape}"
        )
    if not np.isfinite(oracle).all():
        raise AssertionError(f"{quantity}: the reference is not finite, it proves nothing")
    eps = float(np.finfo(ours.dtype).eps)
    truth = hold_both(ours, theirs, oracle, gauge)
    allowed = 2 * truth.theirs.error + floor.eps
    if not truth.ours.error <= allowed:
        record(quantity, ours.dtype, truth.ours, allowed, floor.name, truth, kind)
        raise AssertionError(worse(quantity, truth, theirs, allowed, floor.name))
    refuse_vacuity(oracle, gauge, allowed * eps, quantity)
    record(quantity, ours.dtype, truth.ours, allowed, floor.name, truth, kind)
