"""Networks beside their rows: misfits, choices, torch's own layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import masks_to_torch, rows, twin
from parity_tests.twins._networks import DIFFERENTIABLE, draw_labels, draw_network
from scratch._checks import check_masks
from scratch._step import TrainingStep
from scratch.batch_norm import BatchNorm, running_averages, update_running_averages
from scratch.initializers import initialize
from scratch.network import (
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


def cast(parameters, dtype):
    return Parameters({name: one.astype(dtype) for name, one in parameters.items()})


CHOICES = {
    "plain": {},
    "dropout": {"keep_probs": (0.8, 0.5)},
    "batch norm": {"epsilon": 1e-3},
    "both": {"keep_probs": (0.5, 0.8), "epsilon": 1e-3, "unbiased": True},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("hidden", DIFFERENTIABLE)
@pytest.mark.parametrize("case", CHOICES)
def test_a_step_of_training_is_the_definition_in_every_precision(case, hidden, dtype, rng):
    sizes = 5, 8, 6, 3
    choices = {"hidden": hidden, "output": "softmax", "decided": False, **CHOICES[case]}
    network, parameters, _, _ = draw_network(rng, sizes, **choices)
    parameters = cast(parameters, dtype)
    running = running_averages(sizes, dtype) if network.batch_norm else None
    penalties = {"l1": 0.1, "l2": 0.3, "m": 20}
    step = TrainingStep(network, parameters, **penalties, running=running)
    for m in (9, 4, 2):
        _, _, X, masks = draw_network(rng, sizes, m, **choices)
        X, masks = X.astype(dtype), {name: one.astype(dtype) for name, one in masks.items()}
        Y, before = draw_labels(network, m, rng).astype(dtype), running and running.copy()
        J, gradients = cost_and_gradients(parameters, X, Y, network, **penalties, masks=masks)
        # the step sums in another order, which batch norm over two examples makes the most of
        assert_close(step.cost_and_gradients(X, Y, masks), J, "cost", budget=GRADIENT)
        # as one vector: a shift before a later normalization has no gradient but round-off
        assert_close(step.gradients.theta, gradients.theta, "gradients", budget=GRADIENT)
        for name, one in gradients.items() if running is None and m == 9 else ():
            assert_close(step.gradients[name], one, name, budget=GRADIENT)
        _, cache = network_forward(X, parameters, network, masks)
        for l, one in enumerate(cache.batch_norm if running else (), start=1):
            pair, norm = (before[f"mean{l}"], before[f"variance{l}"]), network.batch_norm
            moved = update_running_averages(*pair, one, norm.decay, norm.unbiased)
            for letter, value in zip(("mean", "variance"), moved, strict=True):
                assert_close(running[f"{letter}{l}"], value, letter, gauge=4.0)


SHAPE, PLAIN = (2, 4, 5, 3), Network(layer_sizes=(2, 4, 5, 3), output="softmax")
NETWORK = replace(PLAIN, keep_probs=(0.5, 0.8), batch_norm=BatchNorm())
X, Y = np.ones((2, 6)), np.eye(3)[:, [0, 1, 2, 0, 1, 2]]
D1, D2 = np.full((4, 6), 2.0), np.full((5, 6), 1.25)
PARAMETERS = initialize(SHAPE, "he", np.random.default_rng(0), batch_norm=True)
OTHER = initialize(SHAPE, "he", np.random.default_rng(0))
PASS = {"X": X, "parameters": PARAMETERS, "network": NETWORK, "masks": {"D1": D1, "D2": D2}}
HALVES = {"network": replace(NETWORK, output="sigmoid"), "Y": 0.5 * np.ones((3, 6))}

#: arguments that a pass of training refuses, on both sides where torch's has them.
MISFITS = {
    "X of fewer features": {"X": X[:1]},
    "X of another precision": {"X": X.astype("f4"), "Y": Y.astype("f4")},
    "parameters without batch norm": {"parameters": OTHER},
    "parameters of another precision": {"parameters": cast(PARAMETERS, "f4")},
    "no mapping of masks": {"masks": [D1]},
    "a mask missing": {"masks": {"D1": D1}},
    "a mask too many": {"masks": {"D1": D1, "D2": D2, "D3": D1}},
    "Y of fewer classes": {"Y": Y[:2]},
    "Y not one-hot": {"Y": np.ones((3, 6))},
    "labels that are halves": HALVES,
    "an output without a cost": {"network": replace(NETWORK, output="tanh")},
    "nobody to share a penalty": {"m": 0},
}

#: second masks that are none.
MASKS = {
    "a mask of another precision": D2.astype("f4"),
    "a number for a mask": 1.25,
    "a mask of fewer units": D2[:4],
    "a mask of fewer examples": D2[:, :5],
    "a mask of more examples": np.full((5, 7), 1.25),
    "a mask of ones": np.ones((5, 6)),
    "a negative mask": -D2,
    "a mask a little off": D2 * (1 + 2e-6),
    "a mask with one entry off": D2 - np.eye(5, 6) / 4,
}
MISFITS |= {name: {"masks": {"D1": D1, "D2": mask}} for name, mask in MASKS.items()}


@pytest.mark.parametrize("misfit", MISFITS)
def test_misfits_are_refused(misfit):
    change = MISFITS[misfit]
    case = {**PASS, "Y": Y, **change}
    with pytest.raises((TypeError, ValueError), match="expected"):
        cost_and_gradients(**case)
    if change.keys() <= PASS.keys() - {"network"}:
        with pytest.raises((TypeError, ValueError), match="expected"):
            network_forward(**{**PASS, **change})
    if "parameters" in change:
        return
    module = twin(case.pop("network"), case.pop("parameters"))
    if isinstance(case["masks"], dict):
        tensors = {n: one for n, one in case["masks"].items() if isinstance(one, np.ndarray)}
        case["masks"] = {**case["masks"], **masks_to_torch(tensors)}
    with pytest.raises((TypeError, ValueError), match="expected"):
        theirs.cost_and_gradients(module, **{**case, "X": rows(case["X"]), "Y": rows(case["Y"])})


def test_masks_that_fit_are_taken():
    """Those that keep nothing or are rounded too; in a training values are left to the draws."""
    for mask in (D2, 0 * D2, D2 * (1 + 9e-7)):
        cost_and_gradients(**{**PASS, "Y": Y, "masks": {"D1": D1, "D2": mask}})
    check_masks(NETWORK, {"D1": D1, "D2": np.ones((5, 6))}, 6, X.dtype, values=False)


def with_value(name, value):
    other = running_averages(SHAPE)
    other[name][1] = value
    return other


BAD_AVERAGES = {
    "none": None,
    "a dictionary": {},
    "parameters": PARAMETERS,
    "of another network": running_averages((2, 4, 6, 3)),
    "of another precision": running_averages(SHAPE, "f4"),
    "NaN": with_value("mean1", np.nan),
    "infinite": with_value("variance1", np.inf),
    "a variance below 0": with_value("variance2", -1e-300),
}


@pytest.mark.parametrize("bad", BAD_AVERAGES)
def test_running_averages_are_asked_for_where_they_are_needed(bad):
    for function in (outputs, predict):
        with pytest.raises((TypeError, ValueError), match="expected"):
            function(X, PARAMETERS, NETWORK, BAD_AVERAGES[bad])
        for good in (with_value("variance2", 0.0), with_value("mean2", -7.0)):
            function(X, PARAMETERS, NETWORK, good)


@pytest.mark.parametrize("network", [PLAIN, Network(layer_sizes=(2, 3), batch_norm=BatchNorm())])
def test_running_averages_are_refused_where_there_are_none(network):
    """Without batch norm, and with it but without a hidden layer."""
    parameters = initialize(network.layer_sizes, "he", np.random.default_rng(0))
    outputs(X, parameters, network)
    with pytest.raises(ValueError, match="expected running averages for normalized hidden layers"):
        outputs(X, parameters, network, running_averages(SHAPE))


@pytest.mark.parametrize("sizes", [(2, 4, 5, 3), (2, 3)], ids=str)
def test_an_upstream_gradient_fits_the_output(sizes):
    network = Network(layer_sizes=sizes, output="softmax")
    parameters = initialize(sizes, "he", np.random.default_rng(0))
    _, cache = network_forward(X, parameters, network)
    for wrong in ((2, 6), (4, 6), (3, 5), (3, 7)):
        with pytest.raises(ValueError, match="expected dA of shape"):
            network_backward(np.ones(wrong), cache)
    with pytest.raises(TypeError, match="expected dA of dtype"):
        network_backward(np.ones((3, 6), "f4"), cache)
    # X first, then as theta lies
    assert list(network_backward(np.ones((3, 6)), cache)) == ["X", *parameters]


def test_a_network_has_a_gradient_and_makes_its_own_layers():
    for choice in ({"output": "hardmax"}, {"batch_norm": torch.nn.BatchNorm1d(4)}):
        for make in (Network, theirs.Network):
            with pytest.raises((TypeError, ValueError), match=r"expected (output|batch_norm)"):
                make(layer_sizes=SHAPE, **choice)


def test_choices_are_frozen_and_name_the_activation_of_each_layer():
    network = Network(layer_sizes=[4, 3, 2], hidden="tanh")
    assert network.layer_sizes == (4, 3, 2)
    assert [network.activation(l) for l in (1, network.depth)] == ["tanh", "sigmoid"]
    for l in (0, 3, 1.0):
        with pytest.raises((TypeError, ValueError), match="expected l"):
            network.activation(l)
    with pytest.raises(AttributeError):
        network.hidden = "relu"


def test_an_output_without_a_threshold_predicts_nothing():
    network = replace(PLAIN, output="tanh")
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        predict(X, OTHER, network)
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        theirs.predict(rows(X), twin(network, OTHER))


def test_penalties_are_left_out_unless_said():
    plain, said = (
        cost_and_gradients(OTHER, X, Y, PLAIN, **one) for one in ({}, {"l1": 0.0, "l2": 0.0})
    )
    assert plain[0] == said[0]
    assert np.array_equal(plain[1].theta, said[1].theta)
    assert layer_norms(OTHER, X, Y, PLAIN) == layer_norms(OTHER, X, Y, PLAIN, l2=0.0)


def test_torchs_own_batch_norm_will_do(rng):
    """`nn.BatchNorm1d` itself makes the layers; the passes leave no trace in its buffers."""
    choices = {"layer_sizes": (5, 8, 3), "output": "softmax", "batch_norm": torch.nn.BatchNorm1d}
    module = theirs.Network(**choices)
    initialize_theirs(module, "xavier", torch.Generator().manual_seed(1))
    before = {name: one.clone() for name, one in module.named_buffers()}
    inputs, labels = rows(rng.standard_normal((5, 9))), rows(np.eye(3)[:, [0, 1, 2] * 3])
    for function in (theirs.cost_and_gradients, theirs.layer_norms):
        function(module, inputs, labels)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs.cost_and_gradients(module, inputs[:1], labels[:1])
    assert all(torch.equal(before[name], one) for name, one in module.named_buffers())
    assert module.training


@pytest.mark.parametrize(
    ("sizes", "ours", "other"),
    [
        ((5, 3), r"X .* n_x = 2, got", r"X .*\(m, 2\), got"),
        ((2, 1), r"Y .* n_y = 3, got", r"Y .*\(m, 3\), got"),
    ],
)
def test_data_of_another_width_are_told_the_right_one(sizes, ours, other):
    network = Network(layer_sizes=(2, 4, 3), output="softmax")
    parameters = initialize((2, 4, 3), "he", np.random.default_rng(0))
    X, Y = np.ones((sizes[0], 6)), np.eye(sizes[1])[:, [0] * 6]
    with pytest.raises(ValueError, match=ours):
        cost_and_gradients(parameters, X, Y, network)
    with pytest.raises(ValueError, match=other):
        theirs.cost_and_gradients(twin(network, parameters), rows(X), rows(Y))


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


def test_in_a_training_the_values_of_masks_are_left_to_the_draws():
    masks = {"D1": D1, "D2": np.ones((5, 6))}
    check_masks(NETWORK, masks, 6, X.dtype, values=False)
