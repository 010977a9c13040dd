"""Networks beside their rows: misfits, choices, torch's own layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import GRADIENT, assert_close
from parity_tests.compare.bridge import masks_to_torch, rows, twin
from parity_tests.compare.witnesses import cast
from parity_tests.tests.stems.common import refused
from parity_tests.twins.network import LEARNING, PASSES
from scratch import network as ours
from scratch._checks import check_masks
from scratch.batch_norm import BatchNorm, running_averages
from scratch.initializers import initialize
from torch_ref import network as theirs
from torch_ref.initializers import initialize as initialize_theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("kind", ["dropout", "dropout and batch norm"])
def test_a_step_of_training_is_the_definition_in_every_precision(kind, dtype):
    case = LEARNING.case(dtype, **PASSES[kind], l1=0.1, l2=0.3, shared=20)
    values, names = LEARNING.run("scratch", case), [*case["parameters"]]
    # before a later normalization a beta has no gradient but round-off
    for name in ("cost", *(names if kind == "dropout" else ())):
        assert_close(values[f"{name} of a step"], values[name], name, budget=GRADIENT)
    vectors = (
        np.concatenate([values[name + end].ravel() for name in names]) for end in (" of a step", "")
    )
    assert_close(*vectors, "gradients", budget=GRADIENT)


SHAPE, PLAIN = (2, 4, 5, 3), ours.Network(layer_sizes=(2, 4, 5, 3), output="softmax")
NETWORK = replace(PLAIN, keep_probs=(0.5, 0.8), batch_norm=BatchNorm())
TANH = replace(PLAIN, output="tanh")
X, Y = np.ones((2, 6)), np.eye(3)[:, [0, 1, 2, 0, 1, 2]]
D1, D2 = np.full((4, 6), 2.0), np.full((5, 6), 1.25)
PARAMETERS = initialize(SHAPE, "he", np.random.default_rng(0), batch_norm=True)
OTHER = initialize(SHAPE, "he", np.random.default_rng(0))
PASS = {"X": X, "parameters": PARAMETERS, "network": NETWORK, "masks": {"D1": D1, "D2": D2}}

# fmt: off
#: second masks that are none: of another kind, shape and values.
MASKS = (
    D2.astype("f4"), 1.25, D2[:4], D2[:, :5], np.full((5, 7), 1.25),
    np.ones((5, 6)), -D2, D2 * (1 + 2e-6), D2 - np.eye(5, 6) / 4,
)
#: arguments that a pass of training refuses, on both sides where torch's has them.
MISFITS = (
    {"X": X[:1]}, {"X": X.astype("f4"), "Y": Y.astype("f4")},
    {"parameters": OTHER}, {"parameters": cast(PARAMETERS, np.float32)},
    {"masks": [D1]}, {"masks": {"D1": D1}}, {"masks": {"D1": D1, "D2": D2, "D3": D1}},
    {"Y": Y[:2]}, {"Y": np.vstack([Y, 0 * Y[:1]])}, {"Y": np.ones((3, 6))},
    {"m": 0}, {"network": replace(NETWORK, output="tanh")},
    {"network": replace(NETWORK, output="sigmoid"), "Y": 0.5 * np.ones((3, 6))},
    *({"masks": {"D1": D1, "D2": mask}} for mask in MASKS),
)
# fmt: on


@pytest.mark.parametrize("change", MISFITS)
def test_misfits_are_refused(change):
    case = {**PASS, "Y": Y, **change}
    refused("", ours.cost_and_gradients, **case)
    if change.keys() <= PASS.keys() - {"network"}:
        refused("", ours.network_forward, **{**PASS, **change})
    if "parameters" in change:
        return
    module = twin(case.pop("network"), case.pop("parameters"))
    if isinstance(case["masks"], dict):
        tensors = {n: one for n, one in case["masks"].items() if isinstance(one, np.ndarray)}
        case["masks"] = {**case["masks"], **masks_to_torch(tensors)}
    case |= {name: rows(case[name]) for name in "XY"}
    refused("", theirs.cost_and_gradients, module, **case)


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_data_of_fewer_or_more_digits_are_named(dtype):
    words = f"X of dtype float64, got {np.dtype(dtype)}"
    refused(words, ours.network_forward, **{**PASS, "X": X.astype(dtype), "masks": None})


def test_masks_that_fit_are_taken():
    """Those that keep nothing or are rounded too; in a training values are left to the draws."""
    for mask in (D2, 0 * D2, D2 * (1 + 9e-7)):
        ours.cost_and_gradients(**{**PASS, "Y": Y, "masks": {"D1": D1, "D2": mask}})
    check_masks(NETWORK, {"D1": D1, "D2": np.ones((5, 6))}, 6, X.dtype, values=False)


def with_value(name, value):
    other = running_averages(SHAPE)
    other[name][1] = value
    return other


# fmt: off
BAD_AVERAGES = (
    None, {}, PARAMETERS, running_averages((2, 4, 6, 3)), running_averages(SHAPE, "f4"),
    running_averages(SHAPE, "longdouble"),
    with_value("mean1", np.nan), with_value("variance1", np.inf), with_value("variance2", -1e-300),
)
# fmt: on


@pytest.mark.parametrize("function", [ours.outputs, ours.predict])
def test_running_averages_are_asked_for_where_they_are_needed(function):
    """Not without batch norm, nor with it but without a hidden layer."""
    for bad in BAD_AVERAGES:
        refused("", function, X, PARAMETERS, NETWORK, bad)
    for good in (with_value("variance2", 0.0), with_value("mean2", -7.0)):
        function(X, PARAMETERS, NETWORK, good)
    for network in (PLAIN, replace(PLAIN, layer_sizes=(2, 3), batch_norm=BatchNorm())):
        given = X, initialize(network.layer_sizes, "he", np.random.default_rng(0)), network
        function(*given)
        refused("running averages for normalized", function, *given, running_averages(SHAPE))


@pytest.mark.parametrize("sizes", [SHAPE, (2, 3)], ids=str)
def test_an_upstream_gradient_fits_the_output(sizes):
    parameters = initialize(sizes, "he", np.random.default_rng(0))
    _, cache = ours.network_forward(X, parameters, replace(PLAIN, layer_sizes=sizes))
    for wrong in ((2, 6), (4, 6), (3, 5), (3, 7)):
        refused("dA of shape", ours.network_backward, np.ones(wrong), cache)
    refused("dA of dtype", ours.network_backward, np.ones((3, 6), "f4"), cache)
    # X first, then as theta lies
    assert list(ours.network_backward(np.ones((3, 6)), cache)) == ["X", *parameters]


def test_choices_name_the_activation_of_each_layer():
    """A network has a gradient, and makes its own layers; without a threshold none predicts."""
    for make in (ours.Network, theirs.Network):
        refused("output", make, layer_sizes=SHAPE, output="hardmax")
        refused("batch_norm", make, layer_sizes=SHAPE, batch_norm=torch.nn.BatchNorm1d(4))
    network = ours.Network(layer_sizes=[4, 3, 2], hidden="tanh")
    assert network.layer_sizes == (4, 3, 2)
    assert [network.activation(l) for l in (1, network.depth)] == ["tanh", "sigmoid"]
    for l in (0, 3, 1.0):
        refused("l", network.activation, l)
    words = "one of sigmoid, softmax, got 'tanh'"
    refused(words, ours.predict, X, OTHER, TANH)
    refused(words, theirs.predict, rows(X), twin(TANH, OTHER))


def test_torchs_own_batch_norm_will_do(rng):
    """`nn.BatchNorm1d` itself makes the layers; the passes leave no trace in its buffers."""
    choices = {"layer_sizes": (2, 8, 3), "output": "softmax", "batch_norm": torch.nn.BatchNorm1d}
    module, inputs = theirs.Network(**choices), rows(rng.standard_normal((2, 6)))
    initialize_theirs(module, "xavier", torch.Generator().manual_seed(1))
    before = {name: one.clone() for name, one in module.named_buffers()}
    for function in (theirs.cost_and_gradients, theirs.layer_norms):
        function(module, inputs, rows(Y))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs.cost_and_gradients(module, inputs[:1], rows(Y)[:1])
    assert all(torch.equal(before[name], one) for name, one in module.named_buffers())
    assert module.training
    # data of another width are told the right one
    for wrong, words, other in (
        ((np.ones((5, 6)), Y), r"X .* n_x = 2, got", r"X .*\(m, 2\), got"),
        ((X, np.ones((1, 6))), r"Y .* n_y = 3, got", r"Y .*\(m, 3\), got"),
    ):
        refused(words, ours.cost_and_gradients, OTHER, *wrong, PLAIN)
        refused(other, theirs.cost_and_gradients, twin(PLAIN, OTHER), *map(rows, wrong))


def test_norms_of_vanishing_activations_do_not_underflow(rng):
    """In float32 the squares of 1e-26 are 0, the norm is not."""
    sizes = (20,) * 20 + (1,)
    network = ours.Network(layer_sizes=sizes, hidden="tanh", output="sigmoid")
    data = rng.standard_normal((20, 30)).astype("f4"), np.ones((1, 30), "f4")
    parameters = initialize(sizes, "small_normal", rng, np.float32)
    mine = ours.layer_norms(parameters, *data, network).activations["A19"]
    other = theirs.layer_norms(twin(network, parameters), *map(rows, data)).activations["A19"]
    assert 0 < mine < 1e-20
    assert abs(mine / other - 1) < 1e-4
