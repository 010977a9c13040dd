"""Train one experiment in PyTorch, from the weights and batches of train_scratch.py.

python scripts/train_torch.py --experiment digits --device cpu --out out/torch-digits.json
"""

from __future__ import annotations

from argparse import ArgumentTypeError

import torch

from runs import torch_side
from runs.command_line import leave, train


def device(name: str) -> str:
    if name == "cuda" and not torch.cuda.is_available():
        raise ArgumentTypeError("no CUDA device is here; use --device cpu")
    return name


def main(argv: list[str] | None = None) -> int:
    torch.set_float32_matmul_precision("highest")  # IEEE float32 on CUDA, not TF32
    return train(__doc__, "torch", torch_side.set_up, argv, device)


if __name__ == "__main__":
    leave(main)
