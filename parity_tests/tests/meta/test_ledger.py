"""The ledger: its table, its report, the environment that both are of."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.ledger import KINDS, WIDTH, Entry, Ledger, environment


def entry(concept="linear", case="test_a", error=1.0, budget=16.0, kind="forward", **other):
    """Return an entry of the ledger."""
    given = {"quantity": "output", "dtype": "float64", "device": "cpu", "cause": "c", "index": (0,)}
    return Entry(concept, case, error=error, budget=budget, kind=kind, **{**given, **other})


@pytest.fixture
def ledger():
    """Return a ledger with every kind of entry, and names too long for the table."""
    made = Ledger()
    made.entries += [
        entry(error=8.0, case="test_of_large_errors"),
        entry(error=3.0, budget=4.0, case="test_near_its_budget"),
        entry(error=13.8, budget=64.0, kind="gradient"),
        entry(error=1.2345e6, budget=4.5678e6, kind="other", case="test_differences"),
        entry("course_gradient_checking_of_old", "test_" + "long_" * 20 + "[x-seed3]"),
        entry("optimizers", error=20.0, budget=64.0, kind="step"),
        entry("tight", error=123456.0, budget=123457.0),
        entry("zeros", error=0.0, budget=0.0, kind="gradient"),
        entry("wrong", "test_not_zero", error=1e-300, budget=0.0),
        entry("wrong", "test_off", error=1e3, budget=16.0),
        entry("wide", error=np.longdouble(3), budget=np.float64(16)),
        entry("nan", error=math.inf, budget=16.0, kind="step"),
    ]
    return made


def test_the_table(ledger):
    """One aligned line a concept: the worst of each kind by its budget, and the worst of all."""
    ledger.entries += [
        entry("truths", ours_error=0.25, theirs_error=7.0),
        entry("truths", ours_error=1.5, theirs_error=2e6, kind="gradient"),
    ]
    head, *lines, legend = ledger.table()
    assert all(len(line) <= WIDTH == 120 for line in (head, *lines, legend))
    assert max(map(len, lines)) == WIDTH
    columns = [head.index(word) + len(word) for word in ("checks", *KINDS, "other", "torch")]
    rows = {line.split()[0]: line for line in lines}
    assert list(rows) == sorted(rows)
    for line in lines:  # numbers end where their heads do
        assert all(line[end] == " " for end in columns)
    assert [rows["linear"][:end].split()[-1] for end in columns[:5]] == [
        *("4", "3/4", "13.8/64", "13.8/64", "27%")
    ]
    assert rows["linear"].split()[-1] == "test_near_its_budget"
    assert rows["optimizers"][: columns[3]].endswith(" 20/64")
    assert rows["zeros"][: columns[2]].endswith(" 0/0")
    assert rows["wrong"][: columns[1]].endswith(" 1e-300/0")
    assert rows["wrong"].endswith("  test_not_zero")
    assert rows["nan"][: columns[3]].endswith(" inf/16")
    assert rows["tight"][: columns[1]].endswith(" 1e+05/1e+05")
    assert rows["truths"][: columns[5]].endswith(" 1.5 : 2e+06")
    (long,) = (line for line in lines if line.startswith("course"))
    assert re.search(r"^course_gradient_…_of_old +1 +1/16 .*  test_long_.*….*x-seed3\]$", long)


def test_a_share_above_one_has_failed():
    """Also of a budget of nothing, which the smallest error exceeds and none meets."""
    assert entry(error=8.0).share == 0.5
    assert entry(error=32.0).share == 2.0
    assert entry(error=0.0, budget=0.0).share == 0.0
    assert entry(error=5e-324, budget=0.0).share == math.inf
    assert entry(error=math.nan).share > 1


def test_the_report(ledger, tmp_path):
    """Every field of every entry, one a line; what is not finite is null, and has not passed."""
    ledger.entries.append(entry(ours_error=0.5, theirs_error=2.5, index=(1, 2)))
    ledger.write(tmp_path / "report.json", {"seed": 7})
    text = (tmp_path / "report.json").read_text()
    report = json.loads(text, parse_constant=pytest.fail)
    assert list(report) == ["schema", "environment", "run", "comparisons"]
    assert report["run"] == {"seed": 7}
    assert text.count('"concept"') == len(re.findall(r"^\{", text, re.MULTILINE)) - 1 == 13
    last = report["comparisons"][-1]
    assert last == {
        **{"concept": "linear", "case": "test_a", "quantity": "output", "dtype": "float64"},
        **{"device": "cpu", "error": 1.0, "budget": 16.0, "cause": "c", "index": [1, 2]},
        **{"ours_error": 0.5, "theirs_error": 2.5, "kind": "forward", "passed": True},
    }
    passed = {one["concept"]: one["passed"] for one in report["comparisons"]}
    assert passed["zeros"]
    assert not passed["wrong"]
    assert not passed["nan"]
    assert next(one for one in report["comparisons"] if one["concept"] == "nan")["error"] is None


def test_an_empty_report_is_json(tmp_path):
    """A run that compared nothing says so."""
    Ledger().write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["comparisons"] == []


def test_the_environment():
    """What the numbers depend on is named: versions, BLAS, threads, precision, processor."""
    about = environment()
    json.dumps(about, allow_nan=False)
    for package in ("python", "numpy", "torch", "scipy", "hypothesis", "pytest"):
        assert re.match(r"\d+\.\d+", about[package]), package
    assert about["torch"] == torch.__version__
    assert about["threads"] == torch.get_num_threads() == 1
    assert about["pins"] == pins.state()
    assert about["platform"]
    assert about["processor"]
    libraries = about["blas"]["numpy and scipy"]
    assert libraries
    assert all(one["num_threads"] == 1 for one in libraries)
    assert all(one["internal_api"] for one in libraries)
    assert about["blas"]["torch"] or not torch.backends.mkl.is_available()


def test_another_process_hands_its_comparisons_over():
    """What a worker packs is what the other side unpacks, infinities and missing truths too."""
    mine, other = Ledger(), Ledger()
    mine.entries.append(entry(error=np.float64(np.inf), index=(1, 2), ours_error=np.float32(0.5)))
    mine.entries.append(entry(index=()))
    other.unpack(mine.packed())
    assert other.entries == mine.entries
    assert type(other.entries[0].error) is float
