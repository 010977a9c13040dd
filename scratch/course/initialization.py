"""Initialization: zeros, large random weights and He's, for layers of any sizes."""

from __future__ import annotations

from collections.abc import Sequence

from scratch import initializers
from scratch._validation import unchecked
from scratch.course._kinds import Arrays, Sizes, validated
from scratch.course._layers import draw_layers

__all__ = [
    "initialize_parameters_he",
    "initialize_parameters_random",
    "initialize_parameters_zeros",
]


@validated(layers_dims=Sizes())
def initialize_parameters_zeros(layers_dims: Sequence[int]) -> Arrays:
    """Return {"W1", "b1", ...}, all zero, W of shape (n, n_prev) and b (n, 1).

    Source: Course 2, week 1, "Initialization", zero initialization.
    """
    return draw_layers(layers_dims, unchecked(initializers.zeros), 3)


@validated(layers_dims=Sizes())
def initialize_parameters_random(layers_dims: Sequence[int]) -> Arrays:
    """Draw {"W1", "b1", ...} with seed 3: W = 10 randn, b zero.

    Source: Course 2, week 1, "Initialization", random initialization.
    """
    return draw_layers(layers_dims, unchecked(initializers.large_normal), 3)


@validated(layer_dims=Sizes())
def initialize_parameters_he(layer_dims: Sequence[int]) -> Arrays:
    """Draw {"W1", "b1", ...} with seed 3: W = sqrt(2 / n_prev) randn, b zero.

    Source: Course 2, week 1, "Initialization", He initialization.
    """
    return draw_layers(layer_dims, unchecked(initializers.he), 3)
