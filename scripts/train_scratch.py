"""Train one experiment by hand in NumPy; torch is never imported.

python scripts/train_scratch.py --experiment digits --out out/scratch-digits.json
"""

from __future__ import annotations

from runs import scratch_side
from runs.command_line import leave, read_flags, train
from runs.start import draw


def main(argv: list[str] | None = None) -> int:
    arguments, experiment, path = read_flags(str(__doc__), "scratch", argv)
    start = draw(experiment, arguments.dtype)
    return train("scratch", scratch_side.set_up(start), start, arguments, path)


if __name__ == "__main__":
    leave(main)
