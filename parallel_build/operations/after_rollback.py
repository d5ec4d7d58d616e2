"""What a window's rollback could not undo on the new source, because that could not be reached then: undone as soon as somebody works there again."""

from __future__ import annotations

from parallel_build.errors import GuardFailed
from parallel_build.operations import fence_new_database, served
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store


def clear(context: Context) -> None:
    """Open the new database as it was found, and give up what users did there, where this stack's last window was rolled back. Mostly nothing.

    Raises:
        GuardFailed: it can't be opened.
    """
    records = store(context)
    record = records.read()
    if record is None or not record.closed or not records.owns(record):
        return
    if left := fence_new_database.lift(context, record):
        raise GuardFailed(
            f"the new database is still closed from an earlier rollback: {'; '.join(left)}",
            "new management servers could not log in to it",
            "fix that, then run the same command again",
        )
    served.give_up(context)
