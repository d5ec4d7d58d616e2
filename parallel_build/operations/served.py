"""The mark on databases that users have worked on: set when they are switched to, it keeps everybody from dropping or importing over them.

It is on the server itself, for whoever has lost the window's record. Only the rollback of the window that set it takes it away: what users did there
since is then given up, by the operator's own command.
"""

from __future__ import annotations

from parallel_build.database.server import bookkeeping
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.records.window import WindowRecord
from parallel_build.remote.sql import session


def mark(context: Context) -> None:
    """Mark the new databases as those that users work on. Nothing happens where they are marked."""
    value = window_of(store(context).mine())
    with session(new_database(context)) as database:
        if bookkeeping.SERVED in bookkeeping.marks(database):
            return
        context.intend("mark the new databases as switched to", server=database.host.name)
        bookkeeping.mark(database, bookkeeping.SERVED, value)


def give_up(context: Context) -> None:
    """Take the mark away in the rollback of the window that set it, or after it where the new source could not be reached then.

    Nothing happens where there is no mark, or one of a different window: that one still counts.
    """
    record = store(context).read()
    if record is None or not store(context).owns(record) or not (record.closed or record.returning):
        return
    with session(new_database(context)) as database:
        if bookkeeping.marks(database).get(bookkeeping.SERVED) == window_of(record):
            context.intend("give up the new databases that were switched to", server=database.host.name, opened=record.opened)
            bookkeeping.unmark(database, bookkeeping.SERVED)


def window_of(record: WindowRecord) -> str:
    """What tells one window from another, in a mark."""
    return f"{record.identity} {record.opened}"[:255]
