"""The SQL scripts that a management server runs in an upgrade: procedures, views, and one a version step.

A script that belongs to a newer version lies in a folder of that version and takes the place of the older one of the
same name. Statements end with a semicolon at the end of a line; a procedure is one statement up to its END.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_TABLE = re.compile(r"(?:FROM|JOIN)\s+`cloud`\.`(\w+)`")
_CONDITION = re.compile(r"^-- if `cloud`\.`(\w+)`$", re.MULTILINE)
_FOLDERS = ("4.20", "4.21", "4.23")


@dataclass(frozen=True)
class Script:
    """One file of SQL.

    Attributes:
        name: the file's name without its suffix, for instance `cloud.host_view`.
        database: the database that its object lies in.
        statements: to be run one by one.
        requires: tables of `cloud` that have to exist before it can run (views only).
    """

    name: str
    database: str
    statements: tuple[str, ...]
    requires: frozenset[str]


def split(text: str) -> tuple[str, ...]:
    """Split SQL text into statements, without their semicolons and without the comments between them."""
    statements: list[str] = []
    open_lines: list[str] = []
    in_procedure = False
    for line in text.splitlines():
        if not open_lines and (not line.strip() or line.startswith("--")):
            continue
        open_lines.append(line)
        in_procedure = in_procedure or line.startswith("CREATE PROCEDURE")
        if line.endswith(";") and (not in_procedure or line == "END;"):
            statements.append("\n".join(open_lines).removesuffix(";"))
            open_lines, in_procedure = [], False
    return tuple(statements)


def _scripts(kind: str, version: str) -> list[Script]:
    files: dict[str, Path] = {}
    for folder in _FOLDERS:
        if tuple(map(int, folder.split("."))) <= tuple(map(int, version.split(".")[:2])):
            files.update({path.name: path for path in (_HERE / kind / folder).glob("*.sql")})
    scripts = []
    for name in sorted(files):
        text = files[name].read_text()
        database = "cloud_usage" if name.startswith("usage.") else "cloud"
        requires = frozenset(_TABLE.findall(text)) if kind == "views" else frozenset()
        scripts.append(Script(name.removesuffix(".sql"), database, split(text), requires))
    return scripts


def procedures(version: str) -> list[Script]:
    """Return the stored procedures of a version."""
    return _scripts("procedures", version)


def views(version: str) -> list[Script]:
    """Return the views of a version."""
    return _scripts("views", version)


@dataclass(frozen=True)
class Statement:
    """One statement of an upgrade; `only_with` names the table of `cloud` without which it is left out."""

    sql: str
    only_with: str | None


def upgrade(name: str) -> tuple[Statement, ...]:
    """Return the statements of one upgrade script, for instance `42010to42100` or `42010to42100-cleanup`."""
    text = (_HERE / "upgrades" / f"{name}.sql").read_text()
    statements: list[Statement] = []
    for piece in re.split(r"\n{2,}", text):
        condition = _CONDITION.search(piece)
        statements += [Statement(sql, condition.group(1) if condition else None) for sql in split(piece)]
    return tuple(statements)
