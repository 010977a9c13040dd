"""Networks for rows: drawn as settings say, run on both sides, and gauged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare import bridge, gauges
from parity_tests.compare.bridge import columns, masks_to_torch, rows, to_numpy, twin
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.measurement import Array, ProvesNothingError
from parity_tests.compare.quantities import FIRST_ORDER
from parity_tests.compare.side_effects import unmodified
from parity_tests.drawing import KINDS, SMOOTH, draw, examples, powers, widths
from parity_tests.mistakes import Values
from parity_tests.rows import Case
from scratch import network as ours
from scratch._step import TrainingStep
from scratch.activations import ACTIVATIONS
from scratch.batch_norm import BatchNorm, running_averages
from scratch.dropout import draw_masks
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import network as theirs

DIFFERENTIABLE = tuple(name for name, one in ACTIVATIONS.items() if one.backward is not None)

#: activations without curvature: what was rounded before is passed on in proportion.
STRAIGHT = ("identity", "relu", "leaky_relu")

EPS = float(np.finfo(np.float64).eps)

layer_sizes = st.lists(widths, min_size=2, max_size=6).map(tuple) | st.builds(
    lambda n, layers: (n,) * layers, widths, st.integers(2, 6)
)
keep_prob = st.sampled_from([1.0, 0.5, 0.25]) | st.floats(0.1, 1)
#: softmax in a hidden layer is legal, and rare.
hidden = ["tanh", "relu", "leaky_relu", "sigmoid", "relu", "identity", "softmax"]
strengths = st.just(0.0) | powers(-4, 1)

# fmt: off
#: a strategy for each setting of `draw_network` but the output.
CASES: dict[str, st.SearchStrategy[Any]] = {
    "layer_sizes": layer_sizes, "m": examples, "hidden": st.sampled_from(hidden),
    "keep_probs": st.just(()) | st.lists(keep_prob, min_size=4, max_size=4).map(tuple),
    "epsilon": st.none() | powers(-8, -1),
    "kind": st.sampled_from([one for one in KINDS if one not in ("all magnitudes", "saturated")]),
    "weights": st.sampled_from(["normal", "zeros", "grid", "duplicated rows"]),
    "scale": st.sampled_from([1.0, 0.5, 2.0, 0.05, 20.0]),
}
# fmt: on

#: a network, and its parameters, inputs and masks of a pass of training.
Drawn = tuple[Network, Parameters, Array, dict[str, Array]]


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

    Raises ProvesNothingError where round-off decides a kink; `on_logits`, the output has none.
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
    drawn = network, parameters, X, dict(reversed(masks.items()))
    # halves and their sums, cut at 0 and doubled by a mask, are exact in every order
    exact = {kind, weights} == {"grid"} and scale in (0.5, 1.0, 2.0)
    if decided:
        _refuse_kinks(drawn, exact, on_logits)
    return drawn


def _refuse_kinks(drawn: Drawn, exact: bool, on_logits: bool) -> None:
    """Raise ProvesNothingError where round-off decides which units are on; exact ties stay."""
    network, parameters, X, masks = drawn
    bounds = gauges.layer_gauges(network, {"X": X, **parameters}, masks)
    _, cache = ours.network_forward(X, parameters, network, masks)
    curved = network.batch_norm is not None or network.hidden not in STRAIGHT
    exact_below = network.hidden in ("relu", "identity") and not network.batch_norm
    exact_below &= all(one in (0.25, 0.5, 1.0) for one in network.keep_probs)
    caches = cache.activation[:-1] if on_logits else cache.activation
    for l, one in enumerate(caches, start=1):
        E_Z = bounds[f"Z{l}"]
        # batch norm without a spread, layer upon layer, makes much of what was rounded before
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


def averages_of(
    network: Network, X: Array, rng: np.random.Generator | None = None
) -> Parameters | None:
    """Return the running averages that a training begins with, or drawn ones, if there are any."""
    if network.batch_norm is None or network.depth == 1:
        return None
    running = running_averages(network.layer_sizes, X.dtype)
    if rng is not None:
        running.theta[:] = rng.uniform(0.5, 2, running.theta.size)
    return running


# --- a pass of training ---------------------------------------------------------------------------


def smooth(
    m: int = 9, kind: str = "normal", weights: str = "normal", epsilon: Any = None, **_: Any
) -> bool:
    """Tell whether central differences can bear witness: no ties, and batch norm has a spread."""
    spread = epsilon is None or (kind == weights == "normal" and m > 2)
    return spread and {kind, weights} <= {*SMOOTH}


def draw_pass(rng: np.random.Generator, **settings: Any) -> Case:
    network, parameters, X, masks = draw_network(rng, **settings)
    return {"X": X, **parameters, "network": network, "masks": masks}


def forward(X: Array, network: Network, masks: Mapping[str, Array], **named: Array) -> Any:
    """Return our output and cache, for parameters that may not be finite."""
    parameters = Parameters.empty(network.shapes, next(iter(named.values())).dtype)
    for name, one in named.items():
        parameters[name] = one
    return ours.network_forward(X, parameters, network, masks)


def their_output(
    X: torch.Tensor, *tensors: torch.Tensor, network: Network, masks: Mapping[str, Array]
) -> torch.Tensor:
    dtype, device = X.detach().cpu().numpy().dtype, str(X.device)
    module = twin(network, Parameters.empty(network.shapes, dtype), device)
    handed = masks_to_torch(masks, device)
    with theirs.mode(module, training=True), theirs.dropping(module, handed, len(X)):
        named = dict(zip(dict(module.named_parameters()), tensors, strict=True))
        output: torch.Tensor = torch.func.functional_call(module, named, (X,))
    return output


def pass_gauges(arguments: Mapping[str, Any], upstream: Array) -> Mapping[str, Array]:
    return gauges.network_gauges(arguments["network"], arguments, upstream, arguments["masks"])


# --- the cost -------------------------------------------------------------------------------------


def draw_learning(
    rng: np.random.Generator,
    l1: float = 0.0,
    l2: float = 0.0,
    shared: int = 0,
    output: str = "softmax",
    handed: bool = True,
    **settings: Any,
) -> Case:
    """Draw a pass of training with labels; `shared` examples share the penalties, or those of X."""
    if settings.get("unbiased"):
        settings["m"] = max(2, settings.get("m", 9))
    if settings.get("epsilon") is None:
        settings = {name: settings[name] for name in settings.keys() - {"decay", "unbiased"}}
    network, parameters, X, masks = draw_network(rng, output=output, on_logits=True, **settings)
    data = {"X": X, "Y": draw_labels(network, X.shape[1], rng), "network": network}
    chosen = {"l1": l1, "l2": l2, "m": shared or None, "masks": masks if handed else None}
    return {"parameters": parameters, **data, **chosen}


def learned(parameters: Parameters, X: Array, Y: Array, network: Network, **choices: Any) -> Values:
    """Return our cost and gradients, those of a step of training, and the averages it moved."""
    J, gradients = ours.cost_and_gradients(parameters, X, Y, network, **choices)
    running, masks = averages_of(network, X), choices.pop("masks")
    choices["m"] = choices["m"] or X.shape[1]
    step = TrainingStep(network, parameters, **choices, running=running)
    found = {"cost": J, "cost of a step": step.cost_and_gradients(X, Y, masks)}
    for name, gradient in gradients.items():
        found |= {name: gradient, f"{name} of a step": step.gradients[name]}
    return {**found, **(running or {})}


def in_mixed_modes(module: theirs.Network) -> theirs.Network:
    """Return a module that predicts but for its last layer, which trains."""
    module.eval().logits[-1].train()
    return module


def as_module_case(
    parameters: Parameters, X: Array, Y: Array, network: Network, masks: Any, **rest: Any
) -> Any:
    """Return a case as torch's functions take it."""
    handed = {"masks": masks_to_torch(masks) if masks else masks, **rest}
    module = in_mixed_modes(twin(network, parameters))
    return {"module": module, "X": rows(X), "Y": rows(Y), **handed}


def their_learned(**case: Any) -> Values:
    given = as_module_case(**case)
    with unmodified(given):
        J, pulled = theirs.cost_and_gradients(**given)
    found = {"cost": J.numpy()[()], **{name: to_numpy(name, one) for name, one in pulled.items()}}
    found |= {f"{name} of a step": one for name, one in found.items()}
    if averages_of(case["network"], case["X"]) is not None:
        module, X = given["module"], given["X"]
        module.train()
        with torch.no_grad(), theirs.dropping(module, given["masks"], len(X)):
            module.logits(X)
        found |= bridge.unload_running(module)
    return found


def learning_gauges(
    parameters: Parameters, X: Array, Y: Array, network: Network, masks: Any, **choices: Any
) -> Values:
    arguments, m, norm = {"X": X, **parameters}, X.shape[1], network.batch_norm
    found = gauges.cost_gauges(network, arguments, Y, masks, **choices)
    found["cost"] = found.pop("output")
    found |= {f"{name} of a step": one for name, one in found.items() if name != "X"}
    del found["X"]
    inside = gauges.layer_gauges(network, arguments, masks)
    _, cache = ours.network_forward(X, parameters, network, masks)
    for l, (linear, normalized) in enumerate(zip(cache.linear, cache.batch_norm, strict=False), 1):
        if norm is not None and normalized is not None:
            Z, correction = linear.W @ linear.A_prev, m / (m - 1) if norm.unbiased else 1.0
            E_mean, _, E_variance = gauges.moment_gauges(Z, inside[f"linear{l}"], normalized)
            # torch moves an average by a difference, in which both ends round
            found[f"mean{l}"] = E_mean + np.abs(normalized.mean)
            found[f"variance{l}"] = 1 + correction * (E_variance + normalized.variance)
    return found


def norm_gauges(**case: Any) -> Values:
    """Return the norms of the gauges of gradients; an activation's norm is its own."""
    found = learning_gauges(**case)
    return {name: np.linalg.norm(found[name]) for name in case["parameters"]}


# --- prediction -----------------------------------------------------------------------------------


def draw_prediction(
    rng: np.random.Generator, output: str = "sigmoid", epsilon: float | None = 1e-3, **settings: Any
) -> Case:
    """Draw what a network predicts from, and where round-off does not decide what it predicts."""
    settings |= {"output": output, "epsilon": epsilon}
    network, parameters, X, _ = draw_network(rng, decided=False, **settings)
    running = averages_of(network, X, rng)
    A = ours.outputs(X, parameters, network, running)
    margin = np.abs(A - 0.5)
    if output == "softmax":
        ordered = np.sort(A, axis=0)
        margin = ordered[-1:] - ordered[-2:-1] if len(A) > 1 else np.ones_like(A)
    gauge = gauges.prediction_gauge(network, {"X": X, **parameters}, running).max(axis=0)
    case = {"X": X, "parameters": parameters, "network": network, "running": running}
    return {**case, "decided": margin > GRADIENT.eps * EPS * gauge}


def predicted(decided: Any, **case: Any) -> Values:
    """Return our outputs, and what we predict wherever it is decided."""
    found = {"outputs": ours.outputs(**case)}
    if case["network"].output in ours.PREDICT:
        found["predictions"] = ours.predict(**case) * decided
    return found


def their_module(parameters: Parameters, network: Network, running: Any) -> theirs.Network:
    module = in_mixed_modes(twin(network, parameters))
    return module if running is None else bridge.load(module, running)


def their_predicted(X: Array, decided: Any, **case: Any) -> Values:
    module, handed = their_module(**case), rows(X)
    found = {"outputs": columns(theirs.outputs(handed, module))}
    if case["network"].output in ours.PREDICT:
        found["predictions"] = columns(theirs.predict(handed, module)) * decided
    return found


def prediction_gauges(
    parameters: Any, X: Array, network: Network, running: Any, **_: Any
) -> Values:
    return {"outputs": gauges.prediction_gauge(network, {"X": X, **parameters}, running)}
