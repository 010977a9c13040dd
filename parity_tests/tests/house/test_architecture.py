"""The house: who imports whom, a stem's three files, every public name's twin and proof."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

import parity_tests
import scratch
import torch_ref
from parity_tests.checks import calls_of
from parity_tests.house import COURSE, STEMS, computes, key, public
from parity_tests.twins import all_twins

HOUSE = {package.__name__: Path(package.__file__).parent for package in (scratch, torch_ref)}
HOUSE["parity_tests"] = Path(parity_tests.__file__).parent

STDLIB = sys.stdlib_module_names


#: what each package may import; anything else is refused.
ALLOWED = {
    "scratch": {"scratch", "numpy", *STDLIB},
    "torch_ref": {"torch_ref", "torch", *STDLIB},
    "parity_tests": {
        "parity_tests",
        "scratch",
        "torch_ref",
        "numpy",
        "scipy",
        "torch",
        "pytest",
        "hypothesis",
        "sklearn",  # for its data
        "threadpoolctl",
        *STDLIB,
    },
}


def proof_path(name: str) -> Path:
    """Return the path of the tests of a stem or of course_<module>, in whichever room they are."""
    missing = HOUSE["parity_tests"] / "tests" / "stems" / f"test_{name}.py"
    return next(HOUSE["parity_tests"].rglob(missing.name), missing)


def proof(name: str) -> ModuleType:
    """Import the tests of a stem or of course_<module>."""
    path = proof_path(name).relative_to(HOUSE["parity_tests"].parent)
    return importlib.import_module(".".join(path.with_suffix("").parts))


def imported(source: str) -> set[str]:
    """Return the top-level names that a source imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else (node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    "path",
    [path for folder in HOUSE.values() for path in sorted(folder.glob("**/*.py"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_imports_point_one_way(path):
    """Scratch takes NumPy, torch_ref takes torch, only parity_tests knows both."""
    package = next(name for name, folder in HOUSE.items() if folder in path.parents)
    assert imported(path.read_text()) <= ALLOWED[package]


@pytest.mark.parametrize(
    "source",
    ["import torch", "from torch import nn", "def f():\n    import torch.nn", "from . import x"],
)
def test_a_forbidden_import_would_be_seen(source):
    """The scan finds imports of any form."""
    assert not imported(source) <= ALLOWED["scratch"]


#: the concepts of both courses that the house holds, whatever else it may hold.
CONCEPTS = [
    "activations",
    "linear",
    "costs",
    "logistic_regression",
    "parameters",
    "network",
    "initializers",
    "regularization",
    "dropout",
    "batch_norm",
    "gradient_checking",
    "clipping",
    "moving_averages",
    "mini_batches",
    "optimizers",
    "schedules",
    "splits",
    "normalization",
    "augmentation",
    "early_stopping",
    "diagnosis",
    "search",
    "training",
]


@pytest.mark.parametrize("concept", CONCEPTS)
def test_no_concept_is_missing(concept):
    """Every concept of the two courses is a stem."""
    assert concept in STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_a_stem_has_three_files(stem):
    """Each scratch file has its twin and its rows."""
    assert (HOUSE["torch_ref"] / f"{stem}.py").is_file()
    assert (HOUSE["parity_tests"] / "twins" / f"{stem}.py").is_file()


def test_torch_ref_has_no_stem_of_its_own():
    """The mirror holds in the other direction too."""
    assert sorted(path.stem for path in HOUSE["torch_ref"].glob("[a-z]*.py")) == STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_every_public_name_has_a_twin(stem):
    """All but the caches, whose part autograd plays."""
    twins = {key(name) for name in public("torch_ref", stem)}
    names = {name for name in public("scratch", stem) if not name.endswith("Cache")}
    assert {name for name in names if key(name) not in twins} == set()


@pytest.mark.parametrize("stem", STEMS)
def test_all_names_what_is_public(stem):
    """Every function or class without a leading underscore that users meet is in __all__."""
    for package in ("scratch", "torch_ref"):
        module = importlib.import_module(f"{package}.{stem}")
        source = Path(str(module.__file__)).read_text()
        documented = {
            node.name
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and "Source: " in (ast.get_docstring(node) or "")
        }
        assert documented <= set(module.__all__)


@pytest.mark.parametrize("stem", STEMS)
def test_tables_have_the_same_keys(stem):
    """A name known on one side is known on the other."""
    theirs = public("torch_ref", stem)
    for name, table in public("scratch", stem).items():
        if isinstance(table, Mapping):
            assert table.keys() == theirs[name].keys(), name


@pytest.fixture(scope="module")
def claims():
    """Return the names that rows, and marks on tests, claim to prove of each stem."""
    collected: dict[str, set[str]] = {}
    for stem in [*STEMS, *(f"course_{name}" for name in COURSE)]:
        collected[stem] = {
            name for row in all_twins().values() if row.stem == stem for name in row.proves
        }
        if proof_path(stem).is_file():
            collected[stem] |= claimed(proof(stem))
    return collected


def claimed(module: ModuleType) -> set[str]:
    """Return the names claimed by `parity` marks on the tests of a module and on their cases."""
    names = set()
    for test in vars(module).values():
        marks = list(getattr(test, "pytestmark", [])) if callable(test) else []
        for mark in list(marks):
            if mark.name == "parametrize":
                marks += [one for case in mark.args[1] for one in getattr(case, "marks", ())]
        names |= {name for mark in marks if mark.name == "parity" for name in mark.args}
    return names


@pytest.mark.parametrize("stem", STEMS)
def test_every_public_name_has_a_parity_check(stem, claims):
    """Each computing name is claimed by a test, which fails unless it calls and compares it."""
    names = {name for name, value in public("scratch", stem).items() if computes(name, value)}
    assert names - claims[stem] == set()


@pytest.mark.parametrize("stem", STEMS)
def test_every_public_function_is_called_by_a_row(stem):
    """So the generic checks ask it what it refuses, overwrites, draws from and repeats."""
    rows = [row for row in all_twins().values() if row.stem == stem]
    called = {path for row in rows for path, _, _ in calls_of(row)}
    for package in ("scratch", "torch_ref"):
        for name, value in public(package, stem).items():
            if computes(name, value) and inspect.isfunction(value):
                assert f"{package}.{stem}.{name}" in called


#: functions that leave validation to the loop they walk, or to a check of rates that they share.
ELSEWHERE = {"train", "adam", "gradient_descent", "momentum", "rmsprop"}


@pytest.mark.parametrize("stem", STEMS)
def test_every_public_function_is_validated(stem):
    """A function without expectations would pass the check of refusals unasked."""
    for package in ("scratch", "torch_ref"):
        for name, value in public(package, stem).items():
            if computes(name, value) and inspect.isfunction(value) and name not in ELSEWHERE:
                assert value.__validation__, f"{package}.{stem}.{name}"


def test_a_missing_proof_would_be_seen(claims):
    """A module without marks claims nothing."""
    assert claimed(ModuleType("empty")) == set()
    assert all(claims.values())


def test_the_course_is_complete():
    """The vocabulary has its six modules, none of them missed by the tests below."""
    expected = "deep gradient_checking initialization optimization planar regularization"
    assert expected.split() == COURSE


@pytest.mark.parametrize("name", COURSE)
def test_the_course_is_public_documented_and_proven(name, claims):
    module = importlib.import_module(f"scratch.course.{name}")
    functions = {
        node.name: ast.get_docstring(node) or ""
        for node in ast.parse(Path(str(module.__file__)).read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert set(functions) <= set(module.__all__)
    # another name of a function is as documented and as proven as that function
    public_names = {getattr(module, one).__name__ for one in module.__all__}
    assert public_names == set(functions)
    assert [one for one, text in functions.items() if "Source: Course " not in text] == []
    unvalidated = [n for n in public_names if not hasattr(getattr(module, n), "__validation__")]
    assert unvalidated == []
    assert public_names - claims[f"course_{name}"] == set()


CHECK = """
import sys, time
start = time.perf_counter()
import importlib
for name in {names!r}:
    importlib.import_module(name)
print(time.perf_counter() - start, sorted({{name.split('.')[0] for name in sys.modules}}))
"""


def loaded(names: list[str]) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after importing these."""
    code = CHECK.format(names=names)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root()
    )
    return set(ast.literal_eval(run.stdout.split(" ", 1)[1]))


def _root() -> Path:
    return HOUSE["scratch"].parent


def test_all_of_scratch_leaves_torch_unloaded():
    """Importing every stem loads NumPy and nothing heavier."""
    course = [f"scratch.course.{name}" for name in COURSE]
    modules = loaded(["scratch", *(f"scratch.{stem}" for stem in STEMS), *course])
    assert "numpy" in modules
    assert not modules & {"torch", "scipy", "matplotlib", "sklearn", "torch_ref", "parity_tests"}


def test_a_loaded_torch_would_be_seen():
    """The check above notices a module that imports torch."""
    assert "torch" in loaded(["torch_ref.linear"])


@pytest.mark.parametrize("package", HOUSE)
def test_the_package_is_typed(package):
    """Type checkers of users find the marker."""
    assert (HOUSE[package] / "py.typed").is_file()


@pytest.mark.parametrize("stem", STEMS)
def test_every_public_function_names_its_source(stem):
    """A docstring ends with where the formula comes from, on both sides."""
    for package in ("scratch", "torch_ref"):
        module = importlib.import_module(f"{package}.{stem}")
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in module.__all__:
                assert "Source: " in (ast.get_docstring(node) or ""), (
                    f"{package}.{stem}.{node.name}"
                )


@pytest.mark.skipif(
    not (_root() / "CONTRIBUTING.md").is_file(), reason="the papers are not beside the package"
)
def test_the_map_of_rooms_is_true():
    """A folder with Python files has one line in CONTRIBUTING; no line names a folder that went."""
    text = (_root() / "CONTRIBUTING.md").read_text()
    section = text.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \| \S", section, re.MULTILINE)
    files = [path for one in (*HOUSE, "scripts") for path in (_root() / one).rglob("*.py")]
    assert sorted(named) == sorted({str(one.parent.relative_to(_root())) for one in files})


#: who may transpose: the bridge, its lies, this text, and strangers whose examples are rows.
LAYOUTS_OF_THEIR_OWN = (
    *("bridge", "lies", "test_architecture"),
    *("user_code", "test_user_code"),
)


def test_only_the_bridge_transposes():
    """No other module of the harness or the tests turns columns to rows."""
    for path in HOUSE["parity_tests"].glob("**/*.py"):
        if path.stem not in LAYOUTS_OF_THEIR_OWN:
            assert not re.search(r"\.T\b|transpose\(|swapaxes\(", path.read_text()), path.name
