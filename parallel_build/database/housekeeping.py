"""Old rows taken out of a copy before the schema upgrade: events, alerts, statistics, usage records, finished jobs.

Deleted in batches from the oldest on, so that no statement holds locks or fills the log for long, and a cancel is heard between two of them. The
original keeps every row: only a copy is ever handed to `clean`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Housekeeping
from parallel_build.remote.sql import Session


@dataclass(frozen=True)
class Group:
    """One table of a group: which rows are old, and which of them may go."""

    setting: str
    table: str
    age: str
    condition: str = ""


# usage_event rows that the usage server has not read yet are bills that nobody has written; a job in progress has job_status 0.
GROUPS = (
    Group("events", "cloud.event", "created"),
    Group("alerts", "cloud.alert", "created"),
    Group("usage_events", "cloud.usage_event", "created", " AND processed = 1"),
    Group("usage", "cloud_usage.cloud_usage", "end_date"),
    Group("statistics", "cloud.vm_stats", "timestamp"),
    Group("statistics", "cloud.volume_stats", "timestamp"),
    Group("jobs", "cloud.async_job", "created", " AND job_status <> 0"),
)


@dataclass(frozen=True)
class Cleaned:
    """What went: rows by table, and seconds in all."""

    rows: dict[str, int]
    seconds: float


def words(wanted: Housekeeping) -> list[str]:
    """What will be deleted, a line a table."""
    return [
        f"DELETE FROM {group.table} WHERE {group.age} is more than {age} ago{group.condition}, {wanted.batch} rows at a time"
        for group in GROUPS
        if (age := _age(wanted, group)) is not None
    ]


def clean(copy: Session, wanted: Housekeeping, *, cancel: CancelToken, progress: Callable[[str], None]) -> Cleaned:
    """Delete what is older than `wanted` says.

    Args:
        copy: session to a server that holds a **copy** of the databases.
    Raises:
        Cancelled: between two batches; what is deleted stays deleted, another call continues.
    """
    began = time.monotonic()
    rows: dict[str, int] = {}
    for group in GROUPS:
        age = _age(wanted, group)
        if age is None or not _there(copy, group.table):
            continue
        limit = copy.value("SELECT UTC_TIMESTAMP() - INTERVAL %s SECOND", [int(age.total_seconds())])
        statement = f"DELETE FROM {group.table} WHERE `{group.age}` < %s{group.condition} ORDER BY id LIMIT {wanted.batch}"
        gone, first = 0, time.monotonic()
        while True:
            cancel.check()
            deleted = copy.execute(statement, [limit])
            gone += deleted
            if deleted < wanted.batch:
                break
            progress(f"{group.table}: {gone} old rows deleted")
        rows[group.table] = gone
        progress(f"{group.table}: {gone} rows from before {limit} deleted in {time.monotonic() - first:.1f} s")
    return Cleaned(rows, round(time.monotonic() - began, 3))


def _age(wanted: Housekeeping, group: Group) -> timedelta | None:
    found: timedelta | None = getattr(wanted, group.setting)
    return found


def _there(copy: Session, table: str) -> bool:
    schema, _, name = table.partition(".")
    return bool(copy.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s", [schema, name]))
