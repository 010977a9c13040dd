"""Dialects of a cost and its gradients: activations, losses, penalties, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch, twin, unload
from parity_tests.compare.budgets import GRADIENT, STEP
from parity_tests.compare.functions import Array
from parity_tests.conventions import Convention, Refutation, Values, evaluate
from scratch import activations, clipping, costs, initializers, optimizers, training
from scratch.mini_batches import draw_orders
from scratch.network import Network, cost_and_gradients
from scratch.parameters import Parameters
from scratch.regularization import l1_penalty_gradient
from torch_ref import clipping as their_clipping
from torch_ref import costs as their_costs
from torch_ref import training as their_training
from torch_ref.network import Network as TheirNetwork
from torch_ref.network import cost_and_gradients as their_cost_and_gradients
from torch_ref.optimizers import gradient_descent
from torch_ref.parameters import parameters as their_parameters
from torch_ref.regularization import weight_decay_groups

Rng = np.random.Generator
Tensor = torch.Tensor
SGD = torch.optim.SGD

#: the learning rate and the number of steps of every descent here.
ALPHA, STEPS = 0.1, 20


def pulled_back(function: Callable[[Tensor], Tensor], Z: Array, upstream: Array) -> Values:
    """Return a function's output and its gradient by autograd, both in columns."""
    tensor = rows(Z).requires_grad_()
    output = function(tensor)
    (gradient,) = torch.autograd.grad(output, tensor, rows(upstream))
    return {"output": columns(output), "gradient": columns(gradient)}


def pulled_back_as_typed(text: str, Z: Array, upstream: Array) -> Values:
    """Return the same of the module that a text makes."""
    return pulled_back(evaluate(text), Z, upstream)


def refuted_gradient(function: Callable[[Tensor], Tensor], margin: float, why: str) -> Refutation:
    """Return the refutation of a function that has another gradient."""

    def values(Z: Array, upstream: Array) -> Values:
        return {"gradient": pulled_back(function, Z, upstream)["gradient"]}

    return Refutation(values=values, margin=margin, why=why)


def draw_kinks(rng: Rng) -> dict[str, Array]:
    """Draw Z with exact zeros of either sign, and an upstream gradient."""
    Z = rng.standard_normal((4, 3))
    Z[1], Z[2] = 0.0, -0.0
    return {"Z": Z, "upstream": rng.standard_normal((4, 3))}


def draw_scores(rng: Rng) -> dict[str, Array]:
    """Draw Z of four classes, and an upstream gradient."""
    return {"Z": rng.standard_normal((4, 6)), "upstream": rng.standard_normal((4, 6))}


def activated(name: str, Z: Array, upstream: Array) -> Values:
    """Return our activation and its gradient."""
    forward, backward = activations.ACTIVATIONS[name]
    output, cache = forward(Z)
    assert backward is not None
    return {"output": output, "gradient": backward(upstream, cache)["Z"]}


def absolute_slope(Z: Array, upstream: Array) -> Values:
    """Return |w| of torch's rows as `absolute` has it, and our gradient of the L1 penalty."""
    slope = l1_penalty_gradient(Parameters({"W1": Z}), 1.0, 1)["W1"]
    return {"gradient": upstream * slope}


ACTIVATIONS = (
    Convention(
        name="relu-at-0",
        topic="activations",
        course="dA/dZ = 1 where Z > 0, else 0; at 0 the derivative is 0",
        torch="torch.nn.ReLU()",
        source='Course 1, week 3, "Derivatives of activation functions"; torch.nn.ReLU',
        draw=draw_kinks,
        ours=partial(activated, "relu"),
        theirs=partial(pulled_back, nn.ReLU()),
        typed=pulled_back_as_typed,
        budget=GRADIENT,
        wrong={
            "Z.clamp(min=0)": refuted_gradient(
                lambda Z: Z.clamp(min=0), 0.1, "clamp passes the gradient on at its bounds"
            ),
            "torch.maximum(Z, 0)": refuted_gradient(
                lambda Z: torch.maximum(Z, torch.zeros_like(Z)),
                0.1,
                "maximum shares the gradient of equal entries: 1/2 at 0",
            ),
        },
    ),
    Convention(
        name="leaky-relu-at-0",
        topic="activations",
        course="dA/dZ = 1 where Z > 0, else 0.01; at 0 the derivative is 0.01",
        torch="torch.nn.LeakyReLU(0.01)",
        source='Course 1, week 3, "Derivatives of activation functions"; torch.nn.LeakyReLU',
        draw=draw_kinks,
        ours=partial(activated, "leaky_relu"),
        theirs=partial(pulled_back, nn.LeakyReLU(0.01)),
        typed=pulled_back_as_typed,
        budget=GRADIENT,
        wrong={
            "torch.maximum(Z, 0.01 * Z)": refuted_gradient(
                lambda Z: torch.maximum(Z, 0.01 * Z),
                0.1,
                "maximum shares the gradient of equal entries: (1 + 0.01) / 2 at 0",
            ),
            "torch.where(Z >= 0, Z, 0.01 * Z)": refuted_gradient(
                lambda Z: torch.where(Z >= 0, Z, 0.01 * Z),
                0.1,
                ">= counts 0 among the positive: derivative 1",
            ),
        },
    ),
    Convention(
        name="absolute-value-at-0",
        topic="activations",
        course="d|w|/dw = sign(w); at 0 the derivative is 0",
        torch="w.abs()",
        source='Course 2, week 1, "Regularization", L1; torch.abs',
        draw=draw_kinks,
        ours=absolute_slope,
        theirs=lambda Z, upstream: {"gradient": pulled_back(torch.abs, Z, upstream)["gradient"]},
        typed=lambda text, Z, upstream: {
            "gradient": pulled_back(lambda w: evaluate(text, w=w), Z, upstream)["gradient"]
        },
        budget=GRADIENT,
        wrong={
            "torch.where(w >= 0, w, -w)": refuted_gradient(
                lambda w: torch.where(w >= 0, w, -w), 0.1, "derivative 1 at 0: L1 moves zeros"
            ),
            "(w ** 2).sqrt()": refuted_gradient(
                lambda w: w.square().sqrt(), math.inf, "the root has no derivative at 0: NaN"
            ),
        },
    ),
    Convention(
        name="softmax",
        topic="activations",
        course="A = e^Z / sum of e^Z over the C classes, down a column",
        torch="torch.nn.Softmax(dim=1); rows are examples",
        source='Course 2, week 3, "Softmax regression"; torch.nn.Softmax',
        draw=draw_scores,
        ours=partial(activated, "softmax"),
        theirs=partial(pulled_back, nn.Softmax(dim=1)),
        typed=pulled_back_as_typed,
        budget=GRADIENT,
        wrong={
            "dim=0": Refutation(
                values=partial(pulled_back, nn.Softmax(dim=0)),
                margin=0.1,
                why="the course's axis 0 is torch's axis 1: this sums over the examples",
            ),
        },
    ),
)


def draw_costs(rng: Rng) -> dict[str, Array]:
    """Draw logits of three outputs, two of them large and wrong, and labels."""
    Z, Y = rng.standard_normal((3, 5)), rng.integers(0, 2, (3, 5)).astype(float)
    Z[0, :2], Y[0, :2] = (200.0, -300.0), (0.0, 1.0)
    return {"Z": Z, "Y": Y, "A": rng.uniform(0.05, 0.95, (3, 5))}


def binary_costs(Z: Array, Y: Array, A: Array) -> Values:
    """Return our costs and their gradients, from logits and as taught."""
    J, cache = costs.binary_cross_entropy_with_logits_forward(Z, Y)
    taught, taught_cache = costs.binary_cross_entropy_forward(A, Y)
    one = np.float64(1)
    return {
        "J from Z": J,
        "gradient from Z": costs.binary_cross_entropy_with_logits_backward(one, cache)["Z"],
        "J from A": taught,
        "gradient from A": costs.binary_cross_entropy_backward(one, taught_cache)["A"],
    }


def cost_of_torch(
    function: Callable[[Tensor, Tensor], Tensor], name: str, inputs: Array, Y: Array
) -> Values:
    """Return a cost of torch's and its gradient by autograd."""
    tensor = rows(inputs).requires_grad_()
    J = function(tensor, rows(Y))
    (gradient,) = torch.autograd.grad(J, tensor)
    return {f"J from {name}": to_numpy("J", J)[()], f"gradient from {name}": columns(gradient)}


def cost_as_typed(text: str, Z: Array, Y: Array, **others: Any) -> Values:
    """Return a cost of logits and its gradient by a text."""
    return cost_of_torch(lambda one, y: evaluate(text, Z=one, Y=y, m=len(y)), "Z", Z, Y)


def draw_classes(rng: Rng) -> dict[str, Array]:
    """Draw logits of four classes and one-hot labels."""
    return {"Z": 2 * rng.standard_normal((4, 6)), "Y": np.eye(4)[:, rng.integers(0, 4, 6)]}


def class_costs(Z: Array, Y: Array) -> Values:
    """Return our cost of a softmax and its gradient."""
    J, cache = costs.cross_entropy_with_logits_forward(Z, Y)
    gradient = costs.cross_entropy_with_logits_backward(np.float64(1), cache)["Z"]
    return {"J from Z": J, "gradient from Z": gradient}


def refuted_cost(function: Callable[[Tensor, Tensor], Tensor], margin: float, why: str) -> Any:
    """Return the refutation of another cost of four classes."""
    return Refutation(
        values=lambda Z, Y: cost_of_torch(function, "Z", Z, Y), margin=margin, why=why
    )


EPOCH = Network(layer_sizes=(3, 4, 1), hidden="tanh", output="sigmoid")


def draw_epoch(rng: Rng) -> dict[str, Any]:
    """Draw ten examples, the order of an epoch, and the first parameters."""
    return {
        "parameters": initializers.initialize(EPOCH.layer_sizes, "xavier", rng),
        "X": rng.standard_normal((3, 10)),
        "Y": rng.integers(0, 2, (1, 10)).astype(float),
        "orders": draw_orders(10, 1, rng),
    }


LOOP: dict[str, Any] = {"epochs": 1, "batch_size": 4}


def epoch(parameters: Parameters, X: Array, Y: Array, orders: Any) -> Values:
    """Return the cost of an epoch in batches of 4, 4 and 2, as our training reports it."""
    rule = optimizers.GradientDescent(learning_rate=0.5)
    history = training.train(EPOCH, parameters.copy(), X, Y, optimizer=rule, orders=orders, **LOOP)
    return {"cost": np.array(history.costs)}


def epoch_of_torch(
    parameters: Parameters, X: Array, Y: Array, orders: Any, reported: bool = True
) -> Values:
    """Return the same of torch's, or the mean of its batches' costs."""
    module = twin(EPOCH, parameters)
    rule = gradient_descent(module.parameters(), learning_rate=0.5)
    history = their_training.train(module, rows(X), rows(Y), optimizer=rule, orders=orders, **LOOP)
    return {"cost": np.array(history.costs if reported else [np.mean(history.step_costs)])}


COSTS = (
    Convention(
        name="binary-cross-entropy",
        topic="costs",
        course="J = -1/m sum (Y log A + (1 - Y) log(1 - A)), A = sigmoid(Z)",
        torch='torch.nn.BCEWithLogitsLoss(reduction="sum")(Z, Y) / m',
        source='Course 1, week 2, "Logistic regression cost function"; '
        "torch.nn.BCEWithLogitsLoss, torch.nn.BCELoss",
        draw=draw_costs,
        ours=binary_costs,
        theirs=lambda Z, Y, A: {
            **cost_of_torch(their_costs.binary_cross_entropy_with_logits, "Z", Z, Y),
            **cost_of_torch(their_costs.binary_cross_entropy, "A", A, Y),
        },
        typed=cost_as_typed,
        budget=GRADIENT,
        wrong={
            "BCELoss where A saturates": Refutation(
                values=lambda Z, Y, A: cost_of_torch(
                    lambda one, labels: their_costs.binary_cross_entropy(one.sigmoid(), labels),
                    "Z",
                    Z,
                    Y,
                ),
                margin=0.1,
                why="BCELoss clamps its logs at -100: wrong logits of 200 and -300 cost 100 each, "
                "and the gradient dies",
            ),
            'reduction="mean"': Refutation(
                values=lambda Z, Y, A: cost_of_torch(functional.binary_cross_entropy, "A", A, Y),
                margin=0.1,
                why="torch's mean divides by all n m entries, the course by the m examples",
            ),
        },
    ),
    Convention(
        name="cross-entropy",
        topic="costs",
        course="J = -1/m sum of Y log A, A = softmax(Z)",
        torch='torch.nn.CrossEntropyLoss(reduction="sum")(Z, Y) / m; Z are logits',
        source='Course 2, week 3, "Training a softmax classifier"; torch.nn.CrossEntropyLoss',
        draw=draw_classes,
        ours=class_costs,
        theirs=lambda Z, Y: cost_of_torch(their_costs.cross_entropy_with_logits, "Z", Z, Y),
        typed=cost_as_typed,
        budget=GRADIENT,
        wrong={
            "CrossEntropyLoss of A": refuted_cost(
                lambda Z, Y: their_costs.cross_entropy_with_logits(Z.softmax(dim=1), Y),
                0.1,
                "CrossEntropyLoss holds the softmax already: this takes it twice",
            ),
            "NLLLoss of A": refuted_cost(
                lambda Z, Y: functional.nll_loss(Z.softmax(dim=1), Y.argmax(dim=1)),
                0.1,
                "NLLLoss takes no logarithm: it wants log A",
            ),
        },
    ),
    Convention(
        name="cost-of-an-epoch",
        topic="costs",
        course="the sum over all examples, over m",
        torch="sum(cost * len(batch)) / m over the epoch's batches",
        source='Course 2, week 2, "Mini-batch gradient descent"; torch.utils.data.BatchSampler',
        draw=draw_epoch,
        ours=epoch,
        theirs=epoch_of_torch,
        budget=GRADIENT,
        wrong={
            "mean of batch means": Refutation(
                values=partial(epoch_of_torch, reported=False),
                margin=0.01,
                why="a short last batch, here 2 examples beside 4 and 4, weighs as much as others",
            ),
        },
    ),
)


NETWORK, STRENGTH = Network(layer_sizes=(3, 4, 2), hidden="tanh", output="sigmoid"), 0.9
Decay = Callable[[TheirNetwork, int], torch.optim.Optimizer]


def draw_training(rng: Rng) -> dict[str, Any]:
    """Draw data, and parameters whose biases are not zero."""
    shapes = NETWORK.shapes
    return {
        "parameters": Parameters({name: rng.standard_normal(one) for name, one in shapes.items()}),
        "X": rng.standard_normal((3, 7)),
        "Y": rng.integers(0, 2, (2, 7)).astype(float),
    }


def penalized(parameters: Parameters, X: Array, Y: Array, **penalty: Any) -> Values:
    """Return our penalized gradients, and theta after steps along them."""
    values = {"gradients": cost_and_gradients(parameters, X, Y, NETWORK, **penalty)[1].theta}
    for name, optimizer in (
        ("theta by gradient descent", optimizers.GradientDescent(learning_rate=ALPHA)),
        ("theta by Adam", optimizers.Adam(learning_rate=ALPHA)),
    ):
        moved = parameters.copy()
        state: Any = optimizer.init(moved)
        for _ in range(STEPS):
            _, gradients = cost_and_gradients(moved, X, Y, NETWORK, **penalty)
            optimizer.update(moved, gradients, state)
        values[name] = moved.theta
    return values


def penalty_of_torch(parameters: Parameters, X: Array, Y: Array, **penalty: Any) -> Values:
    """Return autograd's gradients of the penalized cost."""
    _, gradients = their_cost_and_gradients(twin(NETWORK, parameters), rows(X), rows(Y), **penalty)
    arrays = {name: to_numpy(name, one) for name, one in gradients.items()}
    return {"gradients": Parameters(arrays).theta}


def decayed(make: Decay, name: str, parameters: Parameters, X: Array, Y: Array) -> Values:
    """Return theta after steps of a torch optimizer along gradients without a penalty."""
    module = twin(NETWORK, parameters)
    optimizer, X_rows, Y_rows = make(module, X.shape[1]), rows(X), rows(Y)
    named = their_parameters(module)
    for _ in range(STEPS):
        for key, gradient in their_cost_and_gradients(module, X_rows, Y_rows)[1].items():
            named[key].grad = gradient
        optimizer.step()
    return {f"theta by {name}": unload(module).theta}


def groups(module: TheirNetwork, m: int) -> Any:
    """Return the right groups: weights decay by lambda / m, biases do not."""
    return weight_decay_groups(module, STRENGTH, m)


def l2_of_torch(**draws: Any) -> Values:
    """Return torch's penalty in the cost, and weight decay on the weights."""
    return {
        **penalty_of_torch(**draws, l2=STRENGTH),
        **decayed(lambda one, m: SGD(groups(one, m), lr=ALPHA), "gradient descent", **draws),
        **decayed(lambda one, m: torch.optim.Adam(groups(one, m), lr=ALPHA), "Adam", **draws),
    }


def l2_as_typed(text: str, **draws: Any) -> Values:
    """Return theta after steps of SGD with the groups of a text."""

    def make(module: TheirNetwork, m: int) -> Any:
        named = their_parameters(module)
        weights = [one for name, one in named.items() if name.startswith("W")]
        biases = [one for name, one in named.items() if name.startswith("b")]
        names = {"weights": weights, "biases": biases, "lambda_": STRENGTH, "alpha": ALPHA}
        return evaluate(text, m=m, **names)

    return decayed(make, "gradient descent", **draws)


def penalty_as_typed(text: str, parameters: Parameters, X: Array, Y: Array) -> Values:
    """Return the gradients by autograd of a text, a penalized cost."""
    module, m = twin(NETWORK, parameters), X.shape[1]
    named = their_parameters(module)
    weights = [one for name, one in named.items() if name.startswith("W")]
    J = functional.binary_cross_entropy(module(rows(X)), rows(Y), reduction="sum") / m
    penalized_cost = evaluate(text, J=J, lambda_=STRENGTH, m=m, weights=weights)
    found = torch.autograd.grad(penalized_cost, list(named.values()))
    for one, gradient in zip(named.values(), found, strict=True):
        one.data = gradient
    return {"gradients": unload(module).theta}


def refuted_decay(make: Decay, margin: float, why: str, name: str = "gradient descent") -> Any:
    """Return the refutation of a torch optimizer with another decay."""
    return Refutation(values=partial(decayed, make, name), margin=margin, why=why)


REGULARIZATION = (
    Convention(
        name="l2",
        topic="regularization",
        course="J + lambda / (2 m) sum W^2, biases left out",
        torch='torch.optim.SGD([{"params": weights, "weight_decay": lambda_ / m}, '
        '{"params": biases}], lr=alpha); or the penalty in the cost',
        source='Course 2, week 1, "Regularization"; torch.optim.SGD, torch.optim.Adam',
        draw=draw_training,
        ours=partial(penalized, l2=STRENGTH),
        theirs=l2_of_torch,
        typed=l2_as_typed,
        budget=STEP,
        wrong={
            "decay on the biases": refuted_decay(
                lambda one, m: SGD(one.parameters(), lr=ALPHA, weight_decay=STRENGTH / m),
                0.01,
                "weight_decay given for module.parameters() shrinks b too",
            ),
            "AdamW": refuted_decay(
                lambda one, m: torch.optim.AdamW(groups(one, m), lr=ALPHA),
                0.1,
                "it shrinks W beside the gradient; the penalty's gradient goes through v and s",
                "Adam",
            ),
            "weight_decay=lambda": refuted_decay(
                lambda one, m: SGD(weight_decay_groups(one, STRENGTH * m, m), lr=ALPHA),
                0.1,
                "the 1/m is missing",
            ),
            "weight_decay=lambda / (2 m)": refuted_decay(
                lambda one, m: SGD(weight_decay_groups(one, STRENGTH / 2, m), lr=ALPHA),
                0.01,
                "the gradient of lambda / (2 m) W^2 is lambda / m W",
            ),
        },
    ),
    Convention(
        name="l1",
        topic="regularization",
        course="J + lambda / m sum |W|",
        torch="J + lambda_ / m * sum(W.abs().sum() for W in weights); the penalty in the cost",
        source='Course 2, week 1, "Regularization"; torch.Tensor.abs',
        draw=draw_training,
        ours=lambda **draws: {"gradients": penalized(**draws, l1=STRENGTH)["gradients"]},
        theirs=partial(penalty_of_torch, l1=STRENGTH),
        typed=penalty_as_typed,
        budget=GRADIENT,
        wrong={
            "lambda / (2 m)": Refutation(
                values=partial(penalty_of_torch, l1=STRENGTH / 2),
                margin=0.01,
                why="only L2 has the 2, which its derivative cancels",
            ),
            "weight_decay": Refutation(
                values=partial(penalty_of_torch, l2=STRENGTH),
                margin=0.1,
                why="weight_decay is L2: it pulls by lambda / m W, not by its sign",
            ),
        },
    ),
)


def draw_clipped(rng: Rng) -> dict[str, Any]:
    """Draw gradients of several tensors and a limit far below their norm."""
    shapes = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 4)}
    drawn = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return {"gradients": Parameters(drawn), "limit": 0.5}


def clipped_by_torch(
    clip: Callable[[Sequence[torch.Tensor], float], Any], gradients: Parameters, limit: float
) -> Values:
    """Return what a function of torch leaves in the .grad of as many tensors."""
    tensors = {name: to_torch(name, view) for name, view in gradients.items()}
    for one in tensors.values():
        one.grad = one.clone()
    clip(list(tensors.values()), limit)
    left = {name: to_numpy(name, one.grad) for name, one in tensors.items() if one.grad is not None}
    return {"gradients": Parameters(left).theta}


def clipped_as_typed(text: str, gradients: Parameters, limit: float) -> Values:
    """Return what a text leaves in the .grad of the parameters."""

    def clip(tensors: Sequence[torch.Tensor], limit: float) -> None:
        evaluate(text, parameters=tensors, limit=limit)

    return clipped_by_torch(clip, gradients, limit)


def refuted_clip(clip: Callable[..., Any], margin: float, why: str) -> Refutation:
    """Return the refutation of another way to clip."""
    return Refutation(values=partial(clipped_by_torch, clip), margin=margin, why=why)


CLIPPING = (
    Convention(
        name="clip-by-value",
        topic="clipping",
        course="each entry of g cut to [-limit, limit]",
        torch="torch.nn.utils.clip_grad_value_(parameters, limit)",
        source="Mikolov 2012; torch.nn.utils.clip_grad_value_",
        draw=draw_clipped,
        ours=lambda gradients, limit: {"gradients": clipping.clip_by_value(gradients, limit).theta},
        theirs=partial(clipped_by_torch, their_clipping.clip_by_value),
        typed=clipped_as_typed,
        wrong={
            "clip_grad_norm_": refuted_clip(
                clip_grad_norm_, 0.1, "it shortens all gradients together and keeps their direction"
            ),
        },
    ),
    Convention(
        name="clip-by-global-norm",
        topic="clipping",
        course="g = g min(1, limit / (norm + 1e-6)), the norm of all gradients together",
        torch="torch.nn.utils.clip_grad_norm_(parameters, limit)",
        source="Pascanu et al. 2013; torch.nn.utils.clip_grad_norm_",
        draw=draw_clipped,
        ours=lambda gradients, limit: {
            "gradients": clipping.clip_by_global_norm(gradients, limit).theta
        },
        theirs=partial(clipped_by_torch, their_clipping.clip_by_global_norm),
        typed=clipped_as_typed,
        wrong={
            "each tensor by its own norm": refuted_clip(
                lambda tensors, limit: [clip_grad_norm_(one, limit) for one in tensors],
                0.1,
                "one factor for each tensor turns the whole gradient, and leaves it too long",
            ),
            "limit / norm, without torch's 1e-6": Refutation(
                values=lambda gradients, limit: {
                    "gradients": clipping.clip_by_global_norm(gradients, limit, epsilon=0.0).theta
                },
                margin=1e-7,
                why="the textbook's factor is larger by exactly 1 + 1e-6 / norm",
            ),
        },
    ),
)


COST_DIALECTS = (*ACTIVATIONS, *COSTS, *REGULARIZATION, *CLIPPING)
