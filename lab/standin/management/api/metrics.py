"""Counts and figures: of the infrastructure, management servers, the database, the usage server."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from ...shared.database import Row, utcnow
from .core import Call, Response, command, when
from .system import management_server, new_fields, selected

EPOCH = "1970-01-01T00:00:00+0000"
USAGE_ALIVE_SECONDS = 1800


@command("listManagementServersMetrics", admin=True)
def list_management_servers_metrics(call: Call) -> Response:
    """Return all management servers with figures of those that are up."""
    entries = []
    for row in selected(call):
        entry = management_server(call, row) | new_fields(call, row)
        if row["state"] == "Up":
            addresses = {name: entry.pop(name) for name in ("serviceip", "ipaddress")}
            own = management_server(call, row)
            entry = (
                _figures(call, row)
                | {name: value for name, value in own.items() if name not in addresses}
                | {"kernelversion": platform.release()}
                | addresses
                | entry
            )
        entries.append(entry)
    return call.page(entries, "managementserver")


def _figures(call: Call, row: Row) -> Response:
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    loads = [round(value, 2) for value in os.getloadavg()]
    agents = call.cloud.value("SELECT COUNT(*) FROM host WHERE mgmt_server_id = %s AND removed IS NULL", row["msid"])
    return {
        "availableprocessors": os.cpu_count(),
        "agentcount": agents,
        "sessions": 0,
        "heapmemoryused": 536870912,
        "heapmemorytotal": 1908932608,
        "threadsblockedcount": 0,
        "threadsdaemoncount": 15,
        "threadsrunnablecount": 8,
        "threadsteminatedcount": 0,
        "threadstotalcount": 160,
        "threadswaitingcount": 80,
        "systemmemorytotal": f"{memory['MemTotal'] / (1 << 20):.2f} GB",
        "systemmemoryfree": f"{memory['MemFree'] / (1 << 20):.2f} GB",
        "systemmemoryvirtualsize": "5.50 GB",
        "loginfo": "",
        "systemtotalcpucycles": 5192.256,
        "systemloadaverages": loads,
        "systemcycleusage": [int(value * 100) for value in os.times()[:3]],
        "dbislocal": _is_local(call),
        "usageislocal": False,
        "cpuload": f"{loads[0] * 100 / (os.cpu_count() or 1):.2f} %",
        "collectiontime": when(utcnow()),
    }


def _is_local(call: Call) -> bool:
    return call.cloud.host in ("localhost", "127.0.0.1", call.server.node_ip)


@command("listInfrastructure", admin=True)
def list_infrastructure(call: Call) -> Response:
    """Return how many there are of what."""

    def count(sql: str) -> int:
        return int(call.cloud.value(f"SELECT COUNT(*) FROM {sql}"))

    values: Response = {
        "zones": count("data_center WHERE removed IS NULL"),
        "pods": count("host_pod_ref WHERE removed IS NULL"),
        "clusters": count("cluster WHERE removed IS NULL"),
        "hosts": count("host WHERE removed IS NULL AND type = 'Routing'"),
        "storagepools": count("storage_pool WHERE removed IS NULL"),
        "imagestores": count("image_store WHERE removed IS NULL AND role = 'Image'"),
    }
    if call.server.is_new:
        values["backuprepositories"] = 0
    return {
        "infrastructure": values
        | {
            "objectstores": 0,
            "systemvms": count("vm_instance WHERE removed IS NULL AND type IN ('ConsoleProxy', 'SecondaryStorageVm')"),
            "routers": count("domain_router r JOIN vm_instance vm ON vm.id = r.id WHERE vm.removed IS NULL AND vm.type = 'DomainRouter'"),
            "ilbvms": count("vm_instance WHERE removed IS NULL AND type = 'InternalLoadBalancerVm'"),
            "cpusockets": int(
                call.cloud.value("SELECT COALESCE(SUM(cpu_sockets), 0) FROM host WHERE removed IS NULL AND type = 'Routing'")
            ),
            "managementservers": count("mshost WHERE removed IS NULL"),
            "alerts": count("alert WHERE archived = 0"),
        }
    }


@command("listDbMetrics", admin=True)
def list_db_metrics(call: Call) -> Response:
    """Return figures of the database server."""
    status = {
        row["Variable_name"]: row["Value"]
        for row in call.cloud.rows("SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Uptime', 'Queries')")
    }
    version = call.cloud.row("SELECT @@version AS version, @@version_comment AS comment") or {}
    return {
        "dbMetrics": {
            "collectiontime": when(utcnow()),
            "hostname": call.cloud.host,
            "replicas": ["localhost", "localhost"],
            "connections": int(status["Threads_connected"]),
            "uptime": int(status["Uptime"]),
            "version": version["version"],
            "versioncomment": version["comment"],
            "queries": int(status["Queries"]),
            "dbloadaverages": [round(int(status["Queries"]) / max(1, int(status["Uptime"])), 1)],
        }
    }


@command("listUsageServerMetrics", admin=True)
def list_usage_server_metrics(call: Call) -> Response:
    """Return whether a usage server is at work."""
    row = call.server.usage.row(
        "SELECT *, TIMESTAMPDIFF(SECOND, heartbeat, UTC_TIMESTAMP()) AS age FROM usage_job "
        "WHERE host IS NOT NULL AND success IS NULL ORDER BY id DESC LIMIT 1"
    )
    last = call.server.usage.value("SELECT MAX(end_millis) FROM usage_job WHERE success = 1")
    values: Response = {"collectiontime": when(utcnow()), "hostname": "N/A", "state": "Down"}
    if row is not None:
        values["hostname"] = row["host"]
        values["lastheartbeat"] = when(row["heartbeat"])
        if row["age"] is not None and row["age"] < USAGE_ALIVE_SECONDS:
            values["state"] = "Up"
    ended = datetime.fromtimestamp(last / 1000, UTC) if last else None
    return {"usageMetrics": values | {"lastsuccessfuljob": when(ended) or EPOCH}}
