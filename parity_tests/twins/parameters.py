"""Parameters: named views of one vector, vectors of them and back, and copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from parity_tests.compare.bridge import twin, unload
from parity_tests.compare.measurement import Array
from parity_tests.drawing import LAYOUTS
from parity_tests.mistakes import Values
from parity_tests.rows import Case, FunctionTwin
from parity_tests.twins._networks import draw_network, layer_sizes
from scratch import parameters as ours
from scratch.network import Network
from scratch.parameters import Parameters
from torch_ref import parameters as theirs

CHECKING = 'Course 2, week 1, "Gradient checking"; torch.nn.utils.parameters_to_vector'

# fmt: off
SIZES: dict[str, st.SearchStrategy[Any]] = {
    "layer_sizes": layer_sizes, "epsilon": st.sampled_from([None, 1e-5])}
EDGES: dict[str, dict[str, Any]] = {
    "one weight": {"layer_sizes": (1, 1)}, "square weights": {"layer_sizes": (3, 3, 3)},
    "batch norm": {"epsilon": 1e-5}}
# fmt: on


def draw_parameters(rng: np.random.Generator, layer_sizes: tuple[int, ...] = (5, 4, 3, 2),
    epsilon: float | None = None) -> Case:  # fmt: skip
    """Draw parameters, biases too, and a vector as long as they are."""
    network, parameters, _, _ = draw_network(rng, layer_sizes, epsilon=epsilon, decided=False)
    vector = rng.standard_normal(parameters.theta.size)
    return {"parameters": parameters, "vector": vector, "network": network}


def there_and_back(parameters: Parameters, vector: Array, network: Network) -> Values:
    """Return parameters as a vector and a vector as parameters; what they came from is zero."""
    like, handed = parameters.copy(), vector.copy()
    theta, restored = ours.to_vector(like), ours.from_vector(handed, like)
    like.theta[:], handed[:] = 0, 0
    return {"theta": theta, **restored}


def their_there_and_back(parameters: Parameters, vector: Array, network: Network) -> Values:
    module, handed = twin(network, parameters), torch.from_numpy(vector.copy())
    theta = theirs.to_vector(module)
    theirs.from_vector(handed, module)
    handed.zero_()
    return {"theta": theta, **unload(module)}


CLONES: Mapping[str, Callable[[Any], Any]] = {
    "copy": Parameters.copy,
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda parameters: pickle.loads(pickle.dumps(parameters)),
}


def draw_arrays(rng: np.random.Generator, layout: str = "in rows", clone: str = "copy",
    **settings: Any) -> Case:  # fmt: skip
    parameters = draw_parameters(rng, **settings)["parameters"]
    arrays = {name: LAYOUTS[layout](one) for name, one in parameters.items()}
    return {"arrays": arrays, "clone": clone}


def laid(arrays: Mapping[str, Array], clone: str) -> Values:
    """Return theta and its views, those of a copy that is written to by either, and zeros."""
    handed = {name: one.copy() for name, one in arrays.items()}
    parameters = Parameters(handed)
    handed["W1"][:] = 0
    other = CLONES[clone](parameters)
    other["W1"] = 3 * other["W1"]
    other.theta[:] -= 1
    thetas = parameters.theta, other.theta, parameters.zeros_like().theta
    return by_name(parameters, other, *thetas)


def their_laid(arrays: Mapping[str, Array], clone: str) -> Values:
    tensors = {name: torch.from_numpy(np.array(one, order="C")) for name, one in arrays.items()}
    others = copy.deepcopy(tensors)
    others["W1"].mul_(3)
    for one in others.values():
        one.sub_(1)
    vector = torch.nn.utils.parameters_to_vector
    theta, other = (vector(list(one.values())) for one in (tensors, others))
    return by_name(tensors, others, theta, other, torch.zeros_like(theta))


def by_name(named: Values, copied: Values, theta: Any, copied_theta: Any, zeros: Any) -> Values:
    copies = {f"{name} of the copy": one for name, one in copied.items()}
    return {**named, "theta": theta, **copies, "theta of the copy": copied_theta, "zeros": zeros}


# fmt: off
TWINS = (
    FunctionTwin(
        name="to_vector and from_vector", formula="theta = (W1 row by row, b1, W2, ...), and back",
        source=CHECKING, proves=("to_vector", "from_vector", "Parameters"),
        ours=there_and_back, theirs=their_there_and_back, bridge=None, exact=True,
        draw=draw_parameters, cases=SIZES, edges=EDGES, weight=0.5),

    FunctionTwin(
        name="parameters",
        formula="theta holds W1, b1, W2, ... side by side, row by row, and each name is a view of "
            "it; a copy has a theta of its own",
        source=CHECKING, proves=("Parameters",), ours=laid, theirs=their_laid,
        bridge=None, exact=True, draw=draw_arrays, weight=0.5,
        cases={**SIZES, "layout": st.sampled_from([*LAYOUTS]), "clone": st.sampled_from([*CLONES])},
        edges={**EDGES, **{name: {"clone": name} for name in CLONES},
               "in columns": {"layout": "in columns"}}),
)
# fmt: on
