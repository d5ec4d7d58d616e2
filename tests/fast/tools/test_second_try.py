"""Tests that fail next to others are tried once more, alone: seen on real runs of pytest in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

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
