"""Networks beside their rows: every precision of a step, misfits, choices, torch's own layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import masks_to_torch, rows, twin
from parity_tests.compare.gauges import cost_gauges
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

SIZES = (5, 8, 6, 3)
CHOICES = {
    "plain": {},
    "dropout": {"keep_probs": (0.8, 0.5)},
    "batch norm": {"epsilon": 1e-3},
    "both": {"keep_probs": (0.5, 0.8), "epsilon": 1e-3, "unbiased": True},
}


def cast(parameters, dtype):
    return Parameters({name: one.astype(dtype) for name, one in parameters.items()})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("hidden", DIFFERENTIABLE)
@pytest.mark.parametrize("case", CHOICES)
def test_a_step_of_training_is_the_definition_in_every_precision(case, hidden, dtype, rng):
    choices = {"hidden": hidden, "output": "softmax", "decided": False, **CHOICES[case]}
    network, parameters, _, _ = draw_network(rng, SIZES, **choices)
    parameters = cast(parameters, dtype)
    running = running_averages(SIZES, dtype) if network.batch_norm else None
    penalties = {"l1": 0.1, "l2": 0.3, "m": 20}
    step = TrainingStep(network, parameters, **penalties, running=running)
    for m in (9, 4, 2):
        _, _, X, masks = draw_network(rng, SIZES, m, **choices)
        X, masks = X.astype(dtype), {name: one.astype(dtype) for name, one in masks.items()}
        Y, before = draw_labels(network, m, rng).astype(dtype), running and running.copy()
        J, gradients = cost_and_gradients(parameters, X, Y, network, **penalties, masks=masks)
        # the step sums in another order, which batch norm over two examples makes the most of
        assert_close(step.cost_and_gradients(X, Y, masks), J, "cost", budget=GRADIENT)
        # as one vector: a shift before a later normalization has no gradient but round-off
        assert_close(step.gradients.theta, gradients.theta, "gradients", budget=GRADIENT)
        if running is None and m == 9:
            for name, one in gradients.items():
                assert_close(step.gradients[name], one, name, budget=GRADIENT)
        if running is not None:
            _, cache = network_forward(X, parameters, network, masks)
            for l, one in enumerate(cache.batch_norm, start=1):
                pair, norm = (before[f"mean{l}"], before[f"variance{l}"]), network.batch_norm
                moved = update_running_averages(*pair, one, norm.decay, norm.unbiased)
                for letter, value in zip(("mean", "variance"), moved, strict=True):
                    assert_close(running[f"{letter}{l}"], value, letter, gauge=4.0)


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


NORM = BatchNorm()
NETWORK = Network(
    layer_sizes=(2, 4, 5, 3), output="softmax", keep_probs=(0.5, 0.8), batch_norm=NORM
)
X, Y = np.ones((2, 6)), np.eye(3)[:, [0, 1, 2, 0, 1, 2]]
MASKS = {"D1": np.full((4, 6), 2.0), "D2": np.full((5, 6), 1.25)}
PARAMETERS = initialize(NETWORK.layer_sizes, "he", np.random.default_rng(0), batch_norm=True)
OTHER = initialize(NETWORK.layer_sizes, "he", np.random.default_rng(0))
PASS = {"X": X, "parameters": PARAMETERS, "network": NETWORK, "masks": MASKS}
COST = {**PASS, "Y": Y}


def second(mask):
    return {"masks": {**MASKS, "D2": mask}}


#: what a pass of training refuses, and the error; for both sides where torch's has the argument.
MISFITS = {
    "X of fewer features": ({"X": X[:1]}, ValueError),
    "X of more features": ({"X": np.ones((3, 6))}, ValueError),
    "X of another precision": ({"X": X.astype("f4"), "Y": Y.astype("f4")}, TypeError),
    "parameters without batch norm": ({"parameters": OTHER}, ValueError),
    "parameters of a smaller network": ({"parameters": cast({"W1": X}, "f8")}, ValueError),
    "parameters of another precision": ({"parameters": cast(PARAMETERS, "f4")}, TypeError),
    "no mapping of masks": ({"masks": [MASKS["D1"]]}, TypeError),
    "a number for masks": ({"masks": 3}, TypeError),
    "a mask missing": ({"masks": {"D1": MASKS["D1"]}}, ValueError),
    "a mask too many": ({"masks": {**MASKS, "D3": MASKS["D1"]}}, ValueError),
    "a mask of another precision": (second(MASKS["D2"].astype("f4")), TypeError),
    "a number for a mask": (second(1.25), TypeError),
    "a mask of fewer units": (second(MASKS["D2"][:4]), ValueError),
    "a mask of fewer examples": (second(MASKS["D2"][:, :5]), ValueError),
    "a mask of more examples": (second(np.full((5, 7), 1.25)), ValueError),
    "a mask of ones": (second(np.ones((5, 6))), ValueError),
    "a mask of another keep_prob": (second(np.full((5, 6), 2.0)), ValueError),
    "a negative mask": (second(-MASKS["D2"]), ValueError),
    "a mask a little off": (second(MASKS["D2"] * (1 + 2e-6)), ValueError),
    "a mask with one entry off": (second(MASKS["D2"] - np.eye(5, 6) / 4), ValueError),
    "Y of fewer classes": ({"Y": Y[:2]}, ValueError),
    "Y of more classes": ({"Y": np.eye(4)[:, [0, 1, 2, 0, 1, 2]]}, ValueError),
    "Y not one-hot": ({"Y": np.ones((3, 6))}, ValueError),
    "labels that are halves": (
        {"network": replace(NETWORK, output="sigmoid"), "Y": 0.5 * np.ones((3, 6))},
        ValueError,
    ),
    "an output without a cost": ({"network": replace(NETWORK, output="tanh")}, ValueError),
    "nobody to share a penalty": ({"m": 0}, ValueError),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused(misfit):
    change, error = MISFITS[misfit]
    with pytest.raises(error, match="expected"):
        cost_and_gradients(**{**COST, **change})
    if change.keys() <= {"X", "parameters", "masks"}:
        with pytest.raises(error, match="expected"):
            network_forward(**{**PASS, **change})
    if "parameters" not in change:
        case = {**COST, **change}
        module = twin(case.pop("network"), case.pop("parameters"))
        if isinstance(case["masks"], dict):
            tensors = {n: one for n, one in case["masks"].items() if isinstance(one, np.ndarray)}
            case["masks"] = {**case["masks"], **masks_to_torch(tensors)}
        with pytest.raises(error, match="expected"):
            theirs.cost_and_gradients(
                module, **{**case, "X": rows(case["X"]), "Y": rows(case["Y"])}
            )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"masks": {name: 0 * one for name, one in MASKS.items()}},
        second(MASKS["D2"] * (1 + 9e-7)),
    ],
    ids=["as they should be", "nothing kept", "rounded by another dtype"],
)
def test_what_fits_is_taken(change):
    cost_and_gradients(**{**COST, **change})


def test_in_a_training_the_values_of_masks_are_left_to_the_draws():
    check_masks(NETWORK, second(np.ones((5, 6)))["masks"], 6, X.dtype, values=False)


RUNNING = running_averages(NETWORK.layer_sizes)


def with_value(name, value):
    other = RUNNING.copy()
    other[name][1] = value
    return other


BAD_AVERAGES = {
    "none": (None, ValueError),
    "a dictionary": ({}, TypeError),
    "parameters": (PARAMETERS, ValueError),
    "of another network": (running_averages((2, 4, 6, 3)), ValueError),
    "of fewer layers": (running_averages((2, 4, 3)), ValueError),
    "of another precision": (running_averages(NETWORK.layer_sizes, "f4"), ValueError),
    "NaN": (with_value("mean1", np.nan), ValueError),
    "infinite": (with_value("variance1", np.inf), ValueError),
    "a variance below 0": (with_value("variance2", -1e-300), ValueError),
}


@pytest.mark.parametrize("bad", BAD_AVERAGES)
def test_running_averages_are_asked_for_where_they_are_needed(bad):
    running, error = BAD_AVERAGES[bad]
    for function in (outputs, predict):
        with pytest.raises(error, match="expected"):
            function(X, PARAMETERS, NETWORK, running)
        for good in (with_value("variance2", 0.0), with_value("mean2", -7.0)):
            function(X, PARAMETERS, NETWORK, good)


@pytest.mark.parametrize("sizes", [(2, 4, 5, 3), (2, 3)], ids=str)
def test_running_averages_are_refused_where_there_are_none(sizes):
    """Without batch norm, and with it but without a hidden layer."""
    network = Network(layer_sizes=sizes, batch_norm=None if len(sizes) > 2 else NORM)
    parameters = initialize(sizes, "he", np.random.default_rng(0))
    outputs(X, parameters, network)
    with pytest.raises(ValueError, match="expected running averages for normalized hidden layers"):
        outputs(X, parameters, network, RUNNING)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("sizes", [(2, 4, 5, 3), (2, 3)], ids=str)
def test_an_upstream_gradient_fits_the_output(sizes, dtype):
    network, parameters = (
        Network(layer_sizes=sizes, output="softmax"),
        initialize(sizes, "he", np.random.default_rng(0), dtype),
    )
    _, cache = network_forward(X.astype(dtype), parameters, network)
    for wrong in ((2, 6), (4, 6), (3, 5), (3, 7)):
        with pytest.raises(ValueError, match="expected dA of shape"):
            network_backward(np.ones(wrong, dtype), cache)
    with pytest.raises(TypeError, match="expected dA of dtype"):
        network_backward(np.ones((3, 6), "f8" if dtype == "f4" else "f4"), cache)
    # X first, then as theta lies
    assert list(network_backward(np.ones((3, 6), dtype), cache)) == ["X", *parameters]


@pytest.mark.parametrize("make", [Network, theirs.Network])
@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"layer_sizes": (3,)}, ValueError),
        ({"layer_sizes": (3, 0, 1)}, ValueError),
        ({"layer_sizes": (3, 2.0)}, TypeError),
        ({"layer_sizes": (3, True)}, TypeError),
        ({"layer_sizes": 3}, TypeError),
        ({"hidden": "swish"}, ValueError),
        ({"output": "hardmax"}, ValueError),
        ({"hidden": None}, TypeError),
        *(
            ({"keep_probs": bad}, ValueError)
            for bad in ((0.5,), (0.5,) * 3, (0.0, 0.5), (1.1, 0.5))
        ),
        *(({"keep_probs": bad}, TypeError) for bad in (0.5, ("a", 1))),
        *(({"batch_norm": bad}, TypeError) for bad in (0.5, torch.nn.BatchNorm1d(4))),
    ],
    ids=str,
)
def test_choices_that_make_no_network_are_refused(make, choices, error):
    with pytest.raises(error, match="expected"):
        make(**{"layer_sizes": (3, 4, 4, 1), **choices})


def test_choices_are_frozen_and_name_the_activation_of_each_layer():
    network = Network(layer_sizes=[4, 3, 2], hidden="tanh")
    assert network.layer_sizes == (4, 3, 2)
    assert [network.activation(l) for l in (1, network.depth)] == ["tanh", "sigmoid"]
    for l, error in ((0, ValueError), (3, ValueError), (1.0, TypeError)):
        with pytest.raises(error, match="expected l"):
            network.activation(l)
    with pytest.raises(AttributeError):
        network.hidden = "relu"


def test_an_output_without_a_threshold_predicts_nothing():
    network = Network(layer_sizes=(2, 3), output="tanh")
    parameters = initialize((2, 3), "he", np.random.default_rng(0))
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        predict(X, parameters, network)
    with pytest.raises(ValueError, match="one of sigmoid, softmax, got 'tanh'"):
        theirs.predict(rows(X), twin(network, parameters))


def test_penalties_are_left_out_unless_said():
    network, parameters = replace(NETWORK, keep_probs=()), PARAMETERS
    plain = cost_and_gradients(parameters, X, Y, network)
    said = cost_and_gradients(parameters, X, Y, network, l1=0.0, l2=0.0, m=6)
    module = twin(network, parameters)
    unsaid, zero = (
        theirs.cost_and_gradients(module, rows(X), rows(Y), **one)[0] for one in ({}, {"l1": 0.0})
    )
    assert plain[0] == said[0]
    assert np.array_equal(plain[1].theta, said[1].theta)
    assert unsaid == zero
    assert layer_norms(parameters, X, Y, network) == layer_norms(parameters, X, Y, network, l2=0.0)


@pytest.mark.parametrize(("l1", "l2", "m"), [(0.0, 3e3, None), (1e4, 0.0, 20), (1e4, 2e3, 10)])
def test_a_penalty_widens_the_gauges_by_itself_and_no_more(l1, l2, m, rng):
    """By its share of J and of each gradient: an error of some hundred eps of it is seen."""
    network, parameters, inputs, _ = draw_network(rng, (6, 8, 7, 3), 20, output="softmax")
    labels, penalties = draw_labels(network, 20, rng), {"l1": l1, "l2": l2, "m": m}
    before, after = (
        cost_and_gradients(parameters, inputs, labels, network, **one) for one in ({}, penalties)
    )
    arguments = {"X": inputs, **parameters}
    narrow, wide = (cost_gauges(network, arguments, labels, **one) for one in ({}, penalties))
    assert wide["output"] - narrow["output"] == pytest.approx(after[0] - before[0], rel=1e-9)
    for name, one in after[1].items():
        added = np.abs(one - before[1][name])
        np.testing.assert_allclose(wide[name] - narrow[name], added, rtol=1e-9, atol=1e-12)


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
