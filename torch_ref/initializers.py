"""Initial weights, as PyTorch spells them: `torch.nn.init` on W of shape (n, n_prev), in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from torch_ref._validation import Floats, Instance, Number, OneOf, Optional, validated
from torch_ref.parameters import parameters

__all__ = [
    "INITIALIZERS",
    "constant",
    "glorot",
    "he",
    "initialize",
    "large_normal",
    "small_normal",
    "small_uniform",
    "xavier",
    "zeros",
]

Tensor = torch.Tensor
Generator = torch.Generator
_WEIGHT = Floats("n n_prev", "any")  # to be overwritten: often memory not yet written to
_GENERATOR = Optional(Instance(Generator))
_SCALE = Number("(0, inf)")


@validated(W=_WEIGHT, generator=_GENERATOR)
def zeros(W: Tensor, generator: Generator | None = None) -> Tensor:
    """Overwrite W with zeros. Source: torch.nn.init.zeros_."""
    return nn.init.zeros_(W)


@validated(W=_WEIGHT, generator=_GENERATOR, value=Number("(-inf, inf)"))
def constant(W: Tensor, generator: Generator | None = None, value: float = 1.0) -> Tensor:
    """Overwrite W with one value. Source: torch.nn.init.constant_."""
    return nn.init.constant_(W, value)


@validated(W=_WEIGHT, generator=_GENERATOR, scale=_SCALE)
def small_normal(W: Tensor, generator: Generator | None = None, scale: float = 0.01) -> Tensor:
    """Overwrite W with scale N(0, 1). Source: torch.nn.init.normal_."""
    return nn.init.normal_(W, std=scale, generator=generator)


@validated(W=_WEIGHT, generator=_GENERATOR, scale=_SCALE)
def small_uniform(W: Tensor, generator: Generator | None = None, scale: float = 0.01) -> Tensor:
    """Overwrite W with scale U[-1, 1). Source: torch.nn.init.uniform_."""
    return nn.init.uniform_(W, -scale, scale, generator=generator)


@validated(W=_WEIGHT, generator=_GENERATOR, scale=_SCALE)
def large_normal(W: Tensor, generator: Generator | None = None, scale: float = 10.0) -> Tensor:
    """Overwrite W with scale N(0, 1), large. Source: torch.nn.init.normal_."""
    return nn.init.normal_(W, std=scale, generator=generator)


@validated(W=_WEIGHT, generator=_GENERATOR)
def xavier(W: Tensor, generator: Generator | None = None) -> Tensor:
    """Overwrite W with sqrt(1 / n_prev) N(0, 1), "Xavier" as taught.

    torch's `xavier_normal_` is Glorot's own and divides by n_prev + n; the course's is LeCun's, the
    Kaiming rule with the gain of a linear layer.

    Source: torch.nn.init.kaiming_normal_.
    """
    return nn.init.kaiming_normal_(W, nonlinearity="linear", generator=generator)


@validated(W=_WEIGHT, generator=_GENERATOR)
def glorot(W: Tensor, generator: Generator | None = None) -> Tensor:
    """Overwrite W with sqrt(2 / (n_prev + n)) N(0, 1). Source: torch.nn.init.xavier_normal_."""
    return nn.init.xavier_normal_(W, generator=generator)


@validated(W=_WEIGHT, generator=_GENERATOR)
def he(W: Tensor, generator: Generator | None = None) -> Tensor:
    """Overwrite W with sqrt(2 / n_prev) N(0, 1). Source: torch.nn.init.kaiming_normal_, fan_in."""
    return nn.init.kaiming_normal_(W, nonlinearity="relu", generator=generator)


#: every initializer by name; the same keys as `scratch.initializers.INITIALIZERS`.
INITIALIZERS: Mapping[str, Callable[[Tensor, Generator | None], Tensor]] = {
    "zeros": zeros,
    "constant": constant,
    "small_normal": small_normal,
    "small_uniform": small_uniform,
    "large_normal": large_normal,
    "xavier": xavier,
    "glorot": glorot,
    "he": he,
}


@validated(
    module=Instance(nn.Module),
    initializer=OneOf(INITIALIZERS),
    generator=_GENERATOR,
)
def initialize(module: nn.Module, initializer: str, generator: Generator | None = None) -> None:
    """Overwrite the parameters of `module`: each W drawn, first layer first, each b zero.

    Batch norm begins with gamma = 1 and beta = 0.

    Source: torch.nn.init.
    """
    for name, parameter in parameters(module).items():
        if name.startswith("W"):
            INITIALIZERS[initializer](parameter, generator)
        elif name.startswith("gamma"):
            nn.init.ones_(parameter)
        else:
            nn.init.zeros_(parameter)
