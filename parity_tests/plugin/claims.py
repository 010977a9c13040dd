"""Claims of parity: a test that names functions of `scratch` must call and compare them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import scratch

SCRATCH = str(Path(scratch.__file__).parent)


@contextmanager
def watching() -> Iterator[set[Any]]:
    """Collect the code objects of `scratch` that are called inside."""
    called: set[Any] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(SCRATCH):
            called.add(frame.f_code)

    sys.setprofile(watch)
    try:
        yield called
    finally:
        sys.setprofile(None)


def unproven(claims: set[str], called: set[Any], comparisons: int) -> str:
    """Say why a claim of parity is empty, or return ""."""
    if claims and not comparisons:
        return f"claims parity of {sorted(claims)} but compared nothing"
    names = {code.co_qualname.split(".")[0] for code in called}
    missing = claims - names
    return f"claims parity of {sorted(missing)} but never called it" if missing else ""
