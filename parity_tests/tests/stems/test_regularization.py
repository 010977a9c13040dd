"""Regularization: penalties, their gradients, and L2 as weight decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import STEP, assert_close, assert_twins, measure
from parity_tests.compare.bridge import load, rows, to_numpy, unload
from parity_tests.compare.witnesses import widened
from scratch import regularization as ours
from scratch.initializers import initialize
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import Adam, GradientDescent
from scratch.parameters import Parameters
from torch_ref import regularization as theirs
from torch_ref.batch_norm import BatchNorm
from torch_ref.network import Network as TheirNetwork
from torch_ref.network import cost_and_gradients as their_cost_and_gradients
from torch_ref.parameters import parameters as their_parameters

SIZES = (5, 4, 3)
NETWORK = Network(layer_sizes=SIZES, hidden="tanh", output="softmax")


def draw_pair(rng):
    """Draw parameters, biases too and an exact zero among the weights, on both sides."""
    parameters = initialize(SIZES, "he", rng)
    parameters.theta[:] = rng.standard_normal(parameters.theta.size)
    parameters["W1"][0, :2] = 0.0, -0.0
    module = TheirNetwork(layer_sizes=SIZES, hidden="tanh", output="softmax")
    return parameters, load(module, parameters)


def draw_data(rng, m=12):
    """Draw inputs and one-hot labels."""
    return rng.standard_normal((5, m)), np.eye(3)[:, rng.integers(0, 3, m)]


@pytest.mark.parity("weights")
@pytest.mark.seeds(50)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.parity(f"{name}_penalty", f"{name}_penalty_gradient"))
        for name in ("l1", "l2")
    ],
)
@pytest.mark.parametrize("denominator", [None, "m", "2m"])
def test_penalty(name, denominator, rng):
    """Penalty and gradient agree, over m, 2m and the default; biases have none."""
    parameters, module = draw_pair(rng)
    arguments = (0.7, 13) if denominator is None else (0.7, 13, denominator)
    penalty, gradient = f"{name}_penalty", f"{name}_penalty_gradient"
    J, wide_J, pulled, wide_pulled = (
        call(getattr(ours, one), parameters, *arguments)
        for one in (penalty, gradient)
        for call in (lambda function, *values: function(*values), widened)
    )
    reference = getattr(theirs, penalty)(module, *arguments).detach().numpy()[()]
    assert_close(J, reference, penalty, wider=wide_J)
    for key, reference in getattr(theirs, gradient)(module, *arguments).items():
        wider = (wide_pulled or {}).get(key)
        expected = to_numpy(key, reference)
        assert_close(pulled[key], expected, key, expect_zero=key[0] == "b", wider=wider)
    assert list(ours.weights(parameters)) == list(theirs.weights(module)) == ["W1", "W2"]


@pytest.mark.seeds(10)
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_penalty_gradient_has_three_witnesses(name, dtype, device, rng):
    """The penalties are differentiated by autograd and by differences, weights away from zero."""
    shapes = {"W1": (4, 5), "W2": (3, 4)}
    inputs = {key: rng.uniform(0.1, 1, shape).astype(dtype) for key, shape in shapes.items()}
    inputs["W2"] *= -1

    def forward(**named):
        parameters = Parameters(named)
        return getattr(ours, f"{name}_penalty")(parameters, 0.7, 13), parameters

    def backward(dJ, parameters):
        gradient = getattr(ours, f"{name}_penalty_gradient")(parameters, 0.7, 13)
        return {key: dJ * gradient[key] for key in gradient}

    def reference(*weights):
        total = sum((W.abs() if name == "l1" else W.square()).sum() for W in weights)
        return 0.7 / (13 * {"l1": 1, "l2": 2}[name]) * total

    assert_twins(forward, backward, reference, inputs, rng, device=device)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_only_weights_are_penalized(name, rng):
    """Under batch norm there are gamma and beta: neither they nor b have a part in a penalty."""
    parameters = initialize((5, 4, 3), "he", rng, batch_norm=True)
    parameters.theta[:] = rng.standard_normal(parameters.theta.size)
    bare = Parameters({key: view for key, view in parameters.items() if key in ("W1", "W2")})
    assert set(parameters) - set(bare) == {"gamma1", "beta1", "b2"}
    penalty, gradient = (getattr(ours, f"{name}_penalty{what}") for what in ("", "_gradient"))
    assert_close(penalty(parameters, 0.7, 13), penalty(bare, 0.7, 13), "penalty")
    pulled, expected = gradient(parameters, 0.7, 13), gradient(bare, 0.7, 13)
    for key, view in parameters.items():
        reference = expected[key] if key in bare else np.zeros_like(view)
        assert_close(pulled[key], reference, key, expect_zero=key not in bare)


def test_the_two_denominators_differ_by_two(rng):
    """The defaults are lambda / 2m for L2 and lambda / m for L1."""
    parameters, _ = draw_pair(rng)
    squares = sum(np.square(W).sum() for W in ours.weights(parameters).values())
    sizes = sum(np.abs(W).sum() for W in ours.weights(parameters).values())
    assert_close(ours.l2_penalty(parameters, 3.0, 10), 3.0 / 20 * squares, "L2")
    assert_close(ours.l1_penalty(parameters, 3.0, 10), 3.0 / 10 * sizes, "L1")


@pytest.mark.parametrize("learning_rate", [0.01, 1.0])
def test_l2_shrinks_the_weights(learning_rate, rng):
    """Descent on J + L2 is W (1 - alpha lambda / m) - alpha dW, and b untouched by lambda."""
    parameters, _ = draw_pair(rng)
    X, Y = draw_data(rng)
    strength, m = 0.9, X.shape[1]
    _, plain = cost_and_gradients(parameters, X, Y, NETWORK)
    _, penalized = cost_and_gradients(parameters, X, Y, NETWORK, l2=strength)
    expected = {
        name: view * (1 - learning_rate * strength / m * name.startswith("W"))
        - learning_rate * plain[name]
        for name, view in parameters.items()
    }
    optimizer = GradientDescent(learning_rate=learning_rate)
    optimizer.update(parameters, penalized, optimizer.init(parameters))
    for name, reference in expected.items():
        assert_close(parameters[name], reference, name)


def descend(parameters, module, X, Y, strength, optimizer, groups, steps=60):
    """Take steps on both sides, ours with the penalty in the cost, torch's by weight decay."""
    mine, other = optimizer
    state, descent = mine.init(parameters), other(groups)
    for _ in range(steps):
        _, gradients = cost_and_gradients(parameters, X, Y, NETWORK, l2=strength)
        mine.update(parameters, gradients, state)
        descent.zero_grad()
        _, pulled = their_cost_and_gradients(module, rows(X), rows(Y))
        for parameter, gradient in zip(module.parameters(), pulled.values(), strict=True):
            parameter.grad = gradient
        descent.step()


PAIRS = {
    "gradient descent": (
        GradientDescent(learning_rate=0.1),
        lambda groups: torch.optim.SGD(groups, lr=0.1),
    ),
    "adam": (Adam(learning_rate=0.01), lambda groups: torch.optim.Adam(groups, lr=0.01)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_l2_is_torchs_weight_decay_on_weights(name, rng):
    """weight_decay = lambda / m, on weights only, takes the same steps."""
    parameters, module = draw_pair(rng)
    X, Y = draw_data(rng)
    groups = theirs.weight_decay_groups(module, 0.9, X.shape[1])
    descend(parameters, module, X, Y, 0.9, PAIRS[name], groups)
    for key, reference in unload(module).items():
        assert_close(parameters[key], reference, key, budget=STEP)


@pytest.mark.parametrize("normalized", [False, True])
def test_weights_alone_decay_and_every_parameter_learns(normalized):
    """Biases, scales and shifts of batch norm are in the group without decay, each once."""
    choices = {"batch_norm": BatchNorm} if normalized else {}
    module = TheirNetwork(layer_sizes=SIZES, hidden="tanh", output="softmax", **choices)
    names = {id(parameter): name for name, parameter in their_parameters(module).items()}
    decaying, rest = theirs.weight_decay_groups(module, 0.9, 3)
    assert [names[id(one)] for one in decaying["params"]] == ["W1", "W2"]
    others = ["gamma1", "beta1", "b2"] if normalized else ["b1", "b2"]
    assert [names[id(one)] for one in rest["params"]] == others
    assert len(names) == 2 + len(others)
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.9 / 3, 0.0)


WRONG_DECAY = {
    "on the biases too": lambda module, m: [
        {"params": list(module.parameters()), "weight_decay": 0.9 / m}
    ],
    "lambda without 1/m": lambda module, m: theirs.weight_decay_groups(module, 0.9 * m, m),
    "lambda / 2m": lambda module, m: theirs.weight_decay_groups(module, 0.45, m),
    "decoupled, as AdamW": lambda module, m: theirs.weight_decay_groups(module, 0.9, m),
}


@pytest.mark.parametrize("wrong", WRONG_DECAY)
def test_the_tempting_decays_differ(wrong, rng):
    """Each wrong decay ends a thousand million eps away."""
    parameters, module = draw_pair(rng)
    X, Y = draw_data(rng)
    name = "adam" if "AdamW" in wrong else "gradient descent"
    mine, other = PAIRS[name]
    if "AdamW" in wrong:
        other = lambda groups: torch.optim.AdamW(groups, lr=0.01)  # noqa: E731
    groups = WRONG_DECAY[wrong](module, X.shape[1])
    descend(parameters, module, X, Y, 0.9, (mine, other), groups)
    assert measure(parameters.theta, unload(module).theta).error > 1e9
