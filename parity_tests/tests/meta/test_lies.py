"""Lies are caught and explained, right code passes."""

from __future__ import annotations

import pytest

from parity_tests.compare.budgets import WIDE
from parity_tests.compare.ledger import LEDGER
from parity_tests.tests.meta.lies import ENTRIES, HONEST, LIES, PAIRS, WIDE_LIES


@pytest.fixture(autouse=True)
def _forget():
    with LEDGER.unrecorded():
        yield


@pytest.mark.parametrize("name", HONEST)
def test_right_code_passes(name, rng):
    HONEST[name](rng)


@pytest.mark.parametrize("name", [*LIES, *(WIDE_LIES if WIDE else ())])
def test_a_lie_is_caught(name, rng):
    tell, says = {**LIES, **WIDE_LIES}[name]
    with pytest.raises(AssertionError, match=says):
        tell(rng)


@pytest.mark.parametrize(
    ("name", "entry"),
    [(n, d) for n in PAIRS for d in ENTRIES if "output" not in d or not n.startswith("gradient")],
)
def test_a_wrong_pair_is_caught(name, entry, rng):
    forward, backward, says = PAIRS[name]
    with pytest.raises(AssertionError, match=says):
        ENTRIES[entry](forward, backward, rng)
