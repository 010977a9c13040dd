"""The options of the suite: a pytest plugin that an entry point loads, before any conftest.

In a conftest they would come too late for `--parity-report PATH`, whose PATH pytest would take for
a test, and for `--pyargs parity_tests`, whose conftest it meets while collecting. As the plugin is
loaded by every run of pytest beside this project, it imports nothing heavy and offers its options,
whose names other projects have too, only where the tests to run are these.

One thing no plugin mends: where no test is named, pytest looks for its configuration beside a PATH
that exists already. For a report outside of the checkout, `--parity-report=PATH` keeps it.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import pytest

from parity_tests.compare.files import make_room

#: the package of these tests.
PACKAGE = __name__.partition(".")[0]

#: values of the options that `all` stands for, and those that they have by default.
ALL = {"device": ("cpu", "cuda"), "dtype": ("float32", "float64")}
DEFAULTS = {"device": "cpu", "dtype": "all"}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if not _concerned(pluginmanager.get_plugin("pytestconfig")):
        return
    add = parser.getgroup("parity", "parity of scratch and torch").addoption
    told = {
        "device": "where torch computes: cuda runs only the tests that can, all runs both",
        "dtype": "the precision of the tests that take one",
    }
    for name, text in told.items():
        text = f"{text} (default: %(default)s)"
        add(f"--{name}", choices=[*ALL[name], "all"], default=DEFAULTS[name], help=text)
    add("--parity-report", metavar="PATH", type=Path, help="write every comparison as JSON")
    text = 'draw everything anew: any number from 0, or "random" (default: %(default)s)'
    add("--parity-seed", metavar="N", type=_seed, default=0, help=text)


def _concerned(config: Any) -> bool:
    """Tell whether the working directory or an argument of pytest leads to these tests."""
    named = config.known_args_namespace
    folder = config.invocation_params.dir
    if named.pyargs and any(one.split(".")[0] == PACKAGE for one in named.file_or_dir):
        return True
    paths = [folder, *((folder / one.partition("::")[0]).resolve() for one in named.file_or_dir)]
    return any(PACKAGE in path.parts or (path / PACKAGE).is_dir() for path in paths)


def _seed(text: str) -> int:
    if text == "random":
        return random.SystemRandom().randrange(1, 2**32)
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number from 0, or random, got {text!r}")
    return int(text)


def chosen(config: pytest.Config, name: str) -> tuple[str, ...]:
    """Return the devices, or dtypes, that were asked for."""
    value = config.getoption(name, DEFAULTS[name])
    return ALL[name] if value == "all" else (value,)


def chosen_seed(config: pytest.Config) -> int:
    """Return the number that is mixed into the seed of every test, 0 by default."""
    return int(config.getoption("parity_seed", 0))


def report_path(config: pytest.Config) -> Path | None:
    path = config.getoption("parity_report", None)
    return config.invocation_params.dir / path if path else None


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a report that could not be written after the tests have run.

    The controller of pytest-xdist collects nothing and so meets no conftest by `--pyargs`: the
    table, the report and the count of its workers need it all the same.
    """
    if config.getoption("parity_seed", None) is not None and getattr(config.option, "tx", None):
        conftest = Path(__file__).parents[1] / "conftest.py"
        loaded = (getattr(one, "__file__", None) for one in config.pluginmanager.get_plugins())
        if str(conftest) not in loaded:
            config.pluginmanager.import_plugin(f"{PACKAGE}.conftest")
    try:
        if path := report_path(config):
            make_room(path)
    except OSError as error:
        expected = "expected --parity-report to name a file that can be written"
        raise pytest.UsageError(f"{expected}: {error}") from error


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.getoption("parity_seed", None) is None:
        return None
    asked = ", ".join(f"{name} {config.getoption(name)}" for name in ALL)
    return f"parity: {asked}, --parity-seed={chosen_seed(config)}"
