"""Change the code in every way that cosmic-ray knows, one at a time: does a test notice?

    python scripts/mutation.py scratch/costs     # every mutant of a file, or of all files

Each mutant runs the tests that reach its line, those of its own stem first. Where the body of a
function changed, a process that has collected the tests exchanges it in place; whatever runs at
import is imported afresh. Results are kept in a session, and a run goes on where the last ended.
Exit status 0: all survivors are listed as equivalent; 1: some are not; 2: bad arguments; 130:
Ctrl-C, run again to go on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
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

from mutants.jobs import ROOT, TWINS, Job, Profile, Servers, Verdict, concept_of, side_by_side
from mutants.mutants import (
    Mutant,
    all_mutants,
    as_toml,
    known_equivalents,
    misspelt,
    mutated_files,
    statement,
)
from runs.command_line import Parser, Status, count, folder, leave, whole
from runs.start import Progress

SESSION = ROOT / ".mutation"
SCORE = Path(__file__).with_name("mutation_score.json")

#: tests of the engine, scripts and papers, and those that take minutes.
LEFT_OUT = ("engine", "scripts", "house", "trajectories")

#: the share of all mutants that may be listed as equivalent: a longer list hides what is untested.
MOST_EQUIVALENT = 0.05

#: the generic test that calls every function, also where validation keeps it from running a line.
SWEEP = f"{TWINS}::test_row[refuses-"

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
    paths = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("parity_tests/**/test_*.py"))
    return [one for one in paths if concept_of(one) not in LEFT_OUT]


def own_concepts(mutant: Mutant) -> tuple[str, ...]:
    name = mutant.module.split(".", 1)[-1]
    vocabulary = ("course_vocabulary",) if name.startswith("course.") else ()
    return (*OWN.get(name, (name.replace("course.", "course_"),)), "validation", *vocabulary)


class Selection(NamedTuple):
    """The tests that can notice a mutant, those of its own concepts first, then the quickest."""

    own: list[str]
    others: list[str]
    in_place: bool  # the code of a function can be exchanged
    afresh: bool  # it runs at import, or when tests are collected


def selected(mutant: Mutant, profile: Profile) -> Selection:
    """Return the tests that reach a mutant; what an import computes, its whole module may use."""
    lines, wanted = profile.lines.get(mutant.file, {}), statement(mutant)
    reached = set().union(*(lines.get(one, ()) for one in wanted or lines))
    afresh, concepts = wanted is None or "" in reached, own_concepts(mutant)
    if afresh:
        reached = reached.union(*lines.values())
        reached |= {
            one for one in profile.seconds if one.startswith(SWEEP) or concept_of(one) in concepts
        }
    tests = sorted(reached - {""}, key=lambda one: profile.seconds[one])
    own = [one for one in tests if concept_of(one) in concepts]
    others = [one for one in tests if concept_of(one) not in concepts]
    return Selection(own, others, wanted is not None, afresh)


class Worker:
    def __init__(self, profile: Profile) -> None:
        self._profile, self._servers = profile, Servers(test_files())
        self.stop = self._servers.stop

    def judge(self, mutant: Mutant) -> Outcome:
        source = mutant.source()
        if reason := misspelt(source):
            return Outcome("invalid", reason=reason)
        own, others, in_place, afresh = selected(mutant, self._profile)
        if not own + others:
            return Outcome("survived", reason="no test reaches it")
        job = Job(mutant.module, source, own + others, seconds=self._profile.seconds)
        if in_place:
            verdict = self._servers.ask("warm", job)
            if verdict.tried and (verdict.how or not afresh):
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
    kept, state = session / "profile.pickle", state_of_code()
    with suppress(FileNotFoundError):
        known: tuple[str, Profile] = pickle.loads(kept.read_bytes())
        if known[0] == state:
            return known[1]
    servers = Servers()
    try:
        found = servers.ask("cold", test_files())
    finally:
        servers.stop()
    if not isinstance(found, Profile) or found.failed:
        failed = ", ".join(found.failed) or found
        raise RuntimeError(f"the unchanged tests fail, or could not be run: {failed}")
    if not any(one.startswith(SWEEP) for one in found.seconds):
        raise RuntimeError(f"expected tests whose ids begin with {SWEEP}, got none")
    with whole(kept) as unfinished:
        unfinished.write_bytes(pickle.dumps((state, found)))
    return found


def state_of_code() -> str:
    packages = ("scratch", "torch_ref", "parity_tests")
    paths = sorted(path for one in packages for path in (ROOT / one).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


class Session:
    def __init__(self, path: Path) -> None:
        self._path, self.state, self.outcomes = path, state_of_code(), dict[str, Outcome]()
        text = path.read_text() if path.exists() else ""
        whole_lines = text[: text.rfind("\n") + 1]  # the last one may have been cut off
        for identity, *outcome in map(json.loads, whole_lines.splitlines()):
            self.outcomes[identity] = Outcome(*outcome)
        if whole_lines != text:
            path.write_text(whole_lines)

    def keep(self, mutant: Mutant, outcome: Outcome) -> None:
        self.outcomes[mutant.identity] = outcome = replace(outcome, state=self.state)
        with self._path.open("a") as file:
            file.write(json.dumps([mutant.identity, *astuple(outcome)]) + "\n")


def run_all(mutants: Sequence[Mutant], session: Session, profile: Profile, jobs: int) -> None:
    workers = [Worker(profile) for _ in range(min(jobs, len(mutants)))]
    survived = 0
    judged = side_by_side(mutants, workers)
    bar = Progress(judged, total=len(mutants), unit="mutant", smoothing=0.05)
    for mutant, outcome in bar:
        session.keep(mutant, outcome)
        survived += outcome.status == "survived"
        bar.set_postfix(survived=survived, refresh=False)


class Findings(NamedTuple):
    """Outcomes of a run's mutants, held against the list of equivalents."""

    judged: Mapping[Mutant, Outcome]
    unlisted: list[Mutant]  # survivors that nobody has looked at
    equivalent: list[Mutant]  # survivors of the reviewed list
    wrongly_listed: list[str]  # entries that match no survivor of the files judged whole
    stale: int  # outcomes of other code or other tests than there are now

    def figures(self) -> dict[str, int]:
        killed = [pair for pair in self.judged.items() if pair[1].status == "killed"]
        reasons = Counter(outcome.reason for _, outcome in killed)
        return {
            "mutants": sum(one.status != "invalid" for one in self.judged.values()),
            "killed": len(killed),
            "equivalent": len(self.equivalent),
            "survived": len(self.unlisted),
            "own_stem": sum(concept_of(one.test) in own_concepts(mutant) for mutant, one in killed),
            "not_imported": reasons["import"],
            "time_limit": reasons["time limit"],
            "crash": reasons["crash"],
        }


def summarize(mutants: Sequence[Mutant], session: Session, *, complete: bool) -> Findings:
    """Hold the survivors against the reviewed list; with `complete` the list against them too."""
    outcomes, known = session.outcomes, known_equivalents()
    judged = {one: outcomes[one.identity] for one in mutants if one.identity in outcomes}
    survivors = {m: m.change() for m, outcome in judged.items() if outcome.status == "survived"}
    equivalent = [one for one, change in survivors.items() if change in known]
    unlisted = [one for one, change in survivors.items() if change not in known]
    files = {one.file for one in mutants} if complete else set()
    wrong = [one for one in known if one.file in files and one not in survivors.values()]
    said = [f"{one.file}, {one.definition}: {one.after}" for one in wrong]
    stale = sum(one.state != session.state for one in judged.values())
    return Findings(judged, unlisted, equivalent, said, stale)


def table(findings: Findings) -> list[str]:
    counts: dict[str, Counter[str]] = {}
    for mutant, outcome in findings.judged.items():
        status = "equivalent" if mutant in findings.equivalent else outcome.status
        counts.setdefault(mutant.file, Counter())[status] += outcome.status != "invalid"
    counts["all"] = sum(counts.values(), Counter())
    lines = [f"{'file':<36}{'mutants':>8}{'killed':>8}{'equivalent':>12}{'survived':>10}"]
    for name, one in counts.items():
        columns = f"{one['killed']:>8}{one['equivalent']:>12}{one['survived']:>10}"
        lines.append(f"{name:<36}{one.total():>8}{columns}")
    return lines


def read_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="files by a part of their path")
    parser.add_argument("--sample", type=count, metavar="N", help="judge N mutants drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="the seed of --sample (default 0)")
    parser.add_argument("--jobs", type=count, default=2, help="processes side by side (default 2)")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--again", action="store_true", help="judge unlisted survivors once more")
    about = "folder of what was found"
    parser.add_argument("--session", type=folder, default=str(SESSION), help=about)
    flags = parser.parse_args(arguments)
    files = mutated_files()
    unknown = [one for one in flags.names if not any(one in file for file in files)]
    if unknown:
        parser.error(f"no mutated file has {', '.join(unknown)} in its path: {', '.join(files)}")
    flags.files = [one for one in files if not flags.names or any(n in one for n in flags.names)]
    flags.outcomes = flags.session / "outcomes.jsonl"
    return flags


def pending(mutants: Sequence[Mutant], session: Session, flags: argparse.Namespace) -> list[Mutant]:
    """Return the mutants to be judged, the hard ones spread over the time."""
    known, found = known_equivalents(), []
    for one in mutants:
        outcome = session.outcomes.get(one.identity)
        again = flags.again and outcome and outcome.status == "survived"
        if not outcome or flags.sample is not None or (again and one.change() not in known):
            found.append(one)
    random.Random(0).shuffle(found)
    return found


def report(findings: Findings, flags: argparse.Namespace) -> int:
    figures = findings.figures()
    print("\n".join(table(findings)))
    for mutant in sorted(findings.unlisted):
        reason = findings.judged[mutant].reason
        print(f"\nsurvived: {mutant.file}:{mutant.line} in {mutant.definition} ({reason})")
        print(as_toml(mutant.change()))
    for entry in findings.wrongly_listed:
        print(f"listed as equivalent, but no survivor: {entry}")
    killed, equivalent = figures["killed"], figures["equivalent"]
    told_apart = figures["mutants"] - equivalent
    print(
        f"\nmutation score {100 * killed / max(told_apart, 1):.2f} %: {killed} of {told_apart} "
        f"killed, {equivalent} listed as equivalent"
    )
    complete = flags.sample is None and not flags.names
    crowded = complete and equivalent > MOST_EQUIVALENT * figures["mutants"]
    if crowded:
        print(f"the list of equivalents holds more than {MOST_EQUIVALENT:.0%} of all mutants")
    if findings.stale:
        print(
            f"{findings.stale} of these were found with other code or other tests: "
            "no score is written, --fresh judges all anew"
        )
    elif complete:
        SCORE.write_text(json.dumps({"date": date.today().isoformat(), **figures}, indent=1) + "\n")
    failed = findings.unlisted or findings.wrongly_listed or crowded
    return Status.PARTED if failed else Status.AGREED


def main(arguments: Sequence[str] | None = None) -> int:
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
        return Status.BAD_ARGUMENTS
    if work := pending(mutants, session, flags):
        print(f"measuring what each test reaches; then {len(work)} mutants", file=sys.stderr)
        run_all(work, session, measure_profile(flags.session), flags.jobs)
    return report(summarize(mutants, session, complete=flags.sample is None), flags)


if __name__ == "__main__":
    leave(main)
