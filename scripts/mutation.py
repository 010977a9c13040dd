"""Change the code in every way that cosmic-ray knows, one at a time: does a test notice?

Each mutant runs the tests that reach its line, those of its own stem first. Where the body of a
function changed, a process that has collected the tests exchanges it in place; whatever runs at
import is imported afresh. Results are kept in a session, and a run goes on where the last ended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import (
    MutationSpec,
    TestOutcome,
    WorkerOutcome,
    WorkItem,
    WorkResult,
)
from sqlalchemy.exc import DatabaseError
from tqdm import tqdm

from mutants.fork_server import Job, Profile, Server, Verdict
from mutants.forking import ROOT, tests_of
from mutants.mutants import (
    Mutant,
    all_mutants,
    as_toml,
    by_line,
    known_equivalents,
    misspelt,
    mutated_files,
    statement,
)
from runs.command_line import BAD_ARGUMENTS, leave, make_room, whole

SESSION = ROOT / ".mutation"
SCORE = Path(__file__).with_name("mutation_score.json")

#: tests of the harness, of scripts, which start processes of their own, and of what takes minutes.
LEFT_OUT = (
    *("architecture", "budgets", "forking", "functions", "ledger", "locate", "mutation", "options"),
    *("planted_bugs", "readme", "reproducibility", "trajectories", "user_code", "witnesses"),
    *("figures", "scripts", "search_rates"),
)

#: the share of all mutants that may be listed as equivalent: a longer list hides what is untested.
MOST_EQUIVALENT = 0.05

#: tests that look at every function, even where a door keeps them from running a line of it.
SWEEPS = ("bad_input", "course_bad_input", "course_vocabulary", "doors", "invariants")

#: where the tests of a module without a stem of its own are.
OWN = {
    "_blocks": ("optimizers", "clipping"),
    "_checks": ("network", "training"),
    "_door": ("doors", "bad_input"),
    "_scales": ("search",),
    "_shapes": ("doors", "initializers", "dropout"),
    "_step": ("training", "network"),
    "course._kinds": ("course_kinds", "course_bad_input"),
    "course._layers": ("course_deep", "course_initialization", "course_regularization"),
    "course._plot": ("course_deep",),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: killed by a test, survived, or no program at all."""

    status: str  # "killed", "survived" or "invalid"
    test: str = ""
    reason: str = ""
    state: str = ""  # of the code and the tests when it was found


def test_files() -> list[str]:
    """Return the files of tests that mutants are run against."""
    paths = sorted((ROOT / "parity_tests").rglob("test_*.py"))
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if path.stem.removeprefix("test_") not in LEFT_OUT
    ]


def own_files(mutant: Mutant) -> list[str]:
    """Return the test files of the mutant's stem."""
    name = mutant.module.split(".", 1)[-1]
    stems = OWN.get(name, (name.replace("course.", "course_"),))
    return [_test_file(stem) for stem in stems]


def _test_file(stem: str) -> str:
    return str(Path(tests_of(stem)).relative_to(ROOT))


class Selection(NamedTuple):
    """The tests that can notice a mutant, those of its own stem first, then the quickest."""

    tests: list[str]
    in_place: bool  # the code of a function can be exchanged
    afresh: bool  # it runs at import, or when tests are collected


def selected(mutant: Mutant, profile: Profile) -> Selection:
    """Return the tests that reach a mutant; what an import computes, its whole module may use."""
    lines, wanted = profile.lines.get(mutant.file, {}), statement(mutant)
    reached = by_line(lines, lines if wanted is None else wanted)
    afresh = wanted is None or "" in reached
    own = set(own_files(mutant))
    if afresh:
        reached = by_line(lines, lines)
        sweeping = own | set(map(_test_file, SWEEPS))
        reached |= {one for one in profile.seconds if one.split("::")[0] in sweeping}

    def rank(test: str) -> tuple[bool, float]:
        return test.split("::")[0] not in own, profile.seconds[test]

    return Selection(sorted(reached - {""}, key=rank), wanted is not None, afresh)


class Worker:
    """A pair of servers, started when they are needed, that judges mutants."""

    def __init__(self, profile: Profile) -> None:
        """Take the profile of the unchanged tests."""
        self._profile = profile
        self._servers: dict[str, Server] = {}

    def judge(self, mutant: Mutant) -> Outcome:
        """Run the tests of a mutant until one fails."""
        source = mutant.source()
        if reason := misspelt(source):
            return Outcome("invalid", reason=reason)
        tests, in_place, afresh = selected(mutant, self._profile)
        if not tests:
            return Outcome("survived", reason="no test reaches it")
        if in_place:
            verdict = self._ask("warm", Job(mutant.module, source, tests, self._profile.seconds))
            if isinstance(verdict, Verdict) and (verdict.failed or not afresh):
                return _outcome(verdict)
        own = set(own_files(mutant))
        first = [one for one in tests if one.split("::")[0] in own]
        rest = [one for one in tests if one.split("::")[0] not in own]
        outcome = Outcome("survived")
        for stage in filter(None, (first, rest)):
            job = Job(mutant.module, source, stage, self._profile.seconds)
            outcome = _outcome(self._ask("cold", job))
            if outcome.status == "killed":
                break
        return outcome

    def _ask(self, kind: str, job: Job) -> Any:
        if kind not in self._servers:
            self._servers[kind] = Server(kind, test_files() if kind == "warm" else ())
        answer = self._servers[kind].ask(job)
        if isinstance(answer, Verdict) and answer.ran < 0:
            raise RuntimeError(f"{job.module}: {answer.reason}")
        return answer

    def stop(self) -> None:
        """End the servers."""
        for server in self._servers.values():
            server.stop()


def _outcome(verdict: Verdict) -> Outcome:
    if verdict.failed:
        return Outcome("killed", verdict.failed, verdict.reason)
    return Outcome("survived", reason=f"{verdict.ran} tests pass")


def measure_profile(session: Path) -> Profile:
    """Return the profile of the unchanged tests; what is kept of files as they were is kept.

    Raises RuntimeError where a test fails as it is.
    """
    kept = session / "profile.json"
    code = _digest(path for path in _packages() if not path.name.startswith("test_"))
    written: dict[str, Any] = {}
    with suppress(FileNotFoundError, json.JSONDecodeError):
        written = json.loads(kept.read_text())
    if written.get("code") != code:
        written = {"code": code, "files": {}}
    files = {file: _digest([ROOT / file]) for file in test_files()}
    new = [file for file in files if written["files"].get(file, {}).get("digest") != files[file]]
    if new:
        found = _measure(new)
        for file in new:
            written["files"][file] = {"digest": files[file], **_of_tests(found, file)}
        written["files"] = {file: written["files"][file] for file in files}
        with whole(kept) as unfinished:
            unfinished.write_text(json.dumps(written))
    return _joined(written["files"].values())


def _packages() -> Iterator[Path]:
    """Yield the files of the packages, tests among them."""
    for package in ("scratch", "torch_ref", "parity_tests"):
        yield from (ROOT / package).rglob("*.py")


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()[:16]


def _measure(files: Sequence[str]) -> Profile:
    server = Server("cold")
    try:
        found = server.ask(files)
    finally:
        server.stop()
    if not isinstance(found, Profile):
        raise RuntimeError(f"the unchanged tests could not be run: {found}")
    if found.failed:
        raise RuntimeError(f"tests fail without any change: {', '.join(found.failed)}")
    return found


def _of_tests(profile: Profile, tests: str) -> dict[str, Any]:
    """Return what a file of tests takes and reaches, as JSON has it: tests by their number."""
    seconds = {one: took for one, took in profile.seconds.items() if one.startswith(f"{tests}::")}
    number = {name: i for i, name in enumerate(["", *seconds])}
    lines = {
        file: {
            line: sorted(number[one] for one in reached if one in number)
            for line, reached in found.items()
        }
        for file, found in profile.lines.items()
    }
    return {"seconds": seconds, "lines": lines}


def _joined(written: Iterable[Mapping[str, Any]]) -> Profile:
    """Return the profile of all files of tests."""
    seconds: dict[str, float] = {}
    lines: dict[str, dict[int, set[str]]] = {}
    for one in written:
        names = ["", *one["seconds"]]
        seconds |= one["seconds"]
        for file, found in one["lines"].items():
            mine = lines.setdefault(file, {})
            for line, reached in found.items():
                mine.setdefault(int(line), set()).update(names[i] for i in reached)
    frozen = {
        file: {line: frozenset(tests) for line, tests in found.items()}
        for file, found in lines.items()
    }
    return Profile(seconds, frozen, ())


class Session:
    """What has been found so far, in cosmic-ray's own format: a database of work items."""

    def __init__(self, folder: Path) -> None:
        """Open or create it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.state = _digest(_packages())
        self._database = WorkDB(str(folder / "session.sqlite"), WorkDB.Mode.create)
        self._known = {item.job_id for item in self._database.work_items}
        self.outcomes: dict[str, Outcome] = {}
        for identity, result in self._database.results:
            self.outcomes[identity] = Outcome(*json.loads(result.output))

    def add(self, mutants: Iterable[Mutant]) -> None:
        """Add the mutants that are not in it."""
        self._database.add_work_items(
            WorkItem.single(
                one.identity,
                MutationSpec(
                    one.file,
                    one.operator,
                    one.occurrence,
                    (one.line, 0),
                    (one.line, 1),
                    {},
                    one.definition,
                ),
            )
            for one in mutants
            if one.identity not in self._known
        )
        self._known |= {one.identity for one in mutants}

    def keep(self, mutant: Mutant, outcome: Outcome) -> None:
        """Keep what became of a mutant, and of which code and tests that is true."""
        self.outcomes[mutant.identity] = outcome = replace(outcome, state=self.state)
        status = {
            "killed": TestOutcome.KILLED,
            "survived": TestOutcome.SURVIVED,
            "invalid": TestOutcome.INCOMPETENT,
        }[outcome.status]
        text = json.dumps(astuple(outcome))
        self._database.set_result(mutant.identity, WorkResult(WorkerOutcome.NORMAL, text, status))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def run_all(mutants: Sequence[Mutant], session: Session, profile: Profile, jobs: int) -> None:
    """Judge the mutants side by side; what is found goes into the session at once."""
    queue: SimpleQueue[Mutant] = SimpleQueue()
    for mutant in mutants:
        queue.put(mutant)
    done: SimpleQueue[tuple[Mutant, Outcome | BaseException]] = SimpleQueue()
    workers = [Worker(profile) for _ in range(min(jobs, len(mutants)))]
    ended = threading.Event()

    def work(worker: Worker) -> None:
        while not ended.is_set():
            try:
                mutant = queue.get_nowait()
            except Empty:
                return
            try:
                done.put((mutant, worker.judge(mutant)))
            except BaseException as error:  # told to the thread that asks
                done.put((mutant, error))
                return

    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in workers]
    survived = 0
    try:
        for thread in threads:
            thread.start()
        with tqdm(total=len(mutants), unit="mutant", smoothing=0.05) as bar:
            for _ in mutants:
                mutant, outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise RuntimeError(f"{mutant}: {outcome!r}") from outcome
                session.keep(mutant, outcome)
                survived += outcome.status == "survived"
                bar.set_postfix(survived=survived, refresh=False)
                bar.update()
    finally:
        ended.set()
        for worker in workers:
            worker.stop()


@dataclass(frozen=True)
class Findings:
    """What a run has shown of its mutants."""

    judged: Mapping[Mutant, Outcome]
    unlisted: tuple[Mutant, ...]  # survivors that nobody has looked at
    equivalent: tuple[Mutant, ...]  # survivors of the reviewed list
    wrongly_listed: tuple[str, ...]  # entries that match no survivor of the files judged whole
    stale: int  # outcomes of other code or other tests than there are now

    @property
    def mutants(self) -> int:
        """The number of mutants that compile."""
        return sum(one.status != "invalid" for one in self.judged.values())

    @property
    def killed(self) -> int:
        """The number that a test has noticed."""
        return sum(one.status == "killed" for one in self.judged.values())

    def ended_by(self, reason: str) -> int:
        """The number whose process only ended, for one reason: no test said what is wrong."""
        return sum(one.status == "killed" and one.reason == reason for one in self.judged.values())

    @property
    def not_imported(self) -> int:
        """The number that no longer imports, or whose tests can no longer be collected."""
        return sum(
            one.status == "killed" and one.test.endswith(("(import)", "collection"))
            for one in self.judged.values()
        )

    @property
    def score(self) -> float:
        """The share killed of those not listed as equivalent, 1 where there are none."""
        return self.killed / max(self.mutants - len(self.equivalent), 1)


def summarize(mutants: Sequence[Mutant], session: Session, *, whole: bool) -> Findings:
    """Hold the survivors against the reviewed list; with `whole` the list against them too."""
    judged = {
        one: session.outcomes[one.identity] for one in mutants if one.identity in session.outcomes
    }
    known = known_equivalents()
    survivors = {
        one: one.change() for one, outcome in judged.items() if outcome.status == "survived"
    }
    equivalent = tuple(one for one, change in survivors.items() if change in known)
    unlisted = tuple(one for one, change in survivors.items() if change not in known)
    wrong: list[str] = []
    if whole:
        seen, files = set(survivors.values()), {one.file for one in mutants}
        wrong = [
            f"{one.file}, {one.definition}: {one.after}"
            for one in known
            if one.file in files and one not in seen
        ]
    stale = sum(one.state != session.state for one in judged.values())
    return Findings(judged, unlisted, equivalent, tuple(wrong), stale)


def table(findings: Findings) -> list[str]:
    """Return a line for each file, and one for all."""
    counts: dict[str, Counter[str]] = {}
    equivalent = set(findings.equivalent)
    for mutant, outcome in findings.judged.items():
        status = "equivalent" if mutant in equivalent else outcome.status
        for name in (mutant.file, "all"):
            counts.setdefault(name, Counter())[status] += 1
    order = [name for name in counts if name != "all"] + ["all"] * bool(counts)
    lines = [f"{'file':<36}{'mutants':>8}{'killed':>8}{'equivalent':>12}{'survived':>10}"]
    for name in order:
        one = counts[name]
        total = one.total() - one["invalid"]
        lines.append(
            f"{name:<36}{total:>8}{one['killed']:>8}{one['equivalent']:>12}{one['survived']:>10}"
        )
    return lines


def write_score(findings: Findings, path: Path) -> None:
    """Write the figures of a whole run, for the README."""
    equivalent = len(findings.equivalent)
    figures = {
        "date": date.today().isoformat(),
        "mutants": findings.mutants,
        "killed": findings.killed,
        "equivalent": equivalent,
        "survived": len(findings.unlisted),
        "own_stem": sum(
            outcome.test.split("::")[0] in own_files(mutant)
            for mutant, outcome in findings.judged.items()
            if outcome.status == "killed"
        ),
        "not_imported": findings.not_imported,
        "time_limit": findings.ended_by("time limit"),
        "crash": findings.ended_by("crash"),
    }
    path.write_text(json.dumps(figures, indent=1) + "\n")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0] if __doc__ else None,
        epilog="Exit status: 0 all survivors are listed as equivalent, 1 some are not, "
        "2 bad arguments, 130 interrupted (run again to go on).",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="files by a part of their path")
    parser.add_argument("--sample", type=int, metavar="N", help="judge N mutants drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="the seed of --sample (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default 2)")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--again", action="store_true", help="judge unlisted survivors once more")
    parser.add_argument("--session", type=Path, default=SESSION, help="folder of what was found")
    parser.add_argument("--stubs", type=Path, metavar="PATH", help="write survivors as TOML")
    flags = parser.parse_args(arguments)
    for name in ("sample", "jobs"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: expected a whole number of at least 1, got {value}")
    files = mutated_files()
    unknown = [one for one in flags.names if not any(one in file for file in files)]
    if unknown:
        parser.error(f"no mutated file has {', '.join(unknown)} in its path: {', '.join(files)}")
    flags.files = [one for one in files if not flags.names or any(n in one for n in flags.names)]
    make_room(parser, flags.session / "session.sqlite", *([flags.stubs] if flags.stubs else []))
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the mutants that are asked for and report; 0 where every survivor is listed."""
    flags = parse(arguments)
    mutants = all_mutants(flags.files)
    if flags.sample is not None:
        drawn = random.Random(flags.seed).sample(mutants, len(mutants))
        mutants = list(islice((one for one in drawn if not misspelt(one.source())), flags.sample))
        where = ", ".join(flags.names) or "all files"
        print(f"{len(mutants)} mutants of {where}, seed {flags.seed}")
    if flags.fresh:
        (flags.session / "session.sqlite").unlink(missing_ok=True)
    try:
        session = Session(flags.session)
    except (DatabaseError, ValueError, TypeError) as error:
        print(f"{flags.session} holds no session of mutants: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    try:
        session.add(mutants)
        if flags.sample is not None:
            pending = list(mutants)
        else:
            known = known_equivalents()
            pending = [
                one
                for one in mutants
                if one.identity not in session.outcomes
                or (
                    flags.again
                    and session.outcomes[one.identity].status == "survived"
                    and one.change() not in known
                )
            ]
        if pending:
            print(f"measuring what each test reaches; then {len(pending)} mutants", file=sys.stderr)
            random.Random(0).shuffle(pending)  # the hard ones spread over the time
            run_all(pending, session, measure_profile(flags.session), flags.jobs)
        findings = summarize(mutants, session, whole=flags.sample is None)
    finally:
        session.close()
    print("\n".join(table(findings)))
    for mutant in sorted(findings.unlisted):
        change = mutant.change()
        outcome = findings.judged[mutant]
        print(f"\nsurvived: {mutant.file}:{mutant.line} in {mutant.definition} ({outcome.reason})")
        print(
            "\n".join(
                [
                    *(f"  - {one}" for one in change.before.splitlines()),
                    *(f"  + {one}" for one in change.after.splitlines()),
                ]
            )
        )
    for entry in findings.wrongly_listed:
        print(f"listed as equivalent, but no survivor: {entry}")
    print(
        f"\nmutation score {100 * findings.score:.2f} %: {findings.killed} of "
        f"{findings.mutants - len(findings.equivalent)} killed, {len(findings.equivalent)} "
        "listed as equivalent"
    )
    share = len(findings.equivalent) / max(findings.mutants, 1)
    crowded = flags.sample is None and not flags.names and share > MOST_EQUIVALENT
    if crowded:
        print(f"the list of equivalents holds more than {MOST_EQUIVALENT:.0%} of all mutants")
    if flags.stubs:
        flags.stubs.write_text(as_toml(one.change() for one in findings.unlisted))
    if findings.stale:
        print(
            f"{findings.stale} of these were found with other code or other tests: "
            "no score is written, --fresh judges all anew"
        )
    elif flags.sample is None and not flags.names:
        write_score(findings, SCORE)
    return 1 if findings.unlisted or findings.wrongly_listed or crowded else 0


if __name__ == "__main__":
    leave(main)
