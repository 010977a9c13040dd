"""Networks of many shapes: outputs, gradients, the cost with its penalties, predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import FORWARD, GRADIENT, assert_close, assert_switches, assert_twins
from parity_tests.bridge import columns, load, rows, to_numpy
from parity_tests.budgets import FLOAT32_NETWORK
from parity_tests.gauges import network_gauges
from scratch._step import TrainingStep
from scratch.activations import ACTIVATIONS
from scratch.initializers import initialize
from scratch.network import (
    OUTPUT_COSTS,
    Network,
    cost_and_gradients,
    network_backward,
    network_forward,
    predict,
)
from scratch.parameters import Parameters
from torch_ref import network as theirs

HIDDEN = [name for name, one in ACTIVATIONS.items() if one.backward is not None]
DEEP = (8, 16, 16, 16, 4)
NARROW = [(3, 1), (1, 1, 1), (4, 3, 1)]

#: every pair of activations, deep networks, and on a single unit what says something there.
CASES = [((5, 4, 3, 2), output, hidden) for output in HIDDEN for hidden in HIDDEN]
CASES += [(DEEP, output, hidden) for output in OUTPUT_COSTS for hidden in HIDDEN]
CASES += [
    (sizes, output, hidden)
    for sizes in NARROW
    for output in ("sigmoid", "tanh", "identity")
    for hidden in ("tanh", "relu")
]


def draw_network(layer_sizes, hidden, output, rng, dtype=np.float64):
    """Draw a network with biases that are not zero."""
    network = Network(layer_sizes=layer_sizes, hidden=hidden, output=output)
    parameters = initialize(layer_sizes, "xavier", rng)
    for name, view in parameters.items():
        if name.startswith("b"):
            view[...] = 0.5 * rng.standard_normal(view.shape)
    return network, Parameters({name: view.astype(dtype) for name, view in parameters.items()})


def draw_switching(layer_sizes, output, hidden, rng, m=12):
    """Draw a network and inputs such that every layer of rectifiers has units on and off."""
    for _ in range(1000):
        network, parameters = draw_network(layer_sizes, hidden, output, rng)
        X = rng.standard_normal((layer_sizes[0], m))
        _, cache = network_forward(X, parameters, network)
        rectified = [one.Z > 0 for one in cache.activation if hasattr(one, "Z")]
        if "relu" not in output + hidden or all(0.2 < on.mean() < 0.8 for on in rectified):
            return network, parameters, X
    raise AssertionError("no draw switches every layer")


def draw_labels(network, m, rng, dtype=np.float64):
    """Draw labels that fit the output, of every class where there is room."""
    n = network.layer_sizes[-1]
    if network.output == "softmax":
        return np.eye(n, dtype=dtype)[:, rng.permutation(np.resize(np.arange(n), m))]
    return np.asarray(rng.integers(0, 2, (n, m)), dtype)


def twin(network, parameters=None):
    """Return torch's network of the same choices, in the dtype of the parameters."""
    dtype = torch.from_numpy(parameters.theta).dtype if parameters else torch.float64
    module = theirs.Network(
        layer_sizes=network.layer_sizes, hidden=network.hidden, output=network.output, dtype=dtype
    )
    return load(module, parameters) if parameters else module


@pytest.mark.parity("network_forward", "network_backward", "Network")
@pytest.mark.seeds(3)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, (*case[0], *case[1:]))))
def test_network(case, rng):
    """Output and the gradients of X and every parameter agree, for any pair of activations."""
    network, parameters, X = draw_switching(*case, rng)
    inputs = {"X": X, **parameters}

    def forward(X, **named):
        return network_forward(X, Parameters(named), network)

    def reference(X, *tensors):
        module = twin(network)
        named = dict(zip(dict(module.named_parameters()), tensors, strict=True))
        return torch.func.functional_call(module, named, (X,))

    assert_twins(
        forward,
        network_backward,
        reference,
        inputs,
        rng,
        gauges=lambda arguments, upstream: network_gauges(network, arguments, upstream),
        witnessed=3,
    )


PENALTIES = [(0.0, 0.0), (0.2, 0.0), (0.0, 0.4), (0.2, 0.4)]  # (l1, l2)


@pytest.mark.parity("cost_and_gradients")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("output", OUTPUT_COSTS)
def test_cost_and_gradients(output, dtype, rng, seed):
    """J with its penalties and every gradient, held by all three witnesses.

    The seeds walk through every pair of penalties, with nine examples and with one.
    """
    l1, l2 = PENALTIES[seed % 4]
    network, parameters = draw_network((5, 4, 3), "tanh", output, rng, dtype)
    m = (9, 1)[seed // 4 % 2]
    X, Y = rng.standard_normal((5, m)).astype(dtype), draw_labels(network, m, rng, dtype)
    penalties = {"l1": l1, "l2": l2, "m": 20}

    def forward(X, Y, **named):
        return cost_and_gradients(Parameters(named), X, Y, network, **penalties)

    def backward(dJ, gradients):
        return {name: dJ * gradient for name, gradient in gradients.items()}

    def reference(*tensors, X, Y):
        module = twin(network)
        named = dict(zip(dict(module.named_parameters()), tensors, strict=True))
        total = Objective(module, penalties)
        return torch.func.functional_call(
            total, {f"module.{name}": tensor for name, tensor in named.items()}, (X, Y)
        )

    assert_twins(
        forward,
        backward,
        reference,
        parameters,
        rng,
        constants={"X": X, "Y": Y},
        witnessed=2,
        float32_floor=FLOAT32_NETWORK,
    )


class Objective(torch.nn.Module):
    """J of torch_ref as a module, so that its parameters can be handed in."""

    def __init__(self, module, penalties):
        """Take the network and its penalties."""
        super().__init__()
        self.module, self.penalties = module, penalties

    def forward(self, X, Y):
        """Return J."""
        return theirs.objective(self.module, X, Y, **self.penalties)[0]


@pytest.mark.parity("cost_and_gradients", "predict")
@pytest.mark.seeds(10)
@pytest.mark.parametrize(("l1", "l2"), PENALTIES, ids=str)
@pytest.mark.parametrize("output", OUTPUT_COSTS)
def test_both_public_doors(output, l1, l2, rng):
    """The functions that users call agree, tensor by tensor, and so do the predictions."""
    network, parameters = draw_network((5, 8, 6, 3), "relu", output, rng)
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    module = twin(network, parameters)
    J, gradients = cost_and_gradients(parameters, X, Y, network, l1=l1, l2=l2, m=20)
    cost, pulled = theirs.cost_and_gradients(module, rows(X), rows(Y), l1=l1, l2=l2, m=20)
    assert_close(J, cost.numpy()[()], "cost")
    for name, gradient in pulled.items():
        assert_close(gradients[name], to_numpy(name, gradient), name, budget=GRADIENT)
    ours = predict(X, parameters, network)
    assert np.array_equal(ours, columns(theirs.predict(rows(X), module)))
    assert_switches(ours, "prediction")


@pytest.mark.parametrize(("l1", "l2"), PENALTIES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("output", OUTPUT_COSTS)
def test_the_training_step_is_the_definition(output, hidden, dtype, l1, l2, rng):
    """The step of the training loop gives the cost and gradients of `cost_and_gradients`."""
    network, parameters = draw_network((5, 8, 6, 3), hidden, output, rng, dtype)
    step = TrainingStep(network, parameters, l1=l1, l2=l2, m=20)
    for m in (9, 4, 1):
        X, Y = rng.standard_normal((5, m)).astype(dtype), draw_labels(network, m, rng, dtype)
        J, gradients = cost_and_gradients(parameters, X, Y, network, l1=l1, l2=l2, m=20)
        assert_close(step.cost_and_gradients(X, Y), J, "cost", budget=FORWARD)
        for name, gradient in gradients.items():
            dead = not gradient.any()  # every unit of a ReLU layer off, on a single example
            assert_close(step.gradients[name], gradient, name, budget=GRADIENT, expect_zero=dead)


def test_gradients_come_in_the_order_of_their_inputs(rng):
    """X first, then W1, b1, ...: a Parameters made of them lies as theta does."""
    network, parameters = draw_network((5, 4, 3, 2), "tanh", "sigmoid", rng)
    A, cache = network_forward(rng.standard_normal((5, 6)), parameters, network)
    assert list(network_backward(A, cache)) == ["X", *parameters]


@pytest.mark.seeds(5)
@pytest.mark.parametrize("output", OUTPUT_COSTS)
def test_cost_gradient_is_the_chain_of_pairs(output, rng):
    """The gradient from the logits is the one through the output activation and the taught cost."""
    from scratch.costs import COSTS

    network, parameters = draw_network((5, 8, 3), "tanh", output, rng)
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    A, cache = network_forward(X, parameters, network)
    taught = COSTS[OUTPUT_COSTS[output].removesuffix("_with_logits")]
    J, cost_cache = taught.forward(A, Y)
    pulled = network_backward(taught.backward(1.0, cost_cache)["A"], cache)
    cost, gradients = cost_and_gradients(parameters, X, Y, network)
    assert_close(cost, J, "cost")
    for name, gradient in gradients.items():
        assert_close(gradient, pulled[name], name, budget=GRADIENT)


def test_m_defaults_to_the_columns(rng):
    """Without m the penalty is shared by the examples at hand."""
    network, parameters = draw_network((3, 2), "relu", "softmax", rng)
    X, Y = rng.standard_normal((3, 6)), draw_labels(network, 6, rng)
    without, with_m = (
        cost_and_gradients(parameters, X, Y, network, l2=0.5, **m)[0] for m in ({}, {"m": 6})
    )
    assert without == with_m
    assert cost_and_gradients(parameters, X, Y, network, l2=0.5, m=3)[0] > without
    module = twin(network, parameters)
    reference = theirs.cost_and_gradients(module, rows(X), rows(Y), l2=0.5)[0]
    assert_close(without, reference.numpy()[()], "cost")


def test_permuting_examples_permutes_outputs(rng):
    """No example sees another."""
    network, parameters = draw_network((5, 8, 3), "tanh", "softmax", rng)
    X, order = rng.standard_normal((5, 9)), rng.permutation(9)
    A, _ = network_forward(X, parameters, network)
    assert_close(network_forward(X[:, order], parameters, network)[0], A[:, order], "outputs")


def test_merged_gradients_of_mini_batches_are_the_batch_gradient(rng):
    """The mean of the mini-batches' gradients, weighted by their sizes, is the batch gradient."""
    network, parameters = draw_network((5, 8, 3), "tanh", "softmax", rng)
    X, Y = rng.standard_normal((5, 10)), draw_labels(network, 10, rng)
    _, whole = cost_and_gradients(parameters, X, Y, network)
    merged = np.zeros_like(whole.theta)
    for piece in (slice(0, 4), slice(4, 8), slice(8, 10)):
        _, part = cost_and_gradients(parameters, X[:, piece], Y[:, piece], network)
        merged += part.theta * X[:, piece].shape[1] / 10
    assert_close(merged, whole.theta, "gradient")


@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_in_memory_and_read_only_inputs_change_nothing(order, rng):
    """Strided, Fortran-ordered and read-only inputs give the same numbers, unmodified."""
    network, parameters = draw_network((5, 8, 3), "relu", "softmax", rng)
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    J, gradients = cost_and_gradients(parameters, X, Y, network)
    strided = np.asarray(np.repeat(X, 2, axis=1), order=order)[:, ::2]
    for array in (strided, Y):
        array.flags.writeable = False
    again, same = cost_and_gradients(parameters, strided, Y, network)
    assert_close(again, J, "cost")
    assert_close(same.theta, gradients.theta, "gradients")


def test_choices_are_frozen_and_listed():
    """A network's sizes become a tuple, its depth counts the layers with weights."""
    network = Network(layer_sizes=[4, 3, 2], hidden="tanh")
    assert network.layer_sizes == (4, 3, 2)
    assert network.depth == 2
    assert [network.activation(l) for l in (1, 2)] == ["tanh", "sigmoid"]
    with pytest.raises(AttributeError):
        network.hidden = "relu"
