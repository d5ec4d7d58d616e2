"""Goes through the text of a dump, and keeps the rows of a few small tables and the names of the rest.

It reads what mysqldump, mariadb-dump and this package write: a statement begins at the beginning of a line, and line
breaks within values are escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lab.database.errors import DumpError
from lab.database.loading import opened

_WANTED = frozenset({"version", "configuration", "host", "mshost", "user", "account"})
_INSERT = re.compile(rb"INSERT (?:IGNORE )?INTO `(\w+)`\s*(\((?:`\w+`,?\s*)+\))?\s*VALUES", re.I)
_CREATE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?`(\w+)`", re.I)
_USE = re.compile(rb"USE `(\w+)`", re.I)
_VIEW = re.compile(rb"(?:/\*!50001 |CREATE [^;]{0,200}?)VIEW `(\w+)` AS", re.I)
_ROUTINE = re.compile(rb"CREATE (?:OR REPLACE )?(?:DEFINER=\S+ )?(?:PROCEDURE|FUNCTION) `?(\w+)", re.I)
_DEFINER = re.compile(rb"DEFINER=`([^`]*)`@`([^`]*)`")
_VALUE = re.compile(rb"\s*(?:(NULL)|(?:_\w+\s*)?'((?:[^'\\]|\\.|'')*)'|0x([0-9A-Fa-f]*)|(-?[\d.]+(?:e[+-]?\d+)?))\s*([,)])", re.S | re.I)
_ESCAPED = re.compile(r"\\(.)|''", re.S)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a", "b": "\b"}
_LINE_LIMIT = 300  # what is looked for in other statements stands at their beginning

DumpRow = dict[str, str | None]


class DumpReader:
    """Goes once through dumps and keeps what was wanted of them.

    Attributes:
        rows: rows of the wanted tables of `cloud`, by column; NULL is None.
        tables: names of tables by database; `views`, `routines` (database, name) and `definers` (with how often) likewise.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[DumpRow]] = {name: [] for name in _WANTED}
        self.tables: dict[str, set[str]] = {}
        self.views: set[str] = set()
        self.routines: set[tuple[str, str]] = set()
        self.definers: Counter[str] = Counter()
        self._columns: dict[str, list[str]] = {}

    def read(self, path: Path, database: str) -> None:
        """Read one file. Raises DumpError if it can't be read."""
        with opened(path) as stream:
            lines = iter(stream)
            for line in lines:
                if line.startswith(b"INSERT ") and database == "cloud":
                    self._insert(line, lines, path)
                elif line.startswith(b"CREATE TABLE"):
                    self._table(line, lines, database)
                elif line.startswith(b"USE "):
                    match = _USE.match(line)
                    database = match[1].decode() if match else database
                elif line.startswith((b"/*!", b"CREATE ")):
                    self._program(line[:_LINE_LIMIT], database)

    def _program(self, line: bytes, database: str) -> None:
        if match := _DEFINER.search(line):
            self.definers[f"{match[1].decode()}@{match[2].decode()}"] += 1
        if match := _VIEW.match(line):
            self.views.add(match[1].decode())
        if match := _ROUTINE.match(line):
            self.routines.add((database, match[1].decode()))

    def _table(self, line: bytes, lines: Iterator[bytes], database: str) -> None:
        match = _CREATE.match(line)
        if match is None or not database:
            return
        name = match[1].decode()
        self.tables.setdefault(database, set()).add(name)
        if database == "cloud" and name in _WANTED:
            columns: list[str] = []
            for body in lines:
                if body.startswith(b")"):
                    break
                if column := re.match(rb"\s*`(\w+)` ", body):
                    columns.append(column[1].decode())
            self._columns[name] = columns

    def _insert(self, line: bytes, lines: Iterator[bytes], path: Path) -> None:
        match = _INSERT.match(line)
        if match is None or (name := match[1].decode()) not in _WANTED:
            return
        columns = re.findall(r"`(\w+)`", match[2].decode()) if match[2] else self._columns.get(name, [])
        parts = [line[match.end() :]]
        while not parts[-1].rstrip().endswith(b";"):
            more = next(lines, None)
            if more is None:
                raise DumpError(f"the dump {path} ends within the rows of `{name}`", "it was cut off", "make it again")
            parts.append(more)
        for values in _tuples(b"".join(parts), name, path):
            if len(values) != len(columns):
                raise DumpError(f"the dump {path} has a row of `{name}` with {len(values)} values for {len(columns)} columns")
            self.rows[name].append(dict(zip(columns, values, strict=True)))


def _tuples(text: bytes, table: str, path: Path) -> Iterator[list[str | None]]:
    """The rows of an INSERT's VALUES. Raises DumpError where they are not what a dump program writes."""
    at = 0
    while (start := text.find(b"(", at)) >= 0:
        at = start + 1
        row: list[str | None] = []
        while True:
            match = _VALUE.match(text, at)
            if match is None:
                raise DumpError(f"the dump {path} has a row of `{table}` that can't be read", repr(text[at : at + 20]))
            row.append(_value(match))
            at = match.end()
            if match[5] == b")":
                break
        yield row
        if text[at : at + 1] == b";":
            return


def _value(match: re.Match[bytes]) -> str | None:
    if match[1]:
        return None
    if match[3] is not None:
        return bytes.fromhex(match[3].decode()).decode(errors="replace")
    if match[4] is not None:
        return match[4].decode()
    text = match[2].decode("utf-8", errors="replace")
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]) if found[1] else "'", text)
