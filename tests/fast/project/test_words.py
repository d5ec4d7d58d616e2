"""Docs and messages are plain English: words that read like a translation are refused, with what to write instead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_build.project import CODE
from tests.fast.sources import ROOMS, nodes

PAGES = [*sorted(CODE.glob("*.md")), *sorted((CODE / "docs").rglob("*.md"))]

INSTEAD = {
    r"told|tells|said|says of": "reported, logged, shown",
    r"mend(s|ed|ing)?": "fix, repair, fixed",
    r"anew": "again, recreated",
    r"go(es|ing|ne)? on": "continues, resumes",
    r"spoilt": "unusable",
    r"lets? go": "detach",
    r"ways? back": "rollback",
    r"another one": "different, changed",
    r"beside": "next to, alongside",
    r"wished": "wanted, enabled",
    r"in vain": "timed out",
    r"ways over": "transfer methods",
}

NORMAL = {
    "to distinguish": r"\b(told|tells?)( \w+){0,4} (apart|from)\b",
    "the marker of a fix's file": r"-- mends:",
}
"""Where a word has its usual meaning."""

ANY = re.compile(rf"\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)
"""Asked first: most texts have none of them."""

FROM_CODE = re.compile(r"^\| `[a-z_]+` \| ")
"""A row of a table that a test compares with the code: its words are changed there."""


def prose(page: Path) -> list[tuple[int, str]]:
    """The lines for people with their numbers, without what is a program's and without a word's usual meanings."""
    found, fenced = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fenced ^= line.startswith("```")
        if fenced or (page.name in ("guards.md", "health.md") and FROM_CODE.match(line)):
            continue
        for usual in NORMAL.values():
            line = re.sub(usual, "", line)
        found.append((number, re.sub(r"`[^`]*`", "", line)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_house_words_are_gone(page: Path) -> None:
    refused = [
        f"{page.name}:{number}: {found[0]!r}, rather: {better}"
        for number, line in prose(page)
        for words, better in INSTEAD.items()
        if (found := re.search(rf"\b({words})\b", line, re.IGNORECASE))
    ]
    assert refused == []


@pytest.mark.parametrize("words", ["mended anew", "The copy is spoilt.", "it goes on at once", "Beside it", "a way back", "waited in vain"])
def test_they_would_be_seen(words: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# Page\n{words}\n")
    with pytest.raises(AssertionError, match="rather"):
        test_house_words_are_gone(tmp_path / "page.md")


def test_usual_meanings_pass(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("It is told apart from ssh's.\n    -- mends: guest_os 1\n`mend`\n```\nway back\n```\n")
    test_house_words_are_gone(tmp_path / "page.md")


DATA = frozenset({"told", "not told", "spoilt"})
"""Texts that are keys of records and evidence: what earlier versions wrote is read by them."""


def messages(file: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that somebody may read, with their lines: no docstrings, no scripts for a server, no keys of records."""
    source = file.read_text()
    if not ANY.search(source):
        return
    known = list(nodes(ast.parse(source)))
    silent = {id(node.value) for node in known if isinstance(node, ast.Expr)}
    for node in known:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            text = node.value
            if text not in DATA and "\n" not in text.strip() and not text.startswith("^"):
                yield node.lineno, re.sub(NORMAL["the marker of a fix's file"], "", text)


def refused(file: Path) -> list[str]:
    """What a module's texts have of the house words."""
    return [
        f"{file.name}:{number}: {found[0]!r}, rather: {better}"
        for number, text in messages(file)
        if ANY.search(text)
        for words, better in INSTEAD.items()
        if (found := re.search(rf"\b({words})\b", text, re.IGNORECASE))
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_house_words_are_gone_from_what_the_code_prints(room: str) -> None:
    found = [each for file in sorted((CODE / room).rglob("*.py")) for each in refused(file)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'print(f"{name} goes on")',
        'raise StepFailed("a", "b", "mend it")',
        'HELP = "all are told"',
        'x = ("a", f"the way {n} back; a way back")',
    ],
)
def test_they_would_be_seen_in_code(line: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(f'"""It goes on."""\n{line}\n')
    assert len(refused(tmp_path / "module.py")) == 1
