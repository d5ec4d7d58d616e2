"""Several sessions in one snapshot, at a known position of the server's binary log, so that no user waits for it.

First without any lock (`_quiet`): all sessions begin their snapshots, and then it is proved that nothing was committed meanwhile. Between two commits of
a busy server are some milliseconds, so it is tried again and again.

Only where no such moment comes a lock is taken (`_locked`): on MariaDB from 10.4 BACKUP STAGE BLOCK_COMMIT, which lets statements run and keeps commits
waiting; on MySQL, and MariaDB before, FLUSH TABLES WITH READ LOCK, the only lock there that keeps commits waiting. That one waits for every statement that
runs, and everybody waits behind it, so it is asked for only while none has run for long.

Runs on the new database server too (see `worker`), with the Python that is there.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import contextlib
import time
from typing import Callable, List, NamedTuple, Optional, Sequence, Type

from parallel_build.database.server.waiting import STATEMENTS, Statement, parse, shown

Ask = Callable[[str], str]  # runs a statement; answers its rows as lines, values parted by tabs
BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
# Seconds for which a quiet moment is looked for: MariaDB's lock costs users next to nothing, MySQL's may.
QUIET = {"mariadb": 3.0, "mysql": 20.0}
LOCKING = 120.0  # seconds for which the lock is tried
LONG = 1  # seconds that a statement has run for when the lock is not asked for
BETWEEN = 1.0  # seconds between two tries
LOCK_WAIT = "SET SESSION lock_wait_timeout = 1"  # the shortest there is: nobody waits for longer behind the lock that waits
TIMED_OUT = "Lock wait timeout"


class Taken(NamedTuple):
    """What became of it.

    Attributes:
        position: file and offset in the binary log; empty where the server writes none.
        seconds: for which anybody may have waited, from asking for the lock to its end.
        way: how, in words.
    """

    position: List[str]
    seconds: float
    way: str


class Busy(Exception):
    """No moment for the snapshot came; the text says why."""


class Server(NamedTuple):
    """What there is to know of the server.

    Attributes:
        family: mariadb or mysql.
        status: statement that gives the binary log's position.
        processes: its table of sessions.
        own: the account of our sessions.
        lock: statements that keep commits waiting.
        unlock: the one that ends it.
    """

    family: str
    status: str
    processes: str
    own: str
    lock: Sequence[str]
    unlock: str


def begin(
    server: Server, control: Ask, readers: Sequence[Ask], pause: Callable[[float], None], refused: Type[Exception],
) -> Taken:  # fmt: skip
    """Begin one snapshot in all sessions.

    Args:
        control: a session of its own; one that was lost opens itself again.
        readers: the sessions.
        pause: waits so many seconds, or raises.
        refused: what `control` raises when the server refuses a statement.
    Raises:
        Busy: no moment came.
    """
    position = control(server.status).split()[:2]
    deadline = time.monotonic() + QUIET[server.family]
    while position and time.monotonic() < deadline:
        found = _quiet(server, control, readers)
        if found:
            return Taken(found, 0.0, "no lock")
        pause(0.005)
    return _locked(server, control, readers, pause, refused)


def _quiet(server: Server, control: Ask, readers: Sequence[Ask]) -> List[str]:
    """The snapshot's position where nothing was committed while the sessions began it; else nothing."""
    if server.family == "mariadb":
        # The server itself knows of each snapshot where it stands in the log.
        for reader in readers:
            reader(BEGIN)
        first, last = _stands(readers[0]), _stands(readers[-1])
        return first if first == last else []
    before = control(server.status).split()[:2]
    # What is in the log and not committed yet is prepared: such a transaction would be before the position, and not in the snapshot.
    if "(PREPARED)" in control("SHOW ENGINE INNODB STATUS"):
        return []
    for reader in readers:
        reader(BEGIN)
    return before if control(server.status).split()[:2] == before else []


def _stands(reader: Ask) -> List[str]:
    found = dict(line.split("\t") for line in reader("SHOW STATUS LIKE 'binlog_snapshot_%'").splitlines() if "\t" in line)
    names = {name.lower(): value for name, value in found.items()}
    return [names["binlog_snapshot_file"], names["binlog_snapshot_position"]]


def _locked(server: Server, control: Ask, readers: Sequence[Ask], pause: Callable[[float], None], refused: Type[Exception]) -> Taken:
    deadline = time.monotonic() + LOCKING
    reason = ""
    while True:
        blocking = _long(server, control)
        if blocking:
            reason = "a statement has run for %d s there: %s" % (blocking.seconds, shown(blocking.text))
        else:
            control(LOCK_WAIT)
            asked = time.monotonic()
            try:
                position = _under_lock(server, control, readers)
                return Taken(position, round(time.monotonic() - asked, 3), "a lock of some milliseconds")
            except refused as problem:
                if TIMED_OUT not in str(problem):
                    raise
                reason = "its lock was not given within a second: a backup or a statement holds it"
        if time.monotonic() > deadline:
            raise Busy("no snapshot could begin within %.0f s: commits came without a pause, and %s" % (LOCKING, reason))
        pause(BETWEEN)


def _under_lock(server: Server, control: Ask, readers: Sequence[Ask]) -> List[str]:
    try:
        for statement in server.lock:
            control(statement)
        for reader in readers:
            reader(BEGIN)
        position = control(server.status).split()[:2]
    except Exception:
        with contextlib.suppress(Exception):  # the session may be gone, and its lock with it
            control(server.unlock)
        raise
    control(server.unlock)
    return position


def _long(server: Server, control: Ask) -> Optional[Statement]:
    """A statement for which the lock would wait, and everybody behind the lock; MariaDB's stages wait for none that reads or changes rows."""
    if server.unlock != "UNLOCK TABLES":
        return None
    found = parse(control(STATEMENTS.format(table=server.processes, own=server.own)))
    return next((one for one in sorted(found, key=lambda one: -one.seconds) if one.runs and one.seconds >= LONG), None)
