"""Networks of many shapes: outputs, gradients, the cost with its penalties, predictions."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import FORWARD, GRADIENT, assert_close, assert_switches, assert_twins
from parity_tests.compare.bridge import (
    columns,
    load_running,
    masks_to_torch,
    rows,
    to_numpy,
    twin,
    unload_running,
)
from parity_tests.compare.budgets import FLOAT32_NETWORK
from parity_tests.compare.functions import draw_until, switches
from parity_tests.compare.gauges import cost_gauges, network_gauges, prediction_gauge
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.witnesses import widened
from scratch._step import TrainingStep
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import BatchNorm, running_averages, update_running_averages
from scratch.dropout import draw_masks
from scratch.initializers import initialize
from scratch.network import (
    OUTPUT_COSTS,
    Network,
    cost_and_gradients,
    layer_norms,
    network_backward,
    network_forward,
    outputs,
    predict,
)
from scratch.parameters import Parameters
from torch_ref import network as theirs
from torch_ref.initializers import initialize as initialize_theirs

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


def draw_network(layer_sizes, hidden, output, rng, dtype=np.float64, **choices):
    """Draw a network with biases and shifts that are not zero, and scales that are not one."""
    network = Network(layer_sizes=layer_sizes, hidden=hidden, output=output, **choices)
    parameters = initialize(layer_sizes, "xavier", rng, batch_norm=network.batch_norm is not None)
    for name, view in parameters.items():
        if name.startswith("b"):
            view[...] = 0.5 * rng.standard_normal(view.shape)
        elif name.startswith("gamma"):
            view[...] = rng.uniform(0.5, 2, view.shape)
    return network, Parameters({name: view.astype(dtype) for name, view in parameters.items()})


def draw_switching(layer_sizes, output, hidden, rng, m=12):
    """Draw a network and inputs such that every layer of rectifiers has units on and off.

    Some of them lie on a path from the inputs to the outputs.
    """

    def draw():
        network, parameters = draw_network(layer_sizes, hidden, output, rng)
        return network, parameters, rng.standard_normal((layer_sizes[0], m))

    def proves(network, parameters, X):
        A, cache = network_forward(X, parameters, network)
        rectified = [one.Z > 0 for one in cache.activation if hasattr(one, "Z")]
        slopes = network_backward(np.arange(1.0, 1 + A.size).reshape(A.shape), cache)
        switching = all(0.2 < on.mean() < 0.8 for on in rectified) and slopes["X"].any()
        return "relu" not in output + hidden or switching

    return draw_until(proves, draw)


def draw_labels(network, m, rng, dtype=np.float64):
    """Draw labels that fit the output, of every class where there is room."""
    n = network.layer_sizes[-1]
    if network.output == "softmax":
        return np.eye(n, dtype=dtype)[:, rng.permutation(np.resize(np.arange(n), m))]
    return np.asarray(rng.integers(0, 2, (n, m)), dtype)


def module_of(network, device="cpu"):
    """Return torch's network of the same choices, its parameters zero."""
    return twin(network, Parameters.empty(network.shapes), device)


def call(network, masks, device):
    """Return torch's network as a function of X and its parameters, in a pass of training."""

    def reference(X, *tensors):
        module = module_of(network, device)
        with theirs.mode(module, training=True), theirs.dropping(module, masks, len(X)):
            named = dict(zip(dict(module.named_parameters()), tensors, strict=True))
            return torch.func.functional_call(module, named, (X,))

    return reference


@pytest.mark.parity("network_forward", "network_backward", "Network")
@pytest.mark.seeds(3)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, (*case[0], *case[1:]))))
def test_network(case, device, rng):
    """Output and the gradients of X and every parameter agree, for any pair of activations."""
    network, parameters, X = draw_switching(*case, rng)
    inputs = {"X": X, **parameters}

    def forward(X, **named):
        return network_forward(X, Parameters(named), network)

    assert_twins(
        forward,
        network_backward,
        call(network, None, device),
        inputs,
        rng,
        gauges=lambda arguments, upstream: network_gauges(network, arguments, upstream),
        witnessed=3,
        device=device,
    )


NORM = BatchNorm(decay=0.8, epsilon=1e-3)
REGULARIZED = {
    "dropout": {"keep_probs": (0.8, 0.5)},
    "dropout of one layer": {"keep_probs": (1.0, 0.6)},
    "batch norm": {"batch_norm": NORM},
    "both": {"keep_probs": (0.5, 0.8), "batch_norm": NORM},
    "batch norm as torch's": {"batch_norm": BatchNorm(unbiased=True)},
}


def draw_regularized(case, rng, output="softmax", hidden="tanh", m=9, sizes=(5, 8, 6, 3)):
    """Draw a network of REGULARIZED, its parameters, and masks that drop and keep."""
    network, parameters = draw_network(sizes, hidden, output, rng, **REGULARIZED[case])
    masks = draw_masks(sizes, network.keep_probs, m, rng)
    for mask in masks.values():
        assert_switches(mask > 0, "mask")
    return network, parameters, masks or None


@pytest.mark.seeds(10)
@pytest.mark.parametrize("hidden", ["tanh", "sigmoid", "leaky_relu"])
@pytest.mark.parametrize("case", REGULARIZED)
def test_regularized_network(case, hidden, device, rng):
    """With masks shared and batch norm on: output and every gradient, by three witnesses."""
    network, parameters, masks = draw_regularized(case, rng, hidden=hidden)
    inputs = {"X": rng.standard_normal((5, 9)), **parameters}

    def forward(X, **named):
        wide = {name: mask.astype(X.dtype) for name, mask in (masks or {}).items()}
        return network_forward(X, Parameters(named), network, wide or None)

    assert_twins(
        forward,
        network_backward,
        call(network, None if masks is None else masks_to_torch(masks, device), device),
        inputs,
        rng,
        gauges=lambda arguments, upstream: network_gauges(network, arguments, upstream, masks),
        witnessed=3,
        device=device,
    )


def wide_costs(*arguments, **choices):
    """Return J and its gradients in longdouble, nothing where that is no wider."""
    return widened(cost_and_gradients, *arguments, **choices) or (None, {})


def output_gauge(network, parameters, X, running):
    """Return the running-error gauge of a pass of prediction, batch norm's averages exact."""
    values = dict(parameters)
    for l in range(1, network.depth * (running is not None)):
        # with its averages for constants, a normalized layer is a linear one
        deviation = np.sqrt(running[f"variance{l}"] + network.batch_norm.epsilon)
        factor = parameters[f"gamma{l}"] / deviation
        values[f"W{l}"] = factor * parameters[f"W{l}"]
        values[f"b{l}"] = parameters[f"beta{l}"] - factor * running[f"mean{l}"]
    plain = replace(network, keep_probs=(), batch_norm=None)
    A, _ = network_forward(X, Parameters({name: values[name] for name in plain.shapes}), plain)
    return network_gauges(plain, {"X": X, **values}, np.zeros_like(A))["output"]


@pytest.mark.parity("cost_and_gradients", "layer_norms", "outputs", "predict")
@pytest.mark.seeds(10)
@pytest.mark.parametrize("output", OUTPUT_COSTS)
@pytest.mark.parametrize("case", REGULARIZED)
def test_both_doors_of_regularized_networks(case, output, rng):
    """Cost, gradients, norms, and at prediction nothing dropped and running averages."""
    network, parameters, masks = draw_regularized(case, rng, output)
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    module = twin(network, parameters)
    running = None
    if network.batch_norm:
        running = running_averages(network.layer_sizes)
        running.theta[:] = rng.uniform(0.5, 2, running.theta.size)
        load_running(module, running)
    arguments = {"l1": 0.2, "l2": 0.4, "m": 20}
    torchs = {**arguments, "masks": None if masks is None else masks_to_torch(masks)}
    inputs = parameters, X, Y, network
    J, gradients = cost_and_gradients(*inputs, masks=masks, **arguments)
    truth, slopes = wide_costs(*inputs, masks=masks, **arguments)
    cost, pulled = theirs.cost_and_gradients(module, rows(X), rows(Y), **torchs)
    gauges = cost_gauges(network, {"X": X, **parameters}, Y, masks, **arguments)
    assert_close(J, cost.numpy()[()], "cost", gauge=gauges["output"], wider=truth)
    assert list(pulled) == list(gradients)
    for name, gradient in pulled.items():
        options = {"gauge": gauges[name], "wider": slopes.get(name)}
        assert_close(gradients[name], to_numpy(name, gradient), name, budget=GRADIENT, **options)

    norms = layer_norms(parameters, X, Y, network, masks=masks, **arguments)
    reference = theirs.layer_norms(module, rows(X), rows(Y), **torchs)
    for mine, other in zip(norms, reference, strict=True):
        assert list(mine) == list(other)
        for name, value in mine.items():
            scale = np.linalg.norm(gauges[name]) if name in gauges else None
            options = {"gauge": scale, "budget": GRADIENT}
            assert_close(np.float64(value), np.float64(other[name]), name, **options)
    assert list(norms.activations) == ["A1", "A2", "A3"]
    if running:  # neither pass of training has touched the running averages
        assert np.array_equal(unload_running(module).theta, running.theta)

    answers = outputs(X, parameters, network, running)
    gauge = output_gauge(network, parameters, X, running)
    truth = widened(outputs, X, parameters, network, running)
    reference = columns(theirs.outputs(rows(X), module))
    assert_close(answers, reference, "outputs", gauge=gauge, wider=truth)
    predictions = predict(X, parameters, network, running)
    assert np.array_equal(predictions, columns(theirs.predict(rows(X), module)))
    assert module.training  # its mode is as it was, and nothing is left hanging on it
    assert all(layer.mask is None for layer in module.dropouts.values())
    assert not any(part._forward_hooks for part in module.modules())
    whole, _ = network_forward(X, parameters, network, masks)
    assert np.abs(whole - answers).max() > 1e-3  # training and prediction are two passes
    single = outputs(X[:, :1], parameters, network, running)
    assert_close(single, answers[:, :1], "one example alone")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("case", REGULARIZED)
def test_the_regularized_training_step_is_the_definition(case, hidden, dtype, rng):
    """The step of the training loop gives what `cost_and_gradients` does, and moves averages."""
    choices = REGULARIZED[case]
    network, parameters = draw_network((5, 8, 6, 3), hidden, "softmax", rng, dtype, **choices)
    running = running_averages(network.layer_sizes, dtype) if network.batch_norm else None
    step = TrainingStep(network, parameters, l1=0.1, l2=0.3, m=20, running=running)
    for m in (9, 4, 2):
        X, Y = rng.standard_normal((5, m)).astype(dtype), draw_labels(network, m, rng, dtype)
        masks = draw_masks(network.layer_sizes, network.keep_probs, m, rng, dtype)
        before = None if running is None else running.copy()
        arguments = {"l1": 0.1, "l2": 0.3, "m": 20, "masks": masks}
        J, gradients = cost_and_gradients(parameters, X, Y, network, **arguments)
        # the step sums in another order, which batch norm over two examples makes the most of
        assert_close(step.cost_and_gradients(X, Y, masks), J, "cost", budget=GRADIENT)
        # as one vector: a shift before a later normalization has no gradient but round-off
        assert_close(step.gradients.theta, gradients.theta, "gradients", budget=GRADIENT)
        if running is not None:
            _, cache = network_forward(X, parameters, network, masks)
            for l, one in enumerate(cache.batch_norm, start=1):
                pair = before[f"mean{l}"], before[f"variance{l}"]
                norm = network.batch_norm
                moved = update_running_averages(*pair, one, norm.decay, norm.unbiased)
                for letter, value in zip(("mean", "variance"), moved, strict=True):
                    assert_close(running[f"{letter}{l}"], value, letter, gauge=4.0)


@pytest.mark.seeds(2)
@pytest.mark.parametrize("norm", [None, NORM], ids=["plain", "normalized"])
def test_each_layer_has_its_own_caches(norm, rng):
    """Five hidden layers of one width, dropped and normalized: no layer takes another's cache."""
    sizes = (4, *(6,) * 5, 3)
    choices = {"keep_probs": (0.5, 0.6, 1.0, 0.7, 0.8), "batch_norm": norm}
    network, parameters = draw_network(sizes, "tanh", "softmax", rng, **choices)
    masks = draw_masks(sizes, network.keep_probs, 9, rng)
    X, Y = rng.standard_normal((4, 9)), draw_labels(network, 9, rng)
    penalties = {"l1": 0.2, "l2": 0.4, "m": 20}
    J, gradients = cost_and_gradients(parameters, X, Y, network, masks=masks, **penalties)
    cost, pulled = theirs.cost_and_gradients(
        twin(network, parameters), rows(X), rows(Y), masks=masks_to_torch(masks), **penalties
    )
    running = None if norm is None else running_averages(sizes)
    step = TrainingStep(network, parameters, **penalties, running=running)
    gauges = cost_gauges(network, {"X": X, **parameters}, Y, masks, **penalties)
    summed = gauges["output"]
    again = step.cost_and_gradients(X, Y, masks)
    assert_close(again, J, "cost of a step", budget=GRADIENT, gauge=summed)
    assert_close(J, cost.numpy()[()], "cost", gauge=summed)
    for name, gradient in gradients.items():
        options = {"gauge": gauges[name], "budget": GRADIENT}
        assert_close(gradient, to_numpy(name, pulled[name]), name, **options)
        assert_close(step.gradients[name], gradient, name, **options)


def test_a_weight_of_zero_is_not_pulled_by_its_own_penalty(rng):
    """The derivative of |w| at 0 is 0, in the definition and in the step of a training."""
    network, parameters = draw_network((3, 4, 2), "tanh", "sigmoid", rng)
    for name in ("W1", "W2"):
        parameters[name][0] = [0.0, -0.0, 0.0, 0.0][: parameters[name].shape[1]]
    X, Y = rng.standard_normal((3, 6)), draw_labels(network, 6, rng)
    _, plain = cost_and_gradients(parameters, X, Y, network)
    _, gradients = cost_and_gradients(parameters, X, Y, network, l1=0.3, l2=0.7)
    step = TrainingStep(network, parameters, l1=0.3, l2=0.7, m=6)
    step.cost_and_gradients(X, Y)
    for name in ("W1", "W2"):
        assert np.array_equal(gradients[name][0], plain[name][0])
        assert_close(step.gradients[name], gradients[name], name, budget=GRADIENT)


def test_penalties_and_the_sharing_m_are_left_out_by_default(rng):
    """Unsaid, l1 and l2 are 0 and m is the number of columns, in costs and in norms."""
    network, parameters = draw_network((3, 4, 2), "tanh", "sigmoid", rng)
    X, Y = rng.standard_normal((3, 6)), draw_labels(network, 6, rng)
    for function in (cost_and_gradients, layer_norms):
        unsaid = function(parameters, X, Y, network)
        said = function(parameters, X, Y, network, l1=0.0, l2=0.0, m=6)
        assert dict(unsaid[1]).keys() == dict(said[1]).keys()
        for name, value in unsaid[1].items():
            assert np.array_equal(value, said[1][name])
    for m in (1, 2):
        J, _ = cost_and_gradients(parameters, X, Y, network, l2=0.5, m=m)
        plain, _ = cost_and_gradients(parameters, X, Y, network)
        squares = sum(np.square(parameters[name]).sum() for name in ("W1", "W2"))
        assert_close(J, plain + 0.25 / m * squares, "cost")
    with pytest.raises(ValueError, match="expected m to be at least 1, got 0"):
        cost_and_gradients(parameters, X, Y, network, m=0)


def test_the_activation_of_a_layer_far_up():
    """The last of 300 layers has the output's activation, whatever number object counts it."""
    network = Network(layer_sizes=(1,) * 301, hidden="tanh")
    assert network.activation(int("300")) == "sigmoid"
    assert network.activation(299) == "tanh"


@pytest.mark.parametrize(
    ("l", "error", "message"),
    [
        (3, ValueError, "expected l in 1..2, got 3"),
        (0, ValueError, "expected l to be at least 1, got 0"),
        (1.0, TypeError, "expected l to be a whole number, got float 1.0"),
    ],
)
def test_a_layer_that_there_is_not_has_no_activation(l, error, message):
    """Layers count from 1 to the depth; the input is none."""
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Network(layer_sizes=(4, 3, 2)).activation(l)


def test_keep_prob_one_is_no_dropout(rng):
    """A network that keeps everything is the network without dropout, to the bit."""
    network, parameters = draw_network((5, 8, 6, 3), "relu", "softmax", rng)
    kept = Network(layer_sizes=(5, 8, 6, 3), hidden="relu", output="softmax", keep_probs=(1.0, 1.0))
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    _, gradients = cost_and_gradients(parameters, X, Y, network)
    _, same = cost_and_gradients(parameters, X, Y, kept, masks={})
    assert np.array_equal(gradients.theta, same.theta)
    assert not twin(kept, parameters).dropouts


@pytest.mark.parametrize("hidden", HIDDEN)
def test_norms_are_those_of_layers(hidden, rng):
    """Whatever module an activation is, torch's layers are counted as ours are."""
    network, parameters = draw_network((5, 8, 6, 3), hidden, "softmax", rng)
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    mine = layer_norms(parameters, X, Y, network).activations
    other = theirs.layer_norms(twin(network, parameters), rows(X), rows(Y)).activations
    assert list(mine) == list(other) == ["A1", "A2", "A3"]
    for name, value in mine.items():
        assert_close(np.float64(value), np.float64(other[name]), name, budget=GRADIENT)


def test_norms_vanish_and_explode_with_the_initial_weights(rng):
    """Twenty tanh layers: He's keep their size, small weights vanish; saturated ones stay at 1."""
    sizes = (20, *(40,) * 19, 1)
    network = Network(layer_sizes=sizes, hidden="tanh", output="sigmoid")
    X, Y = rng.standard_normal((20, 30)), rng.integers(0, 2, (1, 30)).astype(float)
    first = {}
    for name in ("small_normal", "xavier"):
        norms = layer_norms(initialize(sizes, name, rng), X, Y, network)
        first[name] = norms.activations["A19"] / norms.activations["A1"]
        module = twin(network, initialize(sizes, name, rng))
        assert (
            theirs.layer_norms(module, rows(X), rows(Y)).gradients.keys() == norms.gradients.keys()
        )
    assert first["small_normal"] < 1e-10
    assert first["xavier"] > 0.1


def test_what_a_pass_needs_is_asked_for(rng):
    """Masks of other names or shapes, running averages missing or too many, are named."""
    network, parameters, masks = draw_regularized("both", rng)
    module = twin(network, parameters)
    X, Y = rng.standard_normal((5, 9)), draw_labels(network, 9, rng)
    spoilt = {
        "expected masks": {"D1": masks["D1"]},
        "expected mask D1 to hold 0 or 1 / 0.5": {**masks, "D1": (masks["D1"] > 0) + 0.0},
        "expected mask D2 to hold 0 or 1 / 0.8": {**masks, "D2": -masks["D2"] - 3},
        "expected mask D2 of shape": {**masks, "D2": masks["D2"][:, :4]},
        "expected mask D2 of dtype": {**masks, "D2": masks["D2"].astype("f4")},
    }
    for message, bad in spoilt.items():
        with pytest.raises((TypeError, ValueError), match=message):
            cost_and_gradients(parameters, X, Y, network, masks=bad)
        with pytest.raises((TypeError, ValueError), match=message):
            network_forward(X, parameters, network, bad)
        with pytest.raises((TypeError, ValueError), match=message):
            theirs.cost_and_gradients(module, rows(X), rows(Y), masks=masks_to_torch(bad))
    # masks go by their names, in whatever order they come
    turned = dict(reversed(masks.items()))
    J, _ = cost_and_gradients(parameters, X, Y, network, masks=turned)
    assert_close(J, cost_and_gradients(parameters, X, Y, network, masks=masks)[0], "cost")
    torchs = theirs.cost_and_gradients(module, rows(X), rows(Y), masks=masks_to_torch(turned))[0]
    assert_close(J, torchs.numpy()[()], "cost")
    for side in (
        lambda: cost_and_gradients(parameters, X, Y, network, masks=3),
        lambda: theirs.cost_and_gradients(module, rows(X), rows(Y), masks=3),
    ):
        with pytest.raises(TypeError, match="expected masks to be a mapping"):
            side()
    running = running_averages(network.layer_sizes)
    with pytest.raises(ValueError, match="expected running averages of shapes"):
        predict(X, parameters, network)
    with pytest.raises(TypeError, match="expected running to be Parameters"):
        predict(X, parameters, network, dict(running))
    with pytest.raises(ValueError, match="expected running averages like"):
        predict(X, parameters, network, parameters)
    plain, own = draw_network((5, 3), "tanh", "softmax", rng)
    with pytest.raises(ValueError, match="for normalized hidden layers alone"):
        outputs(X, own, plain, running)


@pytest.mark.parametrize("make", [Network, theirs.Network])
@pytest.mark.parametrize("bad", [(0.5,), (0.5, 0.5, 0.5), (0.0, 0.5), (1.1, 0.5), 0.5, ("a", 1)])
def test_bad_keep_probs_are_refused(make, bad):
    """One number in (0, 1] for each hidden layer."""
    with pytest.raises((TypeError, ValueError), match="expected keep_prob"):
        make(layer_sizes=(3, 4, 4, 1), keep_probs=bad)
    for layer in (0.5, torch.nn.BatchNorm1d(4)):
        with pytest.raises(TypeError, match="expected batch_norm"):
            make(layer_sizes=(3, 4, 4, 1), batch_norm=layer)


def test_torchs_own_batch_norm_will_do(rng):
    """`nn.BatchNorm1d` itself makes the layers; the passes leave no trace in its buffers."""
    module = theirs.Network(
        layer_sizes=(5, 8, 3), output="softmax", batch_norm=torch.nn.BatchNorm1d
    )
    initialize_theirs(module, "xavier", torch.Generator().manual_seed(1))
    before = {name: one.clone() for name, one in module.named_buffers()}
    X, Y = rows(rng.standard_normal((5, 9))), rows(np.eye(3)[:, [0, 1, 2] * 3])
    theirs.cost_and_gradients(module, X, Y)
    theirs.layer_norms(module, X, Y)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs.cost_and_gradients(module, X[:1], Y[:1])
    assert all(torch.equal(before[name], one) for name, one in module.named_buffers())
    assert module.training


def test_norms_of_vanishing_activations_do_not_underflow(rng):
    """In float32 the squares of 1e-26 are 0, the norm is not."""
    sizes = (20,) * 20 + (1,)
    network = Network(layer_sizes=sizes, hidden="tanh", output="sigmoid")
    X = rng.standard_normal((20, 30)).astype("f4")
    Y = rng.integers(0, 2, (1, 30)).astype("f4")
    parameters = initialize(sizes, "small_normal", rng, np.float32)
    mine = layer_norms(parameters, X, Y, network).activations
    other = theirs.layer_norms(twin(network, parameters), rows(X), rows(Y)).activations
    assert 0 < mine["A19"] < 1e-20
    assert abs(mine["A19"] / other["A19"] - 1) < 1e-4


def test_messages_tell_the_sides_apart(rng):
    """A network of the other side is named with its module; a missing choice is guessed."""
    network, parameters = draw_network((5, 4, 3), "tanh", "softmax", rng, batch_norm=NORM)
    with pytest.raises(
        TypeError, match=r"scratch\.network\.Network, got torch_ref\.network\.Network"
    ):
        predict(np.ones((5, 2)), parameters, module_of(network))
    with pytest.raises(ValueError, match="as `initialize` makes with batch_norm=True"):
        cost_and_gradients(initialize((5, 4, 3), "he", rng), np.ones((5, 3)), np.eye(3), network)


PENALTIES = [(0.0, 0.0), (0.2, 0.0), (0.0, 0.4), (0.2, 0.4)]  # (l1, l2)


@pytest.mark.parity("cost_and_gradients")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("output", OUTPUT_COSTS)
def test_cost_and_gradients(output, dtype, device, rng, seed):
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
        module = module_of(network, device)
        named = dict(zip(dict(module.named_parameters()), tensors, strict=True))
        total = Objective(module, penalties)
        return torch.func.functional_call(
            total, {f"module.{name}": tensor for name, tensor in named.items()}, (X, Y)
        )

    def gauges(arguments, dJ):
        bounds = cost_gauges(network, arguments, Y, **penalties)
        return {
            name: bounds[name] if name == "output" else np.abs(dJ) * bounds[name]
            for name in ("output", *parameters)
        }

    assert_twins(
        forward,
        backward,
        reference,
        parameters,
        rng,
        constants={"X": X, "Y": Y},
        gauges=gauges,
        witnessed=2,
        float32_floor=FLOAT32_NETWORK,
        device=device,
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
    network, parameters, X = draw_until(
        lambda network, parameters, X: switches(predict(X, parameters, network)),
        lambda: (*draw_network((5, 8, 6, 3), "relu", output, rng), rng.standard_normal((5, 9))),
    )
    Y = draw_labels(network, 9, rng)
    module = twin(network, parameters)
    J, gradients = cost_and_gradients(parameters, X, Y, network, l1=l1, l2=l2, m=20)
    truth, slopes = wide_costs(parameters, X, Y, network, l1=l1, l2=l2, m=20)
    cost, pulled = theirs.cost_and_gradients(module, rows(X), rows(Y), l1=l1, l2=l2, m=20)
    gauges = cost_gauges(network, {"X": X, **parameters}, Y, l1=l1, l2=l2, m=20)
    assert_close(J, cost.numpy()[()], "cost", gauge=gauges["output"], wider=truth)
    for name, gradient in pulled.items():
        options = {"gauge": gauges[name], "wider": slopes.get(name)}
        assert_close(gradients[name], to_numpy(name, gradient), name, budget=GRADIENT, **options)
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
        truth, slopes, gauges = None, {}, {}
        if dtype is np.float64:  # sums that cancel are the same in both, but not in the truth
            truth, slopes = wide_costs(parameters, X, Y, network, l1=l1, l2=l2, m=20)
            gauges = cost_gauges(network, {"X": X, **parameters}, Y, l1=l1, l2=l2, m=20)
        cost = step.cost_and_gradients(X, Y)
        assert_close(cost, J, "cost", budget=FORWARD, gauge=gauges.get("output"), wider=truth)
        for name, gradient in gradients.items():
            dead = not gradient.any()  # every unit of a ReLU layer off, on a single example
            options = {"gauge": gauges.get(name), "wider": slopes.get(name), "expect_zero": dead}
            assert_close(step.gradients[name], gradient, name, budget=GRADIENT, **options)


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
    gauges = cost_gauges(network, {"X": X, **parameters}, Y)
    assert_close(cost, J, "cost", gauge=gauges["output"])
    for name, gradient in gradients.items():
        assert_close(gradient, pulled[name], name, budget=GRADIENT, gauge=gauges[name])


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


def test_the_gauges_grow_by_a_small_factor_a_layer(rng):
    """On well-conditioned draws six times a layer, there and back, or they would bound nothing."""
    ratios: dict[str, list[float]] = {}
    for _ in range(20):
        network, parameters = draw_network((6, 8, 7, 3), "tanh", "sigmoid", rng)
        X = rng.standard_normal((6, 20))
        A, cache = network_forward(X, parameters, network)
        dA = rng.standard_normal(A.shape)
        gauges = network_gauges(network, {"X": X, **parameters}, dA)
        for name, value in {"output": A, **network_backward(dA, cache)}.items():
            ratios.setdefault(name, []).append(gauges[name].max() / np.abs(value).max())
    for name, found in ratios.items():
        layers = 1 if name in ("output", "W3", "b3") else 2 if name in ("W2", "b2") else 3
        most = 12 if name == "output" else 6 ** max(layers, 2) * 3
        assert 1 < np.median(found) < most, name


def test_the_gauges_of_a_cost_grow_by_a_small_factor_a_layer(rng):
    """J's is a few times J, those of the gradients grow there and back."""
    ratios: dict[str, list[float]] = {}
    for _ in range(20):
        network, parameters = draw_network((6, 8, 7, 3), "tanh", "softmax", rng)
        X, Y = rng.standard_normal((6, 20)), draw_labels(network, 20, rng)
        J, gradients = cost_and_gradients(parameters, X, Y, network)
        gauges = cost_gauges(network, {"X": X, **parameters}, Y)
        for name, value in {"output": J, **gradients}.items():
            ratios.setdefault(name, []).append(np.max(gauges[name]) / np.abs(value).max())
    for name, found in ratios.items():
        layers = 1 if name in ("output", "W3", "b3") else 2 if name in ("W2", "b2") else 3
        most = 30 if name == "output" else 6 ** max(layers, 2) * 5
        assert 1 < np.median(found) < most, name


#: an error that no gauge may hide where the result is as large as what it is made of.
OFF = 1 + 500 * np.finfo(float).eps


def assert_seen(value, quantity, gauge, budget=FORWARD):
    """Raise AssertionError where a gauge hides that a value is off, or says so of a right one."""
    with LEDGER.unrecorded():
        assert_close(value, value, quantity, budget=budget, gauge=gauge)
        with pytest.raises(AssertionError, match=f"{quantity} differs"):
            assert_close(value * OFF, value, quantity, budget=budget, gauge=gauge)


@pytest.mark.parametrize(("l1", "l2", "m"), [(0.0, 3e3, None), (1e4, 0.0, 20), (1e4, 2e3, 10)])
def test_a_penalty_widens_the_gauges_by_itself_and_no_more(l1, l2, m, rng):
    """By what it adds to J and to the gradients: an error of some hundred eps of it is seen."""
    network, parameters = draw_network((6, 8, 7, 3), "tanh", "softmax", rng)
    X, Y = rng.standard_normal((6, 20)), draw_labels(network, 20, rng)
    penalties = {"l1": l1, "l2": l2, "m": m}
    before, after = (
        cost_and_gradients(parameters, X, Y, network, **one) for one in ({}, penalties)
    )
    narrow, wide = (
        cost_gauges(network, {"X": X, **parameters}, Y, **one) for one in ({}, penalties)
    )
    assert wide["output"] - narrow["output"] == pytest.approx(after[0] - before[0], rel=1e-9)
    assert_seen(after[0], "cost", wide["output"])
    for name, gradient in after[1].items():
        added = np.abs(gradient - before[1][name])
        np.testing.assert_allclose(wide[name] - narrow[name], added, rtol=1e-9, atol=1e-12)
        if name.startswith("W"):
            assert_seen(gradient, name, wide[name], GRADIENT)


@pytest.mark.parametrize("norm", [None, NORM], ids=["plain", "batch norm"])
def test_the_gauge_of_a_prediction_is_a_few_times_its_largest_entry(norm, rng):
    """Through three layers: an error of some hundred eps is seen, and the last bits are not."""
    ratios = []
    for _ in range(20):
        network, parameters = draw_network((6, 8, 7, 3), "tanh", "sigmoid", rng, batch_norm=norm)
        X, running = rng.standard_normal((6, 20)), None
        if norm:
            running = running_averages(network.layer_sizes)
            running.theta[:] = rng.uniform(0.5, 2, running.theta.size)
        A = outputs(X, parameters, network, running)
        gauge = prediction_gauge(network, {"X": X, **parameters}, running)
        assert gauge.shape == A.shape
        ratios.append(gauge.max() / A.max())
        # with its averages for constants, a network is bounded as in training: see output_gauge
        other = output_gauge(network, parameters, X, running)
        assert ((gauge > 0.9 * other) & (gauge < 2 * other)).all()
    assert 1 < np.median(ratios) < 12
    assert_seen(A, "outputs", gauge)
