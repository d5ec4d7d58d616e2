"""`scripts/test` runs every test there is: each slow file is in a part, and what a part names exists."""

from __future__ import annotations

from pathlib import Path

from parallel_build.project import PROJECT
from tools.test_parts import PARTS


def files() -> set[str]:
    """What the parts of containers name."""
    return {word for part in PARTS for word in part.tests if word.startswith("tests/") and word.endswith(".py")}


def test_every_file_of_tests_on_containers_is_in_a_part() -> None:
    slow = {
        str(path.relative_to(PROJECT)) for path in (PROJECT / "tests/containers").glob("test_*.py") if "mark.containers" in path.read_text()
    }
    assert slow
    assert slow - files() == set()


def test_what_a_part_names_exists() -> None:
    assert [name for name in files() if not (PROJECT / Path(name)).exists()] == []
