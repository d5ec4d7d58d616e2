"""Tables that several snapshots brought, brought to one position by the original's own log.

Tables whole in a first snapshot (at P1) are kept when it is lost; the rest comes in a second one (at P2). The channel then begins at P1 and applies the
changes of the first tables alone, and stops at P2, by the servers' own UNTIL. There all tables stand where the second snapshot stood, and the channel continues
with everything. Each change is applied exactly once to each table, as strictly as ever: nothing is skipped, repeated or overwritten.

That holds for changes of rows, and for statements that change one table's definition by themselves: they are replayed in their place. Any other change of
definitions in between, and everything is copied again (`usable`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.copy import account, cleanup, detached
from parallel_build.database.replicate import baseline, changed_rows, channel
from parallel_build.database.replicate.channel import LOG_GONE, Position, read_status
from parallel_build.database.replicate.definition_changes import changed_table
from parallel_build.database.schema.definitions import Schema
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session

Layers = list[dict[str, Any]]
AGAIN = "run the same command again: it seeds again"


def usable(
    source: Access, target: Access, schemas: Sequence[str], layers: Layers, progress: Callable[[str], None],
    definitions: Sequence[Schema] | None = None,
) -> Layers:  # fmt: skip
    """The layers, where the original's log still has all since the oldest of them and nothing but changes of rows; else none.

    Args:
        definitions: of the original as it is now; without them no table is looked at by itself.
    Raises:
        StepFailed: the log can't be read just now.
    """
    if not layers:
        return []
    since = Position(*layers[0]["position"])
    kept = [name for layer in layers for name in layer["tables"]]
    progress(f"{len(kept)} table(s) are whole since {since}: looking at what {source.name} has written since")
    with session(target) as new:
        server = identify(new)
    try:
        with (
            account.temporary(source, target, schemas, replication=True) as way_in,
            changed_rows.LogReader(source, target, server, way_in, None, schemas) as log,
        ):
            found = log.read(since)
    except (StepFailed, CommandFailed) as error:
        # Out of time counts as gone: it would be so each time.
        if isinstance(error, StepFailed) and not any(words in str(error) for words in LOG_GONE):
            raise
        progress(f"copying everything again: {error}")
        return []
    changed = {changed_table(text, database) for database, text in found.texts}
    if found.others or None in changed:
        progress(
            f"copying everything again: definitions have changed on the original meanwhile, or rows were not logged as rows: {found.summary()}"
        )
        return []
    altered = {".".join(name) for name in changed if name}
    layers = layers if definitions is None else unchanged(layers, definitions, altered)
    kept = [name for layer in layers for name in layer["tables"]]
    progress(f"keeping {briefly(kept)}: {found.events:,} changed rows will be taken from the original's log")
    return layers


def unchanged(layers: Layers, definitions: Sequence[Schema], altered: Collection[str] = ()) -> Layers:
    """The layers without tables whose definition is different now; with such a table go those that foreign keys tie to it.

    Args:
        altered: tables whose change of definition is in the log, and will be replayed.
    """
    present = detached.digests(definitions)
    gone = {name for layer in layers for name, found in layer["tables"].items() if present.get(name) != found and name not in altered}
    gone |= {name for group in detached.groups(definitions) if gone & set(group) for name in group}
    found = [{**layer, "tables": {name: one for name, one in layer["tables"].items() if name not in gone}} for layer in layers]
    return [layer for layer in found if layer["tables"]]


def briefly(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more tables" if len(names) > 5 else "")


def pending(target: Access) -> Layers:
    """The layers of a finished copy that are not at its position yet."""
    record = cleanup.read_record(target)
    return record.layers if record and record.finished else []


def join(
    source: Access, target: Access, schemas: Sequence[str], layers: Layers, position: Position, *, cancel: CancelToken, progress: Callable[[str], None],
) -> None:  # fmt: skip
    """Bring the layers to `position`, where the other tables stand, and have the channel continue with everything. Resumes wherever an earlier call stopped.

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
            progress(f"bringing {briefly(names)} from {applied} to {end}")
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
    """Whether the applier is where it should stop. An original that is out of reach is waited for: the receiver asks again by itself.

    An applier that has applied the last thing there is looks for its end only when something follows: where the original is idle, it never stops by itself.
    """
    found = channel.settled(new, server)
    if found is None or (not found.applying and found.applied != end) or any(words in found.error for words in LOG_GONE):
        words = (found.error or "its applier has stopped") if found else "there is no channel"
        raise StepFailed(f"{server.name} does not get to {end} of the original's log", words, AGAIN)
    return not found.applying or found.applied == end


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
