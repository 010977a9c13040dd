"""Profiles of hypothesis, and the line that says how many examples a run has drawn.

`dev` draws anew each time, `ci` the same examples each time, `deep` twenty times as many. This
module is a plugin of pytest, which conftest registers. Cases that are turned away too often fail by
hypothesis' own health check.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.statistics import collector

#: examples of a property of weight 1 in `dev` and `ci`.
EXAMPLES = 25

#: examples of this process, and of its workers, by what became of them.
DRAWN = {"kept": 0, "rejected": 0}


def register() -> None:
    """Register the profiles and load `ci` where the environment variable CI is set, else `dev`.

    pytest's `--hypothesis-profile` loads another one later, before any test is imported.
    """
    # drawn anew, unlike in hypothesis' own profile for CI; the first failure as a message, no group
    anew: Any = {"deadline": None, "derandomize": False, "report_multiple_bugs": False}
    settings.register_profile("dev", max_examples=EXAMPLES, print_blob=True, **anew)
    dev = settings.get_profile("dev")
    settings.register_profile("ci", dev, derandomize=True, database=None)
    settings.register_profile("deep", dev, max_examples=20 * EXAMPLES)
    settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of hypothesis' own plugin, which collects too
def pytest_runtest_call() -> Iterator[None]:
    outer: Any = collector.value

    def note(statistics: Mapping[str, Any]) -> None:
        for phase, one in statistics.items():
            for example in one["test-cases"] if phase.endswith("-phase") else ():
                DRAWN["rejected" if example["status"] == "invalid" else "kept"] += 1
        if outer is not None:
            outer(statistics)

    with collector.with_value(note):  # type: ignore[arg-type]
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    getattr(session.config, "workeroutput", {})[__name__] = dict(DRAWN)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the count of a worker, unless it died."""
    for fate, number in getattr(node, "workeroutput", {}).get(__name__, {}).items():
        DRAWN[fate] += number


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if DRAWN["kept"]:
        more = f" ({DRAWN['rejected']:,} more rejected)" if DRAWN["rejected"] else ""
        profile = settings.get_current_profile_name()
        line = f"hypothesis: {DRAWN['kept']:,} examples{more}, profile {profile}"
        terminalreporter.write_line(line)
