"""Write the generated parts of README.md: what was just measured, and the public names.

python scripts/readme.py                  # everything but `deep`: five to ten minutes
python scripts/readme.py names            # one part of it
python scripts/readme.py names --check    # exit status 1 if that part is out of date
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
IMAGES = ROOT / "scripts" / "images"
PICTURE = IMAGES / "digits.png"

#: the tests of the concepts: generic ones of rows, and those of stems and of the course.
ROWS = "parity_tests/tests/test_twins.py"
CONCEPTS = (ROWS, "parity_tests/tests/stems", "parity_tests/tests/course")

#: pictures of scripts/figures.py that the README shows, so many pixels wide and colours each.
GALLERY = ("initializations", "saddle", "regularization")
WIDTH, COLOURS = 1000, 128


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise SystemExit(f"{ended.stdout}\n{' '.join(arguments)}: status {ended.returncode}")
    return ended.stdout


def report_of(script: str, flag: str = "--out", *more: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        run(*script.split(), f"{flag}={path}", *more)
        return json.loads(path.read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---" if index == 0 else "---:" for index in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def compare() -> str:
    PICTURE.parent.mkdir(exist_ok=True)
    run("scripts/compare.py", "--out", str(PICTURE))
    numbers = PICTURE.with_suffix(".json")
    summary = json.loads(numbers.read_text())
    numbers.unlink()
    rows = [
        [label, *(f"{value:{form}}" for value in summary[key])]
        for label, key, form in (
            ("cost after the last epoch", "cost", ".9f"),
            ("accuracy on the training set", "train_accuracy", ".4f"),
            ("accuracy on the held-out test set", "test_accuracy", ".4f"),
            ("seconds in training steps", "seconds", ".2f"),
        )
    ]
    return (
        f"![Cost curves of both sides and their difference]({PICTURE.relative_to(ROOT)})\n\n"
        f"{table(['digits, ' + summary['dtype'], 'scratch', 'torch'], rows)}\n\n"
        f"Largest parameter difference after {summary['steps']:,} steps: "
        f"{summary['largest_parameter_difference']:.1e} "
        f"({summary['error_in_eps']:.3g} eps units). `python scripts/compare.py`"
    )


def figures() -> str:
    pictures = importlib.import_module("pictures.catalogue").PICTURES
    with tempfile.TemporaryDirectory() as folder:
        run("scripts/figures.py", "--out", folder, "--only", *GALLERY)
        for name in GALLERY:
            with Image.open(Path(folder) / f"{name}.png") as drawn:
                height = round(drawn.height * WIDTH / drawn.width)
                small = drawn.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
                small.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)
    shown = []
    for name in GALLERY:
        path, seen = (IMAGES / f"{name}.png").relative_to(ROOT), pictures[name].description
        shown.append(f"{seen}.\n\n![{seen}]({path})")
    others = ", ".join(f"`{name}`" for name in pictures if name not in GALLERY)
    return "\n\n".join([*shown, f"`python scripts/figures.py` draws these and {others}."])


def benchmark() -> str:
    report = report_of("scripts/benchmark.py")
    form = "{shape}|{ratio:.2f}|{lowest:.2f}-{highest:.2f}|{goal:.2f}"
    rows = [form.format_map(one).split("|") for one in report["results"]]
    return (
        f"{table(['network, batch, dtype', 'scratch / torch', 'range', 'goal'], rows)}\n\n"
        f"Median of {report['pairs']} pairs of blocks, {report['threads']} threads, time of one "
        "training step with Adam. Logistic regression over 64 features and 1,000 examples takes "
        f"{report['loops']['ratio']:.0f} times as long in explicit loops as in matrices. "
        "`python scripts/benchmark.py`"
    )


def parity() -> str:
    report = report_of("-m pytest -q", "--parity-report", *CONCEPTS)
    causes = [f"{cause} round-off" for cause in ("forward", "gradient", "optimizer", "training")]
    comparisons, about = report["comparisons"], report["environment"]
    rows = []
    for concept in sorted({one["concept"] for one in comparisons}):
        mine = [one for one in comparisons if one["concept"] == concept]
        worst = [[one["error"] for one in mine if one["cause"] == cause] for cause in causes]
        for side in ("ours_error", "theirs_error"):
            worst.append([one[side] for one in mine if one[side] is not None])
        cells = [f"{max(errors):.3g}" if errors else "" for errors in worst]
        rows.append([concept, f"{len(mine):,}", *cells])
    budgets = {one["cause"]: one["budget"] for one in comparisons if one["budget"]}
    head = [f"{cause.split()[0]} (at most {budgets[cause]:.3g})" for cause in causes]
    head += ["ours from the truth", "torch's from the truth"]
    threads = f"{about['threads']} thread{'s' if about['threads'] > 1 else ''}"
    return (
        f"{table(['concept', 'comparisons', *head], rows)}\n\n"
        f"Worst error in eps units, NumPy {about['numpy']}, torch {about['torch']}, {threads}; the "
        "truth is a longdouble run of ours or, for float32, torch in float64. "
        "`python -m pytest --parity-report=report.json`"
    )


def mutation() -> str:
    """Return the score that scripts/mutation.py has written, whose whole run takes half an hour."""
    score = json.loads((ROOT / "scripts" / "mutation_score.json").read_text())
    told_apart = score["mutants"] - score["equivalent"]
    return (
        f"**Mutants: {score['killed']:,} of {told_apart:,} noticed, "
        f"{100 * score['killed'] / told_apart:.2f} %.** Every operator of cosmic-ray at every "
        "place of `scratch` and of torch_ref's translations of hyper-parameters makes "
        f"{score['mutants']:,} programs; {score['equivalent']} of them "
        f"({100 * score['equivalent'] / score['mutants']:.1f} %) no test can tell from the code, "
        "each listed with its reason in `scripts/equivalent_mutants.toml`. The tests of its own "
        f"stem noticed {100 * score['own_stem'] / score['killed']:.0f} %; {score['not_imported']} "
        f"could not be imported, {score['time_limit']} ran into a time limit, {score['crash']} "
        "ended their process. Measured "
        f"{score['date']} on one state of code and tests. `python scripts/mutation.py --fresh`"
    )


def planted() -> str:
    trials = [one for one in report_of("scripts/planted_bugs.py", "--json") if one["bug"]]
    caught = sum(one["as_expected"] for one in trials)
    packages = Counter(one["module"].partition(".")[0] for one in trials)
    where = ", ".join(f"{count} in `{package}`" for package, count in packages.most_common())
    return (
        f"**Planted bugs: {caught} of {len(trials)} caught by the tests of their own concept**, "
        f"{where}. Each is a mistake of this field, with where it was seen, in a row of "
        "`parity_tests/twins/` or beside the tests of the engine and the scripts. "
        "`python scripts/planted_bugs.py`"
    )


def deep() -> str:
    """Draw twenty times the examples of every row, some minutes; return their count."""
    said = re.search(
        r"hypothesis: ([\d,]+) examples",
        run("-m", "pytest", "-q", "--hypothesis-profile=deep", ROWS),
    )
    if said is None:
        raise SystemExit("expected the run to end with its count of examples")
    return (
        f"**Rows: {said[1]} drawn examples, no failure**, in the `deep` profile on "
        f"{date.today().isoformat()}; each run of the suite draws a twentieth of them. "
        "`python -m pytest --hypothesis-profile=deep`"
    )


def names() -> str:

    def row(stem: str, *modules: str) -> list[str]:
        public = (importlib.import_module(one).__all__ for one in modules)
        return [f"**{stem}**", *(", ".join(f"`{name}`" for name in each) for each in public)]

    def stems(folder: str) -> list[str]:
        return sorted(path.stem for path in (ROOT / folder).glob("[a-z]*.py"))

    sides = [row(stem, f"scratch.{stem}", f"torch_ref.{stem}") for stem in stems("scratch")]
    course = [row(one, f"scratch.course.{one}") for one in stems("scratch/course")]
    lines = [
        table(["stem", "`scratch`", "`torch_ref`"], sides),
        table(["course", "`scratch.course`"], course),
        row("", "parity_tests")[1],
    ]
    return "\n\n".join(lines[:2]).replace("---:", "---") + f"\n\n`parity_tests`: {lines[2]}"


PARTS: Mapping[str, Callable[[], str]] = {
    one.__name__: one
    for one in (compare, figures, benchmark, parity, mutation, planted, deep, names)
}

#: parts that take so long that they are made only when they are asked for.
SLOW = ("deep",)


def replaced(text: str, part: str, content: str) -> str:
    begin, end = f"<!-- begin {part}: generated by scripts/readme.py -->", f"<!-- end {part} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"expected {begin} and {end} in {README.name}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.parts) - PARTS.keys()
    if arguments.check and arguments.parts != ["names"]:
        parser.error("expected --check with names alone: the rest is measured anew each time")
    if unknown:
        parser.error(f"expected parts of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    text = README.read_text()
    for part in arguments.parts or [part for part in PARTS if part not in SLOW]:
        text = replaced(text, part, PARTS[part]())
        if not arguments.check:
            README.write_text(text)  # a later part may fail or be interrupted
    if arguments.check:
        stale = text != README.read_text()
        print(f"README.md is {'out of date: run scripts/readme.py' if stale else 'up to date'}")
        return int(stale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
