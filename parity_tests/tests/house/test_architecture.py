"""The house: who imports whom, a stem's three files, every public name's twin and proof."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

import parity_tests
import scratch
import torch_ref
from parity_tests.calls import calls_of
from parity_tests.house import COURSE, ELSEWHERE, STEMS, computes, key, public
from parity_tests.twins import all_twins

HOUSE = {one.__name__: Path(one.__file__).parent for one in (scratch, torch_ref, parity_tests)}
ROOT = HOUSE["scratch"].parent
MAP = ROOT / "CONTRIBUTING.md"

#: packages that each may import besides itself and the standard library; no other.
ALLOWED = {
    "scratch": "numpy",
    "torch_ref": "torch",
    "parity_tests": "scratch torch_ref numpy scipy sklearn torch pytest hypothesis threadpoolctl",
}

#: the concepts of both courses that the house holds, whatever else it may hold.
CONCEPTS = """
    activations linear costs logistic_regression parameters network initializers regularization
    dropout batch_norm gradient_checking clipping moving_averages mini_batches optimizers schedules
    splits normalization augmentation early_stopping diagnosis search training
"""

each_stem = pytest.mark.parametrize("stem", STEMS)


def imported(source: str) -> set[str]:
    """Return the top-level names that a source imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else (node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", HOUSE)
def test_imports_point_one_way(package):
    allowed = {package, *ALLOWED[package].split(), *sys.stdlib_module_names}
    for path in HOUSE[package].rglob("*.py"):
        assert imported(path.read_text()) <= allowed, path


def test_a_forbidden_import_would_be_seen():
    sources = {"import torch.nn": "torch", "def f():\n    from torch import nn": "torch"}
    for source, name in {**sources, "from . import x": "."}.items():
        assert imported(source) == {name}


def test_no_concept_no_file_of_a_stem_and_no_marker_is_missing():
    """The mirror holds in both directions; type checkers of users find the marker."""
    assert set(CONCEPTS.split()) <= set(STEMS)
    course = "deep gradient_checking initialization optimization planar regularization"
    assert course.split() == COURSE
    assert sorted(path.stem for path in HOUSE["torch_ref"].glob("[a-z]*.py")) == STEMS
    for name in [name for stem in STEMS for name in (f"{stem}.py", f"mistakes/{stem}.diff")]:
        assert (HOUSE["parity_tests"] / "twins" / name).is_file(), name
    assert all((folder / "py.typed").is_file() for folder in HOUSE.values())


@each_stem
def test_every_public_name_has_a_twin(stem):
    """All but the caches, whose part autograd plays; tables have the same keys."""
    theirs = public("torch_ref", stem)
    twins = {key(name) for name in theirs}
    for name, value in public("scratch", stem).items():
        assert key(name) in twins or name.endswith("Cache"), name
        if isinstance(value, Mapping):
            assert value.keys() == theirs[name].keys(), name


def documented(module: str) -> dict[str, str]:
    """Return the docstrings of the functions and classes without a leading underscore, by name."""
    nodes = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text()).body
    found = [one for one in nodes if isinstance(one, ast.FunctionDef | ast.ClassDef)]
    return {one.name: ast.get_docstring(one) or "" for one in found if one.name[0] != "_"}


@cache
def called(stem: str) -> set[str]:
    """Return the paths of functions that rows of a stem call."""
    return {path for row in all_twins().values() if row.stem == stem for path in calls_of(row)}


@each_stem
@pytest.mark.parametrize("package", ["scratch", "torch_ref"])
def test_public_functions_are_named_sourced_validated_and_called(package, stem):
    """A documented name is in __all__; rows call each, so that the generic checks ask it all."""
    named = public(package, stem)
    for name, text in documented(f"{package}.{stem}").items():
        assert name in named or "Source: " not in text, name
    for name, value in named.items():
        if inspect.isfunction(value):
            assert "Source: " in value.__doc__, name
            if computes(name, value):
                assert f"{package}.{stem}.{name}" in called(stem)
                assert name in ELSEWHERE or value.__validation__, name


def claims(stem: str) -> set[str]:
    """Return the names that rows, and `parity` marks on tests, claim to prove of a stem."""
    names = {name for row in all_twins().values() if row.stem == stem for name in row.proves}
    for path in HOUSE["parity_tests"].rglob(f"test_{stem}.py"):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        marks = [one for test in vars(module).values() for one in getattr(test, "pytestmark", ())]
        names |= {name for mark in marks if mark.name == "parity" for name in mark.args}
    return names


@each_stem
def test_every_public_name_has_a_parity_check(stem):
    names = {name for name, value in public("scratch", stem).items() if computes(name, value)}
    assert names <= claims(stem)


@pytest.mark.parametrize("name", COURSE)
def test_the_course_is_public_documented_and_proven(name):
    # another name of a function is as documented and as proven as that function
    functions = {one.__name__: one for one in public("scratch.course", name).values()}
    assert functions.keys() == documented(f"scratch.course.{name}").keys()
    assert functions.keys() <= claims(f"course_{name}")
    for one, function in functions.items():
        assert "Source: Course " in function.__doc__, one
        assert hasattr(function, "__validation__"), one


def loaded(*names: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after importing these."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    found = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    return {name.split(".")[0] for name in found.split()}


def test_all_of_scratch_leaves_torch_unloaded():
    """Importing every stem loads NumPy and nothing heavier; a heavier one would be seen."""
    heavy = {"torch", "scipy", "matplotlib", "sklearn", "torch_ref", "parity_tests"}
    names = [*STEMS, *(f"course.{name}" for name in COURSE)]
    assert loaded(*(f"scratch.{name}" for name in names)) & {"numpy", *heavy} == {"numpy"}
    assert loaded("scratch", "parity_tests") & heavy


@pytest.mark.skipif(not MAP.is_file(), reason="the papers are not beside the package")
def test_the_map_of_rooms_is_true():
    """Each folder with files has one line in CONTRIBUTING, and no line names one that went."""
    section = MAP.read_text().partition("\n## Rooms\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \| \S", section, re.MULTILINE)
    paths = [path for one in (*HOUSE, "scripts") for path in (ROOT / one).rglob("*")]
    rooms = {str(one.parent.relative_to(ROOT)) for one in paths if one.suffix in (".py", ".diff")}
    assert sorted(named) == sorted(rooms)


#: who may transpose: the bridge, its lies, this text, and strangers whose examples are rows.
LAYOUTS_OF_THEIR_OWN = {"bridge", "lies", "test_architecture", "user_code"}


def test_only_the_bridge_transposes():
    """No other module of the harness or the tests turns columns to rows."""
    for path in HOUSE["parity_tests"].rglob("*.py"):
        if path.stem not in LAYOUTS_OF_THEIR_OWN:
            assert not re.search(r"\.T\b|transpose\(|swapaxes\(", path.read_text()), path.name


def test_prose_begins_with_a_name_or_a_verb():
    """No docstring or comment hides its noun in a clause."""
    for folder in (*HOUSE.values(), ROOT / "scripts"):
        for path in folder.rglob("*.py"):
            clauses = re.findall(
                r'^ *(?:"""|#:? )(?:Return |Yield )?(?:what|how) .*', path.read_text(), re.M | re.I
            )
            assert clauses == [], path
