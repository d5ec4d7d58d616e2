"""How a mutation score is read: what was found, and what kind of fault was not."""

from __future__ import annotations

import ast
import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tools import mutation
from tools.environment import CHECKOUT

MODULE = """
def x_judge__mutmut_orig(age, limit):
    if age > limit:
        raise ValueError("too old", "wait")
    return "young"

def x_judge__mutmut_1(age, limit):
    if age >= limit:
        raise ValueError("too old", "wait")
    return "young"

def x_judge__mutmut_2(age, limit):
    if age > limit:
        raise ValueError("XXtoo oldXX", "wait")
    return "young"

def x_judge__mutmut_3(age, limit):
    if age > limit:
        raise ValueError("too old", "wait")
    return "YOUNG"

def x_judge__mutmut_4(age, limit):
    if age > limit:
        raise ValueError(None, "wait")
    return "young"
"""


@pytest.mark.parametrize(("number", "kind"), [(1, "logic"), (2, "wording"), (3, "text"), (4, "logic")])
def test_only_the_words_of_an_error_are_wording(number: int, kind: str) -> None:
    functions = {each.name: each for each in ast.parse(MODULE).body if isinstance(each, ast.FunctionDef)}
    assert mutation.kind(dict(functions), f"x_judge__mutmut_{number}") == kind


def test_the_score_is_of_all_that_was_changed_and_again_without_wording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "mutants/parallel_build/guards"
    place.mkdir(parents=True)
    (place / "age.py").write_text(MODULE)
    codes = {f"parallel_build.guards.age.x_judge__mutmut_{number}": code for number, code in ((1, 1), (2, 0), (3, 33), (4, -24))}
    (place / "age.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    mutation.main(["report", str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[:3] == [
        "guards: 2 of 4 found (50.0 %), 66.7 % without those that change only a message's words",
        "  1 killed, 1 timeout, 1 survived, 1 no tests",
        "  not found: 1 text, 1 wording",
    ]


def test_rooms_and_tests_are_there() -> None:
    assert [path for path in (*mutation.ROOMS.values(), *mutation.TESTS) if not (CHECKOUT / path).exists()] == []


def test_the_copy_has_what_git_knows_the_links_and_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    (here / "parallel_build").mkdir(parents=True)
    (here / "tests").mkdir()
    for name, text in {"pyproject.toml": "[project]\n", "parallel_build/a.py": "", "tests/b.py": "", "left.py": ""}.items():
        (here / name).write_text(text)
    for words in (["init", "-q"], ["add", "pyproject.toml", "parallel_build", "tests"]):
        subprocess.run(["git", *words], cwd=here, check=True)
    monkeypatch.setattr(mutation, "CHECKOUT", here)
    mutation.main(["prepare", str(tmp_path / "copy")])
    section = tomllib.loads((tmp_path / "copy/pyproject.toml").read_text())["tool"]["mutmut"]
    assert section["also_copy"] == ["pyproject.toml", "tests"] and section["source_paths"] == ["parallel_build"]
    assert not (tmp_path / "copy/left.py").exists()
    assert (tmp_path / "copy/mutants/parallel_build/provider").readlink() == Path("../provider")
