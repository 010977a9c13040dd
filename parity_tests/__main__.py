"""Commands of the proof: why torch's numbers differ from the course's, and which side is worse.

python -m parity_tests conventions              # every convention in one table
python -m parity_tests conventions adam         # what to type, and the size of each mistake
python -m parity_tests conventions --markdown   # the table for a README
python -m parity_tests accuracy                 # where torch, or scratch, is the less accurate one

Exit status: 0 when every right translation is inside its budget and every wrong one outside, or
every row about accuracy is true, 1 when one is not, 2 for bad arguments, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from parity_tests import accuracy, conventions
from parity_tests.compare.files import make_room, write_whole
from parity_tests.findings import Finding, examine

#: exit statuses, those of scripts/.
AGREED, PARTED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the conventions that are asked for, print them, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="command", dest="command", required=True)
    table = commands.add_parser(
        "conventions",
        help="what the course writes, what torch calls it, and how wrong each mistake is",
        description="Measure, here and now, torch's spelling of each formula of the course and "
        "the translations that only look right.",
    )
    table.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="part of a name, topic or mistake, such as adam, schedules or dampening; without any, "
        "all in one table",
    )
    table.add_argument("--json", type=Path, metavar="PATH", help="write every number as JSON")
    table.add_argument("--markdown", action="store_true", help="print a Markdown table")
    accurate = commands.add_parser(
        "accuracy",
        help="where torch, or scratch, is further from the truth than the other",
        description="Measure, here and now, how far both sides are from a longdouble run where one "
        "of them loses digits that the other keeps.",
    )
    accurate.add_argument(
        "names", nargs="*", metavar="NAME", help="part of a name, such as bce or float32; or all"
    )
    arguments = parser.parse_args(argv)
    if arguments.command == "accuracy":
        return _appraise(accurate, arguments.names)
    try:
        chosen = conventions.find(arguments.names, conventions.conventions())
    except ValueError as error:
        table.error(str(error))
    try:
        if arguments.json:
            make_room(arguments.json)
        findings = [examine(row) for row in chosen]
        if arguments.json:
            report = conventions.as_data(findings)
            write_whole(arguments.json, json.dumps(report, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        table.error(f"expected --json to name a file that can be written: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    _print(_report(findings, bool(arguments.names), arguments.markdown))
    return PARTED if any(finding.failures for finding in findings) else AGREED


def _appraise(parser: argparse.ArgumentParser, names: Sequence[str]) -> int:
    try:
        found = [accuracy.appraise(row) for row in accuracy.find(names)]
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    _print("\n".join(accuracy.as_lines(found)))
    return PARTED if any(one.failure for one in found) else AGREED


def _report(findings: Sequence[Finding], detailed: bool, markdown: bool) -> str:
    if markdown:
        return conventions.as_markdown(findings)
    body = conventions.as_details if detailed else conventions.as_table
    return f"{body(findings)}\n\n{conventions.summary(findings)}"


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
