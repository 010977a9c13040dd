"""The classic pictures of the two courses, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from pictures import demonstration_pictures, training_pictures
from pictures.style import BOUNDED, CURVES, POINTS
from runs.demonstrations import DEMONSTRATIONS
from runs.experiments import EXPERIMENTS


class Picture(NamedTuple):
    """What one sees, from which experiments, how it is drawn, and how the sides are told apart."""

    description: str
    experiments: tuple[str, ...]
    draw: Callable[[Any], Figure]
    sides: str = CURVES

    def shortened(self, most_epochs: int | None) -> int | None:
        """Return so many epochs where an experiment has more of its own, else None."""
        known: Mapping[str, Any] = {**EXPERIMENTS, **DEMONSTRATIONS}
        own = [known[name].epochs or 0 for name in self.experiments]
        return most_epochs if most_epochs is not None and most_epochs < max(own) else None


#: pictures by name; one of a demonstration has the demonstration's name.
PICTURES: Mapping[str, Picture] = {
    "initializations": Picture(
        "Zeros learn nothing, x10 starts at a huge cost, Xavier and He converge",
        ("circles-zeros", "circles-large", "circles-xavier", "circles-he"),
        training_pictures.initializations,
    ),
    "regularization": Picture(
        "L2 and dropout narrow the gap between train and dev accuracy",
        ("noisy", "noisy-l2", "noisy-dropout"),
        training_pictures.regularization,
    ),
    "optimizers": Picture(
        "On the moons Adam gets furthest in 100 epochs, at one learning rate for all",
        ("moons-gradient-descent", "moons-momentum", "moons-rmsprop", "moons-adam"),
        training_pictures.optimizers,
    ),
    "saddle": Picture(
        "RMSprop and Adam leave the saddle first; momentum smooths the zigzag",
        ("saddle",),
        demonstration_pictures.saddle,
    ),
    "schedules": Picture(
        "Eight learning rate schedules", ("schedules",), demonstration_pictures.schedules
    ),
    "decay": Picture(
        "At a constant rate descent wanders around the minimum; with decay it settles",
        ("moons-constant", "moons-decay"),
        training_pictures.decay,
    ),
    "moving-averages": Picture(
        "Exponentially weighted averages of a year of temperatures",
        ("moving-averages",),
        demonstration_pictures.moving_averages,
    ),
    "layer-norms": Picture(
        "Activations and gradients vanish with small weights and explode with large ones; "
        "with He's they keep their size",
        ("layer-norms",),
        demonstration_pictures.layer_norms,
    ),
    "batch-norm": Picture(
        "Batch norm: four hidden layers learn faster and more steadily",
        ("digits-plain", "digits-batch-norm"),
        training_pictures.batch_norm,
    ),
    "learning-curves": Picture(
        "More data closes the gap of high variance; high bias stays",
        ("learning-curves",),
        demonstration_pictures.learning_curves,
    ),
    "search": Picture(
        "Search on a log scale, at random, from coarse to fine",
        ("search",),
        demonstration_pictures.search,
        POINTS,
    ),
    "gradient-check": Picture(
        "Two-sided differences are the sharper check; too small a step drowns in round-off",
        ("gradient-check",),
        demonstration_pictures.gradient_check,
        f"{CURVES}.\nA difference of costs is divided by the step, so J / step is the gauge",
    ),
    "trajectories": Picture(
        "Ten thousand steps end to end part by round-off; at a kink of ReLU they part for good",
        ("trajectories",),
        demonstration_pictures.trajectories,
        BOUNDED,
    ),
}
