"""Train one experiment in PyTorch, from the weights and batches of train_scratch.py.

python scripts/train_torch.py --experiment digits --device cpu --out out/torch-digits.json
"""

from __future__ import annotations

import sys

import torch

from runs import torch_side
from runs.command_line import BAD_ARGUMENTS, leave, read_flags, train
from runs.start import draw


def main(argv: list[str] | None = None) -> int:
    arguments, experiment, path = read_flags(str(__doc__), "torch", argv, ("cpu", "cuda"))
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("train_torch.py: error: no CUDA device is here; use --device cpu", file=sys.stderr)
        return BAD_ARGUMENTS
    torch.set_float32_matmul_precision("highest")  # IEEE float32 on CUDA, not TF32
    start = draw(experiment, arguments.dtype)
    return train("torch", torch_side.set_up(start, arguments.device), start, arguments, path)


if __name__ == "__main__":
    leave(main)
