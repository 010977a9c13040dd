"""The pins: IEEE float32 and deterministic algorithms are in force, and put back afterwards."""

from __future__ import annotations

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
def test_a_breach_is_seen_and_mended(name):
    """The state is asked of torch, not remembered; a pin within ends as it began."""
    assert pins.state() == pins.wanted()
    with pins.pinned():
        BREACHES[name]()
        broken, mode = pins.state(), torch.get_deterministic_debug_mode()
        assert broken[name] != pins.wanted()[name]
        with pins.pinned():
            assert pins.state() == pins.wanted()
        assert (pins.state(), torch.get_deterministic_debug_mode()) == (broken, mode)
    assert pins.state() == pins.wanted()


def test_an_exception_puts_everything_back(monkeypatch):
    """The workspace of cuBLAS too, whether it was set or not."""
    monkeypatch.delenv(pins.WORKSPACE)
    before = pins.state()
    with pytest.raises(KeyError), pins.pinned():
        {}["no"]
    assert pins.state() == before
    assert before[pins.WORKSPACE] is None


def test_torch_before_2_9_has_other_flags(monkeypatch):
    """Where there is no fp32_precision, allow_tf32 is what forbids TF32."""
    cudnn = SimpleNamespace(deterministic=False, benchmark=True, allow_tf32=True)
    matmul = SimpleNamespace(allow_tf32=True)
    monkeypatch.setattr(pins, "_CUDNN", cudnn)
    monkeypatch.setattr(torch.backends.cuda, "matmul", matmul)
    with pins.pinned():
        assert pins.state() == pins.wanted()
        assert {cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark} == {False}
    assert {cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark} == {True}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_products_on_cuda_are_ieee():
    """A factor of 2^-12 is lost to TF32, whose significand has 11 bits, and kept by IEEE."""
    one = torch.full((64, 64), 1 + 2**-12, device="cuda")
    assert torch.equal(one @ torch.eye(64, device="cuda"), one)
