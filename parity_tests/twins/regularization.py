"""Regularization: penalties on the weights alone, their gradients, and L2 as weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import rows, to_numpy, twin, unload
from parity_tests.compare.budgets import GRADIENT, STEP
from parity_tests.compare.measurement import Array
from parity_tests.drawing import draw, powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation, evaluate
from parity_tests.twins._networks import draw_labels, draw_network, layer_sizes
from scratch import regularization as ours
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import Adam, GradientDescent
from scratch.parameters import Parameters
from torch_ref import network as their_network
from torch_ref import regularization as theirs
from torch_ref.parameters import parameters as their_parameters

TAUGHT = 'Course 2, week 1, "Regularization"'


KINDS, DENOMINATORS = st.sampled_from(["l2", "l1"]), st.sampled_from([*ours.DENOMINATORS])
PENALTIES = ("l1_penalty", "l2_penalty", "l1_penalty_gradient", "l2_penalty_gradient")


def draw_penalty(rng: np.random.Generator, kind: str = "l2",
    layer_sizes: tuple[int, ...] = (5, 4, 3), normalized: bool = False, weights: str = "zeros",
    strength: float = 0.7, m: int = 13, denominator: str | None = None) -> Case:  # fmt: skip
    """Draw parameters, biases too, half of them 0 and -0.0 unless another kind is asked for."""
    epsilon = 1e-5 if normalized else None
    network, parameters, _, _ = draw_network(rng, layer_sizes, epsilon=epsilon)
    for view in parameters.values():
        view[...] = draw(weights, view.shape, rng)
    parameters["W1"][0, 0] = -1.5  # something to see
    named: Case = {"denominator": denominator} if denominator else {}
    drawn = {"parameters": parameters, "network": network, "strength": strength, "m": m}
    return {"kind": kind, **drawn, **named}


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


#: the strength, the learning rate and the number of steps of every descent here.
STRENGTH, ALPHA, STEPS = 0.9, 0.1, 20
Decay = Callable[[their_network.Network, int], torch.optim.Optimizer]


def draw_descent(rng: np.random.Generator, m: int = 7, normalized: bool = False) -> Case:
    """Draw a network, its parameters, biases other than 0, and data."""
    epsilon = 0.1 if normalized else None
    network, parameters, X, _ = draw_network(rng, (3, 4, 2), m, epsilon=epsilon)
    parameters.theta[:] = rng.standard_normal(parameters.theta.size)
    Y = draw_labels(network, m, rng)
    return {"parameters": parameters, "X": X, "Y": Y, "network": network}


def gradients_of(penalty: Case, **case: Any) -> Values:
    return {"gradients": cost_and_gradients(**case, **penalty)[1].theta}


def carried(parameters: Parameters, X: Array, Y: Array, network: Network) -> Any:
    return twin(network, parameters), rows(X), rows(Y)


def in_one(gradients: Case) -> Values:
    """Return torch's gradients by name as one vector."""
    found = {name: to_numpy(name, one) for name, one in gradients.items()}
    return {"gradients": Parameters(found).theta}


def their_gradients_of(penalty: Case, **case: Any) -> Values:
    """Return autograd's gradients of the penalized cost."""
    return in_one(their_network.cost_and_gradients(*carried(**case), **penalty)[1])


def stepped(parameters: Parameters, **case: Any) -> Iterator[tuple[Parameters, Parameters]]:
    """Yield parameters and their gradients, once for each step, which moves them."""
    moved = parameters.copy()
    for _ in range(STEPS):
        yield moved, cost_and_gradients(moved, **case)[1]


def descended(**case: Any) -> Values:
    """Return our penalized gradients, and theta after steps along them."""
    values = dict(gradients_of({"l2": STRENGTH}, **case))
    rules = {"gradient descent": GradientDescent, "Adam": Adam}
    for name, make in rules.items():
        rule = make(learning_rate=ALPHA)
        state: Any = rule.init(case["parameters"])
        for moved, gradients in stepped(**case, l2=STRENGTH):
            rule.update(moved, gradients, state)
        values[f"theta by {name}"] = moved.theta
    return values


def decayed(make: Decay, name: str, **case: Any) -> Values:
    """Return theta after steps of a torch optimizer along gradients without a penalty."""
    module, X, Y = carried(**case)
    optimizer, named = make(module, len(X)), their_parameters(module)
    for _ in range(STEPS):
        for key, gradient in their_network.cost_and_gradients(module, X, Y)[1].items():
            named[key].grad = gradient
        optimizer.step()
    return {f"theta by {name}": unload(module).theta}


def by_groups(rule: Any, module: their_network.Network, m: int) -> Any:
    """Return an optimizer with the library's groups: weights decay by lambda / m, the rest not."""
    return rule(theirs.weight_decay_groups(module, STRENGTH, m), lr=ALPHA)


def their_descended(**case: Any) -> Values:
    """Return torch's penalty in the cost, and weight decay on the weights."""
    rules = {"gradient descent": torch.optim.SGD, "Adam": torch.optim.Adam}
    values = dict(their_gradients_of({"l2": STRENGTH}, **case))
    for name, rule in rules.items():
        values |= decayed(partial(by_groups, rule), name, **case)
    return values


def split(module: their_network.Network) -> dict[str, list[torch.Tensor]]:
    """Return the weights and the biases of a module."""
    named = their_parameters(module).items()
    letters = {"weights": "W", "biases": "b"}
    return {key: [one for name, one in named if name[0] == letters[key]] for key in letters}


def decayed_as_typed(text: str, **case: Any) -> Values:
    """Return theta after steps of SGD with the groups of a text."""

    def make(module: their_network.Network, m: int) -> Any:
        return evaluate(text, m=m, **split(module), lambda_=STRENGTH, alpha=ALPHA)

    return decayed(make, "gradient descent", **case)


def penalized_as_typed(text: str, **case: Any) -> Values:
    """Return the gradients by autograd of a text, a penalized cost."""
    module, X, Y = carried(**case)
    J = functional.binary_cross_entropy(module(X), Y, reduction="sum") / len(X)
    J = evaluate(text, J=J, lambda_=STRENGTH, m=len(X), **split(module))
    named = their_parameters(module)
    return in_one(dict(zip(named, torch.autograd.grad(J, [*named.values()]), strict=True)))


def weights_of(parameters: Parameters) -> Array:
    """Return theta where it is an entry of W, 0 where it is another."""
    kept = [view.ravel() * name.startswith("W") for name, view in parameters.items()]
    return np.concatenate(kept)


def shrunk(strength: Callable[[int], float], biases: bool = False, **case: Any) -> Values:
    """Return theta after steps along the cost alone, each shrinking W by alpha strength(m) W."""
    for moved, gradients in stepped(**case):
        pulled = moved.theta if biases else weights_of(moved)
        moved.theta[:] -= ALPHA * (gradients.theta + strength(case["X"].shape[1]) * pulled)
    return {"theta by gradient descent": moved.theta}


def pulled_by(pull: Callable[[Array, int], Array], **case: Any) -> Values:
    """Return the gradients of the cost and the pull of a penalty on the weights, shared by m."""
    slopes = gradients_of({}, **case)["gradients"]
    return {"gradients": slopes + pull(weights_of(case["parameters"]), case["X"].shape[1])}


def without_1_over_m(**case: Any) -> Values:
    """Return gradients whose first term is summed, not averaged, over the examples."""
    m, slopes = case["X"].shape[1], gradients_of({}, **case)["gradients"]
    weights = weights_of(case["parameters"])
    return {"gradients": np.where(weights != 0, m * slopes, slopes) + STRENGTH / m * weights}


def shrinks(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return theta after a descent, and after one whose weights shrink by alpha lambda / m."""
    name = "theta by gradient descent"
    return {name: run("l2", **case)[name]}, shrunk(lambda m: STRENGTH / m, **case)


# fmt: off
def in_the_cost(kind: str, **others: Any) -> FunctionTwin:
    return FunctionTwin(
        typed=penalized_as_typed, proves=(f"{kind}_penalty_gradient",),
        ours=partial(gradients_of, {kind: STRENGTH}),
        theirs=partial(their_gradients_of, {kind: STRENGTH}), bridge=None,
        draw=draw_descent, budget=GRADIENT, weight=0.1, **others)


GRADIENTS = FunctionTwin(
    name="gradients of penalties",
    formula="lambda / m W of L2, lambda / m sign(W) of L1, 0 at W = 0; 0 for b, gamma and beta",
    source=f"{TAUGHT}; torch.autograd.grad",
    proves=("weights", *PENALTIES), ours=lambda network, **case: penalized(ours, **case),
    theirs=lambda network, parameters, **case: penalized(
        theirs, parameters=twin(network, parameters), **case),
    draw=draw_penalty,
    cases={
        "kind": KINDS, "layer_sizes": layer_sizes, "normalized": st.booleans(),
        "weights": st.sampled_from(["normal", "zeros", "grid", "duplicated rows"]),
        "strength": st.just(0.0) | powers(-4, 2), "m": st.integers(1, 10_000),
        "denominator": st.none() | DENOMINATORS,
    },
    edges={
        "L1, zeros of either sign": {"kind": "l1", "layer_sizes": (9, 9, 9)},
        "L1 over 2m": {"kind": "l1", "denominator": "2m"}, "L2 over m": {"denominator": "m"},
        "no zeros": {"weights": "normal"}, "batch norm": {"normalized": True},
    },
    weight=1.2,
)

WITNESSED = PairTwin(
    name="penalties",
    formula="lambda / (2 m) sum W^2, lambda / m sum |W|",
    source=f"{TAUGHT}; torch.Tensor.square, torch.Tensor.abs",
    proves=PENALTIES,
    ours=Pair(
        lambda W1, W2, **case: pair_of(ours, parameters=Parameters({"W1": W1, "W2": W2}), **case),
        lambda dJ, gradient: {name: dJ * one for name, one in gradient.items()}),
    theirs=their_penalty, constants=("kind", "strength", "m", "denominator"),
    draw=draw_weights,
    cases={"kind": KINDS, "n": st.integers(1, 6), "n_prev": st.integers(1, 6),
        "m": st.integers(1, 100), "denominator": DENOMINATORS},
    edges={
        "L1": {"kind": "l1", "denominator": "m"}, "a square W": {"n": 4, "n_prev": 4},
        "of one example": {"m": 1},
    },
    weight=0.5,
    smooth=lambda kind="l2", **_: True,
)

L2 = FunctionTwin(
    name="l2",
    formula="J + lambda / (2 m) sum W^2, biases left out",
    torch='torch.optim.SGD([{"params": weights, "weight_decay": lambda_ / m}, '
    '{"params": biases}], lr=alpha); or the penalty in the cost',
    typed=decayed_as_typed,
    source=f"{TAUGHT}; torch.optim.SGD, torch.optim.Adam",
    proves=("l2_penalty_gradient",), ours=descended, theirs=their_descended, bridge=None,
    draw=draw_descent, edges={"scales and shifts of batch norm": {"normalized": True}},
    budget=STEP, weight=0.1,
    relations=(Relation(name="L2 shrinks the weights by 1 - alpha lambda / m in each step",
        holds=shrinks, broken_by="decay on the biases", budget=STEP),),
    mistakes=(
        Mistake(name="decay on the biases", margin=0.01,
            why="weight_decay given for module.parameters() shrinks b too",
            values=partial(shrunk, lambda m: STRENGTH / m, True)),
        Mistake(name="AdamW", margin=0.1,
            why="it shrinks W beside the gradient; the penalty's gradient goes through v and s",
            values=partial(decayed, partial(by_groups, torch.optim.AdamW), "Adam")),
        Mistake(name="weight_decay=lambda", margin=0.1,
            why="the 1/m is missing", values=partial(shrunk, lambda m: STRENGTH)),
        Mistake(name="weight_decay=lambda / (2 m)", margin=0.01,
            why="the gradient of lambda / (2 m) W^2 is lambda / m W",
            values=partial(shrunk, lambda m: STRENGTH / (2 * m))),
    ),
)

L1 = in_the_cost("l1",
    name="l1",
    formula="J + lambda / m sum |W|",
    torch="J + lambda_ / m * sum(W.abs().sum() for W in weights); the penalty in the cost",
    source=f"{TAUGHT}; torch.Tensor.abs",
    mistakes=(
        Mistake(name="lambda / (2 m)", margin=0.01,
            why="only L2 has the 2, which its derivative cancels",
            values=partial(pulled_by, lambda W, m: STRENGTH / (2 * m) * np.sign(W))),
        Mistake(name="weight_decay", margin=0.1,
            why="weight_decay is L2: it pulls by lambda / m W, not by its sign",
            values=partial(pulled_by, lambda W, m: STRENGTH / m * W)),
    ),
)

ERRATUM = in_the_cost("l2",
    name="l2-gradient",
    topic="errata",
    formula="dW = 1/m dZ A^T + lambda / m W",
    torch="J + lambda_ / (2 * m) * sum(W.square().sum() for W in weights); autograd of it",
    source=f"{TAUGHT}; torch.autograd.grad",
    mistakes=(Mistake(name="dW = dZ A^T + lambda / m W", margin=0.5, values=without_1_over_m,
        why="the 1/m of the first term is missing: the penalty shrinks to a fraction 1/m of "
        "it"),),
)
# fmt: on

TWINS = (WITNESSED, GRADIENTS, L2, L1, ERRATUM)
