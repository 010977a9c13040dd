"""Optimizers beside their rows: choices, misfits, and the promises of torch_ref alone."""

from __future__ import annotations

import inspect
import re
from functools import partial

import numpy as np
import pytest
import torch

from parity_tests import assert_close
from scratch import optimizers as ours
from scratch._blocks import blocks
from scratch.optimizers import Adam
from scratch.parameters import Parameters
from torch_ref import optimizers as theirs


@pytest.mark.parametrize("name", ours.OPTIMIZERS)
def test_choices_are_the_same_keywords(name):
    mine, (_, *other) = (
        [(one.name, one.default, one.kind) for one in inspect.signature(make).parameters.values()]
        for make in (ours.OPTIMIZERS[name], theirs.OPTIMIZERS[name])
    )
    assert mine == other
    assert {kind for *_, kind in mine} == {inspect.Parameter.KEYWORD_ONLY}


LAYER = Parameters({"W1": np.ones((2, 2)), "b1": np.ones((2, 1))})
NARROW = Parameters({name: view.astype("f4") for name, view in LAYER.items()})
SMALL = Parameters({"W1": np.ones((1, 2))})
STATE = Adam().init(LAYER)

MISFITS = [
    ({}, LAYER, STATE, "Parameters, got dict"),
    (LAYER, [], STATE, "Parameters, got list"),
    (LAYER, SMALL, STATE, "gradients like"),
    (LAYER, LAYER, None, "state to be AdamState"),
    (LAYER, NARROW, STATE, "dtype float64, got float32"),
    (LAYER, LAYER, STATE._replace(v=np.zeros(7)), "state.v of shape"),
    (LAYER, LAYER, STATE._replace(s=np.zeros(5)), "state.s of shape"),
    (LAYER, LAYER, STATE._replace(s=STATE.v.astype("f4")), "state.s of shape"),
]


@pytest.mark.parametrize(("parameters", "gradients", "state", "message"), MISFITS)
def test_an_update_names_the_stranger(parameters, gradients, state, message):
    with pytest.raises((TypeError, ValueError), match=f"expected .*{re.escape(message)}"):
        Adam().update(parameters, gradients, state)


@pytest.mark.parametrize(
    ("size", "lengths"), [(1, [1]), (32768, [32768]), (32769, [32768, 1]), (98304, [32768] * 3)]
)
def test_blocks(size, lengths):
    """Matching pieces of 2^15 entries, views of the vectors, beside a buffer of their own."""
    vectors = np.arange(size, dtype="f4"), -np.arange(size, dtype="f4")
    pieces = list(blocks(*vectors))
    assert [[len(one) for one in piece] for piece in pieces] == [[length] * 3 for length in lengths]
    for i, vector in enumerate(vectors):
        assert np.array_equal(np.concatenate([piece[i] for piece in pieces]), vector)
        assert all(np.shares_memory(piece[i], vector) for piece in pieces)
        assert not any(np.shares_memory(piece[2], vector) for piece in pieces)
    assert pieces[0][2].dtype == np.float32


@pytest.mark.parametrize(("decay", "velocity"), [(0.0, [3.0, -4.0]), (0.5, [3.5, -3.0])])
def test_the_velocity_of_beta_zero_is_what_the_step_took(decay, velocity):
    """Torch keeps no buffer for it; gradients that are gone since, and decay, change nothing."""
    tensor = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    groups = [{"params": [tensor], "weight_decay": decay}]
    optimizer = theirs.momentum(groups, learning_rate=0.1, beta=0.0)
    tensor.grad = torch.tensor([3.0, -4.0], dtype=torch.float64)
    optimizer.step()
    optimizer.zero_grad()
    assert theirs.momentum_state(optimizer)["v"].tolist() == velocity
    assert_close(np.array([1.0, 2.0]) - 0.1 * np.array(velocity), tensor.detach().numpy(), "theta")


@pytest.mark.parametrize("state", ["momentum", "rmsprop", "adam"])
def test_a_state_that_is_not_there_is_refused(state):
    """Before a step there is none, whatever gradients wait; another rule has none either."""
    tensor = torch.tensor([1.0], requires_grad=True)
    tensor.grad = torch.tensor([3.0])
    rules = getattr(theirs, state), partial(theirs.momentum, beta=0.0), theirs.gradient_descent
    for rule in rules:
        with pytest.raises(ValueError, match=r"expected an optimizer with .* for each parameter"):
            getattr(theirs, f"{state}_state")(rule([tensor], learning_rate=0.1))


def test_torchs_count_in_float32_stands_still():
    """From 2^24 on one more is no other float32; ours goes on, as torch's does in float64."""
    tensor = torch.ones(1, requires_grad=True)
    tensor.grad = torch.ones(1)
    for dtype, taken in ((torch.float32, 2**24), (torch.float64, 2**24 + 1)):
        optimizer = theirs.adam([tensor])
        optimizer.step()
        optimizer.state[tensor]["step"] = torch.tensor(2.0**24, dtype=dtype)
        optimizer.step()
        assert theirs.adam_state(optimizer)["t"] == taken


@pytest.mark.parametrize(
    "rule",
    [
        partial(theirs.rmsprop, learning_rate=0.1, epsilon_inside_root=True),
        partial(theirs.adam, learning_rate=0.1, bias_correction=False),
    ],
)
def test_rules_torch_lacks_take_a_closure_and_weight_decay(rule):
    """As torch's own do: the closure's loss is returned, decay added to g, no gradient no step."""
    w, plain = (torch.tensor([3.0], dtype=torch.float64, requires_grad=True) for _ in range(2))
    still = torch.tensor([1.0], requires_grad=True)
    optimizer = rule([{"params": [w, still], "weight_decay": 0.5}])

    def closure():
        optimizer.zero_grad()
        cost = ((w - 5) ** 2).sum()
        cost.backward()
        return cost

    assert optimizer.step(closure).item() == 4.0
    plain.grad = torch.tensor([2 * (3.0 - 5) + 0.5 * 3.0], dtype=torch.float64)
    rule([plain]).step()
    assert (w.item(), still.item()) == (plain.item(), 1.0)


def test_minimize_asks_copies_and_refuses_false_answers():
    """A gradient of another shape, dtype or kind; a cost that is no scalar tensor; half a rule."""
    given, seen = {"start": np.array([1.0, 2.0]), "optimizer": Adam(), "steps": 3}, []
    path = ours.minimize(lambda theta: seen.append(theta) or 2 * (theta - 5), **given)
    assert np.array_equal(np.array(seen), path[:-1])
    for gradient in (
        lambda theta: theta[:, None],
        lambda theta: theta[:1],
        lambda theta: theta.astype("f4"),
        lambda theta: theta.astype(np.longdouble),
        lambda theta: [1.0, 2.0],
    ):
        with pytest.raises((TypeError, ValueError), match="expected gradient to return"):
            ours.minimize(gradient, **given)
    tensor = {"start": torch.ones(2), "optimizer": theirs.adam, "steps": 3}
    for cost in (lambda theta: theta, lambda theta: 1.0):
        with pytest.raises((TypeError, ValueError), match="expected cost to return"):
            theirs.minimize(cost, **tensor)
    for method in ("init", "update"):
        rule = type("Half", (), {method: lambda *_: None})()
        with pytest.raises(TypeError, match="expected optimizer with methods init and update"):
            ours.minimize(lambda theta: theta, **{**given, "optimizer": rule})
