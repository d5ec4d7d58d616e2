"""The prose check: what people read is plain English, and the check sees where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.environment import CHECKOUT
from tools.prose.__main__ import main, modules, pages, refused


@pytest.mark.engine
def test_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code = main()
    assert (code, capsys.readouterr().out) == (0, "")


def test_what_is_refused_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs/page.md"
    page.write_text("# Page\n\nIt is mended.\n")
    assert main(tmp_path) == 1 and capsys.readouterr().out == "docs/page.md:3: page: 'mended', rather: fix, repair, fixed\n"
    page.write_text("# Page\n\nIt is fixed.\n")
    assert main(tmp_path) == 0 and capsys.readouterr().out == ""


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


def check(folder: Path, name: str, text: str) -> list[str]:
    """What is refused of a file with this text."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return [line.split(": ", 1)[1] for line in refused(folder / name, folder)]


@pytest.mark.parametrize(
    "words",
    [
        "mended anew",
        "The copy is spoilt.",
        "it goes on at once",
        "Beside it",
        "run python -m parallel_build back prod",
        "a way\nback",
        "| cell | waited in vain |",
    ],
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
