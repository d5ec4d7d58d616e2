"""Making schemas, tables, views, routines, triggers and events on the new server from the original's definitions."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import statements
from parallel_build.database.schema.definitions import Code, Schema, Table
from parallel_build.database.schema.translate import Translation
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import StepFailed
from parallel_build.remote.session_settings import pinned
from parallel_build.remote.sql import Session, quote

DEADLOCK = 1213  # the server's number for "Deadlock found when trying to get lock"; what it refused so is not there
DEADLOCK_ATTEMPTS = 20
# Python's codecs for servers' character sets that statements were made under and that are not UTF-8.
CODECS = {"latin1": "cp1252", "latin2": "iso8859-2", "cp1250": "cp1250", "cp1251": "cp1251", "ascii": "ascii", "binary": "utf-8"}


def make_schemas(opened: Session, old: DatabaseServer, new: DatabaseServer, definitions: Sequence[Schema]) -> list[str]:
    """Make the schemas with the original's defaults; return what had to be written differently for the new server's family."""
    translation = Translation(old, new)
    for one in definitions:
        name, collation = quote(one.name), translation.collation(one.collation)
        opened.execute(f"CREATE DATABASE IF NOT EXISTS {name} DEFAULT CHARACTER SET {one.character_set} COLLATE {collation}")
        opened.execute(f"ALTER DATABASE {name} DEFAULT CHARACTER SET {one.character_set} COLLATE {collation}")
    return translation.notes


def make_tables(opened: Session, old: DatabaseServer, new: DatabaseServer, tables: Sequence[Table], cancel: CancelToken) -> list[str]:
    """Make tables, large ones without their secondary keys; their schemas are there already.

    Several sessions may each make a share of them: without foreign key checks their order is of no importance.

    Returns:
        What had to be written differently for the new server's family.
    """
    translation = Translation(old, new)
    opened.execute(pinned(new.family, new.version, statements.target_settings(new.family), writing=True))
    for table in tables:
        cancel.check()
        opened.execute(f"USE {quote(table.schema)}")
        _make_table(opened, translation.table(statements.create_statement(table)), cancel)
    return translation.notes


def _make_table(opened: Session, statement: str, cancel: CancelToken) -> None:
    """Make a table; on MySQL two sessions whose tables refer to each other may block one another: the one that is told so begins again."""
    for attempt in range(DEADLOCK_ATTEMPTS):
        try:
            opened.execute(statement)
            return
        except StepFailed as problem:
            if f"({DEADLOCK}," not in str(problem) or attempt + 1 == DEADLOCK_ATTEMPTS:
                raise
        cancel.wait(0.05 * (attempt + 1))


def make_codes(opened: Session, old: DatabaseServer, new: DatabaseServer, definitions: Sequence[Schema]) -> list[str]:
    """Make routines, views, triggers and events, each under the settings it was made under, definers kept.

    Views come in whatever order their dependencies allow.

    Raises:
        StepFailed: an object can't be made; the message has the server's words.
    """
    translation = Translation(old, new)
    opened.execute(pinned(new.family, new.version, {"foreign_key_checks": "0"}, writing=True))
    codes = [code for one in definitions for code in one.codes]
    for code in codes:
        if code.kind in ("FUNCTION", "PROCEDURE"):
            _make(opened, code, translation)
    waiting = [code for code in codes if code.kind == "VIEW"]
    while waiting:
        left: list[Code] = []
        problem: StepFailed | None = None
        for code in waiting:
            try:
                _make(opened, code, translation)
            except StepFailed as error:
                left.append(code)
                problem = error
        if len(left) == len(waiting) and problem:
            raise problem
        waiting = left
    for code in codes:
        if code.kind in ("TRIGGER", "EVENT"):
            _make(opened, code, translation)
    return translation.notes


def _make(opened: Session, code: Code, translation: Translation) -> None:
    opened.execute(f"USE {quote(code.schema)}")
    opened.execute("SET SESSION sql_mode = %s", [translation.sql_mode(code.sql_mode)])
    if code.time_zone:
        opened.execute("SET SESSION time_zone = %s", [code.time_zone])
    opened.execute("SET SESSION collation_connection = %s", [translation.collation(code.collation)])
    codec = "utf-8" if code.client_set.startswith("utf8") else CODECS.get(code.client_set)
    if codec is None:
        raise StepFailed(
            f"{code.kind.lower()} {code.schema}.{code.name} was made by a client of character set {code.client_set}",
            "its text can't be handed to the new server under that character set",
            f"make it again on the original with character_set_client = utf8mb4: {code.kind.lower()} {code.name}",
        )
    if code.client_set != "utf8mb4":
        opened.execute(f"SET SESSION character_set_client = {code.client_set}")
    try:
        opened.execute_bytes(translation.code(code.create).encode(codec))
    finally:
        opened.execute("SET SESSION character_set_client = utf8mb4")
