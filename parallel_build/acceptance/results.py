"""What runs of the acceptance suite found, each under a name, kept in the run folder and laid side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallel_build import private_file
from parallel_build.errors import ConfigurationError

FOLDER = "acceptance"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
NOT_RUN = "not run"
LONGEST = 300  # letters of a reason that are kept


@dataclass
class Outcome:
    """How one test went.

    Attributes:
        why: what failed, or why it was skipped.
    """

    outcome: str
    seconds: float = 0.0
    why: str = ""


@dataclass
class Run:
    """One run of the suite.

    Attributes:
        name: `before`, `after` or any other.
        began: when, ISO 8601.
        url: the API that was tested.
        tests: by their names, in the order in which they ran.
        whole: the run came to its end.
    """

    name: str
    began: str
    url: str
    tests: dict[str, Outcome] = field(default_factory=dict)
    whole: bool = False

    def write(self, path: Path) -> None:
        """Keep it, for the operator alone."""
        tests = {name: vars(outcome) for name, outcome in self.tests.items()}
        private_file.replace(path, json.dumps({**vars(self), "tests": tests}, indent=1))

    def counted(self) -> str:
        """Its numbers in words."""
        numbers = [(kind, sum(each.outcome == kind for each in self.tests.values())) for kind in (PASSED, FAILED, SKIPPED)]
        return ", ".join(f"{number} {kind}" for kind, number in numbers) + ("" if self.whole else "; cut off before its end")


def path(folder: Path, name: str) -> Path:
    """Where the run of that name is kept.

    Raises:
        ConfigurationError: it is no name.
    """
    if not NAME.match(name):
        raise ConfigurationError(
            f"{name!r} is no name of a run",
            "a name is small letters, digits and -, and begins with a letter or digit",
            "such as: before, after",
        )
    return folder / FOLDER / f"{name}.json"


def read(folder: Path) -> list[Run]:
    """Every run that is kept, the oldest first; one that can't be read is left out."""
    found = []
    for file in (folder / FOLDER).glob("*.json"):
        try:
            found.append(_of(json.loads(file.read_text())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda run: run.began)


def _of(document: Mapping[str, Any]) -> Run:
    tests = {str(name): Outcome(str(of["outcome"]), float(of["seconds"]), str(of["why"])) for name, of in document["tests"].items()}
    return Run(str(document["name"]), str(document["began"]), str(document["url"]), tests, bool(document["whole"]))


def side_by_side(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A row for each test: its name in words, and what it gave in each run."""
    names = dict.fromkeys(name for run in runs for name in run.tests)
    return [(in_words(name), *(_cell(run, name) for run in runs)) for name in names]


def in_words(name: str) -> str:
    """A test's name as a sentence."""
    return name.partition("test_")[2].replace("_", " ") or name


def _cell(run: Run, name: str) -> str:
    found = run.tests.get(name)
    if found is None:
        return NOT_RUN
    return found.outcome + (f": {found.why}" if found.why else "")


def broken_since(before: Run, after: Run) -> list[str]:
    """Tests that passed before and fail now."""
    failed = (name for name, outcome in after.tests.items() if outcome.outcome == FAILED)
    return [name for name in failed if before.tests.get(name, Outcome(NOT_RUN)).outcome == PASSED]


def named(runs: Iterable[Run], name: str) -> Run | None:
    """The run of that name."""
    return next((run for run in runs if run.name == name), None)
