"""The shapes of a network's parameters, from its layer sizes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from scratch._validation import Number, Seen, describe


def network_shapes(
    layer_sizes: tuple[int, ...], batch_norm: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return {"W1": (n_1, n_0), "b1": (n_1, 1), ...} for layer sizes (n_0, n_1, ..., n_L).

    A layer with batch norm has gamma and beta for b, which the mean would take away; the last layer
    is not normalized.
    Raises TypeError unless they are whole numbers, ValueError unless two or more, each at least 1.

    Source: Course 1, week 4, "Getting your matrix dimensions right".
    """
    check_layer_sizes(layer_sizes)
    shapes: dict[str, tuple[int, ...]] = {}
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        shapes[f"W{l}"] = (n, n_prev)
        normalized = batch_norm and l < len(layer_sizes) - 1
        for letter in ("gamma", "beta") if normalized else ("b",):
            shapes[f"{letter}{l}"] = (n, 1)
    return shapes


def check_layer_sizes(layer_sizes: Any) -> None:
    """Raise TypeError or ValueError unless these are two or more whole numbers from 1 up."""
    if not isinstance(layer_sizes, tuple | list) or not all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in layer_sizes
    ):
        raise TypeError(
            f"expected layer_sizes to be a tuple of whole numbers, got {describe(layer_sizes)}"
        )
    if len(layer_sizes) < 2 or min(layer_sizes) < 1:
        raise ValueError(
            f"expected layer_sizes to hold two or more sizes of at least 1, got {layer_sizes}"
        )


def check_keep_probs(keep_probs: Any, layer_sizes: tuple[int, ...]) -> None:
    """Raise TypeError or ValueError unless empty, or one in (0, 1] for each hidden layer."""
    if not isinstance(keep_probs, tuple | list):
        raise TypeError(f"expected keep_probs to be a tuple of numbers, got {describe(keep_probs)}")
    hidden = len(layer_sizes) - 2
    if len(keep_probs) not in (0, hidden):
        raise ValueError(
            f"expected keep_probs for each of {hidden} hidden layers, or none, got {keep_probs}"
        )
    for l, keep_prob in enumerate(keep_probs, start=1):
        Number("(0, 1]").check(f"keep_prob of layer {l}", keep_prob, Seen())


class LayerSizes:
    """Two or more whole numbers from 1 up."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError) and sizes (ValueError)."""
        check_layer_sizes(value)
        seen.layer_sizes = tuple(value)


class KeepProbs:
    """One number in (0, 1] for each hidden layer of the layer sizes before it, or none."""

    def check(self, name: str, value: Any, seen: Seen) -> None:
        """Refuse other kinds (TypeError), numbers and counts (ValueError)."""
        check_keep_probs(value, seen.layer_sizes)
