"""The ledger: its table, its report, and the worst of many examples."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress

import numpy as np
import pytest
import torch

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.ledger import KINDS, WIDTH, Entry, Ledger, environment


def entry(error=1.0, budget=16.0, kind="forward", concept="linear", case="test", **other):
    given = {"quantity": "output", "dtype": "float64", "device": "cpu", "cause": "c", "index": (0,)}
    return Entry(concept, case, error=error, budget=budget, kind=kind, **{**given, **other})


def of(*entries):
    ledger = Ledger()
    ledger.entries += entries
    return ledger


LONG, HIGH = "a_concept_whose_name_is_long", {"kind": "gradient", "theirs_error": 2e6}
# fmt: off
#: entries of a concept, the columns that they fill, and the case that the line ends with.
ROWS = {
    "linear": (
        [entry(8.0), entry(3.0, 4.0, case="worst"), entry(13.8, 64.0, "gradient"),
         entry(1.2345e6, 4.5678e6, "other")],
        {"checks": "4", "forward": "3/4", "gradient": "13.8/64", "other": "27%"}, "worst"),
    "tight": ([entry(123456.0, 123457.0)], {"forward": "1e+05/1e+05"}, "test"),
    "wrong": ([entry(1e-300, 0.0, case="not zero"), entry(1e3)], {"forward": "1e-300/0"}, "zero"),
    "nan": ([entry(math.inf, kind="step")], {"step": "inf/16"}, "test"),
    "truths": (
        [entry(ours_error=0.25, theirs_error=7.0), entry(ours_error=1.5, **HIGH)],
        {"torch": "1.5 : 2e+06"}, "test"),
    LONG: ([entry(case="test_" + 20 * "long_" + "[x]")], {}, "g_[x]"),
}
# fmt: on


def test_the_table():
    ledger = of(
        *(Entry(**{**vars(o), "concept": n}) for n, (some, *_) in ROWS.items() for o in some)
    )
    head, *lines, legend = ledger.table()
    assert max(map(len, (head, *lines, legend))) <= WIDTH == 120
    ends = {word: head.index(word) + len(word) for word in ("checks", *KINDS, "other", "torch")}
    assert [line[:8].strip() for line in lines] == sorted(name[:8] for name in ROWS)
    for line, (_, cells, case) in zip(lines, (ROWS[n] for n in sorted(ROWS)), strict=True):
        assert all(line[end] == " " for end in ends.values())
        assert line.endswith(case)
        assert all(line[: ends[word]].endswith(f" {text}") for word, text in cells.items()), line


def test_the_worst_of_many_examples_is_kept():
    """Of each quantity and dtype, whatever order they came in; those before stay as they are."""
    for errors in ((1.0, 3.0, 2.0), (3.0, 1.0), (0.0, 3.0), (3.0, math.nan)):
        ledger = of(entry(5.0), *map(entry, errors), entry(dtype="f4"))
        ledger.condense(1)
        first, worst, other = ledger.entries
        assert (first.error, other.dtype) == (5.0, "f4")
        assert repr(worst.error) == repr(errors[1] if math.isnan(errors[-1]) else 3.0)
    ledger = of(entry(8.0), entry(3.0, 4.0))
    ledger.condense(0)
    assert [one.error for one in ledger.entries] == [3.0]  # nearer to its budget


def test_a_share_above_one_has_failed():
    held = (8, 16, 0.5), (32, 16, 2), (0, 0, 0), (5e-324, 0, math.inf), (math.nan, 16, math.inf)
    for error, budget, share in held:
        assert entry(error, budget).share == share


def test_the_report(tmp_path):
    """Every field of every entry, one a line; what is not finite is null, and has not passed."""
    entries = entry(0.0, 0.0), entry(17.0), entry(math.inf)
    last = entry(np.longdouble(1), ours_error=0.5, theirs_error=np.float32(2.5), index=(1, 2))
    of(*entries, last).write(tmp_path / "report.json", {"seed": 7})
    text = (tmp_path / "report.json").read_text()
    report = json.loads(text, parse_constant=pytest.fail)
    assert list(report) == ["schema", "environment", "run", "comparisons"]
    assert (report["schema"], report["run"]) == (2, {"seed": 7})
    assert len(re.findall(r"^\{.*\}", text, re.MULTILINE)) == 4
    found = [(one["passed"], one["error"]) for one in report["comparisons"]]
    assert found == [(True, 0.0), (False, 17.0), (False, None), (True, 1.0)]
    assert report["comparisons"][-1] == {**vars(last), "index": [1, 2], "passed": True}


def test_the_environment_names_what_the_numbers_depend_on():
    about = environment()
    json.dumps(about, allow_nan=False)
    for package in ("python", "numpy", "torch", "scipy", "hypothesis", "pytest"):
        assert re.match(r"\d+\.\d+", about[package]), package
    assert (about["threads"], about["pins"]) == (torch.get_num_threads(), pins.state())
    assert all(about[one] for one in ("platform", "processor"))
    assert {one["num_threads"] for one in about["blas"]["numpy and scipy"]} == {1}


def test_lies_are_not_recorded():
    ledger = of(entry())
    with suppress(AssertionError), ledger.unrecorded():
        ledger.entries.append(entry(99.0))
        raise AssertionError
    assert [one.error for one in ledger.entries] == [1.0]
