"""The locator: mistakes planted in either side, found at their step, layer, unit and quantity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests import ScratchRun, TorchRun, locate, networks
from parity_tests.compare.bridge import load, masks_to_torch, rows, twin
from parity_tests.networks import draw_labels
from scratch.dropout import draw_masks
from scratch.network import BACKWARD, Network
from scratch.optimizers import OPTIMIZERS, Adam, GradientDescent, Momentum
from torch_ref import optimizers as theirs

SIZES = (4, 6, 5, 3)
STEPS, PLANTED = 12, 7


def draw_network(layer_sizes, hidden, output, rng, **choices):
    """Draw a network and its parameters."""
    drawn = networks.draw_network(
        rng, layer_sizes, hidden=hidden, output=output, decided=False, **choices
    )
    return drawn.network, drawn.parameters


def draw_batches(network, rng, steps=STEPS, m=9):
    """Return mini-batches that fit a network, with masks where it drops units."""
    batches = []
    for _ in range(steps):
        X = rng.standard_normal((network.layer_sizes[0], m))
        masks = draw_masks(network.layer_sizes, network.keep_probs, m, rng)
        batches.append((X, draw_labels(network, m, rng), *([masks] if masks else [])))
    return batches


def both_runs(network, parameters, name="adam", **penalties):
    """Return runs of both sides from the same parameters.

    Rules that divide by the root of s get an epsilon that leaves the round-off of a gradient small:
    beside 1e-8 a gradient near zero would be a step of any size.
    """
    choices = {"learning_rate": 0.05, **({"epsilon": 1e-3} if name in ("rmsprop", "adam") else {})}
    module = twin(network, parameters)
    optimizer = theirs.OPTIMIZERS[name](module.parameters(), **choices)
    state = getattr(theirs, f"{name}_state")
    ours = ScratchRun(network, parameters.copy(), OPTIMIZERS[name](**choices), **penalties)
    return ours, TorchRun(module, optimizer, state=state, **penalties)


@pytest.fixture
def case(rng):
    """Return runs of both sides and mini-batches."""
    network, parameters = draw_network(SIZES, "tanh", "softmax", rng)
    return *both_runs(network, parameters), draw_batches(network, rng)


AGREEING = {
    "tanh": {"hidden": "tanh"},
    "relu": {"hidden": "relu"},
    "leaky relu": {"hidden": "leaky_relu"},
    "dropout": {"hidden": "relu", "keep_probs": (0.8, 0.5)},
    "batch norm": {"hidden": "relu", "epsilon": 1e-3, "decay": 0.8},
    "both": {"hidden": "sigmoid", "keep_probs": (0.5, 0.9), "epsilon": 1e-3, "decay": 0.8},
}


@pytest.mark.parametrize("penalties", [{}, {"l1": 0.1, "l2": 0.3, "m": 20}], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("choices", AGREEING)
def test_runs_that_agree_never_part(choices, name, penalties, rng):
    """A thousand eps are left for a dozen steps of any network, optimizer and penalty."""
    choices = {"output": "softmax", **AGREEING[choices]}
    network, parameters = draw_network(SIZES, rng=rng, **choices)
    ours, other = both_runs(network, parameters, name, **penalties)
    before = parameters.theta.copy()
    assert locate(ours, other, draw_batches(network, rng), allowed=1e5) is None
    assert np.abs(ours.parameters.theta - before).max() > 1e-3


@pytest.mark.parametrize("choices", AGREEING)
def test_both_sides_show_the_same_in_the_same_order(choices, rng):
    """Forward, backward from the last layer, state, parameters; nothing is on one side alone."""
    choices = {"output": "softmax", **AGREEING[choices]}
    network, parameters = draw_network(SIZES, rng=rng, **choices)
    batch = draw_batches(network, rng)[0]
    mine, other = (run.step(*batch) for run in both_runs(network, parameters))
    order = [name for l in (1, 2) for name in (f"Z{l}", f"Z_tilde{l}", f"A{l}")] + ["Z3"]
    backwards = sorted(parameters, key=lambda name: -int(name[-1]))
    order += [f"gradient of {name}" for name in backwards]
    order += [f"{letter} of {name}" for letter in "vs" for name in parameters] + [*parameters]
    if network.batch_norm is None:
        order = [name for name in order if "tilde" not in name]
    assert [*mine] == order
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert value.shape == other[name].shape, name
        assert np.abs(value - other[name]).max() < 1e-12, name


@dataclass
class Spoilt:
    """A run whose module, at one step, does something else."""

    run: Any
    plant: Any
    step_number: int = 0

    def step(self, *batch):
        """Take a step, spoilt if it is the one."""
        self.step_number += 1
        if self.step_number != PLANTED:
            return self.run.step(*batch)
        hooks = self.plant(self.run)
        try:
            return self.run.step(*batch)
        finally:
            for hook in hooks:
                hook.remove()


def linear(run, l):
    """Return the module's layer l."""
    return [part for part in run.module.modules() if isinstance(part, nn.Linear)][l - 1]


def spoil_output(part, unit):
    """Make a module add 1e-6 to what one unit puts out."""

    def spoil(_, __, output):
        spoilt = output.clone()
        spoilt[:, unit] += 1e-6
        return spoilt

    return [part.register_forward_hook(spoil)]


def spoil_gradient(parameter, place):
    """Make autograd return a gradient of which one entry is 1e-6 too large."""

    def spoil(gradient):
        spoilt = gradient.clone()
        spoilt[place] += 1e-6
        return spoilt

    return [parameter.register_hook(spoil)]


def spoil_state(run, key, l, place):
    """Move one entry of the optimizer's state after the step."""

    def spoil(optimizer, *_):
        optimizer.state[linear(run, l).weight][key][place] *= 1 + 1e-6

    return [run.optimizer.register_step_post_hook(spoil)]


def spoil_parameter(run, l, place):
    """Move one weight after the step."""

    @torch.no_grad()
    def spoil(*_):
        linear(run, l).weight[place] += 1e-6

    return [run.optimizer.register_step_post_hook(spoil)]


def after(run, l):
    """Return the activation behind the module's layer l."""
    parts = [*run.module.logits]
    return parts[parts.index(linear(run, l)) + 1]


def swap(name, value):
    """Return a plant that makes one hyper-parameter of the optimizer another for one step."""

    def plant(run):
        run.optimizer.param_groups[0][name] = value
        return []

    return plant


PLANTS = {
    "Z of a hidden layer": (lambda run: spoil_output(linear(run, 2), 3), "Z2", 3),
    "Z of the first layer": (lambda run: spoil_output(linear(run, 1), 5), "Z1", 5),
    "Z of the last layer": (lambda run: spoil_output(linear(run, 3), 0), "Z3", 0),
    "A of a hidden layer": (lambda run: spoil_output(after(run, 1), 4), "A1", 4),
    "gradient of W": (
        lambda run: spoil_gradient(linear(run, 2).weight, (1, 2)),
        "gradient of W2",
        1,
    ),
    "gradient of b": (lambda run: spoil_gradient(linear(run, 1).bias, 2), "gradient of b1", 2),
    "first moment": (lambda run: spoil_state(run, "exp_avg", 3, (2, 1)), "v of W3", 2),
    "second moment": (lambda run: spoil_state(run, "exp_avg_sq", 2, (4, 0)), "s of W2", 4),
    "parameter": (lambda run: spoil_parameter(run, 1, (3, 1)), "W1", 3),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_mistake_is_found_where_it_is(plant, case):
    """At its step, in its layer, unit and quantity, and not a step before."""
    ours, other, batches = case
    spoil, quantity, unit = PLANTS[plant]
    parting = locate(ours, Spoilt(other, spoil), batches)
    assert (parting.step, parting.quantity) == (PLANTED, quantity)
    assert (parting.layer, parting.unit) == (int(quantity[-1]), unit)
    assert parting.ours != parting.theirs
    text = str(parting)
    assert text.startswith(f"step {PLANTED}, layer {parting.layer}, unit {unit}: {quantity}[")
    assert f"ours {parting.ours!r}, theirs {parting.theirs!r}" in text


WRONG_RATES = {
    "learning rate": (swap("lr", 0.0500001), "W1"),
    "beta1": (swap("betas", (0.90001, 0.999)), "v of W1"),
    "beta2": (swap("betas", (0.9, 0.99901)), "s of W1"),
    "weight decay": (swap("weight_decay", 1e-4), "v of W1"),
}


@pytest.mark.parametrize("wrong", WRONG_RATES)
def test_a_wrong_rate_is_found_in_what_it_makes(wrong, case):
    """Gradients agree; a beta parts its moving average, the learning rate only the parameters."""
    ours, other, batches = case
    plant, quantity = WRONG_RATES[wrong]
    parting = locate(ours, Spoilt(other, plant), batches)
    assert (parting.step, parting.quantity) == (PLANTED, quantity)


def test_a_mistake_of_our_own_is_found_as_well(case, monkeypatch):
    """The derivative of tanh with A for A^2: the last hidden layer's gradient, at once."""
    ours, other, batches = case
    monkeypatch.setitem(BACKWARD, "tanh", lambda dA, cache: {"Z": dA * (1 - cache.A)})
    parting = locate(ours, other, batches)
    assert (parting.step, parting.quantity, parting.layer) == (1, "gradient of W2", 2)


def test_a_module_of_ones_own(rng):
    """Any module of linear layers, with its cost: an activation that overwrites, one unit wide."""
    network = Network(layer_sizes=(3, 4, 1, 1), hidden="relu", output="sigmoid")
    network, parameters = draw_network(network.layer_sizes, "relu", "sigmoid", rng)
    parameters["b2"][...] = 3.0
    layers = nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1), nn.ReLU(inplace=True)
    module = nn.Sequential(*layers, nn.Linear(1, 1)).double()
    load(module, parameters)

    def cost(module, X, Y):
        return nn.functional.binary_cross_entropy_with_logits(module(X), Y)

    def runs(rate):
        load(module, parameters)
        optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9)
        rule = Momentum(learning_rate=0.1, averaging=False)
        ours = ScratchRun(network, parameters.copy(), rule)
        return ours, TorchRun(module, optimizer, cost=cost)

    batches = draw_batches(network, rng)
    assert locate(*runs(0.1), batches) is None
    parting = locate(*runs(0.1 + 1e-6), batches)
    assert (parting.step, parting.quantity) == (1, "W1")
    with pytest.raises(ValueError, match="expected no masks for Sequential"):
        runs(0.1)[1].step(*batches[0], {"D1": np.ones((4, 9))})
    with pytest.raises(TypeError, match="expected a cost for Sequential, got none"):
        TorchRun(module, torch.optim.SGD(module.parameters(), lr=0.1))


def test_without_its_name_the_state_is_left_out(rng):
    """A torch optimizer whose state nobody names is compared in what it makes."""
    network, parameters = draw_network(SIZES, "tanh", "softmax", rng)
    module = twin(network, parameters)
    other = TorchRun(module, theirs.adam(module.parameters(), learning_rate=0.05))
    ours = ScratchRun(network, parameters, Adam(learning_rate=0.05, beta2=0.99))
    batch = draw_batches(network, rng, 5)
    assert not any(" of " in name and "gradient" not in name for name in other.step(*batch[0]))
    # from the second step on, where the correction no longer cancels beta2
    load(module, parameters)
    other = TorchRun(module, theirs.adam(module.parameters(), learning_rate=0.05))
    parting = locate(ours, other, batch)
    assert (parting.step, parting.quantity) == (2, "W1")


def test_the_bound_may_depend_on_the_step(case):
    """A number for all steps, or a function of the step, counted from 1."""
    ours, other, batches = case
    asked = []

    def allowed(step):
        asked.append(step)
        return -1.0 if step == 5 else 1e5

    parting = locate(ours, other, batches, allowed=allowed)
    assert asked == [1, 2, 3, 4, 5]
    assert (parting.step, parting.quantity, parting.allowed) == (5, "Z1", -1.0)


def test_walking_stops_where_the_runs_part(case):
    """No mini-batch is taken from the stream that is not walked."""
    ours, other, batches = case
    stream = iter(batches)
    assert locate(ours, Spoilt(other, PLANTS["parameter"][0]), stream).step == PLANTED
    assert len([*stream]) == STEPS - PLANTED


class Shown:
    """A run that shows what it is given."""

    def __init__(self, *steps):
        """Take what each step computes."""
        self.steps = iter(steps)

    def step(self, X, Y):
        """Return it."""
        return {name: np.asarray(value, float) for name, value in next(self.steps).items()}


BATCHES = [(None, None)] * 3


def test_any_two_runs_will_do():
    """Quantities by name; the gauge is the largest entry so far, NaN is as far apart as can be."""
    big, small = {"Z1": [[1.0, 0.0]]}, {"Z1": [[1e-12, 0.0]]}
    same, moved = {"Z1": [[1e-12, 0.0]]}, {"Z1": [[1e-12, 1e-13]]}
    assert locate(Shown(big, small), Shown(big, moved), BATCHES[:2]) is None
    parting = locate(Shown(small), Shown(moved), BATCHES[:1])
    assert (parting.step, parting.place, parting.unit) == (1, (0, 1), 0)
    assert locate(Shown(same), Shown(same), BATCHES[:1]) is None
    nan = {"Z1": [[np.nan, 0.0]]}
    for first, second in ((nan, big), (big, nan), (nan, nan)):
        assert locate(Shown(first), Shown(second), BATCHES[:1]).quantity == "Z1"
    assert locate(Shown(big), Shown({**big, "A1": [[3.0]]}), BATCHES[:1]) is None


def at_kink(sign, **gradients):
    """Return a step of two units and two examples, of which (1, 0) is at the kink."""
    Z = [[1.0, -1.0], [sign * 1e-17, 1.0]]
    computed = {"Z1": Z, "A1": np.maximum(Z, 0), "gradient of W2": [[1.0, 1.0]]}
    return {**computed, "gradient of W1": [[1.0], [1.0]], **gradients}


BLAMED = {
    "its own unit's gradient": ({"gradient of W1": [[1.0], [2.0]]}, "rectifier of Z1", (1, 0)),
    "another unit's": ({"gradient of W1": [[2.0], [1.0]]}, "gradient of W1", (0, 0)),
    "another layer's": ({"gradient of W2": [[1.0, 2.0]]}, "gradient of W2", (0, 1)),
    "a forward value": ({"A1": [[1.0, 0.5], [0.0, 1.0]]}, "A1", (0, 1)),
}


@pytest.mark.parametrize("blamed", BLAMED)
def test_a_rectifier_is_blamed_only_for_its_own_unit(blamed):
    """Z above 0 on one side alone explains the gradient of that unit and layer, and no more."""
    gradients, quantity, place = BLAMED[blamed]
    ours, other = Shown(at_kink(0.0)), Shown(at_kink(1.0, **gradients))
    ours.rectified = ("Z1",)
    parting = locate(ours, other, BATCHES[:1])
    assert (parting.quantity, parting.place) == (quantity, place)
    # a rectifier that has not switched is not to blame, nor what is no rectifier
    for sign, rectified in ((0.0, ("Z1",)), (1.0, ()), (1.0, ("Z3",))):
        ours, other = Shown(at_kink(0.0)), Shown(at_kink(sign, **gradients))
        ours.rectified = rectified
        assert "rectifier" not in locate(ours, other, BATCHES[:1]).quantity


def test_runs_that_cannot_be_compared_are_refused():
    """Nothing in common, or other shapes."""
    with pytest.raises(ValueError, match="expected quantities in common"):
        locate(Shown({"Z1": [[1.0]]}), Shown({"A1": [[1.0]]}), BATCHES)
    with pytest.raises(ValueError, match="expected Z1 of one shape"):
        locate(Shown({"Z1": [[1.0]]}), Shown({"Z1": [[1.0, 1.0]]}), BATCHES)


def test_no_batch_at_all_is_refused(case):
    """Runs that take no step agree about nothing."""
    ours, other, batches = case
    used = iter(batches)
    assert locate(ours, other, used) is None
    for none in ([], used):
        with pytest.raises(ValueError, match="expected at least one batch, got none"):
            locate(ours, other, none)


def test_parameters_of_one_side_alone_are_refused():
    """Gradients tell what a side learns; a run that shows none of them may be compared."""
    common = {"Z1": [[1.0]], "gradient of W1": [[1.0]]}
    more = {**common, "gradient of b1": [[1.0]]}
    for first, second in ((common, more), (more, common)):
        message = r"expected gradients of the same parameters, got \['gradient of b1'\] on one side"
        with pytest.raises(ValueError, match=message):
            locate(Shown(first), Shown(second), BATCHES[:1])
    for first, second in ((more, more), ({"Z1": [[1.0]]}, more), (more, {"Z1": [[1.0]]})):
        assert locate(Shown(first), Shown(second), BATCHES[:1]) is None


def test_the_sentence_of_a_rectifier_says_what_follows(case):
    """Both values of Z, then what has left the bound because of it."""
    ours, other, batches = case
    parting = locate(ours, Spoilt(other, PLANTS["gradient of W"][0]), batches)
    kink = replace(parting, quantity="rectifier of Z2", place=(1, 7), consequence="dW2 parts")
    assert str(kink).startswith(
        "step 7, layer 2, unit 1: the rectifier of Z2 switches differently on example 7: ours "
    )
    assert f"; so dW2 parts, {parting.error:.3g} eps units apart, allowed " in str(kink)


def test_masks_and_batches_reach_both_sides(rng):
    """Other masks, or other examples, on one side: the first layer that sees them."""
    network, parameters = draw_network(SIZES, "tanh", "softmax", rng, keep_probs=(0.5, 0.5))
    X, Y, masks = draw_batches(network, rng)[0]
    ours, other = both_runs(network, parameters)

    class Other:
        def step(self, X, Y, masks):
            return other.step(X, Y, {**masks, "D2": masks["D2"][:, ::-1].copy()})

    assert masks_to_torch(masks)["D2"].shape == (9, 5)
    assert locate(ours, Other(), [(X, Y, masks)]).quantity == "A2"
    mine, their_run = both_runs(network, parameters)

    class Shifted:
        def step(self, X, Y, masks):
            return their_run.step(np.roll(X, 1, axis=1), Y, masks)

    assert locate(mine, Shifted(), [(X, Y, masks)]).quantity == "Z1"
    assert rows(X).shape == (9, 4)


def test_a_run_overwrites_the_parameters_it_is_given(rng):
    """As an optimizer does: the run's parameters are the user's."""
    network, parameters = draw_network(SIZES, "tanh", "softmax", rng)
    run = ScratchRun(network, parameters, GradientDescent(learning_rate=0.1))
    before = parameters.theta.copy()
    run.step(*draw_batches(network, rng)[0])
    assert run.parameters is parameters
    assert not np.array_equal(parameters.theta, before)
