"""Optimization methods: mini-batches, momentum, Adam and a decaying learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scratch import initializers, mini_batches, optimizers, schedules
from scratch._validation import Array, Instance, OneOf, Whole, unchecked
from scratch.course._kinds import (
    Arrays,
    AsTheyAre,
    Gradients,
    Layers,
    Real,
    Seed,
    Sizes,
    validated,
)
from scratch.course._layers import (
    Descent,
    choose,
    cross_entropy,
    descend,
    draw_layers,
    network_backward,
    network_forward,
    pack,
    seeded,
    unpack,
)
from scratch.course._plot import plot_costs

__all__ = [
    "initialize_adam",
    "initialize_velocity",
    "model",
    "random_mini_batches",
    "update_parameters_with_adam",
    "update_parameters_with_decay",
    "update_parameters_with_gd",
    "update_parameters_with_momentum",
]

#: the core's optimizers by the assignment's names, with the arguments of `model` that each takes.
_RULES: Mapping[str, tuple[type[optimizers.Optimizer], tuple[str, ...]]] = {
    "gd": (optimizers.GradientDescent, ()),
    "momentum": (optimizers.Momentum, ("beta",)),
    "adam": (optimizers.Adam, ("beta1", "beta2", "epsilon")),
}

#: the assignment's own layers do not fit together, and each layer is updated on its own.
_LAYERS = Layers(chained=False)


@validated(X=AsTheyAre("n_x m"), Y=AsTheyAre("n_y m"), mini_batch_size=Whole(1), seed=Seed())
def random_mini_batches(
    X: Array, Y: Array, mini_batch_size: int = 64, seed: int = 0
) -> list[tuple[Array, Array]]:
    """Return [(X, Y), ...] of at most that many columns, shuffled by `permutation` of the seed.

    Source: Course 2, week 2, "Mini-batch gradient descent".
    """
    order = seeded(seed).permutation(X.shape[1])
    return list(unchecked(mini_batches.mini_batches)(X, Y, order, mini_batch_size))


@validated(parameters=_LAYERS, grads=Gradients(), learning_rate=Real())
def update_parameters_with_gd(parameters: Arrays, grads: Arrays, learning_rate: float) -> Arrays:
    """Return new parameters theta - alpha dtheta.

    Source: Course 2, week 2, "Optimization methods", gradient descent.
    """
    return descend(parameters, grads, learning_rate)


@validated(parameters=_LAYERS)
def initialize_velocity(parameters: Arrays) -> Arrays:
    """Return v = {"dW1", "db1", ...}, zero, each shaped like its parameter.

    Source: Course 2, week 2, "Gradient descent with momentum".
    """
    return unpack(pack(parameters).zeros_like(), "d")


@validated(parameters=_LAYERS, grads=Gradients(), v=Gradients(), beta=Real(), learning_rate=Real())
def update_parameters_with_momentum(
    parameters: Arrays, grads: Arrays, v: Arrays, beta: float, learning_rate: float
) -> tuple[Arrays, Arrays]:
    """Return new (parameters, v): v = beta v + (1 - beta) dtheta, theta = theta - alpha v.

    Source: Course 2, week 2, "Gradient descent with momentum".
    """
    updated, velocity = pack(parameters), pack(v, "d")
    optimizer = choose(optimizers.Momentum, learning_rate=learning_rate, beta=beta)
    optimizer.update(updated, pack(grads, "d"), optimizers.MomentumState(velocity.theta))
    return unpack(updated), unpack(velocity, "d")


@validated(parameters=_LAYERS)
def initialize_adam(parameters: Arrays) -> tuple[Arrays, Arrays]:
    """Return (v, s), each {"dW1", "db1", ...}, zero, shaped like the parameters.

    Source: Course 2, week 2, "Adam optimization algorithm".
    """
    v = unchecked(initialize_velocity)(parameters)
    return v, unchecked(initialize_velocity)(parameters)


@validated(
    parameters=_LAYERS,
    grads=Gradients(),
    v=Gradients(),
    s=Gradients(),
    t=Whole(1),
    learning_rate=Real(),
    beta1=Real(),
    beta2=Real(),
    epsilon=Real(),
)
def update_parameters_with_adam(
    parameters: Arrays,
    grads: Arrays,
    v: Arrays,
    s: Arrays,
    t: int,
    learning_rate: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Arrays, Arrays, Arrays]:
    """Return new (parameters, v, s) after step t of Adam, from 1 on, epsilon outside the root.

    v = beta1 v + (1 - beta1) g, s = beta2 s + (1 - beta2) g^2, theta = theta - alpha
    v / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon). Raises ZeroDivisionError for beta1 = 1,
    an average that never begins.

    Source: Course 2, week 2, "Adam optimization algorithm".
    """
    updated, first, second = pack(parameters), pack(v, "d"), pack(s, "d")
    optimizer = choose(
        optimizers.Adam, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    state = optimizers.AdamState(first.theta, second.theta, np.array(t - 1))
    optimizer.update(updated, pack(grads, "d"), state)
    return unpack(updated), unpack(first, "d"), unpack(second, "d")


@validated(
    parameters=_LAYERS,
    grads=Gradients(),
    learning_rate=Real(),
    decay_rate=Real(),
    iteration=Whole(0),
)
def update_parameters_with_decay(
    parameters: Arrays, grads: Arrays, learning_rate: float, decay_rate: float, iteration: int
) -> Arrays:
    """Return new parameters after a step at the rate alpha / (1 + decay_rate * iteration).

    Source: Course 2, week 2, "Learning rate decay".
    """
    schedule = choose(schedules.InverseTime, learning_rate=learning_rate, decay=decay_rate)
    return descend(parameters, grads, schedule(iteration))


@validated(
    layers_dims=Sizes(),
    X="n_0 m",
    Y="n_L m",
    optimizer=OneOf(_RULES),
    learning_rate=Real(),
    mini_batch_size=Whole(1),
    beta=Real(),
    beta1=Real(),
    beta2=Real(),
    epsilon=Real(),
    num_epochs=Whole(0),
    print_cost=Instance(bool),
)
def model(
    X: Array,
    Y: Array,
    layers_dims: Sequence[int],
    optimizer: str,
    learning_rate: float = 0.0007,
    mini_batch_size: int = 64,
    beta: float = 0.9,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    num_epochs: int = 10000,
    print_cost: bool = True,
) -> Arrays:
    """Return the parameters after mini-batch descent by "gd", "momentum" or "adam".

    Weights are drawn as in `initialize_parameters_he`, mini-batches with seed 11, 12, ..., one an
    epoch. With `print_cost` prints the last mini-batch's cost every 1000 epochs; the costs of every
    100 are drawn where matplotlib is installed.

    Source: Course 2, week 2, "Optimization methods".
    """
    X, Y = X.astype(np.float64), Y.astype(np.float64)  # as the weights are drawn
    rule, names = _RULES[optimizer]
    given = {"beta": beta, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    choices = {"learning_rate": learning_rate} | {name: given[name] for name in names}
    parameters = draw_layers(layers_dims, unchecked(initializers.he), 3)
    descent = Descent(parameters, choose(rule, **choices))
    recorded: list[float] = []
    for i in range(num_epochs):
        for X_batch, Y_batch in unchecked(random_mini_batches)(X, Y, mini_batch_size, 11 + i):
            A, layers = network_forward(X_batch, descent.parameters)
            descent.step(network_backward(X_batch, Y_batch, layers))
        if i % 100 == 0:
            recorded.append(float(cross_entropy(A, Y_batch)))
            if print_cost and i % 1000 == 0:
                print(f"Cost after epoch {i}: {recorded[-1]:f}")
    plot_costs(recorded, "epochs (per 100)", learning_rate)
    return descent.parameters
