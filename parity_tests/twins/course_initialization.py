"""The course's initializations: `scratch.course.initialization`, to the last bit of NumPy's."""

from __future__ import annotations

import numpy as np

from parity_tests.twins._course import drawn
from scratch.course import initialization as ours

# fmt: off
TWINS = (
    drawn(ours.initialize_parameters_zeros, lambda randn, n_prev: 0 * np.abs(randn),
          "W = 0, b = 0"),
    drawn(ours.initialize_parameters_random, lambda randn, n_prev: 10 * randn,
          "W = 10 randn of seed 3, b = 0"),
    drawn(ours.initialize_parameters_he, lambda randn, n_prev: randn * np.sqrt(2 / n_prev),
          "W = sqrt(2 / n_prev) randn of seed 3, b = 0"))
# fmt: on
