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
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from mutants.fork_server import (
    ROOT,
    TWINS,
    Job,
    Profile,
    Server,
    Servers,
    Verdict,
    concept_of,
    side_by_side,
)
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
from runs.command_line import AGREED, BAD_ARGUMENTS, PARTED, leave, make_room, number, write_json

SESSION = ROOT / ".mutation"
SCORE = Path(__file__).with_name("mutation_score.json")

#: tests of the engine, scripts and papers, and those that take minutes.
LEFT_OUT = ("engine", "scripts", "house", "trajectories")

#: the share of all mutants that may be listed as equivalent: a longer list hides what is untested.
MOST_EQUIVALENT = 0.05

#: the generic test that calls every function, also where validation keeps it from running a line.
SWEEP = f"{TWINS}::test_refuses["

#: concepts of the modules without a stem of their own.
OWN = {
    "_blocks": ("optimizers", "clipping"),
    "_checks": ("network", "training"),
    "_validation": ("linear",),
    "_scales": ("search",),
    "_shapes": ("initializers", "dropout"),
    "_step": ("training", "network"),
    "course._kinds": ("course_kinds", "course_deep"),
    "course._layers": ("course_deep", "course_initialization", "course_regularization"),
    "course._plot": ("course_deep",),
}


@dataclass(frozen=True)
class Outcome:
    """Result of a mutant: killed by a test, survived, or no program at all."""

    status: str  # "killed", "survived" or "invalid"
    test: str = ""
    reason: str = ""  # "import", "time limit", "crash", or the message of the test
    state: str = ""  # of the code and the tests when it was found


def test_files() -> list[str]:
    """Return the files of tests that mutants are run against."""
    paths = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("parity_tests/**/test_*.py"))
    return [one for one in paths if concept_of(one) not in LEFT_OUT]


def own_concepts(mutant: Mutant) -> tuple[str, ...]:
    """Return the concepts of the mutant's module; all of them are validated."""
    name = mutant.module.split(".", 1)[-1]
    everywhere = ("course_vocabulary",) if name.startswith("course.") else ("validation",)
    return OWN.get(name, (name.replace("course.", "course_"),)) + everywhere


class Selection(NamedTuple):
    """The tests that can notice a mutant, those of its own concepts first, then the quickest."""

    own: list[str]
    others: list[str]
    in_place: bool  # the code of a function can be exchanged
    afresh: bool  # it runs at import, or when tests are collected


def selected(mutant: Mutant, profile: Profile) -> Selection:
    """Return the tests that reach a mutant; what an import computes, its whole module may use."""
    lines, wanted = profile.lines.get(mutant.file, {}), statement(mutant)
    reached = by_line(lines, lines if wanted is None else wanted)
    afresh, concepts = wanted is None or "" in reached, own_concepts(mutant)
    if afresh:
        reached = by_line(lines, lines)
        reached |= {
            one for one in profile.seconds if one.startswith(SWEEP) or concept_of(one) in concepts
        }
    tests = sorted(reached - {""}, key=lambda one: profile.seconds[one])
    own = [one for one in tests if concept_of(one) in concepts]
    others = [one for one in tests if concept_of(one) not in concepts]
    return Selection(own, others, wanted is not None, afresh)


class Worker:
    """A pair of servers that judges mutants."""

    def __init__(self, profile: Profile) -> None:
        """Take the profile of the unchanged tests."""
        self._profile, self._servers = profile, Servers(test_files())
        self.stop = self._servers.stop

    def judge(self, mutant: Mutant) -> Outcome:
        """Run the tests of a mutant until one fails."""
        source = mutant.source()
        if reason := misspelt(source):
            return Outcome("invalid", reason=reason)
        own, others, in_place, afresh = selected(mutant, self._profile)
        if not own + others:
            return Outcome("survived", reason="no test reaches it")
        job = Job(mutant.module, source, own + others, seconds=self._profile.seconds)
        if in_place:
            verdict = self._servers.ask("warm", job)
            if isinstance(verdict, Verdict) and (verdict.how or not afresh):
                return _outcome(verdict)
        outcome = Outcome("survived")
        for stage in filter(None, (own, others)):
            outcome = _outcome(self._servers.ask("cold", replace(job, tests=stage)))
            if outcome.status == "killed":
                break
        return outcome


def _outcome(verdict: Verdict) -> Outcome:
    if not verdict.tried:
        raise RuntimeError(verdict.how)
    if not verdict.how:
        return Outcome("survived", reason=f"{verdict.ran} tests pass")
    reason = verdict.message if verdict.how == "failure" else verdict.how
    return Outcome("killed", next(iter(verdict.failed), ""), reason)


def measure_profile(session: Path) -> Profile:
    """Return the profile of the unchanged tests, kept until code or tests change.

    Raises RuntimeError where a test fails as it is.
    """
    kept, state = session / "profile.json", state_of_code()
    with suppress(FileNotFoundError, json.JSONDecodeError):
        written = json.loads(kept.read_text())
        if written["state"] == state:
            names = ["", *written["seconds"]]
            lines = {
                file: {int(line): frozenset(names[i] for i in tests) for line, tests in found}
                for file, found in written["lines"].items()
            }
            return Profile(written["seconds"], lines, ())
    found = measure(test_files())
    number = {name: i for i, name in enumerate(["", *found.seconds])}
    numbered = {
        file: [(line, sorted(number[one] for one in tests)) for line, tests in reached.items()]
        for file, reached in found.lines.items()
    }
    write_json(kept, {"state": state, "seconds": found.seconds, "lines": numbered})
    return found


def measure(files: Sequence[str]) -> Profile:
    """Return the profile of files of tests."""
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


def state_of_code() -> str:
    """Return a digest of the packages, tests among them."""
    packages = ("scratch", "torch_ref", "parity_tests")
    paths = sorted(path for one in packages for path in (ROOT / one).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


class Session:
    """Outcomes so far, a line of JSON each: the identity of a mutant and its outcome."""

    def __init__(self, path: Path) -> None:
        """Open or create it; raises ValueError or TypeError where the file holds something else."""
        self._path, self.state, self.outcomes = path, state_of_code(), dict[str, Outcome]()
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        for line in lines:
            if line.endswith("\n"):  # the last one may have been cut off
                identity, *rest = json.loads(line)
                self.outcomes[identity] = Outcome(*rest)
        if lines and not lines[-1].endswith("\n"):
            path.write_text("".join(lines[:-1]))

    def keep(self, mutant: Mutant, outcome: Outcome) -> None:
        """Keep the outcome of a mutant, and the state of code and tests of which it is true."""
        self.outcomes[mutant.identity] = outcome = replace(outcome, state=self.state)
        with self._path.open("a") as file:
            file.write(json.dumps([mutant.identity, *astuple(outcome)]) + "\n")


def run_all(mutants: Sequence[Mutant], session: Session, profile: Profile, jobs: int) -> None:
    """Judge the mutants side by side; each finding goes into the session at once."""
    workers = [Worker(profile) for _ in range(min(jobs, len(mutants)))]
    survived = 0
    with tqdm(total=len(mutants), unit="mutant", smoothing=0.05) as bar:
        for mutant, outcome in side_by_side(mutants, workers):
            session.keep(mutant, outcome)
            survived += outcome.status == "survived"
            bar.set_postfix(survived=survived, refresh=False)
            bar.update()


@dataclass(frozen=True)
class Findings:
    """Outcomes of a run's mutants, held against the list of equivalents."""

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

    def ended_by(self, how: str) -> int:
        """The number that no test says anything of: "import", "time limit" or "crash"."""
        return sum(one.status == "killed" and one.reason == how for one in self.judged.values())

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
            concept_of(outcome.test) in own_concepts(mutant)
            for mutant, outcome in findings.judged.items()
            if outcome.status == "killed"
        ),
        "not_imported": findings.ended_by("import"),
        "time_limit": findings.ended_by("time limit"),
        "crash": findings.ended_by("crash"),
    }
    path.write_text(json.dumps(figures, indent=1) + "\n")


def read_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags, and the files they name."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0] if __doc__ else None,
        epilog="Exit status: 0 all survivors are listed as equivalent, 1 some are not, "
        "2 bad arguments, 130 interrupted (run again to go on).",
    )
    count = number(int, 1)
    parser.add_argument("names", nargs="*", metavar="NAME", help="files by a part of their path")
    parser.add_argument("--sample", type=count, metavar="N", help="judge N mutants drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="the seed of --sample (default 0)")
    parser.add_argument("--jobs", type=count, default=2, help="processes side by side (default 2)")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--again", action="store_true", help="judge unlisted survivors once more")
    parser.add_argument("--session", type=Path, default=SESSION, help="folder of what was found")
    parser.add_argument("--stubs", type=Path, metavar="PATH", help="write survivors as TOML")
    flags = parser.parse_args(arguments)
    files = mutated_files()
    unknown = [one for one in flags.names if not any(one in file for file in files)]
    if unknown:
        parser.error(f"no mutated file has {', '.join(unknown)} in its path: {', '.join(files)}")
    flags.files = [one for one in files if not flags.names or any(n in one for n in flags.names)]
    flags.outcomes = flags.session / "outcomes.jsonl"
    make_room(parser, flags.outcomes, *([flags.stubs] if flags.stubs else []))
    return flags


def pending(mutants: Sequence[Mutant], session: Session, flags: argparse.Namespace) -> list[Mutant]:
    """Return the mutants to be judged, the hard ones spread over the time."""
    known = known_equivalents()

    def wanted(one: Mutant) -> bool:
        if flags.sample is not None or one.identity not in session.outcomes:
            return True
        survived = session.outcomes[one.identity].status == "survived"
        return bool(flags.again and survived and one.change() not in known)

    found = [one for one in mutants if wanted(one)]
    random.Random(0).shuffle(found)
    return found


def report(findings: Findings, flags: argparse.Namespace) -> int:
    """Print what was found and write what was asked for; return the exit status."""
    print("\n".join(table(findings)))
    for mutant in sorted(findings.unlisted):
        change, outcome = mutant.change(), findings.judged[mutant]
        print(f"\nsurvived: {mutant.file}:{mutant.line} in {mutant.definition} ({outcome.reason})")
        for sign, text in (("-", change.before), ("+", change.after)):
            print("\n".join(f"  {sign} {one}" for one in text.splitlines()))
    for entry in findings.wrongly_listed:
        print(f"listed as equivalent, but no survivor: {entry}")
    equivalent = len(findings.equivalent)
    print(
        f"\nmutation score {100 * findings.score:.2f} %: {findings.killed} of "
        f"{findings.mutants - equivalent} killed, {equivalent} listed as equivalent"
    )
    whole = flags.sample is None and not flags.names
    crowded = whole and equivalent > MOST_EQUIVALENT * findings.mutants
    if crowded:
        print(f"the list of equivalents holds more than {MOST_EQUIVALENT:.0%} of all mutants")
    if flags.stubs:
        flags.stubs.write_text(as_toml(one.change() for one in findings.unlisted))
    if findings.stale:
        print(
            f"{findings.stale} of these were found with other code or other tests: "
            "no score is written, --fresh judges all anew"
        )
    elif whole:
        write_score(findings, SCORE)
    return PARTED if findings.unlisted or findings.wrongly_listed or crowded else AGREED


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the mutants that are asked for and report; 0 where every survivor is listed."""
    flags = read_flags(arguments)
    mutants = all_mutants(flags.files)
    if flags.sample is not None:
        drawn = random.Random(flags.seed).sample(mutants, len(mutants))
        mutants = list(islice((one for one in drawn if not misspelt(one.source())), flags.sample))
        where = ", ".join(flags.names) or "all files"
        print(f"{len(mutants)} mutants of {where}, seed {flags.seed}")
    if flags.fresh:
        flags.outcomes.unlink(missing_ok=True)
    try:
        session = Session(flags.outcomes)
    except (ValueError, TypeError) as error:
        print(f"{flags.outcomes} holds no outcomes of mutants: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    if work := pending(mutants, session, flags):
        print(f"measuring what each test reaches; then {len(work)} mutants", file=sys.stderr)
        run_all(work, session, measure_profile(flags.session), flags.jobs)
    return report(summarize(mutants, session, whole=flags.sample is None), flags)


if __name__ == "__main__":
    leave(main)
