"""The locator: mistakes planted in either side, found at their step, layer, unit and quantity."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests import ScratchRun, TorchRun, locate
from parity_tests.compare.bridge import twin
from scratch.batch_norm import BatchNorm
from scratch.dropout import draw_masks
from scratch.initializers import initialize
from scratch.network import Network
from scratch.optimizers import Adam
from torch_ref.optimizers import adam, adam_state

PLANTED, PENALTIES = 3, {"l1": 0.1, "l2": 0.3, "m": 20}
RATES = {"learning_rate": 0.05, "epsilon": 1e-3}


def draw_case(rng, **choices):
    """Return runs of both sides from the same parameters, and five mini-batches for them."""
    network = Network(layer_sizes=(4, 6, 5, 3), output="softmax", **{"hidden": "tanh", **choices})
    parameters = initialize(network.layer_sizes, "xavier", rng, batch_norm=bool(network.batch_norm))
    module = twin(network, parameters)
    ours = ScratchRun(network, parameters, Adam(**RATES), **PENALTIES)
    other = TorchRun(module, adam(module.parameters(), **RATES), state=adam_state, **PENALTIES)
    batches = []
    for _ in range(5):
        X, Y = rng.standard_normal((4, 9)), np.eye(3)[:, rng.integers(0, 3, 9)]
        batches.append((X, Y, draw_masks(network.layer_sizes, network.keep_probs, 9, rng) or None))
    return ours, other, batches


NETWORKS = {
    "leaky relu": {"hidden": "leaky_relu"},
    "dropout": {"keep_probs": (0.8, 0.5)},
    "both": {"hidden": "relu", "keep_probs": (0.5, 0.9), "batch_norm": BatchNorm()},
}


@pytest.mark.parametrize("choices", NETWORKS)
def test_runs_that_agree_never_part(choices, rng):
    """Forward, backward from the last layer, state, parameters, in one order on both sides."""
    ours, other, batches = draw_case(rng, **NETWORKS[choices])
    assert locate(ours, other, batches, allowed=1e5) is None
    names = [*ours.parameters]
    letters = ("Z", "Z_tilde", "A") if ours.network.batch_norm else ("Z", "A")
    order = [f"{letter}{l}" for l in (1, 2) for letter in letters] + ["Z3"]
    order += [f"gradient of {name}" for name in sorted(names, key=lambda one: -int(one[-1]))]
    order += [f"{letter} of {name}" for letter in "vs" for name in names] + names
    assert [*ours.step(*batches[0])] == [*other.step(*batches[0])] == order


def linear(run, l):
    return [part for part in run.module.modules() if isinstance(part, nn.Linear)][l - 1]


def moved(size, unit):
    return lambda *values: values[-1] + 1e-6 * torch.eye(size, dtype=torch.float64)[unit]


def in_state(_, run):
    s = run.optimizer.state[linear(run, 2).weight]["exp_avg_sq"]
    run.optimizer.register_step_post_hook(lambda *_: s[4, 0].mul_(1.00001))


# fmt: off
#: a plant in our run or the other, the quantity that parts first, and its unit.
PLANTS = {
    "a hidden Z": (lambda _, run: linear(run, 2).register_forward_hook(moved(5, 3)), "Z2", 3),
    "a gradient": (
        lambda _, run: linear(run, 1).bias.register_hook(moved(6, 2)), "gradient of b1", 2),
    "a moment": (in_state, "s of W2", 4),
    "our rate": (lambda run, _: setattr(run, "optimizer", Adam(learning_rate=0.06)), "W1", None),
}
# fmt: on


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_mistake_is_found_where_it_is(plant, rng):
    """At its step, in its layer, unit and quantity; no further mini-batch is taken."""
    ours, other, batches = draw_case(rng)
    spoil, quantity, unit = PLANTS[plant]

    def taken():
        for step, batch in enumerate(batches, start=1):
            if step == PLANTED:
                spoil(ours, other)
            yield batch

    stream = taken()
    parting = locate(ours, other, stream)
    assert len([*stream]) == len(batches) - PLANTED
    assert (parting.step, parting.quantity) == (PLANTED, quantity)
    assert unit in (None, parting.unit)
    text = f"step {PLANTED}, layer {quantity[-1]}, unit {parting.unit}: {quantity}["
    assert str(parting).startswith(text)
    assert f"ours {parting.ours!r}, theirs {parting.theirs!r}" in str(parting)


def test_masks_reach_both_sides(rng):
    ours, other, batches = draw_case(rng, keep_probs=(0.5, 0.5))
    flipped = lambda X, Y, masks: other.step(X, Y, {**masks, "D2": 2 - masks["D2"]})  # noqa: E731
    assert locate(ours, SimpleNamespace(step=flipped), batches).quantity == "A2"


def test_a_module_of_ones_own(rng):
    """Any module of linear layers, with its cost; activations may overwrite."""
    ours, other, batches = draw_case(rng, hidden="relu")
    module, ours.penalties = other.module.logits, {}
    for part in module:
        part.inplace = True
    optimizer, cost = adam(module.parameters(), **RATES), nn.functional.cross_entropy
    other = TorchRun(module, optimizer, cost=lambda module, X, Y: cost(module(X), Y))
    assert locate(ours, other, batches) is None
    with pytest.raises(ValueError, match="expected no masks for Sequential"):
        other.step(*batches[0][:2], {"D1": np.ones((4, 9))})
    with pytest.raises(TypeError, match="expected a cost for Sequential, got none"):
        TorchRun(module, optimizer)


def shown(steps, rectified=()):
    steps = iter([{name: np.asarray(one, float) for name, one in step.items()} for step in steps])
    return SimpleNamespace(step=lambda X, Y: next(steps), rectified=rectified)


def parted(ours, theirs, rectified=(), **choices):
    """Return where runs part that show the one or the other."""
    return locate(shown(ours, rectified), shown(theirs), [(None, None)] * len(theirs), **choices)


BIG, SMALL, MOVED, NAN, OFF = (
    {"Z1": [one]} for one in ([1, 0], [1e-12, 0], [1e-12, 1e-13], [np.nan, 0], [1, 2.0**-50])
)


def test_the_gauge_is_the_largest_entry_so_far_and_the_bound_may_change():
    assert parted([BIG, SMALL], [BIG, MOVED]) is None
    for first, second in ((SMALL, MOVED), (NAN, BIG), (BIG, NAN), (NAN, NAN)):
        assert parted([first], [second]).quantity == "Z1"
    parting = parted([BIG, BIG, OFF], [BIG] * 3, allowed={1: 1e9, 2: 10.0, 3: 0.0}.get)
    assert (parting.step, parting.place, parting.error, parting.allowed) == (3, (0, 1), 4.0, 0.0)


# fmt: off
#: another side's gradients, the sign at the kink, and what is blamed, where.
SWITCHED = [
    ({"gradient of W1": [[1.0], [2.0]]}, 1.0, "rectifier of Z1", (1, 0)),
    ({"gradient of W1": [[1.0], [2.0]]}, 0.0, "gradient of W1", (1, 0)),  # has not switched
    ({"gradient of W1": [[2.0], [1.0]]}, 1.0, "gradient of W1", (0, 0)),  # another unit
    ({"gradient of W2": [[1.0, 2.0]]}, 1.0, "gradient of W2", (0, 1)),  # another layer
]
GRADIENTS = {**BIG, "gradient of W1": [[1.0]]}
#: messages, a side that shows other things than these gradients, and choices.
REFUSED = {
    "expected quantities in common": ([{"A1": [[1.0]]}], {}),
    "expected Z1 of one shape": ([{"Z1": [[1.0]]}], {}),
    r"got \['gradient of b1'\] on one side": ([{**GRADIENTS, "gradient of b1": [[1.0]]}], {}),
    "expected at least one batch, got none": ([], {}),
    "from 0 at step 1, got inf": ([GRADIENTS], {"allowed": np.inf}),
}
# fmt: on


@pytest.mark.parametrize(("gradients", "sign", "quantity", "place"), SWITCHED)
def test_a_rectifier_is_blamed_only_for_its_own_unit(gradients, sign, quantity, place):
    """Z1 of unit 1 and example 0 is at the kink, the other three are far from it."""
    same = {"A1": np.eye(2), "gradient of W2": [[1.0, 1.0]], "gradient of W1": [[1.0], [1.0]]}
    ours, other = ({"Z1": [[1.0, -1.0], [one * 1e-17, 1.0]], **same} for one in (0, sign))
    parting = parted([ours], [other | gradients], rectified=("Z1",))
    assert (parting.quantity, parting.place) == (quantity, place)
    assert ("switches differently on example" in str(parting)) == ("rectifier" in quantity)
    assert "rectifier" not in parted([ours], [other | gradients]).quantity


@pytest.mark.parametrize("says", REFUSED)
def test_runs_that_cannot_be_compared_are_refused(says):
    steps, choices = REFUSED[says]
    right = [GRADIENTS] * len(steps)
    for both in ((right, steps), (steps, right)):
        with pytest.raises(ValueError, match=says):
            parted(*both, **choices)
