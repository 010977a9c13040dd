"""Errata of the usual lecture notes: the right form on both sides, the slip beside it, measured."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import nn

from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.functions import Array
from parity_tests.conventions import Convention, Refutation, Values, evaluate
from parity_tests.cost_dialects import (
    NETWORK,
    STRENGTH,
    activated,
    class_costs,
    cost_as_typed,
    cost_of_torch,
    draw_classes,
    draw_scores,
    draw_training,
    penalized,
    penalty_as_typed,
    penalty_of_torch,
    pulled_back,
    pulled_back_as_typed,
)
from parity_tests.layer_dialects import (
    draw_features,
    normalized,
    normalized_as_typed,
    normalized_by_torch,
)
from parity_tests.optimizer_dialects import ALPHA, EPSILON, rule
from scratch import batch_norm, dropout, normalization
from scratch.network import cost_and_gradients
from scratch.parameters import Parameters
from torch_ref import batch_norm as their_batch_norm
from torch_ref import costs as their_costs
from torch_ref import dropout as their_dropout

Rng = np.random.Generator


def over_the_variance(X: Array) -> Values:
    """Return the inputs over sigma^2."""
    mean, variance = normalization.fit(X)
    return {"X": (X - mean) / variance}


def draw_layer(rng: Rng) -> dict[str, Array]:
    """Draw what batch norm takes, with a gamma and beta that are not 1 and 0."""
    shapes = {"Z": (3, 7), "gamma": (3, 1), "beta": (3, 1)}
    return {name: 2 * rng.standard_normal(shape) for name, shape in shapes.items()}


def layer_of_torch(**draws: Array) -> Values:
    """Return torch's output of batch norm."""
    tensors: dict[str, Any] = {name: to_torch(name, one) for name, one in draws.items()}
    return {"output": columns(their_batch_norm.batch_norm(**tensors))}


def layer_as_typed(text: str, Z: Array, gamma: Array, beta: Array) -> Values:
    """Return the output of a text."""
    scale, shift = (to_torch("beta", one).flatten() for one in (gamma, beta))
    return {"output": columns(evaluate(text, Z=rows(Z), gamma=scale, beta=shift))}


def without_root(Z: Array, gamma: Array, beta: Array) -> Values:
    """Return batch norm that divides by the variance."""
    mean, variance = Z.mean(axis=1, keepdims=True), Z.var(axis=1, keepdims=True)
    return {"output": gamma * (Z - mean) / (variance + 1e-5) + beta}


def summed_to_l(Z: Array, upstream: Array) -> Values:
    """Return a softmax whose denominator ends at l = 2, the number of layers, not at C = 4."""
    E = np.exp(Z)
    return {"output": E / E[:2].sum(axis=0)}


def draw_units(rng: Rng) -> dict[str, Any]:
    """Draw activations of many units, a keep_prob and the seed of a mask."""
    return {
        "A": rng.standard_normal((40, 25)),
        "keep_prob": 0.8,
        "seed": int(rng.integers(2**31)),
    }


def kept(left: Array) -> Values:
    """Return what dropout has left, and the share of its units."""
    return {"output": left, "share kept": np.float64((left != 0).mean())}


def dropped(A: Array, keep_prob: float, seed: int) -> Values:
    """Return our dropout by the mask of that seed."""
    mask = dropout.draw_mask(A.shape, keep_prob, np.random.default_rng(seed))
    return kept(dropout.dropout_forward(A, mask)[0])


def uniform_of_torch(A: Array, seed: int) -> Any:
    """Return the uniform draws that ours makes of that seed, as torch.rand would give them."""
    return rows(np.random.default_rng(seed).random(A.shape))


def dropped_by_torch(A: Array, keep_prob: float, seed: int) -> Values:
    """Return torch's module under the mask that those draws are."""
    layer = their_dropout.Dropout(keep_prob)
    layer.mask = (uniform_of_torch(A, seed) < keep_prob) / keep_prob
    return kept(columns(layer(rows(A))))


def dropped_as_typed(text: str, A: Array, keep_prob: float, seed: int) -> Values:
    """Return A under the mask of a text."""
    mask = evaluate(text, D=uniform_of_torch(A, seed), keep_prob=keep_prob)
    return kept(columns(rows(A) * mask))


def dropped_below(A: Array, keep_prob: float, seed: int) -> Values:
    """Return dropout that loses the units whose draw is below keep_prob."""
    uniform = np.random.default_rng(seed).random(A.shape)
    return {"share kept": kept(A * (uniform >= keep_prob))["share kept"]}


def normal_mask(A: Array, keep_prob: float, seed: int) -> Values:
    """Return dropout by standard normal draws."""
    normal = np.random.default_rng(seed).standard_normal(A.shape)
    return {"share kept": kept(A * (normal < keep_prob))["share kept"]}


def without_1_over_m(parameters: Parameters, X: Array, Y: Array) -> Values:
    """Return gradients whose first term is summed, not averaged, over the examples."""
    m = X.shape[1]
    _, gradients = cost_and_gradients(parameters, X, Y, NETWORK)
    for name, view in gradients.items():
        if name.startswith("W"):
            gradients[name] = m * view + STRENGTH / m * parameters[name]
    return {"gradients": gradients.theta}


def with_v(gradients: Array) -> Values:
    """Return theta after steps of Adam that correct s but move along v."""
    beta1, beta2 = 0.9, 0.999
    theta, v, s = (np.zeros(gradients.shape[1]) for _ in range(3))
    for t, g in enumerate(gradients, start=1):
        v, s = beta1 * v + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        theta -= ALPHA * v / (np.sqrt(s / (1 - beta2**t)) + EPSILON)
    return {"theta": theta}


def slip(values: Any, margin: float, why: str) -> Refutation:
    """Return the refutation of what notes say."""
    return Refutation(values=values, margin=margin, why=why)


ADAM = {**rule("adam"), "topic": "errata"}

ERRATA = (
    Convention(
        name="normalization-over-sigma",
        topic="errata",
        course="X = (X - mean) / sigma",
        torch="(X - X.mean(0)) / X.std(0, correction=0)",
        source='Course 2, week 1, "Normalizing inputs"',
        draw=draw_features,
        ours=lambda X: {"X": normalized(X)["X"]},
        theirs=lambda X: {"X": normalized_by_torch(X)["X"]},
        typed=normalized_as_typed,
        wrong={
            "X / sigma^2": slip(over_the_variance, 0.3, "the variance becomes 1 / sigma^2, not 1")
        },
    ),
    Convention(
        name="batch-norm-under-the-root",
        topic="errata",
        course="Z_norm = (Z - mean) / sqrt(sigma^2 + epsilon)",
        torch="torch.nn.functional.batch_norm(Z, None, None, gamma, beta, training=True)",
        source='Course 2, week 3, "Normalizing activations in a network"; torch.nn.BatchNorm1d',
        draw=draw_layer,
        ours=lambda **draws: {"output": batch_norm.batch_norm_forward(**draws)[0]},
        theirs=layer_of_torch,
        typed=layer_as_typed,
        wrong={
            "(Z - mean) / (sigma^2 + epsilon)": slip(
                without_root, 0.1, "without the root Z_norm has the variance 1 / sigma^2"
            )
        },
    ),
    Convention(
        name="softmax-backward",
        topic="errata",
        course="dZ = (y_hat - y) / m",
        torch='torch.nn.CrossEntropyLoss(reduction="sum")(Z, Y) / m; autograd of it',
        typed=cost_as_typed,
        source='Course 2, week 3, "Training a softmax classifier"; torch.nn.CrossEntropyLoss',
        draw=draw_classes,
        ours=class_costs,
        theirs=lambda Z, Y: cost_of_torch(their_costs.cross_entropy_with_logits, "Z", Z, Y),
        budget=GRADIENT,
        wrong={
            "y - y_hat": slip(
                lambda Z, Y: {"gradient from Z": -np.asarray(class_costs(Z, Y)["gradient from Z"])},
                1.9,
                "the sign is turned: descent climbs",
            )
        },
    ),
    Convention(
        name="softmax-denominator",
        topic="errata",
        course="A = e^Z / sum over all C classes of e^Z",
        torch="torch.nn.Softmax(dim=1)",
        typed=pulled_back_as_typed,
        source='Course 2, week 3, "Softmax regression"; torch.nn.Softmax',
        draw=draw_scores,
        ours=partial(activated, "softmax"),
        theirs=partial(pulled_back, nn.Softmax(dim=1)),
        budget=GRADIENT,
        wrong={"the sum ends at l": slip(summed_to_l, 0.1, "columns no longer sum to 1")},
    ),
    Convention(
        name="dropout-keeps-below",
        topic="errata",
        course="keep where D < keep_prob, D = rand",
        torch="(D < keep_prob) / keep_prob; with D = torch.rand(shape), as "
        "torch.nn.Dropout(p=1 - keep_prob) draws",
        typed=dropped_as_typed,
        source='Course 2, week 1, "Dropout regularization"; torch.nn.Dropout',
        draw=draw_units,
        ours=dropped,
        theirs=dropped_by_torch,
        wrong={
            "0 where D is below keep_prob": slip(
                dropped_below, 0.5, "it keeps the other units: one in five for keep_prob 0.8"
            )
        },
    ),
    Convention(
        name="dropout-mask-from-rand",
        topic="errata",
        course="D = rand < keep_prob, D uniform in [0, 1)",
        torch="(D < keep_prob) / keep_prob; with D = torch.rand(shape), or "
        "torch.nn.Dropout(p=1 - keep_prob)",
        typed=dropped_as_typed,
        source='Course 2, week 1, "Dropout regularization"; torch.nn.Dropout',
        draw=lambda rng: {**draw_units(rng), "keep_prob": 0.5},
        ours=dropped,
        theirs=dropped_by_torch,
        wrong={
            "D = randn": slip(
                normal_mask,
                0.2,
                "a normal draw is below 0.5 with probability 0.69: too many units are kept",
            )
        },
    ),
    Convention(
        name="l2-gradient",
        topic="errata",
        course="dW = 1/m dZ A^T + lambda / m W",
        torch="J + lambda_ / (2 * m) * sum(W.square().sum() for W in weights); autograd of it",
        typed=penalty_as_typed,
        source='Course 2, week 1, "Regularization"; torch.autograd.grad',
        draw=draw_training,
        ours=lambda **draws: {"gradients": penalized(**draws, l2=STRENGTH)["gradients"]},
        theirs=partial(penalty_of_torch, l2=STRENGTH),
        budget=GRADIENT,
        wrong={
            "dW = dZ A^T + lambda / m W": slip(
                without_1_over_m,
                0.5,
                "the 1/m of the first term is missing: the penalty shrinks to a fraction 1/m of it",
            )
        },
    ),
    Convention(
        name="adam-moves-along-v-hat",
        course="W = W - alpha v_hat / (sqrt(s_hat) + epsilon)",
        torch="torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
        source='Course 2, week 2, "Adam optimization algorithm"; torch.optim.Adam',
        **ADAM,
        wrong={
            "v for v_hat": slip(with_v, 0.1, "the first step is a tenth, and many are too short")
        },
    ),
)
