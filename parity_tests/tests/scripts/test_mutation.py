"""The mutation tester is tested with lies too: what it must notice, and what it must let pass."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import sqlite3
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"
TESTS = ("parity_tests/tests/stems/test_linear.py",)

#: two tests, and what they take.
SECONDS = {
    f"{TESTS[0]}::test_linear[float64-seed0-{one}]": 0.01 for one in ("(1, 1, 1)", "(4, 3, 5)")
}

pytest.importorskip("cosmic_ray", reason="mutants need cosmic-ray, of the dev extra")
pytestmark = pytest.mark.skipif(
    not SCRIPTS.is_dir(), reason="the scripts are not beside the package"
)


@pytest.fixture(scope="module")
def script():
    """Import a script by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def servers(script):
    """Start a cold and a warm server, which are ended with the tests."""
    started = {"cold": script("mutants.fork_server").Server("cold")}
    started["warm"] = script("mutants.fork_server").Server("warm", TESTS)
    yield started
    for one in started.values():
        one.stop()


def judge(server, script, old, new, patience=60.0):
    """Return the verdict on linear.py with a text exchanged."""
    source = (ROOT / "scratch/linear.py").read_text()
    assert source.count(old) == 1
    changed = source.replace(old, new)
    job = script("mutants.fork_server").Job(
        "scratch.linear", changed, list(SECONDS), SECONDS, patience
    )
    return server.ask(job)


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_a_server_notices_what_changed(kind, script, servers):
    """A wrong sum and a wrong gradient fail; what is equal passes; what never ends is ended."""
    one, first = servers[kind], next(iter(SECONDS))
    wrong = judge(one, script, "return W @ A_prev + b", "return W @ A_prev - b")
    assert wrong.failed == first
    assert "output differs" in wrong.reason
    assert "gradient of W" in judge(one, script, "dZ @ A_prev", "(dZ + 1) @ A_prev").reason
    right = judge(one, script, '"b": dZ.sum(', '"b": (+dZ).sum(')
    assert right.failed == ""
    assert right.ran >= 2
    endless = judge(
        one, script, "    A_prev, W = cache", "    while True: A_prev, W = cache", patience=1.0
    )
    assert (endless.failed, endless.reason) == (first, "time limit")
    crashed = judge(one, script, "    A_prev, W = cache", "    import os; os.abort()")
    assert crashed.reason == "crash"


def test_what_runs_at_import_is_not_exchanged_in_place(script, servers):
    """A changed door is refused by a warm server and judged by a cold one."""
    refused = script("mutants.fork_server").UnswappableError
    assert isinstance(judge(servers["warm"], script, 'b="n 1"', 'b="n 2"'), refused)
    assert judge(servers["cold"], script, 'b="n 1"', 'b="n 2"').failed


SOURCE = '''\
@door(A="n m")
def forward(A: int | None, b=1 + 2) -> float | int:
    """1 + 1."""
    if A > 1:
        return (A
            + 2)
    return 0


class One:
    size = 3

    def of(self):
        return 4
'''


@pytest.fixture
def mutants_of(script, monkeypatch, tmp_path):
    """Return the mutants of a text."""
    mutants = script("mutants.mutants")

    def read(text):
        (tmp_path / "code.py").write_text(text)
        monkeypatch.setattr(mutants, "ROOT", tmp_path)
        mutants._text.cache_clear()
        mutants._tree.cache_clear()
        return mutants.all_mutants(["code.py"])

    yield read
    mutants._text.cache_clear()
    mutants._tree.cache_clear()


def test_mutants_compile_and_differ_outside_of_annotations(mutants_of):
    """Each mutant is another program; annotations and docstrings have none."""
    found = mutants_of(SOURCE)
    assert len({one.source() for one in found}) == len(found)
    for one in found:
        assert ast.dump(ast.parse(one.source())) != ast.dump(ast.parse(SOURCE))
        assert one.line != 3
    changes = {one.change().after for one in found if one.line == 2}
    assert changes
    assert all("A: int | None, b=" in one and "-> float | int" in one for one in changes)
    assert {one.change().before for one in found if one.definition == "of"} == {"return 4"}


def test_what_a_mutant_reaches(mutants_of, script):
    """Inside a function it is a statement's lines; a door, a default or a class is import time."""
    lines = {one.line: script("mutants.mutants").statement(one) for one in mutants_of(SOURCE)}
    assert lines == {
        1: None,
        2: None,
        4: range(4, 5),
        6: range(5, 7),
        7: range(7, 8),
        11: None,
        14: range(14, 15),
    }


def test_the_list_of_equivalents_is_one_of_this_code(script):
    """Every entry names lines that are there, another text, and a reason of some words."""
    listed = script("mutants.mutants").known_equivalents()
    texts = {file: (ROOT / file).read_text() for file in {one.file for one in listed}}
    for one, reason in listed.items():
        lines = [line.strip() for line in texts[one.file].splitlines()]
        assert set(one.before.splitlines()) <= set(lines), one
        # what stands twice, in two methods of one name say, would be excused together
        assert lines.count(one.before.splitlines()[0]) == 1, one
        assert one.before != one.after
        assert len(reason.split()) > 3, one


def test_equivalents_are_read_as_they_are_written(script, monkeypatch, tmp_path):
    """Quotes, lines and all; what is listed twice or without a reason is refused."""
    mutants = script("mutants.mutants")
    change = mutants.Change("scratch/a.py", "f", "x = 'a'\ny", 'x = "\\b"')
    monkeypatch.setattr(mutants, "EQUIVALENT", tmp_path / "list.toml")
    written = mutants.as_toml([change], "the same value")
    mutants.EQUIVALENT.write_text(written)
    assert mutants.known_equivalents() == {change: "the same value"}
    for wrong in (written + written, mutants.as_toml([change])):
        mutants.EQUIVALENT.write_text(wrong)
        with pytest.raises(ValueError, match="listed twice or without a reason"):
            mutants.known_equivalents()


def test_the_verdict_on_a_run(mutants_of, script, monkeypatch, tmp_path):
    """Unlisted survivors are named, and listed mutants that a test kills."""
    mutation, mutants = script("mutation"), script("mutants.mutants")
    monkeypatch.setattr(mutants, "EQUIVALENT", tmp_path / "list.toml")
    found = mutants_of("def f(x):\n    return x + 1\n")
    session = mutation.Session(tmp_path / "session")
    session.add(found)
    for one in found[3:]:
        session.keep(one, mutation.Outcome("killed", "test_f", "differs"))
    for one in found[:3]:
        session.keep(one, mutation.Outcome("survived"))
    listed = [found[0].change(), found[3].change()]
    mutants.EQUIVALENT.write_text(mutants.as_toml(listed, "it is the same"))
    session.close()
    again = mutation.Session(tmp_path / "session")  # what was found is kept
    findings = mutation.summarize(found, again, whole=True)
    again.close()
    assert findings.unlisted == tuple(found[1:3])
    assert findings.equivalent == (found[0],)
    assert findings.wrongly_listed == (f"code.py, f: {found[3].change().after}",)
    assert findings.score == (len(found) - 3) / (len(found) - 1)
    rows = mutation.table(findings)
    assert rows[-1].split() == ["all", *map(str, (len(found), len(found) - 3, 1, 2))]
    mutation.write_score(findings, tmp_path / "score.json")
    written = json.loads((tmp_path / "score.json").read_text())
    assert (written["mutants"], written["survived"]) == (len(found), 2)
    assert (written["time_limit"], written["crash"]) == (0, 0)


def test_a_score_is_of_one_state_of_code_and_tests(
    mutants_of, script, monkeypatch, tmp_path, capsys
):
    """What was found with other tests stays known, but no score is written from it."""
    mutation, mutants = script("mutation"), script("mutants.mutants")
    found = mutants_of("def f(x):\n    return x + 1\n")
    empty = tmp_path / "list.toml"
    empty.write_text("")
    monkeypatch.setattr(mutants, "EQUIVALENT", empty)
    monkeypatch.setattr(mutation, "mutated_files", lambda: ["code.py"])
    monkeypatch.setattr(mutation, "SCORE", tmp_path / "score.json")
    session = mutation.Session(tmp_path / "session")
    session.add(found)
    ends = [("test_f", "time limit"), ("(fork)", "crash"), ("test_code.py (import)", "no A")]
    for one, (test, reason) in zip(
        found, ends + [("test_f", "differs")] * len(found), strict=False
    ):
        session.keep(one, mutation.Outcome("killed", test, reason))
    session.close()
    with monkeypatch.context() as patch:
        patch.setattr(mutation, "_digest", lambda _: "another state")
        assert mutation.main(["--session", str(tmp_path / "session")]) == 0
    assert f"{len(found)} of these were found with other code" in capsys.readouterr().out
    assert not mutation.SCORE.exists()
    assert mutation.main(["--session", str(tmp_path / "session")]) == 0
    assert "other code" not in capsys.readouterr().out
    written = json.loads(mutation.SCORE.read_text())
    assert written["killed"] == len(found)
    assert [written[one] for one in ("not_imported", "time_limit", "crash")] == [1, 1, 1]


def test_a_sample_is_of_programs(mutants_of, script, monkeypatch, tmp_path, capsys):
    """What does not compile is passed over, so that a sample has as many mutants as it says."""
    mutation, mutants = script("mutation"), script("mutants.mutants")
    found = mutants_of("def f(x):\n    return x + 1\n")
    (tmp_path / "list.toml").write_text("")
    monkeypatch.setattr(mutants, "EQUIVALENT", tmp_path / "list.toml")
    monkeypatch.setattr(mutation, "mutated_files", lambda: ["code.py"])
    first = found[0].source()
    monkeypatch.setattr(mutation, "misspelt", lambda source: "" if source == first else "no")
    judged = []
    monkeypatch.setattr(mutation, "measure_profile", lambda _: None)
    monkeypatch.setattr(mutation, "run_all", lambda wanted, *_: judged.extend(wanted))
    assert mutation.main(["--sample", "5", "--session", str(tmp_path / "session")]) == 0
    assert judged == found[:1]
    assert capsys.readouterr().out.startswith("1 mutants of all files, seed 0")


@pytest.mark.parametrize("text", ["no database", None])
def test_a_session_that_is_none_is_refused(text, mutants_of, script, monkeypatch, tmp_path, capsys):
    """Status 2 and one line, for what is no database and for one of something else."""
    mutation = script("mutation")
    mutants_of("def f(x):\n    return x + 1\n")
    monkeypatch.setattr(mutation, "mutated_files", lambda: ["code.py"])
    path = tmp_path / "session.sqlite"
    if text is None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE work_items (number INTEGER)")
    else:
        path.write_text(text * 1000)
    assert mutation.main(["--session", str(tmp_path)]) == 2
    assert "holds no session of mutants" in capsys.readouterr().err


def test_a_profile_that_was_cut_off_is_measured_anew(script, monkeypatch, tmp_path):
    """Half a file is as good as none."""
    mutation = script("mutation")
    (tmp_path / "profile.json").write_text('{"code": "12')
    monkeypatch.setattr(mutation, "test_files", lambda: [TESTS[0]])
    one = f"{TESTS[0]}::test_linear"
    found = script("mutants.fork_server").Profile(
        {one: 0.1}, {"scratch/linear.py": {1: frozenset([one])}}, ()
    )
    monkeypatch.setattr(mutation, "_measure", lambda _: found)
    assert mutation.measure_profile(tmp_path) == found
    monkeypatch.setattr(mutation, "_measure", None)
    assert mutation.measure_profile(tmp_path) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no mutated file has nowhere in its path"),
        (["--jobs", "0"], "--jobs: expected a whole number of at least 1, got 0"),
        (["--sample", "-1"], "--sample: expected a whole number of at least 1, got -1"),
        (["--seed", "x"], "invalid int value"),
    ],
)
def test_bad_arguments(arguments, message, script, capsys):
    """A name of nothing and numbers below one leave with status 2."""
    with pytest.raises(SystemExit) as left:
        script("mutation").main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err
