"""`scripts/test` runs every test there is, each in one part: every mark has a part, the default leaves the marked ones out, what a part names exists."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_build.project import PROJECT
from tests.conftest import PART_MARKS, WHOLE_FILE, misplaced
from tools.test_parts import PARTS, Part

OPTIONS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
DEFAULT = OPTIONS["addopts"][OPTIONS["addopts"].index("-m") + 1]
COLLECT = """
import json, sys, pytest
class Kept:
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        json.dump([(item.nodeid, sorted({mark.name for mark in item.iter_markers()})) for item in items], open(sys.argv[1], "w"))
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-m", "", "tests"], plugins=[Kept()]))
"""


def marks_of(part: Part) -> str:
    """Which tests a part chooses by their marks."""
    words = list(part.tests)
    return words[words.index("-m") + 1] if "-m" in words else DEFAULT


def places(part: Part) -> list[str]:
    """Where it looks for them."""
    return [word for word in part.tests if Path(word).parts[0] == "tests"] or OPTIONS["testpaths"]


def files() -> set[str]:
    """What the parts of containers name."""
    return {word for part in PARTS for word in places(part) if word.endswith(".py")}


def test_every_file_of_tests_on_containers_is_in_a_part() -> None:
    slow = {
        str(path.relative_to(PROJECT)) for path in (PROJECT / "tests/containers").glob("test_*.py") if "mark.containers" in path.read_text()
    }
    assert slow
    assert slow - files() == set()


def test_what_a_part_names_exists() -> None:
    assert [name for part in PARTS for name in places(part) if not (PROJECT / name).exists()] == []


def test_every_mark_is_run_by_a_part_and_left_out_by_default() -> None:
    assert {line.partition(":")[0] for line in OPTIONS["markers"]} == PART_MARKS
    assert set(DEFAULT.split(" and ")) == {f"not {mark}" for mark in PART_MARKS}
    slow = Counter(marks_of(part) for part in PARTS if part.tests and part.name != "fast")
    assert set(slow) == PART_MARKS
    assert {mark for mark, parts in slow.items() if parts > 1} == {"containers"}, "these are parts of files"
    assert [marks_of(part) for part in PARTS if part.name == "fast"] == [DEFAULT]


@pytest.mark.parametrize(
    ("name", "marks", "words"),
    [
        ("tests/fast/x.py::test_a", set(), None),
        ("tests/fast/x.py::test_a", {"processes", "parametrize"}, None),
        ("tests/containers/x.py::test_a", {"databases"}, None),
        ("parallel_build/acceptance/lines/x.py::test_a", set(), None),
        ("tests/fast/x.py::test_a", {"engine", "processes"}, "is in two parts: engine, processes"),
        ("tests/containers/x.py::test_a", {"timeout"}, "is in no part: mark it"),
        ("tests/containers/x.py::test_a", {"engine"}, "is in no part: engine is run in"),
    ],
)
def test_a_test_of_no_part_or_two_is_refused_when_it_is_collected(name: str, marks: set[str], words: str | None) -> None:
    found = misplaced({name: marks})
    assert len(found) == (words is not None) and all(str(words) in each for each in found)


def test_a_file_that_is_left_out_is_another_parts_as_a_whole() -> None:
    for text in (
        "pytestmark = pytest.mark.engine\n",
        "x = 1\npytestmark = [\n    pytest.mark.engine,\n]\n",
        "pytestmark = [pytest.mark.engine]\n",
    ):
        found = WHOLE_FILE.search(text)
        assert found is not None and found[1] == "engine"
    assert WHOLE_FILE.search("    pytestmark = pytest.mark.engine\n@pytest.mark.engine\n") is None


@pytest.mark.processes
def test_every_test_is_in_exactly_one_part(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", COLLECT, str(tmp_path / "all")], cwd=PROJECT, check=True, capture_output=True, timeout=100)
    found: list[tuple[str, list[str]]] = json.loads((tmp_path / "all").read_text())
    assert len(found) > 5000

    def parts(name: str, marks: list[str]) -> Iterator[str]:
        for part in PARTS:
            if part.tests and any(name.startswith((f"{place}/", f"{place}::")) for place in places(part)):
                wanted = marks_of(part)
                if wanted in marks or (wanted == DEFAULT and not PART_MARKS & set(marks)):
                    yield part.name

    assert {name: run for name, marks in found if len(run := list(parts(name, marks))) != 1} == {}
