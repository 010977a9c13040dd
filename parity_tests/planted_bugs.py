"""Planted bugs: mistakes of this field, each of which the suite must notice where it belongs.

`python scripts/planted_bugs.py` types each into `scratch` and runs the tests of its concept.
"""

from __future__ import annotations

from parity_tests.planted_costs import COST_BUGS
from parity_tests.planted_course import COURSE_BUGS
from parity_tests.planted_data import DATA_BUGS
from parity_tests.planted_layers import LAYER_BUGS
from parity_tests.planted_optimizers import OPTIMIZER_BUGS
from parity_tests.planting import PlantedBug

#: every planted bug, in the order of the concepts.
PLANTED_BUGS: tuple[PlantedBug, ...] = (
    *LAYER_BUGS,
    *COST_BUGS,
    *OPTIMIZER_BUGS,
    *DATA_BUGS,
    *COURSE_BUGS,
)
