"""Which of the dialects a server speaks, and whether there is a way from one server to another. Nothing here asks a server anything but its version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_build.configuration.database_combinations import COMBINATIONS, Combination, Family, Method
from parallel_build.database.server.dialect_table import DIALECTS, Dialect, Version
from parallel_build.errors import GuardFailed
from parallel_build.remote.sql import Session


@dataclass(frozen=True)
class DatabaseServer:
    """What a database server reports to be.

    Attributes:
        name: the host's name in the stack.
        dialect: how to talk to it.
        version: its version's three numbers.
        text: the version as it says it.
    """

    name: str
    dialect: Dialect
    version: Version
    text: str

    @property
    def family(self) -> Family:
        """mariadb or mysql."""
        return self.dialect.family

    def __str__(self) -> str:
        brand = "MariaDB" if self.family == "mariadb" else "MySQL"
        return f"{brand} {'.'.join(map(str, self.version))}"


def parse_version(text: str) -> tuple[Family, Version]:
    """Family and numbers of a `SELECT VERSION()` such as `10.11.19-MariaDB-0+deb12u1-log` or `8.4.5`.

    Raises:
        ValueError: the text doesn't begin with three numbers.
    """
    match = re.match(r"^(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", text)  # old MariaDB puts 5.5.5- before its version for old replicas
    if not match:
        raise ValueError(f"{text!r} is not a database server's version")
    family: Family = "mariadb" if "mariadb" in text.lower() else "mysql"
    return family, (int(match[1]), int(match[2]), int(match[3]))


def dialect_of(family: Family, version: Version) -> Dialect | None:
    """The newest entry that is not newer than the server, or None for a server older than every entry."""
    fitting = [entry for entry in DIALECTS if entry.family == family and entry.oldest <= version]
    return max(fitting, key=lambda entry: entry.oldest) if fitting else None


def newest(family: Family) -> Dialect:
    """The newest entry of a family: for what does not depend on the version, and of a server that is not there yet."""
    return max((entry for entry in DIALECTS if entry.family == family), key=lambda entry: entry.oldest)


def identify(session: Session) -> DatabaseServer:
    """Ask a server what it is.

    Raises:
        GuardFailed: its version is older than any that the dialects describe.
    """
    text = str(session.value("SELECT VERSION()"))
    family, version = parse_version(text)
    dialect = dialect_of(family, version)
    if dialect is None:
        oldest = min(entry.oldest for entry in DIALECTS if entry.family == family)
        raise GuardFailed(
            f"{session.host.name} runs {text}",
            f"{family} before {'.'.join(map(str, oldest))} is not supported as a server to copy from or to",
            "upgrade the database server of the original first, as CloudStack's upgrade guide describes",
        )
    return DatabaseServer(session.host.name, dialect, version, text)


def _fits(server: DatabaseServer, side: tuple[Family, tuple[int, int], tuple[int, int]]) -> bool:
    family, oldest, newest = side
    return server.family == family and oldest <= server.version[:2] <= newest


def combination(old: DatabaseServer, new: DatabaseServer) -> Combination | None:
    """The table's entry for two servers, or None."""
    return next((entry for entry in COMBINATIONS if _fits(old, entry.old) and _fits(new, entry.new)), None)


def supported(old: DatabaseServer, new: DatabaseServer, method: Method) -> Combination:
    """Rule: the way from `old` to `new` by `method` is in the table, and the new server is not older than the old one.

    Raises:
        GuardFailed: it is not; the message has the reason and what serves instead.
    """
    if old.family == new.family and new.version[:2] < old.version[:2]:
        raise GuardFailed(
            f"{new.name} runs {new}, {old.name} runs {old}",
            "data of a newer server series can't be trusted to an older one",
            f"install {old} or newer on {new.name}",
        )
    entry = combination(old, new)
    if entry is None:
        raise GuardFailed(
            f"there is no supported way from {old} on {old.name} to {new} on {new.name}",
            "the combination is not in the table of docs/understand/database.md",
            "choose another version for the new servers (new.database.engine, its packages), or upgrade the original's server first",
        )
    if method not in entry.methods:
        raise GuardFailed(
            f"transfer method {method} does not serve from {old} on {old.name} to {new} on {new.name}",
            entry.why_not_replicate,
            f"set transfer.method to {entry.methods[0]}",
        )
    return entry


def require(session: Session, name: str) -> str:
    """A global variable's value as text; empty where the server has no such variable."""
    row = session.row("SHOW GLOBAL VARIABLES LIKE %s", [name.replace("_", r"\_")])
    return str(row["Value"]) if row else ""
