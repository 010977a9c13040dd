"""Commands of the proof: why torch's numbers differ from the course's, and which side is worse.

python -m parity_tests conventions         # formulas, what torch calls them, how wrong mistakes are
python -m parity_tests conventions adam    # some of them in detail
python -m parity_tests accuracy            # where torch, or scratch, is further from the truth

Exit status: 0 when every right translation is inside its budget and every wrong one outside, or
every row about accuracy is true, 1 when one is not, 2 for bad arguments, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from parity_tests import accuracy, findings

#: exit statuses, those of scripts/.
AGREED, PARTED, INTERRUPTED = 0, 1, 130

#: functions that measure what is asked for: its text, and whether all is well.
COMMANDS = {"conventions": findings.report, "accuracy": accuracy.report}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rows that are asked for, print them, return the exit status."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m parity_tests", None, __doc__, formatter_class=layout
    )
    parser.add_argument("command", choices=COMMANDS)
    told = "part of a name, or of a convention's topic or mistake, such as adam; without any, all"
    parser.add_argument("names", nargs="*", metavar="NAME", help=told)
    arguments = parser.parse_args(argv)
    try:
        text, fine = COMMANDS[arguments.command](arguments.names)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        print(text, flush=True)
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return AGREED if fine else PARTED


if __name__ == "__main__":
    sys.exit(main())
