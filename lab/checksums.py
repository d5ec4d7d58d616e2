"""Checksums of every table of the original's databases: the proof that a rollback finds them as they were.

Tables that running servers write can't be the same at two moments. They are read row by row, and compared by the rules of `row_rules`: a row that
differs and that no rule excuses makes its table as different as any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.databases import DATABASES
from lab.hosts import Sessions
from lab.machines import OLD_SOURCE
from lab.row_rules import RULES, Rule
from parallel_build.remote.sql import Session, quote, session

ROWS_LIMIT = 1_000_000  # a larger table is compared as a whole, and is different when it is not the same

Rows = dict[str, str]
Changes = dict[str, list[str]]
Reading = dict[str, Any]


@dataclass
class Differences:
    """What differs between two readings.

    Attributes:
        tables: how many were compared.
        different: tables with a difference that no rule excuses.
        written_by_renewing: tables that differ only because system VMs and routers were recreated.
        written_by_running_servers: tables that differ only because servers run.
        written_by_destroy: tables that differ only because phase prepared was undone.
        rows: by table, keys of the rows that came, went or changed as they may.
        damaged: by table, keys of those that no rule excuses; a table that is only compared as a whole is not in it.
    """

    tables: int
    different: list[str] = field(default_factory=list)
    written_by_renewing: list[str] = field(default_factory=list)
    written_by_running_servers: list[str] = field(default_factory=list)
    written_by_destroy: list[str] = field(default_factory=list)
    rows: dict[str, Changes] = field(default_factory=dict)
    damaged: dict[str, Changes] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def read(opened: Sessions) -> Reading:
    """Every base table by `database.table`: its `CHECKSUM TABLE`, or where a rule is for it, two digests of each row by its key.

    Raises:
        ConnectionFailed: the original's source is down.
    """
    found: Reading = {}
    with session(opened[OLD_SOURCE]) as database:
        names = database.rows(
            "SELECT table_schema AS s, table_name AS t FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' AND table_schema IN %s ORDER BY 1, 2",
            [DATABASES],
        )
        for name in names:
            table = f"{name['s']}.{name['t']}"
            if table in RULES and (rows := _rows(database, name["s"], name["t"], RULES[table])) is not None:
                found[table] = rows
                continue
            row = database.row(f"CHECKSUM TABLE {quote(name['s'])}.{quote(name['t'])} EXTENDED")
            found[table] = row["Checksum"] if row else None
    return found


def compare(before: Path, now: Reading, destroyed: bool = False) -> Differences:
    """Compare with an earlier reading, kept in a file.

    Args:
        destroyed: the stack was destroyed in between, so that what phase prepared did has been taken back too.
    """
    earlier: Reading = json.loads(before.read_text())
    names = sorted(earlier.keys() | now.keys())
    result = Differences(len(names))
    excused = {"servers": result.written_by_running_servers, "renewing": result.written_by_renewing}
    if destroyed:
        excused["destroy"] = result.written_by_destroy
    for name in names:
        one, other = earlier.get(name, "absent"), now.get(name, "absent")
        if one == other:
            continue
        rule = RULES.get(name)
        if rule is None or not isinstance(one, dict) or not isinstance(other, dict):
            result.different.append(name)
            continue
        good, bad = _changes(one, other, rule if rule.writer in excused else None)
        if any(good.values()):
            result.rows[name] = good
        if any(bad.values()):
            result.damaged[name] = bad
            result.different.append(name)
        else:
            excused[rule.writer].append(name)
    return result


def _changes(before: Mapping[str, str], now: Mapping[str, str], rule: Rule | None) -> tuple[Changes, Changes]:
    """Keys of the rows that came, went or changed: those that the rule allows, and the others."""
    good: Changes = {"added": [], "removed": [], "changed": []}
    bad: Changes = {"added": [], "removed": [], "changed": []}
    for key in sorted(before.keys() | now.keys(), key=_number):
        one, other = before.get(key), now.get(key)
        if one != other:
            kind = "added" if one is None else "removed" if other is None else "changed"
            (good if rule and rule.allows(one, other) else bad)[kind].append(key)
    return good, bad


def _rows(database: Session, schema: str, table: str, rule: Rule) -> Rows | None:
    """What the rule expects of each row by its primary key; None for a table without one, or too large."""
    columns = database.rows(
        "SELECT column_name AS c, column_key AS k FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    )
    key = [column["c"] for column in columns if column["k"] == "PRI"]
    if not key or (database.value(f"SELECT COUNT(*) FROM {quote(schema)}.{quote(table)}") or 0) > ROWS_LIMIT:
        return None
    rows = database.rows(rule.statement(f"{schema}.{table}", [column["c"] for column in columns], key))
    return {str(row["k"]): str(row["d"]) for row in rows}


def _number(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (0, key)
