"""What no copy can bring over whole, found before the first row: types, engines, values and a packet that would lose something on the way."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.database.copy import statements
from parallel_build.database.schema.definitions import Schema, Table
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import GuardFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote, session

# Engines whose rows are not on the original's server, and what information_schema shows for a table that it can't open.
ELSEWHERE = frozenset({"FEDERATED", "CONNECT", "SPIDER", "S3", "SPHINX", "OQGRAPH", "NDBCLUSTER", "NDB", "NONE"})
# The largest TIME of MySQL; MariaDB's is up to a second longer, and MySQL cuts it off without a word.
LAST_TIME = "838:59:59"
SHOWN = 10  # names in one message


def check(source: Access, old: DatabaseServer, new: DatabaseServer, definitions: Sequence[Schema]) -> None:
    """Rule: every type, engine, value and packet is one that a copy brings over whole.

    Raises:
        GuardFailed: names what is not.
    """
    tables = [table for one in definitions for table in one.tables]
    _types(source, tables)
    _engines(source, tables)
    with session(source) as opened:
        _packet(opened)
        if (old.family, new.family) == ("mariadb", "mysql"):
            _times(opened, tables)


def _types(source: Access, tables: Sequence[Table]) -> None:
    """Rule: every column's type is one that is brought over."""
    odd = [text for table in tables for text in statements.unsupported(table)]
    if odd:
        raise GuardFailed(
            f"{source.name}: {', '.join(odd[:SHOWN])}",
            "columns of these types are not brought over",
            "CloudStack makes none of these: drop the columns, or move their tables to a database of their own",
        )


def _engines(source: Access, tables: Sequence[Table]) -> None:
    """Rule: every table's rows are on the original itself, and it can read them."""
    odd = [f"{table.schema}.{table.name} ({table.engine})" for table in tables if table.engine.upper() in ELSEWHERE]
    if odd:
        raise GuardFailed(
            f"{source.name}: {', '.join(odd[:SHOWN])}",
            "the rows of these tables are on another server, or this one can't open them",
            "CloudStack makes none of these: drop them, or move them to a database of their own",
        )


def _packet(opened: Session) -> None:
    """Rule: the original puts one value of any usual type together, whatever its escaping makes of it."""
    packet = int(opened.value("SELECT @@GLOBAL.max_allowed_packet"))
    if packet < statements.LEAST_PACKET:
        raise GuardFailed(
            f"{opened.host.name}: max_allowed_packet is {packet} bytes",
            "the server answers NULL for a text that is longer, so values would be lost in a copy",
            f"SET GLOBAL max_allowed_packet = 1073741824 on {opened.host.name}; its clients need not be restarted",
        )


def _times(opened: Session, tables: Sequence[Table]) -> None:
    """Rule: no TIME is longer than MySQL's longest."""
    odd = []
    for table in tables:
        for column in table.written_columns:
            if column.type == "time" and "(" in column.full_type:
                name = quote(column.name)
                condition = f"{name} > TIME'{LAST_TIME}' OR {name} < TIME'-{LAST_TIME}'"
                if opened.value(f"SELECT COUNT(*) FROM {table.full_name} WHERE {condition}"):
                    odd.append(f"{table.schema}.{table.name}.{column.name}")
    if odd:
        raise GuardFailed(
            f"{opened.host.name}: {', '.join(odd[:SHOWN])} holds times beyond {LAST_TIME}",
            "MySQL has no longer ones and would cut off their fractions",
            "shorten these values on the original, or choose MariaDB for the new servers",
        )
