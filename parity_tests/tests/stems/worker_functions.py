"""Cost functions that worker processes run: of the standard library alone, to be there at once.

A test copies this module to a folder of its own: workers import it without `parity_tests`, which
takes seconds.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

#: no event is waited for longer, in seconds.
PATIENCE = 120.0


def waiting_cost(point: dict[str, Any]) -> float:
    """Wait for the point's file to be there, make another, fail if it says so, return a cost."""
    deadline = time.monotonic() + PATIENCE
    while not Path(point["waits_for"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody made {point['waits_for']}")
        time.sleep(0.001)
    time.sleep(point["then_sleeps"])
    if "fails_after" in point:
        Path(point["fails_after"]).touch()
        raise FloatingPointError("diverged")
    return math.sin(point["rate"])
