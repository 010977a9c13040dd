"""A function whose validation takes anything, for the check of refusals to see."""

from __future__ import annotations

from typing import Any

from scratch._validation import Floats


def halve(x: Any) -> Any:
    """Return half of anything."""
    return x


halve.__validation__ = {"x": Floats("n")}  # type: ignore[attr-defined]
