"""What people read in a file: prose of pages, and docstrings, comments, messages and names of modules."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What a text is for."""

    PAGE = "page"
    DOCSTRING = "docstring"
    COMMENT = "comment"
    MESSAGE = "message"
    NAME = "name"


@dataclass(frozen=True)
class Text:
    """A piece of text in a file.

    Attributes:
        line: where it begins.
        kind: what it is for.
        words: the text, without quotation marks and what is a program's.
    """

    line: int
    kind: Kind
    words: str


def page_texts(page: Path) -> Iterator[Text]:
    """The paragraphs, list items and table cells of a Markdown page, without code."""
    paragraph: list[str] = []
    began, fenced = 0, False
    for number, line in enumerate([*page.read_text().splitlines(), ""], 1):
        fence = line.lstrip().startswith("```")
        starts = re.match(r"\s*([*-]|\d+\.) |#|\s*\|", line)
        code = re.match(r" {4}", line) and not paragraph
        if paragraph and (starts or fence or not line.strip()):
            yield Text(began, Kind.PAGE, _without_code(" ".join(paragraph)))
            paragraph = []
        fenced ^= fence
        if fenced or fence or code or not line.strip():
            continue
        if line.lstrip().startswith("|"):
            yield from (Text(number, Kind.PAGE, _without_code(cell)) for cell in line.strip("| ").split("|"))
            continue
        if not paragraph:
            began = number
        paragraph.append(line.strip())
        if line.startswith("#"):
            yield Text(number, Kind.PAGE, _without_code(line.lstrip("# ")))
            paragraph = []


def _without_code(text: str) -> str:
    """A text with `x` for code, and without the targets of links."""
    text = re.sub(r"^\s*([*-]|\d+\.) ", "", text)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "`x`", text)).replace("**", "").strip()


def module_texts(module: Path) -> Iterator[Text]:
    """Docstrings, comments, messages and names of a Python module."""
    source = module.read_text()
    yield from _comments(source)
    inside: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(words)) as constant):
                inside.add(id(constant))
                yield Text(node.lineno, Kind.DOCSTRING, _without_code(_LABEL.sub(" ", words)))
            case ast.JoinedStr(values=parts):
                inside |= {id(part) for part in parts}
                yield from _message(node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts))
            case ast.Constant(value=str(words)) if id(node) not in inside:
                yield from _message(node.lineno, words)
            case _:
                yield from (Text(getattr(node, "lineno", 1), Kind.NAME, each) for each in _names(node))
    yield Text(1, Kind.NAME, _spaced(module.stem))


_LABEL = re.compile(r"^ +\w+(, \w+)*: ", re.MULTILINE)
"""The name before its meaning in a docstring's section: names are read where they are given."""

_PROGRAM = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|SHOW|CREATE|ALTER|AND|WITH)\b|\\[sbdw]|^\^|^<!DOCTYPE|\(\?")
"""SQL, regular expressions and markup: read by a program."""


def _message(line: int, words: str) -> Iterator[Text]:
    """A text that somebody may read: no script for a server, nothing that only a program reads."""
    if "\n" not in words.strip() and not _PROGRAM.search(words):
        yield Text(line, Kind.MESSAGE, words)


def _comments(source: str) -> Iterator[Text]:
    """The comments, lines that belong together as one."""
    began, last, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if lines and line != last + 1:
            yield Text(began, Kind.COMMENT, _without_code(" ".join(lines)))
            lines = []
        if not lines:
            began = line
        last = line
        lines.append(token.string.lstrip("#! ").rstrip())
    if lines:
        yield Text(began, Kind.COMMENT, _without_code(" ".join(lines)))


def _names(node: ast.AST) -> Iterator[str]:
    """What a node gives a name to, as words."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield _spaced(name)
        case (
            ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.alias(asname=str(name))
        ):
            yield _spaced(name)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").lower()
