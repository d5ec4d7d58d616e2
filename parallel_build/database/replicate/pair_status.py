"""What is true of the replication between the new source and the new replica: threads, positions, where a replica may begin. Reads only.

What differs between families is in `parallel_build.database.server.dialects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from parallel_build.configuration import Server
from parallel_build.database.server import bookkeeping
from parallel_build.database.server.dialects import identify
from parallel_build.database.server.state import schemas
from parallel_build.errors import GuardFailed
from parallel_build.remote.sql import Session

USER = "parallel_build_repl"
ATTEMPTS = 86400  # MySQL 8.4 and later give up after 10 by themselves


@dataclass(frozen=True)
class ReplicaStatus:
    """The pair's channel, as the replica reports it.

    Attributes:
        source, port, user: where it replicates from, and as whom.
        receiving, applying: both threads run.
        tls, verified: the connection is encrypted, and the source's certificate is checked.
        gtid: it follows GTIDs.
        lag: seconds behind, None when unknown.
        errno: number of the receiver's last error.
        error: the threads' last errors in the server's words.
    """

    source: str
    port: int
    user: str
    receiving: bool
    applying: bool
    tls: bool
    verified: bool
    gtid: bool
    lag: int | None
    errno: int
    error: str

    @property
    def running(self) -> bool:
        """Both threads run without an error."""
        return self.receiving and self.applying and not self.error

    def points_to(self, server: Server, port: int) -> bool:
        """It replicates from `server` as this tool sets it up."""
        secure = self.tls and self.verified and self.gtid
        return (self.source, self.port, self.user) == (server.address, port, USER) and secure

    def fault(self) -> str | None:
        """What is wrong in words, None when nothing is."""
        if self.error:
            return self.error
        threads = [name for name, runs in (("receiver", self.receiving), ("applier", self.applying)) if not runs]
        return f"its {' and '.join(threads)} does not run" if threads else None


class StartingPoint(Enum):
    """Where a replica that does not replicate yet is to begin."""

    NOW = "both are empty: from the source's present position"
    WHERE_IT_WAS = "from where it stopped"
    BEGINNING = "from the source's first binary log, which is still there"


def status(session: Session) -> ReplicaStatus | None:
    """The unnamed channel, or None where there is none."""
    dialect = identify(session).dialect
    words = dialect.pair
    for row in session.rows(dialect.replica_status):
        if str(row.get(words.channel) or ""):
            continue
        named = {meaning: row.get(column) for meaning, column in dialect.status_fields.items()}
        if not named["host"]:
            return None
        errors = [str(named[key]) for key in ("io_error", "sql_error") if named[key]]
        auto_column, auto_value = words.auto
        return ReplicaStatus(
            source=str(named["host"]),
            port=int(row[words.port]),
            user=str(named["user"]),
            receiving=named["io"] == "Yes",
            applying=named["sql"] == "Yes",
            tls=named["tls"] == "Yes",
            verified=row.get(words.verify) == "Yes",
            gtid=str(row.get(auto_column)) == auto_value,
            lag=None if named["lag"] is None else int(named["lag"]),
            errno=int(row.get(words.errno) or 0),
            error=" | ".join(errors),
        )
    return None


def starting_point(source_schemas: set[str], replica_schemas: set[str], replica_has: str, *, logs_complete: bool) -> StartingPoint:
    """Decide where a replica may begin without missing or repeating anything.

    Args:
        source_schemas, replica_schemas: databases there, without the servers' own and the tool's.
        replica_has: the replica's position, empty when it has never replicated.
        logs_complete: the source still has its very first binary log.
    Raises:
        GuardFailed: the source has data that the replica could never get, or the replica has data that is not the source's.
    """
    if not source_schemas and not replica_schemas:
        return StartingPoint.NOW
    if not source_schemas or replica_schemas - source_schemas:
        raise GuardFailed(
            f"the new replica has databases that the new source has not: {', '.join(sorted(replica_schemas - source_schemas))}",
            "replication from the source would not make the two the same",
            "empty the replica, or give the stack another machine for it",
        )
    if replica_has:
        return StartingPoint.WHERE_IT_WAS
    if logs_complete and not replica_schemas:
        return StartingPoint.BEGINNING
    raise GuardFailed(
        f"the new source has databases ({', '.join(sorted(source_schemas))}) that the new replica can't get by replication",
        "the replica has never replicated, and the source's first binary logs are gone",
        "copy the source to the replica first (mariadb-backup, MySQL clone), or empty both",
    )


def foreign_schemas(session: Session) -> set[str]:
    """The databases that are neither the server's own nor the tool's."""
    return schemas(session) - {bookkeeping.NAME}


def replica_position(replica: Session) -> str:
    """What the replica has executed; empty when it has never replicated."""
    return str(replica.value(f"SELECT {identify(replica).dialect.pair.have}") or "").replace("\n", "")


def source_position(source: Session) -> str:
    """What the source has written to its binary log so far."""
    return str(source.value(f"SELECT {identify(source).dialect.pair.position}") or "").replace("\n", "")


def logs_complete(source: Session) -> bool:
    """Whether the source's very first binary log is still there."""
    if identify(source).family == "mysql":
        return not source.value("SELECT @@GLOBAL.gtid_purged")
    first = source.row("SHOW BINARY LOGS")
    return first is not None and str(first["Log_name"]).endswith(".000001")


def read_only(replica: Session) -> bool:
    """Whether only administrators (MySQL: nobody at all) can write on the replica."""
    variable = identify(replica).dialect.read_only[0]
    return str(replica.value(f"SELECT @@GLOBAL.{variable}")) in ("1", "ON")
