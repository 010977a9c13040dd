"""The course's three-layer network with L2 or dropout: `scratch.course.regularization`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional

from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.budgets import FLOAT32_NETWORK, FORWARD, GRADIENT
from parity_tests.compare.course import (
    draw_data,
    layers_of,
    numpy_seed,
    pass_gauges,
    signal_gauges,
    torch_pass,
)
from parity_tests.compare.gauges import product
from parity_tests.compare.measurement import Array
from parity_tests.drawing import SMOOTH, examples
from parity_tests.rows import Case, Change, FunctionTwin, Mistake, Pair, PairTwin, Values
from scratch.course import regularization as ours
from torch_ref.linear import linear

Call = tuple[str, Case]

typed_into = partial(Change, "scratch.course.regularization")

TAUGHT = 'Course 2, week 1, "Regularization"'
DROPOUT = 'Course 2, week 1, "Dropout regularization"'

SIGNALS = [f"{letter}{l}" for l in (1, 2, 3) for letter in "ZAWb"]
GRADIENTS = ["dZ3", "dW3", "db3", "dA2", "dZ2", "dW2", "db2", "dA1", "dZ1", "dW1", "db1"]

sizes = st.tuples(*[st.integers(1, 7)] * 3, st.integers(1, 3))
exactness = st.sampled_from(["normal", "normal", "grid"])
strengths = st.sampled_from([0.0, 0.1, 0.7, 10.0])
keep_probs = st.sampled_from([1.0, 0.5, 0.8, 0.4])


def draw_network(
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (4, 7, 6, 1),
    m: int = 9,
    kind: str = "normal",
    **choices: float,
) -> Case:
    """Draw inputs, integer labels, three layers, and what else is chosen."""
    return {**draw_data(sizes, m, rng, kind), **choices}


def draw_decayed(rng: np.random.Generator, lambd: float = 0.7, **choices: Any) -> Case:
    """Draw a network and the strength of its penalty."""
    return draw_network(rng, lambd=lambd, **choices)


def draw_dropped(rng: np.random.Generator, keep_prob: float = 0.5, **choices: Any) -> Case:
    """Draw a network and how much of it is kept."""
    return draw_network(rng, keep_prob=keep_prob, **choices)


def ordered(gradients: Mapping[str, Array]) -> Mapping[str, Array]:
    """Return gradients, which must come in the assignment's order."""
    assert list(gradients) == GRADIENTS
    return gradients


# --- the network and L2 ---------------------------------------------------------------------------


def passed(X: Array, Y: Array, lambd: float, **parameters: Array) -> Values:
    """Return our cache, the cost with its penalty, and the gradients without."""
    A3, cache = ours.forward_propagation(X, parameters)
    named = dict(zip(SIGNALS, cache, strict=True))
    assert A3 is named["A3"]
    J = ours.compute_cost_with_regularization(A3, Y, parameters, lambd)
    return {**named, "J": J, **ordered(ours.backward_propagation(X, Y, cache))}


def passed_by_torch(X: Array, Y: Array, lambd: float, **parameters: Array) -> Values:
    """Return the same of torch's network."""
    J = torch_pass(parameters, "relu", X, Y, lambd)["J"]
    return {**parameters, **torch_pass(parameters, "relu", X, Y), "J": J}


def passed_gauges(X: Array, Y: Array, lambd: float, **parameters: Array) -> Values:
    """Return the running-error gauges of a pass."""
    found = torch_pass(parameters, "relu", X, Y)
    bounds = {**pass_gauges(parameters, "relu", X, Y), **signal_gauges(parameters, X, found)}
    bounds.pop("dX")
    return bounds | {"J": pass_gauges(parameters, "relu", X, Y, lambd)["J"]}


def network_calls(X: Array, Y: Array, lambd: float, **parameters: Array) -> Iterator[Call]:
    """Yield the calls of a pass."""
    A3, cache = ours.forward_propagation(X, parameters)
    data = {"X": X, "Y": Y, "cache": cache}
    cost = {"A3": A3, "Y": Y, "parameters": parameters, "lambd": lambd}
    stem = "scratch.course.regularization"
    yield f"{stem}.forward_propagation", {"X": X, "parameters": parameters}
    yield f"{stem}.compute_cost_with_regularization", cost
    yield f"{stem}.backward_propagation", data
    yield f"{stem}.backward_propagation_with_regularization", {**data, "lambd": lambd}


NETWORK = FunctionTwin(
    name="regularization.network",
    formula="J = mean cross-entropy + lambda / (2 m) sum W^2; dZ and dA of the sum of the costs",
    source=f"{TAUGHT}; torch.autograd.grad",
    proves=("forward_propagation", "backward_propagation", "compute_cost_with_regularization"),
    ours=passed,
    theirs=passed_by_torch,
    bridge=None,
    budget=GRADIENT,
    budgets={"J": FORWARD},
    draw=partial(draw_decayed, m=12),
    cases={"sizes": sizes, "m": examples, "kind": exactness, "lambd": strengths},
    edges={"exact ties": {"kind": "grid"}, "no penalty": {"lambd": 0.0}},
    gauges=passed_gauges,
    calls=network_calls,
    mistakes=(
        Mistake(
            name="penalty-of-the-course-without-1/m",
            seen="ageron/handson-ml3 issue 118",
            change=typed_into(
                "(pack(parameters), lambd, A3.shape[1])", "(pack(parameters), lambd, 1)"
            ),
        ),
    ),
)


def decayed(X: Array, Y: Array, lambd: float, **parameters: Array) -> tuple[Any, Any]:
    """Return the cost with its penalty, and what its backward takes."""
    A3, cache = ours.forward_propagation(X, parameters)
    J = ours.compute_cost_with_regularization(A3, Y, parameters, lambd)
    return J, (X, Y, cache, lambd)


def pulled_back(dJ: Any, cache: Any) -> dict[str, Array]:
    """Return the gradients with weight decay by parameter."""
    gradients = ordered(ours.backward_propagation_with_regularization(*cache))
    return {name[1:]: dJ * one for name, one in gradients.items() if name[1] in "Wb"}


def torch_cost(
    *layers: torch.Tensor,
    X: torch.Tensor,
    Y: torch.Tensor,
    lambd: float = 0.0,
    masks: tuple[torch.Tensor, ...] = (),
) -> torch.Tensor:
    """Return torch's cost of a network whose hidden units may be dropped."""
    A = X
    for l, (W, b) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
        Z = linear(A, W, b)
        A = torch.relu(Z) * masks[l] if l < len(masks) else torch.relu(Z)
    penalty = sum(W.square().sum() for W in layers[::2])
    cost = functional.binary_cross_entropy_with_logits(Z, Y.to(Z.dtype), reduction="sum")
    return (cost + lambd / 2 * penalty) / len(X)


def decayed_gauges(arguments: Mapping[str, Any], upstream: Array) -> Values:
    """Return the gauges of the cost with its penalty and of its gradients."""
    data = (arguments[name] for name in ("X", "Y", "lambd"))
    bounds = pass_gauges(layers_of(arguments), "relu", *data)
    pulled = {name: np.abs(upstream) * bounds[f"d{name}"] for name in layers_of(arguments)}
    return {"output": bounds["J"], **pulled}


L2 = PairTwin(
    name="regularization.l2",
    formula="J = mean cross-entropy + lambda / (2 m) sum W^2; dW = dW + lambda / m W",
    source=f"{TAUGHT}; torch.nn.functional.binary_cross_entropy_with_logits",
    proves=("compute_cost_with_regularization", "backward_propagation_with_regularization"),
    ours=Pair(decayed, pulled_back),
    theirs=torch_cost,
    constants=("X", "Y", "lambd"),
    draw=draw_decayed,
    cases={"sizes": sizes, "m": examples, "kind": exactness, "lambd": strengths},
    smooth=lambda kind="normal", **_: kind in SMOOTH,
    edges={"no penalty": {"lambd": 0.0}, "two outputs": {"sizes": (4, 5, 3, 2)}},
    gauges=decayed_gauges,
    float32=False,
    weight=0.4,
)


# --- dropout --------------------------------------------------------------------------------------


def masks_of(keep_prob: float, X: Array, parameters: Mapping[str, Array]) -> list[Array]:
    """Return the masks of the assignment, drawn from NumPy's seed 1, D1 before D2."""
    with numpy_seed(1):
        return [
            np.random.rand(len(parameters[f"W{l}"]), X.shape[1]) < keep_prob  # noqa: NPY002
            for l in (1, 2)
        ]


def dropped(X: Array, Y: Array, keep_prob: float, **parameters: Array) -> tuple[Any, Any]:
    """Return the cost under dropout, and what its backward takes."""
    A3, cache = ours.forward_propagation_with_dropout(X, parameters, keep_prob)
    J = ours.compute_cost_with_regularization(A3, Y, parameters, 0)
    return J, (X, Y, cache, keep_prob)


def dropped_back(dJ: Any, cache: Any) -> dict[str, Array]:
    """Return the gradients under dropout by parameter."""
    gradients = ordered(ours.backward_propagation_with_dropout(*cache))
    return {name[1:]: dJ * one for name, one in gradients.items() if name[1] in "Wb"}


def torch_dropped(
    *layers: torch.Tensor, X: torch.Tensor, Y: torch.Tensor, keep_prob: float
) -> torch.Tensor:
    """Return torch's cost under the assignment's masks."""
    weights = {f"W{l}": W.detach().numpy() for l, W in enumerate(layers[::2], start=1)}
    masks = masks_of(keep_prob, columns(X), weights)
    return torch_cost(
        *layers, X=X, Y=Y, masks=tuple(to_torch("D", one / keep_prob) for one in masks)
    )


def dropped_gauges(arguments: Mapping[str, Any], upstream: Array) -> Values:
    """Return the gauges of the cost under dropout and of its gradients."""
    X, Y, keep_prob = (arguments[name] for name in ("X", "Y", "keep_prob"))
    parameters = layers_of(arguments)
    masks = masks_of(keep_prob, X, parameters)
    shared = {f"D{l}": mask / keep_prob for l, mask in enumerate(masks, start=1)}
    A3 = ours.forward_propagation_with_dropout(X, parameters, keep_prob)[0]
    bounds = pass_gauges(parameters, "relu", X, Y, A=A3, masks=shared)
    pulled = {name: np.abs(upstream) * bounds[f"d{name}"] for name in parameters}
    return {"output": bounds["J"], **pulled}


def dropped_calls(
    X: Array, Y: Array, keep_prob: float, upstream: Array, **parameters: Array
) -> Iterator[Call]:
    """Yield the calls of a pass under dropout."""
    given = {"X": X, "parameters": parameters, "keep_prob": keep_prob}
    yield "scratch.course.regularization.forward_propagation_with_dropout", given
    cache = ours.forward_propagation_with_dropout(**given)[1]
    back = {"X": X, "Y": Y, "cache": cache, "keep_prob": keep_prob}
    yield "scratch.course.regularization.backward_propagation_with_dropout", back


INVERTED = PairTwin(
    name="regularization.dropout",
    formula="A = A D / keep_prob with D = rand < keep_prob of seed 1; dA = dA D / keep_prob",
    source=f"{DROPOUT}; torch.nn.functional.dropout",
    proves=("forward_propagation_with_dropout", "backward_propagation_with_dropout"),
    ours=Pair(dropped, dropped_back),
    theirs=torch_dropped,
    constants=("X", "Y", "keep_prob"),
    draw=draw_dropped,
    cases={"sizes": sizes, "m": examples, "kind": exactness, "keep_prob": keep_probs},
    smooth=lambda kind="normal", **_: kind in SMOOTH,
    edges={"everything is kept": {"keep_prob": 1}, "most is kept": {"keep_prob": 0.8}},
    gauges=dropped_gauges,
    float32=False,
    weight=0.4,
    calls=dropped_calls,
)


def masked(X: Array, Y: Array, keep_prob: float, **parameters: Array) -> Values:
    """Return the masks, of keep_prob = 0.5 by default, and the hidden A and dA under them."""
    given = {} if keep_prob == 0.5 else {"keep_prob": keep_prob}
    _, cache = ours.forward_propagation_with_dropout(X, parameters, **given)
    Z1, D1, A1, W1, b1, Z2, D2, A2, W2, b2, Z3, A3, W3, b3 = cache
    for one, other in zip((W1, b1, W2, b2, W3, b3), parameters.values(), strict=True):
        assert one is other
    assert (Z1.shape, Z2.shape, Z3.shape) == (D1.shape, D2.shape, A3.shape)
    grads = ours.backward_propagation_with_dropout(X, Y, cache, keep_prob)
    pulled = {name: grads[name] for name in ("dA2", "dA1")}
    return {"D1": D1, "D2": D2, "A": np.concatenate([A1, A2]), **pulled}


def masked_by_torch(X: Array, Y: Array, keep_prob: float, **parameters: Array) -> Values:
    """Return NumPy's masks, what torch makes of them, and dA where a mask is yet to be applied."""
    D1, D2 = masks_of(keep_prob, X, parameters)
    A, hidden, dropped = rows(X), [], []
    for l in (1, 2, 3):
        W, b = torch.from_numpy(parameters[f"W{l}"]), torch.from_numpy(parameters[f"b{l}"][:, 0])
        Z = linear(A, W, b)
        if l < 3:
            hidden.append(torch.relu(Z).requires_grad_())
            A = hidden[-1] * rows(((D1, D2)[l - 1] / keep_prob).astype(X.dtype))
            dropped.append(columns(A))
    labels = rows(Y.astype(X.dtype))
    total = functional.binary_cross_entropy_with_logits(Z, labels, reduction="sum")
    dA1, dA2 = (columns(one) for one in torch.autograd.grad(total, hidden))
    return {"D1": D1, "D2": D2, "A": np.concatenate(dropped), "dA2": dA2, "dA1": dA1}


def masked_gauges(X: Array, Y: Array, keep_prob: float, **parameters: Array) -> Values:
    """Return the sizes of the terms of the hidden activations, and of what comes back to them."""
    below, found = np.abs(X), []
    for l in (1, 2):
        Z = product("nk,km->nm", parameters[f"W{l}"], below) + np.abs(parameters[f"b{l}"])
        below = Z / keep_prob
        found.append(below)
    dZ = 1 + product("nk,km->nm", parameters["W3"], below) / 4
    dA2 = product("nk,nm->km", parameters["W3"], dZ) / keep_prob
    dA1 = product("nk,nm->km", parameters["W2"], dA2) / keep_prob
    return {"A": np.concatenate(found), "dA2": dA2, "dA1": dA1}


MASKS = FunctionTwin(
    name="regularization.masks",
    formula="D1 and then D2 = rand < keep_prob of NumPy's seed 1; dA = dA D / keep_prob",
    source=f"{DROPOUT}; numpy.random.seed, numpy.random.rand",
    proves=("forward_propagation_with_dropout", "backward_propagation_with_dropout"),
    ours=masked,
    theirs=masked_by_torch,
    bridge=None,
    draw=draw_dropped,
    cases={"sizes": sizes, "m": examples, "keep_prob": keep_probs},
    edges={"most is kept": {"keep_prob": 0.8}},
    gauges=masked_gauges,
    float32=True,
    float32_floor=FLOAT32_NETWORK,
    weight=0.4,
    mistakes=(
        Mistake(
            name="dropout-of-the-course-without-its-mask-on-the-way-back",
            seen="ddbourgin/numpy-ml issue 94: divided by the probability, not masked",
            change=Change(
                "scratch.course._layers", "below.D / keep_prob", "np.full_like(dA, 1 / keep_prob)"
            ),
        ),
    ),
)

TWINS = (NETWORK, L2, INVERTED, MASKS)
