"""Fixture of tests whose comparisons are lies."""

from __future__ import annotations

import pytest

from parity_tests.compare.ledger import LEDGER


@pytest.fixture
def unrecorded():
    """Keep comparisons of this test out of the report."""
    with LEDGER.unrecorded():
        yield
