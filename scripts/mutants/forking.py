"""Tests of one changed module in a forked process: nothing on the disk changes, a run costs a fork.

A process that has called `preload` holds torch, pytest and whatever else is slow to import. Each
`run_changed` forks it; the child forgets the packages under test, imports the one module from the
source it was given, runs pytest and sends back what failed. What a test starts as a process of its
own (`test_architecture`, `test_figures`, `test_readme`, `test_scripts`, the workers in
`test_search`) reads the files on the disk, and does not see the change.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

#: what a child imports anew, as any of it may hold on to the module that changes.
PACKAGES = ("scratch", "torch_ref", "parity_tests")

#: what the tests import, or torch when it first needs it; none of it holds on to the packages.
LIBRARIES = (
    "hypothesis",
    "numpy",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.datasets",
    "torch",
    "torch._dynamo",
)

#: hypothesis was imported before pytest could rewrite its asserts, which it does not need.
OPTIONS = ("-q", "--tb=short", "-p", "no:cacheprovider", "-W", "ignore:Module already imported")

#: seconds after which a run is cut short: the slowest tests of a concept take a fifth.
LIMIT = 120.0


class Verdict(NamedTuple):
    """What the tests said of one changed module."""

    failed: tuple[str, ...]  # the ids of the tests that failed
    seconds: float
    #: "" where the tests ran to their end, else why not: a signal, a timeout, no collection
    reason: str
    message: str  # the first line of what failed first

    @property
    def caught(self) -> bool:
        """Tell whether the change was noticed: by a test, or by the death of the process.

        Code that cannot be imported is no such thing, nor is a limit of time on a busy machine.
        """
        return bool(self.failed) or self.reason.startswith("signal")


def preload() -> None:
    """Import the libraries, once for all children; a signal ends this process and its child."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    for name in LIBRARIES:
        importlib.import_module(name)


def _leave_at_once(number: int, _: Any) -> None:
    for child in active_children():
        _kill(child)
    os._exit(128 + number)


def _kill(child: Any) -> None:
    """Kill a child and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def source_of(module: str) -> str:
    """Return the source of a module of the packages, as it stands on the disk."""
    return (ROOT / f"{module.replace('.', '/')}.py").read_text()


@cache
def tests_of(concept: str) -> str:
    """Return the path of the tests of a concept, in whichever room they are."""
    missing = ROOT / "parity_tests" / "tests" / "stems" / f"test_{concept}.py"
    return str(next((ROOT / "parity_tests").rglob(missing.name), missing))


def run_changed(
    module: str,
    source: str,
    tests: Sequence[str],
    *,
    limit: float = LIMIT,
    stop_at_first: bool = True,
) -> Verdict:
    """Return what these tests, paths or ids, say where `module` has another source."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    options = ["-x"] if stop_at_first else []
    start = time.perf_counter()
    arguments = (sender, module, source, [*options, *tests])
    child = context.Process(target=_test, args=arguments)
    child.start()
    sender.close()
    failed, reason, message = _wait(receiver, child, limit)
    child.join()
    receiver.close()
    return Verdict(failed, time.perf_counter() - start, reason, message)


def _wait(receiver: Connection, child: Any, limit: float) -> tuple[tuple[str, ...], str, str]:
    """Return what the child sends, or why it cannot."""
    if not receiver.poll(limit):
        _kill(child)
        return (), f"timeout after {limit:g} s", ""
    try:
        failed, reason, message = receiver.recv()
    except EOFError:  # it died before it could say anything
        child.join()
        code = child.exitcode
        died = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return (), died, ""
    return failed, reason, message


def compiled(source: str, path: str) -> CodeType:
    """Return the code of a module; `x is "text"` and the like is what a changed one may say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return compile(source, path, "exec", dont_inherit=True)


class Changed(MetaPathFinder):
    """Finds one module, with another source under the same path."""

    def __init__(self, module: str, source: str) -> None:
        """Take the name of the module and its other source."""
        self.module, self.source, self.loaded = module, source, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the module, None for every other."""
        if fullname != self.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            self.loaded = True
            spec.loader = _ChangedLoader(fullname, spec.origin, self.source)
        return spec


class _ChangedLoader(SourceFileLoader):
    """Loads a source that was given, past the files and past the cache of compiled code."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_source(self, fullname: str) -> str:
        """Return the source that was given."""
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source that was given."""
        return compiled(self._source, self.path)


class _First:
    """A plugin of pytest that asks one finder before pytest's own, which rewrites asserts.

    That one claims whatever an installation brings beside a plugin, the packages under test too.
    """

    def __init__(self, finder: MetaPathFinder) -> None:
        self._finder = finder

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        """Move the finder to the front, before anything of the packages is imported."""
        sys.meta_path.remove(self._finder)
        sys.meta_path.insert(0, self._finder)


class _Failures:
    """A plugin of pytest that remembers what failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.uncollected: list[str] = []
        self.message = ""

    def _remember(self, report: pytest.TestReport | pytest.CollectReport, ids: list[str]) -> None:
        if report.failed and report.nodeid not in ids:
            ids.append(report.nodeid)
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash else report.longreprtext.strip().rpartition("\n")[2]
            self.message = self.message or text.partition("\n")[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a test that fails, before, in or after its call."""
        self._remember(report, self.failed)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a file whose tests cannot be collected."""
        self._remember(report, self.uncollected)


def _test(sender: Connection, module: str, source: str, arguments: list[str]) -> None:
    """Run pytest in this process, a child, and send (failed, reason, message)."""
    os.setsid()  # tests that interrupt their group interrupt themselves alone
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w")
    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in list(sys.modules):
        if name.partition(".")[0] in PACKAGES:
            del sys.modules[name]
    changed, failures = Changed(module, source), _Failures()
    sys.meta_path.insert(0, changed)
    options = [*OPTIONS, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    status = pytest.main([*options, *arguments], plugins=[_First(changed), failures])
    if not failures.failed and status != pytest.ExitCode.OK:
        reason = f"no tests ran: {pytest.ExitCode(status).name.lower()}"
        if failures.uncollected:
            reason = f"not collected: {', '.join(failures.uncollected)}"
    else:
        reason = "" if changed.loaded else "never imported"
    sender.send((tuple(failures.failed), reason, failures.message))
