"""The report: its table, its numbers, the worst of many examples, and the pins they depend on."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.ledger import Entry, Ledger, environment


def entry(error=1.0, budget=16.0, kind="forward", **other):
    given = {"concept": "linear", "case": "test", "quantity": "output", "dtype": "float64"}
    where = {"device": "cpu", "cause": "c", "index": (0,)}
    return Entry(**{**given, **where, **other}, error=error, budget=budget, kind=kind)


def of(*entries):
    ledger = Ledger()
    ledger.entries += entries
    return ledger


# fmt: off
#: concepts, their lines of the table, and the comparisons.
TABLE = {
    "a_concept_whose_name_is_long": (
        "1 1/16 test_long_long_lon…_long_[x]", [entry(case="test_" + 20 * "long_" + "[x]")]),
    "linear": ("5 3/4 13.8/64 1/16 27% 1.5 : 2e+06 worst", [
        entry(8.0), entry(3.0, 4.0, case="worst", ours_error=0.25, theirs_error=2e6),
        entry(13.8, 64.0, "gradient", ours_error=1.5, theirs_error=7.0), entry(kind="step"),
        entry(1.2345e6, 4.5678e6, "other")]),
    "nan": ("1 inf/16 test", [entry(math.inf, kind="step")]),
    "tight": ("2 1e+05/1e+05 worst", [entry(0.0, 0.0), entry(123456.0, 123457.0, case="worst")]),
    "wrong": ("2 1e-300/0 worst", [entry(1e-300, 0.0, case="worst"), entry(1e3)]),
}
# fmt: on


def test_the_table():
    entries = [replace(one, concept=name) for name, (_, some) in TABLE.items() for one in some]
    head, *lines, legend = of(*entries).table()
    assert max(map(len, (head, *lines, legend))) <= 120
    assert [" ".join(line[25:].split()) for line in lines] == [line for line, _ in TABLE.values()]
    assert [line[:8].strip() for line in lines] == [name[:8] for name in TABLE]
    for word, number in {
        "checks": "5",
        "gradient": "13.8/64",
        "step": "1/16",
        "other": "27%",
    }.items():
        assert lines[1][: head.index(word) + len(word)].endswith(f" {number}")


def test_the_worst_of_many_examples_is_kept():
    """Of each quantity and dtype, whatever order they came in; those before stay as they are."""
    for errors in ((1.0, 3.0, 2.0), (3.0, 1.0), (0.0, 3.0), (3.0, math.nan)):
        ledger = of(entry(5.0), *map(entry, errors), entry(dtype="f4"))
        ledger.condense(1)
        first, worst, other = ledger.entries
        assert (first.error, other.dtype) == (5.0, "f4")
        np.testing.assert_equal(worst.error, np.max(errors))  # NaN, if there is one
    ledger = of(entry(8.0), entry(3.0, 4.0))
    ledger.condense(0)
    assert [one.error for one in ledger.entries] == [3.0]  # nearer to its budget


def test_the_report(tmp_path):
    """Every field of every entry, one a line; what is not finite is null, and has not passed."""
    last = entry(np.longdouble(1), ours_error=0.5, theirs_error=np.float32(2.5), index=(1, 2))
    ledger = of(entry(0.0, 0.0), entry(17.0), entry(math.inf), last)
    ledger.write(tmp_path / "report.json", {"seed": 7})
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


#: each pin broken in turn, as code under test might.
BREACHES = {
    "float32_matmul_precision": lambda: torch.set_float32_matmul_precision("high"),
    "deterministic_algorithms": lambda: torch.set_deterministic_debug_mode("warn"),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", False),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_broken_pin_is_seen_and_mended(name, monkeypatch):
    """The state is asked of torch, not remembered; pins end as they began, by an exception too."""
    assert pins.state() == pins.wanted()
    monkeypatch.delenv(pins.WORKSPACE)
    before = pins.state()
    with suppress(KeyError), pins.pinned():
        BREACHES[name]()
        broken, mode = pins.state(), torch.get_deterministic_debug_mode()
        assert broken[name] != pins.wanted()[name]
        with pins.pinned():
            assert pins.state() == pins.wanted()
        assert (pins.state(), torch.get_deterministic_debug_mode()) == (broken, mode)
        raise KeyError
    assert pins.state() == before != pins.wanted()


def test_torch_before_2_9_has_other_flags(monkeypatch):
    """Where there is no fp32_precision, allow_tf32 is what forbids TF32."""
    cudnn = SimpleNamespace(deterministic=False, benchmark=True, allow_tf32=True)
    monkeypatch.setattr(pins, "_CUDNN", cudnn)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=True))
    before = pins.state()
    with pins.pinned():
        assert pins.state() == pins.wanted()
        assert not cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert pins.state() == before
    assert cudnn.allow_tf32
