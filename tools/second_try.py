"""The second try of tests that failed next to others: their files again, alone, once the other parts have ended.

It is for what meets a machine with two processors and eight programs on it, not for what is wrong: more than a few failures get none, the first failure
stays in what is printed, and the last lines name each test that needed it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

MOST = 3
"""Tests of a whole run that get a second try; where more have failed it is no accident."""


def failures(report: Path, project: Path) -> dict[str, str]:
    """Tests that failed, each with its file.

    Args:
        report: as pytest's `--junitxml` writes it.
        project: the folder in which pytest ran.
    Returns:
        the file of each, relative to the project, by the test's name; empty for a file when none is found, as for a failure to collect.
    """
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314 - written by a pytest that was started by us
        if case.find("failure") is not None or case.find("error") is not None:
            file = _file(case.get("classname", ""), project)
            found[f"{file}::{case.get('name', '')}"] = file
    return found


def _file(classname: str, project: Path) -> str:
    words = [word for word in classname.split(".") if word]
    for end in range(len(words), 0, -1):
        path = PurePosixPath(*words[:end]).with_suffix(".py")
        if (project / path).is_file():
            return str(path)
    return ""


def arguments(tests: Sequence[str], failed: dict[str, str]) -> list[str]:
    """The arguments of a part's pytest with the files of failed tests in place of all its files."""
    options = [word for word in tests if PurePosixPath(word).parts[:1] != ("tests",)]
    return [*options, *sorted(set(failed.values()))]


def may_have_one(failed: Sequence[dict[str, str]]) -> bool:
    """Whether the failures of a run, one mapping a part, get a second try."""
    return 0 < sum(map(len, failed)) <= MOST and all(file for each in failed for file in each.values())
