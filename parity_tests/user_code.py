"""Code that is not this project's, held against torch: a layer, a loss, an optimizer.

`assert_parity` has the example of a layer, `assert_same_trajectory` that of an optimizer. Labels of
a loss have no gradient: they are a constant, which both sides take by its name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from parity_tests.compare import budgets, validation
from parity_tests.compare.bridge import Bridge
from parity_tests.compare.budgets import Budget
from parity_tests.compare.functions import Backward, Gauges, assert_twins
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import Array
from parity_tests.compare.witnesses import cast
from scratch._validation import validated


class Parity(NamedTuple):
    """Errors that were found, and who bore witness."""

    errors: Mapping[str, float]  # of the output and each gradient, in eps of the dtype
    witness: str


@validated(**validation.PARITY)
def assert_parity(
    ours: Callable[..., Any],
    theirs: Callable[..., torch.Tensor],
    inputs: Mapping[str, Array],
    *,
    backward: Backward | None = None,
    constants: Mapping[str, Any] | None = None,
    budget: Budget | float = budgets.FORWARD,
    gradient_budget: Budget | float = budgets.GRADIENT,
    float32_floor: Budget | float = budgets.FLOAT32_FLOOR,
    gauges: Gauges | None = None,
    differences: bool = True,
    witnessed: int = 12,
    rng: np.random.Generator | int = 0,
    device: str = "cpu",
    layout: str | Bridge = "as it is",
    names: Mapping[str, str] | None = None,
) -> Parity:
    """Hold a NumPy function of yours, and its backward, to a torch function or module.

    In float64 both sides are held to a longdouble run of yours as well, and gradients to
    differences: differences in float64 alone where your function knows no longdouble. In float32
    yours may err twice as much as torch against torch in float64, plus `float32_floor`.

    Args:
        ours: `ours(**inputs, **constants)`, or a ufunc of them in order, returns one floating
            array, with a backward (output, cache).
        theirs: takes the inputs in order and the constants by name. Parameters of a module that
            inputs are named after give way to those inputs.
        inputs: arrays by name, all float32 or all float64, of any shape.
        backward: `backward(upstream, cache)` returns the gradient of every input by name, for an
            upstream gradient that is drawn.
        constants: arguments without a gradient, such as labels, by name.
        budget: how far the outputs may be apart, a `Budget` or a number of eps of the largest
            entry.
        gradient_budget: how far the gradients may be apart.
        float32_floor: eps that yours may err in float32 beside twice what torch does.
        gauges: `gauges(arguments, upstream)` gives what bounds the sums of "output" and of inputs,
            in place of the largest entry.
        differences: whether differences bear witness; not for inputs on a kink.
        witnessed: entries of each input that they are taken at.
        rng: draws the upstream gradient; a generator or a seed.
        device: where torch computes.
        layout: "as it is", "columns" where your examples are columns and torch's rows, as in this
            project, or the two functions of a `Bridge`.
        names: from your names to those of a module's parameters, {"W1": "0.weight"}.

    Returns:
        The errors of the output and of each gradient, in eps, and who bore witness.

    Raises:
        AssertionError: an input that was modified, another shape or dtype, a witness that
            contradicts; its notes say who bore witness where that is not a longdouble run.
        ProvesNothingError: an AssertionError, for a case that any answer passes.
        TypeError: arguments that cannot be compared.
        ValueError: the same, for the right type.

    Example:
        >>> import numpy as np, torch
        >>> from parity_tests import assert_parity
        >>> def linear(x, weight, bias):
        ...     return x @ weight.T + bias, (x, weight)
        >>> def backward(upstream, cache):
        ...     x, weight = cache
        ...     bias = upstream.sum(axis=0)
        ...     return {"x": upstream @ weight, "weight": upstream.T @ x, "bias": bias}
        >>> rng = np.random.default_rng(0)
        >>> shapes = {"x": (5, 3), "weight": (4, 3), "bias": (4,)}
        >>> inputs = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        >>> parity = assert_parity(linear, torch.nn.Linear(3, 4), inputs, backward=backward)
        >>> print(*parity.errors, sep="; ")
        output; gradient of x; gradient of weight; gradient of bias
        >>> parity.witness
        'witness: your function in longdouble'
    """
    inputs, constants = dict(inputs), dict(constants or {})
    if both := sorted(inputs.keys() & constants.keys()):
        raise ValueError(f"expected {both} in inputs or in constants, got both")
    generator, bridge = np.random.default_rng(rng), validation.as_bridge(layout)
    choices: dict[str, Any] = {
        "constants": constants,
        "forward_budget": validation.as_budget("budget", budget, "forward"),
        "gradient_budget": validation.as_budget("gradient_budget", gradient_budget, "gradient"),
        "float32_floor": validation.as_budget("float32_floor", float32_floor, "other"),
        "gauges": gauges,
        "differences": differences,
        "witnessed": witnessed,
        "device": device,
        "bridge": bridge,
    }
    forward = validation.with_cache(ours, expected=backward is not None)
    reference = validation.as_function(theirs, inputs, names, bridge, device)
    pair = forward, backward, reference, inputs, generator
    hindrance = _hindrance(forward, backward, inputs, constants)
    recorded, state = len(LEDGER.entries), generator.bit_generator.state
    if not hindrance:
        try:
            assert_twins(*pair, **choices)
        except AssertionError as error:
            if budgets.HIDDEN_ROUNDING.name not in str(error):
                raise
            hindrance = "it rounds to float64 inside"
            generator.bit_generator.state = state
    single = next(iter(inputs.values())).dtype == np.float32
    witness = f"witness: {'torch in float64' if single else 'your function in longdouble'}"
    if hindrance:
        known = "witness: differences in float64, as" if backward else "no third witness:"
        witness = f"{known} {hindrance}"
        try:
            assert_twins(*pair, widest=np.float64, **choices)
        except AssertionError as error:
            error.add_note(witness)
            raise
    found = LEDGER.entries[recorded:]
    return Parity({one.quantity: one.error for one in found if one.kind != "other"}, witness)


def _hindrance(
    forward: Any, backward: Any, inputs: Mapping[str, Array], constants: Mapping[str, Any]
) -> str:
    """Return why a longdouble run of ours bears no witness, or nothing where it does."""
    if next(iter(inputs.values())).dtype == np.float32:
        return ""
    if not budgets.WIDE:
        return "longdouble is no wider than float64 here"
    # of their own, also what cast leaves as it is: a function may spoil what it is given
    wider = copy.deepcopy(cast({**inputs, **constants}, np.longdouble))
    try:
        output, cache = forward(**wider)
        gradients = dict(backward(np.ones_like(output)[()], cache)) if backward else {}
    except Exception as error:  # whatever a function makes of a dtype that it does not know
        return f"it takes no longdouble ({type(error).__name__}: {error})"
    for dtype in [np.asarray(one).dtype for one in (output, *gradients.values())]:
        if dtype != np.longdouble:
            return f"it turns longdouble into {dtype}"
    return ""
