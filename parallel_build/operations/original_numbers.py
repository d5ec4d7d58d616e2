"""The original's numbers moved past those that the new side gave away, before the original's management starts in a rollback.

What the new side made may run on (on hypervisors that can't be asked it does): a second r-19-VM, or a second NIC of one MAC address, must not come to it.
"""

from __future__ import annotations

import threading

from parallel_build.cloudstack.services import MANAGEMENT, Services
from parallel_build.database.schema import cloudstack_numbers as numbers
from parallel_build.database.schema.cloudstack_numbers import Numbers
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database, store
from parallel_build.records.run_folder import now
from parallel_build.remote.sql import session

STEP = "Numbers"  # under this name the window's record has them
ASKED_FOR = 10.0  # seconds that a rollback waits for the new side's database


def note(context: Context) -> None:
    """Note in the window's record what the new side has given away so far, for a rollback that can't ask it."""
    try:
        with session(new_database(context)) as database:
            found = numbers.read(database)
        store(context).remember(STEP, used=found, noted=now())
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"the new side's numbers can't be noted: {error}")


def move_past(context: Context) -> None:
    """Move the original's numbers. Nothing where the new side was never started, or where it was done before.

    A failure is reported; no user waits for it.
    """
    records = store(context)
    record = records.read()
    if record is None or record.closed or not records.owns(record) or not record.facts.get("FirstManagement", {}).get("began"):
        return
    noted = record.facts.get(STEP, {})
    if noted.get("moved") is not None:
        return
    try:
        if running := _running(context):
            context.progress(f"the original's numbers stay as they are: {', '.join(running)} runs already")
            return
        _move(context, noted.get("used"))
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"the original's numbers could not be moved past the new side's, names may come a second time: {error}")
        context.run.record("numbers not moved", step=context.step, error=str(error))


def _move(context: Context, noted: Numbers | None) -> None:
    asked = _ask(context)
    with session(original_database(context)) as database:
        own = numbers.read(database)
        used = asked or numbers.with_margin(noted or own)
        wanted = numbers.to_move(own, used)
        source = (
            "the new side's database" if asked else f"{'a note of the window' if noted else 'its own numbers'} and {numbers.MARGIN:,} more"
        )
        # On record before the first change, with what it was and the statement that would put it back.
        planned = {name: {"was": was, "becomes": becomes, "reverse": numbers.reverse(name, was)} for name, (was, becomes) in wanted.items()}
        store(context).remember(STEP, planned=planned, source=source)
        for name, (was, becomes) in wanted.items():
            context.intend(f"{database.host.name}: move {name} past the new side's", was=was, becomes=becomes)
            numbers.move(database, name, becomes)
    store(context).remember(STEP, moved=now())
    if wanted:
        context.progress(f"{len(wanted)} numbers of the original moved past those of the new side, by {source}")


def _running(context: Context) -> list[str]:
    """Management servers of the original that run. One that can't be reached was stopped and masked by the window, or proved down."""
    found = []
    for server in context.configuration.original.management:
        try:
            if Services(context.host(server)).state(MANAGEMENT).active:
                found.append(server.name)
        except (ConnectionFailed, CommandFailed):
            continue
    return found


def _ask(context: Context) -> Numbers | None:
    """The new side's numbers, None where its database does not answer in time."""
    answer: list[Numbers] = []

    def ask() -> None:
        try:
            with session(new_database(context), timeout=ASKED_FOR) as database:
                answer.append(numbers.read(database))
        except ParallelBuildError as error:
            context.progress(f"the new side's database can't be asked for its numbers: {error}")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ASKED_FOR)
    return answer[0] if answer and answer[0] else None
