"""The statements of a copy: how a table's rows are read on the original and taken in on the new server. Pure text, no server.

The original puts each row together as one text in its SELECT; the new server reads that text with LOAD DATA from a named pipe. The format is
LOAD DATA's own, so nothing in between has to understand it:

* a row begins with `START`, its fields are parted by `BETWEEN`, and `END` ends it; what comes between two rows LOAD DATA passes over;
* text fields are enclosed, everything else is bare;
* NULL is the bare word NULL, which is why every text field is enclosed;
* a table whose texts are all UTF-8 has them enclosed in a byte that UTF-8 has not, so that neither server has to look for what must be escaped,
  and `START` is nowhere else; in any other table they are enclosed in `"`, with `\\` and `"` escaped;
* text travels as the bytes of its column (cast to binary, loaded as character set binary): no conversion, so nothing can be lost in one;
* FLOAT is read as DOUBLE, because a server prints a FLOAT with six digits only; BIT as a number; JSON as utf8mb4.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from parallel_build.database.schema import Column, Table, split_create
from parallel_build.database.session import quote

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
UTF8_SETS = frozenset({"utf8", "utf8mb3", "utf8mb4"})
# Bytes that UTF-8 has not. What comes before a row over the wire has the first one nowhere, as far as it is not cut off (see `wire`).
START, BETWEEN, END, ENCLOSED = "fbffff", "fe", "fd", "ff"
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

SOURCE_SETTINGS = (
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION net_write_timeout = 86400, net_read_timeout = 86400, wait_timeout = 86400",
    "SET SESSION lock_wait_timeout = 5",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)
# Zero dates and 0 in AUTO_INCREMENT columns are taken as they are. Not strict, as the import of a dump: what the original holds, such as an
# empty enum or a generated column out of its range, need not pass today's rules; that every stored value is the same, the comparison proves.
TARGET_SETTINGS = (
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION foreign_key_checks = 0",
    "SET SESSION wait_timeout = 86400",
)
# What the original holds against a check of its own need not pass it again; MySQL has no such setting.
UNCHECKED = {"mariadb": ("SET SESSION check_constraint_checks = 0",)}


def literal(text: str) -> str:
    """A string literal that is right under every sql_mode used here."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unsupported(table: Table) -> list[str]:
    """Columns whose type is not brought over, as `table.column (type)`."""
    known = TEXT_TYPES | BINARY_TYPES | BARE_TYPES | {"float", "bit", "json"}
    return [
        f"{table.schema}.{table.name}.{column.name} ({column.full_type})" for column in table.written_columns if column.type not in known
    ]


def unescaped(table: Table) -> bool:
    """Whether no text of the table can hold the byte 0xff, so that nothing in it has to be escaped."""
    return not any(
        column.type in BINARY_TYPES or (column.type in TEXT_TYPES and column.character_set not in UTF8_SETS)
        for column in table.written_columns
    )


def read_expression(column: Column, *, escape: bool = True) -> str:
    """What the SELECT has for a column.

    Args:
        escape: False where the table's texts need none, see `unescaped`.
    """
    name = quote(column.name)
    if column.type in SPELLED_TYPES:
        return f"CAST({name} AS CHAR)"
    if column.type in BARE_TYPES:
        return name
    if column.type == "float":
        return f"{name} + 0e0"
    if column.type == "bit":
        return f"{name} + 0"
    value = f"CAST({f'CONVERT({name} USING utf8mb4)' if column.type == 'json' else name} AS BINARY)"
    if not escape:
        return f"CONCAT(0x{ENCLOSED}, {value}, 0x{ENCLOSED})"
    return f"CONCAT(0x22, REPLACE(REPLACE({value}, 0x5c, 0x5c5c), 0x22, 0x5c22), 0x22)"


def select(table: Table, where: str = "") -> str:
    """The statement that reads a table, or the part of it that `where` names, on the original."""
    escape = not unescaped(table)
    fields = []
    for column in table.written_columns:
        value = read_expression(column, escape=escape)
        fields.append(f"IFNULL({value}, _binary 'NULL')" if column.nullable else value)
    fields[0] = f"CONCAT(0x{START}, {fields[0]})"
    fields[-1] = f"CONCAT({fields[-1]}, 0x{END})"
    columns = f"CONCAT_WS(0x{BETWEEN}, {', '.join(fields)})"
    # Without the hint a server may read a range by a secondary key, one random page a row.
    hint = " FORCE INDEX (PRIMARY)" if table.primary_key else ""
    return f"SELECT {columns} FROM {table.full_name}{hint}" + (f" WHERE {where}" if where else "")


def load(table: Table, path: str) -> str:
    """The statement that takes a table's rows in from the named pipe `path` on the new server."""
    targets: list[str] = []
    sets: list[str] = []
    for number, column in enumerate(table.written_columns):
        if column.type in ("bit", "json"):
            targets.append(f"@v{number}")
            value = f"CAST(@v{number} AS UNSIGNED)" if column.type == "bit" else f"CONVERT(@v{number} USING utf8mb4)"
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


def ranges(table: Table, low: int | None, high: int | None, chunk: int = CHUNK_BYTES) -> list[str]:
    """Conditions that cut a table into pieces of about `chunk` bytes by its first primary key column.

    Args:
        low: smallest value of that column, None for an empty table.
        high: largest value.
        chunk: bytes of the clustered index in one piece; more where there would be more than `PIECES`.
    Returns:
        Conditions that together hold for every row exactly once, also for rows outside of low..high (added since they were asked for).
    """
    column = table.range_column
    pieces = max(1, min(table.data_bytes // chunk, PIECES))
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
