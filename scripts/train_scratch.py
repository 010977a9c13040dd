"""Train one experiment by hand in NumPy; torch is never imported.

python scripts/train_scratch.py --experiment digits --out out/scratch-digits.json
"""

from __future__ import annotations

from runs import scratch_side
from runs.command_line import leave, train


def main(argv: list[str] | None = None) -> int:
    return train(__doc__, "scratch", scratch_side.set_up, argv)


if __name__ == "__main__":
    leave(main)
