"""Parameters: a mapping of named views into one contiguous vector theta."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scratch._validation import DTYPES, Array, Floats, Instance, describe, validated

__all__ = ["Parameters", "from_vector", "to_vector"]

Shapes = Mapping[str, tuple[int, ...]]


class Parameters(Mapping[str, Array]):
    """Named arrays {"W1", "b1", ...} that share one contiguous vector theta, in their order.

    Writing to a view writes to theta and the other way round; a name can be assigned to but neither
    added nor taken away. Raises TypeError for entries that are no floating NumPy arrays, ValueError
    for shapes that differ.

    Source: Course 2, week 1, "Gradient checking", where the parameters become one vector theta.
    """

    __slots__ = ("_layout", "_theta", "_views")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        """Copy `arrays`, all of one floating dtype, side by side."""
        if not isinstance(arrays, Mapping):
            raise TypeError(f"expected arrays to be a mapping of names, got {describe(arrays)}")
        if not arrays:
            raise ValueError("expected arrays to hold at least one name, got none")
        dtypes = {}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.type not in DTYPES:
                raise TypeError(
                    f"expected {name} to be a floating NumPy array, got {describe(array)}"
                )
            if not (array.size and np.isfinite(array).all()):
                raise ValueError(f"expected {name} to be finite and not empty, got {array}")
            dtypes[name] = array.dtype
        if len(set(dtypes.values())) > 1:
            raise TypeError(f"expected one dtype for all parameters, got {dtypes}")
        self._lay(
            np.concatenate([array.ravel() for array in arrays.values()]),
            {name: array.shape for name, array in arrays.items()},
        )

    def _lay(self, theta: Array, shapes: Shapes) -> None:
        """Make the views of `shapes` on theta itself, without a copy."""
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
        pieces = np.split(theta, ends[:-1])
        self._theta = theta
        self._layout = tuple(shapes.items())
        self._views = {
            name: piece.reshape(shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }

    @classmethod
    def empty(cls, shapes: Shapes, dtype: Any = np.float64) -> Parameters:
        """Return parameters of these shapes, all zero."""
        if np.dtype(dtype).type not in DTYPES:
            raise TypeError(f"expected dtype to be a floating dtype, got {dtype!r}")
        if not shapes:
            raise ValueError("expected shapes to hold at least one name, got none")
        made = cls.__new__(cls)
        size = sum(math.prod(shape) for shape in shapes.values())
        made._lay(np.zeros(size, dtype), shapes)
        return made

    @property
    def theta(self) -> Array:
        """All entries as one contiguous vector (N,), shared with the views."""
        return self._theta

    @property
    def layout(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The names and shapes in the order of theta, to be compared at once."""
        return self._layout

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each name, in order."""
        return {name: view.shape for name, view in self._views.items()}

    def copy(self) -> Parameters:
        """Return parameters of their own, equal to these."""
        made = self.zeros_like()
        made.theta[:] = self.theta
        return made

    def zeros_like(self) -> Parameters:
        """Return parameters of the same names, shapes and dtype, all zero."""
        return Parameters.empty(self.shapes, self.theta.dtype)

    def __getitem__(self, name: str) -> Array:
        """Return the view of that name."""
        return self._views[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Write `value` over the view of that name; its shape must be the view's."""
        view = self._views[name]
        if np.shape(value) != view.shape:
            raise ValueError(f"expected {name} of shape {view.shape}, got {np.shape(value)}")
        view[...] = value

    def __iter__(self) -> Iterator[str]:
        """Walk the names in the order of theta."""
        return iter(self._views)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._views)

    def __repr__(self) -> str:
        """Name the shapes and the dtype."""
        return f"Parameters({self.shapes}, dtype={self.theta.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and deep-copy without losing that the views share theta."""
        return _restore, (self.theta.copy(), self.shapes)


def _restore(theta: Array, shapes: Shapes) -> Parameters:
    made = Parameters.__new__(Parameters)
    made._lay(theta, shapes)
    return made


@validated(parameters=Instance(Parameters))
def to_vector(parameters: Parameters) -> Array:
    """Return a copy of theta, shape (N,): W1 row by row, then b1, W2, ...

    Source: Course 2, week 1, "Gradient checking".
    """
    return parameters.theta.copy()


@validated(like=Instance(Parameters, theta="N"), vector=Floats("N"))
def from_vector(vector: Array, like: Parameters) -> Parameters:
    """Return parameters with the names and shapes of `like` and the entries of `vector`, (N,).

    Source: Course 2, week 1, "Gradient checking".
    """
    return _restore(vector.copy(), like.shapes)
