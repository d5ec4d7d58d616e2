"""What a table's rows amount to, as numbers that two servers of different family and version compute alike.

A row becomes one text: its columns' values in order, so that no two different rows give the same text ('a','b#' and 'a#','b'; NULL and 'NULL';
'x' and 'x '). Its SHA-256 is cut to 64 bits, and a range of rows is the number of rows and the sum of these. (MySQL has had no MD5() of its own
since 9.6, and with a processor's SHA instructions SHA-256 is quicker.) CHECKSUM TABLE is no help across versions: it depends on the storage
format, and its 32-bit sum of CRCs does not see values swapped between rows.

Why a text identifies its row, where all texts are UTF-8: values are parted by a byte that UTF-8 has not, a NULL is another such byte, and a
DOUBLE is 25 bytes that begin otherwise. In any other table `#` stands between the values, and their lengths come after them; no number, date or
hash has a `#`, a NULL among these is the word N, which none of them is, and every text but one is as long as its length says. So all values but
that one text are found from either end; what is left is it, or, where it is NULL, nothing but the one `#` between its neighbours.
The bytes are others than those that part fields in a copy (`statements`): what a copy misreads is not misread here in the same way.

Values are taken so that no server's habits show: text and binary values as their bytes (a collation calls 'a' and 'A ' equal), DOUBLE and FLOAT
as the bytes of a point's coordinate (a server takes longer to print one than for all the rest of a row), BIT as a number, TIMESTAMP in UTC, long
values by their own hash. Most of a comparison's time is the server's turning values into text, so each is turned once, and by as few functions
as can be.

Where every server reads a table's rows in the same order, all texts of a range are hashed at once (`digest_statement`). That is quicker: a row's own hash
costs most as a number that can be summed. What it does not show to be equal is looked at row by row.

No row is passed over: functions answer NULL where their text would be longer than `max_allowed_packet`, and a sum passes over a NULL. Hashed by
itself a value may be longer than a packet, so the text of a row is short; where it is longer than a packet all the same, the statement fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallel_build.database.copy import statements
from parallel_build.database.schema.definitions import Column, Table
from parallel_build.errors import ComparisonFailed
from parallel_build.remote.session_settings import PLAIN
from parallel_build.remote.sql import Refused, Row, Session, quote

OWN_TYPES = frozenset({"inet4", "inet6", "uuid"})  # MariaDB would take the word N for a value of the type itself
# Of up to 64 KiB; only where a row may have many is their text together longer than the smallest packet that a copy takes.
MEDIUM_TYPES = frozenset({"text", "blob"})
MANY = statements.LEAST_PACKET // 2 // 65536
# An explicit collation wins over every column's: all texts are taken as their bytes, none is converted.
SEPARATOR = "_binary'#' COLLATE `binary`"
BETWEEN, NULL = "_binary 0xf9 COLLATE `binary`", "_binary 0xfa COLLATE `binary`"
# Evaluated only where something is NULL that must not be: out of range, whatever UUID_SHORT() answers, and never computed beforehand.
TOO_LONG = "18446744073709551615 + UUID_SHORT()"
OUT_OF_RANGE = 1690  # the servers' number for it
RANGE_BYTES = 48 << 20
# Of a range whose texts are put together, and the packet that both servers must take for it: with its numbers printed a row is rarely twice as long.
DIGEST_BYTES, DIGEST_PACKET = 8 << 20, 16 << 20
DIGEST_PIECES = 100_000  # at most, of one table: a larger piece would be cut off
SETTINGS = {"sql_mode": PLAIN}


def value_expression(column: Column) -> str:
    """A column's value in a form that depends on nothing but the value."""
    name = quote(column.name)
    if column.type == "float":
        return f"{name} + 0e0"  # equal for both zeros: minus zero is 0 to every statement, and MariaDB prints it so
    if column.type == "bit":
        return f"{name} + 0"
    return f"CONVERT({name} USING utf8mb4)" if column.type == "json" else name


def _hashed(columns: tuple[Column, ...]) -> frozenset[str]:
    """The types whose values are taken by their own hash."""
    medium = sum(column.type in MEDIUM_TYPES for column in columns)
    return statements.LONG_TYPES | MEDIUM_TYPES if medium > MANY else statements.LONG_TYPES


def _taken(column: Column, hashed: frozenset[str], null: str) -> str:
    """A column's value as it stands in a row's text; `null` in place of a NULL."""
    value, name = value_expression(column), quote(column.name)
    if column.type in hashed:
        value = f"SHA2({value}, 256)"
        if column.nullable:
            null = f"IF({name} IS NULL, {null}, {TOO_LONG})"
    elif column.type in ("double", "float") and "(" not in column.full_type:
        value = f"POINT({name} + 0e0, 0)"
    elif column.type in OWN_TYPES:
        value = f"CAST({name} AS CHAR)"
    return f"IFNULL({value}, {null})" if column.nullable else value


def _parted(columns: tuple[Column, ...]) -> list[str]:
    """The values of a row whose texts are all UTF-8, as `BETWEEN` parts them."""
    hashed = _hashed(columns)
    return [_taken(column, hashed, NULL) for column in columns]


def row_text(columns: tuple[Column, ...]) -> str:
    """The expression of a row's text."""
    hashed = _hashed(columns)
    if statements.only_utf8(columns):
        return f"CONCAT_WS({BETWEEN}, {', '.join(_parted(columns))})"
    values: list[str] = []
    marks: list[str] = []
    texts = 0
    for column in columns:
        name = quote(column.name)
        if column.type in hashed or column.type in statements.BARE_TYPES or column.type in ("float", "bit"):
            values.append(_taken(column, hashed, "'N'"))
        else:
            values.append(value_expression(column))
            texts += 1
            if texts > 1 or len(columns) == 1:
                marks.append(f"IFNULL(LENGTH({name}), 'N')" if column.nullable else f"LENGTH({name})")
    return f"CONCAT_WS({SEPARATOR}, {', '.join([*values, *marks])})"


def row_hash(columns: tuple[Column, ...]) -> str:
    """The expression of a row's 64 bits; it fails rather than be NULL."""
    return f"IFNULL(CAST(CONV(LEFT(SHA2({row_text(columns)}, 256), 16), 16, 10) AS UNSIGNED), {TOO_LONG})"


@dataclass(frozen=True)
class Range:
    """A piece of a table to compare: `where` is a condition on its first primary key column, empty for all of it."""

    table: Table
    where: str
    weight: int

    @property
    def words(self) -> str:
        """For a report."""
        words = self.where.replace("`", "") or "all rows"
        return words if len(words) <= 80 else f"{words[:70]}...)"


def ask(opened: Session, part: Range, statement: str) -> list[Row]:
    """Run a statement of this module.

    Raises:
        ComparisonFailed: a row can't be hashed there.
    """
    try:
        return opened.rows(statement)
    except Refused as refused:
        if refused.number != OUT_OF_RANGE:
            raise
        raise ComparisonFailed(
            f"{opened.host.name}: a row of {part.table.schema}.{part.table.name} can't be compared ({part.words})",
            "its values together are longer than max_allowed_packet there, so the server can't put them together",
            f"SET GLOBAL max_allowed_packet = 1073741824 on {opened.host.name}, then run the same command again",
        ) from None


def hint(table: Table) -> str:
    """Keeps a server from reading a range by a secondary key."""
    return " FORCE INDEX (PRIMARY)" if table.primary_key else ""


def condition(where: str, *more: str) -> str:
    """A WHERE clause of all conditions that are not empty."""
    parts = [f"({text})" for text in (where, *more) if text]
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def ordered(table: Table) -> bool:
    """Whether the order of a table's rows is the only thing that tells equal rows apart: it has no primary key."""
    return not table.primary_key


def sum_statement(part: Range, family: str) -> str:
    """Number of rows and sum of their hashes; for a table without a primary key also a sum that depends on the rows' order."""
    table, value = part.table, row_hash(part.table.columns)
    source = f"{table.full_name}{hint(table)}{condition(part.where)}"
    if not ordered(table):
        return f"SELECT COUNT(*) AS n, COALESCE(SUM({value}), 0) AS s, 0 AS o FROM {source}"
    sums = "SELECT COUNT(*) AS n, COALESCE(SUM(h), 0) AS s, COALESCE(SUM((h % 1000003) * r), 0) AS o FROM "
    if family == "mysql":
        return f"{sums}(SELECT {value} AS h, ROW_NUMBER() OVER () AS r FROM {source}) AS rows_in_order"
    # MariaDB sorts the rows before it numbers them by a window function; a counting variable sees them as they are stored.
    return f"{sums}(SELECT {value} AS h, (@cutover_row := @cutover_row + 1) AS r FROM {source}, (SELECT @cutover_row := 0) AS begin) AS rows_in_order"


def in_one_order(table: Table) -> bool:
    """Whether every server reads the table's rows in the same order, and their texts one after another can be told apart.

    The order is an integer's, since that of texts depends on the collation. A text that `BETWEEN` parts has its end where the table's last column has.
    """
    return table.engine.upper() == "INNODB" and table.primary_key == (table.range_column,) and statements.only_utf8(table.columns)


def digest_statement(part: Range) -> str:
    """Number of rows and one SHA-256 over all of their texts, of a table that is `in_one_order`: most of a row's own is printing it as a number."""
    text = f"CONCAT_WS({BETWEEN}, {', '.join(_parted(part.table.columns))}, _binary'')"
    source = f"{part.table.full_name}{hint(part.table)}{condition(part.where)}"
    whole = f"SHA2(GROUP_CONCAT(IFNULL({text}, {TOO_LONG}) SEPARATOR ''), 256)"
    return f"SELECT CONNECTION_ID() AS c, COUNT(*) AS n, {whole} AS d FROM {source}"


@dataclass(frozen=True)
class Digest:
    """What `digest_statement` answers.

    Attributes:
        rows: their number.
        sha: of all their texts; None of no rows.
        whole: nothing was cut off, so that equal ones are equal rows.
    """

    rows: int
    sha: str | None
    whole: bool


def digest(opened: Session, part: Range) -> Digest:
    """The rows' digest. A server cuts GROUP_CONCAT off at its packet and says so in a warning, as long as the session is the same."""
    row = ask(opened, part, digest_statement(part))[0]
    after = opened.row("SELECT CONNECTION_ID() AS c, @@warning_count AS w") or {}
    whole = (after.get("c"), after.get("w")) == (row["c"], 0) and (row["d"] is not None or row["n"] == 0)
    return Digest(int(row["n"]), row["d"], whole)


def key_columns(table: Table) -> tuple[Column, ...]:
    """The columns that name a row: its primary key, or all of them."""
    if not table.primary_key:
        return table.columns
    return tuple(next(column for column in table.columns if column.name == name) for name in table.primary_key)


def bucket_statement(part: Range, buckets: int) -> str:
    """The range in pieces by a hash of the key: bucket, rows, sum. Narrows a difference down whatever the key's type is."""
    key = row_text(key_columns(part.table))
    return (
        f"SELECT CRC32({key}) % {buckets} AS b, COUNT(*) AS n, SUM({row_hash(part.table.columns)}) AS s "
        f"FROM {part.table.full_name}{hint(part.table)}{condition(part.where)} GROUP BY CRC32({key}) % {buckets}"  # a column may be called b
    )


def rows_statement(part: Range, buckets: int, chosen: list[int], limit: int) -> str:
    """Key and hash of the rows in some buckets."""
    key = row_text(key_columns(part.table))
    names = ", ".join(f"CAST({value_expression(column)} AS CHAR) AS k{number}" for number, column in enumerate(shown_key(part.table)))
    wanted = f"CRC32({key}) % {buckets} IN ({', '.join(map(str, chosen))})"
    return (
        f"SELECT SHA2({key}, 256) AS k, {row_hash(part.table.columns)} AS h{', ' + names if names else ''} "
        f"FROM {part.table.full_name}{hint(part.table)}{condition(part.where, wanted)} LIMIT {limit}"
    )


def shown_key(table: Table) -> tuple[Column, ...]:
    """Key columns whose values may be shown in a report: a primary key's; a row without one is shown by its hash alone."""
    return key_columns(table) if table.primary_key else ()


def columns_statement(table: Table, key_hash: str) -> str:
    """A hash of each column's value in the row of that key, to say which columns differ."""
    values = ", ".join(f"SHA2({row_text((column,))}, 256) AS c{number}" for number, column in enumerate(table.columns))
    return f"SELECT {values} FROM {table.full_name} WHERE SHA2({row_text(key_columns(table))}, 256) = '{key_hash}' LIMIT 1"
