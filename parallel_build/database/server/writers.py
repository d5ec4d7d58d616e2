"""The accounts that may write to given databases, found by their grants: a name alone proves nothing, and a second account serves a writer as well."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from parallel_build.database.server import socket_login
from parallel_build.database.server.state import Account
from parallel_build.remote.sql import Refused, Row, Session

# What lets nobody change a row. Everything that is not here counts as writing: a privilege of a later server as well. Events and triggers, which a
# dump needs, do nothing that their maker may not do.
READING = frozenset(
    {
        "USAGE", "SELECT", "PROCESS", "SHOW DATABASES", "SHOW VIEW", "LOCK TABLES", "RELOAD", "REPLICATION CLIENT", "BINLOG MONITOR",
        "REPLICATION SLAVE", "REPLICATION REPLICA", "SLAVE MONITOR", "REPLICA MONITOR", "SHOW_ROUTINE", "BACKUP_ADMIN", "FLUSH_TABLES",
        "FLUSH_STATUS", "INNODB_REDO_LOG_ARCHIVE", "CONNECTION_ADMIN", "CONNECTION ADMIN", "SHOW CREATE ROUTINE", "EVENT", "TRIGGER",
    }
)  # fmt: skip
# The servers' and distributions' own, which log in from that machine alone: Debian's stops the server by one of them.
SERVERS_OWN = frozenset({"mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint"})
GRANTS = (
    ("SELECT GRANTEE AS g, PRIVILEGE_TYPE AS p FROM information_schema.USER_PRIVILEGES", ""),
    ("SELECT GRANTEE AS g, PRIVILEGE_TYPE AS p, TABLE_SCHEMA AS s FROM information_schema.SCHEMA_PRIVILEGES", "pattern"),
    ("SELECT GRANTEE AS g, PRIVILEGE_TYPE AS p, TABLE_SCHEMA AS s FROM information_schema.TABLE_PRIVILEGES", "name"),
    ("SELECT GRANTEE AS g, PRIVILEGE_TYPE AS p, TABLE_SCHEMA AS s FROM information_schema.COLUMN_PRIVILEGES", "name"),
    ("SELECT CONCAT('''', User, '''@''', Host, '''') AS g, 'EXECUTE' AS p, Db AS s FROM mysql.procs_priv", "name"),
)
# Whose rights an account can take: its roles' on MySQL and on MariaDB, and those of whom it may stand for.
ROLES = (
    "SELECT TO_USER AS u, TO_HOST AS h, FROM_USER AS ru, FROM_HOST AS rh FROM mysql.role_edges",
    "SELECT User AS u, Host AS h, Role AS ru, '' AS rh FROM mysql.roles_mapping",
)
PROXIES = "SELECT User AS u, Host AS h, Proxied_user AS ru, Proxied_host AS rh FROM mysql.proxies_priv"
EVERYBODY = "PUBLIC"  # MariaDB's role that every account has
MANDATORY = "mandatory_roles"  # MySQL's list of such roles


@dataclass
class Granted:
    """What a server's grants say.

    Attributes:
        writing: who may write to one of the databases by a grant of its own.
        takes: who may take whose rights.
        everybody: roles that every account has.
    """

    writing: set[str] = field(default_factory=set)
    takes: dict[str, set[str]] = field(default_factory=dict)
    everybody: set[str] = field(default_factory=set)

    def writes(self, name: str) -> bool:
        """Whether an account may write, by itself or by another's rights."""
        seen: set[str] = set()
        todo = {name, *self.everybody}
        while todo:
            each = todo.pop()
            if each in self.writing or (each == "''@''" and self.writing):
                return True
            seen.add(each)
            todo |= self.takes.get(each, set()) - seen
        return False


def find(database: Session, schemas: Sequence[str], also: Collection[str] = ()) -> list[Account]:
    """The accounts that may write to one of these databases; never the one that asks, the servers' own, nor what only root of the machine can use.

    Args:
        also: users that are among them whatever their grants say: all accounts of these names.
    """
    granted, own = _read(database, schemas), asking(database)
    names = sorted((str(row["u"]), str(row["h"])) for row in database.rows("SELECT User AS u, Host AS h FROM mysql.user"))
    found = [
        Account(user, host)
        for user, host in names
        if user not in SERVERS_OWN
        and Account(user, host) not in own
        and (host or not user)  # MariaDB's roles have no host
        and (user in also or granted.writes(grantee(user, host)))
    ]
    # Whoever is root there can open the database's files as well, and is the last who can let this program in again.
    return [account for account in found if account.user in also or not socket_login.machines_own(database, account)]


def asking(database: Session) -> set[Account]:
    """The account that asks, and the one that it logged in with where it stands for another: locked, neither could undo anything."""
    own = {Account.parse(str(database.value("SELECT CURRENT_USER()")))}
    user, _, host = str(database.value("SELECT @@proxy_user") or "").rpartition("@")
    return own | ({Account(user.strip("'"), host.strip("'"))} if host else set())


def matches(pattern: str, schema: str) -> bool:
    """Whether the database name of a grant, in which `%` and `_` stand for others unless escaped, is that of a database."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    text = "".join(".*" if part == "%" else "." if part == "_" else re.escape(part[1:] if len(part) > 1 else part) for part in parts)
    return re.fullmatch(text, schema, re.DOTALL | re.IGNORECASE) is not None


def grantee(user: object, host: object) -> str:
    """An account as information_schema names it."""
    return f"'{user}'@'{host}'"


def _read(database: Session, schemas: Sequence[str]) -> Granted:
    found = Granted()
    for statement, kind in GRANTS:
        for row in database.rows(statement):
            if str(row["p"]).upper() in READING:
                continue
            on = str(row.get("s") or "")
            if not kind or any(matches(on, name) if kind == "pattern" else on.lower() == name.lower() for name in schemas):
                found.writing.add(_name(str(row["g"])))
    for row in [*roles(database), *database.rows(PROXIES)]:
        found.takes.setdefault(grantee(row["u"], row["h"]), set()).add(grantee(row["ru"], row["rh"]))
    found.everybody = {grantee(EVERYBODY, ""), *_mandatory(database)}
    return found


def _name(grantee_: str) -> str:
    """MariaDB names a role without a host in some versions, and with an empty one in others."""
    return grantee_ if "@" in grantee_ else grantee(grantee_.strip("'"), "")


def roles(database: Session) -> list[Row]:
    """Who may take whose rights by a role: `u`, `h` those of `ru`, `rh`; none where the server knows no roles."""
    for statement in ROLES:
        try:
            return database.rows(statement)
        except Refused as error:
            if not error.unknown:
                raise
    return []


def _mandatory(database: Session) -> set[str]:
    row = database.row(f"SHOW GLOBAL VARIABLES LIKE '{MANDATORY}'")
    listed = re.findall(r"[`']?([^`'@,\s]+)[`']?(?:@[`']?([^`',\s]+)[`']?)?", str(row["Value"])) if row else []
    return {grantee(user, host or "%") for user, host in listed}
