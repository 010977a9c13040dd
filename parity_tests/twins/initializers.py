"""Initial weights: both sides from the same draws, those of torch's generator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from parity_tests.compare.bridge import unload
from parity_tests.drawing import Array, Replayed, powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, evaluate
from parity_tests.twins._networks import layer_sizes
from scratch import initializers as ours
from torch_ref import initializers as theirs
from torch_ref.batch_norm import BatchNorm
from torch_ref.network import Network

Overwrite = Callable[..., torch.Tensor]


def draw_shape(rng: np.random.Generator, n: int = 40, n_prev: int = 25, **choices: Any) -> Case:
    return {"shape": (n, n_prev), "seed": int(rng.integers(2**31)), **choices}


def overwritten(overwrite: Overwrite, shape: tuple[int, int], seed: int, **choices: Any) -> Values:
    W = torch.empty(shape, dtype=torch.float64)
    overwrite(W, generator=torch.Generator().manual_seed(seed), **choices)
    return {"W": W.numpy()}


def as_typed(text: str, shape: tuple[int, int], seed: int) -> Values:
    """Return the W that a text fills, its draws from torch's global generator."""
    W = torch.empty(shape, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        evaluate(text, W=W)
    return {"W": W.numpy()}


TAUGHT = 'Course 2, week 1, "Weight initialization for deep networks"; torch.nn.init'
FIRST = 'Course 1, week 3, "Random initialization"; torch.nn.init'
SHAPES: dict[str, st.SearchStrategy[Any]] = {"n": st.integers(1, 12), "n_prev": st.integers(1, 12)}


def draw_start(rng: np.random.Generator, layer_sizes: tuple[int, ...] = (6, 5, 5, 3),
    initializer: str = "he", normalized: bool = False, dtype: str = "float64") -> Case:  # fmt: skip
    choices = {"batch_norm": normalized, "dtype": np.dtype(dtype), "seed": int(rng.integers(2**31))}
    return {"layer_sizes": layer_sizes, "initializer": initializer, **choices}


#: ends of names of the parameters of two networks, one drawn after the other.
NETWORKS = ("", " of the next")


def initialized(seed: int, **case: Any) -> Values:
    rng = Replayed(seed)
    made = {end: ours.initialize(rng=rng, **case) for end in NETWORKS}
    return {f"{name}{end}": one for end, found in made.items() for name, one in found.items()}


def their_initialized(
    layer_sizes: Any, initializer: str, seed: int, dtype: Any, batch_norm: bool
) -> Values:
    """Return the same of torch, over the numbers that were there before, rounded to the dtype."""
    generator, found = torch.Generator().manual_seed(seed), dict[str, Array]()
    for end in NETWORKS:
        module = Network(layer_sizes=layer_sizes, batch_norm=BatchNorm if batch_norm else None)
        for parameter in module.parameters():
            nn.init.constant_(parameter, 99.0)
        theirs.initialize(module, initializer, generator)
        found |= {f"{name}{end}": one.astype(dtype) for name, one in unload(module).items()}
    return found


def start_gauges(layer_sizes: Any, initializer: str, **_: Any) -> Values:
    """Return the gauges of uniform draws, which are differences near 0."""
    layers = range(1, len(layer_sizes)) if initializer == "small_uniform" else ()
    return {f"W{l}{end}": 0.01 for l in layers for end in NETWORKS}


# fmt: off
def row(name: str, formula: str, source: str, scale: float = 0.0, **rest: Any) -> Any:
    scales = {"scale": powers(-3, 2)} if scale else {}
    options: Any = {"scale": scale} if scale else {}
    draw: Any = ours.INITIALIZERS[name]
    return FunctionTwin(
        name=name, formula=formula, source=source, proves=(name,),
        ours=lambda seed, **case: draw(rng=Replayed(seed), **case),
        theirs=partial(overwritten, theirs.INITIALIZERS[name]), names=("W",), bridge=None,
        wide=False, typed=as_typed, draw=partial(draw_shape, **options),
        cases={**SHAPES, **scales, **rest.pop("cases", {})},
        edges={"a square W": {"n": 5, "n_prev": 5}}, weight=0.2, **rest)


LINEAR_DEFAULT = Mistake(name="nn.Linear left as it is", margin=0.3,
    why="nn.Linear draws uniformly with deviation sqrt(1 / (3 n_prev)), its biases too",
    values=partial(as_typed, "torch.nn.init.kaiming_uniform_(W, a=math.sqrt(5))"))

EACH = (
    row("zeros", "W = 0", FIRST, exact=True),
    row("constant", "W = value", FIRST, exact=True, cases={"value": st.floats(-10, 10)}),
    row("small_normal", "W = 0.01 N(0, 1)", FIRST, 0.01),
    row("small_uniform", "W = 0.01 U[-1, 1)", FIRST, 0.01,
        gauges=lambda scale, **_: {"W": scale}),  # a draw near 0 is a difference
    row("large_normal", "W = 10 N(0, 1)", 'Course 2, week 1, "Initialization"; torch.nn.init',
        10.0),
    row("xavier", '"Xavier": W = sqrt(1 / n_prev) N(0, 1)', TAUGHT,
        torch='torch.nn.init.kaiming_normal_(W, nonlinearity="linear")',
        mistakes=(
            Mistake(name="xavier_normal_", margin=0.05, why="Glorot's own: sqrt(2 / (n_prev + n))"),
            Mistake(name="kaiming_normal_ as it is", margin=0.3,
                why="its default is ReLU's gain: sqrt(2 / n_prev)"),
            LINEAR_DEFAULT)),
    row("glorot", "Glorot: W = sqrt(2 / (n_prev + n)) N(0, 1)",
        "Glorot and Bengio 2010, equation 12; torch.nn.init.xavier_normal_",
        torch="torch.nn.init.xavier_normal_(W)",
        mistakes=(Mistake(name='the taught "Xavier"', margin=0.05,
            why="sqrt(1 / n_prev) asks for the inputs alone",
            values=partial(as_typed, 'torch.nn.init.kaiming_normal_(W, nonlinearity="linear")')),)),
    row("he", "He: W = sqrt(2 / n_prev) N(0, 1)", TAUGHT,
        torch='torch.nn.init.kaiming_normal_(W, nonlinearity="relu")',
        mistakes=(
            Mistake(name='mode="fan_out"', margin=0.1,
                why="sqrt(2 / n): by the units that W feeds, as the backward pass would have it"),
            LINEAR_DEFAULT)))

START = FunctionTwin(
    name="initialize",
    formula="each W drawn, W1 first; b = 0; gamma = 1 and beta = 0 under batch norm",
    source='Course 1, week 4, "Building your deep neural network: step by step"; torch.nn.init',
    proves=("initialize",), ours=initialized, theirs=their_initialized, bridge=None, wide=False,
    draw=draw_start,
    cases={
        "layer_sizes": layer_sizes, "normalized": st.booleans(),
        "initializer": st.sampled_from([name for name in ours.INITIALIZERS if name != "zeros"]),
        "dtype": st.sampled_from(["float64", "float32"])},
    edges={
        "zeros": {"initializer": "zeros", "normalized": True}, "one layer": {"layer_sizes": (3, 1)},
        "float32 is float64 rounded": {"dtype": "float32", "normalized": True}},
    gauges=start_gauges, weight=0.5)
# fmt: on

TWINS = (*EACH, START)
