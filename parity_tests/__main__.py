"""What the proof offers on the command line: why torch's numbers differ from the course's.

python -m parity_tests conventions              # every convention in one table
python -m parity_tests conventions adam         # what to type, and the size of each mistake
python -m parity_tests conventions --markdown   # the table for a README

Exit status: 0 when every right translation is inside its budget and every wrong one outside, 1 when
one is not, 2 for bad arguments, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from parity_tests import registry
from parity_tests.conventions import Finding, examine
from parity_tests.files import make_room, write_whole

#: exit statuses, those of scripts/.
AGREED, PARTED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the conventions that are asked for, print them, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    conventions = commands.add_parser(
        "conventions",
        help="what the course writes, what torch calls it, and how wrong each mistake is",
        description="Measure, here and now, torch's spelling of each formula of the course and "
        "the translations that only look right.",
    )
    conventions.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="part of a name, topic or mistake, such as adam, schedules or dampening; without any, "
        "all in one table",
    )
    conventions.add_argument("--json", type=Path, metavar="PATH", help="write every number as JSON")
    conventions.add_argument("--markdown", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args(argv)
    try:
        chosen = registry.find(arguments.names, registry.REGISTRY)
    except ValueError as error:
        conventions.error(str(error))
    try:
        if arguments.json:
            make_room(arguments.json)
        findings = [examine(convention) for convention in chosen]
        if arguments.json:
            report = registry.as_data(findings)
            write_whole(arguments.json, json.dumps(report, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        conventions.error(f"expected --json to name a file that can be written: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    _print(_report(findings, bool(arguments.names), arguments.markdown))
    return PARTED if any(finding.failures for finding in findings) else AGREED


def _report(findings: Sequence[Finding], detailed: bool, markdown: bool) -> str:
    if markdown:
        return registry.as_markdown(findings)
    body = registry.as_details if detailed else registry.as_table
    return f"{body(findings)}\n\n{registry.summary(findings)}"


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
