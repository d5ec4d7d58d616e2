"""The docs are plain English: words that read like a translation are refused, with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallel_build.project import CODE

PAGES = [*sorted(CODE.glob("*.md")), *sorted((CODE / "docs").glob("*.md"))]

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
