"""Named experiments as data: which examples, which network, which descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, make_moons
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.floating[Any]]
Pair = tuple[Array, Array]


class Data(NamedTuple):
    """Inputs (n_x, m) and labels (n_y, m), three times."""

    train: Pair
    dev: Pair
    test: Pair

    def astype(self, dtype: str) -> Data:
        """Return the same examples in another dtype."""
        return Data(*((X.astype(dtype), Y.astype(dtype)) for X, Y in self))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that both sides need to make the same run."""

    description: str
    load: Callable[[], Data]
    layer_sizes: tuple[int, ...]
    hidden: str
    output: str
    initializer: str
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int
    l2: float = 0.0
    seed: int = 0


#: rates for an optimizer that is not the experiment's own, unless one is given.
LEARNING_RATES: Mapping[str, float] = {
    "gradient_descent": 0.3,
    "momentum": 0.3,
    "rmsprop": 0.001,
    "adam": 0.001,
}


def _columns(X: Array, labels: Array) -> Pair:
    """Turn rows of features into columns, labels 0..C-1 into one row for two classes or one-hot."""
    classes = int(labels.max()) + 1
    Y = labels[None, :].astype(float) if classes == 2 else np.eye(classes)[:, labels]
    return np.ascontiguousarray(X.T), Y


def _split(X: Array, labels: Array, *, normalize: bool = False) -> Data:
    """Split 60/20/20 by class; mean and variance, if asked for, are those of the training set."""
    X_train, X_rest, train, rest = train_test_split(
        X, labels, train_size=0.6, stratify=labels, random_state=0
    )
    X_dev, X_test, dev, test = train_test_split(
        X_rest, rest, train_size=0.5, stratify=rest, random_state=0
    )
    if normalize:
        scaler = StandardScaler().fit(X_train)
        X_train, X_dev, X_test = (scaler.transform(one) for one in (X_train, X_dev, X_test))
    return Data(_columns(X_train, train), _columns(X_dev, dev), _columns(X_test, test))


def digits() -> Data:
    """Load scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels, from 0 to 1."""
    bunch = load_digits()
    return _split(bunch.data / 16, bunch.target)


def breast_cancer() -> Data:
    """Load scikit-learn's 569 tumours of the Wisconsin study, 30 measurements, normalized."""
    bunch = load_breast_cancer()
    return _split(bunch.data, bunch.target, normalize=True)


def flower(m: int, seed: int) -> Pair:
    """Draw two classes of polar petals: radius 4 sin(4 angle), both a little noisy."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], m // 2)
    angle = np.concatenate([np.linspace(3.12 * j, 3.12 * (j + 1), m // 2) for j in (0, 1)])
    angle += 0.2 * rng.standard_normal(m)
    radius = 4 * np.sin(4 * angle) + 0.2 * rng.standard_normal(m)
    return _columns(np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1), labels)


def planar() -> Data:
    """Draw the flower: 400 points to train on, 200 more for dev and test."""
    return Data(flower(400, 1), flower(200, 2), flower(200, 3))


def moons() -> Data:
    """Draw two interleaved half circles: 300 points with noise 0.2, seed 3; others for the rest."""
    return Data(
        *(
            _columns(*make_moons(n_samples=m, noise=0.2, random_state=seed))
            for m, seed in ((300, 3), (150, 4), (150, 5))
        )
    )


EXPERIMENTS: Mapping[str, Experiment] = {
    "digits": Experiment(
        description="1,797 real handwritten digits, softmax over ten classes",
        load=digits,
        layer_sizes=(64, 128, 64, 10),
        hidden="relu",
        output="softmax",
        initializer="he",
        optimizer="adam",
        learning_rate=0.001,
        epochs=40,
        batch_size=64,
        l2=0.1,
    ),
    "breast-cancer": Experiment(
        description="569 real tumours, benign or malignant, normalized inputs",
        load=breast_cancer,
        layer_sizes=(30, 16, 8, 1),
        hidden="relu",
        output="sigmoid",
        initializer="he",
        optimizer="momentum",
        learning_rate=0.1,
        epochs=40,
        batch_size=64,
        l2=1.0,
    ),
    "planar": Experiment(
        description="the flower, two classes of polar petals, 400 points",
        load=planar,
        layer_sizes=(2, 4, 1),
        hidden="tanh",
        output="sigmoid",
        initializer="small_normal",
        optimizer="gradient_descent",
        learning_rate=1.2,
        epochs=5000,
        batch_size=400,
    ),
    "moons": Experiment(
        description="two interleaved half circles, 300 points, noise 0.2",
        load=moons,
        layer_sizes=(2, 5, 2, 1),
        hidden="relu",
        output="sigmoid",
        initializer="he",
        optimizer="adam",
        learning_rate=0.0007,
        epochs=1000,
        batch_size=64,
    ),
}
