"""Pins of torch for a run: float32 products as IEEE rounds them, algorithms that repeat.

TF32 keeps ten bits of a float32, and an atomic sum of CUDA adds in another order each time: neither
may stand beside a budget of a few eps. Everything is put back where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

#: cuBLAS repeats its sums only with a workspace of its own, asked for before CUDA starts.
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"

#: untyped, as older versions of torch lack what newer ones have
_CUDNN: Any = torch.backends.cudnn
_MKLDNN: Any = torch.backends.mkldnn


def _flags() -> dict[str, tuple[Any, str, Any]]:
    """Return each flag's object, attribute and pinned value, as this version of torch spells it."""
    flags: dict[str, tuple[Any, str, Any]] = {
        "cudnn.deterministic": (_CUDNN, "deterministic", True),
        "cudnn.benchmark": (_CUDNN, "benchmark", False),
    }
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):  # before torch 2.9
        flags["cuda.matmul.allow_tf32"] = matmul, "allow_tf32", False
        flags["cudnn.allow_tf32"] = _CUDNN, "allow_tf32", False
        return flags
    parts = {"cuda.matmul": matmul, "cudnn.conv": _CUDNN.conv, "cudnn.rnn": _CUDNN.rnn}
    parts["mkldnn.matmul"] = _MKLDNN.matmul
    return flags | {
        f"{name}.fp32_precision": (part, "fp32_precision", "ieee") for name, part in parts.items()
    }


def state() -> dict[str, Any]:
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.get_deterministic_debug_mode() == 2,
        WORKSPACE: os.environ.get(WORKSPACE),
        **{name: getattr(part, attribute) for name, (part, attribute, _) in _flags().items()},
    }


def wanted() -> dict[str, Any]:
    return {
        "float32_matmul_precision": "highest",
        "deterministic_algorithms": True,
        WORKSPACE: ":4096:8",
        **{name: value for name, (_, _, value) in _flags().items()},
    }


@contextmanager
def pinned() -> Iterator[None]:
    """Put every pin in force inside, and what was in force before back afterwards."""
    flags, before = _flags(), state()
    mode = torch.get_deterministic_debug_mode()
    try:
        os.environ[WORKSPACE] = wanted()[WORKSPACE]
        torch.set_float32_matmul_precision("highest")
        for part, attribute, value in flags.values():
            setattr(part, attribute, value)
        # "error", as `use_deterministic_algorithms(True)` without the second its import takes
        torch.set_deterministic_debug_mode(2)
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.set_float32_matmul_precision(before["float32_matmul_precision"])
        for name, (part, attribute, _) in flags.items():
            setattr(part, attribute, before[name])
        if before[WORKSPACE] is None:
            os.environ.pop(WORKSPACE, None)
        else:
            os.environ[WORKSPACE] = before[WORKSPACE]
