"""Regularization: penalties on the weights alone, their gradients, and L2 as weight decay."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import rows, to_numpy, twin, unload
from parity_tests.compare.budgets import GRADIENT, STEP
from parity_tests.compare.measurement import Array
from parity_tests.drawing import powers
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, evaluate
from parity_tests.twins._networks import draw_labels, draw_network, layer_sizes
from parity_tests.twins._relations import mistyped
from scratch import optimizers
from scratch import regularization as ours
from scratch.network import Network, cost_and_gradients
from scratch.parameters import Parameters
from torch_ref import network as their_network
from torch_ref import regularization as theirs
from torch_ref.parameters import parameters as their_parameters

TAUGHT = 'Course 2, week 1, "Regularization"'
KINDS, DENOMINATORS = st.sampled_from(["l2", "l1"]), st.sampled_from([*ours.DENOMINATORS])
PENALTIES = ("l1_penalty", "l2_penalty", "l1_penalty_gradient", "l2_penalty_gradient")


def draw_penalty(rng: np.random.Generator, kind: str = "l2",
    layer_sizes: tuple[int, ...] = (5, 4, 3), epsilon: float | None = None, weights: str = "zeros",
    strength: float = 0.7, m: int = 13, denominator: str | None = None) -> Case:  # fmt: skip
    """Draw parameters, half of them 0 and -0.0 unless another kind is asked for."""
    drawn = draw_network(rng, layer_sizes, epsilon=epsilon, weights=weights, decided=False)
    network, parameters, _, _ = drawn
    parameters["W1"][0, 0] = -1.5  # something to see
    named: Case = {"denominator": denominator} if denominator else {}
    case = {"parameters": parameters, "network": network, "strength": strength, "m": m}
    return {"kind": kind, **case, **named}


def pair_of(side: Any, kind: str, parameters: Any, **choices: Any) -> tuple[Any, Any]:
    """Return a penalty of one side and its gradient."""
    functions = (getattr(side, f"{kind}_penalty{end}") for end in ("", "_gradient"))
    penalty, gradient = (one(parameters, **choices) for one in functions)
    return penalty, gradient


def penalized(side: Any, kind: str, parameters: Any, **choices: Any) -> Values:
    """Return the same, and the weights that have a part in it."""
    penalty, gradient = pair_of(side, kind, parameters, **choices)
    weights = {f"weights' {name}": one for name, one in side.weights(parameters).items()}
    return {f"{kind}_penalty": penalty, **gradient, **weights}


def draw_weights(rng: np.random.Generator, kind: str = "l2", n: int = 4, n_prev: int = 5,
    m: int = 13, denominator: str = "2m") -> Case:  # fmt: skip
    """Draw weights off zero, of either sign, in two layers."""
    signs = rng.choice([-1.0, 1.0], (n, n_prev))
    W1, W2 = signs * rng.uniform(0.1, 1, (n, n_prev)), -rng.uniform(0.1, 1, (3, n))
    choices = {"kind": kind, "strength": 0.7, "m": m, "denominator": denominator}
    return {"W1": W1, "W2": W2, **choices}


def their_penalty(
    *weights: torch.Tensor, kind: str, strength: float, m: int, denominator: str
) -> torch.Tensor:
    """Return the penalty of weights as torch sums it."""
    sizes = [(W.abs() if kind == "l1" else W.square()).sum() for W in weights]
    return strength / (theirs.DENOMINATORS[denominator] * m) * torch.stack(sizes).sum()


# --- penalties in the cost, and as weight decay ---------------------------------------------------

#: the strength, the learning rate and the number of steps of every descent here.
STRENGTH, ALPHA, STEPS = 0.9, 0.1, 20
RULES: Any = {
    "gradient descent": (optimizers.GradientDescent, torch.optim.SGD),
    "Adam": (optimizers.Adam, torch.optim.Adam),
}


def draw_descent(rng: np.random.Generator, m: int = 7, epsilon: float | None = None) -> Case:
    network, parameters, X, _ = draw_network(rng, (3, 4, 2), m, epsilon=epsilon)
    parameters.theta[:] = rng.standard_normal(parameters.theta.size)
    return {"parameters": parameters, "X": X, "Y": draw_labels(network, m, rng), "network": network}


def gradients_of(penalty: Case, **case: Any) -> dict[str, Any]:
    return {"gradients": cost_and_gradients(**case, **penalty)[1].theta}


def carried(parameters: Parameters, X: Array, Y: Array, network: Network) -> Any:
    return twin(network, parameters), rows(X), rows(Y)


def in_one(gradients: Case) -> dict[str, Any]:
    """Return torch's gradients by name as one vector."""
    found = {name: to_numpy(name, one) for name, one in gradients.items()}
    return {"gradients": Parameters(found).theta}


def their_gradients_of(penalty: Case, **case: Any) -> dict[str, Any]:
    return in_one(their_network.cost_and_gradients(*carried(**case), **penalty)[1])


def descended(parameters: Parameters, **case: Any) -> Values:
    """Return our penalized gradients, and theta after steps along them."""
    values = gradients_of({"l2": STRENGTH}, parameters=parameters, **case)
    for name, (make, _) in RULES.items():
        rule, moved = make(learning_rate=ALPHA), parameters.copy()
        state = rule.init(moved)
        for _ in range(STEPS):
            rule.update(moved, cost_and_gradients(moved, **case, l2=STRENGTH)[1], state)
        values[f"theta by {name}"] = moved.theta
    return values


def decayed(make: Callable[[their_network.Network, int], Any], **case: Any) -> Array:
    """Return theta after steps of a torch optimizer along gradients without a penalty."""
    module, X, Y = carried(**case)
    optimizer, named = make(module, len(X)), their_parameters(module)
    for _ in range(STEPS):
        for key, gradient in their_network.cost_and_gradients(module, X, Y)[1].items():
            named[key].grad = gradient
        optimizer.step()
    return unload(module).theta


def by_groups(rule: Any, module: their_network.Network, m: int) -> Any:
    """Return an optimizer with the library's groups: weights decay by lambda / m, the rest not."""
    return rule(theirs.weight_decay_groups(module, STRENGTH, m), lr=ALPHA)


def their_descended(**case: Any) -> Values:
    """Return torch's gradients of the penalty in the cost, and weight decay on the weights."""
    values = their_gradients_of({"l2": STRENGTH}, **case)
    for name, (_, rule) in RULES.items():
        values[f"theta by {name}"] = decayed(partial(by_groups, rule), **case)
    return values


def known(module: their_network.Network, m: int) -> Case:
    """Return the names that a text may use: the weights and the biases of a module, and numbers."""
    named = their_parameters(module).items()
    weights, biases = ([one for name, one in named if name[0] == letter] for letter in "Wb")
    return {"weights": weights, "biases": biases, "m": m, "lambda_": STRENGTH, "alpha": ALPHA}


def decayed_as_typed(text: str, rule: str = "gradient descent", **case: Any) -> Values:
    """Return theta after steps of the optimizer of a text."""
    theta = decayed(lambda module, m: evaluate(text, **known(module, m)), **case)
    return {f"theta by {rule}": theta}


def penalized_as_typed(text: str, **case: Any) -> Values:
    """Return the gradients by autograd of a text, a penalized cost."""
    module, X, Y = carried(**case)
    J = functional.binary_cross_entropy(module(X), Y, reduction="sum") / len(X)
    named = their_parameters(module)
    gradients = torch.autograd.grad(evaluate(text, J=J, **known(module, len(X))), [*named.values()])
    return in_one(dict(zip(named, gradients, strict=True)))


# fmt: off
def in_the_cost(kind: str, *wrong: Any, **others: Any) -> FunctionTwin:
    return FunctionTwin(
        typed=penalized_as_typed, proves=(f"{kind}_penalty_gradient",),
        ours=partial(gradients_of, {kind: STRENGTH}),
        theirs=partial(their_gradients_of, {kind: STRENGTH}), bridge=None, draw=draw_descent,
        budget=GRADIENT, weight=0.1, mistakes=mistyped(penalized_as_typed, *wrong), **others)


L1_IN_THE_COST = "J + lambda_ / m * sum(W.abs().sum() for W in weights)"
L2_IN_THE_COST = "J + lambda_ / (2 * m) * sum(W.square().sum() for W in weights)"
GROUPS = '[{"params": weights, "weight_decay": lambda_ / m}, {"params": biases}], lr=alpha)'

TWINS = (
    PairTwin(
        name="penalties", formula="lambda / (2 m) sum W^2, lambda / m sum |W|",
        source=f"{TAUGHT}; torch.Tensor.square, torch.Tensor.abs", proves=PENALTIES,
        ours=Pair(
            lambda W1, W2, **case: pair_of(
                ours, parameters=Parameters({"W1": W1, "W2": W2}), **case),
            lambda dJ, gradient: {name: dJ * one for name, one in gradient.items()}),
        theirs=their_penalty, constants=("kind", "strength", "m", "denominator"),
        draw=draw_weights, weight=0.5, smooth=lambda kind="l2", **_: True,
        cases={"kind": KINDS, "n": st.integers(1, 6), "n_prev": st.integers(1, 6),
            "m": st.integers(1, 100), "denominator": DENOMINATORS},
        edges={"L1": {"kind": "l1", "denominator": "m"}, "a square W": {"n": 4, "n_prev": 4},
            "of one example": {"m": 1}}),

    FunctionTwin(
        name="gradients of penalties",
        formula="lambda / m W of L2, lambda / m sign(W) of L1, 0 at W = 0; 0 for b, gamma and beta",
        source=f"{TAUGHT}; torch.autograd.grad", proves=("weights", *PENALTIES),
        ours=lambda network, **case: penalized(ours, **case),
        theirs=lambda network, parameters, **case: penalized(
            theirs, parameters=twin(network, parameters), **case),
        draw=draw_penalty, weight=1.2,
        cases={
            "kind": KINDS, "layer_sizes": layer_sizes, "epsilon": st.sampled_from([None, 1e-5]),
            "weights": st.sampled_from(["normal", "zeros", "grid", "duplicated rows"]),
            "strength": st.just(0.0) | powers(-4, 2), "m": st.integers(1, 10_000),
            "denominator": st.none() | DENOMINATORS},
        edges={
            "L1, zeros of either sign": {"kind": "l1", "layer_sizes": (9, 9, 9)},
            "L1 over 2m": {"kind": "l1", "denominator": "2m"}, "L2 over m": {"denominator": "m"},
            "no zeros": {"weights": "normal"}, "batch norm": {"epsilon": 1e-5}}),

    FunctionTwin(
        name="l2", formula="J + lambda / (2 m) sum W^2, biases left out",
        torch=f"torch.optim.SGD({GROUPS}; or the penalty in the cost", typed=decayed_as_typed,
        source=f"{TAUGHT}; torch.optim.SGD, torch.optim.Adam", proves=("l2_penalty_gradient",),
        ours=descended, theirs=their_descended, bridge=None,
        draw=draw_descent, edges={"scales and shifts of batch norm": {"epsilon": 0.1}},
        budget=STEP, weight=0.1,
        mistakes=(
            *mistyped(decayed_as_typed,
                ("decay on the biases", 0.01,
                 "weight_decay given for module.parameters() shrinks b too",
                 "torch.optim.SGD([*weights, *biases], lr=alpha, weight_decay=lambda_ / m)"),
                ("weight_decay=lambda", 0.1, "the 1/m is missing",
                 "torch.optim.SGD(" + GROUPS.replace(" / m", "")),
                ("weight_decay=lambda / (2 m)", 0.01,
                 "the gradient of lambda / (2 m) W^2 is lambda / m W",
                 "torch.optim.SGD(" + GROUPS.replace("/ m", "/ (2 * m)"))),
            *mistyped(partial(decayed_as_typed, rule="Adam"),
                ("AdamW", 0.1,
                 "it shrinks W beside the gradient; the penalty's gradient goes through v and s",
                 f"torch.optim.AdamW({GROUPS}")))),

    in_the_cost(
        "l1",
        ("lambda / (2 m)", 0.01, "only L2 has the 2, which its derivative cancels",
         L1_IN_THE_COST.replace("/ m", "/ (2 * m)")),
        ("weight_decay", 0.1, "weight_decay is L2: it pulls by lambda / m W, not by its sign",
         L2_IN_THE_COST),
        name="l1", formula="J + lambda / m sum |W|",
        torch=f"{L1_IN_THE_COST}; the penalty in the cost", source=f"{TAUGHT}; torch.Tensor.abs"),

    in_the_cost(
        "l2",
        ("dW = dZ A^T + lambda / m W", 0.5,
         "the 1/m of the first term is missing: the penalty shrinks to a fraction 1/m of it",
         f"m * {L2_IN_THE_COST}"),
        name="l2-gradient", topic="errata", formula="dW = 1/m dZ A^T + lambda / m W",
        torch=f"{L2_IN_THE_COST}; autograd of it", source=f"{TAUGHT}; torch.autograd.grad"),
)
# fmt: on
