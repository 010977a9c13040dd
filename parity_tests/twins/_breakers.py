"""Breakers of relations: honest runs that take something else, or whose results are spoilt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity_tests.mistakes import Values

Breaker = Callable[..., Values]


def taking(change: Callable[..., Any] = dict, /, **instead: Any) -> Breaker:
    """Return a run that takes other arguments: these, and those that `change(**case)` returns."""

    def wrong(honest: Callable[..., Values], **case: Any) -> Values:
        return dict(honest(**{**case, **change(**case), **instead}))

    return wrong


def spoilt(name: str, change: Callable[[Any], Any]) -> Breaker:
    """Return a run of which one result, where it is among them, is changed."""

    def wrong(honest: Callable[..., Values], **case: Any) -> Values:
        results = dict(honest(**case))
        return {**results, name: change(results[name])} if name in results else results

    return wrong
