"""The original's database key, for the steps of the window and the rehearsal."""

from __future__ import annotations

from parallel_build.cloudstack.encryption import Encryptor
from parallel_build.cloudstack.keys import DatabaseKey, database_key, prove
from parallel_build.errors import ConnectionFailed, GuardFailed, StepFailed
from parallel_build.operations.context import Context
from parallel_build.remote.sql import Session

READY = "database key"


def fetch_key(context: Context) -> DatabaseKey:
    """From the first of the original's management servers that has it; with none that can be reached, the stack's own secret has to do.

    It is kept in this process once it was read, so that the window need not read it again.
    Raises:
        StepFailed: none can be reached, and the stack has no such secret.
        GuardFailed: one can be reached, and none has it.
    """
    ready = context.connections.ready
    if READY not in ready:
        ready[READY] = _read(context)
    found: DatabaseKey = ready[READY]
    return found


def proved_key(context: Context, copy: Session) -> DatabaseKey:
    """The same, proved on a copy of the databases.

    Raises:
        GuardFailed: it does not fit.
    """
    key = fetch_key(context)
    prove(key, copy)
    return key


def _read(context: Context) -> DatabaseKey:
    site, unfit = context.site, list[GuardFailed]()
    for server in site.configuration.original.management:
        try:
            return database_key(site, context.host(server))
        except ConnectionFailed as error:
            context.progress(f"the database key can't be read from {server.name}: {error}")
        except (GuardFailed, StepFailed) as error:  # its files are gone or torn; the other servers have the same key
            context.progress(f"the database key is not to be had from {server.name}: {error}")
            unfit.append(error if isinstance(error, GuardFailed) else GuardFailed(error.fact, error.cause, error.remedy))
    if unfit:
        raise unfit[0]
    if site.secrets.database_key is None:
        raise StepFailed(
            "the database key can't be read from any of the original's management servers",
            "none can be reached",
            "set the stack's secret databaseKey, then run the same command again",
        )
    return DatabaseKey(site.secrets.database_key, Encryptor.AUTOMATIC)
