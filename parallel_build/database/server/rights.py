"""The rights that this tool's own account needs on the original's database server, and which of them it has not. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection

from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.remote.sql import Refused, Session

# Rows and objects are read, the copy's and the replica's accounts are made and given rights of ours, sessions are listed and ended, the binary log is
# read; in a rollback numbers in `cloud` are raised.
EVERYWHERE = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "RELOAD", "PROCESS", "LOCK TABLES", "SHOW VIEW", "TRIGGER", "EVENT", "CREATE USER",
     "REPLICATION SLAVE"}
)  # fmt: skip
# What SUPER was split into: to end others' sessions, and to keep our own accounts out of the binary log.
SPLIT = {
    "mysql": ((8, 0, 0), frozenset({"CONNECTION_ADMIN", "SYSTEM_VARIABLES_ADMIN"})),
    "mariadb": ((10, 5, 2), frozenset({"CONNECTION ADMIN", "BINLOG ADMIN"})),
}
WHOLE = {"mysql": (99, 0, 0), "mariadb": (10, 11, 0)}  # first version in which SUPER no longer stands for its parts
GRANTABLE = "GRANT OPTION"
ASKED = "SELECT PRIVILEGE_TYPE AS p, IS_GRANTABLE AS g FROM information_schema.USER_PRIVILEGES WHERE GRANTEE IN ({})"


def missing(session: Session, server: DatabaseServer) -> list[str]:
    """Rights on *.* that the session's account needs and has not, by their names in a GRANT; its active roles' count."""
    names = [str(session.value("SELECT CURRENT_USER()")), *_roles(session)]
    grantees = [_grantee(name) for name in names]
    rows = session.rows(ASKED.format(", ".join(["%s"] * len(grantees))), grantees)
    granted = {str(row["p"]).upper() for row in rows}
    return judge(server, granted, {str(row["p"]).upper() for row in rows if str(row["g"]).upper() == "YES"})


def judge(server: DatabaseServer, granted: Collection[str], grantable: Collection[str]) -> list[str]:
    """The same of what was granted, and what of that may be granted on."""
    wanted = EVERYWHERE | {server.dialect.status_grant}
    since, parts = SPLIT[server.family]
    if server.version < since:
        wanted |= {"SUPER"}
    elif "SUPER" not in granted or server.version >= WHOLE[server.family]:
        wanted |= parts
    lacking = sorted(wanted - set(granted))
    if not lacking and not set(granted) & set(grantable):
        lacking = [GRANTABLE]
    return lacking


def _roles(session: Session) -> list[str]:
    try:
        text = str(session.value("SELECT CURRENT_ROLE()") or "NONE")
    except Refused:  # MySQL 5.7 has no roles
        return []
    return [] if text == "NONE" else [part.strip() for part in text.split(",")]


def _grantee(name: str) -> str:
    """`cloud@%`, or a role as `name`@`host` or name alone, as information_schema writes it."""
    user, at, host = name.replace("`", "").rpartition("@")
    return f"'{user}'@'{host}'" if at else f"'{name}'@''"
