"""The catalogue of planted bugs: each fits its module, compiles, and says where it was seen.

That the suite fails on each is shown by `scripts/planted_bugs.py`, which plants them in turn.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import scratch
from parity_tests.planted_bugs import PLANTED_BUGS
from parity_tests.planting import PlantedBug
from parity_tests.tests.house.test_architecture import proof_path

SCRATCH = Path(scratch.__file__).parent

#: the concepts that tests stand for: the stems, and the modules of the course.
CONCEPTS = {path.stem for path in SCRATCH.glob("[a-z]*.py")}
COURSE = {f"course_{path.stem}" for path in (SCRATCH / "course").glob("[a-z]*.py")}


def source(module):
    """Return the source of a module of scratch."""
    return (SCRATCH.parent / f"{module.replace('.', '/')}.py").read_text()


@pytest.mark.parametrize("module", sorted({bug.module for bug in PLANTED_BUGS}))
def test_the_bugs_of_a_module_fit_it(module):
    """What a bug replaces stands there once, what it makes is a program, and it was seen."""
    honest = source(module)
    for bug in PLANTED_BUGS:
        if bug.module == module:
            planted = bug.plant(honest)
            assert planted != honest, bug.name
            ast.parse(planted, bug.name)
            assert bug.seen.strip(), bug.name


def test_names_are_unique_and_there_are_enough():
    """At least sixty bugs, each with a name of its own and a change of its own."""
    assert len(PLANTED_BUGS) >= 60
    assert len({bug.name for bug in PLANTED_BUGS}) == len(PLANTED_BUGS)
    assert len({(bug.module, bug.old, bug.new) for bug in PLANTED_BUGS}) == len(PLANTED_BUGS)


def test_every_concept_has_a_bug():
    """No stem and no module of the course is left untried, and each has its tests."""
    concepts = {bug.concept for bug in PLANTED_BUGS}
    assert concepts == CONCEPTS | COURSE
    assert [one for one in concepts if not proof_path(one).is_file()] == []


@pytest.mark.parametrize("old", ["what is not there", "A"])
def test_a_bug_that_does_not_fit_is_refused(old):
    """Text that is missing, or stands in many places, is no place to plant in."""
    bug = PlantedBug(
        name="misfit", module="scratch.linear", concept="linear", old=old, new="", seen="here"
    )
    with pytest.raises(
        ValueError, match=r"to stand in scratch\.linear once, for misfit, got \d+ times"
    ):
        bug.plant(source("scratch.linear"))
