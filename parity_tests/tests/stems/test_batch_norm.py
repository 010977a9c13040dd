"""Batch norm: forward, the full backward, running averages of both kinds, batches of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import GRADIENT, assert_close, assert_twins, measure
from parity_tests.compare.bridge import columns, rows, to_numpy, to_torch, unload_running
from parity_tests.compare.gauges import batch_norm_gauges
from parity_tests.compare.witnesses import widened
from scratch import batch_norm as ours
from torch_ref import batch_norm as theirs
from torch_ref.network import Network as TheirNetwork

EPSILON = 1e-5


def draw_inputs(n, m, rng, dtype=np.float64):
    """Draw Z off zero, gamma other than 1 and beta other than 0."""
    return {
        "Z": (2 * rng.standard_normal((n, m)) + rng.standard_normal((n, 1))).astype(dtype),
        "gamma": rng.uniform(0.5, 2, (n, 1)).astype(dtype),
        "beta": rng.standard_normal((n, 1)).astype(dtype),
    }


@pytest.mark.parity("batch_norm_forward", "batch_norm_backward")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("shape", [(1, 3), (4, 8), (3, 64)], ids=str)
def test_batch_norm(shape, dtype, device, rng):
    """Output and all three gradients agree, by three witnesses."""
    assert_twins(
        ours.batch_norm_forward,
        ours.batch_norm_backward,
        theirs.batch_norm,
        draw_inputs(*shape, rng, dtype),
        rng,
        gauges=batch_norm_gauges,
        witnessed=4,
        device=device,
    )


@pytest.mark.seeds(10)
@pytest.mark.parametrize("epsilon", [EPSILON, 1e-2, 10.0])
def test_two_examples(epsilon, dtype, device, rng):
    """With m = 2 the gradient of Z is what epsilon leaves of it, and shows which it was."""

    def forward(Z, gamma, beta):
        return ours.batch_norm_forward(Z, gamma, beta, epsilon)

    inputs = draw_inputs(4, 2, rng, dtype)
    if dtype == np.float32 and epsilon < 1:
        inputs["Z"] *= np.float32(0.01)  # a variance near epsilon, for seven digits to see it
    assert_twins(
        forward,
        ours.batch_norm_backward,
        lambda Z, gamma, beta: theirs.batch_norm(Z, gamma, beta, epsilon),
        inputs,
        rng,
        gauges=lambda arguments, d: batch_norm_gauges({**arguments, "epsilon": epsilon}, d),
        device=device,
    )


def test_one_example_is_beta(rng):
    """With m = 1 the output is beta, the gradients of Z and gamma are 0, on both sides."""
    inputs = draw_inputs(4, 1, rng)
    upstream = rng.standard_normal((4, 1))
    output, cache = ours.batch_norm_forward(**inputs)
    gradients = ours.batch_norm_backward(upstream, cache)
    tensors = {name: to_torch(name, one).requires_grad_() for name, one in inputs.items()}
    reference = theirs.batch_norm(*tensors.values())
    pulled = torch.autograd.grad(reference, list(tensors.values()), rows(upstream))
    # torch takes Z inv_std gamma from itself, we take Z from its mean
    gauge = batch_norm_gauges(inputs, upstream)["output"]
    assert_close(output, columns(reference), "output", gauge=gauge)
    assert np.array_equal(output, inputs["beta"])
    for (name, gradient), other in zip(gradients.items(), pulled, strict=True):
        expected = to_numpy(name, other)
        assert_close(gradient, expected, name, expect_zero=name != "beta")
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(4, dtype=torch.float64)(rows(inputs["Z"]))


@pytest.mark.seeds(10)
@pytest.mark.parametrize("constant", [1.0, -3.5, 1e3])
def test_shifting_Z_changes_nothing(constant, rng):  # noqa: N802
    """A constant added to Z, as b would be, leaves output and gradients where they were."""
    inputs = draw_inputs(4, 9, rng)
    upstream = rng.standard_normal((4, 9))
    results = []
    for Z in (inputs["Z"], inputs["Z"] + constant):
        output, cache = ours.batch_norm_forward(Z, inputs["gamma"], inputs["beta"])
        results.append({"output": output, **ours.batch_norm_backward(upstream, cache)})
    gauges = batch_norm_gauges({**inputs, "Z": inputs["Z"] + constant}, upstream)
    for name, value in results[0].items():
        assert_close(results[1][name], value, name, budget=GRADIENT, gauge=gauges[name])


def test_the_output_has_the_moments_it_is_given(rng):
    """Each unit's output has mean beta and standard deviation gamma, up to epsilon."""
    inputs = draw_inputs(5, 400, rng)
    output, cache = ours.batch_norm_forward(**inputs)
    assert_close(output.mean(axis=1, keepdims=True), inputs["beta"], "mean", gauge=20.0)
    shrunk = np.sqrt(cache.variance / (cache.variance + EPSILON))
    assert_close(output.std(axis=1, keepdims=True), inputs["gamma"] * shrunk, "deviation")
    assert np.abs(shrunk - 1).min() > 1e-8


@pytest.mark.seeds(10)
def test_scaling_Z_changes_nothing_but_epsilon(rng):  # noqa: N802
    """Without epsilon to speak of, W times a constant gives the same activations."""
    inputs = draw_inputs(4, 9, rng)
    small, _ = ours.batch_norm_forward(**inputs, epsilon=1e-300)
    large, _ = ours.batch_norm_forward(
        8 * inputs["Z"], inputs["gamma"], inputs["beta"], epsilon=1e-300
    )
    assert_close(large, small, "output")


SIZES = [16, 5, 9, 2, 30, 3]


def average(batches, decay, unbiased):
    """Return our running averages after these batches, in their dtype."""
    one, zero = np.ones((3, 1), batches[0].dtype), np.zeros((3, 1), batches[0].dtype)
    mean, variance = zero, one
    for Z in batches:
        _, cache = ours.batch_norm_forward(Z, one, zero)
        mean, variance = ours.update_running_averages(mean, variance, cache, decay, unbiased)
    return mean, variance


def track(unbiased, decay, batches):
    """Return our running averages and torch's module after the same batches."""
    layer = theirs.BatchNorm(3, decay=decay, unbiased=unbiased)
    for Z in batches:
        layer(rows(Z))
    return *average(batches, decay, unbiased), layer


@pytest.mark.parity("update_running_averages", "batch_norm_predict")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("unbiased", [False, True], ids=["1 over m", "1 over m-1"])
@pytest.mark.parametrize("decay", [0.9, 0.5, 0.0])
def test_several_batches_then_evaluation(decay, unbiased, rng):
    """Running averages over batches of different size agree, and so do the answers they give."""
    sizes = SIZES if unbiased else [*SIZES, 1, 4]  # torch's own refuses a single example
    batches = [2 * rng.standard_normal((3, m)) + 1 for m in sizes]
    mean, variance, layer = track(unbiased, decay, batches)
    truth = widened(average, batches, decay, unbiased) or (None, None)
    reference = to_numpy("mean", layer.running_mean)
    # a mean sums up entries of both signs
    size = max(np.abs(Z).max() for Z in batches)
    assert_close(mean, reference, "running mean", gauge=size, wider=truth[0])
    reference = to_numpy("variance", layer.running_var)
    assert_close(variance, reference, "running variance", wider=truth[1])
    moved = theirs.update_running_averages(
        to_torch("mean", mean), to_torch("variance", variance), rows(batches[0]), decay, unbiased
    )
    _, cache = ours.batch_norm_forward(batches[0], np.ones((3, 1)), np.zeros((3, 1)))
    mine = ours.update_running_averages(mean, variance, cache, decay, unbiased)
    truth = widened(ours.update_running_averages, mean, variance, cache, decay, unbiased)
    for name, value, other, wider in zip(
        ("mean", "variance"), mine, moved, truth or (None, None), strict=True
    ):
        gauge = size if name == "mean" else None
        assert_close(value, to_numpy(name, other), name, gauge=gauge, wider=wider)

    inputs = draw_inputs(3, 7, rng)
    with torch.no_grad():
        layer.weight.copy_(to_torch("gamma", inputs["gamma"]))
        layer.bias.copy_(to_torch("beta", inputs["beta"]))
        reference = columns(layer.eval()(rows(inputs["Z"])))
    averages = {"mean": mean, "variance": variance}
    gauge = np.abs(inputs["gamma"]) * (np.abs(inputs["Z"]) + np.abs(mean)) / np.sqrt(variance)
    gauge += np.abs(inputs["beta"])
    assert_close(
        ours.batch_norm_predict(**inputs, **averages, epsilon=0.5),
        columns(
            theirs.batch_norm_predict(
                *(to_torch(name, one) for name, one in (inputs | averages).items()), epsilon=0.5
            )
        ),
        "answers with another epsilon",
        gauge=gauge,
        wider=widened(ours.batch_norm_predict, **inputs, **averages, epsilon=0.5),
    )
    answers = ours.batch_norm_predict(**inputs, mean=mean, variance=variance)
    function = theirs.batch_norm_predict(
        *(to_torch(name, one) for name, one in inputs.items()),
        layer.running_mean,
        layer.running_var,
    )
    truth = widened(ours.batch_norm_predict, **inputs, **averages)
    assert_close(answers, reference, "answers", gauge=gauge, wider=truth)
    assert_close(answers, columns(function), "answers of the function", gauge=gauge, wider=truth)
    single = ours.batch_norm_predict(
        inputs["Z"][:, :1], inputs["gamma"], inputs["beta"], mean, variance
    )
    assert np.array_equal(single, answers[:, :1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(dtype, rng):
    """Choices that are float64 scalars promote nothing, and nothing handed in is overwritten."""
    inputs = draw_inputs(3, 8, rng, dtype)
    wide = np.float64(0.9)
    output, cache = ours.batch_norm_forward(**inputs, epsilon=np.float64(1e-5))
    mean, variance = np.zeros((3, 1), dtype), np.ones((3, 1), dtype)
    moved = ours.update_running_averages(mean, variance, cache, wide)
    answers = ours.batch_norm_predict(**inputs, mean=moved[0], variance=moved[1], epsilon=wide)
    assert {one.dtype for one in (output, answers, *moved, *cache)} == {np.dtype(dtype)}
    assert not mean.any()
    if dtype != np.longdouble:
        tensors = to_torch("mean", mean), to_torch("variance", variance)
        theirs.update_running_averages(*tensors, rows(inputs["Z"]))
        assert not tensors[0].any()
        assert (tensors[1] == 1).all()


def test_running_averages_are_outside_of_the_graph():
    """Averages that remembered where they came from would keep every mini-batch in memory."""
    layer = theirs.BatchNorm(3)
    layer(torch.ones(4, 3, dtype=torch.float64, requires_grad=True))
    assert not layer.running_mean.requires_grad
    assert not layer.running_var.requires_grad


@pytest.mark.parametrize("m", [2, 5, 100])
def test_torch_keeps_the_unbiased_running_variance(m, rng):
    """From one batch, forgetting nothing before it, the two variances differ by m / (m - 1)."""
    Z = rng.standard_normal((3, m))
    biased, unbiased = (track(flag, 0.0, [Z])[1] for flag in (False, True))
    plain = torch.nn.BatchNorm1d(3, momentum=1.0, dtype=torch.float64)
    plain(rows(Z))
    assert_close(biased * m / (m - 1), to_numpy("variance", plain.running_var), "running variance")
    assert_close(unbiased, to_numpy("variance", plain.running_var), "running variance")
    assert_close(biased, Z.var(axis=1, keepdims=True), "biased variance")


TEMPTING = {
    "momentum = decay": lambda n: torch.nn.BatchNorm1d(n, momentum=0.9, dtype=torch.float64),
    "the biased variance for torch's": lambda n: torch.nn.BatchNorm1d(n, dtype=torch.float64),
}


@pytest.mark.parametrize("wrong", TEMPTING)
def test_the_tempting_translations_differ(wrong, rng):
    """Each ends a million million eps away from the course's running variance."""
    batches = [2 * rng.standard_normal((3, m)) + 1 for m in SIZES]
    _, variance, _ = track(False, 0.9, batches)
    layer = TEMPTING[wrong](3)
    for Z in batches:
        layer(rows(Z))
    assert measure(variance, to_numpy("variance", layer.running_var)).error > 1e12


@pytest.mark.parametrize("wrong", ["without the root", "without the mean", "without the variance"])
def test_what_notes_get_wrong_is_seen(wrong, rng):
    """Dividing by variance + epsilon, or leaving out a way back, is far outside the budget."""
    inputs = draw_inputs(4, 8, rng)
    upstream = rng.standard_normal((4, 8))
    output, cache = ours.batch_norm_forward(**inputs)
    gradient = ours.batch_norm_backward(upstream, cache)["Z"]
    g = inputs["gamma"] * upstream
    through_mean = g.mean(axis=1, keepdims=True)
    through_variance = cache.Z_norm * (g * cache.Z_norm).mean(axis=1, keepdims=True)
    if wrong == "without the root":
        slip = inputs["gamma"] * cache.Z_norm * cache.inv_std + inputs["beta"]
        assert measure(slip, output).error > 1e12
    else:
        kept = through_variance if "mean" in wrong else through_mean
        assert measure(cache.inv_std * (g - kept), gradient).error > 1e12


@pytest.mark.parity("running_averages")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_averages_begin_alike(dtype):
    """Mean 0 and variance 1 for each hidden layer, none for the output."""
    mine = ours.running_averages((3, 5, 4, 2), dtype)
    module = TheirNetwork(
        layer_sizes=(3, 5, 4, 2), batch_norm=theirs.BatchNorm, dtype=getattr(torch, dtype)
    )
    other = unload_running(module)
    assert mine.layout == other.layout
    for name in ("variance1", "variance2"):
        assert_close(mine[name], other[name], name)
    for name in ("mean1", "mean2"):
        assert_close(mine[name], other[name], name, expect_zero=True)
    with pytest.raises(ValueError, match="expected layer_sizes with a hidden layer"):
        ours.running_averages((3, 2))


@pytest.mark.parity("BatchNorm")
@pytest.mark.parametrize("unbiased", [False, True])
def test_choices_have_the_same_defaults(unbiased, rng):
    """What is left unsaid means the same on both sides; bad choices are refused on both."""
    choices = ours.BatchNorm(unbiased=unbiased)
    layer = theirs.BatchNorm(3, unbiased=unbiased)
    assert_close(np.float64(1 - choices.decay), np.float64(layer.momentum), "momentum")
    assert (choices.epsilon, ours.BatchNorm().unbiased) == (layer.eps, theirs.BatchNorm(3).unbiased)
    for name, bad, error in (
        ("decay", 1.0, ValueError),
        ("decay", "0.9", TypeError),
        ("epsilon", 0.0, ValueError),
        ("unbiased", 1, TypeError),
    ):
        with pytest.raises(error, match=f"expected {name}"):
            ours.BatchNorm(**{name: bad})
        with pytest.raises(error, match=f"expected {name}"):
            theirs.BatchNorm(3, **{name: bad})


def test_the_unbiased_variance_of_one_example_is_refused(rng):
    """M / (m - 1) is infinite for m = 1; both sides say so."""
    cache = ours.batch_norm_forward(**draw_inputs(3, 1, rng))[1]
    with pytest.raises(ValueError, match="expected two or more examples"):
        ours.update_running_averages(np.zeros((3, 1)), np.ones((3, 1)), cache, unbiased=True)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs.BatchNorm(3, unbiased=True)(torch.ones(1, 3, dtype=torch.float64))


def test_running_averages_move_by_their_defaults(rng):
    """Unsaid, a tenth of the way to the batch's mean and biased variance."""
    cache = ours.batch_norm_forward(**draw_inputs(3, 4, rng))[1]
    averages = np.zeros((3, 1)), np.ones((3, 1))
    unsaid = ours.update_running_averages(*averages, cache)
    said = ours.update_running_averages(*averages, cache, decay=0.9, unbiased=False)
    assert np.array_equal(unsaid, said)
    assert_close(unsaid[1], 0.9 + 0.1 * cache.variance, "running variance")


_RNG = np.random.default_rng(0)
_INPUTS = draw_inputs(3, 4, _RNG)
_TENSORS = {name: to_torch(name, one) for name, one in _INPUTS.items()}
_CACHE = ours.batch_norm_forward(**_INPUTS)[1]
_RUNNING = {"mean": np.zeros((3, 1)), "variance": np.ones((3, 1))}
_THEIR_RUNNING = {name: to_torch(name, one) for name, one in _RUNNING.items()}
_UPDATE = {"decay": 0.5, "unbiased": True}
_NETWORK = TheirNetwork(layer_sizes=(3, 5, 2), batch_norm=theirs.BatchNorm)
EXAMPLES = {
    "scratch.batch_norm.batch_norm_forward": {**_INPUTS, "epsilon": 0.1},
    "scratch.batch_norm.batch_norm_backward": {"dZ_tilde": _INPUTS["Z"], "cache": _CACHE},
    "scratch.batch_norm.batch_norm_predict": {**_INPUTS, **_RUNNING, "epsilon": 0.1},
    "scratch.batch_norm.running_averages": {"layer_sizes": (3, 5, 4, 2), "dtype": np.float32},
    "scratch.batch_norm.update_running_averages": {**_RUNNING, "cache": _CACHE, **_UPDATE},
    "torch_ref.batch_norm.batch_norm": {**_TENSORS, "epsilon": 0.1},
    "torch_ref.batch_norm.batch_norm_predict": {**_TENSORS, **_THEIR_RUNNING, "epsilon": 0.1},
    "torch_ref.batch_norm.running_averages": {"module": _NETWORK},
    "torch_ref.batch_norm.update_running_averages": {
        **_THEIR_RUNNING,
        "Z": _TENSORS["Z"],
        **_UPDATE,
    },
}


def test_choices_of_the_module_are_named():
    """The width may be named too; what could be mixed up must be."""
    assert theirs.BatchNorm(n=3, decay=0.8).num_features == 3
    with pytest.raises(TypeError, match="positional"):
        theirs.BatchNorm(3, 0.8)


def test_the_gauges_are_no_larger_than_a_dozen_operations_make_them(rng):
    """On well-conditioned draws a gauge is a few times what it bounds: more would bound nothing."""
    ratios: dict[str, list[float]] = {}
    for _ in range(20):
        Z, d = rng.standard_normal((2, 4, 40))
        gamma, beta = rng.uniform(0.5, 2, (4, 1)), rng.standard_normal((4, 1))
        output, cache = ours.batch_norm_forward(Z, gamma, beta)
        gauges = batch_norm_gauges({"Z": Z, "gamma": gamma, "beta": beta}, d)
        values = {"output": output, **ours.batch_norm_backward(d, cache)}
        for name, value in values.items():
            ratios.setdefault(name, []).append(gauges[name].max() / np.abs(value).max())
    # gamma and beta add 40 terms of either sign, which cancel to about the root of 40
    for name, most in {"output": 12, "Z": 24, "gamma": 6 * 12, "beta": 12}.items():
        assert 1 < np.median(ratios[name]) < most, name
