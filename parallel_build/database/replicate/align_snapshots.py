"""Tables that several snapshots brought, brought to one position by the original's own log.

Tables whole in a first snapshot (at P1) are kept when it is lost; the rest comes in a second one (at P2). The channel then begins at P1 and applies the
changes of the first tables alone, and stops at P2, by the servers' own UNTIL. There all tables stand where the second snapshot stood, and the channel goes on
with everything. Each change is applied exactly once to each table, as strictly as ever: nothing is skipped, repeated or overwritten.

That holds for changes of rows only. A log that changes definitions between the two is no such log (`usable`), and then everything is copied anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.copy import account, cleanup
from parallel_build.database.replicate import baseline, changed_rows, channel
from parallel_build.database.replicate.channel import LOG_GONE, Position, read_status
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import Session, session

Layers = list[dict[str, Any]]
AGAIN = "run the same command again: it seeds anew"


def usable(source: Host, target: Host, schemas: Sequence[str], layers: Layers, progress: Callable[[str], None]) -> Layers:
    """The layers, where the original's log still has all since the oldest of them and nothing but changes of rows; else none.

    Raises:
        StepFailed: the log can't be read just now.
    """
    if not layers:
        return []
    since = Position(*layers[0]["position"])
    kept = [name for layer in layers for name in layer["tables"]]
    progress(f"{len(kept)} large table(s) are whole since {since}: looking at what {source.name} has written since")
    with session(target) as new:
        server = identify(new)
    try:
        with (
            account.temporary(source, target, schemas, replication=True) as way_in,
            changed_rows.LogReader(source, target, server, way_in, [], schemas) as log,
        ):
            found = log.read(since)
    except (StepFailed, CommandFailed) as error:
        # Out of time counts as gone: it would be so each time.
        if isinstance(error, StepFailed) and not any(words in str(error) for words in LOG_GONE):
            raise
        progress(f"copying everything anew: {error}")
        return []
    if found.statements:
        progress("copying everything anew: definitions have changed on the original meanwhile")
        return []
    progress(f"keeping {', '.join(kept)}: {found.events:,} changed rows will be taken from the original's log")
    return layers


def pending(target: Host) -> Layers:
    """The layers of a finished copy that are not at its position yet."""
    record = cleanup.read_record(target)
    return record.layers if record and record.finished else []


def join(
    source: Host, target: Host, schemas: Sequence[str], layers: Layers, position: Position, *, cancel: CancelToken, progress: Callable[[str], None],
) -> None:  # fmt: skip
    """Bring the layers to `position`, where the other tables stand, and let the channel go on with everything. Goes on from wherever an earlier call stopped.

    Raises:
        StepFailed: a change could not be applied, or the channel is beyond where it should have stopped.
    """
    ends = [*(Position(*layer["position"]) for layer in layers[1:]), position]
    with session(target) as new:
        server = identify(new)
        if read_status(new, server) is None:
            channel.begin(source, target, schemas, Position(*layers[0]["position"]), waiting=True)
        for number, end in enumerate(ends):
            names = [name for layer in layers[: number + 1] for name in layer["tables"]]
            applied = _applied(new, server)
            if order(applied) >= order(end):
                continue
            channel.narrow(target, new, server, channel.only(names), waiting=True)
            progress(f"bringing {', '.join(names)} from {applied} to {end}")
            new.execute(channel.named(server, _receiver(server)))
            new.execute(baseline.until(server, end))
            wait_for(
                f"{target.name} to stand at {end}",
                partial(_arrived, new, server, end),
                timeout=86400,
                cancel=cancel,
                progress=progress,
            )
        if _applied(new, server) != position:
            raise StepFailed(
                f"{target.name} stands at {_applied(new, server)}, not at {position}",
                "something else has started its channel, with tables at another position",
                AGAIN,
            )
        channel.narrow(target, new, server, channel.filters(schemas), waiting=False)
        cleanup.followed(target)
        new.execute(channel.named(server, server.dialect.start_replica))


def _arrived(new: Session, server: DatabaseServer, end: Position) -> bool:
    """Whether the applier has stopped where it should. An original that is out of reach is waited for: the receiver asks again by itself."""
    found = read_status(new, server)
    if found is None or (not found.applying and found.applied != end) or any(words in found.error for words in LOG_GONE):
        words = (found.error or "its applier has stopped") if found else "there is no channel"
        raise StepFailed(f"{server.name} does not get to {end} of the original's log", words, AGAIN)
    return not found.applying


def _applied(new: Session, server: DatabaseServer) -> Position:
    found = read_status(new, server)
    if found is None:
        raise StepFailed(f"{server.name} does not follow the original", "there is no channel", AGAIN)
    return found.applied


def _receiver(server: DatabaseServer) -> str:
    """START of the receiving thread alone."""
    return f"{server.dialect.start_replica} IO_THREAD"


def order(position: Position) -> tuple[int, int]:
    """Positions in the order of the log: its files are numbered."""
    return int(position.file.rpartition(".")[2]), position.offset
