"""What is true of a database server: variables, databases, accounts. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from parallel_build.database.server import processes
from parallel_build.database.server.collations import nearest
from parallel_build.database.server.dialects import identify, newest
from parallel_build.database.server.settings import Engine
from parallel_build.errors import StepFailed
from parallel_build.remote.sql import Session

SYSTEM_SCHEMAS = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
# InnoDB rounds the buffer pool up to whole chunks (128 MiB by default on MySQL), so the running value may be a little larger.
ROUNDED_UP = {"innodb_buffer_pool_size": 1024 * 1024 * 1024}


@dataclass(frozen=True, order=True)
class Account:
    """A database account."""

    user: str
    host: str

    def __str__(self) -> str:
        return f"'{self.user}'@'{self.host}'"

    @classmethod
    def parse(cls, definer: str) -> Account:
        """From a DEFINER as information_schema spells it: `cloud@localhost`."""
        user, _, host = definer.rpartition("@")
        return cls(user, host)


@dataclass(frozen=True)
class AccountFacts:
    """What is true of an account.

    Attributes:
        plugin: authentication plugin.
        secret_hash: what the plugin compares passwords with.
        requires_tls: only sessions over TLS are let in.
        locked: nobody can log in.
        grants: privileges by the object they are on, spelled as in `SHOW GRANTS`.
    """

    plugin: str
    secret_hash: str
    requires_tls: bool
    locked: bool
    grants: dict[str, frozenset[str]]


@dataclass(frozen=True)
class Charset:
    """A database's default character set and collation."""

    name: str
    collation: str


def variables(session: Session, names: Iterable[str]) -> dict[str, str]:
    """Global variables by name; one that the server does not have is left out."""
    wanted = set(names)
    return {str(row["Variable_name"]): str(row["Value"]) for row in session.rows("SHOW GLOBAL VARIABLES") if row["Variable_name"] in wanted}


def differing(session: Session, expected: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Variables whose running value is another than `expected`: (expected, running) by name."""
    running = variables(session, expected)
    return {
        name: (value, running.get(name, "not known to this server"))
        for name, value in expected.items()
        if not in_force(name, value, running.get(name))
    }


def in_force(name: str, expected: str, running: str | None) -> bool:
    """Whether a running value is what was configured."""
    if running is None:
        return False
    if name in ROUNDED_UP and running.isdigit():
        return int(expected) <= int(running) <= int(expected) + ROUNDED_UP[name]
    return running.upper() == expected.upper()


def schemas(session: Session) -> set[str]:
    """The databases that are not the server's own."""
    names = {str(row["name"]) for row in session.rows("SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA")}
    return names - SYSTEM_SCHEMAS


def contents(session: Session, schema: str) -> int:
    """Number of tables, views, routines and events in a database; 0 when it is empty or not there."""
    return int(
        session.value(
            "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s)"
            " + (SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s)"
            " + (SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s)",
            [schema, schema, schema],
        )
        or 0
    )


def charset(session: Session, schema: str) -> Charset | None:
    """A database's defaults, or None when there is no such database."""
    row = session.row(
        "SELECT DEFAULT_CHARACTER_SET_NAME AS name, DEFAULT_COLLATION_NAME AS collation"
        " FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        [schema],
    )
    return Charset(str(row["name"]), str(row["collation"])) if row else None


def known_charset(session: Session, wanted: Charset) -> Charset:
    """`wanted` as this server spells it, or the nearest that it has, as the copy makes it.

    Servers before 8.0.30 and 10.6 say `utf8` for what is `utf8mb3` now.

    Raises:
        StepFailed: the server does not have it.
    """
    wanted = Charset(wanted.name, nearest(wanted.collation, identify(session).family))
    spellings = [wanted]
    for old, new in (("utf8", "utf8mb3"), ("utf8mb3", "utf8")):
        if wanted.name == old:
            # The present name is preferred; a collation's name begins with that of its character set.
            spellings.append(Charset(new, new + wanted.collation.removeprefix(old)))
    spellings.sort(key=lambda spelling: spelling.name == "utf8")
    for spelling in spellings:
        if session.value(
            # MariaDB's UCA 14.0.0 collations serve several character sets: the full name is in this table only.
            f"SELECT COUNT(*) FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE {_full_name(session)} = %s "
            "AND CHARACTER_SET_NAME = %s",
            [spelling.collation, spelling.name],
        ):
            return spelling
    raise StepFailed(
        f"{session.host.name}: the server has no collation {wanted.collation}",
        f"the original's databases have it as their default, and {identify(session)} does not know it",
        "choose a server in new.database.engine and new.database.packages that knows it",
    )


def _full_name(session: Session) -> str:
    columns = session.rows(
        "SELECT COLUMN_NAME AS c FROM information_schema.COLUMNS WHERE UPPER(TABLE_SCHEMA) = 'INFORMATION_SCHEMA' "
        "AND UPPER(TABLE_NAME) = 'COLLATION_CHARACTER_SET_APPLICABILITY'"
    )
    return "FULL_COLLATION_NAME" if any(str(row["c"]).upper() == "FULL_COLLATION_NAME" for row in columns) else "COLLATION_NAME"


def definers(session: Session, names: Iterable[str]) -> set[Account]:
    """The accounts that views, routines, triggers and events of these databases run as."""
    found: set[Account] = set()
    for table, column in (
        ("VIEWS", "TABLE_SCHEMA"),
        ("ROUTINES", "ROUTINE_SCHEMA"),
        ("TRIGGERS", "TRIGGER_SCHEMA"),
        ("EVENTS", "EVENT_SCHEMA"),
    ):
        for name in names:
            rows = session.rows(f"SELECT DISTINCT DEFINER AS d FROM information_schema.{table} WHERE {column} = %s", [name])
            found.update(Account.parse(str(row["d"])) for row in rows)
    return found


def accounts(session: Session, user: str) -> set[Account]:
    """Every account of a user name; the empty name gives the anonymous ones."""
    rows = session.rows("SELECT User AS user, Host AS host FROM mysql.user WHERE User = %s", [user])
    return {Account(str(row["user"]), str(row["host"])) for row in rows}


def account(session: Session, name: Account, engine: Engine) -> AccountFacts | None:
    """What is true of an account, or None when there is no such account."""
    row = session.row(
        "SELECT plugin, authentication_string AS hash, ssl_type AS tls FROM mysql.user WHERE User = %s AND Host = %s",
        [name.user, name.host],
    )
    if row is None:
        return None
    locked = session.value(newest(engine).account_locked, [name.user, name.host])
    grants: dict[str, set[str]] = {}
    for line in session.rows("SHOW GRANTS FOR %s@%s", [name.user, name.host]):
        parsed = parse_grant(str(next(iter(line.values()))))
        if parsed and parsed[1] != frozenset({"USAGE"}):
            grants.setdefault(parsed[0], set()).update(parsed[1])
    return AccountFacts(
        str(row["plugin"]),
        _text(row["hash"]),
        bool(_text(row["tls"])),
        locked in (True, 1, "Y", "true", "1"),
        {target: frozenset(privileges) for target, privileges in grants.items()},
    )


def parse_grant(line: str) -> tuple[str, frozenset[str]] | None:
    """Object and privileges of a line of `SHOW GRANTS`; None for a granted role or proxy."""
    match = re.match(r"^GRANT (?P<what>.+?) ON (?:TABLE |SCHEMA )?(?P<on>`.+?`\.\S+|\*\.\*) TO ", line)
    if not match or match["what"].startswith("PROXY"):
        return None
    privileges = {part.strip() for part in match["what"].split(",")}
    if " WITH GRANT OPTION" in line:
        privileges.add("GRANT OPTION")
    return match["on"], frozenset(privileges)


def sessions_of(session: Session, user: str) -> list[str]:
    """Where open sessions of a user come from, one text an address."""
    rows = session.rows(f"SELECT DISTINCT HOST AS host FROM {processes.table(session)} WHERE USER = %s", [user])
    return sorted({str(row["host"]).rsplit(":", 1)[0] for row in rows})


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
