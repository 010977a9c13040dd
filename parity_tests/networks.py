"""Networks as settings say them, drawn with parameters, inputs, masks and labels, for rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.gauges import layer_gauges
from parity_tests.compare.measurement import Array, ProvesNothingError
from parity_tests.compare.quantities import FIRST_ORDER
from parity_tests.drawing import KINDS, SMOOTH, draw, examples, powers, widths
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import BatchNorm
from scratch.dropout import draw_masks
from scratch.network import Network, network_forward
from scratch.parameters import Parameters

DIFFERENTIABLE = tuple(name for name, one in ACTIVATIONS.items() if one.backward is not None)

#: activations without curvature: what was rounded before is passed on in proportion.
STRAIGHT = ("identity", "relu", "leaky_relu")

EPS = float(np.finfo(np.float64).eps)

layer_sizes = st.lists(widths, min_size=2, max_size=6).map(tuple) | st.builds(
    lambda n, layers: (n,) * layers, widths, st.integers(2, 6)
)
keep_probs = st.just(()) | st.lists(
    st.sampled_from([1.0, 0.5, 0.25]) | st.floats(0.1, 1), min_size=4, max_size=4
).map(tuple)
#: softmax in a hidden layer is legal, and rare.
hidden = st.sampled_from(["tanh", "relu", "leaky_relu", "sigmoid", "relu", "identity", "softmax"])
bounded = st.sampled_from([kind for kind in KINDS if kind not in ("all magnitudes", "saturated")])
strengths = st.just(0.0) | powers(-4, 1)

#: a strategy for each setting of `draw_network` but the output.
CASES: dict[str, st.SearchStrategy[Any]] = {
    "layer_sizes": layer_sizes,
    "m": examples,
    "hidden": hidden,
    "keep_probs": keep_probs,
    "epsilon": st.none() | powers(-8, -1),
    "kind": bounded,
    "weights": st.sampled_from(["normal", "zeros", "grid", "duplicated rows"]),
    "scale": st.sampled_from([1.0, 0.5, 2.0, 0.05, 20.0]),
}


class Drawn(NamedTuple):
    """A network and what a pass of training takes."""

    network: Network
    parameters: Parameters
    X: Array
    masks: dict[str, Array]

    @property
    def arguments(self) -> dict[str, Array]:
        """Return X and the parameters by name."""
        return {"X": self.X, **self.parameters}


def draw_network(
    rng: np.random.Generator,
    layer_sizes: tuple[int, ...] = (5, 4, 3),
    m: int = 9,
    hidden: str = "tanh",
    output: str = "sigmoid",
    keep_probs: tuple[float, ...] = (),
    epsilon: float | None = None,
    kind: str = "normal",
    weights: str = "normal",
    scale: float = 1.0,
    decided: bool = True,
    on_logits: bool = False,
    **norm: Any,
) -> Drawn:
    """Draw a network with biases that are not zero; `epsilon` is batch norm's, None without.

    Of `keep_probs` as many are taken as there are hidden layers. Raises ProvesNothingError where
    round-off decides on which side of a kink a unit stands; `on_logits`, the output has none.
    """
    network = Network(
        layer_sizes=layer_sizes,
        hidden=hidden,
        output=output,
        keep_probs=keep_probs[: len(layer_sizes) - 2],
        batch_norm=None if epsilon is None else BatchNorm(epsilon=epsilon, **norm),
    )
    parameters = Parameters.empty(network.shapes)
    for name, view in parameters.items():
        view[...] = draw(weights, view.shape, rng)
        if name.startswith("W"):
            view *= scale if weights == "grid" else scale / view.shape[1] ** 0.5
        elif name.startswith("beta"):  # of 0, a unit without spread would stand on the kink
            view[...] = rng.standard_normal(view.shape)
    X = draw(kind, (layer_sizes[0], m), rng)
    masks = draw_masks(layer_sizes, network.keep_probs, m, rng)
    # they go by their names, in whatever order they come
    drawn = Drawn(network, parameters, X, dict(reversed(masks.items())))
    # halves and their sums, cut at 0 and doubled by a mask, are exact in every order
    exact = {kind, weights} == {"grid"} and scale in (0.5, 1.0, 2.0)
    if decided:
        _refuse_kinks(drawn, exact, on_logits)
    return drawn


def _refuse_kinks(drawn: Drawn, exact: bool, on_logits: bool) -> None:
    """Raise ProvesNothingError where round-off decides which units are on; exact ties stay.

    Batch norm over features that have no spread makes much of what was rounded before: where layer
    upon layer has done so, a bound of first order holds no longer.
    """
    network = drawn.network
    gauges = layer_gauges(network, drawn.arguments, drawn.masks)
    _, cache = network_forward(drawn.X, drawn.parameters, network, drawn.masks)
    curved = network.batch_norm is not None or network.hidden not in STRAIGHT
    exact_below = network.hidden in ("relu", "identity") and not network.batch_norm
    exact_below &= all(one in (0.25, 0.5, 1.0) for one in network.keep_probs)
    caches = cache.activation[:-1] if on_logits else cache.activation
    for l, one in enumerate(caches, start=1):
        E_Z = gauges[f"Z{l}"]
        if curved and EPS * E_Z.max() > FIRST_ORDER:
            raise ProvesNothingError(f"round-off has grown to {EPS * E_Z.max():.3g} in layer {l}")
        if (exact and (l == 1 or exact_below)) or not network.activation(l).endswith("relu"):
            continue
        if ((np.abs(one.Z) <= GRADIENT.eps * EPS * E_Z) & (E_Z > 0)).any():
            raise ProvesNothingError(f"round-off decides which units of layer {l} are on")


def draw_labels(network: Network, m: int, rng: np.random.Generator) -> Array:
    """Draw labels that fit the output."""
    n = network.layer_sizes[-1]
    if network.output == "softmax":
        return np.eye(n)[:, rng.integers(0, n, m)]
    return rng.integers(0, 2, (n, m)).astype(float)


def of_names(network: Network, named: dict[str, Array]) -> Parameters:
    """Return parameters of these arrays, finite or not."""
    parameters = Parameters.empty(network.shapes, next(iter(named.values())).dtype)
    for name, one in named.items():
        parameters[name] = one
    return parameters


def smooth(
    m: int = 9,
    kind: str = "normal",
    weights: str = "normal",
    epsilon: float | None = None,
    **_: Any,
) -> bool:
    """Tell whether central differences can bear witness: no ties, and batch norm has a spread."""
    spread = epsilon is None or (kind == weights == "normal" and m > 2)
    return spread and {kind, weights} <= {*SMOOTH}
