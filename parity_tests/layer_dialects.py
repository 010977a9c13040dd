"""Dialects of layers and what they start from: dropout, batch norm, initial weights, inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from parity_tests.compare.bridge import (
    columns,
    images_to_numpy,
    images_to_torch,
    rows,
    to_numpy,
    to_torch,
)
from parity_tests.compare.budgets import FLOAT32_FLOOR, GRADIENT
from parity_tests.compare.functions import Array
from parity_tests.conventions import Convention, Refutation, Values, evaluate
from parity_tests.cost_dialects import pulled_back
from scratch import (
    augmentation,
    batch_norm,
    dropout,
    initializers,
    normalization,
    search,
)
from scratch.linear import linear_forward
from scratch.network import Network, outputs
from scratch.parameters import Parameters
from torch_ref import augmentation as their_augmentation
from torch_ref import batch_norm as their_batch_norm
from torch_ref import dropout as their_dropout
from torch_ref import initializers as their_initializers
from torch_ref import normalization as their_normalization
from torch_ref import search as their_search
from torch_ref.linear import linear

Rng = np.random.Generator
Tensor = torch.Tensor


def draw_dropped(rng: Rng) -> dict[str, Any]:
    """Draw activations, an upstream gradient and the seed of torch's own mask."""
    return {
        "A": rng.standard_normal((6, 8)),
        "upstream": rng.standard_normal((6, 8)),
        "seed": int(rng.integers(2**31)),
    }


KEEP_PROB = 0.8


def seeded(layer: nn.Module, A: Array, upstream: Array, seed: int) -> Values:
    """Return a layer's output and gradient, its mask drawn by torch from that seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return pulled_back(layer, A, upstream)


def predicted(A: Array) -> Array:
    """Return what our network passes on at prediction from a hidden layer that is A itself."""
    units = A.shape[0]
    network = Network(
        layer_sizes=(units, units, units),
        hidden="identity",
        output="identity",
        keep_probs=(KEEP_PROB,),
    )
    identity, zeros = np.eye(units), np.zeros((units, 1))
    parameters = {"W1": identity, "b1": zeros, "W2": identity, "b2": zeros}
    return outputs(A, Parameters(parameters), network)


def replayed(A: Array, upstream: Array, seed: int) -> Values:
    """Return our dropout by the mask that torch draws from the seed, and our prediction."""
    mask = seeded(nn.Dropout(p=1 - KEEP_PROB), np.ones_like(A), upstream, seed)["output"]
    output, cache = dropout.dropout_forward(A, mask)
    gradient = dropout.dropout_backward(upstream, cache)["A"]
    return {"output": output, "gradient": gradient, "prediction": predicted(A)}


def draw_batches(rng: Rng) -> dict[str, Any]:
    """Draw batches of three units and of different size, and one to predict on."""
    batches = [2 * rng.standard_normal((3, m)) + 1 for m in (8, 5, 3)]
    return {"batches": batches, "Z": 2 * rng.standard_normal((3, 4)) + 1}


SCALE: dict[str, Any] = {"gamma": np.ones((3, 1)), "beta": np.zeros((3, 1))}


def tracked(batches: list[Array], Z: Array) -> Values:
    """Return our running averages after the batches, with 1/m and m/(m-1), and a prediction."""
    values = {}
    for unbiased in (True, False):
        mean: Array = np.zeros((3, 1))
        variance: Array = np.ones((3, 1))
        for batch in batches:
            _, cache = batch_norm.batch_norm_forward(batch, **SCALE)
            mean, variance = batch_norm.update_running_averages(
                mean, variance, cache, 0.9, unbiased
            )
        values["unbiased variance" if unbiased else "variance"] = variance
    prediction = batch_norm.batch_norm_predict(Z, **SCALE, mean=mean, variance=variance)
    return {**values, "mean": mean, "prediction": prediction}


def tracked_by_torch(layer: nn.BatchNorm1d, batches: list[Array], Z: Array) -> Values:
    """Return the running averages of a layer of torch's and its prediction."""
    for batch in batches:
        layer(rows(batch))
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return {
        "mean": to_numpy("mean", layer.running_mean),
        "variance": to_numpy("variance", layer.running_var),
        "prediction": columns(layer.eval()(rows(Z))),
    }


def plain_layer(momentum: float) -> nn.BatchNorm1d:
    """Return torch's own layer of three units."""
    return nn.BatchNorm1d(3, momentum=momentum, dtype=torch.float64)


def tracked_as_typed(text: str, batches: list[Array], Z: Array) -> Values:
    """Return the averages that the layer of a text keeps."""
    values = tracked_by_torch(evaluate(text, n=3, beta=0.9).double(), batches, Z)
    return {"mean": values["mean"], "unbiased variance": values["variance"]}


def both_layers(batches: list[Array], Z: Array) -> Values:
    """Return the averages of the course's layer, and the unbiased variance of torch's own."""
    values = tracked_by_torch(their_batch_norm.BatchNorm(3, decay=0.9), batches, Z)
    own = tracked_by_torch(plain_layer(momentum=1 - 0.9), batches, Z)
    return {**values, "unbiased variance": own["variance"]}


def as_unbiased(variance: Array) -> Values:
    """Return a running variance under the name of the one with m/(m-1)."""
    return {"unbiased variance": variance}


LAYERS = (
    Convention(
        name="dropout",
        topic="dropout",
        course="A = A * D / keep_prob, D = rand < keep_prob; nothing dropped at prediction",
        torch="torch.nn.Dropout(p=1 - keep_prob); its mask is its output for ones",
        typed=lambda text, **draws: seeded(evaluate(text, keep_prob=KEEP_PROB), **draws),
        source='Course 2, week 1, "Dropout regularization"; torch.nn.Dropout',
        draw=draw_dropped,
        ours=replayed,
        theirs=lambda A, upstream, seed: {
            **seeded(their_dropout.Dropout(KEEP_PROB), A, upstream, seed),
            "prediction": columns(their_dropout.Dropout(KEEP_PROB).eval()(rows(A))),
        },
        wrong={
            "p=keep_prob": Refutation(
                values=lambda **draws: seeded(nn.Dropout(p=KEEP_PROB), **draws),
                margin=0.5,
                why="torch's p is the chance to lose a unit: one in five is left, five times as "
                "large",
            ),
            "not divided by keep_prob": Refutation(
                values=lambda **draws: {
                    "output": KEEP_PROB * np.asarray(replayed(**draws)["output"])
                },
                margin=0.1,
                why="without inversion the next layer sees keep_prob times as much as later",
            ),
            "eval() forgotten": Refutation(
                values=lambda **draws: {
                    "prediction": seeded(nn.Dropout(p=1 - KEEP_PROB), **draws)["output"]
                },
                margin=0.1,
                why="a module in training mode drops units when it predicts",
            ),
        },
    ),
    Convention(
        name="batch-norm-running-averages",
        topic="batch norm",
        course="average = beta average + (1 - beta) batch's, of mean and variance with 1/m",
        torch="torch.nn.BatchNorm1d(n, momentum=1 - beta); its running variance carries "
        "m / (m - 1); torch_ref.batch_norm.BatchNorm(n, decay=beta) has 1/m",
        source='Course 2, week 3, "Batch norm at test time"; torch.nn.BatchNorm1d',
        draw=draw_batches,
        ours=tracked,
        theirs=both_layers,
        typed=tracked_as_typed,
        wrong={
            "momentum=beta": Refutation(
                values=lambda batches, Z: tracked_by_torch(plain_layer(0.9), batches, Z),
                margin=1,
                why="torch's momentum weighs the new batch, the course's beta the past",
            ),
            "torch's variance for 1/m": Refutation(
                values=lambda batches, Z: tracked_by_torch(plain_layer(1 - 0.9), batches, Z),
                margin=0.1,
                why="torch normalizes with 1/m but remembers m / (m - 1) of it",
            ),
            "1/m for torch's variance": Refutation(
                values=lambda batches, Z: as_unbiased(tracked(batches, Z)["variance"]),
                margin=0.1,
                why="the biased variance is smaller than torch's running_var",
            ),
            "eval() forgotten": Refutation(
                values=lambda batches, Z: {"prediction": columns(plain_layer(0.1)(rows(Z)))},
                margin=0.1,
                why="a module in training mode normalizes by the batch it predicts on",
            ),
        },
    ),
)

SHAPE = (40, 25)


def scale_of(W: Any, normal: Any) -> Values:
    """Return what standard normal draws were multiplied by: sqrt(sum W^2 / sum draws^2)."""
    return {"scale": np.float64(np.sqrt(np.square(W).sum() / np.square(normal).sum()))}


def initialized(name: str, seed: int) -> Values:
    """Return the scale of our initializer, draw for draw."""
    W = initializers.INITIALIZERS[name](SHAPE, np.random.default_rng(seed))
    return scale_of(W, np.random.default_rng(seed).standard_normal(SHAPE))


def initialized_by_torch(overwrite: Callable[..., Any], seed: int) -> Values:
    """Return the scale of one of torch's."""
    W, normal = (torch.empty(SHAPE, dtype=torch.float64) for _ in range(2))
    overwrite(W, generator=torch.Generator().manual_seed(seed))
    nn.init.normal_(normal, generator=torch.Generator().manual_seed(seed))
    return scale_of(to_numpy("W", W), to_numpy("W", normal))


def initialized_as_typed(text: str, seed: int) -> Values:
    """Return the scale of what a text overwrites W with."""

    def overwrite(W: Tensor, generator: torch.Generator) -> None:
        with torch.random.fork_rng(devices=[]):  # the text leaves the generator to torch
            torch.default_generator.set_state(generator.get_state())
            evaluate(text, W=W)

    return initialized_by_torch(overwrite, seed)


def refuted_scale(overwrite: Callable[..., Any], margin: float, why: str) -> Refutation:
    """Return the refutation of another initializer."""
    return Refutation(values=partial(initialized_by_torch, overwrite), margin=margin, why=why)


def initializer(name: str) -> dict[str, Any]:
    """Return both sides of a convention about an initializer, by the library's name for it."""
    return {
        "topic": "initializers",
        "source": 'Course 2, week 1, "Weight initialization for deep networks"; torch.nn.init',
        "draw": lambda rng: {"seed": int(rng.integers(2**31))},
        "ours": partial(initialized, name),
        "theirs": partial(initialized_by_torch, their_initializers.INITIALIZERS[name]),
        "typed": initialized_as_typed,
    }


LINEAR_DEFAULT = refuted_scale(
    partial(nn.init.kaiming_uniform_, a=math.sqrt(5)),
    0.3,
    "nn.Linear draws uniformly with deviation sqrt(1 / (3 n_prev)), its biases too",
)

INITIALIZERS = (
    Convention(
        name="xavier",
        course='"Xavier": W = sqrt(1 / n_prev) N(0, 1)',
        torch='torch.nn.init.kaiming_normal_(W, nonlinearity="linear")',
        **initializer("xavier"),
        wrong={
            "xavier_normal_": refuted_scale(
                nn.init.xavier_normal_, 0.05, "Glorot's own: sqrt(2 / (n_prev + n))"
            ),
            "kaiming_normal_ as it is": refuted_scale(
                nn.init.kaiming_normal_, 0.3, "its default is ReLU's gain: sqrt(2 / n_prev)"
            ),
            "nn.Linear left as it is": LINEAR_DEFAULT,
        },
    ),
    Convention(
        name="he",
        course="He: W = sqrt(2 / n_prev) N(0, 1)",
        torch='torch.nn.init.kaiming_normal_(W, nonlinearity="relu")',
        **initializer("he"),
        wrong={
            'mode="fan_out"': refuted_scale(
                partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
                0.1,
                "sqrt(2 / n): by the units that W feeds, as the backward pass would have it",
            ),
            "nn.Linear left as it is": LINEAR_DEFAULT,
        },
    ),
)


def draw_features(rng: Rng) -> dict[str, Array]:
    """Draw a small training set of three features with means and scales of their own."""
    scales, means = rng.uniform(2, 9, (3, 1)), 3 * rng.standard_normal((3, 1))
    return {"X": scales * rng.standard_normal((3, 9)) + means}


def normalized(X: Array) -> Values:
    """Return our variance of each feature and the normalized inputs."""
    statistics = normalization.fit(X)
    return {"variance": statistics.variance, "X": normalization.normalize(X, statistics)}


def normalized_by_torch(X: Array) -> Values:
    """Return torch's."""
    statistics = their_normalization.fit(rows(X))
    return {
        "variance": to_numpy("variance", statistics.variance),
        "X": columns(their_normalization.normalize(rows(X), statistics)),
    }


def normalized_as_typed(text: str, X: Array) -> Values:
    """Return the inputs as a text normalizes their rows."""
    return {"X": columns(evaluate(text, X=rows(X)))}


def corrected(X: Array) -> Values:
    """Return what torch.std and torch.var do unless told otherwise."""
    tensor = rows(X)
    return {
        "variance": to_numpy("variance", tensor.var(dim=0)),
        "X": columns((tensor - tensor.mean(dim=0)) / tensor.std(dim=0)),
    }


BETAS = {"low": 0.9, "high": 0.999}


def turned(images: Array, angles: Array, ratio: bool = True, align_corners: bool = False) -> Values:
    """Return images turned by `affine_grid` with the matrix as it stands in most answers."""
    height, width = images.shape[:2]
    stretch = height / width if ratio else 1.0
    sin, cos, none = np.sin(angles), np.cos(angles), np.zeros_like(angles)
    theta = np.array([[cos, -sin * stretch, none], [sin / stretch, cos, none]])
    matrices = torch.from_numpy(np.moveaxis(theta, -1, 0).copy())
    tensor = images_to_torch(images)
    grid = functional.affine_grid(matrices, list(tensor.shape), align_corners=align_corners)
    sampled = functional.grid_sample(tensor, grid, align_corners=align_corners)
    return {"images": images_to_numpy(sampled)}


DATA = (
    Convention(
        name="input-normalization",
        topic="data",
        course="X = (X - mean) / sigma, sigma^2 = 1/m sum (X - mean)^2",
        torch="(X - X.mean(0)) / X.var(0, correction=0).sqrt()",
        source='Course 2, week 1, "Normalizing inputs"; torch.var_mean',
        draw=draw_features,
        ours=normalized,
        theirs=normalized_by_torch,
        typed=normalized_as_typed,
        wrong={
            "correction=1, torch's default": Refutation(
                values=corrected,
                margin=0.05,
                why="torch divides by m - 1 unless told otherwise; NumPy's default is the course's",
            ),
        },
    ),
    Convention(
        name="rotation",
        topic="data",
        course="each pixel reads the point it came from, turned about the centre, bilinearly",
        torch="affine_grid([[cos, -sin h / w, 0], [sin w / h, cos, 0]], align_corners=False), "
        "then grid_sample",
        source='Course 2, week 1, "Other regularization methods"; torch.nn.functional.affine_grid',
        draw=lambda rng: {
            "images": rng.standard_normal((4, 6, 1, 2)),
            "angles": rng.uniform(0.1, 0.3, 2),
        },
        ours=lambda images, angles: {"images": augmentation.rotate(images, angles)},
        theirs=lambda images, angles: {
            "images": images_to_numpy(
                their_augmentation.rotate(images_to_torch(images), to_torch("angles", angles))
            )
        },
        budget=GRADIENT,
        wrong={
            "[[cos, -sin], [sin, cos]]": Refutation(
                values=partial(turned, ratio=False),
                margin=0.1,
                why="the grid runs from -1 to 1 along either side, so sines carry their ratio",
            ),
            "align_corners=True": Refutation(
                values=partial(turned, align_corners=True),
                margin=0.01,
                why="it lays -1 and 1 on the centres of the outer pixels, not on their edges",
            ),
            "degrees": Refutation(
                values=lambda images, angles: turned(images, np.degrees(angles)),
                margin=0.1,
                why="scipy.ndimage.rotate and torchvision take degrees, sines take radians",
            ),
            "the other way round": Refutation(
                values=lambda images, angles: turned(images, -angles),
                margin=0.1,
                why="the matrix leads from the turned image to the first one",
            ),
        },
    ),
    Convention(
        name="beta-on-a-log-scale",
        topic="data",
        course="beta = 1 - 10^r, r uniform: 0.9..0.99 as likely as 0.99..0.999",
        torch="1 - 10 ** -Uniform(1, 3).sample(), of torch.distributions",
        source='Course 2, week 3, "Using an appropriate scale to pick hyperparameters"',
        draw=lambda rng: {"u": rng.random(20)},
        ours=lambda u: {"1 - beta": 1 - search.OneMinusLogUniform(**BETAS).sample(u)},
        theirs=lambda u: {
            "1 - beta": 1
            - to_numpy("values", their_search.OneMinusLogUniform(**BETAS).sample(to_torch("u", u)))
        },
        budget=GRADIENT,
        wrong={
            "beta uniform": Refutation(
                values=lambda u: {"1 - beta": 1 - search.Uniform(**BETAS).sample(u)},
                margin=0.1,
                why="nine of ten draws lie below 0.99",
            ),
            "beta itself on a log scale": Refutation(
                values=lambda u: {"1 - beta": 1 - search.LogUniform(**BETAS).sample(u)},
                margin=0.1,
                why="from 0.9 to 0.999 beta is as good as uniform on it",
            ),
        },
    ),
)

#: bits of a significand that products keep, by the precision torch is set to.
BITS = {"highest": 24, "high": 11, "medium": 8}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def precision() -> str:
    """Return what torch's float32 matrix products are set to."""
    return torch.get_float32_matmul_precision()


def draw_narrow(rng: Rng) -> dict[str, Array]:
    """Draw a float32 layer and its inputs."""
    shapes = {"A_prev": (32, 64), "W": (64, 32), "b": (64, 1)}
    return {name: rng.standard_normal(one).astype(np.float32) for name, one in shapes.items()}


def product_of_torch(A_prev: Array, W: Array, b: Array) -> Array:
    """Return the layer's output, computed by the CUDA device where there is one."""
    inputs = {"A_prev": A_prev, "W": W, "b": b}
    return columns(linear(*(to_torch(name, one, DEVICE) for name, one in inputs.items())))


def product_as_typed(text: str, **draws: Array) -> Values:
    """Return the same at the precision that a text sets."""
    pinned = precision()
    try:
        evaluate(text)
        bits = np.float32(BITS[precision()])
        return {"Z": product_of_torch(**draws), "bits of the significand": bits}
    finally:
        torch.set_float32_matmul_precision(pinned)


def rounded_product(**draws: Array) -> Values:
    """Return the same with TF32 allowed."""
    text = 'torch.set_float32_matmul_precision("high")'
    return {"Z": product_as_typed(text, **draws)["Z"]}


def without_cuda() -> str:
    """Return why TF32 cannot be measured, or nothing where it can."""
    able = DEVICE == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    return "" if able else "no CUDA device of capability 8.0 is here"


PRECISION = (
    Convention(
        name="float32-products",
        topic="precision",
        course="Z = W A + b in float32, each product and sum rounded once to 24 bits",
        torch='torch.set_float32_matmul_precision("highest"); the default',
        source="torch.set_float32_matmul_precision; NVIDIA, TF32 in the A100",
        draw=draw_narrow,
        ours=lambda **draws: {
            "Z": linear_forward(**draws)[0],
            "bits of the significand": np.float32(BITS["highest"]),
        },
        theirs=lambda **draws: {
            "Z": product_of_torch(**draws),
            "bits of the significand": np.float32(BITS[precision()]),
        },
        typed=product_as_typed,
        budget=FLOAT32_FLOOR,
        wrong={
            "TF32": Refutation(
                values=rounded_product,
                margin=1e-4,
                why='"high" rounds the factors to 11 bits on CUDA: three digits are left',
                missing=without_cuda,
            ),
        },
    ),
)

LAYER_DIALECTS = (*LAYERS, *INITIALIZERS, *DATA, *PRECISION)
