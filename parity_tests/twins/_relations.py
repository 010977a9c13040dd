"""Relations of many rows, and breakers: honest runs that take something else, or are spoilt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from parity_tests.compare.quantities import assert_equal
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case

Breaker = Callable[..., Values]


def mistyped(
    typed: Callable[..., Values], *table: tuple[str, float, str, str]
) -> tuple[Mistake, ...]:
    """Return mistakes by name, margin, reason and the text that is typed in place of the right."""
    return tuple(
        Mistake(name=name, margin=margin, why=why, values=partial(typed, text))
        for name, margin, why, text in table
    )


def same_under(
    row: str,
    change: Callable[..., Case],
    undo: Callable[[Values], Values] = dict,
    keys: Sequence[str] = (),
    exact: bool = False,
) -> Callable[..., tuple[Values, Values] | None]:
    """Return a relation: after `change(**case)` a row gives the same, once `undo` has been at it.

    Of its quantities those of `keys` are compared, or all; with `exact` to the bit.
    """

    def holds(run: Callable[..., Values], **case: Any) -> tuple[Values, Values] | None:
        results = undo(run(row, **{**case, **change(**case)})), run(row, **case)
        first, second = ({name: one[name] for name in keys or one} for one in results)
        if not exact:
            return first, second
        for name, one in second.items():
            assert_equal(first[name], one, name)
        return None

    return holds


def taking(change: Callable[..., Case] = lambda **_: {}, /, **instead: Any) -> Breaker:
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


def mapped(name: str, change: Callable[[Any], Any]) -> Callable[[Values], Values]:
    """Return the function of results that changes one of them."""
    return lambda results: {**results, name: change(results[name])}
