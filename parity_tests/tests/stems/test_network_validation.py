"""What must fit together before a network runs: every misfit is refused, in its own words."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from scratch._checks import check_labels, check_masks, check_running, match
from scratch.batch_norm import BatchNorm, running_averages
from scratch.initializers import initialize
from scratch.network import Network, network_backward, network_forward
from scratch.parameters import Parameters

SIZES = (2, 4, 5, 3)
NETWORK = Network(layer_sizes=SIZES, output="softmax", keep_probs=(0.5, 0.8))
NORMALIZED = Network(layer_sizes=SIZES, output="softmax", batch_norm=BatchNorm())
PARAMETERS = initialize(SIZES, "he", np.random.default_rng(0))
X, Y = np.ones((2, 6)), np.eye(3)[:, [0, 1, 2, 0, 1, 2]]
MASKS = {"D1": np.full((4, 6), 2.0), "D2": np.full((5, 6), 1.25)}
RUNNING = running_averages(SIZES)


def refusal(check, *arguments, **options):
    """Return the error and what it says, or None and ""."""
    try:
        check(*arguments, **options)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    return None, ""


def test_parameters_and_data_fit_the_network():
    """Shapes and dtypes are the network's, no more units and no fewer."""
    assert refusal(match, NETWORK, PARAMETERS, X) == (None, "")
    for width in (1, 3):
        assert refusal(match, NETWORK, PARAMETERS, np.ones((width, 6))) == (
            ValueError,
            f"expected X of shape (n_x, m) with n_x = 2, got ({width}, 6)",
        )
    assert refusal(match, NETWORK, PARAMETERS, X.astype("f4")) == (
        TypeError,
        "expected X of dtype float64, got float32",
    )
    narrow = Parameters({name: one.astype("f4") for name, one in PARAMETERS.items()})
    assert refusal(match, NETWORK, narrow, X) == (
        TypeError,
        "expected X of dtype float32, got float64",
    )
    for sizes in ((2, 4, 6, 3), (2, 4, 4, 3), (2, 3)):
        other = Network(layer_sizes=sizes, output="softmax")
        error, message = refusal(match, other, PARAMETERS, X)
        assert error is ValueError
        assert message == f"expected parameters of shapes {other.shapes}, got {PARAMETERS.shapes}"
    _, message = refusal(match, NORMALIZED, PARAMETERS, X)
    assert message == (
        f"expected parameters of shapes {NORMALIZED.shapes}, as `initialize` makes with "
        f"batch_norm=True, got {PARAMETERS.shapes}"
    )


def test_labels_fit_the_output():
    """As many rows as units, one-hot under softmax and 0 or 1 under sigmoid."""
    sigmoid = Network(layer_sizes=SIZES, output="sigmoid")
    both = np.ones((3, 6))
    assert refusal(check_labels, NETWORK, Y) == (None, "")
    assert refusal(check_labels, sigmoid, both) == (None, "")
    spelt = Network(layer_sizes=SIZES, output="".join(["soft", "max"]))
    for network in (NETWORK, spelt):
        assert "one-hot" in refusal(check_labels, network, both)[1]
    assert "labels in {0, 1}" in refusal(check_labels, sigmoid, 0.5 * both)[1]
    for height in (1, 2, 4):
        assert refusal(check_labels, sigmoid, np.ones((height, 6))) == (
            ValueError,
            f"expected Y of shape (n_y, m) with n_y = 3, got ({height}, 6)",
        )
    tanh = Network(layer_sizes=SIZES, output="tanh")
    assert refusal(check_labels, tanh, Y) == (
        ValueError,
        "expected an output with a cost, one of sigmoid, softmax, got 'tanh'",
    )


def test_masks_fit_the_layers():
    """One for each layer that drops, of its units and the batch, holding 0 and 1 / keep_prob."""

    def said(masks, **options):
        return refusal(check_masks, NETWORK, masks, 6, np.dtype(float), **options)

    assert said(MASKS) == (None, "")
    named = {"network": NETWORK, "masks": MASKS, "m": 6, "dtype": np.dtype(float)}
    assert refusal(check_masks, **named) == (None, "")
    assert said({name: 0 * mask for name, mask in MASKS.items()}) == (None, "")
    rounded = {**MASKS, "D2": MASKS["D2"] * (1 + 9e-7)}
    assert said(rounded) == (None, "")
    assert said([1]) == (TypeError, "expected masks to be a mapping of names, got list [1]")
    assert said({"D1": MASKS["D1"]}) == (ValueError, "expected masks ['D1', 'D2'], got ['D1']")
    assert said({**MASKS, "D3": MASKS["D1"]})[0] is ValueError
    narrow = {**MASKS, "D2": MASKS["D2"].astype("f4")}
    assert said(narrow) == (
        TypeError,
        "expected mask D2 of dtype float64, got an array of dtype float32 and shape (5, 6)",
    )
    assert said({**MASKS, "D2": 1.25})[0] is TypeError
    wide = refusal(check_masks, NETWORK, MASKS, 6, np.dtype("f4"))
    assert wide == (
        TypeError,
        "expected mask D1 of dtype float32, got an array of dtype float64 and shape (4, 6)",
    )
    for shape in ((5, 5), (5, 7), (4, 6), (6, 6)):
        assert said({**MASKS, "D2": np.full(shape, 1.25)}) == (
            ValueError,
            f"expected mask D2 of shape (5, 6), got {shape}",
        )
    for value in (1.0, 2.5, 3.75, -1.25, 1.25 * (1 + 2e-6), 1.25 * (1 - 2e-6)):
        wrong = {**MASKS, "D2": np.full((5, 6), value)}
        error, message = said(wrong)
        assert error is ValueError
        assert message.startswith("expected mask D2 to hold 0 or 1 / 0.8, got [[")
        assert said(wrong, values=False) == (None, "")
    one_wrong = {**MASKS, "D1": MASKS["D1"].copy()}
    one_wrong["D1"][3, 5] = 1.0
    assert said(one_wrong)[0] is ValueError


def test_running_averages_are_there_where_they_are_needed():
    """Of the hidden layers' shapes and dtype, finite, no variance below 0; else none at all."""

    def said(running, network=NORMALIZED):
        return refusal(check_running, network, running, np.dtype(float))

    def with_value(name, value):
        other = RUNNING.copy()
        other[name][1] = value
        return other

    assert said(RUNNING) == (None, "")
    assert said(None, NETWORK) == (None, "")
    single = Network(layer_sizes=(2, 3), output="softmax", batch_norm=BatchNorm())
    assert said(None, single) == (None, "")
    for network in (NETWORK, single):
        assert said(RUNNING, network) == (
            ValueError,
            "expected running averages for normalized hidden layers alone",
        )
    assert said(None) == (
        ValueError,
        f"expected running averages of shapes {RUNNING.shapes} for a network with batch norm, "
        "got None",
    )
    assert said({}) == (TypeError, "expected running to be Parameters, got dict {}")
    narrow = Parameters({name: one.astype("f4") for name, one in RUNNING.items()})
    wide = running_averages((2, 4, 6, 3))
    slim = running_averages((2, 4, 4, 3))
    for other in (narrow, wide, slim, running_averages((2, 4, 3)), PARAMETERS):
        assert said(other) == (
            ValueError,
            f"expected running averages like {RUNNING}, got {other}",
        )
    assert refusal(check_running, NORMALIZED, RUNNING, np.dtype("f4")) == (
        ValueError,
        f"expected running averages like {running_averages(SIZES, 'f4')}, got {RUNNING}",
    )
    assert said(with_value("mean2", -7.0)) == (None, "")
    assert said(with_value("variance2", 0.0)) == (None, "")
    for name, value in (("mean1", np.nan), ("variance1", np.inf), ("variance2", -1e-300)):
        assert said(with_value(name, value)) == (
            ValueError,
            f"expected finite running averages, variances from 0 up, got {name}",
        )


@pytest.mark.parametrize("sizes", [SIZES, (2, 3)], ids=str)
@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4")], ids=str)
@pytest.mark.parametrize("wrong", [(2, 6), (4, 6), (3, 5), (3, 7)], ids=str)
def test_an_upstream_gradient_fits_the_output(wrong, dtypes, sizes):
    """network_backward takes dA of the output's shape and dtype alone, at any depth."""
    mine, other = map(np.dtype, dtypes)
    parameters = initialize(sizes, "he", np.random.default_rng(0), mine)
    network = Network(layer_sizes=sizes, output="softmax")
    _, cache = network_forward(X.astype(mine), parameters, network)
    assert refusal(network_backward, np.ones(wrong, mine), cache) == (
        ValueError,
        f"expected dA of shape (3, 6), got {wrong}",
    )
    assert refusal(network_backward, np.ones((3, 6), other), cache) == (
        TypeError,
        f"expected dA of dtype {mine}, got {other}",
    )
    assert network_backward(np.ones((3, 6), mine), cache)["W1"].shape == (sizes[1], 2)


def test_an_equal_dtype_is_as_good_as_the_same():
    """An array that was read from a pickle has a dtype object of its own."""
    read, upstream = pickle.loads(pickle.dumps((X, np.ones((3, 6)))))
    own = read.dtype
    assert own is not PARAMETERS.theta.dtype
    assert refusal(match, NETWORK, PARAMETERS, read) == (None, "")
    assert refusal(check_masks, NETWORK, MASKS, 6, own) == (None, "")
    assert refusal(check_running, NORMALIZED, RUNNING, own) == (None, "")
    _, cache = network_forward(X, PARAMETERS, NETWORK)
    network_backward(upstream, cache)


def test_many_units_are_as_many_as_they_are():
    """Beyond 256 equal lengths are numbers of their own."""
    network = Network(layer_sizes=(300, 300), output="sigmoid")
    parameters = Parameters.empty(network.shapes)
    many = np.ones((300, 1))
    assert refusal(match, network, parameters, many) == (None, "")
    assert refusal(check_labels, network, many) == (None, "")
