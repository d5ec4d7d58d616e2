"""What users created on the new side, put on record in a rollback: after users are in on the original, before the new databases are emptied."""

from __future__ import annotations

from parallel_build.cloudstack import created
from parallel_build.cloudstack.created import Found
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import UNDO_ASKS_FOR, new_database, original_database, store
from parallel_build.records.created import CreatedFiles, CreatedRecord
from parallel_build.remote.sql import session


def keep(context: Context) -> None:
    """Put on record what the new side has and the original has not. Nothing where the new side was never started, or its databases are emptied.

    A failure is logged and put on record: users are in, and the rollback goes to its end.
    """
    record = store(context).read()
    if record is None or record.closed or not record.facts.get("FirstManagement", {}).get("began"):
        return
    highest = record.facts.get("Window", {}).get("highest_ids") or {}
    try:
        with session(new_database(context), timeout=UNDO_ASKS_FOR) as new:
            if not new.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'account'"):
                return
            with session(original_database(context)) as original:
                found, unknown = created.read(new, original, {name: int(number) for name, number in highest.items()}), ""
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"what users created on the new side can't be read: {error}")
        found, unknown = Found(), error.reason
    try:
        if CreatedFiles(original_database(context)).keep(CreatedRecord.of_window(record, found, unknown)) and found.objects:
            words = ", ".join(f"{kind}: {len(some)}" for kind, some in created.by_kind(found.objects).items())
            context.progress(f"users created on the new side: {words}. See parallel-build after-rollback {context.site.stack}")
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"what users created on the new side can't be put on record: {error}")
        context.run.keep("created", CreatedRecord.of_window(record, found, unknown).document())
