"""House: the stems, their public names, and which of them compute something."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import scratch

#: folder of `scratch`, and the stems in it: one concept each.
SCRATCH = Path(scratch.__file__).parent
STEMS = sorted(path.stem for path in SCRATCH.glob("[a-z]*.py"))

#: modules of the course's vocabulary, which stand on the core and have no twins.
COURSE = sorted(path.stem for path in (SCRATCH / "course").glob("[a-z]*.py"))

#: names without a computation of their own: fields, types and the values of a table.
DECLARATIONS = {"Callback", "Cost", "History", "Optimizer", "Schedule"}

#: functions that leave validation to the loop they walk, or to a check of rates that they share.
ELSEWHERE = {"train", "adam", "gradient_descent", "momentum", "rmsprop"}

#: arguments that a function, or those of a module, are there to overwrite.
OVERWRITTEN: dict[str, set[str]] = {
    "scratch.search.caviar": {"trials"},
    "scratch.training.train": {"parameters", "history"},
    "scratch.training.training_steps": {"parameters", "history"},
    "torch_ref.clipping.clip_by_global_norm": {"parameters"},
    "torch_ref.clipping.clip_by_value": {"parameters"},
    "torch_ref.initializers": {"W"},
    "torch_ref.initializers.initialize": {"module"},
    "torch_ref.parameters.from_vector": {"module"},
    "torch_ref.schedules": {"optimizer"},
    "torch_ref.search.caviar": {"trials"},
    "torch_ref.search.panda": {"module"},
    "torch_ref.training.train": {"module", "optimizer", "history"},
    "torch_ref.training.training_steps": {"module", "optimizer", "history"},
}

#: functions that draw from NumPy's global generator, as the notebook does.
DRAWS_FROM_NUMPY = {"scratch.course.planar.initialize_parameters"}


def key(name: str) -> str:
    """Return a name as twins share it: relu_forward and relu, GradientDescent, gradient_descent."""
    return re.sub("_(forward|backward)$", "", name).replace("_", "").lower()


def public(package: str, stem: str) -> dict[str, object]:
    """Return the public names of a module."""
    module = importlib.import_module(f"{package}.{stem}")
    return {name: getattr(module, name) for name in module.__all__}


def computes(name: str, value: object) -> bool:
    """Tell whether a public name computes something that can be compared."""
    if name in DECLARATIONS or name.endswith(("Cache", "State")):
        return False  # a state is compared with its optimizer, which refuses one held to nothing
    if isinstance(value, type) and issubclass(value, tuple | Warning):
        return False  # named fields of a result, or a warning
    return callable(value)
