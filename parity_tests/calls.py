"""Calls that a row's example makes, recorded, so that checks can make them again and spoil them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from parity_tests.house import key
from parity_tests.plugin.claims import recording
from parity_tests.rows import SIDES, Twin
from parity_tests.twins import all_twins


def calls_of(row: Twin) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Return by path the public functions that a row's example calls, and with which arguments.

    Edges show those that the row proves and its example leaves out; those that only other rows
    prove are theirs.
    """
    modules = [f"{side}.{row.stem}".replace(".course_", ".course.") for side in SIDES]
    public = {
        f"{module}.{name}": getattr(sys.modules[module], name)
        for module in modules
        for name in getattr(sys.modules.get(module), "__all__", ())
    }
    functions = {path: one for path, one in public.items() if inspect.isfunction(one)}
    proven = {path for path, one in functions.items() if one.__name__ in row.proves}
    found: dict[str, dict[str, Any]] = {}
    for settings in ({}, *row.edges.values()):
        case = row.case(**settings)
        with recording(*modules) as calls:
            for side in SIDES:
                row.run(side, case)
        found = calls | found
        if proven <= found.keys():
            break
    stem = [one for one in all_twins().values() if one.stem == row.stem]
    others = {key(name) for one in stem for name in one.proves} - set(map(key, row.proves))
    return {
        path: (public[path], given)
        for path, given in found.items()
        if key(path.rpartition(".")[2]) not in others
    }
