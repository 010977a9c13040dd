"""Fixtures of the tests of scripts, which run where the scripts are beside the package."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"

if not SCRIPTS.is_dir():
    collect_ignore_glob = ["test_*.py"]

#: epochs that make demonstrations short.
EPOCHS = {"learning-curves": 1, "search": 1, "trajectories": 2}


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import a script, or what it shares, by its name, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


@pytest.fixture
def run(script, monkeypatch, capsys):
    """Run a script, which must leave with a status; return all that it printed, and errors."""
    monkeypatch.setattr(script("runs.command_line"), "DPI", 30)

    def main(name, flags="", status=0):
        try:
            left = script(name).main(flags.split())
        except SystemExit as error:
            left = error.code
        printed = capsys.readouterr()
        assert left == status, (flags, printed)
        return printed.out + printed.err

    return main


@cache
def computed(name):
    own = importlib.import_module("runs.demonstrations").DEMONSTRATIONS[name]
    return {one.name: one for one in own.quantities(EPOCHS.get(name))}


@cache
def trained_both(name):
    short = replace(importlib.import_module("runs.experiments").EXPERIMENTS[name], epochs=2)
    return importlib.import_module("runs.agreement").train_both(short)


@pytest.fixture
def quantities(script):
    """Return the quantities of a demonstration by name, computed once for all tests."""
    return computed


@pytest.fixture
def trained(script):
    """Return both sides' run of two epochs of an experiment, trained once for all tests."""
    return trained_both


@pytest.fixture
def is_picture():
    return lambda path: path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 2000
