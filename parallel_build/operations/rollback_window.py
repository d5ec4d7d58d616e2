"""Whether going back is still allowed: past the rollback window, what users did on the new side would be lost."""

from __future__ import annotations

from datetime import datetime

from parallel_build.configuration import Phase
from parallel_build.durations import duration
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed
from parallel_build.operations import known_servers, new_strangers, original_replica
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.operations.new_objects import since_window
from parallel_build.records.window import WindowRecord
from parallel_build.remote.clock import HostClock, read_host_clock


def check_allowed(context: Context, *, promoting: bool = False) -> None:
    """Rule: the switched phase is undone only within `window.rollbackWindow` of the switch, not once the stack is retired, and not next to a new
    management server that could not be fenced because nobody knows it.

    Changes nothing. A window that was never switched may always be undone.
    Args:
        promoting: the original's replica is about to take its source's place.
    Raises:
        GuardFailed: it is not; lists what was created since the window opened. Or the window is another stack's. Fenced: a later run has taken over.
    """
    configuration, records = context.configuration, store(context)
    record = records.look()  # what follows writes, and proves then that a host of the record that is silent is down
    if record is not None and not record.closed:
        records.check_owner(record)
        records.check_run(record)
        known_servers.check_known(configuration, record)
        if not (configuration.window.stop_before or promoting):
            original_replica.unreachable(context, record)
    _check_time(context, record)
    # Once a rollback has begun, fencing asks this again and again: from then on it is too late to change nothing.
    going = record is None or record.closed or record.returning or configuration.window.stop_before
    if not going and (strange := new_strangers.at_work(context, record)):
        raise new_strangers.refused(context, strange, GuardFailed)


def _check_time(context: Context, record: WindowRecord | None) -> None:
    configuration, limit = context.configuration, context.configuration.window.rollback_window
    if configuration.window.stop_before and record is not None and record.switched and not record.closed:
        raise GuardFailed(
            f"window.stopBefore {configuration.window.stop_before} is behind the switch: the new side serves since {record.switched}",
            "undoing only the last steps would leave neither side serving",
            "remove window.stopBefore to resume, or set phase to prepared to roll back altogether",
        )
    if configuration.window.force_rollback or record is None or record.closed or record.returning:
        return  # a rollback that has begun must finish
    if configuration.phase is Phase.RETIRED or record.retired:
        why = "the stack is retired"
    elif record.switched and (since := since_switch(record, store(context).clock(read_host_clock))) > limit.total_seconds():
        why = f"the switch was {duration(since)} ago, at {record.switched[:16].replace('T', ' ')} UTC, and window.rollbackWindow is {duration(limit)}"
    else:
        return
    raise GuardFailed(
        f"going back is refused: {why}",
        f"what users did since would be lost: {since_window(context, new_database(context)).in_words()}",
        f"keep the new side; or, knowing that: pulumi config set --path window.forceRollback true --stack {context.site.stack}, then: "
        f"parallel-build back {context.site.stack}",
    )


def mark_rollback(context: Context) -> None:
    """Write down that a rollback has begun, so that no step goes forward during it, or after half of it, until the window is closed.

    An undo up to a hold point is none: `window.stopBefore` is only there in the undo of a run that keeps phase switched
    (`parallel_build.provider.relevance.for_undo`).
    """
    records = store(context)
    record = records.look()
    if record is None or record.closed or context.configuration.window.stop_before:
        return
    if not record.returning:
        records.mark_returning()


def since_switch(record: WindowRecord, now: HostClock) -> float:
    """Seconds since the switch by the clocks of the original's database host, as the deadline is measured: no workstation's clock counts.

    A record of an earlier version of this project has no such clock: then by that host's time of day.
    """
    if record.switched_clock:
        return now.since(HostClock(**record.switched_clock))
    return max(0.0, now.time - datetime.fromisoformat(str(record.switched)).timestamp())


def no_window_open(context: Context) -> None:
    """Rule: what a window rests on is undone only when no window is open: a state that does not know of it must not take its servers away.

    Raises:
        GuardFailed: one is, or nobody can tell because the record's host can't be reached.
    """
    if context.configuration.window.force_rollback:
        return
    records = store(context)
    try:
        record = records.read()
    except (ConnectionFailed, CommandFailed) as error:
        raise GuardFailed(
            f"whether a window is open can't be asked: {records.host.name} can't be reached",
            str(error),
            f"bring {records.host.name} back and run the same command again; where it is gone for good and no window is open: "
            "pulumi config set --path window.forceRollback true && pulumi up, then this command again",
        ) from None
    if record is not None and not record.closed:
        raise GuardFailed(
            f"a window is open on {records.host.name} since {record.opened}, and this would undo what it rests on",
            "the state does not have the window's steps, or they are not undone yet",
            f"roll the window back first: parallel-build back {record.stack} --window {record.identity}; then run the same command again",
        )
