"""Commands of the proof: why torch's numbers differ from the course's, and which side is worse.

python -m parity_tests conventions              # every convention, and the size of each mistake
python -m parity_tests conventions adam         # one of them in detail
python -m parity_tests accuracy                 # where torch, or scratch, is the less accurate one

Exit status: 0 when every right translation is inside its budget and every wrong one outside, or
every row about accuracy is true, 1 when one is not, 2 for bad arguments, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from parity_tests import accuracy, conventions

#: exit statuses, those of scripts/.
AGREED, PARTED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rows that are asked for, print them, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="command", dest="command", required=True)
    told = "what the course writes, what torch calls it, and how wrong each mistake is"
    table = commands.add_parser("conventions", help=told)
    table.add_argument("--json", type=Path, metavar="PATH", help="write every number as JSON")
    told = "where torch, or scratch, is further from the truth than the other"
    accurate = commands.add_parser("accuracy", help=told)
    parts = {table: "name, topic or mistake, such as adam", accurate: "name, such as bce"}
    for command, part in parts.items():
        command.add_argument("names", nargs="*", metavar="NAME", help=f"part of a {part}; or all")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "accuracy":
            text, fine = accuracy.report(arguments.names)
        else:
            text, fine = conventions.report(arguments.names, arguments.json)
    except ValueError as error:
        commands.choices[arguments.command].error(str(error))
    except OSError as error:
        table.error(f"expected --json to name a file that can be written: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        print(text, flush=True)
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return AGREED if fine else PARTED


if __name__ == "__main__":
    sys.exit(main())
