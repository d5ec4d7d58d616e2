"""The rehearsal's copy from dump files (`rehearsal.dump`) instead of the running original, and what a dump must be to tell anything."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.database.copy import definers, import_dump
from parallel_build.database.schema import definitions
from parallel_build.database.server.accounts import USER
from parallel_build.errors import StepFailed
from parallel_build.operations import fixes
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote, session

# Accounts that CloudStack's own set-up makes, and a dump's views and procedures run as.
USUAL_DEFINERS = (definers.Account(USER, "localhost"), definers.Account(USER, "%"))
LISTED = 5  # names in one sentence


def read(context: Context, host: Access, schemas: Sequence[str]) -> None:
    """Read the configured dump files into the server's empty databases.

    Args:
        host: the rehearsal's server.
        schemas: the databases that travel.
    Raises:
        StepFailed: a file can't be read, is of another version than the original, or lacks tables or views that the original has.
    """
    files = context.configuration.rehearsal.dump
    with session(original_database(context)) as original, session(host) as copy:
        for name in files:
            character_set, collation = definitions.defaults(original, name)
            copy.execute(f"ALTER DATABASE {quote(name)} DEFAULT CHARACTER SET {character_set} COLLATE {collation}")
        used = definers.used([definitions.read(original, name) for name in files])
        definers.ensure(copy, sorted({*used, *USUAL_DEFINERS}), schemas)
    with fixes.client(host) as client:
        for name, path in files.items():
            import_dump.load(host, client, name, path, cancel=context.cancel, progress=context.progress)
    with session(original_database(context)) as original, session(host) as copy:
        _same_version(context, copy)
        for name, path in files.items():
            _complete(context, original, copy, name, str(path))


def _same_version(context: Context, copy: Session) -> None:
    wanted = str(context.configuration.original.version)
    row = copy.row("SELECT version FROM cloud.version WHERE step = 'Complete' ORDER BY id DESC LIMIT 1")
    found = row["version"] if row else "of no version"
    if found != wanted:
        raise StepFailed(
            f"the dump {context.configuration.rehearsal.dump['cloud']} is {found}, the original is {wanted}",
            "a different upgrade would be rehearsed than the window's",
            "make a dump of the original as it is now, or take rehearsal.dump out to copy it",
        )


def _complete(context: Context, original: Session, copy: Session, name: str, path: str) -> None:
    """A plain dump that was cut off between two statements is read without an error."""
    missing = sorted(_names(original, name) - _names(copy, name))
    if missing:
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise StepFailed(
            f"the dump {path} lacks {len(missing)} tables or views that the original's {name} has: {', '.join(missing[:LISTED])}{more}",
            "it was cut off, or made of some tables only, or before these were there",
            "make it again, with --single-transaction --routines --triggers, and see that its last line says `Dump completed`",
        )
    routines = sorted(_routines(original, name) - _routines(copy, name))
    if routines:
        context.progress(
            f"{path} has {len(routines)} procedures less than the original's {name} (it was made without --routines); "
            "since 4.19 the upgrade makes its own again"
        )


def _names(database: Session, name: str) -> set[str]:
    rows = database.rows("SELECT TABLE_NAME AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [name])
    return {str(row["n"]) for row in rows}


def _routines(database: Session, name: str) -> set[str]:
    rows = database.rows("SELECT ROUTINE_NAME AS n FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s", [name])
    return {str(row["n"]) for row in rows}
