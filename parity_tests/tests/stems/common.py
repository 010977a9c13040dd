"""Questions that tests of several stems ask: of either side, of a refusal, of draws."""

import importlib
from dataclasses import fields

import numpy as np
import pytest
import scipy.stats
import torch

from parity_tests.compare.budgets import ALARM, of_draws
from parity_tests.rows import SIDES
from parity_tests.twins.schedules import TWINS
from scratch import schedules

#: choices of each schedule of ours: those of its row's example.
EXAMPLES = {row.proves[0]: row.case() for row in TWINS}
SCHEDULES = {
    name: {field.name: EXAMPLES[make.__name__][field.name] for field in fields(make)}
    for name, make in schedules.SCHEDULES.items()
}


def sides(stem):
    """Return the decorator that asks a test of both modules of a stem."""
    modules = [importlib.import_module(f"{side}.{stem}") for side in SIDES]
    return pytest.mark.parametrize("side", modules, ids=SIDES)


def source(side, seed=0):
    """Return a generator of a side, by the name of its argument."""
    if side.__name__.startswith("scratch"):
        return {"rng": np.random.default_rng(seed)}
    return {"generator": torch.Generator().manual_seed(seed)}


def refused(words, function, *arguments, **named):
    """Hold a call to being refused, with a message that expects something in these words."""
    with pytest.raises((TypeError, ValueError), match=f"(?s)expected .*{words}"):
        function(*arguments, **named)


def assert_drawn_from(distribution, draws):
    """Hold draws to one of SciPy's distributions, and each to being unrelated to the next."""
    if isinstance(distribution.dist, scipy.stats.rv_discrete):
        values, counts = np.unique(draws, return_counts=True)
        found = scipy.stats.chisquare(counts, draws.size * distribution.pmf(values))
    else:
        found = scipy.stats.kstest(draws, distribution.cdf)
    assert found.pvalue > ALARM
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < of_draws(draws.size).relative
