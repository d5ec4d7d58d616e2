"""What an operator reads has three parts: no error of the tool is raised with an empty cause or remedy."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

from parallel_build.errors import StepFailed
from parallel_build.project import PROJECT
from parallel_build.rules import RuleFinding
from tests.fast.sources import nodes, texts

CLASS = re.compile(r"^ *class (\w+)\(([\w., ]+)", re.MULTILINE)
PARTS = ("fact", "cause", "remedy")


def classes(sources: Iterable[str]) -> set[str]:
    """Names of the classes whose objects are shown to an operator: `ParallelBuildError` with all that are made of it, and a health rule's words."""
    bases = {name: set(above.split(", ")) for text in sources for name, above in CLASS.findall(text)}
    found = {"ParallelBuildError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found | {RuleFinding.__name__}


def hollow(value: ast.expr) -> bool:
    """Whether an argument is an empty text as it is written, or may be in one of the cases that it names itself."""
    if isinstance(value, ast.Constant):
        return not (isinstance(value.value, str) and value.value.strip())
    if isinstance(value, ast.IfExp):
        return hollow(value.body) or hollow(value.orelse)
    if isinstance(value, ast.BoolOp):
        return isinstance(value.op, ast.Or) and hollow(value.values[-1])
    return False


def faults(tree: ast.Module, known: set[str]) -> Iterator[tuple[int, str]]:
    """Line and part of every error that lacks one."""
    for node in nodes(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known):
            continue
        if any(isinstance(value, ast.Starred) for value in node.args):
            continue
        given = dict(zip(PARTS, node.args, strict=False)) | {word.arg: word.value for word in node.keywords if word.arg}
        for part in PARTS:
            if part not in given or hollow(given[part]):
                yield node.lineno, part


def test_no_error_is_raised_without_a_cause_or_a_remedy() -> None:
    known = classes(texts().values())
    assert {"StepFailed", "MachineFailed", "ApiRefused", "UpFailed"} <= known
    raised = re.compile(rf"\b({'|'.join(known)})\(")
    found = [
        (f"{path.relative_to(PROJECT)}: {part}", line)
        for path, text in texts().items()
        if raised.search(text)
        for line, part in faults(ast.parse(text), known)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("StepFailed('it is so', 'because', 'do this')", []),
        ("StepFailed(fact, error.cause, remedy='do this')", []),
        ("StepFailed(*words)", []),
        ("StepFailed('it is so', '', 'do this')", ["cause"]),
        ("StepFailed('it is so', ' ', remedy='')", ["cause", "remedy"]),
        ("StepFailed('it is so')", ["cause", "remedy"]),
        ("StepFailed('it is so', why if why else '', 'do this')", ["cause"]),
        ("StepFailed('it is so', why or '', 'do this')", ["cause"]),
        ("StepFailed('it is so', why or 'no output', 'do this')", []),
        ("Other('')", []),
    ],
)
def test_the_test_sees_what_is_missing(source: str, parts: list[str]) -> None:
    assert [part for _, part in faults(ast.parse(source), {"StepFailed"})] == parts


def test_an_error_reads_as_fact_cause_and_remedy() -> None:
    assert str(StepFailed("it is so.", "of that", "do this.")) == "it is so. Cause: of that. Remedy: do this."
    assert str(StepFailed("two:\n  - a\n", "of that", "do this")) == "two:\n  - a\nCause: of that.\nRemedy: do this."
