"""Strategies of hypothesis for the cases of `parity_tests.properties`, over their legal range.

What comes first is what a failing example shrinks to: one unit, one example, normal entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity_tests.properties import (
    ActivationCase,
    AverageCase,
    BatchNormCase,
    ClippingCase,
    CostCase,
    DropoutCase,
    LayoutCase,
    LinearCase,
    LogisticRegressionCase,
    MiniBatchCase,
    NetworkCase,
    NormalizationCase,
    OptimizerCase,
    ScheduleCase,
    SplitCase,
    TrainingCase,
)
from parity_tests.properties.draws import KINDS
from parity_tests.properties.layouts import FUNCTIONS, LAYOUTS
from scratch.activations import ACTIVATIONS
from scratch.costs import COSTS, REDUCTIONS
from scratch.network import OUTPUT_COSTS
from scratch.schedules import SCHEDULES

DIFFERENTIABLE = [name for name, one in ACTIVATIONS.items() if one.backward is not None]

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 9)
examples = st.integers(1, 9)
kinds = st.sampled_from(list(KINDS))
# between 0 and 1e-3 lies what torch's lerp, given 1 - beta, makes of a beta: it rounds it
betas = st.just(0.0) | st.floats(1e-3, 0.9999) | st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.9999])


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Return numbers between two powers of ten, each magnitude as often as any other."""
    return st.floats(low, high).map(lambda power: 10.0**power)


#: a single class is certain, and has no gradient.
classes = st.integers(2, 9)
_names, _scales = st.sampled_from(DIFFERENTIABLE), st.sampled_from([1.0, 0.01, 10.0, 100.0])
_costs, _reductions = st.sampled_from(list(COSTS)), st.sampled_from(list(REDUCTIONS))


@st.composite
def activation_cases(draw: st.DrawFn) -> ActivationCase:
    """Draw an activation, of one unit up."""
    name = draw(_names)
    return ActivationCase(
        name=name,
        n=draw(classes if name == "softmax" else widths),
        m=draw(examples),
        kind=draw(kinds),
        scale=draw(_scales),
        seed=draw(seeds),
    )


@st.composite
def cost_cases(draw: st.DrawFn) -> CostCase:
    """Draw a cost of either reduction."""
    name = draw(_costs)
    return CostCase(
        name=name,
        n=draw(classes if name.startswith("cross") else widths),
        m=draw(examples),
        kind=draw(kinds),
        certain=draw(_flags),
        reduction=draw(_reductions),
        seed=draw(seeds),
    )


linear_cases = st.builds(
    LinearCase, n=widths, n_prev=widths, m=examples, kind=kinds, weights=kinds, seed=seeds
)


@st.composite
def batch_norm_cases(draw: st.DrawFn) -> BatchNormCase:
    """Draw batch norm of one example up; the unbiased variance needs two."""
    m = draw(examples)
    return BatchNormCase(
        n=draw(st.integers(1, 5)),
        m=m,
        kind=draw(st.sampled_from([kind for kind in KINDS if kind != "all magnitudes"])),
        scale=draw(st.sampled_from([1.0, 0.01, 100.0])),
        epsilon=draw(powers(-12, -1)),
        decay=draw(betas),
        unbiased=m > 1 and draw(st.booleans()),
        seed=draw(seeds),
    )


@st.composite
def dropout_cases(draw: st.DrawFn) -> DropoutCase:
    """Draw masks bit by bit, those that drop everything or nothing among them."""
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    bits = draw(st.integers(0, 2 ** (n * m) - 1))
    kept = tuple(tuple(bool(bits >> (i * m + j) & 1) for j in range(m)) for i in range(n))
    return DropoutCase(
        kept=kept,
        keep_prob=draw(st.just(1.0) | st.floats(0.01, 1)),
        kind=draw(kinds),
        seed=draw(seeds),
    )


strengths = st.just(0.0) | powers(-4, 1)


_depths, _flags = st.integers(1, 5), st.booleans()
_keep_probs = st.sampled_from([1.0, 0.5, 0.25]) | st.floats(0.1, 1)
_epsilons = st.none() | powers(-8, -1)
_weight_scales = st.sampled_from([1.0, 0.5, 2.0, 0.05, 20.0])
# softmax in a hidden layer is legal, and rare
_hidden = st.sampled_from(["tanh", "relu", "leaky_relu", "sigmoid", "relu", "identity", "softmax"])
_bounded = st.sampled_from([one for one in KINDS if one not in ("all magnitudes", "saturated")])
_weights = st.sampled_from(["normal", "zeros", "grid", "duplicated rows"])


@st.composite
def _choices(draw: st.DrawFn, outputs: st.SearchStrategy[str]) -> dict[str, Any]:
    """Draw what both cases of networks have."""
    depth = draw(_depths)
    kept = draw(_flags)
    return {
        "layer_sizes": tuple(draw(widths) for _ in range(depth + 1)),
        "m": draw(examples),
        "hidden": draw(_hidden),
        "output": draw(outputs),
        "keep_probs": tuple(draw(_keep_probs) for _ in range(depth - 1)) if kept else (),
        "epsilon": draw(_epsilons),
        "kind": draw(_bounded),
        "weights": draw(_weights),
        "scale": draw(_weight_scales),
        "seed": draw(seeds),
    }


_shared = st.just(0) | st.integers(1, 10_000)
_outputs = st.sampled_from(list(OUTPUT_COSTS))

network_cases = _choices(_names).map(lambda choices: NetworkCase(**choices))


@st.composite
def training_cases(draw: st.DrawFn) -> TrainingCase:
    """Draw a network with labels and penalties, which more examples may share than are at hand."""
    choices = draw(_choices(_outputs))
    return TrainingCase(
        **choices,
        l1=draw(strengths),
        l2=draw(strengths),
        shared=draw(_shared) or choices["m"],
        decay=draw(betas),
        unbiased=choices["m"] > 1 and draw(_flags),
    )


_powers = st.floats(-24, 24)


def _signed(power: float) -> float:
    """Return a number from 1e-12 to 1e12 of either sign, 1 for a power of 0."""
    return float(np.copysign(10.0 ** ((abs(power) + 12) % 24 - 12), power))


_magnitudes = _powers.map(_signed)
numbers = st.one_of(_magnitudes, _magnitudes, _magnitudes, st.sampled_from([0.0, -0.0, 1.0]))
_rates, _small = powers(-6, 1), powers(-12, -1)
_rules = st.sampled_from(["gradient_descent", "momentum", "rmsprop", "adam"])


@st.composite
def optimizer_cases(draw: st.DrawFn) -> OptimizerCase:
    """Draw a rule in any of its dialects, one to three parameters and up to five steps."""
    rule, choices = draw(_rules), {"learning_rate": draw(_rates)}
    if rule == "momentum":
        choices |= {"beta": draw(betas), "averaging": draw(_flags)}
    elif rule == "rmsprop":
        choices |= {"beta": draw(betas)}
    elif rule == "adam":
        choices |= {"beta1": draw(betas), "beta2": draw(betas), "bias_correction": draw(_flags)}
    if rule in ("rmsprop", "adam"):
        choices |= {"epsilon": draw(_small), "epsilon_inside_root": draw(_flags)}
    size, steps = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    return OptimizerCase(
        rule=rule,
        choices=choices,
        start=tuple(draw(numbers) for _ in range(size)),
        gradients=tuple(tuple(draw(numbers) for _ in range(size)) for _ in range(steps)),
    )


_decays = st.just(0.0) | powers(-6, 3)
_schedules = st.sampled_from(list(SCHEDULES))
_counts = st.integers(1, 20)
_descents = st.sampled_from(["gradient_descent", "momentum"])


@st.composite
def schedule_cases(draw: st.DrawFn) -> ScheduleCase:
    """Draw a schedule over its range, for up to twenty counts."""
    name, counts = draw(_schedules), draw(_counts)
    choices: dict[str, Any] = {}
    if name.endswith("inverse_time") or name == "natural_exponential":
        choices["decay"] = draw(_decays)
    if name == "interval_inverse_time":
        choices["interval"] = draw(_counts)
    elif name == "exponential":
        choices["rate"] = draw(st.just(1.0) | powers(-3, 0))
    elif name == "inverse_square_root":
        choices["k"] = draw(powers(-3, 3))
    elif name == "piecewise_constant":
        starts = sorted(draw(st.sets(_counts, min_size=1, max_size=4)))
        choices["rates"] = tuple((start, draw(_rates)) for start in starts)
    elif name == "manual":
        choices["rates"] = tuple(draw(_rates) for _ in range(counts))
    return ScheduleCase(
        name=name,
        choices=choices,
        learning_rate=draw(_rates),
        counts=counts,
        rule=draw(_descents),
    )


@st.composite
def clipping_cases(draw: st.DrawFn) -> ClippingCase:
    """Draw gradients of up to three tensors and a limit below, near or above their norm."""
    sizes = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 3)))]
    gradients = tuple(tuple(draw(numbers) for _ in range(size)) for size in sizes)
    return ClippingCase(gradients=gradients, limit=draw(_limits))


_limits = powers(-6, 6)
average_cases = st.builds(
    AverageCase,
    x=st.lists(numbers, min_size=1, max_size=8).map(tuple),
    beta=betas,
    bias_correction=_flags,
)

normalization_cases = st.builds(
    NormalizationCase,
    n_x=st.integers(1, 4),
    m=examples,
    m_dev=examples,
    kind=_bounded,
    offset=st.sampled_from([0.0, 1.0, -300.0, 1e6]),
    seed=seeds,
)
mini_batches_cases = st.builds(
    MiniBatchCase, m=st.integers(1, 60), batch_size=st.integers(1, 70), kind=kinds, seed=seeds
)
split_cases = st.builds(
    SplitCase,
    m=st.integers(1, 100),
    shares=st.lists(st.integers(1, 60), min_size=2, max_size=4).map(tuple),
    k=st.integers(2, 12),
    classes=st.integers(1, 5),
    seed=seeds,
)
logistic_regression_cases = st.builds(
    LogisticRegressionCase,
    n_x=st.integers(1, 6),
    m=examples,
    kind=_bounded,
    scale=st.sampled_from([1.0, 0.01, 100.0]),
    b=st.just(0.0) | st.floats(-5, 5),
    seed=seeds,
)

layout_cases = st.builds(
    LayoutCase,
    function=st.sampled_from(list(FUNCTIONS)),
    layout=st.sampled_from(list(LAYOUTS)),
    writeable=_flags,
    n=st.integers(2, 6),
    m=examples,
    seed=seeds,
)
