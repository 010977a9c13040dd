"""The curve of the costs that the assignments draw at the end of a training."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Sequence


def plot_costs(costs: Sequence[float], xlabel: str, learning_rate: float) -> None:
    """Draw the costs on matplotlib's current figure, where it is installed and a display is there.

    Where something is drawn on its axes already, such as another training, on a new figure.
    Never waits for a window to be closed, and never fails: an absent library and a display that is
    absent or broken, each in its own way, must not cost a finished training.
    """
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a backend without display warns when it is to show
        # by importlib and only now: NumPy is all that this package needs
        pyplot = importlib.import_module("matplotlib.pyplot")
        if pyplot.gca().has_data():
            pyplot.figure()
        pyplot.plot(costs)
        pyplot.ylabel("cost")
        pyplot.xlabel(xlabel)
        pyplot.title(f"Learning rate = {learning_rate}")
        pyplot.show(block=False)
