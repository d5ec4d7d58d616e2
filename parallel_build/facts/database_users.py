"""Who else uses a database server of the original: schemas, accounts and client sessions that aren't CloudStack's. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from parallel_build.database.copy.account import COPY_USER
from parallel_build.database.replicate import channel, pair_status
from parallel_build.database.server import processes
from parallel_build.database.server.writers import READING, grantee, roles
from parallel_build.facts.management_node import addresses_of
from parallel_build.remote.sql import Session

CLOUDSTACK = frozenset({"cloud", "cloud_usage", "cloudbridge"})
SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys", "#mysql50#lost+found", "lost+found"})
# Accounts that servers and distributions make for themselves, and ours.
OWN = frozenset(
    {"root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint", "PUBLIC", "healthcheck",
     COPY_USER, channel.USER, pair_status.USER}
)  # fmt: skip
THREADS = frozenset({"", "system user", "event_scheduler", "unauthenticated user"})
REPLICATING = frozenset({"REPLICATION SLAVE", "REPLICATION REPLICA"})
REPLICA_ONLY = REPLICATING | {"USAGE", "REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR"}
PASSING = 5.0  # seconds in which sessions without a place are gone
GRANTS = (
    "SELECT GRANTEE AS g, PRIVILEGE_TYPE AS p FROM information_schema.USER_PRIVILEGES UNION "
    "SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES UNION "
    "SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.TABLE_PRIVILEGES UNION "
    "SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.COLUMN_PRIVILEGES"
)


@dataclass(frozen=True)
class AccountUse:
    """An account that is neither the server's nor ours.

    Attributes:
        user, host: of the account.
        writes: privileges by which it may change something.
        replicates: it is a replica's, and can do nothing else.
    """

    user: str
    host: str
    writes: frozenset[str] = frozenset()
    replicates: bool = False

    def __str__(self) -> str:
        """As a grant names it."""
        return f"{self.user}@{self.host}"


@dataclass(frozen=True)
class Client:
    """Open sessions of one account from one place.

    Attributes:
        user: whose.
        host: where from: an address, or `localhost`.
        addresses: what that name stands for on the server.
        schema: database in use, "" for none.
    """

    user: str
    host: str
    addresses: tuple[str, ...] = ()
    schema: str = ""

    def __str__(self) -> str:
        """Who and from where."""
        return f"{self.user} from {self.host}" + (f" in {self.schema}" if self.schema else "")


@dataclass(frozen=True)
class DatabaseUse:
    """Who uses a database server.

    Attributes:
        schemas: those that aren't the server's nor CloudStack's.
        accounts: those that aren't the server's nor ours.
        clients: open sessions, one entry an account, place and database.
    """

    schemas: tuple[str, ...] = ()
    accounts: tuple[AccountUse, ...] = ()
    clients: tuple[Client, ...] = field(default=())


def read(database: Session) -> DatabaseUse:
    """Read it; the asking account is ours, whatever its name."""
    own = str(database.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"))
    return DatabaseUse(_schemas(database), _accounts(database, own), _clients(database, own))


def _schemas(database: Session) -> tuple[str, ...]:
    """An empty `test`, as servers used to be installed with, is nobody's."""
    rows = database.rows(
        "SELECT s.SCHEMA_NAME AS s, COUNT(t.TABLE_NAME) AS n FROM information_schema.SCHEMATA s "
        "LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME GROUP BY s.SCHEMA_NAME"
    )
    known = CLOUDSTACK | SYSTEM
    return tuple(sorted(str(row["s"]) for row in rows if row["s"] not in known and (row["s"] != "test" or int(row["n"]))))


def _accounts(database: Session, own: str) -> tuple[AccountUse, ...]:
    granted: dict[str, set[str]] = {}
    for row in database.rows(GRANTS):
        granted.setdefault(str(row["g"]), set()).add(str(row["p"]).upper())
    for row in database.rows("SELECT User AS u, Host AS h FROM mysql.procs_priv"):
        granted.setdefault(grantee(row["u"], row["h"]), set()).add("EXECUTE")
    taken = roles(database)
    for _ in taken:  # a role may have roles; no chain is longer than there are entries
        before = {name: set(found) for name, found in granted.items()}
        for row in taken:
            role = granted.get(grantee(row["ru"], row["rh"]), set())
            granted.setdefault(grantee(row["u"], row["h"]), set()).update(role)
        if before == granted:
            break
    names = {(str(row["ru"]), str(row["rh"])) for row in taken}
    return tuple(
        _account(user, host, granted.get(grantee(user, host), set()))
        for user, host in sorted((str(row["u"]), str(row["h"])) for row in database.rows("SELECT User AS u, Host AS h FROM mysql.user"))
        if user not in OWN | {own} and (user, host) not in names and (host or not user)  # MariaDB's roles have no host
    )


def _account(user: str, host: str, granted: set[str]) -> AccountUse:
    return AccountUse(user, host, frozenset(granted - READING), replicates=bool(granted & REPLICATING) and granted <= REPLICA_ONLY)


def _clients(database: Session, own: str) -> tuple[Client, ...]:
    known = THREADS | (OWN - {"root"})
    rows = [row for row in _settled(database) if str(row["u"] or "") not in known]
    found = {(str(row["u"]), _place(str(row["h"] or "")), str(row["d"] or "")) for row in rows}
    return tuple(
        Client(user, host, tuple(addresses_of(database.host, host)), schema)
        for user, host, schema in sorted(found)
        if not (user in ("root", own) and host == "localhost")
    )


def _settled(database: Session) -> list[dict[str, Any]]:
    """The sessions, once each has a place: one that ends loses it before its user, and would be taken for one from the server itself."""
    ask = f"SELECT USER AS u, HOST AS h, DB AS d FROM {processes.table(database)} WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'"
    until = time.monotonic() + PASSING
    while True:
        rows = database.rows(ask)
        if time.monotonic() > until or all(row["h"] or str(row["u"] or "") in THREADS for row in rows):
            return rows
        database.execute("DO SLEEP(0.1)")


def _place(host: str) -> str:
    """Without the port: `10.0.0.5:51234`, `db.example.org:51234`, `2001:db8::5` and `localhost` are all there are."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (name.count(":") in (0, 7) or "::" in name) else host or "localhost"
