"""Regularization: the course's three-layer network with L2 or dropout, against torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from parity_tests import GRADIENT, assert_close, assert_switches, assert_twins
from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.witnesses import widened
from parity_tests.tests.course.references import (
    assert_printed,
    draw_labels,
    draw_layers,
    global_state_untouched,
    gradient_gauges,
    reference,
    reference_gradients,
)
from scratch.course import regularization as ours
from scratch.course._layers import Layer, flatten, unflatten
from torch_ref.linear import linear

SIZES = (4, 7, 6, 1)
NAMES = [f"{letter}{l}" for l in (1, 2, 3) for letter in "Wb"]
GRADIENTS = ["dZ3", "dW3", "db3", "dA2", "dZ2", "dW2", "db2", "dA1", "dZ1", "dW1", "db1"]


def draw(rng, dtype=np.float64):
    """Draw inputs, integer labels and parameters."""
    X = rng.standard_normal((SIZES[0], 9)).astype(dtype)
    return X, draw_labels(9, rng), draw_layers(SIZES, rng, dtype)


def there_and_back(X, Y, parameters):
    """Return the cache and the gradients of a network."""
    _, cache = ours.forward_propagation(X, parameters)
    return cache, ours.backward_propagation(X, Y, cache)


@pytest.mark.parity("forward_propagation", "backward_propagation")
@pytest.mark.seeds(50)
def test_network(rng):
    """The output, every cached array and every gradient on the way back agree with torch."""
    X, Y, parameters = draw(rng)
    A3, cache = ours.forward_propagation(X, parameters)
    gradients = ours.backward_propagation(X, Y, cache)
    truth, slopes = widened(there_and_back, X, Y, parameters) or ((None,) * 12, {})
    module = reference(parameters, "relu")
    signals = [rows(X)]
    for layer in (*module.logits, module.activation):
        signals.append(layer(signals[-1]))
        signals[-1].retain_grad()
    named = dict(zip(("Z1", "A1", "Z2", "A2", "Z3", "A3"), signals[1:], strict=True))
    names = ("Z1", "A1", "W1", "b1", "Z2", "A2", "W2", "b2", "Z3", "A3", "W3", "b3")
    for name, array, wider in zip(names, cache, truth, strict=True):
        expected = columns(named[name]) if name in named else parameters[name]
        assert_close(array, expected, name, budget=GRADIENT, wider=wider)
    assert_close(A3, columns(signals[-1]), "A3", budget=GRADIENT, wider=truth[9])
    # dA and dZ are those of the sum of the costs, dW and db of their mean
    labels = rows(Y.astype(float))
    functional.binary_cross_entropy_with_logits(signals[-2], labels, reduction="sum").backward()
    expected = reference_gradients(module, X, Y)
    assert list(gradients) == GRADIENTS
    gauges = gradient_gauges(parameters, "relu", X, Y)
    for name, gradient in gradients.items():
        theirs = columns(named[name[1:]].grad) if name[1] in "AZ" else expected[name]
        options = {"gauge": gauges.get(name), "wider": slopes.get(name)}
        assert_close(gradient, theirs, name, budget=GRADIENT, **options)


@pytest.mark.parity("compute_cost_with_regularization", "backward_propagation_with_regularization")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("lambd", [0.0, 0.7])
def test_l2(lambd, device, rng):
    """Cost and gradients with lambda / (2 m) sum W^2 agree with torch and with differences."""
    X, Y, parameters = draw(rng)

    def forward(X, Y, **parameters):
        A3, cache = ours.forward_propagation(X, parameters)
        return ours.compute_cost_with_regularization(A3, Y, parameters, lambd), (X, Y, cache)

    def backward(dJ, cache):
        gradients = ours.backward_propagation_with_regularization(*cache, lambd)
        assert list(gradients) == GRADIENTS
        return {name: dJ * gradients[f"d{name}"] for name in NAMES}

    def theirs(*layers, X, Y):
        A = X
        for W, b in zip(layers[::2], layers[1::2], strict=True):
            Z = linear(A, W, b)
            A = torch.relu(Z)
        penalty = sum(W.square().sum() for W in layers[::2])
        cost = functional.binary_cross_entropy(torch.sigmoid(Z), Y.double(), reduction="sum")
        return (cost + lambd / 2 * penalty) / len(X)

    def gauges(arguments, upstream):
        bounds = gradient_gauges(parameters, "relu", X, Y, l2=lambd)
        gradients = {name: np.abs(upstream) * bounds[f"d{name}"] for name in NAMES}
        squares = sum(np.square(parameters[f"W{l}"]).sum() for l in (1, 2, 3))
        return {"output": bounds["J"] + lambd / 2 / X.shape[1] * squares, **gradients}

    choices = {"constants": {"X": X, "Y": Y}, "gauges": gauges, "device": device}
    assert_twins(forward, backward, theirs, parameters, rng, **choices)


@pytest.mark.seeds(5)
def test_l2_is_that_of_the_reference_network(rng):
    """The same cost and gradients as torch_ref's network with its own penalty."""
    X, Y, parameters = draw(rng)
    expected = reference_gradients(reference(parameters, "relu"), X, Y, l2=0.7)
    A3, cache = ours.forward_propagation(X, parameters)
    J = ours.compute_cost_with_regularization(A3, Y, parameters, 0.7)
    gauges = gradient_gauges(parameters, "relu", X, Y, l2=0.7)
    assert_close(J, expected["J"], "J", gauge=gauges["J"] + J)
    gradients = ours.backward_propagation_with_regularization(X, Y, cache, 0.7)
    for name in [f"d{name}" for name in NAMES]:
        assert_close(gradients[name], expected[name], name, budget=GRADIENT, gauge=gauges[name])


def masks(keep_prob, m):
    """Return the masks of the assignment, drawn from NumPy's seed 1, D1 before D2."""
    np.random.seed(1)
    return [np.random.rand(n, m) < keep_prob for n in SIZES[1:3]]


@pytest.mark.parity("forward_propagation_with_dropout", "backward_propagation_with_dropout")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("keep_prob", [0.5, 0.8])
def test_dropout(keep_prob, device, rng):
    """Under the masks of seed 1, output and gradients agree with torch and with differences."""
    X, Y, parameters = draw(rng)
    dropped = masks(keep_prob, X.shape[1])
    drawn = [to_torch("D", mask / keep_prob, device) for mask in dropped]

    def forward(X, Y, **parameters):
        A3, cache = ours.forward_propagation_with_dropout(X, parameters, keep_prob)
        cost = ours.compute_cost_with_regularization(A3, Y, parameters, 0)
        return cost, (X, Y, cache)

    def backward(dJ, cache):
        gradients = ours.backward_propagation_with_dropout(*cache, keep_prob)
        assert list(gradients) == GRADIENTS
        return {name: dJ * gradients[f"d{name}"] for name in NAMES}

    def theirs(*layers, X, Y):
        A = X
        for W, b, mask in zip(layers[::2], layers[1::2], [*drawn, None], strict=True):
            Z = linear(A, W, b)
            A = torch.relu(Z) if mask is None else torch.relu(Z) * mask
        return functional.binary_cross_entropy(torch.sigmoid(Z), Y.double())

    def gauges(arguments, upstream):
        A3, _ = ours.forward_propagation_with_dropout(X, parameters, keep_prob)
        shared = {f"D{l}": mask / keep_prob for l, mask in enumerate(dropped, start=1)}
        bounds = gradient_gauges(parameters, "relu", X, Y, A=A3, masks=shared)
        gradients = {name: np.abs(upstream) * bounds[f"d{name}"] for name in NAMES}
        return {"output": bounds["J"], **gradients}

    choices = {"constants": {"X": X, "Y": Y}, "gauges": gauges, "device": device}
    assert_twins(forward, backward, theirs, parameters, rng, **choices)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("given", [{}, {"keep_prob": 0.5}, {"keep_prob": 0.8}])
def test_masks_are_those_of_seed_1(given, dtype, rng):
    """Bit by bit rand < keep_prob, D1 before D2, by default 0.5; the global generator is alone."""
    X, _, parameters = draw(rng, dtype)
    np.random.seed(77)
    with global_state_untouched():
        _, cache = ours.forward_propagation_with_dropout(X, parameters, **given)
    Z1, D1, A1, W1, b1, Z2, D2, A2, W2, b2, Z3, A3, W3, b3 = cache
    keep_prob = given.get("keep_prob", 0.5)
    for D, expected, Z, A in zip(
        (D1, D2), masks(keep_prob, X.shape[1]), (Z1, Z2), (A1, A2), strict=True
    ):
        assert_switches(expected, "mask")
        assert D.dtype == bool
        assert np.array_equal(D, expected)
        assert A.dtype == dtype
        assert_close(A, (np.maximum(Z, 0) * D / keep_prob).astype(dtype), "A")
    for name, array in zip(NAMES, (W1, b1, W2, b2, W3, b3), strict=True):
        assert array is parameters[name]
    assert Z3.shape == A3.shape == (1, X.shape[1])


def test_keep_prob_1_is_the_plain_network(rng):
    """Nothing is dropped and nothing scaled, forward and backward."""
    X, Y, parameters = draw(rng)
    A3, cache = ours.forward_propagation(X, parameters)
    dropped, with_masks = ours.forward_propagation_with_dropout(X, parameters, keep_prob=1)
    assert np.array_equal(A3, dropped)
    expected = ours.backward_propagation(X, Y, cache)
    found = ours.backward_propagation_with_dropout(X, Y, with_masks, keep_prob=1)
    for name, gradient in found.items():
        assert np.array_equal(gradient, expected[name])


def test_what_keeps_nothing_keeps_no_unit(rng):
    """keep_prob = 0 passes the door: rand < 0 holds nowhere, and 0 / 0 is NaN, as in a notebook."""
    X, _, parameters = draw(rng)
    with np.errstate(invalid="ignore"):
        A3, cache = ours.forward_propagation_with_dropout(X, parameters, 0)
    assert not cache[1].any()
    assert not cache[6].any()
    assert np.isnan(A3).all()


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("dropped", [False, True])
def test_a_cache_is_taken_apart_as_it_was_put_together(dropped, depth):
    """Of any depth; with dropout all layers but the last have a mask."""
    layers = [
        Layer(f"Z{l}", f"D{l}" if dropped and l < depth else None, f"A{l}", f"W{l}", f"b{l}")
        for l in range(1, depth + 1)
    ]
    cache = flatten(layers)
    assert len(cache) == 4 * depth + (depth - 1) * dropped
    assert unflatten(cache, dropped) == layers


#: the cache of the assignment's test cases, and what differs under dropout.
Z1 = [
    [-1.52855314, 3.32524635, 2.13994541, 2.60700654, -0.75942115],
    [-1.98043538, 4.1600994, 0.79051021, 1.46493512, -0.45506242],
]
A1 = [[0, 3.32524635, 2.13994541, 2.60700654, 0], [0, 4.1600994, 0.79051021, 1.46493512, 0]]
W1 = [[-1.09989127, -0.17242821, -0.87785842], [0.04221375, 0.58281521, -1.10061918]]
b1 = [[1.14472371], [0.90159072]]
Z2 = [
    [0.53035547, 5.94892323, 2.31780174, 3.16005701, 0.53035547],
    [-0.69166075, -3.47645987, -2.25194702, -2.65416996, -0.69166075],
    [-0.39675353, -4.62285846, -2.61101729, -3.22874921, -0.39675353],
]
A2 = [[0.53035547, 5.94892323, 2.31780174, 3.16005701, 0.53035547], [0] * 5, [0] * 5]
W2 = [[0.50249434, 0.90085595], [-0.68372786, -0.12289023], [-0.93576943, -0.26788808]]
b2 = [[0.53035547], [-0.69166075], [-0.39675353]]
Z3 = [[-0.3771104, -4.10060224, -1.60539468, -2.18416951, -0.3771104]]
A3 = [[0.40682402, 0.01629284, 0.16722898, 0.10118111, 0.40682402]]
W3, b3 = [[-0.6871727, -0.84520564, -0.67124613]], [[-0.0126646]]
D1 = [[True, False, True, True, True], [True, True, True, True, False]]
A1_DROPPED = [[0, 0, 4.27989081, 5.21401307, 0], [0, 8.32019881, 1.58102041, 2.92987024, 0]]
D2 = [
    [True, False, True, False, True],
    [False, True, False, True, True],
    [False, False, True, False, False],
]
A2_DROPPED = [[1.06071093, 0, 8.21049603, 0, 1.06071093], [0] * 5, [0] * 5]
A3_DROPPED = [[0.32266394, 0.49683389, 0.00348883, 0.49683389, 0.32266394]]
Y = np.array([[1, 1, 0, 1, 0]])


def exercise():
    """Return X and the parameters that follow NumPy's seed 1."""
    np.random.seed(1)
    shapes = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 2), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    X = np.random.randn(3, 5)
    return X, {name: np.random.randn(*shape) for name, shape in shapes.items()}


def test_the_notebooks_l2():
    """The cost and the gradients that the assignment prints."""
    np.random.seed(1)
    shapes = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 2), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    parameters = {name: np.random.randn(*shape) for name, shape in shapes.items()}
    cost = ours.compute_cost_with_regularization(np.array(A3), Y, parameters, lambd=0.1)
    assert_printed(cost, 1.78648594516, 11)
    X, _ = exercise()
    cache = tuple(np.array(one) for one in (Z1, A1, W1, b1, Z2, A2, W2, b2, Z3, A3, W3, b3))
    grads = ours.backward_propagation_with_regularization(X, Y, cache, lambd=0.7)
    printed = {
        "dW1": [[-0.25604646, 0.12298827, -0.28297129], [-0.17706303, 0.34536094, -0.4410571]],
        "dW2": [[0.79276486, 0.85133918], [-0.0957219, -0.01720463], [-0.13100772, -0.03750433]],
        "dW3": [[-1.77691347, -0.11832879, -0.09397446]],
    }
    for name, values in printed.items():
        assert_printed(grads[name], values)


def test_the_notebooks_dropout():
    """The output and the gradients that the assignment prints, from its boolean masks."""
    X, parameters = exercise()
    output, _ = ours.forward_propagation_with_dropout(X, parameters, keep_prob=0.7)
    assert_printed(output, [[0.36974721, 0.00305176, 0.04565099, 0.49683389, 0.36974721]])
    layers = (Z1, D1, A1_DROPPED, W1, b1, Z2, D2, A2_DROPPED, W2, b2, Z3, A3_DROPPED, W3, b3)
    cache = tuple(np.array(one) for one in layers)
    grads = ours.backward_propagation_with_dropout(X, Y, cache, keep_prob=0.8)
    printed = {
        "dA1": [
            [0.36544439, 0, -0.00188233, 0, -0.17408748],
            [0.65515713, 0, -0.00337459, 0, 0],
        ],
        "dA2": [
            [0.58180856, 0, -0.00299679, 0, -0.27715731],
            [0, 0.53159854, 0, 0.53159854, -0.34089673],
            [0, 0, -0.00292733, 0, 0],
        ],
    }
    for name, values in printed.items():
        assert_printed(grads[name], values)
