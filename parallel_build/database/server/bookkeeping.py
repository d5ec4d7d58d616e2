"""The tool's own small database on the new source, which replicates to the replica: a heartbeat that proves replication, and marks.

A mark is a fact that an undo needs and that must outlive the operator's machine: that the databases were made by this stack (`MADE`), and that
users were let in on them (`SERVED`), after which they are never dropped.
"""

from __future__ import annotations

import secrets

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.server.state import schemas
from parallel_build.errors import GuardFailed
from parallel_build.remote.sql import Session, quote

NAME = "parallel_build"
MADE, SERVED = "made", "served"

TABLES = (
    "CREATE TABLE IF NOT EXISTS parallel_build.heartbeat"
    " (id TINYINT NOT NULL PRIMARY KEY, token VARCHAR(64) NOT NULL, written DATETIME(6) NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS parallel_build.mark"
    " (name VARCHAR(64) NOT NULL PRIMARY KEY, value VARCHAR(255) NOT NULL, written DATETIME(6) NOT NULL) ENGINE=InnoDB",
)


def there(session: Session) -> bool:
    """Whether the database and its tables are there."""
    found = session.value(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ('heartbeat', 'mark')", [NAME]
    )
    return int(found or 0) == 2


def create(session: Session) -> None:
    """Make the database and its tables; what is there stays."""
    session.execute(f"CREATE DATABASE IF NOT EXISTS {quote(NAME)} CHARACTER SET utf8mb4")
    for statement in TABLES:
        session.execute(statement)


def drop(session: Session) -> bool:
    """Drop the database; return whether there was one."""
    if NAME not in schemas(session):
        return False
    session.execute(f"DROP DATABASE IF EXISTS {quote(NAME)}")
    return True


def mark(source: Session, name: str, value: str) -> bool:
    """Set a mark on the source; return whether it is a change."""
    if marks(source).get(name) == value:
        return False
    create(source)
    source.execute(
        "INSERT INTO parallel_build.mark (name, value, written) VALUES (%s, %s, NOW(6))"
        " ON DUPLICATE KEY UPDATE value = VALUES(value), written = VALUES(written)",
        [name, value],
    )
    return True


def unmark(source: Session, name: str) -> None:
    """Remove a mark from the source."""
    source.execute("DELETE FROM parallel_build.mark WHERE name = %s", [name])


def marks(session: Session) -> dict[str, str]:
    """All marks; empty when the tool's database is not there."""
    if not there(session):
        return {}
    return {str(row["name"]): str(row["value"]) for row in session.rows("SELECT name, value FROM parallel_build.mark")}


def check_unused(session: Session) -> None:
    """Rule: databases that users have worked on are neither dropped nor imported over, by nobody, whatever a record says or does not say.

    Raises:
        GuardFailed: they were switched to.
    """
    window = marks(session).get(SERVED)
    if window is not None:
        identity, _, opened = window.partition(" ")
        raise GuardFailed(
            f"the databases on {session.host.name} were switched to, and users may have worked on them: they are not dropped or imported over",
            f"the mark `{SERVED}` is on that server, set by the window {identity}, opened {opened}; only the rollback of that window takes it away",
            f"roll that window back: parallel-build back STACK --window {identity}; where its record is lost, and what users did there may "
            f"go: on {session.host.name}, DELETE FROM {NAME}.mark WHERE name = '{SERVED}'",
        )


def drop_unused(session: Session) -> bool:
    """Drop the tool's database, unless it marks databases that users have worked on; return whether it is gone."""
    if SERVED in marks(session):
        return False
    drop(session)
    return True


def beat(source: Session, replica: Session, *, timeout: float, cancel: CancelToken) -> float:
    """Write a row on the source and wait until the replica has it.

    Args:
        timeout: seconds until StepFailed.
    Returns:
        Seconds it took, by the source's clock alone.
    Raises:
        StepFailed: it did not arrive in time.
    """
    token = secrets.token_hex(16)
    source.execute(
        "INSERT INTO parallel_build.heartbeat (id, token, written) VALUES (1, %s, NOW(6))"
        " ON DUPLICATE KEY UPDATE token = VALUES(token), written = VALUES(written)",
        [token],
    )

    def arrived() -> float | None:
        if not there(replica):
            return None
        if not replica.value("SELECT COUNT(*) FROM parallel_build.heartbeat WHERE token = %s", [token]):
            return None
        seconds = source.value("SELECT TIMESTAMPDIFF(MICROSECOND, written, NOW(6)) / 1000000 FROM parallel_build.heartbeat WHERE id = 1")
        return max(0.001, float(seconds))

    return wait_for(
        f"a row written on {source.host.name} to be on {replica.host.name}",
        arrived,
        timeout=timeout,
        cancel=cancel,
        interval=0.1,
        remedy=f"see SHOW REPLICA STATUS or SHOW SLAVE STATUS on {replica.host.name}, then run the same command again",
    )
