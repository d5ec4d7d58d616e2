"""Reads the project and prints what the prose check refuses, a line each: file, line, what is wrong. Ends with 1 when there is any."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tools.environment import CHECKOUT
from tools.prose.sentences import too_long
from tools.prose.texts import Kind, Text, module_texts, page_texts
from tools.prose.words import house_words

ROOMS = ("parallel_build", "components", "provider", "lab", "bench", "tools", "examples", "tests")
ABOUT_WORDS = ("tools/prose/words.py", "tests/fast/project/test_words.py")
"""They hold the words that are refused."""

QUOTES = ("tests/", "lab/standin/")
"""Where messages are quoted: from the product or an older version of it, and from CloudStack, word by word."""


def pages(root: Path) -> list[Path]:
    """Every page: at the top, in docs, and next to the code."""
    return sorted({*root.glob("*.md"), *(page for room in ("docs", *ROOMS) for page in (root / room).rglob("*.md"))})


def modules(root: Path) -> list[Path]:
    """Every Python module, each once: components and provider have a second name inside parallel_build."""
    found = {module for room in ROOMS for module in (root / room).rglob("*.py")} | set(root.glob("*.py"))
    links = (root / "parallel_build/components", root / "parallel_build/provider")
    return sorted(module for module in found if not any(link.is_symlink() and link in module.parents for link in links))


def refused(path: Path, root: Path = CHECKOUT) -> list[str]:
    """What the check refuses in one file."""
    name = path.relative_to(root).as_posix()
    texts = page_texts(path) if path.suffix == ".md" else module_texts(path)
    return [f"{name}:{text.line}: {text.kind.value}: {problem}" for text in texts for problem in _problems(name, text)]


def _problems(name: str, text: Text) -> Iterator[str]:
    if text.kind is Kind.MESSAGE and name.startswith(QUOTES):
        return
    if name not in ABOUT_WORDS:
        yield from house_words(text.words)
    if text.kind in (Kind.PAGE, Kind.MESSAGE):
        yield from too_long(text.words, whole=text.kind is Kind.PAGE)


def main(root: Path = CHECKOUT) -> int:
    """Check everything; 0 when nothing is refused."""
    found = [line for path in (*pages(root), *modules(root)) for line in refused(path, root)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
