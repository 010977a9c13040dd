"""Holding a case that hypothesis draws: turned away, condensed in the ledger, pasted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import reject

from parity_tests.compare.ledger import LEDGER
from parity_tests.properties.agreement import VacuousError


def paste_ready(check: Callable[[Any], None], case: Any) -> str:
    """Return a test that checks this case and nothing else, whole with its import."""
    kind, name = type(case).__name__, check.__name__
    return (
        f"from parity_tests.properties import {kind}, {name}\n\n\n"
        f"def test_{name.removeprefix('check_')}_of_a_pasted_case():\n"
        f"    {name}({case!r})\n"
    )


#: where the examples of the running property begin in the ledger, by its name.
_begun: dict[str, int] = {}


def hold(check: Callable[[Any], None], case: Any) -> None:
    """Check a case of a running property; where it fails, the error carries a test to be pasted.

    Of the comparisons of all examples the ledger keeps the worst of each quantity.
    """
    key = f"{LEDGER.concept}::{LEDGER.case}"
    if key not in _begun:
        _begun.clear()
        _begun[key] = len(LEDGER.entries)
    try:
        check(case)
    except VacuousError:
        reject()
    except Exception as error:
        error.add_note(f"\nThe same failure, to be pasted:\n\n{paste_ready(check, case)}")
        raise
    finally:
        LEDGER.condense(_begun[key])
