"""The shapes of a network's parameters, from its layer sizes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from scratch._door import describe


def network_shapes(layer_sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return {"W1": (n_1, n_0), "b1": (n_1, 1), ...} for layer sizes (n_0, n_1, ..., n_L).

    Raises TypeError unless they are whole numbers, ValueError unless two or more, each at least 1.

    Source: Course 1, week 4, "Getting your matrix dimensions right".
    """
    check_layer_sizes(layer_sizes)
    shapes: dict[str, tuple[int, ...]] = {}
    for l, (n_prev, n) in enumerate(pairwise(layer_sizes), start=1):
        shapes[f"W{l}"] = (n, n_prev)
        shapes[f"b{l}"] = (n, 1)
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
