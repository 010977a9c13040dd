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
from scratch.network import BACKWARD, Network
from scratch.optimizers import Adam
from torch_ref import optimizers as theirs

STEPS, PLANTED, PENALTIES = 5, 3, {"l1": 0.1, "l2": 0.3, "m": 20}


def draw_case(rng, **choices):
    """Return runs of both sides from the same parameters, and mini-batches for them."""
    chosen = {"hidden": "tanh", "output": "softmax", **choices}
    network = Network(layer_sizes=(4, 6, 5, 3), **chosen)
    parameters = initialize(network.layer_sizes, "xavier", rng, batch_norm=bool(network.batch_norm))
    module, rates = twin(network, parameters), {"learning_rate": 0.05, "epsilon": 1e-3}
    optimizer = theirs.adam(module.parameters(), **rates)
    ours = ScratchRun(network, parameters, Adam(**rates), **PENALTIES)
    other = TorchRun(module, optimizer, state=theirs.adam_state, **PENALTIES)
    batches = []
    for _ in range(STEPS):
        X, Y = rng.standard_normal((4, 9)), np.eye(3)[:, rng.integers(0, 3, 9)]
        masks = draw_masks(network.layer_sizes, network.keep_probs, 9, rng)
        batches.append((X, Y, masks) if masks else (X, Y))
    return ours, other, batches


@pytest.mark.parametrize(
    "choices", [{}, {"hidden": "relu", "keep_probs": (0.5, 0.9), "batch_norm": BatchNorm()}]
)
def test_runs_that_agree_never_part(choices, rng):
    """Forward, backward from the last layer, state, parameters, in one order on both sides."""
    ours, other, batches = draw_case(rng, **choices)
    assert locate(ours, other, batches, allowed=1e5) is None
    names = [*ours.parameters]
    order = [name for l in (1, 2) for name in (f"Z{l}", f"Z_tilde{l}", f"A{l}")] + ["Z3"]
    if not choices:
        order = [name for name in order if "tilde" not in name]
    order += [f"gradient of {name}" for name in sorted(names, key=lambda one: -int(one[-1]))]
    order += [f"{letter} of {name}" for letter in "vs" for name in names] + names
    assert [*ours.step(*batches[0])] == [*other.step(*batches[0])] == order


def spoilt(run, plant):
    count = iter(range(1, STEPS + 1))

    def step(*batch):
        hook = plant(run) if next(count) == PLANTED else None
        computed = run.step(*batch)
        if hook:
            hook.remove()
        return computed

    return SimpleNamespace(step=step)


def linear(run, l):
    return [part for part in run.module.modules() if isinstance(part, nn.Linear)][l - 1]


def moved(size, unit):
    return lambda *values: values[-1] + 1e-6 * torch.eye(size, dtype=torch.float64)[unit]


def in_state(run):
    state = run.optimizer.state[linear(run, 2).weight]
    return run.optimizer.register_step_post_hook(lambda *_: state["exp_avg_sq"][4, 0].mul_(1.00001))


def in_the_rule(run):
    run.optimizer.param_groups[0]["lr"] = 0.0500001


#: a plant, the quantity that parts first, and its unit.
PLANTS = {
    "a hidden Z": (lambda run: linear(run, 2).register_forward_hook(moved(5, 3)), "Z2", 3),
    "a gradient": (lambda run: linear(run, 1).bias.register_hook(moved(6, 2)), "gradient of b1", 2),
    "a moment": (in_state, "s of W2", 4),
    "the learning rate": (in_the_rule, "W1", None),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_mistake_is_found_where_it_is(plant, rng):
    """At its step, in its layer, unit and quantity; no further mini-batch is taken."""
    ours, other, batches = draw_case(rng)
    spoil, quantity, unit = PLANTS[plant]
    stream = iter(batches)
    parting = locate(ours, spoilt(other, spoil), stream)
    assert len([*stream]) == STEPS - PLANTED
    assert (parting.step, parting.quantity) == (PLANTED, quantity)
    assert unit in (None, parting.unit)
    text = f"step {PLANTED}, layer {quantity[-1]}, unit {parting.unit}: {quantity}["
    assert str(parting).startswith(text)
    assert f"ours {parting.ours!r}, theirs {parting.theirs!r}" in str(parting)


def test_a_module_of_ones_own(rng):
    """Any module of linear layers, with its cost; activations may overwrite."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)).double()
    cost = nn.functional.binary_cross_entropy_with_logits
    network = Network(layer_sizes=(3, 4, 1), hidden="relu", output="sigmoid")
    parameters = initialize(network.layer_sizes, "xavier", rng)
    values = [torch.tensor(parameters[name].reshape(-1)) for name in ("W1", "b1", "W2", "b2")]
    nn.utils.vector_to_parameters(torch.cat(values), module.parameters())
    optimizer = theirs.adam(module.parameters(), learning_rate=0.1)
    ours = ScratchRun(network, parameters, Adam(learning_rate=0.1))
    other = TorchRun(module, optimizer, cost=lambda module, X, Y: cost(module(X), Y))
    batches = [(rng.standard_normal((3, 9)), rng.integers(0, 2, (1, 9)) * 1.0) for _ in range(5)]
    assert locate(ours, other, batches) is None
    with pytest.raises(ValueError, match="expected no masks for Sequential"):
        other.step(*batches[0], {"D1": np.ones((4, 9))})
    with pytest.raises(TypeError, match="expected a cost for Sequential, got none"):
        TorchRun(module, optimizer)


def shown(*steps, rectified=()):
    steps = iter([{name: np.asarray(one, float) for name, one in step.items()} for step in steps])
    return SimpleNamespace(step=lambda X, Y: next(steps), rectified=rectified)


BATCHES = [(None, None)] * 3
BIG, SMALL, NAN = ({"Z1": [[value, 0.0]]} for value in (1.0, 1e-12, np.nan))


def at_kink(sign, **gradients):
    """Return a step of two units and two examples, of which (1, 0) is at the kink."""
    Z = [[1.0, -1.0], [sign * 1e-17, 1.0]]
    computed = {"Z1": Z, "A1": np.maximum(Z, 0), "gradient of W2": [[1.0, 1.0]]}
    return {**computed, "gradient of W1": [[1.0], [1.0]], **gradients}


def test_the_gauge_is_the_largest_entry_so_far_and_the_bound_may_change():
    moved = {"Z1": [[1e-12, 1e-13]]}
    assert locate(shown(BIG, SMALL), shown(BIG, moved), BATCHES[:2]) is None
    assert locate(shown(SMALL), shown(moved), BATCHES[:1]).place == (0, 1)
    for first, second in ((NAN, BIG), (BIG, NAN), (NAN, NAN)):
        assert locate(shown(first), shown(second), BATCHES[:1]).quantity == "Z1"
    bounds, off = {1: 1e9, 2: 10.0, 3: 0.0}, {"Z1": [[1.0, 2.0**-50]]}
    parting = locate(shown(BIG, BIG, off), shown(BIG, BIG, BIG), BATCHES, allowed=bounds.get)
    assert (parting.step, parting.error, parting.allowed) == (3, 4.0, 0.0)


# fmt: off
#: another side's gradients, the sign at the kink, and what is blamed, where.
SWITCHED = [
    ({"gradient of W1": [[1.0], [2.0]]}, 1.0, "rectifier of Z1", (1, 0)),
    ({"gradient of W1": [[1.0], [2.0]]}, 0.0, "gradient of W1", (1, 0)),  # has not switched
    ({"gradient of W1": [[2.0], [1.0]]}, 1.0, "gradient of W1", (0, 0)),  # another unit
    ({"gradient of W2": [[1.0, 2.0]]}, 1.0, "gradient of W2", (0, 1)),  # another layer
]
GRADIENTS = {**BIG, "gradient of W1": [[1.0]]}
MORE = {**GRADIENTS, "gradient of b1": [[1.0]]}
REFUSED = {
    "nothing in common": ([{"A1": [[1.0]]}], {}, "expected quantities in common"),
    "another shape": ([{"Z1": [[1.0]]}], {}, "expected Z1 of one shape"),
    "other parameters": ([MORE], {}, r"the same parameters, got \['gradient of b1'\] on one side"),
    "no batch": ([], {}, "expected at least one batch, got none"),
    "an infinite bound": ([GRADIENTS], {"allowed": np.inf}, "from 0 at step 1, got inf"),
}
# fmt: on


@pytest.mark.parametrize(("gradients", "sign", "quantity", "place"), SWITCHED)
def test_a_rectifier_is_blamed_only_for_its_own_unit(gradients, sign, quantity, place):
    other = at_kink(sign, **gradients)
    parting = locate(shown(at_kink(0.0), rectified=("Z1",)), shown(other), BATCHES[:1])
    assert (parting.quantity, parting.place) == (quantity, place)
    assert ("switches differently on example" in str(parting)) == ("rectifier" in quantity)
    smooth = locate(shown(at_kink(0.0)), shown(other), BATCHES[:1])
    assert "rectifier" not in smooth.quantity


@pytest.mark.parametrize("name", REFUSED)
def test_runs_that_cannot_be_compared_are_refused(name):
    steps, choices, says = REFUSED[name]
    for both in ((shown(GRADIENTS), shown(*steps)), (shown(*steps), shown(GRADIENTS))):
        with pytest.raises(ValueError, match=says):
            locate(*both, BATCHES[: len(steps)], **choices)


def test_masks_reach_both_sides(rng):
    ours, other, batches = draw_case(rng, keep_probs=(0.5, 0.5))
    flipped = lambda X, Y, masks: other.step(X, Y, {**masks, "D2": masks["D2"][:, ::-1].copy()})  # noqa: E731
    assert locate(ours, SimpleNamespace(step=flipped), batches).quantity == "A2"


NETWORKS = {
    "tanh": {"hidden": "tanh"},
    "leaky relu": {"hidden": "leaky_relu"},
    "dropout": {"hidden": "relu", "keep_probs": (0.8, 0.5)},
    "batch norm": {"hidden": "relu", "batch_norm": BatchNorm()},
    "both": {"hidden": "sigmoid", "keep_probs": (0.5, 0.9), "batch_norm": BatchNorm()},
}


@pytest.mark.parametrize("choices", NETWORKS)
def test_both_sides_show_the_same_in_the_same_order(choices, rng):
    """Forward, backward from the last layer, state, parameters; nothing is on one side alone."""
    ours, other, (batch, *_) = draw_case(rng, **NETWORKS[choices])
    names = [*ours.parameters]
    order = [name for l in (1, 2) for name in (f"Z{l}", f"Z_tilde{l}", f"A{l}")] + ["Z3"]
    if ours.network.batch_norm is None:
        order = [name for name in order if "tilde" not in name]
    order += [f"gradient of {name}" for name in sorted(names, key=lambda one: -int(one[-1]))]
    order += [f"{letter} of {name}" for letter in "vs" for name in names] + names
    assert [*ours.step(*batch)] == [*other.step(*batch)] == order


def test_a_mistake_of_our_own_is_found_as_well(rng, monkeypatch):
    """The derivative of tanh with A for A^2: the last hidden layer's gradient, at once."""
    monkeypatch.setitem(BACKWARD, "tanh", lambda dA, cache: {"Z": dA * (1 - cache.A)})
    parting = locate(*draw_case(rng))
    assert (parting.step, parting.quantity) == (1, "gradient of W2")
