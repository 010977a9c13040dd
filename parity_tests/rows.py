"""Rows: all that the proof knows of one concept on both sides, as data that `checks` asks about.

Three kinds: a `PairTwin` is a forward with its backward, a `FunctionTwin` a function or a whole run
that gives named quantities, an `OptimizerTwin`, in `optimizer_rows`, a rule that walks. The rows of
a stem stand in `parity_tests/twins/<stem>.py`, in `TWINS`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

import torch_ref
from parity_tests.compare.bridge import AS_IT_IS, BY_NAME, Bridge
from parity_tests.compare.budgets import FLOAT32_FLOOR, FORWARD, GRADIENT, Budget
from parity_tests.compare.fingerprints import unmodified
from parity_tests.compare.functions import assert_no_worse, assert_twins, pull_back
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError, record_equal
from parity_tests.compare.quantities import Quantity, agree, assert_equal
from parity_tests.compare.witnesses import cast, widened
from parity_tests.drawing import SMOOTH
from parity_tests.mistakes import Mistake, Values

#: arguments by name, quantities by name, and the numbers that a case is drawn from.
Case = Mapping[str, Any]
Settings = Mapping[str, Any]

#: the two implementations of every row.
SIDES = ("scratch", "torch_ref")

#: first entry of every seed: no seed that a person writes gives the same stream.
ENTROPY = 0x70617269747920


def evaluate(text: str, **names: Any) -> Any:
    """Return the value of the expression before the first semicolon of a row's own text."""
    known = {"torch": torch, "torch_ref": torch_ref, "math": math, **names}
    return eval(text.partition("; ")[0], known)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """An invariant of a concept, held by both sides and broken by a mistake.

    `holds(run, **case)` calls `run(name, **case)`, which gives the quantities that one side makes
    of a row's case, and returns two sets of quantities that must be equal, within `budget` of
    `gauges(**case)`; or it raises AssertionError itself and returns None. `broken_by` names a
    mistake of the row, or is a function of an honest run and a case, whose results take the place
    of the row's.
    """

    name: str
    holds: Callable[..., tuple[Values, Values] | None]
    broken_by: str | Callable[..., Values]
    at: Settings = field(default_factory=dict)
    budget: Budget = GRADIENT
    gauges: Callable[..., Values] | None = None


class Pair(NamedTuple):
    """A forward and its backward."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A row: a concept on both sides, and all that the proof knows of it.

    Args:
        name: how the row is asked for, unique among all.
        formula: the course's formula.
        source: where the formula is taught, and its place in torch's documentation.
        proves: the public names of the stem whose parity this row shows.
        draw: `draw(rng, **settings) -> {argument: value}`; defaults of settings are the example.
        cases: a strategy of hypothesis for each setting that varies.
        edges: settings that always run, by name.
        relations: invariants of either side.
        mistakes: wrong forms that are measured; those that are typed join them from their file.
        torch: the expression that a person types in torch, then perhaps "; " and a remark.
        typed: `typed(text, **case)` gives quantities of that expression, evaluated.
        topic: heading of the row among the conventions, its stem by default.
        budget: how far the quantities may be apart.
        exact: whether both sides must give the same numbers to the bit.
        weight: share of the profile's examples that hypothesis draws.
        stem: file of the row, set where the rows are gathered.
        wide: whether a longdouble run of ours bears witness.
        gauges: gives what quantities are gauged by, the largest entry where it gives none.
        float32: whether the case is also held in float32, against torch in float64.
        float32_floor: eps that ours may err in float32 beside twice what torch does.
        loosest: largest gauge of the example over the largest entry; sums of forty terms of either
            sign cancel, quotients of differences much more.
    """

    name: str
    formula: str
    source: str
    proves: tuple[str, ...] = ()
    draw: Callable[..., Case]
    cases: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    edges: Mapping[str, Settings] = field(default_factory=dict)
    relations: Sequence[Relation] = ()
    mistakes: Sequence[Mistake] = ()
    torch: str = ""
    typed: Callable[..., Values] | None = None
    topic: str = ""
    budget: Budget = FORWARD
    exact: bool = False
    weight: float = 1.0
    stem: str = ""
    wide: bool = True
    gauges: Callable[..., Values] | None = None
    float32: bool = False
    float32_floor: Budget = FLOAT32_FLOOR
    loosest: float = 100

    def settings(self) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({**self.cases, "seed": st.integers(0, 2**32 - 1)})

    def generator(self, settings: Settings) -> np.random.Generator:
        return np.random.default_rng(
            [ENTROPY, settings.get("seed", 0), zlib.crc32(self.name.encode())]
        )

    def case(self, dtype: Any = np.float64, /, **settings: Any) -> Case:
        """Return the arguments that these settings draw, in a precision."""
        chosen = {name: one for name, one in settings.items() if name != "seed"}
        return self.complete(cast(dict(self.draw(self.generator(settings), **chosen)), dtype))

    def complete(self, case: Case) -> Case:
        return case

    def run(self, side: str, case: Case, device: str = "cpu") -> Values:
        """Return the quantities that a side makes of a case, in the layout of `scratch`."""
        raise NotImplementedError

    def run_ours(self, case: Case) -> Values:
        """Return our quantities; raise AssertionError where an argument was modified on the way."""
        moving = np.random.Generator, torch.Generator
        with unmodified({name: one for name, one in case.items() if not isinstance(one, moving)}):
            return self.run("scratch", case)

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        raise NotImplementedError

    def wrong_run(self, mistake: Mistake, case: Case) -> Values:
        """Return the quantities that a mistake makes of a case, some or all of the row's."""
        if mistake.values is not None:
            return mistake.values(**case)
        if mistake.wrong is not None:
            return self.torch_run(mistake.wrong, case)
        assert mistake.change is not None, f"{mistake.name} of {self.name} has no values"
        with mistake.change.planted(), np.errstate(all="ignore"):
            return self.run(mistake.change.module.partition(".")[0], case)

    def compare(self, case: Case, *, smooth: bool = False, device: str = "cpu") -> None:
        """Hold every quantity of both sides to each other and to a longdouble run of ours.

        Raise AssertionError unless they agree, ProvesNothingError where the case cannot tell.
        """
        LEDGER.device = device
        ours, theirs = self.run_ours(case), self.run("torch_ref", case, device)
        if ours.keys() != theirs.keys():
            raise AssertionError(f"ours gives {sorted(ours)}, theirs {sorted(theirs)}")
        counts = {
            name for name, one in ours.items() if self.exact or np.asarray(one).dtype.kind != "f"
        }
        for name in counts:
            assert_equal(ours[name], theirs[name], self.label(name))
            record_equal(self.label(name), np.asarray(ours[name]).dtype)
        if counts == ours.keys():
            return
        wide = (widened(self.run, "scratch", case) if self.wide else None) or {}
        gauges = self.sizes(case, ours)
        quantities = {}
        for name in [one for one in ours if one not in counts]:
            rest = theirs[name], gauges.get(name), self.budget_of(name), wide.get(name)
            quantities[self.label(name)] = Quantity(np.asarray(ours[name])[()], *rest)
        agree(quantities)

    def compare_in_float32(self, case: Case, device: str = "cpu") -> None:
        """Hold ours in float32 to twice what torch errs, both against torch in float64."""
        if self.exact:
            self.compare(case, device=device)
            return
        LEDGER.device = device
        ours, theirs = self.run_ours(case), self.run("torch_ref", case, device)
        exact, gauges = self.run("torch_ref", cast(case, np.float64)), self.sizes(case, ours)
        proven = False
        for name, one in ours.items():
            if np.asarray(one).dtype.kind != "f":
                assert_equal(one, theirs[name], name)
                continue
            held = one, theirs[name], exact[name], name, gauges.get(name)
            with suppress(ProvesNothingError):  # it drowns, inside of its tolerance
                assert_no_worse(*held, self.float32_floor, self.budget_of(name).kind)
                proven = True
        if not proven:
            raise ProvesNothingError(f"{', '.join(ours)} drown in their tolerances")

    def label(self, quantity: str) -> str:
        return quantity

    def sizes(self, case: Case, ours: Values) -> Values:
        """Return the gauges of a case by quantity; ours are its quantities."""
        return {}

    def as_typed(self, case: Case) -> Values:
        return self.typed(self.torch, **case) if self.typed else {}

    def budget_of(self, quantity: str) -> Budget:
        return self.budget


def named(result: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return {str(name): one for name, one in result.items()}
    if hasattr(result, "_asdict"):
        return dict(result._asdict())
    if isinstance(result, tuple | list) and len(names) > 1:
        return dict(zip(names, result, strict=True))
    return numbered(result, names[0])


def numbered(result: Any, name: str) -> dict[str, Any]:
    """Return the entries of nested sequences as quantities: "fold 2 1", the first of the second."""
    if not isinstance(result, tuple | list):
        return {name: result}
    entries = (numbered(one, f"{name} {i}") for i, one in enumerate(result, start=1))
    return {key: one for found in entries for key, one in found.items()}


@dataclass(frozen=True, kw_only=True)
class PairTwin(Twin):
    """A forward and backward of `scratch` against a differentiable function of torch.

    Quantities are "output" and "gradient of X" for each argument X that is not in `constants`, for
    an upstream gradient that is drawn and stands in the case as "upstream".

    Args:
        theirs: takes the arguments in their order as tensors, constants by name.
        constants: arguments without a gradient.
        gauges: `gauges(arguments, upstream)` gives those of "output" and of arguments by name.
        gradient_budget: how far gradients may be apart.
        smooth: tells from the settings whether central differences can bear witness.
        bridge: how arrays cross between the layouts.
    """

    ours: Pair
    theirs: Callable[..., torch.Tensor]
    constants: tuple[str, ...] = ()
    gradient_budget: Budget = GRADIENT
    smooth: Callable[..., bool] = lambda kind="normal", **_: kind in SMOOTH
    float32: bool = True
    bridge: Bridge = BY_NAME

    def complete(self, case: Case) -> Case:
        if "upstream" in case:
            return case
        output = np.asarray(self.ours.forward(**case)[0])
        rng = np.random.default_rng([ENTROPY, *output.shape, zlib.crc32(self.name.encode())])
        return {**case, "upstream": np.asarray(rng.standard_normal(output.shape), output.dtype)}

    def arguments(self, case: Case) -> dict[str, Any]:
        return {name: one for name, one in case.items() if name != "upstream"}

    def inputs(self, case: Case) -> dict[str, Any]:
        arguments = self.arguments(case)
        return {name: one for name, one in arguments.items() if name not in self.constants}

    def run(self, side: str, case: Case, device: str = "cpu") -> Values:
        if side == "scratch":
            output, cache = self.ours.forward(**self.arguments(case))
            gradients = self.ours.backward(case["upstream"][()], cache)
            return {"output": output, **{f"gradient of {n}": g for n, g in gradients.items()}}
        return self.torch_run(self.theirs, case, device)

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        fixed = {name: case[name] for name in self.constants if name in case}
        given = self.inputs(case), fixed, np.asarray(case["upstream"])
        output, gradients = pull_back(function, *given, device, self.bridge)
        return {"output": output, **{f"gradient of {n}": g for n, g in gradients.items()}}

    def witness(self, case: Case, rng: np.random.Generator, device: str, **choices: Any) -> None:
        """Hold output and gradients to each other by three witnesses, all of which must prove."""
        assert_twins(
            *self.ours,
            self.theirs,
            self.inputs(case),
            rng,
            constants={name: case[name] for name in self.constants if name in case},
            forward_budget=self.budget,
            gradient_budget=self.gradient_budget,
            gauges=self.gauges,
            device=device,
            bridge=self.bridge,
            **choices,
        )

    def compare(self, case: Case, *, smooth: bool = False, device: str = "cpu") -> None:
        """Hold output and gradients to each other, by three witnesses where the case is smooth."""
        if smooth:
            with suppress(ProvesNothingError):
                self.witness(case, np.random.default_rng(ENTROPY), device, witnessed=2)
                if not self.exact:
                    return
        super().compare(case, device=device)

    def sizes(self, case: Case, ours: Values) -> Values:
        found = self.gauges(self.arguments(case), case["upstream"]) if self.gauges else {}
        return {n if n == "output" else f"gradient of {n}": one for n, one in found.items()}

    def as_typed(self, case: Case) -> Values:
        return super().as_typed(case) or self.torch_run(evaluate(self.torch), case)

    def budget_of(self, quantity: str) -> Budget:
        return self.budget if quantity == "output" else self.gradient_budget


def crossed(arguments: Mapping[str, Any], bridge: Bridge, device: str = "cpu") -> dict[str, Any]:
    """Return arguments with their arrays as tensors, floating ones unless the bridge takes more."""
    return {
        name: bridge.to_torch(name, one, device)
        if isinstance(one, np.ndarray | np.floating) and one.dtype.kind in bridge.kinds
        else one
        for name, one in arguments.items()
    }


@dataclass(frozen=True, kw_only=True)
class FunctionTwin(Twin):
    """A function of `scratch` that gives named quantities, against one of torch.

    Args:
        ours: takes the case by name; arrays, mappings, named tuples and tuples come back.
        theirs: the same in torch; its tensors are carried across.
        names: names of the quantities, where the results have none of their own.
        gauges: `gauges(**case)` gives those of quantities by name.
        budgets: budgets of single quantities that need another budget than the row's.
        bridge: how floating arrays cross by name; None where `theirs` takes and gives our layout.
    """

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    names: tuple[str, ...] = ("output",)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    bridge: Bridge | None = BY_NAME

    def run(self, side: str, case: Case, device: str = "cpu") -> Values:
        if side == "scratch":
            return named(self.ours(**case), self.names)
        return self.torch_run(self.theirs, case, device)

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        arguments = case if self.bridge is None else crossed(case, self.bridge, device)
        back = (self.bridge or AS_IT_IS).to_numpy
        return {
            name: back(name.split()[-1], one) if isinstance(one, torch.Tensor) else one
            for name, one in named(function(**arguments), self.names).items()
        }

    def sizes(self, case: Case, ours: Values) -> Values:
        return dict(self.gauges(**case)) if self.gauges else {}

    def budget_of(self, quantity: str) -> Budget:
        return self.budgets.get(quantity, self.budget)
