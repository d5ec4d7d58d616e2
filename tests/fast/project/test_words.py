"""The prose check: what people read is plain English, and the check sees where it is not."""

from __future__ import annotations

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


def test_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code = main()
    assert (code, capsys.readouterr().out) == (0, "")


def test_every_page_and_module_is_read() -> None:
    names = {path.relative_to(CHECKOUT).as_posix() for path in (*pages(CHECKOUT), *modules(CHECKOUT))}
    assert {
        "README.md",
        "docs/index.md",
        "docs/operate/what-if.md",
        "lab/standin/README.md",
        "__main__.py",
        "components/cloud.py",
        "parallel_build/__main__.py",
        "tests/fast/project/test_words.py",
        "tools/prose/words.py",
    } <= names
    assert not any(name.startswith("parallel_build/components") for name in names), "each module once"


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
    "words", ["mended anew", "The copy is spoilt.", "it goes on at once", "Beside it", "a way\nback", "| cell | waited in vain |"]
)
def test_house_words_on_a_page(words: str, tmp_path: Path) -> None:
    found = check(tmp_path, "page.md", f"# Page\n{words}\n")
    assert found and all(line.startswith("page: ") and "rather" in line for line in found)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('print(f"{name} goes on")', "message"),
        ('raise StepFailed("a", "b", "mend it")', "message"),
        ('HELP = "all are told"', "message"),
        ('x = ("a", f"the {n}. way back; a way back")', "message"),
        ("# What is spoilt.", "comment"),
        ("# It goes", "comment"),
        ('def f():\n    """What is told."""', "docstring"),
        ("mended_again = 1", "name"),
        ("def a_way_back(): ...", "name"),
        ("class WaitedInVain: ...", "name"),
        ("def f(beside): ...", "name"),
        ("x.another_one = 1", "name"),
        ("import a as let_go", "name"),
    ],
)
def test_house_words_in_a_module(line: str, kind: str, tmp_path: Path) -> None:
    more = "\n# on at once\n" if line.endswith("goes") else "\n"
    found = check(tmp_path, "module.py", line + more)
    assert [each.split(":")[0] for each in found] == [kind]


def test_house_words_in_the_name_of_a_module(tmp_path: Path) -> None:
    assert len(check(tmp_path, "way_back.py", "")) == 1


def test_usual_meanings_pass(tmp_path: Path) -> None:
    page = "It is told apart from ssh's.\n\n    -- mends: guest_os 1\n\n`mend`\n\n```\nway back\n```\n"
    assert check(tmp_path, "page.md", page) == []
    module = '"""What tells one start of the `spoilt` server from another.\n\n    Attributes:\n    spoilt: why.\n"""\nx = {"told": 1}\nmended = 1\n'
    assert check(tmp_path, "module.py", module) == []


LONG = " ".join(["word"] * 26)


def test_long_sentences(tmp_path: Path) -> None:
    assert check(tmp_path, "page.md", f"{LONG}.\n") != []
    assert check(tmp_path, "page.md", "\n".join(LONG.split()) + "\n") != [], "over several lines"
    assert check(tmp_path, "page.md", f"| {LONG} | b |\n") != []
    assert check(tmp_path, "module.py", f'x = "{LONG}"\ny = f"{{x}} {LONG}"\n') != []
    three = "; ".join([" ".join(["word"] * 15)] * 3)
    assert check(tmp_path, "page.md", f"{three}.\n") != [], "three thoughts of 45 words together"


def test_what_is_not_long(tmp_path: Path) -> None:
    half = " ".join(["Word"] * 20)
    assert check(tmp_path, "page.md", f"{half}. {half}.\n") == []
    assert check(tmp_path, "page.md", ", ".join(["a short item"] * 20) + ".\n") == [], "a list is looked through"
    assert check(tmp_path, "page.md", "; ".join(["one of several short thoughts"] * 20) + ".\n") == []
    assert check(tmp_path, "page.md", f"```\n{LONG}\n```\n\n    {LONG}\n") == []
    assert check(tmp_path, "module.py", f'"""{LONG}"""\nQUERY = "SELECT {LONG}"\n') == [], "a docstring, and SQL"
    assert check(tmp_path, "tests/module.py", f'x = "{LONG} goes on"\n') == [], "tests quote"
