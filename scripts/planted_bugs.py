"""Plant each mistake of the rows, the engine and the scripts: the tests of its concept must fail.

    python scripts/planted_bugs.py                       # all of them, against their own concepts
    python scripts/planted_bugs.py adam dropout --all    # those with these words, whole suite each

Nothing on the disk changes. The concepts run unchanged too, which must pass: where everything
fails, nothing is caught. Exit status 0; 1 where a bug is not caught at its concept; 2: bad
arguments; 130: Ctrl-C, with what was found so far.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from mutants.jobs import ROOT, Job, Servers, Verdict, concept_of, files_of, path_of, side_by_side
from parity_tests.mistakes import Mistake, planted_in
from parity_tests.twins import all_twins
from runs.command_line import Parser, Status, count, file, leave, write_json
from runs.start import Progress

#: mistakes that no row has: in the engine, for the tests of the room `meta`, and in the scripts.
OTHERS = (
    ROOT / "parity_tests/tests/meta/engine_mistakes.diff",
    ROOT / "scripts/mutants/script_mistakes.diff",
)


class Bug(NamedTuple):
    """A mistake that can be typed into a module, None for a change of nothing, and its concept."""

    concept: str
    mistake: Mistake | None

    @property
    def name(self) -> str:
        return self.mistake.name if self.mistake else f"{self.concept}, unchanged"

    @property
    def module(self) -> str:
        return self.mistake.change.module if self.mistake and self.mistake.change else ""


class Trial(NamedTuple):
    bug: Bug
    verdict: Verdict

    @property
    def others(self) -> list[str]:
        return sorted({concept_of(one) for one in self.verdict.failed} - {self.bug.concept})

    @property
    def as_expected(self) -> bool:
        """Tell whether a bug is caught at its concept, and whether nothing fails without one.

        Code that cannot be imported is no catch, nor is a limit of time on a busy machine.
        """
        if self.bug.mistake is None:
            return not self.verdict.how
        own = any(concept_of(one) == self.bug.concept for one in self.verdict.failed)
        return self.verdict.how == "crash" or (self.verdict.how == "failure" and own)


@cache
def catalogue() -> list[Bug]:
    """Return the mistakes of rows that have a change, then those of the engine and the scripts."""
    bugs = [Bug(row.stem, one) for row in all_twins().values() for one in row.mistakes]
    for path in OTHERS:
        bugs += [Bug(name, one) for name, found in planted_in(path).items() for one in found]
    return [bug for bug in bugs if bug.module]


def chosen(words: Sequence[str]) -> list[Bug]:
    found = {
        word: {bug for bug in catalogue() if word in bug.name or word == bug.concept}
        for word in words
    }
    for word, bugs in found.items():
        if not bugs:
            concepts = ", ".join(sorted({bug.concept for bug in catalogue()}))
            raise ValueError(f"expected part of a bug's name, or one of {concepts}, got {word!r}")
    return [bug for bug in catalogue() if not words or any(bug in one for one in found.values())]


class Planter:
    """A pair of servers that tries bugs: in place where that is enough to see them, else afresh."""

    def __init__(self, files: Sequence[str], everywhere: bool) -> None:
        self._servers, self._everywhere = Servers(files), everywhere
        self.stop = self._servers.stop

    def judge(self, bug: Bug) -> Trial:
        job = Job(concept=bug.concept)
        if bug.mistake and bug.mistake.change:
            source = bug.mistake.change.apply(path_of(bug.module).read_text())
            job = Job(bug.module, source, concept=bug.concept, all_failures=self._everywhere)
        if not self._everywhere:
            verdict = self._servers.ask("warm", job)
            if verdict.tried and (verdict.how or not bug.mistake):
                return Trial(bug, verdict)
        return Trial(bug, self._servers.ask("cold", job))


def table(trials: Sequence[Trial]) -> list[str]:
    by_name = {one.bug.name: one for one in trials}
    width = max(len(bug.name) for bug in catalogue())
    lines = [f"{'bug':<{width}}  {'concept':<24}  caught  by"]
    for trial in (by_name[bug.name] for bug in catalogue() if bug.name in by_name):
        caught = "yes" if trial.as_expected else "NO"
        own = (one for one in trial.verdict.failed if concept_of(one) == trial.bug.concept)
        by = next(own, "").partition("::")[2] or trial.verdict.how
        others = f" (and {', '.join(trial.others)})" if trial.others else ""
        concept = f"{trial.bug.concept:<24}"
        lines.append(f"{trial.bug.name:<{width}}  {concept}  {caught:<6}  {by}{others}")
    return lines


def as_data(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    return [
        {
            "bug": bug.name if bug.mistake else None,
            "module": bug.module,
            "concept": bug.concept,
            "seen": bug.mistake.seen if bug.mistake else None,
            "as_expected": trial.as_expected,
            **trial.verdict._asdict(),
        }
        for trial in trials
        for bug in [trial.bug]
    ]


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__)
    parser.add_argument("words", nargs="*", help="part of a name, or a concept; default: every bug")
    parser.add_argument("--all", action="store_true", help="run the whole suite on each bug")
    parser.add_argument("--jobs", type=count, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=file(".json"), help="every run")
    arguments = parser.parse_args(argv)
    try:
        bugs = chosen(arguments.words)
    except ValueError as error:
        parser.error(str(error))
    concepts = list(dict.fromkeys(bug.concept for bug in bugs))
    work = [Bug(one, None) for one in concepts] + bugs
    work.sort(key=lambda bug: bug.concept != "scripts")  # the longest first
    files = [*dict.fromkeys(file for one in concepts for file in files_of(one))]
    planters = [Planter(files, arguments.all) for _ in range(min(arguments.jobs, len(work)))]
    trials: list[Trial] = []
    with Progress(side_by_side(work, planters), total=len(work), unit="run") as bar:
        trials.extend(trial for _, trial in bar)
    planted = [one for one in trials if one.bug.mistake]
    print("\n".join(table(planted)))
    for one in trials:
        if not one.as_expected:
            said = ", ".join(one.verdict.failed) or one.verdict.how or "no test fails"
            print(f"\n{one.bug.name}: {said} {one.verdict.message}")
    caught = sum(one.as_expected for one in planted)
    print(f"{caught} of {len(planted)} planted bugs caught at their concepts")
    if arguments.json:
        write_json(arguments.json, as_data(trials))
    if bar.interrupted:
        print(f"interrupted after {len(planted)} of {len(bugs)}", file=sys.stderr)
        return Status.INTERRUPTED
    return Status.AGREED if all(one.as_expected for one in trials) else Status.PARTED


if __name__ == "__main__":
    leave(main)
