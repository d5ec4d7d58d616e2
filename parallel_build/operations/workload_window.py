"""Rule: no workload is made or removed while a window is open."""

from __future__ import annotations

from parallel_build.errors import GuardFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowRecord


def refuse_open(record: WindowRecord | None, action: str) -> None:
    """What is made in a window is lost by a rollback, and what is removed comes back.

    Raises:
        GuardFailed: one is open.
    """
    if record is not None and not record.closed:
        raise GuardFailed(
            f"a window is open since {record.opened}: `workload {action}` is refused",
            "a rollback would bring back what is removed now, and lose what is made now",
            "finish the window, or roll it back (parallel-build back STACK); `workload STACK status` works at any time",
        )


def refuse(context: Context, action: str) -> None:
    """The same, asked of the record's hosts.

    Raises:
        GuardFailed: one is open. ConnectionFailed, CommandFailed: nobody can tell.
    """
    refuse_open(store(context).look(), action)
