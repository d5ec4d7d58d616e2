"""The comparison of everything at one position of the original's binary log, while it serves, and its renewal.

Both sides stand at one position for it: the original's sessions in a snapshot, the new source with its applier stopped. A renewal compares only the
rows that the original's log names since the last one, so its cost grows with what changed and not with the data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.compare.compare import Comparison, compare, compare_ranges, compare_sides
from parallel_build.database.compare.fingerprint import Range
from parallel_build.database.compare.session_pool import Moved, Side, open_side
from parallel_build.database.compare.snapshot_side import open_snapshot
from parallel_build.database.copy import account
from parallel_build.database.replicate import changed_rows
from parallel_build.database.replicate.channel import CHANNEL, Position, log_position, named, settled
from parallel_build.database.schema import definitions
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote, session

KEYS_AT_ONCE = 1000  # keys in one condition
POSITIONS = 5  # at which a table that changes again and again is tried


@dataclass(frozen=True)
class Baseline:
    """The comparison of everything, and the position at which both sides stood for it.

    Attributes:
        comparison: its verdict; counters (AUTO_INCREMENT) are left out, `promote` sets them.
        position: in the original's binary log.
        locked_seconds: how long anybody may have waited for the snapshot to begin; 0 where it needed no lock.
        changed: changed rows since an earlier baseline, which alone were compared; None when everything was.
        waited_seconds: the longest that a user of the original was seen waiting behind the comparison, at most.
    """

    comparison: Comparison
    position: Position
    locked_seconds: float
    changed: int | None = None
    waited_seconds: float = 0.0


def compare_at_position(
    source: Access,
    target: Access,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
    since: Position | None = None,
) -> Baseline:
    """Compare everything at one position of the original's binary log, while it serves.

    The original's sessions read a snapshot; the new source applies up to that position and stands still meanwhile. It follows again afterwards,
    whatever happens. What somebody changes or locks on the original meanwhile is compared at a later position; so are definitions that differ,
    because the original shows them as they are and not as they were.

    Args:
        since: position at which everything was the same: only the rows that the original's log names since then are compared. Everything
            all the same where the log does not reach back that far, or definitions have changed.
    Raises:
        StepFailed: tables changed in each of several snapshots.
    """
    work = _Work(source, target, list(schemas), threads, cancel, progress)
    found = work.once(since, None)
    for _ in range(POSITIONS - 1):
        tables = found.comparison.unread | in_question(found.comparison)
        if not tables:
            break
        progress(f"{len(tables)} table(s) or objects changed meanwhile, or differ in their definition: comparing them at a later position")
        before, found = found, combined(found, work.once(None, tables))
        if not found.comparison.unread and in_question(found.comparison) == in_question(before.comparison):
            break
    if found.comparison.unread:
        raise StepFailed(
            f"{source.name}: {', '.join(sorted('.'.join(name) for name in found.comparison.unread))} could not be compared",
            f"they were changed or locked in each of {POSITIONS} snapshots",
            "run the same command again when nobody changes definitions",
        )
    leave_out_what_promoting_sets(found.comparison)
    return found


@dataclass(frozen=True)
class _Work:
    """What `compare_at_position` was asked for."""

    source: Access
    target: Access
    schemas: list[str]
    threads: int
    cancel: CancelToken
    progress: Callable[[str], None]

    def once(self, since: Position | None, tables: set[tuple[str, str]] | None) -> Baseline:
        """One comparison at one position: of what has changed since another, of all definitions and some tables' rows, or of everything.

        Definitions that change while they are read have it begun again.

        Raises:
            StepFailed: they changed each time.
        """
        for _ in range(POSITIONS):
            try:
                return self._at_one_position(since, tables)
            except Moved:
                self.progress("definitions changed while they were read: comparing at a later position")
        raise StepFailed(
            f"{self.source.name}: definitions could not be compared",
            f"some changed while they were read, in each of {POSITIONS} snapshots",
            "run the same command again when nobody changes definitions",
        )

    def _at_one_position(self, since: Position | None, tables: set[tuple[str, str]] | None) -> Baseline:
        cancel, progress = self.cancel, self.progress
        with contextlib.ExitStack() as stack:
            new = stack.enter_context(session(self.target))
            right = stack.enter_context(open_side(self.target, self.threads))
            stack.enter_context(_standing(new, right.server))
            left, taken = stack.enter_context(open_snapshot(self.source, self.threads, self.schemas, cancel))
            if not taken.position:
                with session(self.source) as old:
                    log_position(old, identify(old))
            position = Position(taken.position[0], int(taken.position[1]))
            new.execute(until(right.server, position))
            wait_for(
                f"{self.target.name} to stand at {position}",
                lambda: stands_at(new, right.server, position),
                timeout=86400,
                cancel=cancel,
                interval=0.1,
                progress=progress,
            )
            ranges, changed = self._changed(left, right, since) if since else (None, None)
            if ranges is None:
                comparison = compare_sides(left, right, self.schemas, cancel=cancel, progress=progress, tables=tables)
            else:
                # A statement that the log does not hold (sql_log_bin, a filter by default database) may have changed a definition.
                comparison = compare_sides(left, right, self.schemas, cancel=cancel, progress=progress, tables=set())
                comparison.add(compare_ranges(left, right, ranges, cancel=cancel, progress=progress))
            waited = round(max(left.watch.longest, taken.seconds), 3)
        return Baseline(comparison, position, taken.seconds, changed, waited)

    def _changed(self, left: Side, right: Side, since: Position) -> tuple[list[Range] | None, int | None]:
        return _changed_ranges(self.source, self.target, left, right, self.schemas, since, self.progress)


def in_question(comparison: Comparison) -> set[tuple[str, str]]:
    """What differs in its definition, as (schema, table or object)."""
    kinds = ("missing", "additional", "definition")
    return {
        (found.schema, found.object.partition(" ")[2].partition(".")[0])
        for found in comparison.differences
        if found.kind in kinds and not (found.object.startswith("event ") and found.detail.startswith("status "))
    }


def combined(first: Baseline, later: Baseline) -> Baseline:
    """A comparison, and that of some of its tables at a later position. What was the same at the later one is compared from the first one on again."""
    one, other = first.comparison, later.comparison
    again = one.unread | in_question(one)
    kept = [
        found
        for found in one.differences
        if found.kind in ("rows", "row order") and (found.schema, found.object.partition(" ")[2]) not in again
    ]
    whole = Comparison(
        one.source, one.target, kept + other.differences, list(dict.fromkeys(one.not_comparable + other.not_comparable)),
        one.tables + other.tables, one.rows + other.rows, one.bytes + other.bytes, round(one.seconds + other.seconds, 3), other.unread,
        max(one.objects, other.objects),
    )  # fmt: skip
    waited = max(first.waited_seconds, later.waited_seconds)
    return Baseline(whole, first.position, max(first.locked_seconds, later.locked_seconds), first.changed, waited)


def leave_out_what_promoting_sets(comparison: Comparison) -> None:
    """Counters are raised, and events enabled, when the new source takes over: until then they may differ."""
    comparison.differences = [
        found
        for found in comparison.differences
        if found.kind != "auto_increment" and not (found.object.startswith("event ") and found.detail.startswith("status "))
    ]


def compare_tiers(
    source: Access, replica: Access, schemas: Sequence[str], *, threads: int, cancel: CancelToken, progress: Callable[[str], None],
    caught_up: Callable[[], None],
) -> Comparison:  # fmt: skip
    """Compare the new source, which stands still meanwhile, with its own replica. It follows the original again afterwards.

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
    """The new source applies nothing for the time of the block, and continues afterwards."""
    new.execute(named(server, applier(server, server.dialect.stop_replica)))
    try:
        yield
    finally:
        new.execute_in_any(named(server, applier(server, server.dialect.start_replica)))


def _changed_ranges(
    source: Access, target: Access, left: Side, right: Side, schemas: Sequence[str], since: Position, progress: Callable[[str], None]
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
    if doubt := found.doubted(tables):
        progress(f"comparing everything: the original's binary log has {doubt}")
        return None, None
    return changed_ranges(tables, found), found.events


def changed_ranges(tables: Sequence[definitions.Table], found: changed_rows.Changes) -> list[Range]:
    """The rows that changed, as ranges to compare."""
    ranges = []
    for table in tables:
        name = (table.schema, table.name)
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


def applier(server: DatabaseServer, statement: str) -> str:
    """START or STOP of the applying thread alone."""
    verb, noun = statement.split()
    return f"{verb} {noun} SQL_THREAD" if server.family == "mysql" else f"{verb} {noun}"


def until(server: DatabaseServer, position: Position) -> str:
    """The statement that has the applier continue to a position and stop there."""
    if server.family == "mysql":
        where = f"SOURCE_LOG_FILE = '{position.file}', SOURCE_LOG_POS = {position.offset}"
        return f"START REPLICA SQL_THREAD UNTIL {where} FOR CHANNEL '{CHANNEL}'"
    where = f"MASTER_LOG_FILE = '{position.file}', MASTER_LOG_POS = {position.offset}"
    return f"START SLAVE '{CHANNEL}' UNTIL {where}"


def stands_at(new: Session, server: DatabaseServer, position: Position) -> bool:
    """Whether the applier has stopped at a position.

    It looks for its end only when something follows: where the original is idle by then, it is stopped.

    Raises:
        StepFailed: it can't get there.
    """
    found = settled(new, server)
    if found is None or found.error:
        raise StepFailed(
            f"{server.name} does not follow the original",
            found.error if found else "there is no channel",
            "run `pulumi up` in phase prepared: step DatabaseSeed repairs it, or seeds again",
        )
    if found.applying and found.applied == position:
        new.execute(named(server, applier(server, server.dialect.stop_replica)))
        found = settled(new, server) or found
    return not found.applying and found.applied == position
