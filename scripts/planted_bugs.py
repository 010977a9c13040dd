"""Plant each bug of the catalogue into `scratch` in turn: the tests of its concept must fail.

    python scripts/planted_bugs.py                       # all of them, against their own concepts
    python scripts/planted_bugs.py adam dropout --all    # those with these words, whole suite each

Nothing on the disk changes. First the concepts run unchanged, which must pass: where everything
fails, nothing is caught. Exit status 0; 1 where a bug is not caught at its concept; 2: bad
arguments; 130: Ctrl-C, with what was found so far.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NamedTuple

from parity_tests.planted_bugs import PLANTED_BUGS
from parity_tests.planting import PlantedBug
from tqdm import tqdm

from mutants.forking import ROOT, Verdict, preload, run_changed, source_of, tests_of
from runs.command_line import (
    AGREED,
    INTERRUPTED,
    PARTED,
    leave,
    make_room,
    number,
    output_path,
    write_json,
)


class Trial(NamedTuple):
    """A bug, or a concept without one, and what its tests said."""

    bug: PlantedBug | None
    concept: str
    verdict: Verdict

    @property
    def others(self) -> list[str]:
        """The concepts beside its own whose tests failed too."""
        return sorted({_concept(one) for one in self.verdict.failed} - {self.concept})

    @property
    def as_expected(self) -> bool:
        """Tell whether a bug is caught at its concept, and whether nothing fails without one."""
        if self.bug is None:
            return not self.verdict.failed and not self.verdict.reason
        at_concept = any(_concept(one) == self.concept for one in self.verdict.failed)
        return at_concept or (self.verdict.caught and not self.verdict.failed)


def _concept(test: str) -> str:
    """Return the concept that a test's id belongs to."""
    return Path(test.partition("::")[0]).stem.removeprefix("test_")


def attempt(concept: str, bug: PlantedBug | None, everywhere: bool) -> Trial:
    """Run the tests of a concept, or all, with a bug planted or with a change of no consequence."""
    module = bug.module if bug else _module_of(concept)
    source = source_of(module)
    changed = bug.plant(source) if bug else f"{source}\n# nothing else changes\n"
    tests = [str(ROOT / "parity_tests")] if everywhere else [tests_of(concept)]
    limit = 1800.0 if everywhere else 120.0
    verdict = run_changed(module, changed, tests, limit=limit, stop_at_first=not everywhere)
    return Trial(bug, concept, verdict)


def _module_of(concept: str) -> str:
    """Return a module that a concept's tests import."""
    return next(bug.module for bug in PLANTED_BUGS if bug.concept == concept)


def chosen(words: Sequence[str]) -> list[PlantedBug]:
    """Return the bugs whose name or concept has one of the words, or raise ValueError."""
    for word in words:
        if not any(word in bug.name or word == bug.concept for bug in PLANTED_BUGS):
            concepts = ", ".join(sorted({bug.concept for bug in PLANTED_BUGS}))
            raise ValueError(f"expected part of a bug's name, or one of {concepts}, got {word!r}")
    return [
        bug
        for bug in PLANTED_BUGS
        if not words or any(word in bug.name or word == bug.concept for word in words)
    ]


def walk(bugs: Iterable[PlantedBug], jobs: int, everywhere: bool, trials: list[Trial]) -> None:
    """Run every bug, and each concept without one, side by side; add the trials as they end."""
    bugs = list(bugs)
    concepts = list(dict.fromkeys(bug.concept for bug in bugs))
    with ProcessPoolExecutor(jobs, get_context("spawn"), preload) as pool:
        try:
            with _deaf():
                futures: list[Future[Trial]] = [
                    pool.submit(attempt, concept, None, False) for concept in concepts
                ] + [pool.submit(attempt, bug.concept, bug, everywhere) for bug in bugs]
            with tqdm(total=len(futures), unit="run", disable=None, leave=False) as bar:
                for future in as_completed(futures):
                    trials.append(future.result())
                    bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # the signal may have come to this process alone
                worker.terminate()
            raise


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that leave Ctrl-C to this one: they would print where their imports stand."""
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def table(trials: Sequence[Trial]) -> list[str]:
    """Return a line for each planted bug, in the order of the catalogue."""
    by_name = {one.bug.name: one for one in trials if one.bug}
    width = max(len(bug.name) for bug in PLANTED_BUGS)
    lines = [f"{'bug':<{width}}  {'concept':<24}  caught  by"]
    for bug in PLANTED_BUGS:
        if bug.name in by_name:
            trial = by_name[bug.name]
            caught = "yes" if trial.as_expected else "NO"
            first = next((t for t in trial.verdict.failed if _concept(t) == trial.concept), "")
            by = first.partition("::")[2] or trial.verdict.reason
            others = f" (and {', '.join(trial.others)})" if trial.others else ""
            lines.append(f"{bug.name:<{width}}  {bug.concept:<24}  {caught:<6}  {by}{others}")
    return lines


def as_data(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return what is written as JSON; a trial without a bug has none named."""
    return [
        {
            "bug": one.bug.name if one.bug else None,
            "module": one.bug.module if one.bug else _module_of(one.concept),
            "concept": one.concept,
            "seen": one.bug.seen if one.bug else None,
            "as_expected": one.as_expected,
            "failed": list(one.verdict.failed),
            "message": one.verdict.message,
            "reason": one.verdict.reason,
            "seconds": one.verdict.seconds,
        }
        for one in trials
    ]


def main(argv: list[str] | None = None) -> int:
    """Plant what is asked for, print a table, return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="part of a name, or a concept; default: every bug")
    parser.add_argument("--all", action="store_true", help="run the whole suite on each bug")
    parser.add_argument("--jobs", type=number(int, 1), default=os.cpu_count() or 1)
    parser.add_argument("--json", type=partial(output_path, suffixes=(".json",)), help="every run")
    arguments = parser.parse_args(argv)
    try:
        bugs = chosen(arguments.words)
    except ValueError as error:
        parser.error(str(error))
    if arguments.json:
        make_room(parser, arguments.json)
    trials: list[Trial] = []
    interrupted = False
    try:
        walk(bugs, arguments.jobs, arguments.all, trials)
    except (KeyboardInterrupt, BrokenProcessPool):  # Ctrl-C may reach the workers first
        interrupted = True
    planted = [one for one in trials if one.bug]
    print("\n".join(table(planted)))
    for one in trials:
        if not one.as_expected:
            name = one.bug.name if one.bug else f"{one.concept}, unchanged"
            said = ", ".join(one.verdict.failed) or one.verdict.reason or "no test fails"
            print(f"\n{name}: {said}")
    caught = sum(one.as_expected for one in planted)
    print(f"{caught} of {len(planted)} planted bugs caught at their concepts")
    if arguments.json:
        write_json(arguments.json, as_data(trials))
    if interrupted:
        print(f"interrupted after {len(planted)} of {len(bugs)}", file=sys.stderr)
        return INTERRUPTED
    return AGREED if all(one.as_expected for one in trials) else PARTED


if __name__ == "__main__":
    leave(main)
