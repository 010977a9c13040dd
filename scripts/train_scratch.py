"""Train one experiment by hand in NumPy; torch is never imported.

python scripts/train_scratch.py --experiment digits --out out/scratch-digits.json
"""

from __future__ import annotations

import sys
from contextlib import suppress

from command_line import Bar, draw, read_flags, report
from scratch.optimizers import OPTIMIZERS
from scratch.training import History, evaluate, train


def main(argv: list[str] | None = None) -> int:
    """Run the experiment that the flags name, write its history and picture."""
    arguments, experiment, path = read_flags(str(__doc__), "scratch", argv)
    draws = draw(experiment, arguments.dtype)
    history = History()
    with Bar(draws.steps) as bar, suppress(KeyboardInterrupt):  # report what was reached
        train(
            draws.network,
            draws.parameters,
            *draws.data.train,
            optimizer=OPTIMIZERS[experiment.optimizer](learning_rate=experiment.learning_rate),
            dev=draws.data.dev,
            history=history,
            callbacks=[bar],
            **draws.run(),
        )
    _, test_accuracy = evaluate(draws.parameters, *draws.data.test, draws.network)
    return report("scratch", arguments, experiment, history, test_accuracy, path)


if __name__ == "__main__":
    sys.exit(main())
