"""Other people's code: the examples run, right code of any shape passes, lies are caught."""

from __future__ import annotations

import doctest
from collections import UserDict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

import parity_tests
from parity_tests import FORWARD, assert_parity, assert_same_trajectory, user_code
from parity_tests.compare.budgets import WIDE
from parity_tests.compare.ledger import LEDGER
from scratch.linear import linear_backward, linear_forward
from torch_ref.linear import linear as linear_of_torch

precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])
wide = pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")


@pytest.fixture(autouse=True)
def _forget_lies():
    """Keep comparisons that are meant to fail out of the report."""
    with LEDGER.unrecorded():
        yield


def test_the_examples_of_the_documentation_run():
    """A layer, a loss and an optimizer: what a reader copies is what is tested here."""
    found = doctest.testmod(user_code)
    assert (found.failed, found.attempted > 10) == (0, True)


def test_the_package_offers_it():
    """`from parity_tests import assert_parity`, without torch until then."""
    assert parity_tests.assert_parity is user_code.assert_parity
    assert set(parity_tests.__all__) == set(dir(parity_tests))
    assert all(getattr(parity_tests, name) is not None for name in parity_tests.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'assert_parities'"):
        _ = parity_tests.assert_parities


def layer(x, weight, bias):
    """Return x W^T + b and the cache."""
    return x @ weight.T + bias, (x, weight)


def layer_backward(upstream, cache):
    """Pull the gradient back to all three."""
    x, weight = cache
    return {"x": upstream @ weight, "weight": upstream.T @ x, "bias": upstream.sum(axis=0)}


def draw(rng, dtype=np.float64):
    """Draw a layer of three inputs and four outputs, and five examples."""
    shapes = {"x": (5, 3), "weight": (4, 3), "bias": (4,)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


@pytest.mark.seeds(5)
def test_a_layer(dtype, device, rng):
    """A module's parameters give way to the inputs named after them, in both precisions."""
    module = nn.Linear(3, 4)
    before = [parameter.clone() for parameter in module.parameters()]
    parity = assert_parity(
        layer, module, draw(rng, dtype), backward=layer_backward, rng=rng, device=device
    )
    gradients = [f"gradient of {name}" for name in ("x", "weight", "bias")]
    assert list(parity.errors) == ["output", *gradients]
    assert max(parity.errors.values()) < 16
    side = "torch in float64" if dtype == np.float32 else "your function in longdouble"
    assert parity.witness == f"witness: {side}" or not WIDE
    for parameter, same in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, same)
        assert parameter.grad is None


@precisions
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (2, 3, 4), (2, 1, 3, 1, 2)], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_rank_and_order(shape, order, dtype, rng):
    """Nothing is turned on its way to torch, whatever the rank; inputs may be read-only."""
    x = np.asarray(rng.uniform(-1, 1, shape), dtype, order=order)
    x.flags.writeable = False
    assert_parity(
        lambda x: (np.tanh(x), np.tanh(x)),
        torch.tanh,
        {"x": x},
        backward=lambda d, a: {"x": d * (1 - a**2)},
    )
    assert list(assert_parity(np.tanh, torch.tanh, {"x": x}).errors) == ["output"]


def test_names_lead_into_a_module(rng):
    """A network of torch.nn takes the weights of ours by a table of names."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(X, W1, b1, W2, b2):
        A1 = np.tanh(X @ W1.T + b1)
        return A1 @ W2.T + b2, (X, A1, W2)

    def backward(dZ2, cache):
        X, A1, W2 = cache
        dZ1 = (dZ2 @ W2) * (1 - A1**2)
        return {
            **{"X": dZ1 @ own["W1"], "W1": dZ1.T @ X, "b1": dZ1.sum(axis=0)},
            **{"W2": dZ2.T @ A1, "b2": dZ2.sum(axis=0)},
        }

    shapes = {"X": (5, 3), "W1": (4, 3), "b1": (4,), "W2": (2, 4), "b2": (2,)}
    own = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    names = {"W1": "0.weight", "b1": "0.bias", "W2": "2.weight", "b2": "2.bias"}
    assert_parity(forward, module, own, backward=backward, names=names)
    with pytest.raises(AssertionError, match="output differs"):
        assert_parity(
            lambda X: own["W2"].sum() + 0 * X[:, :2],
            module,
            {"X": own["X"]},
        )


def test_a_module_with_buffers_stays_as_it_was(rng):
    """Batch norm in training, in the float64 that its float32 parameters are taken to."""
    module = nn.BatchNorm1d(3)

    def forward(x, weight, bias):
        return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + bias

    inputs = {"x": rng.standard_normal((8, 3)), "weight": np.full(3, 2.0), "bias": np.ones(3)}
    assert_parity(forward, module, inputs)
    assert not module.running_mean.any()
    assert module.num_batches_tracked == 0
    assert module.weight.dtype == torch.float32


def test_columns_cross_as_in_this_project(rng):
    """With layout="columns" the pairs of scratch are held as the suite holds them."""
    shapes = {"A_prev": (3, 5), "W": (4, 3), "b": (4, 1)}
    inputs = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    pair = linear_forward, linear_of_torch, inputs
    assert_parity(*pair, backward=linear_backward, layout="columns")
    assert_parity(linear_forward_alone, linear_of_torch, inputs, layout="columns")
    with pytest.raises(ValueError, match="expected W of shape"):
        assert_parity(*pair, backward=linear_backward)


def linear_forward_alone(A_prev, W, b):
    """Return the output without a cache."""
    return linear_forward(A_prev, W, b)[0]


def test_converters_of_ones_own(rng):
    """A pair of functions carries what is laid out otherwise: here channels last."""
    images = rng.standard_normal((2, 5, 5, 3))
    there = lambda name, array, device: torch.movedim(torch.tensor(array), -1, 1)  # noqa: E731
    back = lambda name, tensor: np.ascontiguousarray(torch.movedim(tensor.detach(), 1, -1))  # noqa: E731

    def pooled(images):
        windows = images[:, :4, :4].reshape(2, 2, 2, 2, 2, 3)
        return windows.mean(axis=(2, 4)), None

    def backward(upstream, cache):
        gradient = np.zeros((2, 5, 5, 3), upstream.dtype)
        gradient[:, :4, :4] = np.repeat(np.repeat(upstream, 2, 1), 2, 2) / 4
        return {"images": gradient}

    module = nn.AvgPool2d(2)
    assert_parity(pooled, module, {"images": images}, backward=backward, layout=(there, back))


#: functions that bear no witness in longdouble, and what is said of them.
NARROW = {
    "a function without longdouble": (
        lambda x: (scipy.special.erf(x), x),
        lambda d, x: {"x": d * 2 / np.sqrt(np.pi) * np.exp(-(x**2))},
        torch.erf,
        "it takes no longdouble (TypeError",
    ),
    "a function that insists on float64": (
        lambda x: (np.tanh(np.asarray(x, np.float64)), x),
        lambda d, x: {"x": d * (1 - np.tanh(x) ** 2)},
        torch.tanh,
        "it turns longdouble into float64",
    ),
    "a backward that insists on float64": (
        lambda x: (np.tanh(x), x),
        lambda d, x: {"x": (d * (1 - np.tanh(x) ** 2)).astype(np.float64)},
        torch.tanh,
        "it turns longdouble into float64",
    ),
    "a forward that rounds inside": (
        lambda x: (np.tanh(x.astype(np.float64)).astype(x.dtype), x),
        lambda d, x: {"x": d * (1 - np.tanh(x) ** 2)},
        torch.tanh,
        "it rounds to float64 inside",
    ),
}


@wide
@pytest.mark.seeds(3)
@pytest.mark.parametrize("case", NARROW)
def test_code_that_knows_no_longdouble(case, rng):
    """Differences in float64 are the witness then, which is said, also where they are needed."""
    forward, backward, reference, reason = NARROW[case]
    inputs = {"x": rng.standard_normal((3, 4))}
    parity = assert_parity(forward, reference, inputs, backward=backward)
    assert parity.witness.startswith(f"witness: differences in float64, as {reason}")
    wrong = lambda d, x: {"x": 1.001 * backward(d, x)["x"]}  # noqa: E731
    with pytest.raises(AssertionError, match="contradicts ours"):
        assert_parity(forward, reference, inputs, backward=wrong)


@wide
def test_the_comparison_in_float64_takes_the_same_draws(rng):
    """Where rounding inside is seen at the end, all is done again under the same upstream."""
    forward, _, reference, reason = NARROW["a forward that rounds inside"]
    seen = []

    def backward(d, x):
        seen.append(d)
        return {"x": d * (1 - np.tanh(x) ** 2)}

    inputs = {"x": rng.standard_normal((3, 4))}
    parity = assert_parity(forward, reference, inputs, backward=backward)
    assert parity.witness == f"witness: differences in float64, as {reason}"
    first, again = (one for one in seen if one.dtype == np.float64)
    assert np.array_equal(first, again)


@wide
def test_the_note_stands_on_the_failure(rng):
    """Whoever reads the failure reads what bore witness, and why nothing better did."""
    forward, backward, reference, _ = NARROW["a function without longdouble"]
    inputs = {"x": rng.standard_normal((3, 4))}
    with pytest.raises(AssertionError) as caught:
        assert_parity(lambda x: (1.1 * forward(x)[0], x), reference, inputs, backward=backward)
    (note,) = caught.value.__notes__
    assert note.startswith("witness: differences in float64, as it takes no longdouble (TypeError")
    with pytest.raises(AssertionError) as caught:
        assert_parity(lambda x: 1.1 * forward(x)[0], reference, inputs)
    assert caught.value.__notes__[0].startswith("no third witness: it takes no longdouble")
    with pytest.raises(AssertionError) as caught:
        assert_parity(lambda x: 1.1 * np.tanh(x), torch.tanh, inputs)
    assert "the third witness contradicts theirs" in str(caught.value)
    assert not hasattr(caught.value, "__notes__")


def spoiling(x, weight, bias):
    """Return the right output and spoil the input afterwards."""
    output, cache = layer(x.copy(), weight, bias)
    x += 1
    return output, cache


def changed(**gradients):
    """Return a backward with some of its gradients changed."""

    def backward(upstream, cache):
        honest = layer_backward(upstream, cache)
        return {**honest, **{name: change(honest[name]) for name, change in gradients.items()}}

    return backward


LIES = {
    "output scaled": (lambda **i: (1.0001 * layer(**i)[0], layer(**i)[1]), layer_backward),
    "output transposed": (lambda **i: (layer(**i)[0].T, layer(**i)[1]), layer_backward),
    "output without bias": (
        lambda x, weight, bias: (x @ weight.T, (x, weight)),
        layer_backward,
    ),
    "output of another dtype": (
        lambda **i: (layer(**i)[0].astype("f2"), layer(**i)[1]),
        layer_backward,
    ),
    "output a list": (lambda **i: (layer(**i)[0].tolist(), layer(**i)[1]), layer_backward),
    "input modified": (spoiling, layer_backward),
    "gradient scaled": (layer, changed(weight=lambda g: 1.001 * g)),
    "gradient transposed": (layer, changed(weight=lambda g: g.T)),
    "gradient averaged": (layer, changed(bias=lambda g: g / 5)),
    "gradient of ones": (layer, lambda d, cache: layer_backward(np.ones_like(d), cache)),
    "gradient missing": (layer, lambda d, cache: {"x": d @ cache[1]}),
    "gradient too many": (layer, lambda d, cache: {**layer_backward(d, cache), "y": d}),
    "upstream modified": (layer, lambda d, cache: layer_backward(np.multiply(d, 2, out=d), cache)),
}


def test_what_was_modified_is_named():
    """Also a constant that is spoilt once for all, with a backward or without."""

    def spoiling_output(x, target):
        target[:] = 0
        return np.tanh(x)

    def spoiling_pair(x, target):
        return spoiling_output(x, target), np.tanh(x)

    theirs = lambda x, target: torch.tanh(x)  # noqa: E731
    backward = lambda d, a: {"x": d * (1 - a**2)}  # noqa: E731
    for ours, pull in ((spoiling_pair, backward), (spoiling_output, None)):
        constants = {"target": np.arange(3)}
        with pytest.raises(AssertionError, match="target: the input was modified in place"):
            assert_parity(ours, theirs, {"x": np.ones(3)}, constants=constants, backward=pull)


def test_constants_of_any_kind():
    """Containers, NaN and a generator go through; what is spoilt inside of a container is named."""
    constants = {
        "sizes": [np.zeros(2), np.zeros(3)],
        "shape": ((1, 2), 3),
        "fill": float("nan"),
        "missing": np.array([1.0, np.nan]),
        "choices": {"shift": np.array([0.5, -0.0]), "names": ["a"]},
        "source": np.random.default_rng(0),
    }

    def pair(spoil=lambda _: None):
        def forward(x, **constants):
            spoil(constants)
            A = np.tanh(x + constants["choices"]["shift"][0])
            return A, A

        return forward

    def theirs(x, **constants):
        return torch.tanh(x + 0.5)

    def backward(d, A):
        return {"x": d * (1 - A**2)}

    x = {"x": np.ones(3)}
    assert_parity(pair(), theirs, x, constants=constants, backward=backward)
    assert_parity(lambda x, **rest: pair()(x, **rest)[0], theirs, x, constants=constants)
    for name, spoil in {
        "choices": lambda one: one["choices"]["shift"].__setitem__(1, 0.0),
        "sizes": lambda one: one["sizes"].append(one["sizes"][0]),
        "missing": lambda one: one["missing"].__setitem__(1, 2.0),
    }.items():
        with pytest.raises(AssertionError, match=f"^{name}: the input was modified in place"):
            assert_parity(pair(spoil), theirs, x, constants=constants, backward=backward)


@pytest.mark.seeds(2)
@pytest.mark.parametrize("lie", LIES)
def test_lies_about_a_layer_are_caught(lie, dtype, rng):
    """In both precisions, beside torch's own module."""
    forward, backward = LIES[lie]
    with pytest.raises(AssertionError):
        assert_parity(forward, nn.Linear(3, 4), draw(rng, dtype), backward=backward, rng=rng)


OUTPUT_LIES = {
    "scaled": lambda x: 1.0001 * np.tanh(x),
    "a row short": lambda x: np.tanh(x)[1:],
    "broadcast": lambda x: np.tanh(x)[:1],
    "float16": lambda x: np.tanh(x).astype("f2"),
    "a list": lambda x: np.tanh(x).tolist(),
    "NaN": lambda x: np.where(x == x.max(), np.nan, np.tanh(x)),
    "modifying": lambda x: np.tanh(x, out=x),
    "whole": lambda x: np.tanh(x).astype(int),
}


@precisions
@pytest.mark.parametrize("lie", OUTPUT_LIES)
def test_lies_about_an_output_are_caught(lie, dtype, rng):
    """Without a backward too."""
    with pytest.raises(AssertionError):
        assert_parity(
            OUTPUT_LIES[lie], torch.tanh, {"x": rng.standard_normal((3, 4)).astype(dtype)}
        )


def test_float32_computed_in_place_of_float64_is_caught(rng):
    """Seven digits are no parity of sixteen, and float64 out of float32 no float32."""
    x = {"x": rng.standard_normal((3, 4))}
    with pytest.raises(AssertionError, match="output differs"):
        assert_parity(lambda x: np.tanh(x.astype("f4")).astype(x.dtype), torch.tanh, x)
    with pytest.raises(AssertionError, match="float32"):
        assert_parity(np.tanh, lambda x: torch.tanh(x).float(), x)
    narrow = {"x": x["x"].astype("f4")}
    with pytest.raises(AssertionError, match="float64"):
        assert_parity(lambda x: np.tanh(x.astype(float)), torch.tanh, narrow)


def test_wrong_weights_are_caught(rng):
    """A module with weights of its own is no twin of another's."""
    inputs = draw(rng)
    mine = {name: inputs.pop(name) for name in ("weight", "bias")}
    module = nn.Linear(3, 4)
    with pytest.raises(AssertionError, match="output differs"):
        assert_parity(lambda x: layer(x, **mine)[0], module, inputs)
    own = {name: one.detach().double().numpy() for name, one in module.named_parameters()}
    assert_parity(lambda x: layer(x, **own)[0], module, inputs)
    turned = {"x": inputs["x"], "weight": mine["weight"].T.copy(), "bias": mine["bias"]}
    with pytest.raises(
        ValueError, match=r"expected weight of shape \(4, 3\), as weight of the mod"
    ):
        assert_parity(layer, module, turned, backward=layer_backward)


def test_vacuous_cases_are_refused(rng):
    """What cannot fail proves nothing: zeros, inputs without effect, budgets without end."""
    zeros = {"x": np.zeros((2, 2))}
    x = {"x": rng.standard_normal((2, 2))}
    for case in (
        lambda: assert_parity(np.tanh, torch.tanh, zeros),
        lambda: assert_parity(np.tanh, torch.tanh, x, budget=1e16),
        lambda: assert_parity(np.tanh, torch.tanh, x, gauges=lambda *_: {"output": 1e16}),
        lambda: assert_parity(
            lambda x: (np.ones(2), x),
            lambda x: torch.ones(2, dtype=torch.float64) + 0 * x.sum(),
            x,
            backward=lambda d, x: {"x": 0 * x},
        ),
    ):
        with pytest.raises(AssertionError, match="proves nothing"):
            case()


def test_a_budget_is_a_number_of_eps_or_a_budget(rng):
    """Both are kept: one eps too much fails either way, under the name that was given."""
    inputs = {"x": rng.uniform(1, 2, 3)}
    off = lambda x: np.sqrt(x) * (1 + 40 * np.finfo(float).eps)  # noqa: E731
    assert_parity(off, torch.sqrt, inputs, budget=100)
    for bound, name in (
        (20, "your budget"),
        (replace(FORWARD, name="a few roundings", eps=20), "a few roun"),
    ):
        with pytest.raises(AssertionError, match=rf"allowed 20 \({name}"):
            assert_parity(off, torch.sqrt, inputs, budget=bound)
    with pytest.raises(AssertionError, match=r"gradient of x .*allowed 2 \(your gradient_budget\)"):
        assert_parity(
            lambda x: (np.sqrt(x), x),
            torch.sqrt,
            inputs,
            backward=lambda d, x: {"x": d / np.sqrt(x) / 2 * (1 + 8 * np.finfo(float).eps)},
            gradient_budget=2,
        )


def test_draws_are_those_of_the_seed(rng):
    """One seed, one upstream gradient; the global generators stay where they are."""
    runs = []

    def backward(d, a):
        runs[-1].append(d)
        return {"x": d * (1 - a**2)}

    state, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    x = {"x": rng.standard_normal(4)}
    for seed in (0, 0, 1, np.random.default_rng(1)):
        runs.append([])
        forward = lambda x: (np.tanh(x), np.tanh(x))  # noqa: E731
        assert_parity(forward, torch.tanh, x, backward=backward, rng=seed, differences=False)
    # what it is asked in longdouble beside that is not drawn
    first, same, other, last = (next(one for one in run if one.dtype == np.float64) for run in runs)
    assert np.array_equal(first, same)
    assert np.array_equal(other, last)
    assert not np.array_equal(first, other)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torchs, torch.get_rng_state())


def test_kinks_are_left_to_the_two_sides(rng):
    """On a tie the differences see half a slope: without them the sides are compared."""
    forward = lambda x: (np.maximum(x, 0), x)  # noqa: E731
    backward = lambda d, x: {"x": d * (x > 0)}  # noqa: E731
    inputs = {"x": np.array([0.0, -0.0, 1.0, -1.0])}
    with pytest.raises(AssertionError, match="central difference"):
        assert_parity(forward, torch.relu, inputs, backward=backward)
    assert_parity(forward, torch.relu, inputs, backward=backward, differences=False)


def test_inputs_may_be_any_mapping_and_scalars(rng):
    """A mapping of one's own, and numbers of NumPy's."""
    inputs = UserDict(w=np.float64(3.0), x=rng.standard_normal(4))
    assert_parity(
        lambda w, x: (w * x, (w, x)),
        lambda w, x: w * x,
        inputs,
        backward=lambda d, cache: {"w": (d * cache[1]).sum(), "x": d * cache[0]},
    )


_X = {"x": np.arange(1.0, 5.0)}
_SWAPPED = _X["x"].astype(np.dtype(float).newbyteorder())
BAD = {
    "ours no function": (TypeError, "expected ours to be a function", {"ours": 3}),
    "theirs no function": (TypeError, "expected theirs to be a function", {"theirs": _X}),
    "backward no function": (TypeError, "expected backward to be a function", {"backward": 1}),
    "gauges no function": (TypeError, "expected gauges to be a function", {"gauges": {}}),
    "a list": (TypeError, "a mapping of names to arrays, got list", {"inputs": [_X["x"]]}),
    "an array": (TypeError, "a mapping of names to arrays, got ndarray", {"inputs": _X["x"]}),
    "no inputs": (ValueError, "at least one array, got none", {"inputs": {}}),
    "a name that is none": (TypeError, "names of inputs to be strings", {"inputs": {0: _X["x"]}}),
    "a nested list": (TypeError, "expected x to be a NumPy array", {"inputs": {"x": [1.0]}}),
    "a tensor": (TypeError, "a NumPy array, got Tensor", {"inputs": {"x": torch.ones(2)}}),
    "a masked array": (
        TypeError,
        "a NumPy array, got MaskedArray",
        {"inputs": {"x": np.ma.masked_array([1.0, 2.0], [True, False])}},
    ),
    "integers": (TypeError, "got int64: what has no gradient", {"inputs": {"x": np.arange(3)}}),
    "longdouble": (TypeError, "float32 or float64", {"inputs": {"x": np.ones(2, np.longdouble)}}),
    "objects": (TypeError, "float32 or float64, got object", {"inputs": {"x": np.array([None])}}),
    "bytes in another order": (
        TypeError,
        "expected x in the byte order of this machine, got [<>]f8",
        {"inputs": {"x": _SWAPPED}},
    ),
    "a constant's bytes in another order": (
        TypeError,
        "expected k in the byte order of this machine, got [<>]f8",
        {"constants": {"k": _SWAPPED}},
    ),
    "two dtypes": (
        TypeError,
        "expected one dtype for all inputs",
        {"inputs": {"x": np.ones(2), "y": np.ones(2, "f4")}},
    ),
    "NaN": (ValueError, "finite and not empty", {"inputs": {"x": np.array([1.0, np.nan])}}),
    "nothing": (ValueError, "finite and not empty", {"inputs": {"x": np.ones((0, 3))}}),
    "constants in a list": (TypeError, "expected constants to be a mapping", {"constants": [1]}),
    "a constant input": (ValueError, r"\['x'\] in inputs or in con", {"constants": {"x": 1}}),
    "a budget in words": (TypeError, "a Budget or a number of eps", {"budget": "16"}),
    "a budget of nothing": (ValueError, "a number of eps above 0", {"budget": 0}),
    "a budget of NaN": (ValueError, "a number of eps above 0", {"gradient_budget": np.nan}),
    "a true budget": (TypeError, "a Budget or a number of eps", {"float32_floor": True}),
    "no entries": (ValueError, "expected witnessed to be", {"witnessed": 0}),
    "a seed in words": (TypeError, "a generator or a seed, got str", {"rng": "0"}),
    "a device elsewhere": (ValueError, "expected a device that is here", {"device": "tpu9"}),
    "a device without numbers": (
        ValueError,
        "expected a device that holds numbers, got 'meta'$",
        {"device": "meta"},
    ),
    "a device that is none": (TypeError, "expected device to be a string", {"device": 0}),
    "an unknown layout": (ValueError, "'as it is', 'columns' or the two", {"layout": "rows"}),
    "a layout of three": (ValueError, "expected layout to be", {"layout": (abs, abs, abs)}),
    "names of a function": (ValueError, "only beside a module", {"names": {"x": "weight"}}),
    "names in a list": (
        TypeError,
        "expected names to be a mapping",
        {"theirs": nn.PReLU(), "names": ["weight"]},
    ),
    "names that lead nowhere": (
        ValueError,
        r"from \['x'\] to \['weight'\], got 'x': 'bias'",
        {"theirs": nn.PReLU(), "names": {"x": "bias"}},
    ),
    "names from nowhere": (
        ValueError,
        r"from \['x'\] to \['weight'\], got 'w': 'weight'",
        {"theirs": nn.PReLU(), "names": {"w": "weight"}},
    ),
    "a tuple without a backward": (
        TypeError,
        "expected ours to return one array, got a tuple of 2",
        {"ours": lambda x: (x, x)},
    ),
    "no cache beside a backward": (
        TypeError,
        r"expected ours to return \(output, cache\), as there is a backward, got ndarray",
        {"backward": lambda d, cache: {"x": d}},
    ),
    "gradients without names": (
        TypeError,
        "expected backward to return a mapping of input names to gradients, got ndarray",
        {"ours": lambda x: (np.tanh(x), x), "backward": lambda d, cache: d},
    ),
    "several tensors": (
        TypeError,
        "expected theirs to return one tensor, got tuple",
        {"theirs": lambda x: (x, x)},
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    """What cannot be compared is named, with what was expected instead."""
    error, message, wrong = BAD[case]
    good = {"ours": np.tanh, "theirs": torch.tanh, "inputs": _X}
    assert_parity(**good)
    with pytest.raises(error, match=message):
        assert_parity(**{**good, **wrong})


class MyMomentum:
    """Momentum as a stranger writes it: a rate, an array of its own, two methods."""

    def __init__(self, rate=0.01, start=np.zeros_like):
        """Take the learning rate."""
        self.rate, self.start = rate, start

    def init(self, parameters):
        """Return v."""
        return self.start(parameters.theta)

    def update(self, parameters, gradients, v):
        """Overwrite v and theta."""
        v[:] = 0.9 * v + gradients.theta
        parameters.theta[:] -= self.rate * v


class Velocity(NamedTuple):
    """The state of momentum, named to be compared."""

    v: np.ndarray


class NamedMomentum(MyMomentum):
    """The same with a state by name."""

    def init(self, parameters):
        """Return v by its name."""
        return Velocity(super().init(parameters))

    def update(self, parameters, gradients, state):
        """Overwrite v and theta."""
        super().update(parameters, gradients, state.v)


def sgd(tensors):
    """Return torch's momentum."""
    return torch.optim.SGD(tensors, lr=0.01, momentum=0.9)


def velocity(optimizer):
    """Return torch's v."""
    buffers = [one["momentum_buffer"].flatten() for one in optimizer.state.values()]
    return {"v": torch.cat(buffers)}


@pytest.mark.seeds(2)
def test_an_optimizer_of_any_shapes(dtype, device, rng):
    """Whatever the tensors are called and however many axes they have, theta is in their order."""
    shapes = {"kernel": (2, 3, 3), "scale": (4, 1), "weights": (3, 5), "offset": (7,)}
    parameters = {name: rng.standard_normal(one).astype(dtype) for name, one in shapes.items()}
    assert_same_trajectory(MyMomentum(), sgd, parameters, rng, device=device)
    assert_same_trajectory(NamedMomentum(), sgd, parameters, rng, state=velocity, device=device)


def test_lies_about_an_optimizer_are_caught(rng):
    """Without a state the parameters tell, with a state it is held too."""
    parameters = {"weights": rng.standard_normal((3, 5))}
    with pytest.raises(AssertionError, match="step 1: theta differs"):
        assert_same_trajectory(MyMomentum(rate=0.010001), sgd, parameters, rng)
    with pytest.raises(AssertionError, match="step 1: theta differs"):
        assert_same_trajectory(MyMomentum(start=np.ones_like), sgd, parameters, rng)
    with pytest.raises(AssertionError, match="no NamedTuple"):
        assert_same_trajectory(MyMomentum(), sgd, parameters, rng, state=velocity)
    with pytest.raises(AssertionError, match="our state has no u"):
        assert_same_trajectory(
            NamedMomentum(), sgd, parameters, rng, state=lambda one: {"u": velocity(one)["v"]}
        )
    with pytest.raises(AssertionError, match="held against nothing"):
        assert_same_trajectory(NamedMomentum(), sgd, parameters, rng, state=lambda one: {})
    with pytest.raises(AssertionError, match=r"step 1: v differs.*contradicts theirs"):
        assert_same_trajectory(
            NamedMomentum(),
            sgd,
            parameters,
            rng,
            state=lambda one: {"v": 1.001 * velocity(one)["v"]},
        )


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"ours": None}, TypeError, "expected ours to have init and update, got NoneType"),
        ({"theirs": "SGD"}, TypeError, "expected theirs to be a function, got str"),
        ({"parameters": [1.0]}, TypeError, "expected inputs to be a mapping of names to arrays"),
        ({"rng": 0.5}, TypeError, "expected rng to be a generator or a seed, got float"),
        ({"steps": 0}, ValueError, "expected steps to be a whole number from 1, got 0"),
        ({"groups": 1.5}, ValueError, r"expected groups to be a whole number from 1, got 1\.5"),
        ({"budget": "64"}, TypeError, "expected budget to be a Budget or a number of eps, got str"),
        (
            {"theirs": lambda tensors: None},
            TypeError,
            "expected theirs to make an optimizer with a step, got NoneType",
        ),
        (
            {"theirs": lambda tensors: torch.optim.SGD},
            TypeError,
            "expected theirs to make an optimizer with a step, got the class SGD",
        ),
        (
            {"parameters": {"weights": _SWAPPED}},
            TypeError,
            "expected weights in the byte order of this machine, got [<>]f8",
        ),
        ({"device": "meta"}, ValueError, "expected a device that holds numbers, got 'meta'$"),
        ({"device": "nowhere"}, ValueError, "expected a device that is here, got 'nowhere'"),
    ],
)
def test_wrong_arguments_of_a_trajectory(changed, error, message, rng):
    """They are refused at the door, in words."""
    arguments = {"ours": MyMomentum(), "theirs": sgd, "rng": rng}
    arguments["parameters"] = {"weights": rng.standard_normal((3, 5))}
    with pytest.raises(error, match=message):
        assert_same_trajectory(**(arguments | changed))


def test_a_seed_and_a_number_of_eps_will_do_for_a_trajectory(rng):
    """As they do for a function."""
    parameters = {"weights": rng.standard_normal((3, 5))}
    assert_same_trajectory(MyMomentum(), sgd, parameters, 0, budget=32)


@wide
def test_a_rule_that_knows_no_longdouble(rng):
    """`widest=np.float64` leaves the longdouble path out; otherwise float64 state is refused."""
    parameters = {"weights": rng.standard_normal((3, 5))}
    narrow = NamedMomentum(start=lambda theta: np.zeros(theta.shape))
    with pytest.raises(AssertionError, match="keeps it in float64: it is no witness"):
        assert_same_trajectory(narrow, sgd, parameters, rng, state=velocity)
    assert_same_trajectory(narrow, sgd, parameters, rng, state=velocity, widest=np.float64)


def test_a_ufunc_takes_as_many_arrays_as_it_has_inputs():
    """A constant is its second input; one too many would be its output, and written to."""
    x, power = {"x": np.array([0.5, 1.5])}, {"exponent": np.array([2.0, 3.0])}
    theirs = lambda x, exponent: torch.pow(x, exponent)  # noqa: E731
    assert_parity(np.power, theirs, x, constants=power)
    with pytest.raises(TypeError, match=r"^expected 1 inputs and constants for tanh, got x, exp"):
        assert_parity(np.tanh, theirs, x, constants=power)


def test_numbers_of_numpys_are_numbers_too():
    """A budget and a count from an array's items."""
    found = assert_parity(
        np.tanh, torch.tanh, {"x": np.ones(2)}, budget=np.int64(16), witnessed=np.int64(2)
    )
    assert list(found.errors) == ["output"]
