"""Checksums of every table of the original's databases: the proof that a rollback finds them as they were."""

from __future__ import annotations

import json
from pathlib import Path

from lab.databases import DATABASES
from lab.hosts import Sessions
from lab.machines import OLD_SOURCE
from parallel_build.database.session import quote, session

# Tables that running management, usage and agent processes write all the time, so that they differ between any two moments: heartbeats,
# events, jobs, capacities and statistics, and the rows of hosts and system VMs whose state is kept in them [lab/standin/README.md].
WRITTEN_BY_SERVERS = frozenset(
    {
        "cloud.alert",
        "cloud.async_job",
        "cloud.configuration",
        "cloud.event",
        "cloud.host",
        "cloud.host_details",
        "cloud.mshost",
        "cloud.mshost_peer",
        "cloud.mshost_status",
        "cloud.op_host_capacity",
        "cloud.op_lock",
        "cloud.usage_event",
        "cloud.user_statistics",
        "cloud.vm_instance",
        "cloud_usage.usage_event",
        "cloud_usage.usage_job",
    }
)


def read(opened: Sessions) -> dict[str, int | None]:
    """`CHECKSUM TABLE` of every base table, by `database.table`.

    Raises:
        ConnectionFailed: the original's source is down.
    """
    found: dict[str, int | None] = {}
    with session(opened[OLD_SOURCE]) as database:
        names = database.rows(
            "SELECT table_schema AS s, table_name AS t FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' AND table_schema IN %s ORDER BY 1, 2",
            [DATABASES],
        )
        for name in names:
            row = database.row(f"CHECKSUM TABLE {quote(name['s'])}.{quote(name['t'])} EXTENDED")
            found[f"{name['s']}.{name['t']}"] = row["Checksum"] if row else None
    return found


def differences(before: Path, now: dict[str, int | None]) -> tuple[list[str], list[str]]:
    """Tables that differ from an earlier reading: those that nobody should have written, and those that running servers write."""
    earlier: dict[str, int | None] = json.loads(before.read_text())
    names = sorted(name for name in earlier.keys() | now.keys() if earlier.get(name, "absent") != now.get(name, "absent"))
    return [n for n in names if n not in WRITTEN_BY_SERVERS], [n for n in names if n in WRITTEN_BY_SERVERS]
