"""Taking the run's number before its first write; see `records.run_number`."""

from __future__ import annotations

from parallel_build.operations.context import Context


def claim(context: Context) -> None:
    """Have everything that this run does from here on carry its number.

    Raises:
        ConnectionFailed: the record's host can't be reached. GuardFailed: its record can't be read.
    """
    host = context.host(context.configuration.original.database.source)
    context.connections.carry(context.claims.take(host, context.site))
