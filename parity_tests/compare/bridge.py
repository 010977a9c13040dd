"""The one bridge between the layouts: columns are examples in `scratch`, rows in `torch_ref`.

Names decide: W, W1, ... cross as they are; b, gamma, beta, mean and variance turn from a column
(n, 1) to a vector (n,), every other matrix (n, m) to rows (m, n).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from parity_tests.compare.measurement import Array
from scratch.network import Network as OurNetwork
from scratch.parameters import Parameters
from torch_ref.batch_norm import BatchNorm, running_averages
from torch_ref.network import Network
from torch_ref.parameters import parameters

#: names of what crosses as it is, and of what is a column here and a vector there.
WEIGHT, BIAS = re.compile(r"W\d*"), re.compile(r"(b|gamma|beta|mean|variance)\d*")


def rows(columns: Array, device: str = "cpu") -> torch.Tensor:
    """Turn activations (n, m) into torch's batch-first (m, n)."""
    return torch.from_numpy(columns.T.copy()).to(device)


def columns(rows: torch.Tensor) -> Array:
    """Turn torch's batch-first (m, n) into activations (n, m)."""
    return np.ascontiguousarray(rows.detach().cpu().numpy().T)


def images_to_torch(images: Array, device: str = "cpu") -> torch.Tensor:
    """Turn images (height, width, channels, m) into torch's (m, channels, height, width)."""
    return torch.from_numpy(images.transpose(3, 2, 0, 1).copy()).to(device)


def images_to_numpy(images: torch.Tensor) -> Array:
    """Turn torch's images (m, channels, height, width) into (height, width, channels, m)."""
    return np.ascontiguousarray(images.detach().cpu().numpy().transpose(2, 3, 1, 0))


class Bridge(NamedTuple):
    """Ways across for arrays of some kinds: by name, array and device, back by name and tensor."""

    to_torch: Callable[[str, Any, str], torch.Tensor]
    to_numpy: Callable[[str, torch.Tensor], Array]
    kinds: str = "f"


def _copy_to_torch(name: str, array: Any, device: str = "cpu") -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(device)


def _copy_to_numpy(name: str, tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().numpy().copy()


def to_torch(name: str, array: Any, device: str = "cpu") -> torch.Tensor:
    array = np.asarray(array)
    if BIAS.fullmatch(name) and array.ndim == 2:
        if array.shape[1] != 1:
            raise ValueError(f"expected {name} of shape (n, 1), got {array.shape}")
        return _copy_to_torch(name, array[:, 0], device)
    if WEIGHT.fullmatch(name) or array.ndim < 2:
        return _copy_to_torch(name, array, device)
    return rows(array, device)


def to_numpy(name: str, tensor: torch.Tensor) -> Array:
    if BIAS.fullmatch(name) and tensor.ndim == 1:
        return _copy_to_numpy(name, tensor)[:, None]
    if WEIGHT.fullmatch(name) or tensor.ndim < 2:
        return _copy_to_numpy(name, tensor)
    return columns(tensor)


#: between the two layouts of this project, and for code whose layout is torch's own.
BY_NAME, AS_IT_IS = Bridge(to_torch, to_numpy), Bridge(_copy_to_torch, _copy_to_numpy)


def load(module: Network, values: Mapping[str, Array]) -> Network:
    """Overwrite the module's parameters, or running averages, with arrays by name; return it."""
    tensors = {**parameters(module), **running_averages(module)}
    with torch.no_grad():
        for name, array in values.items():
            tensors[name].copy_(to_torch(name, array))
    return module


def _collect(tensors: Mapping[str, torch.Tensor]) -> Parameters:
    arrays = {name: to_numpy(name, one) for name, one in tensors.items()}
    shapes = {name: one.shape for name, one in arrays.items()}
    values = Parameters.empty(shapes, next(iter(arrays.values())).dtype)
    for name, array in arrays.items():
        values[name] = array
    return values


def unload(module: Network) -> Parameters:
    """Return a copy of the module's parameters, finite or not."""
    return _collect(parameters(module))


def unload_running(module: Network) -> Parameters:
    """Return a copy of the module's running averages {"mean1", "variance1", ...}."""
    return _collect(running_averages(module))


def masks_to_torch(masks: Mapping[str, Array], device: str = "cpu") -> dict[str, torch.Tensor]:
    return {name: rows(mask, device) for name, mask in masks.items()}


def twin(network: OurNetwork, values: Parameters, device: str = "cpu") -> Network:
    """Return torch's network of the same choices, parameters and dtype."""
    norm = network.batch_norm
    module = Network(
        layer_sizes=network.layer_sizes,
        hidden=network.hidden,
        output=network.output,
        keep_probs=network.keep_probs,
        batch_norm=partial(BatchNorm, **vars(norm)) if norm else None,
        dtype=torch.from_numpy(values.theta).dtype,
        device=device,
    )
    return load(module, values)
