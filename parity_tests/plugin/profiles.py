"""How many examples properties run: profiles of hypothesis, and the count of what they ran.

`dev` draws anew each time, `ci` the same examples each time, `deep` ten times as many. This module
is a plugin of pytest, which conftest registers: it counts, and fails what rejects too much.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.statistics import collector

#: examples of a property of weight 1 in `dev` and `ci`.
EXAMPLES = 50

#: the share of examples that a property may turn away, as proving nothing or without an answer.
REJECTED = 0.1


def register() -> None:
    """Register the profiles and load `ci` where the environment variable CI is set, else `dev`.

    pytest's `--hypothesis-profile` loads another one later, before any test is imported.
    """
    # hypothesis has a profile of its own for CI, from which these would inherit
    every: dict[str, Any] = {"deadline": None, "print_blob": True, "derandomize": False}
    same = {**every, "derandomize": True, "database": None}
    settings.register_profile("dev", max_examples=EXAMPLES, **every)
    settings.register_profile("ci", max_examples=EXAMPLES, **same)
    settings.register_profile("deep", max_examples=10 * EXAMPLES, **every)
    settings.load_profile("ci" if os.environ.get("CI") else "dev")


def weighted(weight: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a property so many times the profile's number of examples."""
    return settings(max_examples=round(weight * settings().max_examples))


@dataclass
class Count:
    """The examples that ran to their end, and those that were turned away."""

    examples: int = 0
    rejected: int = 0

    def add(self, statistics: Mapping[str, Any]) -> None:
        """Add what hypothesis says of one property: a list of examples for each of its phases."""
        for phase, one in statistics.items():
            if phase.endswith("-phase"):
                statuses = [example["status"] for example in one["test-cases"]]
                self.examples += statuses.count("valid") + statuses.count("interesting")
                self.rejected += statuses.count("invalid")

    def check(self) -> None:
        """Raise AssertionError where more examples were rejected than a sound property rejects."""
        if self.rejected > REJECTED * (self.examples + EXAMPLES):
            raise AssertionError(
                f"{self.rejected} examples rejected, {self.examples} kept: the property is vacuous"
            )

    def __str__(self) -> str:
        """Return the line that ends a run."""
        rejected = f" ({self.rejected:,} more rejected)" if self.rejected else ""
        return f"hypothesis: {self.examples:,} examples{rejected}, profile {profile()}"


#: what this process has run.
TOTAL = Count()


def profile() -> str:
    """Return the name of the profile in force."""
    return settings.get_current_profile_name()


@contextmanager
def counting(*counts: Count) -> Iterator[None]:
    """Add the examples of every property that runs inside to the counts."""
    outer: Any = collector.value

    def note(statistics: Mapping[str, Any]) -> None:
        for count in counts:
            count.add(statistics)
        if outer is not None:
            outer(statistics)

    with collector.with_value(note):  # type: ignore[arg-type]
        yield


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of what hypothesis' own plugin does
def pytest_runtest_call() -> Iterator[None]:
    """Count the examples of a test; fail it where it rejects too many."""
    mine = Count()
    with counting(mine, TOTAL):
        yield
    mine.check()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the count over, from a worker of pytest-xdist."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[__name__] = [TOTAL.examples, TOTAL.rejected]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker has counted, unless it died."""
    examples, rejected = getattr(node, "workeroutput", {}).get(__name__, (0, 0))
    TOTAL.examples += examples
    TOTAL.rejected += rejected


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many examples there were."""
    if TOTAL.examples:
        terminalreporter.write_line(str(TOTAL))
