"""Mistakes: wrong forms of a concept, and how they are typed into a module for a while."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from unittest.mock import patch

#: quantities by name.
Values = Mapping[str, Any]

#: attributes that make a function do what it does.
CODE = attrgetter("__code__", "__defaults__", "__kwdefaults__")

#: objects of a module, made elsewhere, that a mistake may replace: rules with choices, classes.
SWAPPED = (functools.partial, type)


@dataclass(frozen=True)
class Change:
    """A mistake typed into a module: pairs of an old text, once in its source, and a new one."""

    module: str
    hunks: tuple[tuple[str, str], ...]

    def apply(self, source: str) -> str:
        """Return the source with the mistake in it, or raise ValueError where it does not fit."""
        for old, new in self.hunks:
            if (found := source.count(old)) != 1:
                expected = f"expected {old!r} in {self.module} once, got {found} times"
                raise ValueError(f"{expected}: the patch of a mistake wants to be written anew")
            source = source.replace(old, new)
        return source

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Let the module's own functions, whoever holds them, run the changed code for a while."""
        original, changed = importlib.import_module(self.module), ModuleType(self.module)
        source = self.apply(Path(str(original.__file__)).read_text())
        exec(compile(source, f"{self.module} with a mistake", "exec"), vars(changed))
        wrong, before = functions_of(changed), []
        for name, function in functions_of(original).items():
            other = wrong.get(name, function)
            if len(other.__code__.co_freevars) == len(function.__code__.co_freevars):
                before.append((function, CODE(function)))
                function.__code__, function.__defaults__, function.__kwdefaults__ = CODE(other)
        constants = {
            name: value
            for name, value in vars(changed).items()
            if name not in vars(original)
            or literal(value)
            or (isinstance(value, SWAPPED) and getattr(value, "__module__", "") != self.module)
        }
        try:
            with patch.dict(vars(original), constants):
                yield
        finally:
            for function, code in before:
                function.__code__, function.__defaults__, function.__kwdefaults__ = code


def literal(value: Any) -> bool:
    """Tell whether a value is made of numbers and strings alone."""
    value = tuple(value.values()) if isinstance(value, Mapping) else value
    if isinstance(value, tuple):
        return all(map(literal, value))
    return isinstance(value, float | int | str)


def functions_of(module: ModuleType) -> dict[str, FunctionType]:
    """Return the functions and methods that a module defines, behind their validation, by name."""
    found = {}
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) == module.__name__:
            for key, one in vars(value).items() if isinstance(value, type) else [("", value)]:
                plain = getattr(one, "fget", None) or getattr(one, "__func__", one)
                plain = inspect.unwrap(plain) if callable(plain) else plain
                if isinstance(plain, FunctionType):
                    found[f"{name}.{key}"] = plain
    return found


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrong form of a concept: where it was seen, and how its wrong values come about.

    `values(**case)` returns some of the row's quantities as the mistake computes them, `wrong` is
    the torch object of a tempting translation, `change` types it into the code, which gives the
    values where neither does. At the edge `at`, or the row's example, the worst quantity is off by
    `margin` of the largest right entry, infinity for what is no number at all; without a margin
    nothing is measured. `missing` names what a machine lacks to measure it. A mistake that is seen
    only `beside` the row is a matter of statistics, or of what stands ready once a module is
    imported: the tests of its stem catch it.
    """

    name: str
    seen: str = ""
    why: str = ""
    values: Callable[..., Values] | None = None
    wrong: Callable[..., Any] | None = None
    change: Change | None = None
    margin: float = 0.0
    at: str = ""
    beside: bool = False
    missing: Callable[[], str] = str


def change(module: str, *lines: str) -> Change:
    """Return the change of lines that begin with "- " for the old text and "+ " for the new one."""
    hunks: list[tuple[list[str], list[str]]] = []
    for line in lines:
        if line[0] == "-" and (not hunks or hunks[-1][1]):
            hunks.append(([], []))
        hunks[-1][line[0] == "+"].append(line[2:])
    return Change(module, tuple(("\n".join(old), "\n".join(new)) for old, new in hunks))


def planted_in(path: Path) -> dict[str, list[Mistake]]:
    """Return the mistakes of a file by the row they belong to.

    A line "@@ row, module" begins those of a module; "@@ row, module, beside" those that are seen
    beside the row only. A mistake is "name: where it was seen, or why", then its patch: the old
    text in lines that begin with "-", no whole lines perhaps, and the new one in lines with "+".
    Several patches of one mistake follow each other, an empty line ends it.
    """
    found: dict[str, list[Mistake]] = {}
    for section in path.read_text().removeprefix("@@ ").split("\n@@ "):
        head, _, text = section.partition("\n")
        row, module, *beside = head.split(", ")
        for part in text.strip().split("\n\n"):
            first, *lines = part.split("\n")
            (name, _, seen), typed = first.partition(": "), change(module, *lines)
            one = Mistake(name=name, seen=seen, change=typed, beside=bool(beside))
            found.setdefault(row, []).append(one)
    return found
