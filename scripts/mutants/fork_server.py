"""Processes that hold the heavy libraries and run tests of changed code in forks of themselves.

A cold server has torch, NumPy and pytest but nothing of this project: its forks import a changed
module afresh. A warm server has collected the tests too: where only the bodies of functions
changed, its forks exchange their code in place, and a test runs at once. Nothing on disk changes;
a process that a test starts itself reads the disk, and does not see the change.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

#: the folder of the scripts, whose modules are imported without its name.
SCRIPTS = "scripts."

#: this module, as the other side and its pickles know it.
MODULE = "mutants.fork_server"

#: a test may take so many seconds, and so many times what it takes unchanged, before it hangs.
PATIENCE, SLOWER = 5.0, 20.0

#: bytes that a fork may take: a changed shape can ask for all there is.
MEMORY = 12 << 30

#: seconds that all tests may take unchanged, under coverage, and those of a concept.
PROFILE_LIMIT, CONCEPT_LIMIT = 1800.0, 600.0

#: the generic tests of rows, and the rooms whose tests have one concept.
TWINS = "parity_tests/tests/test_twins.py"
ROOMS = {"meta": "engine", "scripts": "scripts", "house": "house"}

#: tests that start processes or read sources, in which the code would be unchanged, or that want
#: the health checks that forks leave out.
UNCHANGED = (
    "parity_tests/tests/meta/test_options.py::test_a_vacuous_property_fails_and_two_bugs_are_one_failure",
    "parity_tests/tests/stems/test_search.py::test_processes_give_what_one_gives",
    f"{TWINS}::test_mistake_is_seen",
)

#: flags of pytest: nothing is written, nothing printed.
QUIET = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--assert=plain"]
QUIET += ["-p", "no:randomly"]
QUIET += ["--hypothesis-profile=few", *(f"--deselect={one}" for one in UNCHANGED)]

#: what a server holds beside torch and hypothesis.
LIBRARIES = ("matplotlib.pyplot", "scipy.optimize", "scipy.stats", "sklearn.datasets")

#: live functions by file, line and name.
Functions = dict[tuple[str, int, str], list[FunctionType]]

#: stems that have rows, and where a test's id names one.
STEMS = sorted(path.stem for path in ROOT.glob("parity_tests/twins/[a-z]*.py"))
ROW = re.compile(rf"test_twins\.py::.*?[\[-]({'|'.join(STEMS)})[\]:-]")


def concept_of(test: str) -> str:
    """Return the concept of a test's id: its row's stem, its room's, or that of its file's name."""
    if found := ROW.search(test):
        return found[1]
    path = Path(test.partition("::")[0])
    return ROOMS.get(path.parent.name, path.stem.removeprefix("test_"))


def files_of(concept: str) -> list[str]:
    """Return the files, from the root, that tests of a concept are in."""
    for room, name in ROOMS.items():
        if name == concept:
            return [f"parity_tests/tests/{room}"]
    own = sorted(ROOT.glob(f"parity_tests/tests/**/test_{concept}.py"))
    return [TWINS, *(str(path.relative_to(ROOT)) for path in own)]


def path_of(module: str) -> Path:
    """Return the file of a module of the four packages."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@dataclass(frozen=True)
class Job:
    """A changed module, and its tests: ids in their order, or those of a concept.

    `seconds` are what each takes unchanged; without a module nothing changes.
    """

    module: str = ""
    source: str = ""
    tests: Sequence[str] = ()
    concept: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    patience: float = PATIENCE
    all_failures: bool = False  # or the first alone

    @property
    def files(self) -> list[str]:
        """The files of its tests; all there are for failures of every concept."""
        if self.tests:
            return list(dict.fromkeys(one.split("::")[0] for one in self.tests))
        return ["parity_tests"] if self.all_failures else files_of(self.concept)

    @property
    def limit(self) -> float:
        """The seconds after which its fork is given up."""
        if not self.tests:
            return PROFILE_LIMIT if self.all_failures else CONCEPT_LIMIT
        return 60 + SLOWER * sum(self.seconds.get(one, 0.1) for one in self.tests)

    def chosen(self, items: Sequence[Any]) -> list[Any]:
        """Return its tests of those collected, in their order; what the change added comes last."""
        if self.tests:
            rank = {one: i for i, one in enumerate(self.tests)}
            mine = [i for i in items if i.nodeid in rank or i.nodeid not in self.seconds]
            return sorted(mine, key=lambda item: rank.get(item.nodeid, len(rank)))
        if self.all_failures:
            return list(items)
        own = f"test_{self.module.rpartition('.')[2]}"  # of many files the module's own is first
        mine = [item for item in items if concept_of(item.nodeid) == self.concept]
        return sorted(mine, key=lambda item: own not in item.nodeid)


class Verdict(NamedTuple):
    """The tests that failed, and how the run ended.

    `how` is "failure", "import" where code or tests cannot be imported, "time limit", "crash", ""
    where all pass, or the reason why there is no verdict: the change was never tried.
    """

    failed: tuple[str, ...] = ()
    how: str = ""
    message: str = ""  # of the first failure
    ran: int = 0
    seconds: float = 0.0

    @property
    def tried(self) -> bool:
        """Tell whether tests have run, or should have."""
        return self.how in ("", "failure", "import", "time limit", "crash")


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


class Servers:
    """A cold and a warm server, started when they are needed."""

    def __init__(self, files: Sequence[str]) -> None:
        """Take the files that the warm one collects."""
        self._files, self._started, self._stopped = files, dict[str, Server](), False

    def ask(self, kind: str, question: Any) -> Any:
        """Return the answer of the cold or the warm server."""
        if self._stopped:
            raise RuntimeError("the servers were stopped")
        if kind not in self._started:
            self._started[kind] = Server(kind, self._files if kind == "warm" else ())
        return self._started[kind].ask(question)

    def stop(self) -> None:
        """End what was started."""
        self._stopped = True
        for server in self._started.values():
            server.stop()


def side_by_side(work: Sequence[Any], judges: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each piece of work with what one of the judges finds, as they end.

    A judge has `judge(one)` and `stop()`; however this generator is left, all of them are stopped.
    """
    free: SimpleQueue[Any] = SimpleQueue()
    for judge in judges:
        free.put(judge)

    def run(one: Any) -> tuple[Any, Any]:
        judge = free.get()
        try:
            return one, judge.judge(one)
        finally:
            free.put(judge)

    pool = ThreadPoolExecutor(len(judges))
    try:
        for future in as_completed([pool.submit(run, one) for one in work]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for judge in judges:
            judge.stop()


class Changed(SourceFileLoader):
    """Finds and loads one module, with another source under the same path."""

    def __init__(self, module: str, source: str) -> None:
        """Take the name of the module, from the root, and its other source."""
        super().__init__(module.removeprefix(SCRIPTS), str(path_of(module)))
        self._source, self.loaded = source, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the module, None for every other."""
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None:
            self.loaded, spec.loader = True, self
        return spec

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source that was given, past the file and its cache."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Reporter:
    """A plugin that runs in a fork: it keeps failures and puts an end to what hangs."""

    def __init__(self, pipe: Connection, job: Job) -> None:
        self._pipe, self._job, self._start = pipe, job, time.perf_counter()
        self._ran, self._current, self._message = 0, "", ""
        self._failed: list[str] = []

    def answer(self, how: str = "", failed: str = "", message: str = "") -> None:
        """Send the verdict and leave at once, whatever stands on the stack."""
        self._note(failed, message)
        how = how or ("failure" if self._failed else "")
        spent = time.perf_counter() - self._start
        # as a plain tuple: the test may have imported another class of this name
        self._pipe.send((tuple(self._failed), how, self._message, self._ran, spent))
        os._exit(0)

    def _note(self, failed: str, message: str) -> None:
        if failed and failed not in self._failed:
            self._failed.append(failed)
        self._message = self._message or message

    def hung(self, signum: int, frame: FrameType | None) -> None:
        """Give up on a test that takes many times its usual time."""
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
            self._note(report.nodeid, _last_line(report))
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
    """Return what `work` sends from a fork, or the verdict on a fork that did not answer."""
    near, far = socket.socketpair()
    mine, theirs = Connection(near.detach()), Connection(far.detach())
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
    """Answer jobs with verdicts; a list of files with their tests, seconds and lines."""
    gc.collect()
    gc.freeze()
    while True:
        question = pipe.recv()
        if isinstance(question, Job):
            answer = _fork(pipe, partial(_run_afresh, question), question.limit)
        else:
            answer = _fork(pipe, partial(_profile, question), PROFILE_LIMIT)
        pipe.send(answer)


def _run_afresh(job: Job, out: Connection) -> None:
    """Run the tests of a job in this process, which has imported nothing of the project."""
    changed = Changed(job.module, job.source) if job.module else None
    if changed:
        sys.meta_path.insert(0, changed)
        for name in (MODULE, MODULE.partition(".")[0]):  # this module may be the changed one
            sys.modules.pop(name, None)
    reporter = _Reporter(out, job)
    signal.signal(signal.SIGPROF, reporter.hung)
    reporter.watch(60, "")
    status = pytest.main([*QUIET, *job.files], plugins=[reporter])
    if status not in (0, 1, pytest.ExitCode.NO_TESTS_COLLECTED):
        reporter.answer("import", "collection", f"pytest ended with {status!r}")
    reporter.answer("never imported" if changed and not changed.loaded else "")


@dataclass(frozen=True)
class Profile:
    """Seconds that each unchanged test takes, and the tests that run each line; "" is import."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, frozenset[str]]]  # by file, then line
    failed: tuple[str, ...]


class _Clock:
    """A plugin: each test has its own context of coverage, and its seconds are kept."""

    def __init__(self, coverage: Any) -> None:
        self._coverage, self.seconds, self.failed = coverage, dict[str, float](), list[str]()

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
        self.failed += [report.nodeid] if report.failed else []

    pytest_collectreport = pytest_runtest_logreport


def _profile(files: Sequence[str], out: Connection) -> None:
    """Run the unchanged tests under coverage; send their profile."""
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
    """Run the tests of a job, which are collected, in this process."""
    try:
        if job.module:
            _swap(job, functions)
    except UnswappableError as error:
        out.send(error)
        return
    reporter = _Reporter(out, job)
    signal.signal(signal.SIGPROF, reporter.hung)
    session.config.pluginmanager.register(reporter)
    items = {item.nodeid: item for item in session.items}
    chosen = [items[one] for one in job.tests] or job.chosen(session.items)
    for item, following in zip(chosen, [*chosen[1:], None], strict=True):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    reporter.answer()


def _live_functions() -> Functions:
    """Return the functions of the project that there are."""
    found: Functions = {}
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename.startswith(str(ROOT)):
            code = one.__code__
            key = code.co_filename, code.co_firstlineno, code.co_qualname
            found.setdefault(key, []).append(one)
    return found


def _swap(job: Job, functions: Functions) -> None:
    """Give the live functions of a module their changed code.

    Raises UnswappableError where that is not all that differs.
    """
    path = path_of(job.module)
    if job.module not in sys.modules:
        raise UnswappableError("no test has imported it yet")
    before, after = (
        compile(one, str(path), "exec", dont_inherit=True) for one in (path.read_text(), job.source)
    )
    changed = list(changed_functions(before, after))
    if not changed:
        raise UnswappableError("nothing differs")
    for old, new in changed:
        for function in functions.get((old.co_filename, old.co_firstlineno, old.co_qualname), []):
            if function.__code__ == old:
                try:
                    function.__code__ = new
                except ValueError as error:
                    raise UnswappableError(str(error)) from error


def changed_functions(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
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
        yield from changed_functions(old, new)


def _nested(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _own(code: CodeType) -> tuple[Any, ...]:
    """Return what a code object does itself; repr tells 1 from 1.0 and from True."""
    plain = [None if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, plain


def main(kind: str, descriptor: str, *files: str) -> None:
    """Serve until the pipe is closed."""
    pipe = Connection(int(descriptor))
    _load_libraries()
    sys.dont_write_bytecode = True
    with contextlib.suppress(EOFError, BrokenPipeError):
        if kind == "warm":
            pytest.main([*QUIET, *files], plugins=[_Warm(pipe)])
        else:
            serve_cold(pipe)


if __name__ == "__main__":
    # under the name that the other side has pickled
    sys.modules[MODULE] = sys.modules["__main__"]
    for _class in (Job, Verdict, Profile, UnswappableError):
        _class.__module__ = MODULE
    main(*sys.argv[1:])
