"""Training beside its rows: a long run, callbacks, interruptions, streams, refusals."""

from dataclasses import make_dataclass, replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from parity_tests import TRAINING, assert_close
from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.training import TRAINING as MODULES
from parity_tests.compare.training import Run, evaluate_dev, reached
from parity_tests.tests.stems.common import refused
from parity_tests.twins.training import CHOICES, EVALUATE, FEATURES, NORM, TRAIN
from scratch import dropout, initializers, mini_batches, schedules
from scratch import training as ours
from scratch.network import Network
from scratch.optimizers import GradientDescent
from torch_ref import optimizers as their_optimizers
from torch_ref import schedules as their_schedules
from torch_ref import training as theirs

SIDES = pytest.mark.parametrize("side", MODULES)


def draw(feature="plain", **settings):
    return Run(**TRAIN.case(feature=feature, seed=0, **settings))


def begun(side, feature="plain", **settings):
    return draw(feature, **settings).arguments(side)


@pytest.mark.parity("train")
@pytest.mark.parametrize("feature", ["plain", "everything"])
def test_on_each_device(feature, device):
    TRAIN.compare(TRAIN.case(feature=feature, device=device), device=device)


def test_each_feature_matters():
    """A run without it ends elsewhere."""
    for feature, extras in FEATURES.items():
        without = {name: getattr(Run, name) for name in extras if name != "network"}
        run = draw(feature, optimizer="rmsprop", epochs=20 if "early_stopping" in extras else 6)
        ends = [one.quantities("scratch")["W1"] for one in (run, replace(run, **without))]
        assert not without or np.abs(ends[0] - ends[1]).max() > 1e-3, feature


#: optimizers of runs on digits, one after the other, each for some epochs of twenty steps.
PHASES = [{"adam": 10}, {"momentum": 10}, {"rmsprop": 10}, {"momentum": 5, "rmsprop": 5, "adam": 5}]


def draw_phases(phases, rng):
    digits = load_digits()
    X = columns(torch.from_numpy(digits.data[:1000] / 16))
    sizes, keep_probs = (64, 32, 16, 10), (0.9, 0.8)
    choices = {"hidden": "tanh", "output": "softmax", "keep_probs": keep_probs, "batch_norm": NORM}
    given = {
        "network": Network(layer_sizes=sizes, **choices),
        "parameters": initializers.initialize(sizes, "xavier", rng, batch_norm=True),
        "X": X,
        "Y": np.eye(10)[:, digits.target[:1000]],
        "schedule": ("exponential", {"rate": 0.998}),
        "schedule_per": "iteration",
    }
    for name, epochs in phases.items():
        stream = {"epochs": epochs, "batch_size": 50}
        given["masks"] = [*dropout.mask_stream(sizes, keep_probs, 1000, rng=rng, **stream)]
        rule = name, {"learning_rate": CHOICES[name]["learning_rate"]}
        given["orders"] = mini_batches.draw_orders(1000, epochs, rng)
        yield Run(optimizer=rule, **given, **stream)


def walk(side, runs, **left):
    """Return the costs of all steps of runs, each from where the last one ended, and their end."""
    costs = []
    for run in runs:
        arguments = run.arguments(side, **left)
        history = MODULES[side].train(**arguments)
        costs += history.step_costs
        kept = ("module",) if side == "torch_ref" else ("parameters", "running")
        left = {name: arguments[name] for name in kept}
    assert history.accuracies[-1] > 0.95
    return {"costs": np.array(costs), **reached(side, arguments)}


@pytest.mark.parity("train")
@pytest.mark.parametrize("phases", PHASES, ids=" then ".join)
def test_hundreds_of_steps_on_digits(phases, rng):
    """Every parameter and average stays within 1e-10; a thousandth of that is usual."""
    runs = list(draw_phases(phases, rng))
    mine, other = (walk(side, runs) for side in MODULES)
    assert mine["costs"].shape == (20 * sum(phases.values()),)
    assert np.mean(mine["costs"][-20:]) < mine["costs"][0] / 2
    assert mine.keys() == other.keys()
    for name, reference in other.items():
        assert_close(mine[name], reference, name, budget=TRAINING)
        assert np.abs(mine[name] - reference).max() < 1e-10


@SIDES
def test_callbacks_see_every_step(side, monkeypatch):
    """In order after each step, with the live parameters and the history; an interrupt ends it."""
    seen, order, history = [], [], MODULES[side].History()
    arguments = begun(side, epochs=2, batch_size=20)

    def see(step, found):
        seen.append(step)
        order.append("first")
        if step.number == 5:
            raise KeyboardInterrupt

    callbacks = [see, lambda step, found: order.append(len(found.costs))]
    monkeypatch.setattr(MODULES[side], "perf_counter", count().__next__)  # ticks once a look
    with pytest.raises(KeyboardInterrupt):
        MODULES[side].train(**arguments, callbacks=callbacks, history=history)
    assert order == ["first", 0, "first", 0, "first", 1, "first", 1, "first"]
    steps = [(one.number, one.epoch, one.ends_epoch) for one in seen]
    assert steps == [(1, 1, False), (2, 1, False), (3, 1, True), (4, 2, False), (5, 2, False)]
    assert [one.cost for one in seen] == history.step_costs
    assert MODULES[side].train(**begun(side)).seconds == [4] * 6  # of all steps of an epoch
    live = "module" if side == "torch_ref" else "parameters"
    assert getattr(seen[-1], live) is arguments[live]


def test_any_object_with_init_and_update_is_an_optimizer():
    def update(parameters, gradients, state):
        parameters.theta[:] -= 0.01 * np.sign(gradients.theta)

    by_sign = SimpleNamespace(init=lambda parameters: None, update=update)
    arguments = {**begun("scratch", l1=0.0), "optimizer": by_sign}
    history = ours.train(**arguments)
    assert history.costs[-1] < history.costs[0]
    schedule = schedules.Constant(learning_rate=0.1)
    for stranger in (by_sign, make_dataclass("Rule", ["rate"])(0.1)):
        vars(stranger).update(vars(by_sign))
        changed = {**arguments, "optimizer": stranger, "schedule": schedule}
        refused("a dataclass with a learning_rate", ours.train, **changed)


# fmt: off
#: a feature, changes of its arguments, and words of the refusal.
NEEDS = (
    ("plain", lambda run: {"orders": iter(run["orders"][:5])}, "orders for 6 epochs, got 5"),
    ("plain", lambda run: {"orders": []}, "orders for 6 epochs, got 0"),
    ("plain", lambda run: {"orders": [np.arange(49)] * 6}, "orders of 50 examples, got one of 49"),
    ("plain", lambda run: {"masks": [{"D1": None}] * 24}, r"masks \[\], got \['D1'\]"),
    ("both", lambda run: {"masks": iter(run["masks"][:23])}, "masks for every step, got fewer"),
    ("both", lambda run: {"masks": run["masks"][:23]}, "masks for 24 steps, got 23"),
    ("both", lambda run: {"masks": [{"D1": one["D1"][1:]} for one in run["masks"]]}, "mask D1"),
    ("both", lambda run: {"batch_size": 1, "masks": iter(())}, "mini-batches of two or more"),
    ("both", lambda run: {"batch_size": 49, "masks": iter(())}, "mini-batches of two or more"),
    ("early stopping", lambda run: {"dev": None}, "dev data for early stopping"),
    ("plain", lambda run: {"callbacks": None}, "callbacks to be functions"),
    ("plain", lambda run: {"callbacks": [5]}, "callbacks to be functions"),
    ("plain", lambda run: {"callbacks": iter([print])}, "callbacks to be functions"),
)
# fmt: on


@SIDES
def test_a_run_asks_for_what_it_needs(side):
    for feature, change, words in NEEDS:
        arguments = begun(side, feature)
        refused(words, MODULES[side].train, **{**arguments, **change(arguments)})
        if side == "torch_ref":
            assert all(layer.mask is None for layer in arguments["module"].dropouts.values())
    # before the first step is asked for
    arguments = begun(side)
    X, Y = arguments["X"], arguments["Y"]
    for bad in ({"X": X[:2]}, {"Y": Y[:2]}, {"dev": (X, Y[:2])}, {"orders": []}):
        refused("", MODULES[side].training_steps, **{**arguments, **bad})


def test_what_one_side_alone_needs():
    """Ours asks for masks and running averages, torch for an optimizer and schedule of its own."""
    arguments, other = begun("scratch", "both"), begun("torch_ref")
    for name, words in (("masks", "masks for keep_probs"), ("running", "running averages")):
        refused(words, ours.train, **{key: one for key, one in arguments.items() if key != name})
    stranger = their_optimizers.adam([torch.ones(2, requires_grad=True)], learning_rate=0.1)
    schedule = their_schedules.constant(stranger)
    refused("a schedule of the optimizer", theirs.train, **{**other, "schedule": schedule})
    words = "an optimizer of the module's parameters"
    refused(words, theirs.train, **{**other, "optimizer": stranger})


@SIDES
def test_more_than_enough_is_fine(side):
    """Orders and masks may outlast a run, and be generators."""
    arguments = begun(side, "dropout")
    masks, orders = (iter(arguments[name]) for name in ("masks", "orders"))
    short = {**arguments, "epochs": 1, "masks": masks, "orders": orders}
    assert len(MODULES[side].train(**short).step_costs) == 4
    assert len(list(masks)) == 20  # one was asked for at each step
    MODULES[side].train(**{**begun(side, "dropout"), "epochs": 1})  # lists too
    MODULES[side].train(**{**begun(side), "masks": iter([{}] * 24)})  # keep_probs are all 1
    with torch.random.fork_rng():  # torch draws its own where none are handed in
        before = torch.get_rng_state()
        theirs.train(**{**begun("torch_ref", "dropout"), "masks": None})
        assert not torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("per", ["epoch", "iteration"])
def test_a_second_run_under_the_same_schedule(per):
    """Ours counts from 1 in each call, torch's scheduler goes on from where it stands."""
    run = replace(draw(epochs=3, batch_size=25), schedule_per=per)
    mine, other = run.arguments("scratch"), run.arguments("torch_ref")
    optimizer = torch.optim.SGD(other["module"].parameters(), lr=0.1)
    schedule = their_schedules.inverse_time(optimizer, decay=1.0)
    alpha, rates, counts = schedules.InverseTime(learning_rate=0.1, decay=1.0), [], []
    mine |= {"optimizer": GradientDescent(learning_rate=9.0)}
    mine |= {"schedule": lambda t: counts.append(t) or alpha(t)}
    other |= {"optimizer": optimizer, "schedule": schedule}
    other |= {"callbacks": [lambda *_: rates.append(optimizer.param_groups[0]["lr"])]}
    for _ in range(2):
        ours.train(**mine)
        theirs.train(**other)
    once, each = (6, 1) if per == "iteration" else (3, 2)
    assert counts == [*range(1, once + 1)] * 2
    expected = [alpha(t) for t in range(1, 2 * once + 1) for _ in range(each)]
    assert_close(np.array(rates), np.array(expected), "rates")


def test_the_mode_is_as_it_was_and_training_trains():
    """A callback that leaves `eval()` behind spoils no later epoch; `train` restores the mode."""
    ends = []
    for callbacks in ([], [lambda step, history: step.ends_epoch and step.module.eval()]):
        arguments = begun("torch_ref", "both")
        arguments["module"].eval()
        theirs.train(**arguments, callbacks=callbacks)
        assert not any(part.training for part in arguments["module"].modules())
        ends.append(reached("torch_ref", arguments)["W1"])
    assert np.array_equal(*ends)


def test_an_evaluation_asks_for_what_fits():
    case, module = EVALUATE.case(norm=True), begun("torch_ref")["module"]
    running, X, Y = (case[name] for name in ("running", "X", "Y"))
    tanh = replace(case["network"], output="tanh")
    for change in ({"running": None}, {"parameters": running}, {"network": tanh}):
        refused("", ours.evaluate, **{**case, **change})
    narrow = X.astype("f4"), Y.astype("f4")
    for bad in ((X[:2], Y), (X, Y[:2]), (X, np.ones_like(Y)), narrow):
        refused("", ours.evaluate, **{**case, "X": bad[0], "Y": bad[1]})
        refused("", theirs.evaluate, module, *map(rows, bad))


@SIDES
@pytest.mark.parametrize("epochs", [60, 20])
def test_early_stopping_leaves_the_best(side, epochs):
    """Whether patience or the epochs end the run, the best parameters come back."""
    feature = "early stopping" if epochs == 60 else "the best restored at the end"
    arguments = begun(side, feature, optimizer="rmsprop", epochs=epochs)
    held = arguments["module"].parameters if side == "torch_ref" else list
    kept = [*map(id, held())]
    history = MODULES[side].train(**arguments)
    cost, _ = evaluate_dev(side, arguments)
    assert cost == history.dev_costs[-3 if epochs == 60 else np.argmin(history.dev_costs)]
    assert cost < history.dev_costs[-1]
    assert (len(history.costs) == epochs) == (epochs == 20)
    assert [*map(id, held())] == kept  # the optimizer's own
