"""The mutation tester is tested with lies too: what it must notice, and what it must let pass."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"
TESTS = ("parity_tests/test_linear.py",)

#: two tests, and what they take.
SECONDS = {
    f"{TESTS[0]}::test_linear[float64-seed0-{one}]": 0.01 for one in ("(1, 1, 1)", "(4, 3, 5)")
}

pytest.importorskip("cosmic_ray", reason="mutants need cosmic-ray, of the dev extra")
pytestmark = pytest.mark.skipif(
    not SCRIPTS.is_dir(), reason="the scripts are not beside the package"
)


@pytest.fixture
def script(monkeypatch):
    """Import a script by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def server(script):
    """Start servers that are ended with the test."""
    started = []

    def start(*arguments):
        started.append(script("fork_server").Server(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def judge(server, script, old, new):
    """Return the verdict on linear.py with a text exchanged."""
    source = (ROOT / "scratch/linear.py").read_text()
    assert old in source
    job = script("fork_server").Job
    return server.ask(job("scratch.linear", source.replace(old, new), list(SECONDS), SECONDS))


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_a_server_notices_what_changed(kind, script, server):
    """A wrong sum and a wrong gradient fail; what is equal passes; what never ends is ended."""
    one = server(kind, *([TESTS] if kind == "warm" else []))
    wrong = judge(one, script, "W @ A_prev + b", "W @ A_prev - b")
    assert wrong.failed.startswith(TESTS[0])
    assert "output differs" in wrong.reason
    assert "gradient of W" in judge(one, script, "dZ @ A_prev.T", "(dZ + 1) @ A_prev.T").reason
    right = judge(one, script, '"b": dZ.sum(', '"b": (+dZ).sum(')
    assert (right.failed, right.ran) == ("", 2), right
    assert judge(one, script, "A_prev + b", "A_prev + b * 2").failed
    endless = judge(one, script, "    W, A_prev = cache", "    while True: W, A_prev = cache")
    assert (endless.failed, endless.reason) == (list(SECONDS)[0], "time limit")


def test_what_runs_at_import_is_not_exchanged_in_place(script, server):
    """A changed door or table is refused by a warm server and judged by a cold one."""
    warm, refused = server("warm", TESTS), script("fork_server").UnswappableError
    assert isinstance(judge(warm, script, 'b="n 1"', 'b="n 2"'), refused)
    assert judge(server("cold"), script, 'b="n 1"', 'b="n 2"').failed
