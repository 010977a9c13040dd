"""Processes that hold the heavy libraries and run tests of changed code in forks of themselves.

A cold server has torch, NumPy and pytest but nothing of this project: its forks import a changed
module afresh. A warm server has collected the tests too: where only the bodies of functions
changed, its forks exchange their code in place, and what no test has imported yet is imported
changed. Nothing on disk changes; a process that a test starts itself does not see the change.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from inspect import CO_OPTIMIZED
from itertools import chain
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from mutants.jobs import PROFILE_LIMIT, ROOT, SCRIPTS, SLOWER, TWINS, Job, Profile, Verdict, path_of

#: bytes that a fork may take: a changed shape can ask for all there is.
MEMORY = 12 << 30

#: tests that start processes or read sources, in which the code would be unchanged, or that want
#: the health checks that forks leave out.
UNCHANGED = (
    "parity_tests/tests/meta/test_options.py::test_a_run[a vacuous property]",
    "parity_tests/tests/stems/test_search.py::test_processes_give_what_one_gives",
    "parity_tests/tests/scripts/test_training.py::test_by_hand_in_a_process_alone",
    f"{TWINS}::test_mistake_is_seen",
)

#: flags of pytest: nothing is written, nothing printed.
QUIET = ["-q", *("-p", "no:cacheprovider"), *("-p", "no:randomly"), "--no-header", "--tb=line"]
QUIET += ["--assert=plain", "--hypothesis-profile=few", *(f"--deselect={one}" for one in UNCHANGED)]

#: libraries that a server holds beside torch and hypothesis.
LIBRARIES = ("matplotlib.pyplot", "scipy.optimize", "scipy.stats", "sklearn.datasets")

#: live functions by file and code.
Functions = dict[tuple[str, CodeType], list[FunctionType]]


class Changed(SourceFileLoader):
    """Finds and loads one module, with another source under the same path."""

    def __init__(self, module: str, source: str) -> None:
        super().__init__(module.removeprefix(SCRIPTS), str(path_of(module)))
        self._source, self.loaded = source, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        self.loaded = True
        return spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Reporter:
    def __init__(self, pipe: Connection, job: Job) -> None:
        self._pipe, self._job, self._start = pipe, job, time.perf_counter()
        self._ran, self._current = 0, ""
        self._failed: dict[str, str] = {}  # the message of each test
        signal.signal(signal.SIGPROF, self.hung)

    def answer(self, how: str = "", failed: str = "", message: str = "") -> None:
        """Send the verdict and leave at once, whatever stands on the stack."""
        if failed:
            self._failed.setdefault(failed, message)
        how = how or ("failure" if self._failed else "")
        said, spent = next(iter(self._failed.values()), ""), time.perf_counter() - self._start
        # as a plain tuple: the test may have imported another class of this name
        self._pipe.send((tuple(self._failed), how, said, self._ran, spent))
        os._exit(0)

    def hung(self, signum: int, frame: FrameType | None) -> None:
        self.answer("time limit", self._current)

    def watch(self, limit: float, current: str) -> None:
        """Set the limit of what comes next, in the time of the processor, which others may load."""
        self._current = current
        signal.setitimer(signal.ITIMER_PROF, limit)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        usual = self._job.seconds.get(nodeid, 1.0)
        self.watch(self._job.patience + SLOWER * usual, nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._ran += report.when == "call"
        if report.failed:
            self._failed.setdefault(report.nodeid, _last_line(report))
            if not self._job.all_failures:
                self.answer()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.answer("import", report.nodeid, _last_line(report))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = self._job.chosen(items)


def _last_line(report: Any) -> str:
    return str(report.longrepr).strip().splitlines()[-1][:300]


def _fork(pipe: Connection, work: Callable[[Connection], None], limit: float) -> Any:
    """Return the answer of `work` from a fork, or the verdict on a fork that did not answer."""
    mine, theirs = Pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        pipe.close()
        mine.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()  # what the tests start, or interrupt, ends with this fork
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            work(theirs)
        except BaseException as error:
            with contextlib.suppress(Exception):
                theirs.send(((), f"the fork failed: {error!r}"))
        os._exit(0)
    theirs.close()

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    how = "time limit"
    try:
        if mine.poll(limit):
            answer = mine.recv()
            return Verdict(*answer) if type(answer) is tuple else answer
    except EOFError:  # a signal, or the memory limit, has ended it
        how = "crash"
    finally:
        mine.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return Verdict(how=how, seconds=time.perf_counter() - start)


def _load_libraries() -> None:
    """Import what costs seconds and is none of ours, and keep it to one thread."""
    for name in LIBRARIES:
        importlib.import_module(name)
    import hypothesis
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.Linear(1, 1)
    layer(torch.zeros(1, 1)).sum().backward()
    torch.optim.SGD(layer.parameters()).step()  # the first step of all imports much more of torch
    hypothesis.settings.register_profile(
        "few",
        derandomize=True,
        deadline=None,
        max_examples=20,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def serve_cold(pipe: Connection) -> None:
    gc.collect()
    gc.freeze()
    while True:
        question = pipe.recv()
        if isinstance(question, Job):
            answer = _fork(pipe, partial(_run_afresh, question), question.limit)
        else:
            answer = _fork(pipe, partial(_profile, question), PROFILE_LIMIT)
        pipe.send(answer)


def _plant(job: Job) -> Changed:
    """Let the module of a job be imported changed; it may be one of this folder."""
    changed = Changed(job.module, job.source)
    sys.meta_path.insert(0, changed)
    for name in [one for one in sys.modules if one.partition(".")[0] == "mutants"]:
        del sys.modules[name]
    return changed


def _run_afresh(job: Job, out: Connection) -> None:
    changed = _plant(job) if job.module else None
    reporter = _Reporter(out, job)
    reporter.watch(60, "")
    status = pytest.main([*QUIET, *job.files], plugins=[reporter])
    if status not in (0, 1, pytest.ExitCode.NO_TESTS_COLLECTED):
        reporter.answer("import", "collection", f"pytest ended with {status!r}")
    reporter.answer("never imported" if changed and not changed.loaded else "")


class _Clock:
    """A plugin: each test has its own context of coverage, and its seconds are kept."""

    def __init__(self, coverage: Any) -> None:
        self._coverage, self.seconds, self.failed = coverage, Counter[str](), list[str]()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)

    def pytest_runtest_logfinish(self) -> None:
        self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        self.failed += [report.nodeid] if report.failed else []

    def pytest_collectreport(self, report: Any) -> None:
        self.failed += [report.nodeid] if report.failed else []


def _profile(files: Sequence[str], out: Connection) -> None:
    from coverage import Coverage

    measured = Coverage(data_file=None, source=["scratch", "torch_ref"], config_file=False)
    clock, lines = _Clock(measured), {}
    measured.start()
    pytest.main([*QUIET, *files], plugins=[clock])
    measured.stop()
    data = measured.get_data()
    for file in data.measured_files():
        found = data.contexts_by_lineno(file)
        lines[str(Path(file).relative_to(ROOT))] = {n: frozenset(one) for n, one in found.items()}
    out.send(Profile(clock.seconds, lines, tuple(clock.failed)))


class _Warm:
    """A plugin whose test loop answers jobs, each in a fork that runs collected tests."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        gc.collect()
        functions = _live_functions()
        gc.freeze()
        while True:
            job = self._pipe.recv()
            work = partial(_run_in_place, job, session, functions)
            self._pipe.send(_fork(self._pipe, work, job.limit))


def _run_in_place(job: Job, session: Any, functions: Functions, out: Connection) -> None:
    reporter, changed = _Reporter(out, job), None
    if job.module in sys.modules:
        try:
            _swap(job, functions)
        except ValueError as error:
            reporter.answer(f"not exchanged: {error}")
    elif job.module:
        changed = _plant(job)
    session.config.pluginmanager.register(reporter)
    items = {item.nodeid: item for item in session.items}
    chosen = [items[one] for one in job.tests] or job.chosen(session.items)
    for item, following in zip(chosen, [*chosen[1:], None], strict=True):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    reporter.answer("never imported" if changed and not changed.loaded else "")


def _live_functions() -> Functions:
    found: Functions = {}
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename.startswith(str(ROOT)):
            found.setdefault((one.__code__.co_filename, one.__code__), []).append(one)
    return found


def _swap(job: Job, functions: Functions) -> None:
    """Give the live functions of a module their changed code; ValueError where more differs."""
    path = path_of(job.module)
    before, after = (_codes(one, str(path)) for one in (path.read_text(), job.source))
    pairs = (zip(codes, after.get(name, []), strict=False) for name, codes in before.items())
    changed = [(old, new) for old, new in chain.from_iterable(pairs) if old != new]
    if not changed:
        raise ValueError("nothing differs")
    for old, new in changed:
        if not old.co_flags & CO_OPTIMIZED and _own(old) != _own(new):
            raise ValueError("a module's or a class's own code differs")
    for old, new in changed:
        for function in functions.get((str(path), old), []):
            function.__code__ = new


def _codes(source: str, path: str) -> dict[str, list[CodeType]]:
    """Return the code of a module, its classes and its functions, by qualified name."""
    codes, found = [compile(source, path, "exec", dont_inherit=True)], dict[str, list[CodeType]]()
    for code in codes:  # grows on the way
        found.setdefault(code.co_qualname, []).append(code)
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]
    return found


def _own(code: CodeType) -> tuple[Any, ...]:
    """Return a code object's own instructions; repr tells 1 from 1.0 and from True."""
    plain = [None if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, plain


def main(cold: str, warm: str, *files: str) -> None:
    """Serve until the pipes are closed: the warm server is a fork of the cold one."""
    pipes = Connection(int(cold)), Connection(int(warm))
    _load_libraries()
    sys.dont_write_bytecode = True
    parent = os.fork()
    own, other = pipes if parent else reversed(pipes)
    other.close()
    with contextlib.suppress(EOFError, BrokenPipeError):
        if parent:
            serve_cold(own)
        else:
            own.poll(None)  # nothing is collected before it is asked for
            pytest.main([*QUIET, *files], plugins=[_Warm(own)])


if __name__ == "__main__":
    main(*sys.argv[1:])
