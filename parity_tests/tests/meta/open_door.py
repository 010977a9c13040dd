"""A function whose validation admits everything, for the check of refusals to see."""

from __future__ import annotations

from typing import Any

from scratch._door import Floats


def halve(x: Any) -> Any:
    """Return half of anything."""
    return x


halve.__door__ = {"x": Floats("n")}  # type: ignore[attr-defined]
