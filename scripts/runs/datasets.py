"""The examples of the experiments: scikit-learn's own, and drawn ones, split in three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, make_circles, make_moons
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
        return Data(*((X.astype(dtype), Y.astype(dtype)) for X, Y in self))


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


def _drawn(make: Callable[..., Any], noise: float, *counts_and_seeds: tuple[Any, int]) -> Data:
    return Data(
        *(
            _columns(*make(n_samples=m, noise=noise, random_state=seed))
            for m, seed in counts_and_seeds
        )
    )


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
    return _drawn(make_moons, 0.2, (300, 3), (150, 4), (150, 5))


def circles() -> Data:
    """Draw one circle inside another: 300 points with noise 0.05, 100 more for dev and test."""
    return _drawn(make_circles, 0.05, ((140, 160), 1), ((50, 50), 2), ((50, 50), 3))


def noisy() -> Data:
    """Draw few points of two classes that overlap: half circles under noise 0.35."""
    return _drawn(make_moons, 0.35, (120, 6), (400, 7), (400, 8))
