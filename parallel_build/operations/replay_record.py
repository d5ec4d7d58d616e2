"""What a replay goes by: what users created is on record, the window is over, and no later run has taken over. Asked before each call that writes."""

from __future__ import annotations

from functools import partial
from typing import Any

from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import GuardFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store
from parallel_build.records.created import CreatedFiles, CreatedRecord, Entry


def read(context: Context) -> CreatedRecord:
    """What users created on the new side before this stack's last rollback.

    Raises:
        GuardFailed: nothing is on record, or it is of a window of another stack, or it could not be read then.
    """
    found = CreatedFiles(original_database(context)).read()
    where = original_database(context).name
    if found is None:
        raise GuardFailed(
            f"{where} has nothing on record that users created on the new side",
            "no window was rolled back since this version, or its new side was never started",
            f"there is nothing to create again; what an earlier version noted is in {context.run.path / 'evidence' / 'tidying.json'}",
        )
    if found.identity not in context.site.identities:
        raise GuardFailed(
            f"what users created is on record for window {found.identity}, opened {found.opened}, and this stack did not open it",
            "two stacks have worked on this cloud",
            "run the command with the stack that did",
        )
    if found.unknown:
        raise GuardFailed(
            f"what users created on the new side is not known: it could not be read when the window of {found.opened} was rolled back",
            found.unknown,
            f"create by hand what is missing: what was kept is in {context.run.path / 'evidence' / 'tidying.json'} and {context.run.path / 'forensics'}",
        )
    return found


def may_replay(context: Context, created: CreatedRecord) -> None:
    """Rule: users' objects are created again only on an original that serves, with no window open, and by the latest run.

    Raises:
        GuardFailed: a window is open. Fenced: a later run has taken over.
    """
    records = store(context)
    record = records.read()
    if record is None or record.number < created.number:
        raise GuardFailed(
            f"the record of the window that was opened {created.opened} is not on {records.host.name} any more",
            "without it nobody knows which side serves",
            f"see parallel-build recover {context.site.stack}",
        )
    if not record.closed:
        raise GuardFailed(
            f"a window is open since {record.opened}: nothing is created again now",
            "its rollback may not be finished, or another upgrade is under way",
            f"end it first; see parallel-build recover {context.site.stack}",
        )
    records.check_run(record)


class ReplayLog:
    """How far each object has come, on the original's source; written by commands that carry the run's number."""

    def __init__(self, context: Context, created: CreatedRecord) -> None:
        self._files, self._number = CreatedFiles(original_database(context)), created.number
        self._entries = self._files.entries(self._number)

    def entry(self, key: str) -> Entry | None:
        """What is written of an object."""
        return self._entries.get(key)

    def note(self, key: str, stage: str, id: str = "", why: str = "", **note: Any) -> None:
        """Write it down, synced."""
        self._entries[key] = self._files.note(self._number, key, stage, id, why, **note)


def guarded(context: Context, cloud: Cloud, created: CreatedRecord) -> Cloud:
    """The original's API, with every call that changes something allowed by the record first."""
    cloud.before_write = partial(may_replay, context, created)
    return cloud
