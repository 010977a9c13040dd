"""The pins: IEEE float32 and deterministic algorithms are in force, and put back afterwards."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch

from parity_tests.compare import reproducibility as pins

#: each pin broken in turn, as code under test might.
BREACHES = {
    "float32_matmul_precision": lambda: torch.set_float32_matmul_precision("high"),
    "deterministic_algorithms": lambda: torch.set_deterministic_debug_mode("warn"),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", False),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_seen_and_mended(name, monkeypatch):
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
