"""Changed code: forks notice what they must, and pass what they must; planted bugs and mutants."""

from __future__ import annotations

import ast
import json
from functools import partial
from pathlib import Path

import pytest

from parity_tests.mistakes import planted_in
from parity_tests.tests.scripts.conftest import ROOT, SCRIPTS
from scratch import linear

pytest.importorskip("cosmic_ray", reason="mutants need cosmic-ray, of the dev extra")


def test_a_test_has_a_concept(script):
    jobs = script("mutants.jobs")
    for test, concept in {
        f"{jobs.TWINS}::test_agrees[linear]": "linear",
        f"{jobs.TWINS}::test_edge[batch_norm:update_running_averages-one example]": "batch_norm",
        f"{jobs.TWINS}::test_three_witnesses[float64-linear]": "linear",
        "parity_tests/tests/stems/test_splits.py::test_sizes": "splits",
        "parity_tests/tests/meta/test_locate.py::test_it": "engine",
        "parity_tests/tests/scripts/test_compare.py::test_it[linear]": "scripts",
    }.items():
        assert jobs.concept_of(test) == concept
        assert test.partition("::")[0].startswith(tuple(jobs.files_of(concept)))


HOME = "parity_tests/tests/test_twins.py::test_agrees[linear]"
ELSEWHERE = "parity_tests/tests/stems/test_splits.py::test_sizes"


# fmt: off
#: whether a bug is planted, what failed, how, and the exit status.
TRIALS = [
    (True, (ELSEWHERE, HOME), "failure", 0), (True, (ELSEWHERE,), "failure", 1),
    (True, (), "", 1), (True, (HOME,), "import", 1), (True, (HOME,), "time limit", 1),
    (True, (), "never imported", 1), (True, (), "crash", 0), (True, (HOME,), "Ctrl-C", 130),
    (False, (), "", 0), (False, (HOME,), "failure", 1),
]
# fmt: on


@pytest.mark.parametrize("trial", TRIALS)
def test_a_bug_must_be_caught_at_its_concept(trial, script, run, monkeypatch):
    """Those found before Ctrl-C are kept."""
    planting, (planted, failed, how, status) = script("planted_bugs"), trial
    bug = planting.chosen(["linear"])[0] if planted else planting.Bug("linear", None)

    def judged(*_):
        yield bug, planting.Trial(bug, planting.Verdict(failed, how.replace("Ctrl-C", "failure")))
        if how == "Ctrl-C":
            raise KeyboardInterrupt

    monkeypatch.setattr(planting, "Planter", lambda *_: None)
    monkeypatch.setattr(planting, "side_by_side", judged)
    printed, caught = run("planted_bugs", "linear --json out.json", status), status in (0, 130)
    assert f"{int(planted and caught)} of {int(planted)} planted" in printed
    assert ("interrupted after 1 of " in printed) == (how == "Ctrl-C")
    assert ("(and splits)" in printed) == (planted and ELSEWHERE in failed)
    (entry,) = json.loads(Path("out.json").read_text())
    assert entry["as_expected"] == caught
    assert entry["bug"] == (bug.mistake.name if planted else None)


def test_mistakes_of_scripts_fit(script):
    mistakes = planted_in(SCRIPTS / "mutants/script_mistakes.diff")["scripts"]
    assert len({one.name for one in mistakes}) == len(mistakes)
    assert {bug.concept for bug in script("planted_bugs").catalogue()} > {"linear", "scripts"}
    for one in mistakes:
        path = script("mutants.jobs").path_of(one.change.module)
        ast.parse(one.change.apply(path.read_text()), one.name)
        assert one.seen


SOURCE = '''\
@validated(A="n m")
def forward(A: int | None, b=1 + 2) -> float | int:
    """1 + 1."""
    if A is not None and A == 1:
        return (A
            + 2)
    return zip(A, strict=True)


class One:
    size = 3

    def of(self):
        return 4
'''
SHORT = "def f(x):\n    return x + 1\n"


@pytest.fixture
def mutants_of(script, monkeypatch, tmp_path):
    """Return the mutants of a text, which is then the only file that is mutated."""
    mutants, mutation = script("mutants.mutants"), script("mutation")

    def read(text, listed=""):
        (tmp_path / "code.py").write_text(text)
        (tmp_path / "list.toml").write_text(listed)
        for cached in (mutants._text, mutants._tree):
            cached.cache_clear()
        return mutants.all_mutants(["code.py"])

    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "EQUIVALENT", tmp_path / "list.toml")
    monkeypatch.setattr(mutation, "mutated_files", lambda: ["code.py"])
    monkeypatch.setattr(mutation, "SCORE", tmp_path / "score.json")
    yield read
    read("")


def test_mutants_are_programs_that_a_person_might_write(mutants_of, script):
    found = mutants_of(SOURCE)
    assert len({one.source() for one in found}) == len(found)
    for one in found:
        assert ast.dump(ast.parse(one.source())) != ast.dump(ast.parse(SOURCE))
        assert one.line != 3
    changes = "\n".join(one.change().after for one in found)
    assert "A is None" in changes
    assert not any(one in changes for one in ("A is 1", "A is not 1", "strict=False"))
    signature = {one.change().after for one in found if one.line == 2}
    assert all("A: int | None, b=" in one and "-> float | int" in one for one in signature)
    assert {one.change().before for one in found if one.definition == "of"} == {"return 4"}
    # inside a function it is a statement's lines; a decorator, a default or a class is import time
    lines = {one.line: script("mutants.mutants").statement(one) for one in found}
    assert lines[1] is lines[2] is lines[11] is None
    assert (lines[4], lines[6], lines[14]) == (range(4, 5), range(5, 7), range(14, 15))


def test_equivalents_are_of_this_code_and_read_as_written(mutants_of, script):
    mutants = script("mutants.mutants")
    change = mutants.Change("scratch/a.py", "f", "x = 'a'\ny", 'x = "\\b"')
    written = mutants.as_toml(change, "the same value")
    mutants_of(SHORT, written)
    assert mutants.known_equivalents() == {change: "the same value"}
    for wrong in (written + written, mutants.as_toml(change)):
        mutants.EQUIVALENT.write_text(wrong)
        with pytest.raises(ValueError, match="listed twice or without a reason"):
            mutants.known_equivalents()
    mutants.EQUIVALENT = SCRIPTS / "equivalent_mutants.toml"
    for one, reason in mutants.known_equivalents().items():
        lines = [line.strip() for line in (ROOT / one.file).read_text().splitlines()]
        assert {*one.before.splitlines()} <= {*lines}, one
        # a text that stands twice, in two methods of one name say, would be excused together
        assert lines.count(one.before.splitlines()[0]) == 1, one
        assert one.before != one.after
        assert len(reason.split()) > 3, one


def test_a_mutant_meets_its_own_tests_first(mutants_of, script):
    mutation, (one, *_) = script("mutation"), mutants_of(SHORT)
    own, other, slow = "tests/test_code.py::a", "tests/test_b.py::a", "tests/test_code.py::b"
    reached = {2: frozenset([other, slow, own])}
    seconds = {own: 0.2, slow: 0.3, other: 0.1, "tests/test_code.py::c": 0.0}
    profile = mutation.Profile(seconds, {"code.py": reached}, ())
    assert mutation.selected(one, profile) == ([own, slow], [other], True, False)
    imported = mutation.Profile(seconds, {"code.py": {2: frozenset([other, ""])}}, ())
    chosen = mutation.selected(one, imported)
    assert chosen.own == ["tests/test_code.py::c", own, slow]
    assert (chosen.others, chosen.afresh) == ([other], True)


def keep(script, found, outcomes):
    session = script("mutation").Session(Path("outcomes.jsonl"))
    for one, outcome in zip(found, outcomes, strict=True):
        session.keep(one, script("mutation").Outcome(*outcome))


def test_outcomes_are_held_against_the_list(mutants_of, script, run):
    mutation, mutants, found = script("mutation"), script("mutants.mutants"), mutants_of(SHORT)
    verdict = script("mutants.jobs").Verdict
    assert mutation._outcome(verdict(ran=2)).status == "survived"
    fails = mutation._outcome(verdict(failed=("test_f",), how="failure", message="differs"))
    assert (fails.status, fails.test, fails.reason) == ("killed", "test_f", "differs")
    listed = [found[0].change(), found[3].change()]
    mutants_of(SHORT, "".join(mutants.as_toml(one, "it is the same") for one in listed))
    killed = [("killed", "test_f", how) for how in ("time limit", "crash", "import", "differs")]
    keep(script, found, [("survived",)] * 3 + killed + [killed[3]] * (len(found) - 7))
    printed = run("mutation", "--session .", 1)
    assert printed.count("\nsurvived: code.py:2 in f") == printed.count("[[equivalent]]") == 2
    assert f"listed as equivalent, but no survivor: code.py, f: {listed[1].after}" in printed
    assert f"{len(found) - 3} of {len(found) - 1} killed, 1 listed as equivalent" in printed
    row = [str(len(found)), str(len(found) - 3), "1", "2"]
    rows = [line.split() for line in printed.splitlines()[1:3]]
    assert rows == [["code.py", *row], ["all", *row]]
    score = json.loads(mutation.SCORE.read_text())
    assert [score[one] for one in ("mutants", "survived", "equivalent")] == [len(found), 2, 1]
    assert [score[one] for one in ("not_imported", "time_limit", "crash")] == [1, 1, 1]


def test_a_session_goes_on_and_knows_its_state(mutants_of, script, run, monkeypatch):
    mutation, found, kept, work = script("mutation"), mutants_of(SHORT), Path("outcomes.jsonl"), []
    with monkeypatch.context() as patch:
        patch.setattr(mutation, "state_of_code", lambda: "another state")
        keep(script, found[1:], [("killed", "test_f", "differs")] * (len(found) - 1))
    with kept.open("a") as file:
        file.write('["cut')  # by Ctrl-C
    monkeypatch.setattr(mutation, "measure_profile", lambda _: None)
    monkeypatch.setattr(mutation, "run_all", lambda mutants, *_: work.append(mutants))
    monkeypatch.setattr(mutation, "misspelt", lambda one: "" if one == found[0].source() else "no")
    printed = run("mutation", "--session .")
    assert f"{len(found) - 1} of these were found with other code" in printed
    assert not mutation.SCORE.exists()
    run("mutation", "--session . --fresh")
    printed = run("mutation", "--session . --sample 5")
    assert "1 mutants of all files, seed 0" in printed
    assert [*map(sorted, work)] == [[found[0]], sorted(found), [found[0]]]
    kept.write_text("no outcomes\n")
    assert "holds no outcomes of mutants" in run("mutation", "--session .", 2)


TESTS = """
import numpy as np
from scratch.linear import linear_backward, linear_forward
one = np.ones((1, 1))
def test_added(): assert linear_forward(one, one, one)[0] == 2
def test_summed(): assert linear_backward(one, linear_forward(one, one, one)[1])["b"] == 1
def test_imported_late():
    from scratch.mini_batches import draw_order
    assert sorted(draw_order(2, np.random.default_rng(0))) == [0, 1]
"""
LOOP = "    while True: W @ A_prev\n    return W @"
WARM, COLD = ("warm",), ("cold",)

# fmt: off
#: servers, the changed module, its old and new text, how a fork ends, and the test that fails.
FORKS = [
    (COLD + WARM, "linear", "+ b, Lin", "- b, Lin", "failure", "added"),
    (COLD + WARM, "mini_batches", "rng.perm", "1 + rng.perm", "failure", "imported_late"),
    (COLD + WARM, "splits", "Splits into", "Cuts into", "never imported", ""),
    (COLD, "linear", "+ b, Lin", "+ c c, Lin", "import", "it.py"),
    (COLD, "linear", 'b="n 1"', 'b="n 2"', "failure", "added"),
    (WARM, "linear", 'b="n 1"', 'b="n 2"', "not exchanged: a module's or a class's own code", ""),
    (WARM, "linear", '"b": dZ.sum(', '"b": (+dZ).sum(', "", ""),
    (WARM, "linear", "    A_prev, W = cache", "    import os; os.abort()", "crash", ""),
    (WARM, "linear", "    return W @", LOOP, "time limit", "added"),
]
# fmt: on


def test_a_fork_notices_what_changed_and_tells_how_it_ended(script, tmp_path):
    jobs, path = script("mutants.jobs"), tmp_path / "test_it.py"
    path.write_text(TESTS)
    before = Path(linear.__file__).read_bytes(), linear.linear_forward
    servers = jobs.Servers([str(path)])
    quickly = {"patience": 0.2, "seconds": {"test_it.py::test_added": 0}}
    ask = {
        "cold": partial(jobs.Job, tests=[str(path)]),
        "warm": partial(jobs.Job, concept="it", **quickly),
    }

    def found(kind, *change, **choices):
        verdict = servers.ask(kind, ask[kind](*change, **choices))
        return verdict.how, "".join(verdict.failed).rpartition("test_")[2], verdict.ran

    try:
        for kinds, name, old, new, how, test in FORKS:
            source = jobs.path_of(f"scratch.{name}").read_text()
            assert old in source
            for kind in kinds:
                ended = found(kind, f"scratch.{name}", source.replace(old, new))
                assert (ended[0][: len(how) or None], ended[1]) == (how, test), (kind, new, ended)
        changed = Path(linear.__file__).read_text().replace("+ b, Lin", "- b, Lin")
        for kind in ("cold", "warm"):
            ended = found(kind, "scratch.linear", changed, all_failures=True)
            assert ended == ("failure", "added", 3)
        assert found("warm", "scratch.linear", changed) == ("failure", "added", 1)
        assert found("warm") == ("", "", 3)
    finally:
        servers.stop()
    assert (Path(linear.__file__).read_bytes(), linear.linear_forward) == before
    ends = ("", "failure", "import", "time limit", "crash")
    assert all(jobs.Verdict(how=how).tried == (how in ends) for *_, how, _ in FORKS)
