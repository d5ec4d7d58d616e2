"""What of its writes a server's binary log holds, proved before replication trusts it: its format, its filters, what is applied without being logged.

What can't be read beforehand (the format of MariaDB's running sessions) the log's events show afterwards: see `log_statements`. A session with sql_log_bin = 0
leaves nothing in the log at all; MySQL shows it while it is connected, and the regular comparison of everything finds what it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from parallel_build.database.server.dialects import DatabaseServer, require
from parallel_build.errors import GuardFailed
from parallel_build.remote.sql import Session

# Sessions of this process have its number among their attributes: some of them make accounts outside the log.
ODD_SESSIONS = """
SELECT t.PROCESSLIST_ID AS i, t.PROCESSLIST_USER AS u, t.PROCESSLIST_HOST AS h, v.VARIABLE_NAME AS n, v.VARIABLE_VALUE AS v
FROM performance_schema.variables_by_thread v JOIN performance_schema.threads t USING (THREAD_ID)
WHERE v.VARIABLE_NAME IN ('binlog_format', 'binlog_row_image', 'sql_log_bin') AND v.VARIABLE_VALUE NOT IN ('ROW', 'FULL', 'ON')
  AND t.PROCESSLIST_ID <> CONNECTION_ID() AND t.PROCESSLIST_ID NOT IN (
    SELECT PROCESSLIST_ID FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = '_pid' AND ATTR_VALUE = %s)
ORDER BY t.PROCESSLIST_ID
"""


@dataclass(frozen=True)
class Gap:
    """Something that the binary log may not hold: fact, cause, remedy."""

    fact: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class LogFacts:
    """How a server writes its binary log.

    Attributes:
        on: it writes one.
        format: binlog_format; empty where the server knows rows only.
        image: binlog_row_image.
        only: databases that alone are logged (binlog_do_db); none where there is no such filter.
        ignored: databases that are not logged (binlog_ignore_db).
        applies_from: servers whose changes it applies at this moment.
        logs_applied: what it applies is logged as well (log_slave_updates).
        sessions: connected sessions that log otherwise than the server is set, in words; MySQL only.
    """

    on: bool = False
    format: str = ""
    image: str = ""
    only: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    applies_from: tuple[str, ...] = ()
    logs_applied: bool = False
    sessions: tuple[str, ...] = ()


def read(opened: Session, server: DatabaseServer) -> LogFacts:
    """Ask a server how it writes its binary log. Reads only."""
    row = opened.row(server.dialect.log_status)
    fields = server.dialect.status_fields
    applied = require(opened, "log_replica_updates") or require(opened, "log_slave_updates")
    return LogFacts(
        on=row is not None,
        format=require(opened, "binlog_format").upper(),
        image=require(opened, "binlog_row_image").upper(),
        only=_listed(row, "Binlog_Do_DB"),
        ignored=_listed(row, "Binlog_Ignore_DB"),
        applies_from=tuple(
            str(found[fields["host"]]) for found in opened.rows(server.dialect.replica_status) if found[fields["sql"]] != "No"
        ),
        logs_applied=applied == "ON",
        sessions=tuple(_odd_sessions(opened)) if server.family == "mysql" else (),
    )


def _listed(row: dict[str, object] | None, column: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in str((row or {}).get(column) or "").split(",") if name.strip())


def _odd_sessions(opened: Session) -> list[str]:
    if not opened.value("SELECT @@performance_schema"):
        return []  # what they log will show
    rows = opened.rows(ODD_SESSIONS, [str(os.getpid())])
    return [f"{row['u']}@{row['h']} (connection {row['i']}): {row['n']} = {row['v']}" for row in rows]


def gaps(found: LogFacts, name: str, schemas: Sequence[str]) -> list[Gap]:
    """What the binary log of server `name` may not hold of these databases; none where it holds every change as rows."""
    dump = "or set transfer.method to dump"
    if not found.on:
        cause = "replication reads it"
        return [
            Gap(
                f"{name} writes no binary log",
                cause,
                f"set log_bin and binlog_format = ROW on {name} and restart it in a maintenance hour, {dump}",
            )
        ]
    result = []
    if found.format not in ("ROW", ""):
        remedy = f"set binlog_format = ROW on {name} and restart the management servers one after the other, since open sessions keep the old value, {dump}"
        result.append(Gap(f"{name}: binlog_format is {found.format}", "replication needs row events to copy the exact rows", remedy))
    if found.image not in ("FULL", ""):
        cause = "what changed since the comparison is found by the full rows in the binary log"
        result.append(Gap(f"{name}: binlog_row_image is {found.image}", cause, f"SET GLOBAL binlog_row_image = FULL on {name}, {dump}"))
    hidden = [schema for schema in schemas if found.only and schema not in found.only]
    hidden += [schema for schema in schemas if schema.casefold() in {other.casefold() for other in found.ignored} and schema not in hidden]
    if hidden:
        which = f"binlog_do_db = {', '.join(found.only)}" if found.only else f"binlog_ignore_db = {', '.join(found.ignored)}"
        remedy = f"take the filter out of the option file of {name} and restart it in a maintenance hour, {dump}"
        result.append(Gap(f"{name} does not log {', '.join(hidden)} ({which})", "changes there would be lost without a word", remedy))
    if found.applies_from and not found.logs_applied:
        cause = "log_slave_updates is OFF: what comes from there is in no binary log that replication reads"
        remedy = (
            f"set log_slave_updates = ON on {name} and restart it in a maintenance hour, stop its replica threads until the switch, {dump}"
        )
        result.append(Gap(f"{name} applies changes of {', '.join(found.applies_from)} and does not log them", cause, remedy))
    if found.sessions:
        cause = "a session keeps its settings when the server's are changed; what it writes is not logged as full rows"
        remedy = f"end these connections on {name} (KILL), and have their programs log rows, {dump}"
        result.append(Gap(f"{name}: sessions log otherwise: {'; '.join(found.sessions[:5])}", cause, remedy))
    return result


def check(opened: Session, server: DatabaseServer, schemas: Sequence[str]) -> None:
    """Rule: the binary log holds every change of these databases, as full rows.

    Raises:
        GuardFailed: it may not; the message says why.
    """
    found = gaps(read(opened, server), server.name, schemas)
    if found:
        first = found[0]
        raise GuardFailed("; ".join(gap.fact for gap in found), first.cause, first.remedy)
