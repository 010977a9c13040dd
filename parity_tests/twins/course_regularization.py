"""The course's three-layer network with L2 or dropout: `scratch.course.regularization`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare.budgets import FLOAT32_NETWORK
from parity_tests.drawing import Array, examples
from parity_tests.mistakes import Values
from parity_tests.rows import Pair, PairTwin
from parity_tests.twins import _course as course
from parity_tests.twins.course_deep import cost_gauges
from scratch.course import regularization as ours

TAUGHT = 'Course 2, week 1, "Regularization"'

CACHE = [f"{letter}{l}" for l in (1, 2, 3) for letter in "ZAWb"]
DROPPED = ["Z1", "D1", *CACHE[1:5], "D2", *CACHE[5:]]
GRADIENTS = ["dZ3", "dW3", "db3", "dA2", "dZ2", "dW2", "db2", "dA1", "dZ1", "dW1", "db1"]

sizes = st.tuples(*[st.integers(1, 7)] * 3, st.integers(1, 3))
CASES = {"sizes": sizes, "m": examples, "kind": course.exactness}
STRENGTHS = {"lambd": st.sampled_from([0.0, 0.1, 0.7, 10.0])}
draw = partial(course.draw_data, sizes=(4, 7, 6, 1))


def named(cache: tuple[Array, ...], gradients: dict[str, Array], parameters: Any) -> Values:
    """Return a pass by name, its order that of the assignment, the parameters passed on."""
    assert type(cache) is tuple
    assert list(gradients) == GRADIENTS
    found = dict(zip(CACHE if len(cache) == len(CACHE) else DROPPED, cache, strict=True))
    assert all(found[name] is one for name, one in parameters.items())
    return {**found, **gradients}


def decayed(X: Array, Y: Array, lambd: float, **parameters: Array) -> tuple[Any, Any]:
    A3, cache = ours.forward_propagation(X, parameters)
    assert A3 is cache[9]
    J = ours.compute_cost_with_regularization(A3, Y, parameters, lambd)
    return J, (X, Y, cache, lambd)


def pulled_back(dJ: Any, cache: Any) -> dict[str, Array]:
    gradients = ours.backward_propagation_with_regularization(*cache)
    return {name[1:]: dJ * one for name, one in gradients.items() if name[1] in "Wb"}


def passed(X: Array, Y: Array, lambd: float, **parameters: Array) -> Values:
    """Return our cache, cost and gradients; a penalty may move those of weights alone."""
    J, given = decayed(X, Y, lambd, **parameters)
    gradients = ours.backward_propagation_with_regularization(*given)
    for name, plain in ours.backward_propagation(*given[:3]).items():
        assert np.array_equal(plain, gradients[name]) or (lambd and name[1] == "W")
    return {**named(given[2], gradients, parameters), "J": J}


def dropped(X: Array, Y: Array, keep_prob: float, **parameters: Array) -> Values:
    A3, cache = ours.forward_propagation_with_dropout(X, parameters, keep_prob)
    assert A3 is cache[11]
    gradients = ours.backward_propagation_with_dropout(X, Y, cache, keep_prob)
    return named(cache, gradients, parameters)


# fmt: off
TWINS = (
    course.passing(ours, "network", passed, lambda depth: (*CACHE, *GRADIENTS, "J"),
        formula="J = mean cross-entropy + lambda / (2 m) sum W^2; dZ, dA of the sum of costs",
        source=f"{TAUGHT}; torch.autograd.grad",
        proves=tuple(name for name in ours.__all__ if "dropout" not in name),
        draw=partial(draw, m=12, lambd=0.7), cases={**CASES, **STRENGTHS},
        edges={"exact ties": {"kind": "grid"}, "no penalty": {"lambd": 0.0},
               "two outputs": {"sizes": (4, 5, 3, 2)}}),
    PairTwin(name="regularization.l2", ours=Pair(decayed, pulled_back),
        theirs=lambda *layers, X, **given: course.torch_cost(X, *layers, **given),
        formula="J = mean cross-entropy + lambda / (2 m) sum W^2; dW = dW + lambda / m W",
        source=f"{TAUGHT}; torch.nn.functional.binary_cross_entropy_with_logits",
        proves=("compute_cost_with_regularization", "backward_propagation_with_regularization"),
        constants=("X", "Y", "lambd"), draw=partial(draw, lambd=0.7), cases={**CASES, **STRENGTHS},
        edges={"no penalty": {"lambd": 0.0}}, gauges=cost_gauges, float32=False, weight=0.2),
    course.passing(ours, "dropout", dropped, lambda depth: (*DROPPED, *GRADIENTS),
        formula="A = A D / keep_prob with D = rand < keep_prob of seed 1; dA = dA D / keep_prob",
        source='Course 2, week 1, "Dropout regularization"; torch.nn.functional.dropout',
        proves=("forward_propagation_with_dropout", "backward_propagation_with_dropout"),
        draw=partial(draw, m=16, keep_prob=0.5),
        cases={"sizes": sizes, "m": examples, "keep_prob": st.sampled_from([1.0, 0.5, 0.8, 0.4])},
        edges={"exact ties": {"kind": "grid"}, "everything is kept": {"keep_prob": 1},
            "most is kept": {"keep_prob": 0.8},
            "A rounds to 1": {"sizes": (4, 6, 1, 3), "m": 7, "seed": 99},
            "and its label is 0": {
                "sizes": (2, 7, 4, 3), "m": 2, "keep_prob": 0.4, "seed": 1431448214}},
        float32=True, float32_floor=FLOAT32_NETWORK))
# fmt: on
