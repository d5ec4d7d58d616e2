"""The original's definitions made once, empty, next to the new source's database server: before users are out, what it can't make is found."""

from __future__ import annotations

from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.database.copy import makeable
from parallel_build.database.schema import definitions as schema
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database, schemas
from parallel_build.remote.sql import session


def words(configuration: StackConfiguration) -> str:
    """For a plan."""
    return (
        f"make every table, view, routine, trigger and event of {', '.join(schemas(configuration))} once, empty; by a second database server "
        f"process on {configuration.new.database.source.name} (no network, own folder in /var/tmp, gone afterwards); only what has changed since the "
        "last time"
    )


def prove_makeable(context: Context) -> dict[str, Any]:
    """Everything that the original has can be made on the new source; what was judged before costs nothing.

    Returns:
        Number of definitions, how many were made now, seconds.
    Raises:
        GuardFailed: names each that can't be made.
    """
    with session(original_database(context)) as source:
        definitions = [schema.read(source, name) for name in schema.existing(source, schemas(context.configuration))]
        made = makeable.prove(source, new_database(context), definitions, cancel=context.cancel, progress=context.progress)
    context.progress(
        f"{made.objects} definitions can be made on {new_database(context).name} ({made.judged} tried now, {made.seconds:.1f} s)"
    )
    return {"definitions": made.objects, "tried now": made.judged, "seconds": made.seconds}
