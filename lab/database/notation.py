"""Reads the schema's data files: CloudStack's tables and views in a notation short enough to be reviewed.

Tables (`schema/*.tables`), a block each; `*` after the name means utf8mb4, without it utf8mb3:

    table account_details
      id:U+ account_id:U! name:v255! value:v4096!
      pk: id
      uq uc_example: a b(64)
      ix i_example: a
      fk fk_account_details__account_id: account_id > account id cascade

A column is `name:type` with marks: `*` utf8mb4, `!` NOT NULL, `+` NOT NULL AUTO_INCREMENT, `=value` its default,
`=now` current_timestamp(), `~` also on update. Types: B/U bigint signed/unsigned, i/u int, t/T tinyint, s/S smallint
(each with its display width), vN varchar, cN char, nP.S/NP.S decimal signed/unsigned, f/F double signed/unsigned,
d datetime, ts timestamp, x/xm/xl text/mediumtext/longtext, b blob.

Views (`schema/*.views`), a block each: `from`, `join`, `left join`, `where` and `group by` lines, then the columns in
their order: `table: column column>alias ...` or `= alias: expression`. A line that is indented deeper continues the
line before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from lab.database.errors import SchemaError

_COLUMN = re.compile(
    r"(?P<name>\w+):(?P<type>[a-zA-Z]+[\d.]*)(?P<mb4>\*?)(?P<null>[!+]?)(?:=(?P<default>'(?:[^']|'')*'|now|-?[\d.]+))?(?P<update>~?)(?:\s+|$)"
)


@dataclass(frozen=True)
class Column:
    """One column; `default` is SQL text, or None where there is none (then it is NULL if nullable)."""

    name: str
    type: str
    utf8mb4: bool
    nullable: bool
    auto_increment: bool
    default: str | None
    on_update: bool


@dataclass(frozen=True)
class Key:
    """A key. `kind` is pk, uq, ix or fk; for fk the referenced table, columns and ON DELETE rule follow."""

    kind: str
    name: str
    columns: tuple[str, ...]
    table: str = ""
    references: tuple[str, ...] = ()
    on_delete: str = ""


@dataclass(frozen=True)
class Table:
    """One table's definition."""

    name: str
    utf8mb4: bool
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]

    def column(self, name: str) -> Column:
        """The column of that name. Raises SchemaError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"table {self.name} has no column {name}")


@dataclass(frozen=True)
class View:
    """One view: its FROM list, joins, conditions and columns (alias, expression)."""

    name: str
    source: str
    joins: tuple[str, ...]
    where: str
    group_by: str
    columns: tuple[tuple[str, str], ...]

    @property
    def reads(self) -> frozenset[str]:
        """Names that may be tables or views it reads, to order the views by."""
        return frozenset(re.findall(r"\w+", self.source)) | {
            word for join in self.joins for word in re.findall(r"\w+", join.split(" on ", 1)[0])
        }


def _blocks(text: str, keyword: str) -> list[tuple[str, list[str]]]:
    blocks: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(keyword + " "):
            blocks.append((line[len(keyword) + 1 :].strip(), []))
        elif line.startswith("    ") and blocks and blocks[-1][1]:
            blocks[-1][1][-1] += " " + line.strip()
        elif line.startswith("  ") and blocks:
            blocks[-1][1].append(line.strip())
        else:
            raise SchemaError(f"the schema line {line!r} is neither a {keyword} nor part of one")
    return blocks


def parse_tables(text: str) -> dict[str, Table]:
    """Read the tables of one data file, by name, in its order. Raises SchemaError at a line that does not fit."""
    tables: dict[str, Table] = {}
    for head, lines in _blocks(text, "table"):
        name, mb4 = head.rstrip("* "), head.endswith("*")
        columns: list[Column] = []
        keys: list[Key] = []
        for line in lines:
            if line.startswith(("pk:", "uq ", "ix ", "fk ")):
                keys.append(_key(name, line))
            else:
                columns += _columns(name, line)
        tables[name] = Table(name, mb4, tuple(columns), tuple(keys))
    return tables


def _columns(table: str, line: str) -> list[Column]:
    columns, at = [], 0
    while at < len(line):
        match = _COLUMN.match(line, at)
        if match is None:
            raise SchemaError(f"table {table}: {line[at:]!r} is not a column")
        null = match["null"]
        columns.append(
            Column(
                name=match["name"],
                type=match["type"],
                utf8mb4=bool(match["mb4"]),
                nullable=not null,
                auto_increment=null == "+",
                default=match["default"],
                on_update=bool(match["update"]),
            )
        )
        at = match.end()
    return columns


def _key(table: str, line: str) -> Key:
    head, _, rest = line.partition(": ")
    kind, _, name = head.partition(" ")
    if kind != "fk":
        return Key(kind.rstrip(":"), name, tuple(rest.split()))
    columns, arrow, target = rest.partition(" > ")
    words = target.split()
    rule = words.pop() if words and words[-1] in ("cascade", "setnull", "noaction") else ""
    if not arrow or len(words) < 2:
        raise SchemaError(f"table {table}: {line!r} is not a foreign key")
    return Key("fk", name, tuple(columns.split()), words[0], tuple(words[1:]), rule)


def parse_views(text: str) -> dict[str, View]:
    """Read the views of one data file, by name, in its order. Raises SchemaError at a line that does not fit."""
    views: dict[str, View] = {}
    for name, lines in _blocks(text, "view"):
        clauses = {"from ": "", "where ": "", "group by ": ""}
        joins: list[str] = []
        columns: list[tuple[str, str]] = []
        for line in lines:
            clause = next((word for word in clauses if line.startswith(word)), None)
            if clause:
                clauses[clause] = line[len(clause) :]
            elif line.startswith(("join ", "left join ")):
                joins.append(line)
            elif line.startswith("= "):
                alias, _, expression = line[2:].partition(": ")
                columns.append((alias, expression))
            else:
                columns += _view_columns(name, line)
        views[name] = View(name, clauses["from "], tuple(joins), clauses["where "], clauses["group by "], tuple(columns))
    return views


def _view_columns(view: str, line: str) -> list[tuple[str, str]]:
    table, colon, rest = line.partition(": ")
    if not colon or not re.fullmatch(r"\w+", table):
        raise SchemaError(f"view {view}: {line!r} is no line of columns")
    columns = []
    for word in rest.split():
        column, _, alias = word.partition(">")
        columns.append((alias or column, f"`{table}`.`{column}`"))
    return columns


@cache
def tables(database: str) -> dict[str, Table]:
    """The tables of `cloud` or `cloud_usage` as CloudStack 4.20.3.0 has them."""
    return parse_tables(_data(f"{database}.tables"))


@cache
def views(database: str) -> dict[str, View]:
    """The views of that database (only `cloud` has any)."""
    return parse_views(_data(f"{database}.views")) if database == "cloud" else {}


def _data(name: str) -> str:
    return resources.files("lab.database").joinpath("schema", name).read_text(encoding="utf-8")
