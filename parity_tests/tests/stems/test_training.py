"""Training: whole runs from the same weights and orders stay together, step by step."""

from __future__ import annotations

from dataclasses import make_dataclass
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from parity_tests import TRAINING, assert_close
from parity_tests.compare.bridge import (
    columns,
    load,
    masks_to_torch,
    rows,
    twin,
    unload,
    unload_running,
)
from parity_tests.compare.functions import draw_until
from parity_tests.compare.measurement import ProvesNothingError, measure
from scratch import training as ours
from scratch.batch_norm import BatchNorm, running_averages
from scratch.dropout import mask_stream
from scratch.early_stopping import EarlyStopping
from scratch.initializers import initialize
from scratch.mini_batches import draw_orders
from scratch.network import Network, cost_and_gradients
from scratch.optimizers import OPTIMIZERS, Adam, GradientDescent
from scratch.parameters import Parameters
from scratch.schedules import SCHEDULES
from torch_ref import training as theirs
from torch_ref.early_stopping import EarlyStopping as TheirEarlyStopping
from torch_ref.network import Network as TheirNetwork
from torch_ref.optimizers import OPTIMIZERS as THEIR_OPTIMIZERS
from torch_ref.schedules import SCHEDULES as THEIR_SCHEDULES

RATES = {"gradient_descent": 0.5, "momentum": 0.5, "rmsprop": 0.01, "adam": 0.01}
SIZES = {"softmax": (4, 8, 3), "sigmoid": (4, 8, 2)}


def draw_data(rng, output, m):
    """Draw separable inputs and their labels."""
    X = rng.standard_normal((4, m))
    scores = rng.standard_normal((SIZES[output][-1], 4)) @ X
    if output == "softmax":
        return X, np.eye(3)[:, scores.argmax(axis=0)]
    return X, (scores > 0).astype(float)


def related(train, dev):
    """Tell whether a guess from train data is sometimes right on dev: accuracies of 0 say nothing.

    Dev data have labels of another kind, so that training soon does harm there.
    """
    guess = np.inner(train[1], train[0]) @ dev[0]
    return (guess.argmax(axis=0) == dev[1].argmax(axis=0)).mean() > 0.25


def make_pair(rng, output="softmax", hidden="tanh", device="cpu"):
    """Return the same network on both sides."""
    network = Network(layer_sizes=SIZES[output], hidden=hidden, output=output)
    parameters = initialize(network.layer_sizes, "xavier", rng)
    module = TheirNetwork(
        layer_sizes=network.layer_sizes, hidden=hidden, output=output, device=device
    )
    return network, parameters, load(module, parameters)


@pytest.mark.parity("train", "training_steps", "evaluate")
@pytest.mark.parametrize("output", SIZES)
@pytest.mark.parametrize("batch_size", [3, 16, 50, 64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_run(name, batch_size, output, device, rng):
    """Costs of every step and epoch, accuracies and parameters agree, short last batch included."""
    network, parameters, module = make_pair(rng, output, device=device)
    X, Y = draw_data(rng, output, 70)
    X, Y, dev = X[:, :50], Y[:, :50], (X[:, 50:], Y[:, 50:])
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
        values = [np.array(getattr(history, quantity)) for history in (mine, other)]
        nothing_right = "accuracies" in quantity and not values[1].any()
        assert_close(*values, quantity, budget=TRAINING, expect_zero=nothing_right)
    assert_close(parameters.theta, unload(module).theta, "theta", budget=TRAINING)
    assert len(mine.seconds) == len(other.seconds) == 6
    assert mine.costs[-1] < mine.costs[0]

    cost, accuracy = ours.evaluate(parameters, *dev, network)
    reference = theirs.evaluate(module, *tensors[2:])
    assert_close(np.float64(cost), reference[0].cpu().numpy()[()], "cost", budget=TRAINING)
    assert accuracy == reference[1] == mine.dev_accuracies[-1]


NORM = BatchNorm(decay=0.8, unbiased=True)
FEATURES = {
    "dropout": {"network": {"keep_probs": (0.7,)}},
    "batch norm": {"network": {"batch_norm": BatchNorm()}},
    "both": {"network": {"keep_probs": (0.7,), "batch_norm": NORM}},
    "schedule per epoch": {"schedule": ("inverse_time", {"decay": 0.5})},
    "schedule per iteration": {
        "schedule": ("exponential", {"rate": 0.97}),
        "run": {"schedule_per": "iteration"},
    },
    "piecewise schedule": {"schedule": ("piecewise_constant", {"rates": ((2, 0.05), (4, 0.01))})},
    "manual schedule": {"schedule": ("manual", {"rates": (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)})},
    "clipping by value": {"run": {"clip_value": 0.02}},
    "clipping by norm": {"run": {"clip_norm": 0.1}},
    "early stopping": {"stop": {"patience": 2, "min_improvement": 0.05}},
    "everything": {
        "network": {"keep_probs": (0.7,), "batch_norm": NORM},
        "schedule": ("inverse_square_root", {"k": 1.0}),
        "run": {"schedule_per": "iteration", "clip_value": 0.2, "clip_norm": 0.5},
        "stop": {"patience": 3},
    },
}


CHOICES = {
    "gradient_descent": {},
    "momentum": {"beta": 0.8},
    "rmsprop": {"beta": 0.8, "epsilon": 1e-6},
    "adam": {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
}


class Pair:
    """The same run on both sides, from shared draws, as far as it has been taken."""

    def __init__(self, feature, optimizer, rng, epochs=6, batch_size=16, device="cpu"):
        """Draw everything that both sides start from."""
        choices = feature if isinstance(feature, dict) else FEATURES.get(feature, {})
        chosen = choices.get("network", {})
        self.network = Network(
            layer_sizes=SIZES["softmax"], hidden="tanh", output="softmax", **chosen
        )
        sizes, norm = self.network.layer_sizes, self.network.batch_norm is not None
        self.parameters = initialize(sizes, "xavier", rng, batch_norm=norm)
        self.module = twin(self.network, self.parameters, device)
        self.running = running_averages(sizes) if norm else None
        (X, Y), dev = draw_until(
            related, lambda: (draw_data(rng, "softmax", 50), draw_data(rng, "softmax", 20))
        )
        rate = RATES[optimizer]
        shared = {"epochs": epochs, "batch_size": batch_size, **choices.get("run", {})}
        shared |= {"orders": draw_orders(50, epochs, rng), "l2": 0.3}
        # other choices than the defaults, for a schedule to leave alone
        rates = {"learning_rate": rate, **CHOICES[optimizer]}
        rule = OPTIMIZERS[optimizer](**rates)
        other_rule = THEIR_OPTIMIZERS[optimizer](self.module.parameters(), **rates)
        mine, other = {"optimizer": rule, "dev": dev}, {"optimizer": other_rule}
        tensors = [rows(one, device) for one in (X, Y, *dev)]
        other["dev"] = tuple(tensors[2:])
        if self.network.dropped:
            stream = {"batch_size": batch_size, "epochs": epochs}
            seed = int(rng.integers(2**31))
            draws = [
                mask_stream(
                    sizes, chosen["keep_probs"], 50, rng=np.random.default_rng(seed), **stream
                )
                for _ in range(2)
            ]
            mine["masks"] = draws[0]
            other["masks"] = (masks_to_torch(one, device) for one in draws[1])
        if "schedule" in choices:
            name, shape = choices["schedule"]
            alpha = {} if name == "manual" else {"learning_rate": rate}
            mine["schedule"] = SCHEDULES[name](**alpha, **shape)
            other["schedule"] = THEIR_SCHEDULES[name](other_rule, **shape)
        if "stop" in choices:
            mine["early_stopping"] = EarlyStopping(**choices["stop"])
            other["early_stopping"] = TheirEarlyStopping(**choices["stop"])
        self.mine = (
            (self.network, self.parameters, X, Y),
            {**shared, **mine, "running": self.running},
        )
        self.other = (self.module, *tensors[:2]), {**shared, **other}

    def train(self):
        """Take both runs to their end, return both histories."""
        arguments, choices = self.mine
        history = ours.train(*arguments, **choices)
        arguments, choices = self.other
        return history, theirs.train(*arguments, **choices)

    def assert_agree(self, mine, other):
        """Hold histories, parameters and running averages against each other."""
        for quantity in ("step_costs", "costs", "dev_costs", "accuracies", "dev_accuracies"):
            values = (np.array(getattr(history, quantity)) for history in (mine, other))
            assert_close(*values, quantity, budget=TRAINING)
        reached = unload(self.module)
        for name, view in self.parameters.items():
            assert_close(view, reached[name], name, budget=TRAINING)
        if self.running is not None:
            averages = unload_running(self.module)
            for name, view in self.running.items():
                assert_close(view, averages[name], name, budget=TRAINING)


@pytest.mark.parity("train", "training_steps")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("feature", FEATURES)
def test_feature(feature, optimizer, device, rng):
    """Dropout, batch norm, schedules, clipping, early stopping: whole runs agree."""
    pair = Pair(feature, optimizer, rng, device=device)
    started = pair.parameters.copy()
    mine, other = pair.train()
    pair.assert_agree(mine, other)
    assert np.abs(pair.parameters.theta - started.theta).max() > 1e-3


@pytest.mark.parametrize("feature", FEATURES)
def test_feature_matters(feature, rng):
    """Each feature changes what is learned: a run without it ends elsewhere."""
    state = rng.bit_generator.state
    weights = []
    for one in (feature, None):
        rng.bit_generator.state = state
        pair = Pair(one, "momentum", rng)
        arguments, choices = pair.mine
        ours.train(*arguments, **choices)
        weights.append(pair.parameters["W1"])
    assert np.abs(weights[0] - weights[1]).max() > 1e-3


def test_early_stopping_ends_both_runs_at_the_best(rng):
    """Both sides stop after the same epoch, before the last, and hand back the best parameters."""
    stop = {"patience": 2, "min_improvement": 0.05}
    pair = Pair({"network": {"batch_norm": NORM}, "stop": stop}, "rmsprop", rng, epochs=60)
    kept = [id(parameter) for parameter in pair.module.parameters()]
    mine, other = pair.train()
    pair.assert_agree(mine, other)
    best = int(np.argmin(mine.dev_costs))
    assert len(mine.costs) == len(other.costs) < 60
    (network, parameters, _, _), choices = pair.mine
    cost, _ = ours.evaluate(parameters, *choices["dev"], network, pair.running)
    assert cost in mine.dev_costs
    assert [id(parameter) for parameter in pair.module.parameters()] == kept  # the optimizer's own
    assert cost <= mine.dev_costs[best] + 0.05
    assert mine.dev_costs.index(cost) == len(mine.dev_costs) - 3
    reference, _ = theirs.evaluate(pair.module, *pair.other[1]["dev"])
    assert_close(cost, reference.numpy()[()], "best dev cost", budget=TRAINING)


def test_the_best_is_restored_where_the_epochs_end_first(rng):
    """A run that patience never stops hands back its best parameters all the same."""

    def trained():
        pair = Pair({"stop": {"patience": 100}}, "rmsprop", rng, epochs=20)
        return pair, *pair.train()

    pair, mine, other = draw_until(  # else last and best are one
        lambda _, mine, __: min(mine.dev_costs) < mine.dev_costs[-1], trained
    )
    pair.assert_agree(mine, other)
    assert len(mine.costs) == 20
    (network, parameters, _, _), choices = pair.mine
    assert ours.evaluate(parameters, *choices["dev"], network)[0] == min(mine.dev_costs)


@pytest.fixture(scope="module")
def digits():
    """Return a thousand real digits, 8 x 8 pixels from 0 to 1 in columns, and their labels."""
    bunch = load_digits()
    return columns(torch.from_numpy(bunch.data[:1000] / 16)), np.eye(10)[:, bunch.target[:1000]]


#: optimizers and their epochs of twenty steps: each for all, and one after the other.
PHASES = {
    "adam": {"adam": 50},
    "momentum": {"momentum": 50},
    "rmsprop": {"rmsprop": 50},
    "all three": {"momentum": 16, "rmsprop": 17, "adam": 17},
}


@pytest.mark.parity("train")
@pytest.mark.parametrize("phases", PHASES)
def test_a_thousand_steps_on_digits(phases, digits, rng):
    """With a schedule, dropout and batch norm every parameter and average stays within 1e-10.

    Now and then a training makes more of an ulp: our own from weights an ulp away tells, and
    another is drawn.
    """
    X, Y = digits
    sizes, keep_probs = (64, 32, 16, 10), (0.9, 0.8)
    network = Network(
        layer_sizes=sizes, hidden="tanh", output="softmax", keep_probs=keep_probs, batch_norm=NORM
    )
    parameters = initialize(sizes, "xavier", rng, batch_norm=True)
    module, running = twin(network, parameters), running_averages(sizes)
    nudged, averages = parameters.copy(), running.copy()
    nudged.theta[:] = np.nextafter(nudged.theta, rng.choice([-np.inf, np.inf], nudged.theta.size))
    costs = []
    for name, epochs in PHASES[phases].items():
        rate, seed = RATES[name], int(rng.integers(2**31))
        draws = partial(mask_stream, sizes, keep_probs, 1000, batch_size=50, epochs=epochs)
        shared = {"epochs": epochs, "batch_size": 50, "orders": draw_orders(1000, epochs, rng)}
        shared |= {"schedule_per": "iteration"}
        _, mine = (
            ours.train(
                network,
                start,
                X,
                Y,
                optimizer=OPTIMIZERS[name](learning_rate=rate),
                schedule=SCHEDULES["exponential"](learning_rate=rate, rate=0.998),
                masks=draws(rng=np.random.default_rng(seed)),
                running=moving,
                **shared,
            )
            for start, moving in ((nudged, averages), (parameters, running))
        )
        optimizer = THEIR_OPTIMIZERS[name](module.parameters(), learning_rate=rate)
        other = theirs.train(
            module,
            rows(X),
            rows(Y),
            optimizer=optimizer,
            schedule=THEIR_SCHEDULES["exponential"](optimizer, rate=0.998),
            masks=map(masks_to_torch, draws(rng=np.random.default_rng(seed))),
            **shared,
        )
        costs += zip(mine.step_costs, other.step_costs, strict=True)
    grown = max(measure(nudged[name], view).error for name, view in parameters.items())
    if not grown < TRAINING.eps / 100:
        raise ProvesNothingError(
            f"an ulp in the first weights grows to {grown:.4g} in a thousand steps"
        )
    step_costs, their_costs = map(np.array, zip(*costs, strict=True))
    assert len(step_costs) == 1000
    assert_close(step_costs, their_costs, "costs", budget=TRAINING)
    for named, reference in ((parameters, unload(module)), (running, unload_running(module))):
        for name, view in named.items():
            assert_close(view, reference[name], name, budget=TRAINING)
            assert np.abs(view - reference[name]).max() < 1e-10
    assert np.mean(step_costs[-20:]) < step_costs[0] / 2
    assert mine.accuracies[-1] > 0.95


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
    assert abs(np.mean(history.step_costs) - J) > 1e-10  # far above what was allowed
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


def test_what_a_run_needs_is_asked_for(rng):
    """Masks, running averages, dev data, a rate to schedule: what is missing is named."""
    pair = Pair("both", "adam", rng)
    arguments, choices = pair.mine
    schedule = SCHEDULES["constant"](learning_rate=0.1)
    masks = [{"D1": np.ones((8, 16))}] * 2

    class Rule:
        def init(self, parameters):
            return None

        def update(self, parameters, gradients, state):
            parameters.theta[:] -= 0.01 * gradients.theta

    refusals = {
        "expected masks for keep_probs of": {"masks": None},
        "expected masks for 24 steps, got 2": {"masks": masks},
        "expected masks for every step, got fewer": {"masks": iter(masks)},
        r"expected mask D1 of shape \(8, 16\)": {"masks": [{"D1": np.ones((8, 15))}] * 24},
        "expected running averages of shapes": {"running": None},
        "expected dev data": {"early_stopping": EarlyStopping(patience=1), "dev": None},
        "a dataclass with a learning_rate": {"schedule": schedule, "optimizer": Rule()},
        "expected mini-batches of two or more examples": {"batch_size": 7},
    }
    for message, change in refusals.items():
        with pytest.raises((TypeError, ValueError), match=message):
            ours.train(*arguments, **{**choices, **change})
    arguments, choices = pair.other
    stranger = THEIR_OPTIMIZERS["adam"]([torch.ones(2, requires_grad=True)])
    refusals = {
        "expected masks for every step, got fewer": {"masks": map(masks_to_torch, masks)},
        "expected masks for 24 steps, got 1": {"masks": [{}]},
        r"expected mask D1 of shape \(16, 8\)": {
            "masks": iter([{"D1": torch.ones(15, 8).double()}])
        },
        "expected mini-batches of two or more examples": {"batch_size": 7},
        "expected dev data": {"early_stopping": TheirEarlyStopping(patience=1), "dev": None},
        "expected a schedule of the optimizer": {"schedule": THEIR_SCHEDULES["constant"](stranger)},
    }
    for message, change in refusals.items():
        with pytest.raises(ValueError, match=message):
            theirs.train(*arguments, **{**choices, **change})
    assert all(layer.mask is None for layer in pair.module.dropouts.values())
    plain = Pair("clipping by norm", "adam", rng)
    for side, (arguments, choices) in ((ours, plain.mine), (theirs, plain.other)):
        with pytest.raises(ValueError, match=r"expected masks \[\], got \['D1'\]"):
            side.train(*arguments, **{**choices, "masks": iter(masks)})
        # a stream for keep_probs that are all 1 yields nothing to drop
        side.train(*arguments, **{**choices, "masks": iter([{}] * 24)})


LEARNING = "an optimizer that is a dataclass with a learning_rate, for the schedule to replace"
UNBIASED = (
    "mini-batches of two or more examples for the unbiased variance, got one of 1 from m = 50"
)


def test_the_whole_refusal_of_a_training(rng):
    """What a training cannot use is named together with what came, before its first step."""
    (network, parameters, X, Y), choices = Pair("both", "adam", rng).mine
    orders, schedule = choices["orders"], SCHEDULES["constant"](learning_rate=0.1)

    class Plain:
        def init(self, parameters):
            return None

        def update(self, parameters, gradients, state):
            return None

        def __repr__(self):
            return "Plain()"

    def made_of(field):
        return make_dataclass("Made", [field], bases=(Plain,), repr=False)(0.1)

    refusals = [
        ({"dev": (X,)}, TypeError, "dev to be a tuple (X, Y), got tuple "),
        ({"dev": (X, Y, Y)}, TypeError, "dev to be a tuple (X, Y), got tuple "),
        ({"dev": [X, Y]}, TypeError, "dev to be a tuple (X, Y), got list "),
        ({"orders": 3}, TypeError, "orders to be an iterable of orders, got int 3"),
        ({"orders": "012"}, TypeError, "orders to be an iterable of orders, got str '012'"),
        ({"orders": {}}, TypeError, "orders to be an iterable of orders, got dict {}"),
        ({"masks": 3}, TypeError, "masks to be an iterable of masks, got int 3"),
        ({"orders": orders[:5]}, ValueError, "orders for 6 epochs, got 5"),
        ({"masks": [{}] * 23}, ValueError, "masks for 24 steps, got 23"),
        ({"masks": None}, ValueError, "masks for keep_probs of (0.7,), got None"),
        ({"epochs": 0}, ValueError, "epochs to be at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size to be at least 1, got 0"),
        ({"batch_size": 1}, ValueError, f"{UNBIASED} and batch_size = 1"),
        ({"batch_size": 7}, ValueError, f"{UNBIASED} and batch_size = 7"),
        ({"batch_size": 49}, ValueError, f"{UNBIASED} and batch_size = 49"),
        *(
            ({"schedule": schedule, "optimizer": rule}, TypeError, f"{LEARNING}, got {name}")
            for rule, name in (
                (Plain(), "Plain Plain()"),
                (made_of("alpha"), "Made Plain()"),
                (made_of("rate"), "Made Plain()"),
            )
        ),
    ]
    before = parameters.theta.copy()
    for change, error, message in refusals:
        with pytest.raises(error) as refusal:
            ours.training_steps(network, parameters, X, Y, **{**choices, **change})
        assert str(refusal.value).startswith(f"expected {message}")
        if not message.endswith("tuple ") and not message.endswith("list "):
            assert str(refusal.value) == f"expected {message}"
    for bad in (3, [3], [print, "print"], iter([print])):
        with pytest.raises(TypeError, match="expected callbacks to be functions, got "):
            ours.train(network, parameters, X, Y, **choices, callbacks=bad)
    assert np.array_equal(parameters.theta, before)


def test_what_runs_dry_on_the_way_is_told(rng):
    """Orders are met one by one: too few, of another length, or no array."""
    (network, parameters, X, Y), choices = Pair("none", "adam", rng).mine
    orders = draw_orders(50, 4, rng)
    for stream, error, message in (
        (orders[:3], ValueError, "orders for 4 epochs, got 3"),
        ([np.arange(49)], ValueError, "orders of 50 examples, got one of 49"),
        ([np.arange(51)], ValueError, "orders of 50 examples, got one of 51"),
        ([[0, 1]], TypeError, "orders of whole numbers, got list [0, 1]"),
    ):
        with pytest.raises(error) as refusal:
            ours.train(
                network, parameters, X, Y, **{**choices, "epochs": 4, "orders": iter(stream)}
            )
        assert str(refusal.value) == f"expected {message}"


def test_more_than_enough_is_fine(rng):
    """Orders and masks may outlast a run; masks are asked for each step, the short one too."""
    (network, parameters, X, Y), choices = Pair("dropout", "adam", rng).mine
    mask = {"D1": np.full((8, 10), 1 / 0.7)}
    for batch_size, steps in ((10, 5), (50, 1)):
        masks = [{"D1": np.full((8, batch_size), 1 / 0.7)}] * steps
        run = {**choices, "batch_size": batch_size, "masks": masks, "epochs": 1}
        assert len(ours.train(network, parameters, X, Y, **run).step_costs) == steps
        run |= {"masks": [*masks, {}], "orders": draw_orders(50, 3, rng)}
        assert len(ours.train(network, parameters, X, Y, **run).step_costs) == steps
        with pytest.raises(ValueError, match=f"expected masks for {steps} steps, got {steps - 1}"):
            ours.train(network, parameters, X, Y, **{**run, "masks": masks[1:]})
    # the values of masks are the business of those who draw them, as with torch's own
    odd = {**choices, "batch_size": 10, "masks": [{"D1": 3 * mask["D1"]}] * 5, "epochs": 1}
    assert len(ours.train(network, parameters, X, Y, **odd).step_costs) == 5


@pytest.mark.parametrize(
    ("norm", "sizes", "batch_size"),
    [
        (BatchNorm(), (4, 8, 3), 7),
        (BatchNorm(), (4, 8, 3), 1),
        (NORM, (4, 8, 3), 2),
        (NORM, (4, 8, 3), 10),
        (NORM, (4, 3), 7),
        (NORM, (4, 3), 1),
    ],
    ids=str,
)
def test_only_the_unbiased_variance_needs_two_examples(norm, sizes, batch_size, rng):
    """A batch of one is fine for the biased one, and where no layer is normalized."""
    network = Network(layer_sizes=sizes, output="softmax", batch_norm=norm)
    parameters = initialize(sizes, "xavier", rng, batch_norm=True)
    running = running_averages(sizes) if len(sizes) > 2 else None
    X, Y = draw_data(rng, "softmax", 50)
    run = {"epochs": 1, "batch_size": batch_size, "orders": draw_orders(50, 1, rng)}
    history = ours.train(network, parameters, X, Y, optimizer=Adam(), running=running, **run)
    assert len(history.step_costs) == -(-50 // batch_size)


def test_penalties_are_left_out_by_default(rng):
    """The first cost of a run that says nothing of l1 and l2 is the plain one."""
    network, parameters, _ = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 10)
    plain = cost_and_gradients(parameters, X, Y, network)[0]
    run = {"optimizer": Adam(), "epochs": 1, "batch_size": 10, "orders": draw_orders(10, 1, rng)}
    (step,) = ours.training_steps(network, parameters.copy(), X, Y, **run)
    history = ours.train(network, parameters, X, Y, **run)
    for cost in (step.cost, *history.step_costs, *history.costs):
        assert_close(np.float64(cost), plain, "cost")


@pytest.mark.parametrize(("per", "expected"), [("epoch", [1, 2]), ("iteration", [1, 2, 3, 4])])
def test_a_schedule_is_asked_once_for_each_of_its_times(per, expected, rng):
    """Under either name, whatever string object spells it, and whatever names the rate."""
    network, parameters, _ = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 12)
    run = {"epochs": 2, "batch_size": 6, "orders": draw_orders(12, 2, rng)}
    spelt = "".join(["learning", "_rate"])

    def update(self, parameters, gradients, state):
        rates.append(self.learning_rate)

    methods = {"init": lambda self, parameters: None, "update": update}
    rule = make_dataclass("Rule", [spelt], namespace=methods)(9.0)
    asked, rates = [], []

    def schedule(t):
        asked.append(t)
        return float(t)

    run |= {"optimizer": rule, "schedule": schedule, "schedule_per": "".join(list(per))}
    ours.train(network, parameters, X, Y, **run)
    assert asked == expected
    assert rates == ([1, 1, 2, 2] if per == "epoch" else expected)


def test_torch_draws_masks_of_its_own_where_none_are_handed_in(rng):
    """Without masks nn.Dropout draws from torch's global generator, and the run still learns."""
    pair = Pair("dropout", "adam", rng)
    arguments, choices = pair.other
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        history = theirs.train(*arguments, **{**choices, "masks": None})
        assert not torch.equal(before, torch.get_rng_state())
    assert history.costs[-1] < history.costs[0]


def test_bad_arguments_are_met_at_the_call(rng):
    """`training_steps` refuses before the first step is asked for."""
    pair = Pair("dropout", "adam", rng)
    (network, parameters, X, Y), choices = pair.mine
    with pytest.raises(ValueError, match="expected X of shape"):
        ours.training_steps(network, parameters, X[:2], Y, **choices)
    (module, X, Y), choices = pair.other
    with pytest.raises(ValueError, match="expected X of shape"):
        theirs.training_steps(module, X[:, :2], Y, **choices)


@pytest.mark.parametrize("per", ["epoch", "iteration"])
def test_a_second_run_under_the_same_schedule(per, rng):
    """Ours counts from 1 in each call, torch's scheduler goes on from where it stands."""
    network, parameters, module = make_pair(rng)
    X, Y = draw_data(rng, "softmax", 12)
    run = {"epochs": 3, "batch_size": 6, "orders": draw_orders(12, 3, rng), "schedule_per": per}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    schedule = THEIR_SCHEDULES["inverse_time"](optimizer, decay=1.0)
    alpha = SCHEDULES["inverse_time"](learning_rate=0.1, decay=1.0)
    rates, counts = [], []

    def ours_now(t):
        counts.append(t)
        return alpha(t)

    for _ in range(2):
        ours.train(
            network, parameters, X, Y, optimizer=GradientDescent(learning_rate=9.0),
            schedule=ours_now, **run,
        )  # fmt: skip
        theirs.train(
            module, rows(X), rows(Y), optimizer=optimizer, schedule=schedule,
            callbacks=[lambda *_: rates.append(optimizer.param_groups[0]["lr"])], **run,
        )  # fmt: skip
    once = 6 if per == "iteration" else 3
    assert counts == [*range(1, once + 1)] * 2
    each = 1 if per == "iteration" else 2
    expected = [alpha(t) for t in range(1, 2 * once + 1) for _ in range(each)]
    assert_close(np.array(rates), np.array(expected), "rates")


def test_the_mode_is_as_it_was_and_training_trains(rng):
    """A callback that leaves `eval()` behind spoils no later epoch; `train` restores the mode."""
    thetas = []
    for meddles in (False, True):
        pair = Pair("both", "adam", np.random.default_rng(2))
        (module, X, Y), choices = pair.other
        module.eval()

        def meddle(step, history, meddles=meddles):
            if step.ends_epoch and meddles:
                step.module.eval()

        theirs.train(module, X, Y, **choices, callbacks=[meddle])
        assert not any(part.training for part in module.modules())
        thetas.append(unload(module).theta)
    assert np.array_equal(*thetas)


@pytest.mark.parametrize("side", [ours, theirs])
def test_seconds_are_those_of_all_steps(side, rng, monkeypatch):
    """A clock that ticks once a look counts the steps of each epoch."""
    ticks = iter(range(1000))
    monkeypatch.setattr(side, "perf_counter", lambda: float(next(ticks)))
    pair = Pair("clipping by norm", "adam", rng)
    arguments, choices = pair.mine if side is ours else pair.other
    assert side.train(*arguments, **choices).seconds == [4.0] * 6


def test_evaluation_asks_for_running_averages(rng):
    """Batch norm is evaluated on averages, which must fit in layout, dtype and values."""
    pair = Pair("batch norm", "adam", rng)
    (network, parameters, X, Y), _ = pair.mine
    swapped = Parameters({name: pair.running[name] for name in ("variance1", "mean1")})
    narrow = Parameters({name: one.astype("f4") for name, one in pair.running.items()})
    negative = pair.running.copy()
    negative["variance1"] = -negative["variance1"]
    for bad in (None, swapped, narrow, negative):
        with pytest.raises(ValueError, match=r"expected .*running averages"):
            ours.evaluate(parameters, X, Y, network, bad)


def test_batch_norm_needs_no_hidden_layer(rng):
    """A network without hidden layers has nothing to normalize, on both sides."""
    network = Network(layer_sizes=(4, 3), output="softmax", batch_norm=BatchNorm())
    parameters = initialize((4, 3), "xavier", rng, batch_norm=True)
    module = twin(network, parameters)
    X, Y = draw_data(rng, "softmax", 12)
    run = {"epochs": 2, "batch_size": 6, "orders": draw_orders(12, 2, rng)}
    ours.train(network, parameters, X, Y, optimizer=Adam(), **run)
    theirs.train(module, rows(X), rows(Y), optimizer=torch.optim.Adam(module.parameters()), **run)
    assert_close(parameters.theta, unload(module).theta, "theta", budget=TRAINING)
