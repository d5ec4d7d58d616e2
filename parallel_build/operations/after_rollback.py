"""What a window's rollback could not undo on the new source, because that could not be reached then: undone as soon as somebody works there again."""

from __future__ import annotations

from parallel_build.errors import GuardFailed
from parallel_build.operations import fence_new_database, known_servers, served
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowRecord


def clear(context: Context) -> None:
    """Open the new database as it was found, and give up what users did there, where the last window was rolled back. Mostly nothing.

    Also of a window that another state of this stack, or another stack, has rolled back, where it closed this very server: nobody else opens it.
    Raises:
        GuardFailed: it can't be opened.
    """
    records = store(context)
    record = records.read()
    if record is None or not record.closed or not (records.owns(record) or _closed_ours(context, record)):
        return
    if left := fence_new_database.lift(context, record):
        raise GuardFailed(
            f"the new database is still closed from an earlier rollback: {'; '.join(left)}",
            "new management servers could not log in to it",
            "fix that, then run the same command again",
        )
    served.give_up(context)


def _closed_ours(context: Context, record: WindowRecord) -> bool:
    """Whether a window closed the database servers that this stack has, by their addresses: of one name there may be two."""
    closed = {name for name, facts in record.facts.get(fence_new_database.STEP, {}).items() if facts}
    ours = {server.address for server in known_servers.new_databases(context.configuration, None)}
    return bool(closed) and all(name in record.servers and record.servers[name].address in ours for name in closed)
