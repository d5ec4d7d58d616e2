"""What a schema looks like, read from information_schema into plain attributes, so that a difference can be named part by part. Read only.

Both sides of a comparison are read on one server, the judge, each made there: nothing has to be brought to one form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from parallel_build.remote.sql import Row, Session

Attributes = dict[str, str]
Objects = dict[tuple[str, str], Attributes]  # (kind, name) -> attributes


def read(session: Session, schema: str) -> Objects:
    """Every object of a schema with its attributes; a view's columns are the server's own conclusion and not among them."""
    objects: Objects = {}
    for part in PARTS:
        for kind, name, attributes in part(session, schema):
            objects[kind, name] = {key: _form(key, value) for key, value in attributes.items()}
    return objects


Found = Iterable[tuple[str, str, dict[str, Any]]]


def _schema(session: Session, schema: str) -> Found:
    for row in session.rows(
        "SELECT DEFAULT_CHARACTER_SET_NAME AS character_set, DEFAULT_COLLATION_NAME AS collation "
        "FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        [schema],
    ):
        yield "database", schema, row


def _tables(session: Session, schema: str) -> Found:
    for row in session.rows(
        "SELECT TABLE_NAME AS n, TABLE_TYPE AS table_type, ENGINE AS engine, ROW_FORMAT AS row_format, TABLE_COLLATION AS collation, "
        "CREATE_OPTIONS AS options, TABLE_COMMENT AS comment "
        "FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'VIEW'",
        [schema],
    ):
        yield "table", row.pop("n"), row


def _columns(session: Session, schema: str) -> Found:
    for row in session.rows(
        "SELECT TABLE_NAME AS t, COLUMN_NAME AS n, ORDINAL_POSITION AS position, COLUMN_TYPE AS type, IS_NULLABLE AS nullable, "
        "COLUMN_DEFAULT AS default_value, EXTRA AS extra, CHARACTER_SET_NAME AS character_set, COLLATION_NAME AS collation, "
        "COLUMN_COMMENT AS comment, GENERATION_EXPRESSION AS expression "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s "
        "AND TABLE_NAME NOT IN (SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s)",
        [schema, schema],
    ):
        yield "column", f"{row.pop('t')}.{row.pop('n')}", row


def _indexes(session: Session, schema: str) -> Found:
    """Key parts in their order, each with its prefix length and direction."""
    fields = _fields(session, "STATISTICS")
    visible = "IGNORED" if "IGNORED" in fields else "IS_VISIBLE" if "IS_VISIBLE" in fields else "''"
    expression = "EXPRESSION" if "EXPRESSION" in fields else "NULL"
    found: dict[str, dict[str, Any]] = {}
    for row in session.rows(
        f"SELECT TABLE_NAME AS t, INDEX_NAME AS n, NON_UNIQUE AS u, COLUMN_NAME AS c, {expression} AS e, SUB_PART AS p, "
        f"COLLATION AS o, INDEX_TYPE AS k, INDEX_COMMENT AS m, {visible} AS v FROM information_schema.STATISTICS "
        "WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        [schema],
    ):
        entry = found.setdefault(
            f"{row['t']}.{row['n']}",
            {
                "unique": "no" if int(row["u"]) else "yes",
                "type": row["k"],
                "comment": row["m"],
                "ignored": "yes" if (row["v"] == "YES") == (visible == "IGNORED") and visible != "''" else "no",
                "columns": [],
            },
        )
        part = str(row["c"] if row["c"] is not None else f"({row['e']})")
        entry["columns"].append(part + (f"({row['p']})" if row["p"] else "") + (" DESC" if row["o"] == "D" else ""))
    for name, entry in found.items():
        yield "index", name, {**entry, "columns": ", ".join(entry["columns"])}


def _foreign_keys(session: Session, schema: str) -> Found:
    columns: dict[str, list[Row]] = {}
    for row in session.rows(
        "SELECT TABLE_NAME AS t, CONSTRAINT_NAME AS n, COLUMN_NAME AS c, REFERENCED_COLUMN_NAME AS r "
        "FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME IS NOT NULL "
        "ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
        [schema],
    ):
        columns.setdefault(f"{row['t']}.{row['n']}", []).append(row)
    for row in session.rows(
        "SELECT TABLE_NAME AS t, CONSTRAINT_NAME AS n, UNIQUE_CONSTRAINT_SCHEMA AS s, REFERENCED_TABLE_NAME AS r, "
        "UPDATE_RULE AS on_update, DELETE_RULE AS on_delete FROM information_schema.REFERENTIAL_CONSTRAINTS "
        "WHERE CONSTRAINT_SCHEMA = %s",
        [schema],
    ):
        name = f"{row['t']}.{row['n']}"
        yield (
            "foreign key",
            name,
            {
                "columns": ", ".join(column["c"] for column in columns.get(name, [])),
                "references": f"{row['s']}.{row['r']}({', '.join(column['r'] for column in columns.get(name, []))})",
                "on_update": row["on_update"],
                "on_delete": row["on_delete"],
            },
        )


def _checks(session: Session, schema: str) -> Found:
    if "TABLE_NAME" in _fields(session, "CHECK_CONSTRAINTS"):
        statement = (
            "SELECT TABLE_NAME AS t, CONSTRAINT_NAME AS n, CHECK_CLAUSE AS expression FROM information_schema.CHECK_CONSTRAINTS "
            "WHERE CONSTRAINT_SCHEMA = %s"
        )
    else:
        statement = (
            "SELECT t.TABLE_NAME AS t, c.CONSTRAINT_NAME AS n, c.CHECK_CLAUSE AS expression "
            "FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t "
            "ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME "
            "WHERE c.CONSTRAINT_SCHEMA = %s AND t.CONSTRAINT_TYPE = 'CHECK'"
        )
    for row in session.rows(statement, [schema]):
        yield "check", f"{row.pop('t')}.{row.pop('n')}", row


def _partitions(session: Session, schema: str) -> Found:
    for row in session.rows(
        "SELECT TABLE_NAME AS t, PARTITION_NAME AS n, SUBPARTITION_NAME AS b, PARTITION_METHOD AS method, "
        "PARTITION_EXPRESSION AS expression, PARTITION_DESCRIPTION AS description, PARTITION_ORDINAL_POSITION AS position "
        "FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = %s AND PARTITION_NAME IS NOT NULL",
        [schema],
    ):
        name = f"{row.pop('t')}.{row.pop('n')}"
        sub = row.pop("b")
        yield "partition", f"{name}.{sub}" if sub else name, row


def _views(session: Session, schema: str) -> Found:
    algorithm = "ALGORITHM" if "ALGORITHM" in _fields(session, "VIEWS") else "''"
    for row in session.rows(
        f"SELECT TABLE_NAME AS n, VIEW_DEFINITION AS definition, CHECK_OPTION AS check_option, DEFINER AS definer, "
        f"SECURITY_TYPE AS security, CHARACTER_SET_CLIENT AS client_set, COLLATION_CONNECTION AS connection_collation, "
        f"{algorithm} AS algorithm FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s",
        [schema],
    ):
        yield "view", row.pop("n"), row


def _routines(session: Session, schema: str) -> Found:
    parameters: dict[str, list[str]] = {}
    for row in session.rows(
        "SELECT SPECIFIC_NAME AS n, ROUTINE_TYPE AS k, PARAMETER_MODE AS m, PARAMETER_NAME AS p, DTD_IDENTIFIER AS d, "
        "CHARACTER_SET_NAME AS c, COLLATION_NAME AS o FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = %s "
        "ORDER BY SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION",
        [schema],
    ):
        words = [str(row[key]) for key in ("m", "p", "d", "c", "o") if row[key] is not None]
        parameters.setdefault(f"{row['k']} {row['n']}", []).append(" ".join(words))
    for row in session.rows(
        "SELECT ROUTINE_TYPE AS k, ROUTINE_NAME AS n, ROUTINE_DEFINITION AS definition, IS_DETERMINISTIC AS is_deterministic, "
        "SQL_DATA_ACCESS AS data_access, SECURITY_TYPE AS security, SQL_MODE AS sql_mode, ROUTINE_COMMENT AS comment, "
        "DEFINER AS definer, CHARACTER_SET_CLIENT AS client_set, COLLATION_CONNECTION AS connection_collation, "
        "DATABASE_COLLATION AS database_collation FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s",
        [schema],
    ):
        kind, name = row.pop("k"), row.pop("n")
        yield kind.lower(), name, {**row, "parameters": ", ".join(parameters.get(f"{kind} {name}", []))}


def _triggers(session: Session, schema: str) -> Found:
    for row in session.rows(
        "SELECT TRIGGER_NAME AS n, EVENT_OBJECT_TABLE AS on_table, ACTION_TIMING AS timing, EVENT_MANIPULATION AS event, "
        "ACTION_ORDER AS position, ACTION_STATEMENT AS definition, SQL_MODE AS sql_mode, DEFINER AS definer, "
        "CHARACTER_SET_CLIENT AS client_set, COLLATION_CONNECTION AS connection_collation, DATABASE_COLLATION AS database_collation "
        "FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
        [schema],
    ):
        yield "trigger", row.pop("n"), row


def _events(session: Session, schema: str) -> Found:
    for row in session.rows(
        "SELECT EVENT_NAME AS n, DEFINER AS definer, TIME_ZONE AS time_zone, EVENT_DEFINITION AS definition, EVENT_TYPE AS type, "
        "EXECUTE_AT AS execute_at, INTERVAL_VALUE AS interval_value, INTERVAL_FIELD AS interval_field, SQL_MODE AS sql_mode, "
        "STARTS AS starts, ENDS AS ends, STATUS AS status, ON_COMPLETION AS on_completion, EVENT_COMMENT AS comment, "
        "CHARACTER_SET_CLIENT AS client_set, COLLATION_CONNECTION AS connection_collation, DATABASE_COLLATION AS database_collation "
        "FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
        [schema],
    ):
        yield "event", row.pop("n"), row


def _fields(session: Session, table: str) -> set[str]:
    rows = session.rows(
        "SELECT UPPER(COLUMN_NAME) AS c FROM information_schema.COLUMNS WHERE UPPER(TABLE_SCHEMA) = 'INFORMATION_SCHEMA' "
        "AND UPPER(TABLE_NAME) = %s",
        [table],
    )
    return {row["c"] for row in rows}


PARTS: tuple[Callable[[Session, str], Found], ...] = (
    _schema, _tables, _columns, _indexes, _foreign_keys, _checks, _partitions, _views, _routines, _triggers, _events,
)  # fmt: skip


def _form(key: str, value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else "" if value is None else str(value)
    return ",".join(sorted(text.split(","))) if key == "sql_mode" else text
