"""Our accounts on the original's database server dropped on every way out, or listed where that server is down."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.cloudstack.services import DATABASE_UNITS, Services
from parallel_build.database.copy import account, account_notes
from parallel_build.database.replicate import channel
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database
from parallel_build.records.seed import SeedRecord
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Refused, session


def drop(context: Context, users: Sequence[str]) -> list[str]:
    """Drop accounts on the original. Idempotent; it keeps no rollback from its end.

    Returns:
        those that may still be there: the database server is down or refuses it, or its host can't be asked.
    """
    host = original_database(context)
    try:
        with session(host) as original:
            dropped = sum(account.revoke(original, user) for user in users)
    except (ConnectionFailed, CommandFailed, Refused) as error:  # a server that is read only by now, or rights that were taken away
        return _left(context, host, users, error)
    if dropped:
        context.progress(f"{host.name}: {dropped} account(s) of this tool dropped")
    return []


def unneeded(context: Context) -> list[str]:
    """The accounts that nothing needs once a window is over: a seed that no window has used up follows the original on."""
    seed = SeedRecord(original_database(context), context.site)
    return [account.COPY_USER] if seed.facts() and not seed.taken else [account.COPY_USER, channel.USER]


def down_for_good(host: Access) -> bool:
    """Whether the original's database server is stopped and masked, as a window leaves it."""
    services = Services(host)
    states = [services.state(unit) for unit in DATABASE_UNITS]
    return any(state.masked for state in states) and not any(state.active for state in states)


def _left(context: Context, host: Access, users: Sequence[str], error: Exception) -> list[str]:
    try:
        left = [user for user in account_notes.noted(host) if user in users]
    except (ConnectionFailed, CommandFailed):
        left = list(users)
        context.progress(f"{host.name} can't be asked whether accounts {', '.join(left)} are there: {error}")
    else:
        if left:
            context.progress(account_notes.advice(host, left))
    if left:
        context.note(accountsLeft={host.name: left})
        context.run.record("accounts left", step=context.step, server=host.name, accounts=left, error=str(error))
    return left
