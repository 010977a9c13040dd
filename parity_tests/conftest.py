"""Fixtures and hooks: `rng` seeded by the test's id, claims of parity checked, the report."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import scratch
from parity_tests import profiles
from parity_tests.ledger import LEDGER

profiles.register()

#: float32 is the same code in another dtype, and measured against torch's own error: fewer seeds.
FLOAT32_SEEDS = 10

SCRATCH = str(Path(scratch.__file__).parent)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the report."""
    group = parser.getgroup("parity")
    group.addoption("--parity-report", metavar="PATH", help="write every comparison as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks; take one thread, as two thread pools on one machine get in their way."""
    config.pluginmanager.register(profiles, "parity-profiles")
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    config.addinivalue_line("markers", "seeds(n): run the test with n seeds of `rng`")
    config.addinivalue_line("markers", "parity(*names): what of the scratch stem this test proves")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a test marked with seeds(n), in both precisions where it takes a dtype."""
    mark = metafunc.definition.get_closest_marker("seeds")
    if mark is None:
        return
    seeds: list[tuple[type, int]] = [(np.float64, seed) for seed in range(mark.args[0])]
    if "dtype" not in metafunc.fixturenames:
        metafunc.parametrize("seed", range(mark.args[0]), ids=lambda seed: f"seed{seed}")
        return
    seeds += [(np.float32, seed) for seed in range(min(mark.args[0], FLOAT32_SEEDS))]
    ids = [f"{dtype.__name__}-seed{seed}" for dtype, seed in seeds]
    metafunc.parametrize(("dtype", "seed"), seeds, ids=ids)


@pytest.fixture
def seed() -> int:
    """Return the number of the seed where no mark repeats the test."""
    return 0


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> np.random.Generator:
    """Return a generator seeded by the test's module and id: order and -k never change a number."""
    identity = f"{request.node.path.stem}::{request.node.name}"
    return np.random.default_rng([seed, zlib.crc32(identity.encode())])


def called_names(called: set[Any]) -> set[str]:
    """Return the public names that a set of code objects belongs to: functions and classes."""
    return {code.co_qualname.split(".")[0] for code in called}


@pytest.fixture(autouse=True)
def _claims(request: pytest.FixtureRequest) -> Iterator[None]:
    """Name the running test to the ledger; refuse a claim of parity without call or comparison.

    A test marked `parity("linear_forward")` must have run that function of its stem and recorded a
    comparison. Only the first seed is watched, as watching costs time.
    """
    stem = request.node.path.stem.removeprefix("test_")
    LEDGER.concept, LEDGER.case, LEDGER.device = stem, request.node.name, "cpu"
    claims = {name for mark in request.node.iter_markers("parity") for name in mark.args}
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    watched = claims and parameters.get("seed", 0) == 0
    recorded = len(LEDGER.entries)
    called: set[Any] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(SCRATCH):
            called.add(frame.f_code)

    if watched:
        sys.setprofile(watch)
    yield
    sys.setprofile(None)
    if claims and len(LEDGER.entries) == recorded:
        pytest.fail(f"the test claims parity of {sorted(claims)} but compared nothing")
    if watched and not claims <= called_names(called):
        missing = sorted(claims - called_names(called))
        pytest.fail(f"the test claims parity of {missing} but never called it")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the worst error of each concept."""
    if LEDGER.entries:
        terminalreporter.section("parity")
        for line in LEDGER.table():
            terminalreporter.write_line(line)
    path = config.getoption("--parity-report")
    if path:
        LEDGER.write(Path(path))
        terminalreporter.write_line(f"{len(LEDGER.entries)} comparisons written to {path}")
