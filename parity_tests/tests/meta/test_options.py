"""The plugin of pytest: its options, the report, draws that are drawn again, counted examples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from hypothesis import settings
from hypothesis.statistics import collector

import parity_tests
from parity_tests.compare import reproducibility as pins
from parity_tests.compare.ledger import LEDGER
from parity_tests.plugin import options, profiles

pytest_plugins = ["pytester"]

ROOT = Path(parity_tests.__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"

#: a suite that draws, compares, and fails where it is told to.
SUITE = """
import os
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from parity_tests import assert_close, assert_twins
from scratch.linear import linear_backward, linear_forward
from torch_ref.linear import linear

TOLD, ONES = os.environ.get("TOLD", ""), np.ones(2)
drawn = []

def draw(rng, dtype):
    return {name: rng.standard_normal((4, 4 if name != "b" else 1)).astype(dtype)
            for name in ("A_prev", "W", "b")}

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_linear(dtype, device, rng):
    assert_twins(linear_forward, linear_backward, linear, draw(rng, dtype), rng, device=device)

@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, "f8", "int64"])
def test_of_each(dtype):
    assert np.dtype(dtype)

def test_of_no_dtype_draws(rng):
    print("drawn", rng.random())

@pytest.mark.parity("linear_forward")
def test_claim(rng):
    if TOLD != "claim":
        linear_forward(**draw(rng, float))
    if TOLD != "nothing":
        assert_close(ONES, ONES, "claimed")

@pytest.mark.parametrize("times", [4, 11])
def test_gauge(times, rng):
    x = rng.uniform(size=2)
    drawn.append(x)
    assert_close(ONES, ONES, "ones")
    assert_close(x, x, "x", gauge=1e20 if len(drawn) < times else None)

def test_told():
    assert_close(ONES, ONES, "ones")
    if TOLD == "fail":
        assert_close(ONES + 1e-9, ONES, "other ones")
    if TOLD == "nan":
        assert_close(np.array([1.0, np.nan]), ONES, "a NaN")
    if TOLD == "interrupt":
        raise KeyboardInterrupt

@settings(max_examples=50, database=None)
@given(st.integers())
def test_property(number):
    assume(TOLD != "vacuous")
    assume(number % 9 or TOLD != "some")
    assert number < 1000 or TOLD != "group"
    assert number > -1000 or TOLD != "group"
    print("ran")
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Return a function that runs the suite above in this process, with its own ledger."""
    folder = pytester.mkdir("parity_tests")
    (folder / "test_linear.py").write_text(SUITE)
    conftest = "from parity_tests.conftest import *\n"
    (folder / "conftest.py").write_text(conftest)
    for name in ("concept", "case", "device"):
        monkeypatch.setattr(LEDGER, name, getattr(LEDGER, name))
    monkeypatch.setattr("parity_tests.compare.ledger.environment", dict)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(*arguments, told=""):
        monkeypatch.setenv("TOLD", told)
        monkeypatch.setattr(LEDGER, "entries", [])
        monkeypatch.setattr(profiles, "DRAWN", {"kept": 0, "rejected": 0})
        plain = ("-p", "no:cacheprovider", "-p", "no:randomly", "--import-mode=importlib")
        with collector.with_value(None):  # examples inside are none of this run
            return pytester.runpytest_inprocess(
                "-p", "parity_tests.plugin.options", *plain, *arguments, no_reraise_ctrlc=True
            )

    return run


def passed(result, word="passed"):
    return result.parseoutcomes().get(word, 0)


def comparisons(path="out.json"):
    return json.loads(Path(path).read_text(), parse_constant=pytest.fail)["comparisons"]


def test_a_case_that_proves_nothing_is_drawn_again(suite):
    """Until it proves something or ten draws are over, on every dtype of the CPU by default."""
    result = suite("-s", "--parity-report", "out.json")
    assert (result.ret, passed(result), passed(result, "failed")) == (0, 12, 0)
    result.stdout.fnmatch_lines(["parity: device cpu, dtype all, --parity-seed=0"])
    result.stdout.fnmatch_lines(["CUDA: not asked for (--device all runs it too)"])
    result.stdout.fnmatch_lines(["hypothesis: 50 examples, profile *"])
    found = [one["quantity"] for one in comparisons() if "gauge[4]" in one["case"]]
    assert found == ["ones", "x"]
    result = suite("-q", "-k", "gauge and 11")
    assert passed(result, "failed") == 1


@pytest.mark.parametrize(
    ("told", "says"), [("claim", "but never called it"), ("nothing", "but compared nothing")]
)
def test_an_empty_claim_fails(told, says, suite):
    result = suite("-k", "claim", told=told)
    result.stdout.fnmatch_lines([f"*the test claims parity of *'linear_forward'* {says}*"])


def test_dtype_leaves_the_other_precisions_out(suite):
    """Cases of another floating dtype go; integers and tests without a dtype stay."""
    tests = [f"parity_tests/test_linear.py::{one}" for one in ("test_linear", "test_of_each")]
    result = suite("--dtype", "float32", "--parity-report=out.json", *tests)
    assert passed(result) == 1 + 2
    assert {one["dtype"] for one in comparisons()} == {"float32"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_is_skipped_with_the_reason_where_no_device_is(suite):
    """--device cuda leaves out every test without a CUDA case."""
    reason = "no CUDA device: torch.cuda.is_available() is False"
    result = suite("--device", "cuda", "-rs")
    assert (result.ret, passed(result), passed(result, "skipped")) == (0, 0, 2)
    result.stdout.fnmatch_lines([f"CUDA: skipped, {reason}", f"SKIPPED * {reason}"])


def test_cuda_has_the_numbers_of_the_cpu(suite, monkeypatch):
    """The draws do not depend on the device: here a CPU plays the part of CUDA."""
    honest = torch.Tensor.to
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a CPU in disguise")
    monkeypatch.setattr(torch.Tensor, "to", lambda one, where: honest(one, "cpu"))
    test = "parity_tests/test_linear.py::test_linear"
    assert passed(suite("--device", "all", test, "--parity-report", "out.json", "-q")) == 4
    cpu, cuda = ([o["error"] for o in comparisons() if o["device"] == d] for d in ("cpu", "cuda"))
    assert len(cpu) > 5
    assert cpu == cuda


def test_a_seed_draws_everything_anew(suite):
    def drawn(*arguments):
        text = suite("-s", "-q", "-k", "draws", *arguments).stdout.str()
        return re.findall(r"^drawn (?:anew by --parity-seed=)?(\S+)$", text, re.MULTILINE)

    number, seed = drawn("--parity-seed", "random")
    assert drawn(f"--parity-seed={seed}") == [number, seed]
    assert drawn()[0] != number


def test_bad_values_are_usage_errors(suite):
    for argument, message in (
        ("--dtype=float16", "argument --dtype: invalid choice: 'float16'"),
        ("--parity-seed=-1", "expected a number from 0, or random, got '-1'"),
        ("--parity-report=.", "expected --parity-report to name a file that can be written"),
    ):
        result = suite(argument)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert message in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize(
    ("told", "status", "errors"), [("fail", 1, 2), ("nan", 1, 2), ("interrupt", 2, 1)]
)
def test_the_report_is_written_however_the_run_ends(told, status, errors, suite):
    """A NaN, for which JSON has no number, is null; a bare PATH is no test, though it is there."""
    path = Path("new/out.json")
    if told == "interrupt":
        path.parent.mkdir()
        path.write_text("of another run")
    result = suite("-q", "-k", "told", "--parity-report", "new/out.json", told=told)
    assert result.ret == status
    result.stdout.fnmatch_lines(["*= parity =*", "linear *", "* written to *out.json"])
    report = json.loads(path.read_text())
    assert (report["schema"], report["run"]["exit_status"]) == (2, status)
    last = comparisons(path)[-1]
    assert len(comparisons(path)) == errors
    assert last["passed"] == (told == "interrupt")
    assert (last["error"] is None) == (told == "nan")


def test_a_report_that_cannot_be_written_in_the_end_is_an_error(suite, monkeypatch):
    """A full disk leaves the report of another run whole, and the exit status tells."""
    Path("out.json").write_text("of another run")

    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", Mock(side_effect=full))
    result = suite("-q", "-k", "told", "--parity-report", "out.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["the report could not be written: * No space left on device"])
    assert Path("out.json").read_text() == "of another run"


def test_examples_are_counted(suite):
    some = suite("-q", "-s", "-k", "property", told="some").stdout
    count = some.str().count("ran\n")
    some.re_match_lines([rf"hypothesis: {count} examples \(\d+ more rejected\), profile \w+"])


def test_a_vacuous_property_fails_and_two_bugs_are_one_failure(suite):
    suite("-q", "-k", "property", told="vacuous").stdout.fnmatch_lines(["*FailedHealthCheck*"])
    result = suite("-q", "-k", "property", told="group")
    assert passed(result, "failed") == 1
    assert "ExceptionGroup" not in result.stdout.str()


def test_a_worker_hands_its_examples_over(monkeypatch):
    monkeypatch.setattr(profiles, "DRAWN", {"kept": 3, "rejected": 1})
    worker = SimpleNamespace(config=SimpleNamespace(workeroutput={}))
    profiles.pytest_sessionfinish(worker)
    profiles.pytest_testnodedown(worker.config)
    assert profiles.DRAWN == {"kept": 6, "rejected": 2}


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


def test_others_keep_their_own_options(pytester):
    """Beside this project a suite may have a --device of its own: the plugin offers nothing."""
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--device')")
    pytester.makepyfile("def test_device(request): assert request.config.option.device == 'tpu'")
    result = pytester.runpytest_inprocess("-p", "parity_tests.plugin.options", "--device", "tpu")
    assert passed(result) == 1
    result.stdout.no_fnmatch_line("parity: *")


def test_the_plugin_imports_nothing_heavy():
    """Whoever installs the project has the plugin in every run of pytest."""
    code = "import sys, parity_tests.plugin.options; print(*{m.split('.')[0] for m in sys.modules})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert "parity_tests" in loaded.split()
    assert not {*loaded.split()} & {"torch", "numpy", "scipy", "hypothesis", "scratch", "torch_ref"}


@pytest.mark.skipif(not PYPROJECT.is_file(), reason="pyproject.toml is not beside the package")
def test_pyargs_from_anywhere(tmp_path):
    """As installed: the entry point of pyproject.toml, an empty folder, a bare report path."""
    workers = ("-n", "1") if find_spec("xdist") else ()
    points = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["pytest11"]
    site, empty = tmp_path / "site" / "as_installed-1.dist-info", tmp_path / "empty"
    site.mkdir(parents=True)
    empty.mkdir()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: as-installed\nVersion: 1\n")
    lines = "\n".join(f"{name} = {module}" for name, module in points.items())
    (site / "entry_points.txt").write_text(f"[pytest11]\n{lines}\n")
    chosen = ["--dtype", "float64", "--device", "cpu", "--parity-report", "out.json", *workers]
    named = ["--pyargs", "parity_tests.tests.stems.test_batch_norm"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named, *chosen],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^batch_norm +\d+ ", run.stdout, re.MULTILINE)
    assert {one["concept"] for one in comparisons(empty / "out.json")} == {"batch_norm"}
    report = json.loads((empty / "out.json").read_text())
    assert report["environment"]["pins"] == pins.wanted()


def test_the_plugin_goes_by_its_module(request):
    """An entry point of another name would be registered twice beside `-p` and the module."""
    assert request.config.pluginmanager.get_plugin(options.__name__) is options
