"""The ledger: every comparison that was made, with its error and its budget."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

from parity_tests.compare import reproducibility as pins
from parity_tests.compare.files import write_whole

#: of the JSON report; it counts up when a key goes or changes its meaning.
SCHEMA = 2

#: columns of the table; what else a comparison may be is one more, in percent of its budget.
KINDS = ("forward", "gradient", "step")

#: the table's width in characters, those of its columns, and what is left to the case.
WIDTH, CONCEPT, CHECKS, CELL, SHARE, TRUTH = 120, 25, 8, 12, 7, 14
CASE = WIDTH - CONCEPT - CHECKS - CELL * len(KINDS) - SHARE - TRUTH - 2

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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """Return the versions, libraries, threads, devices and pins that numbers are measured with."""
    built = torch.__config__.show()
    found = re.search(r"BLAS_INFO=(\w+)", built)
    able = torch.cuda.is_available()
    packages = ("numpy", "torch", "scipy", "hypothesis", "pytest", "threadpoolctl")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        **{package: _version(package) for package in packages},
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


def _processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


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
        """Write the environment, what is said of the run, and every comparison, one a line.

        An error that is not finite is null: JSON has no number for it.
        """
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
        """Return one line a concept: comparisons, the worst of each kind, the worst case; a legend.

        The worst is the one nearest to its budget. Beside it stands how far ours and torch's went
        from a wider run of ours, or from torch in float64, wherever there was one.
        """
        heads = "".join(f"{kind:>{CELL}}" for kind in KINDS)
        lines = [
            f"{'concept':<{CONCEPT}}{'checks':>{CHECKS}}{heads}{'other':>{SHARE}}"
            f"{'ours : torch':>{TRUTH}}  worst case"
        ]
        concepts: dict[str, list[Entry]] = {}
        for entry in self.entries:
            concepts.setdefault(entry.concept, []).append(entry)
        for concept, mine in sorted(concepts.items()):
            worst = _worst(mine, attrgetter("kind"))
            cells = "".join(f"{_fraction(worst.get(kind)):>{CELL}}" for kind in KINDS)
            other = f"{worst['other'].share:.0%}" if "other" in worst else ""
            case = max(worst.values(), key=lambda entry: entry.share).case
            lines.append(
                f"{_short(concept, CONCEPT - 1):<{CONCEPT}}{len(mine):>{CHECKS},}{cells}"
                f"{other:>{SHARE}}{_truth(mine):>{TRUTH}}  {_short(case, CASE)}"
            )
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
    values = {
        name: _plain(value) if name.endswith(("error", "budget")) else value
        for name, value in vars(entry).items()
    }
    return json.dumps({**values, "passed": bool(entry.error <= entry.budget)}, allow_nan=False)


def _plain(number: float | None) -> float | None:
    """Return a number of any dtype as JSON has it: null where it is not finite."""
    return None if number is None or not math.isfinite(number) else float(number)


def _fraction(entry: Entry | None) -> str:
    if entry is None:
        return ""
    texts = [f"{entry.error:.{digits}g}/{entry.budget:.{digits}g}" for digits in (3, 2, 1)]
    return next((text for text in texts if len(text) < CELL), texts[-1])


def _truth(entries: list[Entry]) -> str:
    """Return how far each side went from a wider truth, or nothing where there was none."""
    ours = [one.ours_error for one in entries if one.ours_error is not None]
    theirs = [one.theirs_error for one in entries if one.theirs_error is not None]
    return f"{max(ours):.3g} : {max(theirs):.3g}" if ours and theirs else ""


def _short(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


#: the one ledger of this process, which the harness writes to.
LEDGER = Ledger()
