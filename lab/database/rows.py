"""Rows as SQL: literals, and INSERT statements that name every column of a table."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterable, Iterator, Mapping

from lab.database.errors import SchemaError
from lab.database.notation import Table

Row = Mapping[str, object]
STATEMENT_BYTES = 128 * 1024  # far below any server's max_allowed_packet; smaller and larger ones were slower to load
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\x1a": "\\Z"},
)


def literal(value: object) -> str:
    """A value as an SQL literal of both families of servers. Raises SchemaError for a type that has none."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | decimal.Decimal):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.translate(_ESCAPES) + "'"
    if isinstance(value, datetime.datetime):
        return value.strftime("'%Y-%m-%d %H:%M:%S'")
    if isinstance(value, bytes):
        return "0x" + value.hex() if value else "''"
    raise SchemaError(f"no SQL literal for a {type(value).__name__}")


def default_literal(table: Table, name: str) -> str:
    """What a column holds where a row says nothing. Raises SchemaError if the column insists on a value."""
    column = table.column(name)
    if column.auto_increment or column.default == "now":
        return "DEFAULT"
    if column.default is not None:
        return column.default
    if column.nullable:
        return "NULL"
    raise SchemaError(f"a row of {table.name} gives no {name}, which is NOT NULL and has no default")


def statements(head: str, values: Iterable[str]) -> Iterator[str]:
    """INSERT statements of bounded size from rows that are already SQL, for example `(1,'a')`."""
    batch: list[str] = []
    size = 0
    for row in values:
        batch.append(row)
        size += len(row)
        if size >= STATEMENT_BYTES:
            yield head + ",\n".join(batch) + ";\n"
            batch, size = [], 0
    if batch:
        yield head + ",\n".join(batch) + ";\n"


def inserts(table: Table, rows: Iterable[Row]) -> Iterator[str]:
    """INSERT statements for rows given by column name.

    Raises:
        SchemaError: a row names a column that is not there, or leaves out one that must be given.
    """
    names = {column.name for column in table.columns}
    defaults: dict[str, str] = {}

    def value(row: Row, name: str) -> str:
        if name in row:
            return literal(row[name])
        if name not in defaults:
            defaults[name] = default_literal(table, name)
        return defaults[name]

    def rendered() -> Iterator[str]:
        for row in rows:
            unknown = set(row) - names
            if unknown:
                raise SchemaError(f"table {table.name} has no column {', '.join(sorted(unknown))}")
            yield "(" + ",".join(value(row, column.name) for column in table.columns) + ")"

    yield from statements(f"INSERT INTO `{table.name}` VALUES\n", rendered())
