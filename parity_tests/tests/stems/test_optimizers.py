"""Optimizers beside their rows: misfits, blocks, and the promises of torch_ref alone."""

from functools import partial

import numpy as np
import pytest
import torch

from parity_tests import assert_close
from parity_tests.compare.witnesses import cast
from parity_tests.tests.stems.common import refused
from scratch import optimizers as ours
from scratch._blocks import blocks
from scratch.optimizers import Adam
from scratch.parameters import Parameters
from torch_ref import optimizers as theirs

LAYER = Parameters({"W1": np.ones((2, 2)), "b1": np.ones((2, 1))})
STATE = Adam().init(LAYER)


# fmt: off
#: strangers among the arguments of an update, and how they are called.
STRANGERS = (
    ({"parameters": {}}, "Parameters, got dict"), ({"gradients": []}, "Parameters, got list"),
    ({"gradients": Parameters({"W1": np.ones((1, 2))})}, "gradients like"),
    ({"gradients": Parameters({"W1": np.ones((3, 2)), "b1": np.ones((3, 1))})}, "gradients like"),
    ({"gradients": cast(LAYER, np.float32)}, "dtype float64, got float32"),
    ({"gradients": cast(LAYER, np.longdouble)}, "dtype float64, got"),
    ({"state": STATE._replace(v=STATE.v.astype(np.longdouble))}, "state.v of shape"),
    ({"state": None}, "state to be AdamState"),
    ({"state": STATE._replace(v=np.zeros(7))}, "state.v of shape"),
    ({"state": STATE._replace(s=np.zeros(5))}, "state.s of shape"),
    ({"state": STATE._replace(s=STATE.v.astype("f4"))}, "state.s of shape"),
)
# fmt: on


def test_an_update_names_the_stranger():
    right = {"parameters": LAYER, "gradients": LAYER, "state": STATE}
    for changed, words in STRANGERS:
        refused(words, Adam().update, **{**right, **changed})


@pytest.mark.parametrize("lengths", [[1], [32768], [32768, 1], [32768] * 3], ids=str)
def test_blocks(lengths):
    """Matching pieces of 2^15 entries, views of the vectors, beside a buffer of their own."""
    vectors = np.arange(sum(lengths), dtype="f4"), -np.arange(sum(lengths), dtype="f4")
    pieces = list(blocks(*vectors))
    assert [[len(one) for one in piece] for piece in pieces] == [[length] * 3 for length in lengths]
    for i, vector in enumerate(vectors):
        assert np.array_equal(np.concatenate([piece[i] for piece in pieces]), vector)
        assert all(np.shares_memory(piece[i], vector) for piece in pieces)
        assert not any(np.shares_memory(piece[2], vector) for piece in pieces)
    assert pieces[0][2].dtype == np.float32


def held(value, gradient=None):
    tensor = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    tensor.grad = None if gradient is None else torch.tensor(gradient, dtype=torch.float64)
    return tensor


@pytest.mark.parametrize(("decay", "velocity"), [(0.0, [3.0, -4.0]), (0.5, [3.5, -3.0])])
def test_the_velocity_of_beta_zero_is_what_the_step_took(decay, velocity):
    """Torch keeps no buffer for it; gradients that are gone since, and decay, change nothing."""
    tensor = held([1.0, 2.0], [3.0, -4.0])
    groups = [{"params": [tensor], "weight_decay": decay}]
    optimizer = theirs.momentum(groups, learning_rate=0.1, beta=0.0)
    optimizer.step()
    optimizer.zero_grad()
    assert theirs.momentum_state(optimizer)["v"].tolist() == velocity
    assert_close(np.array([1.0, 2.0]) - 0.1 * np.array(velocity), tensor.detach().numpy(), "theta")


@pytest.mark.parametrize("state", ["momentum", "rmsprop", "adam"])
def test_a_state_that_is_not_there_is_refused(state):
    """Before a step there is none, whatever gradients wait; another rule has none either."""
    rules = getattr(theirs, state), partial(theirs.momentum, beta=0.0), theirs.gradient_descent
    for rule in rules:
        optimizer = rule([held([1.0], [3.0])], learning_rate=0.1)
        refused("an optimizer with .* for each", vars(theirs)[f"{state}_state"], optimizer)


def test_torchs_count_in_float32_stands_still():
    """From 2^24 on one more is no other float32; ours goes on, as torch's does in float64."""
    for dtype, taken in ((torch.float32, 2**24), (torch.float64, 2**24 + 1)):
        tensor = held([1.0], [1.0])
        optimizer = theirs.adam([tensor])
        optimizer.step()
        optimizer.state[tensor]["step"] = torch.tensor(2.0**24, dtype=dtype)
        optimizer.step()
        assert theirs.adam_state(optimizer)["t"] == taken


@pytest.mark.parametrize(
    ("lacking", "form"),
    [(theirs.rmsprop, {"epsilon_inside_root": True}), (theirs.adam, {"bias_correction": False})],
)
def test_rules_torch_lacks_take_a_closure_and_weight_decay(lacking, form):
    """As torch's own do: the closure's loss is returned, decay added to g, no gradient no step."""
    rule = partial(lacking, learning_rate=0.1, **form)
    w, still, plain = held([3.0]), held([1.0]), held([3.0], [2 * (3.0 - 5) + 0.5 * 3.0])
    optimizer = rule([{"params": [w, still], "weight_decay": 0.5}])

    def closure():
        optimizer.zero_grad()
        cost = ((w - 5) ** 2).sum()
        cost.backward()
        return cost

    assert optimizer.step(closure).item() == 4.0
    rule([plain]).step()
    assert (w.item(), still.item()) == (plain.item(), 1.0)


def test_minimize_asks_copies_and_refuses_false_answers():
    """A gradient of another shape, dtype or kind; a cost that is no scalar tensor; half a rule."""
    given, seen = {"start": np.array([1.0, 2.0]), "optimizer": Adam(), "steps": 3}, []
    path = ours.minimize(lambda theta: seen.append(theta) or 2 * (theta - 5), **given)
    assert np.array_equal(np.array(seen), path[:-1])
    wide, narrow = np.ones(2, np.longdouble), np.ones(2, "f4")
    for gradient in (np.ones((2, 1)), np.ones(1), narrow, wide, [1.0, 2.0]):
        refused("gradient to return", ours.minimize, lambda theta, g=gradient: g, **given)
    tensor = {"start": torch.ones(2), "optimizer": theirs.adam, "steps": 3}
    for cost in (torch.ones(2), 1.0):
        refused("cost to return", theirs.minimize, lambda theta, J=cost: J, **tensor)
    for method in ("init", "update"):
        half = {**given, "optimizer": type("Half", (), {method: lambda *_: None})()}
        words = "optimizer with methods init and update"
        refused(words, ours.minimize, lambda theta: theta, **half)
