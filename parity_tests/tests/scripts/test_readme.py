"""The README: its code runs, its commands are the ones that work, its list of names is complete."""

from __future__ import annotations

import re
import tomllib

import pytest

from parity_tests.tests.house.test_architecture import STEMS
from parity_tests.tests.scripts.conftest import ROOT

README = ROOT / "README.md"
TEXT = README.read_text() if README.is_file() else ""

pytestmark = pytest.mark.skipif(not TEXT, reason="the README is not beside the package")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def generated(part):
    return TEXT.partition(f"<!-- begin {part}")[2].partition(f"<!-- end {part}")[0]


#: the README's examples in order, and the accuracy that each prints at least, second or third.
EXAMPLES = {"scratch": 0.9, "everything": 0.9, "torch_ref": 0.9, "course": None}
EXAMPLES |= {"own layer": None, "own loss": None, "own optimizer": None}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_library_examples_run(example, capsys):
    code = dict(zip(EXAMPLES, blocks("python"), strict=True))[example]
    exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out.split()
    assert printed or example == "own optimizer"
    if EXAMPLES[example]:
        assert float(printed[2 if example == "everything" else 1]) > EXAMPLES[example]


def test_the_first_command_installs_and_runs_the_main_job():
    """The two commands are the first two shell blocks, which .ci/run takes from here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = project["optional-dependencies"]["dev"]
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    install, test = blocks("sh")[:2]
    assert "venv" in install
    assert f'pip install {torch} ".[dev]"' in install
    assert f'pip install {torch} -e ".[dev]"' in (ROOT / "CONTRIBUTING.md").read_text()
    assert install.rstrip().endswith("python scripts/compare.py")
    assert test.rstrip().endswith("python -m pytest -n auto")


def test_the_generated_parts_are_filled_and_the_list_of_names_is_up_to_date(script):
    """Each has a table, or a figure; that of what the suite shows names each concept."""
    assert script("readme").main(["names", "--check"]) == 0
    for part in ("compare", "parity", "benchmark", "names"):
        assert generated(part).count("|") > 10, part
    for part in ("mutation", "planted", "deep"):
        assert re.search(r"\*\*.*\d", generated(part)), part
    assert [stem for stem in STEMS if f"\n| {stem} |" not in generated("parity")] == []


def test_every_linked_file_exists_and_the_gallery_is_light():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    images = sorted((ROOT / "scripts" / "images").glob("*.png"))
    assert len(images) >= 3
    for path in images:
        assert f"(scripts/images/{path.name})" in TEXT
        assert path.stat().st_size < 150_000, path.name
