"""The ledger: every comparison that was made, with its error and its budget."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch


@dataclass(frozen=True)
class Entry:
    """One comparison: what was compared, how far apart it was, how far it might have been."""

    concept: str  # the stem
    case: str  # the test's id
    quantity: str
    dtype: str
    device: str
    error: float  # in eps of dtype
    budget: float  # in eps of dtype
    cause: str
    index: tuple[int, ...]  # where the error is largest


def environment() -> dict[str, Any]:
    """Return the versions, threads and devices that numbers are measured with."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "scipy": scipy.__version__,
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


class Ledger:
    """The comparisons of this process, in order; `case` and `concept` name the running test."""

    def __init__(self) -> None:
        """Begin empty, outside of any test."""
        self.entries: list[Entry] = []
        self.concept = self.case = ""
        self.device = "cpu"

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Forget the comparisons made inside: those that are meant to fail."""
        kept = len(self.entries)
        try:
            yield
        finally:
            del self.entries[kept:]

    def condense(self, start: int) -> None:
        """Keep of the comparisons from `start` on the worst of each quantity: those of examples."""
        worst: dict[tuple[str, ...], Entry] = {}
        for entry in self.entries[start:]:
            key = (entry.case, entry.quantity, entry.dtype, entry.device, entry.cause)
            if key not in worst or entry.error > worst[key].error:
                worst[key] = entry
        self.entries[start:] = worst.values()

    def write(self, path: Path) -> None:
        """Write versions, threads and every comparison as JSON."""
        entries = [asdict(entry) for entry in self.entries]
        text = json.dumps({"environment": environment(), "comparisons": entries}, indent=1)
        path.write_text(text + "\n")

    def table(self) -> list[str]:
        """Return one line a concept: comparisons, and the worst error by cause with its case."""
        lines = [f"{'concept':<16}{'checks':>8}  worst error / budget in eps, by cause"]
        for concept in sorted({entry.concept for entry in self.entries}):
            mine = [entry for entry in self.entries if entry.concept == concept]
            worst = {}
            for entry in sorted(mine, key=lambda entry: entry.error):
                worst[entry.cause] = entry
            causes = "; ".join(
                f"{cause} {entry.error:.3g}/{entry.budget:.3g}"
                for cause, entry in sorted(worst.items())
            )
            lines.append(f"{concept:<16}{len(mine):>8}  {causes}")
        return lines


#: the one ledger of this process, which the harness writes to.
LEDGER = Ledger()
