"""The second try of tests that failed next to others: their files again, alone, once the other parts have ended.

It is for what meets a machine with two processors and eight programs on it, not for what is wrong: more than a few failures get none, the first failure
stays in what is printed, and the last lines name each test that needed it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MOST = 3
"""Tests of a whole run that get a second try; where more have failed it is no accident."""


CRASHED = "crashed while running"
"""pytest-xdist's words for a test with which its whole process ended."""


@dataclass(frozen=True)
class Results:
    """How each test of a run of pytest ended, by its name.

    Attributes:
        passed, skipped: names.
        failed: the file of each, relative to the project; empty for a file where a second try would prove nothing: it could not be collected, or its
            process crashed.
    """

    passed: frozenset[str]
    skipped: frozenset[str]
    failed: dict[str, str]


def read(report: Path, project: Path) -> Results:
    """Read a report.

    Args:
        report: as pytest's `--junitxml` writes it.
        project: the folder in which pytest ran.
    """
    ended: dict[str, set[str]] = {"passed": set(), "skipped": set()}
    failed: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314 - written by a pytest that was started by us
        file, within = _place(case.get("classname", ""), project)
        name = "::".join([file, *within, case.get("name", "")])
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if problem is not None:
            failed[name] = "" if CRASHED in problem.get("message", "") + (problem.text or "") else failed.get(name, file)
        else:
            ended["passed" if case.find("skipped") is None else "skipped"].add(name)
    return Results(frozenset(ended["passed"] - failed.keys()), frozenset(ended["skipped"] - failed.keys()), failed)


def _place(classname: str, project: Path) -> tuple[str, list[str]]:
    """The file of a test, and the classes within it."""
    words = [word for word in classname.split(".") if word]
    for end in range(len(words), 0, -1):
        path = PurePosixPath(*words[:end]).with_suffix(".py")
        if (project / path).is_file():
            return str(path), words[end:]
    return "", words


def arguments(tests: Sequence[str], failed: dict[str, str]) -> list[str]:
    """The arguments of a part's pytest with the files of failed tests in place of all its files."""
    options = [word for word in tests if PurePosixPath(word).parts[:1] != ("tests",)]
    return [*options, *sorted(set(failed.values()))]


def may_have_one(failed: Sequence[dict[str, str]]) -> bool:
    """Whether the failures of a run, one mapping a part, get a second try."""
    return 0 < sum(map(len, failed)) <= MOST and all(file for each in failed for file in each.values())
