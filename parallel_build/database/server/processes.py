"""Where a server shows which sessions it has. Read only."""

from __future__ import annotations

from parallel_build.database.server.dialects import parse_version
from parallel_build.remote.sql import Session

MYSQL_SINCE = (8, 0, 22)  # [MySQL 8.0 reference manual: the processlist table]


def table(opened: Session) -> str:
    """The table of a server's sessions, with the columns ID, USER, HOST, DB, COMMAND, TIME and INFO.

    MySQL's information_schema.PROCESSLIST is utf8mb3 and can't be read while any statement with an emoji runs (error 3854 [seen on 9.7.4]). The other
    one is empty where its schema is switched off.
    """
    family, version = parse_version(str(opened.value("SELECT VERSION()")))
    in_memory = family == "mysql" and version >= MYSQL_SINCE and bool(opened.value("SELECT @@performance_schema"))
    return "performance_schema.processlist" if in_memory else "information_schema.PROCESSLIST"
