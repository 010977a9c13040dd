"""Named experiments as data: which examples, which network, which descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runs.datasets import Data, breast_cancer, circles, digits, moons, noisy, planar


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that both sides need to make the same run."""

    description: str
    load: Callable[[], Data]
    layer_sizes: tuple[int, ...]
    learning_rate: float
    epochs: int
    batch_size: int
    hidden: str = "relu"
    output: str = "sigmoid"
    initializer: str = "he"
    optimizer: str = "adam"
    l1: float = 0.0
    l2: float = 0.0
    keep_probs: tuple[float, ...] = ()  # one for each hidden layer, or none
    batch_norm: bool = False
    schedule: str | None = None
    schedule_choices: Mapping[str, Any] = field(default_factory=dict)
    schedule_per: str = "epoch"
    clip_value: float | None = None
    clip_norm: float | None = None
    patience: int | None = None  # of early stopping, in epochs
    seed: int = 0


#: rates for an optimizer that is not the experiment's own, unless one is given.
LEARNING_RATES: Mapping[str, float] = {
    "gradient_descent": 0.3,
    "momentum": 0.3,
    "rmsprop": 0.001,
    "adam": 0.001,
}

# fmt: off
#: one base for each group, of which the group's experiments change a thing or two.
_DIGITS = Experiment(
    description="1,797 real handwritten digits, softmax over ten classes", load=digits,
    layer_sizes=(64, 128, 64, 10), output="softmax",
    learning_rate=0.001, epochs=40, batch_size=64, l2=0.1,
)
_DEEP_DIGITS = replace(
    _DIGITS, layer_sizes=(64, 32, 32, 32, 32, 10), optimizer="gradient_descent",
    learning_rate=0.1, epochs=20, l2=0.0,
)
_MOONS = Experiment(
    description="two interleaved half circles, 300 points, noise 0.2", load=moons,
    layer_sizes=(2, 5, 2, 1), learning_rate=0.0007, epochs=1000, batch_size=64,
)
_CIRCLES = Experiment(
    description="a circle inside a circle", load=circles,
    layer_sizes=(2, 10, 5, 1), optimizer="gradient_descent", epochs=3000, batch_size=300,
    learning_rate=0.05,  # at 0.1 the x10 weights cross kinks until round-off decides the run
)
_NOISY = Experiment(
    description="120 points of two classes that overlap, nothing against overfitting", load=noisy,
    layer_sizes=(2, 20, 20, 1), learning_rate=0.01, epochs=600, batch_size=120,
)
_RACE = replace(_MOONS, learning_rate=0.02, epochs=100)

#: one mini-batch gradient descent, its rate held or lowered; larger rates make chaotic runs.
_WANDERING = replace(
    _MOONS, hidden="tanh", initializer="xavier", optimizer="gradient_descent",
    learning_rate=0.8, epochs=80, batch_size=16,
)

#: an experiment's base, description and what it changes.
_CHANGED: Mapping[str, tuple[Experiment, str, Mapping[str, Any]]] = {
    "circles-zeros": (_CIRCLES, "a circle inside a circle, from weights of zero",
                      {"initializer": "zeros"}),
    "circles-large": (_CIRCLES, "a circle inside a circle, from random weights x10",
                      {"initializer": "large_normal"}),
    "circles-xavier": (_CIRCLES, "a circle inside a circle, from Xavier's weights",
                       {"initializer": "xavier"}),
    "circles-he": (_CIRCLES, "a circle inside a circle, from He's weights", {"initializer": "he"}),
    "noisy": (_NOISY, _NOISY.description, {}),
    "noisy-l2": (_NOISY, "120 points of two classes that overlap, with an L2 penalty", {"l2": 1.0}),
    "noisy-dropout": (_NOISY, "120 points of two classes that overlap, with dropout",
                      {"keep_probs": (0.6, 0.7)}),
    "moons-gradient-descent": (_RACE, "the moons by gradient descent",
                               {"optimizer": "gradient_descent"}),
    "moons-momentum": (_RACE, "the moons by gradient descent with momentum",
                       {"optimizer": "momentum"}),
    "moons-rmsprop": (_RACE, "the moons by RMSprop", {"optimizer": "rmsprop"}),
    "moons-adam": (_RACE, "the moons by Adam", {"optimizer": "adam"}),
    "moons-constant": (_WANDERING, "the moons at a constant learning rate",
                       {"schedule": "constant"}),
    "moons-decay": (_WANDERING, "the moons with learning rate decay",
                    {"schedule": "inverse_time", "schedule_choices": {"decay": 0.1}}),
    "digits-plain": (_DEEP_DIGITS, "digits through four hidden layers by gradient descent", {}),
    "digits-batch-norm": (_DEEP_DIGITS, "digits through four hidden layers with batch norm",
                          {"batch_norm": True}),
    "digits-regularized": (
        _DIGITS,
        "digits with everything on: dropout, batch norm, L1, L2, decay, clipping, early stopping",
        {"layer_sizes": (64, 64, 32, 10), "learning_rate": 0.01, "l1": 0.01,
         "keep_probs": (0.9, 0.8), "batch_norm": True, "schedule": "exponential",
         "schedule_choices": {"rate": 0.95}, "clip_norm": 1.0, "patience": 8},
    ),
}

#: experiments that train a network; both training scripts and compare.py run them.
EXPERIMENTS: Mapping[str, Experiment] = {
    "digits": _DIGITS,
    "breast-cancer": Experiment(
        description="569 real tumours, benign or malignant, normalized inputs", load=breast_cancer,
        layer_sizes=(30, 16, 8, 1), optimizer="momentum",
        learning_rate=0.1, epochs=40, batch_size=64, l2=1.0,
    ),
    "planar": Experiment(
        description="the flower, two classes of polar petals, 400 points", load=planar,
        layer_sizes=(2, 4, 1), hidden="tanh", initializer="small_normal",
        optimizer="gradient_descent", learning_rate=1.2, epochs=5000, batch_size=400,
    ),
    "moons": _MOONS,
    **{
        name: replace(base, description=description, **changes)
        for name, (base, description, changes) in _CHANGED.items()
    },
}

#: trainings that demonstrations repeat, each time with something else.
LEARNERS: Mapping[str, Experiment] = {
    "high bias": replace(
        _DIGITS, description="three hidden units", layer_sizes=(64, 3, 10), hidden="tanh",
        learning_rate=0.01, batch_size=16, l2=0.0,
    ),
    "high variance": replace(
        _DIGITS, description="128 hidden units", layer_sizes=(64, 128, 10),
        learning_rate=0.003, l2=0.0,
    ),
}
# fmt: on
SEARCHED = replace(_MOONS, description="the moons by Adam", epochs=20)
