"""Accounts that views, routines, triggers and events run as (DEFINER).

Decision: a definer is kept exactly as the original has it, and where the new server has no such account a **locked** one is made:
nobody can log in to it, it holds rights on CloudStack's databases only, and objects that run as it work. Rewriting definers would make
every object differ from the original for good. Without the account an import stops with ERROR 1449, or its views fail when used
(seen with CloudStack 4.20's 47 objects of cloud@localhost).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parallel_build.database.schema.definitions import Schema
from parallel_build.database.server.dialects import identify
from parallel_build.remote.sql import Session, quote

# Rights that CloudStack's own account has on its databases [installation guide], and no more.
PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, REFERENCES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, "
    "CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER"
)


@dataclass(frozen=True, order=True)
class Account:
    """A database account `user`@`host`."""

    user: str
    host: str

    @classmethod
    def parse(cls, definer: str) -> Account:
        """From `user@host` as information_schema has it; the host begins after the last @."""
        user, _, host = definer.rpartition("@")
        return cls(user, host) if user or host else cls(definer, "%")

    @property
    def quoted(self) -> str:
        """As statements take it."""
        return f"{quote(self.user)}@{quote(self.host)}"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}"


def used(schemas: Iterable[Schema]) -> list[Account]:
    """The definers of all objects, each once, sorted."""
    return sorted({Account.parse(code.definer) for schema in schemas for code in schema.codes})


def known(session: Session) -> set[Account]:
    """The accounts a server has."""
    return {Account(row["u"], row["h"]) for row in session.rows("SELECT User AS u, Host AS h FROM mysql.user")}


def missing(session: Session, accounts: Iterable[Account]) -> list[Account]:
    """Which of the accounts the server does not have."""
    there = known(session)
    return [account for account in accounts if account not in there]


def ensure(session: Session, accounts: Sequence[Account], schemas: Sequence[str]) -> list[Account]:
    """Make every account that is missing, locked, with CloudStack's rights on `schemas`; return those made.

    A locked one that exists is given the rights too: an interrupted run may have made it without them. An account that somebody can use keeps its
    password and rights.
    """
    dialect = identify(session).dialect
    made = missing(session, accounts)
    for account in made:
        clause = dialect.locked_clause
        if "mysql_no_login" in clause and not _plugin_active(session, "mysql_no_login"):
            clause = "ACCOUNT LOCK"  # the plug-in that refuses every login is optional; the lock alone refuses too
        session.execute(f"CREATE USER IF NOT EXISTS {account.quoted} {clause}")
    for account in accounts:
        if locked(session, account):
            for schema in schemas:
                # A grant takes _ and % as wildcards.
                name = schema.replace("_", r"\_").replace("%", r"\%")
                session.execute(f"GRANT {PRIVILEGES} ON {quote(name)}.* TO {account.quoted}")
    return made


def locked(session: Session, account: Account) -> bool:
    """Whether an account exists and nobody can log in to it."""
    row = session.row("SELECT COUNT(*) AS n FROM mysql.user WHERE User = %s AND Host = %s", [account.user, account.host])
    if not row or not row["n"]:
        return False
    shown = session.row(f"SHOW CREATE USER {account.quoted}") or {}
    return "ACCOUNT LOCK" in str(next(iter(shown.values()), ""))


def remove(session: Session, accounts: Iterable[Account]) -> list[Account]:
    """Drop those of the accounts that are locked, as `ensure` makes them; one that somebody can use is left alone."""
    dropped = []
    for account in accounts:
        if locked(session, account):
            session.execute(f"DROP USER IF EXISTS {account.quoted}")
            dropped.append(account)
    return dropped


def _plugin_active(session: Session, name: str) -> bool:
    return bool(
        session.value("SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME = %s AND PLUGIN_STATUS = 'ACTIVE'", [name])
    )
