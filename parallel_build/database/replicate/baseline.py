"""The comparison of everything at one position of the original's binary log, while it serves, and its renewal.

Both sides stand at one position for it: the original's sessions in a snapshot, the new source with its applier stopped. A renewal compares only the
rows that the original's log names since the last one, so its cost grows with what changed and not with the data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.compare.compare import Comparison, compare, compare_ranges, compare_sides
from parallel_build.database.compare.fingerprint import Range
from parallel_build.database.compare.session_pool import Side, open_side
from parallel_build.database.copy import account
from parallel_build.database.replicate import changed_rows
from parallel_build.database.replicate.channel import CHANNEL, Position, log_position, named, read_status
from parallel_build.database.schema import definitions
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.errors import StepFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import Session, quote, session

KEYS_AT_ONCE = 1000  # keys in one condition
LOCK_ATTEMPTS = 6


@dataclass(frozen=True)
class Baseline:
    """The comparison of everything, and the position at which both sides stood for it.

    Attributes:
        comparison: its verdict; counters (AUTO_INCREMENT) are left out, `promote` sets them.
        position: in the original's binary log.
        locked_seconds: how long the original's tables were locked for the snapshot to begin.
        changed: changed rows since an earlier baseline, which alone were compared; None when everything was.
    """

    comparison: Comparison
    position: Position
    locked_seconds: float
    changed: int | None = None


def compare_at_position(
    source: Host,
    target: Host,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
    since: Position | None = None,
) -> Baseline:
    """Compare everything at one position of the original's binary log, while it serves.

    The original's sessions read a snapshot, begun under a lock of some milliseconds; the new source applies up to that position and stands
    still meanwhile. It goes on following afterwards, whatever happens.

    Args:
        since: position at which everything was the same: only the rows that the original's log names since then are compared. Everything
            all the same where the log does not reach back that far, or definitions have changed.
    """
    with session(target) as new, open_side(source, threads) as left, open_side(target, threads) as right:
        server = right.server
        with _standing(new, server):
            position, locked = _snapshot(left, cancel)
            new.execute(until(server, position))
            wait_for(
                f"{target.name} to stand at {position}",
                lambda: stands_at(new, server, position),
                timeout=86400,
                cancel=cancel,
                interval=0.1,
                progress=progress,
            )
            ranges, changed = _changed_ranges(source, target, left, right, schemas, since, progress) if since else (None, None)
            if ranges is None:
                comparison, changed = compare_sides(left, right, schemas, cancel=cancel, progress=progress), None
            else:
                comparison = compare_ranges(left, right, ranges, cancel=cancel, progress=progress)
    leave_out_what_promoting_sets(comparison)
    return Baseline(comparison, position, locked, changed)


def leave_out_what_promoting_sets(comparison: Comparison) -> None:
    """Counters are raised, and events enabled, when the new source takes over: until then they may differ."""
    comparison.differences = [
        found
        for found in comparison.differences
        if found.kind != "auto_increment" and not (found.object.startswith("event ") and found.detail.startswith("status "))
    ]


def compare_tiers(
    source: Host, replica: Host, schemas: Sequence[str], *, threads: int, cancel: CancelToken, progress: Callable[[str], None],
    caught_up: Callable[[], None],
) -> Comparison:  # fmt: skip
    """Compare the new source, which stands still meanwhile, with its own replica. It goes on following the original afterwards.

    Args:
        caught_up: returns when the replica has everything that the new source has written.
    """
    with session(source) as new:
        server = identify(new)
        with _standing(new, server):
            caught_up()
            return compare(source, replica, schemas, threads=threads, cancel=cancel, progress=progress)


@contextlib.contextmanager
def _standing(new: Session, server: DatabaseServer) -> Iterator[None]:
    """The new source applies nothing for the time of the block, and goes on afterwards."""
    new.execute(named(server, applier(server, server.dialect.stop_replica)))
    try:
        yield
    finally:
        new.execute(named(server, applier(server, server.dialect.start_replica)))


def _changed_ranges(
    source: Host, target: Host, left: Side, right: Side, schemas: Sequence[str], since: Position, progress: Callable[[str], None]
) -> tuple[list[Range] | None, int | None]:
    """The rows that the original has changed since a position, and how often; None where everything is in question."""
    tables = [table for name in schemas for table in left.ask(partial(definitions.read_tables, schema=name, create=False)).result()]
    with (
        account.temporary(source, target, schemas, replication=True) as way_in,
        changed_rows.LogReader(source, target, right.server, way_in, tables, schemas) as log,
    ):
        try:
            found = log.read(since)
        except StepFailed as error:
            progress(f"comparing everything: {error}")
            return None, None
    if found.statements:
        progress("definitions have changed since the last comparison: comparing everything")
        return None, None
    return changed_ranges(tables, found), found.events


def changed_ranges(tables: Sequence[definitions.Table], found: changed_rows.Changes) -> list[Range]:
    """The rows that changed, as ranges to compare."""
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


def applier(server: DatabaseServer, statement: str) -> str:
    """START or STOP of the applying thread alone."""
    verb, noun = statement.split()
    return f"{verb} {noun} SQL_THREAD" if server.family == "mysql" else f"{verb} {noun}"


def until(server: DatabaseServer, position: Position) -> str:
    """The statement that has the applier go on to a position and stop there."""
    if server.family == "mysql":
        where = f"SOURCE_LOG_FILE = '{position.file}', SOURCE_LOG_POS = {position.offset}"
        return f"START REPLICA SQL_THREAD UNTIL {where} FOR CHANNEL '{CHANNEL}'"
    where = f"MASTER_LOG_FILE = '{position.file}', MASTER_LOG_POS = {position.offset}"
    return f"START SLAVE '{CHANNEL}' UNTIL {where}"


def stands_at(new: Session, server: DatabaseServer, position: Position) -> bool:
    """Whether the applier has stopped at a position.

    Raises:
        StepFailed: it can't get there.
    """
    found = read_status(new, server)
    if found is None or found.error:
        raise StepFailed(
            f"{server.name} does not follow the original",
            found.error if found else "there is no channel",
            "undo DatabaseSeed and run it again",
        )
    return not found.applying and found.applied == position
