"""What the new side made and runs on after a rollback: reported with the commands that remove it, and kept in the record for the next window's guard."""

from __future__ import annotations

from parallel_build.cloudstack.left_running import LEFT, Guest, made_since, not_proved_gone
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import UNDO_ASKS_FOR, new_database, store
from parallel_build.remote.sql import session


def look(context: Context) -> None:
    """Note what the new side has made, while its database can be asked; an earlier look of the same rollback stays."""
    facts = store(context).facts
    highest = facts("Window").get("highest_ids", {}).get("vm_instance")
    if highest is None or not facts("FirstManagement").get("began"):
        return
    try:
        with session(new_database(context), timeout=UNDO_ASKS_FOR) as database:
            if not database.value(
                "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'vm_instance'"
            ):
                return
            found = made_since(database, int(highest))
    except Cancelled:
        raise
    except ParallelBuildError as error:
        store(context).remember(LEFT, unknown=str(error))
        context.progress(f"system VMs that the new side made can't be listed: {error}")
        return
    known = {guest["name"]: guest for guest in facts(LEFT).get("guests", [])} | {guest.name: guest.document() for guest in found}
    if known:
        store(context).remember(LEFT, guests=list(known.values()), unknown="")


def noted(context: Context) -> list[Guest]:
    """Those on record."""
    return [Guest.of(guest) for guest in store(context).facts(LEFT).get("guests") or []]


def report(context: Context) -> list[Guest]:
    """Ask the KVM hosts that can be asked, say what runs on elsewhere, and keep exactly that on record.

    Returns:
        what runs on, as far as is known.
    """
    known = noted(context)
    if not known:
        return []
    left = not_proved_gone(context.configuration.original.hypervisors, context.host, known)
    store(context).remember(LEFT, guests=[guest.document() for guest in left])
    for guest in left:
        context.progress(f"{guest} RUNS ON, made by the new side and unknown to the original. Remove it there: {guest.remove}")
    if left:
        context.note(leftRunning=[guest.document() for guest in left])
    return left
