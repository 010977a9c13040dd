"""Generic checks: each is asked of every row it fits; `parity_tests/tests/test_twins.py` asks them.

A check takes a row, or its name, and the settings of a case; it raises AssertionError where the row
fails, with the line to type to see it again, and ProvesNothingError where the case cannot tell.
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np

from parity_tests.bad_values import bad_values, lengths_of
from parity_tests.calls import calls_of
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError
from parity_tests.compare.optimizers import assert_same_trajectory
from parity_tests.compare.quantities import assert_close
from parity_tests.compare.side_effects import assert_pure, fingerprints, walked
from parity_tests.drawing import LAYOUTS
from parity_tests.findings import deviation, examine, refute
from parity_tests.house import DRAWS_FROM_NUMPY, ELSEWHERE, OVERWRITTEN
from parity_tests.mistakes import Mistake, Values
from parity_tests.plugin.claims import unproven, watching
from parity_tests.rows import SIDES, OptimizerTwin, PairTwin, Relation, Twin, crossed
from parity_tests.twins import twin

Check = Callable[..., None]

#: numbers that are none, and the most places where they are put.
POISONS, PLACES = (np.nan, np.inf, -np.inf), 12

#: steps of a walk that shows what they leave behind; in float32 there is less to see it by.
LONG_WALK = {np.float64: 1000, np.float32: 300}


def asked(check: Check) -> Check:
    """Let a check take a row by name; its failures say which row, and how to see them again."""

    @functools.wraps(check)
    def ask(row: Twin | str, *arguments: Any, **settings: Any) -> None:
        row = twin(row) if isinstance(row, str) else row
        known: dict[str, Any] = {one.name: one for one in row.relations}
        known |= {one.name: one for one in row.mistakes}
        arguments = tuple(known.get(one, one) if type(one) is str else one for one in arguments)
        try:
            check(row, *arguments, **settings)
        except ProvesNothingError:
            raise
        except AssertionError as error:
            given = [repr(row.name), *map(_typed, arguments)]
            given += [f"{name}={_typed(one)}" for name, one in settings.items()]
            line = f"from parity_tests.checks import *; {check.__name__}({', '.join(given)})"
            concept = row.name if row.name == row.stem else f"{row.stem}, {row.name}"
            message = f"{concept}: {str(error).replace('; ', chr(10))}\nformula: {row.formula}"
            raise AssertionError(f"{message}\nagain: python -c {line!r}") from error

    return ask


def _typed(argument: Any) -> str:
    """Return an argument of a check as it is typed: relations and mistakes by name."""
    if isinstance(argument, type):
        return f"np.{argument.__name__}"
    return repr(argument.name if isinstance(argument, Relation | Mistake) else argument)


@asked
def agrees(row: Twin, **settings: Any) -> None:
    """Hold both sides to each other, to a longdouble run of ours and, if smooth, to differences."""
    unseeded = {name: one for name, one in settings.items() if name != "seed"}
    smooth = isinstance(row, PairTwin) and row.smooth(**unseeded)
    case = row.case(**settings)
    try:
        row.compare(case, smooth=smooth)
    except ProvesNothingError:
        raise
    except AssertionError as error:
        raise AssertionError("; ".join([str(error), *_accused(row, case)])) from error


def _accused(row: Twin, case: Mapping[str, Any]) -> Iterator[str]:
    """Yield the side that the row's own text, typed in torch, contradicts, if it is one."""
    with suppress(Exception):  # a text may be for the example alone
        typed = row.as_typed(case) if row.torch else {}
        wrong = {
            side
            for side in SIDES
            for name, one in typed.items()
            if not deviation(name, row.run(side, case)[name], one).eps <= row.budget_of(name).eps
        }
        if len(wrong) == 1:
            text = row.torch.partition("; ")[0]
            yield f"torch as it is typed, {text}, contradicts {wrong.pop()}: that side is wrong"


@asked
def agrees_in_float32(row: Twin, device: str = "cpu", **settings: Any) -> None:
    """Hold ours in float32 to at most twice what torch errs, against torch in float64."""
    row.compare_in_float32(row.case(np.float32, **settings), device)


@asked
def three_witnesses_agree(row: PairTwin, device: str = "cpu", **settings: Any) -> None:
    """Hold a pair at its example by all three witnesses, every quantity large enough to prove."""
    row.witness(row.case(**settings), row.generator(settings), device)


@asked
def walks_alike(
    row: OptimizerTwin, dtype: Any = np.float64, device: str = "cpu", **settings: Any
) -> None:
    """Hold many steps on tensors of very different size, state too, to torch's."""
    choices, rng = row.choices(row.case(**settings)), row.generator(settings)
    sizes = {"W1": 1.0, "b1": 1e-6, "W2": 1e3}
    parameters = {
        name: (size * rng.standard_normal((3, 2))).astype(dtype) for name, size in sizes.items()
    }
    assert_same_trajectory(
        row.ours(**choices),
        functools.partial(row.theirs, **choices),
        parameters,
        rng,
        state=row.state,
        steps=LONG_WALK[dtype],
        device=device,
    )


@asked
def proves_its_names(row: Twin) -> None:
    """Hold the comparison of an example, and of as many edges, to calling what the row claims."""
    begun, empty = len(LEDGER.entries), "claims nothing"
    with watching() as called:
        for settings in ({}, *row.edges.values()) if row.proves else ():
            row.compare(row.case(**settings))
            empty = unproven(set(row.proves), called, len(LEDGER.entries) - begun)
            if not empty:
                return
    raise AssertionError(f"the row {empty}")


@asked
def keeps_the_dtype(row: Twin, dtype: Any) -> None:
    """Hold every floating quantity of ours to the precision of the case."""
    case = row.case(dtype)
    if not any(isinstance(one, np.ndarray) and one.dtype == dtype for one in case.values()):
        return
    for name, value in row.run("scratch", case).items():
        kind = np.asarray(value).dtype
        if kind.kind == "f" and isinstance(value, np.ndarray | np.floating) and kind != dtype:
            raise AssertionError(f"{name} is {kind} where the case is {np.dtype(dtype)}")


@asked
def leaves_no_trace(row: Twin) -> None:
    """Call every public function twice: inputs untouched, no global generator, the same bits."""
    for path, (function, arguments) in calls_of(row).items():
        try:
            known = OVERWRITTEN.get(path) or OVERWRITTEN.get(path.rpartition(".")[0], set())
            overwritten = frozenset(name for name in known if arguments.get(name) is not None)
            assert_pure(function, arguments, overwritten, path in DRAWS_FROM_NUMPY)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from error
    if isinstance(row, PairTwin):
        owns_its_memory(row)


@asked
def refuses(row: Twin) -> None:
    """Spoil each argument of each public function in every way that its validation excludes."""
    for path, (function, arguments) in calls_of(row).items():
        table = getattr(function, "__validation__", {})
        if not (table or isinstance(function, type) or function.__name__ in ELSEWHERE):
            raise AssertionError(f"{path} is not validated")
        for name, expected in table.items():
            if name not in arguments:
                continue
            lengths = (
                one for n, rest in table.items() if n != name
                for one in lengths_of(rest, arguments.get(n))
            )  # fmt: skip
            others = [one for one in lengths if not one.isdigit()]
            for bad, error in bad_values(expected, arguments[name], others):
                spoilt = {**arguments, name: bad}
                before = fingerprints(spoilt)
                refusal = _refusal(function, spoilt)
                if type(refusal) is not error or "expected" not in str(refusal):
                    failure = f"gives {refusal!r}, expected {error.__name__}"
                elif false := _false_number(str(refusal), name, arguments[name], bad):
                    failure = f"says {refusal}: {false} is false"
                elif fingerprints(spoilt) != before:
                    failure = "modifies an argument"
                else:
                    continue
                said = f"{type(bad).__name__} {' '.join(repr(bad).split()):.60}"
                raise AssertionError(f"{path}({name}: {said}) {failure}")

    if isinstance(row, PairTwin) and hasattr(row.ours.backward, "__validation__"):
        _refuses_other_upstreams(row, row.case())


def _refuses_other_upstreams(row: PairTwin, case: Mapping[str, Any]) -> None:
    """Hold the backward to refusing a gradient of another shape, which its table may let pass."""
    upstream, cache = case["upstream"], row.ours.forward(**row.arguments(case))[1]
    for axis in range(upstream.ndim):
        for bad in (np.repeat(upstream, 2, axis), upstream.take([0], axis)):
            refusal = _refusal(lambda bad: row.ours.backward(bad, cache), {"bad": bad})
            if bad.shape != upstream.shape and type(refusal) is not ValueError:
                raise AssertionError(f"the backward of {upstream.shape} takes {bad.shape}")


def _false_number(message: str, name: str, good: Any, bad: Any) -> str:
    """Return a length, or an end of indices, that a message gets wrong, or nothing."""
    shapes = [() if isinstance(one, type) else getattr(one, "shape", ()) for one in (good, bad)]
    right = {one for one, other in zip(*shapes, strict=False) if one != other}
    told = re.match(rf"expected {name} of shape .* with \w+ = (\d+)\b", message)
    if told and len(shapes[0]) == len(shapes[1]) and int(told[1]) not in right:
        return told[1]
    ends = re.search(r" in 0\.\.(\d+) as \w+ has (\d+)", message)
    return ends[1] if ends and int(ends[1]) != int(ends[2]) - 1 else ""


def _refusal(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Exception | None:
    """Return the exception of a call, or None."""
    try:
        walked(function(**arguments))
    except Exception as error:  # whatever it is, it is looked at
        return error
    return None


@asked
def takes_any_layout(row: Twin, layout: str, **settings: Any) -> None:
    """Hold ours to what it gives for arrays in rows, whatever their order, strides and flags."""
    case = row.case(**settings)
    floating = {
        name: LAYOUTS[layout](one)
        for name, one in case.items()
        if isinstance(one, np.ndarray) and one.ndim and one.dtype.kind == "f"
    }
    memory = {name: one if one.base is None else one.base for name, one in floating.items()}
    before = {name: np.copy(one) for name, one in memory.items()}
    for one in floating.values():
        one.flags.writeable = False
    expected, results = (row.run("scratch", one) for one in (case, {**case, **floating}))
    for name, one in memory.items():
        if not np.array_equal(one, before[name], equal_nan=layout != "unaligned"):
            raise AssertionError(f"{name}: the memory around it was written to")
    with LEDGER.unrecorded():
        row.hold(results, expected, row.sizes(case, expected), {})


def _run_of(
    row: Twin, side: str, wrong: Callable[..., Values] | None = None
) -> Callable[..., Values]:
    """Return `run(name, **case)` of a side, in which the row itself may be wrong."""

    def run(name: str, **case: Any) -> Values:
        other = row if name == row.name else twin(name)
        filled = other.complete(case)
        if other is row and wrong is not None:
            return wrong(lambda **case: row.run(side, row.complete(case)), **filled)
        return other.run(side, filled)

    return run


@asked
def gauges_bound_something(row: Twin) -> None:
    """Hold every gauge of the example to a few times the largest entry of what it bounds."""
    case = row.case()
    values = row.run("scratch", case)
    for name, gauge in row.sizes(case, values).items():
        ratio = np.max(gauge) / np.abs(values[name]).max()
        if not ratio <= row.loosest:
            raise AssertionError(f"the gauge of {name} is {ratio:.3g} times its largest entry")


@asked
def backward_is_linear(row: PairTwin, **settings: Any) -> None:
    """Hold the backward of 2 u - 3 v to twice that of u less thrice that of v, on both sides."""
    case = row.case(**settings)
    u = case["upstream"]
    v = np.asarray(row.generator({"seed": 1}).standard_normal(u.shape), u.dtype)
    cases = [{**case, "upstream": one} for one in (u, v, 2 * u - 3 * v)]
    for side in SIDES:
        of_u, of_v, of_both = (row.run(side, one) for one in cases)
        sizes = [row.sizes(one, of_u) for one in cases[:2]]
        for name in [one for one in of_both if one != "output"]:
            terms = 2 * np.asarray(of_u[name]), 3 * np.asarray(of_v[name])
            bounds = (s.get(name, np.abs(t).max()) for s, t in zip(sizes, terms, strict=True))
            gauge = sum(3 * np.abs(one) for one in bounds)
            label = f"{name} by {side}, of 2 u - 3 v against 2 of u less 3 of v,"
            assert_close(of_both[name], terms[0] - terms[1], label, budget=GRADIENT, gauge=gauge)


@asked
def swallows_nothing(row: PairTwin, **settings: Any) -> None:
    """Put NaN and infinities into single entries: ours shows them wherever torch does.

    Both sides are asked behind their validation. Where torch refuses, NaN must show all the same.
    """
    arguments = row.arguments(row.case(**settings))
    forward, theirs = inspect.unwrap(row.ours.forward), inspect.unwrap(row.theirs)
    inputs = row.inputs(arguments)
    for name, array in inputs.items():
        places = list(np.ndindex(np.shape(array)))
        for place, poison in product(places[:: len(places) // PLACES + 1], POISONS):
            spoilt = np.array(array)
            spoilt[place] = poison
            case = {**arguments, name: spoilt}
            try:
                with np.errstate(all="ignore"):
                    shown = ~np.isfinite(forward(**case)[0])
            except ValueError:  # refused
                continue
            try:
                fixed = crossed(case, row.bridge)
                moving = [fixed.pop(name) for name in inputs]
                expected = row.bridge.to_numpy("output", theirs(*moving, **fixed))
            except (RuntimeError, ValueError):
                swallowed = np.isnan(poison) and not shown.any()
            else:
                swallowed = (~np.isfinite(expected) & ~shown).any()
            if swallowed:
                raise AssertionError(f"output: {poison} in {name} at {place} is swallowed")


def owns_its_memory(row: PairTwin) -> None:
    """Hold output and gradients to memory that no argument has."""
    case = row.case()
    arrays = [one for one in case.values() if isinstance(one, np.ndarray)]
    for name, one in row.run("scratch", case).items():
        if any(np.shares_memory(one, other) for other in arrays):
            raise AssertionError(f"{name} shares its memory with an argument")


@asked
def holds(row: Twin, relation: Relation, side: str = "scratch", **settings: Any) -> None:
    """Hold one side to an invariant."""
    try:
        _hold(row, relation, _run_of(row, side), settings)
    except ProvesNothingError:
        raise
    except AssertionError as error:
        said = f"{side} breaks {relation.name!r}, whose left side is called ours"
        raise AssertionError(f"{said}; {error}") from error


def _hold(
    row: Twin, relation: Relation, run: Callable[..., Values], settings: Mapping[str, Any]
) -> None:
    case = row.case(**{**relation.at, **settings})
    first, second = relation.holds(run, **case) or ({}, {})
    if first.keys() != second.keys():
        raise AssertionError(f"{relation.name}: {sorted(first)} against {sorted(second)}")
    gauges = relation.gauges(**case) if relation.gauges else {}
    for name, value in first.items():
        bounds: Any = {"budget": relation.budget, "gauge": gauges.get(name)}
        zero = not np.any(np.asarray(second[name]))
        assert_close(np.asarray(value)[()], second[name], name, expect_zero=zero, **bounds)


@asked
def is_broken(row: Twin, relation: Relation) -> None:
    """Hold the mistake that breaks a relation to breaking it, on either side."""
    breaker = relation.broken_by
    if isinstance(breaker, str):
        mistake = next(one for one in row.mistakes if one.name == breaker)

        def wrong(honest: Callable[..., Values], **case: Any) -> Values:
            return {**honest(**case), **row.wrong_run(mistake, row.complete(case))}
    else:
        wrong = breaker
    for side in SIDES:
        try:
            with LEDGER.unrecorded():
                _hold(row, relation, _run_of(row, side, wrong), {})
        except ProvesNothingError:
            raise
        except AssertionError:
            continue
        raise AssertionError(f"{relation.name!r} holds for the {side} run that should break it")


@asked
def is_right_as_typed(row: Twin) -> None:
    """Hold what the row tells people to type in torch to the course's values."""
    finding = examine(row)
    if finding.failure:
        raise AssertionError(finding.failure)


@asked
def is_off(row: Twin, mistake: Mistake) -> None:
    """Hold a mistake's values to being wrong by their margin."""
    refuted = refute(row, mistake)
    if refuted.failure:
        raise AssertionError(f"{mistake.name}: {refuted.failure}")


@asked
def is_seen(row: Twin, mistake: Mistake) -> None:
    """Plant a mistake in the running module: some quick check of the row must fail."""
    assert mistake.change is not None
    with LEDGER.unrecorded(), mistake.change.planted(), warnings.catch_warnings():
        warnings.simplefilter("error")
        if not any(_fails(check) for check in _quick_checks(row)):
            raise AssertionError(f"no check of the row notices {mistake.name!r}")


def _fails(check: Callable[[], None]) -> bool:
    """Tell whether a check fails; a wrong program may raise anything."""
    try:
        check()
    except ProvesNothingError:
        return False
    except Exception:
        return True
    return False


def _quick_checks(row: Twin) -> Iterator[Callable[[], None]]:
    """Yield the checks that a planted mistake meets."""
    for settings in (*({"seed": seed} for seed in range(3)), *row.edges.values()):
        yield functools.partial(agrees, row, **settings)
    own = {PairTwin: (three_witnesses_agree, swallows_nothing), OptimizerTwin: (walks_alike,)}
    for check in (*own.get(type(row), ()), _runs_leave_no_trace, leaves_no_trace):
        yield functools.partial(check, row)
    for dtype in (np.float32, np.longdouble):
        yield functools.partial(keeps_the_dtype, row, dtype)
    for layout in LAYOUTS:
        yield functools.partial(takes_any_layout, row, layout)
    for relation, side in product(row.relations, SIDES):
        yield functools.partial(holds, row, relation, side)
    yield functools.partial(refuses, row)


def _runs_leave_no_trace(row: Twin) -> None:
    """Hold a run of the row to leaving its case and the global generators as they were."""
    assert_pure(lambda **case: row.run("scratch", case), row.case())
