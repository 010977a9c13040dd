"""Dropout: shared masks give shared numbers; masks are what their probabilities say."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats
import torch
from torch.nn import functional

from parity_tests import assert_close, assert_switches, assert_twins
from parity_tests.compare.bridge import columns, rows, to_torch
from parity_tests.compare.budgets import ALARM
from parity_tests.compare.functions import draw_until, switches
from scratch import dropout as ours
from torch_ref import dropout as theirs

KEEP_PROBS = [0.125, 0.5, 0.8, 0.95]
SIZES = (5, 40, 30, 20, 3)
SHAPE = (4, 6)


def draw_switching(shape, keep_prob, rng, dtype=np.float64):
    """Draw a mask that drops something and keeps something."""
    (mask,) = draw_until(switches, lambda: (ours.draw_mask(shape, keep_prob, rng, dtype),))
    return mask


@pytest.mark.parity("dropout_forward", "dropout_backward", "draw_mask")
@pytest.mark.seeds(50)
@pytest.mark.parametrize("keep_prob", KEEP_PROBS)
def test_dropout(keep_prob, dtype, device, rng):
    """Output and gradient agree under one mask, and what was dropped gets no gradient."""
    A, mask = rng.standard_normal(SHAPE).astype(dtype), draw_switching(SHAPE, keep_prob, rng, dtype)
    assert_switches(mask > 0, "mask")
    assert_twins(
        ours.dropout_forward,
        ours.dropout_backward,
        theirs.dropout,
        {"A": A},
        rng,
        constants={"mask": mask},
        witnessed=2,
        device=device,
    )
    output, cache = ours.dropout_forward(A, mask)
    assert not output[mask == 0].any()
    assert not ours.dropout_backward(np.ones_like(A), cache)["A"][mask == 0].any()


@pytest.mark.parametrize("keep_prob", KEEP_PROBS)
def test_a_kept_unit_that_is_zero_gets_its_gradient(keep_prob, rng):
    """Behind a ReLU kept units are 0 too: the mask alone says which were dropped."""
    A, mask = draw_until(
        lambda A, mask: switches(A[mask > 0] == 0),
        lambda: (np.maximum(rng.standard_normal(SHAPE), 0), draw_switching(SHAPE, keep_prob, rng)),
    )
    assert_switches(A[mask > 0] == 0, "a kept unit is 0")
    pair = ours.dropout_forward, ours.dropout_backward
    assert_twins(*pair, theirs.dropout, {"A": A}, rng, constants={"mask": mask})


@pytest.mark.seeds(10)
@pytest.mark.parametrize("keep_prob", KEEP_PROBS)
@pytest.mark.parametrize("injected", [False, True], ids=["drawn by torch", "handed in"])
def test_torchs_own_mask_gives_the_same_bits(keep_prob, injected, dtype, rng):
    """The mask that torch's module drew, recovered from ones, gives its output and gradient."""
    A = rng.standard_normal((16, 12)).astype(dtype)
    dA = rng.standard_normal((16, 12)).astype(dtype)
    module = theirs.Dropout(keep_prob)
    assert module.p == 1 - keep_prob

    def draw():
        torch.manual_seed(int(rng.integers(2**31)))
        state = torch.get_rng_state()
        return module(torch.ones_like(rows(A))), state

    with torch.random.fork_rng():
        mask, state = draw_until(lambda mask, state: switches(mask > 0), draw)
        torch.set_rng_state(state)
        if injected:
            module.mask = mask
        input = rows(A).requires_grad_()
        output = module(input)
    (pulled,) = torch.autograd.grad(output, input, rows(dA))
    assert_switches(mask > 0, "torch's mask")
    mine, cache = ours.dropout_forward(A, columns(mask))
    gradient = ours.dropout_backward(dA, cache)["A"]
    assert_close(mine, columns(output), "output")
    assert np.array_equal(mine, columns(output))
    assert np.array_equal(gradient, columns(pulled))
    assert np.array_equal(columns(module.eval()(rows(A))), A)


@pytest.mark.parametrize("keep_prob", KEEP_PROBS)
def test_masks_are_what_they_say(keep_prob, rng):
    """On both sides a unit is kept with keep_prob, no unit is a favourite, kept ones grow by it."""
    shape, draws = (6, 5), 1500
    generator = torch.Generator().manual_seed(3)
    mine = np.array([ours.draw_mask(shape, keep_prob, rng) for _ in range(draws)])
    other = np.array([theirs.draw_mask(shape, keep_prob, generator).numpy() for _ in range(draws)])
    for masks in (mine, other):
        kept = masks > 0
        assert scipy.stats.binomtest(int(kept.sum()), kept.size, keep_prob).pvalue > ALARM
        assert set(np.unique(masks)) == {0, np.float64(1) / keep_prob}
        for unit in np.ndindex(shape):
            count = int(kept[(slice(None), *unit)].sum())
            assert scipy.stats.binomtest(count, draws, keep_prob).pvalue > ALARM
    # neighbours fall out independently of each other
    together = int((mine[:, 0] > 0)[mine[:, 1] > 0].sum())
    assert scipy.stats.binomtest(together, int((mine[:, 1] > 0).sum()), keep_prob).pvalue > ALARM


@pytest.mark.parametrize("keep_prob", KEEP_PROBS)
def test_the_expectation_is_the_input(keep_prob, rng):
    """The mean over many masks is A, as far as so few can tell; that of A D keep_prob is not."""
    A, draws = np.repeat(rng.uniform(1, 2, (12, 1)), 9000, axis=1), 9000
    output, _ = ours.dropout_forward(A, ours.draw_mask(A.shape, keep_prob, rng))
    share = (output / A).mean(axis=1)
    for kept in np.rint(share * keep_prob * draws).astype(int):
        assert scipy.stats.binomtest(int(kept), draws, keep_prob).pvalue > ALARM
    assert keep_prob > 0.9 or np.abs(share * keep_prob - 1).min() > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_keep_prob_one_is_the_identity(dtype, rng):
    """Nothing is dropped and nothing scaled, and the layer has no mask at all in a network."""
    A = rng.standard_normal(SHAPE).astype(dtype)
    output, cache = ours.dropout_forward(A, ours.draw_mask(SHAPE, 1.0, rng, dtype))
    assert np.array_equal(output, A)
    assert output.dtype == dtype
    assert np.array_equal(ours.dropout_backward(A, cache)["A"], A)
    assert ours.draw_masks(SIZES, (1.0, 1.0, 1.0), 4, rng, dtype) == {}
    assert ours.draw_masks(SIZES, (), 4, rng, dtype) == {}
    assert torch.equal(theirs.Dropout(1.0)(torch.ones(3)), torch.ones(3))


@pytest.mark.parity("draw_masks", "mask_stream")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_of_a_network(dtype, rng):
    """One mask a dropping hidden layer, in its shape, by its own keep_prob; none at the ends."""
    keep_probs, m = (0.8, 1.0, 0.3), 500
    generator = torch.Generator().manual_seed(3)
    mine = ours.draw_masks(SIZES, keep_probs, m, rng, dtype)
    other = theirs.draw_masks(SIZES, keep_probs, m, generator, getattr(torch, dtype))
    assert list(mine) == list(other) == ["D1", "D3"]
    for l, keep_prob in ((1, 0.8), (3, 0.3)):
        masks = mine[f"D{l}"], columns(other[f"D{l}"])
        for mask in masks:
            assert mask.shape == (SIZES[l], m)
            assert mask.dtype == dtype
            assert scipy.stats.binomtest(int((mask > 0).sum()), mask.size, keep_prob).pvalue > ALARM
        # what a kept unit grows by is the same number on both sides
        assert_close(masks[0].max()[None], masks[1].max()[None], "scale")

    sizes = [3, 3, 3, 1] * 3
    run = {"batch_size": 3, "epochs": 3}
    stream = list(ours.mask_stream(SIZES, keep_probs, 10, rng=np.random.default_rng(1), **run))
    again = list(ours.mask_stream(SIZES, keep_probs, 10, rng=np.random.default_rng(1), **run))
    torchs = list(theirs.mask_stream(SIZES, keep_probs, 10, generator=generator, **run))
    assert [masks["D1"].shape for masks in stream] == [(40, size) for size in sizes]
    assert [tuple(masks["D3"].shape) for masks in torchs] == [(size, 20) for size in sizes]
    for masks, same in zip(stream, again, strict=True):
        assert all(np.array_equal(masks[name], same[name]) for name in ("D1", "D3"))
    assert not np.array_equal(stream[0]["D1"], stream[1]["D1"])
    assert not torch.equal(torchs[0]["D1"], torchs[1]["D1"])


@pytest.mark.parametrize(
    ("side", "name", "seeded"),
    [
        (ours, "rng", np.random.default_rng),
        (theirs, "generator", torch.Generator().manual_seed),
    ],
    ids=["ours", "torch's"],
)
def test_draws_come_from_the_generator(side, name, seeded):
    """One seed gives one pair of streams; layers, steps, epochs, streams and seeds differ."""
    run = {"batch_size": 4, "epochs": 3}
    drawn, again, other = [], [], []
    for seed, masks in ((2, drawn), (2, again), (3, other)):
        source = {name: seeded(seed)}
        for _ in range(2):
            for step in side.mask_stream((5, 20, 20, 3), (0.5, 0.5), 8, **run, **source):
                masks += [str((mask > 0).tolist()) for mask in step.values()]
    assert drawn == again
    layers, steps, epochs, streams = 2, 2, 3, 2
    assert len({*drawn, *other}) == 2 * streams * epochs * steps * layers


def test_torchs_masks_come_from_the_generator():
    """One seed gives the same bits, another does not; the global generator stays where it is."""
    before = torch.get_rng_state()
    first, same, other = (
        theirs.draw_mask((20, 10), 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_mask_handed_in_has_the_shape_of_the_input():
    """A mask that would broadcast drops the same units of every example: it is refused."""
    layer = theirs.Dropout(0.5)
    for shape in ((1, 4), (3, 1), (4, 4), (3, 5)):
        layer.mask = torch.ones(shape)
        message = re.escape(f"expected a mask of shape (3, 4), got {shape}")
        with pytest.raises(ValueError, match=message):
            layer(torch.ones(3, 4))


def test_every_dtype_keeps_the_same_units():
    """float32 runs drop what float64 runs drop, for one seed."""
    masks = [
        ours.draw_mask((50, 40), 0.7, np.random.default_rng(2), dtype) > 0
        for dtype in (np.float32, np.float64, np.longdouble)
    ]
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


def test_a_drawn_mask_is_uniform_not_normal():
    """Kept is where a known generator's uniform draw is below keep_prob, never where it is that."""
    uniform = np.random.default_rng(7).random((300, 40))
    for keep_prob in (0.6, 0.1234, float(uniform[0, 0])):
        mask = ours.draw_mask((300, 40), keep_prob, np.random.default_rng(7))
        assert np.array_equal(mask > 0, uniform < keep_prob)


def test_functional_dropout_takes_the_chance_to_lose(rng):
    """The tempting translation, p = keep_prob, keeps the other fraction."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        kept = (functional.dropout(torch.ones(4000), p=0.8) > 0).sum().item()
    assert scipy.stats.binomtest(kept, 4000, 0.2).pvalue > ALARM
    mine = int((ours.draw_mask((40, 100), 0.8, rng) > 0).sum())
    assert scipy.stats.binomtest(mine, 4000, 0.8).pvalue > ALARM


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.5, float("nan"), "0.5", None])
def test_bad_keep_probs_are_refused(bad):
    """The module of torch_ref and every entry of keep_probs lie in (0, 1]."""
    with pytest.raises((TypeError, ValueError), match="expected keep_prob"):
        theirs.Dropout(bad)
    with pytest.raises((TypeError, ValueError), match="expected keep_prob of layer 2"):
        ours.draw_masks(SIZES, (0.5, bad, 0.5), 3, np.random.default_rng(0))


_RNG, _GENERATOR = np.random.default_rng(0), torch.Generator()
_MASK = ours.draw_mask((3, 4), 0.5, np.random.default_rng(0))
_A = np.arange(12.0).reshape(3, 4)
_DRAWN = {"shape": (3, 4), "keep_prob": 0.5}
_NETWORK = {"layer_sizes": (3, 5, 4, 2), "keep_probs": (0.5, 0.8), "m": 4}
_STREAM = {**_NETWORK, "batch_size": 3, "epochs": 2}
EXAMPLES = {
    "scratch.dropout.draw_mask": {**_DRAWN, "rng": _RNG, "dtype": np.float32},
    "scratch.dropout.dropout_forward": {"A": _A, "mask": _MASK},
    "scratch.dropout.dropout_backward": {"dA": _A, "cache": ours.DropoutCache(_MASK)},
    "scratch.dropout.draw_masks": {**_NETWORK, "rng": _RNG, "dtype": np.float32},
    "scratch.dropout.mask_stream": {**_STREAM, "rng": _RNG, "dtype": np.float32},
    "torch_ref.dropout.draw_mask": {**_DRAWN, "generator": _GENERATOR, "dtype": torch.float32},
    "torch_ref.dropout.dropout": {"A": to_torch("A", _A), "mask": to_torch("mask", _MASK)},
    "torch_ref.dropout.draw_masks": {**_NETWORK, "generator": _GENERATOR, "dtype": torch.float32},
    "torch_ref.dropout.mask_stream": {**_STREAM, "generator": _GENERATOR, "dtype": torch.float32},
}
