"""Replication from the new source to the new replica: TLS, GTIDs, one channel without a name. Single changes; deciding is left to the step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration import Server
from parallel_build.database.replicate.pair_status import ATTEMPTS, USER, ReplicaStatus, source_position, status
from parallel_build.database.server import bookkeeping
from parallel_build.database.server.dialects import identify
from parallel_build.errors import StepFailed, TimedOut
from parallel_build.remote.sql import Session
from parallel_build.secret import Secret


def configure(replica: Session, server: Server, port: int, password: Secret, ca: str, begin: str | None) -> None:
    """Point the replica at the source; its threads are stopped and stay so.

    Args:
        server: the source.
        port: its port.
        password: of the replication user.
        ca: path, on the replica, of the certificate that the source's is checked against.
        begin: position that the replica is taken to have already, on an **empty** replica; None keeps its own.
    """
    dialect = identify(replica).dialect
    words = dialect.pair
    # A CHANGE statement carries the password: it is kept out of the general log of this session.
    replica.execute("SET SESSION sql_log_off = 1")
    stop(replica)
    if begin is not None:
        with writable(replica):
            replica.execute(dialect.reset_replica)
            replica.execute("SET SESSION sql_log_bin = 0")
            bookkeeping.drop(replica)
            replica.execute("SET SESSION sql_log_bin = 1")
            replica.execute(words.forget)
        if begin or dialect.family == "mariadb":
            replica.execute(words.begin, [begin])
    values: dict[str, Any] = {
        "host": server.address, "port": port, "user": USER, "password": password.reveal(), "ca": ca, **words.change,
    }  # fmt: skip
    options = [f"{dialect.options[meaning]} = %s" for meaning in values]
    if dialect.family == "mariadb":
        options.append("MASTER_USE_GTID = slave_pos")
    else:
        options.append(f"SOURCE_RETRY_COUNT = {ATTEMPTS}")
    replica.execute(dialect.change_source.format(options=", ".join(options)), list(values.values()))


def start(replica: Session) -> None:
    """Start both threads."""
    replica.execute(identify(replica).dialect.start_replica)


def stop(replica: Session) -> None:
    """Stop both threads; no channel is no error."""
    if status(replica) is not None:
        replica.execute(identify(replica).dialect.stop_replica)


def reset(replica: Session) -> bool:
    """Stop and forget the source; return whether there was anything to forget."""
    if status(replica) is None:
        return False
    stop(replica)
    replica.execute(identify(replica).dialect.reset_replica)
    return True


def await_running(replica: Session, *, timeout: float, cancel: CancelToken) -> ReplicaStatus:
    """Wait until both threads run.

    Raises:
        StepFailed: they don't in time, or the applier met an error; with the server's words.
    """
    name = replica.host.name

    def runs() -> ReplicaStatus | None:
        found = status(replica)
        if found is not None and found.running:
            return found
        # A receiver that can't connect keeps trying, so its error is none yet; an applier's ends it.
        if found is not None and found.error and not found.applying:
            _check_threads(replica)
        return None

    try:
        return wait_for(f"replication to run on {name}", runs, timeout=timeout, cancel=cancel)
    except TimedOut as error:
        found = status(replica)
        words = found.fault() if found else "it has no source"
        if not words:
            raise
        raise StepFailed(
            error.fact, words, "check that the replica reaches the source's port, that the account lets it in and that the certificates fit"
        ) from None


def await_position(source: Session, replica: Session, *, timeout: float, cancel: CancelToken) -> str:
    """Wait until the replica has everything the source has written so far; return that position."""
    position = source_position(source)
    dialect = identify(replica).dialect

    def reached() -> bool:
        if not position:
            return True
        found = replica.value(dialect.pair.wait, [position, 1])
        if found is not None and int(found) == dialect.pair.arrived:
            return True
        _check_threads(replica)
        return False

    wait_for(
        f"{replica.host.name} to have everything that {source.host.name} has written",
        reached,
        timeout=timeout,
        cancel=cancel,
        interval=0.05,
        remedy=f"see `{dialect.replica_status}` on {replica.host.name}, then run the same command again",
    )
    return position


def _check_threads(replica: Session) -> None:
    """Raises StepFailed when a thread has stopped with an error: waiting would never end."""
    found = status(replica)
    if found is None or (found.error and not (found.receiving and found.applying)):
        name = replica.host.name
        raise StepFailed(
            f"{name}: replication stopped",
            found.error if found else "it has no source",
            f"see `{identify(replica).dialect.replica_status}` on {name}, remove the cause there, then run the same command again",
        )


def set_read_only(replica: Session) -> None:
    """Let nobody write on the replica but replication."""
    replica.execute(f"SET GLOBAL {identify(replica).dialect.read_only[0]} = ON")


@contextlib.contextmanager
def writable(server: Session) -> Iterator[None]:
    """Let the administrator write on a replica for a moment: MySQL's `super_read_only` keeps even root out."""
    lifted = identify(server).family == "mysql" and str(server.value("SELECT @@GLOBAL.super_read_only")) == "1"
    if lifted:
        server.execute("SET GLOBAL super_read_only = OFF")
    try:
        yield
    finally:
        if lifted:
            server.execute_in_any("SET GLOBAL super_read_only = ON")
