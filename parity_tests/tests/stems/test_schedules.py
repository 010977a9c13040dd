"""Schedules: whole vectors of rates against torch's schedulers, and optimizers that follow them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from parity_tests import FORWARD, assert_close, assert_same_trajectory
from parity_tests.compare.ledger import LEDGER
from scratch import schedules as ours
from scratch.optimizers import OPTIMIZERS, GradientDescent
from scratch.schedules import InverseTime, Manual, PiecewiseConstant
from torch_ref import optimizers as their_optimizers
from torch_ref import schedules as theirs

STEPS = 200
PIECES = ((10, 0.01), (11, 0.3), (150, 2e-4))
RATES = tuple(0.1 + 0.05 * np.cos(np.arange(STEPS + 1)))

CASES = {
    "constant": {},
    "inverse_time": {"decay": 1.0},
    "inverse_time-slow": {"decay": 1e-3},
    "inverse_time-none": {"decay": 0.0},
    "interval_inverse_time": {"decay": 0.3, "interval": 7},
    "interval_inverse_time-each count": {"decay": 0.3, "interval": 1},
    "interval_inverse_time-beyond the end": {"decay": 0.3, "interval": 1000},
    "exponential": {"rate": 0.95},
    "exponential-none": {"rate": 1.0},
    "natural_exponential": {"decay": 0.02},
    "natural_exponential-steep": {"decay": 2.0},
    "inverse_square_root": {"k": 1.0},
    "inverse_square_root-k=0.3": {"k": 0.3},
    "piecewise_constant": {"rates": PIECES},
    "piecewise_constant-from the first count": {"rates": ((1, 0.7), (2, 0.2))},
    "manual": {"rates": RATES},
}


def stem(case):
    """Return the name of the schedule of a case."""
    return case.split("-")[0]


def make(case, learning_rate=0.2):
    """Return our schedule."""
    alpha_0 = {} if stem(case) == "manual" else {"learning_rate": learning_rate}
    return ours.SCHEDULES[stem(case)](**alpha_0, **CASES[case])


def our_rates(case, count=STEPS):
    """Return the rates of our schedule at t = 1, 2, ..."""
    schedule = make(case)
    return np.array([schedule(t) for t in range(1, count + 1)])


def their_rates(scheduler, count=STEPS):
    """Return the rates in force at t = 1, 2, ...: one step of the optimizer, then one on."""
    optimizer, rates = scheduler.optimizer, []
    (group,) = optimizer.param_groups
    for _ in range(count):
        rates.append(group["lr"] / group.get("velocity_factor", 1.0))
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def descent(name="gradient_descent", learning_rate=0.2):
    """Return an optimizer of torch's that holds one parameter."""
    tensor = torch.ones(1, dtype=torch.float64, requires_grad=True)
    return their_optimizers.OPTIMIZERS[name]([tensor], learning_rate=learning_rate)


def proven(cases):
    """Return the cases as parameters of a test, each a proof of its class."""
    marks = {case: pytest.mark.parity(ours.SCHEDULES[stem(case)].__name__) for case in cases}
    return [pytest.param(case, marks=mark) for case, mark in marks.items()]


@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum"])
@pytest.mark.parametrize("case", proven(CASES))
def test_rates(case, optimizer):
    """Every rate of t = 1..200 agrees, each on its own scale; alpha_0 is the optimizer's."""
    mine = our_rates(case)
    scheduler = theirs.SCHEDULES[stem(case)](descent(optimizer), **CASES[case])
    other = their_rates(scheduler)
    assert_close(mine, other, "rates")
    # ExponentialLR multiplies step by step, and each product rounds
    grown = np.arange(1, STEPS + 1) if "exponential" in case else 1.0
    assert_close(mine, other, "rates, each on its own scale", gauge=other * grown)


TABLES = {
    "the lecture's table of 1 / (1 + epoch)": (
        InverseTime(learning_rate=0.2, decay=1.0),
        {1: 0.1, 2: 0.2 / 3, 3: 0.05, 4: 0.04},
    ),
    "the assignment's fixed intervals": (
        ours.IntervalInverseTime(learning_rate=0.5, decay=0.3, interval=100),
        {10: 0.5, 99: 0.5, 100: 0.5 / 1.3, 199: 0.5 / 1.3, 200: 0.5 / 1.6},
    ),
    "0.95 to the epoch": (
        ours.Exponential(learning_rate=0.2, rate=0.95),
        {0: 0.2, 1: 0.19, 2: 0.1805},
    ),
    "powers of e": (
        ours.NaturalExponential(learning_rate=0.2, decay=np.log(2)),
        {0: 0.2, 1: 0.1, 2: 0.05, 10: 0.2 / 1024},
    ),
    "k over the root": (
        ours.InverseSquareRoot(learning_rate=0.2, k=3.0),
        {1: 0.6, 4: 0.3, 9: 0.2, 100: 0.06},
    ),
    "a staircase": (
        PiecewiseConstant(learning_rate=0.2, rates=((3, 0.1), (5, 0.4))),
        {0: 0.2, 1: 0.2, 2: 0.2, 3: 0.1, 4: 0.1, 5: 0.4, 6: 0.4, 10**6: 0.4},
    ),
    "by hand": (Manual(rates=(0.3, 0.1, 0.2)), {1: 0.3, 2: 0.1, 3: 0.2}),
    "constant": (ours.Constant(learning_rate=0.2), {0: 0.2, 1: 0.2, 10**6: 0.2}),
}


@pytest.mark.parametrize("table", TABLES)
def test_table(table):
    """The values that the formulas give on paper."""
    schedule, values = TABLES[table]
    mine = np.array([schedule(t) for t in values])
    assert_close(mine, np.array(list(values.values())), table)


class Scheduled:
    """An optimizer of ours whose learning rate follows a schedule, step by step."""

    def __init__(self, optimizer, schedule):
        """Start before t = 1."""
        self.optimizer, self.schedule, self.t = optimizer, schedule, 0

    def init(self, parameters):
        """Return the optimizer's own state."""
        return self.optimizer.init(parameters)

    def update(self, parameters, gradients, state):
        """Take a step at the rate of the next count."""
        self.t += 1
        now = replace(self.optimizer, learning_rate=self.schedule(self.t))
        now.update(parameters, gradients, state)


def following(factory, schedule):
    """Return a maker of torch optimizers that step their scheduler after each step of their own."""

    def made(tensors):
        optimizer = factory(tensors)
        scheduler = schedule(optimizer)
        optimizer.register_step_post_hook(lambda *_: scheduler.step())
        return optimizer

    return made


RULES = {name: (name, {}) for name in OPTIMIZERS}
RULES["momentum without (1-beta)"] = ("momentum", {"averaging": False})
RULES["adam without correction"] = ("adam", {"bias_correction": False})


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", proven(name for name in CASES if "-" not in name))
def test_optimizers_follow(case, rule, device, rng):
    """Parameters and state take the same path under every schedule, whatever the rule."""
    name, choices = RULES[rule]
    choices = {"learning_rate": 0.2, **choices}
    assert_same_trajectory(
        Scheduled(OPTIMIZERS[name](**choices), make(case)),
        following(
            partial(their_optimizers.OPTIMIZERS[name], **choices),
            partial(theirs.SCHEDULES[stem(case)], **CASES[case]),
        ),
        {"W1": rng.standard_normal((5 * 6, 2)), "b1": rng.standard_normal((5 * 6, 1))},
        rng,
        state=getattr(their_optimizers, f"{name}_state"),
        steps=120,
        groups=5,
        device=device,
    )


def test_epochs_and_iterations_are_counts():
    """Stepped once an epoch the rate holds for its batches; stepped each time it counts them."""
    schedule, batches = InverseTime(learning_rate=0.2, decay=0.5), 3
    optimizer = descent()
    scheduler = theirs.inverse_time(optimizer, decay=0.5)
    by_epoch = []
    for _ in range(4):
        for _ in range(batches):
            by_epoch.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        scheduler.step()
    epochs = np.array([schedule(epoch) for epoch in range(1, 5)])
    assert_close(np.repeat(epochs, batches), np.array(by_epoch), "per epoch")
    iterations = np.array([schedule(t) for t in range(1, 13)])
    other = their_rates(theirs.inverse_time(descent(), decay=0.5), 12)
    assert_close(iterations, other, "per iteration")
    assert abs(iterations[-1] / epochs[-1] - 3 / 7) < 1e-12


@pytest.mark.parametrize("case", CASES)
def test_decay_never_rises(case):
    """Rates are positive, and all but the free ones fall or stay."""
    rates = our_rates(case)
    assert all(rates > 0)
    if stem(case) not in ("piecewise_constant", "manual"):
        assert all(first >= second for first, second in pairwise(rates))


def test_relations():
    """Schedules that should be the same are the same."""
    shared = {"learning_rate": 0.2}
    pairs = {
        "an interval of one": (
            ours.IntervalInverseTime(**shared, decay=0.3, interval=1),
            InverseTime(**shared, decay=0.3),
        ),
        "powers of e and of e^-0.1": (
            ours.NaturalExponential(**shared, decay=0.1),
            ours.Exponential(**shared, rate=np.exp(-0.1)),
        ),
        "a staircase by hand": (
            PiecewiseConstant(**shared, rates=((3, 0.1),)),
            Manual(rates=(0.2, 0.2, *[0.1] * STEPS)),
        ),
    }
    for name, (first, second) in pairs.items():
        one, other = (np.array([each(t) for t in range(1, STEPS)]) for each in (first, second))
        assert_close(one, other, name, gauge=np.arange(1, STEPS) * other)
    # a factor of a half at each milestone is torch's MultiStepLR, which counts from 0
    halving = PiecewiseConstant(learning_rate=0.2, rates=((10, 0.1), (20, 0.05)))
    milestones = lr_scheduler.MultiStepLR(descent(), [9, 19], gamma=0.5)
    assert_close(np.array([halving(t) for t in range(1, 31)]), their_rates(milestones, 30), "steps")


def early(optimizer):
    """Return our inverse time decay, one step too far."""
    scheduler = theirs.inverse_time(optimizer, decay=1.0)
    optimizer.step()
    scheduler.step()
    return scheduler


WRONG = {
    "counted from 0": (
        "inverse_time",
        lambda one: lr_scheduler.LambdaLR(one, lambda t: 1 / (1 + t)),
    ),
    "stepped once too early": ("inverse_time", early),
    "decay on what has decayed": (
        "inverse_time",
        lambda one: lr_scheduler.MultiplicativeLR(one, lambda t: 1 / (2 + t)),
    ),
    "no floor": (
        "interval_inverse_time",
        lambda one: theirs.inverse_time(one, decay=0.3 / 7),
    ),
    "ExponentialLR as it is": ("exponential", lambda one: lr_scheduler.ExponentialLR(one, 0.95)),
    "the exponent for the base": (
        "natural_exponential",
        lambda one: theirs.exponential(one, rate=1 - 0.02),
    ),
    "the root of t + 1": (
        "inverse_square_root",
        lambda one: lr_scheduler.LambdaLR(one, lambda t: (t + 2) ** -0.5),
    ),
    "boundaries one late": (
        "piecewise_constant",
        lambda one: theirs.piecewise_constant(one, rates=tuple((t + 1, r) for t, r in PIECES)),
    ),
    "rates as factors": (
        "piecewise_constant",
        lambda one: theirs.piecewise_constant(one, rates=tuple((t, 0.2 * r) for t, r in PIECES)),
    ),
    "from the second rate on": ("manual", lambda one: theirs.manual(one, rates=(*RATES[1:], 1, 1))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_tempting_translations_fail(wrong):
    """Each wrong translation is a hundred budgets away, or far more."""
    case, translated = WRONG[wrong]
    mine = our_rates(case)
    other = their_rates(translated(descent()))
    assert np.abs(mine - other).max() > 1e-3 * np.abs(other).max()
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match="rates differs at"):
        assert_close(mine, other, "rates", budget=FORWARD)


def test_momentum_keeps_its_factor():
    """The lr of a velocity is alpha (1 - beta); a rate set on it as it is would be ten times it."""
    optimizer = descent("momentum", 0.2)
    theirs.manual(optimizer, rates=(0.05, 0.1))
    assert abs(optimizer.param_groups[0]["lr"] / (0.05 * (1 - 0.9)) - 1) < 1e-15


@pytest.mark.parametrize("case", CASES)
def test_a_second_scheduler_starts_again(case):
    """alpha_0 stays what the optimizer was made with."""
    optimizer = descent("momentum")
    factory = partial(theirs.SCHEDULES[stem(case)], **CASES[case])
    their_rates(theirs.exponential(optimizer, rate=0.9), 5)
    assert_close(their_rates(factory(optimizer), 50), their_rates(factory(descent("momentum")), 50),
                 "rates again")  # fmt: skip


def test_every_group_follows():
    """Groups keep the ratio of their rates, unless the rates are given in figures."""
    tensors = [torch.ones(1, requires_grad=True) for _ in range(2)]
    for factory, expected in (
        (partial(theirs.inverse_time, decay=1.0), [0.1, 0.2]),
        (partial(theirs.manual, rates=(0.3, 0.1)), [0.3, 0.3]),
        (partial(theirs.piecewise_constant, rates=((1, 0.3),)), [0.3, 0.3]),
    ):
        groups = [{"params": [tensors[0]]}, {"params": [tensors[1]], "lr": 0.4}]
        optimizer = their_optimizers.gradient_descent(groups, learning_rate=0.2)
        factory(optimizer)
        rates = np.array([group["lr"] for group in optimizer.param_groups])
        assert_close(rates, np.array(expected), "rates of the groups")


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_scheduler_goes_on(case):
    """Restored states of optimizer and scheduler give the rates of a run that was not cut."""
    factory = partial(theirs.SCHEDULES[stem(case)], **CASES[case])
    whole = their_rates(factory(descent()), 60)
    first = factory(descent())
    cut = their_rates(first, 25)
    second = factory(descent())
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert np.array_equal(np.concatenate([cut, their_rates(second, 35)]), whole)


def test_parameters_have_the_same_names():
    """The twins differ only in where alpha_0 stands: in the schedule, or in the optimizer."""
    for name, one in ours.SCHEDULES.items():
        mine = [each for each in inspect.signature(one).parameters if each != "learning_rate"]
        assert ["optimizer", *mine] == list(inspect.signature(theirs.SCHEDULES[name]).parameters)


@pytest.mark.parametrize(
    "schedule",
    [
        ours.NaturalExponential(learning_rate=0.1, decay=1.0),
        ours.Exponential(learning_rate=0.1, rate=0.5),
    ],
)
def test_a_rate_never_reaches_zero(schedule):
    """Long after it stopped to matter the rate is still one that optimizers take."""
    for t in (700, 1200, 10_000):
        assert GradientDescent(learning_rate=schedule(t)).learning_rate > 0


def test_a_schedule_is_a_value():
    """Equal choices make equal, hashable schedules of plain numbers."""
    for case in CASES:
        assert len({make(case), make(case, np.float64(0.2))}) == 1
        assert isinstance(hash(make(case)), int)
        assert type(make(case)(np.int64(3))) is float
    assert InverseTime(learning_rate=np.float32(0.1), decay=1).learning_rate != 0.1
    assert (
        type(PiecewiseConstant(learning_rate=1, rates=((2, np.float32(0.5)),)).rates[0][1]) is float
    )


def spoil_rates(expected, value):
    """Yield (how, bad value, error) for a tuple of rates."""
    yield "None", None, TypeError
    yield "a list", list(value), TypeError
    yield "a number", 0.1, TypeError
    yield "none", (), ValueError
    yield "zero", (0.1, 0.0), ValueError
    yield "NaN", (float("nan"),), ValueError
    yield "a string", (0.1, "0.1"), TypeError
    yield "a boolean", (True,), TypeError


def spoil_pieces(expected, value):
    """Yield (how, bad value, error) for a tuple of pairs (t, rate)."""
    yield "None", None, TypeError
    yield "a mapping", dict(value), TypeError
    yield "rates alone", (0.1, 0.2), TypeError
    yield "three", ((1, 0.1, 0.2),), TypeError
    yield "none", (), ValueError
    yield "a float as count", ((1.0, 0.1),), TypeError
    yield "from 0", ((0, 0.1),), ValueError
    yield "a count alone", ((1,),), TypeError
    yield "twice the same", ((2, 0.1), (2, 0.2)), ValueError
    yield "twice the same odd one", ((3, 0.1), (3, 0.2)), ValueError
    yield "falling", ((3, 0.1), (2, 0.2)), ValueError
    yield "a rate of zero", ((1, 0.0),), ValueError
    yield "a string", ((1, "0.1"),), TypeError


SPOILS = {"_Rates": spoil_rates, "_Pieces": spoil_pieces}
EXAMPLES = {
    f"torch_ref.schedules.{name}": {"optimizer": descent(), **CASES[name]} for name in CASES
    if "-" not in name
}  # fmt: skip

BAD_NUMBERS = {
    "learning_rate": [0.0, -0.1, np.inf, np.nan, "0.1", None, True],
    "decay": [-0.1, np.inf, np.nan, "1", None, True],
    "rate": [0.0, -0.5, 1.01, np.nan, "0.95", None],
    "k": [0.0, -1.0, np.inf, "1", None],
    "interval": [0, -1, 2.0, "2", True, None],
}


@pytest.mark.parametrize("name", ours.SCHEDULES)
def test_bad_choices_are_refused(name):
    """What the other side refuses at its door is refused when the schedule is made."""
    arguments = {"learning_rate": 0.2, **CASES[name]}
    if name == "manual":
        del arguments["learning_rate"]
    for choice, value in arguments.items():
        if choice == "rates":
            kind = "_Pieces" if name == "piecewise_constant" else "_Rates"
            bad_ones = [(bad, error) for _, bad, error in SPOILS[kind](None, value)]
        else:
            numbers = (int, float) if choice != "interval" else int
            bad_ones = [
                (bad, TypeError if isinstance(bad, bool) or not isinstance(bad, numbers)
                 else ValueError)
                for bad in BAD_NUMBERS[choice]
            ]  # fmt: skip
        for bad, error in bad_ones:
            with pytest.raises(error, match=f"expected {choice}"):
                ours.SCHEDULES[name](**{**arguments, choice: bad})


@pytest.mark.parametrize("name", ours.SCHEDULES)
def test_bad_counts_are_refused(name):
    """A count is whole, from 0 on where the formula has a value there, and has a rate."""
    schedule = make(name)
    below = 0 if name in ("inverse_square_root", "manual") else -1
    for bad, error in ((below, ValueError), (1.0, TypeError), (None, TypeError), (True, TypeError)):
        with pytest.raises(error, match="expected t"):
            schedule(bad)
    if name == "manual":
        with pytest.raises(ValueError, match="expected t to be at most 201, got 202"):
            schedule(STEPS + 2)
        with pytest.raises(ValueError, match="expected t to be at most 2, got 3"):
            their_rates(theirs.manual(descent(), rates=(0.1, 0.2)), 3)
    else:
        assert schedule(below + 1) > 0


def test_an_interval_is_at_least_one_epoch():
    """One is let in and none is refused, in the same words on both sides."""
    assert theirs.interval_inverse_time(descent(), decay=0.3, interval=1) is not None
    for make in (
        lambda: ours.IntervalInverseTime(learning_rate=0.1, decay=0.3, interval=0),
        lambda: theirs.interval_inverse_time(descent(), decay=0.3, interval=0),
    ):
        with pytest.raises(ValueError, match="expected interval to be at least 1, got 0"):
            make()
