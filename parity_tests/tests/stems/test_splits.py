"""Splits: every example exactly once, sizes that add up, classes in proportion."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parity_tests import assert_close
from parity_tests.compare.bridge import columns, rows
from scratch import splits as ours
from scratch.mini_batches import draw_order
from torch_ref import splits as theirs
from torch_ref.mini_batches import draw_order as their_draw_order

_ORDER = np.array([2, 0, 3, 1])
_Y = np.array([[0.0, 1.0, 1.0, 0.0]])
_HALVES = (0.5, 0.5)
EXAMPLES = {
    f"{package}.splits.{name}": arguments
    for package, turn in (("scratch", np.copy), ("torch_ref", rows))
    for name, arguments in {
        "sizes": {"m": 4, "ratios": _HALVES},
        "split": {"order": _ORDER, "ratios": _HALVES},
        "stratified_split": {"Y": turn(_Y), "order": _ORDER, "ratios": _HALVES},
        "k_fold": {"order": _ORDER, "k": 2},
        "take": {"X": turn(_Y), "indices": np.array([3, 1, 1])},
    }.items()
}


def _spoil_ratios(expected, value):
    yield "a number", 0.5, TypeError
    yield "None", None, TypeError
    yield "a string", "0.5", TypeError
    yield "strings", ("0.5", "0.5"), TypeError
    yield "whole numbers", (1, 0), TypeError
    yield "an array", np.array(value), TypeError
    yield "percent", (50.0, 50.0), ValueError
    yield "one part", (1.0,), ValueError
    yield "nothing", (), ValueError
    yield "too little", (0.6, 0.2), ValueError
    yield "a little too little", (0.5, 0.4999), ValueError
    yield "too much", (0.6, 0.6), ValueError
    yield "a part of nothing", (0.5, 0.5, 0.0), ValueError
    yield "a negative part", (0.7, 0.7, -0.4), ValueError
    yield "NaN", (0.5, float("nan")), ValueError


def _spoil_members(expected, value):
    yield "floats", np.array([0.0, 1.0]), TypeError
    yield "a mask", np.array([True, False]), TypeError
    yield "a string", "01", TypeError
    yield "None", None, TypeError
    yield "beyond m", np.array([0, 4]), ValueError
    yield "from the end", np.array([0, -1]), ValueError
    yield "two axes", np.array([[0, 1]]), ValueError
    yield "empty", np.array([], int), ValueError


SPOILS = {"_Ratios": _spoil_ratios, "_Members": _spoil_members}

#: m, ratios and the sizes they ask for.
SIZES = {
    "60-20-20": (100, (0.6, 0.2, 0.2), (60, 20, 20)),
    "98-1-1 of a million": (1_000_000, (0.98, 0.01, 0.01), (980_000, 10_000, 10_000)),
    "70-30": (10, (0.7, 0.3), (7, 3)),
    "0.29 times 100 is not 28": (100, (0.29, 0.71), (29, 71)),
    "0.57 times 100 is not 56": (100, (0.57, 0.43), (57, 43)),
    "the largest rest": (7, (0.6, 0.2, 0.2), (4, 2, 1)),
    "two rests": (9, (0.6, 0.2, 0.2), (5, 2, 2)),
    "the larger of two rests, last": (10, (0.31, 0.32, 0.37), (3, 3, 4)),
    "equal rests, the first": (5, (0.5, 0.5), (3, 2)),
    "equal rests of thirds": (10, (1 / 3, 1 / 3, 1 / 3), (4, 3, 3)),
    "equal rests of unequal parts": (3, (1 / 6, 1 / 2, 1 / 3), (1, 1, 1)),
    "equal rests of decimals": (4, (0.1, 0.35, 0.55), (1, 1, 2)),
    "equal rests of decimals, the first": (8, (0.05, 0.4, 0.55), (1, 3, 4)),
    "a part left with nothing": (10, (0.98, 0.01, 0.01), (10, 0, 0)),
    "one example": (1, (0.4, 0.6), (0, 1)),
}


@pytest.mark.parity("sizes")
@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    """Both sides find the sizes of the table; rounding each part by itself would lose examples."""
    m, ratios, expected = SIZES[name]
    assert ours.sizes(m, ratios) == theirs.sizes(m, ratios) == expected
    assert all(type(size) is int for size in ours.sizes(m, ratios) + theirs.sizes(m, ratios))
    assert_close(
        np.array(ours.sizes(m, ratios)) / m, np.array(theirs.sizes(m, ratios)) / m, "parts"
    )


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_ratios_of_numpys_floats(side):
    """Ratios from an array's items do as well as Python's, float16 too, summed as they are."""
    for kind in (np.float64, np.float32, np.float16, np.longdouble):
        assert side.sizes(8, tuple(map(kind, (0.5, 0.25, 0.25)))) == (4, 2, 2)
    assert side.sizes(10, tuple(map(np.float32, (0.6, 0.2, 0.2)))) == (6, 2, 2)
    with pytest.raises(ValueError, match="that sum to 1, got"):
        side.sizes(8, (np.float16(0.5), np.float16(0.501)))


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_ratios_are_the_fractions_they_stand_for(side):
    """Denominators of thousands are kept; round-off in the last digits of 1 / 6 is none."""
    near = (0.50001, 0.49999)
    assert side.sizes(100_000, near) == (50_001, 49_999)
    assert side.sizes(12, (1 / 6, 1 / 6, 2 / 3)) == (2, 2, 8)
    sevenths = tuple(n / 7 for n in (1, 2, 4))
    assert side.sizes(7 * 10**6, sevenths) == (10**6, 2 * 10**6, 4 * 10**6)


def test_a_ratio_stands_for_a_fraction_of_a_billion():
    """Next to 1/2 is 1/2 + 1/(2 10^9): what is nearer to 1/2 than to it is a half, and a tie.

    The other side rounds m times the ratio to nine decimals instead.
    """
    for distance, expected in ((1.5e-10, (1, 0)), (2.4e-10, (1, 0)), (2.6e-10, (0, 1))):
        assert ours.sizes(1, (0.5 - distance, 0.5 + distance)) == expected


def test_what_the_ratios_lack_is_lacked_by_all():
    """Ratios that miss 1 by less than 1e-9 are divided by their sum; 10^10 examples show it."""
    for sign in (1, -1):
        second = Fraction(1, 2) + Fraction(sign, 2 * (10**9 - 1))  # the fraction next to 1/2
        first = 10**10 * Fraction(1, 2) / (Fraction(1, 2) + second)
        counts = ours.sizes(10**10, (0.5, 0.5 + sign * 5e-10))
        assert counts == (round(first), 10**10 - round(first))


@pytest.mark.parametrize("side", [ours, theirs], ids=["scratch", "torch_ref"])
def test_an_empty_part_is_refused(side):
    """The message counts what each part would get."""
    order, ratios = np.arange(2), (0.4, 0.3, 0.3)
    assert side.sizes(2, ratios) == (1, 1, 0)
    Y = np.ones((1, 2)) if side is ours else torch.ones(2, 1)
    message = "expected m large enough for every part, got .1, 1, 0. of m = 2"
    with pytest.raises(ValueError, match=f"^{message}$"):
        side.split(order, ratios)
    with pytest.raises(ValueError, match=f"^{message}$"):
        side.stratified_split(Y, order, ratios)


REFUSALS = {
    "an end": (("sizes", 2, (1.0, 1e-10)), "ratios in (0, 1) that sum to 1, got (1.0, 1e-10)"),
    "beyond": (("sizes", 2, (1.5, 1e-10)), "ratios in (0, 1) that sum to 1, got (1.5, 1e-10)"),
    "just beyond": (
        ("sizes", 2, (1 + 1e-10, 1e-11)),
        "ratios in (0, 1) that sum to 1, got (1.0000000001, 1e-11)",
    ),
    "one part": (
        ("sizes", 2, (1 - 1e-10,)),
        "ratios in (0, 1) that sum to 1, got (0.9999999999,)",
    ),
    "twice all": (
        ("sizes", 2, (0.75, 0.75, 0.5)),
        "ratios in (0, 1) that sum to 1, got (0.75, 0.75, 0.5)",
    ),
    "more folds than examples": (("k_fold", np.arange(2), 3), "k to be at most m = 2, got 3"),
    "an index of m": (
        ("take", np.ones((2, 6)), np.array([0, 6])),
        "indices in 0..5 as X has 6, got [0 6]",
    ),
    "an index beyond m": (
        ("take", np.ones((2, 6)), np.array([7, 0])),
        "indices in 0..5 as X has 6, got [7 0]",
    ),
    "an index below": (
        ("take", np.ones((2, 6)), np.array([-1, 0])),
        "indices in 0..5 as X has 6, got [-1  0]",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_whole_refusal(case):
    """Both sides say which numbers may stand there, and what came."""
    (name, *arguments), message = REFUSALS[case]
    turned = [rows(one) if np.ndim(one) == 2 else one for one in arguments]
    for side, inputs in ((ours, arguments), (theirs, turned)):
        with pytest.raises(ValueError, match="expected") as refusal:
            getattr(side, name)(*inputs)
        assert str(refusal.value) == f"expected {message}"


def test_as_many_folds_as_examples():
    """Leaving one out is k = m."""
    for side in (ours, theirs):
        folds = side.k_fold(np.arange(3), 3)
        assert [held_out.tolist() for _, held_out in folds] == [[0], [1], [2]]


def test_rounding_each_part_loses_or_invents_examples():
    """Floor, round and ceiling are the tempting ways; each misses m somewhere in the table."""
    for rounding in (np.floor, np.round, np.ceil):
        totals = [rounding(m * np.array(ratios)).sum() - m for m, ratios, _ in SIZES.values()]
        assert np.any(totals)


parts = st.lists(st.integers(1, 60), min_size=2, max_size=5).map(
    lambda shares: tuple(share / sum(shares) for share in shares)
)


@given(st.integers(1, 5000), parts)
def test_sizes_sum_to_m(m, ratios):
    """Each size is its quota rounded down or up, no larger rest goes without; both sides agree."""
    counts = ours.sizes(m, ratios)
    assert sum(counts) == m
    assert counts == theirs.sizes(m, ratios)
    excess = np.array(counts) - m * np.array(ratios)
    assert np.abs(excess).max() < 1
    up, down = excess[excess > 1e-9], excess[excess < -1e-9]
    assert not len(up) or not len(down) or up.max() <= 1 + down.min() + 1e-9


def assert_same_parts(mine, other, m):
    """Hold both sides' parts against each other, and against each example exactly once."""
    assert len(mine) == len(other)
    for part, reference in zip(mine, other, strict=True):
        assert np.array_equal(part, reference.numpy())
        assert_close(part + 1.0, reference.numpy() + 1.0, "indices")
    assert sorted(np.concatenate(mine)) == list(range(m))


@pytest.mark.parity("split")
@given(st.integers(5, 300), parts, st.integers(0, 2**32 - 1))
def test_each_example_in_exactly_one_part(m, ratios, seed):
    """Whatever the sizes: pieces of the order, shared by both sides, or one refusal."""
    order = draw_order(m, np.random.default_rng(seed))
    if 0 in ours.sizes(m, ratios):
        for module in (ours, theirs):
            with pytest.raises(ValueError, match="expected m large enough"):
                module.split(order, ratios)
        return
    mine = ours.split(order, ratios)
    assert_same_parts(mine, theirs.split(order, ratios), m)
    assert tuple(map(len, mine)) == ours.sizes(m, ratios)
    assert np.array_equal(np.concatenate(mine), order)
    assert not any(np.shares_memory(part, order) for part in mine)


def test_random_split_cuts_alike():
    """The third witness: torch's own split, by its own draw and these sizes."""
    m, ratios = 53, (0.6, 0.2, 0.2)
    order = their_draw_order(m, torch.Generator().manual_seed(3)).numpy()
    subsets = torch.utils.data.random_split(
        range(m), ours.sizes(m, ratios), torch.Generator().manual_seed(3)
    )
    other = theirs.split(torch.from_numpy(order), ratios)
    for part, tensor, subset in zip(ours.split(order, ratios), other, subsets, strict=True):
        assert part.tolist() == tensor.tolist() == list(subset.indices)
        tensor.zero_()
    assert np.array_equal(np.sort(order), np.arange(m))


def test_random_split_by_ratios_favours_the_first():
    """What the floors leave goes to the first parts in turn, not to the largest rests."""
    lengths = [len(one) for one in torch.utils.data.random_split(range(7), (0.6, 0.2, 0.2))]
    assert lengths == [5, 1, 1]
    assert ours.sizes(7, (0.6, 0.2, 0.2)) == (4, 2, 1)


def labels(kind, m, rng):
    """Draw labels of unequal classes, sorted by class: (1, m), one-hot or several per example."""
    numbers = np.sort(rng.choice(4, m, p=[0.5, 0.3, 0.15, 0.05]))
    if kind == "binary":
        return (numbers[None] > 1).astype(float), numbers > 1
    if kind == "one-hot":
        return np.eye(4)[:, numbers], numbers
    return np.array([numbers > 1, numbers % 2 == 1]).astype(float), numbers


@pytest.mark.parity("stratified_split")
@pytest.mark.seeds(20)
@pytest.mark.parametrize("ratios", [(0.6, 0.2, 0.2), (0.7, 0.3), (0.9, 0.05, 0.05)], ids=str)
@pytest.mark.parametrize("kind", ["binary", "one-hot", "several"])
def test_classes_are_split_in_proportion(kind, ratios, rng):
    """Parts of exact size, each class within one example of its share, in the order given."""
    m = int(rng.integers(40, 120))
    Y, classes = labels(kind, m, rng)
    kept, order = Y.copy(), draw_order(m, rng)
    mine = ours.stratified_split(Y, order, ratios)
    assert_same_parts(mine, theirs.stratified_split(rows(Y), order, ratios), m)
    assert tuple(map(len, mine)) == ours.sizes(m, ratios)
    for number in np.unique(classes):
        for part, ratio in zip(mine, ratios, strict=True):
            share = ratio * (classes == number).sum()
            assert abs((classes[part] == number).sum() - share) <= 1 + 1e-9
    place = np.argsort(order)
    assert all((np.diff(place[part]) > 0).all() for part in mine)
    assert np.array_equal(Y, kept)


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=8),
    parts,
    st.integers(0, 2**32 - 1),
)
def test_many_small_classes_add_up(counts, ratios, seed):
    """Rounding each class by itself would favour one part ten times; the totals stay exact."""
    m, order = sum(counts), draw_order(sum(counts), np.random.default_rng(seed))
    classes = np.repeat(np.arange(len(counts)), counts)
    if 0 in ours.sizes(m, ratios):
        return
    Y = np.eye(len(counts))[:, classes]
    mine = ours.stratified_split(Y, order, ratios)
    assert_same_parts(mine, theirs.stratified_split(rows(Y), order, ratios), m)
    assert tuple(map(len, mine)) == ours.sizes(m, ratios)
    table = np.array([np.bincount(classes[part], minlength=len(counts)) for part in mine])
    assert np.abs(table - np.outer(ratios, counts)).max() <= 1 + 1e-9


def test_ten_classes_of_seven():
    """7 is 4.2 + 1.4 + 1.4 in each class: the 10 odd examples go to all parts, 42, 14 and 14."""
    Y = np.eye(10)[:, np.repeat(np.arange(10), 7)]
    mine = ours.stratified_split(Y, np.arange(70), (0.6, 0.2, 0.2))
    assert [len(part) for part in mine] == [42, 14, 14]
    assert ours.sizes(7, (0.6, 0.2, 0.2))[1] * 10 == 20


def test_a_plain_split_of_sorted_classes_misses_some():
    """Data sorted by class and not shuffled: the dev set has classes that train never saw."""
    classes = np.repeat([0, 1, 2], [60, 20, 20])
    order, ratios = np.arange(100), (0.6, 0.2, 0.2)
    plain = [set(classes[part]) for part in ours.split(order, ratios)]
    assert plain == [{0}, {1}, {2}]
    stratified = ours.stratified_split(np.eye(3)[:, classes], order, ratios)
    assert [np.bincount(classes[part]).tolist() for part in stratified] == [
        [36, 12, 12],
        [12, 4, 4],
        [12, 4, 4],
    ]


@pytest.mark.parity("k_fold")
@given(st.integers(2, 100), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_each_example_is_held_out_once(m, k, seed):
    """Train and held out are a partition each time, the held out are one over all times."""
    order = draw_order(m, np.random.default_rng(seed))
    if k > m:
        for module in (ours, theirs):
            with pytest.raises(ValueError, match="expected k to be at most m"):
                module.k_fold(order, k)
        return
    mine, other = ours.k_fold(order, k), theirs.k_fold(order, k)
    assert len(mine) == len(other) == k
    for folds, references in zip(mine, other, strict=True):
        assert_same_parts(folds, references, m)
        train, held_out = folds
        assert np.array_equal(train, order[~np.isin(order, held_out)])
        assert not np.shares_memory(held_out, order)
    given = torch.from_numpy(order.copy())
    for part in (part for parts in theirs.k_fold(given, k) for part in parts):
        part.fill_(-1)
    assert np.array_equal(given.numpy(), order)
    held_out = [fold for _, fold in mine]
    assert np.array_equal(np.concatenate(held_out), order)
    lengths = [len(fold) for fold in held_out]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parity("take")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_take_copies_columns(dtype, rng):
    """The columns named, repeated where named twice, as torch takes rows; Subset agrees."""
    X = rng.standard_normal((3, 8)).astype(dtype)
    indices = np.array([5, 0, 5, 7])
    mine = ours.take(X, indices)
    reference = theirs.take(rows(X), indices)
    assert_close(mine, columns(reference), "columns")
    assert np.array_equal(mine, columns(reference))
    subset = torch.utils.data.Subset(rows(X), indices.tolist())
    assert np.array_equal(mine, columns(torch.stack(list(subset))))
    assert not np.shares_memory(mine, X)
    assert np.array_equal(mine, ours.take(X, indices.astype(np.uint16)))
    assert np.array_equal(mine, columns(theirs.take(rows(X), indices.astype(np.uint16))))


def test_train_dev_test_of_data(rng):
    """From one order to three sets of examples with their labels."""
    X = np.arange(20.0)[None]
    Y = (X % 2 == 0).astype(float)
    for part in ours.stratified_split(Y, draw_order(20, rng), (0.6, 0.2, 0.2)):
        assert np.array_equal(ours.take(X, part) % 2 == 0, ours.take(Y, part) == 1)
        assert 2 * ours.take(Y, part).sum() == len(part)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
def test_an_order_of_any_whole_numbers(dtype):
    """Small and unsigned integers name the same examples on both sides, and keep their dtype."""
    order = np.random.default_rng(0).permutation(20).astype(dtype)
    Y, thirds = (np.arange(20.0) % 3 == 0)[None].astype(float), (1 / 3, 1 / 3, 1 / 3)

    def parts(side, order, Y):
        yield from side.split(order, thirds)
        yield from side.stratified_split(Y, order, thirds)
        for train, held_out in side.k_fold(order, 3):
            yield from (train, held_out)

    mine, other = list(parts(ours, order, Y)), list(parts(theirs, order, rows(Y)))
    tensors = list(parts(theirs, torch.from_numpy(order), rows(Y)))
    expected = list(parts(ours, order.astype(int), Y))
    for part, *references, numbers in zip(mine, other, tensors, expected, strict=True):
        assert np.array_equal(part, numbers)
        assert part.dtype == order.dtype
        for reference in references:
            assert np.array_equal(reference.numpy(), numbers)
            assert reference.numpy().dtype == order.dtype
