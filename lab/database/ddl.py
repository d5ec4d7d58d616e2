"""Renders the schema as SQL that MariaDB 10.11 and MySQL 8 and later both take."""

from __future__ import annotations

import re

from lab.database.errors import SchemaError
from lab.database.notation import Column, Key, Table, View

DEFINER = "`cloud`@`localhost`"
MB3 = "utf8mb3 COLLATE utf8mb3_general_ci"
MB4 = "utf8mb4 COLLATE utf8mb4_general_ci"

_PLAIN = {
    "d": "datetime",
    "ts": "timestamp",
    "x": "text",
    "xm": "mediumtext",
    "xl": "longtext",
    "b": "blob",
    "f": "double",
    "F": "double unsigned",
}
_INTEGERS = {"b": ("bigint", 20), "i": ("int", 11), "u": ("int", 10), "t": ("tinyint", 4), "s": ("smallint", 6)}
_ON_DELETE = {
    "": "",
    "cascade": " ON DELETE CASCADE",
    "setnull": " ON DELETE SET NULL",
    "noaction": " ON DELETE NO ACTION ON UPDATE NO ACTION",
}


def column_type(code: str) -> str:
    """The SQL type of a type code, for example `bigint(20) unsigned` of U. Raises SchemaError for an unknown code."""
    if code in _PLAIN:
        return _PLAIN[code]
    match = re.fullmatch(r"([a-zA-Z])(\d*)(?:\.(\d+))?", code)
    if match:
        letter, width, scale = match[1], match[2], match[3]
        if letter in "vc" and width:
            return f"{'varchar' if letter == 'v' else 'char'}({width})"
        if letter in "nN" and scale:
            return f"decimal({width},{scale})" + (" unsigned" if letter == "N" else "")
        if letter in "BU":
            return f"bigint({width or 20})" + (" unsigned" if letter == "U" else "")
        if letter in "iu":
            return f"int({width or _INTEGERS[letter][1]})" + (" unsigned" if letter == "u" else "")
        if letter in "tTsS":
            name, usual = _INTEGERS[letter.lower()]
            return f"{name}({width or usual})" + (" unsigned" if letter.isupper() else "")
    raise SchemaError(f"the schema uses an unknown type code {code!r}")


def _column(column: Column) -> str:
    sql = f"  `{column.name}` {column_type(column.type)}"
    if column.utf8mb4:
        sql += f" CHARACTER SET {MB4}"
    # a timestamp without a word is NOT NULL on servers with explicit_defaults_for_timestamp off
    if not column.nullable:
        sql += " NOT NULL"
    elif column.type == "ts":
        sql += " NULL"
    if column.auto_increment:
        return sql + " AUTO_INCREMENT"
    if column.default is not None:
        sql += " DEFAULT " + ("current_timestamp()" if column.default == "now" else column.default)
    elif column.nullable:
        sql += " DEFAULT NULL"
    return sql + (" ON UPDATE current_timestamp()" if column.on_update else "")


def _names(columns: tuple[str, ...]) -> str:
    return ",".join(re.sub(r"^(\w+)", r"`\1`", column) for column in columns)


def key_definition(key: Key) -> str:
    """One key as it stands in CREATE TABLE, and after ADD in ALTER TABLE."""
    if key.kind == "pk":
        return f"PRIMARY KEY ({_names(key.columns)})"
    if key.kind == "fk":
        return (
            f"CONSTRAINT `{key.name}` FOREIGN KEY ({_names(key.columns)}) "
            f"REFERENCES `{key.table}` ({_names(key.references)})" + _ON_DELETE[key.on_delete]
        )
    return f"{'UNIQUE KEY' if key.kind == 'uq' else 'KEY'} `{key.name}` ({_names(key.columns)})"


def create_table(table: Table, with_secondary_keys: bool = True) -> str:
    """CREATE TABLE for one table, with or without its secondary keys (a big table gets them after its rows)."""
    keys = table.keys if with_secondary_keys else tuple(key for key in table.keys if key.kind == "pk")
    lines = [_column(column) for column in table.columns] + ["  " + key_definition(key) for key in keys]
    charset = MB4 if table.utf8mb4 else MB3
    return (
        f"CREATE TABLE `{table.name}` (\n"
        + ",\n".join(lines)
        + f"\n) ENGINE=InnoDB DEFAULT CHARSET={charset.replace(' COLLATE ', ' COLLATE=')};\n"
    )


def add_secondary_keys(table: Table) -> str:
    """ALTER TABLE that adds the keys that create_table left out, in one pass; empty if there are none."""
    keys = [key for key in table.keys if key.kind != "pk"]
    if not keys:
        return ""
    return f"ALTER TABLE `{table.name}`\n  " + ",\n  ".join("ADD " + key_definition(key) for key in keys) + ";\n"


def create_view(view: View) -> str:
    """CREATE VIEW with CloudStack's definer."""
    columns = ",\n  ".join(f"{expression} AS `{alias}`" for alias, expression in view.columns)
    joins = "".join("\n  " + re.sub(r" on (.*)$", r" on (\1)", join, flags=re.S) for join in view.joins)
    where = f"\nWHERE {view.where}" if view.where else ""
    group = f"\nGROUP BY {view.group_by}" if view.group_by else ""
    return (
        f"CREATE ALGORITHM=UNDEFINED DEFINER={DEFINER} SQL SECURITY DEFINER VIEW `{view.name}` AS SELECT\n  {columns}\n"
        f"FROM {view.source}{joins}{where}{group};\n"
    )


def in_order(views: dict[str, View]) -> list[View]:
    """The views so that each comes after those that it reads. Raises SchemaError if they go round in a circle."""
    done: dict[str, View] = {}
    while len(done) < len(views):
        ready = [v for n, v in views.items() if n not in done and all(r in done or r not in views for r in v.reads - {n})]
        if not ready:
            raise SchemaError("the views read one another in a circle: " + ", ".join(sorted(set(views) - set(done))))
        done.update((view.name, view) for view in ready)
    return list(done.values())
