"""Fixtures of the tests of scripts, which run where the scripts are beside the package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"

if not SCRIPTS.is_dir():
    collect_ignore_glob = ["test_*.py"]

#: quantities of demonstrations that have been computed, and the epochs that make them short.
COMPUTED = {}
EPOCHS = {"learning-curves": 1, "search": 1, "trajectories": 2}


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import a script, or what it shares, by its name, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


@pytest.fixture
def refused(script, capsys):
    """Run a script with flags that must leave with status 2; return the message."""

    def run(name, flags):
        with pytest.raises(SystemExit) as left:
            script(name).main(flags)
        assert left.value.code == 2
        message = capsys.readouterr().err
        assert "error: " in message
        return message

    return run


@pytest.fixture
def quantities(script):
    """Return the quantities of a demonstration by name, computed once for all tests."""

    def of(name):
        if name not in COMPUTED:
            own = script("runs.demonstrations").DEMONSTRATIONS[name]
            COMPUTED[name] = {one.name: one for one in own.quantities(EPOCHS.get(name))}
        return COMPUTED[name]

    return of


@pytest.fixture
def is_picture():
    return lambda path: path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 5000


@pytest.fixture
def alone(tmp_path):
    """Return the arguments of a process that runs code with nothing but the project."""
    environment = {"PYTHONPATH": f"{SCRIPTS}:{ROOT}", "PATH": "/usr/bin:/bin"}
    return lambda code: {"args": [sys.executable, "-c", code], "cwd": tmp_path, "env": environment}
