"""Calls made: a test that names functions of `scratch` must call and compare them."""

from __future__ import annotations

import copy
import inspect
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


@contextmanager
def recording(*modules: str) -> Iterator[dict[str, dict[str, Any]]]:
    """Collect the arguments of the first call of each public function and class of modules."""
    calls: dict[str, dict[str, Any]] = {}

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        code, module = frame.f_code, frame.f_globals.get("__name__")
        if event != "call" or module not in modules:
            return
        owner = frame.f_locals["self"] if code.co_name == "__init__" else frame
        name = code.co_name if owner is frame else type(owner).__name__
        function = frame.f_globals.get(name)
        body: Any = vars(function).get("__init__") if isinstance(function, type) else function
        while hasattr(body, "__wrapped__"):
            body = body.__wrapped__
        path = f"{module}.{name}"
        known = name in frame.f_globals["__all__"] and getattr(body, "__code__", None) is code
        if known and path not in calls:
            sys.setprofile(None)
            values = inspect.getargvalues(frame).locals
            given = {one: values[one] for one in inspect.signature(body).parameters}
            # neither self, nor fields that a dataclass is about to fill
            kept = {n: one for n, one in given.items() if n != "self" and repr(one) != "<factory>"}
            calls[path] = copy.deepcopy(kept)
            sys.setprofile(watch)

    sys.setprofile(watch)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def unproven(claims: set[str], called: set[Any], comparisons: int) -> str:
    """Say why a claim of parity is empty, or return ""."""
    if claims and not comparisons:
        return f"claims parity of {sorted(claims)} but compared nothing"
    names = {code.co_qualname.split(".")[0] for code in called}
    missing = claims - names
    return f"claims parity of {sorted(missing)} but never called it" if missing else ""
