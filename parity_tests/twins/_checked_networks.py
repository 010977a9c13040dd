"""Networks whose gradients are checked on both sides: right ones, and wrong ones on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from parity_tests.compare.bridge import rows, to_numpy, to_torch, twin
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.functions import draw_until
from parity_tests.compare.measurement import Array
from parity_tests.mistakes import Values
from parity_tests.rows import Case
from parity_tests.twins._networks import draw_labels
from scratch import gradient_checking as ours
from scratch.batch_norm import BatchNorm
from scratch.network import Network, cost_and_gradients, network_forward
from scratch.parameters import Parameters
from torch_ref import gradient_checking as theirs
from torch_ref.network import objective
from torch_ref.parameters import parameters as parameters_of


def tensors(named: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    return {name: to_torch(name, one) for name, one in named.items()}


def arrays(named: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    return {name: to_numpy(name, one) for name, one in named.items()}


def far_from_kinks(parameters: Parameters, X: Array, Y: Array, network: Network) -> bool:
    """Tell whether no rectified Z is so near 0 that a step may lead across."""
    _, cache = network_forward(X, parameters, network)
    return all((np.abs(one.Z) > 1e-3).all() for one in cache.activation if hasattr(one, "Z"))


def draw_smooth(rng: np.random.Generator, hidden: str = "tanh", output: str = "softmax",
    m: int = 20, dtype: Any = np.float64, sizes: tuple[int, ...] = (4, 5, 3),
    **choices: Any) -> tuple[Parameters, Array, Array, Network]:  # fmt: skip
    """Draw a network with weights away from 0, and data for it, far from every kink."""
    network = Network(layer_sizes=sizes, hidden=hidden, output=output, **choices)

    def draw() -> tuple[Parameters, Array, Array, Network]:
        parameters = Parameters.empty(network.shapes, dtype)
        N = parameters.theta.size
        parameters.theta[:] = rng.uniform(0.1, 1, N) * rng.choice([-1, 1], N)
        X = rng.standard_normal((sizes[0], m)).astype(dtype)
        return parameters, X, draw_labels(network, m, rng).astype(dtype), network

    return draw_until(far_from_kinks, draw)


NAMES = ("parameters", "X", "Y", "network")

#: layers normalized by nothing, by the biased and by the unbiased variance.
NORMS = {"": None, "biased": BatchNorm(), "unbiased": BatchNorm(unbiased=True)}


def draw_check(rng: np.random.Generator, hidden: str = "tanh", output: str = "softmax",
    norm: str = "", layers: int = 1, **instead: Any) -> Case:  # fmt: skip
    sizes = (4, *(5, 6)[:layers], 3)
    drawn = draw_smooth(rng, hidden, output, sizes=sizes, batch_norm=NORMS[norm])
    case = dict(zip(NAMES, drawn, strict=True))
    return {**case, "l1": 0.3, "l2": 0.7, "epsilon": None, "two_sided": True, **instead}


def check_gauges(
    parameters: Parameters, X: Array, Y: Array, network: Network, l1: float, l2: float, **step: Any
) -> Values:
    """Return the round-off of J over the step, for every quotient."""
    J, _ = cost_and_gradients(parameters, X, Y, network, l1=l1, l2=l2)
    root = float(np.finfo(X.dtype).eps) ** (1 / 3 if step["two_sided"] else 1 / 2)
    return dict.fromkeys(parameters, J / (step["epsilon"] or root))


def verdicts(found: Any, quotients: Values, agrees: bool, case: Case) -> Values:
    """Return the quotients, whether gradients are right up to the round-off of J, and agree."""
    eps = float(np.finfo(case["X"].dtype).eps)
    lost = GRADIENT.eps * eps * max(check_gauges(**case).values())
    norms = {name: np.linalg.norm(one) for name, one in quotients.items()}
    return {
        **quotients,
        # together, and each tensor, whose own gradient may nearly vanish
        "all are right": bool(found.difference * np.linalg.norm([*norms.values()]) < lost),
        "each is right": all(found.by_tensor[name] * norms[name] < lost for name in quotients),
        "agrees": agrees,
    }


def checked(**case: Any) -> Values:
    found = ours.check_network(**case)
    return verdicts(found, dict(found.approximation), found.difference < 1e-5, case)


def checked_by_torch(network: Network, parameters: Parameters, **case: Any) -> Values:
    turned: Any = {name: rows(one) if name in ("X", "Y") else one for name, one in case.items()}
    found = theirs.check_network(twin(network, parameters), **turned)
    given = {"network": network, "parameters": parameters, **case}
    return verdicts(found, arrays(found.approximation), found.agrees, given)


#: strength of the penalty under which wrong gradients are judged.
L2 = 0.7


def one_entry(gradient: Array, *_: Any) -> Array:
    wrong = gradient.copy()
    wrong[1, 2] += 0.1 * np.abs(gradient).max()
    return wrong


#: a mistake: the tensors that it touches, and what it makes of gradient, parameter and m.
WRONG: Mapping[str, tuple[str, Callable[..., Array]]] = {
    "a weight scaled by 1.01": ("W1", lambda gradient, *_: 1.01 * gradient),
    "a bias scaled by 1.01": ("b2", lambda gradient, *_: 1.01 * gradient),
    "a sign flipped": ("b1", lambda gradient, *_: -gradient),
    "one entry": ("W2", one_entry),
    "L2 on the biases": ("b1 b2", lambda gradient, b, m: gradient + L2 / m * b),
    "1/m forgotten": ("W1 b1 W2 b2", lambda gradient, _, m: m * gradient),
    "zeros": ("W1 b1 W2 b2", lambda gradient, *_: 0 * gradient),
}


def draw_wrong(rng: np.random.Generator, wrong: str = "one entry") -> Case:
    case: dict[str, Any] = dict(zip(NAMES, draw_smooth(rng), strict=True))
    _, gradients = cost_and_gradients(**case, l2=L2)
    touched, spoil = WRONG[wrong]
    for name in touched.split():
        gradients[name] = spoil(gradients[name], case["parameters"][name], case["X"].shape[1])
    return {**case, "gradients": gradients, "touched": touched}


def judged(found: Any, errors: Values, gradients: Parameters, touched: str, agrees: bool) -> Values:
    """Return the error of all gradients and of those touched, and which ones are at fault."""
    names, dtype = touched.split(), gradients.theta.dtype.type
    culprit, place = found.culprit
    return {
        "agrees": agrees,
        "difference": dtype(found.difference),
        **{name: errors[name] for name in names},
        **{f"{name} as a whole": dtype(found.by_tensor[name]) for name in names},
        "at fault": " ".join(name for name, error in found.by_tensor.items() if error > 1e-3),
        # a bias is a column here and a vector there; of several the worst may tie
        "culprit": f"{culprit} {place[: 1 + (culprit[0] == 'W')]}" if len(names) == 1 else "",
    }


def judged_by_us(gradients: Any, touched: str, parameters: Parameters, **case: Any) -> Values:
    found = ours.gradient_check(
        lambda moved: cost_and_gradients(moved, **case, l2=L2)[0], parameters, gradients
    )
    return judged(found, dict(found.errors), gradients, touched, found.difference < 1e-7)


def judged_by_torch(gradients: Parameters, touched: str, **case: Any) -> Values:
    module, X, Y = twin(case["network"], case["parameters"]), rows(case["X"]), rows(case["Y"])

    def cost(named: Mapping[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            for name, parameter in parameters_of(module).items():
                parameter.copy_(named[name])
            return objective(module, X, Y, l1=0.0, l2=L2, m=len(X))[0]

    found = theirs.gradient_check(cost, tensors(case["parameters"]), tensors(gradients))
    return judged(found, arrays(found.errors), gradients, touched, found.agrees)


def judgement_gauges(gradients: Parameters, touched: str, **case: Any) -> Values:
    """Return the round-off of J over the step and the two norms."""
    lost = max(check_gauges(**case, l1=0.0, l2=L2, epsilon=None, two_sided=True).values())
    _, right = cost_and_gradients(**case, l2=L2)
    pairs = {"difference": (right.theta, gradients.theta)}
    for name in touched.split():
        pairs |= dict.fromkeys((name, f"{name} as a whole"), (right[name], gradients[name]))
    return {name: lost / sum(map(np.linalg.norm, pair)) for name, pair in pairs.items()}


def names_the_fault(run: Any, **case: Any) -> None:
    values = run("gradient_check", **case)
    assert not values["agrees"], "the gradients agree"
    assert values["at fault"] == case["touched"], values["at fault"]
    assert case["touched"] != "W2" or values["culprit"] == "W2 (1, 2)", values["culprit"]


def adds_up(run: Any, **case: Any) -> tuple[Values, Values]:
    """Return the root of the summed squares of a tensor's errors, and its error as a whole."""
    values, names = run("gradient_check", **case), case["touched"].split()
    summed = {name: np.sqrt(np.square(values[name]).sum()) for name in names}
    return summed, {name: values[f"{name} as a whole"] for name in names}


def unseen(honest: Any, **case: Any) -> Values:
    values = honest(**case)
    nothing = {name: 0.9 * one for name, one in values.items() if isinstance(one, np.ndarray)}
    return {**values, **nothing, "difference": 0.9 * values["difference"], "agrees": True}
