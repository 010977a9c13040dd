"""A run of the suite: its options, draws drawn again, counted examples, the report, the pins."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis.statistics import collector

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.ledger import LEDGER, Entry, Ledger, environment
from parity_tests.plugin import options, profiles

pytest_plugins = ["pytester"]

ROOT = Path(options.__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"

#: a suite that draws, compares, and fails where it is told to.
SUITE = """
import os
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from parity_tests import assert_close
from scratch.activations import relu_forward

TOLD, ONES = os.environ.get("TOLD", ""), np.ones(2)
drawn = []

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tanh(dtype, device, rng):
    x = rng.standard_normal(99).astype(dtype)
    assert_close(np.tanh(x), torch.tanh(torch.from_numpy(x).to(device)).cpu().numpy(), "tanh")

@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, "f8", "int64"])
def test_of_each(dtype):
    assert np.dtype(dtype)

def test_of_no_dtype_draws(rng):
    print("drawn", rng.random())

@pytest.mark.parity("relu_forward")
def test_claim():
    if TOLD != "no call":
        relu_forward(ONES[:, None])
    if TOLD != "nothing":
        assert_close(ONES, ONES, "claimed")

@pytest.mark.parametrize("times", [4, 11])
def test_gauge(times, rng):
    drawn.append(rng.uniform(size=2))
    assert_close(ONES, ONES, "ones")
    assert_close(drawn[-1], drawn[-1], "x", gauge=1e20 if len(drawn) < times else None)

def test_told():
    assert_close(ONES, ONES, "ones")
    if TOLD == "interrupt":
        raise KeyboardInterrupt
    assert_close(ONES * np.nan if TOLD == "NaN" else ONES, ONES, "more")

@settings(max_examples=50, database=None)
@given(st.integers())
def test_property(number):
    assume(TOLD != "vacuous" and (number % 9 or TOLD != "some"))
    assert number < 1000 or TOLD != "two bugs"
    assert number > -1000 or TOLD != "two bugs"
    print("ran")
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Return a function that runs pytest in this process, on the suite above unless one leaves."""
    folder = pytester.mkdir("parity_tests")
    (folder / "test_toy.py").write_text(SUITE)
    conftest = "from parity_tests.conftest import *\n"
    (folder / "conftest.py").write_text(conftest)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(arguments="", told="", always=f"-p {options.__name__} --parity-report out.json"):
        Path("out.json").write_text("of another run")
        monkeypatch.setenv("TOLD", told)
        monkeypatch.setattr(LEDGER, "__dict__", {**vars(LEDGER), "entries": []})
        monkeypatch.setattr(profiles, "DRAWN", {"kept": 0, "rejected": 0})
        plain = "-p no:cacheprovider -p no:randomly --import-mode=importlib"
        given = shlex.split(f"{plain} {always} {arguments}")
        with collector.with_value(None):  # examples inside are none of this run
            return pytester.runpytest_inprocess(*given, no_reraise_ctrlc=True)

    return run


def report():
    return json.loads(Path("out.json").read_text(), parse_constant=pytest.fail)


NO_CUDA = "no CUDA device: torch.cuda.is_available() is False"
# fmt: off
PARITY, CLAIM = (" parity ===", "\ntoy   ", " written to "), "claims parity of ['relu_forward'] but"
#: arguments, what the suite is told, exit status, what is printed, and what is compared.
RUNS = {
    "everything": ("-s", "", 0, (
        "parity: device cpu, dtype all, --parity-seed=0", "examples, profile ",
        "CUDA: not asked for (--device all runs it too)", "12 passed"), None),
    "drawn until it proves something": ("-k gauge[4]", "", 0, ("1 passed",), ["ones", "x"]),
    "ten draws prove nothing": ("-k gauge[11]", "", 1, ("the case proves nothing",), None),
    "a claim without a call": ("-k claim", "no call", 1, (f"{CLAIM} never called it",), None),
    "a claim without comparison": ("-k claim", "nothing", 1, (f"{CLAIM} compared nothing",), []),
    "one precision": ("--dtype float32 -k 'tanh or each'", "", 0, ("3 passed",), ["tanh"]),
    "no CUDA device": ("--device cuda -rs", "", 0, (
        f"CUDA: skipped, {NO_CUDA}", "SKIPPED [2] ", "2 skipped, 10 deselected"), []),
    "NaN": ("-k told", "NaN", 1, PARITY, ["ones", "more failed"]),
    "Ctrl-C": ("-k told", "interrupt", 2, PARITY, ["ones"]),
    "a vacuous property": ("-k property", "vacuous", 1, ("FailedHealthCheck",), None),
    "a property that rejects": ("-s -k property", "some", 0, ("more rejected), profile ",), None),
    "two bugs": ("-k property", "two bugs", 1, ("1 failed",), None),
    "another precision": ("--dtype=float16", "", 4, ("--dtype: invalid choice: 'float16'",), None),
    "a negative seed": ("--parity-seed=-1", "", 4, ("from 0, or random, got '-1'",), None),
    "a folder": ("--parity-report=.", "", 4, ("--parity-report to name a file that can be",), None),
}
# fmt: on


@pytest.mark.parametrize("name", RUNS)
def test_a_run(name, suite):
    """A report is written however a run ends; examples are counted that were not rejected."""
    arguments, told, status, printed, compared = RUNS[name]
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    result = suite(arguments, told)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == status
    assert [one for one in printed if one not in text] == []
    assert "ExceptionGroup" not in text
    if arguments.startswith("-s"):
        assert "hypothesis: {} examples".format(text.count("ran\n")) in text
    if status < pytest.ExitCode.USAGE_ERROR:
        assert (report()["schema"], report()["run"]["exit_status"]) == (2, status)
        found = [o["quantity"] + " failed" * (not o["passed"]) for o in report()["comparisons"]]
        assert compared in (None, found)


def test_cuda_has_the_numbers_of_the_cpu(suite, monkeypatch):
    """The draws do not depend on the device: here a CPU plays the part of CUDA."""
    honest = torch.Tensor.to
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a CPU in disguise")
    monkeypatch.setattr(torch.Tensor, "to", lambda one, where: honest(one, "cpu"))
    suite("--device all -k tanh").assert_outcomes(passed=4)
    found = report()["comparisons"]
    cpu, cuda = ([o["error"] for o in found if o["device"] == d] for d in ("cpu", "cuda"))
    assert [0.0] * 2 < cpu == cuda


def test_a_seed_draws_everything_anew(suite):
    def drawn(arguments=""):
        text = suite(f"-s -k draws {arguments}").stdout.str()
        return re.findall(r"^(?:.*py )?drawn (?:anew by --parity-seed=)?(\S+)$", text, re.MULTILINE)

    number, seed = drawn("--parity-seed random")
    assert drawn(f"--parity-seed={seed}") == [number, seed]
    assert drawn()[0] != number


def test_a_report_that_cannot_be_written_in_the_end_is_an_error(suite, monkeypatch):
    """A full disk leaves the report of another run whole, and the exit status tells."""
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", Mock(side_effect=full))
    result = suite("-k told")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["the report could not be written: * No space left on device"])
    assert Path("out.json").read_text() == "of another run"


def test_profiles(monkeypatch):
    """`dev` draws anew, `ci` does not, `deep` draws twenty times as many; CI in the environment."""
    dev, ci, deep = (settings.get_profile(name) for name in ("dev", "ci", "deep"))
    assert dev.max_examples == ci.max_examples == deep.max_examples / 20 == profiles.EXAMPLES
    assert (dev.derandomize, ci.derandomize, deep.derandomize) == (False, True, False)
    monkeypatch.setattr(profiles, "settings", Mock())
    for variable, expected in (("", "dev"), ("true", "ci")):
        monkeypatch.setenv("CI", variable)
        profiles.register()
        profiles.settings.load_profile.assert_called_with(expected)


def test_others_keep_their_own_options(suite, pytester, monkeypatch):
    """Beside this project a suite may have a --device of its own: the plugin offers nothing."""
    monkeypatch.chdir(pytester.mkdir("elsewhere"))
    Path("conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--device')")
    Path("test_it.py").write_text(
        "def test_it(request): assert request.config.option.device == 'tpu'"
    )
    result = suite("--device tpu", always=f"-p {options.__name__}")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("parity: *")


def test_the_plugin_imports_nothing_heavy():
    """Whoever installs the project has the plugin in every run of pytest."""
    code = "import sys, parity_tests.plugin.options; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert "parity_tests" in loaded
    assert not {*loaded} & {"torch", "numpy", "scipy", "hypothesis", "scratch", "torch_ref"}


@pytest.mark.skipif(not PYPROJECT.is_file(), reason="pyproject.toml is not beside the package")
def test_pyargs_from_anywhere(suite, pytester, monkeypatch):
    """As installed: the entry point of pyproject.toml, an empty folder, a bare report path.

    A worker's comparisons and examples are handed over.
    """
    points = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["pytest11"]
    assert {*points} == {options.__name__}  # by another name it would be registered twice
    installed = pytester.mkdir("site") / "as_installed-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: as-installed\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[pytest11]\n{0} = {0}\n".format(*points.values()))
    pytester.syspathinsert(installed.parent)
    monkeypatch.chdir(pytester.mkdir("empty"))
    workers = "-n 1" * bool(find_spec("xdist"))
    named = "--pyargs parity_tests.tests.stems.test_normalization"
    result = suite(f"{named} {workers} --parity-report out.json", always="")
    assert result.ret == 0
    result.stdout.re_match_lines([r"normalization +\d+ ", r"hypothesis: \d+ examples"])
    assert {one["concept"] for one in report()["comparisons"]} == {"normalization"}


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
    for word, number in (("gradient", "13.8/64"), ("step", "1/16"), ("other", "27%")):
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
