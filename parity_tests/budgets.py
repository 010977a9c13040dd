"""How far the sides may part, in eps of the compared dtype, each bound named after its cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A bound on max|ours - theirs| / gauge, in eps or, where eps is not the cause, as it is."""

    name: str
    eps: float = 0.0
    relative: float = 0.0

    def in_eps(self, eps: float) -> float:
        """Return the bound in units of `eps`."""
        return self.eps + self.relative / eps


#: a few dependent float operations on one value, and one matrix product under its own gauge.
FORWARD = Budget(name="forward round-off", eps=16)

#: the backward of the same operations, each product of factors that were rounded before.
GRADIENT = Budget(name="gradient round-off", eps=64)

#: an optimizer step rounds a handful of times, and what hundreds of steps leave behind adds up.
STEP = Budget(name="optimizer round-off", eps=64)

#: float32 is held against a float64 run: ours may err twice what torch does, plus this.
FLOAT32_FLOOR = Budget(name="float32 floor", eps=4)

#: the same through the layers of a network, in which torch may happen to round to the exact value.
FLOAT32_NETWORK = Budget(name="float32 floor", eps=16)

#: steps and weights, over 12, of central differences of fourth order: two steps each way, so that
#: steep functions such as the log of a small probability are seen as sharply as flat ones.
DIFFERENCE_STENCIL = {-2: 1, -1: -8, 1: 8, 2: -1}

#: they see about eleven digits in extended precision, about seven in float64.
WIDE = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
DIFFERENCE_STEP = 1e-6 if WIDE else 1e-3
FINITE_DIFFERENCE = Budget(name="finite difference", relative=1e-10 if WIDE else 1e-7)

#: a whole training: each step rounds anew, and the network amplifies what came before. This is
#: 1e-10 in float64 and a twentieth in float32, where the float64 runs must agree as well.
TRAINING = Budget(name="training round-off", eps=1e-10 / np.finfo(np.float64).eps)
