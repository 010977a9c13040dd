"""Jobs for the servers of forks: a changed module, the tests it meets in their order, verdicts."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]

#: the folder of the scripts, whose modules are imported without its name.
SCRIPTS = "scripts."

#: a test may take so many seconds, and so many times what it takes unchanged, before it hangs.
PATIENCE, SLOWER = 5.0, 20.0

#: seconds that all tests may take unchanged, under coverage, and those of a concept.
PROFILE_LIMIT, CONCEPT_LIMIT = 1800.0, 600.0

#: the generic tests of rows, and the rooms whose tests have one concept.
TWINS = "parity_tests/tests/test_twins.py"
ROOMS = {"meta": "engine", "scripts": "scripts", "house": "house"}

#: stems that have rows, and where a test's id names one.
STEMS = sorted(path.stem for path in ROOT.glob("parity_tests/twins/[a-z]*.py"))
ROW = re.compile(rf"test_twins\.py::.*?[\[-]({'|'.join(STEMS)})[\]:-]")


def concept_of(test: str) -> str:
    if found := ROW.search(test):
        return found[1]
    path = Path(test.partition("::")[0])
    return ROOMS.get(path.parent.name, path.stem.removeprefix("test_"))


def files_of(concept: str) -> list[str]:
    for room, name in ROOMS.items():
        if name == concept:
            return [f"parity_tests/tests/{room}"]
    own = sorted(ROOT.glob(f"parity_tests/tests/**/test_{concept}.py"))
    return [TWINS, *(str(path.relative_to(ROOT)) for path in own)]


def path_of(module: str) -> Path:
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
        mine = [item for item in items if concept_of(item.nodeid) == self.concept]
        return sorted(mine, key=self._distance) if self.module else mine

    def _distance(self, item: Any) -> tuple[int, ...]:
        """Order tests: first those that name the module, then by how often their file does."""
        name = self.module.removeprefix(SCRIPTS)
        text, quoted = _text(item.path), f'"{name}"'
        return (
            quoted not in inspect.getsource(item.function),
            item.path.stem != f"test_{name.rpartition('.')[2]}",
            -text.count(quoted) - text.count(self.module),
        )


@cache
def _text(path: Path) -> str:
    return path.read_text()


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
        return self.how in ("", "failure", "import", "time limit", "crash")


@dataclass(frozen=True)
class Profile:
    """Seconds that each unchanged test takes, and the tests that run each line; "" is import."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, frozenset[str]]]  # by file, then line
    failed: tuple[str, ...]


class Servers:
    """A cold server and a warm one, which collects its files of tests once it is asked."""

    def __init__(self, files: Sequence[str] = ()) -> None:
        pairs = {kind: socket.socketpair() for kind in ("cold", "warm")}
        far = [str(theirs.fileno()) for _, theirs in pairs.values()]
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mutants.fork_server", *far, *files],
            pass_fds=[int(one) for one in far],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the one who asks
        )
        self._pipes = {kind: Connection(mine.detach()) for kind, (mine, _) in pairs.items()}
        for _, theirs in pairs.values():
            theirs.close()

    def ask(self, kind: str, question: Any) -> Any:
        """Return the answer of the cold or the warm server; RuntimeError where it has died."""
        try:
            self._pipes[kind].send(question)
            return self._pipes[kind].recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"the server of the tests has died: {error!r}") from error

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        for pipe in self._pipes.values():
            pipe.close()


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
