"""Tests that fail next to others are tried once more, alone: seen on real runs of pytest in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallel_build.project import PROJECT
from tools import second_try, test_parts
from tools.test_parts import Part

pytestmark = pytest.mark.processes

ONCE = """
from pathlib import Path
def test_once():
    seen = Path(__file__).with_name("{name}.seen")
    before = seen.exists()
    seen.touch()
    assert before, "meets a busy machine"
def test_good():
    pass
"""
ALWAYS = "def test_always():\n    assert False\n"


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> int:
    """Run a part for each file."""
    (folder / "tests").mkdir()
    for name, text in files.items():
        (folder / f"tests/test_{name}.py").write_text(text.format(name=name))
    monkeypatch.setattr(test_parts, "PROJECT", folder)
    parts = tuple(Part(name, ("-q", "-p", "no:cacheprovider", f"tests/test_{name}.py")) for name in files)
    monkeypatch.setattr(test_parts, "PARTS", parts)
    monkeypatch.setattr(test_parts, "NAMES", tuple(files))
    return test_parts.main([])


def test_what_passes_alone_is_good_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, monkeypatch, first=ONCE, whole="def test_good():\n    pass\n") == 0
    printed = capsys.readouterr().out
    assert "meets a busy machine" in printed
    assert "== failed next to others and passed alone, look for the cause: tests/test_first.py::test_once" in printed
    assert "== first: passed in" in printed and "(1 only the second time)" in printed and "3 passed, 0 failed, 0 skipped" in printed
    assert printed.count("== whole: -m pytest") == 1


def test_what_fails_again_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, monkeypatch, first=ONCE, never=ALWAYS) == 1
    printed = capsys.readouterr().out
    assert "== never: FAILED" in printed and "passed alone, look for the cause: tests/test_never" not in printed
    assert "3 passed" not in printed and "1 failed, 0 skipped" in printed


def test_many_failures_are_no_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"n{number}" for number in range(second_try.MOST + 1)]
    assert run(tmp_path, monkeypatch, **dict.fromkeys(names, ONCE)) == 1
    assert capsys.readouterr().out.count(": -m pytest --tb=short") == len(names)


def test_what_can_not_be_collected_gets_no_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, first=ONCE, broken="import nothing_of_that_name\n") == 1
    assert capsys.readouterr().out.count(": -m pytest --tb=short") == 2


SKIPPED_THEN = """
from pathlib import Path
import pytest
def test_needs_a_lab():
    seen = Path(__file__).with_name("{name}.seen")
    if seen.exists():
        pytest.skip("the lab is gone")
    seen.touch()
    assert False
def test_good():
    pass
def test_good_too():
    pass
"""


def test_what_is_skipped_the_second_time_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, first=SKIPPED_THEN) == 1
    printed = capsys.readouterr().out
    assert printed.count("== first: -m pytest") == 2 and "== first: FAILED" in printed and "passed alone" not in printed


ENDS_EARLY = (
    ONCE
    + """
def test_interrupted():
    seen = Path(__file__).with_name("{name}.interrupted")
    before = seen.exists()
    seen.touch()
    if not before:
        raise KeyboardInterrupt
"""
)


def test_a_part_that_ended_early_gets_no_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, first=ENDS_EARLY) == 1
    printed = capsys.readouterr().out
    assert printed.count("== first: -m pytest") == 1 and "pytest ended with exit code 2" in printed


CLASSES = "\n".join(f"class TestN{number}:\n    def test_same(self):\n        assert False\n" for number in range(second_try.MOST + 1))


def test_tests_of_one_name_in_several_classes_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, first=CLASSES) == 1
    printed = capsys.readouterr().out
    assert printed.count("== first: -m pytest") == 1 and f"0 passed, {second_try.MOST + 1} failed, 0 skipped" in printed


FOUND = """
import os, random
from pathlib import Path
def test_drawn():
    seed, seen = os.environ.get("CUTOVER_CHAOS_SEED") or str(random.random()), Path(__file__).with_name("{name}.seen")
    before = seen.read_text() if seen.exists() else ""
    seen.write_text(seed)
    assert before and before != seed, "fails wherever this seed is drawn"
"""


def test_what_was_drawn_at_random_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUTOVER_CHAOS_SEED", "")
    assert run(tmp_path, monkeypatch, first=FOUND) == 1
    printed = capsys.readouterr().out
    assert printed.count("== first: -m pytest") == 2 and "== first: FAILED" in printed


DRAWS = re.compile(r"""(?:environ\.get|getenv)\(["'](\w+)["']\)? or .*(?:SystemRandom|strftime|time\.time|urandom|secrets\.)""")


def test_every_seed_that_differs_between_two_runs_is_the_runs() -> None:
    """Of a test that draws something else each time, a second try would only show that chance has met nothing."""
    drawn: set[str] = set()
    for path in (PROJECT / "tests").rglob("test_*.py"):
        text = path.read_text()
        drawn |= set(DRAWS.findall(text))
        chance = [line for line in text.splitlines() if "SystemRandom()" in line and not DRAWS.search(line)]
        assert path == Path(__file__) or chance == [], path
    assert drawn == set(test_parts.DRAWN)


REPORT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest">
<testcase classname="tests.test_a" name="test_fell"><failure message="assert False">E  assert False</failure></testcase>
<testcase classname="tests.test_a" name="test_fell"><error message="failed on teardown">x</error></testcase>
<testcase classname="tests.test_a.TestOne" name="test_good"/>
<testcase classname="tests.test_a" name="test_left"><skipped message="no lab"/></testcase>
<testcase classname="tests.test_a" name="test_crash"><failure message="worker 'gw0' crashed while running 'tests/test_a.py::test_crash'">x</failure></testcase>
<testcase classname="" name="tests.test_b"><error message="collection failure">x</error></testcase>
</testsuite></testsuites>"""


def test_a_report_is_read_test_by_test(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").touch()
    (tmp_path / "report.xml").write_text(REPORT)
    found = second_try.read(tmp_path / "report.xml", tmp_path)
    file = "tests/test_a.py"
    assert found.failed == {f"{file}::test_fell": file, f"{file}::test_crash": "", "::tests.test_b": ""}
    assert [*found.passed] == [f"{file}::TestOne::test_good"] and [*found.skipped] == [f"{file}::test_left"]
    assert not second_try.may_have_one([found.failed]), "a crash of a process is no failure of one test"
