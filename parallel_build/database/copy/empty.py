"""Room for a copy in the databases of the new server: what an unfinished copy of ours wrote goes, whatever else is there is never dropped."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.database.copy import cleanup
from parallel_build.database.schema import definitions
from parallel_build.database.server import bookkeeping
from parallel_build.errors import GuardFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote


def recreate(opened: Session, name: str) -> None:
    """The database is there and empty, with the default character set that it had."""
    if not definitions.existing(opened, [name]):
        opened.execute(f"CREATE DATABASE {quote(name)}")
        return
    if not _objects_in(opened, name):
        return
    bookkeeping.check_unused(opened)
    character_set, collation = definitions.defaults(opened, name)
    opened.execute("SET SESSION foreign_key_checks = 0")
    opened.execute(f"DROP DATABASE {quote(name)}")
    opened.execute(f"CREATE DATABASE {quote(name)} DEFAULT CHARACTER SET {character_set} COLLATE {collation}")


def _objects_in(opened: Session, name: str) -> int:
    tables = opened.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [name])
    routines = opened.value("SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s", [name])
    events = opened.value("SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s", [name])
    return int(tables) + int(routines) + int(events)


def make(target: Access, opened: Session, names: Sequence[str], kept: Sequence[str]) -> None:
    """The databases are empty afterwards but for the tables that are kept; only what an unfinished copy of ours wrote is dropped."""
    bookkeeping.check_unused(opened)
    record = cleanup.read_record(target)
    ours = set(record.schemas) if record and not record.finished else set()
    for name in names:
        if not definitions.existing(opened, [name]) or not _objects_in(opened, name):
            continue
        if name not in ours:
            raise GuardFailed(
                f"{target.name}: database {name} is not empty",
                "it holds something that no unfinished copy of this project wrote",
                f"look at it on {target.name}; where an earlier window made it, roll that back first (parallel-build back STACK); else drop its content there "
                "once nobody needs it; then run the same command again",
            )
        if any(table.startswith(f"{name}.") for table in kept):
            _drop_all_but(opened, name, kept)
        else:
            recreate(opened, name)


def _drop_all_but(opened: Session, schema: str, kept: Sequence[str]) -> None:
    """Drop everything in a schema but the tables named in `kept` (`schema.table`), without a trigger of their own."""
    opened.execute("SET SESSION foreign_key_checks = 0")
    for kind, listed in (
        ("TRIGGER", "SELECT TRIGGER_NAME AS n FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"),
        ("EVENT", "SELECT EVENT_NAME AS n FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s"),
        ("PROCEDURE", "SELECT ROUTINE_NAME AS n FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'PROCEDURE' AND ROUTINE_SCHEMA = %s"),
        ("FUNCTION", "SELECT ROUTINE_NAME AS n FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_SCHEMA = %s"),
        ("VIEW", "SELECT TABLE_NAME AS n FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s"),
        ("TABLE", "SELECT TABLE_NAME AS n FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = %s"),
    ):
        for row in opened.rows(listed, [schema]):
            if kind != "TABLE" or f"{schema}.{row['n']}" not in kept:
                opened.execute(f"DROP {kind} {quote(schema)}.{quote(row['n'])}")
