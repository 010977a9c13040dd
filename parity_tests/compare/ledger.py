"""The ledger: every comparison that was made, with its error and its budget."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_info

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.files import write_whole

#: of the JSON report; it counts up when a key goes or changes its meaning.
SCHEMA = 2

#: columns of the table; what else a comparison may be is one more, in percent of its budget.
KINDS = ("forward", "gradient", "step")

#: the table's width in characters, those of its columns, and what is left to the case.
WIDTH = 120
COLUMNS = {"checks": 8, **dict.fromkeys(KINDS, 12), "other": 7, "ours : torch": 14}
CONCEPT, CELL = 25, COLUMNS["forward"]
CASE = WIDTH - CONCEPT - sum(COLUMNS.values()) - 2

#: meaning of the columns.
LEGEND = (
    "eps units: the worst error/budget of each kind, other kinds in percent of their budget; "
    "worst distance from wider truth"
)


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
    ours_error: float | None = None  # of ours from the wider truth, in eps of dtype; None: no truth
    theirs_error: float | None = None  # of torch's, over the same gauge
    kind: str = "other"  # one of KINDS, or other: differences, trainings, statistics

    @property
    def share(self) -> float:
        if not math.isfinite(self.error):
            return math.inf
        if self.budget:
            return self.error / self.budget
        return math.inf if self.error else 0.0


def environment() -> dict[str, Any]:
    """Return the versions, libraries, threads, devices and pins that numbers are measured with."""
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    able, about = torch.cuda.is_available(), Path("/proc/cpuinfo")
    packages = ("numpy", "scipy", "hypothesis", "pytest", "threadpoolctl")
    processor = re.search(r"model name\s*:\s*(.+)", about.read_text() if about.exists() else "")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": processor[1] if processor else platform.processor(),
        **{one: version(one) if find_spec(one) else None for one in packages},
        "torch": torch.__version__,  # with the build it is of
        "threads": torch.get_num_threads(),
        "blas": {
            "numpy and scipy": [
                {key: one[key] for key in ("internal_api", "version", "num_threads")}
                for one in threadpool_info()
                if one["user_api"] == "blas"
            ],
            "torch": found[1] if found else None,
        },
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "pins": pins.state(),
        "cuda": torch.cuda.get_device_name() if able else None,
        "cuda_version": torch.version.cuda,
    }


class Ledger:
    """The comparisons of this process, in order; `case` and `concept` name the running test."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.concept = self.case = ""
        self.device = "cpu"

    def record(self, quantity: str, dtype: Any, *measured: Any) -> None:
        """Add a comparison, measured as the fields of `Entry` say from its error on."""
        named = self.concept, self.case, quantity, str(dtype), self.device
        self.entries.append(Entry(*named, *measured))

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
        same = attrgetter("case", "quantity", "dtype", "device", "cause")
        self.entries[start:] = _worst(self.entries[start:], same).values()

    def write(self, path: Path, run: Mapping[str, Any] | None = None) -> None:
        """Write the environment, what is said of the run, and every comparison, one a line."""
        head = json.dumps(
            {"schema": SCHEMA, "environment": environment(), "run": dict(run or {})}, indent=1
        )
        lines = ",\n".join(_as_json(entry) for entry in self.entries)
        body = f',\n "comparisons": [\n{lines}\n ]\n}}\n'
        write_whole(path, head.removesuffix("\n}") + body)

    def packed(self) -> str:
        return json.dumps([[*vars(entry).values()] for entry in self.entries], default=float)

    def unpack(self, text: str) -> None:
        for values in json.loads(text):
            entry = Entry(*values)
            self.entries.append(replace(entry, index=tuple(entry.index)))

    def table(self) -> list[str]:
        """Return one line a concept: comparisons, those nearest to their budgets; a legend."""
        lines = [_line("concept", {name: name for name in COLUMNS}, "worst case")]
        concepts: dict[str, list[Entry]] = {}
        for entry in self.entries:
            concepts.setdefault(entry.concept, []).append(entry)
        for concept, mine in sorted(concepts.items()):
            worst = _worst(mine, attrgetter("kind"))
            cells = {kind: _fraction(worst[kind]) for kind in KINDS if kind in worst}
            cells |= {"checks": f"{len(mine):,}", "ours : torch": _truth(mine)}
            if "other" in worst:
                cells["other"] = f"{worst['other'].share:.0%}"
            case = max(worst.values(), key=lambda entry: entry.share).case
            lines.append(_line(concept, cells, case))
        return [*lines, LEGEND]


def _worst(entries: Iterable[Entry], key_of: Callable[[Entry], Any]) -> dict[Any, Entry]:
    """Return of the comparisons of each key the one nearest to its budget, or furthest beyond."""
    worst: dict[Any, Entry] = {}
    for entry in entries:
        key = key_of(entry)
        if key not in worst or entry.share > worst[key].share:
            worst[key] = entry
    return worst


def _as_json(entry: Entry) -> str:
    """Return a comparison as JSON has it: errors that are not finite are null."""
    values = {
        name: float(one) if isinstance(one, float | np.floating) and math.isfinite(one) else None
        for name, one in vars(entry).items()
        if name.endswith(("error", "budget"))
    }
    passed = {"passed": bool(entry.error <= entry.budget)}
    return json.dumps({**vars(entry), **values, **passed}, allow_nan=False)


def _line(concept: str, cells: Mapping[str, str], case: str) -> str:
    middle = "".join(f"{cells.get(name, ''):>{width}}" for name, width in COLUMNS.items())
    return f"{_short(concept, CONCEPT - 1):<{CONCEPT}}{middle}  {_short(case, CASE)}"


def _fraction(entry: Entry) -> str:
    texts = [f"{entry.error:.{digits}g}/{entry.budget:.{digits}g}" for digits in (3, 2, 1)]
    return next((text for text in texts if len(text) < CELL), texts[-1])


def _truth(entries: list[Entry]) -> str:
    """Return the distance of each side from a wider truth, or nothing where there was none."""
    both = [(e.ours_error, e.theirs_error) for e in entries if e.ours_error is not None]
    return " : ".join(f"{max(side):.3g}" for side in zip(*both, strict=True))


def _short(text: str, width: int) -> str:
    tail = (width - 1) // 3
    return text if len(text) <= width else f"{text[: width - 1 - tail]}…{text[-tail:]}"


#: the one ledger of this process, which the harness writes to.
LEDGER = Ledger()
