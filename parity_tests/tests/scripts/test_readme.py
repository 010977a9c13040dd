"""The README: its code runs, its commands are the ones that work, its list of names is complete."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from parity_tests.tests.house.test_architecture import STEMS

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the README is not beside the package")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    text = README.read_text() if README.is_file() else ""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


#: the README's examples in order, and the accuracy that each prints at least, second or third.
EXAMPLES = {"scratch": 0.9, "everything": 0.9, "torch_ref": 0.9, "course": None}
EXAMPLES |= {"own layer": None, "own loss": None, "own optimizer": None}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_library_examples_run(example, capsys):
    """Both sides learn the four quadrants, the harness passes code of a reader's own."""
    code = dict(zip(EXAMPLES, blocks("python"), strict=True))[example]
    exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out.split()
    assert printed or example == "own optimizer"
    if EXAMPLES[example]:
        assert float(printed[2 if example == "everything" else 1]) > EXAMPLES[example]


def pinned_torch() -> str:
    """Return the requirement of torch that the dev extra pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = project["optional-dependencies"]["dev"]
    return next(pin for pin in pins if pin.startswith("torch=="))


def test_the_first_command_installs_and_runs_the_main_job():
    """The two commands are the first two shell blocks, which .ci/run takes from here."""
    install, test = blocks("sh")[:2]
    assert "venv" in install
    assert f'pip install {pinned_torch()} ".[dev]"' in install
    assert f'pip install {pinned_torch()} -e ".[dev]"' in (ROOT / "CONTRIBUTING.md").read_text()
    assert install.rstrip().endswith("python scripts/compare.py")
    assert test.rstrip().endswith("python -m pytest -n auto")


def test_the_list_of_names_is_up_to_date():
    """Every public name of today stands in the README."""
    run = subprocess.run(
        [sys.executable, "scripts/readme.py", "names", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_every_linked_file_exists():
    """No link or picture of the README points to nothing."""
    links = re.findall(r"\]\(([^)]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_has_a_row_of_errors(stem):
    """The table of what the suite shows names each concept."""
    text = README.read_text()
    table = text.partition("<!-- begin parity")[2].partition("<!-- end parity")[0]
    assert f"\n| {stem} |" in table


def test_generated_parts_are_filled():
    """Each generated part has a table, or a figure."""
    text = README.read_text()
    for part in ("compare", "parity", "benchmark", "names"):
        content = text.partition(f"<!-- begin {part}")[2].partition(f"<!-- end {part}")[0]
        assert content.count("|") > 10, part
    for part in ("mutation", "planted", "deep"):
        content = text.partition(f"<!-- begin {part}")[2].partition(f"<!-- end {part}")[0]
        assert re.search(r"\*\*.*\d", content), part


def test_the_gallery_is_light():
    """The pictures of the README's own folder are shown there, and are small files."""
    images = sorted((ROOT / "scripts" / "images").glob("*.png"))
    assert len(images) >= 3
    for path in images:
        assert f"(scripts/images/{path.name})" in README.read_text()
        assert path.stat().st_size < 150_000, path.name
