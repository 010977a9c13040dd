"""Train one experiment by hand in NumPy; torch is never imported.

python scripts/train_scratch.py --experiment digits --out out/scratch-digits.json
"""

from __future__ import annotations

import sys

from command_line import AGREED, INTERRUPTED, Bar, draw, read_flags, report
from scratch.optimizers import OPTIMIZERS
from scratch.training import History, evaluate, train


def main(argv: list[str] | None = None) -> int:
    """Run the experiment that the flags name, write its history and picture."""
    arguments, experiment, path = read_flags(str(__doc__), "scratch", argv)
    draws = draw(experiment, arguments.dtype)
    history, status = History(), AGREED
    with Bar(draws.steps) as bar:
        try:
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
        except KeyboardInterrupt:
            status = INTERRUPTED
    _, test_accuracy = evaluate(draws.parameters, *draws.data.test, draws.network)
    report("scratch", arguments, experiment, history, test_accuracy, path)
    return status


if __name__ == "__main__":
    sys.exit(main())
