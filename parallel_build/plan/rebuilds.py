"""Which statements of the target's scripts rebuild a table of this cloud, read one for an index, or change its rows; by its size.

What a server does in place is data [MySQL 8.0 and 8.4 reference, Online DDL operations; MariaDB, InnoDB online DDL overview]. Where it is not certain that it
does, the statement counts as one that rebuilds. Changes that CloudStack makes in its Java classes are in no script and are not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from parallel_build.health.target_scripts import on_the_path
from parallel_build.plan.statements import TABLE, Alter, altered, split
from parallel_build.versions import CloudStackVersion

Version = tuple[int, ...]
# `DELETE from`cloud`...` and `DELETE alias FROM table alias JOIN ...` stand in CloudStack's scripts.
CHANGED = re.compile(
    rf"(?:(?:UPDATE|REPLACE\s+INTO)\s+(?:LOW_PRIORITY\s+|IGNORE\s+)?|DELETE\s+(?:[\w$]+\s+)?FROM\s*){TABLE}", re.IGNORECASE
)
FILLED = re.compile(rf"INSERT\s+(?:IGNORE\s+)?(?:INTO\s+)?{TABLE}.*?\bSELECT\b.*?\bFROM\b", re.IGNORECASE)
COLUMN = re.compile(r"(?:COLUMN\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?`?([\w$]+)`?\s+(.*)", re.IGNORECASE | re.DOTALL)
NO_CHECKS = re.compile(r"SET\s+(?:@@|SESSION\s+)?foreign_key_checks\s*=\s*(\d)", re.IGNORECASE)
LENGTH_BYTE = 256  # a varchar of this many bytes and more has a second byte for its length
BYTES = {"utf8": 3, "utf8mb3": 3, "utf8mb4": 4, "latin1": 1, "ascii": 1}


class Work(StrEnum):
    """What a statement costs, the most first."""

    REBUILDS = "rebuilds"
    INDEXES = "reads for an index"
    ROWS = "changes rows of"


@dataclass(frozen=True)
class SqlServer:
    """The new side's database server; version () where it is not known: then nothing is taken for instant."""

    family: str = "mysql"
    version: Version = ()

    def at_least(self, mysql: Version, mariadb: Version) -> bool:
        """Whether it is of at least that version of its family."""
        return self.version >= (mariadb if self.family == "mariadb" else mysql) if self.version else False


@dataclass(frozen=True)
class Column:
    """A column as it is now: its type without display widths, whether it may be NULL, its character set."""

    type: str
    nullable: bool
    charset: str = ""


@dataclass(frozen=True)
class Size:
    """A table as it is now, by the server's estimate."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class TableWork:
    """What a script does to a table.

    Attributes:
        work: what that costs.
        table: its name with the database, as it is called now.
        size: its size now.
        script, text: where it stands, and the statement.
    """

    work: Work
    table: str
    size: Size
    script: str
    text: str


def of_scripts(
    scripts: Mapping[str, str],
    old: CloudStackVersion,
    new: CloudStackVersion,
    sizes: Mapping[str, Size],
    columns: Mapping[tuple[str, str], Column],
    server: SqlServer,
) -> list[TableWork]:
    """The work of every script on the path on tables that are there, the largest table first.

    Args:
        sizes: tables by `database.table`.
        columns: columns by that and their names, lower case.
    """
    found, called = list[TableWork](), dict[str, str]()
    for script in sorted(scripts, key=_order):
        if not on_the_path(script.removesuffix("-cleanup"), old, new):
            continue
        checked = True
        for statement in split(scripts[script]):
            if match := NO_CHECKS.match(statement):
                checked = match[1] != "0"
            for work, name in _works(script, statement, columns, server, checked=checked, called=called):
                if name in sizes:
                    found.append(TableWork(work, name, sizes[name], script, statement))
    order = list(Work)
    return sorted(found, key=lambda each: (order.index(each.work), -each.size.bytes))


def _order(script: str) -> tuple[int, str, bool]:
    target = script.removeprefix("schema-").partition("to")[2]
    digits = target.removesuffix("-cleanup")
    return len(digits) if digits.startswith("4") else 9, digits, target.endswith("-cleanup")


def _works(
    script: str,
    statement: str,
    columns: Mapping[tuple[str, str], Column],
    server: SqlServer,
    *,
    checked: bool,
    called: dict[str, str],
) -> Iterator[tuple[Work, str]]:
    """What a statement does, and to which table; `called` keeps new names of tables -> those they have now."""
    if alter := altered(script, statement):
        name = f"{alter.database}.{alter.table}".lower()
        now = called.get(name, name)
        work = _of_alter(alter, now, columns, server, checked=checked)
        for clause in alter.clauses:
            if renamed := re.fullmatch(rf"RENAME\s+(?:TO\s+|AS\s+|=\s*)?{TABLE}", clause, re.IGNORECASE):
                called[f"{renamed[1] or alter.database}.{renamed[2]}".lower()] = now
        if work:
            yield work, now
    elif renamed := re.match(rf"RENAME\s+TABLE\s+{TABLE}\s+TO\s+{TABLE}", statement, re.IGNORECASE):
        before = f"{renamed[1] or 'cloud'}.{renamed[2]}".lower()
        called[f"{renamed[3] or 'cloud'}.{renamed[4]}".lower()] = called.get(before, before)
    elif (match := CHANGED.match(statement)) or (match := FILLED.match(statement)):
        name = f"{match[1] or 'cloud'}.{match[2]}".lower()
        yield Work.ROWS, called.get(name, name)


def _of_alter(alter: Alter, now: str, columns: Mapping[tuple[str, str], Column], server: SqlServer, *, checked: bool) -> Work | None:
    """The worst of its clauses; a column that is added or dropped next to something that is not instant rebuilds the table."""
    works = [_of_clause(clause, now, columns, server, checked=checked) for clause in alter.clauses]
    columns_too = any(re.match(r"(ADD|DROP)\s+(COLUMN\b|\()", clause, re.IGNORECASE) for clause in alter.clauses)
    if Work.REBUILDS in works or (Work.INDEXES in works and columns_too):
        return Work.REBUILDS
    return Work.INDEXES if Work.INDEXES in works else None


ADDED_KEY = re.compile(
    r"ADD\s+(?:CONSTRAINT\s+(?:`?[\w$]+`?\s+)?)?(UNIQUE|INDEX|KEY|FULLTEXT|SPATIAL|PRIMARY|FOREIGN|CHECK)\b", re.IGNORECASE
)
REBUILDING = re.compile(
    r"(CONVERT\s+TO|ENGINE\b|ROW_FORMAT|KEY_BLOCK_SIZE|FORCE\b|ORDER\s+BY|PARTITION|ADD\s+PARTITION|REMOVE\s+PARTITIONING|DROP\s+PRIMARY)", re.IGNORECASE
)  # fmt: skip
KEEPING = re.compile(
    r"(DROP\s+(?:UNIQUE\s+|FOREIGN\s+)?(?:INDEX|KEY|CONSTRAINT|CHECK)\b|RENAME\b|ALTER\b|AUTO_INCREMENT|COMMENT\b|DEFAULT\b|CHARACTER\s+SET|CHARSET|"
    r"COLLATE|DISABLE|ENABLE|ALGORITHM|LOCK\b)",
    re.IGNORECASE,
)


def _of_clause(clause: str, now: str, columns: Mapping[tuple[str, str], Column], server: SqlServer, *, checked: bool) -> Work | None:
    if key := ADDED_KEY.match(clause):
        kind = key[1].upper()
        if kind in ("PRIMARY", "FULLTEXT", "CHECK") or (kind == "FOREIGN" and checked):
            return Work.REBUILDS
        return Work.INDEXES
    if REBUILDING.match(clause):
        return Work.REBUILDS
    if KEEPING.match(clause):
        return None
    if match := re.match(r"(ADD|DROP|MODIFY|CHANGE)\s+(.*)", clause, re.IGNORECASE | re.DOTALL):
        return _of_column(match[1].upper(), match[2], now, columns, server)
    return Work.REBUILDS  # a clause that is not known here


def _of_column(verb: str, rest: str, now: str, columns: Mapping[tuple[str, str], Column], server: SqlServer) -> Work | None:
    if verb == "DROP":
        return None if server.at_least((8, 0, 29), (10, 4)) else Work.REBUILDS
    if verb == "ADD":
        if re.search(r"\b(AUTO_INCREMENT|PRIMARY\s+KEY|STORED|PERSISTENT|UNIQUE)\b", rest, re.IGNORECASE):
            return Work.REBUILDS
        placed = re.search(r"\b(FIRST|AFTER)\b", rest, re.IGNORECASE)
        return None if server.at_least((8, 0, 29) if placed else (8, 0, 12), (10, 4) if placed else (10, 3)) else Work.REBUILDS
    match = COLUMN.match(rest)
    if match and verb == "CHANGE":
        renamed = COLUMN.match(match[2])
        match_name, definition = match[1], renamed[2] if renamed else ""
    else:
        match_name, definition = (match[1], match[2]) if match else ("", "")
    before = columns.get((now, match_name.lower()))
    return None if before and _same_storage(before, definition, server) else Work.REBUILDS


def _same_storage(before: Column, definition: str, server: SqlServer) -> bool:
    """Whether a column of this new definition is stored as it is now, or only its limit grows."""
    nullable = not re.search(r"\bNOT\s+NULL\b|\bPRIMARY\s+KEY\b", definition, re.IGNORECASE)
    charset = re.search(r"\b(?:CHARACTER\s+SET|CHARSET)\s*=?\s*`?(\w+)", definition, re.IGNORECASE)
    if nullable != before.nullable or (charset and charset[1].lower() != before.charset):
        return False
    new, old = normal(definition), before.type
    if new == old:
        return True
    grown = [re.fullmatch(r"varchar\((\d+)\)", each) for each in (old, new)]
    if not grown[0] or not grown[1]:
        return False
    width = BYTES.get(before.charset, 4)
    small, large = (int(each[1]) * width for each in grown if each)
    within = (small < LENGTH_BYTE) == (large < LENGTH_BYTE) or (server.family == "mariadb" and small < LENGTH_BYTE // 2)
    return large >= small and within


def normal(definition: str) -> str:
    """The type at a definition's beginning, as both families mean it: lower case, integers without display width."""
    match = re.match(r"\s*([A-Za-z]+(?:\s+PRECISION)?)\s*(\([^)]*\))?\s*(UNSIGNED)?", definition, re.IGNORECASE)
    if not match:
        return ""
    name = {"integer": "int", "boolean": "tinyint", "bool": "tinyint", "dec": "decimal", "numeric": "decimal"}.get(
        match[1].lower(), match[1].lower()
    )
    size = "" if name.endswith("int") else re.sub(r"\s", "", match[2] or "")
    return f"{name}{size}{' unsigned' if match[3] else ''}"


def columns_of(rows: Iterable[Mapping[str, object]]) -> dict[tuple[str, str], Column]:
    """Columns by table and name, from rows of information_schema.COLUMNS."""
    return {
        (f"{row['db']}.{row['name']}".lower(), str(row["col"]).lower()): Column(
            normal(str(row["type"])), str(row["nullable"]).upper() == "YES", str(row["charset"] or "")
        )
        for row in rows
    }
