"""`transfer: replicate`: the new source follows the original while that serves, and takes over in a moment.

    seed()                  before the window: copy at one binary log position, then follow from there (throttled where wanted)
    compare_at_position()   before the window: the full comparison, both sides standing at one position; later only what changed since
    compare_tiers()         before the window: the new source and its replica, both standing
    with Takeover() as it:  before the window: sessions open, log read so far
        it.catch_up()           in the window, nobody writes any more: both sides at the original's last position, proved
        it.compare_changes()    in the window: only the rows that the original's log names since the full comparison
        it.promote()            in the window: the channel ends, counters and events as the original has them
    remove()                undo: no trace on the original or the new source, whatever had run

On the original there are two accounts at most (`cutover_repl`, and `cutover_copy` while rows are read), made outside its binary log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.copy import account, cleanup, copy
from parallel_build.database.copy.create import enabled_events, set_event
from parallel_build.database.replicate import align_snapshots, changed_rows, channel
from parallel_build.database.replicate.baseline import Baseline, compare_at_position, compare_tiers
from parallel_build.database.replicate.channel import CHANNEL, LOG_GONE, Position, Status, read_status
from parallel_build.database.replicate.promotion import Takeover
from parallel_build.database.schema import definitions
from parallel_build.database.server import bookkeeping
from parallel_build.database.server.dialects import identify, supported
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import quote, session

__all__ = ["Baseline", "Takeover", "compare_at_position", "compare_tiers", "follows", "remove", "seed", "traces"]


def seed(
    source: Access,
    target: Access,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
    bytes_per_second: int | None = None,
    copied_at: Position | None = None,
    on_copied: Callable[[copy.CopyReport], None] = lambda report: None,
) -> copy.CopyReport | None:
    """Copy the running original and let the new source follow it. Done already means nothing happens.

    Args:
        bytes_per_second: limit of the reading, so that the original's users don't feel it; None for none.
        copied_at: position that the caller knows of a finished copy that nothing follows yet: it is not copied again. Ignored where there is no
            such copy.
        on_copied: called with what was copied, before the new source begins to follow; also of a copy that came to its end with nobody watching.
    Returns:
        What was copied and was not followed yet, or None when nothing had to be.
    Raises:
        GuardFailed: the two can't replicate, or the databases there are not empty.
    """
    with session(source) as old, session(target) as new:
        old_server, new_server = identify(old), identify(new)
        supported(old_server, new_server, "replicate")
        names = definitions.existing(old, schemas)
        channel.check(old, new, old_server, new_server, names)
        bookkeeping.check_unused(new)
        status = channel.settled(new, new_server)
    if status is not None and not align_snapshots.pending(target):
        if status.receiving and status.applying and not status.error:
            progress(f"{target.name} follows {source.name} already")
            cleanup.followed(target)
            return None
        if status.applied.file and (status.applying or not status.error):
            progress(
                f"{target.name} does not receive from {source.name} ({status.error or 'stopped'}): beginning again at {status.applied}"
            )
            if _received_again(source, target, names, status.applied, cancel):
                return None
        # What could not be applied, or whose log the original has no more, can't be repaired, only seeded again.
        progress(f"{target.name} can't follow {source.name} any more: seeding again")
        remove(source, target)
        copied_at = None
    _check_transactional(source, names)
    while True:
        report = copy.unfollowed(target)
        known = Position(*report.position) if report and report.position else copied_at
        if copy.finished(target) and known is not None:
            progress(f"{target.name} has a finished copy of {source.name} at {known}: resuming from there")
            if report and known != copied_at:
                on_copied(report)
        else:
            if copy.finished(target):
                copy.empty(target, names)
            report = copy.copy(
                source,
                target,
                names,
                threads=threads,
                cancel=cancel,
                progress=progress,
                bytes_per_second=bytes_per_second,
                usable=align_snapshots.usable,
            )
            if report.position is None:
                raise GuardFailed(f"{source.name} writes no binary log", "replication reads it", "set transfer.method to dump")
            on_copied(report)
            known = Position(*report.position)
        if _begin(source, target, names, known, cancel, progress):
            break
        remove(source, target)
        copy.empty(target, names)
        copied_at = None
    wait_for(f"{target.name} to follow {source.name}", lambda: follows(target), timeout=60, cancel=cancel)
    cleanup.followed(target)
    return report


def _begin(
    source: Access, target: Access, names: Sequence[str], position: Position, cancel: CancelToken, progress: Callable[[str], None]
) -> bool:
    """Let the new source follow from a copy's position on; False where its tables, of several snapshots, can't be brought to one."""
    with session(target) as new:
        for event in enabled_events(new, names):
            set_event(new, event, "DISABLE")
    layers = align_snapshots.pending(target)
    if not layers:
        channel.begin(source, target, names, position)
        return True
    if not align_snapshots.usable(source, target, names, layers, progress):
        return False
    try:
        align_snapshots.join(source, target, names, layers, position, cancel=cancel, progress=progress)
    except StepFailed as error:
        progress(f"copying everything again: {error}")
        return False
    return True


def _received_again(source: Access, target: Access, names: Sequence[str], position: Position, cancel: CancelToken) -> bool:
    """Begin the channel again where it stopped; whether it follows. An original that can't be reached is an error: no seed would repair that."""
    channel.end(target)
    channel.begin(source, target, names, position)
    try:
        wait_for(f"{target.name} to follow {source.name}", lambda: follows(target), timeout=60, cancel=cancel)
    except StepFailed as error:
        with session(target) as new:
            found = read_status(new, identify(new))
        if found and found.applying and not any(words in found.error for words in LOG_GONE):
            raise StepFailed(
                f"{target.name} can't receive from {source.name} ({source.server.address})",
                found.error or str(error),
                "let the new source reach the original's database port, then run `pulumi up` again",
            ) from None
        return False
    return True


def follows(target: Access) -> Status | None:
    """The channel's status while both its threads run.

    Raises:
        StepFailed: it stopped on an error.
    """
    with session(target) as new:
        found = channel.steady(new, identify(new))
    if found and found.error:
        raise StepFailed(
            f"{target.name} does not follow the original",
            found.error,
            "run `pulumi up` again in phase prepared: it repairs the seed, or makes it again",
        )
    return found if found and found.receiving and found.applying else None


def remove(source: Access, target: Access) -> None:
    """Undo: the channel on the new source and the accounts on the original are gone afterwards. The copied rows stay, see `copy.empty`.

    Idempotent; a database server that is down is left out, its part is named.

    Raises:
        StepFailed: a part could not be undone.
    """
    problems = []
    for host, what, work in (
        (target, "the reader of the original's log", lambda: changed_rows.clear(target)),
        (target, "the replication channel", lambda: channel.end(target)),
        (target, "what is known of the copy", lambda: cleanup.followed(target)),
        (source, f"the accounts {channel.USER} and {account.COPY_USER}", lambda: _revoke_all(source)),
    ):
        try:
            work()
        except Exception as error:  # the other side's part must not stay because of this one
            problems.append(f"{what} on {host.name}: {error}")
    if problems:
        raise StepFailed(
            "; ".join(problems),
            "what is left of a seed would be in the way of the next one",
            "run the same command again once the server answers",
        )


def _revoke_all(source: Access) -> None:
    with session(source) as old:
        account.revoke(old, channel.USER)
        account.revoke(old, account.COPY_USER)


def traces(source: Access, target: Access) -> list[str]:
    """What of a seed is still there, in words; empty once it is undone or promoted."""
    found = []
    with session(source) as old, session(target) as new:
        for user in (channel.USER, account.COPY_USER):
            if old.value("SELECT COUNT(*) FROM mysql.user WHERE User = %s", [user]):
                found.append(f"account {user} on {source.name}")
        if read_status(new, identify(new)) is not None:
            found.append(f"channel {CHANNEL} on {target.name}")
    return found


def _check_transactional(source: Access, names: Sequence[str]) -> None:
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
