"""Fixtures and hooks: `rng` seeded by the test's id, claims of parity checked, the report."""

from __future__ import annotations

import inspect
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  # its BLAS has threads of its own, to be limited too
import torch
from threadpoolctl import threadpool_limits

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.plugin import options, profiles
from parity_tests.plugin.claims import unproven, watching

profiles.register()

#: number of draws after which a test has to prove something.
DRAWS = 10

#: why a test of CUDA is skipped.
NO_CUDA = "no CUDA device: torch.cuda.is_available() is False"

#: line about the report: the path it was written to, or the error.
WRITTEN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; until the run ends pin precision, algorithms, and one thread."""
    config.pluginmanager.register(profiles, "parity-profiles")
    pinned = ExitStack()
    config.add_cleanup(pinned.close)
    pinned.enter_context(pins.pinned())
    pinned.enter_context(threadpool_limits(1, user_api="blas"))
    pinned.callback(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(1)
    proven = "parity(*names): public names of the stem that this test proves"
    config.addinivalue_line("markers", proven)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes a device on each that was asked for; on the CPU its id is the same."""
    devices = options.chosen(metafunc.config, "device")
    if "device" in metafunc.fixturenames and "cuda" in devices:
        missing = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
        cpu = [pytest.param("cpu", id=pytest.HIDDEN_PARAM)] if "cpu" in devices else []
        cases = [*cpu, pytest.param("cuda", id="cuda", marks=missing)]
        metafunc.parametrize("device", cases, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for; begin with the rows, whose failures say most."""
    items.sort(key=lambda item: item.path.stem != "test_twins")
    asked = {item for item in items if _asked_for(parameters_of(item), config)}
    config.hook.pytest_deselected(items=[item for item in items if item not in asked])
    items[:] = [item for item in items if item in asked]


def parameters_of(item: Any) -> dict[str, Any]:
    return getattr(getattr(item, "callspec", None), "params", {})


def _asked_for(parameters: dict[str, Any], config: pytest.Config) -> bool:
    """Tell whether a test has a device and a dtype, or none, that was asked for."""
    if "cpu" not in options.chosen(config, "device") and "device" not in parameters:
        return False
    try:
        dtype = np.dtype(parameters.get("dtype", int))
    except TypeError:  # a test of what is refused
        return True
    dtypes = options.chosen(config, "dtype")
    return dtypes == options.ALL["dtype"] or dtype.kind != "f" or dtype.name in dtypes


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """Return where torch computes, as the ledger has it from here on."""
    LEDGER.device = getattr(request, "param", "cpu")
    return LEDGER.device


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Return a generator seeded by the test's module and id, whatever runs beside it, and where."""
    name = re.sub(r"-cuda\b|\bcuda-|\[cuda\]", "", request.node.name)
    identity = f"{request.node.path.stem}::{name}"
    anew = options.chosen_seed(request.config)
    return np.random.default_rng([0, zlib.crc32(identity.encode()), *([anew] if anew else [])])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Let a test draw again, up to ten times in all, where what it drew proves nothing."""
    if "rng" not in pyfuncitem.funcargs:
        return None
    taken = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: one for name, one in pyfuncitem.funcargs.items() if name in taken}
    for left in reversed(range(DRAWS)):
        begun = len(LEDGER.entries)
        try:
            pyfuncitem.obj(**arguments)
            break
        except ProvesNothingError:
            if not left:
                raise
            del LEDGER.entries[begun:]
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Name the test to the ledger."""
    stem = getattr(parameters_of(item).get("row"), "stem", "")
    LEDGER.concept = stem or item.path.stem.removeprefix("test_")
    LEDGER.case, LEDGER.device = item.name, "cpu"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hold a test marked `parity("linear_forward")` to running that function and comparing."""
    claims = {name for mark in item.iter_markers("parity") for name in mark.args}
    recorded, called = len(LEDGER.entries), set[Any]()
    with watching() if claims else nullcontext(called) as called:
        yield
    if empty := unproven(claims, called, len(LEDGER.entries) - recorded):
        pytest.fail(f"the test {empty}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, however the run ended; a worker hands its comparisons over."""
    config = session.config
    if (output := getattr(config, "workeroutput", None)) is not None:
        output[__package__] = LEDGER.packed()
    elif path := options.report_path(config):
        run = {
            "arguments": [str(one) for one in config.invocation_params.args],
            **{name: config.getoption(name) for name in options.ALL},
            "seed": options.chosen_seed(config),
            "tests": session.testscollected,
            "failures": session.testsfailed,
            "exit_status": int(session.exitstatus),
        }
        try:
            LEDGER.write(path, run)
            config.stash[WRITTEN] = f"{len(LEDGER.entries):,} comparisons written to {path}"
        except OSError as error:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            config.stash[WRITTEN] = f"the report could not be written: {error}"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist has compared, unless it died."""
    LEDGER.unpack(getattr(node, "workeroutput", {}).get(__package__, "[]"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the worst errors of each concept, where they were measured, and the seed."""
    cuda, seed, lines = "cuda" in options.chosen(config, "device"), options.chosen_seed(config), []
    if LEDGER.entries or cuda:
        terminalreporter.section("parity")
        lines = [*(LEDGER.table() if LEDGER.entries else ()), _of_cuda(cuda)]
    lines += [f"drawn anew by --parity-seed={seed}"] if seed else []
    for line in filter(None, [*lines, config.stash.get(WRITTEN, "")]):
        terminalreporter.write_line(line)


def _of_cuda(asked: bool) -> str:
    """Say what was held on a CUDA device, or why nothing was."""
    if not asked:
        return "CUDA: not asked for (--device all runs it too)"
    if not torch.cuda.is_available():
        return f"CUDA: skipped, {NO_CUDA}"
    held = sum(entry.device == "cuda" for entry in LEDGER.entries)
    return f"CUDA: {held:,} comparisons on {torch.cuda.get_device_name()}, float32 as IEEE has it"
