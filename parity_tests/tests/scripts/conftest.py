"""Fixtures of the tests of scripts, which run where the scripts are beside the package."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"

if not SCRIPTS.is_dir():
    collect_ignore_glob = ["test_*.py"]

#: quantities of demonstrations and runs of experiments that have been computed, for all tests, and
#: the epochs that make demonstrations short.
COMPUTED, TRAINED = {}, {}
EPOCHS = {"learning-curves": 1, "search": 1, "trajectories": 2}


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import a script, or what it shares, by its name, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


@pytest.fixture
def run(script, capsys):
    """Run a script, which must leave with a status; return all that it printed, and errors."""

    def main(name, flags="", status=0):
        try:
            left = script(name).main(flags.split())
        except SystemExit as error:
            left = error.code
        printed = capsys.readouterr()
        assert left == status, (flags, printed)
        return printed.out + printed.err

    return main


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
def trained(script):
    """Return both sides' run of two epochs of an experiment, trained once for all tests."""

    def of(name):
        if name not in TRAINED:
            short = replace(script("runs.experiments").EXPERIMENTS[name], epochs=2)
            TRAINED[name] = script("runs.agreement").train_both(short)
        return TRAINED[name]

    return of


@pytest.fixture
def is_picture():
    return lambda path: path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 5000
