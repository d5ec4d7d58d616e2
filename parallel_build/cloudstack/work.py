"""What a cloud is doing: jobs, objects between two states, HA, and what its schedules start next; read from its database.

Pseudo jobs of the servers themselves stay open for ever and are none. A job whose management server is gone never ends: only that server's own next
start would close it. [CloudStack AsyncJobManagerImpl; shared facts field.md, section 3]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from parallel_build.cloudstack.states import VM_MOVING, VOLUME_MOVING
from parallel_build.durations import duration
from parallel_build.remote.sql import Session

JOBS = "job_status = 0 AND removed IS NULL AND COALESCE(instance_type, '') <> 'Thread' AND COALESCE(job_dispatcher, '') <> 'pseudoJobDispatcher'"
# States of a snapshot that end; only those of the last day count, since CloudStack leaves rows of failed ones behind.
SNAPSHOT_MOVING = "status IN ('Allocated', 'Creating', 'BackingUp', 'Copying') AND created > UTC_TIMESTAMP() - INTERVAL 1 DAY"
HA_AT_WORK = "taken IS NOT NULL AND step NOT IN ('Done', 'Cancelled', 'Error')"
# Jobs that no server has taken up yet, since another is at work on the same object or on as many as its queue lets through.
QUEUED = (
    "SELECT COUNT(*) FROM cloud.sync_queue_item WHERE content_type = 'AsyncJob' AND queue_proc_msid IS NULL "
    f"AND content_id IN (SELECT id FROM cloud.async_job WHERE {JOBS})"
)
SHOWN = 6
# Table, column of the time, and what starts then; a table that an older release lacks has nothing.
SCHEDULES = (
    ("snapshot_schedule", "scheduled_timestamp", "async_job_id IS NULL", "snapshot of volume", "volume_id"),
    ("backup_schedule", "scheduled_timestamp", "async_job_id IS NULL", "backup of VM", "vm_id"),
    ("vm_scheduled_job", "scheduled_timestamp", "async_job_id IS NULL", "scheduled action on VM", "vm_id"),
)


@dataclass(frozen=True)
class Work:
    """Something that is not at rest.

    Attributes:
        kind: `job`, `VM`, `volume`, `snapshot` or `HA`.
        id: of its row.
        what: the job's command, or the object's state.
        object: what it is done to.
        seconds: for how long, 0 where the database does not say.
        server: msid of the management server that is at it, 0 for an object, which names none.
        left: whether that server is gone, so that the work never ends.
    """

    kind: str
    id: int
    what: str
    object: str
    seconds: int
    server: int = 0
    left: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.what} ({self.object}, for {duration(max(1, self.seconds))}{', its server is gone' if self.left else ''})"

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Work:
        """From plain values; what another version added is left out."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})


def read(database: Session) -> list[Work]:
    """Everything that is not at rest, the longest first."""
    living = {int(row["msid"]) for row in database.rows("SELECT msid FROM cloud.mshost WHERE removed IS NULL AND state <> 'Down'")}
    found = [*_jobs(database, living), *_objects(database), *_ha(database, living)]
    return sorted(found, key=lambda work: -work.seconds)


def _jobs(database: Session, living: set[int]) -> list[Work]:
    rows = database.rows(
        "SELECT id, job_cmd, instance_type, instance_id, TIMESTAMPDIFF(SECOND, created, UTC_TIMESTAMP()) AS age, "
        f"COALESCE(job_executing_msid, job_init_msid, 0) AS msid FROM cloud.async_job WHERE {JOBS}"
    )
    return [
        Work(
            "job",
            int(row["id"]),
            str(row["job_cmd"]).rsplit(".", 1)[-1],
            f"{row['instance_type'] or 'object'} {row['instance_id'] or 'unnamed'}",
            int(row["age"] or 0),
            int(row["msid"]),
            int(row["msid"]) not in living,
        )
        for row in rows
    ]


def _objects(database: Session) -> list[Work]:
    found: list[Work] = []
    for kind, table, name, state, since, moving in (
        ("VM", "vm_instance", "instance_name", "state", "COALESCE(update_time, created)", VM_MOVING),
        ("volume", "volumes", "name", "state", "COALESCE(updated, created)", VOLUME_MOVING),
        ("snapshot", "snapshots", "name", "status", "created", SNAPSHOT_MOVING),
    ):
        rows = database.rows(
            f"SELECT id, {name} AS name, {state} AS state, TIMESTAMPDIFF(SECOND, {since}, UTC_TIMESTAMP()) AS age "
            f"FROM cloud.`{table}` WHERE removed IS NULL AND {moving}"
        )
        found += [Work(kind, int(row["id"]), str(row["state"]), str(row["name"]), int(row["age"] or 0)) for row in rows]
    return found


def _ha(database: Session, living: set[int]) -> list[Work]:
    rows = database.rows(
        "SELECT id, type, instance_id, COALESCE(mgmt_server_id, 0) AS msid, TIMESTAMPDIFF(SECOND, taken, UTC_TIMESTAMP()) AS age "
        f"FROM cloud.op_ha_work WHERE {HA_AT_WORK}"
    )
    return [
        Work("HA", int(row["id"]), str(row["type"]), f"VM {row['instance_id']}", int(row["age"] or 0), int(row["msid"]))
        for row in rows
        if int(row["msid"]) in living
    ]


def queued(database: Session) -> int:
    """How many jobs wait in a queue for a server to take them up."""
    return int(database.value(QUEUED) or 0)


def due(database: Session, seconds: float) -> list[str]:
    """What the cloud's own schedules start within that time, each with its time (UTC)."""
    there = {
        str(row["name"]) for row in database.rows("SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud'")
    }
    found: list[str] = []
    for table, column, waiting, what, of in SCHEDULES:
        if table in there:
            found += [
                f"{what} {row['thing']} at {row['start']} UTC"
                for row in database.rows(
                    f"SELECT {of} AS thing, DATE_FORMAT({column}, '%%Y-%%m-%%d %%H:%%i:%%s') AS start FROM cloud.`{table}` WHERE {waiting} "
                    f"AND {column} BETWEEN UTC_TIMESTAMP() AND UTC_TIMESTAMP() + INTERVAL %s SECOND ORDER BY {column}",
                    [int(seconds)],
                )
            ]
    return found


def in_words(found: Sequence[Work]) -> str:
    """How much it is, how long the longest has taken, and the first few."""
    kinds = [f"{number} {kind}" for kind, number in _counted(work.kind for work in found)]
    longest = duration(max(1, max(work.seconds for work in found)))
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{', '.join(kinds)}, the longest for {longest}: {', '.join(map(str, found[:SHOWN]))}{more}"


def _counted(kinds: Iterable[str]) -> list[tuple[str, int]]:
    numbers: dict[str, int] = {}
    for kind in kinds:
        numbers[kind] = numbers.get(kind, 0) + 1
    return [
        (kind if number == 1 else "jobs" if kind == "job" else f"{kind}s" if kind != "HA" else kind, number)
        for kind, number in numbers.items()
    ]
