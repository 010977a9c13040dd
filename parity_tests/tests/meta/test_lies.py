"""Lies are caught and explained, right code passes."""

from __future__ import annotations

import pytest

from parity_tests.compare.budgets import WIDE
from parity_tests.tests.meta.lies import HONEST, LIES, WIDE_LIES

pytestmark = pytest.mark.usefixtures("unrecorded")


@pytest.mark.parametrize("name", HONEST)
def test_right_code_passes(name, rng):
    HONEST[name](rng)


@pytest.mark.parametrize("name", [*LIES, *(WIDE_LIES if WIDE else ())])
def test_a_lie_is_caught(name, rng):
    tell, says = (LIES | WIDE_LIES)[name]
    with pytest.raises(AssertionError, match=says):
        tell(rng)
