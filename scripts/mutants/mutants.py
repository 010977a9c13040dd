"""Mutants: every change that cosmic-ray's operators make, and those known as equivalent.

An annotation is never evaluated, so a change inside one is no mutant; neither is a source that does
not compile, nor a change that nobody makes: `is` for another comparison, zip without `strict`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_item import MutationSpec

from mutants.jobs import ROOT

#: modules of torch_ref that translate hyper-parameters into torch's.
TRANSLATIONS = (
    *("batch_norm", "clipping", "costs", "dropout", "initializers", "moving_averages"),
    *("normalization", "optimizers", "regularization", "schedules"),
)

#: the survivors that have been looked at, each with the reason why no test can tell it apart.
EQUIVALENT = ROOT / "scripts" / "equivalent_mutants.toml"


class Mutant(NamedTuple):
    """One change: an operator of cosmic-ray at its n-th place in a file."""

    file: str  # from the root of the project
    operator: str
    occurrence: int
    line: int
    definition: str  # the innermost function or class, "" outside of them
    digest: str  # of the file

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    @property
    def identity(self) -> str:
        return f"{self.file}:{self.operator}:{self.occurrence}:{self.digest}"

    def source(self) -> str:
        text = mutate_code(_text(self.file), get_operator(self.operator)(), self.occurrence)
        assert text is not None, self
        return str(text)

    def change(self) -> Change:
        before, after = _text(self.file).splitlines(), self.source().splitlines()
        while before and after and before[0] == after[0]:
            del before[0], after[0]
        while before and after and before[-1] == after[-1]:
            del before[-1], after[-1]
        return Change(self.file, self.definition, _joined(before), _joined(after))


def misspelt(source: str) -> str:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""


class Change(NamedTuple):
    """Description of a mutant that outlives a shift of its lines."""

    file: str
    definition: str
    before: str
    after: str


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(line.strip() for line in lines)


@cache
def _text(file: str) -> str:
    return (ROOT / file).read_text()


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse(_text(file))


def mutated_files() -> list[str]:
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "scratch").rglob("*.py"))
    return [*files, *(f"torch_ref/{name}.py" for name in TRANSLATIONS)]


def all_mutants(files: Sequence[str]) -> list[Mutant]:
    return [mutant for file in files for mutant in _of_file(file)]


def _of_file(file: str) -> Iterator[Mutant]:
    digest = hashlib.sha256(_text(file).encode()).hexdigest()[:12]
    left_out = [
        ((one.lineno, one.col_offset), (one.end_lineno, one.end_col_offset))
        for one in _left_out(_tree(file))
    ]
    for item in _all_work_items([ROOT / file], {}):
        spec: MutationSpec = item.mutations[0]
        identities = sum(one in ("Is", "IsNot") for one in spec.operator_name.split("_"))
        if identities != 1 and not any(start <= spec.start_pos < end for start, end in left_out):
            name = spec.definition_name or ""
            yield Mutant(file, spec.operator_name, spec.occurrence, spec.start_pos[0], name, digest)


def _left_out(tree: ast.AST) -> Iterator[Any]:
    for node in ast.walk(tree):
        names = ("annotation", "returns")
        yield from (one for name in names if (one := getattr(node, name, None)) is not None)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip":
            yield from (one.value for one in node.keywords if one.arg == "strict")


def statement(mutant: Mutant) -> range | None:
    """Return the lines of the statement that changes, None where it runs at import.

    Of a compound statement these are the lines of its head.
    """
    statements = (one for one in ast.walk(_tree(mutant.file)) if isinstance(one, ast.stmt))
    around = [one for one in statements if _first(one) <= mutant.line <= (one.end_lineno or 0)]
    functions = (one for one in around if isinstance(one, ast.FunctionDef))
    inside = any(mutant.line not in _head(one) for one in functions)
    return _head(around[-1]) if inside else None


def _head(node: ast.stmt) -> range:
    body: list[ast.stmt] = getattr(node, "body", [])
    last = max(_first(body[0]) - 1, _first(node)) if body else node.end_lineno or 0
    return range(_first(node), last + 1)


def _first(node: ast.stmt) -> int:
    """Return the line a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def known_equivalents() -> dict[Change, str]:
    """Return the reviewed list: each change and the reason why no test can tell it apart.

    Raises ValueError for an entry that is listed twice or gives no reason.
    """
    found: dict[Change, str] = {}
    for entry in tomllib.loads(EQUIVALENT.read_text()).get("equivalent", []):
        for after in entry["after"]:
            change = Change(entry["file"], entry.get("in", ""), entry["before"], after)
            if change in found or not entry["reason"].strip():
                raise ValueError(f"listed twice or without a reason: {change}")
            found[change] = entry["reason"]
    return found


def as_toml(change: Change, reason: str = "") -> str:
    """Return the entry of a change in the reviewed list."""
    file, definition, before, after = (json.dumps(one, ensure_ascii=False) for one in change)
    return (  # TOML's strings escape as JSON's do
        f"[[equivalent]]\nfile = {file}\nin = {definition}\nbefore = {before}\n"
        f"after = [{after}]\nreason = {json.dumps(reason)}\n"
    )
