"""Every page stands on a shelf and can be found: by the index, by README, and a decision by its own index."""

from __future__ import annotations

import re

import pytest

from parallel_build.project import CODE

DOCS = CODE / "docs"
SHELVES = ("start", "operate", "understand", "reference")
DECISIONS = DOCS / "understand" / "decisions"


def test_there_are_four_shelves_and_an_index() -> None:
    assert {each.name for each in DOCS.iterdir() if each.is_dir()} == set(SHELVES)
    assert [each.name for each in DOCS.glob("*.md")] == ["index.md"]


@pytest.mark.parametrize("shelf", SHELVES)
def test_every_page_is_in_the_index_and_in_readme(shelf: str) -> None:
    pages = [f"{shelf}/{page.name}" for page in (DOCS / shelf).glob("*.md")]
    assert pages
    index, readme = (DOCS / "index.md").read_text(), (CODE / "README.md").read_text()
    assert [page for page in pages if f"]({page})" not in index or f"](docs/{page})" not in readme] == []


def test_decisions_have_one_file_each_with_a_number_of_their_own() -> None:
    index = (DECISIONS / "index.md").read_text()
    numbers = []
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        title = page.read_text().splitlines()[0]
        number = re.match(r"# (\d+)\. \S", title)
        assert number and page.name.startswith(f"{int(number[1]):03d}-"), page.name
        assert f"* [{title[2:]}]({page.name})" in index, page.name
        numbers.append(int(number[1]))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("shelf", SHELVES)
def test_every_page_leads_to_the_glossary(shelf: str) -> None:
    pages = [page for page in (DOCS / shelf).glob("*.md") if page.name != "glossary.md"]
    assert [page.name for page in pages if "glossary.md)" not in page.read_text()] == []


def test_every_term_has_a_meaning_and_leads_to_its_page() -> None:
    rows = [
        line
        for line in (DOCS / "reference/glossary.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| term")
    ]
    assert len(rows) > 50
    assert [row for row in rows if not re.fullmatch(r"\| [^|]+ \| [^|]+ \| \[[^|]+\]\([^|]+\) \|", row)] == []
    terms = [row.split("|")[1].strip() for row in rows]
    assert len(terms) == len(set(terms))
