"""Dropout: a mask applied, the masks that are drawn, and torch's own mask replayed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from parity_tests.compare.bridge import columns, rows
from parity_tests.compare.budgets import of_draws
from parity_tests.drawing import Array, draw, examples, kinds
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, evaluate
from scratch import dropout as ours
from scratch.network import Network, outputs
from scratch.parameters import Parameters
from torch_ref import dropout as theirs

TAUGHT = 'Course 2, week 1, "Dropout regularization"'

keep_probs = st.sampled_from([0.125, 0.5, 0.8, 0.95]) | st.floats(0.01, 1)
HALF_AND_ALL = {"half": {"keep_prob": 0.5}, "nothing dropped": {"keep_prob": 1.0}}


def draw_masked(rng: np.random.Generator, n: int = 4, m: int = 6, kind: str = "normal",
    kept: float = 0.5, keep_prob: float = 0.8) -> Case:  # fmt: skip
    mask = (rng.random((n, m)) < kept) / keep_prob
    return {"A": draw(kind, (n, m), rng), "mask": mask}


def draw_units(rng: np.random.Generator, keep_prob: float = 0.8, upstream: bool = False) -> Case:
    """Draw activations of many units, their upstream gradient, and the seed of a mask."""
    arrays = {name: rng.standard_normal((40, 25)) for name in ("A", "upstream")[: 1 + upstream]}
    return {**arrays, "keep_prob": keep_prob, "seed": int(rng.integers(2**31))}


def share(mask: Any) -> Any:
    """Return the share of units that a mask keeps, in its precision."""
    mask = np.asarray(mask)
    return (mask > 0).mean(dtype=mask.dtype if mask.dtype.kind == "f" else float)


def dropped(A: Array, keep_prob: float, seed: int) -> Values:
    """Return our dropout by the mask of a seed, and the share of units that it keeps."""
    mask = ours.draw_mask(A.shape, keep_prob, np.random.default_rng(seed), A.dtype)
    return {"output": ours.dropout_forward(A, mask)[0], "share kept": share(mask)}


def dropped_by_torch(
    A: Array, keep_prob: float, seed: int, text: str = "(D < keep_prob).to(D.dtype) / keep_prob"
) -> Values:
    """Return the same of torch's module under the mask of a text, from the same uniform draws."""
    layer, D = theirs.Dropout(keep_prob), rows(np.random.default_rng(seed).random(A.shape))
    layer.mask = evaluate(text, D=D, keep_prob=keep_prob).to(rows(A).dtype)
    return {"output": columns(layer(rows(A))), "share kept": share(layer.mask)}


def draw_stream(rng: np.random.Generator, keep_probs: tuple[float, ...] = (0.8, 1.0, 0.3),
    dtype: str = "float64") -> Case:  # fmt: skip
    """Draw the seed of the masks of a training, whose last step in an epoch is short."""
    case = {"layer_sizes": (5, 60, 40, 50, 3), "keep_probs": keep_probs, "m": 10, "batch_size": 3}
    return {**case, "epochs": 3, "dtype": dtype, "seed": int(rng.integers(2**31))}


def streamed(stream: Any, source: Any, turn: Any, dtype: str, seed: int, **choices: Any) -> Values:
    """Return the nature of two streams from one generator, and of the first again from its seed."""
    first, again = (source(dtype, seed) for _ in range(2))
    masks: dict[str, list[Any]] = {}
    for given in (first, first, again):
        for name, mask in (pair for step in stream(**choices, **given) for pair in step.items()):
            masks.setdefault(name, []).append(turn(mask))
    kept = [each > 0 for layer in masks.values() for each in layer]
    return {
        "layers": np.array([int(name[1:]) for name in masks]),
        "shapes": np.array([mask.shape for mask in kept]),
        "scale": np.array([max(mask.max() for mask in layer) for layer in masks.values()]),
        "share kept": np.array([share(np.hstack(layer)) for layer in masks.values()]),
        "masks of their own": np.int64(len({mask.tobytes() for mask in kept})),
    }


def seeded(layer: nn.Module, A: Array, upstream: Array, seed: int) -> Values:
    """Return a layer's output and gradient, its mask drawn by torch from that seed."""
    tensor = rows(A).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        output = layer(tensor)
    (gradient,) = torch.autograd.grad(output, tensor, rows(upstream))
    return {"output": columns(output), "gradient of A": columns(gradient)}


def replayed(A: Array, upstream: Array, keep_prob: float, seed: int) -> Values:
    """Return our dropout by the mask that torch draws from the seed, and our prediction.

    That is of a network whose hidden layer is A itself.
    """
    narrow = A if A.dtype == np.float32 else A.astype(np.float64)
    mask = seeded(nn.Dropout(p=1 - keep_prob), np.ones_like(narrow), narrow, seed)["output"]
    output, cache = ours.dropout_forward(A, np.asarray(mask, A.dtype))
    gradient, n, linear = ours.dropout_backward(upstream, cache)["A"], len(A), "identity"
    network = Network(layer_sizes=(n,) * 3, hidden=linear, output=linear, keep_probs=(keep_prob,))
    layer = {"W": np.eye(n, dtype=A.dtype), "b": np.zeros((n, 1), A.dtype)}
    parameters = Parameters({f"{name}{l}": one for l in (1, 2) for name, one in layer.items()})
    prediction = outputs(A, parameters, network)
    return {"output": output, "gradient of A": gradient, "prediction": prediction}


def replayed_by_torch(A: Array, keep_prob: float, **case: Any) -> Values:
    layer = theirs.Dropout(keep_prob)
    return {**seeded(layer, A, **case), "prediction": columns(layer.eval()(rows(A)))}


# fmt: off
MASKED = PairTwin(
    name="dropout-by-a-mask",
    formula="A = A * D, dA = dA * D: what is dropped passes nothing on, either way",
    source=f"{TAUGHT}; Srivastava et al. 2014; torch.nn.Dropout",
    proves=("dropout_forward", "dropout_backward"),
    ours=Pair(ours.dropout_forward, ours.dropout_backward), theirs=theirs.dropout,
    constants=("mask",), exact=True, draw=draw_masked,
    cases={"n": st.integers(1, 4), "m": examples, "kind": kinds, "keep_prob": keep_probs,
        "kept": st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)},
    edges={
        "all dropped": {"kept": 0.0}, "nothing dropped": {"kept": 1.0},
        "the identity": {"kept": 1.0, "keep_prob": 1.0},
        "kept units that are 0": {"kind": "zeros", "m": 20}})

DRAWN = FunctionTwin(
    name="dropout-keeps-below", topic="errata",
    formula="D = (rand < keep_prob) / keep_prob, rand uniform in [0, 1)",
    torch="(D < keep_prob) / keep_prob; with D = torch.rand(shape), as "
    "torch.nn.Dropout(p=1 - keep_prob) draws",
    typed=lambda text, **case: dropped_by_torch(**case, text=text),
    source=f"{TAUGHT}; torch.nn.Dropout",
    proves=("draw_mask",), ours=dropped, theirs=dropped_by_torch, bridge=None, exact=True,
    draw=draw_units, cases={"keep_prob": keep_probs}, edges=HALF_AND_ALL, weight=0.5,
    mistakes=(
        Mistake(name="0 where D is below keep_prob", margin=0.5,
            why="it keeps the other units: one in five for keep_prob 0.8"),
        Mistake(name="D = randn", margin=0.2, at="half",
            why="a normal draw is below 0.5 with probability 0.69: too many units are kept")))

STREAM = FunctionTwin(
    name="mask_stream",
    formula="a mask for each hidden layer whose keep_prob is below 1, new ones in every step",
    source=f"{TAUGHT}, a new mask for each pass; torch.Tensor.bernoulli_",
    proves=("draw_mask", "draw_masks", "mask_stream"),
    ours=partial(streamed, ours.mask_stream, lambda dtype, seed: {
        "rng": np.random.default_rng(seed), "dtype": np.dtype(dtype)}, np.asarray),
    theirs=partial(streamed, theirs.mask_stream, lambda dtype, seed: {
        "generator": torch.Generator().manual_seed(seed), "dtype": getattr(torch, dtype)}, columns),
    bridge=None, wide=False,
    budgets={"share kept": of_draws(50 * 10 * 3)}, gauges=lambda **_: {"share kept": 1.0},
    draw=draw_stream,
    cases={"keep_probs": st.tuples(*[st.just(1.0) | st.floats(0.3, 0.7)] * 2, st.just(0.4)),
        "dtype": st.sampled_from(["float32", "float64"])},
    edges={"float32": {"dtype": "float32"}, "the first alone": {"keep_probs": (0.9, 1.0, 1.0)}},
    weight=0.2)

REPLAYED = FunctionTwin(
    name="dropout",
    formula="A = A * D / keep_prob, D = rand < keep_prob; nothing dropped at prediction",
    torch="torch.nn.Dropout(p=1 - keep_prob); its mask is its output for ones",
    typed=lambda text, keep_prob, **case: seeded(evaluate(text, keep_prob=keep_prob), **case),
    source=f"{TAUGHT}; torch.nn.Dropout",
    proves=MASKED.proves, ours=replayed, theirs=replayed_by_torch, bridge=None, exact=True,
    draw=partial(draw_units, upstream=True), cases={"keep_prob": keep_probs}, edges=HALF_AND_ALL,
    mistakes=(
        Mistake(name="p=keep_prob", margin=0.5,
            why="torch's p is the chance to lose a unit: one in five is left, five times as large"),
        Mistake(name="not divided by keep_prob", margin=0.1,
            why="without inversion the next layer sees keep_prob times as much as later",
            values=lambda A, **case: {"output": A * (replayed(A, **case)["output"] != 0)}),
        Mistake(name="eval() forgotten", margin=0.1,
            why="a module in training mode drops units when it predicts",
            values=lambda keep_prob, **case: {
                "prediction": seeded(nn.Dropout(p=1 - keep_prob), **case)["output"]})))
# fmt: on

TWINS = (MASKED, DRAWN, STREAM, REPLAYED)
