"""Train one experiment in PyTorch, from the weights and batches of train_scratch.py.

python scripts/train_torch.py --experiment digits --device cpu --out out/torch-digits.json
"""

from __future__ import annotations

import sys
from contextlib import suppress

import torch

from command_line import BAD_ARGUMENTS, Bar, draw, read_flags, report
from parity_tests.bridge import rows, twin
from torch_ref.optimizers import OPTIMIZERS
from torch_ref.training import History, evaluate, train


def main(argv: list[str] | None = None) -> int:
    """Run the experiment that the flags name, write its history and picture."""
    arguments, experiment, path = read_flags(str(__doc__), "torch", argv, ("cpu", "cuda"))
    device = arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        print("train_torch.py: error: no CUDA device is here; use --device cpu", file=sys.stderr)
        return BAD_ARGUMENTS
    torch.set_float32_matmul_precision("highest")  # IEEE float32 on CUDA, not TF32
    draws = draw(experiment, arguments.dtype)
    module = twin(draws.network, draws.parameters, device)
    X, Y, X_dev, Y_dev, X_test, Y_test = (rows(one, device) for pair in draws.data for one in pair)
    optimizer = OPTIMIZERS[experiment.optimizer](
        module.parameters(), learning_rate=experiment.learning_rate
    )
    history = History()
    with Bar(draws.steps) as bar, suppress(KeyboardInterrupt):  # report what was reached
        train(
            module,
            X,
            Y,
            optimizer=optimizer,
            dev=(X_dev, Y_dev),
            history=history,
            callbacks=[bar],
            **draws.run(),
        )
    _, test_accuracy = evaluate(module, X_test, Y_test)
    return report("torch", arguments, experiment, history, test_accuracy, path)


if __name__ == "__main__":
    sys.exit(main())
