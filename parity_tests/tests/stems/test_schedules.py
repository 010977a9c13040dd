"""Schedules beside their rows: tables on paper, groups and restarts of torch's, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import assert_close, assert_same_trajectory
from parity_tests.tests.stems.common import SCHEDULES, refused
from scratch import schedules as ours
from scratch.optimizers import OPTIMIZERS, GradientDescent
from torch_ref import optimizers as their_optimizers
from torch_ref import schedules as theirs

NAMES = pytest.mark.parametrize("name", SCHEDULES)


def made(name, alpha_0=0.2, **choices):
    rates = {"learning_rate": alpha_0} if name != "manual" else {}
    return ours.SCHEDULES[name](**{**SCHEDULES[name], **rates, **choices})


# fmt: off
#: values that the formulas give on paper.
TABLES = {
    "the lecture's table of 1 / (1 + epoch)": (
        made("inverse_time", decay=1.0), {1: 0.1, 2: 0.2 / 3, 3: 0.05, 4: 0.04}),
    "the assignment's fixed intervals": (
        made("interval_inverse_time", 0.5, decay=0.3, interval=100),
        {10: 0.5, 99: 0.5, 100: 0.5 / 1.3, 199: 0.5 / 1.3, 200: 0.5 / 1.6}),
    "0.95 to the epoch": (made("exponential", rate=0.95), {0: 0.2, 1: 0.19, 2: 0.1805}),
    "powers of e": (
        made("natural_exponential", decay=np.log(2)), {0: 0.2, 1: 0.1, 2: 0.05, 10: 0.2 / 1024}),
    "k over the root": (made("inverse_square_root", k=3.0), {1: 0.6, 4: 0.3, 9: 0.2, 100: 0.06}),
    "a staircase": (
        made("piecewise_constant", rates=((3, 0.1), (5, 0.4))),
        {0: 0.2, 2: 0.2, 3: 0.1, 4: 0.1, 5: 0.4, 6: 0.4, 10**6: 0.4}),
    "by hand": (made("manual", rates=(0.3, 0.1, 0.2)), {1: 0.3, 2: 0.1, 3: 0.2}),
    "constant": (made("constant"), {0: 0.2, 1: 0.2, 10**6: 0.2}),
}
# fmt: on


def test_tables():
    for table, (schedule, values) in TABLES.items():
        assert_close(np.array([schedule(t) for t in values]), np.array([*values.values()]), table)


def begun(name, rule="momentum", tensors=None, **choices):
    tensors = tensors or [torch.ones(1, requires_grad=True)]
    optimizer = their_optimizers.OPTIMIZERS[rule](tensors, learning_rate=0.2)
    given = {key: one for key, one in SCHEDULES[name].items() if key != "learning_rate"}
    return theirs.SCHEDULES[name](optimizer, **{**given, **choices})


def test_every_group_follows():
    """Groups keep the ratio of their rates, unless the rates are given in figures."""
    tensors = [torch.ones(1, requires_grad=True) for _ in range(2)]
    for name, choices, expected in (
        ("inverse_time", {"decay": 1.0}, [0.1, 0.2]),
        ("manual", {"rates": (0.3, 0.1)}, [0.3, 0.3]),
        ("piecewise_constant", {"rates": ((1, 0.3),)}, [0.3, 0.3]),
    ):
        groups = [{"params": [tensors[0]]}, {"params": [tensors[1]], "lr": 0.4}]
        optimizer = begun(name, "gradient_descent", groups, **choices).optimizer
        rates = np.array([group["lr"] for group in optimizer.param_groups])
        assert_close(rates, np.array(expected), "rates of the groups")


def walked(scheduler, steps):
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


@NAMES
def test_a_resumed_scheduler_goes_on(name):
    """Restored states of optimizer and scheduler give the rates of a run that was not cut."""
    whole, first, second = (begun(name) for _ in range(3))
    cut = walked(first, 25)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert cut + walked(second, 35) == walked(whole, 60)


@NAMES
def test_a_schedule_is_a_value_of_plain_numbers(name):
    """A NumPy scalar would promote float32 parameters, or wrap as a count."""
    assert len({made(name), made(name, np.float64(0.2))}) == 1
    assert type(made(name)(np.int8(3))) is float
    assert all(type(one) in (int, float, tuple) for one in vars(made(name, np.float32(1))).values())
    # long after it stopped to matter the rate is still one that optimizers take
    for schedule in (made("natural_exponential", decay=1.0), made("exponential", rate=0.5)):
        for t in (700, 10_000):
            assert GradientDescent(learning_rate=schedule(t)).learning_rate > 0


@NAMES
def test_counts_without_a_rate_are_refused(name):
    least = 1 if name in ("inverse_square_root", "manual") else 0
    for bad in (least - 1, 1.0, None, True):
        refused("t", made(name), bad)
    assert made(name)(least) > 0
    refused("t to be at most 2, got 3", made("manual", rates=(0.1, 0.2)), 3)
    refused("t to be at most 1, got 2", walked, begun("manual", rates=(0.1,)), 2)


class Scheduled:
    def __init__(self, rule, schedule):
        self.init, self.rule, self.schedule, self.t = rule.init, rule, schedule, 0

    def update(self, *given):
        self.t += 1
        replace(self.rule, learning_rate=self.schedule(self.t)).update(*given)


@pytest.mark.parametrize("rule", ["momentum", "adam"])
@NAMES
def test_optimizers_follow(name, rule, device, rng):
    def following(tensors):
        scheduler = begun(name, rule, tensors)
        scheduler.optimizer.register_step_post_hook(lambda *_: scheduler.step())
        return scheduler.optimizer

    assert_same_trajectory(
        Scheduled(OPTIMIZERS[rule](learning_rate=0.2), made(name)),
        following,
        {"W1": rng.standard_normal((6, 2)), "b1": rng.standard_normal((6, 1))},
        rng,
        state=getattr(their_optimizers, f"{rule}_state"),
        steps=120,
        device=device,
    )
