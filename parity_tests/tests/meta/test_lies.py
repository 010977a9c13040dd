"""Lies are caught and explained, right code passes."""

from __future__ import annotations

import pytest

from parity_tests.compare.budgets import WIDE
from parity_tests.tests.meta.lies import ENTRIES, HONEST, LIES, PAIRS, WIDE_LIES

pytestmark = pytest.mark.usefixtures("unrecorded")


@pytest.mark.parametrize("name", HONEST)
def test_right_code_passes(name, rng):
    HONEST[name](rng)


@pytest.mark.parametrize("name", [*LIES, *(WIDE_LIES if WIDE else ())])
def test_a_lie_is_caught(name, rng):
    tell, says = {**LIES, **WIDE_LIES}[name]
    with pytest.raises(AssertionError, match=says):
        tell(rng)


@pytest.mark.parametrize("name", PAIRS)
def test_a_wrong_pair_is_caught(name, rng):
    """By every comparison that asks for this part of it."""
    forward, backward, says = PAIRS[name]
    for entry, tell in ENTRIES.items():
        if not ("output" in entry and name.startswith("gradient")):
            with pytest.raises(AssertionError, match=says):
                tell(forward, backward)(rng)
