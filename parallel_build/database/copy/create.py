"""Making schemas, tables, views, routines, triggers and events on the new server from the original's definitions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import statements
from parallel_build.database.schema.definitions import Code, Schema, Table, defaults, disabled
from parallel_build.database.schema.translate import Translation
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import StepFailed
from parallel_build.remote.session_settings import STRICT, pinned
from parallel_build.remote.sql import Session, quote

DEADLOCK = 1213  # the server's number for "Deadlock found when trying to get lock"; what it refused so is not there
DEADLOCK_ATTEMPTS = 20
# Python's codecs for servers' character sets that statements were made under and that are not UTF-8.
CODECS = {
    "latin1": "cp1252", "latin2": "iso8859-2", "latin5": "iso8859-9", "latin7": "iso8859-13", "greek": "iso8859-7", "hebrew": "iso8859-8",
    "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256", "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866",
    "koi8r": "koi8-r", "koi8u": "koi8-u", "tis620": "tis-620", "macroman": "mac-roman", "ascii": "ascii", "binary": "utf-8", "big5": "big5",
    "gbk": "gbk", "gb2312": "gb2312", "gb18030": "gb18030", "sjis": "shift-jis", "cp932": "cp932", "ujis": "euc-jp", "euckr": "euc-kr",
}  # fmt: skip
EVENTS = "SELECT EVENT_SCHEMA AS s, EVENT_NAME AS n FROM information_schema.EVENTS"
# Long before any event's time: one that is over is made as if it were not, or the server does not keep it.
BEFORE_EVENTS = 1


@dataclass(frozen=True)
class Failure:
    """An object that the server did not make.

    Attributes:
        made: what was to be made.
        error: the server's words.
    """

    made: Table | Code
    error: StepFailed

    @property
    def name(self) -> str:
        """`schema.object`."""
        return f"{self.made.schema}.{self.made.name}"

    @property
    def kind(self) -> str:
        """In one word."""
        return self.made.kind.lower() if isinstance(self.made, Code) else "table"


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
    take_as_they_are(opened, new)
    for table in tables:
        cancel.check()
        make_table(opened, table, statements.create_statement(table), translation, cancel)
    return translation.notes


def take_as_they_are(opened: Session, new: DatabaseServer) -> None:
    """Have a session make tables as the original has them, and with no other engine than theirs."""
    opened.execute(pinned(new.family, new.version, statements.target_settings(new.family), writing=True))
    opened.execute("SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_ENGINE_SUBSTITUTION')")


def make_table(opened: Session, table: Table, statement: str, translation: Translation, cancel: CancelToken) -> None:
    """Make a table by a statement in the original's words."""
    opened.execute(f"USE {quote(table.schema)}")
    _make_table(opened, translation.statement(statement), cancel)


def _make_table(opened: Session, statement: str, cancel: CancelToken) -> None:
    """Make a table; on MySQL two sessions whose tables refer to each other may block one another: the one that gets the error begins again."""
    for attempt in range(DEADLOCK_ATTEMPTS):
        try:
            opened.execute(statement)
            return
        except StepFailed as problem:
            if f"({DEADLOCK}," not in str(problem) or attempt + 1 == DEADLOCK_ATTEMPTS:
                raise
        cancel.wait(0.05 * (attempt + 1))


def make_codes(opened: Session, old: DatabaseServer, new: DatabaseServer, definitions: Sequence[Schema]) -> list[str]:
    """Make routines, views, triggers and events, each under the settings it was made under, definers kept; events are disabled.

    Raises:
        StepFailed: an object can't be made; the message has the server's words on the first that is no other's consequence.
    """
    translation = Translation(old, new)
    failures = try_codes(opened, new, [code for one in definitions for code in one.codes], translation)
    if failures:
        raise causes(failures)[0].error
    return translation.notes


def try_codes(opened: Session, new: DatabaseServer, codes: Sequence[Code], translation: Translation) -> list[Failure]:
    """Make whatever can be made, views in whatever order their dependencies allow; return what can't, with the server's last words on each."""
    opened.execute(pinned(new.family, new.version, {"foreign_key_checks": "0"}, writing=True))
    failures = _try(opened, [code for code in codes if code.kind in ("FUNCTION", "PROCEDURE")], translation)
    waiting = [code for code in codes if code.kind == "VIEW"]
    while waiting:
        left = _try(opened, waiting, translation)
        if len(left) == len(waiting):
            failures += left
            break
        waiting = [failure.made for failure in left if isinstance(failure.made, Code)]
    return failures + _try(opened, [code for code in codes if code.kind in ("TRIGGER", "EVENT")], translation)


def causes(failures: Sequence[Failure]) -> list[Failure]:
    """Those that no other failing object explains, first; where each names another, all."""
    names = {failure.name for failure in failures}
    first = [failure for failure in failures if not any(name in failure.error.cause for name in names - {failure.name})]
    return first or list(failures)


def _try(opened: Session, codes: Sequence[Code], translation: Translation) -> list[Failure]:
    failures = []
    for code in codes:
        try:
            _make(opened, code, translation)
        except StepFailed as error:
            failures.append(Failure(code, error))
    return failures


def _make(opened: Session, code: Code, translation: Translation) -> None:
    # An order that an earlier version of this program left may have an event as it is on the original.
    create = disabled(opened, code.create) if code.kind == "EVENT" else code.create
    text = _encoded(code, translation.statement(create))
    opened.execute(f"USE {quote(code.schema)}")
    with _default_collation(opened, code.schema, translation.collation(code.database_collation)):
        opened.execute("SET SESSION sql_mode = %s", [translation.sql_mode(code.sql_mode)])
        if code.time_zone:
            opened.execute("SET SESSION time_zone = %s", [code.time_zone])
        with _client_settings(opened, code.client_set, translation.collation(code.collation)):
            opened.execute_bytes(text)
            if code.kind == "EVENT" and not _there(opened, code):
                opened.execute(f"SET SESSION timestamp = {BEFORE_EVENTS}")
                opened.execute_bytes(text)


@contextlib.contextmanager
def _client_settings(opened: Session, client_set: str, collation: str) -> Iterator[None]:
    """An object's character set and collation for one statement. Afterwards the session is as it was: what it prints next must not be in an object's mode."""
    opened.execute("SET SESSION collation_connection = %s", [collation])
    if client_set != "utf8mb4":
        opened.execute(f"SET SESSION character_set_client = {client_set}")
    try:
        yield
    finally:
        opened.execute(f"SET SESSION sql_mode = {STRICT}, time_zone = '+00:00', character_set_client = utf8mb4, timestamp = DEFAULT")


def _encoded(code: Code, text: str) -> bytes:
    """The statement in the bytes of its maker's character set."""
    codec = "utf-8" if code.client_set.startswith("utf8") else CODECS.get(code.client_set)
    try:
        if codec is not None:
            return text.encode(codec)
    except UnicodeEncodeError:
        pass
    raise StepFailed(
        f"{code.kind.lower()} {code.schema}.{code.name} was made by a client of character set {code.client_set}",
        "its text can't be handed to the new server under that character set",
        f"make it again on the original with character_set_client = utf8mb4: {code.kind.lower()} {code.schema}.{code.name}",
    )


def _there(opened: Session, event: Code) -> bool:
    statement = "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s AND EVENT_NAME = %s"
    return bool(opened.value(statement, [event.schema, event.name]))


@contextlib.contextmanager
def _default_collation(opened: Session, name: str, wanted: str) -> Iterator[None]:
    """The database's default collation is the one that was in force when an object was made: it belongs to the object from then on."""
    present = defaults(opened, name)[1] if wanted else wanted
    if wanted == present:
        yield
        return
    opened.execute(f"ALTER DATABASE {quote(name)} COLLATE {wanted}")
    try:
        yield
    finally:
        opened.execute(f"ALTER DATABASE {quote(name)} COLLATE {present}")


def settle_events(old: Session, new: Session, names: Sequence[str]) -> list[str]:
    """Events that run on the original run on the copy from now on; every other one stays disabled. Idempotent.

    A server drops or disables an event whose time is over as soon as it is enabled, as the original would if its scheduler ran.

    Returns:
        The events that run then, quoted.
    """
    there = {(row["s"], row["n"]) for row in new.rows(EVENTS)}
    running = enabled_events(new, names)
    for event in enabled_events(old, names):
        if event in there and event not in running:
            set_event(new, event, "ENABLE")
    return [".".join(map(quote, event)) for event in enabled_events(new, names)]


def enabled_events(opened: Session, names: Sequence[str]) -> list[tuple[str, str]]:
    """The events of these databases that run, each by database and name."""
    return [(row["s"], row["n"]) for row in opened.rows(f"{EVENTS} WHERE STATUS = 'ENABLED'") if row["s"] in names]


def set_event(opened: Session, event: tuple[str, str], state: str) -> None:
    """ENABLE or DISABLE an event. A server gives it the altering session's character set and collations: they are set to the event's own first."""
    statement = (
        "SELECT CHARACTER_SET_CLIENT AS c, COLLATION_CONNECTION AS o, DATABASE_COLLATION AS b FROM information_schema.EVENTS "
        "WHERE EVENT_SCHEMA = %s AND EVENT_NAME = %s"
    )
    kept = opened.row(statement, list(event)) or {}
    text = f"ALTER EVENT {'.'.join(map(quote, event))} {state}"
    made = Code("EVENT", *event, text, "", "", kept["c"], kept["o"])
    data = _encoded(made, text)
    opened.execute(f"USE {quote(event[0])}")
    with _default_collation(opened, event[0], kept["b"]), _client_settings(opened, made.client_set, made.collation):
        opened.execute_bytes(data)
