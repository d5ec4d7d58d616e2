"""Checksums of every table of the original's databases: the proof that a rollback finds them as they were.

Tables that running servers write can't be the same at two moments. They are listed here, and on demand compared row by row, so that it can be said
which rows are others and not only that some are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.databases import DATABASES
from lab.hosts import Sessions
from lab.machines import OLD_SOURCE
from parallel_build.database.session import Session, quote, session

ROWS_LIMIT = 20_000  # larger tables are compared as a whole

# Written by running management, usage and agent processes at any time: heartbeats, events, jobs, capacities, statistics, states of hosts.
WRITTEN_BY_SERVERS = frozenset(
    {
        "cloud.alert",
        "cloud.async_job",
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
# Written by the original's servers when they make system VMs and routers anew, as the last thing of a rollback.
WRITTEN_BY_RENEWING = frozenset(
    {
        "cloud.console_proxy",
        "cloud.domain_router",
        "cloud.nic_details",
        "cloud.nics",
        "cloud.op_dc_ip_address_alloc",
        "cloud.op_dc_link_local_ip_address_alloc",
        "cloud.op_networks",
        "cloud.resource_count",
        "cloud.router_network_ref",
        "cloud.secondary_storage_vm",
        "cloud.sequence",
        "cloud.template_spool_ref",
        "cloud.user_ip_address",
        "cloud.volumes",
    }
)

Reading = dict[str, Any]


@dataclass
class Differences:
    """What differs between two readings.

    Attributes:
        tables: how many were compared.
        different: tables that nobody should have written.
        written_by_renewing: tables that differ because system VMs and routers were made anew.
        written_by_running_servers: tables that differ because servers run.
        rows: keys of the rows that came, went or changed, where both readings were taken with rows.
    """

    tables: int
    different: list[str] = field(default_factory=list)
    written_by_renewing: list[str] = field(default_factory=list)
    written_by_running_servers: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def read(opened: Sessions, rows: bool = False) -> Reading:
    """`CHECKSUM TABLE` of every base table, by `database.table`.

    Args:
        rows: for tables that servers write give `{"checksum": ..., "rows": {key: digest}}`.
    Raises:
        ConnectionFailed: the original's source is down.
    """
    found: Reading = {}
    with session(opened[OLD_SOURCE]) as database:
        names = database.rows(
            "SELECT table_schema AS s, table_name AS t FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' AND table_schema IN %s ORDER BY 1, 2",
            [DATABASES],
        )
        for name in names:
            table = f"{name['s']}.{name['t']}"
            row = database.row(f"CHECKSUM TABLE {quote(name['s'])}.{quote(name['t'])} EXTENDED")
            found[table] = row["Checksum"] if row else None
            if rows and table in WRITTEN_BY_SERVERS | WRITTEN_BY_RENEWING:
                found[table] = {"checksum": found[table], "rows": _rows(database, name["s"], name["t"])}
    return found


def compare(before: Path, now: Reading) -> Differences:
    """Compare with an earlier reading, kept in a file."""
    earlier: Reading = json.loads(before.read_text())
    names = sorted(earlier.keys() | now.keys())
    result = Differences(len(names))
    for name in names:
        if _checksum(earlier.get(name, "absent")) == _checksum(now.get(name, "absent")):
            continue
        if name in WRITTEN_BY_SERVERS:
            result.written_by_running_servers.append(name)
        elif name in WRITTEN_BY_RENEWING:
            result.written_by_renewing.append(name)
        else:
            result.different.append(name)
        one, other = _digests(earlier.get(name)), _digests(now.get(name))
        if one is not None and other is not None:
            result.rows[name] = {
                "added": sorted(other.keys() - one.keys(), key=_number),
                "removed": sorted(one.keys() - other.keys(), key=_number),
                "changed": sorted((key for key in one.keys() & other.keys() if one[key] != other[key]), key=_number),
            }
    return result


def _rows(database: Session, schema: str, table: str) -> dict[str, str] | None:
    """A digest of each row by its primary key; None for a table without one, or too large."""
    columns = database.rows(
        "SELECT column_name AS c, column_key AS k FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    )
    key = ", ".join(quote(column["c"]) for column in columns if column["k"] == "PRI")
    where = f"{quote(schema)}.{quote(table)}"
    if not key or (database.value(f"SELECT COUNT(*) FROM {where}") or 0) > ROWS_LIMIT:
        return None
    content = ", ".join(f"COALESCE(HEX({quote(column['c'])}), '-')" for column in columns)
    rows = database.rows(f"SELECT CONCAT_WS('/', {key}) AS k, MD5(CONCAT_WS(',', {content})) AS d FROM {where}")
    return {str(row["k"]): str(row["d"]) for row in rows}


def _checksum(value: Any) -> Any:
    return value["checksum"] if isinstance(value, dict) else value


def _digests(value: Any) -> dict[str, str] | None:
    return value["rows"] if isinstance(value, dict) else None


def _number(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (0, key)
