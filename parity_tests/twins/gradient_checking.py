"""Gradient checking: difference quotients, their distance from gradients, and wrong gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import rows, to_numpy, to_torch, twin
from parity_tests.compare.budgets import GRADIENT
from parity_tests.compare.functions import draw_until
from parity_tests.compare.quantities import assert_equal
from parity_tests.drawing import Array, powers
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Relation
from parity_tests.twins._networks import draw_labels
from parity_tests.twins._relations import same_under
from scratch import gradient_checking as ours
from scratch.batch_norm import BatchNorm
from scratch.network import Network, cost_and_gradients, network_forward
from scratch.parameters import Parameters
from torch_ref import gradient_checking as theirs
from torch_ref.network import objective
from torch_ref.parameters import parameters as parameters_of

#: a quotient divides the round-off of J by a step of 1e-5 or less: beside gradients that is much.
DIFFERENCES = 1e9


def draw_parabola(rng: np.random.Generator, n: int = 2, power: int = 10,
    two_sided: bool = True) -> Case:  # fmt: skip
    """Draw parameters and coefficients that are small fractions of two: nothing rounds."""
    shapes = {"W1": (n, 3), "b1": (n, 1)}
    theta = {name: rng.integers(-8, 8, one) / 4 + 0.125 for name, one in shapes.items()}
    c = {f"c of {name}": 2.0 ** rng.integers(-2, 3, one) for name, one in shapes.items()}
    return {**theta, **c, "epsilon": 2.0**-power, "two_sided": two_sided}


def parabola(c: Any, named: Any) -> Any:
    """Return sum c theta^2 + (sum theta)^2, in which every parameter meets all others."""
    total = sum(one.sum() for one in named.values())
    return sum((c[f"c of {name}"] * one**2).sum() for name, one in named.items()) + total**2


def slopes(epsilon: float, two_sided: bool, **case: Array) -> Values:
    named, cost = Parameters({name: case[name] for name in ("W1", "b1")}), partial(parabola, case)
    return dict(ours.numerical_gradient(cost, named, epsilon=epsilon, two_sided=two_sided))


def slopes_by_torch(epsilon: float, two_sided: bool, **case: Array) -> Values:
    carried = {name: to_torch(name.split()[-1], one) for name, one in case.items()}
    named, cost = {name: carried[name] for name in ("W1", "b1")}, partial(parabola, carried)
    return arrays(theirs.numerical_gradient(cost, named, epsilon=epsilon, two_sided=two_sided))


def is_the_derivative(run: Any, **case: Any) -> None:
    """Hold quotients to 2 c theta + 2 sum theta, and to (c + 1) epsilon more from one side."""
    for two_sided in (True, False):
        values = run("numerical_gradient", **{**case, "two_sided": two_sided})
        total = case["W1"].sum() + case["b1"].sum()
        for name in ("W1", "b1"):
            c, more = case[f"c of {name}"], 0 if two_sided else case["epsilon"]
            assert_equal(values[name], 2 * c * case[name] + 2 * total + (c + 1) * more, name)


def draw_pair(rng: np.random.Generator, n: int = 30, power: float = 0.0) -> Case:
    drawn = (10.0**power * rng.standard_normal(n) for _ in range(2))
    return dict(zip(("approximation", "gradient"), drawn, strict=True))


def error_of(relative_error: Any, approximation: Any, gradient: Any) -> Any:
    return np.asarray(approximation).dtype.type(relative_error(approximation, gradient))


def is_scipys(run: Any, approximation: Array, gradient: Array) -> tuple[Values, Values]:
    a, g, apart = map(scipy.linalg.norm, (approximation, gradient, approximation - gradient))
    found = run("relative_error", approximation=approximation, gradient=gradient)
    return {"SciPy's": found["relative error"]}, {"SciPy's": np.float64(apart / (a + g))}


def knows_its_ends(run: Any, approximation: Array, gradient: Array) -> tuple[Values, Values]:
    """Return the errors of equals, opposites, one that is zero, two zeros and the double."""
    a = approximation
    pairs = (a, a), (a, -a), (a, 0 * a), (0 * a, a), (0 * a, -0 * a), (a, 2 * a)
    found = [run("relative_error", approximation=x, gradient=y)["relative error"] for x, y in pairs]
    return {"at its ends": np.array(found)}, {"at its ends": np.array([0, 1, 1, 1, 0, 1 / 3])}


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


# fmt: off
SLOPES = FunctionTwin(
    name="numerical_gradient",
    formula="(J(theta + epsilon) - J(theta - epsilon)) / (2 epsilon), one parameter at a time",
    source='Course 2, week 1, "Numerical approximation of gradients"; torch.autograd.gradcheck',
    proves=("numerical_gradient",), ours=slopes, theirs=slopes_by_torch, bridge=None, exact=True,
    draw=draw_parabola,
    cases={"n": st.integers(1, 4), "power": st.integers(4, 14), "two_sided": st.booleans()},
    edges={"from one side": {"two_sided": False}}, weight=0.5,
    relations=(Relation(name="quotients of a parabola are exact", holds=is_the_derivative,
        broken_by="difference-over-2-times-epsilon"),))

ERROR = FunctionTwin(
    name="relative_error",
    formula="||approximation - gradient|| / (||approximation|| + ||gradient||), 0 for two zeros",
    source='Course 2, week 1, "Gradient checking"; torch.linalg.vector_norm',
    proves=("relative_error",),
    ours=partial(error_of, ours.relative_error), theirs=partial(error_of, lambda *pair: (
        theirs.relative_error(*map(torch.from_numpy, pair)))),
    names=("relative error",), bridge=None, float32=True, wide=False,  # a Python number
    draw=draw_pair, cases={"n": st.integers(1, 60), "power": st.floats(-30, 30)},
    edges={
        "beyond the squares of float64": {"power": 200}, "the largest numbers": {"power": 307},
        "below the squares of float64": {"power": -200}, "the smallest numbers": {"power": -320}},
    relations=(
        Relation(name="neither unit nor order", broken_by="error-over-the-gradient-alone",
            holds=same_under("relative_error", lambda approximation, gradient: {
                "approximation": 4 * gradient, "gradient": 4 * approximation})),
        Relation(name="SciPy's norms", holds=is_scipys, broken_by="error-over-the-gradient-alone"),
        Relation(name="its ends", holds=knows_its_ends, broken_by="error-over-the-gradient-alone")),
    mistakes=(
        Mistake(name="error-over-the-gradient-alone", margin=0.1,
            seen="ericchansen/q2mm pull request 248: divided by what may be 0"),
        Mistake(name="error-over-a-sum-halved-in-one-term", margin=0.1,
            seen="stan-dev/stan issue 297: (a - b) / ((abs(a) + abs(b) / 2)"),
        Mistake(name="error-not-relative", margin=1.0, seen="scipy/scipy issue 7766")))

#: quotients of differences: longdouble would take another step.
QUOTIENTS: dict[str, Any] = {
    "bridge": None, "budget": GRADIENT, "wide": False, "loosest": DIFFERENCES, "weight": 0.1}

CHECK = FunctionTwin(
    name="check_network",
    formula="the gradients of a network beside the quotients of its cost, penalties included",
    source='Course 2, week 1, "Gradient checking implementation notes"; torch.autograd.gradcheck',
    proves=("check_network",), ours=checked, theirs=checked_by_torch,
    draw=draw_check, gauges=check_gauges, **QUOTIENTS,
    cases={
        "hidden": st.sampled_from(["tanh", "relu", "leaky_relu"]),
        "output": st.sampled_from(["sigmoid", "softmax"]), "norm": st.sampled_from(list(NORMS)),
        "l1": st.sampled_from([0.0, 0.3]), "l2": st.sampled_from([0.0, 0.7]),
        "epsilon": st.none() | powers(-6, -5), "two_sided": st.booleans()},
    edges={
        "plain": {"l1": 0.0, "l2": 0.0}, "relu": {"hidden": "relu"},
        "leaky relu": {"hidden": "leaky_relu", "output": "sigmoid"},
        "from one side": {"two_sided": False},
        "from one side, at a step": {"two_sided": False, "epsilon": 1e-6},
        "batch norm": {"norm": "biased", "layers": 2},
        "batch norm of relu": {"norm": "unbiased", "hidden": "relu", "layers": 2}})

JUDGE = FunctionTwin(
    name="gradient_check",
    formula="the relative error of all gradients, of each tensor and of each parameter",
    source='Course 2, week 1, "Gradient checking"; torch.autograd.gradcheck',
    proves=("gradient_check",), ours=judged_by_us, theirs=judged_by_torch,
    draw=draw_wrong, gauges=judgement_gauges, **QUOTIENTS,
    cases={"wrong": st.sampled_from([*WRONG])}, edges={wrong: {"wrong": wrong} for wrong in WRONG},
    relations=(
        *(Relation(name=f"the tensors at fault are named: {wrong}", at={"wrong": wrong},
            holds=names_the_fault, broken_by=unseen) for wrong in WRONG),
        Relation(name="errors add up", holds=adds_up, broken_by=unseen)))
# fmt: on

TWINS = (SLOPES, ERROR, CHECK, JUDGE)
