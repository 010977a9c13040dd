"""Training: whole runs from the same weights and orders stay together, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity_tests import TRAINING, assert_close
from parity_tests.bridge import load, rows, unload
from parity_tests.ledger import LEDGER
from scratch import training as ours
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import OPTIMIZERS, Adam, GradientDescent
from torch_ref import training as theirs
from torch_ref.network import Network as TheirNetwork
from torch_ref.optimizers import OPTIMIZERS as THEIR_OPTIMIZERS

RATES = {"gradient_descent": 0.5, "momentum": 0.5, "rmsprop": 0.01, "adam": 0.01}
SIZES = {"softmax": (4, 8, 3), "sigmoid": (4, 8, 2)}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
    ),
]


def draw_data(rng, output, m):
    """Draw separable inputs and their labels."""
    X = rng.standard_normal((4, m))
    scores = rng.standard_normal((SIZES[output][-1], 4)) @ X
    if output == "softmax":
        return X, np.eye(3)[:, scores.argmax(axis=0)]
    return X, (scores > 0).astype(float)


def make_pair(rng, output="softmax", hidden="tanh", device="cpu"):
    """Return the same network on both sides."""
    network = Network(layer_sizes=SIZES[output], hidden=hidden, output=output)
    parameters = initialize(network.layer_sizes, "xavier", rng)
    module = TheirNetwork(
        layer_sizes=network.layer_sizes, hidden=hidden, output=output, device=device
    )
    return network, parameters, load(module, parameters)


@pytest.mark.parity("train", "training_steps", "evaluate")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("output", SIZES)
@pytest.mark.parametrize("batch_size", [1, 16, 50, 64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_run(name, batch_size, output, device, rng):
    """Costs of every step and epoch, accuracies and parameters agree, short last batch included."""
    LEDGER.device = device
    network, parameters, module = make_pair(rng, output, device=device)
    X, Y = draw_data(rng, output, 50)
    dev = draw_data(rng, output, 20)
    orders = draw_orders(50, 6, rng)
    shared = {"epochs": 6, "batch_size": batch_size, "orders": orders, "l1": 0.1, "l2": 0.3}
    mine = ours.train(
        network,
        parameters,
        X,
        Y,
        optimizer=OPTIMIZERS[name](learning_rate=RATES[name]),
        dev=dev,
        **shared,
    )
    optimizer = THEIR_OPTIMIZERS[name](module.parameters(), learning_rate=RATES[name])
    tensors = [rows(array, device) for array in (X, Y, *dev)]
    other = theirs.train(
        module, *tensors[:2], optimizer=optimizer, dev=tuple(tensors[2:]), **shared
    )
    assert len(mine.step_costs) == 6 * -(-50 // batch_size)
    for quantity in ("step_costs", "costs", "dev_costs", "accuracies", "dev_accuracies"):
        values = (np.array(getattr(history, quantity)) for history in (mine, other))
        assert_close(*values, quantity, budget=TRAINING)
    assert_close(parameters.theta, unload(module).theta, "theta", budget=TRAINING)
    assert len(mine.seconds) == len(other.seconds) == 6
    assert mine.costs[-1] < mine.costs[0]

    cost, accuracy = ours.evaluate(parameters, *dev, network)
    reference = theirs.evaluate(module, *tensors[2:])
    assert_close(np.float64(cost), reference[0].cpu().numpy()[()], "cost", budget=TRAINING)
    assert accuracy == reference[1] == mine.dev_accuracies[-1]


def test_epoch_cost_is_the_mean_over_examples(rng):
    """With a short last batch the mean of batch means differs; the mean over examples is kept."""
    network, parameters, _ = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 50)
    (order,) = orders = draw_orders(50, 1, rng)
    frozen = GradientDescent(learning_rate=1e-300)
    run = {"optimizer": frozen, "epochs": 1, "orders": orders, "l2": 0.3}
    history = ours.train(network, parameters, X, Y, batch_size=48, **run)
    J, _ = cost_and_gradients(parameters, X, Y, network, l2=0.3)
    assert_close(np.float64(history.costs[0]), J, "epoch cost")
    assert abs(np.mean(history.step_costs) - J) > 1e-4
    assert len(order) == 50


def test_callbacks_see_every_step(rng):
    """Callbacks are called in order after each step, with the live parameters and the history."""
    network, parameters, module = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 10)
    orders = draw_orders(10, 2, rng)
    run = {"epochs": 2, "batch_size": 4, "orders": orders}
    for side, arguments, optimizer in (
        (ours, (network, parameters, X, Y), Adam()),
        (theirs, (module, rows(X), rows(Y)), torch.optim.Adam(module.parameters())),
    ):
        seen = []
        history = side.train(
            *arguments,
            optimizer=optimizer,
            callbacks=[lambda step, history, seen=seen: seen.append((step, len(history.costs)))],
            **run,
        )
        assert [step.number for step, _ in seen] == [1, 2, 3, 4, 5, 6]
        assert [step.epoch for step, _ in seen] == [1, 1, 1, 2, 2, 2]
        assert [step.ends_epoch for step, _ in seen] == [False, False, True] * 2
        assert [epochs for _, epochs in seen] == [0, 0, 1, 1, 1, 2]
        assert [step.cost for step, _ in seen] == history.step_costs
    assert seen[-1][0].module is module


def test_an_interrupted_run_keeps_what_it_reached(rng):
    """A history handed in has every step up to the interruption, on both sides."""
    network, parameters, module = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 10)
    run = {"epochs": 3, "batch_size": 4, "orders": draw_orders(10, 3, rng)}

    def interrupt(step, history):
        if step.number == 4:
            raise KeyboardInterrupt

    for side, arguments, optimizer in (
        (ours, (network, parameters, X, Y), Adam()),
        (theirs, (module, rows(X), rows(Y)), torch.optim.Adam(module.parameters())),
    ):
        history = side.History()
        with pytest.raises(KeyboardInterrupt):
            side.train(
                *arguments, optimizer=optimizer, history=history, callbacks=[interrupt], **run
            )
        assert len(history.step_costs) == 4
        assert len(history.costs) == 1


def test_one_seed_gives_one_run():
    """Two runs from the same draws are equal to the last bit and leave the data alone."""
    results = []
    for _ in range(2):
        rng = np.random.default_rng(3)
        network, parameters, _ = make_pair(rng)
        X, Y = draw_data(rng, "softmax", 30)
        kept = X.copy(), Y.copy()
        orders = draw_orders(30, 3, rng)
        ours.train(
            network, parameters, X, Y, optimizer=Adam(), epochs=3, batch_size=8, orders=orders
        )
        assert np.array_equal(X, kept[0])
        assert np.array_equal(Y, kept[1])
        results.append(parameters.theta)
    assert np.array_equal(*results)


def test_any_object_with_init_and_update_is_an_optimizer(rng):
    """A learner's own rule plugs into the loop."""

    class SignDescent:
        def init(self, parameters):
            return None

        def update(self, parameters, gradients, state):
            parameters.theta[:] -= 0.01 * np.sign(gradients.theta)

    network, parameters, _ = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 30)
    orders = draw_orders(30, 20, rng)
    history = ours.train(
        network, parameters, X, Y, optimizer=SignDescent(), epochs=20, batch_size=8, orders=orders
    )
    assert history.costs[-1] < history.costs[0]


def test_orders_may_be_a_generator_but_must_not_run_dry(rng):
    """The stream is read one epoch at a time; too few orders are named."""
    network, parameters, module = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 10)
    orders = draw_orders(10, 2, rng)
    with pytest.raises(ValueError, match="expected orders for 3 epochs, got 2"):
        ours.train(
            network, parameters, X, Y, optimizer=Adam(), epochs=3, batch_size=4, orders=iter(orders)
        )
    optimizer = torch.optim.Adam(module.parameters())
    run = {"optimizer": optimizer, "epochs": 3, "batch_size": 4, "orders": iter(orders)}
    with pytest.raises(ValueError, match="expected orders for 3 epochs, got 2"):
        theirs.train(module, rows(X), rows(Y), **run)
