"""AUTO_INCREMENT counters as the server really has them."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.database.server.dialects import identify
from parallel_build.remote.sql import Row, Session, quote

LISTED = (
    "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, AUTO_INCREMENT AS a FROM information_schema.TABLES "
    "WHERE AUTO_INCREMENT IS NOT NULL AND TABLE_SCHEMA IN ({marks})"
)


def settle(opened: Session, names: Sequence[str]) -> None:
    """Make information_schema show these databases' counters as they are.

    MySQL shows the last number given in place of the next one for a table that nobody has opened since the server's start [seen on 9.7].
    """
    if identify(opened).family != "mysql":
        return
    tables = [f"{quote(row['s'])}.{quote(row['t'])}" for row in _listed(opened, names)]
    if tables:
        opened.rows(" UNION ALL ".join(f"(SELECT 1 FROM {table} LIMIT 0)" for table in tables))


def read(opened: Session, names: Sequence[str]) -> dict[tuple[str, str], int]:
    """The next number of each table that counts, by schema and table."""
    settle(opened, names)
    return {(row["s"], row["t"]): int(row["a"]) for row in _listed(opened, names)}


def _listed(opened: Session, names: Sequence[str]) -> list[Row]:
    return opened.rows(LISTED.format(marks=", ".join(["%s"] * len(names))), list(names))
