"""Regularization: penalties on the weights alone, their gradients, and L2 as weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import BY_NAME, rows, to_numpy, twin, unload
from parity_tests.compare.budgets import GRADIENT, STEP
from parity_tests.compare.functions import pull_back
from parity_tests.compare.measurement import Array
from parity_tests.drawing import draw, powers
from parity_tests.networks import draw_labels, draw_network, layer_sizes
from parity_tests.rows import (
    Case,
    Change,
    FunctionTwin,
    Mistake,
    Pair,
    PairTwin,
    Relation,
    Values,
    evaluate,
)
from scratch import regularization as ours
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import Adam, GradientDescent
from scratch.parameters import Parameters
from torch_ref import network as their_network
from torch_ref import regularization as theirs
from torch_ref.parameters import parameters as their_parameters

typed_into, typed_into_torch = (
    partial(Change, f"{side}.regularization") for side in ("scratch", "torch_ref")
)
TAUGHT = 'Course 2, week 1, "Regularization"'

# --- penalties ------------------------------------------------------------------------------------

KINDS = st.sampled_from(["normal", "zeros", "grid", "duplicated rows"])
STRENGTHS = st.just(0.0) | powers(-4, 2)
DENOMINATORS = st.sampled_from([*ours.DENOMINATORS])


def draw_penalty(
    rng: np.random.Generator,
    denominator: str,
    layer_sizes: tuple[int, ...] = (5, 4, 3),
    normalized: bool = False,
    weights: str = "zeros",
    strength: float = 0.7,
    m: int = 13,
) -> Case:
    """Draw parameters, biases too, half of them 0 and -0.0 unless another kind is asked for."""
    epsilon = 1e-5 if normalized else None
    network, parameters, _, _ = draw_network(rng, layer_sizes, epsilon=epsilon)
    for view in parameters.values():
        view[...] = draw(weights, view.shape, rng)
    parameters["W1"][0, 0] = -1.5  # something to see
    choices = {"strength": strength, "m": m, "denominator": denominator}
    return {"parameters": parameters, "network": network, **choices}


def penalized(kind: str, parameters: Parameters, network: Network, **choices: Any) -> Values:
    """Return our penalty, its gradient and the names of the weights as far as they are."""
    penalty = getattr(ours, f"{kind}_penalty")(parameters, **choices)
    gradient = getattr(ours, f"{kind}_penalty_gradient")(parameters, **choices)
    weights = {f"weights' {name}": one for name, one in ours.weights(parameters).items()}
    return {f"{kind}_penalty": penalty, **gradient, **weights}


def their_penalized(kind: str, parameters: Parameters, network: Network, **choices: Any) -> Values:
    """Return the same of torch."""
    module = twin(network, parameters)
    penalty = getattr(theirs, f"{kind}_penalty")(module, **choices)
    gradient = getattr(theirs, f"{kind}_penalty_gradient")(module, **choices)
    found = {f"{kind}_penalty": to_numpy("J", penalty)[()]}
    found |= {name: to_numpy(name, one) for name, one in gradient.items()}
    weights = theirs.weights(module).items()
    return found | {f"weights' {name}": to_numpy(name, one) for name, one in weights}


def penalty_calls(kind: str, parameters: Parameters, network: Network, **choices: Any) -> Any:
    """Yield the calls of the functions of either side."""
    for side, given in (
        ("scratch", {"parameters": parameters}),
        ("torch_ref", {"module": twin(network, parameters)}),
    ):
        yield f"{side}.regularization.weights", given
        for name in (f"{kind}_penalty", f"{kind}_penalty_gradient"):
            yield f"{side}.regularization.{name}", {**given, **choices}
    rest = {"strength": choices["strength"], "m": choices["m"]}
    yield "torch_ref.regularization.weight_decay_groups", {**given, **rest}


def penalty_row(kind: str, denominator: str, formula: str, mistakes: Any) -> FunctionTwin:
    """Return the row of a penalty and its gradient, for modules of any shape."""
    return FunctionTwin(
        name=f"{kind}_penalty_gradient",
        formula=formula,
        source=f"{TAUGHT}; torch.autograd.grad",
        proves=("weights", f"{kind}_penalty", f"{kind}_penalty_gradient"),
        ours=partial(penalized, kind),
        theirs=partial(their_penalized, kind),
        bridge=None,
        draw=partial(draw_penalty, denominator=denominator),
        cases={
            "layer_sizes": layer_sizes,
            "normalized": st.booleans(),
            "weights": KINDS,
            "strength": STRENGTHS,
            "m": st.integers(1, 10_000),
            "denominator": DENOMINATORS,
        },
        edges={
            "zeros of either sign": {"weights": "zeros", "layer_sizes": (9, 9, 9)},
            "no zeros": {"weights": "normal"},
            "batch norm": {"normalized": True},
            "over m": {"denominator": "m"},
            "over 2m": {"denominator": "2m"},
        },
        weight=0.6,
        calls=partial(penalty_calls, kind),
        mistakes=mistakes,
    )


L2_GRADIENT = penalty_row(
    "l2",
    "2m",
    "lambda / (2 m) sum W^2, whose gradient is lambda / m W, and 0 for b, gamma and beta",
    (
        Mistake(
            name="l2-gradient-without-its-2",
            seen="jingtinghuang/CS231n-Spring-2017 issue 3",
            change=typed_into("gradients[name] = 2 * strength /", "gradients[name] = strength /"),
        ),
        Mistake(
            name="decay-on-biases",
            seen="ultralytics/yolov3 issue 469; autrainer/autrainer pull request 166",
            change=typed_into(' if name.startswith("W")', ""),
        ),
        Mistake(
            name="decay-on-batch-norm",
            seen="LBANN/lbann issue 809; VectorInstitute/mmlearn pull request 2",
            change=typed_into('if name.startswith("W")', 'if not name.startswith("b")'),
        ),
        Mistake(
            name="torch's sum of norms",
            change=typed_into_torch("W.square().sum()", "W.norm()"),
        ),
        Mistake(
            name="torch's decay of every parameter",
            seen="torch.optim, which decays all that it is given",
            change=typed_into_torch(
                'in unchecked(parameters)(module).items() if name.startswith("W")}',
                "in unchecked(parameters)(module).items()}",
            ),
        ),
    ),
)
L1_GRADIENT = penalty_row(
    "l1",
    "m",
    "lambda / m sum |W|, whose gradient is lambda / m sign(W), 0 at W = 0, and 0 for b",
    (
        Mistake(
            name="l1-gradient-always-positive",
            seen="bashardudin/Epita-SCIA-OCVX issue 1",
            change=typed_into("* np.sign(W)", "* np.abs(np.sign(W))"),
        ),
        Mistake(
            name="sign(0) = 1 under L1",
            why="a weight of exactly 0 is moved, and never stays there",
            change=typed_into("* np.sign(W)", "* np.where(W >= 0, 1, -1)"),
        ),
        Mistake(
            name="sign(-0.0) = -1 under L1",
            why="the sign bit of a zero is no sign",
            change=typed_into(
                "* np.sign(W)", "* np.where(W == 0, np.copysign(0.5, W), np.sign(W))"
            ),
        ),
        Mistake(
            name="torch's L1 over 2m",
            change=typed_into_torch('"m": 1, "2m": 2', '"m": 2, "2m": 2'),
        ),
        Mistake(
            name="torch's L1 by the root of squares",
            why="the root has no derivative at 0: NaN",
            change=typed_into_torch("W.abs().sum()", "W.square().sqrt().sum()"),
        ),
    ),
)


def draw_weights(rng: np.random.Generator, denominator: str, m: int = 13, **sizes: int) -> Case:
    """Draw weights off zero, of either sign, in two layers."""
    n, n_prev = sizes.get("n", 4), sizes.get("n_prev", 5)
    signs = rng.choice([-1.0, 1.0], (n, n_prev))
    return {
        "W1": signs * rng.uniform(0.1, 1, (n, n_prev)),
        "W2": -rng.uniform(0.1, 1, (3, n)),
        **{"strength": 0.7, "m": m, "denominator": denominator},
    }


CHOICES = ("strength", "m", "denominator")


def forward(kind: str, **case: Any) -> tuple[Any, Any]:
    """Return our penalty, and what its gradient is made of."""
    choices = {name: case.pop(name) for name in CHOICES}
    parameters = Parameters(case)
    return getattr(ours, f"{kind}_penalty")(parameters, **choices), (kind, parameters, choices)


def backward(dJ: Any, cache: Any) -> dict[str, Array]:
    """Return our gradient times that of J."""
    kind, parameters, choices = cache
    gradient = getattr(ours, f"{kind}_penalty_gradient")(parameters, **choices)
    return {name: dJ * one for name, one in gradient.items()}


def their_penalty(
    kind: str, *tensors: torch.Tensor, strength: float, m: int, denominator: str
) -> torch.Tensor:
    """Return the penalty of weights as torch sums it."""
    total = sum(
        ((W.abs() if kind == "l1" else W.square()).sum() for W in tensors),
        start=0.0 * tensors[0].sum(),
    )
    return strength / (theirs.DENOMINATORS[denominator] * m) * total


def witnessed_row(kind: str, denominator: str, formula: str, mistakes: Any) -> PairTwin:
    """Return the row of a penalty by three witnesses, weights away from zero."""
    return PairTwin(
        name=f"{kind}_penalty",
        formula=formula,
        source=f"{TAUGHT}; torch.Tensor.abs, torch.Tensor.square",
        proves=(f"{kind}_penalty", f"{kind}_penalty_gradient"),
        ours=Pair(partial(forward, kind), backward),
        theirs=partial(their_penalty, kind),
        constants=CHOICES,
        draw=partial(draw_weights, denominator=denominator),
        cases={
            "n": st.integers(1, 6),
            "n_prev": st.integers(1, 6),
            "m": st.integers(1, 100),
            "denominator": DENOMINATORS,
        },
        edges={"a square W": {"n": 4, "n_prev": 4}, "of one example": {"m": 1}},
        weight=0.3,
        mistakes=mistakes,
    )


L2_PENALTY = witnessed_row(
    "l2",
    "2m",
    "lambda / (2 m) sum W^2",
    (
        Mistake(
            name="l2-norm-not-squared",
            seen="ddbourgin/numpy-ml issue 53: the penalty gamma sqrt(beta @ beta)",
            change=typed_into("np.square(W).sum() for W", "np.sqrt(np.square(W).sum()) for W"),
        ),
        Mistake(
            name="l2-without-1/m",
            seen="ageron/handson-ml3 issue 118: 1/2 where the text has 1/m",
            change=typed_into(
                "np.square(W).sum() for W in weights(parameters).values())\n    return "
                "parameters.theta.dtype.type(strength / (DENOMINATORS[denominator] * m)",
                "np.square(W).sum() for W in weights(parameters).values())\n    return "
                "parameters.theta.dtype.type(strength / DENOMINATORS[denominator]",
            ),
        ),
    ),
)
L1_PENALTY = witnessed_row("l1", "m", "lambda / m sum |W|", ())


def draw_kinks(rng: np.random.Generator, m: int = 3) -> Case:
    """Draw weights of which a third are 0 and a third -0.0, and an upstream gradient."""
    w = rng.standard_normal((3, m))
    w[1], w[2] = 0.0, -0.0
    return {"w": w, "upstream": rng.standard_normal((3, m))}


def slope(function: Callable[..., torch.Tensor], w: Array, upstream: Array) -> Values:
    """Return the gradient of a function of torch's rows."""
    _, gradients = pull_back(function, {"w": w}, {}, upstream, "cpu", BY_NAME)
    return {"gradient": gradients["w"]}


KINK = FunctionTwin(
    name="absolute-value-at-0",
    topic="activations",
    formula="d|w|/dw = sign(w); at 0 the derivative is 0",
    torch="w.abs()",
    typed=lambda text, **case: slope(lambda w: evaluate(text, w=w), **case),
    source=f"{TAUGHT}, L1; torch.abs",
    proves=("l1_penalty_gradient",),
    ours=lambda w, upstream: {
        "gradient": upstream * ours.l1_penalty_gradient(Parameters({"W1": w}), 1.0, 1)["W1"]
    },
    theirs=partial(slope, torch.abs),
    bridge=None,
    draw=draw_kinks,
    cases={"m": st.integers(1, 6)},
    budget=GRADIENT,
    weight=0.1,
    mistakes=(
        Mistake(
            name="torch.where(w >= 0, w, -w)",
            why="derivative 1 at 0: L1 moves zeros",
            values=lambda w, upstream: {"gradient": upstream * np.where(w >= 0, 1, -1)},
            margin=0.1,
        ),
        Mistake(
            name="(w ** 2).sqrt()",
            why="the root has no derivative at 0: NaN",
            values=partial(slope, lambda w: w.square().sqrt()),
            margin=math.inf,
        ),
    ),
)

# --- in the cost, and as weight decay -------------------------------------------------------------

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


def gradients_of(
    parameters: Parameters, X: Array, Y: Array, network: Network, **penalty: Any
) -> Values:
    """Return our penalized gradients."""
    return {"gradients": cost_and_gradients(parameters, X, Y, network, **penalty)[1].theta}


def their_gradients_of(
    parameters: Parameters, X: Array, Y: Array, network: Network, **penalty: Any
) -> Values:
    """Return autograd's gradients of the penalized cost."""
    module = twin(network, parameters)
    _, found = their_network.cost_and_gradients(module, rows(X), rows(Y), **penalty)
    return {
        "gradients": Parameters({name: to_numpy(name, one) for name, one in found.items()}).theta
    }


def descended(parameters: Parameters, X: Array, Y: Array, network: Network) -> Values:
    """Return our penalized gradients, and theta after steps along them."""
    values = dict(gradients_of(parameters, X, Y, network, l2=STRENGTH))
    for name, rule in (
        ("theta by gradient descent", GradientDescent(learning_rate=ALPHA)),
        ("theta by Adam", Adam(learning_rate=ALPHA)),
    ):
        moved = parameters.copy()
        state: Any = rule.init(moved)
        for _ in range(STEPS):
            _, gradients = cost_and_gradients(moved, X, Y, network, l2=STRENGTH)
            rule.update(moved, gradients, state)
        values[name] = moved.theta
    return values


def decayed(
    make: Decay, name: str, parameters: Parameters, X: Array, Y: Array, network: Network
) -> Values:
    """Return theta after steps of a torch optimizer along gradients without a penalty."""
    module = twin(network, parameters)
    optimizer, data, named = make(module, X.shape[1]), (rows(X), rows(Y)), their_parameters(module)
    for _ in range(STEPS):
        for key, gradient in their_network.cost_and_gradients(module, *data)[1].items():
            named[key].grad = gradient
        optimizer.step()
    return {f"theta by {name}": unload(module).theta}


def groups(module: their_network.Network, m: int, strength: float = STRENGTH) -> Any:
    """Return the library's groups: weights decay by lambda / m, the rest does not."""
    return theirs.weight_decay_groups(module, strength, m)


def their_descended(**case: Any) -> Values:
    """Return torch's penalty in the cost, and weight decay on the weights."""
    sgd, adam = torch.optim.SGD, torch.optim.Adam
    return {
        **their_gradients_of(**case, l2=STRENGTH),
        **decayed(lambda one, m: sgd(groups(one, m), lr=ALPHA), "gradient descent", **case),
        **decayed(lambda one, m: adam(groups(one, m), lr=ALPHA), "Adam", **case),
    }


def decayed_as_typed(text: str, **case: Any) -> Values:
    """Return theta after steps of SGD with the groups of a text."""

    def make(module: their_network.Network, m: int) -> Any:
        named = their_parameters(module)
        weights = [one for name, one in named.items() if name.startswith("W")]
        biases = [one for name, one in named.items() if name.startswith("b")]
        names = {"weights": weights, "biases": biases, "lambda_": STRENGTH, "alpha": ALPHA}
        return evaluate(text, m=m, **names)

    return decayed(make, "gradient descent", **case)


def penalized_as_typed(
    text: str, parameters: Parameters, X: Array, Y: Array, network: Network
) -> Values:
    """Return the gradients by autograd of a text, a penalized cost."""
    module, m = twin(network, parameters), X.shape[1]
    named = their_parameters(module)
    weights = [one for name, one in named.items() if name.startswith("W")]
    J = functional.binary_cross_entropy(module(rows(X)), rows(Y), reduction="sum") / m
    J = evaluate(text, J=J, lambda_=STRENGTH, m=m, weights=weights)
    pulled = torch.autograd.grad(J, list(named.values()))
    found = {name: to_numpy(name, one) for name, one in zip(named, pulled, strict=True)}
    return {"gradients": Parameters(found).theta}


def weights_of(parameters: Parameters) -> Array:
    """Return theta where it is an entry of W, 0 where it is another."""
    kept = [view.ravel() * name.startswith("W") for name, view in parameters.items()]
    return np.concatenate(kept)


def shrunk(
    strength: float,
    parameters: Parameters,
    X: Array,
    Y: Array,
    network: Network,
    biases: bool = False,
) -> Values:
    """Return theta after steps along the cost alone, each shrinking by alpha strength W."""
    moved = parameters.copy()
    for _ in range(STEPS):
        _, gradients = cost_and_gradients(moved, X, Y, network)
        pulled = moved.theta if biases else weights_of(moved)
        moved.theta[:] -= ALPHA * (gradients.theta + strength * pulled)
    return {"theta by gradient descent": moved.theta}


def pulled_by(pull: Callable[[Array, int], Array], **case: Any) -> Values:
    """Return the gradients of the cost and the pull of a penalty on the weights, shared by m."""
    slopes = gradients_of(**case)["gradients"]
    return {"gradients": slopes + pull(weights_of(case["parameters"]), case["X"].shape[1])}


def without_1_over_m(**case: Any) -> Values:
    """Return gradients whose first term is summed, not averaged, over the examples."""
    m, slopes = case["X"].shape[1], gradients_of(**case)["gradients"]
    weights = weights_of(case["parameters"])
    summed = np.where(weights != 0, m * slopes, slopes)
    return {"gradients": summed + STRENGTH / m * weights}


def shrinks(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return theta after a descent, and after one whose weights shrink by alpha lambda / m."""
    name = "theta by gradient descent"
    shrunken = shrunk(STRENGTH / case["X"].shape[1], **case)
    return {name: run("l2", **case)[name]}, shrunken


L2 = FunctionTwin(
    name="l2",
    formula="J + lambda / (2 m) sum W^2, biases left out",
    torch='torch.optim.SGD([{"params": weights, "weight_decay": lambda_ / m}, '
    '{"params": biases}], lr=alpha); or the penalty in the cost',
    typed=decayed_as_typed,
    source=f"{TAUGHT}; torch.optim.SGD, torch.optim.Adam",
    proves=("l2_penalty_gradient",),
    ours=descended,
    theirs=their_descended,
    bridge=None,
    draw=draw_descent,
    edges={"scales and shifts of batch norm": {"normalized": True}},
    budget=STEP,
    weight=0.1,
    relations=(
        Relation(
            name="L2 shrinks the weights by 1 - alpha lambda / m in each step",
            holds=shrinks,
            broken_by="decay on the biases",
            budget=STEP,
        ),
    ),
    mistakes=(
        Mistake(
            name="decay on the biases",
            why="weight_decay given for module.parameters() shrinks b too",
            values=lambda **case: shrunk(STRENGTH / case["X"].shape[1], **case, biases=True),
            margin=0.01,
            change=typed_into_torch(
                'for name, W in named.items() if name.startswith("W")]',
                "for name, W in named.items()]",
            ),
        ),
        Mistake(
            name="AdamW",
            why="it shrinks W beside the gradient; the penalty's gradient goes through v and s",
            values=partial(
                decayed, lambda one, m: torch.optim.AdamW(groups(one, m), lr=ALPHA), "Adam"
            ),
            margin=0.1,
        ),
        Mistake(
            name="weight_decay=lambda",
            why="the 1/m is missing",
            values=partial(shrunk, STRENGTH),
            margin=0.1,
            change=typed_into_torch('"weight_decay": strength / m', '"weight_decay": strength'),
        ),
        Mistake(
            name="weight_decay=lambda / (2 m)",
            why="the gradient of lambda / (2 m) W^2 is lambda / m W",
            values=lambda **case: shrunk(STRENGTH / (2 * case["X"].shape[1]), **case),
            margin=0.01,
        ),
    ),
)

L1 = FunctionTwin(
    name="l1",
    formula="J + lambda / m sum |W|",
    torch="J + lambda_ / m * sum(W.abs().sum() for W in weights); the penalty in the cost",
    typed=penalized_as_typed,
    source=f"{TAUGHT}; torch.Tensor.abs",
    proves=("l1_penalty_gradient",),
    ours=partial(gradients_of, l1=STRENGTH),
    theirs=partial(their_gradients_of, l1=STRENGTH),
    bridge=None,
    draw=draw_descent,
    budget=GRADIENT,
    weight=0.1,
    mistakes=(
        Mistake(
            name="lambda / (2 m)",
            why="only L2 has the 2, which its derivative cancels",
            values=partial(pulled_by, lambda W, m: STRENGTH / (2 * m) * np.sign(W)),
            margin=0.01,
        ),
        Mistake(
            name="weight_decay",
            why="weight_decay is L2: it pulls by lambda / m W, not by its sign",
            values=partial(pulled_by, lambda W, m: STRENGTH / m * W),
            margin=0.1,
        ),
    ),
)

ERRATUM = FunctionTwin(
    name="l2-gradient",
    topic="errata",
    formula="dW = 1/m dZ A^T + lambda / m W",
    torch="J + lambda_ / (2 * m) * sum(W.square().sum() for W in weights); autograd of it",
    typed=penalized_as_typed,
    source=f"{TAUGHT}; torch.autograd.grad",
    proves=("l2_penalty_gradient",),
    ours=partial(gradients_of, l2=STRENGTH),
    theirs=partial(their_gradients_of, l2=STRENGTH),
    bridge=None,
    draw=draw_descent,
    budget=GRADIENT,
    weight=0.1,
    mistakes=(
        Mistake(
            name="dW = dZ A^T + lambda / m W",
            why="the 1/m of the first term is missing: the penalty shrinks to a fraction 1/m of it",
            values=without_1_over_m,
            margin=0.5,
        ),
    ),
)

TWINS = (L2_PENALTY, L1_PENALTY, L2_GRADIENT, L1_GRADIENT, KINK, L2, L1, ERRATUM)
