"""Processes that hold the heavy libraries and run tests of changed code in forks of themselves.

A cold server has torch, NumPy and pytest but nothing of this project: its forks import a changed
module afresh. A warm server has collected the tests too: where only the bodies of functions
changed, its forks exchange their code in place, and a test runs at once. Nothing on disk changes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from mutants.forking import ROOT, Changed, compiled

#: this module, as the other side and its pickles know it.
MODULE = "mutants.fork_server"

#: a test may take so many seconds, and so many times what it takes unchanged, before it hangs.
PATIENCE, SLOWER = 5.0, 20.0

#: bytes that a fork may take: a changed shape can ask for all there is.
MEMORY = 12 << 30

#: seconds that all tests may take unchanged, under coverage.
PROFILE_LIMIT = 1800.0

#: tests that start processes, in which the code would be unchanged.
SPAWNING = ("parity_tests/tests/stems/test_search.py::test_processes_give_what_one_gives",)

#: flags of pytest: nothing is written, nothing printed, the first failure ends it.
QUIET = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=line"]
QUIET += ["--assert=plain", "--hypothesis-profile=few"]
QUIET += [f"--deselect={one}" for one in SPAWNING]


@dataclass(frozen=True)
class Job:
    """A changed module, the tests to run in their order, and the seconds each takes unchanged."""

    module: str
    source: str
    tests: Sequence[str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    patience: float = PATIENCE


@dataclass(frozen=True)
class Verdict:
    """What became of a job: the first test that failed, "" where none did, and how."""

    failed: str
    reason: str = ""
    ran: int = 0
    seconds: float = 0.0


class UnswappableError(Exception):
    """The change reaches what runs when the module is imported."""


class Server:
    """A server process, cold or warm, and the pipe to it."""

    def __init__(self, kind: str, files: Sequence[str] = ()) -> None:
        """Start it; a warm one collects the test files."""
        near, far = socket.socketpair()
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, kind, str(far.fileno()), *files],
            pass_fds=[far.fileno()],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the one who asks
        )
        far.close()
        self._pipe = Connection(near.detach())

    def ask(self, question: Any) -> Any:
        """Send a job and return its answer; raises RuntimeError where the server has died."""
        try:
            self._pipe.send(question)
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"the server of the tests has died: {error!r}") from error

    def stop(self) -> None:
        """End the server and what it has forked."""
        self._process.terminate()
        self._process.wait()
        self._pipe.close()


class _OneSeed:
    """A plugin: of a test that is repeated with many seeds the first alone is run."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: Any) -> None:
        own = metafunc.definition.own_markers
        own[:] = [pytest.mark.seeds(1).mark if one.name == "seeds" else one for one in own]


class _Reporter:
    """A plugin that runs in a fork: it keeps the first failure and puts an end to what hangs."""

    def __init__(self, pipe: Connection, job: Job) -> None:
        self._pipe, self._job, self._start = pipe, job, time.perf_counter()
        self._ran, self._current = 0, ""

    def answer(self, failed: str, reason: str = "") -> None:
        """Send the verdict and leave at once, whatever stands on the stack."""
        spent = time.perf_counter() - self._start
        self._pipe.send(Verdict(failed, reason, self._ran, spent))
        os._exit(0)

    def hung(self, signum: int, frame: FrameType | None) -> None:
        """Give up on a test that takes many times its usual time."""
        self.answer(self._current or "collection", "time limit")

    def watch(self, limit: float, current: str) -> None:
        """Set the limit of what comes next, in the time of the processor, which others may load."""
        self._current = current
        signal.setitimer(signal.ITIMER_PROF, limit)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        usual = self._job.seconds.get(nodeid, 1.0)
        self.watch(self._job.patience + SLOWER * usual, nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.answer(report.nodeid, str(report.longrepr).strip().splitlines()[-1][:300])
        if report.when == "call":
            self._ran += 1

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            lines = str(report.longrepr).strip().splitlines()
            self.answer(f"{report.nodeid} (import)", lines[-1][:300])


class _Select:
    """A plugin: the tests of a job, in its order; what the change has added comes last."""

    def __init__(self, tests: Sequence[str], known: Iterable[str]) -> None:
        self._rank = {one: i for i, one in enumerate(tests)}
        self._known = set(known)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        last = len(self._rank)
        chosen = [i for i in items if i.nodeid in self._rank or i.nodeid not in self._known]
        items[:] = sorted(chosen, key=lambda item: self._rank.get(item.nodeid, last))


def _fork(pipe: Connection, work: Any, limit: float) -> Any:
    """Return what `work(pipe)` sends from a fork, or the verdict on a fork that did not answer."""
    near, far = socket.socketpair()
    mine, theirs = Connection(near.detach()), Connection(far.detach())
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        pipe.close()
        mine.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)  # what the tests start ends with this fork
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            work(theirs)
        except BaseException as error:
            with contextlib.suppress(Exception):
                theirs.send(Verdict("", f"the fork failed: {error!r}", -1))
        os._exit(0)
    theirs.close()

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    try:
        if mine.poll(limit):
            return mine.recv()
        return Verdict("(fork)", "time limit", 0, time.perf_counter() - start)
    except EOFError:  # a signal, or the memory limit, has ended it
        return Verdict("(fork)", "crash", 0, time.perf_counter() - start)
    finally:
        mine.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _limit(job: Job) -> float:
    return 60 + SLOWER * sum(job.seconds.get(one, 0.1) for one in job.tests)


def _load_libraries() -> None:
    """Import what costs seconds and is none of ours, and keep it to one thread."""
    import hypothesis
    import torch
    from matplotlib import pyplot as plt

    plt.switch_backend("Agg")
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
    """Answer jobs with verdicts; a list of files with their tests, seconds and lines."""
    _load_libraries()
    sys.dont_write_bytecode = True
    gc.collect()
    gc.freeze()
    while True:
        question = pipe.recv()
        if isinstance(question, Job):
            answer = _fork(pipe, partial(_run_afresh, question), _limit(question))
        else:
            answer = _fork(pipe, partial(_profile, question), PROFILE_LIMIT)
        pipe.send(answer)


def _run_afresh(job: Job, out: Connection) -> None:
    """Run the tests of a job in this process, which has imported nothing of the project."""
    changed = Changed(job.module, job.source)
    sys.meta_path.insert(0, changed)
    reporter = _Reporter(out, job)
    signal.signal(signal.SIGPROF, reporter.hung)
    reporter.watch(60, "")
    files = list(dict.fromkeys(one.split("::")[0] for one in job.tests))
    chosen = _Select(job.tests, job.seconds)
    status = pytest.main([*QUIET, *files], plugins=[_OneSeed(), chosen, reporter])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        reporter.answer("collection", f"pytest ended with {status!r}")
    if not changed.loaded:
        raise RuntimeError(f"{job.module} was never imported")
    reporter.answer("")


@dataclass(frozen=True)
class Profile:
    """What the unchanged tests take, in seconds, and the lines each runs; "" is import time."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, frozenset[str]]]  # by file, then line
    failed: tuple[str, ...]


class _Clock:
    """A plugin: each test has its own context of coverage, and its seconds are kept."""

    def __init__(self, coverage: Any) -> None:
        self._coverage, self.seconds, self.failed = coverage, {}, []  # type: ignore[var-annotated]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[Any]:
        self._coverage.switch_context(item.nodeid)
        start = time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.perf_counter() - start
            self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def _profile(files: Sequence[str], out: Connection) -> None:
    """Run the unchanged tests under coverage; send their profile."""
    from coverage import Coverage

    measured = Coverage(data_file=None, source=["scratch", "torch_ref"], config_file=False)
    clock = _Clock(measured)
    measured.start()
    flags = [flag for flag in QUIET if flag != "-x"]
    pytest.main([*flags, *files], plugins=[_OneSeed(), clock])
    measured.stop()
    data = measured.get_data()
    lines = {
        str(Path(file).relative_to(ROOT)): {
            line: frozenset(contexts) for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    out.send(Profile(clock.seconds, lines, tuple(clock.failed)))


class _Warm:
    """A plugin whose test loop answers jobs, each in a fork that runs collected tests."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        gc.collect()
        functions = _live_functions()
        gc.freeze()
        while True:
            job = self._pipe.recv()

            def work(out: Connection, job: Job = job) -> None:
                try:
                    _swap(job, functions)
                except UnswappableError as error:
                    out.send(error)
                    return
                reporter = _Reporter(out, job)
                signal.signal(signal.SIGPROF, reporter.hung)
                session.config.pluginmanager.register(reporter)
                chosen = [items[one] for one in job.tests]
                for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                    item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                reporter.answer("")

            self._pipe.send(_fork(self._pipe, work, _limit(job)))


def _live_functions() -> dict[tuple[str, int, str], list[FunctionType]]:
    """Return the functions of the project that there are, by file, line and name."""
    found: dict[tuple[str, int, str], list[FunctionType]] = {}
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename.startswith(str(ROOT)):
            code = one.__code__
            key = code.co_filename, code.co_firstlineno, code.co_qualname
            found.setdefault(key, []).append(one)
    return found


def _swap(job: Job, functions: Mapping[tuple[str, int, str], list[FunctionType]]) -> None:
    """Give the live functions of a module their changed code.

    Raises UnswappableError where that is not all that differs.
    """
    origin = sys.modules[job.module].__file__
    assert origin is not None
    before, after = compiled(Path(origin).read_text(), origin), compiled(job.source, origin)
    changed = list(_changed_functions(before, after))
    if not changed:
        raise UnswappableError("nothing differs")
    for old, new in changed:
        live = functions.get((old.co_filename, old.co_firstlineno, old.co_qualname), [])
        for function in live:
            if function.__code__ == old:
                try:
                    function.__code__ = new
                except ValueError as error:
                    raise UnswappableError(str(error)) from error


def _changed_functions(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield the functions whose code differs, before and after.

    Raises UnswappableError where the body of a module or of a class differs.
    """
    if before == after:
        return
    if before.co_flags & 1:  # CO_OPTIMIZED: a function
        yield before, after
    elif _own(before) != _own(after):
        raise UnswappableError("a module's or a class's own code differs")
    for old, new in zip(_nested(before), _nested(after), strict=False):
        yield from _changed_functions(old, new)


def _nested(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _own(code: CodeType) -> tuple[Any, ...]:
    """Return what a code object does itself; repr tells 1 from 1.0 and from True."""
    plain = [None if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, plain


def serve_warm(pipe: Connection, files: Sequence[str]) -> None:
    """Collect the files and answer jobs with verdicts, or with UnswappableError."""
    _load_libraries()
    sys.dont_write_bytecode = True
    pytest.main([*QUIET, *files], plugins=[_OneSeed(), _Warm(pipe)])


def main(kind: str, descriptor: str, *files: str) -> None:
    """Serve until the pipe is closed."""
    pipe = Connection(int(descriptor))
    with contextlib.suppress(EOFError, BrokenPipeError):
        if kind == "warm":
            serve_warm(pipe, files)
        else:
            serve_cold(pipe)


if __name__ == "__main__":
    # under the name that the other side has pickled
    sys.modules[MODULE] = sys.modules["__main__"]
    for _class in (Job, Verdict, Profile, UnswappableError):
        _class.__module__ = MODULE
    main(*sys.argv[1:])
