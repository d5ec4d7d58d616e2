"""`transfer: replicate`: the new source follows the original while that serves, and takes over in a moment.

    seed()                  before the window: copy at one binary log position, then follow from there (throttled where wished)
    compare_at_position()   before the window: the full comparison, both sides standing at one position
    with Takeover() as it:  before the window: sessions open, log read so far
        it.catch_up()           in the window, nobody writes any more: both sides at the original's last position, proved
        it.compare_changes()    in the window: only the rows that the original's log names since the full comparison
        it.promote()            in the window: the channel ends, counters and events as the original has them
    remove()                undo: no trace on the original or the new source, whatever had run

On the original there are two accounts at most (`cutover_repl`, and `cutover_copy` while rows are read), made outside its binary log.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.connection import Host
from parallel_build.database import access, changes, channel, copying, schema
from parallel_build.database.channel import CHANNEL, Position, Status, log_position, named, read_status, wait_applied
from parallel_build.database.compare import Comparison, compare_ranges, compare_sides
from parallel_build.database.dialects import DatabaseServer, identify, supported
from parallel_build.database.fingerprint import Range
from parallel_build.database.session import Session, quote, session
from parallel_build.database.sides import Side, open_side
from parallel_build.errors import GuardFailed, StepFailed

KEYS_AT_ONCE = 1000  # keys in one condition
LOCK_ATTEMPTS = 6


@dataclass(frozen=True)
class Baseline:
    """The full comparison, and the position at which both sides stood for it.

    Attributes:
        comparison: its verdict; counters (AUTO_INCREMENT) are left out, `promote` sets them.
        position: in the original's binary log.
        locked_seconds: how long the original's tables were locked for the snapshot to begin.
    """

    comparison: Comparison
    position: Position
    locked_seconds: float


def seed(
    source: Host,
    target: Host,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
    bytes_per_second: int | None = None,
) -> copying.CopyReport | None:
    """Copy the running original and let the new source follow it. Done already means nothing happens.

    Args:
        bytes_per_second: limit of the reading, so that the original's users don't feel it; None for none.
    Returns:
        What was copied, or None when the new source follows already.
    Raises:
        GuardFailed: the two can't replicate, or the databases there are not empty.
    """
    with session(source) as old, session(target) as new:
        old_server, new_server = identify(old), identify(new)
        supported(old_server, new_server, "replicate")
        channel.check(old, new, old_server, new_server)
        status = read_status(new, new_server)
        names = schema.existing(old, schemas)
    if status is not None:
        if status.receiving and status.applying and not status.error:
            progress(f"{target.name} follows {source.name} already")
            return None
        # A channel that does not run is of a seed that was torn, or has lost the original's log: seeded anew.
        remove(source, target)
    record = copying.finished(target)
    if record:
        copying.empty(target, names)
    _check_transactional(source, names)
    report = copying.copy(source, target, names, threads=threads, cancel=cancel, progress=progress, bytes_per_second=bytes_per_second)
    if report.position is None:
        raise GuardFailed(f"{source.name} writes no binary log", "replication reads it", "set transfer.method to dump")
    with session(target) as new:
        for name in _enabled_events(new, names):
            new.execute(f"ALTER EVENT {name} DISABLE")
    channel.begin(source, target, names, Position(*report.position))
    wait_for(f"{target.name} to follow {source.name}", lambda: follows(target), timeout=60, cancel=cancel)
    return report


def follows(target: Host) -> Status | None:
    """The channel's status while both its threads run.

    Raises:
        StepFailed: it stopped on an error.
    """
    with session(target) as new:
        found = read_status(new, identify(new))
    if found and found.error:
        raise StepFailed(f"{target.name} does not follow the original", found.error, "undo DatabaseSeed and run it again")
    return found if found and found.receiving and found.applying else None


def compare_at_position(
    source: Host,
    target: Host,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> Baseline:
    """Compare everything at one position of the original's binary log, while it serves.

    The original's sessions read a snapshot, begun under a lock of some milliseconds; the new source applies up to that position and stands
    still meanwhile. It goes on following afterwards, whatever happens.
    """
    with session(target) as new, open_side(source, threads) as left, open_side(target, threads) as right:
        server = right.server
        new.execute(named(server, _applier(server, server.dialect.stop_replica)))
        try:
            position, locked = _snapshot(left, cancel)
            new.execute(_until(server, position))
            wait_for(
                f"{target.name} to stand at {position}",
                lambda: _stands_at(new, server, position),
                timeout=3600,
                cancel=cancel,
                interval=0.1,
                progress=progress,
            )
            comparison = compare_sides(left, right, schemas, cancel=cancel, progress=progress)
        finally:
            new.execute(named(server, _applier(server, server.dialect.start_replica)))
    counters = [found for found in comparison.differences if found.kind == "auto_increment"]
    events = [found for found in comparison.differences if found.object.startswith("event ") and found.detail.startswith("status ")]
    comparison.differences = [found for found in comparison.differences if found not in counters and found not in events]
    return Baseline(comparison, position, locked)


class Takeover:
    """The window's own part, with everything that can be done before it done before it.

    Opened before the window: sessions to both servers, the account that reads the original's log, the tables' definitions. `advance` reads
    what has changed so far, as often as wished; in the window there is then the last piece only.

    Args:
        baseline: position of the last full comparison (`compare_at_position`); changes count from there.
        threads: sessions on each server.
    """

    def __init__(
        self,
        source: Host,
        target: Host,
        schemas: Sequence[str],
        baseline: Position,
        *,
        threads: int,
        cancel: CancelToken,
        progress: Callable[[str], None],
    ) -> None:
        self.source, self.target, self.schemas, self.baseline = source, target, list(schemas), baseline
        self._threads, self._cancel, self._progress = threads, cancel, progress
        self._stack = contextlib.ExitStack()
        self._changes = changes.Changes(baseline)
        self._read_to = baseline

    def __enter__(self) -> Takeover:
        with contextlib.ExitStack() as stack:
            self.old = stack.enter_context(session(self.source, timeout=86400))
            self.new = stack.enter_context(session(self.target, timeout=86400))
            self.old_server, self.new_server = identify(self.old), identify(self.new)
            self.schemas = schema.existing(self.old, self.schemas)
            self._left = stack.enter_context(open_side(self.source, self._threads))
            self._right = stack.enter_context(open_side(self.target, self._threads))
            self._tables = [table for name in self.schemas for table in schema.read_tables(self.old, name, create=False)]
            way_in = stack.enter_context(access.temporary(self.source, self.target, self.schemas, replication=True))
            self._log = stack.enter_context(
                changes.LogReader(self.source, self.target, self.new_server, way_in, self._tables, self.schemas)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.__exit__(*details)

    def advance(self) -> int:
        """Read what the original has changed up to now; return the number of changed rows seen since the baseline, each time counted."""
        end = log_position(self.old, self.old_server)
        if end != self._read_to:
            self._changes = self._changes.joined(self._log.read(self._read_to))
            # What was written meanwhile may be read twice; a key is noted once.
            self._read_to = end
        return self._changes.events

    def catch_up(self, *, timeout: float) -> Position:
        """Both sides at the original's last position; nobody may write to the original any more.

        Raises:
            StepFailed: the original's position still moves, or the new source does not reach it in time.
        """
        last = log_position(self.old, self.old_server)
        wait_applied(self.new, self.new_server, last, timeout=timeout, cancel=self._cancel, progress=self._progress)
        again = log_position(self.old, self.old_server)
        found = read_status(self.new, self.new_server)
        if again != last:
            raise StepFailed(
                f"{self.source.name} still writes: its binary log went from {last} to {again}",
                "somebody other than the stopped management servers uses it",
                f"find out who in SHOW PROCESSLIST on {self.source.name}, and stop it",
            )
        if found is None or found.applied != last or found.received != last:
            raise StepFailed(
                f"{self.target.name} stands at {found.applied if found else 'no position'}, {self.source.name} at {last}",
                "",
                "run the same command again",
            )
        return last

    def compare_changes(self) -> Comparison:
        """Compare the rows that the original changed since the baseline; both sides must stand still (see `catch_up`).

        Where the original's log holds statements that change definitions, everything is compared.
        """
        started = time.monotonic()
        self.advance()
        if self._changes.statements:
            self._progress("definitions have changed since the full comparison: comparing everything")
            return compare_sides(self._left, self._right, self.schemas, cancel=self._cancel, progress=self._progress)
        ranges = _ranges(self._tables, self._changes)
        verdict = compare_ranges(self._left, self._right, ranges, cancel=self._cancel, progress=self._progress)
        verdict.seconds = round(time.monotonic() - started, 3)
        return verdict

    def promote(self) -> dict[str, Any]:
        """End the channel, and leave the new source as the original was: counters, events. Idempotent.

        Returns:
            What was set, for the evidence.
        """
        counters = _align_counters(self.old, self.new, self.schemas)
        events = _enabled_events(self.old, self.schemas)
        channel.end(self.target, self.new)
        for name in events:
            self.new.execute(f"ALTER EVENT {name} ENABLE")
        access.revoke(self.old, channel.USER)
        return {"counters set": counters, "events enabled": events}


def _ranges(tables: Sequence[schema.Table], found: changes.Changes) -> list[Range]:
    ranges = []
    for table in tables:
        name = f"{table.schema}.{table.name}"
        if name in found.whole:
            ranges.append(Range(table, "", table.data_bytes))
            continue
        keys = sorted(found.keys.get(name, ()))
        columns = [quote(column) for column in table.primary_key]
        left = columns[0] if len(columns) == 1 else f"({', '.join(columns)})"
        for start in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[start : start + KEYS_AT_ONCE]
            listed = ", ".join(str(key[0]) if len(key) == 1 else f"({', '.join(map(str, key))})" for key in part)
            ranges.append(Range(table, f"{left} IN ({listed})", len(part) * 200))
    return ranges


def remove(source: Host, target: Host) -> None:
    """Undo: the channel on the new source and the accounts on the original are gone afterwards. The copied rows stay, see `copying.empty`.

    Idempotent; a database server that is down is left out, its part is named.

    Raises:
        StepFailed: a part could not be undone.
    """
    problems = []
    for host, what, work in (
        (target, "the replication channel", lambda: channel.end(target)),
        (source, f"the accounts {channel.USER} and {access.COPY_USER}", lambda: _revoke_all(source)),
    ):
        try:
            work()
        except Exception as error:  # the other side's part must not stay because of this one
            problems.append(f"{what} on {host.name}: {error}")
    if problems:
        raise StepFailed("; ".join(problems), "", "run the same command again once the server answers")


def _revoke_all(source: Host) -> None:
    with session(source) as old:
        access.revoke(old, channel.USER)
        access.revoke(old, access.COPY_USER)


def traces(source: Host, target: Host) -> list[str]:
    """What of a seed is still there, in words; empty once it is undone or promoted."""
    found = []
    with session(source) as old, session(target) as new:
        for user in (channel.USER, access.COPY_USER):
            if old.value("SELECT COUNT(*) FROM mysql.user WHERE User = %s", [user]):
                found.append(f"account {user} on {source.name}")
        if read_status(new, identify(new)) is not None:
            found.append(f"channel {CHANNEL} on {target.name}")
    return found


def _check_transactional(source: Host, names: Sequence[str]) -> None:
    """Rule: tables that a snapshot does not cover are empty (CloudStack's MEMORY tables are, while nothing holds a lock in them)."""
    with session(source) as old:
        odd = old.rows(
            "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, ENGINE AS e FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' "
            f"AND ENGINE NOT IN ('InnoDB') AND TABLE_SCHEMA IN ({', '.join(['%s'] * len(names))})",
            list(names),
        )
        filled = [
            f"{row['s']}.{row['t']} ({row['e']})" for row in odd if old.value(f"SELECT COUNT(*) FROM {quote(row['s'])}.{quote(row['t'])}")
        ]
    if filled:
        raise GuardFailed(
            f"{source.name}: {', '.join(filled)} can't be read in a snapshot",
            "rows written while they are copied would be lost or doubled",
            "convert them to InnoDB, or use transfer.method dump",
        )


def _enabled_events(opened: Session, names: Sequence[str]) -> list[str]:
    rows = opened.rows("SELECT EVENT_SCHEMA AS s, EVENT_NAME AS n FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'")
    return [f"{quote(row['s'])}.{quote(row['n'])}" for row in rows if row["s"] in names]


def _align_counters(old: Session, new: Session, names: Sequence[str]) -> dict[str, int]:
    """Raise each AUTO_INCREMENT to the original's: a number that the original gave away and took back is not in its binary log."""
    ours, theirs = _counters(old, names), _counters(new, names)
    changed = {}
    for key, value in ours.items():
        if key in theirs and value > theirs[key]:
            new.execute(f"ALTER TABLE {quote(key[0])}.{quote(key[1])} AUTO_INCREMENT = {value}")
            changed[f"{key[0]}.{key[1]}"] = value
    return changed


def _counters(opened: Session, names: Sequence[str]) -> dict[tuple[str, str], int]:
    if identify(opened).family == "mysql":
        opened.execute("SET SESSION information_schema_stats_expiry = 0")
    rows = opened.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, AUTO_INCREMENT AS a FROM information_schema.TABLES "
        f"WHERE AUTO_INCREMENT IS NOT NULL AND TABLE_SCHEMA IN ({', '.join(['%s'] * len(names))})",
        list(names),
    )
    return {(row["s"], row["t"]): int(row["a"]) for row in rows}


def _snapshot(left: Side, cancel: CancelToken) -> tuple[Position, float]:
    """All sessions of a side in one snapshot; its position, and how long the lock was held."""
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(session(left.sessions[0].host))
        control.execute("SET SESSION lock_wait_timeout = 5")
        for attempt in range(LOCK_ATTEMPTS):
            try:
                control.execute("FLUSH TABLES WITH READ LOCK")
                break
            except StepFailed as error:
                if "1205" not in str(error) or attempt + 1 == LOCK_ATTEMPTS:
                    raise
                cancel.wait(2 + attempt)
        began = time.monotonic()
        try:
            for opened in left.sessions:
                opened.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                opened.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            position = log_position(control, left.server)
        finally:
            control.execute("UNLOCK TABLES")
        return position, round(time.monotonic() - began, 3)


def _applier(server: DatabaseServer, statement: str) -> str:
    """START or STOP of the applying thread alone."""
    verb, noun = statement.split()
    return f"{verb} {noun} SQL_THREAD" if server.family == "mysql" else f"{verb} {noun}"


def _until(server: DatabaseServer, position: Position) -> str:
    if server.family == "mysql":
        where = f"SOURCE_LOG_FILE = '{position.file}', SOURCE_LOG_POS = {position.offset}"
        return f"START REPLICA SQL_THREAD UNTIL {where} FOR CHANNEL '{CHANNEL}'"
    where = f"MASTER_LOG_FILE = '{position.file}', MASTER_LOG_POS = {position.offset}"
    return f"START SLAVE '{CHANNEL}' UNTIL {where}"


def _stands_at(new: Session, server: DatabaseServer, position: Position) -> bool:
    found = read_status(new, server)
    if found is None or found.error:
        raise StepFailed(
            f"{server.name} does not follow the original",
            found.error if found else "there is no channel",
            "undo DatabaseSeed and run it again",
        )
    return not found.applying and found.applied == position
