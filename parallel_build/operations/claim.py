"""Taking the run's number before its first write; see `records.run_number`. A host of the record that is behind the other is brought up to date then."""

from __future__ import annotations

from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store


def claim(context: Context) -> None:
    """Have everything that this run does from here on carry its number.

    Raises:
        ConnectionFailed: the record's host can't be reached. GuardFailed: its record can't be read.
    """
    host, records = context.host(context.configuration.original.database.source), store(context)
    before = context.connections.token
    context.connections.carry(context.claims.take(host, context.site, records))
    if before is None:
        records.level()
