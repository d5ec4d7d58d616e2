"""The statements of a copy: how a table's rows are read on the original and taken in on the new server. Pure text, no server.

The original puts each row together as one text in its SELECT; the new server reads that text with LOAD DATA from a named pipe. The format is
LOAD DATA's own, so nothing in between has to understand it:

* a row begins with `START`, its fields are parted by `BETWEEN`, and `END` ends it; what comes between two rows LOAD DATA passes over;
* text fields are enclosed, everything else is bare;
* NULL is the bare word NULL, which is why every text field is enclosed;
* a table whose texts are all UTF-8 has them enclosed in a byte that UTF-8 has not, so that neither server has to look for what must be escaped,
  and `START` is nowhere else; in any other table they are enclosed in `"`, with `\\` and `"` escaped;
* text travels as the bytes of its column (put together with binary ones, loaded as character set binary): no conversion, so nothing can be
  lost in one;
* values that may be longer than a packet (`LONG_TYPES`) are, in such a table, hexadecimal digits: a server escapes a long value in a time that
  may grow with its square;
* a NULL is told from its column alone, never from what a function made of it: functions answer NULL where their text would be longer than
  `max_allowed_packet`, and such a NULL makes the whole row NULL, which is an error;
* FLOAT is read as DOUBLE, because a server prints a FLOAT with six digits only; BIT as a number; JSON as utf8mb4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from parallel_build.database.schema.definitions import Column, Table, split_create
from parallel_build.remote.session_settings import LENIENT, PLAIN
from parallel_build.remote.sql import quote

TEXT_TYPES = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
BINARY_TYPES = frozenset({
    "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob",
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection",
})  # fmt: skip
BARE_TYPES = frozenset({
    "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "double", "date", "datetime", "timestamp", "time", "year",
    "inet4", "inet6", "uuid",
})  # fmt: skip
# Types that would draw the word NULL into a value of theirs.
SPELLED_TYPES = frozenset({"inet4", "inet6", "uuid"})
# Types of which one value may be longer than any packet that a server is likely to have.
LONG_TYPES = frozenset({"mediumtext", "longtext", "mediumblob", "longblob", "json"})
UTF8_SETS = frozenset({"utf8", "utf8mb3", "utf8mb4"})
# Bytes that UTF-8 has not. What comes before a row over the wire has the first one nowhere, as far as it is not cut off (see `wire`).
START, BETWEEN, END, ENCLOSED = "fbffff", "fe", "fd", "ff"
NULL = b"NULL".hex()
# An explicit collation wins over every column's: what is joined with this is taken as its bytes, nothing is converted.
QUOTED = f"_binary 0x{ENCLOSED} COLLATE `binary`"
FORMAT = (
    f"FIELDS TERMINATED BY 0x{BETWEEN} OPTIONALLY ENCLOSED BY {{enclosed}} ESCAPED BY {{escaped}} "
    f"LINES STARTING BY 0x{START} TERMINATED BY 0x{END}"
)
ESCAPED_FORMAT = FORMAT.format(enclosed="'\"'", escaped="'\\\\'")
UNESCAPED_FORMAT = FORMAT.format(enclosed=f"0x{ENCLOSED}", escaped="''")
# Rows of a table smaller than this are a matter of milliseconds: its keys are made with it.
DEFER_KEYS_FROM = 4 << 20
# Small enough that every stream has a share of the largest table: its keys can be built only when its last row is in.
CHUNK_BYTES = 24 << 20
PIECES = 1000  # at most, of one table

# A packet's least size on the original: whatever one value of a type that is not in LONG_TYPES becomes, escaped and enclosed, is far below it.
LEAST_PACKET = 1 << 20

# What the copy's sessions pin otherwise than every session does, see `session_settings`.
SOURCE_SETTINGS = {"sql_mode": PLAIN, "lock_wait_timeout": "5"}
TARGET_SETTINGS = {"sql_mode": LENIENT, "foreign_key_checks": "0"}
TARGET_SETTINGS_OF = {"mariadb": {"check_constraint_checks": "0"}, "mysql": {}}


def target_settings(family: str) -> dict[str, str]:
    """The settings under which tables are made and rows are taken in."""
    return TARGET_SETTINGS | TARGET_SETTINGS_OF[family]


def literal(text: str) -> str:
    """A string literal that is right under every sql_mode used here."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unsupported(table: Table) -> list[str]:
    """Columns whose type is not brought over, as `table.column (type)`."""
    known = TEXT_TYPES | BINARY_TYPES | BARE_TYPES | {"float", "bit", "json"}
    return [
        f"{table.schema}.{table.name}.{column.name} ({column.full_type})" for column in table.written_columns if column.type not in known
    ]


def only_utf8(columns: Iterable[Column]) -> bool:
    """Whether none of these columns can hold the bytes that UTF-8 has not."""
    return not any(
        column.type in BINARY_TYPES or (column.type in TEXT_TYPES and column.character_set not in UTF8_SETS) for column in columns
    )


def unescaped(table: Table) -> bool:
    """Whether no text of the table can hold the byte 0xff, so that nothing in it has to be escaped."""
    return only_utf8(table.written_columns)


def read_expression(column: Column, *, escape: bool = True) -> str:
    """What the SELECT has for a column's value that is not NULL.

    Args:
        escape: False where the table's texts need none, see `unescaped`; they are then enclosed by whoever puts the row together.
    """
    name = quote(column.name)
    if column.type in SPELLED_TYPES:
        return f"CAST(CAST({name} AS CHAR) AS BINARY)"
    if column.type in BARE_TYPES:
        return name
    if column.type == "float":
        return f"{name} * 1e0"  # a sum would lose the sign of a MySQL server's minus zero
    if column.type == "bit":
        return f"{name} + 0"
    value = _own(column)
    if not escape:
        return value
    if column.type in LONG_TYPES:
        return f"HEX({value})"
    return f"CONCAT(0x22, REPLACE(REPLACE(CAST({value} AS BINARY), 0x5c, 0x5c5c), 0x22, 0x5c22), 0x22)"


def _own(column: Column) -> str:
    """A text as its column has it."""
    return f"CONVERT({quote(column.name)} USING utf8mb4)" if column.type == "json" else quote(column.name)


def hexadecimal(table: Table) -> tuple[Column, ...]:
    """The columns whose values travel as hexadecimal digits."""
    return () if unescaped(table) else tuple(column for column in table.written_columns if column.type in LONG_TYPES)


def select(table: Table, where: str = "") -> str:
    """The statement that reads a table, or the part of it that `where` names, on the original."""
    # Not CONCAT_WS: it passes over a NULL, and the fields after it would move; CONCAT makes all of the row NULL.
    row = f"CONCAT({', '.join(_row(table))})"
    # Without the hint a server may read a range by a secondary key, one random page a row.
    hint = " FORCE INDEX (PRIMARY)" if table.primary_key else ""
    return f"SELECT {row} FROM {table.full_name}{hint}" + (f" WHERE {where}" if where else "")


def _row(table: Table) -> list[str]:
    """What a row is put together of. Each value costs the server some time, a constant too: bytes that stand side by side are one."""
    columns, bare = table.written_columns, unescaped(table)
    parts: list[str] = []
    constant = START
    for column in columns:
        after = END if column is columns[-1] else BETWEEN
        enclosed = bare and (column.type in TEXT_TYPES or column.type == "json")
        value = read_expression(column, escape=not bare)
        if enclosed and not column.nullable:
            parts += [_constant(constant + ENCLOSED), _own(column)]
            constant = ENCLOSED + after
        elif enclosed:
            parts += [
                _constant(constant),
                f"IF({quote(column.name)} IS NULL, _binary 0x{NULL}{after}, CONCAT({QUOTED}, {_own(column)}, 0x{ENCLOSED}{after}))",
            ]
            constant = ""
        else:
            parts += [_constant(constant), f"IF({quote(column.name)} IS NULL, _binary 0x{NULL}, {value})" if column.nullable else value]
            constant = after
    return [part for part in [*parts, _constant(constant)] if part]


def _constant(digits: str) -> str:
    """Bytes as a row's part; the collation is an explicit one, which wins over every column's."""
    return f"_binary 0x{digits} COLLATE `binary`" if digits else ""


def longest(table: Table, where: str = "") -> str:
    """The statement that names the columns of which one value alone is too long for a packet: what to say of a row that could not be read."""
    twice = not unescaped(table)
    names = [
        f"IF(MAX(LENGTH({quote(column.name)})) * {2 if twice else 1} + 2 > @@max_allowed_packet, {literal(column.name)}, NULL)"
        for column in table.written_columns
        if column.type in TEXT_TYPES | BINARY_TYPES | {"json"}
    ]
    listed = f"CONCAT_WS(', ', {', '.join(names)})" if names else "''"
    return f"SELECT {listed} FROM {table.full_name}" + (f" WHERE {where}" if where else "")


def load(table: Table, path: str) -> str:
    """The statement that takes a table's rows in from the named pipe `path` on the new server."""
    targets: list[str] = []
    sets: list[str] = []
    digits = hexadecimal(table)
    for number, column in enumerate(table.written_columns):
        value = f"UNHEX(@v{number})" if column in digits else f"@v{number}"
        if column.type == "bit":
            value = f"CAST({value} AS UNSIGNED)"
        elif column.type == "json" or column.type in SPELLED_TYPES:  # bytes would be taken for the address itself
            value = f"CONVERT({value} USING utf8mb4)"
        if value != f"@v{number}":
            targets.append(f"@v{number}")
            sets.append(f"{quote(column.name)} = {value}")
        else:
            targets.append(quote(column.name))
    form = UNESCAPED_FORMAT if unescaped(table) else ESCAPED_FORMAT
    statement = f"LOAD DATA INFILE {literal(path)} INTO TABLE {table.full_name} CHARACTER SET binary {form} ({', '.join(targets)})"
    return statement + (f" SET {', '.join(sets)}" if sets else "")


@dataclass(frozen=True)
class Part:
    """A piece of work for one stream.

    Attributes:
        table: the table.
        where: the range of its first primary key column, empty for all of it.
        weight: estimated bytes in the original's clustered index, for progress and order.
    """

    table: Table
    where: str
    weight: int


def ranges(table: Table, low: int | None, high: int | None, chunk: int = CHUNK_BYTES, most: int = PIECES) -> list[str]:
    """Conditions that cut a table into pieces of about `chunk` bytes by its first primary key column.

    Args:
        low: smallest value of that column, None for an empty table.
        high: largest value.
        chunk: bytes of the clustered index in one piece; more where there would be more than `most` of them.
    Returns:
        Conditions that together hold for every row exactly once, also for rows outside of low..high (added since they were asked for).
    """
    column = table.range_column
    pieces = max(1, min(table.data_bytes // chunk, most))
    if column is None or low is None or high is None or pieces == 1 or high - low < pieces:
        return [""]
    name = quote(column)
    bounds = [low + (high - low + 1) * number // pieces for number in range(1, pieces)]
    conditions = [f"{name} < {bounds[0]}"]
    conditions += [f"{name} >= {start} AND {name} < {end}" for start, end in itertools.pairwise(bounds)]
    return [*conditions, f"{name} >= {bounds[-1]}"]


def deferred(table: Table) -> bool:
    """Whether the table's secondary keys are built after its rows are in."""
    if table.data_bytes < DEFER_KEYS_FROM:
        return False
    parts = split_create(table)
    return bool(parts.keys or parts.foreign_keys)


def create_statement(table: Table) -> str:
    """The statement that makes the table before its rows come, with or without its secondary keys."""
    return split_create(table).create if deferred(table) else table.create


def finish_statements(table: Table) -> list[str]:
    """What makes the table whole once its rows are in: all keys in one statement, so that the rows are read once for all of them."""
    if not deferred(table):
        return []
    parts = split_create(table)
    statements = []
    if parts.keys:
        statements.append(f"ALTER TABLE {table.full_name} " + ", ".join(f"ADD {clause}" for clause in parts.keys))
    if parts.foreign_keys:
        statements.append(f"ALTER TABLE {table.full_name} " + ", ".join(f"ADD {clause}" for clause in parts.foreign_keys))
    return statements
