"""The page of night questions: each has a command, and every message that it quotes is one that the code prints."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from parallel_build.project import CODE
from tests.fast.sources import nodes, texts

pytestmark = pytest.mark.processes

PAGE = CODE / "docs/operate/what-if.md"
COMMANDS = ("parallel-build ", "pulumi ", "systemctl ", "python -m ", ". scripts/", "scripts/", "--")
KEY = re.compile(r"[a-z]+\.[a-zA-Z]+: \w+$")
WILD = re.compile(r"\.\.\.|\b[A-Z]+\b|\b\d+\b|\bprod\b")
"""What stands for something else in a quotation: dots, a word in capitals, a number, the stack."""


def questions() -> list[str]:
    """Each question with its answer."""
    return re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]


@functools.cache
def printed() -> frozenset[str]:
    """Every text of the product, cut where something is filled in."""
    found: set[str] = set()
    for source in texts().values():
        for node in nodes(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value.strip():
                found.add(node.value)
    return frozenset(found)


def quotations(text: str) -> list[str]:
    """The messages that an answer quotes: what stands in code, has words, and is no command."""
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    return [each for each in re.findall(r"`([^`]+)`", prose) if " " in each and not each.startswith(COMMANDS) and not KEY.match(each)]


def is_printed(quoted: str) -> bool:
    """Whether a quotation is put together from texts of the product and what is filled in between; it may begin and end within one."""
    pieces, size = printed(), len(quoted)
    if any(quoted in piece for piece in pieces):
        return True
    cuts = [at for at in range(1, size) if not quoted[at - 1 : at + 1].isalnum()]  # between words, never within one
    reached = {0} | {at for at in cuts if any(piece.endswith(quoted[:at]) for piece in pieces)}
    for at in (0, *cuts):
        if at not in reached:
            continue
        if wild := WILD.match(quoted, at):
            reached.add(wild.end())
        reached |= {to for to in (*cuts, size) if to > at and quoted[at:to] in pieces}
    return size in reached or any(at in reached and any(piece.startswith(quoted[at:]) for piece in pieces) for at in cuts)


def test_there_are_twenty_questions_or_more_each_with_a_command_and_what_it_prints() -> None:
    parts = questions()
    assert len(parts) >= 20
    assert [part.split(".")[0] for part in parts] == [str(number) for number in range(1, len(parts) + 1)]
    for part in parts:
        assert re.search(r"^    (parallel-build|pulumi) ", part, re.MULTILINE), part
        assert "prints" in part.lower() or "error is" in part, part


@pytest.mark.parametrize("number", range(1, len(questions()) + 1))
def test_what_is_quoted_is_printed(number: int) -> None:
    assert [quoted for quoted in quotations(questions()[number - 1]) if not is_printed(quoted)] == []


def test_a_quotation_that_nothing_prints_would_be_seen() -> None:
    assert is_printed("The ORIGINAL serves.") and is_printed("the original is not down: UNIT on NAME runs")
    assert not is_printed("NEITHER side helps users: ... answers, and users are kept out.")
    assert not is_printed("the original is not down: UNIT on NAME still breathes")


def test_the_table_leads_to_every_question() -> None:
    head = PAGE.read_text().split("## 1.")[0]
    linked = sorted(int(number) for number in re.findall(r"\[(\d+)\]\(#\d+-", head))
    spans = [(int(a), int(b)) for a, b in re.findall(r"\[(\d+)\]\(#[^)]*\) to \[(\d+)\]", head)]
    assert set(linked) | {n for a, b in spans for n in range(a, b + 1)} == set(range(1, len(questions()) + 1))
