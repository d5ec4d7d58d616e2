"""The window's own part of `transfer: replicate`: the last changes, compared, and the new source detached from the original.

Everything that can be done before the window is: sessions open, the log read as far as it goes, the definitions known. What is left costs as much as
the last seconds' changes, however large the databases are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from parallel_build.cancel import CancelToken, clearing_up
from parallel_build.database.compare.compare import Comparison, compare_ranges, compare_sides
from parallel_build.database.compare.session_pool import open_side
from parallel_build.database.copy import account, create
from parallel_build.database.replicate import changed_rows, channel
from parallel_build.database.replicate.baseline import changed_ranges, leave_out_what_promoting_sets
from parallel_build.database.replicate.channel import Position, log_position, read_status, wait_applied
from parallel_build.database.schema import counters, definitions
from parallel_build.database.server.dialects import identify
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote, session


class Takeover:
    """The window's own part, with everything that can be done before it done before it.

    Opened before the window: sessions to both servers, the account that reads the original's log, the tables' definitions. `advance` reads
    what has changed so far, as often as wanted; in the window there is then the last piece only.

    Args:
        baseline: position of the last full comparison (`compare_at_position`); changes count from there.
        threads: sessions on each server.
        replica: the new source's own replica; a session to it (`tier`) is opened, too.
    Attributes:
        progress, cancel: called with what is waited for, asked whether to stop; the step that uses it sets its own.
        seconds: what each part took.
        changes: what the original's log names since the baseline, as far as it was read.
        last: position of the original up to which everything is proved to be applied, once it was caught up with.
    """

    def __init__(
        self,
        source: Access,
        target: Access,
        schemas: Sequence[str],
        baseline: Position,
        *,
        threads: int,
        cancel: CancelToken,
        progress: Callable[[str], None],
        replica: Access | None = None,
    ) -> None:
        self.source, self.target, self.replica, self.schemas, self.baseline = source, target, replica, list(schemas), baseline
        self._revoked = False
        self._threads, self.cancel, self.progress = threads, cancel, progress
        self._stack = contextlib.ExitStack()
        self.changes = changed_rows.Changes(baseline)
        self._read_to = self.last = baseline
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Takeover:
        with contextlib.ExitStack() as stack:
            self.old = stack.enter_context(session(self.source, timeout=86400))
            self.new = stack.enter_context(session(self.target, timeout=86400))
            self.old_server, self.new_server = identify(self.old), identify(self.new)
            self.schemas = definitions.existing(self.old, self.schemas)
            self._left = stack.enter_context(open_side(self.source, self._threads))
            self._right = stack.enter_context(open_side(self.target, self._threads))
            self._tables = [table for name in self.schemas for table in definitions.read_tables(self.old, name, create=False)]
            self.tier = stack.enter_context(session(self.replica, timeout=86400)) if self.replica else None
            way_in = account.make(self.source, self.target, self.schemas, replication=True)
            stack.callback(self._revoke)
            self._log = stack.enter_context(
                changed_rows.LogReader(self.source, self.target, self.new_server, way_in, self._tables, self.schemas)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()

    def close(self) -> None:
        """End its sessions and drop its account; nothing happens the second time."""
        self._stack.close()

    def advance(self) -> int:
        """Read what the original has changed up to now; return the number of changed rows seen since the baseline, each time counted."""
        end = log_position(self.old, self.old_server)
        if end != self._read_to:
            self.changes = self.changes.joined(self._log.read(self._read_to))
            # What was written meanwhile may be read twice; a key is noted once.
            self._read_to = end
        return self.changes.events

    def catch_up(self, *, timeout: float) -> Position:
        """Both sides at the original's last position; nobody may write to the original any more.

        Raises:
            StepFailed: the original's position still moves, or the new source does not reach it in time.
        """
        with self.timed("caught up"):
            return self._catch_up(timeout)

    def _catch_up(self, timeout: float) -> Position:
        last = log_position(self.old, self.old_server)
        wait_applied(self.new, self.new_server, last, timeout=timeout, cancel=self.cancel, progress=self.progress)
        self.last = self._quiet_since(last)
        found = read_status(self.new, self.new_server)
        if found is None or min(found.applied.order, found.received.order) < last.order:
            raise StepFailed(
                f"{self.target.name} stands at {found.applied if found else 'no position'}, {self.source.name} at {last}",
                "it must stand where the original stopped, or rows would be missing",
                "run the same command again",
            )
        return self.last

    def _quiet_since(self, last: Position) -> Position:
        """Where the original's log ends, with nothing of what is compared changed since `last`: what others write in other databases is theirs.

        Raises:
            StepFailed: something of it was changed, or may have been.
        """
        end = log_position(self.old, self.old_server)
        if end == last:
            return last
        found = self._log.read(last)
        if not found.none:
            raise StepFailed(
                f"{self.source.name} still writes: its binary log went from {last} to {end}, with {found.summary()}",
                f"somebody other than the stopped management servers uses it: {changed_rows.who(self.old, found.writers)}",
                f"stop that on {self.source.name}, then run the same command again",
            )
        return end

    def compare_changes(self) -> Comparison:
        """Compare the rows that the original changed since the baseline; both sides must stand still (see `catch_up`).

        Where the original's log does not prove which rows changed, everything is compared. Afterwards the original is looked at again.

        Raises:
            StepFailed: somebody has written to the original since it was caught up with.
        """
        started = time.monotonic()
        with self.timed("log read"):
            self.last = self._quiet_since(self.last)
            self.advance()
        with self.timed("changed rows compared"):
            verdict = self._compare_changes()
        self.last = self._quiet_since(self.last)
        verdict.seconds = round(time.monotonic() - started, 3)
        return verdict

    def _compare_changes(self) -> Comparison:
        if doubt := self.changes.doubted(self._tables):
            self.progress(f"comparing everything: the original's binary log has {doubt}")
            verdict = compare_sides(self._left, self._right, self.schemas, cancel=self.cancel, progress=self.progress)
            leave_out_what_promoting_sets(verdict)
            return verdict
        ranges = changed_ranges(self._tables, self.changes)
        return compare_ranges(self._left, self._right, ranges, cancel=self.cancel, progress=self.progress)

    def promote(self) -> dict[str, Any]:
        """End the channel, and leave the new source as the original was: counters, events. Idempotent.

        Returns:
            What was set, for the evidence.
        """
        with self.timed("promoted"):
            found = promote(self.old, self.new, self.target, self.schemas)
            # With the session that is open: when the others are ended, the original's server may be down.
            account.revoke(self.old)
            self._revoked = True
            return found

    def _revoke(self) -> None:
        if self._revoked:
            return
        try:
            with clearing_up():
                account.revoke(self.old)
        except ConnectionFailed:
            with clearing_up(), session(self.source) as old:
                account.revoke(old)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Keep how long a part took."""
        started = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - started, 3)


def promote(old: Session, new: Session, target: Access, schemas: Sequence[str]) -> dict[str, Any]:
    """End the channel on the new source, with counters and events as the original has them; what is done already stays.

    Returns:
        What was set, for the evidence.
    """
    names = definitions.existing(old, schemas)
    raised = _align_counters(old, new, names)
    channel.end(target, new)
    events = create.settle_events(old, new, names)
    account.revoke(old, channel.USER)
    return {"counters set": raised, "events enabled": events}


def _align_counters(old: Session, new: Session, names: Sequence[str]) -> dict[str, int]:
    """Raise each AUTO_INCREMENT to the original's: a number that the original gave away and took back is not in its binary log."""
    ours, theirs = counters.read(old, names), counters.read(new, names)
    changed = {}
    for key, value in ours.items():
        if key in theirs and value > theirs[key]:
            new.execute(f"ALTER TABLE {quote(key[0])}.{quote(key[1])} AUTO_INCREMENT = {value}")
            changed[f"{key[0]}.{key[1]}"] = value
    return changed
