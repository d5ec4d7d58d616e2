"""Reading what a schema consists of: tables with their columns and keys, views, routines, triggers, events. Read only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from parallel_build.errors import GuardFailed
from parallel_build.remote.sql import Row, Session, quote

INTEGER_TYPES = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
# What a server prints of an event up to its state: every part before it is a name in quotes, a literal or a word.
EVENT = re.compile(
    r"^(CREATE DEFINER=`(?:[^`]|``)*`@`(?:[^`]|``)*` EVENT `(?:[^`]|``)+` ON SCHEDULE (?:AT '[^']*'|EVERY (?:'[^']*'|\S+) \w+"
    r"(?: STARTS '[^']*')?(?: ENDS '[^']*')?) ON COMPLETION (?:NOT )?PRESERVE )(ENABLE|DISABLE(?: ON (?:SLAVE|REPLICA))?)(?= )"
)
# Keys in SHOW CREATE TABLE stand one a line, after the columns.
SECONDARY_KEY = re.compile(r"^\s*((?:UNIQUE )?KEY `|CONSTRAINT `(?:[^`]|``)+` FOREIGN KEY )")


@dataclass(frozen=True)
class Column:
    """A column as needed to copy its values.

    Attributes:
        name: its name.
        type: data type without length (`varchar`, `bigint`).
        full_type: with length and attributes (`bigint(20) unsigned`).
        nullable: may hold NULL.
        generated: computed by the server, never written.
        character_set: of text types, else None.
        collation: of text types, else None.
    """

    name: str
    type: str
    full_type: str
    nullable: bool
    generated: bool
    character_set: str | None
    collation: str | None = None


@dataclass(frozen=True)
class Table:
    """A base table.

    Attributes:
        schema: its schema.
        name: its name.
        engine: storage engine.
        create: the statement as SHOW CREATE TABLE gives it.
        columns: in their order.
        primary_key: column names of the primary key, empty when there is none.
        estimated_rows: the engine's estimate.
        data_bytes: the engine's size of the clustered index.
        index_bytes: the engine's size of the secondary indexes.
    """

    schema: str
    name: str
    engine: str
    create: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    estimated_rows: int
    data_bytes: int
    index_bytes: int

    @property
    def full_name(self) -> str:
        """`schema`.`table`, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def written_columns(self) -> tuple[Column, ...]:
        """Columns that hold stored values of their own."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def range_column(self) -> str | None:
        """First primary key column where it is an integer: the table can be cut into ranges by it."""
        if not self.primary_key:
            return None
        column = next(column for column in self.columns if column.name == self.primary_key[0])
        return column.name if column.type in INTEGER_TYPES else None


@dataclass(frozen=True)
class Code:
    """A view, routine, trigger or event.

    Attributes:
        kind: VIEW, PROCEDURE, FUNCTION, TRIGGER or EVENT.
        schema: its schema.
        name: its name.
        create: the statement that makes it; an event's makes it disabled.
        definer: account it runs as, `user@host` unquoted.
        sql_mode: mode it was made under; empty for views.
        client_set: character_set_client it was made under.
        collation: collation_connection it was made under.
        time_zone: of an event, else empty.
        database_collation: default collation of the database when it was made; empty for views, which do not depend on it.
        status: of an event, else empty.
        table: that a trigger is on, else empty.
    """

    kind: str
    schema: str
    name: str
    create: str
    definer: str
    sql_mode: str
    client_set: str
    collation: str
    time_zone: str = ""
    database_collation: str = ""
    status: str = ""
    table: str = ""


@dataclass(frozen=True)
class Schema:
    """Everything in one schema."""

    name: str
    character_set: str
    collation: str
    tables: tuple[Table, ...]
    codes: tuple[Code, ...] = field(default=())


def print_plainly(session: Session) -> None:
    """Have the session print a view's tables with their database, which it leaves out where that is the session's own."""
    if session.value("SELECT DATABASE()") is not None:
        session.execute("USE information_schema")


def existing(session: Session, schemas: Sequence[str]) -> list[str]:
    """Which of the schemas exist there, in the order asked for."""
    found = {row["s"] for row in session.rows("SELECT SCHEMA_NAME AS s FROM information_schema.SCHEMATA")}
    return [name for name in schemas if name in found]


def defaults(session: Session, schema: str) -> tuple[str, str]:
    """Default character set and collation of a schema.

    Raises:
        GuardFailed: there is no such schema.
    """
    row = session.row(
        "SELECT DEFAULT_CHARACTER_SET_NAME AS c, DEFAULT_COLLATION_NAME AS o FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        [schema],
    )
    if row is None:
        raise GuardFailed(
            f"{session.host.name} has no database {schema}",
            "what is to be brought over is not there: another server, or another name",
            "check original.database in the stack's configuration",
        )
    return str(row["c"]), str(row["o"])


def read(session: Session, schema: str, *, odd_too: bool = False) -> Schema:
    """Read one schema's definitions.

    Args:
        odd_too: do not refuse what can't be brought over; it is left out, see `odd`.
    Raises:
        GuardFailed: it holds something that can't be brought over (a sequence, a system-versioned table); all are named.
    """
    print_plainly(session)
    character_set, collation = defaults(session, schema)
    return Schema(schema, character_set, collation, read_tables(session, schema, odd_too=odd_too), read_codes(session, schema))


def odd(session: Session, schema: str) -> list[tuple[str, str]]:
    """What a schema holds besides tables and views, each with its kind: sequences, system-versioned tables."""
    rows = session.rows(
        "SELECT TABLE_NAME AS n, TABLE_TYPE AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND TABLE_TYPE NOT IN ('BASE TABLE', 'VIEW', 'SYSTEM VIEW') ORDER BY TABLE_NAME",
        [schema],
    )
    return [(str(row["n"]), str(row["t"]).lower()) for row in rows]


def read_tables(session: Session, schema: str, *, create: bool = True, odd_too: bool = False) -> tuple[Table, ...]:
    """Read a schema's base tables, in the order of their names.

    Args:
        create: also read each table's CREATE TABLE.
        odd_too: leave out what is neither table nor view, in place of refusing it.
    """
    listed = session.rows(
        "SELECT TABLE_NAME AS n, TABLE_TYPE AS t, ENGINE AS e, COALESCE(TABLE_ROWS, 0) AS r, COALESCE(DATA_LENGTH, 0) AS d, "
        "COALESCE(INDEX_LENGTH, 0) AS i FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME",
        [schema],
    )
    if not odd_too and (found := odd(session, schema)):
        raise GuardFailed(
            f"{session.host.name}: database {schema} holds {', '.join(f'{name} ({kind})' for name, kind in found)}",
            "only plain tables and views are brought over",
            "CloudStack makes none of these: drop them, or move them to a database of their own",
        )
    columns = _columns(session, schema)
    keys = _primary_keys(session, schema)
    return tuple(
        Table(
            schema=schema,
            name=row["n"],
            engine=str(row["e"]),
            create=_create(session, "TABLE", schema, row["n"], "Create Table") if create else "",
            columns=tuple(columns.get(row["n"], ())),
            primary_key=tuple(keys.get(row["n"], ())),
            estimated_rows=int(row["r"]),
            data_bytes=int(row["d"]),
            index_bytes=int(row["i"]),
        )
        for row in listed
        if row["t"] == "BASE TABLE"
    )


def _columns(session: Session, schema: str) -> dict[str, list[Column]]:
    columns: dict[str, list[Column]] = {}
    for row in session.rows(
        "SELECT TABLE_NAME AS t, COLUMN_NAME AS n, DATA_TYPE AS d, COLUMN_TYPE AS f, IS_NULLABLE AS u, EXTRA AS x, "
        "CHARACTER_SET_NAME AS c, COLLATION_NAME AS o FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION",
        [schema],
    ):
        # MySQL marks an expression default as DEFAULT_GENERATED; only VIRTUAL, STORED and PERSISTENT columns are computed.
        generated = bool(re.search(r"\b(VIRTUAL|STORED|PERSISTENT)\b", row["x"].upper()))
        column = Column(row["n"], row["d"].lower(), _text(row["f"]), row["u"] == "YES", generated, row["c"], row["o"])
        columns.setdefault(row["t"], []).append(column)
    return columns


def _primary_keys(session: Session, schema: str) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for row in session.rows(
        "SELECT TABLE_NAME AS t, COLUMN_NAME AS c FROM information_schema.STATISTICS "
        "WHERE TABLE_SCHEMA = %s AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX",
        [schema],
    ):
        keys.setdefault(row["t"], []).append(row["c"])
    return keys


def read_codes(session: Session, schema: str) -> tuple[Code, ...]:
    """Read a schema's views, routines, triggers and events with the settings they were made under."""
    return (*_views(session, schema), *_routines(session, schema), *_triggers(session, schema), *_events(session, schema))


def _views(session: Session, schema: str) -> Iterator[Code]:
    for row in session.rows(
        "SELECT TABLE_NAME AS n, DEFINER AS d, CHARACTER_SET_CLIENT AS c, COLLATION_CONNECTION AS o "
        "FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME",
        [schema],
    ):
        create = _create(session, "VIEW", schema, row["n"], "Create View")
        yield Code("VIEW", schema, row["n"], create, row["d"], "", row["c"], row["o"])


def _routines(session: Session, schema: str) -> Iterator[Code]:
    for row in session.rows(
        "SELECT ROUTINE_TYPE AS k, ROUTINE_NAME AS n, DEFINER AS d, SQL_MODE AS m, CHARACTER_SET_CLIENT AS c, "
        "COLLATION_CONNECTION AS o, DATABASE_COLLATION AS b FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
        "ORDER BY ROUTINE_TYPE, ROUTINE_NAME",
        [schema],
    ):
        if row["k"] not in ("PROCEDURE", "FUNCTION"):
            raise GuardFailed(
                f"{session.host.name}: database {schema} holds {row['n']} ({row['k'].lower()})",
                "only procedures and functions are brought over",
                "CloudStack makes none of these: drop them, or move them to a database of their own",
            )
        create = _create(session, row["k"], schema, row["n"], f"Create {row['k'].capitalize()}")
        yield Code(row["k"], schema, row["n"], create, row["d"], _modes(row["m"]), row["c"], row["o"], database_collation=row["b"])


def _triggers(session: Session, schema: str) -> Iterator[Code]:
    for row in session.rows(
        "SELECT TRIGGER_NAME AS n, EVENT_OBJECT_TABLE AS t, DEFINER AS d, SQL_MODE AS m, CHARACTER_SET_CLIENT AS c, "
        "COLLATION_CONNECTION AS o, DATABASE_COLLATION AS b FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s "
        "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        [schema],
    ):
        create = _create(session, "TRIGGER", schema, row["n"], "SQL Original Statement")
        yield Code(
            "TRIGGER", schema, row["n"], create, row["d"], _modes(row["m"]), row["c"], row["o"], database_collation=row["b"], table=row["t"]
        )


def _events(session: Session, schema: str) -> Iterator[Code]:
    for row in session.rows(
        "SELECT EVENT_NAME AS n, DEFINER AS d, SQL_MODE AS m, CHARACTER_SET_CLIENT AS c, COLLATION_CONNECTION AS o, "
        "TIME_ZONE AS z, DATABASE_COLLATION AS b, STATUS AS s FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY EVENT_NAME",
        [schema],
    ):
        create = disabled(session, _create(session, "EVENT", schema, row["n"], "Create Event"))
        yield Code("EVENT", schema, row["n"], create, row["d"], _modes(row["m"]), row["c"], row["o"], row["z"], row["b"], row["s"])


def disabled(session: Session, create: str) -> str:
    """A server's own print of an event, as the statement that makes it disabled."""
    match = EVENT.match(create)
    if match is None:
        raise GuardFailed(
            f"{session.host.name}: an event is printed in an unknown form: {create[:200]}",
            "a copy's events are made disabled, and no ENABLE or DISABLE was found in what SHOW CREATE EVENT prints",
            "keep its print, DROP EVENT on the original and run the same command again; make it again, on the side in service, once the window is over; and "
            "report this line as an issue of this project",
        )
    return f"{match[1]}DISABLE{create[match.end(2) :]}"


def _create(session: Session, kind: str, schema: str, name: str, field_name: str) -> str:
    row: Row = session.row(f"SHOW CREATE {kind} {quote(schema)}.{quote(name)}") or {}
    create = row.get(field_name)
    if not create:
        raise GuardFailed(
            f"{session.host.name}: the server does not show the definition of {kind.lower()} {schema}.{name}",
            "its definition is broken, or root there lacks the right to see it",
            f"see SHOW CREATE {kind} {schema}.{name} on {session.host.name}; repair or drop what can't be shown, then run the same command again",
        )
    return _text(create)


def _modes(kept: str) -> str:
    """An object's sql_mode in a session's words: MariaDB keeps ALLOW_INVALID_DATES by another name."""
    return ",".join("ALLOW_INVALID_DATES" if mode == "INVALID_DATES" else mode for mode in kept.split(","))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class SplitCreate:
    """A table's statement without its secondary keys, and the clauses that add them afterwards.

    Attributes:
        create: the statement without secondary and foreign keys.
        keys: clauses such as ``KEY `a` (`b`)`` in their order.
        foreign_keys: CONSTRAINT clauses in their order.
    """

    create: str
    keys: tuple[str, ...]
    foreign_keys: tuple[str, ...]


def split_create(table: Table) -> SplitCreate:
    """Take the secondary keys out of a CREATE TABLE, so that they are built sorted once the rows are there.

    A key that an AUTO_INCREMENT column needs (it is no primary key's first column) stays: without it the table can't be made.
    FULLTEXT and SPATIAL keys stay too: InnoDB adds them one at a time only.
    """
    needed = _auto_increment_key(table)
    lines = table.create.split("\n")
    end = next(number for number, line in enumerate(lines) if line.startswith(")"))
    kept: list[str] = []
    keys: list[str] = []
    foreign: list[str] = []
    for line in lines[1:end]:
        match = SECONDARY_KEY.match(line)
        clause = line.strip().rstrip(",")
        if match and "FOREIGN KEY" in match[1]:
            foreign.append(clause)
        elif match and not (needed and f"(`{needed}`" in line):
            keys.append(clause)
        else:
            kept.append(line.rstrip(","))
    text = "\n".join([lines[0], ",\n".join(kept), *lines[end:]])
    return SplitCreate(text, tuple(keys), tuple(foreign))


def _auto_increment_key(table: Table) -> str | None:
    match = re.search(r"^\s*`((?:[^`]|``)+)` .*\bAUTO_INCREMENT\b", table.create, re.MULTILINE)
    if not match or (table.primary_key and table.primary_key[0] == match[1].replace("``", "`")):
        return None
    return match[1]
