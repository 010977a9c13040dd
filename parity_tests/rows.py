"""Rows: all that the proof knows of one concept on both sides, as data that `checks` asks about.

Three kinds: a `PairTwin` is a forward with its backward, a `FunctionTwin` a function or a whole run
that gives named quantities, an `OptimizerTwin` a rule that walks. The rows of a stem stand in
`parity_tests/twins/<stem>.py`, in `TWINS`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

import torch_ref
from parity_tests.compare.bridge import AS_IT_IS, BY_NAME, Bridge
from parity_tests.compare.budgets import (
    FLOAT32_FLOOR,
    FLOAT32_STEP,
    FORWARD,
    GRADIENT,
    STEP,
    Budget,
)
from parity_tests.compare.functions import assert_twins, pull_back
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import ProvesNothingError, gauge_of, record_equal
from parity_tests.compare.optimizers import Reader, torch_walk, walk
from parity_tests.compare.quantities import Quantity, agree, assert_equal, assert_no_worse, floored
from parity_tests.compare.side_effects import unmodified
from parity_tests.compare.witnesses import cast, widened
from parity_tests.drawing import SMOOTH
from parity_tests.mistakes import Mistake, Values
from scratch.optimizers import Optimizer

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
    of a row's case, and returns two sets of quantities that must be equal, or raises AssertionError
    itself and returns None. `broken_by` names a mistake of the row, or is a
    function of an honest run and a case, whose results take the place of the row's.
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
    """A row: a concept on both sides, and all that the proof knows of it."""

    name: str  # how the row is asked for, unique among all
    formula: str
    source: str  # where the formula is taught, and its place in torch's documentation
    ours: Any  # the implementation of `scratch`
    theirs: Any  # that of torch
    bridge: Bridge | None = BY_NAME  # between the layouts; None where `theirs` has ours
    proves: tuple[str, ...] = ()  # public names of the stem whose parity this row shows
    draw: Callable[..., Case]  # `draw(rng, **settings)`; defaults of settings are the example
    #: a strategy of hypothesis for each setting that varies, and settings that always run, by name.
    cases: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    edges: Mapping[str, Settings] = field(default_factory=dict)
    relations: Sequence[Relation] = ()  # invariants of either side
    mistakes: Sequence[Mistake] = ()  # those that are measured; the typed ones join them
    torch: str = ""  # the expression that a person types in torch, then perhaps "; " and a remark
    typed: Callable[..., Values] | None = None  # `typed(text, **case)`: quantities of that
    topic: str = ""  # heading of the row among the conventions, its stem by default
    budget: Budget = FORWARD  # how far the quantities may be apart
    budgets: Mapping[str, Budget] = field(default_factory=dict)  # those of single quantities
    gauges: Callable[..., Values] | None = None  # `gauges(**case)`; the largest entry where none is
    exact: bool = False  # whether both sides must give the same numbers to the bit
    weight: float = 1.0  # share of the profile's examples that hypothesis draws
    stem: str = ""  # file of the row, set where the rows are gathered
    wide: bool = True  # whether a longdouble run of ours bears witness
    float32: bool = False  # whether the case is also held in float32, against torch in float64
    float32_floor: Budget = FLOAT32_FLOOR  # eps that ours may err there beside twice torch's
    #: largest gauge of the example over the largest entry; sums of forty terms of either sign
    #: cancel, quotients of differences much more.
    loosest: float = 100

    def settings(self) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({**self.cases, "seed": st.integers(0, 2**32 - 1)})

    def generator(self, settings: Settings) -> np.random.Generator:
        drawn = zlib.crc32(self.name.encode())
        return np.random.default_rng([ENTROPY, settings.get("seed", 0), drawn])

    def case(self, dtype: Any = np.float64, /, *, seed: int = 0, **settings: Any) -> Case:
        """Return the arguments that these settings draw, in a precision."""
        rng = self.generator({"seed": seed})
        return self.complete(cast(dict(self.draw(rng, **settings)), dtype))

    def complete(self, case: Case) -> Case:
        return case

    def run(self, side: str, case: Case, device: str = "cpu") -> Values:
        """Return the quantities that a side makes of a case, in the layout of `scratch`."""
        if side == "scratch":
            return self.scratch_run(case)
        return self.torch_run(self.theirs, case, device)

    def scratch_run(self, case: Case) -> Values:
        raise NotImplementedError

    def run_ours(self, case: Case) -> Values:
        """Return our quantities; raise AssertionError where an argument was modified on the way."""
        moving = np.random.Generator, torch.Generator
        with unmodified({name: one for name, one in case.items() if not isinstance(one, moving)}):
            return self.run("scratch", case)

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        raise NotImplementedError

    def wrong_run(self, mistake: Mistake, case: Case) -> Values:
        if mistake.values:
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
        wide = widened(self.run, "scratch", case) if self.wide and not self.exact else None
        self.hold(ours, theirs, self.sizes(case, ours), wide or {})

    def hold(self, ours: Values, theirs: Values, gauges: Values, wide: Values) -> None:
        """Hold quantities to others, to the bit where they count or are exact."""
        if ours.keys() != theirs.keys():
            raise AssertionError(f"ours gives {sorted(ours)}, theirs {sorted(theirs)}")
        quantities = {}
        for name, one in ours.items():
            if self.exact or np.asarray(one).dtype.kind != "f":
                assert_equal(one, theirs[name], self.label(name))
                record_equal(self.label(name), np.asarray(one).dtype)
            else:
                rest = theirs[name], gauges.get(name), self.budget_of(name), wide.get(name)
                quantities[self.label(name)] = Quantity(np.asarray(one)[()], *rest)
        if quantities:
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
            gauge = floored(gauge_of(exact[name], gauges.get(name)), np.float32)
            held = one, theirs[name], exact[name], name, gauge
            with suppress(ProvesNothingError):  # it drowns, inside of its tolerance
                assert_no_worse(*held, self.float32_floor, self.budget_of(name).kind)
                proven = True
        if not proven:
            raise ProvesNothingError(f"{', '.join(ours)} drown in their tolerances")

    def label(self, quantity: str) -> str:
        return quantity

    def sizes(self, case: Case, ours: Values) -> Values:
        """Return the gauges of a case by quantity; ours are its quantities."""
        return dict(self.gauges(**case)) if self.gauges else {}

    def as_typed(self, case: Case) -> Values:
        return self.typed(self.torch, **case) if self.typed else {}

    def budget_of(self, quantity: str) -> Budget:
        return self.budgets.get(quantity, self.budget)


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
    an upstream gradient that is drawn and stands in the case as "upstream". Gauges are of "output"
    and of arguments by name, `gauges(arguments, upstream)`.
    """

    ours: Pair
    theirs: Callable[..., torch.Tensor]  # takes tensors in order, constants by name
    constants: tuple[str, ...] = ()  # arguments without a gradient
    gradient_budget: Budget = GRADIENT
    #: tells from the settings whether central differences can bear witness.
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
        return {name: case[name] for name in self.arguments(case) if name not in self.constants}

    def fixed(self, case: Case) -> dict[str, Any]:
        return {name: case[name] for name in self.constants if name in case}

    def scratch_run(self, case: Case) -> Values:
        output, cache = self.ours.forward(**self.arguments(case))
        gradients = self.ours.backward(case["upstream"][()], cache)
        return {"output": output, **{f"gradient of {n}": g for n, g in gradients.items()}}

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        given = self.inputs(case), self.fixed(case), np.asarray(case["upstream"])
        return pull_back(function, *given, device, self.bridge)

    def witness(self, case: Case, rng: np.random.Generator, device: str, **choices: Any) -> None:
        """Hold output and gradients to each other by three witnesses, all of which must prove."""
        choices |= {"forward_budget": self.budget, "gradient_budget": self.gradient_budget}
        choices |= {"gauges": self.gauges, "device": device, "bridge": self.bridge}
        given = self.inputs(case), rng
        assert_twins(*self.ours, self.theirs, *given, constants=self.fixed(case), **choices)

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


def crossed(arguments: Case, bridge: Bridge | None, device: str = "cpu") -> dict[str, Any]:
    """Return arguments with their arrays as tensors, floating ones unless the bridge takes more."""
    if bridge is None:
        return dict(arguments)
    kinds, arrays = bridge.kinds, np.ndarray | np.floating
    crossing = {
        n for n, one in arguments.items() if isinstance(one, arrays) and one.dtype.kind in kinds
    }
    tensors = {name: bridge.to_torch(name, arguments[name], device) for name in crossing}
    return {**arguments, **tensors}


@dataclass(frozen=True, kw_only=True)
class FunctionTwin(Twin):
    """A function of `scratch` that gives named quantities, against one of torch."""

    ours: Callable[..., Any]  # takes the case by name; arrays, mappings, tuples come back
    theirs: Callable[..., Any]  # the same in torch; its tensors are carried across
    names: tuple[str, ...] = ("output",)  # of the quantities, where the results have none

    def scratch_run(self, case: Case) -> Values:
        return named(self.ours(**case), self.names)

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        back = (self.bridge or AS_IT_IS).to_numpy
        found = named(function(**crossed(case, self.bridge, device)), self.names)
        return {
            name: back(name.split()[-1], one) if isinstance(one, torch.Tensor) else one
            for name, one in found.items()
        }


#: entries of a walk's case beside the choices of its rule.
WALK = ("start", "gradients", "steps_taken")


@dataclass(frozen=True, kw_only=True)
class OptimizerTwin(Twin):
    """A rule of `scratch` against an optimizer of torch, step by step on injected gradients.

    A case is {"start": (N,), "gradients": (steps, N)}, perhaps {"steps_taken": count} before them,
    and the choices of the rule by name; the quantities are "theta" and the arrays of the state
    after each step, (steps, N), and the count "t" of a state that has one, (steps,). Gauges are
    those of our path, `gauges(path, **case)`.
    """

    ours: Callable[..., Optimizer]  # makes the rule of choices by name
    theirs: Callable[..., torch.optim.Optimizer]  # of a list of tensors and the same choices
    state: Reader  # reads the optimizer's state by our names
    budget: Budget = STEP
    float32: bool = True
    float32_floor: Budget = FLOAT32_STEP

    def choices(self, case: Case) -> dict[str, Any]:
        return {name: one for name, one in case.items() if name not in WALK}

    def scratch_run(self, case: Case) -> Values:
        return walk(self.ours(**self.choices(case)), **_walked(case))

    def torch_run(self, function: Callable[..., Any], case: Case, device: str = "cpu") -> Values:
        made, state = partial(function, **self.choices(case)), None
        if function is self.theirs:  # another optimizer has another state
            state = self.state
        path = dict(torch_walk(made, state=state, device=device, **_walked(case)))
        return {**path, "t": path["t"].astype(np.int64)} if "t" in path else path

    def compare(self, case: Case, *, smooth: bool = False, device: str = "cpu") -> None:
        if np.any(case["gradients"]):
            super().compare(case, device=device)
            return
        still = np.broadcast_to(case["start"], case["gradients"].shape)
        for path in (self.run_ours(case), self.run("torch_ref", case, device)):
            assert_equal(path["theta"], still, "theta without a gradient")

    def label(self, quantity: str) -> str:
        return f"{quantity} after each step"

    def sizes(self, case: Case, ours: Values) -> Values:
        return dict(self.gauges(ours, **case)) if self.gauges else {}

    def as_typed(self, case: Case) -> Values:
        def make(tensors: list[torch.Tensor], learning_rate: float, **choices: Any) -> Any:
            return evaluate(self.torch, parameters=tensors, alpha=learning_rate, **choices)

        return self.torch_run(make, case)


def _walked(case: Case) -> dict[str, Any]:
    taken = int(case.get("steps_taken", 0))
    start = {"W1": case["start"][None]}
    return {"parameters": start, "gradients": case["gradients"], "steps_taken": taken}
